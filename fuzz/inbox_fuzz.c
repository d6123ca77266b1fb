/* SPDX-License-Identifier: MIT */
/*
 * The inbox, attacked in two ways, chosen by the first byte of the input.
 *
 * Odd: arbitrary bytes on arbitrary streams, with a purse that is soon used up and streams that
 * wait for the rest of their messages to be allowed. Whatever comes, memory is bounded by the
 * window and paid for, an error is final, and no message is delivered after it.
 *
 * Even: well-formed messages with arbitrary predecessors, cut into pieces and mixed with resets,
 * against a model that computes from scratch, after each step, what must be delivered.
 */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "cluster/inbox.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    STREAMS = 64,
    SEQS = 192,
    WINDOW = 2048,
    BODY_MAX = 300,
    STREAM_FIRST = 64,
    BUDGET = 8192,
    FLOOR = 1024
};

struct model {
    uint64_t prev;
    uint16_t len, head_len, given;
    bool begun, complete, reset, delivered;
};

struct fuzz {
    const uint8_t *data;
    size_t size;
    struct rusmi_inbox ib;
    struct model streams[SEQS];
    uint64_t credit, given; /* bytes given back; bytes handed in */
    rusm_time now;
    struct rusmi_budget budget;
    struct rusmi_purse purse;
};

static uint8_t take_byte(struct fuzz *fuzz)
{
    if (fuzz->size == 0) {
        return 0;
    }
    fuzz->size--;
    return *fuzz->data++;
}

static void on_deliver(void *arg, const struct rusmi_message_head *head, rusm_msg *msg)
{
    struct fuzz *fuzz = arg;

    rusmi_assert(fuzz->ib.failed == RUSM_OK);
    rusmi_assert(rusm_msg_len(msg) == head->body_len && head->body_len <= BODY_MAX);
    rusm_msg_del(msg);
}

static void check_bounds(struct fuzz *fuzz)
{
    const struct rusmi_inbox *ib = &fuzz->ib;

    rusmi_assert(ib->held_bytes <= WINDOW);
    rusmi_assert(ib->pool_used <= STREAMS);
    rusmi_assert(ib->unfinished_count + ib->parked_count + ib->lost_count <= ib->pool_used);
    rusmi_assert((ib->failed == RUSM_OK) == (ib->why == NULL));
    rusmi_assert(ib->waiting_bytes <= ib->held_bytes);
    rusmi_assert((ib->waiting_bytes == 0) == !rusmi_inbox_waits(ib));
    rusmi_assert(rusmi_budget_used(&fuzz->budget) <= BUDGET);
}

/* ---- arbitrary bytes ---- */

static void raw_step(struct fuzz *fuzz)
{
    uint8_t act = take_byte(fuzz), shift = take_byte(fuzz), len = take_byte(fuzz);
    uint64_t seq = fuzz->ib.watermark + shift % (STREAMS + 1), bytes, streams;
    struct model *stream = &fuzz->streams[seq < SEQS ? seq : SEQS - 1];
    bool was_failed = fuzz->ib.failed != RUSM_OK;
    rusm_err err;

    if (act % 8 == 0) {
        err = rusmi_inbox_reset(&fuzz->ib, seq);
    } else if (act % 8 == 1) {
        rusmi_inbox_take_credit(&fuzz->ib, &bytes, &streams);
        fuzz->credit += bytes;
        err = fuzz->ib.failed;
    } else if (act % 8 == 2) {
        fuzz->now += len * (RUSMI_INBOX_WAIT_NS / 64);
        while (rusmi_inbox_next_grant(&fuzz->ib, fuzz->now, &bytes)) {
            rusmi_assert(!rusmi_inbox_is_delivered(&fuzz->ib, bytes));
        }
        err = fuzz->ib.failed;
    } else {
        if (len > fuzz->size) {
            len = (uint8_t)fuzz->size;
        }
        err = rusmi_inbox_data(&fuzz->ib, seq, stream->given, fuzz->data, len, (act & 0x80) != 0);
        stream->given = (uint16_t)(stream->given + len);
        fuzz->given += len;
        fuzz->data += len;
        fuzz->size -= len;
    }
    rusmi_assert(err == fuzz->ib.failed && (!was_failed || err != RUSM_OK));
    check_bounds(fuzz);
    rusmi_assert(fuzz->credit <= fuzz->given);
}

