/* SPDX-License-Identifier: MIT */
/*
 * Timers that send messages. Most tests run on a pool of the test kit, where a thread that has
 * entered lets virtual time pass: what they say about time is exact.
 */
#include "otp/fixture_test.h"

#include "otp/after.h"
#include "platform/tools.h"

#include <rusm/test.h>
#include <sched.h>

#if RUSMI_ASAN || RUSMI_TSAN
#define MANY 3000u
#else
#define MANY 100000u
#endif

/* ---- virtual time ---------------------------------------------------------------------------- */

struct virtual
{
    rusm_pool *pool;
    rusm_runtime *rt;
};

static void virtual_init(struct virtual *virtual, uint64_t seed)
{
    rusm_runtime_config cfg;

    assert_int_equal(rusm_test_pool_new(&virtual->pool, seed, NULL), RUSM_OK);
    rusm_runtime_config_init(&cfg);
    cfg.pool = virtual->pool;
    assert_int_equal(rusm_runtime_new(&virtual->rt, &cfg), RUSM_OK);
    assert_int_equal(rusm_thread_enter(virtual->rt, "test"), RUSM_OK);
}

static int virtual_setup(void **state)
{
    static struct virtual virtual;

    virtual_init(&virtual, 1);
    *state = &virtual;
    return 0;
}

static int virtual_teardown(void **state)
{
    struct virtual *virtual = *state;

    rusm_thread_leave();
    rusm_runtime_del(virtual->rt);
    rusm_pool_del(virtual->pool);
    return 0;
}

#define virtual_test(name) cmocka_unit_test_setup_teardown(name, virtual_setup, virtual_teardown)

static uint64_t now_ms(const struct virtual *virtual)
{
    return rusm_test_now(virtual->pool) / 1000000u;
}

/* The next message: its first byte. */
static char next_byte(rusm_ref *out_ref)
{
    rusm_msg *msg;
    char byte;

    assert_int_equal(rusm_receive(&msg, RUSM_INFINITY), RUSM_OK);
    assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_TIMER);
    assert_true(rusm_pid_equal(rusm_msg_sender(msg), rusm_self()));
    assert_int_equal(rusm_msg_len(msg), 1);
    byte = *(const char *)rusm_msg_data(msg);
    if (out_ref != NULL) {
        *out_ref = rusm_msg_ref(msg);
    }
    rusm_msg_del(msg);
    return byte;
}

static void expect_nothing(int64_t timeout_ms)
{
    rusm_msg *msg;

    assert_int_equal(rusm_receive(&msg, timeout_ms), RUSM_ETIMEOUT);
}

static void test_messages_come_when_due_in_the_order_of_time(void **state)
{
    struct virtual *virtual = *state;
    uint64_t begin = now_ms(virtual);
    rusm_ref refs[4], ref;

    assert_int_equal(rusm_send_after(rusm_self(), "d", 1, 3600000, &refs[3]), RUSM_OK);
    assert_int_equal(rusm_send_after(rusm_self(), "b", 1, 10, &refs[1]), RUSM_OK);
    assert_int_equal(rusm_send_after(rusm_self(), "c", 1, 10, &refs[2]), RUSM_OK);
    assert_int_equal(rusm_send_after(rusm_self(), "a", 1, 0, &refs[0]), RUSM_OK);
    for (int i = 0; i < 4; i++) {
        static const uint64_t due[] = {0, 10, 10, 3600000};

        assert_int_equal(next_byte(&ref), "abcd"[i]);
        assert_true(rusm_ref_equal(ref, refs[i]));
        assert_int_equal(now_ms(virtual) - begin, due[i]);
        assert_int_equal(rusm_cancel_timer(ref), RUSM_ENONAME);
    }
    expect_nothing(7200000);
}

