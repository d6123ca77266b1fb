/* SPDX-License-Identifier: MIT */
#include "cluster/inbox.h"

#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"

/* What a message costs beside its bytes: the structure and the allocator's share. */
#define MESSAGE_OVERHEAD ((size_t)128)

enum entry_state {
    ENTRY_FREE,
    ENTRY_HEAD,   /* the header is not complete */
    ENTRY_BODY,   /* the body is not complete */
    ENTRY_PARKED, /* whole; its predecessor is not delivered */
    ENTRY_LOST,   /* reset before its header came: any stream below may be its predecessor */
};

/*
 * A message that is unfinished or parked. The pool has one for each stream, so that the order never
 * depends on an allocation; a name and a divided header are kept in place for the same reason. Only
 * entries that were ever needed at once are touched.
 */
struct rusmi_inbox_entry {
    struct rusmi_inbox_entry *next; /* in the list of spare ones, or of waiting ones */
    uint64_t seq;
    struct rusmi_message_head head; /* from ENTRY_BODY on; its name points into bytes */
    rusm_msg *msg;                  /* from ENTRY_BODY on; NULL: dropped or reset */
    uint8_t *body;                  /* where the body goes */
    size_t received;                /* bytes of the stream so far */
    size_t held;                    /* declared bytes; 0 until the header is complete */
    size_t charged;                 /* to the purse, for msg */
    rusm_time wait_until;           /* of a waiting one that was refused; else 0 */
    enum entry_state state;
    bool waits; /* the peer may not send all of it yet */
    uint16_t head_len;
    uint8_t bytes[RUSMI_MESSAGE_HEAD_MAX]; /* the front of the stream */
};

/* What a stream number leads to: pool indices plus one; 0 for none. */
struct rusmi_inbox_slot {
    uint32_t own;    /* the entry of this stream */
    uint32_t waiter; /* the parked entry that this stream holds up */
};

void rusmi_inbox_config_init(struct rusmi_inbox_config *cfg)
{
    *cfg = (struct rusmi_inbox_config){
        .window = RUSMI_LINK_WINDOW,
        .streams_max = RUSMI_LINK_STREAMS,
        .message_max = RUSM_MESSAGE_MAX,
        .stream_first = RUSMI_STREAM_FIRST,
    };
}

rusm_err rusmi_inbox_init(struct rusmi_inbox *ib, const struct rusmi_inbox_config *cfg)
{
    size_t streams = cfg->streams_max;

    /*
     * The pool is megabytes of which few are ever used. It is not cleared: memory that was
     * used before would be touched by that, and cost what it says. An entry is set when it is used.
     */
    rusmi_assert(streams >= 64 && streams < UINT32_MAX && (streams & (streams - 1)) == 0);
    rusmi_assert(cfg->deliver != NULL);
    *ib = (struct rusmi_inbox){
        .delivered = rusmi_zalloc_array(streams / 64, sizeof(uint64_t)),
        .slots = rusmi_zalloc_array(streams, sizeof(struct rusmi_inbox_slot)),
        .pool = rusmi_alloc(streams * sizeof(struct rusmi_inbox_entry)),
        .mask = streams - 1,
        .cfg = *cfg,
    };
    if (ib->delivered == NULL || ib->slots == NULL || ib->pool == NULL) {
        rusmi_inbox_fini(ib);
        return RUSM_ENOMEM;
    }
    return RUSM_OK;
}

void rusmi_inbox_fini(struct rusmi_inbox *ib)
{
    for (size_t i = 0; i < ib->pool_used; i++) {
        rusm_msg_del(ib->pool[i].msg);
    }
    rusmi_free(ib->pool);
    rusmi_free(ib->slots);
    rusmi_free(ib->delivered);
    *ib = (struct rusmi_inbox){0};
}

static rusm_err inbox_fail(struct rusmi_inbox *ib, const char *why)
{
    ib->failed = RUSM_EPROTO;
    ib->why = why;
    return RUSM_EPROTO;
}

