/* SPDX-License-Identifier: MIT */
#include "platform/vm.h"

#include <stdatomic.h>
#include <unistd.h>

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif

size_t rusmi_vm_page(void)
{
    static _Atomic size_t page; /* asked for once: it is needed for each process */
    /* relaxed, both: all threads find the same */
    size_t known = atomic_load_explicit(&page, memory_order_relaxed);

    if (known == 0) {
        known = (size_t)sysconf(_SC_PAGESIZE);
        atomic_store_explicit(&page, known, memory_order_relaxed);
    }
    return known;
}

unsigned rusmi_vm_stack_note(void *low, void *high)
{
#ifdef VALGRIND_STACK_REGISTER
    return (unsigned)VALGRIND_STACK_REGISTER(low, high);
#else
    (void)low;
    (void)high;
    return 0;
#endif
}

void rusmi_vm_stack_forget(unsigned id)
{
#ifdef VALGRIND_STACK_DEREGISTER
    VALGRIND_STACK_DEREGISTER(id);
#endif
    (void)id;
}
