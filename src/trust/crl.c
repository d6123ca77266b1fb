/* SPDX-License-Identifier: MIT */
#include "trust/crl.h"

#include "base/mem.h"
#include "trust/cert.h"
#include "trust/file.h"

#include <gnutls/gnutls.h>
#include <rusm/otp/driver.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As for certificates (trust/identity.c): 112 bits, no SHA-1, and the dates are ours to judge. */
#define VERIFY_FLAGS                                                                               \
    ((unsigned)GNUTLS_VERIFY_DISABLE_TIME_CHECKS |                                                 \
     (unsigned)GNUTLS_VERIFY_DISABLE_TRUSTED_TIME_CHECKS |                                         \
     (unsigned)GNUTLS_VERIFY_DO_NOT_ALLOW_X509_V1_CA_CRT |                                         \
     (unsigned)GNUTLS_PROFILE_TO_VFLAGS(GNUTLS_PROFILE_MEDIUM))

void rusm_crl_del(rusm_crl *crl)
{
    if (crl != NULL) {
        gnutls_x509_crl_deinit(crl->crl);
        rusmi_free(crl->revoked);
        rusmi_free(crl);
    }
}

void rusm_crl_get_info(const rusm_crl *crl, rusm_crl_info *out_info)
{
    *out_info = crl->info;
}

void rusmi_crl_list_del(rusm_crl **list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        rusm_crl_del(list[i]);
    }
    rusmi_free((void *)list);
}

/* ---- reading */

static rusm_err refuse(const char *where, const char *reason)
{
    return rusm_set_err_detail(RUSM_ECERT, "%s: %s", where, reason);
}

static int compare(const void *a, const void *b)
{
    const struct rusmi_revoked *left = a, *right = b;

    if (left->serial_len != right->serial_len) {
        return left->serial_len < right->serial_len ? -1 : 1;
    }
    return memcmp(left->serial, right->serial, left->serial_len);
}

const struct rusmi_revoked *rusmi_crl_find(const rusm_crl *crl, const unsigned char *serial,
                                           size_t serial_len)
{
    struct rusmi_revoked wanted = {.when_s = 0};

    if (serial_len > sizeof(wanted.serial) || crl->info.revoked_count == 0) {
        return NULL;
    }
    memcpy(wanted.serial, serial, serial_len);
    wanted.serial_len = (unsigned char)serial_len;
    return bsearch(&wanted, crl->revoked, crl->info.revoked_count, sizeof(wanted), compare);
}

static rusm_err read_entries(rusm_crl *crl, const char *where)
{
    gnutls_x509_crl_iter_t iter = NULL;
    size_t count = 0, room = 0;
    int code;

    for (;;) {
        struct rusmi_revoked entry = {.when_s = 0};
        size_t len = sizeof(entry.serial);
        time_t when = 0;

        code = gnutls_x509_crl_iter_crt_serial(crl->crl, &iter, entry.serial, &len, &when);
        if (code < 0) {
            break;
        }
        if (count == room) {
            size_t more = room == 0 ? 16 : 2 * room;
            void *grown = rusmi_realloc(crl->revoked, more * sizeof(entry));

            if (grown == NULL) {
                code = GNUTLS_E_MEMORY_ERROR;
                break;
            }
            crl->revoked = grown;
            room = more;
        }
        entry.serial_len = (unsigned char)len;
        entry.when_s = (int64_t)when;
        crl->revoked[count++] = entry;
    }
    gnutls_x509_crl_iter_deinit(iter);
    if (code != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
        return code == GNUTLS_E_MEMORY_ERROR
                   ? rusmi_cert_fail(code, where)
                   : refuse(where, "an entry of the revocation list cannot be read");
    }
    if (count > 1) {
        qsort(crl->revoked, count, sizeof(*crl->revoked), compare);
    }
    crl->info.revoked_count = count;
    return RUSM_OK;
}

