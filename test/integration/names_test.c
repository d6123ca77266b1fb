/* SPDX-License-Identifier: MIT */
/*
 * Global names between real nodes: who learns of a name and when, when it goes, and that nobody but
 * its node can say so. Names that several claim are in name_conflicts_test.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/names.h"

#define MANY  10000
#define EARLY 3000 /* of those, before there is a link: more than one burst of pages */

static void wait_gone(struct support_node *node, const char *name)
{
    support_name_wait(node, name, RUSM_PID_NONE);
}

/* ---- one node -------------------------------------------------------------------------------- */

static void name_is_found_until_it_is_withdrawn(void **state)
{
    struct support_node *a = support_node_start(*state, "a");
    rusm_pid pid = support_idle_start(a, NULL);

    wait_gone(a, "leader");
    support_publish(a, "leader", pid);
    assert_true(support_name_is(a, "leader", pid));
    assert_int_equal(rusm_unregister_global(a->node, "leader"), RUSM_OK);
    assert_true(support_name_is(a, "leader", RUSM_PID_NONE));
    assert_int_equal(rusm_unregister_global(a->node, "leader"), RUSM_ENONAME);
    support_publish(a, "leader", pid);
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
    assert_int_equal(support_names(a), 0);
    support_publish(a, too_long + 1, pid);
}

static void name_taken_here_is_an_error_that_names_this_node(void **state)
{
    struct support_node *a = support_node_start(*state, "a");
    rusm_pid pid = support_idle_start(a, NULL), other = support_idle_start(a, NULL);

    support_publish(a, "leader", pid);
    assert_int_equal(rusm_register_global(a->node, "leader", other), RUSM_EEXIST);
    assert_non_null(strstr(rusm_err_detail(), "leader is taken by a process of node a"));
    assert_true(support_name_is(a, "leader", pid));
}

static void name_over_the_nodes_own_limit_is_refused(void **state)
{
    rusm_node_config cfg = support_node_config();
    struct support_node *a;
    rusm_pid pid;

    cfg.names_max = 2;
    a = support_node_start_with(*state, "a", &cfg);
    pid = support_idle_start(a, NULL);
    support_publish(a, "one", pid);
    support_publish(a, "two", pid);
    assert_int_equal(rusm_register_global(a->node, "three", pid), RUSM_EFULL);
    assert_int_equal(support_names(a), 2);
    assert_int_equal(rusm_unregister_global(a->node, "one"), RUSM_OK);
    support_publish(a, "three", pid);
}

/* ---- who learns of it ------------------------------------------------------------------------ */

static void name_reaches_peers_that_are_there(void **state)
{
    struct support_three n = support_three_start(*state);
    rusm_pid pid = support_idle_start(n.a, NULL);

    support_publish(n.a, "leader", pid);
    support_name_wait(n.b, "leader", pid);
    support_name_wait(n.c, "leader", pid);
}

static void name_reaches_a_peer_that_connects_later(void **state)
{
    struct support_node *a = support_node_start(*state, "a");
    struct support_node *b = support_node_start(*state, "b");
    rusm_pid of_a = support_idle_start(a, NULL), of_b = support_idle_start(b, NULL);

    support_publish(a, "from a", of_a);
    support_publish(b, "from b", of_b);
    wait_gone(b, "from a");
    support_connect(a, b);
    support_name_wait(b, "from a", of_a);
    support_name_wait(a, "from b", of_b);
}

