/* SPDX-License-Identifier: MIT */
#include "otp/fixture_test.h"

#include <pthread.h>
#include <sched.h>

struct pair {
    struct fixture *fixture;
    rusm_waiter *here, *there;
    _Atomic(uint64_t) turns;
    uint64_t rounds;
    _Atomic(rusm_err) err;
};

static void test_wake_before_the_wait_is_kept_and_counts_once(void **state)
{
    rusm_waiter *waiter;

    (void)state;
    assert_int_equal(rusm_waiter_new(&waiter), RUSM_OK);
    assert_int_equal(rusm_waiter_wait(waiter, 0), RUSM_ETIMEOUT);
    rusm_waiter_wake(waiter);
    rusm_waiter_wake(waiter);
    assert_int_equal(rusm_waiter_wait(waiter, RUSM_INFINITY), RUSM_OK);
    assert_int_equal(rusm_waiter_wait(waiter, 1), RUSM_ETIMEOUT);
    assert_ptr_equal(rusm_waiter_hold(waiter), waiter);
    rusm_waiter_drop(waiter);
    rusm_waiter_wake(waiter);
    rusm_waiter_drop(waiter);
    rusm_waiter_drop(NULL);
}

static void play(void *arg)
{
    struct pair *pair = arg;

    for (uint64_t i = 0; i < pair->rounds; i++) {
        rusm_err err = rusm_waiter_wait(pair->here, TEST_LIMIT_MS);

        if (err != RUSM_OK) {
            atomic_store(&pair->err, err);
            break;
        }
        (void)atomic_fetch_add(&pair->turns, 1);
        rusm_waiter_wake(pair->there);
    }
    fixture_count(pair->fixture);
}

static void *play_thread(void *arg)
{
    play(arg);
    return NULL;
}

static void *play_entered(void *arg)
{
    struct pair *pair = arg;

    if (rusm_thread_enter(pair->fixture->rt, NULL) == RUSM_OK) {
        play(arg);
        rusm_thread_leave();
    }
    return NULL;
}

/* Two sides wake each other in turn, whatever they are: no wake-up is lost. */
static void take_turns(struct fixture *fixture, void *(*thread_fn)(void *))
{
    struct pair left = {.fixture = fixture, .rounds = 5000};
    struct pair right = {.fixture = fixture, .rounds = 5000};
    pthread_t thread;

    assert_int_equal(rusm_waiter_new(&left.here), RUSM_OK);
    assert_int_equal(rusm_waiter_new(&right.here), RUSM_OK);
    left.there = right.here;
    right.there = left.here;
    assert_int_equal(rusm_spawn(fixture->rt, play, &left, NULL), RUSM_OK);
    if (thread_fn != NULL) {
        assert_int_equal(pthread_create(&thread, NULL, thread_fn, &right), 0);
    } else {
        assert_int_equal(rusm_spawn(fixture->rt, play, &right, NULL), RUSM_OK);
    }
    rusm_waiter_wake(left.here);
    fixture_wait_count(fixture, &fixture->count, 2);
    if (thread_fn != NULL) {
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    assert_int_equal(atomic_load(&left.err), RUSM_OK);
    assert_int_equal(atomic_load(&right.err), RUSM_OK);
    assert_int_equal(atomic_load(&left.turns) + atomic_load(&right.turns), 10000);
    assert_int_equal(rusm_runtime_stop(fixture->rt, TEST_LIMIT_MS), RUSM_OK);
    rusm_waiter_drop(left.here);
    rusm_waiter_drop(right.here);
}

static void test_processes_take_turns(void **state)
{
    take_turns(*state, NULL);
}

static void test_process_and_thread_take_turns(void **state)
{
    take_turns(*state, play_thread);
}

static void test_process_and_entered_thread_take_turns(void **state)
{
    take_turns(*state, play_entered);
}

static void body_wait_short(void *arg)
{
    struct pair *pair = arg;

    atomic_store(&pair->err, rusm_waiter_wait(pair->here, 5));
    fixture_count(pair->fixture);
}

static void test_wait_of_a_process_times_out(void **state)
{
    struct fixture *fixture = *state;
    struct pair pair = {.fixture = fixture};

    assert_int_equal(rusm_waiter_new(&pair.here), RUSM_OK);
    assert_int_equal(rusm_spawn(fixture->rt, body_wait_short, &pair, NULL), RUSM_OK);
    fixture_wait_count(fixture, &fixture->count, 1);
    assert_int_equal(atomic_load(&pair.err), RUSM_ETIMEOUT);
    rusm_waiter_drop(pair.here);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_wake_before_the_wait_is_kept_and_counts_once),
        fixture_test(test_processes_take_turns),
        fixture_test(test_process_and_thread_take_turns),
        fixture_test(test_process_and_entered_thread_take_turns),
        fixture_test(test_wait_of_a_process_times_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
