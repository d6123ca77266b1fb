/* SPDX-License-Identifier: MIT */
/*
 * Every call that allocates, with its first allocation failing, then its second, and so on until it
 * succeeds: each failure is RUSM_ENOMEM and leaves everything as it was. Only allocations of the
 * testing thread fail.
 */
#include "otp/fixture_test.h"

#include <rusm/otp/driver.h>
#include <rusm/test.h>
#include <sched.h>
#include <stdlib.h>

static _Thread_local int fail_at; /* 1: the next allocation; 0: none */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

static bool fails(void)
{
    return fail_at > 0 && --fail_at == 0;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size)
{
    return fails() ? NULL : __real_realloc(block, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, size);
}

/* Call op with the n-th allocation failing, for n from 1, until it succeeds without meeting it. */
static int failures_of(rusm_err (*op)(struct fixture *fixture), struct fixture *fixture)
{
    for (int n = 1;; n++) {
        rusm_err err;
        bool met;

        fail_at = n;
        err = op(fixture);
        met = fail_at == 0;
        fail_at = 0;
        if (err == RUSM_OK && !met) {
            return n - 1;
        }
        assert_true(n < 1000);
        assert_true(err == RUSM_ENOMEM || err == RUSM_OK); /* some allocations are not needed */
    }
}

static rusm_err op_pool(struct fixture *fixture)
{
    rusm_pool_config cfg;
    rusm_pool *pool;
    rusm_err err;

    (void)fixture;
    rusm_pool_config_init(&cfg);
    cfg.threads = 1;
    err = rusm_pool_new(&pool, &cfg);
    if (err == RUSM_OK) {
        rusm_pool_del(pool);
    }
    return err;
}

static rusm_err op_runtime(struct fixture *fixture)
{
    rusm_runtime_config cfg;
    rusm_runtime *rt;
    rusm_err err;

    rusm_runtime_config_init(&cfg);
    cfg.pool = fixture->pool;
    err = rusm_runtime_new(&rt, &cfg);
    if (err == RUSM_OK) {
        rusm_runtime_del(rt);
    }
    return err;
}

static rusm_err op_default_pool(struct fixture *fixture)
{
    rusm_runtime *rt;
    rusm_err err = rusm_runtime_new(&rt, NULL);

    (void)fixture;
    if (err == RUSM_OK) {
        rusm_runtime_del(rt);
    }
    return err;
}

static void body_end(void *arg)
{
    fixture_count(arg);
}

static rusm_err op_spawn(struct fixture *fixture)
{
    rusm_spawn_config cfg;
    uint64_t before = atomic_load(&fixture->count);
    rusm_pid pid;
    rusm_err err;

    rusm_spawn_config_init(&cfg);
    cfg.label = "label";
    cfg.name = "name";
    err = rusm_spawn_with(fixture->rt, body_end, fixture, &cfg, &pid);
    if (err == RUSM_OK) {
        fixture_wait_count(fixture, &fixture->count, before + 1);
        fixture_until(!rusm_is_alive(pid));
    }
    return err;
}

static rusm_err op_enter(struct fixture *fixture)
{
    rusm_err err = rusm_thread_enter(fixture->rt, "label");

    if (err == RUSM_OK) {
        err = rusm_register(NULL, "name", rusm_self());
        if (err == RUSM_OK) {
            err = rusm_send_name("name", "abc", 3);
        }
        if (err == RUSM_OK) {
            err = rusm_send(rusm_self(), "abc", 3);
        }
        rusm_thread_leave();
    }
    return err;
}

static void nothing(void *arg, rusm_time now_ns)
{
    (void)arg;
    (void)now_ns;
}

static void driver_closed(void *arg)
{
    fixture_count(arg);
}

static rusm_err op_driver(struct fixture *fixture)
{
    rusm_driver_config cfg = {
        .size = sizeof(cfg), .run = nothing, .closed = driver_closed, .arg = fixture};
    uint64_t before = atomic_load(&fixture->count);
    rusm_driver *driver;
    rusm_err err = rusm_driver_new(&driver, fixture->rt, &cfg);

    if (err == RUSM_OK) {
        rusm_driver_close(driver);
        fixture_wait_count(fixture, &fixture->count, before + 1);
    }
    return err;
}

static rusm_err op_waiter(struct fixture *fixture)
{
    rusm_waiter *waiter;
    rusm_err err = rusm_waiter_new(&waiter);

    (void)fixture;
    if (err == RUSM_OK) {
        rusm_waiter_drop(waiter);
    }
    return err;
}

