/* SPDX-License-Identifier: MIT */
/*
 * Certificates of a node and its peers while links are up: replaced, judged again, and watched
 * until they end (docs/design/trust.md).
 *
 * Invariant: a link that is up was last judged by the identity that the node has now, or is about
 * to be closed, or is in the list that rusm_node_reload is working on. A link that authenticates
 * with an older identity sees so (generation) and is judged again before the core hears of it.
 *
 * All state here is under node->lock, but for what says otherwise.
 */
#ifndef RUSMI_NODE_RELOAD_H
#define RUSMI_NODE_RELOAD_H

#include <rusm/cluster/node.h>
#include <rusm/err.h>
#include <rusm/types.h>

#include "trust/verify.h"

#include <stdatomic.h>

struct rusmi_actions;
struct rusmi_certificate;
struct rusmi_link;
struct rusmi_quic_config;
struct rusmi_reply;

/* New certificates that a peer may show on one link in RUSMI_SHOWS_NS: each costs two signature
 * checks. Who shows more is disconnected. */
#define RUSMI_SHOWS_MAX 32u
#define RUSMI_SHOWS_NS  ((rusm_time)10 * 1000 * 1000 * 1000)

/* The time of day may jump, so that it is looked at that often at least. */
#define RUSMI_TRUST_EVERY_NS ((rusm_time)60 * 1000 * 1000 * 1000)

/* Of a node. */
struct rusmi_trust {
    uint64_t generation; /* of the identity */
    uint64_t own;        /* of the certificate in it: more than one identity may have the same */
    rusm_reload_fn fn;
    void *arg;
    _Atomic uint64_t at; /* when the links' certificates are looked at; read without the lock */
};

/* Of a link. */
struct rusmi_link_trust {
    uint64_t generation; /* of the identity that its handshake was made with */
    uint64_t shown;      /* trust.own of the certificate that the peer knows */
    uint8_t *cert;       /* of the peer, as it showed it last and we trusted it; NULL before that */
    size_t cert_len;
    uint8_t
        *next; /* one that it has proven and that we do not trust; judged again at each reload */
    size_t next_len;
    int64_t until; /* cert or its CA's ends, seconds since 1970 */
    uint8_t binding[RUSMI_BINDING_LEN];
    uint32_t shows; /* since shows_since */
    rusm_time shows_since;
};

void rusmi_trust_init(struct rusmi_trust *trust);
void rusmi_trust_fini(struct rusmi_link_trust *trust);

/* The settings for a connection of the link; takes node->lock. cfg->identity is held for the
 * caller. */
void rusmi_trust_config(struct rusmi_link *link, struct rusmi_quic_config *cfg);
/* The peer was authenticated as `peer`. Takes node->lock. RUSM_ENOMEM; RUSM_EAUTH: it is no longer
 * trusted; with a detail. */
RUSM_MUST_CHECK rusm_err rusmi_trust_begin(struct rusmi_link *link,
                                           const struct rusmi_peer_identity *peer,
                                           const uint8_t binding[RUSMI_BINDING_LEN]);

/* Under node->lock: the link is up. */
void rusmi_trust_up(struct rusmi_link *link, struct rusmi_actions *more);
/* Under node->lock: the peer shows a new certificate. */
void rusmi_trust_shown(struct rusmi_link *link, const struct rusmi_certificate *certificate,
                       struct rusmi_actions *more);

/* Look at the dates if it is time to; returns when to come again. Takes node->lock; for the
 * endpoint's driver. */
rusm_time rusmi_trust_drain(rusm_node *node, rusm_time now);
/* A peer's request to reload. */
void rusmi_trust_answer(rusm_node *node, struct rusmi_reply *reply);

#endif
