/* SPDX-License-Identifier: MIT */
/*
 * Monitors, links, kills and spawns between the processes of two nodes on real threads, while the
 * link between them is taken away and made again: each monitor gets one down, and the events of the
 * nodes alternate, each in its place among the downs.
 *
 * What a process finds wrong it notes; the test's own thread asserts. Nothing waits for time: a
 * round is over when both listeners have seen that it had begun and so many downs have come, and
 * the storm when every process has had the down of every monitor.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/procs.h"

#include <rusm/cluster/events.h>
#include <rusm/cluster/remote.h>

#define ROUNDS  20
#define SLOTS   6 /* processes of each node */
#define WATCHES 32
#define SIGNS   8   /* messages that go to and fro all the time */
#define DOWNS   500 /* in each round, before the link is taken away */

static struct storm {
    struct support_node *nodes[2];
    _Atomic uint64_t slots[2][SLOTS]; /* serials */
    rusm_pid anchors[2];
    atomic_bool stop;
    atomic_int wrong; /* the line that found something wrong first */
    _Atomic unsigned listening, finished, downs, broken, born;
    _Atomic unsigned confirmed[2]; /* connections that a listener has seen at work */
    _Atomic unsigned lost[2];
} storm;

static void note(bool right, int line)
{
    int none = 0;

    if (!right) {
        (void)atomic_compare_exchange_strong(&storm.wrong, &none, line);
    }
}
#define check(condition) note((condition), __LINE__)

/* ---- the processes --------------------------------------------------------------------------- */

struct actor {
    int node, slot;
    uint64_t random;
    rusm_ref watches[WATCHES];
    size_t watches_len;
};

static uint64_t draw(struct actor *actor, uint64_t below)
{
    actor->random ^= actor->random << 13;
    actor->random ^= actor->random >> 7;
    actor->random ^= actor->random << 17;
    return (actor->random >> 16) % below;
}

static bool forget(struct actor *actor, rusm_ref ref)
{
    for (size_t i = 0; i < actor->watches_len; i++) {
        if (rusm_ref_equal(actor->watches[i], ref)) {
            actor->watches[i] = actor->watches[--actor->watches_len];
            return true;
        }
    }
    return false;
}

static void act(struct actor *actor)
{
    int there = 1 - actor->node;
    struct support_node *peer = storm.nodes[there];
    rusm_pid pid = {rusm_runtime_incarnation(peer->runtime),
                    atomic_load(&storm.slots[there][draw(actor, SLOTS)])};
    rusm_ref ref;

    switch (draw(actor, 16)) {
    case 0:
    case 1:
        (void)!rusm_link(pid);
        break;
    case 2:
        (void)!rusm_unlink(pid);
        break;
    case 3:
        (void)!rusm_kill(pid);
        break;
    case 4:
        if (actor->watches_len > 0) {
            ref = actor->watches[draw(actor, actor->watches_len)];
            (void)rusm_demonitor(ref, true);
            check(forget(actor, ref));
        }
        break;
    case 5:
        if (actor->watches_len < WATCHES &&
            rusm_spawn_remote_monitor(storm.nodes[actor->node]->node, there == 0 ? "a" : "b",
                                      "idle", NULL, 0, RUSM_INFINITY, &pid, &ref) == RUSM_OK) {
            actor->watches[actor->watches_len++] = ref;
            (void)atomic_fetch_add(&storm.born, 1);
            (void)!rusm_kill(pid);
        }
        break;
    default:
        if (actor->watches_len < WATCHES && pid.serial != 0) {
            check(rusm_monitor(pid, &ref) == RUSM_OK);
            actor->watches[actor->watches_len++] = ref;
        }
        break;
    }
}

static void hear(struct actor *actor, rusm_msg *msg)
{
    if (rusm_msg_get_kind(msg) == RUSM_MSG_DOWN) {
        check(forget(actor, rusm_msg_ref(msg))); /* else a second one */
        (void)atomic_fetch_add(&storm.downs, 1);
        if (rusm_msg_reason(msg)->kind == RUSM_REASON_NOCONNECTION) {
            (void)atomic_fetch_add(&storm.broken, 1);
        }
    }
    rusm_msg_del(msg);
}

