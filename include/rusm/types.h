/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Types and macros that every public header shares. It declares no function that does work.
 */
#ifndef RUSM_TYPES_H
#define RUSM_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__) || defined(__clang__)
#define RUSM_API               __attribute__((visibility("default")))
#define RUSM_MUST_CHECK        __attribute__((warn_unused_result))
#define RUSM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define RUSM_NORETURN          __attribute__((noreturn))
#else
#define RUSM_API
#define RUSM_MUST_CHECK
#define RUSM_PRINTF(fmt, args)
#define RUSM_NORETURN
#endif

#ifdef __cplusplus
#define RUSM_BEGIN_DECLS extern "C" {
#define RUSM_END_DECLS   }
#else
#define RUSM_BEGIN_DECLS
#define RUSM_END_DECLS
#endif

RUSM_BEGIN_DECLS

/** A timeout that never ends, for every `timeout_ms` parameter. 0 polls: the call never waits. */
#define RUSM_INFINITY ((int64_t)-1)

/** Longest registered name, global name, node name, cluster name, factory name or label: bytes of
 * UTF-8. */
#define RUSM_NAME_MAX 255

/** Largest message that crosses a peer link, in bytes. Local messages are bounded by memory alone.
 */
#define RUSM_MESSAGE_MAX ((size_t)16 * 1024 * 1024)

/** Bytes that rusm_pid_format() needs at most for a pid without a node name, with the final NUL. */
#define RUSM_PID_TEXT_MAX 64

/** Nanoseconds of the monotonic clock. Only differences mean anything. */
typedef uint64_t rusm_time;

/**
 * A process identifier: a value, never reused, valid on every node, comparable with `==` on both
 * words. The zero pid names no process.
 */
typedef struct rusm_pid {
    uint64_t
        incarnation; /**< the runtime that the process lives in: random, chosen when it starts */
    uint64_t serial; /**< the process within that runtime; 0 only in the zero pid */
} rusm_pid;

/** The pid that names no process. */
#ifdef __cplusplus
#define RUSM_PID_NONE (rusm_pid{0, 0}) /* ISO C++ has no compound literals */
#else
#define RUSM_PID_NONE ((rusm_pid){0, 0})
#endif

/**
 * Names one monitor, call or timer: a value, never reused in a runtime, valid as long as what it
 * names. The zero reference names nothing.
 */
typedef struct rusm_ref {
    uint64_t incarnation; /**< the runtime in which it was made */
    uint64_t number;      /**< 0 only in the zero reference */
} rusm_ref;

/** A pool of scheduler threads. See rusm/otp/runtime.h. */
typedef struct rusm_pool rusm_pool;
/** A namespace of processes on a pool; a node is a runtime with links. See rusm/otp/runtime.h. */
typedef struct rusm_runtime rusm_runtime;
/** A message. See rusm/otp/message.h. */
typedef struct rusm_msg rusm_msg;
/** A member of a cluster. See rusm/cluster/node.h. */
typedef struct rusm_node rusm_node;

/** Whether two pids name the same process. */
static inline bool rusm_pid_equal(rusm_pid a, rusm_pid b)
{
    return a.incarnation == b.incarnation && a.serial == b.serial;
}

/** Whether pid is the zero pid, which names no process. */
static inline bool rusm_pid_is_none(rusm_pid pid)
{
    return pid.incarnation == 0 && pid.serial == 0;
}

/** Whether two references name the same thing. */
static inline bool rusm_ref_equal(rusm_ref a, rusm_ref b)
{
    return a.incarnation == b.incarnation && a.number == b.number;
}

RUSM_END_DECLS

#endif
