/* SPDX-License-Identifier: MIT */
/*
 * The life of a conn (the picture is in core.h, the arguments in docs/design/links.md).
 *
 * The rules in one breath: hellos cross; the side that does not decide answers a hello it takes
 * with `accept`; the side that decides answers an accept with `ready`, for at most one conn per
 * node name, and that link is up. Where a link to the same name is up already, it is asked for a
 * sign of life (PROBING): if it gives one, the new conn goes, if not, the old one.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "cluster/core_state.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_MS 1000000u

/* Unfinished handshakes of one certificate, as said by who dialed: an honest node has one or two,
 * and a few more for a moment when it restarts. */
#define UNFINISHED_MAX 8u
/* Of an operator's or observer's, which many commands of a script use at once. */
#define UNFINISHED_HIDDEN_MAX 64u

#define TO(state)             (1u << (state))
static const struct {
    const char *name;
    unsigned next; /* states this one may move to */
} conn_table[CONN_STATES] = {
    [CONN_DIALING] = {"dialing", TO(CONN_HELLO) | TO(CONN_CLOSED)},
    [CONN_HELLO] = {"hello", TO(CONN_WAIT_ACCEPT) | TO(CONN_WAIT_READY) | TO(CONN_PROBING) |
                                 TO(CONN_CLOSED)},
    [CONN_WAIT_ACCEPT] = {"wait_accept", TO(CONN_PROBING) | TO(CONN_UP) | TO(CONN_CLOSED)},
    [CONN_WAIT_READY] = {"wait_ready", TO(CONN_UP) | TO(CONN_CLOSED)},
    [CONN_PROBING] = {"probing",
                      TO(CONN_PROBING) | TO(CONN_WAIT_READY) | TO(CONN_UP) | TO(CONN_CLOSED)},
    [CONN_UP] = {"up", TO(CONN_CLOSED)},
    [CONN_CLOSED] = {"closed", 0},
};

/* The only writer of conn->state. wait_ms is how long the new state may last; 0: for ever. */
static void conn_move(struct rusmi_core *core, struct conn *conn, enum conn_state to,
                      uint32_t wait_ms, rusm_time now)
{
    rusmi_assert(conn_table[conn->state].next & TO(to));
    conn->state = to;
    rusmi_list_remove(&conn->in_state);
    rusmi_list_push(to == CONN_UP       ? &core->links
                    : to == CONN_CLOSED ? &core->dead
                                        : &core->handshakes,
                    &conn->in_state);
    rusmi_deadlines_set(&core->deadlines, &conn->deadline,
                        wait_ms == 0 ? RUSMI_TIME_NEVER : now + (rusm_time)wait_ms * NS_PER_MS);
}

#define CONN_DEADLINES 3u

/* Reserved for the names and memberships of each peer: most have but a few. */
#define TABLES_FLOOR ((size_t)16 * 1024)

/* Release the first len of them. */
static void release_deadlines(struct rusmi_core *core, struct conn *conn, size_t len)
{
    struct rusmi_deadline *const deadlines[CONN_DEADLINES] = {
        &conn->deadline, &conn->names_lack.deadline, &conn->groups_lack.deadline};

    for (size_t i = 0; i < len; i++) {
        rusmi_deadlines_release(&core->deadlines, deadlines[i]);
    }
}

struct conn *rusmi_conn_new(struct rusmi_core *core, uint64_t id)
{
    struct conn *conn = rusmi_zalloc(sizeof(struct conn));

    if (conn == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < CONN_DEADLINES; i++) {
        if (!rusmi_deadlines_reserve(&core->deadlines)) {
            release_deadlines(core, conn, i);
            rusmi_free(conn);
            return NULL;
        }
    }
    conn->id = id;
    conn->state = CONN_DIALING;
    conn->deadline.kind = DEADLINE_CONN;
    conn->names_lack.deadline.kind = DEADLINE_MORE_NAMES;
    conn->names_lack.frame = RUSMI_FRAME_NAMES_MORE;
    conn->names_list.page = rusmi_names_page;
    conn->groups_lack.deadline.kind = DEADLINE_MORE_GROUPS;
    conn->groups_lack.frame = RUSMI_FRAME_GROUPS_MORE;
    conn->groups_list.page = rusmi_groups_page;
    rusmi_splitter_init(&conn->splitter);
    rusmi_list_init(&conn->in_state);
    rusmi_list_init(&conn->dials);
    rusmi_list_init(&conn->requests);
    rusmi_list_init(&conn->asks);
    rusmi_claimant_init(&conn->claimant, conn->name, 0, id);
    rusmi_holder_init(&conn->holder);
    conn->claimant.purse = conn->holder.purse = &conn->tables;
    conn->close_action = rusmi_action_new_told(RUSMI_ACTION_CLOSE);
    conn->up_action = rusmi_action_new_told(RUSMI_ACTION_PEER_UP);
    conn->down_action = rusmi_action_new_told(RUSMI_ACTION_PEER_DOWN);
    if (!rusmi_purse_open(&conn->tables, core->cfg.budget, TABLES_FLOOR) ||
        conn->close_action == NULL || conn->up_action == NULL || conn->down_action == NULL ||
        !rusmi_map_insert(&core->conns, &conn->by_id, &conn->id, sizeof(conn->id))) {
        rusmi_conn_del(core, conn);
        return NULL;
    }
    rusmi_list_push(&core->handshakes, &conn->in_state);
    return conn;
}

