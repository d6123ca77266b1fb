/* SPDX-License-Identifier: MIT */
/*
 * Two QUIC connections and the network between them, in memory and in virtual time: a dialer and
 * whatever answers at the other address (a listener that makes a connection of the first Initial).
 *
 * The network delays, loses, repeats, reorders and damages datagrams as a seed says. Nothing here
 * sleeps or looks at a clock: support_pair_run() goes from event to event.
 */
#ifndef RUSM_SUPPORT_QUIC_PAIR_H
#define RUSM_SUPPORT_QUIC_PAIR_H

#include "base/prng.h"
#include "cluster/inbox.h"
#include "cluster/outbox.h"
#include "quic/conn.h"
#include "trust/verify.h"

#include <netinet/in.h>
#include <rusm/trust.h>

enum {
    SUPPORT_DIALER = 0,
    SUPPORT_LISTENER = 1,
};

#define SUPPORT_MS ((rusm_time)1000000)

struct support_datagram;
struct support_pair;

struct support_end {
    struct support_pair *pair;
    struct rusmi_quic_config cfg;
    struct rusmi_quic_conn *conn; /* listener: NULL until an Initial came */
    struct sockaddr_in address, seen_as;
    struct rusmi_outbox outbox;
    struct rusmi_inbox inbox;
    bool authenticated; /* boxes are made */
    bool frozen;        /* takes, sends and notices nothing */
    rusm_err refuse;    /* what `authenticated` returns */
    struct rusmi_peer_identity peer;
    uint8_t *control; /* received */
    size_t control_len, control_cap;
    size_t control_calls;
    size_t cids; /* new less retired */
    uint64_t delivered;
    uint64_t numbers_sent; /* by support_pair_send_number() */
    uint64_t next_number;  /* of those of the other end */
    bool out_of_order;
    uint64_t bulk;                     /* messages delivered that were not numbers */
    size_t last_len;                   /* of the last of them */
    uint64_t last_sum;                 /* of its bytes */
    uint64_t delivered_before_control; /* messages delivered when the first control byte came */
    uint64_t datagrams_sent, bytes_sent, batches_sent;
    size_t largest;    /* datagram sent */
    in_port_t sent_to; /* port of the last batch */
};

struct support_pair {
    struct support_end ends[2];
    rusm_time now;
    struct support_datagram *head, *tail; /* under way, by time of arrival */
    struct rusmi_prng prng;
    rusm_time delay_ns, jitter_ns;
    uint64_t rate;           /* bytes per second that each direction carries, the others wait,
                                however many they are; 0: no end */
    rusm_time carried_at[2]; /* when what was sent to each end so far is through */
    unsigned loss_percent, repeat_percent, damage_percent;
    size_t mtu;      /* larger datagrams vanish; 0: none do */
    in_port_t nat;   /* the port that the listener sees the dialer at; 0: its own */
    rusm_err accept; /* what came of the listener making a connection */
    bool retry;      /* the listener asks for a Retry first */
    bool busy;       /* the listener refuses */
    size_t retries;  /* that it sent */
    uint8_t *buf;    /* for batches */
    uint64_t strays; /* datagrams that the listener could not place */
    size_t queued;   /* datagrams under way */
};

/* The identities are held by the configs; either may be NULL to be set later in ends[].cfg. */
void support_pair_init(struct support_pair *pair, rusm_identity *dialer, rusm_identity *listener,
                       uint64_t seed);
void support_pair_fini(struct support_pair *pair);

/* Make the dialer's connection. */
void support_pair_dial(struct support_pair *pair);
/* The same for a test that lets it fail. */
rusm_err support_pair_try_dial(struct support_pair *pair);

/* Go on until the predicate holds (true) or virtual time has gone limit_ns further (false). A NULL
 * predicate never holds. */
bool support_pair_run(struct support_pair *pair, bool (*done)(struct support_pair *pair),
                      rusm_time limit_ns);

/* Predicates. */
bool support_pair_up(struct support_pair *pair);    /* both are authenticated */
bool support_pair_ended(struct support_pair *pair); /* both have ended, or one that never began */
bool support_pair_quiet(struct support_pair *pair); /* both have everything acknowledged */

/* Dial and run until both are up; false if that did not happen in ten seconds. */
bool support_pair_connect(struct support_pair *pair);

/* Send a message of len bytes, each `fill`, from sender to serial. */
void support_pair_send(struct support_end *end, uint64_t sender, uint64_t serial, uint8_t fill,
                       size_t len);

/* Send the next number (8 bytes) of this end, always from sender 1 to serial 1: the other end
 * checks that the numbers come in order. */
void support_pair_send_number(struct support_end *end);

/* Give bytes to an end as a datagram from the other end. */
rusm_err support_pair_inject(struct support_end *to, const void *data, size_t len);

#endif
