/* SPDX-License-Identifier: MIT */
/*
 * One budget for all peers of a node (rusm_node_config.memory_max), with peers that take all they
 * can get: what the node holds for them stays inside it, who behaves is served as ever, and in the
 * end all of it comes back. docs/design/memory.md argues the rules.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "quic/core.h"
#include "support/scene.h"
#include "wire/control.h"

#include <rusm/otp/driver.h>

#define MEMORY_MAX ((uint64_t)128 << 20)
#define GREEDY     16
#define BODY_LEN   65536

static int setup(void **state)
{
    rusm_node_config cfg = support_node_config();

    cfg.memory_max = MEMORY_MAX;
    cfg.queue_bytes_max = (size_t)1 << 30; /* so that it is the budget that bounds */
    cfg.tick_ms = SUPPORT_DEADLINE_MS;     /* who stalls is not lost while the test looks */
    cfg.hello_ms = SUPPORT_DEADLINE_MS;
    return support_scene_setup(state, &cfg);
}

static bool is_up_or_over(void *raw)
{
    return support_raw_is_up(raw) || support_raw_is_ended(raw);
}

/* A member at scene->raws[i]; false if it was turned away. */
static bool join(struct support_scene *scene, size_t i)
{
    char name[32];
    struct support_raw *raw;

    (void)snprintf(name, sizeof(name), "member %zu", i);
    raw = support_scene_dial(scene, i, name, NULL);
    raw->join_as = name;
    while (!is_up_or_over(raw)) {
        if (raw->authenticated && !raw->said_hello) {
            support_raw_hello(raw, SUPPORT_CLUSTER, name);
        }
        support_raw_step(raw, 10);
    }
    return raw->up && !support_raw_is_ended(raw);
}

static void join_greedy(struct support_scene *scene)
{
    for (size_t i = 0; i < GREEDY; i++) {
        char name[32];

        assert_true(join(scene, i));
        (void)snprintf(name, sizeof(name), "member %zu", i);
        support_wait_peer(scene->target, name, true);
    }
}

static bool has_one_link(void *arg)
{
    struct support_scene *scene = arg;

    for (size_t i = 0; i < SUPPORT_RAWS_MAX && scene->raws[i] != NULL; i++) {
        support_raw_step(scene->raws[i], 0);
    }
    return support_stats(scene->target).memory_bytes <= scene->bad;
}

/* All bad peers go: what is left is what the good link had before them. */
static void expect_all_back(struct support_scene *scene, uint64_t before)
{
    for (size_t i = 0; i < SUPPORT_RAWS_MAX && scene->raws[i] != NULL; i++) {
        rusmi_quic_conn_close(scene->raws[i]->conn, RUSMI_CLOSE_NORMAL, "that was all");
    }
    scene->bad = before;
    if (!support_wait(has_one_link, scene)) {
        fail_msg("%llu bytes are still held, and %llu were before",
                 (unsigned long long)support_stats(scene->target).memory_bytes,
                 (unsigned long long)before);
    }
}

/* A quarter of a MiB more than now, for what a link takes for the moment. */
static uint64_t memory_before(struct support_scene *scene)
{
    return support_stats(scene->target).memory_bytes + (256 << 10);
}

static void expect_inside(struct support_scene *scene)
{
    rusm_node_stats stats = support_stats(scene->target);

    assert_true(stats.memory_bytes <= MEMORY_MAX);
    assert_true(stats.memory_peak <= MEMORY_MAX && stats.memory_peak >= stats.memory_bytes);
}

/* ---- what comes ------------------------------------------------------------------------------ */

/* Begin a message of BODY_LEN bytes, and do not go on with it. */
static void begin_message(struct support_raw *raw)
{
    static uint8_t data[BODY_LEN + 512], body[BODY_LEN];
    uint8_t packet[1500];
    ngtcp2_vec vec = {.base = data, .len = 400};
    ngtcp2_ssize taken = 0, written;
    int64_t id;

    (void)support_raw_message(data + 1, sizeof(data) - 1, "echo", body, sizeof(body));
    data[0] = 0; /* `previous` */
    if (support_raw_is_ended(raw) || ngtcp2_conn_open_uni_stream(raw->conn->ng, &id, NULL) != 0) {
        return;
    }
    written = ngtcp2_conn_writev_stream(raw->conn->ng, NULL, NULL, packet, sizeof(packet), &taken,
                                        0, id, &vec, 1, rusm_now());
    if (written > 0) {
        (void)rusmi_udp_send(raw->fd, &raw->remote, packet, (size_t)written, (size_t)written);
    }
}

static void begin_messages(struct support_scene *scene, void *arg)
{
    (void)arg;
    for (size_t i = 0; i < GREEDY; i++) {
        for (int n = 0; n < 10; n++) {
            begin_message(scene->raws[i]);
            scene->bad++;
        }
        support_raw_step(scene->raws[i], 0);
    }
    expect_inside(scene);
}

