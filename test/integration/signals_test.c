/* SPDX-License-Identifier: MIT */
/*
 * Links, monitors, exits and calls between processes of different nodes, and what becomes of them
 * when the link between the nodes is lost. The test's own thread is a process of node "a".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/procs.h"
#include "support/udp_proxy.h"

#include <rusm/cluster/events.h>

#define MANY 200

struct pair {
    struct support_node *a, *b;
};

/* Two connected nodes, the calling thread being a process of a that traps exits. */
static struct pair enter_pair(void **state)
{
    struct pair pair;

    pair.a = support_node_start(*state, "a");
    pair.b = support_node_start(*state, "b");
    support_connect(pair.a, pair.b);
    assert_int_equal(rusm_thread_enter(pair.a->runtime, "test"), RUSM_OK);
    (void)rusm_trap_exit(true);
    return pair;
}

static rusm_msg *next(void)
{
    rusm_msg *msg = NULL;

    assert_int_equal(rusm_receive(&msg, SUPPORT_DEADLINE_MS), RUSM_OK);
    return msg;
}

static void assert_nothing(void)
{
    rusm_msg *msg;

    assert_int_equal(rusm_receive(&msg, 0), RUSM_ETIMEOUT);
}

static void assert_end(rusm_msg_kind kind, rusm_pid pid, rusm_reason_kind reason)
{
    rusm_msg *msg = next();

    assert_int_equal(rusm_msg_get_kind(msg), kind);
    assert_true(rusm_pid_equal(rusm_msg_sender(msg), pid));
    assert_int_equal(rusm_msg_reason(msg)->kind, reason);
    rusm_msg_del(msg);
}

/* Everything that was sent to pid before has come there, and its answers have come back. */
static void settle(rusm_pid pid)
{
    rusm_msg *reply;

    assert_int_equal(rusm_call(pid, "settle", 6, SUPPORT_DEADLINE_MS, &reply), RUSM_OK);
    rusm_msg_del(reply);
}

/* Does what it is told: "link" or "unlink" with the sender, "end" and so on; answers calls. */
static void obey(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        const char *data = rusm_msg_data(msg);
        rusm_pid from = rusm_msg_sender(msg);

        switch (rusm_msg_get_kind(msg) == RUSM_MSG_CALL   ? 'c'
                : rusm_msg_get_kind(msg) == RUSM_MSG_EXIT ? 'x'
                                                          : data[0]) {
        case 'c':
            (void)!rusm_reply(rusm_msg_from(msg), data, rusm_msg_len(msg));
            break;
        case 'l':
            (void)!rusm_link(from);
            break;
        case 'u':
            (void)!rusm_unlink(from);
            break;
        case 's':
            for (uint32_t i = 0; i < MANY; i++) {
                (void)!rusm_send(from, &i, sizeof(i));
            }
            rusm_crash("has sent %d", MANY);
        case 't':
            (void)rusm_trap_exit(true);
            break;
        default:
            rusm_msg_del(msg);
            return;
        }
        rusm_msg_del(msg);
    }
}

static rusm_pid obedient(struct support_node *node)
{
    rusm_pid pid;

    assert_int_equal(rusm_spawn(node->runtime, obey, NULL, &pid), RUSM_OK);
    return pid;
}

static void tell(rusm_pid pid, const char *what)
{
    assert_int_equal(rusm_send(pid, what, strlen(what)), RUSM_OK);
}

/* ---- monitors -------------------------------------------------------------------------------- */

