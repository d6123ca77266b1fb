/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Nodes and peer links: bind, connect, send across, list, close. A node is a runtime that takes
 * part in a cluster over QUIC (RFC 9000) with TLS 1.3 and certificates on both sides
 * (rusm/trust.h).
 */
#ifndef RUSM_CLUSTER_NODE_H
#define RUSM_CLUSTER_NODE_H

#include <rusm/err.h>
#include <rusm/trust.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/** Bytes that an address as text needs at most, with the final NUL: `[IPv6%scope]:port`. */
#define RUSM_ADDRESS_MAX 128

/** How a node is bound. Fill it with rusm_node_config_init() first. */
typedef struct rusm_node_config {
    size_t size;        /**< sizeof(rusm_node_config), set by init */
    const char *listen; /**< numeric "IPv4:port" or "[IPv6]:port", port 0 for any ("127.0.0.1:0") */
    rusm_identity *identity; /**< held by the node until it is deleted; required */
    uint32_t tick_ms;        /**< a peer silent for so long is down; 200 to 3,600,000 (10,000) */
    uint32_t hello_ms;       /**< time from the first packet to an accepted hello (5,000) */
    uint32_t peers_max;      /**< links at a time, hidden ones too (4,096) */
    uint32_t
        handshakes_max; /**< handshakes that peers began and have not finished, at a time; above
                           that, the oldest of the host with most gives way (1,024) */
    uint32_t handshakes_retry;  /**< above so many, at a time or of those that began within hello_ms
                                  and did not succeed, a peer must prove its address first: RFC 9000
                                  8.1.2 (128) */
    uint32_t handshakes_source; /**< of handshakes_max, for one IPv4 address or one /64 of IPv6 that
                                   has proven itself; the same within hello_ms, but for those that
                                   succeed (256) */
    size_t queue_bytes_max;     /**< waiting messages per peer, with their overhead (1 MiB); as much
                                   again for messages above 64 KiB, apart from the others */
    size_t signal_bytes_max;    /**< the same with signals, which do not wait for room: a link for
                                   which more waits is closed (256 MiB) */
    uint32_t names_max;         /**< global names that one peer may own (1,048,576) */
    uint32_t requests_max; /**< requests of one peer that are being worked on, at a time (1,024) */
    uint32_t groups_max;   /**< memberships in groups that the processes of one peer may have
                              (1,048,576) */
    uint32_t mailbox_high; /**< a mailbox above this slows remote senders down (8,192), see
                              docs/design/flow.md */
    uint32_t watches_max;  /**< links and monitors that processes of one peer may have on processes
                             here (1,048,576); a peer that asks for more is disconnected */
    uint64_t mailbox_bytes_max; /**< bytes of messages from other nodes that one mailbox may hold,
                                   their overhead too; what comes beyond is dropped and counted, and
                                   above half of it remote senders are slowed down (256 MiB) */
    uint64_t memory_max; /**< bytes that the node holds for all peers together: links, messages that
                            wait for them or have come and can not be delivered yet, names,
                            members of groups, streams (docs/design/memory.md); at least 128 MiB,
                            and 0 is 4 GiB. At that bound links are refused, senders wait as for a
                            full queue, messages above 1 MiB wait at their senders for 5 s, and what
                            else a peer sends beyond its share of what is left is dropped or ends
                            its link. Handshakes take at most an eighth of it, however large
                            handshakes_max is (0) */
    bool mesh;           /**< be linked with every member: tell peers of each other, and dial whom
                              they tell of (true) */
    const char *advertise; /**< the address at which others can reach the node, where that is not
                              `listen`; port 0 for the port of `listen`. NULL: `listen`, and if that
                              is 0.0.0.0 or [::], what each peer sees (NULL) */
    uint32_t
        members_max; /**< addresses that one peer may tell of; lost members that are looked for;
                              addresses that may be joined (4,096) */
    uint32_t reconnect_min_ms; /**< the first wait between two dials to one address (100) */
    uint32_t reconnect_max_ms; /**< the longest; 0: lost members are not dialled again (30,000) */
    uint32_t forget_ms;   /**< a member that peers tell of and that never answered is looked for so
                           long (600,000) */
    uint32_t discover_ms; /**< files and names given to rusm_node_join() are looked at so often
                             (5,000) */
    bool
        crl_strict; /**< let a peer in only if a revocation list of its CA is here whose next update
                        has not passed. Links that are up stay: an old list says nothing new of
                        them. Else an old list goes on to be used, and rusm_node_stats.crl_stale
                        counts (false) */
} rusm_node_config;

