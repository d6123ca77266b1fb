/* SPDX-License-Identifier: MIT */
/*
 * Asking and driving another node: spawn there by factory, list, find, kill, and what each role may
 * do.
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

#include "platform/tools.h"

#include <rusm/otp/driver.h>

/* What a peer is asked for with: far longer than any honest answer takes. */
#define TIME SUPPORT_DEADLINE_MS

#if RUSMI_TSAN
#define CROWD 2000 /* the thread sanitizer can follow some 8,000 threads and fibers, not more */
#else
#define CROWD 100000
#endif

/* ---- factories ------------------------------------------------------------------------------- */

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

static rusm_err fail_to_make(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    (void)arg;
    (void)args;
    (void)args_len;
    (void)out_pid;
    return rusm_set_err_detail(RUSM_EFULL, "no room at the inn");
}

static rusm_err crash_to_make(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    (void)arg;
    (void)args;
    (void)out_pid;
    rusm_crash("boom of %zu bytes", args_len);
}

static rusm_err exit_to_make(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    (void)arg;
    (void)args;
    (void)args_len;
    (void)out_pid;
    rusm_exit(RUSM_REASON_NORMAL);
}

static rusm_err make_nothing(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    (void)arg;
    (void)args;
    (void)args_len;
    (void)out_pid;
    return RUSM_OK;
}

/* Counts in *arg that it began, and then never returns. */
static rusm_err block_to_make(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    rusm_msg *msg;

    (void)args;
    (void)args_len;
    (void)out_pid;
    atomic_fetch_add((_Atomic uint64_t *)arg, 1);
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_del(msg);
    }
    return RUSM_EKILLED;
}

/* Notes a check sum of its arguments and their length. */
struct sum {
    rusm_pid pid;
    size_t len;
    uint64_t sum;
};

static uint64_t sum_of(const unsigned char *data, size_t len)
{
    uint64_t sum = 14695981039346656037u;

    for (size_t i = 0; i < len; i++) {
        sum = (sum ^ data[i]) * 1099511628211u;
    }
    return sum;
}

static rusm_err sum_args(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    struct sum *sum = arg;

    sum->len = args_len;
    sum->sum = sum_of(args, args_len);
    *out_pid = sum->pid;
    return RUSM_OK;
}

static void factory(struct support_node *node, const char *name, rusm_factory_fn fn, void *arg)
{
    assert_int_equal(rusm_factory_register(node->node, name, fn, arg), RUSM_OK);
}

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

/*
 * ---- calls in the context of a process
 * --------------------------------------------------------
 */

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

/* ---- remote spawn ---------------------------------------------------------------------------- */

static void spawned_process_is_usable_from_the_asker(void **state)
{
    static struct support_box box;
    struct support_node *a, *b;
    rusm_pid pid;

    pair(state, &a, &b);
    (void)support_box_start(&box, b, NULL);
    factory(b, "box", make_box, &box);
    assert_int_equal(rusm_spawn_remote(a->node, "b", "box", "args", 4, TIME, &pid), RUSM_OK);
    assert_true(rusm_pid_equal(pid, box.pid));
    support_box_wait(&box, 1);
    assert_memory_equal(box.data, "args", 4);
    assert_int_equal(in_process(a, send_hello, &pid), RUSM_OK);
    support_box_wait(&box, 2);
    assert_memory_equal(box.data, "hello", 5);
    assert_true(box.sender.incarnation == rusm_runtime_incarnation(a->runtime));
    assert_int_equal(in_process(a, kill_it, &pid), RUSM_OK);
    support_wait_end(pid);
    assert_int_equal(rusm_remote_kill(a->node, "b", pid, TIME), RUSM_ENOPROC);
}

