/* SPDX-License-Identifier: MIT */
/*
 * Servers, supervisors and tasks whose pids are of other nodes: what works across nodes, and what
 * says that it does not. The test's own thread is a process of node "a".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "gen/supervisor.h"
#include "support/procs.h"
#include "support/udp_proxy.h"

#include <rusm/otp/server.h>
#include <rusm/otp/supervisor.h>
#include <rusm/otp/task.h>

struct pair {
    struct support_node *a, *b;
};

static struct pair enter_pair(void **state)
{
    struct pair pair;

    pair.a = support_node_start(*state, "a");
    pair.b = support_node_start(*state, "b");
    support_connect(pair.a, pair.b);
    assert_int_equal(rusm_thread_enter(pair.a->runtime, "test"), RUSM_OK);
    return pair;
}

/* ---- a server that counts -------------------------------------------------------------------- */

static atomic_uint casts, terminated_after, terminated_as;
static atomic_bool traps, stuck;

static rusm_err count_init(void *arg, void **out_state)
{
    *out_state = arg;
    if (atomic_load(&traps)) {
        (void)rusm_trap_exit(true);
    }
    return RUSM_OK;
}

static void count_call(void *state, rusm_msg *request)
{
    (void)state;
    (void)!rusm_reply(rusm_msg_from(request), "ok", 2);
}

static void count_cast(void *state, rusm_msg *msg)
{
    (void)state;
    (void)msg;
    atomic_fetch_add(&casts, 1);
    while (atomic_load(&stuck)) {
        if (rusm_sleep(1) != RUSM_OK) {
            return;
        }
    }
}

static void count_terminate(void *state, const rusm_reason *reason)
{
    (void)state;
    atomic_store(&terminated_after, atomic_load(&casts));
    atomic_store(&terminated_as, (unsigned)reason->kind + 1);
}

static const rusm_server_ops counting = {.size = sizeof(rusm_server_ops),
                                         .init = count_init,
                                         .call = count_call,
                                         .cast = count_cast,
                                         .terminate = count_terminate};

static void run_counting(void *arg)
{
    rusm_server_run(&counting, arg);
}

static rusm_pid start_counting(struct support_node *node)
{
    rusm_pid pid;
    rusm_msg *reply;

    assert_int_equal(rusm_spawn(node->runtime, run_counting, NULL, &pid), RUSM_OK);
    assert_int_equal(rusm_call(pid, "up", 2, SUPPORT_DEADLINE_MS, &reply), RUSM_OK);
    rusm_msg_del(reply);
    return pid;
}

static void reset(bool trap)
{
    atomic_store(&casts, 0);
    atomic_store(&terminated_after, 0);
    atomic_store(&terminated_as, 0);
    atomic_store(&traps, trap);
    atomic_store(&stuck, false);
}

/* What was sent before is handled, terminate runs, and when the call returns the server is gone. */
static void server_of_another_node_is_stopped(void **state)
{
    struct pair pair = enter_pair(state);

    for (int trap = 0; trap < 2; trap++) {
        rusm_pid pid;

        reset(trap != 0);
        pid = start_counting(pair.b);
        for (int i = 0; i < 100; i++) {
            assert_int_equal(rusm_cast(pid, "x", 1), RUSM_OK);
        }
        assert_int_equal(rusm_server_stop(pid, SUPPORT_DEADLINE_MS), RUSM_OK);
        assert_int_equal(atomic_load(&terminated_after), 100);
        assert_int_equal(atomic_load(&terminated_as), (unsigned)RUSM_REASON_NORMAL + 1);
        assert_int_equal(rusm_server_stop(pid, SUPPORT_DEADLINE_MS), RUSM_ENOPROC);
    }
    rusm_thread_leave();
}