/* Hidden peers get no names: they ask. */
static void name_does_not_reach_an_operator(void **state)
{
    struct support_node *a = support_node_start(*state, "a");
    struct support_node *o = support_node_start_role(*state, "o", RUSM_ROLE_OPERATOR);
    rusm_pid pid = support_idle_start(a, NULL), found;

    support_publish(a, "leader", pid);
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
        support_publish(a, name, pid);
    }
    support_connect(a, b);
    support_wait_stat(b, offsetof(rusm_node_stats, names_refused), 2);
    support_names_wait(b, 3);
    assert_int_equal(support_peers(b), 1);
    /* Others take the places of those that go. */
    assert_int_equal(rusm_unregister_global(a->node, "name 0"), RUSM_OK);
    assert_int_equal(rusm_unregister_global(a->node, "name 1"), RUSM_OK);
    support_name_wait(b, "name 3", pid);
    support_name_wait(b, "name 4", pid);
    support_names_wait(b, 3);
}

/* ---- when it goes ---------------------------------------------------------------------------- */

/* Publish "leader" and "second" on a, end them as `end` says, and see them go everywhere. */
static void expect_withdrawal(void **state, void (*end)(struct support_three *n, rusm_pid pid))
{
    struct support_three n = support_three_start(*state);
    rusm_pid pid = support_idle_start(n.a, NULL), other = support_idle_start(n.b, NULL);

    support_publish(n.a, "leader", pid);
    support_publish(n.a, "second", pid);
    support_publish(n.b, "other", other);
    support_name_wait(n.b, "second", pid);
    support_name_wait(n.c, "second", pid);
    support_name_wait(n.c, "other", other);
    end(&n, pid);
    wait_gone(n.b, "leader");
    wait_gone(n.c, "leader");
    wait_gone(n.b, "second");
    wait_gone(n.c, "second");
    assert_true(support_name_is(n.b, "other", other));
    assert_true(support_name_is(n.c, "other", other));
    support_publish(n.b, "leader", other); /* it is free */
    support_name_wait(n.c, "leader", other);
}

static void by_its_end(struct support_three *n, rusm_pid pid)
{
    (void)n;
    support_end(pid);
}

static void names_are_withdrawn_everywhere_when_the_process_ends(void **state)
{
    expect_withdrawal(state, by_its_end);
}

static void by_a_kill(struct support_three *n, rusm_pid pid)
{
    (void)n;
    support_kill(pid);
}

static void names_are_withdrawn_everywhere_when_the_process_is_killed(void **state)
{
    expect_withdrawal(state, by_a_kill);
}

static void by_unregistering(struct support_three *n, rusm_pid pid)
{
    (void)pid;
    assert_int_equal(rusm_unregister_global(n->a->node, "leader"), RUSM_OK);
    assert_int_equal(rusm_unregister_global(n->a->node, "second"), RUSM_OK);
}

static void names_are_withdrawn_everywhere_when_they_are_unregistered(void **state)
{
    expect_withdrawal(state, by_unregistering);
}

static void by_the_nodes_end(struct support_three *n, rusm_pid pid)
{
    (void)pid;
    support_node_stop(n->a);
}

static void names_are_withdrawn_everywhere_when_the_node_is_deleted(void **state)
{
    expect_withdrawal(state, by_the_nodes_end);
}

static void by_disconnecting(struct support_three *n, rusm_pid pid)
{
    (void)pid;
    assert_int_equal(rusm_node_disconnect(n->a->node, "b"), RUSM_OK);
    assert_int_equal(rusm_node_disconnect(n->c->node, "a"), RUSM_OK);
}

static void names_are_withdrawn_when_the_link_is_closed(void **state)
{
    expect_withdrawal(state, by_disconnecting);
}

static void name_behind_a_closed_link_is_withdrawn_there_alone(void **state)
{
    struct support_three n = support_three_start(*state);
    rusm_pid pid = support_idle_start(n.a, NULL);

    support_publish(n.a, "leader", pid);
    support_name_wait_all(&n, "leader", pid);
    assert_int_equal(rusm_node_disconnect(n.b->node, "a"), RUSM_OK);
    wait_gone(n.b, "leader");
    support_name_wait(n.a, "leader", pid);
    support_name_wait(n.c, "leader", pid);
    support_wait_peer(n.a, "b", false);
    support_connect(n.b, n.a);
    support_name_wait(n.b, "leader", pid);
}

