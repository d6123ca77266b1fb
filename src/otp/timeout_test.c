/* SPDX-License-Identifier: MIT */
/* The time-outs of waits, of which the timer is left set: none early, none lost. */
#include "otp/fixture_test.h"

#include "base/prng.h"
#include "platform/tools.h"

#include <sched.h>

#define NS_PER_MS 1000000u
#define HOUR_MS   3600000
#if RUSMI_ASAN || RUSMI_TSAN
#define ROUNDS 200
#else
#define ROUNDS 2000
#endif
#define PROCESSES 16u

static _Atomic uint64_t early, lost;

static void send_to_self(void)
{
    assert_int_equal(rusm_send(rusm_self(), "x", 1), RUSM_OK);
}

/* Answers whatever comes. */
static void echo(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        if (rusm_send_msg(rusm_msg_sender(msg), msg) != RUSM_OK) {
            rusm_msg_del(msg);
        }
    }
}

/* Wait for an answer, so that the wait begins and ends before its time-out. */
static void answered(rusm_pid partner, int64_t timeout_ms)
{
    rusm_msg *msg;

    if (rusm_send(partner, "x", 1) != RUSM_OK || rusm_receive(&msg, timeout_ms) != RUSM_OK) {
        (void)atomic_fetch_add(&lost, 1);
        return;
    }
    rusm_msg_del(msg);
}

static void times_out(int64_t timeout_ms)
{
    rusm_time begin = rusm_now();
    rusm_msg *msg;

    if (rusm_receive(&msg, timeout_ms) != RUSM_ETIMEOUT) {
        (void)atomic_fetch_add(&lost, 1);
    } else if (rusm_now() - begin < (rusm_time)timeout_ms * NS_PER_MS) {
        (void)atomic_fetch_add(&early, 1);
    }
}

static rusm_pid partner;

static void wait_longer_and_shorter(void *arg)
{
    answered(partner, HOUR_MS);
    times_out(2); /* not in an hour */
    answered(partner, 30);
    times_out(40); /* not after 30 */
    answered(partner, 5);
    answered(partner, RUSM_INFINITY);
    times_out(1);
    times_out(1);
    fixture_count(arg);
}

static void test_wait_ends_at_its_own_time_whatever_the_one_before_had(void **state)
{
    struct fixture *fixture = *state;

    atomic_store(&early, 0);
    atomic_store(&lost, 0);
    assert_int_equal(rusm_spawn(fixture->rt, echo, NULL, &partner), RUSM_OK);
    assert_int_equal(rusm_spawn(fixture->rt, wait_longer_and_shorter, fixture, NULL), RUSM_OK);
    fixture_wait_count(fixture, &fixture->count, 1);
    assert_int_equal(atomic_load(&early), 0);
    assert_int_equal(atomic_load(&lost), 0);
}

/* Waits of 0 to 3 ms and of an hour, answered or not, end to end. */
static void wait_at_random(void *arg)
{
    static _Atomic uint64_t seeds;
    struct rusmi_prng prng;
    rusm_msg *msg;

    rusmi_prng_init(&prng, atomic_fetch_add(&seeds, 1));
    for (int i = 0; i < ROUNDS; i++) {
        switch (rusmi_prng_below(&prng, 8)) {
        case 0:
            times_out((int64_t)rusmi_prng_below(&prng, 3));
            break;
        case 1: /* the message and the time-out may meet */
            send_to_self();
            (void)!rusm_sleep(1);
            if (rusm_receive(&msg, HOUR_MS) == RUSM_OK) {
                rusm_msg_del(msg);
            }
            break;
        default:
            answered(partner, HOUR_MS + (int64_t)rusmi_prng_below(&prng, 1000));
            break;
        }
    }
    fixture_count(arg);
}

static void test_no_wait_is_early_or_lasts_for_ever(void **state)
{
    struct fixture *fixture = *state;

    atomic_store(&early, 0);
    atomic_store(&lost, 0);
    assert_int_equal(rusm_spawn(fixture->rt, echo, NULL, &partner), RUSM_OK);
    for (unsigned i = 0; i < PROCESSES; i++) {
        assert_int_equal(rusm_spawn(fixture->rt, wait_at_random, fixture, NULL), RUSM_OK);
    }
    fixture_wait_count(fixture, &fixture->count, PROCESSES);
    assert_int_equal(atomic_load(&early), 0);
    assert_int_equal(atomic_load(&lost), 0);
}

static void leave_a_timer(void *arg)
{
    (void)arg;
    answered(partner, 1);
}

/* What a process leaves set must not reach the next one in its slot: that one waits for ever, and
 * its pool ends with no timer left (asserted there). */
static void test_process_that_ends_takes_its_time_out_with_it(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid pid;

    atomic_store(&lost, 0);
    assert_int_equal(rusm_spawn(fixture->rt, echo, NULL, &partner), RUSM_OK);
    for (int i = 0; i < ROUNDS; i++) {
        assert_int_equal(rusm_spawn(fixture->rt, leave_a_timer, NULL, &pid), RUSM_OK);
        fixture_until(!rusm_is_alive(pid));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_wait_ends_at_its_own_time_whatever_the_one_before_had),
        fixture_test(test_no_wait_is_early_or_lasts_for_ever),
        fixture_test(test_process_that_ends_takes_its_time_out_with_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
