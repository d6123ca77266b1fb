/* SPDX-License-Identifier: MIT */
/*
 * Dialing: however many dial, in whatever direction and spelling, two nodes have one link; a dial
 * that can not succeed says why; a link that ended can be made again, also by a node that was
 * restarted under its name, but never by a second one while the first is alive.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/node.h"
#include "platform/thread.h"
#include "support/nodes.h"
#include "support/raw_peer.h"

/* No test may pass because some time ran out, unless it says so. */
#define HOUR_MS 3600000

static void expect_dial(struct support_node *from, const char *address, rusm_err expected,
                        const char *words)
{
    char peer[RUSM_NAME_MAX + 1] = "untouched";
    rusm_err err = rusm_node_connect(from->node, address, RUSM_INFINITY, peer);

    if (err != expected || strstr(rusm_err_detail(), words) == NULL) {
        fail_msg("%s: %s (%s)", address, rusm_err_name(err), rusm_err_detail());
    }
    if (err != RUSM_OK) {
        assert_string_equal(peer, "untouched");
    }
}

static rusm_node_config patient_config(void)
{
    rusm_node_config cfg = support_node_config();

    cfg.hello_ms = HOUR_MS;
    return cfg;
}

static struct support_node *patient_node(struct support_world *world, const char *name)
{
    rusm_node_config cfg = patient_config();

    return support_node_start_with(world, name, &cfg);
}

struct links_wish {
    struct support_node *node;
    uint32_t links;
};

static bool links_are(void *arg)
{
    const struct links_wish *wish = arg;

    /* The endpoint's driver is counted too. */
    return atomic_load(&wish->node->node->links_alive) == wish->links + 1;
}

/* Wait until a node has so many connections of any kind, those that are not up included. */
static void wait_connections(struct support_node *node, uint32_t links)
{
    struct links_wish wish = {node, links};

    if (!support_wait(links_are, &wish)) {
        fail_msg("%s has %u connections, not %u", rusm_node_name(node->node),
                 (unsigned)atomic_load(&node->node->links_alive) - 1, (unsigned)links);
    }
}

/* Both have one and the same link, and nothing else. */
static void expect_one_link(struct support_node *a, struct support_node *b)
{
    rusm_peer_info of_a, of_b;

    wait_connections(a, 1);
    wait_connections(b, 1);
    assert_int_equal(support_peers(a), 1);
    assert_int_equal(support_peers(b), 1);
    assert_true(support_peer_find(a, rusm_node_name(b->node), &of_a));
    assert_true(support_peer_find(b, rusm_node_name(a->node), &of_b));
    assert_int_equal(of_a.incarnation, rusm_runtime_incarnation(b->runtime));
    assert_int_equal(of_b.incarnation, rusm_runtime_incarnation(a->runtime));
    assert_int_not_equal(of_a.dialed, of_b.dialed);
}

/* ---- many at once ---------------------------------------------------------------------------- */

#define DIALS   1000
#define THREADS 10 /* of the dials, in each direction, from ordinary threads */

static struct support_dial dials[DIALS];
static atomic_uint dials_done;
static atomic_bool dials_go;

static void dial_once(struct support_dial *dial, rusm_node *node)
{
    dial->err = rusm_node_connect(node, dial->address, dial->timeout_ms, dial->peer);
    if (dial->err != RUSM_OK) {
        (void)snprintf(dial->detail, sizeof(dial->detail), "%s", rusm_err_detail());
    }
    atomic_fetch_add(&dials_done, 1);
}

static void dial_process(void *arg)
{
    while (!atomic_load(&dials_go)) {
        rusm_yield();
    }
    dial_once(arg, NULL);
}

struct dial_thread {
    struct rusmi_thread thread;
    struct support_dial *dial;
    rusm_node *node;
};

static void *run_dial_thread(void *arg)
{
    struct dial_thread *self = arg;

    while (!atomic_load(&dials_go)) {
        rusmi_thread_pause();
    }
    dial_once(self->dial, self->node);
    return NULL;
}

