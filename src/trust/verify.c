/* SPDX-License-Identifier: MIT */
#include "trust/verify.h"

#include "trust/cert.h"
#include "trust/uri.h"

#include <gnutls/x509.h>
#include <rusm/otp/driver.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

rusm_err rusmi_verify_session_init(gnutls_session_t session, const rusm_identity *own,
                                   bool is_server, gnutls_certificate_verify_function *verify)
{
    gnutls_certificate_credentials_t credentials;
    rusm_err err = rusmi_identity_credentials(own, &credentials);
    int code;

    if (err != RUSM_OK) {
        return err;
    }
    code = gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
    if (code < 0) {
        return rusmi_cert_fail(code, "cannot use the identity for TLS");
    }
    if (is_server) {
        gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
        gnutls_certificate_send_x509_rdn_sequence(session, 1 /* do not send */);
    }
    gnutls_session_set_verify_function(session, verify);
    return RUSM_OK;
}

/* What every check sees. */
struct judgement {
    const rusm_identity *own;
    gnutls_x509_crt_t crt; /* the peer's */
    struct rusmi_verify_rules rules;
    gnutls_datum_t der;    /* of crt; not ours */
    struct rusmi_uri uri;  /* the peer's name, once it is read */
    int64_t trusted_until; /* once the dates are checked */
    bool crl_stale;
    /* the verdict */
    int alert;
    char *text;
    size_t text_len;
};

static rusm_err refuse(struct judgement *j, int alert, const char *format, ...) RUSM_PRINTF(3, 4);

static rusm_err refuse(struct judgement *j, int alert, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(j->text, j->text_len, format, args);
    va_end(args);
    j->alert = alert;
    return RUSM_EAUTH;
}

static rusm_err refuse_code(struct judgement *j, int code)
{
    if (code == GNUTLS_E_MEMORY_ERROR) {
        (void)refuse(j, GNUTLS_A_INTERNAL_ERROR, "out of memory while checking a certificate");
        return RUSM_ENOMEM;
    }
    return refuse(j, GNUTLS_A_BAD_CERTIFICATE, "the peer's certificate is damaged: %s",
                  gnutls_strerror(code));
}

static rusm_err read_first(struct judgement *j, gnutls_session_t session)
{
    unsigned count = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);

    if (chain == NULL || count == 0) {
        return refuse(j, GNUTLS_A_CERTIFICATE_REQUIRED, "the peer showed no certificate");
    }
    j->der = chain[0];
    return RUSM_OK;
}

static rusm_err import(struct judgement *j)
{
    int code;

    if (j->der.size > RUSMI_VERIFY_DER_MAX) {
        return refuse(j, GNUTLS_A_BAD_CERTIFICATE,
                      "the peer's certificate has %u bytes; at most %zu are read", j->der.size,
                      RUSMI_VERIFY_DER_MAX);
    }
    code = gnutls_x509_crt_init(&j->crt);
    if (code >= 0) {
        code = gnutls_x509_crt_import(j->crt, &j->der, GNUTLS_X509_FMT_DER);
    }
    return code < 0 ? refuse_code(j, code) : RUSM_OK;
}

/* Nobody vouches for the certificate: say what it claims, and that it is only a claim. */
static rusm_err refuse_unknown(struct judgement *j)
{
    const char *cluster = j->own->parts.info.cluster, *reason = "";
    struct rusmi_uri claim;

    if (gnutls_x509_crt_check_issuer(j->crt, j->crt) != 0) {
        return refuse(j, GNUTLS_A_UNKNOWN_CA,
                      "the peer's certificate is self-signed, not issued by the CA of cluster "
                      "\"%s\"",
                      cluster);
    }
    if (rusmi_cert_name(j->crt, &claim, &reason) != RUSMI_CERT_NAME_ONE) {
        return refuse(j, GNUTLS_A_UNKNOWN_CA,
                      "the peer's certificate is not issued by the CA of cluster \"%s\", and %s",
                      cluster, reason);
    }
    return refuse(j, GNUTLS_A_UNKNOWN_CA,
                  "the peer's certificate is not issued by the CA of cluster \"%s\"; it claims to "
                  "be \"%s\" of cluster \"%s\"",
                  cluster, claim.node, claim.cluster);
}

