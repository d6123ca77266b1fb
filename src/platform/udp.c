/* SPDX-License-Identifier: MIT */
#include "platform/udp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* linux/udp.h; older C library headers lack them. */
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef SOL_UDP
#define SOL_UDP 17
#endif

static bool parse_port(const char *text, uint16_t *out_port)
{
    unsigned long port = 0;
    size_t i = 0;

    for (; text[i] >= '0' && text[i] <= '9' && i < 6; i++) {
        port = port * 10 + (unsigned long)(text[i] - '0');
    }
    if (i == 0 || text[i] != '\0' || port > 65535) {
        return false;
    }
    *out_port = (uint16_t)port;
    return true;
}

static bool parse_v6(const char *host, size_t host_len, uint16_t port, struct rusmi_address *out)
{
    struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&out->storage;
    char buf[INET6_ADDRSTRLEN + IF_NAMESIZE + 1];
    char *scope;

    if (host_len >= sizeof(buf)) {
        return false;
    }
    memcpy(buf, host, host_len);
    buf[host_len] = '\0';
    scope = strchr(buf, '%');
    if (scope != NULL) {
        *scope++ = '\0';
        sin6->sin6_scope_id = if_nametoindex(scope);
        if (sin6->sin6_scope_id == 0) {
            sin6->sin6_scope_id = (uint32_t)strtoul(scope, NULL, 10);
        }
        if (sin6->sin6_scope_id == 0) {
            return false;
        }
    }
    sin6->sin6_family = AF_INET6;
    sin6->sin6_port = htons(port);
    out->len = sizeof(*sin6);
    return inet_pton(AF_INET6, buf, &sin6->sin6_addr) == 1;
}

bool rusmi_address_parse(const char *text, struct rusmi_address *out_address)
{
    struct rusmi_address parsed = {0};
    struct sockaddr_in *sin = (struct sockaddr_in *)&parsed.storage;
    const char *colon = strrchr(text, ':');
    char buf[INET_ADDRSTRLEN];
    uint16_t port;

    if (colon == NULL || !parse_port(colon + 1, &port)) {
        return false;
    }
    if (text[0] == '[') {
        if (colon - text < 2 || colon[-1] != ']' ||
            !parse_v6(text + 1, (size_t)(colon - text) - 2, port, &parsed)) {
            return false;
        }
        *out_address = parsed;
        return true;
    }
    if ((size_t)(colon - text) >= sizeof(buf)) {
        return false;
    }
    memcpy(buf, text, (size_t)(colon - text));
    buf[colon - text] = '\0';
    sin->sin_family = AF_INET;
    sin->sin_port = htons(port);
    parsed.len = sizeof(*sin);
    if (inet_pton(AF_INET, buf, &sin->sin_addr) != 1) {
        return false;
    }
    *out_address = parsed;
    return true;
}

void rusmi_address_format(const struct rusmi_address *address, char *buf, size_t buf_len)
{
    char host[INET6_ADDRSTRLEN] = "?";

    if (address->storage.ss_family == AF_INET) {
        const struct sockaddr_in *sin = (const struct sockaddr_in *)&address->storage;

        (void)inet_ntop(AF_INET, &sin->sin_addr, host, sizeof(host));
        (void)snprintf(buf, buf_len, "%s:%u", host, (unsigned)ntohs(sin->sin_port));
    } else if (address->storage.ss_family == AF_INET6) {
        const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)&address->storage;

        (void)inet_ntop(AF_INET6, &sin6->sin6_addr, host, sizeof(host));
        if (sin6->sin6_scope_id != 0) {
            (void)snprintf(buf, buf_len, "[%s%%%u]:%u", host, (unsigned)sin6->sin6_scope_id,
                           (unsigned)ntohs(sin6->sin6_port));
        } else {
            (void)snprintf(buf, buf_len, "[%s]:%u", host, (unsigned)ntohs(sin6->sin6_port));
        }
    } else {
        (void)snprintf(buf, buf_len, "?");
    }
}

bool rusmi_address_equal(const struct rusmi_address *a, const struct rusmi_address *b)
{
    if (a->storage.ss_family != b->storage.ss_family) {
        return false;
    }
    if (a->storage.ss_family == AF_INET) {
        const struct sockaddr_in *x = (const struct sockaddr_in *)&a->storage;
        const struct sockaddr_in *y = (const struct sockaddr_in *)&b->storage;

        return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
    }
    if (a->storage.ss_family == AF_INET6) {
        const struct sockaddr_in6 *x = (const struct sockaddr_in6 *)&a->storage;
        const struct sockaddr_in6 *y = (const struct sockaddr_in6 *)&b->storage;

        return x->sin6_port == y->sin6_port && x->sin6_scope_id == y->sin6_scope_id &&
               memcmp(&x->sin6_addr, &y->sin6_addr, sizeof(x->sin6_addr)) == 0;
    }
    return false;
}