void rusmi_conn_del(struct rusmi_core *core, struct conn *conn)
{
    rusmi_assert(rusmi_list_empty(&conn->dials) && rusmi_list_empty(&conn->requests) &&
                 conn->claimant.len == 0 && conn->holder.len == 0);
    rusmi_purse_close(&conn->tables);
    release_deadlines(core, conn, CONN_DEADLINES);
    rusmi_list_remove(&conn->in_state);
    rusmi_splitter_fini(&conn->splitter);
    rusmi_action_del(conn->close_action);
    rusmi_action_del(conn->up_action);
    rusmi_action_del(conn->down_action);
    /* Its maps, dials, requests and claims were left when it closed, and steps keep no pointers. */
    rusmi_free(conn);
}

struct conn *rusmi_conn_find(const struct rusmi_core *core, uint64_t id)
{
    struct rusmi_map_entry *entry = rusmi_map_find(&core->conns, &id, sizeof(id));

    return entry == NULL ? NULL : rusmi_container(entry, struct conn, by_id);
}

struct conn *rusmi_peer_find(const struct rusmi_core *core, const char *name)
{
    struct rusmi_map_entry *entry = rusmi_map_find(&core->peers_by_name, name, strlen(name));

    return entry == NULL ? NULL : rusmi_container(entry, struct conn, by_name);
}

struct conn *rusmi_incarnation_find(const struct rusmi_core *core, uint64_t incarnation)
{
    struct rusmi_map_entry *entry =
        rusmi_map_find(&core->peers_by_incarnation, &incarnation, sizeof(incarnation));

    return entry == NULL ? NULL : rusmi_container(entry, struct conn, by_incarnation);
}

/* The link of an operator or observer that is up and says that incarnation. */
static struct conn *hidden_find(const struct rusmi_core *core, uint64_t incarnation)
{
    for (struct rusmi_list *node = core->links.next; node != &core->links; node = node->next) {
        struct conn *conn = rusmi_container(node, struct conn, in_state);

        if (conn->hidden && conn->incarnation == incarnation) {
            return conn;
        }
    }
    return NULL;
}

/* Take an UP conn out of the peer table and tell that it is down. */
static void link_down(struct rusmi_core *core, struct conn *conn, enum rusmi_down_cause cause,
                      const char *text, rusm_time now, struct rusmi_actions *out)
{
    struct rusmi_action *action = conn->down_action;

    if (conn->hidden) {
        core->stats.hidden--;
    } else {
        rusmi_map_remove(&core->peers_by_name, &conn->by_name);
        rusmi_map_remove(&core->peers_by_incarnation, &conn->by_incarnation);
        rusmi_roster_remove(&core->peers, conn->peer_id);
        rusmi_names_drop(&core->names, &conn->claimant);
        rusmi_groups_drop(core, conn, now);
        rusmi_asks_lost(core, conn);
        rusmi_mesh_down(core, conn, now, out);
        core->settle = true;
    }
    conn->down_action = NULL;
    action->conn = conn->id;
    action->incarnation = conn->incarnation;
    action->role = conn->cert.role;
    action->hidden = conn->hidden;
    action->cause = cause;
    rusmi_action_tell(action, conn->name, text);
    rusmi_actions_push(out, action);
}

/* How a conn ends. */
struct ending {
    bool by_us; /* a CLOSE is due */
    enum rusmi_close_code code;
    enum rusmi_down_cause cause;
    rusm_err err; /* of dials and requests */
    const char *text;
};

static void conn_end(struct rusmi_core *core, struct conn *conn, const struct ending *ending,
                     rusm_time now, struct rusmi_actions *out)
{
    bool was_up = conn->state == CONN_UP;

    conn_move(core, conn, CONN_CLOSED, 0, now);
    rusmi_map_remove(&core->conns, &conn->by_id);
    if (ending->by_us) {
        struct rusmi_action *action = conn->close_action;

        conn->close_action = NULL;
        action->conn = conn->id;
        action->code = ending->code;
        rusmi_action_tell(action, conn->name, ending->text);
        rusmi_actions_push(out, action);
    }
    if (was_up) {
        link_down(core, conn, ending->cause, ending->text, now, out);
    }
    rusmi_requests_fail(core, conn, core->shut_down ? RUSM_ECLOSED : RUSM_ENOLINK, ending->text,
                        out);
    if (ending->code == RUSMI_CLOSE_DUPLICATE && !core->shut_down) {
        rusmi_dials_move(core, conn, now, out);
    } else {
        rusmi_dials_fail(core, conn, ending->err, ending->text, out);
    }
}

