/* SPDX-License-Identifier: MIT */
#include "quic/packet.h"

#include <gnutls/crypto.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <string.h>

/* How long a Retry token is good: a few round trips of the slowest path. */
#define TOKEN_LIFE ((rusm_time)10 * NGTCP2_SECONDS)

/* The smallest packet that may be a stateless reset, and the smallest that ours are (RFC 9000 10.3:
 * it must not be told from a valid packet by its length). */
#define RESET_MIN 43

/* A version that no one speaks, so that clients keep to ignoring those they do not know (RFC 9000
 * 6.3). */
#define VERSION_RESERVED 0x1a2a3a4au

static void cid_copy(struct rusmi_quic_cid *to, const uint8_t *data, size_t len)
{
    to->len = (uint8_t)len;
    if (len > 0) {
        memcpy(to->data, data, len);
    }
}

static void cid_to(ngtcp2_cid *to, const struct rusmi_quic_cid *from)
{
    ngtcp2_cid_init(to, from->data, from->len);
}

void rusmi_quic_route(const uint8_t *data, size_t len, struct rusmi_quic_route *out_route)
{
    ngtcp2_version_cid head;
    ngtcp2_pkt_hd initial;
    int result;

    memset(out_route, 0, sizeof(*out_route));
    out_route->len = len;
    if (len == 0) {
        return;
    }
    result = ngtcp2_pkt_decode_version_cid(&head, data, len, RUSMI_QUIC_CID_LEN);
    if ((result != 0 && result != NGTCP2_ERR_VERSION_NEGOTIATION) ||
        head.dcidlen > RUSMI_QUIC_CID_MAX || head.scidlen > RUSMI_QUIC_CID_MAX) {
        return;
    }
    out_route->version = head.version;
    cid_copy(&out_route->dcid, head.dcid, head.dcidlen);
    cid_copy(&out_route->scid, head.scid, head.scidlen);
    if (result == NGTCP2_ERR_VERSION_NEGOTIATION) {
        /* ngtcp2 asks for an answer only to datagrams large enough to be worth one. */
        out_route->kind = RUSMI_QUIC_VERSION;
        return;
    }
    if ((data[0] & 0x80) == 0) {
        out_route->kind = RUSMI_QUIC_SHORT;
        return;
    }
    out_route->kind = RUSMI_QUIC_LONG;
    if (head.version == NGTCP2_PROTO_VER_V1 && ngtcp2_accept(&initial, data, len) == 0) {
        out_route->kind = RUSMI_QUIC_INITIAL;
        out_route->token = initial.tokenlen ? initial.token : NULL;
        out_route->token_len = initial.tokenlen;
    }
}

size_t rusmi_quic_write_versions(const struct rusmi_quic_route *to, uint8_t *buf)
{
    uint32_t versions[] = {NGTCP2_PROTO_VER_V1, VERSION_RESERVED};
    uint8_t random = 0;
    ngtcp2_ssize len;

    if (to->kind != RUSMI_QUIC_VERSION || gnutls_rnd(GNUTLS_RND_NONCE, &random, 1) != 0) {
        return 0;
    }
    len = ngtcp2_pkt_write_version_negotiation(buf, RUSMI_QUIC_ANSWER_MAX, random, to->scid.data,
                                               to->scid.len, to->dcid.data, to->dcid.len, versions,
                                               sizeof(versions) / sizeof(versions[0]));
    return len > 0 ? (size_t)len : 0;
}

