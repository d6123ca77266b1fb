/* SPDX-License-Identifier: MIT */
#include "support/certs.h"

#include "base/mem.h"
#include "platform/wall.h"
#include "trust/ca.h"
#include "trust/cert.h"
#include "trust/identity.h"
#include "trust/uri.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <rusm/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_S           ((int64_t)86400)

#define MUST(condition) must((condition), __LINE__, #condition)

static void must(bool okay, int line, const char *what)
{
    if (!okay) {
        (void)fprintf(stderr, "support/certs.c:%d: %s: %s\n", line, what, rusm_err_detail());
        abort();
    }
}

/* Everything about a certificate that a test may want wrong. */
struct recipe {
    char uris[2][RUSMI_URI_MAX]; /* empty: none */
    const char *dns;
    int64_t not_before, not_after;
    gnutls_pk_algorithm_t algorithm;
    unsigned bits;
    unsigned usage; /* 0: no extension */
    bool client, server, signs;
    gnutls_x509_crt_t issuer;         /* NULL: self-signed */
    gnutls_x509_privkey_t issuer_key; /* NULL: the holder's own */
};

static void put_uri(struct recipe *r, int i, const char *cluster, const char *node)
{
    struct rusmi_uri uri;

    MUST(rusmi_uri_make(&uri, cluster, node, RUSM_ROLE_MEMBER) == RUSM_OK);
    rusmi_uri_encode(&uri, r->uris[i]);
}

/* What the CA would issue. */
static struct recipe good_recipe(const rusm_ca *ca, const char *node)
{
    struct recipe r = {.not_before = rusmi_wall_s() - 3600,
                       .not_after = rusmi_wall_s() + DAY_S,
                       .algorithm = GNUTLS_PK_ECDSA,
                       .bits = GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1),
                       .usage = GNUTLS_KEY_DIGITAL_SIGNATURE,
                       .client = true,
                       .server = true,
                       .issuer = ca->crt,
                       .issuer_key = ca->key};

    put_uri(&r, 0, ca->info.cluster, node);
    return r;
}

static gnutls_x509_privkey_t make_key(gnutls_pk_algorithm_t algorithm, unsigned bits)
{
    gnutls_x509_privkey_t key = NULL;

    MUST(gnutls_x509_privkey_init(&key) >= 0);
    MUST(gnutls_x509_privkey_generate(key, algorithm, bits, 0) >= 0);
    return key;
}

static void put_extensions(gnutls_x509_crt_t crt, const struct recipe *r)
{
    MUST(gnutls_x509_crt_set_basic_constraints(crt, r->signs, -1) >= 0);
    if (r->usage != 0) {
        MUST(gnutls_x509_crt_set_key_usage(crt, r->usage) >= 0);
    }
    if (r->client) {
        MUST(gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_CLIENT, 0) >= 0);
    }
    if (r->server) {
        MUST(gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0) >= 0);
    }
    if (r->dns != NULL) {
        MUST(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, r->dns,
                                                  (unsigned)strlen(r->dns),
                                                  GNUTLS_FSAN_APPEND) >= 0);
    }
    for (int i = 0; i < 2; i++) {
        if (r->uris[i][0] != '\0') {
            MUST(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_URI, r->uris[i],
                                                      (unsigned)strlen(r->uris[i]),
                                                      GNUTLS_FSAN_APPEND) >= 0);
        }
    }
}

static gnutls_x509_crt_t cook(const struct recipe *r, gnutls_x509_privkey_t key)
{
    static const unsigned char serial[] = {0x42, 0x13, 0x37};
    gnutls_x509_crt_t crt = NULL, *read_back = NULL;
    unsigned char id[64];
    size_t len = sizeof(id);

    MUST(gnutls_x509_crt_init(&crt) >= 0);
    MUST(gnutls_x509_crt_set_version(crt, 3) >= 0);
    MUST(gnutls_x509_crt_set_serial(crt, serial, sizeof(serial)) >= 0);
    MUST(gnutls_x509_crt_set_key(crt, key) >= 0);
    MUST(gnutls_x509_crt_set_dn(crt, "O=made by a test,CN=peer", NULL) >= 0);
    MUST(gnutls_x509_crt_set_activation_time(crt, (time_t)r->not_before) >= 0);
    MUST(gnutls_x509_crt_set_expiration_time(crt, (time_t)r->not_after) >= 0);
    MUST(gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA1, id, &len) >= 0);
    MUST(gnutls_x509_crt_set_subject_key_id(crt, id, len) >= 0);
    if (r->issuer != NULL) {
        len = sizeof(id);
        MUST(gnutls_x509_crt_get_subject_key_id(r->issuer, id, &len, NULL) >= 0);
    }
    MUST(gnutls_x509_crt_set_authority_key_id(crt, id, len) >= 0);
    put_extensions(crt, r);
    MUST(gnutls_x509_crt_sign2(crt, r->issuer != NULL ? r->issuer : crt,
                               r->issuer_key != NULL ? r->issuer_key : key, GNUTLS_DIG_SHA256,
                               0) >= 0);
    /* As if it had been read from a file: GnuTLS caches fields only then. */
    MUST(rusmi_cert_list_copy(&crt, 1, &read_back) == RUSM_OK);
    gnutls_x509_crt_deinit(crt);
    crt = read_back[0];
    rusmi_free(read_back);
    return crt;
}

