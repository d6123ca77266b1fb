/* SPDX-License-Identifier: MIT */
#include "cluster/outbox.h"

#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"

/* ---- messages ---- */

/* The finaliser of MurmurHash3: every input bit reaches every output bit. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdu;
    x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53u;
    return x ^ (x >> 33);
}

static uint64_t hash_name(const char *name, size_t len)
{
    uint64_t hash = len, word = 0;

    if (len < sizeof(word)) {
        for (size_t i = 0; i < len; i++) {
            word = word << 8 | (uint8_t)name[i];
        }
    } else {
        for (size_t i = 0; i + sizeof(word) < len; i += sizeof(word)) {
            memcpy(&word, name + i, sizeof(word));
            hash = mix(hash ^ word);
        }
        memcpy(&word, name + len - sizeof(word), sizeof(word));
    }
    /* The complement tells a short name from the serial of the same bits. */
    return ~mix(hash ^ word);
}

/*
 * One word that stands for the pair. If two pairs ever share a word they are kept in order among
 * each other as if they were one: a message may then wait without need, but nothing arrives out of
 * order, is lost or is stuck, since a chain only ever points back. So sender and destination need
 * not be kept and compared.
 */
static uint64_t pair_key(const struct rusmi_message_head *head)
{
    /* A serial is below 2^62, so the complement is no process's. */
    uint64_t to = rusmi_message_of_stream(head->kind)  ? mix(~head->serial)
                  : !rusmi_message_by_name(head->kind) ? mix(head->serial)
                                                       : hash_name(head->name, head->name_len);

#ifdef RUSMI_PLANT_OVERTAKE
    to += head->kind == RUSMI_MESSAGE_DOWN || head->kind == RUSMI_MESSAGE_EXIT;
#endif
    return mix(to + head->sender * 0x9e3779b97f4a7c15u);
}

/* A message with its header tail, and room for copy_len bytes of body behind it. */
static rusm_err out_alloc(struct rusmi_out **out_out, const struct rusmi_message_head *given,
                          size_t body_len, size_t copy_len)
{
    struct rusmi_message_head head;
    struct rusmi_out *out;
    size_t tail_len;
    rusm_err err;

    if (body_len > RUSM_MESSAGE_MAX) {
        return RUSM_EMSGSIZE;
    }
    /* Field by field: a copy in wide pieces would wait for the caller's narrow stores. */
    head.prev = 0;
    head.sender = given->sender;
    head.serial = given->serial;
    head.number = given->number;
    head.name = given->name;
    head.name_len = given->name_len;
    head.kind = given->kind;
    head.body_len = (uint32_t)body_len;
    err = rusmi_message_head_check(&head);
    if (err != RUSM_OK) {
        return err;
    }
    tail_len = rusmi_message_tail_len(&head);
    out = rusmi_alloc(sizeof(*out) + RUSMI_VARINT_LEN_MAX + tail_len + copy_len);
    if (out == NULL) {
        return RUSM_ENOMEM;
    }
    out->next = NULL;
    out->pair = pair_key(&head);
    out->wire = (uint8_t *)(out + 1) + RUSMI_VARINT_LEN_MAX;
    out->wire_len = tail_len + copy_len;
    out->msg = NULL;
    out->msg_len = out->sent = 0;
    out->started = out->aside = false;
    rusmi_message_tail_encode(out->wire, &head);
    *out_out = out;
    return RUSM_OK;
}

rusm_err rusmi_out_new(struct rusmi_out **out_out, const struct rusmi_message_head *head,
                       const void *body, size_t body_len)
{
    struct rusmi_out *out;
    rusm_err err = out_alloc(&out, head, body_len, body_len);

    if (err != RUSM_OK) {
        return err;
    }
    if (body_len > 0) {
        memcpy(out->wire + (out->wire_len - body_len), body, body_len);
    }
    *out_out = out;
    return RUSM_OK;
}

rusm_err rusmi_out_new_msg(struct rusmi_out **out_out, const struct rusmi_message_head *head,
                           rusm_msg *msg)
{
    size_t len = rusm_msg_len(msg);
    rusm_err err = out_alloc(out_out, head, len, 0);

    if (err == RUSM_OK) {
        (*out_out)->msg = msg;
        (*out_out)->msg_len = len;
    }
    return err;
}

