/* SPDX-License-Identifier: MIT */
/*
 * Global names between real nodes: who learns of a name and when, who owns it, when it goes, and
 * that nobody but its node can say so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/procs.h"

#include <pthread.h>

#define MANY 10000

/* ---- what a node knows of a name ------------------------------------------------------------- */

struct name_wish {
    struct support_node *node;
    const char *name;
    rusm_pid pid; /* the zero pid: nobody has the name */
};

static bool name_is(void *arg)
{
    const struct name_wish *wish = arg;
    rusm_pid pid = RUSM_PID_NONE;
    rusm_err err = rusm_whereis_global(wish->node->node, wish->name, &pid);

    return err == (rusm_pid_is_none(wish->pid) ? RUSM_ENONAME : RUSM_OK) &&
           rusm_pid_equal(pid, wish->pid);
}

static void wait_name(struct support_node *node, const char *name, rusm_pid pid)
{
    struct name_wish wish = {.node = node, .name = name, .pid = pid};

    if (!support_wait(name_is, &wish)) {
        fail_msg("node %s does not know the owner of %s", rusm_node_name(node->node), name);
    }
}

static void wait_gone(struct support_node *node, const char *name)
{
    wait_name(node, name, RUSM_PID_NONE);
}

static void assert_owner(struct support_node *node, const char *name, rusm_pid pid)
{
    struct name_wish wish = {.node = node, .name = name, .pid = pid};

    assert_true(name_is(&wish));
}

/* How many names a node lists. */
static size_t names_count(struct support_node *node)
{
    static rusm_name_info infos[300];
    uint64_t cursor = 0;
    size_t count = 0;

    do {
        ptrdiff_t n = rusm_name_list(node->node, &cursor, infos, 300);

        assert_true(n >= 0);
        count += (size_t)n;
    } while (cursor != 0);
    return count;
}

struct count_wish {
    struct support_node *node;
    size_t count;
};

static bool count_is(void *arg)
{
    const struct count_wish *wish = arg;

    return names_count(wish->node) == wish->count;
}

static void wait_count(struct support_node *node, size_t count)
{
    struct count_wish wish = {.node = node, .count = count};

    if (!support_wait(count_is, &wish)) {
        fail_msg("node %s lists %zu names, not %zu", rusm_node_name(node->node), names_count(node),
                 count);
    }
}

static void publish(struct support_node *node, const char *name, rusm_pid pid)
{
    assert_int_equal(rusm_register_global(node->node, name, pid), RUSM_OK);
}

/* a, b and c, each linked with both others. */
struct three {
    struct support_node *a, *b, *c;
};

static struct three three(void **state)
{
    struct three nodes = {.a = support_node_start(*state, "a"),
                          .b = support_node_start(*state, "b"),
                          .c = support_node_start(*state, "c")};

    support_connect(nodes.a, nodes.b);
    support_connect(nodes.b, nodes.c);
    support_connect(nodes.c, nodes.a);
    return nodes;
}

/* ---- one node -------------------------------------------------------------------------------- */

static void name_is_found_until_it_is_withdrawn(void **state)
{
    struct support_node *a = support_node_start(*state, "a");
    rusm_pid pid = support_idle_start(a, NULL);

    wait_gone(a, "leader");
    publish(a, "leader", pid);
    assert_owner(a, "leader", pid);
    assert_int_equal(rusm_unregister_global(a->node, "leader"), RUSM_OK);
    assert_owner(a, "leader", RUSM_PID_NONE);
    assert_int_equal(rusm_unregister_global(a->node, "leader"), RUSM_ENONAME);
    publish(a, "leader", pid);
}

static void name_that_can_not_be_registered_is_refused_and_changes_nothing(void **state)
{
    static char too_long[RUSM_NAME_MAX + 2];
    struct support_node *a = support_node_start(*state, "a");
    struct support_node *b = support_node_start(*state, "b");
    rusm_pid pid = support_idle_start(a, NULL), dead = support_idle_start(a, NULL);

    memset(too_long, 'x', sizeof(too_long) - 1);
    support_kill(dead);
    assert_int_equal(rusm_register_global(a->node, "", pid), RUSM_EINVAL);
    assert_int_equal(rusm_register_global(a->node, NULL, pid), RUSM_EINVAL);
    assert_int_equal(rusm_register_global(a->node, too_long, pid), RUSM_EINVAL);
    assert_int_equal(rusm_register_global(a->node, "\xc3", pid), RUSM_EINVAL);
    assert_int_equal(rusm_register_global(b->node, "leader", pid), RUSM_EINVAL);
    assert_int_equal(rusm_register_global(a->node, "leader", RUSM_PID_NONE), RUSM_EINVAL);
    assert_int_equal(rusm_register_global(a->node, "leader", dead), RUSM_ENOPROC);
    assert_int_equal(rusm_register_global(NULL, "leader", pid), RUSM_ENOCONTEXT);
    assert_int_equal(names_count(a), 0);
    publish(a, too_long + 1, pid);
}

