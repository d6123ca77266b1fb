/* SPDX-License-Identifier: MIT */
/*
 * Links, monitors and exit signals, one rule a test, each under many orders of execution; what any
 * mixture of them does is compared with a model in test/model/signals_test.c.
 */
#include "otp/kit_fixture_test.h"

/* ---- bodies ---------------------------------------------------------------------------------- */

static void body_crash(void *arg)
{
    rusm_crash("%s", (const char *)arg);
}

static void body_shutdown(void *arg)
{
    (void)arg;
    rusm_exit(RUSM_REASON_SHUTDOWN);
}

/* Says three things to the thread, then ends with a text. */
static void body_say_and_crash(void *arg)
{
    const rusm_pid *to = arg;

    assert_int_equal(rusm_send(*to, "a", 1), RUSM_OK);
    assert_int_equal(rusm_send(*to, "b", 1), RUSM_OK);
    assert_int_equal(rusm_send(*to, "c", 1), RUSM_OK);
    rusm_crash("done");
}

/* Ends as the first message asks: its bytes are a rusm_reason. */
static void body_end_as_told(void *arg)
{
    rusm_reason reason;
    rusm_msg *msg;

    (void)arg;
    assert_int_equal(rusm_receive(&msg, RUSM_INFINITY), RUSM_OK);
    memcpy(&reason, rusm_msg_data(msg), sizeof(reason));
    rusm_exit_with(&reason);
}

static void tell_to_end(rusm_pid pid, rusm_reason reason)
{
    assert_int_equal(rusm_send(pid, &reason, sizeof(reason)), RUSM_OK);
}

/* Traps exits; says which exits it hears: "<kind>:<text>". */
static void body_trap(void *arg)
{
    char line[RUSM_REASON_TEXT_MAX + 16];
    rusm_msg *msg;

    (void)arg;
    (void)rusm_trap_exit(true);
    for (;;) {
        assert_int_equal(rusm_receive(&msg, RUSM_INFINITY), RUSM_OK);
        if (rusm_msg_get_kind(msg) == RUSM_MSG_EXIT) {
            const rusm_reason *reason = rusm_msg_reason(msg);

            (void)snprintf(line, sizeof(line), "%s:%s", rusm_reason_name(reason->kind),
                           reason->text);
            assert_int_equal(rusm_send(kit.self, line, strlen(line)), RUSM_OK);
        }
        rusm_msg_del(msg);
    }
}

/* Links to the pid in arg, says so, and waits. */
static void body_link_to(void *arg)
{
    assert_int_equal(rusm_link(*(const rusm_pid *)arg), RUSM_OK);
    assert_int_equal(rusm_send(kit.self, "linked", 6), RUSM_OK);
    kit_body_wait(NULL);
}

/* ---- monitors -------------------------------------------------------------------------------- */

static void each_end_has_one_down(void)
{
    static const rusm_reason_kind kinds[] = {RUSM_REASON_NORMAL, RUSM_REASON_SHUTDOWN,
                                             RUSM_REASON_KILLED, RUSM_REASON_NOPROC,
                                             RUSM_REASON_CRASHED};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        rusm_pid pid = kit_spawn(body_end_as_told, NULL);
        rusm_reason reason = rusm_reason_make(kinds[i]);
        rusm_ref first, second;
        rusm_msg *msg;

        assert_int_equal(rusm_monitor(pid, &first), RUSM_OK);
        assert_int_equal(rusm_monitor(pid, &second), RUSM_OK);
        assert_false(rusm_ref_equal(first, second));
        assert_int_equal(kit_info(pid).monitored_by, 2);
        assert_int_equal(kit_info(kit.self).monitors, 2);
        (void)snprintf(reason.text, sizeof(reason.text), "text %zu", i);
        tell_to_end(pid, reason);
        for (int n = 0; n < 2; n++) {
            rusm_ref ref;

            msg = kit_receive();
            assert_false(rusm_is_alive(pid));
            assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_DOWN);
            ref = rusm_msg_ref(msg);
            assert_true(rusm_ref_equal(ref, first) || rusm_ref_equal(ref, second));
            assert_true(rusm_pid_equal(rusm_msg_sender(msg), pid));
            assert_int_equal(rusm_msg_reason(msg)->kind, kinds[i]);
            assert_string_equal(rusm_msg_reason(msg)->text, reason.text);
            if (rusm_ref_equal(ref, first)) {
                first.number = 0;
            } else {
                second.number = 0;
            }
            rusm_msg_del(msg);
        }
        assert_int_equal(first.number + second.number, 0);
        kit_silence();
        assert_int_equal(kit_info(kit.self).monitors, 0);
    }
}

