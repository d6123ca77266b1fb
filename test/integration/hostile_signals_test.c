/* SPDX-License-Identifier: MIT */
/*
 * A member that lies with signals: links, monitors, exits, downs, calls and replies for what does
 * not exist, is not its own, or has no end. A peer speaks of its own processes only: the target
 * stamps each signal with the incarnation of its link. docs/design/hostile.md has the table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cluster/inbox.h"
#include "cluster/reason.h"
#include "support/scene.h"

#include <rusm/otp/driver.h>

#define WATCHES_MAX 5000

/* ---- a wrapped function: see CMakeLists.txt ---- */

static const struct rusmi_inbox *_Atomic kept; /* its owner gives no credit back */

void __real_rusmi_inbox_take_credit(struct rusmi_inbox *ib, uint64_t *out_bytes,
                                    uint64_t *out_streams);
void __wrap_rusmi_inbox_take_credit(struct rusmi_inbox *ib, uint64_t *out_bytes,
                                    uint64_t *out_streams);

void __wrap_rusmi_inbox_take_credit(struct rusmi_inbox *ib, uint64_t *out_bytes,
                                    uint64_t *out_streams)
{
    if (ib == kept) {
        *out_bytes = *out_streams = 0;
    } else {
        __real_rusmi_inbox_take_credit(ib, out_bytes, out_streams);
    }
}

static int setup(void **state)
{
    rusm_node_config cfg = support_node_config();

    kept = NULL; /* the inbox of a peer to come may be where that of an earlier test was */
    cfg.hello_ms = SUPPORT_DEADLINE_MS; /* nothing here may be a matter of time */
    cfg.watches_max = WATCHES_MAX;
    cfg.mailbox_high = 1000;
    cfg.mailbox_bytes_max = (uint64_t)16 << 20;
    cfg.queue_bytes_max = (size_t)1 << 20;
    cfg.signal_bytes_max = (size_t)16 << 20;
    return support_scene_setup(state, &cfg);
}

/* ---- who is lied to -------------------------------------------------------------------------- */

/* A process of the target that notes what it is told, and traps exits. */
static struct {
    rusm_pid pid;
    atomic_bool ready; /* traps exits */
    _Atomic uint64_t exits, downs, data, others;
    _Atomic uint64_t sender_incarnation; /* of the last */
} victim;

static void run_victim(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    (void)rusm_trap_exit(true);
    atomic_store(&victim.ready, true);
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_kind kind = rusm_msg_get_kind(msg);

        atomic_store(&victim.sender_incarnation, rusm_msg_sender(msg).incarnation);
        atomic_fetch_add(kind == RUSM_MSG_EXIT   ? &victim.exits
                         : kind == RUSM_MSG_DOWN ? &victim.downs
                         : kind == RUSM_MSG_DATA ? &victim.data
                                                 : &victim.others,
                         1);
        rusm_msg_del(msg);
    }
}

static void run_sleeper(void *arg)
{
    (void)arg;
    (void)rusm_trap_exit(true);
    atomic_store(&victim.ready, true);
    (void)!rusm_sleep(RUSM_INFINITY);
}

static bool victim_is_ready(void *arg)
{
    (void)arg;
    return atomic_load(&victim.ready);
}

static rusm_pid start(struct support_scene *scene, void (*run)(void *arg))
{
    rusm_pid pid;

    atomic_store(&victim.ready, false);
    atomic_store(&victim.exits, 0);
    atomic_store(&victim.downs, 0);
    atomic_store(&victim.data, 0);
    atomic_store(&victim.others, 0);
    assert_int_equal(rusm_spawn(scene->target->runtime, run, NULL, &pid), RUSM_OK);
    assert_true(support_wait(victim_is_ready, NULL));
    victim.pid = pid;
    return pid;
}

static bool victim_got(void *arg)
{
    return atomic_load((_Atomic uint64_t *)arg) > 0;
}

static size_t normal(uint8_t out[RUSMI_REASON_BYTES_MAX])
{
    const rusm_reason reason = {.kind = RUSM_REASON_SHUTDOWN};

    return rusmi_reason_encode(out, &reason);
}

