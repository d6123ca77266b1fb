/* SPDX-License-Identifier: MIT */
/*
 * Addresses: see gen/tcp_address.h.
 *
 * A look-up may take seconds and can not be interrupted, so it is a job of the pool's threads for
 * blocking work. Its record is shared by that thread and by the process that waits: a process that
 * is killed, or waits no longer, leaves it to the thread.
 */
#include "gen/tcp_address.h"

#include "base/mem.h"
#include "gen/io.h"
#include "otp/blocking.h"
#include "otp/sched.h"
#include "platform/tcp.h"

#include <rusm/otp/driver.h>

#include <stdio.h>
#include <string.h>

/* Bytes of a host name (RFC 1035, 2.3.4), with NUL. */
#define HOST_MAX 256

struct lookup {
    struct rusmi_job job;
    _Atomic uint32_t refs;
    rusm_waiter *waiter;
    char host[HOST_MAX];
    uint16_t port;
    /* the thread until `done`, then who waits */
    int code;
    struct rusmi_tcp_addresses found;
    _Atomic uint32_t done;
};

/* ---- reading --------------------------------------------------------------------------------- */

static rusm_err not_valid(const char *address)
{
    return rusm_set_err_detail(RUSM_EINVAL, "'%.200s' is no address such as host:port", address);
}

static bool read_port(const char *text, uint16_t *out_port)
{
    unsigned port = 0;
    size_t i = 0;

    for (; text[i] >= '0' && text[i] <= '9' && i < 5; i++) {
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    if (i == 0 || text[i] != '\0' || port > UINT16_MAX) {
        return false;
    }
    *out_port = (uint16_t)port;
    return true;
}

/* Letters, digits, and what stands in names of hosts; a colon would be an address in brackets. */
static bool is_host(const char *text, size_t len)
{
    static const char others[] = "-._";

    for (size_t i = 0; i < len; i++) {
        char c = text[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              memchr(others, c, sizeof(others) - 1) != NULL)) {
            return false;
        }
    }
    return len < HOST_MAX;
}

/* ---- names ----------------------------------------------------------------------------------- */

static void lookup_drop(struct lookup *lookup)
{
    /* acq_rel: what was done with a reference happens before the free by the last one */
    if (atomic_fetch_sub_explicit(&lookup->refs, 1, memory_order_acq_rel) == 1) {
        rusm_waiter_drop(lookup->waiter);
        rusmi_free(lookup);
    }
}

static void lookup_run(struct rusmi_job *job, bool dropped)
{
    struct lookup *lookup = rusmi_container(job, struct lookup, job);

    if (!dropped) {
        lookup->code = rusmi_tcp_lookup(lookup->host, lookup->port, lookup->found.list,
                                        RUSMI_TCP_ADDRESSES_MAX, &lookup->found.len);
        atomic_store(&lookup->done, 1);
        rusm_waiter_wake(lookup->waiter);
    }
    lookup_drop(lookup);
}

static rusm_err lookup_new(const char *host, size_t host_len, uint16_t port,
                           struct lookup **out_lookup)
{
    struct lookup *lookup = rusmi_zalloc(sizeof(*lookup));
    rusm_err err;

    if (lookup == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    err = rusm_waiter_new(&lookup->waiter);
    if (err == RUSM_OK) {
        err = rusmi_blocking_reserve(rusmi_process_self()->pool);
    }
    if (err != RUSM_OK) {
        rusm_waiter_drop(lookup->waiter);
        rusmi_free(lookup);
        return err;
    }
    lookup->job.run = lookup_run;
    atomic_init(&lookup->refs, 2);
    atomic_init(&lookup->done, 0);
    memcpy(lookup->host, host, host_len);
    lookup->port = port;
    *out_lookup = lookup;
    return RUSM_OK;
}

static rusm_err lookup_result(const struct lookup *lookup)
{
    if (lookup->code == 0) {
        return RUSM_OK;
    }
    return rusm_set_err_detail(rusmi_tcp_lookup_unknown(lookup->code) ? RUSM_ENONAME : RUSM_ESYS,
                               "looking up %s: %s", lookup->host,
                               rusmi_tcp_lookup_text(lookup->code));
}

static rusm_err look_up(const char *host, size_t host_len, uint16_t port, rusm_time deadline,
                        struct rusmi_tcp_addresses *out_addresses)
{
    struct lookup *lookup;
    rusm_err err = lookup_new(host, host_len, port, &lookup);

    if (err != RUSM_OK) {
        return err;
    }
    rusmi_blocking_queue(rusmi_process_self()->pool, &lookup->job);
    do {
        err = rusm_waiter_wait(lookup->waiter, rusmi_time_left(deadline));
    } while (err == RUSM_OK && atomic_load(&lookup->done) == 0);
    if (err == RUSM_OK) {
        err = lookup_result(lookup);
        if (err == RUSM_OK) {
            *out_addresses = lookup->found;
        }
    } else if (err == RUSM_ETIMEOUT) {
        (void)rusm_set_err_detail(err, "looking up %s took too long", lookup->host);
    }
    lookup_drop(lookup);
    if (err == RUSM_EKILLED) {
        rusmi_checkpoint();
        (void)rusm_set_err_detail(err, "%s", rusm_err_text(err));
    }
    return err;
}

rusm_err rusmi_tcp_resolve(const char *address, bool listens, rusm_time deadline,
                           struct rusmi_tcp_addresses *out_addresses)
{
    const char *colon = strrchr(address, ':');
    size_t host_len = colon == NULL ? 0 : (size_t)(colon - address);
    uint16_t port;

    if (colon == NULL || !read_port(colon + 1, &port)) {
        return not_valid(address);
    }
    if (!listens && (port == 0 || host_len == 0)) {
        return rusm_set_err_detail(RUSM_EINVAL, "'%.200s' is nothing to connect to", address);
    }
    if (rusmi_address_parse(address, &out_addresses->list[0])) {
        out_addresses->len = 1;
        return RUSM_OK;
    }
    if (host_len == 0) {
        rusmi_tcp_any(port, true, &out_addresses->list[0]);
        rusmi_tcp_any(port, false, &out_addresses->list[1]);
        out_addresses->len = 2;
        return RUSM_OK;
    }
    if (!is_host(address, host_len)) {
        return not_valid(address);
    }
    return look_up(address, host_len, port, deadline, out_addresses);
}
