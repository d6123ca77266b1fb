/* SPDX-License-Identifier: MIT */
/**
 * @file
 * What a process owns and gives back when it ends, however it ends: memory and exit hooks.
 *
 * C has no destructors, and a killed process never runs again. So what it holds must be known:
 * memory from rusm_alloc() and messages that it received or made are freed, timers are cancelled,
 * and hooks run. Memory from malloc() is not.
 */
#ifndef RUSM_OTP_MEMORY_H
#define RUSM_OTP_MEMORY_H

#include <rusm/err.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/**
 * Allocate memory that belongs to the calling process: freed when it ends, or before by
 * rusm_free(). The bytes are not set; aligned for any type.
 *
 * Outside a context the memory belongs to nobody and is freed by rusm_free() alone.
 *
 * Threads: any. Only the process that owns a block may free or resize it.
 * Returns: NULL without memory
 */
RUSM_API RUSM_MUST_CHECK void *rusm_alloc(size_t size);

/** Like rusm_alloc(), with all bytes 0. */
RUSM_API RUSM_MUST_CHECK void *rusm_zalloc(size_t size);

/** Change the size of a block from rusm_alloc(), keeping its contents; NULL makes a new one. On
 * failure returns NULL and the old block stays. Threads: as rusm_alloc(). */
RUSM_API RUSM_MUST_CHECK void *rusm_realloc(void *block, size_t size);

/** Free a block from rusm_alloc(); NULL is allowed. Threads: the process that owns it. */
RUSM_API void rusm_free(void *block);

/** Names a hook of the calling process. */
typedef struct rusm_exit_hook {
    uint64_t number; /**< 0: none */
} rusm_exit_hook;

/**
 * Have fn(arg) called when the calling process ends, also when it is killed. The last hook runs
 * first.
 *
 * A hook runs on a scheduler thread after the process has run for the last time, before its links
 * and monitors hear of its end and before its memory is freed. It must not block; rusm_self() is
 * the zero pid in it.
 *
 * Owns:    arg stays the caller's. out_hook may be NULL.
 * Threads: in context.
 * Errors:  RUSM_EINVAL, RUSM_ENOMEM, RUSM_ENOCONTEXT
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_at_exit(void (*fn)(void *arg), void *arg,
                                               rusm_exit_hook *out_hook);

/** Take a hook of the calling process back. Returns whether it was still there. Threads: in
 * context. */
RUSM_API bool rusm_cancel_exit_hook(rusm_exit_hook hook);

RUSM_END_DECLS

#endif
