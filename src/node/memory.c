/* SPDX-License-Identifier: MIT */
#include "node/memory.h"

#include "base/limits.h"
#include "node/link.h"

#include <inttypes.h>

_Static_assert(RUSMI_LINK_STREAMS * 8 + RUSMI_LINK_STREAMS / 8 + RUSMI_FLIGHT_MAX * 2 * 32 <=
                   RUSMI_BOXES_BYTES,
               "what is reserved covers the rings and the table of pairs");

/* Room for traffic that is reserved in each direction, so that it touches no account. */
#define TRAFFIC_BYTES   RUSMI_BUDGET_SLAB

#define HANDSHAKE_BYTES (RUSMI_LINK_BYTES + 2 * TRAFFIC_BYTES)

/* Without memory_max. */
#define DEFAULT_BYTES ((uint64_t)4 * 1024 * 1024 * 1024)

/* With less a message of the largest size would not fit in both directions of one link. */
#define LEAST_BYTES ((uint64_t)8 * RUSM_MESSAGE_MAX)

rusm_err rusmi_memory_limit(const rusm_node_config *cfg, size_t *out_limit)
{
    uint64_t limit = cfg->memory_max == 0 ? DEFAULT_BYTES : cfg->memory_max;

    if (limit < LEAST_BYTES) {
        return rusm_set_err_detail(RUSM_EINVAL,
                                   "memory_max is %" PRIu64
                                   " bytes, and a node needs at least %" PRIu64
                                   " to carry the largest message both ways",
                                   limit, LEAST_BYTES);
    }
    *out_limit = limit < SIZE_MAX / 2 ? (size_t)limit : SIZE_MAX / 2;
    return RUSM_OK;
}

size_t rusmi_memory_streams(size_t limit)
{
    return limit / 8;
}

uint32_t rusmi_memory_handshakes(size_t limit, uint32_t wanted)
{
    size_t room = limit / 8 / HANDSHAKE_BYTES;

    return room < wanted ? (uint32_t)room : wanted;
}

size_t rusmi_memory_window(size_t limit, size_t wanted)
{
    /* What a peer insists on: order.md, "Big and small". */
    size_t least = rusmi_outbox_window_min(RUSM_MESSAGE_MAX);
    size_t window = limit / 16 > least ? limit / 16 : least;

    return window < wanted ? window : wanted;
}

/* Somebody else may have to give way for the next try. */
static rusm_err full(struct rusmi_link *link)
{
    rusmi_memory_look(link->node);
    return rusm_set_err_detail(RUSM_EFULL, "the node's memory for peers (memory_max) is used up");
}

rusm_err rusmi_memory_open(struct rusmi_link *link)
{
    struct rusmi_budget *budget = &link->node->budget;

    if (!rusmi_purse_open(&link->in, budget, RUSMI_LINK_BYTES + TRAFFIC_BYTES)) {
        return full(link);
    }
    if (!rusmi_purse_take(&link->in, RUSMI_LINK_BYTES, RUSMI_BUDGET_FAIR) ||
        !rusmi_purse_open(&link->out, budget, TRAFFIC_BYTES)) {
        rusmi_purse_close(&link->in);
        return full(link);
    }
    return RUSM_OK;
}

rusm_err rusmi_memory_open_boxes(struct rusmi_link *link)
{
    if (!rusmi_purse_raise(&link->in, RUSMI_BOXES_BYTES)) {
        return full(link);
    }
    return rusmi_purse_take(&link->in, RUSMI_BOXES_BYTES, RUSMI_BUDGET_FAIR) ? RUSM_OK : full(link);
}

void rusmi_memory_close(struct rusmi_link *link)
{
    rusmi_purse_close(&link->in);
    /* relaxed: a statistic that orders nothing */
    atomic_store_explicit(&link->stat_memory, 0, memory_order_relaxed);
    rusmi_lock_take(&link->lock);
    rusmi_purse_close(&link->out);
    link->owner_charged = 0;
    rusmi_lock_give(&link->lock);
}

void rusmi_memory_look(rusm_node *node)
{
    if (rusmi_budget_is_pressed(&node->budget)) {
        rusmi_endpoint_post(node);
    }
}

/* The link that holds most of what came from a peer; NULL if none holds more than half a share, or
 * if one that was chosen before is still ending. Under node->lock. */
static struct rusmi_link *greediest(rusm_node *node)
{
    struct rusmi_link *most = NULL;
    uint64_t most_held =
        RUSMI_LINK_BYTES + RUSMI_BOXES_BYTES + TRAFFIC_BYTES + RUSMI_BUDGET_SHARE / 2;

    rusmi_map_each(&node->links, entry, position, following)
    {
        struct rusmi_link *link = rusmi_container(entry, struct rusmi_link, by_id);
        /* relaxed: a statistic that orders nothing */
        uint64_t held = atomic_load_explicit(&link->stat_memory, memory_order_relaxed);

        if (link->gives_way) {
            return NULL;
        }
        if (held > most_held) {
            most_held = held;
            most = link;
        }
    }
    return most;
}

void rusmi_memory_relieve(rusm_node *node)
{
    struct rusmi_link *link;

    if (!rusmi_budget_take_pressed(&node->budget)) {
        return;
    }
    rusmi_lock_take(&node->lock);
    link = greediest(node);
    if (link != NULL) {
        link->gives_way = true;
        rusmi_count(&node->counters.closed_memory, 1);
        rusmi_link_close(link, RUSMI_CLOSE_MEMORY,
                         "the node's memory for peers is used up, and this one holds most of it",
                         0);
    }
    rusmi_lock_give(&node->lock);
}

size_t rusmi_link_memory(struct rusmi_link *link)
{
    size_t out;

    rusmi_lock_take(&link->lock);
    out = link->out.held;
    rusmi_lock_give(&link->lock);
    /* relaxed: a statistic that orders nothing */
    return out + (size_t)atomic_load_explicit(&link->stat_memory, memory_order_relaxed);
}

/* Bytes that wait in the outbox and in QUIC for the peer or its acknowledgement. */
static size_t owner_holds(const struct rusmi_link *link)
{
    size_t holds = link->conn == NULL ? 0 : rusmi_quic_conn_control_pending(link->conn);

    if (link->boxes) {
        const struct rusmi_outbox *outbox = &link->outbox;

        /* What a message says of the order when it starts was charged as overhead before. */
        holds += outbox->queued_bytes + outbox->flight_bytes +
                 outbox->queued_count * RUSMI_QUEUE_OVERHEAD +
                 outbox->flight_count * (RUSMI_QUEUE_OVERHEAD - RUSMI_VARINT_LEN_MAX);
    }
    return holds;
}

void rusmi_memory_settle_locked(struct rusmi_link *link)
{
    size_t holds = owner_holds(link);

    if (holds < link->owner_charged) {
        rusmi_purse_give(&link->out, link->owner_charged - holds);
        link->owner_charged = holds;
    }
}

void rusmi_memory_settle(struct rusmi_link *link)
{
    size_t holds = owner_holds(link);
    size_t paid = link->owner_charged > holds ? link->owner_charged - holds : 0;

    /* Less stays charged, within the floor, until the next messages: a link that exchanges small
     * ones does not take the lock for each. */
    if (paid >= TRAFFIC_BYTES / 2 || (holds == 0 && paid >= TRAFFIC_BYTES / 16)) {
        rusmi_lock_take(&link->lock);
        rusmi_memory_settle_locked(link);
        rusmi_lock_give(&link->lock);
    }
}
