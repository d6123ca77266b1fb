/* SPDX-License-Identifier: MIT */
/* Links: who gets one, which one stays, how they end. Several cores on a network in the test. */
#include "cluster/core_net_test.h"

#define LONDON 0
#define TOKYO  1
#define PARIS  2

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

static void assert_linked(struct net *net, int i, int j, const char *name_i, const char *name_j)
{
    struct end *end, *other;
    uint64_t conn = net_link(net, i, name_j);

    assert_true(conn != 0);
    end = net_end(net, i, conn, &other);
    assert_int_equal(end->node, i);
    assert_int_equal(other->node, j);
    assert_true(other->conn == net_link(net, j, name_i)); /* the same wire at both ends */
}

static void test_connect_links_both_sides(void **state)
{
    struct net *net = *state;
    struct rusmi_core_peer peer;

    net_start(net, LONDON, "london", 11);
    net_start(net, TOKYO, "tokyo", 22);
    net_join(net, TOKYO, LONDON);
    assert_int_equal(net->nodes[TOKYO].dials[0].times, 1);
    assert_string_equal(net->nodes[TOKYO].dials[0].peer, "london");
    assert_linked(net, LONDON, TOKYO, "london", "tokyo");
    assert_true(rusmi_core_find_incarnation(net->nodes[LONDON].core, 22, &peer));
    assert_string_equal(peer.name, "tokyo");
    assert_string_equal(peer.listen, "10.0.0.1:1");
    assert_false(peer.dialed);
    assert_int_equal(net->nodes[LONDON].ups, 1);
    assert_int_equal(net->nodes[TOKYO].ups, 1);
    /* Nothing is left that could fire. */
    assert_true(rusmi_core_deadline(net->nodes[LONDON].core) == RUSMI_TIME_NEVER);
    assert_true(rusmi_core_deadline(net->nodes[TOKYO].core) == RUSMI_TIME_NEVER);
}

/* A second dial to an address with a link answers at once, without another handshake. */
static void test_dial_to_a_linked_address_is_done_at_once(void **state)
{
    struct net *net = *state;

    net_start(net, LONDON, "london", 11);
    net_start(net, TOKYO, "tokyo", 22);
    net_join(net, TOKYO, LONDON);
    assert_int_equal(net_dial(net, TOKYO, 1, "10.0.0.0:1", 100), RUSM_OK);
    assert_int_equal(net->nodes[TOKYO].dials[1].times, 1);
    assert_string_equal(net->nodes[TOKYO].dials[1].peer, "london");
    assert_int_equal(net->wires_len, 1);
}

static void test_dials_to_one_address_share_a_conn(void **state)
{
    struct net *net = *state;

    net_start(net, LONDON, "london", 11);
    net_start(net, TOKYO, "tokyo", 22);
    for (uint64_t ref = 0; ref < 20; ref++) {
        assert_int_equal(net_dial(net, TOKYO, ref, "10.0.0.0:1", 1000), RUSM_OK);
    }
    assert_int_equal(net->wires_len, 1);
    net_run(net);
    for (uint64_t ref = 0; ref < 20; ref++) {
        assert_int_equal(net->nodes[TOKYO].dials[ref].times, 1);
        assert_int_equal(net->nodes[TOKYO].dials[ref].err, RUSM_OK);
    }
}

/* A list of choices, walked through like an odometer. */
struct odometer {
    size_t choice[64], options[64], place, len;
};

static size_t odometer_choose(void *arg, size_t options)
{
    struct odometer *odometer = arg;
    size_t place = odometer->place++;

    assert_true(place < 64);
    if (place == odometer->len) {
        odometer->choice[odometer->len++] = 0;
    }
    odometer->options[place] = options;
    return odometer->choice[place];
}

/* The next list; false after the last. */
static bool odometer_next(struct odometer *odometer)
{
    odometer->len = odometer->place;
    odometer->place = 0;
    while (odometer->len > 0) {
        if (++odometer->choice[odometer->len - 1] < odometer->options[odometer->len - 1]) {
            return true;
        }
        odometer->len--;
    }
    return false;
}

static void check_one_link(struct net *net)
{
    for (int i = LONDON; i <= TOKYO; i++) {
        assert_int_equal(net->nodes[i].dials[0].times, 1);
        assert_int_equal(net->nodes[i].dials[0].err, RUSM_OK);
        assert_int_equal(net->nodes[i].ups, 1); /* so no link ever came up and lost */
        assert_int_equal(net->nodes[i].downs, 0);
        assert_int_equal(net_stats(net, i).peers, 1);
    }
    assert_linked(net, LONDON, TOKYO, "london", "tokyo");
    assert_int_equal(net_wires_open(net), 1);
}

/* Both dial at once: in every order of delivery one link comes up, the same on both sides, no other
 * was ever up, and both dials succeed. */
static void test_simultaneous_dials_in_every_order(void **state)
{
    struct net *net = *state;
    struct odometer odometer = {.len = 0};
    unsigned long runs = 0;

    do {
        net_fini(net);
        net_init(net);
        net_start(net, LONDON, "london", 11);
        net_start(net, TOKYO, "tokyo", 22);
        net->choose = odometer_choose;
        net->choose_arg = &odometer;
        assert_int_equal(net_dial(net, LONDON, 0, "10.0.0.1:1", 3000), RUSM_OK);
        assert_int_equal(net_dial(net, TOKYO, 0, "10.0.0.0:1", 3000), RUSM_OK);
        net_run(net);
        check_one_link(net);
        runs++;
    } while (odometer_next(&odometer));
    assert_true(runs > 1000);
}

