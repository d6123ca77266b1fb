/* SPDX-License-Identifier: MIT */
/*
 * The life of a connection: made, fed with datagrams and time, ended. See conn.h.
 */
#include "quic/conn.h"

#include <gnutls/crypto.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "quic/core.h"
#include "wire/control.h"

#define MS ((rusm_time)1000000)

/* The inbox works on words of 64 streams. */
#define STREAMS_MIN 64

/* ---- configuration ---- */

void rusmi_quic_config_init(struct rusmi_quic_config *cfg)
{
    memset(cfg, 0, sizeof(*cfg));
    cfg->tick_ns = 10000 * MS;
    cfg->handshake_ns = 5000 * MS;
    cfg->initial_rtt_ns = 50 * MS;
    cfg->ack_hold_ns = MS / 2;
    cfg->ack_hold_bytes = 8192;
    cfg->window = RUSMI_LINK_WINDOW;
    cfg->streams_max = RUSMI_LINK_STREAMS;
    cfg->control_window = 1024 * 1024;
    cfg->control_max = 16 * 1024 * 1024;
    cfg->udp_payload_max = 1452;
}

uint64_t rusmi_quic_config_granted(const struct rusmi_quic_config *cfg)
{
    /* The total of which rusmi_quic_reserve leaves exactly cfg->window: T - T/4 = X for T = 4X/3.
     */
    return (cfg->window + cfg->control_window + 1) * 4 / 3;
}

static bool config_ok(const struct rusmi_quic_config *cfg)
{
    return cfg->identity && cfg->wall_s && cfg->tick_ns >= MS && cfg->handshake_ns >= MS &&
           cfg->initial_rtt_ns > 0 && cfg->window >= RUSMI_STREAM_WINDOW &&
           cfg->window < (uint64_t)1 << 60 && cfg->streams_max >= STREAMS_MIN &&
           cfg->streams_max < (uint64_t)1 << 32 && cfg->control_window >= 1024 &&
           cfg->control_window <= cfg->window && cfg->udp_payload_max >= 1200 &&
           cfg->udp_payload_max <= RUSMI_QUIC_BATCH_MAX;
}

/* Sizes to look for on the path, largest first: what was asked for, Ethernet's, and those of common
 * tunnels. */
static size_t fill_probes(uint16_t probes[4], size_t max)
{
    static const uint16_t common[] = {1452, 1404, 1280};
    size_t count = 0;

    if (max > 1200) {
        probes[count++] = (uint16_t)max;
    }
    for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++) {
        if (common[i] < max) {
            probes[count++] = common[i];
        }
    }
    return count;
}

static void fill_settings(struct rusmi_quic_conn *conn, ngtcp2_settings *settings, rusm_time now)
{
    const struct rusmi_quic_config *cfg = &conn->cfg;

    ngtcp2_settings_default(settings);
    settings->cc_algo = NGTCP2_CC_ALGO_CUBIC;
    settings->initial_ts = now;
    settings->initial_rtt = cfg->initial_rtt_ns;
    settings->ack_thresh = 1;
    settings->handshake_timeout = cfg->handshake_ns;
    settings->max_tx_udp_payload_size = cfg->udp_payload_max;
    if (cfg->udp_payload_fixed) {
        settings->no_tx_udp_payload_size_shaping = 1;
        settings->no_pmtud = 1;
    } else {
        settings->pmtud_probes = conn->pmtud_probes;
        settings->pmtud_probeslen = fill_probes(conn->pmtud_probes, cfg->udp_payload_max);
    }
}

static void fill_params(const struct rusmi_quic_conn *conn, ngtcp2_transport_params *params)
{
    const struct rusmi_quic_config *cfg = &conn->cfg;
    rusm_time idle = cfg->tick_ns * 2;

    ngtcp2_transport_params_default(params);
    params->initial_max_data = rusmi_quic_config_granted(cfg);
    params->initial_max_stream_data_uni = RUSMI_STREAM_FIRST;
    params->initial_max_stream_data_bidi_local = cfg->control_window;
    params->initial_max_stream_data_bidi_remote = cfg->control_window;
    params->initial_max_streams_uni = cfg->streams_max;
    params->initial_max_streams_bidi = conn->server ? 1 : 0;
    params->disable_active_migration = 1;
    params->max_datagram_frame_size = QUIC_MARK_LEN;
    /* Silence is noticed by rusmi_quic_conn_timer. QUIC's own timeout stands behind it, and must
     * not cut a handshake short when the tick is. */
    params->max_idle_timeout = idle > cfg->handshake_ns ? idle : cfg->handshake_ns;
}