/* RFC 5280, section 5.2: a list with a critical extension that is not understood is of no use. */
static rusm_err check_extensions(const rusm_crl *crl, const char *where)
{
    for (unsigned i = 0;; i++) {
        char oid[128];
        size_t len = sizeof(oid);
        unsigned critical = 0;
        int code = gnutls_x509_crl_get_extension_info(crl->crl, i, oid, &len, &critical);

        if (code == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
            return RUSM_OK;
        }
        if (code < 0) {
            return refuse(where, "an extension of the revocation list cannot be read");
        }
        if (critical != 0) {
            return rusm_set_err_detail(RUSM_ECERT,
                                       "%s: the revocation list has the critical extension %s, "
                                       "which is not known here",
                                       where, oid);
        }
    }
}

/* The number is for people and for the CA, so one above 64 bits is shown as the largest. */
static uint64_t read_number(const rusm_crl *crl)
{
    unsigned char bytes[RUSMI_SERIAL_MAX + 1];
    size_t len = sizeof(bytes);
    unsigned critical = 0;
    uint64_t number = 0;

    if (gnutls_x509_crl_get_number(crl->crl, bytes, &len, &critical) < 0 || len > sizeof(bytes)) {
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        if (number >> 56 != 0) {
            return UINT64_MAX;
        }
        number = number << 8 | bytes[i];
    }
    return number;
}

static void read_issuer(rusm_crl *crl)
{
    size_t len = sizeof(crl->info.cluster);

    if (gnutls_x509_crl_get_issuer_dn_by_oid(crl->crl, GNUTLS_OID_X520_COMMON_NAME, 0, 0,
                                             crl->info.cluster, &len) < 0) {
        crl->info.cluster[0] = '\0';
    }
}

static rusm_err describe(rusm_crl *crl, const char *where)
{
    time_t from = gnutls_x509_crl_get_this_update(crl->crl);
    time_t until = gnutls_x509_crl_get_next_update(crl->crl);
    rusm_err err;

    if (gnutls_x509_crl_get_version(crl->crl) != 2) {
        return refuse(where, "no revocation list of version 2");
    }
    if (from == (time_t)-1 || until == (time_t)-1) {
        return refuse(where, "the revocation list does not say when it was made and until when it "
                             "holds");
    }
    crl->info.this_update = (int64_t)from;
    crl->info.next_update = (int64_t)until;
    crl->info.number = read_number(crl);
    read_issuer(crl);
    err = check_extensions(crl, where);
    return err == RUSM_OK ? read_entries(crl, where) : err;
}

/* Takes crl, also on an error. */
static rusm_err wrap(gnutls_x509_crl_t crl, const char *where, rusm_crl **out_crl)
{
    rusm_crl *made = rusmi_zalloc(sizeof(*made));
    rusm_err err;

    if (made == NULL) {
        gnutls_x509_crl_deinit(crl);
        return rusmi_cert_fail(GNUTLS_E_MEMORY_ERROR, where);
    }
    made->crl = crl;
    err = describe(made, where);
    if (err != RUSM_OK) {
        rusm_crl_del(made);
        return err;
    }
    *out_crl = made;
    return RUSM_OK;
}

rusm_err rusmi_crl_parse(const void *data, size_t len, const char *where, rusm_crl **out_crl)
{
    const gnutls_datum_t der = {(unsigned char *)(uintptr_t)data, (unsigned)len}; /* only read */
    gnutls_x509_crl_t crl;
    int code = gnutls_x509_crl_init(&crl);

    if (code < 0) {
        return rusmi_cert_fail(code, where);
    }
    code = gnutls_x509_crl_import(crl, &der, GNUTLS_X509_FMT_DER);
    if (code < 0) {
        gnutls_x509_crl_deinit(crl);
        return code == GNUTLS_E_MEMORY_ERROR
                   ? rusmi_cert_fail(code, where)
                   : rusm_set_err_detail(RUSM_ECERT, "%s: damaged revocation list: %s", where,
                                         gnutls_strerror(code));
    }
    return wrap(crl, where, out_crl);
}

