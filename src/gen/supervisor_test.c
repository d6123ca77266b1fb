/* SPDX-License-Identifier: MIT */
/*
 * Supervisors, on the deterministic pool: every test runs with several seeds, that is in several
 * orders, on virtual time. The test's thread is a process that traps exits, and the parent.
 *
 * What children do is written down as a line of words: "+a" it has started, "-a" it has ended.
 */
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

static void say(const char *sign, const char *id)
{
    size_t len = strlen(kit.line);

    (void)snprintf(kit.line + len, sizeof(kit.line) - len, "%s%s%s", len == 0 ? "" : " ", sign, id);
}

/* What was said since the last time. */
static void assert_said(const char *expected)
{
    assert_string_equal(kit.line, expected);
    kit.line[0] = '\0';
}

static void worker_ended(void *arg)
{
    say("-", ((struct worker *)arg)->id);
}

static void worker_obey(const rusm_msg *msg)
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

static void worker_main(void *arg)
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
static rusm_err worker_start(void *arg, rusm_pid *out_pid)
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

static void kit_close(void)
{
    rusm_thread_leave();
    rusm_runtime_del(kit.rt);
    rusm_pool_del(kit.pool);
    kit.pool = NULL;
}

static void kit_open(uint64_t seed)
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

static void settle(void)
{
    assert_true(rusm_test_run(kit.pool, STEPS_MAX) < STEPS_MAX);
}

static void pass_ms(int64_t span_ms)
{
    (void)rusm_test_advance(kit.pool, span_ms);
}

static void specs_init(rusm_child_spec *specs, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        rusm_child_spec_init(&specs[i]);
        specs[i].id = workers[i].id;
        specs[i].fn = worker_main;
        specs[i].arg = &workers[i];
    }
}

/* A supervisor of the first len workers. */
static rusm_pid open_with(rusm_supervisor_config *cfg, const rusm_child_spec *specs, size_t len)
{
    rusm_pid sup;

    cfg->children = specs;
    cfg->children_len = len;
    assert_int_equal(rusm_supervisor_start(cfg, &sup), RUSM_OK);
    settle();
    return sup;
}

static rusm_pid open_simply(rusm_strategy strategy, size_t len)
{
    rusm_child_spec specs[WORKERS];
    rusm_supervisor_config cfg;

    specs_init(specs, len);
    rusm_supervisor_config_init(&cfg);
    cfg.strategy = strategy;
    return open_with(&cfg, specs, len);
}

static void stop(rusm_pid sup)
{
    assert_int_equal(rusm_supervisor_stop(sup, INFINITE), RUSM_OK);
    assert_false(rusm_is_alive(sup));
}

static void tell(const struct worker *worker, const char *what)
{
    assert_int_equal(rusm_send(worker->pid, what, 1), RUSM_OK);
    settle();
}

static rusm_child_count count_of(rusm_pid sup)
{
    rusm_child_count count;

    assert_int_equal(rusm_supervisor_count(sup, CALL_MS, &count), RUSM_OK);
    return count;
}

/* The reason in the exit message that the parent has got from its supervisor; RUSM_EAGAIN: none. */
static int exit_of(rusm_pid sup, char *text)
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

static uint64_t unexpected(void)
{
    rusm_runtime_stats stats;

    assert_int_equal(rusm_runtime_get_stats(kit.rt, &stats), RUSM_OK);
    return stats.messages_unexpected;
}

/* ---- starting and stopping ------------------------------------------------------------------- */

static void test_children_start_in_order_and_stop_in_reverse(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_pid sup;

        kit_open(seed);
        sup = open_simply(RUSM_ONE_FOR_ONE, 4);
        /* They are spawned in order; which of them runs first is the scheduler's choice. */
        assert_int_equal(strlen(kit.line), strlen("+a +b +c +d"));
        kit.line[0] = '\0';
        assert_int_equal(count_of(sup).active, 4);
        stop(sup);
        assert_said("-d -c -b -a");
        assert_int_equal(exit_of(sup, NULL), RUSM_EAGAIN);
    }
}

/* A start function's child runs before the next is started, if it waits for it. */
static rusm_err patient_start(void *arg, rusm_pid *out_pid)
{
    rusm_err err = worker_start(arg, out_pid);
    struct worker *self = arg;

    while (err == RUSM_OK && !rusm_pid_equal(self->pid, *out_pid)) {
        rusm_yield();
    }
    return err;
}

static rusm_pid open_patiently(rusm_supervisor_config *cfg, rusm_child_spec *specs, size_t len)
{
    specs_init(specs, len);
    for (size_t i = 0; i < len; i++) {
        specs[i].fn = NULL;
        specs[i].start = patient_start;
    }
    return open_with(cfg, specs, len);
}

static void test_failed_start_stops_those_before_it(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec specs[4];
        rusm_supervisor_config cfg;
        rusm_pid sup = RUSM_PID_NONE;
        rusm_msg *msg;

        kit_open(seed);
        specs_init(specs, 4);
        for (unsigned i = 0; i < 4; i++) {
            specs[i].fn = NULL;
            specs[i].start = patient_start;
        }
        workers[2].start_err = RUSM_EAUTH;
        rusm_supervisor_config_init(&cfg);
        cfg.name = "boss";
        cfg.children = specs;
        cfg.children_len = 4;
        assert_int_equal(rusm_supervisor_start(&cfg, &sup), RUSM_EAUTH);
        assert_string_equal(rusm_err_detail(), "c would not start");
        assert_true(rusm_pid_is_none(sup));
        assert_said("+a +b !c -b -a");
        /* Nothing is left of it: no exit, no down, and the name is free. */
        settle();
        assert_int_equal(rusm_receive(&msg, 0), RUSM_ETIMEOUT);
        workers[2].start_err = RUSM_OK;
        assert_int_equal(rusm_supervisor_start(&cfg, &sup), RUSM_OK);
        assert_said("+a +b +c +d");
        stop(sup);
        assert_int_equal(unexpected(), 0);
    }
}