/* ---- one owner ------------------------------------------------------------------------------- */

static void name_taken_by_a_peer_is_an_error_that_names_its_node(void **state)
{
    struct support_three n = support_three_start(*state);
    rusm_pid pid = support_idle_start(n.a, NULL), other = support_idle_start(n.b, NULL);

    support_publish(n.a, "leader", pid);
    support_name_wait(n.b, "leader", pid);
    assert_int_equal(rusm_register_global(n.b->node, "leader", other), RUSM_EEXIST);
    assert_non_null(strstr(rusm_err_detail(), "leader is taken by a process of node a"));
    assert_true(support_name_is(n.b, "leader", pid));
}

static void refused_claim_leaves_no_trace(void **state)
{
    struct support_three n = support_three_start(*state);
    rusm_pid pid = support_idle_start(n.a, NULL);
    rusm_pid other = support_idle_start(n.b, NULL), mine = support_idle_start(n.a, NULL);

    support_publish(n.a, "leader", pid);
    support_name_wait(n.b, "leader", pid);
    assert_int_equal(rusm_register_global(n.b->node, "leader", other), RUSM_EEXIST);
    assert_int_equal(rusm_register_global(n.a->node, "leader", mine), RUSM_EEXIST);
    assert_int_equal(rusm_register_global(n.a->node, "leader", pid), RUSM_EEXIST);
    /* The end of those who were refused takes no name along. */
    support_kill(other);
    support_kill(mine);
    support_publish(n.a, "after", pid);
    support_name_wait(n.b, "after", pid);
    support_name_wait(n.b, "leader", pid);
}

static void one_process_may_own_several_names(void **state)
{
    struct support_three n = support_three_start(*state);
    rusm_pid pid = support_idle_start(n.a, NULL);

    support_publish(n.a, "one", pid);
    support_publish(n.a, "two", pid);
    support_name_wait(n.b, "one", pid);
    support_name_wait(n.b, "two", pid);
    assert_int_equal(rusm_unregister_global(n.a->node, "one"), RUSM_OK);
    wait_gone(n.b, "one");
    support_name_wait(n.b, "two", pid);
    support_kill(pid);
    wait_gone(n.b, "two");
    assert_int_equal(support_names(n.a), 0);
}

static void name_of_a_peer_can_not_be_unregistered(void **state)
{
    struct support_three n = support_three_start(*state);
    rusm_pid pid = support_idle_start(n.a, NULL);

    support_publish(n.a, "leader", pid);
    support_name_wait(n.b, "leader", pid);
    assert_int_equal(rusm_unregister_global(n.b->node, "leader"), RUSM_EPERM);
    assert_non_null(strstr(rusm_err_detail(), "another node owns it"));
    assert_true(support_name_is(n.a, "leader", pid));
    assert_true(support_name_is(n.b, "leader", pid));
    support_name_wait(n.c, "leader", pid);
}

/* ---- sending to it --------------------------------------------------------------------------- */

static void message_to_a_global_name_reaches_its_owner_from_any_node(void **state)
{
    static struct support_box box;
    struct support_three n = support_three_start(*state);
    struct support_node *nodes[] = {n.a, n.b, n.c};

    support_publish(n.a, "leader", support_box_start(&box, n.a, NULL));
    for (uint64_t i = 0; i < 3; i++) {
        support_name_wait(nodes[i], "leader", box.pid);
        assert_int_equal(rusm_send_global(nodes[i]->node, "leader", "hello", 5), RUSM_OK);
        support_box_wait(&box, i + 1);
        assert_int_equal(box.len, 5);
        assert_memory_equal(box.data, "hello", 5);
    }
}

static void local_owner_is_served_without_the_wire(void **state)
{
    static struct support_box box;
    struct support_three n = support_three_start(*state);

    support_publish(n.a, "leader", support_box_start(&box, n.a, NULL));
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
    support_publish(a, "leader", pid);
    support_kill(pid);
    wait_gone(a, "leader");
    assert_int_equal(rusm_send_global(a->node, "leader", "hello", 5), RUSM_ENONAME);
}

