/* SPDX-License-Identifier: MIT */
/*
 * Who is at the other end of a TLS session, and why somebody is refused.
 *
 * A peer is let in if one of our own trust anchors issued its certificate directly (a cluster CA
 * has no CAs under it), now lies in the validity of both, the certificate is for this direction of
 * TLS and for nothing that signs others, and it carries exactly one rusm name, of our cluster.
 * Each refusal has its own sentence, and the TLS alert that tells the other side as much as TLS
 * can say (RFC 8446, section 6.2); rusmi_verify_explain_alert() turns it back into a sentence
 * there.
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

/* Who a verified peer is. */
struct rusmi_peer_identity {
    char cluster[RUSM_NAME_MAX + 1];
    char node[RUSM_NAME_MAX + 1]; /* "*" if shared */
    rusm_role role;
    bool shared;          /* the peer may call itself what it likes */
    int64_t not_after;    /* seconds since 1970 */
    char fingerprint[65]; /* SHA-256 of the certificate, hexadecimal */
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

/*
 * Judge the peer's certificate. now_s is the time of day (rusmi_wall_s()).
 *
 * RUSM_OK:     out says who it is; the other outputs are untouched.
 * RUSM_EAUTH:  refused; out_tls_alert is the alert to send, text the sentence for people.
 * RUSM_ENOMEM: could not be judged, and so must be refused; outputs as for RUSM_EAUTH.
 */
RUSM_MUST_CHECK rusm_err rusmi_verify_peer(gnutls_session_t session, const rusm_identity *own,
                                           bool peer_is_server, int64_t now_s,
                                           struct rusmi_peer_identity *out, int *out_tls_alert,
                                           char *text, size_t text_len);

/*
 * The sentence and the alert for a handshake that GnuTLS itself failed with code because of the
 * peer's certificate, before the verify function was called. False, and nothing written, if the
 * code says nothing about certificates.
 */
bool rusmi_verify_explain_code(gnutls_session_t session, const rusm_identity *own,
                               bool peer_is_server, int64_t now_s, int code, int *out_tls_alert,
                               char *text, size_t text_len);

/*
 * The sentence for an alert about our certificate that the peer sent. False, and nothing written,
 * if the alert says nothing about certificates.
 */
bool rusmi_verify_explain_alert(int tls_alert, const rusm_identity *own, int64_t now_s, char *text,
                                size_t text_len);

#endif
