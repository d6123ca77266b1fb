/* SPDX-License-Identifier: MIT */
/*
 * How many handshakes the peers of one network address have begun and not finished, so that one
 * host can not take the places of all others (docs/design/hostile.md).
 *
 * Only peers that have proven their address (RFC 9000 8.1.2) are counted: an address that is merely
 * written into a packet would let a stranger use up the places of somebody else. Those without a
 * proof have the places below handshakes_retry, and no more.
 *
 * Never more entries than handshakes that are open. Threads: any; takes a lock of its own.
 */
#ifndef RUSMI_NODE_SOURCES_H
#define RUSMI_NODE_SOURCES_H

#include "base/map.h"
#include "platform/lock.h"
#include "platform/udp.h"

struct rusmi_sources {
    struct rusmi_lock lock;
    struct rusmi_map open; /* under lock */
    uint32_t max;
};

void rusmi_sources_init(struct rusmi_sources *sources, const uint64_t seed[2], uint32_t max);
/* Every handshake has ended. */
void rusmi_sources_fini(struct rusmi_sources *sources);
/* One more of that address; false if it has as many as it may, or without memory. */
bool rusmi_sources_take(struct rusmi_sources *sources, const struct rusmi_address *address);
/* One that was taken has ended or is finished. */
void rusmi_sources_give(struct rusmi_sources *sources, const struct rusmi_address *address);

#endif