static rusm_err op_wait_fd(struct fixture *fixture)
{
    rusm_err err = rusm_thread_enter(fixture->rt, NULL);

    if (err == RUSM_OK) {
        err = rusm_wait_fd(0, RUSM_FD_READ, 0);
        /* Standard input may be ready, or not to be polled. */
        err = err == RUSM_ENOMEM ? err : RUSM_OK;
        rusm_thread_leave();
    }
    return err;
}

static rusm_err op_timer(struct fixture *fixture)
{
    rusm_err err = rusm_thread_enter(fixture->rt, NULL);
    rusm_ref once, often;

    if (err == RUSM_OK) {
        err = rusm_send_after(rusm_self(), "abc", 3, 1000000, &once);
        if (err == RUSM_OK) {
            assert_true(rusm_timer_left_ms(once) > 0);
            err = rusm_send_interval(rusm_self(), "abc", 3, 1000000, &often);
        }
        if (err == RUSM_OK) {
            assert_int_equal(rusm_cancel_timer(often), RUSM_OK);
        }
        rusm_thread_leave();
    }
    return err;
}

/* Without memory nobody joins, nobody monitors, and nobody gets what is sent. */
static rusm_err op_group(struct fixture *fixture)
{
    rusm_err err = rusm_thread_enter(fixture->rt, NULL);
    ptrdiff_t got = 0;
    rusm_msg *msg;
    rusm_ref refs[2];

    if (err != RUSM_OK) {
        return err;
    }
    err = rusm_group_join(NULL, "group", rusm_self());
    assert_int_equal(rusm_group_members(NULL, "group", NULL, 0), err == RUSM_OK ? 1 : 0);
    for (int i = 0; i < 2 && err == RUSM_OK; i++) {
        got = rusm_group_monitor("group", &refs[i], NULL, 0);
        err = got < 0 ? (rusm_err)got : RUSM_OK;
    }
    if (err == RUSM_OK) {
        assert_int_equal(rusm_group_leave(NULL, "group", rusm_self()), RUSM_OK);
        err = rusm_group_join(NULL, "group", rusm_self());
    }
    if (err == RUSM_OK) {
        got = rusm_group_send(NULL, "group", "abc", 3);
        err = got < 0 ? (rusm_err)got : RUSM_OK;
        assert_int_equal(got, err == RUSM_OK ? 1 : RUSM_ENOMEM);
        for (got = 0; rusm_receive(&msg, 0) == RUSM_OK; got++) {
            rusm_msg_del(msg);
        }
        assert_int_equal(got, err == RUSM_OK ? 5 : 4);
    }
    rusm_thread_leave();
    return err;
}

/* Without memory no process of another node becomes a member, and nobody gets what one sends. */
static rusm_err op_remote_group(struct fixture *fixture)
{
    rusm_err err = rusm_thread_enter(fixture->rt, NULL);
    rusm_pid far = {77, 1};
    ptrdiff_t got;
    rusm_ref ref;
    rusm_msg *msg;

    if (err != RUSM_OK) {
        return err;
    }
    err = rusm_runtime_group_remote_add(fixture->rt, "group", 5, far);
    assert_int_equal(rusm_group_members(NULL, "group", NULL, 0), err == RUSM_OK ? 1 : 0);
    if (err == RUSM_OK) {
        got = rusm_group_monitor("group", &ref, NULL, 0);
        err = got < 0 ? (rusm_err)got : RUSM_OK;
    }
    for (far.serial = 2; err == RUSM_OK && far.serial < 7; far.serial++) {
        err = rusm_runtime_group_remote_add(fixture->rt, "group", 5, far);
    }
    if (err == RUSM_OK) {
        err = rusm_group_join(NULL, "group", rusm_self());
    }
    if (err == RUSM_OK) {
        err = rusm_runtime_group_remote_add(fixture->rt, "other", 5, (rusm_pid){78, 1});
    }
    if (err == RUSM_OK) {
        err = rusm_msg_new(&msg, 3);
    }
    if (err == RUSM_OK) {
        got = rusm_runtime_group_deliver(fixture->rt, "group", 5, msg);
        assert_int_equal(got, 1);
        got = rusm_group_send(NULL, "group", "abc", 3); /* there is no router */
        err = got < 0 ? (rusm_err)got : RUSM_OK;
    }
    rusm_runtime_group_remote_drop(fixture->rt, 77);
    rusm_runtime_group_remote_drop(fixture->rt, 78);
    rusm_thread_leave();
    return err;
}

static void quiet(void *arg, const rusm_log_entry *entry)
{
    (void)arg;
    (void)entry;
}