static void test_down_comes_after_the_last_message(void **state)
{
    struct pair pair = enter_pair(state);
    rusm_pid pid = obedient(pair.b);
    rusm_ref ref;
    rusm_msg *msg;

    assert_int_equal(rusm_monitor(pid, &ref), RUSM_OK);
    tell(pid, "s");
    for (uint32_t i = 0; i < MANY; i++) {
        msg = next();
        assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_DATA);
        assert_memory_equal(rusm_msg_data(msg), &i, sizeof(i));
        rusm_msg_del(msg);
    }
    msg = next();
    assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_DOWN);
    assert_true(rusm_ref_equal(rusm_msg_ref(msg), ref));
    assert_true(rusm_pid_equal(rusm_msg_sender(msg), pid));
    assert_int_equal(rusm_msg_reason(msg)->kind, RUSM_REASON_CRASHED);
    assert_string_equal(rusm_msg_reason(msg)->text, "has sent 200");
    rusm_msg_del(msg);
    assert_int_equal(rusm_monitor(pid, NULL), RUSM_OK);
    assert_end(RUSM_MSG_DOWN, pid, RUSM_REASON_NOPROC);
    assert_nothing();
    rusm_thread_leave();
}

static bool is_watched_twice(void *arg)
{
    const rusm_pid *pid = arg;
    rusm_process_info info;

    return rusm_process_get_info(*pid, &info) == RUSM_OK && info.monitored_by == 2;
}

static void test_monitor_taken_back_tells_nothing(void **state)
{
    struct pair pair = enter_pair(state);
    rusm_pid pid = obedient(pair.b);
    rusm_ref refs[3];

    for (int i = 0; i < 3; i++) {
        assert_int_equal(rusm_monitor(pid, &refs[i]), RUSM_OK);
    }
    assert_true(rusm_demonitor(refs[1], false));
    assert_false(rusm_demonitor(refs[1], false));
    assert_true(support_wait(is_watched_twice, &pid));
    tell(pid, "end");
    assert_end(RUSM_MSG_DOWN, pid, RUSM_REASON_NORMAL);
    assert_end(RUSM_MSG_DOWN, pid, RUSM_REASON_NORMAL);
    assert_nothing();
    rusm_thread_leave();
}

/* ---- links ----------------------------------------------------------------------------------- */

static void link_and_crash(void *arg)
{
    const rusm_pid *pid = arg;

    (void)!rusm_link(*pid);
    rusm_crash("linked");
}

static void test_link_works_both_ways(void **state)
{
    struct pair pair = enter_pair(state);
    rusm_pid one = obedient(pair.b), two = obedient(pair.b), three;

    assert_int_equal(rusm_link(one), RUSM_OK);
    assert_int_equal(rusm_link(one), RUSM_OK);
    tell(one, "end");
    assert_end(RUSM_MSG_EXIT, one, RUSM_REASON_NORMAL);
    assert_int_equal(rusm_link(one), RUSM_OK);
    assert_end(RUSM_MSG_EXIT, one, RUSM_REASON_NOPROC);

    assert_int_equal(rusm_monitor(two, NULL), RUSM_OK);
    assert_int_equal(rusm_spawn(pair.a->runtime, link_and_crash, &two, &three), RUSM_OK);
    assert_end(RUSM_MSG_DOWN, two, RUSM_REASON_CRASHED);
    support_wait_end(three);
    assert_nothing();
    rusm_thread_leave();
}

static void test_unlink_leaves_no_exit(void **state)
{
    struct pair pair = enter_pair(state);
    rusm_pid pid = obedient(pair.b);
    rusm_process_info info;

    assert_int_equal(rusm_link(pid), RUSM_OK);
    assert_int_equal(rusm_unlink(pid), RUSM_OK);
    settle(pid);
    assert_int_equal(rusm_process_get_info(pid, &info), RUSM_OK);
    assert_int_equal(info.links, 0);
    tell(pid, "l");
    settle(pid);
    tell(pid, "u");
    settle(pid);
    assert_int_equal(rusm_process_get_info(pid, &info), RUSM_OK);
    assert_int_equal(info.links, 0);
    assert_int_equal(rusm_process_get_info(rusm_self(), &info), RUSM_OK);
    assert_int_equal(info.links, 0);
    tell(pid, "end");
    support_wait_end(pid);
    assert_nothing();
    rusm_thread_leave();
}

