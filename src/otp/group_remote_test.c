/* SPDX-License-Identifier: MIT */
/*
 * Groups with members on other nodes, which a router of the test stands for: what is told of our
 * own members, what monitors hear of others', and who gets a copy of what is sent.
 */
#include "otp/kit_fixture_test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#define G     "group"
#define TOKYO ((uint64_t)77)
#define PARIS ((uint64_t)78)

/* ---- a router -------------------------------------------------------------------------------- */

#define COPIES_MAX 16

struct copy {
    uint64_t incarnation;
    rusm_pid from;
    char text[32];
    bool wait;
};

static struct {
    unsigned changed;
    struct copy copies[COPIES_MAX];
    size_t copies_len;
    uint64_t full;   /* a node whose link takes nothing at once */
    uint64_t broken; /* one whose link fails with `err` */
    rusm_err err;
} net;

static void route_changed(void *arg)
{
    (void)arg;
    net.changed++;
}

static rusm_err route_group(void *arg, rusm_pid from, uint64_t incarnation, const char *group,
                            const void *data, size_t len, int64_t timeout_ms)
{
    struct copy *copy = &net.copies[net.copies_len];

    (void)arg;
    assert_string_equal(group, G);
    assert_true(timeout_ms == 0 || timeout_ms == RUSM_INFINITY);
    if (incarnation == net.full && timeout_ms == 0) {
        return RUSM_EAGAIN;
    }
    if (incarnation == net.broken) {
        return net.err;
    }
    assert_true(net.copies_len < COPIES_MAX && len < sizeof(copy->text));
    *copy = (struct copy){.incarnation = incarnation, .from = from, .wait = timeout_ms != 0};
    memcpy(copy->text, data, len);
    net.copies_len++;
    return RUSM_OK;
}

/* Groups ask it for nothing else. */
static const rusm_router router = {.groups_changed = route_changed, .group_send = route_group};

static void open_node(uint64_t seed)
{
    memset(&net, 0, sizeof(net));
    kit_open(seed);
    rusm_runtime_set_router(kit.rt, &router, NULL);
    rusm_runtime_group_follow(kit.rt, true);
}

static void close_node(void)
{
    rusm_thread_leave();
    while (rusm_runtime_stop(kit.rt, RUSM_INFINITY) != RUSM_OK) {
    }
    rusm_runtime_set_router(kit.rt, NULL, NULL);
    rusm_runtime_group_follow(kit.rt, false);
    rusm_runtime_del(kit.rt);
    rusm_pool_del(kit.pool);
}

static void on_node(void (*body)(void))
{
    for (uint64_t seed = 1; seed <= KIT_SEEDS; seed++) {
        open_node(seed);
        body();
        close_node();
    }
}

/* ---- short ways ------------------------------------------------------------------------------ */

static void join(const char *group, rusm_pid pid)
{
    assert_int_equal(rusm_group_join(kit.rt, group, pid), RUSM_OK);
}

static void leave(const char *group, rusm_pid pid)
{
    assert_int_equal(rusm_group_leave(kit.rt, group, pid), RUSM_OK);
}

static rusm_pid far(uint64_t incarnation, uint64_t serial)
{
    return (rusm_pid){incarnation, serial};
}

static void far_join(const char *group, rusm_pid pid)
{
    assert_int_equal(rusm_runtime_group_remote_add(kit.rt, group, strlen(group), pid), RUSM_OK);
}

static void far_leave(const char *group, rusm_pid pid)
{
    rusm_runtime_group_remote_del(kit.rt, group, strlen(group), pid);
}

static void expect_members(const char *group, const rusm_pid *expected, size_t local, size_t len)
{
    rusm_pid pids[16];

    assert_int_equal(rusm_group_members(kit.rt, group, pids, 16), len);
    for (size_t i = 0; i < len; i++) {
        assert_true(rusm_pid_equal(pids[i], expected[i]));
    }
    memset(pids, 0, sizeof(pids));
    assert_int_equal(rusm_group_local_members(kit.rt, group, pids, 16), local);
    for (size_t i = 0; i < 16; i++) {
        assert_true(rusm_pid_equal(pids[i], i < local ? expected[i] : RUSM_PID_NONE));
    }
}

/* The next change of our own members that is taken. */
static void expect_news(const char *group, rusm_pid pid, bool joined)
{
    rusm_group_change change;

    assert_int_equal(rusm_runtime_group_take(kit.rt, &change, 1), 1);
    assert_string_equal(change.group, group);
    assert_int_equal(change.serial, pid.serial);
    assert_int_equal(change.joined, joined);
}

