/* SPDX-License-Identifier: MIT */
/*
 * Memory for stacks: reserved in blocks of many, touched on demand, each with a guard at its lower
 * end.
 *
 * Guards are made with MADV_GUARD_INSTALL (Linux 6.13), which needs no mapping of its own; before
 * that with mprotect, as far as vm.max_map_count allows; and where even that fails a canary word
 * shows an overflow afterwards.
 */
#ifndef RUSMI_PLATFORM_STACK_H
#define RUSMI_PLATFORM_STACK_H

#include <stdbool.h>
#include <stddef.h>

/* Reserve count stacks of size bytes each (a multiple of the page size) in one piece; NULL on
 * exhaustion. *out_guarded: all have a guard. */
void *rusmi_stacks_map(size_t count, size_t size, bool *out_guarded);
void rusmi_stacks_unmap(void *stacks, size_t count, size_t size);
/* Whether stacks can be dropped: MADV_GUARD_INSTALL works. */
bool rusmi_stacks_can_drop(void);
/* Give the pages of a range back and put a guard in their place; what was there is lost. */
bool rusmi_stack_drop(void *low, size_t len);
/* Take that guard away; the pages read as zeros. */
bool rusmi_stack_restore(void *low, size_t len);
/* Whether a stack of a block that is not guarded throughout still has its canary. */
bool rusmi_stack_intact(const void *stack);

#endif
