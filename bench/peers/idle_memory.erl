%% SPDX-License-Identifier: MIT
%% Peer of bench/idle_memory.c: resident memory and page tables of the OS process. --hibernate 1: the processes hibernate.
-module(idle_memory).
-export([options/0, run/1, woken/1]).

options() -> #{"seconds" => 1, "count" => 1000000, "hibernate" => 0}.

run(#{"seconds" := Seconds, "count" := Count, "hibernate" := Hibernate}) ->
    Waiting = counters:new(1, [write_concurrency]),
    Ended = counters:new(1, [write_concurrency]),
    Body = case Hibernate of
               0 -> fun() -> idle(Waiting, Ended) end;
               _ -> fun() -> hibernated(Waiting, Ended) end
           end,
    Others = erlang:processes(),
    erlang:garbage_collect(),
    {Resident0, Tables0} = memory(),
    Begin = erlang:monotonic_time(nanosecond),
    spawn_all(Body, Count),
    bench_peer:await(Waiting, Count),
    Spawned = erlang:monotonic_time(nanosecond),
    timer:sleep(Seconds * 1000),
    erlang:garbage_collect(),
    {Resident, Tables} = memory(),
    All = erlang:processes() -- Others,
    Wake = erlang:monotonic_time(nanosecond),
    [Pid ! wake || Pid <- All],
    bench_peer:await(Ended, Count),
    Woken = erlang:monotonic_time(nanosecond),
    ResidentEach = (Resident - Resident0) / Count,
    TablesEach = (Tables - Tables0) / Count,
    [{"bytes_per_process", ResidentEach + TablesEach}, {"resident", ResidentEach},
     {"page_tables", TablesEach}, {"spawn_ns", (Spawned - Begin) / Count},
     {"wake_and_end_ns", (Woken - Wake) / Count}].

%% Pids are not kept: they would be memory of the benchmark.
spawn_all(_, 0) -> ok;
spawn_all(Body, Left) ->
    spawn(Body),
    spawn_all(Body, Left - 1).

idle(Waiting, Ended) ->
    counters:add(Waiting, 1, 1),
    receive wake -> counters:add(Ended, 1, 1) end.

hibernated(Waiting, Ended) ->
    counters:add(Waiting, 1, 1),
    erlang:hibernate(?MODULE, woken, [Ended]).

woken(Ended) ->
    receive wake -> counters:add(Ended, 1, 1) end.

memory() -> {bytes("/proc/self/smaps_rollup", "Rss:"), bytes("/proc/self/status", "VmPTE:")}.

bytes(Path, Name) ->
    {ok, File} = file:open(Path, [read, raw]),
    {ok, Text} = file:read(File, 65536),
    ok = file:close(File),
    {match, [KiB]} = re:run(Text, "^" ++ Name ++ "\\s*([0-9]+) kB", [multiline, {capture, [1], list}]),
    list_to_integer(KiB) * 1024.
