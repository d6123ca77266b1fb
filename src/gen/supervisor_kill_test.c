/* SPDX-License-Identifier: MIT */
/*
 * A supervisor, and the process that started it and asks it for things, killed at every turn that
 * another process gets: whatever they are at, in the end no process is left, and (under the address
 * sanitizer) no memory.
 */
#include "otp/fixture_test.h"

#include <rusm/otp/driver.h>
#include <rusm/test.h>

#define CALL_MS 60000
#define TURNS   40u

static void child_main(void *arg)
{
    rusm_msg *msg;

    if (arg != NULL) { /* a slow one */
        (void)rusm_trap_exit(true);
        (void)!rusm_receive(&msg, RUSM_INFINITY);
        rusm_msg_del(msg);
        (void)!rusm_sleep(50);
        return;
    }
    (void)!rusm_receive(&msg, RUSM_INFINITY);
    rusm_crash("told to");
}

static rusm_err child_start(void *arg, rusm_pid *out_pid)
{
    return rusm_spawn_link(child_main, arg, out_pid);
}

static void specs_init(rusm_child_spec *specs)
{
    static const char *const ids[4] = {"a", "b", "c", "d"};

    for (unsigned i = 0; i < 4; i++) {
        rusm_child_spec_init(&specs[i]);
        specs[i].id = ids[i];
        specs[i].fn = i == 1 ? NULL : child_main;
        specs[i].start = i == 1 ? child_start : NULL;
        specs[i].arg = i == 2 ? &specs[2] : NULL; /* not read: it says that c is slow */
    }
}

/* The answers do not matter: the supervisor may be killed at any time. */
static void parent_main(void *arg)
{
    rusm_child_spec specs[4];
    rusm_supervisor_config cfg;
    rusm_child_info infos[4];
    rusm_child_count count;
    uint64_t cursor = 0;
    rusm_pid sup;

    (void)rusm_trap_exit(true);
    specs_init(specs);
    rusm_supervisor_config_init(&cfg);
    cfg.name = "boss";
    cfg.strategy = RUSM_ONE_FOR_ALL;
    cfg.max_restarts = 100;
    cfg.backoff_min_ms = 5;
    cfg.children = specs;
    cfg.children_len = 3;
    if (rusm_supervisor_start(&cfg, &sup) != RUSM_OK) {
        return;
    }
    (void)!rusm_supervisor_start_child(sup, &specs[3], NULL, CALL_MS, NULL);
    for (unsigned round = 0; round < 2; round++) {
        if (rusm_supervisor_list(sup, &cursor, infos, 4, CALL_MS) == 4) {
            (void)!rusm_kill(infos[0].pid);
        }
        (void)!rusm_sleep(100);
    }
    (void)!rusm_supervisor_terminate_child(sup, "c", CALL_MS);
    (void)!rusm_supervisor_restart_child(sup, "c", CALL_MS, NULL);
    (void)!rusm_supervisor_count(sup, CALL_MS, &count);
    if (rusm_supervisor_stop(sup, CALL_MS) == RUSM_OK) {
        *(bool *)arg = true;
    }
}

/* Ends its victim after so many ms, and then so many turns of others. */
struct killer {
    rusm_pid victim; /* zero: the supervisor */
    int64_t delay_ms;
    unsigned turns;
    bool has_killed;
};

static void killer_main(void *arg)
{
    struct killer *self = arg;

    (void)!rusm_sleep(self->delay_ms);
    for (unsigned i = 0; i < self->turns; i++) {
        rusm_yield();
    }
    if (!rusm_pid_is_none(self->victim) || rusm_whereis(NULL, "boss", &self->victim) == RUSM_OK) {
        self->has_killed = rusm_kill(self->victim) == RUSM_OK;
    }
}

/* Returns whether somebody was killed before all was over; *out_done: it came to its end. */
static bool run_world(struct killer *killer, bool kill_parent, bool *out_done)
{
    rusm_runtime_stats stats;
    rusm_runtime_config cfg;
    rusm_runtime *rt;
    rusm_pool *pool;
    rusm_pid parent;

    *out_done = false;
    assert_int_equal(rusm_test_pool_new(&pool, killer->turns, NULL), RUSM_OK);
    rusm_runtime_config_init(&cfg);
    cfg.pool = pool;
    assert_int_equal(rusm_runtime_new(&rt, &cfg), RUSM_OK);
    assert_int_equal(rusm_thread_enter(rt, "test"), RUSM_OK);
    assert_int_equal(rusm_spawn(NULL, parent_main, out_done, &parent), RUSM_OK);
    if (kill_parent) {
        killer->victim = parent;
    }
    assert_int_equal(rusm_spawn(NULL, killer_main, killer, NULL), RUSM_OK);
    (void)rusm_test_advance(pool, 20000);
    assert_int_equal(rusm_runtime_get_stats(rt, &stats), RUSM_OK);
    assert_int_equal(stats.processes, 1);
    rusm_thread_leave();
    rusm_runtime_del(rt);
    rusm_pool_del(pool);
    return killer->has_killed;
}

static void kill_at_every_turn(bool kill_parent)
{
    /* The times at which something happens: see parent_main() and child_main(). */
    static const int64_t delays_ms[] = {0, 5, 50, 55, 100, 105, 150, 200, 205, 250, 255, 300};
    unsigned killed = 0, worlds = 0;
    bool done;

    for (size_t i = 0; i < sizeof(delays_ms) / sizeof(delays_ms[0]); i++) {
        for (unsigned turns = 0; turns < TURNS; turns++, worlds++) {
            struct killer killer = {.delay_ms = delays_ms[i], .turns = turns};

            killed += run_world(&killer, kill_parent, &done);
        }
    }
    assert_in_range(killed, worlds / 2, worlds - 1);
    /* Nobody is killed, and all goes as it should. */
    assert_false(run_world(&(struct killer){.delay_ms = 10000}, kill_parent, &done));
    assert_true(done);
}

static void test_supervisor_killed_at_every_turn(void **state)
{
    (void)state;
    kill_at_every_turn(false);
}

static void test_parent_killed_at_every_turn(void **state)
{
    (void)state;
    kill_at_every_turn(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_supervisor_killed_at_every_turn),
        cmocka_unit_test(test_parent_killed_at_every_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
