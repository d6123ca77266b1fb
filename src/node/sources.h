/* SPDX-License-Identifier: MIT */
/*
 * What each network address costs, so that one host can not take what all others need
 * (docs/design/hostile.md): how many handshakes its peers have begun and not finished, and how many
 * datagrams that belong to no connection were answered lately.
 *
 * Only a peer that has proven its address (RFC 9000 8.1.2) is charged by it: an address that is
 * merely written into a packet would let a stranger use up the places of somebody else. Those
 * without a proof are one party together, which has the places below handshakes_retry.
 *
 * A party has a number of handshakes open at a time, and begins as many within a period; those that
 * succeed do not count against it. The second bound is there because a beginning costs a TLS
 * session: who fails at once would otherwise come through the same place again and again. All
 * places together may be taken by many hosts; then the oldest handshake of the party that has most
 * gives way, so that hosts which begin and stop never keep out one that goes on.
 *
 * To answer a datagram of no connection (Retry, refusal, version negotiation, stateless reset)
 * costs ten times what it costs to drop it, so each address with its port has a number of answers
 * for each period. With the port, because otherwise few packets with somebody's address in them
 * would silence us for it. These, and beginnings, are counted in tables of fixed size, whose
 * counters addresses share where their hashes do.
 *
 * Never more entries than handshakes that are open. Threads: any for begin and end, which have a
 * lock; the other two belong to the endpoint's driver.
 */
#ifndef RUSMI_NODE_SOURCES_H
#define RUSMI_NODE_SOURCES_H

#include "base/list.h"
#include "base/map.h"
#include "platform/lock.h"
#include "platform/udp.h"

#include <rusm/types.h>

/* Answers to one address and port within a period. */
#define RUSMI_ANSWERS_MAX       16u
#define RUSMI_ANSWERS_PERIOD_NS ((rusm_time)100 * 1000 * 1000)
#define RUSMI_ANSWERS_SLOTS     ((size_t)4096)
#define RUSMI_BEGUN_SLOTS       ((size_t)4096)

struct rusmi_link;
struct rusmi_source;

struct rusmi_sources_config {
    uint32_t max;      /* handshakes open at a time, of all parties */
    uint32_t each;     /* of one that has proven its address */
    uint32_t unproven; /* of those that have not; only while fewer than that are open in all */
    rusm_time period;  /* in which a party begins as many as it may have open */
};

/* One that a peer began and has not finished. */
struct rusmi_handshake {
    struct rusmi_list node; /* of its party, the oldest first */
    struct rusmi_source *source;
    struct rusmi_link *link;
    uint64_t number; /* of the beginning */
    uint32_t *begun; /* where it was counted */
    uint64_t period;
    bool listed;
};

struct rusmi_sources {
    struct rusmi_sources_config cfg;
    struct rusmi_lock lock;
    /* under lock */
    struct rusmi_map parties;
    uint32_t open;
    uint64_t number, period; /* beginnings, periods so far */
    rusm_time period_at;
    uint32_t begun_unproven;
    uint32_t begun[RUSMI_BEGUN_SLOTS];

    /* the endpoint's driver */
    rusm_time answers_at; /* when the period began */
    uint8_t answers[RUSMI_ANSWERS_SLOTS];
};

_Static_assert(RUSMI_ANSWERS_MAX <= UINT8_MAX, "a counter holds its limit");

void rusmi_sources_init(struct rusmi_sources *sources, const uint64_t seed[2],
                        const struct rusmi_sources_config *cfg);
/* Every handshake has ended. */
void rusmi_sources_fini(struct rusmi_sources *sources);

/*
 * One more begins, of link, from an address that was proven, or (NULL) was not. NULL if its party
 * has or had as many as it may, or without memory.
 */
struct rusmi_handshake *rusmi_sources_begin(struct rusmi_sources *sources,
                                            const struct rusmi_address *proven, rusm_time now);
/* It belongs to link, which ends it before it is freed. */
void rusmi_sources_own(struct rusmi_sources *sources, struct rusmi_handshake *handshake,
                       struct rusmi_link *link);
/* It has ended, or is finished: then it was none that its party is charged for. Freed. */
void rusmi_sources_end(struct rusmi_sources *sources, struct rusmi_handshake *handshake,
                       bool finished);
/* While more are open than may be: the link, held, whose handshake gives way. It has its place no
 * more, and is the caller's to close. Else NULL. Each has an owner. */
struct rusmi_link *rusmi_sources_give_way(struct rusmi_sources *sources);
/* Whether a datagram of that address may be answered now; counts it as answered. */
bool rusmi_sources_may_answer(struct rusmi_sources *sources, const struct rusmi_address *address,
                              rusm_time now);

#endif