/* Who gives up leaves the request behind, and no monitor. */
static void server_that_does_not_stop_in_time_stops_later(void **state)
{
    struct pair pair = enter_pair(state);
    rusm_msg *msg;
    rusm_pid pid;
    rusm_ref ref;

    reset(false);
    pid = start_counting(pair.b);
    atomic_store(&stuck, true);
    assert_int_equal(rusm_monitor(pid, &ref), RUSM_OK);
    assert_int_equal(rusm_cast(pid, "x", 1), RUSM_OK);
    assert_int_equal(rusm_server_stop(pid, 20), RUSM_ETIMEOUT);
    atomic_store(&stuck, false);
    assert_int_equal(rusm_receive(&msg, SUPPORT_DEADLINE_MS), RUSM_OK);
    assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_DOWN);
    assert_int_equal(rusm_msg_reason(msg)->kind, RUSM_REASON_NORMAL);
    rusm_msg_del(msg);
    assert_int_equal(rusm_receive(&msg, 0), RUSM_ETIMEOUT);
    rusm_thread_leave();
}

static void cut_when_asked(void *arg)
{
    while (atomic_load(&casts) == 0) {
        if (rusm_sleep(1) != RUSM_OK) {
            return;
        }
    }
    (void)!rusm_node_disconnect(arg, "b");
}

static void loss_of_the_node_ends_a_stop(void **state)
{
    struct pair pair = enter_pair(state);
    rusm_pid pid;

    reset(false);
    pid = start_counting(pair.b);
    atomic_store(&stuck, true);
    assert_int_equal(rusm_spawn(pair.a->runtime, cut_when_asked, pair.a->node, NULL), RUSM_OK);
    assert_int_equal(rusm_cast(pid, "x", 1), RUSM_OK);
    assert_int_equal(rusm_server_stop(pid, SUPPORT_DEADLINE_MS), RUSM_ENOLINK);
    atomic_store(&stuck, false);
    support_wait_peer(pair.a, "b", false);
    assert_int_equal(rusm_server_stop(pid, SUPPORT_DEADLINE_MS), RUSM_ENONODE);
    rusm_thread_leave();
}

/* ---- supervisors and tasks ------------------------------------------------------------------- */

static rusm_pid supervisor_pid;
static atomic_bool supervised;
static atomic_uint started;

static void child(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    atomic_fetch_add(&started, 1);
    (void)!rusm_receive(&msg, RUSM_INFINITY);
}

static void supervise(void *arg)
{
    rusm_supervisor_config cfg;
    rusm_child_spec spec;
    rusm_msg *msg;

    (void)arg;
    rusm_child_spec_init(&spec);
    spec.id = "child";
    spec.fn = child;
    rusm_supervisor_config_init(&cfg);
    cfg.children = &spec;
    cfg.children_len = 1;
    if (rusm_supervisor_start(&cfg, &supervisor_pid) == RUSM_OK) {
        atomic_store(&supervised, true);
        (void)!rusm_receive(&msg, RUSM_INFINITY);
    }
}

static bool is_supervised(void *arg)
{
    (void)arg;
    return atomic_load(&supervised);
}

static void start_supervisor(struct support_node *node)
{
    atomic_store(&supervised, false);
    atomic_store(&started, 0);
    assert_int_equal(rusm_spawn(node->runtime, supervise, NULL, NULL), RUSM_OK);
    assert_true(support_wait(is_supervised, NULL));
}

/* Its records have addresses in them: it is said so, and not with a time-out. */
static void supervisor_of_another_node_can_not_be_asked(void **state)
{
    struct pair pair = enter_pair(state);
    rusm_child_count count;
    rusm_child_info infos[4];
    rusm_child_spec spec;
    uint64_t cursor = 0;
    rusm_pid pid;

    start_supervisor(pair.b);
    rusm_child_spec_init(&spec);
    spec.id = "more";
    spec.fn = child;
    assert_int_equal(rusm_supervisor_start_child(supervisor_pid, &spec, NULL, RUSM_INFINITY, &pid),
                     RUSM_EINVAL);
    assert_non_null(strstr(rusm_err_detail(), "its own node"));
    assert_int_equal(rusm_supervisor_terminate_child(supervisor_pid, "child", RUSM_INFINITY),
                     RUSM_EINVAL);
    assert_int_equal(rusm_supervisor_count(supervisor_pid, RUSM_INFINITY, &count), RUSM_EINVAL);
    assert_int_equal(rusm_supervisor_list(supervisor_pid, &cursor, infos, 4, RUSM_INFINITY),
                     RUSM_EINVAL);
    assert_int_equal(rusm_supervisor_stop(supervisor_pid, RUSM_INFINITY), RUSM_EINVAL);
    assert_int_equal(atomic_load(&started), 1);
    rusm_thread_leave();
}

