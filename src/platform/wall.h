/* SPDX-License-Identifier: MIT */
/*
 * The time of day. Only certificates and the lines of the log ask for it: it jumps when somebody
 * sets the clock, so that deadlines and measurements use the monotonic clock.
 */
#ifndef RUSMI_PLATFORM_WALL_H
#define RUSMI_PLATFORM_WALL_H

#include <stdint.h>
#include <time.h>

/* Milliseconds since 1970. Any thread. */
static inline int64_t rusmi_wall_ms(void)
{
    struct timespec now;

    /* Cannot fail with a valid clock and address (POSIX). */
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + (int64_t)now.tv_nsec / 1000000;
}

/* Seconds since 1970. Any thread. */
static inline int64_t rusmi_wall_s(void)
{
    return rusmi_wall_ms() / 1000;
}

#endif
