/* SPDX-License-Identifier: MIT */
/* Tasks: results that are computed elsewhere, and awaited where they are needed. */
#include "example.h"

#include <string.h>

/* How many primes there are below *arg. */
static rusm_err count_primes(void *arg, rusm_msg **out_result)
{
    unsigned below = *(const unsigned *)arg, found = 0;
    rusm_err err;

    if (below > 100000) {
        return RUSM_EMSGSIZE; /* what await returns */
    }
    for (unsigned number = 2; number < below; number++) {
        unsigned divisor = 2;

        while (divisor * divisor <= number && number % divisor != 0) {
            divisor++;
        }
        found += divisor * divisor > number ? 1 : 0;
    }
    err = rusm_msg_new(out_result, sizeof(found));
    if (err == RUSM_OK) {
        memcpy(rusm_msg_data(*out_result), &found, sizeof(found));
    }
    return err;
}

static rusm_err give_up(void *arg, rusm_msg **out_result)
{
    (void)arg;
    (void)out_result;
    rusm_crash("this one has a bug");
}

int main(void)
{
    unsigned below[] = {10, 1000, 100000, 1000000};
    rusm_runtime *runtime;
    rusm_task tasks[4], buggy;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");

    for (int i = 0; i < 4; i++) {
        must(rusm_task_start(&tasks[i], count_primes, &below[i], NULL), "start a task");
    }
    must(rusm_task_start(&buggy, give_up, NULL, NULL), "start a task");

    for (int i = 0; i < 4; i++) {
        rusm_msg *result;
        unsigned found;

        if (rusm_task_await(&tasks[i], EXAMPLE_WAIT_MS, &result) == RUSM_OK) {
            memcpy(&found, rusm_msg_data(result), sizeof(found));
            printf("%u primes below %u\n", found, below[i]);
            rusm_msg_del(result);
        } else {
            printf("too many below %u: %s\n", below[i], rusm_err_detail());
        }
    }
    /* A task that crashes ends nobody else. */
    if (rusm_task_await(&buggy, EXAMPLE_WAIT_MS, NULL) == RUSM_ENOPROC) {
        printf("no answer: %s\n", rusm_err_detail());
    }
    rusm_thread_leave();
    rusm_runtime_del(runtime);
    return 0;
}
