/* SPDX-License-Identifier: MIT */
/*
 * Groups that span real nodes: who is a member is known everywhere, comings and goings are events,
 * and a send takes one copy to each node (docs/design/groups.md).
 *
 * What is so on one node is known on the others a moment later, and is waited for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/nodes.h"
#include "support/procs.h"
#include "support/raw_peer.h"

#include <rusm/cluster/events.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM "room"

/* ---- members --------------------------------------------------------------------------------- */

static void join(struct support_node *node, const char *group, rusm_pid pid)
{
    assert_int_equal(rusm_group_join(node->runtime, group, pid), RUSM_OK);
}

/* A process that is a member. */
static rusm_pid member(struct support_node *node, const char *group)
{
    rusm_pid pid = support_idle_start(node, NULL);

    join(node, group, pid);
    return pid;
}

struct members_wish {
    struct support_node *node;
    const char *group;
    ptrdiff_t len;
};

static bool members_are(void *arg)
{
    const struct members_wish *wish = arg;

    return rusm_group_members(wish->node->runtime, wish->group, NULL, 0) == wish->len;
}

static void wait_members(struct support_node *node, const char *group, ptrdiff_t len)
{
    struct members_wish wish = {node, group, len};

    if (!support_wait(members_are, &wish)) {
        fail_msg("%s knows %td members of %s, not %td", rusm_node_name(node->node),
                 rusm_group_members(node->runtime, group, NULL, 0), group, len);
    }
}

/* The three know each other. */
static void mesh(void **state, struct support_node *nodes[3])
{
    const char *const names[] = {"a", "b", "c"};

    for (int i = 0; i < 3; i++) {
        nodes[i] = support_node_start(*state, names[i]);
    }
    support_connect(nodes[0], nodes[1]);
    support_connect(nodes[1], nodes[2]);
    support_connect(nodes[0], nodes[2]);
}

static void members_of_all_nodes_are_known_to_all(void **state)
{
    struct support_node *nodes[3];
    rusm_pid pids[3], known[3];

    mesh(state, nodes);
    for (int i = 0; i < 3; i++) {
        pids[i] = member(nodes[i], ROOM);
    }
    for (int i = 0; i < 3; i++) {
        wait_members(nodes[i], ROOM, 3);
        assert_int_equal(rusm_group_local_members(nodes[i]->runtime, ROOM, known, 3), 1);
        assert_true(rusm_pid_equal(known[0], pids[i]));
        assert_int_equal(rusm_group_members(nodes[i]->runtime, ROOM, known, 3), 3);
        assert_true(rusm_pid_equal(known[0], pids[i])); /* our own come first */
        for (int of = 0; of < 3; of++) {
            bool found = false;

            for (int k = 0; k < 3; k++) {
                found = found || rusm_pid_equal(known[k], pids[of]);
            }
            assert_true(found);
        }
    }
    support_kill(pids[0]);
    assert_int_equal(rusm_group_leave(nodes[1]->runtime, ROOM, pids[1]), RUSM_OK);
    for (int i = 0; i < 3; i++) {
        wait_members(nodes[i], ROOM, 1);
    }
}

/* Whoever comes late is told of all, thousands of them, and of what changes meanwhile. */
static void late_node_hears_of_thousands(void **state)
{
    enum {
        MANY = 3000
    };
    struct support_node *a = support_node_start(*state, "a"), *b;
    rusm_pid pid = support_idle_start(a, NULL), other = support_idle_start(a, NULL);
    char name[32];

    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof(name), "group %u", i);
        join(a, name, pid);
        join(a, ROOM, other);
        join(a, name, other);
    }
    b = support_node_start(*state, "b");
    support_connect(b, a);
    support_kill(other);
    join(a, "last", pid);
    wait_members(b, "last", 1);
    wait_members(b, "group 2999", 1);
    wait_members(b, "group 0", 1);
    wait_members(b, ROOM, 0);
    support_kill(pid);
    wait_members(b, "last", 0);
    wait_members(b, "group 0", 0);
    wait_members(b, "group 2999", 0);
}

/* ---- events ---------------------------------------------------------------------------------- */

#define EVENTS_MAX 64

struct event {
    rusm_msg_kind kind;
    rusm_pid pid;
};

/* A process that monitors the room, and nodes, and keeps what it hears. */
struct watcher {
    struct event events[EVENTS_MAX];
    atomic_size_t len;
    atomic_bool ready;
};

