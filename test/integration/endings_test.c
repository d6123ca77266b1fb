/* SPDX-License-Identifier: MIT */
/*
 * How nodes and links end, in order and not: nodes deleted in the middle of everything, peers that
 * fall silent, processes killed inside calls, nodes that come back.
 *
 * That nothing leaks and nothing is touched after its end is the sanitizers' word; that nothing
 * hangs is the word of the deadlines.
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

#include "platform/udp.h"

#include <rusm/otp/driver.h>

#include <pthread.h>

/* So long a tick that within a test only a word of the peer can end a link. */
#define TICK_NEVER 3600000
#define TICK_SHORT 200

static struct support_node *start_tick(void **state, const char *name, uint32_t tick_ms)
{
    rusm_node_config cfg = support_node_config();

    cfg.tick_ms = tick_ms;
    return support_node_start_with(*state, name, &cfg);
}

/* Two connected nodes, "a" and "b". */
static void pair(void **state, uint32_t tick_ms, struct support_node **out_a,
                 struct support_node **out_b)
{
    *out_a = start_tick(state, "a", tick_ms);
    *out_b = start_tick(state, "b", tick_ms);
    support_connect(*out_a, *out_b);
}

/* a has dialed b through a proxy. */
static struct support_proxy *connect_through_proxy(struct support_node *a, struct support_node *b)
{
    struct support_proxy *proxy = support_proxy_new(rusm_node_address(b->node));

    assert_int_equal(
        rusm_node_connect(a->node, support_proxy_address(proxy), SUPPORT_DEADLINE_MS, NULL),
        RUSM_OK);
    support_wait_peer(b, rusm_node_name(a->node), true);
    return proxy;
}

struct name_wish {
    struct support_node *node;
    const char *name;
    rusm_err err;
};

static bool name_is(void *arg)
{
    const struct name_wish *wish = arg;
    rusm_pid pid;

    return rusm_whereis_global(wish->node->node, wish->name, &pid) == wish->err;
}

static void wait_name(struct support_node *node, const char *name, rusm_err err)
{
    struct name_wish wish = {.node = node, .name = name, .err = err};

    assert_true(support_wait(name_is, &wish));
}

/*
 * ---- a node deleted in the middle of everything
 * -----------------------------------------------
 */

/* What a process sends, to "sink" of a peer; static, because a killed process frees nothing. */
struct traffic {
    const char *peer;
    size_t len;
};

static unsigned char payload[300000];
static struct traffic traffics[2][2] = {{{"b", 10}, {"b", sizeof(payload)}},
                                        {{"a", 10}, {"a", sizeof(payload)}}};

static void send_for_ever(void *arg)
{
    const struct traffic *traffic = arg;

    while (rusm_node_send(NULL, traffic->peer, "sink", payload, traffic->len) == RUSM_OK) {
    }
}

/* Asks a peer for one thing after the other. */
static void ask_for_ever(void *arg)
{
    const char *peer = arg;
    rusm_process_info info;
    rusm_pid pid = RUSM_PID_NONE;
    rusm_err err = RUSM_OK;

    while (err == RUSM_OK) {
        uint64_t cursor = 0;
        ptrdiff_t n = rusm_remote_process_list(NULL, peer, &cursor, &info, 1, SUPPORT_DEADLINE_MS);

        err = n < 0 ? (rusm_err)n
                    : rusm_spawn_remote(NULL, peer, "sit", NULL, 0, SUPPORT_DEADLINE_MS, &pid);
        if (err == RUSM_OK) {
            err = rusm_remote_kill(NULL, peer, pid, SUPPORT_DEADLINE_MS);
        }
    }
}

/* Publishes itself and takes it back. */
static void publish_for_ever(void *arg)
{
    const char *name = arg;

    while (rusm_register_global(NULL, name, rusm_self()) == RUSM_OK &&
           rusm_unregister_global(NULL, name) == RUSM_OK) {
        rusm_yield();
    }
}

static void sit(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_del(msg);
    }
}

static rusm_err make_sitter(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    (void)arg;
    (void)args;
    (void)args_len;
    return rusm_spawn(NULL, sit, NULL, out_pid);
}

