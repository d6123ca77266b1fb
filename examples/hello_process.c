/* SPDX-License-Identifier: MIT */
/* The smallest program: spawn a process, send it a message, receive its answer. */
#include "example.h"

#include <string.h>

static void greeter(void *arg)
{
    const char *greeting = arg;
    rusm_msg *msg;

    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        char text[64];
        int len = snprintf(text, sizeof(text), "%s, %.*s", greeting, (int)rusm_msg_len(msg),
                           (const char *)rusm_msg_data(msg));

        must(rusm_send(rusm_msg_sender(msg), text, (size_t)len), "answer");
        rusm_msg_del(msg);
    }
}

int main(void)
{
    static char greeting[] = "hello";
    rusm_runtime *runtime;
    rusm_msg *msg;
    rusm_pid pid;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    /* From here on this thread has a pid and a mailbox, as a process has. */
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");

    must(rusm_spawn(runtime, greeter, greeting, &pid), "spawn");
    must(rusm_send(pid, "world", strlen("world")), "send");
    must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "receive");
    printf("%.*s\n", (int)rusm_msg_len(msg), (const char *)rusm_msg_data(msg));
    rusm_msg_del(msg);

    rusm_thread_leave();
    rusm_runtime_del(runtime); /* ends the greeter, which still waits for more */
    return 0;
}
