/* SPDX-License-Identifier: MIT */
#include "otp/fixture_test.h"

#include "otp/park.h"

#include <errno.h>
#include <rusm/otp/memory.h>

#define MANY 200

static int park_setup(void **state)
{
    static struct fixture fixture;
    rusm_pool_config pool_cfg;
    rusm_runtime_config cfg;

    memset(&fixture, 0, sizeof(fixture));
    rusm_pool_config_init(&pool_cfg);
    pool_cfg.threads = 2;
    pool_cfg.park_idle_ms = 3600 * 1000; /* the tests park by themselves */
    assert_int_equal(rusm_pool_new(&fixture.pool, &pool_cfg), RUSM_OK);
    rusm_runtime_config_init(&cfg);
    cfg.pool = fixture.pool;
    assert_int_equal(rusm_runtime_new(&fixture.rt, &cfg), RUSM_OK);
    assert_int_equal(rusm_waiter_new(&fixture.done), RUSM_OK);
    assert_int_equal(rusm_thread_enter(fixture.rt, "test"), RUSM_OK);
    *state = &fixture;
    return 0;
}

static int park_teardown(void **state)
{
    rusm_thread_leave();
    return fixture_teardown(state);
}

static uint64_t parked(struct fixture *fixture)
{
    rusm_runtime_stats stats;

    assert_int_equal(rusm_runtime_get_stats(fixture->rt, &stats), RUSM_OK);
    return stats.parked;
}

/* Wait until count processes are in a receive, then park them: two looks. */
static void park_all(struct fixture *fixture, uint64_t count)
{
    rusm_time limit = rusm_now() + (rusm_time)TEST_LIMIT_MS * 1000000;

    if (!fixture->pool->parks) {
        skip();
    }
    while (parked(fixture) < count) {
        assert_true(rusm_now() < limit);
        (void)rusmi_park_pass(fixture->pool);
    }
    assert_int_equal(parked(fixture), count);
}

/* The compiler would remember where errno was before the receive, which may have been another
 * thread. */
__attribute__((noinline)) static int errno_now(void)
{
    __asm__ volatile("" ::: "memory");
    return errno;
}

/* Answers each number with the sum of all, which lives on its stack. */
static void adder(void *arg)
{
    volatile uint64_t sum = (uint64_t)(uintptr_t)arg;
    rusm_msg *msg;

    errno = 77;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        sum += *(const uint64_t *)rusm_msg_data(msg);
        assert_int_equal(errno_now(), 77);
        assert_int_equal(rusm_send(rusm_msg_sender(msg), (const void *)&sum, sizeof(sum)), RUSM_OK);
        rusm_msg_del(msg);
    }
}

static uint64_t ask(rusm_pid pid, uint64_t number)
{
    rusm_msg *msg;
    uint64_t answer;

    assert_int_equal(rusm_send(pid, &number, sizeof(number)), RUSM_OK);
    assert_int_equal(rusm_receive(&msg, TEST_LIMIT_MS), RUSM_OK);
    answer = *(const uint64_t *)rusm_msg_data(msg);
    rusm_msg_del(msg);
    return answer;
}

static void test_a_parked_process_goes_on_where_it_was(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid pids[MANY];

    for (uint64_t i = 0; i < MANY; i++) {
        assert_int_equal(rusm_spawn(fixture->rt, adder, (void *)(uintptr_t)(i * 1000), &pids[i]),
                         RUSM_OK);
    }
    for (uint64_t round = 1; round <= 3; round++) {
        park_all(fixture, MANY);
        for (uint64_t i = 0; i < MANY; i++) {
            assert_int_equal(ask(pids[i], i), i * 1000 + round * i);
        }
    }
}

