/* SPDX-License-Identifier: MIT */
/*
 * Control frames: the CBOR maps on a peer link's control stream, to structs and back. docs/wire.md
 * is the specification; every number here is part of the wire.
 *
 * A frame is a 4-byte big-endian length and so many bytes of one CBOR map (RFC 8949) with unsigned
 * keys; key 0 is the type. What is encoded is deterministic (RFC 8949 4.2.1). What is decoded may
 * be anything: decoding is total, allocates no more than a small multiple of the frame, and says in
 * words what is wrong. Encoding never produces what decoding refuses.
 *
 * Everything is pure: no clock, no sockets, no shared state; any thread.
 */
#ifndef RUSMI_WIRE_CONTROL_H
#define RUSMI_WIRE_CONTROL_H

#include "base/buf.h"

#include <rusm/err.h>
#include <rusm/types.h>

/* Largest frame without its length prefix, in bytes. */
#define RUSMI_FRAME_MAX    ((size_t)65536)
#define RUSMI_FRAME_PREFIX ((size_t)4)
/* Protocol versions that this implementation speaks: from _MIN to this. Version 1 knows frames up
 * to RUSMI_FRAME_FLOW and the first two message kinds. */
#define RUSMI_PROTOCOL_VERSION     2u
#define RUSMI_PROTOCOL_VERSION_MIN 1u
/* Versions that a hello may list. */
#define RUSMI_VERSIONS_MAX 16u
/* Feature bits of a hello: "I tell of members and want to be told of them". */
#define RUSMI_FEATURE_MESH ((uint64_t)1)
/* Frame types from here on are extensions: who does not know one ignores it. */
#define RUSMI_FRAME_EXTENSION 64u
/* Records in one page of a list, chosen so that a page of the longest records fits a frame. */
#define RUSMI_PAGE_MAX 96u
/* Names in one names_add or names_del frame, by the same rule. */
#define RUSMI_NAMES_MAX 200u
/* Memberships in one groups_add or groups_del frame, by the same rule. */
#define RUSMI_GROUPS_MAX 200u
/* Members in one members frame, by the same rule. */
#define RUSMI_MEMBERS_MAX 128u
/* Bytes of an address, a software text and a detail text, without a NUL. */
#define RUSMI_WIRE_ADDRESS_MAX 127u
#define RUSMI_SOFTWARE_MAX     255u
#define RUSMI_DETAIL_MAX       383u
/* Bytes of arguments of a spawn request; RUSM_SPAWN_ARGS_MAX. */
#define RUSMI_SPAWN_ARGS_MAX ((size_t)32768)
#define RUSMI_CERT_MAX       ((size_t)16384) /* a certificate frame: DER */
#define RUSMI_PROOF_MAX      ((size_t)1024)  /* and its signature */

/*
 * Application error codes of QUIC's CONNECTION_CLOSE (RFC 9000 19.19), each with the error that a
 * dial ends with when the peer closes with it.
 */
