/* SPDX-License-Identifier: MIT */
/*
 * A process may be killed wherever it is: nothing leaks, nothing hangs, and who has to hear hears.
 *
 * First, a small program of processes (model/scenario.h) is run again and again, and each time one
 * of its processes is killed after one more step, until every process was killed after every step.
 * Then, on threads, a process is killed while suspended in each of the calls that suspend.
 */
#include "model/heap.h"
#include "model/scenario.h"
#include "platform/tools.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <rusm/otp.h>
#include <rusm/otp/driver.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEEDS   (RUSMI_ASAN || RUSMI_TSAN ? 1u : 4u)
#define WAIT_MS 60000

#define check(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "FAILED: line %d: %s (%s)\n", __LINE__, #condition,              \
                          rusm_err_detail());                                                      \
            (void)fflush(NULL);                                                                    \
            _Exit(EXIT_FAILURE);                                                                   \
        }                                                                                          \
    } while (0)

/* ---- at every step --------------------------------------------------------------------------- */

/* Returns how many runs there were. */
static unsigned kill_at_each_step(uint64_t seed)
{
    struct scenario whole = {.seed = seed};
    unsigned runs = 0;
    long before;

    check(scenario_run(&whole) == RUSM_OK);
    check(whole.completed == SCENARIO_BODIES);
    before = heap_blocks();
    for (uint64_t step = 1; step <= whole.steps; step++) {
        for (unsigned victim = 0;; victim++) {
            struct scenario scenario = {.seed = seed, .kill_at = step, .victim = victim};

            check(scenario_run(&scenario) == RUSM_OK);
            if (heap_blocks() != before) {
                (void)fprintf(stderr, "%ld blocks leaked: seed %llu, kill %u at step %llu\n",
                              heap_blocks() - before, (unsigned long long)seed, victim,
                              (unsigned long long)step);
            }
            check(heap_blocks() == before);
            runs++;
            if (!scenario.killed) {
                break; /* no more processes live at this step */
            }
        }
    }
    return runs;
}

/* ---- in every call that suspends ------------------------------------------------------------- */

static rusm_runtime *rt;
static rusm_waiter *waiter;
static int ends[2];           /* of a pipe in which nothing is written */
static char full_address[64]; /* of a listener that accepts nothing, with the shortest queue */
static rusm_pid silent;       /* a process that answers nothing */
static rusm_pid supervisor;   /* a supervisor that is busy for ever, below */

static bool never(const rusm_msg *msg, void *arg)
{
    (void)msg;
    (void)arg;
    return false;
}

/* Each ends in a call that it does not return from. What it owns must be given back. */
static void in_receive(void)
{
    rusm_msg *msg;

    (void)!rusm_receive(&msg, RUSM_INFINITY);
}

static void in_receive_timed(void)
{
    rusm_msg *msg;

    (void)!rusm_receive(&msg, WAIT_MS * 10);
}

static void in_receive_match(void)
{
    rusm_msg *msg;

    (void)!rusm_send(rusm_self(), "unwanted", 8);
    (void)!rusm_receive_match(&msg, never, NULL, RUSM_INFINITY);
}

static void in_receive_since(void)
{
    rusm_msg *msg;
    rusm_mark mark = rusm_mailbox_mark();

    (void)!rusm_send(rusm_self(), "unwanted", 8);
    (void)!rusm_receive_since(mark, &msg, never, NULL, RUSM_INFINITY);
}

static void in_sleep(void)
{
    (void)!rusm_sleep(WAIT_MS * 10);
}

static void in_yields(void)
{
    for (;;) {
        rusm_yield();
    }
}

static void in_wait_fd(void)
{
    (void)!rusm_wait_fd(ends[0], RUSM_FD_READ, RUSM_INFINITY);
}

static void in_waiter(void)
{
    rusm_err err = rusm_waiter_wait(waiter, RUSM_INFINITY);

    check(err == RUSM_EKILLED);
    rusm_checkpoint();
}

static void in_call(void)
{
    rusm_msg *reply;

    (void)!rusm_call(silent, "question", 8, RUSM_INFINITY, &reply);
}

static void in_call_name(void)
{
    (void)!rusm_call_name("silent", "question", 8, WAIT_MS * 10, NULL);
}

static rusm_err init_for_ever(void *arg, void **out_state)
{
    (void)arg;
    (void)out_state;
    return rusm_sleep(RUSM_INFINITY);
}

static void ignore(void *state, rusm_msg *request)
{
    (void)state;
    (void)request;
}

static const rusm_server_ops never_ready = {
    .size = sizeof(rusm_server_ops), .init = init_for_ever, .call = ignore};

static void in_server_start(void)
{
    rusm_pid pid;

    (void)!rusm_server_start(&never_ready, NULL, NULL, RUSM_INFINITY, &pid);
}

static void in_server_stop(void)
{
    (void)!rusm_server_stop(silent, RUSM_INFINITY);
}

static void in_server_loop(void)
{
    static const rusm_server_ops ops = {.size = sizeof(rusm_server_ops), .call = ignore};

    rusm_server_run(&ops, NULL);
}

