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
#include "sim/sim_conn.h"

#include "base/assert.h"
#include "base/mem.h"
#include "platform/wall.h"
#include "quic/end.h"
#include "sim/sim_cover.h"
#include "trust/verify.h"
#include "wire/control.h"

#include <stdio.h>
#include <string.h>

/* An idle link has an exchange that often in a tick. */
#define KEEP_ALIVE 5u

#define TO(state)  (1u << (state))

static const unsigned moves[] = {
    [RUSMI_QUIC_HANDSHAKE] = TO(RUSMI_QUIC_UP) | TO(RUSMI_QUIC_CLOSING) | TO(RUSMI_QUIC_DRAINING) |
                             TO(RUSMI_QUIC_CLOSED),
    [RUSMI_QUIC_UP] = TO(RUSMI_QUIC_CLOSING) | TO(RUSMI_QUIC_DRAINING) | TO(RUSMI_QUIC_CLOSED),
    [RUSMI_QUIC_CLOSING] = TO(RUSMI_QUIC_DRAINING) | TO(RUSMI_QUIC_CLOSED),
    [RUSMI_QUIC_DRAINING] = TO(RUSMI_QUIC_CLOSED),
    [RUSMI_QUIC_CLOSED] = 0,
};

void sim_conn_move(struct rusmi_quic_conn *conn, enum rusmi_quic_state to)
{
    rusmi_assert(moves[conn->state] & TO(to));
    conn->state = to;
}

/* ---- the end --------------------------------------------------------------------------------- */

void sim_conn_end(struct rusmi_quic_conn *conn, enum rusmi_quic_cause cause, uint64_t code,
                  const char *text)
{
    if (conn->end.cause == RUSMI_QUIC_NONE) {
        rusmi_quic_end_set(&conn->end, cause, code, "%s", text);
    }
}

/* Close, and tell the peer with that code and (application closes) the text. */
static void stop(struct rusmi_quic_conn *conn, enum rusmi_quic_cause cause, bool application,
                 uint64_t code, const char *text)
{
    if (conn->state > RUSMI_QUIC_UP) {
        return;
    }
    sim_conn_end(conn, cause, code, text);
    conn->close_application = application;
    conn->close_code = code;
    (void)snprintf(conn->close_text, sizeof(conn->close_text), "%s", application ? text : "");
    sim_conn_move(conn, RUSMI_QUIC_CLOSING);
}

/* What an event of the owner returned. */
void sim_conn_fail_with(struct rusmi_quic_conn *conn, rusm_err err)
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
        if (cause == RUSMI_QUIC_INTERNAL) {
            conn->end.err = err; /* the cause alone does not say that memory ran out */
        }
        conn->end.err = err;
    }
}

void sim_conn_broken(struct rusmi_quic_conn *conn, const char *why)
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
        sim_conn_broken(conn, text);
    }
    stop(conn, cause, true, code, text == NULL ? "" : text);
}

