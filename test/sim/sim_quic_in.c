/* SPDX-License-Identifier: MIT */
/* What comes to a connection: packets, pieces of streams, acknowledgements, and losses. */
#include "sim/sim_conn.h"
#include "sim/sim_cover.h"

#include "base/assert.h"
#include "base/mem.h"
#include "wire/control.h"

#include <stdio.h>
#include <string.h>

/* ---- receiving ------------------------------------------------------------------------------- */

/* False: it came before, or is so old that nobody knows. */
static bool note_number(struct rusmi_quic_conn *conn, uint64_t number)
{
    struct sim_range *ranges = conn->ranges;
    size_t at = 0;

    while (at < conn->ranges_len && ranges[at].first > number) {
        at++;
    }
    if (at < conn->ranges_len && number <= ranges[at].last) {
        return false;
    }
    if (at == SIM_RANGES_MAX) {
        return false;
    }
    if (at < conn->ranges_len && ranges[at].last + 1 == number) {
        ranges[at].last = number;
        if (at > 0 && ranges[at - 1].first == number + 1) {
            ranges[at - 1].first = ranges[at].first;
            memmove(&ranges[at], &ranges[at + 1], (--conn->ranges_len - at) * sizeof(*ranges));
        }
        return true;
    }
    if (at > 0 && ranges[at - 1].first == number + 1) {
        ranges[at - 1].first = number;
        return true;
    }
    if (conn->ranges_len == SIM_RANGES_MAX) {
        conn->ranges_len--;
    }
    memmove(&ranges[at + 1], &ranges[at], (conn->ranges_len++ - at) * sizeof(*ranges));
    ranges[at] = (struct sim_range){number, number};
    return true;
}

static void keep_piece(struct sim_piece **at, uint64_t offset, const uint8_t *data, uint32_t len,
                       bool fin)
{
    struct sim_piece *piece;

    while (*at != NULL && (*at)->offset < offset) {
        at = &(*at)->next;
    }
    if (*at != NULL && (*at)->offset == offset) {
        return; /* chunks keep their boundaries: the same once more */
    }
    piece = rusmi_alloc(sizeof(*piece) + len);
    rusmi_assert(piece != NULL);
    *piece = (struct sim_piece){.next = *at, .offset = offset, .len = len, .fin = fin};
    memcpy(piece->data, data, len);
    *at = piece;
}

static void hand_control(struct rusmi_quic_conn *conn, const uint8_t *data, uint32_t len)
{
    rusm_err err;

    conn->control_next += len;
    if (conn->state != RUSMI_QUIC_UP) {
        return;
    }
    err = conn->events.control(conn->events.arg, data, len);
    if (err != RUSM_OK) {
        sim_conn_fail_with(conn, err);
    }
}

static void recv_control(struct rusmi_quic_conn *conn, uint64_t offset, const uint8_t *data,
                         uint32_t len)
{
    struct sim_piece *piece;

    if (offset > conn->control_next) {
        keep_piece(&conn->control_pieces, offset, data, len, false);
        return;
    }
    if (offset < conn->control_next) {
        return;
    }
    hand_control(conn, data, len);
    while ((piece = conn->control_pieces) != NULL && piece->offset == conn->control_next) {
        conn->control_pieces = piece->next;
        hand_control(conn, piece->data, piece->len);
        rusmi_free(piece);
    }
}

static void hand_stream(struct rusmi_quic_conn *conn, struct sim_rx *rx, uint64_t seq,
                        const uint8_t *data, uint32_t len, bool fin)
{
    uint64_t offset = rx->next;

    rx->next += len;
    rx->whole = fin;
    conn->handed += len;
    if (conn->state == RUSMI_QUIC_UP &&
        rusmi_inbox_data(conn->events.inbox, seq, offset, data, len, fin) != RUSM_OK) {
        sim_conn_broken(conn, conn->events.inbox->why);
    }
}

