/* SPDX-License-Identifier: MIT */
/*
 * Groups: members in joining order, monitors that follow every change, sends to all. Most on the
 * test kit, many seeds each; what only threads show, on threads.
 */
#include "otp/kit_fixture_test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define G "group"

static void join(const char *group, rusm_pid pid)
{
    assert_int_equal(rusm_group_join(kit.rt, group, pid), RUSM_OK);
}

static void leave(const char *group, rusm_pid pid)
{
    assert_int_equal(rusm_group_leave(kit.rt, group, pid), RUSM_OK);
}

static void expect_members(const char *group, const rusm_pid *expected, size_t len)
{
    rusm_pid pids[16];

    assert_int_equal(rusm_group_members(kit.rt, group, pids, 16), len);
    for (size_t i = 0; i < len; i++) {
        assert_true(rusm_pid_equal(pids[i], expected[i]));
    }
}

static void kill_and_settle(rusm_pid pid)
{
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    kit_settle();
}

/* ---- membership ------------------------------------------------------------------------------ */

static void membership(void)
{
    rusm_pid a = kit_spawn(kit_body_wait, NULL), b = kit_spawn(kit_body_wait, NULL),
             c = kit_spawn(kit_body_wait, NULL), pids[2];

    assert_int_equal(rusm_group_members(kit.rt, G, pids, 2), 0);
    join(G, a);
    join(G, b);
    join(G, c);
    join(G, b); /* twice is once */
    join("other", b);
    expect_members(G, (rusm_pid[]){a, b, c}, 3);
    assert_int_equal(rusm_group_members(kit.rt, G, pids, 2), 3);
    assert_true(rusm_pid_equal(pids[1], b));
    assert_int_equal(rusm_group_members(kit.rt, G, NULL, 0), 3);
    leave(G, a);
    join(G, a);
    expect_members(G, (rusm_pid[]){b, c, a}, 3);
    assert_int_equal(rusm_group_leave(kit.rt, "other", a), RUSM_ENONAME);
    assert_int_equal(rusm_group_leave(kit.rt, "none", a), RUSM_ENONAME);
    kill_and_settle(b);
    expect_members(G, (rusm_pid[]){c, a}, 2);
    expect_members("other", NULL, 0);
    assert_int_equal(rusm_group_join(kit.rt, G, b), RUSM_ENOPROC);
    join(G, kit.self);
    expect_members(G, (rusm_pid[]){c, a, kit.self}, 3);
}

static void test_members_come_in_joining_order_until_they_end(void **state)
{
    (void)state;
    kit_each_seed(membership);
}

