/* SPDX-License-Identifier: MIT */
#include "trust/cert.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509-ext.h>
#include <rusm/otp/driver.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* RFC 5280, appendix A.1: ub-common-name, in characters; bytes are never fewer. */
#define COMMON_NAME_MAX 64

rusm_err rusmi_cert_fail(int code, const char *what)
{
    return rusm_set_err_detail(code == GNUTLS_E_MEMORY_ERROR ? RUSM_ENOMEM : RUSM_ECERT, "%s: %s",
                               what, gnutls_strerror(code));
}

void rusmi_date_format(int64_t time_s, char out_text[RUSMI_DATE_MAX])
{
    time_t t = (time_t)time_s;
    struct tm tm;

    if (gmtime_r(&t, &tm) == NULL ||
        strftime(out_text, RUSMI_DATE_MAX, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0) {
        (void)snprintf(out_text, RUSMI_DATE_MAX, "an impossible date");
    }
}

rusm_err rusmi_key_generate(gnutls_x509_privkey_t *out_key)
{
    gnutls_x509_privkey_t key;
    int code = gnutls_x509_privkey_init(&key);

    if (code < 0) {
        return rusmi_cert_fail(code, "cannot make a key");
    }
    code = gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                        GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    if (code < 0) {
        gnutls_x509_privkey_deinit(key);
        return rusmi_cert_fail(code, "cannot make a key");
    }
    *out_key = key;
    return RUSM_OK;
}

/* ---- building: each step returns a GnuTLS code */

static int set_serial(gnutls_x509_crt_t crt)
{
    unsigned char serial[RUSMI_SERIAL_LEN];
    int code = gnutls_rnd(GNUTLS_RND_RANDOM, serial, sizeof(serial));

    if (code < 0) {
        return code;
    }
    /* Positive, and never shorter: DER would drop leading zeros. */
    serial[0] = (unsigned char)((serial[0] & 0x7f) | 0x40);
    return gnutls_x509_crt_set_serial(crt, serial, sizeof(serial));
}

/*
 * The subject is for people who look with other tools; rusm reads only the URI. The key identifier
 * in it keeps the CAs of one cluster apart where issuers are matched by name.
 */
static int set_subject(gnutls_x509_crt_t crt, const struct rusmi_uri *uri, const char *id)
{
    const char *name = uri->is_ca ? uri->cluster : uri->node;
    size_t len = rusmi_utf8_cut(name, strlen(name), COMMON_NAME_MAX);
    int code =
        gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, 0,
                                      uri->is_ca ? "rusm cluster CA" : "rusm", uri->is_ca ? 15 : 4);

    if (code >= 0) {
        code =
            gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name, (unsigned)len);
    }
    if (code >= 0 && uri->is_ca) {
        code = gnutls_x509_crt_set_dn_by_oid(crt, "2.5.4.5" /* serialNumber */, 0, id, 16);
    }
    return code;
}

static int set_identifiers(gnutls_x509_crt_t crt, const struct rusmi_cert_spec *spec)
{
    unsigned char id[64];
    char hex[2 * sizeof(id) + 1];
    gnutls_datum_t raw = {id, 0};
    size_t len = sizeof(id), hex_len = sizeof(hex);
    int code = gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA256, id, &len);

    raw.size = (unsigned)len;
    if (code < 0 || (code = gnutls_hex_encode(&raw, hex, &hex_len)) < 0 ||
        (code = set_subject(crt, &spec->uri, hex)) < 0) {
        return code;
    }
    /* RFC 7093, section 2: 160 bits of SHA-256 are an identifier as good as SHA-1's. */
    code = gnutls_x509_crt_set_subject_key_id(crt, id, 20);
    if (code >= 0 && spec->issuer != NULL) {
        len = sizeof(id);
        code = gnutls_x509_crt_get_subject_key_id(spec->issuer, id, &len, NULL);
    } else {
        len = 20;
    }
    return code < 0 ? code : gnutls_x509_crt_set_authority_key_id(crt, id, len);
}

static int set_purpose(gnutls_x509_crt_t crt, bool is_ca)
{
    int code;

    if (is_ca) {
        code = gnutls_x509_crt_set_basic_constraints(crt, 1, 0);
        return code < 0 ? code
                        : gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_KEY_CERT_SIGN |
                                                                 GNUTLS_KEY_CRL_SIGN);
    }
    if ((code = gnutls_x509_crt_set_basic_constraints(crt, 0, -1)) < 0 ||
        (code = gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE)) < 0 ||
        (code = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_CLIENT, 0)) < 0) {
        return code;
    }
    return gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0);
}

