%% SPDX-License-Identifier: MIT
%% Peer of bench/spawn_storm.c: one spawner for each scheduler; a child adds one to the counter of its spawner and ends.
-module(spawn_storm).
-export([options/0, run/1]).

options() -> #{"alive" => 10000}.

run(#{"seconds" := Seconds, "alive" := Alive}) ->
    Threads = erlang:system_info(schedulers_online),
    Counters = [counters:new(1, [atomics]) || _ <- lists:seq(1, Threads)],
    Window = max(1, Alive div Threads),
    [spawn(fun() -> spawner(Counter, Window, 0) end) || Counter <- Counters],
    [{"spawns_per_s", bench_peer:rate(Seconds, Counters)}].

spawner(Counter, Window, Spawned) ->
    case Spawned - counters:get(Counter, 1) >= Window of
        true ->
            erlang:yield(),
            spawner(Counter, Window, Spawned);
        false ->
            spawn(fun() -> counters:add(Counter, 1, 1) end),
            spawner(Counter, Window, Spawned + 1)
    end.