/* Goes on until the storm is over and all its monitors have come to an end. */
static void live(void *arg)
{
    const struct actor *made = arg;
    struct actor actor = {.node = made->node, .slot = made->slot};
    rusm_pid self = rusm_self();
    rusm_msg *msg;

    actor.random = self.serial * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)actor.node + 1;
    /* first of all: who ends the storm either finds it here, or is seen to have ended it */
    atomic_store(&storm.slots[actor.node][actor.slot], self.serial);
    (void)rusm_trap_exit(draw(&actor, 4) != 0);
    while (!atomic_load(&storm.stop) || actor.watches_len > 0) {
        bool over = atomic_load(&storm.stop);

        if (!over) {
            act(&actor);
        }
        if (rusm_receive(&msg, over ? RUSM_INFINITY : (int64_t)draw(&actor, 2)) == RUSM_OK) {
            hear(&actor, msg);
        }
    }
}

/* Keeps a process in its slot. */
static void guard(void *arg)
{
    struct actor *actor = arg;

    while (!atomic_load(&storm.stop)) {
        rusm_pid pid;
        rusm_ref ref;
        rusm_msg *msg;

        check(rusm_spawn(NULL, live, actor, &pid) == RUSM_OK);
        check(rusm_monitor(pid, &ref) == RUSM_OK);
        if (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
            check(rusm_msg_get_kind(msg) == RUSM_MSG_DOWN);
            rusm_msg_del(msg);
        }
    }
    (void)atomic_fetch_add(&storm.finished, 1);
}

static void idle(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_del(msg);
    }
}

static rusm_err make_idle(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    (void)arg;
    (void)args;
    (void)args_len;
    return rusm_spawn(NULL, idle, NULL, out_pid);
}

/* ---- the events ------------------------------------------------------------------------------ */

static void echo(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_pid to = rusm_msg_sender(msg);

        if (rusm_send_msg(to, msg) != RUSM_OK) {
            rusm_msg_del(msg);
        }
    }
}

/*
 * With each connection monitors the other node's anchor, and asks it for signs, again and again.
 * Once one has come the monitor is known to be one of this connection, so its down comes before the
 * node's; and no sign of that node comes after its down, or while the node is down.
 */
static void listen_to_nodes(void *arg)
{
    int own = (int)((rusm_pid *)arg - storm.anchors);
    bool up = false, confirmed = false, down = false;
    uint32_t connection = 0, sign;
    rusm_ref ref = {0, 0};
    rusm_msg *msg;

    check(rusm_monitor_nodes(true) == RUSM_OK);
    (void)atomic_fetch_add(&storm.listening, 1);
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        switch (rusm_msg_get_kind(msg)) {
        case RUSM_MSG_NODE_UP:
            check(!up && rusm_msg_node_event(msg)->up);
            up = true;
            confirmed = down = false;
            connection++;
            check(rusm_monitor(storm.anchors[1 - own], &ref) == RUSM_OK);
            for (int i = 0; i < SIGNS; i++) {
                (void)!rusm_send(storm.anchors[1 - own], &connection, sizeof(connection));
            }
            break;
        case RUSM_MSG_NODE_DOWN:
            check(up && !rusm_msg_node_event(msg)->up);
            check(down || !confirmed);
            up = false;
            (void)atomic_fetch_add(&storm.lost[own], 1);
            break;
        case RUSM_MSG_DOWN:
            check(rusm_msg_reason(msg)->kind == RUSM_REASON_NOCONNECTION);
            if (rusm_ref_equal(rusm_msg_ref(msg), ref)) {
                check(!down && (up || !confirmed));
                down = true;
            }
            break;
        case RUSM_MSG_DATA:
            memcpy(&sign, rusm_msg_data(msg), sizeof(sign));
            check(up);
            if (sign == connection) {
                check(!down);
                (void)atomic_fetch_add(&storm.confirmed[own], confirmed ? 0 : 1);
                confirmed = true;
                (void)!rusm_send(storm.anchors[1 - own], &sign, sizeof(sign));
            }
            break;
        default:
            check(false);
            break;
        }
        rusm_msg_del(msg);
    }
}