static void watch(void *arg)
{
    struct watcher *watcher = arg;
    rusm_msg *msg;
    rusm_ref ref;

    if (rusm_monitor_nodes(true) != RUSM_OK || rusm_group_monitor(ROOM, &ref, NULL, 0) < 0) {
        return;
    }
    atomic_store(&watcher->ready, true);
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        size_t len = atomic_load(&watcher->len);

        if (len < EVENTS_MAX) {
            watcher->events[len] = (struct event){rusm_msg_get_kind(msg), rusm_msg_sender(msg)};
        }
        rusm_msg_del(msg);
        atomic_store(&watcher->len, len + 1);
    }
}

static bool is_ready(void *arg)
{
    return atomic_load(&((struct watcher *)arg)->ready);
}

static void watcher_start(struct watcher *watcher, struct support_node *node)
{
    rusm_pid pid;

    memset(watcher, 0, sizeof(*watcher));
    assert_int_equal(rusm_spawn(node->runtime, watch, watcher, &pid), RUSM_OK);
    assert_true(support_wait(is_ready, watcher));
}

struct heard_wish {
    struct watcher *watcher;
    size_t len;
};

static bool has_heard(void *arg)
{
    const struct heard_wish *wish = arg;

    return atomic_load(&wish->watcher->len) >= wish->len;
}

/* Event number `at` is that one. */
static void expect_event(struct watcher *watcher, size_t at, rusm_msg_kind kind, rusm_pid pid)
{
    struct heard_wish wish = {watcher, at + 1};

    assert_true(support_wait(has_heard, &wish));
    assert_int_equal(watcher->events[at].kind, kind);
    if (!rusm_pid_is_none(pid)) {
        assert_true(rusm_pid_equal(watcher->events[at].pid, pid));
    }
}

static void comings_and_goings_are_events_on_other_nodes(void **state)
{
    static struct watcher watcher;
    struct support_node *nodes[3];
    rusm_pid one, two;

    mesh(state, nodes);
    watcher_start(&watcher, nodes[1]);
    one = member(nodes[0], ROOM);
    expect_event(&watcher, 0, RUSM_MSG_JOIN, one);
    two = member(nodes[2], ROOM);
    expect_event(&watcher, 1, RUSM_MSG_JOIN, two);
    assert_int_equal(rusm_group_leave(nodes[0]->runtime, ROOM, one), RUSM_OK);
    expect_event(&watcher, 2, RUSM_MSG_LEAVE, one);
    join(nodes[0], ROOM, one);
    expect_event(&watcher, 3, RUSM_MSG_JOIN, one);
    support_kill(one);
    expect_event(&watcher, 4, RUSM_MSG_LEAVE, one);
    support_end(two);
    expect_event(&watcher, 5, RUSM_MSG_LEAVE, two);
    assert_int_equal(atomic_load(&watcher.len), 6);
}

/* All of its members leave, once each, and then the node is down. */
static void members_of_a_lost_node_leave_before_it_is_down(void **state)
{
    enum {
        LOST = 20
    };
    static struct watcher watcher;
    struct support_node *nodes[3];
    bool left[LOST] = {false};
    rusm_pid pids[LOST], stays;

    mesh(state, nodes);
    stays = member(nodes[1], ROOM);
    for (int i = 0; i < LOST; i++) {
        pids[i] = member(nodes[0], ROOM);
    }
    wait_members(nodes[1], ROOM, LOST + 1);
    wait_members(nodes[2], ROOM, LOST + 1);
    watcher_start(&watcher, nodes[1]);
    assert_int_equal(rusm_node_disconnect(nodes[1]->node, "a"), RUSM_OK);
    expect_event(&watcher, LOST, RUSM_MSG_NODE_DOWN, RUSM_PID_NONE);
    for (int e = 0; e < LOST; e++) {
        assert_int_equal(watcher.events[e].kind, RUSM_MSG_LEAVE);
        for (int i = 0; i < LOST; i++) {
            if (rusm_pid_equal(pids[i], watcher.events[e].pid)) {
                assert_false(left[i]);
                left[i] = true;
            }
        }
    }
    for (int i = 0; i < LOST; i++) {
        assert_true(left[i]);
    }
    wait_members(nodes[0], ROOM, LOST);
    wait_members(nodes[2], ROOM, LOST + 1); /* it still has its link */
    /* And back: the node comes up before its members. */
    support_connect(nodes[1], nodes[0]);
    expect_event(&watcher, LOST + 1, RUSM_MSG_NODE_UP, RUSM_PID_NONE);
    wait_members(nodes[1], ROOM, LOST + 1);
    wait_members(nodes[0], ROOM, LOST + 1);
    expect_event(&watcher, LOST + 1 + LOST, RUSM_MSG_JOIN, RUSM_PID_NONE);
    /* The end of a node takes it out everywhere. */
    support_node_stop(nodes[0]);
    wait_members(nodes[1], ROOM, 1);
    wait_members(nodes[2], ROOM, 1);
    support_kill(stays);
    wait_members(nodes[2], ROOM, 0);
}

