/* SPDX-License-Identifier: MIT */
/*
 * A bad network between two nodes: a thread that forwards UDP datagrams between whoever dials its
 * address and one target, each dialer by a socket of its own, and loses, delays, duplicates,
 * reorders, corrupts, slows down or cuts off what it carries, each direction by its own settings.
 *
 * Datagrams stay whole: nothing is coalesced on receiving or segmented on sending, so each of them
 * meets its own fate. A fate is drawn from a generator of its dialer and direction, which is seeded
 * by the proxy's seed and takes the same number of draws for each datagram: the n-th datagram of a
 * dialer has the same fate in every run with the same seed and settings. When datagrams arrive, and
 * so what they carry, is up to the machine.
 *
 * In order of a datagram's way: cut, too large, lost, (corrupted), queue of the bottleneck full,
 * delayed, (reordered), (duplicated), sent. What is in flight when its direction is cut is lost.
 *
 * Threading: any thread; settings hold from the next datagram on.
 */
#ifndef RUSM_SUPPORT_UDP_PROXY_H
#define RUSM_SUPPORT_UDP_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Dialers that are remembered; a new one takes the place of who was silent longest. */
#define SUPPORT_PROXY_CLIENTS_MAX 64
/* Bytes in flight, delayed or waiting at the bottleneck; what comes beyond is dropped. */
#define SUPPORT_PROXY_FLIGHT_MAX ((size_t)64 << 20)
/* How long a reordered datagram is held back at least. */
#define SUPPORT_PROXY_REORDER_US 2000u

enum support_proxy_way {
    SUPPORT_PROXY_TO,   /* from a dialer to the target */
    SUPPORT_PROXY_FROM, /* from the target to a dialer */
    SUPPORT_PROXY_BOTH,
};

/* What becomes of datagrams of one direction; all zero: they pass. */
struct support_proxy_faults {
    double loss;      /* probability, 0 to 1, as the next three */
    double duplicate; /* sent twice */
    double reorder;   /* held back, while those after it go on */
    double corrupt;   /* one bit is flipped */
    uint32_t delay_us;
    uint32_t jitter_us;   /* up to so much more, without changing the order */
    uint64_t rate;        /* bytes per second of the bottleneck; 0: none */
    uint64_t queue_bytes; /* what may wait at the bottleneck; 0: 256 KiB */
    uint32_t mtu;         /* larger ones (UDP payload) are dropped; 0: none */
    uint32_t lose_every;  /* each so-many-th is lost; 0: none */
    bool cut;             /* all are lost */
};

/* What became of datagrams of one direction so far. */
struct support_proxy_counts {
    uint64_t received, forwarded, duplicated, reordered, corrupted;
    uint64_t cut, too_large, lost, queue_full, failed; /* dropped, by reason */
};

struct support_proxy;

/*
 * target: the numeric address of a node. listen: where to be dialled; NULL: a port of its own at
 * 127.0.0.1. NULL, with a message on stderr, if that is not possible.
 */
struct support_proxy *support_proxy_open(const char *target, const char *listen, uint64_t seed);
/* The same on 127.0.0.1 with seed 1; aborts where open fails. */
struct support_proxy *support_proxy_new(const char *target);
void support_proxy_del(struct support_proxy *proxy);
/* Where to dial. */
const char *support_proxy_address(const struct support_proxy *proxy);
/* Replace the settings of a direction, or of both. */
void support_proxy_set(struct support_proxy *proxy, enum support_proxy_way way,
                       const struct support_proxy_faults *faults);
/* The settings of one direction. */
struct support_proxy_faults support_proxy_get(struct support_proxy *proxy,
                                              enum support_proxy_way way);
/* The counters of one direction, or their sums. */
struct support_proxy_counts support_proxy_counts(struct support_proxy *proxy,
                                                 enum support_proxy_way way);
/* Drop everything in both directions from now on, or no longer. */
void support_proxy_cut(struct support_proxy *proxy, bool cut);
/* Drop every so many-th datagram of each direction; 0: none. */
void support_proxy_lose(struct support_proxy *proxy, unsigned every);
/* Datagrams forwarded and dropped so far, both directions. */
uint64_t support_proxy_forwarded(struct support_proxy *proxy);
uint64_t support_proxy_dropped(struct support_proxy *proxy);

#endif