/* ---- connection ids ---- */

bool rusmi_quic_cid_add(struct rusmi_quic_conn *conn, const uint8_t *cid, size_t cid_len)
{
    struct rusmi_quic_cid *entry;

    if (conn->cid_count == CIDS_MAX) {
        return false;
    }
    entry = &conn->cids[conn->cid_count++];
    entry->len = (uint8_t)cid_len;
    memcpy(entry->data, cid, cid_len);
    conn->events.cid_new(conn->events.arg, cid, cid_len);
    return true;
}

void rusmi_quic_cid_remove(struct rusmi_quic_conn *conn, const uint8_t *cid, size_t cid_len)
{
    for (size_t i = 0; i < conn->cid_count; i++) {
        if (conn->cids[i].len == cid_len && memcmp(conn->cids[i].data, cid, cid_len) == 0) {
            conn->cids[i] = conn->cids[--conn->cid_count];
            conn->events.cid_retire(conn->events.arg, cid, cid_len);
            return;
        }
    }
}

/* ---- new ---- */

static void cid_random(ngtcp2_cid *cid, size_t len)
{
    cid->datalen = len;
    rusmi_assert(gnutls_rnd(GNUTLS_RND_RANDOM, cid->data, len) == 0);
}

static void path_fill(ngtcp2_path *path, const struct rusmi_quic_path *from)
{
    memset(path, 0, sizeof(*path));
    path->local.addr = (ngtcp2_sockaddr *)(uintptr_t)from->local;
    path->local.addrlen = from->local_len;
    path->remote.addr = (ngtcp2_sockaddr *)(uintptr_t)from->remote;
    path->remote.addrlen = from->remote_len;
}

static bool path_ok(const struct rusmi_quic_path *path)
{
    return path && path->local && path->remote &&
           path->local_len <= sizeof(ngtcp2_sockaddr_union) &&
           path->remote_len <= sizeof(ngtcp2_sockaddr_union);
}

/* What both sides have in common; ng is still to be made. */
static rusm_err conn_alloc(struct rusmi_quic_conn **out_conn, const struct rusmi_quic_config *cfg,
                           const struct rusmi_quic_events *events, bool server, rusm_time now)
{
    struct rusmi_quic_conn *conn;
    rusm_err err;

    if (!config_ok(cfg)) {
        return RUSM_EINVAL;
    }
    conn = rusmi_zalloc(sizeof(*conn));
    if (conn == NULL) {
        return RUSM_ENOMEM;
    }
    conn->cfg = *cfg;
    conn->events = *events;
    conn->server = server;
    conn->now = conn->started = conn->heard = now;
    conn->control_id = -1;
    conn->hold_until = QUIC_NEVER;
    conn->drain_until = conn->grant_at = QUIC_NEVER;
    conn->due = true;
    rusmi_quic_control_init(&conn->control);
    rusmi_quic_memory_init(&conn->memory, events->purse);
    ngtcp2_ccerr_default(&conn->close_error);
    ngtcp2_path_storage_zero(&conn->sent_path);
    err = rusmi_quic_tls_init(&conn->tls, cfg, server);
    if (err != RUSM_OK) {
        rusmi_free(conn);
        return err;
    }
    *out_conn = conn;
    return RUSM_OK;
}

static void conn_attach(struct rusmi_quic_conn *conn)
{
    conn->tls.ng = conn->ng;
    ngtcp2_conn_set_tls_native_handle(conn->ng, conn->tls.session);
}

