/* SPDX-License-Identifier: MIT */
/*
 * Membership with real nodes: joining through one member, looking for the lost, leaving, and where
 * addresses come from. What is exact about times and bounds is in src/cluster/core_mesh_test.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/certs.h"
#include "support/nodes.h"
#include "support/procs.h"
#include "support/udp_proxy.h"

#include <rusm/cluster/membership.h>
#include <rusm/otp/driver.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK_MS 200
/* Of nodes whose schedulers are busy: long enough that other programs do not keep both from the
 * processors for as long. */
#define BUSY_TICK_MS 1000

/* Everything on, and quick. */
static rusm_node_config mesh_config(void)
{
    rusm_node_config cfg = support_node_config();

    cfg.mesh = true;
    cfg.reconnect_min_ms = 10;
    cfg.reconnect_max_ms = 100;
    cfg.discover_ms = 20;
    return cfg;
}

static struct support_node *start(void **state, const char *name)
{
    rusm_node_config cfg = mesh_config();

    return support_node_start_with(*state, name, &cfg);
}

static void join(struct support_node *node, const char *spec)
{
    rusm_err err = rusm_node_join(node->node, spec);

    if (err != RUSM_OK) {
        fail_msg("%s: %s", spec, rusm_err_detail());
    }
}

static void test_joining_one_member_makes_the_full_mesh(void **state)
{
    struct support_node *nodes[5];
    static const char *const names[5] = {"a", "b", "c", "d", "e"};

    for (int i = 0; i < 5; i++) {
        nodes[i] = start(state, names[i]);
        if (i > 0) {
            join(nodes[i], rusm_node_address(nodes[i - 1]->node));
        }
    }
    for (int i = 0; i < 5; i++) {
        support_wait_peers(nodes[i], 4);
        support_echo_start(nodes[i]);
    }
    for (int i = 0; i < 5; i++) {
        for (int j = 0; j < 5; j++) {
            rusm_peer_info info;

            if (i != j) {
                assert_true(support_peer_find(nodes[i], names[j], &info));
                assert_string_equal(info.listen, rusm_node_address(nodes[j]->node));
                support_exchange(nodes[i], nodes[j], 1, 16);
            }
        }
    }
}

struct wish {
    struct support_node *node;
    const char *name;
    uint64_t incarnation;
};

static bool has_incarnation(void *arg)
{
    const struct wish *wish = arg;
    rusm_peer_info info;

    return support_peer_find(wish->node, wish->name, &info) &&
           info.incarnation == wish->incarnation;
}

static void test_restarted_node_is_back_under_its_name(void **state)
{
    struct support_node *a = start(state, "a"), *b = start(state, "b"), *c = start(state, "c");
    struct wish wishes[2] = {{.node = a, .name = "c"}, {.node = b, .name = "c"}};

    join(b, rusm_node_address(a->node));
    join(c, rusm_node_address(a->node));
    support_wait_peers(a, 2);
    support_wait_peers(b, 2);
    support_node_stop(c);
    c = start(state, "c");
    join(c, rusm_node_address(b->node));
    wishes[0].incarnation = wishes[1].incarnation = rusm_runtime_incarnation(c->runtime);
    assert_true(support_wait(has_incarnation, &wishes[0]));
    assert_true(support_wait(has_incarnation, &wishes[1]));
    support_wait_peers(a, 2);
    support_wait_peers(c, 2);
}

static void test_lost_link_comes_back(void **state)
{
    rusm_node_config cfg = support_node_config();
    struct support_node *a, *b;
    struct support_proxy *proxy;

    cfg.tick_ms = TICK_MS;
    b = support_node_start_with(*state, "b", &cfg);
    cfg.reconnect_min_ms = 10;
    cfg.reconnect_max_ms = 100;
    a = support_node_start_with(*state, "a", &cfg);
    proxy = support_proxy_new(rusm_node_address(b->node));
    assert_int_equal(
        rusm_node_connect(a->node, support_proxy_address(proxy), SUPPORT_DEADLINE_MS, NULL),
        RUSM_OK);
    support_wait_peers(b, 1);
    support_proxy_cut(proxy, true);
    support_wait_peers(a, 0);
    support_wait_peers(b, 0);
    support_proxy_cut(proxy, false);
    support_wait_peers(a, 1);
    support_wait_peers(b, 1);
    support_echo_start(b);
    support_exchange(a, b, 10, 64);
    support_proxy_del(proxy);
}

