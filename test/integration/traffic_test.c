/* SPDX-License-Identifier: MIT */
/*
 * Messages between real nodes: sizes, order, unknown receivers, back-pressure, and closing
 * while they flow.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "support/nodes.h"
#include "support/udp_proxy.h"

#include <rusm/otp/driver.h>

#include <stdlib.h>
#include <string.h>

#define MANY 100000

/* What a receiving process saw; the test waits for `count`. */
struct tally {
    _Atomic uint64_t count;
    _Atomic uint64_t wrong; /* out of order, repeated, or damaged */
    _Atomic size_t last_len;
    _Atomic uint64_t want;
};

static bool tally_full(void *arg)
{
    struct tally *tally = arg;

    return atomic_load(&tally->count) >= atomic_load(&tally->want);
}

/*
 * Every byte of a large message is a function of its place, so that a shifted or lost piece
 * shows.
 */
static unsigned char pattern(size_t i)
{
    return (unsigned char)(i * 31 + (i >> 12));
}

/* Receives messages that begin with their number, 0, 1, 2, ... for each sender (byte 8). */
static void counting_receiver(void *arg)
{
    struct tally *tally = arg;
    uint64_t expected[256] = {0};
    rusm_msg *msg;

    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        const unsigned char *data = rusm_msg_data(msg);
        size_t len = rusm_msg_len(msg);
        uint64_t number;

        memcpy(&number, data, sizeof(number));
        if (number != expected[data[8]]++) {
            atomic_fetch_add(&tally->wrong, 1);
        }
        for (size_t i = 9; i < len; i += 997) {
            if (data[i] != pattern(i)) {
                atomic_fetch_add(&tally->wrong, 1);
            }
        }
        atomic_store(&tally->last_len, len);
        rusm_msg_del(msg);
        atomic_fetch_add(&tally->count, 1);
    }
}

/* Receives anything and notes its length. */
static void length_receiver(void *arg)
{
    struct tally *tally = arg;
    rusm_msg *msg;

    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        const unsigned char *data = rusm_msg_data(msg);
        size_t len = rusm_msg_len(msg);

        for (size_t i = 0; i < len; i++) {
            if (data[i] != pattern(i)) {
                atomic_fetch_add(&tally->wrong, 1);
                break;
            }
        }
        atomic_store(&tally->last_len, len);
        rusm_msg_del(msg);
        atomic_fetch_add(&tally->count, 1);
    }
}

static rusm_pid spawn_named(struct support_node *node, const char *name, rusm_process_fn fn,
                            void *arg)
{
    rusm_spawn_config cfg;
    rusm_pid pid;

    rusm_spawn_config_init(&cfg);
    cfg.name = cfg.label = name;
    assert_int_equal(rusm_spawn_with(node->runtime, fn, arg, &cfg, &pid), RUSM_OK);
    return pid;
}

static void wait_count(struct tally *tally, uint64_t want)
{
    atomic_store(&tally->want, want);
    assert_true(support_wait(tally_full, tally));
}

/* Two connected nodes, "a" and "b". */
static void pair(void **state, struct support_node **out_a, struct support_node **out_b)
{
    *out_a = support_node_start(*state, "a");
    *out_b = support_node_start(*state, "b");
    support_connect(*out_a, *out_b);
}

/* 0 bytes, 1 byte and 16 MiB arrive whole; one byte more is refused and nothing is sent. */
static void test_sizes_up_to_the_limit_arrive_and_one_more_is_refused(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 1200, 65536, 65537, RUSM_MESSAGE_MAX};
    static struct tally tally;
    struct support_node *a, *b;
    unsigned char *bytes = malloc(RUSM_MESSAGE_MAX + 1);

    assert_non_null(bytes);
    for (size_t i = 0; i <= RUSM_MESSAGE_MAX; i++) {
        bytes[i] = pattern(i);
    }
    pair(state, &a, &b);
    (void)spawn_named(b, "sink", length_receiver, &tally);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_int_equal(rusm_node_send(a->node, "b", "sink", bytes, sizes[i]), RUSM_OK);
        wait_count(&tally, i + 1);
        assert_int_equal(atomic_load(&tally.last_len), sizes[i]);
    }
    assert_int_equal(rusm_node_send(a->node, "b", "sink", bytes, RUSM_MESSAGE_MAX + 1),
                     RUSM_EMSGSIZE);
    assert_non_null(strstr(rusm_err_detail(), "16777217"));
    assert_int_equal(atomic_load(&tally.wrong), 0);
    assert_int_equal(support_stats(a).messages_sent, sizeof(sizes) / sizeof(sizes[0]));
    free(bytes);
}

