/* SPDX-License-Identifier: MIT */
/*
 * Ties with another node, which the test stands for: every allocation failing once, the limits, and
 * signals that a peer should not have sent. What fails has no effect; what was tied still ends,
 * once and whatever memory there is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "otp/far.h"
#include "otp/kit_fixture_test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define TOKYO   ((uint64_t)77)
#define WATCHES 3

/* ---- allocations that fail ------------------------------------------------------------------- */

static int fail_at; /* 1: the next allocation; 0: none; -1: every one */

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
    return fail_at < 0 || (fail_at > 0 && --fail_at == 0);
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

/* ---- the other node -------------------------------------------------------------------------- */

static struct {
    rusm_signal last; /* that was sent there */
    rusm_reason reason;
    unsigned count;
} sent;

static void lose(void);

/* Loses the node while a signal to it is being sent. */
static struct {
    bool wanted, early;
    pthread_t thread;
    atomic_bool lost;
} loser;

static void *run_loser(void *arg)
{
    (void)arg;
    lose();
    atomic_store(&loser.lost, true);
    return NULL;
}

/* Until all ties are broken, and then a while: the loss is not over before the sending is. */
static void lose_meanwhile(void)
{
    assert_int_equal(pthread_create(&loser.thread, NULL, run_loser, NULL), 0);
    while (kit_info(kit.self).links != 0) {
        (void)sched_yield();
    }
    for (int i = 0; i < 200; i++) {
        (void)sched_yield();
    }
    loser.early = atomic_load(&loser.lost); /* asserted outside the router */
}

static rusm_err route_signal(void *arg, const rusm_signal *signal)
{
    (void)arg;
    if (loser.wanted) {
        loser.wanted = false;
        lose_meanwhile();
    }
    sent.last = *signal;
    if (signal->reason != NULL) {
        sent.reason = *signal->reason;
    }
    sent.count++;
    return RUSM_OK;
}

static const rusm_router router = {.signal = route_signal};

static rusm_pid far(uint64_t serial)
{
    return (rusm_pid){TOKYO, serial};
}

static struct rusmi_far *record(void)
{
    struct rusmi_far *record = rusmi_far_find(kit.rt, TOKYO);

    assert_non_null(record);
    rusmi_far_drop(record); /* the table has it */
    return record;
}

static void lose(void)
{
    const rusm_reason reason = {.kind = RUSM_REASON_NOCONNECTION};

    rusm_runtime_node_down(kit.rt, TOKYO, &reason);
}

static int setup(void **state)
{
    (void)state;
    kit_open(1);
    memset(&sent, 0, sizeof(sent));
    rusm_runtime_set_router(kit.rt, &router, NULL);
    return rusm_runtime_node_up(kit.rt, TOKYO, WATCHES) == RUSM_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    fail_at = 0;
    rusm_thread_leave();
    while (rusm_runtime_stop(kit.rt, RUSM_INFINITY) != RUSM_OK) {
    }
    rusm_runtime_set_router(kit.rt, NULL, NULL);
    lose();
    rusm_runtime_del(kit.rt);
    rusm_pool_del(kit.pool);
    return 0;
}

static rusm_err come(rusm_signal_kind kind, uint64_t from, rusm_pid to, uint64_t number,
                     rusm_reason_kind why)
{
    const rusm_reason reason = {.kind = why};
    bool reasoned =
        kind == RUSM_SIGNAL_EXIT || kind == RUSM_SIGNAL_DOWN || kind == RUSM_SIGNAL_ASK_EXIT;

    return rusm_signal_deliver(kit.rt, &(rusm_signal){.kind = kind,
                                                      .from = far(from),
                                                      .to = to,
                                                      .number = number,
                                                      .reason = reasoned ? &reason : NULL});
}

static void expect_sent(rusm_signal_kind kind, uint64_t to, uint64_t number)
{
    assert_int_equal(sent.count, 1);
    assert_int_equal(sent.last.kind, kind);
    assert_true(rusm_pid_equal(sent.last.to, far(to)));
    assert_int_equal(sent.last.number, number);
    sent.count = 0;
}

/* ---- every allocation fails once ------------------------------------------------------------- */

static rusm_ref ref;
static rusm_pid victim;
static uint64_t number;

static rusm_err op_up(void)
{
    rusm_err err = rusm_runtime_node_up(kit.rt, 78, WATCHES);
    const rusm_reason reason = {.kind = RUSM_REASON_NOCONNECTION};

    rusm_runtime_node_down(kit.rt, 78, &reason);
    return err;
}

static rusm_err op_link(void)
{
    return rusm_link(far(1));
}