static size_t choose_by_seed(void *arg, size_t options)
{
    return (size_t)rusmi_prng_below(arg, options);
}

/* Several dials each way between three nodes, in random orders. */
static void test_many_simultaneous_dials_by_seed(void **state)
{
    struct net *net = *state;

    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct rusmi_prng prng;

        rusmi_prng_init(&prng, seed);
        net_fini(net);
        net_init(net);
        net_start(net, LONDON, "london", 11);
        net_start(net, TOKYO, "tokyo", 22);
        net_start(net, PARIS, "paris", 33);
        net->choose = choose_by_seed;
        net->choose_arg = &prng;
        for (uint64_t ref = 0; ref < 30; ref++) {
            int i = (int)(ref % 3), j = (i + 1 + (int)(ref / 3 % 2)) % 3;

            assert_int_equal(net_dial(net, i, ref, net->nodes[j].address, 3000), RUSM_OK);
            for (uint64_t steps = rusmi_prng_below(&prng, 4); steps > 0; steps--) {
                (void)net_step(net);
            }
        }
        net_run(net);
        for (uint64_t ref = 0; ref < 30; ref++) {
            assert_int_equal(net->nodes[ref % 3].dials[ref].times, 1);
            assert_int_equal(net->nodes[ref % 3].dials[ref].err, RUSM_OK);
        }
        assert_linked(net, LONDON, TOKYO, "london", "tokyo");
        assert_linked(net, LONDON, PARIS, "london", "paris");
        assert_linked(net, PARIS, TOKYO, "paris", "tokyo");
        assert_int_equal(net_wires_open(net), 3);
        assert_int_equal(
            net->nodes[LONDON].downs + net->nodes[TOKYO].downs + net->nodes[PARIS].downs, 0);
    }
}

/* The close of a losing conn may overtake its hello (they are different streams): who it led to is
 * not known then, and the address is dialed again, not for ever. */
static void test_duplicate_without_a_winner_is_dialed_again(void **state)
{
    struct net *net = *state;

    net_start(net, LONDON, "london", 11);
    assert_int_equal(net_dial(net, LONDON, 0, "10.0.0.9:1", 5000), RUSM_OK);
    for (size_t tries = 1; tries <= 3; tries++) {
        assert_int_equal(net->wires_len, tries);
        assert_int_equal(net->nodes[LONDON].dials[0].times, 0);
        net_post_closed(net, &net->wires[tries - 1].ends[0], RUSMI_DOWN_BY_PEER,
                        RUSMI_CLOSE_DUPLICATE, "");
        net_run(net);
    }
    assert_int_equal(net->wires_len, 3);
    assert_int_equal(net->nodes[LONDON].dials[0].times, 1);
    assert_int_equal(net->nodes[LONDON].dials[0].err, RUSM_ENOLINK);
}

/* The loser is closed before `ready` comes on the winner: its dial waits there. */
static void test_dial_moves_to_the_conn_that_wins(void **state)
{
    struct net *net = *state;
    struct end *loser = &net->wires[0].ends[0];

    net_start(net, LONDON, "london", 11);
    net_start(net, TOKYO, "tokyo", 22);
    assert_int_equal(net_dial(net, TOKYO, 0, "10.0.0.0:1", 3000), RUSM_OK);
    assert_int_equal(net_dial(net, LONDON, 0, "10.0.0.1:1", 3000), RUSM_OK);
    for (int w = 0; w < 2; w++) {
        net_deliver(net, &net->wires[w], 0);
        net_deliver(net, &net->wires[w], 1);
        net_deliver(net, &net->wires[w], w); /* tokyo hears the hello, and accepts */
    }
    net_free_parcels(loser);
    net_free_parcels(&net->wires[0].ends[1]);
    net_post_closed(net, loser, RUSMI_DOWN_BY_PEER, RUSMI_CLOSE_DUPLICATE, "");
    net_deliver(net, &net->wires[0], 0);
    assert_int_equal(net->nodes[TOKYO].dials[0].times, 0);
    net_run(net);
    assert_int_equal(net->nodes[TOKYO].dials[0].times, 1);
    assert_int_equal(net->nodes[TOKYO].dials[0].err, RUSM_OK);
    assert_int_equal(net->wires_len, 2); /* it did not dial again */
    assert_linked(net, LONDON, TOKYO, "london", "tokyo");
}

/* Kill one node and start it again under its name; `i` dies, `j` stays. */
static void restart(struct net *net, int i, int j, const char *name_i, const char *name_j)
{
    net_start(net, LONDON, "london", 11);
    net_start(net, TOKYO, "tokyo", 22);
    net_join(net, i, j);
    assert_int_equal(net_register(net, i, "service", 5), RUSM_OK);
    net_run(net);
    net_kill(net, i);
    net_start(net, i, name_i, 99);
    assert_int_equal(net_dial(net, i, 0, net->nodes[j].address, 3000), RUSM_OK);
    net_run(net);
    /* The old link was asked and is silent; until its time is up nothing changes. */
    assert_int_equal(net->nodes[i].dials[0].times, 0);
    assert_int_equal(net->nodes[j].downs, 0);
    net_pass(net, 499);
    assert_int_equal(net->nodes[i].dials[0].times, 0);
    net_pass(net, 2);
    assert_int_equal(net->nodes[i].dials[0].times, 1);
    assert_int_equal(net->nodes[i].dials[0].err, RUSM_OK);
    assert_int_equal(net->nodes[j].downs, 1);
    assert_int_equal(net->nodes[j].last_cause, RUSMI_DOWN_REPLACED);
    assert_int_equal(net->nodes[j].ups, 2);
    assert_string_equal(net_owner(net, j, "service"), "");
    assert_linked(net, i, j, name_i, name_j);
}

