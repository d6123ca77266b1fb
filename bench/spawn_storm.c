/* SPDX-License-Identifier: MIT */
/*
 * Processes that are spawned, run and exit, as fast as it goes.
 *
 *   spawn_storm [seconds] [--alive N] [--threads N] [--json]
 *
 * As many processes as there are scheduler threads spawn. Each child adds one to a counter of its
 * spawner and returns; a spawner lets others run while its share of the N allowed is alive by that
 * count. What is counted is children that have run.
 */
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct spawner {
    struct bench_count *done; /* children of it that have run */
    uint64_t window;
    uint64_t spawned; /* valid when the runtime has stopped */
};

static struct {
    _Alignas(128) _Atomic bool stop;
    struct bench_count ended; /* spawners */
} shared;

static void child(void *arg)
{
    struct bench_count *done = arg;

    /* relaxed: pairs with the load in spawner(); only the number matters */
    (void)atomic_fetch_add_explicit(&done->value, 1, memory_order_relaxed);
}

static uint64_t alive(const struct spawner *self, uint64_t spawned)
{
    /* relaxed: pairs with child() */
    return spawned - atomic_load_explicit(&self->done->value, memory_order_relaxed);
}

static void spawner(void *arg)
{
    struct spawner *self = arg;
    uint64_t spawned = 0;

    /* relaxed: pairs with the store in main() */
    while (!atomic_load_explicit(&shared.stop, memory_order_relaxed)) {
        if (alive(self, spawned) >= self->window) {
            rusm_yield();
            continue;
        }
        bench_check(rusm_spawn(NULL, child, self->done, NULL), "spawn");
        spawned++;
    }
    while (alive(self, spawned) > 0) {
        rusm_yield();
    }
    self->spawned = spawned;
    (void)atomic_fetch_add(&shared.ended.value, 1);
}

int main(int argc, char **argv)
{
    struct bench_run run = {.name = "spawn_storm", .seconds = 5};
    uint64_t limit = 10000, total = 0;
    const struct bench_option options[] = {{"--alive", &limit, 1, 4000000}};
    struct bench_count *done;
    struct spawner *spawners;
    double rate;

    bench_parse(&run, argc, argv, options, sizeof(options) / sizeof(options[0]));
    spawners = bench_array(run.threads, sizeof(*spawners));
    done = bench_array(run.threads, sizeof(*done));
    bench_start(&run);
    for (uint64_t i = 0; i < run.threads; i++) {
        spawners[i].done = &done[i];
        spawners[i].window = limit / run.threads > 0 ? limit / run.threads : 1;
        bench_check(rusm_spawn(run.rt, spawner, &spawners[i], NULL), "spawn a spawner");
    }
    rate = bench_rate(&run, done, run.threads);
    atomic_store(&shared.stop, true);
    bench_await(&shared.ended, run.threads);
    bench_stop(&run);
    for (uint64_t i = 0; i < run.threads; i++) {
        total += spawners[i].spawned;
    }
    printf(run.json ? "{\"bench\":\"spawn_storm\",\"runtime\":\"rusm\",\"seconds\":%" PRIu64
                      ",\"threads\":%" PRIu64 ",\"alive\":%" PRIu64 ",\"spawned\":%" PRIu64
                      ",\"spawns_per_s\":%.0f}\n"
                    : "spawn_storm: %" PRIu64 " s, %" PRIu64 " threads, at most %" PRIu64
                      " alive: %" PRIu64 " spawned, %.0f spawns/s\n",
           run.seconds, run.threads, limit, total, rate);
    free(spawners);
    free(done);
    return 0;
}