static void test_shutdown_that_takes_too_long_is_a_kill(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec specs[3];
        rusm_supervisor_config cfg;
        rusm_time begun;
        rusm_pid sup;

        kit_open(seed);
        specs_init(specs, 3);
        workers[0].linger_ms = 300;
        workers[1].stubborn = true;
        workers[2].stubborn = true;
        specs[1].shutdown_ms = 700;
        specs[2].shutdown_ms = 0;
        rusm_supervisor_config_init(&cfg);
        sup = open_with(&cfg, specs, 3);
        kit.line[0] = '\0';
        begun = rusm_test_now(kit.pool);
        stop(sup);
        assert_said("-c -b -a");
        assert_in_range(rusm_test_now(kit.pool) - begun, 1000 * NS_PER_MS, 1003 * NS_PER_MS);
    }
}

static void test_infinite_shutdown_waits(void **state)
{
    rusm_child_spec specs[1];
    rusm_supervisor_config cfg;
    rusm_pid sup;

    (void)state;
    kit_open(1);
    specs_init(specs, 1);
    specs[0].shutdown_ms = INFINITE;
    workers[0].linger_ms = 3600000;
    rusm_supervisor_config_init(&cfg);
    sup = open_with(&cfg, specs, 1);
    assert_int_equal(rusm_supervisor_stop(sup, 3500000), RUSM_ETIMEOUT);
    assert_true(rusm_is_alive(workers[0].pid));
    pass_ms(100100);
    assert_said("+a -a");
    assert_false(rusm_is_alive(sup));
    assert_int_equal(exit_of(sup, NULL), RUSM_EAGAIN);
    kit_close();
}

/* ---- strategies ------------------------------------------------------------------------------ */

static void check_strategy(rusm_strategy strategy, const char *expected)
{
    for_seeds(seed)
    {
        rusm_child_spec specs[4];
        rusm_supervisor_config cfg;
        rusm_pid sup;

        kit_open(seed);
        rusm_supervisor_config_init(&cfg);
        cfg.strategy = strategy;
        sup = open_patiently(&cfg, specs, 4);
        assert_said("+a +b +c +d");
        tell(&workers[1], "c");
        assert_said(expected);
        assert_int_equal(count_of(sup).restarts, 1);
        assert_int_equal(count_of(sup).active, 4);
        stop(sup);
        assert_said("-d -c -b -a");
        assert_int_equal(unexpected(), 0);
    }
}

static void test_one_for_one_restarts_that_child(void **state)
{
    (void)state;
    check_strategy(RUSM_ONE_FOR_ONE, "-b +b");
}

static void test_one_for_all_restarts_all(void **state)
{
    (void)state;
    check_strategy(RUSM_ONE_FOR_ALL, "-b -d -c -a +a +b +c +d");
}

static void test_rest_for_one_restarts_those_after_it(void **state)
{
    (void)state;
    check_strategy(RUSM_REST_FOR_ONE, "-b -d -c +b +c +d");
}

static void test_restart_types(void **state)
{
    static const struct {
        rusm_restart restart;
        const char *how;
        const char *said;
        uint64_t specs, active;
    } cases[] = {
        {RUSM_PERMANENT, "c", "-a +a", 1, 1}, {RUSM_PERMANENT, "n", "-a +a", 1, 1},
        {RUSM_PERMANENT, "s", "-a +a", 1, 1}, {RUSM_TRANSIENT, "c", "-a +a", 1, 1},
        {RUSM_TRANSIENT, "n", "-a", 1, 0},    {RUSM_TRANSIENT, "s", "-a", 1, 0},
        {RUSM_TEMPORARY, "c", "-a", 0, 0},    {RUSM_TEMPORARY, "n", "-a", 0, 0},
        {RUSM_TEMPORARY, "s", "-a", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        rusm_child_spec specs[1];
        rusm_supervisor_config cfg;
        rusm_pid sup;

        kit_open(i);
        specs_init(specs, 1);
        specs[0].restart = cases[i].restart;
        rusm_supervisor_config_init(&cfg);
        sup = open_with(&cfg, specs, 1);
        assert_said("+a");
        tell(&workers[0], cases[i].how);
        assert_said(cases[i].said);
        assert_int_equal(count_of(sup).specs, cases[i].specs);
        assert_int_equal(count_of(sup).active, cases[i].active);
        stop(sup);
        kit_close();
    }
}

/* In a group, a temporary child that is stopped is forgotten, others that had ended are started. */
static void test_group_restart_forgets_temporary_and_starts_ended(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec specs[4];
        rusm_supervisor_config cfg;
        rusm_pid sup;

        kit_open(seed);
        specs_init(specs, 4);
        specs[0].restart = RUSM_TEMPORARY;
        specs[1].restart = RUSM_TRANSIENT;
        specs[3].restart = RUSM_TEMPORARY;
        rusm_supervisor_config_init(&cfg);
        cfg.strategy = RUSM_ONE_FOR_ALL;
        sup = open_with(&cfg, specs, 4);
        tell(&workers[1], "n");
        assert_int_equal(count_of(sup).active, 3);
        kit.line[0] = '\0';
        tell(&workers[2], "c");
        assert_int_equal(strncmp(kit.line, "-c -d -a ", 9), 0);
        assert_int_equal(count_of(sup).specs, 2);
        assert_int_equal(count_of(sup).active, 2);
        assert_int_equal(workers[1].starts, 2);
        stop(sup);
    }
}

static void test_unlinked_child_is_still_noticed(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        static const char both[] = "uc";
        rusm_pid sup;
        rusm_msg *msg;

        kit_open(seed);
        sup = open_simply(RUSM_ONE_FOR_ONE, 1);
        /* 'u' unlinks from the sender of the message: let it look like the supervisor's. */
        for (unsigned i = 0; i < 2; i++) {
            assert_int_equal(rusm_msg_new(&msg, 1), RUSM_OK);
            *(char *)rusm_msg_data(msg) = both[i];
            rusm_msg_set_sender(msg, sup);
            assert_int_equal(rusm_deliver(kit.rt, workers[0].pid.serial, msg), RUSM_OK);
        }
        settle();
        assert_said("+a -a +a");
        stop(sup);
    }
}

