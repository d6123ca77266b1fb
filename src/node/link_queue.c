/* SPDX-License-Identifier: MIT */
/*
 * The queue in front of a link: senders of any thread on one side, the link's owner on the other.
 * Bounded in bytes, which count until the message starts: here, and in the outbox, to which the
 * owner passes on everything at once. A sender that finds it full, or its destination crowded,
 * waits outside the lock and tries again.
 *
 * Big messages have a room of their own, of the same size: who sends small ones does not wait for
 * theirs.
 */
#include "node/link.h"

#include "base/assert.h"
#include "base/mem.h"

#include <string.h>

/*
 * A crowded destination slows a sender to one message in that time; it never stops it for good, so
 * that two processes which flood each other and read nothing get slow instead of stuck
 * (docs/design/flow.md).
 */
#define BUSY_WAIT_MS 100

size_t rusmi_busy_key(uint8_t key[RUSMI_BUSY_KEY_MAX], uint64_t serial, const char *name,
                      size_t name_len)
{
    if (name == NULL) {
        key[0] = 'p';
        memcpy(key + 1, &serial, sizeof(serial));
        return 1 + sizeof(serial);
    }
    key[0] = 's';
    memcpy(key + 1, name, name_len);
    return 1 + name_len;
}

/* Wake everybody on a list of blocked senders; each takes itself off. Under link->lock. */
static void wake_all(struct rusmi_list *list)
{
    struct rusmi_list *node;

    while ((node = rusmi_list_pop(list)) != NULL) {
        rusm_waiter_wake(rusmi_container(node, struct rusmi_blocked, node)->waiter);
    }
}

/*
 * Wait on list for at most timeout_ms; under link->lock, which is given up meanwhile. Time passing
 * is no error: the caller looks again.
 */
static rusm_err block(struct rusmi_link *link, struct rusmi_list *list, int64_t timeout_ms)
{
    struct rusmi_blocked blocked;
    rusm_err err = rusm_waiter_new(&blocked.waiter);

    if (err != RUSM_OK) {
        return err;
    }
    rusmi_list_init(&blocked.node);
    rusmi_list_push(list, &blocked.node);
    rusmi_lock_give(&link->lock);
    err = rusm_waiter_wait(blocked.waiter, timeout_ms);
    rusmi_lock_take(&link->lock);
    rusmi_list_remove(&blocked.node);
    rusm_waiter_drop(blocked.waiter);
    return err == RUSM_ETIMEOUT ? RUSM_OK : err;
}

static bool is_big(const struct rusmi_out *out)
{
    return rusmi_out_len(out) > RUSMI_BIG_MIN;
}

static size_t out_cost(const struct rusmi_out *out)
{
    return rusmi_out_len(out) + RUSMI_QUEUE_OVERHEAD;
}

/* What has not started, of that kind. Under link->lock. */
static size_t waiting(const struct rusmi_link *link, bool big)
{
    return big ? link->queue_big + link->outbox_big : link->queue_bytes + link->outbox_bytes;
}

size_t rusmi_link_queued(struct rusmi_link *link)
{
    size_t bytes;

    rusmi_lock_take(&link->lock);
    bytes = waiting(link, false) + waiting(link, true);
    rusmi_lock_give(&link->lock);
    return bytes;
}

/* Under link->lock, with room or not; it is paid for. */
static void enqueue(struct rusmi_link *link, struct rusmi_out *out)
{
    bool first = link->queue_head == NULL;

    out->next = NULL;
    if (first) {
        link->queue_head = out;
    } else {
        link->queue_tail->next = out;
    }
    link->queue_tail = out;
    *(is_big(out) ? &link->queue_big : &link->queue_bytes) += out_cost(out);
    (void)atomic_fetch_add(&link->queue_len, 1);
    /* A queue that was not empty has an owner coming: it was posted for the first message. */
    if (first && link->driver_open) {
        rusm_driver_post(link->driver);
    }
}

/*
 * Signals never wait for room: what a process has ended with is told. A peer that lets
 * signal_bytes_max of them wait does not read; its link is closed, which tells all at once. So is
 * one whose signal the node's budget has no room for.
 */
