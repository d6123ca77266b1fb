/* SPDX-License-Identifier: MIT */
/*
 * Making and ending a node, and the plain questions about it. See node/node.h for who does what.
 */
#include "node/node.h"

#include <rusm/cluster/membership.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "node/call.h"
#include "node/discover.h"
#include "node/execute.h"
#include "node/groups.h"
#include "node/link.h"
#include "node/memory.h"
#include "node/send.h"
#include "node/signal.h"
#include "platform/random.h"
#include "platform/wall.h"

#include <stdio.h>
#include <string.h>

#define NS_PER_MS ((rusm_time)1000000)

/* rusm_node_del waits so long for links to say good-bye and to flush what they accepted. */
#define CLOSE_WAIT_MS 1500

void rusm_node_config_init(rusm_node_config *cfg)
{
    *cfg = (rusm_node_config){.size = sizeof(*cfg),
                              .listen = "127.0.0.1:0",
                              .tick_ms = 10000,
                              .hello_ms = 5000,
                              .peers_max = 4096,
                              .handshakes_max = 1024,
                              .handshakes_retry = 128,
                              .handshakes_source = 256,
                              .queue_bytes_max = (size_t)1024 * 1024,
                              .signal_bytes_max = (size_t)256 * 1024 * 1024,
                              .names_max = 1048576,
                              .requests_max = 1024,
                              .groups_max = 1048576,
                              .mailbox_high = 8192,
                              .mailbox_bytes_max = (uint64_t)256 * 1024 * 1024,
                              .mesh = true,
                              .members_max = 4096,
                              .reconnect_min_ms = 100,
                              .reconnect_max_ms = 30000,
                              .forget_ms = 600000,
                              .discover_ms = 5000,
                              .watches_max = 1048576};
}

rusm_node *rusm_node_self(void)
{
    rusm_runtime *rt = rusm_runtime_self();

    return rt == NULL ? NULL : rusm_runtime_get_owner(rt);
}

rusm_node *rusmi_node_resolve(rusm_node *node)
{
    if (node == NULL) {
        node = rusm_node_self();
        if (node == NULL) {
            (void)rusm_set_err_detail(RUSM_ENOCONTEXT,
                                      "no node was given, and the caller belongs to none");
        }
    }
    return node;
}

rusm_runtime *rusm_node_runtime(const rusm_node *node)
{
    return node->runtime;
}

const char *rusm_node_name(const rusm_node *node)
{
    return node->name;
}

const char *rusm_node_cluster(const rusm_node *node)
{
    return node->cluster;
}

const char *rusm_node_address(const rusm_node *node)
{
    return node->address_text;
}

/* ---- bind ------------------------------------------------------------------------------------ */

static rusm_err check_membership(const rusm_node_config *cfg)
{
    struct rusmi_address address;

    if (cfg->members_max < 1 || cfg->reconnect_min_ms < 1 || cfg->discover_ms < 10 ||
        (cfg->reconnect_max_ms != 0 && cfg->reconnect_max_ms < cfg->reconnect_min_ms)) {
        return rusm_set_err_detail(RUSM_EINVAL,
                                   "a setting of membership is out of range (members_max and "
                                   "reconnect_min_ms: at least 1; reconnect_max_ms: 0, or at least "
                                   "reconnect_min_ms; discover_ms: at least 10)");
    }
    if (cfg->advertise != NULL && !rusmi_address_parse(cfg->advertise, &address)) {
        return rusm_set_err_detail(
            RUSM_EINVAL,
            "%s can not be advertised: it is no numeric \"IPv4:port\" or \"[IPv6]:port\"",
            cfg->advertise);
    }
    return RUSM_OK;
}

static rusm_err check_config(const rusm_node_config *cfg, struct rusmi_address *out_address)
{
    if (cfg == NULL || cfg->size != sizeof(*cfg) || cfg->identity == NULL || cfg->listen == NULL) {
        return rusm_set_err_detail(
            RUSM_EINVAL, "a node needs an initialised config, an identity and an address");
    }
    if (cfg->tick_ms < 200 || cfg->tick_ms > 3600000 || cfg->hello_ms < 1 || cfg->peers_max < 1 ||
        cfg->handshakes_max < 1 || cfg->handshakes_source < 1 || cfg->names_max < 1 ||
        cfg->requests_max < 1 || cfg->groups_max < 1 || cfg->watches_max < 1 ||
        cfg->mailbox_high < 4 || cfg->queue_bytes_max < 1 || cfg->signal_bytes_max < 1 ||
        cfg->mailbox_bytes_max < 1) {
        return rusm_set_err_detail(RUSM_EINVAL,
                                   "a limit of the node's config is out of range (tick_ms: 200 to "
                                   "3,600,000; all others: at least 1, mailbox_high 4)");
    }
    if (!rusmi_address_parse(cfg->listen, out_address)) {
        return rusm_set_err_detail(
            RUSM_EINVAL, "%s is no numeric address: \"IPv4:port\" or \"[IPv6]:port\"", cfg->listen);
    }
    return check_membership(cfg);
}

