/* SPDX-License-Identifier: MIT */
/* Pools, runtimes and how they stop; lists and counters; errors of processes and threads. */
#include "otp/fixture_test.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

static void body_forever(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_del(msg);
    }
}

static void body_sleep(void *arg)
{
    (void)arg;
    (void)!rusm_sleep(3600 * 1000);
}

static void body_breed(void *arg)
{
    struct fixture *fixture = arg;

    for (;;) {
        rusm_err err = rusm_spawn(NULL, body_forever, NULL, NULL);

        if (err != RUSM_OK) {
            fixture_count(fixture);
            body_forever(NULL);
        }
        rusm_yield();
    }
}

static void test_configs_are_checked(void **state)
{
    struct fixture *fixture = *state;
    rusm_pool_config pool_cfg;
    rusm_runtime_config cfg;
    rusm_pool *pool = NULL;
    rusm_runtime *rt = NULL;

    rusm_pool_config_init(&pool_cfg);
    assert_int_equal(pool_cfg.stack_size, 65536);
    assert_int_equal(pool_cfg.processes_max, 4194304);
    pool_cfg.size = 3;
    assert_int_equal(rusm_pool_new(&pool, &pool_cfg), RUSM_EINVAL);
    rusm_pool_config_init(&pool_cfg);
    pool_cfg.processes_max = 0;
    assert_int_equal(rusm_pool_new(&pool, &pool_cfg), RUSM_EINVAL);
    rusm_pool_config_init(&pool_cfg);
    pool_cfg.threads = 1000000;
    assert_int_equal(rusm_pool_new(&pool, &pool_cfg), RUSM_EINVAL);
    assert_null(pool);
    rusm_runtime_config_init(&cfg);
    cfg.size = 3;
    assert_int_equal(rusm_runtime_new(&rt, &cfg), RUSM_EINVAL);
    rusm_runtime_config_init(&cfg);
    cfg.name = "";
    assert_int_equal(rusm_runtime_new(&rt, &cfg), RUSM_EINVAL);
    assert_null(rt);
    assert_string_equal(rusm_runtime_name(fixture->rt), "test");
    assert_true(rusm_runtime_incarnation(fixture->rt) != 0);
    rusm_runtime_del(NULL);
    rusm_pool_del(NULL);
}

