/* SPDX-License-Identifier: MIT */
/* Links: processes that belong together end together. Monitors: only to hear of an end. */
#include "example.h"

#include <string.h>

static void wait_to_end(void *arg)
{
    (void)arg;
    must(rusm_sleep(RUSM_INFINITY), "sleep");
}

/* guide: link */
/* A reader and its helper: neither is of use alone. */
static void reader(void *arg)
{
    rusm_pid *out_helper = arg;
    rusm_msg *msg;

    must(rusm_spawn_link(wait_to_end, NULL, out_helper), "spawn a linked helper");
    must(rusm_send_name("main", "ready", strlen("ready")), "say that both run");
    must(rusm_receive(&msg, RUSM_INFINITY), "receive");
    rusm_crash("bad input: %.*s", (int)rusm_msg_len(msg), (const char *)rusm_msg_data(msg));
}
/* guide end */

static void print_down(const char *who, const rusm_msg *down)
{
    char why[256];

    (void)rusm_reason_format(rusm_msg_reason(down), why, sizeof(why));
    printf("the %s ended: %s\n", who, why);
}

/* guide: monitor */
static bool is_down(const rusm_msg *msg, void *arg)
{
    const rusm_ref *ref = arg;

    return rusm_msg_get_kind(msg) == RUSM_MSG_DOWN && rusm_ref_equal(rusm_msg_ref(msg), *ref);
}

static void end_together(void)
{
    rusm_pid reader_pid, helper_pid;
    rusm_ref reader_ref, helper_ref;
    rusm_msg *msg;

    must(rusm_register(NULL, "main", rusm_self()), "register");
    must(rusm_spawn_monitor(reader, &helper_pid, &reader_pid, &reader_ref), "spawn");
    must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "wait until both run");
    rusm_msg_del(msg);
    must(rusm_monitor(helper_pid, &helper_ref), "monitor");

    must(rusm_send(reader_pid, "x", 1), "send");
    must(rusm_receive_match(&msg, is_down, &reader_ref, EXAMPLE_WAIT_MS), "wait for the reader");
    print_down("reader", msg);
    rusm_msg_del(msg);
    must(rusm_receive_match(&msg, is_down, &helper_ref, EXAMPLE_WAIT_MS), "wait for the helper");
    print_down("helper", msg);
    rusm_msg_del(msg);
}
/* guide end */

/* guide: trap */
static void outlive_a_link(void)
{
    rusm_reason reason = rusm_reason_crashed("on request");
    rusm_msg *msg;
    rusm_pid pid;

    (void)rusm_trap_exit(true); /* from here on exits are messages for us */
    must(rusm_spawn_link(wait_to_end, NULL, &pid), "spawn");
    must(rusm_exit_process(pid, &reason), "ask it to end");
    must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "wait for its exit");
    printf("kind is exit: %s, and we live\n",
           rusm_msg_get_kind(msg) == RUSM_MSG_EXIT ? "yes" : "no");
    rusm_msg_del(msg);
}
/* guide end */

int main(void)
{
    rusm_runtime *runtime;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");
    end_together();
    outlive_a_link();
    rusm_thread_leave();
    rusm_runtime_del(runtime);
    return 0;
}