/* The node's name: the one asked for, if the certificate allows it. */
static rusm_err choose_name(rusm_node *node, const char *name, const rusm_cert_info *info)
{
    int64_t now = rusmi_wall_s();

    if (now < info->not_before || now > info->not_after) {
        return rusm_set_err_detail(RUSM_ECERT, "the certificate of node %s %s", info->node,
                                   now < info->not_before ? "is not valid yet" : "has expired");
    }
    if (name == NULL) {
        name = info->node;
    }
    if (info->shared && strcmp(name, "*") == 0) {
        return rusm_set_err_detail(RUSM_EINVAL,
                                   "a node with a shared identity needs a name of its own");
    }
    if (!rusmi_name_valid(name, strlen(name))) {
        return rusm_set_err_detail(RUSM_EINVAL, "a node's name has 1 to %d bytes of UTF-8",
                                   RUSM_NAME_MAX);
    }
    if (!info->shared && strcmp(name, info->node) != 0) {
        return rusm_set_err_detail(RUSM_EAUTH, "the certificate is for node %s, not for %s",
                                   info->node, name);
    }
    memcpy(node->name, name, strlen(name) + 1);
    memcpy(node->cluster, info->cluster, sizeof(node->cluster));
    node->role = info->role;
    return RUSM_OK;
}

static void maps_init(rusm_node *node, const uint64_t seed[2])
{
    rusmi_map_init(&node->links, seed[0], seed[1]);
    rusmi_map_init(&node->calls, seed[0], seed[1]);
    rusmi_map_init(&node->factories, seed[0], seed[1]);
    rusmi_map_init(&node->owners, seed[0], seed[1]);
    rusmi_map_init(&node->by_name, seed[0], seed[1]);
    rusmi_map_init(&node->by_incarnation, seed[0], seed[1]);
    rusmi_map_init(&node->cids, seed[0], seed[1]);
    rusmi_map_init(&node->crowded, seed[0], seed[1]);
    rusmi_events_init(node, seed);
    rusmi_map_init(&node->last, seed[0], seed[1]);
    rusmi_sources_init(
        &node->sources, seed,
        &(struct rusmi_sources_config){
            .max = rusmi_memory_handshakes(node->budget.limit, node->cfg.handshakes_max),
            .each = node->cfg.handshakes_source,
            .unproven = node->cfg.handshakes_retry,
            .period = (rusm_time)node->cfg.hello_ms * 1000000});
    rusmi_list_init(&node->todo);
    rusmi_list_init(&node->uncrowded);
    rusmi_list_init(&node->joins);
    rusmi_list_init(&node->leaving);
    rusmi_list_init(&node->strays);
    rusmi_trust_init(&node->trust);
    rusmi_lock_init(&node->lock);
    rusmi_lock_init(&node->peers_lock);
    rusmi_lock_init(&node->cids_lock);
    rusmi_lock_init(&node->crowd_lock);
}

/* Free everything of a node without links and endpoint. */
static void node_free(rusm_node *node)
{
    struct rusmi_list *first;

    rusmi_core_del(node->core);
    rusmi_factories_fini(node);
    rusmi_joins_fini(node);
    while ((first = rusmi_list_pop(&node->todo)) != NULL) {
        rusmi_action_del(rusmi_container(first, struct rusmi_action, link));
    }
    while ((first = rusmi_list_pop(&node->strays)) != NULL) {
        rusmi_free(rusmi_container(first, struct rusmi_datagram, node));
    }
    rusmi_events_fini(node);
    rusmi_signals_fini(node);
    rusmi_map_fini(&node->links);
    rusmi_map_fini(&node->calls);
    rusmi_map_fini(&node->owners);
    rusmi_map_fini(&node->by_name);
    rusmi_map_fini(&node->by_incarnation);
    rusmi_map_fini(&node->cids);
    rusmi_sources_fini(&node->sources);
    rusmi_lock_fini(&node->lock);
    rusmi_lock_fini(&node->peers_lock);
    rusmi_lock_fini(&node->cids_lock);
    rusmi_lock_fini(&node->crowd_lock);
    rusmi_assert(rusmi_budget_used(&node->budget) == 0);
    rusm_waiter_drop(node->gone);
    rusm_identity_del(node->identity);
    rusmi_free(node);
}