static rusm_err inbox_full(struct rusmi_inbox *ib)
{
    ib->failed = RUSM_ENOMEM;
    ib->why = RUSMI_BUDGET_REFUSAL;
    return RUSM_ENOMEM;
}

/* ---- what is held, in the purse ---- */

static bool entry_charge(struct rusmi_inbox *ib, struct rusmi_inbox_entry *entry, size_t len,
                         enum rusmi_budget_need need)
{
    if (!rusmi_purse_take(ib->cfg.purse, len, need)) {
        return false;
    }
    entry->charged += len;
    return true;
}

/* An entry has no message of its own any more. */
static void discharge(struct rusmi_inbox *ib, struct rusmi_inbox_entry *entry)
{
    if (entry->charged != 0) {
        rusmi_purse_give(ib->cfg.purse, entry->charged);
        entry->charged = 0;
    }
}

/* ---- which streams are delivered ---- */

static uint64_t *bit_word(const struct rusmi_inbox *ib, uint64_t seq)
{
    return &ib->delivered[(seq & ib->mask) / 64];
}

static uint64_t bit_of(uint64_t seq)
{
    return (uint64_t)1 << (seq % 64);
}

bool rusmi_inbox_is_delivered(const struct rusmi_inbox *ib, uint64_t seq)
{
    if (seq < ib->watermark) {
        return true;
    }
    return seq - ib->watermark <= ib->mask && (*bit_word(ib, seq) & bit_of(seq)) != 0;
}

/* The watermark takes all set bits along, so each is cleared before its place serves another
 * stream. */
static void mark_delivered(struct rusmi_inbox *ib, uint64_t seq)
{
    if (seq != ib->watermark) {
        *bit_word(ib, seq) |= bit_of(seq);
        return;
    }
    for (;;) {
        uint64_t *word = bit_word(ib, ++ib->watermark);

        if ((*word & bit_of(ib->watermark)) == 0) {
            return;
        }
        *word &= ~bit_of(ib->watermark);
    }
}

static bool predecessor_is_delivered(const struct rusmi_inbox *ib, uint64_t seq, uint64_t prev)
{
    return prev == 0 || rusmi_inbox_is_delivered(ib, seq - prev);
}

/* ---- entries ---- */

static struct rusmi_inbox_slot *slot_of(const struct rusmi_inbox *ib, uint64_t seq)
{
    return &ib->slots[seq & ib->mask];
}

/* The entry of a slot's index; NULL for none. */
static struct rusmi_inbox_entry *entry_at(const struct rusmi_inbox *ib, uint32_t index)
{
    return index == 0 ? NULL : &ib->pool[index - 1];
}

/* NULL: the purse has no room for it, and the inbox has failed. */
static struct rusmi_inbox_entry *entry_add(struct rusmi_inbox *ib, uint64_t seq)
{
    struct rusmi_inbox_entry *entry = ib->spare;

    if (entry != NULL) {
        ib->spare = entry->next;
    } else {
        /* At most one for each stream above the watermark, so the pool is never short. Its memory
         * stays with the link, and so does the charge. */
        rusmi_assert(ib->pool_used <= ib->mask);
        if (!rusmi_purse_take(ib->cfg.purse, sizeof(*entry), RUSMI_BUDGET_FAIR)) {
            (void)inbox_full(ib);
            return NULL;
        }
        entry = &ib->pool[ib->pool_used++];
    }
    entry->seq = seq;
    entry->msg = NULL;
    entry->body = NULL;
    entry->received = entry->held = entry->charged = 0;
    entry->wait_until = 0;
    entry->waits = false;
    entry->head_len = 0;
    entry->state = ENTRY_HEAD;
    slot_of(ib, seq)->own = (uint32_t)(entry - ib->pool) + 1;
    ib->unfinished_count++;
    return entry;
}

