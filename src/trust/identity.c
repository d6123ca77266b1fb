/* SPDX-License-Identifier: MIT */
#include "trust/identity.h"

#include "base/assert.h"
#include "base/mem.h"
#include "trust/ca.h"
#include "trust/cert.h"
#include "trust/file.h"

#include <rusm/otp/driver.h>
#include <stdio.h>
#include <string.h>

/* 112 bits: RSA from 2048, elliptic curves from 224; SHA-1 signatures are refused. */
#define VERIFY_FLAGS                                                                               \
    ((unsigned)GNUTLS_VERIFY_DISABLE_TIME_CHECKS |                                                 \
     (unsigned)GNUTLS_VERIFY_DISABLE_TRUSTED_TIME_CHECKS |                                         \
     (unsigned)GNUTLS_VERIFY_DO_NOT_ALLOW_X509_V1_CA_CRT |                                         \
     (unsigned)GNUTLS_PROFILE_TO_VFLAGS(GNUTLS_PROFILE_MEDIUM))

/* CAs and revocation lists of one identity. */
#define TRUST_MAX 64

static rusm_err fail_memory(void)
{
    return rusm_set_err_detail(RUSM_ENOMEM, "%s", rusm_err_text(RUSM_ENOMEM));
}

void rusmi_identity_parts_fini(struct rusmi_identity_parts *parts)
{
    gnutls_x509_crt_deinit(parts->crt);
    gnutls_x509_privkey_deinit(parts->key); /* wipes it */
    rusmi_cert_list_del(parts->anchors, parts->anchor_count);
    rusmi_crl_list_del(parts->crls, parts->crl_count);
    *parts = (struct rusmi_identity_parts){.crt = NULL};
}

/* Free all but the parts, which are the caller's until rusmi_identity_new() succeeds. */
static void free_shell(rusm_identity *identity)
{
    if (identity->credentials != NULL) {
        gnutls_certificate_free_credentials(identity->credentials); /* wipes its copy of the key */
    }
    if (identity->trust != NULL) {
        gnutls_x509_trust_list_deinit(identity->trust, 0);
    }
    rusmi_free(identity);
}

static int build_tls(rusm_identity *identity)
{
    struct rusmi_identity_parts *parts = &identity->parts;
    unsigned count = (unsigned)parts->anchor_count;
    int code;

    if ((code = gnutls_x509_trust_list_init(&identity->trust, 0)) < 0 ||
        (code = gnutls_x509_trust_list_add_cas(identity->trust, parts->anchors, count, 0)) < 0 ||
        (code = gnutls_certificate_allocate_credentials(&identity->credentials)) < 0 ||
        (code = gnutls_certificate_set_x509_key(identity->credentials, &parts->crt, 1,
                                                parts->key)) < 0) {
        return code;
    }
    return gnutls_certificate_set_x509_trust(identity->credentials, parts->anchors, (int)count);
}

rusm_err rusmi_identity_new(const struct rusmi_identity_parts *parts, rusm_identity **out_identity)
{
    rusm_identity *identity = rusmi_zalloc(sizeof(*identity));
    int code;

    if (identity == NULL) {
        return fail_memory();
    }
    identity->parts = *parts;
    code = build_tls(identity);
    if (code < 0) {
        free_shell(identity);
        return rusmi_cert_fail(code, "certificate and key cannot be used for TLS");
    }
    atomic_init(&identity->refs, 1);
    *out_identity = identity;
    return RUSM_OK;
}

rusm_identity *rusm_identity_hold(rusm_identity *identity)
{
    /* relaxed: the caller's own reference keeps it alive; nothing is published by counting */
    unsigned old = atomic_fetch_add_explicit(&identity->refs, 1, memory_order_relaxed);

    rusmi_assert(old > 0 && old < UINT32_MAX / 2);
    return identity;
}

void rusm_identity_del(rusm_identity *identity)
{
    unsigned old;

    if (identity == NULL) {
        return;
    }
    /* acq_rel: the last decrement acquires what every other decrement released, so that all uses
     * come before the free */
    old = atomic_fetch_sub_explicit(&identity->refs, 1, memory_order_acq_rel);
    rusmi_assert(old > 0);
    if (old == 1) { /* nobody else has a reference to make another from */
        struct rusmi_identity_parts parts = identity->parts;

        free_shell(identity); /* first: its trust list points at the anchors */
        rusmi_identity_parts_fini(&parts);
    }
}

void rusm_identity_get_info(const rusm_identity *identity, rusm_cert_info *out_info)
{
    *out_info = identity->parts.info;
}

rusm_err rusmi_identity_credentials(const rusm_identity *identity,
                                    gnutls_certificate_credentials_t *out)
{
    *out = identity->credentials;
    return RUSM_OK;
}

