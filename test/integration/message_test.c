/* SPDX-License-Identifier: MIT */
/*
 * Messages by pid, from threads, both ways, over a network that loses, in a mesh, and to receivers
 * that are slow or end. The plain cases by name are in traffic_test.c.
 *
 * Order is checked by numbers: each sender counts up in what it sends to one destination, and each
 * receiver expects that of each sender.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/procs.h"
#include "support/udp_proxy.h"

#include <rusm/otp/driver.h>

#include <pthread.h>

#define SENDERS_MAX 32
#define BIG_LEN     ((size_t)1024 * 1024 + 1)

/* What every message begins with. */
struct numbered {
    uint32_t sender;
    uint32_t number;
};

/* What a receiver saw. Static, as all that processes touch here. */
struct ledger {
    rusm_pid pid;
    uint32_t next[SENDERS_MAX];
    _Atomic uint64_t count;
    _Atomic uint64_t wrong; /* out of order, twice, damaged */
};

static unsigned char big[RUSM_MESSAGE_MAX + 1]; /* filled by main(), then constant */

/* Two connected nodes, "a" and "b". */
static void pair(void **state, struct support_node **out_a, struct support_node **out_b)
{
    *out_a = support_node_start(*state, "a");
    *out_b = support_node_start(*state, "b");
    support_connect(*out_a, *out_b);
}

static void keep_ledger(void *arg)
{
    struct ledger *ledger = arg;
    rusm_msg *msg;

    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        const unsigned char *data = rusm_msg_data(msg);
        size_t len = rusm_msg_len(msg);
        struct numbered head;

        memcpy(&head, data, sizeof(head));
        if (head.sender >= SENDERS_MAX || head.number != ledger->next[head.sender]++ ||
            memcmp(data + sizeof(head), big + sizeof(head), len - sizeof(head)) != 0) {
            atomic_fetch_add(&ledger->wrong, 1);
        }
        rusm_msg_del(msg);
        atomic_fetch_add(&ledger->count, 1);
    }
}

static void ledger_start(struct ledger *ledger, struct support_node *node, const char *name)
{
    rusm_spawn_config cfg;

    memset(ledger, 0, sizeof(*ledger));
    rusm_spawn_config_init(&cfg);
    cfg.name = cfg.label = name;
    assert_int_equal(rusm_spawn_with(node->runtime, keep_ledger, ledger, &cfg, &ledger->pid),
                     RUSM_OK);
}

struct ledger_wish {
    struct ledger *ledger;
    uint64_t count;
};

static bool ledger_has(void *arg)
{
    const struct ledger_wish *wish = arg;

    return atomic_load(&wish->ledger->count) >= wish->count;
}

static void ledger_wait(struct ledger *ledger, uint64_t count)
{
    struct ledger_wish wish = {.ledger = ledger, .count = count};

    (void)support_wait(ledger_has, &wish);
    assert_int_equal(atomic_load(&ledger->count), count);
    assert_int_equal(atomic_load(&ledger->wrong), 0);
}

/* One who sends `count` numbered messages; each big_every-th is big. By pid unless name is set. */
struct sender {
    rusm_node *node; /* NULL: that of the context */
    const char *peer, *name;
    rusm_pid to;
    uint32_t id, count, big_every;
    size_t len;
};

static rusm_err send_numbered(void *arg)
{
    const struct sender *sender = arg;
    rusm_err err = RUSM_OK;

    for (uint32_t i = 0; err == RUSM_OK && i < sender->count; i++) {
        struct numbered head = {.sender = sender->id, .number = i};
        bool is_big = sender->big_every != 0 && i % sender->big_every == 0;
        size_t len = is_big ? BIG_LEN : sender->len;
        rusm_msg *msg;

        err = rusm_msg_new(&msg, len);
        if (err != RUSM_OK) {
            break;
        }
        memcpy(rusm_msg_data(msg), big, len);
        memcpy(rusm_msg_data(msg), &head, sizeof(head));
        if (sender->name != NULL) {
            err = rusm_node_send(sender->node, sender->peer, sender->name, rusm_msg_data(msg), len);
            rusm_msg_del(msg);
        } else {
            err = rusm_send_msg(sender->to, msg);
            if (err != RUSM_OK) {
                rusm_msg_del(msg);
            }
        }
    }
    return err;
}