static void expect_no_news(void)
{
    rusm_group_change change;

    assert_int_equal(rusm_runtime_group_take(kit.rt, &change, 1), 0);
}

static void expect_change(rusm_ref ref, rusm_msg_kind kind, rusm_pid pid)
{
    rusm_msg *msg = kit_receive();

    assert_int_equal(rusm_msg_get_kind(msg), kind);
    assert_true(rusm_pid_equal(rusm_msg_sender(msg), pid));
    assert_true(rusm_ref_equal(rusm_msg_ref(msg), ref));
    rusm_msg_del(msg);
}

/* ---- what others hear ------------------------------------------------------------------------ */

static void news(void)
{
    rusm_pid a = kit_spawn(kit_body_wait, NULL), b = kit_spawn(kit_body_wait, NULL);

    join(G, a);
    join(G, a); /* twice is once */
    join("other", a);
    join(G, b);
    assert_int_equal(net.changed, 1); /* the rest came before anything was taken */
    expect_news(G, a, true);
    leave(G, a);
    expect_news("other", a, true);
    expect_news(G, b, true);
    expect_news(G, a, false);
    expect_no_news();
    join(G, a);
    assert_int_equal(net.changed, 2);
    leave(G, a); /* so shortly that nobody has taken it */
    join(G, a);
    assert_int_equal(net.changed, 2);
    assert_int_equal(rusm_kill(a), RUSM_OK);
    kit_settle();
    expect_news(G, a, true);
    expect_news(G, a, false);
    expect_news(G, a, true);
    expect_news(G, a, false); /* with its joining, which nobody had taken */
    expect_news("other", a, false);
    expect_no_news();
    expect_members(G, &b, 1, 1);
}

static void test_news_of_own_members_is_complete_and_in_order(void **state)
{
    (void)state;
    on_node(news);
}

/* A group without members lives on until the news of it was taken, and comes to life again. */
static void test_news_outlives_its_group(void **state)
{
    char names[2][RUSM_NAME_MAX + 1];
    rusm_group_change changes[8];
    uint64_t cursor = 0;
    rusm_pid a;

    (void)state;
    open_node(1);
    a = kit_spawn(kit_body_wait, NULL);
    join(G, a);
    leave(G, a);
    assert_int_equal(rusm_group_list(kit.rt, &cursor, names, 2), 0);
    join(G, kit.self);
    assert_int_equal(rusm_runtime_group_take(kit.rt, changes, 8), 3);
    assert_int_equal(changes[2].serial, kit.self.serial);
    leave(G, kit.self);
    close_node(); /* with news that nobody takes */
}

static void test_who_begins_to_follow_hears_of_all_that_are(void **state)
{
    rusm_group_change changes[8];
    rusm_pid a;

    (void)state;
    kit_open(1);
    a = kit_spawn(kit_body_wait, NULL);
    join(G, a);
    join("other", a);
    join("left", a);
    leave("left", a);
    far_join(G, far(TOKYO, 1)); /* not ours to tell */
    for (int turn = 0; turn < 2; turn++) {
        rusm_runtime_group_follow(kit.rt, true);
        rusm_runtime_group_follow(kit.rt, true);
        assert_int_equal(rusm_runtime_group_take(kit.rt, changes, 8), 2);
        for (int i = 0; i < 2; i++) {
            assert_true(changes[i].joined && changes[i].serial == a.serial);
        }
        assert_string_not_equal(changes[0].group, changes[1].group);
        leave("other", a);
        join("other", a);
        rusm_runtime_group_follow(kit.rt, false);
        expect_no_news();
        expect_members(G, &a, 1, 1); /* others are forgotten, ours are not */
    }
    kit_close();
}

/* ---- members of others ----------------------------------------------------------------------- */

