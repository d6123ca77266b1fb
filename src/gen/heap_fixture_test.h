/* SPDX-License-Identifier: MIT */
/*
 * What tests of failing allocations share: the heap's functions as the linker wraps them
 * (src/gen/CMakeLists.txt), of which the one that a test chooses fails. It counts those of the
 * calling thread, which on a deterministic pool runs all processes.
 */
#ifndef RUSMI_GEN_HEAP_FIXTURE_TEST_H
#define RUSMI_GEN_HEAP_FIXTURE_TEST_H

#include <stdbool.h>
#include <stddef.h>

/* 1: the next allocation of this thread; 0: none */
static _Thread_local int fail_at;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);

static bool fails(void)
{
    return fail_at > 0 && --fail_at == 0;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size)
{
    return fails() ? NULL : __real_realloc(block, size);
}

#endif