/* An identity with that certificate, which trusts ca and says that it is node. */
static rusm_identity *wrap(const rusm_ca *ca, const char *node, gnutls_x509_crt_t crt,
                           gnutls_x509_privkey_t key)
{
    struct rusmi_identity_parts parts = {.crt = crt, .key = key};
    rusm_identity *identity = NULL;

    MUST(rusmi_cert_list_copy(&ca->crt, 1, &parts.anchors) == RUSM_OK);
    parts.anchor_count = 1;
    parts.info = ca->info;
    parts.info.is_ca = false;
    (void)snprintf(parts.info.node, sizeof(parts.info.node), "%s", node);
    if (crt != NULL) {
        parts.info.not_before = (int64_t)gnutls_x509_crt_get_activation_time(crt);
        parts.info.not_after = (int64_t)gnutls_x509_crt_get_expiration_time(crt);
        MUST(rusmi_identity_new(&parts, &identity) == RUSM_OK);
        return identity;
    }
    /* No certificate at all: the library makes no such identity. */
    identity = rusmi_zalloc(sizeof(*identity));
    MUST(identity != NULL);
    atomic_init(&identity->refs, 1);
    identity->parts = parts;
    MUST(gnutls_x509_trust_list_init(&identity->trust, 0) >= 0);
    MUST(gnutls_x509_trust_list_add_cas(identity->trust, parts.anchors, 1, 0) >= 0);
    MUST(gnutls_certificate_allocate_credentials(&identity->credentials) >= 0);
    return identity;
}

static rusm_identity *cook_identity(const struct recipe *r, const rusm_ca *ca, const char *node)
{
    gnutls_x509_privkey_t key = make_key(r->algorithm, r->bits);

    return wrap(ca, node, cook(r, key), key);
}

/* Change of a good recipe what needs no other key or issuer. */
static void spoil(struct recipe *r, enum support_bad kind, const rusm_ca *ca, const char *node)
{
    switch (kind) {
    case SUPPORT_BAD_SELF_SIGNED:
        r->issuer = NULL;
        r->issuer_key = NULL;
        break;
    case SUPPORT_BAD_EXPIRED:
        r->not_before -= 10 * DAY_S;
        r->not_after -= 2 * DAY_S;
        break;
    case SUPPORT_BAD_NOT_YET_VALID:
        r->not_before += DAY_S;
        r->not_after += DAY_S;
        break;
    case SUPPORT_BAD_CLIENT_ONLY:
        r->server = false;
        break;
    case SUPPORT_BAD_SERVER_ONLY:
        r->client = false;
        break;
    case SUPPORT_BAD_NO_PURPOSE:
        r->client = r->server = false;
        break;
    case SUPPORT_BAD_KEY_USAGE:
        r->usage = GNUTLS_KEY_KEY_AGREEMENT;
        break;
    case SUPPORT_BAD_NO_USAGE:
        r->usage = 0;
        break;
    case SUPPORT_BAD_SIGNING_LEAF:
        r->signs = true;
        r->usage |= GNUTLS_KEY_KEY_CERT_SIGN;
        break;
    case SUPPORT_BAD_NO_NAME:
        r->uris[0][0] = '\0';
        r->dns = "example.org";
        break;
    case SUPPORT_BAD_TWO_NAMES:
        put_uri(r, 1, ca->info.cluster, "second");
        break;
    case SUPPORT_BAD_MALFORMED_NAME:
        (void)snprintf(r->uris[0], sizeof(r->uris[0]), "%s", "rusm://c/peer?role=king");
        break;
    case SUPPORT_BAD_OTHER_CLUSTER:
        put_uri(r, 0, "elsewhere", node);
        break;
    case SUPPORT_BAD_OTHER_NODE:
        put_uri(r, 0, ca->info.cluster, "impostor");
        break;
    case SUPPORT_BAD_WEAK_KEY:
    case SUPPORT_GOOD_RSA:
        r->algorithm = GNUTLS_PK_RSA;
        r->bits = kind == SUPPORT_GOOD_RSA ? 2048 : 1024;
        break;
    case SUPPORT_BAD_FOREIGN_CA:
    case SUPPORT_BAD_FORGED_ISSUER:
    case SUPPORT_BAD_NO_CERT:
    case SUPPORT_BAD_CA_AS_LEAF:
    case SUPPORT_BAD_COUNT:
        must(false, __LINE__, "a kind that is made elsewhere");
    }
}

