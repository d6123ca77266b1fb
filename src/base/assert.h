/* SPDX-License-Identifier: MIT */
/*
 * Assertions: a failed one is a bug in rusm (or a broken contract of the caller) and aborts the OS
 * process with place and expression. Cheap ones stay on in release builds; rusmi_assert_slow only
 * in debug builds.
 */
#ifndef RUSMI_BASE_ASSERT_H
#define RUSMI_BASE_ASSERT_H

/* Write "file:line: text" to standard error and abort. */
_Noreturn void rusmi_panic(const char *file, int line, const char *text);

#define rusmi_assert(condition)                                                                    \
    ((condition) ? (void)0 : rusmi_panic(__FILE__, __LINE__, #condition))

#ifdef NDEBUG
#define rusmi_assert_slow(condition) ((void)0)
#else
#define rusmi_assert_slow(condition) rusmi_assert(condition)
#endif

#define rusmi_unreachable() rusmi_panic(__FILE__, __LINE__, "unreachable")

#endif