static rusm_err sleep_task(void *arg, rusm_msg **out_result)
{
    (void)arg;
    (void)out_result;
    return rusm_sleep(RUSM_INFINITY);
}

static void in_task_await(void)
{
    rusm_task task;

    check(rusm_task_start(&task, sleep_task, NULL, NULL) == RUSM_OK);
    (void)!rusm_task_await(&task, RUSM_INFINITY, NULL);
}

static rusm_err start_never(void *arg, rusm_pid *out_pid)
{
    (void)arg;
    return rusm_server_start(&never_ready, NULL, NULL, RUSM_INFINITY, out_pid);
}

static void in_supervisor_start(void)
{
    rusm_supervisor_config cfg;
    rusm_child_spec spec;
    rusm_pid pid;

    rusm_child_spec_init(&spec);
    spec.id = "never ready";
    spec.start = start_never;
    rusm_supervisor_config_init(&cfg);
    cfg.children = &spec;
    cfg.children_len = 1;
    (void)!rusm_supervisor_start(&cfg, &pid);
}

static void in_supervisor_call(void)
{
    rusm_child_count count;

    (void)!rusm_supervisor_count(supervisor, RUSM_INFINITY, &count);
}

static void in_supervisor_stop(void)
{
    (void)!rusm_supervisor_stop(supervisor, RUSM_INFINITY);
}

static void in_stream_read(void)
{
    rusm_stream *writer, *reader;
    char byte;
    size_t len;

    check(rusm_stream_new(10, &writer, &reader) == RUSM_OK);
    (void)!rusm_stream_read(reader, &byte, 1, RUSM_INFINITY, &len);
}

static void in_stream_write(void)
{
    rusm_stream *writer, *reader;
    static const char bytes[100];

    check(rusm_stream_new(10, &writer, &reader) == RUSM_OK);
    (void)!rusm_stream_write(writer, bytes, sizeof(bytes), RUSM_INFINITY, NULL);
}

static rusm_tcp *listen_here(char *address, size_t address_len)
{
    rusm_tcp *listener;

    check(rusm_tcp_listen(&listener, "127.0.0.1:0") == RUSM_OK);
    check(rusm_tcp_address(listener, address, address_len) < address_len);
    return listener;
}

static void in_tcp_accept(void)
{
    char address[64];
    rusm_tcp *conn;

    (void)!rusm_tcp_accept(listen_here(address, sizeof(address)), RUSM_INFINITY, &conn);
}

/* A connection that nobody accepts: the system takes it on its own. */
static rusm_tcp *connection(void)
{
    char address[64];
    rusm_tcp *conn;

    (void)listen_here(address, sizeof(address));
    check(rusm_tcp_connect(&conn, address, RUSM_INFINITY) == RUSM_OK);
    return conn;
}

static void in_tcp_read(void)
{
    char byte;
    size_t len;

    (void)!rusm_tcp_read(connection(), &byte, 1, RUSM_INFINITY, &len);
}

static void in_tcp_read_exact(void)
{
    char bytes[10];

    (void)!rusm_tcp_read_exact(connection(), bytes, sizeof(bytes), RUSM_INFINITY);
}

static void in_tcp_write(void)
{
    static const char bytes[65536];
    rusm_tcp *conn = connection();

    while (rusm_tcp_write(conn, bytes, sizeof(bytes), RUSM_INFINITY, NULL) == RUSM_OK) {
    }
}

/* To a listener whose queue is full the system tries for minutes. */
static void in_tcp_connect(void)
{
    rusm_tcp *conn;

    for (;;) {
        check(rusm_tcp_connect(&conn, full_address, RUSM_INFINITY) == RUSM_OK);
    }
}

