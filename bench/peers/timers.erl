%% SPDX-License-Identifier: MIT
%% Peer of bench/timers.c: erlang:send_after/3 and cancel_timer/1 with many pending, and how late they and
%% receive ... after are beside a pair that plays ping-pong.
-module(timers).
-export([options/0, run/1]).

-define(PER_HOLDER, 10000).
-define(BATCH, 1000).
-define(DUE_BATCH, 10000).
-define(WAITERS, 100).
-define(HOUR, 3600000).

options() -> #{"seconds" => 4, "pending" => 1000000}.

run(#{"seconds" := Seconds, "pending" := Pending}) ->
    Before = erlang:memory(total),
    T0 = now_ns(),
    fill(Pending),
    Filled = now_ns() - T0,
    Bytes = erlang:memory(total) - Before,
    {Sets, Cancels, Fires} = price(now_ns() + Seconds * 500000000, [], [], []),
    {Receives, Afters} = accuracy(Seconds * 500),
    [{"set_ns", pick(Sets, 50) div ?BATCH}, {"cancel_ns", pick(Cancels, 50) div ?BATCH},
     {"fire_ns", pick(Fires, 50) div ?DUE_BATCH}, {"fill_ns", each(Filled, Pending)},
     {"bytes_per_timer", each(Bytes, Pending)},
     {"receive_late_p50_us", pick(Receives, 50) / 1000}, {"receive_late_p99_us", pick(Receives, 99) / 1000},
     {"receive_samples", length(Receives)},
     {"after_late_p50_us", pick(Afters, 50) / 1000}, {"after_late_p99_us", pick(Afters, 99) / 1000},
     {"after_samples", length(Afters)}].

each(_, 0) -> 0;
each(Total, Pending) -> Total div Pending.

now_ns() -> erlang:monotonic_time(nanosecond).

pick([], _) -> 0;
pick(Samples, Percent) ->
    Sorted = lists:sort(Samples),
    lists:nth(min(length(Sorted), trunc(Percent / 100 * length(Sorted)) + 1), Sorted).

%% What is pending.

fill(0) -> ok;
fill(Pending) ->
    Self = self(),
    Holders = (Pending + ?PER_HOLDER - 1) div ?PER_HOLDER,
    lists:foreach(fun(I) ->
        Count = min(?PER_HOLDER, Pending - I * ?PER_HOLDER),
        spawn(fun() ->
            hold(Count),
            Self ! held,
            receive never -> ok end
        end)
    end, lists:seq(0, Holders - 1)),
    lists:foreach(fun(_) -> receive held -> ok end end, lists:seq(1, Holders)).

hold(0) -> ok;
hold(N) ->
    erlang:send_after(?HOUR + rand:uniform(?HOUR), self(), N),
    hold(N - 1).

%% The price.

price(End, Sets, Cancels, Fires) ->
    T0 = now_ns(),
    Refs = [erlang:send_after(1000 + rand:uniform(2 * ?HOUR), self(), I) || I <- lists:seq(1, ?BATCH)],
    T1 = now_ns(),
    lists:foreach(fun(Ref) -> true = is_integer(erlang:cancel_timer(Ref)) end, Refs),
    T2 = now_ns(),
    [erlang:send_after(20, self(), I) || I <- lists:seq(1, ?DUE_BATCH)],
    spin(now_ns() + 21000000),
    T3 = now_ns(),
    take(?DUE_BATCH),
    T4 = now_ns(),
    case T4 < End of
        true -> price(End, [T1 - T0 | Sets], [T2 - T1 | Cancels], [T4 - T3 | Fires]);
        false -> {[T1 - T0 | Sets], [T2 - T1 | Cancels], [T4 - T3 | Fires]}
    end.

spin(Until) ->
    case now_ns() < Until of
        true -> spin(Until);
        false -> ok
    end.

take(0) -> ok;
take(N) -> receive I when is_integer(I) -> take(N - 1) end.

%% Accuracy.

accuracy(SpanMs) ->
    Self = self(),
    Ponger = spawn(fun ponger/0),
    Pinger = spawn(fun() -> pinger(Ponger) end),
    End = now_ns() + SpanMs * 1000000,
    lists:foreach(fun(_) ->
        spawn(fun() -> Self ! {receives, wait(End, fun late_receive/1, [])} end),
        spawn(fun() -> Self ! {afters, wait(End, fun late_after/1, [])} end)
    end, lists:seq(1, ?WAITERS)),
    Receives = lists:append([receive {receives, L} -> L end || _ <- lists:seq(1, ?WAITERS)]),
    Afters = lists:append([receive {afters, L} -> L end || _ <- lists:seq(1, ?WAITERS)]),
    exit(Pinger, kill),
    exit(Ponger, kill),
    {Receives, Afters}.

wait(End, Late, Samples) ->
    case now_ns() < End of
        true -> wait(End, Late, [Late(rand:uniform(20)) | Samples]);
        false -> Samples
    end.

late_receive(SpanMs) ->
    Due = now_ns() + SpanMs * 1000000,
    receive never -> ok after SpanMs -> now_ns() - Due end.

late_after(SpanMs) ->
    Due = now_ns() + SpanMs * 1000000,
    erlang:send_after(SpanMs, self(), due),
    receive due -> now_ns() - Due end.

pinger(Ponger) ->
    Ponger ! {self(), ping},
    receive pong -> pinger(Ponger) end.

ponger() ->
    receive {From, ping} -> From ! pong, ponger() end.