/* ---- by pid ---------------------------------------------------------------------------------- */

/* Sends 0, 1, 16 MiB and 16 MiB + 1 bytes to a pid; the last must be refused. */
static rusm_err send_sizes(void *arg)
{
    static const size_t sizes[] = {0, 1, RUSM_MESSAGE_MAX, RUSM_MESSAGE_MAX + 1};
    rusm_err err = RUSM_OK;

    for (size_t i = 0; err == RUSM_OK && i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        err = rusm_send(*(rusm_pid *)arg, big, sizes[i]);
    }
    return err;
}

static void sizes_by_pid_are_bounded_as_by_name(void **state)
{
    static struct support_call call;
    static struct support_box box;
    struct support_node *a, *b;

    pair(state, &a, &b);
    (void)support_box_start(&box, b, NULL);
    support_call_start(&call, a, send_sizes, &box.pid);
    support_call_wait(&call);
    assert_int_equal(call.err, RUSM_EMSGSIZE);
    support_box_wait(&box, 3);
    assert_int_equal(box.len, RUSM_MESSAGE_MAX);
    assert_memory_equal(box.data, big, sizeof(box.data));
    assert_true(rusm_pid_equal(box.sender, call.pid));
    assert_int_equal(support_stats(a).messages_sent, 3);
}

/* A message that can not go stays the caller's, whole. */
static rusm_err keep_refused_message(void *arg)
{
    rusm_msg *msg;
    rusm_err err = rusm_msg_new(&msg, RUSM_MESSAGE_MAX + 1);

    if (err == RUSM_OK) {
        memcpy(rusm_msg_data(msg), big, RUSM_MESSAGE_MAX + 1);
        err = rusm_send_msg(*(rusm_pid *)arg, msg);
        if (memcmp(rusm_msg_data(msg), big, RUSM_MESSAGE_MAX + 1) != 0) {
            err = RUSM_EPROTO;
        }
        rusm_msg_del(msg);
    }
    return err;
}

static void message_refused_stays_the_callers(void **state)
{
    static struct support_call call;
    struct support_node *a, *b;
    rusm_pid pid;

    pair(state, &a, &b);
    pid = support_idle_start(b, NULL);
    support_call_start(&call, a, keep_refused_message, &pid);
    support_call_wait(&call);
    assert_int_equal(call.err, RUSM_EMSGSIZE);
    support_node_stop(b);
    support_wait_peers(a, 0);
    support_call_start(&call, a, keep_refused_message, &pid);
    support_call_wait(&call);
    assert_int_equal(call.err, RUSM_ENONODE);
}

static rusm_err send_one(void *arg)
{
    return rusm_send(*(rusm_pid *)arg, "x", 1);
}

static void message_for_an_ended_process_is_counted_at_the_receiver(void **state)
{
    static struct support_call call;
    struct support_node *a, *b;
    rusm_pid pid;

    pair(state, &a, &b);
    pid = support_idle_start(b, NULL);
    support_kill(pid);
    support_call_start(&call, a, send_one, &pid);
    support_call_wait(&call);
    assert_int_equal(call.err, RUSM_OK);
    support_wait_stat(b, offsetof(rusm_node_stats, dropped_noproc), 1);
    assert_int_equal(support_stats(b).dropped_noproc, 1);
    assert_int_equal(support_stats(b).dropped_noname, 0);
}

