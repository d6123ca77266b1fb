/* SPDX-License-Identifier: MIT */
/*
 * Members of groups on several nodes: every node comes to know the members of all others, whatever
 * happens in whatever order. What a node knows is what its core's actions told, kept here in the
 * plainest way; a change that is none (joining twice, leaving without having joined) fails.
 */
#include "base/mem.h"
#include "cluster/budget.h"
#include "cluster/core_net_test.h"
#include "cluster/heap_fixture_test.h"

#define KNOWN_MAX 6000
#define GROUPS    3

struct known {
    char group[RUSM_NAME_MAX + 1];
    rusm_pid pid;
};

struct view {
    struct known known[KNOWN_MAX];
    size_t len;
    unsigned joins, leaves;
};

struct stage {
    struct net net;
    struct view views[NET_NODES];
};

static const char *const node_names[] = {"london", "tokyo", "paris"};
static uint64_t incarnations[3];

static struct stage *stage_of(struct net *net)
{
    return (struct stage *)(void *)net; /* its first field */
}

static ptrdiff_t view_find(const struct view *view, const char *group, size_t group_len,
                           rusm_pid pid)
{
    for (size_t i = 0; i < view->len; i++) {
        const struct known *known = &view->known[i];

        if (strlen(known->group) == group_len && memcmp(known->group, group, group_len) == 0 &&
            rusm_pid_equal(known->pid, pid)) {
            return (ptrdiff_t)i;
        }
    }
    return -1;
}

static void view_remove(struct view *view, size_t at)
{
    view->known[at] = view->known[--view->len];
    view->leaves++;
}

/* What the runtime of a node would do with an action. */
static void on_groups(struct net *net, int i, const struct rusmi_action *action)
{
    struct view *view = &stage_of(net)->views[i];

    if (action->kind == RUSMI_ACTION_PEER_DOWN) {
        for (size_t k = view->len; k > 0; k--) {
            if (view->known[k - 1].pid.incarnation == action->incarnation) {
                view_remove(view, k - 1);
            }
        }
        return;
    }
    assert_true(action->len > 0);
    for (size_t k = 0; k < action->len; k++) {
        const struct rusmi_group_change *change = &action->groups[k];
        rusm_pid pid = {action->incarnation, change->serial};
        ptrdiff_t at = view_find(view, change->group, change->group_len, pid);

        assert_int_equal(at >= 0, !change->joined);
        if (change->joined) {
            assert_true(view->len < KNOWN_MAX);
            memcpy(view->known[view->len].group, change->group, change->group_len);
            view->known[view->len].group[change->group_len] = '\0';
            view->known[view->len++].pid = pid;
            view->joins++;
        } else {
            view_remove(view, (size_t)at);
        }
    }
}

static void start(struct stage *stage, int i, const struct rusmi_core_config *cfg)
{
    net_start_with(&stage->net, i, cfg);
    stage->net.nodes[i].groups = on_groups;
    stage->views[i].len = 0;
}

static void start_member(struct stage *stage, int i)
{
    char address[32];
    struct rusmi_core_config cfg;

    (void)snprintf(address, sizeof(address), "10.0.0.%d:1", i);
    cfg = net_config(node_names[i], incarnations[i], RUSMI_ROLE_MEMBER, address);
    start(stage, i, &cfg);
}

static int setup(void **state)
{
    struct stage *stage = calloc(1, sizeof(struct stage));

    fail_at = 0;
    net_init(&stage->net);
    for (int i = 0; i < 3; i++) {
        incarnations[i] = 11u * (unsigned)(i + 1);
        start_member(stage, i);
    }
    *state = stage;
    return 0;
}

static int teardown(void **state)
{
    struct stage *stage = *state;

    fail_at = 0;
    net_fini(&stage->net);
    free(stage);
    return 0;
}

static void join_all(struct net *net)
{
    net_join(net, 0, 1);
    net_join(net, 0, 2);
    net_join(net, 1, 2);
}