static rusm_err op_monitor(void)
{
    return rusm_monitor(far(2), &ref);
}

static rusm_err op_prepare(void)
{
    return rusm_tie_prepare(TOKYO, true, &number);
}

static rusm_err op_theirs_link(void)
{
    return come(RUSM_SIGNAL_LINK, 3, victim, 5, 0);
}

static rusm_err op_theirs_monitor(void)
{
    return come(RUSM_SIGNAL_MONITOR, 4, victim, 1004, 0);
}

static rusm_err op_ask_exit(void)
{
    return come(RUSM_SIGNAL_ASK_EXIT, 5, kit.self, 0, RUSM_REASON_CRASHED);
}

static void test_each_failed_allocation_is_an_error_without_effect(void **state)
{
    static const struct {
        rusm_err (*op)(void);
        uint64_t links, monitors, watched, unread; /* afterwards */
    } steps[] = {
        {op_up, 0, 0, 0, 0},          {op_link, 1, 0, 0, 0},
        {op_monitor, 1, 1, 0, 0},     {op_theirs_monitor, 1, 1, 1, 0},
        {op_theirs_link, 1, 1, 1, 0}, {op_prepare, 1, 1, 1, 0},
        {op_ask_exit, 1, 1, 1, 1},
    };

    (void)state;
    victim = kit_spawn(kit_body_wait, NULL);
    kit_settle();
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        bool met = true;
        size_t watches = record()->watches.len;

        for (int n = 1; met; n++) {
            rusm_process_info info;
            rusm_err err;

            fail_at = n;
            err = steps[i].op();
            met = fail_at == 0;
            fail_at = 0;
            assert_true(err == RUSM_OK || err == RUSM_ENOMEM);
            info = kit_info(kit.self);
            if (err != RUSM_OK) {
                assert_true(met);
                assert_int_equal(record()->watches.len, watches);
                assert_int_equal(info.mailbox_len, 0);
                assert_int_equal(info.links + info.monitors, i < 2 ? 0 : i < 3 ? 1 : 2);
                continue;
            }
            /* Without memory for less than the whole it is done all the same. */
            assert_int_equal(info.links, steps[i].links);
            assert_int_equal(info.monitors, steps[i].monitors);
            assert_int_equal(info.mailbox_len, steps[i].unread);
            assert_int_equal(kit_info(victim).monitored_by, steps[i].watched);
            break;
        }
    }
    rusm_msg_del(kit_receive());
    assert_int_equal(rusm_tie_bind(number, RUSM_PID_NONE), RUSM_OK);
}

/* To be told of an end takes no memory. */
static void test_ends_are_told_without_any_memory(void **state)
{
    (void)state;
    victim = kit_spawn(kit_body_wait, NULL);
    kit_settle();
    assert_int_equal(rusm_link(far(1)), RUSM_OK);
    assert_int_equal(rusm_monitor(far(1), &ref), RUSM_OK);
    assert_int_equal(rusm_monitor(far(2), &ref), RUSM_OK);
    assert_int_equal(come(RUSM_SIGNAL_MONITOR, 3, victim, 1003, 0), RUSM_OK);
    sent.count = 0;
    fail_at = -1;
    assert_int_equal(come(RUSM_SIGNAL_EXIT, 1, kit.self, 0, RUSM_REASON_CRASHED), RUSM_OK);
    assert_int_equal(rusm_kill(victim), RUSM_OK);
    kit_settle();
    fail_at = 0;
    expect_sent(RUSM_SIGNAL_DOWN, 3, 1003);
    fail_at = -1;
    lose();
    fail_at = 0;
    for (int i = 0; i < 3; i++) {
        rusm_msg *msg = kit_receive();

        assert_int_equal(rusm_msg_get_kind(msg), i == 0 ? RUSM_MSG_EXIT : RUSM_MSG_DOWN);
        assert_non_null(rusm_msg_reason(msg));
        rusm_msg_del(msg);
    }
    kit_silence();
    assert_int_equal(rusm_runtime_node_up(kit.rt, TOKYO, WATCHES), RUSM_OK);
}

/* ---- limits and lies ------------------------------------------------------------------------- */

