/* SPDX-License-Identifier: MIT */
/* What a process owns is given back when it ends, even when it is killed. */
#include "example.h"

#include <string.h>

/* guide: hook */
static void close_file(void *arg)
{
    FILE *file = arg;

    (void)fclose(file);
    printf("the file is closed\n");
}

static void writer(void *arg)
{
    char *line = rusm_zalloc(128); /* freed when this process ends */
    FILE *file = tmpfile();        /* known to C alone: a hook closes it */
    rusm_msg *msg;

    (void)arg;
    if (line == NULL || file == NULL) {
        rusm_crash("no memory or no file");
    }
    must(rusm_at_exit(close_file, file, NULL), "set an exit hook");
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        (void)snprintf(line, 128, "%.*s", (int)rusm_msg_len(msg), (const char *)rusm_msg_data(msg));
        (void)fprintf(file, "%s\n", line);
        must(rusm_send(rusm_msg_sender(msg), "written", strlen("written")), "answer");
        rusm_msg_del(msg); /* would be freed too, but not before the end */
    }
}
/* guide end */

/* guide: kill */
static void use_and_kill(void)
{
    rusm_msg *msg;
    rusm_pid pid;

    must(rusm_spawn_monitor(writer, NULL, &pid, NULL), "spawn");
    must(rusm_send(pid, "hello", strlen("hello")), "send");
    must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "wait for the answer");
    rusm_msg_del(msg);

    must(rusm_kill(pid), "kill"); /* it waits in rusm_receive() and never comes back from there */
    must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "wait for its end");
    printf("the process has ended: %s\n", rusm_reason_name(rusm_msg_reason(msg)->kind));
    rusm_msg_del(msg);
}
/* guide end */

int main(void)
{
    rusm_runtime *runtime;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");
    use_and_kill();
    rusm_thread_leave();
    rusm_runtime_del(runtime);
    return 0;
}