static void spawn_with_the_most_arguments_works_and_with_one_more_is_refused(void **state)
{
    static struct sum sum;
    static unsigned char args[RUSM_SPAWN_ARGS_MAX + 1];
    struct support_node *a, *b;
    rusm_pid pid;

    pair(state, &a, &b);
    for (size_t i = 0; i < sizeof(args); i++) {
        args[i] = (unsigned char)(i * 13 + (i >> 7));
    }
    sum.pid = support_idle_start(b, NULL);
    factory(b, "sum", sum_args, &sum);
    assert_int_equal(rusm_spawn_remote(a->node, "b", "sum", NULL, 0, TIME, &pid), RUSM_OK);
    assert_int_equal(sum.len, 0);
    assert_int_equal(rusm_spawn_remote(a->node, "b", "sum", args, RUSM_SPAWN_ARGS_MAX, TIME, &pid),
                     RUSM_OK);
    assert_int_equal(sum.len, RUSM_SPAWN_ARGS_MAX);
    assert_true(sum.sum == sum_of(args, RUSM_SPAWN_ARGS_MAX));
    sum.len = 0;
    assert_int_equal(rusm_spawn_remote(a->node, "b", "sum", args, sizeof(args), TIME, &pid),
                     RUSM_EMSGSIZE);
    assert_non_null(strstr(rusm_err_detail(), "32769"));
    assert_int_equal(rusm_spawn_remote(a->node, "b", "sum", NULL, 1, TIME, &pid), RUSM_EINVAL);
    assert_int_equal(sum.len, 0);
}

static void spawn_on_an_unknown_node_is_an_error_that_names_it(void **state)
{
    struct support_node *a, *b;

    pair(state, &a, &b);
    expect_no_spawn(a, "nowhere", "box", RUSM_ENONODE, "nowhere");
    expect_no_spawn(a, "b", "", RUSM_EINVAL, "name");
}

static void spawn_by_an_unknown_factory_is_an_error_that_names_it(void **state)
{
    struct support_node *a, *b;

    pair(state, &a, &b);
    factory(b, "box", make_nothing, NULL);
    factory(a, "forge", make_nothing, NULL); /* of the wrong node */
    expect_no_spawn(a, "b", "forge", RUSM_ENOFACTORY, "forge");
    assert_int_equal(rusm_factory_unregister(b->node, "box"), RUSM_OK);
    expect_no_spawn(a, "b", "box", RUSM_ENOFACTORY, "box");
}

static void spawn_by_a_failing_factory_tells_its_words(void **state)
{
    struct support_node *a, *b;

    pair(state, &a, &b);
    factory(b, "box", fail_to_make, NULL);
    expect_no_spawn(a, "b", "box", RUSM_EFACTORY, "no room at the inn");
}

static void spawn_by_a_crashing_factory_tells_its_reason(void **state)
{
    struct support_node *a, *b;

    pair(state, &a, &b);
    factory(b, "box", crash_to_make, NULL);
    expect_no_spawn(a, "b", "box", RUSM_EFACTORY, "boom of 3 bytes");
}

static void spawn_by_a_factory_that_exits_or_makes_nothing_fails(void **state)
{
    struct support_node *a, *b;

    pair(state, &a, &b);
    factory(b, "quit", exit_to_make, NULL);
    factory(b, "lazy", make_nothing, NULL);
    expect_no_spawn(a, "b", "quit", RUSM_EFACTORY, "ended before it returned");
    expect_no_spawn(a, "b", "lazy", RUSM_EFACTORY, "no process of its node");
}

static void spawn_by_a_factory_that_blocks_times_out(void **state)
{
    static _Atomic uint64_t begun;
    struct support_node *a, *b;
    rusm_pid pid;

    pair(state, &a, &b);
    atomic_store(&begun, 0);
    factory(b, "box", block_to_make, &begun);
    assert_int_equal(rusm_spawn_remote(a->node, "b", "box", NULL, 0, 50, &pid), RUSM_ETIMEOUT);
    assert_non_null(strstr(rusm_err_detail(), "b"));
    assert_int_equal(rusm_spawn_remote(a->node, "b", "box", NULL, 0, 0, &pid), RUSM_ETIMEOUT);
    assert_int_equal(support_peers(a), 1); /* the link is none the worse */
}

