/* SPDX-License-Identifier: MIT */
/*
 * What the benchmark programs share: clock, percentiles, resource use, and the plain UDP floor.
 * Programs of this folder use public headers only, as a user's program would.
 */
#ifndef RUSM_BENCH_H
#define RUSM_BENCH_H

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

#endif