static void change(struct net *net, int i, const char *group, uint64_t serial, bool joined)
{
    struct rusmi_group_change change = {group, strlen(group), serial, joined};
    struct rusmi_actions actions;

    rusmi_actions_init(&actions);
    assert_int_equal(rusmi_core_groups(net->nodes[i].core, &change, 1, net->now, &actions), 1);
    net_act(net, i, &actions);
}

static bool knows(struct stage *stage, int i, const char *group, int of, uint64_t serial)
{
    return view_find(&stage->views[i], group, strlen(group),
                     (rusm_pid){incarnations[of], serial}) >= 0;
}

static void disconnect(struct net *net, int i, const char *peer)
{
    struct rusmi_actions actions;

    rusmi_actions_init(&actions);
    assert_int_equal(rusmi_core_disconnect(net->nodes[i].core, peer, net->now, &actions), RUSM_OK);
    net_act(net, i, &actions);
    net_run(net);
}

static void test_members_reach_present_and_later_peers(void **state)
{
    struct stage *stage = *state;
    struct net *net = &stage->net;

    change(net, 0, "room", 1, true);
    net_join(net, 1, 0);
    assert_true(knows(stage, 1, "room", 0, 1));
    change(net, 0, "room", 2, true);
    change(net, 0, "room", 2, true); /* twice is once */
    change(net, 1, "room", 2, true); /* another process */
    net_run(net);
    assert_int_equal(stage->views[1].len, 2);
    assert_true(knows(stage, 0, "room", 1, 2));
    assert_int_equal(stage->views[2].len, 0);
    net_join(net, 2, 0);
    net_join(net, 2, 1);
    assert_int_equal(stage->views[2].len, 3);
    assert_int_equal(net_stats(net, 2).groups, 3);
    assert_int_equal(stage->views[0].len, 1); /* of its own it is not told */
    change(net, 0, "room", 1, false);
    change(net, 0, "room", 1, false); /* it is none any more */
    change(net, 0, "other", 2, false);
    net_run(net);
    assert_false(knows(stage, 1, "room", 0, 1));
    assert_false(knows(stage, 2, "room", 0, 1));
    assert_true(knows(stage, 2, "room", 0, 2));
}

static void test_members_of_a_lost_peer_go(void **state)
{
    struct stage *stage = *state;
    struct net *net = &stage->net;

    join_all(net);
    for (int i = 0; i < 3; i++) {
        change(net, i, "room", 7, true);
    }
    net_run(net);
    disconnect(net, 1, "london");
    assert_false(knows(stage, 0, "room", 1, 7));
    assert_false(knows(stage, 1, "room", 0, 7));
    assert_int_equal(stage->views[2].len, 2);
    assert_int_equal(net_stats(net, 0).groups, 1);
    net_join(net, 1, 0);
    assert_true(knows(stage, 0, "room", 1, 7));
    assert_true(knows(stage, 1, "room", 0, 7));
    assert_int_equal(stage->views[0].leaves, 1);
}

/* A process leaves and comes back before anybody has heard anything: all of it is told in order,
 * with many changes of the two kinds in one call. */
static void test_order_of_changes_of_a_member_is_kept(void **state)
{
    struct stage *stage = *state;
    struct net *net = &stage->net;
    struct rusmi_group_change changes[501];
    struct rusmi_actions actions;

    join_all(net);
    for (size_t i = 0; i < 501; i++) {
        changes[i] = (struct rusmi_group_change){"room", 4, 1 + i % 7, i / 7 % 2 == 0};
    }
    rusmi_actions_init(&actions);
    assert_int_equal(rusmi_core_groups(net->nodes[0].core, changes, 501, net->now, &actions), 501);
    net_act(net, 0, &actions);
    net_run(net);
    assert_int_equal(stage->views[1].joins, 36 * 7);
    assert_int_equal(stage->views[1].leaves, 35 * 7 + 4);
    for (uint64_t serial = 1; serial <= 7; serial++) {
        assert_int_equal(knows(stage, 1, "room", 0, serial), serial > 4);
    }
}