static rusm_err check_issuer(struct judgement *j)
{
    unsigned status = 0;
    int code = rusmi_identity_judge(j->own, j->crt, &status);

    if (code < 0) {
        return refuse_code(j, code);
    }
    if ((status & (GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNER_NOT_CA)) != 0) {
        return refuse_unknown(j);
    }
    if ((status & GNUTLS_CERT_SIGNATURE_FAILURE) != 0) {
        return refuse(j, GNUTLS_A_BAD_CERTIFICATE,
                      "the peer's certificate names the CA of cluster \"%s\" as its issuer, but "
                      "that CA did not sign it",
                      j->own->parts.info.cluster);
    }
    if ((status & GNUTLS_CERT_INSECURE_ALGORITHM) != 0) {
        return refuse(j, GNUTLS_A_BAD_CERTIFICATE,
                      "the key or the signature of the peer's certificate is too weak");
    }
    if ((status & GNUTLS_CERT_UNKNOWN_CRIT_EXTENSIONS) != 0) {
        return refuse(j, GNUTLS_A_UNSUPPORTED_CERTIFICATE,
                      "the peer's certificate has a critical extension that is not known here");
    }
    if (status != 0) {
        return refuse(j, GNUTLS_A_BAD_CERTIFICATE,
                      "the peer's certificate is not acceptable (GnuTLS status 0x%x)", status);
    }
    return RUSM_OK;
}

static rusm_err check_name(struct judgement *j)
{
    const char *reason = "";

    if (rusmi_cert_name(j->crt, &j->uri, &reason) != RUSMI_CERT_NAME_ONE) {
        return refuse(j, GNUTLS_A_CERTIFICATE_UNKNOWN,
                      "the peer's certificate is no rusm certificate: %s", reason);
    }
    if (j->uri.is_ca || rusmi_cert_signs(j->crt)) {
        return refuse(j, GNUTLS_A_UNSUPPORTED_CERTIFICATE,
                      "the peer shows the certificate of a CA, not one of a node");
    }
    if (strcmp(j->uri.cluster, j->own->parts.info.cluster) != 0) {
        return refuse(j, GNUTLS_A_ACCESS_DENIED,
                      "the peer \"%s\" is of cluster \"%s\", not of \"%s\"", j->uri.node,
                      j->uri.cluster, j->own->parts.info.cluster);
    }
    return RUSM_OK;
}

/* Whether extendedKeyUsage names the purpose; anyExtendedKeyUsage does not count. */
static bool has_purpose(gnutls_x509_crt_t crt, const char *purpose)
{
    for (unsigned i = 0;; i++) {
        char oid[128];
        size_t len = sizeof(oid);
        int code = gnutls_x509_crt_get_key_purpose_oid(crt, i, oid, &len, NULL);

        if (code == GNUTLS_E_SHORT_MEMORY_BUFFER) {
            continue; /* longer than any that we look for */
        }
        if (code < 0) {
            return false;
        }
        if (strcmp(oid, purpose) == 0) {
            return true;
        }
    }
}

static rusm_err check_usage(struct judgement *j)
{
    const char *purpose =
        j->rules.peer_is_server ? GNUTLS_KP_TLS_WWW_SERVER : GNUTLS_KP_TLS_WWW_CLIENT;
    unsigned usage = 0;

    if (gnutls_x509_crt_get_key_usage(j->crt, &usage, NULL) < 0 ||
        (usage & GNUTLS_KEY_DIGITAL_SIGNATURE) == 0) {
        return refuse(j, GNUTLS_A_UNSUPPORTED_CERTIFICATE,
                      "the certificate of \"%s\" is not for digital signatures, which TLS needs",
                      j->uri.node);
    }
    if (!has_purpose(j->crt, purpose)) {
        return refuse(j, GNUTLS_A_UNSUPPORTED_CERTIFICATE,
                      "the certificate of \"%s\" is not for use as a TLS %s", j->uri.node,
                      j->rules.peer_is_server ? "server" : "client");
    }
    if (j->rules.peer_is_server && j->uri.role != RUSM_ROLE_MEMBER) {
        return refuse(j, GNUTLS_A_ACCESS_DENIED,
                      "\"%s\" answers as a node, but its certificate is an %s's", j->uri.node,
                      rusm_role_name(j->uri.role));
    }
    return RUSM_OK;
}

