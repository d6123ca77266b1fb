/* SPDX-License-Identifier: MIT */
/* Timers against a naive model, with literal times; and under threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/prng.h"
#include "otp/timer.h"
#include "platform/thread.h"
#include "platform/tools.h"

#include <string.h>

#define COUNT  300
#define WHEELS 3
#define TICK   1024u
#define HOUR   ((uint64_t)3600 * 1000000000u)

#if RUSMI_ASAN || RUSMI_TSAN
#define STORM 50000
#else
#define STORM 1000000
#endif

struct alarm {
    struct rusmi_timer timer;
    uint64_t at; /* 0: not set */
    uint64_t order;
    bool late; /* it was set for a time that was past */
    int fired;
};

static struct rusmi_timers timers;
static struct alarm alarms[COUNT];
static uint64_t now;       /* that the run was given */
static uint64_t last_tick; /* of the last that fired */
static uint64_t last_order;

static void on_fire(struct rusmi_timer *timer)
{
    struct alarm *alarm = rusmi_container(timer, struct alarm, timer);

    assert_true(alarm->at != 0 && alarm->at <= now);
    if (!alarm->late) {
        assert_true(alarm->at / TICK >= last_tick);
        last_tick = alarm->at / TICK;
    }
    alarm->at = 0;
    alarm->fired++;
}

static int setup(void **state)
{
    (void)state;
    memset(alarms, 0, sizeof(alarms));
    for (int i = 0; i < COUNT; i++) {
        alarms[i].timer.fire = on_fire;
    }
    now = 1000000;
    last_tick = last_order = 0;
    assert_true(rusmi_timers_init(&timers, WHEELS));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rusmi_timers_fini(&timers);
    return 0;
}

static void set(struct alarm *alarm, unsigned wheel, uint64_t at)
{
    alarm->at = at;
    alarm->late = at <= now;
    rusmi_timers_set(&timers, wheel, &alarm->timer, at);
}

/* Run until nothing is due; returns how many runs it took. */
static unsigned run_at(uint64_t at)
{
    unsigned runs = 0;

    now = at;
    last_tick = 0;
    while (rusmi_timers_next(&timers) <= at) {
        assert_true(rusmi_timers_run(&timers, at));
        runs++;
    }
    assert_false(rusmi_timers_run(&timers, at));
    return runs;
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

static void cancel_all(void)
{
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(rusmi_timers_cancel(&timers, &alarms[i].timer), alarms[i].at != 0);
        alarms[i].at = 0;
    }
}

/* A length of time of any magnitude below 2 to the power of bits. */
static uint64_t any_span(struct rusmi_prng *prng, unsigned bits)
{
    return rusmi_prng_next(prng) >> (64 - 1 - rusmi_prng_below(prng, bits));
}

static void test_timers_fire_as_a_naive_list_would(void **state)
{
    struct rusmi_prng prng;

    (void)state;
    rusmi_prng_init(&prng, 42);
    for (int step = 0; step < 100000; step++) {
        struct alarm *alarm = &alarms[rusmi_prng_below(&prng, COUNT)];

        switch (rusmi_prng_below(&prng, 4)) {
        case 0:
        case 1: /* set, or move, perhaps to what is past */
            set(alarm, (unsigned)rusmi_prng_below(&prng, WHEELS),
                now - rusmi_prng_below(&prng, 2) * 5000 + any_span(&prng, 50));
            break;
        case 2:
            assert_int_equal(rusmi_timers_cancel(&timers, &alarm->timer), alarm->at != 0);
            alarm->at = 0;
            break;
        default:
            if (rusmi_prng_below(&prng, 2) == 0) {
                (void)run_at(now + any_span(&prng, 48));
            } else if (model_next() != UINT64_MAX) {
                (void)run_at(model_next() > now ? model_next() : now);
            }
            assert_true(model_next() > now);
            break;
        }
        assert_true(rusmi_timers_next(&timers) <= model_next());
    }
    cancel_all();
}