/* More members than one window of the first telling, with changes while it runs. */
static void test_long_sync_with_changes_on_the_way(void **state)
{
    struct stage *stage = *state;
    struct net *net = &stage->net;
    struct view *view = &stage->views[1];

    for (uint64_t serial = 1; serial <= 5000; serial++) {
        change(net, 0, "a group with a long name", serial, true);
    }
    assert_int_equal(net_dial(net, 1, 0, "10.0.0.0:1", 1000), RUSM_OK);
    while (view->len < 200) {
        assert_true(net_step(net));
    }
    /* The window holds the rest back until tokyo has answered. */
    assert_true(net->nodes[0].wire_bytes < 60000);
    change(net, 0, "a group with a long name", 1, false);    /* told already */
    change(net, 0, "a group with a long name", 5000, false); /* not yet */
    change(net, 0, "a group with a long name", 4999, false);
    change(net, 0, "a group with a long name", 4999, true);
    change(net, 0, "late", 1, true);
    net_run(net);
    assert_int_equal(view->len, 4999);
    assert_true(knows(stage, 1, "late", 0, 1));
    assert_true(knows(stage, 1, "a group with a long name", 0, 4999));
    assert_false(knows(stage, 1, "a group with a long name", 0, 5000));
    assert_int_equal(view->joins, 5000);
    assert_int_equal(view->leaves, 1);
    /* Lost: forgotten in slices, which are of no concern to the link that comes next. */
    disconnect(net, 1, "london");
    assert_int_equal(view->len, 0);
    net_join(net, 1, 0);
    assert_int_equal(view->joins, 9999);
    net_pass(net, 100);
    assert_int_equal(net_stats(net, 1).groups, 4999);
    assert_int_equal(rusmi_core_deadline(net->nodes[1].core), RUSMI_TIME_NEVER);
    /* A node may end in the middle. */
    disconnect(net, 1, "london");
    assert_true(net_stats(net, 1).groups != 0);
}

static void test_members_over_the_limit_are_refused_and_counted(void **state)
{
    struct stage *stage = *state;
    struct net *net = &stage->net;
    struct rusmi_core_config cfg = net_config("small", 44, RUSMI_ROLE_MEMBER, "10.0.0.3:1");

    cfg.groups_max = 2;
    start(stage, 3, &cfg);
    for (uint64_t serial = 1; serial <= 4; serial++) {
        change(net, 0, "room", serial, true);
        change(net, 3, "room", serial, true); /* of its own it may have more */
    }
    change(net, 1, "room", 1, true);
    net_join(net, 0, 3);
    net_join(net, 1, 3);
    assert_int_equal(stage->views[3].len, 3); /* two of london's, one of tokyo's */
    assert_int_equal(net_stats(net, 3).groups_refused, 2);
    assert_int_equal(stage->views[0].len, 4);
    change(net, 0, "room", 4, false); /* one that was refused */
    change(net, 0, "room", 1, false);
    change(net, 0, "other", 1, true);
    net_run(net);
    assert_int_equal(stage->views[3].len, 3);
    assert_true(knows(stage, 3, "other", 0, 1));
    assert_true(net_link(net, 3, "london") != 0);
}

/* What was refused comes in when its node makes room, at most once a second, and then leaves as
 * any other. */
