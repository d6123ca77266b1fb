/* SPDX-License-Identifier: MIT */
/*
 * Membership: who is looked for, when, and for how long; what members tell of each other; protocol
 * versions. Several cores on a network in the test, in virtual time.
 */
#include "cluster/core_net_test.h"
#include "cluster/heap_fixture_test.h"

#define LONDON 0
#define TOKYO  1
#define PARIS  2
#define BERLIN 3
#define ROME   4

static const char *const names[NET_NODES] = {"london", "tokyo", "paris", "berlin", "rome"};

static int setup(void **state)
{
    struct net *net = malloc(sizeof(struct net));

    net_init(net);
    *state = net;
    return 0;
}

static int teardown(void **state)
{
    struct net *net = *state;

    net_fini(net);
    free(net);
    return 0;
}

static struct rusmi_core_config mesh_config(int i, uint64_t incarnation, const char *address)
{
    struct rusmi_core_config cfg = net_config(names[i], incarnation, RUSMI_ROLE_MEMBER, address);

    cfg.mesh = true;
    cfg.members_max = 20;
    cfg.reconnect_min_ms = 100;
    cfg.reconnect_max_ms = 30000;
    cfg.forget_ms = 600000;
    cfg.jitter_seed = incarnation;
    return cfg;
}

static const char *address_of(int i)
{
    static char text[NET_NODES][32];

    (void)snprintf(text[i], sizeof(text[i]), "10.0.0.%d:1", i);
    return text[i];
}

static void start(struct net *net, int i, uint64_t incarnation)
{
    struct rusmi_core_config cfg = mesh_config(i, incarnation, address_of(i));

    net_start_with(net, i, &cfg);
}

static rusm_err want(struct net *net, int i, const char *address)
{
    struct rusmi_actions actions;
    rusm_err err;

    rusmi_actions_init(&actions);
    err = rusmi_core_want(net->nodes[i].core, address, net->now, &actions);
    net_act(net, i, &actions);
    return err;
}

static void unwant(struct net *net, int i, const char *address)
{
    struct rusmi_actions actions;

    rusmi_actions_init(&actions);
    rusmi_core_unwant(net->nodes[i].core, address, net->now, &actions);
    net_act(net, i, &actions);
}

static rusm_err disconnect(struct net *net, int i, const char *peer)
{
    struct rusmi_actions actions;
    rusm_err err;

    rusmi_actions_init(&actions);
    err = rusmi_core_disconnect(net->nodes[i].core, peer, net->now, &actions);
    net_act(net, i, &actions);
    return err;
}

/* Node i dies, and the others notice. */
static void crash(struct net *net, int i)
{
    net_kill(net, i);
    for (size_t w = 0; w < net->wires_len; w++) {
        for (int e = 0; e < 2; e++) {
            struct wire *wire = &net->wires[w];

            if (wire->ends[e].open && wire->ends[1 - e].node == i) {
                net_post_closed(net, &wire->ends[e], RUSMI_DOWN_SILENT, 0,
                                "time-out, last heard 2.5 s ago");
            }
        }
    }
    net_run(net);
}

static void cut(struct net *net, int i, int j)
{
    struct end *end, *other;
    uint64_t conn = net_link(net, i, names[j]);

    assert_true(conn != 0);
    end = net_end(net, i, conn, &other);
    net_post_closed(net, end, RUSMI_DOWN_SILENT, 0, "");
    net_post_closed(net, other, RUSMI_DOWN_SILENT, 0, "");
    net_run(net);
    assert_true(net_link(net, i, names[j]) == 0);
}

static bool linked(struct net *net, int i, int j)
{
    struct end *end, *other;
    uint64_t conn = net_link(net, i, names[j]);

    if (conn == 0) {
        return false;
    }
    end = net_end(net, i, conn, &other);
    return end->open && other->open && other->conn == net_link(net, j, names[i]);
}

static size_t links(struct net *net)
{
    size_t len = 0;

    for (int i = 0; i < NET_NODES; i++) {
        for (int j = 0; j < i; j++) {
            len += net->nodes[i].core != NULL && net->nodes[j].core != NULL && linked(net, i, j);
        }
    }
    return len;
}

