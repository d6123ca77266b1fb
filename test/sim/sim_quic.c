/* SPDX-License-Identifier: MIT */
/*
 * quic/conn.h without QUIC and TLS: a small reliable transport over the datagrams of sim_udp.c.
 *
 * It keeps what the shipped code relies on: nothing of the peer before both sides know who it is; a
 * control stream whose bytes come in order, before messages; a stream for each message, taken from
 * the outbox and handed to the inbox in pieces that arrive in any order; credit for bytes and
 * streams; acknowledgements, and a message acknowledged only when all of it has arrived; losses
 * found and repaired, with congestion control; a keep-alive, an end after a tick of silence, a
 * close with a code that the peer hears of or not. What it leaves out is what the owner can not
 * see: keys, versions, path discovery. The real one has tests of its own (src/quic).
 *
 * What a packet carries is cut into chunks, which keep their boundaries when they are sent again,
 * so that a chunk is acknowledged once however many packets took it along.
 */
#include "sim/sim_packet.h"

#include "base/assert.h"
#include "base/list.h"
#include "base/mem.h"
#include "cluster/inbox.h"
#include "cluster/outbox.h"
#include "quic/conn.h"
#include "sim/sim.h"
#include "wire/control.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NEVER UINT64_MAX

/* Packets after it that are acknowledged before one counts as lost, RFC 9002 6.1.1. */
#define REORDER    3u
#define RANGES_MAX 24u
#define ACK_RANGES 12u
#define CWND_FIRST 14720u
#define CWND_MIN   2944u
#define CWND_MAX   ((size_t)4 * 1024 * 1024)
/* A chunk of a stream: fits beside a head and an acknowledgement into the smallest packet. */
#define CHUNK_MAX 900u
/* A packet that begins with a big message, of so many. */
#define BIG_TURN 4u
/* An idle link has an exchange that often in a tick. */
#define KEEP_ALIVE 5u

struct chunk {
    struct rusmi_list node; /* in conn->again while `queued` */
    uint64_t seq;           /* of its message's stream; unused for the control stream */
    uint64_t offset;
    uint32_t len;
    uint16_t refs; /* packets that took it along, and the queue */
    bool control, fin, acked, queued;
    uint8_t data[]; /* of the control stream */
};

/* A packet that asks for an acknowledgement and has none yet. */
struct sent {
    struct rusmi_list node; /* of conn->sent, in order of number */
    uint64_t number;
    rusm_time at;
    uint32_t bytes;
    bool max; /* it told the limits */
    uint16_t chunks_len;
    struct chunk *chunks[];
};

/* A piece of a stream that came before what precedes it. */
struct piece {
    struct piece *next;
    uint64_t offset;
    uint32_t len;
    bool fin;
    uint8_t data[];
};

/* A message stream of the peer. */
struct rx {
    uint64_t seq; /* + 1; 0: the slot is free */
    uint64_t next;
    struct piece *pieces; /* in order of offset */
    bool whole;
};

/* A message of ours that was started. */
struct tx {
    struct rusmi_out *out;
    uint64_t acked;
    struct tx *next; /* in a line: with bytes not yet sent */
};

struct line {
    struct tx *first, *last;
};

struct range {
    uint64_t first, last;
};

struct rusmi_quic_conn {
    struct rusmi_quic_config cfg;
    struct rusmi_quic_events events;
    const struct sim_life *life;
    enum rusmi_quic_state state;
    bool server;
    rusm_time now, started, heard;
    struct sockaddr_storage remote;
    socklen_t remote_len;
    uint64_t own_cid, peer_cid, first_cid;
    bool cids_told;
    uint64_t token; /* of a Retry; 0: none */

    /* handshake */
    rusm_time shake_at; /* when its packet is sent (again); NEVER: none */
    unsigned shake_count;
    bool confirmed; /* dialer: the peer has our FINISH */
    struct rusmi_peer_identity peer;

    /* what the peer allows */
    uint64_t max_data, max_streams;
    uint64_t data_sent, next_stream;
    uint64_t window; /* its first max_data */
    /* what we allow */
    uint64_t grant_data, grant_streams;
    bool grant_news;
    uint64_t handed, returned, returns; /* bytes given to the inbox, and credit that came of it */

    /* sending */
    uint64_t number;
    struct rusmi_list sent, again;
    uint64_t acked_max; /* + 1 */
    size_t in_flight, cwnd, ssthresh;
    rusm_time recovery; /* losses of packets sent before that are one loss */
    rusm_time srtt, rttvar, latest;
    rusm_time loss_at;
    unsigned pto_count, packed;
    rusm_time last_asked; /* when a packet was sent that asks for an acknowledgement */
    bool probe, ping;
    struct line small, big;
    struct tx *tx;             /* ring by stream number */
    struct rusmi_list control; /* chunks of the control stream not yet sent */
    uint64_t control_end;      /* bytes queued since the beginning */
    size_t control_pending;

