%% SPDX-License-Identifier: MIT
%% The peer of bench/fair.c: round trips of 64 bytes between two OS processes on loopback, first alone, then while
%% processes send large binaries the way of the requests, each waiting until its last one was received. Distribution
%% over TLS, which bench/peers/run.sh sets up; the node of the other OS process is started here.
-module(fair).
-export([options/0, run/1, echo/0, sink/0]).

-define(SAMPLES_MAX, 4 bsl 20).
-define(SETTLE_MS, 300).
-define(OTHER, "127.0.0.2").

options() -> #{"large" => 16 bsl 20, "flows" => 1}.

run(#{"seconds" := Seconds, "large" := Bytes, "flows" := Flows}) ->
    Node = start_other(),
    Echo = spawn(Node, ?MODULE, echo, []),
    Sink = spawn(Node, ?MODULE, sink, []),
    %% Written to, not consed: the garbage of samples must not be in what they measure.
    Samples = counters:new(?SAMPLES_MAX, []),
    Received = counters:new(1, []),
    Alone = ping(Echo, Samples, Seconds),
    Large = binary:copy(<<7>>, Bytes),
    Pours = [spawn_link(fun() -> pour(Sink, Large, Received) end) || _ <- lists:seq(1, Flows)],
    timer:sleep(?SETTLE_MS),
    Begin = erlang:monotonic_time(nanosecond),
    Before = counters:get(Received, 1),
    Loaded = ping(Echo, Samples, Seconds),
    Span = erlang:monotonic_time(nanosecond) - Begin,
    Mib = (counters:get(Received, 1) - Before) * Bytes / 1048576,
    [unlink(Pour) || Pour <- Pours],
    figures("alone", [p50, p99, p999], Alone) ++ figures("loaded", [p50, p99, p999, max], Loaded) ++
        [{"loaded_count", maps:get(count, Loaded)}, {"p99_ratio", maps:get(p99, Loaded) / maps:get(p99, Alone)},
         {"large_mib_per_s", Mib * 1.0e9 / Span}].

%% It ends with this one, because its standard input does.
start_other() ->
    {ok, [["inet_tls"]]} = init:get_argument(proto_dist),
    {ok, [[Conf]]} = init:get_argument(ssl_dist_optfile),
    {ok, [[Port]]} = init:get_argument(erl_epmd_port),
    Threads = integer_to_list(erlang:system_info(schedulers_online)),
    {ok, _, Node} = peer:start_link(#{
        name => b, host => ?OTHER, longnames => true, connection => standard_io,
        args => ["+S", Threads ++ ":" ++ Threads, "-proto_dist", "inet_tls", "-ssl_dist_optfile",
                 filename:join(filename:dirname(Conf), "b.conf"), "-start_epmd", "false", "-erl_epmd_port", Port,
                 "-kernel", "inet_dist_use_interface", "{127,0,0,2}", "-setcookie", atom_to_list(erlang:get_cookie()),
                 "-pa", filename:dirname(code:which(?MODULE))]}),
    pong = net_adm:ping(Node),
    Node.

echo() ->
    receive {From, Data} -> From ! Data end,
    echo().

sink() ->
    receive {From, _} -> From ! got end,
    sink().

pour(Sink, Large, Received) ->
    Sink ! {self(), Large},
    receive got -> ok end,
    counters:add(Received, 1, 1),
    pour(Sink, Large, Received).

ping(Echo, Samples, Seconds) ->
    Begin = erlang:monotonic_time(nanosecond),
    Count = ping(Echo, binary:copy(<<1>>, 64), Samples, 0, Begin, Begin + Seconds * 1000000000),
    Sorted = lists:sort([counters:get(Samples, I) || I <- lists:seq(1, Count)]),
    #{count => Count, p50 => at(Sorted, Count, 50), p99 => at(Sorted, Count, 99), p999 => at(Sorted, Count, 99.9),
      max => lists:last(Sorted)}.

ping(_, _, _, Count, Now, Until) when Now >= Until; Count =:= ?SAMPLES_MAX -> Count;
ping(Echo, Data, Samples, Count, _, Until) ->
    Begin = erlang:monotonic_time(nanosecond),
    Echo ! {self(), Data},
    receive Data -> ok end,
    Now = erlang:monotonic_time(nanosecond),
    counters:put(Samples, Count + 1, Now - Begin),
    ping(Echo, Data, Samples, Count + 1, Now, Until).

at(Sorted, Count, Percent) -> lists:nth(min(Count, trunc(Percent / 100 * Count) + 1), Sorted).

figures(Load, Names, Times) ->
    [{Load ++ "_" ++ atom_to_list(Name) ++ "_us", maps:get(Name, Times) / 1000} || Name <- Names].
