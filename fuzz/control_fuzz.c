/* SPDX-License-Identifier: MIT */
/*
 * The control stream, attacked in two ways with every input.
 *
 * The codec: the bytes as one frame and as a stream of frames. What decodes must encode, and what
 * comes out must decode and encode to the same bytes.
 *
 * The core: the bytes as what an authenticated peer sends, in pieces, with a second peer beside it
 * and requests of ours on the way. Whatever comes, the invariant of the core holds (debug builds),
 * the second link stays, every request is answered once, and so is every name that both peers are
 * asked for. The first byte of the input chooses who the peer is, which version it speaks, how far
 * the handshake has come, and whether what it tells of members is listened to.
 */
#include "base/assert.h"
#include "cluster/core.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PEER      1u /* conns */
#define BYSTANDER 2u
#define REQUESTS  6u
#define ASKS      3u

static void roundtrip(const uint8_t *bytes, size_t len)
{
    struct rusmi_frame first, second;
    struct rusmi_buf once, twice;

    if (rusmi_control_decode(bytes, len, &first, NULL) != RUSM_OK) {
        return;
    }
    rusmi_buf_init(&once);
    rusmi_buf_init(&twice);
    rusmi_assert(rusmi_control_encode(&once, &first) == RUSM_OK);
    rusmi_assert(rusmi_control_decode(rusmi_buf_head(&once) + RUSMI_FRAME_PREFIX,
                                      once.len - RUSMI_FRAME_PREFIX, &second, NULL) == RUSM_OK);
    rusmi_assert(rusmi_control_encode(&twice, &second) == RUSM_OK);
    rusmi_assert(once.len == twice.len &&
                 memcmp(rusmi_buf_head(&once), rusmi_buf_head(&twice), once.len) == 0);
    rusmi_frame_fini(&first);
    rusmi_frame_fini(&second);
    rusmi_buf_fini(&once);
    rusmi_buf_fini(&twice);
}

static void codec(const uint8_t *data, size_t size)
{
    struct rusmi_splitter splitter;
    const uint8_t *frame;
    size_t len;

    roundtrip(data, size);
    rusmi_splitter_init(&splitter);
    rusmi_assert(rusmi_splitter_push(&splitter, data, size) == RUSM_OK);
    while (rusmi_splitter_next(&splitter, &frame, &len) == RUSM_OK) {
        roundtrip(frame, len);
    }
    rusmi_splitter_fini(&splitter);
}

struct world {
    struct rusmi_core *core;
    rusm_time now;
    unsigned replies[REQUESTS], registered[ASKS];
    int up, down; /* of the bystander */
};

static void act(struct world *world, struct rusmi_actions *actions)
{
    struct rusmi_action *action;

    while ((action = rusmi_actions_pop(actions)) != NULL) {
        if (action->kind == RUSMI_ACTION_EXECUTE) {
            struct rusmi_reply reply = {.kind = action->request->kind, .err = RUSM_ENOPROC};

            rusmi_core_answer(world->core, action->conn, action->request_id, &reply, world->now,
                              actions);
        } else if (action->kind == RUSMI_ACTION_REPLY) {
            world->replies[action->ref]++;
        } else if (action->kind == RUSMI_ACTION_REGISTERED) {
            world->registered[action->ref]++;
        } else if (action->kind == RUSMI_ACTION_CONFLICT) {
            rusmi_assert((action->ref == 8 || action->ref == 9) && action->pid.serial != 0);
        } else if (action->kind == RUSMI_ACTION_PEER_UP && action->conn == BYSTANDER) {
            world->up++;
        } else if (action->kind == RUSMI_ACTION_PEER_DOWN && action->conn == BYSTANDER) {
            world->down++;
        } else if (action->kind == RUSMI_ACTION_SEND) {
            codec(action->bytes, action->len); /* what we send is well-formed */
        }
        rusmi_action_del(action);
    }
}

static void step(struct world *world, const struct rusmi_core_event *event)
{
    struct rusmi_actions actions;

    rusmi_actions_init(&actions);
    rusmi_assert(rusmi_core_step(world->core, event, world->now, &actions) == RUSM_OK);
    act(world, &actions);
}

static void authenticated(struct world *world, uint64_t conn, const char *name,
                          enum rusmi_role role, bool shared)
{
    struct rusmi_core_cert cert = {.cluster = "c", .role = role, .shared = shared};
    struct rusmi_core_event event = {.kind = RUSMI_EVENT_AUTHENTICATED, .conn = conn};

    memcpy(cert.node, name, strlen(name) + 1);
    event.u.authenticated.cert = &cert;
    event.u.authenticated.address = "10.0.0.1:1";
    step(world, &event);
}

static void bytes(struct world *world, uint64_t conn, const uint8_t *data, size_t len)
{
    struct rusmi_core_event event = {.kind = RUSMI_EVENT_FRAMES, .conn = conn};

    event.u.frames.bytes = data;
    event.u.frames.len = len;
    step(world, &event);
}

static void frame(struct world *world, uint64_t conn, const struct rusmi_frame *one)
{
    struct rusmi_buf buf;

    rusmi_buf_init(&buf);
    rusmi_assert(rusmi_control_encode(&buf, one) == RUSM_OK);
    bytes(world, conn, rusmi_buf_head(&buf), buf.len);
    rusmi_buf_fini(&buf);
}

