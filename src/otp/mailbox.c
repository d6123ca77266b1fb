/* SPDX-License-Identifier: MIT */
#include "otp/mailbox_inline.h"

#include "base/assert.h"

#include <stdint.h>

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
    case RUSM_MSG_NODE_UP:
    case RUSM_MSG_NODE_DOWN:
    case RUSM_MSG_NAME_CONFLICT:
        return false;
    }
    return false;
}

void rusmi_mailbox_open(struct rusmi_mailbox *box)
{
    box->first = NULL;
    box->last = box->mark = box->seen = &box->first;
    rusmi_lock_init(&box->lock);
}

void rusmi_mailbox_bound(struct rusmi_mailbox *box, size_t max, rusm_mailbox_policy policy)
{
    /* relaxed: see rusmi_box_bound() */
    atomic_store_explicit(&box->policy, (uint8_t)policy, memory_order_relaxed);
    atomic_store_explicit(&box->max, max > UINT32_MAX ? UINT32_MAX : (uint32_t)max,
                          memory_order_relaxed);
}

void rusmi_mailbox_collect(struct rusmi_mailbox *box)
{
    if (!rusmi_box_is_locked(box)) {
        rusmi_box_collect(box);
        return;
    }
    rusmi_lock_take(&box->lock);
    rusmi_box_collect(box);
    rusmi_lock_give(&box->lock);
}

bool rusmi_mailbox_notify(struct rusmi_mailbox *box)
{
    uint64_t word = atomic_load(&box->head);

    for (;;) {
        uint64_t generation = word & RUSMI_BOX_MASK;

        if (rusmi_box_is_waiting(word)) {
            if (atomic_compare_exchange_weak(&box->head, &word, generation)) {
                return true;
            }
        } else if ((word & ~RUSMI_BOX_MASK) != 0) {
            return false; /* it will collect, and look at everything afterwards */
        } else if (atomic_compare_exchange_weak(&box->head, &word,
                                                generation | RUSMI_BOX_NOTIFIED)) {
            return false;
        }
    }
}

bool rusmi_mailbox_wait(struct rusmi_mailbox *box)
{
    return rusmi_box_wait(box);
}

bool rusmi_mailbox_unwait(struct rusmi_mailbox *box)
{
    /* relaxed: only the owner changes the generation; the exchange checks the rest */
    uint64_t generation = atomic_load_explicit(&box->head, memory_order_relaxed) & RUSMI_BOX_MASK;
    uint64_t word = generation | RUSMI_BOX_WAITING;

    return atomic_compare_exchange_strong(&box->head, &word, generation);
}

bool rusmi_mailbox_claim(struct rusmi_mailbox *box)
{
    uint64_t word = atomic_load(&box->head);

    while (rusmi_box_is_waiting(word)) {
        if (atomic_compare_exchange_weak(&box->head, &word, word & RUSMI_BOX_MASK)) {
            return true;
        }
    }
    return false;
}

bool rusmi_mailbox_waits(const struct rusmi_mailbox *box)
{
    return rusmi_box_is_waiting(atomic_load(&box->head));
}

/* A message leaves the mailbox. */
static void leave(struct rusmi_mailbox *box, struct rusm_msg *msg)
{
    if ((msg->flags & RUSMI_MSG_FAR) != 0) {
        msg->flags &= ~(unsigned)RUSMI_MSG_FAR & 15u;
        /* relaxed: a count */
        (void)atomic_fetch_sub_explicit(&box->far_bytes, rusmi_msg_far_bytes(msg),
                                        memory_order_relaxed);
    }
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
    leave(box, msg);
    if (rusmi_box_bound(box) != 0 && is_bounded(msg)) {
        (void)atomic_fetch_sub_explicit(&box->room, 1, memory_order_relaxed); /* a count */
    }
    rusmi_box_count(box, (uint64_t)-1);
}

/* The owner may be about to wait: it must not take the empty stack for a sign that there is nothing
 * new. */
static void collect_for_owner(struct rusmi_mailbox *box, uint64_t generation)
{
    uint64_t word = atomic_load(&box->head);

    while (rusmi_box_unpack(word) != NULL) {
        if (atomic_compare_exchange_weak(&box->head, &word, generation | RUSMI_BOX_NOTIFIED)) {
            rusmi_box_append(box, rusmi_box_unpack(word));
            return;
        }
    }
}

/* In place of the owner: make room by dropping the oldest message. */
static enum rusmi_push drop_oldest(struct rusmi_mailbox *box, uint64_t generation)
{
    enum rusmi_push result = RUSMI_PUSH_GONE;
    bool alive;

