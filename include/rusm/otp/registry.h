/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Registered names of one runtime. Names known to a whole cluster are in rusm/cluster/names.h.
 */
#ifndef RUSM_OTP_REGISTRY_H
#define RUSM_OTP_REGISTRY_H

#include <rusm/err.h>
#include <rusm/otp/process.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/**
 * Give a process of runtime rt a name; rt may be NULL in context. A process may have many names;
 * all are released when it ends.
 *
 * Owns:    nothing; the name is copied.
 * Threads: any. Never blocks.
 * Limits:  a name has 1 to RUSM_NAME_MAX bytes of UTF-8
 * Errors:  RUSM_EINVAL   the name is empty, too long or not UTF-8, or pid is of another runtime
 *          RUSM_EEXIST   a living process has the name
 *          RUSM_ENOPROC  the process has ended
 *          RUSM_ENOCONTEXT, RUSM_ENOMEM
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_register(rusm_runtime *rt, const char *name, rusm_pid pid);

/** Release a name. Threads: any. Errors: RUSM_ENONAME, RUSM_EINVAL, RUSM_ENOCONTEXT */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_unregister(rusm_runtime *rt, const char *name);

/** Find who has a name. Threads: any. Errors: RUSM_ENONAME, RUSM_EINVAL, RUSM_ENOCONTEXT */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_whereis(rusm_runtime *rt, const char *name,
                                               rusm_pid *out_pid);

/**
 * Find who has a name, or spawn a process that has it: of any number of callers at once, one spawns
 * and all get the same pid.
 *
 * A process that is ending still has its names for a moment, and counts as being there.
 *
 * cfg may be NULL; its name is not used, and its link and out_ref concern a process that this call
 * spawned. *out_spawned (may be NULL) says whether it did.
 *
 * Threads: any; rt may be NULL in context.
 * Errors:  as rusm_spawn_with() and rusm_register()
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_whereis_or_spawn(rusm_runtime *rt, const char *name,
                                                        rusm_process_fn fn, void *arg,
                                                        const rusm_spawn_config *cfg,
                                                        rusm_pid *out_pid, bool *out_spawned);

RUSM_END_DECLS

#endif