static void say_signal(struct support_raw *raw, uint8_t kind, uint64_t sender, uint64_t serial,
                       uint64_t number, bool reasoned)
{
    uint8_t reason[RUSMI_REASON_BYTES_MAX];
    struct rusmi_message_head head = {
        .kind = kind, .sender = sender, .serial = serial, .number = number};

    head.body_len = reasoned ? (uint32_t)normal(reason) : 0;
    support_raw_head(raw, &head, reason);
}

static bool has_pong(void *arg)
{
    const struct support_raw *raw = arg;

    return raw->frames[RUSMI_FRAME_PONG] > 0 || support_raw_is_ended(arg);
}

static bool is_quiet_and_answered(void *arg)
{
    return support_raw_is_quiet(arg) && has_pong(arg);
}

/* What was sent has been looked at: data after it has reached the victim. */
static void settle(struct support_scene *scene, struct support_raw *raw)
{
    struct rusmi_message_head head = {
        .kind = RUSMI_MESSAGE_TO_SERIAL, .sender = 1, .serial = victim.pid.serial, .body_len = 1};
    struct rusmi_frame ping = {.type = RUSMI_FRAME_PING, .id = 1};

    assert_true(support_raw_run(raw, support_raw_is_quiet, raw));
    support_raw_head(raw, &head, "x");
    support_raw_frame(raw, &ping);
    assert_true(support_raw_run(raw, is_quiet_and_answered, raw));
    assert_true(support_wait(victim_got, &victim.data));
    support_expect_harm(scene, (struct support_harm){0});
}

/* ---- ends that are none ---------------------------------------------------------------------- */

/* Another process of the target watches a process of good's, and the liar says that it has ended:
 * with good's serial, with every reference there can be. */
static struct {
    rusm_pid pid; /* of good's */
    _Atomic int told;
} watched;

static void run_watcher(void *arg)
{
    rusm_ref ref;
    rusm_msg *msg;

    (void)arg;
    (void)rusm_trap_exit(true);
    (void)!rusm_monitor(watched.pid, &ref);
    (void)!rusm_link(watched.pid);
    atomic_store(&victim.ready, true);
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_kind kind = rusm_msg_get_kind(msg);

        if (kind == RUSM_MSG_EXIT || kind == RUSM_MSG_DOWN) {
            atomic_fetch_add(&watched.told, 1);
        } else {
            atomic_fetch_add(&victim.data, 1);
        }
        rusm_msg_del(msg);
    }
}

static void run_idle(void *arg)
{
    (void)arg;
    (void)!rusm_sleep(RUSM_INFINITY);
}

static void deaths_of_others_processes_are_not_believed(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw;

    atomic_store(&watched.told, 0);
    assert_int_equal(rusm_spawn(scene->good->runtime, run_idle, NULL, &watched.pid), RUSM_OK);
    (void)start(scene, run_watcher);
    raw = support_scene_up(scene, "raw");
    say_signal(raw, RUSMI_MESSAGE_EXIT, watched.pid.serial, victim.pid.serial, 0, true);
    for (uint64_t number = 1; number < 2000; number++) {
        say_signal(raw, RUSMI_MESSAGE_DOWN, watched.pid.serial, victim.pid.serial, number, true);
    }
    settle(scene, raw);
    assert_int_equal(atomic_load(&watched.told), 0);
    support_expect_exchange(5);
}

/* Exits and downs for ties that nobody made, demonitors and unlinks of them, acknowledgements of
 * nothing, births of nobody. */
static void signals_for_ties_that_do_not_exist_do_nothing(void **state)
{
    static const struct {
        uint8_t kind;
        bool reasoned;
    } kinds[] = {{RUSMI_MESSAGE_EXIT, true},         {RUSMI_MESSAGE_DOWN, true},
                 {RUSMI_MESSAGE_UNLINK, false},      {RUSMI_MESSAGE_UNLINKED, false},
                 {RUSMI_MESSAGE_DEMONITOR, false},   {RUSMI_MESSAGE_BORN_LINKED, false},
                 {RUSMI_MESSAGE_BORN_WATCHED, false}};
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_up(scene, "raw");

    (void)start(scene, run_victim);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        for (uint64_t n = 1; n < 50; n++) {
            say_signal(raw, kinds[i].kind, n, victim.pid.serial, n, kinds[i].reasoned);
            say_signal(raw, kinds[i].kind, n, n, n, kinds[i].reasoned); /* and to others */
        }
    }
    settle(scene, raw);
    assert_int_equal(atomic_load(&victim.exits), 0);
    assert_int_equal(atomic_load(&victim.downs), 0);
    assert_int_equal(atomic_load(&victim.others), 0);
}