    /* receiving */
    struct range ranges[RANGES_MAX]; /* packet numbers received, the latest first */
    size_t ranges_len;
    bool ack_due;
    rusm_time ack_at;
    unsigned ack_count;
    struct rx *rx; /* ring by stream number */
    uint64_t control_next;
    struct piece *control_pieces;

    /* the end */
    struct rusmi_quic_end end;
    bool close_application, close_written, close_repeat;
    uint64_t close_code, close_heard;
    char close_text[RUSMI_QUIC_TEXT_MAX];
    rusm_time drain_until;
    struct rusmi_quic_stats stats;
};

#define TO(state) (1u << (state))

static const unsigned moves[] = {
    [RUSMI_QUIC_HANDSHAKE] = TO(RUSMI_QUIC_UP) | TO(RUSMI_QUIC_CLOSING) | TO(RUSMI_QUIC_DRAINING) |
                             TO(RUSMI_QUIC_CLOSED),
    [RUSMI_QUIC_UP] = TO(RUSMI_QUIC_CLOSING) | TO(RUSMI_QUIC_DRAINING) | TO(RUSMI_QUIC_CLOSED),
    [RUSMI_QUIC_CLOSING] = TO(RUSMI_QUIC_DRAINING) | TO(RUSMI_QUIC_CLOSED),
    [RUSMI_QUIC_DRAINING] = TO(RUSMI_QUIC_CLOSED),
    [RUSMI_QUIC_CLOSED] = 0,
};

static void move(struct rusmi_quic_conn *conn, enum rusmi_quic_state to)
{
    rusmi_assert(moves[conn->state] & TO(to));
    conn->state = to;
}

static rusm_time clamp(struct rusmi_quic_conn *conn, rusm_time now)
{
    conn->now = now > conn->now ? now : conn->now;
    return conn->now;
}

static rusm_time pto(const struct rusmi_quic_conn *conn)
{
    rusm_time var = 4 * conn->rttvar > SIM_MS ? 4 * conn->rttvar : SIM_MS;
    unsigned count = conn->pto_count < 10 ? conn->pto_count : 10;

    return (conn->srtt + var + conn->cfg.ack_hold_ns) << count;
}

/* ---- the end --------------------------------------------------------------------------------- */

static rusm_err cause_err(enum rusmi_quic_cause cause)
{
    switch (cause) {
    case RUSMI_QUIC_NONE:
        return RUSM_OK;
    case RUSMI_QUIC_CLOSED_LOCAL:
        return RUSM_ECLOSED;
    case RUSMI_QUIC_CLOSED_PEER:
    case RUSMI_QUIC_TRANSPORT:
    case RUSMI_QUIC_RESET:
        return RUSM_ENOLINK;
    case RUSMI_QUIC_REFUSED_LOCAL:
    case RUSMI_QUIC_REFUSED_PEER:
        return RUSM_EAUTH;
    case RUSMI_QUIC_TIMEOUT:
        return RUSM_ETIMEOUT;
    case RUSMI_QUIC_PROTOCOL:
        return RUSM_EPROTO;
    case RUSMI_QUIC_INTERNAL:
        return RUSM_ENOMEM;
    }
    return RUSM_ENOLINK;
}

static void end_set(struct rusmi_quic_conn *conn, enum rusmi_quic_cause cause, uint64_t code,
                    const char *text)
{
    if (conn->end.cause == RUSMI_QUIC_NONE) {
        conn->end.cause = cause;
        conn->end.err = cause_err(cause);
        conn->end.code = code;
        (void)snprintf(conn->end.text, sizeof(conn->end.text), "%s", text);
    }
}

/* Close, and tell the peer with that code and (application closes) the text. */
static void stop(struct rusmi_quic_conn *conn, enum rusmi_quic_cause cause, bool application,
                 uint64_t code, const char *text)
{
    if (conn->state > RUSMI_QUIC_UP) {
        return;
    }
    end_set(conn, cause, code, text);
    conn->close_application = application;
    conn->close_code = code;
    (void)snprintf(conn->close_text, sizeof(conn->close_text), "%s", application ? text : "");
    move(conn, RUSMI_QUIC_CLOSING);
}

/* What an event of the owner returned. */
static void fail_with(struct rusmi_quic_conn *conn, rusm_err err)
{
    enum rusmi_quic_cause cause = err == RUSM_EPROTO   ? RUSMI_QUIC_PROTOCOL
                                  : err == RUSM_ENOMEM ? RUSMI_QUIC_INTERNAL
                                                       : RUSMI_QUIC_REFUSED_LOCAL;
    enum rusmi_close_code code = err == RUSM_EPROTO    ? RUSMI_CLOSE_PROTOCOL
                                 : err == RUSM_ENOMEM  ? RUSMI_CLOSE_MEMORY
                                 : err == RUSM_ECLOSED ? RUSMI_CLOSE_SHUTDOWN
                                                       : RUSMI_CLOSE_NORMAL;

    if (conn->state <= RUSMI_QUIC_UP) {
        stop(conn, cause, true, code, rusm_err_detail());
        conn->end.err = err;
    }
}

