/* SPDX-License-Identifier: MIT */
#include "support/nodes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <rusm/otp/driver.h>

/* How long between two looks at a condition. */
#define LOOK_MS       2

#define MUST_OK(call) must_ok((call), #call, __LINE__)

static void must_ok(rusm_err err, const char *what, int line)
{
    if (err != RUSM_OK) {
        print_error("%s:%d: %s: %s (%s)\n", __FILE__, line, what, rusm_err_name(err),
                    rusm_err_detail());
        fail();
    }
}

/* ---- a world --------------------------------------------------------------------------------- */

int support_world_setup(void **state)
{
    struct support_world *world = calloc(1, sizeof(*world));

    assert_non_null(world);
    MUST_OK(rusm_ca_generate(&world->ca, SUPPORT_CLUSTER, 30));
    *state = world;
    return 0;
}

int support_world_teardown(void **state)
{
    struct support_world *world = *state;

    while (world->nodes_len > 0) {
        support_node_stop(&world->nodes[--world->nodes_len]);
    }
    rusm_ca_del(world->ca);
    free(world);
    return 0;
}

rusm_identity *support_identity(struct support_world *world, const char *name)
{
    rusm_identity *identity;

    MUST_OK(rusm_ca_issue(world->ca, name, NULL, &identity));
    return identity;
}

rusm_node_config support_node_config(void)
{
    rusm_node_config cfg;

    rusm_node_config_init(&cfg);
    cfg.listen = "127.0.0.1:0";
    /* Tests count peers, and say themselves who dials whom. */
    cfg.mesh = false;
    cfg.reconnect_max_ms = 0;
    return cfg;
}

struct support_node *support_node_start_with(struct support_world *world, const char *name,
                                             const rusm_node_config *cfg)
{
    struct support_node *node = &world->nodes[world->nodes_len];
    rusm_node_config copy = *cfg;

    assert_true(world->nodes_len < SUPPORT_NODES_MAX);
    if (copy.identity == NULL) {
        copy.identity = support_identity(world, name);
    }
    MUST_OK(rusm_runtime_new(&node->runtime, NULL));
    world->nodes_len++;
    MUST_OK(rusm_node_bind_with(&node->node, node->runtime, name, &copy));
    if (cfg->identity == NULL) {
        rusm_identity_del(copy.identity);
    }
    return node;
}

struct support_node *support_node_start(struct support_world *world, const char *name)
{
    rusm_node_config cfg = support_node_config();

    return support_node_start_with(world, name, &cfg);
}

void support_node_stop(struct support_node *node)
{
    rusm_node_del(node->node);
    rusm_runtime_del(node->runtime);
    node->node = NULL;
    node->runtime = NULL;
}

/* ---- waiting --------------------------------------------------------------------------------- */

bool support_wait(bool (*done)(void *arg), void *arg)
{
    rusm_waiter *tick;
    bool held = done(arg);

    /* Nobody wakes it: conditions change inside nodes that offer no event for them. */
    MUST_OK(rusm_waiter_new(&tick));
    for (int waited_ms = 0; !held && waited_ms < SUPPORT_DEADLINE_MS; waited_ms += LOOK_MS) {
        (void)!rusm_waiter_wait(tick, LOOK_MS);
        held = done(arg);
    }
    rusm_waiter_drop(tick);
    return held;
}

struct peers_wish {
    struct support_node *node;
    const char *name;
    size_t count;
    bool present;
};

static bool peers_are(void *arg)
{
    const struct peers_wish *wish = arg;

    return support_peers(wish->node) == wish->count;
}

static bool peer_is(void *arg)
{
    const struct peers_wish *wish = arg;
    rusm_peer_info info;

    return support_peer_find(wish->node, wish->name, &info) == wish->present;
}

void support_wait_peers(struct support_node *node, size_t count)
{
    struct peers_wish wish = {.node = node, .count = count};

    if (!support_wait(peers_are, &wish)) {
        fail_msg("%s has %zu peers, not %zu", rusm_node_name(node->node), support_peers(node),
                 count);
    }
}

void support_wait_peer(struct support_node *node, const char *name, bool present)
{
    struct peers_wish wish = {.node = node, .name = name, .present = present};

    if (!support_wait(peer_is, &wish)) {
        fail_msg("%s %s the peer %s", rusm_node_name(node->node),
                 present ? "does not list" : "still lists", name);
    }
}

struct stat_wish {
    struct support_node *node;
    size_t offset;
    uint64_t least;
};

static bool stat_is(void *arg)
{
    const struct stat_wish *wish = arg;

    return support_stat(wish->node, wish->offset) >= wish->least;
}

void support_wait_stat(struct support_node *node, size_t offset, uint64_t least)
{
    struct stat_wish wish = {.node = node, .offset = offset, .least = least};

    if (!support_wait(stat_is, &wish)) {
        fail_msg("the counter at offset %zu of %s is %llu, less than %llu", offset,
                 rusm_node_name(node->node), (unsigned long long)support_stat(node, offset),
                 (unsigned long long)least);
    }
}