/* What does come is marked with the incarnation of the link, whatever the serial. */
static void senders_are_processes_of_the_peer(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_up(scene, "raw");
    rusm_pid pid = start(scene, run_victim);

    say_signal(raw, RUSMI_MESSAGE_ASK_EXIT, pid.serial, pid.serial, 0, true);
    assert_true(support_raw_run(raw, support_raw_is_quiet, raw));
    assert_true(support_wait(victim_got, &victim.exits));
    assert_true(atomic_load(&victim.sender_incarnation) == raw->incarnation);
}

static void malformed_signal(void **state, uint8_t kind, const char *body, size_t len)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_up(scene, "raw");
    struct rusmi_message_head head = {
        .kind = kind, .sender = 1, .serial = 1, .number = 1, .body_len = (uint32_t)len};

    support_raw_head(raw, &head, body);
    support_expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "",
                        (struct support_harm){.protocol_errors = 1});
}

static void exit_without_a_reason_loses_the_link(void **state)
{
    malformed_signal(state, RUSMI_MESSAGE_EXIT, "", 0);
}

static void down_with_a_broken_reason_loses_the_link(void **state)
{
    malformed_signal(state, RUSMI_MESSAGE_DOWN, "\xff\xff\xff", 3);
}

static void link_with_a_body_loses_the_link(void **state)
{
    malformed_signal(state, RUSMI_MESSAGE_LINK, "xyz", 3);
}

/* ---- floods ---------------------------------------------------------------------------------- */

static void say_monitors_of_one(struct support_scene *scene, struct support_liar *liar,
                                struct support_raw *raw)
{
    for (int i = 0; i < 500; i++) {
        uint64_t n = ++liar->number;

        say_signal(raw, RUSMI_MESSAGE_MONITOR, n, victim.pid.serial, n, false);
    }
    scene->bad += 500;
}

static void a_million_monitors_of_a_process_are_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_monitors_of_one};

    (void)start(scene, run_victim);
    support_lie(scene, "monitors without end", &liar, 100000, (size_t)64 << 20);
    assert_true(liar.links_lost > 0);
    assert_non_null(strstr(liar.last_words, "more links and monitors than"));
    assert_true(support_stats(scene->target).protocol_errors >= liar.links_lost);
}

static void say_links_of_one(struct support_scene *scene, struct support_liar *liar,
                             struct support_raw *raw)
{
    for (int i = 0; i < 500; i++) {
        uint64_t n = ++liar->number;

        say_signal(raw, RUSMI_MESSAGE_LINK, n, victim.pid.serial, n, false);
    }
    scene->bad += 500;
}

static void a_million_links_of_a_process_are_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_links_of_one};

    (void)start(scene, run_victim);
    support_lie(scene, "links without end", &liar, 100000, (size_t)64 << 20);
    assert_true(liar.links_lost > 0);
}

static void say_monitors_of_the_dead(struct support_scene *scene, struct support_liar *liar,
                                     struct support_raw *raw)
{
    for (int i = 0; i < 500; i++) {
        uint64_t n = ++liar->number;

        say_signal(raw, n % 2 == 0 ? RUSMI_MESSAGE_MONITOR : RUSMI_MESSAGE_LINK, n,
                   ((n & 0xffff) << 32) + 1 + (n & 0xfff), n, false);
    }
    scene->bad += 500;
}

static void ties_with_the_dead_are_answered(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_monitors_of_the_dead};

    support_lie(scene, "ties with the dead", &liar, 100000, (size_t)64 << 20);
    assert_int_equal(liar.links_lost, 0);
}