static void name_taken_here_is_an_error_that_names_this_node(void **state)
{
    struct support_node *a = support_node_start(*state, "a");
    rusm_pid pid = support_idle_start(a, NULL), other = support_idle_start(a, NULL);

    publish(a, "leader", pid);
    assert_int_equal(rusm_register_global(a->node, "leader", other), RUSM_EEXIST);
    assert_non_null(strstr(rusm_err_detail(), "leader is taken by a process of node a"));
    assert_owner(a, "leader", pid);
}

static void name_over_the_nodes_own_limit_is_refused(void **state)
{
    rusm_node_config cfg = support_node_config();
    struct support_node *a;
    rusm_pid pid;

    cfg.names_max = 2;
    a = support_node_start_with(*state, "a", &cfg);
    pid = support_idle_start(a, NULL);
    publish(a, "one", pid);
    publish(a, "two", pid);
    assert_int_equal(rusm_register_global(a->node, "three", pid), RUSM_EFULL);
    assert_int_equal(names_count(a), 2);
    assert_int_equal(rusm_unregister_global(a->node, "one"), RUSM_OK);
    publish(a, "three", pid);
}

/* ---- who learns of it ------------------------------------------------------------------------ */

static void name_reaches_peers_that_are_there(void **state)
{
    struct three n = three(state);
    rusm_pid pid = support_idle_start(n.a, NULL);

    publish(n.a, "leader", pid);
    wait_name(n.b, "leader", pid);
    wait_name(n.c, "leader", pid);
}

static void name_reaches_a_peer_that_connects_later(void **state)
{
    struct support_node *a = support_node_start(*state, "a");
    struct support_node *b = support_node_start(*state, "b");
    rusm_pid of_a = support_idle_start(a, NULL), of_b = support_idle_start(b, NULL);

    publish(a, "from a", of_a);
    publish(b, "from b", of_b);
    wait_gone(b, "from a");
    support_connect(a, b);
    wait_name(b, "from a", of_a);
    wait_name(a, "from b", of_b);
}

/* Hidden peers get no names: they ask. */
static void name_does_not_reach_an_operator(void **state)
{
    struct support_node *a = support_node_start(*state, "a");
    struct support_node *o = support_node_start_role(*state, "o", RUSM_ROLE_OPERATOR);
    rusm_pid pid = support_idle_start(a, NULL), found;

    publish(a, "leader", pid);
    assert_int_equal(
        rusm_node_connect(o->node, rusm_node_address(a->node), SUPPORT_DEADLINE_MS, NULL), RUSM_OK);
    assert_int_equal(rusm_remote_whereis(o->node, "a", "leader", SUPPORT_DEADLINE_MS, &found),
                     RUSM_OK);
    assert_true(rusm_pid_equal(found, pid));
    assert_int_equal(rusm_whereis_global(o->node, "leader", &found), RUSM_ENONAME);
    assert_int_equal(rusm_register_global(o->node, "mine", support_idle_start(o, NULL)),
                     RUSM_EPERM);
}

static void names_of_a_peer_over_the_limit_are_ignored_and_counted(void **state)
{
    rusm_node_config cfg = support_node_config();
    struct support_node *a = support_node_start(*state, "a"), *b;
    rusm_pid pid = support_idle_start(a, NULL);

    cfg.names_max = 3;
    b = support_node_start_with(*state, "b", &cfg);
    for (int i = 0; i < 5; i++) {
        char name[16];

        (void)snprintf(name, sizeof(name), "name %d", i);
        publish(a, name, pid);
    }
    support_connect(a, b);
    support_wait_stat(b, offsetof(rusm_node_stats, names_refused), 2);
    wait_count(b, 3);
    assert_int_equal(support_peers(b), 1);
}

/* ---- when it goes ---------------------------------------------------------------------------- */

