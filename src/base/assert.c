/* SPDX-License-Identifier: MIT */
#include "base/assert.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Two words that nobody else has beside each other; the second one is of the place, so that a copy
 * of the mark is none. */
#define MARK_FIRST  UINT64_C(0x7275736d2d70616e)
#define MARK_SECOND UINT64_C(0x9e3779b97f4a7c15)
/* From the stop in the system call up to the mark there are only frames of abort() and raise(). */
#define MARK_REACH ((uintptr_t)16 * 1024)

struct mark {
    uint64_t first, second;
};

static uint64_t second_word(const volatile struct mark *mark)
{
    return MARK_SECOND ^ (uint64_t)(uintptr_t)mark;
}

bool rusmi_is_panic(const void *sp, const void *top)
{
    uintptr_t at = (uintptr_t)sp & ~(uintptr_t)(_Alignof(struct mark) - 1);
    uintptr_t end = (uintptr_t)top;

    if (end < at || end - at < sizeof(struct mark)) {
        return false;
    }
    if (end - at > MARK_REACH) {
        end = at + MARK_REACH;
    }
    for (; at + sizeof(struct mark) <= end; at += _Alignof(struct mark)) {
        const struct mark *mark = (const struct mark *)at;

        if (mark->first == MARK_FIRST && mark->second == second_word(mark)) {
            return true;
        }
    }
    return false;
}

void rusmi_panic(const char *file, int line, const char *text)
{
    volatile struct mark mark;

    mark.first = MARK_FIRST;
    mark.second = second_word(&mark);
    (void)fprintf(stderr, "rusm: %s:%d: assertion failed: %s\n", file, line, text);
    abort();
}
