/* SPDX-License-Identifier: MIT */
#include "otp/mailbox.h"

#include "base/assert.h"

#include <stdint.h>

/* Messages are aligned to 16 bytes and user addresses have 47 bits, so 43 bits name one and 21 are
 * left. */
#define GENERATION_BITS 21
#define GENERATION_MASK (((uint64_t)1 << GENERATION_BITS) - 1)

/* What may be in place of a pointer, see mailbox.h. */
#define WAITING  ((uint64_t)1 << GENERATION_BITS)
#define NOTIFIED ((uint64_t)2 << GENERATION_BITS)

/* The newest message; NULL for nothing, WAITING and NOTIFIED. */
static struct rusm_msg *unpack(uint64_t word)
{
    uint64_t name = word >> GENERATION_BITS;

    return name <= 2 ? NULL : (struct rusm_msg *)(uintptr_t)(name << 4);
}

static uint64_t pack(const struct rusm_msg *msg, uint64_t generation)
{
    uint64_t address = (uint64_t)(uintptr_t)msg;

    rusmi_assert_slow((address & 15) == 0 && address >> 47 == 0);
    return ((address >> 4) << GENERATION_BITS) | (generation & GENERATION_MASK);
}

static bool is_waiting(uint64_t word)
{
    return (word & ~GENERATION_MASK) == WAITING;
}

/* Whether a message counts against a bound: what the system sends always passes. */
static bool is_bounded(const struct rusm_msg *msg)
{
    switch ((rusm_msg_kind)msg->kind) {
    case RUSM_MSG_DATA:
    case RUSM_MSG_CALL:
    case RUSM_MSG_CAST:
    case RUSM_MSG_TIMER:
        return true;
    case RUSM_MSG_EXIT:
    case RUSM_MSG_DOWN:
    case RUSM_MSG_REPLY:
    case RUSM_MSG_JOIN:
    case RUSM_MSG_LEAVE:
        return false;
    }
    return false;
}

/* relaxed, these two: set before the process is visible, and a sender that is late by a life is
 * told so by the generation */
static uint32_t bound_of(const struct rusmi_mailbox *box)
{
    return atomic_load_explicit(&box->max, memory_order_relaxed);
}

static bool is_locked(const struct rusmi_mailbox *box)
{
    return bound_of(box) != 0 && atomic_load_explicit(&box->policy, memory_order_relaxed) ==
                                     (uint8_t)RUSM_MAILBOX_DROP_OLDEST;
}

void rusmi_mailbox_open(struct rusmi_mailbox *box)
{
    box->first = NULL;
    box->last = box->mark = box->seen = &box->first;
    rusmi_lock_init(&box->lock);
}

void rusmi_mailbox_bound(struct rusmi_mailbox *box, size_t max, rusm_mailbox_policy policy)
{
    /* relaxed: see bound_of() */
    atomic_store_explicit(&box->policy, (uint8_t)policy, memory_order_relaxed);
    atomic_store_explicit(&box->max, max > UINT32_MAX ? UINT32_MAX : (uint32_t)max,
                          memory_order_relaxed);
}

uint64_t rusmi_mailbox_life(uint64_t serial)
{
    return (serial >> 32) & GENERATION_MASK;
}

/* Put it on the stack. */
static inline enum rusmi_push push(struct rusmi_mailbox *box, uint64_t generation,
                                   struct rusm_msg *msg)
{
    uint64_t word =
        atomic_load_explicit(&box->head, memory_order_relaxed); /* the exchange below checks it */

    do {
        if ((word & GENERATION_MASK) != generation) {
            return RUSMI_PUSH_GONE;
        }
        msg->next = unpack(word);
        /* seq_cst on success: the message is visible to whoever takes it, and what the owner did
         * before it began to wait is visible to who wakes it */
    } while (!atomic_compare_exchange_weak_explicit(&box->head, &word, pack(msg, generation),
                                                    memory_order_seq_cst, memory_order_relaxed));
    if (unpack(word) != NULL) { /* not msg->next: the message is the receiver's now */
        (void)atomic_fetch_add_explicit(&box->more, 1, memory_order_relaxed); /* a count */
        return RUSMI_PUSHED;
    }
    return is_waiting(word) ? RUSMI_PUSHED_WAKE : RUSMI_PUSHED;
}

