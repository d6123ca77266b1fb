/* SPDX-License-Identifier: MIT */
/*
 * What ngtcp2 calls. Each callback either hands bytes on or notes something; none calls ngtcp2,
 * except where its header allows it. One that fails has noted why (rusmi_quic_stop) and returns
 * NGTCP2_ERR_CALLBACK_FAILURE, which ends the ngtcp2 call that it is in.
 */
#include <gnutls/crypto.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <rusm/otp/driver.h>
#include <string.h>

#include "base/assert.h"
#include "quic/core.h"
#include "wire/control.h"

/* ---- packets that are genuine ---- */

/* ngtcp2 does not say whether a datagram was genuine, and its decrypt callback does not know its
 * connection; but it runs on the thread that called ngtcp2_conn_read_pkt. */
static _Thread_local uint64_t packets_opened;

uint64_t rusmi_quic_packets_opened(void)
{
    return packets_opened;
}

static int on_decrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead,
                      const ngtcp2_crypto_aead_ctx *aead_ctx, const uint8_t *ciphertext,
                      size_t ciphertext_len, const uint8_t *nonce, size_t nonce_len,
                      const uint8_t *aad, size_t aad_len)
{
    int result = ngtcp2_crypto_decrypt_cb(dest, aead, aead_ctx, ciphertext, ciphertext_len, nonce,
                                          nonce_len, aad, aad_len);

    packets_opened += result == 0;
    return result;
}

/* ---- the owner's errors ---- */

/* What an event of the owner returned, as the end of the connection. */
static int fail_with(struct rusmi_quic_conn *conn, rusm_err err)
{
    enum rusmi_quic_cause cause = err == RUSM_EPROTO   ? RUSMI_QUIC_PROTOCOL
                                  : err == RUSM_ENOMEM ? RUSMI_QUIC_INTERNAL
                                                       : RUSMI_QUIC_REFUSED_LOCAL;
    enum rusmi_close_code code = err == RUSM_EPROTO    ? RUSMI_CLOSE_PROTOCOL
                                 : err == RUSM_ENOMEM  ? RUSMI_CLOSE_MEMORY
                                 : err == RUSM_ECLOSED ? RUSMI_CLOSE_SHUTDOWN
                                                       : RUSMI_CLOSE_NORMAL;

    if (conn->state <= RUSMI_QUIC_UP) { /* the owner may have closed it with words of its own */
        rusmi_quic_conn_fail(conn, cause, code, rusm_err_detail());
        conn->end.err = err;
    }
    return NGTCP2_ERR_CALLBACK_FAILURE;
}

/* The peer kept QUIC's rules and broke ours, so it is told with our code (docs/wire.md, "Close
 * codes"). */
static int fail_protocol(struct rusmi_quic_conn *conn, const char *text)
{
    struct rusmi_quic_end end;

    rusmi_quic_end_set(&end, RUSMI_QUIC_PROTOCOL, RUSMI_CLOSE_PROTOCOL,
                       "the peer broke the protocol: %s", text);
    rusmi_quic_stop(conn, &end, NGTCP2_CCERR_TYPE_APPLICATION, RUSMI_CLOSE_PROTOCOL, true);
    return NGTCP2_ERR_CALLBACK_FAILURE;
}

/* The inbox has failed. */
static int fail_inbox(struct rusmi_quic_conn *conn)
{
    const struct rusmi_inbox *inbox = conn->events.inbox;

    if (inbox->failed == RUSM_ENOMEM) {
        rusmi_quic_conn_fail(conn, RUSMI_QUIC_INTERNAL, RUSMI_CLOSE_MEMORY, inbox->why);
        return NGTCP2_ERR_CALLBACK_FAILURE;
    }
    return fail_protocol(conn, inbox->why);
}

/* ---- handshake ---- */

