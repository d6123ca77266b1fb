/* SPDX-License-Identifier: MIT */
/* Random bytes from the operating system, fit for keys and incarnations. Threads: any. */
#ifndef RUSMI_PLATFORM_RANDOM_H
#define RUSMI_PLATFORM_RANDOM_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/random.h>
#include <sys/types.h>

/* Fill buf; false if the system gives none (then buf is not to be used). */
static inline bool rusmi_random(void *buf, size_t len)
{
    char *at = buf;

    while (len > 0) {
        ssize_t got = getrandom(at, len, 0);

        if (got < 0 && errno != EINTR) {
            return false;
        }
        if (got > 0) {
            at += got;
            len -= (size_t)got;
        }
    }
    return true;
}

#endif
