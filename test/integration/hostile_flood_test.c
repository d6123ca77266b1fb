/* SPDX-License-Identifier: MIT */
/*
 * A peer that holds a valid certificate and does without end what a member may do, or never reads
 * what it asked for. What it can make the target hold is bounded; if that takes its link, it comes
 * again at once and goes on. Meanwhile a node that was not there before joins and exchanges
 * messages. docs/design/hostile.md has the table of all this with what was measured.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "quic/core.h"
#include "support/scene.h"

#include <rusm/otp/driver.h>

#define NAMES_MAX 20000

/* ---- a wrapped function: see CMakeLists.txt ---- */

static const ngtcp2_conn *_Atomic unread; /* its control stream's window is never opened again */

int __real_ngtcp2_conn_extend_max_stream_offset(ngtcp2_conn *ng, int64_t stream_id, uint64_t len);
int __wrap_ngtcp2_conn_extend_max_stream_offset(ngtcp2_conn *ng, int64_t stream_id, uint64_t len);

int __wrap_ngtcp2_conn_extend_max_stream_offset(ngtcp2_conn *ng, int64_t stream_id, uint64_t len)
{
    return ng == unread ? 0 : __real_ngtcp2_conn_extend_max_stream_offset(ng, stream_id, len);
}

static int setup(void **state)
{
    rusm_node_config cfg = support_node_config();

    cfg.hello_ms = SUPPORT_DEADLINE_MS; /* nothing here may be a matter of time */
    cfg.names_max = NAMES_MAX;
    cfg.groups_max = NAMES_MAX;
    cfg.requests_max = 64;
    cfg.mailbox_high = 1000;
    cfg.mailbox_bytes_max = (uint64_t)16 << 20;
    return support_scene_setup(state, &cfg);
}

/* ---- control frames -------------------------------------------------------------------------- */

static void say_pings(struct support_scene *scene, struct support_liar *liar,
                      struct support_raw *raw)
{
    struct rusmi_frame frame = {.type = RUSMI_FRAME_PING, .id = ++liar->number << 40};

    support_say(scene, raw, &frame, 1000);
}

static void a_flood_of_pings_is_answered(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_pings};

    support_lie(scene, "pings", &liar, 100000, (size_t)32 << 20);
    assert_int_equal(liar.links_lost, 0);
}

/* The peer lets the target send hardly any control bytes. */
static void adjust_no_control(struct rusmi_quic_config *cfg)
{
    cfg->control_window = 2048;
}

static void say_pings_and_stop_reading(struct support_scene *scene, struct support_liar *liar,
                                       struct support_raw *raw)
{
    unread = raw->conn->ng;
    say_pings(scene, liar, raw);
}

static void pings_of_a_peer_that_does_not_read_are_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_pings_and_stop_reading, .adjust = adjust_no_control};

    support_lie(scene, "pings, answers not read", &liar, 400000, (size_t)64 << 20);
}

static void say_requests(struct support_scene *scene, struct support_liar *liar,
                         struct support_raw *raw)
{
    struct rusmi_frame frame = {.type = RUSMI_FRAME_REQUEST, .id = ++liar->number};

    frame.u.request.kind = 1 + (uint32_t)(liar->number % 7); /* an unknown one, too */
    frame.u.request.max = 100;
    frame.u.request.pid = (rusm_pid){1, 1};
    memcpy(frame.u.request.name, "nobody", 7);
    support_say(scene, raw, &frame, 10);
}

static void a_flood_of_requests_is_answered(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_requests};

    support_lie(scene, "requests", &liar, 10000, (size_t)64 << 20);
    assert_int_equal(liar.links_lost, 0);
}

static void say_requests_and_stop_reading(struct support_scene *scene, struct support_liar *liar,
                                          struct support_raw *raw)
{
    unread = raw->conn->ng;
    say_requests(scene, liar, raw);
}

static void requests_of_a_peer_that_does_not_read_are_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_requests_and_stop_reading, .adjust = adjust_no_control};

    support_lie(scene, "requests, answers not read", &liar, 20000, (size_t)64 << 20);
}

static void say_replies(struct support_scene *scene, struct support_liar *liar,
                        struct support_raw *raw)
{
    struct rusmi_frame frame = {.type = RUSMI_FRAME_REPLY, .id = ++liar->number};

    frame.u.reply.kind = RUSMI_REQUEST_WHEREIS;
    frame.u.reply.pid = (rusm_pid){1, 1};
    support_say(scene, raw, &frame, 1000);
}

static void replies_to_nothing_are_dropped(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_replies};

    support_lie(scene, "replies to nothing", &liar, 100000, (size_t)32 << 20);
    assert_int_equal(liar.links_lost, 0);
    support_expect_harm(scene, (struct support_harm){0});
}

