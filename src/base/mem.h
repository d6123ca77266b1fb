/* SPDX-License-Identifier: MIT */
/*
 * The heap, as every folder uses it. One place, so that tests can fail the n-th allocation (the
 * test support wraps malloc, calloc and realloc at link time) and so that another allocator is one
 * change.
 *
 * All return NULL on exhaustion and never abort. rusmi_alloc leaves the bytes unset, rusmi_zalloc
 * clears them. Sizes that come from outside are checked by the caller; rusmi_zalloc_array checks
 * its product.
 */
#ifndef RUSMI_BASE_MEM_H
#define RUSMI_BASE_MEM_H

#include <stddef.h>

void *rusmi_alloc(size_t size);
void *rusmi_zalloc(size_t size);
void *rusmi_zalloc_array(size_t count, size_t size);
/* count cleared elements of size bytes, the first aligned to `alignment`, which divides size. */
void *rusmi_zalloc_aligned(size_t count, size_t size, size_t alignment);
/* size > 0. On NULL the old block is untouched. */
void *rusmi_realloc(void *block, size_t size);
void rusmi_free(void *block);
/* A NUL-terminated copy of len bytes of text. */
char *rusmi_strndup(const char *text, size_t len);
char *rusmi_strdup(const char *text);

#endif
