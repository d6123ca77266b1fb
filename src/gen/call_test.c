/* SPDX-License-Identifier: MIT */
/* Calls: the answer, everything that can come instead, and that nothing of a call stays behind. */
#include "otp/fixture_test.h"

#include <rusm/test.h>

#include <sched.h>
#include <stdio.h>

/* ---- what the tests share -------------------------------------------------------------------- */

static rusm_pid start(struct fixture *fixture, rusm_process_fn fn, void *arg)
{
    rusm_pid pid;

    assert_int_equal(rusm_spawn(fixture->rt, fn, arg, &pid), RUSM_OK);
    return pid;
}

static void enter(struct fixture *fixture)
{
    assert_int_equal(rusm_thread_enter(fixture->rt, "test"), RUSM_OK);
}

static uint64_t replies_late(struct fixture *fixture)
{
    rusm_runtime_stats stats;

    assert_int_equal(rusm_runtime_get_stats(fixture->rt, &stats), RUSM_OK);
    return stats.replies_late;
}

/* Nothing is left of a call: no message, no monitor. */
static void assert_clean(void)
{
    rusm_process_info info;

    assert_int_equal(rusm_process_get_info(rusm_self(), &info), RUSM_OK);
    assert_int_equal(info.monitors, 0);
    assert_int_equal(info.mailbox_len, 0);
}

static bool is_text(const rusm_msg *msg, const char *text)
{
    return rusm_msg_len(msg) == strlen(text) && memcmp(rusm_msg_data(msg), text, strlen(text)) == 0;
}

static void assert_text(rusm_msg *msg, const char *text)
{
    assert_true(is_text(msg, text));
    rusm_msg_del(msg);
}

/* Answers every call with what came; "crash", "exit" and "mute" do what they say. */
static void echo(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_from from = rusm_msg_from(msg);

        if (is_text(msg, "crash")) {
            rusm_crash("the disk is full");
        } else if (is_text(msg, "exit")) {
            rusm_exit(RUSM_REASON_NORMAL);
        } else if (rusm_msg_get_kind(msg) == RUSM_MSG_CALL && !is_text(msg, "mute")) {
            (void)!rusm_reply(from, rusm_msg_data(msg), rusm_msg_len(msg));
        }
        rusm_msg_del(msg);
    }
}

/* Keeps calls, and answers them all, each `arg` times, when something else comes; then tells who
 * sent that. */
static void slow(void *arg)
{
    const unsigned *times = arg;
    rusm_from waiting[16];
    size_t len = 0;
    rusm_msg *msg;

    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_pid sender = rusm_msg_sender(msg);

        if (rusm_msg_get_kind(msg) == RUSM_MSG_CALL) {
            waiting[len++ % 16] = rusm_msg_from(msg);
        } else {
            for (size_t i = 0; i < len * *times; i++) {
                (void)!rusm_reply(waiting[i / *times], "late", 4);
            }
            len = 0;
            (void)!rusm_send(sender, "answered", 8);
        }
        rusm_msg_del(msg);
    }
}

static unsigned once = 1, twice = 2;

/* ---- answers --------------------------------------------------------------------------------- */

static void test_call_gets_the_answer(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid server = start(fixture, echo, NULL);
    rusm_msg *reply;

    enter(fixture);
    assert_int_equal(rusm_call(server, "hello", 5, TEST_LIMIT_MS, &reply), RUSM_OK);
    assert_int_equal(rusm_msg_get_kind(reply), RUSM_MSG_REPLY);
    assert_true(rusm_pid_equal(rusm_msg_sender(reply), server));
    assert_text(reply, "hello");
    assert_int_equal(rusm_call(server, NULL, 0, RUSM_INFINITY, &reply), RUSM_OK);
    assert_text(reply, "");
    assert_int_equal(rusm_call(server, "unread", 6, TEST_LIMIT_MS, NULL), RUSM_OK);
    assert_clean();
    rusm_thread_leave();
}