/* A link that went down on request stays down. */
static void test_disconnected_peer_is_not_dialed_again(void **state)
{
    struct support_node *a = start(state, "a"), *b = start(state, "b"), *c = start(state, "c");

    support_echo_start(c);
    join(b, rusm_node_address(a->node));
    join(c, rusm_node_address(a->node));
    support_wait_peers(a, 2);
    support_wait_peers(b, 2);
    assert_int_equal(rusm_node_disconnect(a->node, "b"), RUSM_OK);
    support_wait_peers(b, 1);
    support_exchange(a, c, 200, 64);
    assert_int_equal(support_peers(a), 1);
    support_connect(b, a);
    support_wait_peers(a, 2);
}

static void test_leave_hands_over_what_was_accepted(void **state)
{
    static struct support_box box;
    struct support_node *a = start(state, "a"), *b = start(state, "b"), *c = start(state, "c");
    uint64_t handshakes;
    uint8_t data[4096];

    memset(&box, 0, sizeof(box));
    memset(data, 7, sizeof(data));
    support_echo_start(c);
    join(b, rusm_node_address(a->node));
    join(c, rusm_node_address(a->node));
    support_wait_peers(a, 2);
    support_wait_peers(b, 2);
    support_box_start(&box, b, "box");
    for (int i = 0; i < 2000; i++) {
        assert_int_equal(rusm_node_send(a->node, "b", "box", data, sizeof(data)), RUSM_OK);
    }
    assert_int_equal(rusm_node_leave(a->node, SUPPORT_DEADLINE_MS), RUSM_OK);
    support_box_wait(&box, 2000);
    assert_int_equal(support_stats(a).dropped_link, 0);
    assert_int_equal(support_peers(a), 0);
    support_wait_peers(b, 1);
    support_wait_peers(c, 1);
    assert_int_equal(rusm_node_send(a->node, "b", "box", data, 1), RUSM_ENONODE);
    assert_int_equal(rusm_node_leave(a->node, 0), RUSM_ECLOSED);
    assert_int_equal(rusm_node_join(a->node, "127.0.0.1:1"), RUSM_ECLOSED);
    /* Nobody dials it again, though it still listens. */
    handshakes = support_stats(a).handshakes;
    support_exchange(b, c, 300, 64);
    assert_int_equal(support_stats(a).handshakes, handshakes);
}

/* Who leaves hears of what is lost, also if the link has given up and ended before it looks. */
static void test_leave_says_what_nobody_acknowledged(void **state)
{
    static struct support_box box;
    struct support_node *a = start(state, "a"), *b = start(state, "b");
    struct support_proxy *proxy = support_proxy_new(rusm_node_address(b->node));

    memset(&box, 0, sizeof(box));
    support_box_start(&box, b, "box");
    assert_int_equal(
        rusm_node_connect(a->node, support_proxy_address(proxy), SUPPORT_DEADLINE_MS, NULL),
        RUSM_OK);
    support_proxy_cut(proxy, true);
    assert_int_equal(rusm_node_send(a->node, "b", "box", "lost", 4), RUSM_OK);
    assert_int_equal(rusm_node_leave(a->node, 1), RUSM_ETIMEOUT);
    support_proxy_del(proxy);
}

/* ---- where addresses come from --------------------------------------------------------------- */

static void write_file(const char *path, const char *text)
{
    char other[64];
    FILE *file;

    /* As editors and orchestrators do it: never half a file. */
    (void)snprintf(other, sizeof(other), "%s.new", path);
    file = fopen(other, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(other, path), 0);
}

