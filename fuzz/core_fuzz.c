/* SPDX-License-Identifier: MIT */
/*
 * The control plane of a node as a step function: the input is a list of events. Conns are dialled,
 * accepted, authenticated, lost; frames of every type come on any of them, well-formed with odd
 * contents or as arbitrary bytes; time passes; and the node's own side registers, asks, dials,
 * joins, disconnects. Whatever comes, in whatever order:
 *
 *   the core's own invariant holds (debug builds), and so does its bookkeeping at the end
 *   every dial, request and registration ends exactly once
 *   a link comes up once and goes down once; no two members are up under one name or incarnation
 *   nothing is sent on a conn that the core has closed, and what is sent can be decoded
 *   what a peer may make it keep stays within the limits of the config
 */
#include "base/assert.h"
#include "cluster/core.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CONNS    48
#define REFS     64
#define NAMES    20
#define GROUPS   20
#define REQUESTS 4
#define WISH_NS  ((rusm_time)5000000000)

enum conn_state {
    CONN_UNUSED,
    CONN_DIALING,
    CONN_OPEN,
    CONN_CLOSED
};

struct conn {
    enum conn_state state;
    bool up, hidden;
    char name[RUSM_NAME_MAX + 1];
    uint64_t incarnation;
    uint64_t nonce; /* of the last ping that came to it */
};

struct world {
    const uint8_t *data;
    size_t size;
    struct rusmi_core *core;
    rusm_time now;
    uint64_t conn_last;
    struct conn conns[CONNS];
    uint64_t refs_len;
    enum {
        REF_DIAL,
        REF_REQUEST,
        REF_REGISTER
    } refs_kind[REFS];
    int refs[REFS]; /* how many ends are due */
    bool shut;
};

static uint8_t take(struct world *world)
{
    if (world->size == 0) {
        return 0;
    }
    world->size--;
    return *world->data++;
}

static const char *pick_name(struct world *world)
{
    static const char *const names[] = {"a", "b", "m", "y", "z", "zz"};

    return names[take(world) % 6];
}

static const char *pick_address(struct world *world)
{
    static const char *const addresses[] = {"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1",
                                            "10.0.0.9:1", "",           "nonsense"};

    return addresses[take(world) % 6];
}

static void fill_name(struct world *world, char name[RUSM_NAME_MAX + 1], const char *prefix)
{
    (void)snprintf(name, RUSM_NAME_MAX + 1, "%s%u", prefix, take(world) % (NAMES * 2));
}

static struct conn *conn_of(struct world *world, uint64_t id)
{
    return id == 0 || id >= CONNS ? NULL : &world->conns[id];
}

/* ---- what the core does ---------------------------------------------------------------------- */

static void end_ref(struct world *world, uint64_t ref, int kind)
{
    rusmi_assert(ref < world->refs_len && (int)world->refs_kind[ref] == kind);
    rusmi_assert(world->refs[ref] == 1);
    world->refs[ref] = 0;
}

static void check_sent(const struct rusmi_action *action, struct conn *conn)
{
    struct rusmi_splitter splitter;
    const uint8_t *bytes;
    size_t len;

    rusmi_assert(conn == NULL || conn->state == CONN_OPEN);
    rusmi_splitter_init(&splitter);
    rusmi_assert(rusmi_splitter_push(&splitter, action->bytes, action->len) == RUSM_OK);
    while (rusmi_splitter_next(&splitter, &bytes, &len) == RUSM_OK) {
        struct rusmi_frame frame;

        rusmi_assert(rusmi_control_decode(bytes, len, &frame, NULL) == RUSM_OK);
        if (frame.type == RUSMI_FRAME_PING && conn != NULL) {
            conn->nonce = frame.id;
        }
        rusmi_frame_fini(&frame);
    }
    rusmi_assert(splitter.buf.len == splitter.taken);
    rusmi_splitter_fini(&splitter);
}