static void test_cancel_says_whether_it_had_fired(void **state)
{
    rusm_ref first, second;

    (void)state;
    assert_int_equal(rusm_send_after(rusm_self(), "a", 1, 10, &first), RUSM_OK);
    assert_int_equal(rusm_send_after(rusm_self(), "b", 1, 20, &second), RUSM_OK);
    assert_int_equal(rusm_timer_left_ms(second), 20);
    assert_int_equal(rusm_sleep(15), RUSM_OK);
    assert_int_equal(rusm_timer_left_ms(first), RUSM_ENONAME);
    assert_int_equal(rusm_timer_left_ms(second), 5);
    assert_int_equal(rusm_cancel_timer(first), RUSM_ENONAME); /* and its message is there */
    assert_int_equal(rusm_cancel_timer(second), RUSM_OK);
    assert_int_equal(rusm_cancel_timer(second), RUSM_ENONAME);
    assert_int_equal(next_byte(NULL), 'a');
    expect_nothing(1000);
}

static void test_interval_does_not_drift_and_ends_when_cancelled(void **state)
{
    struct virtual *virtual = *state;
    uint64_t begin = now_ms(virtual);
    rusm_ref ref;

    assert_int_equal(rusm_send_interval(rusm_self(), "i", 1, 7, &ref), RUSM_OK);
    for (unsigned i = 1; i <= 100; i++) {
        assert_int_equal(next_byte(NULL), 'i');
        assert_int_equal(now_ms(virtual) - begin, i * 7);
        assert_int_equal(rusm_timer_left_ms(ref), 7);
    }
    assert_int_equal(rusm_sleep(70), RUSM_OK);
    for (int i = 0; i < 10; i++) { /* all that came meanwhile, none lost */
        assert_int_equal(next_byte(NULL), 'i');
    }
    assert_int_equal(now_ms(virtual) - begin, 770);
    assert_int_equal(rusm_cancel_timer(ref), RUSM_OK);
    assert_int_equal(rusm_cancel_timer(ref), RUSM_ENONAME);
    expect_nothing(1000);
}

static void test_interval_of_all_time_is_only_cancelled(void **state)
{
    rusm_ref ref;

    (void)state;
    assert_int_equal(rusm_send_interval(rusm_self(), "i", 1, INT64_MAX, &ref), RUSM_OK);
    expect_nothing(3600000);
    assert_true(rusm_timer_left_ms(ref) > 3600000);
    assert_int_equal(rusm_cancel_timer(ref), RUSM_OK);
}

static void wait_for_ever(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    (void)!rusm_receive(&msg, RUSM_INFINITY);
}

static void set_timers_for(void *arg)
{
    const rusm_pid *to = arg;

    if (rusm_send_after(*to, "a", 1, 10, NULL) == RUSM_OK &&
        rusm_send_after(*to, "b", 1, 50, NULL) == RUSM_OK &&
        rusm_send_interval(*to, "i", 1, 15, NULL) == RUSM_OK) {
        wait_for_ever(NULL);
    }
}

static unsigned take_all(int64_t until_ms)
{
    rusm_msg *msg;
    unsigned count = 0;

    while (rusm_receive(&msg, until_ms) == RUSM_OK) {
        assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_TIMER);
        rusm_msg_del(msg);
        count++;
    }
    return count;
}

static void test_timers_of_a_killed_process_send_nothing_more(void **state)
{
    rusm_pid self = rusm_self(), pid;
    struct virtual *virtual = *state;

    assert_int_equal(rusm_spawn(virtual->rt, set_timers_for, &self, &pid), RUSM_OK);
    assert_int_equal(rusm_sleep(20), RUSM_OK);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    assert_int_equal(take_all(10000), 2); /* after 10 and 15 ms */
}

/* Killed after one step, after two, and so on: wherever that meets it, nothing comes afterwards,
 * and nothing is left (address sanitizer). */