/* Give back an entry whose message is no longer its own. */
static void entry_remove(struct rusmi_inbox *ib, struct rusmi_inbox_entry *entry)
{
    if (entry->state == ENTRY_PARKED) {
        ib->parked_count--;
    } else if (entry->state == ENTRY_LOST) {
        ib->lost_count--;
    } else {
        ib->unfinished_count--;
    }
    rusmi_assert(!entry->waits);
    ib->held_bytes -= entry->held;
    discharge(ib, entry);
    slot_of(ib, entry->seq)->own = 0;
    entry->msg = NULL;
    entry->state = ENTRY_FREE;
    entry->next = ib->spare;
    ib->spare = entry;
}

/* The message of an entry goes out (or nothing, if it was dropped), and its credit back. */
static void entry_deliver(struct rusmi_inbox *ib, struct rusmi_inbox_entry *entry)
{
    ib->credit += entry->received;
#ifdef RUSMI_PLANT_LOSS
    if (entry->seq % 64 == 33) {
        rusm_msg_del(entry->msg);
        entry->msg = NULL;
    }
#endif
    if (entry->msg != NULL) {
        ib->delivered_count++;
#ifdef RUSMI_PLANT_TWICE
        rusm_msg *again;

        if (entry->seq % 64 == 33 && rusm_msg_new(&again, rusm_msg_len(entry->msg)) == RUSM_OK) {
            memcpy(rusm_msg_data(again), rusm_msg_data(entry->msg), rusm_msg_len(again));
            ib->cfg.deliver(ib->cfg.arg, &entry->head, again);
        }
#endif
        ib->cfg.deliver(ib->cfg.arg, &entry->head, entry->msg);
    }
    entry_remove(ib, entry);
}

/* Whether the lowest stream that is not delivered is one that waits for just that. */
static bool watermark_is_lost(const struct rusmi_inbox *ib)
{
    const struct rusmi_inbox_entry *entry;

    if (ib->lost_count == 0) {
        return false;
    }
    entry = entry_at(ib, slot_of(ib, ib->watermark)->own);
    return entry != NULL && entry->state == ENTRY_LOST;
}

/* Stream seq is delivered: so is what it held up, and what that held up. A loop, since a chain may
 * be as long as the window. */
static void finish(struct rusmi_inbox *ib, uint64_t seq)
{
    for (;;) {
        struct rusmi_inbox_slot *slot = slot_of(ib, seq);
        struct rusmi_inbox_entry *entry;

        mark_delivered(ib, seq);
        if (ib->parked_count > 0 && slot->waiter != 0) {
            entry = entry_at(ib, slot->waiter);
            slot->waiter = 0;
        } else if (watermark_is_lost(ib)) {
            entry = entry_at(ib, slot_of(ib, ib->watermark)->own);
        } else {
            return;
        }
        seq = entry->seq;
        entry_deliver(ib, entry);
    }
}

/* An entry has all it will ever have: out with it, or park it. */
static rusm_err entry_complete(struct rusmi_inbox *ib, struct rusmi_inbox_entry *entry)
{
    uint64_t seq = entry->seq;
    struct rusmi_inbox_slot *before;

#ifdef RUSMI_PLANT_ORDER
    entry->head.prev = 0;
#endif
    if (predecessor_is_delivered(ib, seq, entry->head.prev)) {
        entry_deliver(ib, entry);
        finish(ib, seq);
        return RUSM_OK;
    }
    before = slot_of(ib, seq - entry->head.prev);
    if (before->waiter != 0) {
        return inbox_fail(ib, "two messages name the same predecessor");
    }
    before->waiter = slot_of(ib, seq)->own;
    entry->state = ENTRY_PARKED;
#ifdef RUSMI_PLANT_CREDIT
    ib->credit += entry->received;
#endif
    ib->unfinished_count--;
    ib->parked_count++;
    ib->parked_total++;
    return RUSM_OK;
}

/* ---- bytes ---- */

