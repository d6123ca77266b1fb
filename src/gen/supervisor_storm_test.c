/* SPDX-License-Identifier: MIT */
/*
 * Supervisors under fire, on scheduler threads: children that crash as fast as they can, and
 * thousands that are killed at random while others are added. Every restart is accounted for.
 */
#include "otp/fixture_test.h"
#include "platform/tools.h"

#include "base/prng.h"

#include <rusm/otp/driver.h>
#include <sched.h>

#if RUSMI_ASAN || RUSMI_TSAN
#define CRASHES  UINT64_C(10000)
#define CHILDREN 1000u
#else
#define CRASHES  UINT64_C(100000)
#define CHILDREN 10000u
#endif
#define CRASHERS 4u
#define ADDED    (CHILDREN / 2)
#define SHOTS    (CHILDREN * 2)

static struct {
    struct fixture *fixture;
    _Atomic(uint64_t) starts;
    _Atomic(uint64_t) quiet; /* children that have stopped crashing */
    _Atomic(uint64_t) helpers_done;
    rusm_pid sup;
} storm;

static rusm_runtime_stats stats_of(struct fixture *fixture)
{
    rusm_runtime_stats stats;

    assert_int_equal(rusm_runtime_get_stats(fixture->rt, &stats), RUSM_OK);
    return stats;
}

static void storm_init(struct fixture *fixture)
{
    memset(&storm, 0, sizeof(storm));
    storm.fixture = fixture;
    assert_int_equal(rusm_thread_enter(fixture->rt, "test"), RUSM_OK);
    (void)rusm_trap_exit(true);
}

static rusm_child_count count_of(rusm_pid sup)
{
    rusm_child_count count;

    assert_int_equal(rusm_supervisor_count(sup, TEST_LIMIT_MS, &count), RUSM_OK);
    return count;
}

/* Let all go, and see that nobody is left but this thread. */
static void storm_over(struct fixture *fixture)
{
    assert_int_equal(rusm_supervisor_stop(storm.sup, TEST_LIMIT_MS), RUSM_OK);
    fixture_until(stats_of(fixture).processes == 1);
    assert_int_equal(stats_of(fixture).messages_unexpected, 0);
    rusm_thread_leave();
}

/* ---- crashing -------------------------------------------------------------------------------- */

static void crasher_main(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    if (atomic_fetch_add(&storm.starts, 1) < CRASHES) {
        rusm_crash("again");
    }
    (void)atomic_fetch_add(&storm.quiet, 1);
    rusm_waiter_wake(storm.fixture->done);
    (void)!rusm_receive(&msg, RUSM_INFINITY);
}

/* A second one, that never stops. */
static void endless_main(void *arg)
{
    (void)arg;
    rusm_crash("again and again");
}

static rusm_pid open_crashers(rusm_process_fn fn, rusm_strategy strategy, uint32_t max_restarts)
{
    static const char *const ids[CRASHERS] = {"a", "b", "c", "d"};
    rusm_child_spec specs[CRASHERS];
    rusm_supervisor_config cfg;
    rusm_pid sup;

    for (unsigned i = 0; i < CRASHERS; i++) {
        rusm_child_spec_init(&specs[i]);
        specs[i].id = ids[i];
        specs[i].fn = fn;
    }
    rusm_supervisor_config_init(&cfg);
    cfg.strategy = strategy;
    cfg.max_restarts = max_restarts;
    cfg.seconds = 3600;
    cfg.children = specs;
    cfg.children_len = CRASHERS;
    assert_int_equal(rusm_supervisor_start(&cfg, &sup), RUSM_OK);
    return sup;
}

static void test_every_crash_is_one_restart(void **state)
{
    struct fixture *fixture = *state;

    storm_init(fixture);
    storm.sup = open_crashers(crasher_main, RUSM_ONE_FOR_ONE, UINT32_MAX);
    fixture_wait_count(fixture, &storm.quiet, CRASHERS);
    assert_int_equal(atomic_load(&storm.starts), CRASHES + CRASHERS);
    assert_int_equal(count_of(storm.sup).restarts, CRASHES);
    assert_int_equal(count_of(storm.sup).active, CRASHERS);
    storm_over(fixture);
}

static void test_supervisor_answers_during_crashes(void **state)
{
    struct fixture *fixture = *state;
    uint64_t answers = 0;

    storm_init(fixture);
    storm.sup = open_crashers(crasher_main, RUSM_ONE_FOR_ONE, UINT32_MAX);
    while (atomic_load(&storm.quiet) < CRASHERS) {
        rusm_child_info infos[CRASHERS];
        uint64_t cursor = 0;

        assert_int_equal(count_of(storm.sup).specs, CRASHERS);
        assert_int_equal(rusm_supervisor_list(storm.sup, &cursor, infos, CRASHERS, TEST_LIMIT_MS),
                         CRASHERS);
        answers++;
    }
    assert_true(answers > 0);
    assert_int_equal(count_of(storm.sup).restarts, CRASHES);
    storm_over(fixture);
}

