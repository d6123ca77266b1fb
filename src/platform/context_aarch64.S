/* SPDX-License-Identifier: MIT */
/* void *rusmi_context_swap(void **save_sp, void *load_sp, void *token): see context_x86_64.S. */
#if defined(__aarch64__) && !defined(RUSMI_CONTEXT_UCONTEXT)
    .text
    .globl rusmi_context_swap
    .hidden rusmi_context_swap
    .type rusmi_context_swap, %function
    .p2align 4
rusmi_context_swap:
    hint #34 /* bti c */
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    mov x0, x2
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x17, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    mov x30, x17
    br x17
    .size rusmi_context_swap, .-rusmi_context_swap

    .globl rusmi_context_trampoline
    .hidden rusmi_context_trampoline
    .type rusmi_context_trampoline, %function
    .p2align 4
rusmi_context_trampoline:
    hint #36 /* bti j */
    mov x1, x0
    mov x0, x19
    mov x29, xzr
    mov x30, xzr
    bl rusmi_context_start
    brk #1
    .size rusmi_context_trampoline, .-rusmi_context_trampoline
#endif
#if defined(__linux__) && defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
