/* SPDX-License-Identifier: MIT */
/*
 * SplitMix64: a small seeded generator for simulation, jitter and stealing order. Not for secrets:
 * keys, serials and incarnations come from the operating system or GnuTLS.
 */
#ifndef RUSMI_BASE_PRNG_H
#define RUSMI_BASE_PRNG_H

#include <stdint.h>

struct rusmi_prng {
    uint64_t state;
};

static inline void rusmi_prng_init(struct rusmi_prng *prng, uint64_t seed)
{
    prng->state = seed;
}

static inline uint64_t rusmi_prng_next(struct rusmi_prng *prng)
{
    uint64_t z = (prng->state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* A number below bound, which is at least 1. */
static inline uint64_t rusmi_prng_below(struct rusmi_prng *prng, uint64_t bound)
{
    return rusmi_prng_next(prng) % bound;
}

#endif