/* ---- intensity ------------------------------------------------------------------------------- */

/* 3 restarts within 5 s: the fourth is one too many while the first is not more than 5 s ago. */
static void check_border(int64_t wait_ms, bool gives_up)
{
    for_seeds(seed)
    {
        char text[RUSM_REASON_TEXT_MAX];
        rusm_pid sup;

        kit_open(seed);
        sup = open_simply(RUSM_ONE_FOR_ONE, 2);
        tell(&workers[0], "c");
        pass_ms(1000);
        tell(&workers[1], "c");
        tell(&workers[0], "c");
        pass_ms(wait_ms - 1000);
        kit.line[0] = '\0';
        tell(&workers[1], "c");
        if (gives_up) {
            assert_said("-b -a");
            assert_false(rusm_is_alive(sup));
            assert_int_equal(exit_of(sup, text), RUSM_REASON_SHUTDOWN);
            assert_string_equal(text, "too many restarts, the last of 'b'");
        } else {
            assert_said("-b +b");
            assert_int_equal(count_of(sup).restarts, 4);
            tell(&workers[1],
                 "c"); /* the two others are still in the window: one more is allowed? */
            assert_false(rusm_is_alive(sup));
            assert_int_equal(exit_of(sup, NULL), RUSM_REASON_SHUTDOWN);
        }
    }
}

static void test_restarts_within_the_window_are_too_many(void **state)
{
    (void)state;
    check_border(2000, true);
}

static void test_border_belongs_to_the_window(void **state)
{
    (void)state;
    check_border(5000, true);
}

static void test_restart_past_the_window_is_forgotten(void **state)
{
    (void)state;
    check_border(5001, false);
}

static void test_no_restart_allowed_means_none(void **state)
{
    rusm_child_spec specs[2];
    rusm_supervisor_config cfg;
    rusm_pid sup;

    (void)state;
    kit_open(1);
    specs_init(specs, 2);
    rusm_supervisor_config_init(&cfg);
    cfg.max_restarts = 0;
    sup = open_with(&cfg, specs, 2);
    kit.line[0] = '\0';
    tell(&workers[0], "c");
    assert_said("-a -b");
    assert_int_equal(exit_of(sup, NULL), RUSM_REASON_SHUTDOWN);
    kit_close();
}

static void test_restart_that_fails_is_tried_again_and_counted(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec specs[2];
        rusm_supervisor_config cfg;
        rusm_pid sup;

        kit_open(seed);
        rusm_supervisor_config_init(&cfg);
        sup = open_patiently(&cfg, specs, 2);
        kit.line[0] = '\0';
        workers[0].start_fails = 2;
        tell(&workers[0], "c");
        assert_said("-a !a !a +a");
        assert_int_equal(count_of(sup).restarts, 3);
        workers[0].start_fails = 1;
        tell(&workers[0], "c");
        assert_said("-a -b");
        assert_int_equal(exit_of(sup, NULL), RUSM_REASON_SHUTDOWN);
    }
}

static void test_restart_of_all_that_fails_begins_again(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec specs[3];
        rusm_supervisor_config cfg;
        rusm_pid sup;

        kit_open(seed);
        rusm_supervisor_config_init(&cfg);
        cfg.strategy = RUSM_ONE_FOR_ALL;
        sup = open_patiently(&cfg, specs, 3);
        kit.line[0] = '\0';
        workers[1].start_fails = 1;
        tell(&workers[2], "c");
        assert_said("-c -b -a +a !b -a +a +b +c");
        stop(sup);
    }
}

static void test_restart_of_the_rest_that_fails_goes_on_there(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec specs[3];
        rusm_supervisor_config cfg;
        rusm_pid sup;

        kit_open(seed);
        rusm_supervisor_config_init(&cfg);
        cfg.strategy = RUSM_REST_FOR_ONE;
        sup = open_patiently(&cfg, specs, 3);
        kit.line[0] = '\0';
        workers[1].start_fails = 1;
        tell(&workers[0], "c");
        assert_said("-a -c -b +a !b +b +c");
        stop(sup);
    }
}

/* A child whose name is taken can not start; once it is free it does. */
static void test_restart_waits_for_its_name(void **state)
{
    rusm_child_spec specs[1];
    rusm_spawn_config spawn;
    rusm_supervisor_config cfg;
    rusm_pid sup, found;

    (void)state;
    kit_open(1);
    specs_init(specs, 1);
    rusm_spawn_config_init(&spawn);
    spawn.name = "clerk";
    specs[0].spawn = &spawn;
    rusm_supervisor_config_init(&cfg);
    cfg.max_restarts = 100;
    cfg.backoff_min_ms = 100;
    cfg.backoff_max_ms = 100;
    sup = open_with(&cfg, specs, 1);
    assert_int_equal(rusm_whereis(NULL, "clerk", &found), RUSM_OK);
    assert_true(rusm_pid_equal(found, workers[0].pid));
    assert_int_equal(rusm_unregister(NULL, "clerk"), RUSM_OK);
    assert_int_equal(rusm_register(NULL, "clerk", rusm_self()), RUSM_OK);
    tell(&workers[0], "c");
    pass_ms(450);
    assert_said("+a -a");
    assert_int_equal(count_of(sup).active, 0);
    assert_int_equal(rusm_unregister(NULL, "clerk"), RUSM_OK);
    pass_ms(101);
    assert_said("+a");
    assert_int_equal(rusm_whereis(NULL, "clerk", &found), RUSM_OK);
    assert_true(rusm_pid_equal(found, workers[0].pid));
    stop(sup);
    kit_close();
}

/* ---- back-off -------------------------------------------------------------------------------- */

static rusm_pid open_with_backoff(rusm_strategy strategy, rusm_child_spec *specs, size_t len)
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
static uint64_t crash_and_wait(const struct worker *worker)
{
    uint64_t starts = worker->starts;
    rusm_time begun = rusm_test_now(kit.pool);

    tell(worker, "c");
    for (unsigned i = 0; i < 10000 && worker->starts == starts; i++) {
        pass_ms(1);
    }
    return (worker->last_ns - begun + NS_PER_MS / 2) / NS_PER_MS;
}

