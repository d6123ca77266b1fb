/* SPDX-License-Identifier: MIT */
/*
 * Supervisors with their first allocation failing, then the second, and so on until none is met.
 * A request that fails says so and changes nothing; a restart that fails is tried again; a stop
 * goes on. Everything runs on a deterministic pool, on the testing thread, so that the allocations
 * of all processes count.
 */
#include "gen/heap_fixture_test.h"
#include "otp/fixture_test.h"

#include <rusm/otp/driver.h>
#include <rusm/test.h>
#include <stdlib.h>

#define CALL_MS 60000

static rusm_pid last; /* the child that started last */

static void child_main(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    last = rusm_self();
    if (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_crash("told to");
    }
}

static rusm_err child_start(void *arg, rusm_pid *out_pid)
{
    return rusm_spawn_link(child_main, arg, out_pid);
}

static rusm_err sup_start(rusm_strategy strategy, rusm_pid *out_sup)
{
    rusm_child_spec specs[3];
    rusm_supervisor_config cfg;

    for (unsigned i = 0; i < 3; i++) {
        rusm_child_spec_init(&specs[i]);
        specs[i].id = i == 0 ? "a" : i == 1 ? "b" : "c";
        specs[i].fn = i == 1 ? NULL : child_main;
        specs[i].start = i == 1 ? child_start : NULL;
    }
    rusm_supervisor_config_init(&cfg);
    cfg.name = "boss";
    cfg.strategy = strategy;
    cfg.children = specs;
    cfg.children_len = strategy == RUSM_SIMPLE_ONE_FOR_ONE ? 1 : 3;
    return rusm_supervisor_start(&cfg, out_sup);
}

/* ---- what is tried; each gets a supervisor, unless it starts its own ------------------------- */

static rusm_err op_start(rusm_pool *pool, rusm_pid *sup)
{
    (void)pool;
    return sup_start(RUSM_ONE_FOR_ONE, sup);
}

static rusm_err op_start_child(rusm_pool *pool, rusm_pid *sup)
{
    rusm_child_spec spec;
    rusm_pid pid = RUSM_PID_NONE;
    rusm_err err;

    (void)pool;
    rusm_child_spec_init(&spec);
    spec.id = "d";
    spec.fn = child_main;
    err = rusm_supervisor_start_child(*sup, &spec, NULL, CALL_MS, &pid);
    assert_true((err == RUSM_OK) == !rusm_pid_is_none(pid));
    return err;
}

static rusm_err op_look(rusm_pool *pool, rusm_pid *sup)
{
    rusm_child_info infos[3];
    rusm_child_count count;
    uint64_t cursor = 0;
    ptrdiff_t len = rusm_supervisor_list(*sup, &cursor, infos, 3, CALL_MS);

    (void)pool;
    if (len < 0) {
        return (rusm_err)len;
    }
    assert_int_equal(len, 3);
    return rusm_supervisor_count(*sup, CALL_MS, &count);
}

static rusm_err op_terminate(rusm_pool *pool, rusm_pid *sup)
{
    rusm_err err = rusm_supervisor_terminate_child(*sup, "a", CALL_MS);

    (void)pool;
    return err != RUSM_OK ? err : rusm_supervisor_restart_child(*sup, "a", CALL_MS, NULL);
}

static rusm_err op_crash(rusm_pool *pool, rusm_pid *sup)
{
    rusm_err err = rusm_send(last, "x", 1);

    (void)sup;
    (void)rusm_test_run(pool, 100000);
    return err;
}

static rusm_err op_stop(rusm_pool *pool, rusm_pid *sup)
{
    rusm_err err = rusm_supervisor_stop(*sup, CALL_MS);

    (void)pool;
    if (err == RUSM_OK) {
        *sup = RUSM_PID_NONE;
    }
    return err;
}

/* ---- how ------------------------------------------------------------------------------------- */

struct attempt {
    rusm_err (*op)(rusm_pool *pool, rusm_pid *sup);
    rusm_strategy strategy;
    uint64_t specs_before, specs_after; /* if it fails, and if not */
    bool begins;                        /* it starts the supervisor */
    bool restarts;                      /* all children run afterwards, whatever failed */
};