static void others(void)
{
    rusm_pid a = kit_spawn(kit_body_wait, NULL), one = far(TOKYO, 1), two = far(TOKYO, 2),
             three = far(PARIS, 1), pids[4];
    rusm_ref ref;

    far_join(G, one);
    join(G, a);
    far_join(G, three);
    far_join(G, three);
    far_join("other", two);
    expect_members(G, (rusm_pid[]){a, one, three}, 1, 3);
    assert_int_equal(rusm_group_monitor(G, &ref, pids, 2), 3);
    assert_true(rusm_pid_equal(pids[0], a) && rusm_pid_equal(pids[1], one));
    far_join(G, two);
    far_leave(G, one);
    far_leave(G, one);
    far_leave("none", one);
    far_join(G, one);
    leave(G, a);
    rusm_runtime_group_remote_drop(kit.rt, TOKYO);
    rusm_runtime_group_remote_drop(kit.rt, TOKYO);
    expect_change(ref, RUSM_MSG_JOIN, two);
    expect_change(ref, RUSM_MSG_LEAVE, one);
    expect_change(ref, RUSM_MSG_JOIN, one);
    expect_change(ref, RUSM_MSG_LEAVE, a);
    expect_change(ref, RUSM_MSG_LEAVE, two);
    expect_change(ref, RUSM_MSG_LEAVE, one);
    kit_silence();
    expect_members(G, &three, 0, 1);
    expect_members("other", NULL, 0, 0);
    far_leave(G, three);
    expect_change(ref, RUSM_MSG_LEAVE, three);
    expect_news(G, a, true);
    expect_news(G, a, false);
    expect_no_news(); /* what came from others is not told */
}

static void test_monitors_hear_of_members_of_other_nodes(void **state)
{
    (void)state;
    on_node(others);
}

static void test_own_processes_do_not_come_from_elsewhere(void **state)
{
    (void)state;
    open_node(1);
    assert_int_equal(rusm_runtime_group_remote_add(kit.rt, G, 5, kit.self), RUSM_EINVAL);
    assert_int_equal(rusm_runtime_group_remote_add(kit.rt, G, 5, far(TOKYO, 0)), RUSM_EINVAL);
    join(G, kit.self);
    far_leave(G, kit.self);
    rusm_runtime_group_remote_drop(kit.rt, kit.self.incarnation);
    assert_int_equal(rusm_group_leave(kit.rt, G, far(TOKYO, 1)), RUSM_EINVAL);
    expect_members(G, &kit.self, 1, 1);
    close_node();
}

/* Many members of many nodes, so that every page of the rolls is turned. */
static void test_large_groups_of_several_nodes(void **state)
{
    enum {
        MANY = 1500
    };
    static rusm_pid pids[2 * MANY];
    size_t others = 0;

    (void)state;
    open_node(1);
    for (uint64_t serial = 1; serial <= MANY; serial++) {
        far_join(G, far(TOKYO, serial));
        far_join(G, far(PARIS, serial));
    }
    assert_int_equal(rusm_group_members(kit.rt, G, pids, 2 * MANY), 2 * MANY);
    for (size_t i = 0; i < 2 * MANY; i++) {
        assert_int_equal(pids[i].serial, 1 + i / 2);
        others += pids[i].incarnation == PARIS ? 1 : 0;
    }
    assert_int_equal(others, MANY);
    rusm_runtime_group_remote_drop(kit.rt, TOKYO);
    assert_int_equal(rusm_group_members(kit.rt, G, pids, 2 * MANY), MANY);
    assert_int_equal(pids[MANY - 1].serial, MANY);
    close_node();
}

/* ---- sending --------------------------------------------------------------------------------- */

static uint64_t skipped(void)
{
    rusm_runtime_stats stats;

    assert_int_equal(rusm_runtime_get_stats(kit.rt, &stats), RUSM_OK);
    return stats.copies_skipped;
}

/* Three members here (one of them this thread), two in Tokyo, one in Paris. */
static void populate(void)
{
    join(G, kit_spawn(kit_body_wait, NULL));
    join(G, kit_spawn(kit_body_wait, NULL));
    join(G, kit.self);
    far_join(G, far(TOKYO, 1));
    far_join(G, far(PARIS, 9));
    far_join(G, far(TOKYO, 2));
}

static void expect_copy(size_t at, uint64_t incarnation, const char *text, bool wait)
{
    assert_true(at < net.copies_len);
    assert_int_equal(net.copies[at].incarnation, incarnation);
    assert_true(rusm_pid_equal(net.copies[at].from, kit.self));
    assert_string_equal(net.copies[at].text, text);
    assert_int_equal(net.copies[at].wait, wait);
}

static void test_each_node_gets_one_copy(void **state)
{
    (void)state;
    open_node(1);
    populate();
    assert_int_equal(rusm_group_send(kit.rt, G, "hello", 5), 6);
    assert_int_equal(net.copies_len, 2);
    expect_copy(0, TOKYO, "hello", false);
    expect_copy(1, PARIS, "hello", false);
    kit_expect_data(kit.self, "hello");
    rusm_runtime_group_remote_drop(kit.rt, PARIS);
    assert_int_equal(rusm_group_try_send(kit.rt, G, "again", 5), 5);
    assert_int_equal(net.copies_len, 3);
    expect_copy(2, TOKYO, "again", false);
    kit_expect_data(kit.self, "again");
    far_join("empty here", far(TOKYO, 1));
    assert_int_equal(skipped(), 0);
    close_node();
}