/* `whose` is "the certificate" or "the CA"; `name` is of the node or cluster. */
static rusm_err check_dates(struct judgement *j, gnutls_x509_crt_t crt, const char *whose,
                            const char *name)
{
    int64_t from = (int64_t)gnutls_x509_crt_get_activation_time(crt);
    int64_t until = (int64_t)gnutls_x509_crt_get_expiration_time(crt);
    char date[RUSMI_DATE_MAX], now[RUSMI_DATE_MAX];

    if (from == -1 || until == -1) {
        return refuse(j, GNUTLS_A_BAD_CERTIFICATE, "the dates of %s of \"%s\" cannot be read",
                      whose, name);
    }
    if (j->rules.now_s > until) {
        rusmi_date_format(until, date);
        return refuse(j, GNUTLS_A_CERTIFICATE_EXPIRED, "%s of \"%s\" expired on %s", whose, name,
                      date);
    }
    if (j->rules.now_s < from) {
        rusmi_date_format(from, date);
        rusmi_date_format(j->rules.now_s, now);
        return refuse(j, GNUTLS_A_CERTIFICATE_EXPIRED,
                      "%s of \"%s\" is not valid before %s, and our clock says %s", whose, name,
                      date, now);
    }
    return RUSM_OK;
}

static rusm_err check_validity(struct judgement *j)
{
    const struct rusmi_identity_parts *own = &j->own->parts;
    rusm_err err = check_dates(j, j->crt, "the certificate", j->uri.node);
    int64_t end = (int64_t)gnutls_x509_crt_get_expiration_time(j->crt), ca_end = 0;

    if (err != RUSM_OK) {
        return err;
    }
    err = refuse(j, GNUTLS_A_UNKNOWN_CA, "no CA of cluster \"%s\" issued the peer's certificate",
                 own->info.cluster);
    /* Among anchors with the issuer's name and key identifier, one within its dates is enough. */
    for (size_t i = 0; i < own->anchor_count && err != RUSM_OK; i++) {
        if (gnutls_x509_crt_check_issuer(j->crt, own->anchors[i]) != 0) {
            err = check_dates(j, own->anchors[i], "the CA", own->info.cluster);
            ca_end = (int64_t)gnutls_x509_crt_get_expiration_time(own->anchors[i]);
        }
    }
    j->trusted_until = ca_end < end ? ca_end : end;
    return err;
}

static rusm_err refuse_revoked(struct judgement *j, const struct rusmi_revoked *entry)
{
    char date[RUSMI_DATE_MAX], serial[2 * RUSMI_SERIAL_MAX + 1] = "";

    rusmi_date_format(entry->when_s, date);
    for (size_t i = 0; i < entry->serial_len; i++) {
        (void)snprintf(serial + 2 * i, 3, "%02x", entry->serial[i]);
    }
    return refuse(j, GNUTLS_A_CERTIFICATE_REVOKED,
                  "the certificate of \"%s\", serial %s, was revoked on %s", j->uri.node, serial,
                  date);
}

/*
 * A list that was not renewed in time is still the best that is known: what it revokes stays
 * revoked. Whether it is enough to let somebody in is the caller's to say.
 */
static rusm_err check_revocation(struct judgement *j)
{
    const struct rusmi_identity_parts *own = &j->own->parts;
    int64_t until = 0;

    for (size_t i = 0; i < own->anchor_count; i++) {
        const struct rusmi_revoked *entry;
        int64_t anchor_until;

        if (gnutls_x509_crt_check_issuer(j->crt, own->anchors[i]) == 0) {
            continue;
        }
        entry = rusmi_identity_revoked(j->own, own->anchors[i], j->crt);
        if (entry != NULL) {
            return refuse_revoked(j, entry);
        }
        anchor_until = rusmi_identity_crl_until(j->own, own->anchors[i]);
        until = anchor_until > until ? anchor_until : until;
    }
    j->crl_stale = until != 0 && until < j->rules.now_s;
    if (j->rules.crl_strict && until < j->rules.now_s) {
        char date[RUSMI_DATE_MAX];

        rusmi_date_format(until, date);
        return until == 0
                   ? refuse(
                         j, GNUTLS_A_CERTIFICATE_UNKNOWN,
                         "no revocation list of the CA of cluster \"%s\" is here, and crl_strict "
                         "asks for one",
                         own->info.cluster)
                   : refuse(j, GNUTLS_A_CERTIFICATE_UNKNOWN,
                            "the revocation list of the CA of cluster \"%s\" held until %s, and "
                            "crl_strict asks for a newer one",
                            own->info.cluster, date);
    }
    return RUSM_OK;
}

