/* SPDX-License-Identifier: MIT */
/*
 * The endpoint of a node: its listening socket and what arrives there. Datagrams of known
 * connections go to their links; an Initial packet may begin a link, within limits that hold before
 * anything of the peer is believed; all others get the answer that RFC 9000 asks for, or none. Its
 * driver also keeps the core's timer.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "node/groups.h"
#include "node/link.h"
#include "node/link_io.h"
#include "node/memory.h"

#include <errno.h>
#include <string.h>

#define RECEIVE_ROUNDS 16
#define SOCKET_BUFFER  (4 * 1024 * 1024)

/* Datagrams that came to a link's socket before it was connected, and wait for the endpoint. */
#define STRAYS_MAX 1024

struct cid {
    struct rusmi_map_entry entry;
    struct rusmi_link *link; /* a reference */
    size_t len;
    uint8_t data[RUSMI_QUIC_CID_MAX];
};

/* ---- connection ids -------------------------------------------------------------------------- */

void rusmi_cids_add(struct rusmi_link *link, const uint8_t *data, size_t len)
{
    rusm_node *node = link->node;
    struct cid *cid = rusmi_zalloc(sizeof(*cid));

    /* Without memory packets with this id are lost; QUIC goes on with the ids that are known. */
    if (cid == NULL) {
        return;
    }
    rusmi_assert(len <= sizeof(cid->data));
    cid->len = len;
    memcpy(cid->data, data, len);
    rusmi_lock_take(&node->cids_lock);
    if (rusmi_map_find(&node->cids, data, len) == NULL &&
        rusmi_map_insert(&node->cids, &cid->entry, cid->data, cid->len)) {
        cid->link = rusmi_link_hold(link);
        cid = NULL;
    }
    rusmi_lock_give(&node->cids_lock);
    rusmi_free(cid);
}

void rusmi_cids_remove(struct rusmi_link *link, const uint8_t *data, size_t len)
{
    rusm_node *node = link->node;
    struct rusmi_map_entry *entry;
    struct cid *cid = NULL;

    rusmi_lock_take(&node->cids_lock);
    entry = rusmi_map_find(&node->cids, data, len);
    if (entry != NULL) {
        cid = rusmi_container(entry, struct cid, entry);
        if (cid->link == link) {
            rusmi_map_remove(&node->cids, entry);
        } else {
            cid = NULL;
        }
    }
    rusmi_lock_give(&node->cids_lock);
    if (cid != NULL) {
        rusmi_link_drop(cid->link);
        rusmi_free(cid);
    }
}

static struct rusmi_link *cids_find(rusm_node *node, const struct rusmi_quic_cid *dcid)
{
    struct rusmi_map_entry *entry;
    struct rusmi_link *link = NULL;

    rusmi_lock_take(&node->cids_lock);
    entry = rusmi_map_find(&node->cids, dcid->data, dcid->len);
    if (entry != NULL) {
        link = rusmi_link_hold(rusmi_container(entry, struct cid, entry)->link);
    }
    rusmi_lock_give(&node->cids_lock);
    return link;
}

/* ---- datagrams of no connection -------------------------------------------------------------- */

/* Where a datagram came from, and to which address of ours: struct rusmi_datagram. */
struct way {
    const struct rusmi_address *from, *to;
};

static void answer(rusm_node *node, const struct way *way, const uint8_t *data, size_t len)
{
    if (len != 0) {
        /* a lost answer is asked for again */
        (void)rusmi_udp_send_from(node->fd, way->to, way->from, data, len, len);
    }
}

static void refuse_busy(rusm_node *node, const struct rusmi_quic_route *route,
                        const struct way *way, const char *text)
{
    uint8_t buf[RUSMI_QUIC_ANSWER_MAX];

    rusmi_count(&node->counters.refused_full, 1);
    answer(node, way, buf, rusmi_quic_write_refusal(route, RUSMI_QUIC_BUSY, text, buf));
}