static void test_owner_is_killed_at_each_of_its_steps(void **state)
{
    rusm_pid self = rusm_self(), pid;
    struct virtual *virtual = *state;
    unsigned most = 0;

    for (unsigned steps = 0; steps < 40; steps++) {
        unsigned count;

        assert_int_equal(rusm_spawn(virtual->rt, set_timers_for, &self, &pid), RUSM_OK);
        for (unsigned i = 0; i < steps; i++) {
            if (!rusm_test_step(virtual->pool)) {
                (void)rusm_test_advance(virtual->pool, 7);
            }
        }
        assert_int_equal(rusm_kill(pid), RUSM_OK);
        (void)rusm_test_run(virtual->pool, UINT64_MAX);
        assert_false(rusm_is_alive(pid));
        count = take_all(0);
        most = count > most ? count : most;
        assert_int_equal(take_all(1000), 0);
    }
    assert_true(most > 3); /* so some were killed late, and others early */
}

static void test_timers_to_a_process_that_ended_are_counted_and_go(void **state)
{
    struct virtual *virtual = *state;
    rusm_runtime_stats before, after;
    rusm_ref once, often;
    rusm_pid pid;

    assert_int_equal(rusm_spawn(virtual->rt, wait_for_ever, NULL, &pid), RUSM_OK);
    assert_int_equal(rusm_send_after(pid, "x", 1, 10, &once), RUSM_OK); /* it ends of that */
    assert_int_equal(rusm_send_after(pid, "x", 1, 20, NULL), RUSM_OK);
    assert_int_equal(rusm_send_interval(pid, "x", 1, 30, &often), RUSM_OK);
    assert_int_equal(rusm_runtime_get_stats(virtual->rt, &before), RUSM_OK);
    assert_int_equal(rusm_sleep(100), RUSM_OK);
    assert_false(rusm_is_alive(pid));
    assert_int_equal(rusm_runtime_get_stats(virtual->rt, &after), RUSM_OK);
    assert_int_equal(after.sends_noproc - before.sends_noproc,
                     2); /* the interval is over with the first */
    assert_int_equal(rusm_cancel_timer(often), RUSM_ENONAME);
    assert_int_equal(rusm_cancel_timer(once), RUSM_ENONAME);
}

static void count_after_a_while(void *arg)
{
    unsigned *count = arg;

    if (rusm_sleep(100) == RUSM_OK) {
        *count = take_all(0);
    }
}

static void test_full_mailbox_loses_ticks_and_counts_them(void **state)
{
    struct virtual *virtual = *state;
    rusm_runtime_stats before, after;
    rusm_spawn_config cfg;
    unsigned count = 0;
    rusm_pid pid;
    rusm_ref ref;

    rusm_spawn_config_init(&cfg);
    cfg.mailbox_max = 3;
    assert_int_equal(rusm_spawn_with(virtual->rt, count_after_a_while, &count, &cfg, &pid),
                     RUSM_OK);
    assert_int_equal(rusm_runtime_get_stats(virtual->rt, &before), RUSM_OK);
    assert_int_equal(rusm_send_interval(pid, "i", 1, 15, &ref), RUSM_OK);
    assert_int_equal(rusm_sleep(99), RUSM_OK);
    assert_int_equal(rusm_runtime_get_stats(virtual->rt, &after), RUSM_OK);
    assert_int_equal(after.sends_full - before.sends_full, 3); /* of six */
    assert_true(rusm_timer_left_ms(ref) > 0);                  /* and it goes on */
    assert_int_equal(rusm_sleep(2), RUSM_OK);
    assert_int_equal(count, 3);
}