static void test_stop_ends_ten_thousand_suspended_processes(void **state)
{
    struct fixture *fixture = *state;
    rusm_runtime_stats stats;
    rusm_pid pid;

    for (int i = 0; i < 10000; i++) {
        assert_int_equal(
            rusm_spawn(fixture->rt, i % 2 == 0 ? body_forever : body_sleep, NULL, &pid), RUSM_OK);
        assert_int_equal(rusm_send(pid, "unread", 6), RUSM_OK);
    }
    assert_int_equal(rusm_runtime_stop(fixture->rt, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_runtime_get_stats(fixture->rt, &stats), RUSM_OK);
    assert_int_equal(stats.processes, 0);
    assert_int_equal(stats.exited, 10000);
    assert_int_equal(rusm_spawn(fixture->rt, body_sleep, NULL, NULL), RUSM_ECLOSED);
    assert_int_equal(rusm_runtime_stop(fixture->rt, 0), RUSM_OK);
}

static void test_stop_ends_processes_that_keep_spawning(void **state)
{
    struct fixture *fixture = *state;

    for (int i = 0; i < 4; i++) {
        assert_int_equal(rusm_spawn(fixture->rt, body_breed, fixture, NULL), RUSM_OK);
    }
    fixture_until(true);
    assert_int_equal(rusm_runtime_stop(fixture->rt, TEST_LIMIT_MS), RUSM_OK);
}

struct endless {
    struct fixture *fixture;
    _Atomic(bool) stop;
};

static void body_endless(void *arg)
{
    struct endless *endless = arg;

    rusm_waiter_wake(endless->fixture->done);
    while (!atomic_load(&endless->stop)) {
    }
}

static void test_stop_gives_up_on_an_endless_loop_and_names_it(void **state)
{
    struct fixture *fixture = *state;
    struct endless endless = {.fixture = fixture};
    rusm_spawn_config cfg;
    rusm_pid pid;

    rusm_spawn_config_init(&cfg);
    cfg.label = "the endless one";
    assert_int_equal(rusm_spawn_with(fixture->rt, body_endless, &endless, &cfg, &pid), RUSM_OK);
    fixture_wait(fixture);
    assert_int_equal(rusm_runtime_stop(fixture->rt, 30), RUSM_ETIMEOUT);
    assert_non_null(strstr(rusm_err_detail(), "the endless one"));
    atomic_store(&endless.stop, true);
    assert_int_equal(rusm_runtime_stop(fixture->rt, TEST_LIMIT_MS), RUSM_OK);
}

static void test_runtimes_on_one_pool_stop_alone(void **state)
{
    struct fixture *fixture = *state;
    rusm_runtime_config cfg;
    rusm_runtime *other;
    rusm_pid here, there;
    rusm_runtime_stats stats;

    rusm_runtime_config_init(&cfg);
    cfg.pool = fixture->pool;
    cfg.name = "other";
    assert_int_equal(rusm_runtime_new(&other, &cfg), RUSM_OK);
    assert_true(rusm_runtime_incarnation(other) != rusm_runtime_incarnation(fixture->rt));
    for (int i = 0; i < 100; i++) {
        assert_int_equal(rusm_spawn(fixture->rt, body_forever, NULL, &here), RUSM_OK);
        assert_int_equal(rusm_spawn(other, body_forever, NULL, &there), RUSM_OK);
    }
    /* A serial of one runtime is none of the other's. */
    assert_int_equal(rusm_send((rusm_pid){here.incarnation, there.serial}, "x", 1), RUSM_ENOPROC);
    assert_int_equal(rusm_kill((rusm_pid){here.incarnation, there.serial}), RUSM_ENOPROC);
    rusm_runtime_del(other);
    assert_false(rusm_is_alive(there));
    assert_true(rusm_is_alive(here));
    assert_int_equal(rusm_send(there, "x", 1), RUSM_ENONODE);
    assert_int_equal(rusm_runtime_get_stats(fixture->rt, &stats), RUSM_OK);
    assert_int_equal(stats.processes, 100);
}

static void test_default_pool_comes_and_goes(void **state)
{
    struct fixture *fixture = *state;

    for (int i = 0; i < 3; i++) {
        rusm_runtime *first, *second;

        assert_int_equal(rusm_runtime_new(&first, NULL), RUSM_OK);
        assert_string_equal(rusm_runtime_name(first), "local");
        assert_int_equal(rusm_runtime_new(&second, NULL), RUSM_OK);
        assert_int_equal(rusm_spawn(first, body_forever, NULL, NULL), RUSM_OK);
        rusm_runtime_del(first);
        assert_int_equal(rusm_spawn(second, body_sleep, NULL, NULL), RUSM_OK);
        rusm_runtime_del(second);
    }
    rusm_runtime_set_owner(fixture->rt, fixture);
    assert_ptr_equal(rusm_runtime_get_owner(fixture->rt), fixture);
}

struct prober {
    rusm_pid pid;
    _Atomic(bool) stop;
};

static void *probe(void *arg)
{
    struct prober *prober = arg;
    rusm_process_info info;

    while (!atomic_load(&prober->stop)) {
        (void)!rusm_send(prober->pid, "x", 1);
        (void)rusm_is_alive(prober->pid);
        (void)!rusm_kill(prober->pid);
        (void)!rusm_process_get_info(prober->pid, &info);
    }
    return NULL;
}

/* A thread that holds a pid may use it while its runtime and its pool go away. */
static void test_pid_may_outlive_its_runtime(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct prober prober = {.stop = false};
        rusm_runtime *rt;
        pthread_t thread;

        assert_int_equal(rusm_runtime_new(&rt, NULL), RUSM_OK);
        assert_int_equal(rusm_spawn(rt, body_forever, NULL, &prober.pid), RUSM_OK);
        assert_int_equal(pthread_create(&thread, NULL, probe, &prober), 0);
        rusm_runtime_del(rt);
        atomic_store(&prober.stop, true);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
}

/* ---- lists ---- */

static void test_list_shows_each_lasting_process_once(void **state)
{
    enum {
        LASTING = 300
    };
    struct fixture *fixture = *state;
    static rusm_pid pids[LASTING];
    static int seen[LASTING];
    rusm_process_info infos[7];
    uint64_t cursor = 0;
    rusm_spawn_config cfg;

    memset(seen, 0, sizeof(seen));
    rusm_spawn_config_init(&cfg);
    cfg.label = "lasting";
    for (int i = 0; i < LASTING; i++) {
        assert_int_equal(rusm_spawn_with(fixture->rt, body_forever, NULL, &cfg, &pids[i]), RUSM_OK);
    }
    do {
        ptrdiff_t len = rusm_process_list(fixture->rt, &cursor, infos, 7);

        assert_true(len >= 0 && len <= 7);
        for (ptrdiff_t i = 0; i < len; i++) {
            for (int p = 0; p < LASTING; p++) {
                if (rusm_pid_equal(infos[i].pid, pids[p])) {
                    seen[p]++;
                    assert_string_equal(infos[i].label, "lasting");
                }
            }
        }
        for (int i = 0; i < 10; i++) {
            rusm_pid pid;

            assert_int_equal(rusm_spawn(fixture->rt, body_sleep, NULL, &pid), RUSM_OK);
            assert_int_equal(rusm_kill(pid), RUSM_OK);
        }
    } while (cursor != 0);
    for (int p = 0; p < LASTING; p++) {
        assert_int_equal(seen[p], 1);
    }
    assert_int_equal(rusm_process_list(fixture->rt, NULL, infos, 7), RUSM_EINVAL);
    assert_int_equal(rusm_process_list(fixture->rt, &cursor, NULL, 7), RUSM_EINVAL);
    assert_int_equal(rusm_process_list(fixture->rt, &cursor, infos, 0), RUSM_EINVAL);
    assert_int_equal(rusm_process_list(NULL, &cursor, infos, 7), RUSM_ENOCONTEXT);
}

static void test_info_tells_state_label_name_and_mailbox(void **state)
{
    struct fixture *fixture = *state;
    rusm_process_info info;
    rusm_spawn_config cfg;
    char text[RUSM_PID_TEXT_MAX], expected[RUSM_PID_TEXT_MAX];
    rusm_pid pid;

    rusm_spawn_config_init(&cfg);
    cfg.label = "sleeper";
    cfg.name = "bed";
    cfg.stack_size = 128 * 1024;
    assert_int_equal(rusm_spawn_with(fixture->rt, body_sleep, NULL, &cfg, &pid), RUSM_OK);
    fixture_until(fixture_state(pid) == RUSM_PROCESS_WAITING);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(rusm_send(pid, "x", 1), RUSM_OK);
    }
    fixture_until(fixture_state(pid) == RUSM_PROCESS_WAITING);
    assert_int_equal(rusm_process_get_info(pid, &info), RUSM_OK);
    assert_true(rusm_pid_equal(info.pid, pid));
    assert_int_equal(info.mailbox_len, 5);
    assert_string_equal(info.label, "sleeper");
    assert_string_equal(info.name, "bed");
    assert_true(info.memory_bytes >= 128 * 1024);
    assert_string_equal(rusm_process_state_name(info.state), "waiting");
    assert_int_equal(rusm_process_get_info(pid, NULL), RUSM_EINVAL);
    pid.serial ^= (uint64_t)1 << 40;
    assert_int_equal(rusm_process_get_info(pid, &info), RUSM_ENOPROC);
    assert_int_equal(rusm_process_get_info(RUSM_PID_NONE, &info), RUSM_ENOPROC);
    (void)snprintf(expected, sizeof(expected), "<test.%llu>", (unsigned long long)pid.serial);
    assert_int_equal(rusm_pid_format(pid, text, sizeof(text)), strlen(expected));
    assert_string_equal(text, expected);
    assert_int_equal(rusm_pid_format(pid, text, 3), strlen(expected));
    assert_string_equal(text, "<t");
}