static bool all_dialed(void *arg)
{
    (void)arg;
    return atomic_load(&dials_done) == DIALS;
}

/* The i-th spelling of an address: as it is, or with zeros in front of the port. */
static void spell(const char *address, unsigned i, char *out, size_t out_len)
{
    const char *colon = strrchr(address, ':');

    assert_non_null(colon);
    (void)snprintf(out, out_len, "%.*s:%s%s", (int)(colon - address), address, i % 2 ? "0" : "",
                   colon + 1);
}

static void a_thousand_dials_in_both_directions_leave_one_link(void **state)
{
    static struct dial_thread threads[2 * THREADS];
    struct support_world *world = *state;
    struct support_node *nodes[2] = {patient_node(world, "a"), patient_node(world, "b")};

    atomic_store(&dials_done, 0);
    atomic_store(&dials_go, false);
    memset(dials, 0, sizeof(dials));
    for (unsigned i = 0; i < DIALS; i++) {
        struct support_node *from = nodes[i % 2], *to = nodes[1 - i % 2];

        dials[i].timeout_ms = RUSM_INFINITY;
        spell(rusm_node_address(to->node), i / 2, dials[i].address, sizeof(dials[i].address));
        if (i < 2 * THREADS) {
            threads[i].dial = &dials[i];
            threads[i].node = from->node;
            assert_int_equal(rusmi_thread_start(&threads[i].thread, run_dial_thread, &threads[i],
                                                262144, "dial"),
                             0);
        } else {
            assert_int_equal(rusm_spawn(from->runtime, dial_process, &dials[i], NULL), RUSM_OK);
        }
    }
    atomic_store(&dials_go, true);
    assert_true(support_wait(all_dialed, NULL));
    for (unsigned i = 0; i < 2 * THREADS; i++) {
        rusmi_thread_join(&threads[i].thread);
    }
    for (unsigned i = 0; i < DIALS; i++) {
        if (dials[i].err != RUSM_OK || strcmp(dials[i].peer, i % 2 ? "a" : "b") != 0) {
            fail_msg("dial %u to %s: %s (%s)", i, dials[i].address, rusm_err_name(dials[i].err),
                     dials[i].detail);
        }
    }
    expect_one_link(nodes[0], nodes[1]);
    support_echo_start(nodes[0]);
    support_echo_start(nodes[1]);
    support_exchange(nodes[0], nodes[1], 10, 100);
    support_exchange(nodes[1], nodes[0], 10, 100);
}

/* The race itself, again and again, with one dial on each side. */
static void crossing_dials_leave_one_link_every_time(void **state)
{
    static struct support_dial pair[2];
    struct support_world *world = *state;
    struct support_node *a = patient_node(world, "a"), *b = patient_node(world, "b");

    for (int round = 0; round < 50; round++) {
        support_dial_start(&pair[0], a, rusm_node_address(b->node), RUSM_INFINITY);
        support_dial_start(&pair[1], b, rusm_node_address(a->node), RUSM_INFINITY);
        assert_true(support_wait(support_dial_is_done, &pair[0]));
        assert_true(support_wait(support_dial_is_done, &pair[1]));
        if (pair[0].err != RUSM_OK || pair[1].err != RUSM_OK) {
            fail_msg("round %d: %s, %s", round, pair[0].detail, pair[1].detail);
        }
        expect_one_link(a, b);
        assert_int_equal(rusm_node_disconnect(round % 2 ? a->node : b->node, round % 2 ? "b" : "a"),
                         RUSM_OK);
        support_wait_peers(a, 0);
        support_wait_peers(b, 0);
    }
    wait_connections(a, 0);
    wait_connections(b, 0);
}