/* Nobody but the caller waits for a slow node. */
static void test_a_slow_node_is_served_last(void **state)
{
    (void)state;
    open_node(1);
    populate();
    net.full = TOKYO;
    assert_int_equal(rusm_group_send(kit.rt, G, "hello", 5), 6);
    assert_int_equal(net.copies_len, 2);
    expect_copy(0, PARIS, "hello", false);
    expect_copy(1, TOKYO, "hello", true);
    assert_int_equal(skipped(), 0);
    assert_int_equal(rusm_group_try_send(kit.rt, G, "again", 5), 4);
    assert_int_equal(net.copies_len, 3);
    expect_copy(2, PARIS, "again", false);
    assert_int_equal(skipped(), 1);
    close_node();
}

static void test_a_lost_node_is_passed_over(void **state)
{
    (void)state;
    open_node(1);
    populate();
    net.broken = TOKYO;
    net.err = RUSM_ENONODE;
    assert_int_equal(rusm_group_send(kit.rt, G, "hello", 5), 4);
    net.err = RUSM_ENOLINK;
    assert_int_equal(rusm_group_send(kit.rt, G, "hello", 5), 4);
    assert_int_equal(skipped(), 0);
    net.err = RUSM_ENOMEM;
    assert_int_equal(rusm_group_send(kit.rt, G, "hello", 5), 4);
    assert_int_equal(skipped(), 1);
    rusm_runtime_set_router(kit.rt, NULL, NULL); /* no node any more */
    assert_int_equal(rusm_group_send(kit.rt, G, "hello", 5), 3);
    assert_int_equal(net.copies_len, 3);
    close_node();
}

static void test_what_no_link_takes_is_refused_before_anybody_gets_it(void **state)
{
    char *data = calloc(1, RUSM_MESSAGE_MAX + 1);

    (void)state;
    open_node(1);
    populate();
    assert_int_equal(rusm_group_send(kit.rt, G, data, RUSM_MESSAGE_MAX + 1), RUSM_EMSGSIZE);
    kit_silence();
    rusm_runtime_group_remote_drop(kit.rt, TOKYO);
    rusm_runtime_group_remote_drop(kit.rt, PARIS);
    assert_int_equal(rusm_group_send(kit.rt, G, data, RUSM_MESSAGE_MAX + 1), 3);
    close_node();
    free(data);
}

/* ---- messages from elsewhere ----------------------------------------------------------------- */

static ptrdiff_t deliver(const char *group, const char *text)
{
    ptrdiff_t sent;
    rusm_msg *msg;

    assert_int_equal(rusm_msg_new(&msg, strlen(text)), RUSM_OK);
    memcpy(rusm_msg_data(msg), text, strlen(text));
    rusm_msg_set_sender(msg, far(TOKYO, 1));
    sent = rusm_runtime_group_deliver(kit.rt, group, strlen(group), msg);
    if (sent < 0) {
        rusm_msg_del(msg);
    }
    return sent;
}

static void test_a_message_from_elsewhere_goes_to_members_here_alone(void **state)
{
    (void)state;
    open_node(1);
    assert_int_equal(deliver(G, "nobody"), RUSM_ENONAME);
    far_join(G, far(TOKYO, 1));
    far_join(G, far(PARIS, 1));
    assert_int_equal(deliver(G, "nobody"), RUSM_ENONAME);
    join(G, kit.self);
    assert_int_equal(deliver(G, "one"), 1);
    kit_expect_data(far(TOKYO, 1), "one");
    join(G, kit_spawn(kit_body_wait, NULL));
    assert_int_equal(deliver(G, "two"), 2);
    kit_expect_data(far(TOKYO, 1), "two");
    kit_silence();
    assert_int_equal(net.copies_len, 0);
    close_node();
}

/* ---- threads --------------------------------------------------------------------------------- */

/* Members come and go on one runtime while a thread takes the news over to another one, which at
 * the end knows the same members. */
#define THREADS 3
#define ROUNDS  400

static struct {
    rusm_runtime *here, *there;
    atomic_bool stop;
    _Atomic unsigned live;
} two;

static void body_live(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    if (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_del(msg);
    }
}

