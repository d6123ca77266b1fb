/* SPDX-License-Identifier: MIT */
#include "platform/vm.h"

#include <unistd.h>

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif

size_t rusmi_vm_page(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
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