static void test_each_end_has_one_down_per_monitor_with_its_reason(void **state)
{
    (void)state;
    kit_each_seed(each_end_has_one_down);
}

static void dead_is_noproc(void)
{
    rusm_pid pid = kit_spawn(kit_body_return, NULL);
    rusm_ref ref;
    rusm_msg *msg;

    kit_settle();
    assert_int_equal(rusm_monitor(pid, &ref), RUSM_OK);
    assert_int_equal(rusm_receive(&msg, 0), RUSM_OK); /* it is there already */
    assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_DOWN);
    assert_true(rusm_ref_equal(rusm_msg_ref(msg), ref));
    assert_true(rusm_pid_equal(rusm_msg_sender(msg), pid));
    assert_int_equal(rusm_msg_reason(msg)->kind, RUSM_REASON_NOPROC);
    rusm_msg_del(msg);
    assert_false(rusm_demonitor(ref, true));

    /* A pid that never was, and one of another life of the slot. */
    assert_int_equal(rusm_monitor((rusm_pid){kit.self.incarnation, UINT64_MAX}, &ref), RUSM_OK);
    (void)kit_expect(RUSM_MSG_DOWN, (rusm_pid){kit.self.incarnation, UINT64_MAX},
                     RUSM_REASON_NOPROC);
    /* A runtime that is not there. */
    assert_int_equal(rusm_monitor((rusm_pid){1, 1}, &ref), RUSM_OK);
    (void)kit_expect(RUSM_MSG_DOWN, (rusm_pid){1, 1}, RUSM_REASON_NOPROC);
    kit_silence();
}

static void test_monitor_of_a_dead_process_is_down_at_once(void **state)
{
    (void)state;
    kit_each_seed(dead_is_noproc);
}

static void down_comes_last(void)
{
    rusm_pid pid = kit_spawn(body_say_and_crash, &kit.self);

    assert_int_equal(rusm_monitor(pid, NULL), RUSM_OK);
    kit_expect_data(pid, "a");
    kit_expect_data(pid, "b");
    kit_expect_data(pid, "c");
    assert_string_equal(kit_expect(RUSM_MSG_DOWN, pid, RUSM_REASON_CRASHED), "done");
    kit_silence();
}

static void test_down_comes_after_what_the_process_had_sent(void **state)
{
    (void)state;
    kit_each_seed(down_comes_last);
}

static void demonitor(void)
{
    rusm_pid pid = kit_spawn(kit_body_wait, NULL);
    rusm_ref ref, kept;

    assert_int_equal(rusm_monitor(pid, &ref), RUSM_OK);
    assert_int_equal(rusm_monitor(pid, &kept), RUSM_OK);
    assert_true(rusm_demonitor(ref, false));
    assert_false(rusm_demonitor(ref, false));
    assert_int_equal(kit_info(pid).monitored_by, 1);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    (void)kit_expect(RUSM_MSG_DOWN, pid, RUSM_REASON_KILLED);
    kit_silence();

    /* A down that is in the mailbox stays without flush, and goes with it. */
    for (int flush = 0; flush < 2; flush++) {
        pid = kit_spawn(kit_body_return, NULL);
        assert_int_equal(rusm_send(kit.self, "before", 6), RUSM_OK);
        assert_int_equal(rusm_monitor(pid, &ref), RUSM_OK);
        kit_settle();
        assert_int_equal(rusm_send(kit.self, "after", 5), RUSM_OK);
        assert_false(rusm_demonitor(ref, flush != 0));
        kit_expect_data(kit.self, "before");
        if (flush == 0) {
            (void)kit_expect(RUSM_MSG_DOWN, pid, RUSM_REASON_NORMAL);
        }
        kit_expect_data(kit.self, "after");
        kit_silence();
    }

    /* References that name no monitor of the caller. */
    assert_false(rusm_demonitor((rusm_ref){0, 0}, true));
    assert_false(rusm_demonitor((rusm_ref){kit.self.incarnation, UINT64_MAX}, true));
    assert_false(rusm_demonitor((rusm_ref){kit.self.incarnation ^ 1, ref.number}, true));
}