static void test_restart_replaces_the_silent_past_when_we_decide(void **state)
{
    restart(*state, TOKYO, LONDON, "tokyo", "london");
}

static void test_restart_replaces_the_silent_past_when_the_peer_decides(void **state)
{
    restart(*state, LONDON, TOKYO, "london", "tokyo");
}

/* Two holders of one name at once: the first keeps it, whichever side decides. */
static void second_holder(struct net *net, const char *name, const char *other)
{
    net_start(net, LONDON, name, 11);
    net_start(net, TOKYO, other, 22);
    net_start(net, PARIS, name, 33);
    net_join(net, LONDON, TOKYO);
    assert_int_equal(net_dial(net, PARIS, 0, "10.0.0.1:1", 3000), RUSM_OK);
    net_run(net);
    assert_int_equal(net->nodes[PARIS].dials[0].times, 1);
    assert_int_equal(net->nodes[PARIS].dials[0].err, RUSM_EREFUSED);
    assert_non_null(strstr(net->nodes[PARIS].dials[0].text, "incarnation b)"));
    assert_int_equal(net->nodes[PARIS].ups, 0);
    assert_int_equal(net->nodes[TOKYO].downs, 0);
    assert_int_equal(net_stats(net, TOKYO).refused_duplicate, 1);
    assert_linked(net, LONDON, TOKYO, name, other);
}

static void test_second_holder_is_refused_when_we_decide(void **state)
{
    second_holder(*state, "paris", "berlin");
}

static void test_second_holder_is_refused_when_the_peer_decides(void **state)
{
    second_holder(*state, "berlin", "paris");
}

/* A third holder waits behind the second, which replaces the first: it asks again. */
static void test_probing_goes_on_with_whoever_took_the_name(void **state)
{
    struct net *net = *state;

    net_start(net, LONDON, "london", 11);
    net_start(net, TOKYO, "tokyo", 22);
    net_join(net, TOKYO, LONDON);
    net_kill(net, TOKYO);
    net_start(net, TOKYO, "tokyo", 23);
    net_start(net, PARIS, "tokyo", 24);
    assert_int_equal(net_dial(net, TOKYO, 0, "10.0.0.0:1", 3000), RUSM_OK);
    net_pass(net, 100);
    assert_int_equal(net_dial(net, PARIS, 0, "10.0.0.0:1", 3000), RUSM_OK);
    net_pass(net, 1000);
    assert_int_equal(net->nodes[TOKYO].dials[0].err, RUSM_OK);
    assert_int_equal(net->nodes[TOKYO].dials[0].times, 1);
    assert_int_equal(net->nodes[PARIS].dials[0].err, RUSM_EREFUSED);
    assert_int_equal(net->nodes[LONDON].ups, 2);
}

/* The side that does not decide has lost the link and dials again: the decider lets the new link
 * in once the old one gives no sign of life, and its peer follows. */
static void test_redial_after_one_side_lost_the_link(void **state)
{
    struct net *net = *state;
    struct rusmi_core_event lost = {.kind = RUSMI_EVENT_CLOSED};
    struct end *end, *other;

    net_start(net, LONDON, "london", 11);
    net_start(net, TOKYO, "tokyo", 22);
    net_join(net, TOKYO, LONDON);
    for (int turn = 0; turn < 2; turn++) {
        int loser = turn == 0 ? TOKYO : LONDON, keeper = 1 - loser;

        lost.conn = net_link(net, loser, turn == 0 ? "london" : "tokyo");
        lost.u.closed.cause = RUSMI_DOWN_SILENT;
        end = net_end(net, loser, lost.conn, &other);
        end->open = false;
        net_event(net, loser, &lost);
        assert_int_equal(net_dial(net, loser, 1, net->nodes[keeper].address, 3000), RUSM_OK);
        net_pass(net, 1000);
        assert_int_equal(net->nodes[loser].dials[1].times, 1);
        assert_int_equal(net->nodes[loser].dials[1].err, RUSM_OK);
        assert_int_equal(net->nodes[keeper].last_cause, RUSMI_DOWN_REPLACED);
        assert_linked(net, LONDON, TOKYO, "london", "tokyo");
        assert_int_equal(net_wires_open(net), 1);
    }
}

static void test_dial_to_oneself_is_refused(void **state)
{
    struct net *net = *state;

    net_start(net, LONDON, "london", 11);
    assert_int_equal(net_dial(net, LONDON, 0, "10.0.0.0:1", 1000), RUSM_EINVAL);
    assert_int_equal(net->nodes[LONDON].dials[0].times, 0);
    /* By another address that leads here too. */
    (void)snprintf(net->nodes[LONDON].address, 32, "10.9.9.9:1");
    assert_int_equal(net_dial(net, LONDON, 1, "10.9.9.9:1", 1000), RUSM_OK);
    net_run(net);
    assert_int_equal(net->nodes[LONDON].dials[1].times, 1);
    assert_int_equal(net->nodes[LONDON].dials[1].err, RUSM_EINVAL);
    assert_non_null(strstr(net->nodes[LONDON].dials[1].text, "itself"));
    assert_int_equal(net->nodes[LONDON].ups, 0);
    assert_int_equal(net_wires_open(net), 0);
}

