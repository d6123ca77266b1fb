/* SPDX-License-Identifier: MIT */
/* What C can not give, and what to do instead. */
#include "example.h"

#include <errno.h>
#include <fcntl.h>
#include <rusm/otp/driver.h>
#include <stdatomic.h>
#include <unistd.h>

/* guide: loop */
/* A long loop: without the call in it nobody else would run on this scheduler thread, and nothing
 * could end this process. */
static void count(void *arg)
{
    const atomic_bool *stop = arg;

    while (!atomic_load(stop)) {
        rusm_bump_reductions(1); /* gives way now and then; a killed process ends here */
    }
    must(rusm_send_name("main", "done", 4), "send");
}

static void stop_it(void *arg)
{
    atomic_store((atomic_bool *)arg, true);
}
/* guide end */

static void share_one_thread(void)
{
    static atomic_bool stop;
    rusm_msg *msg;

    must(rusm_spawn(NULL, count, &stop, NULL), "spawn");
    must(rusm_spawn(NULL, stop_it, &stop, NULL), "spawn");
    must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "receive");
    printf("two processes took turns on one thread\n");
    rusm_msg_del(msg);
}

/* guide: errno */
/* errno belongs to the thread, and a process may go on on another thread after a rusm call. */
static void read_errno(void *arg)
{
    int fd = open("/nowhere/to/be/found", O_RDONLY);
    int why = errno; /* at once, before the next rusm call */

    (void)arg;
    must(rusm_sleep(1), "sleep");
    must(rusm_send_name("main", &why, sizeof(why)), "send");
    if (fd >= 0) {
        (void)close(fd);
    }
}
/* guide end */

/* guide: stack */
struct big {
    char buf[100000]; /* more than a stack of 65,536 bytes has */
};

static void fill(void *arg)
{
    struct big *big = rusm_zalloc(sizeof(*big)); /* not on the stack */
    rusm_pid self = rusm_self();

    (void)arg;
    if (big == NULL) {
        rusm_crash("no memory");
    }
    (void)rusm_pid_format(self, big->buf, sizeof(big->buf));
    must(rusm_send_name("main", "x", 1), "send");
}

static void spawn_with_large_stack(rusm_process_fn fn)
{
    rusm_spawn_config cfg;

    rusm_spawn_config_init(&cfg);
    cfg.stack_size = (size_t)1 << 20; /* address space; memory only as far as it is used */
    must(rusm_spawn_with(NULL, fn, NULL, &cfg, NULL), "spawn");
}
/* guide end */

int main(void)
{
    rusm_runtime_config cfg;
    rusm_pool_config pool;
    rusm_runtime *runtime;
    rusm_msg *msg;

    rusm_pool_config_init(&pool);
    pool.threads = 1;
    rusm_runtime_config_init(&cfg);
    must(rusm_pool_new(&cfg.pool, &pool), "make a pool");
    must(rusm_runtime_new(&runtime, &cfg), "start a runtime");
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");
    must(rusm_register(NULL, "main", rusm_self()), "register");

    share_one_thread();
    must(rusm_spawn(NULL, read_errno, NULL, NULL), "spawn");
    must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "receive");
    printf("errno was ENOENT: %s\n", *(const int *)rusm_msg_data(msg) == ENOENT ? "yes" : "no");
    rusm_msg_del(msg);
    spawn_with_large_stack(fill);
    must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "receive");
    rusm_msg_del(msg);

    rusm_thread_leave();
    rusm_runtime_del(runtime);
    rusm_pool_del(cfg.pool);
    return 0;
}
