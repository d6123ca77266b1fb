/* SPDX-License-Identifier: MIT */
/*
 * TCP sockets and the look-up of host names.
 *
 * Functions return 0 or a positive errno value, which is read before anything else can change it:
 * callers may go on on another thread. Sockets are non-blocking and close-on-exec. None but
 * rusmi_tcp_lookup() blocks.
 */
#ifndef RUSMI_PLATFORM_TCP_H
#define RUSMI_PLATFORM_TCP_H

#include "platform/udp.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What an accept that returned an errno value, or 0, means for the next. */
enum rusmi_tcp_trouble {
    RUSMI_TCP_FINE,
    RUSMI_TCP_AGAIN, /* nobody is there yet */
    RUSMI_TCP_LOST,  /* a connection was lost before it was accepted: the next may be well */
    RUSMI_TCP_SHORT, /* of descriptors or memory, or what else may pass with time */
    RUSMI_TCP_WRONG, /* it is no listener */
};

/* Every address of this machine, for both families where the system has both. */
void rusmi_tcp_any(uint16_t port, bool v6, struct rusmi_address *out_address);
int rusmi_tcp_listen(const struct rusmi_address *local, int *out_fd);
int rusmi_tcp_accept(int listener, int *out_fd);
enum rusmi_tcp_trouble rusmi_tcp_trouble(int err);
/* 0: connected. EINPROGRESS: *out_fd becomes writable when it is decided. */
int rusmi_tcp_connect(const struct rusmi_address *remote, int *out_fd);
/* How a connection that was in progress came out. */
int rusmi_tcp_connected(int fd);
/* At most len bytes; EAGAIN: none now. *out_len 0: the other end has closed. */
int rusmi_tcp_read(int fd, void *buf, size_t len, size_t *out_len);
int rusmi_tcp_write(int fd, const void *data, size_t len, size_t *out_len);
int rusmi_tcp_shutdown(int fd);
void rusmi_tcp_close(int fd);
int rusmi_tcp_local_address(int fd, struct rusmi_address *out_address);
int rusmi_tcp_peer_address(int fd, struct rusmi_address *out_address);
/* As rusmi_address_format(), but a connection of the older family is written as one, on whatever
 * socket it came. */
void rusmi_tcp_format(const struct rusmi_address *address, char *buf, size_t buf_len);

/*
 * Look up a host, for at most addresses_max addresses with that port. Blocks, for seconds if a name
 * server does not answer. 0, or a code for rusmi_tcp_lookup_text().
 */
int rusmi_tcp_lookup(const char *host, uint16_t port, struct rusmi_address *addresses,
                     size_t addresses_max, size_t *out_len);
const char *rusmi_tcp_lookup_text(int code);
/* Whether that code says that there is no such name, and not that looking it up went wrong. */
bool rusmi_tcp_lookup_unknown(int code);

#endif