/* A members frame from the far end of node i's link to a peer. */
static void tell(struct net *net, int i, const char *peer, const char *const *who,
                 const uint64_t *incarnations, const char *const *where, size_t len)
{
    struct rusmi_frame frame = {.type = RUSMI_FRAME_MEMBERS};
    struct rusmi_member_entry entries[RUSMI_MEMBERS_MAX];
    struct end *end, *other;
    struct rusmi_buf buf;

    for (size_t m = 0; m < len; m++) {
        entries[m] = (struct rusmi_member_entry){.name = who[m],
                                                 .name_len = strlen(who[m]),
                                                 .incarnation = incarnations[m],
                                                 .address = where[m],
                                                 .address_len = strlen(where[m])};
    }
    frame.u.members.entries = entries;
    frame.u.members.len = len;
    rusmi_buf_init(&buf);
    assert_int_equal(rusmi_control_encode(&buf, &frame), RUSM_OK);
    end = net_end(net, i, net_link(net, i, peer), &other);
    (void)net_post(net, end, PARCEL_BYTES, rusmi_buf_head(&buf), buf.len);
    rusmi_buf_fini(&buf);
    net_run(net);
}

/* ---- the mesh -------------------------------------------------------------------------------- */

static void test_joining_one_member_joins_all(void **state)
{
    struct net *net = *state;

    for (int i = 0; i < NET_NODES; i++) {
        start(net, i, 10 + (uint64_t)i);
        if (i != LONDON) {
            assert_int_equal(want(net, i, address_of(LONDON)), RUSM_OK);
        }
    }
    net_pass(net, 1000);
    assert_int_equal(links(net), 10);
    /* One of each pair dials, so hardly any handshake is for nothing. */
    assert_in_range(net->wires_len, 10, 13);
    net_pass(net, 60000);
    assert_in_range(net->wires_len, 10, 13);
    for (int i = 0; i < NET_NODES; i++) {
        assert_int_equal(net->nodes[i].ups, 4);
        assert_int_equal(net->nodes[i].downs, 0);
    }
}

static void test_late_member_is_told_of_everybody_and_everybody_of_it(void **state)
{
    struct net *net = *state;

    for (int i = 0; i < 4; i++) {
        start(net, i, 10 + (uint64_t)i);
    }
    assert_int_equal(want(net, TOKYO, address_of(LONDON)), RUSM_OK);
    assert_int_equal(want(net, PARIS, address_of(TOKYO)), RUSM_OK);
    assert_int_equal(want(net, BERLIN, address_of(PARIS)), RUSM_OK);
    net_pass(net, 2000);
    assert_int_equal(links(net), 6);
    start(net, ROME, 14);
    assert_int_equal(want(net, ROME, address_of(BERLIN)), RUSM_OK);
    net_pass(net, 2000);
    assert_int_equal(links(net), 10);
}

/* Of two that hear of each other at once, one dials and the other waits for it. */
static void test_one_of_two_dials_first(void **state)
{
    struct net *net = *state;

    start(net, LONDON, 10);
    start(net, PARIS, 12);
    start(net, TOKYO, 11);
    net_join(net, PARIS, LONDON);
    net_pass(net, 1000);
    net_join(net, TOKYO, LONDON); /* london tells tokyo at once, and paris 50 ms later */
    for (int step = 0; step < 55; step++) {
        net_pass(net, 1);
        assert_int_equal(net->wires_len, linked(net, PARIS, TOKYO) ? 3 : 2);
    }
    net_pass(net, 50);
    assert_true(linked(net, PARIS, TOKYO));
    assert_int_equal(net->wires[2].ends[0].node, PARIS);
    assert_true(rusmi_core_deadline(net->nodes[TOKYO].core) == RUSMI_TIME_NEVER);
}

/* A node that takes no part is linked with whom it asked for and with nobody else. */
static void test_node_without_mesh_stays_with_its_own_links(void **state)
{
    struct net *net = *state;
    struct rusmi_core_config cfg = mesh_config(PARIS, 12, address_of(PARIS));

    cfg.mesh = false;
    start(net, LONDON, 10);
    start(net, TOKYO, 11);
    net_start_with(net, PARIS, &cfg);
    assert_int_equal(want(net, TOKYO, address_of(LONDON)), RUSM_OK);
    assert_int_equal(want(net, PARIS, address_of(LONDON)), RUSM_OK);
    net_pass(net, 10000);
    assert_true(linked(net, LONDON, TOKYO) && linked(net, LONDON, PARIS));
    assert_true(net_link(net, PARIS, "tokyo") == 0);
    tell(net, PARIS, "london", &names[TOKYO], &(uint64_t){11}, &(const char *){"10.0.0.1:1"}, 1);
    net_pass(net, 10000);
    assert_true(net_link(net, PARIS, "tokyo") == 0);
    assert_int_equal(net_stats(net, PARIS).members_refused, 1);
}