static void test_refused_members_come_in_when_there_is_room(void **state)
{
    struct stage *stage = *state;
    struct net *net = &stage->net;
    struct rusmi_core_config cfg = net_config("small", 44, RUSMI_ROLE_MEMBER, "10.0.0.3:1");
    struct view *view = &stage->views[3];
    uint64_t bytes;

    cfg.groups_max = 2;
    start(stage, 3, &cfg);
    for (uint64_t serial = 1; serial <= 4; serial++) {
        change(net, 0, "room", serial, true);
    }
    net_join(net, 0, 3);
    assert_true(knows(stage, 3, "room", 0, 1) && knows(stage, 3, "room", 0, 2));
    change(net, 0, "room", 1, false);
    net_run(net);
    assert_true(knows(stage, 3, "room", 0, 3));
    change(net, 0, "room", 2, false);
    net_run(net);
    assert_int_equal(view->len, 1); /* asked for a moment ago */
    net_pass(net, 1001);
    assert_true(knows(stage, 3, "room", 0, 4));
    change(net, 0, "room", 4, false);
    net_run(net);
    assert_int_equal(view->joins, 4);
    assert_int_equal(view->leaves, 3);
    /* Nothing is lacking now. */
    bytes = net->nodes[3].wire_bytes;
    change(net, 0, "room", 3, false);
    net_pass(net, 2000);
    assert_int_equal(net->nodes[3].wire_bytes, bytes);
    assert_int_equal(rusmi_core_deadline(net->nodes[3].core), RUSMI_TIME_NEVER);
}

/* The same for what the budget has no room for. */
static void test_members_beyond_the_budget_come_in_when_there_is_room(void **state)
{
    enum {
        MEMBERS = 600
    };
    static struct rusmi_budget budget; /* outlives the net */
    struct rusmi_purse others;
    struct stage *stage = *state;
    struct net *net = &stage->net;
    struct rusmi_core_config cfg = net_config("small", 44, RUSMI_ROLE_MEMBER, "10.0.0.3:1");
    uint64_t known;

    rusmi_budget_init(&budget, (size_t)512 * 1024);
    cfg.budget = &budget;
    start(stage, 3, &cfg);
    for (uint64_t serial = 1; serial <= MEMBERS; serial++) {
        change(net, 0, "room", serial, true);
    }
    assert_true(rusmi_purse_open(&others, &budget, (size_t)400 * 1024));
    net_join(net, 0, 3);
    known = stage->views[3].len;
    assert_in_range(known, 50, MEMBERS - 50);
    assert_true(net_stats(net, 3).groups_refused >= MEMBERS - known);
    rusmi_purse_close(&others);
    net_pass(net, 3000);
    assert_int_equal(stage->views[3].len, MEMBERS);
    for (uint64_t serial = 1; serial <= MEMBERS; serial++) {
        change(net, 0, "room", serial, false);
    }
    net_run(net);
    assert_int_equal(stage->views[3].len, 0);
    assert_in_range(rusmi_budget_used(&budget), 1, 32 * 1024);
    net_kill(net, 3);
    assert_int_equal(rusmi_budget_used(&budget), 0);
}

/* Room that is taken by others when it is time to ask is none; and a link that is lost while there
 * is something to ask for leaves nothing behind. */
static void test_room_that_is_gone_when_it_is_time_asks_for_nothing(void **state)
{
    struct stage *stage = *state;
    struct net *net = &stage->net;
    struct rusmi_core_config cfg = net_config("small", 44, RUSMI_ROLE_MEMBER, "10.0.0.3:1");
    uint64_t bytes;

    cfg.groups_max = 1;
    start(stage, 3, &cfg);
    change(net, 0, "room", 1, true);
    change(net, 0, "room", 2, true);
    change(net, 0, "room", 3, true);
    net_join(net, 0, 3);
    change(net, 0, "room", 1, false);
    net_run(net); /* 2 is in, 3 is refused */
    change(net, 0, "room", 2, false);
    change(net, 0, "room", 4, true);
    net_run(net); /* takes the place before 3 is asked for */
    bytes = net->nodes[3].wire_bytes;
    net_pass(net, 2000);
    assert_int_equal(net->nodes[3].wire_bytes, bytes);
    assert_true(knows(stage, 3, "room", 0, 4));
    change(net, 0, "room", 4, false);
    change(net, 0, "room", 5, true);
    net_run(net);
    disconnect(net, 3, "london");
    net_pass(net, 2000);
    assert_int_equal(stage->views[3].len, 0);
}