static void three_nodes_that_all_dial_each_other_have_three_links(void **state)
{
    static struct support_dial six[6];
    struct support_world *world = *state;
    struct support_node *nodes[3];
    static const char *const names[] = {"a", "b", "c"};
    unsigned n = 0;

    for (unsigned i = 0; i < 3; i++) {
        nodes[i] = patient_node(world, names[i]);
    }
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned j = 0; j < 3; j++) {
            if (i != j) {
                support_dial_start(&six[n++], nodes[i], rusm_node_address(nodes[j]->node),
                                   RUSM_INFINITY);
            }
        }
    }
    for (unsigned i = 0; i < 6; i++) {
        assert_true(support_wait(support_dial_is_done, &six[i]));
        assert_int_equal(six[i].err, RUSM_OK);
    }
    for (unsigned i = 0; i < 3; i++) {
        wait_connections(nodes[i], 2);
        assert_int_equal(support_peers(nodes[i]), 2);
    }
}

/* ---- dials that can not succeed -------------------------------------------------------------- */

static void dial_to_itself_is_refused(void **state)
{
    struct support_node *node = patient_node(*state, "self");

    expect_dial(node, rusm_node_address(node->node), RUSM_EINVAL, "is this node itself");
    assert_int_equal(support_peers(node), 0);
    wait_connections(node, 0);
}

/* Listening everywhere, it does not know each of its addresses: the handshake tells. */
static void dial_to_itself_by_another_address_is_refused(void **state)
{
    struct support_world *world = *state;
    rusm_node_config cfg = patient_config();
    struct support_node *node;
    char address[RUSM_ADDRESS_MAX];

    cfg.listen = "0.0.0.0:0";
    node = support_node_start_with(world, "self", &cfg);
    (void)snprintf(address, sizeof(address), "127.0.0.1%s",
                   strrchr(rusm_node_address(node->node), ':'));
    expect_dial(node, address, RUSM_EINVAL, "itself");
    assert_int_equal(support_peers(node), 0);
    wait_connections(node, 0);
}

static void dial_where_nothing_listens_fails_at_once(void **state)
{
    struct support_world *world = *state;
    struct support_node *node = patient_node(world, "dialer");
    struct support_node *gone = patient_node(world, "gone");
    char address[RUSM_ADDRESS_MAX], words[RUSM_ADDRESS_MAX + 64];

    (void)snprintf(address, sizeof(address), "%s", rusm_node_address(gone->node));
    (void)snprintf(words, sizeof(words), "nothing listens at %s (port unreachable)", address);
    support_node_stop(gone);
    expect_dial(node, address, RUSM_ENOLINK, words);
    wait_connections(node, 0);
}

static void bad_addresses_are_refused(void **state)
{
    static const char *const addresses[] = {"",           "127.0.0.1", "localhost:1",
                                            "127.0.0.1:", "::1:1",     "127.0.0.1:70000"};
    struct support_node *node = patient_node(*state, "dialer");

    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        expect_dial(node, addresses[i], RUSM_EINVAL, "no numeric address");
    }
    expect_dial(node, NULL, RUSM_EINVAL, "(null)");
    wait_connections(node, 0);
}

/* A bound socket that nobody reads. */
static int silent_socket(char address[80])
{
    struct rusmi_address local;
    int fd;

    assert_true(rusmi_address_parse("127.0.0.1:0", &local));
    assert_int_equal(rusmi_udp_listen(&local, 65536, &fd), 0);
    assert_int_equal(rusmi_udp_local_address(fd, &local), 0);
    rusmi_address_format(&local, address, 80);
    return fd;
}

static void dial_to_a_silent_socket_ends_when_the_callers_time_is_up(void **state)
{
    struct support_node *node = patient_node(*state, "dialer");
    char address[80], words[128];
    int fd = silent_socket(address);

    (void)snprintf(words, sizeof(words), "%s did not answer in time", address);
    assert_int_equal(rusm_node_connect(node->node, address, 100, NULL), RUSM_ETIMEOUT);
    assert_string_equal(rusm_err_detail(), words);
    assert_int_equal(rusm_node_connect(node->node, address, 0, NULL), RUSM_ETIMEOUT);
    wait_connections(node, 0);
    rusmi_udp_close(fd);
}