rusm_err rusmi_quic_conn_new_client(struct rusmi_quic_conn **out_conn,
                                    const struct rusmi_quic_config *cfg,
                                    const struct rusmi_quic_events *events,
                                    const struct rusmi_quic_path *path, rusm_time now)
{
    struct rusmi_quic_conn *conn;
    ngtcp2_callbacks callbacks;
    ngtcp2_settings settings;
    ngtcp2_transport_params params;
    ngtcp2_path ngpath;
    ngtcp2_cid scid, dcid;
    rusm_err err = path_ok(path) ? conn_alloc(&conn, cfg, events, false, now) : RUSM_EINVAL;

    if (err != RUSM_OK) {
        return err;
    }
    rusmi_quic_callbacks(&callbacks, false);
    fill_settings(conn, &settings, now);
    fill_params(conn, &params);
    path_fill(&ngpath, path);
    cid_random(&scid, RUSMI_QUIC_CID_LEN);
    cid_random(&dcid, RUSMI_QUIC_CID_MAX);
    if (ngtcp2_conn_client_new(&conn->ng, &dcid, &scid, &ngpath, NGTCP2_PROTO_VER_V1, &callbacks,
                               &settings, &params, &conn->memory.table, conn) != 0) {
        conn->ng = NULL;
        rusmi_quic_conn_del(conn);
        return RUSM_ENOMEM;
    }
    conn_attach(conn);
    (void)rusmi_quic_cid_add(conn, scid.data, scid.datalen);
    *out_conn = conn;
    return RUSM_OK;
}

static void cid_fill(ngtcp2_cid *to, const struct rusmi_quic_cid *from)
{
    ngtcp2_cid_init(to, from->data, from->len);
}

rusm_err rusmi_quic_conn_new_server(struct rusmi_quic_conn **out_conn,
                                    const struct rusmi_quic_config *cfg,
                                    const struct rusmi_quic_events *events,
                                    const struct rusmi_quic_path *path,
                                    const struct rusmi_quic_route *first,
                                    const struct rusmi_quic_proof *proof, rusm_time now)
{
    struct rusmi_quic_conn *conn;
    ngtcp2_callbacks callbacks;
    ngtcp2_settings settings;
    ngtcp2_transport_params params;
    ngtcp2_path ngpath;
    ngtcp2_cid scid, dcid;
    rusm_err err = path_ok(path) && first->kind == RUSMI_QUIC_INITIAL
                       ? conn_alloc(&conn, cfg, events, true, now)
                       : RUSM_EINVAL;

    if (err != RUSM_OK) {
        return err;
    }
    rusmi_quic_callbacks(&callbacks, true);
    fill_settings(conn, &settings, now);
    fill_params(conn, &params);
    path_fill(&ngpath, path);
    cid_random(&scid, RUSMI_QUIC_CID_LEN);
    cid_fill(&dcid, &first->scid);
    cid_fill(&params.original_dcid, proof ? &proof->original_dcid : &first->dcid);
    params.original_dcid_present = 1;
    if (proof) {
        cid_fill(&params.retry_scid, &proof->retry_scid);
        params.retry_scid_present = 1;
        settings.token = proof->token;
        settings.tokenlen = proof->token_len;
        settings.token_type = NGTCP2_TOKEN_TYPE_RETRY;
    }
    params.stateless_reset_token_present = 1;
    if (ngtcp2_crypto_generate_stateless_reset_token(params.stateless_reset_token, cfg->secret,
                                                     sizeof(cfg->secret), &scid) != 0 ||
        ngtcp2_conn_server_new(&conn->ng, &dcid, &scid, &ngpath, first->version, &callbacks,
                               &settings, &params, &conn->memory.table, conn) != 0) {
        conn->ng = NULL;
        rusmi_quic_conn_del(conn);
        return RUSM_ENOMEM;
    }
    conn_attach(conn);
    (void)rusmi_quic_cid_add(conn, scid.data, scid.datalen);
    (void)rusmi_quic_cid_add(conn, first->dcid.data, first->dcid.len);
    *out_conn = conn;
    return RUSM_OK;
}

