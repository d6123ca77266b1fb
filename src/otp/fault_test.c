/* SPDX-License-Identifier: MIT */
/*
 * Faults of processes. What aborts is tried in a child of its own. Under the address and thread
 * sanitizers the faults are theirs to report, and there is nothing to test.
 */
#include "otp/fixture_test.h"

#include "base/assert.h"
#include "platform/tools.h"

#include <rusm/otp/blocking.h>
#include <rusm/otp/link.h>
#include <rusm/test.h>

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct victim {
    rusm_exit_watch watch;
    struct fixture *fixture;
    rusm_reason reason;
    _Atomic(uint64_t) ended;
};

static void on_end(void *arg, rusm_pid pid, const rusm_reason *reason)
{
    struct victim *victim = arg;
    struct fixture *fixture = victim->fixture;

    (void)pid;
    victim->reason = *reason;
    (void)atomic_fetch_add(&victim->ended, 1);
    rusm_waiter_wake(fixture->done);
}

static char *volatile nowhere = (char *)0x1230;

static void await_start(void)
{
    rusm_msg *msg;

    if (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_del(msg);
    }
}

static void body_ends(void *arg)
{
    (void)arg;
    await_start();
}

static void body_touches_nowhere(void *arg)
{
    (void)arg;
    await_start();
    *nowhere = 1;
}

static int recurse(volatile char *above, int depth)
{
    volatile char frame[512];

    frame[0] = above[0];
    frame[511] = (char)depth;
    return depth < 0 ? 0 : recurse(frame, depth + 1) + frame[511];
}

static void body_overflows(void *arg)
{
    volatile char first = 0;

    (void)arg;
    await_start();
    (void)recurse(&first, 0);
}

#if defined(__x86_64__) /* elsewhere a division by zero may have a result */
static volatile int zero;

static void body_divides_by_zero(void *arg)
{
    (void)arg;
    await_start();
    zero = 100 / zero;
}
#endif

static void body_aborts(void *arg)
{
    (void)arg;
    await_start();
    abort();
}

static void body_finds_the_library_broken(void *arg)
{
    (void)arg;
    await_start();
    rusmi_panic("here.c", 1, "true");
}

/* Inside the test: cmocka has handlers of its own, which it sets before each test and after each
 * fixture. */
static int contained_setup(void **state)
{
    static struct fixture fixture;
    rusm_pool_config pool_cfg;
    rusm_runtime_config cfg;

    memset(&fixture, 0, sizeof(fixture));
    rusm_pool_config_init(&pool_cfg);
    pool_cfg.threads = 2;
    pool_cfg.contain_faults = true;
    assert_int_equal(rusm_pool_new(&fixture.pool, &pool_cfg), RUSM_OK);
    rusm_runtime_config_init(&cfg);
    cfg.pool = fixture.pool;
    cfg.name = "test";
    assert_int_equal(rusm_runtime_new(&fixture.rt, &cfg), RUSM_OK);
    assert_int_equal(rusm_waiter_new(&fixture.done), RUSM_OK);
    *state = &fixture;
    return 0;
}

static void meet(struct fixture *fixture, rusm_process_fn fn, struct victim *victim)
{
    rusm_pid pid;

    memset(victim, 0, sizeof(*victim));
    victim->fixture = fixture;
    victim->watch.fn = on_end;
    victim->watch.arg = victim;
    assert_int_equal(rusm_spawn(fixture->rt, fn, NULL, &pid), RUSM_OK);
    assert_int_equal(rusm_watch_exit(&victim->watch, pid), RUSM_OK);
    assert_int_equal(rusm_register(fixture->rt, "victim", pid), RUSM_OK);
    assert_int_equal(rusm_send(pid, NULL, 0), RUSM_OK);
    fixture_wait_count(fixture, &victim->ended, 1);
    assert_int_equal(rusm_whereis(fixture->rt, "victim", &pid), RUSM_ENONAME);
}

