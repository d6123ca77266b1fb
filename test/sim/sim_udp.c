/* SPDX-License-Identifier: MIT */
/*
 * platform/udp.h on the network of sim_net.c. Node number i has the address 10.0.0.(i + 1).
 *
 * As with the kernel's sockets, a connected one is preferred for datagrams of its peer, the one
 * that listens gets the rest, and a datagram for a port that nobody has is answered with "port
 * unreachable", which the sender's connected socket reports at its next call. The host of a
 * crashed node still does that; one whose life is cut off does not hear it.
 */
#include "sim/sim.h"

#include "base/assert.h"
#include "base/mem.h"
#include "otp/sched.h"
#include "platform/udp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

/* Descriptors begin here: a mix-up with one of the system's would show. */
#define FD_FIRST 1000000
/* What waits in a socket at most. */
#define QUEUE_BYTES ((size_t)512 * 1024)
/* Ports of sockets that dial. */
#define PORT_FIRST 10000
/* Datagrams per million that meet a full socket buffer, and per million that a host with no such
 * port answers. */
#define FULL_PPM 500u
#define ICMP_PPM 500000u

struct waiting {
    struct rusmi_list node;
    struct sim_address from;
    size_t len;
    uint8_t data[];
};

struct sock {
    struct sock *next; /* of the same node */
    int fd;
    struct sim_life *life;
    struct sim_address local, remote;
    bool connected, refused;
    rusm_driver *driver;
    unsigned events;
    struct rusmi_list queue;
    size_t queue_bytes;
};

static struct {
    struct sock *socks[SIM_NODES_MAX];
    struct sock **by_fd;
    size_t fds_len, fds_cap;
    uint16_t port[SIM_NODES_MAX]; /* last one given to a socket that dials */
} udp;

/* ---- addresses ------------------------------------------------------------------------------- */

static bool address_read(const struct rusmi_address *address, struct sim_address *out)
{
    struct sockaddr_in in;
    uint32_t host;

    if (address->len != sizeof(in)) {
        return false;
    }
    memcpy(&in, &address->storage, sizeof(in));
    host = ntohl(in.sin_addr.s_addr) - 0x0a000001u;
    if (in.sin_family != AF_INET || host >= sim->options.nodes) {
        return false;
    }
    *out = (struct sim_address){(uint16_t)host, ntohs(in.sin_port)};
    return true;
}

static void address_write(struct sim_address from, struct rusmi_address *out)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons(from.port),
                             .sin_addr.s_addr = htonl(0x0a000001u + from.node)};

    memset(out, 0, sizeof(*out));
    memcpy(&out->storage, &in, sizeof(in));
    out->len = sizeof(in);
}

static bool same(struct sim_address a, struct sim_address b)
{
    return a.node == b.node && a.port == b.port;
}

/* ---- the table ------------------------------------------------------------------------------- */

static struct sock *find(int fd)
{
    rusmi_assert(fd >= FD_FIRST && (size_t)(fd - FD_FIRST) < udp.fds_len);
    rusmi_assert(udp.by_fd[fd - FD_FIRST] != NULL);
    return udp.by_fd[fd - FD_FIRST];
}

static struct sock *sock_new(struct sim_life *life, struct sim_address local)
{
    struct sock *sock = rusmi_zalloc(sizeof(*sock));

    rusmi_assert(sock != NULL && life != NULL && local.node == life->index);
    if (udp.fds_len == udp.fds_cap) {
        udp.fds_cap = udp.fds_cap == 0 ? 64 : udp.fds_cap * 2;
        udp.by_fd = rusmi_realloc(udp.by_fd, udp.fds_cap * sizeof(struct sock *));
        rusmi_assert(udp.by_fd != NULL);
    }
    sock->fd = FD_FIRST + (int)udp.fds_len;
    udp.by_fd[udp.fds_len++] = sock;
    sock->life = life;
    sock->local = local;
    rusmi_list_init(&sock->queue);
    sock->next = udp.socks[local.node];
    udp.socks[local.node] = sock;
    return sock;
}

static bool readable(const struct sock *sock)
{
    return !rusmi_list_empty(&sock->queue) || sock->refused;
}