/* ---- the storm ------------------------------------------------------------------------------- */

struct goal {
    unsigned confirmed[2], lost[2], downs, finished;
};

static bool is_reached(void *arg)
{
    const struct goal *goal = arg;
    bool reached =
        atomic_load(&storm.finished) >= goal->finished && atomic_load(&storm.downs) >= goal->downs;

    for (int i = 0; i < 2; i++) {
        reached = reached && atomic_load(&storm.confirmed[i]) >= goal->confirmed[i] &&
                  atomic_load(&storm.lost[i]) >= goal->lost[i];
    }
    return reached || atomic_load(&storm.wrong) != 0;
}

static void reach(const struct goal *goal)
{
    struct goal copy = *goal;

    assert_true(support_wait(is_reached, &copy));
    assert_int_equal(atomic_load(&storm.wrong), 0);
}

static bool is_listening(void *arg)
{
    (void)arg;
    return atomic_load(&storm.listening) == 2;
}

static void start_node(struct support_world *world, int i)
{
    static struct actor actors[2][SLOTS];
    struct support_node *node = support_node_start(world, i == 0 ? "a" : "b");
    rusm_pid pid;

    storm.nodes[i] = node;
    assert_int_equal(rusm_factory_register(node->node, "idle", make_idle, NULL), RUSM_OK);
    assert_int_equal(rusm_spawn(node->runtime, echo, NULL, &storm.anchors[i]), RUSM_OK);
    for (int slot = 0; slot < SLOTS; slot++) {
        actors[i][slot] = (struct actor){.node = i, .slot = slot};
    }
    if (i == 0) {
        return;
    }
    for (int k = 0; k < 2; k++) { /* once both are there */
        assert_int_equal(
            rusm_spawn(storm.nodes[k]->runtime, listen_to_nodes, &storm.anchors[k], &pid), RUSM_OK);
    }
    assert_true(support_wait(is_listening, NULL));
    for (int k = 0; k < 2 * SLOTS; k++) {
        assert_int_equal(
            rusm_spawn(storm.nodes[k % 2]->runtime, guard, &actors[k % 2][k / 2], &pid), RUSM_OK);
    }
}

static void stop_storm(void)
{
    atomic_store(&storm.stop, true);
    for (int i = 0; i < 2; i++) {
        for (int slot = 0; slot < SLOTS; slot++) {
            rusm_pid pid = {rusm_runtime_incarnation(storm.nodes[i]->runtime),
                            atomic_load(&storm.slots[i][slot])};

            (void)!rusm_send(pid, "stop", 4); /* one that has ended needs none */
        }
    }
}

static void test_every_monitor_has_one_down_however_links_come_and_go(void **state)
{
    struct goal goal = {.finished = 0};

    memset(&storm, 0, sizeof(storm));
    start_node(*state, 0);
    start_node(*state, 1);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        int by = (int)(round % 2);

        support_connect(storm.nodes[by], storm.nodes[1 - by]);
        goal.confirmed[0] = goal.confirmed[1] = round;
        goal.downs = atomic_load(&storm.downs) + DOWNS;
        reach(&goal);
        if (round == ROUNDS) {
            stop_storm(); /* what is still watched then is told by the last loss */
        }
        assert_int_equal(rusm_node_disconnect(storm.nodes[by]->node, by == 0 ? "b" : "a"), RUSM_OK);
        goal.lost[0] = goal.lost[1] = round;
        reach(&goal);
    }
    goal.finished = 2 * SLOTS;
    reach(&goal);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(atomic_load(&storm.lost[i]), ROUNDS);
        assert_int_equal(atomic_load(&storm.confirmed[i]), ROUNDS);
    }
    assert_true(atomic_load(&storm.downs) > ROUNDS * DOWNS && atomic_load(&storm.broken) > ROUNDS);
    assert_true(atomic_load(&storm.born) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_monitor_has_one_down_however_links_come_and_go,
                                        support_world_setup, support_world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
