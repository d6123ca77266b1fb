/* SPDX-License-Identifier: MIT */
/*
 * The body of a connection of the simulator's transport, shared by sim_quic.c (its life, time),
 * sim_quic_in.c (what comes) and sim_quic_out.c (what goes). sim_quic.c says what it is.
 */
#ifndef RUSM_SIM_SIM_CONN_H
#define RUSM_SIM_SIM_CONN_H

#include "base/limits.h"
#include "base/list.h"
#include "cluster/inbox.h"
#include "cluster/outbox.h"
#include "quic/conn.h"
#include "sim/sim.h"
#include "sim/sim_packet.h"

#define SIM_NEVER UINT64_MAX

/* Packets after it that are acknowledged before one counts as lost, RFC 9002 6.1.1. */
#define SIM_REORDER    3u
#define SIM_RANGES_MAX 24u
#define SIM_ACK_RANGES 12u
#define SIM_CWND_FIRST 14720u
#define SIM_CWND_MIN   2944u
#define SIM_CWND_MAX   ((size_t)4 * 1024 * 1024)
/* A chunk of a stream: fits beside a head and an acknowledgement into the smallest packet. */
#define SIM_CHUNK_MAX 900u
/* Bytes of a stream that may be sent before it is allowed whole: as few as the protocol has it. */
#define SIM_STREAM_FIRST RUSMI_STREAM_LEAST
/* How often room is looked for, for messages that wait for it. */
#define SIM_GRANT_WAIT (20 * SIM_MS)
/* A packet that begins with a big message, of so many. */
#define SIM_BIG_TURN 4u

struct sim_chunk {
    struct rusmi_list node; /* in conn->again while `queued` */
    uint64_t seq;           /* of its message's stream; unused for the control stream */
    uint64_t offset;
    uint32_t len;
    uint16_t refs; /* packets that took it along, and the queue */
    bool control, fin, acked, queued;
    bool stream_max; /* no bytes: a SIM_FRAME_STREAM_MAX */
    uint8_t data[];  /* of the control stream */
};

/* A packet that asks for an acknowledgement and has none yet. */
struct sim_sent {
    struct rusmi_list node; /* of conn->sent, in order of number */
    uint64_t number;
    rusm_time at;
    uint32_t bytes;
    bool max; /* it told the limits */
    uint16_t chunks_len;
    struct sim_chunk *chunks[];
};

/* A piece of a stream that came before what precedes it. */
struct sim_piece {
    struct sim_piece *next;
    uint64_t offset;
    uint32_t len;
    bool fin;
    uint8_t data[];
};

/* A message stream of the peer. */
struct sim_rx {
    uint64_t seq; /* + 1; 0: the slot is free */
    uint64_t next;
    struct sim_piece *pieces; /* in order of offset */
    bool whole, allowed;      /* allowed: beyond SIM_STREAM_FIRST */
};

/* A message of ours that was started. */
struct sim_tx {
    struct rusmi_out *out;
    uint64_t acked;
    struct sim_tx *next; /* in a line: with bytes not yet sent */
    bool allowed, aside; /* beyond SIM_STREAM_FIRST; in no line until it is */
};

struct sim_line {
    struct sim_tx *first, *last;
};

struct sim_range {
    uint64_t first, last;
};

struct rusmi_quic_conn {
    struct rusmi_quic_config cfg;
    struct rusmi_quic_events events;
    const struct sim_life *life;
    enum rusmi_quic_state state;
    bool server;
    rusm_time now, started, heard;
    struct sockaddr_storage remote;
    socklen_t remote_len;
    uint64_t own_cid, peer_cid, first_cid;
    bool cids_told;
    uint64_t token; /* of a Retry; 0: none */

    /* handshake */
    rusm_time shake_at; /* when its packet is sent (again); SIM_NEVER: none */
    unsigned shake_count;
    bool confirmed; /* dialer: the peer has our FINISH */
    struct rusmi_peer_identity peer, certificate;

