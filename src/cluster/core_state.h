/* SPDX-License-Identifier: MIT */
/*
 * What a core is made of, shared by src/cluster/core*.c and by nobody else.
 *
 *   core.c          making, events, timers, lookups, the invariant
 *   core_hello.c    the rules that a peer's hello must keep
 *   core_link.c     the life of a conn: who decides, probing, up, the end
 *   core_dial.c     dials and what completes them
 *   core_mesh.c     who is to be dialled again and again, and what members tell of each other
 *   core_names.c    registration and gossip
 *   core_names_ask.c  registration that asks first
 *   core_groups.c   gossip about members of groups
 *   core_request.c  requests and replies, both sides
 *   action.c        the list of actions
 *
 * A conn that ends while a step runs is only unlinked and marked CLOSED: pointers to it stay valid
 * until the step's end frees it (core_finish). Whoever sends may lose the conn (no memory), so code
 * that goes on after a send looks at the state again.
 */
#ifndef RUSMI_CLUSTER_CORE_STATE_H
#define RUSMI_CLUSTER_CORE_STATE_H

#include "base/list.h"
#include "base/map.h"
#include "base/prng.h"
#include "cluster/core.h"
#include "cluster/deadlines.h"
#include "cluster/groups.h"
#include "cluster/names.h"
#include "cluster/roster.h"

/* A dial is tried again so often when a race for the one link leaves none. */
#define RUSMI_DIAL_TRIES 3u
/* A probe waits a quarter of the tick, at most so long. */
#define RUSMI_PROBE_MAX_MS 1000u
/* Changes among the members are gathered for so long before the others hear of them. */
#define RUSMI_GOSSIP_MS 50u
/* Addresses that one peer told of and that are being dialled at a time. */
#define RUSMI_HEARD_DIALS 8u
/* Of two nodes that hear of each other, the one that sorts later dials so many first waits after
 * the other: when many meet at once, handshakes take their time. */
#define RUSMI_HEARD_LATER 30u
/* Incarnations remembered that left or that we were asked to stay apart from. */
#define RUSMI_APART_MAX 256u
/* A link that was up for less does not count as success: its loss goes on with the back-off. */
#define RUSMI_PROVEN_MS 1000u
/* Frames of a listing sent before the peer must have answered a ping. */
#define RUSMI_SYNC_FRAMES 8u
/* A peer that had names or memberships refused is asked for them again at most so often. */
#define RUSMI_MORE_NS ((rusm_time)1000000000u)

enum conn_state {
    CONN_DIALING,
    CONN_HELLO,
    CONN_WAIT_ACCEPT,
    CONN_WAIT_READY,
    CONN_PROBING,
    CONN_UP,
    CONN_CLOSED,
    CONN_STATES,
};

/* What a struct rusmi_deadline is embedded in. */
enum deadline_kind {
    DEADLINE_CONN,
    DEADLINE_DIAL,
    DEADLINE_REQUEST,
    DEADLINE_ASK,
    DEADLINE_MORE_NAMES,
    DEADLINE_MORE_GROUPS,
    DEADLINE_WANTED,
    DEADLINE_GOSSIP,
};

struct conn;

/* Telling a peer all that is ours of one kind: core_listing.c. */
struct listing {
    /* Send the next page of what is younger than the id `after`; returns the last id sent,
     * UINT64_MAX for all. */
    uint64_t (*page)(struct rusmi_core *core, struct conn *conn, uint64_t after, rusm_time now,
                     struct rusmi_actions *out);
    uint64_t after; /* what was sent; UINT64_MAX: all */
    uint64_t nonce; /* it goes on when this pong comes */
    bool again;     /* all is being sent anew, and was not yet read */
    bool once_more; /* it was asked for meanwhile */
};

/* What we do not know of a peer because we had no room. */
struct lack {
    enum rusmi_frame_type frame; /* that asks for it */
    bool refused;                /* something was, and was not asked for again since */
    rusm_time at;                /* when it may be */
    struct rusmi_deadline deadline;
};

struct conn {
    struct rusmi_map_entry by_id;
    struct rusmi_list in_state; /* core->handshakes, core->links or core->dead */
    uint64_t id;
    enum conn_state state;
    bool dialed;
    struct rusmi_deadline deadline;
    struct rusmi_splitter splitter;
    char address[RUSMI_WIRE_ADDRESS_MAX + 1]; /* dialed: as dialed; else as the transport says */
    struct rusmi_core_cert cert;

