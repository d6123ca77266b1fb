/* SPDX-License-Identifier: MIT */
/*
 * The control plane of one node as a pure step function: which links are up, who owns which global
 * name, which requests wait for a reply. docs/design/links.md and docs/design/names.md argue it.
 *
 * No sockets, clocks, threads or locks in here: the caller (src/node, or a simulation) tells what
 * happened and when, and does what the actions say, in their order. One thread at a time.
 *
 * A connection ("conn") is known by a number from rusmi_core_conn_id(). Its life as the core sees
 * it:
 *
 *             dial                    accepted by the transport
 *              |                             |
 *           DIALING --- authenticated ---> HELLO ------ hello refused, late ----------.
 *              |                             |                                         |
 *              |                      hello accepted                                   |
 *              |            .----------------+---------------.                         |
 *              |      we decide                      the peer decides                  |
 *              |            |                                |                         |
 *              |       WAIT_ACCEPT                  (a past holder of the name is up?) |
 *              |            | accept                  yes |        | no: send accept   |
 *              |  (another link to it is up?)         PROBING --> WAIT_READY           |
 *              |    yes |        | no: send ready     old silent     | ready           |
 *              |     PROBING --> UP <--------------------------------'                 |
 *              |     old silent  |                                                     |
 *              '-----------------+-------> CLOSED (forgotten at once) <----------------'
 *
 * Who decides: of two members the one whose name sorts first; else the member.
 *
 * Memory: every object carries the actions that announce its end, made together with it, so that
 * an end is always told. When memory is short for anything else, the one conn concerned is closed
 * (RUSMI_CLOSE_MEMORY), or the call fails and has no effect.
 */
#ifndef RUSMI_CLUSTER_CORE_H
#define RUSMI_CLUSTER_CORE_H

#include "base/list.h"
#include "cluster/deadlines.h" /* RUSMI_TIME_NEVER */
#include "wire/control.h"

#include <rusm/err.h>
#include <rusm/types.h>

struct rusmi_budget;
struct rusmi_core;

#define RUSMI_TEXT_MAX    ((size_t)384) /* an explanation, with its NUL */
#define RUSMI_PROBLEM_MAX ((size_t)160) /* one that is kept, with its NUL */

/* All texts are copied. */
struct rusmi_core_config {
    const char *cluster;
    const char *name;
    uint64_t incarnation;  /* not 0 */
    enum rusmi_role role;  /* ours */
    const char *address;   /* where we listen, with the real port; "" if we do not */
    const char *software;  /* "" or for the peers' logs */
    uint64_t features;     /* bits for the hello */
    uint32_t hello_ms;     /* from authenticated to an accepted hello, and from there to up */
    uint32_t tick_ms;      /* a quarter of it, at most 1 s, is how long a probe waits */
    uint32_t peers_max;    /* links that are up, hidden ones too; as many unfinished handshakes */
    uint32_t names_max;    /* global names of one node, ours as well */
    uint32_t requests_max; /* requests of one peer that are being worked on */
    uint32_t groups_max;   /* memberships of processes of one peer in groups */
    struct rusmi_budget *budget; /* pays for names and memberships of peers, and outlives the core;
                                    NULL: they are not charged */
    bool mesh;                   /* tell peers of each other, and dial whom they tell of */
    uint32_t members_max; /* addresses that one peer may tell of; lost members that are looked for;
                              addresses that may be wanted */
    uint32_t reconnect_min_ms; /* the first wait between two dials to one address */
    uint32_t reconnect_max_ms; /* the longest; 0: lost members are not dialled again */
    uint32_t forget_ms;        /* for so long a member that was only heard of is looked for */
    uint64_t jitter_seed;      /* of waits */
    uint32_t version_max;      /* the highest protocol version to offer; 0: all that there are */
    uint64_t map_seed[2];      /* random: peers fill hash tables */
};

/* What the peer's certificate says, verified by the transport. */
struct rusmi_core_cert {
    char cluster[RUSM_NAME_MAX + 1];
    char node[RUSM_NAME_MAX + 1]; /* unused when shared */
    enum rusmi_role role;
    bool shared; /* the holder may claim any name of the cluster */
};