static void test_backoff_doubles_and_is_forgotten(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec specs[2];
        rusm_pid sup;

        kit_open(seed);
        sup = open_with_backoff(RUSM_ONE_FOR_ONE, specs, 2);
        assert_int_equal(crash_and_wait(&workers[0]), 0);
        assert_int_equal(crash_and_wait(&workers[0]), 100);
        assert_int_equal(crash_and_wait(&workers[0]), 200);
        assert_int_equal(crash_and_wait(&workers[0]), 400);
        assert_int_equal(crash_and_wait(&workers[1]), 0); /* another's is its own */
        assert_int_equal(crash_and_wait(&workers[0]), 500);
        pass_ms(497);
        assert_int_equal(crash_and_wait(&workers[0]), 500);
        pass_ms(501);
        assert_int_equal(crash_and_wait(&workers[0]), 0);
        assert_int_equal(crash_and_wait(&workers[0]), 100);
        assert_int_equal(count_of(sup).restarts, 9);
        stop(sup);
    }
}

static void test_supervisor_answers_while_a_child_waits(void **state)
{
    rusm_child_spec specs[2];
    rusm_child_info infos[2];
    uint64_t cursor = 0;
    rusm_pid sup, pid;

    (void)state;
    kit_open(3);
    sup = open_with_backoff(RUSM_ONE_FOR_ONE, specs, 2);
    assert_int_equal(crash_and_wait(&workers[0]), 0);
    tell(&workers[0], "c");
    assert_int_equal(count_of(sup).active, 1);
    assert_int_equal(rusm_supervisor_list(sup, &cursor, infos, 2, CALL_MS), 2);
    assert_true(infos[0].is_waiting);
    assert_true(rusm_pid_is_none(infos[0].pid));
    assert_false(infos[1].is_waiting);
    /* By request it is restarted at once. */
    assert_int_equal(rusm_supervisor_restart_child(sup, "a", CALL_MS, &pid), RUSM_OK);
    assert_true(rusm_pid_equal(pid, workers[0].pid));
    pass_ms(1000);
    assert_int_equal(workers[0].starts, 3);
    assert_int_equal(count_of(sup).active, 2);
    stop(sup);
    kit_close();
}

static void test_group_waits_together(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec specs[4];
        rusm_pid sup;

        kit_open(seed);
        sup = open_with_backoff(RUSM_REST_FOR_ONE, specs, 4);
        assert_int_equal(crash_and_wait(&workers[1]), 0);
        kit.line[0] = '\0';
        tell(&workers[1], "c");
        assert_said("-b -d -c");
        assert_int_equal(count_of(sup).active, 1);
        pass_ms(101);
        assert_said("+b +c +d");
        /* What waits is included when one before it is restarted. */
        tell(&workers[1], "c");
        tell(&workers[0], "c");
        assert_said("-b -d -c -a +a +b +c +d");
        pass_ms(1000);
        assert_said("");
        stop(sup);
    }
}

/* Who terminates the child that a group waits for does not leave the others behind. */
static void test_wait_is_passed_on(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec specs[4];
        rusm_pid sup;

        kit_open(seed);
        sup = open_with_backoff(RUSM_REST_FOR_ONE, specs, 4);
        assert_int_equal(crash_and_wait(&workers[1]), 0);
        tell(&workers[1], "c");
        kit.line[0] = '\0';
        assert_int_equal(rusm_supervisor_terminate_child(sup, "b", CALL_MS), RUSM_OK);
        assert_int_equal(rusm_supervisor_delete_child(sup, "c", CALL_MS), RUSM_OK);
        pass_ms(101);
        assert_said("+d");
        assert_int_equal(count_of(sup).specs, 3);
        stop(sup);
    }
}

/* ---- the end of others ----------------------------------------------------------------------- */

static void test_end_of_parent_stops_everything(void **state)
{
    static const char *const moments[] = {"idle", "back-off", "shutdown"};
    const rusm_reason why = rusm_reason_crashed("parent");

    (void)state;
    for (unsigned moment = 0; moment < 3; moment++) {
        for_seeds(seed)
        {
            rusm_child_spec specs[2];
            rusm_pid sup;

            kit_open(seed);
            sup = open_with_backoff(RUSM_ONE_FOR_ONE, specs, 2);
            if (strcmp(moments[moment], "back-off") == 0) {
                (void)crash_and_wait(&workers[0]);
                tell(&workers[0], "c");
                kit.line[0] = '\0';
            } else if (strcmp(moments[moment], "shutdown") == 0) {
                workers[0].linger_ms = 2000;
                assert_int_equal(rusm_supervisor_terminate_child(sup, "a", 1000), RUSM_ETIMEOUT);
                kit.line[0] = '\0';
            } else {
                kit.line[0] = '\0';
            }
            assert_int_equal(rusm_exit_process(sup, &why), RUSM_OK);
            settle();
            if (moment == 2) {
                assert_said(""); /* the one that it waits for is not cut short */
                pass_ms(1001);
                assert_said("-a -b");
            } else {
                assert_said(moment == 0 ? "-b -a" : "-b");
            }
            assert_false(rusm_is_alive(sup));
            assert_int_equal(exit_of(sup, NULL), RUSM_REASON_CRASHED);
        }
    }
}

/* A process that starts a supervisor with slow children, and is killed meanwhile. */
static rusm_err slow_start(void *arg, rusm_pid *out_pid)
{
    assert_int_equal(rusm_sleep(1000), RUSM_OK);
    return worker_start(arg, out_pid);
}

static void short_lived_parent(void *arg)
{
    rusm_child_spec specs[3];
    rusm_supervisor_config cfg;

    (void)arg;
    specs_init(specs, 3);
    for (unsigned i = 0; i < 3; i++) {
        specs[i].fn = NULL;
        specs[i].start = slow_start;
    }
    rusm_supervisor_config_init(&cfg);
    cfg.name = "boss";
    cfg.children = specs;
    cfg.children_len = 3;
    assert_int_equal(rusm_supervisor_start(&cfg, NULL), RUSM_OK);
    fail();
}

