/* SPDX-License-Identifier: MIT */
/*
 * Between the files that make otp/remote.h work, and gen/stream*.c, which add streams to it; nobody
 * else includes this.
 */
#ifndef RUSMI_OTP_FAR_H
#define RUSMI_OTP_FAR_H

#include "otp/remote.h"
#include "otp/sched.h"

static inline struct rusmi_lock *rusmi_stripe_of(const struct rusmi_process *proc)
{
    return rusmi_slot_stripe(proc->pool, proc);
}

/* ---- far.c ---- */
/* The record of a node that is connected, held; NULL if it is not. */
struct rusmi_far *rusmi_far_find(rusm_runtime *rt, uint64_t incarnation);
/* One more reference, for who has one, or sees a tie under its stripe. */
struct rusmi_far *rusmi_far_hold(struct rusmi_far *far);
void rusmi_far_drop(struct rusmi_far *far);
/*
 * Put a tie into both of its places; under the stripe of proc, the process here. RUSM_ENOLINK: the
 * node is no longer connected; RUSM_EFULL, RUSM_EEXIST, RUSM_ENOMEM: of those that they ask for.
 */
rusm_err rusmi_far_attach(struct rusmi_far *far, struct rusmi_process *proc, struct rusmi_tie *tie,
                          bool asked_by_them);
/* Take a tie out of both of its places; under the stripe. */
void rusmi_far_detach(struct rusmi_tie *tie);
/* After rusmi_far_detach(), with no lock held. */
void rusmi_far_tie_free(struct rusmi_tie *tie);
/* After rusmi_far_detach(), under the stripe still: the tie becomes its message, to proc. */
enum rusmi_signalled rusmi_far_become(struct rusmi_process *proc, struct rusmi_tie *tie,
                                      rusm_pid sender, struct rusmi_cause *cause);
/* A version for a change of ours. */
uint64_t rusmi_far_tick(struct rusmi_far *far);
/* A change of theirs has come. */
void rusmi_far_see(struct rusmi_far *far, uint64_t version);
/* Whether the link holds, or waits only for its unlink to be acknowledged. Under the stripe. */
void rusmi_far_set_inactive(struct rusmi_tie *tie, bool inactive);

/* ---- remote.c ---- */
/* Send a signal of the connection that far is of; no lock may be held. */
void rusmi_far_signal(struct rusmi_far *far, rusm_runtime *rt, const rusm_signal *signal);
/* Send an answer, from where that connection can not be lost meanwhile; no lock may be held. */
void rusmi_far_send(rusm_runtime *rt, rusm_signal_kind kind, rusm_pid from, rusm_pid to,
                    uint64_t number, const rusm_reason *reason);

/* ---- signal.c ---- */
/* The process that a signal is for, with its stripe taken; NULL if it has ended. */
struct rusmi_process *rusmi_signal_target(rusm_runtime *rt, rusm_pid to);
/* Answer a signal in the name of a process that has ended. */
void rusmi_signal_answer(rusm_runtime *rt, rusm_signal_kind kind, const rusm_signal *to);
/* Their link, under the stripe of proc. *tie is taken if it is put in place. */
rusm_err rusmi_far_link_theirs(struct rusmi_far *far, struct rusmi_process *proc,
                               const rusm_signal *signal, struct rusmi_tie **tie);

/* ---- newborn.c ---- */
/* They have spawned a process for one of ours: the first that comes from it. */
void rusmi_signal_born(rusm_runtime *rt, struct rusmi_far *far, const rusm_signal *signal);

#endif
