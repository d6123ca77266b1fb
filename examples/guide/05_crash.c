/* SPDX-License-Identifier: MIT */
/* Let it crash: the worker does the work, and somebody else deals with its failure. */
#include "example.h"

/* guide: worker */
static void parse(void *arg)
{
    const char *text = arg;
    char *end;
    long number = strtol(text, &end, 10);

    if (*end != '\0') {
        rusm_crash("'%s' is not a number", text); /* does not return */
    }
    printf("%ld\n", number);
}
/* guide end */

/* guide: watch */
static void run(char *text)
{
    char why[256];
    rusm_msg *down;

    must(rusm_spawn_monitor(parse, text, NULL, NULL), "spawn");
    must(rusm_receive(&down, EXAMPLE_WAIT_MS), "wait for its end");
    (void)rusm_reason_format(rusm_msg_reason(down), why, sizeof(why));
    printf("it ended: %s\n", why);
    rusm_msg_del(down);
}
/* guide end */

int main(void)
{
    static char good[] = "42", bad[] = "4 2";
    rusm_runtime *runtime;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");
    run(good);
    run(bad);
    rusm_thread_leave();
    rusm_runtime_del(runtime);
    return 0;
}