rusm_err rusmi_crl_parse_pem(const char *text, size_t len, const char *where, rusm_crl ***out_list,
                             size_t *out_count)
{
    const gnutls_datum_t pem = {(unsigned char *)(uintptr_t)text, (unsigned)len}; /* only read */
    gnutls_x509_crl_t parsed[RUSMI_CRL_COUNT_MAX];
    unsigned count = RUSMI_CRL_COUNT_MAX;
    rusm_crl **list;
    rusm_err err = RUSM_OK;
    int code = gnutls_x509_crl_list_import(parsed, &count, &pem, GNUTLS_X509_FMT_PEM,
                                           GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);

    if (code == GNUTLS_E_MEMORY_ERROR) {
        return rusmi_cert_fail(code, where);
    }
    if (code == GNUTLS_E_SHORT_MEMORY_BUFFER) {
        return rusm_set_err_detail(RUSM_ECERT, "%s: more than %d revocation lists", where,
                                   RUSMI_CRL_COUNT_MAX);
    }
    if (code <= 0) {
        return rusm_set_err_detail(RUSM_ECERT, "%s: damaged, or no PEM revocation list: %s", where,
                                   gnutls_strerror(code));
    }
    list = rusmi_zalloc_array(count, sizeof(*list));
    if (list == NULL) {
        err = rusmi_cert_fail(GNUTLS_E_MEMORY_ERROR, where);
    }
    for (unsigned i = 0; i < count; i++) {
        if (err == RUSM_OK) {
            err = wrap(parsed[i], where, &list[i]);
        } else {
            gnutls_x509_crl_deinit(parsed[i]);
        }
    }
    if (err != RUSM_OK) {
        rusmi_crl_list_del(list, list == NULL ? 0 : count);
        return err;
    }
    *out_list = list;
    *out_count = count;
    return RUSM_OK;
}

rusm_err rusmi_crl_load(const char *path, rusm_crl ***out_list, size_t *out_count)
{
    struct rusmi_file file = {0};
    rusm_err err = rusmi_file_read(path, false, &file);

    if (err == RUSM_OK) {
        err = rusmi_crl_parse_pem(file.data, file.len, path, out_list, out_count);
    }
    rusmi_file_fini(&file);
    return err;
}

rusm_err rusmi_crl_list_copy(const rusm_crl *const *list, size_t count, rusm_crl ***out_list)
{
    rusm_crl **copy = rusmi_zalloc_array(count, sizeof(*copy));
    rusm_err err = copy == NULL
                       ? rusmi_cert_fail(GNUTLS_E_MEMORY_ERROR, "cannot copy a revocation list")
                       : RUSM_OK;

    for (size_t i = 0; i < count && err == RUSM_OK; i++) {
        gnutls_datum_t der = {NULL, 0};
        int code = gnutls_x509_crl_export2(list[i]->crl, GNUTLS_X509_FMT_DER, &der);

        err = code < 0 ? rusmi_cert_fail(code, "cannot copy a revocation list")
                       : rusmi_crl_parse(der.data, der.size, "a copy", &copy[i]);
        gnutls_free(der.data);
    }
    if (err != RUSM_OK) {
        rusmi_crl_list_del(copy, copy == NULL ? 0 : count);
        return err;
    }
    *out_list = copy;
    return RUSM_OK;
}

rusm_err rusm_crl_read(const char *path, rusm_crl_info *out_info)
{
    rusm_crl **list = NULL;
    size_t count = 0;
    rusm_err err;

    if (path == NULL || out_info == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "path and out_info may not be NULL");
    }
    err = rusmi_crl_load(path, &list, &count);
    if (err == RUSM_OK) {
        *out_info = list[0]->info;
        rusmi_crl_list_del(list, count);
    }
    return err;
}

/* ---- trust */

/*
 * What GnuTLS says of a list that one CA is to have signed. It looks at the dates whatever the
 * flags are, by the system's clock; GNUTLS_CERT_INVALID says only that some other bit is set, or
 * else the call fails (GnuTLS 3.7.9).
 */
static bool signed_by(const rusm_crl *crl, gnutls_x509_crt_t anchor)
{
    const unsigned dates = (unsigned)GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED |
                           (unsigned)GNUTLS_CERT_REVOCATION_DATA_ISSUED_IN_FUTURE;
    int algorithm = gnutls_x509_crl_get_signature_algorithm(crl->crl);
    unsigned status = 0;

    if (algorithm < 0 || gnutls_sign_is_secure((gnutls_sign_algorithm_t)algorithm) == 0 ||
        gnutls_x509_crl_verify(crl->crl, &anchor, 1, VERIFY_FLAGS, &status) < 0) {
        return false;
    }
    return (status & dates) != 0 ? (status & ~dates) == GNUTLS_CERT_INVALID : status == 0;
}