/* ---- looking --------------------------------------------------------------------------------- */

size_t support_peers(struct support_node *node)
{
    rusm_peer_info infos[8];
    uint64_t cursor = 0;
    size_t count = 0;

    do {
        ptrdiff_t n = rusm_peer_list(node->node, &cursor, infos, 8);

        assert_true(n >= 0);
        count += (size_t)n;
    } while (cursor != 0);
    return count;
}

bool support_peer_find(struct support_node *node, const char *name, rusm_peer_info *out_info)
{
    rusm_peer_info infos[8];
    uint64_t cursor = 0;

    do {
        ptrdiff_t n = rusm_peer_list(node->node, &cursor, infos, 8);

        assert_true(n >= 0);
        for (ptrdiff_t i = 0; i < n; i++) {
            if (strcmp(infos[i].name, name) == 0) {
                *out_info = infos[i];
                return true;
            }
        }
    } while (cursor != 0);
    return false;
}

rusm_node_stats support_stats(struct support_node *node)
{
    rusm_node_stats stats;

    MUST_OK(rusm_node_get_stats(node->node, &stats));
    return stats;
}

uint64_t support_stat(struct support_node *node, size_t offset)
{
    rusm_node_stats stats = support_stats(node);
    uint64_t value;

    memcpy(&value, (const char *)&stats + offset, sizeof(value));
    return value;
}

/* ---- links ----------------------------------------------------------------------------------- */

void support_connect(struct support_node *from, struct support_node *to)
{
    char peer[RUSM_NAME_MAX + 1];

    MUST_OK(rusm_node_connect(from->node, rusm_node_address(to->node), SUPPORT_DEADLINE_MS, peer));
    assert_string_equal(peer, rusm_node_name(to->node));
    support_wait_peer(from, rusm_node_name(to->node), true);
    support_wait_peer(to, rusm_node_name(from->node), true);
}

static void run_dial(void *arg)
{
    struct support_dial *dial = arg;

    dial->err = rusm_node_connect(NULL, dial->address, dial->timeout_ms, dial->peer);
    if (dial->err != RUSM_OK) {
        (void)snprintf(dial->detail, sizeof(dial->detail), "%s", rusm_err_detail());
    }
    atomic_store(&dial->done, true);
}

void support_dial_start(struct support_dial *dial, struct support_node *node, const char *address,
                        int64_t timeout_ms)
{
    memset(dial, 0, sizeof(*dial));
    dial->timeout_ms = timeout_ms;
    (void)snprintf(dial->address, sizeof(dial->address), "%s", address);
    MUST_OK(rusm_spawn(node->runtime, run_dial, dial, NULL));
}

bool support_dial_is_done(void *dial)
{
    return atomic_load(&((struct support_dial *)dial)->done);
}

static void echo(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        if (rusm_send_msg(rusm_msg_sender(msg), msg) != RUSM_OK) {
            rusm_msg_del(msg); /* the asker has gone, or its link: it will miss the echo */
        }
    }
}

void support_echo_start(struct support_node *node)
{
    rusm_spawn_config cfg;

    rusm_spawn_config_init(&cfg);
    cfg.name = cfg.label = "echo";
    MUST_OK(rusm_spawn_with(node->runtime, echo, NULL, &cfg, NULL));
}

/* The error of the exchange, so that the thread leaves its runtime before an assertion jumps. */
static rusm_err exchange(const char *peer, unsigned count, uint8_t *data, size_t len)
{
    rusm_err err = RUSM_OK;

    for (unsigned i = 0; i < count && err == RUSM_OK; i++) {
        rusm_msg *msg;

        memcpy(data, &i, sizeof(i));
        err = rusm_node_send(NULL, peer, "echo", data, len);
        if (err == RUSM_OK) {
            err = rusm_receive(&msg, SUPPORT_DEADLINE_MS);
        }
        if (err == RUSM_OK) {
            if (rusm_msg_len(msg) != len || memcmp(rusm_msg_data(msg), data, len) != 0) {
                err = rusm_set_err_detail(RUSM_EPROTO, "echo %u is not what was sent", i);
            }
            rusm_msg_del(msg);
        }
    }
    return err;
}

void support_exchange(struct support_node *from, struct support_node *to, unsigned count,
                      size_t len)
{
    char detail[512];
    uint8_t *data = malloc(len);
    rusm_err err;

    assert_true(len >= 8);
    assert_non_null(data);
    for (size_t i = 0; i < len; i++) {
        data[i] = (uint8_t)(i * 7);
    }
    MUST_OK(rusm_thread_enter(from->runtime, "test"));
    err = exchange(rusm_node_name(to->node), count, data, len);
    (void)snprintf(detail, sizeof(detail), "%s", rusm_err_detail());
    rusm_thread_leave();
    free(data);
    if (err != RUSM_OK) {
        fail_msg("exchange of %s with %s: %s (%s)", rusm_node_name(from->node),
                 rusm_node_name(to->node), rusm_err_name(err), detail);
    }
}
