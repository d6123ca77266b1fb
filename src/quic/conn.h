/* SPDX-License-Identifier: MIT */
/*
 * One QUIC connection (RFC 9000) with mutual TLS 1.3 certificates, as a pure object: no socket, no
 * clock, no thread. Datagrams come in through rusmi_quic_conn_recv and go out through
 * rusmi_quic_conn_write; time is a parameter. So the same code runs over UDP and in a test whose
 * network and clock are variables.
 *
 * What it carries: one control stream (the first bidirectional stream, opened by the dialer), whose
 * bytes go before everything else, and one unidirectional stream per message, taken from an outbox
 * and handed to an inbox (cluster/outbox.h, cluster/inbox.h).
 *
 *     HANDSHAKE ---> UP ---> CLOSING ---> CLOSED
 *         |          |          ^            ^
 *         +----------+----------+            |
 *         +----------+---> DRAINING ---------+
 *
 * HANDSHAKE ends when both certificates are verified here; nothing of the peer is taken before.
 * CLOSING answers late packets with the same CONNECTION_CLOSE; DRAINING is silent; both last three
 * probe timeouts (RFC 9000 10.2). In CLOSED the connection only waits for rusmi_quic_conn_del.
 *
 * Threading: none inside. One thread at a time calls; events are called inside recv, write and
 * timer and must not call back into the connection, but for rusmi_quic_conn_send_control and
 * rusmi_quic_conn_close, which only note what is to be done. After any call but the plain readers
 * look at rusmi_quic_conn_deadline again. docs/design/quic.md says why it is as it is.
 */
#ifndef RUSMI_QUIC_CONN_H
#define RUSMI_QUIC_CONN_H

#include <rusm/err.h>
#include <rusm/trust.h>
#include <rusm/types.h>
#include <sys/socket.h>

#include "quic/packet.h"

struct rusmi_inbox;
struct rusmi_outbox;
struct rusmi_peer_identity;
struct rusmi_purse;
struct rusmi_quic_conn;

/* The protocol name of TLS's ALPN extension. */
#define RUSMI_QUIC_ALPN "rusm/1"

/* Longest text of a close, with its NUL. */
#define RUSMI_QUIC_TEXT_MAX 768

/* The most that one rusmi_quic_conn_write fills: what one send with segmentation takes. */
#define RUSMI_QUIC_BATCH_MAX 65507

/* How connections are made. Fill it with rusmi_quic_config_init first; it is copied. */
struct rusmi_quic_config {
    rusm_identity *identity;  /* held by the connection; required */
    uint8_t secret[32];       /* of this endpoint: reset and Retry tokens are derived from it */
    int64_t (*wall_s)(void);  /* the time of day in seconds since 1970, for the dates of
                                  certificates; required */
    bool crl_strict;          /* a peer's CA must have a current revocation list (false) */
    rusm_time tick_ns;        /* a peer silent for so long is gone (10 s) */
    rusm_time handshake_ns;   /* the handshake may take so long (5 s) */
    rusm_time initial_rtt_ns; /* assumed until measured (10 ms) */
    rusm_time ack_hold_ns;    /* a packet of nothing but an acknowledgement may wait so long
                                 (0.5 ms) */
    uint64_t ack_hold_bytes;  /* unless so many bytes are unacknowledged (8 KiB) */
    uint64_t window;          /* bytes the peer may have in flight and parked here (64 MiB) */
    uint64_t streams_max;     /* message streams the peer may have open at a time (16,384) */
    uint64_t control_window;  /* control bytes the peer may have in flight (1 MiB) */
    size_t control_max;       /* control bytes that wait here to be sent or acknowledged (16 MiB)
                               */
    size_t udp_payload_max;   /* largest datagram sent, 1200 to 65,507 (1452) */
    bool udp_payload_fixed;   /* send datagrams of that size from the start and never probe:
                                 for loopback, where the MTU is known (false) */
};

void rusmi_quic_config_init(struct rusmi_quic_config *cfg);

/* What a peer is granted as initial_max_data under cfg: cfg->window for messages and what the
 * control stream needs beside them. An inbox is made with this. */
uint64_t rusmi_quic_config_granted(const struct rusmi_quic_config *cfg);

/* The addresses of a datagram. */
struct rusmi_quic_path {
    const struct sockaddr *local;
    socklen_t local_len;
    const struct sockaddr *remote;
    socklen_t remote_len;
};