static void say_flows(struct support_scene *scene, struct support_liar *liar,
                      struct support_raw *raw)
{
    struct rusmi_buf buf;

    rusmi_buf_init(&buf);
    for (int i = 0; i < 1000; i++) {
        struct rusmi_frame frame = {.type = RUSMI_FRAME_FLOW};

        frame.u.flow.serial = ++liar->number;
        frame.u.flow.on = true;
        assert_int_equal(rusmi_control_encode(&buf, &frame), RUSM_OK);
    }
    (void)!rusmi_quic_conn_send_control(raw->conn, rusmi_buf_head(&buf), buf.len);
    rusmi_buf_fini(&buf);
    scene->bad += 1000;
}

/* "Slow down" for a million processes. */
static void a_million_crowded_destinations_are_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_flows};

    support_lie(scene, "a million crowded destinations", &liar, 1000000, (size_t)32 << 20);
    assert_int_equal(liar.links_lost, 0);
}

static void say_unknown(struct support_scene *scene, struct support_liar *liar,
                        struct support_raw *raw)
{
    static uint8_t bytes[RUSMI_FRAME_PREFIX + RUSMI_FRAME_MAX] = {0,
                                                                  1,
                                                                  0,
                                                                  0,
                                                                  0xa2,
                                                                  0x00,
                                                                  0x18,
                                                                  0x40,
                                                                  0x01,
                                                                  0x5a,
                                                                  0,
                                                                  0,
                                                                  (RUSMI_FRAME_MAX - 10) >> 8,
                                                                  (RUSMI_FRAME_MAX - 10) & 0xff};

    (void)liar;
    (void)!rusmi_quic_conn_send_control(raw->conn, bytes, sizeof(bytes));
    scene->bad++;
}

static void unknown_extensions_of_full_size_are_ignored(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_unknown};

    support_lie(scene, "unknown frames of 64 KiB", &liar, 1000, (size_t)32 << 20);
    assert_int_equal(liar.links_lost, 0);
}

/* ---- names ----------------------------------------------------------------------------------- */

static void sleep_for_ever(void *arg)
{
    (void)arg;
    (void)!rusm_sleep(RUSM_INFINITY);
}

static void say_names(struct support_scene *scene, struct support_liar *liar,
                      struct support_raw *raw, enum rusmi_frame_type type, uint64_t first)
{
    struct rusmi_name_entry entries[RUSMI_NAMES_MAX];
    char names[RUSMI_NAMES_MAX][24];
    struct rusmi_frame frame = {.type = type};

    (void)liar;
    for (size_t i = 0; i < RUSMI_NAMES_MAX; i++) {
        int len = snprintf(names[i], sizeof(names[i]), "name %llu",
                           (unsigned long long)(first + i) & 0xffffff);

        entries[i] = (struct rusmi_name_entry){
            .name = names[i], .name_len = (size_t)len, .serial = 1 + i, .time = first + i};
    }
    frame.u.names.entries = entries;
    frame.u.names.len = RUSMI_NAMES_MAX;
    support_say(scene, raw, &frame, 1);
    scene->bad += RUSMI_NAMES_MAX - 1;
}

static void say_million_names(struct support_scene *scene, struct support_liar *liar,
                              struct support_raw *raw)
{
    say_names(scene, liar, raw, RUSMI_FRAME_NAMES_ADD, liar->number);
    liar->number += RUSMI_NAMES_MAX;
}

static void a_million_names_are_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_million_names};

    support_lie(scene, "a million names", &liar, 1000000, (size_t)64 << 20);
    assert_int_equal(liar.links_lost, 0);
    assert_true(support_stats(scene->target).names_refused > 500000);
}

static void say_churn(struct support_scene *scene, struct support_liar *liar,
                      struct support_raw *raw)
{
    say_names(scene, liar, raw, RUSMI_FRAME_NAMES_ADD, liar->number);
    say_names(scene, liar, raw, RUSMI_FRAME_NAMES_DEL, liar->number);
    liar->number += 7;
}

static void names_that_come_and_go_are_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_churn};

    support_lie(scene, "names that come and go", &liar, 1000000, (size_t)32 << 20);
    assert_int_equal(liar.links_lost, 0);
    support_expect_harm(scene, (struct support_harm){0});
    assert_int_equal(support_stats(scene->target).names_refused, 0);
}

/* ---- groups ---------------------------------------------------------------------------------- */