static void misuse(void)
{
    rusm_pid pid = kit_spawn(kit_body_wait, NULL), foreign = {pid.incarnation + 1, pid.serial};
    rusm_reason reason = rusm_reason_make(RUSM_REASON_SHUTDOWN);
    char text[RUSM_NAME_MAX + 2];
    rusm_ref ref;

    memset(text, 'x', sizeof(text));
    text[RUSM_NAME_MAX + 1] = '\0';
    assert_int_equal(rusm_group_join(kit.rt, "", pid), RUSM_EINVAL);
    assert_int_equal(rusm_group_join(kit.rt, text, pid), RUSM_EINVAL);
    assert_int_equal(rusm_group_join(kit.rt, NULL, pid), RUSM_EINVAL);
    assert_int_equal(rusm_group_join(kit.rt, G, foreign), RUSM_EINVAL);
    assert_int_equal(rusm_group_leave(kit.rt, G, foreign), RUSM_EINVAL);
    assert_int_equal(rusm_group_join(kit.rt, G, (rusm_pid){pid.incarnation, 0}), RUSM_ENOPROC);
    assert_int_equal(rusm_group_members(kit.rt, G, NULL, 1), RUSM_EINVAL);
    assert_int_equal(rusm_group_monitor(G, NULL, NULL, 0), RUSM_EINVAL);
    assert_int_equal(rusm_group_monitor(G, &ref, NULL, 1), RUSM_EINVAL);
    assert_int_equal(rusm_group_send(kit.rt, G, NULL, 1), RUSM_EINVAL);
    assert_int_equal(rusm_group_terminate(kit.rt, G, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_group_terminate(kit.rt, "", &reason), RUSM_EINVAL);
    text[RUSM_NAME_MAX] = '\0';
    join(text, pid);
    expect_members(text, &pid, 1);
    rusm_group_demonitor((rusm_ref){pid.incarnation, 12345});
    rusm_thread_leave();
    assert_int_equal(rusm_group_join(NULL, G, pid), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_group_monitor(G, &ref, NULL, 0), RUSM_ENOCONTEXT);
}

static void test_misuse_is_refused(void **state)
{
    (void)state;
    kit_open(1);
    misuse();
    kit_close();
}

static void lists(void)
{
    char names[4][RUSM_NAME_MAX + 1], text[16];
    unsigned seen[100] = {0}, total = 0;
    uint64_t cursor = 0;
    rusm_ref ref;

    for (int i = 0; i < 100; i++) {
        (void)snprintf(text, sizeof(text), "g%d", i);
        join(text, kit.self);
    }
    assert_int_equal(rusm_group_monitor("empty", &ref, NULL, 0), 0);
    do {
        ptrdiff_t got = rusm_group_list(kit.rt, &cursor, names, 4);

        assert_true(got >= 0 && got <= 4);
        for (ptrdiff_t i = 0; i < got; i++) {
            assert_int_equal(names[i][0], 'g');
            seen[strtol(names[i] + 1, NULL, 10)]++;
            total++;
        }
        /* What comes and goes meanwhile moves nothing. */
        if (cursor == 40) {
            for (int i = 0; i < 10; i++) {
                (void)snprintf(text, sizeof(text), "g%d", i);
                leave(text, kit.self);
            }
            join("g0", kit.self);
        }
    } while (cursor != 0);
    for (int i = 10; i < 100; i++) {
        assert_int_equal(seen[i], 1);
    }
    assert_true(total >= 100);
    assert_int_equal(rusm_group_list(kit.rt, NULL, names, 4), RUSM_EINVAL);
    assert_int_equal(rusm_group_list(kit.rt, &cursor, names, 0), RUSM_EINVAL);
}

static void test_groups_are_listed_in_pages(void **state)
{
    (void)state;
    kit_open(1);
    lists();
    kit_close();
}

/* ---- monitors -------------------------------------------------------------------------------- */

static void expect_change(rusm_ref ref, rusm_msg_kind kind, const char *group, rusm_pid pid)
{
    rusm_msg *msg = kit_receive();

    assert_int_equal(rusm_msg_get_kind(msg), kind);
    assert_true(rusm_pid_equal(rusm_msg_sender(msg), pid));
    assert_true(rusm_ref_equal(rusm_msg_ref(msg), ref));
    assert_int_equal(rusm_msg_len(msg), strlen(group));
    assert_memory_equal(rusm_msg_data(msg), group, strlen(group));
    rusm_msg_del(msg);
}

static void changes(void)
{
    rusm_pid a = kit_spawn(kit_body_wait, NULL), b = kit_spawn(kit_body_wait, NULL), pids[4];
    rusm_ref ref, empty;

    join(G, a);
    assert_int_equal(rusm_group_monitor(G, &ref, pids, 4), 1);
    assert_true(rusm_pid_equal(pids[0], a));
    assert_int_equal(rusm_group_monitor("empty", &empty, NULL, 0), 0);
    join(G, b);
    join(G, b);
    leave(G, a);
    join("empty", a);
    join(G, kit.self);
    kill_and_settle(b);
    leave("empty", a);
    expect_change(ref, RUSM_MSG_JOIN, G, b);
    expect_change(ref, RUSM_MSG_LEAVE, G, a);
    expect_change(empty, RUSM_MSG_JOIN, "empty", a);
    expect_change(ref, RUSM_MSG_JOIN, G, kit.self);
    expect_change(ref, RUSM_MSG_LEAVE, G, b);
    expect_change(empty, RUSM_MSG_LEAVE, "empty", a);
    join(G, a);
    rusm_group_demonitor(ref);
    rusm_group_demonitor(ref);
    leave(G, a);
    expect_change(ref, RUSM_MSG_JOIN, G, a); /* what came before stays */
    kit_silence();
}

static void test_monitors_hear_of_each_change_in_order(void **state)
{
    (void)state;
    kit_each_seed(changes);
}

/* Two processes that monitor, among processes that join and leave at random: what each has heard
 * always makes up what the members are. */
#define PLAYERS 5

struct watcher {
    rusm_pid members[PLAYERS + 1];
    size_t len;
    size_t heard;
};

static struct watcher watchers[2];

static void apply(struct watcher *watcher, const rusm_msg *msg)
{
    rusm_pid pid = rusm_msg_sender(msg);
    size_t at = 0;

    watcher->heard++;
    while (at < watcher->len && !rusm_pid_equal(watcher->members[at], pid)) {
        at++;
    }
    if (rusm_msg_get_kind(msg) == RUSM_MSG_JOIN) {
        assert_int_equal(at, watcher->len);
        assert_true(watcher->len <= PLAYERS);
        watcher->members[watcher->len++] = pid;
        return;
    }
    assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_LEAVE);
    assert_true(at < watcher->len);
    watcher->len--;
    memmove(&watcher->members[at], &watcher->members[at + 1],
            (watcher->len - at) * sizeof(rusm_pid));
}