struct look {
    struct support_node *node;
    const char *problem; /* in it */
    uint32_t addresses;
};

static bool join_is(void *arg)
{
    const struct look *look = arg;
    rusm_join_info info;

    assert_int_equal(rusm_join_list(look->node->node, &info, 1), 1);
    return info.looks > 0 && info.addresses == look->addresses &&
           (look->problem == NULL ? info.problem[0] == '\0'
                                  : strstr(info.problem, look->problem) != NULL);
}

static void wait_join(struct support_node *node, uint32_t addresses, const char *problem)
{
    struct look look = {.node = node, .addresses = addresses, .problem = problem};
    rusm_join_info info;

    if (!support_wait(join_is, &look)) {
        assert_int_equal(rusm_join_list(node->node, &info, 1), 1);
        fail_msg("%s: %u addresses, problem \"%s\"", info.spec, info.addresses, info.problem);
    }
}

static void test_file_of_addresses_is_followed(void **state)
{
    rusm_node_config cfg = mesh_config();
    struct support_node *a, *b, *c;
    char path[] = "/tmp/rusm_mesh_XXXXXX", spec[64], text[1024];
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    (void)close(fd);
    cfg.mesh = false;
    a = support_node_start_with(*state, "a", &cfg);
    b = support_node_start_with(*state, "b", &cfg);
    c = support_node_start_with(*state, "c", &cfg);
    assert_int_equal(unlink(path), 0);
    (void)snprintf(spec, sizeof(spec), "file:%s", path);
    join(a, spec);
    wait_join(a, 0, "No such file");
    (void)snprintf(text, sizeof(text), "# members\n  %s # b, and this node itself:\n%s\n",
                   rusm_node_address(b->node), rusm_node_address(a->node));
    write_file(path, text);
    support_wait_peer(a, "b", true);
    wait_join(a, 2, NULL);
    (void)snprintf(text, sizeof(text), "%s\nnonsense\n", rusm_node_address(c->node));
    write_file(path, text);
    support_wait_peer(a, "c", true);
    wait_join(a, 1, "line 2: nonsense");
    assert_int_equal(support_peers(a), 2); /* a link that is up stays */
    assert_int_equal(unlink(path), 0);
    wait_join(a, 1, "No such file"); /* what is known stays */
}

static bool first_failed_twice(void *arg)
{
    struct support_node *node = arg;
    rusm_wanted_info info;
    uint64_t cursor = 0;

    assert_int_equal(rusm_wanted_list(node->node, &cursor, &info, 1), 1);
    return info.failures >= 2 && info.err != RUSM_OK &&
           strstr(info.problem, "nothing listens at 127.0.0.1:1") != NULL;
}

static void test_names_are_resolved(void **state)
{
    struct support_node *a = start(state, "a"), *b = start(state, "b");
    char spec[128];

    (void)snprintf(spec, sizeof(spec), "dns:localhost%s", strrchr(rusm_node_address(b->node), ':'));
    join(a, spec);
    support_wait_peer(a, "b", true);
    wait_join(a, 1, NULL);
}

/* What goes wrong with an address is said, and ends with a link. */
static void test_wanted_addresses_are_listed(void **state)
{
    struct support_node *a = start(state, "a"), *b = start(state, "b");
    rusm_wanted_info infos[4];
    char spec[256];
    uint64_t cursor = 0;

    (void)snprintf(spec, sizeof(spec), "127.0.0.1:1,%s,%s", rusm_node_address(b->node),
                   rusm_node_address(a->node));
    join(a, spec);
    support_wait_peers(a, 1);
    assert_true(support_wait(first_failed_twice, a));
    assert_int_equal(rusm_wanted_list(a->node, &cursor, infos, 1), 1);
    assert_true(cursor != 0);
    assert_string_equal(infos[0].address, "127.0.0.1:1");
    assert_true(infos[0].joined && infos[0].node[0] == '\0');
    assert_true(infos[0].state == RUSM_WANTED_WAITING || infos[0].state == RUSM_WANTED_DIALING);
    assert_int_equal(rusm_wanted_list(a->node, &cursor, infos, 4), 1);
    assert_true(cursor == 0); /* its own address is not among them */
    assert_string_equal(infos[0].address, rusm_node_address(b->node));
    assert_string_equal(infos[0].node, "b");
    assert_int_equal(infos[0].state, RUSM_WANTED_UP);
    assert_int_equal(infos[0].next_ms, -1);
    assert_string_equal(infos[0].problem, "");
    assert_int_equal(rusm_wanted_list(a->node, NULL, infos, 4), RUSM_EINVAL);
}