static void test_unknown_node_is_an_error_that_names_it(void **state)
{
    struct support_node *a, *b;

    pair(state, &a, &b);
    assert_int_equal(rusm_node_send(a->node, "nowhere", "sink", "x", 1), RUSM_ENONODE);
    assert_non_null(strstr(rusm_err_detail(), "nowhere"));
}

static void test_message_for_an_unknown_name_is_counted_at_the_receiver(void **state)
{
    struct support_node *a, *b;

    pair(state, &a, &b);
    assert_int_equal(rusm_node_send(a->node, "b", "nobody", "x", 1), RUSM_OK);
    support_wait_stat(b, offsetof(rusm_node_stats, dropped_noname), 1);
    assert_int_equal(support_stats(b).dropped_noname, 1);
    assert_int_equal(support_stats(a).dropped_noname, 0);
}

static void test_own_node_is_served_without_the_wire(void **state)
{
    static struct tally tally;
    struct support_node *a, *b;

    pair(state, &a, &b);
    (void)spawn_named(a, "sink", length_receiver, &tally);
    assert_int_equal(rusm_node_send(a->node, "a", "sink", NULL, 0), RUSM_OK);
    wait_count(&tally, 1);
    assert_int_equal(support_stats(a).messages_sent, 0);
    assert_int_equal(rusm_node_send(a->node, "a", "nobody", NULL, 0), RUSM_ENONAME);
}

/* A process that sends numbered messages to "sink" on b. */
struct source {
    uint64_t count;
    unsigned char number; /* which sender it is */
    size_t big_every;     /* every so many messages a large one; 0: never */
    _Atomic int err;
    atomic_bool done;
};

static void send_numbered(void *arg)
{
    struct source *source = arg;
    size_t big_len = 3 * 1024 * 1024 + 11;
    unsigned char *bytes = malloc(big_len);
    int err = bytes == NULL ? RUSM_ENOMEM : RUSM_OK;

    for (size_t i = 9; err == RUSM_OK && i < big_len; i++) {
        bytes[i] = pattern(i);
    }
    for (uint64_t i = 0; err == RUSM_OK && i < source->count; i++) {
        bool big = source->big_every != 0 && i % source->big_every == source->big_every - 1;

        memcpy(bytes, &i, sizeof(i));
        bytes[8] = source->number;
        err = rusm_node_send(NULL, "b", "sink", bytes, big ? big_len : 9 + i % 50);
    }
    free(bytes);
    atomic_store(&source->err, err);
    atomic_store(&source->done, true);
}

static void test_messages_of_one_pair_arrive_once_each_in_order(void **state)
{
    static struct tally tally;
    static struct source source = {.count = MANY};
    struct support_node *a, *b;

    pair(state, &a, &b);
    (void)spawn_named(b, "sink", counting_receiver, &tally);
    assert_int_equal(rusm_spawn(a->runtime, send_numbered, &source, NULL), RUSM_OK);
    wait_count(&tally, MANY);
    assert_int_equal(atomic_load(&source.err), RUSM_OK);
    assert_int_equal(atomic_load(&tally.wrong), 0);
    assert_int_equal(atomic_load(&tally.count), MANY);
    assert_int_equal(support_stats(b).messages_received, MANY);
}

