/* SPDX-License-Identifier: MIT */
/*
 * A cluster's certificate authority: generated, loaded, saved, and issuing identities.
 *
 * Invariant: a rusm_ca holds a certificate that names its cluster and may sign nodes but no other
 * CA, and the key of that certificate. Nothing is written after it was made, so any thread may
 * issue with it at the same time as others. See docs/design/trust.md.
 */
#include "trust/ca.h"

#include "base/mem.h"
#include "platform/wall.h"
#include "trust/cert.h"
#include "trust/file.h"
#include "trust/identity.h"

#include <gnutls/gnutls.h>
#include <rusm/otp/driver.h>
#include <string.h>

#define DAY_S          ((int64_t)86400)
#define VALID_DAYS_MAX 36500u
/* The CA of a shared identity is thrown away, so nothing could issue that identity anew. */
#define SHARED_DAYS 3650u
#define ISSUE_DAYS  365
/* Certificates begin this much early, for nodes whose clocks are slow. */
#define CLOCK_SKEW_S ((int64_t)3600)
/* The last second that X.509 can name: the end of 9999 (RFC 5280, section 4.1.2.5). */
#define TIME_MAX_S INT64_C(253402300799)

static rusm_err fail_name(const char *what)
{
    return rusm_set_err_detail(RUSM_EINVAL,
                               "a %s name has 1 to %d bytes of UTF-8 without control characters",
                               what, RUSM_NAME_MAX);
}

static rusm_err new_ca(rusm_ca **out_ca)
{
    rusm_ca *ca = rusmi_zalloc(sizeof(*ca));
    struct rusmi_register *reg = rusmi_zalloc(sizeof(*reg));

    if (ca == NULL || reg == NULL) {
        rusmi_free(ca);
        rusmi_free(reg);
        return rusm_set_err_detail(RUSM_ENOMEM, "%s", rusm_err_text(RUSM_ENOMEM));
    }
    rusmi_register_init(reg);
    ca->reg = reg;
    *out_ca = ca;
    return RUSM_OK;
}

void rusm_ca_del(rusm_ca *ca)
{
    if (ca != NULL) {
        gnutls_x509_crt_deinit(ca->crt);
        gnutls_x509_privkey_deinit(ca->key); /* wipes it */
        rusmi_register_fini(ca->reg);
        rusmi_free(ca->reg);
        rusmi_free(ca);
    }
}

rusm_err rusm_ca_generate(rusm_ca **out_ca, const char *cluster, unsigned valid_days)
{
    struct rusmi_cert_spec spec = {.issuer = NULL};
    rusm_ca *ca = NULL;
    rusm_err err;

    if (out_ca == NULL || cluster == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "out_ca and cluster may not be NULL");
    }
    if (valid_days < 1 || valid_days > VALID_DAYS_MAX) {
        return rusm_set_err_detail(RUSM_EINVAL, "a CA is valid for 1 to %u days, not %u",
                                   VALID_DAYS_MAX, valid_days);
    }
    if (rusmi_uri_make(&spec.uri, cluster, NULL, RUSM_ROLE_MEMBER) != RUSM_OK) {
        return fail_name("cluster");
    }
    err = new_ca(&ca);
    if (err == RUSM_OK) {
        err = rusmi_key_generate(&ca->key);
    }
    if (err == RUSM_OK) {
        int64_t now_s = rusmi_wall_s();

        spec.not_before = now_s - CLOCK_SKEW_S;
        spec.not_after = now_s + (int64_t)valid_days * DAY_S;
        spec.key = spec.issuer_key = ca->key;
        err = rusmi_cert_build(&spec, &ca->crt);
    }
    if (err == RUSM_OK) {
        err = rusmi_cert_describe(ca->crt, "the new CA", &ca->info);
    }
    if (err != RUSM_OK) {
        rusm_ca_del(ca);
        return err;
    }
    *out_ca = ca;
    return RUSM_OK;
}

/* ---- files */

static rusm_err load_cert(rusm_ca *ca, const char *path)
{
    gnutls_x509_crt_t *list = NULL;
    size_t count = 0;
    rusm_err err = rusmi_cert_load(path, &list, &count);

    if (err != RUSM_OK) {
        return err;
    }
    if (count == 1) {
        ca->crt = list[0];
        rusmi_free(list);
        err = rusmi_cert_describe(ca->crt, path, &ca->info);
    } else {
        rusmi_cert_list_del(list, count);
        err = rusm_set_err_detail(RUSM_ECERT,
                                  "%s: %zu certificates; a CA is loaded from a file with its own "
                                  "alone",
                                  path, count);
    }
    if (err == RUSM_OK && !ca->info.is_ca) {
        err = rusm_set_err_detail(RUSM_ECERT, "%s: the certificate of node %s, not of a CA", path,
                                  ca->info.node);
    }
    return err;
}