static void message_that_can_not_be_is_refused(void **state)
{
    static char too_long[RUSM_NAME_MAX + 2];
    struct support_node *a, *b;

    pair(state, &a, &b);
    memset(too_long, 'x', sizeof(too_long) - 1);
    assert_int_equal(rusm_node_send(a->node, "b", "", "x", 1), RUSM_EINVAL);
    assert_int_equal(rusm_node_send(a->node, "b", too_long, "x", 1), RUSM_EINVAL);
    assert_int_equal(rusm_node_send(a->node, "b", "\xff", "x", 1), RUSM_EINVAL);
    assert_int_equal(rusm_node_send(a->node, "b", NULL, "x", 1), RUSM_EINVAL);
    assert_int_equal(rusm_node_send(a->node, NULL, "box", "x", 1), RUSM_EINVAL);
    assert_int_equal(rusm_node_send(a->node, "b", "box", NULL, 1), RUSM_EINVAL);
    assert_int_equal(rusm_node_send(NULL, "b", "box", "x", 1), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_node_try_send(a->node, "c", "box", "x", 1), RUSM_ENONODE);
    assert_non_null(strstr(rusm_err_detail(), "node c"));
    assert_int_equal(support_stats(a).messages_sent, 0);
}

/* ---- order ----------------------------------------------------------------------------------- */

/* Run senders in processes of their nodes and expect all of their messages in two ledgers. */
static void run_senders(struct support_call *calls, struct support_node *const *nodes,
                        struct sender *senders, size_t senders_len)
{
    for (size_t i = 0; i < senders_len; i++) {
        support_call_start(&calls[i], nodes[i], send_numbered, &senders[i]);
    }
    for (size_t i = 0; i < senders_len; i++) {
        support_call_wait(&calls[i]);
        if (calls[i].err != RUSM_OK) {
            fail_msg("sender %zu: %s (%s)", i, rusm_err_name(calls[i].err), calls[i].detail);
        }
    }
}

static void pairs_of_both_directions_keep_their_order_beside_big_messages(void **state)
{
    static struct ledger at_a, at_b;
    static struct sender senders[8];
    static struct support_call calls[8];
    struct support_node *a, *b, *nodes[8];

    pair(state, &a, &b);
    ledger_start(&at_a, a, "ledger");
    ledger_start(&at_b, b, "ledger");
    for (uint32_t i = 0; i < 8; i++) {
        bool from_a = i % 2 == 0;

        nodes[i] = from_a ? a : b;
        senders[i] = (struct sender){.peer = from_a ? "b" : "a",
                                     .name = i < 4 ? "ledger" : NULL,
                                     .to = from_a ? at_b.pid : at_a.pid,
                                     .id = i,
                                     .count = 2000,
                                     .len = 16 + i * 300,
                                     .big_every = i % 4 < 2 ? 100 : 0};
    }
    run_senders(calls, nodes, senders, 8);
    ledger_wait(&at_a, 4 * 2000);
    ledger_wait(&at_b, 4 * 2000);
}

/* Messages of the largest size both ways at once, with no room for all of them in any window. */
static void largest_messages_both_ways_do_not_block_each_other(void **state)
{
    static struct support_box at_a, at_b;
    static struct support_call calls[8];
    struct support_node *a, *b;

    pair(state, &a, &b);
    (void)support_box_start(&at_a, a, NULL);
    (void)support_box_start(&at_b, b, NULL);
    for (size_t i = 0; i < 8; i++) {
        support_call_start(&calls[i], i % 2 == 0 ? a : b, send_sizes,
                           i % 2 == 0 ? &at_b.pid : &at_a.pid);
    }
    for (size_t i = 0; i < 8; i++) {
        support_call_wait(&calls[i]);
        assert_int_equal(calls[i].err, RUSM_EMSGSIZE); /* of the fourth */
    }
    support_box_wait(&at_a, 4 * 3);
    support_box_wait(&at_b, 4 * 3);
}

static void order_holds_on_a_network_that_loses(void **state)
{
    static struct ledger ledger;
    static struct sender senders[4];
    static struct support_call calls[4];
    struct support_node *a = support_node_start(*state, "a"), *nodes[4] = {a, a, a, a};
    struct support_node *b = support_node_start(*state, "b");
    struct support_proxy *proxy = support_proxy_new(rusm_node_address(b->node));

    ledger_start(&ledger, b, "ledger");
    support_proxy_lose(proxy, 10);
    assert_int_equal(
        rusm_node_connect(a->node, support_proxy_address(proxy), SUPPORT_DEADLINE_MS, NULL),
        RUSM_OK);
    for (uint32_t i = 0; i < 4; i++) {
        senders[i] = (struct sender){.peer = "b",
                                     .name = i < 2 ? "ledger" : NULL,
                                     .to = ledger.pid,
                                     .id = i,
                                     .count = 2500,
                                     .len = 40 + i,
                                     .big_every = i == 3 ? 1000 : 0};
    }
    run_senders(calls, nodes, senders, 4);
    ledger_wait(&ledger, 4 * 2500);
    assert_true(support_proxy_dropped(proxy) > 0);
    assert_int_equal(support_stats(b).messages_received, 4 * 2500);
    support_proxy_del(proxy);
}