/* ---- sending --------------------------------------------------------------------------------- */

/* Of so many members that they leave in slices: they have left when the node is told down; who asks
 * for node events only then does not hear of it; and a node that is back at once is told down
 * first, and has its members again. */
static void thousands_of_members_leave_before_their_node_is_down(void **state)
{
    enum {
        MANY = 3000,
        ROUNDS = 5
    };
    struct support_node *a = support_node_start(*state, "a"), *b = support_node_start(*state, "b");
    rusm_pid pid = support_idle_start(b, NULL);
    char name[32];

    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof(name), "group %u", i);
        join(b, name, pid);
    }
    join(b, ROOM, pid);
    assert_int_equal(rusm_thread_enter(a->runtime, "test"), RUSM_OK);
    for (int round = 0; round < ROUNDS; round++) {
        const bool back = round % 2 == 1, late = round % 3 == 2;
        rusm_msg *msg;

        support_connect(a, b);
        wait_members(a, ROOM, 1); /* it joined that last */
        assert_int_equal(rusm_monitor_nodes(!late), RUSM_OK);
        assert_int_equal(rusm_node_disconnect(a->node, "b"), RUSM_OK);
        assert_int_equal(rusm_monitor_nodes(true), RUSM_OK);
        if (back) {
            support_connect(a, b);
        }
        if (late) {
            wait_members(a, ROOM, 0);
            assert_int_equal(rusm_monitor_nodes(false), RUSM_OK); /* after who took the last out */
            assert_int_equal(rusm_receive(&msg, 0), RUSM_ETIMEOUT);
            continue;
        }
        assert_int_equal(rusm_receive(&msg, SUPPORT_DEADLINE_MS), RUSM_OK);
        assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_NODE_DOWN);
        rusm_msg_del(msg);
        if (back) {
            assert_int_equal(rusm_receive(&msg, SUPPORT_DEADLINE_MS), RUSM_OK);
            assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_NODE_UP);
            rusm_msg_del(msg);
            wait_members(a, ROOM, 1);
            wait_members(a, "group 0", 1);
            assert_int_equal(rusm_monitor_nodes(false), RUSM_OK);
            assert_int_equal(rusm_node_disconnect(a->node, "b"), RUSM_OK);
            wait_members(a, ROOM, 0);
            continue;
        }
        for (unsigned i = 0; i < MANY; i++) {
            (void)snprintf(name, sizeof(name), "group %u", i);
            assert_int_equal(rusm_group_members(a->runtime, name, NULL, 0), 0);
        }
        assert_int_equal(rusm_monitor_nodes(false), RUSM_OK);
    }
    rusm_thread_leave();
}

static void each_node_gets_one_copy(void **state)
{
    enum {
        EACH = 5
    };
    static struct support_box boxes[3][EACH];
    struct support_node *nodes[3];
    uint64_t before[3];

    mesh(state, nodes);
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < EACH; k++) {
            join(nodes[i], ROOM, support_box_start(&boxes[i][k], nodes[i], NULL));
        }
    }
    wait_members(nodes[0], ROOM, 3 * EACH);
    for (int i = 0; i < 3; i++) {
        before[i] = support_stats(nodes[i]).messages_sent;
    }
    assert_int_equal(rusm_group_send(nodes[0]->runtime, ROOM, "hello", 5), 3 * EACH);
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < EACH; k++) {
            support_box_wait(&boxes[i][k], 1);
            assert_memory_equal(boxes[i][k].data, "hello", 5);
        }
    }
    support_wait_stat(nodes[0], offsetof(rusm_node_stats, messages_sent), before[0] + 2);
    assert_int_equal(support_stats(nodes[0]).messages_sent, before[0] + 2);
    assert_int_equal(support_stats(nodes[1]).messages_sent, before[1]); /* it hands nothing on */
    assert_int_equal(support_stats(nodes[2]).messages_sent, before[2]);
}

