/* SPDX-License-Identifier: MIT */
/*
 * Who is at the other end of a TLS session, and why somebody is refused.
 *
 * A peer is let in if one of our own trust anchors issued its certificate directly (a cluster CA
 * has no CAs under it) and has not revoked it, now lies in the validity of both, the certificate is
 * for this direction of TLS and for nothing that signs others, and it carries exactly one rusm
 * name, of our cluster. Each refusal has its own sentence, and the TLS alert that tells the other
 * side as much as TLS can say (RFC 8446, section 6.2); rusmi_verify_explain_alert() turns it back
 * into a sentence there.
 *
 * The hello's cluster and node are compared with the certificate's by the caller: the hello comes
 * later, and under a shared identity any node name is allowed.
 *
 * Any thread; nothing is kept. All of it may be called within a GnuTLS verify function.
 */
#ifndef RUSMI_TRUST_VERIFY_H
#define RUSMI_TRUST_VERIFY_H

#include "trust/identity.h"

#include <gnutls/gnutls.h>
#include <rusm/err.h>
#include <rusm/trust.h>
#include <rusm/types.h>

/* Room for the longest sentence; shorter buffers cut it. */
#define RUSMI_VERIFY_TEXT_MAX 768

/* What ties a signature to one session: see quic/tls.h. */
#define RUSMI_BINDING_LEN 32

/* Who a verified peer is. */
struct rusmi_peer_identity {
    char cluster[RUSM_NAME_MAX + 1];
    char node[RUSM_NAME_MAX + 1]; /* "*" if shared */
    rusm_role role;
    bool shared;           /* the peer may call itself what it likes */
    int64_t not_after;     /* seconds since 1970 */
    int64_t trusted_until; /* the earlier end of certificate and CA */
    char fingerprint[65];  /* SHA-256 of the certificate, hexadecimal */
    bool crl_stale;        /* the newest list of its CA should have been renewed by now */
    const uint8_t *der;    /* the certificate: the session's, and valid as long as it */
    size_t der_len;
};

/*
 * Make a fresh session use an identity: its credentials; the peer's certificate required; `verify`
 * (NULL: none) called with it during the handshake. The names of our CAs are not sent, because a
 * GnuTLS client that holds no fitting certificate would then send none, and could only be told so.
 *
 * The session must not outlive the identity, and must not resume earlier ones: a resumed session
 * shows no certificate, so it would be refused.
 */
RUSM_MUST_CHECK rusm_err rusmi_verify_session_init(gnutls_session_t session,
                                                   const rusm_identity *own, bool is_server,
                                                   gnutls_certificate_verify_function *verify);

/* The largest certificate that is looked at: it is kept as long as the link (ours have 600 bytes).
 */
#define RUSMI_VERIFY_DER_MAX ((size_t)16384)

/* How strictly a peer is judged. */
struct rusmi_verify_rules {
    bool peer_is_server;
    bool crl_strict; /* its CA must have a list here whose next update has not passed */
    int64_t now_s;   /* the time of day (rusmi_wall_s()) */
};

/*
 * Judge the peer's certificate.
 *
 * RUSM_OK:     out says who it is; the other outputs are untouched.
 * RUSM_EAUTH:  refused; out_tls_alert is the alert to send, text the sentence for people.
 * RUSM_ENOMEM: could not be judged, and so must be refused; outputs as for RUSM_EAUTH.
 */
RUSM_MUST_CHECK rusm_err rusmi_verify_peer(gnutls_session_t session, const rusm_identity *own,
                                           const struct rusmi_verify_rules *rules,
                                           struct rusmi_peer_identity *out, int *out_tls_alert,
                                           char *text, size_t text_len);

/*
 * Judge a certificate on its own, by the same rules: one that a peer showed earlier, or shows on a
 * link that is up. It says nothing about who holds the key. Results as for rusmi_verify_peer; out
 * (whose der is the caller's) may be NULL.
 */
RUSM_MUST_CHECK rusm_err rusmi_verify_certificate(const uint8_t *der, size_t der_len,
                                                  const rusm_identity *own,
                                                  const struct rusmi_verify_rules *rules,
                                                  struct rusmi_peer_identity *out, char *text,
                                                  size_t text_len);

/* Judge our own certificate as our peers would, by our own anchors and lists: whether it is of use.
 * Results as for rusmi_verify_peer. */
RUSM_MUST_CHECK rusm_err rusmi_verify_own(const rusm_identity *own, int64_t now_s, char *text,
                                          size_t text_len);

/*
 * The sentence and the alert for a handshake that GnuTLS itself failed with code because of the
 * peer's certificate, before the verify function was called. False, and nothing written, if the
 * code says nothing about certificates.
 */
bool rusmi_verify_explain_code(gnutls_session_t session, const rusm_identity *own,
                               const struct rusmi_verify_rules *rules, int code, int *out_tls_alert,
                               char *text, size_t text_len);

/*
 * The sentence for an alert about our certificate that the peer sent. False, and nothing written,
 * if the alert says nothing about certificates.
 */
bool rusmi_verify_explain_alert(int tls_alert, const rusm_identity *own, int64_t now_s, char *text,
                                size_t text_len);

#endif