void rusmi_address_take_port(struct rusmi_address *address, const struct rusmi_address *from)
{
    if (address->storage.ss_family == AF_INET) {
        ((struct sockaddr_in *)&address->storage)->sin_port =
            ((const struct sockaddr_in *)&from->storage)->sin_port;
    } else {
        ((struct sockaddr_in6 *)&address->storage)->sin6_port =
            ((const struct sockaddr_in6 *)&from->storage)->sin6_port;
    }
}

static bool is_unspecified(const struct rusmi_address *address)
{
    if (address->storage.ss_family == AF_INET) {
        return ((const struct sockaddr_in *)&address->storage)->sin_addr.s_addr == INADDR_ANY;
    }
    return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)&address->storage)->sin6_addr);
}

bool rusmi_address_is_loopback(const struct rusmi_address *address)
{
    if (address->storage.ss_family == AF_INET) {
        const struct sockaddr_in *sin = (const struct sockaddr_in *)&address->storage;

        return (ntohl(sin->sin_addr.s_addr) >> 24) == 127;
    }
    if (address->storage.ss_family == AF_INET6) {
        const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)&address->storage;

        return IN6_IS_ADDR_LOOPBACK(&sin6->sin6_addr);
    }
    return false;
}

void rusmi_address_source(const struct rusmi_address *address,
                          uint8_t out_key[RUSMI_ADDRESS_SOURCE_LEN])
{
    memset(out_key, 0, RUSMI_ADDRESS_SOURCE_LEN);
    if (address->storage.ss_family == AF_INET) {
        const struct sockaddr_in *sin = (const struct sockaddr_in *)&address->storage;

        out_key[0] = 4;
        memcpy(out_key + 1, &sin->sin_addr, sizeof(sin->sin_addr));
    } else if (address->storage.ss_family == AF_INET6) {
        const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)&address->storage;

        if (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
            out_key[0] = 4;
            memcpy(out_key + 1, sin6->sin6_addr.s6_addr + 12, 4);
        } else {
            out_key[0] = 6;
            memcpy(out_key + 1, &sin6->sin6_addr, 8);
        }
    }
}

/* Options that make a socket faster or its errors clearer; a kernel without one of them works all
 * the same. */
static void socket_tune(int fd, int family, int buffer_bytes)
{
    int on = 1;

    if (buffer_bytes > 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof(buffer_bytes));
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof(buffer_bytes));
    }
    (void)setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof(on));
    /* RFC 9000 14: no IP fragmentation; PROBE ignores the kernel's own idea of the path MTU, QUIC
     * has its own. */
    if (family == AF_INET) {
        int mode = IP_PMTUDISC_PROBE;

        (void)setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &mode, sizeof(mode));
    } else {
        int mode = IPV6_PMTUDISC_PROBE;

        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &mode, sizeof(mode));
    }
}

static int socket_new(int family, int *out_fd)
{
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
    int on = 1;

    if (fd < 0) {
        return errno;
    }
    if (family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    }
    *out_fd = fd;
    return 0;
}

int rusmi_udp_listen(const struct rusmi_address *local, int buffer_bytes, int *out_fd)
{
    int fd, err, on = 1;

    err = socket_new(local->storage.ss_family, &fd);
    if (err != 0) {
        return err;
    }
    if (bind(fd, (const struct sockaddr *)&local->storage, local->len) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) {
        err = errno;
        (void)close(fd);
        return err;
    }
    if (is_unspecified(local)) {
        (void)(local->storage.ss_family == AF_INET
                   ? setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on))
                   : setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)));
    }
    socket_tune(fd, local->storage.ss_family, buffer_bytes);
    *out_fd = fd;
    return 0;
}

int rusmi_udp_connect(const struct rusmi_address *local, const struct rusmi_address *remote,
                      int buffer_bytes, int *out_fd)
{
    int fd, err, on = 1;

    err = socket_new(remote->storage.ss_family, &fd);
    if (err != 0) {
        return err;
    }
    if (local != NULL && (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0 ||
                          bind(fd, (const struct sockaddr *)&local->storage, local->len) != 0)) {
        err = errno;
        (void)close(fd);
        return err;
    }
    if (connect(fd, (const struct sockaddr *)&remote->storage, remote->len) != 0) {
        err = errno;
        (void)close(fd);
        return err;
    }
    socket_tune(fd, remote->storage.ss_family, buffer_bytes);
    *out_fd = fd;
    return 0;
}

int rusmi_udp_local_address(int fd, struct rusmi_address *out_address)
{
    struct rusmi_address address = {.len = sizeof(address.storage)};

    if (getsockname(fd, (struct sockaddr *)&address.storage, &address.len) != 0) {
        return errno;
    }
    *out_address = address;
    return 0;
}

void rusmi_udp_close(int fd)
{
    (void)close(fd);
}