static void test_end_of_parent_during_start(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_pid parent, sup;

        kit_open(seed);
        assert_int_equal(rusm_spawn(NULL, short_lived_parent, NULL, &parent), RUSM_OK);
        pass_ms(1500);
        assert_int_equal(rusm_whereis(NULL, "boss", &sup), RUSM_OK);
        assert_said("+a");
        assert_int_equal(rusm_kill(parent), RUSM_OK);
        pass_ms(501);
        assert_false(rusm_is_alive(sup)); /* the second had begun to start, and was stopped */
        assert_int_equal(workers[2].starts, 0);
        assert_false(rusm_is_alive(workers[0].pid));
        assert_false(rusm_is_alive(workers[1].pid));
    }
}

static void test_killed_supervisor_takes_its_children_along(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_pid sup;

        kit_open(seed);
        sup = open_simply(RUSM_ONE_FOR_ONE, 3);
        assert_int_equal(rusm_kill(sup), RUSM_OK);
        settle();
        for (unsigned i = 0; i < 3; i++) {
            assert_false(rusm_is_alive(workers[i].pid));
            assert_int_equal(workers[i].starts, 1);
        }
        assert_int_equal(exit_of(sup, NULL), RUSM_REASON_KILLED);
    }
}

/* ---- while it is at something else ----------------------------------------------------------- */

static void sibling_crasher(void *arg)
{
    (void)arg;
    assert_int_equal(rusm_send(workers[1].pid, "c", 1), RUSM_OK);
    assert_int_equal(rusm_send(workers[2].pid, "n", 1), RUSM_OK);
}

struct asker {
    rusm_pid sup;
    rusm_err err;
    rusm_child_count count;
};

static void asker_main(void *arg)
{
    struct asker *self = arg;

    self->err = rusm_supervisor_count(self->sup, INFINITE, &self->count);
}

static void test_what_happens_during_a_stop_is_handled_afterwards(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        struct asker asker = {.err = RUSM_EAGAIN};
        rusm_pid sup;

        kit_open(seed);
        sup = open_simply(RUSM_ONE_FOR_ONE, 3);
        workers[0].linger_ms = 2000;
        assert_int_equal(rusm_supervisor_terminate_child(sup, "a", 100), RUSM_ETIMEOUT);
        kit.line[0] = '\0';
        asker.sup = sup;
        assert_int_equal(rusm_spawn(NULL, asker_main, &asker, NULL), RUSM_OK);
        assert_int_equal(rusm_spawn(NULL, sibling_crasher, NULL, NULL), RUSM_OK);
        settle();
        assert_int_equal(strlen(kit.line), strlen("-b -c"));
        assert_int_equal(asker.err, RUSM_EAGAIN);
        pass_ms(2000);
        assert_int_equal(strncmp(kit.line + 6, "-a +", 4), 0);
        assert_int_equal(asker.err, RUSM_OK);
        assert_int_equal(asker.count.active, 2);
        assert_int_equal(asker.count.restarts, 2);
        assert_int_equal(count_of(sup).specs, 3);
        stop(sup);
    }
}

static void stranger_main(void *arg)
{
    const rusm_reason why = rusm_reason_crashed("nonsense");
    const rusm_pid *sup = arg;

    assert_int_equal(rusm_exit_process(*sup, &why), RUSM_OK);
    assert_int_equal(rusm_send(*sup, "hello", 5), RUSM_OK);
    assert_int_equal(rusm_cast(*sup, "hello", 5), RUSM_OK);
    assert_int_equal(rusm_link(*sup), RUSM_OK);
    rusm_crash("as well");
}

static void test_strangers_are_ignored_and_counted(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_msg *reply;
        rusm_pid sup;

        kit_open(seed);
        sup = open_simply(RUSM_ONE_FOR_ALL, 2);
        kit.line[0] = '\0';
        assert_int_equal(rusm_spawn(NULL, stranger_main, &sup, NULL), RUSM_OK);
        settle();
        assert_said("");
        assert_int_equal(unexpected(), 4);
        /* A call that is no request is answered, so that nobody waits for nothing. */
        assert_int_equal(rusm_call(sup, "what?", 5, CALL_MS, &reply), RUSM_OK);
        rusm_msg_del(reply);
        assert_int_equal(count_of(sup).active, 2);
        stop(sup);
    }
}

/* A child's own exit signal to its supervisor is no end of the child. */
static void impostor_main(void *arg)
{
    const rusm_reason why = rusm_reason_make(RUSM_REASON_SHUTDOWN);
    rusm_pid *sup = arg;
    rusm_msg *msg;

    assert_int_equal(rusm_exit_process(*sup, &why), RUSM_OK);
    assert_int_equal(rusm_receive(&msg, INFINITE), RUSM_OK);
}