    /* From the hello; name is empty before it was accepted. */
    char name[RUSM_NAME_MAX + 1];
    char listen[RUSMI_WIRE_ADDRESS_MAX + 1];
    uint64_t incarnation;
    uint64_t features;
    uint32_t version; /* the highest that both speak; 0 before the hello was accepted */
    bool hidden;      /* the peer is no member */
    bool decides;     /* this side decides which link stays */

    /* PROBING: the link that was asked for a sign of life, and with what nonce. */
    uint64_t probe_conn, probe_nonce;

    /* UP */
    struct rusmi_map_entry by_name, by_incarnation; /* unless hidden */
    uint64_t peer_id;                               /* in core->peers */
    rusm_time up_since;
    struct rusmi_purse tables; /* pays for the next two */
    struct rusmi_claimant claimant;
    struct rusmi_holder holder;             /* its processes that are in groups */
    struct listing names_list, groups_list; /* of ours, to it */
    struct lack names_lack, groups_lack;    /* of its */

    uint64_t members_after; /* it was told of the peers up to this peer_id */
    size_t heard_len;       /* entries of core->mesh that only this peer told of */
    bool left;              /* the peer has said that it leaves the cluster */
    bool apart;             /* the link is closed on request: it is not to come again by itself */

    struct rusmi_list dials;    /* that wait for this conn */
    struct rusmi_list requests; /* of ours, in flight */
    struct rusmi_list asks;     /* of ours, that it has not answered: struct wait */
    size_t serving;             /* requests of the peer that are being worked on */
    struct rusmi_action *close_action, *up_action, *down_action;
};

struct dial {
    struct rusmi_list in_conn;
    struct rusmi_deadline deadline;
    struct conn *conn;
    uint64_t ref;
    unsigned tries;
    char address[RUSMI_WIRE_ADDRESS_MAX + 1];
    struct rusmi_action *done; /* NULL if it is made for `wanted` */
    struct wanted *wanted;
};

/*
 * An address at which a peer is wanted, for one or more of three reasons: the user said so, a
 * member that was up listened there, or a peer told of a member there. It is being dialled (dial),
 * or waits for its deadline, or has neither because the node of that name is up.
 */
struct wanted {
    struct rusmi_map_entry by_address;
    struct rusmi_list in_all, in_dialing; /* in mesh.dialing or mesh.ended */
    struct rusmi_deadline deadline;
    uint64_t id; /* larger than all before: a cursor */
    char address[RUSMI_WIRE_ADDRESS_MAX + 1];
    char name[RUSM_NAME_MAX + 1]; /* who answered there, or who is said to; empty: unknown */
    uint64_t incarnation;         /* the same; 0: unknown */
    struct dial *dial;
    rusm_err err;                    /* of the last dial */
    char problem[RUSMI_PROBLEM_MAX]; /* of the last dial; empty: it led to a link */
    unsigned failures;               /* in a row */
    rusm_time tried_at;              /* when the last dial ended */
    unsigned configured;
    bool settled; /* the node that was here went on purpose: only another is looked for */
    bool known;
    bool heard;
    bool self;           /* the address is this node's own */
    uint64_t source;     /* heard: the conn of the peer that told, 0 when that has gone */
    rusm_time forget_at; /* heard and nothing else */
};

struct mesh {
    struct rusmi_prng prng;
    struct rusmi_map by_address;
    struct rusmi_list all;     /* oldest first */
    struct rusmi_list dialing; /* being dialled */
    struct rusmi_list ended;   /* whose dial is over, until the end of the step */
    size_t configured_len, known_len, orphans_len;
    struct rusmi_deadline gossip;
    uint64_t wanted_last;
    uint64_t apart[RUSMI_APART_MAX];
    size_t apart_next;
};

struct pending {
    struct rusmi_map_entry by_id;
    struct rusmi_list in_conn;
    struct rusmi_deadline deadline;
    uint64_t id;
    uint32_t kind;
    struct conn *conn;
    struct rusmi_action *done;
};