static void test_listening_everywhere_is_told_as_the_address_that_is_seen(void **state)
{
    static const struct {
        const char *says, *seen, *is;
    } cases[] = {
        {"0.0.0.0:7100", "10.1.2.3:55555", "10.1.2.3:7100"},
        {"[::]:7100", "[fe80::1%eth0]:55555", "[fe80::1%eth0]:7100"},
        {"[::]:7100", "10.1.2.3:55555", "10.1.2.3:7100"},
        {"10.9.9.9:7100", "10.1.2.3:55555", "10.9.9.9:7100"},
        {"", "10.1.2.3:55555", ""},
    };
    struct net *net = *state;
    struct rusmi_core_peer peer;

    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        struct rusmi_core_config cfg = mesh_config(PARIS, 12, cases[c].says);

        start(net, LONDON, 10);
        net_start_with(net, PARIS, &cfg);
        (void)snprintf(net->nodes[PARIS].address, sizeof(net->nodes[PARIS].address), "%s",
                       cases[c].seen);
        net_join(net, PARIS, LONDON);
        assert_true(rusmi_core_find_peer(net->nodes[LONDON].core, "paris", &peer));
        assert_string_equal(peer.listen, cases[c].is);
        net_kill(net, LONDON);
        net_kill(net, PARIS);
    }
}

/* ---- looking for the lost -------------------------------------------------------------------- */

static void test_lost_peer_is_dialed_with_back_off_for_ever(void **state)
{
    struct net *net = *state;
    uint64_t wait_ms = 100;
    rusm_time last;

    start(net, LONDON, 10);
    start(net, PARIS, 12);
    net_join(net, LONDON, PARIS);
    net_pass(net, 2000);
    crash(net, PARIS);
    assert_int_equal(net->nodes[LONDON].last_cause, RUSMI_DOWN_SILENT);
    assert_string_equal(net->nodes[LONDON].last_text, "paris: time-out, last heard 2.5 s ago");
    last = net->now;
    for (int dial = 0; dial < 14; dial++) {
        size_t before = net->wires_len;

        while (net->wires_len == before) {
            net_pass(net, 1);
            assert_true(net->now - last < MS(60000));
        }
        if (dial == 0) {
            assert_in_range(net->now - last, 0, MS(wait_ms));
        } else {
            assert_in_range(net->now - last, MS(wait_ms) / 2, MS(wait_ms) + MS(10));
            wait_ms = wait_ms * 2 < 30000 ? wait_ms * 2 : 30000;
        }
        net_post_closed(net, &net->wires[before].ends[0], RUSMI_DOWN_TRANSPORT, 0,
                        "nothing listens there");
        net_run(net);
        last = net->now;
    }
    start(net, PARIS, 120); /* it is back */
    net_pass(net, 30001);
    assert_true(linked(net, LONDON, PARIS));
    assert_int_equal(net_stats(net, LONDON).wanted, 1);
}

/* Success ends the back-off, unless the link goes down again at once. */
static void test_back_off_ends_with_a_link_that_lasts(void **state)
{
    struct net *net = *state;

    start(net, LONDON, 10);
    start(net, PARIS, 12);
    net_join(net, LONDON, PARIS);
    net_pass(net, 2000);
    for (int round = 0; round < 8; round++) { /* brief links: waits double */
        cut(net, LONDON, PARIS);
        net_pass(net, 30000);
        assert_true(linked(net, LONDON, PARIS));
    }
    net_pass(net, 5000);
    cut(net, LONDON, PARIS);
    net_pass(net, 101);
    assert_true(linked(net, LONDON, PARIS));
    for (int round = 0; round < 6; round++) {
        cut(net, LONDON, PARIS);
        while (!linked(net, LONDON, PARIS)) {
            net_pass(net, 1);
        }
    }
    cut(net, LONDON, PARIS);
    net_pass(net, 1000); /* the sixth wait in a row: at least half of 3.2 s */
    assert_false(linked(net, LONDON, PARIS));
    net_pass(net, 5000);
    assert_true(linked(net, LONDON, PARIS));
}

static void test_nobody_is_looked_for_when_that_is_switched_off(void **state)
{
    struct net *net = *state;
    struct rusmi_core_config cfg = mesh_config(LONDON, 10, address_of(LONDON));
    size_t before;

    cfg.reconnect_max_ms = 0;
    net_start_with(net, LONDON, &cfg);
    start(net, PARIS, 12);
    net_join(net, LONDON, PARIS);
    crash(net, PARIS);
    before = net->wires_len;
    net_pass(net, 100000);
    assert_int_equal(net->wires_len, before);
    assert_int_equal(net_stats(net, LONDON).wanted, 0);
}