/** Fill cfg with the defaults. Threads: any. */
RUSM_API void rusm_node_config_init(rusm_node_config *cfg);

/**
 * Make runtime rt a node: open its UDP socket and accept peers of the identity's cluster.
 *
 * name must be the one in the certificate, or any under a shared identity; NULL takes the
 * certificate's.
 *
 * Owns:    the caller owns the node and ends it with rusm_node_del(), before the runtime. identity
 *          is held.
 * Threads: an ordinary thread.
 * Errors:  RUSM_EINVAL  a bad name or address; rt is a node already
 *          RUSM_EAUTH   the certificate is for another name
 *          RUSM_ECERT   the certificate is not usable (for instance expired)
 *          RUSM_ESYS    the address can not be bound; rusm_err_detail() has the system's text
 *          RUSM_ENOMEM
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_node_bind(rusm_node **out_node, rusm_runtime *rt,
                                                 const char *name, const char *listen,
                                                 rusm_identity *identity);

/** Like rusm_node_bind() with all settings; RUSM_EINVAL if one is out of range. */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_node_bind_with(rusm_node **out_node, rusm_runtime *rt,
                                                      const char *name,
                                                      const rusm_node_config *cfg);

/**
 * Stop the node's runtime (rusm_runtime_stop(): every process ends), close every link (peers see
 * *closed by peer*) and free the node; NULL is allowed. Messages that were accepted before are
 * handed to the network first where the links still take them, for at most a second.
 *
 * Threads: an ordinary thread that has not entered the runtime; no other call on the node may be
 * running or follow. Waits for as long as a process of the runtime does not end.
 */
RUSM_API void rusm_node_del(rusm_node *node);

/** The node of the calling process or entered thread; NULL if there is none. Every `node` parameter
 * may be NULL there. */
RUSM_API rusm_node *rusm_node_self(void);

/** The runtime that is this node. */
RUSM_API rusm_runtime *rusm_node_runtime(const rusm_node *node);
/** The name of a node. Owns: nothing; valid as long as the node. */
RUSM_API const char *rusm_node_name(const rusm_node *node);
/** The cluster of a node. Owns: nothing; valid as long as the node. */
RUSM_API const char *rusm_node_cluster(const rusm_node *node);
/** The address that a node listens on, with its real port. Owns: nothing; valid as long as the
 * node. */
RUSM_API const char *rusm_node_address(const rusm_node *node);

/**
 * Connect to the node that listens at address, unless a link to it is up already: mutual TLS, then
 * names.
 *
 * On return the link is up on this side. Dials to one address at the same time share one handshake;
 * dials in both directions end in one link.
 *
 * Owns:    out_peer may be NULL or is an array of RUSM_NAME_MAX + 1 bytes that takes the peer's
 *          name.
 * Threads: any. Suspends a process; blocks a thread.
 * Errors:  RUSM_EINVAL    the address can not be read, or it is this node
 *          RUSM_ETIMEOUT  nothing answered in time
 *          RUSM_EAUTH     one side refused the other's certificate or name; rusm_err_detail() says
 *                         which and why
 *          RUSM_EPROTO    the peer speaks no rusm, or no common version
 *          RUSM_EREFUSED  the peer is full, closing, or has a link with another holder of our name
 *          RUSM_ENOLINK   the peer closed the link before it was up
 *          RUSM_EFULL, RUSM_ECLOSED, RUSM_ESYS, RUSM_ENOMEM
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_node_connect(rusm_node *node, const char *address,
                                                    int64_t timeout_ms, char *out_peer);

/** Close the link to a peer, and look for it no longer (neither does the peer), until something
 * asks for it: rusm_node_connect() or rusm_node_join() on either side, or a restart of the peer. Of
 * a peer that is lost, stop looking for it. Returns once the link is down here. Threads: any.
 * Errors: RUSM_ENONODE, RUSM_EINVAL */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_node_disconnect(rusm_node *node, const char *peer);

