/* SPDX-License-Identifier: MIT */
#include "quic/tls.h"

#include <ngtcp2/ngtcp2_crypto_gnutls.h>
#include <stdio.h>
#include <string.h>

#include "quic/conn.h"

/* AES-128-GCM first: with hardware support it is the cheapest per packet. No compatibility mode:
 * QUIC has no middleboxes that look into TLS records (RFC 9001 8.4). */
#define TLS_PRIORITY                                                                               \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:"      \
    "-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:%DISABLE_TLS13_COMPAT_MODE"

static ngtcp2_conn *tls_get_conn(ngtcp2_crypto_conn_ref *ref)
{
    return ((struct rusmi_quic_tls *)ref->user_data)->ng;
}

static void tls_refuse(struct rusmi_quic_tls *tls, int alert, const char *why)
{
    tls->alert = (uint8_t)alert;
    snprintf(tls->why, sizeof(tls->why), "%s", why);
}

/* Whether the peer speaks our protocol. GnuTLS lets one that offers no protocol at all through. */
static bool tls_alpn_ok(gnutls_session_t session)
{
    gnutls_datum_t alpn;

    return gnutls_alpn_get_selected_protocol(session, &alpn) == 0 &&
           alpn.size == strlen(RUSMI_QUIC_ALPN) &&
           memcmp(alpn.data, RUSMI_QUIC_ALPN, alpn.size) == 0;
}

static struct rusmi_verify_rules tls_rules(const struct rusmi_quic_tls *tls)
{
    return (struct rusmi_verify_rules){
        .peer_is_server = !tls->server, .crl_strict = tls->crl_strict, .now_s = tls->wall_s()};
}

/* GnuTLS's verify function: the one place where a peer is let in. Non-zero refuses. */
static int tls_verify(gnutls_session_t session)
{
    ngtcp2_crypto_conn_ref *ref = gnutls_session_get_ptr(session);
    struct rusmi_quic_tls *tls = ref->user_data;
    struct rusmi_verify_rules rules = tls_rules(tls);
    int alert = GNUTLS_A_INTERNAL_ERROR;
    char why[RUSMI_VERIFY_TEXT_MAX];

    tls->verified = false;
    if (!tls_alpn_ok(session)) {
        tls_refuse(tls, GNUTLS_A_NO_APPLICATION_PROTOCOL,
                   "the peer does not speak " RUSMI_QUIC_ALPN);
        return -1;
    }
    if (rusmi_verify_peer(session, tls->identity, &rules, &tls->peer, &alert, why, sizeof(why)) !=
        RUSM_OK) {
        tls_refuse(tls, alert, why);
        return -1;
    }
    tls->verified = true;
    return 0;
}

static rusm_err tls_configure(struct rusmi_quic_tls *tls)
{
    gnutls_datum_t alpn = {.data = (unsigned char *)(uintptr_t)RUSMI_QUIC_ALPN,
                           .size = (unsigned)strlen(RUSMI_QUIC_ALPN)};

    if (gnutls_priority_set_direct(tls->session, TLS_PRIORITY, NULL) != 0 ||
        gnutls_alpn_set_protocols(tls->session, &alpn, 1, GNUTLS_ALPN_MANDATORY) != 0) {
        return RUSM_ENOMEM;
    }
    if ((tls->server ? ngtcp2_crypto_gnutls_configure_server_session(tls->session)
                     : ngtcp2_crypto_gnutls_configure_client_session(tls->session)) != 0) {
        return RUSM_ENOMEM;
    }
    gnutls_session_set_ptr(tls->session, &tls->ref);
    return rusmi_verify_session_init(tls->session, tls->identity, tls->server, tls_verify);
}

rusm_err rusmi_quic_tls_init(struct rusmi_quic_tls *tls, const struct rusmi_quic_config *cfg,
                             bool server)
{
    unsigned role = server ? GNUTLS_SERVER : GNUTLS_CLIENT;
    rusm_err err;

    memset(tls, 0, sizeof(*tls));
    tls->ref.get_conn = tls_get_conn;
    tls->ref.user_data = tls;
    tls->server = server;
    tls->wall_s = cfg->wall_s;
    tls->crl_strict = cfg->crl_strict;
    if (gnutls_init(&tls->session, role | GNUTLS_NO_TICKETS | GNUTLS_NO_AUTO_SEND_TICKET) != 0) {
        tls->session = NULL;
        return RUSM_ENOMEM;
    }
    tls->identity = rusm_identity_hold(cfg->identity);
    err = tls_configure(tls);
    if (err != RUSM_OK) {
        rusmi_quic_tls_fini(tls);
    }
    return err;
}

void rusmi_quic_tls_fini(struct rusmi_quic_tls *tls)
{
    if (tls->session) {
        gnutls_deinit(tls->session);
        tls->session = NULL;
    }
    rusm_identity_del(tls->identity);
    tls->identity = NULL;
}

/* A failed handshake: keep why, and which alert says so. */
static int tls_failed(struct rusmi_quic_tls *tls, int code)
{
    int level = 0, alert = GNUTLS_A_INTERNAL_ERROR;
    int sticky = ngtcp2_conn_get_tls_error(tls->ng);
    struct rusmi_verify_rules rules = tls_rules(tls);
    char why[RUSMI_VERIFY_TEXT_MAX];

    if (sticky != 0 && tls->alert == 0) {
        return sticky; /* it was QUIC's transport parameters that were wrong */
    }
    if (tls->alert == 0) {
        if (rusmi_verify_explain_code(tls->session, tls->identity, &rules, code, &alert, why,
                                      sizeof(why))) {
            tls_refuse(tls, alert, why);
        } else {
            int known = gnutls_error_to_alert(code, &level);

            tls->alert = (uint8_t)(known >= 0 ? known : GNUTLS_A_INTERNAL_ERROR);
        }
    }
    return NGTCP2_ERR_CRYPTO;
}

int rusmi_quic_tls_recv_crypto(ngtcp2_conn *ng, ngtcp2_encryption_level level, uint64_t offset,
                               const uint8_t *data, size_t len, void *user_data)
{
    gnutls_session_t session = ngtcp2_conn_get_tls_native_handle(ng);
    ngtcp2_crypto_conn_ref *ref = gnutls_session_get_ptr(session);
    struct rusmi_quic_tls *tls = ref->user_data;
    int code = 0;

    (void)offset;
    (void)user_data;
    if (len > 0) {
        code = gnutls_handshake_write(
            session, ngtcp2_crypto_gnutls_from_ngtcp2_encryption_level(level), data, len);
    }
    if (code == 0 && !ngtcp2_conn_get_handshake_completed(ng)) {
        code = gnutls_handshake(session);
        if (code == 0 && !tls->verified) {
            /* The verify function runs in every full handshake, and there are no others. */
            tls_refuse(tls, GNUTLS_A_CERTIFICATE_REQUIRED, "the peer showed no certificate");
            return NGTCP2_ERR_CRYPTO;
        }
        if (code == 0) {
            code = gnutls_prf_rfc5705(session, strlen(RUSMI_BINDING_LABEL), RUSMI_BINDING_LABEL, 0,
                                      "", sizeof(tls->binding), (char *)tls->binding);
            if (code < 0) {
                return tls_failed(tls, code);
            }
            ngtcp2_conn_tls_handshake_completed(ng);
        }
    }
    return code < 0 && gnutls_error_is_fatal(code) ? tls_failed(tls, code) : 0;
}
