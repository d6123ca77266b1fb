/* SPDX-License-Identifier: MIT */
/*
 * The test kit itself: the same seed does the same, another one something else, time passes only
 * when asked, and a thread's blocking call goes on until it returns or nothing ever could.
 */
#include "otp/kit_fixture_test.h"

#include <unistd.h>

#define MS ((rusm_time)1000000)

/* ---- the seed -------------------------------------------------------------------------------- */

#define WRITERS 5
#define LINES   6

static char story[WRITERS * LINES + 1];
static size_t story_len;

static void body_write(void *arg)
{
    for (int i = 0; i < LINES; i++) {
        story[story_len++] = (char)('a' + (int)(uintptr_t)arg);
        assert_int_equal(rusm_send(kit.self, "x", 1), RUSM_OK);
    }
}

static void tell_story(uint64_t seed, char *out_story)
{
    memset(story, 0, sizeof(story));
    story_len = 0;
    kit_open(seed);
    for (uintptr_t i = 0; i < WRITERS; i++) {
        (void)kit_spawn(body_write, (void *)i);
    }
    kit_settle();
    assert_int_equal(story_len, WRITERS * LINES);
    memcpy(out_story, story, sizeof(story));
    kit_close();
}

static void test_the_same_seed_is_the_same_run(void **state)
{
    char first[sizeof(story)], second[sizeof(story)];
    int others = 0;

    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        char last[sizeof(story)];

        memcpy(last, first, sizeof(last));
        tell_story(seed, first);
        tell_story(seed, second);
        assert_string_equal(first, second);
        others += seed > 0 && memcmp(first, last, sizeof(last)) != 0 ? 1 : 0;
    }
    assert_true(others > 15);
}

static void draw(void)
{
    uint64_t seen = 0;

    assert_int_equal(rusm_test_random(kit.pool, 0), 0);
    assert_int_equal(rusm_test_random(kit.pool, 1), 0);
    for (int i = 0; i < 1000; i++) {
        uint64_t drawn = rusm_test_random(kit.pool, 8);

        assert_true(drawn < 8);
        seen |= UINT64_C(1) << drawn;
    }
    assert_int_equal(seen, 0xff);
}

