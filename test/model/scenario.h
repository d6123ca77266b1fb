/* SPDX-License-Identifier: MIT */
/*
 * A small program of processes that uses most of what there is: links, monitors, selective receive,
 * timers, owned memory, hooks, names, groups, calls, a server, a task, a supervisor, a stream. It
 * runs on a deterministic pool, so that a test can disturb it at each of its steps, or at each of
 * its allocations, one run after the other.
 *
 * Undisturbed, every call of it succeeds and all of it ends by itself. Disturbed, its processes may
 * find each other dead or memory gone, and end for it; but nothing may hang, nothing may leak, and
 * who has to hear of an end hears of it once.
 */
#ifndef TEST_MODEL_SCENARIO_H
#define TEST_MODEL_SCENARIO_H

#include <rusm/err.h>
#include <stdbool.h>
#include <stdint.h>

struct scenario {
    /* in */
    uint64_t seed;
    bool disturbed;   /* errors are allowed */
    uint64_t kill_at; /* kill when so many steps were made; 0: never */
    unsigned victim;  /* which of those that live then */
    /* out */
    uint64_t steps;
    bool killed;
    unsigned completed; /* how many of its processes came to their end */
};

/* Processes that come to their end when nothing disturbs them. */
#define SCENARIO_BODIES 7u

/* Run it to its end. RUSM_ENOMEM: it could not begin. A broken rule ends the OS process. */
rusm_err scenario_run(struct scenario *scenario);

#endif