static void test_bad_arguments_set_no_timer(void **state)
{
    const rusm_pid foreign = {rusm_self().incarnation + 1, 1};
    const rusm_pid none = {rusm_self().incarnation, 0};
    rusm_ref ref = {1, 2};

    (void)state;
    assert_int_equal(rusm_send_after(rusm_self(), "a", 1, -1, &ref), RUSM_EINVAL);
    assert_int_equal(rusm_send_after(rusm_self(), NULL, 1, 1, &ref), RUSM_EINVAL);
    assert_int_equal(rusm_send_after(foreign, "a", 1, 1, &ref), RUSM_EINVAL);
    assert_int_equal(rusm_send_after(none, "a", 1, 1, &ref), RUSM_EINVAL);
    assert_int_equal(rusm_send_interval(rusm_self(), "a", 1, 0, &ref), RUSM_EINVAL);
    assert_int_equal(rusm_send_after(rusm_self(), "a", SIZE_MAX, 1, &ref), RUSM_ENOMEM);
    assert_true(rusm_ref_equal(ref, (rusm_ref){1, 2}));
    assert_int_equal(rusm_cancel_timer(ref), RUSM_ENONAME);
    assert_int_equal(rusm_timer_left_ms(ref), RUSM_ENONAME);
    assert_int_equal(rusm_send_after(rusm_self(), NULL, 0, 1, &ref), RUSM_OK);
    assert_int_equal(rusm_cancel_timer((rusm_ref){ref.incarnation + 1, ref.number}), RUSM_ENONAME);
    assert_int_equal(take_all(100), 1);
}

static void test_many_timers_of_one_process_are_found_at_once(void **state)
{
    static rusm_ref refs[MANY];

    (void)state;
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(rusm_send_after(rusm_self(), "a", 1, 1 + i % 1000, &refs[i]), RUSM_OK);
    }
    for (unsigned i = 0; i < MANY; i += 2) {
        assert_true(rusm_timer_left_ms(refs[i]) > 0);
        assert_int_equal(rusm_cancel_timer(refs[i]), RUSM_OK);
    }
    assert_int_equal(rusm_sleep(500), RUSM_OK);
    for (unsigned i = 1; i < MANY; i += 2) {
        assert_int_equal(rusm_cancel_timer(refs[i]), 1 + i % 1000 <= 500 ? RUSM_ENONAME : RUSM_OK);
    }
    assert_int_equal(take_all(2000), MANY / 4);
    /* And those that are left behind when the process ends are freed (address sanitizer). */
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(rusm_send_after(rusm_self(), "a", 1, 5 * (1 + i % 3), NULL), RUSM_OK);
    }
    assert_int_equal(rusm_sleep(7), RUSM_OK);
}

static void test_overdue_ticks_are_made_up_for_unless_there_are_too_many(void **state)
{
    uint64_t skipped = 1;

    (void)state;
    assert_int_equal(rusmi_after_next(500, 10, 500, &skipped), 510);
    assert_int_equal(rusmi_after_next(500, 10, 400, &skipped), 510);
    assert_int_equal(rusmi_after_next(500, 10, 500 + 10009, &skipped), 510);
    assert_int_equal(skipped, 0);
    assert_int_equal(rusmi_after_next(500, 10, 500 + 10015, &skipped), 10510); /* the newest due */
    assert_int_equal(skipped, 1000);                                           /* 510 to 10500 */
    assert_int_equal(rusmi_after_next(500, UINT64_MAX - 500, 500, &skipped), UINT64_MAX);
    assert_int_equal(rusmi_after_next(500, UINT64_MAX, 500, &skipped), UINT64_MAX);
    assert_int_equal(skipped, 0);
}

/* ---- real time ------------------------------------------------------------------------------- */

static void test_outside_a_process_there_are_no_timers(void **state)
{
    (void)state;
    assert_int_equal(rusm_send_after(RUSM_PID_NONE, "a", 1, 1, NULL), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_cancel_timer((rusm_ref){1, 1}), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_timer_left_ms((rusm_ref){1, 1}), RUSM_ENOCONTEXT);
}

#define SETTERS 8u
#if RUSMI_TSAN
#define ROUNDS 30u
#else
#define ROUNDS 300u
#endif

struct storm {
    struct fixture *fixture;
    _Atomic uint64_t sent, cancelled, received, wrong;
};