#define MESH 5

/* Each of five nodes sends to each other one, all at once. */
static void order_holds_in_a_mesh_of_five(void **state)
{
    static char names[MESH][2] = {"a", "b", "c", "d", "e"};
    static struct ledger ledgers[MESH];
    static struct sender senders[MESH * (MESH - 1)];
    static struct support_call calls[MESH * (MESH - 1)];
    struct support_node *nodes[MESH], *from[MESH * (MESH - 1)];
    size_t n = 0;

    for (size_t i = 0; i < MESH; i++) {
        nodes[i] = support_node_start(*state, names[i]);
        ledger_start(&ledgers[i], nodes[i], "ledger");
        for (size_t j = 0; j < i; j++) {
            support_connect(i % 2 == 0 ? nodes[i] : nodes[j], i % 2 == 0 ? nodes[j] : nodes[i]);
        }
    }
    for (size_t i = 0; i < MESH; i++) {
        for (size_t j = 0; j < MESH; j++) {
            if (i != j) {
                from[n] = nodes[i];
                senders[n++] = (struct sender){.peer = names[j],
                                               .name = "ledger",
                                               .id = (uint32_t)i,
                                               .count = 2000,
                                               .len = 100};
            }
        }
    }
    run_senders(calls, from, senders, n);
    for (size_t i = 0; i < MESH; i++) {
        ledger_wait(&ledgers[i], (MESH - 1) * 2000);
    }
}

/* ---- threads --------------------------------------------------------------------------------- */

struct runner {
    pthread_t thread;
    struct sender sender;
    rusm_runtime *runtime; /* to enter; NULL: none */
    rusm_pid self;
    rusm_err err;
};

static void *run_sender(void *arg)
{
    struct runner *runner = arg;

    runner->err = RUSM_OK;
    if (runner->runtime != NULL) {
        runner->err = rusm_thread_enter(runner->runtime, "runner");
        runner->self = rusm_self();
    }
    if (runner->err == RUSM_OK) {
        runner->err = send_numbered(&runner->sender);
    }
    rusm_thread_leave();
    return NULL;
}

/* Threads that entered and threads that did not; a small queue makes them wait. */
static void ordinary_threads_send_in_order_and_wait_for_room(void **state)
{
    static struct ledger ledger;
    static struct runner runners[6];
    rusm_node_config cfg = support_node_config();
    struct support_node *a, *b = support_node_start(*state, "b");

    cfg.queue_bytes_max = 16384;
    a = support_node_start_with(*state, "a", &cfg);
    support_connect(a, b);
    ledger_start(&ledger, b, "ledger");
    for (uint32_t i = 0; i < 6; i++) {
        bool enter = i % 3 != 0;

        runners[i].runtime = enter ? a->runtime : NULL;
        runners[i].sender = (struct sender){.node = enter ? NULL : a->node,
                                            .peer = "b",
                                            .name = i % 3 == 2 ? NULL : "ledger",
                                            .to = ledger.pid,
                                            .id = i,
                                            .count = 3000,
                                            .len = 200};
        assert_int_equal(pthread_create(&runners[i].thread, NULL, run_sender, &runners[i]), 0);
    }
    for (int i = 0; i < 6; i++) {
        assert_int_equal(pthread_join(runners[i].thread, NULL), 0);
        assert_int_equal(runners[i].err, RUSM_OK);
    }
    ledger_wait(&ledger, 6 * 3000);
}