/*
 * The place of a handshake that an Initial may begin; NULL: it may not, and is answered. out_proof
 * is set, and *out_proven true, when the peer has shown that it owns its address.
 */
static struct rusmi_handshake *admit(rusm_node *node, const struct rusmi_quic_route *route,
                                     const struct way *way, rusm_time now,
                                     struct rusmi_quic_proof *out_proof, bool *out_proven)
{
    const struct sockaddr *remote = (const struct sockaddr *)&way->from->storage;
    uint8_t buf[RUSMI_QUIC_ANSWER_MAX];
    struct rusmi_handshake *handshake;
    rusm_err err;

    if (atomic_load(&node->hurry)) {
        refuse_busy(node, route, way, "the node is shutting down");
        return NULL;
    }
    err = rusmi_quic_check_token(route, node->quic.secret, remote, way->from->len, now, out_proof);
    *out_proven = err == RUSM_OK;
    if (err == RUSM_EREFUSED) {
        answer(node, way, buf, rusmi_quic_write_refusal(route, RUSMI_QUIC_BAD_TOKEN, NULL, buf));
        return NULL;
    }
    handshake = rusmi_sources_begin(&node->sources, *out_proven ? way->from : NULL, now);
    if (handshake == NULL && *out_proven) {
        refuse_busy(node, route, way, "the node is busy with other handshakes of this address");
    } else if (handshake == NULL) {
        answer(node, way, buf,
               rusmi_quic_write_retry(route, node->quic.secret, remote, way->from->len, buf, now));
    }
    return handshake;
}

/* A link for an Initial packet; NULL if memory is short, which is said if it is the node's own
 * limit, or the node is closing. Held for the
 * caller. The place is the link's, or free again. */
static struct rusmi_link *accept_link(rusm_node *node, const struct rusmi_quic_route *route,
                                      const struct way *way, const struct rusmi_quic_proof *proof,
                                      struct rusmi_handshake *handshake)
{
    struct rusmi_link *link = NULL;
    rusm_err err = RUSM_ECLOSED;

    rusmi_lock_take(&node->lock);
    if (!node->closing) {
        err = rusmi_link_new(&link, node, rusmi_core_conn_id(node->core), false, way->from, way->to,
                             route, proof);
    }
    if (err == RUSM_OK) {
        rusmi_sources_own(&node->sources, handshake, link);
        link->handshake = handshake; /* before the driver is posted, and so before it looks */
        if (rusmi_map_insert(&node->links, &link->by_id, &link->id, sizeof(link->id))) {
            (void)rusmi_link_hold(link);
        } else {
            rusmi_link_close(link, RUSMI_CLOSE_MEMORY, "out of memory", 0);
        }
    }
    rusmi_lock_give(&node->lock);
    if (link == NULL) {
        rusmi_sources_end(&node->sources, handshake, false);
        if (err == RUSM_EFULL) {
            refuse_busy(node, route, way, "the node has no memory for another link");
        }
        return NULL;
    }
    /* Before the next datagram is looked at: it may be of the same peer. */
    rusmi_cids_add(link, route->dcid.data, route->dcid.len);
    return link;
}

/* Others have all places: who came first of those that have most goes. */
static void make_room(rusm_node *node)
{
    struct rusmi_link *link;

    while ((link = rusmi_sources_give_way(&node->sources)) != NULL) {
        rusmi_count(&node->counters.refused_full, 1);
        rusmi_link_close(link, RUSMI_CLOSE_FULL, "the node is busy with other handshakes", 0);
        rusmi_link_drop(link);
    }
}

