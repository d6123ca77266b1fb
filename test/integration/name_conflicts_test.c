/* SPDX-License-Identifier: MIT */
/*
 * Global names that several nodes claim, at once or on both sides of a partition: who owns them,
 * who is told, who takes over; and registrations that ask all peers first (docs/design/names.md).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/names.h"
#include "support/udp_proxy.h"

#include <pthread.h>

#define NAME "leader"

static struct support_box boxes[3];

/* Nodes that are not linked yet, each with an owner-to-be of NAME in boxes. */
static struct support_three unlinked(void **state)
{
    rusm_node_config cfg = support_node_config();
    struct support_three n;

    cfg.mesh = false;

    n = (struct support_three){.a = support_node_start_with(*state, "a", &cfg),
                               .b = support_node_start_with(*state, "b", &cfg),
                               .c = support_node_start_with(*state, "c", &cfg)};
    (void)support_box_start(&boxes[0], n.a, NULL);
    (void)support_box_start(&boxes[1], n.b, NULL);
    (void)support_box_start(&boxes[2], n.c, NULL);
    return n;
}

/* The last of `count` messages in box says that `winner` has its name. */
static void expect_lost(struct support_box *box, uint64_t count, rusm_pid winner)
{
    support_box_wait(box, count);
    assert_int_equal(box->kind, RUSM_MSG_NAME_CONFLICT);
    assert_true(rusm_pid_equal(box->sender, winner));
    assert_int_equal(box->len, strlen(NAME));
    assert_memory_equal(box->data, NAME, strlen(NAME));
}

static uint64_t conflicts(struct support_node *node)
{
    return support_stat(node, offsetof(rusm_node_stats, names_conflicts));
}

/* ---- one owner ------------------------------------------------------------------------------- */

/* Link all after a and b have registered NAME: all agree on `first`, the other is told once, and
 * takes over when `first` ends. */
static void expect_succession(struct support_three n, struct support_box *first,
                              struct support_box *second)
{
    support_connect(n.a, n.c);
    support_connect(n.b, n.c);
    support_connect(n.a, n.b);
    support_name_wait_all(&n, NAME, first->pid);
    expect_lost(second, 1, first->pid);
    assert_int_equal(conflicts(n.a) + conflicts(n.b) + conflicts(n.c), 1);
    assert_int_equal(support_names(n.c), 1);
    assert_int_equal(rusm_send_global(n.a->node, NAME, "x", 1), RUSM_OK);
    assert_int_equal(rusm_send_global(n.b->node, NAME, "x", 1), RUSM_OK);
    assert_int_equal(rusm_send_global(n.c->node, NAME, "x", 1), RUSM_OK);
    support_box_wait(first, 3);
    support_kill(first->pid);
    support_name_wait_all(&n, NAME, second->pid);
    support_box_wait(second, 1);
    support_kill(second->pid);
    support_name_wait_all(&n, NAME, RUSM_PID_NONE);
}

static void two_owners_become_one_and_the_other_takes_over(void **state)
{
    struct support_three n = unlinked(state);

    support_publish(n.a, NAME, boxes[0].pid);
    support_publish(n.b, NAME, boxes[1].pid);
    expect_succession(n, &boxes[0], &boxes[1]);
}

/* Names that "a" had before make its claim the later one, so that "b" wins in spite of its name. */
static void earlier_claim_wins(void **state)
{
    struct support_three n = unlinked(state);

    for (unsigned i = 0; i < 3; i++) {
        support_publish(n.a, "before", boxes[0].pid);
        assert_int_equal(rusm_unregister_global(n.a->node, "before"), RUSM_OK);
    }
    support_publish(n.a, NAME, boxes[0].pid);
    support_publish(n.b, NAME, boxes[1].pid);
    expect_succession(n, &boxes[1], &boxes[0]);
}