#define RUSMI_CLOSE_MAP(X)                                                                         \
    X(RUSMI_CLOSE_NORMAL, 0, RUSM_ENOLINK, "closed by the peer")                                   \
    X(RUSMI_CLOSE_SHUTDOWN, 1, RUSM_EREFUSED, "the node is shutting down")                         \
    X(RUSMI_CLOSE_PROTOCOL, 2, RUSM_EPROTO, "the protocol was broken")                             \
    X(RUSMI_CLOSE_MEMORY, 3, RUSM_EREFUSED, "out of memory")                                       \
    X(RUSMI_CLOSE_HELLO, 4, RUSM_ETIMEOUT, "the hello did not come in time")                       \
    X(RUSMI_CLOSE_VERSION, 5, RUSM_EPROTO, "no common protocol version")                           \
    X(RUSMI_CLOSE_CLUSTER, 6, RUSM_EAUTH, "another cluster")                                       \
    X(RUSMI_CLOSE_NAME, 7, RUSM_EAUTH, "the name is not the certificate's")                        \
    X(RUSMI_CLOSE_ROLE, 8, RUSM_EAUTH, "the roles do not allow a link")                            \
    X(RUSMI_CLOSE_DUPLICATE, 9, RUSM_ENOLINK, "another link to this node stays")                   \
    X(RUSMI_CLOSE_DUPLICATE_NAME, 10, RUSM_EREFUSED, "the name is in use by another node")         \
    X(RUSMI_CLOSE_REPLACED, 11, RUSM_ENOLINK, "a newer link replaces this one")                    \
    X(RUSMI_CLOSE_SELF, 12, RUSM_EINVAL, "a node does not link with itself")                       \
    X(RUSMI_CLOSE_FULL, 13, RUSM_EREFUSED, "the node has as many links as it may")                 \
    X(RUSMI_CLOSE_ABANDONED, 14, RUSM_ENOLINK, "the dialer gave up")                               \
    X(RUSMI_CLOSE_SILENT, 15, RUSM_ETIMEOUT, "time-out")                                           \
    X(RUSMI_CLOSE_REVOKED, 16, RUSM_EAUTH, "the certificate is no longer trusted")                 \
    X(RUSMI_CLOSE_INCARNATION, 17, RUSM_EREFUSED, "the incarnation is in use by another node")     \
    X(RUSMI_CLOSE_LEFT, 18, RUSM_EREFUSED, "the node has left the cluster")

enum rusmi_close_code {
#define X(name, value, err, text) name = value,
    RUSMI_CLOSE_MAP(X)
#undef X
};

/* The text of a code that came from a peer; never NULL. */
const char *rusmi_close_text(uint64_t code);
/* What a dial or connect returns when the peer closed with this code; RUSM_ENOLINK if unknown. */
rusm_err rusmi_close_err(uint64_t code);

enum rusmi_frame_type {
    RUSMI_FRAME_HELLO = 1,
    RUSMI_FRAME_ACCEPT = 2, /* "I take you as a peer"; from the side that does not decide */
    RUSMI_FRAME_READY = 3,  /* "the link is up"; from the side that decides */
    RUSMI_FRAME_PING = 4,
    RUSMI_FRAME_PONG = 5,
    RUSMI_FRAME_NAMES_ADD = 6,
    RUSMI_FRAME_NAMES_DEL = 7,
    RUSMI_FRAME_REQUEST = 8,
    RUSMI_FRAME_REPLY = 9,
    RUSMI_FRAME_FLOW = 10, /* the last one of version 1 */
    /* from version 2 on */
    RUSMI_FRAME_MEMBERS = 11,
    RUSMI_FRAME_LEAVE = 12,      /* "I leave the cluster: do not look for me" */
    RUSMI_FRAME_GROUPS_ADD = 13, /* processes of the sender that are members of groups */
    RUSMI_FRAME_GROUPS_DEL = 14,
    RUSMI_FRAME_NAMES_ASK = 15,   /* "may a process of mine have this name?" */
    RUSMI_FRAME_NAMES_AGREE = 16, /* the answer */
    RUSMI_FRAME_NAMES_MORE = 17,  /* "list your names anew: there is room for more" */
    RUSMI_FRAME_CERTIFICATE = 18, /* "this is my certificate from now on" */
    RUSMI_FRAME_GROUPS_MORE = 19, /* as NAMES_MORE, for memberships */
};

/* The values of rusm_role, which this folder must not include. */
enum rusmi_role {
    RUSMI_ROLE_MEMBER = 0,
    RUSMI_ROLE_OPERATOR = 1,
    RUSMI_ROLE_OBSERVER = 2,
};

enum rusmi_request_kind {
    RUSMI_REQUEST_SPAWN = 1,
    RUSMI_REQUEST_PROCESSES = 2,
    RUSMI_REQUEST_PEERS = 3,
    RUSMI_REQUEST_NAMES = 4,
    RUSMI_REQUEST_WHEREIS = 5,
    RUSMI_REQUEST_KILL = 6,
    RUSMI_REQUEST_RELOAD = 7, /* read certificate, key, anchors and revocation lists again */
    RUSMI_REQUEST_GROUPS = 8,
};