static const struct {
    const char *name;
    void (*body)(void);
} calls[] = {
    {"receive", in_receive},
    {"receive with a timeout", in_receive_timed},
    {"receive_match", in_receive_match},
    {"receive_since", in_receive_since},
    {"sleep", in_sleep},
    {"yield", in_yields},
    {"wait_fd", in_wait_fd},
    {"waiter_wait", in_waiter},
    {"call", in_call},
    {"call_name", in_call_name},
    {"server_start", in_server_start},
    {"server_stop", in_server_stop},
    {"server_run", in_server_loop},
    {"task_await", in_task_await},
    {"supervisor_start", in_supervisor_start},
    {"supervisor_count", in_supervisor_call},
    {"supervisor_stop", in_supervisor_stop},
    {"stream_read", in_stream_read},
    {"stream_write", in_stream_write},
    {"tcp_accept", in_tcp_accept},
    {"tcp_read", in_tcp_read},
    {"tcp_read_exact", in_tcp_read_exact},
    {"tcp_write", in_tcp_write},
    {"tcp_connect", in_tcp_connect},
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

static _Atomic unsigned begun, hooks;

static void hook(void *arg)
{
    (void)arg;
    (void)atomic_fetch_add(&hooks, 1);
}

/* What each has in its hands when it is killed. */
static void body_suspended(void *arg)
{
    rusm_msg *held;

    check(rusm_alloc(1000) != NULL && rusm_msg_new(&held, 100) == RUSM_OK);
    check(rusm_at_exit(hook, NULL, NULL) == RUSM_OK);
    check(rusm_send_after(rusm_self(), "late", 4, WAIT_MS * 10, NULL) == RUSM_OK);
    (void)atomic_fetch_add(&begun, 1);
    calls[(uintptr_t)arg].body();
    rusm_checkpoint();
    (void)fprintf(stderr, "FAILED: %s returned: %s\n", calls[(uintptr_t)arg].name,
                  rusm_err_detail());
    _Exit(EXIT_FAILURE);
}

static void body_silent(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    (void)rusm_trap_exit(true);
    (void)!rusm_receive_match(&msg, never, NULL, RUSM_INFINITY);
}

static bool is_suspended(rusm_pid pid)
{
    rusm_process_info info;

    return rusm_process_get_info(pid, &info) == RUSM_OK &&
           (info.state == RUSM_PROCESS_RECEIVING || info.state == RUSM_PROCESS_WAITING);
}

/* Kill it there, and hear of it by a link and a monitor. */
static void kill_in(size_t call)
{
    rusm_spawn_config cfg;
    rusm_msg *msg;
    rusm_ref ref;
    rusm_pid pid;
    rusm_time end = rusm_now() + (rusm_time)WAIT_MS * 1000000;

    rusm_spawn_config_init(&cfg);
    cfg.link = true;
    cfg.out_ref = &ref;
    cfg.name = "victim";
    check(rusm_spawn_with(rt, body_suspended, (void *)(uintptr_t)call, &cfg, &pid) == RUSM_OK);
    /* Suspended twice in a row: not only on the way to the call. One that yields never is. */
    for (int seen = 0; seen < 2;) {
        check(rusm_now() < end);
        seen = atomic_load(&begun) > call && (is_suspended(pid) || calls[call].body == in_yields)
                   ? seen + 1
                   : 0;
        check(rusm_sleep(1) == RUSM_OK);
    }
    check(rusm_kill(pid) == RUSM_OK);
    for (int i = 0; i < 2; i++) {
        check(rusm_receive(&msg, WAIT_MS) == RUSM_OK);
        check(rusm_msg_get_kind(msg) == (i == 0 ? RUSM_MSG_EXIT : RUSM_MSG_DOWN));
        check(rusm_pid_equal(rusm_msg_sender(msg), pid));
        check(rusm_msg_reason(msg)->kind == RUSM_REASON_KILLED);
        rusm_msg_del(msg);
    }
}

static unsigned open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned found = 0;

    check(dir != NULL);
    while (readdir(dir) != NULL) {
        found++;
    }
    check(closedir(dir) == 0);
    return found;
}

static int open_full_listener(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    check(fd >= 0 && bind(fd, (struct sockaddr *)&address, len) == 0 && listen(fd, 0) == 0);
    check(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    (void)snprintf(full_address, sizeof(full_address), "127.0.0.1:%u",
                   (unsigned)ntohs(address.sin_port));
    return fd;
}

static void kill_in_each_call(void)
{
    rusm_runtime_config cfg;
    rusm_pool_config pool_cfg;
    rusm_spawn_config silent_cfg;
    rusm_pool *pool;
    rusm_runtime_stats stats;
    long before = heap_blocks();
    unsigned descriptors = open_descriptors();
    int full = open_full_listener();

    rusm_pool_config_init(&pool_cfg);
    pool_cfg.threads = 2;
    check(rusm_pool_new(&pool, &pool_cfg) == RUSM_OK);
    rusm_runtime_config_init(&cfg);
    cfg.pool = pool;
    check(rusm_runtime_new(&rt, &cfg) == RUSM_OK);
    check(rusm_waiter_new(&waiter) == RUSM_OK && pipe(ends) == 0);
    check(rusm_thread_enter(rt, "test") == RUSM_OK);
    (void)rusm_trap_exit(true);
    rusm_spawn_config_init(&silent_cfg);
    silent_cfg.name = "silent";
    check(rusm_spawn_with(rt, body_silent, NULL, &silent_cfg, &silent) == RUSM_OK);
    supervisor = silent; /* one that answers nothing is busy for ever */
    for (size_t i = 0; i < CALLS; i++) {
        kill_in(i);
    }
    check(atomic_load(&hooks) == CALLS);
    check(rusm_kill(silent) == RUSM_OK);
    rusm_thread_leave();
    check(rusm_runtime_stop(rt, WAIT_MS) == RUSM_OK);
    check(rusm_runtime_get_stats(rt, &stats) == RUSM_OK && stats.processes == 0);
    rusm_runtime_del(rt);
    rusm_pool_del(pool);
    rusm_waiter_drop(waiter);
    check(close(ends[0]) == 0 && close(ends[1]) == 0);
    check(close(full) == 0);
    check(heap_blocks() == before && open_descriptors() == descriptors);
}

int main(void)
{
    unsigned runs = 0;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        runs += kill_at_each_step(seed);
    }
    (void)printf("kill: %u runs, each process at each step\n", runs);
    (void)fflush(stdout);
    kill_in_each_call();
    (void)printf("kill: in %zu calls that suspend\n", CALLS);
    return EXIT_SUCCESS;
}
