/* SPDX-License-Identifier: MIT */
/* Registered names of one runtime. */
#include "otp/fixture_test.h"
#include "otp/kit_fixture_test.h"

#include <sched.h>

static void body_wait(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    if (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_del(msg);
    }
}

static rusm_pid spawn_waiting(struct fixture *fixture)
{
    rusm_pid pid;

    assert_int_equal(rusm_spawn(fixture->rt, body_wait, NULL, &pid), RUSM_OK);
    return pid;
}

static void test_name_is_found_until_it_is_released(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid pid = spawn_waiting(fixture), found = {0};

    assert_int_equal(rusm_whereis(fixture->rt, "shop", &found), RUSM_ENONAME);
    assert_int_equal(rusm_register(fixture->rt, "shop", pid), RUSM_OK);
    assert_int_equal(rusm_whereis(fixture->rt, "shop", &found), RUSM_OK);
    assert_true(rusm_pid_equal(found, pid));
    assert_int_equal(rusm_unregister(fixture->rt, "shop"), RUSM_OK);
    assert_int_equal(rusm_whereis(fixture->rt, "shop", &found), RUSM_ENONAME);
    assert_int_equal(rusm_unregister(fixture->rt, "shop"), RUSM_ENONAME);
}

static void test_taken_name_is_refused_until_its_process_ends(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid first = spawn_waiting(fixture), second = spawn_waiting(fixture), found;

    assert_int_equal(rusm_register(fixture->rt, "shop", first), RUSM_OK);
    assert_int_equal(rusm_register(fixture->rt, "shop", second), RUSM_EEXIST);
    assert_int_equal(rusm_register(fixture->rt, "shop", first), RUSM_EEXIST);
    assert_int_equal(rusm_register(fixture->rt, "stall", first), RUSM_OK);
    assert_int_equal(rusm_kill(first), RUSM_OK);
    fixture_until(rusm_register(fixture->rt, "shop", second) == RUSM_OK);
    assert_int_equal(rusm_whereis(fixture->rt, "stall", &found), RUSM_ENONAME);
    fixture_until(!rusm_is_alive(first));
    assert_int_equal(rusm_register(fixture->rt, "other", first), RUSM_ENOPROC);
}