/* Who lost a name may give up its claim, and is then not the next owner. */
static void losing_claim_can_be_withdrawn(void **state)
{
    struct support_three n = unlinked(state);

    support_publish(n.a, NAME, boxes[0].pid);
    support_publish(n.b, NAME, boxes[1].pid);
    support_connect(n.a, n.b);
    expect_lost(&boxes[1], 1, boxes[0].pid);
    assert_int_equal(rusm_unregister_global(n.b->node, NAME), RUSM_OK);
    assert_int_equal(rusm_unregister_global(n.b->node, NAME), RUSM_EPERM);
    support_kill(boxes[0].pid);
    support_name_wait(n.b, NAME, RUSM_PID_NONE);
    support_name_wait(n.a, NAME, RUSM_PID_NONE);
}

/* ---- at once --------------------------------------------------------------------------------- */

/* Whether a, b and c agree on the owner of a name. */
static bool agreed(const struct support_three *n, const char *name, rusm_pid *out_pid)
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

#define RACES   200
#define RUNNERS 3

struct race {
    struct support_three n;
    struct support_node *node; /* of this runner */
    rusm_pid pid;
    bool sync;
    pthread_barrier_t *start;
    rusm_err errs[RACES];
};

static const char *race_name(int i)
{
    static _Thread_local char name[16];

    (void)snprintf(name, sizeof(name), "race %d", i);
    return name;
}

static void *run_race(void *arg)
{
    struct race *race = arg;

    for (int i = 0; i < RACES; i++) {
        (void)pthread_barrier_wait(race->start);
        race->errs[i] = race->sync
                            ? rusm_register_global_sync(race->node->node, race_name(i), race->pid,
                                                        SUPPORT_DEADLINE_MS)
                            : rusm_register_global(race->node->node, race_name(i), race->pid);
    }
    return NULL;
}

static bool all_agreed(void *arg)
{
    const struct race *race = arg;
    rusm_pid pid;
    bool all = true;

    for (int i = 0; all && i < RACES; i++) {
        all = agreed(&race->n, race_name(i), &pid);
    }
    return all;
}

/*
 * All three nodes register one name after the other at the same time. Each name has one owner
 * everywhere, one of those whose registration succeeded. Returns how often more than one did.
 */
static unsigned run_races(void **state, bool sync)
{
    static struct race races[RUNNERS];
    struct support_three n = support_three_start(*state);
    struct support_node *nodes[RUNNERS] = {n.a, n.b, n.c};
    pthread_barrier_t start;
    pthread_t threads[RUNNERS];
    unsigned more = 0;

    assert_int_equal(pthread_barrier_init(&start, NULL, RUNNERS), 0);
    for (int r = 0; r < RUNNERS; r++) {
        races[r] = (struct race){.n = n, .node = nodes[r], .sync = sync, .start = &start};
        races[r].pid = support_box_start(&boxes[r], nodes[r], NULL);
        assert_int_equal(pthread_create(&threads[r], NULL, run_race, &races[r]), 0);
    }
    for (int r = 0; r < RUNNERS; r++) {
        assert_int_equal(pthread_join(threads[r], NULL), 0);
    }
    (void)pthread_barrier_destroy(&start);
    assert_true(support_wait(all_agreed, &races[0]));
    for (int i = 0; i < RACES; i++) {
        unsigned won = 0, owners = 0;
        rusm_pid pid;

        assert_true(agreed(&n, race_name(i), &pid));
        for (int r = 0; r < RUNNERS; r++) {
            assert_true(races[r].errs[i] == RUSM_OK || races[r].errs[i] == RUSM_EEXIST);
            won += races[r].errs[i] == RUSM_OK ? 1 : 0;
            owners += races[r].errs[i] == RUSM_OK && rusm_pid_equal(pid, races[r].pid) ? 1 : 0;
        }
        assert_int_equal(owners, 1);
        more += won - 1;
    }
    support_box_wait(&boxes[0], conflicts(n.a));
    support_box_wait(&boxes[1], conflicts(n.b));
    support_box_wait(&boxes[2], conflicts(n.c));
    return more;
}

static void nodes_that_register_at_once_get_one_owner_everywhere(void **state)
{
    (void)run_races(state, false);
}

