/* SPDX-License-Identifier: MIT */
/*
 * The mailbox of a process: any thread pushes, its owner takes.
 *
 *     senders -> head (a stack, newest first) -> taken whole and reversed by the owner -> inbox
 * (oldest first)
 *
 * The head word holds a pointer and a generation. When the process ends, the owner swaps in "empty"
 * with the next generation, so that the compare-and-swap of a late sender, who read the old word,
 * fails by itself: no lock, no reference count, no grace period. 21 bits of generation would have
 * to wrap (two million lives of the slot) between a sender's two instructions for it to be fooled.
 *
 * Selective receive looks at the inbox from the front and takes from its middle; order is never
 * changed.
 */
#ifndef RUSMI_OTP_MAILBOX_H
#define RUSMI_OTP_MAILBOX_H

#include <rusm/otp/process.h>

#include <stdatomic.h>

struct rusm_msg {
    struct rusm_msg *next;
    rusm_pid sender;
    size_t len;
    _Alignas(16) unsigned char data[];
};

struct rusmi_mailbox {
    /* any thread */
    _Atomic uint64_t head;
    _Atomic uint64_t pushed; /* messages ever pushed */
    /* owner; taken is read by any thread, relaxed */
    struct rusm_msg *first;
    struct rusm_msg **last;
    _Atomic uint64_t taken;
};

/* Open the mailbox for a generation, which it had from the last close, or 0 at first. Owner. */
void rusmi_mailbox_open(struct rusmi_mailbox *box);
/* The generation that senders to the process with that serial must name: each life of a slot closes
 * once. */
uint64_t rusmi_mailbox_life(uint64_t serial);
/* False: the generation is past. *out_first: the owner may be waiting for this message; *out_depth
 * counts it. */
bool rusmi_mailbox_push(struct rusmi_mailbox *box, uint64_t generation, struct rusm_msg *msg,
                        bool *out_first, uint64_t *out_depth);
/* The oldest message that match accepts (NULL: any), or NULL. Owner. */
struct rusm_msg *rusmi_mailbox_take(struct rusmi_mailbox *box, rusm_match_fn match, void *arg);
/* Whether something was pushed that the owner has not moved to its inbox. Owner. */
bool rusmi_mailbox_has_new(const struct rusmi_mailbox *box);
/* Refuse further messages; returns how many were freed unread. Owner. */
uint64_t rusmi_mailbox_close(struct rusmi_mailbox *box);
/* Messages that were pushed and not taken. Any thread; exact for the owner. */
uint64_t rusmi_mailbox_depth(const struct rusmi_mailbox *box);

#endif
