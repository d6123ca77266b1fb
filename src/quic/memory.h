/* SPDX-License-Identifier: MIT */
/*
 * The heap as ngtcp2 sees it: every block of a connection is charged to its purse
 * (cluster/budget.h). A peer decides how much that is: streams that it opens, and bytes of them
 * that it sends in an order that leaves gaps, wait inside ngtcp2. What does not fit is refused as
 * memory that ran out is, which ends the connection.
 *
 * Threads: as the connection.
 */
#ifndef RUSMI_QUIC_MEMORY_H
#define RUSMI_QUIC_MEMORY_H

#include <ngtcp2/ngtcp2.h>

#include "cluster/budget.h"

struct rusmi_quic_memory {
    struct rusmi_purse *purse; /* outlives every block; NULL: nothing is charged */
    enum rusmi_budget_need
        need;         /* FAIR: for what came; MUST: for the packets that are being made */
    bool refused;     /* a block did not fit */
    ngtcp2_mem table; /* for ngtcp2; it points here */
};

/* memory stays where it is as long as ngtcp2 uses its table. */
void rusmi_quic_memory_init(struct rusmi_quic_memory *memory, struct rusmi_purse *purse);

#endif