/**
 * Send a copy of len bytes to the process registered as name on node peer (which may be this node
 * itself).
 *
 * Success means accepted. If nobody has the name there, the message is dropped and counted at the
 * receiver (rusm_node_stats.dropped_noname). While the link's queue is full the caller is
 * suspended.
 *
 * Threads: any. A caller outside any context sends as the zero pid.
 * Limits:  RUSM_MESSAGE_MAX
 * Errors:  RUSM_ENONODE   no link to peer; rusm_err_detail() names it
 *          RUSM_ENONAME   peer is this node and nobody has the name
 *          RUSM_ENOLINK   the link was lost while the caller waited
 *          RUSM_EMSGSIZE, RUSM_EINVAL, RUSM_ENOMEM, RUSM_ECLOSED, RUSM_EPERM
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_node_send(rusm_node *node, const char *peer,
                                                 const char *name, const void *data, size_t len);

/** Like rusm_node_send(), but RUSM_EAGAIN instead of waiting. */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_node_try_send(rusm_node *node, const char *peer,
                                                     const char *name, const void *data,
                                                     size_t len);

/** One peer, as it was at some moment during the call. */
typedef struct rusm_peer_info {
    char name[RUSM_NAME_MAX + 1];
    char address[RUSM_ADDRESS_MAX];
    char listen[RUSM_ADDRESS_MAX]; /**< where it can be dialled, as far as it says */
    uint64_t incarnation;
    rusm_role role;
    bool dialed;            /**< this side dialed */
    uint64_t rtt_us;        /**< smoothed round-trip time */
    uint64_t packets_lost;  /**< as loss recovery saw it (RFC 9002) */
    uint64_t messages_sent; /**< handed to QUIC */
    uint64_t messages_received;
    uint64_t bytes_sent; /**< UDP payload */
    uint64_t bytes_received;
    uint64_t queue_bytes;   /**< accepted and not started yet, with overhead */
    uint64_t held_bytes;    /**< of messages from the peer that are unfinished, wait for one that
                                 comes before them, or for the link to be up; at most twice what the
                                 link's window grants */
    uint64_t memory_bytes;  /**< what the link has of the node's memory_max: reserved or in use; 0
                                 of another node's peer */
    int64_t up_ms;          /**< how long the link is up */
    int64_t cert_not_after; /**< seconds since 1970 */
    uint64_t payload_max;   /**< the largest UDP payload that the path is taken to carry now; 0: the
                                 node asked does not say */
    uint64_t payload_shrunk; /**< how often the path was found to carry less than before (RFC 8899
                                  4.3); it is searched for more every ten minutes */
} rusm_peer_info;

/**
 * List the peers with a link that is up, a page at a time, in the order in which the links came up;
 * cursors as in rusm_process_list(). Hidden peers (operators, observers) are not listed.
 *
 * Threads: any. Never blocks.
 * Returns: how many records were written, or a negative rusm_err
 */
RUSM_API RUSM_MUST_CHECK ptrdiff_t rusm_peer_list(rusm_node *node, uint64_t *cursor,
                                                  rusm_peer_info *infos, size_t infos_max);