static void test_dial_that_nobody_answers_times_out(void **state)
{
    struct net *net = *state;

    net_start(net, LONDON, "london", 11);
    assert_int_equal(net_dial(net, LONDON, 0, "10.0.0.9:1", 1000), RUSM_OK);
    assert_int_equal(net_dial(net, LONDON, 1, "10.0.0.9:1", 2000), RUSM_OK);
    net_pass(net, 1500);
    assert_int_equal(net->nodes[LONDON].dials[0].err, RUSM_ETIMEOUT);
    assert_string_equal(net->nodes[LONDON].dials[0].text, "10.0.0.9:1 did not answer in time");
    assert_int_equal(net->nodes[LONDON].dials[1].times, 0);
    assert_true(net->wires[0].ends[0].open);
    net_pass(net, 1000);
    assert_int_equal(net->nodes[LONDON].dials[1].err, RUSM_ETIMEOUT);
    assert_false(net->wires[0].ends[0].open); /* nobody waits any more */
    assert_int_equal(net->nodes[LONDON].last_code, RUSMI_CLOSE_ABANDONED);
}

/* A handshake that fails below tells the dialer why. */
static void test_transport_error_reaches_the_dialer(void **state)
{
    struct net *net = *state;
    struct rusmi_core_event lost = {.kind = RUSMI_EVENT_CLOSED};

    net_start(net, LONDON, "london", 11);
    assert_int_equal(net_dial(net, LONDON, 0, "10.0.0.9:1", 1000), RUSM_OK);
    lost.conn = net->wires[0].ends[0].conn;
    lost.u.closed.cause = RUSMI_DOWN_TLS;
    lost.u.closed.err = RUSM_EAUTH;
    lost.u.closed.text = "the certificate has expired";
    net->wires[0].ends[0].open = false;
    net_event(net, LONDON, &lost);
    assert_int_equal(net->nodes[LONDON].dials[0].err, RUSM_EAUTH);
    assert_string_equal(net->nodes[LONDON].dials[0].text,
                        "10.0.0.9:1: the certificate has expired");
}

struct refusal {
    const char *cluster, *name, *cert_cluster, *cert_name;
    enum rusmi_role role;
    bool shared;
    rusm_err err;
    enum rusmi_close_code code;
    const char *text; /* part of what the refused side is told */
};

/* Tokyo says and proves things that do not fit; london refuses each in its own words. */
static void test_refused_identities(void **state)
{
    static const struct refusal cases[] = {
        {"demo", "tokyo", "demo", "osaka", 0, false, RUSM_EAUTH, RUSMI_CLOSE_NAME,
         "the hello says \"tokyo\", the certificate is for \"osaka\""},
        {"prod", "tokyo", "demo", "tokyo", 0, false, RUSM_EAUTH, RUSMI_CLOSE_CLUSTER,
         "the hello is for cluster \"prod\", this is cluster \"demo\""},
        {"prod", "tokyo", "demo", "*", 0, true, RUSM_EAUTH, RUSMI_CLOSE_CLUSTER,
         "the hello is for cluster \"prod\", this is cluster \"demo\""},
        {"demo", "tokyo", "prod", "tokyo", 0, false, RUSM_EAUTH, RUSMI_CLOSE_CLUSTER,
         "the certificate is for cluster \"prod\", this is cluster \"demo\""},
        {"demo", "london", "demo", "london", 0, false, RUSM_EREFUSED, RUSMI_CLOSE_DUPLICATE_NAME,
         "\"london\" is the name of both nodes (incarnations 16 and b)"},
    };
    struct net *net = *state;

    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        struct rusmi_core_config cfg =
            net_config(cases[c].name, 22, RUSMI_ROLE_MEMBER, "10.0.0.1:1");

        net_fini(net);
        net_init(net);
        net_start(net, LONDON, "london", 11);
        cfg.cluster = cases[c].cluster;
        net_start_with(net, TOKYO, &cfg);
        if (cases[c].code == RUSMI_CLOSE_CLUSTER) {
            /* london's certificate must not be what makes tokyo refuse first */
            (void)strcpy(net->nodes[LONDON].cert.cluster, cases[c].cluster);
        }
        (void)strcpy(net->nodes[TOKYO].cert.cluster, cases[c].cert_cluster);
        (void)strcpy(net->nodes[TOKYO].cert.node, cases[c].cert_name);
        net->nodes[TOKYO].cert.shared = cases[c].shared;
        net->nodes[TOKYO].cert.role = cases[c].role;
        assert_int_equal(net_dial(net, TOKYO, 0, "10.0.0.0:1", 1000), RUSM_OK);
        /* london hears first, so that it is london who refuses */
        net->wires[0].ends[0].deaf = true;
        (void)net_step(net);
        net->wires[0].ends[0].deaf = false;
        (void)net_step(net);
        net->wires[0].ends[0].deaf = true;
        net_run(net);
        net->wires[0].ends[0].deaf = false;
        assert_int_equal(net->nodes[LONDON].last_code, cases[c].code);
        assert_string_equal(net->nodes[LONDON].last_closed, cases[c].text);
        net_run(net);
        assert_int_equal(net->nodes[TOKYO].dials[0].times, 1);
        assert_int_equal(net->nodes[TOKYO].dials[0].err, cases[c].err);
        assert_int_equal(net->nodes[LONDON].ups + net->nodes[TOKYO].ups, 0);
        assert_int_equal(
            net_stats(net, LONDON).refused_auth + net_stats(net, LONDON).refused_duplicate, 1);
    }
}

