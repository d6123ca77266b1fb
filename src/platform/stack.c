/* SPDX-License-Identifier: MIT */
#include "platform/stack.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* linux/mman.h since 6.13; older headers lack it. */
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef MADV_GUARD_REMOVE
#define MADV_GUARD_REMOVE 103
#endif

/* At the lowest address, where an overflow ends up; touched only in blocks that lack guards. */
static const uint64_t canary = 0x7275736d73746b21u;

/* How the last page of each stack is guarded is tried out on every stack: limits are met half way
 * through. */
static bool guard(char *stack, size_t page)
{
    return madvise(stack, page, MADV_GUARD_INSTALL) == 0 || mprotect(stack, page, PROT_NONE) == 0;
}

void *rusmi_stacks_map(size_t count, size_t size, bool *out_guarded)
{
    bool guarded = true;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *stacks = mmap(NULL, count * size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

    if (stacks == MAP_FAILED) {
        return NULL;
    }
    (void)madvise(stacks, count * size,
                  MADV_NOHUGEPAGE); /* a huge page for each stack would waste memory */
    for (size_t i = 0; guarded && i < count; i++) {
        guarded = guard(stacks + i * size, page);
    }
    if (!guarded) {
        /* A canary in a guarded page would fault: take the guards of this block away again. */
        (void)mprotect(stacks, count * size, PROT_READ | PROT_WRITE);
        (void)madvise(stacks, count * size, MADV_GUARD_REMOVE);
        for (size_t i = 0; i < count; i++) {
            memcpy(stacks + i * size, &canary, sizeof(canary));
        }
    }
    *out_guarded = guarded;
    return stacks;
}

void rusmi_stacks_unmap(void *stacks, size_t count, size_t size)
{
    (void)munmap(stacks, count * size);
}

bool rusmi_stack_drop(void *low, size_t len)
{
    return madvise(low, len, MADV_GUARD_INSTALL) == 0;
}

bool rusmi_stack_restore(void *low, size_t len)
{
    return madvise(low, len, MADV_GUARD_REMOVE) == 0;
}

bool rusmi_stacks_can_drop(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *probe = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool can;

    if (probe == MAP_FAILED) {
        return false;
    }
    can = rusmi_stack_drop(probe, page) && rusmi_stack_restore(probe, page);
    (void)munmap(probe, page);
    return can;
}

bool rusmi_stack_intact(const void *stack)
{
    return memcmp(stack, &canary, sizeof(canary)) == 0;
}