void rusmi_link_signal(struct rusmi_link *link, struct rusmi_out *out)
{
    bool accepting, taken, full;

    rusmi_lock_take(&link->lock);
    accepting = link->accepting;
    taken = accepting && rusmi_purse_take(&link->out, out_cost(out), RUSMI_BUDGET_MUST);
    if (taken) {
        enqueue(link, out);
    }
    full = accepting && (!taken || waiting(link, false) > link->node->cfg.signal_bytes_max);
    rusmi_lock_give(&link->lock);
    if (!taken) {
        rusmi_out_del(out); /* of a link that ends, which tells what it would have told */
    }
    if (full) {
        rusmi_count(&link->node->counters.closed_slow, 1);
        rusmi_link_close(link, RUSMI_CLOSE_MEMORY, "too many signals wait for the peer", 0);
    }
}

/* What is left of the time; negative: no end. */
static int64_t left_ms(rusm_time until, int64_t timeout_ms)
{
    rusm_time now = timeout_ms < 0 ? 0 : rusm_now();

    return timeout_ms < 0 ? RUSM_INFINITY
           : now >= until ? 0
                          : (int64_t)((until - now) / 1000000 + 1);
}

rusm_err rusmi_link_send(struct rusmi_link *link, struct rusmi_out *out, const uint8_t *busy_key,
                         size_t busy_key_len, int64_t timeout_ms)
{
    size_t bytes = out_cost(out), most = link->node->cfg.queue_bytes_max;
    rusm_time until = timeout_ms <= 0 ? 0 : rusm_now() + (rusm_time)timeout_ms * 1000000;
    rusm_err late = timeout_ms == 0 ? RUSM_EAGAIN : RUSM_ETIMEOUT;
    bool slowed = false, big = is_big(out);
    rusm_err err = RUSM_OK;

#ifdef RUSMI_PLANT_QUEUE
    most = SIZE_MAX;
#endif
    rusmi_lock_take(&link->lock);
    for (;;) {
        int64_t left;

        if (!link->accepting) {
            err = RUSM_ENOLINK;
        } else if (!slowed && link->busy.len != 0 &&
                   rusmi_map_find(&link->busy, busy_key, busy_key_len) != NULL) {
            left = left_ms(until, timeout_ms);
            err = left == 0 ? late
                            : block(link, &link->busy_blocked,
                                    left > 0 && left < BUSY_WAIT_MS ? left : BUSY_WAIT_MS);
            slowed = true;
        } else if (waiting(link, big) != 0 && waiting(link, big) + bytes > most) {
            left = left_ms(until, timeout_ms);
            err = left == 0 ? late : block(link, big ? &link->blocked_big : &link->blocked, left);
        } else if (!rusmi_purse_take(&link->out, bytes, RUSMI_BUDGET_SEND)) {
            rusmi_memory_look(link->node);
            left = left_ms(until, timeout_ms);
            err = left == 0 ? late
                            : block(link, big ? &link->blocked_big : &link->blocked,
                                    left > 0 && left < RUSMI_MEMORY_WAIT_MS ? left
                                                                            : RUSMI_MEMORY_WAIT_MS);
        } else {
            break;
        }
        if (err != RUSM_OK) {
            rusmi_lock_give(&link->lock);
            return err;
        }
    }
    enqueue(link, out);
    rusmi_lock_give(&link->lock);
    return RUSM_OK;
}