/** Counters of a node since it was bound. */
typedef struct rusm_node_stats {
    uint64_t messages_sent;     /**< handed to QUIC, all peers */
    uint64_t messages_received; /**< delivered into mailboxes or dropped below */
    uint64_t dropped_noname;    /**< received for a name that nobody has here */
    uint64_t dropped_noproc; /**< received for a process that has ended, or of a past incarnation */
    uint64_t dropped_full;   /**< received for a mailbox that was full: see mailbox_bytes_max */
    uint64_t dropped_role;   /**< received from a peer whose role may not send */
    uint64_t dropped_nomem;  /**< received and no memory for it */
    uint64_t dropped_link;   /**< accepted for sending, unacknowledged when the link was lost */
    uint64_t closed_slow;    /**< links closed: too much waited for a peer that did not read */
    uint64_t closed_memory;  /**< links closed because memory_max (or the memory) is used up, and
                                  their peers had made the node hold the most of it */
    uint64_t handshakes;     /**< completed, both directions */
    uint64_t refused_auth;   /**< certificates and hellos refused here, and links cut because a
                                  certificate was revoked or expired */
    uint64_t refused_full;   /**< turned away because of a limit */
    uint64_t refused_duplicate; /**< links closed because another to the same node stays */
    uint64_t protocol_errors;   /**< links closed because the peer broke the protocol */
    uint64_t timeouts;          /**< links and handshakes that ended in silence */
    uint64_t datagrams_stray;   /**< datagrams that belong to no connection */
    uint64_t members_refused;   /**< addresses that peers told of, over members_max */
    uint64_t groups_refused;    /**< memberships of peers' processes over groups_max, or that they
                                     may not have */
    uint64_t names_refused;     /**< names of peers over names_max, or that they may not publish */
    uint64_t names_conflicts;   /**< names that processes of this node lost to others */
    uint64_t crl_stale;         /**< peers let in under a revocation list that is overdue */
    uint64_t certs_refused;  /**< new certificates that peers showed on a link that is up and that
                                     are not trusted here; the old ones stay in use */
    uint64_t queue_bytes;    /**< now, of all links: see rusm_peer_info.queue_bytes */
    uint64_t held_bytes;     /**< now, of all links: see rusm_peer_info.held_bytes */
    uint64_t memory_bytes;   /**< now, reserved or in use for peers: never more than memory_max */
    uint64_t memory_peak;    /**< the most that memory_bytes was, or a little more: the peaks of its
                                parts may lie apart */
    uint64_t memory_refused; /**< how often something did not fit into memory_max; a sender that
                                  waits for room counts each time it looks */
} rusm_node_stats;

/** Read the counters of a node. Threads: any. Errors: RUSM_ENOCONTEXT */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_node_get_stats(rusm_node *node, rusm_node_stats *out_stats);

/**
 * Replace the identity of a running node: certificate and key, trust anchors, revocation lists.
 *
 * New handshakes use the new identity at once. Links that are up stay up: their peers are shown the
 * new certificate (signed for that link), and judge it by their own anchors. The certificate that
 * each peer last showed is judged again by the new anchors and lists; a link whose peer is no
 * longer trusted is closed, and the node-down event (rusm/cluster/events.h) says *revoked* and why.
 * Afterwards a peer's certificate is watched too: when it, or its CA's, ends, its link is closed.
 *
 * On an error nothing has changed.
 *
 * Owns:    identity is held; the one before is let go once no handshake or link uses it.
 * Threads: any. Does not wait for peers; judges one certificate after another, a fraction of a
 *          millisecond each.
 * Errors:  RUSM_EAUTH   it is for another cluster, name or role than the node's
 *          RUSM_ECERT   its certificate has expired or is not valid yet, or is revoked by its own
 *                       lists
 *          RUSM_EINVAL, RUSM_ECLOSED, RUSM_ENOCONTEXT, RUSM_ENOMEM
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_node_reload(rusm_node *node, rusm_identity *identity);

/** Reads an identity anew, wherever it comes from, and calls rusm_node_reload(). It is called on a
 * thread of the node and should be done in milliseconds. */
typedef rusm_err (*rusm_reload_fn)(rusm_node *node, void *arg);

/** Let operators ask for a reload (`rusm node reload`): fn is called, and its error, with the text
 * of rusm_err_detail(), is the answer. NULL: it is refused, as before the first call. Threads: any.
 * Errors: RUSM_ENOCONTEXT */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_node_on_reload(rusm_node *node, rusm_reload_fn fn,
                                                      void *arg);

/** What a node proves itself with and trusts now. */
typedef struct rusm_node_trust {
    rusm_cert_info own;      /**< its own certificate; not_after says until when peers let it in */
    size_t anchors_len;      /**< CAs that are trusted */
    size_t crls_len;         /**< revocation lists */
    int64_t crl_next_update; /**< when the first of them is overdue, seconds since 1970; 0: none */
    uint64_t reloads;        /**< identities that have replaced another */
} rusm_node_trust;

/** Read what a node trusts. Threads: any. Errors: RUSM_EINVAL, RUSM_ENOCONTEXT */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_node_get_trust(rusm_node *node, rusm_node_trust *out_trust);

RUSM_END_DECLS

#endif