/* ---- well-formed messages ---- */

/* The whole stream of a message; returns the length of its header. */
static size_t build(uint8_t *out, uint64_t prev, uint64_t seq, uint16_t body_len)
{
    uint8_t room[RUSMI_VARINT_LEN_MAX + RUSMI_MESSAGE_HEAD_MAX];
    struct rusmi_message_head head = {.sender = seq, .body_len = body_len};
    size_t tail_len, prev_len;

    head.kind = seq % 2 == 0 ? RUSMI_MESSAGE_TO_SERIAL : RUSMI_MESSAGE_TO_NAME;
    head.serial = seq % 2 == 0 ? 7 : 0;
    head.name = "box";
    head.name_len = seq % 2 == 0 ? 0 : 3;
    tail_len = rusmi_message_tail_encode(room + RUSMI_VARINT_LEN_MAX, &head);
    prev_len = rusmi_message_prev_encode(room + RUSMI_VARINT_LEN_MAX, prev);
    memcpy(out, room + RUSMI_VARINT_LEN_MAX - prev_len, prev_len + tail_len);
    memset(out + prev_len + tail_len, 'm', body_len);
    return prev_len + tail_len;
}

static bool may_go(const struct fuzz *fuzz, uint64_t seq, uint64_t lowest)
{
    const struct model *stream = &fuzz->streams[seq];

    if (stream->delivered || !stream->complete) {
        return false;
    }
    if (stream->reset && stream->given < stream->head_len) {
        return seq == lowest;
    }
    return stream->prev == 0 || fuzz->streams[seq - stream->prev].delivered;
}

/* Deliver in the model until nothing more can be. */
static void settle(struct fuzz *fuzz)
{
    for (bool again = true; again;) {
        uint64_t lowest = 0;

        again = false;
        while (lowest < SEQS && fuzz->streams[lowest].delivered) {
            lowest++;
        }
        for (uint64_t seq = 0; seq < SEQS && !again; seq++) {
            if (may_go(fuzz, seq, lowest)) {
                fuzz->streams[seq].delivered = again = true;
            }
        }
    }
}

/* Whether another parked message names the predecessor that seq names. */
static bool is_second_claim(const struct fuzz *fuzz, uint64_t seq)
{
    const struct model *stream = &fuzz->streams[seq];

    if (stream->prev == 0 || fuzz->streams[seq - stream->prev].delivered) {
        return false;
    }
    for (uint64_t other = 0; other < SEQS; other++) {
        const struct model *model = &fuzz->streams[other];

        if (other != seq && model->complete && !model->delivered && model->prev > 0 &&
            other - model->prev == seq - stream->prev &&
            !(model->reset && model->given < model->head_len)) {
            return true;
        }
    }
    return false;
}

/* What the messages that are begun and not delivered have declared. */
static size_t declared(const struct fuzz *fuzz)
{
    size_t sum = 0;

    for (size_t seq = 0; seq < SEQS; seq++) {
        const struct model *stream = &fuzz->streams[seq];

        if (stream->begun && !stream->delivered && !stream->reset &&
            stream->given >= stream->head_len) {
            sum += stream->len;
        }
    }
    return sum;
}

