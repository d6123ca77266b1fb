/* SPDX-License-Identifier: MIT */
/*
 * Address space: reserved in large pieces, backed by memory on first touch. Guards make a range
 * fault on any access.
 */
#ifndef RUSMI_PLATFORM_VM_H
#define RUSMI_PLATFORM_VM_H

#include <stdbool.h>
#include <stddef.h>

size_t rusmi_vm_page(void);
/* Reserve len bytes (a multiple of the page), zero when touched, aligned to `align` (a power of
 * two); NULL if there is no room. */
void *rusmi_vm_reserve(size_t len, size_t align);
void rusmi_vm_release(void *base, size_t len);
/* Give the pages back; they read as zero afterwards. */
void rusmi_vm_drop(void *base, size_t len);

/* How stacks are guarded; the kinds are tried in this order. */
enum rusmi_vm_guard {
    RUSMI_VM_GUARD_INSTALL, /* MADV_GUARD_INSTALL, Linux 6.13: no mapping each */
    RUSMI_VM_GUARD_PROTECT, /* mprotect: two mappings each, as far as vm.max_map_count allows */
    RUSMI_VM_GUARD_NONE,    /* the owner checks a canary */
};

/* Guard a range by *kind or, when that fails, by the next one; *kind is what worked. */
void rusmi_vm_guard(void *base, size_t len, enum rusmi_vm_guard *kind);
/* Tell valgrind that the range is a stack; the number is for rusmi_vm_stack_forget. */
unsigned rusmi_vm_stack_note(void *low, void *high);
void rusmi_vm_stack_forget(unsigned id);
/* Forget what a sanitizer believes about the frames of a stack that were never left. */
void rusmi_vm_stack_clean(void *low, size_t len);

#endif
