/* SPDX-License-Identifier: MIT */
/*
 * One run of a link's driver: take what others asked for, read, let time pass, fill the outbox,
 * write, set the timer. Everything here is executed by one thread at a time, on the big stack of a
 * scheduler thread. Nothing blocks, and each part is bounded, so that one busy link leaves room for
 * the others: what is left over leads to another run.
 */
#include "node/link_run.h"
#include "cluster/signal.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "node/groups.h"
#include "node/link.h"
#include "node/link_io.h"
#include "node/signal.h"
#include "node/stream.h"

#include <string.h>

/* What QUIC knows of a link (round-trip time, bytes, losses) is published that often at most. */
#define STATS_EVERY_NS ((rusm_time)1000 * 1000)

/* A busy link looks at its socket that often even if the poller has not come to it. */
#define READ_EVERY_NS ((rusm_time)20 * 1000)

/* While the socket is full its readiness drives the link; timers may be late by so much. */
#define FULL_SOCKET_NS ((rusm_time)1000 * 1000)

/* Messages of so many bytes count against mailbox_bytes_max wherever they go. */
#define FAR_MIN 1024

/* A message that arrived before the link was up here: `ready` was overtaken by the messages that
 * followed it. */
struct early {
    struct rusmi_list node;
    struct rusmi_message_head head;
    rusm_msg *msg;
    char name[];
};

/* ---- what QUIC tells ------------------------------------------------------------------------- */

/* Counts what may not be. */
static bool may_deliver(struct rusmi_link *link)
{
    if (!link->open) {
        rusmi_count(&link->node->counters.dropped_link, 1);
        return false;
    }
    if (link->role == RUSM_ROLE_OBSERVER) {
        rusmi_count(&link->node->counters.dropped_role, 1);
        return false;
    }
    return true;
}

static void take_signal(struct rusmi_link *link, const struct rusmi_message_head *head,
                        const rusm_msg *msg)
{
    const char *why = NULL;
    rusm_err err = rusmi_signal_take(link, head, msg, &why);

    if (err != RUSM_OK) {
        rusmi_quic_conn_fail(link->conn, RUSMI_QUIC_PROTOCOL,
                             err == RUSM_ENOMEM  ? RUSMI_CLOSE_MEMORY
                             : err == RUSM_EFULL ? RUSMI_CLOSE_FULL
                                                 : RUSMI_CLOSE_PROTOCOL,
                             why);
    }
}

static rusm_msg_kind message_kind(uint8_t kind)
{
    return kind == RUSMI_MESSAGE_CALL    ? RUSM_MSG_CALL
           : kind == RUSMI_MESSAGE_CAST  ? RUSM_MSG_CAST
           : kind == RUSMI_MESSAGE_REPLY ? RUSM_MSG_REPLY
                                         : RUSM_MSG_DATA;
}

/* A message has been delivered to pid, or nobody got it: count that, or slow the peer. */
static void delivered(struct rusmi_link *link, const struct rusmi_message_head *head, rusm_err err,
                      rusm_pid pid)
{
    rusm_node *node = link->node;

    if (err != RUSM_OK) {
        rusmi_count(err == RUSM_ENONAME ? &node->counters.dropped_noname
                    : err == RUSM_EFULL ? &node->counters.dropped_full
                                        : &node->counters.dropped_noproc,
                    1);
        return;
    }
    /* relaxed: a hint; a mailbox that becomes crowded just now is seen at the next message */
    if (atomic_load_explicit(&node->crowded_len, memory_order_relaxed) != 0) {
        rusmi_gate_leave(link); /* telling the peer takes node->lock */
        rusmi_crowd_delivered(node, link, head->serial,
                              rusmi_message_by_name(head->kind) ? head->name : NULL, head->name_len,
                              pid);
        rusmi_gate_enter(link);
    }
}

