/* SPDX-License-Identifier: MIT */
/*
 * What each network address costs, so that one host can not take what all others need
 * (docs/design/hostile.md): how many handshakes its peers have begun and not finished, and how many
 * datagrams that belong to no connection were answered lately.
 *
 * Of the handshakes only those of peers that have proven their address (RFC 9000 8.1.2) count:
 * an address that is merely written into a packet would let a stranger use up the places of
 * somebody else. Those without a proof have the places below handshakes_retry, and no more.
 *
 * To answer such a datagram (Retry, refusal, version negotiation, stateless reset) costs ten times
 * what it costs to drop it, so each address with its port has a number of answers for each period.
 * They share counters where their hashes do, so that the table is small and of fixed size. With the
 * port, because otherwise few packets with somebody's address in them would silence us for it.
 *
 * Never more entries than handshakes that are open. Threads: any for take and give, which have a
 * lock; rusmi_sources_may_answer belongs to the endpoint's driver.
 */
#ifndef RUSMI_NODE_SOURCES_H
#define RUSMI_NODE_SOURCES_H

#include "base/map.h"
#include "platform/lock.h"
#include "platform/udp.h"

#include <rusm/types.h>

/* Answers to one address and port within a period. */
#define RUSMI_ANSWERS_MAX       16u
#define RUSMI_ANSWERS_PERIOD_NS ((rusm_time)100 * 1000 * 1000)
#define RUSMI_ANSWERS_SLOTS     ((size_t)4096)

struct rusmi_sources {
    struct rusmi_lock lock;
    struct rusmi_map open; /* under lock */
    uint32_t max;

    /* the endpoint's driver */
    rusm_time period; /* when it began */
    uint8_t answers[RUSMI_ANSWERS_SLOTS];
};

_Static_assert(RUSMI_ANSWERS_MAX <= UINT8_MAX, "a counter holds its limit");

void rusmi_sources_init(struct rusmi_sources *sources, const uint64_t seed[2], uint32_t max);
/* Every handshake has ended. */
void rusmi_sources_fini(struct rusmi_sources *sources);
/* One more of that address; false if it has as many as it may, or without memory. */
bool rusmi_sources_take(struct rusmi_sources *sources, const struct rusmi_address *address);
/* Whether a datagram of that address may be answered now; counts it as answered. */
bool rusmi_sources_may_answer(struct rusmi_sources *sources, const struct rusmi_address *address,
                              rusm_time now);
/* One that was taken has ended or is finished. */
void rusmi_sources_give(struct rusmi_sources *sources, const struct rusmi_address *address);

#endif
