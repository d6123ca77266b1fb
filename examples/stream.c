/* SPDX-License-Identifier: MIT */
/*
 * A stream between two processes, for more than a message should hold. A process makes it, keeps
 * the writing end, and sends the reading end to the process that counts. The buffer holds 4 KiB, so
 * who writes faster than the other reads is suspended; a writer that crashes on the way is noticed
 * after what it wrote.
 */
#include "example.h"

#include <string.h>

#define LINES 10000

/* Write numbered lines, and crash after so many; 0: none. */
struct job {
    rusm_pid counter;
    int crash_after;
};

static void write_lines(void *arg)
{
    const struct job *job = arg;
    rusm_stream *writer, *reader;
    char line[32];

    must(rusm_stream_new(4096, &writer, &reader), "make a stream");
    must(rusm_stream_send(job->counter, reader, NULL, 0), "hand the reading end over");
    for (int i = 1; i <= LINES; i++) {
        int len = snprintf(line, sizeof(line), "line %d\n", i);

        must(rusm_stream_write(writer, line, (size_t)len, RUSM_INFINITY, NULL), "write");
        if (i == job->crash_after) {
            rusm_crash("out of ink");
        }
    }
    rusm_stream_close(writer); /* the end, for the reader; without it the writer counts as lost */
}

/* Count the lines of the next stream that comes. */
static void count_lines(void)
{
    char buf[1000];
    size_t len, lines = 0;
    rusm_stream *reader;
    rusm_err err;
    rusm_msg *msg;

    must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "receive");
    reader = rusm_msg_take_stream(msg);
    rusm_msg_del(msg);
    while ((err = rusm_stream_read(reader, buf, sizeof(buf), EXAMPLE_WAIT_MS, &len)) == RUSM_OK &&
           len != 0) {
        for (size_t i = 0; i < len; i++) {
            lines += buf[i] == '\n';
        }
    }
    printf("%zu lines, then %s\n", lines, err == RUSM_OK ? "the end" : rusm_err_detail());
    rusm_stream_close(reader);
}

int main(void)
{
    struct job whole, broken;
    rusm_runtime *runtime;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    must(rusm_thread_enter(runtime, "counter"), "enter the runtime");
    whole = (struct job){rusm_self(), 0};
    must(rusm_spawn(NULL, write_lines, &whole, NULL), "spawn");
    count_lines();
    broken = (struct job){rusm_self(), 2500};
    must(rusm_spawn(NULL, write_lines, &broken, NULL), "spawn");
    count_lines();
    rusm_thread_leave();
    rusm_runtime_del(runtime);
    return 0;
}
