/* SPDX-License-Identifier: MIT */
/*
 * Let it crash: a counter that does not check what it is told, and a supervisor that starts it
 * again when that was its end. Who asks has to be ready for the moment in between.
 */
#include "example.h"

#include <string.h>

/* Adds what it is told and answers with the sum. */
static void counter(void *arg)
{
    long sum = 0;
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        const char *text = rusm_msg_data(msg);
        char *end;
        long number = strtol(text, &end, 10);

        if (end == text) {
            rusm_crash("'%s' is no number", text);
        }
        sum += number;
        must(rusm_reply(rusm_msg_from(msg), &sum, sizeof(sum)), "answer");
        rusm_msg_del(msg);
    }
}

static void add(const char *text)
{
    rusm_msg *reply;
    rusm_err err;

    /* Between its end and its restart nobody has the name. */
    while ((err = rusm_call_name("counter", text, strlen(text) + 1, EXAMPLE_WAIT_MS, &reply)) ==
           RUSM_ENONAME) {
        must(rusm_sleep(1), "sleep");
    }
    if (err == RUSM_ENOPROC) {
        printf("add %s: %s\n", text, rusm_err_detail());
        return;
    }
    must(err, "call the counter");
    printf("add %s: %ld\n", text, *(const long *)rusm_msg_data(reply));
    rusm_msg_del(reply);
}

int main(void)
{
    rusm_supervisor_config cfg;
    rusm_child_count count;
    rusm_spawn_config spawn;
    rusm_child_spec child;
    rusm_runtime *runtime;
    rusm_pid supervisor;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");

    rusm_spawn_config_init(&spawn);
    spawn.name = "counter";
    rusm_child_spec_init(&child);
    child.id = "counter";
    child.fn = counter;
    child.spawn = &spawn;
    rusm_supervisor_config_init(&cfg);
    cfg.children = &child;
    cfg.children_len = 1;
    must(rusm_supervisor_start(&cfg, &supervisor), "start the supervisor");

    add("5");
    add("7");
    add("many");
    add("1"); /* another process, which begins anew */
    must(rusm_supervisor_count(supervisor, EXAMPLE_WAIT_MS, &count), "count");
    printf("children %d, restarts %d\n", (int)count.active, (int)count.restarts);
    must(rusm_supervisor_stop(supervisor, EXAMPLE_WAIT_MS), "stop the supervisor");

    rusm_thread_leave();
    rusm_runtime_del(runtime);
    return 0;
}