static void count_close(struct rusmi_core *core, enum rusmi_close_code code)
{
    switch (code) {
    case RUSMI_CLOSE_PROTOCOL:
        core->stats.protocol_errors++;
        return;
    case RUSMI_CLOSE_HELLO:
    case RUSMI_CLOSE_SILENT:
        core->stats.timeouts++;
        return;
    case RUSMI_CLOSE_VERSION:
    case RUSMI_CLOSE_CLUSTER:
    case RUSMI_CLOSE_NAME:
    case RUSMI_CLOSE_ROLE:
    case RUSMI_CLOSE_REVOKED:
    case RUSMI_CLOSE_INCARNATION:
        core->stats.refused_auth++;
        return;
    case RUSMI_CLOSE_DUPLICATE:
    case RUSMI_CLOSE_DUPLICATE_NAME:
        core->stats.refused_duplicate++;
        return;
    case RUSMI_CLOSE_FULL:
        core->stats.refused_full++;
        return;
    case RUSMI_CLOSE_NORMAL:
    case RUSMI_CLOSE_SHUTDOWN:
    case RUSMI_CLOSE_MEMORY:
    case RUSMI_CLOSE_REPLACED:
    case RUSMI_CLOSE_SELF:
    case RUSMI_CLOSE_ABANDONED:
    case RUSMI_CLOSE_LEFT:
        return;
    }
}

void rusmi_conn_close(struct rusmi_core *core, struct conn *conn, enum rusmi_close_code code,
                      enum rusmi_down_cause cause, rusm_time now, struct rusmi_actions *out,
                      const char *format, ...)
{
    char text[RUSMI_TEXT_MAX * 2];
    struct ending ending = {.by_us = true, .code = code, .cause = cause, .text = text};
    va_list args;

    if (conn->state == CONN_CLOSED) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    ending.err = code == RUSMI_CLOSE_MEMORY     ? RUSM_ENOMEM
                 : code == RUSMI_CLOSE_SHUTDOWN ? RUSM_ECLOSED
                                                : rusmi_close_err(code);
    count_close(core, code);
    conn_end(core, conn, &ending, now, out);
}

/* A text that came from a peer, or else one of ours. */
static const char *printable(const char *text, const char *otherwise)
{
    if (text == NULL || text[0] == '\0' || !rusmi_utf8_valid(text, strlen(text))) {
        return otherwise;
    }
    for (const char *p = text; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f) {
            return otherwise;
        }
    }
    return text;
}

void rusmi_conn_lost(struct rusmi_core *core, struct conn *conn,
                     const struct rusmi_core_event *event, rusm_time now, struct rusmi_actions *out)
{
    bool by_peer = event->u.closed.cause == RUSMI_DOWN_BY_PEER;
    const char *who = conn->name[0] != '\0' ? conn->name : conn->address;
    const char *reason =
        printable(event->u.closed.text, by_peer ? rusmi_close_text(event->u.closed.code)
                                                : rusmi_down_cause_text(event->u.closed.cause));
    char text[RUSMI_TEXT_MAX * 2];
    struct ending ending = {.cause = event->u.closed.cause, .text = text};

    conn->left |= by_peer && event->u.closed.code == RUSMI_CLOSE_LEFT;
    if (conn->left) {
        /* However the connection ended after the good-bye: it was meant to. */
        ending.cause = RUSMI_DOWN_LEFT;
        (void)snprintf(text, sizeof(text), "%s: left the cluster", who);
    } else {
        (void)snprintf(text, sizeof(text), "%s%s: %.*s", who, by_peer ? " closed the link" : "",
                       (int)rusmi_utf8_cut(reason, strlen(reason), RUSMI_TEXT_MAX), reason);
    }
    if (by_peer) {
        ending.err = rusmi_close_err(event->u.closed.code);
        if (event->u.closed.code == RUSMI_CLOSE_DUPLICATE) {
            ending.code = RUSMI_CLOSE_DUPLICATE;
        }
        conn->apart = event->u.closed.code == RUSMI_CLOSE_NORMAL;
    } else {
        ending.err = event->u.closed.err == RUSM_OK ? RUSM_ENOLINK : event->u.closed.err;
    }
    if (ending.cause == RUSMI_DOWN_SILENT) {
        core->stats.timeouts++;
    }
    conn_end(core, conn, &ending, now, out);
}

bool rusmi_conn_send(struct rusmi_core *core, struct conn *conn, const struct rusmi_frame *frame,
                     rusm_time now, struct rusmi_actions *out)
{
    struct rusmi_action *action;
    struct rusmi_buf buf;
    rusm_err err;

    if (conn->state == CONN_CLOSED) {
        return false;
    }
    rusmi_assert(frame->type <= RUSMI_FRAME_FLOW || frame->type >= RUSMI_FRAME_EXTENSION ||
                 conn->version >= 2);
    rusmi_buf_init(&buf);
    err = rusmi_control_encode(&buf, frame);
    action = err == RUSM_OK ? rusmi_action_new(RUSMI_ACTION_SEND) : NULL;
    if (action == NULL) {
        rusmi_assert(err == RUSM_OK || err == RUSM_ENOMEM); /* callers check their fields */
        rusmi_buf_fini(&buf);
        rusmi_conn_close(core, conn, RUSMI_CLOSE_MEMORY, RUSMI_DOWN_MEMORY, now, out,
                         "no memory for a control frame");
        return false;
    }
    action->conn = conn->id;
    action->bytes = rusmi_buf_head(&buf);
    action->len = buf.len;
    action->memory[0] = buf.data;
    rusmi_actions_push(out, action);
    return true;
}