/* Large messages of some pairs between the small ones of others: each pair keeps its order. */
static void test_pairs_with_large_and_small_messages_keep_their_order(void **state)
{
    static struct tally tally;
    static struct source sources[4] = {{.count = 60, .number = 0, .big_every = 6},
                                       {.count = 5000, .number = 1},
                                       {.count = 5000, .number = 2, .big_every = 1000},
                                       {.count = 5000, .number = 3}};
    struct support_node *a, *b;

    pair(state, &a, &b);
    (void)spawn_named(b, "sink", counting_receiver, &tally);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(rusm_spawn(a->runtime, send_numbered, &sources[i], NULL), RUSM_OK);
    }
    wait_count(&tally, 60 + 3 * 5000);
    assert_int_equal(atomic_load(&tally.wrong), 0);
}

/* A pid that came with a message reaches its process from another node, and only that one. */
static void test_reply_to_the_sender_of_a_message(void **state)
{
    struct support_node *a, *b;

    pair(state, &a, &b);
    support_echo_start(b);
    support_exchange(a, b, 200, 64);
    support_exchange(a, b, 2, 100000);
}

/* A receiver that takes one message each time it is told to. */
struct slow {
    _Atomic uint64_t taken;
    rusm_waiter *go;
};

static void slow_receiver(void *arg)
{
    struct slow *slow = arg;
    rusm_msg *msg;

    while (rusm_waiter_wait(slow->go, RUSM_INFINITY) == RUSM_OK) {
        while (rusm_receive(&msg, 0) == RUSM_OK) {
            rusm_msg_del(msg);
            atomic_fetch_add(&slow->taken, 1);
        }
    }
    rusm_checkpoint();
}

struct flood {
    atomic_bool stop;
    _Atomic uint64_t sent;
    atomic_bool done;
};

static void flooder(void *arg)
{
    struct flood *flood = arg;

    while (!atomic_load(&flood->stop) &&
           rusm_node_send(NULL, "b", "slow", "0123456789", 10) == RUSM_OK) {
        atomic_fetch_add(&flood->sent, 1);
    }
    atomic_store(&flood->done, true);
}

/* Who does not wait is refused: waiting for a number of messages instead would take 100 ms each. */
static bool flood_is_slowed(void *arg)
{
    return rusm_node_try_send(arg, "b", "slow", "0123456789", 10) == RUSM_EAGAIN;
}

static bool flood_done(void *arg)
{
    return atomic_load(&((struct flood *)arg)->done);
}

struct depth {
    rusm_pid pid;
    uint64_t at_most;
};

static bool mailbox_is_small(void *arg)
{
    struct depth *depth = arg;
    rusm_process_info info;

    return rusm_process_get_info(depth->pid, &info) == RUSM_OK &&
           info.mailbox_len <= depth->at_most;
}

/*
 * A process that does not receive slows its remote senders down, so its mailbox stays small, while
 * others on the same link go on as before; once it receives, so do its senders.
 */
static void test_crowded_mailbox_slows_its_senders_and_nobody_else(void **state)
{
    static struct slow slow;
    static struct flood flood;
    struct support_node *a, *b;
    rusm_node_config cfg = support_node_config();
    struct depth depth = {.at_most = 200000};
    rusm_process_info info;

    cfg.mailbox_high = 100;
    a = support_node_start(*state, "a");
    b = support_node_start_with(*state, "b", &cfg);
    support_connect(a, b);
    support_echo_start(b);
    assert_int_equal(rusm_waiter_new(&slow.go), RUSM_OK);
    depth.pid = spawn_named(b, "slow", slow_receiver, &slow);
    assert_int_equal(rusm_spawn(a->runtime, flooder, &flood, NULL), RUSM_OK);
    assert_true(support_wait(flood_is_slowed, a->node));
    assert_true(atomic_load(&flood.sent) > 0);
    support_exchange(a, b, 500, 64);
    /* Unslowed, the flood would have grown by some hundred thousand while the others exchanged. */
    assert_int_equal(rusm_process_get_info(depth.pid, &info), RUSM_OK);
    assert_true(info.mailbox_len < 100000);
    atomic_store(&flood.stop, true);
    rusm_waiter_wake(slow.go);
    assert_true(support_wait(flood_done, &flood));
    rusm_waiter_wake(slow.go);
    depth.at_most = 0;
    assert_true(support_wait(mailbox_is_small, &depth));
    support_node_stop(b);
    rusm_waiter_drop(slow.go);
    slow.go = NULL;
}