static void test_next_leads_to_each_timer_without_detours(void **state)
{
    unsigned runs = 0;

    (void)state;
    /* On both sides of every digit, relative to a time in the middle of its ticks. */
    for (unsigned bit = 1; bit < 63; bit++) {
        for (unsigned side = 0; side < 3; side++) {
            set(&alarms[bit * 3 + side], side, now + ((uint64_t)1 << bit) + side - 1);
        }
    }
    while (model_next() != UINT64_MAX) {
        assert_int_equal(rusmi_timers_next(&timers), model_next());
        runs += run_at(model_next());
    }
    for (unsigned i = 3; i < 63 * 3; i++) {
        assert_int_equal(alarms[i].fired, 1);
    }
    assert_true(runs <= 63 * 3);
    assert_int_equal(rusmi_timers_next(&timers), UINT64_MAX);
}

static void test_timer_fires_once_and_not_before_its_time(void **state)
{
    struct alarm *alarm = &alarms[0];

    (void)state;
    set(alarm, 0, 5000500);
    assert_int_equal(rusmi_timers_next(&timers), 5000500);
    assert_int_equal(run_at(5000499), 0);
    assert_int_equal(alarm->fired, 0);
    assert_int_equal(run_at(5000500), 1);
    assert_int_equal(alarm->fired, 1);
    assert_int_equal(run_at(5000501), 0);
    assert_false(rusmi_timers_cancel(&timers, &alarm->timer));
    set(alarm, 1, 7); /* long past */
    assert_int_equal(run_at(5000501), 1);
    assert_int_equal(alarm->fired, 2);
}

static void test_timer_at_the_end_of_time_never_fires(void **state)
{
    (void)state;
    set(&alarms[0], 0, UINT64_MAX);
    assert_int_equal(run_at(UINT64_MAX - 1), 0);
    assert_true(rusmi_timers_cancel(&timers, &alarms[0].timer));
}

static void on_fire_in_order(struct rusmi_timer *timer)
{
    struct alarm *alarm = rusmi_container(timer, struct alarm, timer);

    assert_true(alarm->order > last_order);
    last_order = alarm->order;
    alarm->at = 0;
}

/* Those of one tick, set while the wheel stands further and further away, come in that order; the
 * steps in between cascade some of them before others are set. */
static void test_timers_of_one_time_fire_in_the_order_of_setting(void **state)
{
    const uint64_t at = now + 40 * HOUR;
    uint64_t order = 0;

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        alarms[i].timer.fire = on_fire_in_order;
        alarms[i].order = ++order;
        set(&alarms[i], 0, at);
        if (i % 5 == 4) {
            /* A timer of its own drags the wheel along, ever nearer. */
            struct alarm dragging = {.timer.fire = on_fire};

            now += (at - now) / 2;
            set(&dragging, 0, now);
            assert_true(run_at(now) > 0);
        }
    }
    (void)run_at(at);
    assert_int_equal(last_order, COUNT);
}

static void test_timer_set_while_its_slot_moves_down_comes_last(void **state)
{
    struct alarm *crowd = rusmi_zalloc_array(5001, sizeof(*crowd));
    const uint64_t at = now + HOUR;

    (void)state;
    assert_non_null(crowd);
    for (unsigned i = 0; i < 5000; i++) {
        crowd[i].timer.fire = on_fire_in_order;
        crowd[i].order = i + 1;
        set(&crowd[i], 0, at);
    }
    now = at;
    assert_true(rusmi_timers_run(&timers, now)); /* some have moved, none has fired */
    assert_int_equal(last_order, 0);
    crowd[5000].timer.fire = on_fire_in_order;
    crowd[5000].order = 5001;
    set(&crowd[5000], 0, at);
    (void)run_at(at);
    assert_int_equal(last_order, 5001);
    rusmi_free(crowd);
}

static void test_jump_of_hours_fires_all_in_the_order_of_time(void **state)
{
    struct rusmi_prng prng;

    (void)state;
    rusmi_prng_init(&prng, 7);
    for (int i = 0; i < COUNT; i++) {
        set(&alarms[i], (unsigned)i % WHEELS, now + rusmi_prng_below(&prng, 10 * HOUR));
    }
    (void)run_at(now + 10 * HOUR); /* on_fire looks at the order */
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(alarms[i].fired, 1);
    }
}

static void on_fire_again(struct rusmi_timer *timer)
{
    struct alarm *alarm = rusmi_container(timer, struct alarm, timer);

    alarm->fired++;
    alarm->at += 3000;
    rusmi_timers_again(&timers, timer, alarm->at);
}