/* Sets timers of a millisecond and less, and cancels them at about the time at which they fire. */
static void race_own_timers(void *arg)
{
    struct storm *storm = arg;
    uint64_t sent = 0, cancelled = 0, received = 0;
    rusm_ref refs[8];
    rusm_msg *msg;

    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < 8; i++) {
            sent += rusm_send_after(rusm_self(), &round, sizeof(round), i % 2, &refs[i]) == RUSM_OK;
        }
        if (round % 2 == 0) {
            (void)!rusm_sleep(1);
        }
        for (unsigned i = 0; i < 8; i++) {
            cancelled += rusm_cancel_timer(refs[i]) == RUSM_OK;
        }
        while (rusm_receive(&msg, 0) == RUSM_OK) {
            rusm_msg_del(msg);
            received++;
        }
    }
    /* A cancelled timer sends nothing, any other has sent before the cancel failed. */
    if (sent != cancelled + received) {
        (void)atomic_fetch_add(&storm->wrong, 1);
    }
    (void)atomic_fetch_add(&storm->cancelled, cancelled);
    (void)atomic_fetch_add(&storm->received, received);
    fixture_count(storm->fixture);
}

/* The same in fifty orders, which a seed repeats. */
static void test_cancel_and_firing_in_any_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct fixture fixture = {.rt = NULL};
        struct storm storm = {.fixture = &fixture};
        struct virtual virtual;

        virtual_init(&virtual, seed);
        assert_int_equal(rusm_waiter_new(&fixture.done), RUSM_OK);
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(rusm_spawn(virtual.rt, race_own_timers, &storm, NULL), RUSM_OK);
        }
        (void)rusm_test_advance(virtual.pool, 2 * ROUNDS);
        assert_int_equal(atomic_load(&fixture.count), 3);
        if (atomic_load(&storm.wrong) != 0) {
            fail_msg("seed %u", (unsigned)seed);
        }
        rusm_waiter_drop(fixture.done);
        rusm_thread_leave();
        rusm_runtime_del(virtual.rt);
        rusm_pool_del(virtual.pool);
    }
}

static void test_cancel_races_with_firing(void **state)
{
    struct storm storm = {.fixture = *state};

    for (unsigned i = 0; i < SETTERS; i++) {
        assert_int_equal(rusm_spawn(storm.fixture->rt, race_own_timers, &storm, NULL), RUSM_OK);
    }
    fixture_wait_count(storm.fixture, &storm.fixture->count, SETTERS);
    assert_int_equal(atomic_load(&storm.wrong), 0);
    assert_true(atomic_load(&storm.cancelled) > 0);
    assert_true(atomic_load(&storm.received) > 0);
}

static void take_ticks(void *arg)
{
    struct storm *storm = arg;
    rusm_msg *msg;

    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_del(msg);
        (void)atomic_fetch_add(&storm->received, 1);
        rusm_waiter_wake(storm->fixture->done);
    }
}

static rusm_pid ticks_to;

static void send_ticks(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20; i++) {
        if (rusm_send_interval(ticks_to, "tick", 4, 1, NULL) != RUSM_OK ||
            rusm_send_after(ticks_to, "once", 4, i, NULL) != RUSM_OK) {
            return;
        }
    }
    wait_for_ever(NULL);
}

/* Processes end while their timers fire in another thread, over and over. */
static void test_owners_are_killed_while_their_timers_fire(void **state)
{
    struct storm storm = {.fixture = *state};
    rusm_runtime *rt = storm.fixture->rt;

    assert_int_equal(rusm_spawn(rt, take_ticks, &storm, &ticks_to), RUSM_OK);
    for (unsigned round = 0; round < 100; round++) {
        uint64_t before = atomic_load(&storm.received);
        rusm_pid pid;

        assert_int_equal(rusm_spawn(rt, send_ticks, NULL, &pid), RUSM_OK);
        fixture_wait_count(storm.fixture, &storm.received, before + 10);
        assert_int_equal(rusm_kill(pid), RUSM_OK);
        fixture_until(!rusm_is_alive(pid));
    }
    assert_int_equal(rusm_kill(ticks_to), RUSM_OK);
}

