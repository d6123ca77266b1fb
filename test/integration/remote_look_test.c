/* SPDX-License-Identifier: MIT */
/*
 * Looking into another node: lists in pages, names, numbers; kills there; and what each role may
 * do. Spawning is in remote_spawn_test.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "platform/tools.h"
#include "support/procs.h"
#include "support/raw_peer.h"

#include <rusm/otp/driver.h>
#include <stdlib.h>
#include <string.h>

/* What a peer is asked for with: far longer than any honest answer takes. */
#define TIME SUPPORT_DEADLINE_MS

#if RUSMI_TSAN
#define CROWD 3000 /* the thread sanitizer can follow some 8,000 threads and fibers, not more */
#else
#define CROWD 100000
#endif

/* Two connected nodes, "a" and "b". */
static void pair(void **state, struct support_node **out_a, struct support_node **out_b)
{
    *out_a = support_node_start(*state, "a");
    *out_b = support_node_start(*state, "b");
    support_connect(*out_a, *out_b);
}

/* A hidden peer with that role, attached to node. */
static struct support_node *attach(void **state, rusm_role role, struct support_node *to)
{
    struct support_node *node = support_node_start_role(*state, rusm_role_name(role), role);

    assert_int_equal(rusm_node_connect(node->node, rusm_node_address(to->node), TIME, NULL),
                     RUSM_OK);
    return node;
}

/* Ask `from` to spawn on `peer`, and expect an error whose detail has `words`. */
static void expect_no_spawn(struct support_node *from, const char *peer, const char *name,
                            rusm_err expected, const char *words)
{
    rusm_pid pid = {7, 7};

    assert_int_equal(rusm_spawn_remote(from->node, peer, name, "abc", 3, TIME, &pid), expected);
    if (strstr(rusm_err_detail(), words) == NULL) {
        fail_msg("\"%s\" does not contain \"%s\"", rusm_err_detail(), words);
    }
    assert_true(pid.incarnation == 7 && pid.serial == 7);
}

/* Starts a box, which the registration's argument points to, after checking its arguments. */
static rusm_err make_box(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    struct support_box *box = arg;

    if (args_len > sizeof(box->data)) {
        return rusm_set_err_detail(RUSM_EMSGSIZE, "too much");
    }
    *out_pid = box->pid;
    return rusm_send(box->pid, args, args_len);
}

/* ---- calls in the context of a process ------------------------------------------------------- */

static rusm_err send_hello(void *arg)
{
    return rusm_send(*(rusm_pid *)arg, "hello", 5);
}

static rusm_err kill_it(void *arg)
{
    return rusm_kill(*(rusm_pid *)arg);
}

/* Make a call in a process of node and wait for what comes of it. */
static rusm_err in_process(struct support_node *node, rusm_err (*fn)(void *arg), void *arg)
{
    static struct support_call call;

    support_call_start(&call, node, fn, arg);
    support_call_wait(&call);
    support_wait_end(call.pid);
    return call.err;
}

/* ---- lists ----------------------------------------------------------------------------------- */

/* Find a record of a process in the list of a node. */
static bool find_process(struct support_node *from, const char *peer, rusm_pid pid,
                         rusm_process_info *out_info)
{
    static rusm_process_info infos[64];
    uint64_t cursor = 0;

    do {
        ptrdiff_t n = rusm_remote_process_list(from->node, peer, &cursor, infos, 64, TIME);

        assert_true(n >= 0);
        for (ptrdiff_t i = 0; i < n; i++) {
            if (rusm_pid_equal(infos[i].pid, pid)) {
                *out_info = infos[i];
                return true;
            }
        }
    } while (cursor != 0);
    return false;
}

static rusm_err wait_for_ever(void *arg)
{
    return rusm_waiter_wait(arg, RUSM_INFINITY);
}

