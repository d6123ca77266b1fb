/* SPDX-License-Identifier: MIT */
/* The generic server: what it hears, how it starts, how it ends, and who hears of that. */
#include "otp/fixture_test.h"

#include <rusm/test.h>

#include <sched.h>

/* What a server of these tests is told to do in init, and what was seen of it. */
struct probe {
    enum {
        INIT_OK,
        INIT_FAILS,
        INIT_CRASHES,
        INIT_EXITS,
        INIT_HANGS
    } init;
    int64_t terminate_ms;     /* how long terminate takes */
    _Atomic(uint64_t) heard;  /* messages that info got */
    _Atomic(uint32_t) kind;   /* of the last of those */
    _Atomic(uint32_t) begun;  /* init was called */
    _Atomic(uint32_t) ended;  /* terminate was called */
    rusm_reason reason;       /* and its reason */
    _Atomic(uint64_t) serial; /* of the server's pid */
};

struct counter {
    struct probe *probe;
    int value;
};

static bool is_text(const rusm_msg *msg, const char *text)
{
    return rusm_msg_len(msg) == strlen(text) && memcmp(rusm_msg_data(msg), text, strlen(text)) == 0;
}

static rusm_err counter_init(void *arg, void **out_state)
{
    struct probe *probe = arg;
    struct counter *counter = rusm_zalloc(sizeof(*counter));

    atomic_store(&probe->serial, rusm_self().serial);
    atomic_store(&probe->begun, 1);
    switch (probe->init) {
    case INIT_OK:
        break;
    case INIT_FAILS:
        return rusm_set_err_detail(RUSM_EFACTORY, "no counter today");
    case INIT_CRASHES:
        rusm_crash("init is broken");
    case INIT_EXITS:
        rusm_exit(RUSM_REASON_NORMAL);
    case INIT_HANGS:
        (void)!rusm_sleep(RUSM_INFINITY);
        break;
    }
    if (counter == NULL) {
        return RUSM_ENOMEM;
    }
    counter->probe = probe;
    *out_state = counter;
    return RUSM_OK;
}

static void counter_call(void *state, rusm_msg *request)
{
    struct counter *counter = state;
    rusm_reason reason = rusm_reason_crashed("by choice");

    if (is_text(request, "server_exit")) {
        rusm_server_exit(&reason);
    } else if (is_text(request, "exit")) {
        rusm_exit(RUSM_REASON_SHUTDOWN);
    } else if (is_text(request, "exit_with")) {
        rusm_exit_with(&reason);
    } else if (is_text(request, "crash")) {
        rusm_crash("not by choice");
    }
    (void)!rusm_reply(rusm_msg_from(request), &counter->value, sizeof(counter->value));
}

static void counter_cast(void *state, rusm_msg *msg)
{
    struct counter *counter = state;

    (void)msg;
    counter->value++;
}

static void counter_info(void *state, rusm_msg *msg)
{
    struct counter *counter = state;

    atomic_store(&counter->probe->kind, (uint32_t)rusm_msg_get_kind(msg));
    (void)atomic_fetch_add(&counter->probe->heard, 1);
}

static void counter_terminate(void *state, const rusm_reason *reason)
{
    struct counter *counter = state;

    counter->probe->reason = *reason;
    (void)atomic_fetch_add(&counter->probe->ended, 1);
    if (counter->probe->terminate_ms != 0) {
        (void)!rusm_sleep(counter->probe->terminate_ms);
    }
    rusm_exit(RUSM_REASON_NORMAL); /* does not begin again */
}

static const rusm_server_ops counter_ops = {
    .size = sizeof(rusm_server_ops),
    .init = counter_init,
    .call = counter_call,
    .cast = counter_cast,
    .info = counter_info,
    .terminate = counter_terminate,
};

static void enter(struct fixture *fixture)
{
    assert_int_equal(rusm_thread_enter(fixture->rt, "test"), RUSM_OK);
}

static rusm_pid start(struct probe *probe, bool trap)
{
    rusm_spawn_config cfg;
    rusm_pid pid;

    rusm_spawn_config_init(&cfg);
    cfg.trap_exit = trap;
    assert_int_equal(rusm_server_start(&counter_ops, probe, &cfg, TEST_LIMIT_MS, &pid), RUSM_OK);
    return pid;
}