/* Sets many timers for hours and a few for now, and ends when those have come. */
static void hold_many(void *arg)
{
    struct storm *storm = arg;
    rusm_msg *msg;

    for (unsigned i = 0; i < MANY / 10; i++) {
        if (rusm_send_after(rusm_self(), &i, sizeof(i), i % 100 == 0 ? 1 : 3600000 + i, NULL) !=
            RUSM_OK) {
            (void)atomic_fetch_add(&storm->wrong, 1);
        }
    }
    for (unsigned i = 0; i < MANY / 10; i += 100) {
        if (rusm_receive(&msg, TEST_LIMIT_MS) != RUSM_OK) {
            (void)atomic_fetch_add(&storm->wrong, 1);
            break;
        }
        rusm_msg_del(msg);
    }
    fixture_count(storm->fixture);
    (void)!rusm_receive(&msg, RUSM_INFINITY);
    (void)atomic_fetch_add(&storm->wrong, 1); /* one came early, or twice */
}

static void test_storm_of_a_million_pending_timers(void **state)
{
    struct storm storm = {.fixture = *state};

    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(rusm_spawn(storm.fixture->rt, hold_many, &storm, NULL), RUSM_OK);
    }
    fixture_wait_count(storm.fixture, &storm.fixture->count, 100);
    assert_int_equal(atomic_load(&storm.wrong), 0);
    assert_int_equal(rusm_runtime_stop(storm.fixture->rt, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(atomic_load(&storm.wrong), 0);
}

static void receive_with_timeouts(void *arg)
{
    struct storm *storm = arg;
    rusm_time begin = rusm_now();
    rusm_msg *msg;

    for (int i = 0; i < 5; i++) {
        if (rusm_receive(&msg, 2) != RUSM_ETIMEOUT) {
            (void)atomic_fetch_add(&storm->wrong, 1);
        }
    }
    if (rusm_now() - begin < 10 * 1000000u) {
        (void)atomic_fetch_add(&storm->wrong, 1); /* early */
    }
    fixture_count(storm->fixture);
}

static void test_thousands_of_receives_time_out_and_none_early(void **state)
{
    struct storm storm = {.fixture = *state};
    const uint64_t processes = MANY / 10;

    for (unsigned i = 0; i < processes; i++) {
        assert_int_equal(rusm_spawn(storm.fixture->rt, receive_with_timeouts, &storm, NULL),
                         RUSM_OK);
    }
    fixture_wait_count(storm.fixture, &storm.fixture->count, processes);
    assert_int_equal(atomic_load(&storm.wrong), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        virtual_test(test_messages_come_when_due_in_the_order_of_time),
        virtual_test(test_cancel_says_whether_it_had_fired),
        virtual_test(test_interval_does_not_drift_and_ends_when_cancelled),
        virtual_test(test_interval_of_all_time_is_only_cancelled),
        virtual_test(test_timers_of_a_killed_process_send_nothing_more),
        virtual_test(test_owner_is_killed_at_each_of_its_steps),
        virtual_test(test_timers_to_a_process_that_ended_are_counted_and_go),
        virtual_test(test_full_mailbox_loses_ticks_and_counts_them),
        virtual_test(test_bad_arguments_set_no_timer),
        virtual_test(test_many_timers_of_one_process_are_found_at_once),
        cmocka_unit_test(test_overdue_ticks_are_made_up_for_unless_there_are_too_many),
        cmocka_unit_test(test_outside_a_process_there_are_no_timers),
        cmocka_unit_test(test_cancel_and_firing_in_any_order),
        fixture_test(test_cancel_races_with_firing),
        fixture_test(test_owners_are_killed_while_their_timers_fire),
        fixture_test(test_storm_of_a_million_pending_timers),
        fixture_test(test_thousands_of_receives_time_out_and_none_early),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