static void test_bad_names_and_pids_are_refused(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid pid = spawn_waiting(fixture), found;
    char text[RUSM_NAME_MAX + 2];

    memset(text, 'n', sizeof(text) - 1);
    text[RUSM_NAME_MAX + 1] = '\0';
    assert_int_equal(rusm_register(fixture->rt, text, pid), RUSM_EINVAL);
    text[RUSM_NAME_MAX] = '\0';
    assert_int_equal(rusm_register(fixture->rt, text, pid), RUSM_OK);
    assert_int_equal(rusm_whereis(fixture->rt, text, &found), RUSM_OK);
    assert_int_equal(rusm_register(fixture->rt, "", pid), RUSM_EINVAL);
    assert_int_equal(rusm_register(fixture->rt, NULL, pid), RUSM_EINVAL);
    assert_int_equal(rusm_register(fixture->rt, "a\xff", pid), RUSM_EINVAL);
    assert_int_equal(rusm_register(fixture->rt, "a\x1b[2J", pid), RUSM_EINVAL);
    assert_int_equal(rusm_register(fixture->rt, "shop", RUSM_PID_NONE), RUSM_EINVAL);
    pid.incarnation ^= 1;
    assert_int_equal(rusm_register(fixture->rt, "shop", pid), RUSM_EINVAL);
    assert_int_equal(rusm_unregister(fixture->rt, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_whereis(fixture->rt, NULL, &found), RUSM_EINVAL);
    assert_int_equal(rusm_whereis(NULL, "shop", &found), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_register(NULL, "shop", pid), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_unregister(NULL, "shop"), RUSM_ENOCONTEXT);
}

/* Names of one runtime mean nothing to another on the same pool. */
static void test_runtimes_have_names_of_their_own(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid pid = spawn_waiting(fixture), found;
    rusm_runtime_config cfg;
    rusm_runtime *other;

    rusm_runtime_config_init(&cfg);
    cfg.pool = fixture->pool;
    cfg.name = "other";
    assert_int_equal(rusm_runtime_new(&other, &cfg), RUSM_OK);
    assert_int_equal(rusm_register(fixture->rt, "shop", pid), RUSM_OK);
    assert_int_equal(rusm_whereis(other, "shop", &found), RUSM_ENONAME);
    assert_int_equal(rusm_register(other, "shop", pid), RUSM_EINVAL);
    rusm_runtime_del(other);
    assert_int_equal(rusm_whereis(fixture->rt, "shop", &found), RUSM_OK);
}

static void body_register_itself(void *arg)
{
    struct fixture *fixture = arg;

    (void)!rusm_register(NULL, "crowded", rusm_self());
    (void)!rusm_unregister(NULL, "crowded");
    (void)!rusm_register(NULL, "crowded", rusm_self());
    (void)atomic_fetch_add(&fixture->count, 1);
}

/* Processes fight for one name and end: at the end it is free, and nothing is left of them. */
static void test_name_survives_a_fight(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid found;

    for (int i = 0; i < 2000; i++) {
        rusm_pid pid;

        assert_int_equal(rusm_spawn(fixture->rt, body_register_itself, fixture, &pid), RUSM_OK);
        (void)!rusm_register(fixture->rt, "crowded", pid);
    }
    fixture_until(atomic_load(&fixture->count) == 2000);
    assert_int_equal(rusm_runtime_stop(fixture->rt, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_whereis(fixture->rt, "crowded", &found), RUSM_ENONAME);
}

/* ---- finding or spawning --------------------------------------------------------------------- */

#define CALLERS 20

static _Atomic(uint64_t) spawned_count;

static void body_shop(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    (void)atomic_fetch_add(&spawned_count, 1);
    for (;;) {
        if (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
            rusm_msg_del(msg);
        }
    }
}

static rusm_pid found_pids[CALLERS];
static bool found_spawned[CALLERS];

static void body_call(void *arg)
{
    size_t i = (size_t)(uintptr_t)arg;

    assert_int_equal(rusm_whereis_or_spawn(NULL, "shop", body_shop, NULL, NULL, &found_pids[i],
                                           &found_spawned[i]),
                     RUSM_OK);
}

static void one_spawns(void)
{
    unsigned spawned = 0;

    atomic_store(&spawned_count, 0);
    for (size_t i = 0; i < CALLERS; i++) {
        (void)kit_spawn(body_call, (void *)(uintptr_t)i);
    }
    kit_settle();
    for (size_t i = 0; i < CALLERS; i++) {
        assert_true(rusm_pid_equal(found_pids[i], found_pids[0]));
        spawned += found_spawned[i] ? 1 : 0;
    }
    assert_int_equal(spawned, 1);
    assert_int_equal(atomic_load(&spawned_count), 1);
    /* Gone is absent. */
    assert_int_equal(rusm_kill(found_pids[0]), RUSM_OK);
    kit_settle();
    assert_int_equal(rusm_whereis_or_spawn(NULL, "shop", body_shop, NULL, NULL, &found_pids[1],
                                           &found_spawned[1]),
                     RUSM_OK);
    assert_true(found_spawned[1]);
    assert_false(rusm_pid_equal(found_pids[1], found_pids[0]));
}

static void test_of_many_callers_one_spawns(void **state)
{
    (void)state;
    kit_each_seed(one_spawns);
}

static void body_short(void *arg)
{
    (void)arg;
}

/* The process that has the name ends again and again, on other threads. */
static void test_whereis_or_spawn_finds_one_while_it_comes_and_goes(void **state)
{
    struct fixture *fixture = *state;
    rusm_spawn_config cfg;
    uint64_t spawned_times = 0;

    rusm_spawn_config_init(&cfg);
    cfg.label = "short";
    cfg.name = "not this";
    for (int i = 0; i < 20000 || spawned_times < 100; i++) {
        rusm_pid pid = RUSM_PID_NONE;
        bool spawned;

        assert_int_equal(
            rusm_whereis_or_spawn(fixture->rt, "shop", body_short, NULL, &cfg, &pid, &spawned),
            RUSM_OK);
        assert_false(rusm_pid_is_none(pid));
        spawned_times += spawned ? 1 : 0;
    }
}

static void test_whereis_or_spawn_refuses_misuse(void **state)
{
    struct fixture *fixture = *state;
    rusm_spawn_config cfg = {.size = 1};
    rusm_pid pid = RUSM_PID_NONE;
    rusm_runtime *rt = fixture->rt;

    assert_int_equal(rusm_whereis_or_spawn(NULL, "a", body_short, NULL, NULL, &pid, NULL),
                     RUSM_ENOCONTEXT);
    assert_int_equal(rusm_whereis_or_spawn(rt, "", body_short, NULL, NULL, &pid, NULL),
                     RUSM_EINVAL);
    assert_int_equal(rusm_whereis_or_spawn(rt, NULL, body_short, NULL, NULL, &pid, NULL),
                     RUSM_EINVAL);
    assert_int_equal(rusm_whereis_or_spawn(rt, "a", NULL, NULL, NULL, &pid, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_whereis_or_spawn(rt, "a", body_short, NULL, NULL, NULL, NULL),
                     RUSM_EINVAL);
    assert_int_equal(rusm_whereis_or_spawn(rt, "a", body_short, NULL, &cfg, &pid, NULL),
                     RUSM_EINVAL);
    assert_true(rusm_pid_is_none(pid));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_name_is_found_until_it_is_released),
        fixture_test(test_taken_name_is_refused_until_its_process_ends),
        fixture_test(test_bad_names_and_pids_are_refused),
        fixture_test(test_runtimes_have_names_of_their_own),
        fixture_test(test_name_survives_a_fight),
        cmocka_unit_test(test_of_many_callers_one_spawns),
        fixture_test(test_whereis_or_spawn_finds_one_while_it_comes_and_goes),
        fixture_test(test_whereis_or_spawn_refuses_misuse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
