/* SPDX-License-Identifier: MIT */
/*
 * Children that crash at once, and the supervisor that starts them again, for ever.
 *
 *   fault_recovery [seconds] [--children N] [--threads N] [--json]
 *
 * One supervisor, one_for_one, with N permanent children (default 4) and no limit to restarts. Each
 * child adds one to a counter and crashes. What is counted is restarts; at the end the supervisor
 * says how many it has made, which must agree.
 */
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define CHILDREN_MAX 1000u

static struct {
    uint64_t children;
    struct bench_count *starts; /* one per child */
    struct bench_count ended;   /* the parent of the supervisor */
    uint64_t restarts;          /* by the supervisor's own count */
    _Alignas(128) _Atomic bool stop;
} shared;

static void child(void *arg)
{
    struct bench_count *starts = arg;

    if (atomic_load(&shared.stop)) {
        rusm_msg *msg;

        /* So that the supervisor comes to answer: from now on its children live. */
        bench_check(rusm_receive(&msg, RUSM_INFINITY), "be a child");
        rusm_msg_del(msg);
    }
    bench_count_own(starts);
    rusm_crash("again");
}

static void start_supervisor(rusm_pid *out_pid)
{
    static rusm_child_spec specs[CHILDREN_MAX];
    static char ids[CHILDREN_MAX][16];
    rusm_supervisor_config cfg;

    for (uint64_t i = 0; i < shared.children; i++) {
        (void)snprintf(ids[i], sizeof(ids[i]), "child%" PRIu64, i);
        rusm_child_spec_init(&specs[i]);
        specs[i].id = ids[i];
        specs[i].fn = child;
        specs[i].arg = &shared.starts[i];
    }
    rusm_supervisor_config_init(&cfg);
    cfg.strategy = RUSM_ONE_FOR_ONE;
    cfg.max_restarts = UINT32_MAX;
    cfg.seconds = 1;
    cfg.children = specs;
    cfg.children_len = shared.children;
    bench_check(rusm_supervisor_start(&cfg, out_pid), "start the supervisor");
}

static void parent(void *arg)
{
    rusm_child_count count;
    rusm_pid supervisor;

    (void)arg;
    start_supervisor(&supervisor);
    while (!atomic_load(&shared.stop)) {
        bench_check(rusm_sleep(10), "wait");
    }
    bench_check(rusm_supervisor_count(supervisor, 60000, &count), "count the restarts");
    shared.restarts = count.restarts;
    bench_check(rusm_supervisor_stop(supervisor, 60000), "stop the supervisor");
    (void)atomic_fetch_add(&shared.ended.value, 1);
}

/* Each child crashes once for each restart, but for those that were told to live. */
static void compare(uint64_t children)
{
    uint64_t crashes = 0;

    for (uint64_t i = 0; i < children; i++) {
        crashes += atomic_load(&shared.starts[i].value);
    }
    if (shared.restarts > crashes || shared.restarts + children < crashes) {
        (void)fprintf(stderr,
                      "fault_recovery: %" PRIu64 " crashes, but %" PRIu64 " restarts counted\n",
                      crashes, shared.restarts);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    struct bench_run run = {.name = "fault_recovery", .seconds = 5};
    const struct bench_option options[] = {{"--children", &shared.children, 1, CHILDREN_MAX}};
    double rate;

    shared.children = 4;
    bench_parse(&run, argc, argv, options, sizeof(options) / sizeof(options[0]));
    shared.starts = bench_array(shared.children, sizeof(*shared.starts));
    bench_start(&run);
    bench_check(rusm_spawn(run.rt, parent, NULL, NULL), "spawn the parent");
    rate = bench_rate(&run, shared.starts, shared.children);
    atomic_store(&shared.stop, true);
    bench_await(&shared.ended, 1);
    bench_stop(&run);
    compare(shared.children);
    printf(run.json ? "{\"bench\":\"fault_recovery\",\"runtime\":\"rusm\",\"seconds\":%" PRIu64
                      ",\"threads\":%" PRIu64 ",\"children\":%" PRIu64 ",\"restarts\":%" PRIu64
                      ",\"restarts_per_s\":%.0f}\n"
                    : "fault_recovery: %" PRIu64 " s, %" PRIu64 " threads, %" PRIu64
                      " children: %" PRIu64 " restarts, %.0f restarts/s\n",
           run.seconds, run.threads, shared.children, shared.restarts, rate);
    free(shared.starts);
    return 0;
}
