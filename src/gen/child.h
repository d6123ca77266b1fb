/* SPDX-License-Identifier: MIT */
/*
 * A child: a process that another one starts and then waits for, without a message between them.
 * Tasks are children, and servers until their init has returned.
 *
 * The record is shared by two: the parent, and the child's exit watch, which is set before the
 * child runs and is called exactly once. So each has one reference, and the last frees the record.
 * What the child says is written into the record, then the parent is woken; the parent's mailbox is
 * not touched, so nothing needs to be taken out of it when either is killed.
 *
 * `gate` decides between a child that is ready and a parent that gives up:
 *
 *     STARTING -> READY       by the child
 *     STARTING -> GIVEN_UP    by the parent, which then kills the child
 *
 * Each is one compare-and-swap, so both agree on which came first. `ended` is set last of all, by
 * the exit watch.
 */
#ifndef RUSMI_GEN_CHILD_H
#define RUSMI_GEN_CHILD_H

#include "otp/process.h"

#include <rusm/otp/driver.h>
#include <rusm/otp/process.h>
#include <rusm/otp/reason.h>

#include <stdatomic.h>
#include <stdbool.h>

enum {
    RUSMI_CHILD_STARTING,
    RUSMI_CHILD_READY,
    RUSMI_CHILD_GIVEN_UP,
};

struct rusmi_child {
    /* both, atomic */
    _Atomic uint32_t refs;
    _Atomic uint32_t gate;
    _Atomic uint32_t told;  /* 1: what the child has to say is written */
    _Atomic uint32_t ended; /* 1: reason is written, and the child has ended */

    /* constant from before the child runs */
    struct rusmi_process *parent; /* a control block, to be woken; type-stable */
    rusm_pid parent_pid;
    void (*del)(struct rusmi_child *child); /* frees the whole record */

    /* the parent */
    rusm_pid pid;  /* zero until it is spawned */
    bool spawning; /* the reference of the watch was counted */

    rusm_exit_watch watch;
    rusm_reason reason; /* written before `ended` */
};

/* Begin a record: one reference, the caller is the parent. */
void rusmi_child_init(struct rusmi_child *child, void (*del)(struct rusmi_child *child));
/* Spawn it to run fn(arg). A failure leaves the record as it was. It may end the calling process;
 * its exit hook then calls rusmi_child_orphan(). */
rusm_err rusmi_child_spawn(struct rusmi_child *child, rusm_process_fn fn, void *arg,
                           const rusm_spawn_config *cfg);
/* Move the gate; false: the other side was first. */
bool rusmi_child_ready(struct rusmi_child *child);
bool rusmi_child_give_up(struct rusmi_child *child);
/* In the child: say that what it has to say is written, and wake the parent. */
void rusmi_child_tell(struct rusmi_child *child);
/* In the parent: wait until the flag (told or ended) is set, or the child has ended. Errors:
 * RUSM_ETIMEOUT; RUSM_EKILLED to an entered thread. */
rusm_err rusmi_child_wait(struct rusmi_child *child, const _Atomic uint32_t *flag,
                          int64_t timeout_ms);
/* The parent ends: kill the child, if there is one, and give the parent's reference back. For exit
 * hooks; safe wherever rusmi_child_spawn() was cut off. */
void rusmi_child_orphan(struct rusmi_child *child);
/* Give one reference back. */
void rusmi_child_drop(struct rusmi_child *child);

#endif
