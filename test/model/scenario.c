/* SPDX-License-Identifier: MIT */
#include "model/scenario.h"

#include <rusm/otp.h>
#include <rusm/test.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOON_MS    5000
#define LIMIT_MS   600000
#define STREAM_LEN 1000u
#define INFOS_MAX  32
/* Far more steps than it needs. */
#define STEPS_MAX 100000u

static struct scenario *now; /* the one that runs */
static unsigned hooks_due, hooks_run;
static unsigned crashes_left;

static void broken(int line, const char *what)
{
    (void)fprintf(stderr, "FAILED: line %d: %s (%s); seed %llu, kill %u at step %llu, step %llu\n",
                  line, what, rusm_err_detail(), (unsigned long long)now->seed, now->victim,
                  (unsigned long long)now->kill_at, (unsigned long long)now->steps);
    (void)fflush(NULL);
    _Exit(EXIT_FAILURE);
}

#define check(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            broken(__LINE__, #condition);                                                          \
        }                                                                                          \
    } while (0)

/* What may come of a disturbance, in the processes that were not killed themselves. */
static bool is_excused(rusm_err err)
{
    return now->disturbed && (err == RUSM_ENOMEM || err == RUSM_ENOPROC || err == RUSM_ENONAME ||
                              err == RUSM_ECLOSED);
}

static void must_at(int line, rusm_err err, const char *what)
{
    if (err == RUSM_OK) {
        return;
    }
    if (!is_excused(err)) {
        broken(line, what);
    }
    rusm_crash("%s", rusm_err_name(err));
}

/* The call succeeds; or, if the run is disturbed, the process ends. */
#define must(call) must_at(__LINE__, call, #call)

/* For calls that return a count. */
#define must_count(call) must_count_at(__LINE__, call, #call)

static void must_count_at(int line, ptrdiff_t count, const char *what)
{
    must_at(line, count < 0 ? (rusm_err)count : RUSM_OK, what);
}

static void completed(void)
{
    now->completed++;
}

/* ---- a server and who calls it --------------------------------------------------------------- */

static rusm_err server_init(void *arg, void **out_state)
{
    (void)arg;
    *out_state = rusm_zalloc(100);
    return *out_state == NULL ? RUSM_ENOMEM : RUSM_OK;
}

static void server_call(void *state, rusm_msg *request)
{
    rusm_err err;

    ++*(unsigned char *)state;
    err = rusm_reply(rusm_msg_from(request), rusm_msg_data(request), rusm_msg_len(request));
    if (err == RUSM_ENOMEM) {
        must(err);
    }
}

static void server_terminate(void *state, const rusm_reason *reason)
{
    (void)reason;
    check(*(unsigned char *)state == 3 || now->disturbed);
}

static const rusm_server_ops server_ops = {.size = sizeof(rusm_server_ops),
                                           .init = server_init,
                                           .call = server_call,
                                           .terminate = server_terminate};

static rusm_err task_main(void *arg, rusm_msg **out_result)
{
    rusm_err err = rusm_sleep(5);

    if (err == RUSM_OK) {
        err = rusm_msg_new(out_result, 4);
    }
    if (err == RUSM_OK) {
        memcpy(rusm_msg_data(*out_result), arg, 4);
    }
    return err;
}

static void hook_run(void *arg)
{
    (void)arg;
    hooks_run++;
}

static void body_client(void *arg)
{
    static char text[] = "task";
    rusm_task task;
    rusm_msg *msg;
    void *memory;

    (void)arg;
    must(rusm_at_exit(hook_run, NULL, NULL));
    hooks_due++;
    must(rusm_group_join(NULL, "clients", rusm_self()));
    must(rusm_task_start(&task, task_main, text, NULL));
    for (int i = 0; i < 3; i++) {
        must(rusm_call_name("server", "question", 8, SOON_MS, &msg));
        check(rusm_msg_len(msg) == 8 && memcmp(rusm_msg_data(msg), "question", 8) == 0);
    }
    memory = rusm_alloc(10);
    must(memory == NULL ? RUSM_ENOMEM : RUSM_OK);
    memory = rusm_realloc(memory, 10000);
    must(memory == NULL ? RUSM_ENOMEM : RUSM_OK);
    must(rusm_task_await(&task, SOON_MS, &msg));
    check(memcmp(rusm_msg_data(msg), "task", 4) == 0);
    completed();
}