static void test_watches_are_counted_and_given_back(void **state)
{
    (void)state;
    victim = kit_spawn(kit_body_wait, NULL);
    kit_settle();
    assert_int_equal(come(RUSM_SIGNAL_LINK, 1, victim, 1, 0), RUSM_OK);
    assert_int_equal(come(RUSM_SIGNAL_LINK, 1, victim, 2, 0), RUSM_OK); /* is no second one */
    assert_int_equal(come(RUSM_SIGNAL_MONITOR, 1, victim, 1001, 0), RUSM_OK);
    assert_int_equal(come(RUSM_SIGNAL_MONITOR, 1, victim, 1001, 0), RUSM_OK);
    assert_int_equal(come(RUSM_SIGNAL_MONITOR, 1, victim, 1002, 0), RUSM_OK);
    assert_int_equal(come(RUSM_SIGNAL_MONITOR, 1, victim, 1003, 0), RUSM_EFULL);
    assert_int_equal(come(RUSM_SIGNAL_LINK, 2, victim, 3, 0), RUSM_EFULL);
    assert_int_equal(come(RUSM_SIGNAL_DEMONITOR, 2, victim, 1002, 0), RUSM_OK); /* not its */
    assert_int_equal(come(RUSM_SIGNAL_MONITOR, 1, victim, 1003, 0), RUSM_EFULL);
    assert_int_equal(come(RUSM_SIGNAL_DEMONITOR, 1, victim, 1002, 0), RUSM_OK);
    assert_int_equal(come(RUSM_SIGNAL_MONITOR, 1, victim, 1003, 0), RUSM_OK);
    assert_int_equal(come(RUSM_SIGNAL_UNLINK, 1, victim, 4, 0), RUSM_OK);
    assert_int_equal(come(RUSM_SIGNAL_LINK, 2, victim, 5, 0), RUSM_OK);
    assert_int_equal(come(RUSM_SIGNAL_LINK, 3, victim, 6, 0), RUSM_EFULL);
    assert_int_equal(rusm_monitor(far(1), &ref), RUSM_OK); /* ours are not theirs */
    assert_int_equal(record()->theirs, WATCHES);
    assert_int_equal(rusm_kill(victim), RUSM_OK);
    kit_settle();
    assert_int_equal(record()->theirs, 0);
    assert_int_equal(record()->watches.len, 0);
}

/* An end of who was not tied, or of a tie with somebody else. */
static void test_ends_of_strangers_are_ignored(void **state)
{
    (void)state;
    assert_int_equal(rusm_runtime_node_up(kit.rt, 78, WATCHES), RUSM_OK);
    assert_int_equal(rusm_link(far(1)), RUSM_OK);
    assert_int_equal(rusm_monitor(far(2), &ref), RUSM_OK);
    assert_int_equal(rusm_tie_prepare(TOKYO, true, &number), RUSM_OK);
    assert_int_equal(come(RUSM_SIGNAL_EXIT, 2, kit.self, 0, RUSM_REASON_CRASHED), RUSM_OK);
    assert_int_equal(come(RUSM_SIGNAL_EXIT, 0, kit.self, 0, RUSM_REASON_CRASHED), RUSM_OK);
    assert_int_equal(come(RUSM_SIGNAL_DOWN, 1, kit.self, ref.number, RUSM_REASON_NORMAL), RUSM_OK);
    assert_int_equal(come(RUSM_SIGNAL_DOWN, 0, kit.self, number, RUSM_REASON_NORMAL), RUSM_OK);
    assert_int_equal(come(RUSM_SIGNAL_UNLINKED, 1, kit.self, 1, 0), RUSM_OK);
    assert_int_equal(
        rusm_signal_deliver(kit.rt,
                            &(rusm_signal){.kind = RUSM_SIGNAL_DOWN,
                                           .from = {78, 2}, /* a node of its own has that serial */
                                           .to = kit.self,
                                           .number = ref.number,
                                           .reason = &(rusm_reason){.kind = RUSM_REASON_NORMAL}}),
        RUSM_OK);
    kit_silence();
    assert_int_equal(kit_info(kit.self).links, 1);
    assert_int_equal(kit_info(kit.self).monitors, 1);
    assert_int_equal(rusm_tie_bind(number, far(3)), RUSM_OK);
    assert_int_equal(kit_info(kit.self).links, 2);
    assert_int_equal(come(RUSM_SIGNAL_DOWN, 2, kit.self, ref.number, RUSM_REASON_NORMAL), RUSM_OK);
    (void)kit_expect(RUSM_MSG_DOWN, far(2), RUSM_REASON_NORMAL);
    assert_int_equal(come(RUSM_SIGNAL_DOWN, 2, kit.self, ref.number, RUSM_REASON_NORMAL), RUSM_OK);
    kit_silence();
}