static void listed_process_has_its_state_names_and_numbers(void **state)
{
    static struct support_call call;
    struct support_node *a, *b;
    rusm_process_info info;
    rusm_waiter *waiter;
    rusm_pid idle;

    pair(state, &a, &b);
    idle = support_idle_start(b, "sitter");
    assert_int_equal(rusm_waiter_new(&waiter), RUSM_OK);
    support_call_start(&call, b, wait_for_ever, waiter);
    support_call_wait_blocked(&call);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rusm_send(call.pid, "x", 1), RUSM_OK);
    }
    assert_true(find_process(a, "b", idle, &info));
    assert_string_equal(info.label, "sitter");
    assert_string_equal(info.name, "sitter");
    assert_int_equal(info.mailbox_len, 0);
    assert_true(info.memory_bytes >= 4096);
    assert_true(find_process(a, "b", call.pid, &info));
    assert_int_equal(info.state, RUSM_PROCESS_WAITING);
    assert_string_equal(info.name, "");
    assert_int_equal(info.mailbox_len, 3);
    assert_false(find_process(a, "a", idle, &info));
    assert_true(find_process(b, "b", idle, &info));
    rusm_waiter_wake(waiter);
    support_wait_end(call.pid);
    rusm_waiter_drop(waiter);
    assert_false(find_process(a, "b", call.pid, &info));
}

static int by_serial(const void *left, const void *right)
{
    const rusm_pid *a = left, *b = right;

    return a->serial < b->serial ? -1 : a->serial > b->serial;
}

static void sit(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_del(msg);
    }
}

/* Processes that come and go meanwhile may appear or not; those that stay appear once. */
static void crowd_is_listed_in_pages_each_once(void **state)
{
    static rusm_process_info infos[1000];
    static bool seen[CROWD];
    static rusm_pid crowd[CROWD];
    struct support_node *a, *b;
    rusm_spawn_config cfg;
    uint64_t cursor = 0;
    size_t found_len = 0;

    pair(state, &a, &b);
    rusm_spawn_config_init(&cfg);
    cfg.stack_size = 16384;
    cfg.label = "crowd";
    for (size_t i = 0; i < CROWD; i++) {
        assert_int_equal(rusm_spawn_with(b->runtime, sit, NULL, &cfg, &crowd[i]), RUSM_OK);
    }
    qsort(crowd, CROWD, sizeof(crowd[0]), by_serial);
    memset(seen, 0, sizeof(seen));
    do {
        ptrdiff_t got =
            rusm_remote_process_list(a->node, "b", &cursor, infos, 1000, SUPPORT_DEADLINE_MS);
        rusm_pid pid = support_idle_start(b, NULL);

        assert_true(got >= 0); /* none: those that were left have ended */
        for (ptrdiff_t i = 0; i < got; i++) {
            const rusm_pid *at = bsearch(&infos[i].pid, crowd, CROWD, sizeof(crowd[0]), by_serial);

            if (at != NULL) {
                assert_string_equal(infos[i].label, "crowd");
                assert_false(seen[at - crowd]);
                seen[at - crowd] = true;
                found_len++;
            }
        }
        assert_int_equal(rusm_kill(pid), RUSM_OK);
    } while (cursor != 0);
    assert_int_equal(found_len, CROWD);
}

static bool is_receiving_again(void *arg)
{
    rusm_process_info info;

    return rusm_process_get_info(*(rusm_pid *)arg, &info) == RUSM_OK && info.mailbox_len == 0 &&
           info.state == RUSM_PROCESS_RECEIVING;
}

static void info_is_that_of_the_node_itself(void **state)
{
    struct support_node *a, *b;
    rusm_process_info there, here;
    rusm_peer_info peer, own;
    uint64_t cursor = 0, own_cursor = 0;
    rusm_pid pid;

    pair(state, &a, &b);
    pid = support_idle_start(b, "clerk");
    assert_int_equal(rusm_send(pid, "x", 1), RUSM_OK);
    assert_true(support_wait(is_receiving_again, &pid));
    assert_int_equal(
        rusm_remote_process_list(a->node, "b", &cursor, &there, 1, SUPPORT_DEADLINE_MS), 1);
    assert_int_equal(rusm_process_get_info(pid, &here), RUSM_OK);
    assert_true(rusm_pid_equal(there.pid, pid));
    assert_int_equal(there.state, here.state);
    assert_int_equal(there.mailbox_len, here.mailbox_len);
    assert_true(there.reductions == here.reductions && there.reductions > 0);
    assert_true(there.memory_bytes == here.memory_bytes && there.memory_bytes > 0);
    assert_string_equal(there.label, "clerk");
    assert_string_equal(there.name, "clerk");

    cursor = 0;
    assert_int_equal(rusm_remote_peer_list(a->node, "b", &cursor, &peer, 1, SUPPORT_DEADLINE_MS),
                     1);
    assert_int_equal(rusm_peer_list(b->node, &own_cursor, &own, 1), 1);
    assert_string_equal(peer.name, own.name);
    assert_string_equal(peer.address, own.address);
    assert_true(peer.incarnation == own.incarnation);
    assert_int_equal(peer.role, own.role);
    assert_int_equal(peer.dialed, own.dialed);
    assert_true(peer.cert_not_after == own.cert_not_after);
    assert_int_equal(peer.payload_max, own.payload_max);
    assert_in_range(own.payload_max, 1200, 65507);
    assert_true(peer.up_ms <= own.up_ms);
}

