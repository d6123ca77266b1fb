/* SPDX-License-Identifier: MIT */
/*
 * What the tests of supervisors on the deterministic pool share: every test runs with several
 * seeds, that is in several orders, on virtual time. The test's thread is a process that traps
 * exits, and the parent.
 *
 * What children do is written down as a line of words: "+a" it has started, "-a" it has ended, "!a"
 * it did not start.
 */
#ifndef RUSMI_GEN_SUPERVISOR_FIXTURE_TEST_H
#define RUSMI_GEN_SUPERVISOR_FIXTURE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <rusm/otp.h>
#include <rusm/otp/driver.h>
#include <rusm/test.h>
#include <stdio.h>
#include <string.h>

#define SEEDS     8
#define STEPS_MAX 1000000
#define CALL_MS   60000
#define NS_PER_MS ((rusm_time)1000000)
#define WORKERS   6
#define INFINITE  RUSM_INFINITY

static struct {
    rusm_pool *pool;
    rusm_runtime *rt;
    char line[4096];
} kit;

/* What a child does. */
struct worker {
    const char *id;
    rusm_pid pid; /* of the last that started */
    uint64_t starts;
    rusm_time last_ns;    /* when */
    bool stubborn;        /* it does not end when asked */
    bool dies_at_once;    /* it crashes as soon as it has started */
    int64_t linger_ms;    /* how long it takes to end when asked */
    rusm_err start_err;   /* start functions: what they return */
    uint32_t start_fails; /* so often, then RUSM_OK */
};

static struct worker workers[WORKERS];

static inline void say(const char *sign, const char *id)
{
    size_t len = strlen(kit.line);

    (void)snprintf(kit.line + len, sizeof(kit.line) - len, "%s%s%s", len == 0 ? "" : " ", sign, id);
}

/* What was said since the last time. */
static inline void assert_said(const char *expected)
{
    assert_string_equal(kit.line, expected);
    kit.line[0] = '\0';
}

static inline void worker_ended(void *arg)
{
    say("-", ((struct worker *)arg)->id);
}

static inline void worker_obey(const rusm_msg *msg)
{
    switch (*(const char *)rusm_msg_data(msg)) {
    case 'c':
        rusm_crash("told to");
    case 'n':
        rusm_exit(RUSM_REASON_NORMAL);
    case 's':
        rusm_exit(RUSM_REASON_SHUTDOWN);
    case 'u':
        assert_int_equal(rusm_unlink(rusm_msg_sender(msg)), RUSM_OK);
        break;
    default:
        fail();
    }
}

static inline void worker_main(void *arg)
{
    struct worker *self = arg;
    rusm_msg *msg;

    (void)rusm_trap_exit(true);
    assert_int_equal(rusm_at_exit(worker_ended, self, NULL), RUSM_OK);
    say("+", self->id);
    self->pid = rusm_self();
    self->starts++;
    self->last_ns = rusm_now();
    if (self->dies_at_once) {
        rusm_crash("at once");
    }
    for (;;) {
        assert_int_equal(rusm_receive(&msg, INFINITE), RUSM_OK);
        if (rusm_msg_get_kind(msg) == RUSM_MSG_EXIT) {
            rusm_reason reason = *rusm_msg_reason(msg);

            if (!self->stubborn) {
                assert_int_equal(rusm_sleep(self->linger_ms), RUSM_OK);
                rusm_exit_with(&reason);
            }
        } else {
            worker_obey(msg);
        }
        rusm_msg_del(msg);
    }
}

/* A start function: the same, spawned by the supervisor itself. */
static inline rusm_err worker_start(void *arg, rusm_pid *out_pid)
{
    struct worker *self = arg;

    if (self->start_err != RUSM_OK) {
        say("!", self->id);
        return rusm_set_err_detail(self->start_err, "%s would not start", self->id);
    }
    if (self->start_fails > 0) {
        self->start_fails--;
        say("!", self->id);
        return RUSM_EREFUSED;
    }
    return rusm_spawn_link(worker_main, self, out_pid);
}

/* ---- the fixture ----------------------------------------------------------------------------- */

static inline void kit_close(void)
{
    rusm_thread_leave();
    rusm_runtime_del(kit.rt);
    rusm_pool_del(kit.pool);
    kit.pool = NULL;
}

static inline void kit_open(uint64_t seed)
{
    static const char *const ids[WORKERS] = {"a", "b", "c", "d", "e", "f"};
    rusm_runtime_config cfg;

    if (kit.pool != NULL) {
        kit_close(); /* left by a test that failed */
    }
    memset(&kit, 0, sizeof(kit));
    memset(workers, 0, sizeof(workers));
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i].id = ids[i];
    }
    assert_int_equal(rusm_test_pool_new(&kit.pool, seed, NULL), RUSM_OK);
    rusm_runtime_config_init(&cfg);
    cfg.pool = kit.pool;
    assert_int_equal(rusm_runtime_new(&kit.rt, &cfg), RUSM_OK);
    assert_int_equal(rusm_thread_enter(kit.rt, "test"), RUSM_OK);
    (void)rusm_trap_exit(true);
}