static void peers_that_begin_messages_and_stall_share_the_budget(void **state)
{
    struct support_scene *scene = *state;
    const struct support_attack attack = {.what = "messages begun by 16 peers",
                                          .turn = begin_messages,
                                          .bad_min = GREEDY * 500,
                                          .memory_max = (size_t)192 << 20};
    uint64_t before;
    rusm_node_stats stats;

    before = memory_before(scene);
    join_greedy(scene);
    support_attack(scene, &attack);
    expect_inside(scene);
    stats = support_stats(scene->target);
    /* They asked for 16 * 31 MiB, and nothing of it is wrong by the protocol. */
    assert_in_range(stats.memory_peak, MEMORY_MAX / 2, MEMORY_MAX);
    assert_true(stats.memory_refused > 0);
    assert_int_equal(stats.protocol_errors, 0);
    support_expect_exchange(20);
    /* The newcomer of the attack has a link too. */
    expect_all_back(scene, 2 * before);
}

/*
 * Those who come one after the other leave nothing: each takes half of what is left. Who then needs
 * a little gets it, and who holds most loses its link.
 */
static void who_holds_most_gives_way_to_who_needs_a_little(void **state)
{
    struct support_scene *scene = *state;
    uint64_t closed;

    join_greedy(scene);
    for (size_t i = 0; i < GREEDY; i++) {
        for (int n = 0; n < 50; n++) {
            for (int m = 0; m < 10; m++) {
                begin_message(scene->raws[i]);
            }
            support_raw_step(scene->raws[i], 1);
        }
    }
    expect_inside(scene);
    closed = support_stats(scene->target).closed_memory;
    support_exchange(scene->good, scene->target, 20, 512 * 1024);
    support_wait_stat(scene->target, offsetof(rusm_node_stats, closed_memory), closed + 1);
    assert_true(support_stats(scene->target).closed_memory < GREEDY);
    assert_int_equal(support_stats(scene->target).protocol_errors, 0);
    support_expect_exchange(20);
    expect_inside(scene);
}

/* ---- who behaves ----------------------------------------------------------------------------- */

#define CROWD 6
#define EACH  2

static _Atomic unsigned arrived;

/* Runs at the target. */
static void take_large(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        if (rusm_msg_len(msg) == RUSM_MESSAGE_MAX) {
            atomic_fetch_add(&arrived, 1);
        }
        rusm_msg_del(msg);
    }
}

/* Runs at each of the others. */
static void send_large(void *arg)
{
    uint8_t *body = calloc(1, RUSM_MESSAGE_MAX);

    (void)arg;
    for (unsigned i = 0; body != NULL && i < EACH; i++) {
        (void)!rusm_node_send(NULL, "target", "large", body, RUSM_MESSAGE_MAX);
    }
    free(body);
}

static bool all_arrived(void *arg)
{
    (void)arg;
    return atomic_load(&arrived) == CROWD * EACH;
}

/* Together they send more than the budget has room for, and only then: nobody could know. */
static void large_messages_wait_for_room_and_none_is_lost(void **state)
{
    struct support_scene *scene = *state;
    struct support_node *crowd[CROWD];
    rusm_spawn_config cfg;

    atomic_store(&arrived, 0);
    rusm_spawn_config_init(&cfg);
    cfg.name = "large";
    assert_int_equal(rusm_spawn_with(scene->target->runtime, take_large, NULL, &cfg, NULL),
                     RUSM_OK);
    for (size_t i = 0; i < CROWD; i++) {
        char name[32];

        (void)snprintf(name, sizeof(name), "crowd %zu", i);
        crowd[i] = support_node_start(scene->world, name);
        support_connect(crowd[i], scene->target);
    }
    for (size_t i = 0; i < CROWD; i++) {
        assert_int_equal(rusm_spawn(crowd[i]->runtime, send_large, NULL, NULL), RUSM_OK);
    }
    assert_true(support_wait(all_arrived, NULL));
    assert_int_equal(support_stats(scene->target).dropped_nomem, 0);
    assert_int_equal(support_stats(scene->target).closed_memory, 0);
    expect_inside(scene);
}

/* ---- what goes ------------------------------------------------------------------------------- */

static _Atomic unsigned waiting;

/* Runs at the target: sends to the first of those who read nothing. */
static void send_and_wait(void *arg)
{
    static uint8_t body[BODY_LEN];

    (void)arg;
    if (rusm_node_send(NULL, "member 0", "nobody", body, sizeof(body)) == RUSM_OK) {
        atomic_fetch_sub(&waiting, 1);
    }
}