static void test_demonitor_keeps_or_flushes_what_has_come(void **state)
{
    (void)state;
    kit_each_seed(demonitor);
}

static rusm_ref others_ref;

static void body_monitor_and_wait(void *arg)
{
    assert_int_equal(rusm_monitor(*(const rusm_pid *)arg, &others_ref), RUSM_OK);
    kit_body_wait(NULL);
}

/* Nobody takes another's monitor away, and whoever ends takes its own along. */
static void monitors_are_their_owners(void)
{
    rusm_pid target = kit_spawn(kit_body_wait, NULL);
    rusm_pid owner = kit_spawn(body_monitor_and_wait, &target);

    kit_settle();
    assert_int_equal(kit_info(target).monitored_by, 1);
    assert_false(rusm_demonitor(others_ref, true));
    assert_int_equal(kit_info(target).monitored_by, 1);
    assert_int_equal(rusm_kill(owner), RUSM_OK);
    kit_settle();
    assert_int_equal(kit_info(target).monitored_by, 0);
}

static void test_a_monitor_belongs_to_who_made_it(void **state)
{
    (void)state;
    kit_each_seed(monitors_are_their_owners);
}

static void many_ties(void)
{
    enum {
        MANY = 300
    };
    static rusm_pid pids[MANY];
    static rusm_ref refs[MANY];

    for (int i = 0; i < MANY; i++) {
        pids[i] = kit_spawn(kit_body_wait, NULL);
        assert_int_equal(rusm_monitor(pids[i], &refs[i]), RUSM_OK);
        assert_int_equal(rusm_link(pids[i]), RUSM_OK);
    }
    assert_int_equal(kit_info(kit.self).links, MANY);
    assert_int_equal(kit_info(kit.self).monitors, MANY);
    for (int i = 0; i < MANY; i += 2) {
        assert_true(rusm_demonitor(refs[i], false));
        assert_int_equal(rusm_unlink(pids[i]), RUSM_OK);
    }
    assert_int_equal(kit_info(kit.self).links, MANY / 2);
    assert_int_equal(kit_info(kit.self).monitors, MANY / 2);
    for (int i = MANY; i-- > 0;) {
        assert_int_equal(rusm_kill(pids[i]), RUSM_OK);
        kit_settle();
        if (i % 2 != 0) {
            (void)kit_expect(RUSM_MSG_EXIT, pids[i], RUSM_REASON_KILLED);
            (void)kit_expect(RUSM_MSG_DOWN, pids[i], RUSM_REASON_KILLED);
        }
    }
    kit_silence();
    assert_int_equal(kit_info(kit.self).links, 0);
}

static void test_hundreds_of_ties_of_one_process(void **state)
{
    (void)state;
    kit_open(7);
    many_ties();
    kit_close();
}

/* ---- links ----------------------------------------------------------------------------------- */

static void link_once(void)
{
    rusm_pid pid = kit_spawn(body_link_to, &kit.self);

    kit_expect_data(pid, "linked");
    assert_int_equal(rusm_link(pid), RUSM_OK); /* from the other side, and twice */
    assert_int_equal(rusm_link(pid), RUSM_OK);
    assert_int_equal(kit_info(pid).links, 1);
    assert_int_equal(kit_info(kit.self).links, 1);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    (void)kit_expect(RUSM_MSG_EXIT, pid, RUSM_REASON_KILLED);
    kit_silence();

    assert_int_equal(rusm_link(kit.self), RUSM_OK);
    assert_int_equal(kit_info(kit.self).links, 0);
}

static void test_linking_twice_is_one_link(void **state)
{
    (void)state;
    kit_each_seed(link_once);
}

