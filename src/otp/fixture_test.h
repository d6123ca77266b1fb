/* SPDX-License-Identifier: MIT */
/*
 * What the tests of this folder share: a runtime on a pool of two threads, and events to wait for
 * with a deadline. A deadline that passes fails the test; nothing is asserted about speed.
 */
#ifndef RUSMI_OTP_FIXTURE_TEST_H
#define RUSMI_OTP_FIXTURE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <rusm/otp.h>
#include <rusm/otp/driver.h>
#include <stdatomic.h>
#include <string.h>

#define TEST_LIMIT_MS 60000

struct fixture {
    rusm_pool *pool;
    rusm_runtime *rt;
    rusm_waiter *done; /* woken by what a test waits for */
    _Atomic(uint64_t) count;
};

static inline int fixture_setup_with(void **state, unsigned threads)
{
    static struct fixture fixture;
    rusm_pool_config pool_cfg;
    rusm_runtime_config cfg;

    memset(&fixture, 0, sizeof(fixture));
    rusm_pool_config_init(&pool_cfg);
    pool_cfg.threads = threads;
    assert_int_equal(rusm_pool_new(&fixture.pool, &pool_cfg), RUSM_OK);
    rusm_runtime_config_init(&cfg);
    cfg.pool = fixture.pool;
    cfg.name = "test";
    assert_int_equal(rusm_runtime_new(&fixture.rt, &cfg), RUSM_OK);
    assert_int_equal(rusm_waiter_new(&fixture.done), RUSM_OK);
    *state = &fixture;
    return 0;
}

static inline int fixture_setup(void **state)
{
    return fixture_setup_with(state, 2);
}

static inline int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;

    rusm_runtime_del(fixture->rt);
    rusm_pool_del(fixture->pool);
    rusm_waiter_drop(fixture->done);
    return 0;
}

static inline void fixture_wait(struct fixture *fixture)
{
    assert_int_equal(rusm_waiter_wait(fixture->done, TEST_LIMIT_MS), RUSM_OK);
}

/* Wait until *counter is at least `wanted`; whoever raises it wakes `done`. */
static inline void fixture_wait_count(struct fixture *fixture, _Atomic(uint64_t) *counter,
                                      uint64_t wanted)
{
    while (atomic_load(counter) < wanted) {
        fixture_wait(fixture);
    }
}

static inline void fixture_count(struct fixture *fixture)
{
    (void)atomic_fetch_add(&fixture->count, 1);
    rusm_waiter_wake(fixture->done);
}

/* Let other threads go on until `condition` holds: for states that nobody announces. */
#define fixture_until(condition)                                                                   \
    do {                                                                                           \
        rusm_time fixture_end = rusm_now() + (rusm_time)TEST_LIMIT_MS * 1000000u;                  \
        while (!(condition)) {                                                                     \
            assert_true(rusm_now() < fixture_end);                                                 \
            (void)sched_yield();                                                                   \
        }                                                                                          \
    } while (0)

#define fixture_test(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

/* The state of a process, as a list would show it. */
static inline rusm_process_state fixture_state(rusm_pid pid)
{
    rusm_process_info info;

    return rusm_process_get_info(pid, &info) == RUSM_OK ? info.state : RUSM_PROCESS_EXITING;
}

#endif