/* A version of a peer's that is out of all reason does not take us along. */
static void test_versions_stay_in_reach(void **state)
{
    (void)state;
    victim = kit_spawn(kit_body_wait, NULL);
    kit_settle();
    assert_int_equal(come(RUSM_SIGNAL_LINK, 1, victim, RUSMI_VERSION_MAX - 1, 0), RUSM_OK);
    assert_int_equal(record()->clock, RUSMI_VERSION_MAX - 1);
    assert_int_equal(come(RUSM_SIGNAL_LINK, 2, victim, UINT64_MAX, 0), RUSM_OK);
    assert_int_equal(record()->clock, RUSMI_VERSION_MAX - 1);
    sent.count = 0;
    assert_int_equal(rusm_link(far(3)), RUSM_OK);
    expect_sent(RUSM_SIGNAL_LINK, 3, RUSMI_VERSION_MAX);
    assert_int_equal(rusm_unlink(far(3)), RUSM_OK);
    expect_sent(RUSM_SIGNAL_UNLINK, 3, RUSMI_VERSION_MAX + 1);
}

/* A link and an unlink that cross with the same version: the link holds, on both sides. */
static void test_of_two_equal_versions_the_link_wins(void **state)
{
    (void)state;
    assert_int_equal(rusm_link(far(1)), RUSM_OK);
    assert_int_equal(rusm_unlink(far(1)), RUSM_OK);
    assert_int_equal(come(RUSM_SIGNAL_LINK, 1, kit.self, sent.last.number, 0), RUSM_OK);
    assert_int_equal(kit_info(kit.self).links, 1);
    assert_int_equal(come(RUSM_SIGNAL_UNLINKED, 1, kit.self, sent.last.number, 0), RUSM_OK);
    assert_int_equal(kit_info(kit.self).links, 1);
    sent.count = 0;
    assert_int_equal(come(RUSM_SIGNAL_UNLINK, 1, kit.self, sent.last.number, 0), RUSM_OK);
    assert_int_equal(kit_info(kit.self).links, 1);
    expect_sent(RUSM_SIGNAL_UNLINKED, 1, sent.last.number);
}

/* What is sent for a tie of a connection that is lost does not go out on the next one. */
static void test_the_loss_waits_for_who_sends(void **state)
{
    (void)state;
    loser.wanted = true;
    assert_int_equal(rusm_link(far(1)), RUSM_OK);
    assert_int_equal(pthread_join(loser.thread, NULL), 0);
    assert_true(atomic_load(&loser.lost));
    assert_false(loser.early);
    (void)kit_expect(RUSM_MSG_EXIT, far(1), RUSM_REASON_NOCONNECTION);
    kit_silence();
}

/* The acknowledgement of an unlink says nothing of a later one. */
static void test_each_unlink_waits_for_its_own_acknowledgement(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rusm_link(far(1)), RUSM_OK);   /* 1, 3 */
        assert_int_equal(rusm_unlink(far(1)), RUSM_OK); /* 2, 4 */
    }
    assert_int_equal(come(RUSM_SIGNAL_UNLINKED, 1, kit.self, 2, 0), RUSM_OK);
    assert_int_equal(come(RUSM_SIGNAL_LINK, 1, kit.self, 3, 0), RUSM_OK); /* not knowing of 4 */
    assert_int_equal(kit_info(kit.self).links, 0);
    assert_int_equal(come(RUSM_SIGNAL_UNLINKED, 1, kit.self, 4, 0), RUSM_OK);
    assert_true(rusmi_list_empty(&record()->ties));
    assert_int_equal(come(RUSM_SIGNAL_LINK, 1, kit.self, 5, 0), RUSM_OK);
    assert_int_equal(kit_info(kit.self).links, 1);
}

/* ---- spawning with a tie --------------------------------------------------------------------- */

/* The caller gives up before or after the process has come: either way it is not tied. */
static void test_who_gives_up_is_not_tied(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        bool is_link = i % 2 == 0, comes_first = i / 2 == 0;
        rusm_signal_kind kind = is_link ? RUSM_SIGNAL_BORN_LINKED : RUSM_SIGNAL_BORN_WATCHED;

        assert_int_equal(rusm_tie_prepare(TOKYO, is_link, &number), RUSM_OK);
        if (comes_first) {
            assert_int_equal(come(kind, 1, kit.self, number, 0), RUSM_OK);
        }
        assert_int_equal(sent.count, 0);
        assert_int_equal(rusm_tie_bind(number, RUSM_PID_NONE), RUSM_OK);
        if (!comes_first) {
            assert_int_equal(sent.count, 0);
            assert_int_equal(come(kind, 1, kit.self, number, 0), RUSM_OK);
        }
        expect_sent(is_link ? RUSM_SIGNAL_UNLINK : RUSM_SIGNAL_DEMONITOR, 1, sent.last.number);
        assert_true(is_link ? sent.last.number > number : sent.last.number == number);
        if (is_link && comes_first) {
            assert_int_equal(come(RUSM_SIGNAL_UNLINKED, 1, kit.self, sent.last.number, 0), RUSM_OK);
        }
        assert_true(rusmi_list_empty(&record()->ties));
    }
    kit_silence();
}