static void message_of_an_entered_thread_has_its_pid(void **state)
{
    static struct support_box box;
    static struct runner runner;
    struct support_node *a, *b;

    pair(state, &a, &b);
    (void)support_box_start(&box, b, "box");
    runner = (struct runner){
        .runtime = a->runtime,
        .sender = {.peer = "b", .name = "box", .count = 1, .len = 10},
    };
    assert_int_equal(pthread_create(&runner.thread, NULL, run_sender, &runner), 0);
    assert_int_equal(pthread_join(runner.thread, NULL), 0);
    assert_int_equal(runner.err, RUSM_OK);
    support_box_wait(&box, 1);
    assert_true(rusm_pid_equal(box.sender, runner.self));
    assert_true(box.sender.incarnation == rusm_runtime_incarnation(a->runtime));
}

/* A process of one node that sends in the name of another node of the same OS process is nobody. */
static rusm_err send_by_way_of(void *arg)
{
    return rusm_node_send(arg, "b", "box", "x", 1);
}

static void process_of_another_node_sends_as_nobody(void **state)
{
    static struct support_box box;
    static struct support_call call;
    struct support_node *a, *b, *c;

    pair(state, &a, &b);
    c = support_node_start(*state, "c");
    (void)support_box_start(&box, b, "box");
    support_call_start(&call, c, send_by_way_of, a->node);
    support_call_wait(&call);
    assert_int_equal(call.err, RUSM_OK);
    support_box_wait(&box, 1);
    assert_true(rusm_pid_is_none(box.sender));
}

/* ---- slow receivers -------------------------------------------------------------------------- */

static rusm_err wait_for_ever(void *arg)
{
    return rusm_waiter_wait(arg, RUSM_INFINITY);
}

/* Waits to be told, and then takes all that comes. */
static rusm_err take_when_told(void *arg)
{
    rusm_err err = rusm_waiter_wait(arg, RUSM_INFINITY);
    rusm_msg *msg;

    while (err == RUSM_OK) {
        err = rusm_receive(&msg, RUSM_INFINITY);
        if (err == RUSM_OK) {
            rusm_msg_del(msg);
        }
    }
    return err;
}

static rusm_err send_for_ever(void *arg)
{
    rusm_err err;

    do {
        err = rusm_node_send(NULL, arg, "slow", big, 100);
    } while (err == RUSM_OK);
    return err;
}

/* A node "b" with mailboxes that are crowded above 10, and a process "slow" there in a call. */
static struct support_node *start_crowded(void **state, struct support_call *slow,
                                          rusm_err (*fn)(void *arg), rusm_waiter *waiter)
{
    rusm_node_config cfg = support_node_config();
    struct support_node *b;

    cfg.mailbox_high = 10;
    b = support_node_start_with(*state, "b", &cfg);
    support_call_start(slow, b, fn, waiter);
    support_call_wait_blocked(slow);
    assert_int_equal(rusm_register(b->runtime, "slow", slow->pid), RUSM_OK);
    return b;
}

static uint64_t mailbox_len(rusm_pid pid)
{
    rusm_process_info info;

    assert_int_equal(rusm_process_get_info(pid, &info), RUSM_OK);
    return info.mailbox_len;
}

static bool is_crowded(void *arg)
{
    return mailbox_len(*(rusm_pid *)arg) > 10;
}

static bool is_refused(void *arg)
{
    return rusm_node_try_send(arg, "b", "slow", big, 100) == RUSM_EAGAIN;
}

static bool is_accepted(void *arg)
{
    return rusm_node_try_send(arg, "b", "slow", big, 100) == RUSM_OK;
}