static int fill(gnutls_x509_crt_t crt, const struct rusmi_cert_spec *spec)
{
    char uri[RUSMI_URI_MAX];
    int code;

    rusmi_uri_encode(&spec->uri, uri);
    if ((code = gnutls_x509_crt_set_version(crt, 3)) < 0 || (code = set_serial(crt)) < 0 ||
        (code = gnutls_x509_crt_set_key(crt, spec->key)) < 0 ||
        (code = gnutls_x509_crt_set_activation_time(crt, (time_t)spec->not_before)) < 0 ||
        (code = gnutls_x509_crt_set_expiration_time(crt, (time_t)spec->not_after)) < 0 ||
        (code = set_identifiers(crt, spec)) < 0 || (code = set_purpose(crt, spec->uri.is_ca)) < 0 ||
        (code = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_URI, uri,
                                                     (unsigned)strlen(uri), GNUTLS_FSAN_SET)) < 0) {
        return code;
    }
    return gnutls_x509_crt_sign2(crt, spec->issuer == NULL ? crt : spec->issuer, spec->issuer_key,
                                 GNUTLS_DIG_SHA256, 0);
}

/*
 * GnuTLS caches some fields when it imports a certificate, and lacks them in one that it has just
 * signed; what leaves here is as if it had been read from a file.
 */
static int import_again(gnutls_x509_crt_t built, gnutls_x509_crt_t *out_crt)
{
    gnutls_datum_t der = {NULL, 0};
    int code = gnutls_x509_crt_export2(built, GNUTLS_X509_FMT_DER, &der);

    if (code >= 0) {
        code = gnutls_x509_crt_init(out_crt);
    }
    if (code >= 0) {
        code = gnutls_x509_crt_import(*out_crt, &der, GNUTLS_X509_FMT_DER);
    }
    gnutls_free(der.data);
    return code;
}

rusm_err rusmi_cert_build(const struct rusmi_cert_spec *spec, gnutls_x509_crt_t *out_crt)
{
    gnutls_x509_crt_t built = NULL, crt = NULL;
    int code = gnutls_x509_crt_init(&built);

    if (code >= 0) {
        code = fill(built, spec);
    }
    if (code >= 0) {
        code = import_again(built, &crt);
    }
    gnutls_x509_crt_deinit(built);
    if (code < 0) {
        gnutls_x509_crt_deinit(crt);
        return rusmi_cert_fail(code, "cannot make a certificate");
    }
    *out_crt = crt;
    return RUSM_OK;
}

/* Copying is the same: GnuTLS has no other way. */
rusm_err rusmi_cert_list_copy(const gnutls_x509_crt_t *list, size_t count,
                              gnutls_x509_crt_t **out_list)
{
    gnutls_x509_crt_t *copy = rusmi_zalloc_array(count, sizeof(*copy));
    int code = copy == NULL ? GNUTLS_E_MEMORY_ERROR : 0;

    for (size_t i = 0; i < count && code >= 0; i++) {
        code = import_again(list[i], &copy[i]);
    }
    if (code < 0) {
        rusmi_cert_list_del(copy, copy == NULL ? 0 : count);
        return rusmi_cert_fail(code, "cannot copy a certificate");
    }
    *out_list = copy;
    return RUSM_OK;
}

/* ---- reading */

static enum rusmi_cert_name scan_names(gnutls_subject_alt_names_t names, struct rusmi_uri *out_uri,
                                       const char **out_text)
{
    enum rusmi_cert_name found = RUSMI_CERT_NAME_NONE;
    gnutls_datum_t value;
    unsigned type;

    for (unsigned i = 0; gnutls_subject_alt_names_get(names, i, &type, &value, NULL) >= 0; i++) {
        const char *text = (const char *)value.data;

        if (type != GNUTLS_SAN_URI || !rusmi_uri_is_ours(text, value.size)) {
            continue;
        }
        if (found != RUSMI_CERT_NAME_NONE) {
            *out_text = "it carries more than one rusm name";
            return RUSMI_CERT_NAME_BAD;
        }
        if (rusmi_uri_decode(text, value.size, out_uri) != RUSM_OK) {
            *out_text = "its rusm name is malformed";
            return RUSMI_CERT_NAME_BAD;
        }
        found = RUSMI_CERT_NAME_ONE;
    }
    *out_text = found == RUSMI_CERT_NAME_ONE ? "" : "it carries no rusm name";
    return found;
}