/* What the hello says about where we listen: an advertised port of 0 is the real one. */
static void advertised(const rusm_node *node, char *buf, size_t buf_len)
{
    struct rusmi_address address;
    char text[RUSM_ADDRESS_MAX];
    const char *port;

    if (node->cfg.advertise == NULL || !rusmi_address_parse(node->cfg.advertise, &address)) {
        (void)snprintf(buf, buf_len, "%s", node->address_text);
        return;
    }
    rusmi_address_format(&address, text, sizeof(text));
    port = strrchr(text, ':');
    (void)snprintf(buf, buf_len, "%.*s%s", (int)(port - text), text,
                   strcmp(port, ":0") == 0 ? strrchr(node->address_text, ':') : port);
}

static rusm_err core_init(rusm_node *node, const uint64_t seed[2])
{
    char address[RUSM_ADDRESS_MAX];
    struct rusmi_core_config cfg = {.cluster = node->cluster,
                                    .name = node->name,
                                    .incarnation = node->incarnation,
                                    .role = (enum rusmi_role)node->role,
                                    .address = address,
                                    .software = "rusm 0.1",
                                    .hello_ms = node->cfg.hello_ms,
                                    .tick_ms = node->cfg.tick_ms,
                                    .peers_max = node->cfg.peers_max,
                                    .names_max = node->cfg.names_max,
                                    .requests_max = node->cfg.requests_max,
                                    .groups_max = node->cfg.groups_max,
                                    .budget = &node->budget,
                                    .mesh = node->cfg.mesh,
                                    .members_max = node->cfg.members_max,
                                    .reconnect_min_ms = node->cfg.reconnect_min_ms,
                                    .reconnect_max_ms = node->cfg.reconnect_max_ms,
                                    .forget_ms = node->cfg.forget_ms,
                                    .jitter_seed = node->incarnation,
                                    .map_seed = {seed[0], seed[1]}};

    advertised(node, address, sizeof(address));
    return rusmi_core_new(&node->core, &cfg);
}

static rusm_err quic_init(rusm_node *node)
{
    rusmi_quic_config_init(&node->quic);
    node->quic.crl_strict = node->cfg.crl_strict;
    node->quic.wall_s = rusmi_wall_s;
    node->quic.tick_ns = node->cfg.tick_ms * NS_PER_MS;
#ifdef RUSMI_PLANT_TICK
    node->quic.tick_ns *= 3;
#endif
#ifdef RUSMI_PLANT_HASTY
    node->quic.tick_ns /= 40;
#endif
    node->quic.handshake_ns = node->cfg.hello_ms * NS_PER_MS;
    node->quic.window = rusmi_memory_window(node->budget.limit, (size_t)node->quic.window);
    return rusmi_random(node->quic.secret, sizeof(node->quic.secret))
               ? RUSM_OK
               : rusm_set_err_detail(RUSM_ESYS, "the system gives no random numbers");
}

/*
 * Wait until no driver of the node is left. When the endpoint is the last it closes its socket
 * (endpoint.c), but the driver is closed here: who posts it must know that it is still there.
 */
static void wait_gone(rusm_node *node)
{
    while (!atomic_load(&node->endpoint_done)) {
        if (atomic_load(&node->links_alive) == 1) {
            rusmi_endpoint_post(node);
        }
        (void)!rusm_waiter_wait(node->gone, 50); /* a time-out looks again */
    }
    rusm_driver_close(node->endpoint);
    while (atomic_load(&node->links_alive) > 0) {
        (void)!rusm_waiter_wait(node->gone, 50);
    }
}

/*
 * What can fail, in its order. The address, with its real port, is part of the core's hello, so the
 * socket comes first; what arrives before the core is there waits in it, because the endpoint is
 * posted only at the end.
 */