/* It lets the target send hardly any messages: the answers pile up. */
static void adjust_few_streams(struct rusmi_quic_config *cfg)
{
    cfg->streams_max = 64;
}

static void say_monitors_and_stop_reading(struct support_scene *scene, struct support_liar *liar,
                                          struct support_raw *raw)
{
    kept = &raw->inbox;
    say_monitors_of_the_dead(scene, liar, raw);
}

static void answers_to_a_peer_that_takes_none_are_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_monitors_and_stop_reading, .adjust = adjust_few_streams};

    support_lie(scene, "ties with the dead, answers not taken", &liar, 300000, (size_t)96 << 20);
    assert_true(liar.links_lost > 0);
    assert_true(support_stats(scene->target).closed_slow >= liar.links_lost);
}

static void say_ask_exits(struct support_scene *scene, struct support_liar *liar,
                          struct support_raw *raw)
{
    for (int i = 0; i < 500; i++) {
        say_signal(raw, RUSMI_MESSAGE_ASK_EXIT, ++liar->number, victim.pid.serial, 0, true);
    }
    scene->bad += 500;
}

/* A process that traps exits and never looks. */
static void exits_asked_for_without_end_are_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_ask_exits};
    rusm_runtime_stats stats;

    (void)start(scene, run_sleeper);
    support_lie(scene, "exits asked for", &liar, 300000, (size_t)64 << 20);
    assert_int_equal(liar.links_lost, 0);
    assert_int_equal(rusm_runtime_get_stats(scene->target->runtime, &stats), RUSM_OK);
    assert_true(stats.sends_full > 100000);
    support_expect_harm(scene, (struct support_harm){0});
}

static void say_links_and_exits(struct support_scene *scene, struct support_liar *liar,
                                struct support_raw *raw)
{
    for (int i = 0; i < 250; i++) {
        uint64_t n = ++liar->number;

        say_signal(raw, RUSMI_MESSAGE_LINK, n, victim.pid.serial, n, false);
        say_signal(raw, RUSMI_MESSAGE_EXIT, n, victim.pid.serial, 0, true);
    }
    scene->bad += 500;
}

static void links_that_exit_without_end_are_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_links_and_exits};

    (void)start(scene, run_sleeper);
    support_lie(scene, "links that exit at once", &liar, 600000, (size_t)96 << 20);
    assert_int_equal(liar.links_lost, 0);
    assert_true(scene->raws[0]->kinds[RUSMI_MESSAGE_EXIT] > 100000); /* refused */
    support_expect_harm(scene, (struct support_harm){0});
}

static void say_replies(struct support_scene *scene, struct support_liar *liar,
                        struct support_raw *raw)
{
    for (int i = 0; i < 500; i++) {
        struct rusmi_message_head head = {.kind = RUSMI_MESSAGE_REPLY,
                                          .sender = 1,
                                          .serial = victim.pid.serial,
                                          .number = ++liar->number,
                                          .body_len = 32};
        static const char body[32];

        support_raw_head(raw, &head, body);
    }
    scene->bad += 500;
}

static void replies_to_calls_never_made_are_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_replies};

    (void)start(scene, run_sleeper);
    support_lie(scene, "replies to calls never made", &liar, 400000, (size_t)64 << 20);
    assert_int_equal(liar.links_lost, 0);
    assert_true(support_stats(scene->target).dropped_full > 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, support_scene_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(deaths_of_others_processes_are_not_believed),
        CASE(signals_for_ties_that_do_not_exist_do_nothing),
        CASE(senders_are_processes_of_the_peer),
        CASE(exit_without_a_reason_loses_the_link),
        CASE(down_with_a_broken_reason_loses_the_link),
        CASE(link_with_a_body_loses_the_link),
        CASE(a_million_monitors_of_a_process_are_bounded),
        CASE(a_million_links_of_a_process_are_bounded),
        CASE(ties_with_the_dead_are_answered),
        CASE(answers_to_a_peer_that_takes_none_are_bounded),
        CASE(exits_asked_for_without_end_are_bounded),
        CASE(links_that_exit_without_end_are_bounded),
        CASE(replies_to_calls_never_made_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
