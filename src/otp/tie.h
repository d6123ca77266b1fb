/* SPDX-License-Identifier: MIT */
/*
 * Ties: what makes one process hear of another's end, a link or a monitor (docs/design/signals.md).
 *
 * A tie is allocated when it is made, inside the message that it will become, so that telling of an
 * end needs no memory. A monitor is in the table of the process that made it and in the list of the
 * one it watches; a link is in the tables of both. Whoever changes a tie has the stripes of both
 * slots. When a process ends, each of its ties is taken out of both places and, under the same
 * locks, becomes a message to the other process, or is freed. So a tie is either in place on both
 * sides or it is no tie any more, and there is one exit per link and one down per monitor.
 */
#ifndef RUSMI_OTP_TIE_H
#define RUSMI_OTP_TIE_H

#include "base/list.h"
#include "base/map.h"
#include "otp/mailbox.h"

#include <rusm/otp/info.h>

struct rusmi_process;
struct rusmi_far;

/* A tie's place in the table of one process. */
struct rusmi_tie_hook {
    struct rusmi_tie_hook *next, **at;
    uint64_t key; /* a monitor's reference number, or a hash of the linked pid */
    struct rusmi_tie *tie;
};

/* The bytes of a message with a cause (RUSMI_MSG_CAUSE). */
struct rusmi_tie {
    struct rusmi_cause *cause;
    bool is_link;
    /* A link made by a supervisor: it hears of the end by a down, in place of an exit, and still
     * does when the link has been taken away. */
    bool is_child;
    /* It was made when the target was already marked to end: the answer is noproc, as exit signals
     * and requests of one sender keep their order. */
    bool late;
    rusm_pid owner, target;
    struct rusmi_process *owner_proc, *target_proc;
    struct rusmi_tie_hook at_owner, at_target; /* at_target: of a link */
    struct rusmi_list on_target;               /* of a monitor: in the target's monitors */

    /*
     * With a process of another node: only one of owner_proc and target_proc is set (of a link it
     * is always the owner's), and the tie is in the table of that node. See otp/remote.c.
     */
    struct rusmi_far *far;
    struct rusmi_list in_far;      /* under its lock */
    struct rusmi_map_entry by_ref; /* a monitor of theirs on a process here: under its lock */
    bool theirs;                   /* the other side asked for it, and it is counted there */
    uint64_t version;              /* of a link: of its last change, on either side */
    uint64_t unlink_version;       /* not 0: of an unlink of ours that is not acknowledged yet */
    bool inactive;                 /* it was unlinked, and waits only for that */
    uint64_t unborn;               /* the process is being spawned; the number of its reference */
    uint64_t born;                 /* of a link: the same, once the process has come */
};

/* A table of ties of one process: one chain while there are few, else many. Zero: empty. */
struct rusmi_ties {
    struct rusmi_tie_hook *few;
    struct rusmi_tie_hook **chains; /* chains_len of them; NULL: few */
    uint32_t chains_len;
    uint32_t len;
    uint32_t links, monitors; /* of those: that can be seen */
    bool foreign;             /* one of them leads, or led, to another runtime */
    uint64_t born; /* the number of the last one that was prepared and came to be bound */
};

/* The message that a tie becomes. */
struct rusm_msg *rusmi_tie_msg(struct rusmi_tie *tie);
/* The hash of a pid, for tables of links. */
uint64_t rusmi_tie_key(rusm_pid pid);
/* Into and out of the table of a process, under its stripe. */
void rusmi_ties_add(struct rusmi_ties *ties, struct rusmi_tie_hook *hook);
void rusmi_ties_remove(struct rusmi_ties *ties, struct rusmi_tie_hook *hook);
/* Its link with other, its monitor of that number; NULL if there is none. Under its stripe. */
struct rusmi_tie *rusmi_tie_find_link(struct rusmi_process *proc, rusm_pid other);
struct rusmi_tie *rusmi_tie_find_monitor(struct rusmi_process *proc, uint64_t number);
/* Whether it monitors other. Under its stripe; looks at all of its ties. */
bool rusmi_tie_watches(const struct rusmi_process *proc, rusm_pid other);
/* A tie that was prepared with that number, of either kind. */
struct rusmi_tie *rusmi_tie_find_numbered(struct rusmi_process *proc, uint64_t number);
/* A link that was prepared with that number and leads to its process now. Looks at all ties. */
struct rusmi_tie *rusmi_tie_find_born(struct rusmi_process *proc, uint64_t number);
/* Make a tie that is in no place yet: ref_number not 0: a monitor. NULL without memory. */
struct rusmi_tie *rusmi_tie_new(rusm_pid owner, rusm_pid target, uint64_t ref_number);
/* The tie of a supervisor with a child that it is about to spawn. */
struct rusmi_tie *rusmi_tie_new_child(rusm_pid owner, uint64_t ref_number);
void rusmi_tie_del(struct rusmi_tie *tie);
/* Put a tie between self and a process that can not have ended: one that is being spawned. */
void rusmi_tie_newborn(struct rusmi_process *self, struct rusmi_process *proc,
                       struct rusmi_tie *tie);
/* proc ends, for that reason: take all its ties, and tell who has to be told. It is not watchable
 * any more. */
void rusmi_ties_end(struct rusmi_process *proc, const rusm_reason *reason);
/* How many: links, monitors it made, monitors on it. Under the stripe. */
void rusmi_ties_count(const struct rusmi_process *proc, uint64_t *out_links, uint64_t *out_monitors,
                      uint64_t *out_monitored_by);
/* Copy what joins it to others, at most so many; returns how many. Under the stripe. */
size_t rusmi_ties_copy(const struct rusmi_process *proc, rusm_process_tie *ties, size_t most);

/* What has to be done with a process once the stripe is given back. */
enum rusmi_signalled {
    RUSMI_SIGNALLED_NOTHING,
    RUSMI_SIGNALLED_RUN,  /* its wait was ended: rusmi_process_run_again() */
    RUSMI_SIGNALLED_WAKE, /* rusmi_process_wake() */
};

/* Push a down (or an exit that is trapped), under the stripe; msg is taken. */
enum rusmi_signalled rusmi_push_signal(struct rusmi_process *proc, uint64_t serial,
                                       struct rusm_msg *msg);
/* Do with the process what has to be done, once the stripe is given back. */
void rusmi_finish_signal(struct rusmi_process *proc, enum rusmi_signalled signalled);
/* Send an exit signal to proc, under its stripe, with that message to become the exit (it is taken,
 * or freed). */
enum rusmi_signalled rusmi_signal_exit(struct rusmi_process *proc, uint64_t serial,
                                       struct rusm_msg *msg);

#endif
