/* SPDX-License-Identifier: MIT */
/*
 * Global names when nodes disagree: registrations that ask first, notices of lost names, tables
 * that heal after partitions, and names that come in once there is room.
 */
#include "base/mem.h"
#include "cluster/core_net_test.h"
#include "cluster/core_state.h"
#include "cluster/heap_fixture_test.h"

#define NODES 4
#define REF   1u /* of registrations that ask */

static const char *const names[NODES] = {"london", "tokyo", "paris", "oslo"};

static int setup(void **state)
{
    struct net *net = malloc(sizeof(struct net));

    fail_at = 0;
    net_init(net);
    for (int i = 0; i < NODES; i++) {
        net_start(net, i, names[i], 11 * ((uint64_t)i + 1));
    }
    *state = net;
    return 0;
}

static int teardown(void **state)
{
    struct net *net = *state;

    fail_at = 0;
    net_fini(net);
    free(net);
    return 0;
}

/* Link the first `nodes` of them, each with all others. */
static struct net *mesh(void **state, int nodes)
{
    struct net *net = *state;

    for (int i = 0; i < nodes; i++) {
        for (int j = i + 1; j < nodes; j++) {
            if (net_link(net, i, names[j]) == 0) {
                net_join(net, i, j);
            }
        }
    }
    return net;
}

static const struct told *registered(const struct net *net, int i)
{
    return &net->nodes[i].registered[REF];
}

static void ask(struct net *net, int i, const char *name, uint64_t serial)
{
    assert_int_equal(net_register_sync(net, i, REF, name, serial, 5000), RUSM_OK);
}

static void expect(struct net *net, int i, rusm_err err)
{
    assert_int_equal(registered(net, i)->times, 1);
    assert_int_equal(registered(net, i)->err, err);
}

static void expect_owner(struct net *net, int nodes, const char *name, const char *owner)
{
    for (int i = 0; i < nodes; i++) {
        assert_string_equal(net_owner(net, i, name), owner);
    }
}

/* Nothing is kept of names that are not registered. */
static void expect_no_trace(struct net *net, int nodes)
{
    for (int i = 0; i < nodes; i++) {
        assert_int_equal(net->nodes[i].core->names.map.len, 0);
        assert_int_equal(net->nodes[i].core->asks.len, 0);
        assert_int_equal(net->nodes[i].core->owners.len, 0);
    }
}

/* Cut the wires between two nodes: what is on the way is lost, and each side notices by itself. */
static void cut(struct net *net, int i, int j)
{
    for (size_t w = 0; w < net->wires_len; w++) {
        struct end *ends = net->wires[w].ends;

        if ((ends[0].node == i && ends[1].node == j) || (ends[0].node == j && ends[1].node == i)) {
            for (int e = 0; e < 2; e++) {
                net_free_parcels(&ends[e]);
                ends[e].deaf = false;
                if (ends[e].open) {
                    net_post_closed(net, &ends[e], RUSMI_DOWN_SILENT, 0, "");
                }
            }
        }
    }
}

/* What comes for node i waits, or no longer. */
static void deafen(struct net *net, int i, bool deaf)
{
    for (size_t w = 0; w < net->wires_len; w++) {
        for (int e = 0; e < 2; e++) {
            if (net->wires[w].ends[e].node == i) {
                net->wires[w].ends[e].deaf = deaf;
            }
        }
    }
}

static void end_process(struct net *net, int i, uint64_t serial)
{
    struct rusmi_actions actions;

    rusmi_actions_init(&actions);
    (void)rusmi_core_owner_exited(net->nodes[i].core, serial, net->now, &actions);
    net_act(net, i, &actions);
}

/* ---- asking first ---------------------------------------------------------------------------- */

static void test_who_is_alone_has_the_name_at_once(void **state)
{
    struct net *net = *state;

    ask(net, 0, "x", 5);
    expect(net, 0, RUSM_OK);
    assert_string_equal(net_owner(net, 0, "x"), "london.5");
    assert_int_equal(net_register_sync(net, 0, 2, "x", 6, 5000), RUSM_EEXIST);
    net_join(net, 0, 1);
    expect_owner(net, 2, "x", "london.5");
}