/* A local process that has global names. */
struct owner {
    struct rusmi_map_entry by_serial;
    uint64_t serial;
    struct rusmi_list claims;
};

struct rusmi_core {
    struct rusmi_core_config cfg; /* its texts are the arrays below */
    char cluster[RUSM_NAME_MAX + 1];
    char name[RUSM_NAME_MAX + 1];
    char address[RUSMI_WIRE_ADDRESS_MAX + 1];
    char software[RUSMI_SOFTWARE_MAX + 1];

    bool shut_down;
    bool settle; /* a link went down or came up: PROBING conns must look again */
    uint64_t conn_last, nonce_last, request_last, peer_last, claim_last;
    struct rusmi_map conns;
    struct rusmi_list handshakes, links, dead;
    struct rusmi_map peers_by_name, peers_by_incarnation; /* UP and not hidden */
    struct rusmi_roster peers;
    struct rusmi_deadlines deadlines;
    struct rusmi_map requests;

    struct rusmi_names names;
    struct rusmi_claimant self;
    struct rusmi_roster own_claims;
    struct rusmi_map owners;
    struct rusmi_map asks;
    struct rusmi_list asks_settle; /* to be published at the end of the step */

    struct mesh mesh;

    struct rusmi_memberships memberships;
    struct rusmi_holder holder; /* of our own memberships */
    struct rusmi_roster own_members;
    uint64_t member_last;

    struct rusmi_core_stats stats;
};

/* action.c */
struct rusmi_action *rusmi_action_new(enum rusmi_action_kind kind);
/* With room for a peer's name and a text, which rusmi_action_tell fills. */
struct rusmi_action *rusmi_action_new_told(enum rusmi_action_kind kind);
void rusmi_action_tell(struct rusmi_action *action, const char *peer, const char *text);
void rusmi_actions_push(struct rusmi_actions *actions, struct rusmi_action *action);

/* core.c: the end of every call that can change something. Frees what died, checks the invariant.
 */
void rusmi_core_finish(struct rusmi_core *core, rusm_time now, struct rusmi_actions *out);

/* core_link.c */
struct conn *rusmi_conn_new(struct rusmi_core *core, uint64_t id);
/* Free a conn that is in no list or map but core->dead. */
void rusmi_conn_del(struct rusmi_core *core, struct conn *conn);
struct conn *rusmi_conn_find(const struct rusmi_core *core, uint64_t id);
struct conn *rusmi_peer_find(const struct rusmi_core *core, const char *name);
struct conn *rusmi_incarnation_find(const struct rusmi_core *core, uint64_t incarnation);
rusm_err rusmi_conn_authenticated(struct rusmi_core *core, const struct rusmi_core_event *event,
                                  rusm_time now, struct rusmi_actions *out);
void rusmi_conn_frames(struct rusmi_core *core, struct conn *conn, const uint8_t *bytes, size_t len,
                       rusm_time now, struct rusmi_actions *out);
void rusmi_conn_expired(struct rusmi_core *core, struct conn *conn, rusm_time now,
                        struct rusmi_actions *out);
/* Let PROBING conns whose obstacle has gone go on. */
void rusmi_conns_settle(struct rusmi_core *core, rusm_time now, struct rusmi_actions *out);
/* Encode and push a SEND; on failure the conn is closed. True if it was sent. */
bool rusmi_conn_send(struct rusmi_core *core, struct conn *conn, const struct rusmi_frame *frame,
                     rusm_time now, struct rusmi_actions *out);
/* End a conn from this side, with a formatted text. */
RUSM_PRINTF(7, 8)
void rusmi_conn_close(struct rusmi_core *core, struct conn *conn, enum rusmi_close_code code,
                      enum rusmi_down_cause cause, rusm_time now, struct rusmi_actions *out,
                      const char *format, ...);
/* End a conn that the transport has lost. */
void rusmi_conn_lost(struct rusmi_core *core, struct conn *conn,
                     const struct rusmi_core_event *event, rusm_time now,
                     struct rusmi_actions *out);

/* core_hello.c */
/* Whether a hello is good. Sets conn->version; a hello that is not good has closed the conn. */
bool rusmi_hello_accept(struct rusmi_core *core, struct conn *conn, const struct rusmi_hello *hello,
                        rusm_time now, struct rusmi_actions *out);

