/* SPDX-License-Identifier: MIT */
/*
 * The receiving side of a peer link's messages: bytes of streams in, whole messages out, each pair
 * of sender and destination in its order (docs/design/order.md). Pure: no socket, clock, lock or
 * QUIC.
 *
 * A message whose predecessor (by `previous` in its header) is not delivered is parked. What is
 * delivered is known by a watermark and one bit for each stream above it. Streams are allowed as
 * the watermark moves, so seq is always in [watermark, watermark + streams_max) and every table is
 * a ring of fixed size. Credit for bytes is given back when their message is delivered, so what is
 * held is bounded by the window; and later, while the purse that what is held is charged to is
 * tight. The rest of a message longer than a stream's first window comes when the purse has paid
 * for it (docs/design/memory.md).
 *
 *     stream:  data ... data(fin) -> whole -> [parked until its predecessor is delivered] -> out
 *
 * Errors are final: the link is to be closed with ib->why, and later calls return the same error
 * and do nothing.
 *
 * Threads: the link's owner. The deliver callback must not call the inbox.
 */
#ifndef RUSMI_CLUSTER_INBOX_H
#define RUSMI_CLUSTER_INBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rusm/err.h>
#include <rusm/otp/message.h>
#include <rusm/types.h>

#include "cluster/budget.h"
#include "wire/message.h"

/*
 * Take a whole message, in order. head (and head->name) is valid during the call only; the sender
 * of msg is not set. Owns: takes msg.
 */
typedef void (*rusmi_inbox_deliver_fn)(void *arg, const struct rusmi_message_head *head,
                                       rusm_msg *msg);

/* How an inbox is made. */
/* How long a message may wait for room before it is dropped. */
#define RUSMI_INBOX_WAIT_NS ((rusm_time)5 * 1000 * 1000 * 1000)

struct rusmi_inbox_config {
    size_t window;       /* what the peer was granted as initial_max_data */
    size_t streams_max;  /* what it was granted as initial_max_streams_uni; a power of two >= 64 */
    size_t message_max;  /* largest body */
    size_t stream_first; /* what the peer may send of a stream before rusmi_inbox_next_grant() */
    struct rusmi_purse *purse; /* for what is held; outlives the inbox. NULL: it is not charged */
    rusmi_inbox_deliver_fn deliver;
    void *arg;
};

/* Fill cfg with the limits of base/limits.h; deliver and arg are the caller's to set. */
void rusmi_inbox_config_init(struct rusmi_inbox_config *cfg);

struct rusmi_inbox_entry; /* a message that is unfinished or parked */
struct rusmi_inbox_slot;

struct rusmi_inbox {
    uint64_t watermark;              /* every stream below it is delivered */
    uint64_t *delivered;             /* ring of bits: streams at and above the watermark */
    struct rusmi_inbox_slot *slots;  /* ring by seq; see inbox.c */
    struct rusmi_inbox_entry *pool;  /* streams_max entries, touched only as needed */
    struct rusmi_inbox_entry *spare; /* free entries that were used before */
    /* begun, and longer than what the peer may send of them, in order of their beginning */
    struct rusmi_inbox_entry *waiting_first, *waiting_last;
    size_t waiting_bytes; /* of held_bytes, what they may not send yet */
    size_t pool_used;     /* entries of the pool that were ever used */
    size_t mask;          /* streams_max - 1 */

    size_t held_bytes; /* declared bytes of unfinished and parked messages; at most the window */
    size_t credit;     /* bytes to give back */
    uint64_t granted;  /* watermark at the last rusmi_inbox_take_credit */

    size_t unfinished_count;      /* now */
    size_t parked_count;          /* now */
    size_t lost_count;            /* now: reset without a header, waiting for the watermark */
    uint64_t delivered_count;     /* messages given to deliver since init */
    uint64_t parked_total;        /* messages that had to wait since init */
    uint64_t reset_count;         /* streams that the peer reset since init */
    uint64_t dropped_nomem_count; /* messages lost for want of memory or room since init */

    rusm_err failed; /* RUSM_OK, or what every call returns from now on */
    const char *why; /* the reason for people and for the close frame; static text */
    struct rusmi_inbox_config cfg;
};

/* Make an inbox for a link that is up. Errors: RUSM_ENOMEM */
RUSM_MUST_CHECK rusm_err rusmi_inbox_init(struct rusmi_inbox *ib,
                                          const struct rusmi_inbox_config *cfg);

/* Free everything, messages not delivered too. */
void rusmi_inbox_fini(struct rusmi_inbox *ib);

/*
 * Bytes of stream number seq (stream id >> 2) at offset; fin if the stream ends with them. Each
 * stream's bytes come in order and without gaps, as ngtcp2's recv_stream_data gives them.
 *
 * Calls deliver for every message that this completes or releases. Data are not kept.
 *
 * A message for which there is no memory, or no room in the purse, is dropped and counted; for the
 * order it counts as delivered. Only messages of processes are dropped for want of room: signals
 * and streams keep a promise that dropping would break.
 *
 * Errors:  RUSM_EPROTO  with ib->why
 *          RUSM_ENOMEM  the purse has no room for a signal, or for the record of a stream; with
 *                       ib->why
 */
RUSM_MUST_CHECK rusm_err rusmi_inbox_data(struct rusmi_inbox *ib, uint64_t seq, uint64_t offset,
                                          const void *data, size_t len, bool fin);

/*
 * The peer reset stream number seq: it counts as delivered once its predecessor is. If its header
 * has not come, any stream below may be the predecessor, so that is when all below are delivered.
 * Credit is given back at once for the bytes that rusmi_inbox_data() saw; the rest of the final
 * size is the QUIC layer's matter. No effect on a message that was whole already.
 *
 * Errors:  as rusmi_inbox_data()
 */
RUSM_MUST_CHECK rusm_err rusmi_inbox_reset(struct rusmi_inbox *ib, uint64_t seq);

/*
 * What to grant the peer since the last call: bytes for the connection
 * (ngtcp2_conn_extend_max_offset) and unidirectional streams (ngtcp2_conn_extend_max_streams_uni).
 * Call it after a batch of packets and before writing. While the purse is tight and something is
 * unfinished or parked, no bytes are given: what the peer has begun it can finish without, and once
 * all of that is delivered they are.
 */
void rusmi_inbox_take_credit(struct rusmi_inbox *ib, uint64_t *out_bytes, uint64_t *out_streams);

/*
 * The next stream whose message may come whole: allow the peer all of it
 * (ngtcp2_conn_extend_max_stream_offset). Call it until false, after a batch of packets and before
 * writing. Then, if rusmi_inbox_waits(), some wait for room in the purse, which others may leave:
 * call it again soon.
 *
 * A message of a process that has waited for RUSMI_INBOX_WAIT_NS is dropped and counted, so that
 * those which wait for each other's room do not wait for ever; a signal takes what it needs, or
 * fails the inbox.
 */
bool rusmi_inbox_next_grant(struct rusmi_inbox *ib, rusm_time now, uint64_t *out_seq);

static inline bool rusmi_inbox_waits(const struct rusmi_inbox *ib)
{
    return ib->waiting_first != NULL;
}

/* Whether stream number seq is delivered (or was dropped or reset). */
bool rusmi_inbox_is_delivered(const struct rusmi_inbox *ib, uint64_t seq);

#endif