/* All checks of a certificate that was imported. */
static rusm_err judge(struct judgement *j, struct rusmi_peer_identity *out)
{
    struct rusmi_peer_identity peer = {.shared = false};
    /* Trust comes first: what an unknown issuer signed is not worth a closer look. */
    rusm_err err = check_issuer(j);

    if (err == RUSM_OK) {
        err = check_name(j);
    }
    if (err == RUSM_OK) {
        err = check_usage(j);
    }
    if (err == RUSM_OK) {
        err = check_validity(j);
    }
    if (err == RUSM_OK) {
        err = check_revocation(j);
    }
    if (err == RUSM_OK && rusmi_cert_fingerprint(j->crt, peer.fingerprint) != RUSM_OK) {
        err = refuse_code(j, GNUTLS_E_MEMORY_ERROR);
    }
    if (err == RUSM_OK && out != NULL) {
        memcpy(peer.cluster, j->uri.cluster, sizeof(peer.cluster));
        memcpy(peer.node, j->uri.node, sizeof(peer.node));
        peer.role = j->uri.role;
        peer.shared = j->uri.shared;
        peer.not_after = (int64_t)gnutls_x509_crt_get_expiration_time(j->crt);
        peer.trusted_until = j->trusted_until;
        peer.crl_stale = j->crl_stale;
        peer.der = j->der.data;
        peer.der_len = j->der.size;
        *out = peer;
    }
    return err;
}

rusm_err rusmi_verify_peer(gnutls_session_t session, const rusm_identity *own,
                           const struct rusmi_verify_rules *rules, struct rusmi_peer_identity *out,
                           int *out_tls_alert, char *text, size_t text_len)
{
    struct judgement j = {.own = own, .rules = *rules, .text = text, .text_len = text_len};
    rusm_err err = read_first(&j, session);

    if (err == RUSM_OK) {
        err = import(&j);
    }
    if (err == RUSM_OK) {
        err = judge(&j, out);
    }
    if (err != RUSM_OK) {
        *out_tls_alert = j.alert;
    }
    gnutls_x509_crt_deinit(j.crt);
    return err;
}

rusm_err rusmi_verify_certificate(const uint8_t *der, size_t der_len, const rusm_identity *own,
                                  const struct rusmi_verify_rules *rules,
                                  struct rusmi_peer_identity *out, char *text, size_t text_len)
{
    struct judgement j = {.own = own,
                          .rules = *rules,
                          .der = {(unsigned char *)(uintptr_t)der, (unsigned)der_len}, /* read */
                          .text = text,
                          .text_len = text_len};
    rusm_err err = import(&j);

    if (err == RUSM_OK) {
        err = judge(&j, out);
    }
    gnutls_x509_crt_deinit(j.crt);
    return err;
}

rusm_err rusmi_verify_own(const rusm_identity *own, int64_t now_s, char *text, size_t text_len)
{
    struct rusmi_verify_rules rules = {.peer_is_server = own->parts.info.role == RUSM_ROLE_MEMBER,
                                       .now_s = now_s};
    gnutls_datum_t der = {NULL, 0};
    rusm_err err;

    if (gnutls_x509_crt_export2(own->parts.crt, GNUTLS_X509_FMT_DER, &der) < 0) {
        (void)snprintf(text, text_len, "%s", rusm_err_text(RUSM_ENOMEM));
        return RUSM_ENOMEM;
    }
    err = rusmi_verify_certificate(der.data, der.size, own, &rules, NULL, text, text_len);
    gnutls_free(der.data);
    return err;
}