static void recv_stream(struct rusmi_quic_conn *conn, uint64_t seq, uint64_t offset,
                        const uint8_t *data, uint32_t len, bool fin)
{
    struct sim_rx *rx = &conn->rx[seq % conn->cfg.streams_max];
    struct sim_piece *piece;

    sim_check(seq < conn->grant_streams, "a stream over the limit was opened");
    if (rx->seq != seq + 1) {
        if (rx->seq > seq + 1) {
            return; /* that stream is long over */
        }
        rusmi_assert(rx->seq == 0 || rx->whole);
        *rx = (struct sim_rx){.seq = seq + 1};
    }
    if (rx->whole || offset < rx->next) {
        return;
    }
    sim_check(rx->allowed || offset + len <= SIM_STREAM_FIRST,
              "more of a stream was sent than was allowed");
    if (offset > rx->next) {
        keep_piece(&rx->pieces, offset, data, len, fin);
        return;
    }
    hand_stream(conn, rx, seq, data, len, fin);
    while ((piece = rx->pieces) != NULL && piece->offset == rx->next) {
        rx->pieces = piece->next;
        hand_stream(conn, rx, seq, piece->data, piece->len, piece->fin);
        rusmi_free(piece);
    }
}

/* ---- acknowledgements and losses ------------------------------------------------------------- */

/* A stream may carry all of its message. */
static void recv_stream_max(struct rusmi_quic_conn *conn, uint64_t seq)
{
    struct sim_tx *tx = &conn->tx[seq % conn->cfg.streams_max];

    if (tx->out == NULL || tx->out->seq != seq || tx->allowed) {
        return; /* it is over, or was told before */
    }
    tx->allowed = true;
    if (tx->aside) {
        tx->aside = false;
        tx->next = conn->big.first;
        conn->big.first = tx;
        conn->big.last = conn->big.last == NULL ? tx : conn->big.last;
    }
}

static void chunk_acked(struct rusmi_quic_conn *conn, struct sim_chunk *chunk)
{
    struct sim_tx *tx;

    if (chunk->acked) {
        return;
    }
    chunk->acked = true;
    if (chunk->queued) {
        chunk->queued = false;
        rusmi_list_remove(&chunk->node);
        chunk->refs--; /* the packet that was acknowledged still has one */
    }
    if (chunk->stream_max) {
        return;
    }
    if (chunk->control) {
        conn->control_pending -= chunk->len;
        return;
    }
    tx = &conn->tx[chunk->seq % conn->cfg.streams_max];
    tx->acked += chunk->len;
    if (rusmi_out_is_sent(tx->out) && tx->acked == rusmi_out_len(tx->out)) {
        struct rusmi_out *out = tx->out;

        tx->out = NULL;
        rusmi_outbox_acked(conn->events.outbox, out);
    }
}

static void forget_sent(struct rusmi_quic_conn *conn, struct sim_sent *sent)
{
    rusmi_list_remove(&sent->node);
    conn->in_flight -= sent->bytes;
}

void sim_conn_lose(struct rusmi_quic_conn *conn, struct sim_sent *sent)
{
    forget_sent(conn, sent);
    conn->stats.packets_lost++;
    sim_seen(SIM_SEEN_LOST);
    for (unsigned i = 0; i < sent->chunks_len; i++) {
        struct sim_chunk *chunk = sent->chunks[i];

        if (!chunk->acked && !chunk->queued) {
            chunk->queued = true;
            chunk->refs++;
            rusmi_list_push(&conn->again, &chunk->node);
        }
    }
    conn->grant_news = conn->grant_news || sent->max;
    if (sent->at >= conn->recovery) {
        conn->recovery = conn->now;
        conn->cwnd = conn->cwnd / 2 > SIM_CWND_MIN ? conn->cwnd / 2 : SIM_CWND_MIN;
        conn->ssthresh = conn->cwnd;
    }
    sim_sent_del(sent);
}

/* Find what is lost by now, and when to look again. */
void sim_conn_find_losses(struct rusmi_quic_conn *conn)
{
    rusm_time rtt = conn->srtt > conn->latest ? conn->srtt : conn->latest;
    rusm_time patience = rtt + rtt / 8 + SIM_MS;
    struct rusmi_list *at = conn->sent.next;

    conn->loss_at = SIM_NEVER;
    while (at != &conn->sent) {
        struct sim_sent *sent = rusmi_container(at, struct sim_sent, node);

        at = at->next;
        if (sent->number + 1 >= conn->acked_max) {
            break;
        }
        if (sent->number + 1 + SIM_REORDER <= conn->acked_max || sent->at + patience <= conn->now) {
            sim_conn_lose(conn, sent);
        } else if (sent->at + patience < conn->loss_at) {
            conn->loss_at = sent->at + patience;
        }
    }
}

static void measure(struct rusmi_quic_conn *conn, rusm_time rtt)
{
    rusm_time off = conn->srtt > rtt ? conn->srtt - rtt : rtt - conn->srtt;

    if (conn->latest == 0) {
        conn->srtt = rtt;
        conn->rttvar = rtt / 2;
    } else {
        conn->rttvar = (3 * conn->rttvar + off) / 4;
        conn->srtt = (7 * conn->srtt + rtt) / 8;
    }
    conn->latest = rtt == 0 ? 1 : rtt;
}