/* Processes of the peer join (or leave) groups: many different ones, or all the same. */
static void say_groups(struct support_scene *scene, struct support_raw *raw,
                       enum rusmi_frame_type type, uint64_t first, const char *group)
{
    struct rusmi_group_entry entries[RUSMI_GROUPS_MAX];
    char names[RUSMI_GROUPS_MAX][32];
    struct rusmi_frame frame = {.type = type};

    for (size_t i = 0; i < RUSMI_GROUPS_MAX; i++) {
        int len = group != NULL ? snprintf(names[i], sizeof(names[i]), "%s", group)
                                : snprintf(names[i], sizeof(names[i]), "group %llu",
                                           (unsigned long long)(first + i) & 0xffffff);

        entries[i] = (struct rusmi_group_entry){
            .group = names[i], .group_len = (size_t)len, .serial = 1 + first + i};
    }
    frame.u.groups.entries = entries;
    frame.u.groups.len = RUSMI_GROUPS_MAX;
    support_say(scene, raw, &frame, 1);
    scene->bad += RUSMI_GROUPS_MAX - 1;
}

static void say_million_memberships(struct support_scene *scene, struct support_liar *liar,
                                    struct support_raw *raw)
{
    say_groups(scene, raw, RUSMI_FRAME_GROUPS_ADD, liar->number, NULL);
    liar->number += RUSMI_GROUPS_MAX;
}

static void a_million_memberships_are_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_million_memberships};

    support_lie(scene, "a million memberships", &liar, 1000000, (size_t)64 << 20);
    assert_int_equal(liar.links_lost, 0);
    assert_true(support_stats(scene->target).groups_refused > 500000);
}

static void monitor_and_sleep(void *arg)
{
    rusm_ref ref;

    atomic_store((atomic_bool *)arg, rusm_group_monitor("watched", &ref, NULL, 0) == 0);
    sleep_for_ever(NULL);
}

static bool is_true(void *arg)
{
    return atomic_load((atomic_bool *)arg);
}

static void say_comings_and_goings(struct support_scene *scene, struct support_liar *liar,
                                   struct support_raw *raw)
{
    say_groups(scene, raw, RUSMI_FRAME_GROUPS_ADD, liar->number, "watched");
    say_groups(scene, raw, RUSMI_FRAME_GROUPS_DEL, liar->number, "watched");
    liar->number += 7;
}

/* All of it is news for a process that does not read: its mailbox takes so much and no more. */
static void members_that_come_and_go_are_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_comings_and_goings};
    static atomic_bool watched;
    rusm_runtime_stats stats;
    rusm_pid pid;

    atomic_store(&watched, false);
    assert_int_equal(rusm_spawn(scene->target->runtime, monitor_and_sleep, &watched, &pid),
                     RUSM_OK);
    assert_true(support_wait(is_true, &watched));
    support_lie(scene, "members that come and go", &liar, 2000000, (size_t)96 << 20);
    assert_int_equal(liar.links_lost, 0);
    support_expect_harm(scene, (struct support_harm){0});
    assert_int_equal(support_stats(scene->target).groups_refused, 0);
    assert_int_equal(rusm_runtime_get_stats(scene->target->runtime, &stats), RUSM_OK);
    assert_true(stats.sends_full > 0);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
}

/* ---- names that are asked for ---------------------------------------------------------------- */

/* Ask for names, again and again others, and publish none of them. */
static void say_asks(struct support_scene *scene, struct support_liar *liar,
                     struct support_raw *raw)
{
    for (unsigned i = 0; i < 100; i++) {
        struct rusmi_frame frame = {.type = RUSMI_FRAME_NAMES_ASK, .id = ++liar->number};

        (void)snprintf(frame.u.names_ask.name, sizeof(frame.u.names_ask.name), "name %llu",
                       (unsigned long long)(liar->number & 0xffffff));
        frame.u.names_ask.serial = 1;
        support_say(scene, raw, &frame, 1);
    }
}

static void names_asked_for_without_end_are_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_asks};

    support_lie(scene, "names that are asked for", &liar, 100000, (size_t)32 << 20);
    assert_int_equal(liar.links_lost, 0);
    assert_true(scene->raws[0]->frames[RUSMI_FRAME_NAMES_AGREE] > 0);
    assert_true(support_stats(scene->target).names_refused > 50000);
    support_expect_harm(scene, (struct support_harm){0});
}

/* Have the target list all its names and memberships, without end. */
static void say_more(struct support_scene *scene, struct support_liar *liar,
                     struct support_raw *raw)
{
    struct rusmi_frame names = {.type = RUSMI_FRAME_NAMES_MORE};
    struct rusmi_frame groups = {.type = RUSMI_FRAME_GROUPS_MORE};

