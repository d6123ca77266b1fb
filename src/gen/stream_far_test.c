/* SPDX-License-Identifier: MIT */
/*
 * Streams between two runtimes on one deterministic pool. Routers of the test queue what passes and
 * deliver it in an order drawn from the seed (that of each pair, and of each stream, is kept), let
 * senders wait, lose the connection on each side at a moment of its own and make it again, while
 * writers and readers use their ends, hand them over and on, close them, are killed, or do not
 * care.
 *
 * Whatever happens: what is read is what was written, in order; a stream ends cleanly only after
 * everything that was written before its writer closed it; no side says what the other takes for a
 * lie; and in the end neither remembers anything.
 *
 * Everything is on one thread. An assertion of cmocka would leave a process's stack, so what is
 * wrong is noted and asserted by the test's own thread.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gen/stream.h"
#include "otp/far.h"

#include <rusm/otp.h>
#include <rusm/test.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEEDS 1500u
#define FLOWS 8
/* Of ends that the other node offers, in one world of eight: a few. */
#define OFFERED_MAX 2500
#define PACKETS_MAX 4096
#define STEPS_MAX   1000000u
#define TOTAL_MAX   600

/* One stream, and those who use it. */
struct flow {
    rusm_pid pids[4]; /* who makes it, a helper at the same node, two at the other */
    size_t total;     /* to be written */
    size_t written, read;
    bool closed;  /* by the writer, after everything */
    bool ended;   /* the reader has come to the end */
    bool refused; /* the end did not go over */
};

struct packet {
    int to;
    unsigned gen;
    rusm_stream_signal signal;
    unsigned char *data;
};

static struct {
    uint64_t seed;
    rusm_pool *pool;
    rusm_runtime *rt[2];
    bool up[2];
    unsigned gen[2];
    bool lossless; /* nobody is killed and no connection lost in this seed */
    bool quiet;    /* and who has begun goes on to the end */
    struct flow flows[FLOWS];
    struct packet *packets[PACKETS_MAX];
    size_t packets_len;
    char wrong[256];
} w;

/* What came about over all seeds, so that the test is known to test something. */
static struct {
    unsigned whole, cut_off, closed_early, offers, refusals, waits, late, along, handed_on;
} seen;

static uint64_t draw(uint64_t below)
{
    return rusm_test_random(w.pool, below);
}

static bool chance(uint64_t percent)
{
    return draw(100) < percent;
}