void rusmi_quic_conn_del(struct rusmi_quic_conn *conn)
{
    if (conn == NULL) {
        return;
    }
    if (conn->ng) {
        ngtcp2_conn_del(conn->ng);
    }
    while (conn->cid_count > 0) {
        struct rusmi_quic_cid *cid = &conn->cids[--conn->cid_count];

        conn->events.cid_retire(conn->events.arg, cid->data, cid->len);
    }
    rusmi_quic_tls_fini(&conn->tls);
    rusmi_quic_control_fini(&conn->control);
    rusmi_free(conn->carry);
    rusmi_free(conn);
}

void rusmi_quic_conn_set_boxes(struct rusmi_quic_conn *conn, struct rusmi_outbox *outbox,
                               struct rusmi_inbox *inbox)
{
    conn->events.outbox = outbox;
    conn->events.inbox = inbox;
}

uint64_t rusmi_quic_conn_peer_window(const struct rusmi_quic_conn *conn)
{
    const ngtcp2_transport_params *peer = ngtcp2_conn_get_remote_transport_params(conn->ng);

    return peer && conn->credit_reserve ? peer->initial_max_data - conn->credit_reserve : 0;
}

/* ---- state ---- */

#define TO(state) (1u << (state))

/* The states that each state may be followed by. */
static const unsigned conn_moves[] = {
    [RUSMI_QUIC_HANDSHAKE] = TO(RUSMI_QUIC_UP) | TO(RUSMI_QUIC_CLOSING) | TO(RUSMI_QUIC_DRAINING) |
                             TO(RUSMI_QUIC_CLOSED),
    [RUSMI_QUIC_UP] = TO(RUSMI_QUIC_CLOSING) | TO(RUSMI_QUIC_DRAINING) | TO(RUSMI_QUIC_CLOSED),
    [RUSMI_QUIC_CLOSING] = TO(RUSMI_QUIC_DRAINING) | TO(RUSMI_QUIC_CLOSED),
    [RUSMI_QUIC_DRAINING] = TO(RUSMI_QUIC_CLOSED),
    [RUSMI_QUIC_CLOSED] = 0,
};

void rusmi_quic_move(struct rusmi_quic_conn *conn, enum rusmi_quic_state to)
{
    rusmi_assert(conn_moves[conn->state] & TO(to));
    conn->state = to;
}

void rusmi_quic_stop(struct rusmi_quic_conn *conn, const struct rusmi_quic_end *end,
                     ngtcp2_ccerr_type type, uint64_t code, bool tell_text)
{
    size_t text_len;

    if (conn->state > RUSMI_QUIC_UP) {
        return;
    }
    conn->end = *end;
    conn->close_again = conn->state == RUSMI_QUIC_UP;
    /* A text that QUIC would not fit into one packet beside the rest is cut. */
    text_len = tell_text ? rusmi_utf8_cut(conn->end.text, strlen(conn->end.text), 512) : 0;
    if (type == NGTCP2_CCERR_TYPE_APPLICATION) {
        ngtcp2_ccerr_set_application_error(&conn->close_error, code,
                                           (const uint8_t *)conn->end.text, text_len);
    } else {
        ngtcp2_ccerr_set_transport_error(&conn->close_error, code, (const uint8_t *)conn->end.text,
                                         text_len);
    }
    rusmi_quic_move(conn, RUSMI_QUIC_CLOSING);
}

/* Ended without a word to the peer. */
static void conn_drop(struct rusmi_quic_conn *conn, int result)
{
    if (conn->state <= RUSMI_QUIC_UP) {
        rusmi_quic_end_from_ngtcp2(&conn->end, result);
        rusmi_quic_move(conn, RUSMI_QUIC_CLOSED);
    }
}

/* The peer closed: its CONNECTION_CLOSE or stateless reset was the last word. */
static void conn_drained(struct rusmi_quic_conn *conn)
{
    if (conn->state > RUSMI_QUIC_CLOSING) {
        return;
    }
    if (conn->end.cause == RUSMI_QUIC_NONE) {
        rusmi_quic_end_from_peer(&conn->end, ngtcp2_conn_get_ccerr(conn->ng), conn->cfg.identity,
                                 conn->cfg.wall_s());
    }
    conn->drain_until = conn->now + 3 * ngtcp2_conn_get_pto(conn->ng);
    rusmi_quic_move(conn, RUSMI_QUIC_DRAINING);
}