static void test_exit_signal_of_a_child_is_not_its_end(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec spec;
        rusm_pid sup, child;

        kit_open(seed);
        sup = open_simply(RUSM_ONE_FOR_ONE, 1);
        rusm_child_spec_init(&spec);
        spec.id = "impostor";
        spec.fn = impostor_main;
        spec.arg = &sup;
        assert_int_equal(rusm_supervisor_start_child(sup, &spec, NULL, CALL_MS, &child), RUSM_OK);
        settle();
        assert_int_equal(count_of(sup).active, 2);
        assert_true(rusm_is_alive(child));
        stop(sup);
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

static void test_requests(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec specs[4];
        rusm_supervisor_config cfg;
        rusm_pid sup, pid = RUSM_PID_NONE;

        kit_open(seed);
        specs_init(specs, 4);
        rusm_supervisor_config_init(&cfg);
        sup = open_with(&cfg, specs, 2);
        specs[2].is_supervisor = true;
        assert_int_equal(rusm_supervisor_start_child(sup, &specs[2], NULL, CALL_MS, &pid), RUSM_OK);
        settle();
        assert_true(rusm_pid_equal(pid, workers[2].pid));
        assert_int_equal(rusm_supervisor_start_child(sup, &specs[1], NULL, CALL_MS, &pid),
                         RUSM_EEXIST);
        assert_int_equal(rusm_supervisor_start_child(sup, NULL, NULL, CALL_MS, &pid), RUSM_EINVAL);
        assert_int_equal(count_of(sup).supervisors, 1);

        kit.line[0] = '\0';
        assert_int_equal(rusm_supervisor_restart_child(sup, "b", CALL_MS, NULL), RUSM_EEXIST);
        assert_int_equal(rusm_supervisor_delete_child(sup, "b", CALL_MS), RUSM_EEXIST);
        assert_int_equal(rusm_supervisor_terminate_child(sup, "b", CALL_MS), RUSM_OK);
        assert_said("-b");
        assert_int_equal(rusm_supervisor_terminate_child(sup, "b", CALL_MS), RUSM_OK);
        assert_int_equal(count_of(sup).specs, 3);
        assert_int_equal(count_of(sup).active, 2);
        assert_int_equal(rusm_supervisor_restart_child(sup, "b", CALL_MS, &pid), RUSM_OK);
        settle();
        assert_said("+b");
        assert_true(rusm_pid_equal(pid, workers[1].pid));
        assert_int_equal(rusm_supervisor_terminate_child(sup, "b", CALL_MS), RUSM_OK);
        assert_int_equal(rusm_supervisor_delete_child(sup, "b", CALL_MS), RUSM_OK);
        assert_int_equal(rusm_supervisor_delete_child(sup, "b", CALL_MS), RUSM_ENONAME);
        assert_int_equal(rusm_supervisor_terminate_child(sup, "b", CALL_MS), RUSM_ENONAME);
        assert_int_equal(rusm_supervisor_restart_child(sup, "b", CALL_MS, NULL), RUSM_ENONAME);
        assert_int_equal(rusm_supervisor_terminate_pid(sup, workers[0].pid, CALL_MS), RUSM_EINVAL);
        assert_int_equal(count_of(sup).restarts, 0);

        /* A child that does not start is not added. */
        specs[3].fn = NULL;
        specs[3].start = worker_start;
        workers[3].start_err = RUSM_EPERM;
        assert_int_equal(rusm_supervisor_start_child(sup, &specs[3], NULL, CALL_MS, &pid),
                         RUSM_EPERM);
        assert_string_equal(rusm_err_detail(), "d would not start");
        assert_int_equal(count_of(sup).specs, 2);
        kit.line[0] = '\0';
        stop(sup);
        assert_said("-c -a");
        assert_int_equal(rusm_supervisor_count(sup, CALL_MS, &(rusm_child_count){0}), RUSM_ENOPROC);
        assert_int_equal(rusm_supervisor_stop(sup, CALL_MS), RUSM_ENOPROC);
    }
}

static void test_bad_configs_are_refused(void **state)
{
    rusm_child_spec specs[2], good;
    rusm_supervisor_config cfg, bad;
    rusm_pid sup = RUSM_PID_NONE;
    char long_id[RUSM_NAME_MAX + 2];

    (void)state;
    kit_open(1);
#define refuse(config)                                                                             \
    do {                                                                                           \
        assert_int_equal(rusm_supervisor_start((config), &sup), RUSM_EINVAL);                      \
        assert_true(rusm_pid_is_none(sup));                                                        \
    } while (0)
    specs_init(specs, 2);
    good = specs[1];
    rusm_supervisor_config_init(&cfg);
    cfg.children = specs;
    cfg.children_len = 2;
    refuse(NULL);
    bad = cfg, bad.size = 1;
    refuse(&bad);
    bad = cfg, bad.strategy = (rusm_strategy)4;
    refuse(&bad);
    bad = cfg, bad.strategy = RUSM_SIMPLE_ONE_FOR_ONE;
    refuse(&bad);
    bad = cfg, bad.seconds = 0;
    refuse(&bad);
    bad = cfg, bad.backoff_min_ms = 2, bad.backoff_max_ms = 1;
    refuse(&bad);
    bad = cfg, bad.name = "";
    refuse(&bad);
    bad = cfg, bad.children = NULL;
    refuse(&bad);
    specs[1].id = "a";
    refuse(&cfg);
    assert_string_equal(rusm_err_detail(), "two children have the id 'a'");
    specs[1] = good, specs[1].id = NULL;
    refuse(&cfg);
    memset(long_id, 'x', sizeof(long_id) - 1);
    long_id[sizeof(long_id) - 1] = '\0';
    specs[1] = good, specs[1].id = long_id;
    refuse(&cfg);
    specs[1] = good, specs[1].start = worker_start;
    refuse(&cfg);
    specs[1] = good, specs[1].fn = NULL;
    refuse(&cfg);
    specs[1] = good, specs[1].restart = (rusm_restart)3;
    refuse(&cfg);
    specs[1] = good, specs[1].shutdown_ms = -2;
    refuse(&cfg);
    specs[1] = good, specs[1].size = 0;
    refuse(&cfg);
    specs[1] = good, specs[1].spawn = &(rusm_spawn_config){0};
    refuse(&cfg);
#undef refuse
    assert_int_equal(rusm_supervisor_stop(RUSM_PID_NONE, 0), RUSM_EINVAL);
    assert_int_equal(rusm_supervisor_terminate_child(rusm_self(), "", 0), RUSM_EINVAL);
    assert_int_equal(rusm_supervisor_list(rusm_self(), NULL, NULL, 0, 0), RUSM_EINVAL);
    assert_said("");
    kit_close();
}