int rusmi_identity_judge(const rusm_identity *identity, gnutls_x509_crt_t crt, unsigned *out_status)
{
    return gnutls_x509_trust_list_verify_crt2(identity->trust, &crt, 1, NULL, 0, VERIFY_FLAGS,
                                              out_status, NULL);
}

const struct rusmi_revoked *rusmi_identity_revoked(const rusm_identity *identity,
                                                   gnutls_x509_crt_t anchor, gnutls_x509_crt_t crt)
{
    const struct rusmi_revoked *found = NULL;
    unsigned char serial[64];
    size_t len = sizeof(serial);

    if (gnutls_x509_crt_get_serial(crt, serial, &len) < 0) {
        return NULL; /* longer than any that a list can hold */
    }
    for (size_t i = 0; i < identity->parts.crl_count && found == NULL; i++) {
        if (rusmi_crl_names(identity->parts.crls[i], anchor)) {
            found = rusmi_crl_find(identity->parts.crls[i], serial, len);
        }
    }
    return found;
}

int64_t rusmi_identity_crl_until(const rusm_identity *identity, gnutls_x509_crt_t anchor)
{
    int64_t until = 0;

    for (size_t i = 0; i < identity->parts.crl_count; i++) {
        const rusm_crl *crl = identity->parts.crls[i];

        if (rusmi_crl_names(crl, anchor) && crl->info.next_update > until) {
            until = crl->info.next_update;
        }
    }
    return until;
}

/* ---- files */

/* The name becomes a file name: it may not leave the folder, hide, or take the CA's place. */
static rusm_err check_name(const char *name)
{
    if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL || strcmp(name, "ca") == 0 ||
        strcmp(name, "crl") == 0) {
        return rusm_set_err_detail(RUSM_EINVAL,
                                   "\"%s\" cannot name identity files: it is empty, \"ca\" or "
                                   "\"crl\", begins with a dot or contains a slash",
                                   name);
    }
    return RUSM_OK;
}

struct paths {
    char *cert, *key, *anchors, *crls;
};

static rusm_err check_anchors(const struct rusmi_identity_parts *parts, const struct paths *paths)
{
    for (size_t i = 0; i < parts->anchor_count; i++) {
        rusm_cert_info info;
        rusm_err err = rusmi_cert_describe(parts->anchors[i], paths->anchors, &info);

        if (err != RUSM_OK) {
            return err;
        }
        if (!info.is_ca) {
            return rusm_set_err_detail(RUSM_ECERT, "%s: the certificate of node %s, not of a CA",
                                       paths->anchors, info.node);
        }
        if (strcmp(info.cluster, parts->info.cluster) != 0) {
            return rusm_set_err_detail(
                RUSM_ECERT, "%s: the CA of cluster %s, but %s is of cluster %s", paths->anchors,
                info.cluster, paths->cert, parts->info.cluster);
        }
    }
    return RUSM_OK;
}

/* The lists, if there is a file of them. */
static rusm_err load_crls(struct rusmi_identity_parts *parts, const struct paths *paths)
{
    rusm_err err;

    if (!rusmi_file_exists(paths->crls)) {
        return RUSM_OK;
    }
    err = rusmi_crl_load(paths->crls, &parts->crls, &parts->crl_count);
    for (size_t i = 0; err == RUSM_OK && i < parts->crl_count; i++) {
        err = rusmi_crl_check(parts->crls[i], parts->anchors, parts->anchor_count, paths->crls);
    }
    return err;
}

/* GnuTLS would fail at the first handshake, with a text that names neither file nor reason. */
static rusm_err check_usage(const struct rusmi_identity_parts *parts, const struct paths *paths)
{
    unsigned usage = 0;
    int code = gnutls_x509_crt_get_key_usage(parts->crt, &usage, NULL);

    if (code < 0 || (usage & GNUTLS_KEY_DIGITAL_SIGNATURE) == 0) {
        return rusm_set_err_detail(
            RUSM_ECERT, "%s: its key usage %s digitalSignature, which TLS needs", paths->cert,
            code < 0 ? "is missing or damaged, so it lacks" : "lacks");
    }
    return RUSM_OK;
}