/* Whether a linked process that does not trap survives the end of another, by its reason. */
static void only_normal_spares(void)
{
    static const rusm_reason_kind kinds[] = {RUSM_REASON_NORMAL, RUSM_REASON_SHUTDOWN,
                                             RUSM_REASON_KILLED, RUSM_REASON_NOCONNECTION,
                                             RUSM_REASON_CRASHED};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        rusm_pid target = kit_spawn(body_end_as_told, NULL);
        rusm_pid linked = kit_spawn(body_link_to, &target);
        rusm_pid trapper = kit_spawn(body_trap, NULL);
        char line[64];

        kit_settle();
        kit_expect_data(linked, "linked");
        assert_int_equal(rusm_link(trapper), RUSM_OK);
        assert_int_equal(rusm_monitor(linked, NULL), RUSM_OK);
        tell_to_end(target, rusm_reason_make(kinds[i]));
        if (kinds[i] == RUSM_REASON_NORMAL) {
            kit_silence();
            assert_true(rusm_is_alive(linked));
            assert_int_equal(kit_info(linked).links, 0);
            assert_int_equal(rusm_kill(linked), RUSM_OK);
            (void)kit_expect(RUSM_MSG_DOWN, linked, RUSM_REASON_KILLED);
        } else {
            (void)kit_expect(RUSM_MSG_DOWN, linked, kinds[i]);
        }

        /* Exits ordered by hand are messages for who traps, normal ones too. */
        if (kinds[i] != RUSM_REASON_KILLED) {
            rusm_reason reason = rusm_reason_make(kinds[i]);

            assert_int_equal(rusm_exit_process(trapper, &reason), RUSM_OK);
            (void)snprintf(line, sizeof(line), "%s:", rusm_reason_name(kinds[i]));
            kit_expect_data(trapper, line);
        }
        assert_int_equal(rusm_unlink(trapper), RUSM_OK);
        assert_int_equal(rusm_kill(trapper), RUSM_OK);
        kit_silence();
    }
}

static void test_all_ends_but_normal_end_who_is_linked_and_does_not_trap(void **state)
{
    (void)state;
    kit_each_seed(only_normal_spares);
}

static void link_to_dead(void)
{
    rusm_pid dead = kit_spawn(kit_body_return, NULL), pid;

    kit_settle();
    assert_int_equal(rusm_link(dead), RUSM_OK);
    (void)kit_expect(RUSM_MSG_EXIT, dead, RUSM_REASON_NOPROC);
    assert_int_equal(kit_info(kit.self).links, 0);
    pid = kit_spawn(body_link_to, &dead);
    assert_int_equal(rusm_monitor(pid, NULL), RUSM_OK);
    (void)kit_expect(RUSM_MSG_DOWN, pid, RUSM_REASON_NOPROC);
    kit_silence(); /* it has never said "linked" */
}

static void test_a_link_to_a_dead_process_breaks_with_noproc(void **state)
{
    (void)state;
    kit_each_seed(link_to_dead);
}

static void unlink_holds(void)
{
    rusm_pid pid = kit_spawn(kit_body_wait, NULL);

    assert_int_equal(rusm_link(pid), RUSM_OK);
    assert_int_equal(rusm_unlink(pid), RUSM_OK);
    assert_int_equal(rusm_unlink(pid), RUSM_OK);
    assert_int_equal(kit_info(pid).links, 0);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    kit_silence();

    /* One that was there stays. */
    pid = kit_spawn(kit_body_wait, NULL);
    assert_int_equal(rusm_link(pid), RUSM_OK);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    kit_settle();
    assert_int_equal(rusm_unlink(pid), RUSM_OK);
    (void)kit_expect(RUSM_MSG_EXIT, pid, RUSM_REASON_KILLED);
    kit_silence();
    assert_int_equal(rusm_unlink(kit.self), RUSM_OK);
    assert_int_equal(rusm_unlink((rusm_pid){1, 1}), RUSM_OK);
    assert_int_equal(rusm_unlink(RUSM_PID_NONE), RUSM_OK);
}

static void test_nothing_comes_after_unlink(void **state)
{
    (void)state;
    kit_each_seed(unlink_holds);
}

static void exit_before_down(void)
{
    rusm_pid pid = kit_spawn(kit_body_wait, NULL);

    assert_int_equal(rusm_monitor(pid, NULL), RUSM_OK);
    assert_int_equal(rusm_link(pid), RUSM_OK);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    (void)kit_expect(RUSM_MSG_EXIT, pid, RUSM_REASON_KILLED);
    (void)kit_expect(RUSM_MSG_DOWN, pid, RUSM_REASON_KILLED);
    kit_silence();
}

static void test_who_has_both_hears_the_exit_first(void **state)
{
    (void)state;
    kit_each_seed(exit_before_down);
}

/* ---- cascades -------------------------------------------------------------------------------- */

#define CHAIN 30

static rusm_pid chain[CHAIN];

static void body_chain(void *arg)
{
    size_t at = (size_t)(uintptr_t)arg;

    if (at + 1 < CHAIN) {
        assert_int_equal(rusm_spawn_link(body_chain, (void *)(uintptr_t)(at + 1), &chain[at + 1]),
                         RUSM_OK);
        kit_body_wait(NULL);
    }
    rusm_crash("the end of the chain");
}

