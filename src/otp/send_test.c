/* SPDX-License-Identifier: MIT */
/* Messages: order, selective receive, time-outs, refusals, senders outside the pool, crowded
 * mailboxes, the router. */
#include "otp/fixture_test.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#define STORM_THREADS 4
#define STORM_COUNT   20000

static rusm_pid spawn(struct fixture *fixture, rusm_process_fn fn, void *arg)
{
    rusm_pid pid;

    assert_int_equal(rusm_spawn(fixture->rt, fn, arg, &pid), RUSM_OK);
    return pid;
}

static void enter(struct fixture *fixture)
{
    assert_int_equal(rusm_thread_enter(fixture->rt, "test"), RUSM_OK);
}

static void send_number(rusm_pid to, uint64_t number)
{
    assert_int_equal(rusm_send(to, &number, sizeof(number)), RUSM_OK);
}

static uint64_t number_of(const rusm_msg *msg)
{
    uint64_t number;

    memcpy(&number, rusm_msg_data(msg), sizeof(number));
    return number;
}

static uint64_t receive_number(void)
{
    rusm_msg *msg;
    uint64_t number;

    assert_int_equal(rusm_receive(&msg, TEST_LIMIT_MS), RUSM_OK);
    number = number_of(msg);
    rusm_msg_del(msg);
    return number;
}

static bool match_number(const rusm_msg *msg, void *arg)
{
    return number_of(msg) == *(uint64_t *)arg;
}

static bool match_odd(const rusm_msg *msg, void *arg)
{
    (void)arg;
    return number_of(msg) % 2 == 1;
}

/* ---- order ---- */

static void test_messages_arrive_in_sending_order(void **state)
{
    enter(*state);
    for (uint64_t i = 0; i < 1000; i++) {
        send_number(rusm_self(), i);
        if (i == 500) {
            assert_int_equal(receive_number(), 0);
        }
    }
    for (uint64_t i = 1; i < 1000; i++) {
        assert_int_equal(receive_number(), i);
    }
    rusm_thread_leave();
}

static void test_selective_receive_keeps_the_order_of_the_others(void **state)
{
    rusm_msg *msg;
    uint64_t wanted = 7;

    enter(*state);
    for (uint64_t i = 0; i < 10; i++) {
        send_number(rusm_self(), i);
    }
    assert_int_equal(rusm_receive_match(&msg, match_number, &wanted, 0), RUSM_OK);
    assert_int_equal(number_of(msg), 7);
    rusm_msg_del(msg);
    for (uint64_t i = 1; i < 10; i += 2) {
        if (i == 7) {
            continue;
        }
        assert_int_equal(rusm_receive_match(&msg, match_odd, NULL, 0), RUSM_OK);
        assert_int_equal(number_of(msg), i);
        rusm_msg_del(msg);
    }
    assert_int_equal(rusm_receive_match(&msg, match_odd, NULL, 1), RUSM_ETIMEOUT);
    send_number(rusm_self(), 10);
    for (uint64_t i = 0; i <= 10; i += 2) {
        assert_int_equal(receive_number(), i);
    }
    assert_int_equal(rusm_receive(&msg, 0), RUSM_ETIMEOUT);
    assert_int_equal(rusm_receive_match(&msg, NULL, NULL, 0), RUSM_EINVAL);
    rusm_thread_leave();
}

/* The last message of the list is taken out of its middle, and the list goes on after it. */
static void test_selective_receive_of_the_last_message(void **state)
{
    rusm_msg *msg;
    uint64_t wanted = 2;

    enter(*state);
    send_number(rusm_self(), 1);
    send_number(rusm_self(), 2);
    assert_int_equal(rusm_receive_match(&msg, match_number, &wanted, 0), RUSM_OK);
    rusm_msg_del(msg);
    send_number(rusm_self(), 3);
    assert_int_equal(receive_number(), 1);
    assert_int_equal(receive_number(), 3);
    rusm_thread_leave();
}

struct selecting {
    struct fixture *fixture;
    rusm_err err;
    uint64_t got;
};

static void body_select(void *arg)
{
    struct selecting *selecting = arg;
    uint64_t wanted = 99;
    rusm_msg *msg;

    selecting->err = rusm_receive_match(&msg, match_number, &wanted, RUSM_INFINITY);
    if (selecting->err == RUSM_OK) {
        selecting->got = number_of(msg);
        rusm_msg_del(msg);
    }
    fixture_count(selecting->fixture);
}