/* Whoever changes it last, and however the changes cross, both sides agree. */
static void test_links_that_change_on_both_sides_agree(void **state)
{
    struct pair pair = enter_pair(state);
    rusm_pid pid = obedient(pair.b);
    uint32_t random = 12345;

    tell(pid, "t");
    for (int round = 0; round < 300; round++) {
        rusm_process_info here, there;

        for (int i = 0; i < 6; i++) {
            random = random * 1664525u + 1013904223u;
            switch (random >> 30) {
            case 0:
                assert_int_equal(rusm_link(pid), RUSM_OK);
                break;
            case 1:
                assert_int_equal(rusm_unlink(pid), RUSM_OK);
                break;
            case 2:
                tell(pid, "l");
                break;
            default:
                tell(pid, "u");
                break;
            }
        }
        settle(pid);
        settle(pid);
        assert_int_equal(rusm_process_get_info(pid, &there), RUSM_OK);
        assert_int_equal(rusm_process_get_info(rusm_self(), &here), RUSM_OK);
        assert_int_equal(here.links, there.links);
        assert_true(here.links <= 1);
    }
    rusm_thread_leave();
}

/* ---- exit signals and calls ------------------------------------------------------------------ */

static void test_exit_signals_and_kills_reach_other_nodes(void **state)
{
    struct pair pair = enter_pair(state);
    const rusm_reason reason = rusm_reason_crashed("told to by %s", "a");
    rusm_pid one = obedient(pair.b), two = obedient(pair.b), three = obedient(pair.b);
    rusm_msg *msg;

    assert_int_equal(rusm_monitor(one, NULL), RUSM_OK);
    assert_int_equal(rusm_exit_process(one, &reason), RUSM_OK);
    msg = next();
    assert_string_equal(rusm_msg_reason(msg)->text, "told to by a");
    rusm_msg_del(msg);
    tell(two, "t");
    settle(two);
    assert_int_equal(rusm_monitor(two, NULL), RUSM_OK);
    assert_int_equal(rusm_kill(two), RUSM_OK);
    assert_end(RUSM_MSG_DOWN, two, RUSM_REASON_KILLED);
    /* Who traps takes the signal as a message, and ends normally upon it. */
    tell(three, "t");
    settle(three);
    assert_int_equal(rusm_monitor(three, NULL), RUSM_OK);
    assert_int_equal(rusm_exit_process(three, &reason), RUSM_OK);
    tell(three, "end");
    assert_end(RUSM_MSG_DOWN, three, RUSM_REASON_NORMAL);
    rusm_thread_leave();
}

static void never_answer(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        bool end = rusm_msg_get_kind(msg) == RUSM_MSG_DATA;

        rusm_msg_del(msg);
        if (end) {
            rusm_crash("no answer");
        }
    }
}

static void test_call_ends_as_it_should(void **state)
{
    struct pair pair = enter_pair(state);
    rusm_pid server = obedient(pair.b), mute;
    rusm_msg *reply;

    assert_int_equal(rusm_spawn(pair.b->runtime, never_answer, NULL, &mute), RUSM_OK);
    assert_int_equal(rusm_call(server, "hello", 5, SUPPORT_DEADLINE_MS, &reply), RUSM_OK);
    assert_int_equal(rusm_msg_len(reply), 5);
    assert_memory_equal(rusm_msg_data(reply), "hello", 5);
    assert_true(rusm_pid_equal(rusm_msg_sender(reply), server));
    rusm_msg_del(reply);
    assert_int_equal(rusm_call(mute, "hello", 5, 20, &reply), RUSM_ETIMEOUT);
    tell(mute, "end");
    assert_int_equal(rusm_call(mute, "hello", 5, SUPPORT_DEADLINE_MS, &reply), RUSM_ENOPROC);
    assert_int_equal(rusm_call(mute, "hello", 5, SUPPORT_DEADLINE_MS, &reply), RUSM_ENOPROC);
    assert_int_equal(rusm_cast(server, "end", 3), RUSM_OK);
    support_wait_end(server);
    assert_nothing();
    rusm_thread_leave();
}

/* ---- spawned for another node ---------------------------------------------------------------- */

static void crash_at_once(void *arg)
{
    (void)arg;
    rusm_crash("short life");
}

