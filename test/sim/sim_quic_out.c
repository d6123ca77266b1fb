/* SPDX-License-Identifier: MIT */
/* What a connection sends: which chunks go into which packet, and when one is worth sending. */
#include "sim/sim_conn.h"
#include "sim/sim_cover.h"

#include "base/assert.h"
#include "base/mem.h"
#include "wire/control.h"

#include <stdio.h>
#include <string.h>

/* ---- sending --------------------------------------------------------------------------------- */

static void line_push(struct sim_line *line, struct sim_tx *tx)
{
    tx->next = NULL;
    if (line->last != NULL) {
        line->last->next = tx;
    } else {
        line->first = tx;
    }
    line->last = tx;
}

static void line_pop(struct sim_line *line)
{
    line->first = line->first->next;
    if (line->first == NULL) {
        line->last = NULL;
    }
}

static uint64_t credit(const struct rusmi_quic_conn *conn)
{
    return conn->max_data - conn->data_sent;
}

/* The message that may start now, if a stream is to be had. */
static struct rusmi_out *next_message(const struct rusmi_quic_conn *conn)
{
    /* The peer may allow a stream before we know that it has all of the one in its place. */
    if (conn->next_stream >= conn->max_streams ||
        conn->tx[conn->next_stream % conn->cfg.streams_max].out != NULL) {
        return NULL;
    }
    return rusmi_outbox_next(conn->events.outbox, credit(conn));
}

static bool has_data(const struct rusmi_quic_conn *conn)
{
    return !rusmi_list_empty(&conn->again) || !rusmi_list_empty(&conn->control) ||
           conn->small.first != NULL || conn->big.first != NULL || next_message(conn) != NULL;
}

static void open_streams(struct rusmi_quic_conn *conn)
{
    struct rusmi_out *out;

    while (conn->small.first == NULL && (out = next_message(conn)) != NULL) {
        uint64_t seq = conn->next_stream++;
        struct sim_tx *tx = &conn->tx[seq % conn->cfg.streams_max];

        rusmi_outbox_start(conn->events.outbox, out, seq);
        *tx = (struct sim_tx){.out = out};
        line_push(out->big ? &conn->big : &conn->small, tx);
    }
}

/* Credit is given back for what is delivered, and for nothing else: so what is held here, parked or
 * unfinished, is bounded by the window. */
static void check_held(const struct rusmi_quic_conn *conn)
{
    const struct rusmi_inbox *inbox = conn->events.inbox;
    uint64_t held = 0;

    for (uint64_t i = 0; i < conn->cfg.streams_max; i++) {
        const struct sim_rx *rx = &conn->rx[i];

        if (rx->seq != 0 && !rusmi_inbox_is_delivered(inbox, rx->seq - 1)) {
            held += rx->next;
        }
    }
    sim_check(conn->handed - conn->returned >= held && conn->handed >= conn->returned,
              "%llu bytes are parked, and credit is out as if it were %llu",
              (unsigned long long)held, (unsigned long long)(conn->handed - conn->returned));
    sim_check(inbox->held_bytes <= rusmi_quic_config_granted(&conn->cfg),
              "%zu bytes are held, more than the window", inbox->held_bytes);
}

/* Allow streams the rest of their messages. */
static void take_grants(struct rusmi_quic_conn *conn)
{
    struct rusmi_inbox *inbox = conn->events.inbox;
    uint64_t seq;

    /* Now and then there is no room. */
    while (conn->number % 4 != 1 && rusmi_inbox_next_grant(inbox, conn->now, &seq)) {
        struct sim_chunk *chunk = rusmi_zalloc(sizeof(*chunk));

        rusmi_assert(chunk != NULL);
        rusmi_list_init(&chunk->node);
        chunk->seq = seq;
        chunk->stream_max = chunk->queued = true;
        chunk->refs = 1;
        rusmi_list_push(&conn->again, &chunk->node);
        conn->rx[seq % conn->cfg.streams_max].allowed = true;
        sim_seen(SIM_SEEN_LONG);
    }
    conn->grant_at = rusmi_inbox_waits(inbox) ? conn->now + SIM_GRANT_WAIT : SIM_NEVER;
}

static void take_credit(struct rusmi_quic_conn *conn)
{
    uint64_t bytes = 0, streams = 0;

    rusmi_inbox_take_credit(conn->events.inbox, &bytes, &streams);
    conn->returned += bytes;
    if (conn->returns++ % 16 == 0) {
        check_held(conn);
    }
    conn->grant_data += bytes;
    conn->grant_streams += streams;
    conn->grant_news = conn->grant_news || streams != 0 || bytes > conn->cfg.window / 4;
}