void rusmi_out_del_shell(struct rusmi_out *out)
{
    out->msg = NULL;
    rusmi_out_del(out);
}

void rusmi_out_del(struct rusmi_out *out)
{
    if (out != NULL) {
        rusm_msg_del(out->msg);
        rusmi_free(out);
    }
}

size_t rusmi_out_parts(const struct rusmi_out *out, struct rusmi_out_part parts[2])
{
    size_t count = 0, skip = out->sent;

    rusmi_assert(out->started);
    if (skip < out->wire_len) {
        parts[count++] = (struct rusmi_out_part){out->wire + skip, out->wire_len - skip};
        skip = 0;
    } else {
        skip -= out->wire_len;
    }
    if (skip < out->msg_len) {
        const uint8_t *body = rusm_msg_data(out->msg);

        parts[count++] = (struct rusmi_out_part){body + skip, out->msg_len - skip};
    }
    return count;
}

/* ---- the table of pairs ---- */

static bool pair_is_used(const struct rusmi_out_pair *pair)
{
    return pair->unacked != 0 || pair->first != NULL;
}

/* Multiply-shift hashing: with a secret odd multiplier no choice of keys crowds one corner (M.
 * Dietzfelbinger et al., 1997). */
static size_t pair_home(const struct rusmi_outbox *ob, uint64_t key)
{
    return (size_t)((key * ob->multiplier) >> ob->pairs_shift);
}

/* The slot of a pair, or the free one where it belongs. The pointer holds until a pair is forgotten
 * or added. */
static struct rusmi_out_pair *pair_find(const struct rusmi_outbox *ob, uint64_t key)
{
    size_t i = pair_home(ob, key);

    while (pair_is_used(&ob->pairs[i]) && ob->pairs[i].key != key) {
        i = (i + 1) & ob->pairs_mask;
    }
    return &ob->pairs[i];
}

/* Free a slot that has just become unused: close the gap, so that probing never meets a hole
 * between a pair's home and its slot. */
static void pair_forget(struct rusmi_outbox *ob, struct rusmi_out_pair *pair)
{
    size_t hole = (size_t)(pair - ob->pairs), i = hole;

    for (;;) {
        i = (i + 1) & ob->pairs_mask;
        if (!pair_is_used(&ob->pairs[i])) {
            break;
        }
        if (((i - pair_home(ob, ob->pairs[i].key)) & ob->pairs_mask) >=
            ((i - hole) & ob->pairs_mask)) {
            ob->pairs[hole] = ob->pairs[i];
            hole = i;
        }
    }
    ob->pairs[hole] = (struct rusmi_out_pair){0};
    ob->pairs_count--;
}

/* ---- the outbox ---- */

void rusmi_outbox_config_init(struct rusmi_outbox_config *cfg)
{
    *cfg = (struct rusmi_outbox_config){
        .window = RUSMI_LINK_WINDOW,
        .message_max = RUSM_MESSAGE_MAX,
        .big_min = RUSMI_BIG_MIN,
        .flight_max = RUSMI_FLIGHT_MAX,
    };
}

size_t rusmi_outbox_window_min(size_t message_max)
{
    /* The message, the share it leaves free, and the share that small ones may hold meanwhile. */
    _Static_assert(RUSMI_SMALL_SHARE_PARTS == 4, "two shares are half of the window");
    return 2 * (message_max + RUSMI_MESSAGE_HEAD_MAX);
}

