/* SPDX-License-Identifier: MIT */
/*
 * The bytes of the control stream that wait to be sent or acknowledged. They lie in chunks that
 * never move, because ngtcp2 keeps pointers into them until they are acknowledged.
 *
 *     first ............ cursor ............ last
 *     [ not acknowledged ][ not yet sent    ]
 *
 * Threading: none.
 */
#ifndef RUSMI_QUIC_CONTROL_H
#define RUSMI_QUIC_CONTROL_H

#include <ngtcp2/ngtcp2.h>
#include <rusm/err.h>
#include <stddef.h>
#include <stdint.h>

struct rusmi_quic_chunk;

struct rusmi_quic_control {
    struct rusmi_quic_chunk *first, *last; /* NULL if empty */
    struct rusmi_quic_chunk *cursor;       /* holds the next byte to send; NULL if all is sent */
    size_t cursor_used;                    /* bytes of it that were sent */
    size_t unsent;
    size_t pending;       /* unsent, or sent and not acknowledged */
    uint64_t sent, acked; /* since the beginning */
    uint64_t base;        /* offset in the stream of the first chunk's first byte */
};

void rusmi_quic_control_init(struct rusmi_quic_control *queue);
void rusmi_quic_control_fini(struct rusmi_quic_control *queue);

/* Copy bytes to the end. Errors: RUSM_ENOMEM (nothing was taken) */
RUSM_MUST_CHECK rusm_err rusmi_quic_control_push(struct rusmi_quic_control *queue,
                                                 const uint8_t *data, size_t len);

/* The next bytes to send, as up to vecs_max pieces. */
size_t rusmi_quic_control_peek(const struct rusmi_quic_control *queue, ngtcp2_vec *vecs,
                               size_t vecs_max);

/* len bytes of what peek gave were sent. */
void rusmi_quic_control_sent(struct rusmi_quic_control *queue, size_t len);

/* All bytes up to that offset of the stream are acknowledged. */
void rusmi_quic_control_acked(struct rusmi_quic_control *queue, uint64_t offset);

#endif