/* Datagrams of the simulator have no size that matters, and its sockets refuse none. */
void __wrap_rusmi_quic_conn_too_large(struct rusmi_quic_conn *conn, size_t size, rusm_time now);
void __wrap_rusmi_quic_conn_too_large(struct rusmi_quic_conn *conn, size_t size, rusm_time now)
{
    (void)conn;
    (void)size;
    (void)now;
    rusmi_assert(false);
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
    conn->cwnd = SIM_CWND_FIRST;
    conn->ssthresh = SIM_CWND_MAX;
    conn->loss_at = conn->ack_at = conn->drain_until = SIM_NEVER;
    conn->shake_at = server ? SIM_NEVER : now;
    conn->grant_at = SIM_NEVER;
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

void sim_chunk_drop(struct sim_chunk *chunk)
{
    if (--chunk->refs == 0) {
        rusmi_free(chunk);
    }
}

static void pieces_free(struct sim_piece *piece)
{
    while (piece != NULL) {
        struct sim_piece *next = piece->next;

        rusmi_free(piece);
        piece = next;
    }
}

void sim_sent_del(struct sim_sent *sent)
{
    for (unsigned i = 0; i < sent->chunks_len; i++) {
        sim_chunk_drop(sent->chunks[i]);
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
        sim_sent_del(rusmi_container(node, struct sim_sent, node));
    }
    while ((node = rusmi_list_pop(&conn->again)) != NULL) {
        sim_chunk_drop(rusmi_container(node, struct sim_chunk, node));
    }
    while ((node = rusmi_list_pop(&conn->control)) != NULL) {
        sim_chunk_drop(rusmi_container(node, struct sim_chunk, node));
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

/* In a run whose certificates last for seconds: when that of a life ends. It is often, but not
 * always, replaced by then. */
static int64_t cert_until_of(struct sim_life *life)
{
    int64_t now = rusmi_wall_s();

    if (life->cert_until == 0 ||
        (life->cert_until < now && rusmi_prng_below(&sim->entropy, 3) != 0)) {
        life->cert_until = now + 1 + (int64_t)rusmi_prng_below(&sim->entropy, 30);
    }
    return life->cert_until;
}

rusm_err __wrap_rusmi_verify_certificate(const uint8_t *der, size_t der_len,
                                         const rusm_identity *own,
                                         const struct rusmi_verify_rules *rules,
                                         struct rusmi_peer_identity *out, char *text,
                                         size_t text_len);
/* A certificate is judged once more on a link that is up. The bytes of one are what it says. */
rusm_err __wrap_rusmi_verify_certificate(const uint8_t *der, size_t der_len,
                                         const rusm_identity *own,
                                         const struct rusmi_verify_rules *rules,
                                         struct rusmi_peer_identity *out, char *text,
                                         size_t text_len)
{
    struct rusmi_peer_identity peer;

    (void)own;
    rusmi_assert(der_len == sizeof(peer));
    memcpy(&peer, der, sizeof(peer));
    if (peer.trusted_until < rules->now_s) {
        if (!sim->healed) {
            sim_cert_expired(peer.node);
            (void)snprintf(text, text_len, "the certificate of node %s has expired", peer.node);
            return RUSM_EAUTH;
        }
        peer.trusted_until = rules->now_s + 24 * 3600; /* by now there is another anchor */
    }
    *out = peer;
    return RUSM_OK;
}

/* What a certificate says, and the limits: the body of ACCEPT and FINISH. */
static void put_identity(struct rusmi_quic_conn *conn, struct sim_cursor *cursor)
{
    struct sim_life *life = sim_here();
    struct rusmi_peer_identity peer;
    rusm_cert_info info;

    memset(&peer, 0, sizeof(peer));
    rusm_identity_get_info(conn->cfg.identity, &info);
    (void)snprintf(peer.cluster, sizeof(peer.cluster), "%s", info.cluster);
    (void)snprintf(peer.node, sizeof(peer.node), "%s", info.node);
    peer.role = info.role;
    peer.shared = info.shared;
    peer.not_after = peer.trusted_until =
        sim->profile.dated && !sim->healed ? cert_until_of(life) : info.not_after;
    sim_put(cursor, &peer, sizeof(peer));
    sim_put_u64(cursor, conn->cfg.window);
    sim_put_u64(cursor, conn->cfg.streams_max);
}

/* The peer is known: UP. */
void sim_conn_authenticate(struct rusmi_quic_conn *conn, struct sim_cursor *cursor)
{
    rusm_err err;

    sim_get(cursor, &conn->peer, sizeof(conn->peer));
    if (!sim->healed && conn->peer.trusted_until < rusmi_wall_s()) {
        sim_seen(SIM_SEEN_REFUSED);
        sim_conn_fail_with(conn, rusm_set_err_detail(RUSM_EAUTH, "the certificate has expired"));
        return;
    }
    conn->certificate = conn->peer;
    conn->peer.der = (const uint8_t *)&conn->certificate;
    conn->peer.der_len = sizeof(conn->certificate);
    conn->window = conn->max_data = sim_get_u64(cursor);
    conn->max_streams = sim_get_u64(cursor);
    conn->rx = rusmi_zalloc_array((size_t)conn->cfg.streams_max, sizeof(*conn->rx));
    conn->tx = rusmi_zalloc_array((size_t)conn->cfg.streams_max, sizeof(*conn->tx));
    rusmi_assert(!cursor->bad && conn->rx != NULL && conn->tx != NULL);
    conn->pto_count = 0;
    conn->heard = conn->last_asked = conn->now;
    sim_conn_move(conn, RUSMI_QUIC_UP);
    err = conn->events.authenticated(conn->events.arg, &conn->peer);
    if (err != RUSM_OK) {
        sim_conn_fail_with(conn, err);
    }
}

size_t sim_conn_write_shake(struct rusmi_quic_conn *conn, uint8_t *buf, size_t buf_len)
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
    return rusmi_list_empty(&conn->sent) ? SIM_NEVER : conn->last_asked + sim_conn_pto(conn);
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
        at = least(at, conn->grant_at);
        return sim_conn_is_due(conn, conn->now) ? least(at, conn->now) : at;
    case RUSMI_QUIC_CLOSING:
    case RUSMI_QUIC_DRAINING:
        return conn->state == RUSMI_QUIC_CLOSING && !conn->close_written ? conn->now
                                                                         : conn->drain_until;
    case RUSMI_QUIC_CLOSED:
        break;
    }
    return SIM_NEVER;
}

rusm_err __wrap_rusmi_quic_conn_timer(struct rusmi_quic_conn *conn, rusm_time now);
rusm_err __wrap_rusmi_quic_conn_timer(struct rusmi_quic_conn *conn, rusm_time now)
{
    char text[80];

    now = sim_conn_clamp(conn, now);
    if (conn->state > RUSMI_QUIC_UP) {
        if (conn->state != RUSMI_QUIC_CLOSED && now >= conn->drain_until) {
            sim_conn_move(conn, RUSMI_QUIC_CLOSED);
        }
        return conn->end.err;
    }
    if (conn->state == RUSMI_QUIC_HANDSHAKE) {
        if (now >= conn->started + conn->cfg.handshake_ns) {
            sim_conn_end(conn, RUSMI_QUIC_TIMEOUT, 0, "the peer did not answer in time");
            sim_conn_move(conn, RUSMI_QUIC_CLOSED);
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
        sim_conn_find_losses(conn);
    }
    if (now >= pto_at(conn)) {
        struct sim_sent *oldest = rusmi_container(conn->sent.next, struct sim_sent, node);

        conn->pto_count++;
        conn->probe = true;
        conn->last_asked = now;
        sim_conn_lose(conn, oldest);
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
        size_t part = len - at < SIM_CHUNK_MAX ? len - at : SIM_CHUNK_MAX;
        struct sim_chunk *chunk = rusmi_zalloc(sizeof(*chunk) + part);

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
    inbox->cfg.stream_first = SIM_STREAM_FIRST;
}

bool __wrap_rusmi_quic_conn_wants_write(const struct rusmi_quic_conn *conn, rusm_time now);
bool __wrap_rusmi_quic_conn_wants_write(const struct rusmi_quic_conn *conn, rusm_time now)
{
    return conn->state == RUSMI_QUIC_CLOSING ? !conn->close_written || conn->close_repeat
                                             : sim_conn_is_due(conn, now);
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