/* Only the owner writes it, or who has the lock in its place; relaxed: a count. */
static void count_inbox(struct rusmi_mailbox *box, uint64_t more)
{
    atomic_store_explicit(&box->inbox_len,
                          atomic_load_explicit(&box->inbox_len, memory_order_relaxed) + more,
                          memory_order_relaxed);
}

/* Put a stack, newest first, behind the inbox. */
static void append(struct rusmi_mailbox *box, struct rusm_msg *newest)
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
    count_inbox(box, (uint64_t)len);
    if (len > 1) {
        (void)atomic_fetch_sub_explicit(&box->more, len - 1, memory_order_relaxed); /* a count */
    }
}

/* Move what was pushed to the end of the inbox, oldest first. */
static inline void collect(struct rusmi_mailbox *box)
{
    uint64_t word = atomic_load_explicit(&box->head, memory_order_relaxed);

    if ((word & ~GENERATION_MASK) == 0) {
        return;
    }
    /* seq_cst: whoever pushed or notified, or found that somebody had, before this, is seen by who
     * looks after it. Only the owner changes the generation, so it may be kept from before. */
    word = atomic_exchange(&box->head, word & GENERATION_MASK);
    if (unpack(word) != NULL) {
        append(box, unpack(word));
    }
}

void rusmi_mailbox_collect(struct rusmi_mailbox *box)
{
    if (!is_locked(box)) {
        collect(box);
        return;
    }
    rusmi_lock_take(&box->lock);
    collect(box);
    rusmi_lock_give(&box->lock);
}

bool rusmi_mailbox_notify(struct rusmi_mailbox *box)
{
    uint64_t word = atomic_load(&box->head);

    for (;;) {
        uint64_t generation = word & GENERATION_MASK;

        if (is_waiting(word)) {
            if (atomic_compare_exchange_weak(&box->head, &word, generation)) {
                return true;
            }
        } else if ((word & ~GENERATION_MASK) != 0) {
            return false; /* it will collect, and look at everything afterwards */
        } else if (atomic_compare_exchange_weak(&box->head, &word, generation | NOTIFIED)) {
            return false;
        }
    }
}

bool rusmi_mailbox_wait(struct rusmi_mailbox *box)
{
    /* relaxed: only the owner changes the generation; the exchange checks the rest */
    uint64_t word = atomic_load_explicit(&box->head, memory_order_relaxed) & GENERATION_MASK;

    /* seq_cst on success: what the owner did is visible to who ends its waiting */
    return atomic_compare_exchange_strong(&box->head, &word, word | WAITING);
}

void rusmi_mailbox_unwait(struct rusmi_mailbox *box)
{
    uint64_t word = atomic_load(&box->head);

    while (is_waiting(word) &&
           !atomic_compare_exchange_weak(&box->head, &word, word & GENERATION_MASK)) {
    }
}

bool rusmi_mailbox_waits(const struct rusmi_mailbox *box)
{
    return is_waiting(atomic_load(&box->head));
}

static void unlink_msg(struct rusmi_mailbox *box, struct rusm_msg **at)
{
    struct rusm_msg *msg = *at;

    *at = msg->next;
    if (box->last == &msg->next) {
        box->last = at;
    }
    if (box->mark == &msg->next) {
        box->mark = at;
    }
    if (box->seen == &msg->next) {
        box->seen = at;
    }
    msg->next = NULL;
    if (bound_of(box) != 0 && is_bounded(msg)) {
        (void)atomic_fetch_sub_explicit(&box->room, 1, memory_order_relaxed); /* a count */
    }
    count_inbox(box, (uint64_t)-1);
}

/* The owner may be about to wait: it must not take the empty stack for a sign that there is nothing
 * new. */
static void collect_for_owner(struct rusmi_mailbox *box, uint64_t generation)
{
    uint64_t word = atomic_load(&box->head);

    while (unpack(word) != NULL) {
        if (atomic_compare_exchange_weak(&box->head, &word, generation | NOTIFIED)) {
            append(box, unpack(word));
            return;
        }
    }
}

/* In place of the owner: make room by dropping the oldest message. False: the generation is past.
 */
