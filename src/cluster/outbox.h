/* SPDX-License-Identifier: MIT */
/*
 * The sending side of a peer link's messages: which waits, which may start, and what each must say
 * about order (docs/design/order.md). Pure: no socket, clock, lock or QUIC.
 *
 *     sender threads              owner of the link (one thread at a time)
 *     rusmi_out_new  ----------->  push -> next/start -> parts/sent ... -> acked | reset
 *
 * A *pair* is a sender and a destination (serial or name). Invariants:
 * - messages of a pair start in the order of push;
 * - a message starts only when the credit covers all of it beside what started messages still have
 *   to send, so a started message can always be finished;
 * - a pair is remembered exactly while a message of it is started and not acknowledged, and as long
 *   each new message names the one before it.
 *
 * Threads: rusmi_out_* functions that take no outbox: any thread, the message's owner. Everything
 * else: the link's owner. What came before the push must be visible to the owner (the queue that
 * carries messages there sees to that).
 */
#ifndef RUSMI_CLUSTER_OUTBOX_H
#define RUSMI_CLUSTER_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rusm/err.h>
#include <rusm/otp/message.h>
#include <rusm/types.h>

#include "base/list.h"
#include "wire/message.h"

/* An outgoing message: one allocation with its header, and its body unless a whole rusm_msg was
 * handed over. */
struct rusmi_out {
    struct rusmi_out *next; /* before push and after start: for whoever holds it (the queue to the
                               owner, the QUIC layer); between them the outbox's */
    struct rusmi_list link; /* the outbox's: a line of waiting messages, then those in flight */

    uint64_t pair;   /* identity of the pair; equal for equal sender and destination */
    uint64_t ticket; /* place in line while it waits */
    union {
        uint64_t seq;                /* stream number, once started */
        struct rusmi_out *held_last; /* while a big one waits in line: the last of those behind it
                                        of the same pair (itself if none), a chain through next */
    };

    uint8_t *wire;   /* header and body as one piece (or the header alone if msg is set) */
    size_t wire_len; /* bytes at wire; grows by `previous` at start */
    rusm_msg *msg;   /* body sent from its own memory, or NULL; freed with the message */
    size_t msg_len;
    size_t sent; /* bytes handed to QUIC, of wire and msg together */
    bool big;
    bool started;
    bool aside; /* the QUIC layer's: its stream may not carry more yet */
};

/* A piece of a message, to be handed to QUIC. */
struct rusmi_out_part {
    const uint8_t *data;
    size_t len;
};

/*
 * Make an outgoing message with a copy of body. head gives kind, sender and destination; its prev
 * and body_len are ignored.
 *
 * Owns:    the caller, until push; rusmi_out_del() otherwise.
 * Threads: any; touches nothing shared.
 * Errors:  RUSM_EMSGSIZE, RUSM_EINVAL (rusmi_message_head_check()), RUSM_ENOMEM
 */
RUSM_MUST_CHECK rusm_err rusmi_out_new(struct rusmi_out **out_out,
                                       const struct rusmi_message_head *head, const void *body,
                                       size_t body_len);

/*
 * Make an outgoing message whose body is msg, which is not copied: it is sent from its own memory
 * and freed when acknowledged. Worth it above RUSMI_OUT_COPY_MAX.
 *
 * Owns:    takes msg on RUSM_OK; on any error the caller still owns it. The rest as
 *          rusmi_out_new().
 */
RUSM_MUST_CHECK rusm_err rusmi_out_new_msg(struct rusmi_out **out_out,
                                           const struct rusmi_message_head *head, rusm_msg *msg);

/* Free a message that no outbox has; NULL is allowed. */
void rusmi_out_del(struct rusmi_out *out);
/* Free one that rusmi_out_new_msg() made and no outbox has; its msg is the caller's again. */
void rusmi_out_del_shell(struct rusmi_out *out);

/* Bytes of the message on the wire. Before start it is without `previous`. */
static inline size_t rusmi_out_len(const struct rusmi_out *out)
{
    return out->wire_len + out->msg_len;
}

/* Whether all bytes were handed to QUIC. The last piece goes with FIN; every message has a header,
 * so there is always a last piece. */
static inline bool rusmi_out_is_sent(const struct rusmi_out *out)
{
    return out->sent == rusmi_out_len(out);
}

/* What is left to hand to QUIC of a started message, in order: 0, 1 or 2 pieces. */
size_t rusmi_out_parts(const struct rusmi_out *out, struct rusmi_out_part parts[2]);