#define for_seeds(seed) for (uint64_t seed = 1; seed <= SEEDS; kit_close(), seed++)

static inline void settle(void)
{
    assert_true(rusm_test_run(kit.pool, STEPS_MAX) < STEPS_MAX);
}

static inline void pass_ms(int64_t span_ms)
{
    (void)rusm_test_advance(kit.pool, span_ms);
}

static inline void specs_init(rusm_child_spec *specs, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        rusm_child_spec_init(&specs[i]);
        specs[i].id = workers[i].id;
        specs[i].fn = worker_main;
        specs[i].arg = &workers[i];
    }
}

/* A supervisor of the first len workers. */
static inline rusm_pid open_with(rusm_supervisor_config *cfg, const rusm_child_spec *specs,
                                 size_t len)
{
    rusm_pid sup;

    cfg->children = specs;
    cfg->children_len = len;
    assert_int_equal(rusm_supervisor_start(cfg, &sup), RUSM_OK);
    settle();
    return sup;
}

static inline rusm_pid open_simply(rusm_strategy strategy, size_t len)
{
    rusm_child_spec specs[WORKERS];
    rusm_supervisor_config cfg;

    specs_init(specs, len);
    rusm_supervisor_config_init(&cfg);
    cfg.strategy = strategy;
    return open_with(&cfg, specs, len);
}

static inline void stop(rusm_pid sup)
{
    assert_int_equal(rusm_supervisor_stop(sup, INFINITE), RUSM_OK);
    assert_false(rusm_is_alive(sup));
}

static inline void tell(const struct worker *worker, const char *what)
{
    assert_int_equal(rusm_send(worker->pid, what, 1), RUSM_OK);
    settle();
}

static inline rusm_child_count count_of(rusm_pid sup)
{
    rusm_child_count count;

    assert_int_equal(rusm_supervisor_count(sup, CALL_MS, &count), RUSM_OK);
    return count;
}

/* The reason in the exit message that the parent has got from its supervisor; RUSM_EAGAIN: none. */
static inline int exit_of(rusm_pid sup, char *text)
{
    rusm_msg *msg;
    int kind;

    if (rusm_receive(&msg, 0) != RUSM_OK) {
        return RUSM_EAGAIN;
    }
    assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_EXIT);
    assert_true(rusm_pid_equal(rusm_msg_sender(msg), sup));
    kind = (int)rusm_msg_reason(msg)->kind;
    if (text != NULL) {
        memcpy(text, rusm_msg_reason(msg)->text, RUSM_REASON_TEXT_MAX);
    }
    rusm_msg_del(msg);
    return kind;
}

static inline uint64_t unexpected(void)
{
    rusm_runtime_stats stats;

    assert_int_equal(rusm_runtime_get_stats(kit.rt, &stats), RUSM_OK);
    return stats.messages_unexpected;
}

/* A start function's child runs before the next is started, if it waits for it. */
static inline rusm_err patient_start(void *arg, rusm_pid *out_pid)
{
    rusm_err err = worker_start(arg, out_pid);
    struct worker *self = arg;

    while (err == RUSM_OK && !rusm_pid_equal(self->pid, *out_pid)) {
        rusm_yield();
    }
    return err;
}

static inline rusm_pid open_patiently(rusm_supervisor_config *cfg, rusm_child_spec *specs,
                                      size_t len)
{
    specs_init(specs, len);
    for (size_t i = 0; i < len; i++) {
        specs[i].fn = NULL;
        specs[i].start = patient_start;
    }
    return open_with(cfg, specs, len);
}

static inline rusm_pid open_with_backoff(rusm_strategy strategy, rusm_child_spec *specs, size_t len)
{
    rusm_supervisor_config cfg;

    rusm_supervisor_config_init(&cfg);
    cfg.strategy = strategy;
    cfg.max_restarts = UINT32_MAX;
    cfg.backoff_min_ms = 100;
    cfg.backoff_max_ms = 500;
    return open_patiently(&cfg, specs, len);
}

/* Crash a worker; returns after how many ms it runs again. */
static inline uint64_t crash_and_wait(const struct worker *worker)
{
    uint64_t starts = worker->starts;
    rusm_time begun = rusm_test_now(kit.pool);

    tell(worker, "c");
    for (unsigned i = 0; i < 10000 && worker->starts == starts; i++) {
        pass_ms(1);
    }
    return (worker->last_ns - begun + NS_PER_MS / 2) / NS_PER_MS;
}

/* A process that starts a supervisor with slow children, and is killed meanwhile. */
static inline rusm_err slow_start(void *arg, rusm_pid *out_pid)
{
    assert_int_equal(rusm_sleep(1000), RUSM_OK);
    return worker_start(arg, out_pid);
}

#endif