static void test_call_by_name(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid server = start(fixture, echo, NULL);
    rusm_msg *reply;

    enter(fixture);
    assert_int_equal(rusm_call_name("echo", "x", 1, TEST_LIMIT_MS, &reply), RUSM_ENONAME);
    assert_int_equal(rusm_register(NULL, "echo", server), RUSM_OK);
    assert_int_equal(rusm_call_name("echo", "x", 1, TEST_LIMIT_MS, &reply), RUSM_OK);
    assert_text(reply, "x");
    assert_int_equal(rusm_call_name(NULL, "x", 1, TEST_LIMIT_MS, &reply), RUSM_EINVAL);
    assert_int_equal(rusm_register(NULL, "me", rusm_self()), RUSM_OK);
    assert_int_equal(rusm_call_name("me", "x", 1, TEST_LIMIT_MS, &reply), RUSM_EINVAL);
    rusm_thread_leave();
}

/* Hands its calls, as they are, to the process whose pid it was started with. */
static void delegate(void *arg)
{
    const rusm_pid *worker = arg;
    rusm_msg *msg;

    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_from from = rusm_msg_from(msg);

        (void)!rusm_send(*worker, &from, sizeof(from));
        rusm_msg_del(msg);
    }
}

static void answer_for_others(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_from from;

        memcpy(&from, rusm_msg_data(msg), sizeof(from));
        (void)!rusm_reply(from, "by another", 10);
        rusm_msg_del(msg);
    }
}

static void test_another_process_may_answer(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid worker = start(fixture, answer_for_others, NULL);
    rusm_pid server = start(fixture, delegate, &worker);
    rusm_msg *reply;

    enter(fixture);
    assert_int_equal(rusm_call(server, "x", 1, TEST_LIMIT_MS, &reply), RUSM_OK);
    assert_true(rusm_pid_equal(rusm_msg_sender(reply), worker));
    assert_text(reply, "by another");
    rusm_thread_leave();
}

/* Answers with what the process it was started with answers, and an x. */
static void relay(void *arg)
{
    const rusm_pid *next = arg;
    rusm_msg *msg, *reply;
    char text[64];

    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        if (rusm_call(*next, rusm_msg_data(msg), rusm_msg_len(msg), RUSM_INFINITY, &reply) ==
            RUSM_OK) {
            int len = snprintf(text, sizeof(text), "%.*sx", (int)rusm_msg_len(reply),
                               (const char *)rusm_msg_data(reply));

            (void)!rusm_reply(rusm_msg_from(msg), text, (size_t)len);
            rusm_msg_del(reply);
        }
        rusm_msg_del(msg);
    }
}

static void test_calls_nest(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid chain[6];
    rusm_msg *reply;

    chain[0] = start(fixture, echo, NULL);
    for (int i = 1; i < 6; i++) {
        chain[i] = start(fixture, relay, &chain[i - 1]);
    }
    enter(fixture);
    assert_int_equal(rusm_call(chain[5], "a", 1, TEST_LIMIT_MS, &reply), RUSM_OK);
    assert_text(reply, "axxxxx");
    rusm_thread_leave();
}

struct crowd {
    struct fixture *fixture;
    rusm_pid server;
    _Atomic(uint64_t) wrong;
};

static void caller(void *arg)
{
    struct crowd *crowd = arg;
    rusm_pid self = rusm_self();

    for (int i = 0; i < 100; i++) {
        rusm_msg *reply = NULL;

        if (rusm_call(crowd->server, &self, sizeof(self), RUSM_INFINITY, &reply) != RUSM_OK ||
            memcmp(rusm_msg_data(reply), &self, sizeof(self)) != 0) {
            (void)atomic_fetch_add(&crowd->wrong, 1);
        }
        rusm_msg_del(reply);
    }
    fixture_count(crowd->fixture);
}