static void handshake(struct world *world, uint64_t conn, const char *name, uint64_t incarnation,
                      size_t versions)
{
    struct rusmi_frame hello = {.type = RUSMI_FRAME_HELLO};
    struct rusmi_frame last = {.type = name[0] > 'm' ? RUSMI_FRAME_ACCEPT : RUSMI_FRAME_READY};

    hello.u.hello = (struct rusmi_hello){.versions = {1, 2},
                                         .versions_len = versions,
                                         .cluster = "c",
                                         .incarnation = incarnation,
                                         .features = RUSMI_FEATURE_MESH,
                                         .address = "10.0.0.9:9"};
    memcpy(hello.u.hello.name, name, strlen(name) + 1);
    frame(world, conn, &hello);
    frame(world, conn, &last);
}

static void ask(struct world *world, const char *peer)
{
    struct rusmi_request request = {.name = "f", .max = 9, .pid = {1, 1}};

    for (unsigned i = 0; i < REQUESTS; i++) {
        struct rusmi_actions actions;

        rusmi_actions_init(&actions);
        request.kind = RUSMI_REQUEST_SPAWN + i;
        if (rusmi_core_request(world->core, i, peer, &request, world->now + 1000, world->now,
                               &actions) != RUSM_OK) {
            world->replies[i]++; /* hidden peers can not be asked */
        }
        act(world, &actions);
    }
}

/* A member of ours, a name of ours, and some names that the peers are asked for: "a" to "c", with
 * ids 0 to 2. */
static void publish(struct world *world)
{
    const struct rusmi_group_change member = {"room", 4, 8, true};
    struct rusmi_actions actions;

    rusmi_actions_init(&actions);
    rusmi_assert(rusmi_core_groups(world->core, &member, 1, world->now, &actions) == 1);
    act(world, &actions);
    rusmi_assert(rusmi_core_register(world->core, "own", 8, world->now, &actions) == RUSM_OK);
    act(world, &actions);
    for (unsigned i = 0; i < ASKS; i++) {
        const char name[2] = {(char)('a' + i), '\0'};

        rusmi_assert(rusmi_core_register_sync(world->core, i, name, 9, world->now + 1000,
                                              world->now, &actions) == RUSM_OK);
        act(world, &actions);
    }
}

static void core(const uint8_t *data, size_t size)
{
    struct rusmi_core_config cfg = {.cluster = "c",
                                    .name = "m",
                                    .incarnation = 1,
                                    .address = "",
                                    .software = "",
                                    .hello_ms = 5000,
                                    .tick_ms = 10000,
                                    .peers_max = 8,
                                    .names_max = 50,
                                    .requests_max = 4,
                                    .groups_max = 64,
                                    .members_max = 8,
                                    .reconnect_min_ms = 100,
                                    .reconnect_max_ms = 10000,
                                    .forget_ms = 20000};
    struct world world = {.now = 1000};
    struct rusmi_core_event event = {.kind = RUSMI_EVENT_TIMER};
    uint8_t mode = size == 0 ? 0 : data[0];
    const char *name = (mode & 1) != 0 ? "a" : "z"; /* who decides: the peer, or we */
    size_t piece = (mode & 2) != 0 ? 3 : SIZE_MAX;
    bool hidden = (mode & 4) != 0;
    size_t versions = (mode & 32) != 0 ? 2 : 1;

    cfg.mesh = (mode & 64) != 0;
    rusmi_assert(rusmi_core_new(&world.core, &cfg) == RUSM_OK);
    rusmi_assert(rusmi_core_conn_id(world.core) == PEER);
    rusmi_assert(rusmi_core_conn_id(world.core) == BYSTANDER);
    authenticated(&world, BYSTANDER, "y", RUSMI_ROLE_MEMBER, false);
    handshake(&world, BYSTANDER, "y", 2, versions);
    authenticated(&world, PEER, name, hidden ? RUSMI_ROLE_OBSERVER : RUSMI_ROLE_MEMBER,
                  (mode & 8) != 0);
    if ((mode & 16) != 0) {
        handshake(&world, PEER, name, 3, versions);
        ask(&world, name);
        publish(&world);
    }
    for (size_t at = 1; at < size;) {
        size_t len = size - at < piece ? size - at : piece;

        bytes(&world, PEER, data + at, len);
        at += len;
    }
    world.now += 100000000000u;
    step(&world, &event);
    /* Only a second holder of its name that is let in after silence takes the bystander down, and
     * that needs a shared certificate. */
    rusmi_assert(world.up == 1 && (world.down == 0 || (mode & 8) != 0));
    event.kind = RUSMI_EVENT_SHUTDOWN;
    step(&world, &event);
    for (unsigned i = 0; i < REQUESTS; i++) {
        rusmi_assert(world.replies[i] == ((mode & 16) != 0 ? 1 : 0));
    }
    for (unsigned i = 0; i < ASKS; i++) {
        rusmi_assert(world.registered[i] == ((mode & 16) != 0 ? 1 : 0));
    }
    rusmi_core_del(world.core);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    codec(data, size);
    if (size > 1) {
        codec(data + 1, size - 1);
    }
    core(data, size);
    return 0;
}