    rusmi_lock_take(&box->lock);
    /* relaxed: it changes under this lock only */
    alive = (atomic_load_explicit(&box->head, memory_order_relaxed) & RUSMI_BOX_MASK) == generation;
    if (alive) {
        struct rusm_msg **at = &box->first;

        result = RUSMI_PUSHED; /* others may have taken it out already */
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
            result = RUSMI_PUSHED_OVER;
        }
    }
    rusmi_lock_give(&box->lock);
    return result;
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
    if (policy == RUSM_MAILBOX_DROP_OLDEST) {
        enum rusmi_push result = drop_oldest(box, generation);

        if (result == RUSMI_PUSH_GONE) {
            (void)atomic_fetch_sub_explicit(&box->room, 1, memory_order_relaxed);
        }
        return result;
    }
    (void)atomic_fetch_sub_explicit(&box->room, 1, memory_order_relaxed);
    (void)atomic_fetch_add_explicit(&box->dropped, 1, memory_order_relaxed);
    return policy == RUSM_MAILBOX_REFUSE ? RUSMI_PUSH_FULL : RUSMI_PUSH_SHED;
}

static enum rusmi_push push_bounded(struct rusmi_mailbox *box, uint64_t generation,
                                    struct rusm_msg *msg, uint32_t max)
{
    enum rusmi_push room, result;

    /* relaxed: a look, so that a dead process's mailbox does not count what it was sent */
    if ((atomic_load_explicit(&box->head, memory_order_relaxed) & RUSMI_BOX_MASK) != generation) {
        return RUSMI_PUSH_GONE;
    }
    room = reserve(box, generation, max);
    if (room == RUSMI_PUSH_SHED) {
        rusm_msg_del(msg);
    }
    if (room != RUSMI_PUSHED && room != RUSMI_PUSHED_OVER) {
        return room;
    }
    result = rusmi_box_push(box, generation, msg, rusmi_box_is_locked(box));
    if (result == RUSMI_PUSH_GONE) {
        (void)atomic_fetch_sub_explicit(&box->room, 1, memory_order_relaxed); /* relaxed: a count */
    } else if (room == RUSMI_PUSHED_OVER) {
        result = result == RUSMI_PUSHED_WAKE ? RUSMI_PUSHED_OVER_WAKE : RUSMI_PUSHED_OVER;
    }
    return result;
}

enum rusmi_push rusmi_mailbox_push(struct rusmi_mailbox *box, uint64_t generation,
                                   struct rusm_msg *msg)
{
    uint32_t max = rusmi_box_bound(box);

    return max != 0 && is_bounded(msg)
               ? push_bounded(box, generation, msg, max)
               : rusmi_box_push(box, generation, msg, rusmi_box_is_locked(box));
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

    if (!rusmi_box_is_locked(box)) {
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
    bool locked = rusmi_box_is_locked(box);

    if (locked) {
        rusmi_lock_take(&box->lock);
    }
    rusmi_box_collect(box);
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
    bool bounded = rusmi_box_bound(box) != 0;
    uint64_t freed = 0;

    while (msg != NULL) {
        struct rusm_msg *next = msg->next;

        if (bounded && is_bounded(msg)) {
            (void)atomic_fetch_sub_explicit(&box->room, 1, memory_order_relaxed); /* a count */
        }
        leave(box, msg);
        rusm_msg_del(msg);
        msg = next;
        freed++;
    }
    return freed;
}

uint64_t rusmi_mailbox_close(struct rusmi_mailbox *box)
{
    bool locked = rusmi_box_is_locked(box);
    struct rusm_msg *pushed, *inbox;
    uint64_t generation, stacked, freed;

    if (locked) {
        rusmi_lock_take(&box->lock);
    }
    /* relaxed: only the owner changes the generation */
    generation = (atomic_load_explicit(&box->head, memory_order_relaxed) & RUSMI_BOX_MASK) + 1;
    /* acq_rel: takes the last messages; a late sender's exchange fails on the new word */
    pushed = rusmi_box_unpack(atomic_exchange_explicit(&box->head, rusmi_box_pack(NULL, generation),
                                                       memory_order_acq_rel));
    inbox = box->first;
    box->first = NULL;
    box->last = box->mark = box->seen = &box->first;
    box->mark_number++;
    if (locked) {
        rusmi_lock_give(&box->lock);
    }
    stacked = free_list(box, pushed);
    freed = stacked + free_list(box, inbox);
    if (rusmi_box_bound(box) != 0) {
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
    int64_t depth =
        (int64_t)atomic_load_explicit(&box->inbox_len, memory_order_relaxed) +
        atomic_load_explicit(&box->more, memory_order_relaxed) +
        (rusmi_box_unpack(atomic_load_explicit(&box->head, memory_order_relaxed)) != NULL);

    return depth > 0 ? (uint64_t)depth : 0;
}
