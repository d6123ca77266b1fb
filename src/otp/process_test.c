/* SPDX-License-Identifier: MIT */
/* Spawn, end, kill at each kind of suspension, threads that enter, exit watches. */
#include "otp/fixture_test.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- bodies ---- */

static void body_count(void *arg)
{
    fixture_count(arg);
}

static void body_receive_forever(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_del(msg);
    }
    abort(); /* a process never sees an error of an endless receive */
}

static bool match_nothing(const rusm_msg *msg, void *arg)
{
    (void)msg;
    (void)arg;
    return false;
}

static void body_match_forever(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    (void)!rusm_receive_match(&msg, match_nothing, NULL, RUSM_INFINITY);
    abort();
}

static void body_sleep_forever(void *arg)
{
    (void)arg;
    (void)!rusm_sleep(RUSM_INFINITY);
    abort();
}

static void body_wait_fd_forever(void *arg)
{
    int *fd = arg;

    (void)!rusm_wait_fd(*fd, RUSM_FD_READ, RUSM_INFINITY);
    abort();
}

static void body_yield_forever(void *arg)
{
    (void)arg;
    for (;;) {
        rusm_yield();
    }
}

static void body_send_forever(void *arg)
{
    rusm_pid *to = arg;

    while (rusm_send(*to, "x", 1) == RUSM_OK) {
    }
}

struct waiting {
    struct fixture *fixture;
    rusm_waiter *waiter;
    rusm_err err;
};

static void body_wait_and_tell(void *arg)
{
    struct waiting *waiting = arg;

    waiting->err = rusm_waiter_wait(waiting->waiter, RUSM_INFINITY);
    fixture_count(waiting->fixture);
    rusm_checkpoint();
    abort(); /* it was killed: nothing runs after the checkpoint */
}

/* ---- watching an end ---- */

struct ended {
    rusm_exit_watch watch;
    struct fixture *fixture;
    rusm_reason reason;
    rusm_pid pid;
    _Atomic(uint64_t) calls;
    rusm_err whereis; /* of the name "watched", during the call */
};

static void on_exit_watch(void *arg, rusm_pid pid, const rusm_reason *reason)
{
    struct ended *ended = arg;
    struct fixture *fixture = ended->fixture;
    rusm_pid found;

    ended->reason = *reason;
    ended->pid = pid;
    ended->whereis = rusm_whereis(fixture->rt, "watched", &found);
    (void)atomic_fetch_add(&ended->calls, 1); /* after this, the test may reuse *ended */
    rusm_waiter_wake(fixture->done);
}

static void watch(struct fixture *fixture, struct ended *ended, rusm_pid pid)
{
    memset(ended, 0, sizeof(*ended));
    ended->fixture = fixture;
    ended->watch.fn = on_exit_watch;
    ended->watch.arg = ended;
    assert_int_equal(rusm_watch_exit(&ended->watch, pid), RUSM_OK);
}

static rusm_pid spawn(struct fixture *fixture, rusm_process_fn fn, void *arg)
{
    rusm_pid pid;

    assert_int_equal(rusm_spawn(fixture->rt, fn, arg, &pid), RUSM_OK);
    return pid;
}

/* ---- spawn ---- */

static void test_spawned_process_runs(void **state)
{
    struct fixture *fixture = *state;

    (void)spawn(fixture, body_count, fixture);
    fixture_wait_count(fixture, &fixture->count, 1);
}