static void list_that_can_not_be_is_refused(void **state)
{
    struct support_node *a, *b;
    rusm_process_info info;
    uint64_t cursor = 0;

    pair(state, &a, &b);
    assert_int_equal(rusm_remote_process_list(a->node, "c", &cursor, &info, 1, TIME), RUSM_ENONODE);
    assert_non_null(strstr(rusm_err_detail(), "c"));
    assert_int_equal(rusm_remote_process_list(a->node, NULL, &cursor, &info, 1, TIME), RUSM_EINVAL);
    assert_int_equal(rusm_remote_process_list(a->node, "b", NULL, &info, 1, TIME), RUSM_EINVAL);
    assert_int_equal(rusm_remote_process_list(a->node, "b", &cursor, NULL, 1, TIME), RUSM_EINVAL);
    assert_int_equal(rusm_remote_process_list(a->node, "b", &cursor, &info, 0, TIME), RUSM_EINVAL);
    assert_int_equal(rusm_remote_process_list(NULL, "b", &cursor, &info, 1, TIME), RUSM_ENOCONTEXT);
}

static void peers_of_another_node_are_listed(void **state)
{
    struct support_node *a, *b, *c;
    rusm_peer_info infos[4];
    uint64_t cursor = 0;

    pair(state, &a, &b);
    c = support_node_start(*state, "c");
    support_connect(c, b);
    assert_int_equal(rusm_remote_peer_list(a->node, "b", &cursor, infos, 4, TIME), 2);
    assert_true(cursor == 0);
    assert_string_equal(infos[0].name, "a"); /* in the order in which they came */
    assert_string_equal(infos[1].name, "c");
    assert_int_equal(infos[1].role, RUSM_ROLE_MEMBER);
    assert_false(infos[1].dialed);
    assert_true(infos[1].incarnation == rusm_runtime_incarnation(c->runtime));
    assert_true(infos[1].rtt_us > 0);
    assert_true(infos[1].bytes_sent > 0 && infos[1].bytes_received > 0);
    assert_true(infos[1].cert_not_after > 0);
    assert_non_null(strstr(infos[1].address, "127.0.0.1:"));
    for (size_t i = 0; i < 2; i++) { /* one at a time */
        assert_int_equal(rusm_remote_peer_list(a->node, "b", &cursor, infos, 1, TIME), 1);
        assert_string_equal(infos[0].name, i == 0 ? "a" : "c");
        if (cursor == 0) {
            assert_int_equal(i, 1);
        }
    }
    assert_int_equal(rusm_remote_peer_list(a->node, "a", &cursor, infos, 4, TIME), 1);
    assert_string_equal(infos[0].name, "b");
}

static void names_of_another_node_are_listed_and_found(void **state)
{
    struct support_node *a, *b;
    rusm_name_info info;
    uint64_t cursor = 0;
    rusm_pid global, local, pid;

    pair(state, &a, &b);
    local = support_idle_start(b, "local");
    global = support_idle_start(b, NULL);
    assert_int_equal(rusm_register_global(b->node, "global", global), RUSM_OK);
    assert_int_equal(rusm_register_global(b->node, "local", global), RUSM_OK);
    assert_int_equal(rusm_remote_name_list(a->node, "b", &cursor, &info, 1, TIME), 1);
    assert_string_equal(info.name, "global");
    assert_string_equal(info.node, "b");
    assert_true(rusm_pid_equal(info.pid, global));
    assert_int_equal(rusm_remote_whereis(a->node, "b", "global", TIME, &pid), RUSM_OK);
    assert_true(rusm_pid_equal(pid, global));
    assert_int_equal(rusm_remote_whereis(a->node, "b", "local", TIME, &pid), RUSM_OK);
    assert_true(rusm_pid_equal(pid, local)); /* registered names come first */
    assert_int_equal(rusm_remote_whereis(a->node, "b", "nobody", TIME, &pid), RUSM_ENONAME);
    assert_int_equal(rusm_remote_whereis(a->node, "b", "", TIME, &pid), RUSM_EINVAL);
    assert_int_equal(rusm_remote_whereis(b->node, "b", "local", TIME, &pid), RUSM_OK);
    assert_true(rusm_pid_equal(pid, local));
    assert_int_equal(rusm_remote_whereis(a->node, "a", "local", TIME, &pid), RUSM_OK);
    assert_true(rusm_pid_equal(pid, global));
}

