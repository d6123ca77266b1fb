/* SPDX-License-Identifier: MIT */
/* Global names: every node comes to the same table, whatever happens in whatever order. */
#include "cluster/budget.h"
#include "cluster/core_net_test.h"
#include "cluster/names.h"

static int setup(void **state)
{
    struct net *net = malloc(sizeof(struct net));

    net_init(net);
    net_start(net, 0, "london", 11);
    net_start(net, 1, "tokyo", 22);
    net_start(net, 2, "paris", 33);
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

static void join_all(struct net *net)
{
    net_join(net, 0, 1);
    net_join(net, 0, 2);
    net_join(net, 1, 2);
}

static void assert_owner_everywhere(struct net *net, const char *name, const char *owner)
{
    for (int i = 0; i < NET_NODES; i++) {
        if (net->nodes[i].core != NULL) {
            assert_string_equal(net_owner(net, i, name), owner);
        }
    }
}

static void test_names_reach_present_and_later_peers(void **state)
{
    struct net *net = *state;

    assert_int_equal(net_register(net, 0, "early", 1), RUSM_OK);
    net_join(net, 1, 0);
    assert_string_equal(net_owner(net, 1, "early"), "london.1");
    assert_int_equal(net_register(net, 0, "now", 2), RUSM_OK);
    net_run(net);
    assert_string_equal(net_owner(net, 1, "now"), "london.2");
    assert_string_equal(net_owner(net, 2, "now"), "");
    net_join(net, 2, 0);
    net_join(net, 2, 1);
    assert_owner_everywhere(net, "early", "london.1");
    assert_owner_everywhere(net, "now", "london.2");
}

static void test_unregistered_name_is_withdrawn_everywhere(void **state)
{
    struct net *net = *state;

    join_all(net);
    assert_int_equal(net_register(net, 0, "x", 1), RUSM_OK);
    net_run(net);
    assert_int_equal(net_register(net, 1, "x", 9), RUSM_EEXIST);
    assert_int_equal(net_unregister(net, 1, "x"), RUSM_EPERM);
    assert_int_equal(net_unregister(net, 1, "y"), RUSM_ENONAME);
    assert_int_equal(net_unregister(net, 0, "x"), RUSM_OK);
    net_run(net);
    assert_owner_everywhere(net, "x", "");
    assert_int_equal(net_register(net, 1, "x", 9), RUSM_OK);
    net_run(net);
    assert_owner_everywhere(net, "x", "tokyo.9");
    assert_int_equal(net_stats(net, 2).names, 1);
}

/* All names of a process that ends, more than one frame's worth, and no others. */
static void test_names_of_an_ended_process_go(void **state)
{
    struct net *net = *state;
    struct rusmi_actions actions;
    char name[16];

    join_all(net);
    for (unsigned n = 0; n < 100; n++) {
        (void)snprintf(name, sizeof(name), "n%u", n);
        assert_int_equal(net_register(net, 0, name, n % 10 == 0 ? 7 : 8), RUSM_OK);
    }
    net_run(net);
    rusmi_actions_init(&actions);
    assert_int_equal(rusmi_core_owner_exited(net->nodes[0].core, 8, net->now, &actions), 90);
    assert_int_equal(rusmi_core_owner_exited(net->nodes[0].core, 8, net->now, &actions), 0);
    net_act(net, 0, &actions);
    net_run(net);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(net_stats(net, i).names, 10);
    }
    assert_owner_everywhere(net, "n10", "london.7");
    assert_owner_everywhere(net, "n11", "");
}

static void test_names_of_a_lost_peer_go(void **state)
{
    struct net *net = *state;
    struct rusmi_actions actions;

    join_all(net);
    assert_int_equal(net_register(net, 0, "a", 1), RUSM_OK);
    assert_int_equal(net_register(net, 1, "b", 2), RUSM_OK);
    net_run(net);
    rusmi_actions_init(&actions);
    assert_int_equal(rusmi_core_disconnect(net->nodes[1].core, "london", net->now, &actions),
                     RUSM_OK);
    net_act(net, 1, &actions);
    net_run(net);
    assert_string_equal(net_owner(net, 0, "b"), "");
    assert_string_equal(net_owner(net, 1, "a"), "");
    assert_string_equal(net_owner(net, 1, "b"), "tokyo.2");
    assert_string_equal(net_owner(net, 2, "a"), "london.1");
    assert_string_equal(net_owner(net, 2, "b"), "tokyo.2");
}

