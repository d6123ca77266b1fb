/* SPDX-License-Identifier: MIT */
/*
 * UDP sockets for QUIC: segmentation offload on sending (UDP_SEGMENT), coalescing on receiving
 * (UDP_GRO), and sockets that share a listening port but are connected to one peer.
 *
 * A connected socket saves the kernel a route lookup per datagram, and lets each link be read by
 * its own owner without a common demultiplexer. The listening socket is bound before SO_REUSEPORT
 * is set on it, so that a second program on the same port still gets EADDRINUSE. While a new
 * connected socket is bound and not yet connected, datagrams of others may land in it:
 * rusmi_udp_recv reports the source of each, and the caller hands strays on.
 *
 * Functions return 0 or a positive errno value. Sockets are non-blocking and close-on-exec. Any
 * thread may use a socket; the caller sees to it that one at a time reads it.
 */
#ifndef RUSMI_PLATFORM_UDP_H
#define RUSMI_PLATFORM_UDP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct rusmi_address {
    struct sockaddr_storage storage;
    socklen_t len;
};

/* Most segments that one send may carry (the kernel's UDP_MAX_SEGMENTS since 6.9 is 128, before
 * 64). */
#define RUSMI_UDP_SEGMENTS_MAX 64
/* A coalesced datagram is never larger than this. */
#define RUSMI_UDP_RECV_MAX 65536

/* Read numeric "1.2.3.4:5" or "[::1%scope]:5"; false if it is neither. */
bool rusmi_address_parse(const char *text, struct rusmi_address *out_address);
/* Write it so that rusmi_address_parse reads it back; buf_len >= 80 always fits. */
void rusmi_address_format(const struct rusmi_address *address, char *buf, size_t buf_len);
/* Same family, host and port (and scope, for link-local IPv6). */
bool rusmi_address_equal(const struct rusmi_address *a, const struct rusmi_address *b);
bool rusmi_address_is_loopback(const struct rusmi_address *address);
/* What one party is taken to hold: an IPv4 address, or a /64 network of IPv6, since whoever has
 * one address of it has them all. Without the port. */
#define RUSMI_ADDRESS_SOURCE_LEN ((size_t)9)
void rusmi_address_source(const struct rusmi_address *address,
                          uint8_t out_key[RUSMI_ADDRESS_SOURCE_LEN]);

/* Bind a socket that accepts from anybody. buffer_bytes is asked for in both directions; the kernel
 * may give less. */
int rusmi_udp_listen(const struct rusmi_address *local, int buffer_bytes, int *out_fd);
/* A socket connected to remote; local NULL picks a port, else it shares that of a listening socket.
 */
int rusmi_udp_connect(const struct rusmi_address *local, const struct rusmi_address *remote,
                      int buffer_bytes, int *out_fd);
int rusmi_udp_local_address(int fd, struct rusmi_address *out_address);
void rusmi_udp_close(int fd);

/*
 * Send len bytes as datagrams of segment bytes each (the last may be shorter); remote NULL on a
 * connected socket. EAGAIN: the socket buffer is full, nothing was sent. EMSGSIZE: larger than the
 * path's MTU as the kernel knows it.
 */
int rusmi_udp_send(int fd, const struct rusmi_address *remote, const void *data, size_t len,
                   size_t segment);

/*
 * The same from a socket bound to the unspecified address, with the source that the peer knows us
 * by: without it the kernel takes the one of its route, which the peer may never have heard of.
 * local is what rusmi_udp_recv_to told; its port is not used. NULL, or len 0: as rusmi_udp_send().
 */
int rusmi_udp_send_from(int fd, const struct rusmi_address *local,
                        const struct rusmi_address *remote, const void *data, size_t len,
                        size_t segment);

/*
 * Receive datagrams that the kernel coalesced: out_len bytes in all, each out_segment long but the
 * last. EAGAIN: none. ECONNREFUSED and its like report an ICMP error of an earlier send on a
 * connected socket.
 */
int rusmi_udp_recv(int fd, void *buf, size_t buf_len, struct rusmi_address *out_from,
                   size_t *out_len, size_t *out_segment);

/* The same, and which address of ours they were sent to: out_to's port is 0, and its len is 0 where
 * that is the address that the socket is bound to. */
int rusmi_udp_recv_to(int fd, void *buf, size_t buf_len, struct rusmi_address *out_from,
                      struct rusmi_address *out_to, size_t *out_len, size_t *out_segment);
/* Set the port of an address to that of another of the same family. */
void rusmi_address_take_port(struct rusmi_address *address, const struct rusmi_address *from);

#endif