static void check_up(struct world *world, const struct rusmi_action *action, struct conn *conn)
{
    if (conn == NULL) {
        return;
    }
    rusmi_assert(conn->state == CONN_OPEN && !conn->up);
    for (size_t i = 1; i < CONNS; i++) {
        const struct conn *other = &world->conns[i];

        rusmi_assert(!other->up || other->incarnation != action->incarnation);
        rusmi_assert(!other->up || other->hidden || action->hidden ||
                     strcmp(other->name, action->peer) != 0);
    }
    conn->up = true;
    conn->hidden = action->hidden;
    conn->incarnation = action->incarnation;
    memcpy(conn->name, action->peer, strlen(action->peer) + 1);
}

/* Returns what the action asks for that is to be done after the step; the action is freed. */
static void carry_out(struct world *world, struct rusmi_action *action,
                      struct rusmi_actions *actions)
{
    struct conn *conn = conn_of(world, action->conn);
    struct rusmi_reply reply = {.err = RUSM_ENOPROC};

    switch (action->kind) {
    case RUSMI_ACTION_DIAL:
        rusmi_assert(conn == NULL || conn->state == CONN_UNUSED);
        if (conn != NULL) {
            conn->state = CONN_DIALING;
        }
        break;
    case RUSMI_ACTION_SEND:
        check_sent(action, conn);
        break;
    case RUSMI_ACTION_CLOSE:
        rusmi_assert(conn == NULL || conn->state == CONN_OPEN || conn->state == CONN_DIALING);
        if (conn != NULL) {
            conn->state = CONN_CLOSED;
        }
        break;
    case RUSMI_ACTION_DIALED:
        end_ref(world, action->ref, REF_DIAL);
        break;
    case RUSMI_ACTION_REPLY:
        end_ref(world, action->ref, REF_REQUEST);
        break;
    case RUSMI_ACTION_REGISTERED:
        end_ref(world, action->ref, REF_REGISTER);
        break;
    case RUSMI_ACTION_PEER_UP:
        check_up(world, action, conn);
        break;
    case RUSMI_ACTION_PEER_DOWN:
        rusmi_assert(conn == NULL || conn->up);
        if (conn != NULL) {
            conn->up = false;
        }
        break;
    case RUSMI_ACTION_GROUPS:
    case RUSMI_ACTION_FLOW:
    case RUSMI_ACTION_CERTIFICATE:
        rusmi_assert(conn == NULL || conn->up); /* only on links */
        break;
    case RUSMI_ACTION_EXECUTE:
        reply.kind = action->request->kind;
        rusmi_core_answer(world->core, action->conn, action->request_id, &reply, world->now,
                          actions);
        break;
    default:
        break;
    }
    rusmi_action_del(action);
}

static void act(struct world *world, struct rusmi_actions *actions)
{
    struct rusmi_core_stats stats;
    struct rusmi_action *action;

    while ((action = rusmi_actions_pop(actions)) != NULL) {
        carry_out(world, action, actions);
    }
    rusmi_actions_fini(actions);
    rusmi_core_get_stats(world->core, &stats);
    rusmi_assert(stats.names <= (CONNS + 1) * NAMES);
    rusmi_assert(stats.groups <= CONNS * GROUPS);
}

static void step(struct world *world, const struct rusmi_core_event *event)
{
    struct rusmi_actions actions;
    rusm_err err;

    rusmi_actions_init(&actions);
    err = rusmi_core_step(world->core, event, world->now, &actions);
    rusmi_assert(err == RUSM_OK || err == RUSM_ECLOSED);
    if (err != RUSM_OK) {
        conn_of(world, event->conn)->state = CONN_CLOSED; /* the core does not know it */
    }
    act(world, &actions);
}

/* ---- what happens to it ---------------------------------------------------------------------- */

/* A conn in a state that the byte chooses, or 0. */
static uint64_t pick_conn(struct world *world, enum conn_state state)
{
    uint64_t start = take(world);

    for (uint64_t i = 0; i < CONNS - 1; i++) {
        uint64_t id = 1 + (start + i) % (CONNS - 1);

        if (world->conns[id].state == state) {
            return id;
        }
    }
    return 0;
}