static rusm_err make_short_life(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    rusm_err err;

    (void)arg;
    (void)args;
    (void)args_len;
    err = rusm_spawn(NULL, crash_at_once, NULL, out_pid);
    if (err == RUSM_OK) {
        while (rusm_is_alive(*out_pid)) {
            rusm_yield();
        }
    }
    return err;
}

static rusm_err make_obedient(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    (void)arg;
    (void)args;
    (void)args_len;
    return rusm_spawn(NULL, obey, NULL, out_pid);
}

static void test_spawn_with_ties_is_atomic(void **state)
{
    struct pair pair = enter_pair(state);
    rusm_process_info info;
    rusm_msg *msg;
    rusm_ref ref;
    rusm_pid pid;

    assert_int_equal(rusm_factory_register(pair.b->node, "short", make_short_life, NULL), RUSM_OK);
    assert_int_equal(rusm_factory_register(pair.b->node, "long", make_obedient, NULL), RUSM_OK);
    for (int i = 0; i < 20; i++) {
        /* It has ended before the factory returns, and is heard of all the same. */
        assert_int_equal(
            rusm_spawn_remote_monitor(NULL, "b", "short", NULL, 0, SUPPORT_DEADLINE_MS, &pid, &ref),
            RUSM_OK);
        msg = next();
        assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_DOWN);
        assert_true(rusm_ref_equal(rusm_msg_ref(msg), ref));
        assert_true(rusm_pid_equal(rusm_msg_sender(msg), pid));
        assert_string_equal(rusm_msg_reason(msg)->text, "short life");
        rusm_msg_del(msg);
        assert_int_equal(
            rusm_spawn_remote_link(NULL, "b", "short", NULL, 0, SUPPORT_DEADLINE_MS, &pid),
            RUSM_OK);
        assert_end(RUSM_MSG_EXIT, pid, RUSM_REASON_CRASHED);
    }
    assert_int_equal(rusm_spawn_remote_link(NULL, "b", "long", NULL, 0, SUPPORT_DEADLINE_MS, &pid),
                     RUSM_OK);
    assert_int_equal(rusm_process_get_info(pid, &info), RUSM_OK);
    assert_int_equal(info.links, 1);
    assert_int_equal(rusm_unlink(pid), RUSM_OK);
    settle(pid);
    assert_int_equal(rusm_process_get_info(pid, &info), RUSM_OK);
    assert_int_equal(info.links, 0);
    assert_int_equal(rusm_link(pid), RUSM_OK);
    tell(pid, "end");
    assert_end(RUSM_MSG_EXIT, pid, RUSM_REASON_NORMAL);
    assert_int_equal(rusm_spawn_remote_link(NULL, "b", "none", NULL, 0, SUPPORT_DEADLINE_MS, &pid),
                     RUSM_ENOFACTORY);
    assert_int_equal(rusm_process_get_info(rusm_self(), &info), RUSM_OK);
    assert_int_equal(info.links, 0);
    assert_nothing();
    rusm_thread_leave();
}

/* ---- lost links ------------------------------------------------------------------------------ */

static void assert_node_event(bool up, const char *name, rusm_down_cause cause)
{
    rusm_msg *msg = next();
    const rusm_node_event *event = rusm_msg_node_event(msg);

    assert_non_null(event);
    assert_int_equal(event->up, up);
    assert_string_equal(event->node, name);
    if (!up) {
        assert_int_equal(event->cause, cause);
    }
    rusm_msg_del(msg);
}