static void test_selective_receive_waits_past_messages_it_does_not_want(void **state)
{
    struct fixture *fixture = *state;
    struct selecting selecting = {.fixture = fixture};
    rusm_pid pid = spawn(fixture, body_select, &selecting);
    rusm_runtime_stats stats;

    for (uint64_t i = 0; i < 200; i++) {
        send_number(pid, i == 150 ? 98 : i % 90);
    }
    fixture_until(fixture_state(pid) == RUSM_PROCESS_RECEIVING);
    send_number(pid, 99);
    fixture_wait_count(fixture, &fixture->count, 1);
    assert_int_equal(selecting.err, RUSM_OK);
    assert_int_equal(selecting.got, 99);
    assert_int_equal(rusm_runtime_stop(fixture->rt, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_runtime_get_stats(fixture->rt, &stats), RUSM_OK);
    assert_int_equal(stats.messages_unread, 200);
}

/* ---- time ---- */

static void body_timeouts(void *arg)
{
    struct selecting *selecting = arg;
    rusm_time start = rusm_now();
    rusm_msg *msg;

    selecting->err = rusm_receive(&msg, 0);
    if (selecting->err == RUSM_ETIMEOUT) {
        selecting->err = rusm_receive(&msg, 20);
    }
    selecting->got = rusm_now() - start;
    fixture_count(selecting->fixture);
}

static void test_receive_times_out_and_never_early(void **state)
{
    struct fixture *fixture = *state;
    struct selecting selecting = {.fixture = fixture};

    (void)spawn(fixture, body_timeouts, &selecting);
    fixture_wait_count(fixture, &fixture->count, 1);
    assert_int_equal(selecting.err, RUSM_ETIMEOUT);
    assert_true(selecting.got >= 20 * 1000000u);
}

/* Messages that do not match do not start the time allowed anew. */
static void body_match_timeout(void *arg)
{
    struct selecting *selecting = arg;
    uint64_t wanted = 99;
    rusm_msg *msg;

    selecting->err = rusm_receive_match(&msg, match_number, &wanted, 30);
    fixture_count(selecting->fixture);
}

static void test_time_allowed_runs_over_the_whole_selective_receive(void **state)
{
    struct fixture *fixture = *state;
    struct selecting selecting = {.fixture = fixture};
    rusm_pid pid = spawn(fixture, body_match_timeout, &selecting);
    uint64_t number = 1;

    /* It ends although messages keep coming, because rusm_send() finds it gone one day. */
    fixture_until(rusm_send(pid, &number, sizeof(number)) == RUSM_ENOPROC);
    fixture_wait_count(fixture, &fixture->count, 1);
    assert_int_equal(selecting.err, RUSM_ETIMEOUT);
}

/* ---- refusals ---- */

static void test_sends_are_refused_with_their_reason(void **state)
{
    struct fixture *fixture = *state;
    uint64_t here = rusm_runtime_incarnation(fixture->rt);
    rusm_runtime_stats stats;
    rusm_msg *msg;

    assert_int_equal(rusm_send(RUSM_PID_NONE, "x", 1), RUSM_EINVAL);
    assert_int_equal(rusm_send((rusm_pid){here, 12345}, "x", 1), RUSM_ENOPROC);
    assert_int_equal(rusm_send((rusm_pid){here ^ 1, 1}, "x", 1), RUSM_ENONODE);
    assert_int_equal(rusm_msg_new(&msg, 3), RUSM_OK);
    assert_int_equal(rusm_deliver(fixture->rt, 12345, msg), RUSM_ENOPROC);
    assert_int_equal(rusm_send_msg((rusm_pid){here, 12345}, msg), RUSM_ENOPROC);
    rusm_msg_del(msg); /* still ours */
    assert_int_equal(rusm_msg_new(&msg, SIZE_MAX), RUSM_ENOMEM);
    enter(fixture);
    assert_int_equal(rusm_send_name("nobody", "x", 1), RUSM_ENONAME);
    assert_int_equal(rusm_send((rusm_pid){here ^ 1, 1}, "x", 1), RUSM_ENONODE);
    rusm_thread_leave();
    assert_int_equal(rusm_runtime_get_stats(fixture->rt, &stats), RUSM_OK);
    assert_int_equal(stats.sends_noproc, 3);
    assert_int_equal(stats.sends_noname, 1);
}

static void test_empty_and_large_messages_arrive_whole(void **state)
{
    enum {
        LARGE = 3 * 1024 * 1024
    };
    char *bytes = malloc(LARGE);
    rusm_msg *msg;

    assert_non_null(bytes);
    for (size_t i = 0; i < LARGE; i++) {
        bytes[i] = (char)(i * 7);
    }
    enter(*state);
    assert_int_equal(rusm_send(rusm_self(), NULL, 0), RUSM_OK);
    assert_int_equal(rusm_send(rusm_self(), bytes, LARGE), RUSM_OK);
    assert_int_equal(rusm_receive(&msg, 0), RUSM_OK);
    assert_int_equal(rusm_msg_len(msg), 0);
    rusm_msg_del(msg);
    assert_int_equal(rusm_receive(&msg, 0), RUSM_OK);
    assert_int_equal(rusm_msg_len(msg), LARGE);
    assert_memory_equal(rusm_msg_data(msg), bytes, LARGE);
    assert_int_equal((uintptr_t)rusm_msg_data(msg) % _Alignof(max_align_t), 0);
    rusm_msg_del(msg);
    rusm_thread_leave();
    free(bytes);
}

static void test_delivery_by_name_tells_the_pid_and_keeps_the_sender(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid remote = {5, 6}, pid = {0};
    rusm_msg *msg;

    enter(fixture);
    assert_int_equal(rusm_register(NULL, "mail", rusm_self()), RUSM_OK);
    assert_int_equal(rusm_msg_new(&msg, 0), RUSM_OK);
    rusm_msg_set_sender(msg, remote);
    assert_int_equal(rusm_deliver_name(fixture->rt, "male", 4, msg, &pid), RUSM_ENONAME);
    assert_int_equal(rusm_deliver_name(fixture->rt, "mailbox", 4, msg, &pid), RUSM_OK);
    assert_true(rusm_pid_equal(pid, rusm_self()));
    assert_int_equal(rusm_receive(&msg, 0), RUSM_OK);
    assert_true(rusm_pid_equal(rusm_msg_sender(msg), remote));
    rusm_msg_del(msg);
    assert_int_equal(rusm_send_name("mail", "x", 1), RUSM_OK);
    assert_int_equal(rusm_receive(&msg, 0), RUSM_OK);
    assert_true(rusm_pid_equal(rusm_msg_sender(msg), rusm_self()));
    rusm_msg_del(msg);
    rusm_thread_leave();
}

/* ---- senders outside the pool ---- */

struct storm {
    struct fixture *fixture;
    rusm_pid to;
    uint64_t id;
};

static void *storm_thread(void *arg)
{
    const struct storm *storm = arg;

    for (uint64_t i = 0; i < STORM_COUNT; i++) {
        uint64_t number = storm->id << 32 | i;

        if (rusm_send(storm->to, &number, sizeof(number)) != RUSM_OK) {
            abort();
        }
    }
    return NULL;
}

static void body_storm_sink(void *arg)
{
    struct fixture *fixture = arg;
    uint64_t next[STORM_THREADS] = {0};

    for (int i = 0; i < STORM_THREADS * STORM_COUNT; i++) {
        rusm_msg *msg;
        uint64_t number;

        if (rusm_receive(&msg, RUSM_INFINITY) != RUSM_OK) {
            abort();
        }
        number = number_of(msg);
        if ((uint32_t)number != next[number >> 32]++) {
            abort(); /* out of order */
        }
        rusm_msg_del(msg);
    }
    fixture_count(fixture);
}

static void test_send_storm_from_threads_arrives_once_and_in_order(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid sink = spawn(fixture, body_storm_sink, fixture);
    struct storm storms[STORM_THREADS];
    pthread_t threads[STORM_THREADS];

    for (uint64_t i = 0; i < STORM_THREADS; i++) {
        storms[i] = (struct storm){fixture, sink, i};
        assert_int_equal(pthread_create(&threads[i], NULL, storm_thread, &storms[i]), 0);
    }
    for (int i = 0; i < STORM_THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    fixture_wait_count(fixture, &fixture->count, 1);
}

static void *dying_thread(void *arg)
{
    const struct storm *storm = arg;
    uint64_t sent = 0;

    while (rusm_send(storm->to, &sent, sizeof(sent)) == RUSM_OK) {
        sent++;
    }
    (void)atomic_fetch_add(&storm->fixture->count, sent);
    return NULL;
}

/* Every message that was accepted is received or counted as unread. */
static void body_receive_some(void *arg)
{
    struct fixture *fixture = arg;
    rusm_msg *msg;

    for (uint64_t i = 0; i < 100; i++) {
        if (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
            rusm_msg_del(msg);
        }
    }
    rusm_waiter_wake(fixture->done);
}

static void test_messages_to_an_ending_process_are_all_accounted_for(void **state)
{
    struct fixture *fixture = *state;
    rusm_runtime_stats stats;
    struct storm storms[STORM_THREADS];
    pthread_t threads[STORM_THREADS];

    for (int round = 0; round < 50; round++) {
        rusm_pid pid = spawn(fixture, body_receive_some, fixture);

        for (uint64_t i = 0; i < STORM_THREADS; i++) {
            storms[i] = (struct storm){fixture, pid, i};
            assert_int_equal(pthread_create(&threads[i], NULL, dying_thread, &storms[i]), 0);
        }
        for (int i = 0; i < STORM_THREADS; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
        }
    }
    assert_int_equal(rusm_runtime_stop(fixture->rt, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_runtime_get_stats(fixture->rt, &stats), RUSM_OK);
    assert_int_equal(stats.messages_unread, atomic_load(&fixture->count) - 50 * 100);
}

/* ---- crowded mailboxes ---- */

struct crowd {
    struct fixture *fixture;
    rusm_pid pid;
    _Atomic(int) now;                 /* 1: crowded */
    _Atomic(uint64_t) on, off, wrong; /* calls; calls that repeat the last */
};

static void on_crowd(void *arg, rusm_pid pid, bool crowded)
{
    struct crowd *crowd = arg;

    crowd->pid = pid;
    if (atomic_exchange(&crowd->now, crowded) == (int)crowded) {
        (void)atomic_fetch_add(&crowd->wrong, 1);
    }
    (void)atomic_fetch_add(crowded ? &crowd->on : &crowd->off, 1);
}

static void test_crowded_mailbox_is_told_above_high_and_at_low(void **state)
{
    struct fixture *fixture = *state;
    struct crowd crowd = {.fixture = fixture};

    rusm_runtime_watch_mailboxes(fixture->rt, 10, 4, 0, on_crowd, &crowd);
    enter(fixture);
    for (uint64_t i = 0; i < 10; i++) {
        send_number(rusm_self(), i);
    }
    assert_int_equal(atomic_load(&crowd.on), 0);
    send_number(rusm_self(), 10);
    assert_int_equal(atomic_load(&crowd.on), 1);
    assert_true(rusm_pid_equal(crowd.pid, rusm_self()));
    send_number(rusm_self(), 11);
    assert_int_equal(atomic_load(&crowd.on), 1);
    for (int left = 11; left >= 5; left--) {
        (void)receive_number();
    }
    assert_int_equal(atomic_load(&crowd.off), 0);
    (void)receive_number();
    assert_int_equal(atomic_load(&crowd.off), 1);
    for (uint64_t i = 0; i < 10; i++) {
        send_number(rusm_self(), i);
    }
    assert_int_equal(atomic_load(&crowd.on), 2);
    rusm_thread_leave(); /* its end is the end of the crowd */
    assert_int_equal(atomic_load(&crowd.off), 2);
    assert_int_equal(atomic_load(&crowd.wrong), 0);
    rusm_runtime_watch_mailboxes(fixture->rt, 0, 0, 0, NULL, NULL);
}

static rusm_err deliver_far(struct fixture *fixture, rusm_pid to, size_t len)
{
    rusm_msg *msg;
    rusm_err err;

    assert_int_equal(rusm_msg_new(&msg, len), RUSM_OK);
    rusm_msg_set_far(msg);
    err = rusm_deliver(fixture->rt, to.serial, msg);
    if (err != RUSM_OK) {
        rusm_msg_del(msg);
    }
    return err;
}

/* What is sent here passes, and what was received makes room; one message always fits. */
static void test_bytes_from_elsewhere_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    struct crowd crowd = {.fixture = fixture};
    rusm_msg *msg;

    rusm_runtime_watch_mailboxes(fixture->rt, 1000, 250, 10000, on_crowd, &crowd);
    enter(fixture);
    assert_int_equal(deliver_far(fixture, rusm_self(), 20000), RUSM_OK);
    assert_int_equal(atomic_load(&crowd.on), 1);
    assert_int_equal(deliver_far(fixture, rusm_self(), 10), RUSM_EFULL);
    send_number(rusm_self(), 7);
    assert_int_equal(rusm_receive(&msg, 0), RUSM_OK);
    assert_int_equal(atomic_load(&crowd.off), 1);
    rusm_msg_del(msg);
    assert_int_equal(receive_number(), 7);
    for (int i = 0; i < 9; i++) {
        assert_int_equal(deliver_far(fixture, rusm_self(), 1000), RUSM_OK);
    }
    assert_int_equal(deliver_far(fixture, rusm_self(), 1000), RUSM_EFULL);
    assert_int_equal(atomic_load(&crowd.on), 2);
    rusm_thread_leave(); /* frees what is there and gives its bytes back */
    enter(fixture);      /* into the same slot */
    for (int i = 0; i < 9; i++) {
        assert_int_equal(deliver_far(fixture, rusm_self(), 1000), RUSM_OK);
    }
    rusm_thread_leave();
    assert_int_equal(atomic_load(&crowd.wrong), 0);
    rusm_runtime_watch_mailboxes(fixture->rt, 0, 0, 0, NULL, NULL);
}

static void test_crowd_calls_alternate_under_a_storm(void **state)
{
    struct fixture *fixture = *state;
    struct crowd crowd = {.fixture = fixture};
    struct storm storms[STORM_THREADS];
    pthread_t threads[STORM_THREADS];
    rusm_pid sink;

    rusm_runtime_watch_mailboxes(fixture->rt, 8, 2, 0, on_crowd, &crowd);
    sink = spawn(fixture, body_storm_sink, fixture);
    for (uint64_t i = 0; i < STORM_THREADS; i++) {
        storms[i] = (struct storm){fixture, sink, i};
        assert_int_equal(pthread_create(&threads[i], NULL, storm_thread, &storms[i]), 0);
    }
    for (int i = 0; i < STORM_THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    fixture_wait_count(fixture, &fixture->count, 1);
    assert_int_equal(rusm_runtime_stop(fixture->rt, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(atomic_load(&crowd.wrong), 0);
    assert_int_equal(atomic_load(&crowd.on), atomic_load(&crowd.off));
}

/* ---- the router ---- */

struct routed {
    struct fixture *fixture;
    rusm_pid from, to;
    rusm_err err;
    uint64_t number;
    _Atomic(uint64_t) sends, kills;
    rusm_waiter *gate; /* NULL: do not suspend */
};

static rusm_err route_send(void *arg, rusm_pid from, rusm_pid to, rusm_msg *msg, int64_t timeout_ms)
{
    struct routed *routed = arg;

    routed->from = from;
    routed->to = to;
    (void)atomic_fetch_add(&routed->sends, 1);
    if (timeout_ms != RUSM_INFINITY) {
        return RUSM_EINVAL; /* a plain send waits for as long as it takes */
    }
    if (routed->gate != NULL) {
        rusm_err err = rusm_waiter_wait(routed->gate, timeout_ms);

        if (err != RUSM_OK) {
            return err;
        }
    }
    if (routed->err == RUSM_OK) {
        routed->number = number_of(msg);
        rusm_msg_del(msg);
    }
    return routed->err;
}

static rusm_err route_signal(void *arg, const rusm_signal *signal)
{
    struct routed *routed = arg;

    if (signal->kind == RUSM_SIGNAL_ASK_EXIT && signal->reason->kind == RUSM_REASON_KILLED) {
        routed->from = signal->from;
        routed->to = signal->to;
        (void)atomic_fetch_add(&routed->kills, 1);
    }
    return RUSM_OK;
}

static bool route_name(void *arg, uint64_t incarnation, char *buf, size_t buf_len)
{
    (void)arg;
    (void)strncpy(buf, "tokyo", buf_len);
    return incarnation == 77;
}

static const rusm_router router = {
    .send = route_send, .signal = route_signal, .node_name = route_name};

static void test_other_incarnations_go_to_the_router(void **state)
{
    struct fixture *fixture = *state;
    struct routed routed = {.fixture = fixture};
    char text[RUSM_PID_TEXT_MAX];
    rusm_pid far = {77, 42};
    uint64_t number = 5;

    enter(fixture);
    assert_int_equal(rusm_pid_format(far, text, sizeof(text)), strlen("<4d.42>"));
    assert_string_equal(text, "<4d.42>");
    rusm_runtime_set_router(fixture->rt, &router, &routed);
    assert_int_equal(rusm_send(far, &number, sizeof(number)), RUSM_OK);
    assert_true(rusm_pid_equal(routed.from, rusm_self()));
    assert_true(rusm_pid_equal(routed.to, far));
    assert_int_equal(routed.number, 5);
    assert_int_equal(rusm_kill(far), RUSM_OK);
    assert_int_equal(atomic_load(&routed.kills), 1);
    (void)rusm_pid_format(far, text, sizeof(text));
    assert_string_equal(text, "<tokyo.42>");
    routed.err = RUSM_EFULL;
    assert_int_equal(rusm_send(far, &number, sizeof(number)), RUSM_EFULL);
    rusm_runtime_set_router(fixture->rt, NULL, NULL);
    assert_int_equal(rusm_send(far, &number, sizeof(number)), RUSM_ENONODE);
    assert_int_equal(rusm_kill(far), RUSM_ENONODE);
    rusm_thread_leave();
}

static void body_send_far(void *arg)
{
    struct routed *routed = arg;
    uint64_t number = 9;

    routed->number = (uint64_t)rusm_send((rusm_pid){77, 1}, &number, sizeof(number));
    abort(); /* it is killed in the router */
}

/* A process that is killed in the router gives the message back, leaves the router, and ends. */
static void test_kill_inside_the_router_loses_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct routed routed = {.fixture = fixture};
    rusm_pid pid;

    assert_int_equal(rusm_waiter_new(&routed.gate), RUSM_OK);
    rusm_runtime_set_router(fixture->rt, &router, &routed);
    pid = spawn(fixture, body_send_far, &routed);
    fixture_until(fixture_state(pid) == RUSM_PROCESS_WAITING);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    fixture_until(!rusm_is_alive(pid));
    rusm_runtime_set_router(fixture->rt, NULL, NULL);
    rusm_waiter_drop(routed.gate);
    assert_int_equal(atomic_load(&routed.sends), 1);
}

static void *remove_router(void *arg)
{
    struct routed *routed = arg;

    rusm_runtime_set_router(routed->fixture->rt, NULL, NULL);
    (void)atomic_fetch_add(&routed->kills, 1);
    return NULL;
}

static void body_send_far_once(void *arg)
{
    struct routed *routed = arg;
    uint64_t number = 9;

    if (rusm_send((rusm_pid){77, 1}, &number, sizeof(number)) != RUSM_OK) {
        abort();
    }
    fixture_count(routed->fixture);
}

static void test_removing_the_router_waits_for_who_is_in_it(void **state)
{
    struct fixture *fixture = *state;
    struct routed routed = {.fixture = fixture};
    pthread_t thread;
    rusm_pid pid;

    assert_int_equal(rusm_waiter_new(&routed.gate), RUSM_OK);
    rusm_runtime_set_router(fixture->rt, &router, &routed);
    pid = spawn(fixture, body_send_far_once, &routed);
    fixture_until(fixture_state(pid) == RUSM_PROCESS_WAITING);
    assert_int_equal(pthread_create(&thread, NULL, remove_router, &routed), 0);
    for (int i = 0; i < 1000; i++) {
        (void)sched_yield();
        assert_int_equal(atomic_load(&routed.kills), 0);
    }
    rusm_waiter_wake(routed.gate);
    assert_int_equal(pthread_join(thread, NULL), 0);
    fixture_wait_count(fixture, &fixture->count, 1);
    assert_int_equal(routed.number, 9);
    rusm_waiter_drop(routed.gate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_messages_arrive_in_sending_order),
        fixture_test(test_selective_receive_keeps_the_order_of_the_others),
        fixture_test(test_selective_receive_of_the_last_message),
        fixture_test(test_selective_receive_waits_past_messages_it_does_not_want),
        fixture_test(test_receive_times_out_and_never_early),
        fixture_test(test_time_allowed_runs_over_the_whole_selective_receive),
        fixture_test(test_sends_are_refused_with_their_reason),
        fixture_test(test_empty_and_large_messages_arrive_whole),
        fixture_test(test_delivery_by_name_tells_the_pid_and_keeps_the_sender),
        fixture_test(test_send_storm_from_threads_arrives_once_and_in_order),
        fixture_test(test_messages_to_an_ending_process_are_all_accounted_for),
        fixture_test(test_crowded_mailbox_is_told_above_high_and_at_low),
        fixture_test(test_bytes_from_elsewhere_are_bounded),
        fixture_test(test_crowd_calls_alternate_under_a_storm),
        fixture_test(test_other_incarnations_go_to_the_router),
        fixture_test(test_kill_inside_the_router_loses_nothing),
        fixture_test(test_removing_the_router_waits_for_who_is_in_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
