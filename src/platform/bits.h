/* SPDX-License-Identifier: MIT */
/* Places of bits in a word that is not 0: one instruction each. Threads: any. */
#ifndef RUSMI_PLATFORM_BITS_H
#define RUSMI_PLATFORM_BITS_H

#include <stdint.h>

/* The number of the lowest bit that is set. */
static inline unsigned rusmi_bits_lowest(uint64_t word)
{
    return (unsigned)__builtin_ctzll(word);
}

/* The number of the highest bit that is set. */
static inline unsigned rusmi_bits_highest(uint64_t word)
{
    return 63u - (unsigned)__builtin_clzll(word);
}

#endif
