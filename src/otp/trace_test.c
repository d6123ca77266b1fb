/* SPDX-License-Identifier: MIT */
/* Traces: what is recorded and in which order, what is kept, and their limits; on virtual time. */
#include "otp/kit_fixture_test.h"

#include "otp/trace.h"

#include <pthread.h>
#include <rusm/otp/trace.h>

static size_t read_all(rusm_trace *trace, rusm_trace_record *records, size_t max)
{
    uint64_t lost;
    size_t len = rusm_trace_read(trace, records, max, &lost);

    assert_int_equal(lost, 0);
    return len;
}

static size_t count(const rusm_trace_record *records, size_t len, rusm_trace_event event)
{
    size_t found = 0;

    for (size_t i = 0; i < len; i++) {
        found += records[i].event == event ? 1 : 0;
    }
    return found;
}

static const rusm_trace_record *find(const rusm_trace_record *records, size_t len,
                                     rusm_trace_event event, size_t nth)
{
    for (size_t i = 0; i < len; i++) {
        if (records[i].event == event && nth-- == 0) {
            return &records[i];
        }
    }
    fail_msg("there is no %s", rusm_trace_event_name(event));
    return NULL;
}

/* Answers each message to its sender, and ends with the third. */
static void body_echo(void *arg)
{
    (void)arg;
    for (int i = 0; i < 3; i++) {
        rusm_msg *msg;

        assert_int_equal(rusm_receive(&msg, RUSM_INFINITY), RUSM_OK);
        assert_int_equal(rusm_send_msg(rusm_msg_sender(msg), msg), RUSM_OK);
    }
    rusm_crash("enough");
}

static void whole_life(void)
{
    rusm_pid echo = kit_spawn(body_echo, NULL);
    rusm_trace_record records[100];
    const rusm_trace_record *record;
    rusm_trace *trace;
    size_t len;

    assert_int_equal(rusm_trace_new(&trace, echo, 100), RUSM_OK);
    assert_int_equal(rusm_link(echo), RUSM_OK);
    for (size_t i = 1; i <= 3; i++) {
        assert_int_equal(rusm_send(echo, "abc", i), RUSM_OK);
        rusm_msg_del(kit_receive());
    }
    (void)kit_expect(RUSM_MSG_EXIT, echo, RUSM_REASON_CRASHED);
    len = read_all(trace, records, 100);
    assert_int_equal(count(records, len, RUSM_TRACE_SEND), 3);
    assert_int_equal(count(records, len, RUSM_TRACE_ARRIVE), 3);
    assert_int_equal(count(records, len, RUSM_TRACE_RECEIVE), 3);
    assert_int_equal(count(records, len, RUSM_TRACE_EXIT), 1);
    assert_int_equal(count(records, len, RUSM_TRACE_LINK), 1);
    /* It is in once more than out: the last time it does not come back. */
    assert_int_equal(count(records, len, RUSM_TRACE_IN), count(records, len, RUSM_TRACE_OUT) + 1);
    for (size_t i = 0; i < 3; i++) {
        record = find(records, len, RUSM_TRACE_ARRIVE, i);
        assert_true(rusm_pid_equal(record->other, kit.self));
        assert_int_equal(record->kind, RUSM_MSG_DATA);
        assert_int_equal(record->len, i + 1);
        assert_true(record < find(records, len, RUSM_TRACE_RECEIVE, i));
        assert_true(find(records, len, RUSM_TRACE_RECEIVE, i) <
                    find(records, len, RUSM_TRACE_SEND, i));
        record = find(records, len, RUSM_TRACE_SEND, i);
        assert_true(rusm_pid_equal(record->other, kit.self));
        assert_int_equal(record->len, i + 1);
    }
    assert_true(rusm_pid_equal(find(records, len, RUSM_TRACE_LINK, 0)->other, kit.self));
    assert_int_equal(records[len - 1].event, RUSM_TRACE_EXIT);
    assert_int_equal(records[len - 1].reason, RUSM_REASON_CRASHED);
    assert_int_equal(records[0].at_ns, rusm_test_now(kit.pool));
    assert_int_equal(read_all(trace, records, 100), 0);
    rusm_trace_del(trace);
}

static void test_a_life_is_recorded_in_order(void **state)
{
    (void)state;
    kit_each_seed(whole_life);
}

static void newest(void)
{
    rusm_pid pid = kit_spawn(kit_body_wait, NULL);
    rusm_trace_record records[8];
    rusm_trace *trace;
    uint64_t lost;

    kit_settle();
    assert_int_equal(rusm_trace_new(&trace, pid, 5), RUSM_OK);
    for (size_t i = 0; i < 12; i++) {
        assert_int_equal(rusm_send(pid, "abcdefghijkl", i), RUSM_OK);
    }
    assert_int_equal(rusm_trace_read(trace, records, 3, &lost), 3);
    assert_int_equal(lost, 7);
    assert_int_equal(records[0].len, 7);
    assert_int_equal(rusm_trace_read(trace, records, 8, &lost), 2);
    assert_int_equal(lost, 0);
    assert_int_equal(records[1].len, 11);
    rusm_trace_del(trace);
}

static void test_the_newest_are_kept_and_the_lost_are_counted(void **state)
{
    (void)state;
    kit_each_seed(newest);
}

