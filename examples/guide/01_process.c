/* SPDX-License-Identifier: MIT */
/* A process: a function that runs beside others, on a stack of its own. */
#include "example.h"

/* guide: body */
static void greet(void *arg)
{
    const char *name = arg;

    printf("hello, %s\n", name);
}
/* guide end */

/* guide: many */
static void idle(void *arg)
{
    (void)arg;
    must(rusm_sleep(RUSM_INFINITY), "sleep");
}

static void spawn_many(void)
{
    rusm_runtime_stats stats;

    for (int i = 0; i < 10000; i++) {
        must(rusm_spawn(NULL, idle, NULL, NULL), "spawn");
    }
    must(rusm_runtime_get_stats(NULL, &stats), "get stats");
    printf("more than 10000 processes: %s\n", stats.processes > 10000 ? "yes" : "no");
}
/* guide end */

/* guide: main */
int main(void)
{
    static char name[] = "world";
    rusm_runtime *runtime;
    rusm_msg *end;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");

    must(rusm_spawn_monitor(greet, name, NULL, NULL), "spawn");
    must(rusm_receive(&end, RUSM_INFINITY), "wait for its end");
    rusm_msg_del(end);
    spawn_many();

    rusm_thread_leave();
    rusm_runtime_del(runtime); /* ends all that still run */
    return 0;
}
/* guide end */