/* Whether the peer's transport parameters let every message and the control stream through. */
static const char *check_params(const struct rusmi_quic_conn *conn,
                                const ngtcp2_transport_params *peer)
{
    if (peer->initial_max_stream_data_uni < RUSMI_STREAM_LEAST) {
        return "its stream window is smaller than a message that is not big";
    }
    if (conn->server ? peer->initial_max_stream_data_bidi_local == 0
                     : peer->initial_max_streams_bidi == 0 ||
                           peer->initial_max_stream_data_bidi_remote == 0) {
        return "it allows no control stream";
    }
    if (peer->initial_max_streams_uni == 0) {
        return "it allows no message streams";
    }
    return NULL;
}

static int on_handshake_completed(ngtcp2_conn *ng, void *user_data)
{
    struct rusmi_quic_conn *conn = user_data;
    const ngtcp2_transport_params *peer = ngtcp2_conn_get_remote_transport_params(ng);
    const char *why;
    rusm_err err;

    rusmi_assert(conn->tls.verified && peer);
    why = check_params(conn, peer);
    if (why) {
        return fail_protocol(conn, why);
    }
    conn->credit_reserve = rusmi_quic_reserve(
        peer->initial_max_data, conn->server ? peer->initial_max_stream_data_bidi_local
                                             : peer->initial_max_stream_data_bidi_remote);
    rusmi_quic_mtu_begin(&conn->mtu, peer);
    rusmi_quic_move(conn, RUSMI_QUIC_UP);
    conn->heard = conn->now;
    err = conn->events.authenticated(conn->events.arg, &conn->tls.peer);
    if (err != RUSM_OK) {
        return fail_with(conn, err);
    }
    if (conn->state != RUSMI_QUIC_UP) {
        return NGTCP2_ERR_CALLBACK_FAILURE;
    }
    rusmi_assert(conn->events.outbox && conn->events.inbox);
    if (!conn->server) {
        if (ngtcp2_conn_open_bidi_stream(ng, &conn->control_id, NULL) != 0) {
            return NGTCP2_ERR_CALLBACK_FAILURE;
        }
        conn->control_greet = true;
    }
    ngtcp2_conn_set_keep_alive_timeout(ng, conn->cfg.tick_ns / QUIC_KEEP_ALIVE);
    conn->due = true;
    return 0;
}

/* ---- streams ---- */

static int on_stream_open(ngtcp2_conn *ng, int64_t stream_id, void *user_data)
{
    struct rusmi_quic_conn *conn = user_data;

    (void)ng;
    if (!rusmi_quic_is_message_stream(stream_id)) {
        /* The limit of one such stream is QUIC's to enforce: this is it. */
        conn->control_id = stream_id;
        conn->due = conn->due || conn->control.unsent > 0;
    }
    return 0;
}

static int recv_control(struct rusmi_quic_conn *conn, ngtcp2_conn *ng, int64_t stream_id,
                        const uint8_t *data, size_t len, bool fin)
{
    if (fin) {
        return fail_protocol(conn, "it ended the control stream");
    }
    if (len > 0) {
        rusm_err err = conn->events.control(conn->events.arg, data, len);

        if (err != RUSM_OK) {
            return fail_with(conn, err);
        }
    }
    if (conn->state != RUSMI_QUIC_UP) {
        return NGTCP2_ERR_CALLBACK_FAILURE;
    }
    ngtcp2_conn_extend_max_offset(ng, len);
    return ngtcp2_conn_extend_max_stream_offset(ng, stream_id, len) == 0
               ? 0
               : NGTCP2_ERR_CALLBACK_FAILURE;
}

