/* SPDX-License-Identifier: MIT */
/*
 * Blocking work: that it holds no scheduler, that its threads are bounded and used again, and that
 * it ends as other processes do, except that it is asked.
 */
#include "otp/fixture_test.h"

#include "otp/sched.h"

#include <rusm/otp/blocking.h>
#include <rusm/otp/link.h>
#include <rusm/otp/memory.h>
#include <rusm/otp/registry.h>
#include <rusm/test.h>
#include <sched.h>
#include <unistd.h>

#define MANY 100

static struct fixture *fixture;

static int setup_with(void **state, unsigned blocking_max)
{
    static struct fixture own;
    rusm_pool_config pool_cfg;
    rusm_runtime_config cfg;

    memset(&own, 0, sizeof(own));
    rusm_pool_config_init(&pool_cfg);
    pool_cfg.threads = 1; /* so that a scheduler that is held is noticed */
    pool_cfg.blocking_max = blocking_max;
    assert_int_equal(rusm_pool_new(&own.pool, &pool_cfg), RUSM_OK);
    rusm_runtime_config_init(&cfg);
    cfg.pool = own.pool;
    cfg.name = "test";
    assert_int_equal(rusm_runtime_new(&own.rt, &cfg), RUSM_OK);
    assert_int_equal(rusm_waiter_new(&own.done), RUSM_OK);
    assert_int_equal(rusm_thread_enter(own.rt, "test"), RUSM_OK);
    assert_false(rusm_trap_exit(true));
    *state = fixture = &own;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, 64);
}

static int setup_two(void **state)
{
    return setup_with(state, 2);
}

static int teardown(void **state)
{
    rusm_thread_leave();
    return fixture_teardown(state);
}

#define blocking_test(name)     cmocka_unit_test_setup_teardown(name, setup, teardown)
#define blocking_test_two(name) cmocka_unit_test_setup_teardown(name, setup_two, teardown)

/* Spawn it with a monitor of the caller. */
static rusm_pid spawn(rusm_process_fn fn, void *arg)
{
    rusm_spawn_config cfg;
    rusm_ref ref;
    rusm_pid pid;

    rusm_spawn_config_init(&cfg);
    cfg.out_ref = &ref;
    cfg.label = "work";
    assert_int_equal(rusm_spawn_blocking(fixture->rt, fn, arg, &cfg, &pid), RUSM_OK);
    return pid;
}