static void authenticated(struct world *world, bool dialed)
{
    struct rusmi_core_cert cert = {.cluster = "c"};
    struct rusmi_core_event event = {.kind = RUSMI_EVENT_AUTHENTICATED};
    uint8_t how = take(world);
    const char *name = pick_name(world);

    event.conn = dialed ? pick_conn(world, CONN_DIALING) : rusmi_core_conn_id(world->core);
    if (event.conn == 0 || event.conn >= CONNS) {
        return;
    }
    world->conns[event.conn].state = CONN_OPEN;
    cert.role = how % 8 < 6   ? RUSMI_ROLE_MEMBER
                : how % 8 < 7 ? RUSMI_ROLE_OPERATOR
                              : RUSMI_ROLE_OBSERVER;
    cert.shared = (how & 16) != 0;
    if ((how & 32) != 0 && (how & 64) != 0) {
        cert.cluster[0] = 'd';
    }
    memcpy(cert.node, name, strlen(name) + 1);
    event.u.authenticated.dialed = dialed;
    event.u.authenticated.cert = &cert;
    event.u.authenticated.address = "10.0.0.2:7";
    step(world, &event);
}

static void lost(struct world *world)
{
    struct rusmi_core_event event = {.kind = RUSMI_EVENT_CLOSED};
    uint8_t how = take(world);

    event.conn = pick_conn(world, (how & 1) != 0 ? CONN_DIALING : CONN_OPEN);
    if (event.conn == 0) {
        return;
    }
    world->conns[event.conn].state = CONN_CLOSED;
    event.u.closed.cause = (enum rusmi_down_cause)(how % 11);
    event.u.closed.code = take(world) % 24;
    event.u.closed.err = (how & 64) != 0 ? RUSM_EAUTH : RUSM_OK;
    event.u.closed.text = (how & 32) != 0 ? "\xff\x01" : "gone";
    step(world, &event);
}

static void bytes_on(struct world *world, uint64_t conn, const uint8_t *bytes, size_t len)
{
    struct rusmi_core_event event = {.kind = RUSMI_EVENT_FRAMES, .conn = conn};

    event.u.frames.bytes = bytes;
    event.u.frames.len = len;
    step(world, &event);
}

static void fill_hello(struct world *world, struct rusmi_hello *hello)
{
    uint8_t how = take(world);

    hello->versions[0] = 1 + how % 3;
    hello->versions[1] = 1 + how / 3 % 3;
    hello->versions_len = 1 + how / 9 % 2;
    hello->incarnation = 1 + take(world) % 6;
    hello->features = how / 18 % 2;
    memcpy(hello->cluster, (how & 128) != 0 && (how & 64) != 0 ? "d" : "c", 2);
    (void)snprintf(hello->name, sizeof(hello->name), "%s", pick_name(world));
    (void)snprintf(hello->address, sizeof(hello->address), "%s", pick_address(world));
}

static void fill_request(struct world *world, struct rusmi_request *request)
{
    uint8_t kind = take(world);

    request->kind = 1 + (kind < 250 ? kind % 7u : kind % 9u);
    request->max = take(world) % 3;
    request->pid = (rusm_pid){take(world) % 4, take(world) % 4};
    (void)snprintf(request->name, sizeof(request->name), "%s", pick_name(world));
}

/* Bytes of the input as they are: judging them is not the core's. */
static struct rusmi_certificate certificate_of(const struct world *world)
{
    static const uint8_t none[1];
    size_t len = world->size < 64 ? world->size : 64;

    return (struct rusmi_certificate){.der = len == 0 ? none : world->data,
                                      .der_len = len == 0 ? 1 : len,
                                      .proof = none,
                                      .proof_len = sizeof(none)};
}