static bool drop_oldest(struct rusmi_mailbox *box, uint64_t generation)
{
    bool alive;

    rusmi_lock_take(&box->lock);
    /* relaxed: it changes under this lock only */
    alive =
        (atomic_load_explicit(&box->head, memory_order_relaxed) & GENERATION_MASK) == generation;
    if (alive) {
        struct rusm_msg **at = &box->first;

        collect_for_owner(box, generation);
        while (*at != NULL && !is_bounded(*at)) {
            at = &(*at)->next;
        }
        if (*at != NULL) {
            struct rusm_msg *oldest = *at;

            unlink_msg(box, at);
            rusm_msg_del(oldest);
            /* relaxed: a count */
            (void)atomic_fetch_add_explicit(&box->dropped, 1, memory_order_relaxed);
        }
    }
    rusmi_lock_give(&box->lock);
    return alive;
}

/*
 * Reserve a place for a message in a bounded mailbox. Every reservation is taken back by who does
 * not use it or by who takes the message out, so `room` is right across the lives of a slot.
 */
static enum rusmi_push reserve(struct rusmi_mailbox *box, uint64_t generation, uint32_t max)
{
    /* relaxed, all: counts */
    int64_t before = atomic_fetch_add_explicit(&box->room, 1, memory_order_relaxed);
    rusm_mailbox_policy policy =
        (rusm_mailbox_policy)atomic_load_explicit(&box->policy, memory_order_relaxed);

    if (before < (int64_t)max) {
        return RUSMI_PUSHED;
    }
    if (policy == RUSM_MAILBOX_DROP_OLDEST && drop_oldest(box, generation)) {
        return RUSMI_PUSHED;
    }
    (void)atomic_fetch_sub_explicit(&box->room, 1, memory_order_relaxed);
    if (policy == RUSM_MAILBOX_DROP_OLDEST) {
        return RUSMI_PUSH_GONE;
    }
    (void)atomic_fetch_add_explicit(&box->dropped, 1, memory_order_relaxed);
    return policy == RUSM_MAILBOX_REFUSE ? RUSMI_PUSH_FULL : RUSMI_PUSH_SHED;
}

static enum rusmi_push push_bounded(struct rusmi_mailbox *box, uint64_t generation,
                                    struct rusm_msg *msg, uint32_t max)
{
    enum rusmi_push result;

    /* relaxed: a look, so that a dead process's mailbox does not count what it was sent */
    if ((atomic_load_explicit(&box->head, memory_order_relaxed) & GENERATION_MASK) != generation) {
        return RUSMI_PUSH_GONE;
    }
    result = reserve(box, generation, max);
    if (result == RUSMI_PUSH_SHED) {
        rusm_msg_del(msg);
    }
    if (result != RUSMI_PUSHED) {
        return result;
    }
    result = push(box, generation, msg);
    if (result == RUSMI_PUSH_GONE) {
        (void)atomic_fetch_sub_explicit(&box->room, 1, memory_order_relaxed); /* relaxed: a count */
    }
    return result;
}

enum rusmi_push rusmi_mailbox_push(struct rusmi_mailbox *box, uint64_t generation,
                                   struct rusm_msg *msg)
{
    uint32_t max = bound_of(box);

    return max != 0 && is_bounded(msg) ? push_bounded(box, generation, msg, max)
                                       : push(box, generation, msg);
}

static bool is_wanted(const struct rusm_msg *msg, const struct rusmi_wanted *wanted)
{
    if (wanted->reply != 0) {
        return msg->ref == wanted->reply &&
               (msg->kind == RUSM_MSG_REPLY || msg->kind == RUSM_MSG_DOWN);
    }
    if (msg->kind == RUSM_MSG_REPLY) {
        return false;
    }
    return wanted->match == NULL || wanted->match(msg, wanted->arg);
}

static struct rusm_msg *take(struct rusmi_mailbox *box, const struct rusmi_wanted *wanted,
                             uint64_t *late)
{
    bool marked = wanted->mark != 0 && wanted->mark == box->mark_number;
    struct rusm_msg **at = wanted->again ? box->seen : marked ? box->mark : &box->first;

    for (;;) {
        struct rusm_msg *msg = *at;

        if (msg == NULL) {
            box->seen = at;
            return NULL;
        }
        if (is_wanted(msg, wanted)) {
            unlink_msg(box, at);
            return msg;
        }
        if (msg->kind == RUSM_MSG_REPLY) {
            unlink_msg(box, at);
            rusm_msg_del(msg);
            *late += 1;
        } else {
            at = &msg->next;
        }
    }
}