/* It gives up after exactly so many restarts: one sup, its first children, and those. */
static void check_giving_up(struct fixture *fixture, rusm_strategy strategy, uint64_t spawned)
{
    uint64_t before;
    rusm_msg *msg;

    storm_init(fixture);
    before = stats_of(fixture).spawned;
    storm.sup = open_crashers(endless_main, strategy, 1000);
    assert_int_equal(rusm_receive(&msg, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_EXIT);
    assert_true(rusm_pid_equal(rusm_msg_sender(msg), storm.sup));
    assert_int_equal(rusm_msg_reason(msg)->kind, RUSM_REASON_SHUTDOWN);
    rusm_msg_del(msg);
    assert_int_equal(stats_of(fixture).spawned - before, spawned);
    fixture_until(stats_of(fixture).processes == 1);
    assert_int_equal(stats_of(fixture).messages_unexpected, 0);
    rusm_thread_leave();
}

static void test_giving_up_is_exact(void **state)
{
    check_giving_up(*state, RUSM_ONE_FOR_ONE, 1 + CRASHERS + 1000);
}

static void test_giving_up_is_exact_for_groups(void **state)
{
    check_giving_up(*state, RUSM_ONE_FOR_ALL, 1 + CRASHERS + CRASHERS * 1000);
}

/* ---- thousands ------------------------------------------------------------------------------- */

static _Atomic(uint64_t) serials[CHILDREN + ADDED]; /* of the children, by their argument */
static _Atomic(uint64_t) terminated;

static void target_main(void *arg)
{
    _Atomic(uint64_t) *serial = arg;
    rusm_msg *msg;

    atomic_store(serial, rusm_self().serial);
    (void)!rusm_receive(&msg, RUSM_INFINITY);
}

static rusm_pid target_pid(uint64_t index)
{
    return (rusm_pid){rusm_self().incarnation, atomic_load(&serials[index])};
}

static void helper_done(void)
{
    (void)atomic_fetch_add(&storm.helpers_done, 1);
    rusm_waiter_wake(storm.fixture->done);
}

static void killer_main(void *arg)
{
    struct rusmi_prng prng = {.state = (uintptr_t)arg};

    for (unsigned i = 0; i < SHOTS; i++) {
        (void)!rusm_kill(target_pid(rusmi_prng_below(&prng, CHILDREN)));
        if (i % 64 == 0) {
            rusm_yield();
        }
    }
    helper_done();
}

static void terminator_main(void *arg)
{
    struct rusmi_prng prng = {.state = (uintptr_t)arg};

    for (unsigned i = 0; i < SHOTS / 16; i++) {
        rusm_err err = rusm_supervisor_terminate_pid(
            storm.sup, target_pid(rusmi_prng_below(&prng, CHILDREN)), TEST_LIMIT_MS);

        if (err == RUSM_OK) {
            (void)atomic_fetch_add(&terminated, 1);
        } else {
            assert_int_equal(err, RUSM_ENONAME); /* killed meanwhile, or terminated before */
        }
    }
    helper_done();
}

static void adder_main(void *arg)
{
    size_t first = (uintptr_t)arg;

    for (size_t i = first; i < first + ADDED / 2; i++) {
        rusm_pid pid;

        assert_int_equal(
            rusm_supervisor_start_child(storm.sup, NULL, &serials[i], TEST_LIMIT_MS, &pid),
            RUSM_OK);
    }
    helper_done();
}

static void test_thousands_are_killed_while_others_come(void **state)
{
    struct fixture *fixture = *state;
    rusm_supervisor_config cfg;
    rusm_child_spec template;
    rusm_child_count count;
    uint64_t before, left;

    storm_init(fixture);
    memset(serials, 0, sizeof(serials));
    atomic_store(&terminated, 0);
    rusm_child_spec_init(&template);
    template.fn = target_main;
    rusm_supervisor_config_init(&cfg);
    cfg.strategy = RUSM_SIMPLE_ONE_FOR_ONE;
    cfg.max_restarts = UINT32_MAX;
    cfg.children = &template;
    cfg.children_len = 1;
    assert_int_equal(rusm_supervisor_start(&cfg, &storm.sup), RUSM_OK);
    before = stats_of(fixture).spawned;
    for (size_t i = 0; i < CHILDREN; i++) {
        assert_int_equal(
            rusm_supervisor_start_child(storm.sup, NULL, &serials[i], TEST_LIMIT_MS, NULL),
            RUSM_OK);
    }
    assert_int_equal(rusm_spawn(NULL, killer_main, (void *)1, NULL), RUSM_OK);
    assert_int_equal(rusm_spawn(NULL, killer_main, (void *)2, NULL), RUSM_OK);
    assert_int_equal(rusm_spawn(NULL, terminator_main, (void *)3, NULL), RUSM_OK);
    assert_int_equal(rusm_spawn(NULL, adder_main, (void *)(uintptr_t)CHILDREN, NULL), RUSM_OK);
    assert_int_equal(rusm_spawn(NULL, adder_main, (void *)(uintptr_t)(CHILDREN + ADDED / 2), NULL),
                     RUSM_OK);
    fixture_wait_count(fixture, &storm.helpers_done, 5);
    /* In the end as many are there as were not terminated, and all that were ever spawned are
     * children, restarts of them, and the helpers. Kills may still be on their way meanwhile. */
    left = CHILDREN + ADDED - atomic_load(&terminated);
    fixture_until((count = count_of(storm.sup), count.active == left && count.specs == left &&
                                                    stats_of(fixture).processes == 2 + left &&
                                                    stats_of(fixture).spawned - before ==
                                                        CHILDREN + ADDED + 5 + count.restarts));
    assert_true(count.restarts > 0);
    storm_over(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_every_crash_is_one_restart),
        fixture_test(test_supervisor_answers_during_crashes),
        fixture_test(test_giving_up_is_exact),
        fixture_test(test_giving_up_is_exact_for_groups),
        fixture_test(test_thousands_are_killed_while_others_come),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