static void test_lists_show_a_parked_process_as_receiving(void **state)
{
    struct fixture *fixture = *state;
    rusm_process_info info;
    rusm_pid pid;

    assert_int_equal(rusm_spawn(fixture->rt, adder, NULL, &pid), RUSM_OK);
    park_all(fixture, 1);
    assert_int_equal(rusm_process_get_info(pid, &info), RUSM_OK);
    assert_int_equal(info.state, RUSM_PROCESS_RECEIVING);
    assert_int_equal(info.mailbox_len, 0);
}

static void test_a_parked_process_is_killed_and_heard_of(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid pid;
    rusm_ref ref;
    rusm_msg *msg;

    assert_int_equal(rusm_spawn(fixture->rt, adder, NULL, &pid), RUSM_OK);
    assert_int_equal(rusm_monitor(pid, &ref), RUSM_OK);
    park_all(fixture, 1);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    assert_int_equal(rusm_receive(&msg, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_DOWN);
    assert_int_equal(rusm_msg_reason(msg)->kind, RUSM_REASON_KILLED);
    rusm_msg_del(msg);
    assert_int_equal(parked(fixture), 0);
}

static void timed(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    assert_int_equal(rusm_receive(&msg, 50), RUSM_ETIMEOUT);
}

static void test_a_time_out_wakes_a_parked_process(void **state)
{
    struct fixture *fixture = *state;
    rusm_spawn_config cfg;
    rusm_msg *msg;
    rusm_ref ref;

    rusm_spawn_config_init(&cfg);
    cfg.out_ref = &ref;
    assert_int_equal(rusm_spawn_with(fixture->rt, timed, NULL, &cfg, NULL), RUSM_OK);
    (void)rusmi_park_pass(fixture->pool);
    (void)rusmi_park_pass(fixture->pool);
    assert_int_equal(rusm_receive(&msg, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_msg_reason(msg)->kind, RUSM_REASON_NORMAL);
    rusm_msg_del(msg);
}

static void test_runtimes_end_with_parked_processes(void **state)
{
    struct fixture *fixture = *state;

    for (uint64_t i = 0; i < MANY; i++) {
        assert_int_equal(rusm_spawn(fixture->rt, adder, NULL, NULL), RUSM_OK);
    }
    park_all(fixture, MANY); /* the teardown does the rest */
}

static void pinger(void *arg)
{
    struct fixture *fixture = arg;
    rusm_pid pid;

    assert_int_equal(rusm_spawn(NULL, adder, NULL, &pid), RUSM_OK);
    for (uint64_t i = 1; i <= 2000; i++) {
        assert_int_equal(ask(pid, 1), i);
    }
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    if (atomic_fetch_add(&fixture->count, 1) + 1 == 8) {
        rusm_waiter_wake(fixture->done);
    }
}

/* Everybody is parked whenever it waits for two looks, while it is woken all the time. */
static void test_parking_and_waking_at_once_loses_nothing(void **state)
{
    struct fixture *fixture = *state;

    for (int i = 0; i < 8; i++) {
        assert_int_equal(rusm_spawn(fixture->rt, pinger, fixture, NULL), RUSM_OK);
    }
    while (atomic_load(&fixture->count) < 8) {
        (void)rusmi_park_pass(fixture->pool);
    }
    assert_int_equal(rusm_waiter_wait(fixture->done, TEST_LIMIT_MS), RUSM_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_parked_process_goes_on_where_it_was, park_setup,
                                        park_teardown),
        cmocka_unit_test_setup_teardown(test_lists_show_a_parked_process_as_receiving, park_setup,
                                        park_teardown),
        cmocka_unit_test_setup_teardown(test_a_parked_process_is_killed_and_heard_of, park_setup,
                                        park_teardown),
        cmocka_unit_test_setup_teardown(test_a_time_out_wakes_a_parked_process, park_setup,
                                        park_teardown),
        cmocka_unit_test_setup_teardown(test_runtimes_end_with_parked_processes, park_setup,
                                        park_teardown),
        cmocka_unit_test_setup_teardown(test_parking_and_waking_at_once_loses_nothing, park_setup,
                                        park_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