/* Slowed to one message in 100 ms, a thousand would take longer than the deadline allows. */
static void crowded_receiver_slows_peers_until_it_takes_its_messages(void **state)
{
    static struct support_call slow, calls[2];
    static char to_b[] = "b";
    struct support_node *a = support_node_start(*state, "a");
    struct support_node *c = support_node_start(*state, "c"), *b;
    rusm_waiter *waiter;
    uint64_t received;

    assert_int_equal(rusm_waiter_new(&waiter), RUSM_OK);
    b = start_crowded(state, &slow, take_when_told, waiter);
    support_connect(a, b);
    support_connect(c, b);
    support_call_start(&calls[0], a, send_for_ever, to_b);
    support_call_start(&calls[1], c, send_for_ever, to_b);
    assert_true(support_wait(is_crowded, &slow.pid));
    assert_true(support_wait(is_refused, a->node)); /* both peers were told */
    assert_true(support_wait(is_refused, c->node));
    support_call_wait_blocked(&calls[0]);
    support_call_wait_blocked(&calls[1]);
    /* At most what was in flight on each link, and what both sent until they were told. */
    assert_true(mailbox_len(slow.pid) < 2 * 40000);
    received = support_stats(b).messages_received;
    rusm_waiter_wake(waiter);
    support_wait_stat(b, offsetof(rusm_node_stats, messages_received), received + 5000);
    support_kill(calls[0].pid);
    support_kill(calls[1].pid);
    assert_true(support_wait(is_accepted, a->node));
    assert_true(support_wait(is_accepted, c->node));
    rusm_waiter_drop(waiter);
}

/* The name of a crowded receiver is free again when it ends, and so is the way there. */
static void receiver_that_ends_crowded_slows_nobody_any_more(void **state)
{
    static struct support_call slow, call;
    static char to_b[] = "b";
    struct support_node *a = support_node_start(*state, "a"), *b;
    rusm_waiter *waiter;
    uint64_t received;

    assert_int_equal(rusm_waiter_new(&waiter), RUSM_OK);
    b = start_crowded(state, &slow, wait_for_ever, waiter);
    support_connect(a, b);
    support_call_start(&call, a, send_for_ever, to_b);
    assert_true(support_wait(is_refused, a->node));
    support_kill(slow.pid);
    assert_true(support_wait(is_accepted, a->node));
    (void)support_idle_start(b, "slow"); /* a quick one takes its place */
    received = support_stats(b).messages_received;
    support_wait_stat(b, offsetof(rusm_node_stats, messages_received), received + 2000);
    support_kill(call.pid);
    rusm_waiter_drop(waiter);
}

/* A new link to the same name is told anew. */
static void crowded_receiver_slows_a_peer_that_connects_again(void **state)
{
    static struct support_call slow, call;
    static char to_b[] = "b";
    struct support_node *a = support_node_start(*state, "a"), *b;
    rusm_waiter *waiter;

    assert_int_equal(rusm_waiter_new(&waiter), RUSM_OK);
    b = start_crowded(state, &slow, wait_for_ever, waiter);
    for (int i = 0; i < 3; i++) {
        support_connect(a, b);
        support_call_start(&call, a, send_for_ever, to_b);
        assert_true(support_wait(is_refused, a->node));
        assert_int_equal(rusm_node_disconnect(a->node, "b"), RUSM_OK);
        support_call_wait(&call);
        assert_true(call.err == RUSM_ENOLINK || call.err == RUSM_ENONODE);
        support_wait_peers(b, 0);
    }
    support_kill(slow.pid);
    rusm_waiter_drop(waiter);
}

#define CASE(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, support_world_setup, support_world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(sizes_by_pid_are_bounded_as_by_name),
        CASE(message_refused_stays_the_callers),
        CASE(message_for_an_ended_process_is_counted_at_the_receiver),
        CASE(message_that_can_not_be_is_refused),
        CASE(pairs_of_both_directions_keep_their_order_beside_big_messages),
        CASE(largest_messages_both_ways_do_not_block_each_other),
        CASE(order_holds_on_a_network_that_loses),
        CASE(order_holds_in_a_mesh_of_five),
        CASE(ordinary_threads_send_in_order_and_wait_for_room),
        CASE(message_of_an_entered_thread_has_its_pid),
        CASE(process_of_another_node_sends_as_nobody),
        CASE(crowded_receiver_slows_peers_until_it_takes_its_messages),
        CASE(receiver_that_ends_crowded_slows_nobody_any_more),
        CASE(crowded_receiver_slows_a_peer_that_connects_again),
    };

    for (size_t i = 0; i < sizeof(big); i++) {
        big[i] = (unsigned char)(i * 31 + (i >> 11));
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
