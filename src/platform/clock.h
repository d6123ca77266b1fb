/* SPDX-License-Identifier: MIT */
/* The monotonic clock. Threads: any. */
#ifndef RUSMI_PLATFORM_CLOCK_H
#define RUSMI_PLATFORM_CLOCK_H

#include <rusm/types.h>

#include <time.h>

/* Nanoseconds of CLOCK_MONOTONIC; never goes back. */
static inline rusm_time rusmi_clock_now(void)
{
    struct timespec now;

    /* Cannot fail with a valid clock and address (POSIX). */
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (rusm_time)now.tv_sec * 1000000000u + (rusm_time)now.tv_nsec;
}

#endif
