/* SPDX-License-Identifier: MIT */
/*
 * A memory barrier that one thread imposes on all others of this OS process (membarrier(2), Linux
 * 4.14): where one side of an agreement acts millions of times a second and the other hardly ever,
 * the first needs no barrier of its own but one for the compiler.
 */
#ifndef RUSMI_PLATFORM_BARRIER_H
#define RUSMI_PLATFORM_BARRIER_H

#include <stdbool.h>

/* Whether the kernel can, and tell it that this OS process will. */
bool rusmi_barrier_prepare(void);
/* On return every other thread has passed a full barrier since the call. After prepare. */
void rusmi_barrier_all(void);

#endif
