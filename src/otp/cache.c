/* SPDX-License-Identifier: MIT */
#include "otp/cache.h"

#include "base/mem.h"
#include "platform/lock.h"
#include "platform/tools.h"

#include <string.h>

/* Chains that the depot keeps per class: 1 MiB of the smallest blocks, 16 MiB of the largest. */
#define DEPOT_CHAINS 256

static const uint16_t sizes[RUSMI_CACHE_CLASSES] = {RUSMI_CACHE_LEAST, 96, 128, 256, 512, 1024};

#define CACHED (!RUSMI_ASAN && !RUSMI_TSAN)

static struct {
    struct rusmi_lock lock; /* for all below */
    unsigned pools;
    unsigned len[RUSMI_CACHE_CLASSES];
    void *chains[RUSMI_CACHE_CLASSES][DEPOT_CHAINS]; /* full ones */
} depot = {.lock = RUSMI_LOCK_INIT};

static void *next_of(const void *block)
{
    void *next;

    memcpy(&next, block, sizeof(next));
    return next;
}

static void chain_free(struct rusmi_chain *chain)
{
    while (chain->first != NULL) {
        void *next = next_of(chain->first);

        rusmi_free(chain->first);
        chain->first = next;
    }
    chain->len = 0;
}

static inline void chain_push(struct rusmi_chain *chain, void *block)
{
    memcpy(block, &chain->first, sizeof(chain->first));
    chain->first = block;
    chain->len++;
}

static inline void *chain_pop(struct rusmi_chain *chain)
{
    void *block = chain->first;

    chain->first = next_of(block);
    chain->len--;
    return block;
}

static void swap(struct rusmi_chain *chains)
{
    struct rusmi_chain first = chains[0];

    chains[0] = chains[1];
    chains[1] = first;
}

/* A full chain from the depot, or an empty one. */
static struct rusmi_chain depot_take(unsigned at)
{
    struct rusmi_chain chain = {NULL, 0};

    rusmi_lock_take(&depot.lock);
    if (depot.len[at] > 0) {
        chain.first = depot.chains[at][--depot.len[at]];
        chain.len = RUSMI_CHAIN_LEN;
    }
    rusmi_lock_give(&depot.lock);
    return chain;
}

static void depot_give(unsigned at, struct rusmi_chain *chain)
{
    rusmi_lock_take(&depot.lock);
    if (depot.len[at] < DEPOT_CHAINS && depot.pools > 0) {
        depot.chains[at][depot.len[at]++] = chain->first;
        *chain = (struct rusmi_chain){NULL, 0};
    }
    rusmi_lock_give(&depot.lock);
    chain_free(chain);
}

static inline unsigned class_of(size_t size)
{
    for (unsigned i = 0; i < RUSMI_CACHE_CLASSES; i++) {
        if (size <= sizes[i]) {
            return i + 1;
        }
    }
    return RUSMI_CACHE_NONE;
}

void *rusmi_cache_take(struct rusmi_cache *cache, size_t size, unsigned *out_class)
{
    unsigned size_class = CACHED ? class_of(size) : RUSMI_CACHE_NONE;
    struct rusmi_chain *chains;

    *out_class = size_class;
    if (size_class == RUSMI_CACHE_NONE) {
        return rusmi_alloc(size);
    }
    if (cache == NULL) {
        return rusmi_alloc(sizes[size_class - 1]);
    }
    chains = cache->chains[size_class - 1];
    if (chains[0].first == NULL) {
        if (chains[1].first != NULL) {
            swap(chains);
        } else {
            chains[0] = depot_take(size_class - 1);
            if (chains[0].first == NULL) {
                return rusmi_alloc(sizes[size_class - 1]);
            }
        }
    }
    return chain_pop(&chains[0]);
}

void rusmi_cache_give(struct rusmi_cache *cache, void *block, unsigned size_class)
{
    struct rusmi_chain *chains;

    if (cache == NULL || size_class == RUSMI_CACHE_NONE) {
        rusmi_free(block);
        return;
    }
    chains = cache->chains[size_class - 1];
    if (chains[0].len == RUSMI_CHAIN_LEN) {
        if (chains[1].len != 0) {
            depot_give(size_class - 1, &chains[1]);
        }
        swap(chains);
    }
    chain_push(&chains[0], block);
}

void rusmi_cache_drain(struct rusmi_cache *cache)
{
    for (unsigned at = 0; at < RUSMI_CACHE_CLASSES; at++) {
        chain_free(&cache->chains[at][0]);
        chain_free(&cache->chains[at][1]);
    }
}

void rusmi_depot_hold(void)
{
    rusmi_lock_take(&depot.lock);
    depot.pools++;
    rusmi_lock_give(&depot.lock);
}

void rusmi_depot_drop(void)
{
    rusmi_lock_take(&depot.lock);
    if (--depot.pools == 0) {
        for (unsigned at = 0; at < RUSMI_CACHE_CLASSES; at++) {
            while (depot.len[at] > 0) {
                struct rusmi_chain chain = {depot.chains[at][--depot.len[at]], RUSMI_CHAIN_LEN};

                chain_free(&chain);
            }
        }
    }
    rusmi_lock_give(&depot.lock);
}
