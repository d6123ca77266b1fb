/* SPDX-License-Identifier: MIT */
/*
 * The life of a link: made, referenced, asked things by other threads, and ended. What its owner
 * does in a run is in link_run.c, what senders do in link_queue.c.
 */
#include "node/link.h"

#include "base/assert.h"
#include "base/mem.h"
#include "node/link_run.h"

#include <stdio.h>
#include <string.h>

/* Datagrams that wait for a link's owner at most; more are dropped, as a full socket buffer would.
 */
#define DATAGRAMS_MAX 256

static void free_datagrams(struct rusmi_list *list)
{
    struct rusmi_list *node;

    while ((node = rusmi_list_pop(list)) != NULL) {
        rusmi_free(rusmi_container(node, struct rusmi_datagram, node));
    }
}

void rusmi_link_clear(struct rusmi_link *link)
{
    struct rusmi_list datagrams;
    struct rusmi_list *node;
    struct rusmi_buf control;

    rusmi_list_init(&datagrams);
    rusmi_lock_take(&link->lock);
    while ((node = rusmi_list_pop(&link->datagrams)) != NULL) {
        rusmi_list_push(&datagrams, node);
    }
    link->datagrams_len = link->datagrams_bytes = 0;
    control = link->control;
    rusmi_buf_init(&link->control);
    rusmi_lock_give(&link->lock);
    free_datagrams(&datagrams);
    rusmi_buf_fini(&control);
    rusmi_free(link->unsent);
    link->unsent = NULL;
}

static void link_free(struct rusmi_link *link)
{
    rusmi_map_each(&link->busy, entry, position, following)
    {
        rusmi_map_remove(&link->busy, entry);
        rusmi_free(rusmi_container(entry, struct rusmi_busy, entry));
    }
    rusmi_map_fini(&link->busy);
    rusmi_trust_fini(&link->trust);
    rusmi_link_clear(link);
    rusmi_memory_close(link);
    rusmi_lock_fini(&link->lock);
    rusmi_free(link);
}

struct rusmi_link *rusmi_link_hold(struct rusmi_link *link)
{
    /* relaxed: whoever holds or finds a link already owns a reference or the table's lock */
    (void)atomic_fetch_add_explicit(&link->refs, 1, memory_order_relaxed);
    return link;
}

void rusmi_link_drop(struct rusmi_link *link)
{
    /* acq_rel: everything done with a reference happens before the free by the last one */
    if (atomic_fetch_sub_explicit(&link->refs, 1, memory_order_acq_rel) == 1) {
        link_free(link);
    }
}

/* The driver is closed: no run comes any more, and no other reference can start one (driver_open is
 * false). */
static void link_closed(void *arg)
{
    struct rusmi_link *link = arg;
    rusm_node *node = link->node;
    rusm_waiter *gone = rusm_waiter_hold(node->gone);

    rusmi_link_drop(link);
    /* After this the node may be freed by rusm_node_del: only `gone`, which is held, is touched. */
    (void)atomic_fetch_sub(&node->links_alive, 1);
    rusm_waiter_wake(gone);
    rusm_waiter_drop(gone);
}