static bool send_bare(struct rusmi_core *core, struct conn *conn, enum rusmi_frame_type type,
                      uint64_t id, rusm_time now, struct rusmi_actions *out)
{
    struct rusmi_frame frame = {.type = type, .id = id};

    return rusmi_conn_send(core, conn, &frame, now, out);
}

static void send_hello(struct rusmi_core *core, struct conn *conn, rusm_time now,
                       struct rusmi_actions *out)
{
    struct rusmi_frame frame = {.type = RUSMI_FRAME_HELLO};
    struct rusmi_hello *hello = &frame.u.hello;

    for (uint32_t v = core->cfg.version_max; v >= RUSMI_PROTOCOL_VERSION_MIN; v--) {
        hello->versions[hello->versions_len++] = v; /* the best first; the order means nothing */
    }
    memcpy(hello->cluster, core->cluster, sizeof(hello->cluster));
    memcpy(hello->name, core->name, sizeof(hello->name));
    memcpy(hello->address, core->address, sizeof(hello->address));
    memcpy(hello->software, core->software, sizeof(hello->software));
    hello->incarnation = core->cfg.incarnation;
    hello->features = core->cfg.features | (core->cfg.mesh ? RUSMI_FEATURE_MESH : 0);
    (void)rusmi_conn_send(core, conn, &frame, now, out);
}

/* Handshakes that holders of a certificate began here and have not finished. */
static unsigned unfinished_of(const struct rusmi_core *core, const struct rusmi_core_cert *cert)
{
    unsigned count = 0;

    for (const struct rusmi_list *node = core->handshakes.next; node != &core->handshakes;
         node = node->next) {
        const struct conn *conn = rusmi_container(node, struct conn, in_state);

        count += conn->state != CONN_DIALING && !conn->dialed && !conn->cert.shared &&
                         strcmp(conn->cert.node, cert->node) == 0
                     ? 1
                     : 0;
    }
    return count;
}

rusm_err rusmi_conn_authenticated(struct rusmi_core *core, const struct rusmi_core_event *event,
                                  rusm_time now, struct rusmi_actions *out)
{
    struct conn *conn = rusmi_conn_find(core, event->conn);
    unsigned unfinished_max;

    if (conn == NULL) {
        if (event->u.authenticated.dialed) {
            return RUSM_OK; /* a dial that was given up meanwhile; its CLOSE is on the way */
        }
        if (core->shut_down) {
            return RUSM_ECLOSED;
        }
        conn = rusmi_conn_new(core, event->conn);
        if (conn == NULL) {
            return RUSM_ENOMEM;
        }
        (void)snprintf(conn->address, sizeof(conn->address), "%s", event->u.authenticated.address);
    }
    rusmi_assert(conn->state == CONN_DIALING);
    conn->dialed = event->u.authenticated.dialed;
    conn->cert = *event->u.authenticated.cert;
    conn_move(core, conn, CONN_HELLO, core->cfg.hello_ms, now);
    if (strcmp(conn->cert.cluster, core->cluster) != 0) {
        rusmi_conn_close(core, conn, RUSMI_CLOSE_CLUSTER, RUSMI_DOWN_REFUSED, now, out,
                         "the certificate is for cluster \"%s\", this is cluster \"%s\"",
                         conn->cert.cluster, core->cluster);
        return RUSM_OK;
    }
    if (conn->cert.role != RUSMI_ROLE_MEMBER && core->cfg.role != RUSMI_ROLE_MEMBER) {
        rusmi_conn_close(core, conn, RUSMI_CLOSE_ROLE, RUSMI_DOWN_REFUSED, now, out,
                         "neither \"%s\" nor \"%s\" is a member of the cluster", conn->cert.node,
                         core->name);
        return RUSM_OK;
    }
    if (!conn->dialed &&
        core->conns.len - core->peers.live - core->stats.hidden > core->cfg.peers_max) {
        /* Whoever holds a certificate could otherwise open conns without end and say nothing. */
        rusmi_conn_close(core, conn, RUSMI_CLOSE_FULL, RUSMI_DOWN_REFUSED, now, out,
                         "\"%s\" has %" PRIu32 " unfinished handshakes, as many as it may",
                         core->name, core->cfg.peers_max);
        return RUSM_OK;
    }
    unfinished_max = conn->cert.role == RUSMI_ROLE_MEMBER ? UNFINISHED_MAX : UNFINISHED_HIDDEN_MAX;
    if (!conn->dialed && !conn->cert.shared && unfinished_of(core, &conn->cert) > unfinished_max) {
        /* And keep all others out with it. */
        rusmi_conn_close(core, conn, RUSMI_CLOSE_FULL, RUSMI_DOWN_REFUSED, now, out,
                         "\"%s\" has %u unfinished handshakes with \"%s\", as many as it may",
                         core->name, unfinished_max, conn->cert.node);
        return RUSM_OK;
    }
    send_hello(core, conn, now, out);
    return RUSM_OK;
}