static void dial_to_a_silent_socket_ends_when_the_nodes_time_is_up(void **state)
{
    struct support_world *world = *state;
    rusm_node_config cfg = support_node_config();
    struct support_node *node;
    char address[80];
    int fd = silent_socket(address);

    cfg.hello_ms = 200;
    node = support_node_start_with(world, "dialer", &cfg);
    expect_dial(node, address, RUSM_ETIMEOUT, "did not answer in time");
    assert_int_equal(support_stats(node).timeouts, 1);
    wait_connections(node, 0);
    rusmi_udp_close(fd);
}

/* The one who is impatient gives up alone; the other's dial goes on on the same handshake. */
static void dials_that_share_a_handshake_end_each_in_its_own_time(void **state)
{
    static struct support_dial patient;
    struct support_world *world = *state;
    struct support_node *node = patient_node(world, "dialer");
    rusm_identity *identity = support_identity(world, "late");
    struct support_raw *raw = support_raw_listen(identity);

    rusm_identity_del(identity);
    support_dial_start(&patient, node, raw->address, RUSM_INFINITY);
    wait_connections(node, 1);
    assert_int_equal(rusm_node_connect(node->node, raw->address, 50, NULL), RUSM_ETIMEOUT);
    wait_connections(node, 1);
    support_raw_join(raw, "late"); /* only now it reads what has been sent to it */
    assert_true(support_wait(support_dial_is_done, &patient));
    assert_int_equal(patient.err, RUSM_OK);
    assert_string_equal(patient.peer, "late");
    support_raw_del(raw);
}

static bool process_is_gone(void *arg)
{
    return !rusm_is_alive(*(const rusm_pid *)arg);
}

static void dial_process_for_kill(void *arg)
{
    (void)!rusm_node_connect(NULL, arg, RUSM_INFINITY, NULL);
    abort(); /* it is killed before the dial ends */
}

/* Others may wait for the same handshake, so it goes on without the process, in its own time. */
static void dial_of_a_killed_process_ends_without_it(void **state)
{
    static char address[80];
    struct support_world *world = *state;
    rusm_node_config cfg = support_node_config();
    struct support_node *node;
    int fd = silent_socket(address);
    rusm_pid pid;

    cfg.hello_ms = 1000;
    node = support_node_start_with(world, "dialer", &cfg);
    assert_int_equal(rusm_spawn(node->runtime, dial_process_for_kill, address, &pid), RUSM_OK);
    wait_connections(node, 1);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    assert_true(support_wait(process_is_gone, &pid));
    wait_connections(node, 0);
    rusmi_udp_close(fd);
}

static void node_is_deleted_while_its_processes_dial(void **state)
{
    static struct support_dial waiting[20];
    struct support_node *node = patient_node(*state, "dialer");
    char address[80];
    int fd = silent_socket(address);

    for (int i = 0; i < 20; i++) {
        support_dial_start(&waiting[i], node, address, RUSM_INFINITY);
    }
    wait_connections(node, 1);
    support_node_stop(node);
    rusmi_udp_close(fd);
}

/* ---- again ----------------------------------------------------------------------------------- */

static void second_connect_finds_the_link(void **state)
{
    struct support_world *world = *state;
    struct support_node *a = patient_node(world, "a"), *b = patient_node(world, "b");

    support_connect(a, b);
    support_connect(a, b);
    assert_int_equal(support_stats(a).handshakes, 1);
    assert_int_equal(support_stats(b).handshakes, 1);
    expect_one_link(a, b);
}

