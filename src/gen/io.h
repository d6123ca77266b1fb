/* SPDX-License-Identifier: MIT */
/* What streams and sockets share. */
#ifndef RUSMI_GEN_IO_H
#define RUSMI_GEN_IO_H

#include "otp/process.h"

#include <rusm/otp/driver.h>

/* The units of work that moving so many bytes counts for. */
static inline unsigned rusmi_work_of(size_t bytes)
{
    size_t pages = bytes / 4096;

    return 1 + (unsigned)(pages > 1000 ? 1000 : pages);
}

#endif
