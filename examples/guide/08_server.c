/* SPDX-License-Identifier: MIT */
/* A server: a process with a state, written as a table of functions. */
#include "example.h"

#include <string.h>

/* guide: table */
/* A counter: a cast adds a number to it, a call asks for its value. */
struct counter {
    long value;
};

static rusm_err counter_init(void *arg, void **out_state)
{
    struct counter *counter = rusm_zalloc(sizeof(*counter));

    if (counter == NULL) {
        return RUSM_ENOMEM;
    }
    counter->value = *(const long *)arg;
    *out_state = counter;
    return RUSM_OK;
}

static void counter_call(void *state, rusm_msg *request)
{
    struct counter *counter = state;

    if (rusm_reply(rusm_msg_from(request), &counter->value, sizeof(counter->value)) != RUSM_OK) {
        return; /* the caller has ended: nobody misses the answer */
    }
}

static void counter_cast(void *state, rusm_msg *msg)
{
    struct counter *counter = state;
    long step;

    if (rusm_msg_len(msg) == sizeof(step)) {
        memcpy(&step, rusm_msg_data(msg), sizeof(step));
        counter->value += step;
    }
}

static void counter_terminate(void *state, const rusm_reason *reason)
{
    struct counter *counter = state;

    printf("the counter ends at %ld: %s\n", counter->value, rusm_reason_name(reason->kind));
}

static const rusm_server_ops counter_ops = {
    .size = sizeof(counter_ops),
    .init = counter_init,
    .call = counter_call,
    .cast = counter_cast,
    .terminate = counter_terminate,
};
/* guide end */

/* guide: api */
/* Who uses the counter sees these functions and no message. */
static rusm_err counter_start(long first, rusm_pid *out_pid)
{
    return rusm_server_start(&counter_ops, &first, NULL, EXAMPLE_WAIT_MS, out_pid);
}

static rusm_err counter_add(rusm_pid counter, long step)
{
    return rusm_cast(counter, &step, sizeof(step));
}

static rusm_err counter_get(rusm_pid counter, long *out_value)
{
    rusm_msg *reply;
    rusm_err err = rusm_call(counter, NULL, 0, EXAMPLE_WAIT_MS, &reply);

    if (err == RUSM_OK) {
        memcpy(out_value, rusm_msg_data(reply), sizeof(*out_value));
        rusm_msg_del(reply);
    }
    return err;
}
/* guide end */

/* guide: use */
static void use(void)
{
    rusm_pid counter;
    long value;

    must(counter_start(40, &counter), "start");
    must(counter_add(counter, 3), "add");
    must(counter_add(counter, -1), "add");
    must(counter_get(counter, &value), "get"); /* after both: messages keep their order */
    printf("the counter is at %ld\n", value);
    must(rusm_server_stop(counter, EXAMPLE_WAIT_MS), "stop");
}
/* guide end */

int main(void)
{
    rusm_runtime *runtime;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");
    use();
    rusm_thread_leave();
    rusm_runtime_del(runtime);
    return 0;
}