static void test_list_in_pages(void **state)
{
    rusm_child_info infos[7];
    rusm_child_spec spec;
    rusm_supervisor_config cfg;
    uint64_t cursor = 0, seen = 0, pages = 0;
    char id[32];
    rusm_pid sup;

    (void)state;
    kit_open(1);
    rusm_supervisor_config_init(&cfg);
    sup = open_with(&cfg, NULL, 0);
    for (unsigned i = 0; i < 100; i++) {
        (void)snprintf(id, sizeof(id), "child %u", i);
        rusm_child_spec_init(&spec);
        spec.id = id;
        spec.fn = worker_main;
        spec.arg = &workers[0];
        assert_int_equal(rusm_supervisor_start_child(sup, &spec, NULL, CALL_MS, NULL), RUSM_OK);
    }
    do {
        ptrdiff_t len = rusm_supervisor_list(sup, &cursor, infos, 7, CALL_MS);

        assert_in_range(len, 1, 7);
        for (ptrdiff_t i = 0; i < len; i++) {
            (void)snprintf(id, sizeof(id), "child %u", (unsigned)seen++);
            assert_string_equal(infos[i].id, id);
            assert_true(rusm_is_alive(infos[i].pid));
        }
        if (++pages == 3) { /* the one that is next goes away, and another comes at the end */
            assert_int_equal(rusm_supervisor_terminate_child(sup, "child 21", CALL_MS), RUSM_OK);
            assert_int_equal(rusm_supervisor_delete_child(sup, "child 21", CALL_MS), RUSM_OK);
            seen++;
        }
    } while (cursor != 0);
    assert_int_equal(seen, 100);
    stop(sup);
    kit_close();
}

/* Who asked goes away; the supervisor goes on with what it was asked, from its own copy. */
static void gone_asker(void *arg)
{
    const rusm_pid *sup = arg;
    char id[] = "b";
    char label[] = "label of b";
    rusm_spawn_config spawn;
    rusm_child_spec spec;

    rusm_spawn_config_init(&spawn);
    spawn.label = label;
    rusm_child_spec_init(&spec);
    spec.id = id;
    spec.start = slow_start;
    spec.arg = &workers[1];
    spec.spawn = &spawn;
    assert_int_equal(rusm_supervisor_start_child(*sup, &spec, NULL, 500, NULL), RUSM_ETIMEOUT);
    memset(id, 'x', sizeof(id) - 1);
    memset(label, 'x', sizeof(label) - 1);
}

static void test_request_outlives_who_asked(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_info infos[2];
        uint64_t cursor = 0;
        rusm_pid sup, asker;

        kit_open(seed);
        sup = open_simply(RUSM_ONE_FOR_ONE, 1);
        assert_int_equal(rusm_spawn(NULL, gone_asker, &sup, &asker), RUSM_OK);
        pass_ms(600);
        assert_false(rusm_is_alive(asker));
        pass_ms(401);
        assert_said("+a +b");
        assert_int_equal(rusm_supervisor_list(sup, &cursor, infos, 2, CALL_MS), 2);
        assert_string_equal(infos[1].id, "b");
        stop(sup);
    }
}

/* ---- simple_one_for_one ---------------------------------------------------------------------- */

static rusm_pid open_dynamic(rusm_restart restart, int64_t shutdown_ms)
{
    rusm_supervisor_config cfg;
    rusm_child_spec template;

    rusm_child_spec_init(&template);
    template.fn = worker_main;
    template.restart = restart;
    template.shutdown_ms = shutdown_ms;
    rusm_supervisor_config_init(&cfg);
    cfg.strategy = RUSM_SIMPLE_ONE_FOR_ONE;
    return open_with(&cfg, &template, 1);
}

static rusm_pid add(rusm_pid sup, unsigned worker)
{
    rusm_pid pid;

    assert_int_equal(rusm_supervisor_start_child(sup, NULL, &workers[worker], CALL_MS, &pid),
                     RUSM_OK);
    settle();
    return pid;
}

static void test_dynamic_children(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec spec;
        rusm_pid sup, first;

        kit_open(seed);
        sup = open_dynamic(RUSM_TRANSIENT, 5000);
        assert_int_equal(count_of(sup).specs, 0);
        first = add(sup, 0);
        assert_true(rusm_pid_equal(first, workers[0].pid));
        (void)add(sup, 1);
        (void)add(sup, 2);
        assert_said("+a +b +c");
        tell(&workers[0], "c"); /* restarted with its own argument */
        assert_said("-a +a");
        tell(&workers[1], "n"); /* forgotten */
        assert_said("-b");
        assert_int_equal(count_of(sup).specs, 2);
        assert_int_equal(rusm_supervisor_terminate_pid(sup, first, CALL_MS), RUSM_ENONAME);
        assert_int_equal(rusm_supervisor_terminate_pid(sup, workers[0].pid, CALL_MS), RUSM_OK);
        assert_said("-a");
        assert_int_equal(count_of(sup).specs, 1);
        specs_init(&spec, 1);
        assert_int_equal(rusm_supervisor_start_child(sup, &spec, NULL, CALL_MS, NULL), RUSM_EINVAL);
        stop(sup);
        assert_said("-c");
    }
}

/* One shutdown for all of them together. */
static void test_dynamic_children_stop_together(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_time begun;
        rusm_pid sup;

        kit_open(seed);
        sup = open_dynamic(RUSM_TEMPORARY, 1000);
        for (unsigned i = 0; i < WORKERS; i++) {
            workers[i].linger_ms = 600;
            (void)add(sup, i);
        }
        workers[3].stubborn = true;
        begun = rusm_test_now(kit.pool);
        stop(sup);
        assert_in_range(rusm_test_now(kit.pool) - begun, 1000 * NS_PER_MS, 1002 * NS_PER_MS);
        for (unsigned i = 0; i < WORKERS; i++) {
            assert_false(rusm_is_alive(workers[i].pid));
        }
        assert_int_equal(unexpected(), 0);
    }
}

/* ---- supervisors of supervisors -------------------------------------------------------------- */

static rusm_err nested_start(void *arg, rusm_pid *out_pid)
{
    rusm_child_spec specs[WORKERS];
    rusm_supervisor_config cfg;
    unsigned first = (unsigned)(uintptr_t)arg;

    specs_init(specs, WORKERS);
    rusm_supervisor_config_init(&cfg);
    cfg.children = specs + first;
    cfg.children_len = 2;
    cfg.max_restarts = 1;
    return rusm_supervisor_start(&cfg, out_pid);
}

