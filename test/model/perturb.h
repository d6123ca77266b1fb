/* SPDX-License-Identifier: MIT */
/*
 * Makes rare interleavings common: included before everything else, it lets a thread be late, now
 * and then, just before a sequentially consistent atomic operation and after a store. Those are the
 * places where one thread tells another something, so windows of nanoseconds become microseconds.
 *
 *     cmake --preset asan -B build/perturbed -DCMAKE_C_FLAGS="-include $PWD/test/model/perturb.h"
 *
 * It changes no result: only when things happen. docs/design/signals.md says what it has shown.
 */
#ifndef TEST_MODEL_PERTURB_H
#define TEST_MODEL_PERTURB_H
#ifndef __ASSEMBLER__

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

/* Not inlined: processes change threads, and the address of a thread-local must be asked anew. */
__attribute__((noinline, unused, no_sanitize("thread"), no_sanitize("address"))) static void
perturb(void)
{
    static _Thread_local uint32_t state;
    uint32_t drawn;

    __asm__ volatile("" ::: "memory");
    drawn = state == 0 ? (uint32_t)(uintptr_t)&state | 1 : state;
    drawn ^= drawn << 13;
    drawn ^= drawn >> 17;
    drawn ^= drawn << 5;
    state = drawn;
    if ((drawn & 127) == 0) {
        for (volatile uint32_t i = 0; i < (drawn >> 8 & 4095); i++) {
        }
    } else if ((drawn & 16383) == 1) {
        (void)sched_yield();
    }
}

#undef atomic_load
#undef atomic_store
#undef atomic_exchange
#undef atomic_fetch_add
#undef atomic_fetch_sub
#undef atomic_compare_exchange_strong
#undef atomic_compare_exchange_weak
#define atomic_load(at) (perturb(), atomic_load_explicit(at, memory_order_seq_cst))
#define atomic_store(at, value)                                                                    \
    (perturb(), atomic_store_explicit(at, value, memory_order_seq_cst), perturb())
#define atomic_exchange(at, value)                                                                 \
    (perturb(), atomic_exchange_explicit(at, value, memory_order_seq_cst))
#define atomic_fetch_add(at, value)                                                                \
    (perturb(), atomic_fetch_add_explicit(at, value, memory_order_seq_cst))
#define atomic_fetch_sub(at, value)                                                                \
    (perturb(), atomic_fetch_sub_explicit(at, value, memory_order_seq_cst))
#define atomic_compare_exchange_strong(at, expected, value)                                        \
    (perturb(), atomic_compare_exchange_strong_explicit(at, expected, value, memory_order_seq_cst, \
                                                        memory_order_seq_cst))
#define atomic_compare_exchange_weak(at, expected, value)                                          \
    (perturb(), atomic_compare_exchange_weak_explicit(at, expected, value, memory_order_seq_cst,   \
                                                      memory_order_seq_cst))

#endif
#endif