static rusm_err open_parts(rusm_node *node, const char *name, const uint64_t seed[2])
{
    rusm_cert_info info;
    rusm_err err;

    rusm_identity_get_info(node->identity, &info);
    err = choose_name(node, name, &info);
    if (err == RUSM_OK) {
        err = quic_init(node);
    }
    if (err == RUSM_OK) {
        err = rusm_waiter_new(&node->gone);
    }
    if (err == RUSM_OK) {
        err = rusmi_endpoint_open(node);
    }
    if (err != RUSM_OK) {
        return err;
    }
    err = core_init(node, seed);
    if (err == RUSM_OK) {
        err = rusmi_endpoint_start(node);
    }
    if (err != RUSM_OK) {
        atomic_store(&node->hurry, true);
        wait_gone(node);
    }
    return err;
}

rusm_err rusm_node_bind_with(rusm_node **out_node, rusm_runtime *rt, const char *name,
                             const rusm_node_config *cfg)
{
    struct rusmi_address address;
    uint64_t seed[2];
    size_t limit = 0;
    rusm_node *node;
    rusm_err err;

    if (out_node == NULL || rt == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "a node needs a runtime");
    }
    if (rusm_runtime_get_owner(rt) != NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "the runtime is a node already");
    }
    err = check_config(cfg, &address);
    if (err == RUSM_OK) {
        err = rusmi_memory_limit(cfg, &limit);
    }
    if (err != RUSM_OK) {
        return err;
    }
    if (!rusmi_random(seed, sizeof(seed))) {
        return rusm_set_err_detail(RUSM_ESYS, "the system gives no random numbers");
    }
    node = rusmi_zalloc(sizeof(*node));
    if (node == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    node->runtime = rt;
    node->cfg = *cfg;
    rusmi_budget_init(&node->budget, limit - rusmi_memory_streams(limit));
    rusm_runtime_set_offered_max(rt, rusmi_memory_streams(limit));
    maps_init(node, seed);
    node->fd = -1;
    node->address = address;
    node->incarnation = rusm_runtime_incarnation(rt);
    node->identity = rusm_identity_hold(cfg->identity);
    atomic_init(&node->core_deadline, RUSMI_TIME_NEVER);
    (void)snprintf(node->address_text, sizeof(node->address_text), "%s", cfg->listen);
    err = open_parts(node, name, seed);
    if (err != RUSM_OK) {
        node_free(node);
        return err;
    }
    rusmi_crowd_init(node);
    rusmi_router_install(node);
    rusmi_groups_open(node);
    rusm_runtime_set_owner(rt, node);
    *out_node = node;
    return RUSM_OK;
}

rusm_err rusm_node_bind(rusm_node **out_node, rusm_runtime *rt, const char *name,
                        const char *listen, rusm_identity *identity)
{
    rusm_node_config cfg;

    rusm_node_config_init(&cfg);
    cfg.listen = listen;
    cfg.identity = identity;
    return rusm_node_bind_with(out_node, rt, name, &cfg);
}

/* ---- end ------------------------------------------------------------------------------------- */

/* Whether a link has still to hand over messages or to say good-bye. */
static bool links_flushing(rusm_node *node)
{
    bool flushing = false;

    rusmi_lock_take(&node->lock);
    rusmi_map_each(&node->links, entry, position, following)
    {
        flushing |= !atomic_load(&rusmi_container(entry, struct rusmi_link, by_id)->told);
    }
    rusmi_lock_give(&node->lock);
    return flushing;
}

/* Let every link see that the node is in a hurry. */
static void links_post(rusm_node *node)
{
    rusmi_lock_take(&node->lock);
    rusmi_map_each(&node->links, entry, position, following)
    {
        rusmi_link_post(rusmi_container(entry, struct rusmi_link, by_id));
    }
    rusmi_lock_give(&node->lock);
}

rusm_err rusm_node_leave(rusm_node *node, int64_t timeout_ms)
{
    struct rusmi_core_event event = {.kind = RUSMI_EVENT_LEAVE};
    rusm_time until = rusmi_call_deadline(timeout_ms), now;
    rusm_err err = RUSM_OK;
    bool late;

    node = rusmi_node_resolve(node);
    if (node == NULL) {
        return RUSM_ENOCONTEXT;
    }
    rusmi_lock_take(&node->lock);
    now = rusm_now();
    if (node->closing) {
        err = RUSM_ECLOSED;
    } else {
        node->closing = true;
        /* A link that is to close at once still says good-bye. */
        node->leave_ns = until > now ? until - now : 1;
    }
    rusmi_lock_give(&node->lock);
    if (err != RUSM_OK) {
        return rusm_set_err_detail(err, "node %s has left before", node->name);
    }
    (void)rusmi_node_step(node, &event); /* a LEAVE event never fails */
    while (err != RUSM_EKILLED && rusm_now() < until && links_flushing(node)) {
        err = rusm_waiter_wait(node->gone, 10); /* a time-out looks again */
    }
    /* A link that gave up at the same time has ended, too. */
    late = links_flushing(node) || atomic_load(&node->undrained);
    if (err == RUSM_EKILLED) {
        rusm_checkpoint();
    }
    return late ? rusm_set_err_detail(RUSM_ETIMEOUT,
                                      "not everything that was sent was acknowledged in time")
                : RUSM_OK;
}