static void take_stream(struct rusmi_link *link, const struct rusmi_message_head *head,
                        const rusm_msg *msg)
{
    const char *why = NULL;
    rusm_err err = rusmi_streams_take(link, head, msg, &why);

    if (err == RUSM_EPROTO) {
        rusmi_quic_conn_fail(link->conn, RUSMI_QUIC_PROTOCOL, RUSMI_CLOSE_PROTOCOL, why);
    } else if (head->kind == RUSMI_MESSAGE_STREAM_OFFER) {
        delivered(link, head, err, (rusm_pid){link->node->incarnation, head->serial});
    }
}

static void deliver_now(struct rusmi_link *link, const struct rusmi_message_head *head,
                        rusm_msg *msg)
{
    rusm_node *node = link->node;
    rusm_pid sender = {link->incarnation, head->sender};
    rusm_pid pid = {node->incarnation, head->serial};
    rusm_err err;

    if (!may_deliver(link)) {
        rusm_msg_del(msg);
        return;
    }
    if (link->version < rusmi_message_version(head->kind)) {
        rusmi_quic_conn_fail(link->conn, RUSMI_QUIC_PROTOCOL, RUSMI_CLOSE_PROTOCOL,
                             "a message of a later version than the link's");
        rusm_msg_del(msg);
        return;
    }
    switch (rusmi_message_class(head->kind)) {
    case RUSMI_CLASS_SIGNAL:
        take_signal(link, head, msg);
        rusm_msg_del(msg);
        return;
    case RUSMI_CLASS_STREAM:
        take_stream(link, head, msg);
        rusm_msg_del(msg);
        return;
    case RUSMI_CLASS_MESSAGE:
        break;
    }
#ifdef RUSMI_PLANT_SENDER
    sender.serial = head->serial;
#endif
    rusm_msg_set_sender(msg, head->sender == 0 ? RUSM_PID_NONE : sender);
    /* relaxed: a hint. Small messages count from a crowded mailbox on: fewer than mailbox_high are
     * not worth a count each. */
    if (rusm_msg_len(msg) >= FAR_MIN ||
        atomic_load_explicit(&node->crowded_len, memory_order_relaxed) != 0) {
        rusm_msg_set_far(msg);
    }
    if (head->kind == RUSMI_MESSAGE_TO_GROUP) {
        rusmi_groups_deliver(node, head, msg);
        return;
    }
    if (rusmi_message_by_name(head->kind)) {
        err = rusm_deliver_name(node->runtime, head->name, head->name_len, msg, &pid);
    } else {
        rusm_msg_set_kind(msg, message_kind(head->kind), head->number);
        err = rusm_deliver(node->runtime, head->serial, msg);
    }
    delivered(link, head, err, pid);
    if (err != RUSM_OK) {
        rusm_msg_del(msg);
    }
}

static void keep_early(struct rusmi_link *link, const struct rusmi_message_head *head,
                       rusm_msg *msg)
{
    size_t name_len = rusmi_message_by_name(head->kind) ? head->name_len : 0;
    size_t size = sizeof(struct early) + name_len + rusm_msg_len(msg);
    struct early *early;

    if (!rusmi_purse_take(&link->in, size, RUSMI_BUDGET_FAIR)) {
        rusmi_quic_conn_fail(link->conn, RUSMI_QUIC_INTERNAL, RUSMI_CLOSE_MEMORY,
                             "the node's memory for peers is used up");
        rusm_msg_del(msg);
        return;
    }
    link->early_bytes += size;
    if (link->early_bytes > link->node->quic.window) {
        rusmi_quic_conn_fail(link->conn, RUSMI_QUIC_PROTOCOL, RUSMI_CLOSE_PROTOCOL,
                             "more messages than the window before the link is up");
        rusm_msg_del(msg);
        return;
    }
    early = rusmi_alloc(sizeof(*early) + name_len);
    if (early == NULL) {
        rusmi_count(&link->node->counters.dropped_nomem, 1);
        rusm_msg_del(msg);
        return;
    }
    early->head = *head;
    early->msg = msg;
    if (name_len != 0) {
        memcpy(early->name, head->name, name_len);
        early->head.name = early->name;
    }
    rusmi_list_init(&early->node);
    rusmi_list_push(&link->early, &early->node);
}

