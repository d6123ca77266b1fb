/* SPDX-License-Identifier: MIT */
/*
 * The TLS session of a connection: version 1.3 only, certificates on both sides, ALPN rusm/1, no
 * session tickets and no early data, so that nobody resumes what a certificate no longer allows.
 *
 * Both sides check the peer's certificate inside the handshake with trust/verify.h. A refusal
 * leaves the exact reason in `why` and the alert (RFC 8446 6.2) that the peer is told in `alert`.
 *
 * Threading: none; a session is used by whoever uses its connection.
 */
#ifndef RUSMI_QUIC_TLS_H
#define RUSMI_QUIC_TLS_H

#include <gnutls/gnutls.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <rusm/err.h>
#include <rusm/trust.h>

#include "trust/verify.h"

struct rusmi_quic_config;

/* What both ends of a session know and nobody else does: RUSMI_BINDING_LEN bytes of TLS's exporter
 * (RFC 8446, section 7.5). What is signed together with it was signed for this very session. */
#define RUSMI_BINDING_LABEL "EXPORTER-rusm-binding"

struct rusmi_quic_tls {
    ngtcp2_crypto_conn_ref ref; /* GnuTLS's session pointer; first, so that it is this object too */
    ngtcp2_conn *ng;
    gnutls_session_t session;
    rusm_identity *identity; /* held */
    int64_t (*wall_s)(void);
    bool server;
    bool crl_strict;
    bool verified; /* peer is set and allowed in */
    struct rusmi_peer_identity peer;
    uint8_t binding[RUSMI_BINDING_LEN]; /* once the handshake is complete */
    uint8_t alert;                      /* what we refused the peer with; 0: we did not */
    char why[RUSMI_VERIFY_TEXT_MAX];
};

/* Errors: RUSM_ENOMEM, RUSM_ECERT. fini is harmless after an error, and on zeroed memory. */
RUSM_MUST_CHECK rusm_err rusmi_quic_tls_init(struct rusmi_quic_tls *tls,
                                             const struct rusmi_quic_config *cfg, bool server);
void rusmi_quic_tls_fini(struct rusmi_quic_tls *tls);

/* ngtcp2's callback for handshake bytes. It differs from the crypto helper's in that GnuTLS's own
 * reason for a failure is kept. */
int rusmi_quic_tls_recv_crypto(ngtcp2_conn *ng, ngtcp2_encryption_level level, uint64_t offset,
                               const uint8_t *data, size_t len, void *user_data);

#endif
