%% SPDX-License-Identifier: MIT
%% What the Erlang peers of the benchmarks share: arguments, waiting, rates, percentiles, JSON.
%%
%% A peer is a module with options/0, its own options with their defaults, and run/1, which takes a
%% map of all options and returns a list of {Name, Number}: what it found, printed after what it was
%% asked for. It does what the program of the same name in bench/ does, in the way that is fastest
%% in Erlang; the numbers have the same names.
-module(bench_peer).
-export([main/0, rate/2, percentile/2, await/2]).

-spec main() -> no_return().
main() ->
    [Name | Args] = init:get_plain_arguments(),
    Bench = list_to_atom(Name),
    try parse(Args, maps:merge(#{"seconds" => 5}, Bench:options())) of
        Options ->
            Found = Bench:run(Options),
            Threads = erlang:system_info(schedulers_online),
            Asked = [{"seconds", maps:get("seconds", Options)}, {"threads", Threads}
                     | maps:to_list(maps:without(["seconds"], Options))],
            io:format("{\"bench\":\"~s\",\"runtime\":\"erlang\",\"otp\":~s~s}~n",
                      [Name, erlang:system_info(otp_release),
                       [io_lib:format(",\"~s\":~s", [Key, number(Value)])
                        || {Key, Value} <- Asked ++ Found]]),
            halt(0)
    catch
        error:{bad_argument, Bad} ->
            io:format(standard_error, "~s: bad argument ~s; options: seconds~s~n",
                      [Name, Bad, [[" --", Key, " N"] || Key <- maps:keys(Bench:options())]]),
            halt(2)
    end.

number(Value) when is_integer(Value) -> integer_to_list(Value);
number(Value) -> float_to_list(Value, [{decimals, 1}]).

parse(["--json" | Args], Options) -> parse(Args, Options);
parse(["--" ++ Key, Value | Args], Options) when is_map_key(Key, Options) ->
    parse(Args, Options#{Key => integer(Value)});
parse([Seconds | Args], Options) -> parse(Args, Options#{"seconds" => integer(Seconds)});
parse([], Options) -> Options.

integer(Text) ->
    try list_to_integer(Text)
    catch error:badarg -> error({bad_argument, Text})
    end.

%% How many per second the first counter of each grows over that many seconds, after a warm-up of a
%% fifth of that, at most half a second.
rate(Seconds, Counters) ->
    timer:sleep(min(500, Seconds * 200)),
    Before = sum(Counters),
    Begin = erlang:monotonic_time(nanosecond),
    timer:sleep(Seconds * 1000),
    After = sum(Counters),
    (After - Before) * 1.0e9 / (erlang:monotonic_time(nanosecond) - Begin).

sum(Counters) -> lists:sum([counters:get(Counter, 1) || Counter <- Counters]).

percentile(Samples, Percent) ->
    Sorted = lists:sort(Samples),
    Index = min(length(Sorted), trunc(Percent / 100 * length(Sorted)) + 1),
    lists:nth(Index, Sorted).

%% Wait until the first counter has reached Value.
await(Counter, Value) ->
    case counters:get(Counter, 1) >= Value of
        true -> ok;
        false -> timer:sleep(1), await(Counter, Value)
    end.