/* Who asks first, and gets the name, keeps it: nobody is ever told of a loss. */
static void of_nodes_that_ask_at_once_exactly_one_gets_the_name(void **state)
{
    assert_int_equal(run_races(state, true), 0);
    for (int r = 0; r < RUNNERS; r++) {
        assert_int_equal(atomic_load(&boxes[r].count), 0);
    }
}

/* ---- asking first ---------------------------------------------------------------------------- */

static void name_that_all_agreed_to_is_taken_everywhere(void **state)
{
    struct support_three n = support_three_start(*state);
    rusm_pid pid = support_idle_start(n.a, NULL), other = support_idle_start(n.b, NULL);

    assert_int_equal(rusm_register_global_sync(n.a->node, NAME, pid, SUPPORT_DEADLINE_MS), RUSM_OK);
    assert_true(support_name_is(n.a, NAME, pid));
    /* At once, whether the news has come or not. */
    assert_int_equal(rusm_register_global(n.b->node, NAME, other), RUSM_EEXIST);
    assert_non_null(strstr(rusm_err_detail(), "leader is taken by a process of node a"));
    assert_int_equal(rusm_register_global_sync(n.b->node, NAME, other, SUPPORT_DEADLINE_MS),
                     RUSM_EEXIST);
    support_name_wait_all(&n, NAME, pid);
    support_kill(pid);
    support_name_wait_all(&n, NAME, RUSM_PID_NONE);
    assert_int_equal(rusm_register_global_sync(n.b->node, NAME, other, SUPPORT_DEADLINE_MS),
                     RUSM_OK);
    support_name_wait_all(&n, NAME, other);
}

static void what_can_not_be_registered_is_not_asked_for(void **state)
{
    struct support_node *a = support_node_start(*state, "a");
    struct support_node *o = support_node_start_role(*state, "o", RUSM_ROLE_OPERATOR);
    rusm_pid pid = support_idle_start(a, NULL), dead = support_idle_start(a, NULL);

    support_kill(dead);
    assert_int_equal(rusm_register_global_sync(a->node, "", pid, 1000), RUSM_EINVAL);
    assert_int_equal(rusm_register_global_sync(a->node, NULL, pid, 1000), RUSM_EINVAL);
    assert_int_equal(rusm_register_global_sync(a->node, NAME, dead, 1000), RUSM_ENOPROC);
    assert_int_equal(rusm_register_global_sync(a->node, NAME, RUSM_PID_NONE, 1000), RUSM_EINVAL);
    assert_int_equal(rusm_register_global_sync(NULL, NAME, pid, 1000), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_register_global_sync(o->node, NAME, support_idle_start(o, NULL), 1000),
                     RUSM_EPERM);
    assert_int_equal(support_names(a), 0);
    assert_int_equal(rusm_register_global_sync(a->node, NAME, pid, 0), RUSM_OK); /* nobody to ask */
}

/* a is linked with c, and with b through a network that can be cut. */
static struct support_proxy *linked_through_proxy(struct support_three n)
{
    struct support_proxy *proxy = support_proxy_new(rusm_node_address(n.b->node));

    support_connect(n.a, n.c);
    assert_int_equal(
        rusm_node_connect(n.a->node, support_proxy_address(proxy), SUPPORT_DEADLINE_MS, NULL),
        RUSM_OK);
    support_wait_peer(n.a, "b", true);
    support_wait_peer(n.b, "a", true);
    return proxy;
}

static void name_that_a_peer_does_not_agree_to_in_time_is_withdrawn(void **state)
{
    struct support_three n = unlinked(state);
    struct support_proxy *proxy = linked_through_proxy(n);

    support_proxy_cut(proxy, true);
    assert_int_equal(rusm_register_global_sync(n.a->node, NAME, boxes[0].pid, 100), RUSM_ETIMEOUT);
    assert_non_null(strstr(rusm_err_detail(), "node b did not agree"));
    assert_true(support_name_is(n.a, NAME, RUSM_PID_NONE));
    support_proxy_cut(proxy, false);
    /* Nothing is left of it, on a at once, elsewhere when the news has come. */
    support_publish(n.a, "after", boxes[0].pid);
    support_name_wait_all(&n, "after", boxes[0].pid);
    support_publish(n.c, NAME, boxes[2].pid);
    support_name_wait(n.a, NAME, boxes[2].pid);
    assert_int_equal(rusm_register_global(n.b->node, NAME, boxes[1].pid), RUSM_OK);
    support_proxy_del(proxy);
}