static bool has_room(struct rusmi_core *core, struct conn *conn, rusm_time now,
                     struct rusmi_actions *out)
{
    uint64_t links = core->peers.live + core->stats.hidden;

    if (links < core->cfg.peers_max ||
        (!conn->hidden && rusmi_peer_find(core, conn->name) != NULL)) {
        return true;
    }
    rusmi_conn_close(core, conn, RUSMI_CLOSE_FULL, RUSMI_DOWN_REFUSED, now, out,
                     "\"%s\" has %" PRIu64 " links, as many as it may", core->name, links);
    return false;
}

static uint32_t probe_ms(const struct rusmi_core *core)
{
    uint32_t quarter = core->cfg.tick_ms / 4;

    return quarter == 0 ? 1 : quarter > RUSMI_PROBE_MAX_MS ? RUSMI_PROBE_MAX_MS : quarter;
}

/* Ask the link `old`, which stands in conn's way, for a sign of life. */
static void probe(struct rusmi_core *core, struct conn *conn, struct conn *old, rusm_time now,
                  struct rusmi_actions *out)
{
    conn->probe_conn = old->id;
    conn->probe_nonce = ++core->nonce_last;
    conn_move(core, conn, CONN_PROBING, probe_ms(core), now);
    /* If memory runs out in here the old link is gone, and settling lets conn go on. */
    (void)send_bare(core, old, RUSMI_FRAME_PING, conn->probe_nonce, now, out);
}

static void send_accept(struct rusmi_core *core, struct conn *conn, rusm_time now,
                        struct rusmi_actions *out)
{
    conn_move(core, conn, CONN_WAIT_READY, core->cfg.hello_ms, now);
    (void)send_bare(core, conn, RUSMI_FRAME_ACCEPT, 0, now, out);
}

/* The other conns to a node that has just come up: their dials are done, and if it is on us to
 * decide they go. */
static void resolve_duplicates(struct rusmi_core *core, struct conn *up, rusm_time now,
                               struct rusmi_actions *out)
{
    struct rusmi_list *node = core->handshakes.next, *next;

    for (; node != &core->handshakes; node = next) {
        struct conn *conn = rusmi_container(node, struct conn, in_state);

        next = node->next;
        if (conn->hidden || conn->incarnation != up->incarnation ||
            strcmp(conn->name, up->name) != 0) {
            continue;
        }
        rusmi_dials_done(core, conn, up->name, out);
        if (up->decides || core->cfg.role != RUSMI_ROLE_MEMBER) {
            /* It has no dials any more, so closing it changes nothing but itself and `next` stays
             * what follows. */
            rusmi_conn_close(core, conn, RUSMI_CLOSE_DUPLICATE, RUSMI_DOWN_REFUSED, now, out,
                             "another link between \"%s\" and \"%s\" stays", core->name, up->name);
        }
    }
}

/* Into the peer table; false when memory ran out. */
static bool table_add(struct rusmi_core *core, struct conn *conn)
{
    if (!rusmi_roster_add(&core->peers, core->peer_last + 1, conn)) {
        return false;
    }
    conn->peer_id = ++core->peer_last;
    if (!rusmi_map_insert(&core->peers_by_name, &conn->by_name, conn->name, strlen(conn->name))) {
        rusmi_roster_remove(&core->peers, conn->peer_id);
        return false;
    }
    if (!rusmi_map_insert(&core->peers_by_incarnation, &conn->by_incarnation, &conn->incarnation,
                          sizeof(conn->incarnation))) {
        rusmi_map_remove(&core->peers_by_name, &conn->by_name);
        rusmi_roster_remove(&core->peers, conn->peer_id);
        return false;
    }
    return true;
}

/* The link is up. Nothing with its name is up any more, and there is room. */
static void go_up(struct rusmi_core *core, struct conn *conn, rusm_time now,
                  struct rusmi_actions *out)
{
    struct rusmi_action *action;
    const struct conn *other = rusmi_incarnation_find(core, conn->incarnation);
    struct conn *hidden = core->stats.hidden == 0 ? NULL : hidden_find(core, conn->incarnation);