/* What a connection tells its owner. All but `arg` must be set, except where said. */
struct rusmi_quic_events {
    /* Both certificates hold: the connection is UP. peer is valid during the call only (its owner
     * copies what it needs). An error closes the connection with the text of rusm_err_detail() and
     * becomes end.err: RUSM_EPROTO is the peer's fault, RUSM_ENOMEM ours, any other refuses it. */
    rusm_err (*authenticated)(void *arg, const struct rusmi_peer_identity *peer);
    /* Bytes of the control stream, in order. All must be taken. An error as above. */
    rusm_err (*control)(void *arg, const uint8_t *data, size_t len);
    /* A connection id of this side came into use or is no longer: an endpoint that serves many
     * connections on one socket routes by them. */
    void (*cid_new)(void *arg, const uint8_t *cid, size_t cid_len);
    void (*cid_retire)(void *arg, const uint8_t *cid, size_t cid_len);
    void *arg;
    /* Where messages come from and go to; the owner keeps both alive as long as the connection.
     * Either may be NULL until authenticated was called, see rusmi_quic_conn_set_boxes. */
    struct rusmi_outbox *outbox;
    struct rusmi_inbox *inbox;
    /* What ngtcp2 allocates is charged to it; outlives the connection. May be NULL. */
    struct rusmi_purse *purse;
};

enum rusmi_quic_state {
    RUSMI_QUIC_HANDSHAKE,
    RUSMI_QUIC_UP,
    RUSMI_QUIC_CLOSING,
    RUSMI_QUIC_DRAINING,
    RUSMI_QUIC_CLOSED,
};

enum rusmi_quic_cause {
    RUSMI_QUIC_NONE,          /* it has not ended */
    RUSMI_QUIC_CLOSED_LOCAL,  /* rusmi_quic_conn_close; code is the application's */
    RUSMI_QUIC_CLOSED_PEER,   /* the peer did the same */
    RUSMI_QUIC_REFUSED_LOCAL, /* we refused the peer's certificate (or ALPN): text says why */
    RUSMI_QUIC_REFUSED_PEER,  /* the peer refused ours: code is its TLS alert */
    RUSMI_QUIC_TIMEOUT,       /* silence for a tick, or the handshake took too long */
    RUSMI_QUIC_PROTOCOL,      /* the peer broke QUIC's or our rules; we closed */
    RUSMI_QUIC_TRANSPORT,     /* the peer closed with a QUIC transport error (code) */
    RUSMI_QUIC_RESET,         /* the peer no longer knows the connection (stateless reset) */
    RUSMI_QUIC_INTERNAL, /* out of memory (err is RUSM_ENOMEM), or an error of a library here */
};

/* Why a connection ended; its first reason, which later ones do not replace. */
struct rusmi_quic_end {
    enum rusmi_quic_cause cause;
    rusm_err err;                   /* the same, as the public error code */
    uint64_t code;                  /* as the cause says; 0 where it says nothing */
    char text[RUSMI_QUIC_TEXT_MAX]; /* a sentence for people, valid UTF-8 */
};

struct rusmi_quic_stats {
    rusm_time rtt_ns; /* smoothed; 0 before the first measurement */
    /* Declared lost by loss recovery (RFC 9002): an estimate from what streams lost, because QUIC
     * here counts by stream. A packet that two larger messages share may count twice. */
    uint64_t packets_lost;
    uint64_t bytes_sent, bytes_received; /* UDP payload */
    uint64_t packets_sent, packets_received;
    uint64_t datagrams_ignored; /* received and not taken: damaged, or not this one's */
    uint64_t congestion_window, bytes_in_flight;
    size_t payload_max;      /* the largest datagram that the path is taken to carry now */
    uint64_t payload_shrunk; /* how often the path was found to carry less than before */
};

/*
 * Dial. Nothing is sent before the first rusmi_quic_conn_write.
 *
 * Errors: RUSM_EINVAL (config), RUSM_ENOMEM, RUSM_ECERT (the identity's credentials can not be
 * used), RUSM_ESYS (no random numbers). events is copied.
 */
RUSM_MUST_CHECK rusm_err rusmi_quic_conn_new_client(struct rusmi_quic_conn **out_conn,
                                                    const struct rusmi_quic_config *cfg,
                                                    const struct rusmi_quic_events *events,
                                                    const struct rusmi_quic_path *path,
                                                    rusm_time now);

/*
 * Accept a dial whose first datagram rusmi_quic_route found to be RUSMI_QUIC_INITIAL; the caller
 * passes that datagram to rusmi_quic_conn_recv next. proof is what rusmi_quic_check_token filled,
 * or NULL if no Retry was asked for.
 *
 * events->cid_new is called for the connection's own id and for the one the client made up.
 */
RUSM_MUST_CHECK rusm_err rusmi_quic_conn_new_server(
    struct rusmi_quic_conn **out_conn, const struct rusmi_quic_config *cfg,
    const struct rusmi_quic_events *events, const struct rusmi_quic_path *path,
    const struct rusmi_quic_route *first, const struct rusmi_quic_proof *proof, rusm_time now);

/* Free it in any state; NULL is allowed. events->cid_retire is called for every id that is left;
 * no other event. Messages of the outbox that were started stay unacknowledged. */
void rusmi_quic_conn_del(struct rusmi_quic_conn *conn);

/* The window that the peer granted to our messages: an outbox is made with this. From
 * `authenticated` on; 0 before. */
