/* SPDX-License-Identifier: MIT */
#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void *rusmi_alloc(size_t size)
{
    return malloc(size);
}

void *rusmi_zalloc(size_t size)
{
    return calloc(1, size);
}

void *rusmi_zalloc_array(size_t count, size_t size)
{
    return calloc(count, size);
}

void *rusmi_zalloc_aligned(size_t count, size_t size, size_t alignment)
{
    void *block;

    if (count > SIZE_MAX / size) {
        return NULL;
    }
    block = aligned_alloc(alignment, count * size);
    if (block != NULL) {
        memset(block, 0, count * size);
    }
    return block;
}

void *rusmi_realloc(void *block, size_t size)
{
    return realloc(block, size);
}

void rusmi_free(void *block)
{
    free(block);
}

char *rusmi_strndup(const char *text, size_t len)
{
    char *copy = rusmi_alloc(len + 1);

    if (copy != NULL) {
        memcpy(copy, text, len);
        copy[len] = '\0';
    }
    return copy;
}

char *rusmi_strdup(const char *text)
{
    return rusmi_strndup(text, strlen(text));
}