/* The next message says that pid has ended so. */
static void expect_down(rusm_pid pid, rusm_reason_kind kind, const char *text)
{
    rusm_msg *msg;

    assert_int_equal(rusm_receive(&msg, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_DOWN);
    assert_true(rusm_pid_equal(rusm_msg_sender(msg), pid));
    assert_int_equal(rusm_msg_reason(msg)->kind, kind);
    assert_string_equal(rusm_msg_reason(msg)->text, text);
    rusm_msg_del(msg);
}

/* ---- it runs --------------------------------------------------------------------------------- */

/* A pipe: reading it blocks a thread for as long as the test likes. */
static int fds[2];
static _Atomic(uint64_t) now_blocked;

static void body_block(void *arg)
{
    char byte;

    (void)arg;
    (void)atomic_fetch_add(&now_blocked, 1);
    assert_int_equal(read(fds[0], &byte, 1), 1);
}

static void body_answer(void *arg)
{
    rusm_pid *to = arg;

    assert_int_equal(rusm_send(*to, "here", 4), RUSM_OK);
}

static void test_a_blocked_thread_holds_no_scheduler(void **state)
{
    rusm_pid blocked, self = rusm_self();
    rusm_msg *msg;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    blocked = spawn(body_block, NULL);
    fixture_until(fixture_state(blocked) == RUSM_PROCESS_THREAD);
    assert_int_equal(rusm_spawn(fixture->rt, body_answer, &self, NULL), RUSM_OK);
    assert_int_equal(rusm_receive(&msg, TEST_LIMIT_MS), RUSM_OK);
    assert_memory_equal(rusm_msg_data(msg), "here", 4);
    rusm_msg_del(msg);
    assert_true(rusm_is_alive(blocked));
    assert_int_equal(write(fds[1], "x", 1), 1);
    expect_down(blocked, RUSM_REASON_NORMAL, "");
    (void)close(fds[0]);
    (void)close(fds[1]);
}

/* Answers each message until an empty one comes. */
static void body_serve(void *arg)
{
    rusm_msg *msg;
    bool more = true;

    (void)arg;
    while (more) {
        assert_int_equal(rusm_receive(&msg, RUSM_INFINITY), RUSM_OK);
        more = rusm_msg_len(msg) != 0;
        assert_int_equal(rusm_send(rusm_msg_sender(msg), rusm_msg_data(msg), rusm_msg_len(msg)),
                         RUSM_OK);
        rusm_msg_del(msg);
    }
}

static void test_it_is_a_process_with_name_label_and_mailbox(void **state)
{
    rusm_spawn_config cfg;
    rusm_process_info info;
    rusm_pid pid, found;
    rusm_msg *msg;

    (void)state;
    rusm_spawn_config_init(&cfg);
    cfg.name = "worker";
    cfg.label = "digger";
    assert_int_equal(rusm_spawn_blocking(fixture->rt, body_serve, NULL, &cfg, &pid), RUSM_OK);
    assert_int_equal(rusm_whereis(NULL, "worker", &found), RUSM_OK);
    assert_true(rusm_pid_equal(found, pid));
    assert_int_equal(rusm_process_get_info(pid, &info), RUSM_OK);
    assert_string_equal(info.label, "digger");
    assert_string_equal(info.name, "worker");
    assert_int_equal(rusm_spawn_blocking(fixture->rt, body_serve, NULL, &cfg, &found), RUSM_EEXIST);
    assert_int_equal(rusm_send_name("worker", "ab", 2), RUSM_OK);
    assert_int_equal(rusm_receive(&msg, TEST_LIMIT_MS), RUSM_OK);
    assert_memory_equal(rusm_msg_data(msg), "ab", 2);
    assert_true(rusm_pid_equal(rusm_msg_sender(msg), pid));
    rusm_msg_del(msg);
    assert_int_equal(rusm_send(pid, NULL, 0), RUSM_OK);
    assert_int_equal(rusm_receive(&msg, TEST_LIMIT_MS), RUSM_OK);
    rusm_msg_del(msg);
    fixture_until(!rusm_is_alive(pid));
}

/* ---- it ends --------------------------------------------------------------------------------- */

static void hook(void *arg)
{
    (void)arg;
    assert_true(rusm_pid_is_none(rusm_self()));
    fixture_count(fixture);
}

/* Holds what a process may hold when it ends. */
static void take_things(void)
{
    rusm_msg *msg;

    memset(rusm_alloc(1000), 1, 1000);
    assert_int_equal(rusm_msg_new(&msg, 100), RUSM_OK);
    assert_int_equal(rusm_at_exit(hook, NULL, NULL), RUSM_OK);
}

static void body_exit(void *arg)
{
    (void)arg;
    take_things();
    rusm_exit(RUSM_REASON_SHUTDOWN);
}

static void body_exit_with(void *arg)
{
    rusm_reason reason = rusm_reason_crashed("of its own");

    (void)arg;
    take_things();
    rusm_exit_with(&reason);
}

static void body_crash(void *arg)
{
    (void)arg;
    take_things();
    rusm_crash("disk %d is full", 7);
}

static void body_return(void *arg)
{
    (void)arg;
    take_things();
}

static void test_it_ends_with_the_reason_that_it_gives(void **state)
{
    (void)state;
    expect_down(spawn(body_exit, NULL), RUSM_REASON_SHUTDOWN, "");
    expect_down(spawn(body_exit_with, NULL), RUSM_REASON_CRASHED, "of its own");
    expect_down(spawn(body_crash, NULL), RUSM_REASON_CRASHED, "disk 7 is full");
    expect_down(spawn(body_return, NULL), RUSM_REASON_NORMAL, "");
    assert_int_equal(atomic_load(&fixture->count), 4);
}

static void test_a_link_tells_of_its_end_and_ends_it(void **state)
{
    rusm_spawn_config cfg;
    rusm_pid pid;
    rusm_msg *msg;

    (void)state;
    rusm_spawn_config_init(&cfg);
    cfg.link = true;
    assert_int_equal(rusm_spawn_blocking(NULL, body_crash, NULL, &cfg, &pid), RUSM_OK);
    assert_int_equal(rusm_receive(&msg, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_EXIT);
    assert_true(rusm_pid_equal(rusm_msg_sender(msg), pid));
    assert_string_equal(rusm_msg_reason(msg)->text, "disk 7 is full");
    rusm_msg_del(msg);
}

/* What a killed one sees: each call that waits says so, and a checkpoint ends it. */
static void body_see_kill(void *arg)
{
    _Atomic(uint64_t) *seen = arg;
    rusm_msg *msg;

    take_things();
    (void)!rusm_receive(&msg, RUSM_INFINITY);
    for (int i = 0; i < 2; i++) {
        if (rusm_receive(&msg, RUSM_INFINITY) == RUSM_EKILLED) {
            (void)atomic_fetch_add(seen, 1);
        }
        if (rusm_sleep(TEST_LIMIT_MS) == RUSM_EKILLED) {
            (void)atomic_fetch_add(seen, 1);
        }
        if (rusm_wait_fd(fds[0], RUSM_FD_READ, RUSM_INFINITY) == RUSM_EKILLED) {
            (void)atomic_fetch_add(seen, 1);
        }
    }
    (void)rusm_is_alive(rusm_self());
    (void)atomic_fetch_add(seen, 1);
    rusm_checkpoint();
    (void)atomic_fetch_add(seen, 100);
}

static void test_a_kill_is_seen_by_its_calls_and_ends_it_at_a_checkpoint(void **state)
{
    static _Atomic(uint64_t) seen;
    rusm_pid pid;

    (void)state;
    atomic_store(&seen, 0);
    assert_int_equal(pipe(fds), 0);
    pid = spawn(body_see_kill, &seen);
    fixture_until(fixture_state(pid) == RUSM_PROCESS_RECEIVING);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    expect_down(pid, RUSM_REASON_KILLED, "");
    assert_int_equal(atomic_load(&seen), 7);
    assert_int_equal(atomic_load(&fixture->count), 1);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void body_wait(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) != RUSM_EKILLED) {
        rusm_msg_del(msg);
    }
}

static void test_an_exit_signal_gives_it_its_reason(void **state)
{
    rusm_reason reason = rusm_reason_crashed("enough");
    rusm_pid pid = spawn(body_wait, NULL);

    (void)state;
    fixture_until(fixture_state(pid) == RUSM_PROCESS_RECEIVING);
    assert_int_equal(rusm_exit_process(pid, &reason), RUSM_OK);
    expect_down(pid, RUSM_REASON_CRASHED, "enough"); /* though the body returned */
}

/* ---- threads --------------------------------------------------------------------------------- */

static _Atomic(uint64_t) now_running, most_running;

static void body_count_running(void *arg)
{
    uint64_t now = atomic_fetch_add(&now_running, 1) + 1;
    uint64_t most = atomic_load(&most_running);

    (void)arg;
    while (now > most && !atomic_compare_exchange_weak(&most_running, &most, now)) {
    }
    (void)sched_yield();
    (void)atomic_fetch_sub(&now_running, 1);
}

static void test_more_than_there_may_be_wait_for_a_thread(void **state)
{
    rusm_msg *msg;

    (void)state;
    atomic_store(&most_running, 0);
    for (int i = 0; i < MANY; i++) {
        (void)spawn(body_count_running, NULL);
    }
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(rusm_receive(&msg, TEST_LIMIT_MS), RUSM_OK);
        assert_int_equal(rusm_msg_reason(msg)->kind, RUSM_REASON_NORMAL);
        rusm_msg_del(msg);
    }
    assert_in_range(atomic_load(&most_running), 1, 2);
}