struct rusmi_hello {
    uint32_t versions[RUSMI_VERSIONS_MAX];
    size_t versions_len;
    char cluster[RUSM_NAME_MAX + 1];
    char name[RUSM_NAME_MAX + 1];
    uint64_t incarnation;                     /* not 0 */
    uint64_t features;                        /* bits; unknown ones are ignored */
    char address[RUSMI_WIRE_ADDRESS_MAX + 1]; /* where it listens; may be empty */
    char software[RUSMI_SOFTWARE_MAX + 1];    /* for logs; may be empty */
};

/* A global name of the sender. In a decoded frame the text points into the frame. */
struct rusmi_name_entry {
    const char *name; /* no NUL at the end */
    size_t name_len;
    uint64_t serial; /* not 0; unused in names_del */
    uint64_t time;   /* logical time of the registration; unused in names_del */
};

/* A process of the sender and a group that it is in. In a decoded frame the text points into it. */
struct rusmi_group_entry {
    const char *group; /* no NUL at the end */
    size_t group_len;
    uint64_t serial; /* not 0 */
};

/* A member that the sender has a link with. In a decoded frame the texts point into the frame. */
struct rusmi_member_entry {
    const char *name; /* no NUL at the end */
    size_t name_len;
    uint64_t incarnation; /* not 0 */
    const char *address;  /* where it listens, as far as the sender knows; no NUL at the end */
    size_t address_len;   /* 1 to RUSMI_WIRE_ADDRESS_MAX */
};

struct rusmi_request {
    uint32_t kind;                /* enum rusmi_request_kind; a decoded one may be unknown */
    char name[RUSM_NAME_MAX + 1]; /* spawn: factory; whereis: name */
    const uint8_t *args;          /* spawn; a decoded one points into the frame */
    size_t args_len;
    uint64_t sender;  /* spawn: serial of the asking process, 0 for none */
    uint64_t link;    /* spawn: link the process with the sender; number of the reference, 0: no */
    uint64_t monitor; /* spawn: monitor it for the sender; number of the reference, 0: no */
    uint64_t cursor;  /* lists */
    uint32_t max;     /* lists: records wanted, 1 to RUSMI_PAGE_MAX (decoding clips to it) */
    rusm_pid pid;     /* kill */
};

struct rusmi_process_record {
    rusm_pid pid;
    uint32_t state; /* rusm_process_state */
    uint64_t mailbox_len;
    uint64_t reductions;
    uint64_t memory_bytes;
    char label[RUSM_NAME_MAX + 1];
    char name[RUSM_NAME_MAX + 1];
};

struct rusmi_peer_record {
    char name[RUSM_NAME_MAX + 1];
    char address[RUSMI_WIRE_ADDRESS_MAX + 1];
    uint64_t incarnation;
    uint32_t role; /* enum rusmi_role */
    bool dialed;
    uint64_t rtt_us;
    uint64_t packets_lost;
    uint64_t messages_sent;
    uint64_t messages_received;
    uint64_t bytes_sent;
    uint64_t bytes_received;
    uint64_t queue_bytes;
    int64_t up_ms;
    int64_t cert_not_after;
    uint64_t payload_max; /* 0: an older node, which does not say */
    uint64_t payload_shrunk;
    char listen[RUSMI_WIRE_ADDRESS_MAX + 1]; /* where it can be dialled; may be empty */
};

struct rusmi_name_record {
    char name[RUSM_NAME_MAX + 1];
    char node[RUSM_NAME_MAX + 1];
    rusm_pid pid;
};

struct rusmi_group_record {
    char name[RUSM_NAME_MAX + 1];
    uint64_t members; /* that the answering node knows, its own among them */
    uint64_t local;   /* its own */
};

/* The answer to a request. With an err other than RUSM_OK only kind, err and detail count. */
struct rusmi_reply {
    uint32_t kind;
    rusm_err err;
    char detail[RUSMI_DETAIL_MAX + 1]; /* for people; may be empty */
    rusm_pid pid;                      /* spawn, whereis */
    uint64_t cursor;                   /* lists: where the next page starts, 0 at the end */
    size_t records_len;                /* lists, at most RUSMI_PAGE_MAX */
    union {
        struct rusmi_process_record *processes;
        struct rusmi_peer_record *peers;
        struct rusmi_name_record *names;
        struct rusmi_group_record *groups;
        void *any;
    } records;
};

