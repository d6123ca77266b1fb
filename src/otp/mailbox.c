/* SPDX-License-Identifier: MIT */
#include "otp/mailbox.h"

#include "base/assert.h"

#include <stdint.h>

/* Messages are aligned to 16 bytes and user addresses have 47 bits, so 43 bits name one and 21 are
 * left. */
#define GENERATION_BITS 21
#define GENERATION_MASK (((uint64_t)1 << GENERATION_BITS) - 1)

static struct rusm_msg *unpack(uint64_t word)
{
    return (struct rusm_msg *)(uintptr_t)((word >> GENERATION_BITS) << 4);
}

static uint64_t pack(const struct rusm_msg *msg, uint64_t generation)
{
    uint64_t address = (uint64_t)(uintptr_t)msg;

    rusmi_assert_slow((address & 15) == 0 && address >> 47 == 0);
    return ((address >> 4) << GENERATION_BITS) | (generation & GENERATION_MASK);
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
                                     (uint32_t)RUSM_MAILBOX_DROP_OLDEST;
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
    atomic_store_explicit(&box->policy, (uint32_t)policy, memory_order_relaxed);
    atomic_store_explicit(&box->max, max > UINT32_MAX ? UINT32_MAX : (uint32_t)max,
                          memory_order_relaxed);
}

uint64_t rusmi_mailbox_life(uint64_t serial)
{
    return (serial >> 32) & GENERATION_MASK;
}

/* Put it on the stack; false: the generation is past. */
static bool push(struct rusmi_mailbox *box, uint64_t generation, struct rusm_msg *msg,
                 bool *out_first)
{
    uint64_t word =
        atomic_load_explicit(&box->head, memory_order_relaxed); /* the exchange below checks it */

    do {
        if ((word & GENERATION_MASK) != generation) {
            return false;
        }
        msg->next = unpack(word);
        /* seq_cst on success: the message is visible to whoever takes it, and before the waker
         * looks at the state */
    } while (!atomic_compare_exchange_weak_explicit(&box->head, &word, pack(msg, generation),
                                                    memory_order_seq_cst, memory_order_relaxed));
    *out_first = unpack(word) == NULL;
    return true;
}

/* Move what was pushed to the end of the inbox, oldest first. */
static void collect(struct rusmi_mailbox *box)
{
    uint64_t word = atomic_load_explicit(&box->head, memory_order_relaxed);
    struct rusm_msg *msg, *oldest = NULL, *newest;

    if (unpack(word) == NULL) {
        return;
    }
    /* acquire: pairs with the pushes; only the owner changes the generation, so it may be kept from
     * before */
    word = atomic_exchange_explicit(&box->head, word & GENERATION_MASK, memory_order_acquire);
    newest = unpack(word);
    for (msg = newest; msg != NULL;) {
        struct rusm_msg *next = msg->next;

        msg->next = oldest;
        oldest = msg;
        msg = next;
    }
    *box->last = oldest;
    box->last = &newest->next;
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
    /* relaxed, all: counts */
    if (bound_of(box) != 0 && is_bounded(msg)) {
        (void)atomic_fetch_sub_explicit(&box->room, 1, memory_order_relaxed);
    }
    atomic_store_explicit(&box->taken, atomic_load_explicit(&box->taken, memory_order_relaxed) + 1,
                          memory_order_relaxed);
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

        collect(box);
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
                                    struct rusm_msg *msg, uint32_t max, bool *out_first)
{
    enum rusmi_push room;

    /* relaxed: a look, so that a dead process's mailbox does not count what it was sent */
    if ((atomic_load_explicit(&box->head, memory_order_relaxed) & GENERATION_MASK) != generation) {
        return RUSMI_PUSH_GONE;
    }
    room = reserve(box, generation, max);
    if (room == RUSMI_PUSH_SHED) {
        rusm_msg_del(msg);
    } else if (room == RUSMI_PUSHED && !push(box, generation, msg, out_first)) {
        (void)atomic_fetch_sub_explicit(&box->room, 1, memory_order_relaxed); /* relaxed: a count */
        room = RUSMI_PUSH_GONE;
    }
    return room;
}

enum rusmi_push rusmi_mailbox_push(struct rusmi_mailbox *box, uint64_t generation,
                                   struct rusm_msg *msg, uint64_t *out_depth)
{
    uint32_t max = bound_of(box);
    uint64_t pushed;
    bool first;

    if (max != 0 && is_bounded(msg)) {
        enum rusmi_push result = push_bounded(box, generation, msg, max, &first);

        if (result != RUSMI_PUSHED) {
            return result;
        }
    } else if (!push(box, generation, msg, &first)) {
        return RUSMI_PUSH_GONE;
    }
    /* relaxed: a count */
    pushed = atomic_fetch_add_explicit(&box->pushed, 1, memory_order_relaxed) + 1;
    *out_depth = pushed - atomic_load_explicit(&box->taken, memory_order_relaxed);
    return first ? RUSMI_PUSHED_FIRST : RUSMI_PUSHED;
}

bool rusmi_mailbox_has_new(const struct rusmi_mailbox *box)
{
    /* seq_cst: the look between "about to suspend" and suspending, see process.h */
    return unpack(atomic_load(&box->head)) != NULL;
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
    bool collected = false;

    for (;;) {
        struct rusm_msg *msg = *at;

        if (msg == NULL) {
            if (collected) {
                box->seen = at;
                return NULL;
            }
            collected = true;
            collect(box);
            continue;
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
    uint64_t generation, freed;

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
    freed = free_list(box, pushed) + free_list(box, inbox);
    rusmi_mailbox_bound(box, 0, RUSM_MAILBOX_REFUSE);
    /* relaxed, both: nobody pushes between lives; a push that was counted late is counted here too
     */
    atomic_store_explicit(&box->taken,
                          atomic_load_explicit(&box->taken, memory_order_relaxed) + freed,
                          memory_order_relaxed);
    atomic_store_explicit(&box->dropped, 0, memory_order_relaxed);
    return freed;
}

uint64_t rusmi_mailbox_depth(const struct rusmi_mailbox *box)
{
    uint64_t taken = atomic_load_explicit(&box->taken, memory_order_relaxed); /* relaxed: counts */
    uint64_t pushed = atomic_load_explicit(&box->pushed, memory_order_relaxed);

    return pushed > taken ? pushed - taken : 0;
}