rusm_err rusmi_outbox_init(struct rusmi_outbox *ob, const struct rusmi_outbox_config *cfg)
{
    struct rusmi_out_pair *pairs;
    size_t slots = 2 * cfg->flight_max;

    rusmi_assert(cfg->flight_max > 1 && (cfg->flight_max & (cfg->flight_max - 1)) == 0);
    if (cfg->window < rusmi_outbox_window_min(cfg->message_max)) {
        return RUSM_EPROTO;
    }
    /* Cleared memory of this size comes untouched from the system: it costs nothing until used. */
    pairs = rusmi_zalloc_array(slots, sizeof(*pairs));
    if (pairs == NULL) {
        return RUSM_ENOMEM;
    }
    *ob = (struct rusmi_outbox){
        .pairs = pairs,
        .pairs_mask = slots - 1,
        .pairs_shift = 64,
        .multiplier = mix(cfg->seed) | 1,
        .share = cfg->window / RUSMI_SMALL_SHARE_PARTS,
        .cfg = *cfg,
    };
    while (slots > 1) {
        slots >>= 1;
        ob->pairs_shift--;
    }
    rusmi_list_init(&ob->small);
    rusmi_list_init(&ob->big);
    rusmi_list_init(&ob->flight);
    return RUSM_OK;
}

static struct rusmi_out *out_of(struct rusmi_list *link)
{
    return rusmi_container(link, struct rusmi_out, link);
}

size_t rusmi_outbox_fini(struct rusmi_outbox *ob)
{
    size_t lost = ob->queued_count + ob->flight_count;
    struct rusmi_list *lines[] = {&ob->small, &ob->flight}, *link;

    while ((link = rusmi_list_pop(&ob->big)) != NULL) {
        for (struct rusmi_out *out = out_of(link), *next; out != NULL; out = next) {
            next = out->next;
            rusmi_out_del(out);
        }
    }
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        while ((link = rusmi_list_pop(lines[i])) != NULL) {
            rusmi_out_del(out_of(link));
        }
    }
    rusmi_free(ob->pairs);
    *ob = (struct rusmi_outbox){.acked_count = ob->acked_count, .lost_count = ob->lost_count};
    return lost;
}

static void line_push(struct rusmi_outbox *ob, struct rusmi_list *line, struct rusmi_out *out)
{
    out->ticket = ++ob->ticket;
    out->next = NULL;
    rusmi_list_push(line, &out->link);
}

/* Put a big message of a pair that has none in line yet there. */
static void big_push(struct rusmi_outbox *ob, struct rusmi_out_pair *pair, struct rusmi_out *out)
{
    line_push(ob, &ob->big, out);
    out->held_last = out;
    pair->first = out;
    ob->big_pairs++;
}

/*
 * A message of a pair that has a big one in line waits behind that, whatever its size; any other
 * goes into the line of its kind. The table has room for flight_max pairs in flight and half as
 * many with a big message in line. Beyond that a big one stands in the line of the small ones: it
 * then holds up other pairs, but keeps its order.
 */
void rusmi_outbox_push(struct rusmi_outbox *ob, struct rusmi_out *out)
{
    struct rusmi_out_pair *pair = NULL;

    rusmi_assert_slow(!out->started);
    out->big = rusmi_out_len(out) > ob->cfg.big_min;
    ob->queued_count++;
    ob->queued_bytes += rusmi_out_len(out);
    ob->queued_big += out->big ? rusmi_out_len(out) : 0;
    if (out->big || ob->big_pairs > 0) {
        pair = pair_find(ob, out->pair);
    }
    if (pair != NULL && pair_is_used(pair) && pair->first != NULL) {
        out->next = NULL;
        pair->first->held_last->next = out;
        pair->first->held_last = out;
    } else if (out->big && ob->big_pairs < ob->cfg.flight_max / 2) {
        if (!pair_is_used(pair)) {
            pair->key = out->pair;
            ob->pairs_count++;
        }
        big_push(ob, pair, out);
    } else {
        line_push(ob, &ob->small, out);
    }
}

/*
 * Small ones go first come, first served, as long as credit lasts. The oldest big one may start
 * when all that were pushed before it have started (so its own pair's have), and when the small
 * ones' share stays free beside it. While it waits for that, the small ones keep to their share:
 * what else becomes free is collected for it, and neither starves.
 */
struct rusmi_out *rusmi_outbox_next(const struct rusmi_outbox *ob, uint64_t credit_free)
{
    struct rusmi_out *small = rusmi_list_empty(&ob->small) ? NULL : out_of(ob->small.next);
    struct rusmi_out *big = rusmi_list_empty(&ob->big) ? NULL : out_of(ob->big.next);
    uint64_t room = credit_free > ob->reserved ? credit_free - ob->reserved : 0;
    size_t need;