/* ---- kill ------------------------------------------------------------------------------------ */

static void kill_on_another_node_ends_the_process_and_tells_whether_it_lived(void **state)
{
    struct support_node *a, *b, *c;
    rusm_pid pid, other;

    pair(state, &a, &b);
    c = support_node_start(*state, "c");
    support_connect(a, c);
    pid = support_idle_start(b, NULL);
    other = support_idle_start(c, NULL);
    assert_int_equal(rusm_remote_kill(a->node, "b", pid, TIME), RUSM_OK);
    support_wait_end(pid);
    assert_int_equal(rusm_remote_kill(a->node, "b", pid, TIME), RUSM_ENOPROC);
    assert_int_equal(rusm_remote_kill(a->node, "b", other, TIME), RUSM_ENOPROC); /* of c */
    assert_true(rusm_is_alive(other));
    assert_int_equal(rusm_remote_kill(a->node, "b", RUSM_PID_NONE, TIME), RUSM_EINVAL);
    assert_int_equal(rusm_remote_kill(a->node, "d", other, TIME), RUSM_ENONODE);
    pid = support_idle_start(a, NULL);
    assert_int_equal(rusm_remote_kill(a->node, "a", pid, TIME), RUSM_OK);
    support_wait_end(pid);
    assert_int_equal(rusm_remote_kill(a->node, "a", pid, TIME), RUSM_ENOPROC);
}

static void kill_by_a_pid_of_a_node_without_a_link_is_an_error(void **state)
{
    struct support_node *a = support_node_start(*state, "a");
    struct support_node *b = support_node_start(*state, "b");
    rusm_pid pid = support_idle_start(b, NULL);

    assert_int_equal(in_process(a, kill_it, &pid), RUSM_ENONODE);
    assert_int_equal(in_process(a, send_hello, &pid), RUSM_ENONODE);
    assert_true(rusm_is_alive(pid));
}

/* ---- roles ----------------------------------------------------------------------------------- */

static void operator_is_hidden_and_may_look_send_spawn_and_kill(void **state)
{
    static struct support_box box;
    struct support_node *a, *b, *op;
    rusm_process_info info;
    rusm_peer_info peers[4];
    uint64_t cursor = 0;
    rusm_pid pid;

    pair(state, &a, &b);
    (void)support_box_start(&box, b, "box");
    assert_int_equal(rusm_factory_register(b->node, "box", make_box, &box), RUSM_OK);
    op = attach(state, RUSM_ROLE_OPERATOR, b);
    assert_int_equal(support_peers(b), 1); /* a alone */
    assert_int_equal(rusm_remote_peer_list(op->node, "b", &cursor, peers, 4, TIME), 1);
    assert_string_equal(peers[0].name, "a");
    assert_int_equal(rusm_node_send(b->node, "operator", "box", "x", 1), RUSM_ENONODE);
    assert_true(find_process(op, "b", box.pid, &info));
    assert_int_equal(rusm_node_send(op->node, "b", "box", "hi", 2), RUSM_OK);
    support_box_wait(&box, 1);
    assert_int_equal(rusm_spawn_remote(op->node, "b", "box", "args", 4, TIME, &pid), RUSM_OK);
    support_box_wait(&box, 2);
    assert_int_equal(rusm_remote_kill(op->node, "b", pid, TIME), RUSM_OK);
    support_wait_end(pid);
    support_node_stop(op);
    support_echo_start(b); /* the members are none the worse */
    support_exchange(a, b, 1, 8);
}