/*
 * What does not fit the queue is refused to a sender that does not want to wait, and fits again
 * later.
 */
static void test_full_queue_refuses_who_does_not_wait(void **state)
{
    static struct tally tally;
    struct support_node *a, *b;
    rusm_node_config cfg = support_node_config();
    size_t len = 4 * 1024 * 1024;
    unsigned char *bytes = calloc(1, len);
    uint64_t sent = 0;
    int err;

    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = pattern(i);
    }
    cfg.queue_bytes_max = len;
    a = support_node_start_with(*state, "a", &cfg);
    b = support_node_start(*state, "b");
    support_connect(a, b);
    (void)spawn_named(b, "sink", length_receiver, &tally);
    while ((err = rusm_node_try_send(a->node, "b", "sink", bytes, len)) == RUSM_OK &&
           sent < 10000) {
        sent++;
    }
    assert_int_equal(err, RUSM_EAGAIN);
    assert_int_equal(rusm_node_send(a->node, "b", "sink", bytes, len),
                     RUSM_OK); /* waits for room */
    wait_count(&tally, sent + 1);
    assert_int_equal(atomic_load(&tally.wrong), 0);
    free(bytes);
}

static bool holds_bytes(void *node)
{
    return support_stats(node).held_bytes != 0;
}

static bool holds_nothing(void *node)
{
    rusm_node_stats stats = support_stats(node);

    return stats.held_bytes == 0 && stats.queue_bytes == 0;
}

/* Big messages that are sent without waiting until no more are taken. */
struct stuffing {
    struct support_node *from;
    const unsigned char *bytes;
    size_t len;
    uint64_t sent, wanted;
};

/* The link has taken more than its credit lets it start, and the rest has filled the queue. */
static bool is_stuffed(void *arg)
{
    struct stuffing *stuffing = arg;

    while (rusm_node_try_send(stuffing->from->node, "b", "sink", stuffing->bytes, stuffing->len) ==
               RUSM_OK &&
           stuffing->sent < 1000) {
        stuffing->sent++;
    }
    return stuffing->sent >= stuffing->wanted;
}

/*
 * While nothing gets through to one peer, what waits for it is bounded and shown, and another peer
 * is served as ever. Afterwards all of it arrives; what has come in part is shown at the receiver.
 */
static void test_peer_that_is_cut_off_holds_up_nobody_else(void **state)
{
    static struct tally tally;
    struct support_node *a, *b, *c;
    struct support_proxy *proxy;
    struct support_proxy_faults slow = {.rate = 50000000, .queue_bytes = 32 << 20};
    rusm_node_config cfg = support_node_config();
    rusm_peer_info info;
    rusm_node_stats stats;
    size_t len = 1024 * 1024;
    unsigned char *bytes = malloc(len);
    uint64_t credit = RUSMI_LINK_WINDOW - RUSMI_LINK_WINDOW / RUSMI_SMALL_SHARE_PARTS;
    struct stuffing stuffing = {.bytes = bytes, .len = len, .wanted = credit / len + 5};

    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = pattern(i);
    }
    cfg.queue_bytes_max = 8 * len;
    cfg.tick_ms = SUPPORT_DEADLINE_MS; /* a cut link is not lost while the test looks */
    a = support_node_start_with(*state, "a", &cfg);
    b = support_node_start_with(*state, "b", &cfg);
    c = support_node_start(*state, "c");
    support_echo_start(c);
    support_connect(a, c);
    proxy = support_proxy_new(rusm_node_address(b->node));
    assert_int_equal(
        rusm_node_connect(a->node, support_proxy_address(proxy), SUPPORT_DEADLINE_MS, NULL),
        RUSM_OK);
    support_wait_peer(b, "a", true);
    (void)spawn_named(b, "sink", length_receiver, &tally);
    support_proxy_cut(proxy, true);
    stuffing.from = a;
    assert_true(support_wait(is_stuffed, &stuffing));
    assert_in_range(stuffing.sent, stuffing.wanted, credit / len + 8);
    support_exchange(a, c, 100, 64);
    stats = support_stats(a);
    assert_in_range(stats.queue_bytes, 5 * len, 8 * len);
    assert_true(support_peer_find(a, "b", &info));
    assert_int_equal(info.queue_bytes, stats.queue_bytes);
    assert_true(support_peer_find(a, "c", &info));
    assert_int_equal(info.queue_bytes, 0);
    support_proxy_set(proxy, SUPPORT_PROXY_BOTH, &slow);
    assert_true(support_wait(holds_bytes, b));
    wait_count(&tally, stuffing.sent);
    assert_int_equal(atomic_load(&tally.wrong), 0);
    assert_true(support_wait(holds_nothing, a));
    assert_true(support_wait(holds_nothing, b));
    support_proxy_del(proxy);
    free(bytes);
}