static void test_timer_that_sets_itself_again_keeps_its_steps(void **state)
{
    uint64_t begin = now;

    (void)state;
    alarms[0].timer.fire = on_fire_again;
    set(&alarms[0], 2, begin + 3000);
    (void)run_at(begin + 3000 * 5);
    assert_int_equal(alarms[0].fired, 5);
    (void)run_at(begin + 3000 * 1005 + 2999); /* late: all of them, though more than one run may */
    assert_int_equal(alarms[0].fired, 1005);
    assert_int_equal(rusmi_timers_next(&timers), begin + 3000 * 1006);
    assert_true(rusmi_timers_cancel(&timers, &alarms[0].timer));
}

/* A slot of a million timers goes down in pieces; what is set and cancelled between the pieces is
 * where it belongs. */
static void test_slot_that_moves_down_takes_changes_meanwhile(void **state)
{
    struct alarm *crowd = rusmi_zalloc_array(20000, sizeof(*crowd));
    uint64_t base = now + 2 * HOUR;
    struct rusmi_prng prng;
    unsigned left = 0, runs = 0;

    (void)state;
    assert_non_null(crowd);
    rusmi_prng_init(&prng, 3);
    for (int i = 0; i < 20000; i++) {
        crowd[i].timer.fire = on_fire;
        set(&crowd[i], 0, base + rusmi_prng_below(&prng, 1000000));
    }
    now = base + 500000;
    last_tick = 0;
    while (rusmi_timers_next(&timers) <= now) {
        struct alarm *alarm = &crowd[rusmi_prng_below(&prng, 20000)];

        assert_true(rusmi_timers_run(&timers, now));
        assert_int_equal(rusmi_timers_cancel(&timers, &alarm->timer), alarm->at != 0);
        alarm->at = 0;
        alarm = &crowd[rusmi_prng_below(&prng, 20000)];
        set(alarm, 0, now + rusmi_prng_below(&prng, 500000)); /* nothing before what has fired */
        runs++;
    }
    assert_true(runs > 10); /* else nothing came in between */
    for (int i = 0; i < 20000; i++) {
        assert_true(crowd[i].at == 0 || crowd[i].at > now);
        left += rusmi_timers_cancel(&timers, &crowd[i].timer);
    }
    assert_true(left > 5000);
    assert_int_equal(run_at(base + HOUR), 1); /* finds that nothing is left */
    rusmi_free(crowd);
}

static void test_storm_of_pending_timers(void **state)
{
    struct alarm *crowd = rusmi_zalloc_array(STORM, sizeof(*crowd));
    uint64_t begin = now, fired = 0;
    struct rusmi_prng prng;

    (void)state;
    assert_non_null(crowd);
    rusmi_prng_init(&prng, 11);
    for (unsigned i = 0; i < STORM; i++) {
        crowd[i].timer.fire = on_fire;
        set(&crowd[i], i % WHEELS, begin + 1 + rusmi_prng_below(&prng, HOUR));
    }
    for (unsigned i = 0; i < STORM; i += 3) {
        assert_true(rusmi_timers_cancel(&timers, &crowd[i].timer));
        crowd[i].at = 0;
    }
    for (unsigned i = 1; i < STORM; i += 3) { /* move, also between wheels */
        set(&crowd[i], (i / 3) % WHEELS, begin + 1 + rusmi_prng_below(&prng, 2 * HOUR));
    }
    for (uint64_t at = begin; at <= begin + 2 * HOUR; at += HOUR / 64) {
        (void)run_at(at);
    }
    for (unsigned i = 0; i < STORM; i++) {
        assert_int_equal(crowd[i].fired, i % 3 != 0);
        fired += (uint64_t)crowd[i].fired;
    }
    assert_int_equal(fired, STORM - (STORM + 2) / 3);
    assert_int_equal(rusmi_timers_next(&timers), UINT64_MAX);
    rusmi_free(crowd);
}

/* ---- threads --------------------------------------------------------------------------------- */

#define OWNERS 3
#define ROUNDS 20000

struct shared_alarm {
    struct rusmi_timer timer;
    _Atomic uint32_t alive; /* 1: between set and cancel */
    _Atomic uint64_t *fires;
};