/* ---- errors ---- */

static void body_own_error(void *arg)
{
    struct fixture *fixture = arg;
    rusm_msg *msg;

    (void)rusm_set_err_detail(RUSM_EPROTO, "%s", "the process's own");
    rusm_yield();
    if (strcmp(rusm_err_detail(), "the process's own") != 0) {
        (void)atomic_fetch_add(&fixture->count, 100);
    }
    /* The next error replaces it. */
    (void)!rusm_receive(&msg, 0);
    if (strcmp(rusm_err_detail(), "the process's own") == 0 || rusm_err_detail()[0] == '\0') {
        (void)atomic_fetch_add(&fixture->count, 100);
    }
    fixture_count(fixture);
}

static void test_error_detail_belongs_to_process_and_thread(void **state)
{
    struct fixture *fixture = *state;
    char text[600];

    assert_int_equal(rusm_set_err_detail(RUSM_EPERM, "number %d", 5), RUSM_EPERM);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(rusm_spawn(fixture->rt, body_own_error, fixture, NULL), RUSM_OK);
    }
    fixture_wait_count(fixture, &fixture->count, 10);
    assert_int_equal(atomic_load(&fixture->count), 10);
    assert_string_equal(rusm_err_detail(), "number 5");
    memset(text, 'x', sizeof(text));
    memcpy(text + 254, "\xc3\xa4", 2); /* a character across the limit */
    text[sizeof(text) - 1] = '\0';
    (void)rusm_set_err_detail(RUSM_EPERM, "%s", text);
    assert_int_equal(strlen(rusm_err_detail()), 254);
    assert_int_equal(rusm_set_err_detail(RUSM_EPERM, "again: %s", "y"), RUSM_EPERM);
    assert_int_equal(rusm_kill((rusm_pid){1, 1}), RUSM_ENONODE);
    assert_null(strstr(rusm_err_detail(), "again"));
    assert_true(rusm_err_detail()[0] != '\0');
}