static void test_numbers_are_drawn_below_a_bound(void **state)
{
    (void)state;
    kit_each_seed(draw);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void body_for_ever(void *arg)
{
    (void)arg;
    for (;;) {
        rusm_yield();
    }
}

static void steps(void)
{
    rusm_pid pid;

    assert_false(rusm_test_step(kit.pool));
    assert_int_equal(rusm_test_run(kit.pool, 10), 0);
    pid = kit_spawn(kit_body_wait, NULL);
    assert_true(rusm_test_step(kit.pool));
    kit_settle();
    assert_false(rusm_test_step(kit.pool));
    assert_int_equal(kit_info(pid).state, RUSM_PROCESS_RECEIVING);
    pid = kit_spawn(body_for_ever, NULL);
    assert_int_equal(rusm_test_run(kit.pool, 10), 10); /* it did not settle */
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    kit_settle();
    assert_false(rusm_is_alive(pid));
}

static void test_a_step_runs_one_process(void **state)
{
    (void)state;
    kit_each_seed(steps);
}

/* ---- time ------------------------------------------------------------------------------------ */

static void body_sleep(void *arg)
{
    rusm_time before = rusm_now();

    assert_int_equal(rusm_sleep((int64_t)(uintptr_t)arg), RUSM_OK);
    assert_int_equal(rusm_now() - before, (uintptr_t)arg * MS);
    assert_int_equal(rusm_send(kit.self, "slept", 5), RUSM_OK);
}

static void virtual_time(void)
{
    rusm_time begin = rusm_test_now(kit.pool);
    rusm_pid longer, shorter;
    rusm_msg *msg;

    assert_int_equal(begin, 1000 * MS);
    assert_int_equal(rusm_now(), begin); /* of a thread that has entered, too */
    longer = kit_spawn(body_sleep, (void *)3600000);
    shorter = kit_spawn(body_sleep, (void *)1000);
    kit_settle();
    assert_int_equal(rusm_test_now(kit.pool), begin); /* running costs no time */
    (void)rusm_test_advance(kit.pool, 999);
    assert_int_equal(rusm_test_now(kit.pool), begin + 999 * MS);
    assert_int_equal(rusm_receive(&msg, 0), RUSM_ETIMEOUT);
    (void)rusm_test_advance(kit.pool, 1);
    kit_expect_data(shorter, "slept");
    assert_int_equal(rusm_test_now(kit.pool), begin + 1000 * MS);
    /* A blocking call lets time pass by itself, and no more of it than is needed. */
    assert_int_equal(rusm_receive(&msg, 10), RUSM_ETIMEOUT);
    assert_int_equal(rusm_test_now(kit.pool), begin + 1010 * MS);
    kit_expect_data(longer, "slept");
    assert_int_equal(rusm_test_now(kit.pool), begin + 3600000 * MS);
    assert_int_equal(rusm_sleep(5), RUSM_OK);
    assert_int_equal(rusm_test_now(kit.pool), begin + 3600005 * MS);
    assert_int_equal(rusm_test_advance(kit.pool, -5), 0);
    assert_int_equal(rusm_test_now(kit.pool), begin + 3600005 * MS);
}

static void test_time_passes_only_when_nothing_can_run(void **state)
{
    (void)state;
    kit_each_seed(virtual_time);
}

/* ---- blocking calls of the thread ------------------------------------------------------------ */

static void body_echo(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    for (;;) {
        assert_int_equal(rusm_receive(&msg, RUSM_INFINITY), RUSM_OK);
        assert_int_equal(rusm_send_msg(rusm_msg_sender(msg), msg), RUSM_OK);
    }
}

static bool is_b(const rusm_msg *msg, void *arg)
{
    (void)arg;
    return rusm_msg_len(msg) == 1 && *(const char *)rusm_msg_data(msg) == 'b';
}

static void thread_blocks(void)
{
    rusm_pid pid = kit_spawn(body_echo, NULL);
    rusm_msg *msg;
    rusm_mark mark;

    assert_int_equal(rusm_send(pid, "a", 1), RUSM_OK);
    assert_int_equal(rusm_send(pid, "b", 1), RUSM_OK);
    assert_int_equal(rusm_receive_match(&msg, is_b, NULL, RUSM_INFINITY), RUSM_OK);
    assert_true(is_b(msg, NULL));
    rusm_msg_del(msg);
    mark = rusm_mailbox_mark();
    assert_int_equal(rusm_send(pid, "b", 1), RUSM_OK);
    assert_int_equal(rusm_receive_since(mark, &msg, is_b, NULL, RUSM_INFINITY), RUSM_OK);
    assert_true(is_b(msg, NULL));
    rusm_msg_del(msg);
    kit_expect_data(pid, "a");
}

static void test_a_blocking_call_of_the_thread_runs_the_others(void **state)
{
    (void)state;
    kit_each_seed(thread_blocks);
}

static void deadlock(void)
{
    rusm_msg *msg;
    rusm_pid pid;

    assert_int_equal(rusm_receive(&msg, RUSM_INFINITY), RUSM_ETIMEOUT);
    assert_non_null(strstr(rusm_err_detail(), "deadlock"));
    /* Others wait as well; then a message ends it, and the next wait is judged anew. */
    pid = kit_spawn(kit_body_wait, NULL);
    assert_int_equal(rusm_receive(&msg, RUSM_INFINITY), RUSM_ETIMEOUT);
    assert_non_null(strstr(rusm_err_detail(), "deadlock"));
    assert_int_equal(rusm_receive_match(&msg, is_b, NULL, RUSM_INFINITY), RUSM_ETIMEOUT);
    assert_int_equal(rusm_monitor(pid, NULL), RUSM_OK);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    (void)kit_expect(RUSM_MSG_DOWN, pid, RUSM_REASON_KILLED);
    assert_int_equal(rusm_receive(&msg, 1), RUSM_ETIMEOUT);
    assert_null(strstr(rusm_err_detail(), "deadlock"));
}

static void test_a_wait_that_can_not_end_is_told(void **state)
{
    (void)state;
    kit_each_seed(deadlock);
}

static void world_outside(void)
{
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    assert_int_equal(rusm_wait_fd(ends[0], RUSM_FD_READ, 0), RUSM_EINVAL);
    assert_int_equal(close(ends[0]), 0);
    assert_int_equal(close(ends[1]), 0);
}

static void test_descriptors_are_refused(void **state)
{
    (void)state;
    kit_open(1);
    world_outside();
    kit_close();
}

static void test_bad_arguments(void **state)
{
    rusm_pool_config cfg;
    rusm_pool *pool;

    (void)state;
    assert_int_equal(rusm_test_pool_new(NULL, 1, NULL), RUSM_EINVAL);
    rusm_pool_config_init(&cfg);
    cfg.size = 1;
    assert_int_equal(rusm_test_pool_new(&pool, 1, &cfg), RUSM_EINVAL);
    rusm_pool_config_init(&cfg);
    cfg.processes_max = 0;
    assert_int_equal(rusm_test_pool_new(&pool, 1, &cfg), RUSM_EINVAL);
    rusm_pool_config_init(&cfg);
    cfg.threads = 7;
    assert_int_equal(rusm_test_pool_new(&pool, 1, &cfg), RUSM_OK);
    rusm_pool_del(pool);
}

/* A runtime of such a pool ends, whatever its processes do. */
static void stop(void)
{
    for (int i = 0; i < 10; i++) {
        (void)kit_spawn(body_for_ever, NULL);
        (void)kit_spawn(kit_body_wait, NULL);
        (void)kit_spawn(body_sleep, (void *)1000);
    }
    (void)rusm_test_run(kit.pool, 20);
    rusm_thread_leave();
    assert_int_equal(rusm_runtime_stop(kit.rt, RUSM_INFINITY), RUSM_OK);
    assert_int_equal(rusm_spawn(kit.rt, kit_body_wait, NULL, NULL), RUSM_ECLOSED);
}

static void test_a_runtime_with_running_processes_stops(void **state)
{
    (void)state;
    kit_each_seed(stop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_seed_is_the_same_run),
        cmocka_unit_test(test_numbers_are_drawn_below_a_bound),
        cmocka_unit_test(test_a_step_runs_one_process),
        cmocka_unit_test(test_time_passes_only_when_nothing_can_run),
        cmocka_unit_test(test_a_blocking_call_of_the_thread_runs_the_others),
        cmocka_unit_test(test_a_wait_that_can_not_end_is_told),
        cmocka_unit_test(test_descriptors_are_refused),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_a_runtime_with_running_processes_stops),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
