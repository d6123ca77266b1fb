/* SPDX-License-Identifier: MIT */
/* What the example programs share: ending with a reason when a call that should work does not. */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <rusm/rusm.h>
#include <stdio.h>
#include <stdlib.h>

/* How long an example waits for something that takes milliseconds. */
#define EXAMPLE_WAIT_MS 10000

/* End the program, from a thread or from a process, unless err is RUSM_OK. */
static inline void must(rusm_err err, const char *what)
{
    if (err != RUSM_OK) {
        (void)fprintf(stderr, "%s: %s (%s)\n", what, rusm_err_detail(), rusm_err_name(err));
        (void)fflush(NULL);
        _Exit(EXIT_FAILURE);
    }
}

#endif