size_t rusmi_quic_write_retry(const struct rusmi_quic_route *to, const uint8_t secret[32],
                              const struct sockaddr *remote, socklen_t remote_len, uint8_t *buf,
                              rusm_time now)
{
    uint8_t token[NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN2];
    ngtcp2_cid dcid, scid, fresh;
    ngtcp2_ssize token_len, len;

    if (to->kind != RUSMI_QUIC_INITIAL) {
        return 0;
    }
    cid_to(&dcid, &to->dcid);
    cid_to(&scid, &to->scid);
    fresh.datalen = RUSMI_QUIC_CID_LEN;
    if (gnutls_rnd(GNUTLS_RND_RANDOM, fresh.data, fresh.datalen) != 0) {
        return 0;
    }
    token_len = ngtcp2_crypto_generate_retry_token2(token, secret, 32, to->version, remote,
                                                    remote_len, &fresh, &dcid, now);
    if (token_len < 0) {
        return 0;
    }
    len = ngtcp2_crypto_write_retry(buf, RUSMI_QUIC_ANSWER_MAX, to->version, &scid, &fresh, &dcid,
                                    token, (size_t)token_len);
    return len > 0 ? (size_t)len : 0;
}

rusm_err rusmi_quic_check_token(const struct rusmi_quic_route *initial, const uint8_t secret[32],
                                const struct sockaddr *remote, socklen_t remote_len, rusm_time now,
                                struct rusmi_quic_proof *out_proof)
{
    ngtcp2_cid dcid, original;

    if (initial->token_len == 0) {
        return RUSM_EAGAIN;
    }
    cid_to(&dcid, &initial->dcid);
    if (initial->token_len > RUSMI_QUIC_TOKEN_MAX ||
        ngtcp2_crypto_verify_retry_token2(&original, initial->token, initial->token_len, secret, 32,
                                          initial->version, remote, remote_len, &dcid, TOKEN_LIFE,
                                          now) != 0) {
        return RUSM_EREFUSED;
    }
    cid_copy(&out_proof->original_dcid, original.data, original.datalen);
    out_proof->retry_scid = initial->dcid;
    memcpy(out_proof->token, initial->token, initial->token_len);
    out_proof->token_len = initial->token_len;
    return RUSM_OK;
}

size_t rusmi_quic_write_refusal(const struct rusmi_quic_route *to, enum rusmi_quic_refusal why,
                                const char *text, uint8_t *buf)
{
    uint64_t code = why == RUSMI_QUIC_BUSY ? NGTCP2_CONNECTION_REFUSED : NGTCP2_INVALID_TOKEN;
    ngtcp2_cid dcid, scid;
    ngtcp2_ssize len;

    if (to->kind != RUSMI_QUIC_INITIAL) {
        return 0;
    }
    cid_to(&dcid, &to->dcid);
    cid_to(&scid, &to->scid);
    len =
        ngtcp2_crypto_write_connection_close(buf, RUSMI_QUIC_ANSWER_MAX, to->version, &scid, &dcid,
                                             code, (const uint8_t *)text, text ? strlen(text) : 0);
    return len > 0 ? (size_t)len : 0;
}

size_t rusmi_quic_write_reset(const struct rusmi_quic_route *to, const uint8_t secret[32],
                              uint8_t *buf)
{
    uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN], random[RESET_MIN];
    size_t len = to->len > RESET_MIN ? RESET_MIN : to->len - 1;
    ngtcp2_cid dcid;
    ngtcp2_ssize written;

    /* Shorter than its cause, or two that know nothing of each other would never stop. */
    if (to->kind != RUSMI_QUIC_SHORT ||
        len < NGTCP2_STATELESS_RESET_TOKENLEN + NGTCP2_MIN_STATELESS_RESET_RANDLEN) {
        return 0;
    }
    cid_to(&dcid, &to->dcid);
    if (ngtcp2_crypto_generate_stateless_reset_token(token, secret, 32, &dcid) != 0 ||
        gnutls_rnd(GNUTLS_RND_NONCE, random, sizeof(random)) != 0) {
        return 0;
    }
    written = ngtcp2_pkt_write_stateless_reset(buf, RUSMI_QUIC_ANSWER_MAX, token, random,
                                               len - NGTCP2_STATELESS_RESET_TOKENLEN);
    return written > 0 ? (size_t)written : 0;
}