rusm_err rusmi_link_new(struct rusmi_link **out_link, rusm_node *node, uint64_t id, bool dialed,
                        const struct rusmi_address *remote, const struct rusmi_address *source,
                        const struct rusmi_quic_route *first, const struct rusmi_quic_proof *proof)
{
    struct rusm_driver_config cfg = {
        .size = sizeof(cfg), .label = "link", .run = rusmi_link_run, .closed = link_closed};
    struct rusmi_link *link = rusmi_zalloc(sizeof(*link));
    rusm_err err;

    if (link == NULL) {
        return RUSM_ENOMEM;
    }
    atomic_init(&link->refs, 2); /* the caller's and the driver's */
    link->node = node;
    link->id = id;
    link->dialed = dialed;
    link->remote = *remote;
    link->local = node->address;
    if (source != NULL && source->len != 0) {
        link->local = *source;
        rusmi_address_take_port(&link->local, &node->address);
        link->source = link->local;
    }
    link->fd = -1;
    link->driver_open = true;
    rusmi_lock_init(&link->lock);
    rusmi_list_init(&link->blocked);
    rusmi_list_init(&link->blocked_big);
    rusmi_list_init(&link->busy_blocked);
    rusmi_list_init(&link->datagrams);
    rusmi_list_init(&link->early);
    rusmi_list_init(&link->leaving.in_node);
    rusmi_buf_init(&link->control);
    rusmi_map_init(&link->busy, node->links.seed[0], node->links.seed[1]);
    if (first != NULL) {
        link->first = *first;
        link->first.token = NULL; /* it points into a datagram that is not kept */
        link->first.token_len = 0;
    }
    if (proof != NULL) {
        link->proof = *proof;
        link->proven = true;
    }
    cfg.arg = link;
    err = rusmi_memory_open(link);
    if (err != RUSM_OK) {
        link_free(link);
        return err;
    }
    err = rusm_driver_new(&link->driver, node->runtime, &cfg);
    if (err != RUSM_OK) {
        link_free(link);
        return err;
    }
    (void)atomic_fetch_add(&node->links_alive, 1);
    *out_link = link;
    return RUSM_OK;
}

/* Under link->lock, after something was asked for. */
static void post_locked(struct rusmi_link *link)
{
    atomic_store(&link->attention, 1);
    if (link->driver_open) {
        rusm_driver_post(link->driver);
    }
}

void rusmi_link_post(struct rusmi_link *link)
{
    rusmi_lock_take(&link->lock);
    post_locked(link);
    rusmi_lock_give(&link->lock);
}

/* Under link->lock: the first reason stays. */
static void ask_close(struct rusmi_link *link, uint64_t code, const char *text)
{
    if (!link->close_asked) {
        link->close_asked = true;
        link->close_code = code;
        (void)snprintf(link->close_text, sizeof(link->close_text), "%s", text);
    }
}

void rusmi_link_control(struct rusmi_link *link, const uint8_t *data, size_t len)
{
    rusmi_lock_take(&link->lock);
    if (link->driver_open) {
        if (!rusmi_purse_take(&link->out, len, RUSMI_BUDGET_MUST)) {
            ask_close(link, RUSMI_CLOSE_MEMORY, "the node's memory for peers is used up");
        } else if (!rusmi_buf_append(&link->control, data, len)) {
            rusmi_purse_give(&link->out, len);
            ask_close(link, RUSMI_CLOSE_MEMORY, "out of memory");
        }
    }
    post_locked(link);
    rusmi_lock_give(&link->lock);
}

void rusmi_link_close(struct rusmi_link *link, uint64_t code, const char *text, rusm_time flush_ns)
{
    rusmi_link_shut_queue(link, false);
    rusmi_lock_take(&link->lock);
    if (!link->close_asked && flush_ns != 0) {
        link->flush_until = rusm_now() + flush_ns;
    }
    ask_close(link, code, text);
    post_locked(link);
    rusmi_lock_give(&link->lock);
}

void rusmi_link_datagram(struct rusmi_link *link, const struct rusmi_address *from,
                         const uint8_t *data, size_t len)
{
    struct rusmi_datagram *datagram = rusmi_alloc(sizeof(*datagram) + len);

    if (datagram == NULL) {
        rusmi_count(&link->node->counters.stray, 1);
        return;
    }
    datagram->from = *from;
    datagram->to.len = 0; /* the link knows */
    datagram->len = len;
    memcpy(datagram->data, data, len);
    rusmi_list_init(&datagram->node);
    rusmi_lock_take(&link->lock);
    if (link->driver_open && link->datagrams_len < DATAGRAMS_MAX &&
        rusmi_purse_take(&link->out, sizeof(*datagram) + len, RUSMI_BUDGET_FAIR)) {
        rusmi_list_push(&link->datagrams, &datagram->node);
        link->datagrams_len++;
        link->datagrams_bytes += sizeof(*datagram) + len;
        datagram = NULL;
        post_locked(link);
    }
    rusmi_lock_give(&link->lock);
    if (datagram != NULL) {
        rusmi_count(&link->node->counters.stray, 1);
        rusmi_free(datagram);
    }
}