/* Why a link or conn ended. */
enum rusmi_down_cause {
    RUSMI_DOWN_BY_PEER = 0,  /* the peer closed it; the code says why */
    RUSMI_DOWN_SILENT = 1,   /* time-out */
    RUSMI_DOWN_TLS = 2,      /* alert or failed verification */
    RUSMI_DOWN_PROTOCOL = 3, /* the peer broke the protocol */
    RUSMI_DOWN_REVOKED = 4,
    RUSMI_DOWN_SHUTDOWN = 5,     /* we shut down */
    RUSMI_DOWN_DISCONNECTED = 6, /* we were asked to close it */
    RUSMI_DOWN_REPLACED = 7,     /* a newer link took its place */
    RUSMI_DOWN_REFUSED = 8,      /* we refused the peer */
    RUSMI_DOWN_MEMORY = 9,
    RUSMI_DOWN_TRANSPORT = 10, /* anything else that the transport reports */
    RUSMI_DOWN_LEFT = 11,      /* one of the two left the cluster on purpose */
};

/* The name of a cause for logs, such as "closed by the peer". */
const char *rusmi_down_cause_text(enum rusmi_down_cause cause);

enum rusmi_event_kind {
    RUSMI_EVENT_AUTHENTICATED, /* TLS is done on both sides; for an accepted conn the first event */
    RUSMI_EVENT_FRAMES,        /* bytes of the control stream */
    RUSMI_EVENT_CLOSED,        /* the conn is gone, for a reason outside the core */
    RUSMI_EVENT_TIMER,         /* rusmi_core_deadline() has come */
    RUSMI_EVENT_SHUTDOWN,      /* close everything, accept nothing more */
    RUSMI_EVENT_LEAVE,         /* the same, and peers hear that it is on purpose and for good */
};

/* Events for a conn that the core has closed or never knew are ignored. */
struct rusmi_core_event {
    enum rusmi_event_kind kind;
    uint64_t conn;
    union {
        struct {
            bool dialed;
            const struct rusmi_core_cert *cert;
            const char *address; /* of the peer, as text */
        } authenticated;
        struct {
            const uint8_t *bytes;
            size_t len;
        } frames;
        struct {
            enum rusmi_down_cause cause;
            uint64_t code;    /* with RUSMI_DOWN_BY_PEER: the application code */
            rusm_err err;     /* else: what a dial that hangs on this conn returns */
            const char *text; /* what to tell people; NULL or "" takes the code's or cause's text */
        } closed;
    } u;
};

/* A process that has joined or left a group. */
struct rusmi_group_change {
    const char *group; /* no NUL at the end */
    size_t group_len;
    uint64_t serial;
    bool joined;
};

enum rusmi_action_kind {
    RUSMI_ACTION_DIAL,       /* conn, text: the address. AUTHENTICATED or CLOSED must follow */
    RUSMI_ACTION_SEND,       /* conn, bytes: onto the control stream, in order */
    RUSMI_ACTION_CLOSE,      /* conn, code, text: CONNECTION_CLOSE after what was sent; the core has
                               forgotten the conn */
    RUSMI_ACTION_DIALED,     /* ref, err, text, peer: a dial is done */
    RUSMI_ACTION_PEER_UP,    /* conn, peer, incarnation, role, hidden, version: messages may flow */
    RUSMI_ACTION_PEER_DOWN,  /* conn, peer, incarnation, role, hidden, cause, text */
    RUSMI_ACTION_REPLY,      /* ref, err, text, reply (NULL unless err is RUSM_OK), peer */
    RUSMI_ACTION_EXECUTE,    /* conn, request_id, request, peer, incarnation, role: do it and call
                               rusmi_core_answer() once, also after the conn has gone */
    RUSMI_ACTION_GROUPS,     /* conn, incarnation, groups, len: changes of that peer's members, in
                               order; PEER_DOWN ends what is left */
    RUSMI_ACTION_FLOW,       /* conn, flow: slow down (or no longer) those who send there */
    RUSMI_ACTION_REGISTERED, /* ref, err, text: a registration that asked the peers is done */
    RUSMI_ACTION_CERTIFICATE, /* conn, certificate: the peer shows a new one; judging it is the
                                caller's */
    RUSMI_ACTION_CONFLICT,    /* ref: the serial of a local process that has lost a name; text: the
                                name; pid: the process that has it now; peer: its node */
};