static void test_shared_identity_may_claim_any_name(void **state)
{
    struct net *net = *state;

    net_start(net, LONDON, "london", 11);
    net_start(net, TOKYO, "tokyo", 22);
    for (int i = LONDON; i <= TOKYO; i++) {
        (void)strcpy(net->nodes[i].cert.node, "*");
        net->nodes[i].cert.shared = true;
    }
    net_join(net, LONDON, TOKYO);
    assert_linked(net, LONDON, TOKYO, "london", "tokyo");
}

static void start_operator(struct net *net, int node, uint64_t incarnation)
{
    struct rusmi_core_config cfg = net_config("ops", incarnation, RUSMI_ROLE_OPERATOR, "");

    net_start_with(net, node, &cfg);
    net->nodes[node].cert.role = RUSMI_ROLE_OPERATOR;
}

/* Else its messages and signals would come from the member's processes. */
static void test_operator_with_the_incarnation_of_a_member_is_refused(void **state)
{
    struct net *net = *state;

    net_start(net, LONDON, "london", 11);
    net_start(net, TOKYO, "tokyo", 22);
    start_operator(net, PARIS, 22);
    net_join(net, TOKYO, LONDON);
    assert_int_equal(net_dial(net, PARIS, 0, "10.0.0.0:1", 1000), RUSM_OK);
    net_run(net);
    assert_int_equal(net->nodes[PARIS].dials[0].err, RUSM_EREFUSED);
    assert_int_equal(net->nodes[LONDON].last_code, RUSMI_CLOSE_INCARNATION);
    assert_true(net_link(net, LONDON, "tokyo") != 0);
}

static void test_operator_goes_when_a_member_has_its_incarnation(void **state)
{
    struct net *net = *state;

    net_start(net, LONDON, "london", 11);
    net_start(net, TOKYO, "tokyo", 22);
    start_operator(net, PARIS, 22);
    assert_int_equal(net_dial(net, PARIS, 0, "10.0.0.0:1", 1000), RUSM_OK);
    net_run(net);
    assert_int_equal(net->nodes[PARIS].dials[0].err, RUSM_OK);
    assert_int_equal(net_stats(net, LONDON).hidden, 1);
    net_join(net, TOKYO, LONDON);
    assert_int_equal(net_stats(net, LONDON).hidden, 0);
    assert_int_equal(net->nodes[LONDON].last_code, RUSMI_CLOSE_INCARNATION);
}

static void test_incarnation_of_another_node_is_refused(void **state)
{
    struct net *net = *state;

    net_start(net, LONDON, "london", 11);
    net_start(net, TOKYO, "tokyo", 22);
    net_start(net, PARIS, "paris", 22);
    net_join(net, TOKYO, LONDON);
    assert_int_equal(net_dial(net, PARIS, 0, "10.0.0.0:1", 1000), RUSM_OK);
    net_run(net);
    assert_int_equal(net->nodes[PARIS].dials[0].err, RUSM_EREFUSED);
    assert_int_equal(net->nodes[LONDON].last_code, RUSMI_CLOSE_INCARNATION);
    assert_true(net_link(net, LONDON, "tokyo") != 0);
}

/* Send raw bytes to london as a peer that has authenticated, and see how london ends the conn. */
static uint64_t raw_conn_of(struct net *net, const char *node)
{
    struct rusmi_core_cert cert = {.cluster = "demo"};
    struct rusmi_core_event event = {.kind = RUSMI_EVENT_AUTHENTICATED};
    struct wire *wire = &net->wires[net->wires_len++];

    memset(wire, 0, sizeof(*wire));
    (void)snprintf(cert.node, sizeof(cert.node), "%s", node);
    event.conn = rusmi_core_conn_id(net->nodes[LONDON].core);
    event.u.authenticated.cert = &cert;
    event.u.authenticated.address = "10.0.0.66:1";
    for (int e = 0; e < 2; e++) {
        wire->ends[e].node = e == 0 ? PARIS : LONDON;
        wire->ends[e].last = &wire->ends[e].first;
    }
    wire->ends[1].conn = event.conn;
    wire->ends[1].open = true;
    net_event(net, LONDON, &event);
    return event.conn;
}

static uint64_t raw_conn(struct net *net)
{
    return raw_conn_of(net, "tokyo");
}

static void raw_bytes(struct net *net, uint64_t conn, const void *bytes, size_t len)
{
    struct rusmi_core_event event = {.kind = RUSMI_EVENT_FRAMES, .conn = conn};

    event.u.frames.bytes = bytes;
    event.u.frames.len = len;
    net_event(net, LONDON, &event);
}

static void raw_frame(struct net *net, uint64_t conn, const struct rusmi_frame *frame)
{
    struct rusmi_buf buf;

    rusmi_buf_init(&buf);
    assert_int_equal(rusmi_control_encode(&buf, frame), RUSM_OK);
    raw_bytes(net, conn, rusmi_buf_head(&buf), buf.len);
    rusmi_buf_fini(&buf);
}