static rusm_err load_holder(struct rusmi_identity_parts *parts, const struct paths *paths)
{
    gnutls_x509_crt_t *list = NULL;
    size_t count = 0;
    rusm_err err = rusmi_cert_load(paths->cert, &list, &count);

    if (err != RUSM_OK) {
        return err;
    }
    if (count != 1) {
        rusmi_cert_list_del(list, count);
        return rusm_set_err_detail(RUSM_ECERT,
                                   "%s: %zu certificates; a node's file has its own alone, its CA "
                                   "is in ca.pem",
                                   paths->cert, count);
    }
    parts->crt = list[0];
    rusmi_free(list);
    err = rusmi_cert_describe(parts->crt, paths->cert, &parts->info);
    if (err == RUSM_OK && parts->info.is_ca) {
        err = rusm_set_err_detail(RUSM_ECERT, "%s: the certificate of a CA, not of a node",
                                  paths->cert);
    }
    if (err == RUSM_OK) {
        err = check_usage(parts, paths);
    }
    if (err == RUSM_OK) {
        err = rusmi_key_load(paths->key, &parts->key);
    }
    if (err == RUSM_OK && !rusmi_key_matches(parts->key, parts->crt)) {
        err = rusm_set_err_detail(RUSM_ECERT, "%s: not the key of the certificate in %s",
                                  paths->key, paths->cert);
    }
    return err;
}

static rusm_err load_parts(const struct paths *paths, rusm_identity **out_identity)
{
    struct rusmi_identity_parts parts = {.crt = NULL};
    rusm_identity *identity = NULL;
    unsigned status = 0;
    rusm_err err = load_holder(&parts, paths);

    if (err == RUSM_OK) {
        err = rusmi_cert_load(paths->anchors, &parts.anchors, &parts.anchor_count);
    }
    if (err == RUSM_OK) {
        err = check_anchors(&parts, paths);
    }
    if (err == RUSM_OK) {
        err = load_crls(&parts, paths);
    }
    if (err == RUSM_OK) {
        err = rusmi_identity_new(&parts, &identity);
    }
    if (err != RUSM_OK) {
        rusmi_identity_parts_fini(&parts);
        return err;
    }
    if (rusmi_identity_judge(identity, identity->parts.crt, &status) < 0 || status != 0) {
        rusm_identity_del(identity);
        return rusm_set_err_detail(RUSM_ECERT, "%s: not issued by the CA in %s", paths->cert,
                                   paths->anchors);
    }
    *out_identity = identity;
    return RUSM_OK;
}

rusm_err rusm_identity_load(rusm_identity **out_identity, const char *folder, const char *name)
{
    struct paths paths;
    rusm_err err;

    if (out_identity == NULL || folder == NULL || name == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "out_identity, folder and name may not be NULL");
    }
    err = check_name(name);
    if (err != RUSM_OK) {
        return err;
    }
    paths.cert = rusmi_file_path(folder, name, ".pem");
    paths.key = rusmi_file_path(folder, name, ".key");
    paths.anchors = rusmi_file_path(folder, "ca", ".pem");
    paths.crls = rusmi_file_path(folder, "crl", ".pem");
    if (paths.cert == NULL || paths.key == NULL || paths.anchors == NULL || paths.crls == NULL) {
        err = fail_memory();
    } else {
        err = load_parts(&paths, out_identity);
    }
    rusmi_free(paths.cert);
    rusmi_free(paths.key);
    rusmi_free(paths.anchors);
    rusmi_free(paths.crls);
    return err;
}

/* ---- other trust */

static rusm_err copy_trust(struct rusmi_identity_parts *parts, const rusm_ca *const *cas,
                           size_t cas_len, const rusm_crl *const *crls, size_t crls_len)
{
    gnutls_x509_crt_t list[TRUST_MAX];
    rusm_err err;

    for (size_t i = 0; i < cas_len; i++) {
        if (strcmp(cas[i]->info.cluster, parts->info.cluster) != 0) {
            return rusm_set_err_detail(RUSM_EINVAL,
                                       "a CA of cluster %s for an identity of cluster %s",
                                       cas[i]->info.cluster, parts->info.cluster);
        }
        list[i] = cas[i]->crt;
    }
    err = rusmi_cert_list_copy(list, cas_len, &parts->anchors);
    if (err == RUSM_OK) {
        parts->anchor_count = cas_len;
        if (crls_len != 0) {
            err = rusmi_crl_list_copy(crls, crls_len, &parts->crls);
        }
    }
    if (err == RUSM_OK) {
        parts->crl_count = crls_len;
    }
    for (size_t i = 0; err == RUSM_OK && i < crls_len; i++) {
        err = rusmi_crl_check(parts->crls[i], parts->anchors, parts->anchor_count, "a CRL");
    }
    return err;
}

/* Certificate and key are copied as everything else is: two identities share nothing. */
static rusm_err copy_holder(const rusm_identity *identity, struct rusmi_identity_parts *parts)
{
    gnutls_x509_crt_t *crt = NULL;
    rusm_err err = rusmi_cert_list_copy(&identity->parts.crt, 1, &crt);
    int code;

    if (err != RUSM_OK) {
        return err;
    }
    parts->crt = crt[0];
    rusmi_free(crt);
    parts->info = identity->parts.info;
    code = gnutls_x509_privkey_init(&parts->key);
    if (code >= 0) {
        code = gnutls_x509_privkey_cpy(parts->key, identity->parts.key);
    }
    return code < 0 ? rusmi_cert_fail(code, "cannot copy a key") : RUSM_OK;
}