/* Publish "leader" and "second" on a, end them as `end` says, and see them go everywhere. */
static void expect_withdrawal(void **state, void (*end)(struct three *n, rusm_pid pid))
{
    struct three n = three(state);
    rusm_pid pid = support_idle_start(n.a, NULL), other = support_idle_start(n.b, NULL);

    publish(n.a, "leader", pid);
    publish(n.a, "second", pid);
    publish(n.b, "other", other);
    wait_name(n.b, "second", pid);
    wait_name(n.c, "second", pid);
    wait_name(n.c, "other", other);
    end(&n, pid);
    wait_gone(n.b, "leader");
    wait_gone(n.c, "leader");
    wait_gone(n.b, "second");
    wait_gone(n.c, "second");
    assert_owner(n.b, "other", other);
    assert_owner(n.c, "other", other);
    publish(n.b, "leader", other); /* it is free */
    wait_name(n.c, "leader", other);
}

static void by_its_end(struct three *n, rusm_pid pid)
{
    (void)n;
    support_end(pid);
}

static void names_are_withdrawn_everywhere_when_the_process_ends(void **state)
{
    expect_withdrawal(state, by_its_end);
}

static void by_a_kill(struct three *n, rusm_pid pid)
{
    (void)n;
    support_kill(pid);
}

static void names_are_withdrawn_everywhere_when_the_process_is_killed(void **state)
{
    expect_withdrawal(state, by_a_kill);
}

static void by_unregistering(struct three *n, rusm_pid pid)
{
    (void)pid;
    assert_int_equal(rusm_unregister_global(n->a->node, "leader"), RUSM_OK);
    assert_int_equal(rusm_unregister_global(n->a->node, "second"), RUSM_OK);
}

static void names_are_withdrawn_everywhere_when_they_are_unregistered(void **state)
{
    expect_withdrawal(state, by_unregistering);
}

static void by_the_nodes_end(struct three *n, rusm_pid pid)
{
    (void)pid;
    support_node_stop(n->a);
}

static void names_are_withdrawn_everywhere_when_the_node_is_deleted(void **state)
{
    expect_withdrawal(state, by_the_nodes_end);
}

static void by_disconnecting(struct three *n, rusm_pid pid)
{
    (void)pid;
    assert_int_equal(rusm_node_disconnect(n->a->node, "b"), RUSM_OK);
    assert_int_equal(rusm_node_disconnect(n->c->node, "a"), RUSM_OK);
}

static void names_are_withdrawn_when_the_link_is_closed(void **state)
{
    expect_withdrawal(state, by_disconnecting);
}

/* ---- one owner ------------------------------------------------------------------------------- */

static void name_taken_by_a_peer_is_an_error_that_names_its_node(void **state)
{
    struct three n = three(state);
    rusm_pid pid = support_idle_start(n.a, NULL), other = support_idle_start(n.b, NULL);

    publish(n.a, "leader", pid);
    wait_name(n.b, "leader", pid);
    assert_int_equal(rusm_register_global(n.b->node, "leader", other), RUSM_EEXIST);
    assert_non_null(strstr(rusm_err_detail(), "leader is taken by a process of node a"));
    assert_owner(n.b, "leader", pid);
}

static void name_of_a_peer_can_not_be_unregistered(void **state)
{
    struct three n = three(state);
    rusm_pid pid = support_idle_start(n.a, NULL);

    publish(n.a, "leader", pid);
    wait_name(n.b, "leader", pid);
    assert_int_equal(rusm_unregister_global(n.b->node, "leader"), RUSM_EPERM);
    assert_non_null(strstr(rusm_err_detail(), "another node owns it"));
    assert_owner(n.a, "leader", pid);
    assert_owner(n.b, "leader", pid);
    wait_name(n.c, "leader", pid);
}

/* Whether a, b and c agree on the owner of a name. */
static bool agreed(const struct three *n, const char *name, rusm_pid *out_pid)
{
    rusm_pid a, b, c;

    if (rusm_whereis_global(n->a->node, name, &a) != RUSM_OK ||
        rusm_whereis_global(n->b->node, name, &b) != RUSM_OK ||
        rusm_whereis_global(n->c->node, name, &c) != RUSM_OK) {
        return false;
    }
    *out_pid = a;
    return rusm_pid_equal(a, b) && rusm_pid_equal(b, c);
}

#define RACES 200

struct race {
    struct three n;
    struct support_node *node; /* of this runner */
    rusm_pid pid;
    pthread_barrier_t *start;
    rusm_err errs[RACES];
};

