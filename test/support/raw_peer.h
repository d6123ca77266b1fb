/* SPDX-License-Identifier: MIT */
/*
 * A peer made of one QUIC connection and one UDP socket, with a loop that runs only when a test
 * says so. It is not a node: it says hello as any name, sends any bytes on the control stream and
 * any bytes as a message, or nothing at all, so that a real node can be shown what no honest node
 * does.
 *
 * With an identity from certs.h it is also a peer that a node itself would refuse to be.
 *
 * Once told to join it follows the protocol by itself: it answers hello with accept or ready (as
 * the names demand) and ping with pong. Threading: the test's own thread.
 */
#ifndef RUSM_SUPPORT_RAW_PEER_H
#define RUSM_SUPPORT_RAW_PEER_H

#include "base/buf.h"
#include "cluster/inbox.h"
#include "cluster/outbox.h"
#include "platform/udp.h"
#include "quic/conn.h"
#include "wire/control.h"

#include <rusm/trust.h>

#define SUPPORT_FRAME_TYPES 32

struct support_raw {
    rusm_identity *identity; /* held */
    struct rusmi_quic_config cfg;
    struct rusmi_quic_conn *conn; /* NULL in a listener before the first dial */
    struct rusmi_address local, remote;
    char address[80]; /* of the socket */
    int fd;
    struct rusmi_outbox outbox;
    struct rusmi_inbox inbox;
    struct rusmi_splitter splitter;
    uint64_t delivered;                   /* messages */
    uint64_t kinds[256];                  /* of them */
    uint64_t received;                    /* datagrams */
    uint64_t streams;                     /* sent */
    uint64_t frames[SUPPORT_FRAME_TYPES]; /* received, by type */
    uint64_t incarnation;                 /* for hellos */
    uint32_t version;                     /* that its hellos offer */
    const char *says_address;             /* for hellos; NULL: none */
    const char *join_as;                  /* follow the protocol under this name; NULL: do not */
    bool authenticated;                   /* the boxes are made */
    bool up;                              /* joined */
    bool deaf;                            /* takes a Retry and nothing else */
    bool said_hello, must_accept;         /* the node's hello came first */
};

/* Dial a node; nothing is sent before the first step. identity is held. */
struct support_raw *support_raw_dial(rusm_identity *identity, const char *address);
/* The same from a numeric host (127.x.y.z) of this machine; NULL: the system picks. */
struct support_raw *support_raw_dial_from(rusm_identity *identity, const char *host,
                                          const char *address);
/* The same with a QUIC of other settings, which adjust (not NULL) changes. */
struct support_raw *support_raw_dial_with(rusm_identity *identity, const char *host,
                                          const char *address,
                                          void (*adjust)(struct rusmi_quic_config *cfg));
/* Listen at 127.0.0.1:0 for one dial. */
struct support_raw *support_raw_listen(rusm_identity *identity);
void support_raw_del(struct support_raw *raw);

/* One turn: wait at most wait_ms for datagrams, take them, send what is due. */
void support_raw_step(struct support_raw *raw, int wait_ms);
/* Send what is due and take nothing. */
void support_raw_send_only(struct support_raw *raw);
/* Go on until done(arg) holds; false if it did not within SUPPORT_DEADLINE_MS. */
bool support_raw_run(struct support_raw *raw, bool (*done)(void *arg), void *arg);
/* Conditions; arg is the struct support_raw. */
bool support_raw_is_authenticated(void *raw);
bool support_raw_is_up(void *raw);
bool support_raw_is_ended(void *raw);
bool support_raw_is_quiet(void *raw); /* everything sent is acknowledged, or it has ended */

/* Run until it has ended, and tell why. */
const struct rusmi_quic_end *support_raw_end(struct support_raw *raw);

/* Run through TLS and the handshake of names until the link is up, as an honest node would. */
void support_raw_join(struct support_raw *raw, const char *name);

/* Queue bytes or a frame on the control stream. */
void support_raw_bytes(struct support_raw *raw, const void *data, size_t len);
void support_raw_frame(struct support_raw *raw, const struct rusmi_frame *frame);
/* A hello with that name and cluster, else as it should be. */
void support_raw_hello(struct support_raw *raw, const char *cluster, const char *name);
/* Queue a message of any bytes, broken or not, on a stream of its own, which ends with them. They
 * follow the field `previous`, which is put in front as it should be. */
void support_raw_stream(struct support_raw *raw, const void *data, size_t len);
/* The same as an honest peer does it: a body for a name. Returns how many bytes data got (its
 * header and body), for tests that break them. */
size_t support_raw_message(uint8_t *data, size_t data_len, const char *to, const void *body,
                           size_t len);

/* Queue a message with that head (previous is put in front) and body, well-formed or not: what an
 * honest peer would not say. */
void support_raw_head(struct support_raw *raw, const struct rusmi_message_head *head,
                      const void *body);

#endif