    /* what the peer allows */
    uint64_t max_data, max_streams;
    uint64_t data_sent, next_stream;
    uint64_t window; /* its first max_data */
    /* what we allow */
    uint64_t grant_data, grant_streams;
    bool grant_news;
    rusm_time grant_at;                 /* when to look for room for messages that wait for it */
    uint64_t handed, returned, returns; /* bytes given to the inbox, and credit that came of it */

    /* sending */
    uint64_t number;
    struct rusmi_list sent, again;
    uint64_t acked_max; /* + 1 */
    size_t in_flight, cwnd, ssthresh;
    rusm_time recovery; /* losses of packets sent before that are one loss */
    rusm_time srtt, rttvar, latest;
    rusm_time loss_at;
    unsigned pto_count, packed;
    rusm_time last_asked; /* when a packet was sent that asks for an acknowledgement */
    bool probe, ping;
    struct sim_line small, big;
    struct sim_tx *tx;         /* ring by stream number */
    struct rusmi_list control; /* chunks of the control stream not yet sent */
    uint64_t control_end;      /* bytes queued since the beginning */
    size_t control_pending;

    /* receiving */
    struct sim_range ranges[SIM_RANGES_MAX]; /* packet numbers received, the latest first */
    size_t ranges_len;
    bool ack_due;
    rusm_time ack_at;
    unsigned ack_count;
    struct sim_rx *rx; /* ring by stream number */
    uint64_t control_next;
    struct sim_piece *control_pieces;

    /* the end */
    struct rusmi_quic_end end;
    bool close_application, close_written, close_repeat;
    uint64_t close_code, close_heard;
    char close_text[RUSMI_QUIC_TEXT_MAX];
    rusm_time drain_until;
    struct rusmi_quic_stats stats;
};

static inline rusm_time sim_conn_clamp(struct rusmi_quic_conn *conn, rusm_time now)
{
    conn->now = now > conn->now ? now : conn->now;
    return conn->now;
}

static inline rusm_time sim_conn_pto(const struct rusmi_quic_conn *conn)
{
    rusm_time var = 4 * conn->rttvar > SIM_MS ? 4 * conn->rttvar : SIM_MS;
    unsigned count = conn->pto_count < 10 ? conn->pto_count : 10;

    return (conn->srtt + var + conn->cfg.ack_hold_ns) << count;
}

/* ---- sim_quic.c ---- */
void sim_conn_move(struct rusmi_quic_conn *conn, enum rusmi_quic_state to);
/* Note the first reason for the end. */
void sim_conn_end(struct rusmi_quic_conn *conn, enum rusmi_quic_cause cause, uint64_t code,
                  const char *text);
/* Close because of what an event of the owner returned. */
void sim_conn_fail_with(struct rusmi_quic_conn *conn, rusm_err err);
/* The peer broke the protocol: a finding. */
void sim_conn_broken(struct rusmi_quic_conn *conn, const char *why);
/* The peer says who it is: UP. */
void sim_conn_authenticate(struct rusmi_quic_conn *conn, struct sim_cursor *cursor);
size_t sim_conn_write_shake(struct rusmi_quic_conn *conn, uint8_t *buf, size_t buf_len);
void sim_chunk_drop(struct sim_chunk *chunk);
void sim_sent_del(struct sim_sent *sent);

/* ---- sim_quic_in.c ---- */
/* Find what is lost by now, and when to look again. */
void sim_conn_find_losses(struct rusmi_quic_conn *conn);
/* A packet is lost: what it carried goes again. */
void sim_conn_lose(struct rusmi_quic_conn *conn, struct sim_sent *sent);

/* ---- sim_quic_out.c ---- */
/* Whether there is anything to be said now. */
bool sim_conn_is_due(const struct rusmi_quic_conn *conn, rusm_time now);

#endif