/* Our side of the handshake failed. */
static void conn_tls_failed(struct rusmi_quic_conn *conn)
{
    struct rusmi_quic_end end;

    if (conn->tls.why[0]) {
        rusmi_quic_end_set(&end, RUSMI_QUIC_REFUSED_LOCAL, conn->tls.alert, "%s", conn->tls.why);
    } else {
        rusmi_quic_end_from_alert(&end, conn->tls.alert);
    }
    /* The alert says what TLS lets a stranger know; the sentence may say more than it should. */
    rusmi_quic_stop(conn, &end, NGTCP2_CCERR_TYPE_TRANSPORT, NGTCP2_CRYPTO_ERROR | conn->tls.alert,
                    false);
}

void rusmi_quic_ngtcp2_failed(struct rusmi_quic_conn *conn, int result)
{
    struct rusmi_quic_end end;

    switch (result) {
    case NGTCP2_ERR_DRAINING:
        conn_drained(conn);
        return;
    case NGTCP2_ERR_CLOSING:
        return;
    case NGTCP2_ERR_DROP_CONN:
    case NGTCP2_ERR_RETRY:
    case NGTCP2_ERR_IDLE_CLOSE:
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
    case NGTCP2_ERR_RECV_VERSION_NEGOTIATION:
        conn_drop(conn, result);
        return;
    case NGTCP2_ERR_CRYPTO:
        conn_tls_failed(conn);
        return;
    case NGTCP2_ERR_NOMEM:
        if (conn->memory.refused && conn->state == RUSMI_QUIC_UP) {
            rusmi_quic_conn_fail(conn, RUSMI_QUIC_INTERNAL, RUSMI_CLOSE_MEMORY,
                                 RUSMI_BUDGET_REFUSAL);
            return;
        }
        break;
    default:
        break;
    }
    rusmi_quic_end_from_ngtcp2(&end, result);
    rusmi_quic_stop(conn, &end, NGTCP2_CCERR_TYPE_TRANSPORT,
                    ngtcp2_err_infer_quic_transport_error_code(result), false);
}

void rusmi_quic_conn_close(struct rusmi_quic_conn *conn, uint64_t code, const char *text)
{
    struct rusmi_quic_end end;

    rusmi_quic_end_set(&end, RUSMI_QUIC_CLOSED_LOCAL, code, "%s", text ? text : "");
    if (conn->state == RUSMI_QUIC_HANDSHAKE && code == RUSMI_CLOSE_FULL) {
        /* An application's code and text are not said before both sides have keys for them (RFC
         * 9000 10.2.3); QUIC has a code for this, and its text is. The memory is wanted for others
         * at once, and if the peer does not hear it, it asks anew. */
        conn->close_brief = true;
        rusmi_quic_stop(conn, &end, NGTCP2_CCERR_TYPE_TRANSPORT, NGTCP2_CONNECTION_REFUSED, true);
        return;
    }
    rusmi_quic_stop(conn, &end, NGTCP2_CCERR_TYPE_APPLICATION, code, true);
}

void rusmi_quic_conn_fail(struct rusmi_quic_conn *conn, enum rusmi_quic_cause cause, uint64_t code,
                          const char *text)
{
    struct rusmi_quic_end end;

    rusmi_assert(cause != RUSMI_QUIC_NONE);
    rusmi_quic_end_set(&end, cause, code, "%s", text ? text : "");
    if (code == RUSMI_CLOSE_MEMORY) {
        end.err = RUSM_ENOMEM;
    }
    rusmi_quic_stop(conn, &end, NGTCP2_CCERR_TYPE_APPLICATION, code, true);
}

/* ---- datagrams and time ---- */

/* A datagram for a connection that we closed: the peer may not have got our word. */
static void recv_closing(struct rusmi_quic_conn *conn)
{
    uint64_t heard = ++conn->close_heard;

    conn->close_repeat = (heard & (heard - 1)) == 0;
}