/* Everything at once on one of two nodes (0: "a", 1: "b"). */
static void start_traffic(struct support_node *node, int which)
{
    static char name_of_a[] = "a", name_of_b[] = "b";
    char *own = which == 0 ? name_of_a : name_of_b, *other = which == 0 ? name_of_b : name_of_a;

    (void)support_idle_start(node, "sink");
    assert_int_equal(rusm_factory_register(node->node, "sit", make_sitter, NULL), RUSM_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rusm_spawn(node->runtime, send_for_ever, &traffics[which][i], NULL),
                         RUSM_OK);
    }
    assert_int_equal(rusm_spawn(node->runtime, ask_for_ever, other, NULL), RUSM_OK);
    assert_int_equal(rusm_spawn(node->runtime, publish_for_ever, own, NULL), RUSM_OK);
}

static void *stop_node(void *arg)
{
    support_node_stop(arg);
    return NULL;
}

/* Delete b, or a, or both at once, after ever more messages. */
static void nodes_are_deleted_at_any_moment_of_traffic(void **state)
{
    struct support_world *world = *state;

    for (unsigned round = 0; round < 24; round++) {
        struct support_node *a, *b;
        uint64_t messages = round < 6 ? round : (round - 5) * 100;

        pair(state, 10000, &a, &b);
        start_traffic(a, 0);
        start_traffic(b, 1);
        support_wait_stat(b, offsetof(rusm_node_stats, messages_received), messages);
        if (round % 3 == 2) {
            pthread_t thread;

            assert_int_equal(pthread_create(&thread, NULL, stop_node, a), 0);
            support_node_stop(b);
            assert_int_equal(pthread_join(thread, NULL), 0);
        } else {
            struct support_node *first = round % 3 == 0 ? a : b, *second = first == a ? b : a;

            support_node_stop(first);
            support_wait_peers(second, 0);
            support_node_stop(second);
        }
        world->nodes_len = 0; /* their places can be used again */
    }
}

/* A middle node goes while both its neighbours send to it and to each other. */
static void other_links_go_on_when_a_node_is_deleted(void **state)
{
    static struct support_box box;
    struct support_node *a, *b, *c;
    uint64_t before;

    pair(state, 10000, &a, &b);
    c = support_node_start(*state, "c");
    support_connect(c, b);
    support_connect(a, c);
    start_traffic(a, 0);
    (void)support_idle_start(b, "sink");
    (void)support_box_start(&box, c, "box");
    support_wait_stat(b, offsetof(rusm_node_stats, messages_received), 1000);
    support_node_stop(b);
    support_wait_peer(a, "b", false);
    support_wait_peer(c, "b", false);
    before = atomic_load(&box.count);
    assert_int_equal(rusm_node_send(a->node, "c", "box", "still here", 10), RUSM_OK);
    support_box_wait(&box, before + 1);
    assert_memory_equal(box.data, "still here", 10);
}

static void messages_accepted_before_the_end_are_delivered(void **state)
{
    static struct support_box box;
    struct support_node *a, *b;

    pair(state, TICK_NEVER, &a, &b);
    (void)support_box_start(&box, b, "box");
    for (int i = 0; i < 2000; i++) {
        assert_int_equal(rusm_node_send(a->node, "b", "box", payload, 500), RUSM_OK);
    }
    support_node_stop(a);
    support_box_wait(&box, 2000);
}

/* With a tick of an hour nothing but the word of the peer can tell so soon. */
static void deleted_node_is_missed_at_once(void **state)
{
    struct support_node *a, *b;
    rusm_pid pid;

    pair(state, TICK_NEVER, &a, &b);
    pid = support_idle_start(b, NULL);
    assert_int_equal(rusm_register_global(b->node, "global", pid), RUSM_OK);
    wait_name(a, "global", RUSM_OK);
    support_node_stop(b);
    support_wait_peers(a, 0);
    wait_name(a, "global", RUSM_ENONAME);
    assert_int_equal(rusm_node_send(a->node, "b", "box", "x", 1), RUSM_ENONODE);
    assert_int_equal(support_stats(a).timeouts, 0);
    assert_int_equal(support_stats(a).protocol_errors, 0);
}

/* Each second datagram of the dialer is lost, now its last word and now what was before it. That
 * word is said again, by a link as by a node that goes: nobody waits out a silence. */