/* Nothing has come to the caller, and nothing ties it to anybody. */
static void assert_clean(void)
{
    rusm_process_info info;
    rusm_msg *msg;

    assert_int_equal(rusm_receive(&msg, 0), RUSM_ETIMEOUT); /* and no exit ends it */
    assert_int_equal(rusm_process_get_info(rusm_self(), &info), RUSM_OK);
    assert_int_equal(info.links, 0);
    assert_int_equal(info.monitors, 0);
}

static void assert_exit(rusm_pid pid, rusm_reason_kind kind)
{
    rusm_msg *msg;

    assert_int_equal(rusm_receive(&msg, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_EXIT);
    assert_true(rusm_pid_equal(rusm_msg_sender(msg), pid));
    assert_int_equal(rusm_msg_reason(msg)->kind, kind);
    rusm_msg_del(msg);
}

/* ---- what it hears --------------------------------------------------------------------------- */

static void test_calls_and_casts_change_the_state(void **state)
{
    struct probe probe = {.init = INIT_OK};
    rusm_msg *reply;
    rusm_pid pid;
    int value;

    enter(*state);
    pid = start(&probe, false);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rusm_cast(pid, NULL, 0), RUSM_OK);
    }
    assert_int_equal(rusm_call(pid, "get", 3, TEST_LIMIT_MS, &reply), RUSM_OK);
    memcpy(&value, rusm_msg_data(reply), sizeof(value));
    assert_int_equal(value, 3);
    rusm_msg_del(reply);
    assert_int_equal(rusm_server_stop(pid, TEST_LIMIT_MS), RUSM_OK);
    assert_clean();
    rusm_thread_leave();
}

static void send_exit(void *arg)
{
    rusm_reason reason = rusm_reason_crashed("told so");

    (void)!rusm_exit_process(*(const rusm_pid *)arg, &reason);
}

/* An exit that does not come from its parent is a message like others. */
static void test_info_hears_everything_else(void **state)
{
    struct probe probe = {.init = INIT_OK};
    rusm_pid pid;

    enter(*state);
    pid = start(&probe, true);
    assert_int_equal(rusm_send(pid, "x", 1), RUSM_OK);
    fixture_until(atomic_load(&probe.heard) == 1);
    assert_int_equal(atomic_load(&probe.kind), RUSM_MSG_DATA);
    assert_int_equal(rusm_spawn(NULL, send_exit, &pid, NULL), RUSM_OK);
    fixture_until(atomic_load(&probe.heard) == 2);
    assert_int_equal(atomic_load(&probe.kind), RUSM_MSG_EXIT);
    assert_int_equal(rusm_server_stop(pid, TEST_LIMIT_MS), RUSM_OK);
    rusm_thread_leave();
}

static void call_only(void *state, rusm_msg *request)
{
    (void)!rusm_reply(rusm_msg_from(request), &state, sizeof(state));
}

/* Without functions the state is arg, and what nobody takes is counted. */
static void test_server_with_calls_only(void **state)
{
    static const rusm_server_ops ops = {.size = sizeof(ops), .call = call_only};
    rusm_runtime_stats stats;
    rusm_msg *reply;
    void *told;
    rusm_pid pid;

    enter(*state);
    assert_int_equal(rusm_server_start(&ops, &pid, NULL, TEST_LIMIT_MS, &pid), RUSM_OK);
    assert_int_equal(rusm_send(pid, "x", 1), RUSM_OK);
    assert_int_equal(rusm_cast(pid, "x", 1), RUSM_OK);
    assert_int_equal(rusm_call(pid, NULL, 0, TEST_LIMIT_MS, &reply), RUSM_OK);
    memcpy(&told, rusm_msg_data(reply), sizeof(told));
    assert_ptr_equal(told, &pid);
    rusm_msg_del(reply);
    assert_int_equal(rusm_runtime_get_stats(NULL, &stats), RUSM_OK);
    assert_int_equal(stats.messages_unexpected, 2);
    assert_int_equal(rusm_server_stop(pid, TEST_LIMIT_MS), RUSM_OK);
    rusm_thread_leave();
}

static void cast_to_info(void *state, rusm_msg *msg)
{
    _Atomic(uint32_t) *kind = state;

    atomic_store(kind, (uint32_t)rusm_msg_get_kind(msg));
}