static void cascade(void)
{
    assert_int_equal(rusm_spawn_link(body_chain, (void *)0, &chain[0]), RUSM_OK);
    assert_string_equal(kit_expect(RUSM_MSG_EXIT, chain[0], RUSM_REASON_CRASHED),
                        "the end of the chain");
    for (size_t i = 0; i < CHAIN; i++) {
        assert_false(rusm_is_alive(chain[i]));
    }
    kit_silence();
}

static void test_a_cascade_carries_the_first_cause(void **state)
{
    (void)state;
    kit_each_seed(cascade);
}

/* All of a ring end once, with the cause of the first. */
static rusm_pid ring[CHAIN];

static void body_ring(void *arg)
{
    size_t at = (size_t)(uintptr_t)arg;

    assert_int_equal(rusm_link(ring[(at + 1) % CHAIN]), RUSM_OK);
    kit_body_wait(NULL);
}

static void ring_falls(void)
{
    size_t first = (size_t)rusm_test_random(kit.pool, CHAIN);
    rusm_reason reason = rusm_reason_crashed("pushed");

    for (size_t i = 0; i < CHAIN; i++) {
        ring[i] = kit_spawn(body_ring, (void *)(uintptr_t)i);
        assert_int_equal(rusm_monitor(ring[i], NULL), RUSM_OK);
    }
    kit_settle();
    assert_int_equal(rusm_exit_process(ring[first], &reason), RUSM_OK);
    for (size_t i = 0; i < CHAIN; i++) {
        rusm_msg *msg = kit_receive();

        assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_DOWN);
        assert_int_equal(rusm_msg_reason(msg)->kind, RUSM_REASON_CRASHED);
        assert_string_equal(rusm_msg_reason(msg)->text, "pushed");
        rusm_msg_del(msg);
    }
    kit_silence();
}

static void test_a_ring_falls_once(void **state)
{
    (void)state;
    kit_each_seed(ring_falls);
}

/* ---- exit signals ---------------------------------------------------------------------------- */

static void exit_reasons(void)
{
    rusm_reason reason = rusm_reason_make(RUSM_REASON_NORMAL);
    rusm_pid pid = kit_spawn(kit_body_wait, NULL);
    rusm_pid trapper = kit_spawn(body_trap, NULL);

    kit_settle();
    assert_int_equal(rusm_monitor(pid, NULL), RUSM_OK);
    assert_int_equal(rusm_exit_process(pid, &reason), RUSM_OK);
    kit_silence();
    assert_true(rusm_is_alive(pid));

    /* The first reason stands, whatever comes afterwards. */
    reason = rusm_reason_crashed("first");
    assert_int_equal(rusm_exit_process(pid, &reason), RUSM_OK);
    reason = rusm_reason_crashed("second");
    assert_int_equal(rusm_exit_process(pid, &reason), RUSM_OK);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    assert_string_equal(kit_expect(RUSM_MSG_DOWN, pid, RUSM_REASON_CRASHED), "first");
    kit_silence();
    assert_int_equal(rusm_exit_process(pid, &reason), RUSM_ENOPROC);

    /* Killed is a kill: it is not trapped. */
    reason = rusm_reason_make(RUSM_REASON_KILLED);
    assert_int_equal(rusm_monitor(trapper, NULL), RUSM_OK);
    assert_int_equal(rusm_exit_process(trapper, &reason), RUSM_OK);
    (void)kit_expect(RUSM_MSG_DOWN, trapper, RUSM_REASON_KILLED);
    kit_silence();

    /* A link whose other end was killed is heard as such, and can be trapped. */
    pid = kit_spawn(kit_body_wait, NULL);
    assert_int_equal(rusm_link(pid), RUSM_OK);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    (void)kit_expect(RUSM_MSG_EXIT, pid, RUSM_REASON_KILLED);
}

static void test_exit_signals_by_reason(void **state)
{
    (void)state;
    kit_each_seed(exit_reasons);
}

