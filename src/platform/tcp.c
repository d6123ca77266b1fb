/* SPDX-License-Identifier: MIT */
#include "platform/tcp.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Connections that the kernel keeps for us until they are accepted; it cuts this at
 * net.core.somaxconn. */
#define BACKLOG 4096

/* Close fd because of `err`, which is returned. */
static int give_up(int fd, int err)
{
    (void)close(fd);
    return err;
}

static int set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value)) == 0 ? 0 : errno;
}

static int open_socket(int family, int *out_fd)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);

    if (fd < 0) {
        return errno;
    }
    *out_fd = fd;
    return 0;
}

void rusmi_tcp_any(uint16_t port, bool v6, struct rusmi_address *out_address)
{
    *out_address = (struct rusmi_address){.len = 0};
    if (v6) {
        struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&out_address->storage;

        sin6->sin6_family = AF_INET6;
        sin6->sin6_port = htons(port);
        sin6->sin6_addr = in6addr_any;
        out_address->len = sizeof(*sin6);
    } else {
        struct sockaddr_in *sin = (struct sockaddr_in *)&out_address->storage;

        sin->sin_family = AF_INET;
        sin->sin_port = htons(port);
        sin->sin_addr.s_addr = htonl(INADDR_ANY);
        out_address->len = sizeof(*sin);
    }
}

static bool is_any_v6(const struct rusmi_address *address)
{
    const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)&address->storage;

    return address->storage.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&sin6->sin6_addr);
}

int rusmi_tcp_listen(const struct rusmi_address *local, int *out_fd)
{
    int fd;
    int rc = open_socket(local->storage.ss_family, &fd);

    if (rc != 0) {
        return rc;
    }
    /* A port whose last connections linger can be listened on again; one with a listener can not.
     */
    rc = set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (rc == 0 && local->storage.ss_family == AF_INET6) {
        rc = set(fd, IPPROTO_IPV6, IPV6_V6ONLY, is_any_v6(local) ? 0 : 1);
    }
    if (rc == 0 && bind(fd, (const struct sockaddr *)&local->storage, local->len) != 0) {
        rc = errno;
    }
    if (rc == 0 && listen(fd, BACKLOG) != 0) {
        rc = errno;
    }
    if (rc != 0) {
        return give_up(fd, rc);
    }
    *out_fd = fd;
    return 0;
}

/* What is written goes out at once: every write is a whole thought of the program. */
static void tune(int fd)
{
    (void)set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

int rusmi_tcp_accept(int listener, int *out_fd)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0) {
        return errno;
    }
    tune(fd);
    *out_fd = fd;
    return 0;
}

enum rusmi_tcp_trouble rusmi_tcp_trouble(int err)
{
    switch (err) {
    case 0:
        return RUSMI_TCP_FINE;
    case EAGAIN:
        return RUSMI_TCP_AGAIN;
    case EBADF:
    case EINVAL:
    case ENOTSOCK:
    case EFAULT:
        return RUSMI_TCP_WRONG;
    /* accept(2): Linux passes on errors of the new socket, which are to be taken as no error of the
     * listener. EPERM comes from a firewall. */
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case ETIMEDOUT:
        return RUSMI_TCP_LOST;
    default:
        return RUSMI_TCP_SHORT;
    }
}

int rusmi_tcp_connect(const struct rusmi_address *remote, int *out_fd)
{
    int fd;
    int rc = open_socket(remote->storage.ss_family, &fd);

    if (rc != 0) {
        return rc;
    }
    tune(fd);
    if (connect(fd, (const struct sockaddr *)&remote->storage, remote->len) != 0) {
        rc = errno;
        /* Interrupted, it goes on by itself (connect(2)). */
        if (rc != EINPROGRESS && rc != EINTR) {
            return give_up(fd, rc);
        }
        rc = EINPROGRESS;
    }
    *out_fd = fd;
    return rc;
}

int rusmi_tcp_connected(int fd)
{
    int err = 0;
    socklen_t len = sizeof(err);

    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0 ? errno : err;
}

int rusmi_tcp_read(int fd, void *buf, size_t len, size_t *out_len)
{
    ssize_t n;

    do {
        n = recv(fd, buf, len, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return errno;
    }
    *out_len = (size_t)n;
    return 0;
}

int rusmi_tcp_write(int fd, const void *data, size_t len, size_t *out_len)
{
    ssize_t n;

    do {
        n = send(fd, data, len, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return errno;
    }
    *out_len = (size_t)n;
    return 0;
}

int rusmi_tcp_shutdown(int fd)
{
    return shutdown(fd, SHUT_WR) == 0 ? 0 : errno;
}

void rusmi_tcp_close(int fd)
{
    (void)close(fd);
}

int rusmi_tcp_local_address(int fd, struct rusmi_address *out_address)
{
    out_address->len = sizeof(out_address->storage);
    return getsockname(fd, (struct sockaddr *)&out_address->storage, &out_address->len) == 0
               ? 0
               : errno;
}

int rusmi_tcp_peer_address(int fd, struct rusmi_address *out_address)
{
    out_address->len = sizeof(out_address->storage);
    return getpeername(fd, (struct sockaddr *)&out_address->storage, &out_address->len) == 0
               ? 0
               : errno;
}

void rusmi_tcp_format(const struct rusmi_address *address, char *buf, size_t buf_len)
{
    const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)&address->storage;
    struct rusmi_address plain = *address;

    if (address->storage.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
        struct sockaddr_in *sin = (struct sockaddr_in *)&plain.storage;
        in_port_t port = sin6->sin6_port;

        memset(&plain, 0, sizeof(plain));
        sin->sin_family = AF_INET;
        sin->sin_port = port;
        memcpy(&sin->sin_addr, &sin6->sin6_addr.s6_addr[12], sizeof(sin->sin_addr));
        plain.len = sizeof(*sin);
    }
    rusmi_address_format(&plain, buf, buf_len);
}

/* ---- names ----------------------------------------------------------------------------------- */

int rusmi_tcp_lookup(const char *host, uint16_t port, struct rusmi_address *addresses,
                     size_t addresses_max, size_t *out_len)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int code = getaddrinfo(host, NULL, &hints, &found);
    size_t len = 0;

    if (code != 0) {
        return code;
    }
    for (const struct addrinfo *each = found; each != NULL && len < addresses_max;
         each = each->ai_next) {
        struct rusmi_address *address = &addresses[len];

        if (each->ai_addrlen > sizeof(address->storage)) {
            continue;
        }
        memset(address, 0, sizeof(*address));
        memcpy(&address->storage, each->ai_addr, each->ai_addrlen);
        address->len = each->ai_addrlen;
        if (each->ai_family == AF_INET) {
            ((struct sockaddr_in *)&address->storage)->sin_port = htons(port);
        } else if (each->ai_family == AF_INET6) {
            ((struct sockaddr_in6 *)&address->storage)->sin6_port = htons(port);
        } else {
            continue;
        }
        len++;
    }
    freeaddrinfo(found);
    *out_len = len;
    return len == 0 ? EAI_NONAME : 0;
}

const char *rusmi_tcp_lookup_text(int code)
{
    return gai_strerror(code);
}

bool rusmi_tcp_lookup_unknown(int code)
{
    return code == EAI_NONAME
#ifdef EAI_NODATA
           || code == EAI_NODATA
#endif
#ifdef EAI_ADDRFAMILY
           || code == EAI_ADDRFAMILY
#endif
        ;
}
