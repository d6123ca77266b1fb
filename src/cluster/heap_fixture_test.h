/* SPDX-License-Identifier: MIT */
/*
 * What tests of failing allocations share: the library's allocations as the linker wraps them
 * (src/cluster/CMakeLists.txt), of which the one that a test chooses fails. One thread.
 */
#ifndef RUSMI_CLUSTER_HEAP_FIXTURE_TEST_H
#define RUSMI_CLUSTER_HEAP_FIXTURE_TEST_H

#include <stdbool.h>
#include <stddef.h>

/* The n-th allocation from now fails, 0: none. The linker wraps these. */
static size_t fail_at;

void *__real_rusmi_alloc(size_t size);
void *__real_rusmi_zalloc(size_t size);
void *__real_rusmi_realloc(void *block, size_t size);
void *__wrap_rusmi_alloc(size_t size);
void *__wrap_rusmi_zalloc(size_t size);
void *__wrap_rusmi_realloc(void *block, size_t size);

static bool fails(void)
{
    return fail_at != 0 && --fail_at == 0;
}

void *__wrap_rusmi_alloc(size_t size)
{
    return fails() ? NULL : __real_rusmi_alloc(size);
}

void *__wrap_rusmi_zalloc(size_t size)
{
    return fails() ? NULL : __real_rusmi_zalloc(size);
}

void *__wrap_rusmi_realloc(void *block, size_t size)
{
    return fails() ? NULL : __real_rusmi_realloc(block, size);
}

#endif