static void bad_arguments(void)
{
    rusm_reason reason = rusm_reason_make((rusm_reason_kind)99);
    rusm_reason unterminated = rusm_reason_make(RUSM_REASON_CRASHED);
    rusm_pid pid = kit_spawn(kit_body_wait, NULL);

    memset(unterminated.text, 'x', sizeof(unterminated.text));
    assert_int_equal(rusm_exit_process(pid, &reason), RUSM_EINVAL);
    assert_int_equal(rusm_exit_process(pid, &unterminated), RUSM_EINVAL);
    assert_int_equal(rusm_exit_process(pid, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_link(RUSM_PID_NONE), RUSM_EINVAL);
    assert_int_equal(rusm_monitor(RUSM_PID_NONE, NULL), RUSM_EINVAL);
    kit_settle();
    assert_true(rusm_is_alive(pid));
    rusm_thread_leave();
    assert_int_equal(rusm_link(pid), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_unlink(pid), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_monitor(pid, NULL), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_spawn_link(kit_body_wait, NULL, NULL), RUSM_EINVAL);
    assert_false(rusm_trap_exit(true));
    assert_false(rusm_demonitor((rusm_ref){kit.self.incarnation, 1}, true));
    reason = rusm_reason_crashed("from outside");
    assert_int_equal(rusm_exit_process(pid, &reason), RUSM_OK); /* any thread may */
    kit_settle();
    assert_false(rusm_is_alive(pid));
    assert_int_equal(rusm_thread_enter(kit.rt, "test"), RUSM_OK);
}

static void test_bad_arguments_change_nothing(void **state)
{
    (void)state;
    kit_each_seed(bad_arguments);
}

static void body_exit_self(void *arg)
{
    rusm_reason reason = rusm_reason_make(RUSM_REASON_NORMAL);

    if (arg != NULL) {
        (void)rusm_trap_exit(true);
    }
    (void)!rusm_exit_process(rusm_self(), &reason);
    assert_non_null(arg);
    reason = rusm_reason_make(RUSM_REASON_KILLED);
    (void)!rusm_exit_process(rusm_self(), &reason);
    assert_true(false);
}

/* "normal is ignored by every process but the caller itself". */
static void exit_self(void)
{
    rusm_pid pid;

    assert_int_equal(rusm_spawn_monitor(body_exit_self, NULL, &pid, NULL), RUSM_OK);
    (void)kit_expect(RUSM_MSG_DOWN, pid, RUSM_REASON_NORMAL);
    assert_int_equal(rusm_spawn_monitor(body_exit_self, &kit, &pid, NULL), RUSM_OK);
    (void)kit_expect(RUSM_MSG_DOWN, pid, RUSM_REASON_KILLED);
    kit_silence();
}

static void test_a_process_may_send_itself_an_exit(void **state)
{
    (void)state;
    kit_each_seed(exit_self);
}

static void body_untrap(void *arg)
{
    (void)arg;
    assert_false(rusm_trap_exit(true));
    assert_true(rusm_trap_exit(true));
    assert_int_equal(rusm_send(kit.self, "on", 2), RUSM_OK);
    {
        rusm_msg *msg;

        assert_int_equal(rusm_receive(&msg, RUSM_INFINITY), RUSM_OK);
        assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_EXIT);
        rusm_msg_del(msg);
    }
    assert_true(rusm_trap_exit(false));
    assert_int_equal(rusm_send(kit.self, "off", 3), RUSM_OK);
    kit_body_wait(NULL);
}

static void trap_switch(void)
{
    rusm_reason reason = rusm_reason_make(RUSM_REASON_SHUTDOWN);
    rusm_pid pid = kit_spawn(body_untrap, NULL);

    assert_int_equal(rusm_monitor(pid, NULL), RUSM_OK);
    kit_expect_data(pid, "on");
    assert_true(kit_info(pid).trap_exit);
    assert_int_equal(rusm_exit_process(pid, &reason), RUSM_OK);
    kit_expect_data(pid, "off");
    assert_int_equal(rusm_exit_process(pid, &reason), RUSM_OK);
    (void)kit_expect(RUSM_MSG_DOWN, pid, RUSM_REASON_SHUTDOWN);
}

static void test_trap_exit_is_switched_on_and_off(void **state)
{
    (void)state;
    kit_each_seed(trap_switch);
}

/* What one asks in order happens in order: a monitor after a fatal exit finds nobody. */
static void signals_keep_order(void)
{
    rusm_reason reason = rusm_reason_crashed("asked");
    rusm_pid pid = kit_spawn(kit_body_wait, NULL);

    assert_int_equal(rusm_monitor(pid, NULL), RUSM_OK);
    assert_int_equal(rusm_exit_process(pid, &reason), RUSM_OK);
    assert_int_equal(rusm_monitor(pid, NULL), RUSM_OK);
    for (int i = 0; i < 2; i++) {
        rusm_msg *msg = kit_receive();

        assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_DOWN);
        assert_int_equal(rusm_msg_reason(msg)->kind,
                         i == 0 ? RUSM_REASON_CRASHED : RUSM_REASON_NOPROC);
        rusm_msg_del(msg);
    }
    kit_silence();
}