bool rusmi_crl_names(const rusm_crl *crl, gnutls_x509_crt_t anchor)
{
    return gnutls_x509_crl_check_issuer(crl->crl, anchor) != 0;
}

rusm_err rusmi_crl_check(const rusm_crl *crl, const gnutls_x509_crt_t *anchors, size_t anchor_count,
                         const char *where)
{
    bool named = false;

    for (size_t i = 0; i < anchor_count; i++) {
        if (!rusmi_crl_names(crl, anchors[i])) {
            continue;
        }
        named = true;
        if (signed_by(crl, anchors[i])) {
            return RUSM_OK;
        }
    }
    return refuse(where, named ? "the revocation list names a CA that is trusted here as its "
                                 "issuer, but that CA did not sign it"
                               : "the revocation list is not of a CA that is trusted here");
}

/* ---- building */

/* A number as DER wants it: no leading zeros but the one that keeps it positive. */
static int set_number(gnutls_x509_crl_t crl, uint64_t number)
{
    unsigned char bytes[9] = {0};
    size_t first = 0;

    for (size_t i = 0; i < 8; i++) {
        bytes[1 + i] = (unsigned char)(number >> (8 * (7 - i)));
    }
    while (first < 8 && bytes[first] == 0 && (bytes[first + 1] & 0x80) == 0) {
        first++;
    }
    return gnutls_x509_crl_set_number(crl, bytes + first, sizeof(bytes) - first);
}

static int fill(gnutls_x509_crl_t crl, const struct rusmi_crl_spec *spec)
{
    unsigned char id[64];
    size_t id_len = sizeof(id);
    int code;

    if ((code = gnutls_x509_crl_set_version(crl, 2)) < 0 ||
        (code = gnutls_x509_crl_set_this_update(crl, (time_t)spec->this_update)) < 0 ||
        (code = gnutls_x509_crl_set_next_update(crl, (time_t)spec->next_update)) < 0) {
        return code;
    }
    for (size_t i = 0; i < spec->revoked_count; i++) {
        const struct rusmi_revoked *entry = &spec->revoked[i];

        code = gnutls_x509_crl_set_crt_serial(crl, entry->serial, entry->serial_len,
                                              (time_t)entry->when_s);
        if (code < 0) {
            return code;
        }
    }
    if ((code = gnutls_x509_crt_get_subject_key_id(spec->issuer, id, &id_len, NULL)) < 0 ||
        (code = gnutls_x509_crl_set_authority_key_id(crl, id, id_len)) < 0 ||
        (code = set_number(crl, spec->number)) < 0) {
        return code;
    }
    return gnutls_x509_crl_sign2(crl, spec->issuer, spec->issuer_key, GNUTLS_DIG_SHA256, 0);
}

/* What leaves here is as if it had been read from a file, as in trust/cert.c. */
rusm_err rusmi_crl_build(const struct rusmi_crl_spec *spec, rusm_crl **out_crl)
{
    gnutls_datum_t der = {NULL, 0};
    gnutls_x509_crl_t crl = NULL;
    rusm_err err;
    int code = gnutls_x509_crl_init(&crl);

    if (code >= 0) {
        code = fill(crl, spec);
    }
    if (code >= 0) {
        code = gnutls_x509_crl_export2(crl, GNUTLS_X509_FMT_DER, &der);
    }
    gnutls_x509_crl_deinit(crl);
    err = code < 0 ? rusmi_cert_fail(code, "cannot make a revocation list")
                   : rusmi_crl_parse(der.data, der.size, "the new revocation list", out_crl);
    gnutls_free(der.data);
    return err;
}

rusm_err rusmi_crl_export(const rusm_crl *crl, gnutls_datum_t *out_pem)
{
    int code = gnutls_x509_crl_export2(crl->crl, GNUTLS_X509_FMT_PEM, out_pem);

    return code < 0 ? rusmi_cert_fail(code, "cannot write the revocation list as PEM") : RUSM_OK;
}