static void initial(rusm_node *node, const struct rusmi_quic_route *route, const struct way *way,
                    const uint8_t *data, size_t len, rusm_time now)
{
    struct rusmi_quic_proof proof;
    bool proven = false;
    struct rusmi_handshake *handshake = admit(node, route, way, now, &proof, &proven);
    struct rusmi_link *link;

    if (handshake == NULL) {
        return;
    }
    link = accept_link(node, route, way, proven ? &proof : NULL, handshake);
    if (link != NULL) {
        rusmi_link_datagram(link, way->from, data, len);
        rusmi_link_drop(link);
        make_room(node);
    }
}

static void unknown(rusm_node *node, const struct rusmi_quic_route *route, const struct way *way,
                    const uint8_t *data, size_t len, rusm_time now)
{
    uint8_t buf[RUSMI_QUIC_ANSWER_MAX];

    if (route->kind != RUSMI_QUIC_LONG && route->kind != RUSMI_QUIC_GARBAGE &&
        !rusmi_sources_may_answer(&node->sources, way->from, now)) {
        rusmi_count(&node->counters.stray, 1);
        return;
    }
    switch (route->kind) {
    case RUSMI_QUIC_INITIAL:
        initial(node, route, way, data, len, now);
        return;
    case RUSMI_QUIC_VERSION:
        rusmi_count(&node->counters.stray, 1);
        answer(node, way, buf, rusmi_quic_write_versions(route, buf));
        return;
    case RUSMI_QUIC_SHORT:
        rusmi_count(&node->counters.stray, 1);
        answer(node, way, buf, rusmi_quic_write_reset(route, node->quic.secret, buf));
        return;
    case RUSMI_QUIC_LONG:
    case RUSMI_QUIC_GARBAGE:
        rusmi_count(&node->counters.stray, 1);
        return;
    }
}

static void dispatch(rusm_node *node, const struct way *way, const uint8_t *data, size_t len,
                     rusm_time now)
{
    struct rusmi_quic_route route;
    struct rusmi_link *link = NULL;

    rusmi_quic_route(data, len, &route);
    if (route.kind != RUSMI_QUIC_GARBAGE) {
        link = cids_find(node, &route.dcid);
    }
    if (link == NULL) {
        unknown(node, &route, way, data, len, now);
        return;
    }
    rusmi_link_datagram(link, way->from, data, len);
    rusmi_link_drop(link);
}

/* ---- the driver ------------------------------------------------------------------------------ */

void rusmi_endpoint_stray(rusm_node *node, const struct rusmi_address *from,
                          const struct rusmi_address *to, const uint8_t *data, size_t len)
{
    struct rusmi_datagram *datagram = rusmi_alloc(sizeof(*datagram) + len);

    if (datagram == NULL) {
        rusmi_count(&node->counters.stray, 1);
        return;
    }
    datagram->from = *from;
    datagram->to = *to;
    datagram->len = len;
    memcpy(datagram->data, data, len);
    rusmi_list_init(&datagram->node);
    rusmi_lock_take(&node->cids_lock);
    if (node->strays_len < STRAYS_MAX) {
        rusmi_list_push(&node->strays, &datagram->node);
        node->strays_len++;
        datagram = NULL;
    }
    rusmi_lock_give(&node->cids_lock);
    if (datagram != NULL) {
        rusmi_count(&node->counters.stray, 1);
        rusmi_free(datagram);
        return;
    }
    rusmi_endpoint_post(node);
}

static void take_strays(rusm_node *node, rusm_time now)
{
    for (;;) {
        struct rusmi_datagram *datagram;
        struct rusmi_list *first;

        rusmi_lock_take(&node->cids_lock);
        first = rusmi_list_pop(&node->strays);
        node->strays_len -= first != NULL ? 1 : 0;
        rusmi_lock_give(&node->cids_lock);
        if (first == NULL) {
            return;
        }
        datagram = rusmi_container(first, struct rusmi_datagram, node);
        dispatch(node, &(struct way){&datagram->from, &datagram->to}, datagram->data, datagram->len,
                 now);
        rusmi_free(datagram);
    }
}