/* A sender with numbered messages for the room, over links whose queue takes one message. */
struct speaker {
    rusm_runtime *rt;
    uint64_t count;
    bool wait;
    _Atomic uint64_t sent; /* copies to members */
    atomic_bool done;
};

static void speak(void *arg)
{
    struct speaker *speaker = arg;

    for (uint64_t i = 0; i < speaker->count; i++) {
        ptrdiff_t sent = speaker->wait ? rusm_group_send(NULL, ROOM, &i, sizeof(i))
                                       : rusm_group_try_send(NULL, ROOM, &i, sizeof(i));

        if (sent > 0) {
            (void)atomic_fetch_add(&speaker->sent, (uint64_t)sent);
        }
    }
    atomic_store(&speaker->done, true);
}

static bool speaker_is_done(void *arg)
{
    return atomic_load(&((struct speaker *)arg)->done);
}

/* A member that asserts nothing and counts what comes in order. */
struct listener {
    _Atomic uint64_t heard, wrong;
    uint64_t next;
    rusm_pid sender;
};

static void listen_to(void *arg)
{
    struct listener *listener = arg;
    rusm_msg *msg;

    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        uint64_t number = 0;

        memcpy(&number, rusm_msg_data(msg), rusm_msg_len(msg) < 8 ? rusm_msg_len(msg) : 8);
        if (number < listener->next) {
            (void)atomic_fetch_add(&listener->wrong, 1);
        }
        listener->next = number + 1;
        listener->sender = rusm_msg_sender(msg);
        rusm_msg_del(msg);
        (void)atomic_fetch_add(&listener->heard, 1);
    }
}

struct hear_wish {
    struct listener *listeners;
    uint64_t sum;
};

static bool all_is_heard(void *arg)
{
    const struct hear_wish *wish = arg;

    return atomic_load(&wish->listeners[0].heard) + atomic_load(&wish->listeners[1].heard) ==
           wish->sum;
}

static bool at_least_is_heard(void *arg)
{
    const struct hear_wish *wish = arg;

    return atomic_load(&wish->listeners[0].heard) + atomic_load(&wish->listeners[1].heard) >=
           wish->sum;
}

/* "a", whose links take one message at a time, speaks to a member of "b" and one of "c". */
static void speak_over_narrow_links(void **state, bool wait, uint64_t count,
                                    struct listener listeners[2], uint64_t *out_skipped)
{
    static struct speaker speaker;
    rusm_node_config cfg = support_node_config();
    struct support_node *a, *others[2];
    struct hear_wish wish = {listeners, 0};
    rusm_runtime_stats stats;
    rusm_pid pid;

    cfg.queue_bytes_max = 1;
    a = support_node_start_with(*state, "a", &cfg);
    others[0] = support_node_start(*state, "b");
    others[1] = support_node_start(*state, "c");
    for (int i = 0; i < 2; i++) {
        support_connect(a, others[i]);
        assert_int_equal(rusm_spawn(others[i]->runtime, listen_to, &listeners[i], &pid), RUSM_OK);
        join(others[i], ROOM, pid);
    }
    wait_members(a, ROOM, 2);
    memset(&speaker, 0, sizeof(speaker));
    speaker.wait = wait;
    speaker.count = count;
    assert_int_equal(rusm_spawn(a->runtime, speak, &speaker, &pid), RUSM_OK);
    assert_true(support_wait(speaker_is_done, &speaker));
    wish.sum = atomic_load(&speaker.sent);
    if (!support_wait(all_is_heard, &wish)) {
        fail_msg("%llu and %llu were heard of %llu",
                 (unsigned long long)atomic_load(&listeners[0].heard),
                 (unsigned long long)atomic_load(&listeners[1].heard),
                 (unsigned long long)wish.sum);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(atomic_load(&listeners[i].wrong), 0);
        assert_true(rusm_pid_equal(listeners[i].sender, pid));
    }
    assert_int_equal(rusm_runtime_get_stats(a->runtime, &stats), RUSM_OK);
    *out_skipped = stats.copies_skipped;
    assert_int_equal(wish.sum + stats.copies_skipped, 2 * count);
}

static void sender_waits_for_full_links_and_nothing_is_lost(void **state)
{
    static struct listener listeners[2];
    uint64_t skipped;

    memset(listeners, 0, sizeof(listeners));
    speak_over_narrow_links(state, true, 3000, listeners, &skipped);
    assert_int_equal(skipped, 0);
    assert_int_equal(atomic_load(&listeners[0].heard), 3000);
    assert_int_equal(atomic_load(&listeners[1].heard), 3000);
}

