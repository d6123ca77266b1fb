/* SPDX-License-Identifier: MIT */
/* Addresses of sockets as programs write them: "host:port", "[v6]:port", ":port". */
#ifndef RUSMI_GEN_TCP_ADDRESS_H
#define RUSMI_GEN_TCP_ADDRESS_H

#include "platform/udp.h"

#include <rusm/err.h>
#include <rusm/types.h>

/* Addresses of one name that are tried. */
#define RUSMI_TCP_ADDRESSES_MAX 16

struct rusmi_tcp_addresses {
    struct rusmi_address list[RUSMI_TCP_ADDRESSES_MAX];
    size_t len;
};

/*
 * What an address stands for; a name is looked up on a thread for blocking work, and the calling
 * process suspended meanwhile. listens: it is one to listen on, so the host may be missing and the
 * port 0.
 *
 * Errors: RUSM_EINVAL, RUSM_ENONAME, RUSM_ETIMEOUT, RUSM_ENOMEM, RUSM_ESYS, RUSM_EKILLED
 */
rusm_err rusmi_tcp_resolve(const char *address, bool listens, rusm_time deadline,
                           struct rusmi_tcp_addresses *out_addresses);

#endif