static void body_watch(void *arg)
{
    struct watcher *watcher = arg;
    rusm_ref ref;
    ptrdiff_t len = rusm_group_monitor(G, &ref, watcher->members, PLAYERS + 1);

    assert_true(len >= 0);
    watcher->len = (size_t)len;
    for (;;) {
        rusm_msg *msg;

        assert_int_equal(rusm_receive(&msg, RUSM_INFINITY), RUSM_OK);
        apply(watcher, msg);
        rusm_msg_del(msg);
    }
}

static void body_play(void *arg)
{
    uint64_t turns = 1 + rusm_test_random(kit.pool, 20);

    (void)arg;
    while (turns-- > 0) {
        if (rusm_test_random(kit.pool, 2) == 0) {
            join(G, rusm_self());
        } else {
            (void)!rusm_group_leave(NULL, G, rusm_self());
        }
        rusm_yield();
    }
    if (rusm_test_random(kit.pool, 2) == 0) {
        (void)!rusm_receive(&(rusm_msg *){NULL}, RUSM_INFINITY); /* some stay */
    }
}

static void random_play(void)
{
    memset(watchers, 0, sizeof(watchers));
    for (int i = 0; i < PLAYERS; i++) {
        (void)kit_spawn(body_play, NULL);
    }
    (void)kit_spawn(body_watch, &watchers[0]);
    (void)kit_spawn(body_watch, &watchers[1]);
    kit_settle();
    for (int i = 0; i < 2; i++) {
        expect_members(G, watchers[i].members, watchers[i].len);
    }
}

static void test_what_monitors_hear_is_what_is(void **state)
{
    (void)state;
    kit_each_seed(random_play);
    assert_true(watchers[0].heard + watchers[1].heard > 0);
}

static void body_monitor_and_end(void *arg)
{
    rusm_ref ref;

    (void)arg;
    assert_true(rusm_group_monitor(G, &ref, NULL, 0) >= 0);
    assert_true(rusm_group_monitor("other", &ref, NULL, 0) >= 0);
}

static void monitors_end(void)
{
    rusm_pid pid = kit_spawn(kit_body_wait, NULL);

    join(G, pid);
    (void)kit_spawn(body_monitor_and_end, NULL);
    (void)kit_spawn(body_monitor_and_end, NULL);
    join(G, kit.self);
    kit_settle();
    kill_and_settle(pid);
    leave(G, kit.self);
    kit_silence();
}

static void test_a_monitor_ends_with_its_process(void **state)
{
    (void)state;
    kit_each_seed(monitors_end);
}

/* ---- sending --------------------------------------------------------------------------------- */

static const void *seen_bytes[3];

static void body_note_bytes(void *arg)
{
    rusm_msg *msg;

    if (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        assert_int_equal(rusm_msg_len(msg), 5);
        assert_memory_equal(rusm_msg_data(msg), "hello", 5);
        assert_true(rusm_pid_equal(rusm_msg_sender(msg), kit.self));
        *(const void **)arg = rusm_msg_data(msg);
        (void)!rusm_receive(&(rusm_msg *){NULL}, RUSM_INFINITY);
    }
}

