/* SPDX-License-Identifier: MIT */
/* Work that blocks or computes for long: on a thread of its own. And tasks: one result later. */
#include "example.h"

#include <rusm/otp/driver.h>
#include <string.h>
#include <unistd.h>

/* guide: blocking */
/* read(2) on a pipe blocks the thread that it is called on. */
static void read_line(void *arg)
{
    const int *fd = arg;
    char line[64];
    ssize_t len = read(*fd, line, sizeof(line));

    must(rusm_send_name("main", line, len < 0 ? 0 : (size_t)len), "send what was read");
}

static void wait_for_a_line(void)
{
    rusm_msg *msg;
    int fds[2];

    must(pipe(fds) == 0 ? RUSM_OK : RUSM_ESYS, "make a pipe");
    must(rusm_spawn_blocking(NULL, read_line, &fds[0], NULL, NULL), "spawn");
    must(write(fds[1], "a line", 6) == 6 ? RUSM_OK : RUSM_ESYS, "write");
    must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "receive");
    printf("read: %.*s\n", (int)rusm_msg_len(msg), (const char *)rusm_msg_data(msg));
    rusm_msg_del(msg);
    (void)close(fds[0]);
    (void)close(fds[1]);
}
/* guide end */

/* guide: task */
static rusm_err count_primes(void *arg, rusm_msg **out_result)
{
    unsigned below = *(const unsigned *)arg, primes = 0;
    rusm_err err = rusm_msg_new(out_result, sizeof(primes));

    for (unsigned number = 2; number < below; number++) {
        unsigned divisor = 2;

        while (divisor * divisor <= number && number % divisor != 0) {
            divisor++;
        }
        primes += divisor * divisor > number;
        rusm_bump_reductions(1); /* others get a turn now and then */
    }
    if (err == RUSM_OK) {
        memcpy(rusm_msg_data(*out_result), &primes, sizeof(primes));
    }
    return err;
}

static void compute_beside(void)
{
    static unsigned limits[2] = {1000, 10000};
    rusm_task tasks[2];

    for (int i = 0; i < 2; i++) {
        must(rusm_task_start(&tasks[i], count_primes, &limits[i], NULL), "start a task");
    }
    for (int i = 0; i < 2; i++) {
        unsigned primes;
        rusm_msg *result;

        must(rusm_task_await(&tasks[i], EXAMPLE_WAIT_MS, &result), "wait for the result");
        memcpy(&primes, rusm_msg_data(result), sizeof(primes));
        printf("primes below %u: %u\n", limits[i], primes);
        rusm_msg_del(result);
    }
}
/* guide end */

int main(void)
{
    rusm_runtime *runtime;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");
    must(rusm_register(NULL, "main", rusm_self()), "register");
    wait_for_a_line();
    compute_beside();
    rusm_thread_leave();
    rusm_runtime_del(runtime);
    return 0;
}