/* Registered at once: all see one owner; when it goes the next claim takes over everywhere. */
static void test_conflict_has_one_owner_and_an_heir(void **state)
{
    struct net *net = *state;

    join_all(net);
    assert_int_equal(net_register(net, 1, "other", 1), RUSM_OK); /* tokyo's clock runs ahead */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(net_register(net, i, "x", 5), RUSM_OK);
    }
    net_run(net);
    /* london and paris claimed at the same logical time: the name decides; tokyo was later. */
    assert_owner_everywhere(net, "x", "london.5");
    assert_int_equal(net_unregister(net, 0, "x"), RUSM_OK);
    net_run(net);
    assert_owner_everywhere(net, "x", "paris.5");
    net_kill(net, 2);
    for (int i = 0; i < 2; i++) {
        struct rusmi_core_event lost = {.kind = RUSMI_EVENT_CLOSED};

        lost.conn = net_link(net, i, "paris");
        lost.u.closed.cause = RUSMI_DOWN_SILENT;
        net_event(net, i, &lost);
    }
    assert_owner_everywhere(net, "x", "tokyo.5");
}

/* Both sides of a partition register, then meet. */
static void test_partition_converges_when_it_heals(void **state)
{
    struct net *net = *state;

    assert_int_equal(net_register(net, 1, "first", 1), RUSM_OK);
    assert_int_equal(net_register(net, 1, "x", 1), RUSM_OK);
    assert_int_equal(net_register(net, 2, "x", 2), RUSM_OK);
    assert_int_equal(net_register(net, 0, "x", 3), RUSM_OK);
    join_all(net);
    assert_owner_everywhere(net, "x", "london.3");
    /* A later registration is later than all that its node has seen. */
    assert_int_equal(net_unregister(net, 0, "x"), RUSM_OK);
    assert_int_equal(net_unregister(net, 2, "x"), RUSM_OK);
    net_run(net);
    assert_owner_everywhere(net, "x", "tokyo.1");
}

static size_t choose_by_seed(void *arg, size_t options)
{
    return (size_t)rusmi_prng_below(arg, options);
}

/* Random registrations, exits, disconnects and joins in random delivery; then all meet and agree.
 */
static void churn(struct net *net, struct rusmi_prng *prng)
{
    char name[8];

    for (int step = 0; step < 150; step++) {
        int i = (int)rusmi_prng_below(prng, 3), j = (i + 1) % 3;
        struct rusmi_actions actions;

        rusmi_actions_init(&actions);
        (void)snprintf(name, sizeof(name), "n%u", (unsigned)rusmi_prng_below(prng, 6));
        switch (rusmi_prng_below(prng, 6)) {
        case 0:
        case 1:
            (void)net_register(net, i, name, 1 + rusmi_prng_below(prng, 3));
            break;
        case 2:
            (void)net_unregister(net, i, name);
            break;
        case 3:
            (void)rusmi_core_owner_exited(net->nodes[i].core, 1 + rusmi_prng_below(prng, 3),
                                          net->now, &actions);
            break;
        case 4:
            (void)net_dial(net, i, 1, net->nodes[j].address, 60000);
            break;
        case 5:
            if (rusmi_prng_below(prng, 4) == 0 &&
                rusmi_core_disconnect(net->nodes[i].core,
                                      j == 0   ? "london"
                                      : j == 1 ? "tokyo"
                                               : "paris",
                                      net->now, &actions) != RUSM_OK) {
                break;
            }
            break;
        }
        net_act(net, i, &actions);
        for (uint64_t steps = rusmi_prng_below(prng, 8); steps > 0; steps--) {
            (void)net_step(net);
        }
    }
}