/* A name that is to be registered once all have agreed. */
struct rusmi_names_ask {
    char name[RUSM_NAME_MAX + 1];
    uint64_t serial; /* not 0 */
    uint64_t time;
};

struct rusmi_names_agree {
    char node[RUSM_NAME_MAX + 1]; /* empty: agreed; else the node whose process has the name */
    rusm_pid pid;                 /* that process */
};

/* A new certificate of the sender. In a decoded frame both point into the frame. */
struct rusmi_certificate {
    const uint8_t *der;
    size_t der_len;       /* 1 to RUSMI_CERT_MAX */
    const uint8_t *proof; /* made with its key for this link: trust/proof.h */
    size_t proof_len;     /* 1 to RUSMI_PROOF_MAX */
};

/* "Slow down (or go on) sending to this process or name of mine." */
struct rusmi_flow {
    uint64_t serial;              /* 0: by name */
    char name[RUSM_NAME_MAX + 1]; /* empty: by serial */
    bool on;                      /* true: slow down */
};

struct rusmi_frame {
    uint64_t type; /* enum rusmi_frame_type, or an extension, which has no further field */
    uint64_t id;   /* ping and pong: nonce; request and reply, names_ask and names_agree: theirs */
    union {
        struct rusmi_hello hello;
        struct {
            struct rusmi_name_entry *entries;
            size_t len;
        } names;
        struct {
            struct rusmi_member_entry *entries;
            size_t len;
        } members;
        struct {
            struct rusmi_group_entry *entries;
            size_t len;
        } groups;
        struct rusmi_request request;
        struct rusmi_reply reply;
        struct rusmi_flow flow;
        struct rusmi_names_ask names_ask;
        struct rusmi_names_agree names_agree;
        struct rusmi_certificate certificate;
    } u;
    void *memory; /* of a decoded frame: what rusmi_frame_fini frees */
};

/*
 * Append the frame, length prefix included, to out. RUSM_EINVAL: a field breaks the specification;
 * RUSM_EMSGSIZE: it does not fit; RUSM_ENOMEM. On an error out is as before. Texts for people
 * (labels, details, software) are cut and cleaned instead of refused.
 */
RUSM_MUST_CHECK rusm_err rusmi_control_encode(struct rusmi_buf *out,
                                              const struct rusmi_frame *frame);

/*
 * Decode one frame without its length prefix. RUSM_EPROTO: *out_why (when out_why is not NULL) says
 * in constant text what is wrong; RUSM_ENOMEM. On RUSM_OK the caller ends with rusmi_frame_fini();
 * until then bytes must stay, because names and arguments point there.
 */
RUSM_MUST_CHECK rusm_err rusmi_control_decode(const uint8_t *bytes, size_t len,
                                              struct rusmi_frame *out_frame, const char **out_why);
void rusmi_frame_fini(struct rusmi_frame *frame);

/* Cuts a stream of bytes into frames. It holds at most what was pushed and not yet taken. */
struct rusmi_splitter {
    struct rusmi_buf buf;
    size_t taken; /* bytes at the front that the frame last returned occupies */
};

void rusmi_splitter_init(struct rusmi_splitter *splitter);
void rusmi_splitter_fini(struct rusmi_splitter *splitter);
RUSM_MUST_CHECK rusm_err rusmi_splitter_push(struct rusmi_splitter *splitter, const void *bytes,
                                             size_t len);
/*
 * The next frame, valid until the next call. RUSM_EAGAIN: more bytes are needed; RUSM_EPROTO: the
 * length is 0 or over RUSMI_FRAME_MAX, known as soon as the prefix is there.
 */
RUSM_MUST_CHECK rusm_err rusmi_splitter_next(struct rusmi_splitter *splitter,
                                             const uint8_t **out_frame, size_t *out_len);

#endif
