/* SPDX-License-Identifier: MIT */
/*
 * A link in a box: the real outbox and the real inbox, and between them a network that cuts
 * messages into chunks and loses, reorders and repeats chunks and acknowledgements, all drawn from
 * a seed. The harness does what QUIC does: first transmissions need credit, retransmissions none,
 * the bytes of a stream reach the inbox in order. The checker wants every message once and each
 * pair in order, and every account at zero at the end.
 *
 * Two rules of docs/design/order.md can be broken here, to see that the checker would notice:
 *   reserve  a message starts only when the credit covers all of it
 *   forget   a pair is forgotten when all its messages are acknowledged, not when the last one is
 */
#include "cluster/inbox.h"
#include "cluster/outbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"

enum {
    PAIRS_MAX = 4,
    MESSAGES_MAX = 60,
    CHUNKS_MAX = 64,  /* of one message: a bit each */
    FLYING_MAX = 512, /* chunks and acknowledgements under way, each */
    BODY_MAX = 2000,
    BIG_MIN = 500,
    STREAMS_MAX = 64,
    STEPS_MAX = 200000,
    RESET_CHUNK = CHUNKS_MAX, /* stands for the reset of a stream where a chunk's number would */
};

enum outcome {
    ENDED_WELL,
    OUT_OF_ORDER,
    STUCK,
    OUTCOMES
};

struct rules {
    bool no_reserve;       /* planted bug */
    bool forget_too_early; /* planted bug */
    bool resets;           /* the sender resets streams now and then */
};

struct stream {
    struct rusmi_out *out; /* NULL once closed */
    uint8_t *bytes;
    size_t len, chunk_len;
    size_t chunks; /* the last has the end of the stream, and may be empty */
    size_t next;   /* chunk to be sent for the first time */
    uint64_t acked, received;
    size_t fed; /* chunks given to the inbox */
    size_t pair;
    bool reset, reset_received, reset_acked;
};

/* A chunk, or its acknowledgement, on its way. */
struct flying {
    size_t seq, chunk;
};

struct sim {
    struct rusmi_prng prng;
    struct rules rules;
    struct rusmi_outbox ob;
    struct rusmi_inbox ib;
    struct stream streams[MESSAGES_MAX];
    struct flying chunks[FLYING_MAX], acks[FLYING_MAX];
    size_t chunks_len, acks_len;
    size_t pairs, messages, pushed, started, done; /* done: delivered, or known to be reset */
    uint64_t loss;                                 /* per cent */
    uint64_t credit_limit, stream_limit, tx;       /* as the sender knows them */
    uint64_t granted;                              /* credit that is on its way to the sender */
    uint64_t returned;                             /* credit given back in all */
    size_t last_of_pair[PAIRS_MAX];                /* seq plus one */
    unsigned next_number[PAIRS_MAX], seen[PAIRS_MAX];
    bool disorder;
};

static size_t draw(struct sim *sim, size_t bound)
{
    return (size_t)rusmi_prng_below(&sim->prng, bound);
}

/* A message's body is its pair, its number within the pair, and as much more as it is long. */
static void on_deliver(void *arg, const struct rusmi_message_head *head, rusm_msg *msg)
{
    struct sim *sim = arg;
    const uint8_t *body = rusm_msg_data(msg);
    size_t pair = body[0];

    assert_true(pair < sim->pairs && head->sender == pair / 2 + 1);
    assert_int_equal(rusm_msg_len(msg), head->body_len);
    for (size_t i = 2; i < head->body_len; i++) {
        assert_int_equal(body[i], (uint8_t)(i * 7 + body[1]));
    }
    if (body[1] < sim->seen[pair] || (!sim->rules.resets && body[1] != sim->seen[pair])) {
        sim->disorder = true;
    }
    sim->seen[pair] = body[1] + 1u;
    sim->done++;
    rusm_msg_del(msg);
}