static void test_supervisors_of_supervisors(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec specs[2];
        rusm_supervisor_config cfg;
        rusm_pid top;

        kit_open(seed);
        for (unsigned i = 0; i < 2; i++) {
            rusm_child_spec_init(&specs[i]);
            specs[i].id = i == 0 ? "left" : "right";
            specs[i].start = nested_start;
            specs[i].arg = (void *)(uintptr_t)(2 * i);
            specs[i].is_supervisor = true;
            specs[i].shutdown_ms = INFINITE;
        }
        rusm_supervisor_config_init(&cfg);
        top = open_with(&cfg, specs, 2);
        assert_int_equal(count_of(top).supervisors, 2);
        kit.line[0] = '\0';
        /* One below gives up: the one above starts it again, with all below it. */
        tell(&workers[3], "c");
        assert_said("-d +d");
        tell(&workers[3], "c");
        assert_int_equal(strncmp(kit.line, "-d -c +", 7), 0);
        assert_int_equal(workers[2].starts, 2);
        assert_int_equal(workers[3].starts, 3);
        assert_int_equal(count_of(top).restarts, 1);
        kit.line[0] = '\0';
        stop(top);
        assert_said("-d -c -b -a");
        assert_int_equal(unexpected(), 0);
    }
}

/* ---- start functions ------------------------------------------------------------------------- */

/* Its child has ended before it returns: how, is known from the link. */
static rusm_err hasty_start(void *arg, rusm_pid *out_pid)
{
    rusm_err err = worker_start(arg, out_pid);

    while (err == RUSM_OK && ((struct worker *)arg)->starts == 0) {
        rusm_yield();
    }
    if (err == RUSM_OK) {
        assert_int_equal(rusm_send(*out_pid, "n", 1), RUSM_OK);
        while (rusm_is_alive(*out_pid)) {
            rusm_yield();
        }
    }
    return err;
}

static void test_child_that_ends_during_its_start(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec spec;
        rusm_supervisor_config cfg;
        rusm_pid sup;

        kit_open(seed);
        specs_init(&spec, 1);
        spec.fn = NULL;
        spec.start = hasty_start;
        spec.restart = RUSM_TRANSIENT;
        rusm_supervisor_config_init(&cfg);
        sup = open_with(&cfg, &spec, 1);
        assert_said("+a -a");
        assert_int_equal(count_of(sup).restarts, 0);
        assert_int_equal(count_of(sup).specs, 1);
        stop(sup);
        assert_int_equal(unexpected(), 0);
    }
}

static rusm_err wrong_start(void *arg, rusm_pid *out_pid)
{
    *out_pid = *(const rusm_pid *)arg;
    return RUSM_OK;
}

static void test_start_must_give_a_new_process(void **state)
{
    rusm_pid sup, self, none = RUSM_PID_NONE;
    const rusm_pid *wrong[3];
    rusm_child_spec spec;

    (void)state;
    kit_open(1);
    sup = open_simply(RUSM_ONE_FOR_ONE, 1);
    self = rusm_self();
    wrong[0] = &sup, wrong[1] = &self, wrong[2] = &none;
    for (unsigned i = 0; i < 4; i++) {
        rusm_child_spec_init(&spec);
        spec.id = "wrong";
        spec.start = wrong_start;
        spec.arg = i == 3 ? (void *)&workers[0].pid : (void *)(uintptr_t)wrong[i];
        assert_int_equal(rusm_supervisor_start_child(sup, &spec, NULL, CALL_MS, NULL), RUSM_EINVAL);
    }
    assert_int_equal(count_of(sup).specs, 1);
    assert_said("+a");
    stop(sup);
    kit_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_children_start_in_order_and_stop_in_reverse),
        cmocka_unit_test(test_failed_start_stops_those_before_it),
        cmocka_unit_test(test_shutdown_that_takes_too_long_is_a_kill),
        cmocka_unit_test(test_infinite_shutdown_waits),
        cmocka_unit_test(test_one_for_one_restarts_that_child),
        cmocka_unit_test(test_one_for_all_restarts_all),
        cmocka_unit_test(test_rest_for_one_restarts_those_after_it),
        cmocka_unit_test(test_restart_types),
        cmocka_unit_test(test_group_restart_forgets_temporary_and_starts_ended),
        cmocka_unit_test(test_unlinked_child_is_still_noticed),
        cmocka_unit_test(test_restarts_within_the_window_are_too_many),
        cmocka_unit_test(test_border_belongs_to_the_window),
        cmocka_unit_test(test_restart_past_the_window_is_forgotten),
        cmocka_unit_test(test_no_restart_allowed_means_none),
        cmocka_unit_test(test_restart_that_fails_is_tried_again_and_counted),
        cmocka_unit_test(test_restart_of_all_that_fails_begins_again),
        cmocka_unit_test(test_restart_of_the_rest_that_fails_goes_on_there),
        cmocka_unit_test(test_restart_waits_for_its_name),
        cmocka_unit_test(test_backoff_doubles_and_is_forgotten),
        cmocka_unit_test(test_supervisor_answers_while_a_child_waits),
        cmocka_unit_test(test_group_waits_together),
        cmocka_unit_test(test_wait_is_passed_on),
        cmocka_unit_test(test_end_of_parent_stops_everything),
        cmocka_unit_test(test_end_of_parent_during_start),
        cmocka_unit_test(test_killed_supervisor_takes_its_children_along),
        cmocka_unit_test(test_what_happens_during_a_stop_is_handled_afterwards),
        cmocka_unit_test(test_strangers_are_ignored_and_counted),
        cmocka_unit_test(test_exit_signal_of_a_child_is_not_its_end),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_bad_configs_are_refused),
        cmocka_unit_test(test_list_in_pages),
        cmocka_unit_test(test_request_outlives_who_asked),
        cmocka_unit_test(test_dynamic_children),
        cmocka_unit_test(test_dynamic_children_stop_together),
        cmocka_unit_test(test_supervisors_of_supervisors),
        cmocka_unit_test(test_child_that_ends_during_its_start),
        cmocka_unit_test(test_start_must_give_a_new_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