/* Answers every call with the sender's own bytes, until it gets anything else. */
static void serve(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        bool call = rusm_msg_get_kind(msg) == RUSM_MSG_CALL;

        if (call) {
            (void)!rusm_reply(rusm_msg_from(msg), rusm_msg_data(msg), rusm_msg_len(msg));
        }
        rusm_msg_del(msg);
        if (!call) {
            return;
        }
    }
}

/* A process that calls "leader" and compares the answer. */
static rusm_err call_leader(void *arg)
{
    const char *text = arg;
    rusm_msg *reply = NULL;
    rusm_err err =
        rusm_call_global(NULL, "leader", text, strlen(text), SUPPORT_DEADLINE_MS, &reply);

    if (err == RUSM_OK && (rusm_msg_len(reply) != strlen(text) ||
                           memcmp(rusm_msg_data(reply), text, strlen(text)) != 0)) {
        err = RUSM_EPROTO;
    }
    rusm_msg_del(reply);
    return err;
}

static rusm_err call_from(struct support_node *node)
{
    static struct support_call call;
    static char text[] = "hello";

    support_call_start(&call, node, call_leader, text);
    support_call_wait(&call);
    return call.err;
}

static void call_to_a_global_name_is_answered_on_any_node(void **state)
{
    struct support_three n = support_three_start(*state);
    rusm_pid pid;

    assert_int_equal(call_from(n.a), RUSM_ENONAME);
    assert_int_equal(rusm_call_global(NULL, "leader", "x", 1, 1000, NULL), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_spawn(n.a->runtime, serve, NULL, &pid), RUSM_OK);
    support_publish(n.a, "leader", pid);
    support_name_wait_all(&n, "leader", pid);
    assert_int_equal(call_from(n.a), RUSM_OK);
    assert_int_equal(call_from(n.b), RUSM_OK);
    assert_int_equal(call_from(n.c), RUSM_OK);
}

static void call_to_a_global_name_hears_of_its_owners_end(void **state)
{
    static struct support_call call;
    static struct support_box mute;
    static char text[] = "hello";
    struct support_three n = support_three_start(*state);

    support_publish(n.a, "leader", support_box_start(&mute, n.a, NULL));
    support_name_wait_all(&n, "leader", mute.pid);
    support_call_start(&call, n.b, call_leader, text);
    support_box_wait(&mute, 1);
    support_kill(mute.pid);
    support_call_wait(&call);
    assert_int_equal(call.err, RUSM_ENOPROC);
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
        support_publish(a, name, pid);
        if (i == EARLY) {
            support_connect(a, c); /* gets these in pages, and the rest as b gets all: one by one */
        }
    }
    support_names_wait(b, MANY);
    support_names_wait(c, MANY);
    assert_lists_all(a, pid, "a");
    assert_lists_all(b, pid, "a");
    assert_lists_all(c, pid, "a");
    support_kill(pid);
    support_names_wait(a, 0);
    support_names_wait(b, 0);
    support_names_wait(c, 0);
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
        CASE(name_behind_a_closed_link_is_withdrawn_there_alone),
        CASE(refused_claim_leaves_no_trace),
        CASE(one_process_may_own_several_names),
        CASE(name_taken_by_a_peer_is_an_error_that_names_its_node),
        CASE(name_of_a_peer_can_not_be_unregistered),
        CASE(message_to_a_global_name_reaches_its_owner_from_any_node),
        CASE(local_owner_is_served_without_the_wire),
        CASE(message_to_a_global_name_that_nobody_has_is_refused),
        CASE(call_to_a_global_name_is_answered_on_any_node),
        CASE(call_to_a_global_name_hears_of_its_owners_end),
        CASE(ten_thousand_names_come_and_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