    if (ob->flight_count >= ob->cfg.flight_max) {
        return NULL;
    }
    if (big != NULL && (small == NULL || big->ticket < small->ticket)) {
        need = rusmi_out_len(big) + RUSMI_VARINT_LEN_MAX;
        if (room >= need + ob->share) {
            return big;
        }
        if (small != NULL && ob->small_flight + rusmi_out_len(small) > ob->share) {
            return NULL;
        }
    }
    if (small == NULL) {
        return NULL;
    }
    need = rusmi_out_len(small) + RUSMI_VARINT_LEN_MAX;
    return room >= need ? small : NULL;
}

/* The pair's big message leaves the line: those behind it move up, as far as the next big one. */
static void big_leave(struct rusmi_outbox *ob, struct rusmi_out_pair *pair)
{
    struct rusmi_out *first = pair->first, *out = first->next, *last = first->held_last;

    pair->first = NULL;
    ob->big_pairs--;
    while (out != NULL && !out->big) {
        struct rusmi_out *next = out->next;

        line_push(ob, &ob->small, out);
        out = next;
    }
    if (out != NULL) {
        struct rusmi_out *rest = out->next;

        big_push(ob, pair, out);
        out->next = rest;
        out->held_last = last;
    }
}

void rusmi_outbox_start(struct rusmi_outbox *ob, struct rusmi_out *out, uint64_t seq)
{
    struct rusmi_out_pair *pair = pair_find(ob, out->pair);
    size_t len = rusmi_out_len(out), prev_len;
    uint64_t prev = 0;

    rusmi_assert(!out->started);
    rusmi_list_remove(&out->link);
    rusmi_list_push(&ob->flight, &out->link);
    ob->queued_count--;
    ob->queued_bytes -= len;
    ob->queued_big -= out->big ? len : 0;
    if (!pair_is_used(pair)) {
        pair->key = out->pair;
        ob->pairs_count++;
    } else if (pair->unacked > 0) {
        rusmi_assert(seq > pair->last);
        prev = seq - pair->last;
    }
    pair->last = seq;
    pair->unacked++;
    if (pair->first == out) {
        big_leave(ob, pair);
    }
    prev_len = rusmi_message_prev_encode(out->wire, prev);
    out->wire -= prev_len;
    out->wire_len += prev_len;
    out->seq = seq;
    out->next = NULL;
    out->started = true;
    ob->flight_count++;
    ob->flight_bytes += len + prev_len;
    ob->reserved += len + prev_len;
    if (!out->big) {
        ob->small_flight += len + prev_len;
    }
}

void rusmi_outbox_sent(struct rusmi_outbox *ob, struct rusmi_out *out, size_t len)
{
    rusmi_assert(len <= rusmi_out_len(out) - out->sent);
    out->sent += len;
    ob->reserved -= len;
}

/* The stream is gone: what it reserved is free, and its pair has one message less that may be on
 * its way. */
static void out_close(struct rusmi_outbox *ob, struct rusmi_out *out)
{
    struct rusmi_out_pair *pair = pair_find(ob, out->pair);

    rusmi_assert(out->started && pair->unacked > 0);
    ob->reserved -= rusmi_out_len(out) - out->sent;
    if (!out->big) {
        ob->small_flight -= rusmi_out_len(out);
    }
    ob->flight_count--;
    ob->flight_bytes -= rusmi_out_len(out);
    rusmi_list_remove(&out->link);
    pair->unacked--;
    if (!pair_is_used(pair)) {
        pair_forget(ob, pair);
    }
    rusmi_out_del(out);
}

void rusmi_outbox_acked(struct rusmi_outbox *ob, struct rusmi_out *out)
{
    ob->acked_count++;
    out_close(ob, out);
}

void rusmi_outbox_reset(struct rusmi_outbox *ob, struct rusmi_out *out)
{
    ob->lost_count++;
    out_close(ob, out);
}