/* core_dial.c */
/* Complete every dial of conn: the link to `peer` is up. */
void rusmi_dials_done(struct rusmi_core *core, struct conn *conn, const char *peer,
                      struct rusmi_actions *out);
void rusmi_dials_fail(struct rusmi_core *core, struct conn *conn, rusm_err err, const char *text,
                      struct rusmi_actions *out);
/* conn ended because another link to its peer stays: find out what that means for its dials. */
void rusmi_dials_move(struct rusmi_core *core, struct conn *conn, rusm_time now,
                      struct rusmi_actions *out);
void rusmi_dial_expired(struct rusmi_core *core, struct dial *dial, rusm_time now,
                        struct rusmi_actions *out);

/* Dial for `wanted`, which must not be dialling; rusmi_mesh_dialed() follows, perhaps at once. */
rusm_err rusmi_dial_wanted(struct rusmi_core *core, struct wanted *wanted, rusm_time deadline,
                           struct rusmi_actions *out);
/* Take a dial of `wanted` back, and its conn if nobody else waits for it. */
void rusmi_dial_cancel(struct rusmi_core *core, struct dial *dial, rusm_time now,
                       struct rusmi_actions *out);

/* core_mesh.c */
/* False when memory ran out. */
bool rusmi_mesh_init(struct rusmi_core *core);
/* Want nothing any more; no conn is left. */
void rusmi_mesh_clear(struct rusmi_core *core);
/* A member's link is up, in the peer table. */
void rusmi_mesh_up(struct rusmi_core *core, struct conn *conn, rusm_time now,
                   struct rusmi_actions *out);
/* It has just been taken out of the table. */
void rusmi_mesh_down(struct rusmi_core *core, struct conn *conn, rusm_time now,
                     struct rusmi_actions *out);
/* A dial for `wanted` is over; peer is the node's name if err is RUSM_OK. */
/* Whether conn was dialled by the mesh alone, and leads to a node whose link was closed on request
 * or that left: then nobody has asked for it. */
bool rusmi_mesh_is_apart(struct rusmi_core *core, const struct conn *conn, uint64_t incarnation);
void rusmi_mesh_dialed(struct rusmi_core *core, struct wanted *wanted, rusm_err err,
                       const char *peer, const char *text);
/* Stop looking for a node; true if it was looked for. */
bool rusmi_mesh_forget(struct rusmi_core *core, const char *name, rusm_time now,
                       struct rusmi_actions *out);
void rusmi_mesh_frame(struct rusmi_core *core, struct conn *conn, const struct rusmi_frame *frame,
                      rusm_time now);
void rusmi_mesh_expired(struct rusmi_core *core, struct wanted *wanted, rusm_time now,
                        struct rusmi_actions *out);
/* Tell every peer of the members that it was not told of. */
void rusmi_mesh_gossip(struct rusmi_core *core, rusm_time now, struct rusmi_actions *out);
/* The end of every step: decide what follows from the dials that are over. */
void rusmi_mesh_settle(struct rusmi_core *core, rusm_time now);
/* Where a peer can be dialled: what it says, with the address that we see if it listens on all. */
void rusmi_mesh_listen_text(const char *says, const char *seen, char *buf, size_t buf_len);
#ifndef NDEBUG
void rusmi_mesh_check(const struct rusmi_core *core);
#endif

/* core_listing.c */
void rusmi_listing_go(struct rusmi_core *core, struct conn *conn, struct listing *listing,
                      rusm_time now, struct rusmi_actions *out);
/* The peer has room for what it had to refuse: tell it all anew. */
void rusmi_listing_again(struct rusmi_core *core, struct conn *conn, struct listing *listing,
                         rusm_time now, struct rusmi_actions *out);
/* A pong has come, perhaps the one that the listing waits for. */
void rusmi_listing_pong(struct rusmi_core *core, struct conn *conn, struct listing *listing,
                        uint64_t nonce, rusm_time now, struct rusmi_actions *out);
/* Something was refused and there is room now: ask for it, at once or when it is time. */
void rusmi_lack_ask(struct rusmi_core *core, struct conn *conn, struct lack *lack, rusm_time now,
                    struct rusmi_actions *out);