static void test_contained_fault_ends_only_its_process(void **state)
{
    struct fixture *fixture;
    rusm_runtime_stats stats;

    (void)contained_setup(state);
    fixture = *state;
    for (int i = 0; i < 20; i++) {
        struct victim victim;

        meet(fixture, body_touches_nowhere, &victim);
        assert_int_equal(victim.reason.kind, RUSM_REASON_FAULT);
        assert_int_equal(victim.reason.signal, SIGSEGV);
        assert_int_equal(victim.reason.address, 0x1230);
        meet(fixture, body_overflows, &victim);
        assert_int_equal(victim.reason.kind, RUSM_REASON_STACK_OVERFLOW);
        meet(fixture, body_ends, &victim);
        assert_int_equal(victim.reason.kind, RUSM_REASON_NORMAL);
    }
    assert_int_equal(rusm_runtime_stop(fixture->rt, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_runtime_get_stats(fixture->rt, &stats), RUSM_OK);
    assert_int_equal(stats.crashed, 40);
    assert_int_equal(stats.exited, 60);
    (void)fixture_teardown(state);
}

#if defined(__x86_64__)
static void test_contained_arithmetic_fault(void **state)
{
    struct victim victim;

    (void)contained_setup(state);
    meet(*state, body_divides_by_zero, &victim);
    assert_int_equal(victim.reason.kind, RUSM_REASON_FAULT);
    assert_int_equal(victim.reason.signal, SIGFPE);
    (void)fixture_teardown(state);
}
#endif

static void test_contained_abort_ends_only_its_process(void **state)
{
    struct fixture *fixture;

    (void)contained_setup(state);
    fixture = *state;
    for (int i = 0; i < 20; i++) {
        struct victim victim;

        meet(fixture, body_aborts, &victim);
        assert_int_equal(victim.reason.kind, RUSM_REASON_FAULT);
        assert_int_equal(victim.reason.signal, SIGABRT);
        assert_int_equal(victim.reason.address, 0);
    }
    (void)fixture_teardown(state);
}

static void test_contained_faults_on_a_deterministic_pool(void **state)
{
    static const rusm_process_fn bodies[] = {body_aborts, body_touches_nowhere, body_overflows};
    static const rusm_reason_kind kinds[] = {RUSM_REASON_FAULT, RUSM_REASON_FAULT,
                                             RUSM_REASON_STACK_OVERFLOW};
    rusm_runtime_config cfg;
    rusm_pool_config pool_cfg;
    rusm_runtime *rt;

    (void)state;
    rusm_pool_config_init(&pool_cfg);
    rusm_runtime_config_init(&cfg);
    pool_cfg.contain_faults = true;
    assert_int_equal(rusm_test_pool_new(&cfg.pool, 1, &pool_cfg), RUSM_OK);
    assert_int_equal(rusm_runtime_new(&rt, &cfg), RUSM_OK);
    assert_int_equal(rusm_thread_enter(rt, "test"), RUSM_OK);
    for (int i = 0; i < 9; i++) {
        rusm_msg *msg;
        rusm_pid pid;

        assert_int_equal(rusm_spawn_monitor(bodies[i % 3], NULL, &pid, NULL), RUSM_OK);
        assert_int_equal(rusm_send(pid, NULL, 0), RUSM_OK);
        assert_int_equal(rusm_receive(&msg, TEST_LIMIT_MS), RUSM_OK);
        assert_int_equal(rusm_msg_reason(msg)->kind, kinds[i % 3]);
        rusm_msg_del(msg);
    }
    rusm_thread_leave();
    rusm_runtime_del(rt);
    rusm_pool_del(cfg.pool);
}

/* The end of blocking work, which has a whole thread. */
static rusm_reason end_of_blocking(rusm_process_fn fn)
{
    rusm_reason reason;
    rusm_msg *msg;
    rusm_ref ref;
    rusm_pid pid;
    rusm_spawn_config cfg;

    rusm_spawn_config_init(&cfg);
    cfg.out_ref = &ref;
    assert_int_equal(rusm_spawn_blocking(NULL, fn, NULL, &cfg, &pid), RUSM_OK);
    assert_int_equal(rusm_send(pid, NULL, 0), RUSM_OK);
    assert_int_equal(rusm_receive(&msg, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_DOWN);
    reason = *rusm_msg_reason(msg);
    rusm_msg_del(msg);
    return reason;
}

static void test_contained_faults_of_blocking_work(void **state)
{
    struct fixture *fixture;

    (void)contained_setup(state);
    fixture = *state;
    assert_int_equal(rusm_thread_enter(fixture->rt, "test"), RUSM_OK);
    for (int i = 0; i < 5; i++) { /* on one thread, which survives them all */
        rusm_reason reason = end_of_blocking(body_aborts);

        assert_int_equal(reason.kind, RUSM_REASON_FAULT);
        assert_int_equal(reason.signal, SIGABRT);
        reason = end_of_blocking(body_touches_nowhere);
        assert_int_equal(reason.kind, RUSM_REASON_FAULT);
        assert_int_equal(reason.address, 0x1230);
        assert_int_equal(end_of_blocking(body_overflows).kind, RUSM_REASON_STACK_OVERFLOW);
        assert_int_equal(end_of_blocking(body_ends).kind, RUSM_REASON_NORMAL);
    }
    rusm_thread_leave();
    (void)fixture_teardown(state);
}

static void test_links_and_monitors_hear_of_a_contained_abort(void **state)
{
    struct fixture *fixture;
    unsigned exits = 0, downs = 0;
    rusm_spawn_config cfg;
    rusm_ref ref;
    rusm_pid pid;

    (void)contained_setup(state);
    fixture = *state;
    assert_int_equal(rusm_thread_enter(fixture->rt, "test"), RUSM_OK);
    (void)rusm_trap_exit(true);
    rusm_spawn_config_init(&cfg);
    cfg.link = true;
    cfg.out_ref = &ref;
    assert_int_equal(rusm_spawn_with(NULL, body_aborts, NULL, &cfg, &pid), RUSM_OK);
    assert_int_equal(rusm_send(pid, NULL, 0), RUSM_OK);
    for (int i = 0; i < 2; i++) {
        rusm_msg *msg;
        char text[64];

        assert_int_equal(rusm_receive(&msg, TEST_LIMIT_MS), RUSM_OK);
        exits += rusm_msg_get_kind(msg) == RUSM_MSG_EXIT;
        downs += rusm_msg_get_kind(msg) == RUSM_MSG_DOWN;
        (void)rusm_reason_format(rusm_msg_reason(msg), text, sizeof(text));
        assert_string_equal(text, "fault: abort()");
        rusm_msg_del(msg);
    }
    assert_int_equal(exits, 1);
    assert_int_equal(downs, 1);
    rusm_thread_leave();
    (void)fixture_teardown(state);
}

/* ---- what ends the OS process ---- */

static size_t child_says(void (*body)(void), int *out_status, char *text, size_t text_len)
{
    int fds[2];
    size_t len = 0;
    ssize_t got;
    pid_t child;

    assert_int_equal(pipe(fds), 0);
    (void)fflush(NULL);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)dup2(fds[1], STDERR_FILENO);
        body();
        _exit(0);
    }
    (void)close(fds[1]);
    while ((got = read(fds[0], text + len, text_len - 1 - len)) > 0) {
        len += (size_t)got;
    }
    (void)close(fds[0]);
    text[len] = '\0';
    assert_int_equal(waitpid(child, out_status, 0), child);
    return len;
}

