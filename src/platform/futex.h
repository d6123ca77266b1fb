/* SPDX-License-Identifier: MIT */
/*
 * Sleeping on a word of memory. Callers re-check their condition after every return: a wake-up may
 * be meant for an earlier owner of the word.
 */
#ifndef RUSMI_PLATFORM_FUTEX_H
#define RUSMI_PLATFORM_FUTEX_H

#include <rusm/types.h>

#include <stdatomic.h>

/* Sleep while *word is `expected`, until woken, interrupted or deadline (rusmi_clock_now() scale;
 * UINT64_MAX: never). */
void rusmi_futex_wait(_Atomic(uint32_t) *word, uint32_t expected, rusm_time deadline);
/* Wake up to `count` threads that sleep on word. */
void rusmi_futex_wake(_Atomic(uint32_t) *word, int count);

#endif