static void observer_may_look_and_nothing_else(void **state)
{
    static struct support_box box;
    struct support_node *b = support_node_start(*state, "b"), *watch;
    rusm_process_info info;
    rusm_name_info name;
    uint64_t cursor = 0;
    rusm_pid pid;

    (void)support_box_start(&box, b, "box");
    assert_int_equal(rusm_factory_register(b->node, "box", make_box, &box), RUSM_OK);
    assert_int_equal(rusm_register_global(b->node, "global", box.pid), RUSM_OK);
    watch = attach(state, RUSM_ROLE_OBSERVER, b);
    assert_int_equal(support_peers(b), 0);
    assert_true(find_process(watch, "b", box.pid, &info));
    assert_int_equal(rusm_remote_name_list(watch->node, "b", &cursor, &name, 1, TIME), 1);
    assert_int_equal(rusm_remote_whereis(watch->node, "b", "box", TIME, &pid), RUSM_OK);
    assert_true(rusm_pid_equal(pid, box.pid));
    expect_no_spawn(watch, "b", "box", RUSM_EPERM, "observer");
    assert_int_equal(rusm_remote_kill(watch->node, "b", box.pid, TIME), RUSM_EPERM);
    assert_int_equal(rusm_node_send(watch->node, "b", "box", "hi", 2), RUSM_EPERM);
    assert_int_equal(rusm_node_try_send(watch->node, "b", "box", "hi", 2), RUSM_EPERM);
    assert_int_equal(in_process(watch, send_hello, &box.pid), RUSM_EPERM);
    assert_int_equal(in_process(watch, kill_it, &box.pid), RUSM_EPERM); /* said at once */
    /* Whatever was sent has been judged once a later request is answered. */
    assert_int_equal(rusm_remote_whereis(watch->node, "b", "box", TIME, &pid), RUSM_OK);
    assert_true(rusm_is_alive(box.pid));
    assert_int_equal(atomic_load(&box.count), 0);
    assert_int_equal(support_stats(watch).messages_sent, 0);
}

static void operator_answers_no_requests(void **state)
{
    struct support_node *b = support_node_start(*state, "b");
    struct support_node *op = attach(state, RUSM_ROLE_OPERATOR, b);
    rusm_process_info info;
    uint64_t cursor = 0;

    assert_int_equal(rusm_remote_process_list(b->node, "operator", &cursor, &info, 1, TIME),
                     RUSM_ENONODE);
    assert_true(find_process(op, "operator", support_idle_start(op, NULL), &info)); /* itself */
}

/* An observer that sends all the same, as ours would not. */
static void message_of_an_observer_is_dropped_and_counted(void **state)
{
    static struct support_box box;
    struct support_node *a, *b;
    rusm_identity *identity = support_identity_role(*state, "rude", RUSM_ROLE_OBSERVER);
    struct support_raw *raw;
    uint8_t data[64];
    size_t len;

    pair(state, &a, &b);
    raw = support_raw_dial(identity, rusm_node_address(b->node));
    rusm_identity_del(identity);
    (void)support_box_start(&box, b, "box");
    support_raw_join(raw, "rude");
    len = support_raw_message(data, sizeof(data), "box", "psst", 4);
    support_raw_stream(raw, data, len);
    assert_true(support_raw_run(raw, support_raw_is_quiet, raw));
    support_wait_stat(b, offsetof(rusm_node_stats, dropped_role), 1);
    assert_int_equal(support_stats(b).dropped_role, 1);
    assert_int_equal(support_stats(b).protocol_errors, 0);
    assert_int_equal(atomic_load(&box.count), 0);
    assert_int_equal(support_peers(b), 1); /* hidden, and still there */
    support_raw_del(raw);
}

#define CASE(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, support_world_setup, support_world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(listed_process_has_its_state_names_and_numbers),
        CASE(crowd_is_listed_in_pages_each_once),
        CASE(info_is_that_of_the_node_itself),
        CASE(list_that_can_not_be_is_refused),
        CASE(peers_of_another_node_are_listed),
        CASE(names_of_another_node_are_listed_and_found),
        CASE(kill_on_another_node_ends_the_process_and_tells_whether_it_lived),
        CASE(kill_by_a_pid_of_a_node_without_a_link_is_an_error),
        CASE(operator_is_hidden_and_may_look_send_spawn_and_kill),
        CASE(observer_may_look_and_nothing_else),
        CASE(operator_answers_no_requests),
        CASE(message_of_an_observer_is_dropped_and_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
