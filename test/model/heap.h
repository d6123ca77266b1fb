/* SPDX-License-Identifier: MIT */
/*
 * The allocator under the tests that want to count blocks, or to see one allocation fail: link them
 * with model/heap.c and the --wrap options in test/CMakeLists.txt, which put it before the C
 * library's.
 */
#ifndef TEST_MODEL_HEAP_H
#define TEST_MODEL_HEAP_H

#include <stdbool.h>
#include <stdint.h>

/* Blocks that are allocated and not freed, by all threads. */
long heap_blocks(void);
/* Let the n-th allocation from now on fail, once, whoever asks; 0: none. */
void heap_fail_at(long n);
/* Whether it has come to that; then none fails any more. */
bool heap_failed(void);

#endif