static void lost_last_word_is_said_again(void **state)
{
    const struct support_proxy_faults faults = {.lose_every = 2};
    struct support_node *b = start_tick(state, "b", TICK_NEVER);

    for (int i = 0; i < 12; i++) {
        struct support_node *a = start_tick(state, "a", TICK_NEVER);
        struct support_proxy *proxy = connect_through_proxy(a, b);

        support_proxy_set(proxy, SUPPORT_PROXY_TO, &faults);
        if (i % 2 == 0) {
            assert_int_equal(rusm_node_send(a->node, "b", "nobody", "x", 1), RUSM_OK);
            support_wait_stat(b, offsetof(rusm_node_stats, dropped_noname), (uint64_t)i / 2 + 1);
        }
        if (i % 4 < 2) {
            assert_int_equal(rusm_node_disconnect(a->node, "b"), RUSM_OK);
            support_wait_peers(b, 0);
        }
        support_node_stop(a);
        support_wait_peers(b, 0);
        support_proxy_del(proxy);
    }
    assert_int_equal(support_stats(b).timeouts, 0);
}

/* ---- links that fall silent -------------------------------------------------- */

static bool is_up_for_ticks(void *arg)
{
    rusm_peer_info info;

    return support_peer_find(arg, "b", &info) && info.up_ms >= 10 * TICK_SHORT;
}

/*
 * First the link is there, then it is cut, and only then it is down, with its names, by time-out on
 * both sides; what was accepted meanwhile is counted as lost, and other links do not notice.
 */
static void silent_peer_is_down_by_its_tick(void **state)
{
    struct support_node *a = start_tick(state, "a", TICK_SHORT);
    struct support_node *b = start_tick(state, "b", TICK_SHORT);
    struct support_node *c = start_tick(state, "c", TICK_SHORT);
    struct support_proxy *proxy = connect_through_proxy(a, b);
    uint64_t accepted = 0;

    support_connect(a, c);
    assert_int_equal(rusm_register_global(b->node, "global", support_idle_start(b, NULL)), RUSM_OK);
    wait_name(a, "global", RUSM_OK);
    assert_true(support_wait(is_up_for_ticks, a));
    support_proxy_cut(proxy, true);
    for (int i = 0; i < 3; i++) {
        rusm_err err = rusm_node_send(a->node, "b", "box", "x", 1);

        assert_true(err == RUSM_OK || err == RUSM_ENONODE);
        accepted += err == RUSM_OK;
    }
    support_wait_peer(a, "b", false);
    support_wait_peer(b, "a", false);
    wait_name(a, "global", RUSM_ENONAME);
    support_wait_stat(a, offsetof(rusm_node_stats, timeouts), 1);
    support_wait_stat(b, offsetof(rusm_node_stats, timeouts), 1);
    support_wait_stat(a, offsetof(rusm_node_stats, dropped_link), accepted);
    assert_int_equal(support_stats(a).timeouts, 1);
    assert_int_equal(support_stats(b).timeouts, 1);
    assert_int_equal(support_stats(a).dropped_link, accepted);
    assert_int_equal(support_peers(a), 1);
    assert_int_equal(support_peers(c), 1);
    assert_int_equal(rusm_node_send(a->node, "b", "box", "x", 1), RUSM_ENONODE);
    support_proxy_cut(proxy, false);
    support_connect(a, b); /* it can be linked again */
    wait_name(a, "global", RUSM_OK);
    support_proxy_del(proxy);
}

static bool has_dropped(void *arg)
{
    return support_proxy_dropped(arg) > 0;
}

static void short_silence_loses_nothing(void **state)
{
    static struct support_box box;
    struct support_node *a, *b;
    struct support_proxy *proxy;

    a = start_tick(state, "a", TICK_NEVER);
    b = start_tick(state, "b", TICK_NEVER);
    (void)support_box_start(&box, b, "box");
    proxy = connect_through_proxy(a, b);
    support_proxy_cut(proxy, true);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(rusm_node_send(a->node, "b", "box", payload, 5000), RUSM_OK);
    }
    assert_true(support_wait(has_dropped, proxy));
    assert_int_equal(atomic_load(&box.count), 0);
    support_proxy_cut(proxy, false);
    support_box_wait(&box, 100);
    assert_int_equal(support_stats(a).handshakes, 1);
    support_proxy_del(proxy);
}