/* Room for what comes and goes beside a datagram. */
union control {
    char bytes[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in6_pktinfo))];
    struct cmsghdr align;
};

/* Append one control message. */
static void control_push(struct msghdr *msg, union control *control, int level, int type,
                         const void *data, size_t len)
{
    struct cmsghdr *cmsg;

    if (msg->msg_control == NULL) {
        memset(control, 0, sizeof(*control));
        msg->msg_control = control->bytes;
    }
    cmsg = (struct cmsghdr *)(void *)(control->bytes + msg->msg_controllen);
    msg->msg_controllen += CMSG_SPACE(len);
    cmsg->cmsg_level = level;
    cmsg->cmsg_type = type;
    cmsg->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(cmsg), data, len);
}

static void control_source(struct msghdr *msg, union control *control,
                           const struct rusmi_address *local)
{
    if (local->storage.ss_family == AF_INET) {
        struct in_pktinfo info = {.ipi_spec_dst =
                                      ((const struct sockaddr_in *)&local->storage)->sin_addr};

        control_push(msg, control, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
    } else {
        const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)&local->storage;
        struct in6_pktinfo info = {.ipi6_addr = sin6->sin6_addr,
                                   .ipi6_ifindex = sin6->sin6_scope_id};

        control_push(msg, control, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
    }
}

int rusmi_udp_send_from(int fd, const struct rusmi_address *local,
                        const struct rusmi_address *remote, const void *data, size_t len,
                        size_t segment)
{
    union control control;
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (remote != NULL) {
        msg.msg_name = (void *)(uintptr_t)&remote->storage;
        msg.msg_namelen = remote->len;
    }
    if (segment < len) {
        uint16_t size = (uint16_t)segment;

        control_push(&msg, &control, SOL_UDP, UDP_SEGMENT, &size, sizeof(size));
    }
    if (local != NULL && local->len != 0) {
        control_source(&msg, &control, local);
    }
    for (;;) {
        if (sendmsg(fd, &msg, MSG_NOSIGNAL) >= 0) {
            return 0;
        }
        if (errno != EINTR) {
            return errno == EWOULDBLOCK ? EAGAIN : errno;
        }
    }
}

int rusmi_udp_send(int fd, const struct rusmi_address *remote, const void *data, size_t len,
                   size_t segment)
{
    return rusmi_udp_send_from(fd, NULL, remote, data, len, segment);
}

/* The address of ours in a control message, if it tells one. */
static void read_destination(struct cmsghdr *cmsg, struct rusmi_address *out_to)
{
    if (cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_PKTINFO) {
        struct sockaddr_in *sin = (struct sockaddr_in *)&out_to->storage;
        struct in_pktinfo info;

        memcpy(&info, CMSG_DATA(cmsg), sizeof(info));
        *sin = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = info.ipi_addr};
        out_to->len = sizeof(*sin);
    } else if (cmsg->cmsg_level == IPPROTO_IPV6 && cmsg->cmsg_type == IPV6_PKTINFO) {
        struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&out_to->storage;
        struct in6_pktinfo info;

        memcpy(&info, CMSG_DATA(cmsg), sizeof(info));
        *sin6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = info.ipi6_addr};
        /* Only there it is part of the address. */
        sin6->sin6_scope_id = IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr) ? info.ipi6_ifindex : 0;
        out_to->len = sizeof(*sin6);
    }
}

int rusmi_udp_recv_to(int fd, void *buf, size_t buf_len, struct rusmi_address *out_from,
                      struct rusmi_address *out_to, size_t *out_len, size_t *out_segment)
{
    union control control;
    struct iovec iov = {.iov_base = buf, .iov_len = buf_len};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_name = &out_from->storage,
                         .msg_namelen = sizeof(out_from->storage),
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t got;

    do {
        got = recvmsg(fd, &msg, 0);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return errno == EWOULDBLOCK ? EAGAIN : errno;
    }
    out_from->len = msg.msg_namelen;
    out_to->len = 0;
    *out_len = (size_t)got;
    *out_segment = (size_t)got;
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg); cmsg != NULL; cmsg = CMSG_NXTHDR(&msg, cmsg)) {
        if (cmsg->cmsg_level == SOL_UDP && cmsg->cmsg_type == UDP_GRO) {
            int size;

            memcpy(&size, CMSG_DATA(cmsg), sizeof(size));
            if (size > 0 && (size_t)size < *out_segment) {
                *out_segment = (size_t)size;
            }
        }
        read_destination(cmsg, out_to);
    }
    return 0;
}

int rusmi_udp_recv(int fd, void *buf, size_t buf_len, struct rusmi_address *out_from,
                   size_t *out_len, size_t *out_segment)
{
    struct rusmi_address to;

    return rusmi_udp_recv_to(fd, buf, buf_len, out_from, &to, out_len, out_segment);
}