static void push_message(struct sim *sim)
{
    static const size_t sizes[] = {10, 300, BODY_MAX};
    size_t pair = draw(sim, sim->pairs), len = 2 + draw(sim, sizes[draw(sim, 3)] - 1);
    struct rusmi_message_head head = {.sender = pair / 2 + 1};
    struct rusmi_out *out;
    uint8_t body[BODY_MAX];

    if (pair % 2 == 0) {
        head.kind = RUSMI_MESSAGE_TO_SERIAL;
        head.serial = 5;
    } else {
        head.kind = RUSMI_MESSAGE_TO_NAME;
        head.name = "box";
        head.name_len = 3;
    }
    body[0] = (uint8_t)pair;
    body[1] = (uint8_t)sim->next_number[pair]++;
    for (size_t i = 2; i < len; i++) {
        body[i] = (uint8_t)(i * 7 + body[1]);
    }
    assert_int_equal(rusmi_out_new(&out, &head, body, len), RUSM_OK);
    out->next = NULL;
    rusmi_outbox_push(&sim->ob, out);
    sim->pushed++;
}

/* Which pair a message that is about to start belongs to, by its body. */
static size_t pair_of(const struct rusmi_out *out)
{
    struct rusmi_message_head head;
    const char *why;
    ptrdiff_t head_len = rusmi_message_head_decode(out->wire, out->wire_len, &head, &why);

    assert_true(head_len > 0);
    return out->wire[head_len];
}

/* The planted bug: no mark if the predecessor alone is acknowledged. A zero of the same length
 * replaces it. */
static void drop_mark(struct sim *sim, struct stream *stream)
{
    size_t last = sim->last_of_pair[stream->pair];
    size_t len = (size_t)1 << (stream->bytes[0] >> 6);

    if (sim->rules.forget_too_early && last > 0 && sim->streams[last - 1].out == NULL) {
        memset(stream->bytes, 0, len);
        stream->bytes[0] = (uint8_t)(len == 1 ? 0 : len == 2 ? 0x40 : len == 4 ? 0x80 : 0xc0);
    }
}

static void start_message(struct sim *sim)
{
    uint64_t credit = sim->rules.no_reserve ? UINT64_MAX / 2 : sim->credit_limit - sim->tx;
    struct rusmi_out *out = rusmi_outbox_next(&sim->ob, credit);
    struct rusmi_out_part parts[2];
    struct stream *stream = &sim->streams[sim->started];

    if (out == NULL || sim->started >= sim->stream_limit) {
        return;
    }
    rusmi_outbox_start(&sim->ob, out, sim->started);
    assert_int_equal(rusmi_out_parts(out, parts), 1);
    *stream = (struct stream){.out = out, .len = parts[0].len, .pair = pair_of(out)};
    stream->bytes = malloc(stream->len);
    memcpy(stream->bytes, parts[0].data, stream->len);
    drop_mark(sim, stream);
    stream->chunk_len = 1 + stream->len / (1 + draw(sim, CHUNKS_MAX / 2));
    stream->chunks = (stream->len + stream->chunk_len - 1) / stream->chunk_len + draw(sim, 2);
    sim->last_of_pair[stream->pair] = ++sim->started;
}

static size_t chunk_start(const struct stream *stream, size_t chunk)
{
    size_t start = chunk * stream->chunk_len;

    return start < stream->len ? start : stream->len;
}

static size_t chunk_size(const struct stream *stream, size_t chunk)
{
    return chunk_start(stream, chunk + 1) - chunk_start(stream, chunk);
}

/* A full network loses what is added. */
static void fly(struct flying *line, size_t *len, size_t seq, size_t chunk)
{
    if (*len < FLYING_MAX) {
        line[(*len)++] = (struct flying){seq, chunk};
    }
}

static struct flying land(struct sim *sim, struct flying *line, size_t *len)
{
    size_t i = draw(sim, *len);
    struct flying flying = line[i];