static void tell(const struct sock *sock)
{
    if (sock->driver != NULL && (readable(sock) || (sock->events & RUSM_FD_WRITE) != 0)) {
        rusmi_driver_ready(sock->driver);
    }
}

rusm_err sim_udp_watch(int fd, unsigned events, rusm_driver *driver)
{
    struct sock *sock = find(fd);

    rusmi_assert(sock->driver == NULL || sock->driver == driver);
    sock->driver = events == 0 ? NULL : driver;
    sock->events = events;
    tell(sock);
    return RUSM_OK;
}

void sim_udp_again(const struct sim_life *life, rusm_driver *driver)
{
    for (struct sock *sock = udp.socks[life->index]; sock != NULL; sock = sock->next) {
        if (sock->driver == driver) {
            tell(sock);
        }
    }
}

/* ---- arriving -------------------------------------------------------------------------------- */

static struct sock *find_receiver(struct sim_address from, struct sim_address to)
{
    struct sock *listening = NULL;

    for (struct sock *sock = udp.socks[to.node]; sock != NULL; sock = sock->next) {
        if (sock->local.port != to.port || sock->life->cut) {
            continue;
        }
        if (!sock->connected) {
            listening = sock;
        } else if (same(sock->remote, from)) {
            return sock;
        }
    }
    return listening;
}

static void unreachable(struct sim_address from, struct sim_address to)
{
    for (struct sock *sock = udp.socks[from.node]; sock != NULL; sock = sock->next) {
        if (sock->connected && same(sock->local, from) && same(sock->remote, to)) {
            sock->refused = true;
            tell(sock);
        }
    }
}

void sim_udp_arrived(struct sim_address from, struct sim_address to, const void *data, size_t len)
{
    struct sock *sock = find_receiver(from, to);
    struct waiting *waiting;

    if (sock == NULL) {
        if (sim_chance(&sim->net, ICMP_PPM) && !sim_net_path(to.node, from.node)->blocked) {
            unreachable(from, to);
        }
        return;
    }
    if (sock->queue_bytes + len > QUEUE_BYTES) {
        return;
    }
    waiting = rusmi_alloc(sizeof(*waiting) + len);
    rusmi_assert(waiting != NULL);
    waiting->from = from;
    waiting->len = len;
    memcpy(waiting->data, data, len);
    rusmi_list_init(&waiting->node);
    rusmi_list_push(&sock->queue, &waiting->node);
    sock->queue_bytes += len;
    tell(sock);
}

/* ---- platform/udp.h -------------------------------------------------------------------------- */

int __wrap_rusmi_udp_listen(const struct rusmi_address *local, int buffer_bytes, int *out_fd);
int __wrap_rusmi_udp_connect(const struct rusmi_address *local, const struct rusmi_address *remote,
                             int buffer_bytes, int *out_fd);
int __wrap_rusmi_udp_local_address(int fd, struct rusmi_address *out_address);
void __wrap_rusmi_udp_close(int fd);
int __wrap_rusmi_udp_send_from(int fd, const struct rusmi_address *local,
                               const struct rusmi_address *remote, const void *data, size_t len,
                               size_t segment);
int __wrap_rusmi_udp_recv_to(int fd, void *buf, size_t buf_len, struct rusmi_address *out_from,
                             struct rusmi_address *out_to, size_t *out_len, size_t *out_segment);
int __wrap_rusmi_udp_recv(int fd, void *buf, size_t buf_len, struct rusmi_address *out_from,
                          size_t *out_len, size_t *out_segment);

int __wrap_rusmi_udp_listen(const struct rusmi_address *local, int buffer_bytes, int *out_fd)
{
    struct sim_address at;

    (void)buffer_bytes;
    if (!address_read(local, &at)) {
        return EADDRNOTAVAIL;
    }
    *out_fd = sock_new(sim_here(), at)->fd;
    return 0;
}

