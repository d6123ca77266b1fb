/* SPDX-License-Identifier: MIT */
/* Pages, and what valgrind must know of memory that is used as a stack. */
#ifndef RUSMI_PLATFORM_VM_H
#define RUSMI_PLATFORM_VM_H

#include <stddef.h>

size_t rusmi_vm_page(void);
/* Tell valgrind that [low, high) is a stack; the number is for rusmi_vm_stack_forget. */
unsigned rusmi_vm_stack_note(void *low, void *high);
void rusmi_vm_stack_forget(unsigned id);

#endif