static void test_100_callers_get_their_own_answers(void **state)
{
    struct fixture *fixture = *state;
    struct crowd crowd = {.fixture = fixture, .server = start(fixture, echo, NULL)};

    for (int i = 0; i < 100; i++) {
        (void)start(fixture, caller, &crowd);
    }
    fixture_wait_count(fixture, &fixture->count, 100);
    assert_int_equal(atomic_load(&crowd.wrong), 0);
}

/* The unrelated messages are neither lost nor looked at in another order. */
static void test_call_past_many_messages(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid server = start(fixture, echo, NULL);
    rusm_msg *msg;

    enter(fixture);
    for (uint32_t i = 0; i < 100000; i++) {
        assert_int_equal(rusm_send(rusm_self(), &i, sizeof(i)), RUSM_OK);
    }
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(rusm_call(server, "x", 1, TEST_LIMIT_MS, &msg), RUSM_OK);
        assert_text(msg, "x");
    }
    for (uint32_t i = 0; i < 100000; i++) {
        assert_int_equal(rusm_receive(&msg, 0), RUSM_OK);
        assert_memory_equal(rusm_msg_data(msg), &i, sizeof(i));
        rusm_msg_del(msg);
    }
    assert_clean();
    rusm_thread_leave();
}

/* ---- servers that do not answer -------------------------------------------------------------- */

static void test_call_of_a_dead_process_fails_at_once(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid server = start(fixture, echo, NULL);
    rusm_msg *reply;

    assert_int_equal(rusm_kill(server), RUSM_OK);
    fixture_until(!rusm_is_alive(server));
    enter(fixture);
    assert_int_equal(rusm_call(server, "x", 1, RUSM_INFINITY, &reply), RUSM_ENOPROC);
    assert_non_null(strstr(rusm_err_detail(), "noproc"));
    assert_int_equal(rusm_call(server, "x", 1, 0, &reply), RUSM_ENOPROC);
    assert_clean();
    rusm_thread_leave();
}

static void test_server_that_ends_during_a_call(void **state)
{
    struct fixture *fixture = *state;
    rusm_msg *reply;

    enter(fixture);
    assert_int_equal(rusm_call(start(fixture, echo, NULL), "crash", 5, RUSM_INFINITY, &reply),
                     RUSM_ENOPROC);
    assert_non_null(strstr(rusm_err_detail(), "crashed: the disk is full"));
    assert_int_equal(rusm_call(start(fixture, echo, NULL), "exit", 4, RUSM_INFINITY, &reply),
                     RUSM_ENOPROC);
    assert_non_null(strstr(rusm_err_detail(), "normal"));
    assert_clean();
    rusm_thread_leave();
}

static void kill_it(void *arg)
{
    const rusm_pid *victim = arg;

    while (fixture_state(*victim) != RUSM_PROCESS_RECEIVING) {
        rusm_yield();
    }
    (void)!rusm_kill(*victim);
}

static void test_server_killed_during_a_call(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid server = start(fixture, echo, NULL);
    rusm_msg *reply;

    enter(fixture);
    (void)start(fixture, kill_it, &server);
    assert_int_equal(rusm_call(server, "mute", 4, RUSM_INFINITY, &reply), RUSM_ENOPROC);
    assert_clean();
    rusm_thread_leave();
}

static void call_and_wait(void *arg)
{
    const rusm_pid *server = arg;

    (void)!rusm_call(*server, "mute", 4, RUSM_INFINITY, NULL);
}

static uint64_t monitored_by(rusm_pid pid)
{
    rusm_process_info info;

    assert_int_equal(rusm_process_get_info(pid, &info), RUSM_OK);
    return info.monitored_by;
}

static void test_killed_caller_leaves_nothing_behind(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid server = start(fixture, echo, NULL);
    rusm_pid victim = start(fixture, call_and_wait, &server);

    fixture_until(monitored_by(server) == 1);
    assert_int_equal(rusm_kill(victim), RUSM_OK);
    fixture_until(monitored_by(server) == 0);
}

/* ---- late answers ---------------------------------------------------------------------------- */

