/* SPDX-License-Identifier: MIT */
/* The inside of a rusm_ca: immutable after it was made, so any thread may read and issue with it.
 */
#ifndef RUSMI_TRUST_CA_H
#define RUSMI_TRUST_CA_H

#include <gnutls/x509.h>
#include <rusm/trust.h>

struct rusm_ca {
    gnutls_x509_crt_t crt;
    gnutls_x509_privkey_t key;
    rusm_cert_info info; /* of crt */
};

#endif