static void body_server_owner(void *arg)
{
    rusm_spawn_config cfg;
    rusm_pid server, client;
    rusm_ref ref, group;
    rusm_msg *msg;
    int joined = 0, left = 0;

    (void)arg;
    (void)rusm_trap_exit(true);
    must_count(rusm_group_monitor("clients", &group, NULL, 0));
    rusm_spawn_config_init(&cfg);
    cfg.name = "server";
    cfg.label = "a server";
    must(rusm_server_start(&server_ops, NULL, &cfg, SOON_MS, &server));
    must(rusm_spawn_monitor(body_client, NULL, &client, &ref));
    do {
        must(rusm_receive(&msg, SOON_MS));
        left += rusm_msg_get_kind(msg) == RUSM_MSG_LEAVE ? 1 : 0;
        if (rusm_msg_get_kind(msg) == RUSM_MSG_JOIN) {
            joined++;
            must_count(rusm_group_send(NULL, "clients", "welcome", 7));
        }
    } while (rusm_msg_get_kind(msg) != RUSM_MSG_DOWN);
    check(rusm_ref_equal(rusm_msg_ref(msg), ref));
    check(now->disturbed || (joined == 1 && left == 1));
    rusm_group_demonitor(group);
    must(rusm_server_stop(server, SOON_MS));
    completed();
}

/* ---- two that are linked --------------------------------------------------------------------- */

static bool is_even(const rusm_msg *msg, void *arg)
{
    (void)arg;
    return rusm_msg_get_kind(msg) == RUSM_MSG_DOWN ||
           (rusm_msg_len(msg) == 1 && *(const char *)rusm_msg_data(msg) % 2 == 0);
}

/* Takes the even ones first, answers, and crashes. */
static void body_right(void *arg)
{
    rusm_pid left = *(const rusm_pid *)arg;
    rusm_msg *msg;

    must(rusm_monitor(left, NULL));
    for (char expected = 0; expected < 6; expected = (char)(expected + 2)) {
        must(rusm_receive_match(&msg, is_even, NULL, SOON_MS));
        if (rusm_msg_get_kind(msg) == RUSM_MSG_DOWN) {
            check(now->disturbed);
            return;
        }
        check(*(const char *)rusm_msg_data(msg) == expected);
    }
    must(rusm_receive(&msg, SOON_MS));
    check(rusm_msg_get_kind(msg) == RUSM_MSG_DOWN || *(const char *)rusm_msg_data(msg) == 1);
    must(rusm_send(left, "done", 4));
    completed();
    rusm_crash("right");
}

static void left_timers(void)
{
    rusm_ref after, interval;
    rusm_msg *msg;
    rusm_mark mark;

    must(rusm_send_after(rusm_self(), "after", 5, 50, &after));
    must(rusm_send_interval(rusm_self(), "tick", 4, 10, &interval));
    for (int ticks = 0; ticks < 3;) {
        must(rusm_receive(&msg, SOON_MS));
        check(rusm_msg_get_kind(msg) == RUSM_MSG_TIMER);
        if (rusm_ref_equal(rusm_msg_ref(msg), interval)) {
            ticks++;
        } else {
            check(rusm_ref_equal(rusm_msg_ref(msg), after));
        }
        rusm_msg_del(msg);
    }
    (void)!rusm_cancel_timer(after);
    must(rusm_cancel_timer(interval));
    mark = rusm_mailbox_mark();
    must(rusm_send(rusm_self(), "\x08", 1));
    must(rusm_receive_since(mark, &msg, is_even, NULL, SOON_MS));
}

