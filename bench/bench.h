/* SPDX-License-Identifier: MIT */
/*
 * What the benchmark programs share: clock, percentiles, resource use, and the plain UDP floor.
 * Programs of this folder use public headers only, as a user's program would.
 */
#ifndef RUSM_BENCH_H
#define RUSM_BENCH_H

#include <rusm/otp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Nanoseconds of the monotonic clock. */
uint64_t bench_now_ns(void);
/* CPU time of this OS process so far, user and system, in seconds. */
double bench_cpu_s(void);
/* Largest resident set of this OS process so far, in MiB. */
double bench_rss_mib(void);
/* Sort samples and return the given percentile (0 to 100); 0 if there are none. */
uint64_t bench_percentile(uint64_t *samples, size_t samples_len, double percent);
/*
 * Round trips of 40 bytes between two connected UDP sockets on loopback that one thread owns:
 * what the kernel costs before any protocol. polled: the thread waits with epoll for whichever
 * socket is ready, as any program that serves more than one must; else it blocks in recv on the
 * one that it knows is next. Fills samples with nanoseconds; false if a socket could not be made.
 */
bool bench_udp_floor(uint64_t *samples, size_t samples_len, bool polled);
/* Print "program: what: rusm_err_detail()" and exit 1 unless err is RUSM_OK. */
void bench_check(int err, const char *what);

/* ---- benchmarks of processes -------------------------------------------------------------------
 *
 * All are called `name [seconds] [--threads N] [--json] [--option N ...]`, run on a pool of their
 * own, print one line, and take the parameters of the table in docs/performance.md as defaults.
 */

/* An option with a number. */
struct bench_option {
    const char *name; /* with its dashes */
    uint64_t *value;  /* holds the default */
    uint64_t min, max;
};

struct bench_run {
    const char *name;
    uint64_t seconds; /* holds the default */
    uint64_t threads; /* 0 before bench_parse(): one per CPU */
    bool json;
    uint64_t park_ms;    /* rusm_pool_config.park_idle_ms */
    uint64_t stack_size; /* 0: the default */
    rusm_pool *pool;
    rusm_runtime *rt;
};

/* A counter that has two cache lines for itself: neighbours are fetched together. */
struct bench_count {
    _Alignas(128) _Atomic uint64_t value;
};

/* Read the arguments; prints the usage and exits 2 if they are wrong. */
void bench_parse(struct bench_run *run, int argc, char **argv, const struct bench_option *options,
                 size_t options_len);
/* Start run->threads scheduler threads and a runtime on them; exits 1 on any error. */
void bench_start(struct bench_run *run);
/* End the runtime, with all its processes, and the pool. */
void bench_stop(struct bench_run *run);
/* Let the calling thread sleep. */
void bench_wait_ms(uint64_t span_ms);
/* Sleep until the counter has reached that value. */
void bench_await(const struct bench_count *count, uint64_t value);
/*
 * How many per second the counters grow over run->seconds, after a warm-up of a fifth of that, at
 * most half a second. They are added up without stopping anyone.
 */
double bench_rate(const struct bench_run *run, const struct bench_count *counts, size_t counts_len);
/* One more; only one process writes the counter. */
static inline void bench_count_own(struct bench_count *count)
{
    /* relaxed, both: nobody else writes, and who reads wants a number, no order */
    atomic_store_explicit(&count->value,
                          atomic_load_explicit(&count->value, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}
/* Memory for len elements of size bytes, zeroed, aligned to 128; exits 1 without. Freed by free().
 */
void *bench_array(size_t len, size_t size);

#endif
