/* SPDX-License-Identifier: MIT */
/*
 * The core's outside: making and freeing it, events, the clock, lookups, and the invariant that is
 * checked after every call in debug builds:
 *
 *   1. every conn is in core->conns, in the list of its state, and never CLOSED there
 *   2. a conn is in the peer table if and only if it is UP and not hidden, under its own name
 *   3. no two peers share a name or an incarnation, and none has ours
 *   4. an UP conn has no dial waiting, a conn that is not UP has no request and no claim
 *   5. every conn that is neither DIALING nor UP has a deadline
 *   6. an address that is wanted is being dialled, or has a deadline, or its node is up, or it is
 *      our own (core_mesh.c)
 */
#include "cluster/core.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "cluster/core_state.h"

#include <stdio.h>
#include <string.h>

static bool config_valid(const struct rusmi_core_config *cfg)
{
    return rusmi_name_valid(cfg->cluster, strlen(cfg->cluster)) &&
           rusmi_name_valid(cfg->name, strlen(cfg->name)) && cfg->incarnation != 0 &&
           strlen(cfg->address) <= RUSMI_WIRE_ADDRESS_MAX && cfg->hello_ms != 0 &&
           cfg->tick_ms != 0 && cfg->peers_max != 0 && cfg->names_max != 0 &&
           cfg->requests_max != 0 && cfg->groups_max != 0 &&
           cfg->version_max <= RUSMI_PROTOCOL_VERSION;
}

rusm_err rusmi_core_new(struct rusmi_core **out_core, const struct rusmi_core_config *cfg)
{
    struct rusmi_core *core;

    if (!config_valid(cfg)) {
        return RUSM_EINVAL;
    }
    core = rusmi_zalloc(sizeof(struct rusmi_core));
    if (core == NULL) {
        return RUSM_ENOMEM;
    }
    core->cfg = *cfg;
    (void)snprintf(core->cluster, sizeof(core->cluster), "%s", cfg->cluster);
    (void)snprintf(core->name, sizeof(core->name), "%s", cfg->name);
    (void)snprintf(core->address, sizeof(core->address), "%s", cfg->address);
    (void)snprintf(core->software, sizeof(core->software), "%s", cfg->software);
    core->cfg.mesh = cfg->mesh && cfg->role == RUSMI_ROLE_MEMBER;
    core->cfg.reconnect_max_ms = cfg->role == RUSMI_ROLE_MEMBER ? cfg->reconnect_max_ms : 0;
    core->cfg.version_max = cfg->version_max == 0 ? RUSMI_PROTOCOL_VERSION : cfg->version_max;
    core->cfg.cluster = core->cluster;
    core->cfg.name = core->name;
    core->cfg.address = core->address;
    core->cfg.software = core->software;
    rusmi_map_init(&core->conns, cfg->map_seed[0], cfg->map_seed[1]);
    rusmi_map_init(&core->peers_by_name, cfg->map_seed[0], cfg->map_seed[1]);
    rusmi_map_init(&core->peers_by_incarnation, cfg->map_seed[0], cfg->map_seed[1]);
    rusmi_map_init(&core->requests, cfg->map_seed[0], cfg->map_seed[1]);
    rusmi_map_init(&core->owners, cfg->map_seed[0], cfg->map_seed[1]);
    rusmi_map_init(&core->asks, cfg->map_seed[0], cfg->map_seed[1]);
    rusmi_list_init(&core->asks_settle);
    rusmi_list_init(&core->handshakes);
    rusmi_list_init(&core->links);
    rusmi_list_init(&core->dead);
    rusmi_roster_init(&core->peers);
    rusmi_roster_init(&core->own_claims);
    rusmi_deadlines_init(&core->deadlines);
    rusmi_names_init(&core->names, cfg->map_seed);
    rusmi_claimant_init(&core->self, core->name, cfg->incarnation, 0);
    rusmi_memberships_init(&core->memberships, cfg->map_seed);
    rusmi_holder_init(&core->holder);
    rusmi_roster_init(&core->own_members);
    if (!rusmi_mesh_init(core)) {
        rusmi_core_del(core);
        return RUSM_ENOMEM;
    }
    *out_core = core;
    return RUSM_OK;
}

