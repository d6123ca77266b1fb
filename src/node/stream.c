/* SPDX-License-Identifier: MIT */
#include "node/stream.h"

#include "base/mem.h"
#include "cluster/signal.h"

#include <string.h>

/* ---- out ------------------------------------------------------------------------------------- */

/* The link that the signal is meant for, held; or why there is none. */
static rusm_err find_link(rusm_node *node, const rusm_stream_signal *signal, uint8_t kind,
                          struct rusmi_link **out_link)
{
    struct rusmi_link *link = rusmi_peers_find_incarnation(node, signal->to.incarnation);
    rusm_err err = RUSM_OK;

    if (node->role == RUSM_ROLE_OBSERVER) {
        err = rusm_set_err_detail(RUSM_EPERM, "%s is an observer, which may not send or kill",
                                  node->name);
    } else if (link == NULL) {
        err = rusm_set_err_detail(RUSM_ENONODE, "node %s has no link to the node of the process",
                                  node->name);
    } else if (link->version < rusmi_message_version(kind)) {
        err = rusm_set_err_detail(RUSM_EPROTO, "the node of the process speaks an older protocol");
    } else if (rusm_stream_signal_is_late(signal)) {
        /* After the link was found: a later one is listed only when this is known. */
        err = rusm_set_err_detail(RUSM_ENOLINK, "the link to node %s was lost", link->name);
    }
    if (err == RUSM_OK) {
        *out_link = link;
    } else if (link != NULL) {
        rusmi_link_drop(link);
    }
    return err;
}

/* An offer's body begins with what is offered. */
static rusm_err offer_new(struct rusmi_out **out_out, const struct rusmi_message_head *head,
                          const rusm_stream_signal *signal)
{
    const struct rusmi_stream_offer offer = {signal->writing, signal->capacity, signal->used};
    uint8_t *body = rusmi_alloc(RUSMI_STREAM_OFFER_MAX + signal->len);
    size_t len;
    rusm_err err;

    if (body == NULL) {
        return RUSM_ENOMEM;
    }
    len = rusmi_stream_offer_encode(body, &offer);
    if (signal->len != 0) {
        memcpy(body + len, signal->data, signal->len);
    }
    err = rusmi_out_new(out_out, head, body, len + signal->len);
    rusmi_free(body);
    return err;
}

/* What waits for room, as a message does. Takes out on RUSM_OK. */
static rusm_err queue(struct rusmi_link *link, struct rusmi_out *out,
                      const rusm_stream_signal *signal, int64_t timeout_ms)
{
    uint8_t key[RUSMI_BUSY_KEY_MAX];
    /* The bytes of a stream go into its buffer: no mailbox slows them down. */
    size_t key_len =
        rusmi_busy_key(key, signal->kind == RUSM_STREAM_OFFER ? signal->to.serial : 0, NULL, 0);
    rusm_err err = rusmi_link_send(link, out, key, key_len, timeout_ms);

    if (err == RUSM_ENOLINK) {
        (void)rusm_set_err_detail(err, "the link to node %s was lost", link->name);
    }
    return err;
}

rusm_err rusmi_streams_route(void *arg, const rusm_stream_signal *signal, int64_t timeout_ms)
{
    bool offer = signal->kind == RUSM_STREAM_OFFER;
    bool waits = offer || (signal->kind == RUSM_STREAM_DATA && signal->len != 0);
    struct rusmi_message_head head;
    struct rusmi_link *link;
    struct rusmi_out *out;
    rusm_err err;

    rusmi_stream_signal_head(&head, signal);
    err = find_link(arg, signal, head.kind, &link);
    if (err != RUSM_OK) {
        return err;
    }
    err = offer ? offer_new(&out, &head, signal)
                : rusmi_out_new(&out, &head, signal->data, signal->len);
    if (err == RUSM_OK && waits) {
        err = queue(link, out, signal, timeout_ms);
        if (err != RUSM_OK) {
            rusmi_out_del(out);
        }
    } else if (err == RUSM_OK) {
        rusmi_link_signal(link, out);
    } else if (waits) {
        err =
            rusm_set_err_detail(err, "a message of %zu bytes: %s", signal->len, rusm_err_text(err));
    } else {
        rusmi_link_close(link, RUSMI_CLOSE_MEMORY, "no memory for a signal", 0);
    }
    rusmi_link_drop(link);
    return err;
}

/* ---- in -------------------------------------------------------------------------------------- */

rusm_err rusmi_streams_take(struct rusmi_link *link, const struct rusmi_message_head *head,
                            const rusm_msg *msg, const char **out_why)
{
    rusm_node *node = link->node;
    rusm_stream_signal signal;
    rusm_err err = rusmi_stream_signal_decode(&signal, head, rusm_msg_data(msg), rusm_msg_len(msg),
                                              link->incarnation, node->incarnation, out_why);

    if (err != RUSM_OK) {
        return err;
    }
    err = rusm_stream_deliver(node->runtime, &signal);
    if (err == RUSM_EPROTO) {
        *out_why = rusm_err_detail();
    }
    return err;
}