/* Fields that a kind does not name are 0. Pointers live as long as the action. */
struct rusmi_action {
    struct rusmi_list link;
    enum rusmi_action_kind kind;
    uint64_t conn;
    uint64_t ref;
    rusm_err err;
    enum rusmi_close_code code;
    enum rusmi_down_cause cause;
    enum rusmi_role role;
    bool hidden;      /* the peer is an operator or observer */
    uint32_t version; /* of the protocol, which both speak */
    uint64_t incarnation;
    uint64_t request_id;
    rusm_pid pid;
    const char *peer; /* a node name */
    const char *text; /* address or explanation; never NULL */
    const uint8_t *bytes;
    size_t len;
    const struct rusmi_request *request; /* args are the action's own copy */
    const struct rusmi_reply *reply;     /* records are the action's own */
    const struct rusmi_flow *flow;
    const struct rusmi_certificate *certificate; /* its bytes are the action's own */
    const struct rusmi_group_change *groups; /* len of them; with their texts the action's own */
    void *memory[2];                         /* freed with the action */
};

struct rusmi_actions {
    struct rusmi_list list;
};

void rusmi_actions_init(struct rusmi_actions *actions);
/* Frees the actions that are left. */
void rusmi_actions_fini(struct rusmi_actions *actions);
/* The first action, now the caller's, or NULL. */
struct rusmi_action *rusmi_actions_pop(struct rusmi_actions *actions);
void rusmi_action_del(struct rusmi_action *action);

/* Everything is counted since the core was made. */
struct rusmi_core_stats {
    uint64_t refused_auth;      /* hellos that do not fit certificate, cluster, role or version */
    uint64_t refused_full;      /* conns turned away by peers_max, requests by requests_max */
    uint64_t refused_duplicate; /* conns closed because another to the same node or name stays */
    uint64_t protocol_errors;   /* conns closed because the peer broke the protocol */
    uint64_t timeouts;          /* conns closed because hello, accept or ready did not come */
    uint64_t names_refused;     /* names of peers over names_max or that they may not publish */
    uint64_t names_conflicts;   /* names that local processes lost to others */
    uint64_t groups_refused;    /* memberships of peers over groups_max or that they may not have */
    uint64_t replies_late;      /* replies that nobody waits for any more */
    uint64_t requests_refused;  /* requests that the peer's role does not allow */
    uint64_t frames_ignored;    /* extension frames that we do not know */
    uint64_t members_refused;   /* members that peers told of, over members_max */
    uint64_t peers;             /* links that are up now, hidden ones not counted */
    uint64_t hidden;            /* hidden links that are up now */
    uint64_t names;             /* global names known now */
    uint64_t groups;            /* memberships of peers' processes known now */
    uint64_t wanted;            /* addresses that are dialled or would be if their node was lost */
};

/* RUSM_EINVAL: a bad name, or a limit of 0; RUSM_ENOMEM. */
RUSM_MUST_CHECK rusm_err rusmi_core_new(struct rusmi_core **out_core,
                                        const struct rusmi_core_config *cfg);
void rusmi_core_del(struct rusmi_core *core);

/* A number for a conn, never 0 and never given twice. */
uint64_t rusmi_core_conn_id(struct rusmi_core *core);

/*
 * Handle one event. Only AUTHENTICATED of an accepted conn can fail: RUSM_ENOMEM (or RUSM_ECLOSED
 * after SHUTDOWN), and then the core does not know the conn and the caller closes it.
 */
RUSM_MUST_CHECK rusm_err rusmi_core_step(struct rusmi_core *core,
                                         const struct rusmi_core_event *event, rusm_time now,
                                         struct rusmi_actions *out);

/* When the next TIMER event is wanted; RUSMI_TIME_NEVER for none. */
rusm_time rusmi_core_deadline(const struct rusmi_core *core);