static void test_a_request_after_a_fatal_exit_finds_nobody(void **state)
{
    (void)state;
    kit_each_seed(signals_keep_order);
}

/* ---- spawning -------------------------------------------------------------------------------- */

static void spawn_bound(void)
{
    rusm_spawn_config cfg;
    static char early[] = "early";
    rusm_ref ref = {0, 0};
    rusm_pid pid, other;
    rusm_msg *msg;

    assert_int_equal(rusm_spawn_link(body_crash, early, &pid), RUSM_OK);
    assert_string_equal(kit_expect(RUSM_MSG_EXIT, pid, RUSM_REASON_CRASHED), "early");
    assert_int_equal(rusm_spawn_monitor(body_shutdown, NULL, &pid, &ref), RUSM_OK);
    msg = kit_receive();
    assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_DOWN);
    assert_true(rusm_ref_equal(rusm_msg_ref(msg), ref));
    assert_int_equal(rusm_msg_reason(msg)->kind, RUSM_REASON_SHUTDOWN);
    rusm_msg_del(msg);

    rusm_spawn_config_init(&cfg);
    cfg.link = true;
    cfg.out_ref = &ref;
    cfg.trap_exit = true;
    cfg.name = "bound";
    assert_int_equal(rusm_spawn_with(NULL, kit_body_wait, NULL, &cfg, &pid), RUSM_OK);
    assert_int_equal(kit_info(pid).links, 1);
    assert_int_equal(kit_info(pid).monitored_by, 1);
    assert_true(kit_info(pid).trap_exit);
    /* A spawn that fails leaves no tie. */
    assert_int_equal(rusm_spawn_with(NULL, kit_body_wait, NULL, &cfg, &other), RUSM_EEXIST);
    assert_int_equal(kit_info(kit.self).links, 1);
    assert_int_equal(kit_info(kit.self).monitors, 1);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    (void)kit_expect(RUSM_MSG_EXIT, pid, RUSM_REASON_KILLED);
    assert_int_equal(rusm_whereis(kit.rt, "bound", &other), RUSM_ENONAME);
    (void)kit_expect(RUSM_MSG_DOWN, pid, RUSM_REASON_KILLED);
    kit_silence();
}

static void test_spawn_with_link_and_monitor_is_atomic(void **state)
{
    (void)state;
    kit_each_seed(spawn_bound);
}

/* ---- threads --------------------------------------------------------------------------------- */

/* The heir runs only when the thread has come back, under the pid that it then tells. */
static void thread_is_ended(void)
{
    rusm_reason reason = rusm_reason_crashed("not trapped");
    rusm_pid pid, heir;
    rusm_msg *msg;

    (void)rusm_trap_exit(false);
    assert_int_equal(rusm_spawn_link(body_end_as_told, NULL, &pid), RUSM_OK);
    heir = kit_spawn(body_trap, NULL);
    kit_settle();
    assert_int_equal(rusm_link(heir), RUSM_OK);
    tell_to_end(pid, reason);
    assert_int_equal(rusm_receive(&msg, RUSM_INFINITY), RUSM_EKILLED);
    assert_int_equal(rusm_sleep(1), RUSM_EKILLED);
    rusm_thread_leave();
    assert_true(rusm_is_alive(heir)); /* it traps */
    assert_int_equal(rusm_thread_enter(kit.rt, "again"), RUSM_OK);
    kit.self = rusm_self();
    kit_expect_data(heir, "crashed:not trapped");
}

static void test_a_thread_passes_the_cause_on(void **state)
{
    (void)state;
    kit_each_seed(thread_is_ended);
}

static void thread_leaves(void)
{
    rusm_pid heir = kit_spawn(body_trap, NULL);

    kit_settle();
    assert_int_equal(rusm_link(heir), RUSM_OK);
    assert_int_equal(rusm_monitor(heir, NULL), RUSM_OK);
    rusm_thread_leave();
    assert_int_equal(kit_info(heir).monitored_by, 0);
    assert_int_equal(rusm_thread_enter(kit.rt, "again"), RUSM_OK);
    kit.self = rusm_self();
    kit_expect_data(heir, "normal:");
}

