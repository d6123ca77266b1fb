/* SPDX-License-Identifier: MIT */
/* What streams and sockets share: waiting in pieces until one deadline. */
#ifndef RUSMI_GEN_IO_H
#define RUSMI_GEN_IO_H

#include "otp/process.h"

#include <rusm/otp/driver.h>

/* The time that is left until deadline, rounded up to milliseconds, as the timeout of a call. */
static inline int64_t rusmi_time_left(rusm_time deadline)
{
    rusm_time now;

    if (deadline == RUSMI_NEVER) {
        return RUSM_INFINITY;
    }
    now = rusm_now();
    return now >= deadline ? 0 : (int64_t)((deadline - now + 999999) / 1000000);
}

/* The units of work that moving so many bytes counts for. */
static inline unsigned rusmi_work_of(size_t bytes)
{
    size_t pages = bytes / 4096;

    return 1 + (unsigned)(pages > 1000 ? 1000 : pages);
}

#endif