static void on_deliver(void *arg, const struct rusmi_message_head *head, rusm_msg *msg)
{
    struct rusmi_link *link = arg;

    if (link->up) {
        deliver_now(link, head, msg);
    } else {
        keep_early(link, head, msg);
    }
}

/* Deliver (or, when the link ended before it was up, drop and count) what came early. */
static void flush_early(struct rusmi_link *link, bool deliver)
{
    struct rusmi_list *node;

    while ((node = rusmi_list_pop(&link->early)) != NULL) {
        struct early *early = rusmi_container(node, struct early, node);

        if (deliver) {
            deliver_now(link, &early->head, early->msg);
        } else {
            rusmi_count(&link->node->counters.dropped_link, 1);
            rusm_msg_del(early->msg);
        }
        rusmi_free(early);
    }
    rusmi_purse_give(&link->in, link->early_bytes);
    link->early_bytes = 0;
}

static void half_open_done(struct rusmi_link *link, bool finished)
{
    if (link->handshake != NULL) {
        rusmi_sources_end(&link->node->sources, link->handshake, finished);
        link->handshake = NULL;
    }
}

static rusm_err boxes_init(struct rusmi_link *link)
{
    struct rusmi_outbox_config out_cfg;
    struct rusmi_inbox_config in_cfg;
    rusm_err err;

    rusmi_outbox_config_init(&out_cfg);
    rusmi_inbox_config_init(&in_cfg);
    out_cfg.seed = link->node->links.seed[1] ^ link->id;
    out_cfg.window = (size_t)rusmi_quic_conn_peer_window(link->conn);
    in_cfg.window = (size_t)rusmi_quic_config_granted(&link->node->quic);
    in_cfg.streams_max = (size_t)link->node->quic.streams_max;
    in_cfg.purse = &link->in;
    in_cfg.deliver = on_deliver;
    in_cfg.arg = link;
    err = rusmi_outbox_init(&link->outbox, &out_cfg);
    if (err != RUSM_OK) {
        return err;
    }
    err = rusmi_inbox_init(&link->inbox, &in_cfg);
    if (err != RUSM_OK) {
        (void)rusmi_outbox_fini(&link->outbox);
        return err;
    }
    link->boxes = true;
    rusmi_quic_conn_set_boxes(link->conn, &link->outbox, &link->inbox);
    return RUSM_OK;
}

/* Feed the core, outside the gate: it may have this very link cut. */
static rusm_err step(struct rusmi_link *link, const struct rusmi_core_event *event)
{
    rusm_err err;

    rusmi_gate_leave(link);
    err = rusmi_node_step(link->node, event);
    rusmi_gate_enter(link);
    return err;
}

static rusm_err on_authenticated(void *arg, const struct rusmi_peer_identity *peer)
{
    struct rusmi_link *link = arg;
    struct rusmi_core_cert cert = {.role = (enum rusmi_role)peer->role, .shared = peer->shared};
    char address[RUSM_ADDRESS_MAX];
    struct rusmi_core_event event = {.kind = RUSMI_EVENT_AUTHENTICATED, .conn = link->id};
    rusm_err err = rusmi_memory_open_boxes(link);

    if (err != RUSM_OK) {
        rusmi_count(&link->node->counters.refused_full, 1);
        rusmi_quic_conn_close(link->conn, RUSMI_CLOSE_FULL, rusm_err_detail());
        return err;
    }
    err = boxes_init(link);
    if (err != RUSM_OK) {
        return rusm_set_err_detail(
            err, err == RUSM_EPROTO ? "the window that the peer grants is smaller than two messages"
                                    : "no memory for a link");
    }
    rusmi_gate_leave(link);
    err = rusmi_trust_begin(link, peer, rusmi_quic_conn_binding(link->conn));
    rusmi_gate_enter(link);
    if (err != RUSM_OK) {
        return err;
    }
    half_open_done(link, true);
    link->peer = *peer;
    link->peer.der = NULL; /* the session's; ours is in link->trust */
    link->authenticated = true;
    rusmi_count(&link->node->counters.handshakes, 1);
    rusmi_link_promote(link);
    memcpy(cert.cluster, peer->cluster, sizeof(cert.cluster));
    memcpy(cert.node, peer->node, sizeof(cert.node));
    rusmi_address_format(&link->remote, address, sizeof(address));
    event.u.authenticated.dialed = link->dialed;
    event.u.authenticated.cert = &cert;
    event.u.authenticated.address = address;
    return step(link, &event);
}

