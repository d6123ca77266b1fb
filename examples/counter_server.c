/* SPDX-License-Identifier: MIT */
/* A generic server: a process with a state, written as a table of functions. */
#include "example.h"

#include <string.h>

/* What the counter can be told; the bytes of a message are ours to choose. */
struct request {
    enum {
        ADD,
        READ,
        DIVIDE_BY_ZERO
    } what;
    int number;
};

static rusm_err counter_init(void *arg, void **out_state)
{
    int *value = rusm_alloc(sizeof(*value)); /* freed with the process, however it ends */

    if (value == NULL) {
        return RUSM_ENOMEM;
    }
    *value = *(const int *)arg;
    *out_state = value;
    return RUSM_OK;
}

/* Somebody waits for an answer. */
static void counter_call(void *state, rusm_msg *msg)
{
    const struct request *request = rusm_msg_data(msg);
    int *value = state;

    if (request->what == DIVIDE_BY_ZERO) {
        rusm_crash("%d can not be divided by 0", *value);
    }
    must(rusm_reply(rusm_msg_from(msg), value, sizeof(*value)), "reply");
}

/* Nobody does. */
static void counter_cast(void *state, rusm_msg *msg)
{
    const struct request *request = rusm_msg_data(msg);
    int *value = state;

    *value += request->number;
}

static void counter_terminate(void *state, const rusm_reason *reason)
{
    printf("terminate: %s, at %d\n", rusm_reason_name(reason->kind), *(const int *)state);
}

static const rusm_server_ops counter = {
    .size = sizeof(rusm_server_ops),
    .init = counter_init,
    .call = counter_call,
    .cast = counter_cast,
    .terminate = counter_terminate,
};

/* The functions that a program calls: they hide that there is a process. */

static void counter_add(rusm_pid pid, int number)
{
    struct request request = {ADD, number};

    must(rusm_cast(pid, &request, sizeof(request)), "cast");
}

static int counter_read(rusm_pid pid)
{
    struct request request = {READ, 0};
    rusm_msg *reply;
    int value;

    must(rusm_call(pid, &request, sizeof(request), EXAMPLE_WAIT_MS, &reply), "call");
    memcpy(&value, rusm_msg_data(reply), sizeof(value));
    rusm_msg_del(reply);
    return value;
}

int main(void)
{
    struct request bad = {DIVIDE_BY_ZERO, 0};
    int first = 40;
    rusm_runtime *runtime;
    rusm_pid pid;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");
    (void)rusm_trap_exit(true); /* the crash below shall not be ours */

    must(rusm_server_start(&counter, &first, NULL, EXAMPLE_WAIT_MS, &pid), "start the counter");
    counter_add(pid, 1);
    counter_add(pid, 1);
    printf("the counter is at %d\n", counter_read(pid));
    must(rusm_server_stop(pid, EXAMPLE_WAIT_MS), "stop the counter");

    must(rusm_server_start(&counter, &first, NULL, EXAMPLE_WAIT_MS, &pid), "start another");
    if (rusm_call(pid, &bad, sizeof(bad), EXAMPLE_WAIT_MS, NULL) == RUSM_ENOPROC) {
        printf("no answer: %s\n", rusm_err_detail());
    }
    rusm_thread_leave();
    rusm_runtime_del(runtime);
    return 0;
}
