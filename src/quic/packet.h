/* SPDX-License-Identifier: MIT */
/*
 * What an endpoint does with datagrams before, or without, a connection: find the connection they
 * belong to, and answer those that belong to none: Version Negotiation (RFC 9000 6), Retry (8.1.2),
 * a refusal, Stateless Reset (10.3).
 *
 * All are functions of their arguments and of random numbers; nothing is remembered. Every answer
 * is smaller than three times what it answers (RFC 9000 8.1), a reset smaller than its cause, so
 * that two endpoints can not make each other talk for ever.
 *
 * Threading: any.
 */
#ifndef RUSMI_QUIC_PACKET_H
#define RUSMI_QUIC_PACKET_H

#include <rusm/err.h>
#include <rusm/types.h>
#include <sys/socket.h>

/* Length of every connection id that rusm chooses. */
#define RUSMI_QUIC_CID_LEN 8
/* The longest that QUIC v1 allows (RFC 9000 17.2). */
#define RUSMI_QUIC_CID_MAX 20
/* Space for any of the answers below. */
#define RUSMI_QUIC_ANSWER_MAX 1280
/* The longest Retry token taken in. */
#define RUSMI_QUIC_TOKEN_MAX 256

enum rusmi_quic_kind {
    RUSMI_QUIC_GARBAGE, /* no QUIC packet: drop it */
    RUSMI_QUIC_SHORT,   /* of an established connection: find it by dcid, else reset */
    RUSMI_QUIC_LONG,    /* of a handshake under way: find it by dcid, else drop */
    RUSMI_QUIC_INITIAL, /* find it by dcid, else it asks for a new connection */
    RUSMI_QUIC_VERSION, /* of another QUIC version: find it by dcid, else answer with ours */
};

struct rusmi_quic_cid {
    uint8_t len;
    uint8_t data[RUSMI_QUIC_CID_MAX];
};

/* What the head of a datagram says. */
struct rusmi_quic_route {
    enum rusmi_quic_kind kind;
    uint32_t version;           /* 0 in short packets */
    struct rusmi_quic_cid dcid; /* of the receiver; RUSMI_QUIC_CID_LEN bytes in short packets */
    struct rusmi_quic_cid scid; /* of the sender; empty in short packets */
    size_t len;                 /* of the datagram */
    const uint8_t *token;       /* RUSMI_QUIC_INITIAL: points into the datagram; else NULL */
    size_t token_len;
};

/* Read the head of a datagram. Never fails: see RUSMI_QUIC_GARBAGE. */
void rusmi_quic_route(const uint8_t *data, size_t len, struct rusmi_quic_route *out_route);

/* A proof that a client owns its address. */
struct rusmi_quic_proof {
    struct rusmi_quic_cid original_dcid; /* that the client chose before the Retry */
    struct rusmi_quic_cid retry_scid;    /* that the Retry gave it */
    /* The connection is shown it: what it may send is bounded by a multiple of what the client
     * sent (RFC 9000 8.1) until it knows of the proof. */
    uint8_t token[RUSMI_QUIC_TOKEN_MAX];
    size_t token_len;
};

/* The answers write into buf (RUSMI_QUIC_ANSWER_MAX bytes) and return how many bytes to send back;
 * 0: send nothing. */

size_t rusmi_quic_write_versions(const struct rusmi_quic_route *to, uint8_t *buf);

/* secret: that of the endpoint (rusmi_quic_config). */
size_t rusmi_quic_write_retry(const struct rusmi_quic_route *to, const uint8_t secret[32],
                              const struct sockaddr *remote, socklen_t remote_len, uint8_t *buf,
                              rusm_time now);

/*
 * Check the token of an initial packet; a token is good for ten seconds and for one address.
 *
 * Errors: RUSM_EAGAIN   it has none: answer with a Retry, or accept without
 *         RUSM_EREFUSED the token is wrong or too old: answer with rusmi_quic_write_refusal
 */
RUSM_MUST_CHECK rusm_err rusmi_quic_check_token(const struct rusmi_quic_route *initial,
                                                const uint8_t secret[32],
                                                const struct sockaddr *remote, socklen_t remote_len,
                                                rusm_time now, struct rusmi_quic_proof *out_proof);

enum rusmi_quic_refusal {
    RUSMI_QUIC_BUSY,      /* CONNECTION_REFUSED: too many handshakes or links */
    RUSMI_QUIC_BAD_TOKEN, /* INVALID_TOKEN */
};

/* Refuse a connection without having one. text (NULL: none) is what the dialer is told. */
size_t rusmi_quic_write_refusal(const struct rusmi_quic_route *to, enum rusmi_quic_refusal why,
                                const char *text, uint8_t *buf);

/* Tell the sender of a short packet that its connection is no longer known. */
size_t rusmi_quic_write_reset(const struct rusmi_quic_route *to, const uint8_t secret[32],
                              uint8_t *buf);

#endif