static void test_a_thread_that_leaves_ends_normally(void **state)
{
    (void)state;
    kit_each_seed(thread_leaves);
}

/* ---- two runtimes ---------------------------------------------------------------------------- */

static void across(void)
{
    rusm_runtime_config cfg;
    rusm_spawn_config spawn;
    rusm_runtime *other;
    rusm_reason reason = rusm_reason_crashed("across");
    rusm_pid pid, bound;
    rusm_ref ref, none;

    rusm_runtime_config_init(&cfg);
    cfg.pool = kit.pool;
    assert_int_equal(rusm_runtime_new(&other, &cfg), RUSM_OK);
    assert_int_equal(rusm_spawn(other, kit_body_wait, NULL, &pid), RUSM_OK);
    assert_true(pid.incarnation != kit.self.incarnation);
    assert_int_equal(rusm_link(pid), RUSM_OK);
    assert_int_equal(rusm_monitor(pid, &ref), RUSM_OK);
    assert_int_equal(rusm_monitor(pid, &none), RUSM_OK);
    assert_true(rusm_demonitor(none, false));
    assert_int_equal(rusm_exit_process(pid, &reason), RUSM_OK);
    assert_string_equal(kit_expect(RUSM_MSG_EXIT, pid, RUSM_REASON_CRASHED), "across");
    assert_string_equal(kit_expect(RUSM_MSG_DOWN, pid, RUSM_REASON_CRASHED), "across");

    /* Spawned there, bound here. Its runtime ends, and then a pid of it is nobody's. */
    rusm_spawn_config_init(&spawn);
    spawn.link = true;
    spawn.out_ref = &ref;
    assert_int_equal(rusm_spawn_with(other, kit_body_wait, NULL, &spawn, &bound), RUSM_OK);
    assert_int_equal(rusm_spawn(other, body_link_to, &kit.self, &pid), RUSM_OK);
    kit_expect_data(pid, "linked");
    assert_int_equal(rusm_unlink(pid), RUSM_OK);
    assert_int_equal(kit_info(kit.self).links, 1);
    rusm_runtime_del(other);
    (void)kit_expect(RUSM_MSG_EXIT, bound, RUSM_REASON_KILLED);
    (void)kit_expect(RUSM_MSG_DOWN, bound, RUSM_REASON_KILLED);
    assert_int_equal(rusm_link(bound), RUSM_OK);
    (void)kit_expect(RUSM_MSG_EXIT, bound, RUSM_REASON_NOPROC);
    kit_silence();
}

static void test_links_and_monitors_between_two_runtimes(void **state)
{
    (void)state;
    kit_each_seed(across);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_end_has_one_down_per_monitor_with_its_reason),
        cmocka_unit_test(test_monitor_of_a_dead_process_is_down_at_once),
        cmocka_unit_test(test_down_comes_after_what_the_process_had_sent),
        cmocka_unit_test(test_demonitor_keeps_or_flushes_what_has_come),
        cmocka_unit_test(test_a_monitor_belongs_to_who_made_it),
        cmocka_unit_test(test_hundreds_of_ties_of_one_process),
        cmocka_unit_test(test_linking_twice_is_one_link),
        cmocka_unit_test(test_all_ends_but_normal_end_who_is_linked_and_does_not_trap),
        cmocka_unit_test(test_a_link_to_a_dead_process_breaks_with_noproc),
        cmocka_unit_test(test_nothing_comes_after_unlink),
        cmocka_unit_test(test_who_has_both_hears_the_exit_first),
        cmocka_unit_test(test_a_cascade_carries_the_first_cause),
        cmocka_unit_test(test_a_ring_falls_once),
        cmocka_unit_test(test_exit_signals_by_reason),
        cmocka_unit_test(test_bad_arguments_change_nothing),
        cmocka_unit_test(test_a_process_may_send_itself_an_exit),
        cmocka_unit_test(test_trap_exit_is_switched_on_and_off),
        cmocka_unit_test(test_a_request_after_a_fatal_exit_finds_nobody),
        cmocka_unit_test(test_spawn_with_link_and_monitor_is_atomic),
        cmocka_unit_test(test_a_thread_passes_the_cause_on),
        cmocka_unit_test(test_a_thread_that_leaves_ends_normally),
        cmocka_unit_test(test_links_and_monitors_between_two_runtimes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