struct asking {
    struct support_node *node;
    rusm_pid pid;
};

static rusm_err ask(void *arg)
{
    const struct asking *asking = arg;

    return rusm_register_global_sync(asking->node->node, NAME, asking->pid, RUSM_INFINITY);
}

/* A process of a asks for NAME, for another one, while b does not hear of it. */
static void start_asking(struct support_call *call, struct support_three n)
{
    static struct asking asking;

    asking = (struct asking){.node = n.a, .pid = boxes[0].pid};
    support_call_start(call, n.a, ask, &asking);
    support_call_wait_blocked(call);
    assert_int_equal(rusm_register_global(n.a->node, NAME, boxes[0].pid), RUSM_EEXIST);
}

static bool c_has_registered(void *arg)
{
    const struct support_three *n = arg;

    return rusm_register_global(n->c->node, NAME, boxes[2].pid) == RUSM_OK;
}

static void name_is_withdrawn_when_the_caller_is_killed(void **state)
{
    static struct support_call call;
    struct support_three n = unlinked(state);
    struct support_proxy *proxy = linked_through_proxy(n);

    support_proxy_cut(proxy, true);
    start_asking(&call, n);
    support_kill(call.pid);
    assert_true(support_name_is(n.a, NAME, RUSM_PID_NONE));
    assert_true(support_wait(c_has_registered, &n));
    support_name_wait(n.a, NAME, boxes[2].pid);
    support_proxy_del(proxy);
}

static void name_is_withdrawn_when_its_process_ends(void **state)
{
    static struct support_call call;
    struct support_three n = unlinked(state);
    struct support_proxy *proxy = linked_through_proxy(n);

    support_proxy_cut(proxy, true);
    start_asking(&call, n);
    support_kill(boxes[0].pid);
    support_call_wait(&call);
    assert_int_equal(call.err, RUSM_ENOPROC);
    assert_true(support_wait(c_has_registered, &n));
    support_proxy_del(proxy);
}

/* The link to the peer that is waited for is lost: it no longer counts. */
static void lost_peer_is_not_waited_for(void **state)
{
    static struct support_call call;
    struct support_three n = unlinked(state);
    struct support_proxy *proxy = linked_through_proxy(n);

    support_proxy_cut(proxy, true);
    start_asking(&call, n);
    assert_int_equal(rusm_node_disconnect(n.a->node, "b"), RUSM_OK);
    support_call_wait(&call);
    assert_int_equal(call.err, RUSM_OK);
    support_name_wait(n.c, NAME, boxes[0].pid);
    support_proxy_del(proxy);
}

/* A node that goes while it asks takes the ask along. */
static void node_that_is_deleted_asks_no_more(void **state)
{
    static struct support_call call;
    struct support_three n = unlinked(state);
    struct support_proxy *proxy = linked_through_proxy(n);

    support_proxy_cut(proxy, true);
    start_asking(&call, n);
    support_node_stop(n.a);
    assert_true(support_wait(c_has_registered, &n));
    support_proxy_del(proxy);
}

/* ---- partition ------------------------------------------------------------------------------- */

static void dial_through(struct support_node *from, struct support_proxy *proxy,
                         struct support_node *to, const char *from_name, const char *to_name)
{
    assert_int_equal(
        rusm_node_connect(from->node, support_proxy_address(proxy), SUPPORT_DEADLINE_MS, NULL),
        RUSM_OK);
    support_wait_peer(from, to_name, true);
    support_wait_peer(to, from_name, true);
}

/*
 * b is cut off from a and c. Both sides see the other's names go, and register the same name. When
 * the network is whole again all agree on one owner, and the other is told, once.
 */
