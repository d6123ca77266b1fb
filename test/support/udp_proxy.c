/* SPDX-License-Identifier: MIT */
#include "support/udp_proxy.h"

#include "base/prng.h"
#include "platform/clock.h"
#include "platform/udp.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Datagrams that one system call takes or gives. */
#define BATCH_MAX 64
/* Batches that one socket may give before the others have their turn. */
#define TURN_MAX 8
/* The largest UDP payload. */
#define DATAGRAM_MAX 65535
/* Whole batches of large datagrams must fit, also while the thread waits for a processor. */
#define BUFFER_BYTES  (8 << 20)
#define QUEUE_DEFAULT ((uint64_t)256 << 10)
#define WAYS          2

/* One dialer. */
struct client {
    struct rusmi_address address;
    int fd;              /* connected to the target */
    uint64_t number;     /* how many came before it: datagrams in flight name it by that */
    rusm_time last_seen; /* when it sent something */
    struct rusmi_prng prng[WAYS];
    rusm_time last_due[WAYS]; /* jitter does not overtake this */
};

struct flight {
    rusm_time due;
    uint64_t order; /* among those due at one time: that of arrival */
    uint64_t client;
    enum support_proxy_way way;
    size_t len;
    uint8_t data[];
};

struct support_proxy {
    char address[80];
    struct rusmi_address target;
    uint64_t seed;
    pthread_t thread;
    int front;
    int stop[2]; /* a pipe: closed at the writing end, it ends the thread */
    pthread_mutex_t lock;

    /* under lock */
    struct support_proxy_faults faults[WAYS];
    struct support_proxy_counts counts[WAYS];

    /* the thread's */
    struct client clients[SUPPORT_PROXY_CLIENTS_MAX];
    size_t clients_len;
    uint64_t clients_seen;
    rusm_time free_at[WAYS]; /* when the bottleneck has sent all that waits at it */
    uint32_t turn[WAYS];     /* datagrams since one was lost by lose_every */
    struct flight **heap;    /* the first due is the first */
    size_t heap_len, heap_max;
    size_t flight_bytes;
    uint64_t order;
    uint8_t (*bufs)[DATAGRAM_MAX + 1];
};

/* ---- datagrams in flight: a heap by time ----------------------------------------------------- */

static bool is_before(const struct flight *a, const struct flight *b)
{
    return a->due != b->due ? a->due < b->due : a->order < b->order;
}

static void swap(struct flight **a, struct flight **b)
{
    struct flight *kept = *a;

    *a = *b;
    *b = kept;
}

/* false: no memory. */
static bool heap_push(struct support_proxy *proxy, struct flight *flight)
{
    size_t i = proxy->heap_len;

    if (i == proxy->heap_max) {
        size_t max = i == 0 ? 1024 : i * 2;
        struct flight **heap = realloc(proxy->heap, max * sizeof(struct flight *));

        if (heap == NULL) {
            return false;
        }
        proxy->heap = heap;
        proxy->heap_max = max;
    }
    proxy->heap[proxy->heap_len++] = flight;
    while (i > 0 && is_before(proxy->heap[i], proxy->heap[(i - 1) / 2])) {
        swap(&proxy->heap[i], &proxy->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    return true;
}

static struct flight *heap_pop(struct support_proxy *proxy)
{
    struct flight *first = proxy->heap[0];
    size_t i = 0;

    proxy->heap[0] = proxy->heap[--proxy->heap_len];
    for (;;) {
        size_t least = i, left = 2 * i + 1;

        for (size_t k = left; k < left + 2 && k < proxy->heap_len; k++) {
            if (is_before(proxy->heap[k], proxy->heap[least])) {
                least = k;
            }
        }
        if (least == i) {
            return first;
        }
        swap(&proxy->heap[i], &proxy->heap[least]);
        i = least;
    }
}

/* ---- sockets --------------------------------------------------------------------------------- */

/* More than the system allows everybody, where it lets us: a test must lose only what it says. */
static void widen(int fd)
{
    int bytes = BUFFER_BYTES;

    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    }
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) != 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    }
}

