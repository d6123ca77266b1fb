/* SPDX-License-Identifier: MIT */
#include "support/udp_proxy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "platform/udp.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define CLIENTS_MAX  16
#define BUFFER_BYTES (1 << 20)

struct client {
    struct rusmi_address address;
    int fd; /* connected to the target */
};

struct support_proxy {
    char address[80];
    struct rusmi_address target;
    pthread_t thread;
    int front;
    int stop[2]; /* a pipe: closed at the writing end, it ends the thread */
    atomic_bool cut;
    _Atomic unsigned lose_every;
    _Atomic uint64_t forwarded, dropped;

    /* the thread's */
    struct client clients[CLIENTS_MAX];
    size_t clients_len;
    unsigned turn; /* batches since one was lost on purpose */
    uint8_t buf[RUSMI_UDP_RECV_MAX];
};

/* The one who sends from that address; NULL if there are too many. */
static struct client *client_of(struct support_proxy *proxy, const struct rusmi_address *from)
{
    struct client *client;

    for (size_t i = 0; i < proxy->clients_len; i++) {
        if (rusmi_address_equal(&proxy->clients[i].address, from)) {
            return &proxy->clients[i];
        }
    }
    client = &proxy->clients[proxy->clients_len];
    if (proxy->clients_len == CLIENTS_MAX ||
        rusmi_udp_connect(NULL, &proxy->target, BUFFER_BYTES, &client->fd) != 0) {
        return NULL;
    }
    client->address = *from;
    proxy->clients_len++;
    return client;
}

/* Send on what came in; a datagram that does not fit a socket is lost, as networks do. */
static void forward(struct support_proxy *proxy, int fd, const struct rusmi_address *remote,
                    size_t len, size_t segment)
{
    unsigned every = atomic_load(&proxy->lose_every);
    bool lost = every != 0 && ++proxy->turn >= every;
    bool sent = !lost && !atomic_load(&proxy->cut) &&
                rusmi_udp_send(fd, remote, proxy->buf, len, segment) == 0;

    if (lost) {
        proxy->turn = 0;
    }
    atomic_fetch_add(sent ? &proxy->forwarded : &proxy->dropped, 1);
}

/* Read a socket until it is empty: the front one (client NULL) or that of a client. */
static void drain(struct support_proxy *proxy, struct client *client)
{
    struct rusmi_address from;
    size_t len, segment;

    while (rusmi_udp_recv(client == NULL ? proxy->front : client->fd, proxy->buf,
                          sizeof(proxy->buf), &from, &len, &segment) == 0) {
        if (client != NULL) {
            forward(proxy, proxy->front, &client->address, len, segment);
        } else {
            struct client *source = client_of(proxy, &from);

            if (source != NULL) {
                forward(proxy, source->fd, NULL, len, segment);
            }
        }
    }
}

static void *run(void *arg)
{
    struct support_proxy *proxy = arg;
    struct pollfd fds[2 + CLIENTS_MAX];

    for (;;) {
        size_t clients_len = proxy->clients_len;

        fds[0] = (struct pollfd){.fd = proxy->stop[0], .events = POLLIN};
        fds[1] = (struct pollfd){.fd = proxy->front, .events = POLLIN};
        for (size_t i = 0; i < clients_len; i++) {
            fds[2 + i] = (struct pollfd){.fd = proxy->clients[i].fd, .events = POLLIN};
        }
        (void)poll(fds, (nfds_t)(2 + clients_len), -1);
        if (fds[0].revents != 0) {
            return NULL;
        }
        drain(proxy, NULL);
        for (size_t i = 0; i < clients_len; i++) {
            drain(proxy, &proxy->clients[i]);
        }
    }
}

struct support_proxy *support_proxy_new(const char *target)
{
    struct support_proxy *proxy = calloc(1, sizeof(*proxy));
    struct rusmi_address local;

    assert_non_null(proxy);
    assert_true(rusmi_address_parse(target, &proxy->target));
    assert_true(rusmi_address_parse("127.0.0.1:0", &local));
    assert_int_equal(rusmi_udp_listen(&local, BUFFER_BYTES, &proxy->front), 0);
    assert_int_equal(rusmi_udp_local_address(proxy->front, &local), 0);
    rusmi_address_format(&local, proxy->address, sizeof(proxy->address));
    assert_int_equal(pipe(proxy->stop), 0);
    assert_int_equal(pthread_create(&proxy->thread, NULL, run, proxy), 0);
    return proxy;
}

void support_proxy_del(struct support_proxy *proxy)
{
    (void)close(proxy->stop[1]);
    (void)pthread_join(proxy->thread, NULL);
    for (size_t i = 0; i < proxy->clients_len; i++) {
        rusmi_udp_close(proxy->clients[i].fd);
    }
    rusmi_udp_close(proxy->front);
    (void)close(proxy->stop[0]);
    free(proxy);
}

const char *support_proxy_address(const struct support_proxy *proxy)
{
    return proxy->address;
}

void support_proxy_cut(struct support_proxy *proxy, bool cut)
{
    atomic_store(&proxy->cut, cut);
}

void support_proxy_lose(struct support_proxy *proxy, unsigned every)
{
    atomic_store(&proxy->lose_every, every);
}

uint64_t support_proxy_forwarded(const struct support_proxy *proxy)
{
    return atomic_load(&proxy->forwarded);
}

uint64_t support_proxy_dropped(const struct support_proxy *proxy)
{
    return atomic_load(&proxy->dropped);
}
