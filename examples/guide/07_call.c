/* SPDX-License-Identifier: MIT */
/* Call and reply: a request that waits for its answer, and for nothing else. */
#include "example.h"

#include <string.h>

/* guide: serve */
static void multiplier(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        if (rusm_msg_get_kind(msg) == RUSM_MSG_CALL && rusm_msg_len(msg) == sizeof(int[2])) {
            const int *factors = rusm_msg_data(msg);
            int product = factors[0] * factors[1];

            if (product == 0) {
                rusm_crash("nobody asks for nothing");
            }
            must(rusm_reply(rusm_msg_from(msg), &product, sizeof(product)), "reply");
        }
        rusm_msg_del(msg);
    }
}
/* guide end */

/* guide: ask */
static void ask(rusm_pid pid, int a, int b)
{
    const int factors[2] = {a, b};
    rusm_msg *reply;
    rusm_err err = rusm_call(pid, factors, sizeof(factors), EXAMPLE_WAIT_MS, &reply);

    if (err == RUSM_OK) {
        printf("%d * %d = %d\n", a, b, *(const int *)rusm_msg_data(reply));
        rusm_msg_del(reply);
    } else {
        printf("%d * %d: %s\n", a, b, rusm_err_name(err));
    }
}
/* guide end */

/* guide: late */
static void hesitate(void *arg)
{
    rusm_msg *request, *msg;

    (void)arg;
    must(rusm_receive(&request, RUSM_INFINITY), "receive");
    must(rusm_receive(&msg, RUSM_INFINITY), "wait to be told");
    must(rusm_reply(rusm_msg_from(request), "late", strlen("late")), "reply");
}

static void ask_in_vain(void)
{
    rusm_ref ref;
    rusm_msg *msg;
    rusm_pid pid;

    must(rusm_spawn_monitor(hesitate, NULL, &pid, &ref), "spawn");
    if (rusm_call(pid, NULL, 0, 10, &msg) == RUSM_ETIMEOUT) {
        printf("no answer in time\n");
    }
    must(rusm_send(pid, "go on", strlen("go on")), "send");
    must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "receive");
    printf("the next message is the late answer: %s\n",
           rusm_msg_get_kind(msg) == RUSM_MSG_DOWN ? "no" : "yes");
    rusm_msg_del(msg);
}
/* guide end */

int main(void)
{
    rusm_runtime *runtime;
    rusm_pid pid;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");
    must(rusm_spawn(NULL, multiplier, NULL, &pid), "spawn");
    ask(pid, 6, 7);
    ask(pid, 0, 7);
    ask(pid, 1, 7);
    ask_in_vain();
    rusm_thread_leave();
    rusm_runtime_del(runtime);
    return 0;
}