static void test_bad_specs_are_refused(void **state)
{
    static const char *const bad[] = {"",
                                      ",",
                                      "localhost:1",
                                      "127.0.0.1",
                                      "127.0.0.1:1,x",
                                      "file:",
                                      "dns:",
                                      "dns:name",
                                      "dns::1",
                                      "dns:name:0",
                                      "dns:name:65536",
                                      "dns:name:1x",
                                      "dns:name:-1",
                                      "srv:"};
    static char text[(RUSM_JOIN_ADDRESSES_MAX + 1) * 16];
    struct support_node *a = start(state, "a");
    char spec[32];

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(rusm_node_join(a->node, bad[i]), RUSM_EINVAL);
    }
    assert_int_equal(rusm_node_join(a->node, NULL), RUSM_EINVAL);
    memset(text, '1', sizeof(text) - 1);
    assert_int_equal(rusm_node_join(a->node, text), RUSM_EINVAL); /* too long */
    assert_int_equal(rusm_node_join(NULL, "127.0.0.1:1"), RUSM_ENOCONTEXT);
    for (unsigned i = 0; i < RUSM_JOINS_MAX; i++) {
        (void)snprintf(spec, sizeof(spec), "127.0.0.1:%u", 1 + i % 2);
        join(a, spec);
    }
    assert_int_equal(rusm_node_join(a->node, "127.0.0.1:3"), RUSM_EFULL);
}

static void test_bad_settings_are_refused(void **state)
{
    struct support_world *world = *state;
    rusm_node_config good = mesh_config(), cfg;
    rusm_runtime *rt;
    rusm_node *node;

    good.identity = support_identity(world, "a");
    assert_int_equal(rusm_runtime_new(&rt, NULL), RUSM_OK);
    for (int i = 0; i < 5; i++) {
        cfg = good;
        cfg.members_max = i == 0 ? 0 : cfg.members_max;
        cfg.reconnect_min_ms = i == 1 ? 0 : cfg.reconnect_min_ms;
        cfg.reconnect_max_ms = i == 2 ? cfg.reconnect_min_ms - 1 : cfg.reconnect_max_ms;
        cfg.discover_ms = i == 3 ? 0 : cfg.discover_ms;
        cfg.advertise = i == 4 ? "example.org:1" : NULL;
        assert_int_equal(rusm_node_bind_with(&node, rt, NULL, &cfg), RUSM_EINVAL);
    }
    rusm_runtime_del(rt);
    rusm_identity_del(good.identity);
}

static void test_advertised_address_is_what_peers_see(void **state)
{
    rusm_node_config cfg = support_node_config();
    struct support_node *a = support_node_start(*state, "a"), *b, *c;
    char expected[RUSM_ADDRESS_MAX];
    rusm_peer_info info;

    cfg.listen = "0.0.0.0:0";
    b = support_node_start_with(*state, "b", &cfg);
    cfg.advertise = "10.1.2.3:0";
    c = support_node_start_with(*state, "c", &cfg);
    assert_int_equal(
        rusm_node_connect(b->node, rusm_node_address(a->node), SUPPORT_DEADLINE_MS, NULL), RUSM_OK);
    assert_int_equal(
        rusm_node_connect(c->node, rusm_node_address(a->node), SUPPORT_DEADLINE_MS, NULL), RUSM_OK);
    support_wait_peers(a, 2);
    assert_true(support_peer_find(a, "b", &info));
    (void)snprintf(expected, sizeof(expected), "127.0.0.1%s",
                   strrchr(rusm_node_address(b->node), ':'));
    assert_string_equal(info.listen, expected);
    assert_true(support_peer_find(a, "c", &info));
    (void)snprintf(expected, sizeof(expected), "10.1.2.3%s",
                   strrchr(rusm_node_address(c->node), ':'));
    assert_string_equal(info.listen, expected);
}