static void test_casts_go_to_info_without_a_function(void **state)
{
    static const rusm_server_ops ops = {
        .size = sizeof(ops), .call = call_only, .info = cast_to_info};
    static _Atomic(uint32_t) kind;
    rusm_pid pid;

    enter(*state);
    assert_int_equal(rusm_server_start(&ops, &kind, NULL, TEST_LIMIT_MS, &pid), RUSM_OK);
    assert_int_equal(rusm_cast(pid, "x", 1), RUSM_OK);
    fixture_until(atomic_load(&kind) == RUSM_MSG_CAST);
    assert_int_equal(rusm_server_stop(pid, TEST_LIMIT_MS), RUSM_OK);
    rusm_thread_leave();
}

/* ---- starting -------------------------------------------------------------------------------- */

static void test_started_server_is_linked(void **state)
{
    struct probe probe = {.init = INIT_OK};
    rusm_process_info info;
    rusm_pid pid;

    enter(*state);
    (void)rusm_trap_exit(true);
    pid = start(&probe, false);
    assert_int_equal(rusm_process_get_info(pid, &info), RUSM_OK);
    assert_int_equal(info.links, 1);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    assert_exit(pid, RUSM_REASON_KILLED);
    assert_clean();
    rusm_thread_leave();
}

static void test_start_may_name_and_monitor(void **state)
{
    struct probe probe = {.init = INIT_OK};
    rusm_spawn_config cfg;
    rusm_pid pid, found;
    rusm_ref ref = {0, 0};
    rusm_msg *msg;

    enter(*state);
    rusm_spawn_config_init(&cfg);
    cfg.name = "counter";
    cfg.out_ref = &ref;
    assert_int_equal(rusm_server_start(&counter_ops, &probe, &cfg, RUSM_INFINITY, &pid), RUSM_OK);
    assert_int_equal(rusm_whereis(NULL, "counter", &found), RUSM_OK);
    assert_true(rusm_pid_equal(pid, found));
    assert_int_equal(rusm_server_start(&counter_ops, &probe, &cfg, RUSM_INFINITY, &found),
                     RUSM_EEXIST);
    assert_int_equal(rusm_server_stop(pid, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_receive(&msg, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_DOWN);
    assert_true(rusm_ref_equal(rusm_msg_ref(msg), ref));
    rusm_msg_del(msg);
    assert_clean();
    rusm_thread_leave();
}

/* Start a server that does not come up, with and without trapping exits: the error, and nothing
 * else. */
static void start_in_vain(struct fixture *fixture, struct probe *probe, int64_t timeout_ms,
                          rusm_err wanted, const char *detail)
{
    for (int trap = 0; trap < 2; trap++) {
        rusm_spawn_config cfg;
        rusm_ref ref = {0, 0};
        rusm_pid pid = {1, 2};

        enter(fixture);
        (void)rusm_trap_exit(trap == 1);
        rusm_spawn_config_init(&cfg);
        cfg.name = "counter";
        cfg.out_ref = &ref;
        assert_int_equal(rusm_server_start(&counter_ops, probe, &cfg, timeout_ms, &pid), wanted);
        assert_non_null(strstr(rusm_err_detail(), detail));
        assert_true(rusm_pid_equal(pid, (rusm_pid){1, 2}));
        assert_int_equal(ref.number, 0);
        assert_clean();
        pid = (rusm_pid){rusm_self().incarnation, atomic_load(&probe->serial)};
        assert_false(rusm_is_alive(pid));
        assert_int_equal(rusm_whereis(NULL, "counter", &pid), RUSM_ENONAME);
        assert_int_equal(atomic_load(&probe->ended), 0);
        rusm_thread_leave();
    }
}

static void test_init_that_fails(void **state)
{
    struct probe probe = {.init = INIT_FAILS};

    start_in_vain(*state, &probe, TEST_LIMIT_MS, RUSM_EFACTORY, "no counter today");
}

static void test_init_that_crashes(void **state)
{
    struct probe probe = {.init = INIT_CRASHES};

    start_in_vain(*state, &probe, TEST_LIMIT_MS, RUSM_ENOPROC, "init is broken");
}

static void test_init_that_exits(void **state)
{
    struct probe probe = {.init = INIT_EXITS};

    start_in_vain(*state, &probe, TEST_LIMIT_MS, RUSM_ENOPROC, "normal");
}

static void test_init_that_takes_too_long(void **state)
{
    struct probe probe = {.init = INIT_HANGS};

    start_in_vain(*state, &probe, 5, RUSM_ETIMEOUT, "5 ms");
}

static void start_and_wait(void *arg)
{
    (void)!rusm_server_start(&counter_ops, arg, NULL, RUSM_INFINITY, NULL);
}

/* Nobody would know of the server any more. */
static void test_caller_killed_during_start_takes_the_server_with_it(void **state)
{
    struct fixture *fixture = *state;
    struct probe probe = {.init = INIT_HANGS};
    rusm_pid caller, server;

    assert_int_equal(rusm_spawn(fixture->rt, start_and_wait, &probe, &caller), RUSM_OK);
    fixture_until(atomic_load(&probe.begun) == 1);
    server = (rusm_pid){caller.incarnation, atomic_load(&probe.serial)};
    assert_true(rusm_is_alive(server));
    assert_int_equal(rusm_kill(caller), RUSM_OK);
    fixture_until(!rusm_is_alive(server));
}

static void test_bad_starts(void **state)
{
    static const rusm_server_ops no_call = {.size = sizeof(no_call)};
    static const rusm_server_ops no_size = {.call = call_only};
    rusm_spawn_config cfg = {.size = 1};
    rusm_pid pid;

    assert_int_equal(rusm_server_start(&counter_ops, NULL, NULL, 0, &pid), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_server_stop((rusm_pid){1, 1}, 0), RUSM_ENOCONTEXT);
    enter(*state);
    assert_int_equal(rusm_server_start(NULL, NULL, NULL, 0, &pid), RUSM_EINVAL);
    assert_int_equal(rusm_server_start(&no_call, NULL, NULL, 0, &pid), RUSM_EINVAL);
    assert_int_equal(rusm_server_start(&no_size, NULL, NULL, 0, &pid), RUSM_EINVAL);
    assert_int_equal(rusm_server_start(&counter_ops, NULL, &cfg, 0, &pid), RUSM_EINVAL);
    assert_int_equal(rusm_server_stop(RUSM_PID_NONE, 0), RUSM_EINVAL);
    assert_int_equal(rusm_server_stop(rusm_self(), 0), RUSM_EINVAL);
    assert_clean();
    rusm_thread_leave();
}

/* ---- ending ---------------------------------------------------------------------------------- */

static void test_stop_runs_terminate(void **state)
{
    for (int trap = 0; trap < 2; trap++) {
        struct probe probe = {.init = INIT_OK};
        rusm_pid pid;

        enter(*state);
        pid = start(&probe, trap == 1);
        assert_int_equal(rusm_server_stop(pid, TEST_LIMIT_MS), RUSM_OK);
        assert_int_equal(atomic_load(&probe.ended), 1);
        assert_int_equal(probe.reason.kind, RUSM_REASON_NORMAL);
        assert_int_equal(atomic_load(&probe.heard), 0);
        assert_int_equal(rusm_server_stop(pid, RUSM_INFINITY), RUSM_ENOPROC);
        assert_clean();
        rusm_thread_leave();
    }
}

static void test_stop_that_takes_too_long_goes_on(void **state)
{
    struct probe probe = {.init = INIT_OK, .terminate_ms = 50};
    rusm_pid pid;

    enter(*state);
    pid = start(&probe, false);
    assert_int_equal(rusm_server_stop(pid, 1), RUSM_ETIMEOUT);
    fixture_until(!rusm_is_alive(pid));
    assert_int_equal(atomic_load(&probe.ended), 1);
    assert_clean();
    rusm_thread_leave();
}

static void wait_in_call(void *state, rusm_msg *request)
{
    _Atomic(uint32_t) *go_on = state;

    (void)request;
    atomic_store(go_on, 1);
    while (atomic_load(go_on) != 2) {
        rusm_yield();
    }
}

/* A mailbox that takes no message takes the order to stop. */
static void test_stop_passes_a_full_mailbox(void **state)
{
    static const rusm_server_ops ops = {.size = sizeof(ops), .call = wait_in_call};
    static _Atomic(uint32_t) go_on;
    rusm_spawn_config cfg;
    rusm_pid pid;

    enter(*state);
    rusm_spawn_config_init(&cfg);
    cfg.mailbox_max = 1;
    assert_int_equal(rusm_server_start(&ops, &go_on, &cfg, TEST_LIMIT_MS, &pid), RUSM_OK);
    assert_int_equal(rusm_call(pid, NULL, 0, 0, NULL), RUSM_ETIMEOUT);
    fixture_until(atomic_load(&go_on) == 1);
    assert_int_equal(rusm_cast(pid, NULL, 0), RUSM_OK);
    assert_int_equal(rusm_cast(pid, NULL, 0), RUSM_EFULL);
    assert_int_equal(rusm_server_stop(pid, 0), RUSM_ETIMEOUT);
    atomic_store(&go_on, 2);
    fixture_until(!rusm_is_alive(pid));
    rusm_thread_leave();
}

static void ends_by(void **state, const char *how, rusm_reason_kind kind, unsigned terminated)
{
    struct probe probe = {.init = INIT_OK};
    rusm_pid pid;

    enter(*state);
    (void)rusm_trap_exit(true);
    pid = start(&probe, false);
    if (kind == RUSM_REASON_KILLED) {
        assert_int_equal(rusm_kill(pid), RUSM_OK);
    } else {
        assert_int_equal(rusm_call(pid, how, strlen(how), RUSM_INFINITY, NULL), RUSM_ENOPROC);
    }
    assert_exit(pid, terminated != 0 ? RUSM_REASON_NORMAL : kind);
    assert_int_equal(atomic_load(&probe.ended), terminated);
    if (terminated != 0) {
        assert_int_equal(probe.reason.kind, kind);
    }
    assert_clean();
    rusm_thread_leave();
}

/* The terminate of these tests ends with rusm_exit(normal), which the last assertion relies on. */
static void test_orderly_ends_terminate(void **state)
{
    ends_by(state, "server_exit", RUSM_REASON_CRASHED, 1);
    ends_by(state, "exit_with", RUSM_REASON_CRASHED, 1);
    ends_by(state, "exit", RUSM_REASON_SHUTDOWN, 1);
}

static void test_other_ends_do_not_terminate(void **state)
{
    ends_by(state, "crash", RUSM_REASON_CRASHED, 0);
    ends_by(state, "", RUSM_REASON_KILLED, 0);
}

struct family {
    struct probe probe;
    bool trap;
    rusm_reason reason;
};

/* Start a server, and end. */
static void parent(void *arg)
{
    struct family *family = arg;
    rusm_spawn_config cfg;

    rusm_spawn_config_init(&cfg);
    cfg.trap_exit = family->trap;
    if (rusm_server_start(&counter_ops, &family->probe, &cfg, RUSM_INFINITY, NULL) == RUSM_OK) {
        rusm_exit_with(&family->reason);
    }
}

static void test_end_of_the_parent(void **state)
{
    struct fixture *fixture = *state;

    for (int trap = 0; trap < 2; trap++) {
        struct family family = {.trap = trap == 1, .reason = rusm_reason_crashed("parent")};
        rusm_pid pid;

        assert_int_equal(rusm_spawn(fixture->rt, parent, &family, &pid), RUSM_OK);
        fixture_until(!rusm_is_alive(pid) && atomic_load(&family.probe.serial) != 0);
        pid.serial = atomic_load(&family.probe.serial);
        fixture_until(!rusm_is_alive(pid));
        assert_int_equal(atomic_load(&family.probe.ended), trap);
        if (trap == 1) {
            assert_string_equal(family.probe.reason.text, "parent");
        }
    }
}

static void run_server(void *arg)
{
    rusm_server_run(&counter_ops, arg);
}

static void run_nothing(void *arg)
{
    rusm_server_run(NULL, arg);
}

/* As a supervisor does with its children. */
static void test_run_in_a_spawned_process(void **state)
{
    struct probe probe = {.init = INIT_OK};
    rusm_reason shutdown = rusm_reason_make(RUSM_REASON_SHUTDOWN);
    rusm_spawn_config cfg;
    rusm_msg *msg;
    rusm_pid pid;
    rusm_ref ref;

    enter(*state);
    rusm_spawn_config_init(&cfg);
    cfg.trap_exit = true;
    cfg.out_ref = &ref;
    assert_int_equal(rusm_spawn_with(NULL, run_server, &probe, &cfg, &pid), RUSM_OK);
    assert_int_equal(rusm_call(pid, "get", 3, TEST_LIMIT_MS, NULL), RUSM_OK);
    assert_int_equal(rusm_exit_process(pid, &shutdown), RUSM_OK);
    assert_int_equal(rusm_receive(&msg, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_DOWN);
    rusm_msg_del(msg);
    assert_int_equal(atomic_load(&probe.ended), 1);
    assert_int_equal(probe.reason.kind, RUSM_REASON_SHUTDOWN);
    rusm_thread_leave();
}

static void assert_crash(rusm_process_fn fn, void *arg, const char *text)
{
    rusm_msg *msg;

    assert_int_equal(rusm_spawn_monitor(fn, arg, NULL, NULL), RUSM_OK);
    assert_int_equal(rusm_receive(&msg, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_msg_reason(msg)->kind, RUSM_REASON_CRASHED);
    assert_non_null(strstr(rusm_msg_reason(msg)->text, text));
    rusm_msg_del(msg);
}

static void test_run_that_can_not_begin_crashes(void **state)
{
    struct probe probe = {.init = INIT_FAILS};

    enter(*state);
    assert_crash(run_nothing, NULL, "needs functions");
    assert_crash(run_server, &probe, "no counter today");
    rusm_thread_leave();
}

/* ---- many at once ---------------------------------------------------------------------------- */

struct storm {
    struct fixture *fixture;
    _Atomic(uint64_t) ok, failed, late;
};

static rusm_err storm_init(void *arg, void **out_state)
{
    uint64_t dice = rusm_self().serial >> 32; /* another one in each life of a slot */

    for (uint64_t i = dice % 7; i > 0; i--) {
        rusm_yield();
    }
    *out_state = arg;
    return dice % 5 == 0 ? rusm_sleep(5) : dice % 3 == 0 ? RUSM_EFACTORY : RUSM_OK;
}

static void storm_start(void *arg)
{
    static const rusm_server_ops ops = {.size = sizeof(ops), .init = storm_init, .call = call_only};
    struct storm *storm = arg;
    rusm_pid pid;
    rusm_err err = rusm_server_start(&ops, storm, NULL, 1, &pid);

    if (err == RUSM_OK) {
        (void)atomic_fetch_add(&storm->ok, 1);
        (void)!rusm_server_stop(pid, RUSM_INFINITY);
    } else {
        (void)atomic_fetch_add(err == RUSM_ETIMEOUT ? &storm->late : &storm->failed, 1);
    }
}

static void storm_kill(void *arg)
{
    struct storm *storm = arg;

    for (unsigned i = 0; i < 300; i++) {
        rusm_pid pid;

        if (rusm_spawn(NULL, storm_start, storm, &pid) == RUSM_OK) {
            for (unsigned wait = i % 23; wait > 0; wait--) {
                rusm_yield();
            }
            if (i % 2 == 0) {
                (void)!rusm_kill(pid);
            }
        }
    }
    fixture_count(storm->fixture);
}

static uint64_t processes(struct fixture *fixture)
{
    rusm_runtime_stats stats;

    assert_int_equal(rusm_runtime_get_stats(fixture->rt, &stats), RUSM_OK);
    return stats.processes;
}

/* Starts that succeed, fail, run out of time, and lose their caller, on two threads. */
static void test_many_starts_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct storm storm = {.fixture = fixture};

    for (int i = 0; i < 4; i++) {
        assert_int_equal(rusm_spawn(fixture->rt, storm_kill, &storm, NULL), RUSM_OK);
    }
    fixture_wait_count(fixture, &fixture->count, 4);
    fixture_until(processes(fixture) == 0);
    assert_true(atomic_load(&storm.ok) > 0);
    assert_true(atomic_load(&storm.failed) > 0);
}

/* ---- every order of events ------------------------------------------------------------------- */

struct scene {
    rusm_pool *pool;
    struct probe probe;
    bool trap;
    int64_t timeout_ms;
    rusm_err err;
    bool returned, survived, strange;
};

static rusm_err scene_init(void *arg, void **out_state)
{
    struct scene *scene = arg;

    atomic_store(&scene->probe.serial, rusm_self().serial);
    *out_state = scene;
    (void)!rusm_sleep((int64_t)rusm_test_random(scene->pool, 4));
    switch (rusm_test_random(scene->pool, 4)) {
    case 0:
        return RUSM_EFACTORY;
    case 1:
        rusm_crash("chance");
    default:
        return RUSM_OK;
    }
}

static void scene_call(void *state, rusm_msg *request)
{
    (void)state;
    (void)!rusm_reply(rusm_msg_from(request), NULL, 0);
}

static void scene_caller(void *arg)
{
    static const rusm_server_ops ops = {
        .size = sizeof(ops), .init = scene_init, .call = scene_call};
    struct scene *scene = arg;
    rusm_process_info info;
    rusm_msg *msg;
    rusm_pid pid;

    (void)rusm_trap_exit(scene->trap);
    scene->err = rusm_server_start(&ops, scene, NULL, scene->timeout_ms, &pid);
    scene->returned = true;
    if (scene->err == RUSM_OK) {
        (void)!rusm_sleep(50);
        (void)!rusm_server_stop(pid, RUSM_INFINITY);
    } else {
        scene->strange = rusm_receive(&msg, 100) != RUSM_ETIMEOUT;
    }
    (void)!rusm_process_get_info(rusm_self(), &info);
    scene->strange =
        scene->strange || info.monitors != 0 || (scene->err != RUSM_OK && info.links != 0);
    scene->survived = true;
}

/* Whoever ends when: a start that fails leaves nothing, and no server is left without its caller. */
static void test_any_order(void **state)
{
    unsigned ok = 0, failed = 0, late = 0, ended = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 600; seed++) {
        struct scene scene = {.pool = NULL};
        rusm_runtime_config cfg;
        rusm_runtime_stats stats;
        rusm_runtime *rt;
        rusm_pid caller;

        assert_int_equal(rusm_test_pool_new(&scene.pool, seed, NULL), RUSM_OK);
        rusm_runtime_config_init(&cfg);
        cfg.pool = scene.pool;
        assert_int_equal(rusm_runtime_new(&rt, &cfg), RUSM_OK);
        scene.trap = rusm_test_random(scene.pool, 2) == 0;
        scene.timeout_ms = (int64_t)rusm_test_random(scene.pool, 5) - 1;
        assert_int_equal(rusm_spawn(rt, scene_caller, &scene, &caller), RUSM_OK);
        if (seed % 3 != 0) {
            for (uint64_t i = rusm_test_random(scene.pool, 12); i > 0; i--) {
                (void)rusm_test_step(scene.pool);
            }
            if (seed % 3 == 1) {
                (void)!rusm_kill(caller);
            } else {
                (void)!rusm_kill((rusm_pid){caller.incarnation, atomic_load(&scene.probe.serial)});
            }
        }
        (void)rusm_test_advance(scene.pool, 1000);
        assert_int_equal(rusm_runtime_get_stats(rt, &stats), RUSM_OK);
        if (scene.strange || stats.processes != 0 ||
            (seed % 3 == 0 && scene.err != RUSM_OK && !scene.survived)) {
            fail_msg("seed %llu", (unsigned long long)seed);
        }
        ok += scene.returned && scene.err == RUSM_OK;
        late += scene.returned && scene.err == RUSM_ETIMEOUT;
        failed += scene.returned && (scene.err == RUSM_EFACTORY || scene.err == RUSM_ENOPROC);
        ended += !scene.returned;
        rusm_runtime_del(rt);
        rusm_pool_del(scene.pool);
    }
    /* The seeds do try all of it. */
    assert_true(ok > 20 && failed > 20 && late > 20 && ended > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_calls_and_casts_change_the_state),
        fixture_test(test_info_hears_everything_else),
        fixture_test(test_server_with_calls_only),
        fixture_test(test_casts_go_to_info_without_a_function),
        fixture_test(test_started_server_is_linked),
        fixture_test(test_start_may_name_and_monitor),
        fixture_test(test_init_that_fails),
        fixture_test(test_init_that_crashes),
        fixture_test(test_init_that_exits),
        fixture_test(test_init_that_takes_too_long),
        fixture_test(test_caller_killed_during_start_takes_the_server_with_it),
        fixture_test(test_bad_starts),
        fixture_test(test_stop_runs_terminate),
        fixture_test(test_stop_that_takes_too_long_goes_on),
        fixture_test(test_stop_passes_a_full_mailbox),
        fixture_test(test_orderly_ends_terminate),
        fixture_test(test_other_ends_do_not_terminate),
        fixture_test(test_end_of_the_parent),
        fixture_test(test_run_in_a_spawned_process),
        fixture_test(test_run_that_can_not_begin_crashes),
        fixture_test(test_many_starts_at_once),
        cmocka_unit_test(test_any_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
