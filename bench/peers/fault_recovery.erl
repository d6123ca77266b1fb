%% SPDX-License-Identifier: MIT
%% Peer of bench/fault_recovery.c: OTP's supervisor with the logger silenced.
%%
%% The supervisor keeps the time of each restart of the last period in a list and walks through it at each restart, so
%% many restarts in a second are slow for that reason alone. --plain 1 has a process of its own instead, which traps
%% exits and starts the children again: what restarting costs without a supervisor's accounts.
-module(fault_recovery).
-behaviour(supervisor).
-export([options/0, run/1, init/1, start_child/1]).

options() -> #{"children" => 4, "plain" => 0}.

run(#{"seconds" := Seconds, "children" := Children, "plain" := Plain}) ->
    ok = logger:set_primary_config(level, none),
    Counter = counters:new(1, [atomics]),
    case Plain of
        0 -> {ok, _} = supervisor:start_link(?MODULE, {Children, Counter});
        _ -> spawn(fun() -> plain_start(Children, Counter) end)
    end,
    [{"restarts_per_s", bench_peer:rate(Seconds, [Counter])}].

init({Children, Counter}) ->
    Flags = #{strategy => one_for_one, intensity => 1000000000, period => 1},
    {ok, {Flags, [#{id => Id, start => {?MODULE, start_child, [Counter]}, restart => permanent}
                  || Id <- lists:seq(1, Children)]}}.

start_child(Counter) ->
    {ok, spawn_link(fun() -> child(Counter) end)}.

child(Counter) ->
    counters:add(Counter, 1, 1),
    exit(again).

plain_start(Children, Counter) ->
    process_flag(trap_exit, true),
    Alive = maps:from_list([{spawn_link(fun() -> child(Counter) end), Id}
                            || Id <- lists:seq(1, Children)]),
    plain(Alive, Counter).

plain(Alive, Counter) ->
    receive
        {'EXIT', Pid, _} ->
            {Id, Others} = maps:take(Pid, Alive),
            plain(Others#{spawn_link(fun() -> child(Counter) end) => Id}, Counter)
    end.
