%% SPDX-License-Identifier: MIT
%% Peer of bench/fan_in.c, with the same receipts for half windows. off_heap 0: the receiver keeps its messages on
%% its heap, which is slower.
-module(fan_in).
-export([options/0, run/1]).

options() -> #{"senders" => 100, "window" => 1000, "off_heap" => 1}.

run(#{"seconds" := Seconds, "senders" := Senders, "window" := Window, "off_heap" := OffHeap}) ->
    Counter = counters:new(1, [atomics]),
    Data = case OffHeap of
               0 -> on_heap;
               _ -> off_heap
           end,
    Receiver = spawn_opt(fun() -> receiver(Counter, 0) end, [{message_queue_data, Data}]),
    [spawn(fun() -> sender_start(Receiver, Window div 2) end) || _ <- lists:seq(1, Senders)],
    [{"messages_per_s", bench_peer:rate(Seconds, [Counter])}].

receiver(Counter, Received) ->
    receive
        {receipt, From} ->
            From ! receipt,
            counters:add(Counter, 1, Received + 1),
            receiver(Counter, 0);
        _ ->
            receiver(Counter, Received + 1)
    end.

sender_start(Receiver, Half) ->
    send_half(Receiver, Half),
    sender(Receiver, Half).

sender(Receiver, Half) ->
    send_half(Receiver, Half),
    receive receipt -> ok end,
    sender(Receiver, Half).

send_half(Receiver, 1) ->
    Receiver ! {receipt, self()};
send_half(Receiver, Left) ->
    Receiver ! Left,
    send_half(Receiver, Left - 1).