void rusmi_link_fill_outbox(struct rusmi_link *link)
{
    struct rusmi_outbox *outbox = &link->outbox;
    size_t big = outbox->queued_big, half = link->node->cfg.queue_bytes_max / 2;
    size_t small = outbox->queued_bytes - big + outbox->queued_count * RUSMI_QUEUE_OVERHEAD;
    struct rusmi_out *out;

    rusmi_memory_settle(link);
    /* outbox_* are the owner's to write, so it may read them without the lock. */
    if (!link->up || !link->boxes ||
        (atomic_load(&link->queue_len) == 0 && link->outbox_bytes == small &&
         link->outbox_big == big)) {
        return;
    }
    rusmi_lock_take(&link->lock);
    rusmi_memory_settle_locked(link);
#ifdef RUSMI_PLANT_BUDGET
    rusmi_purse_give(&link->out, link->queue_bytes + link->queue_big);
#else
    link->owner_charged += link->queue_bytes + link->queue_big;
#endif
    out = link->queue_head;
    link->queue_head = link->queue_tail = NULL;
    link->outbox_bytes = small + link->queue_bytes;
    link->outbox_big = big + link->queue_big;
    link->queue_bytes = link->queue_big = 0;
    atomic_store(&link->queue_len, 0);
    if (link->outbox_bytes <= half) {
        wake_all(&link->blocked);
    }
    if (link->outbox_big <= half) {
        wake_all(&link->blocked_big);
    }
    rusmi_lock_give(&link->lock);
    while (out != NULL) {
        struct rusmi_out *next = out->next;

        rusmi_outbox_push(outbox, out);
        out = next;
    }
}

void rusmi_link_open_queue(struct rusmi_link *link)
{
    rusmi_lock_take(&link->lock);
    link->accepting = !link->close_asked;
    rusmi_lock_give(&link->lock);
}

void rusmi_link_begin(struct rusmi_link *link)
{
    rusmi_lock_take(&link->lock);
    link->up_asked = true;
    atomic_store(&link->attention, 1);
    if (link->driver_open) {
        rusm_driver_post(link->driver);
    }
    rusmi_lock_give(&link->lock);
}

void rusmi_link_shut_queue(struct rusmi_link *link, bool drop_queued)
{
    struct rusmi_out *out = NULL;
    uint64_t dropped = 0;

    rusmi_lock_take(&link->lock);
    link->accepting = false;
    wake_all(&link->blocked);
    wake_all(&link->blocked_big);
    wake_all(&link->busy_blocked);
    if (drop_queued) {
        out = link->queue_head;
        link->queue_head = link->queue_tail = NULL;
        rusmi_purse_give(&link->out, link->queue_bytes + link->queue_big);
        link->queue_bytes = link->queue_big = 0;
        atomic_store(&link->queue_len, 0);
    }
    rusmi_lock_give(&link->lock);
    while (out != NULL) {
        struct rusmi_out *next = out->next;

        rusmi_out_del(out);
        out = next;
        dropped++;
    }
    rusmi_count(&link->node->counters.dropped_link, dropped);
}

/* With its place in the map. */
static size_t busy_cost(size_t key_len)
{
    return sizeof(struct rusmi_busy) + key_len + 64;
}

/* Without memory the sender is not slowed: the mailbox grows, nothing is lost. Under link->lock. */
static void busy_add(struct rusmi_link *link, const uint8_t *key, size_t key_len)
{
    struct rusmi_busy *busy;

    if (!rusmi_purse_take(&link->out, busy_cost(key_len), RUSMI_BUDGET_FAIR)) {
        return;
    }
    busy = rusmi_alloc(sizeof(*busy) + key_len);
    if (busy != NULL) {
        busy->key_len = key_len;
        memcpy(busy->key, key, key_len);
        if (!rusmi_map_insert(&link->busy, &busy->entry, busy->key, key_len)) {
            rusmi_free(busy);
            busy = NULL;
        }
    }
    if (busy == NULL) {
        rusmi_purse_give(&link->out, busy_cost(key_len));
    }
}

void rusmi_link_set_busy(struct rusmi_link *link, const uint8_t *key, size_t key_len, bool on)
{
    struct rusmi_map_entry *entry;

    rusmi_lock_take(&link->lock);
    entry = rusmi_map_find(&link->busy, key, key_len);
    if (on && entry == NULL && link->busy.len < RUSMI_BUSY_MAX) {
        busy_add(link, key, key_len);
    } else if (!on && entry != NULL) {
        rusmi_map_remove(&link->busy, entry);
        rusmi_purse_give(&link->out, busy_cost(key_len));
        rusmi_free(rusmi_container(entry, struct rusmi_busy, entry));
        wake_all(&link->busy_blocked);
    }
    rusmi_lock_give(&link->lock);
}
