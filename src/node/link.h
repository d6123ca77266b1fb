/* SPDX-License-Identifier: MIT */
/*
 * A link: one QUIC connection of a node with its queue of outgoing messages.
 *
 * Any thread may queue messages and control bytes (under `lock`) and post the driver. Whichever
 * scheduler thread runs the driver owns the connection for that long: it reads the sockets, feeds
 * QUIC, delivers into mailboxes, takes what is queued, and writes datagrams. So a busy link batches
 * by itself, and an idle one sends at once.
 *
 *     dialed:    own connected socket ---------------------------> the same, for ever
 *     accepted:  the endpoint's socket, through its demultiplexer -> own connected socket once
 * authenticated
 *
 * Lifetime: counted. References are held by the driver (until `closed`), node->links, the peer
 * tables while the link is up, connection ids, and for a moment by senders. The last one frees; the
 * driver's goes last but for senders.
 */
#ifndef RUSMI_NODE_LINK_H
#define RUSMI_NODE_LINK_H

#include "base/buf.h"
#include "cluster/inbox.h"
#include "cluster/outbox.h"
#include "node/memory.h"
#include "node/node.h"
#include "quic/packet.h"
#include "trust/verify.h"

/* A datagram kept for a link by the endpoint, or for the endpoint by a link. */
struct rusmi_datagram {
    struct rusmi_list node;
    struct rusmi_address from;
    struct rusmi_address to; /* which address of ours; len 0: the one that the node listens at */
    size_t len;
    uint8_t data[];
};

/* A sender that waits for room in the queue, or for a crowded destination. On the waiter's stack,
 * under link->lock. */
struct rusmi_blocked {
    struct rusmi_list node;
    rusm_waiter *waiter;
};

/* A destination whose mailbox is crowded, as the peer told us; under link->lock. */
struct rusmi_busy {
    struct rusmi_map_entry entry;
    size_t key_len;
    uint8_t key[]; /* see rusmi_busy_key */
};

/* What a queued message costs beside its bytes: the structure, the allocator's share, and what its
 * header grows by when it starts. */
#define RUSMI_QUEUE_OVERHEAD (sizeof(struct rusmi_out) + 32 + RUSMI_VARINT_LEN_MAX)

#define RUSMI_BUSY_KEY_MAX   (1 + RUSM_NAME_MAX)

/* Destinations of one peer that senders are slowed down for. What it asks for beyond is ignored:
 * they are sent to as fast as ever. */
#define RUSMI_BUSY_MAX ((size_t)16384)

struct rusmi_link {
    _Atomic uint32_t refs;
    rusm_node *node;
    uint64_t id;
    bool dialed;
    rusm_driver *driver;
    struct rusmi_address remote;
    struct rusmi_address local; /* accepted: the address that the peer dialed, with our port */
    struct rusmi_address
        source; /* the same, where the endpoint's socket must be told; else len 0 */

    /* under node->lock */
    struct rusmi_map_entry by_id;
    bool gives_way; /* closed because others need what it holds: see memory.c */

    /* under node->peers_lock; name, incarnation, role and hidden are set before the link is in a
     * table */
    struct rusmi_map_entry by_name, by_incarnation;
    char name[RUSM_NAME_MAX + 1];
    uint64_t incarnation;
    rusm_role role;
    bool hidden, listed;
    uint32_t version;     /* of the protocol, which both speak */
    bool tied, announced; /* under node->lock: the runtime, the listeners know of the node */
    struct rusmi_link_trust trust; /* under node->lock, see reload.h */
    struct {
        struct rusmi_list in_node; /* in node->leaving, which holds a reference */
        uint64_t since;            /* who listens only since later does not hear; 0: all hear */
        enum rusmi_down_cause cause;
        char text[RUSMI_TEXT_MAX];
    } leaving; /* under node->lock, see groups.c: its node is lost, its members are leaving */
    rusm_time up_since;
    int64_t cert_not_after;

    struct rusmi_lock lock;
    /* under lock */
    struct rusmi_out *queue_head, *queue_tail; /* accepted, not yet in the outbox */
    size_t queue_bytes, queue_big;             /* of small ones, of big ones */
    size_t outbox_bytes, outbox_big; /* the same of what waits in the outbox, as of the last fill;
                                        written by the owner alone */
    struct rusmi_list blocked, blocked_big; /* senders waiting for room for a small, a big one */
    struct rusmi_purse out;   /* pays for all that waits here for the owner or the peer */
    size_t owner_charged;     /* of it, what the owner has taken on, as of the last look; written by
                               the owner alone */
    struct rusmi_buf control; /* bytes for the control stream */
    struct rusmi_list datagrams;
    size_t datagrams_len, datagrams_bytes;
    struct rusmi_map busy;          /* destinations that the peer asked to slow down for */
    struct rusmi_list busy_blocked; /* senders waiting for one of them */
    bool driver_open;               /* posts are allowed */
    bool accepting;                 /* messages may be queued: the link is up and not closing */
    bool up_asked;                  /* the core has declared the link up */
    bool close_asked;               /* code and text stay as they are from then on */
    uint64_t close_code;
    char close_text[RUSMI_QUIC_TEXT_MAX];
    rusm_time flush_until; /* closing: let the queue drain until then */
    /*
     * any thread: written under lock, read by the owner without it as a hint that is set before
     * each post
     */
    _Atomic uint32_t attention; /* datagrams, control bytes, a close or `up` wait for the owner */
    _Atomic uint32_t queue_len; /* messages in the queue */

    /* The gate for deliveries, see node/signal.h. */
    _Atomic uint32_t delivering;
    _Atomic bool cut;

