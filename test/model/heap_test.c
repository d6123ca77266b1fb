/* SPDX-License-Identifier: MIT */
/*
 * A small program of processes (model/scenario.h) is run again and again, and each time one more
 * allocation fails, until none is left that could: each call returns RUSM_ENOMEM or succeeds, the
 * processes that can not go on end, and nothing leaks, hangs, or is left half done.
 */
#include "model/heap.h"
#include "model/scenario.h"

#include <rusm/err.h>
#include <stdio.h>
#include <stdlib.h>

#define SEEDS 3u

/* Returns how many allocations there were. */
static long fail_each(uint64_t seed)
{
    struct scenario whole = {.seed = seed};
    long before;

    if (scenario_run(&whole) != RUSM_OK || whole.completed != SCENARIO_BODIES) {
        (void)fprintf(stderr, "FAILED: undisturbed, it does not come to its end\n");
        exit(EXIT_FAILURE);
    }
    before = heap_blocks();
    for (long n = 1;; n++) {
        struct scenario scenario = {.seed = seed, .disturbed = true};
        rusm_err err;
        bool failed;

        heap_fail_at(n);
        err = scenario_run(&scenario);
        failed = heap_failed();
        heap_fail_at(0);
        if ((err != RUSM_OK && err != RUSM_ENOMEM) || heap_blocks() != before) {
            (void)fprintf(stderr, "FAILED: %s, %ld blocks leaked; seed %llu, allocation %ld\n",
                          rusm_err_name(err), heap_blocks() - before, (unsigned long long)seed, n);
            exit(EXIT_FAILURE);
        }
        if (!failed) {
            return n - 1;
        }
    }
}

int main(void)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        (void)printf("heap: seed %llu, %ld allocations, each failed once\n",
                     (unsigned long long)seed, fail_each(seed));
        (void)fflush(stdout);
    }
    return EXIT_SUCCESS;
}
