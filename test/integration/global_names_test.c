/* SPDX-License-Identifier: MIT */
/*
 * Claims to global names between real nodes, beyond the plain comings and goings of names_test.c:
 * which of several claims owns a name, what becomes of the others, and what a peer is told while
 * names are being registered (docs/design/names.md).
 *
 * A name that is right on one node becomes right on the others a moment later, so what is expected
 * of a peer is waited for; what is expected of the registering node holds at once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/nodes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MANY               5000
#define EARLY              3000 /* of those, before there is a link: more than one burst of pages */

#define EXPECT(want, call) expect((want), (call), #call, __LINE__)

static void expect(rusm_err want, rusm_err got, const char *call, int line)
{
    if (got != want) {
        fail_msg("line %d: %s: %s, not %s (%s)", line, call, rusm_err_name(got),
                 rusm_err_name(want), got == RUSM_OK ? "" : rusm_err_detail());
    }
}

/* Messages that any owner has received in the running test. */
static _Atomic uint64_t received;

/* Counts messages until an empty one comes. */
static void owner(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        size_t len = rusm_msg_len(msg);
        bool data = rusm_msg_get_kind(msg) == RUSM_MSG_DATA;

        rusm_msg_del(msg);
        if (len == 0) {
            return;
        }
        atomic_fetch_add(&received, data ? 1 : 0); /* else it has lost a name */
    }
}

static bool received_are(void *arg)
{
    return atomic_load(&received) == *(uint64_t *)arg;
}

static void wait_received(uint64_t want)
{
    if (!support_wait(received_are, &want)) {
        fail_msg("%llu messages, not %llu", (unsigned long long)atomic_load(&received),
                 (unsigned long long)want);
    }
}

static rusm_pid start_owner(struct support_node *node)
{
    rusm_pid pid;

    EXPECT(RUSM_OK, rusm_spawn(node->runtime, owner, NULL, &pid));
    return pid;
}

/* A process of node that owns name, known there at once. */
static rusm_pid publish(struct support_node *node, const char *name)
{
    rusm_pid pid = start_owner(node), found = RUSM_PID_NONE;

    EXPECT(RUSM_OK, rusm_register_global(node->node, name, pid));
    EXPECT(RUSM_OK, rusm_whereis_global(node->node, name, &found));
    assert_true(rusm_pid_equal(pid, found));
    return pid;
}

struct wish {
    struct support_node *node;
    const char *name;
    rusm_pid pid; /* the zero pid: nobody */
};

static bool name_is(void *arg)
{
    const struct wish *wish = arg;
    rusm_pid pid = RUSM_PID_NONE;
    rusm_err err = rusm_whereis_global(wish->node->node, wish->name, &pid);

    return (err == RUSM_OK || err == RUSM_ENONAME) && rusm_pid_equal(pid, wish->pid);
}

static void wait_owner(struct support_node *node, const char *name, rusm_pid pid)
{
    struct wish wish = {node, name, pid};

    if (!support_wait(name_is, &wish)) {
        fail_msg("%s does not agree about the name %s", rusm_node_name(node->node), name);
    }
}

static void wait_nobody(struct support_node *node, const char *name)
{
    wait_owner(node, name, RUSM_PID_NONE);
}

/* How many names a node lists. */
static size_t names_len(struct support_node *node)
{
    rusm_name_info infos[100];
    uint64_t cursor = 0;
    size_t len = 0;

    do {
        ptrdiff_t got = rusm_name_list(node->node, &cursor, infos, 100);

        assert_true(got >= 0);
        len += (size_t)got;
    } while (cursor != 0);
    return len;
}

struct names_wish {
    struct support_node *node;
    size_t len;
};

static bool names_are(void *arg)
{
    const struct names_wish *wish = arg;

    return names_len(wish->node) == wish->len;
}

static void wait_names(struct support_node *node, size_t len)
{
    struct names_wish wish = {node, len};

    if (!support_wait(names_are, &wish)) {
        fail_msg("%s knows %zu names, not %zu", rusm_node_name(node->node), names_len(node), len);
    }
}

/* Nodes "a", "b", "c", all linked. */
struct three {
    struct support_node *a, *b, *c;
};