static void node_is_deleted_while_its_peer_is_silent(void **state)
{
    struct support_node *a = start_tick(state, "a", TICK_NEVER);
    struct support_node *b = start_tick(state, "b", TICK_NEVER);
    struct support_proxy *proxy = connect_through_proxy(a, b);

    support_proxy_cut(proxy, true);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(rusm_node_send(a->node, "b", "box", payload, 5000), RUSM_OK);
    }
    support_node_stop(a);
    assert_int_equal(support_peers(b), 1); /* nobody told it */
    support_node_stop(b);
    support_proxy_del(proxy);
}

/*
 * ---- nodes that come back
 * ---------------------------------------------------------------------
 */

static void disconnected_peers_connect_again(void **state)
{
    struct support_node *a, *b;

    pair(state, TICK_NEVER, &a, &b);
    support_echo_start(b);
    for (int i = 0; i < 5; i++) {
        support_exchange(a, b, 3, 64);
        assert_int_equal(
            rusm_node_disconnect(i % 2 == 0 ? a->node : b->node, i % 2 == 0 ? "b" : "a"), RUSM_OK);
        support_wait_peers(a, 0);
        support_wait_peers(b, 0);
        assert_int_equal(rusm_node_disconnect(a->node, "b"), RUSM_ENONODE);
        support_connect(i % 2 == 0 ? b : a, i % 2 == 0 ? a : b);
    }
    support_exchange(a, b, 3, 64);
}

static rusm_err send_to_pid(void *arg)
{
    return rusm_send(*(rusm_pid *)arg, "x", 1);
}

/* The past of a node that nobody missed yet: its successor takes its place, and its pids are no
 * more. */
static void restarted_node_replaces_its_silent_past(void **state)
{
    static struct support_call call;
    static struct support_box box;
    struct support_node *a = start_tick(state, "a", 4000), *again;
    struct support_node *b = start_tick(state, "b", TICK_NEVER);
    struct support_proxy *proxy = connect_through_proxy(a, b);
    rusm_pid past = support_idle_start(a, NULL);
    rusm_peer_info info;

    assert_int_equal(rusm_register_global(a->node, "global", past), RUSM_OK);
    wait_name(b, "global", RUSM_OK);
    support_proxy_cut(proxy, true);
    again = support_node_start(*state, "a");
    (void)support_box_start(&box, again, "box");
    assert_int_equal(
        rusm_node_connect(again->node, rusm_node_address(b->node), SUPPORT_DEADLINE_MS, NULL),
        RUSM_OK);
    support_wait_peers(b, 1);
    wait_name(b, "global", RUSM_ENONAME);
    assert_true(support_peer_find(b, "a", &info));
    assert_true(info.incarnation == rusm_runtime_incarnation(again->runtime));
    assert_int_equal(rusm_node_send(b->node, "a", "box", "x", 1), RUSM_OK);
    support_box_wait(&box, 1);
    support_call_start(&call, b, send_to_pid, &past);
    support_call_wait(&call);
    assert_int_equal(call.err, RUSM_ENOPROC);
    support_proxy_del(proxy);
}

/*
 * ---- processes killed inside calls
 * ------------------------------------------------------------
 */

/* A socket that never answers. */
static int silent_socket(char address[80])
{
    struct rusmi_address local;
    int fd;

    assert_true(rusmi_address_parse("127.0.0.1:0", &local));
    assert_int_equal(rusmi_udp_listen(&local, 65536, &fd), 0);
    assert_int_equal(rusmi_udp_local_address(fd, &local), 0);
    rusmi_address_format(&local, address, 80);
    return fd;
}

static rusm_err connect_to(void *arg)
{
    return rusm_node_connect(NULL, arg, RUSM_INFINITY, NULL);
}

static void process_killed_inside_a_connect_ends(void **state)
{
    static struct support_call call, other;
    static char address[80];
    rusm_node_config cfg = support_node_config();
    int fd = silent_socket(address);
    struct support_node *a;

    cfg.hello_ms = 500;
    a = support_node_start_with(*state, "a", &cfg);
    support_call_start(&call, a, connect_to, address);
    support_call_start(&other, a, connect_to, address); /* shares the dial */
    support_call_wait_blocked(&call);
    support_call_wait_blocked(&other);
    support_kill(call.pid);
    support_call_wait(&other); /* the handshake's own time ends it */
    assert_int_equal(other.err, RUSM_ETIMEOUT);
    assert_false(atomic_load(&call.done));
    rusmi_udp_close(fd);
}

