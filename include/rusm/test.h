/* SPDX-License-Identifier: MIT */
/**
 * @file
 * The test kit: a pool without threads, on virtual time, that runs processes in an order drawn from
 * a seed. The same program with the same seed does the same, always; another seed tries another
 * order. A test of a program made of processes that runs a few hundred seeds finds ordering bugs
 * that threads show once a year, and repeats them.
 *
 * Everything that processes do works on such a pool, except descriptors and blocking threads
 * (RUSM_EINVAL): they belong to the world outside.
 */
#ifndef RUSM_TEST_H
#define RUSM_TEST_H

#include <rusm/err.h>
#include <rusm/otp/runtime.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/**
 * Make a deterministic pool; use it as rusm_runtime_config.pool. Its clock, which rusm_now() reads
 * in its processes, starts at one second and stands still while processes run.
 *
 * cfg may be NULL; its threads are not used. A process may be interrupted at every rusm call.
 *
 * Owns:    the caller; ended with rusm_pool_del().
 * Threads: one thread uses the pool and its runtimes.
 * Errors:  as rusm_pool_new()
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_test_pool_new(rusm_pool **out_pool, uint64_t seed,
                                                     const rusm_pool_config *cfg);

/** Run one process, chosen among those that can run, until it suspends or is interrupted. Returns
 * false if none can run. The clock does not move. */
RUSM_API bool rusm_test_step(rusm_pool *pool);

/** Run until no process can run without time passing, at most steps_max steps. Returns how many
 * steps were made; steps_max means that it did not settle. */
RUSM_API uint64_t rusm_test_run(rusm_pool *pool, uint64_t steps_max);

/**
 * Let virtual time pass: run everything that can run, then go to the next timer, fire it, and so
 * on until span_ms have passed. Returns how many steps were made.
 */
RUSM_API uint64_t rusm_test_advance(rusm_pool *pool, int64_t span_ms);

/** The virtual clock of the pool. */
RUSM_API rusm_time rusm_test_now(const rusm_pool *pool);

/** Draw a number from 0 to below - 1 from the pool's seed, for choices of the test itself. Threads:
 * the one that uses the pool, its processes too. */
RUSM_API uint64_t rusm_test_random(rusm_pool *pool, uint64_t below);

/*
 * A thread that has entered a runtime of such a pool (rusm_thread_enter()) may use blocking calls:
 * they step the pool until they return, and let virtual time pass when nothing can run. If nothing
 * ever could, they return RUSM_ETIMEOUT with the detail "deadlock".
 */

RUSM_END_DECLS

#endif