rusm_err rusm_identity_with_trust(const rusm_identity *identity, const rusm_ca *const *cas,
                                  size_t cas_len, const rusm_crl *const *crls, size_t crls_len,
                                  rusm_identity **out_identity)
{
    struct rusmi_identity_parts parts = {.crt = NULL};
    rusm_identity *made = NULL;
    unsigned status = 0;
    rusm_err err;

    if (identity == NULL || cas == NULL || cas_len == 0 || cas_len > TRUST_MAX ||
        (crls == NULL && crls_len != 0) || crls_len > TRUST_MAX || out_identity == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "1 to %d CAs and at most as many revocation lists",
                                   TRUST_MAX);
    }
    err = copy_holder(identity, &parts);
    if (err == RUSM_OK) {
        err = copy_trust(&parts, cas, cas_len, crls, crls_len);
    }
    if (err == RUSM_OK) {
        err = rusmi_identity_new(&parts, &made);
    }
    if (err != RUSM_OK) {
        rusmi_identity_parts_fini(&parts);
        return err;
    }
    if (rusmi_identity_judge(made, made->parts.crt, &status) < 0 || status != 0) {
        rusm_identity_del(made);
        return rusm_set_err_detail(RUSM_ECERT, "none of the CAs issued the certificate of \"%s\"",
                                   identity->parts.info.node);
    }
    *out_identity = made;
    return RUSM_OK;
}

/* All anchors in one PEM text on the heap. */
static rusm_err export_anchors(const rusm_identity *identity, char **out_text, size_t *out_len)
{
    char *text = NULL;
    size_t len = 0;

    for (size_t i = 0; i < identity->parts.anchor_count; i++) {
        gnutls_datum_t pem = {NULL, 0};
        rusm_err err = rusmi_cert_export(identity->parts.anchors[i], &pem);
        char *grown = err == RUSM_OK ? rusmi_realloc(text, len + pem.size) : NULL;

        if (grown == NULL) {
            gnutls_free(pem.data);
            rusmi_free(text);
            return err == RUSM_OK ? fail_memory() : err;
        }
        memcpy(grown + len, pem.data, pem.size);
        text = grown;
        len += pem.size;
        gnutls_free(pem.data);
    }
    *out_text = text;
    *out_len = len;
    return RUSM_OK;
}

static rusm_err save_parts(const rusm_identity *identity, const char *folder, const char *cert_name,
                           const char *key_name)
{
    gnutls_datum_t cert = {NULL, 0};
    struct rusmi_file key = {.len = 0};
    char *anchors = NULL;
    size_t anchors_len = 0;
    rusm_err err = rusmi_cert_export(identity->parts.crt, &cert);

    if (err == RUSM_OK) {
        err = rusmi_key_export(identity->parts.key, &key);
    }
    if (err == RUSM_OK) {
        err = export_anchors(identity, &anchors, &anchors_len);
    }
    if (err == RUSM_OK) {
        struct rusmi_file_save files[] = {
            {.name = key_name, .data = key.data, .len = key.len, .mode = 0600},
            {.name = cert_name, .data = cert.data, .len = cert.size, .mode = 0644},
            {.name = "ca.pem",
             .data = anchors,
             .len = anchors_len,
             .mode = 0644,
             .equal_okay = true},
        };

        err = rusmi_file_save(folder, files, 3);
    }
    gnutls_free(cert.data);
    rusmi_file_fini(&key);
    rusmi_free(anchors);
    return err;
}

rusm_err rusm_identity_save(const rusm_identity *identity, const char *folder, const char *name)
{
    char cert_name[RUSM_NAME_MAX + 8], key_name[RUSM_NAME_MAX + 8];
    rusm_err err;

    if (identity == NULL || folder == NULL || name == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "identity, folder and name may not be NULL");
    }
    err = check_name(name);
    if (err != RUSM_OK) {
        return err;
    }
    if (strlen(name) > RUSM_NAME_MAX) {
        return rusm_set_err_detail(RUSM_EINVAL, "a name for identity files has at most %d bytes",
                                   RUSM_NAME_MAX);
    }
    (void)snprintf(cert_name, sizeof(cert_name), "%s.pem", name);
    (void)snprintf(key_name, sizeof(key_name), "%s.key", name);
    return save_parts(identity, folder, cert_name, key_name);
}