/* Until all have agreed nobody has the name, and nobody else gets it. */
static void test_name_is_nobodys_until_all_have_agreed(void **state)
{
    struct net *net = mesh(state, 3);

    ask(net, 0, "x", 5);
    assert_int_equal(registered(net, 0)->times, 0);
    deafen(net, 2, true);
    net_run(net);
    assert_int_equal(registered(net, 0)->times, 0);
    expect_owner(net, 3, "x", "");
    assert_int_equal(net_stats(net, 0).names, 0);
    assert_int_equal(net_stats(net, 1).names, 0);
    assert_int_equal(net_register(net, 0, "x", 6), RUSM_EEXIST);
    assert_int_equal(net_register(net, 1, "x", 6), RUSM_EEXIST);
    assert_int_equal(net_register_sync(net, 1, REF, "x", 6, 5000), RUSM_EEXIST);
    assert_int_equal(net_unregister(net, 0, "x"), RUSM_ENONAME);
    assert_int_equal(net_unregister(net, 1, "x"), RUSM_ENONAME);
    deafen(net, 2, false);
    net_run(net);
    expect(net, 0, RUSM_OK);
    expect_owner(net, 3, "x", "london.5");
    assert_int_equal(net_unregister(net, 0, "x"), RUSM_OK);
    net_run(net);
    expect_no_trace(net, 3);
}

/* A peer that has agreed keeps its word when the answer is all that the asker waits for. */
static void test_who_has_agreed_registers_nothing_of_that_name(void **state)
{
    struct net *net = mesh(state, 2);

    ask(net, 0, "x", 5);
    while (registered(net, 0)->times == 0) {
        assert_true(net_step(net));
    }
    expect(net, 0, RUSM_OK);
    assert_string_equal(net_owner(net, 1, "x"), ""); /* the news is on its way */
    assert_int_equal(net_register(net, 1, "x", 6), RUSM_EEXIST);
    net_run(net);
    expect_owner(net, 2, "x", "london.5");
    assert_int_equal(net_stats(net, 0).names_conflicts + net_stats(net, 1).names_conflicts, 0);
}

static void test_owner_that_a_peer_knows_is_told(void **state)
{
    struct net *net = mesh(state, 3);

    deafen(net, 0, true);
    assert_int_equal(net_register(net, 2, "x", 7), RUSM_OK);
    net_run(net);
    ask(net, 0, "x", 5); /* it has not heard of paris's */
    net_run(net);
    deafen(net, 0, false);
    net_run(net);
    expect(net, 0, RUSM_EEXIST);
    assert_string_equal(registered(net, 0)->peer, "paris");
    assert_string_equal(registered(net, 0)->text,
                        "the global name x is taken by a process of node paris");
    expect_owner(net, 3, "x", "paris.7");
    assert_int_equal(net_unregister(net, 2, "x"), RUSM_OK);
    net_run(net);
    expect_no_trace(net, 3);
}

static size_t choose_by_seed(void *arg, size_t options)
{
    return (size_t)rusmi_prng_below(arg, options);
}

/* All nodes ask for one name at once: one gets it, the same for all, and the others are told so. */
static void test_of_many_that_ask_at_once_one_wins(void **state)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct rusmi_prng prng;
        struct net *net;
        char owner[64] = "";
        unsigned won = 0, tried = 0;

        (void)teardown(state);
        (void)setup(state);
        net = mesh(state, NODES);
        rusmi_prng_init(&prng, seed);
        net->choose = choose_by_seed;
        net->choose_arg = &prng;
        for (int i = 0; i < NODES; i++) {
            rusm_err err;

            for (uint64_t steps = rusmi_prng_below(&prng, 4); steps > 0; steps--) {
                (void)net_step(net);
            }
            err = net_register_sync(net, i, REF, "x", 5, 5000);
            assert_true(err == RUSM_OK || err == RUSM_EEXIST);
            if (err == RUSM_EEXIST) {
                net->nodes[i].registered[REF] = (struct told){.times = 1, .err = err};
            }
            tried += err == RUSM_OK ? 1 : 0;
        }
        net_run(net);
        for (int i = 0; i < NODES; i++) {
            assert_int_equal(registered(net, i)->times, 1);
            if (registered(net, i)->err == RUSM_OK) {
                won++;
                (void)snprintf(owner, sizeof(owner), "%s.5", names[i]);
            } else {
                assert_int_equal(registered(net, i)->err, RUSM_EEXIST);
            }
            assert_int_equal(net_stats(net, i).names_conflicts, 0);
        }
        assert_int_equal(won, 1);
        assert_true(tried >= 1);
        expect_owner(net, NODES, "x", owner);
        for (int i = 0; i < NODES; i++) {
            assert_int_equal(net->nodes[i].core->names.map.len, 1);
            (void)net_unregister(net, i, "x");
        }
        net_run(net);
        expect_no_trace(net, NODES);
    }
}

