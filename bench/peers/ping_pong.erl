%% SPDX-License-Identifier: MIT
%% Peer of bench/ping_pong.c. The message is a small integer: one word, which needs no heap.
-module(ping_pong).
-export([options/0, run/1]).

-define(BATCH, 100).
-define(SAMPLES_MAX, 1000000).

options() -> #{"pairs" => 64}.

run(#{"seconds" := Seconds, "pairs" := Pairs}) ->
    Samples = case Pairs of
                  1 -> atomics:new(?SAMPLES_MAX + 1, []);
                  _ -> none
              end,
    %% Each pair counts in batches, so that counting costs next to nothing.
    Counters = [counters:new(1, [atomics]) || _ <- lists:seq(1, Pairs)],
    [spawn(fun() -> ping_start(Counter, Samples) end) || Counter <- Counters],
    Rate = bench_peer:rate(Seconds, Counters),
    [{"messages_per_s", Rate} | round_trips(Samples)].

round_trips(none) -> [];
round_trips(Samples) ->
    Len = min(?SAMPLES_MAX, atomics:get(Samples, ?SAMPLES_MAX + 1)),
    Values = [atomics:get(Samples, I) || I <- lists:seq(1, Len)],
    [{"rtt_p50_ns", bench_peer:percentile(Values, 50) / ?BATCH},
     {"rtt_p99_ns", bench_peer:percentile(Values, 99) / ?BATCH}].

ping_start(Counter, Samples) ->
    Ping = self(),
    Pong = spawn(fun() -> pong(Ping) end),
    ping(Pong, 0, Counter, Samples, erlang:monotonic_time(nanosecond)).

ping(Pong, Word, Counter, Samples, Before) ->
    batch(Pong, Word, ?BATCH),
    counters:add(Counter, 1, 2 * ?BATCH),
    Now = sample(Samples, Before),
    ping(Pong, Word + ?BATCH, Counter, Samples, Now).

batch(_, _, 0) -> ok;
batch(Pong, Word, Left) ->
    Pong ! Word,
    receive Word -> ok end,
    batch(Pong, Word + 1, Left - 1).

pong(Ping) ->
    receive Word -> Ping ! Word end,
    pong(Ping).

sample(none, Before) -> Before;
sample(Samples, Before) ->
    Now = erlang:monotonic_time(nanosecond),
    At = atomics:get(Samples, ?SAMPLES_MAX + 1),
    atomics:put(Samples, At rem ?SAMPLES_MAX + 1, Now - Before),
    atomics:put(Samples, ?SAMPLES_MAX + 1, At + 1),
    Now.