static rusm_err block_to_make(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    (void)args;
    (void)args_len;
    (void)out_pid;
    atomic_store((atomic_bool *)arg, true);
    sit(NULL);
    return RUSM_EKILLED;
}

static rusm_err spawn_on(void *arg)
{
    rusm_pid pid;

    return rusm_spawn_remote(NULL, arg, "block", NULL, 0, RUSM_INFINITY, &pid);
}

static bool is_true(void *arg)
{
    return atomic_load((atomic_bool *)arg);
}

/* Killed while it waits for a factory of a peer, and of its own node. */
static void process_killed_inside_a_remote_spawn_ends(void **state)
{
    static char peers[2][2] = {"b", "a"};
    static struct support_call call;
    static atomic_bool begun[2];
    struct support_node *nodes[2];

    pair(state, TICK_NEVER, &nodes[1], &nodes[0]);
    for (int i = 0; i < 2; i++) {
        atomic_store(&begun[i], false);
        assert_int_equal(rusm_factory_register(nodes[i]->node, "block", block_to_make, &begun[i]),
                         RUSM_OK);
        support_call_start(&call, nodes[1], spawn_on, peers[i]);
        assert_true(support_wait(is_true, &begun[i]));
        support_call_wait_blocked(&call);
        support_kill(call.pid);
        assert_false(atomic_load(&call.done));
    }
}

static rusm_err fill_queue(void *arg)
{
    rusm_err err;

    do {
        err = rusm_node_send(NULL, arg, "box", payload, 1000);
    } while (err == RUSM_OK);
    return err;
}

/* a with a small queue, and a link to b that takes nothing. */
static struct support_proxy *stuck_pair(void **state, uint32_t tick_ms, struct support_node **out_a,
                                        struct support_node **out_b)
{
    rusm_node_config cfg = support_node_config();
    struct support_proxy *proxy;

    cfg.tick_ms = tick_ms;
    cfg.queue_bytes_max = 65536;
    *out_a = support_node_start_with(*state, "a", &cfg);
    *out_b = start_tick(state, "b", tick_ms);
    proxy = connect_through_proxy(*out_a, *out_b);
    support_proxy_cut(proxy, true);
    return proxy;
}

/* A queue is full for good once all that may be in flight is, which takes the link a moment. */
static bool takes_no_more(void *arg)
{
    struct support_node *from = arg;

    return rusm_node_try_send(from->node, "b", "box", payload, 1000) == RUSM_EAGAIN;
}

static void process_killed_inside_a_send_on_a_full_queue_ends(void **state)
{
    static struct support_call calls[3];
    static char peer[] = "b";
    struct support_node *a, *b;
    struct support_proxy *proxy = stuck_pair(state, TICK_NEVER, &a, &b);

    for (size_t i = 0; i < 3; i++) {
        support_call_start(&calls[i], a, fill_queue, peer);
    }
    for (size_t i = 0; i < 3; i++) {
        support_call_wait_blocked(&calls[i]);
    }
    assert_true(support_wait(takes_no_more, a));
    support_call_wait_blocked(&calls[1]);
    support_kill(calls[1].pid);
    support_proxy_cut(proxy, false); /* the others go on: that they were blocked is over */
    support_wait_stat(b, offsetof(rusm_node_stats, dropped_noname), 10000);
    support_kill(calls[0].pid);
    support_kill(calls[2].pid);
    support_proxy_del(proxy);
}

static void sender_on_a_full_queue_hears_that_the_link_was_lost(void **state)
{
    static struct support_call call;
    static char peer[] = "b";
    struct support_node *a, *b;
    struct support_proxy *proxy = stuck_pair(state, TICK_NEVER, &a, &b);

    support_call_start(&call, a, fill_queue, peer);
    support_call_wait_blocked(&call);
    assert_int_equal(rusm_node_disconnect(a->node, "b"), RUSM_OK);
    support_call_wait(&call);
    assert_int_equal(call.err, RUSM_ENOLINK);
    assert_non_null(strstr(call.detail, "node b"));
    support_proxy_del(proxy);
}

