/* SPDX-License-Identifier: MIT */
/*
 * Messages, and the mailbox of a process: any thread pushes, its owner takes.
 *
 *     senders -> head (a stack, newest first) -> taken whole and reversed by the owner -> inbox
 * (oldest first)
 *
 * The head word holds a pointer and a generation. When the process ends, the owner swaps in "empty"
 * with the next generation, so that the compare-and-swap of a late sender, who read the old word,
 * fails by itself: no lock, no reference count, no grace period. 21 bits of generation would have
 * to wrap (two million lives of the slot) between a sender's two instructions for it to be fooled.
 *
 * The same word says whether the process waits, so that the push that ends its waiting needs no
 * second atomic operation. In place of a pointer there may be
 *
 *     nothing     nobody waits, there is nothing new
 *     WAITING     the process is suspended; who replaces this has to make it run
 *     NOTIFIED    there is something new, but no message
 *
 * The rule against lost wake-ups: a waker first sets what it has to tell, then pushes or notifies;
 * the owner first collects, then looks at everything that it waits for, then swaps *nothing* for
 * WAITING, which fails if anything came since it collected. Wake-ups may be spurious, also from a
 * former life of the slot.
 *
 * Selective receive looks at the inbox from the front, or from a mark, and takes from its middle;
 * order is never changed.
 *
 * A mailbox may be bounded: then `room` counts its messages that are not signals. Where the oldest
 * has to go for the newest, the sender does the owner's work, so in such a mailbox, and only there,
 * the inbox is under a lock.
 */
#ifndef RUSMI_OTP_MAILBOX_H
#define RUSMI_OTP_MAILBOX_H

#include "platform/lock.h"

#include <rusm/otp/process.h>

#include <stdatomic.h>
#include <stddef.h>

/* Bits of a head word that are the generation. */
#define RUSMI_BOX_BITS 21

/* What hangs on a message beside its bytes. */
enum {
    RUSMI_MSG_CAUSE = 1,  /* data begins with a struct rusmi_cause pointer, one reference */
    RUSMI_MSG_SHARED = 2, /* data begins with a struct rusmi_shared pointer: there are the bytes */
    RUSMI_MSG_OBJECT = 4, /* data begins with a struct rusmi_attached; the bytes come behind */
    RUSMI_MSG_FAR = 8,    /* it is, or is to be, counted in the mailbox's far_bytes */
};

struct rusm_msg {
    struct rusm_msg *next;
    struct rusm_msg **held; /* what points to it in its holder's list; NULL: in nobody's */
    rusm_pid sender;
    union {
        struct {
            uint64_t len : 48; /* of the bytes that the user sees */
            uint64_t kind : 8; /* rusm_msg_kind */
            uint64_t flags : 4;
            uint64_t size_class : 4; /* see otp/cache.h */
        };
        uint64_t meta; /* all of them, to be set at once: RUSMI_MSG_META() */
    };
    uint64_t ref; /* number of the reference; 0: none */
    _Alignas(16) unsigned char data[];
};

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define RUSMI_MSG_META(len, kind, flags, size_class)                                               \
    ((uint64_t)(len) << 16 | (uint64_t)(kind) << 8 | (uint64_t)(flags) << 4 |                      \
     (uint64_t)(size_class))
#else
#define RUSMI_MSG_META(len, kind, flags, size_class)                                               \
    ((uint64_t)(len) | (uint64_t)(kind) << 48 | (uint64_t)(flags) << 56 |                          \
     (uint64_t)(size_class) << 60)
#endif

/* Why a process ended, shared by all who are told. */
struct rusmi_cause {
    _Atomic uint32_t refs; /* 0: constant, never freed */
    rusm_reason reason;
};

/* Bytes that many messages share. */
struct rusmi_shared {
    _Atomic uint32_t refs;
    size_t len;
    _Alignas(16) unsigned char data[];
};

struct rusmi_attached {
    void *object;
    void (*drop)(void *object);
};

/* What a receive takes. */
struct rusmi_wanted {
    rusm_match_fn match; /* NULL: anything */
    void *arg;
    uint64_t reply; /* not 0: only the reply or the down with this reference */
    uint64_t mark;  /* not 0: only what came after that mark, if it still holds */
    bool again;     /* the last take had the same wish and found nothing: look at what is new */
};