static void raw_hello(struct net *net, uint64_t conn, uint32_t version)
{
    struct rusmi_frame hello = {.type = RUSMI_FRAME_HELLO};

    hello.u.hello = (struct rusmi_hello){.versions = {version},
                                         .versions_len = 1,
                                         .cluster = "demo",
                                         .name = "tokyo",
                                         .incarnation = 22};
    raw_frame(net, conn, &hello);
}

static bool raw_open(struct net *net, uint64_t conn)
{
    struct end *other;

    return net_end(net, LONDON, conn, &other)->open;
}

static void test_broken_frames_close_only_their_link(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {
        {"garbage, not frames", 19},
        {"\x00\x01\x00\x01", 4},
        {"\x00\x00\x00\x00", 4},
        {"\xff\xff\xff\xff", 4},
        {"\x00\x00\x00\x03\xa1\x00\x02", 7},
        {"\x00\x00\x00\x04\xa1\x00\x18\x3f", 8},
        {"\x00\x00\x00\x02\xa1\x00", 6},
    };
    struct net *net = *state;

    net_start(net, LONDON, "london", 11);
    net_start(net, PARIS, "paris", 33);
    net_join(net, PARIS, LONDON);
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        for (int up = 0; up < 2; up++) {
            uint64_t conn = raw_conn(net);

            if (up == 1) {
                struct rusmi_frame accept = {.type = RUSMI_FRAME_ACCEPT};

                raw_hello(net, conn, 1);
                raw_frame(net, conn, &accept);
                assert_true(net_link(net, LONDON, "tokyo") != 0);
            }
            raw_bytes(net, conn, cases[c].bytes, cases[c].len);
            assert_false(raw_open(net, conn));
            assert_int_equal(net->nodes[LONDON].last_code, RUSMI_CLOSE_PROTOCOL);
            assert_true(net_link(net, LONDON, "tokyo") == 0);
            assert_true(net_link(net, LONDON, "paris") != 0);
        }
    }
    assert_int_equal(net_stats(net, LONDON).protocol_errors, 14);
}

/* A frame that never ends waits, costs the hello time, and then its link. */
static void test_unfinished_or_missing_hello_times_out(void **state)
{
    struct net *net = *state;
    uint64_t silent, unfinished, unaccepted;

    net_start(net, LONDON, "london", 11);
    silent = raw_conn(net);
    unfinished = raw_conn(net);
    raw_bytes(net, unfinished, "\x00\x00\x01\x00\xa8\x00\x01", 7);
    unaccepted = raw_conn(net);
    raw_hello(net, unaccepted, 1);
    net_pass(net, 4999);
    assert_true(raw_open(net, silent) && raw_open(net, unfinished) && raw_open(net, unaccepted));
    net_pass(net, 2);
    assert_false(raw_open(net, silent) || raw_open(net, unfinished) || raw_open(net, unaccepted));
    assert_int_equal(net->nodes[LONDON].last_code, RUSMI_CLOSE_HELLO);
    assert_int_equal(net_stats(net, LONDON).timeouts, 3);
}

static void test_no_common_version_is_refused(void **state)
{
    struct net *net = *state;
    uint64_t conn;

    net_start(net, LONDON, "london", 11);
    conn = raw_conn(net);
    raw_hello(net, conn, 3);
    assert_int_equal(net->nodes[LONDON].last_code, RUSMI_CLOSE_VERSION);
    assert_string_equal(net->nodes[LONDON].last_closed,
                        "\"tokyo\" speaks protocol version 3, \"london\" speaks 1 to 2");
}

/* Frames that are fine in themselves, at a wrong moment. */
static void test_frames_out_of_turn_are_refused(void **state)
{
    struct rusmi_frame ping = {.type = RUSMI_FRAME_PING}, ready = {.type = RUSMI_FRAME_READY};
    struct rusmi_frame accept = {.type = RUSMI_FRAME_ACCEPT};
    struct rusmi_frame flow = {.type = RUSMI_FRAME_FLOW};
    struct net *net = *state;
    uint64_t conn;

    flow.u.flow.serial = 1;
    net_start(net, LONDON, "london", 11);
    conn = raw_conn(net); /* something before the hello */
    raw_frame(net, conn, &ping);
    assert_false(raw_open(net, conn));
    conn = raw_conn(net); /* a second hello */
    raw_hello(net, conn, 1);
    raw_hello(net, conn, 1);
    assert_false(raw_open(net, conn));
    conn = raw_conn(net); /* ready from the side that does not decide */
    raw_hello(net, conn, 1);
    raw_frame(net, conn, &ready);
    assert_false(raw_open(net, conn));
    conn = raw_conn(net); /* use before the link is up */
    raw_hello(net, conn, 1);
    raw_frame(net, conn, &flow);
    assert_false(raw_open(net, conn));
    conn = raw_conn(net); /* accept twice */
    raw_hello(net, conn, 1);
    raw_frame(net, conn, &accept);
    raw_frame(net, conn, &flow);
    assert_true(raw_open(net, conn));
    assert_int_equal(net->nodes[LONDON].flow->flow->serial, 1);
    raw_frame(net, conn, &accept);
    assert_false(raw_open(net, conn));
    assert_int_equal(net_stats(net, LONDON).protocol_errors, 5);
}

static void test_extension_frames_are_ignored_and_counted(void **state)
{
    struct rusmi_frame accept = {.type = RUSMI_FRAME_ACCEPT}, extension = {.type = 64};
    struct net *net = *state;
    uint64_t conn;

    net_start(net, LONDON, "london", 11);
    conn = raw_conn(net);
    raw_hello(net, conn, 1);
    raw_frame(net, conn, &extension);
    raw_frame(net, conn, &accept);
    raw_frame(net, conn, &extension);
    assert_true(net_link(net, LONDON, "tokyo") == conn);
    assert_int_equal(net_stats(net, LONDON).frames_ignored, 2);
}

