/* SPDX-License-Identifier: MIT */
/* What happened in a run: a hash of all of it, and the last lines for people. */
#include "sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINES    200u
#define LINE_LEN 200u

static struct {
    char lines[LINES][LINE_LEN];
    size_t len;
    uint64_t hash;
} trace;

void sim_trace_reset(void)
{
    trace.len = 0;
    trace.hash = UINT64_C(0xcbf29ce484222325);
}

void sim_mix(uint64_t number)
{
    trace.hash = (trace.hash ^ number) * UINT64_C(0x9e3779b97f4a7c15);
    trace.hash ^= trace.hash >> 29;
}

uint64_t sim_hash(void)
{
    return trace.hash;
}

void sim_trace(const char *format, ...)
{
    char *line = trace.lines[trace.len++ % LINES];
    rusm_time now = sim->pool == NULL ? 0 : rusm_test_now(sim->pool);
    int head = snprintf(line, LINE_LEN, "%4llu %9.3f ms  ", (unsigned long long)sim->step,
                        (double)now / 1e6);
    va_list args;

    va_start(args, format);
    (void)vsnprintf(line + head, LINE_LEN - (size_t)head, format, args);
    va_end(args);
    sim_mix(now);
    for (const char *at = line + head; *at != '\0'; at++) {
        trace.hash = (trace.hash ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
    }
    if (sim->options.verbose) {
        (void)fprintf(stderr, "%s\n", line);
    }
}

void sim_fail(const char *format, ...)
{
    size_t first = trace.len > LINES ? trace.len - LINES : 0;
    va_list args;

    if (!sim->options.verbose) {
        for (size_t i = first; i < trace.len; i++) {
            (void)fprintf(stderr, "%s\n", trace.lines[i % LINES]);
        }
    }
    (void)fprintf(stderr, "FAILED at %.3f ms: ",
                  sim->pool == NULL ? 0.0 : (double)rusm_test_now(sim->pool) / 1e6);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fprintf(stderr, "\nagain with: ./dev sim --seed %llu --steps %u --nodes %u\n",
                  (unsigned long long)sim->options.seed, sim->options.steps, sim->options.nodes);
    (void)fflush(NULL);
    _Exit(EXIT_FAILURE);
}