struct spawning {
    struct support_node *from;
    const char *peer;
};

static rusm_err spawn_box(void *arg)
{
    struct spawning *spawning = arg;
    rusm_pid pid;

    return rusm_spawn_remote(NULL, spawning->peer, "box", NULL, 0, RUSM_INFINITY, &pid);
}

static bool has_begun(void *arg)
{
    return atomic_load((_Atomic uint64_t *)arg) > 0;
}

/* A spawn on b by a factory that blocks, under way. */
static void start_blocked_spawn(struct support_call *call, struct support_node *a,
                                struct support_node *b)
{
    static _Atomic uint64_t begun;
    static struct spawning spawning = {.peer = "b"};

    atomic_store(&begun, 0);
    factory(b, "box", block_to_make, &begun);
    support_call_start(call, a, spawn_box, &spawning);
    assert_true(support_wait(has_begun, &begun));
}

static void spawn_fails_when_the_link_is_lost(void **state)
{
    static struct support_call call;
    struct support_node *a, *b;

    pair(state, &a, &b);
    start_blocked_spawn(&call, a, b);
    assert_int_equal(rusm_node_disconnect(b->node, "a"), RUSM_OK);
    support_call_wait(&call);
    assert_int_equal(call.err, RUSM_ENOLINK);
    assert_non_null(strstr(call.detail, "b"));
}

static void spawn_fails_when_the_node_is_deleted(void **state)
{
    static struct support_call call;
    struct support_node *a, *b;

    pair(state, &a, &b);
    start_blocked_spawn(&call, a, b);
    support_node_stop(b);
    support_call_wait(&call);
    /* The runtime ends the factory first, and its end may be answered before the link goes. */
    assert_true(call.err == RUSM_ENOLINK || call.err == RUSM_EFACTORY);
}

static void spawn_over_the_limit_of_requests_is_refused(void **state)
{
    static struct support_call call;
    rusm_node_config cfg = support_node_config();
    struct support_node *a = support_node_start(*state, "a"), *b;

    cfg.requests_max = 1;
    b = support_node_start_with(*state, "b", &cfg);
    support_connect(a, b);
    start_blocked_spawn(&call, a, b);
    expect_no_spawn(a, "b", "box", RUSM_EFULL, "too many requests");
    support_kill(call.pid);
}

static void spawn_on_ones_own_node_works_and_fails_alike(void **state)
{
    static struct support_box box;
    static _Atomic uint64_t begun;
    struct support_node *a = support_node_start(*state, "a");
    rusm_pid pid;

    (void)support_box_start(&box, a, NULL);
    factory(a, "box", make_box, &box);
    factory(a, "fail", fail_to_make, NULL);
    factory(a, "crash", crash_to_make, NULL);
    factory(a, "block", block_to_make, &begun);
    assert_int_equal(rusm_spawn_remote(a->node, "a", "box", "args", 4, TIME, &pid), RUSM_OK);
    assert_true(rusm_pid_equal(pid, box.pid));
    support_box_wait(&box, 1);
    assert_memory_equal(box.data, "args", 4);
    expect_no_spawn(a, "a", "forge", RUSM_ENOFACTORY, "forge");
    expect_no_spawn(a, "a", "fail", RUSM_EFACTORY, "no room at the inn");
    expect_no_spawn(a, "a", "crash", RUSM_EFACTORY, "boom of 3 bytes");
    assert_int_equal(rusm_spawn_remote(a->node, "a", "block", NULL, 0, 50, &pid), RUSM_ETIMEOUT);
}