    /* Pids carry incarnations: two links with one would speak for each other's processes. A member
     * is found by its own, so it is the other one that goes. */
    if (hidden != NULL && !conn->hidden) {
        rusmi_conn_close(core, hidden, RUSMI_CLOSE_INCARNATION, RUSMI_DOWN_REFUSED, now, out,
                         "\"%s\" has the incarnation %" PRIx64 ", which is \"%s\"'s", hidden->name,
                         hidden->incarnation, conn->name);
    } else if (hidden != NULL && strcmp(hidden->cert.node, conn->cert.node) == 0) {
        rusmi_conn_close(core, hidden, RUSMI_CLOSE_REPLACED, RUSMI_DOWN_REPLACED, now, out,
                         "\"%s\" has come again", conn->name);
    } else if (hidden != NULL) {
        other = hidden;
    }
    if (other != NULL) { /* it came up under another name since this one said hello */
        rusmi_conn_close(core, conn, RUSMI_CLOSE_INCARNATION, RUSMI_DOWN_REFUSED, now, out,
                         "\"%s\" has the incarnation %" PRIx64 ", which is \"%s\"'s", conn->name,
                         conn->incarnation, other->name);
        return;
    }
    if (conn->decides && !send_bare(core, conn, RUSMI_FRAME_READY, 0, now, out)) {
        return;
    }
    if (!conn->hidden && !table_add(core, conn)) {
        rusmi_conn_close(core, conn, RUSMI_CLOSE_MEMORY, RUSMI_DOWN_MEMORY, now, out,
                         "no memory for another peer");
        return;
    }
    conn_move(core, conn, CONN_UP, 0, now);
    core->stats.hidden += conn->hidden ? 1 : 0;
    conn->up_since = now;
    conn->claimant.incarnation = conn->incarnation;
    action = conn->up_action;
    conn->up_action = NULL;
    action->conn = conn->id;
    action->incarnation = conn->incarnation;
    action->role = conn->cert.role;
    action->hidden = conn->hidden;
    action->version = conn->version;
    rusmi_action_tell(action, conn->name, "");
    rusmi_actions_push(out, action);
    rusmi_dials_done(core, conn, conn->name, out);
    if (!conn->hidden) {
        core->settle = true;
        resolve_duplicates(core, conn, now, out);
        rusmi_listing_go(core, conn, &conn->names_list, now, out);
        rusmi_listing_go(core, conn, &conn->groups_list, now, out);
        rusmi_mesh_up(core, conn, now, out);
    }
}

/* conn has all it needs from its peer to go on: `accept` if we decide, else the hello. */
static void advance(struct rusmi_core *core, struct conn *conn, rusm_time now,
                    struct rusmi_actions *out)
{
    struct conn *old = conn->hidden ? NULL : rusmi_peer_find(core, conn->name);
    /* An operator's links are hidden to the other side, so it keeps them to one itself. */
    bool dedupes = conn->decides || core->cfg.role != RUSMI_ROLE_MEMBER;

    if (old != NULL && (dedupes || old->incarnation != conn->incarnation)) {
        probe(core, conn, old, now, out);
    } else if (!has_room(core, conn, now, out)) {
        return;
    } else if (conn->decides) {
        go_up(core, conn, now, out);
    } else {
        send_accept(core, conn, now, out);
    }
}

static void on_hello(struct rusmi_core *core, struct conn *conn, const struct rusmi_hello *hello,
                     rusm_time now, struct rusmi_actions *out)
{
    bool member = core->cfg.role == RUSMI_ROLE_MEMBER;

    conn->hidden = conn->cert.role != RUSMI_ROLE_MEMBER;
    if (!rusmi_hello_accept(core, conn, hello, now, out)) {
        return;
    }
    memcpy(conn->name, hello->name, sizeof(conn->name));
    rusmi_mesh_listen_text(hello->address, conn->address, conn->listen, sizeof(conn->listen));
    conn->incarnation = hello->incarnation;
    conn->features = hello->features;
    conn->decides = member && (conn->hidden || strcmp(core->name, conn->name) < 0);
    if (!has_room(core, conn, now, out)) {
        return;
    }
    if (conn->decides) {
        conn_move(core, conn, CONN_WAIT_ACCEPT, core->cfg.hello_ms, now);
    } else {
        advance(core, conn, now, out);
    }
}

/* The deciding side has chosen conn. */
static void on_ready(struct rusmi_core *core, struct conn *conn, rusm_time now,
                     struct rusmi_actions *out)
{
    struct conn *old = rusmi_peer_find(core, conn->name);

    if (old != NULL &&
        (old->incarnation != conn->incarnation || core->cfg.role != RUSMI_ROLE_MEMBER)) {
        /* It came up while this one waited, so it is alive. */
        rusmi_conn_close(core, conn,
                         old->incarnation != conn->incarnation ? RUSMI_CLOSE_DUPLICATE_NAME
                                                               : RUSMI_CLOSE_DUPLICATE,
                         RUSMI_DOWN_REFUSED, now, out,
                         "\"%s\" has another link to \"%s\" (incarnation %" PRIx64 ")", core->name,
                         conn->name, old->incarnation);
        return;
    }
    if (old != NULL) {
        /* The decider keeps one link per node: it has lost the old one, whatever we think. */
        rusmi_conn_close(core, old, RUSMI_CLOSE_REPLACED, RUSMI_DOWN_REPLACED, now, out,
                         "\"%s\" has chosen a newer link", conn->name);
    }
    if (has_room(core, conn, now, out)) {
        go_up(core, conn, now, out);
    }
}

/* The link `old` has shown that it lives: conns that waited for its end are refused. */
static void on_pong(struct rusmi_core *core, struct conn *old, uint64_t nonce, rusm_time now,
                    struct rusmi_actions *out)
{
    struct rusmi_list *node = core->handshakes.next, *next;

