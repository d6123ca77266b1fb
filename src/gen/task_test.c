/* SPDX-License-Identifier: MIT */
/* Tasks: results, errors, and who ends with whom. */
#include "otp/fixture_test.h"

#include <rusm/test.h>

#include <sched.h>

static void enter(struct fixture *fixture)
{
    assert_int_equal(rusm_thread_enter(fixture->rt, "test"), RUSM_OK);
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

static rusm_task start(rusm_task_fn fn, void *arg)
{
    rusm_task task;

    assert_int_equal(rusm_task_start(&task, fn, arg, NULL), RUSM_OK);
    return task;
}

/* ---- tasks ----------------------------------------------------------------------------------- */

static rusm_err square(void *arg, rusm_msg **out_result)
{
    uint64_t number = (uint64_t)(uintptr_t)arg;
    rusm_err err;

    number *= number;
    err = rusm_msg_new(out_result, sizeof(number));
    if (err == RUSM_OK) {
        memcpy(rusm_msg_data(*out_result), &number, sizeof(number));
    }
    return err;
}

static rusm_err nothing(void *arg, rusm_msg **out_result)
{
    (void)arg;
    (void)out_result;
    return RUSM_OK;
}

/* Fails, with a result that is to be forgotten. */
static rusm_err fail_in_words(void *arg, rusm_msg **out_result)
{
    (void)!square(arg, out_result);
    return rusm_set_err_detail(RUSM_EREFUSED, "number %d is not allowed", 13);
}

static rusm_err fail_without(void *arg, rusm_msg **out_result)
{
    (void)arg;
    (void)out_result;
    return RUSM_EREFUSED;
}

static rusm_err crash(void *arg, rusm_msg **out_result)
{
    (void)arg;
    (void)out_result;
    rusm_crash("divided by zero");
}

static rusm_err leave(void *arg, rusm_msg **out_result)
{
    (void)!square(arg, out_result);
    rusm_exit(RUSM_REASON_NORMAL);
}

static rusm_err hang(void *arg, rusm_msg **out_result)
{
    (void)arg;
    (void)out_result;
    return rusm_sleep(RUSM_INFINITY);
}

static rusm_err wait_for_word(void *arg, rusm_msg **out_result)
{
    (void)arg;
    return rusm_receive(out_result, RUSM_INFINITY); /* the result is a message from elsewhere */
}

/* ---- awaiting -------------------------------------------------------------------------------- */

static void assert_square(rusm_task *task, uint64_t wanted)
{
    rusm_pid pid = task->pid;
    rusm_msg *result = NULL;
    uint64_t number;

    assert_int_equal(rusm_task_await(task, TEST_LIMIT_MS, &result), RUSM_OK);
    assert_int_equal(rusm_msg_len(result), sizeof(number));
    memcpy(&number, rusm_msg_data(result), sizeof(number));
    assert_int_equal(number, wanted);
    assert_true(rusm_pid_equal(rusm_msg_sender(result), pid));
    assert_false(rusm_is_alive(pid)); /* its argument is free for use */
    rusm_msg_del(result);
}

static void test_await_gives_the_result(void **state)
{
    rusm_task task;

    enter(*state);
    task = start(square, (void *)12);
    assert_square(&task, 144);
    assert_clean();
    rusm_thread_leave();
}

/* In any order, and whatever is received meanwhile: results do not lie in the mailbox. */
static void test_many_tasks(void **state)
{
    rusm_task tasks[200];
    rusm_msg *msg;

    enter(*state);
    for (uintptr_t i = 0; i < 200; i++) {
        tasks[i] = start(square, (void *)i);
    }
    for (uintptr_t i = 0; i < 200; i++) {
        uintptr_t at = i * 77 % 200;

        assert_int_equal(rusm_receive(&msg, 0), RUSM_ETIMEOUT);
        assert_square(&tasks[at], at * at);
    }
    assert_clean();
    rusm_thread_leave();
}

static void test_task_without_a_result(void **state)
{
    rusm_msg *result = (rusm_msg *)(void *)state;
    rusm_task task;

    enter(*state);
    task = start(nothing, NULL);
    assert_int_equal(rusm_task_await(&task, TEST_LIMIT_MS, &result), RUSM_OK);
    assert_null(result);
    task = start(square, NULL);
    assert_int_equal(rusm_task_await(&task, TEST_LIMIT_MS, NULL), RUSM_OK);
    rusm_thread_leave();
}

static void test_errors_of_a_task_are_those_of_await(void **state)
{
    rusm_msg *result = NULL;
    rusm_task task;

    enter(*state);
    task = start(fail_in_words, NULL);
    assert_int_equal(rusm_task_await(&task, TEST_LIMIT_MS, &result), RUSM_EREFUSED);
    assert_string_equal(rusm_err_detail(), "number 13 is not allowed");
    task = start(fail_without, NULL);
    assert_int_equal(rusm_task_await(&task, TEST_LIMIT_MS, &result), RUSM_EREFUSED);
    assert_string_equal(rusm_err_detail(), rusm_err_text(RUSM_EREFUSED));
    assert_null(result);
    assert_clean();
    rusm_thread_leave();
}

/* The caller does not trap exits: it would end with the task if anything led to it. */
static void test_task_that_ends_without_a_result(void **state)
{
    rusm_msg *result = NULL;
    rusm_task task;

    enter(*state);
    task = start(crash, NULL);
    assert_int_equal(rusm_task_await(&task, RUSM_INFINITY, &result), RUSM_ENOPROC);
    assert_non_null(strstr(rusm_err_detail(), "crashed: divided by zero"));
    task = start(leave, NULL);
    assert_int_equal(rusm_task_await(&task, RUSM_INFINITY, &result), RUSM_ENOPROC);
    assert_non_null(strstr(rusm_err_detail(), "normal"));
    task = start(hang, NULL);
    assert_int_equal(rusm_kill(task.pid), RUSM_OK);
    assert_int_equal(rusm_task_await(&task, RUSM_INFINITY, &result), RUSM_ENOPROC);
    assert_non_null(strstr(rusm_err_detail(), "killed"));
    assert_null(result);
    assert_clean();
    rusm_thread_leave();
}

static void test_await_again_after_the_time(void **state)
{
    rusm_msg *result = NULL;
    rusm_task task;

    enter(*state);
    task = start(wait_for_word, NULL);
    assert_int_equal(rusm_task_await(&task, 0, &result), RUSM_ETIMEOUT);
    assert_int_equal(rusm_task_await(&task, 2, &result), RUSM_ETIMEOUT);
    assert_null(result);
    assert_int_equal(rusm_send(task.pid, "word", 4), RUSM_OK);
    assert_int_equal(rusm_task_await(&task, TEST_LIMIT_MS, &result), RUSM_OK);
    assert_memory_equal(rusm_msg_data(result), "word", 4);
    rusm_msg_del(result);
    assert_clean();
    rusm_thread_leave();
}

static void test_start_with_a_config(void **state)
{
    rusm_spawn_config cfg;
    rusm_task task, other;
    rusm_pid found;

    enter(*state);
    rusm_spawn_config_init(&cfg);
    cfg.name = "worker";
    cfg.link = true; /* is not heard: a task never ends its caller */
    assert_int_equal(rusm_task_start(&task, hang, NULL, &cfg), RUSM_OK);
    assert_int_equal(rusm_whereis(NULL, "worker", &found), RUSM_OK);
    assert_true(rusm_pid_equal(found, task.pid));
    assert_int_equal(rusm_task_start(&other, hang, NULL, &cfg), RUSM_EEXIST);
    assert_int_equal(rusm_kill(task.pid), RUSM_OK);
    assert_int_equal(rusm_task_await(&task, TEST_LIMIT_MS, NULL), RUSM_ENOPROC);
    assert_clean();
    rusm_thread_leave();
}

struct stranger {
    struct fixture *fixture;
    rusm_task task;
    rusm_err err;
};

static void await_of_another(void *arg)
{
    struct stranger *stranger = arg;
    rusm_task own, copy = stranger->task;

    if (rusm_task_start(&own, nothing, NULL, NULL) == RUSM_OK) {
        stranger->err = rusm_task_await(&copy, 0, NULL);
        rusm_task_cancel(&copy);
    }
    fixture_count(stranger->fixture);
}

static void test_bad_tasks(void **state)
{
    struct fixture *fixture = *state;
    struct stranger stranger = {.fixture = fixture};
    rusm_spawn_config cfg = {.size = 1};
    rusm_task task = {{0, 0}, {0, 0}}, copy;

    assert_int_equal(rusm_task_start(&task, nothing, NULL, NULL), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_task_await(&task, 0, NULL), RUSM_ENOCONTEXT);
    rusm_task_cancel(&task);
    enter(fixture);
    assert_int_equal(rusm_task_start(&task, NULL, NULL, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_task_start(NULL, nothing, NULL, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_task_start(&task, nothing, NULL, &cfg), RUSM_EINVAL);
    assert_int_equal(rusm_task_await(&task, 0, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_task_await(NULL, 0, NULL), RUSM_EINVAL);
    rusm_task_cancel(NULL);
    task = copy = stranger.task = start(wait_for_word, NULL);
    assert_int_equal(rusm_spawn(NULL, await_of_another, &stranger, NULL), RUSM_OK);
    fixture_wait_count(fixture, &fixture->count, 1);
    assert_int_equal(stranger.err, RUSM_EINVAL);
    assert_true(rusm_is_alive(task.pid));
    assert_int_equal(rusm_send(task.pid, "x", 1), RUSM_OK);
    assert_int_equal(rusm_task_await(&task, TEST_LIMIT_MS, NULL), RUSM_OK);
    assert_int_equal(rusm_task_await(&task, 0, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_task_await(&copy, 0, NULL), RUSM_EINVAL);
    rusm_thread_leave();
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void test_cancel_kills(void **state)
{
    rusm_task task, copy;

    enter(*state);
    task = copy = start(hang, NULL);
    rusm_task_cancel(&task);
    assert_int_equal(rusm_task_await(&task, 0, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_task_await(&copy, 0, NULL), RUSM_EINVAL);
    fixture_until(!rusm_is_alive(copy.pid));
    /* a finished one: its result is freed */
    task = copy = start(square, NULL);
    fixture_until(!rusm_is_alive(copy.pid));
    rusm_task_cancel(&task);
    rusm_task_cancel(&task);
    assert_clean();
    rusm_thread_leave();
}

struct family {
    _Atomic(uint64_t) serials[3];
    bool waits;
};

static void start_three(void *arg)
{
    struct family *family = arg;
    rusm_task task;

    for (int i = 0; i < 3; i++) {
        if (rusm_task_start(&task, i == 1 ? square : hang, NULL, NULL) == RUSM_OK) {
            atomic_store(&family->serials[i], task.pid.serial);
        }
    }
    if (family->waits) {
        (void)!rusm_task_await(&task, RUSM_INFINITY, NULL);
    }
}

/* Whether it returns or is killed. */
static void test_tasks_end_with_their_caller(void **state)
{
    struct fixture *fixture = *state;

    for (int killed = 0; killed < 2; killed++) {
        struct family family = {.waits = killed == 1};
        rusm_pid caller;

        assert_int_equal(rusm_spawn(fixture->rt, start_three, &family, &caller), RUSM_OK);
        fixture_until(atomic_load(&family.serials[2]) != 0);
        if (killed == 1) {
            assert_int_equal(rusm_kill(caller), RUSM_OK);
        }
        fixture_until(!rusm_is_alive(caller));
        for (int i = 0; i < 3; i++) {
            rusm_pid pid = {caller.incarnation, atomic_load(&family.serials[i])};

            fixture_until(!rusm_is_alive(pid));
        }
    }
}

/* ---- many at once ---------------------------------------------------------------------------- */

struct storm {
    struct fixture *fixture;
    _Atomic(uint64_t) ok, failed, wrong;
};

static rusm_err storm_task(void *arg, rusm_msg **out_result)
{
    uint64_t dice = rusm_self().serial >> 32; /* another one in each life of a slot */

    for (uint64_t i = dice % 5; i > 0; i--) {
        rusm_yield();
    }
    if (dice % 3 == 0) {
        rusm_crash("chance");
    }
    return square(arg, out_result);
}

static void storm_caller(void *arg)
{
    struct storm *storm = arg;
    rusm_task tasks[4];

    for (uintptr_t i = 0; i < 4; i++) {
        if (rusm_task_start(&tasks[i], storm_task, (void *)(i + 2), NULL) != RUSM_OK) {
            return;
        }
    }
    rusm_task_cancel(&tasks[1]);
    for (uintptr_t i = 0; i < 4; i++) {
        rusm_msg *result = NULL;
        rusm_err err = rusm_task_await(&tasks[i], RUSM_INFINITY, &result);
        uint64_t wanted = (i + 2) * (i + 2);

        if (err == RUSM_OK && memcmp(rusm_msg_data(result), &wanted, sizeof(wanted)) == 0) {
            (void)atomic_fetch_add(&storm->ok, 1);
        } else if (err == RUSM_ENOPROC) {
            (void)atomic_fetch_add(&storm->failed, 1);
        } else if (err != RUSM_EINVAL || i != 1) {
            (void)atomic_fetch_add(&storm->wrong, 1);
        }
        rusm_msg_del(result);
    }
}

static void storm_kill(void *arg)
{
    struct storm *storm = arg;

    for (unsigned i = 0; i < 300; i++) {
        rusm_pid pid;

        if (rusm_spawn(NULL, storm_caller, storm, &pid) == RUSM_OK) {
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

/* Tasks and callers that end at any moment, on two threads. */
static void test_many_callers_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct storm storm = {.fixture = fixture};

    for (int i = 0; i < 4; i++) {
        assert_int_equal(rusm_spawn(fixture->rt, storm_kill, &storm, NULL), RUSM_OK);
    }
    fixture_wait_count(fixture, &fixture->count, 4);
    fixture_until(processes(fixture) == 0);
    assert_int_equal(atomic_load(&storm.wrong), 0);
    assert_true(atomic_load(&storm.ok) > 0);
    assert_true(atomic_load(&storm.failed) > 0);
}

/* ---- every order of events ------------------------------------------------------------------- */

struct scene {
    rusm_pool *pool;
    unsigned ok, failed, refused, timed_out, strange;
};

static rusm_err scene_task(void *arg, rusm_msg **out_result)
{
    struct scene *scene = arg;

    (void)!rusm_sleep((int64_t)rusm_test_random(scene->pool, 3));
    switch (rusm_test_random(scene->pool, 4)) {
    case 0:
        rusm_crash("chance");
    case 1:
        return fail_in_words(NULL, out_result);
    default:
        return square((void *)7, out_result);
    }
}

static void scene_caller(void *arg)
{
    struct scene *scene = arg;
    rusm_task tasks[6];
    rusm_msg *msg;

    for (int i = 0; i < 6; i++) {
        if (rusm_task_start(&tasks[i], scene_task, scene, NULL) != RUSM_OK) {
            scene->strange++;
        }
    }
    for (int i = 0; i < 5; i++) {
        int64_t timeout_ms = (int64_t)rusm_test_random(scene->pool, 4) - 1;
        rusm_msg *result = NULL;
        rusm_err err = rusm_task_await(&tasks[i], timeout_ms, &result);

        scene->ok += err == RUSM_OK;
        scene->failed += err == RUSM_ENOPROC;
        scene->refused += err == RUSM_EREFUSED;
        scene->timed_out += err == RUSM_ETIMEOUT;
        scene->strange += (err == RUSM_OK) != (result != NULL);
        scene->strange += rusm_receive(&msg, 0) != RUSM_ETIMEOUT;
        if (rusm_test_random(scene->pool, 2) == 0) {
            rusm_task_cancel(&tasks[i]);
        }
    }
}

/* Whoever ends when, no task is left without its caller, and nothing else comes to that one. */
static void test_any_order(void **state)
{
    struct scene scene = {.pool = NULL};

    (void)state;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        rusm_runtime_config cfg;
        rusm_runtime_stats stats;
        rusm_runtime *rt;
        rusm_pid caller;

        assert_int_equal(rusm_test_pool_new(&scene.pool, seed, NULL), RUSM_OK);
        rusm_runtime_config_init(&cfg);
        cfg.pool = scene.pool;
        assert_int_equal(rusm_runtime_new(&rt, &cfg), RUSM_OK);
        assert_int_equal(rusm_spawn(rt, scene_caller, &scene, &caller), RUSM_OK);
        if (seed % 2 == 0) {
            for (uint64_t i = rusm_test_random(scene.pool, 40); i > 0; i--) {
                (void)rusm_test_step(scene.pool);
            }
            (void)!rusm_kill(caller);
        }
        (void)rusm_test_advance(scene.pool, 1000);
        assert_int_equal(rusm_runtime_get_stats(rt, &stats), RUSM_OK);
        if (scene.strange != 0 || stats.processes != 0) {
            fail_msg("seed %llu", (unsigned long long)seed);
        }
        rusm_runtime_del(rt);
        rusm_pool_del(scene.pool);
    }
    /* The seeds do try all of it. */
    assert_true(scene.ok > 50 && scene.failed > 50 && scene.refused > 50 && scene.timed_out > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_await_gives_the_result),
        fixture_test(test_many_tasks),
        fixture_test(test_task_without_a_result),
        fixture_test(test_errors_of_a_task_are_those_of_await),
        fixture_test(test_task_that_ends_without_a_result),
        fixture_test(test_await_again_after_the_time),
        fixture_test(test_start_with_a_config),
        fixture_test(test_bad_tasks),
        fixture_test(test_cancel_kills),
        fixture_test(test_tasks_end_with_their_caller),
        fixture_test(test_many_callers_at_once),
        cmocka_unit_test(test_any_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