/* The bytes of a message, wherever they lie. */
static void copy_out(const struct rusmi_out *out, uint64_t offset, uint8_t *to, size_t len)
{
    if (offset < out->wire_len) {
        size_t part = out->wire_len - (size_t)offset < len ? out->wire_len - (size_t)offset : len;

        memcpy(to, out->wire + offset, part);
        to += part;
        len -= part;
        offset += part;
    }
    if (len > 0) {
        memcpy(to, (const uint8_t *)rusm_msg_data(out->msg) + (offset - out->wire_len), len);
    }
}

/* Whether a chunk of len bytes fits beside what is there. */
static bool fits(const struct sim_cursor *cursor, size_t len)
{
    return (size_t)(cursor->end - cursor->at) >= len + 20;
}

static void put_chunk(struct rusmi_quic_conn *conn, struct sim_cursor *cursor,
                      struct sim_chunk *chunk)
{
    if (chunk->stream_max) {
        sim_put_u8(cursor, SIM_FRAME_STREAM_MAX);
        sim_put_u64(cursor, chunk->seq);
        return;
    }
    if (chunk->control) {
        sim_put_u8(cursor, SIM_FRAME_CONTROL);
        sim_put_u64(cursor, chunk->offset);
        sim_put_u16(cursor, (uint16_t)chunk->len);
        sim_put(cursor, chunk->data, chunk->len);
        return;
    }
    sim_put_u8(cursor, SIM_FRAME_STREAM);
    sim_put_u64(cursor, chunk->seq);
    sim_put_u64(cursor, chunk->offset);
    sim_put_u8(cursor, chunk->fin);
    sim_put_u16(cursor, (uint16_t)chunk->len);
    copy_out(conn->tx[chunk->seq % conn->cfg.streams_max].out, chunk->offset, cursor->at,
             chunk->len);
    cursor->at += chunk->len;
}

/* A new chunk of a message in a line. */
static struct sim_chunk *cut(struct rusmi_quic_conn *conn, struct sim_line *line, size_t room)
{
    struct sim_tx *tx = line->first;
    struct rusmi_out *out = tx->out;
    size_t left = rusmi_out_len(out) - out->sent;
    size_t len = left < SIM_CHUNK_MAX ? left : SIM_CHUNK_MAX;
    struct sim_chunk *chunk;

    if (!tx->allowed && len > SIM_STREAM_FIRST - out->sent) {
        len = SIM_STREAM_FIRST - out->sent;
    }
    len = len < room ? len : room;
    chunk = rusmi_zalloc(sizeof(*chunk));
    rusmi_assert(chunk != NULL);
    rusmi_list_init(&chunk->node);
    chunk->seq = out->seq;
    chunk->offset = out->sent;
    chunk->len = (uint32_t)len;
    chunk->fin = len == left;
    rusmi_outbox_sent(conn->events.outbox, out, len);
    conn->data_sent += len;
    if (chunk->fin) {
        line_pop(line);
    } else if (!tx->allowed && out->sent == SIM_STREAM_FIRST) {
        line_pop(line);
        tx->aside = true;
    }
    return chunk;
}

/* What goes next into a packet with so much room; NULL: nothing (that fits). */
static struct sim_chunk *next_chunk(struct rusmi_quic_conn *conn, const struct sim_cursor *cursor,
                                    bool big_first)
{
    struct rusmi_list *from = !rusmi_list_empty(&conn->again) ? &conn->again : &conn->control;
    struct sim_line *line;

    if (!rusmi_list_empty(from)) {
        struct sim_chunk *chunk = rusmi_container(from->next, struct sim_chunk, node);

        if (!fits(cursor, chunk->len)) {
            return NULL;
        }
        rusmi_list_remove(&chunk->node);
        chunk->queued = false;
        chunk->refs--; /* that of the queue; the packet takes one */
        return chunk;
    }
    open_streams(conn);
    line = conn->small.first == NULL || (big_first && conn->big.first != NULL) ? &conn->big
                                                                               : &conn->small;
    if (line->first == NULL || !fits(cursor, 64)) {
        return NULL;
    }
    return cut(conn, line, (size_t)(cursor->end - cursor->at) - 20);
}

#define PACKET_CHUNKS 40u

static void put_ack(struct rusmi_quic_conn *conn, struct sim_cursor *cursor)
{
    size_t len = conn->ranges_len < SIM_ACK_RANGES ? conn->ranges_len : SIM_ACK_RANGES;

    if (conn->ack_at == SIM_NEVER && !conn->ack_due) {
        return;
    }
    sim_put_u8(cursor, SIM_FRAME_ACK);
    sim_put_u8(cursor, (uint8_t)len);
    sim_put(cursor, conn->ranges, len * sizeof(conn->ranges[0]));
    conn->ack_due = false;
    conn->ack_at = SIM_NEVER;
    conn->ack_count = 0;
}

