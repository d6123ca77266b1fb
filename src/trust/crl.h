/* SPDX-License-Identifier: MIT */
/*
 * Certificate revocation lists (RFC 5280, section 5): built and signed for a CA, read from PEM or
 * DER, checked against trust anchors, and searched. It decides nothing about peers;
 * trust/verify.h does.
 *
 * Invariant: a list that was parsed or built holds everything that its signature covers: one with
 * a critical extension, which could change what an entry means (a delta, another's certificates),
 * is refused. Its entries are sorted, so that a search costs the same whatever a CA revoked.
 * Nothing is written after it was made: any thread may read.
 */
#ifndef RUSMI_TRUST_CRL_H
#define RUSMI_TRUST_CRL_H

#include <gnutls/x509.h>
#include <rusm/err.h>
#include <rusm/trust.h>

/* RFC 5280, section 4.1.2.2. */
#define RUSMI_SERIAL_MAX 20

/* Lists in one file: one for each CA that is trusted. */
#define RUSMI_CRL_COUNT_MAX 64

/* A certificate that must not be trusted any more. */
struct rusmi_revoked {
    unsigned char serial[RUSMI_SERIAL_MAX]; /* as in DER */
    unsigned char serial_len;
    int64_t when_s; /* seconds since 1970 */
};

struct rusm_crl {
    gnutls_x509_crl_t crl;
    struct rusmi_revoked *revoked; /* sorted; info.revoked_count of them */
    rusm_crl_info info;
};

/* What a list to be built says. */
struct rusmi_crl_spec {
    gnutls_x509_crt_t issuer;
    gnutls_x509_privkey_t issuer_key;
    const struct rusmi_revoked *revoked; /* in any order */
    size_t revoked_count;
    uint64_t number;
    int64_t this_update, next_update; /* seconds since 1970 */
};

/* RUSM_ENOMEM, RUSM_ECERT; with a detail. */
RUSM_MUST_CHECK rusm_err rusmi_crl_build(const struct rusmi_crl_spec *spec, rusm_crl **out_crl);

/* Read one list from DER. RUSM_ECERT with a detail that begins with `where`, RUSM_ENOMEM. */
RUSM_MUST_CHECK rusm_err rusmi_crl_parse(const void *data, size_t len, const char *where,
                                         rusm_crl **out_crl);
/* Read the lists of a PEM text: an array on the heap, at least one. Free it with
 * rusmi_crl_list_del(). Errors: as above. */
RUSM_MUST_CHECK rusm_err rusmi_crl_parse_pem(const char *text, size_t len, const char *where,
                                             rusm_crl ***out_list, size_t *out_count);
RUSM_MUST_CHECK rusm_err rusmi_crl_load(const char *path, rusm_crl ***out_list, size_t *out_count);
void rusmi_crl_list_del(rusm_crl **list, size_t count);

/* Copies, as a list that rusmi_crl_list_del() frees. RUSM_ENOMEM, RUSM_ECERT */
RUSM_MUST_CHECK rusm_err rusmi_crl_list_copy(const rusm_crl *const *list, size_t count,
                                             rusm_crl ***out_list);

/* PEM text, to be freed with gnutls_free(). */
RUSM_MUST_CHECK rusm_err rusmi_crl_export(const rusm_crl *crl, gnutls_datum_t *out_pem);

/* Whether the list names this CA as its issuer. It proves nothing. */
bool rusmi_crl_names(const rusm_crl *crl, gnutls_x509_crt_t anchor);
/* RUSM_OK if one of the anchors signed the list; RUSM_ECERT with a detail that begins with `where`
 * if not. Dates are not looked at. */
RUSM_MUST_CHECK rusm_err rusmi_crl_check(const rusm_crl *crl, const gnutls_x509_crt_t *anchors,
                                         size_t anchor_count, const char *where);
/* The entry of a serial number; NULL if it is not revoked. */
const struct rusmi_revoked *rusmi_crl_find(const rusm_crl *crl, const unsigned char *serial,
                                           size_t serial_len);

#endif