/* Frames that are no lists. */
static void fill_single(struct world *world, struct rusmi_frame *frame)
{
    switch (frame->type) {
    case RUSMI_FRAME_REQUEST:
        fill_request(world, &frame->u.request);
        break;
    case RUSMI_FRAME_REPLY:
        frame->u.reply.kind = 1 + take(world) % 9;
        frame->u.reply.err = (frame->id & 1) != 0 ? RUSM_OK : RUSM_ENOPROC;
        break;
    case RUSMI_FRAME_FLOW:
        frame->u.flow.serial = take(world) % 3;
        (void)snprintf(frame->u.flow.name, sizeof(frame->u.flow.name), "%s",
                       frame->u.flow.serial == 0 ? "n1" : "");
        frame->u.flow.on = (frame->id & 1) != 0;
        break;
    case RUSMI_FRAME_NAMES_ASK:
        fill_name(world, frame->u.names_ask.name, "n");
        frame->u.names_ask.serial = 1 + take(world) % 4;
        frame->u.names_ask.time = take(world);
        break;
    case RUSMI_FRAME_NAMES_AGREE:
        if ((frame->id & 1) != 0) {
            (void)snprintf(frame->u.names_agree.node, sizeof(frame->u.names_agree.node), "%s",
                           pick_name(world));
            frame->u.names_agree.pid = (rusm_pid){1, 1};
        }
        frame->id = take(world) % (REFS + 1);
        break;
    case RUSMI_FRAME_CERTIFICATE:
        frame->u.certificate = certificate_of(world);
        break;
    default:
        break;
    }
}

static uint64_t pick_type(struct world *world)
{
    uint8_t type = take(world);

    switch (type) {
    case 252:
        return RUSMI_FRAME_CERTIFICATE;
    case 253:
        return RUSMI_FRAME_EXTENSION + take(world);
    case 254:
        return RUSMI_FRAME_GROUPS_MORE;
    default:
        return type % RUSMI_FRAME_CERTIFICATE;
    }
}

static void frame_on(struct world *world)
{
    static char texts[8][RUSM_NAME_MAX + 1];
    struct rusmi_name_entry names[8];
    struct rusmi_group_entry groups[8];
    struct rusmi_member_entry members[8];
    struct rusmi_frame frame = {.type = pick_type(world)};
    uint64_t conn = pick_conn(world, CONN_OPEN);
    size_t len = 1 + take(world) % 8;
    struct rusmi_buf buf;

    if (conn == 0) {
        return;
    }
    frame.id = take(world);
    for (size_t i = 0; i < len; i++) {
        const char *address = pick_address(world);

        fill_name(world, texts[i], "n");
        names[i] =
            (struct rusmi_name_entry){texts[i], strlen(texts[i]), 1 + take(world) % 4, take(world)};
        groups[i] = (struct rusmi_group_entry){texts[i], strlen(texts[i]), 1 + take(world) % 4};
        members[i] = (struct rusmi_member_entry){texts[i], strlen(texts[i]), 1 + take(world) % 9,
                                                 address, strlen(address)};
    }
    switch (frame.type) {
    case RUSMI_FRAME_HELLO:
        fill_hello(world, &frame.u.hello);
        break;
    case RUSMI_FRAME_PONG:
        frame.id = (frame.id & 1) != 0 ? world->conns[conn].nonce : frame.id;
        break;
    case RUSMI_FRAME_NAMES_ADD:
    case RUSMI_FRAME_NAMES_DEL:
        frame.u.names.entries = names;
        frame.u.names.len = len;
        break;
    case RUSMI_FRAME_GROUPS_ADD:
    case RUSMI_FRAME_GROUPS_DEL:
        frame.u.groups.entries = groups;
        frame.u.groups.len = len;
        break;
    case RUSMI_FRAME_MEMBERS:
        frame.u.members.entries = members;
        frame.u.members.len = len;
        break;
    default:
        fill_single(world, &frame);
        break;
    }
    rusmi_buf_init(&buf);
    if (rusmi_control_encode(&buf, &frame) == RUSM_OK) {
        bytes_on(world, conn, rusmi_buf_head(&buf), buf.len);
    }
    rusmi_buf_fini(&buf);
}