/* Make a call that runs out of time, and have it answered. */
static void call_in_vain(rusm_pid server)
{
    rusm_msg *msg;

    assert_int_equal(rusm_call(server, "x", 1, 1, &msg), RUSM_ETIMEOUT);
}

static void have_answered(rusm_pid server)
{
    rusm_msg *msg;

    assert_int_equal(rusm_send(server, "now", 3), RUSM_OK);
    assert_int_equal(rusm_receive(&msg, TEST_LIMIT_MS), RUSM_OK);
    assert_text(msg, "answered");
}

static void test_late_answer_is_dropped_and_counted(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid server = start(fixture, slow, &once);

    enter(fixture);
    call_in_vain(server);
    have_answered(server);
    assert_int_equal(replies_late(fixture), 1);
    assert_clean();
    rusm_thread_leave();
}

static void test_second_answer_is_dropped(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid server = start(fixture, slow, &twice);

    enter(fixture);
    call_in_vain(server);
    have_answered(server);
    assert_int_equal(replies_late(fixture), 2);
    assert_clean();
    rusm_thread_leave();
}

/* A process that does nothing but call never looks at what came before; it must not pile up. */
static void test_late_answers_do_not_pile_up(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid server = start(fixture, slow, &once), other = start(fixture, echo, NULL);
    rusm_process_info info;

    enter(fixture);
    for (int i = 0; i < 8; i++) {
        call_in_vain(server);
    }
    assert_int_equal(rusm_send(server, "now", 3), RUSM_OK);
    fixture_until(rusm_process_get_info(rusm_self(), &info) == RUSM_OK && info.mailbox_len == 9);
    assert_int_equal(rusm_call(other, "x", 1, TEST_LIMIT_MS, NULL), RUSM_OK);
    assert_int_equal(replies_late(fixture), 8);
    rusm_thread_leave();
}

/* ---- casts and errors ------------------------------------------------------------------------ */

static void test_casts(void **state)
{
    struct fixture *fixture = *state;
    rusm_msg *msg;

    enter(fixture);
    assert_int_equal(rusm_register(NULL, "me", rusm_self()), RUSM_OK);
    assert_int_equal(rusm_cast(rusm_self(), "a", 1), RUSM_OK);
    assert_int_equal(rusm_cast_name("me", "b", 1), RUSM_OK);
    assert_int_equal(rusm_receive(&msg, 0), RUSM_OK);
    assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_CAST);
    assert_int_equal(rusm_msg_from(msg).ref.number, 0);
    assert_text(msg, "a");
    assert_int_equal(rusm_receive(&msg, 0), RUSM_OK);
    assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_CAST);
    assert_text(msg, "b");
    assert_int_equal(rusm_cast(RUSM_PID_NONE, "a", 1), RUSM_EINVAL);
    assert_int_equal(rusm_cast(rusm_self(), NULL, 1), RUSM_EINVAL);
    assert_int_equal(rusm_cast_name("nobody", "a", 1), RUSM_ENONAME);
    rusm_thread_leave();
}

/* An answer that is sent on is data like any other. */
static void test_answer_can_be_sent_on(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid server = start(fixture, echo, NULL);
    rusm_msg *msg;

    enter(fixture);
    assert_int_equal(rusm_call(server, "x", 1, TEST_LIMIT_MS, &msg), RUSM_OK);
    assert_int_equal(rusm_send_msg(rusm_self(), msg), RUSM_OK);
    assert_int_equal(rusm_receive(&msg, 0), RUSM_OK);
    assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_DATA);
    assert_text(msg, "x");
    rusm_thread_leave();
}