/* ---- who stays out --------------------------------------------------------------------------- */

/* A certificate of the same CA for another cluster opens no door, however often it knocks. */
static void test_two_clusters_under_one_ca_never_merge(void **state)
{
    struct support_world *world = *state;
    rusm_node_config cfg = mesh_config();
    struct support_node *a = start(state, "a"), *b = start(state, "b"), *x, *y;

    cfg.identity = support_identity_bad(SUPPORT_BAD_OTHER_CLUSTER, world->ca, "x");
    x = support_node_start_with(*state, "x", &cfg);
    rusm_identity_del(cfg.identity);
    cfg.identity = support_identity_bad(SUPPORT_BAD_OTHER_CLUSTER, world->ca, "y");
    y = support_node_start_with(*state, "y", &cfg);
    rusm_identity_del(cfg.identity);
    join(b, rusm_node_address(a->node));
    join(x, rusm_node_address(a->node));
    join(y, rusm_node_address(x->node));
    join(a, rusm_node_address(y->node));
    support_wait_stat(a, offsetof(rusm_node_stats, refused_auth), 3);
    support_wait_peers(a, 1);
    support_wait_peers(b, 1);
    assert_int_equal(support_peers(x), 0);
    assert_int_equal(support_peers(y), 0);
}

/* ---- liveness -------------------------------------------------------------------------------- */

static void hold_scheduler(void *arg)
{
    rusm_time until = rusm_now() + (rusm_time)3 * BUSY_TICK_MS * 1000000;

    while (rusm_now() < until) {
    }
    atomic_fetch_add((_Atomic unsigned *)arg, 1);
}

static bool all_held(void *arg)
{
    return atomic_load((_Atomic unsigned *)arg) == 8;
}

/* Processes that never pause, more than there are schedulers, for many ticks. */
static void test_busy_node_is_not_taken_for_dead(void **state)
{
    static _Atomic unsigned held;
    rusm_node_config cfg = support_node_config();
    struct support_node *a, *b;

    atomic_store(&held, 0);
    cfg.tick_ms = BUSY_TICK_MS;
    a = support_node_start_with(*state, "a", &cfg);
    b = support_node_start_with(*state, "b", &cfg);
    support_connect(a, b);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(
            rusm_spawn(i % 2 == 0 ? a->runtime : b->runtime, hold_scheduler, (void *)&held, NULL),
            RUSM_OK);
    }
    assert_true(support_wait(all_held, (void *)&held));
    assert_int_equal(support_peers(a), 1);
    assert_int_equal(support_stats(a).handshakes, 1);
    assert_int_equal(support_stats(a).timeouts + support_stats(b).timeouts, 0);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, support_world_setup, support_world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_joining_one_member_makes_the_full_mesh),
        TEST(test_restarted_node_is_back_under_its_name),
        TEST(test_lost_link_comes_back),
        TEST(test_disconnected_peer_is_not_dialed_again),
        TEST(test_leave_hands_over_what_was_accepted),
        TEST(test_leave_says_what_nobody_acknowledged),
        TEST(test_file_of_addresses_is_followed),
        TEST(test_names_are_resolved),
        TEST(test_wanted_addresses_are_listed),
        TEST(test_bad_specs_are_refused),
        TEST(test_bad_settings_are_refused),
        TEST(test_advertised_address_is_what_peers_see),
        TEST(test_two_clusters_under_one_ca_never_merge),
        TEST(test_busy_node_is_not_taken_for_dead),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