static void raw_on(struct world *world)
{
    uint64_t conn = pick_conn(world, CONN_OPEN);
    size_t len = take(world);

    len = len < world->size ? len : world->size;
    if (conn != 0) {
        bytes_on(world, conn, world->data, len);
    }
    world->data += len;
    world->size -= len;
}

static void pass(struct world *world)
{
    struct rusmi_core_event event = {.kind = RUSMI_EVENT_TIMER};
    rusm_time next = rusmi_core_deadline(world->core);
    uint8_t how = take(world);

    world->now += (rusm_time)how * 1000000;
    if (how >= 128 && next != RUSMI_TIME_NEVER && next > world->now) {
        world->now = next;
    }
    step(world, &event);
}

/* ---- what its own side does ------------------------------------------------------------------ */

/* A call that ends later, by an action. */
static void own_wish(struct world *world, uint8_t what, const char *name)
{
    struct rusmi_request request = {.kind = 0};
    struct rusmi_actions actions;
    uint64_t ref = world->refs_len;
    rusm_err err;

    if (ref == REFS) {
        return;
    }
    rusmi_actions_init(&actions);
    /* Before the call: what it asks for may be done within. */
    world->refs_len++;
    world->refs[ref] = 1;
    world->refs_kind[ref] = what % 3 == 0 ? REF_DIAL : what % 3 == 1 ? REF_REQUEST : REF_REGISTER;
    if (what % 3 == 0) {
        err = rusmi_core_dial(world->core, ref, pick_address(world), world->now + WISH_NS,
                              world->now, &actions);
    } else if (what % 3 == 1) {
        fill_request(world, &request);
        err = rusmi_core_request(world->core, ref, pick_name(world), &request, world->now + WISH_NS,
                                 world->now, &actions);
    } else {
        err = rusmi_core_register_sync(world->core, ref, name, 1 + take(world) % 4,
                                       world->now + WISH_NS, world->now, &actions);
    }
    if (err != RUSM_OK) {
        world->refs[ref] = 0;
    }
    act(world, &actions);
}

static void own_cancel(struct world *world, struct rusmi_actions *actions)
{
    uint64_t ref = take(world) % REFS;

    if (ref < world->refs_len && world->refs_kind[ref] == REF_REGISTER && world->refs[ref] == 1) {
        world->refs[ref] = 0;
        rusmi_core_register_cancel(world->core, ref, world->now, actions);
    }
}

/* A call that is done when it returns. */
static void own_call(struct world *world, uint8_t what, const char *name)
{
    struct rusmi_actions actions;
    struct rusmi_group_change change;

    change = (struct rusmi_group_change){
        .group = name, .group_len = strlen(name), .serial = 1 + take(world) % 4};
    change.joined = take(world) % 2 == 0;
    rusmi_actions_init(&actions);
    switch (what % 8) {
    case 0:
        (void)!rusmi_core_register(world->core, name, 1 + take(world) % 4, world->now, &actions);
        break;
    case 1:
        (void)!rusmi_core_unregister(world->core, name, world->now, &actions);
        break;
    case 2:
        (void)rusmi_core_owner_exited(world->core, 1 + take(world) % 4, world->now, &actions);
        break;
    case 3:
        (void)rusmi_core_groups(world->core, &change, 1, world->now, &actions);
        break;
    case 4:
        (void)!rusmi_core_want(world->core, pick_address(world), world->now, &actions);
        break;
    case 5:
        rusmi_core_unwant(world->core, pick_address(world), world->now, &actions);
        break;
    case 6:
        (void)!rusmi_core_disconnect(world->core, pick_name(world), world->now, &actions);
        break;
    default:
        own_cancel(world, &actions);
        break;
    }
    act(world, &actions);
}