static void test_bad_calls_and_answers(void **state)
{
    struct fixture *fixture = *state;
    rusm_pid server = start(fixture, echo, NULL);
    rusm_from from = {RUSM_PID_NONE, {0, 0}};
    rusm_msg *reply = NULL;

    assert_int_equal(rusm_call(server, "x", 1, 0, &reply), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_call_name("echo", "x", 1, 0, &reply), RUSM_ENOCONTEXT);
    enter(fixture);
    assert_int_equal(rusm_call(RUSM_PID_NONE, "x", 1, 0, &reply), RUSM_EINVAL);
    assert_int_equal(rusm_call(rusm_self(), "x", 1, 0, &reply), RUSM_EINVAL);
    assert_int_equal(rusm_call(server, NULL, 1, 0, &reply), RUSM_EINVAL);
    assert_null(reply);
    assert_int_equal(rusm_reply(from, "x", 1), RUSM_EINVAL);
    from.pid = server;
    assert_int_equal(rusm_reply(from, "x", 1), RUSM_EINVAL);
    from.ref = (rusm_ref){server.incarnation, 1};
    assert_int_equal(rusm_reply(from, NULL, 1), RUSM_EINVAL);
    from.pid.incarnation = from.ref.incarnation = server.incarnation ^ 1;
    assert_int_equal(rusm_reply(from, "x", 1), RUSM_ENONODE);
    assert_clean();
    rusm_thread_leave();
}

static void send_from(void *arg)
{
    const rusm_pid *to = arg;

    (void)!rusm_call(*to, "x", 1, 1, NULL);
}

static void test_answer_to_a_caller_that_has_ended(void **state)
{
    struct fixture *fixture = *state;
    rusm_msg *request;
    rusm_pid self, victim;

    enter(fixture);
    self = rusm_self();
    victim = start(fixture, send_from, &self);
    assert_int_equal(rusm_receive(&request, TEST_LIMIT_MS), RUSM_OK);
    fixture_until(!rusm_is_alive(victim));
    assert_int_equal(rusm_reply(rusm_msg_from(request), "x", 1), RUSM_ENOPROC);
    rusm_msg_del(request);
    assert_clean();
    rusm_thread_leave();
}

static void idle(void *arg)
{
    (void)arg;
    (void)!rusm_sleep(RUSM_INFINITY);
}

static void test_call_of_a_full_mailbox_is_refused(void **state)
{
    struct fixture *fixture = *state;
    rusm_spawn_config cfg;
    rusm_pid server;

    rusm_spawn_config_init(&cfg);
    cfg.mailbox_max = 1;
    assert_int_equal(rusm_spawn_with(fixture->rt, idle, NULL, &cfg, &server), RUSM_OK);
    enter(fixture);
    assert_int_equal(rusm_call(server, "x", 1, 0, NULL), RUSM_ETIMEOUT);
    assert_int_equal(rusm_call(server, "x", 1, RUSM_INFINITY, NULL), RUSM_EFULL);
    assert_int_equal(monitored_by(server), 0);
    assert_clean();
    rusm_thread_leave();
}

/* Runtimes of one program that are no nodes call each other directly. */
static void test_call_of_another_runtime(void **state)
{
    struct fixture *fixture = *state;
    rusm_runtime_config cfg;
    rusm_runtime *other;
    rusm_msg *reply;
    rusm_pid server;

    rusm_runtime_config_init(&cfg);
    cfg.pool = fixture->pool;
    assert_int_equal(rusm_runtime_new(&other, &cfg), RUSM_OK);
    assert_int_equal(rusm_spawn(other, echo, NULL, &server), RUSM_OK);
    enter(fixture);
    assert_int_equal(rusm_call(server, "x", 1, TEST_LIMIT_MS, &reply), RUSM_OK);
    assert_text(reply, "x");
    assert_int_equal(rusm_call(server, "crash", 5, RUSM_INFINITY, &reply), RUSM_ENOPROC);
    assert_clean();
    rusm_thread_leave();
    rusm_runtime_del(other);
}

/* ---- every order of events ------------------------------------------------------------------- */

struct scene {
    rusm_pool *pool;
    rusm_pid server;
    unsigned answered, failed, timed_out, other;
};