    (void)liar;
    support_say(scene, raw, &names, 500);
    support_say(scene, raw, &groups, 500);
}

static void listings_wanted_again_without_end_are_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_more};
    rusm_pid pid;

    assert_int_equal(rusm_spawn(scene->target->runtime, sleep_for_ever, NULL, &pid), RUSM_OK);
    for (unsigned i = 0; i < 500; i++) {
        char name[16];

        (void)snprintf(name, sizeof(name), "own %u", i);
        assert_int_equal(rusm_register_global(scene->target->node, name, pid), RUSM_OK);
        assert_int_equal(rusm_group_join(scene->target->runtime, name, pid), RUSM_OK);
    }
    support_lie(scene, "listings wanted again", &liar, 200000, (size_t)32 << 20);
    assert_int_equal(liar.links_lost, 0);
    support_expect_harm(scene, (struct support_harm){0});
}

/* Take a name of a process that never reads, as the earlier claim, and give it back. */
static void say_theft(struct support_scene *scene, struct support_liar *liar,
                      struct support_raw *raw)
{
    struct rusmi_name_entry entry = {.name = "prey", .name_len = 4, .serial = 1};
    struct rusmi_frame frame = {.type = RUSMI_FRAME_NAMES_ADD};

    (void)liar;
    frame.u.names.entries = &entry;
    frame.u.names.len = 1;
    for (unsigned i = 0; i < 200; i++) {
        frame.type = RUSMI_FRAME_NAMES_ADD;
        support_say(scene, raw, &frame, 1);
        frame.type = RUSMI_FRAME_NAMES_DEL;
        support_say(scene, raw, &frame, 1);
    }
}

static void name_stolen_again_and_again_fills_no_mailbox(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_theft};
    rusm_pid pid;

    assert_int_equal(rusm_spawn(scene->target->runtime, sleep_for_ever, NULL, &pid), RUSM_OK);
    assert_int_equal(rusm_register_global(scene->target->node, "prey", pid), RUSM_OK);
    support_lie(scene, "a name that is stolen", &liar, 800000, (size_t)64 << 20);
    assert_int_equal(liar.links_lost, 0);
    assert_true(support_stats(scene->target).names_conflicts > 200000);
    assert_true(support_stats(scene->target).dropped_full > 0);
    support_expect_harm(scene, (struct support_harm){0});
}

/* ---- messages -------------------------------------------------------------------------------- */

static void say_messages(struct support_scene *scene, struct support_raw *raw, const char *to,
                         size_t body_len, unsigned count)
{
    static uint8_t data[70000], body[65536];
    size_t len = support_raw_message(data, sizeof(data), to, body, body_len);

    for (unsigned i = 0; i < count; i++) {
        support_raw_stream(raw, data, len);
    }
    scene->bad += count;
}

static void say_to_nobody(struct support_scene *scene, struct support_liar *liar,
                          struct support_raw *raw)
{
    (void)liar;
    say_messages(scene, raw, "nobody", 10, 500);
}

static void messages_to_nobody_are_dropped(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_to_nobody};

    support_lie(scene, "messages to nobody", &liar, 50000, (size_t)32 << 20);
    assert_int_equal(liar.links_lost, 0);
    assert_true(support_stats(scene->target).dropped_noname > 0);
    support_expect_harm(scene, (struct support_harm){0});
}

static void start_sleeper(struct support_scene *scene)
{
    rusm_pid pid;

    assert_int_equal(rusm_spawn(scene->target->runtime, sleep_for_ever, NULL, &pid), RUSM_OK);
    assert_int_equal(rusm_register(scene->target->runtime, "sleeper", pid), RUSM_OK);
}

static void say_small(struct support_scene *scene, struct support_liar *liar,
                      struct support_raw *raw)
{
    (void)liar;
    say_messages(scene, raw, "sleeper", 10, 500);
}

static void say_big(struct support_scene *scene, struct support_liar *liar, struct support_raw *raw)
{
    (void)liar;
    say_messages(scene, raw, "sleeper", 65536, 8);
}

/* The process never reads, and the peer does not slow down when asked to. */
static void flooded_mailbox(struct support_scene *scene, const char *what,
                            struct support_liar *liar, uint64_t bad_min)
{
    start_sleeper(scene);
    support_lie(scene, what, liar, bad_min, (size_t)64 << 20);
    assert_int_equal(liar->links_lost, 0);
    assert_true(scene->raws[0]->frames[RUSMI_FRAME_FLOW] > 0); /* it was asked to */
    assert_true(support_stats(scene->target).dropped_full > 0);
    support_expect_harm(scene, (struct support_harm){0});
}