/* Run one process of that body, with the label "deep thought", until it has ended all. */
static void run_alone(rusm_process_fn fn, bool contain)
{
    rusm_pool_config pool_cfg;
    rusm_runtime_config rt_cfg;
    rusm_spawn_config cfg;
    rusm_runtime *rt;
    rusm_pid pid;

    rusm_pool_config_init(&pool_cfg);
    rusm_runtime_config_init(&rt_cfg);
    rusm_spawn_config_init(&cfg);
    pool_cfg.contain_faults = contain;
    cfg.label = "deep thought";
    if (rusm_pool_new(&rt_cfg.pool, &pool_cfg) != RUSM_OK ||
        rusm_runtime_new(&rt, &rt_cfg) != RUSM_OK ||
        rusm_spawn_with(rt, fn, NULL, &cfg, &pid) != RUSM_OK ||
        rusm_send(pid, NULL, 0) != RUSM_OK) {
        _exit(1);
    }
    (void)pause();
}

static void child_overflows(void)
{
    run_alone(body_overflows, false);
}

static void child_aborts(void)
{
    run_alone(body_aborts, false);
}

static void child_finds_the_library_broken(void)
{
    run_alone(body_finds_the_library_broken, true);
}

/* The text names the process once, and the backtrace has the body, but not the handler. */
static void assert_told(const char *text, const char *what)
{
    const char *at = strstr(text, "<local.1> deep thought: ");

    assert_non_null(at);
    assert_null(strstr(at + 1, "<local.1> deep thought: "));
    assert_int_equal(strncmp(at + strlen("<local.1> deep thought: "), what, strlen(what)), 0);
#if defined(__GLIBC__)
    assert_non_null(strstr(at, "otp_fault("));
#endif
}