static rusm_err on_control(void *arg, const uint8_t *data, size_t len)
{
    struct rusmi_link *link = arg;
    struct rusmi_core_event event = {.kind = RUSMI_EVENT_FRAMES, .conn = link->id};

    event.u.frames.bytes = data;
    event.u.frames.len = len;
    return step(link, &event);
}

static void on_cid_new(void *arg, const uint8_t *cid, size_t cid_len)
{
    struct rusmi_link *link = arg;

    if (!link->dialed) {
        rusmi_cids_add(link, cid, cid_len);
    }
}

static void on_cid_retire(void *arg, const uint8_t *cid, size_t cid_len)
{
    struct rusmi_link *link = arg;

    if (!link->dialed) {
        rusmi_cids_remove(link, cid, cid_len);
    }
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static rusm_err begin(struct rusmi_link *link, rusm_time now)
{
    struct rusmi_quic_events events = {.authenticated = on_authenticated,
                                       .control = on_control,
                                       .cid_new = on_cid_new,
                                       .cid_retire = on_cid_retire,
                                       .arg = link,
                                       .purse = &link->in};
    struct rusmi_quic_config cfg;
    struct rusmi_address local = link->local;
    struct rusmi_quic_path path;
    rusm_err err;

    rusmi_trust_config(link, &cfg);
    cfg.udp_payload_fixed = rusmi_address_is_loopback(&link->remote);
    if (link->dialed) {
        err = rusmi_link_open_socket(link, &local);
        if (err != RUSM_OK) {
            rusm_identity_del(cfg.identity);
            return err;
        }
    }
    path = (struct rusmi_quic_path){.local = (const struct sockaddr *)&local.storage,
                                    .local_len = local.len,
                                    .remote = (const struct sockaddr *)&link->remote.storage,
                                    .remote_len = link->remote.len};
    if (link->dialed) {
        err = rusmi_quic_conn_new_client(&link->conn, &cfg, &events, &path, now);
    } else {
        err = rusmi_quic_conn_new_server(&link->conn, &cfg, &events, &path, &link->first,
                                         link->proven ? &link->proof : NULL, now);
    }
    rusm_identity_del(cfg.identity); /* the connection holds it */
    return err;
}

static enum rusmi_down_cause down_cause(enum rusmi_quic_cause cause)
{
    switch (cause) {
    case RUSMI_QUIC_CLOSED_PEER:
        return RUSMI_DOWN_BY_PEER;
    case RUSMI_QUIC_REFUSED_LOCAL:
    case RUSMI_QUIC_REFUSED_PEER:
        return RUSMI_DOWN_TLS;
    case RUSMI_QUIC_TIMEOUT:
        return RUSMI_DOWN_SILENT;
    case RUSMI_QUIC_PROTOCOL:
        return RUSMI_DOWN_PROTOCOL;
    case RUSMI_QUIC_NONE:
    case RUSMI_QUIC_CLOSED_LOCAL:
    case RUSMI_QUIC_TRANSPORT:
    case RUSMI_QUIC_RESET:
    case RUSMI_QUIC_INTERNAL:
        return RUSMI_DOWN_TRANSPORT;
    }
    return RUSMI_DOWN_TRANSPORT;
}

static void count_end(struct rusmi_link *link, enum rusmi_quic_cause cause, uint64_t code)
{
    struct rusmi_node_counters *counters = &link->node->counters;

    if (cause == RUSMI_QUIC_REFUSED_LOCAL) {
        rusmi_count(&counters->refused_auth, 1);
    } else if (cause == RUSMI_QUIC_TIMEOUT && !link->dialed && !link->authenticated) {
        rusmi_count(&counters->timeouts, 1); /* the core counts the others: it knows them */
    } else if (cause == RUSMI_QUIC_PROTOCOL) {
        rusmi_count(&counters->protocol_errors, 1);
    } else if (cause == RUSMI_QUIC_INTERNAL && code == RUSMI_CLOSE_MEMORY) {
        rusmi_count(&counters->closed_memory, 1);
    }
}

/* QUIC says that the peer closed; the core says it as well, with the peer's name. */
static const char *end_text(const struct rusmi_quic_end *end)
{
    static const char said[] = "the peer closed the link";
    size_t len = sizeof(said) - 1;

    if (end->cause != RUSMI_QUIC_CLOSED_PEER || strncmp(end->text, said, len) != 0) {
        return end->text;
    }
    return end->text[len] == ':' ? end->text + len + 2 : "";
}

/* What the inbox has dropped since the last time. */
static void count_dropped(struct rusmi_link *link)
{
    rusmi_count(&link->node->counters.dropped_nomem,
                link->inbox.dropped_nomem_count - link->dropped_told);
    link->dropped_told = link->inbox.dropped_nomem_count;
}

/* Tell the core, once, that the connection has ended. The connection itself may live on to answer
 * late packets. */
static void tell_end(struct rusmi_link *link, const struct rusmi_quic_end *end)
{
    struct rusmi_core_event event = {.kind = RUSMI_EVENT_CLOSED, .conn = link->id};

    if (atomic_exchange(&link->told, true)) {
        return;
    }
    half_open_done(link, false);
    count_end(link, end->cause, end->code);
    rusmi_link_shut_queue(link, true);
    event.u.closed.cause = down_cause(end->cause);
    event.u.closed.code = end->code;
    event.u.closed.err = end->err;
    event.u.closed.text = end_text(end);
    (void)!rusmi_node_step(link->node, &event); /* a CLOSED event never fails */
    rusm_waiter_wake(link->node->gone);
}

/* Give everything back but what other references need; the driver's `closed` follows. */
static void end(struct rusmi_link *link)
{
    rusm_node *node = link->node;

    link->ended = true;
    rusmi_lock_take(&link->lock);
    link->driver_open = false;
    rusmi_lock_give(&link->lock);
    rusmi_link_shut_queue(link, true);
    flush_early(link, false);
    rusmi_link_close_socket(link);
    rusmi_quic_conn_del(link->conn);
    link->conn = NULL;
    if (!link->dialed) {
        rusmi_cids_remove(link, link->first.dcid.data,
                          link->first.dcid.len); /* the endpoint's, if QUIC never had it */
    }
    if (link->boxes) {
        rusmi_count(&node->counters.messages_sent, atomic_exchange(&link->stat_sent, 0));
        rusmi_count(&node->counters.messages_received, atomic_exchange(&link->stat_received, 0));
        count_dropped(link);
        rusmi_count(&node->counters.dropped_link,
                    rusmi_outbox_fini(&link->outbox) + link->outbox.lost_count);
        rusmi_inbox_fini(&link->inbox);
        /* relaxed: a statistic that orders nothing */
        atomic_store_explicit(&link->stat_held, 0, memory_order_relaxed);
        link->boxes = false;
    }
    rusmi_link_clear(link);
    rusmi_memory_close(link);
    rusmi_crowd_forget(node, link->id);
    rusm_driver_close(link->driver);
    rusmi_node_forget(link);
}

/* ---- the run --------------------------------------------------------------------------------- */

/* What other threads asked for, taken in one piece. */
struct asked {
    struct rusmi_list datagrams;
    struct rusmi_buf control;
    bool up;
};

/* Datagrams that the endpoint's socket received for this link. */
static void take_datagrams(struct rusmi_link *link, struct rusmi_list *taken, rusm_time now)
{
    struct rusmi_list *node;

    while ((node = rusmi_list_pop(taken)) != NULL) {
        struct rusmi_datagram *datagram = rusmi_container(node, struct rusmi_datagram, node);

        rusmi_link_feed(link, &datagram->from, datagram->data, datagram->len, datagram->len, now);
        rusmi_free(datagram);
    }
}

/* Hand queued control bytes to QUIC. */
static void take_control(struct rusmi_link *link, struct rusmi_buf *control)
{
    if (control->len != 0) {
        rusm_err err =
            rusmi_quic_conn_send_control(link->conn, rusmi_buf_head(control), control->len);

        if (err == RUSM_EFULL || err == RUSM_ENOMEM) {
            rusmi_count(&link->node->counters.closed_slow, err == RUSM_EFULL ? 1 : 0);
            rusmi_quic_conn_close(link->conn, RUSMI_CLOSE_MEMORY,
                                  "too many control bytes wait for the peer");
        }
    }
    rusmi_buf_fini(control);
}

/*
 * Take what was asked for since the last time. `attention` is cleared first: whoever asks
 * afterwards sets it again and posts the driver.
 */
static void take_asked(struct rusmi_link *link, rusm_time now)
{
    struct rusmi_list *node;
    struct asked asked;

    if (atomic_load(&link->attention) == 0 || atomic_exchange(&link->attention, 0) == 0) {
        return;
    }
    rusmi_list_init(&asked.datagrams);
    rusmi_lock_take(&link->lock);
    while ((node = rusmi_list_pop(&link->datagrams)) != NULL) {
        rusmi_list_push(&asked.datagrams, node);
    }
    rusmi_purse_give(&link->out, link->datagrams_bytes);
    link->datagrams_len = link->datagrams_bytes = 0;
    asked.control = link->control;
    link->owner_charged += asked.control.len;
    rusmi_buf_init(&link->control);
    asked.up = link->up_asked;
    link->close_wanted = link->close_asked;
    link->flush_wanted = link->flush_until;
    rusmi_lock_give(&link->lock);
    take_datagrams(link, &asked.datagrams, now);
    take_control(link, &asked.control);
    if (asked.up && !link->up) {
        link->up = true;
        flush_early(link, true);
    }
}

/* Close when asked to; with a grace period, only once nothing waits for the peer any more. */
static void close_if_asked(struct rusmi_link *link, rusm_time now)
{
    bool drained;

    if (link->closing) {
        return;
    }
    if (atomic_load(&link->node->hurry)) {
        link->closing = true;
        rusmi_quic_conn_close(link->conn, RUSMI_CLOSE_SHUTDOWN, "the node is shutting down");
        return;
    }
    if (!link->close_wanted) {
        return;
    }
    drained = atomic_load(&link->queue_len) == 0 && rusmi_quic_conn_is_quiet(link->conn);
    if (!drained && now < link->flush_wanted &&
        rusmi_quic_conn_state(link->conn) == RUSMI_QUIC_UP) {
        return;
    }
    if (!drained && link->up && link->flush_wanted != 0) {
        atomic_store(&link->node->undrained, true); /* before link->told */
    }
    link->closing = true;
    rusmi_quic_conn_close(link->conn, link->close_code,
                          link->close_text); /* constant once close_asked is set */
}

static void set_timer(struct rusmi_link *link, rusm_time now)
{
    rusm_time deadline = rusmi_quic_conn_deadline(link->conn);

    if (!link->closing && link->flush_wanted > now && link->flush_wanted < deadline) {
        deadline = link->flush_wanted;
    }
    if (link->unsent != NULL && deadline < now + FULL_SOCKET_NS) {
        deadline =
            now +
            FULL_SOCKET_NS; /* a write is due, but the socket says when: do not spin until then */
    }
    rusm_driver_set_timer(link->driver, deadline == UINT64_MAX ? 0 : deadline);
}

static void publish_stats(struct rusmi_link *link, rusm_time now)
{
    struct rusmi_quic_stats stats;

    /* relaxed, all of them: statistics that order nothing */
    atomic_store_explicit(&link->stat_memory, link->in.held, memory_order_relaxed);
    if (link->boxes) {
        atomic_store_explicit(&link->stat_sent,
                              link->outbox.acked_count + link->outbox.flight_count +
                                  link->outbox.lost_count,
                              memory_order_relaxed);
        atomic_store_explicit(&link->stat_received, link->inbox.delivered_count,
                              memory_order_relaxed);
        atomic_store_explicit(&link->stat_held,
                              link->inbox.held_bytes - link->inbox.waiting_bytes +
                                  link->early_bytes,
                              memory_order_relaxed);
        if (link->inbox.dropped_nomem_count != link->dropped_told) {
            count_dropped(link);
        }
    }
    if (now - link->stats_at < STATS_EVERY_NS &&
        rusmi_quic_conn_state(link->conn) == RUSMI_QUIC_UP) {
        return;
    }
    link->stats_at = now;
    rusmi_quic_conn_get_stats(link->conn, &stats);
    atomic_store_explicit(&link->stat_rtt_ns, stats.rtt_ns, memory_order_relaxed);
    atomic_store_explicit(&link->stat_lost, stats.packets_lost, memory_order_relaxed);
    atomic_store_explicit(&link->stat_bytes_sent, stats.bytes_sent, memory_order_relaxed);
    atomic_store_explicit(&link->stat_bytes_received, stats.bytes_received, memory_order_relaxed);
    atomic_store_explicit(&link->stat_payload, stats.payload_max, memory_order_relaxed);
    atomic_store_explicit(&link->stat_shrunk, stats.payload_shrunk, memory_order_relaxed);
}

/* Nothing could be begun: the dial fails with the reason in rusm_err_detail(), an accepted link
 * never was. */
static void fail_begin(struct rusmi_link *link, rusm_err err)
{
    struct rusmi_quic_end failure = {.cause = RUSMI_QUIC_INTERNAL, .err = err};
    const char *detail = rusm_err_detail();

    memcpy(failure.text, detail, rusmi_utf8_cut(detail, strlen(detail), sizeof(failure.text) - 1));
    tell_end(link, &failure);
    end(link);
}

/* The node goes: nobody will be there to repeat a CONNECTION_CLOSE that was lost. So it is said
 * now as often as it would be. */
static void say_again(struct rusmi_link *link)
{
    while (rusmi_quic_conn_state(link->conn) == RUSMI_QUIC_CLOSING && link->unsent == NULL) {
        rusm_time at = rusmi_quic_conn_deadline(link->conn);

        (void)rusmi_quic_conn_timer(link->conn, at); /* how it ended is known */
        rusmi_link_write(link, at);
    }
}

void rusmi_link_run(void *arg, rusm_time now)
{
    struct rusmi_link *link = arg;
    const struct rusmi_quic_end *why;

    if (link->ended) {
        return;
    }
    if (link->conn == NULL) {
        rusm_err err = begin(link, now);

        if (err != RUSM_OK) {
            fail_begin(link, err);
            return;
        }
    }
    rusmi_gate_enter(link);
    take_asked(link, now);
    if (rusm_driver_take_ready(link->driver) || now - link->read_at >= READ_EVERY_NS) {
        link->read_at = now;
        rusmi_link_receive(link, now);
    }
    if (rusmi_quic_conn_deadline(link->conn) <= now) {
        (void)rusmi_quic_conn_timer(link->conn, now); /* how it ended is read below */
    }
#ifdef RUSMI_PLANT_SILENT
    if (link->listed && now - link->up_since > 3 * link->node->quic.tick_ns) {
        rusmi_quic_conn_fail(link->conn, RUSMI_QUIC_TIMEOUT, RUSMI_CLOSE_SILENT, "planted");
    }
#endif
    take_asked(link, now); /* reading may have led to control frames */
    rusmi_gate_leave(link);
    rusmi_link_fill_outbox(link);
    close_if_asked(link, now);
    rusmi_link_write(link, now);
    publish_stats(link, now);
    rusmi_memory_look(link->node);
    why = rusmi_quic_conn_end(link->conn);
    if (why->cause != RUSMI_QUIC_NONE) {
        /* Before it is told: who deletes the node waits for just that. */
        bool hurry = atomic_load(&link->node->hurry);

        if (hurry) {
            say_again(link);
        }
        tell_end(link, why);
        if (hurry || rusmi_quic_conn_state(link->conn) == RUSMI_QUIC_CLOSED) {
            end(link);
            return;
        }
    }
    set_timer(link, now);
}