static void body_note_order(void *arg)
{
    assert_int_equal(atomic_fetch_add(&fixture->count, 1), (uint64_t)(uintptr_t)arg);
}

static void test_they_come_in_order_and_a_kill_finds_those_that_wait(void **state)
{
    rusm_pid first, second, killed;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    first = spawn(body_block, NULL);
    second = spawn(body_block, NULL);
    fixture_until(fixture_state(first) == RUSM_PROCESS_THREAD &&
                  fixture_state(second) == RUSM_PROCESS_THREAD);
    killed = spawn(body_note_order, (void *)(uintptr_t)99);
    assert_int_equal(fixture_state(killed), RUSM_PROCESS_RUNNABLE);
    assert_int_equal(rusm_kill(killed), RUSM_OK);
    for (uintptr_t i = 0; i < 5; i++) {
        assert_int_equal(rusm_spawn_blocking(fixture->rt, body_note_order, (void *)i, NULL, NULL),
                         RUSM_OK);
    }
    assert_int_equal(write(fds[1], "x", 1), 1); /* one thread: then the order shows */
    fixture_until(atomic_load(&fixture->count) == 5);
    assert_int_equal(write(fds[1], "x", 1), 1);
    for (int i = 0; i < 3; i++) {
        rusm_msg *msg;

        assert_int_equal(rusm_receive(&msg, TEST_LIMIT_MS), RUSM_OK);
        assert_int_equal(rusm_msg_reason(msg)->kind, rusm_pid_equal(rusm_msg_sender(msg), killed)
                                                         ? RUSM_REASON_KILLED
                                                         : RUSM_REASON_NORMAL);
        rusm_msg_del(msg);
    }
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void body_note_thread(void *arg)
{
    *(pid_t *)arg = gettid();
}

static void test_an_idle_thread_is_used_again(void **state)
{
    pid_t seen[50];
    size_t different = 0;

    (void)state;
    for (size_t i = 0; i < 50; i++) {
        pid_t now;
        size_t at = 0;

        expect_down(spawn(body_note_thread, &now), RUSM_REASON_NORMAL, "");
        while (at < different && seen[at] != now) {
            at++;
        }
        seen[at] = now;
        different += at == different;
    }
    /* A down comes a moment before the thread is idle, so it may be more than one. */
    assert_true(different < 50);
}

static unsigned threads_left(void)
{
    struct rusmi_blocking *blocking = &fixture->pool->blocking;
    unsigned threads;

    rusmi_lock_take(&blocking->lock);
    threads = blocking->threads;
    rusmi_lock_give(&blocking->lock);
    return threads;
}

static void test_threads_that_stay_idle_end_and_others_follow(void **state)
{
    pid_t thread;

    (void)state;
    fixture->pool->blocking.idle_ns = 1000000;
    for (int i = 0; i < 3; i++) {
        expect_down(spawn(body_note_thread, &thread), RUSM_REASON_NORMAL, "");
        fixture_until(threads_left() == 0);
    }
}

/* Spawns work from a scheduler, and kills some of it at any moment. */
static void body_churn(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg;

    for (int i = 0; i < MANY; i++) {
        rusm_pid pid;

        assert_int_equal(
            rusm_spawn_blocking(NULL, i % 3 == 0 ? body_wait : body_return, NULL, NULL, &pid),
            RUSM_OK);
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        for (uint64_t pause = seed % 4; pause > 0; pause--) {
            rusm_yield();
        }
        (void)!rusm_kill(pid); /* none that waits for ever is left to hold a thread */
    }
    fixture_count(fixture);
}

static uint64_t processes(void)
{
    rusm_runtime_stats stats;

    assert_int_equal(rusm_runtime_get_stats(fixture->rt, &stats), RUSM_OK);
    return stats.processes;
}

static void test_threads_come_and_go_under_load(void **state)
{
    (void)state;
    fixture->pool->blocking.idle_ns = 1;
    for (uintptr_t i = 1; i <= 8; i++) {
        assert_int_equal(rusm_spawn(fixture->rt, body_churn, (void *)(i * 7919), NULL), RUSM_OK);
    }
    fixture_wait_count(fixture, &fixture->count, 8);
    fixture_until(processes() == 1 && threads_left() == 0);
}

/* Far more than a process has, and less than a thread. */
static void body_deep(void *arg)
{
    volatile char much[4 << 20];

    for (size_t i = 0; i < sizeof(much); i += 4096) {
        much[i] = (char)i;
    }
    *(_Atomic(uint64_t) *)arg = sizeof(much) + (uint64_t)much[4096] - (uint64_t)much[4096];
}

static void test_its_stack_is_the_threads(void **state)
{
    static _Atomic(uint64_t) size;

    (void)state;
    expect_down(spawn(body_deep, &size), RUSM_REASON_NORMAL, "");
    assert_int_equal(atomic_load(&size), 4 << 20);
}

/* Starting a thread must fit on the smallest stack that a process may have. */
static void body_spawn_blocking(void *arg)
{
    assert_int_equal(rusm_spawn_blocking(NULL, body_answer, arg, NULL, NULL), RUSM_OK);
}

static void test_a_process_with_the_smallest_stack_can_spawn_it(void **state)
{
    rusm_spawn_config cfg;
    rusm_pid self = rusm_self();
    rusm_msg *msg;

    (void)state;
    rusm_spawn_config_init(&cfg);
    cfg.stack_size = 1;
    assert_int_equal(rusm_spawn_with(fixture->rt, body_spawn_blocking, &self, &cfg, NULL), RUSM_OK);
    assert_int_equal(rusm_receive(&msg, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_msg_len(msg), 4);
    rusm_msg_del(msg);
}

/* ---- stopping -------------------------------------------------------------------------------- */

static void test_stopping_a_runtime_waits_for_them(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(rusm_spawn_blocking(fixture->rt, body_wait, NULL, NULL, NULL), RUSM_OK);
    }
    rusm_thread_leave();
    assert_int_equal(rusm_runtime_stop(fixture->rt, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_spawn_blocking(fixture->rt, body_wait, NULL, NULL, NULL), RUSM_ECLOSED);
}

static void test_a_stop_names_one_that_does_not_end(void **state)
{
    (void)state;
    assert_int_equal(pipe(fds), 0);
    atomic_store(&now_blocked, 0);
    (void)spawn(body_block, NULL);
    fixture_until(atomic_load(&now_blocked) == 1);
    rusm_thread_leave();
    assert_int_equal(rusm_runtime_stop(fixture->rt, 20), RUSM_ETIMEOUT);
    assert_non_null(strstr(rusm_err_detail(), "work"));
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(rusm_runtime_stop(fixture->rt, TEST_LIMIT_MS), RUSM_OK);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

/* ---- mistakes -------------------------------------------------------------------------------- */

static void body_misuse_thread_calls(void *arg)
{
    (void)arg;
    assert_int_equal(rusm_thread_enter(fixture->rt, NULL), RUSM_EINVAL);
    rusm_thread_leave();
    assert_false(rusm_pid_is_none(rusm_self()));
}

static void test_mistakes_are_refused(void **state)
{
    rusm_spawn_config cfg;

    (void)state;
    assert_int_equal(rusm_spawn_blocking(fixture->rt, NULL, NULL, NULL, NULL), RUSM_EINVAL);
    rusm_spawn_config_init(&cfg);
    cfg.label = "\n";
    assert_int_equal(rusm_spawn_blocking(fixture->rt, body_wait, NULL, &cfg, NULL), RUSM_EINVAL);
    expect_down(spawn(body_misuse_thread_calls, NULL), RUSM_REASON_NORMAL, "");
    rusm_thread_leave();
    assert_int_equal(rusm_spawn_blocking(NULL, body_wait, NULL, NULL, NULL), RUSM_EINVAL);
    rusm_spawn_config_init(&cfg);
    cfg.link = true;
    assert_int_equal(rusm_spawn_blocking(fixture->rt, body_wait, NULL, &cfg, NULL),
                     RUSM_ENOCONTEXT);
}

static void refused_by(rusm_pool *pool)
{
    rusm_runtime_config cfg;
    rusm_runtime *rt;

    rusm_runtime_config_init(&cfg);
    cfg.pool = pool;
    assert_int_equal(rusm_runtime_new(&rt, &cfg), RUSM_OK);
    assert_int_equal(rusm_spawn_blocking(rt, body_wait, NULL, NULL, NULL), RUSM_EINVAL);
    rusm_runtime_del(rt);
    rusm_pool_del(pool);
}

static void test_pools_without_such_threads_refuse(void **state)
{
    rusm_pool_config cfg;
    rusm_pool *pool;

    (void)state;
    assert_int_equal(rusm_test_pool_new(&pool, 1, NULL), RUSM_OK);
    refused_by(pool);
    rusm_pool_config_init(&cfg);
    cfg.threads = 1;
    cfg.blocking_max = 0;
    assert_int_equal(rusm_pool_new(&pool, &cfg), RUSM_OK);
    refused_by(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        blocking_test(test_a_blocked_thread_holds_no_scheduler),
        blocking_test(test_it_is_a_process_with_name_label_and_mailbox),
        blocking_test(test_it_ends_with_the_reason_that_it_gives),
        blocking_test(test_a_link_tells_of_its_end_and_ends_it),
        blocking_test(test_a_kill_is_seen_by_its_calls_and_ends_it_at_a_checkpoint),
        blocking_test(test_an_exit_signal_gives_it_its_reason),
        blocking_test_two(test_more_than_there_may_be_wait_for_a_thread),
        blocking_test_two(test_they_come_in_order_and_a_kill_finds_those_that_wait),
        blocking_test(test_an_idle_thread_is_used_again),
        blocking_test(test_threads_that_stay_idle_end_and_others_follow),
        blocking_test_two(test_threads_come_and_go_under_load),
        blocking_test(test_its_stack_is_the_threads),
        blocking_test(test_a_process_with_the_smallest_stack_can_spawn_it),
        blocking_test(test_stopping_a_runtime_waits_for_them),
        blocking_test(test_a_stop_names_one_that_does_not_end),
        blocking_test(test_mistakes_are_refused),
        cmocka_unit_test(test_pools_without_such_threads_refuse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