static void test_disconnect_takes_both_sides_down(void **state)
{
    struct net *net = *state;
    struct rusmi_actions actions;

    rusmi_actions_init(&actions);
    net_start(net, LONDON, "london", 11);
    net_start(net, TOKYO, "tokyo", 22);
    net_join(net, TOKYO, LONDON);
    assert_int_equal(rusmi_core_disconnect(net->nodes[TOKYO].core, "paris", net->now, &actions),
                     RUSM_ENONODE);
    assert_int_equal(rusmi_core_disconnect(net->nodes[TOKYO].core, "london", net->now, &actions),
                     RUSM_OK);
    net_act(net, TOKYO, &actions);
    assert_int_equal(net->nodes[TOKYO].last_cause, RUSMI_DOWN_DISCONNECTED);
    net_run(net);
    assert_int_equal(net->nodes[LONDON].downs, 1);
    assert_int_equal(net->nodes[LONDON].last_cause, RUSMI_DOWN_BY_PEER);
    assert_string_equal(net->nodes[LONDON].last_text,
                        "tokyo closed the link: \"tokyo\" was asked to close the link");
    net_join(net, TOKYO, LONDON);
    assert_linked(net, LONDON, TOKYO, "london", "tokyo");
}

/* What a peer gives as a reason is shown only if it can be shown safely. */
static void test_reason_of_a_peer_is_checked(void **state)
{
    struct net *net = *state;
    struct rusmi_core_event lost = {.kind = RUSMI_EVENT_CLOSED};

    net_start(net, LONDON, "london", 11);
    net_start(net, TOKYO, "tokyo", 22);
    net_join(net, TOKYO, LONDON);
    lost.conn = net_link(net, LONDON, "tokyo");
    lost.u.closed.cause = RUSMI_DOWN_BY_PEER;
    lost.u.closed.text = "\x1b[2J";
    net_event(net, LONDON, &lost);
    assert_string_equal(net->nodes[LONDON].last_text, "tokyo closed the link: closed by the peer");
    assert_string_equal(rusmi_down_cause_text(RUSMI_DOWN_SILENT), "time-out");
}

static void test_peers_max_refuses_further_links(void **state)
{
    struct net *net = *state;
    struct rusmi_core_config cfg = net_config("london", 11, RUSMI_ROLE_MEMBER, "10.0.0.0:1");

    cfg.peers_max = 1;
    net_start_with(net, LONDON, &cfg);
    net_start(net, TOKYO, "tokyo", 22);
    net_start(net, PARIS, "paris", 33);
    net_join(net, TOKYO, LONDON);
    assert_int_equal(net_dial(net, PARIS, 0, "10.0.0.0:1", 1000), RUSM_OK);
    net_run(net);
    assert_int_equal(net->nodes[PARIS].dials[0].err, RUSM_EREFUSED);
    assert_int_equal(net->nodes[LONDON].last_code, RUSMI_CLOSE_FULL);
    assert_int_equal(net_stats(net, LONDON).refused_full, 1);
    assert_int_equal(net->nodes[PARIS].ups, 0);
}

/* Peers that authenticate and then say nothing can take only so many places. */
static void test_silent_handshakes_are_bounded(void **state)
{
    struct net *net = *state;
    uint64_t conns[101];

    net_start(net, LONDON, "london", 11); /* peers_max is 100 */
    for (size_t i = 0; i < 101; i++) {
        char node[16];

        (void)snprintf(node, sizeof(node), "node %zu", i);
        conns[i] = raw_conn_of(net, node);
    }
    assert_true(raw_open(net, conns[99]));
    assert_false(raw_open(net, conns[100]));
    assert_int_equal(net->nodes[LONDON].last_code, RUSMI_CLOSE_FULL);
    net_pass(net, 5001); /* the hello time frees the places */
    assert_true(raw_open(net, raw_conn(net)));
}

/* So that it can not keep all others out. */
static void test_silent_handshakes_of_one_certificate_are_few(void **state)
{
    struct net *net = *state;
    uint64_t conns[9];

    net_start(net, LONDON, "london", 11);
    for (size_t i = 0; i < 9; i++) {
        conns[i] = raw_conn(net);
    }
    assert_true(raw_open(net, conns[7]));
    assert_false(raw_open(net, conns[8]));
    assert_int_equal(net->nodes[LONDON].last_code, RUSMI_CLOSE_FULL);
    assert_int_equal(net_stats(net, LONDON).refused_full, 1);
    assert_true(raw_open(net, raw_conn_of(net, "paris")));
    net_pass(net, 5001);
    assert_true(raw_open(net, raw_conn(net)));
}

