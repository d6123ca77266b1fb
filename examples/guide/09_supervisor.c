/* SPDX-License-Identifier: MIT */
/* A supervisor: starts processes, and starts them again when they crash. */
#include "example.h"

#include <string.h>

/* guide: child */
/* A child has a name, by which it is found whatever its pid is now. */
static void divider(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    must(rusm_send_name("main", "ready", strlen("ready")), "say that it runs");
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        int number = *(const int *)rusm_msg_data(msg);
        int result;

        if (number == 0) {
            rusm_crash("division by zero");
        }
        result = 100 / number;
        must(rusm_reply(rusm_msg_from(msg), &result, sizeof(result)), "reply");
        rusm_msg_del(msg);
    }
}
/* guide end */

/* guide: start */
static rusm_err start(rusm_pid *out_pid)
{
    rusm_supervisor_config cfg;
    rusm_spawn_config spawn;
    rusm_child_spec child;

    rusm_spawn_config_init(&spawn);
    spawn.name = "divider";
    rusm_child_spec_init(&child);
    child.id = "divider";
    child.fn = divider;
    child.restart = RUSM_PERMANENT; /* whatever it ends with, it is started again */
    child.spawn = &spawn;

    rusm_supervisor_config_init(&cfg);
    cfg.strategy = RUSM_ONE_FOR_ONE; /* a crash restarts the one that crashed */
    cfg.max_restarts = 3;            /* more in five seconds: the supervisor gives up */
    cfg.seconds = 5;
    cfg.children = &child;
    cfg.children_len = 1;
    return rusm_supervisor_start(&cfg, out_pid);
}
/* guide end */

/* guide: use */
static void divide(int number)
{
    rusm_msg *reply;
    rusm_err err = rusm_call_name("divider", &number, sizeof(number), EXAMPLE_WAIT_MS, &reply);

    if (err == RUSM_OK) {
        printf("100 / %d = %d\n", number, *(const int *)rusm_msg_data(reply));
        rusm_msg_del(reply);
    } else {
        printf("100 / %d: %s\n", number, rusm_err_detail());
    }
}

static void wait_until_ready(void)
{
    rusm_msg *msg;

    must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "receive");
    rusm_msg_del(msg);
}

static void use(void)
{
    rusm_child_count count;
    rusm_pid supervisor;

    must(start(&supervisor), "start");
    wait_until_ready();
    divide(7);
    divide(0);
    wait_until_ready(); /* the supervisor has started it again */
    divide(8);
    must(rusm_supervisor_count(supervisor, EXAMPLE_WAIT_MS, &count), "count");
    printf("restarts: %u\n", (unsigned)count.restarts);
    must(rusm_supervisor_stop(supervisor, EXAMPLE_WAIT_MS), "stop");
}
/* guide end */

int main(void)
{
    rusm_runtime *runtime;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");
    must(rusm_register(NULL, "main", rusm_self()), "register");
    use();
    rusm_thread_leave();
    rusm_runtime_del(runtime);
    return 0;
}