static bool all_are_read(void *arg)
{
    struct support_scene *scene = arg;

    for (size_t i = 0; i < GREEDY; i++) {
        support_raw_step(scene->raws[i], 0);
    }
    return atomic_load(&waiting) == 0 && support_stats(scene->target).memory_bytes <= scene->bad;
}

static void senders_to_peers_that_do_not_read_wait_or_are_refused(void **state)
{
    static uint8_t body[BODY_LEN];
    struct support_scene *scene = *state;
    uint64_t sent = 0, with_links;
    rusm_err err = RUSM_OK;

    join_greedy(scene);
    /* QUIC keeps what it once needed for streams, as long as the link is there. */
    with_links = memory_before(scene) + GREEDY * ((uint64_t)256 << 10);
    for (size_t i = 0; i < GREEDY; i++) {
        char name[32];

        (void)snprintf(name, sizeof(name), "member %zu", i);
        do {
            err = rusm_node_try_send(scene->target->node, name, "nobody", body, sizeof(body));
            sent += err == RUSM_OK ? sizeof(body) : 0;
        } while (err == RUSM_OK && sent < 2 * MEMORY_MAX);
        assert_int_equal(err, RUSM_EAGAIN);
        expect_inside(scene);
    }
    /* Half of the budget, and a small share for each. */
    assert_in_range(sent, MEMORY_MAX / 4, MEMORY_MAX * 3 / 4);
    assert_true(support_stats(scene->target).memory_refused >= GREEDY);
    atomic_store(&waiting, 1);
    assert_int_equal(rusm_spawn(scene->target->runtime, send_and_wait, NULL, NULL), RUSM_OK);
    support_expect_exchange(20);
    assert_int_equal(atomic_load(&waiting), 1);
    scene->bad = with_links;
    assert_true(support_wait(all_are_read, scene));
    assert_int_equal(support_stats(scene->target).dropped_link, 0);
}

/* ---- links ----------------------------------------------------------------------------------- */

static void links_beyond_the_budget_are_refused_and_come_in_later(void **state)
{
    struct support_scene *scene = *state;
    struct support_node *late = support_node_start(scene->world, "late");
    uint64_t before = memory_before(scene);
    size_t up = 0;

    while (up < 400 && join(scene, up)) {
        up++;
    }
    assert_in_range(up, 50, 200); /* 640 KiB are reserved for each */
    assert_non_null(strstr(rusmi_quic_conn_end(scene->raws[up]->conn)->text, "memory for"));
    expect_inside(scene);
    assert_true(support_stats(scene->target).refused_full > 0);
    assert_int_equal(rusm_node_connect(late->node, rusm_node_address(scene->target->node),
                                       SUPPORT_DEADLINE_MS, NULL),
                     RUSM_EREFUSED);
    assert_int_equal(rusm_node_connect(scene->target->node, rusm_node_address(late->node),
                                       SUPPORT_DEADLINE_MS, NULL),
                     RUSM_EFULL); /* its own limit */
    support_expect_exchange(20);
    expect_all_back(scene, before);
    support_connect(late, scene->target);
}

/* ---- the rest -------------------------------------------------------------------------------- */

static void the_largest_messages_fit_into_the_smallest_budget(void **state)
{
    struct support_scene *scene = *state;

    support_exchange(scene->good, scene->target, 5, RUSM_MESSAGE_MAX);
    expect_inside(scene);
    assert_int_equal(support_stats(scene->target).memory_refused, 0);
}

static void a_budget_that_is_too_small_is_refused_in_words(void **state)
{
    struct support_scene *scene = *state;
    rusm_node_config cfg = support_node_config();
    rusm_node *node = NULL;
    rusm_runtime *rt;

    cfg.identity = support_identity(scene->world, "small");
    cfg.memory_max = MEMORY_MAX - 1;
    assert_int_equal(rusm_runtime_new(&rt, NULL), RUSM_OK);
    assert_int_equal(rusm_node_bind_with(&node, rt, NULL, &cfg), RUSM_EINVAL);
    assert_string_equal(rusm_err_detail(),
                        "memory_max is 134217727 bytes, and a node needs at least 134217728 to "
                        "carry the largest message both ways");
    assert_null(node);
    rusm_identity_del(cfg.identity);
    rusm_runtime_del(rt);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, support_scene_teardown)
    const struct CMUnitTest tests[] = {
        CASE(peers_that_begin_messages_and_stall_share_the_budget),
        CASE(who_holds_most_gives_way_to_who_needs_a_little),
        CASE(large_messages_wait_for_room_and_none_is_lost),
        CASE(senders_to_peers_that_do_not_read_wait_or_are_refused),
        CASE(links_beyond_the_budget_are_refused_and_come_in_later),
        CASE(the_largest_messages_fit_into_the_smallest_budget),
        CASE(a_budget_that_is_too_small_is_refused_in_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
