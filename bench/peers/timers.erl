%% SPDX-License-Identifier: MIT
%% What bench/timers.c measures, in Erlang: erlc timers.erl && erl +S 2 -noshell -run timers main [seconds] [pending]
-module(timers).
-export([main/0, main/1]).

-define(PER_HOLDER, 10000).
-define(BATCH, 1000).
-define(DUE_BATCH, 10000).
-define(WAITERS, 100).
-define(HOUR, 3600000).

main() -> main(["4", "1000000"]).

main([Seconds]) -> main([Seconds, "1000000"]);
main([SecondsText, PendingText | _]) ->
    Seconds = list_to_integer(SecondsText),
    Pending = list_to_integer(PendingText),
    Before = erlang:memory(total),
    T0 = now_ns(),
    fill(Pending),
    FillNs = (now_ns() - T0) / max(Pending, 1),
    Bytes = case Pending of 0 -> 0; _ -> (erlang:memory(total) - Before) / Pending end,
    {Sets, Cancels, Fires} = price(now_ns() + Seconds * 500000000, [], [], []),
    {Receives, Afters} = accuracy(Seconds * 500),
    io:format("{\"bench\":\"timers\",\"peer\":\"erlang\",\"pending\":~b,\"set_ns\":~b,\"cancel_ns\":~b,"
              "\"fire_ns\":~b,\"fill_ns\":~b,\"bytes_per_timer\":~b,"
              "\"receive_late_p50_us\":~.1f,\"receive_late_p99_us\":~.1f,"
              "\"after_late_p50_us\":~.1f,\"after_late_p99_us\":~.1f}~n",
              [Pending, pick(Sets, 50) div ?BATCH, pick(Cancels, 50) div ?BATCH,
               pick(Fires, 50) div ?DUE_BATCH, round(FillNs), round(Bytes),
               pick(Receives, 50) / 1000, pick(Receives, 99) / 1000,
               pick(Afters, 50) / 1000, pick(Afters, 99) / 1000]),
    halt(0).

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
