/* SPDX-License-Identifier: MIT */
#include "platform/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void rusmi_futex_wait(_Atomic(uint32_t) *word, uint32_t expected, rusm_time deadline)
{
    struct timespec at = {(time_t)(deadline / 1000000000u), (long)(deadline % 1000000000u)};

    /* With the BITSET operation the time is absolute on CLOCK_MONOTONIC (futex(2)). */
    (void)syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected,
                  deadline == UINT64_MAX ? NULL : &at, NULL, FUTEX_BITSET_MATCH_ANY);
}

void rusmi_futex_wake(_Atomic(uint32_t) *word, int count)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, count, NULL, NULL, 0);
}