static void who_does_not_wait_skips_full_links_and_counts(void **state)
{
    static struct listener listeners[2];
    uint64_t skipped;

    memset(listeners, 0, sizeof(listeners));
    speak_over_narrow_links(state, false, 3000, listeners, &skipped);
    assert_true(skipped > 0);
    assert_true(atomic_load(&listeners[0].heard) > 0);
}

/* Who is killed while it waits for a full link sends no more, and leaves nothing behind. */
static void killed_sender_ends_in_the_middle(void **state)
{
    static struct listener listeners[2];
    static struct speaker speaker;
    rusm_node_config cfg = support_node_config();
    struct support_node *a, *b = support_node_start(*state, "b");
    struct hear_wish wish = {listeners, 0};
    rusm_pid pid, heard;

    memset(listeners, 0, sizeof(listeners));
    memset(&speaker, 0, sizeof(speaker));
    cfg.queue_bytes_max = 1;
    a = support_node_start_with(*state, "a", &cfg);
    support_connect(a, b);
    assert_int_equal(rusm_spawn(b->runtime, listen_to, &listeners[0], &heard), RUSM_OK);
    join(b, ROOM, heard);
    wait_members(a, ROOM, 1);
    speaker.wait = true;
    speaker.count = UINT64_MAX;
    assert_int_equal(rusm_spawn(a->runtime, speak, &speaker, &pid), RUSM_OK);
    wish.sum = 100;
    assert_true(support_wait(at_least_is_heard, &wish));
    support_kill(pid);
    /* What was accepted before arrives: the call that was cut short may have sent one more. */
    wish.sum = atomic_load(&speaker.sent);
    assert_true(support_wait(at_least_is_heard, &wish));
    assert_true(atomic_load(&listeners[0].heard) <= wish.sum + 1);
    assert_int_equal(atomic_load(&listeners[0].wrong), 0);
}

/* Exit signals reach the members of all nodes. */
static void terminate_ends_members_everywhere(void **state)
{
    const rusm_reason reason = rusm_reason_make(RUSM_REASON_SHUTDOWN);
    struct support_node *nodes[3];
    rusm_pid pids[3];

    mesh(state, nodes);
    for (int i = 0; i < 3; i++) {
        pids[i] = member(nodes[i], ROOM);
    }
    wait_members(nodes[0], ROOM, 3);
    assert_int_equal(rusm_group_terminate(nodes[0]->runtime, ROOM, &reason), 3);
    for (int i = 0; i < 3; i++) {
        support_wait_end(pids[i]);
        wait_members(nodes[i], ROOM, 0);
    }
}

/* ---- lists ----------------------------------------------------------------------------------- */

static void groups_of_another_node_are_listed(void **state)
{
    enum {
        MANY = 250 /* more than two pages */
    };
    static rusm_group_info infos[MANY + 1];
    struct support_node *nodes[3];
    bool seen[MANY] = {false};
    uint64_t cursor = 0;
    rusm_pid pid;
    char name[32];

    mesh(state, nodes);
    pid = support_idle_start(nodes[0], NULL);
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof(name), "%u", i);
        join(nodes[0], name, pid);
    }
    join(nodes[1], "7", support_idle_start(nodes[1], NULL));
    wait_members(nodes[1], "249", 1);
    wait_members(nodes[1], "7", 2);
    assert_int_equal(
        rusm_remote_group_list(nodes[2]->node, "b", &cursor, infos, MANY + 1, SUPPORT_DEADLINE_MS),
        MANY);
    assert_int_equal(cursor, 0);
    for (unsigned i = 0; i < MANY; i++) {
        unsigned long number = strtoul(infos[i].name, NULL, 10);

        if (number >= MANY) { /* said so that compilers see it, too */
            fail();
            break;
        }
        assert_false(seen[number]);
        seen[number] = true;
        assert_int_equal(infos[i].members, number == 7 ? 2 : 1);
        assert_int_equal(infos[i].local, number == 7 ? 1 : 0);
    }
    /* And of itself. */
    assert_int_equal(
        rusm_remote_group_list(nodes[0]->node, "a", &cursor, infos, 5, SUPPORT_DEADLINE_MS), 5);
    assert_true(cursor != 0 && infos[0].local == 1);
}

/* ---- limits and liars ------------------------------------------------------------------------ */