static void test_churn_converges_by_seed(void **state)
{
    struct net *net = *state;

    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct rusmi_prng prng;
        char name[8];

        net_fini(net);
        free(net);
        (void)setup(state);
        net = *state;
        rusmi_prng_init(&prng, seed);
        net->choose = choose_by_seed;
        net->choose_arg = &prng;
        churn(net, &prng);
        net_pass(net, 10000);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(net_dial(net, i, 0, net->nodes[(i + 1) % 3].address, 5000), RUSM_OK);
        }
        net_pass(net, 10000);
        for (unsigned n = 0; n < 6; n++) {
            char owner[300];

            (void)snprintf(name, sizeof(name), "n%u", n);
            (void)snprintf(owner, sizeof(owner), "%s", net_owner(net, 0, name));
            assert_owner_everywhere(net, name, owner);
        }
        assert_int_equal(net_wires_open(net), 3);
    }
}

/* More names than one window of the first sync, with changes while it runs. */
static void test_long_sync_with_changes_on_the_way(void **state)
{
    struct net *net = *state;
    char name[16];
    size_t steps = 0;

    for (unsigned n = 0; n < 5000; n++) {
        (void)snprintf(name, sizeof(name), "n%u", n);
        assert_int_equal(net_register(net, 0, name, 1), RUSM_OK);
    }
    assert_int_equal(net_dial(net, 1, 0, "10.0.0.0:1", 1000), RUSM_OK);
    while (net_stats(net, 1).names < 200 && net_step(net)) {
        steps++;
    }
    /* The window holds the rest back until tokyo has answered. */
    assert_true(net->nodes[0].wire_bytes < 40000);
    assert_int_equal(net_unregister(net, 0, "n0"), RUSM_OK);    /* sent already */
    assert_int_equal(net_unregister(net, 0, "n4999"), RUSM_OK); /* not yet */
    assert_int_equal(net_register(net, 0, "n4999", 2), RUSM_OK);
    assert_int_equal(net_register(net, 0, "late", 2), RUSM_OK);
    net_run(net);
    assert_int_equal(net_stats(net, 1).names, 5000);
    assert_string_equal(net_owner(net, 1, "n0"), "");
    assert_string_equal(net_owner(net, 1, "n4999"), "london.2");
    assert_string_equal(net_owner(net, 1, "late"), "london.2");
    assert_true(steps > 0);
}

static void test_names_over_the_limit_are_refused_and_counted(void **state)
{
    struct net *net = *state;
    struct rusmi_core_config cfg = net_config("small", 44, RUSMI_ROLE_MEMBER, "10.0.0.3:1");

    cfg.names_max = 2;
    net_start_with(net, 3, &cfg);
    assert_int_equal(net_register(net, 3, "a", 1), RUSM_OK);
    assert_int_equal(net_register(net, 3, "b", 1), RUSM_OK);
    assert_int_equal(net_register(net, 3, "c", 1), RUSM_EFULL);
    for (unsigned n = 0; n < 3; n++) {
        const char *const names[] = {"x", "y", "z"};

        assert_int_equal(net_register(net, 0, names[n], 1), RUSM_OK);
    }
    net_join(net, 0, 3);
    assert_int_equal(net_stats(net, 3).names, 4);
    assert_int_equal(net_stats(net, 3).names_refused, 1);
    assert_string_equal(net_owner(net, 3, "y"), "london.1");
    assert_string_equal(net_owner(net, 3, "z"), "");
    assert_true(net_link(net, 3, "london") != 0);
}

