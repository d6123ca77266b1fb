/* SPDX-License-Identifier: MIT */
/*
 * Datagrams in and out of a link. Its own socket is connected to the peer; before an accepted link
 * has one, and for a peer that moved to another address, the endpoint's socket sends and its
 * demultiplexer receives.
 *
 * Errors of the network are losses to QUIC, which repairs or times out; two are acted upon: "port
 * unreachable" while a dial has heard nothing (nobody listens there, and waiting would not help the
 * caller), and "message too long", which is how an interface whose MTU was lowered says so.
 */
#include "node/link_io.h"

#include "base/assert.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Bounds of one run, so that links take turns. */
#define RECEIVE_ROUNDS  8
#define RECEIVE_TIME_NS ((rusm_time)500 * 1000)
#define WRITE_ROUNDS    8

/* Asked of the kernel for each direction of a link's socket; net.core.rmem_max may allow less. */
#define SOCKET_BUFFER (4 * 1024 * 1024)

static rusm_err watch(struct rusmi_link *link, bool writable)
{
    return rusm_driver_set_fd(link->driver, link->fd,
                              writable ? RUSM_FD_READ | RUSM_FD_WRITE : RUSM_FD_READ);
}

rusm_err rusmi_link_open_socket(struct rusmi_link *link, struct rusmi_address *out_local)
{
    char text[RUSM_ADDRESS_MAX];
    int fd, rc = rusmi_udp_connect(NULL, &link->remote, SOCKET_BUFFER, &fd);

    if (rc == 0) {
        rc = rusmi_udp_local_address(fd, out_local);
        if (rc == 0) {
            link->fd = fd;
            if (watch(link, false) == RUSM_OK) {
                return RUSM_OK;
            }
            link->fd = -1;
        }
        rusmi_udp_close(fd);
    }
    rusmi_address_format(&link->remote, text, sizeof(text));
    return rusm_set_err_detail(RUSM_ESYS, "no socket to %s: %s", text, strerror(rc));
}

void rusmi_link_promote(struct rusmi_link *link)
{
    int fd;

    if (link->fd >= 0) {
        return;
    }
    /* Without one (too many descriptors, say) the link goes on through the endpoint, a little
     * slower. */
    if (rusmi_udp_connect(&link->local, &link->remote, SOCKET_BUFFER, &fd) == 0) {
        link->fd = fd;
        if (watch(link, false) != RUSM_OK) {
            link->fd = -1;
            rusmi_udp_close(fd);
        }
    }
}

void rusmi_link_close_socket(struct rusmi_link *link)
{
    if (link->fd >= 0) {
        (void)!rusm_driver_set_fd(link->driver, link->fd,
                                  0); /* taking out can not fail for a watched descriptor */
        rusmi_udp_close(link->fd);
        link->fd = -1;
    }
}

void rusmi_link_feed(struct rusmi_link *link, const struct rusmi_address *from, const uint8_t *data,
                     size_t len, size_t segment, rusm_time now)
{
    struct rusmi_quic_path path = {.local = (const struct sockaddr *)&link->local.storage,
                                   .local_len = link->local.len,
                                   .remote = (const struct sockaddr *)&from->storage,
                                   .remote_len = from->len};
    bool usual = link->dialed || rusmi_address_equal(from, &link->remote);

    for (size_t at = 0; at < len; at += segment) {
        size_t n = len - at < segment ? len - at : segment;

        (void)rusmi_quic_conn_recv(link->conn, usual ? NULL : &path, data + at, n,
                                   now); /* the run reads the end */
    }
}

/* Port unreachable: for a dial that has heard nothing yet that is the answer. */
static void refused(struct rusmi_link *link)
{
    char text[RUSM_ADDRESS_MAX + 64], address[RUSM_ADDRESS_MAX];
    struct rusmi_quic_stats stats;

    rusmi_quic_conn_get_stats(link->conn, &stats);
    if (link->dialed && stats.packets_received == 0 && !link->closing) {
        rusmi_address_format(&link->remote, address, sizeof(address));
        (void)snprintf(text, sizeof(text), "nothing listens at %s (port unreachable)", address);
        rusmi_quic_conn_fail(link->conn, RUSMI_QUIC_TRANSPORT, 0, text);
    }
}

