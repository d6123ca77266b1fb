/* SPDX-License-Identifier: MIT */
/*
 * The body of a connection, shared by conn.c (life), callbacks.c (what ngtcp2 calls), write.c
 * (packets) and mtu.c (their size). Nobody else includes it.
 *
 * ngtcp2 forbids most calls between two packets' beginnings and ends, and all calls from within its
 * callbacks. So callbacks and the owner only note what is to be done (`end`, `due`, lists), and
 * recv, timer and write do it.
 */
#ifndef RUSMI_QUIC_CORE_H
#define RUSMI_QUIC_CORE_H

#include <ngtcp2/ngtcp2.h>

#include "cluster/inbox.h"
#include "cluster/outbox.h"
#include "quic/conn.h"
#include "quic/control.h"
#include "quic/end.h"
#include "quic/memory.h"
#include "quic/tls.h"

#define QUIC_NEVER UINT64_MAX

/* An idle link has an exchange that often in a tick: see silent_at() in conn.c. */
#define QUIC_KEEP_ALIVE 5

/* An Initial packet of a client is at least so large (RFC 9000 14.1), and so may be its close. */
#define QUIC_CLOSE_MAX 1280

/* The largest DATAGRAM frame (RFC 9221) that is taken, and sent: type and length, see mtu.c. */
#define QUIC_MARK_LEN 2

/* ngtcp2 has at most 8 at a time; one more is made up by the dialer, for the listener. */
#define CIDS_MAX 16

/* Started messages with bytes to send, in order of start; through rusmi_out.next. */
struct quic_line {
    struct rusmi_out *first, *last;
};

/*
 * How much may be in flight when a big message is to send more, and when another message is to
 * start, so that neither makes a queue that small ones stand in: see share_adjust() in write.c.
 */
struct quic_share {
    uint64_t limit;              /* bytes, for big ones; 0: nothing is known yet */
    size_t flight;               /* messages */
    bool flight_held;            /* a message waited for that since the last adjustment */
    rusm_time base, base_before; /* shortest round trips of this period and of the last one */
    rusm_time period_at, adjusted_at;
    bool found; /* the path's queue was felt once: from then on the limit grows slowly */
};

/* How large packets may be, and whether large ones arrive: see mtu.c. */
struct quic_mtu {
    size_t cap; /* no packet but a trial is larger; 0: as ngtcp2 says */
    bool able;  /* the peer takes marks; without them only the socket's errors make packets smaller
                 */

    /* proofs that packets of more than 1200 bytes arrive */
    unsigned rounds;       /* probe timeouts since the last proof in which such were sent */
    rusm_time round_until; /* end of the latest of them */
    bool acked;            /* anything was acknowledged since the latest began, or the fall */

    /* the mark under way */
    uint64_t mark;     /* its number: the last one given */
    bool marked;       /* it is in the packet being made */
    size_t mark_size;  /* of the large packet that it is in; 0: none is under way */
    rusm_time mark_at; /* none before that: the last packet did not become a large one */

    /* the search, while there is a cap */
    unsigned trials; /* of the next size, that failed */
    rusm_time trial_at;
    bool settled; /* a size was found too large since the fall */
};

struct rusmi_quic_conn {
    ngtcp2_conn *ng;
    struct rusmi_quic_config cfg;
    struct rusmi_quic_events events;
    struct rusmi_quic_memory memory;
    struct rusmi_quic_tls tls;
    enum rusmi_quic_state state;
    bool server;
    rusm_time now; /* the latest that any call said: ngtcp2 aborts if time goes back */
    rusm_time started;
    rusm_time heard; /* when the last genuine packet of the peer came */

    /* control stream */
    int64_t control_id; /* -1: not open yet */
    struct rusmi_quic_control control;
    bool control_greet;   /* dialer: an empty frame is to open the stream for the other side, which
                             may want to speak first */
    bool control_blocked; /* its flow control is used up; until MAX_STREAM_DATA */

    /* messages */
    struct quic_line small, big;
    size_t small_bytes;       /* to send, of the small line */
    rusm_time small_at;       /* when the last of them was started */
    struct quic_share share;  /* what may be in flight */
    uint64_t packets_packed;  /* with messages; takes turns between the lines */
    uint64_t lost_packet;     /* the last of them that was lost */
    uint64_t credit_reserve;  /* of the peer's window, kept for the control stream */
    uint64_t streams_granted; /* that are to be told to the peer once they are a batch */
    rusm_time grant_at;       /* when to look again for room for messages that wait for it */

    struct quic_mtu mtu;

    /* when to write */
    bool due;             /* at once */
    rusm_time hold_until; /* an acknowledgement waits for company until then; QUIC_NEVER: none */
    uint64_t hold_bytes;  /* received since the last packet was sent */

    /* a packet that did not fit into the last batch; allocated when first needed */
    uint8_t *carry;
    size_t carry_len;
    ngtcp2_path_storage carry_path;

    ngtcp2_path_storage sent_path; /* of the last batch */