uint64_t rusmi_quic_conn_peer_window(const struct rusmi_quic_conn *conn);

/* Boxes for messages, if they were not known when the connection was made: at the latest before
 * `authenticated` returns. */
void rusmi_quic_conn_set_boxes(struct rusmi_quic_conn *conn, struct rusmi_outbox *outbox,
                               struct rusmi_inbox *inbox);

/*
 * Take one received datagram. path NULL is that of the connection (a connected socket).
 *
 * Bad, foreign and damaged datagrams are counted and have no other effect. The result is RUSM_OK as
 * long as the connection lives; once it has ended it is the error of rusmi_quic_conn_end, and the
 * caller goes on with write (there may be a CONNECTION_CLOSE to send) and timer.
 */
rusm_err rusmi_quic_conn_recv(struct rusmi_quic_conn *conn, const struct rusmi_quic_path *path,
                              const uint8_t *data, size_t len, rusm_time now);

/* Datagrams to be sent: all `segment` bytes long but the last, which may be shorter. */
struct rusmi_quic_batch {
    size_t len;                    /* of all together; 0: nothing is to be sent now */
    size_t segment;                /* of each */
    const struct sockaddr *remote; /* where to; valid until the next call */
    socklen_t remote_len;
};

/*
 * Fill buf with what is to be sent now, and return how many bytes that is. Call it again until it
 * returns 0. buf_len is at least 65,536 (RUSMI_QUIC_BATCH_MAX and room to write); at least
 * udp_payload_max does as well, and makes single datagrams.
 *
 * A caller whose socket is full keeps the batch and sends it later; to drop it costs what packet
 * loss costs.
 */
size_t rusmi_quic_conn_write(struct rusmi_quic_conn *conn, uint8_t *buf, size_t buf_len,
                             struct rusmi_quic_batch *out_batch, rusm_time now);

/* The socket refused datagrams of that size as too large (EMSGSIZE): smaller ones are made from now
 * on. What was refused is a loss. */
void rusmi_quic_conn_too_large(struct rusmi_quic_conn *conn, size_t size, rusm_time now);

/* Whether write has something to say now: so that the owner can look before it takes a buffer. It
 * may be wrong in saying yes, never in saying no. */
bool rusmi_quic_conn_wants_write(const struct rusmi_quic_conn *conn, rusm_time now);

/* When rusmi_quic_conn_timer and then write must be called at the latest; UINT64_MAX: never. It may
 * lie in the past. */
rusm_time rusmi_quic_conn_deadline(const struct rusmi_quic_conn *conn);

/* Let time pass. Result as rusmi_quic_conn_recv. Datagrams that have arrived must be given to recv
 * before: an owner that was itself stopped for a while would else find that the peer was silent. */
rusm_err rusmi_quic_conn_timer(struct rusmi_quic_conn *conn, rusm_time now);

/*
 * Queue bytes (copied) on the control stream. They go with the next write, before messages.
 *
 * Errors: RUSM_EFULL (control_max; nothing was taken), RUSM_EAGAIN (the handshake is not done),
 * RUSM_ECLOSED, RUSM_ENOMEM
 */
RUSM_MUST_CHECK rusm_err rusmi_quic_conn_send_control(struct rusmi_quic_conn *conn,
                                                      const void *data, size_t len);

/* Control bytes that were queued and are not acknowledged. */
size_t rusmi_quic_conn_control_pending(const struct rusmi_quic_conn *conn);

/*
 * Close with an application code and a text (NULL: none) that the peer will see; the next write
 * emits it. What was started and is not acknowledged may be lost. Without effect if it has ended.
 */
void rusmi_quic_conn_close(struct rusmi_quic_conn *conn, uint64_t code, const char *text);

/* As rusmi_quic_conn_close, but for another cause than that we wished so; end.err follows from the
 * cause. For owners that find fault with what the peer says, or whose socket fails. */
void rusmi_quic_conn_fail(struct rusmi_quic_conn *conn, enum rusmi_quic_cause cause, uint64_t code,
                          const char *text);

/* RUSMI_BINDING_LEN bytes (trust/verify.h) that only the two ends of this connection know; from
 * `authenticated` on, valid as long as the connection. */
const uint8_t *rusmi_quic_conn_binding(const struct rusmi_quic_conn *conn);

enum rusmi_quic_state rusmi_quic_conn_state(const struct rusmi_quic_conn *conn);
/* Why it ended; cause RUSMI_QUIC_NONE as long as it has not. */
const struct rusmi_quic_end *rusmi_quic_conn_end(const struct rusmi_quic_conn *conn);
bool rusmi_quic_conn_is_server(const struct rusmi_quic_conn *conn);
/* Whether nothing of the control stream or the outbox waits for sending or acknowledgement. */
bool rusmi_quic_conn_is_quiet(const struct rusmi_quic_conn *conn);
void rusmi_quic_conn_get_stats(const struct rusmi_quic_conn *conn,
                               struct rusmi_quic_stats *out_stats);

#endif
