/* SPDX-License-Identifier: MIT */
#include "model/heap.h"

#include <stdatomic.h>
#include <stddef.h>

static _Atomic long blocks;
static _Atomic long fail_at;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *block);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *block);

static bool fails(void)
{
    return atomic_load(&fail_at) > 0 && atomic_fetch_sub(&fail_at, 1) == 1;
}

static void *counted(void *block)
{
    (void)atomic_fetch_add(&blocks, block == NULL ? 0 : 1);
    return block;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *block, size_t size)
{
    if (fails()) {
        return NULL;
    }
    return block == NULL ? counted(__real_realloc(NULL, size)) : __real_realloc(block, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : counted(__real_aligned_alloc(alignment, size));
}

void __wrap_free(void *block)
{
    (void)atomic_fetch_sub(&blocks, block == NULL ? 0 : 1);
    __real_free(block);
}

long heap_blocks(void)
{
    return atomic_load(&blocks);
}

void heap_fail_at(long n)
{
    atomic_store(&fail_at, n);
}

bool heap_failed(void)
{
    return atomic_load(&fail_at) <= 0;
}