static void fail_protocol(struct rusmi_quic_conn *conn, const char *why)
{
    /* No peer in here lies: whatever a node finds fault with is a finding. */
    sim_fail("a peer broke the protocol: %s", why);
    (void)conn;
}

void __wrap_rusmi_quic_conn_close(struct rusmi_quic_conn *conn, uint64_t code, const char *text);
void __wrap_rusmi_quic_conn_close(struct rusmi_quic_conn *conn, uint64_t code, const char *text)
{
    stop(conn, RUSMI_QUIC_CLOSED_LOCAL, true, code, text == NULL ? "" : text);
}

void __wrap_rusmi_quic_conn_fail(struct rusmi_quic_conn *conn, enum rusmi_quic_cause cause,
                                 uint64_t code, const char *text);
void __wrap_rusmi_quic_conn_fail(struct rusmi_quic_conn *conn, enum rusmi_quic_cause cause,
                                 uint64_t code, const char *text)
{
    if (cause == RUSMI_QUIC_PROTOCOL) {
        fail_protocol(conn, text);
    }
    stop(conn, cause, true, code, text == NULL ? "" : text);
}

/* ---- new and del ----------------------------------------------------------------------------- */

static rusm_err conn_new(struct rusmi_quic_conn **out_conn, const struct rusmi_quic_config *cfg,
                         const struct rusmi_quic_events *events, const struct rusmi_quic_path *path,
                         bool server, rusm_time now)
{
    struct rusmi_quic_conn *conn = rusmi_zalloc(sizeof(*conn));

    if (conn == NULL) {
        return RUSM_ENOMEM;
    }
    conn->cfg = *cfg;
    (void)rusm_identity_hold(cfg->identity);
    conn->events = *events;
    conn->server = server;
    conn->life = sim_here();
    conn->now = conn->started = conn->heard = conn->last_asked = now;
    memcpy(&conn->remote, path->remote, path->remote_len);
    conn->remote_len = path->remote_len;
    conn->own_cid = rusmi_prng_next(&sim->entropy);
    conn->srtt = cfg->initial_rtt_ns;
    conn->rttvar = cfg->initial_rtt_ns / 2;
    conn->cwnd = CWND_FIRST;
    conn->ssthresh = CWND_MAX;
    conn->loss_at = conn->ack_at = conn->drain_until = NEVER;
    conn->shake_at = server ? NEVER : now;
    conn->grant_data = cfg->window;
    conn->grant_streams = cfg->streams_max;
    rusmi_list_init(&conn->sent);
    rusmi_list_init(&conn->again);
    rusmi_list_init(&conn->control);
    *out_conn = conn;
    return RUSM_OK;
}

rusm_err __wrap_rusmi_quic_conn_new_client(struct rusmi_quic_conn **out_conn,
                                           const struct rusmi_quic_config *cfg,
                                           const struct rusmi_quic_events *events,
                                           const struct rusmi_quic_path *path, rusm_time now);
rusm_err __wrap_rusmi_quic_conn_new_client(struct rusmi_quic_conn **out_conn,
                                           const struct rusmi_quic_config *cfg,
                                           const struct rusmi_quic_events *events,
                                           const struct rusmi_quic_path *path, rusm_time now)
{
    rusm_err err = conn_new(out_conn, cfg, events, path, false, now);

    if (err == RUSM_OK) {
        (*out_conn)->first_cid = (*out_conn)->peer_cid = rusmi_prng_next(&sim->entropy);
    }
    return err;
}

rusm_err __wrap_rusmi_quic_conn_new_server(struct rusmi_quic_conn **out_conn,
                                           const struct rusmi_quic_config *cfg,
                                           const struct rusmi_quic_events *events,
                                           const struct rusmi_quic_path *path,
                                           const struct rusmi_quic_route *first,
                                           const struct rusmi_quic_proof *proof, rusm_time now);
rusm_err __wrap_rusmi_quic_conn_new_server(struct rusmi_quic_conn **out_conn,
                                           const struct rusmi_quic_config *cfg,
                                           const struct rusmi_quic_events *events,
                                           const struct rusmi_quic_path *path,
                                           const struct rusmi_quic_route *first,
                                           const struct rusmi_quic_proof *proof, rusm_time now)
{
    rusm_err err = conn_new(out_conn, cfg, events, path, true, now);
    struct rusmi_quic_conn *conn = *out_conn;

    (void)proof;
    if (err != RUSM_OK) {
        return err;
    }
    memcpy(&conn->peer_cid, first->scid.data, SIM_CID_LEN);
    memcpy(&conn->first_cid, first->dcid.data, SIM_CID_LEN);
    conn->events.cid_new(conn->events.arg, (const uint8_t *)&conn->own_cid, SIM_CID_LEN);
    conn->events.cid_new(conn->events.arg, (const uint8_t *)&conn->first_cid, SIM_CID_LEN);
    conn->cids_told = true;
    return RUSM_OK;
}

static void chunk_drop(struct chunk *chunk)
{
    if (--chunk->refs == 0) {
        rusmi_free(chunk);
    }
}