static struct three mesh(void **state)
{
    struct three three = {.a = support_node_start(*state, "a"),
                          .b = support_node_start(*state, "b"),
                          .c = support_node_start(*state, "c")};

    atomic_store(&received, 0);
    support_connect(three.a, three.b);
    support_connect(three.b, three.c);
    support_connect(three.a, three.c);
    return three;
}

/* ---- many of one node ------------------------------------------------------------------------ */

static void one_process_may_own_several_names(void **state)
{
    struct three n = mesh(state);
    rusm_pid pid = publish(n.a, "one");

    EXPECT(RUSM_OK, rusm_register_global(n.a->node, "two", pid));
    wait_owner(n.b, "one", pid);
    wait_owner(n.b, "two", pid);
    EXPECT(RUSM_OK, rusm_unregister_global(n.a->node, "one"));
    wait_nobody(n.b, "one");
    wait_owner(n.b, "two", pid);
    EXPECT(RUSM_OK, rusm_kill(pid));
    wait_nobody(n.b, "two");
    assert_int_equal(names_len(n.a), 0);
}

/* Bit i is set once name number i was listed, so that none is missed and none comes twice. */
static void expect_each_once(struct support_node *node, rusm_pid pid)
{
    static bool seen[MANY];
    rusm_name_info infos[77]; /* divides neither the number of names nor a page */
    uint64_t cursor = 0;
    size_t total = 0;

    memset(seen, 0, sizeof(seen));
    do {
        ptrdiff_t got = rusm_name_list(node->node, &cursor, infos, 77);

        assert_true(got >= 0);
        for (ptrdiff_t i = 0; i < got; i++) {
            unsigned long number = strtoul(infos[i].name + strlen("name "), NULL, 10);

            assert_true(number < MANY);
            assert_false(seen[number]);
            seen[number] = true;
            assert_string_equal(infos[i].node, "a");
            assert_true(rusm_pid_equal(infos[i].pid, pid));
        }
        total += (size_t)got;
    } while (cursor != 0);
    assert_int_equal(total, MANY);
}

static void thousands_of_names_are_known_to_a_peer(void **state)
{
    struct support_node *a = support_node_start(*state, "a");
    struct support_node *b = support_node_start(*state, "b");
    rusm_pid pid = start_owner(a);
    char name[32];

    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof(name), "name %u", i);
        EXPECT(RUSM_OK, rusm_register_global(a->node, name, pid));
        if (i == EARLY) {
            support_connect(b, a); /* the rest is registered while the first are being told */
        }
    }
    wait_names(b, MANY);
    expect_each_once(a, pid);
    expect_each_once(b, pid);
    EXPECT(RUSM_OK, rusm_kill(pid));
    wait_names(a, 0);
    wait_names(b, 0);
    assert_int_equal(support_stats(b).names_refused, 0);
}

/* ---- withdrawn and back ---------------------------------------------------------------------- */

/* Three nodes that agree on the owner of "leader", a process of "a". */
static struct three agreed(void **state, rusm_pid *out_pid)
{
    struct three n = mesh(state);

    *out_pid = publish(n.a, "leader");
    wait_owner(n.b, "leader", *out_pid);
    wait_owner(n.c, "leader", *out_pid);
    return n;
}

static void name_behind_a_closed_link_is_withdrawn_there_alone(void **state)
{
    rusm_pid pid;
    struct three n = agreed(state, &pid);

    EXPECT(RUSM_OK, rusm_node_disconnect(n.b->node, "a"));
    wait_nobody(n.b, "leader");
    wait_owner(n.a, "leader", pid);
    wait_owner(n.c, "leader", pid);
    support_wait_peer(n.a, "b", false);
    support_connect(n.b, n.a);
    wait_owner(n.b, "leader", pid);
}

/* ---- whose name it is ------------------------------------------------------------------------ */