/* The rule: the earlier in logical time, then the node whose name sorts first. */
static void test_earlier_ask_wins_then_the_name(void **state)
{
    struct net *net = mesh(state, 2);

    ask(net, 1, "x", 5); /* tokyo, at the same logical time as london */
    ask(net, 0, "x", 5);
    net_run(net);
    expect(net, 0, RUSM_OK);
    expect(net, 1, RUSM_EEXIST);
    assert_string_equal(registered(net, 1)->peer, "london");
    deafen(net, 1, true);
    assert_int_equal(net_register(net, 0, "ahead", 9), RUSM_OK); /* london's clock runs ahead */
    ask(net, 1, "y", 5);
    ask(net, 0, "y", 5);
    deafen(net, 1, false);
    net_run(net);
    expect(net, 0, RUSM_EEXIST);
    assert_string_equal(registered(net, 0)->peer, "tokyo");
    expect(net, 1, RUSM_OK);
    expect_owner(net, 2, "y", "tokyo.5");
}

/* Who asks now may be a peer that was not there to be asked. */
static void test_earlier_ask_of_a_peer_that_came_later_wins(void **state)
{
    struct net *net = *state;

    net_join(net, 1, 2);
    deafen(net, 2, true);
    ask(net, 1, "x", 5);
    net_run(net);
    net_join(net, 0, 1);
    deafen(net, 0, true);
    ask(net, 0, "x", 6); /* at the same time, and london sorts before tokyo, which agrees */
    net_run(net);
    deafen(net, 2, false);
    net_run(net);
    expect(net, 1, RUSM_EEXIST);
    assert_string_equal(registered(net, 1)->peer, "london");
    assert_string_equal(net_owner(net, 2, "x"), "");
    deafen(net, 0, false);
    net_run(net);
    expect(net, 0, RUSM_OK);
    expect_owner(net, 2, "x", "london.6");
}

/* A registration that asked nobody is one: it beats an ask, whatever the times. */
static void test_registration_beats_an_ask(void **state)
{
    struct net *net = mesh(state, 2);

    deafen(net, 0, true);
    deafen(net, 1, true);
    ask(net, 0, "x", 5);
    assert_int_equal(net_register(net, 1, "other", 7), RUSM_OK);
    assert_int_equal(net_register(net, 1, "x", 7), RUSM_OK);
    deafen(net, 0, false); /* hears of the registration before tokyo hears of the ask */
    net_run(net);
    expect(net, 0, RUSM_EEXIST);
    assert_string_equal(registered(net, 0)->peer, "tokyo");
    deafen(net, 1, false);
    net_run(net);
    expect_owner(net, 2, "x", "tokyo.7");
    assert_int_equal(net_stats(net, 0).names_conflicts + net_stats(net, 1).names_conflicts, 0);
}

static void test_ask_that_is_not_answered_in_time_is_withdrawn(void **state)
{
    struct net *net = mesh(state, 3);

    deafen(net, 2, true);
    ask(net, 0, "x", 5);
    net_pass(net, 4999);
    assert_int_equal(registered(net, 0)->times, 0);
    net_pass(net, 2);
    expect(net, 0, RUSM_ETIMEOUT);
    assert_string_equal(registered(net, 0)->text,
                        "node paris did not agree to the global name x in time");
    assert_int_equal(net_register(net, 1, "x", 6), RUSM_OK);
    deafen(net, 2, false);
    net_run(net);
    expect(net, 0, RUSM_ETIMEOUT);
    assert_int_equal(net_stats(net, 0).replies_late, 1);
    expect_owner(net, 3, "x", "tokyo.6");
}