struct rusmi_mailbox {
    /* any thread; a sender that waits for the owner's cache line to come should wait once */
    _Atomic uint64_t head;
    _Atomic int64_t more;   /* messages in the stack but one, as far as they have been counted */
    _Atomic uint32_t max;   /* 0: not bounded; relaxed: set between lives */
    _Atomic uint8_t policy; /* rusm_mailbox_policy */
    bool wakes_thread;      /* the owner is a thread that has entered; constant while it lives */
    struct rusmi_lock lock; /* for RUSM_MAILBOX_DROP_OLDEST */

    /* owner; inbox_len is read by any thread, relaxed */
    _Atomic uint64_t inbox_len;
    struct rusm_msg *first;
    struct rusm_msg **last;
    struct rusm_msg **seen; /* where the last take that found nothing had come to */
    struct rusm_msg **mark; /* where the marked part begins; meaningful while mark_number is the
                               one asked for */
    uint64_t mark_number;
    /* of a bounded mailbox */
    _Atomic int64_t room; /* messages in it that are not signals */
    _Atomic uint64_t dropped;

    /* any thread: bytes of its messages that came from elsewhere; a sum of reservations that are
     * each taken back, so it is right across the lives of a slot */
    _Atomic int64_t far_bytes;
};

_Static_assert(offsetof(struct rusmi_mailbox, inbox_len) == 32,
               "the senders' half fits a cache line with four words of the control block");

enum rusmi_push {
    RUSMI_PUSHED,
    RUSMI_PUSHED_WAKE, /* the owner waited: whoever pushed has to make it run */
    RUSMI_PUSHED_OVER, /* as the first, and the oldest message was dropped for it */
    RUSMI_PUSHED_OVER_WAKE,
    RUSMI_PUSH_GONE, /* the generation is past */
    RUSMI_PUSH_FULL, /* refused */
    RUSMI_PUSH_SHED, /* dropped, as the policy says: the message was taken and freed */
};

/* Open the mailbox for a generation, which it had from the last close, or 0 at first. Owner. */
void rusmi_mailbox_open(struct rusmi_mailbox *box);
/* Before its process is visible. */
void rusmi_mailbox_bound(struct rusmi_mailbox *box, size_t max, rusm_mailbox_policy policy);
/* The generation that senders to the process with that serial must name: each life of a slot closes
 * once. */
static inline uint64_t rusmi_mailbox_life(uint64_t serial)
{
    return (serial >> 32) & (((uint64_t)1 << RUSMI_BOX_BITS) - 1);
}
/* Takes msg unless it was RUSMI_PUSH_GONE or RUSMI_PUSH_FULL. */
enum rusmi_push rusmi_mailbox_push(struct rusmi_mailbox *box, uint64_t generation,
                                   struct rusm_msg *msg);
/* There is something new that is no message. True: the owner waited, and the caller has to make it
 * run. */
bool rusmi_mailbox_notify(struct rusmi_mailbox *box);
/* Move what was pushed to the inbox, and forget notifications: from here on anything new makes the
 * next wait fail. Owner. */
void rusmi_mailbox_collect(struct rusmi_mailbox *box);
/* Begin to wait; false: something is new since it was collected. Owner, or, for a process that has
 * been switched away from, who did that. */
bool rusmi_mailbox_wait(struct rusmi_mailbox *box);
/* Stop waiting. False: somebody else has just ended the wait, and will let the owner run. Owner. */
bool rusmi_mailbox_unwait(struct rusmi_mailbox *box);
/* End the owner's wait if it waits; the caller has to make it run, or to begin the wait again in
 * its place. Any thread. */
bool rusmi_mailbox_claim(struct rusmi_mailbox *box);
/* Whether the owner waits. Any thread. */
bool rusmi_mailbox_waits(const struct rusmi_mailbox *box);
/* The oldest message of the inbox that is wanted, or NULL: what was pushed must have been
 * collected. It does not collect itself: in a loop that waits, that would forget a notification
 * which nobody has looked at. Replies that nobody waits for are freed on the way and counted in
 * *late. Owner. */