static void test_shutdown_ends_everything_with_a_reason(void **state)
{
    struct net *net = *state;
    struct rusmi_core_event shutdown = {.kind = RUSMI_EVENT_SHUTDOWN};
    struct rusmi_request request = {.kind = RUSMI_REQUEST_PEERS, .max = 1};

    net_start(net, LONDON, "london", 11);
    net_start(net, TOKYO, "tokyo", 22);
    net_join(net, TOKYO, LONDON);
    assert_int_equal(net_dial(net, TOKYO, 1, "10.0.0.9:1", 9000), RUSM_OK);
    net->nodes[LONDON].hold = true;
    assert_int_equal(net_ask(net, TOKYO, 1, "london", &request, 9000), RUSM_OK);
    net_run(net);
    net_event(net, TOKYO, &shutdown);
    assert_int_equal(net->nodes[TOKYO].dials[1].err, RUSM_ECLOSED);
    assert_int_equal(net->nodes[TOKYO].replies[1].err, RUSM_ECLOSED);
    assert_int_equal(net->nodes[TOKYO].last_cause, RUSMI_DOWN_SHUTDOWN);
    assert_int_equal(net_dial(net, TOKYO, 2, "10.0.0.0:1", 9000), RUSM_ECLOSED);
    assert_int_equal(net_ask(net, TOKYO, 2, "london", &request, 9000), RUSM_ECLOSED);
    assert_int_equal(net_register(net, TOKYO, "late", 1), RUSM_ECLOSED);
    net_run(net);
    assert_string_equal(net->nodes[LONDON].last_text,
                        "tokyo closed the link: \"tokyo\" is shutting down");
    assert_true(rusmi_core_deadline(net->nodes[TOKYO].core) == RUSMI_TIME_NEVER);
}

/* Peers come in pages, each exactly once although others come and go between the pages. */
static void test_peer_list_survives_changes(void **state)
{
    struct net *net = *state;
    struct rusmi_core_peer peers[2];
    struct rusmi_actions actions;
    uint64_t cursor = 0;

    net_start(net, LONDON, "london", 11);
    net_start(net, 1, "a", 1);
    net_start(net, 2, "b", 2);
    net_start(net, 3, "c", 3);
    net_start(net, 4, "d", 4);
    for (int i = 1; i <= 3; i++) {
        net_join(net, LONDON, i);
    }
    assert_int_equal(rusmi_core_list_peers(net->nodes[LONDON].core, &cursor, peers, 1), 1);
    assert_string_equal(peers[0].name, "a");
    assert_true(cursor != 0);
    rusmi_actions_init(&actions);
    assert_int_equal(rusmi_core_disconnect(net->nodes[LONDON].core, "a", net->now, &actions),
                     RUSM_OK);
    net_act(net, LONDON, &actions);
    net_join(net, LONDON, 4);
    assert_int_equal(rusmi_core_list_peers(net->nodes[LONDON].core, &cursor, peers, 2), 2);
    assert_string_equal(peers[0].name, "b");
    assert_string_equal(peers[1].name, "c");
    assert_int_equal(rusmi_core_list_peers(net->nodes[LONDON].core, &cursor, peers, 2), 1);
    assert_string_equal(peers[0].name, "d");
    assert_int_equal(cursor, 0);
}

static void test_bad_configuration_is_refused(void **state)
{
    struct rusmi_core_config cfg = net_config("london", 0, RUSMI_ROLE_MEMBER, "10.0.0.0:1");
    struct rusmi_core *core = NULL;

    (void)state;
    assert_int_equal(rusmi_core_new(&core, &cfg), RUSM_EINVAL);
    cfg.incarnation = 1;
    cfg.name = "";
    assert_int_equal(rusmi_core_new(&core, &cfg), RUSM_EINVAL);
    cfg.name = "london";
    cfg.peers_max = 0;
    assert_int_equal(rusmi_core_new(&core, &cfg), RUSM_EINVAL);
    assert_null(core);
    rusmi_core_del(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_connect_links_both_sides),
        TEST(test_dial_to_a_linked_address_is_done_at_once),
        TEST(test_dials_to_one_address_share_a_conn),
        TEST(test_simultaneous_dials_in_every_order),
        TEST(test_many_simultaneous_dials_by_seed),
        TEST(test_duplicate_without_a_winner_is_dialed_again),
        TEST(test_dial_moves_to_the_conn_that_wins),
        TEST(test_restart_replaces_the_silent_past_when_we_decide),
        TEST(test_restart_replaces_the_silent_past_when_the_peer_decides),
        TEST(test_second_holder_is_refused_when_we_decide),
        TEST(test_second_holder_is_refused_when_the_peer_decides),
        TEST(test_probing_goes_on_with_whoever_took_the_name),
        TEST(test_redial_after_one_side_lost_the_link),
        TEST(test_dial_to_oneself_is_refused),
        TEST(test_dial_that_nobody_answers_times_out),
        TEST(test_transport_error_reaches_the_dialer),
        TEST(test_refused_identities),
        TEST(test_shared_identity_may_claim_any_name),
        TEST(test_incarnation_of_another_node_is_refused),
        TEST(test_operator_with_the_incarnation_of_a_member_is_refused),
        TEST(test_operator_goes_when_a_member_has_its_incarnation),
        TEST(test_broken_frames_close_only_their_link),
        TEST(test_unfinished_or_missing_hello_times_out),
        TEST(test_no_common_version_is_refused),
        TEST(test_frames_out_of_turn_are_refused),
        TEST(test_extension_frames_are_ignored_and_counted),
        TEST(test_disconnect_takes_both_sides_down),
        TEST(test_reason_of_a_peer_is_checked),
        TEST(test_peers_max_refuses_further_links),
        TEST(test_silent_handshakes_are_bounded),
        TEST(test_silent_handshakes_of_one_certificate_are_few),
        TEST(test_shutdown_ends_everything_with_a_reason),
        TEST(test_peer_list_survives_changes),
        TEST(test_bad_configuration_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