struct rusm_msg *rusmi_mailbox_take(struct rusmi_mailbox *box, const struct rusmi_wanted *wanted,
                                    uint64_t *late)
{
    struct rusm_msg *msg;

    if (!is_locked(box)) {
        return take(box, wanted, late);
    }
    rusmi_lock_take(&box->lock);
    msg = take(box, wanted, late);
    rusmi_lock_give(&box->lock);
    return msg;
}

/* Free the replies from the last mark on: what lies before it was looked at then. */
static void drop_late(struct rusmi_mailbox *box, uint64_t *late)
{
    struct rusm_msg **at = box->mark;

    while (*at != NULL) {
        struct rusm_msg *msg = *at;

        if (msg->kind == RUSM_MSG_REPLY) {
            unlink_msg(box, at);
            rusm_msg_del(msg);
            *late += 1;
        } else {
            at = &msg->next;
        }
    }
}

uint64_t rusmi_mailbox_mark(struct rusmi_mailbox *box, uint64_t *late)
{
    bool locked = is_locked(box);

    if (locked) {
        rusmi_lock_take(&box->lock);
    }
    collect(box);
    drop_late(box, late);
    box->mark = box->last;
    box->mark_number++;
    if (locked) {
        rusmi_lock_give(&box->lock);
    }
    return box->mark_number;
}

/* Free a list of messages; returns how many there were. */
static uint64_t free_list(struct rusmi_mailbox *box, struct rusm_msg *msg)
{
    bool bounded = bound_of(box) != 0;
    uint64_t freed = 0;

    while (msg != NULL) {
        struct rusm_msg *next = msg->next;

        if (bounded && is_bounded(msg)) {
            (void)atomic_fetch_sub_explicit(&box->room, 1, memory_order_relaxed); /* a count */
        }
        rusm_msg_del(msg);
        msg = next;
        freed++;
    }
    return freed;
}

uint64_t rusmi_mailbox_close(struct rusmi_mailbox *box)
{
    bool locked = is_locked(box);
    struct rusm_msg *pushed, *inbox;
    uint64_t generation, stacked, freed;

    if (locked) {
        rusmi_lock_take(&box->lock);
    }
    /* relaxed: only the owner changes the generation */
    generation = (atomic_load_explicit(&box->head, memory_order_relaxed) & GENERATION_MASK) + 1;
    /* acq_rel: takes the last messages; a late sender's exchange fails on the new word */
    pushed =
        unpack(atomic_exchange_explicit(&box->head, pack(NULL, generation), memory_order_acq_rel));
    inbox = box->first;
    box->first = NULL;
    box->last = box->mark = box->seen = &box->first;
    box->mark_number++;
    if (locked) {
        rusmi_lock_give(&box->lock);
    }
    stacked = free_list(box, pushed);
    freed = stacked + free_list(box, inbox);
    if (bound_of(box) != 0) {
        rusmi_mailbox_bound(box, 0, RUSM_MAILBOX_REFUSE);
    }
    /* relaxed, all: counts. Those that were pushed and never collected leave `more` again; a push
     * that is counted late finds its place there. */
    atomic_store_explicit(&box->inbox_len, 0, memory_order_relaxed);
    atomic_store_explicit(&box->dropped, 0, memory_order_relaxed);
    if (stacked > 1) {
        (void)atomic_fetch_sub_explicit(&box->more, (int64_t)stacked - 1, memory_order_relaxed);
    }
    return freed;
}

uint64_t rusmi_mailbox_depth(const struct rusmi_mailbox *box)
{
    /* relaxed, all: counts */
    int64_t depth = (int64_t)atomic_load_explicit(&box->inbox_len, memory_order_relaxed) +
                    atomic_load_explicit(&box->more, memory_order_relaxed) +
                    (unpack(atomic_load_explicit(&box->head, memory_order_relaxed)) != NULL);

    return depth > 0 ? (uint64_t)depth : 0;
}