/* Those who are no members of the cluster neither tell nor are told; nor are those who speak a
 * version without groups. */
static void test_strangers_hear_nothing(void **state)
{
    struct stage *stage = *state;
    struct net *net = &stage->net;
    struct rusmi_core_config operator_cfg =
        net_config("operator", 44, RUSMI_ROLE_OPERATOR, "10.0.0.3:1");
    struct rusmi_core_config old_cfg = net_config("old", 55, RUSMI_ROLE_MEMBER, "10.0.0.4:1");

    old_cfg.version_max = 1;
    start(stage, 3, &operator_cfg);
    start(stage, 4, &old_cfg);
    for (int i = 0; i < 5; i++) {
        change(net, i, "early", 1, true);
    }
    net_join(net, 3, 0);
    net_join(net, 4, 0);
    for (int i = 0; i < 5; i++) {
        change(net, i, "late", 1, true);
        change(net, i, "early", 1, false);
    }
    net_run(net);
    assert_true(net_link(net, 3, "london") != 0 && net_link(net, 4, "london") != 0);
    assert_int_equal(stage->views[0].len + stage->views[3].len + stage->views[4].len, 0);
    assert_int_equal(net_stats(net, 0).groups_refused + net_stats(net, 0).protocol_errors, 0);
}

/* ---- without memory -------------------------------------------------------------------------- */

/* Whichever allocation fails, what was not taken can be given again, and then all know all: either
 * nothing was missing, or the link was closed and comes again. */
static void test_without_memory_nothing_is_forgotten(void **state)
{
    const struct rusmi_group_change changes[] = {
        {"room", 4, 1, true}, {"room", 4, 2, true}, {"other", 5, 1, true}, {"room", 4, 1, false}};
    bool met = true;

    for (size_t n = 1; met; n++) {
        struct stage *stage;
        struct rusmi_actions actions;
        size_t taken;

        (void)teardown(state);
        (void)setup(state);
        stage = *state;
        net_join(&stage->net, 0, 1);
        rusmi_actions_init(&actions);
        fail_at = n;
        taken = rusmi_core_groups(stage->net.nodes[0].core, changes, 4, stage->net.now, &actions);
        net_act(&stage->net, 0, &actions);
        net_run(&stage->net);
        met = fail_at == 0;
        fail_at = 0;
        rusmi_actions_init(&actions);
        assert_int_equal(rusmi_core_groups(stage->net.nodes[0].core, changes + taken, 4 - taken,
                                           stage->net.now, &actions),
                         4 - taken);
        net_act(&stage->net, 0, &actions);
        net_run(&stage->net);
        assert_int_equal(net_dial(&stage->net, 1, 0, stage->net.nodes[0].address, 1000), RUSM_OK);
        net_run(&stage->net);
        assert_true(knows(stage, 1, "room", 0, 2) && knows(stage, 1, "other", 0, 1));
        assert_int_equal(stage->views[1].len, 2);
        assert_true(n < 100);
    }
}

/* ---- at random ------------------------------------------------------------------------------- */

static size_t choose_by_seed(void *arg, size_t options)
{
    return (size_t)rusmi_prng_below(arg, options);
}

/* The others' transports find out sooner or later. */
static void crash(struct net *net, int i)
{
    for (size_t w = 0; w < net->wires_len; w++) {
        for (int e = 0; e < 2; e++) {
            struct wire *wire = &net->wires[w];

            if (wire->ends[e].node == i && wire->ends[1 - e].open) {
                net_post_closed(net, &wire->ends[1 - e], RUSMI_DOWN_SILENT, 0, "");
            }
        }
    }
    net_kill(net, i);
}

/* What is so: own[i][g] has a bit for each serial. */
typedef unsigned truth[3][GROUPS];