/* What is listed is there, once. */
static void look(const struct world *world)
{
    struct rusmi_core_owner owners[8];
    struct rusmi_core_peer peers[8];
    struct rusmi_core_wanted wanteds[8];
    uint64_t cursor = 0;
    size_t len;

    do {
        len = rusmi_core_list_names(world->core, &cursor, owners, 8);
        for (size_t i = 0; i < len; i++) {
            struct rusmi_core_owner owner;

            rusmi_assert(rusmi_core_whereis(world->core, owners[i].name, &owner));
            rusmi_assert(owner.conn == owners[i].conn && owner.pid.serial == owners[i].pid.serial);
        }
    } while (cursor != 0);
    do {
        len = rusmi_core_list_peers(world->core, &cursor, peers, 8);
        for (size_t i = 0; i < len; i++) {
            rusmi_assert(peers[i].conn >= CONNS || world->conns[peers[i].conn].up);
        }
    } while (cursor != 0);
    do {
        (void)rusmi_core_list_wanted(world->core, &cursor, wanteds, 8);
    } while (cursor != 0);
}

/* What the node does with a link, and asks of the core. */
static void own_link(struct world *world)
{
    struct rusmi_core_event leave = {.kind = RUSMI_EVENT_LEAVE};
    struct rusmi_certificate certificate = certificate_of(world);
    struct rusmi_actions actions;
    struct rusmi_flow flow = {.serial = 1};
    uint8_t what = take(world);
    uint64_t conn = pick_conn(world, CONN_OPEN);

    rusmi_actions_init(&actions);
    switch (what % 8) {
    case 0:
        flow.on = (what & 16) != 0;
        rusmi_core_flow(world->core, conn, &flow, world->now, &actions);
        break;
    case 1:
        if (rusmi_core_certificate(world->core, conn, &certificate, world->now, &actions)) {
            rusmi_assert(conn != 0 && world->conns[conn].up);
        }
        break;
    case 2:
        rusmi_core_close(world->core, conn, RUSMI_CLOSE_REVOKED, RUSMI_DOWN_REVOKED, "revoked",
                         world->now, &actions);
        break;
    case 3:
        act(world, &actions);
        step(world, &leave);
        return;
    default:
        look(world);
        break;
    }
    act(world, &actions);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world; /* too large for some stacks */
    struct rusmi_core_config cfg = {.cluster = "c",
                                    .name = "m",
                                    .incarnation = 1,
                                    .address = "10.0.0.9:1",
                                    .software = "",
                                    .hello_ms = 5000,
                                    .tick_ms = 10000,
                                    .peers_max = 6,
                                    .names_max = NAMES,
                                    .requests_max = REQUESTS,
                                    .groups_max = GROUPS,
                                    .members_max = 5,
                                    .mesh = true,
                                    .reconnect_min_ms = 100,
                                    .reconnect_max_ms = 3000,
                                    .forget_ms = 60000,
                                    .version_max = 2};
    struct rusmi_core_event shutdown = {.kind = RUSMI_EVENT_SHUTDOWN};
    char name[RUSM_NAME_MAX + 1];

    memset(&world, 0, sizeof(world));
    world.data = data;
    world.size = size;
    world.now = 1000000000u;
    cfg.role = take(&world) % 8 == 7 ? RUSMI_ROLE_OPERATOR : RUSMI_ROLE_MEMBER;
    rusmi_assert(rusmi_core_new(&world.core, &cfg) == RUSM_OK);
    while (world.size > 0) {
        uint8_t what = take(&world);

        if (what < 120) {
            frame_on(&world);
        } else if (what < 150) {
            authenticated(&world, what % 2 == 0);
        } else if (what < 165) {
            lost(&world);
        } else if (what < 195) {
            pass(&world);
        } else if (what < 200) {
            raw_on(&world);
        } else if (what < 254) {
            fill_name(&world, name, "n");
            own_wish(&world, what, name);
            own_call(&world, what / 3, name);
        } else if (what == 254) {
            own_link(&world);
        } else {
            step(&world, &shutdown);
        }
    }
    step(&world, &shutdown);
    for (uint64_t ref = 0; ref < world.refs_len; ref++) {
        rusmi_assert(world.refs[ref] == 0);
    }
    for (size_t i = 0; i < CONNS; i++) {
        rusmi_assert(!world.conns[i].up);
    }
    rusmi_core_del(world.core);
    return 0;
}
