/* SPDX-License-Identifier: MIT */
/* Two nodes: a process on one calls, watches and outlives a process on the other. */
#include "example.h"

#include <string.h>

/* guide: service */
/* On london: doubles a number; anything that is no number ends it. */
static void doubler(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        int32_t number;

        if (rusm_msg_len(msg) != sizeof(number)) {
            rusm_crash("%zu bytes are no number", rusm_msg_len(msg));
        }
        memcpy(&number, rusm_msg_data(msg), sizeof(number));
        number *= 2;
        must(rusm_reply(rusm_msg_from(msg), &number, sizeof(number)), "reply");
        rusm_msg_del(msg);
    }
}

static rusm_err make_doubler(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    (void)arg;
    (void)args;
    (void)args_len;
    return rusm_spawn(NULL, doubler, NULL, out_pid);
}
/* guide end */

static void print_end(const char *what)
{
    char why[256];
    rusm_msg *msg;

    must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "hear of it");
    if (rusm_msg_reason(msg) != NULL) {
        (void)rusm_reason_format(rusm_msg_reason(msg), why, sizeof(why));
        printf("%s: %s\n", what, why);
    } else if (rusm_msg_node_event(msg) != NULL) {
        printf("%s: %s is down, %s\n", what, rusm_msg_node_event(msg)->node,
               rusm_down_cause_name(rusm_msg_node_event(msg)->cause));
    }
    rusm_msg_del(msg);
}

/* guide: client */
/* On tokyo: the pid says where the process is, the calls are the ones that you know. */
static void use_a_doubler(void)
{
    int32_t number = 21;
    rusm_msg *reply;
    rusm_pid pid;

    must(rusm_spawn_remote_monitor(NULL, "london", "doubler", NULL, 0, EXAMPLE_WAIT_MS, &pid, NULL),
         "spawn on london");
    must(rusm_call(pid, &number, sizeof(number), EXAMPLE_WAIT_MS, &reply), "call");
    memcpy(&number, rusm_msg_data(reply), sizeof(number));
    rusm_msg_del(reply);
    printf("twice 21 is %d\n", (int)number);

    must(rusm_cast(pid, "?", 1), "cast");
    print_end("it crashed");
    must(rusm_monitor(pid, NULL), "monitor");
    print_end("it is no more");
}
/* guide end */

/* guide: stream */
/* On london: counts what comes out of a stream. */
static void count_bytes(void *arg)
{
    unsigned char buf[8192];
    unsigned long sum = 0;
    rusm_stream *reader;
    rusm_msg *msg;
    size_t len;

    (void)arg;
    must(rusm_receive(&msg, RUSM_INFINITY), "receive");
    reader = rusm_msg_take_stream(msg);
    do { /* RUSM_ECLOSED: the writer or its node was lost, and this is not everything */
        must(rusm_stream_read(reader, buf, sizeof(buf), RUSM_INFINITY, &len), "read");
        sum += len;
    } while (len != 0);
    must(rusm_send(rusm_msg_sender(msg), &sum, sizeof(sum)), "answer");
    rusm_msg_del(msg);
}

static rusm_err make_counter(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    (void)arg;
    (void)args;
    (void)args_len;
    return rusm_spawn(NULL, count_bytes, NULL, out_pid);
}

/* On tokyo: more than a message may hold, through a buffer of 256 KiB. */
static void pour_into_london(void)
{
    static const char block[100000];
    rusm_stream *writer, *reader;
    unsigned long sum;
    rusm_msg *msg;
    rusm_pid pid;

    must(rusm_spawn_remote(NULL, "london", "counter", NULL, 0, EXAMPLE_WAIT_MS, &pid), "spawn");
    must(rusm_stream_new(256 * 1024, &writer, &reader), "make a stream");
    must(rusm_stream_send(pid, reader, NULL, 0), "hand over the reading end");
    for (int i = 0; i < 200; i++) {
        must(rusm_stream_write(writer, block, sizeof(block), EXAMPLE_WAIT_MS, NULL), "write");
    }
    rusm_stream_close(writer);
    must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "receive");
    memcpy(&sum, rusm_msg_data(msg), sizeof(sum));
    printf("%lu bytes came to london\n", sum);
    rusm_msg_del(msg);
}
/* guide end */

/* guide: lost */
static void lose_london(void)
{
    rusm_pid pid;

    must(rusm_monitor_nodes(true), "listen");
    must(rusm_spawn_remote_monitor(NULL, "london", "doubler", NULL, 0, EXAMPLE_WAIT_MS, &pid, NULL),
         "spawn on london");
    must(rusm_node_disconnect(NULL, "london"), "disconnect");
    print_end("the process");
    print_end("the node");
}
/* guide end */

int main(void)
{
    rusm_runtime *runtimes[2];
    rusm_node *london, *tokyo;
    rusm_identity *identity;

    must(rusm_identity_generate(&identity, "demo"), "make an identity");
    must(rusm_runtime_new(&runtimes[0], NULL), "start a runtime");
    must(rusm_runtime_new(&runtimes[1], NULL), "start a runtime");
    must(rusm_node_bind(&london, runtimes[0], "london", "127.0.0.1:0", identity), "bind london");
    must(rusm_node_bind(&tokyo, runtimes[1], "tokyo", "127.0.0.1:0", identity), "bind tokyo");
    rusm_identity_del(identity);
    must(rusm_factory_register(london, "doubler", make_doubler, NULL), "register the factory");
    must(rusm_factory_register(london, "counter", make_counter, NULL), "register another");

    must(rusm_thread_enter(runtimes[1], "main"), "enter tokyo");
    must(rusm_node_connect(tokyo, rusm_node_address(london), EXAMPLE_WAIT_MS, NULL), "connect");
    use_a_doubler();
    pour_into_london();
    lose_london();
    rusm_thread_leave();

    rusm_node_del(tokyo);
    rusm_node_del(london);
    rusm_runtime_del(runtimes[1]);
    rusm_runtime_del(runtimes[0]);
    return 0;
}