/* It can not know before the hello that it has this link already, so it dials. */
static void connect_in_the_other_direction_keeps_the_link(void **state)
{
    struct support_world *world = *state;
    struct support_node *a = patient_node(world, "a"), *b = patient_node(world, "b");
    rusm_peer_info before, after;

    support_connect(a, b);
    assert_true(support_peer_find(a, "b", &before));
    support_connect(b, a);
    expect_one_link(a, b);
    assert_true(support_peer_find(a, "b", &after));
    assert_true(before.dialed && after.dialed);
    assert_string_equal(before.address, after.address);
}

static void disconnected_nodes_connect_again(void **state)
{
    struct support_world *world = *state;
    struct support_node *a = patient_node(world, "a"), *b = patient_node(world, "b");

    support_echo_start(b);
    for (int round = 0; round < 5; round++) {
        support_connect(a, b);
        support_exchange(a, b, 3, 64);
        assert_int_equal(rusm_node_disconnect(a->node, "b"), RUSM_OK);
        assert_int_equal(support_peers(a), 0);
        support_wait_peers(b, 0);
        assert_int_equal(rusm_node_send(a->node, "b", "echo", "x", 1), RUSM_ENONODE);
    }
    assert_int_equal(rusm_node_disconnect(a->node, "b"), RUSM_ENONODE);
    assert_string_equal(rusm_err_detail(), "node a has no link to node b");
    wait_connections(a, 0);
    wait_connections(b, 0);
}

static void node_restarted_under_its_name_is_a_new_peer(void **state)
{
    struct support_world *world = *state;
    struct support_node *a = patient_node(world, "a"), *b = patient_node(world, "b");
    rusm_peer_info before, after;

    support_echo_start(a);
    support_connect(b, a);
    assert_true(support_peer_find(a, "b", &before));
    support_node_stop(b);
    support_wait_peers(a, 0);
    b = patient_node(world, "b");
    support_connect(b, a);
    assert_true(support_peer_find(a, "b", &after));
    assert_int_not_equal(before.incarnation, after.incarnation);
    assert_int_equal(after.incarnation, rusm_runtime_incarnation(b->runtime));
    support_exchange(b, a, 3, 64);
}

/* It does not wait until the other side has noticed that the old one is gone. */
static void node_restarted_at_once_is_let_in(void **state)
{
    struct support_world *world = *state;
    struct support_node *a = patient_node(world, "a"), *b;

    for (int round = 0; round < 10; round++) {
        b = patient_node(world, "b");
        support_connect(b, a);
        expect_one_link(a, b);
        support_node_stop(b);
        world->nodes_len--;
    }
}

static void expect_exchange_with_old(struct support_node *hub, struct support_node *old)
{
    rusm_peer_info info;

    assert_true(support_peer_find(hub, "twin", &info));
    assert_int_equal(info.incarnation, rusm_runtime_incarnation(old->runtime));
    support_exchange(old, hub, 3, 64);
}

static void second_node_of_a_living_ones_name_is_refused(void **state)
{
    struct support_world *world = *state;
    struct support_node *hub = patient_node(world, "hub");
    struct support_node *old = patient_node(world, "twin"), *twin = patient_node(world, "twin");

    support_echo_start(hub);
    support_connect(old, hub);
    expect_dial(twin, rusm_node_address(hub->node), RUSM_EREFUSED,
                "\"hub\" has a living link with another \"twin\"");
    expect_exchange_with_old(hub, old);
    expect_dial(hub, rusm_node_address(twin->node), RUSM_EREFUSED,
                "\"hub\" has a living link with another \"twin\"");
    expect_exchange_with_old(hub, old);
    assert_int_equal(support_peers(twin), 0);
    assert_int_equal(support_stats(hub).refused_duplicate, 2);
    wait_connections(twin, 0);
}

static void nodes_of_one_name_refuse_each_other(void **state)
{
    struct support_world *world = *state;
    struct support_node *one = patient_node(world, "twin"), *two = patient_node(world, "twin");

    expect_dial(one, rusm_node_address(two->node), RUSM_EREFUSED,
                "\"twin\" is the name of both nodes");
    assert_int_equal(support_peers(one) + support_peers(two), 0);
}

