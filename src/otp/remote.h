/* SPDX-License-Identifier: MIT */
/*
 * Ties with processes of other nodes (docs/design/remote.md).
 *
 * Each node that is connected has a record, a *far* node, with all ties that lead there. A tie is
 * in two places: at its process here, under that slot's stripe, and in the far node's list, under
 * the far node's lock; it is put into and taken out of both at once, stripe first. When the
 * connection is lost the record goes and every tie of it is broken, each once: whoever takes the
 * tie out of its two places is the one who tells.
 *
 * A link is known by a pair of processes and changes on both sides at once, so each change carries
 * a version (of the far node's clock, a logical one), the higher of which wins on both sides, and
 * of two equal ones the link; an unlink is kept until it is acknowledged, so that what the other
 * side sent before it heard of it can be told from what it sent afterwards.
 *
 * Signals are sent with no lock held, but not after the record has gone: one that went to the next
 * connection with that node would say something of a tie that is no more. What a process sends
 * itself is in order by itself; what is answered for a process that has ended comes after all that
 * it sent.
 */
#ifndef RUSMI_OTP_REMOTE_H
#define RUSMI_OTP_REMOTE_H

#include "otp/tie.h"
#include "platform/lock.h"

#include <rusm/otp/driver.h>

/* Incarnations that are known to be past. */
#define RUSMI_PAST_MAX 4096u

/* Versions of links stay below. */
#define RUSMI_VERSION_MAX ((uint64_t)1 << 61)

/* Streams with one end there: see gen/stream.h, which fills this. */
struct rusmi_far_streams {
    struct rusmi_lock lock; /* a leaf */
    /* under lock */
    struct rusmi_map ours, theirs; /* by number, by who offered them */
    uint64_t last;                 /* number of ours */
    size_t bytes;                  /* of buffers that we hold for theirs */
    bool gone;
    void (*lose)(struct rusmi_far *far); /* the node is lost; NULL: there never was a stream */
};

/* A node that is connected. */
struct rusmi_far {
    struct rusmi_map_entry entry; /* by incarnation */
    uint64_t incarnation;
    _Atomic uint32_t refs; /* the table's, and each tie's */
    _Atomic uint32_t senders;
    _Atomic bool closed; /* nobody sends of its ties any more */
    struct rusmi_lock lock;
    /* under lock */
    struct rusmi_list ties;
    struct rusmi_map watches;  /* monitors of theirs, by reference number */
    size_t theirs, theirs_max; /* links and monitors that they asked for */
    uint64_t clock;            /* of versions of links; at least that of each one seen */
    bool gone;

    struct rusmi_far_streams streams;
};

struct rusmi_past {
    struct rusmi_map_entry entry;
    struct rusmi_list in_order; /* in which they became past */
    uint64_t incarnation;
};

/* The far nodes of a runtime. */
struct rusmi_fars {
    struct rusmi_lock lock;
    /* under lock */
    struct rusmi_map nodes;
    struct rusmi_map past;
    struct rusmi_list past_order;
};

void rusmi_fars_init(struct rusmi_fars *fars, uint64_t seed0, uint64_t seed1);
/* No process of the runtime is left. */
void rusmi_fars_fini(struct rusmi_fars *fars);

/* The reference of the exit message that rusm_server_stop() is; no other exit has one. */
#define RUSMI_STOP_REF UINT64_MAX

/* Whether pid is of another node (and self of one). */
bool rusmi_is_far(const struct rusmi_process *self, rusm_pid pid);
/* Whether that incarnation is known to be past. */
bool rusmi_is_past(rusm_runtime *rt, uint64_t incarnation);

/* What the calls of rusm/otp/link.h do when the other process is far. */
rusm_err rusmi_far_link(struct rusmi_process *self, rusm_pid pid);
void rusmi_far_unlink(struct rusmi_process *self, rusm_pid pid);
/* Send RUSM_SIGNAL_ASK_EXIT or RUSM_SIGNAL_STOP, for which no tie is needed. */
rusm_err rusmi_far_ask(struct rusmi_process *self, rusm_signal_kind kind, rusm_pid pid,
                       const rusm_reason *reason);
rusm_err rusmi_far_monitor(struct rusmi_process *self, rusm_pid pid, uint64_t ref_number);
/* False: there is no such monitor any more. */
bool rusmi_far_demonitor(struct rusmi_process *self, uint64_t ref_number);

/* proc ends and tie is one of its: take it out, give proc's stripe back, and tell the other side.
 */
void rusmi_far_tie_end(struct rusmi_process *proc, struct rusmi_tie *tie,
                       const rusm_reason *reason);

#endif