/*
 * Connect to an address. After RUSM_OK exactly one DIALED with this ref follows (perhaps in out
 * already). RUSM_EINVAL: the address is our own; RUSM_ECLOSED; RUSM_ENOMEM: no DIALED follows.
 */
RUSM_MUST_CHECK rusm_err rusmi_core_dial(struct rusmi_core *core, uint64_t ref, const char *address,
                                         rusm_time deadline, rusm_time now,
                                         struct rusmi_actions *out);

/*
 * Look for a node at an address until it answers, and again whenever it is lost; unwant takes one
 * such wish back, and a link that is up stays. RUSM_EINVAL: the address is our own or too long;
 * RUSM_EFULL: members_max; RUSM_ENOMEM; RUSM_ECLOSED.
 */
RUSM_MUST_CHECK rusm_err rusmi_core_want(struct rusmi_core *core, const char *address,
                                         rusm_time now, struct rusmi_actions *out);
void rusmi_core_unwant(struct rusmi_core *core, const char *address, rusm_time now,
                       struct rusmi_actions *out);

/* Close the link to a peer and no longer look for it; PEER_DOWN is in out. RUSM_ENONODE: there is
 * no link, and it was not looked for. */
RUSM_MUST_CHECK rusm_err rusmi_core_disconnect(struct rusmi_core *core, const char *peer,
                                               rusm_time now, struct rusmi_actions *out);
/* Close one conn for a reason of the caller's, for instance a broken message header or a revoked
 * certificate. Unknown conns are ignored. */
void rusmi_core_close(struct rusmi_core *core, uint64_t conn, enum rusmi_close_code code,
                      enum rusmi_down_cause cause, const char *text, rusm_time now,
                      struct rusmi_actions *out);

/*
 * Ask a peer. After RUSM_OK exactly one REPLY with this ref follows: the peer's answer, or
 * RUSM_ETIMEOUT, RUSM_ENOLINK, RUSM_ECLOSED. RUSM_ENONODE: no link; RUSM_EINVAL: a bad request;
 * RUSM_ENOMEM, RUSM_ECLOSED: no REPLY follows.
 */
RUSM_MUST_CHECK rusm_err rusmi_core_request(struct rusmi_core *core, uint64_t ref, const char *peer,
                                            const struct rusmi_request *request, rusm_time deadline,
                                            rusm_time now, struct rusmi_actions *out);
/* Send the answer to an EXECUTE. reply stays the caller's. Nothing happens if the conn has gone. */
void rusmi_core_answer(struct rusmi_core *core, uint64_t conn, uint64_t request_id,
                       const struct rusmi_reply *reply, rusm_time now, struct rusmi_actions *out);

/* Tell the peer of a conn to slow down (or no longer) sending to a process or name of ours. */
void rusmi_core_flow(struct rusmi_core *core, uint64_t conn, const struct rusmi_flow *flow,
                     rusm_time now, struct rusmi_actions *out);

/* Show the peer of a conn that is up our new certificate. False if it is not up, or speaks a
 * version without it. */
bool rusmi_core_certificate(struct rusmi_core *core, uint64_t conn,
                            const struct rusmi_certificate *certificate, rusm_time now,
                            struct rusmi_actions *out);

/*
 * Publish a name for the local process `serial`. RUSM_EEXIST: any claim is known, also one that
 * others are still being asked about; RUSM_EPERM: we are no member; RUSM_EFULL; RUSM_EINVAL;
 * RUSM_ENOMEM; RUSM_ECLOSED.
 */
RUSM_MUST_CHECK rusm_err rusmi_core_register(struct rusmi_core *core, const char *name,
                                             uint64_t serial, rusm_time now,
                                             struct rusmi_actions *out);
/*
 * The same once all members that are up now, and stay up, have agreed. Errors as
 * rusmi_core_register(), and then nothing follows. After RUSM_OK exactly one REGISTERED with this
 * ref follows, perhaps in out already: RUSM_OK: published; or not: RUSM_EEXIST (peer: the node
 * whose process has the name), RUSM_ETIMEOUT, RUSM_ENOPROC (the process has ended), RUSM_ENOMEM,
 * RUSM_ECLOSED. ref is in use by no other registration that is not done, and the peers see it.
 */
