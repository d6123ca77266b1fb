/* SPDX-License-Identifier: MIT */
/*
 * Free lists for messages, one set per worker: memory that is allocated by one thread and freed by
 * another, all the time, is what a general allocator is worst at.
 *
 * A worker has, per size class, two chains of at most RUSMI_CHAIN_LEN free blocks. It takes from
 * and gives to the first; when that is empty or full it turns to the second; and when both are, a
 * whole chain comes from or goes to a depot that all workers share, under a lock. So the lock is
 * taken once in RUSMI_CHAIN_LEN blocks even if one thread only allocates and the other only frees.
 * What the depot has no room for goes back to the heap, and so does everything when the last pool
 * ends.
 *
 * Threads that are no workers use the heap; their blocks have the same sizes, so that a worker may
 * keep what it gets from them. Under the sanitizers there are no lists: they would hide mistakes.
 */
#ifndef RUSMI_OTP_CACHE_H
#define RUSMI_OTP_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define RUSMI_CACHE_CLASSES 6
#define RUSMI_CHAIN_LEN     64
/* Bytes of the smallest class, which is class 1. */
#define RUSMI_CACHE_LEAST 64u
/* Size class of what is too large for any. */
#define RUSMI_CACHE_NONE 0u

struct rusmi_chain {
    void *first; /* each free block begins with the address of the next */
    uint32_t len;
};

struct rusmi_cache {
    struct rusmi_chain chains[RUSMI_CACHE_CLASSES][2];
};

/* A block of that class from the first chain, or NULL: then rusmi_cache_take() looks further. */
static inline void *rusmi_cache_pop(struct rusmi_cache *cache, unsigned size_class)
{
    struct rusmi_chain *chain = &cache->chains[size_class - 1][0];
    void *block = chain->first;

    if (block != NULL) {
        memcpy(&chain->first, block, sizeof(chain->first));
        chain->len--;
    }
    return block;
}

/* False: the first chain is full; then rusmi_cache_give() makes room. */
static inline bool rusmi_cache_push(struct rusmi_cache *cache, void *block, unsigned size_class)
{
    struct rusmi_chain *chain = &cache->chains[size_class - 1][0];

    if (chain->len >= RUSMI_CHAIN_LEN) {
        return false;
    }
    memcpy(block, &chain->first, sizeof(chain->first));
    chain->first = block;
    chain->len++;
    return true;
}

/* A block of at least size bytes; *out_class says how to give it back. cache NULL: from the heap.
 * NULL without memory. */
void *rusmi_cache_take(struct rusmi_cache *cache, size_t size, unsigned *out_class);
void rusmi_cache_give(struct rusmi_cache *cache, void *block, unsigned size_class);
/* Give everything that a worker has back to the heap. */
void rusmi_cache_drain(struct rusmi_cache *cache);
/* A pool begins, and ends: the depot is emptied with the last. */
void rusmi_depot_hold(void);
void rusmi_depot_drop(void);

#endif