static void *run_race(void *arg)
{
    struct race *race = arg;
    char name[16];

    for (int i = 0; i < RACES; i++) {
        (void)snprintf(name, sizeof(name), "race %d", i);
        (void)pthread_barrier_wait(race->start);
        race->errs[i] = rusm_register_global(race->node->node, name, race->pid);
    }
    return NULL;
}

static bool all_agreed(void *arg)
{
    const struct race *race = arg;
    char name[16];
    rusm_pid pid;
    bool all = true;

    for (int i = 0; all && i < RACES; i++) {
        (void)snprintf(name, sizeof(name), "race %d", i);
        all = agreed(&race->n, name, &pid);
    }
    return all;
}

/* The claims of nodes that agree are all that there are: each name has one owner everywhere, one of
 * those whose registration succeeded. */
static void two_nodes_that_register_at_once_get_one_owner_everywhere(void **state)
{
    static struct race races[2];
    pthread_barrier_t start;
    pthread_t threads[2];
    struct three n = three(state);

    assert_int_equal(pthread_barrier_init(&start, NULL, 2), 0);
    races[0] = (struct race){.n = n, .node = n.a, .start = &start};
    races[1] = (struct race){.n = n, .node = n.b, .start = &start};
    for (int i = 0; i < 2; i++) {
        races[i].pid = support_idle_start(races[i].node, NULL);
        assert_int_equal(pthread_create(&threads[i], NULL, run_race, &races[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    (void)pthread_barrier_destroy(&start);
    assert_true(support_wait(all_agreed, &races[0]));
    for (int i = 0; i < RACES; i++) {
        char name[16];
        rusm_pid pid;

        (void)snprintf(name, sizeof(name), "race %d", i);
        assert_true(agreed(&n, name, &pid));
        assert_true(races[0].errs[i] == RUSM_OK || races[0].errs[i] == RUSM_EEXIST);
        assert_true(races[1].errs[i] == RUSM_OK || races[1].errs[i] == RUSM_EEXIST);
        assert_true((races[0].errs[i] == RUSM_OK && rusm_pid_equal(pid, races[0].pid)) ||
                    (races[1].errs[i] == RUSM_OK && rusm_pid_equal(pid, races[1].pid)));
    }
}

static bool leader_agreed(void *arg)
{
    rusm_pid pid;

    return agreed(arg, "leader", &pid);
}

/*
 * Both sides of a partition register; joined, they agree, and the loser takes over from the
 * winner.
 */
static void claims_of_two_sides_converge_and_the_loser_follows_the_winner(void **state)
{
    struct three n = {.a = support_node_start(*state, "a"),
                      .b = support_node_start(*state, "b"),
                      .c = support_node_start(*state, "c")};
    rusm_pid of_a = support_idle_start(n.a, NULL), of_b = support_idle_start(n.b, NULL), owner;

    publish(n.a, "leader", of_a);
    publish(n.b, "leader", of_b);
    support_connect(n.a, n.c);
    wait_name(n.c, "leader", of_a);
    support_connect(n.b, n.c);
    support_connect(n.a, n.b);
    assert_true(support_wait(leader_agreed, &n));
    assert_true(agreed(&n, "leader", &owner));
    assert_true(rusm_pid_equal(owner, of_a) || rusm_pid_equal(owner, of_b));
    support_kill(owner);
    owner = rusm_pid_equal(owner, of_a) ? of_b : of_a;
    wait_name(n.a, "leader", owner);
    wait_name(n.b, "leader", owner);
    wait_name(n.c, "leader", owner);
}

/* ---- sending to it --------------------------------------------------------------------------- */

static void message_to_a_global_name_reaches_its_owner_from_any_node(void **state)
{
    static struct support_box box;
    struct three n = three(state);
    struct support_node *nodes[] = {n.a, n.b, n.c};

    publish(n.a, "leader", support_box_start(&box, n.a, NULL));
    for (uint64_t i = 0; i < 3; i++) {
        wait_name(nodes[i], "leader", box.pid);
        assert_int_equal(rusm_send_global(nodes[i]->node, "leader", "hello", 5), RUSM_OK);
        support_box_wait(&box, i + 1);
        assert_int_equal(box.len, 5);
        assert_memory_equal(box.data, "hello", 5);
    }
}

static void local_owner_is_served_without_the_wire(void **state)
{
    static struct support_box box;
    struct three n = three(state);

    publish(n.a, "leader", support_box_start(&box, n.a, NULL));
    for (int i = 0; i < 100; i++) {
        assert_int_equal(rusm_send_global(n.a->node, "leader", "hello", 5), RUSM_OK);
    }
    support_box_wait(&box, 100);
    assert_int_equal(support_stats(n.a).messages_sent, 0);
    assert_int_equal(support_stats(n.a).messages_received, 0);
}

static void message_to_a_global_name_that_nobody_has_is_refused(void **state)
{
    struct support_node *a = support_node_start(*state, "a");
    rusm_pid pid = support_idle_start(a, NULL);

    assert_int_equal(rusm_send_global(a->node, "leader", "hello", 5), RUSM_ENONAME);
    assert_non_null(strstr(rusm_err_detail(), "leader"));
    publish(a, "leader", pid);
    support_kill(pid);
    wait_gone(a, "leader");
    assert_int_equal(rusm_send_global(a->node, "leader", "hello", 5), RUSM_ENONAME);
}

/* ---- very many ------------------------------------------------------------------------------- */

/* Assert that a node lists "name 0" to "name 9999" exactly once each, of that owner. */
static void assert_lists_all(struct support_node *node, rusm_pid pid, const char *owner)
{
    static rusm_name_info infos[777];
    unsigned char *seen = calloc(MANY, 1);
    uint64_t cursor = 0;
    size_t count = 0;

    assert_non_null(seen);
    do {
        ptrdiff_t n = rusm_name_list(node->node, &cursor, infos, 777);

        assert_true(n >= 0);
        for (ptrdiff_t i = 0; i < n; i++) {
            char *end;
            unsigned long number;

            assert_memory_equal(infos[i].name, "name ", 5);
            number = strtoul(infos[i].name + 5, &end, 10);
            assert_true(*end == '\0' && number < MANY);
            assert_int_equal(seen[number]++, 0);
            assert_true(rusm_pid_equal(infos[i].pid, pid));
            assert_string_equal(infos[i].node, owner);
        }
        count += (size_t)n;
    } while (cursor != 0);
    assert_int_equal(count, MANY);
    free(seen);
}

static void ten_thousand_names_come_and_go(void **state)
{
    struct support_node *a = support_node_start(*state, "a");
    struct support_node *b = support_node_start(*state, "b");
    struct support_node *c = support_node_start(*state, "c");
    rusm_pid pid = support_idle_start(a, NULL);

    support_connect(a, b);
    for (int i = 0; i < MANY; i++) {
        char name[16];

        (void)snprintf(name, sizeof(name), "name %d", i);
        publish(a, name, pid);
    }
    support_connect(a, c); /* gets them in pages; b got them one by one */
    wait_count(b, MANY);
    wait_count(c, MANY);
    assert_lists_all(a, pid, "a");
    assert_lists_all(b, pid, "a");
    assert_lists_all(c, pid, "a");
    support_kill(pid);
    wait_count(a, 0);
    wait_count(b, 0);
    wait_count(c, 0);
}

#define CASE(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, support_world_setup, support_world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(name_is_found_until_it_is_withdrawn),
        CASE(name_that_can_not_be_registered_is_refused_and_changes_nothing),
        CASE(name_taken_here_is_an_error_that_names_this_node),
        CASE(name_over_the_nodes_own_limit_is_refused),
        CASE(name_reaches_peers_that_are_there),
        CASE(name_reaches_a_peer_that_connects_later),
        CASE(name_does_not_reach_an_operator),
        CASE(names_of_a_peer_over_the_limit_are_ignored_and_counted),
        CASE(names_are_withdrawn_everywhere_when_the_process_ends),
        CASE(names_are_withdrawn_everywhere_when_the_process_is_killed),
        CASE(names_are_withdrawn_everywhere_when_they_are_unregistered),
        CASE(names_are_withdrawn_everywhere_when_the_node_is_deleted),
        CASE(names_are_withdrawn_when_the_link_is_closed),
        CASE(name_taken_by_a_peer_is_an_error_that_names_its_node),
        CASE(name_of_a_peer_can_not_be_unregistered),
        CASE(two_nodes_that_register_at_once_get_one_owner_everywhere),
        CASE(claims_of_two_sides_converge_and_the_loser_follows_the_winner),
        CASE(message_to_a_global_name_reaches_its_owner_from_any_node),
        CASE(local_owner_is_served_without_the_wire),
        CASE(message_to_a_global_name_that_nobody_has_is_refused),
        CASE(ten_thousand_names_come_and_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