void rusm_node_del(rusm_node *node)
{
    struct rusmi_core_event event = {.kind = RUSMI_EVENT_SHUTDOWN};
    rusm_time until;

    if (node == NULL) {
        return;
    }
    /* First the processes: none may be inside a call on the node when it goes. */
    while (rusm_runtime_stop(node->runtime, RUSM_INFINITY) != RUSM_OK) {
    }
    rusmi_lock_take(&node->lock);
    node->closing = true;
    rusmi_lock_give(&node->lock);
    (void)rusmi_node_step(node, &event); /* a SHUTDOWN event never fails */
    until = rusm_now() + CLOSE_WAIT_MS * NS_PER_MS;
    while (rusm_now() < until && links_flushing(node)) {
        (void)!rusm_waiter_wait(node->gone, 10); /* a time-out looks again */
    }
    atomic_store(&node->hurry, true);
    links_post(node);
    wait_gone(node);
    rusm_runtime_set_router(node->runtime, NULL, NULL);
    rusmi_groups_close(node);
    rusm_runtime_set_owner(node->runtime, NULL);
    rusmi_crowd_fini(node);
    node_free(node);
}

/* ---- questions ------------------------------------------------------------------------------- */

rusm_err rusm_node_connect(rusm_node *node, const char *address, int64_t timeout_ms, char *out_peer)
{
    struct rusmi_address remote;
    struct rusmi_actions actions;
    struct rusmi_call call;
    char text[RUSM_ADDRESS_MAX];
    rusm_err err;

    node = rusmi_node_resolve(node);
    if (node == NULL) {
        return RUSM_ENOCONTEXT;
    }
    if (address == NULL || !rusmi_address_parse(address, &remote)) {
        return rusm_set_err_detail(RUSM_EINVAL,
                                   "%s is no numeric address: \"IPv4:port\" or \"[IPv6]:port\"",
                                   address == NULL ? "(null)" : address);
    }
    rusmi_address_format(&remote, text,
                         sizeof(text)); /* one spelling, so that dials to it can be shared */
    rusmi_actions_init(&actions);
    rusmi_lock_take(&node->lock);
    err = node->closing ? RUSM_ECLOSED : rusmi_call_begin(node, &call);
    if (err != RUSM_OK) {
        rusmi_lock_give(&node->lock);
        return rusm_set_err_detail(err, "%s", rusm_err_text(err));
    }
    err = rusmi_core_dial(node->core, call.ref, text, rusmi_call_deadline(timeout_ms), rusm_now(),
                          &actions);
    rusmi_node_finish(node, &actions);
    if (err == RUSM_OK) {
        err = rusmi_call_wait(node, &call);
        if (err == RUSM_OK && out_peer != NULL) {
            (void)snprintf(out_peer, RUSM_NAME_MAX + 1, "%s", call.answer->peer);
        }
    } else {
        (void)rusm_set_err_detail(
            err, err == RUSM_EINVAL ? "%s is this node itself" : "%s can not be dialed", text);
    }
    rusmi_call_end(node, &call);
    if (err == RUSM_EKILLED) {
        rusm_checkpoint();
    }
    return err;
}

rusm_err rusm_node_disconnect(rusm_node *node, const char *peer)
{
    struct rusmi_actions actions;
    rusm_err err;

    node = rusmi_node_resolve(node);
    if (node == NULL) {
        return RUSM_ENOCONTEXT;
    }
    if (peer == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "no node was named");
    }
    rusmi_actions_init(&actions);
    rusmi_lock_take(&node->lock);
    err = rusmi_core_disconnect(node->core, peer, rusm_now(), &actions);
    rusmi_node_finish(node, &actions);
    if (err != RUSM_OK) {
        return rusm_set_err_detail(err, "node %s has no link to node %s", node->name, peer);
    }
    return RUSM_OK;
}