static void packet_acked(struct rusmi_quic_conn *conn, struct sim_sent *sent, bool largest)
{
    if (largest) {
        measure(conn, conn->now - sent->at);
    }
    forget_sent(conn, sent);
    if (conn->cwnd < SIM_CWND_MAX) {
        conn->cwnd += conn->cwnd < conn->ssthresh
                          ? sent->bytes
                          : (size_t)sent->bytes * conn->cfg.udp_payload_max / conn->cwnd;
    }
    for (unsigned i = 0; i < sent->chunks_len; i++) {
        chunk_acked(conn, sent->chunks[i]);
    }
    sim_sent_del(sent);
}

static void recv_ack(struct rusmi_quic_conn *conn, struct sim_cursor *cursor)
{
    struct sim_range ranges[SIM_ACK_RANGES];
    size_t len = sim_get_u8(cursor);
    struct rusmi_list *at = conn->sent.next;

    sim_get(cursor, ranges, (len > SIM_ACK_RANGES ? SIM_ACK_RANGES : len) * sizeof(ranges[0]));
    if (cursor->bad || len == 0) {
        return;
    }
    if (ranges[0].last + 1 > conn->acked_max) {
        conn->acked_max = ranges[0].last + 1;
    }
    while (at != &conn->sent) {
        struct sim_sent *sent = rusmi_container(at, struct sim_sent, node);

        at = at->next;
        for (size_t i = 0; i < len; i++) {
            if (sent->number >= ranges[i].first && sent->number <= ranges[i].last) {
                conn->pto_count = 0;
                packet_acked(conn, sent, sent->number + 1 == conn->acked_max);
                break;
            }
        }
    }
    sim_conn_find_losses(conn);
}

/* ---- a datagram ------------------------------------------------------------------------------ */

static bool recv_frame(struct rusmi_quic_conn *conn, struct sim_cursor *cursor)
{
    uint64_t seq, offset, number;
    uint32_t len;
    bool fin;

    switch ((enum sim_frame_kind)sim_get_u8(cursor)) {
    case SIM_FRAME_ACK:
        recv_ack(conn, cursor);
        return false;
    case SIM_FRAME_CONTROL:
        offset = sim_get_u64(cursor);
        len = sim_get_u16(cursor);
        recv_control(conn, offset, cursor->at, len);
        cursor->at += len;
        return true;
    case SIM_FRAME_STREAM:
        seq = sim_get_u64(cursor);
        offset = sim_get_u64(cursor);
        fin = sim_get_u8(cursor) != 0;
        len = sim_get_u16(cursor);
        recv_stream(conn, seq, offset, cursor->at, len, fin);
        cursor->at += len;
        return true;
    case SIM_FRAME_MAX:
        number = sim_get_u64(cursor);
        conn->max_data = number > conn->max_data ? number : conn->max_data;
        number = sim_get_u64(cursor);
        conn->max_streams = number > conn->max_streams ? number : conn->max_streams;
        return true;
    case SIM_FRAME_STREAM_MAX:
        recv_stream_max(conn, sim_get_u64(cursor));
        return true;
    case SIM_FRAME_PING:
        return true;
    }
    sim_fail("a packet with an unknown frame");
}

static void recv_data(struct rusmi_quic_conn *conn, const struct sim_head *head,
                      struct sim_cursor *cursor)
{
    bool asks = false;

    if (!note_number(conn, head->number)) {
        conn->stats.datagrams_ignored++;
        return;
    }
    if (!conn->server && !conn->confirmed) {
        conn->confirmed = true;
        conn->shake_at = SIM_NEVER;
    }
    while (cursor->at < cursor->end && conn->state == RUSMI_QUIC_UP) {
        asks |= recv_frame(conn, cursor);
        rusmi_assert(!cursor->bad);
    }
    if (asks && !conn->ack_due) {
        conn->ack_due = ++conn->ack_count >= 2;
        conn->ack_at = conn->ack_at == SIM_NEVER ? conn->now + conn->cfg.ack_hold_ns : conn->ack_at;
    }
}

