/* SPDX-License-Identifier: MIT */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void rusmi_panic(const char *file, int line, const char *text)
{
    (void)fprintf(stderr, "rusm: %s:%d: assertion failed: %s\n", file, line, text);
    abort();
}