static void receive(rusm_node *node, rusm_time now)
{
    uint8_t buf[RUSMI_UDP_RECV_MAX];

    for (int round = 0; round < RECEIVE_ROUNDS; round++) {
        struct rusmi_address from, to;
        const struct way way = {&from, &to};
        size_t len = 0, segment = 0;
        int rc = rusmi_udp_recv_to(node->fd, buf, sizeof(buf), &from, &to, &len, &segment);

        if (rc == EAGAIN) {
            return;
        }
        for (size_t at = 0; rc == 0 && at < len; at += segment) {
            dispatch(node, &way, buf + at, len - at < segment ? len - at : segment, now);
        }
    }
}

static void endpoint_run(void *arg, rusm_time now)
{
    rusm_node *node = arg;
    struct rusmi_core_event timer = {.kind = RUSMI_EVENT_TIMER};
    uint64_t deadline, again, trust;

    if (node->fd < 0) {
        return;
    }
    take_strays(node, now);
    receive(node, now);
    if (atomic_load(&node->core_deadline) <= now) {
        (void)rusmi_node_step(node, &timer); /* a TIMER event never fails */
    }
    if (atomic_load(&node->hurry) && atomic_load(&node->links_alive) == 1) {
        (void)!rusm_driver_set_fd(node->endpoint, node->fd, 0); /* taking out can not fail */
        rusmi_udp_close(node->fd);
        node->fd = -1;
        atomic_store(&node->endpoint_done, true);
        rusm_waiter_wake(node->gone); /* which lives until this driver is closed */
        return;
    }
    rusmi_memory_relieve(node);
    rusmi_crowd_drain(node);
    again = rusmi_groups_drain(node, now);
    trust = rusmi_trust_drain(node, now);
    deadline = atomic_load(&node->core_deadline);
    deadline = again < deadline ? again : deadline;
    deadline = trust < deadline ? trust : deadline;
    rusm_driver_set_timer(node->endpoint, deadline == RUSMI_TIME_NEVER ? 0 : deadline);
}

static void endpoint_closed(void *arg)
{
    rusm_node *node = arg;
    rusm_waiter *gone = rusm_waiter_hold(node->gone);

    (void)atomic_fetch_sub(&node->links_alive, 1);
    rusm_waiter_wake(gone);
    rusm_waiter_drop(gone);
}

void rusmi_endpoint_post(rusm_node *node)
{
    rusm_driver_post(node->endpoint);
}

rusm_err rusmi_endpoint_open(rusm_node *node)
{
    struct rusm_driver_config cfg = {.size = sizeof(cfg),
                                     .label = "endpoint",
                                     .run = endpoint_run,
                                     .closed = endpoint_closed,
                                     .arg = node};
    int rc = rusmi_udp_listen(&node->address, SOCKET_BUFFER, &node->fd);
    rusm_err err;

    if (rc == 0) {
        rc = rusmi_udp_local_address(node->fd, &node->address);
    }
    if (rc != 0) {
        if (node->fd >= 0) {
            rusmi_udp_close(node->fd);
            node->fd = -1;
        }
        return rusm_set_err_detail(RUSM_ESYS, "can not listen at %s: %s", node->address_text,
                                   strerror(rc));
    }
    rusmi_address_format(&node->address, node->address_text, sizeof(node->address_text));
    err = rusm_driver_new(&node->endpoint, node->runtime, &cfg);
    if (err != RUSM_OK) {
        rusmi_udp_close(node->fd);
        node->fd = -1;
        return err;
    }
    (void)atomic_fetch_add(&node->links_alive, 1);
    return RUSM_OK;
}

rusm_err rusmi_endpoint_start(rusm_node *node)
{
    rusm_err err = rusm_driver_set_fd(node->endpoint, node->fd, RUSM_FD_READ);

    if (err == RUSM_OK) {
        rusmi_endpoint_post(node);
    }
    return err;
}
