/* SPDX-License-Identifier: MIT */
/*
 * Packets of the simulator's transport, and what an endpoint does with those of no connection: the
 * part of quic/packet.h. A packet is a kind, the connection ids, a number, and frames in the clear:
 * the network is ours, and what the shipped code must stand is what becomes of whole datagrams.
 */
#ifndef RUSM_SIM_SIM_PACKET_H
#define RUSM_SIM_SIM_PACKET_H

#include "quic/packet.h"
#include "trust/verify.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define SIM_CID_LEN RUSMI_QUIC_CID_LEN

enum sim_packet_kind {
    SIM_INITIAL = 1, /* dialer: asks for a connection; carries its parameters */
    SIM_ACCEPT,      /* listener: its identity and parameters */
    SIM_FINISH,      /* dialer: its identity, as late as in TLS 1.3 */
    SIM_DATA,        /* frames */
    SIM_CLOSE,       /* CONNECTION_CLOSE */
    SIM_RETRY,       /* prove your address */
    SIM_RESET,       /* stateless reset */
};

enum sim_frame_kind {
    SIM_FRAME_ACK = 1,
    SIM_FRAME_CONTROL,
    SIM_FRAME_STREAM,
    SIM_FRAME_MAX,
    SIM_FRAME_PING,
    SIM_FRAME_STREAM_MAX, /* a stream may carry all of its message */
};

struct sim_head {
    enum sim_packet_kind kind;
    uint64_t dcid, scid;
    uint64_t number;
};

/* Bytes of a head. */
#define SIM_HEAD_LEN 26u

/* A place in a packet that is written or read; `bad` once a read went beyond its end. */
struct sim_cursor {
    uint8_t *at, *end;
    bool bad;
};

static inline void sim_put(struct sim_cursor *cursor, const void *data, size_t len)
{
    if ((size_t)(cursor->end - cursor->at) < len) {
        cursor->bad = true;
        return;
    }
    memcpy(cursor->at, data, len);
    cursor->at += len;
}

static inline void sim_put_u64(struct sim_cursor *cursor, uint64_t number)
{
    sim_put(cursor, &number, sizeof(number));
}

static inline void sim_put_u16(struct sim_cursor *cursor, uint16_t number)
{
    sim_put(cursor, &number, sizeof(number));
}

static inline void sim_put_u8(struct sim_cursor *cursor, uint8_t number)
{
    sim_put(cursor, &number, sizeof(number));
}

static inline void sim_get(struct sim_cursor *cursor, void *data, size_t len)
{
    if ((size_t)(cursor->end - cursor->at) < len) {
        cursor->bad = true;
        memset(data, 0, len);
        return;
    }
    memcpy(data, cursor->at, len);
    cursor->at += len;
}

static inline uint64_t sim_get_u64(struct sim_cursor *cursor)
{
    uint64_t number;

    sim_get(cursor, &number, sizeof(number));
    return number;
}

static inline uint16_t sim_get_u16(struct sim_cursor *cursor)
{
    uint16_t number;

    sim_get(cursor, &number, sizeof(number));
    return number;
}

static inline uint8_t sim_get_u8(struct sim_cursor *cursor)
{
    uint8_t number;

    sim_get(cursor, &number, sizeof(number));
    return number;
}

static inline void sim_put_head(struct sim_cursor *cursor, const struct sim_head *head)
{
    sim_put_u8(cursor, 'S');
    sim_put_u8(cursor, (uint8_t)head->kind);
    sim_put_u64(cursor, head->dcid);
    sim_put_u64(cursor, head->scid);
    sim_put_u64(cursor, head->number);
}

/* False: no packet of ours. */
static inline bool sim_get_head(struct sim_cursor *cursor, struct sim_head *head)
{
    uint8_t magic = sim_get_u8(cursor);

    head->kind = (enum sim_packet_kind)sim_get_u8(cursor);
    head->dcid = sim_get_u64(cursor);
    head->scid = sim_get_u64(cursor);
    head->number = sim_get_u64(cursor);
    return !cursor->bad && magic == 'S' && head->kind >= SIM_INITIAL && head->kind <= SIM_RESET;
}

/* A CONNECTION_CLOSE; returns its length. */
size_t sim_write_close(uint64_t dcid, bool application, uint64_t code, const char *text,
                       uint8_t *buf, size_t buf_len);

#endif
