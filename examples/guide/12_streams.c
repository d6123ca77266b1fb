/* SPDX-License-Identifier: MIT */
/* Streams: bytes without end between two processes, through a buffer that is bounded. */
#include "example.h"

#include <string.h>

/* guide: reader */
static void count_bytes(void *arg)
{
    unsigned char buf[1024];
    unsigned long sum = 0;
    rusm_stream *reader;
    rusm_msg *msg;
    size_t len;

    (void)arg;
    must(rusm_receive(&msg, RUSM_INFINITY), "receive");
    reader = rusm_msg_take_stream(msg);
    for (;;) {
        must(rusm_stream_read(reader, buf, sizeof(buf), RUSM_INFINITY, &len), "read");
        if (len == 0) {
            break; /* the writer has closed, and everything was read */
        }
        sum += len;
    }
    must(rusm_send(rusm_msg_sender(msg), &sum, sizeof(sum)), "answer");
    rusm_msg_del(msg);
}
/* guide end */

/* guide: writer */
static void pour(void)
{
    static const char block[5000];
    rusm_stream *writer, *reader;
    unsigned long sum;
    rusm_msg *msg;
    rusm_pid pid;

    must(rusm_spawn(NULL, count_bytes, NULL, &pid), "spawn");
    must(rusm_stream_new(4096, &writer, &reader), "make a stream");
    must(rusm_stream_send(pid, reader, NULL, 0), "hand over the reading end");
    for (int i = 0; i < 200; i++) { /* each write waits until the reader made room */
        must(rusm_stream_write(writer, block, sizeof(block), EXAMPLE_WAIT_MS, NULL), "write");
    }
    rusm_stream_close(writer);
    must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "receive");
    memcpy(&sum, rusm_msg_data(msg), sizeof(sum));
    printf("%lu bytes came through a buffer of 4096\n", sum);
    rusm_msg_del(msg);
}
/* guide end */

/* guide: dead */
static void give_up(void *arg)
{
    (void)arg; /* ends without taking the stream out of its message */
}

static void pour_in_vain(void)
{
    rusm_stream *writer, *reader;
    rusm_err err;
    rusm_pid pid;

    must(rusm_stream_new(4096, &writer, &reader), "make a stream");
    must(rusm_spawn(NULL, give_up, NULL, &pid), "spawn");
    if (rusm_stream_send(pid, reader, NULL, 0) != RUSM_OK) {
        rusm_stream_close(reader); /* it has ended already, and the end is still ours */
    }
    do {
        err = rusm_stream_write(writer, "x", 1, EXAMPLE_WAIT_MS, NULL);
    } while (err == RUSM_OK);
    printf("nobody reads: %s\n", rusm_err_name(err));
    rusm_stream_close(writer);
}
/* guide end */

int main(void)
{
    rusm_runtime *runtime;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");
    pour();
    pour_in_vain();
    rusm_thread_leave();
    rusm_runtime_del(runtime);
    return 0;
}