    rusmi_listing_pong(core, old, &old->names_list, nonce, now, out);
    rusmi_listing_pong(core, old, &old->groups_list, nonce, now, out);
    if (old->state != CONN_UP) {
        return;
    }
    for (; node != &core->handshakes; node = next) {
        struct conn *conn = rusmi_container(node, struct conn, in_state);
        bool same = conn->incarnation == old->incarnation;

        next = node->next;
        if (conn->state != CONN_PROBING || conn->probe_conn != old->id ||
            conn->probe_nonce > nonce) {
            continue;
        }
        if (same) {
            rusmi_dials_done(core, conn, conn->name, out); /* so that closing moves none */
        }
        rusmi_conn_close(core, conn, same ? RUSMI_CLOSE_DUPLICATE : RUSMI_CLOSE_DUPLICATE_NAME,
                         RUSMI_DOWN_REFUSED, now, out,
                         same ? "the link between \"%s\" and \"%s\" (incarnation %" PRIx64
                                ") is up and alive"
                              : "\"%s\" has a living link with another \"%s\" (incarnation "
                                "%" PRIx64 ")",
                         core->name, conn->name, old->incarnation);
    }
}

void rusmi_conns_settle(struct rusmi_core *core, rusm_time now, struct rusmi_actions *out)
{
    while (core->settle) {
        struct rusmi_list *node = core->handshakes.next;

        core->settle = false;
        while (node != &core->handshakes) {
            struct conn *conn = rusmi_container(node, struct conn, in_state);
            const struct conn *old;

            node = node->next;
            if (conn->state != CONN_PROBING) {
                continue;
            }
            old = rusmi_peer_find(core, conn->name);
            if (old == NULL || old->id != conn->probe_conn) {
                advance(core, conn, now, out);
                break; /* the list may have changed: look again from the start */
            }
        }
        core->settle |= node != &core->handshakes;
    }
}

void rusmi_conn_expired(struct rusmi_core *core, struct conn *conn, rusm_time now,
                        struct rusmi_actions *out)
{
    const char *missing = conn->state == CONN_HELLO         ? "hello"
                          : conn->state == CONN_WAIT_ACCEPT ? "accept"
                                                            : "ready";

    if (conn->state == CONN_PROBING) {
        struct conn *old = rusmi_conn_find(core, conn->probe_conn);

        core->settle = true;
        if (old != NULL) {
            rusmi_conn_close(core, old, RUSMI_CLOSE_REPLACED, RUSMI_DOWN_REPLACED, now, out,
                             "a new link to \"%s\" came while the old one gave no sign of life "
                             "for %" PRIu32 " ms",
                             conn->name, probe_ms(core));
        }
        return;
    }
    rusmi_conn_close(core, conn, RUSMI_CLOSE_HELLO, RUSMI_DOWN_SILENT, now, out,
                     "%s sent no %s within %" PRIu32 " ms", conn->address, missing,
                     core->cfg.hello_ms);
}

static void protocol_error(struct rusmi_core *core, struct conn *conn, const char *why,
                           rusm_time now, struct rusmi_actions *out)
{
    rusmi_conn_close(core, conn, RUSMI_CLOSE_PROTOCOL, RUSMI_DOWN_PROTOCOL, now, out,
                     "%s broke the protocol: %s",
                     conn->name[0] != '\0' ? conn->name : conn->address, why);
}

/* Whether it can be trusted is for those who know certificates. */
static void on_certificate(struct rusmi_core *core, struct conn *conn,
                           const struct rusmi_certificate *from, rusm_time now,
                           struct rusmi_actions *out)
{
    struct rusmi_action *action = rusmi_action_new(RUSMI_ACTION_CERTIFICATE);
    struct rusmi_certificate *copy =
        action == NULL ? NULL : rusmi_alloc(sizeof(*copy) + from->der_len + from->proof_len);
    uint8_t *bytes;

    if (copy == NULL) {
        rusmi_action_del(action);
        rusmi_conn_close(core, conn, RUSMI_CLOSE_MEMORY, RUSMI_DOWN_MEMORY, now, out,
                         "no memory for a certificate");
        return;
    }
    bytes = (uint8_t *)(copy + 1);
    memcpy(bytes, from->der, from->der_len);
    memcpy(bytes + from->der_len, from->proof, from->proof_len);
    *copy =
        (struct rusmi_certificate){bytes, from->der_len, bytes + from->der_len, from->proof_len};
    action->memory[0] = copy;
    action->certificate = copy;
    action->conn = conn->id;
    rusmi_actions_push(out, action);
}