static void churn(struct stage *stage, struct rusmi_prng *prng, truth own)
{
    struct net *net = &stage->net;
    char group[8];

    for (int step = 0; step < 200; step++) {
        int i = (int)rusmi_prng_below(prng, 3), j = (i + 1) % 3;
        unsigned g = (unsigned)rusmi_prng_below(prng, GROUPS);
        uint64_t serial = 1 + rusmi_prng_below(prng, 4);
        struct rusmi_actions actions;

        (void)snprintf(group, sizeof(group), "g%u", g);
        switch (rusmi_prng_below(prng, 6)) {
        case 0:
        case 1:
            change(net, i, group, serial, true);
            own[i][g] |= 1u << serial;
            break;
        case 2:
            change(net, i, group, serial, false);
            own[i][g] &= ~(1u << serial);
            break;
        case 3:
            (void)net_dial(net, i, 1, net->nodes[j].address, 60000);
            break;
        case 4:
            if (rusmi_prng_below(prng, 4) == 0) {
                rusmi_actions_init(&actions);
                (void)!rusmi_core_disconnect(net->nodes[i].core, node_names[j], net->now,
                                             &actions); /* perhaps there is no link */
                net_act(net, i, &actions);
            }
            break;
        case 5: /* a crash, and a start under the same name */
            if (rusmi_prng_below(prng, 20) == 0) {
                crash(net, i);
                incarnations[i] += 100;
                start_member(stage, i);
                memset(own[i], 0, sizeof(own[i]));
            }
            break;
        }
        for (uint64_t steps = rusmi_prng_below(prng, 8); steps > 0; steps--) {
            (void)net_step(net);
        }
    }
}

static void expect_truth(struct stage *stage, truth own, uint64_t seed)
{
    for (int i = 0; i < 3; i++) {
        size_t expected = 0;

        for (int of = 0; of < 3; of++) {
            for (unsigned g = 0; of != i && g < GROUPS; g++) {
                for (uint64_t serial = 1; serial <= 4; serial++) {
                    char group[8];

                    (void)snprintf(group, sizeof(group), "g%u", g);
                    if ((own[of][g] >> serial & 1) == 0) {
                        continue;
                    }
                    expected++;
                    if (!knows(stage, i, group, of, serial)) {
                        fail_msg("seed %llu: %s does not know %s.%llu in %s",
                                 (unsigned long long)seed, node_names[i], node_names[of],
                                 (unsigned long long)serial, group);
                    }
                }
            }
        }
        assert_int_equal(stage->views[i].len, expected);
        assert_int_equal(net_stats(&stage->net, i).groups, expected);
    }
}

/* Random joins, leaves, lost links and crashes in random delivery; then all meet and know the same.
 */
static void test_churn_converges_by_seed(void **state)
{
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct stage *stage;
        struct rusmi_prng prng;
        truth own = {{0}};

        (void)teardown(state);
        (void)setup(state);
        stage = *state;
        rusmi_prng_init(&prng, seed);
        stage->net.choose = choose_by_seed;
        stage->net.choose_arg = &prng;
        churn(stage, &prng, own);
        net_pass(&stage->net, 10000);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(
                net_dial(&stage->net, i, 0, stage->net.nodes[(i + 1) % 3].address, 5000), RUSM_OK);
        }
        net_pass(&stage->net, 10000);
        expect_truth(stage, own, seed);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_members_reach_present_and_later_peers),
        TEST(test_members_of_a_lost_peer_go),
        TEST(test_order_of_changes_of_a_member_is_kept),
        TEST(test_long_sync_with_changes_on_the_way),
        TEST(test_members_over_the_limit_are_refused_and_counted),
        TEST(test_refused_members_come_in_when_there_is_room),
        TEST(test_members_beyond_the_budget_come_in_when_there_is_room),
        TEST(test_room_that_is_gone_when_it_is_time_asks_for_nothing),
        TEST(test_strangers_hear_nothing),
        TEST(test_without_memory_nothing_is_forgotten),
        TEST(test_churn_converges_by_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