static void test_peer_that_goes_down_is_not_waited_for(void **state)
{
    struct net *net = mesh(state, 3);

    deafen(net, 2, true);
    ask(net, 0, "x", 5);
    net_run(net);
    assert_int_equal(registered(net, 0)->times, 0);
    cut(net, 0, 2);
    net_run(net);
    expect(net, 0, RUSM_OK);
    assert_string_equal(net_owner(net, 1, "x"), "london.5");
}

/* The asker goes: what was kept for it is free. */
static void test_ask_of_a_lost_peer_is_forgotten(void **state)
{
    struct net *net = mesh(state, 3);

    deafen(net, 2, true);
    ask(net, 0, "x", 5);
    net_run(net);
    assert_int_equal(net_register(net, 1, "x", 6), RUSM_EEXIST);
    cut(net, 0, 1);
    net_run(net);
    assert_int_equal(net_register(net, 1, "x", 6), RUSM_OK);
}

static void test_ask_ends_with_its_process_its_caller_and_its_node(void **state)
{
    struct net *net = mesh(state, 2);
    struct rusmi_core_event shut = {.kind = RUSMI_EVENT_SHUTDOWN};
    struct rusmi_actions actions;

    deafen(net, 0, true);
    ask(net, 0, "x", 5);
    end_process(net, 0, 5);
    expect(net, 0, RUSM_ENOPROC);
    net_run(net);
    expect_no_trace(net, 2);

    ask(net, 0, "x", 5);
    net_run(net);
    assert_int_equal(net->nodes[1].core->names.map.len, 1);
    rusmi_actions_init(&actions);
    rusmi_core_register_cancel(net->nodes[0].core, REF, net->now, &actions);
    rusmi_core_register_cancel(net->nodes[0].core, REF, net->now, &actions);
    net_act(net, 0, &actions);
    net_run(net);
    assert_int_equal(registered(net, 0)->times, 0);
    expect_no_trace(net, 2);

    ask(net, 0, "x", 5);
    net_event(net, 0, &shut);
    expect(net, 0, RUSM_ECLOSED);
    net_run(net);
    expect_no_trace(net, 2);
    assert_int_equal(net_register_sync(net, 0, REF, "x", 5, 5000), RUSM_ECLOSED);
}

/* A node of version 1 can not be asked; it hears of the name like of any other. */
static void test_older_peer_counts_as_agreed(void **state)
{
    struct net *net = mesh(state, 2);
    struct rusmi_core_config cfg = net_config("past", 99, RUSMI_ROLE_MEMBER, "10.0.0.4:1");

    cfg.version_max = 1;
    net_start_with(net, 4, &cfg);
    net_join(net, 0, 4);
    net_join(net, 4, 1);
    ask(net, 0, "x", 5);
    net_run(net);
    expect(net, 0, RUSM_OK);
    assert_string_equal(net_owner(net, 4, "x"), "london.5");
    ask(net, 4, "y", 6);
    expect(net, 4, RUSM_OK);
    net_run(net);
    assert_string_equal(net_owner(net, 1, "y"), "past.6");
    assert_int_equal(net_stats(net, 4).peers, 2);
}

/* Asking is for names that a listing has not come to yet, too. */
static void test_ask_during_the_first_listing(void **state)
{
    struct net *net = *state;
    char name[16];

    for (unsigned n = 0; n < 3000; n++) {
        (void)snprintf(name, sizeof(name), "n%u", n);
        assert_int_equal(net_register(net, 0, name, 1), RUSM_OK);
    }
    assert_int_equal(net_dial(net, 1, 0, "10.0.0.0:1", 1000), RUSM_OK);
    while (net_stats(net, 1).names < 200) {
        assert_true(net_step(net));
    }
    ask(net, 0, "x", 5);
    ask(net, 1, "n2999", 5); /* taken, but tokyo has not heard of it */
    net_run(net);
    expect(net, 0, RUSM_OK);
    expect(net, 1, RUSM_EEXIST);
    expect_owner(net, 2, "x", "london.5");
    expect_owner(net, 2, "n2999", "london.1");
    assert_int_equal(net_stats(net, 1).names, 3001);
}