static void test_restarted_node_elsewhere_replaces_its_past(void **state)
{
    struct net *net = *state;
    struct rusmi_core_config cfg = mesh_config(PARIS, 120, "10.0.0.2:999");
    size_t before;

    start(net, LONDON, 10);
    start(net, PARIS, 12);
    net_join(net, LONDON, PARIS);
    net_pass(net, 5000);
    crash(net, PARIS);
    net_start_with(net, PARIS, &cfg);
    assert_int_equal(want(net, PARIS, address_of(LONDON)), RUSM_OK);
    net_pass(net, 100);
    assert_true(linked(net, LONDON, PARIS));
    assert_int_equal(net_stats(net, LONDON).wanted, 1);
    crash(net, PARIS);
    before = net->wires_len;
    net_start_with(net, PARIS, &cfg);
    net_pass(net, 300);
    assert_true(linked(net, LONDON, PARIS)); /* at its new address, at the first dial */
    assert_int_equal(net->wires_len, before + 1);
}

/* Members that died one after another, under ever new names, are not looked for without end. */
static void test_lost_members_are_bounded(void **state)
{
    struct net *net = *state;

    start(net, LONDON, 10);
    for (uint64_t n = 0; n < 40; n++) {
        struct rusmi_core_config cfg = mesh_config(PARIS, 100 + n, "");
        char name[32], address[32];

        (void)snprintf(name, sizeof(name), "pod-%u", (unsigned)n);
        (void)snprintf(address, sizeof(address), "10.0.1.%u:1", (unsigned)n);
        cfg.name = name;
        cfg.address = address;
        net_start_with(net, PARIS, &cfg);
        net_join(net, PARIS, LONDON);
        crash(net, PARIS);
    }
    assert_in_range(net_stats(net, LONDON).wanted, 10, 20);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void test_leave_is_reported_and_not_redialed(void **state)
{
    struct net *net = *state;
    struct rusmi_core_event leave = {.kind = RUSMI_EVENT_LEAVE};
    size_t before;

    for (int i = 0; i < 3; i++) {
        start(net, i, 10 + (uint64_t)i);
        if (i != LONDON) {
            net_join(net, i, LONDON);
        }
    }
    net_pass(net, 2000);
    assert_int_equal(links(net), 3);
    net_event(net, LONDON, &leave);
    net_run(net);
    assert_int_equal(net->nodes[LONDON].last_cause, RUSMI_DOWN_LEFT);
    for (int i = 1; i < 3; i++) {
        assert_int_equal(net->nodes[i].downs, 1);
        assert_int_equal(net->nodes[i].last_cause, RUSMI_DOWN_LEFT);
        assert_string_equal(net->nodes[i].last_text, "london: left the cluster");
    }
    assert_int_equal(net_dial(net, LONDON, 3, address_of(PARIS), 1000), RUSM_ECLOSED);
    before = net->wires_len;
    /* Who has not heard of the leave yet tells of the node: that changes nothing. */
    tell(net, PARIS, "tokyo", &names[LONDON], &(uint64_t){10}, &(const char *){"10.0.0.0:1"}, 1);
    net_pass(net, 3600000);
    assert_int_equal(net->wires_len, before);
    /* A new one under its name is a new node. */
    net_kill(net, LONDON);
    start(net, LONDON, 100);
    tell(net, PARIS, "tokyo", &names[LONDON], &(uint64_t){100}, &(const char *){"10.0.0.0:1"}, 1);
    net_pass(net, 3100); /* it sorts first, so we leave it the first word */
    assert_true(linked(net, LONDON, PARIS));
}

/* The good-bye alone counts, however the connection ends. */
static void test_leave_counts_without_a_close(void **state)
{
    struct rusmi_frame leave = {.type = RUSMI_FRAME_LEAVE};
    struct net *net = *state;
    struct end *end, *other;
    struct rusmi_buf buf;

    start(net, LONDON, 10);
    start(net, PARIS, 12);
    net_join(net, LONDON, PARIS);
    end = net_end(net, LONDON, net_link(net, LONDON, "paris"), &other);
    rusmi_buf_init(&buf);
    assert_int_equal(rusmi_control_encode(&buf, &leave), RUSM_OK);
    (void)net_post(net, end, PARCEL_BYTES, rusmi_buf_head(&buf), buf.len);
    rusmi_buf_fini(&buf);
    net_run(net);
    assert_true(net_link(net, LONDON, "paris") != 0); /* what it sent may still be on its way */
    crash(net, PARIS);
    assert_int_equal(net->nodes[LONDON].last_cause, RUSMI_DOWN_LEFT);
}

/* What the user configured is looked for after a leave, too, but slowly. */
static void test_seed_that_left_is_found_again(void **state)
{
    struct net *net = *state;
    struct rusmi_core_event leave = {.kind = RUSMI_EVENT_LEAVE};
    size_t before;

    start(net, LONDON, 10);
    start(net, PARIS, 12);
    assert_int_equal(want(net, PARIS, address_of(LONDON)), RUSM_OK);
    net_pass(net, 2000);
    net_event(net, LONDON, &leave);
    net_run(net);
    net_kill(net, LONDON);
    before = net->wires_len;
    net_pass(net, 14000);
    assert_int_equal(net->wires_len, before);
    start(net, LONDON, 100);
    net_pass(net, 16001);
    assert_true(linked(net, LONDON, PARIS));
}

static void test_disconnected_nodes_stay_apart(void **state)
{
    struct net *net = *state;

    for (int i = 0; i < 3; i++) {
        start(net, i, 10 + (uint64_t)i);
        assert_int_equal(i == LONDON ? RUSM_OK : want(net, i, address_of(LONDON)), RUSM_OK);
    }
    net_pass(net, 2000);
    assert_int_equal(links(net), 3);
    assert_int_equal(disconnect(net, TOKYO, "paris"), RUSM_OK);
    net_run(net);
    assert_int_equal(net->nodes[PARIS].last_cause, RUSMI_DOWN_BY_PEER);
    tell(net, TOKYO, "london", &names[PARIS], &(uint64_t){12}, &(const char *){"10.0.0.2:1"}, 1);
    tell(net, PARIS, "london", &names[TOKYO], &(uint64_t){11}, &(const char *){"10.0.0.1:1"}, 1);
    net_pass(net, 3600000);
    assert_int_equal(links(net), 2);
    /* Until somebody asks for it. */
    net_join(net, PARIS, TOKYO);
    assert_int_equal(links(net), 3);
    cut(net, PARIS, TOKYO);
    net_pass(net, 1000);
    assert_int_equal(links(net), 3);
}

/* Also if one side has the other's address from its user: then only another node is let in there,
 * or that one once it is asked for again. */
static void test_disconnected_nodes_stay_apart_where_one_is_configured(void **state)
{
    struct net *net = *state;

    start(net, LONDON, 10);
    start(net, PARIS, 12);
    assert_int_equal(want(net, PARIS, address_of(LONDON)), RUSM_OK);
    net_pass(net, 2000);
    assert_int_equal(links(net), 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(disconnect(net, i == 0 ? LONDON : PARIS, i == 0 ? "paris" : "london"),
                         RUSM_OK);
        net_run(net);
        for (int minute = 0; minute < 60; minute++) {
            net_pass(net, 60000);
            assert_int_equal(links(net), 0);
        }
        assert_int_equal(want(net, PARIS, address_of(LONDON)), RUSM_OK);
        net_pass(net, 2000);
        assert_int_equal(links(net), 1);
    }
    assert_int_equal(disconnect(net, LONDON, "paris"), RUSM_OK);
    net_run(net);
    net_kill(net, LONDON);
    start(net, LONDON, 100);
    net_pass(net, 41000);
    assert_int_equal(links(net), 1);
}

static void test_disconnect_stops_looking_for_a_lost_node(void **state)
{
    struct net *net = *state;
    size_t before;

    start(net, LONDON, 10);
    start(net, PARIS, 12);
    net_join(net, LONDON, PARIS);
    crash(net, PARIS);
    net_pass(net, 150); /* in the middle of a dial */
    assert_int_equal(disconnect(net, LONDON, "paris"), RUSM_OK);
    assert_int_equal(disconnect(net, LONDON, "paris"), RUSM_ENONODE);
    assert_int_equal(net_wires_open(net), 0);
    before = net->wires_len;
    net_pass(net, 600000);
    assert_int_equal(net->wires_len, before);
    assert_true(rusmi_core_deadline(net->nodes[LONDON].core) == RUSMI_TIME_NEVER);
}

/* ---- what the user configured ---------------------------------------------------------------- */

static void test_wanted_address_is_dialed_until_it_answers(void **state)
{
    struct net *net = *state;

    start(net, LONDON, 10);
    assert_int_equal(want(net, LONDON, address_of(PARIS)), RUSM_OK);
    assert_int_equal(want(net, LONDON, address_of(LONDON)), RUSM_EINVAL);
    net_pass(net, 120000);
    start(net, PARIS, 12);
    net_pass(net, 41000);
    assert_true(linked(net, LONDON, PARIS));
    /* Two wishes, two withdrawals; the link stays. */
    assert_int_equal(want(net, LONDON, address_of(PARIS)), RUSM_OK);
    unwant(net, LONDON, address_of(PARIS));
    unwant(net, LONDON, address_of(PARIS));
    unwant(net, LONDON, address_of(PARIS));
    net_run(net);
    assert_true(linked(net, LONDON, PARIS));
}

static void test_withdrawn_wish_ends_its_dial(void **state)
{
    struct net *net = *state;

    start(net, LONDON, 10);
    assert_int_equal(want(net, LONDON, address_of(PARIS)), RUSM_OK);
    net_pass(net, 1);
    assert_int_equal(net->wires_len, 1);
    assert_true(net->wires[0].ends[0].open);
    unwant(net, LONDON, address_of(PARIS));
    assert_false(net->wires[0].ends[0].open);
    assert_int_equal(net->nodes[LONDON].last_code, RUSMI_CLOSE_ABANDONED);
    assert_true(rusmi_core_deadline(net->nodes[LONDON].core) == RUSMI_TIME_NEVER);
}

static void test_own_address_under_another_text_is_recognised(void **state)
{
    struct net *net = *state;

    start(net, LONDON, 10);
    (void)snprintf(net->nodes[LONDON].address, sizeof(net->nodes[LONDON].address), "127.0.0.1:1");
    assert_int_equal(want(net, LONDON, "127.0.0.1:1"), RUSM_OK);
    net_pass(net, 600000);
    assert_int_equal(net->wires_len, 1); /* dialed once, and never again */
    assert_int_equal(net->nodes[LONDON].ups, 0);
}

static void test_wishes_are_bounded(void **state)
{
    struct net *net = *state;
    char address[32];

    start(net, LONDON, 10);
    for (int i = 0; i < 20; i++) {
        (void)snprintf(address, sizeof(address), "10.0.3.%d:1", i);
        assert_int_equal(want(net, LONDON, address), RUSM_OK);
    }
    assert_int_equal(want(net, LONDON, "10.0.4.1:1"), RUSM_EFULL);
    assert_int_equal(want(net, LONDON, "10.0.3.1:1"), RUSM_OK);
    unwant(net, LONDON, "10.0.3.2:1");
    assert_int_equal(want(net, LONDON, "10.0.4.1:1"), RUSM_OK);
}

/* ---- lies ------------------------------------------------------------------------------------ */

#define LIES 60

static void lie(struct net *net, int i, const char *peer)
{
    static char texts[2][LIES][32];
    const char *who[LIES], *where[LIES];
    uint64_t incarnations[LIES];

    for (int n = 0; n < LIES; n++) {
        (void)snprintf(texts[0][n], sizeof(texts[0][n]), "ghost-%d", n);
        (void)snprintf(texts[1][n], sizeof(texts[1][n]), "10.0.9.%d:1", n);
        who[n] = texts[0][n];
        where[n] = texts[1][n];
        incarnations[n] = 1000 + (uint64_t)n;
    }
    tell(net, i, peer, who, incarnations, where, LIES);
}

static size_t dials_open(const struct net *net, int i)
{
    size_t open = 0;

    for (size_t w = 0; w < net->wires_len; w++) {
        open += net->wires[w].ends[0].node == i && net->wires[w].ends[0].open &&
                        net->wires[w].ends[1].node < 0
                    ? 1
                    : 0;
    }
    return open;
}

/* The network forgets wires that are over, so that a long test has room. */
static void sweep(struct net *net)
{
    size_t kept = 0;

    for (size_t w = 0; w < net->wires_len; w++) {
        assert_true(net->wires[w].ends[1].node >= 0 || net->wires[w].ends[0].first == NULL);
        if (net->wires[w].ends[1].node >= 0 || net->wires[w].ends[0].open) {
            net->wires[kept] = net->wires[w];
            for (int e = 0; e < 2; e++) {
                struct end *end = &net->wires[kept].ends[e];

                end->last = end->first == NULL ? &end->first : end->last;
            }
            kept++;
        }
    }
    net->wires_len = kept;
}

static void test_lies_are_bounded_and_end(void **state)
{
    struct net *net = *state;

    start(net, LONDON, 10);
    start(net, PARIS, 12);
    net_join(net, LONDON, PARIS);
    net_pass(net, 1000);
    lie(net, LONDON, "paris");
    assert_int_equal(net_stats(net, LONDON).wanted, 21); /* members_max, and paris itself */
    assert_int_equal(net_stats(net, LONDON).members_refused, LIES - 20);
    lie(net, LONDON, "paris");
    assert_int_equal(net_stats(net, LONDON).wanted, 21);
    for (int s = 0; s < 660; s++) {
        net_pass(net, 1000);
        assert_true(dials_open(net, LONDON) <= 8);
        sweep(net);
    }
    assert_int_equal(net_stats(net, LONDON).wanted, 1);
    assert_true(linked(net, LONDON, PARIS));
}

/* A liar that comes and goes gets no more room than one that stays. */
static void test_lies_of_peers_that_went_are_bounded(void **state)
{
    struct net *net = *state;

    start(net, LONDON, 10);
    start(net, PARIS, 12);
    net_join(net, LONDON, PARIS);
    for (int round = 0; round < 5; round++) {
        lie(net, LONDON, "paris");
        cut(net, LONDON, PARIS);
        net_join(net, LONDON, PARIS);
    }
    assert_in_range(net_stats(net, LONDON).wanted, 2, 41);
}

/* A member that claims to know where another is sends us to the wrong door, and that is all. */
static void test_lie_about_a_member_keeps_nobody_out(void **state)
{
    struct net *net = *state;

    start(net, LONDON, 10);
    start(net, PARIS, 12);
    start(net, ROME, 14);
    net_join(net, LONDON, PARIS);
    tell(net, LONDON, "paris", &names[ROME], &(uint64_t){14}, &(const char *){"10.0.9.9:1"}, 1);
    net_pass(net, 1000);
    tell(net, LONDON, "paris", &names[ROME], &(uint64_t){14}, &(const char *){"10.0.0.4:1"}, 1);
    net_pass(net, 1000);
    assert_true(linked(net, LONDON, ROME));
    net_pass(net, 20000);
    assert_int_equal(net_stats(net, LONDON).wanted, 2); /* the lie is forgotten */
}

/* ---- memory -------------------------------------------------------------------------------- */

/* Memory that runs out once, anywhere, costs time and no member. */
static void test_mesh_forms_whatever_allocation_fails(void **state)
{
    bool whole = false;

    for (size_t n = 1; !whole; n++) {
        struct net *net;

        (void)teardown(state);
        (void)setup(state);
        net = *state;
        for (int i = 0; i < 3; i++) {
            start(net, i, 10 + (uint64_t)i);
        }
        fail_at = n;
        for (int i = 1; i < 3; i++) {
            rusm_err err = want(net, i, address_of(LONDON));

            assert_true(err == RUSM_OK || err == RUSM_ENOMEM);
            if (err == RUSM_ENOMEM) {
                assert_int_equal(want(net, i, address_of(LONDON)), RUSM_OK);
            }
        }
        net_pass(net, 30000);
        assert_int_equal(links(net), 3);
        cut(net, TOKYO, PARIS);
        net_pass(net, 30000);
        assert_int_equal(links(net), 3);
        whole = fail_at != 0; /* it was not reached */
        fail_at = 0;
        assert_true(n < 1000);
    }
}

/* ---- versions -------------------------------------------------------------------------------- */

static void hello_of(struct net *net, const uint32_t *versions, size_t len, uint64_t *out_conn)
{
    static const struct rusmi_core_cert cert = {
        .cluster = "demo", .node = "tokyo", .role = RUSMI_ROLE_MEMBER};
    struct rusmi_core_event event = {.kind = RUSMI_EVENT_AUTHENTICATED};
    struct rusmi_frame frame = {.type = RUSMI_FRAME_HELLO};
    struct wire *wire = &net->wires[net->wires_len++];
    struct rusmi_buf buf;

    memset(wire, 0, sizeof(*wire));
    wire->ends[0].node = -1;
    wire->ends[1].node = LONDON;
    wire->ends[0].last = &wire->ends[0].first;
    wire->ends[1].last = &wire->ends[1].first;
    event.conn = *out_conn = wire->ends[1].conn = rusmi_core_conn_id(net->nodes[LONDON].core);
    wire->ends[1].open = true;
    event.u.authenticated.cert = &cert;
    event.u.authenticated.address = "10.7.7.7:7";
    net_event(net, LONDON, &event);
    frame.u.hello = (struct rusmi_hello){.versions_len = len,
                                         .cluster = "demo",
                                         .name = "tokyo",
                                         .incarnation = 22,
                                         .features = RUSMI_FEATURE_MESH | 1u << 30,
                                         .address = "10.7.7.7:8"};
    memcpy(frame.u.hello.versions, versions, len * sizeof(*versions));
    rusmi_buf_init(&buf);
    assert_int_equal(rusmi_control_encode(&buf, &frame), RUSM_OK);
    frame = (struct rusmi_frame){.type = RUSMI_FRAME_ACCEPT};
    assert_int_equal(rusmi_control_encode(&buf, &frame), RUSM_OK);
    event = (struct rusmi_core_event){.kind = RUSMI_EVENT_FRAMES, .conn = *out_conn};
    event.u.frames.bytes = rusmi_buf_head(&buf);
    event.u.frames.len = buf.len;
    net_event(net, LONDON, &event);
    rusmi_buf_fini(&buf);
}

static void test_highest_common_version_is_spoken(void **state)
{
    static const struct {
        uint32_t offered[3];
        size_t len;
        uint32_t spoken; /* 0: refused */
    } cases[] = {
        {{1}, 1, 1}, {{3, 2, 1}, 3, 2}, {{1, 2}, 2, 2}, {{9}, 1, 0}, {{9, 3}, 2, 0}, {{9, 1}, 2, 1},
    };
    struct net *net = *state;
    struct rusmi_core_peer peer;

    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        uint64_t conn;

        start(net, LONDON, 10);
        hello_of(net, cases[c].offered, cases[c].len, &conn);
        assert_int_equal(rusmi_core_find_peer(net->nodes[LONDON].core, "tokyo", &peer),
                         cases[c].spoken != 0);
        if (cases[c].spoken != 0) {
            assert_int_equal(peer.version, cases[c].spoken);
            assert_int_equal(peer.features, RUSMI_FEATURE_MESH | 1u << 30);
        } else {
            assert_int_equal(net->nodes[LONDON].last_code, RUSMI_CLOSE_VERSION);
        }
        net_kill(net, LONDON);
    }
    assert_string_equal(net->nodes[LONDON].last_closed, ""); /* the last case was good */
}

