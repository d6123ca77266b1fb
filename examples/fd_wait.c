/* SPDX-License-Identifier: MIT */
/*
 * A process for each descriptor: plain blocking code that suspends only itself. Fifty processes
 * each read one pipe until it ends and tell the main thread how much came.
 */
#include "example.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PIPES 50

struct source {
    int fd;
    rusm_pid client;
};

/* Read until the end of the file; the process waits while there is nothing. */
static size_t read_all(int fd)
{
    size_t total = 0;
    char buf[512];

    for (;;) {
        ssize_t got = read(fd, buf, sizeof(buf));

        if (got == 0) {
            return total;
        }
        if (got > 0) {
            total += (size_t)got;
        } else if (errno == EAGAIN) {
            must(rusm_wait_fd(fd, RUSM_FD_READ, EXAMPLE_WAIT_MS), "wait for the pipe");
        } else if (errno != EINTR) {
            rusm_crash("read: %s", strerror(errno));
        }
    }
}

static void reader(void *arg)
{
    const struct source *source = arg;
    size_t total = read_all(source->fd);

    must(rusm_send(source->client, &total, sizeof(total)), "report");
}

/* A pipe whose reading end does not block. */
static void open_pipe(int fds[2])
{
    if (pipe(fds) != 0 || fcntl(fds[0], F_SETFL, O_NONBLOCK) != 0) {
        perror("pipe");
        exit(EXIT_FAILURE);
    }
}

int main(void)
{
    static const char line[] = "a line through a pipe\n";
    struct source sources[PIPES];
    int ends[PIPES];
    size_t total = 0;
    rusm_runtime *runtime;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");
    for (int i = 0; i < PIPES; i++) {
        int fds[2];

        open_pipe(fds);
        sources[i] = (struct source){fds[0], rusm_self()};
        ends[i] = fds[1];
        must(rusm_spawn(runtime, reader, &sources[i], NULL), "spawn");
    }
    for (int i = PIPES - 1; i >= 0; i--) {
        if (write(ends[i], line, sizeof(line) - 1) != (ssize_t)sizeof(line) - 1) {
            perror("write");
            return EXIT_FAILURE;
        }
        (void)close(ends[i]);
    }
    for (int i = 0; i < PIPES; i++) {
        size_t got;
        rusm_msg *msg;

        must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "receive");
        memcpy(&got, rusm_msg_data(msg), sizeof(got));
        rusm_msg_del(msg);
        total += got;
    }
    printf("%d processes read %zu bytes\n", PIPES, total);
    rusm_thread_leave();
    rusm_runtime_del(runtime);
    for (int i = 0; i < PIPES; i++) {
        (void)close(sources[i].fd);
    }
    return 0;
}