static void pieces_free(struct piece *piece)
{
    while (piece != NULL) {
        struct piece *next = piece->next;

        rusmi_free(piece);
        piece = next;
    }
}

static void sent_free(struct sent *sent)
{
    for (unsigned i = 0; i < sent->chunks_len; i++) {
        chunk_drop(sent->chunks[i]);
    }
    rusmi_free(sent);
}

void __wrap_rusmi_quic_conn_del(struct rusmi_quic_conn *conn);
void __wrap_rusmi_quic_conn_del(struct rusmi_quic_conn *conn)
{
    struct rusmi_list *node;

    if (conn == NULL) {
        return;
    }
    while ((node = rusmi_list_pop(&conn->sent)) != NULL) {
        sent_free(rusmi_container(node, struct sent, node));
    }
    while ((node = rusmi_list_pop(&conn->again)) != NULL) {
        chunk_drop(rusmi_container(node, struct chunk, node));
    }
    while ((node = rusmi_list_pop(&conn->control)) != NULL) {
        chunk_drop(rusmi_container(node, struct chunk, node));
    }
    pieces_free(conn->control_pieces);
    for (uint64_t i = 0; conn->rx != NULL && i < conn->cfg.streams_max; i++) {
        pieces_free(conn->rx[i].pieces);
    }
    rusmi_free(conn->rx);
    rusmi_free(conn->tx);
    rusm_identity_del(conn->cfg.identity);
    if (conn->cids_told) {
        conn->events.cid_retire(conn->events.arg, (const uint8_t *)&conn->own_cid, SIM_CID_LEN);
        conn->events.cid_retire(conn->events.arg, (const uint8_t *)&conn->first_cid, SIM_CID_LEN);
    }
    rusmi_free(conn);
}

/* ---- handshake ------------------------------------------------------------------------------- */

/* What a certificate says, and the limits: the body of ACCEPT and FINISH. */
static void put_identity(struct rusmi_quic_conn *conn, struct sim_cursor *cursor)
{
    struct rusmi_peer_identity peer;
    rusm_cert_info info;

    memset(&peer, 0, sizeof(peer));
    rusm_identity_get_info(conn->cfg.identity, &info);
    (void)snprintf(peer.cluster, sizeof(peer.cluster), "%s", info.cluster);
    (void)snprintf(peer.node, sizeof(peer.node), "%s", info.node);
    peer.role = info.role;
    peer.shared = info.shared;
    peer.not_after = peer.trusted_until = info.not_after;
    sim_put(cursor, &peer, sizeof(peer));
    sim_put_u64(cursor, conn->cfg.window);
    sim_put_u64(cursor, conn->cfg.streams_max);
}

/* The peer is known: UP. */
static void get_identity(struct rusmi_quic_conn *conn, struct sim_cursor *cursor)
{
    static const uint8_t certificate[1]; /* nobody judges it again here */
    rusm_err err;

    sim_get(cursor, &conn->peer, sizeof(conn->peer));
    conn->peer.der = certificate;
    conn->peer.der_len = sizeof(certificate);
    conn->window = conn->max_data = sim_get_u64(cursor);
    conn->max_streams = sim_get_u64(cursor);
    conn->rx = rusmi_zalloc_array((size_t)conn->cfg.streams_max, sizeof(*conn->rx));
    conn->tx = rusmi_zalloc_array((size_t)conn->cfg.streams_max, sizeof(*conn->tx));
    rusmi_assert(!cursor->bad && conn->rx != NULL && conn->tx != NULL);
    conn->pto_count = 0;
    conn->heard = conn->last_asked = conn->now;
    move(conn, RUSMI_QUIC_UP);
    err = conn->events.authenticated(conn->events.arg, &conn->peer);
    if (err != RUSM_OK) {
        fail_with(conn, err);
    }
}