/* The certificate and the key of the CA itself. */
static rusm_identity *ca_as_leaf(const rusm_ca *ca, const char *node)
{
    gnutls_x509_crt_t *copy = NULL, crt;
    gnutls_x509_privkey_t key = NULL;

    MUST(rusmi_cert_list_copy(&ca->crt, 1, &copy) == RUSM_OK);
    crt = copy[0];
    rusmi_free(copy);
    MUST(gnutls_x509_privkey_init(&key) >= 0);
    MUST(gnutls_x509_privkey_cpy(key, ca->key) >= 0);
    return wrap(ca, node, crt, key);
}

rusm_identity *support_identity_bad(enum support_bad kind, const rusm_ca *ca, const char *node)
{
    struct recipe r = good_recipe(ca, node);
    rusm_identity *identity;
    rusm_ca *other = NULL;

    if (kind == SUPPORT_BAD_NO_CERT) {
        return wrap(ca, node, NULL, NULL);
    }
    if (kind == SUPPORT_BAD_CA_AS_LEAF) {
        return ca_as_leaf(ca, node);
    }
    if (kind == SUPPORT_BAD_FOREIGN_CA || kind == SUPPORT_BAD_FORGED_ISSUER) {
        MUST(rusm_ca_generate(&other, ca->info.cluster, 10) == RUSM_OK);
        r.issuer = kind == SUPPORT_BAD_FOREIGN_CA ? other->crt : ca->crt;
        r.issuer_key = other->key;
    } else {
        spoil(&r, kind, ca, node);
    }
    identity = cook_identity(&r, ca, node);
    rusm_ca_del(other);
    return identity;
}

void support_ca_expired(const char *cluster, const char *node, rusm_ca **out_ca,
                        rusm_identity **out_identity)
{
    struct recipe r = {.issuer = NULL};
    rusm_ca *ca = NULL;
    gnutls_x509_crt_t old;
    gnutls_x509_privkey_t key;

    MUST(rusm_ca_generate(&ca, cluster, 10) == RUSM_OK);
    r.not_before = rusmi_wall_s() - 20 * DAY_S;
    r.not_after = rusmi_wall_s() - 10 * DAY_S;
    r.signs = true;
    r.usage = GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN;
    (void)snprintf(r.uris[0], sizeof(r.uris[0]), "rusm://%s", cluster);
    old = ca->crt;
    ca->crt = cook(&r, ca->key);
    gnutls_x509_crt_deinit(old);
    MUST(rusmi_cert_describe(ca->crt, "the expired CA", &ca->info) == RUSM_OK);

    r = good_recipe(ca, node);
    key = make_key(r.algorithm, r.bits);
    *out_identity = wrap(ca, node, cook(&r, key), key);
    *out_ca = ca;
}

const char *support_bad_name(enum support_bad kind)
{
    static const char *const names[SUPPORT_BAD_COUNT] = {
        [SUPPORT_BAD_FOREIGN_CA] = "foreign CA",
        [SUPPORT_BAD_SELF_SIGNED] = "self-signed",
        [SUPPORT_BAD_FORGED_ISSUER] = "forged issuer",
        [SUPPORT_BAD_NO_CERT] = "no certificate",
        [SUPPORT_BAD_EXPIRED] = "expired",
        [SUPPORT_BAD_NOT_YET_VALID] = "not yet valid",
        [SUPPORT_BAD_CLIENT_ONLY] = "client only",
        [SUPPORT_BAD_SERVER_ONLY] = "server only",
        [SUPPORT_BAD_NO_PURPOSE] = "no purpose",
        [SUPPORT_BAD_KEY_USAGE] = "wrong key usage",
        [SUPPORT_BAD_NO_USAGE] = "no key usage",
        [SUPPORT_BAD_CA_AS_LEAF] = "CA as leaf",
        [SUPPORT_BAD_SIGNING_LEAF] = "signing leaf",
        [SUPPORT_BAD_NO_NAME] = "no name",
        [SUPPORT_BAD_TWO_NAMES] = "two names",
        [SUPPORT_BAD_MALFORMED_NAME] = "malformed name",
        [SUPPORT_BAD_OTHER_CLUSTER] = "other cluster",
        [SUPPORT_BAD_OTHER_NODE] = "other node",
        [SUPPORT_BAD_WEAK_KEY] = "weak key",
        [SUPPORT_GOOD_RSA] = "good RSA",
    };

    return kind >= 0 && kind < SUPPORT_BAD_COUNT ? names[kind] : "?";
}