static void test_lost_link_is_told_once_to_each(void **state)
{
    struct pair pair = enter_pair(state);
    rusm_pid pids[20], linked = obedient(pair.b);
    unsigned downs = 0, exits = 0;

    assert_int_equal(rusm_monitor_nodes(true), RUSM_OK);
    for (size_t i = 0; i < 20; i++) {
        pids[i] = obedient(pair.b);
        assert_int_equal(rusm_link(pids[i]), RUSM_OK);
        for (int k = 0; k < 5; k++) {
            assert_int_equal(rusm_monitor(pids[i], NULL), RUSM_OK);
        }
    }
    tell(linked, "l");
    settle(linked);
    assert_int_equal(rusm_node_disconnect(pair.a->node, "b"), RUSM_OK);
    for (int i = 0; i < 121; i++) {
        rusm_msg *msg = next();

        assert_non_null(rusm_msg_reason(msg));
        assert_int_equal(rusm_msg_reason(msg)->kind, RUSM_REASON_NOCONNECTION);
        exits += rusm_msg_get_kind(msg) == RUSM_MSG_EXIT ? 1 : 0;
        downs += rusm_msg_get_kind(msg) == RUSM_MSG_DOWN ? 1 : 0;
        rusm_msg_del(msg);
    }
    assert_int_equal(exits, 21);
    assert_int_equal(downs, 100);
    assert_node_event(false, "b", RUSM_DOWN_DISCONNECTED);
    assert_nothing();
    /* There the processes that were linked have ended. */
    for (size_t i = 0; i < 20; i++) {
        support_wait_end(pids[i]);
    }
    support_wait_end(linked);
    assert_int_equal(rusm_monitor(linked, NULL), RUSM_OK);
    assert_end(RUSM_MSG_DOWN, linked, RUSM_REASON_NOCONNECTION);
    rusm_thread_leave();
}

static void test_call_hears_of_a_lost_link(void **state)
{
    rusm_node_config cfg = support_node_config();
    struct support_proxy *proxy;
    struct support_node *a, *b;
    rusm_msg *reply;
    rusm_pid mute;
    char peer[RUSM_NAME_MAX + 1];

    cfg.tick_ms = 300;
    a = support_node_start_with(*state, "a", &cfg);
    b = support_node_start_with(*state, "b", &cfg);
    proxy = support_proxy_new(rusm_node_address(b->node));
    assert_int_equal(rusm_spawn(b->runtime, never_answer, NULL, &mute), RUSM_OK);
    assert_int_equal(rusm_thread_enter(a->runtime, "test"), RUSM_OK);
    assert_int_equal(
        rusm_node_connect(a->node, support_proxy_address(proxy), SUPPORT_DEADLINE_MS, peer),
        RUSM_OK);
    assert_int_equal(rusm_monitor_nodes(true), RUSM_OK);
    assert_int_equal(rusm_call(mute, "hello", 5, 30, &reply), RUSM_ETIMEOUT);
    support_proxy_cut(proxy, true);
    assert_int_equal(rusm_call(mute, "hello", 5, SUPPORT_DEADLINE_MS, &reply), RUSM_ENOLINK);
    assert_node_event(false, "b", RUSM_DOWN_SILENT);
    assert_int_equal(rusm_call(mute, "hello", 5, SUPPORT_DEADLINE_MS, &reply), RUSM_ENONODE);
    assert_nothing();
    rusm_thread_leave();
    support_proxy_del(proxy);
}

/* Who asked not to wait is refused, and a call's time runs while it waits for room. */
static void test_full_link_refuses_who_does_not_wait(void **state)
{
    static char block[65536];
    rusm_node_config cfg = support_node_config();
    struct support_proxy *proxy;
    struct support_node *a, *b;
    rusm_err err = RUSM_OK;
    unsigned taken = 0;
    rusm_msg *reply;
    rusm_pid pid;

    cfg.queue_bytes_max = 1024 * 1024;
    a = support_node_start_with(*state, "a", &cfg);
    b = support_node_start(*state, "b");
    proxy = support_proxy_new(rusm_node_address(b->node));
    pid = obedient(b);
    assert_int_equal(rusm_thread_enter(a->runtime, "test"), RUSM_OK);
    assert_int_equal(
        rusm_node_connect(a->node, support_proxy_address(proxy), SUPPORT_DEADLINE_MS, NULL),
        RUSM_OK);
    settle(pid);
    support_proxy_cut(proxy, true);
    while (err == RUSM_OK && taken < 10000) {
        err = rusm_try_send(pid, block, sizeof(block));
        taken += err == RUSM_OK ? 1 : 0;
    }
    assert_int_equal(err, RUSM_EAGAIN);
    assert_true(taken >= 15);
    assert_int_equal(rusm_call(pid, block, sizeof(block), 50, &reply), RUSM_ETIMEOUT);
    rusm_thread_leave();
    support_proxy_del(proxy);
}