enum rusmi_cert_name rusmi_cert_name(gnutls_x509_crt_t crt, struct rusmi_uri *out_uri,
                                     const char **out_text)
{
    enum rusmi_cert_name found = RUSMI_CERT_NAME_BAD;
    gnutls_subject_alt_names_t names = NULL;
    gnutls_datum_t der = {NULL, 0};
    unsigned critical = 0;
    int code =
        gnutls_x509_crt_get_extension_by_oid2(crt, GNUTLS_X509EXT_OID_SAN, 0, &der, &critical);

    if (code == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
        *out_text = "it carries no rusm name";
        return RUSMI_CERT_NAME_NONE;
    }
    *out_text = "its alternative names cannot be read";
    if (code >= 0 && gnutls_subject_alt_names_init(&names) >= 0) {
        if (gnutls_x509_ext_import_subject_alt_names(&der, names, 0) >= 0) {
            found = scan_names(names, out_uri, out_text);
        }
        gnutls_subject_alt_names_deinit(names);
    }
    gnutls_free(der.data);
    return found;
}

bool rusmi_cert_signs(gnutls_x509_crt_t crt)
{
    unsigned usage = 0;

    return gnutls_x509_crt_get_ca_status(crt, NULL) > 0 ||
           (gnutls_x509_crt_get_key_usage(crt, &usage, NULL) >= 0 &&
            (usage & GNUTLS_KEY_KEY_CERT_SIGN) != 0);
}

static int to_hex(const unsigned char *data, size_t len, char *out_text, size_t text_size)
{
    gnutls_datum_t raw = {(unsigned char *)(uintptr_t)data, (unsigned)len}; /* only read */

    return gnutls_hex_encode(&raw, out_text, &text_size);
}

rusm_err rusmi_cert_fingerprint(gnutls_x509_crt_t crt, char out_text[65])
{
    unsigned char digest[32];
    size_t len = sizeof(digest);
    int code = gnutls_x509_crt_get_fingerprint(crt, GNUTLS_DIG_SHA256, digest, &len);

    if (code >= 0) {
        code = to_hex(digest, len, out_text, 65);
    }
    return code < 0 ? rusmi_cert_fail(code, "cannot hash the certificate") : RUSM_OK;
}

rusm_err rusmi_cert_describe(gnutls_x509_crt_t crt, const char *where, rusm_cert_info *out_info)
{
    rusm_cert_info info = {.role = RUSM_ROLE_MEMBER};
    unsigned char serial[31];
    size_t len = sizeof(serial);
    struct rusmi_uri uri;
    const char *text = "";
    rusm_err err;

    if (rusmi_cert_name(crt, &uri, &text) != RUSMI_CERT_NAME_ONE) {
        return rusm_set_err_detail(RUSM_ECERT, "%s: no rusm certificate: %s", where, text);
    }
    if (uri.is_ca != rusmi_cert_signs(crt)) {
        return rusm_set_err_detail(RUSM_ECERT, "%s: no rusm certificate: %s", where,
                                   uri.is_ca ? "it names a cluster's CA but may not sign"
                                             : "it names a node but may sign as a CA");
    }
    memcpy(info.cluster, uri.cluster, sizeof(info.cluster));
    memcpy(info.node, uri.node, sizeof(info.node));
    info.role = uri.role;
    info.is_ca = uri.is_ca;
    info.shared = uri.shared;
    info.not_before = (int64_t)gnutls_x509_crt_get_activation_time(crt);
    info.not_after = (int64_t)gnutls_x509_crt_get_expiration_time(crt);
    if (info.not_before == -1 || info.not_after == -1) {
        return rusm_set_err_detail(RUSM_ECERT, "%s: its dates cannot be read", where);
    }
    if (gnutls_x509_crt_get_serial(crt, serial, &len) < 0 ||
        to_hex(serial, len, info.serial, sizeof(info.serial)) < 0) {
        return rusm_set_err_detail(RUSM_ECERT, "%s: its serial number cannot be read", where);
    }
    err = rusmi_cert_fingerprint(crt, info.fingerprint);
    if (err == RUSM_OK) {
        *out_info = info;
    }
    return err;
}

bool rusmi_key_matches(gnutls_x509_privkey_t key, gnutls_x509_crt_t crt)
{
    unsigned char of_key[64], of_crt[64];
    size_t key_len = sizeof(of_key), crt_len = sizeof(of_crt);

    return gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, of_key, &key_len) >= 0 &&
           gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA256, of_crt, &crt_len) >= 0 &&
           key_len == crt_len && memcmp(of_key, of_crt, key_len) == 0;
}