bool rusmi_verify_explain_code(gnutls_session_t session, const rusm_identity *own,
                               const struct rusmi_verify_rules *rules, int code, int *out_tls_alert,
                               char *text, size_t text_len)
{
    struct rusmi_peer_identity unproven;
    static const struct {
        int code, alert;
        const char *text;
    } known[] = {
        {GNUTLS_E_CERTIFICATE_REQUIRED, GNUTLS_A_CERTIFICATE_REQUIRED,
         "the peer showed no certificate"},
        {GNUTLS_E_NO_CERTIFICATE_FOUND, GNUTLS_A_CERTIFICATE_REQUIRED,
         "the peer showed no certificate"},
        {GNUTLS_E_KEY_USAGE_VIOLATION, GNUTLS_A_UNSUPPORTED_CERTIFICATE,
         "the peer's certificate is not for digital signatures, which TLS needs"},
        {GNUTLS_E_PK_SIG_VERIFY_FAILED, GNUTLS_A_DECRYPT_ERROR,
         "the peer does not hold the key of the certificate that it shows"},
        {GNUTLS_E_UNSUPPORTED_CERTIFICATE_TYPE, GNUTLS_A_UNSUPPORTED_CERTIFICATE,
         "the peer's certificate is not an X.509 certificate"},
        {GNUTLS_E_INSUFFICIENT_SECURITY, GNUTLS_A_INSUFFICIENT_SECURITY,
         "the key of the peer's certificate is too weak"},
    };

    /* GnuTLS has seen the certificate and only one fault of it; ours may say more of the same. */
    if (code == GNUTLS_E_KEY_USAGE_VIOLATION &&
        rusmi_verify_peer(session, own, rules, &unproven, out_tls_alert, text, text_len) !=
            RUSM_OK) {
        return true;
    }
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].code == code) {
            *out_tls_alert = known[i].alert;
            (void)snprintf(text, text_len, "%s", known[i].text);
            return true;
        }
    }
    return false;
}

/* Our own dates, seen from here: the peer says only that they do not fit its clock. */
static void explain_dates(const rusm_cert_info *info, int64_t now_s, char *text, size_t text_len)
{
    char from[RUSMI_DATE_MAX], until[RUSMI_DATE_MAX];

    rusmi_date_format(info->not_before, from);
    rusmi_date_format(info->not_after, until);
    if (now_s > info->not_after) {
        (void)snprintf(text, text_len, "the peer refused us: our certificate expired on %s", until);
    } else if (now_s < info->not_before) {
        (void)snprintf(text, text_len,
                       "the peer refused us: our certificate is not valid before %s", from);
    } else {
        (void)snprintf(text, text_len,
                       "the peer refused us: our certificate, valid from %s to %s, or our CA's is "
                       "not valid by the peer's clock",
                       from, until);
    }
}

bool rusmi_verify_explain_alert(int tls_alert, const rusm_identity *own, int64_t now_s, char *text,
                                size_t text_len)
{
    const rusm_cert_info *info = &own->parts.info;
    const char *reason = NULL;

    switch (tls_alert) {
    case GNUTLS_A_CERTIFICATE_EXPIRED:
        explain_dates(info, now_s, text, text_len);
        return true;
    case GNUTLS_A_CERTIFICATE_REQUIRED:
        reason = "it requires a certificate, and we showed none";
        break;
    case GNUTLS_A_BAD_CERTIFICATE:
        reason = "our certificate is damaged, badly signed or too weak";
        break;
    case GNUTLS_A_UNSUPPORTED_CERTIFICATE:
        reason = "our certificate is not for this use";
        break;
    case GNUTLS_A_CERTIFICATE_REVOKED:
        reason = "our certificate is revoked";
        break;
    case GNUTLS_A_CERTIFICATE_UNKNOWN:
        reason =
            "our certificate is no rusm certificate to it, or it has no revocation list that is "
            "new enough to judge it";
        break;
    case GNUTLS_A_UNKNOWN_CA:
        reason = "it does not trust the CA that issued our certificate";
        break;
    case GNUTLS_A_ACCESS_DENIED:
        reason = "it is of another cluster, or our role is not allowed there";
        break;
    case GNUTLS_A_DECRYPT_ERROR:
        reason = "our key is not the one of our certificate";
        break;
    default: /* an int from the wire, not one of our enums */
        return false;
    }
    (void)snprintf(text, text_len, "the peer refused us (\"%s\" of cluster \"%s\"): %s", info->node,
                   info->cluster, reason);
    return true;
}
