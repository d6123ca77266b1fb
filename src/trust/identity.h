/* SPDX-License-Identifier: MIT */
/*
 * The inside of a rusm_identity: certificate, key, trust anchors and revocation lists, and what TLS
 * needs of them, built once.
 *
 * Invariant: nothing but the reference count is written after rusmi_identity_new() returned, so
 * any number of sessions on any threads share one identity without a lock. Only the anchors of the
 * identity are trusted, never those of the system.
 */
#ifndef RUSMI_TRUST_IDENTITY_H
#define RUSMI_TRUST_IDENTITY_H

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <rusm/err.h>
#include <rusm/trust.h>
#include <stdatomic.h>

#include "trust/crl.h"

struct rusmi_identity_parts {
    gnutls_x509_crt_t crt;
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t *anchors; /* heap array of CA certificates */
    size_t anchor_count;
    rusm_crl **crls; /* heap array; each is signed by an anchor */
    size_t crl_count;
    rusm_cert_info info; /* of crt */
};

struct rusm_identity {
    atomic_uint refs; /* any thread */
    /* immutable */
    struct rusmi_identity_parts parts;
    gnutls_x509_trust_list_t trust; /* points at parts.anchors */
    gnutls_certificate_credentials_t credentials;
};

/* Free what is there and wipe the key; harmless on zeroed parts. */
void rusmi_identity_parts_fini(struct rusmi_identity_parts *parts);

/* Put an identity together. It checks only that key and certificate belong together: the loader and
 * the issuer vouch for the rest. Takes what the parts own on RUSM_OK. RUSM_ENOMEM, RUSM_ECERT */
RUSM_MUST_CHECK rusm_err rusmi_identity_new(const struct rusmi_identity_parts *parts,
                                            rusm_identity **out_identity);

/* How one anchor of the identity vouches for a certificate: 0, or gnutls_certificate_status_t bits.
 * Dates are not looked at. Negative: a GnuTLS error. */
RUSM_MUST_CHECK int rusmi_identity_judge(const rusm_identity *identity, gnutls_x509_crt_t crt,
                                         unsigned *out_status);

/* Whether an entry of the identity's lists revokes a certificate that `anchor` issued; NULL if not.
 */
const struct rusmi_revoked *rusmi_identity_revoked(const rusm_identity *identity,
                                                   gnutls_x509_crt_t anchor, gnutls_x509_crt_t crt);
/* Until when the lists of an anchor hold: the latest of their next updates; 0: it has none. */
int64_t rusmi_identity_crl_until(const rusm_identity *identity, gnutls_x509_crt_t anchor);

/* Credentials for TLS sessions, shared by all of them; valid as long as the identity. */
RUSM_MUST_CHECK rusm_err rusmi_identity_credentials(const rusm_identity *identity,
                                                    gnutls_certificate_credentials_t *out);

#endif