static void body_left(void *arg)
{
    rusm_pid self = rusm_self(), right;
    rusm_pid *told = rusm_alloc(sizeof(*told));
    rusm_spawn_config cfg;
    rusm_ref ref;
    rusm_msg *msg;
    int exits = 0, downs = 0;

    (void)arg;
    must(told == NULL ? RUSM_ENOMEM : RUSM_OK);
    *told = self;
    (void)rusm_trap_exit(true);
    rusm_spawn_config_init(&cfg);
    cfg.link = true;
    cfg.out_ref = &ref;
    must(rusm_spawn_with(NULL, body_right, told, &cfg, &right));
    for (char i = 0; i < 6; i++) {
        must(rusm_send(right, &i, 1));
    }
    while (exits + downs < 2) {
        must(rusm_receive(&msg, SOON_MS));
        check(rusm_pid_equal(rusm_msg_sender(msg), right));
        exits += rusm_msg_get_kind(msg) == RUSM_MSG_EXIT ? 1 : 0;
        downs += rusm_msg_get_kind(msg) == RUSM_MSG_DOWN ? 1 : 0;
        check(rusm_msg_reason(msg) == NULL || now->disturbed ||
              strcmp(rusm_msg_reason(msg)->text, "right") == 0);
        rusm_msg_del(msg);
    }
    check(exits == 1 && downs == 1 && !rusm_is_alive(right));
    check(!rusm_demonitor(ref, true));
    must(rusm_unlink(right));
    left_timers();
    completed();
}

/* ---- a supervisor ---------------------------------------------------------------------------- */

static void body_child(void *arg)
{
    rusm_msg *msg;

    if (arg != NULL && crashes_left > 0) {
        crashes_left--;
        rusm_crash("child");
    }
    for (;;) {
        must(rusm_receive(&msg, RUSM_INFINITY));
    }
}

static void body_boss(void *arg)
{
    rusm_supervisor_config cfg;
    rusm_child_spec specs[3];
    rusm_child_count count;
    rusm_pid supervisor, child;

    (void)arg;
    crashes_left = 2;
    (void)rusm_trap_exit(true);
    for (int i = 0; i < 3; i++) {
        static const char *const ids[] = {"one", "two", "three"};

        rusm_child_spec_init(&specs[i]);
        specs[i].id = ids[i];
        specs[i].fn = body_child;
        specs[i].arg = i == 1 ? &crashes_left : NULL;
    }
    rusm_supervisor_config_init(&cfg);
    cfg.strategy = RUSM_ONE_FOR_ONE;
    cfg.max_restarts = 20;
    cfg.children = specs;
    cfg.children_len = 2;
    cfg.name = "supervisor";
    must(rusm_supervisor_start(&cfg, &supervisor));
    must(rusm_supervisor_start_child(supervisor, &specs[2], NULL, SOON_MS, &child));
    must(rusm_supervisor_count(supervisor, SOON_MS, &count));
    check(count.specs == 3);
    must(rusm_supervisor_terminate_child(supervisor, "three", SOON_MS));
    must(rusm_supervisor_delete_child(supervisor, "three", SOON_MS));
    must(rusm_supervisor_stop(supervisor, SOON_MS));
    check(!rusm_is_alive(supervisor));
    completed();
}

/* ---- a stream -------------------------------------------------------------------------------- */

static void body_reader(void *arg)
{
    unsigned char buf[64];
    rusm_stream *stream;
    size_t len, sum = 0;
    rusm_msg *msg;

    (void)arg;
    must(rusm_receive(&msg, SOON_MS));
    stream = rusm_msg_take_stream(msg);
    must(stream == NULL ? RUSM_ENOMEM : RUSM_OK);
    do {
        must(rusm_stream_read(stream, buf, sizeof(buf), SOON_MS, &len));
        sum += len;
    } while (len != 0);
    check(sum == STREAM_LEN);
    completed();
}

static void body_writer(void *arg)
{
    static unsigned char bytes[STREAM_LEN];
    rusm_stream *writer, *reader;
    rusm_pid pid;
    rusm_msg *msg;

    (void)arg;
    must(rusm_stream_new(100, &writer, &reader));
    must(rusm_spawn_link(body_reader, NULL, &pid));
    must(rusm_stream_send(pid, reader, "reader", 6));
    must(rusm_monitor(pid, NULL));
    must(rusm_stream_write(writer, bytes, sizeof(bytes), SOON_MS, NULL));
    rusm_stream_close(writer);
    must(rusm_receive(&msg, SOON_MS));
    check(rusm_msg_get_kind(msg) == RUSM_MSG_DOWN);
    completed();
}