RUSM_MUST_CHECK rusm_err rusmi_core_register_sync(struct rusmi_core *core, uint64_t ref,
                                                  const char *name, uint64_t serial,
                                                  rusm_time deadline, rusm_time now,
                                                  struct rusmi_actions *out);
/* Take back a registration that is not done: no REGISTERED follows. Others are ignored. */
void rusmi_core_register_cancel(struct rusmi_core *core, uint64_t ref, rusm_time now,
                                struct rusmi_actions *out);
/* RUSM_ENONAME; RUSM_EPERM: only peers claim it. */
RUSM_MUST_CHECK rusm_err rusmi_core_unregister(struct rusmi_core *core, const char *name,
                                               rusm_time now, struct rusmi_actions *out);
/* Withdraw every name of a local process that has ended; returns how many there were. */
size_t rusmi_core_owner_exited(struct rusmi_core *core, uint64_t serial, rusm_time now,
                               struct rusmi_actions *out);

/*
 * Processes of ours have joined and left groups; what is no change (joining twice) is passed over.
 * Returns how many were taken, in order: fewer than len only when memory ran out, and then the
 * caller comes again with the rest.
 */
size_t rusmi_core_groups(struct rusmi_core *core, const struct rusmi_group_change *changes,
                         size_t len, rusm_time now, struct rusmi_actions *out);

/* Lookups. The texts that they return are valid until the next call that can change the core. */

struct rusmi_core_owner {
    const char *name; /* the global name */
    const char *node;
    uint64_t conn; /* 0: this node */
    rusm_pid pid;
};

struct rusmi_core_peer {
    const char *name;
    const char *address; /* as the transport sees it */
    const char *listen;  /* as the peer says; may be empty */
    uint64_t conn;
    uint64_t incarnation;
    uint64_t features;
    uint32_t version; /* of the protocol, which both speak */
    enum rusmi_role role;
    bool dialed;
    rusm_time up_since;
};

/* The owner of a global name; false if nobody claims it. */
bool rusmi_core_whereis(const struct rusmi_core *core, const char *name,
                        struct rusmi_core_owner *out_owner);
/* The same, or else who is asking others for it: why registering is RUSM_EEXIST. */
bool rusmi_core_name_taken(const struct rusmi_core *core, const char *name,
                           struct rusmi_core_owner *out_owner);
/* The peer of that name with a link that is up (hidden ones have no name here). */
bool rusmi_core_find_peer(const struct rusmi_core *core, const char *name,
                          struct rusmi_core_peer *out_peer);
/* The same by incarnation, which pids carry. */
bool rusmi_core_find_incarnation(const struct rusmi_core *core, uint64_t incarnation,
                                 struct rusmi_core_peer *out_peer);
/*
 * A page in the order in which the entries appeared. Start with *cursor 0; after the last page it
 * is 0 again. What is there during the whole listing comes exactly once. O(log n + max).
 */
size_t rusmi_core_list_names(const struct rusmi_core *core, uint64_t *cursor,
                             struct rusmi_core_owner *owners, size_t owners_max);
size_t rusmi_core_list_peers(const struct rusmi_core *core, uint64_t *cursor,
                             struct rusmi_core_peer *peers, size_t peers_max);

/* An address that is looked for, see rusmi_core_want. */
struct rusmi_core_wanted {
    const char *address;
    const char *name;    /* who was or is said to be there; may be empty */
    const char *problem; /* of the last dial; may be empty */
    rusm_err err;        /* the same */
    bool configured;     /* the user wants it; else a member was there, or is said to be */
    bool self;           /* it is our own: not dialled */
    bool dialing;
    bool up; /* the node of that name has a link */
    unsigned failures;
    rusm_time next; /* the next dial; RUSMI_TIME_NEVER: none is planned */
};

/* A page, as above; O(addresses). */
size_t rusmi_core_list_wanted(const struct rusmi_core *core, uint64_t *cursor,
                              struct rusmi_core_wanted *wanteds, size_t wanteds_max);

void rusmi_core_get_stats(const struct rusmi_core *core, struct rusmi_core_stats *out_stats);

#endif