static void test_pid_of_a_past_incarnation_is_no_process(void **state)
{
    struct pair pair = enter_pair(state);
    rusm_pid old = obedient(pair.b), new;
    rusm_msg *reply;

    assert_int_equal(rusm_monitor_nodes(true), RUSM_OK);
    support_node_stop(pair.b);
    assert_node_event(false, "b", RUSM_DOWN_BY_PEER);
    pair.b = support_node_start(*state, "b");
    assert_int_equal(
        rusm_node_connect(pair.a->node, rusm_node_address(pair.b->node), SUPPORT_DEADLINE_MS, NULL),
        RUSM_OK);
    assert_node_event(true, "b", RUSM_DOWN_BY_PEER);
    new = obedient(pair.b);
    assert_int_equal(rusm_monitor(old, NULL), RUSM_OK);
    assert_end(RUSM_MSG_DOWN, old, RUSM_REASON_NOPROC);
    assert_int_equal(rusm_link(old), RUSM_OK);
    assert_end(RUSM_MSG_EXIT, old, RUSM_REASON_NOPROC);
    assert_int_equal(rusm_send(old, "end", 3), RUSM_ENOPROC);
    assert_int_equal(rusm_kill(old), RUSM_ENOPROC);
    assert_int_equal(rusm_call(old, "hello", 5, SUPPORT_DEADLINE_MS, &reply), RUSM_ENOPROC);
    settle(new);
    assert_nothing();
    rusm_thread_leave();
}

/* Nor is one of which the serial is not known yet: nothing is sent, for the peer would take it for
 * an error. */
static void test_number_0_is_no_process(void **state)
{
    struct pair pair = enter_pair(state);
    rusm_pid none = {rusm_runtime_incarnation(pair.b->runtime), 0}, other = obedient(pair.b);
    rusm_msg *reply;

    assert_int_equal(rusm_monitor(none, NULL), RUSM_OK);
    assert_end(RUSM_MSG_DOWN, none, RUSM_REASON_NOPROC);
    assert_int_equal(rusm_link(none), RUSM_OK);
    assert_end(RUSM_MSG_EXIT, none, RUSM_REASON_NOPROC);
    assert_int_equal(rusm_unlink(none), RUSM_OK);
    assert_int_equal(rusm_send(none, "end", 3), RUSM_ENOPROC);
    assert_int_equal(rusm_kill(none), RUSM_ENOPROC);
    assert_int_equal(rusm_call(none, "hello", 5, SUPPORT_DEADLINE_MS, &reply), RUSM_ENOPROC);
    settle(other);
    assert_nothing();
    assert_int_equal(support_stats(pair.a).dropped_link, 0);
    rusm_thread_leave();
}

/* A failed assertion leaves the thread entered, and a node does not go while it is. */
static int teardown(void **state)
{
    if (!rusm_pid_is_none(rusm_self())) {
        rusm_thread_leave();
    }
    return support_world_teardown(state);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, support_world_setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_down_comes_after_the_last_message),
        TEST(test_monitor_taken_back_tells_nothing),
        TEST(test_link_works_both_ways),
        TEST(test_unlink_leaves_no_exit),
        TEST(test_links_that_change_on_both_sides_agree),
        TEST(test_exit_signals_and_kills_reach_other_nodes),
        TEST(test_call_ends_as_it_should),
        TEST(test_spawn_with_ties_is_atomic),
        TEST(test_lost_link_is_told_once_to_each),
        TEST(test_call_hears_of_a_lost_link),
        TEST(test_full_link_refuses_who_does_not_wait),
        TEST(test_pid_of_a_past_incarnation_is_no_process),
        TEST(test_number_0_is_no_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
