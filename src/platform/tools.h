/* SPDX-License-Identifier: MIT */
/* Which tools watch this build: the sanitizers and valgrind must be told of every stack switch. */
#ifndef RUSMI_PLATFORM_TOOLS_H
#define RUSMI_PLATFORM_TOOLS_H

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RUSMI_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define RUSMI_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define RUSMI_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define RUSMI_TSAN 1
#endif
#ifndef RUSMI_ASAN
#define RUSMI_ASAN 0
#endif
#ifndef RUSMI_TSAN
#define RUSMI_TSAN 0
#endif

#endif