    /* closing */
    struct rusmi_quic_end end;
    ngtcp2_ccerr close_error; /* what the peer is told; its text is end.text or none */
    bool close_silent;        /* the peer is told nothing */
    bool close_written;       /* close_data is set */
    uint64_t close_heard;     /* datagrams since; the close is repeated at each power of two */
    bool close_repeat;
    bool close_brief;          /* a handshake that is refused: said once, and over */
    bool close_again;          /* the link was up: say it again without being asked */
    rusm_time close_again_at;  /* when next, once it was written */
    rusm_time close_again_for; /* how long that takes, a probe timeout */
    size_t close_len;
    rusm_time drain_until;

    /* connection ids that the owner knows of */
    struct rusmi_quic_cid cids[CIDS_MAX];
    size_t cid_count;
    uint16_t pmtud_probes[4];
    struct rusmi_quic_stats stats; /* counters that ngtcp2 does not keep */
    uint8_t close_data[QUIC_CLOSE_MAX];
};

/*
 * How much of a peer's connection window `total` is kept for its control window, so that messages
 * can never use up what control bytes need: they would wait for each other (docs/design/quic.md).
 * ngtcp2 tells the peer about returned credit only when more than a quarter of the window has
 * come together, and so much may be unknown to it.
 */
static inline uint64_t rusmi_quic_reserve(uint64_t total, uint64_t control_window)
{
    uint64_t reserve = total / 4 + 1 + control_window;

    return reserve < total ? reserve : total;
}

/* callbacks.c */
void rusmi_quic_callbacks(ngtcp2_callbacks *callbacks, bool server);
/* Packets that were decrypted on this thread, ever: recv looks whether a datagram added to it. */
uint64_t rusmi_quic_packets_opened(void);

/* conn.c */
/* Tell the owner of a connection id, or that it is gone. add is false if there are too many. */
bool rusmi_quic_cid_add(struct rusmi_quic_conn *conn, const uint8_t *cid, size_t cid_len);
void rusmi_quic_cid_remove(struct rusmi_quic_conn *conn, const uint8_t *cid, size_t cid_len);
/* The only writer of conn->state. */
void rusmi_quic_move(struct rusmi_quic_conn *conn, enum rusmi_quic_state to);
/* Note the first reason for the end, and go to CLOSING (or CLOSED if the peer is told nothing). */
void rusmi_quic_stop(struct rusmi_quic_conn *conn, const struct rusmi_quic_end *end,
                     ngtcp2_ccerr_type type, uint64_t code, bool tell_text);
/* A failed call of ngtcp2, whatever it was. */
void rusmi_quic_ngtcp2_failed(struct rusmi_quic_conn *conn, int result);

/* write.c */
bool rusmi_quic_has_data(const struct rusmi_quic_conn *conn);
void rusmi_quic_line_remove(struct rusmi_quic_conn *conn, struct rusmi_out *out);
/* The stream of a message that was put aside may carry more. */
void rusmi_quic_line_resume(struct rusmi_quic_conn *conn, struct rusmi_out *out);

/* mtu.c */
/* The connection is up; what the peer says of itself. */
void rusmi_quic_mtu_begin(struct quic_mtu *mtu, const ngtcp2_transport_params *peer);
/* The largest datagram that the path is taken to carry now. */
size_t rusmi_quic_mtu_now(const struct rusmi_quic_conn *conn);
/* How large the next packet may be, for which there are so many new bytes; out_mark: it is to begin
 * with a mark. */
size_t rusmi_quic_mtu_room(struct rusmi_quic_conn *conn, size_t fresh, rusm_time now,
                           bool *out_mark);
/* Begin a packet with a mark; result as ngtcp2_conn_writev_datagram. */
ngtcp2_ssize rusmi_quic_mtu_put_mark(struct rusmi_quic_conn *conn, uint8_t *buf, size_t room,
                                     rusm_time now);
/* A packet is complete. */
void rusmi_quic_mtu_sent(struct rusmi_quic_conn *conn, size_t len, rusm_time now);
void rusmi_quic_mtu_mark_acked(struct rusmi_quic_conn *conn, uint64_t mark);
void rusmi_quic_mtu_mark_lost(struct rusmi_quic_conn *conn, uint64_t mark);

/* Time as ngtcp2 may see it: it aborts if time goes back. */
static inline rusm_time rusmi_quic_clamp(struct rusmi_quic_conn *conn, rusm_time now)
{
    if (now > conn->now) {
        conn->now = now;
    }
    return conn->now;
}

/* Message streams: client-initiated ids end in 2, server-initiated in 3 (RFC 9000 2.1). */
static inline int64_t rusmi_quic_stream_id(const struct rusmi_quic_conn *conn, uint64_t seq)
{
    return (int64_t)(seq << 2 | (conn->server ? 3 : 2));
}

/* The same for the peer's. */
static inline int64_t rusmi_quic_peer_stream_id(const struct rusmi_quic_conn *conn, uint64_t seq)
{
    return (int64_t)(seq << 2 | (conn->server ? 2 : 3));
}

static inline bool rusmi_quic_is_message_stream(int64_t stream_id)
{
    return (stream_id & 2) != 0;
}

#endif