/* What a decoded header must be beside well formed. */
static rusm_err head_check(struct rusmi_inbox *ib, uint64_t seq,
                           const struct rusmi_message_head *head)
{
    if (head->prev > seq) {
        return inbox_fail(ib, "a message names a predecessor before the first stream");
    }
    if (head->body_len > ib->cfg.message_max) {
        return inbox_fail(ib, "a message is larger than the limit");
    }
    return RUSM_OK;
}

/* Whether a process that does not get the message is no worse off than when its mailbox is full. */
static bool may_drop(uint8_t kind)
{
    return kind == RUSMI_MESSAGE_TO_SERIAL || kind == RUSMI_MESSAGE_TO_NAME ||
           kind == RUSMI_MESSAGE_TO_GROUP || kind == RUSMI_MESSAGE_CALL ||
           kind == RUSMI_MESSAGE_CAST || kind == RUSMI_MESSAGE_REPLY;
}

/* What is charged for a message when it begins: all of it, or what the peer may send of it. */
static size_t first_charge(const struct rusmi_inbox *ib, const struct rusmi_inbox_entry *entry)
{
    size_t body = entry->head.body_len;

    return MESSAGE_OVERHEAD +
           (entry->waits && body > ib->cfg.stream_first ? ib->cfg.stream_first : body);
}

/* The message of an entry is no longer wanted: what comes of it is thrown away. */
static void entry_drop(struct rusmi_inbox *ib, struct rusmi_inbox_entry *entry)
{
    rusm_msg_del(entry->msg);
    entry->msg = NULL;
    discharge(ib, entry);
}

/* ---- long messages ---- */

static void waiting_push(struct rusmi_inbox *ib, struct rusmi_inbox_entry *entry)
{
    entry->waits = true;
    ib->waiting_bytes += entry->held - ib->cfg.stream_first;
    entry->next = NULL;
    if (ib->waiting_first == NULL) {
        ib->waiting_first = entry;
    } else {
        ib->waiting_last->next = entry;
    }
    ib->waiting_last = entry;
}

static void waiting_remove(struct rusmi_inbox *ib, struct rusmi_inbox_entry *entry)
{
    struct rusmi_inbox_entry **at = &ib->waiting_first, *before = NULL;

    while (*at != entry) {
        before = *at;
        at = &before->next;
    }
    *at = entry->next;
    if (ib->waiting_last == entry) {
        ib->waiting_last = before;
    }
    ib->waiting_bytes -= entry->held - ib->cfg.stream_first;
    entry->waits = false;
}

/* Whether the rest of a message that waits may come. */
static bool may_come(struct rusmi_inbox *ib, struct rusmi_inbox_entry *entry, rusm_time now)
{
    size_t rest = MESSAGE_OVERHEAD + (size_t)entry->head.body_len - first_charge(ib, entry);

    if (entry->msg == NULL || entry_charge(ib, entry, rest, RUSMI_BUDGET_BODY)) {
        return true;
    }
    if (entry->wait_until == 0) {
        entry->wait_until = now + RUSMI_INBOX_WAIT_NS;
    }
    if (now < entry->wait_until) {
        return false;
    }
    if (may_drop(entry->head.kind)) {
        entry_drop(ib, entry);
        ib->dropped_nomem_count++;
        return true;
    }
    if (entry_charge(ib, entry, rest, RUSMI_BUDGET_MUST)) {
        return true;
    }
    (void)inbox_full(ib);
    return false;
}

bool rusmi_inbox_next_grant(struct rusmi_inbox *ib, rusm_time now, uint64_t *out_seq)
{
    struct rusmi_inbox_entry *entry = ib->waiting_first;

    if (entry == NULL || ib->failed != RUSM_OK || !may_come(ib, entry, now)) {
        return false;
    }
    waiting_remove(ib, entry);
    *out_seq = entry->seq;
    return true;
}

/* ---- bytes, taken up again ---- */

