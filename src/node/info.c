/* SPDX-License-Identifier: MIT */
/* Looking at a node: its peers and its counters. */
#include "node/link.h"

#include <string.h>

/* relaxed: statistics that order nothing */
static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* What a record shows beside what the core knows. Under node->lock. */
static void fill(rusm_node *node, const struct rusmi_core_peer *peer, rusm_peer_info *info,
                 rusm_time now)
{
    struct rusmi_map_entry *entry = rusmi_map_find(&node->links, &peer->conn, sizeof(peer->conn));

    *info = (rusm_peer_info){
        .incarnation = peer->incarnation,
        .role = (rusm_role)peer->role,
        .dialed = peer->dialed,
        .up_ms = now > peer->up_since ? (int64_t)((now - peer->up_since) / 1000000) : 0};
    memcpy(info->name, peer->name, strlen(peer->name) + 1);
    memcpy(info->address, peer->address, strlen(peer->address) + 1);
    memcpy(info->listen, peer->listen, strlen(peer->listen) + 1);
    if (entry != NULL) {
        struct rusmi_link *link = rusmi_container(entry, struct rusmi_link, by_id);

        info->rtt_us = get(&link->stat_rtt_ns) / 1000;
        info->packets_lost = get(&link->stat_lost);
        info->messages_sent = get(&link->stat_sent);
        info->messages_received = get(&link->stat_received);
        info->bytes_sent = get(&link->stat_bytes_sent);
        info->bytes_received = get(&link->stat_bytes_received);
        info->held_bytes = get(&link->stat_held);
        info->memory_bytes = rusmi_link_memory(link);
        info->cert_not_after = link->cert_not_after;
        info->payload_max = get(&link->stat_payload);
        info->payload_shrunk = get(&link->stat_shrunk);
        info->queue_bytes = rusmi_link_queued(link);
    }
}

ptrdiff_t rusm_peer_list(rusm_node *node, uint64_t *cursor, rusm_peer_info *infos, size_t infos_max)
{
    enum {
        STEP = 32
    };
    struct rusmi_core_peer peers[STEP];
    size_t done = 0, got;

    node = rusmi_node_resolve(node);
    if (node == NULL) {
        return RUSM_ENOCONTEXT;
    }
    if (cursor == NULL || infos == NULL || infos_max == 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "a list needs a cursor and room for records");
    }
    do {
        size_t want = infos_max - done < STEP ? infos_max - done : STEP;
        rusm_time now = rusm_now();

        rusmi_lock_take(&node->lock);
        got = rusmi_core_list_peers(node->core, cursor, peers, want);
        for (size_t i = 0; i < got; i++) {
            fill(node, &peers[i], &infos[done + i], now);
        }
        rusmi_lock_give(&node->lock);
        done += got;
    } while (*cursor != 0 && got != 0 && done < infos_max);
    return (ptrdiff_t)done;
}

rusm_err rusm_node_get_stats(rusm_node *node, rusm_node_stats *out_stats)
{
    const struct rusmi_node_counters *counters;
    struct rusmi_core_stats core;
    rusm_node_stats stats = {0};
    size_t streams_peak;

    node = rusmi_node_resolve(node);
    if (node == NULL) {
        return RUSM_ENOCONTEXT;
    }
    if (out_stats == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "there is nowhere to put the counters");
    }
    counters = &node->counters;
    rusmi_lock_take(&node->lock);
    rusmi_core_get_stats(node->core, &core);
    stats.messages_sent = get(&counters->messages_sent);
    stats.messages_received = get(&counters->messages_received);
    rusmi_map_each(&node->links, entry, position, following)
    {
        struct rusmi_link *link = rusmi_container(entry, struct rusmi_link, by_id);

        stats.messages_sent += get(&link->stat_sent);
        stats.messages_received += get(&link->stat_received);
        stats.held_bytes += get(&link->stat_held);
        stats.queue_bytes += rusmi_link_queued(link);
    }
    rusmi_lock_give(&node->lock);
    stats.dropped_noname = get(&counters->dropped_noname);
    stats.dropped_noproc = get(&counters->dropped_noproc);
    stats.dropped_full = get(&counters->dropped_full);
    stats.dropped_role = get(&counters->dropped_role);
    stats.dropped_nomem = get(&counters->dropped_nomem);
    stats.dropped_link = get(&counters->dropped_link);
    stats.closed_slow = get(&counters->closed_slow);
    stats.closed_memory = get(&counters->closed_memory);
    stats.handshakes = get(&counters->handshakes);
    stats.refused_auth = get(&counters->refused_auth) + core.refused_auth;
    stats.refused_full = get(&counters->refused_full) + core.refused_full;
    stats.refused_duplicate = core.refused_duplicate;
    stats.protocol_errors = get(&counters->protocol_errors) + core.protocol_errors;
    stats.timeouts = get(&counters->timeouts) + core.timeouts;
    stats.datagrams_stray = get(&counters->stray);
    stats.members_refused = core.members_refused;
    stats.groups_refused = core.groups_refused;
    stats.names_refused = core.names_refused;
    stats.names_conflicts = core.names_conflicts;
    stats.crl_stale = get(&counters->crl_stale);
    stats.certs_refused = get(&counters->certs_refused);
    stats.memory_bytes = rusm_runtime_offered(node->runtime, &streams_peak);
    stats.memory_bytes += rusmi_budget_used(&node->budget);
    stats.memory_peak = streams_peak + rusmi_budget_peak(&node->budget);
    stats.memory_refused = rusmi_budget_refused(&node->budget);
    *out_stats = stats;
    return RUSM_OK;
}