static void factory_that_can_not_be_registered_is_refused(void **state)
{
    struct support_node *a = support_node_start(*state, "a");

    factory(a, "box", make_nothing, NULL);
    assert_int_equal(rusm_factory_register(a->node, "box", make_nothing, NULL), RUSM_EEXIST);
    assert_int_equal(rusm_factory_register(a->node, "", make_nothing, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_factory_register(a->node, NULL, make_nothing, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_factory_register(a->node, "other", NULL, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_factory_register(NULL, "other", make_nothing, NULL), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_factory_unregister(a->node, "other"), RUSM_ENONAME);
    assert_int_equal(rusm_factory_unregister(a->node, NULL), RUSM_ENONAME);
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

static int compare_serials(const void *a, const void *b)
{
    uint64_t x = ((const rusm_pid *)a)->serial, y = ((const rusm_pid *)b)->serial;

    return x < y ? -1 : x > y;
}

/* In pages of a size that is none of the wire's; each process exactly once. */
static void very_many_processes_are_listed_once_each(void **state)
{
    static rusm_process_info infos[999];
    struct support_node *a, *b;
    uint64_t cursor = 0;
    unsigned char *seen = calloc(CROWD, 1);
    rusm_pid *pids = calloc(CROWD, sizeof(*pids));
    size_t count = 0;

    assert_non_null(seen);
    assert_non_null(pids);
    pair(state, &a, &b);
    for (size_t i = 0; i < CROWD; i++) {
        pids[i] = support_idle_start(b, NULL);
    }
    qsort(pids, CROWD, sizeof(*pids), compare_serials);
    do {
        ptrdiff_t n = rusm_remote_process_list(a->node, "b", &cursor, infos, 999, TIME);

        assert_true(n > 0);
        assert_true(n == 999 || cursor == 0);
        for (ptrdiff_t i = 0; i < n; i++) {
            size_t at = 0, end = CROWD;

            assert_true(infos[i].pid.incarnation == pids[0].incarnation);
            while (at < end) {
                size_t middle = (at + end) / 2;

                if (pids[middle].serial < infos[i].pid.serial) {
                    at = middle + 1;
                } else {
                    end = middle;
                }
            }
            assert_true(at < CROWD && pids[at].serial == infos[i].pid.serial);
            assert_int_equal(seen[at]++, 0);
        }
        count += (size_t)n;
    } while (cursor != 0);
    assert_int_equal(count, CROWD);
    free(seen);
    free(pids);
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
    factory(b, "box", make_box, &box);
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
    factory(b, "box", make_box, &box);
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
    (void)in_process(watch, kill_it, &box.pid);
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

#define CASE(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, support_world_setup, support_world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(spawned_process_is_usable_from_the_asker),
        CASE(spawn_with_the_most_arguments_works_and_with_one_more_is_refused),
        CASE(spawn_on_an_unknown_node_is_an_error_that_names_it),
        CASE(spawn_by_an_unknown_factory_is_an_error_that_names_it),
        CASE(spawn_by_a_failing_factory_tells_its_words),
        CASE(spawn_by_a_crashing_factory_tells_its_reason),
        CASE(spawn_by_a_factory_that_exits_or_makes_nothing_fails),
        CASE(spawn_by_a_factory_that_blocks_times_out),
        CASE(spawn_fails_when_the_link_is_lost),
        CASE(spawn_fails_when_the_node_is_deleted),
        CASE(spawn_over_the_limit_of_requests_is_refused),
        CASE(spawn_on_ones_own_node_works_and_fails_alike),
        CASE(factory_that_can_not_be_registered_is_refused),
        CASE(listed_process_has_its_state_names_and_numbers),
        CASE(very_many_processes_are_listed_once_each),
        CASE(list_that_can_not_be_is_refused),
        CASE(peers_of_another_node_are_listed),
        CASE(names_of_another_node_are_listed_and_found),
        CASE(kill_on_another_node_ends_the_process_and_tells_whether_it_lived),
        CASE(kill_by_a_pid_of_a_node_without_a_link_is_an_error),
        CASE(operator_is_hidden_and_may_look_send_spawn_and_kill),
        CASE(observer_may_look_and_nothing_else),
        CASE(operator_answers_no_requests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