void rusmi_link_receive(struct rusmi_link *link, rusm_time now)
{
    uint8_t buf[RUSMI_UDP_RECV_MAX];

    for (int round = 0; link->fd >= 0 && round < RECEIVE_ROUNDS; round++) {
        struct rusmi_address from;
        size_t len = 0, segment = 0;
        int rc = rusmi_udp_recv(link->fd, buf, sizeof(buf), &from, &len, &segment);

        if (rc == EAGAIN) {
            break;
        }
        if (rc == ECONNREFUSED) {
            refused(link);
        }
        if (rc != 0 || len == 0) {
            continue;
        }
        if (rusmi_address_equal(&from, &link->remote)) {
            rusmi_link_feed(link, &from, buf, len, segment, now);
        } else {
            /* It came while the socket was bound and not yet connected. */
            for (size_t at = 0; at < len; at += segment) {
                rusmi_endpoint_stray(link->node, &from, &link->source, buf + at,
                                     len - at < segment ? len - at : segment);
            }
        }
        /* A lone datagram: more is unlikely, and if there is, the poller says so. Saves a system
         * call each time. */
        if (len <= segment) {
            break;
        }
        /* A peer that sends what is dear to read waits its turn as others do. */
        if (rusm_now() - now >= RECEIVE_TIME_NS) {
            rusmi_link_post(link);
            break;
        }
    }
}

/* Send datagram by datagram, for interfaces that can not segment. EMSGSIZE if that came of any. */
static int send_each(int fd, const struct rusmi_address *source, const struct rusmi_address *to,
                     const uint8_t *data, size_t len, size_t segment)
{
    int rc = 0;
    bool too_large = false;

    for (size_t at = 0; at < len && rc != EAGAIN; at += segment) {
        rc = rusmi_udp_send_from(fd, source, to, data + at, len - at < segment ? len - at : segment,
                                 segment);
        too_large = too_large || rc == EMSGSIZE;
    }
    if (too_large) {
        return EMSGSIZE;
    }
    return rc == EAGAIN ? 0 : rc; /* part of it is out: the rest is loss */
}

/* False: the socket is full and nothing was sent. */
static bool transmit(struct rusmi_link *link, const struct rusmi_address *to, const uint8_t *data,
                     size_t len, size_t segment, rusm_time now)
{
    bool own =
        link->fd >= 0 && (to == NULL || link->dialed || rusmi_address_equal(to, &link->remote));
    int fd = own ? link->fd : link->node->fd;
    const struct rusmi_address *remote = own ? NULL : to;
    const struct rusmi_address *source = own ? NULL : &link->source;
    int rc;

    if (link->no_segments) {
        rc = send_each(fd, source, remote, data, len, segment);
    } else {
        rc = rusmi_udp_send_from(fd, source, remote, data, len, segment);
        if ((rc == EIO || rc == EINVAL) && segment < len) {
            rc = send_each(fd, source, remote, data, len, segment);
            /* Kernels differ in what they say of segments that are too large. */
            link->no_segments = rc != EMSGSIZE;
        }
    }
    if (rc == ECONNREFUSED) {
        refused(link); /* the error of an earlier datagram; this one was not sent, which is a loss
                          like any other */
    }
    if (rc == EMSGSIZE) {
        rusmi_quic_conn_too_large(link->conn, segment < len ? segment : len, now);
    }
    return rc != EAGAIN;
}

/* Keep a batch that the socket did not take, until it is writable. Without memory, or room
 * for it, it is a loss. */
static void keep_unsent(struct rusmi_link *link, const uint8_t *data, size_t len, size_t segment)
{
    if (link->fd < 0) {
        return;
    }
    if (!rusmi_purse_take(&link->in, len, RUSMI_BUDGET_FAIR)) {
        return;
    }
    link->unsent = rusmi_alloc(len);
    if (link->unsent == NULL) {
        rusmi_purse_give(&link->in, len);
    } else {
        memcpy(link->unsent, data, len);
        link->unsent_len = len;
        link->unsent_segment = segment;
        (void)!watch(link, true); /* if it fails, the next run tries again */
    }
}

/* True once nothing is kept. */
static bool send_unsent(struct rusmi_link *link, rusm_time now)
{
    if (link->unsent == NULL) {
        return true;
    }
    if (!transmit(link, NULL, link->unsent, link->unsent_len, link->unsent_segment, now)) {
        return false;
    }
    rusmi_purse_give(&link->in, link->unsent_len);
    rusmi_free(link->unsent);
    link->unsent = NULL;
    (void)!watch(link, false);
    return true;
}

void rusmi_link_write(struct rusmi_link *link, rusm_time now)
{
    uint8_t buf[RUSMI_QUIC_BATCH_MAX + 29];

    _Static_assert(sizeof(buf) >= 65536, "rusmi_quic_conn_write wants that much for whole batches");
    for (int round = 0; send_unsent(link, now); round++) {
        struct rusmi_quic_batch batch;
        struct rusmi_address to = {0};

        if (round == WRITE_ROUNDS) {
            rusmi_link_post(link);
            return;
        }
        if (rusmi_quic_conn_write(link->conn, buf, sizeof(buf), &batch, now) == 0) {
            return;
        }
        memcpy(&to.storage, batch.remote, batch.remote_len);
        to.len = batch.remote_len;
        if (!transmit(link, &to, buf, batch.len, batch.segment, now)) {
            keep_unsent(link, buf, batch.len, batch.segment);
            return;
        }
        rusmi_link_fill_outbox(link);
    }
}