/* When an acknowledgement becomes worth a packet of its own. */
static void hold_ack(struct rusmi_quic_conn *conn, size_t len)
{
    if (conn->state != RUSMI_QUIC_UP) {
        conn->due = true;
        return;
    }
    conn->hold_bytes += len;
    if (conn->hold_bytes >= conn->cfg.ack_hold_bytes) {
        conn->due = true;
    } else if (conn->hold_until == QUIC_NEVER) {
        conn->hold_until = conn->now + conn->cfg.ack_hold_ns;
    }
}

rusm_err rusmi_quic_conn_recv(struct rusmi_quic_conn *conn, const struct rusmi_quic_path *path,
                              const uint8_t *data, size_t len, rusm_time now)
{
    const ngtcp2_path *ngpath;
    ngtcp2_path given;
    uint64_t opened;
    int result;

    now = rusmi_quic_clamp(conn, now);
    if (conn->state > RUSMI_QUIC_UP) {
        if (conn->state == RUSMI_QUIC_CLOSING) {
            recv_closing(conn);
        }
        return conn->end.err;
    }
    if (path) {
        path_fill(&given, path);
        ngpath = &given;
    } else {
        ngpath = ngtcp2_conn_get_path(conn->ng);
    }
    opened = rusmi_quic_packets_opened();
    conn->stats.packets_received++;
    conn->stats.bytes_received += len;
    result = ngtcp2_conn_read_pkt(conn->ng, ngpath, NULL, data, len, now);
    if (rusmi_quic_packets_opened() != opened) {
        conn->heard = now;
        hold_ack(conn, len);
    } else {
        conn->stats.datagrams_ignored++;
        conn->due = conn->due || conn->state == RUSMI_QUIC_HANDSHAKE;
    }
    if (result != 0) {
        rusmi_quic_ngtcp2_failed(conn, result);
    }
    return conn->end.err;
}

/*
 * When a peer that was last heard at conn->heard is given up. A peer that dies was last heard up to
 * a keep-alive and a round trip before that; the quarter beside the tick covers both, so that it is
 * noticed between 1 and 1.25 ticks after its death, and never sooner.
 */
static rusm_time silent_at(const struct rusmi_quic_conn *conn)
{
    return conn->heard + conn->cfg.tick_ns + conn->cfg.tick_ns / 4;
}

rusm_time rusmi_quic_conn_deadline(const struct rusmi_quic_conn *conn)
{
    rusm_time at, silent = silent_at(conn);

    switch (conn->state) {
    case RUSMI_QUIC_HANDSHAKE:
        at = ngtcp2_conn_get_expiry(conn->ng);
        break;
    case RUSMI_QUIC_UP:
        /* While an acknowledgement is held back, ngtcp2's expiry is that of its own, shorter delay;
         * what else it may be can wait the fraction of a millisecond. */
        at = conn->hold_until != QUIC_NEVER ? conn->hold_until : ngtcp2_conn_get_expiry(conn->ng);
        at = at < silent ? at : silent;
        at = at < conn->grant_at ? at : conn->grant_at;
        break;
    case RUSMI_QUIC_CLOSING:
        if (!conn->close_written) {
            return conn->now;
        }
        return conn->close_again && conn->close_again_at < conn->drain_until ? conn->close_again_at
                                                                             : conn->drain_until;
    case RUSMI_QUIC_DRAINING:
        return conn->drain_until;
    case RUSMI_QUIC_CLOSED:
    default:
        return QUIC_NEVER;
    }
    return conn->due && conn->now < at ? conn->now : at;
}

static void timer_silence(struct rusmi_quic_conn *conn)
{
    unsigned long long tenths = (unsigned long long)((conn->now - conn->heard) / (100 * MS));
    struct rusmi_quic_end end;

    rusmi_quic_end_set(&end, RUSMI_QUIC_TIMEOUT, 0, "time-out, last heard %llu.%llu s ago",
                       tenths / 10, tenths % 10);
    /* It may only have been stopped for a while: then it learns why it is alone. */
    rusmi_quic_stop(conn, &end, NGTCP2_CCERR_TYPE_APPLICATION, RUSMI_CLOSE_SILENT, true);
}