/* Who sends the bytes of a request from another node, with an address to be called in them, is
 * answered that it is none; as a cast they are dropped. */
static void requests_to_supervisors_are_not_taken_from_other_nodes(void **state)
{
    struct pair pair = enter_pair(state);
    static const enum rusmi_sup_op ops[] = {RUSMI_SUP_TERMINATE_CHILD, RUSMI_SUP_RESTART_CHILD,
                                            RUSMI_SUP_COUNT, RUSMI_SUP_START_CHILD};
    struct rusmi_sup_request *request;
    unsigned char bytes[sizeof(*request) + 6] = {0};
    const struct rusmi_sup_answer *answer;
    rusm_msg *reply;

    start_supervisor(pair.b);
    request = (void *)bytes;
    request->magic = RUSMI_SUP_MAGIC;
    request->body_len = 6;
    memcpy(bytes + sizeof(*request), "child", 6);
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        request->op = ops[i];
        assert_int_equal(
            rusm_call(supervisor_pid, bytes, sizeof(bytes), SUPPORT_DEADLINE_MS, &reply), RUSM_OK);
        answer = rusm_msg_data(reply);
        assert_int_equal(answer->err, RUSM_EINVAL);
        assert_string_equal(answer->detail, "a supervisor does not know this request");
        rusm_msg_del(reply);
    }
    request->op = RUSMI_SUP_STOP;
    assert_int_equal(rusm_cast(supervisor_pid, bytes, sizeof(bytes)), RUSM_OK);
    /* It lives, and answers. */
    assert_int_equal(rusm_call(supervisor_pid, "x", 1, SUPPORT_DEADLINE_MS, &reply), RUSM_OK);
    rusm_msg_del(reply);
    assert_int_equal(atomic_load(&started), 1);
    rusm_thread_leave();
}

/* A task is a value of who started it; with another node's pid in it, it is nobody's. */
static void task_with_a_pid_of_another_node_is_none(void **state)
{
    struct pair pair = enter_pair(state);
    rusm_task task;

    reset(false);
    task.pid = start_counting(pair.b);
    task.ref = (rusm_ref){rusm_self().incarnation, 1};
    assert_int_equal(rusm_task_await(&task, RUSM_INFINITY, NULL), RUSM_EINVAL);
    task.ref.incarnation = task.pid.incarnation;
    assert_int_equal(rusm_task_await(&task, RUSM_INFINITY, NULL), RUSM_EINVAL);
    rusm_task_cancel(&task);
    assert_int_equal(rusm_server_stop(task.pid, SUPPORT_DEADLINE_MS), RUSM_OK);
    rusm_thread_leave();
}

/* A test that fails leaves its thread in the runtime, which could not end then. */
static int teardown(void **state)
{
    (void)atomic_exchange(&stuck, false);
    if (!rusm_pid_is_none(rusm_self())) {
        rusm_thread_leave();
    }
    return support_world_teardown(state);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, support_world_setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(server_of_another_node_is_stopped),
        CASE(server_that_does_not_stop_in_time_stops_later),
        CASE(loss_of_the_node_ends_a_stop),
        CASE(supervisor_of_another_node_can_not_be_asked),
        CASE(requests_to_supervisors_are_not_taken_from_other_nodes),
        CASE(task_with_a_pid_of_another_node_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