#define check(condition)                                                                           \
    do {                                                                                           \
        if (!(condition) && w.wrong[0] == '\0') {                                                  \
            (void)snprintf(w.wrong, sizeof(w.wrong), "seed %lu, line %d: %s (%s)",                 \
                           (unsigned long)w.seed, __LINE__, #condition, rusm_err_detail());        \
        }                                                                                          \
    } while (0)

static unsigned char byte_at(size_t place)
{
    return (unsigned char)(place * 131 + place / 251);
}

/* ---- the network ----------------------------------------------------------------------------- */

/* Full, for a while; what the caller is then told. */
static rusm_err wait_for_room(int from, unsigned gen, int64_t timeout_ms)
{
    rusm_waiter *waiter;
    rusm_err err = rusm_waiter_new(&waiter);

    if (err != RUSM_OK) {
        return err;
    }
    seen.waits++;
    err = rusm_waiter_wait(waiter, timeout_ms >= 0 && timeout_ms < 3 ? timeout_ms : 3);
    rusm_waiter_drop(waiter);
    if (err == RUSM_EKILLED) {
        return err;
    }
    if (!w.up[from] || w.gen[from] != gen) {
        seen.late++;
        return RUSM_ENOLINK;
    }
    return timeout_ms >= 0 && timeout_ms < 3 ? RUSM_ETIMEOUT : RUSM_OK;
}

static rusm_err route_stream(void *arg, const rusm_stream_signal *signal, int64_t timeout_ms)
{
    int from = (int)((rusm_runtime **)arg - w.rt);
    bool waits = signal->len != 0 || signal->kind == RUSM_STREAM_OFFER;
    struct packet *packet;
    rusm_err err = RUSM_OK;

    if (!w.up[from]) {
        return rusm_set_err_detail(RUSM_ENONODE, "no link");
    }
    if (rusm_stream_signal_is_late(signal)) {
        seen.late++;
        return RUSM_ENOLINK;
    }
    if (waits && chance(20)) {
        err = wait_for_room(from, w.gen[from], timeout_ms);
    }
    if (err != RUSM_OK) {
        return err;
    }
    check(w.packets_len < PACKETS_MAX);
    packet = calloc(1, sizeof(*packet));
    *packet = (struct packet){.to = 1 - from, .gen = w.gen[from], .signal = *signal};
    packet->data = malloc(signal->len + 1);
    if (signal->len != 0) {
        memcpy(packet->data, signal->data, signal->len);
    }
    packet->signal.data = packet->data;
    w.packets[w.packets_len++] = packet;
    seen.offers += signal->kind == RUSM_STREAM_OFFER;
    seen.along += signal->kind == RUSM_STREAM_OFFER && !signal->writing && signal->used != 0;
    return RUSM_OK;
}

static rusm_err route_signal(void *arg, const rusm_signal *signal)
{
    (void)arg;
    (void)signal;
    return RUSM_OK;
}

static const rusm_router router = {.signal = route_signal, .stream = route_stream};

/* Whether the order of the two is kept. */
static bool same_pair(const struct packet *a, const struct packet *b)
{
    bool offer = a->signal.kind == RUSM_STREAM_OFFER;

    if (a->to != b->to || offer != (b->signal.kind == RUSM_STREAM_OFFER)) {
        return false;
    }
    return offer ? rusm_pid_equal(a->signal.from, b->signal.from) &&
                       rusm_pid_equal(a->signal.to, b->signal.to)
                 : a->signal.stream == b->signal.stream;
}

static void deliver(void)
{
    size_t at = (size_t)draw(w.packets_len);
    struct packet *packet;
    rusm_err err;

    for (size_t i = 0; i < at; i++) {
        if (same_pair(w.packets[i], w.packets[at])) {
            at = i;
        }
    }
    packet = w.packets[at];
    w.packets_len--;
    memmove(&w.packets[at], &w.packets[at + 1], (w.packets_len - at) * sizeof(w.packets[0]));
    if (w.up[packet->to] && w.gen[packet->to] == packet->gen) {
        err = rusm_stream_deliver(w.rt[packet->to], &packet->signal);
        check(err != RUSM_EPROTO);
    }
    free(packet->data);
    free(packet);
}

static void cut(int side)
{
    const rusm_reason reason = {.kind = RUSM_REASON_NOCONNECTION};

    if (w.up[side]) {
        w.up[side] = false;
        rusm_runtime_node_down(w.rt[side], rusm_runtime_incarnation(w.rt[1 - side]), &reason);
    }
}

static void join(void)
{
    if (!w.up[0] && !w.up[1]) {
        for (int i = 0; i < 2; i++) {
            w.gen[i]++;
            w.up[i] = true;
            check(rusm_runtime_node_up(w.rt[i], rusm_runtime_incarnation(w.rt[1 - i]), 10) ==
                  RUSM_OK);
        }
    }
}

/* ---- processes ------------------------------------------------------------------------------- */

static void use_writer(struct flow *flow, rusm_stream *end)
{
    unsigned char buf[64];

    while (flow->written < flow->total) {
        size_t len = 1 + (size_t)draw(sizeof(buf)), n = 0;
        rusm_err err;

        len = len < flow->total - flow->written ? len : flow->total - flow->written;
        for (size_t i = 0; i < len; i++) {
            buf[i] = byte_at(flow->written + i);
        }
        err = rusm_stream_write(end, buf, len, chance(30) ? 1 : RUSM_INFINITY, &n);
        flow->written += n;
        if (err != RUSM_OK && err != RUSM_ETIMEOUT) {
            check(err == RUSM_ECLOSED);
            return;
        }
        if (!w.quiet && chance(2)) {
            return; /* without closing it */
        }
    }
    flow->closed = true;
    rusm_stream_close(end);
}

/* What was read, or the error in its place. */
static rusm_err read_some(struct flow *flow, rusm_stream *end, size_t *out_len)
{
    unsigned char buf[64];
    rusm_err err = rusm_stream_read(end, buf, 1 + (size_t)draw(sizeof(buf)),
                                    chance(30) ? 1 : RUSM_INFINITY, out_len);

    if (err == RUSM_OK) {
        for (size_t i = 0; i < *out_len; i++) {
            check(buf[i] == byte_at(flow->read + i));
        }
        flow->read += *out_len;
    }
    return err;
}

static void use_reader(struct flow *flow, rusm_stream *end)
{
    for (;;) {
        size_t len = 0;
        rusm_err err = read_some(flow, end, &len);

        if (err == RUSM_OK && len == 0) {
            check(flow->closed && flow->read == flow->total);
            flow->ended = true;
            seen.whole++;
            break;
        }
        if (err != RUSM_OK && err != RUSM_ETIMEOUT) {
            check(err == RUSM_ECLOSED);
            seen.cut_off++;
            break;
        }
        if (!w.quiet && chance(3)) {
            seen.closed_early++;
            break;
        }
    }
    if (chance(50)) {
        rusm_stream_close(end);
    }
}

static void use(struct flow *flow, rusm_stream *end)
{
    if (end->is_writer) {
        use_writer(flow, end);
    } else {
        use_reader(flow, end);
    }
}

static struct flow *flow_of_self(void)
{
    rusm_pid self = rusm_self();

    for (size_t i = 0; i < FLOWS; i++) {
        for (size_t k = 0; k < 4; k++) {
            if (rusm_pid_equal(w.flows[i].pids[k], self)) {
                return &w.flows[i];
            }
        }
    }
    return NULL;
}

/* Gets an end, and uses it, or hands it on within its node. */
static void body_other(void *arg)
{
    struct flow *flow = flow_of_self();
    bool may_hand_on = arg != NULL;
    rusm_stream *end;
    rusm_msg *msg;

    if (!w.quiet && chance(5)) {
        return; /* and leaves it to its mailbox */
    }
    if (rusm_receive(&msg, 200) != RUSM_OK) {
        return;
    }
    end = !w.quiet && chance(5) ? NULL : rusm_msg_take_stream(msg);
    rusm_msg_del(msg);
    if (end == NULL) {
        return;
    }
    if (may_hand_on && chance(30) && rusm_stream_send(flow->pids[3], end, NULL, 0) == RUSM_OK) {
        seen.handed_on++;
        return;
    }
    use(flow, end);
}

/* Makes a stream, uses it a little, and hands an end over. */
static void body_maker(void *arg)
{
    struct flow *flow = flow_of_self();
    size_t capacity = 1 + (size_t)draw(100), n = 0;
    rusm_stream *writer, *reader, *goes, *stays;
    unsigned char buf[100];

    (void)arg;
    if (rusm_stream_new(capacity, &writer, &reader) != RUSM_OK) {
        return;
    }
    flow->total = 1 + (size_t)draw(TOTAL_MAX);
    for (size_t i = 0; i < sizeof(buf); i++) {
        buf[i] = byte_at(i);
    }
    n = (size_t)draw(capacity + 1);
    n = n < flow->total ? n : flow->total;
    check(n == 0 || rusm_stream_write(writer, buf, n, 0, &n) == RUSM_OK);
    flow->written = n;
    if (n != 0 && chance(50)) {
        check(read_some(flow, reader, &n) == RUSM_OK);
    }
    goes = chance(50) ? writer : reader;
    stays = goes == writer ? reader : writer;
    if (chance(60)) {
        if (rusm_stream_send(flow->pids[1], stays, NULL, 0) != RUSM_OK) {
            check(!w.quiet); /* it was killed */
            return;
        }
        stays = NULL;
        (void)!rusm_sleep((int64_t)draw(3));
    }
    if (rusm_stream_send(flow->pids[2], goes, "end", 3) != RUSM_OK) {
        flow->refused = true;
        seen.refusals++;
        if (stays == NULL) {
            use(flow, goes); /* it is still a stream, within the node */
        }
        return;
    }
    if (stays != NULL) {
        use(flow, stays);
    }
}

/* ---- a run ----------------------------------------------------------------------------------- */

static void flow_start(struct flow *flow, int here)
{
    static rusm_process_fn const bodies[] = {body_maker, body_other, body_other, body_other};
    static char hands_on;

    for (size_t i = 4; i-- > 0;) {
        assert_int_equal(rusm_spawn(w.rt[i < 2 ? here : 1 - here], bodies[i],
                                    i == 2 ? &hands_on : NULL, &flow->pids[i]),
                         RUSM_OK);
    }
}

static void world_open(uint64_t seed)
{
    rusm_runtime_config cfg;

    memset(&w, 0, sizeof(w));
    w.seed = seed;
    w.lossless = seed % 4 < 2;
    w.quiet = seed % 4 == 0;
    assert_int_equal(rusm_test_pool_new(&w.pool, seed, NULL), RUSM_OK);
    for (int i = 0; i < 2; i++) {
        rusm_runtime_config_init(&cfg);
        cfg.pool = w.pool;
        cfg.name = "test";
        assert_int_equal(rusm_runtime_new(&w.rt[i], &cfg), RUSM_OK);
        rusm_runtime_set_router(w.rt[i], &router, &w.rt[i]);
        if (seed % 8 == 5) {
            rusm_runtime_set_offered_max(w.rt[i], OFFERED_MAX);
        }
    }
    join();
    for (size_t i = 0; i < FLOWS; i++) {
        flow_start(&w.flows[i], (int)draw(2));
    }
}

static void do_something(void)
{
    uint64_t what = draw(1000);

    if (what < 600) {
        (void)rusm_test_step(w.pool);
    } else if (what < 900) {
        if (w.packets_len > 0) {
            deliver();
        }
    } else if (what < 960) {
        (void)rusm_test_advance(w.pool, 1);
    } else if (!w.lossless && what < 964) {
        (void)!rusm_kill(w.flows[draw(FLOWS)].pids[draw(4)]);
    } else if (!w.lossless && what < 966) {
        cut((int)draw(2));
    } else if (what < 980) {
        if (w.up[0] != w.up[1]) {
            cut(w.up[0] ? 0 : 1);
        }
        join();
    }
}

static bool any_alive(void)
{
    for (size_t i = 0; i < FLOWS * 4; i++) {
        if (rusm_is_alive(w.flows[i / 4].pids[i % 4])) {
            return true;
        }
    }
    return false;
}

/* Until everybody has ended, as everybody does in time, and everything has come. */
static void settle(void)
{
    for (unsigned i = 0; i < 5000 && (any_alive() || w.packets_len != 0); i++) {
        check(rusm_test_run(w.pool, STEPS_MAX) < STEPS_MAX);
        while (w.packets_len != 0) {
            deliver();
            check(rusm_test_run(w.pool, STEPS_MAX) < STEPS_MAX);
        }
        if (w.up[0] != w.up[1]) {
            cut(w.up[0] ? 0 : 1);
        }
        (void)rusm_test_advance(w.pool, 1);
    }
    check(!any_alive());
}

static uint64_t dropped(int side)
{
    rusm_runtime_stats stats;

    check(rusm_runtime_get_stats(w.rt[side], &stats) == RUSM_OK);
    return stats.stream_bytes_dropped;
}

static void check_end(void)
{
    uint64_t lost = 0;

    for (size_t i = 0; i < FLOWS; i++) {
        struct flow *flow = &w.flows[i];

        check(flow->read <= flow->total);
        lost += flow->written - flow->read;
        check(!w.quiet || flow->refused || (flow->ended && flow->read == flow->total));
    }
    check(!w.lossless || lost == dropped(0) + dropped(1));
    for (int i = 0; i < 2; i++) {
        struct rusmi_far *far = rusmi_far_find(w.rt[i], rusm_runtime_incarnation(w.rt[1 - i]));

        check((far != NULL) == w.up[i]);
        if (far != NULL) {
            check(far->streams.ours.len == 0 && far->streams.theirs.len == 0);
            check(far->streams.bytes == 0);
            check(atomic_load(&far->refs) == 2);
            rusmi_far_drop(far);
        }
    }
}

static void world_close(void)
{
    size_t peak;

    for (int i = 0; i < 2; i++) {
        while (rusm_runtime_stop(w.rt[i], RUSM_INFINITY) != RUSM_OK) {
        }
        check(rusm_runtime_offered(w.rt[i], &peak) == 0);
        check(w.seed % 8 != 5 || peak <= OFFERED_MAX);
        rusm_runtime_set_router(w.rt[i], NULL, NULL);
    }
    for (int i = 0; i < 2; i++) {
        rusm_runtime_del(w.rt[i]);
    }
    while (w.packets_len != 0) {
        w.packets_len--;
        free(w.packets[w.packets_len]->data);
        free(w.packets[w.packets_len]);
    }
    rusm_pool_del(w.pool);
}

static void run_seed(uint64_t seed)
{
    world_open(seed);
    for (unsigned i = 0; i < 3000 && w.wrong[0] == '\0'; i++) {
        do_something();
    }
    settle();
    check_end();
    world_close();
    if (w.wrong[0] != '\0') {
        fail_msg("%s", w.wrong);
    }
}

static uint64_t one_seed;

static void test_streams_keep_their_promises_in_any_order(void **state)
{
    (void)state;
    if (one_seed != 0) {
        run_seed(one_seed);
        return;
    }
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        run_seed(seed);
    }
    print_message(
        "whole %u, cut off %u, closed early %u, offers %u, refusals %u, waits %u, late %u, "
        "bytes along %u, handed on %u\n",
        seen.whole, seen.cut_off, seen.closed_early, seen.offers, seen.refusals, seen.waits,
        seen.late, seen.along, seen.handed_on);
    assert_true(seen.whole > 1000 && seen.cut_off > 1000 && seen.closed_early > 300);
    assert_true(seen.offers > 5000 && seen.refusals > 100 && seen.waits > 1000);
    assert_true(seen.late > 50 && seen.along > 500 && seen.handed_on > 300);
}

/* What waited for room while the connection was lost must not go to the next one. */
static void test_a_signal_of_a_lost_connection_is_late(void **state)
{
    const rusm_reason reason = {.kind = RUSM_REASON_NOCONNECTION};
    rusm_stream_signal signal = {.kind = RUSM_STREAM_DATA};
    struct rusmi_far *far;

    (void)state;
    world_open(1);
    far = rusmi_far_find(w.rt[0], rusm_runtime_incarnation(w.rt[1]));
    assert_non_null(far);
    assert_true(rusm_stream_signal_is_late(&signal)); /* there was no connection */
    signal.via = far;
    assert_false(rusm_stream_signal_is_late(&signal));
    rusm_runtime_node_down(w.rt[0], rusm_runtime_incarnation(w.rt[1]), &reason);
    assert_int_equal(rusm_runtime_node_up(w.rt[0], rusm_runtime_incarnation(w.rt[1]), 10), RUSM_OK);
    assert_true(rusm_stream_signal_is_late(&signal));
    rusmi_far_drop(far);
    world_close();
}

/* With a seed: that one alone. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams_keep_their_promises_in_any_order),
        cmocka_unit_test(test_a_signal_of_a_lost_connection_is_late),
    };

    one_seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
