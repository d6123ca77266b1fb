/* SPDX-License-Identifier: MIT */
/* Groups: a room that processes join and leave. One speaks to all, and follows who is in. */
#include "example.h"

#include <string.h>

#define ROOM  "kitchen"
#define COOKS 3

static const char *const names[COOKS] = {"ada", "ben", "eve"};
static rusm_pid cooks[COOKS];

/* Answers what it hears; it lives until somebody ends it. */
static void cook(void *arg)
{
    (void)arg;
    for (;;) {
        rusm_msg *msg;

        must(rusm_receive(&msg, RUSM_INFINITY), "hear something");
        /* All members share the bytes of this message: they are to be read only. */
        must(rusm_send(rusm_msg_sender(msg), "yes", 3), "answer");
        rusm_msg_del(msg);
    }
}

static const char *name_of(rusm_pid pid)
{
    for (int i = 0; i < COOKS; i++) {
        if (rusm_pid_equal(cooks[i], pid)) {
            return names[i];
        }
    }
    return "a stranger";
}

static bool is_kind(const rusm_msg *msg, void *arg)
{
    return rusm_msg_get_kind(msg) == *(const rusm_msg_kind *)arg;
}

/* Wait for the next message of that kind; returns who it is from, or about. */
static rusm_pid await(rusm_msg_kind kind)
{
    rusm_msg *msg;
    rusm_pid pid;

    must(rusm_receive_match(&msg, is_kind, &kind, EXAMPLE_WAIT_MS), "wait for a message");
    pid = rusm_msg_sender(msg);
    rusm_msg_del(msg);
    return pid;
}

/* Calls that return how many, or an error. */
static int count(ptrdiff_t result, const char *what)
{
    must(result < 0 ? (rusm_err)result : RUSM_OK, what);
    return (int)result;
}

int main(void)
{
    const rusm_reason closing = rusm_reason_make(RUSM_REASON_SHUTDOWN);
    rusm_runtime *runtime;
    rusm_ref changes;
    int heard;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");

    /* From here on main hears of each who joins or leaves: here nobody is in yet. */
    printf("%d in the room\n", count(rusm_group_monitor(ROOM, &changes, NULL, 0), "monitor"));
    for (int i = 0; i < COOKS; i++) {
        must(rusm_spawn(NULL, cook, NULL, &cooks[i]), "spawn a cook");
        must(rusm_group_join(NULL, ROOM, cooks[i]), "let a cook in");
    }
    for (int i = 0; i < COOKS; i++) {
        printf("%s joined\n", name_of(await(RUSM_MSG_JOIN)));
    }

    heard = count(rusm_group_send(NULL, ROOM, "dinner at eight?", 16), "say something");
    for (int i = 0; i < heard; i++) {
        (void)await(RUSM_MSG_DATA);
    }
    printf("%d heard it and answered\n", heard);

    must(rusm_group_leave(NULL, ROOM, cooks[1]), "leave");
    printf("%s left\n", name_of(await(RUSM_MSG_LEAVE)));
    must(rusm_kill(cooks[0]), "kill a member"); /* who ends leaves */
    printf("%s left\n", name_of(await(RUSM_MSG_LEAVE)));
    printf("%d left in the room: end it\n",
           count(rusm_group_terminate(NULL, ROOM, &closing), "end"));
    printf("%s left\n", name_of(await(RUSM_MSG_LEAVE)));
    printf("%d in the room\n", count(rusm_group_members(NULL, ROOM, NULL, 0), "look"));

    rusm_thread_leave();
    rusm_runtime_del(runtime);
    return 0;
}