/* One world; returns whether the n-th allocation was met. */
static bool try_with(const struct attempt *attempt, int n, int *failed)
{
    rusm_runtime_stats stats;
    rusm_runtime_config cfg;
    rusm_child_count count;
    rusm_pid sup = RUSM_PID_NONE;
    rusm_runtime *rt;
    rusm_pool *pool;
    rusm_msg *msg;
    rusm_err err;
    bool met;

    assert_int_equal(rusm_test_pool_new(&pool, 1, NULL), RUSM_OK);
    rusm_runtime_config_init(&cfg);
    cfg.pool = pool;
    assert_int_equal(rusm_runtime_new(&rt, &cfg), RUSM_OK);
    assert_int_equal(rusm_thread_enter(rt, "test"), RUSM_OK);
    if (!attempt->begins) {
        assert_int_equal(sup_start(attempt->strategy, &sup), RUSM_OK);
        (void)rusm_test_run(pool, 100000);
    }
    fail_at = n;
    err = attempt->op(pool, &sup);
    met = fail_at == 0;
    fail_at = 0;
    *failed += err != RUSM_OK;
    if (err != RUSM_OK && err != RUSM_ENOMEM) {
        fail_msg("allocation %d: %s (%s)", n, rusm_err_name(err), rusm_err_detail());
    }
    (void)rusm_test_advance(pool, 2000);
    assert_int_equal(rusm_receive(&msg, 0), RUSM_ETIMEOUT);
    if (!rusm_pid_is_none(sup)) {
        assert_int_equal(rusm_supervisor_count(sup, CALL_MS, &count), RUSM_OK);
        assert_int_equal(count.specs,
                         err == RUSM_OK ? attempt->specs_after : attempt->specs_before);
        if (attempt->restarts) {
            assert_int_equal(count.active, count.specs);
        }
        assert_int_equal(rusm_supervisor_stop(sup, CALL_MS), RUSM_OK);
    }
    assert_int_equal(rusm_runtime_get_stats(rt, &stats), RUSM_OK);
    assert_int_equal(stats.processes, 1);
    rusm_thread_leave();
    rusm_runtime_del(rt);
    rusm_pool_del(pool);
    return met;
}

static void try_all(const struct attempt *attempt)
{
    int failed = 0, n = 1;

    while (try_with(attempt, n, &failed)) {
        n++;
    }
    assert_true(n > 1);
    assert_true(failed > 0 || attempt->restarts);
}

static void test_start(void **state)
{
    (void)state;
    try_all(&(struct attempt){.op = op_start, .specs_after = 3, .begins = true});
}

static void test_start_child(void **state)
{
    (void)state;
    try_all(&(struct attempt){
        .op = op_start_child, .specs_before = 3, .specs_after = 4, .restarts = true});
}

static void test_look(void **state)
{
    (void)state;
    try_all(
        &(struct attempt){.op = op_look, .specs_before = 3, .specs_after = 3, .restarts = true});
}

static void test_terminate_and_restart_child(void **state)
{
    (void)state;
    try_all(&(struct attempt){.op = op_terminate, .specs_before = 3, .specs_after = 3});
}

static void test_restart(void **state)
{
    (void)state;
    for (rusm_strategy strategy = RUSM_ONE_FOR_ONE; strategy <= RUSM_REST_FOR_ONE; strategy++) {
        try_all(&(struct attempt){.op = op_crash,
                                  .strategy = strategy,
                                  .specs_before = 3,
                                  .specs_after = 3,
                                  .restarts = true});
    }
}

static void test_stop(void **state)
{
    (void)state;
    try_all(&(struct attempt){.op = op_stop, .specs_before = 3});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start),   cmocka_unit_test(test_start_child),
        cmocka_unit_test(test_look),    cmocka_unit_test(test_terminate_and_restart_child),
        cmocka_unit_test(test_restart), cmocka_unit_test(test_stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