rusm_err rusm_ca_load(rusm_ca **out_ca, const char *folder)
{
    char *cert_path, *key_path, *copy;
    rusm_ca *ca = NULL;
    rusm_err err;

    if (out_ca == NULL || folder == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "out_ca and folder may not be NULL");
    }
    cert_path = rusmi_file_path(folder, "ca", ".pem");
    key_path = rusmi_file_path(folder, "ca", ".key");
    copy = rusmi_strdup(folder);
    if (cert_path == NULL || key_path == NULL || copy == NULL) {
        err = rusm_set_err_detail(RUSM_ENOMEM, "%s", rusm_err_text(RUSM_ENOMEM));
    } else {
        err = new_ca(&ca);
    }
    if (err == RUSM_OK) {
        err = load_cert(ca, cert_path);
    }
    if (err == RUSM_OK) {
        err = rusmi_key_load(key_path, &ca->key);
    }
    if (err == RUSM_OK && !rusmi_key_matches(ca->key, ca->crt)) {
        err = rusm_set_err_detail(RUSM_ECERT, "%s: not the key of the certificate in %s", key_path,
                                  cert_path);
    }
    rusmi_free(cert_path);
    rusmi_free(key_path);
    if (err != RUSM_OK) {
        rusmi_free(copy);
        rusm_ca_del(ca);
        return err;
    }
    rusmi_register_bind(ca->reg, copy);
    *out_ca = ca;
    return RUSM_OK;
}

/* The register's text, if there is anything in it. */
static rusm_err export_register(const rusm_ca *ca, char **out_text, size_t *out_len)
{
    rusm_err err = rusmi_register_begin(ca->reg);

    if (err == RUSM_OK) {
        if (ca->reg->count != 0 || ca->reg->crl_number != 0) {
            err = rusmi_register_encode(ca->reg, out_text, out_len);
        }
        rusmi_register_end(ca->reg);
    }
    return err;
}

rusm_err rusm_ca_save(const rusm_ca *ca, const char *folder)
{
    gnutls_datum_t cert = {NULL, 0};
    struct rusmi_file key = {.len = 0};
    char *issued = NULL, *copy;
    size_t issued_len = 0;
    rusm_err err;

    if (ca == NULL || folder == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "ca and folder may not be NULL");
    }
    copy = rusmi_strdup(folder);
    err = copy == NULL ? rusm_set_err_detail(RUSM_ENOMEM, "%s", rusm_err_text(RUSM_ENOMEM))
                       : rusmi_cert_export(ca->crt, &cert);
    if (err == RUSM_OK) {
        err = rusmi_key_export(ca->key, &key);
    }
    if (err == RUSM_OK) {
        err = export_register(ca, &issued, &issued_len);
    }
    if (err == RUSM_OK) {
        struct rusmi_file_save files[] = {
            {.name = "ca.key", .data = key.data, .len = key.len, .mode = 0600},
            {.name = "ca.pem", .data = cert.data, .len = cert.size, .mode = 0644},
            {.name = "ca.issued", .data = issued, .len = issued_len, .mode = 0600},
        };

        err = rusmi_file_save(folder, files, issued == NULL ? 2 : 3);
    }
    gnutls_free(cert.data);
    rusmi_file_fini(&key);
    rusmi_free(issued);
    if (err == RUSM_OK) {
        rusmi_register_bind(ca->reg, copy);
    } else {
        rusmi_free(copy);
    }
    return err;
}

const char *rusm_ca_cluster(const rusm_ca *ca)
{
    return ca->info.cluster;
}

void rusm_ca_get_info(const rusm_ca *ca, rusm_cert_info *out_info)
{
    *out_info = ca->info;
}

/* ---- issuing */

void rusm_issue_config_init(rusm_issue_config *cfg)
{
    *cfg = (rusm_issue_config){.size = sizeof(*cfg), .role = RUSM_ROLE_MEMBER};
}

/* The dates of a certificate; what the caller asked for outright is never changed, only refused. */
static rusm_err choose_dates(const rusm_ca *ca, const rusm_issue_config *cfg,
                             struct rusmi_cert_spec *spec)
{
    int64_t now_s = rusmi_wall_s(), ca_end = ca->info.not_after;
    char date[RUSMI_DATE_MAX];

    rusmi_date_format(ca_end, date);
    spec->not_before = cfg->not_before != 0 ? cfg->not_before : now_s - CLOCK_SKEW_S;
    spec->not_after = cfg->not_after;
    if (spec->not_after == 0) {
        if (ca_end <= now_s) {
            return rusm_set_err_detail(RUSM_EINVAL, "the CA of cluster %s expired on %s",
                                       ca->info.cluster, date);
        }
        spec->not_after = now_s + ISSUE_DAYS * DAY_S;
        if (spec->not_after > ca_end) {
            spec->not_after = ca_end;
        }
    }
    if (spec->not_after > ca_end) {
        return rusm_set_err_detail(RUSM_EINVAL,
                                   "a certificate cannot outlive its CA, which ends on %s", date);
    }
    if (spec->not_before < 0 || spec->not_before >= spec->not_after ||
        spec->not_after > TIME_MAX_S) {
        return rusm_set_err_detail(RUSM_EINVAL,
                                   "a certificate must begin in 1970 or later and before it ends");
    }
    return RUSM_OK;
}