static void test_fault_prints_the_process_and_aborts(void **state)
{
    char text[65536];
    int status;

    (void)state;
    (void)child_says(child_overflows, &status, text, sizeof(text));
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_told(text, "stack overflow");
}

static void test_abort_prints_the_process_and_aborts(void **state)
{
    char text[65536];
    int status;

    (void)state;
    (void)child_says(child_aborts, &status, text, sizeof(text));
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_told(text, "fault: abort()\n");
}

/* Containing is for the user's bugs: after one of the library nothing can be relied upon. */
static void test_assertion_of_the_library_is_not_contained(void **state)
{
    char text[65536];
    int status;

    (void)state;
    (void)child_says(child_finds_the_library_broken, &status, text, sizeof(text));
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_told(text, "an assertion of the library failed");
    assert_int_equal(strncmp(text, "rusm: here.c:1: ", strlen("rusm: here.c:1: ")), 0);
}

static void on_segv_of_the_program(int signal)
{
    (void)signal;
    _exit(42);
}

static void on_abort_of_the_program(int signal)
{
    (void)signal;
    _exit(43);
}

static void child_aborts_with_a_handler(void)
{
    (void)signal(SIGABRT, on_abort_of_the_program);
    run_alone(body_aborts, false);
}

static void child_faults_with_a_handler_of_aborts(void)
{
    (void)signal(SIGABRT, on_abort_of_the_program);
    run_alone(body_touches_nowhere, false);
}

static void child_aborts_outside(void)
{
    rusm_runtime *rt;

    if (rusm_runtime_new(&rt, NULL) != RUSM_OK) {
        _exit(1);
    }
    abort();
}

static void test_abort_goes_to_the_programs_own_handler(void **state)
{
    char text[65536];
    int status;

    (void)state;
    (void)child_says(child_aborts_with_a_handler, &status, text, sizeof(text));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 43);
    assert_told(text, "fault: abort()\n");
    (void)child_says(child_faults_with_a_handler_of_aborts, &status, text, sizeof(text));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 43);
    assert_told(text, "fault: signal 11 at 0x1230\n");
    (void)child_says(child_aborts_outside, &status, text, sizeof(text));
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_string_equal(text, "");
}

static void child_faults_outside(void)
{
    rusm_runtime *rt;

    (void)signal(SIGSEGV, on_segv_of_the_program);
    if (rusm_runtime_new(&rt, NULL) != RUSM_OK) {
        _exit(1);
    }
    *nowhere = 1;
}

static void child_faults_outside_by_default(void)
{
    rusm_runtime *rt;

    (void)signal(SIGSEGV, SIG_DFL);
    if (rusm_runtime_new(&rt, NULL) != RUSM_OK) {
        _exit(1);
    }
    *nowhere = 1;
}

static void child_faults_after_the_last_pool(void)
{
    rusm_runtime *rt;

    (void)signal(SIGSEGV, on_segv_of_the_program);
    if (rusm_runtime_new(&rt, NULL) != RUSM_OK) {
        _exit(1);
    }
    rusm_runtime_del(rt);
    *nowhere = 1;
}

static void test_fault_of_the_program_goes_to_its_own_handler(void **state)
{
    char text[65536];
    int status;

    (void)state;
    (void)child_says(child_faults_outside, &status, text, sizeof(text));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
    (void)child_says(child_faults_after_the_last_pool, &status, text, sizeof(text));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
    (void)child_says(child_faults_outside_by_default, &status, text, sizeof(text));
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contained_fault_ends_only_its_process),
#if defined(__x86_64__)
        cmocka_unit_test(test_contained_arithmetic_fault),
#endif
        cmocka_unit_test(test_contained_abort_ends_only_its_process),
        cmocka_unit_test(test_contained_faults_on_a_deterministic_pool),
        cmocka_unit_test(test_contained_faults_of_blocking_work),
        cmocka_unit_test(test_links_and_monitors_hear_of_a_contained_abort),
        cmocka_unit_test(test_fault_prints_the_process_and_aborts),
        cmocka_unit_test(test_abort_prints_the_process_and_aborts),
        cmocka_unit_test(test_assertion_of_the_library_is_not_contained),
        cmocka_unit_test(test_abort_goes_to_the_programs_own_handler),
        cmocka_unit_test(test_fault_of_the_program_goes_to_its_own_handler),
    };

    if (RUSMI_ASAN || RUSMI_TSAN) {
        (void)puts("the sanitizer reports faults itself");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