    /* Now and then it comes again later. */
    if (draw(sim, 20) > 0) {
        line[i] = line[--*len];
    }
    return flying;
}

/* Some stream that is open at the sender; NULL if none is. */
static struct stream *pick_open(struct sim *sim)
{
    size_t open = 0, nth;

    for (size_t i = 0; i < sim->started; i++) {
        open += sim->streams[i].out != NULL;
    }
    nth = open == 0 ? 0 : draw(sim, open);
    for (size_t i = 0; i < sim->started && open > 0; i++) {
        if (sim->streams[i].out != NULL && nth-- == 0) {
            return &sim->streams[i];
        }
    }
    return NULL;
}

static void send_first(struct sim *sim)
{
    struct stream *stream = pick_open(sim);
    size_t size;

    if (stream == NULL || stream->next == stream->chunks || stream->reset) {
        return;
    }
    size = chunk_size(stream, stream->next);
    if (sim->tx + size > sim->credit_limit) {
        assert_true(sim->rules.no_reserve); /* what is started can always be sent */
        return;
    }
    sim->tx += size;
    rusmi_outbox_sent(&sim->ob, stream->out, size);
    fly(sim->chunks, &sim->chunks_len, (size_t)(stream - sim->streams), stream->next++);
}

static void send_again(struct sim *sim)
{
    struct stream *stream = pick_open(sim);
    size_t chunk;

    if (stream == NULL) {
        return;
    }
    if (stream->reset && !stream->reset_acked) {
        fly(sim->chunks, &sim->chunks_len, (size_t)(stream - sim->streams), RESET_CHUNK);
        return;
    }
    if (stream->next == 0 || stream->reset) {
        return;
    }
    chunk = draw(sim, stream->next);
    if ((stream->acked & (uint64_t)1 << chunk) == 0) {
        fly(sim->chunks, &sim->chunks_len, (size_t)(stream - sim->streams), chunk);
    }
}

static void reset_some(struct sim *sim)
{
    struct stream *stream = pick_open(sim);

    if (stream != NULL) {
        stream->reset = true;
    }
}

/* A reset reaches the receiver: nothing of the stream comes any more, and QUIC gives back the
 * credit of what the inbox never saw. */
static void receive_reset(struct sim *sim, struct stream *stream, size_t seq)
{
    uint64_t before = sim->ib.reset_count;

    if (stream->reset_received || stream->fed == stream->chunks) {
        return;
    }
    stream->reset_received = true;
    assert_int_equal(rusmi_inbox_reset(&sim->ib, seq), RUSM_OK);
    sim->done += (size_t)(sim->ib.reset_count - before);
    sim->granted += chunk_start(stream, stream->next) - chunk_start(stream, stream->fed);
}

static void receive_chunk(struct sim *sim)
{
    struct flying got = land(sim, sim->chunks, &sim->chunks_len);
    struct stream *stream = &sim->streams[got.seq];

    if (draw(sim, 100) < sim->loss) {
        return;
    }
    fly(sim->acks, &sim->acks_len, got.seq, got.chunk);
    if (got.chunk == RESET_CHUNK) {
        receive_reset(sim, stream, got.seq);
        return;
    }
    stream->received |= (uint64_t)1 << got.chunk;
    while (stream->fed < stream->chunks && (stream->received >> stream->fed & 1) != 0 &&
           !stream->reset_received) {
        size_t at = chunk_start(stream, stream->fed), size = chunk_size(stream, stream->fed);

        stream->fed++;
        assert_int_equal(rusmi_inbox_data(&sim->ib, got.seq, at, stream->bytes + at, size,
                                          stream->fed == stream->chunks),
                         RUSM_OK);
    }
}

static void close_stream(struct sim *sim, struct stream *stream)
{
    if (stream->reset) {
        rusmi_outbox_reset(&sim->ob, stream->out);
    } else {
        rusmi_outbox_acked(&sim->ob, stream->out);
    }
    stream->out = NULL;
}

