/* SPDX-License-Identifier: MIT */
/* Timers against a naive model, with literal times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"
#include "base/prng.h"
#include "otp/timer.h"

#include <string.h>

#define COUNT 300

struct alarm {
    struct rusmi_timer timer;
    uint64_t at; /* 0: not set */
    int fired;
};

static struct alarm alarms[COUNT];
static uint64_t last_at; /* of the last that fired */

static void on_fire(struct rusmi_timer *timer)
{
    struct alarm *alarm = rusmi_container(timer, struct alarm, timer);

    assert_true(alarm->at != 0);
    assert_true(alarm->at >= last_at);
    last_at = alarm->at;
    alarm->at = 0;
    alarm->fired++;
}

static uint64_t model_next(void)
{
    uint64_t next = UINT64_MAX;

    for (int i = 0; i < COUNT; i++) {
        if (alarms[i].at != 0 && alarms[i].at < next) {
            next = alarms[i].at;
        }
    }
    return next;
}

static void test_timers_fire_as_a_naive_list_would(void **state)
{
    struct rusmi_timers timers;
    struct rusmi_prng prng;
    uint64_t now = 1000;

    (void)state;
    memset(alarms, 0, sizeof(alarms));
    rusmi_timers_init(&timers);
    rusmi_prng_init(&prng, 42);
    for (int i = 0; i < COUNT; i++) {
        alarms[i].timer.fire = on_fire;
    }
    for (int step = 0; step < 20000; step++) {
        struct alarm *alarm = &alarms[rusmi_prng_below(&prng, COUNT)];
        bool first;

        switch (rusmi_prng_below(&prng, 4)) {
        case 0:
        case 1: /* set, or move */
            alarm->at = now + 1 + rusmi_prng_below(&prng, 1000);
            assert_true(rusmi_timers_set(&timers, &alarm->timer, alarm->at, &first));
            /* Another one with the same time may be in front. */
            assert_true(!first || alarm->at == model_next());
            break;
        case 2:
            rusmi_timers_cancel(&timers, &alarm->timer);
            alarm->at = 0;
            break;
        default:
            now += rusmi_prng_below(&prng, 100);
            last_at = 0;
            (void)rusmi_timers_run(&timers, now);
            assert_true(model_next() > now);
            break;
        }
        assert_int_equal(rusmi_timers_next(&timers), model_next());
    }
    for (int i = 0; i < COUNT; i++) {
        rusmi_timers_cancel(&timers, &alarms[i].timer);
        alarms[i].at = 0;
    }
    assert_int_equal(rusmi_timers_next(&timers), UINT64_MAX);
    assert_false(rusmi_timers_run(&timers, UINT64_MAX - 1));
    rusmi_timers_fini(&timers);
}

static void test_timer_fires_once_and_not_before_its_time(void **state)
{
    struct rusmi_timers timers;
    struct alarm *alarm = &alarms[0];
    bool first;

    (void)state;
    memset(alarms, 0, sizeof(alarms));
    last_at = 0;
    rusmi_timers_init(&timers);
    alarm->timer.fire = on_fire;
    alarm->at = 500;
    assert_true(rusmi_timers_set(&timers, &alarm->timer, 500, &first));
    assert_true(first);
    assert_false(rusmi_timers_run(&timers, 499));
    assert_int_equal(alarm->fired, 0);
    assert_true(rusmi_timers_run(&timers, 500));
    assert_int_equal(alarm->fired, 1);
    assert_false(rusmi_timers_run(&timers, 501));
    rusmi_timers_cancel(&timers, &alarm->timer); /* harmless */
    rusmi_timers_fini(&timers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timers_fire_as_a_naive_list_would),
        cmocka_unit_test(test_timer_fires_once_and_not_before_its_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