/* Free the conns that are closed, but for those whose members are still being forgotten. */
static void reap(struct rusmi_core *core)
{
    struct rusmi_list *node = core->dead.next, *next;

    for (; node != &core->dead; node = next) {
        struct conn *conn = rusmi_container(node, struct conn, in_state);

        next = node->next;
        if (conn->holder.len == 0) {
            rusmi_conn_del(core, conn);
        }
    }
}

static void reap_all(struct rusmi_core *core)
{
    for (struct rusmi_list *node = core->dead.next; node != &core->dead; node = node->next) {
        rusmi_memberships_drop(&core->memberships,
                               &rusmi_container(node, struct conn, in_state)->holder);
    }
    reap(core);
}

static struct conn *any_conn(struct rusmi_core *core)
{
    struct rusmi_list *list =
        !rusmi_list_empty(&core->handshakes) ? &core->handshakes : &core->links;

    return rusmi_list_empty(list) ? NULL : rusmi_container(list->next, struct conn, in_state);
}

/* Say good-bye to every peer; version 1 has no word for it. */
static void leave_all(struct rusmi_core *core, rusm_time now, struct rusmi_actions *out)
{
    core->shut_down = true;
    rusmi_asks_shut(core, now, out);
    while (!rusmi_list_empty(&core->links)) {
        struct conn *conn = rusmi_container(core->links.next, struct conn, in_state);
        struct rusmi_frame leave = {.type = RUSMI_FRAME_LEAVE};

        if (conn->version < 2 || rusmi_conn_send(core, conn, &leave, now, out)) {
            rusmi_conn_close(core, conn,
                             conn->version < 2 ? RUSMI_CLOSE_SHUTDOWN : RUSMI_CLOSE_LEFT,
                             RUSMI_DOWN_LEFT, now, out, "\"%s\" left the cluster", core->name);
        }
    }
}

static void close_all(struct rusmi_core *core, rusm_time now, struct rusmi_actions *out)
{
    struct conn *conn;

    core->shut_down = true;
    rusmi_asks_shut(core, now, out);
    while ((conn = any_conn(core)) != NULL) {
        rusmi_conn_close(core, conn, RUSMI_CLOSE_SHUTDOWN, RUSMI_DOWN_SHUTDOWN, now, out,
                         "\"%s\" is shutting down", core->name);
    }
    rusmi_mesh_clear(core);
    core->settle = false; /* there is no conn left to settle */
}

void rusmi_core_del(struct rusmi_core *core)
{
    struct rusmi_actions unwanted;

    if (core == NULL) {
        return;
    }
    rusmi_actions_init(&unwanted);
    close_all(core, 0, &unwanted);
    rusmi_actions_fini(&unwanted);
    reap_all(core);
    rusmi_names_forget_own(core);
    rusmi_map_fini(&core->mesh.by_address);
    rusmi_names_fini(&core->names);
    rusmi_groups_forget_own(core);
    rusmi_memberships_fini(&core->memberships);
    rusmi_roster_fini(&core->own_members);
    rusmi_map_fini(&core->conns);
    rusmi_map_fini(&core->peers_by_name);
    rusmi_map_fini(&core->peers_by_incarnation);
    rusmi_map_fini(&core->requests);
    rusmi_map_fini(&core->owners);
    rusmi_map_fini(&core->asks);
    rusmi_roster_fini(&core->peers);
    rusmi_roster_fini(&core->own_claims);
    rusmi_deadlines_fini(&core->deadlines);
    /* Every conn, and with them every dial, request and claim, is gone. */
    rusmi_free(core);
}

uint64_t rusmi_core_conn_id(struct rusmi_core *core)
{
    return ++core->conn_last;
}

#ifndef NDEBUG
static void check_conn(const struct rusmi_core *core, const struct conn *conn)
{
    bool up = conn->state == CONN_UP;

    rusmi_assert(rusmi_conn_find(core, conn->id) == conn);
    rusmi_assert(up || (rusmi_list_empty(&conn->requests) && conn->claimant.len == 0 &&
                        conn->holder.len == 0 && rusmi_list_empty(&conn->asks)));
    rusmi_assert(!up || rusmi_list_empty(&conn->dials));
    rusmi_assert((conn->deadline.place != 0) == (!up && conn->state != CONN_DIALING));
    if (up && !conn->hidden) {
        rusmi_assert(rusmi_peer_find(core, conn->name) == conn);
        rusmi_assert(core->cfg.role != RUSMI_ROLE_MEMBER || strcmp(conn->name, core->name) != 0);
        rusmi_assert(conn->incarnation != core->cfg.incarnation);
    }
    rusmi_assert(conn->state != CONN_PROBING || rusmi_conn_find(core, conn->probe_conn) != NULL);
}

