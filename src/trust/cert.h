/* SPDX-License-Identifier: MIT */
/*
 * One X.509 certificate: built for a CA or a holder, read back into what it says, and to and from
 * PEM. It decides nothing about trust; trust/verify.h does.
 *
 * Invariant: what rusmi_cert_build makes, rusmi_cert_describe accepts, and describes as it was
 * asked for. Certificates and keys are not written after they were made, so any thread may read.
 */
#ifndef RUSMI_TRUST_CERT_H
#define RUSMI_TRUST_CERT_H

#include "trust/file.h"
#include "trust/uri.h"

#include <gnutls/x509.h>
#include <rusm/err.h>
#include <rusm/trust.h>

/* RFC 5280 allows 20 bytes; the top bit of the first must be clear, the number positive. */
#define RUSMI_SERIAL_LEN 16

/* "2026-01-01 00:00:00 UTC" and a NUL. */
#define RUSMI_DATE_MAX 32

/* Map a failed GnuTLS call to RUSM_ENOMEM or RUSM_ECERT with the detail "<what>: <reason>". */
rusm_err rusmi_cert_fail(int code, const char *what);

/* Write a time for people. */
void rusmi_date_format(int64_t time_s, char out_text[RUSMI_DATE_MAX]);

/* A certificate to be built. */
struct rusmi_cert_spec {
    struct rusmi_uri uri;
    int64_t not_before, not_after;    /* seconds since 1970 */
    gnutls_x509_privkey_t key;        /* of the holder */
    gnutls_x509_crt_t issuer;         /* NULL: self-signed */
    gnutls_x509_privkey_t issuer_key; /* of the issuer, or the holder's own again */
};

/* RUSM_ENOMEM, RUSM_ECERT; with a detail. The caller owns the certificate. */
RUSM_MUST_CHECK rusm_err rusmi_cert_build(const struct rusmi_cert_spec *spec,
                                          gnutls_x509_crt_t *out_crt);

/* A fresh ECDSA P-256 key. Freeing a key with gnutls_x509_privkey_deinit() wipes it. */
RUSM_MUST_CHECK rusm_err rusmi_key_generate(gnutls_x509_privkey_t *out_key);

/* What the subjectAltName says of us. */
enum rusmi_cert_name {
    RUSMI_CERT_NAME_ONE,
    RUSMI_CERT_NAME_NONE,
    RUSMI_CERT_NAME_BAD
};

/* Find the one rusm URI of a certificate. BAD: several, or one that is malformed; the text says. */
enum rusmi_cert_name rusmi_cert_name(gnutls_x509_crt_t crt, struct rusmi_uri *out_uri,
                                     const char **out_text);

/* Whether basicConstraints or keyUsage make it a certificate that signs others. */
bool rusmi_cert_signs(gnutls_x509_crt_t crt);

/* SHA-256 of the certificate in hexadecimal. */
RUSM_MUST_CHECK rusm_err rusmi_cert_fingerprint(gnutls_x509_crt_t crt, char out_text[65]);

/* RUSM_ECERT with a detail that starts with `where` if it is no certificate of ours. */
RUSM_MUST_CHECK rusm_err rusmi_cert_describe(gnutls_x509_crt_t crt, const char *where,
                                             rusm_cert_info *out_info);

/* Read the certificates of a PEM file: an array on the heap and its length, at least one. Free with
 * rusmi_cert_list_del(). RUSM_ESYS, RUSM_ECERT, RUSM_ENOMEM; with a detail. */
RUSM_MUST_CHECK rusm_err rusmi_cert_load(const char *path, gnutls_x509_crt_t **out_list,
                                         size_t *out_count);
void rusmi_cert_list_del(gnutls_x509_crt_t *list, size_t count);
/* Copies of certificates, as a list that rusmi_cert_list_del() frees. RUSM_ENOMEM, RUSM_ECERT */
RUSM_MUST_CHECK rusm_err rusmi_cert_list_copy(const gnutls_x509_crt_t *list, size_t count,
                                              gnutls_x509_crt_t **out_list);

/* Read the unencrypted private key of a PEM file that only its owner may read. Errors: as above. */
RUSM_MUST_CHECK rusm_err rusmi_key_load(const char *path, gnutls_x509_privkey_t *out_key);

/* PEM text, to be freed with gnutls_free(). */
RUSM_MUST_CHECK rusm_err rusmi_cert_export(gnutls_x509_crt_t crt, gnutls_datum_t *out_pem);
/* PEM text (PKCS #8), to be wiped and freed with rusmi_file_fini(). */
RUSM_MUST_CHECK rusm_err rusmi_key_export(gnutls_x509_privkey_t key, struct rusmi_file *out_pem);

/* Whether the key is the one that the certificate is for. */
bool rusmi_key_matches(gnutls_x509_privkey_t key, gnutls_x509_crt_t crt);

#endif