/* The header of an entry is complete: take on its body, if it may be held at all. */
static rusm_err entry_begin_body(struct rusmi_inbox *ib, struct rusmi_inbox_entry *entry)
{
    size_t held = entry->head_len + (size_t)entry->head.body_len;
    rusm_err err = head_check(ib, entry->seq, &entry->head);

    if (err != RUSM_OK) {
        return err;
    }
    if (held > ib->cfg.window - ib->held_bytes) {
        return inbox_fail(ib, "more messages are begun than the window covers");
    }
    entry->held = held;
    ib->held_bytes += held;
    entry->state = ENTRY_BODY;
    if (held > ib->cfg.stream_first) {
        waiting_push(ib, entry);
    }
    if (!entry_charge(ib, entry, first_charge(ib, entry),
                      may_drop(entry->head.kind) ? RUSMI_BUDGET_BODY : RUSMI_BUDGET_MUST)) {
        if (!may_drop(entry->head.kind)) {
            return inbox_full(ib);
        }
        ib->dropped_nomem_count++;
    } else if (rusm_msg_new(&entry->msg, entry->head.body_len) != RUSM_OK) {
        discharge(ib, entry);
        entry->msg = NULL;
        ib->dropped_nomem_count++;
    } else {
        entry->body = rusm_msg_data(entry->msg);
    }
    return RUSM_OK;
}

/* Bytes for an entry whose header is not complete. *used is how many of them the header took. */
static rusm_err entry_feed_head(struct rusmi_inbox *ib, struct rusmi_inbox_entry *entry,
                                const uint8_t *data, size_t len, size_t *used)
{
    size_t room = sizeof(entry->bytes) - entry->received;
    size_t copied = len < room ? len : room;
    const char *why;
    ptrdiff_t head_len;

    memcpy(entry->bytes + entry->received, data, copied);
    head_len =
        rusmi_message_head_decode(entry->bytes, entry->received + copied, &entry->head, &why);
    if (head_len < 0) {
        return inbox_fail(ib, why);
    }
    if (head_len == 0) {
        /* No valid header is longer than bytes, so all of data was copied. */
        rusmi_assert(copied == len);
        *used = len;
    } else {
        entry->head_len = (uint16_t)head_len;
        *used = (size_t)head_len - entry->received;
    }
    entry->received += *used;
    return head_len == 0 ? RUSM_OK : entry_begin_body(ib, entry);
}

static rusm_err entry_feed(struct rusmi_inbox *ib, struct rusmi_inbox_entry *entry,
                           const uint8_t *data, size_t len, bool fin)
{
    if (entry->state == ENTRY_HEAD) {
        size_t used = 0;
        rusm_err err = entry_feed_head(ib, entry, data, len, &used);

        if (err != RUSM_OK) {
            return err;
        }
        if (entry->state == ENTRY_HEAD) {
            return fin ? inbox_fail(ib, "a message ends within its header") : RUSM_OK;
        }
        data += used;
        len -= used;
    }
    if (len > entry->held - entry->received) {
        return inbox_fail(ib, "a message is longer than its header says");
    }
    if (entry->waits && entry->received + len > ib->cfg.stream_first) {
        return inbox_fail(ib, "more of a stream came than was allowed");
    }
    if (entry->msg != NULL) {
        memcpy(entry->body + (entry->received - entry->head_len), data, len);
    }
    entry->received += len;
    if (!fin) {
        return RUSM_OK;
    }
    if (entry->received < entry->held) {
        return inbox_fail(ib, "a message is shorter than its header says");
    }
    return entry_complete(ib, entry);
}

/*
 * A whole message in one piece, as nearly all are: no entry, if it need not wait.
 */
static rusm_err feed_whole(struct rusmi_inbox *ib, uint64_t seq, const uint8_t *data, size_t len)
{
    struct rusmi_message_head head;
    const char *why;
    ptrdiff_t head_len = rusmi_message_head_decode(data, len, &head, &why);
    rusm_msg *msg;

    if (head_len <= 0 || len - (size_t)head_len != head.body_len || head.prev > seq ||
        head.body_len > ib->cfg.message_max || len > ib->cfg.window - ib->held_bytes ||
        !predecessor_is_delivered(ib, seq, head.prev)) {
        struct rusmi_inbox_entry *entry = entry_add(ib, seq);

        return entry == NULL ? ib->failed : entry_feed(ib, entry, data, len, true);
    }
    ib->credit += len;
    if (rusm_msg_new(&msg, head.body_len) == RUSM_OK) {
        memcpy(rusm_msg_data(msg), data + head_len, head.body_len);
        ib->delivered_count++;
        ib->cfg.deliver(ib->cfg.arg, &head, msg);
    } else {
        ib->dropped_nomem_count++;
    }
    finish(ib, seq);
    return RUSM_OK;
}