/*
 * Closing, or closed by the peer. A peer that has nothing to say is not answered, and if it missed
 * our word it would wait out the silence: so that is said again while we are there, once in each
 * probe timeout.
 */
static void timer_ended(struct rusmi_quic_conn *conn)
{
    if (conn->state == RUSMI_QUIC_CLOSED ||
        (conn->state == RUSMI_QUIC_CLOSING && !conn->close_written)) {
        return;
    }
    if (conn->now >= conn->drain_until) {
        rusmi_quic_move(conn, RUSMI_QUIC_CLOSED);
    } else if (conn->state == RUSMI_QUIC_CLOSING && conn->close_again &&
               conn->now >= conn->close_again_at) {
        conn->close_repeat = true;
        conn->close_again_at += conn->close_again_for;
    }
}

rusm_err rusmi_quic_conn_timer(struct rusmi_quic_conn *conn, rusm_time now)
{
    int result;

    now = rusmi_quic_clamp(conn, now);
    if (conn->state > RUSMI_QUIC_UP) {
        timer_ended(conn);
        return conn->end.err;
    }
    if (conn->state == RUSMI_QUIC_UP && now >= silent_at(conn)) {
        timer_silence(conn);
        return conn->end.err;
    }
    if (now >= ngtcp2_conn_get_expiry(conn->ng)) {
        result = ngtcp2_conn_handle_expiry(conn->ng, now);
        if (result != 0) {
            rusmi_quic_ngtcp2_failed(conn, result);
        }
        conn->due = conn->due || conn->hold_until == QUIC_NEVER;
    }
    return conn->end.err;
}

/* ---- control stream ---- */

rusm_err rusmi_quic_conn_send_control(struct rusmi_quic_conn *conn, const void *data, size_t len)
{
    if (conn->state > RUSMI_QUIC_UP) {
        return RUSM_ECLOSED;
    }
    if (conn->state == RUSMI_QUIC_HANDSHAKE) {
        return RUSM_EAGAIN;
    }
    if (len > conn->cfg.control_max || conn->control.pending > conn->cfg.control_max - len) {
        return RUSM_EFULL;
    }
    return rusmi_quic_control_push(&conn->control, data, len);
}

size_t rusmi_quic_conn_control_pending(const struct rusmi_quic_conn *conn)
{
    return conn->control.pending;
}

/* ---- readers ---- */

const uint8_t *rusmi_quic_conn_binding(const struct rusmi_quic_conn *conn)
{
    return conn->tls.binding;
}

enum rusmi_quic_state rusmi_quic_conn_state(const struct rusmi_quic_conn *conn)
{
    return conn->state;
}

const struct rusmi_quic_end *rusmi_quic_conn_end(const struct rusmi_quic_conn *conn)
{
    return &conn->end;
}

bool rusmi_quic_conn_is_server(const struct rusmi_quic_conn *conn)
{
    return conn->server;
}

bool rusmi_quic_conn_is_quiet(const struct rusmi_quic_conn *conn)
{
    const struct rusmi_outbox *outbox = conn->events.outbox;

    return conn->control.pending == 0 &&
           (outbox == NULL || (outbox->queued_count == 0 && outbox->flight_count == 0));
}

void rusmi_quic_conn_get_stats(const struct rusmi_quic_conn *conn,
                               struct rusmi_quic_stats *out_stats)
{
    ngtcp2_conn_info info;

    ngtcp2_conn_get_conn_info(conn->ng, &info);
    *out_stats = conn->stats;
    if (conn->control_id >= 0) {
        out_stats->packets_lost += ngtcp2_conn_get_stream_loss_count(conn->ng, conn->control_id);
    }
    out_stats->rtt_ns = info.latest_rtt ? info.smoothed_rtt : 0;
    out_stats->congestion_window = info.cwnd;
    out_stats->bytes_in_flight = info.bytes_in_flight;
    out_stats->payload_max = rusmi_quic_mtu_now(conn);
}