static void test_refusal_names_the_versions(void **state)
{
    struct net *net = *state;
    uint64_t conn;

    start(net, LONDON, 10);
    hello_of(net, (const uint32_t[]){9, 8}, 2, &conn);
    assert_string_equal(net->nodes[LONDON].last_closed,
                        "\"tokyo\" speaks protocol version 9, 8, \"london\" speaks 1 to 2");
}

/* A node of version 1 is a full member as far as version 1 goes: it is never sent what it would
 * refuse, and sends nothing that it should not know. */
static void test_version_1_is_spoken_with_old_nodes(void **state)
{
    struct net *net = *state;
    struct rusmi_core_config cfg = mesh_config(PARIS, 12, address_of(PARIS));
    struct rusmi_core_event leave = {.kind = RUSMI_EVENT_LEAVE};

    cfg.version_max = 1;
    start(net, LONDON, 10);
    start(net, TOKYO, 11);
    net_start_with(net, PARIS, &cfg);
    assert_int_equal(want(net, TOKYO, address_of(LONDON)), RUSM_OK);
    assert_int_equal(want(net, PARIS, address_of(LONDON)), RUSM_OK);
    net_pass(net, 5000);
    assert_true(linked(net, LONDON, PARIS) && linked(net, LONDON, TOKYO));
    assert_int_equal(net_register(net, LONDON, "db", 5), RUSM_OK);
    net_run(net);
    assert_string_equal(net_owner(net, PARIS, "db"), "london.5");
    assert_int_equal(net_stats(net, PARIS).protocol_errors, 0);
    /* It breaks its version if it speaks of members. */
    tell(net, LONDON, "paris", &names[TOKYO], &(uint64_t){11}, &(const char *){"10.0.0.1:1"}, 1);
    assert_int_equal(net->nodes[LONDON].last_code, RUSMI_CLOSE_PROTOCOL);
    net_pass(net, 40000);
    assert_true(linked(net, LONDON, PARIS));
    net_event(net, LONDON, &leave);
    net_run(net);
    assert_int_equal(net->nodes[PARIS].last_cause, RUSMI_DOWN_BY_PEER);
    assert_int_equal(net->nodes[TOKYO].last_cause, RUSMI_DOWN_LEFT);
    assert_int_equal(net_stats(net, PARIS).protocol_errors, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_joining_one_member_joins_all),
        TEST(test_late_member_is_told_of_everybody_and_everybody_of_it),
        TEST(test_one_of_two_dials_first),
        TEST(test_node_without_mesh_stays_with_its_own_links),
        TEST(test_listening_everywhere_is_told_as_the_address_that_is_seen),
        TEST(test_lost_peer_is_dialed_with_back_off_for_ever),
        TEST(test_back_off_ends_with_a_link_that_lasts),
        TEST(test_nobody_is_looked_for_when_that_is_switched_off),
        TEST(test_restarted_node_elsewhere_replaces_its_past),
        TEST(test_lost_members_are_bounded),
        TEST(test_leave_is_reported_and_not_redialed),
        TEST(test_leave_counts_without_a_close),
        TEST(test_seed_that_left_is_found_again),
        TEST(test_disconnected_nodes_stay_apart),
        TEST(test_disconnected_nodes_stay_apart_where_one_is_configured),
        TEST(test_disconnect_stops_looking_for_a_lost_node),
        TEST(test_wanted_address_is_dialed_until_it_answers),
        TEST(test_withdrawn_wish_ends_its_dial),
        TEST(test_own_address_under_another_text_is_recognised),
        TEST(test_wishes_are_bounded),
        TEST(test_lies_are_bounded_and_end),
        TEST(test_lies_of_peers_that_went_are_bounded),
        TEST(test_lie_about_a_member_keeps_nobody_out),
        TEST(test_mesh_forms_whatever_allocation_fails),
        TEST(test_highest_common_version_is_spoken),
        TEST(test_refusal_names_the_versions),
        TEST(test_version_1_is_spoken_with_old_nodes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