static struct sim_sent *sent_new(struct rusmi_quic_conn *conn, struct sim_chunk **chunks,
                                 uint16_t len, bool max)
{
    struct sim_sent *sent = rusmi_zalloc(sizeof(*sent) + len * sizeof(struct sim_chunk *));

    rusmi_assert(sent != NULL);
    sent->number = conn->number;
    sent->at = conn->now;
    sent->max = max;
    sent->chunks_len = len;
    for (unsigned i = 0; i < len; i++) {
        sent->chunks[i] = chunks[i];
        chunks[i]->refs++;
    }
    rusmi_list_init(&sent->node);
    rusmi_list_push(&conn->sent, &sent->node);
    return sent;
}

/* Whether there is anything to be said now. */
bool sim_conn_is_due(const struct rusmi_quic_conn *conn, rusm_time now)
{
    if (conn->shake_at <= now) {
        return true;
    }
    if (conn->state != RUSMI_QUIC_UP) {
        return false;
    }
    if (conn->ack_due || conn->ack_at <= now || conn->ping || conn->probe || conn->grant_news) {
        return true;
    }
    return conn->in_flight < conn->cwnd && has_data(conn);
}

static size_t write_data(struct rusmi_quic_conn *conn, uint8_t *buf, size_t buf_len)
{
    size_t room = conn->cfg.udp_payload_max < buf_len ? conn->cfg.udp_payload_max : buf_len;
    struct sim_cursor cursor = {buf, buf + room, false};
    struct sim_head head = {
        .kind = SIM_DATA, .dcid = conn->peer_cid, .scid = conn->own_cid, .number = conn->number};
    struct sim_chunk *chunks[PACKET_CHUNKS], *chunk;
    bool big_first = conn->packed++ % SIM_BIG_TURN == SIM_BIG_TURN - 1;
    bool max = conn->grant_news, asks;
    uint16_t len = 0;

    sim_put_head(&cursor, &head);
    put_ack(conn, &cursor);
    if (max) {
        sim_put_u8(&cursor, SIM_FRAME_MAX);
        sim_put_u64(&cursor, conn->grant_data);
        sim_put_u64(&cursor, conn->grant_streams);
        conn->grant_news = false;
    }
    while (len < PACKET_CHUNKS && (conn->in_flight < conn->cwnd || (conn->probe && len == 0)) &&
           (chunk = next_chunk(conn, &cursor, big_first)) != NULL) {
        put_chunk(conn, &cursor, chunk);
        chunks[len++] = chunk;
    }
    asks = len > 0 || max;
    if (!asks && (conn->ping || conn->probe)) {
        sim_put_u8(&cursor, SIM_FRAME_PING);
        asks = true;
    }
    conn->ping = conn->probe = false;
    rusmi_assert(!cursor.bad);
    if (asks) {
        struct sim_sent *sent = sent_new(conn, chunks, len, max);

        sent->bytes = (uint32_t)(cursor.at - buf);
        conn->in_flight += sent->bytes;
        conn->last_asked = conn->now;
    }
    conn->number++;
    return (size_t)(cursor.at - buf);
}

static size_t write_closing(struct rusmi_quic_conn *conn, uint8_t *buf, size_t buf_len)
{
    if (!conn->close_written) {
        conn->close_written = true;
        conn->drain_until = conn->now + 3 * sim_conn_pto(conn);
    } else if (!conn->close_repeat) {
        return 0;
    }
    conn->close_repeat = false;
    return sim_write_close(conn->peer_cid, conn->close_application, conn->close_code,
                           conn->close_text, buf, buf_len);
}

size_t __wrap_rusmi_quic_conn_write(struct rusmi_quic_conn *conn, uint8_t *buf, size_t buf_len,
                                    struct rusmi_quic_batch *out_batch, rusm_time now);
size_t __wrap_rusmi_quic_conn_write(struct rusmi_quic_conn *conn, uint8_t *buf, size_t buf_len,
                                    struct rusmi_quic_batch *out_batch, rusm_time now)
{
    size_t len = 0;

    memset(out_batch, 0, sizeof(*out_batch));
    now = sim_conn_clamp(conn, now);
    if (conn->state == RUSMI_QUIC_UP) {
        take_credit(conn);
        take_grants(conn);
    }
    if (conn->state <= RUSMI_QUIC_UP && sim_conn_is_due(conn, now)) {
        len = conn->shake_at <= now ? sim_conn_write_shake(conn, buf, buf_len)
                                    : write_data(conn, buf, buf_len);
    } else if (conn->state == RUSMI_QUIC_CLOSING) {
        len = write_closing(conn, buf, buf_len);
    }
    out_batch->len = out_batch->segment = len;
    out_batch->remote = (const struct sockaddr *)&conn->remote;
    out_batch->remote_len = conn->remote_len;
    conn->stats.bytes_sent += len;
    conn->stats.packets_sent += len != 0;
    return len;
}