static void receive_ack(struct sim *sim)
{
    struct flying got = land(sim, sim->acks, &sim->acks_len);
    struct stream *stream = &sim->streams[got.seq];
    bool all;

    if (draw(sim, 100) < sim->loss || stream->out == NULL) {
        return;
    }
    if (got.chunk == RESET_CHUNK) {
        stream->reset_acked = true; /* closed once the watermark is known to have passed it */
        return;
    }
    stream->acked |= (uint64_t)1 << got.chunk;
    all = stream->acked == (((uint64_t)1 << (stream->chunks - 1) << 1) - 1);
    if (all && !stream->reset) {
        close_stream(sim, stream);
    }
}

static void give_credit(struct sim *sim)
{
    uint64_t bytes, streams;

    rusmi_inbox_take_credit(&sim->ib, &bytes, &streams);
    sim->granted += bytes;
    sim->stream_limit += streams;
    sim->credit_limit += sim->granted;
    sim->returned += sim->granted;
    sim->granted = 0;
    for (size_t i = 0; i < sim->started && i + STREAMS_MAX < sim->stream_limit; i++) {
        if (sim->streams[i].out != NULL && sim->streams[i].reset_acked) {
            close_stream(sim, &sim->streams[i]);
        }
    }
}

static void sim_init(struct sim *sim, uint64_t seed, struct rules rules)
{
    struct rusmi_outbox_config out;
    struct rusmi_inbox_config in;

    memset(sim, 0, sizeof(*sim));
    rusmi_prng_init(&sim->prng, seed);
    sim->rules = rules;
    sim->pairs = 1 + draw(sim, PAIRS_MAX);
    sim->messages = 5 + draw(sim, MESSAGES_MAX - 4);
    sim->loss = (uint64_t[]){0, 10, 30}[draw(sim, 3)];
    rusmi_outbox_config_init(&out);
    out.message_max = BODY_MAX;
    out.window = rusmi_outbox_window_min(BODY_MAX) + draw(sim, 1000);
    out.big_min = BIG_MIN;
    out.flight_max = (size_t)2 << draw(sim, 4);
    out.seed = seed;
    assert_int_equal(rusmi_outbox_init(&sim->ob, &out), RUSM_OK);
    rusmi_inbox_config_init(&in);
    in.window = rules.no_reserve ? SIZE_MAX : out.window; /* or the inbox would refuse at once */
    in.streams_max = STREAMS_MAX;
    in.message_max = BODY_MAX;
    in.deliver = on_deliver;
    in.arg = sim;
    assert_int_equal(rusmi_inbox_init(&sim->ib, &in), RUSM_OK);
    sim->credit_limit = out.window;
    sim->stream_limit = STREAMS_MAX;
}

static void sim_step(struct sim *sim)
{
    size_t act = draw(sim, 100);

    if (act < 10 && sim->pushed < sim->messages) {
        push_message(sim);
    } else if (act < 20) {
        start_message(sim);
    } else if (act < 50) {
        send_first(sim);
    } else if (act < 60) {
        send_again(sim);
    } else if (act < 61 && sim->rules.resets && draw(sim, 4) == 0) {
        reset_some(sim);
    } else if (act < 80 && sim->chunks_len > 0) {
        receive_chunk(sim);
    } else if (act < 95 && sim->acks_len > 0) {
        receive_ack(sim);
    } else {
        give_credit(sim);
    }
}