static void test_asks_are_bounded(void **state)
{
    struct net *net = mesh(state, 1);
    struct rusmi_core_config cfg = net_config("small", 99, RUSMI_ROLE_MEMBER, "10.0.0.4:1");

    cfg.names_max = 2;
    net_start_with(net, 4, &cfg);
    net_join(net, 0, 4);
    deafen(net, 4, true);
    assert_int_equal(net_register_sync(net, 4, 1, "a", 5, 5000), RUSM_OK);
    assert_int_equal(net_register_sync(net, 4, 2, "b", 5, 5000), RUSM_OK);
    assert_int_equal(net_register_sync(net, 4, 3, "c", 5, 5000), RUSM_EFULL);
    assert_int_equal(net->nodes[4].core->asks.len, 2);
    for (uint64_t i = 0; i < 5; i++) {
        char name[8];

        (void)snprintf(name, sizeof(name), "l%u", (unsigned)i);
        assert_int_equal(net_register_sync(net, 0, 10 + i, name, 5, 5000), RUSM_OK);
    }
    deafen(net, 4, false);
    net_run(net);
    /* What there is no room for is agreed to, as it can not be known here anyway. */
    assert_int_equal(net->nodes[0].registered[14].err, RUSM_OK);
    assert_int_equal(net_stats(net, 4).names, 4);
    assert_int_equal(net_stats(net, 4).names_refused, 6); /* asked and published, three times */
}

/* ---- lost names ------------------------------------------------------------------------------ */

static void expect_conflict(struct net *net, int i, unsigned times, uint64_t loser, rusm_pid winner)
{
    const struct rusmi_action *told = net->nodes[i].conflict;

    assert_int_equal(net->nodes[i].conflicts, times);
    assert_int_equal(net_stats(net, i).names_conflicts, times);
    if (times != 0) {
        assert_int_equal(told->ref, loser);
        assert_true(told->pid.incarnation == winner.incarnation &&
                    told->pid.serial == winner.serial);
        assert_string_equal(told->text, "x");
    }
}

static void test_loser_is_told_once_and_again_when_it_loses_again(void **state)
{
    struct net *net = *state;

    assert_int_equal(net_register(net, 0, "x", 3), RUSM_OK);
    assert_int_equal(net_register(net, 1, "x", 4), RUSM_OK);
    assert_int_equal(net_register(net, 2, "x", 5), RUSM_OK);
    net_join(net, 1, 2); /* paris sorts before tokyo */
    expect_conflict(net, 1, 1, 4, (rusm_pid){33, 5});
    expect_conflict(net, 2, 0, 0, RUSM_PID_NONE);
    net_join(net, 0, 1); /* lost already */
    expect_conflict(net, 1, 1, 4, (rusm_pid){33, 5});
    net_join(net, 0, 2);
    expect_conflict(net, 2, 1, 5, (rusm_pid){11, 3});
    expect_conflict(net, 0, 0, 0, RUSM_PID_NONE);
    expect_owner(net, 3, "x", "london.3");
    cut(net, 0, 1);
    cut(net, 2, 1);
    net_run(net);
    assert_string_equal(net_owner(net, 1, "x"), "tokyo.4"); /* its again, on its side */
    expect_conflict(net, 1, 1, 4, (rusm_pid){33, 5});
    net_join(net, 0, 1);
    expect_conflict(net, 1, 2, 4, (rusm_pid){11, 3});
    net_join(net, 1, 2);
    expect_conflict(net, 1, 2, 4, (rusm_pid){11, 3});
    expect_conflict(net, 2, 1, 5, (rusm_pid){11, 3});
}

/* What node i says of its own claim to a name. */
enum own {
    OWN_NONE,
    OWN_OWNER,
    OWN_LOSER,
};

static enum own own_of(struct net *net, int i, const char *text)
{
    struct rusmi_core *core = net->nodes[i].core;
    const struct rusmi_name *name = rusmi_names_find(&core->names, text, strlen(text));
    const struct rusmi_claim *claim = name == NULL ? NULL : rusmi_name_claim_of(name, &core->self);

    return claim == NULL || claim->tentative        ? OWN_NONE
           : claim == rusmi_name_owner(claim->name) ? OWN_OWNER
                                                    : OWN_LOSER;
}

#define CHURN_NAMES 5