static void body_crash(void *arg)
{
    (void)arg;
    rusm_crash("at once");
}

static void body_factory(void *arg)
{
    rusm_err *err = arg;
    rusm_pid pid;

    rusm_watch_spawns();
    *err = rusm_spawn(kit.rt, body_crash, NULL, &pid);
    while (rusm_is_alive(pid)) {
        rusm_yield();
    }
    if (*err == RUSM_OK) {
        *err = rusm_tie_newborn(pid, far(1), 0, 55);
    }
}

/* A new process that has ended before it could be tied: the asker hears why. */
static void test_who_ended_at_birth_has_its_true_reason(void **state)
{
    rusm_err err = RUSM_EINVAL;

    (void)state;
    (void)kit_spawn(body_factory, &err);
    kit_settle();
    assert_int_equal(err, RUSM_OK);
    assert_int_equal(sent.count, 2); /* it was born, and is down */
    assert_int_equal(sent.last.kind, RUSM_SIGNAL_DOWN);
    assert_int_equal(sent.last.number, 55);
    assert_int_equal(sent.reason.kind, RUSM_REASON_CRASHED);
    assert_string_equal(sent.reason.text, "at once");
}

/* The answer of a spawn has come, and then the link is lost before the caller runs. */
static void test_a_tie_that_went_unborn_is_not_bound(void **state)
{
    (void)state;
    assert_int_equal(rusm_tie_prepare(TOKYO, false, &number), RUSM_OK);
    assert_int_equal(kit_info(kit.self).monitors, 0);
    assert_int_equal(rusm_process_get_ties(kit.self, NULL, 0), 0);
    lose();
    assert_int_equal(rusm_tie_bind(number, far(1)), RUSM_ENOLINK);
    kit_silence();
    assert_int_equal(rusm_runtime_node_up(kit.rt, TOKYO, WATCHES), RUSM_OK);
    assert_int_equal(rusm_tie_prepare(TOKYO, false, &number), RUSM_OK);
    assert_int_equal(come(RUSM_SIGNAL_BORN_WATCHED, 1, kit.self, number, 0), RUSM_OK);
    lose(); /* now it is told */
    assert_int_equal(rusm_tie_bind(number, far(1)), RUSM_OK);
    (void)kit_expect(RUSM_MSG_DOWN, far(1), RUSM_REASON_NOCONNECTION);
    kit_silence();
}

/* A pid of an incarnation that is past is gone for good; of one that is away, it may come back. */
static void test_past_and_away_are_told_apart(void **state)
{
    (void)state;
    lose();
    assert_int_equal(rusm_monitor(far(1), &ref), RUSM_OK);
    (void)kit_expect(RUSM_MSG_DOWN, far(1), RUSM_REASON_NOCONNECTION);
    rusm_runtime_node_past(kit.rt, TOKYO);
    assert_int_equal(rusm_link(far(1)), RUSM_OK);
    (void)kit_expect(RUSM_MSG_EXIT, far(1), RUSM_REASON_NOPROC);
    for (uint64_t i = 0; i < RUSMI_PAST_MAX; i++) {
        rusm_runtime_node_past(kit.rt, 1000 + i);
    }
    assert_int_equal(kit.rt->fars.past.len, RUSMI_PAST_MAX);
    assert_int_equal(rusm_monitor(far(1), &ref), RUSM_OK); /* forgotten again */
    (void)kit_expect(RUSM_MSG_DOWN, far(1), RUSM_REASON_NOCONNECTION);
    assert_int_equal(sent.count, 0);
}

#define with(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with(test_each_failed_allocation_is_an_error_without_effect),
        with(test_ends_are_told_without_any_memory),
        with(test_watches_are_counted_and_given_back),
        with(test_ends_of_strangers_are_ignored),
        with(test_versions_stay_in_reach),
        with(test_of_two_equal_versions_the_link_wins),
        with(test_the_loss_waits_for_who_sends),
        with(test_each_unlink_waits_for_its_own_acknowledgement),
        with(test_who_gives_up_is_not_tied),
        with(test_who_ended_at_birth_has_its_true_reason),
        with(test_a_tie_that_went_unborn_is_not_bound),
        with(test_past_and_away_are_told_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
