/* SPDX-License-Identifier: MIT */
/*
 * void *rusmi_context_swap(void **save_sp, void *load_sp, void *token)
 *
 * Leaves by pop and jmp: a ret would miss the return predictor every time, because the call that
 * it pairs with was made on another stack.
 */
#if defined(__x86_64__) && !defined(RUSMI_CONTEXT_UCONTEXT)
    .text
    .globl rusmi_context_swap
    .hidden rusmi_context_swap
    .type rusmi_context_swap, @function
    .p2align 4
rusmi_context_swap:
    .cfi_startproc
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbp, 0
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    pushq %r12
    .cfi_adjust_cfa_offset 8
    pushq %r13
    .cfi_adjust_cfa_offset 8
    pushq %r14
    .cfi_adjust_cfa_offset 8
    pushq %r15
    .cfi_adjust_cfa_offset 8
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    movq %rdx, %rax
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    .cfi_adjust_cfa_offset -48
    .cfi_restore %rbp
    .cfi_restore %rbx
    popq %rcx
    .cfi_adjust_cfa_offset -8
    .cfi_register %rip, %rcx
    jmpq *%rcx
    .cfi_endproc
    .size rusmi_context_swap, .-rusmi_context_swap

/* First entry of a context: r12 is its start record, rax the token of who entered it. */
    .globl rusmi_context_trampoline
    .hidden rusmi_context_trampoline
    .type rusmi_context_trampoline, @function
    .p2align 4
rusmi_context_trampoline:
    .cfi_startproc
    .cfi_undefined %rip
    movq %r12, %rdi
    movq %rax, %rsi
    andq $-16, %rsp
    callq rusmi_context_start@PLT
    ud2
    .cfi_endproc
    .size rusmi_context_trampoline, .-rusmi_context_trampoline
#endif
#if defined(__linux__) && defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
