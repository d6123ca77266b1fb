/* SPDX-License-Identifier: MIT */
/*
 * Addresses from the system: hosts by getaddrinfo(3), SRV records (RFC 2782) by res_nquery(3). Both
 * block while they ask, so they are called on a thread of their own.
 */
#ifndef RUSMI_NODE_RESOLVE_H
#define RUSMI_NODE_RESOLVE_H

#include "platform/udp.h"

#include <rusm/err.h>

#include <stdint.h>

/* A host that a SRV record names. */
struct rusmi_srv {
    char host[256];
    uint16_t port;
};

/*
 * The addresses of a host, at most addresses_max; *out_len may be 0. RUSM_ESYS with the resolver's
 * text as detail.
 */
RUSM_MUST_CHECK rusm_err rusmi_resolve_host(const char *host, uint16_t port,
                                            struct rusmi_address *addresses, size_t addresses_max,
                                            size_t *out_len);
/* What the SRV records of a name say, at most srvs_max. Errors as above. */
RUSM_MUST_CHECK rusm_err rusmi_resolve_srv(const char *name, struct rusmi_srv *srvs,
                                           size_t srvs_max, size_t *out_len);
/* The same from an answer of a name server; RUSM_EPROTO if it can not be read. */
RUSM_MUST_CHECK rusm_err rusmi_srv_read(const uint8_t *answer, size_t answer_len,
                                        struct rusmi_srv *srvs, size_t srvs_max, size_t *out_len);

#endif