/* The old one says nothing any more, but its silence is not yet long enough to be noticed: the new
 * one's hello leads to the question whether it lives. */
static void node_takes_the_place_of_one_that_fell_silent(void **state)
{
    struct support_world *world = *state;
    rusm_node_config cfg = patient_config();
    struct support_node *hub, *b;
    rusm_identity *identity = support_identity(world, "b");
    struct support_raw *raw;
    rusm_peer_info info;

    cfg.tick_ms = SUPPORT_DEADLINE_MS * 2;
    hub = support_node_start_with(world, "hub", &cfg);
    raw = support_raw_dial(identity, rusm_node_address(hub->node));
    rusm_identity_del(identity);
    support_raw_join(raw, "b");
    support_wait_peer(hub, "b", true);
    b = patient_node(world, "b");
    support_connect(b, hub);
    assert_true(support_peer_find(hub, "b", &info));
    assert_int_equal(info.incarnation, rusm_runtime_incarnation(b->runtime));
    assert_int_equal(support_peers(hub), 1);
    support_raw_del(raw);
}

/* ---- limits and IPv6 ------------------------------------------------------------------------- */

static void peers_max_turns_others_away_until_there_is_room(void **state)
{
    struct support_world *world = *state;
    rusm_node_config cfg = patient_config();
    struct support_node *hub, *a, *b, *c;

    cfg.peers_max = 2;
    hub = support_node_start_with(world, "hub", &cfg);
    a = patient_node(world, "a");
    b = patient_node(world, "b");
    c = patient_node(world, "c");
    support_connect(a, hub);
    support_connect(hub, b);
    expect_dial(c, rusm_node_address(hub->node), RUSM_EREFUSED,
                "\"hub\" has 2 links, as many as it may");
    assert_int_equal(support_stats(hub).refused_full, 1);
    expect_dial(hub, rusm_node_address(c->node), RUSM_EREFUSED,
                "\"hub\" has 2 links, as many as it may");
    assert_int_equal(support_peers(hub), 2);
    assert_int_equal(support_peers(c), 0);
    support_connect(a, hub); /* it has a place */
    assert_int_equal(rusm_node_disconnect(a->node, "hub"), RUSM_OK);
    support_wait_peer(hub, "a", false);
    support_connect(c, hub);
    wait_connections(hub, 2);
}

static void dial_the_addresses_of_a_node_that_listens_everywhere(void **state, uint32_t retry)
{
    static const char *const hosts[] = {"127.0.0.1", "127.0.0.2", "127.1.2.3"};
    struct support_world *world = *state;
    rusm_node_config cfg = patient_config();
    struct support_node *everywhere, *dialer = patient_node(world, "dialer");
    char address[RUSM_ADDRESS_MAX];

    cfg.listen = "0.0.0.0:0";
    cfg.handshakes_retry = retry;
    everywhere = support_node_start_with(world, "everywhere", &cfg);
    support_echo_start(everywhere);
    for (size_t i = 0; i < 3; i++) {
        rusm_peer_info info;

        (void)snprintf(address, sizeof(address), "%s%s", hosts[i],
                       strrchr(rusm_node_address(everywhere->node), ':'));
        expect_dial(dialer, address, RUSM_OK, "");
        assert_true(support_peer_find(dialer, "everywhere", &info));
        assert_string_equal(info.address, address);
        support_exchange(dialer, everywhere, 5, 100000);
        assert_int_equal(rusm_node_disconnect(dialer->node, "everywhere"), RUSM_OK);
        support_wait_peers(everywhere, 0);
    }
}

/* It answers from the address that was dialed: the dialer's socket hears no other. */
static void node_that_listens_everywhere_is_reached_at_each_address(void **state)
{
    dial_the_addresses_of_a_node_that_listens_everywhere(state, 128);
}