static void check(const struct rusmi_core *core)
{
    size_t conns = 0, members = 0, hidden = 0;

    for (struct rusmi_list *node = core->handshakes.next; node != &core->handshakes;
         node = node->next, conns++) {
        const struct conn *conn = rusmi_container(node, struct conn, in_state);

        rusmi_assert(conn->state != CONN_UP && conn->state != CONN_CLOSED);
        check_conn(core, conn);
    }
    for (struct rusmi_list *node = core->links.next; node != &core->links;
         node = node->next, conns++) {
        const struct conn *conn = rusmi_container(node, struct conn, in_state);

        rusmi_assert(conn->state == CONN_UP);
        check_conn(core, conn);
        members += conn->hidden ? 0 : 1;
        hidden += conn->hidden ? 1 : 0;
    }
    for (const struct rusmi_list *node = core->dead.next; node != &core->dead; node = node->next) {
        const struct conn *conn = rusmi_container(node, struct conn, in_state);

        rusmi_assert(conn->holder.len != 0 && conn->groups_lack.deadline.place != 0);
    }
    rusmi_assert(!core->settle);
    rusmi_assert(core->conns.len == conns && core->stats.hidden == hidden);
    rusmi_assert(core->peers.live == members && core->peers_by_name.len == members &&
                 core->peers_by_incarnation.len == members);
    rusmi_mesh_check(core);
    rusmi_assert(core->own_claims.live + core->asks.len == core->self.len);
    rusmi_assert(core->names.map.len == core->names.roster.live &&
                 core->names.owned <= core->names.map.len);
    rusmi_assert(rusmi_list_empty(&core->asks_settle));
    rusmi_assert(core->own_members.live == core->holder.len);
}
#endif

void rusmi_core_finish(struct rusmi_core *core, rusm_time now, struct rusmi_actions *out)
{
    do {
        rusmi_asks_settle(core, now, out); /* publishes, and so may close conns */
        rusmi_conns_settle(core, now, out);
    } while (!rusmi_list_empty(&core->asks_settle));
    rusmi_mesh_settle(core, now);
    reap(core);
#ifndef NDEBUG
    check(core);
#endif
}

static void expire(struct rusmi_core *core, rusm_time now, struct rusmi_actions *out)
{
    struct rusmi_deadline *first;

    while ((first = rusmi_deadlines_first(&core->deadlines)) != NULL && first->at <= now) {
        switch ((enum deadline_kind)first->kind) {
        case DEADLINE_CONN:
            rusmi_conn_expired(core, rusmi_container(first, struct conn, deadline), now, out);
            break;
        case DEADLINE_DIAL:
            rusmi_dial_expired(core, rusmi_container(first, struct dial, deadline), now, out);
            break;
        case DEADLINE_REQUEST:
            rusmi_request_expired(core, rusmi_container(first, struct pending, deadline), out);
            break;
        case DEADLINE_ASK:
            rusmi_ask_expired(core, first, now, out);
            break;
        case DEADLINE_MORE_NAMES:
            rusmi_deadlines_set(&core->deadlines, first, RUSMI_TIME_NEVER);
            rusmi_names_more(core, rusmi_container(first, struct conn, names_lack.deadline), now,
                             out);
            break;
        case DEADLINE_MORE_GROUPS:
            rusmi_deadlines_set(&core->deadlines, first, RUSMI_TIME_NEVER);
            rusmi_groups_more(core, rusmi_container(first, struct conn, groups_lack.deadline), now,
                              out);
            break;
        case DEADLINE_WANTED:
            rusmi_mesh_expired(core, rusmi_container(first, struct wanted, deadline), now, out);
            break;
        case DEADLINE_GOSSIP:
            rusmi_mesh_gossip(core, now, out);
            break;
        }
        rusmi_conns_settle(core, now, out);
    }
}