/* How an outbox is made. */
struct rusmi_outbox_config {
    size_t window;      /* the peer's connection window (its initial_max_data) */
    size_t message_max; /* largest body */
    size_t big_min;     /* a message of more bytes on the wire is big */
    size_t flight_max;  /* messages started and not acknowledged; a power of two */
    uint64_t seed;      /* random: a peer that chooses its serials must not fill one corner of the
                           table of pairs */
};

/* Fill cfg with the limits of base/limits.h and seed 0. */
void rusmi_outbox_config_init(struct rusmi_outbox_config *cfg);

/* What is remembered of a pair: a slot of the table, free if both `first` and `unacked` are zero.
 */
struct rusmi_out_pair {
    uint64_t key;            /* rusmi_out.pair */
    uint64_t last;           /* seq of the last message started; meaningful if unacked > 0 */
    struct rusmi_out *first; /* its message in the line of big ones; NULL: none */
    uint32_t unacked;        /* messages started and not acknowledged */
};

struct rusmi_outbox {
    struct rusmi_list small;  /* waiting, in order of ticket */
    struct rusmi_list big;    /* waiting, in order of ticket; at most one of each pair */
    struct rusmi_list flight; /* started, not acknowledged */

    struct rusmi_out_pair *pairs; /* open addressing, linear probing; never more than 3/4 full */
    size_t pairs_mask;
    unsigned pairs_shift;
    uint64_t multiplier; /* odd, from the seed */
    size_t pairs_count;  /* remembered now */
    size_t big_pairs;    /* of these, with a big message waiting */

    uint64_t ticket;      /* of the message pushed last */
    size_t reserved;      /* bytes that started messages have still to hand to QUIC */
    size_t small_flight;  /* bytes of messages in flight that are not big */
    size_t share;         /* bytes of the window kept for them */
    size_t queued_count;  /* waiting */
    size_t queued_bytes;  /* waiting */
    size_t queued_big;    /* of these, of big ones */
    size_t flight_count;  /* started, not acknowledged */
    size_t flight_bytes;  /* of these, all that they have on the wire */
    uint64_t acked_count; /* acknowledged since init */
    uint64_t lost_count;  /* reset since init */
    struct rusmi_outbox_config cfg;
};

/*
 * Make an outbox for a link that is up. cfg->window must be what the peer granted.
 *
 * Errors:  RUSM_EPROTO  the window cannot carry the largest message beside the share of the small
 *                       ones (rusmi_outbox_window_min()): a message would wait for ever
 *          RUSM_ENOMEM
 */
RUSM_MUST_CHECK rusm_err rusmi_outbox_init(struct rusmi_outbox *ob,
                                           const struct rusmi_outbox_config *cfg);

/* The smallest window for bodies of up to message_max bytes. */
size_t rusmi_outbox_window_min(size_t message_max);

/*
 * Free everything. Returns how many messages were accepted and not acknowledged: waiting or in
 * flight. Some of the latter may have arrived all the same. QUIC must not touch their bytes any
 * more. acked_count and lost_count stay readable.
 */
size_t rusmi_outbox_fini(struct rusmi_outbox *ob);

/* Take a message into the line; always succeeds. */
void rusmi_outbox_push(struct rusmi_outbox *ob, struct rusmi_out *out);

/*
 * The message that may start now, or NULL: none waits, too many are in flight, or the credit does
 * not suffice. credit_free is what the connection's flow control lets be sent beyond what QUIC has
 * been given already (ngtcp2_conn_get_max_data_left). Changes nothing; to be followed by start, or
 * by nothing if no stream is to be had.
 */
struct rusmi_out *rusmi_outbox_next(const struct rusmi_outbox *ob, uint64_t credit_free);

/*
 * Start the message that rusmi_outbox_next() gave, on the stream with number seq (stream id >> 2),
 * larger than any before. The header is complete afterwards.
 */
void rusmi_outbox_start(struct rusmi_outbox *ob, struct rusmi_out *out, uint64_t seq);

/* len more bytes of a started message were handed to QUIC (which counts them against its credit
 * from here on). */
void rusmi_outbox_sent(struct rusmi_outbox *ob, struct rusmi_out *out, size_t len);

/* Everything of a started message was acknowledged and its stream is closed. Frees it. */
void rusmi_outbox_acked(struct rusmi_outbox *ob, struct rusmi_out *out);

/*
 * The stream of a started message was reset: the message is lost, and counted. Frees it, once QUIC
 * has closed the stream and the peer's limit of streams shows that its watermark has passed seq.
 * (An acknowledged reset alone does not say that what came before it in the pair is delivered, so
 * the pair must not be forgotten before.)
 *
 * A link that keeps its promise never resets a message while it is up; this is for one that is
 * given up in parts.
 */
void rusmi_outbox_reset(struct rusmi_outbox *ob, struct rusmi_out *out);

#endif
