/* SPDX-License-Identifier: MIT */
/* Taking the urgent message first: all others stay in the mailbox, in order. */
#include "example.h"

#include <string.h>

static bool is_urgent(const rusm_msg *msg, void *arg)
{
    (void)arg;
    return rusm_msg_len(msg) > 0 && *(const char *)rusm_msg_data(msg) == '!';
}

static void print(const char *how, rusm_msg *msg)
{
    printf("%s %.*s\n", how, (int)rusm_msg_len(msg), (const char *)rusm_msg_data(msg));
    rusm_msg_del(msg);
}

static void worker(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    must(rusm_receive_match(&msg, is_urgent, NULL, EXAMPLE_WAIT_MS), "receive the urgent one");
    print("first:", msg);
    while (rusm_receive(&msg, 0) == RUSM_OK) {
        print("then:", msg);
    }
}

int main(void)
{
    static const char *const jobs[] = {"sweep", "wash", "cook", "!fire"};
    rusm_runtime *runtime;
    rusm_process_info info;
    rusm_pid pid;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");
    must(rusm_spawn(runtime, worker, NULL, &pid), "spawn");

    /* The urgent job comes last, and the worker sees none before it has seen that one. */
    for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++) {
        must(rusm_send(pid, jobs[i], strlen(jobs[i])), "send");
    }
    while (rusm_process_get_info(pid, &info) == RUSM_OK) {
        must(rusm_sleep(1), "sleep"); /* until it has ended */
    }
    rusm_thread_leave();
    rusm_runtime_del(runtime);
    return 0;
}