/* Sends back and forth as fast as it may, until its node goes. */
static void ping_for_ever(void *arg)
{
    const char *peer = arg;

    while (rusm_node_send(NULL, peer, "sink", "0123456789abcdef", 16) == RUSM_OK) {
    }
}

static void drain(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_del(msg);
    }
}

/* Neither side hangs, and nothing leaks (the sanitizers' word), whichever goes first. */
static void test_node_closed_while_messages_flow_both_ways(void **state)
{
    static char to_a[] = "a", to_b[] = "b";

    for (int round = 0; round < 6; round++) {
        struct support_node *a, *b;

        pair(state, &a, &b);
        (void)spawn_named(a, "sink", drain, NULL);
        (void)spawn_named(b, "sink", drain, NULL);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(rusm_spawn(a->runtime, ping_for_ever, to_b, NULL), RUSM_OK);
            assert_int_equal(rusm_spawn(b->runtime, ping_for_ever, to_a, NULL), RUSM_OK);
        }
        support_wait_stat(b, offsetof(rusm_node_stats, messages_received), 2000u * (unsigned)round);
        support_node_stop(round % 2 == 0 ? a : b);
        support_wait_peers(round % 2 == 0 ? b : a, 0);
        support_node_stop(round % 2 == 0 ? b : a);
    }
}

/* Threads that have entered no runtime send too, as nobody. */
static void test_message_of_a_plain_thread_has_no_sender(void **state)
{
    struct support_node *a, *b;
    rusm_msg *msg;

    pair(state, &a, &b);
    assert_int_equal(rusm_thread_enter(b->runtime, "test"), RUSM_OK);
    assert_int_equal(rusm_register(NULL, "me", rusm_self()), RUSM_OK);
    assert_int_equal(rusm_node_send(a->node, "b", "me", "hi", 2), RUSM_OK);
    assert_int_equal(rusm_receive(&msg, SUPPORT_DEADLINE_MS), RUSM_OK);
    assert_true(rusm_pid_is_none(rusm_msg_sender(msg)));
    assert_memory_equal(rusm_msg_data(msg), "hi", 2);
    rusm_msg_del(msg);
    rusm_thread_leave();
}

#define CASE(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, support_world_setup, support_world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_sizes_up_to_the_limit_arrive_and_one_more_is_refused),
        CASE(test_unknown_node_is_an_error_that_names_it),
        CASE(test_message_for_an_unknown_name_is_counted_at_the_receiver),
        CASE(test_own_node_is_served_without_the_wire),
        CASE(test_messages_of_one_pair_arrive_once_each_in_order),
        CASE(test_pairs_with_large_and_small_messages_keep_their_order),
        CASE(test_reply_to_the_sender_of_a_message),
        CASE(test_crowded_mailbox_slows_its_senders_and_nobody_else),
        CASE(test_full_queue_refuses_who_does_not_wait),
        CASE(test_peer_that_is_cut_off_holds_up_nobody_else),
        CASE(test_node_closed_while_messages_flow_both_ways),
        CASE(test_message_of_a_plain_thread_has_no_sender),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