rusm_err rusmi_core_step(struct rusmi_core *core, const struct rusmi_core_event *event,
                         rusm_time now, struct rusmi_actions *out)
{
    struct conn *conn = rusmi_conn_find(core, event->conn);
    rusm_err err = RUSM_OK;

    switch (event->kind) {
    case RUSMI_EVENT_AUTHENTICATED:
        err = rusmi_conn_authenticated(core, event, now, out);
        break;
    case RUSMI_EVENT_FRAMES:
        if (conn != NULL) {
            rusmi_conn_frames(core, conn, event->u.frames.bytes, event->u.frames.len, now, out);
        }
        break;
    case RUSMI_EVENT_CLOSED:
        if (conn != NULL) {
            rusmi_conn_lost(core, conn, event, now, out);
        }
        break;
    case RUSMI_EVENT_TIMER:
        expire(core, now, out);
        break;
    case RUSMI_EVENT_SHUTDOWN:
        close_all(core, now, out);
        break;
    case RUSMI_EVENT_LEAVE:
        leave_all(core, now, out);
        close_all(core, now, out);
        break;
    }
    rusmi_core_finish(core, now, out);
    return err;
}

rusm_time rusmi_core_deadline(const struct rusmi_core *core)
{
    const struct rusmi_deadline *first = rusmi_deadlines_first(&core->deadlines);

    return first == NULL ? RUSMI_TIME_NEVER : first->at;
}

rusm_err rusmi_core_disconnect(struct rusmi_core *core, const char *peer, rusm_time now,
                               struct rusmi_actions *out)
{
    struct conn *conn = rusmi_peer_find(core, peer);

    bool wanted = rusmi_mesh_forget(core, peer, now, out);

    if (conn != NULL) {
        conn->apart = true;
        rusmi_conn_close(core, conn, RUSMI_CLOSE_NORMAL, RUSMI_DOWN_DISCONNECTED, now, out,
                         "\"%s\" was asked to close the link", core->name);
    }
    rusmi_core_finish(core, now, out);
    return conn != NULL || wanted ? RUSM_OK : RUSM_ENONODE;
}

void rusmi_core_close(struct rusmi_core *core, uint64_t conn_id, enum rusmi_close_code code,
                      enum rusmi_down_cause cause, const char *text, rusm_time now,
                      struct rusmi_actions *out)
{
    struct conn *conn = rusmi_conn_find(core, conn_id);

    if (conn != NULL) {
        rusmi_conn_close(core, conn, code, cause, now, out, "%s", text);
        rusmi_core_finish(core, now, out);
    }
}

void rusmi_core_flow(struct rusmi_core *core, uint64_t conn_id, const struct rusmi_flow *flow,
                     rusm_time now, struct rusmi_actions *out)
{
    struct conn *conn = rusmi_conn_find(core, conn_id);
    struct rusmi_frame frame = {.type = RUSMI_FRAME_FLOW};

    rusmi_assert((flow->serial != 0) != (flow->name[0] != '\0'));
    if (conn != NULL && conn->state == CONN_UP) {
        frame.u.flow = *flow;
        (void)rusmi_conn_send(core, conn, &frame, now, out);
        rusmi_core_finish(core, now, out);
    }
}

bool rusmi_core_certificate(struct rusmi_core *core, uint64_t conn_id,
                            const struct rusmi_certificate *certificate, rusm_time now,
                            struct rusmi_actions *out)
{
    struct conn *conn = rusmi_conn_find(core, conn_id);
    struct rusmi_frame frame = {.type = RUSMI_FRAME_CERTIFICATE};

    if (conn == NULL || conn->state != CONN_UP || conn->version < 2) {
        return false;
    }
    frame.u.certificate = *certificate;
    (void)rusmi_conn_send(core, conn, &frame, now, out);
    rusmi_core_finish(core, now, out);
    return true;
}

static void fill_owner(const struct rusmi_claim *claim, struct rusmi_core_owner *out_owner)
{
    *out_owner = (struct rusmi_core_owner){
        .name = claim->name->text,
        .node = claim->claimant->node,
        .conn = claim->claimant->conn,
        .pid = {.incarnation = claim->claimant->incarnation, .serial = claim->serial}};
}