static void sender_on_a_full_queue_hears_that_the_peer_fell_silent(void **state)
{
    static struct support_call call;
    static char peer[] = "b";
    struct support_node *a, *b;
    struct support_proxy *proxy = stuck_pair(state, 1000, &a, &b);

    support_call_start(&call, a, fill_queue, peer);
    support_call_wait_blocked(&call);
    support_call_wait(&call);
    assert_int_equal(call.err, RUSM_ENOLINK);
    support_wait_peers(a, 0);
    support_proxy_del(proxy);
}

static rusm_err wait_for_ever(void *arg)
{
    return rusm_waiter_wait(arg, RUSM_INFINITY);
}

/* The receiver is registered as "box" and takes nothing. */
static void process_killed_while_its_receiver_is_crowded_ends(void **state)
{
    static struct support_call deaf, call;
    static char peer[] = "b";
    rusm_node_config cfg = support_node_config();
    struct support_node *a = support_node_start(*state, "a"), *b;
    rusm_waiter *waiter;

    cfg.mailbox_high = 4;
    b = support_node_start_with(*state, "b", &cfg);
    support_connect(a, b);
    assert_int_equal(rusm_waiter_new(&waiter), RUSM_OK);
    support_call_start(&deaf, b, wait_for_ever, waiter);
    assert_int_equal(rusm_register(b->runtime, "box", deaf.pid), RUSM_OK);
    support_call_start(&call, a, fill_queue, peer);
    support_call_wait_blocked(&call);
    support_kill(call.pid);
    support_kill(deaf.pid);
    rusm_waiter_drop(waiter);
}

/* The node goes, and with it processes that wait in each kind of call. */
static void node_is_deleted_while_processes_wait_in_calls(void **state)
{
    static struct support_call dial, own, fill, spawn;
    static char address[80], to_b[] = "b", to_a[] = "a", to_c[] = "c";
    static atomic_bool begun[2];
    struct support_node *a, *b, *c;
    struct support_proxy *proxy = stuck_pair(state, TICK_NEVER, &a, &b);
    int fd = silent_socket(address);

    c = support_node_start(*state, "c");
    support_connect(a, c);
    atomic_store(&begun[0], false);
    atomic_store(&begun[1], false);
    assert_int_equal(rusm_factory_register(a->node, "block", block_to_make, &begun[0]), RUSM_OK);
    assert_int_equal(rusm_factory_register(c->node, "block", block_to_make, &begun[1]), RUSM_OK);
    support_call_start(&dial, a, connect_to, address);
    support_call_start(&own, a, spawn_on, to_a);
    support_call_start(&spawn, a, spawn_on, to_c);
    support_call_start(&fill, a, fill_queue, to_b);
    support_call_wait_blocked(&dial);
    support_call_wait_blocked(&own);
    support_call_wait_blocked(&spawn);
    support_call_wait_blocked(&fill);
    support_node_stop(a);
    support_wait_peers(c, 0);
    rusmi_udp_close(fd);
    support_proxy_del(proxy);
}

#define CASE(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, support_world_setup, support_world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(nodes_are_deleted_at_any_moment_of_traffic),
        CASE(other_links_go_on_when_a_node_is_deleted),
        CASE(messages_accepted_before_the_end_are_delivered),
        CASE(deleted_node_is_missed_at_once),
        CASE(lost_last_word_is_said_again),
        CASE(silent_peer_is_down_by_its_tick),
        CASE(short_silence_loses_nothing),
        CASE(node_is_deleted_while_its_peer_is_silent),
        CASE(disconnected_peers_connect_again),
        CASE(restarted_node_replaces_its_silent_past),
        CASE(process_killed_inside_a_connect_ends),
        CASE(process_killed_inside_a_remote_spawn_ends),
        CASE(process_killed_inside_a_send_on_a_full_queue_ends),
        CASE(sender_on_a_full_queue_hears_that_the_link_was_lost),
        CASE(sender_on_a_full_queue_hears_that_the_peer_fell_silent),
        CASE(process_killed_while_its_receiver_is_crowded_ends),
        CASE(node_is_deleted_while_processes_wait_in_calls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