static void test_many_processes_all_run(void **state)
{
    struct fixture *fixture = *state;
    rusm_runtime_stats stats;

    for (int i = 0; i < 20000; i++) {
        (void)spawn(fixture, body_count, fixture);
    }
    fixture_wait_count(fixture, &fixture->count, 20000);
    assert_int_equal(rusm_runtime_stop(fixture->rt, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_runtime_get_stats(fixture->rt, &stats), RUSM_OK);
    assert_int_equal(stats.spawned, 20000);
    assert_int_equal(stats.exited, 20000);
    assert_int_equal(stats.processes, 0);
    assert_int_equal(stats.crashed, 0);
}

static void test_spawn_refuses_bad_arguments(void **state)
{
    struct fixture *fixture = *state;
    rusm_spawn_config cfg;
    rusm_pid pid = {7, 7};
    char text[RUSM_NAME_MAX + 2];

    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(rusm_spawn(fixture->rt, NULL, NULL, &pid), RUSM_EINVAL);
    assert_int_equal(rusm_spawn(NULL, body_count, fixture, &pid), RUSM_EINVAL);
    rusm_spawn_config_init(&cfg);
    cfg.label = text;
    assert_int_equal(rusm_spawn_with(fixture->rt, body_count, fixture, &cfg, &pid), RUSM_EINVAL);
    rusm_spawn_config_init(&cfg);
    cfg.name = "";
    assert_int_equal(rusm_spawn_with(fixture->rt, body_count, fixture, &cfg, &pid), RUSM_EINVAL);
    rusm_spawn_config_init(&cfg);
    cfg.stack_size = SIZE_MAX;
    assert_int_equal(rusm_spawn_with(fixture->rt, body_count, fixture, &cfg, &pid), RUSM_EINVAL);
    rusm_spawn_config_init(&cfg);
    cfg.size = 1;
    assert_int_equal(rusm_spawn_with(fixture->rt, body_count, fixture, &cfg, &pid), RUSM_EINVAL);
    assert_int_equal(pid.serial, 7);
    assert_int_equal(atomic_load(&fixture->count), 0);
}

static void test_spawn_under_a_taken_name_spawns_nothing(void **state)
{
    struct fixture *fixture = *state;
    rusm_spawn_config cfg;
    rusm_pid first, second = {7, 7}, found;

    rusm_spawn_config_init(&cfg);
    cfg.name = "watched";
    assert_int_equal(rusm_spawn_with(fixture->rt, body_receive_forever, NULL, &cfg, &first),
                     RUSM_OK);
    assert_int_equal(rusm_spawn_with(fixture->rt, body_count, fixture, &cfg, &second), RUSM_EEXIST);
    assert_int_equal(second.serial, 7);
    assert_int_equal(rusm_whereis(fixture->rt, "watched", &found), RUSM_OK);
    assert_true(rusm_pid_equal(found, first));
    assert_int_equal(rusm_runtime_stop(fixture->rt, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(atomic_load(&fixture->count), 0);
}

static void test_pool_limit_refuses_one_more_process(void **state)
{
    struct fixture *fixture = *state;
    rusm_pool_config pool_cfg;
    rusm_runtime_config cfg;
    rusm_pool *pool;
    rusm_runtime *rt;
    rusm_pid pids[8], pid;

    rusm_pool_config_init(&pool_cfg);
    pool_cfg.threads = 1;
    pool_cfg.processes_max = 8;
    assert_int_equal(rusm_pool_new(&pool, &pool_cfg), RUSM_OK);
    rusm_runtime_config_init(&cfg);
    cfg.pool = pool;
    assert_int_equal(rusm_runtime_new(&rt, &cfg), RUSM_OK);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(rusm_spawn(rt, body_receive_forever, NULL, &pids[i]), RUSM_OK);
    }
    assert_int_equal(rusm_spawn(rt, body_count, fixture, &pid), RUSM_EFULL);
    assert_int_equal(rusm_thread_enter(rt, NULL), RUSM_EFULL);
    assert_int_equal(rusm_kill(pids[3]), RUSM_OK);
    fixture_until(rusm_spawn(rt, body_count, fixture, &pid) == RUSM_OK);
    fixture_wait_count(fixture, &fixture->count, 1);
    rusm_runtime_del(rt);
    rusm_pool_del(pool);
}

static void body_deep(void *arg)
{
    struct fixture *fixture = arg;
    volatile char frame[700 * 1024];

    for (size_t i = 0; i < sizeof(frame); i += 4096) {
        frame[i] = (char)i;
    }
    fixture_count(fixture);
}

static void test_stack_size_is_what_was_asked_for(void **state)
{
    struct fixture *fixture = *state;
    rusm_spawn_config cfg;
    rusm_pid pid;

    rusm_spawn_config_init(&cfg);
    cfg.stack_size = 1024 * 1024;
    assert_int_equal(rusm_spawn_with(fixture->rt, body_deep, fixture, &cfg, &pid), RUSM_OK);
    fixture_wait_count(fixture, &fixture->count, 1);
}

static void test_serials_are_never_reused(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid first = spawn(fixture, body_count, fixture);

    for (uint64_t i = 1; i < 1000; i++) {
        rusm_pid pid = spawn(fixture, body_count, fixture);

        assert_false(rusm_pid_equal(pid, first));
        fixture_wait_count(fixture, &fixture->count, i + 1);
    }
    fixture_until(!rusm_is_alive(first));
    assert_int_equal(rusm_send(first, "x", 1), RUSM_ENOPROC);
    assert_int_equal(rusm_kill(first), RUSM_ENOPROC);
}

/* ---- ends ---- */

static void body_return(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    if (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_del(msg);
    }
}

static void body_shutdown(void *arg)
{
    body_return(arg);
    rusm_exit(RUSM_REASON_SHUTDOWN);
}

static void body_crash(void *arg)
{
    body_return(arg);
    rusm_crash("%s failed with %d", "the pump", 42);
}

static void body_crash_long(void *arg)
{
    char text[2 * RUSM_REASON_TEXT_MAX];

    body_return(arg);
    memset(text, 'x', sizeof(text));
    memcpy(text + RUSM_REASON_TEXT_MAX - 2, "\xc3\xa4", 2); /* would be cut in its middle */
    text[sizeof(text) - 1] = '\0';
    rusm_crash("%s", text);
}

static void test_reasons_reach_the_watch(void **state)
{
    static const struct {
        rusm_process_fn fn;
        rusm_reason_kind kind;
        const char *text;
    } cases[] = {
        {body_return, RUSM_REASON_NORMAL, ""},
        {body_shutdown, RUSM_REASON_SHUTDOWN, ""},
        {body_crash, RUSM_REASON_CRASHED, "the pump failed with 42"},
        {body_crash_long, RUSM_REASON_CRASHED, NULL},
    };
    struct fixture *fixture = *state;
    rusm_runtime_stats stats;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ended ended;
        rusm_pid pid = spawn(fixture, cases[i].fn, NULL);

        watch(fixture, &ended, pid);
        assert_int_equal(rusm_send(pid, NULL, 0), RUSM_OK);
        fixture_wait_count(fixture, &ended.calls, 1);
        assert_int_equal(ended.reason.kind, cases[i].kind);
        assert_true(rusm_pid_equal(ended.pid, pid));
        if (cases[i].text != NULL) {
            assert_string_equal(ended.reason.text, cases[i].text);
        } else {
            assert_int_equal(strlen(ended.reason.text), RUSM_REASON_TEXT_MAX - 2);
        }
    }
    assert_int_equal(rusm_runtime_stop(fixture->rt, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_runtime_get_stats(fixture->rt, &stats), RUSM_OK);
    assert_int_equal(stats.crashed, 2);
}

static void test_names_are_released_before_the_watch_is_called(void **state)
{
    struct fixture *fixture = *state;
    struct ended ended;
    rusm_pid pid = spawn(fixture, body_return, NULL);

    assert_int_equal(rusm_register(fixture->rt, "watched", pid), RUSM_OK);
    watch(fixture, &ended, pid);
    assert_int_equal(rusm_send(pid, NULL, 0), RUSM_OK);
    fixture_wait_count(fixture, &ended.calls, 1);
    assert_int_equal(ended.whereis, RUSM_ENONAME);
}

static void test_watch_of_an_ended_process_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct ended ended = {.fixture = fixture};
    rusm_pid pid = spawn(fixture, body_count, fixture);

    fixture_until(!rusm_is_alive(pid));
    ended.watch.fn = on_exit_watch;
    ended.watch.arg = &ended;
    assert_int_equal(rusm_watch_exit(&ended.watch, pid), RUSM_ENOPROC);
    assert_int_equal(rusm_watch_exit(&ended.watch, (rusm_pid){1, 1}), RUSM_ENOPROC);
    assert_int_equal(atomic_load(&ended.calls), 0);
}

static void test_watch_taken_back_is_not_called(void **state)
{
    struct fixture *fixture = *state;
    struct ended first, second, third;
    rusm_pid pid = spawn(fixture, body_return, NULL);

    watch(fixture, &first, pid);
    watch(fixture, &second, pid);
    watch(fixture, &third, pid);
    assert_true(rusm_unwatch_exit(&second.watch));
    assert_int_equal(rusm_send(pid, NULL, 0), RUSM_OK);
    fixture_wait_count(fixture, &first.calls, 1);
    fixture_wait_count(fixture, &third.calls, 1);
    assert_int_equal(rusm_runtime_stop(fixture->rt, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(atomic_load(&first.calls), 1);
    assert_int_equal(atomic_load(&second.calls), 0);
    assert_int_equal(atomic_load(&third.calls), 1);
    assert_false(rusm_unwatch_exit(&first.watch));
}

/* A watch and its taking back race with the end: it is called exactly once or taken back. */
static void test_unwatch_races_with_the_end(void **state)
{
    struct fixture *fixture = *state;

    for (int round = 0; round < 2000; round++) {
        struct ended ended;
        rusm_pid pid = spawn(fixture, body_return, NULL);
        bool taken_back;

        watch(fixture, &ended, pid);
        assert_int_equal(rusm_send(pid, NULL, 0), RUSM_OK);
        for (int spin = round % 64; spin > 0; spin--) {
            (void)atomic_load(&ended.calls);
        }
        taken_back = rusm_unwatch_exit(&ended.watch);
        if (!taken_back) {
            fixture_wait_count(fixture, &ended.calls, 1);
        }
        fixture_until(!rusm_is_alive(pid));
        assert_int_equal(atomic_load(&ended.calls), taken_back ? 0 : 1);
    }
}

/* ---- kill ---- */

static void kill_and_wait(struct fixture *fixture, rusm_pid pid)
{
    struct ended ended;

    watch(fixture, &ended, pid);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    fixture_wait_count(fixture, &ended.calls, 1);
    assert_int_equal(ended.reason.kind, RUSM_REASON_KILLED);
    fixture_until(!rusm_is_alive(pid));
    assert_int_equal(rusm_kill(pid), RUSM_ENOPROC);
}

static void test_kill_ends_each_kind_of_suspension(void **state)
{
    struct fixture *fixture = *state;
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    rusm_pid pid;

    assert_true(fd >= 0);
    pid = spawn(fixture, body_receive_forever, NULL);
    fixture_until(fixture_state(pid) == RUSM_PROCESS_RECEIVING);
    kill_and_wait(fixture, pid);
    pid = spawn(fixture, body_match_forever, NULL);
    assert_int_equal(rusm_send(pid, "unread", 6), RUSM_OK);
    fixture_until(fixture_state(pid) == RUSM_PROCESS_RECEIVING);
    kill_and_wait(fixture, pid);
    pid = spawn(fixture, body_sleep_forever, NULL);
    fixture_until(fixture_state(pid) == RUSM_PROCESS_WAITING);
    kill_and_wait(fixture, pid);
    pid = spawn(fixture, body_wait_fd_forever, &fd);
    fixture_until(fixture_state(pid) == RUSM_PROCESS_WAITING);
    kill_and_wait(fixture, pid);
    /* The descriptor is free again. */
    pid = spawn(fixture, body_wait_fd_forever, &fd);
    fixture_until(fixture_state(pid) == RUSM_PROCESS_WAITING);
    kill_and_wait(fixture, pid);
    (void)close(fd);
}

static void test_kill_ends_a_running_process_at_its_next_call(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid sink = spawn(fixture, body_receive_forever, NULL);
    rusm_pid pid = spawn(fixture, body_yield_forever, NULL);

    kill_and_wait(fixture, pid);
    pid = spawn(fixture, body_send_forever, &sink);
    kill_and_wait(fixture, pid);
    kill_and_wait(fixture, sink);
}

static void test_killed_waiter_cleans_up_before_the_checkpoint(void **state)
{
    struct fixture *fixture = *state;
    struct waiting waiting = {.fixture = fixture};
    struct ended ended;
    rusm_pid pid;

    assert_int_equal(rusm_waiter_new(&waiting.waiter), RUSM_OK);
    pid = spawn(fixture, body_wait_and_tell, &waiting);
    fixture_until(fixture_state(pid) == RUSM_PROCESS_WAITING);
    watch(fixture, &ended, pid);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    fixture_wait_count(fixture, &ended.calls, 1);
    assert_int_equal(atomic_load(&fixture->count), 1);
    assert_int_equal(waiting.err, RUSM_EKILLED);
    assert_int_equal(ended.reason.kind, RUSM_REASON_KILLED);
    rusm_waiter_drop(waiting.waiter);
}

static void body_kill_itself(void *arg)
{
    struct fixture *fixture = arg;

    body_return(NULL);
    (void)!rusm_kill(rusm_self());
    fixture_count(fixture);
    abort();
}

static void test_process_that_kills_itself_goes_no_further(void **state)
{
    struct fixture *fixture = *state;
    struct ended ended;
    rusm_pid pid = spawn(fixture, body_kill_itself, fixture);

    watch(fixture, &ended, pid);
    assert_int_equal(rusm_send(pid, NULL, 0), RUSM_OK);
    fixture_wait_count(fixture, &ended.calls, 1);
    assert_int_equal(ended.reason.kind, RUSM_REASON_KILLED);
    assert_int_equal(atomic_load(&fixture->count), 0);
}

static void test_kill_of_unknown_pids_is_an_error(void **state)
{
    struct fixture *fixture = *state;
    uint64_t here = rusm_runtime_incarnation(fixture->rt);

    assert_int_equal(rusm_kill((rusm_pid){here, 0}), RUSM_ENOPROC);
    assert_int_equal(rusm_kill((rusm_pid){here, UINT64_MAX}), RUSM_ENOPROC);
    assert_int_equal(rusm_kill((rusm_pid){here ^ 1, 1}), RUSM_ENONODE);
    assert_false(rusm_is_alive((rusm_pid){here, 1}));
    assert_false(rusm_is_alive(RUSM_PID_NONE));
}

/* Many are killed while they are being spawned, woken and ended: each ends exactly once. */
static void test_kill_storm_ends_each_process_once(void **state)
{
    struct fixture *fixture = *state;
    enum {
        COUNT = 3000
    };
    static rusm_pid pids[COUNT];
    rusm_runtime_stats stats;

    for (int i = 0; i < COUNT; i++) {
        pids[i] = spawn(fixture, i % 2 == 0 ? body_receive_forever : body_sleep_forever, NULL);
        if (i >= 10) {
            (void)!rusm_send(pids[i - 10], "x", 1);
            assert_int_equal(rusm_kill(pids[i - 10]), RUSM_OK);
        }
    }
    for (int i = COUNT - 10; i < COUNT; i++) {
        assert_int_equal(rusm_kill(pids[i]), RUSM_OK);
    }
    for (int i = 0; i < COUNT; i++) {
        fixture_until(!rusm_is_alive(pids[i]));
    }
    assert_int_equal(rusm_runtime_stop(fixture->rt, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_runtime_get_stats(fixture->rt, &stats), RUSM_OK);
    assert_int_equal(stats.exited, COUNT);
}

/* ---- threads ---- */

static void body_reply(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_pid sender = rusm_msg_sender(msg);

        (void)!rusm_send_msg(sender, msg);
    }
}

static void test_entered_thread_sends_and_receives(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid echo = spawn(fixture, body_reply, NULL);
    rusm_msg *msg;
    rusm_pid self;

    assert_true(rusm_pid_is_none(rusm_self()));
    assert_null(rusm_runtime_self());
    assert_int_equal(rusm_receive(&msg, 0), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_sleep(0), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_send_name("x", "y", 1), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_wait_fd(0, RUSM_FD_READ, 0), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_thread_enter(fixture->rt, "main"), RUSM_OK);
    self = rusm_self();
    assert_ptr_equal(rusm_runtime_self(), fixture->rt);
    assert_int_equal(fixture_state(self), RUSM_PROCESS_THREAD);
    assert_int_equal(rusm_thread_enter(fixture->rt, "main"), RUSM_EINVAL);
    assert_int_equal(rusm_receive(&msg, 1), RUSM_ETIMEOUT);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(rusm_send(echo, &i, sizeof(i)), RUSM_OK);
        assert_int_equal(rusm_receive(&msg, TEST_LIMIT_MS), RUSM_OK);
        assert_memory_equal(rusm_msg_data(msg), &i, sizeof(i));
        assert_true(rusm_pid_equal(rusm_msg_sender(msg), echo));
        rusm_msg_del(msg);
    }
    assert_int_equal(rusm_sleep(1), RUSM_OK);
    assert_int_equal(rusm_send(self, "unread", 6), RUSM_OK);
    rusm_thread_leave();
    assert_true(rusm_pid_is_none(rusm_self()));
    assert_false(rusm_is_alive(self));
    assert_int_equal(rusm_send(self, "x", 1), RUSM_ENOPROC);
    rusm_thread_leave();
}

static void *thread_that_is_killed(void *arg)
{
    struct fixture *fixture = arg;
    rusm_err errs[5];
    rusm_msg *msg;

    if (rusm_thread_enter(fixture->rt, "victim") != RUSM_OK ||
        rusm_register(NULL, "victim", rusm_self()) != RUSM_OK) {
        return NULL;
    }
    rusm_waiter_wake(fixture->done);
    errs[0] = rusm_receive(&msg, RUSM_INFINITY);
    errs[1] = rusm_receive_match(&msg, match_nothing, NULL, RUSM_INFINITY);
    errs[2] = rusm_sleep(RUSM_INFINITY);
    errs[3] = rusm_waiter_wait(fixture->done, RUSM_INFINITY);
    errs[4] = rusm_wait_fd(0, RUSM_FD_READ, RUSM_INFINITY);
    rusm_checkpoint();
    for (int i = 0; i < 4; i++) {
        if (errs[i] != RUSM_EKILLED) {
            (void)atomic_fetch_add(&fixture->count, 100);
        }
    }
    rusm_thread_leave();
    (void)atomic_fetch_add(&fixture->count, 1);
    return NULL;
}

static void test_killed_thread_gets_errors_and_leaves(void **state)
{
    struct fixture *fixture = *state;
    pthread_t thread;
    rusm_pid pid;

    assert_int_equal(pthread_create(&thread, NULL, thread_that_is_killed, fixture), 0);
    fixture_wait(fixture);
    assert_int_equal(rusm_whereis(fixture->rt, "victim", &pid), RUSM_OK);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(atomic_load(&fixture->count), 1);
}

static void test_stop_makes_an_entered_thread_leave(void **state)
{
    struct fixture *fixture = *state;
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, thread_that_is_killed, fixture), 0);
    fixture_wait(fixture);
    assert_int_equal(rusm_runtime_stop(fixture->rt, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(atomic_load(&fixture->count), 1);
    assert_int_equal(rusm_thread_enter(fixture->rt, NULL), RUSM_ECLOSED);
}

/* ---- what a process keeps across switches ---- */

/* In a function of its own: a compiler keeps the address of errno, which is another one after a
 * switch. */
static __attribute__((noinline)) bool errno_is(int expected)
{
    return errno == expected;
}

static __attribute__((noinline)) void errno_becomes(int value)
{
    errno = value;
}

static void body_keeps_errno(void *arg)
{
    struct fixture *fixture = arg;
    int mine = (int)(atomic_fetch_add(&fixture->count, 1) + 1);

    for (int i = 0; i < 200; i++) {
        errno_becomes(mine);
        rusm_yield();
        if (!errno_is(mine)) {
            (void)atomic_fetch_add(&fixture->count, 1000000);
        }
    }
    rusm_waiter_wake(fixture->done);
}

static void test_errno_and_error_detail_belong_to_the_process(void **state)
{
    struct fixture *fixture = *state;
    rusm_runtime_stats stats;

    for (int i = 0; i < 50; i++) {
        (void)spawn(fixture, body_keeps_errno, fixture);
    }
    do {
        assert_int_equal(rusm_runtime_get_stats(fixture->rt, &stats), RUSM_OK);
        (void)sched_yield();
    } while (stats.exited < 50);
    assert_int_equal(atomic_load(&fixture->count), 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_spawned_process_runs),
        fixture_test(test_many_processes_all_run),
        fixture_test(test_spawn_refuses_bad_arguments),
        fixture_test(test_spawn_under_a_taken_name_spawns_nothing),
        fixture_test(test_pool_limit_refuses_one_more_process),
        fixture_test(test_stack_size_is_what_was_asked_for),
        fixture_test(test_serials_are_never_reused),
        fixture_test(test_reasons_reach_the_watch),
        fixture_test(test_names_are_released_before_the_watch_is_called),
        fixture_test(test_watch_of_an_ended_process_is_refused),
        fixture_test(test_watch_taken_back_is_not_called),
        fixture_test(test_unwatch_races_with_the_end),
        fixture_test(test_kill_ends_each_kind_of_suspension),
        fixture_test(test_kill_ends_a_running_process_at_its_next_call),
        fixture_test(test_killed_waiter_cleans_up_before_the_checkpoint),
        fixture_test(test_process_that_kills_itself_goes_no_further),
        fixture_test(test_kill_of_unknown_pids_is_an_error),
        fixture_test(test_kill_storm_ends_each_process_once),
        fixture_test(test_entered_thread_sends_and_receives),
        fixture_test(test_killed_thread_gets_errors_and_leaves),
        fixture_test(test_stop_makes_an_entered_thread_leave),
        fixture_test(test_errno_and_error_detail_belong_to_the_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
