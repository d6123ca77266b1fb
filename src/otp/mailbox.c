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

void rusmi_mailbox_open(struct rusmi_mailbox *box)
{
    box->first = NULL;
    box->last = &box->first;
}

uint64_t rusmi_mailbox_life(uint64_t serial)
{
    return (serial >> 32) & GENERATION_MASK;
}

bool rusmi_mailbox_push(struct rusmi_mailbox *box, uint64_t generation, struct rusm_msg *msg,
                        bool *out_first, uint64_t *out_depth)
{
    uint64_t word =
        atomic_load_explicit(&box->head, memory_order_relaxed); /* the exchange below checks it */
    uint64_t pushed;

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
    /* relaxed: a count */
    pushed = atomic_fetch_add_explicit(&box->pushed, 1, memory_order_relaxed) + 1;
    *out_depth = pushed - atomic_load_explicit(&box->taken, memory_order_relaxed);
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

bool rusmi_mailbox_has_new(const struct rusmi_mailbox *box)
{
    /* seq_cst: the look between "about to suspend" and suspending, see process.h */
    return unpack(atomic_load(&box->head)) != NULL;
}

static void unlink_msg(struct rusmi_mailbox *box, struct rusm_msg **at)
{
    struct rusm_msg *msg = *at;

    *at = msg->next;
    if (box->last == &msg->next) {
        box->last = at;
    }
    msg->next = NULL;
    /* relaxed: a count that only the owner writes */
    atomic_store_explicit(&box->taken, atomic_load_explicit(&box->taken, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

struct rusm_msg *rusmi_mailbox_take(struct rusmi_mailbox *box, rusm_match_fn match, void *arg)
{
    struct rusm_msg **at = &box->first;
    bool collected = false;

    for (;;) {
        struct rusm_msg *msg = *at;

        if (msg == NULL) {
            if (collected) {
                return NULL;
            }
            collected = true;
            collect(box);
            continue;
        }
        if (match == NULL || match(msg, arg)) {
            unlink_msg(box, at);
            return msg;
        }
        at = &msg->next;
    }
}

uint64_t rusmi_mailbox_close(struct rusmi_mailbox *box)
{
    /* relaxed: only the owner changes the generation */
    uint64_t generation =
        (atomic_load_explicit(&box->head, memory_order_relaxed) & GENERATION_MASK) + 1;
    /* acq_rel: takes the last messages; a late sender's exchange fails on the new word */
    struct rusm_msg *msg =
        unpack(atomic_exchange_explicit(&box->head, pack(NULL, generation), memory_order_acq_rel));
    uint64_t freed = 0;

    for (int list = 0; list < 2; list++) {
        while (msg != NULL) {
            struct rusm_msg *next = msg->next;

            rusm_msg_del(msg);
            msg = next;
            freed++;
        }
        msg = box->first;
        box->first = NULL;
    }
    box->last = &box->first;
    /* relaxed: nobody pushes between lives; a push that was counted late is counted here too */
    atomic_store_explicit(&box->taken,
                          atomic_load_explicit(&box->taken, memory_order_relaxed) + freed,
                          memory_order_relaxed);
    return freed;
}

uint64_t rusmi_mailbox_depth(const struct rusmi_mailbox *box)
{
    uint64_t taken = atomic_load_explicit(&box->taken, memory_order_relaxed); /* relaxed: counts */
    uint64_t pushed = atomic_load_explicit(&box->pushed, memory_order_relaxed);

    return pushed > taken ? pushed - taken : 0;
}