/* True if the inbox must have failed. */
static bool model_step(struct fuzz *fuzz, uint64_t seq, uint8_t act, uint8_t arg)
{
    struct model *stream = &fuzz->streams[seq];
    uint8_t bytes[RUSMI_MESSAGE_HEAD_MAX + BODY_MAX];
    size_t len;
    bool fails = false, fin;
    rusm_err err;

    if (act % 8 == 0) {
        err = rusmi_inbox_reset(&fuzz->ib, seq);
        rusmi_assert(err == fuzz->ib.failed);
        if (!stream->complete) {
            stream->complete = stream->reset = true;
            /* Without a single byte not even the header's length is known. */
            if (!stream->begun) {
                stream->head_len = 1;
            }
            fails = stream->given >= stream->head_len && is_second_claim(fuzz, seq);
        }
        return fails;
    }
    if (stream->complete) {
        return false;
    }
    if (!stream->begun) {
        uint16_t body_len = (uint16_t)(take_byte(fuzz) * 257u % (BODY_MAX + 1));

        stream->begun = true;
        stream->prev = take_byte(fuzz) % 8;
        stream->prev = stream->prev > seq ? 0 : stream->prev;
        stream->head_len = (uint16_t)build(bytes, stream->prev, seq, body_len);
        stream->len = (uint16_t)(stream->head_len + body_len);
    }
    build(bytes, stream->prev, seq, (uint16_t)(stream->len - stream->head_len));
    len = (size_t)(stream->len - stream->given);
    len = act % 8 < 4 && arg < len ? arg : len;
    fin = stream->given + len == stream->len && act % 8 != 7;
    err = rusmi_inbox_data(&fuzz->ib, seq, stream->given, bytes + stream->given, len, fin);
    rusmi_assert(err == fuzz->ib.failed);
    fuzz->given += len;
    stream->given = (uint16_t)(stream->given + len);
    if (fin) {
        fails = is_second_claim(fuzz, seq);
        stream->complete = true;
    }
    return fails;
}

static bool structured_step(struct fuzz *fuzz)
{
    uint8_t act = take_byte(fuzz), shift = take_byte(fuzz), arg = take_byte(fuzz);
    uint64_t seq = fuzz->ib.watermark + shift % STREAMS, bytes, streams, lowest = 0;
    bool fails;

    if (seq >= SEQS) {
        return false;
    }
    fails = model_step(fuzz, seq, act, arg);
    fails = fails || declared(fuzz) > WINDOW;
    settle(fuzz);
    rusmi_assert((fuzz->ib.failed != RUSM_OK) == fails);
    if (fails) {
        return false;
    }
    check_bounds(fuzz);
    rusmi_assert(fuzz->ib.held_bytes == declared(fuzz));
    while (lowest < SEQS && fuzz->streams[lowest].delivered) {
        lowest++;
    }
    rusmi_assert(fuzz->ib.watermark == lowest);
    for (uint64_t i = lowest; i < SEQS; i++) {
        rusmi_assert(rusmi_inbox_is_delivered(&fuzz->ib, i) == fuzz->streams[i].delivered);
    }
    rusmi_inbox_take_credit(&fuzz->ib, &bytes, &streams);
    fuzz->credit += bytes;
    bytes = 0;
    for (size_t i = 0; i < SEQS; i++) {
        bytes += fuzz->streams[i].delivered || fuzz->streams[i].reset ? fuzz->streams[i].given : 0;
    }
    rusmi_assert(fuzz->credit == bytes);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz fuzz; /* too large for some stacks */
    struct rusmi_inbox_config cfg;
    bool raw;

    memset(&fuzz, 0, sizeof(fuzz));
    fuzz.data = data;
    fuzz.size = size;
    rusmi_inbox_config_init(&cfg);
    cfg.window = WINDOW;
    cfg.streams_max = STREAMS;
    cfg.message_max = BODY_MAX;
    cfg.deliver = on_deliver;
    cfg.arg = &fuzz;
    rusmi_budget_init(&fuzz.budget, BUDGET);
    rusmi_assert(rusmi_purse_open(&fuzz.purse, &fuzz.budget, FLOOR));
    raw = take_byte(&fuzz) % 2 != 0;
    if (raw) {
        cfg.stream_first = STREAM_FIRST;
        cfg.purse = &fuzz.purse;
    }
    if (rusmi_inbox_init(&fuzz.ib, &cfg) != RUSM_OK) {
        return 0;
    }
    while (fuzz.size > 0) {
        if (raw) {
            raw_step(&fuzz);
        } else if (!structured_step(&fuzz)) {
            break;
        }
    }
    rusmi_inbox_fini(&fuzz.ib);
    rusmi_purse_close(&fuzz.purse);
    rusmi_assert(rusmi_budget_used(&fuzz.budget) == 0);
    return 0;
}