static size_t write_shake(struct rusmi_quic_conn *conn, uint8_t *buf, size_t buf_len)
{
    struct sim_cursor cursor = {buf, buf + buf_len, false};
    struct sim_head head = {.kind = conn->server                          ? SIM_ACCEPT
                                    : conn->state == RUSMI_QUIC_HANDSHAKE ? SIM_INITIAL
                                                                          : SIM_FINISH,
                            .dcid = conn->peer_cid,
                            .scid = conn->own_cid};

    sim_put_head(&cursor, &head);
    if (head.kind != SIM_INITIAL) {
        put_identity(conn, &cursor);
    } else if (conn->token != 0) {
        sim_put_u8(&cursor, sizeof(conn->token));
        sim_put_u64(&cursor, conn->token);
    } else {
        sim_put_u8(&cursor, 0);
    }
    rusmi_assert(!cursor.bad);
    conn->shake_at =
        conn->now + ((2 * conn->srtt) << (conn->shake_count < 6 ? conn->shake_count : 6));
    conn->shake_count++;
    return (size_t)(cursor.at - buf);
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* False: it came before, or is so old that nobody knows. */
static bool note_number(struct rusmi_quic_conn *conn, uint64_t number)
{
    struct range *ranges = conn->ranges;
    size_t at = 0;

    while (at < conn->ranges_len && ranges[at].first > number) {
        at++;
    }
    if (at < conn->ranges_len && number <= ranges[at].last) {
        return false;
    }
    if (at == RANGES_MAX) {
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
    if (conn->ranges_len == RANGES_MAX) {
        conn->ranges_len--;
    }
    memmove(&ranges[at + 1], &ranges[at], (conn->ranges_len++ - at) * sizeof(*ranges));
    ranges[at] = (struct range){number, number};
    return true;
}

static void keep_piece(struct piece **at, uint64_t offset, const uint8_t *data, uint32_t len,
                       bool fin)
{
    struct piece *piece;

    while (*at != NULL && (*at)->offset < offset) {
        at = &(*at)->next;
    }
    if (*at != NULL && (*at)->offset == offset) {
        return; /* chunks keep their boundaries: the same once more */
    }
    piece = rusmi_alloc(sizeof(*piece) + len);
    rusmi_assert(piece != NULL);
    *piece = (struct piece){.next = *at, .offset = offset, .len = len, .fin = fin};
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
        fail_with(conn, err);
    }
}

static void recv_control(struct rusmi_quic_conn *conn, uint64_t offset, const uint8_t *data,
                         uint32_t len)
{
    struct piece *piece;

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

static void hand_stream(struct rusmi_quic_conn *conn, struct rx *rx, uint64_t seq,
                        const uint8_t *data, uint32_t len, bool fin)
{
    uint64_t offset = rx->next;

    rx->next += len;
    rx->whole = fin;
    conn->handed += len;
    if (conn->state == RUSMI_QUIC_UP &&
        rusmi_inbox_data(conn->events.inbox, seq, offset, data, len, fin) != RUSM_OK) {
        fail_protocol(conn, conn->events.inbox->why);
    }
}

static void recv_stream(struct rusmi_quic_conn *conn, uint64_t seq, uint64_t offset,
                        const uint8_t *data, uint32_t len, bool fin)
{
    struct rx *rx = &conn->rx[seq % conn->cfg.streams_max];
    struct piece *piece;

    sim_check(seq < conn->grant_streams, "a stream over the limit was opened");
    if (rx->seq != seq + 1) {
        if (rx->seq > seq + 1) {
            return; /* that stream is long over */
        }
        rusmi_assert(rx->seq == 0 || rx->whole);
        *rx = (struct rx){.seq = seq + 1};
    }
    if (rx->whole || offset < rx->next) {
        return;
    }
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

static void chunk_acked(struct rusmi_quic_conn *conn, struct chunk *chunk)
{
    struct tx *tx;

    if (chunk->acked) {
        return;
    }
    chunk->acked = true;
    if (chunk->queued) {
        chunk->queued = false;
        rusmi_list_remove(&chunk->node);
        chunk->refs--; /* the packet that was acknowledged still has one */
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

static void forget_sent(struct rusmi_quic_conn *conn, struct sent *sent)
{
    rusmi_list_remove(&sent->node);
    conn->in_flight -= sent->bytes;
}

static void sent_lost(struct rusmi_quic_conn *conn, struct sent *sent)
{
    forget_sent(conn, sent);
    conn->stats.packets_lost++;
    for (unsigned i = 0; i < sent->chunks_len; i++) {
        struct chunk *chunk = sent->chunks[i];

        if (!chunk->acked && !chunk->queued) {
            chunk->queued = true;
            chunk->refs++;
            rusmi_list_push(&conn->again, &chunk->node);
        }
    }
    conn->grant_news = conn->grant_news || sent->max;
    if (sent->at >= conn->recovery) {
        conn->recovery = conn->now;
        conn->cwnd = conn->cwnd / 2 > CWND_MIN ? conn->cwnd / 2 : CWND_MIN;
        conn->ssthresh = conn->cwnd;
    }
    sent_free(sent);
}

/* Find what is lost by now, and when to look again. */
static void find_losses(struct rusmi_quic_conn *conn)
{
    rusm_time rtt = conn->srtt > conn->latest ? conn->srtt : conn->latest;
    rusm_time patience = rtt + rtt / 8 + SIM_MS;
    struct rusmi_list *at = conn->sent.next;

    conn->loss_at = NEVER;
    while (at != &conn->sent) {
        struct sent *sent = rusmi_container(at, struct sent, node);

        at = at->next;
        if (sent->number + 1 >= conn->acked_max) {
            break;
        }
        if (sent->number + 1 + REORDER <= conn->acked_max || sent->at + patience <= conn->now) {
            sent_lost(conn, sent);
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

static void packet_acked(struct rusmi_quic_conn *conn, struct sent *sent, bool largest)
{
    if (largest) {
        measure(conn, conn->now - sent->at);
    }
    forget_sent(conn, sent);
    if (conn->cwnd < CWND_MAX) {
        conn->cwnd += conn->cwnd < conn->ssthresh
                          ? sent->bytes
                          : (size_t)sent->bytes * conn->cfg.udp_payload_max / conn->cwnd;
    }
    for (unsigned i = 0; i < sent->chunks_len; i++) {
        chunk_acked(conn, sent->chunks[i]);
    }
    sent_free(sent);
}

static void recv_ack(struct rusmi_quic_conn *conn, struct sim_cursor *cursor)
{
    struct range ranges[ACK_RANGES];
    size_t len = sim_get_u8(cursor);
    struct rusmi_list *at = conn->sent.next;

    sim_get(cursor, ranges, (len > ACK_RANGES ? ACK_RANGES : len) * sizeof(ranges[0]));
    if (cursor->bad || len == 0) {
        return;
    }
    if (ranges[0].last + 1 > conn->acked_max) {
        conn->acked_max = ranges[0].last + 1;
    }
    while (at != &conn->sent) {
        struct sent *sent = rusmi_container(at, struct sent, node);

        at = at->next;
        for (size_t i = 0; i < len; i++) {
            if (sent->number >= ranges[i].first && sent->number <= ranges[i].last) {
                conn->pto_count = 0;
                packet_acked(conn, sent, sent->number + 1 == conn->acked_max);
                break;
            }
        }
    }
    find_losses(conn);
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
        conn->shake_at = NEVER;
    }
    while (cursor->at < cursor->end && conn->state == RUSMI_QUIC_UP) {
        asks |= recv_frame(conn, cursor);
        rusmi_assert(!cursor->bad);
    }
    if (asks && !conn->ack_due) {
        conn->ack_due = ++conn->ack_count >= 2;
        conn->ack_at = conn->ack_at == NEVER ? conn->now + conn->cfg.ack_hold_ns : conn->ack_at;
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
        end_set(conn, RUSMI_QUIC_CLOSED_PEER, code, text);
    } else {
        (void)snprintf(text, sizeof(text), "the peer closed the connection (QUIC error %llu)",
                       (unsigned long long)code);
        end_set(conn, RUSMI_QUIC_TRANSPORT, code, text);
        conn->end.err = RUSM_EREFUSED;
    }
    conn->drain_until = conn->now + 3 * pto(conn);
    move(conn, RUSMI_QUIC_DRAINING);
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
        conn->shake_at = conn->confirmed ? NEVER : conn->now;
        if (shaking) {
            conn->shake_count = 0;
            conn->peer_cid = head->scid;
            get_identity(conn, cursor);
        }
        return true;
    case SIM_FINISH:
        if (!conn->server) {
            return false;
        }
        if (shaking) {
            conn->shake_at = NEVER;
            get_identity(conn, cursor);
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
    now = clamp(conn, now);
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
            end_set(conn, RUSMI_QUIC_RESET, 0,
                    "the peer no longer knows the connection: it was restarted or dropped it");
            conn->drain_until = now;
            move(conn, RUSMI_QUIC_DRAINING);
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

/* ---- sending --------------------------------------------------------------------------------- */

static void line_push(struct line *line, struct tx *tx)
{
    tx->next = NULL;
    if (line->last != NULL) {
        line->last->next = tx;
    } else {
        line->first = tx;
    }
    line->last = tx;
}

static void line_pop(struct line *line)
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
        struct tx *tx = &conn->tx[seq % conn->cfg.streams_max];

        rusmi_outbox_start(conn->events.outbox, out, seq);
        *tx = (struct tx){.out = out};
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
        const struct rx *rx = &conn->rx[i];

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

static void put_chunk(struct rusmi_quic_conn *conn, struct sim_cursor *cursor, struct chunk *chunk)
{
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
static struct chunk *cut(struct rusmi_quic_conn *conn, struct line *line, size_t room)
{
    struct tx *tx = line->first;
    struct rusmi_out *out = tx->out;
    size_t left = rusmi_out_len(out) - out->sent;
    size_t len = left < CHUNK_MAX ? left : CHUNK_MAX;
    struct chunk *chunk;

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
    }
    return chunk;
}

/* What goes next into a packet with so much room; NULL: nothing (that fits). */
static struct chunk *next_chunk(struct rusmi_quic_conn *conn, const struct sim_cursor *cursor,
                                bool big_first)
{
    struct rusmi_list *from = !rusmi_list_empty(&conn->again) ? &conn->again : &conn->control;
    struct line *line;

    if (!rusmi_list_empty(from)) {
        struct chunk *chunk = rusmi_container(from->next, struct chunk, node);

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
    size_t len = conn->ranges_len < ACK_RANGES ? conn->ranges_len : ACK_RANGES;

    if (conn->ack_at == NEVER && !conn->ack_due) {
        return;
    }
    sim_put_u8(cursor, SIM_FRAME_ACK);
    sim_put_u8(cursor, (uint8_t)len);
    sim_put(cursor, conn->ranges, len * sizeof(conn->ranges[0]));
    conn->ack_due = false;
    conn->ack_at = NEVER;
    conn->ack_count = 0;
}

static struct sent *sent_new(struct rusmi_quic_conn *conn, struct chunk **chunks, uint16_t len,
                             bool max)
{
    struct sent *sent = rusmi_zalloc(sizeof(*sent) + len * sizeof(struct chunk *));

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
static bool is_due(const struct rusmi_quic_conn *conn, rusm_time now)
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
    struct chunk *chunks[PACKET_CHUNKS], *chunk;
    bool big_first = conn->packed++ % BIG_TURN == BIG_TURN - 1;
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
        struct sent *sent = sent_new(conn, chunks, len, max);

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
        conn->drain_until = conn->now + 3 * pto(conn);
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
    now = clamp(conn, now);
    if (conn->state == RUSMI_QUIC_UP) {
        take_credit(conn);
    }
    if (conn->state <= RUSMI_QUIC_UP && is_due(conn, now)) {
        len = conn->shake_at <= now ? write_shake(conn, buf, buf_len)
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

uint64_t sim_conn_key(const struct rusmi_quic_conn *conn)
{
    return conn->own_cid ^ conn->peer_cid;
}

/* ---- time ------------------------------------------------------------------------------------ */

static rusm_time keep_alive_at(const struct rusmi_quic_conn *conn)
{
    return conn->last_asked + conn->cfg.tick_ns / KEEP_ALIVE;
}

/* As src/quic/conn.c: a quarter of a tick for a keep-alive and a round trip. */
static rusm_time silent_at(const struct rusmi_quic_conn *conn)
{
    return conn->heard + conn->cfg.tick_ns + conn->cfg.tick_ns / 4;
}

static rusm_time pto_at(const struct rusmi_quic_conn *conn)
{
    return rusmi_list_empty(&conn->sent) ? NEVER : conn->last_asked + pto(conn);
}

static rusm_time least(rusm_time a, rusm_time b)
{
    return a < b ? a : b;
}

rusm_time __wrap_rusmi_quic_conn_deadline(const struct rusmi_quic_conn *conn);
rusm_time __wrap_rusmi_quic_conn_deadline(const struct rusmi_quic_conn *conn)
{
    rusm_time at;

    switch (conn->state) {
    case RUSMI_QUIC_HANDSHAKE:
        return least(conn->shake_at, conn->started + conn->cfg.handshake_ns);
    case RUSMI_QUIC_UP:
        at = least(silent_at(conn), keep_alive_at(conn));
        at = least(at, least(conn->shake_at, conn->ack_at));
        at = least(at, least(conn->loss_at, pto_at(conn)));
        return is_due(conn, conn->now) ? least(at, conn->now) : at;
    case RUSMI_QUIC_CLOSING:
    case RUSMI_QUIC_DRAINING:
        return conn->state == RUSMI_QUIC_CLOSING && !conn->close_written ? conn->now
                                                                         : conn->drain_until;
    case RUSMI_QUIC_CLOSED:
        break;
    }
    return NEVER;
}

rusm_err __wrap_rusmi_quic_conn_timer(struct rusmi_quic_conn *conn, rusm_time now);
rusm_err __wrap_rusmi_quic_conn_timer(struct rusmi_quic_conn *conn, rusm_time now)
{
    char text[80];

    now = clamp(conn, now);
    if (conn->state > RUSMI_QUIC_UP) {
        if (conn->state != RUSMI_QUIC_CLOSED && now >= conn->drain_until) {
            move(conn, RUSMI_QUIC_CLOSED);
        }
        return conn->end.err;
    }
    if (conn->state == RUSMI_QUIC_HANDSHAKE) {
        if (now >= conn->started + conn->cfg.handshake_ns) {
            end_set(conn, RUSMI_QUIC_TIMEOUT, 0, "the peer did not answer in time");
            move(conn, RUSMI_QUIC_CLOSED);
        }
        return conn->end.err;
    }
    if (now >= silent_at(conn)) {
        (void)snprintf(text, sizeof(text), "time-out, last heard %llu ms ago",
                       (unsigned long long)((now - conn->heard) / SIM_MS));
        stop(conn, RUSMI_QUIC_TIMEOUT, true, RUSMI_CLOSE_SILENT, text);
        return conn->end.err;
    }
    if (now >= conn->loss_at) {
        find_losses(conn);
    }
    if (now >= pto_at(conn)) {
        struct sent *oldest = rusmi_container(conn->sent.next, struct sent, node);

        conn->pto_count++;
        conn->probe = true;
        conn->last_asked = now;
        sent_lost(conn, oldest);
    }
    conn->ping = conn->ping || now >= keep_alive_at(conn);
    return conn->end.err;
}

/* ---- the rest -------------------------------------------------------------------------------- */

rusm_err __wrap_rusmi_quic_conn_send_control(struct rusmi_quic_conn *conn, const void *data,
                                             size_t len);
rusm_err __wrap_rusmi_quic_conn_send_control(struct rusmi_quic_conn *conn, const void *data,
                                             size_t len)
{
    if (conn->state > RUSMI_QUIC_UP) {
        return RUSM_ECLOSED;
    }
    if (conn->state == RUSMI_QUIC_HANDSHAKE) {
        return RUSM_EAGAIN;
    }
    if (len > conn->cfg.control_max || conn->control_pending > conn->cfg.control_max - len) {
        return RUSM_EFULL;
    }
    for (size_t at = 0; at < len;) {
        size_t part = len - at < CHUNK_MAX ? len - at : CHUNK_MAX;
        struct chunk *chunk = rusmi_zalloc(sizeof(*chunk) + part);

        rusmi_assert(chunk != NULL);
        memcpy(chunk->data, (const uint8_t *)data + at, part);
        chunk->control = true;
        chunk->offset = conn->control_end;
        chunk->len = (uint32_t)part;
        chunk->refs = 1;
        rusmi_list_init(&chunk->node);
        rusmi_list_push(&conn->control, &chunk->node);
        conn->control_end += part;
        conn->control_pending += part;
        at += part;
    }
    return RUSM_OK;
}

uint64_t __wrap_rusmi_quic_conn_peer_window(const struct rusmi_quic_conn *conn);
uint64_t __wrap_rusmi_quic_conn_peer_window(const struct rusmi_quic_conn *conn)
{
    return conn->window;
}

void __wrap_rusmi_quic_conn_set_boxes(struct rusmi_quic_conn *conn, struct rusmi_outbox *outbox,
                                      struct rusmi_inbox *inbox);
void __wrap_rusmi_quic_conn_set_boxes(struct rusmi_quic_conn *conn, struct rusmi_outbox *outbox,
                                      struct rusmi_inbox *inbox)
{
    conn->events.outbox = outbox;
    conn->events.inbox = inbox;
}

bool __wrap_rusmi_quic_conn_wants_write(const struct rusmi_quic_conn *conn, rusm_time now);
bool __wrap_rusmi_quic_conn_wants_write(const struct rusmi_quic_conn *conn, rusm_time now)
{
    return conn->state == RUSMI_QUIC_CLOSING ? !conn->close_written || conn->close_repeat
                                             : is_due(conn, now);
}

size_t __wrap_rusmi_quic_conn_control_pending(const struct rusmi_quic_conn *conn);
size_t __wrap_rusmi_quic_conn_control_pending(const struct rusmi_quic_conn *conn)
{
    return conn->control_pending;
}

enum rusmi_quic_state __wrap_rusmi_quic_conn_state(const struct rusmi_quic_conn *conn);
enum rusmi_quic_state __wrap_rusmi_quic_conn_state(const struct rusmi_quic_conn *conn)
{
    return conn->state;
}

const struct rusmi_quic_end *__wrap_rusmi_quic_conn_end(const struct rusmi_quic_conn *conn);
const struct rusmi_quic_end *__wrap_rusmi_quic_conn_end(const struct rusmi_quic_conn *conn)
{
    return &conn->end;
}

bool __wrap_rusmi_quic_conn_is_server(const struct rusmi_quic_conn *conn);
bool __wrap_rusmi_quic_conn_is_server(const struct rusmi_quic_conn *conn)
{
    return conn->server;
}

const uint8_t *__wrap_rusmi_quic_conn_binding(const struct rusmi_quic_conn *conn);
const uint8_t *__wrap_rusmi_quic_conn_binding(const struct rusmi_quic_conn *conn)
{
    static const uint8_t binding[RUSMI_BINDING_LEN]; /* no certificate is shown again here */

    (void)conn;
    return binding;
}

bool __wrap_rusmi_quic_conn_is_quiet(const struct rusmi_quic_conn *conn);
bool __wrap_rusmi_quic_conn_is_quiet(const struct rusmi_quic_conn *conn)
{
    const struct rusmi_outbox *outbox = conn->events.outbox;

    /* What is cut off has nobody to wait for. */
    if (conn->life->cut) {
        return true;
    }
    return conn->control_pending == 0 &&
           (outbox == NULL || (outbox->queued_count == 0 && outbox->flight_count == 0));
}

void __wrap_rusmi_quic_conn_get_stats(const struct rusmi_quic_conn *conn,
                                      struct rusmi_quic_stats *out_stats);
void __wrap_rusmi_quic_conn_get_stats(const struct rusmi_quic_conn *conn,
                                      struct rusmi_quic_stats *out_stats)
{
    *out_stats = conn->stats;
    out_stats->rtt_ns = conn->latest == 0 ? 0 : conn->srtt;
    out_stats->congestion_window = conn->cwnd;
    out_stats->bytes_in_flight = conn->in_flight;
}

void __real_rusmi_quic_config_init(struct rusmi_quic_config *cfg);
void __wrap_rusmi_quic_config_init(struct rusmi_quic_config *cfg);
void __wrap_rusmi_quic_config_init(struct rusmi_quic_config *cfg)
{
    __real_rusmi_quic_config_init(cfg);
    cfg->window = sim->profile.window;
    cfg->streams_max = sim->profile.streams_max;
}