/* In a runtime of its own, as its log stays as it is made. */
static rusm_err op_log(struct fixture *fixture)
{
    rusm_runtime_config cfg;
    rusm_runtime *rt;
    rusm_err err;

    rusm_runtime_config_init(&cfg);
    cfg.pool = fixture->pool;
    err = rusm_runtime_new(&rt, &cfg);
    if (err != RUSM_OK) {
        return err;
    }
    rusm_log_set_fn(quiet, NULL);
    err = rusm_log_set_level(rt, RUSM_LOG_SPAWN);
    if (err == RUSM_OK) {
        err = rusm_log_set_census(rt, 1000);
    }
    if (err == RUSM_OK) {
        err = rusm_thread_enter(rt, "label"); /* a census without memory counts it as another */
    }
    if (err == RUSM_OK) {
        rusm_thread_leave();
    }
    rusm_runtime_del(rt);
    rusm_log_set_fn(NULL, NULL);
    return err;
}

static rusm_err op_trace(struct fixture *fixture)
{
    rusm_err err = rusm_thread_enter(fixture->rt, NULL);
    rusm_trace *trace = NULL;

    if (err == RUSM_OK) {
        err = rusm_trace_new(&trace, rusm_self(), 100);
        rusm_trace_del(trace);
        rusm_thread_leave();
    }
    return err;
}

static rusm_err op_whereis_or_spawn(struct fixture *fixture)
{
    uint64_t before = atomic_load(&fixture->count);
    rusm_pid pid;
    rusm_err err = rusm_whereis_or_spawn(fixture->rt, "name", body_end, fixture, NULL, &pid, NULL);

    if (err == RUSM_OK) {
        fixture_wait_count(fixture, &fixture->count, before + 1);
        fixture_until(!rusm_is_alive(pid));
    }
    return err;
}

static void test_each_failed_allocation_is_an_error_without_effect(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid found;

    assert_true(failures_of(op_pool, fixture) > 1);
    assert_true(failures_of(op_runtime, fixture) > 0);
    assert_true(failures_of(op_default_pool, fixture) > 1);
    assert_true(failures_of(op_spawn, fixture) > 1);
    assert_true(failures_of(op_enter, fixture) > 1);
    assert_int_equal(failures_of(op_driver, fixture), 1);
    assert_int_equal(failures_of(op_waiter, fixture), 1);
    assert_true(failures_of(op_wait_fd, fixture) > 0);
    assert_true(failures_of(op_timer, fixture) > 4);
    assert_true(failures_of(op_group, fixture) > 10);
    assert_true(failures_of(op_remote_group, fixture) > 10);
    assert_true(failures_of(op_log, fixture) > 5);
    assert_int_equal(failures_of(op_trace, fixture), 1);
    assert_true(failures_of(op_whereis_or_spawn, fixture) > 0);
    assert_int_equal(rusm_group_members(fixture->rt, "group", NULL, 0), 0);
    assert_int_equal(rusm_whereis(fixture->rt, "name", &found), RUSM_ENONAME);
    assert_int_equal(rusm_runtime_stop(fixture->rt, TEST_LIMIT_MS), RUSM_OK);
}

static void expect_tick(rusm_err expected)
{
    rusm_msg *msg;

    assert_int_equal(rusm_receive(&msg, 0), expected);
    if (expected == RUSM_OK) {
        rusm_msg_del(msg);
    }
}

static void test_tick_without_memory_is_skipped_and_counted(void **state)
{
    static char bytes[100000]; /* no small block that may lie ready */
    rusm_runtime_stats stats;
    rusm_runtime_config cfg;
    rusm_runtime *rt;
    rusm_pool *pool;

    (void)state;
    assert_int_equal(rusm_test_pool_new(&pool, 1, NULL), RUSM_OK);
    rusm_runtime_config_init(&cfg);
    cfg.pool = pool;
    assert_int_equal(rusm_runtime_new(&rt, &cfg), RUSM_OK);
    assert_int_equal(rusm_thread_enter(rt, NULL), RUSM_OK);
    assert_int_equal(rusm_send_interval(rusm_self(), bytes, sizeof(bytes), 10, NULL), RUSM_OK);
    fail_at = 1;
    assert_int_equal(rusm_sleep(10), RUSM_OK);
    assert_int_equal(fail_at, 0);
    expect_tick(RUSM_ETIMEOUT);
    assert_int_equal(rusm_sleep(10), RUSM_OK);
    expect_tick(RUSM_OK);
    expect_tick(RUSM_ETIMEOUT);
    assert_int_equal(rusm_runtime_get_stats(rt, &stats), RUSM_OK);
    assert_int_equal(stats.timers_skipped, 1);
    rusm_thread_leave();
    rusm_runtime_del(rt);
    rusm_pool_del(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_each_failed_allocation_is_an_error_without_effect),
        cmocka_unit_test(test_tick_without_memory_is_skipped_and_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