static void sends(void)
{
    rusm_spawn_config cfg;
    rusm_runtime_stats before, after;
    rusm_pid full;

    memset(seen_bytes, 0, sizeof(seen_bytes));
    assert_int_equal(rusm_group_send(NULL, G, "hello", 5), 0);
    for (int i = 0; i < 3; i++) {
        join(G, kit_spawn(body_note_bytes, &seen_bytes[i]));
    }
    rusm_spawn_config_init(&cfg);
    cfg.mailbox_max = 1;
    assert_int_equal(rusm_spawn_with(kit.rt, kit_body_wait, NULL, &cfg, &full), RUSM_OK);
    join(G, full);
    assert_int_equal(rusm_send(full, "x", 1), RUSM_OK);
    assert_int_equal(rusm_runtime_get_stats(NULL, &before), RUSM_OK);
    assert_int_equal(rusm_group_send(NULL, G, "hello", 5), 3);
    assert_int_equal(rusm_runtime_get_stats(NULL, &after), RUSM_OK);
    assert_int_equal(after.sends_full, before.sends_full + 1);
    kit_settle();
    assert_non_null(seen_bytes[0]);
    assert_ptr_equal(seen_bytes[1], seen_bytes[0]); /* one copy */
    assert_ptr_equal(seen_bytes[2], seen_bytes[0]);
    join("just me", kit.self);
    assert_int_equal(rusm_group_send(NULL, "just me", NULL, 0), 1);
    kit_expect_data(kit.self, "");
}

static void test_members_share_what_is_sent(void **state)
{
    (void)state;
    kit_each_seed(sends);
}

static unsigned got_it;

static void body_count(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    assert_int_equal(rusm_receive(&msg, RUSM_INFINITY), RUSM_OK);
    rusm_msg_del(msg);
    got_it++;
}

static void body_send_to_all(void *arg)
{
    (void)arg;
    (void)!rusm_group_send(NULL, G, "hello", 5);
}

/* Whoever is killed while it sends has sent to all or to nobody, and leaves nothing behind. */
static void killed_sender(void)
{
    rusm_pid sender;

    got_it = 0;
    for (int i = 0; i < 300; i++) {
        join(G, kit_spawn(body_count, NULL));
    }
    sender = kit_spawn(body_send_to_all, NULL);
    (void)rusm_test_run(kit.pool, rusm_test_random(kit.pool, 600));
    (void)!rusm_kill(sender);
    kit_settle();
    assert_true(got_it == 0 || got_it == 300);
}

static void test_a_killed_sender_sends_to_all_or_nobody(void **state)
{
    (void)state;
    kit_each_seed(killed_sender);
}

static void body_trap(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    assert_int_equal(rusm_receive(&msg, RUSM_INFINITY), RUSM_OK);
    assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_EXIT);
    assert_string_equal(rusm_msg_reason(msg)->text, "enough");
    rusm_exit_with(rusm_msg_reason(msg));
}

static void body_terminate(void *arg)
{
    rusm_reason reason = rusm_reason_crashed("enough");

    (void)arg;
    join(G, rusm_self());
    (void)!rusm_group_terminate(NULL, G, &reason);
    fail_msg("a member that terminates its group ends, too");
}

static void terminates(void)
{
    rusm_spawn_config cfg;
    rusm_pid pids[3];
    rusm_ref ref;

    rusm_spawn_config_init(&cfg);
    cfg.out_ref = &ref;
    assert_int_equal(rusm_spawn_with(kit.rt, kit_body_wait, NULL, &cfg, &pids[0]), RUSM_OK);
    cfg.trap_exit = true;
    assert_int_equal(rusm_spawn_with(kit.rt, body_trap, NULL, &cfg, &pids[1]), RUSM_OK);
    join(G, pids[0]);
    join(G, pids[1]);
    cfg.trap_exit = false;
    assert_int_equal(rusm_spawn_with(kit.rt, body_terminate, NULL, &cfg, &pids[2]), RUSM_OK);
    kit_settle();
    for (int i = 0; i < 3; i++) {
        rusm_msg *msg = kit_receive();

        assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_DOWN);
        assert_string_equal(rusm_msg_reason(msg)->text, "enough");
        rusm_msg_del(msg);
    }
    expect_members(G, NULL, 0);
    kit_silence();
}

static void test_terminate_ends_all_members(void **state)
{
    (void)state;
    kit_each_seed(terminates);
}

/* ---- many ------------------------------------------------------------------------------------ */

#define MANY 5000