struct churn {
    struct net *net;
    struct rusmi_prng prng;
    enum own own[NODES][CHURN_NAMES];
    unsigned lost[NODES];
    unsigned asked[NODES], done[NODES]; /* registrations that ask: begun, and told of */
    uint64_t ref[NODES];
};

static const char *churn_name(uint64_t n)
{
    static const char *const texts[CHURN_NAMES] = {"a", "b", "c", "d", "e"};

    return texts[n];
}

/* After every single step: whoever ceased to own a name that it still claims was told, no other. */
static void churn_check(struct churn *churn)
{
    for (int i = 0; i < NODES; i++) {
        for (unsigned n = 0; n < CHURN_NAMES; n++) {
            enum own now = own_of(churn->net, i, churn_name(n));

            churn->lost[i] += churn->own[i][n] == OWN_OWNER && now == OWN_LOSER ? 1 : 0;
            assert_false(churn->own[i][n] == OWN_NONE && now == OWN_LOSER);
            churn->own[i][n] = now;
        }
        assert_int_equal(churn->net->nodes[i].conflicts, churn->lost[i]);
    }
}

static void churn_run(struct churn *churn, uint64_t steps)
{
    while (steps-- > 0 && net_step(churn->net)) {
        churn_check(churn);
    }
}

static void churn_step(struct churn *churn)
{
    struct net *net = churn->net;
    int i = (int)rusmi_prng_below(&churn->prng, NODES);
    int j = (i + 1 + (int)rusmi_prng_below(&churn->prng, NODES - 1)) % NODES;
    const char *name = churn_name(rusmi_prng_below(&churn->prng, CHURN_NAMES));
    uint64_t serial = 1 + rusmi_prng_below(&churn->prng, 3);

    switch (rusmi_prng_below(&churn->prng, 12)) {
    case 0:
    case 1:
    case 2:
        (void)net_register(net, i, name, serial);
        break;
    case 3:
    case 4:
    case 5:
        churn->done[i] += net->nodes[i].registered[churn->ref[i] % NET_REFS].times;
        churn->ref[i]++;
        churn->asked[i] +=
            net_register_sync(net, i, churn->ref[i] % NET_REFS, name, serial, 60000) == RUSM_OK ? 1
                                                                                                : 0;
        break;
    case 6:
        (void)net_unregister(net, i, name);
        break;
    case 7:
        end_process(net, i, serial);
        break;
    case 8:
        cut(net, i, j);
        break;
    case 9:
        if (net->wires_len < NET_WIRES - 20) {
            (void)net_dial(net, i, 1, net->nodes[j].address, 60000);
        }
        break;
    default:
        break;
    }
    churn_check(churn);
    churn_run(churn, rusmi_prng_below(&churn->prng, 10));
}

/* All meet again; then the tables are equal, and no name is owned twice. */
static void churn_heal(struct churn *churn)
{
    struct net *net = churn->net;

    net_pass(net, 10000);
    for (int i = 0; i < NODES; i++) {
        for (int j = i + 1; j < NODES; j++) {
            (void)net_dial(net, i, 0, net->nodes[j].address, 5000);
            churn_run(churn, UINT64_MAX);
            net_pass(net, 2000);
            churn_check(churn);
            assert_true(net_link(net, i, names[j]) != 0);
        }
    }
    net_pass(net, 60000); /* the last asks */
    churn_check(churn);
    for (unsigned n = 0; n < CHURN_NAMES; n++) {
        unsigned owners = 0;
        char owner[64];

        (void)snprintf(owner, sizeof(owner), "%s", net_owner(net, 0, churn_name(n)));
        expect_owner(net, NODES, churn_name(n), owner);
        for (int i = 0; i < NODES; i++) {
            owners += own_of(net, i, churn_name(n)) == OWN_OWNER ? 1 : 0;
        }
        assert_int_equal(owners, owner[0] == '\0' ? 0 : 1);
    }
}