/* What a full mailbox refuses has not arrived. */
static void refused(void)
{
    rusm_trace_record records[8];
    rusm_spawn_config cfg;
    rusm_trace *trace;
    rusm_pid pid;

    rusm_spawn_config_init(&cfg);
    cfg.mailbox_max = 2;
    assert_int_equal(rusm_spawn_with(kit.rt, kit_body_wait, NULL, &cfg, &pid), RUSM_OK);
    assert_int_equal(rusm_trace_new(&trace, pid, 8), RUSM_OK);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(rusm_send(pid, "x", 1), i < 2 ? RUSM_OK : RUSM_EFULL);
    }
    assert_int_equal(read_all(trace, records, 8), 2);
    rusm_trace_del(trace);
}

static void test_what_is_refused_does_not_arrive(void **state)
{
    (void)state;
    kit_each_seed(refused);
}

static void test_limits_and_misuse(void **state)
{
    rusm_trace *traces[RUSMI_TRACES_MAX], *more = NULL;
    rusm_pid pid;

    (void)state;
    kit_open(1);
    pid = kit_spawn(kit_body_wait, NULL);
    assert_int_equal(rusm_trace_new(NULL, pid, 1), RUSM_EINVAL);
    assert_int_equal(rusm_trace_new(&more, pid, 0), RUSM_EINVAL);
    assert_int_equal(rusm_trace_new(&more, pid, RUSMI_TRACE_RECORDS_MAX + 1), RUSM_EINVAL);
    assert_int_equal(rusm_trace_new(&more, RUSM_PID_NONE, 1), RUSM_ENOPROC);
    for (size_t i = 0; i < RUSMI_TRACES_MAX; i++) {
        assert_int_equal(rusm_trace_new(&traces[i], kit_spawn(kit_body_wait, NULL), 1), RUSM_OK);
    }
    assert_int_equal(rusm_trace_new(&more, pid, 1), RUSM_EFULL);
    rusm_trace_del(traces[7]);
    assert_int_equal(rusm_trace_new(&traces[7], pid, 1), RUSM_OK);
    rusm_trace_del(traces[8]);
    assert_int_equal(rusm_trace_new(&more, pid, 1), RUSM_EEXIST);
    assert_null(more);
    assert_int_equal(rusm_trace_new(&traces[8], kit.self, 1), RUSM_OK);
    for (size_t i = 0; i < RUSMI_TRACES_MAX; i++) {
        rusm_trace_del(traces[i]);
    }
    rusm_trace_del(NULL);
    /* Nothing is left behind: as many again. */
    assert_int_equal(rusm_trace_new(&more, pid, 1), RUSM_OK);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    kit_settle();
    /* A trace outlives its process, and the next one of the slot is not traced by it. */
    pid = kit_spawn(kit_body_wait, NULL);
    assert_int_equal(rusm_send(pid, "x", 1), RUSM_OK);
    kit_settle();
    {
        rusm_trace_record record;

        assert_int_equal(rusm_trace_read(more, &record, 1, NULL), 1);
        assert_int_equal(record.event, RUSM_TRACE_EXIT);
        assert_int_equal(record.reason, RUSM_REASON_KILLED);
    }
    rusm_trace_del(more);
    kit_close();
}

/* ---- threads --------------------------------------------------------------------------------- */

static struct {
    _Atomic(uint32_t) stop;
    rusm_runtime *rt;
    _Atomic(uint64_t) serial;
} busy;

static void body_once(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    atomic_store(&busy.serial, rusm_self().serial);
    if (rusm_receive(&msg, 1) == RUSM_OK) {
        rusm_msg_del(msg);
    }
}

static void *spawner(void *arg)
{
    (void)arg;
    while (atomic_load(&busy.stop) == 0) {
        rusm_pid pid;

        if (rusm_spawn(busy.rt, body_once, NULL, &pid) == RUSM_OK) {
            (void)!rusm_send(pid, "x", 1);
        }
    }
    return NULL;
}

/* Traces begin and end while what they trace runs, is sent to and ends on other threads. */
static void test_traces_come_and_go_among_threads(void **state)
{
    rusm_runtime *rt;
    pthread_t thread;
    uint64_t records = 0;

    (void)state;
    assert_int_equal(rusm_runtime_new(&rt, NULL), RUSM_OK);
    busy.rt = rt;
    assert_int_equal(pthread_create(&thread, NULL, spawner, NULL), 0);
    for (int i = 0; i < 3000 || records == 0; i++) {
        rusm_pid pid = {rusm_runtime_incarnation(rt), atomic_load(&busy.serial)};
        rusm_trace_record got[4];
        rusm_trace *trace;

        if (rusm_trace_new(&trace, pid, 4) == RUSM_OK) {
            (void)!rusm_send(pid, "y", 1);
            records += rusm_trace_read(trace, got, 4, NULL);
            rusm_trace_del(trace);
        }
    }
    atomic_store(&busy.stop, 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    rusm_runtime_del(rt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_life_is_recorded_in_order),
        cmocka_unit_test(test_the_newest_are_kept_and_the_lost_are_counted),
        cmocka_unit_test(test_what_is_refused_does_not_arrive),
        cmocka_unit_test(test_limits_and_misuse),
        cmocka_unit_test(test_traces_come_and_go_among_threads),
    };

    return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