static void *live(void *arg)
{
    const char *const names[] = {"one", "two", "three"};
    unsigned number = *(unsigned *)arg;

    for (unsigned i = 0; i < ROUNDS; i++) {
        rusm_pid pid;

        if (rusm_spawn(two.here, body_live, NULL, &pid) == RUSM_OK) {
            (void)!rusm_group_join(two.here, names[i % 3], pid);
            (void)!rusm_group_join(two.here, names[number], pid);
            if (i % 5 == 0) {
                (void)!rusm_group_leave(two.here, names[number], pid);
            }
            if (i % 20 != 0) {
                (void)!rusm_kill(pid);
            } else {
                (void)atomic_fetch_add(&two.live, 1);
            }
        }
    }
    return NULL;
}

/* Carry over what there is; how many changes. */
static size_t carry(void)
{
    rusm_group_change changes[7];
    size_t len = rusm_runtime_group_take(two.here, changes, 7);

    for (size_t i = 0; i < len; i++) {
        const rusm_group_change *change = &changes[i];
        rusm_pid pid = {rusm_runtime_incarnation(two.here), change->serial};

        if (change->joined) {
            (void)!rusm_runtime_group_remote_add(two.there, change->group, strlen(change->group),
                                                 pid);
        } else {
            rusm_runtime_group_remote_del(two.there, change->group, strlen(change->group), pid);
        }
    }
    return len;
}

static void *carrier(void *arg)
{
    (void)arg;
    while (!atomic_load(&two.stop)) {
        (void)carry();
    }
    return NULL;
}

static int by_serial(const void *a, const void *b)
{
    const rusm_pid *x = a, *y = b;

    return x->serial < y->serial ? -1 : x->serial > y->serial;
}

static void expect_same(const char *group)
{
    static rusm_pid here[THREADS * ROUNDS], there[THREADS * ROUNDS];
    ptrdiff_t len = rusm_group_members(two.here, group, here, THREADS * ROUNDS);

    assert_true(len > 0);
    assert_int_equal(rusm_group_members(two.there, group, there, THREADS * ROUNDS), len);
    qsort(here, (size_t)len, sizeof(rusm_pid), by_serial);
    qsort(there, (size_t)len, sizeof(rusm_pid), by_serial);
    for (ptrdiff_t i = 0; i < len; i++) {
        assert_true(rusm_pid_equal(here[i], there[i]));
    }
}

static uint64_t processes(rusm_runtime *rt)
{
    rusm_runtime_stats stats;

    assert_int_equal(rusm_runtime_get_stats(rt, &stats), RUSM_OK);
    return stats.processes;
}

static void test_news_keeps_up_with_many_threads(void **state)
{
    pthread_t threads[THREADS], carrying;
    unsigned numbers[THREADS];

    (void)state;
    assert_int_equal(rusm_runtime_new(&two.here, NULL), RUSM_OK);
    assert_int_equal(rusm_runtime_new(&two.there, NULL), RUSM_OK);
    rusm_runtime_group_follow(two.here, true);
    assert_int_equal(pthread_create(&carrying, NULL, carrier, NULL), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, live, &numbers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    while (processes(two.here) != atomic_load(&two.live)) {
        (void)sched_yield();
    }
    atomic_store(&two.stop, true);
    assert_int_equal(pthread_join(carrying, NULL), 0);
    while (carry() != 0) {
    }
    expect_same("one");
    expect_same("two");
    expect_same("three");
    while (rusm_runtime_stop(two.here, RUSM_INFINITY) != RUSM_OK) {
    }
    while (carry() != 0) {
    }
    assert_int_equal(rusm_group_members(two.there, "one", NULL, 0), 0);
    rusm_runtime_group_follow(two.here, false);
    rusm_runtime_del(two.here);
    rusm_runtime_del(two.there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_news_of_own_members_is_complete_and_in_order),
        cmocka_unit_test(test_news_outlives_its_group),
        cmocka_unit_test(test_who_begins_to_follow_hears_of_all_that_are),
        cmocka_unit_test(test_monitors_hear_of_members_of_other_nodes),
        cmocka_unit_test(test_own_processes_do_not_come_from_elsewhere),
        cmocka_unit_test(test_large_groups_of_several_nodes),
        cmocka_unit_test(test_each_node_gets_one_copy),
        cmocka_unit_test(test_a_slow_node_is_served_last),
        cmocka_unit_test(test_a_lost_node_is_passed_over),
        cmocka_unit_test(test_what_no_link_takes_is_refused_before_anybody_gets_it),
        cmocka_unit_test(test_a_message_from_elsewhere_goes_to_members_here_alone),
        cmocka_unit_test(test_news_keeps_up_with_many_threads),
    };

    return cmocka_run_group_tests_name("group_remote", tests, NULL, NULL);
}