static void test_each_error_has_its_own_name_and_text(void **state)
{
    (void)state;
#define X(name, value, text)                                                                       \
    assert_int_equal(name, value);                                                                 \
    assert_string_equal(rusm_err_name(value), #name);                                              \
    assert_string_equal(rusm_err_text(value), text);
    RUSM_ERR_MAP(X)
#undef X
    assert_string_equal(rusm_err_name(RUSM_OK), "RUSM_OK");
    assert_string_equal(rusm_err_name(-9999), "RUSM_E?");
    assert_string_equal(rusm_err_text(-9999), "unknown error");
    for (int kind = RUSM_REASON_NORMAL; kind <= RUSM_REASON_STACK_OVERFLOW; kind++) {
        assert_string_not_equal(rusm_reason_name((rusm_reason_kind)kind), "unknown");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_configs_are_checked),
        fixture_test(test_stop_ends_ten_thousand_suspended_processes),
        fixture_test(test_stop_ends_processes_that_keep_spawning),
        fixture_test(test_stop_gives_up_on_an_endless_loop_and_names_it),
        fixture_test(test_runtimes_on_one_pool_stop_alone),
        fixture_test(test_default_pool_comes_and_goes),
        fixture_test(test_pid_may_outlive_its_runtime),
        fixture_test(test_list_shows_each_lasting_process_once),
        fixture_test(test_info_tells_state_label_name_and_mailbox),
        fixture_test(test_error_detail_belongs_to_process_and_thread),
        fixture_test(test_each_error_has_its_own_name_and_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