/* What the budget has no room for is refused as well, and comes in by itself when there is. */
static void test_names_beyond_the_budget_come_in_when_there_is_room(void **state)
{
    enum {
        NAMES = 1000
    };
    static struct rusmi_budget budget; /* outlives the net */
    struct rusmi_purse others;
    struct net *net = *state;
    struct rusmi_core_config cfg = net_config("small", 44, RUSMI_ROLE_MEMBER, "10.0.0.3:1");
    char name[16];
    size_t before;

    rusmi_budget_init(&budget, (size_t)512 * 1024);
    cfg.budget = &budget;
    net_start_with(net, 3, &cfg);
    for (unsigned n = 0; n < NAMES; n++) {
        (void)snprintf(name, sizeof(name), "n%u", n);
        assert_int_equal(net_register(net, 0, name, 1), RUSM_OK);
    }
    assert_true(rusmi_purse_open(&others, &budget, (size_t)400 * 1024));
    net_join(net, 0, 3);
    assert_in_range(net_stats(net, 3).names, 100, NAMES / 2);
    assert_true(net_stats(net, 3).names_refused >= NAMES / 2);
    assert_true(rusmi_budget_used(&budget) <= budget.limit);
    net_pass(net, 3000); /* asked for again, to no avail */
    assert_in_range(net_stats(net, 3).names, 100, NAMES / 2);
    rusmi_purse_close(&others);
    net_pass(net, 2000);
    assert_int_equal(net_stats(net, 3).names, NAMES);
    before = rusmi_budget_used(&budget);
    for (unsigned n = 0; n < NAMES; n++) {
        (void)snprintf(name, sizeof(name), "n%u", n);
        assert_int_equal(net_unregister(net, 0, name), RUSM_OK);
    }
    net_run(net);
    assert_int_equal(net_stats(net, 3).names, 0);
    assert_in_range(before - rusmi_budget_used(&budget), 128 * 1024, before);
    net_kill(net, 3);
    assert_int_equal(rusmi_budget_used(&budget), 0);
}

static void test_bad_names_are_refused(void **state)
{
    struct net *net = *state;
    char longest[RUSM_NAME_MAX + 2];

    memset(longest, 'n', sizeof(longest));
    longest[RUSM_NAME_MAX + 1] = '\0';
    assert_int_equal(net_register(net, 0, "", 1), RUSM_EINVAL);
    assert_int_equal(net_register(net, 0, "a\n", 1), RUSM_EINVAL);
    assert_int_equal(net_register(net, 0, "\xff", 1), RUSM_EINVAL);
    assert_int_equal(net_register(net, 0, longest, 1), RUSM_EINVAL);
    assert_int_equal(net_register(net, 0, "a", 0), RUSM_EINVAL);
    longest[RUSM_NAME_MAX] = '\0';
    assert_int_equal(net_register(net, 0, longest, 1), RUSM_OK);
    assert_int_equal(net_stats(net, 0).names, 1);
}

/* A page after a page, each name once, although names come and go in between. */
static void test_name_list_survives_changes(void **state)
{
    struct net *net = *state;
    unsigned seen[200] = {0};
    uint64_t cursor = 0;
    char name[16];

    for (unsigned n = 0; n < 200; n++) {
        (void)snprintf(name, sizeof(name), "n%u", n);
        assert_int_equal(net_register(net, 0, name, 1), RUSM_OK);
    }
    do {
        struct rusmi_core_owner owners[40];
        size_t len = rusmi_core_list_names(net->nodes[0].core, &cursor, owners, 40);

        for (size_t i = 0; i < len; i++) {
            if (owners[i].name[0] == 'n') {
                seen[strtoul(owners[i].name + 1, NULL, 10)]++;
            }
        }
        /* All that was listed goes, so that the table behind the cursor is compacted. */
        for (unsigned n = 0; n < 200; n++) {
            (void)snprintf(name, sizeof(name), "n%u", n);
            if (seen[n] == 1 && n % 5 != 0) {
                (void)net_unregister(net, 0, name);
            }
        }
        (void)snprintf(name, sizeof(name), "m%llu", (unsigned long long)cursor);
        (void)net_register(net, 0, name, 1);
    } while (cursor != 0);
    for (unsigned n = 0; n < 200; n++) {
        assert_int_equal(seen[n], 1);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_names_reach_present_and_later_peers),
        TEST(test_unregistered_name_is_withdrawn_everywhere),
        TEST(test_names_of_an_ended_process_go),
        TEST(test_names_of_a_lost_peer_go),
        TEST(test_conflict_has_one_owner_and_an_heir),
        TEST(test_partition_converges_when_it_heals),
        TEST(test_churn_converges_by_seed),
        TEST(test_long_sync_with_changes_on_the_way),
        TEST(test_names_over_the_limit_are_refused_and_counted),
        TEST(test_names_beyond_the_budget_come_in_when_there_is_room),
        TEST(test_bad_names_are_refused),
        TEST(test_name_list_survives_changes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