/* Make key, certificate and trust anchor of an identity from a filled spec. */
static rusm_err issue(const rusm_ca *ca, struct rusmi_cert_spec *spec, rusm_identity **out_identity)
{
    struct rusmi_identity_parts parts = {.crt = NULL};
    rusm_err err = rusmi_key_generate(&parts.key);

    if (err == RUSM_OK) {
        spec->key = parts.key;
        spec->issuer = ca->crt;
        spec->issuer_key = ca->key;
        err = rusmi_cert_build(spec, &parts.crt);
    }
    if (err == RUSM_OK) {
        err = rusmi_cert_describe(parts.crt, "the new certificate", &parts.info);
    }
    if (err == RUSM_OK) {
        err = rusmi_cert_list_copy(&ca->crt, 1, &parts.anchors);
        parts.anchor_count = err == RUSM_OK ? 1 : 0;
    }
    if (err == RUSM_OK) {
        err = rusmi_identity_new(&parts, out_identity);
    }
    if (err != RUSM_OK) {
        rusmi_identity_parts_fini(&parts);
    }
    return err;
}

/* What cannot be recorded is not issued: it could not be revoked by name. */
static rusm_err record(const rusm_ca *ca, const rusm_cert_info *info)
{
    rusm_issued_info entry = {.role = info->role, .not_after = info->not_after};
    rusm_err err = rusmi_register_begin(ca->reg);

    if (err != RUSM_OK) {
        return err;
    }
    memcpy(entry.cluster, info->cluster, sizeof(entry.cluster));
    memcpy(entry.node, info->node, sizeof(entry.node));
    memcpy(entry.serial, info->serial, sizeof(entry.serial));
    err = rusmi_register_add(ca->reg, &entry, rusmi_wall_s());
    if (err == RUSM_OK) {
        err = rusmi_register_commit(ca->reg);
        if (err != RUSM_OK) {
            ca->reg->count--;
        }
    }
    rusmi_register_end(ca->reg);
    return err;
}

rusm_err rusm_ca_issue(const rusm_ca *ca, const char *node, const rusm_issue_config *cfg,
                       rusm_identity **out_identity)
{
    struct rusmi_cert_spec spec = {.issuer = NULL};
    rusm_identity *identity = NULL;
    rusm_issue_config defaults;
    rusm_err err;

    if (ca == NULL || node == NULL || out_identity == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "ca, node and out_identity may not be NULL");
    }
    rusm_issue_config_init(&defaults);
    if (cfg == NULL) {
        cfg = &defaults;
    } else if (cfg->size != sizeof(*cfg)) {
        return rusm_set_err_detail(RUSM_EINVAL, "cfg was not filled by rusm_issue_config_init()");
    }
    if (strcmp(node, "*") == 0) {
        return rusm_set_err_detail(RUSM_EINVAL,
                                   "\"*\" is no node name; rusm_identity_generate() makes a shared "
                                   "identity");
    }
    if (strcmp(rusm_role_name(cfg->role), "unknown") == 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "there is no role %d", (int)cfg->role);
    }
    if (rusmi_uri_make(&spec.uri, ca->info.cluster, node, cfg->role) != RUSM_OK) {
        return fail_name("node");
    }
    err = choose_dates(ca, cfg, &spec);
    if (err == RUSM_OK) {
        err = issue(ca, &spec, &identity);
    }
    if (err == RUSM_OK) {
        err = record(ca, &identity->parts.info);
    }
    if (err != RUSM_OK) {
        rusm_identity_del(identity);
        return err;
    }
    *out_identity = identity;
    return RUSM_OK;
}

rusm_err rusm_identity_generate(rusm_identity **out_identity, const char *cluster)
{
    struct rusmi_cert_spec spec = {.issuer = NULL};
    rusm_ca *ca = NULL;
    rusm_err err;

    if (out_identity == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "out_identity may not be NULL");
    }
    err = rusm_ca_generate(&ca, cluster, SHARED_DAYS);
    if (err != RUSM_OK) {
        return err;
    }
    spec.not_before = ca->info.not_before;
    spec.not_after = ca->info.not_after;
    err = rusmi_uri_make(&spec.uri, cluster, "*", RUSM_ROLE_MEMBER);
    if (err == RUSM_OK) {
        err = issue(ca, &spec, out_identity);
    }
    rusm_ca_del(ca);
    return err;
}

rusm_err rusm_cert_read(const char *path, rusm_cert_info *out_info)
{
    gnutls_x509_crt_t *list = NULL;
    size_t count = 0;
    rusm_err err;

    if (path == NULL || out_info == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "path and out_info may not be NULL");
    }
    err = rusmi_cert_load(path, &list, &count);
    if (err == RUSM_OK) {
        err = rusmi_cert_describe(list[0], path, out_info);
        rusmi_cert_list_del(list, count);
    }
    return err;
}
