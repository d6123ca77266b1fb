/* SPDX-License-Identifier: MIT */
#include "node/resolve.h"

#include <rusm/otp/driver.h>

#include <arpa/nameser.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdio.h>
#include <string.h>

/* Bytes of priority, weight and port, before the target: RFC 2782. */
#define SRV_FIXED 6

rusm_err rusmi_resolve_host(const char *host, uint16_t port, struct rusmi_address *addresses,
                            size_t addresses_max, size_t *out_len)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_DGRAM,
                             .ai_protocol = IPPROTO_UDP,
                             .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found;
    char service[8];
    size_t len = 0;
    int rc;

    (void)snprintf(service, sizeof(service), "%u", (unsigned)port);
    rc = getaddrinfo(host, service, &hints, &found);
    if (rc != 0) {
        return rusm_set_err_detail(RUSM_ESYS, "%s: %s", host,
                                   rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
    }
    for (const struct addrinfo *one = found; one != NULL && len < addresses_max;
         one = one->ai_next) {
        if (one->ai_addrlen <= sizeof(addresses[len].storage)) {
            memset(&addresses[len], 0, sizeof(addresses[len]));
            memcpy(&addresses[len].storage, one->ai_addr, one->ai_addrlen);
            addresses[len++].len = one->ai_addrlen;
        }
    }
    freeaddrinfo(found);
    *out_len = len;
    return RUSM_OK;
}

/* One record of an answer; false if it is no SRV record or breaks off. */
static bool read_record(ns_msg *message, const ns_rr *record, struct rusmi_srv *out_srv)
{
    const uint8_t *data = ns_rr_rdata(*record);

    if (ns_rr_type(*record) != ns_t_srv || ns_rr_class(*record) != ns_c_in ||
        ns_rr_rdlen(*record) <= SRV_FIXED ||
        ns_name_uncompress(ns_msg_base(*message), ns_msg_end(*message), data + SRV_FIXED,
                           out_srv->host, sizeof(out_srv->host)) < 0) {
        return false;
    }
    out_srv->port = (uint16_t)(data[4] << 8 | data[5]);
    /* RFC 2782: a target of "." means that the service is not there. */
    return out_srv->port != 0 && out_srv->host[0] != '\0' && strcmp(out_srv->host, ".") != 0;
}

rusm_err rusmi_srv_read(const uint8_t *answer, size_t answer_len, struct rusmi_srv *srvs,
                        size_t srvs_max, size_t *out_len)
{
    size_t len = 0;
    ns_msg message;
    ns_rr record;

    if (answer_len > INT32_MAX || ns_initparse(answer, (int)answer_len, &message) != 0) {
        return rusm_set_err_detail(RUSM_EPROTO, "the name server's answer can not be read");
    }
    for (int i = 0; i < ns_msg_count(message, ns_s_an) && len < srvs_max; i++) {
        if (ns_parserr(&message, ns_s_an, i, &record) != 0) {
            return rusm_set_err_detail(RUSM_EPROTO, "the name server's answer can not be read");
        }
        len += read_record(&message, &record, &srvs[len]) ? 1 : 0;
    }
    *out_len = len;
    return RUSM_OK;
}

rusm_err rusmi_resolve_srv(const char *name, struct rusmi_srv *srvs, size_t srvs_max,
                           size_t *out_len)
{
    struct __res_state state;
    uint8_t answer[NS_MAXMSG / 4]; /* a blocking thread's stack has room */
    int len;

    memset(&state, 0, sizeof(state));
    if (res_ninit(&state) != 0) {
        return rusm_set_err_detail(RUSM_ESYS, "the resolver can not be used: %s", strerror(errno));
    }
    len = res_nquery(&state, name, ns_c_in, ns_t_srv, answer, (int)sizeof(answer));
    if (len < 0) {
        rusm_err err = rusm_set_err_detail(RUSM_ESYS, "%s: %s", name, hstrerror(state.res_h_errno));

        res_nclose(&state);
        return err;
    }
    res_nclose(&state);
    return rusmi_srv_read(answer, (size_t)len < sizeof(answer) ? (size_t)len : sizeof(answer), srvs,
                          srvs_max, out_len);
}