static _Atomic uint32_t owners_left;
static _Atomic uint64_t early, dead;
static _Atomic uint64_t fake_now;

static void on_fire_shared(struct rusmi_timer *timer)
{
    struct shared_alarm *alarm = rusmi_container(timer, struct shared_alarm, timer);

    if (atomic_load(&alarm->alive) != 1) {
        (void)atomic_fetch_add(&dead, 1);
    }
    if (timer->at_ns > atomic_load(&fake_now)) {
        (void)atomic_fetch_add(&early, 1);
    }
    (void)atomic_fetch_add(alarm->fires, 1);
}

/* Sets and takes back timers in memory that it frees at once. */
static void *owner_main(void *arg)
{
    unsigned index = (unsigned)(uintptr_t)arg;
    struct rusmi_prng prng;
    _Atomic uint64_t fires = 0;
    uint64_t taken = 0;

    rusmi_prng_init(&prng, index + 100);
    for (int i = 0; i < ROUNDS; i++) {
        struct shared_alarm *alarm = rusmi_zalloc(sizeof(*alarm));

        if (alarm == NULL) {
            continue;
        }
        alarm->timer.fire = on_fire_shared;
        alarm->fires = &fires;
        atomic_store(&alarm->alive, 1);
        rusmi_timers_set(&timers, index % WHEELS, &alarm->timer,
                         atomic_load(&fake_now) + any_span(&prng, 24));
        if (rusmi_prng_below(&prng, 4) == 0) { /* another thread takes over the owner's work */
            rusmi_timers_set(&timers, (index + 1) % WHEELS, &alarm->timer,
                             atomic_load(&fake_now) + any_span(&prng, 24));
        }
        for (uint64_t spins = rusmi_prng_below(&prng, 200); spins > 0; spins--) {
            rusmi_thread_pause();
        }
        taken += rusmi_timers_cancel(&timers, &alarm->timer);
        atomic_store(&alarm->alive, 0);
        rusmi_free(alarm);
    }
    if (atomic_load(&fires) == 0 || taken == 0) {
        (void)atomic_fetch_add(&dead, 1); /* the two have never met: the test shows nothing */
    }
    (void)atomic_fetch_sub(&owners_left, 1);
    return NULL;
}

static void *runner_main(void *arg)
{
    (void)arg;
    while (atomic_load(&owners_left) != 0) {
        (void)rusmi_timers_run(&timers, atomic_fetch_add(&fake_now, 5000));
    }
    return NULL;
}

static void test_cancelled_timer_does_not_fire_in_another_thread(void **state)
{
    struct rusmi_thread owners[OWNERS], runners[2];

    (void)state;
    atomic_store(&owners_left, OWNERS);
    atomic_store(&early, 0);
    atomic_store(&dead, 0);
    atomic_store(&fake_now, now);
    for (unsigned i = 0; i < OWNERS; i++) {
        assert_int_equal(
            rusmi_thread_start(&owners[i], owner_main, (void *)(uintptr_t)i, 262144, "owner"), 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(rusmi_thread_start(&runners[i], runner_main, NULL, 262144, "runner"), 0);
    }
    for (unsigned i = 0; i < OWNERS; i++) {
        rusmi_thread_join(&owners[i]);
    }
    for (unsigned i = 0; i < 2; i++) {
        rusmi_thread_join(&runners[i]);
    }
    assert_int_equal(atomic_load(&early), 0);
    assert_int_equal(atomic_load(&dead), 0);
}

#define timer_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        timer_test(test_timers_fire_as_a_naive_list_would),
        timer_test(test_next_leads_to_each_timer_without_detours),
        timer_test(test_timer_fires_once_and_not_before_its_time),
        timer_test(test_timer_at_the_end_of_time_never_fires),
        timer_test(test_timers_of_one_time_fire_in_the_order_of_setting),
        timer_test(test_timer_set_while_its_slot_moves_down_comes_last),
        timer_test(test_jump_of_hours_fires_all_in_the_order_of_time),
        timer_test(test_timer_that_sets_itself_again_keeps_its_steps),
        timer_test(test_slot_that_moves_down_takes_changes_meanwhile),
        timer_test(test_storm_of_pending_timers),
        timer_test(test_cancelled_timer_does_not_fire_in_another_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