static void refused_claim_leaves_no_trace(void **state)
{
    rusm_pid pid;
    struct three n = agreed(state, &pid);
    rusm_pid other = start_owner(n.b), mine = start_owner(n.a);

    EXPECT(RUSM_EEXIST, rusm_register_global(n.b->node, "leader", other));
    assert_non_null(strstr(rusm_err_detail(), "node a"));
    EXPECT(RUSM_EEXIST, rusm_register_global(n.a->node, "leader", mine));
    assert_non_null(strstr(rusm_err_detail(), "node a"));
    EXPECT(RUSM_EEXIST, rusm_register_global(n.a->node, "leader", pid));
    wait_owner(n.a, "leader", pid);
    wait_owner(n.b, "leader", pid);
    /* The end of those who were refused takes no name along. */
    EXPECT(RUSM_OK, rusm_kill(other));
    EXPECT(RUSM_OK, rusm_kill(mine));
    wait_owner(n.b, "after", publish(n.a, "after"));
    wait_owner(n.b, "leader", pid);
}

/* Link "a", "b" and "c" after two of them have registered "leader": all agree on `first`, and when
 * it ends, on `second`. */
static void expect_succession(struct three n, rusm_pid first, rusm_pid second)
{
    support_connect(n.a, n.c);
    support_connect(n.b, n.c);
    support_connect(n.a, n.b);
    wait_owner(n.a, "leader", first);
    wait_owner(n.b, "leader", first);
    wait_owner(n.c, "leader", first);
    assert_int_equal(names_len(n.c), 1);
    EXPECT(RUSM_OK, rusm_send_global(n.a->node, "leader", "x", 1));
    EXPECT(RUSM_OK, rusm_send_global(n.b->node, "leader", "x", 1));
    EXPECT(RUSM_OK, rusm_send_global(n.c->node, "leader", "x", 1));
    wait_received(3);
    EXPECT(RUSM_OK, rusm_kill(first));
    wait_owner(n.a, "leader", second);
    wait_owner(n.b, "leader", second);
    wait_owner(n.c, "leader", second);
    EXPECT(RUSM_OK, rusm_kill(second));
    wait_nobody(n.a, "leader");
    wait_nobody(n.b, "leader");
    wait_nobody(n.c, "leader");
}

static struct three unlinked(void **state)
{
    atomic_store(&received, 0);
    return (struct three){.a = support_node_start(*state, "a"),
                          .b = support_node_start(*state, "b"),
                          .c = support_node_start(*state, "c")};
}

static void two_owners_become_one_and_the_other_takes_over(void **state)
{
    struct three n = unlinked(state);
    rusm_pid on_a = publish(n.a, "leader"), on_b = publish(n.b, "leader");

    expect_succession(n, on_a, on_b);
}

/* Names that "a" had before make its claim the later one, so that "b" wins in spite of its name. */
static void earlier_claim_wins(void **state)
{
    struct three n = unlinked(state);
    rusm_pid on_a, on_b;

    for (unsigned i = 0; i < 3; i++) {
        (void)publish(n.a, "before");
        EXPECT(RUSM_OK, rusm_unregister_global(n.a->node, "before"));
    }
    on_a = publish(n.a, "leader");
    on_b = publish(n.b, "leader");
    expect_succession(n, on_b, on_a);
}

/* Who lost a name may give up its claim, and is then not the next owner. */
static void losing_claim_can_be_withdrawn(void **state)
{
    struct three n = unlinked(state);
    rusm_pid on_a = publish(n.a, "leader"), on_b = publish(n.b, "leader");

    support_connect(n.a, n.b);
    wait_owner(n.b, "leader", on_a);
    assert_true(rusm_is_alive(on_b));
    EXPECT(RUSM_OK, rusm_unregister_global(n.b->node, "leader"));
    EXPECT(RUSM_EPERM, rusm_unregister_global(n.b->node, "leader"));
    EXPECT(RUSM_OK, rusm_kill(on_a));
    wait_nobody(n.b, "leader");
    wait_nobody(n.a, "leader");
}

#define CASE(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, support_world_setup, support_world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(one_process_may_own_several_names),
        CASE(thousands_of_names_are_known_to_a_peer),
        CASE(name_behind_a_closed_link_is_withdrawn_there_alone),
        CASE(refused_claim_leaves_no_trace),
        CASE(two_owners_become_one_and_the_other_takes_over),
        CASE(earlier_claim_wins),
        CASE(losing_claim_can_be_withdrawn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