    /* the thread that runs the driver */
    bool open;             /* it is inside the gate */
    struct rusmi_purse in; /* pays for what comes from the peer, and for the link itself */
    struct rusmi_quic_conn *conn;
    struct rusmi_outbox outbox;
    struct rusmi_inbox inbox;
    uint64_t dropped_told; /* of the messages that it dropped, those in the node's counter */
    bool close_wanted;     /* copies of close_asked and flush_until */
    rusm_time flush_wanted;
    bool boxes, authenticated, up, closing, ended, proven, no_segments;
    _Atomic bool told;             /* the core knows that the connection has ended */
    int fd;                        /* own connected socket, or -1: the endpoint's */
    struct rusmi_quic_route first; /* accepted: the head of the first datagram */
    struct rusmi_quic_proof proof;
    struct rusmi_handshake *handshake; /* accepted, until it is done: its place among others */
    struct rusmi_list early;           /* messages that overtook `ready`: struct early */
    size_t early_bytes;
    uint8_t *unsent; /* a batch that the full socket did not take */
    size_t unsent_len, unsent_segment;
    rusm_time stats_at;
    rusm_time read_at; /* when the socket was last read */
    struct rusmi_peer_identity peer;

    /* written by the owner, read by any thread, relaxed */
    _Atomic uint64_t stat_rtt_ns, stat_lost, stat_bytes_sent, stat_bytes_received, stat_sent,
        stat_received, stat_held, stat_memory, stat_payload, stat_shrunk;
};

/*
 * Make a link and its driver, in no table, with one reference for the caller. dialed: to remote;
 * else first and proof (or NULL) are of the datagram that asked for it, and source is the address
 * of ours that it came to, if the endpoint's socket tells (else NULL, or len 0).
 *
 * Errors: RUSM_EFULL (the node's memory for peers is used up), RUSM_ENOMEM, those of a driver
 */
rusm_err rusmi_link_new(struct rusmi_link **out_link, rusm_node *node, uint64_t id, bool dialed,
                        const struct rusmi_address *remote, const struct rusmi_address *source,
                        const struct rusmi_quic_route *first, const struct rusmi_quic_proof *proof);
struct rusmi_link *rusmi_link_hold(struct rusmi_link *link);
void rusmi_link_drop(struct rusmi_link *link);

/* Any thread; no effect once the driver is closed. */
void rusmi_link_post(struct rusmi_link *link);
/* Queue control bytes. Takes link->lock. Without memory the link is closed: a lost frame must not
 * go unnoticed. */
void rusmi_link_control(struct rusmi_link *link, const uint8_t *data, size_t len);
/* Ask the owner to close with that code and text; what was accepted is flushed first if flush_ns
 * allows. */
void rusmi_link_close(struct rusmi_link *link, uint64_t code, const char *text, rusm_time flush_ns);
/* Free what waits for the owner, or for the socket: it will not come to it. The owner, or whoever
 * has the only reference. */
void rusmi_link_clear(struct rusmi_link *link);
/* Give it a datagram that the endpoint's socket received. */
void rusmi_link_datagram(struct rusmi_link *link, const struct rusmi_address *from,
                         const uint8_t *data, size_t len);

/*
 * Queue a message. On RUSM_OK it is the link's; on any error the caller's.
 *
 * Waits for up to timeout_ms while it is full, or the destination crowded.
 *
 * Waits too while the node's memory for peers is used up.
 *
 * Errors: RUSM_ENOLINK (not up or lost), RUSM_ETIMEOUT, RUSM_EAGAIN (timeout_ms is 0), RUSM_EKILLED
 */
rusm_err rusmi_link_send(struct rusmi_link *link, struct rusmi_out *out, const uint8_t *busy_key,
                         size_t busy_key_len, int64_t timeout_ms);
/* Queue a signal, however full the queue is: it is bounded by the ties that there are. It is taken;
 * of a link that is not up any more it is dropped, as its ties break. */
void rusmi_link_signal(struct rusmi_link *link, struct rusmi_out *out);
/* The peer asked to slow down (or no longer) for a destination. */
void rusmi_link_set_busy(struct rusmi_link *link, const uint8_t *key, size_t key_len, bool on);
/* The key of a destination in link->busy; returns its length. name NULL: the serial. */
size_t rusmi_busy_key(uint8_t key[RUSMI_BUSY_KEY_MAX], uint64_t serial, const char *name,
                      size_t name_len);

/* ---- link_queue.c: called under or by the owner ---- */
/* The link is up: accept messages. */
void rusmi_link_open_queue(struct rusmi_link *link);
/* All that has to be known of the node is: let the owner send, and deliver what came early. */
void rusmi_link_begin(struct rusmi_link *link);
/* The link is lost or closing: refuse messages, wake whoever waits, and free and count what is
 * queued. */
void rusmi_link_shut_queue(struct rusmi_link *link, bool drop_queued);
/* Move the messages into the outbox, and wake senders for whom there is room again. Owner. */
void rusmi_link_fill_outbox(struct rusmi_link *link);

/* Bytes of accepted messages that have not started, with their overhead. Any thread. */
size_t rusmi_link_queued(struct rusmi_link *link);
/* What the link has of the node's budget. Any thread. */
size_t rusmi_link_memory(struct rusmi_link *link);

/* ---- peers.c ---- */
void rusmi_peers_add(struct rusmi_link *link);
void rusmi_peers_remove(struct rusmi_link *link);
/* A link that is up, held; NULL if there is none. */
struct rusmi_link *rusmi_peers_find(rusm_node *node, const char *name, size_t name_len);
struct rusmi_link *rusmi_peers_find_incarnation(rusm_node *node, uint64_t incarnation);

#endif