rusm_err rusmi_inbox_data(struct rusmi_inbox *ib, uint64_t seq, uint64_t offset, const void *data,
                          size_t len, bool fin)
{
    static const uint8_t nothing[1];
    struct rusmi_inbox_entry *entry;

    if (len == 0) {
        data = nothing; /* the end of a stream alone may come with NULL */
    }
    if (ib->failed != RUSM_OK) {
        return ib->failed;
    }
    if (rusmi_inbox_is_delivered(ib, seq)) {
        return inbox_fail(ib, "a stream goes on after its end");
    }
    if (seq - ib->watermark > ib->mask) {
        return inbox_fail(ib, "a stream is above the limit");
    }
    entry = entry_at(ib, slot_of(ib, seq)->own);
    if (offset != (entry == NULL ? 0 : entry->received)) {
        return inbox_fail(ib, "bytes of a stream are missing or come twice");
    }
    if (entry == NULL) {
        if (fin) {
            return feed_whole(ib, seq, data, len);
        }
        if (len == 0) {
            return RUSM_OK;
        }
        entry = entry_add(ib, seq);
        if (entry == NULL) {
            return ib->failed;
        }
    } else if (entry->state == ENTRY_PARKED || entry->state == ENTRY_LOST) {
        return inbox_fail(ib, "a stream goes on after its end");
    }
    return entry_feed(ib, entry, data, len, fin);
}

rusm_err rusmi_inbox_reset(struct rusmi_inbox *ib, uint64_t seq)
{
    struct rusmi_inbox_entry *entry;
    bool head_known;

    if (ib->failed != RUSM_OK) {
        return ib->failed;
    }
    if (rusmi_inbox_is_delivered(ib, seq)) {
        return RUSM_OK;
    }
    if (seq - ib->watermark > ib->mask) {
        return inbox_fail(ib, "a stream is above the limit");
    }
    entry = entry_at(ib, slot_of(ib, seq)->own);
    if (entry == NULL) {
        entry = entry_add(ib, seq);
        if (entry == NULL) {
            return ib->failed;
        }
    } else if (entry->state == ENTRY_PARKED || entry->state == ENTRY_LOST) {
        return RUSM_OK; /* it was whole before, or reset before */
    }
    ib->reset_count++;
    head_known = entry->state == ENTRY_BODY;
    if (entry->waits) {
        waiting_remove(ib, entry);
    }
    entry_drop(ib, entry);
    ib->credit += entry->received;
    ib->held_bytes -= entry->held;
    entry->held = entry->received = 0;
    /* It keeps its place in the order: what follows it must not overtake what precedes it. */
    if (head_known) {
        return entry_complete(ib, entry);
    }
    entry->state = ENTRY_LOST;
    ib->unfinished_count--;
    ib->lost_count++;
    if (seq == ib->watermark) {
        entry_deliver(ib, entry);
        finish(ib, seq);
    }
    return RUSM_OK;
}

void rusmi_inbox_take_credit(struct rusmi_inbox *ib, uint64_t *out_bytes, uint64_t *out_streams)
{
    bool wait = ib->unfinished_count + ib->parked_count + ib->lost_count != 0 &&
                rusmi_purse_is_tight(ib->cfg.purse);

    *out_bytes = wait ? 0 : ib->credit;
    *out_streams = ib->watermark - ib->granted;
    ib->credit -= (size_t)*out_bytes;
    ib->granted = ib->watermark;
}