static int open_socket(const struct rusmi_address *address, bool dial, int *out_fd)
{
    int fd = socket(address->storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const struct sockaddr *name = (const struct sockaddr *)&address->storage;

    if (fd < 0) {
        return errno;
    }
    if ((dial ? connect(fd, name, address->len) : bind(fd, name, address->len)) != 0) {
        int saved = errno;

        (void)close(fd);
        return saved;
    }
    widen(fd);
    *out_fd = fd;
    return 0;
}

/* The place for a new dialer: a free one, or that of who was silent longest. */
static struct client *place_of(struct support_proxy *proxy)
{
    struct client *oldest = &proxy->clients[0];

    if (proxy->clients_len < SUPPORT_PROXY_CLIENTS_MAX) {
        return &proxy->clients[proxy->clients_len++];
    }
    for (size_t i = 1; i < proxy->clients_len; i++) {
        if (proxy->clients[i].last_seen < oldest->last_seen) {
            oldest = &proxy->clients[i];
        }
    }
    (void)close(oldest->fd);
    return oldest;
}

/* The one who sends from that address; NULL if no socket can be had. */
static struct client *client_of(struct support_proxy *proxy, const struct rusmi_address *from)
{
    struct client *client;
    int fd;

    for (size_t i = 0; i < proxy->clients_len; i++) {
        if (rusmi_address_equal(&proxy->clients[i].address, from)) {
            return &proxy->clients[i];
        }
    }
    if (open_socket(&proxy->target, true, &fd) != 0) {
        return NULL;
    }
    client = place_of(proxy);
    *client = (struct client){.address = *from, .fd = fd, .number = proxy->clients_seen++};
    for (size_t way = 0; way < WAYS; way++) {
        rusmi_prng_init(&client->prng[way], proxy->seed);
        client->prng[way].state ^= (client->number * WAYS + way + 1) * 0xd1342543de82ef95u;
        (void)rusmi_prng_next(&client->prng[way]);
    }
    return client;
}

static struct client *client_numbered(struct support_proxy *proxy, uint64_t number)
{
    for (size_t i = 0; i < proxy->clients_len; i++) {
        if (proxy->clients[i].number == number) {
            return &proxy->clients[i];
        }
    }
    return NULL;
}

/* ---- the fate of a datagram ------------------------------------------------------------------ */

/* What is drawn for a datagram, whatever the settings are: each costs as many draws. */
struct draws {
    double loss, duplicate, reorder, corrupt, jitter;
    uint64_t bit;
};

static double unit(struct rusmi_prng *prng)
{
    return (double)(rusmi_prng_next(prng) >> 11) / 9007199254740992.0; /* 2^53 */
}

static struct draws draw(struct rusmi_prng *prng)
{
    struct draws draws;

    draws.loss = unit(prng);
    draws.duplicate = unit(prng);
    draws.reorder = unit(prng);
    draws.corrupt = unit(prng);
    draws.jitter = unit(prng);
    draws.bit = rusmi_prng_next(prng);
    return draws;
}

static void put(struct support_proxy *proxy, const struct client *client,
                enum support_proxy_way way, rusm_time due, const uint8_t *data, size_t len)
{
    struct flight *flight = NULL;

    if (proxy->flight_bytes + len <= SUPPORT_PROXY_FLIGHT_MAX) {
        flight = malloc(sizeof(*flight) + len);
    }
    if (flight == NULL) {
        proxy->counts[way].queue_full++;
        return;
    }
    flight->due = due;
    flight->order = proxy->order++;
    flight->client = client->number;
    flight->way = way;
    flight->len = len;
    memcpy(flight->data, data, len);
    if (!heap_push(proxy, flight)) {
        proxy->counts[way].queue_full++;
        free(flight);
        return;
    }
    proxy->flight_bytes += len;
}

/* When the bottleneck has sent it; false: its queue is full. */
static bool pass_bottleneck(struct support_proxy *proxy, enum support_proxy_way way, size_t len,
                            rusm_time now, rusm_time *out_when)
{
    const struct support_proxy_faults *faults = &proxy->faults[way];
    uint64_t queue_max = faults->queue_bytes != 0 ? faults->queue_bytes : QUEUE_DEFAULT;
    rusm_time free_at = proxy->free_at[way] > now ? proxy->free_at[way] : now;

    *out_when = now;
    if (faults->rate == 0) {
        return true;
    }
    if ((double)(free_at - now) * (double)faults->rate / 1e9 + (double)len > (double)queue_max) {
        return false;
    }
    proxy->free_at[way] = free_at + (rusm_time)((double)len * 1e9 / (double)faults->rate);
    *out_when = proxy->free_at[way];
    return true;
}

/* Whether it is dropped, which is counted. */
static bool is_dropped(struct support_proxy *proxy, enum support_proxy_way way, size_t len,
                       const struct draws *draws)
{
    const struct support_proxy_faults *faults = &proxy->faults[way];
    struct support_proxy_counts *counts = &proxy->counts[way];

    if (faults->cut) {
        counts->cut++;
        return true;
    }
    if (faults->mtu != 0 && len > faults->mtu) {
        counts->too_large++;
        return true;
    }
    if (faults->lose_every != 0 && ++proxy->turn[way] >= faults->lose_every) {
        proxy->turn[way] = 0;
        counts->lost++;
        return true;
    }
    if (draws->loss < faults->loss) {
        counts->lost++;
        return true;
    }
    return false;
}

static void take(struct support_proxy *proxy, struct client *client, enum support_proxy_way way,
                 uint8_t *data, size_t len, rusm_time now)
{
    const struct support_proxy_faults *faults = &proxy->faults[way];
    struct support_proxy_counts *counts = &proxy->counts[way];
    struct draws draws = draw(&client->prng[way]);
    rusm_time due;

    counts->received++;
    if (is_dropped(proxy, way, len, &draws)) {
        return;
    }
    if (len > 0 && draws.corrupt < faults->corrupt) {
        data[draws.bit / 8 % len] ^= (uint8_t)(1u << (draws.bit % 8));
        counts->corrupted++;
    }
    if (!pass_bottleneck(proxy, way, len, now, &due)) {
        counts->queue_full++;
        return;
    }
    due += ((rusm_time)faults->delay_us + (rusm_time)(draws.jitter * faults->jitter_us)) * 1000;
    if (draws.reorder < faults->reorder) {
        due += ((rusm_time)SUPPORT_PROXY_REORDER_US + faults->jitter_us) * 1000;
        counts->reordered++;
    } else {
        due = due > client->last_due[way] ? due : client->last_due[way];
        client->last_due[way] = due;
    }
    put(proxy, client, way, due, data, len);
    if (draws.duplicate < faults->duplicate) {
        put(proxy, client, way, due, data, len);
        counts->duplicated++;
    }
}

/* ---- forwarding ------------------------------------------------------------------------------ */

/* Read what a socket has: the front one (client NULL) or that of a client. */
static void drain(struct support_proxy *proxy, struct client *client, rusm_time now)
{
    struct mmsghdr msgs[BATCH_MAX];
    struct iovec iovs[BATCH_MAX];
    struct rusmi_address from[BATCH_MAX];
    int fd = client == NULL ? proxy->front : client->fd;
    int count = BATCH_MAX;

    for (int turn = 0; turn < TURN_MAX && count == BATCH_MAX; turn++) {
        memset(msgs, 0, sizeof(msgs));
        for (size_t i = 0; i < BATCH_MAX; i++) {
            iovs[i] = (struct iovec){.iov_base = proxy->bufs[i], .iov_len = DATAGRAM_MAX};
            msgs[i].msg_hdr.msg_iov = &iovs[i];
            msgs[i].msg_hdr.msg_iovlen = 1;
            msgs[i].msg_hdr.msg_name = &from[i].storage;
            msgs[i].msg_hdr.msg_namelen = sizeof(from[i].storage);
        }
        /* An error that an earlier send left (ECONNREFUSED) ends this turn; poll tells again. */
        count = recvmmsg(fd, msgs, BATCH_MAX, 0, NULL);
        for (int i = 0; i < count; i++) {
            struct client *who = client;

            from[i].len = msgs[i].msg_hdr.msg_namelen;
            if (who == NULL) {
                who = client_of(proxy, &from[i]);
                if (who == NULL) {
                    proxy->counts[SUPPORT_PROXY_TO].failed++;
                    continue;
                }
                who->last_seen = now;
            }
            take(proxy, who, client == NULL ? SUPPORT_PROXY_TO : SUPPORT_PROXY_FROM, proxy->bufs[i],
                 msgs[i].msg_len, now);
        }
    }
}

/* Send datagrams of one client and direction; the socket takes them or they are lost. */
static void send_batch(struct support_proxy *proxy, struct flight **flights, size_t flights_len)
{
    struct client *client = client_numbered(proxy, flights[0]->client);
    enum support_proxy_way way = flights[0]->way;
    struct mmsghdr msgs[BATCH_MAX];
    struct iovec iovs[BATCH_MAX];
    size_t sent = 0, refused = 0;

    memset(msgs, 0, sizeof(msgs));
    for (size_t i = 0; i < flights_len && client != NULL; i++) {
        iovs[i] = (struct iovec){.iov_base = flights[i]->data, .iov_len = flights[i]->len};
        msgs[i].msg_hdr.msg_iov = &iovs[i];
        msgs[i].msg_hdr.msg_iovlen = 1;
        if (way == SUPPORT_PROXY_FROM) {
            msgs[i].msg_hdr.msg_name = &client->address.storage;
            msgs[i].msg_hdr.msg_namelen = client->address.len;
        }
    }
    while (client != NULL && sent < flights_len && refused < 2) {
        int count = sendmmsg(way == SUPPORT_PROXY_TO ? client->fd : proxy->front, &msgs[sent],
                             (unsigned)(flights_len - sent), 0);

        /* The first error may be that of an earlier send, which a socket reports once. */
        refused = count > 0 ? 0 : refused + 1;
        sent += count > 0 ? (size_t)count : 0;
    }
    proxy->counts[way].forwarded += sent;
    proxy->counts[way].failed += flights_len - sent;
    for (size_t i = 0; i < flights_len; i++) {
        proxy->flight_bytes -= flights[i]->len;
        free(flights[i]);
    }
}

static void send_due(struct support_proxy *proxy, rusm_time now)
{
    struct flight *batch[BATCH_MAX];
    size_t batch_len = 0;

    while (proxy->heap_len > 0 && proxy->heap[0]->due <= now) {
        struct flight *flight = heap_pop(proxy);

        if (proxy->faults[flight->way].cut) {
            proxy->counts[flight->way].cut++;
            proxy->flight_bytes -= flight->len;
            free(flight);
            continue;
        }
        if (batch_len > 0 && (batch_len == BATCH_MAX || batch[0]->client != flight->client ||
                              batch[0]->way != flight->way)) {
            send_batch(proxy, batch, batch_len);
            batch_len = 0;
        }
        batch[batch_len++] = flight;
    }
    if (batch_len > 0) {
        send_batch(proxy, batch, batch_len);
    }
}

/* Wait for a datagram, for the next one due, or for the end: false. */
static bool wait_ready(struct support_proxy *proxy, struct pollfd *fds)
{
    size_t clients_len = proxy->clients_len;
    struct timespec span = {0};
    bool timed = proxy->heap_len > 0;

    fds[0] = (struct pollfd){.fd = proxy->stop[0], .events = POLLIN};
    fds[1] = (struct pollfd){.fd = proxy->front, .events = POLLIN};
    for (size_t i = 0; i < clients_len; i++) {
        fds[2 + i] = (struct pollfd){.fd = proxy->clients[i].fd, .events = POLLIN};
    }
    if (timed) {
        rusm_time now = rusmi_clock_now(), due = proxy->heap[0]->due;
        rusm_time left = due > now ? due - now : 0;

        span.tv_sec = (time_t)(left / 1000000000u);
        span.tv_nsec = (long)(left % 1000000000u);
    }
    (void)ppoll(fds, (nfds_t)(2 + clients_len), timed ? &span : NULL, NULL);
    return fds[0].revents == 0;
}

static void *run(void *arg)
{
    struct support_proxy *proxy = arg;
    struct pollfd fds[2 + SUPPORT_PROXY_CLIENTS_MAX];

    while (wait_ready(proxy, fds)) {
        size_t clients_len = proxy->clients_len;
        rusm_time now = rusmi_clock_now();

        (void)pthread_mutex_lock(&proxy->lock);
        for (size_t i = 0; i < clients_len; i++) {
            if (fds[2 + i].revents != 0) {
                drain(proxy, &proxy->clients[i], now);
            }
        }
        /* After the clients: it may give the place of one of them to another. */
        if (fds[1].revents != 0) {
            drain(proxy, NULL, now);
        }
        send_due(proxy, rusmi_clock_now());
        (void)pthread_mutex_unlock(&proxy->lock);
    }
    return NULL;
}

/* ---- the calls ------------------------------------------------------------------------------- */

static int start(struct support_proxy *proxy)
{
    int err = pipe(proxy->stop) == 0 ? 0 : errno;

    if (err == 0) {
        err = pthread_create(&proxy->thread, NULL, run, proxy);
        if (err != 0) {
            (void)close(proxy->stop[0]);
            (void)close(proxy->stop[1]);
        }
    }
    return err;
}

struct support_proxy *support_proxy_open(const char *target, const char *listen, uint64_t seed)
{
    struct support_proxy *proxy = calloc(1, sizeof(*proxy));
    struct rusmi_address local;
    int err;

    if (proxy == NULL || (proxy->bufs = calloc(BATCH_MAX, sizeof(*proxy->bufs))) == NULL) {
        (void)fprintf(stderr, "proxy: out of memory\n");
        free(proxy);
        return NULL;
    }
    proxy->seed = seed;
    (void)pthread_mutex_init(&proxy->lock, NULL);
    err = EINVAL;
    if (rusmi_address_parse(target, &proxy->target) &&
        rusmi_address_parse(listen != NULL ? listen : "127.0.0.1:0", &local)) {
        err = open_socket(&local, false, &proxy->front);
    }
    if (err == 0) {
        err = rusmi_udp_local_address(proxy->front, &local);
        rusmi_address_format(&local, proxy->address, sizeof(proxy->address));
        err = err == 0 ? start(proxy) : err;
        if (err != 0) {
            (void)close(proxy->front);
        }
    }
    if (err != 0) {
        (void)fprintf(stderr, "proxy: from %s to %s: %s\n", listen != NULL ? listen : "127.0.0.1:0",
                      target, strerror(err));
        (void)pthread_mutex_destroy(&proxy->lock);
        free(proxy->bufs);
        free(proxy);
        return NULL;
    }
    return proxy;
}

struct support_proxy *support_proxy_new(const char *target)
{
    struct support_proxy *proxy = support_proxy_open(target, NULL, 1);

    if (proxy == NULL) {
        abort();
    }
    return proxy;
}

void support_proxy_del(struct support_proxy *proxy)
{
    (void)close(proxy->stop[1]);
    (void)pthread_join(proxy->thread, NULL);
    for (size_t i = 0; i < proxy->clients_len; i++) {
        (void)close(proxy->clients[i].fd);
    }
    for (size_t i = 0; i < proxy->heap_len; i++) {
        free(proxy->heap[i]);
    }
    (void)close(proxy->front);
    (void)close(proxy->stop[0]);
    (void)pthread_mutex_destroy(&proxy->lock);
    free(proxy->heap);
    free(proxy->bufs);
    free(proxy);
}

const char *support_proxy_address(const struct support_proxy *proxy)
{
    return proxy->address;
}

void support_proxy_set(struct support_proxy *proxy, enum support_proxy_way way,
                       const struct support_proxy_faults *faults)
{
    (void)pthread_mutex_lock(&proxy->lock);
    for (size_t i = 0; i < WAYS; i++) {
        if (way == SUPPORT_PROXY_BOTH || (size_t)way == i) {
            proxy->faults[i] = *faults;
        }
    }
    (void)pthread_mutex_unlock(&proxy->lock);
}

struct support_proxy_faults support_proxy_get(struct support_proxy *proxy,
                                              enum support_proxy_way way)
{
    struct support_proxy_faults faults;

    (void)pthread_mutex_lock(&proxy->lock);
    faults = proxy->faults[way == SUPPORT_PROXY_FROM ? SUPPORT_PROXY_FROM : SUPPORT_PROXY_TO];
    (void)pthread_mutex_unlock(&proxy->lock);
    return faults;
}

struct support_proxy_counts support_proxy_counts(struct support_proxy *proxy,
                                                 enum support_proxy_way way)
{
    struct support_proxy_counts sum = {0};

    (void)pthread_mutex_lock(&proxy->lock);
    for (size_t i = 0; i < WAYS; i++) {
        const struct support_proxy_counts *counts = &proxy->counts[i];

        if (way == SUPPORT_PROXY_BOTH || (size_t)way == i) {
            sum.received += counts->received;
            sum.forwarded += counts->forwarded;
            sum.duplicated += counts->duplicated;
            sum.reordered += counts->reordered;
            sum.corrupted += counts->corrupted;
            sum.cut += counts->cut;
            sum.too_large += counts->too_large;
            sum.lost += counts->lost;
            sum.queue_full += counts->queue_full;
            sum.failed += counts->failed;
        }
    }
    (void)pthread_mutex_unlock(&proxy->lock);
    return sum;
}

void support_proxy_cut(struct support_proxy *proxy, bool cut)
{
    (void)pthread_mutex_lock(&proxy->lock);
    proxy->faults[SUPPORT_PROXY_TO].cut = cut;
    proxy->faults[SUPPORT_PROXY_FROM].cut = cut;
    (void)pthread_mutex_unlock(&proxy->lock);
}

void support_proxy_lose(struct support_proxy *proxy, unsigned every)
{
    (void)pthread_mutex_lock(&proxy->lock);
    proxy->faults[SUPPORT_PROXY_TO].lose_every = every;
    proxy->faults[SUPPORT_PROXY_FROM].lose_every = every;
    (void)pthread_mutex_unlock(&proxy->lock);
}

uint64_t support_proxy_forwarded(struct support_proxy *proxy)
{
    return support_proxy_counts(proxy, SUPPORT_PROXY_BOTH).forwarded;
}

uint64_t support_proxy_dropped(struct support_proxy *proxy)
{
    struct support_proxy_counts counts = support_proxy_counts(proxy, SUPPORT_PROXY_BOTH);

    return counts.cut + counts.too_large + counts.lost + counts.queue_full + counts.failed;
}