static void node_that_listens_everywhere_sends_retries_from_each_address(void **state)
{
    dial_the_addresses_of_a_node_that_listens_everywhere(state, 0);
}

static bool has_ipv6(void)
{
    struct rusmi_address local;
    int fd;

    if (!rusmi_address_parse("[::1]:0", &local) || rusmi_udp_listen(&local, 65536, &fd) != 0) {
        return false;
    }
    rusmi_udp_close(fd);
    return true;
}

static void ipv6_nodes_connect_and_exchange(void **state)
{
    struct support_world *world = *state;
    rusm_node_config cfg = patient_config();
    struct support_node *a, *b;
    rusm_peer_info info;

    if (!has_ipv6()) {
        skip();
    }
    cfg.listen = "[::1]:0";
    a = support_node_start_with(world, "a", &cfg);
    b = support_node_start_with(world, "b", &cfg);
    assert_memory_equal(rusm_node_address(a->node), "[::1]:", 6);
    support_echo_start(b);
    support_connect(a, b);
    support_exchange(a, b, 10, 5000);
    assert_true(support_peer_find(a, "b", &info));
    assert_string_equal(info.address, rusm_node_address(b->node));
}

/* A node that listens at one family dials the other all the same. */
static void ipv4_and_ipv6_nodes_connect(void **state)
{
    struct support_world *world = *state;
    rusm_node_config cfg = patient_config();
    struct support_node *v4, *v6;
    char address[RUSM_ADDRESS_MAX];

    if (!has_ipv6()) {
        skip();
    }
    v4 = support_node_start_with(world, "v4", &cfg);
    cfg.listen = "[::]:0";
    v6 = support_node_start_with(world, "v6", &cfg);
    support_echo_start(v4);
    support_connect(v6, v4);
    support_exchange(v6, v4, 3, 100);
    assert_int_equal(rusm_node_disconnect(v4->node, "v6"), RUSM_OK);
    support_wait_peers(v6, 0);
    (void)snprintf(address, sizeof(address), "[0:0:0:0:0:0:0:1]%s",
                   strrchr(rusm_node_address(v6->node), ':'));
    expect_dial(v4, address, RUSM_OK, "");
    support_wait_peers(v6, 1);
}

#define CASE(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, support_world_setup, support_world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_thousand_dials_in_both_directions_leave_one_link),
        CASE(crossing_dials_leave_one_link_every_time),
        CASE(three_nodes_that_all_dial_each_other_have_three_links),
        CASE(dial_to_itself_is_refused),
        CASE(dial_to_itself_by_another_address_is_refused),
        CASE(dial_where_nothing_listens_fails_at_once),
        CASE(bad_addresses_are_refused),
        CASE(dial_to_a_silent_socket_ends_when_the_callers_time_is_up),
        CASE(dial_to_a_silent_socket_ends_when_the_nodes_time_is_up),
        CASE(dials_that_share_a_handshake_end_each_in_its_own_time),
        CASE(dial_of_a_killed_process_ends_without_it),
        CASE(node_is_deleted_while_its_processes_dial),
        CASE(second_connect_finds_the_link),
        CASE(connect_in_the_other_direction_keeps_the_link),
        CASE(disconnected_nodes_connect_again),
        CASE(node_restarted_under_its_name_is_a_new_peer),
        CASE(node_restarted_at_once_is_let_in),
        CASE(second_node_of_a_living_ones_name_is_refused),
        CASE(nodes_of_one_name_refuse_each_other),
        CASE(node_takes_the_place_of_one_that_fell_silent),
        CASE(peers_max_turns_others_away_until_there_is_room),
        CASE(node_that_listens_everywhere_is_reached_at_each_address),
        CASE(node_that_listens_everywhere_sends_retries_from_each_address),
        CASE(ipv6_nodes_connect_and_exchange),
        CASE(ipv4_and_ipv6_nodes_connect),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