/* A frame that only an UP link carries. */
static void up_frame(struct rusmi_core *core, struct conn *conn, struct rusmi_frame *frame,
                     rusm_time now, struct rusmi_actions *out)
{
    struct rusmi_action *action;

    switch ((enum rusmi_frame_type)frame->type) {
    case RUSMI_FRAME_NAMES_ADD:
    case RUSMI_FRAME_NAMES_DEL:
    case RUSMI_FRAME_NAMES_ASK:
    case RUSMI_FRAME_NAMES_AGREE:
    case RUSMI_FRAME_NAMES_MORE:
        rusmi_names_frame(core, conn, frame, now, out);
        return;
    case RUSMI_FRAME_REQUEST:
        rusmi_request_frame(core, conn, frame, now, out);
        return;
    case RUSMI_FRAME_REPLY:
        rusmi_reply_frame(core, conn, frame, now, out);
        return;
    case RUSMI_FRAME_FLOW:
        action = rusmi_action_new(RUSMI_ACTION_FLOW);
        if (action == NULL ||
            (action->memory[0] = rusmi_alloc(sizeof(struct rusmi_flow))) == NULL) {
            rusmi_action_del(action);
            rusmi_conn_close(core, conn, RUSMI_CLOSE_MEMORY, RUSMI_DOWN_MEMORY, now, out,
                             "no memory for a flow frame");
            return;
        }
        memcpy(action->memory[0], &frame->u.flow, sizeof(struct rusmi_flow));
        action->flow = action->memory[0];
        action->conn = conn->id;
        rusmi_actions_push(out, action);
        return;
    case RUSMI_FRAME_GROUPS_ADD:
    case RUSMI_FRAME_GROUPS_DEL:
    case RUSMI_FRAME_GROUPS_MORE:
        rusmi_groups_frame(core, conn, frame, now, out);
        return;
    case RUSMI_FRAME_MEMBERS:
        rusmi_mesh_frame(core, conn, frame, now);
        return;
    case RUSMI_FRAME_LEAVE:
        conn->left = true; /* what it sent before may still be on its way; its close follows */
        return;
    case RUSMI_FRAME_CERTIFICATE:
        on_certificate(core, conn, &frame->u.certificate, now, out);
        return;
    case RUSMI_FRAME_HELLO:
    case RUSMI_FRAME_ACCEPT:
    case RUSMI_FRAME_READY:
    case RUSMI_FRAME_PING:
    case RUSMI_FRAME_PONG:
        break;
    }
    protocol_error(core, conn, "a handshake frame on a link that is up", now, out);
}

static void on_frame(struct rusmi_core *core, struct conn *conn, struct rusmi_frame *frame,
                     rusm_time now, struct rusmi_actions *out)
{
    bool hello = frame->type == RUSMI_FRAME_HELLO;

    if (conn->state == CONN_DIALING || (conn->state == CONN_HELLO) != hello) {
        protocol_error(core, conn,
                       hello ? "a hello that is not the first frame"
                             : "the first frame is no hello",
                       now, out);
    } else if (hello) {
        on_hello(core, conn, &frame->u.hello, now, out);
    } else if (frame->type >= RUSMI_FRAME_EXTENSION) {
        core->stats.frames_ignored++;
    } else if (frame->type > RUSMI_FRAME_FLOW && conn->version < 2) {
        protocol_error(core, conn, "a frame of a later version than the link's", now, out);
    } else if (frame->type == RUSMI_FRAME_PING) {
        (void)send_bare(core, conn, RUSMI_FRAME_PONG, frame->id, now, out);
    } else if (frame->type == RUSMI_FRAME_PONG) {
        on_pong(core, conn, frame->id, now, out);
    } else if (conn->state == CONN_UP) {
        up_frame(core, conn, frame, now, out);
    } else if (frame->type == RUSMI_FRAME_ACCEPT && conn->state == CONN_WAIT_ACCEPT) {
        advance(core, conn, now, out);
    } else if (frame->type == RUSMI_FRAME_READY && conn->state == CONN_WAIT_READY) {
        on_ready(core, conn, now, out);
    } else {
        protocol_error(core, conn, "a frame before the link is up", now, out);
    }
}

void rusmi_conn_frames(struct rusmi_core *core, struct conn *conn, const uint8_t *bytes, size_t len,
                       rusm_time now, struct rusmi_actions *out)
{
    const uint8_t *data;
    size_t data_len;
    rusm_err err = rusmi_splitter_push(&conn->splitter, bytes, len);

    while (err == RUSM_OK) {
        const char *why = NULL;
        struct rusmi_frame frame;

        err = rusmi_splitter_next(&conn->splitter, &data, &data_len);
        if (err == RUSM_EPROTO) {
            protocol_error(core, conn, "a frame is empty or longer than its limit", now, out);
        }
        if (err != RUSM_OK) {
            break;
        }
        err = rusmi_control_decode(data, data_len, &frame, &why);
        if (err == RUSM_EPROTO) {
            protocol_error(core, conn, why, now, out);
        } else if (err == RUSM_OK) {
            on_frame(core, conn, &frame, now, out);
            rusmi_frame_fini(&frame);
            rusmi_conns_settle(core, now, out);
        }
        if (conn->state == CONN_CLOSED) {
            return;
        }
    }
    if (err == RUSM_ENOMEM) {
        rusmi_conn_close(core, conn, RUSMI_CLOSE_MEMORY, RUSMI_DOWN_MEMORY, now, out,
                         "no memory for what \"%s\" sent", conn->name);
    }
}