bool rusmi_core_whereis(const struct rusmi_core *core, const char *name,
                        struct rusmi_core_owner *out_owner)
{
    const struct rusmi_name *found = rusmi_names_find(&core->names, name, strlen(name));
    const struct rusmi_claim *owner = found == NULL ? NULL : rusmi_name_owner(found);

    if (owner == NULL) {
        return false;
    }
    fill_owner(owner, out_owner);
    return true;
}

bool rusmi_core_name_taken(const struct rusmi_core *core, const char *name,
                           struct rusmi_core_owner *out_owner)
{
    const struct rusmi_name *found = rusmi_names_find(&core->names, name, strlen(name));

    if (found == NULL) {
        return false;
    }
    fill_owner(rusmi_name_first(found), out_owner);
    return true;
}

static void fill_peer(const struct conn *conn, struct rusmi_core_peer *out_peer)
{
    *out_peer = (struct rusmi_core_peer){.name = conn->name,
                                         .address = conn->address,
                                         .listen = conn->listen,
                                         .conn = conn->id,
                                         .incarnation = conn->incarnation,
                                         .features = conn->features,
                                         .version = conn->version,
                                         .role = conn->cert.role,
                                         .dialed = conn->dialed,
                                         .up_since = conn->up_since};
}

bool rusmi_core_find_peer(const struct rusmi_core *core, const char *name,
                          struct rusmi_core_peer *out_peer)
{
    const struct conn *conn = rusmi_peer_find(core, name);

    if (conn == NULL) {
        return false;
    }
    fill_peer(conn, out_peer);
    return true;
}

bool rusmi_core_find_incarnation(const struct rusmi_core *core, uint64_t incarnation,
                                 struct rusmi_core_peer *out_peer)
{
    struct rusmi_map_entry *entry =
        rusmi_map_find(&core->peers_by_incarnation, &incarnation, sizeof(incarnation));

    if (entry == NULL) {
        return false;
    }
    fill_peer(rusmi_container(entry, struct conn, by_incarnation), out_peer);
    return true;
}

/* A page of items; *cursor moves on, and to 0 when nothing is left behind the page. */
static size_t page(const struct rusmi_roster *roster, uint64_t *cursor, void **items,
                   size_t items_max)
{
    uint64_t after = *cursor, last = *cursor;
    size_t place = SIZE_MAX, len = 0;
    void *item = NULL;

    while ((item = rusmi_roster_next(roster, &after, &place)) != NULL && len < items_max) {
        items[len++] = item;
        last = after;
    }
    *cursor = item == NULL ? 0 : last;
    return len;
}

/* Items that are fetched at a time, so that pages need no memory of their own. */
#define PAGE_PIECE ((size_t)32)

size_t rusmi_core_list_names(const struct rusmi_core *core, uint64_t *cursor,
                             struct rusmi_core_owner *owners, size_t owners_max)
{
    size_t len = 0;

    do {
        void *items[PAGE_PIECE];
        size_t want = owners_max - len < PAGE_PIECE ? owners_max - len : PAGE_PIECE;
        size_t got = page(&core->names.roster, cursor, items, want);

        for (size_t i = 0; i < got; i++) {
            const struct rusmi_claim *owner = rusmi_name_owner(items[i]);

            if (owner != NULL) {
                fill_owner(owner, &owners[len++]);
            }
        }
    } while (*cursor != 0 && len < owners_max);
    return len;
}

size_t rusmi_core_list_peers(const struct rusmi_core *core, uint64_t *cursor,
                             struct rusmi_core_peer *peers, size_t peers_max)
{
    size_t len = 0;

    do {
        void *items[PAGE_PIECE];
        size_t want = peers_max - len < PAGE_PIECE ? peers_max - len : PAGE_PIECE;
        size_t got = page(&core->peers, cursor, items, want);

        for (size_t i = 0; i < got; i++) {
            fill_peer(items[i], &peers[len++]);
        }
    } while (*cursor != 0 && len < peers_max);
    return len;
}

void rusmi_core_get_stats(const struct rusmi_core *core, struct rusmi_core_stats *out_stats)
{
    *out_stats = core->stats;
    out_stats->peers = core->peers.live;
    out_stats->groups = core->memberships.members.len - core->holder.len;
    out_stats->names = core->names.owned;
    out_stats->wanted = core->mesh.by_address.len;
}