static void many(void)
{
    static rusm_pid pids[MANY], got[MANY];
    rusm_ref refs[2];
    size_t left = 0, changed = 0;
    rusm_msg *msg;

    for (int i = 0; i < MANY; i++) {
        pids[i] = kit_spawn(kit_body_wait, NULL);
        join(G, pids[i]);
    }
    kit_settle();
    assert_int_equal(rusm_group_monitor(G, &refs[0], NULL, 0), MANY);
    assert_int_equal(rusm_group_monitor(G, &refs[1], NULL, 0), MANY);
    assert_int_equal(rusm_group_send(kit.rt, G, "x", 1), MANY);
    for (int i = 0; i < MANY; i++) {
        if (i % 7 != 0) {
            assert_int_equal(rusm_kill(pids[i]), RUSM_OK);
        } else {
            pids[left++] = pids[i];
        }
    }
    assert_true(rusm_test_run(kit.pool, KIT_STEPS) < KIT_STEPS);
    assert_int_equal(rusm_group_members(kit.rt, G, got, MANY), left);
    assert_memory_equal(got, pids, left * sizeof(rusm_pid));
    while (rusm_receive(&msg, 0) == RUSM_OK) {
        assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_LEAVE);
        changed++;
        rusm_msg_del(msg);
    }
    assert_int_equal(changed, 2 * (MANY - left));
    rusm_group_demonitor(refs[0]);
    assert_int_equal(rusm_group_terminate(kit.rt, G, &(rusm_reason){RUSM_REASON_KILLED, 0, 0, ""}),
                     left);
    kit_settle();
    while (rusm_receive(&msg, 0) == RUSM_OK) {
        rusm_msg_del(msg);
    }
}

static void test_a_large_group(void **state)
{
    (void)state;
    kit_open(3);
    many();
    kit_close();
}

/* ---- threads --------------------------------------------------------------------------------- */

static struct {
    rusm_runtime *rt;
    _Atomic(uint32_t) stop;
    _Atomic(uint64_t) received;
} busy;

static void body_member(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    (void)!rusm_group_join(NULL, G, rusm_self());
    (void)!rusm_group_join(NULL, "second", rusm_self());
    if (rusm_receive(&msg, 50) == RUSM_OK) {
        (void)atomic_fetch_add(&busy.received, 1);
        rusm_msg_del(msg);
    }
}

static void *join_and_leave(void *arg)
{
    (void)arg;
    while (atomic_load(&busy.stop) == 0) {
        rusm_pid pid;

        if (rusm_spawn(busy.rt, body_member, NULL, &pid) == RUSM_OK) {
            (void)!rusm_group_join(busy.rt, G, pid);
            (void)!rusm_group_send(busy.rt, G, "x", 1);
            (void)!rusm_group_leave(busy.rt, "second", pid);
        }
    }
    return NULL;
}

static void test_changes_from_many_threads(void **state)
{
    pthread_t threads[2];
    rusm_runtime *rt;
    uint64_t heard = 0;
    rusm_ref ref;

    (void)state;
    assert_int_equal(rusm_runtime_new(&rt, NULL), RUSM_OK);
    busy.rt = rt;
    assert_int_equal(rusm_thread_enter(rt, "watcher"), RUSM_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, join_and_leave, NULL), 0);
    }
    for (int i = 0; i < 300 || heard < 1000; i++) {
        rusm_pid member = RUSM_PID_NONE;
        rusm_msg *msg;
        ptrdiff_t len = rusm_group_monitor(G, &ref, &member, 1);

        assert_true(len >= 0);
        for (int take = 0; take < 20 && rusm_receive(&msg, 10) == RUSM_OK; take++) {
            heard++;
            rusm_msg_del(msg);
        }
        rusm_group_demonitor(ref);
    }
    atomic_store(&busy.stop, 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    rusm_thread_leave();
    rusm_runtime_del(rt);
    assert_true(atomic_load(&busy.received) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members_come_in_joining_order_until_they_end),
        cmocka_unit_test(test_misuse_is_refused),
        cmocka_unit_test(test_groups_are_listed_in_pages),
        cmocka_unit_test(test_monitors_hear_of_each_change_in_order),
        cmocka_unit_test(test_what_monitors_hear_is_what_is),
        cmocka_unit_test(test_a_monitor_ends_with_its_process),
        cmocka_unit_test(test_members_share_what_is_sent),
        cmocka_unit_test(test_a_killed_sender_sends_to_all_or_nobody),
        cmocka_unit_test(test_terminate_ends_all_members),
        cmocka_unit_test(test_a_large_group),
        cmocka_unit_test(test_changes_from_many_threads),
    };

    return cmocka_run_group_tests_name("group", tests, NULL, NULL);
}