/* core_names.c */
void rusmi_names_frame(struct rusmi_core *core, struct conn *conn, const struct rusmi_frame *frame,
                       rusm_time now, struct rusmi_actions *out);
/* A page of conn->names_list. */
uint64_t rusmi_names_page(struct rusmi_core *core, struct conn *conn, uint64_t after, rusm_time now,
                          struct rusmi_actions *out);
/* If there is room for names that were refused, ask conn for them, now or when it is time. */
void rusmi_names_more(struct rusmi_core *core, struct conn *conn, rusm_time now,
                      struct rusmi_actions *out);
void rusmi_names_forget_own(struct rusmi_core *core);
/* RUSM_OK, or why no process of that serial can register the name. */
rusm_err rusmi_names_may_register(const struct rusmi_core *core, const char *name, uint64_t serial);
/* A claim of ours, told to nobody yet. RUSM_EFULL, RUSM_ENOMEM. */
rusm_err rusmi_names_claim_own(struct rusmi_core *core, const char *name, uint64_t serial,
                               bool tentative, struct rusmi_claim **out_claim);
/* Tell the peers of a claim of ours, which is tentative no longer. False: no memory, nothing done,
 * which happens to none but a tentative one. */
bool rusmi_names_publish(struct rusmi_core *core, struct rusmi_claim *claim, rusm_time now,
                         struct rusmi_actions *out);
/* Take back a claim of ours, here and with the peers. */
void rusmi_names_withdraw(struct rusmi_core *core, struct rusmi_claim *claim, rusm_time now,
                          struct rusmi_actions *out);

/* core_names_ask.c */
void rusmi_ask_frame(struct rusmi_core *core, struct conn *conn, const struct rusmi_frame *frame,
                     rusm_time now, struct rusmi_actions *out);
/* Publish what all have agreed to. */
void rusmi_asks_settle(struct rusmi_core *core, rusm_time now, struct rusmi_actions *out);
/* conn went down: nobody waits for its answers. */
void rusmi_asks_lost(struct rusmi_core *core, struct conn *conn);
/* This node shuts down: every ask fails. */
void rusmi_asks_shut(struct rusmi_core *core, rusm_time now, struct rusmi_actions *out);
void rusmi_ask_expired(struct rusmi_core *core, struct rusmi_deadline *deadline, rusm_time now,
                       struct rusmi_actions *out);
/* The name of our tentative claim is a process's of that node: fail the ask, withdraw the claim. */
void rusmi_ask_beaten(struct rusmi_core *core, const struct rusmi_claim *claim, const char *node,
                      rusm_time now, struct rusmi_actions *out);
/* The process of our tentative claim has ended: fail the ask. The claim is the caller's to take
 * back. */
void rusmi_ask_ownerless(struct rusmi_core *core, const struct rusmi_claim *claim,
                         struct rusmi_actions *out);

/* core_groups.c */
void rusmi_groups_frame(struct rusmi_core *core, struct conn *conn, const struct rusmi_frame *frame,
                        rusm_time now, struct rusmi_actions *out);
/* A page of conn->groups_list. */
uint64_t rusmi_groups_page(struct rusmi_core *core, struct conn *conn, uint64_t after,
                           rusm_time now, struct rusmi_actions *out);
/* If there is room for memberships that were refused, ask conn for them, now or when it is time. */
void rusmi_groups_more(struct rusmi_core *core, struct conn *conn, rusm_time now,
                       struct rusmi_actions *out);
/* The peer is lost, and with it its members: forget some, and more at coming timers, until which
 * the conn stays. */
void rusmi_groups_drop(struct rusmi_core *core, struct conn *conn, rusm_time now);
void rusmi_groups_forget_own(struct rusmi_core *core);

/* core_request.c */
void rusmi_request_frame(struct rusmi_core *core, struct conn *conn,
                         const struct rusmi_frame *frame, rusm_time now, struct rusmi_actions *out);
void rusmi_reply_frame(struct rusmi_core *core, struct conn *conn, struct rusmi_frame *frame,
                       rusm_time now, struct rusmi_actions *out);
void rusmi_requests_fail(struct rusmi_core *core, struct conn *conn, rusm_err err, const char *text,
                         struct rusmi_actions *out);
void rusmi_request_expired(struct rusmi_core *core, struct pending *pending,
                           struct rusmi_actions *out);

#endif
