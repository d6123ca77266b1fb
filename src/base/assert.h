/* SPDX-License-Identifier: MIT */
/*
 * Assertions: a failed one is a bug in rusm (or a broken contract of the caller) and aborts the OS
 * process with place and expression. Cheap ones stay on in release builds; rusmi_assert_slow only
 * in debug builds.
 *
 * An abort() in a process may be contained (otp/fault.h), a panic never is: after it nothing that
 * the library says of any process can be trusted. So that the handler of SIGABRT can tell, a thread
 * that panics has a mark on its stack. A flag would not do: each shared library has its own copy of
 * base.
 */
#ifndef RUSMI_BASE_ASSERT_H
#define RUSMI_BASE_ASSERT_H

#include <stdbool.h>

/* Write "file:line: text" to standard error and abort. */
_Noreturn void rusmi_panic(const char *file, int line, const char *text);
/* Whether the thread that was stopped with its stack pointer at sp, on the stack that ends at top,
 * is in rusmi_panic(). From a signal handler too. */
bool rusmi_is_panic(const void *sp, const void *top);

#define rusmi_assert(condition)                                                                    \
    ((condition) ? (void)0 : rusmi_panic(__FILE__, __LINE__, #condition))

#ifdef NDEBUG
#define rusmi_assert_slow(condition) ((void)0)
#else
#define rusmi_assert_slow(condition) rusmi_assert(condition)
#endif

#define rusmi_unreachable() rusmi_panic(__FILE__, __LINE__, "unreachable")

#endif
