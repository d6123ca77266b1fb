/* SPDX-License-Identifier: MIT */
/*
 * That the holder of a certificate is at the other end of a link that is up: a signature made with
 * the certificate's key over the binding of that very session (quic/tls.h) and the certificate. It
 * is what TLS's CertificateVerify is to a handshake, for a certificate that is shown later (the
 * idea of RFC 9261), and says nothing about trust; trust/verify.h does.
 *
 * A proof is of use in one session only, because the binding is that session's, and in one
 * direction, because the side that dialed is part of what is signed: nobody's proof can be sent
 * back to it.
 *
 * Any thread; nothing is kept.
 */
#ifndef RUSMI_TRUST_PROOF_H
#define RUSMI_TRUST_PROOF_H

#include "trust/identity.h"
#include "trust/verify.h"

/* A certificate with its proof, both on the heap. */
struct rusmi_proof {
    gnutls_datum_t der, signature;
};

/* Prove our certificate in a session that we (did not) dial. RUSM_ENOMEM, RUSM_ECERT. Ends with
 * rusmi_proof_fini(), which is harmless on a zeroed proof. */
RUSM_MUST_CHECK rusm_err rusmi_proof_init(struct rusmi_proof *proof, const rusm_identity *own,
                                          const uint8_t binding[RUSMI_BINDING_LEN], bool dialed);
void rusmi_proof_fini(struct rusmi_proof *proof);

/* RUSM_OK if the signature is that of the certificate's key, RUSM_ECERT if not; RUSM_ENOMEM.
 * dialed: the peer dialed. */
RUSM_MUST_CHECK rusm_err rusmi_proof_check(const uint8_t *der, size_t der_len,
                                           const uint8_t *signature, size_t signature_len,
                                           const uint8_t binding[RUSMI_BINDING_LEN], bool dialed);

#endif
