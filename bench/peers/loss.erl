%% SPDX-License-Identifier: MIT
%% The peer of bench/loss.py: round trips of small messages between two Erlang nodes, alone and while a large message
%% after the other flows the same way. Distribution over TLS, with the emulator's own settings.
%%
%%   erl -noshell ... -s loss serve
%%   erl -noshell ... -run loss ask NODE COUNT BYTES SECONDS
%%
%% Each kind ends after so many round trips or seconds, whichever comes first.
-module(loss).
-export([serve/0, ask/1]).

serve() ->
    %% So that nobody measures plain TCP by mistake.
    {ok, [["inet_tls"]]} = init:get_argument(proto_dist),
    register(echo, spawn(fun echo/0)),
    register(sink, spawn(fun sink/0)),
    io:format("{\"event\":\"serving\"}~n").

echo() ->
    receive {From, Data} -> From ! Data end,
    echo().

sink() ->
    receive {From, _} -> From ! got end,
    sink().

ask([Name, Count, Bytes, Seconds]) ->
    Node = list_to_atom(Name),
    wait(Node, 100),
    N = list_to_integer(Count),
    Ms = list_to_integer(Seconds) * 1000,
    say("alone", ping(Node, N, Ms)),
    Large = binary:copy(<<7>>, list_to_integer(Bytes)),
    Sender = spawn(fun() -> pour(Node, Large) end),
    timer:sleep(1000),
    say("loaded", ping(Node, N, Ms)),
    exit(Sender, kill),
    %% Whoever started this ends it: a halt might not wait for what was printed.
    receive never -> ok end.

wait(Node, 0) -> exit({no_link, Node});
wait(Node, Tries) ->
    case net_adm:ping(Node) of
        pong -> ok;
        pang -> timer:sleep(100), wait(Node, Tries - 1)
    end.

pour(Node, Large) ->
    {sink, Node} ! {self(), Large},
    receive got -> ok end,
    pour(Node, Large).

ping(Node, Count, Ms) ->
    ping(Node, Count, binary:copy(<<1>>, 64), [], erlang:monotonic_time(microsecond) + Ms * 1000).

ping(Node, Count, Data, Spans, Until) ->
    Begin = erlang:monotonic_time(microsecond),
    case Count =:= 0 orelse Begin >= Until of
        true -> lists:sort(Spans);
        false ->
            {echo, Node} ! {self(), Data},
            receive Data -> ok end,
            ping(Node, Count - 1, Data, [erlang:monotonic_time(microsecond) - Begin | Spans], Until)
    end.

say(Load, Sorted) ->
    Len = length(Sorted),
    [P50, P90, P99, P999, Max] = [lists:nth(min(Len, Len * T div 1000 + 1), Sorted) || T <- [500, 900, 990, 999, 1000]],
    io:format("{\"event\":\"~s\",\"count\":~b,\"p50_us\":~b,\"p90_us\":~b,\"p99_us\":~b,\"p999_us\":~b,\"max_us\":~b}~n",
              [Load, Len, P50, P90, P99, P999, Max]).
