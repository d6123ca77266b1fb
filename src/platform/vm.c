/* SPDX-License-Identifier: MIT */
#include "platform/vm.h"

#include "platform/tools.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif
#if RUSMI_ASAN
#include <sanitizer/asan_interface.h>
#endif

/* Not in the headers of older systems: linux/mman.h since 6.13. */
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

size_t rusmi_vm_page(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

void *rusmi_vm_reserve(size_t len, size_t align)
{
    size_t total = len + align;
    uintptr_t raw, base;
    void *map;

    if (total < len) {
        return NULL;
    }
    map = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
               0);
    if (map == MAP_FAILED) {
        return NULL;
    }
    raw = (uintptr_t)map;
    base = (raw + align - 1) & ~((uintptr_t)align - 1);
    if (base > raw) {
        (void)munmap(map, base - raw);
    }
    if (raw + total > base + len) {
        (void)munmap((void *)(base + len), raw + total - base - len);
    }
    /* A huge page behind each stack would cost 2 MiB per process. */
    (void)madvise((void *)base, len, MADV_NOHUGEPAGE);
    return (void *)base;
}

void rusmi_vm_release(void *base, size_t len)
{
    (void)munmap(base, len);
}

void rusmi_vm_drop(void *base, size_t len)
{
    (void)madvise(base, len, MADV_DONTNEED);
}

void rusmi_vm_guard(void *base, size_t len, enum rusmi_vm_guard *kind)
{
    if (*kind == RUSMI_VM_GUARD_INSTALL) {
        if (madvise(base, len, MADV_GUARD_INSTALL) == 0) {
            return;
        }
        *kind = RUSMI_VM_GUARD_PROTECT;
    }
    if (*kind == RUSMI_VM_GUARD_PROTECT) {
        if (mprotect(base, len, PROT_NONE) == 0) {
            return;
        }
        *kind = RUSMI_VM_GUARD_NONE;
    }
}

unsigned rusmi_vm_stack_note(void *low, void *high)
{
#ifdef VALGRIND_STACK_REGISTER
    return (unsigned)VALGRIND_STACK_REGISTER(low, high);
#else
    (void)low;
    (void)high;
    return 0;
#endif
}

void rusmi_vm_stack_forget(unsigned id)
{
#ifdef VALGRIND_STACK_DEREGISTER
    VALGRIND_STACK_DEREGISTER(id);
#endif
    (void)id;
}

void rusmi_vm_stack_clean(void *low, size_t len)
{
#if RUSMI_ASAN
    __asan_unpoison_memory_region(low, len);
#else
    (void)low;
    (void)len;
#endif
}
