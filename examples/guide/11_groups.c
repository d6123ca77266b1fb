/* SPDX-License-Identifier: MIT */
/* Groups: a name for many processes. */
#include "example.h"

#include <string.h>

/* guide: member */
static void listener(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    must(rusm_group_join(NULL, "room", rusm_self()), "join");
    must(rusm_send_name("main", "joined", strlen("joined")), "say so");
    must(rusm_receive(&msg, RUSM_INFINITY), "receive");
    must(rusm_send_name("main", rusm_msg_data(msg), rusm_msg_len(msg)), "repeat it");
    rusm_msg_del(msg); /* and it ends, and so leaves the group */
}
/* guide end */

static void expect(const char *what, int times)
{
    int matches = 0;

    for (int i = 0; i < times; i++) {
        rusm_msg *msg;

        must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "receive");
        matches += rusm_msg_len(msg) == strlen(what) &&
                   memcmp(rusm_msg_data(msg), what, strlen(what)) == 0;
        rusm_msg_del(msg);
    }
    printf("%s: %d of %d\n", what, matches, times);
}

/* guide: send */
static void talk(void)
{
    must(rusm_register(NULL, "main", rusm_self()), "register");
    for (int i = 0; i < 3; i++) {
        must(rusm_spawn(NULL, listener, NULL, NULL), "spawn");
    }
    expect("joined", 3);
    printf("sent to %d\n", (int)rusm_group_send(NULL, "room", "hello", strlen("hello")));
    expect("hello", 3);
}
/* guide end */

/* guide: monitor */
static bool is_about(const rusm_msg *msg, void *arg)
{
    return rusm_ref_equal(rusm_msg_ref(msg), *(const rusm_ref *)arg);
}

static void watch(void)
{
    rusm_pid members[8];
    rusm_msg *msg;
    rusm_ref ref;
    rusm_pid pid;

    printf("members now: %d\n", (int)rusm_group_monitor("late", &ref, members, 8));
    must(rusm_spawn(NULL, listener, NULL, &pid), "spawn");
    must(rusm_group_join(NULL, "late", pid), "join");
    must(rusm_kill(pid), "kill");
    for (int i = 0; i < 2; i++) {
        must(rusm_receive_match(&msg, is_about, &ref, EXAMPLE_WAIT_MS), "receive");
        printf("%s: %.*s\n", rusm_msg_get_kind(msg) == RUSM_MSG_JOIN ? "joined" : "left",
               (int)rusm_msg_len(msg), (const char *)rusm_msg_data(msg));
        rusm_msg_del(msg);
    }
}
/* guide end */

int main(void)
{
    rusm_runtime *runtime;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");
    talk();
    watch();
    rusm_thread_leave();
    rusm_runtime_del(runtime);
    return 0;
}