static void both_sides_of_a_partition_agree_when_it_heals(void **state)
{
    rusm_node_config cfg = support_node_config();
    struct support_proxy *to_a, *to_c;
    struct support_three n;
    struct support_box *winner, *loser;
    rusm_pid owner;

    cfg.mesh = false; /* only through the proxies */
    cfg.tick_ms = 500;
    n = (struct support_three){.a = support_node_start_with(*state, "a", &cfg),
                               .b = support_node_start_with(*state, "b", &cfg),
                               .c = support_node_start_with(*state, "c", &cfg)};
    (void)support_box_start(&boxes[0], n.a, NULL);
    (void)support_box_start(&boxes[1], n.b, NULL);
    to_a = support_proxy_new(rusm_node_address(n.a->node));
    to_c = support_proxy_new(rusm_node_address(n.c->node));
    support_connect(n.a, n.c);
    dial_through(n.b, to_a, n.a, "b", "a");
    dial_through(n.b, to_c, n.c, "b", "c");
    support_publish(n.a, "of a", boxes[0].pid);
    support_publish(n.b, "of b", boxes[1].pid);
    support_name_wait_all(&n, "of a", boxes[0].pid);
    support_name_wait_all(&n, "of b", boxes[1].pid);

    support_proxy_cut(to_a, true);
    support_proxy_cut(to_c, true);
    support_name_wait(n.b, "of a", RUSM_PID_NONE);
    support_name_wait(n.a, "of b", RUSM_PID_NONE);
    support_name_wait(n.c, "of b", RUSM_PID_NONE);
    support_wait_peers(n.b, 0);
    assert_int_equal(rusm_register_global_sync(n.a->node, NAME, boxes[0].pid, SUPPORT_DEADLINE_MS),
                     RUSM_OK);
    assert_int_equal(rusm_register_global_sync(n.b->node, NAME, boxes[1].pid, SUPPORT_DEADLINE_MS),
                     RUSM_OK);
    support_name_wait(n.c, NAME, boxes[0].pid);

    support_proxy_cut(to_a, false);
    support_proxy_cut(to_c, false);
    dial_through(n.b, to_a, n.a, "b", "a");
    dial_through(n.b, to_c, n.c, "b", "c");
    support_name_wait_all(&n, "of a", boxes[0].pid);
    support_name_wait_all(&n, "of b", boxes[1].pid);
    assert_int_equal(rusm_whereis_global(n.c->node, NAME, &owner), RUSM_OK);
    winner = rusm_pid_equal(owner, boxes[0].pid) ? &boxes[0] : &boxes[1];
    loser = winner == &boxes[0] ? &boxes[1] : &boxes[0];
    support_name_wait_all(&n, NAME, winner->pid);
    expect_lost(loser, 1, winner->pid);
    assert_int_equal(conflicts(n.a) + conflicts(n.b) + conflicts(n.c), 1);
    assert_int_equal(atomic_load(&winner->count), 0);
    support_kill(winner->pid);
    support_name_wait_all(&n, NAME, loser->pid);
    support_proxy_del(to_a);
    support_proxy_del(to_c);
}

#define CASE(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, support_world_setup, support_world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(two_owners_become_one_and_the_other_takes_over),
        CASE(earlier_claim_wins),
        CASE(losing_claim_can_be_withdrawn),
        CASE(nodes_that_register_at_once_get_one_owner_everywhere),
        CASE(of_nodes_that_ask_at_once_exactly_one_gets_the_name),
        CASE(name_that_all_agreed_to_is_taken_everywhere),
        CASE(what_can_not_be_registered_is_not_asked_for),
        CASE(name_that_a_peer_does_not_agree_to_in_time_is_withdrawn),
        CASE(name_is_withdrawn_when_the_caller_is_killed),
        CASE(name_is_withdrawn_when_its_process_ends),
        CASE(lost_peer_is_not_waited_for),
        CASE(node_that_is_deleted_asks_no_more),
        CASE(both_sides_of_a_partition_agree_when_it_heals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
