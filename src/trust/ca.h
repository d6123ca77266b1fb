/* SPDX-License-Identifier: MIT */
/* The inside of a rusm_ca: immutable after it was made, but for the register, which has a lock; so
 * any thread may read, issue and revoke with it. */
#ifndef RUSMI_TRUST_CA_H
#define RUSMI_TRUST_CA_H

#include <gnutls/x509.h>
#include <rusm/trust.h>

#include "trust/register.h"

struct rusm_ca {
    gnutls_x509_crt_t crt;
    gnutls_x509_privkey_t key;
    rusm_cert_info info; /* of crt */
    struct rusmi_register *reg;
};

#endif
