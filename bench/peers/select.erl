%% SPDX-License-Identifier: MIT
%% Peer of bench/select.c. call: a monitor whose alias is the address of the answer, as in gen_server:call/2;
%% since: make_ref/0 and a receive that the compiler lets begin at that reference; match: a receive that has to look
%% at all messages.
-module(select).
-export([options/0, run/1]).

-define(SAMPLES_MAX, 100000).

options() -> #{"seconds" => 6, "waiting" => 100000}.

run(#{"seconds" := Seconds, "waiting" := Waiting}) ->
    Main = self(),
    spawn_link(fun() -> Main ! {found, client(Seconds * 1000000000 div 6, Waiting)} end),
    receive {found, Found} -> Found end.

client(Span, Waiting) ->
    To = spawn_link(fun server/0),
    Call = fun(Word) -> call(To, Word) end,
    Since = fun(Word) -> since(To, Word) end,
    Match = fun(Word) -> match(To, Word) end,
    CallEmpty = measure(Call, 100, Span),
    SinceEmpty = measure(Since, 100, Span),
    MatchEmpty = measure(Match, 100, Span),
    [self() ! unwanted || _ <- lists:seq(1, Waiting)],
    CallFull = measure(Call, 100, Span),
    SinceFull = measure(Since, 100, Span),
    MatchFull = measure(Match, 1, Span),
    Waiting = drain(0),
    [{"rtt_p50_ns", CallFull}, {"call_empty_ns", CallEmpty}, {"since_ns", SinceFull},
     {"since_empty_ns", SinceEmpty}, {"match_ns", MatchFull}, {"match_empty_ns", MatchEmpty}].

server() ->
    receive
        {call, Tag, Word} -> Tag ! {Tag, Word};
        {ask, From, Tag, Word} -> From ! {Tag, Word};
        {word, From, Word} -> From ! {word, Word}
    end,
    server().

call(To, Word) ->
    Tag = erlang:monitor(process, To, [{alias, reply_demonitor}]),
    To ! {call, Tag, Word},
    receive
        {Tag, Word} -> ok;
        {'DOWN', Tag, process, _, Reason} -> exit(Reason)
    end.

since(To, Word) ->
    Tag = make_ref(),
    To ! {ask, self(), Tag, Word},
    receive {Tag, Word} -> ok end.

match(To, Word) ->
    To ! {word, self(), Word},
    receive {word, Word} -> ok end.

measure(Exchange, Batch, Span) ->
    End = erlang:monotonic_time(nanosecond) + Span,
    bench_peer:percentile(samples(Exchange, Batch, End, [], 0), 50) / Batch.

samples(Exchange, Batch, End, Samples, Len) ->
    Begin = erlang:monotonic_time(nanosecond),
    case Len >= ?SAMPLES_MAX orelse (Len >= 3 andalso Begin >= End) of
        true -> Samples;
        false ->
            repeat(Exchange, Batch),
            Sample = erlang:monotonic_time(nanosecond) - Begin,
            samples(Exchange, Batch, End, [Sample | Samples], Len + 1)
    end.

repeat(_, 0) -> ok;
repeat(Exchange, Left) ->
    Exchange(Left),
    repeat(Exchange, Left - 1).

drain(Left) ->
    receive unwanted -> drain(Left + 1)
    after 0 -> Left
    end.