struct rusm_msg *rusmi_mailbox_take(struct rusmi_mailbox *box, const struct rusmi_wanted *wanted,
                                    uint64_t *late);
/*
 * Remember the present end; returns its number. Replies that came before it are freed and counted
 * in *late: a mark is set before a call is made, and nobody waits for another one then. So they do
 * not pile up in a process that only calls, and never looks at what lies before its mark. Owner.
 */
uint64_t rusmi_mailbox_mark(struct rusmi_mailbox *box, uint64_t *late);
/* Refuse further messages; returns how many were freed unread. Owner. */
uint64_t rusmi_mailbox_close(struct rusmi_mailbox *box);
/* Messages that were pushed and not taken. Any thread; a push that is just being made may not be
 * counted. */
uint64_t rusmi_mailbox_depth(const struct rusmi_mailbox *box);

/* What a message that carries a cause takes beside what its user sees: the tie that it was, and the
 * cause with its text, roughly. */
#define RUSMI_CAUSE_BYTES 256

/* What a message counts in far_bytes. */
static inline int64_t rusmi_msg_far_bytes(const struct rusm_msg *msg)
{
    return (int64_t)(sizeof(*msg) + msg->len) +
           ((msg->flags & RUSMI_MSG_CAUSE) != 0 ? RUSMI_CAUSE_BYTES : 0);
}

/* ---- message.c ---- */

/* A message of that kind with a copy of the bytes, held by nobody. data NULL: they are not set. */
rusm_err rusmi_msg_make(rusm_msg **out_msg, rusm_msg_kind kind, uint64_t ref, const void *data,
                        size_t len);
/* A message that carries a cause, of which it takes over one reference; NULL: set later. extra:
 * bytes behind the pointer for the caller. NULL without memory. */
struct rusm_msg *rusmi_msg_with_cause(rusm_msg_kind kind, struct rusmi_cause *cause, size_t extra);
/* Hang an object on a message of len bytes that is made here: it is dropped when the message is
 * freed. */
rusm_err rusmi_msg_attach(rusm_msg **out_msg, rusm_msg_kind kind, const void *data, size_t len,
                          void *object, void (*drop)(void *object));
/* The object that hangs on a message and is dropped by `drop`; NULL if there is none. */
void *rusmi_msg_object(const rusm_msg *msg, void (*drop)(void *object));
/* Whether an object hangs on it. */
bool rusmi_msg_carries(const rusm_msg *msg);
/* Take the object off without dropping it. */
void rusmi_msg_detach(rusm_msg *msg);
/* Bytes to be shared, with one reference; NULL without memory. */
struct rusmi_shared *rusmi_shared_new(const void *data, size_t len);
void rusmi_shared_drop(struct rusmi_shared *shared);
/* A message that shows shared bytes, and holds them. */
rusm_err rusmi_msg_share(rusm_msg **out_msg, rusm_msg_kind kind, struct rusmi_shared *shared);

/* Note that the process whose list it is holds msg, and that it no longer does. */
void rusmi_msg_hold(struct rusm_msg **list, struct rusm_msg *msg);
void rusmi_msg_let(struct rusm_msg *msg);

static inline void rusmi_msg_hold_inline(struct rusm_msg **list, struct rusm_msg *msg)
{
    struct rusm_msg *first = *list;

    msg->next = first;
    msg->held = list;
    if (first != NULL) {
        first->held = &msg->next;
    }
    *list = msg;
}

static inline void rusmi_msg_let_inline(struct rusm_msg *msg)
{
    if (msg->held != NULL) {
        *msg->held = msg->next;
        if (msg->next != NULL) {
            msg->next->held = msg->held;
        }
        msg->next = NULL;
        msg->held = NULL;
    }
}

/* Free a message that nobody holds, with what hangs on it. */
void rusmi_msg_free(struct rusm_msg *msg);
/* Free all messages of a list. */
void rusmi_msgs_free(struct rusm_msg **list);

/* The cause that stands for a reason; never NULL: without memory it is the bare kind. */
struct rusmi_cause *rusmi_cause_new(const rusm_reason *reason);
struct rusmi_cause *rusmi_cause_hold(struct rusmi_cause *cause);
void rusmi_cause_drop(struct rusmi_cause *cause);

#endif