/* ---- running it ------------------------------------------------------------------------------ */

static const rusm_process_fn bodies[] = {body_server_owner, body_left, body_boss, body_writer};
#define BODIES (sizeof(bodies) / sizeof(bodies[0]))

static uint64_t alive(rusm_runtime *rt)
{
    rusm_runtime_stats stats;

    check(rusm_runtime_get_stats(rt, &stats) == RUSM_OK);
    return stats.processes;
}

/* Kill one of those that live, but not the testing thread. */
static void kill_one(rusm_runtime *rt)
{
    rusm_process_info infos[INFOS_MAX];
    uint64_t cursor = 0;
    ptrdiff_t found = rusm_process_list(rt, &cursor, infos, INFOS_MAX);
    unsigned at = 0;

    check(found >= 1 && cursor == 0);
    for (ptrdiff_t i = 0; i < found; i++) {
        if (!rusm_pid_equal(infos[i].pid, rusm_self()) && at++ == now->victim) {
            now->disturbed = true;
            now->killed = true;
            check(rusm_kill(infos[i].pid) == RUSM_OK);
            return;
        }
    }
}

static void run_all(rusm_pool *pool, rusm_runtime *rt)
{
    rusm_time limit = rusm_test_now(pool) + (rusm_time)LIMIT_MS * 1000000;

    while (alive(rt) > 1) {
        if (!rusm_test_step(pool)) {
            (void)rusm_test_advance(pool, 1);
        }
        check(rusm_test_now(pool) < limit && now->steps < STEPS_MAX);
        if (++now->steps == now->kill_at) {
            kill_one(rt);
        }
    }
}

/* Begin the bodies and hear of their ends. */
static void run_bodies(rusm_pool *pool, rusm_runtime *rt)
{
    rusm_ref refs[BODIES] = {{0, 0}};
    unsigned begun = 0;
    rusm_msg *msg;

    for (size_t i = 0; i < BODIES; i++) {
        rusm_err err = rusm_spawn_monitor(bodies[i], NULL, NULL, &refs[begun]);

        check(err == RUSM_OK || (err == RUSM_ENOMEM && now->disturbed));
        begun += err == RUSM_OK ? 1 : 0;
    }
    run_all(pool, rt);
    for (unsigned heard = 0; heard < begun; heard++) {
        unsigned i = 0;

        check(rusm_receive(&msg, 0) == RUSM_OK);
        check(rusm_msg_get_kind(msg) == RUSM_MSG_DOWN);
        while (i < begun && !rusm_ref_equal(refs[i], rusm_msg_ref(msg))) {
            i++;
        }
        check(i < begun);
        refs[i].number = 0;
        check(now->disturbed || rusm_msg_reason(msg)->kind == RUSM_REASON_NORMAL);
        rusm_msg_del(msg);
    }
    check(rusm_receive(&msg, 0) == RUSM_ETIMEOUT);
}

rusm_err scenario_run(struct scenario *scenario)
{
    rusm_pool *pool;
    rusm_runtime *rt;
    rusm_runtime_config cfg;
    rusm_pid found;
    rusm_err err;

    now = scenario;
    hooks_due = hooks_run = 0;
    err = rusm_test_pool_new(&pool, scenario->seed, NULL);
    if (err != RUSM_OK) {
        return err;
    }
    rusm_runtime_config_init(&cfg);
    cfg.pool = pool;
    err = rusm_runtime_new(&rt, &cfg);
    if (err != RUSM_OK) {
        rusm_pool_del(pool);
        return err;
    }
    err = rusm_thread_enter(rt, "test");
    if (err == RUSM_OK) {
        run_bodies(pool, rt);
        check(hooks_due == hooks_run);
        check(rusm_whereis(rt, "server", &found) == RUSM_ENONAME);
        check(rusm_whereis(rt, "supervisor", &found) == RUSM_ENONAME);
        rusm_thread_leave();
    }
    rusm_runtime_del(rt);
    rusm_pool_del(pool);
    return err;
}