int __wrap_rusmi_udp_connect(const struct rusmi_address *local, const struct rusmi_address *remote,
                             int buffer_bytes, int *out_fd)
{
    struct sim_life *life = sim_here();
    struct sim_address from, to;
    struct sock *sock;

    (void)buffer_bytes;
    if (!address_read(remote, &to)) {
        return ENETUNREACH;
    }
    if (local == NULL) {
        from = (struct sim_address){(uint16_t)life->index,
                                    (uint16_t)(PORT_FIRST + udp.port[life->index]++)};
        sim_trace("%s dials %s", sim->nodes[life->index].name, sim->nodes[to.node].name);
    } else if (!address_read(local, &from)) {
        return EADDRNOTAVAIL;
    }
    sock = sock_new(life, from);
    sock->connected = true;
    sock->remote = to;
    *out_fd = sock->fd;
    return 0;
}

int __wrap_rusmi_udp_local_address(int fd, struct rusmi_address *out_address)
{
    address_write(find(fd)->local, out_address);
    return 0;
}

void __wrap_rusmi_udp_close(int fd)
{
    struct sock *sock = find(fd), **at = &udp.socks[sock->local.node];
    struct rusmi_list *first;

    rusmi_assert(sock->driver == NULL);
    while (*at != sock) {
        at = &(*at)->next;
    }
    *at = sock->next;
    udp.by_fd[fd - FD_FIRST] = NULL;
    while ((first = rusmi_list_pop(&sock->queue)) != NULL) {
        rusmi_free(rusmi_container(first, struct waiting, node));
    }
    rusmi_free(sock);
}

int __wrap_rusmi_udp_send_from(int fd, const struct rusmi_address *local,
                               const struct rusmi_address *remote, const void *data, size_t len,
                               size_t segment)
{
    struct sock *sock = find(fd);
    struct sim_address to = sock->remote;

    (void)local;
    if (sock->refused) {
        sock->refused = false;
        return ECONNREFUSED;
    }
    if (remote != NULL && !address_read(remote, &to)) {
        return ENETUNREACH;
    }
    if (sock->connected && !sim->healed && sim_chance(&sim->net, FULL_PPM)) {
        return EAGAIN;
    }
    for (size_t at = 0; at < len && !sock->life->cut; at += segment) {
        sim_net_send(sock->local, to, (const uint8_t *)data + at,
                     len - at < segment ? len - at : segment);
    }
    return 0;
}

int __wrap_rusmi_udp_recv_to(int fd, void *buf, size_t buf_len, struct rusmi_address *out_from,
                             struct rusmi_address *out_to, size_t *out_len, size_t *out_segment)
{
    struct sock *sock = find(fd);
    struct waiting *first;
    size_t len = 0, segment;

    if (sock->refused) {
        sock->refused = false;
        return ECONNREFUSED;
    }
    if (rusmi_list_empty(&sock->queue)) {
        return EAGAIN;
    }
    first = rusmi_container(sock->queue.next, struct waiting, node);
    segment = first->len;
    address_write(first->from, out_from);
    out_to->len = 0;
    /* What UDP_GRO does: datagrams of one sender and one length, the last may be shorter. */
    for (;;) {
        bool last = first->len < segment;

        rusmi_assert(first->len <= buf_len - len);
        memcpy((uint8_t *)buf + len, first->data, first->len);
        len += first->len;
        sock->queue_bytes -= first->len;
        rusmi_list_remove(&first->node);
        if (last || rusmi_list_empty(&sock->queue)) {
            break;
        }
        {
            struct waiting *next = rusmi_container(sock->queue.next, struct waiting, node);

            if (!same(next->from, first->from) || next->len > segment ||
                next->len > buf_len - len) {
                break;
            }
            rusmi_free(first);
            first = next;
        }
    }
    rusmi_free(first);
    *out_len = len;
    *out_segment = segment;
    return 0;
}

int __wrap_rusmi_udp_recv(int fd, void *buf, size_t buf_len, struct rusmi_address *out_from,
                          size_t *out_len, size_t *out_segment)
{
    struct rusmi_address to;

    return __wrap_rusmi_udp_recv_to(fd, buf, buf_len, out_from, &to, out_len, out_segment);
}

void sim_udp_start(void)
{
    memset(&udp, 0, sizeof(udp));
}

void sim_udp_stop(void)
{
    for (unsigned i = 0; i < SIM_NODES_MAX; i++) {
        sim_check(udp.socks[i] == NULL, "a socket of node %u was never closed", i);
    }
    rusmi_free(udp.by_fd);
    udp.by_fd = NULL;
}