static void recv_close(struct rusmi_quic_conn *conn, struct sim_cursor *cursor)
{
    bool application = sim_get_u8(cursor) != 0;
    uint64_t code = sim_get_u64(cursor);
    size_t len = sim_get_u16(cursor);
    char reason[513] = "", text[640];

    sim_get(cursor, reason, len > 512 ? 512 : len);
    if (application || code == 0) {
        (void)snprintf(text, sizeof(text), "%s%s%s",
                       application ? "the peer closed the link" : "the peer gave the link up",
                       reason[0] ? ": " : "", reason);
        sim_conn_end(conn, RUSMI_QUIC_CLOSED_PEER, code, text);
    } else {
        (void)snprintf(text, sizeof(text), "the peer closed the connection (QUIC error %llu)",
                       (unsigned long long)code);
        sim_conn_end(conn, RUSMI_QUIC_TRANSPORT, code, text);
        conn->end.err = RUSM_EREFUSED;
    }
    conn->drain_until = conn->now + 3 * sim_conn_pto(conn);
    sim_conn_move(conn, RUSMI_QUIC_DRAINING);
}

/* A packet of the handshake, or one that ends the connection; false: it is not for us. */
static bool recv_long(struct rusmi_quic_conn *conn, const struct sim_head *head,
                      struct sim_cursor *cursor)
{
    bool shaking = conn->state == RUSMI_QUIC_HANDSHAKE;

    switch (head->kind) {
    case SIM_INITIAL:
        if (conn->server && shaking) {
            conn->shake_at = conn->now;
        }
        return conn->server;
    case SIM_ACCEPT:
        if (conn->server) {
            return false;
        }
        conn->shake_at = conn->confirmed ? SIM_NEVER : conn->now;
        if (shaking) {
            conn->shake_count = 0;
            conn->peer_cid = head->scid;
            sim_conn_authenticate(conn, cursor);
        }
        return true;
    case SIM_FINISH:
        if (!conn->server) {
            return false;
        }
        if (shaking) {
            conn->shake_at = SIM_NEVER;
            sim_conn_authenticate(conn, cursor);
        }
        conn->ping = true; /* any packet of ours shows the dialer that we have it */
        return true;
    case SIM_RETRY:
        if (conn->server || !shaking || conn->token != 0) {
            return false;
        }
        conn->token = sim_get_u64(cursor);
        conn->shake_at = conn->now;
        return true;
    case SIM_CLOSE:
        recv_close(conn, cursor);
        return true;
    case SIM_RESET:
    case SIM_DATA:
        break;
    }
    return false;
}

rusm_err __wrap_rusmi_quic_conn_recv(struct rusmi_quic_conn *conn,
                                     const struct rusmi_quic_path *path, const uint8_t *data,
                                     size_t len, rusm_time now);
rusm_err __wrap_rusmi_quic_conn_recv(struct rusmi_quic_conn *conn,
                                     const struct rusmi_quic_path *path, const uint8_t *data,
                                     size_t len, rusm_time now)
{
    struct sim_cursor cursor = {(uint8_t *)(uintptr_t)data, (uint8_t *)(uintptr_t)data + len,
                                false};
    struct sim_head head;
    bool taken = false;

    (void)path;
    now = sim_conn_clamp(conn, now);
    if (conn->state > RUSMI_QUIC_UP) {
        if (conn->state == RUSMI_QUIC_CLOSING) {
            uint64_t heard = ++conn->close_heard;

            conn->close_repeat = (heard & (heard - 1)) == 0;
        }
        return conn->end.err;
    }
    conn->stats.packets_received++;
    conn->stats.bytes_received += len;
    if (!sim_get_head(&cursor, &head)) {
        conn->stats.datagrams_ignored++;
        return conn->end.err;
    }
    if (head.kind == SIM_RESET) {
        if (head.dcid == conn->peer_cid && conn->state == RUSMI_QUIC_UP) {
            sim_conn_end(conn, RUSMI_QUIC_RESET, 0,
                         "the peer no longer knows the connection: it was restarted or dropped it");
            conn->drain_until = now;
            sim_conn_move(conn, RUSMI_QUIC_DRAINING);
        }
        return conn->end.err;
    }
    if (head.dcid == conn->own_cid || (conn->server && head.dcid == conn->first_cid)) {
        if (head.kind != SIM_DATA) {
            taken = recv_long(conn, &head, &cursor);
        } else if (conn->state == RUSMI_QUIC_UP) {
            taken = true;
            recv_data(conn, &head, &cursor);
        }
    }
    if (taken) {
        conn->heard = now;
    } else {
        conn->stats.datagrams_ignored++;
    }
    return conn->end.err;
}