static void members_over_the_limit_are_refused_and_counted(void **state)
{
    rusm_node_config cfg = support_node_config();
    struct support_node *a, *b = support_node_start(*state, "b");

    cfg.groups_max = 10;
    a = support_node_start_with(*state, "a", &cfg);
    for (int i = 0; i < 25; i++) {
        (void)member(b, ROOM);
    }
    support_connect(a, b);
    support_wait_stat(a, offsetof(rusm_node_stats, groups_refused), 15);
    assert_int_equal(rusm_group_members(a->runtime, ROOM, NULL, 0), 10);
    assert_int_equal(support_stats(a).groups_refused, 15);
    support_wait_peer(a, "b", true);
}

struct raw_wish {
    struct support_raw *raw;
    bool (*holds)(void *arg);
    void *arg;
};

static bool raw_wish_holds(void *arg)
{
    const struct raw_wish *wish = arg;

    return wish->holds(wish->arg);
}

static void raw_wait(struct support_raw *raw, bool (*holds)(void *arg), void *arg)
{
    struct raw_wish wish = {raw, holds, arg};

    assert_true(support_raw_run(raw, raw_wish_holds, &wish));
}

static void raw_groups(struct support_raw *raw, enum rusmi_frame_type type, const char *group,
                       uint64_t serial)
{
    struct rusmi_group_entry entry = {group, strlen(group), serial};
    struct rusmi_frame frame = {.type = type};

    frame.u.groups.entries = &entry;
    frame.u.groups.len = 1;
    support_raw_frame(raw, &frame);
}

/* A peer speaks for its own processes and for no others, whatever numbers it names. */
static void liar_changes_only_what_is_its_own(void **state)
{
    struct support_node *a = support_node_start(*state, "a"), *b = support_node_start(*state, "b");
    rusm_identity *identity = support_identity(*state, "z");
    struct support_raw *raw = support_raw_dial(identity, rusm_node_address(a->node));
    struct members_wish wish = {a, ROOM, 4};
    rusm_pid on_a = member(a, ROOM), on_b = member(b, ROOM), pids[4];

    support_connect(a, b);
    wait_members(a, ROOM, 2);
    support_raw_join(raw, "z");
    raw_groups(raw, RUSMI_FRAME_GROUPS_DEL, ROOM, on_a.serial);
    raw_groups(raw, RUSMI_FRAME_GROUPS_DEL, ROOM, on_b.serial);
    raw_groups(raw, RUSMI_FRAME_GROUPS_ADD, ROOM, on_b.serial);
    raw_groups(raw, RUSMI_FRAME_GROUPS_ADD, ROOM, on_b.serial);
    raw_groups(raw, RUSMI_FRAME_GROUPS_ADD, ROOM, on_b.serial + 1);
    raw_wait(raw, members_are, &wish);
    assert_int_equal(rusm_group_members(a->runtime, ROOM, pids, 4), 4);
    assert_true(rusm_pid_equal(pids[0], on_a) && rusm_pid_equal(pids[1], on_b));
    for (int i = 2; i < 4; i++) {
        assert_int_equal(pids[i].incarnation, raw->incarnation);
    }
    support_raw_del(raw); /* without a word */
    rusm_identity_del(identity);
    assert_int_equal(rusm_node_disconnect(a->node, "z"), RUSM_OK);
    wait_members(a, ROOM, 2);
    assert_int_equal(rusm_group_members(b->runtime, ROOM, NULL, 0), 2);
}

/* A test that fails leaves its thread in the runtime, which could not end then. */
static int teardown(void **state)
{
    if (!rusm_pid_is_none(rusm_self())) {
        rusm_thread_leave();
    }
    return support_world_teardown(state);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, support_world_setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(members_of_all_nodes_are_known_to_all),
        CASE(late_node_hears_of_thousands),
        CASE(comings_and_goings_are_events_on_other_nodes),
        CASE(members_of_a_lost_node_leave_before_it_is_down),
        CASE(thousands_of_members_leave_before_their_node_is_down),
        CASE(each_node_gets_one_copy),
        CASE(sender_waits_for_full_links_and_nothing_is_lost),
        CASE(who_does_not_wait_skips_full_links_and_counts),
        CASE(killed_sender_ends_in_the_middle),
        CASE(terminate_ends_members_everywhere),
        CASE(groups_of_another_node_are_listed),
        CASE(members_over_the_limit_are_refused_and_counted),
        CASE(liar_changes_only_what_is_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