static void test_random_partitions_heal(void **state)
{
    for (uint64_t seed = 1; seed <= 150; seed++) {
        struct churn *churn = calloc(1, sizeof(struct churn));

        (void)teardown(state);
        (void)setup(state);
        churn->net = mesh(state, NODES);
        rusmi_prng_init(&churn->prng, seed);
        churn->net->choose = choose_by_seed;
        churn->net->choose_arg = &churn->prng;
        for (unsigned step = 0; step < 150; step++) {
            churn_step(churn);
        }
        churn_heal(churn);
        for (int i = 0; i < NODES; i++) {
            struct rusmi_core *core = churn->net->nodes[i].core;

            churn->done[i] += churn->net->nodes[i].registered[churn->ref[i] % NET_REFS].times;
            assert_int_equal(core->asks.len, 0);
            assert_int_equal(core->names.owned, core->names.map.len);
            for (uint64_t serial = 1; serial <= 3; serial++) {
                end_process(churn->net, i, serial);
            }
        }
        net_run(churn->net);
        expect_no_trace(churn->net, NODES);
        free(churn);
    }
}

/* ---- room for more --------------------------------------------------------------------------- */

/* Node 4, which keeps two names of each peer. */
static struct net *with_small_node(void **state)
{
    struct net *net = mesh(state, 1);
    struct rusmi_core_config cfg = net_config("small", 99, RUSMI_ROLE_MEMBER, "10.0.0.4:1");

    cfg.names_max = 2;
    net_start_with(net, 4, &cfg);
    return net;
}

static void test_refused_names_come_in_when_there_is_room(void **state)
{
    struct net *net = with_small_node(state);
    const char *const texts[] = {"a", "b", "c", "d"};

    for (int n = 0; n < 4; n++) {
        assert_int_equal(net_register(net, 0, texts[n], 1), RUSM_OK);
    }
    net_join(net, 0, 4);
    assert_int_equal(net_stats(net, 4).names, 2);
    assert_int_equal(net_unregister(net, 0, "a"), RUSM_OK);
    net_run(net);
    assert_string_equal(net_owner(net, 4, "c"), "london.1");
    assert_string_equal(net_owner(net, 4, "d"), "");
    /* Asked for a moment ago: now only once a second. */
    assert_int_equal(net_unregister(net, 0, "b"), RUSM_OK);
    net_run(net);
    assert_string_equal(net_owner(net, 4, "d"), "");
    net_pass(net, 1001);
    assert_string_equal(net_owner(net, 4, "d"), "london.1");
    assert_int_equal(net_stats(net, 4).names, 2);
    assert_int_equal(rusmi_core_deadline(net->nodes[4].core), RUSMI_TIME_NEVER);
}

static void test_room_that_is_gone_when_it_is_time_asks_for_nothing(void **state)
{
    struct net *net = with_small_node(state);
    const char *const texts[] = {"a", "b", "c"};
    uint64_t bytes;

    for (int n = 0; n < 3; n++) {
        assert_int_equal(net_register(net, 0, texts[n], 1), RUSM_OK);
    }
    net_join(net, 0, 4);
    assert_int_equal(net_unregister(net, 0, "a"), RUSM_OK);
    net_run(net); /* c is in */
    assert_int_equal(net_register(net, 0, "e", 1), RUSM_OK);
    net_run(net); /* refused */
    assert_int_equal(net_unregister(net, 0, "b"), RUSM_OK);
    net_run(net); /* not yet asked for */
    assert_int_equal(net_register(net, 0, "f", 1), RUSM_OK);
    net_run(net); /* takes the place */
    bytes = net->nodes[4].wire_bytes;
    net_pass(net, 2000);
    assert_int_equal(net->nodes[4].wire_bytes, bytes);
    cut(net, 0, 4);
    net_pass(net, 2000);
    assert_int_equal(net_stats(net, 4).names, 0);
}