static int on_recv_stream_data(ngtcp2_conn *ng, uint32_t flags, int64_t stream_id, uint64_t offset,
                               const uint8_t *data, size_t len, void *user_data,
                               void *stream_user_data)
{
    struct rusmi_quic_conn *conn = user_data;
    bool fin = (flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0;
    struct rusmi_inbox *inbox = conn->events.inbox;

    (void)stream_user_data;
    if (conn->state != RUSMI_QUIC_UP) {
        return NGTCP2_ERR_CALLBACK_FAILURE; /* the owner closed within this datagram */
    }
    if (!rusmi_quic_is_message_stream(stream_id)) {
        return recv_control(conn, ng, stream_id, data, len, fin);
    }
    if (rusmi_inbox_data(inbox, (uint64_t)stream_id >> 2, offset, data, len, fin) != RUSM_OK) {
        return fail_inbox(conn);
    }
    return 0;
}

static int on_stream_reset(ngtcp2_conn *ng, int64_t stream_id, uint64_t final_size, uint64_t code,
                           void *user_data, void *stream_user_data)
{
    struct rusmi_quic_conn *conn = user_data;
    struct rusmi_inbox *inbox = conn->events.inbox;

    (void)ng;
    (void)final_size;
    (void)code;
    (void)stream_user_data;
    if (conn->state != RUSMI_QUIC_UP) {
        return NGTCP2_ERR_CALLBACK_FAILURE;
    }
    if (!rusmi_quic_is_message_stream(stream_id)) {
        return fail_protocol(conn, "it reset the control stream");
    }
    if (rusmi_inbox_reset(inbox, (uint64_t)stream_id >> 2) != RUSM_OK) {
        return fail_inbox(conn);
    }
    return 0;
}

static int on_acked(ngtcp2_conn *ng, int64_t stream_id, uint64_t offset, uint64_t len,
                    void *user_data, void *stream_user_data)
{
    struct rusmi_quic_conn *conn = user_data;

    (void)ng;
    (void)stream_user_data;
    if (stream_id == conn->control_id) {
        rusmi_quic_control_acked(&conn->control, offset + len);
    }
    conn->mtu.acked = true;
    return 0;
}

static int on_mark_acked(ngtcp2_conn *ng, uint64_t mark, void *user_data)
{
    (void)ng;
    rusmi_quic_mtu_mark_acked(user_data, mark);
    return 0;
}

static int on_mark_lost(ngtcp2_conn *ng, uint64_t mark, void *user_data)
{
    (void)ng;
    rusmi_quic_mtu_mark_lost(user_data, mark);
    return 0;
}

/* ngtcp2 counts losses by stream. Many streams share a packet: streams whose end went into the same
 * packet count once. */
static void count_losses(struct rusmi_quic_conn *conn, ngtcp2_conn *ng, int64_t stream_id,
                         const struct rusmi_out *out)
{
    size_t losses = ngtcp2_conn_get_stream_loss_count(ng, stream_id);
    uint64_t packet = (uint64_t)(uintptr_t)out->next;

    if (losses > 0 && packet != conn->lost_packet) {
        conn->lost_packet = packet;
        conn->stats.packets_lost += losses;
    }
}

static int on_stream_close(ngtcp2_conn *ng, uint32_t flags, int64_t stream_id, uint64_t code,
                           void *user_data, void *stream_user_data)
{
    struct rusmi_quic_conn *conn = user_data;
    struct rusmi_out *out = stream_user_data;

    (void)code;
    if (out) {
        count_losses(conn, ng, stream_id, out);
        if ((flags & NGTCP2_STREAM_CLOSE_FLAG_APP_ERROR_CODE_SET) == 0 && rusmi_out_is_sent(out)) {
            rusmi_outbox_acked(conn->events.outbox, out);
            return 0;
        }
        /* The peer did not want it (STOP_SENDING). It may still have bytes to send. */
        rusmi_quic_line_remove(conn, out);
        rusmi_outbox_reset(conn->events.outbox, out);
    } else if (stream_id == conn->control_id && conn->state == RUSMI_QUIC_UP) {
        return fail_protocol(conn, "it closed the control stream");
    }
    return 0;
}

static int on_extend_max_stream_data(ngtcp2_conn *ng, int64_t stream_id, uint64_t max_data,
                                     void *user_data, void *stream_user_data)
{
    struct rusmi_quic_conn *conn = user_data;

    struct rusmi_out *out = stream_user_data;

    (void)ng;
    (void)max_data;
    if (stream_id == conn->control_id) {
        conn->control_blocked = false;
    } else if (out != NULL && out->aside) {
        rusmi_quic_line_resume(conn, out);
    }
    return 0;
}

/* ---- connection ids, randomness, resets ---- */

static void on_rand(uint8_t *dest, size_t len, const ngtcp2_rand_ctx *ctx)
{
    (void)ctx;
    /* Not for keys: ngtcp2 asks for padding, skipped packet numbers and the like. */
    rusmi_assert(gnutls_rnd(GNUTLS_RND_NONCE, dest, len) == 0);
}

static int on_new_cid(ngtcp2_conn *ng, ngtcp2_cid *cid, uint8_t *token, size_t cid_len,
                      void *user_data)
{
    struct rusmi_quic_conn *conn = user_data;

    (void)ng;
    if (gnutls_rnd(GNUTLS_RND_RANDOM, cid->data, cid_len) != 0) {
        return NGTCP2_ERR_CALLBACK_FAILURE;
    }
    cid->datalen = cid_len;
    if (ngtcp2_crypto_generate_stateless_reset_token(token, conn->cfg.secret,
                                                     sizeof(conn->cfg.secret), cid) != 0) {
        return NGTCP2_ERR_CALLBACK_FAILURE;
    }
    return rusmi_quic_cid_add(conn, cid->data, cid->datalen) ? 0 : NGTCP2_ERR_CALLBACK_FAILURE;
}

static int on_remove_cid(ngtcp2_conn *ng, const ngtcp2_cid *cid, void *user_data)
{
    struct rusmi_quic_conn *conn = user_data;

    (void)ng;
    rusmi_quic_cid_remove(conn, cid->data, cid->datalen);
    return 0;
}

static int on_stateless_reset(ngtcp2_conn *ng, const ngtcp2_pkt_stateless_reset *reset,
                              void *user_data)
{
    struct rusmi_quic_conn *conn = user_data;

    (void)ng;
    (void)reset;
    if (conn->end.cause == RUSMI_QUIC_NONE) {
        rusmi_quic_end_set(&conn->end, RUSMI_QUIC_RESET, 0,
                           "the peer no longer knows the connection: it was restarted or dropped "
                           "it");
    }
    return 0;
}

void rusmi_quic_callbacks(ngtcp2_callbacks *callbacks, bool server)
{
    memset(callbacks, 0, sizeof(*callbacks));
    if (server) {
        callbacks->recv_client_initial = ngtcp2_crypto_recv_client_initial_cb;
    } else {
        callbacks->client_initial = ngtcp2_crypto_client_initial_cb;
        callbacks->recv_retry = ngtcp2_crypto_recv_retry_cb;
    }
    callbacks->recv_crypto_data = rusmi_quic_tls_recv_crypto;
    callbacks->handshake_completed = on_handshake_completed;
    callbacks->encrypt = ngtcp2_crypto_encrypt_cb;
    callbacks->decrypt = on_decrypt;
    callbacks->hp_mask = ngtcp2_crypto_hp_mask_cb;
    callbacks->recv_stream_data = on_recv_stream_data;
    callbacks->acked_stream_data_offset = on_acked;
    callbacks->stream_open = on_stream_open;
    callbacks->stream_close = on_stream_close;
    callbacks->stream_reset = on_stream_reset;
    callbacks->extend_max_stream_data = on_extend_max_stream_data;
    callbacks->ack_datagram = on_mark_acked;
    callbacks->lost_datagram = on_mark_lost;
    callbacks->recv_stateless_reset = on_stateless_reset;
    callbacks->rand = on_rand;
    callbacks->get_new_connection_id = on_new_cid;
    callbacks->remove_connection_id = on_remove_cid;
    callbacks->update_key = ngtcp2_crypto_update_key_cb;
    callbacks->delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb;
    callbacks->delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb;
    callbacks->get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb;
    callbacks->version_negotiation = ngtcp2_crypto_version_negotiation_cb;
}