static void scene_caller(void *arg)
{
    struct scene *scene = arg;

    for (int i = 0; i < 4; i++) {
        int64_t timeout_ms = (int64_t)rusm_test_random(scene->pool, 4) - 1;
        rusm_msg *reply = NULL;
        rusm_err err = rusm_call(scene->server, &i, sizeof(i), timeout_ms, &reply);

        if (err == RUSM_OK && rusm_msg_len(reply) == sizeof(i) &&
            memcmp(rusm_msg_data(reply), &i, sizeof(i)) == 0) {
            scene->answered++;
        } else if (err == RUSM_ENOPROC) {
            scene->failed++;
        } else if (err == RUSM_ETIMEOUT) {
            scene->timed_out++;
        } else {
            scene->other++;
        }
        rusm_msg_del(reply);
    }
    if (rusm_receive(&(rusm_msg *){NULL}, 0) != RUSM_ETIMEOUT) {
        scene->other++;
    }
}

static void scene_server(void *arg)
{
    struct scene *scene = arg;
    rusm_msg *msg;

    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_from from = rusm_msg_from(msg);

        if (rusm_test_random(scene->pool, 3) == 0) {
            (void)!rusm_sleep(2);
        }
        if (rusm_test_random(scene->pool, 16) == 0) {
            rusm_crash("chance");
        }
        (void)!rusm_reply(from, rusm_msg_data(msg), rusm_msg_len(msg));
        rusm_msg_del(msg);
    }
}

/* A caller gets its own answer, an error, or no time; and never another message. */
static void test_any_order(void **state)
{
    unsigned answered = 0, failed = 0, timed_out = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct scene scene = {.pool = NULL};
        rusm_runtime_config cfg;
        rusm_runtime *rt;
        rusm_pid victim;

        assert_int_equal(rusm_test_pool_new(&scene.pool, seed, NULL), RUSM_OK);
        rusm_runtime_config_init(&cfg);
        cfg.pool = scene.pool;
        assert_int_equal(rusm_runtime_new(&rt, &cfg), RUSM_OK);
        assert_int_equal(rusm_spawn(rt, scene_server, &scene, &scene.server), RUSM_OK);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(rusm_spawn(rt, scene_caller, &scene, NULL), RUSM_OK);
        }
        assert_int_equal(rusm_spawn(rt, scene_caller, &scene, &victim), RUSM_OK);
        for (uint64_t i = rusm_test_random(scene.pool, 30); i > 0; i--) {
            (void)rusm_test_step(scene.pool);
        }
        (void)!rusm_kill(victim);
        if (seed % 4 == 0) {
            (void)!rusm_kill(scene.server);
        }
        (void)rusm_test_advance(scene.pool, 1000);
        if (scene.other != 0) {
            fail_msg("seed %llu", (unsigned long long)seed);
        }
        answered += scene.answered;
        failed += scene.failed;
        timed_out += scene.timed_out;
        rusm_runtime_del(rt);
        rusm_pool_del(scene.pool);
    }
    /* The seeds do try all of it. */
    assert_true(answered > 100 && failed > 100 && timed_out > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_call_gets_the_answer),
        fixture_test(test_call_by_name),
        fixture_test(test_another_process_may_answer),
        fixture_test(test_calls_nest),
        fixture_test(test_100_callers_get_their_own_answers),
        fixture_test(test_call_past_many_messages),
        fixture_test(test_call_of_a_dead_process_fails_at_once),
        fixture_test(test_server_that_ends_during_a_call),
        fixture_test(test_server_killed_during_a_call),
        fixture_test(test_killed_caller_leaves_nothing_behind),
        fixture_test(test_late_answer_is_dropped_and_counted),
        fixture_test(test_second_answer_is_dropped),
        fixture_test(test_late_answers_do_not_pile_up),
        fixture_test(test_casts),
        fixture_test(test_answer_can_be_sent_on),
        fixture_test(test_bad_calls_and_answers),
        fixture_test(test_answer_to_a_caller_that_has_ended),
        fixture_test(test_call_of_a_full_mailbox_is_refused),
        fixture_test(test_call_of_another_runtime),
        cmocka_unit_test(test_any_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