/* After a good end nothing is left anywhere, and all credit has come back. */
static void assert_nothing_left(struct sim *sim)
{
    for (size_t i = 0; i < sim->started; i++) {
        if (sim->streams[i].out != NULL) {
            size_t left = rusmi_out_len(sim->streams[i].out) - sim->streams[i].out->sent;

            assert_true(left == 0 || sim->streams[i].reset);
            close_stream(sim, &sim->streams[i]);
        }
    }
    give_credit(sim);
    assert_int_equal(sim->returned, sim->tx);
    assert_int_equal(sim->stream_limit, STREAMS_MAX + sim->started);
    assert_int_equal(sim->ib.held_bytes, 0);
    assert_int_equal(sim->ib.parked_count + sim->ib.unfinished_count + sim->ib.lost_count, 0);
    assert_int_equal(sim->ob.reserved, 0);
    assert_int_equal(sim->ob.small_flight, 0);
    assert_int_equal(sim->ob.pairs_count + sim->ob.big_pairs, 0);
    assert_int_equal(sim->ob.flight_count + sim->ob.queued_count + sim->ob.queued_bytes, 0);
    assert_int_equal(sim->ob.acked_count + sim->ob.lost_count, sim->messages);
}

static enum outcome sim_run(uint64_t seed, struct rules rules)
{
    struct sim *sim = malloc(sizeof(*sim));
    enum outcome outcome = STUCK;

    sim_init(sim, seed, rules);
    for (size_t step = 0; step < STEPS_MAX && sim->done < sim->messages; step++) {
        sim_step(sim);
        assert_true(sim->rules.no_reserve || sim->ib.held_bytes <= sim->ib.cfg.window);
    }
    if (sim->disorder) {
        outcome = OUT_OF_ORDER;
    } else if (sim->done == sim->messages) {
        outcome = ENDED_WELL;
        assert_nothing_left(sim);
    }
    for (size_t i = 0; i < sim->started; i++) {
        free(sim->streams[i].bytes);
    }
    (void)rusmi_outbox_fini(&sim->ob);
    rusmi_inbox_fini(&sim->ib);
    free(sim);
    return outcome;
}

static void count_outcomes(uint64_t seeds, struct rules rules, size_t counts[OUTCOMES])
{
    memset(counts, 0, OUTCOMES * sizeof(counts[0]));
    for (uint64_t seed = 0; seed < seeds; seed++) {
        enum outcome outcome = sim_run(seed, rules);

        counts[outcome]++;
        if (outcome != ENDED_WELL && !rules.no_reserve && !rules.forget_too_early) {
            print_message("seed %u: %s\n", (unsigned)seed,
                          outcome == STUCK ? "stuck" : "out of order");
        }
    }
}

static void test_every_seed_is_in_order_and_ends(void **state)
{
    size_t counts[OUTCOMES];

    (void)state;
    count_outcomes(2000, (struct rules){0}, counts);
    assert_int_equal(counts[ENDED_WELL], 2000);
}

static void test_every_seed_with_resets_is_in_order_and_ends(void **state)
{
    size_t counts[OUTCOMES];

    (void)state;
    count_outcomes(1000, (struct rules){.resets = true}, counts);
    assert_int_equal(counts[ENDED_WELL], 1000);
}

/* The checker notices a link that starts more than its credit covers. */
static void test_without_reserve_some_seeds_are_stuck(void **state)
{
    size_t counts[OUTCOMES];

    (void)state;
    count_outcomes(30, (struct rules){.no_reserve = true}, counts);
    assert_true(counts[STUCK] > 0);
    assert_int_equal(counts[OUT_OF_ORDER], 0);
}

/* The checker notices a link that forgets a pair when its last message alone is acknowledged. */
static void test_forgetting_too_early_some_seeds_are_out_of_order(void **state)
{
    size_t counts[OUTCOMES];

    (void)state;
    count_outcomes(200, (struct rules){.forget_too_early = true}, counts);
    assert_true(counts[OUT_OF_ORDER] > 0);
    assert_int_equal(counts[STUCK], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_seed_is_in_order_and_ends),
        cmocka_unit_test(test_every_seed_with_resets_is_in_order_and_ends),
        cmocka_unit_test(test_without_reserve_some_seeds_are_stuck),
        cmocka_unit_test(test_forgetting_too_early_some_seeds_are_out_of_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
