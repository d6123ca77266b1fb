/* SPDX-License-Identifier: MIT */
#include "cluster/signal.h"

#include "cluster/reason.h"

/* Of each kind of message its class, and the kind of signal that it is. */
static const struct {
    uint8_t what, kind;
} kinds[] = {
    [RUSMI_MESSAGE_LINK] = {RUSMI_CLASS_SIGNAL, RUSM_SIGNAL_LINK},
    [RUSMI_MESSAGE_UNLINK] = {RUSMI_CLASS_SIGNAL, RUSM_SIGNAL_UNLINK},
    [RUSMI_MESSAGE_UNLINKED] = {RUSMI_CLASS_SIGNAL, RUSM_SIGNAL_UNLINKED},
    [RUSMI_MESSAGE_MONITOR] = {RUSMI_CLASS_SIGNAL, RUSM_SIGNAL_MONITOR},
    [RUSMI_MESSAGE_DEMONITOR] = {RUSMI_CLASS_SIGNAL, RUSM_SIGNAL_DEMONITOR},
    [RUSMI_MESSAGE_EXIT] = {RUSMI_CLASS_SIGNAL, RUSM_SIGNAL_EXIT},
    [RUSMI_MESSAGE_DOWN] = {RUSMI_CLASS_SIGNAL, RUSM_SIGNAL_DOWN},
    [RUSMI_MESSAGE_ASK_EXIT] = {RUSMI_CLASS_SIGNAL, RUSM_SIGNAL_ASK_EXIT},
    [RUSMI_MESSAGE_BORN_LINKED] = {RUSMI_CLASS_SIGNAL, RUSM_SIGNAL_BORN_LINKED},
    [RUSMI_MESSAGE_BORN_WATCHED] = {RUSMI_CLASS_SIGNAL, RUSM_SIGNAL_BORN_WATCHED},
    [RUSMI_MESSAGE_STOP] = {RUSMI_CLASS_SIGNAL, RUSM_SIGNAL_STOP},
    [RUSMI_MESSAGE_STREAM_OFFER] = {RUSMI_CLASS_STREAM, RUSM_STREAM_OFFER},
    [RUSMI_MESSAGE_STREAM_DATA] = {RUSMI_CLASS_STREAM, RUSM_STREAM_DATA},
    [RUSMI_MESSAGE_STREAM_CREDIT] = {RUSMI_CLASS_STREAM, RUSM_STREAM_CREDIT},
    [RUSMI_MESSAGE_STREAM_END] = {RUSMI_CLASS_STREAM, RUSM_STREAM_END},
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

enum rusmi_message_class rusmi_message_class(uint8_t kind)
{
    return kind < KINDS ? (enum rusmi_message_class)kinds[kind].what : RUSMI_CLASS_MESSAGE;
}

/* ---- out ------------------------------------------------------------------------------------- */

static const uint8_t of_signal[] = {
    [RUSM_SIGNAL_LINK] = RUSMI_MESSAGE_LINK,
    [RUSM_SIGNAL_UNLINK] = RUSMI_MESSAGE_UNLINK,
    [RUSM_SIGNAL_UNLINKED] = RUSMI_MESSAGE_UNLINKED,
    [RUSM_SIGNAL_MONITOR] = RUSMI_MESSAGE_MONITOR,
    [RUSM_SIGNAL_DEMONITOR] = RUSMI_MESSAGE_DEMONITOR,
    [RUSM_SIGNAL_EXIT] = RUSMI_MESSAGE_EXIT,
    [RUSM_SIGNAL_DOWN] = RUSMI_MESSAGE_DOWN,
    [RUSM_SIGNAL_ASK_EXIT] = RUSMI_MESSAGE_ASK_EXIT,
    [RUSM_SIGNAL_BORN_LINKED] = RUSMI_MESSAGE_BORN_LINKED,
    [RUSM_SIGNAL_BORN_WATCHED] = RUSMI_MESSAGE_BORN_WATCHED,
    [RUSM_SIGNAL_STOP] = RUSMI_MESSAGE_STOP,
};

static const uint8_t of_stream[] = {
    [RUSM_STREAM_OFFER] = RUSMI_MESSAGE_STREAM_OFFER,
    [RUSM_STREAM_DATA] = RUSMI_MESSAGE_STREAM_DATA,
    [RUSM_STREAM_CREDIT] = RUSMI_MESSAGE_STREAM_CREDIT,
    [RUSM_STREAM_END] = RUSMI_MESSAGE_STREAM_END,
};

void rusmi_signal_head(struct rusmi_message_head *out_head, const rusm_signal *signal)
{
    *out_head = (struct rusmi_message_head){.kind = of_signal[signal->kind],
                                            .sender = signal->from.serial,
                                            .serial = signal->to.serial,
                                            .number = signal->number};
}

void rusmi_stream_signal_head(struct rusmi_message_head *out_head, const rusm_stream_signal *signal)
{
    bool offer = signal->kind == RUSM_STREAM_OFFER;

    *out_head = (struct rusmi_message_head){.kind = of_stream[signal->kind],
                                            .sender = offer ? signal->from.serial : 0,
                                            .serial = offer ? signal->to.serial : signal->stream,
                                            .number = offer ? signal->stream : signal->number};
}

/* ---- in -------------------------------------------------------------------------------------- */

static bool has_reason(rusm_signal_kind kind)
{
    return kind == RUSM_SIGNAL_EXIT || kind == RUSM_SIGNAL_DOWN || kind == RUSM_SIGNAL_ASK_EXIT ||
           kind == RUSM_SIGNAL_STOP;
}

static rusm_err no_body(const char **out_why)
{
    *out_why = "a signal has a body that it must not have";
    return RUSM_EPROTO;
}

rusm_err rusmi_signal_decode(rusm_signal *out_signal, rusm_reason *reason,
                             const struct rusmi_message_head *head, const void *body, size_t len,
                             uint64_t from, uint64_t to, const char **out_why)
{
    rusm_err err;

    /* A sender 0 is a thread that is no process. */
    *out_signal = (rusm_signal){.kind = (rusm_signal_kind)kinds[head->kind].kind,
                                .from = {from, head->sender},
                                .to = {to, head->serial},
                                .number = head->number};
    if (has_reason(out_signal->kind)) {
        err = rusmi_reason_decode(body, len, reason, out_why);
        if (err != RUSM_OK) {
            return err;
        }
        out_signal->reason = reason;
    } else if (len != 0) {
        return no_body(out_why);
    }
    return RUSM_OK;
}

rusm_err rusmi_stream_signal_decode(rusm_stream_signal *out_signal,
                                    const struct rusmi_message_head *head, const void *body,
                                    size_t len, uint64_t from, uint64_t to, const char **out_why)
{
    struct rusmi_stream_offer offer;
    ptrdiff_t offer_len;

    *out_signal = (rusm_stream_signal){.kind = (rusm_stream_signal_kind)kinds[head->kind].kind,
                                       .from = {from, 0},
                                       .to = {to, 0},
                                       .stream = head->serial,
                                       .number = head->number,
                                       .data = body,
                                       .len = len};
    if (out_signal->kind == RUSM_STREAM_OFFER) {
        offer_len = rusmi_stream_offer_decode(body, len, &offer, out_why);
        if (offer_len < 0) {
            return RUSM_EPROTO;
        }
        out_signal->from.serial = head->sender;
        out_signal->to.serial = head->serial;
        out_signal->stream = head->number;
        out_signal->writing = offer.writing;
        out_signal->capacity = (size_t)offer.capacity;
        out_signal->used = (size_t)offer.used;
        out_signal->data = (const uint8_t *)body + offer_len;
        out_signal->len = len - (size_t)offer_len;
    } else if (out_signal->kind != RUSM_STREAM_DATA && len != 0) {
        return no_body(out_why);
    }
    return RUSM_OK;
}