static void one_mailbox_flooded_with_small_messages_is_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_small};

    flooded_mailbox(scene, "small messages to one mailbox", &liar, 400000);
}

static void one_mailbox_flooded_with_big_messages_is_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_big};

    flooded_mailbox(scene, "messages of 64 KiB to one mailbox", &liar, 3000);
}

/* Messages of which a part comes, and then nothing more: as many as there may be at a time. */
static void say_begun_of(struct support_scene *scene, struct support_liar *liar,
                         struct support_raw *raw, size_t body_len, size_t part)
{
    static uint8_t data[70000], body[65536], packet[1500];
    ngtcp2_vec vec = {.base = data, .len = part};

    (void)support_raw_message(data + 1, sizeof(data) - 1, "echo", body, body_len);
    data[0] = 0; /* `previous` */
    for (int i = 0; i < 200; i++) {
        ngtcp2_ssize taken = 0, written;

        if (!liar->begun &&
            ngtcp2_conn_open_uni_stream(raw->conn->ng, &liar->begun_id, NULL) != 0) {
            return; /* as many as it may */
        }
        liar->begun = true;
        written = ngtcp2_conn_writev_stream(raw->conn->ng, NULL, NULL, packet, sizeof(packet),
                                            &taken, 0, liar->begun_id, &vec, 1, rusm_now());
        if (written <= 0) {
            return; /* the network has no room; or the target has closed */
        }
        (void)rusmi_udp_send(raw->fd, &raw->remote, packet, (size_t)written, (size_t)written);
        liar->begun = false;
        scene->bad++;
    }
}

static void say_begun(struct support_scene *scene, struct support_liar *liar,
                      struct support_raw *raw)
{
    say_begun_of(scene, liar, raw, 1000, 600);
}

/* They stay within the window: nothing is wrong with them, they only never end. */
static void streams_that_are_begun_and_stall_are_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_begun};

    support_lie(scene, "streams that stall", &liar, 16384, (size_t)64 << 20);
    assert_int_equal(liar.links_lost, 0);
    support_expect_harm(scene, (struct support_harm){0});
}

static void say_promises(struct support_scene *scene, struct support_liar *liar,
                         struct support_raw *raw)
{
    say_begun_of(scene, liar, raw, 65536, 100);
}

/* Together they declare more than the window has. */
static void messages_that_declare_more_than_the_window_lose_the_link(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_promises};

    support_lie(scene, "messages beyond the window", &liar, 5000, (size_t)128 << 20);
    assert_true(liar.links_lost > 0);
    assert_true(support_stats(scene->target).protocol_errors >= liar.links_lost);
}

/* Streams that begin and are reset at once. */
static void say_resets(struct support_scene *scene, struct support_liar *liar,
                       struct support_raw *raw)
{
    (void)liar;
    for (int i = 0; i < 200; i++) {
        int64_t id;

        if (ngtcp2_conn_open_uni_stream(raw->conn->ng, &id, NULL) != 0 ||
            ngtcp2_conn_shutdown_stream_write(raw->conn->ng, 0, id, 1) != 0) {
            return;
        }
        raw->conn->due = true;
        scene->bad++;
    }
}

static void streams_that_are_reset_at_once_are_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_resets};

    support_lie(scene, "streams that are reset", &liar, 50000, (size_t)32 << 20);
    assert_int_equal(liar.links_lost, 0);
    support_expect_harm(scene, (struct support_harm){0});
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, support_scene_teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_flood_of_pings_is_answered),
        CASE(pings_of_a_peer_that_does_not_read_are_bounded),
        CASE(a_flood_of_requests_is_answered),
        CASE(requests_of_a_peer_that_does_not_read_are_bounded),
        CASE(replies_to_nothing_are_dropped),
        CASE(a_million_crowded_destinations_are_bounded),
        CASE(unknown_extensions_of_full_size_are_ignored),
        CASE(a_million_names_are_bounded),
        CASE(names_that_come_and_go_are_bounded),
        CASE(a_million_memberships_are_bounded),
        CASE(members_that_come_and_go_are_bounded),
        CASE(names_asked_for_without_end_are_bounded),
        CASE(listings_wanted_again_without_end_are_bounded),
        CASE(name_stolen_again_and_again_fills_no_mailbox),
        CASE(messages_to_nobody_are_dropped),
        CASE(one_mailbox_flooded_with_small_messages_is_bounded),
        CASE(one_mailbox_flooded_with_big_messages_is_bounded),
        CASE(streams_that_are_begun_and_stall_are_bounded),
        CASE(messages_that_declare_more_than_the_window_lose_the_link),
        CASE(streams_that_are_reset_at_once_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
