/* SPDX-License-Identifier: MIT */
/* The parts of a mailbox that every message passes, to be inlined: see otp/mailbox.h. */
#ifndef RUSMI_OTP_MAILBOX_INLINE_H
#define RUSMI_OTP_MAILBOX_INLINE_H

#include "base/assert.h"
#include "otp/mailbox.h"

/* Messages are aligned to 16 bytes and user addresses have 47 bits, so 43 bits name one and 21 are
 * left. */
#define RUSMI_BOX_MASK (((uint64_t)1 << RUSMI_BOX_BITS) - 1)

/* What may be in place of a pointer, see mailbox.h. */
#define RUSMI_BOX_WAITING  ((uint64_t)1 << RUSMI_BOX_BITS)
#define RUSMI_BOX_NOTIFIED ((uint64_t)2 << RUSMI_BOX_BITS)

/* The newest message; NULL for nothing, RUSMI_BOX_WAITING and RUSMI_BOX_NOTIFIED. */
static inline struct rusm_msg *rusmi_box_unpack(uint64_t word)
{
    uint64_t name = word >> RUSMI_BOX_BITS;

    return name <= 2 ? NULL : (struct rusm_msg *)(uintptr_t)(name << 4);
}

static inline uint64_t rusmi_box_pack(const struct rusm_msg *msg, uint64_t generation)
{
    uint64_t address = (uint64_t)(uintptr_t)msg;

    rusmi_assert_slow((address & 15) == 0 && address >> 47 == 0);
    return ((address >> 4) << RUSMI_BOX_BITS) | (generation & RUSMI_BOX_MASK);
}

static inline bool rusmi_box_is_waiting(uint64_t word)
{
    return (word & ~RUSMI_BOX_MASK) == RUSMI_BOX_WAITING;
}

/* relaxed, these two: set before the process is visible, and a sender that is late by a life is
 * told so by the generation */
static inline uint32_t rusmi_box_bound(const struct rusmi_mailbox *box)
{
    return atomic_load_explicit(&box->max, memory_order_relaxed);
}

static inline bool rusmi_box_is_locked(const struct rusmi_mailbox *box)
{
    return rusmi_box_bound(box) != 0 && atomic_load_explicit(&box->policy, memory_order_relaxed) ==
                                            (uint8_t)RUSM_MAILBOX_DROP_OLDEST;
}

/* Only the owner writes it, or who has the lock in its place; relaxed: a count. */
static inline void rusmi_box_count(struct rusmi_mailbox *box, uint64_t more)
{
    atomic_store_explicit(&box->inbox_len,
                          atomic_load_explicit(&box->inbox_len, memory_order_relaxed) + more,
                          memory_order_relaxed);
}

/*
 * Put it on the stack; or, if the owner waits, end its waiting and put it into the inbox: until it
 * is made to run, which is up to us, nobody else touches the owner's half, and whoever pushes
 * meanwhile comes after us. So a message that is waited for costs its receiver no atomic operation.
 * Not where others than the owner have the inbox (locked): there it goes on the stack.
 */
static inline enum rusmi_push rusmi_box_push(struct rusmi_mailbox *box, uint64_t generation,
                                             struct rusm_msg *msg, bool locked)
{
    uint64_t word =
        atomic_load_explicit(&box->head, memory_order_relaxed); /* the exchange below checks it */
    uint64_t pushed;

    do {
        if ((word & RUSMI_BOX_MASK) != generation) {
            return RUSMI_PUSH_GONE;
        }
        msg->next = rusmi_box_unpack(word);
        pushed =
            rusmi_box_is_waiting(word) && !locked ? generation : rusmi_box_pack(msg, generation);
        /* seq_cst on success: the message is visible to whoever takes it, and what the owner did
         * before it began to wait is visible to who wakes it */
    } while (!atomic_compare_exchange_weak_explicit(&box->head, &word, pushed, memory_order_seq_cst,
                                                    memory_order_relaxed));
    if (rusmi_box_is_waiting(word)) {
        if (!locked) {
            *box->last = msg;
            box->last = &msg->next;
            rusmi_box_count(box, 1);
        }
        return RUSMI_PUSHED_WAKE;
    }
    if (rusmi_box_unpack(word) != NULL) { /* not msg->next: the message is the receiver's now */
        (void)atomic_fetch_add_explicit(&box->more, 1, memory_order_relaxed); /* a count */
    }
    return RUSMI_PUSHED;
}

/* Put a stack, newest first, behind the inbox. */
static inline void rusmi_box_append(struct rusmi_mailbox *box, struct rusm_msg *newest)
{
    struct rusm_msg *msg, *oldest = NULL;
    int64_t len = 0;

    for (msg = newest; msg != NULL;) {
        struct rusm_msg *next = msg->next;

        msg->next = oldest;
        oldest = msg;
        msg = next;
        len++;
    }
    *box->last = oldest;
    box->last = &newest->next;
    rusmi_box_count(box, (uint64_t)len);
    if (len > 1) {
        (void)atomic_fetch_sub_explicit(&box->more, len - 1, memory_order_relaxed); /* a count */
    }
}

/* Move what was pushed to the end of the inbox, oldest first. */
static inline void rusmi_box_collect(struct rusmi_mailbox *box)
{
    uint64_t word = atomic_load_explicit(&box->head, memory_order_relaxed);

    if ((word & ~RUSMI_BOX_MASK) == 0) {
        return;
    }
    /* seq_cst: whoever pushed or notified, or found that somebody had, before this, is seen by who
     * looks after it. Only the owner changes the generation, so it may be kept from before. */
    word = atomic_exchange(&box->head, word & RUSMI_BOX_MASK);
    if (rusmi_box_unpack(word) != NULL) {
        rusmi_box_append(box, rusmi_box_unpack(word));
    }
}

/* As rusmi_mailbox_wait(). */
static inline bool rusmi_box_wait(struct rusmi_mailbox *box)
{
    /* relaxed: only the owner changes the generation; the exchange checks the rest */
    uint64_t word = atomic_load_explicit(&box->head, memory_order_relaxed) & RUSMI_BOX_MASK;

    /* seq_cst on success: what the owner did is visible to who ends its waiting */
    return atomic_compare_exchange_strong(&box->head, &word, word | RUSMI_BOX_WAITING);
}

#endif