/* Who asks for a listing without reading the last one gets no more than one. */
static void test_listings_wait_for_their_reader(void **state)
{
    struct net *net = mesh(state, 2);
    struct rusmi_frame frame = {.type = RUSMI_FRAME_NAMES_MORE};
    struct rusmi_core_event event = {.kind = RUSMI_EVENT_FRAMES};
    uint64_t before, once;
    struct rusmi_buf buf;
    char name[16];

    for (unsigned n = 0; n < 100; n++) {
        (void)snprintf(name, sizeof(name), "n%u", n);
        assert_int_equal(net_register(net, 0, name, 1), RUSM_OK);
    }
    net_run(net);
    rusmi_buf_init(&buf);
    assert_int_equal(rusmi_control_encode(&buf, &frame), RUSM_OK);
    event.conn = net_link(net, 0, "tokyo");
    event.u.frames.bytes = rusmi_buf_head(&buf);
    event.u.frames.len = buf.len;
    deafen(net, 1, true);
    before = net->nodes[0].wire_bytes;
    net_event(net, 0, &event);
    once = net->nodes[0].wire_bytes - before;
    assert_true(once > 500);
    for (unsigned n = 0; n < 1000; n++) {
        net_event(net, 0, &event);
    }
    assert_int_equal(net->nodes[0].wire_bytes, before + once);
    deafen(net, 1, false);
    net_run(net);
    assert_true(net->nodes[0].wire_bytes <= before + 2 * once + 16); /* ids of pings grow */
    assert_int_equal(net_stats(net, 1).names, 100);
    rusmi_buf_fini(&buf);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void tried(struct net *net, int i, const char *name, rusm_err *out_err)
{
    *out_err = net_register_sync(net, i, REF, name, 5, 5000);
    assert_true(*out_err == RUSM_OK || *out_err == RUSM_ENOMEM || *out_err == RUSM_EEXIST);
    net_run(net);
}

/* Asked for by all, lost, withdrawn: what fails for want of memory fails with a word, and what is
 * left is the same everywhere. */
static void scenario(struct net *net)
{
    rusm_err errs[3];

    for (int i = 0; i < 3; i++) {
        errs[i] = net_register_sync(net, i, REF, "x", 5, 5000);
        assert_true(errs[i] == RUSM_OK || errs[i] == RUSM_ENOMEM);
    }
    net_pass(net, 6000);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(registered(net, i)->times, errs[i] == RUSM_OK ? 1 : 0);
    }
    tried(net, 0, "y", &errs[0]);
    end_process(net, 0, 5);
    net_pass(net, 6000);
    for (int i = 0; i < 3; i++) {
        rusm_err err = net_register(net, i, "z", 7);

        assert_true(err == RUSM_OK || err == RUSM_ENOMEM);
    }
    net_pass(net, 1000);
}

static void test_every_failing_allocation_is_survived(void **state)
{
    bool whole = false;
    size_t n = 0;

    while (!whole) {
        struct net *net;

        (void)teardown(state);
        (void)setup(state);
        net = mesh(state, 3);
        fail_at = ++n;
        scenario(net);
        whole = fail_at != 0; /* it was not reached */
        fail_at = 0;
        net = mesh(state, 3); /* links that were closed for lack of memory */
        net_pass(net, 6000);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(net->nodes[i].core->asks.len, 0);
            assert_int_equal(net->nodes[i].core->names.owned, net->nodes[i].core->names.map.len);
            for (int j = 0; j < 3; j++) {
                assert_int_equal(net->nodes[j].core->names.owned, net->nodes[i].core->names.owned);
            }
        }
        assert_true(n < 1000);
    }
    assert_true(n > 60);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_who_is_alone_has_the_name_at_once),
        TEST(test_name_is_nobodys_until_all_have_agreed),
        TEST(test_who_has_agreed_registers_nothing_of_that_name),
        TEST(test_owner_that_a_peer_knows_is_told),
        TEST(test_of_many_that_ask_at_once_one_wins),
        TEST(test_earlier_ask_wins_then_the_name),
        TEST(test_earlier_ask_of_a_peer_that_came_later_wins),
        TEST(test_registration_beats_an_ask),
        TEST(test_ask_that_is_not_answered_in_time_is_withdrawn),
        TEST(test_peer_that_goes_down_is_not_waited_for),
        TEST(test_ask_of_a_lost_peer_is_forgotten),
        TEST(test_ask_ends_with_its_process_its_caller_and_its_node),
        TEST(test_older_peer_counts_as_agreed),
        TEST(test_ask_during_the_first_listing),
        TEST(test_asks_are_bounded),
        TEST(test_loser_is_told_once_and_again_when_it_loses_again),
        TEST(test_random_partitions_heal),
        TEST(test_refused_names_come_in_when_there_is_room),
        TEST(test_room_that_is_gone_when_it_is_time_asks_for_nothing),
        TEST(test_listings_wait_for_their_reader),
        TEST(test_every_failing_allocation_is_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
