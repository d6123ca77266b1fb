/* SPDX-License-Identifier: MIT */
/*
 * Calls, servers and tasks with their first allocation failing, then the second, and so on until
 * none is met: what fails says so and leaves nothing behind. Everything runs on a deterministic
 * pool, on the testing thread, so that the allocations of all processes count.
 */
#include "gen/heap_fixture_test.h"
#include "otp/fixture_test.h"

#include <rusm/test.h>
#include <stdlib.h>

/* Run op in a new world with each allocation failing in turn. op may return what is in `allowed`,
 * which ends with RUSM_OK, or RUSM_OK, or RUSM_ENOMEM; afterwards the caller is as it was. */
static void fail_each(rusm_err (*op)(void), const rusm_err *allowed)
{
    bool met = true;
    int failed = 0;

    for (int n = 1; met; n++) {
        rusm_runtime_config cfg;
        rusm_process_info info;
        rusm_runtime *rt;
        rusm_pool *pool;
        rusm_msg *msg;
        rusm_err err;
        bool known;

        assert_int_equal(rusm_test_pool_new(&pool, 1, NULL), RUSM_OK);
        rusm_runtime_config_init(&cfg);
        cfg.pool = pool;
        assert_int_equal(rusm_runtime_new(&rt, &cfg), RUSM_OK);
        assert_int_equal(rusm_thread_enter(rt, "test"), RUSM_OK);
        fail_at = n;
        err = op();
        met = fail_at == 0;
        fail_at = 0;
        known = err == RUSM_OK || err == RUSM_ENOMEM;
        for (const rusm_err *each = allowed; *each != RUSM_OK; each++) {
            known = known || err == *each;
        }
        if (!known) {
            fail_msg("allocation %d: %s (%s)", n, rusm_err_name(err), rusm_err_detail());
        }
        failed += err != RUSM_OK;
        (void)rusm_test_advance(pool, 2000);
        assert_int_equal(rusm_receive(&msg, 0), RUSM_ETIMEOUT);
        assert_int_equal(rusm_process_get_info(rusm_self(), &info), RUSM_OK);
        assert_int_equal(info.links, 0);
        assert_int_equal(info.monitors, 0);
        rusm_thread_leave();
        rusm_runtime_del(rt);
        rusm_pool_del(pool);
    }
    assert_true(failed > 0);
}

/* ---- what is tried --------------------------------------------------------------------------- */

static void answer_once(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    if (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        (void)!rusm_reply(rusm_msg_from(msg), rusm_msg_data(msg), rusm_msg_len(msg));
        rusm_msg_del(msg);
    }
}

static rusm_err op_call(void)
{
    rusm_pid server;
    rusm_msg *reply;
    rusm_err err = rusm_spawn(NULL, answer_once, NULL, &server);

    if (err == RUSM_OK) {
        err = rusm_call(server, "x", 1, 1000, &reply);
        if (err == RUSM_OK) {
            rusm_msg_del(reply);
        } else {
            (void)!rusm_kill(server);
        }
    }
    return err;
}

static rusm_err server_init(void *arg, void **out_state)
{
    (void)arg;
    *out_state = rusm_alloc(16);
    return *out_state == NULL ? RUSM_ENOMEM : RUSM_OK;
}

static void server_call(void *state, rusm_msg *request)
{
    (void)state;
    (void)!rusm_reply(rusm_msg_from(request), NULL, 0);
}

static rusm_err op_server(void)
{
    static const rusm_server_ops ops = {
        .size = sizeof(ops), .init = server_init, .call = server_call};
    rusm_spawn_config cfg;
    rusm_ref ref;
    rusm_pid pid;
    rusm_err err, stopped;
    rusm_msg *msg;

    rusm_spawn_config_init(&cfg);
    cfg.label = "server";
    cfg.name = "server";
    cfg.out_ref = &ref;
    err = rusm_server_start(&ops, NULL, &cfg, 1000, &pid);
    if (err != RUSM_OK) {
        return err;
    }
    err = rusm_call(pid, NULL, 0, 1000, NULL);
    stopped = rusm_server_stop(pid, 1000);
    if (stopped != RUSM_OK) {
        (void)!rusm_unlink(pid);
        (void)!rusm_kill(pid);
    }
    /* its down was promised */
    if (rusm_receive(&msg, 1000) == RUSM_OK) {
        rusm_msg_del(msg);
    } else {
        return RUSM_EPROTO;
    }
    return err != RUSM_OK ? err : stopped;
}

static rusm_err task(void *arg, rusm_msg **out_result)
{
    (void)arg;
    return rusm_msg_new(out_result, 16);
}

static rusm_err op_task(void)
{
    rusm_msg *result = NULL;
    rusm_task started;
    rusm_err err = rusm_task_start(&started, task, NULL, NULL);

    if (err == RUSM_OK) {
        err = rusm_task_await(&started, 1000, &result);
        rusm_msg_del(result);
    }
    return err;
}

static rusm_err op_cast(void)
{
    rusm_msg *msg;
    rusm_err err = rusm_cast(rusm_self(), "x", 1);

    if (err == RUSM_OK && rusm_receive(&msg, 0) == RUSM_OK) {
        rusm_msg_del(msg);
    }
    return err;
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* A server without memory for its answer does not give it. */
static const rusm_err unanswered[] = {RUSM_ETIMEOUT, RUSM_ENOPROC, RUSM_OK};
static const rusm_err nothing_else[] = {RUSM_OK};

static void test_call_without_memory(void **state)
{
    (void)state;
    fail_each(op_call, unanswered);
}

static void test_server_without_memory(void **state)
{
    (void)state;
    fail_each(op_server, unanswered);
}

static void test_task_without_memory(void **state)
{
    (void)state;
    fail_each(op_task, nothing_else);
}

static void test_cast_without_memory(void **state)
{
    (void)state;
    fail_each(op_cast, nothing_else);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_call_without_memory),
        cmocka_unit_test(test_server_without_memory),
        cmocka_unit_test(test_task_without_memory),
        cmocka_unit_test(test_cast_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
