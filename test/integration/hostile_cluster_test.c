/* SPDX-License-Identifier: MIT */
/*
 * A member that lies about the cluster: members that do not exist or are somebody else, groups
 * without end, names that it asks for and never takes, asks and answers out of order, links that it
 * begins and does not finish. Each ends at a named limit and is counted, and meanwhile a node that
 * was not there before joins. docs/design/hostile.md has the table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/scene.h"

#include <rusm/otp/driver.h>

#define NAMES_MAX   20000
#define GROUPS_MAX  20000
#define MEMBERS_MAX 500

static int setup(void **state)
{
    rusm_node_config cfg = support_node_config();

    cfg.hello_ms = SUPPORT_DEADLINE_MS; /* nothing here may be a matter of time */
    cfg.names_max = NAMES_MAX;
    cfg.groups_max = GROUPS_MAX;
    cfg.members_max = MEMBERS_MAX;
    cfg.mesh = true;
    cfg.mailbox_bytes_max = (uint64_t)4 << 20;
    return support_scene_setup(state, &cfg);
}

static int setup_few(void **state)
{
    rusm_node_config cfg = support_node_config();

    cfg.hello_ms = SUPPORT_DEADLINE_MS;
    cfg.peers_max = 32;
    return support_scene_setup(state, &cfg);
}

/* ---- members --------------------------------------------------------------------------------- */

/* One frame of members whose names and addresses depend on liar->number. */
static void say_members(struct support_scene *scene, struct support_liar *liar,
                        struct support_raw *raw, const char *address_format)
{
    struct rusmi_member_entry entries[RUSMI_MEMBERS_MAX];
    char texts[RUSMI_MEMBERS_MAX][2][32];
    struct rusmi_frame frame = {.type = RUSMI_FRAME_MEMBERS};

    for (size_t i = 0; i < RUSMI_MEMBERS_MAX; i++) {
        uint64_t n = ++liar->number;
        int name_len = snprintf(texts[i][0], 32, "member %llu", (unsigned long long)n);
        int len = snprintf(texts[i][1], 32, address_format, (unsigned)(n >> 16) & 0xff,
                           (unsigned)(n >> 8) & 0xff, (unsigned)n & 0xff);

        entries[i] = (struct rusmi_member_entry){.name = texts[i][0],
                                                 .name_len = (size_t)name_len,
                                                 .incarnation = n,
                                                 .address = texts[i][1],
                                                 .address_len = (size_t)len};
    }
    frame.u.members.entries = entries;
    frame.u.members.len = RUSMI_MEMBERS_MAX;
    support_say(scene, raw, &frame, 1);
    scene->bad += RUSMI_MEMBERS_MAX - 1;
}

static void say_invented(struct support_scene *scene, struct support_liar *liar,
                         struct support_raw *raw)
{
    say_members(scene, liar, raw, "127.%u.%u.%u:9");
}

static void a_million_invented_members_are_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_invented};

    support_lie(scene, "a million invented members", &liar, 1000000, (size_t)64 << 20);
    assert_int_equal(liar.links_lost, 0);
    assert_true(support_stats(scene->target).members_refused > 900000);
}

static char innocent_format[64];

static void say_innocent(struct support_scene *scene, struct support_liar *liar,
                         struct support_raw *raw)
{
    say_members(scene, liar, raw, innocent_format);
}

/* Everybody is said to live at one address, where somebody listens who knows nothing of rusm. */
static void an_innocent_host_hears_little(void **state)
{
    static uint8_t buf[RUSMI_UDP_RECV_MAX];
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_innocent};
    struct rusmi_address at, from;
    size_t len, segment, bytes = 0;
    int fd;

    assert_true(rusmi_address_parse("127.0.0.77:0", &at));
    assert_int_equal(rusmi_udp_listen(&at, 1 << 20, &fd), 0);
    assert_int_equal(rusmi_udp_local_address(fd, &at), 0);
    rusmi_address_format(&at, innocent_format, sizeof(innocent_format));
    support_lie(scene, "members at an innocent host", &liar, 200000, (size_t)32 << 20);
    while (rusmi_udp_recv(fd, buf, sizeof(buf), &from, &len, &segment) == 0) {
        bytes += len;
    }
    rusmi_udp_close(fd);
    (void)printf("           the innocent host got %zu bytes\n", bytes);
    assert_int_equal(liar.links_lost, 0);
    assert_true(bytes < 100000); /* a dial or two with what they repeat */
}

static char own_format[64];

static void say_own(struct support_scene *scene, struct support_liar *liar, struct support_raw *raw)
{
    say_members(scene, liar, raw, own_format);
}

/* Everybody is said to live where the target does. */
static void members_at_our_own_address_are_ignored(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_own, .address = own_format};

    (void)snprintf(own_format, sizeof(own_format), "%s", rusm_node_address(scene->target->node));
    support_lie(scene, "members at our own address", &liar, 200000, (size_t)32 << 20);
    assert_int_equal(liar.links_lost, 0);
    assert_int_equal(support_stats(scene->target).members_refused, 0);
}

static void say_leave(struct support_scene *scene, struct support_liar *liar,
                      struct support_raw *raw)
{
    struct rusmi_frame leave = {.type = RUSMI_FRAME_LEAVE};
    struct rusmi_frame ping = {.type = RUSMI_FRAME_PING, .id = ++liar->number};

    support_say(scene, raw, &leave, 100);
    support_say(scene, raw, &ping, 100);
}

static void who_leaves_and_stays_does_no_harm(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_leave};

    support_lie(scene, "leaving again and again", &liar, 100000, (size_t)32 << 20);
    support_expect_harm(scene, (struct support_harm){0});
}

/* ---- groups ---------------------------------------------------------------------------------- */

static void say_groups(struct support_scene *scene, struct support_raw *raw,
                       enum rusmi_frame_type type, uint64_t first)
{
    struct rusmi_group_entry entries[RUSMI_GROUPS_MAX];
    char names[RUSMI_GROUPS_MAX][24];
    struct rusmi_frame frame = {.type = type};

    for (size_t i = 0; i < RUSMI_GROUPS_MAX; i++) {
        int len = snprintf(names[i], sizeof(names[i]), "group %llu",
                           (unsigned long long)(first + i) & 0xffffff);

        entries[i] = (struct rusmi_group_entry){
            .group = names[i], .group_len = (size_t)len, .serial = 1 + first + i};
    }
    frame.u.groups.entries = entries;
    frame.u.groups.len = RUSMI_GROUPS_MAX;
    support_say(scene, raw, &frame, 1);
    scene->bad += RUSMI_GROUPS_MAX - 1;
}

static void say_million_groups(struct support_scene *scene, struct support_liar *liar,
                               struct support_raw *raw)
{
    say_groups(scene, raw, RUSMI_FRAME_GROUPS_ADD, liar->number);
    liar->number += RUSMI_GROUPS_MAX;
}

static void a_million_groups_are_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_million_groups};

    support_lie(scene, "a million groups", &liar, 1000000, (size_t)64 << 20);
    assert_int_equal(liar.links_lost, 0);
    assert_true(support_stats(scene->target).groups_refused > 900000);
}

static void say_group_churn(struct support_scene *scene, struct support_liar *liar,
                            struct support_raw *raw)
{
    say_groups(scene, raw, RUSMI_FRAME_GROUPS_ADD, liar->number);
    say_groups(scene, raw, RUSMI_FRAME_GROUPS_DEL, liar->number);
    liar->number += 7;
}

static void groups_that_come_and_go_are_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_group_churn};

    support_lie(scene, "groups that come and go", &liar, 1000000, (size_t)32 << 20);
    assert_int_equal(liar.links_lost, 0);
    assert_int_equal(support_stats(scene->target).groups_refused, 0);
}

static atomic_bool monitors;

/* Wants to hear of a group, and never looks. */
static void run_monitor(void *arg)
{
    rusm_ref ref;
    rusm_pid pid;

    (void)arg;
    if (rusm_group_monitor("group 3", &ref, &pid, 1) == 0) {
        atomic_store(&monitors, true);
    }
    (void)!rusm_sleep(RUSM_INFINITY);
}

static bool does_monitor(void *arg)
{
    (void)arg;
    return atomic_load(&monitors);
}

static void say_changes(struct support_scene *scene, struct support_liar *liar,
                        struct support_raw *raw)
{
    struct rusmi_group_entry entries[RUSMI_GROUPS_MAX];
    struct rusmi_frame frame = {.type = RUSMI_FRAME_GROUPS_ADD};

    (void)liar;
    for (size_t i = 0; i < RUSMI_GROUPS_MAX; i++) {
        entries[i] =
            (struct rusmi_group_entry){.group = "group 3", .group_len = 7, .serial = 1 + i};
    }
    frame.u.groups.entries = entries;
    frame.u.groups.len = RUSMI_GROUPS_MAX;
    support_say(scene, raw, &frame, 1);
    frame.type = RUSMI_FRAME_GROUPS_DEL;
    support_say(scene, raw, &frame, 1);
    scene->bad += 2 * RUSMI_GROUPS_MAX - 2;
}

static void events_for_who_never_looks_are_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_changes};
    rusm_runtime_stats stats;

    atomic_store(&monitors, false);
    assert_int_equal(rusm_spawn(scene->target->runtime, run_monitor, NULL, NULL), RUSM_OK);
    assert_true(support_wait(does_monitor, NULL));
    support_lie(scene, "changes of a group that is monitored", &liar, 600000, (size_t)64 << 20);
    assert_int_equal(liar.links_lost, 0);
    assert_int_equal(rusm_runtime_get_stats(scene->target->runtime, &stats), RUSM_OK);
    assert_true(stats.sends_full > 100000);
}

/* ---- names that are asked for ---------------------------------------------------------------- */

static void say_asks(struct support_scene *scene, struct support_liar *liar,
                     struct support_raw *raw)
{
    struct rusmi_frame frame = {.type = RUSMI_FRAME_NAMES_ASK};

    for (int i = 0; i < 500; i++) {
        frame.id = ++liar->number;
        frame.u.names_ask.serial = 1;
        frame.u.names_ask.time = liar->number;
        (void)snprintf(frame.u.names_ask.name, sizeof(frame.u.names_ask.name), "asked %llu",
                       (unsigned long long)liar->number);
        support_say(scene, raw, &frame, 1);
    }
}

static void names_asked_for_and_never_taken_are_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_asks};

    support_lie(scene, "names asked for, never taken", &liar, 200000, (size_t)64 << 20);
    assert_int_equal(liar.links_lost, 0);
    assert_true(support_stats(scene->target).names_refused > 100000);
}

static void say_agrees(struct support_scene *scene, struct support_liar *liar,
                       struct support_raw *raw)
{
    struct rusmi_frame frame = {.type = RUSMI_FRAME_NAMES_AGREE, .id = ++liar->number};

    support_say(scene, raw, &frame, 500);
    memcpy(frame.u.names_agree.node, "good", 5);
    frame.u.names_agree.pid = (rusm_pid){1, 1};
    support_say(scene, raw, &frame, 500);
}

static void answers_to_asks_never_made_are_dropped(void **state)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_agrees};

    support_lie(scene, "answers to asks never made", &liar, 200000, (size_t)32 << 20);
    assert_int_equal(liar.links_lost, 0);
    support_expect_harm(scene, (struct support_harm){0});
}

/* ---- links that are begun -------------------------------------------------------------------- */

#define SILENT 64

/* One certificate, many connections: TLS, and not a word. */
static void turn_silent(struct support_scene *scene, void *arg)
{
    size_t *next = arg, i = (*next)++ % SILENT;

    if (scene->raws[i] != NULL) {
        support_raw_del(scene->raws[i]);
    }
    (void)support_scene_dial(scene, i, "raw", NULL);
    for (int step = 0; step < 5; step++) {
        support_raw_step(scene->raws[i], 1);
    }
    scene->bad++;
}

static void silent_connections_of_one_certificate_leave_places_for_others(void **state)
{
    struct support_scene *scene = *state;
    size_t next = 0;
    struct support_attack attack = {.what = "silent connections of one certificate",
                                    .turn = turn_silent,
                                    .arg = &next,
                                    .bad_min = 2 * SILENT,
                                    .memory_max = (size_t)128 << 20};

    for (int i = 0; i < SILENT; i++) {
        turn_silent(scene, &next);
    }
    support_attack(scene, &attack);
    assert_true(support_stats(scene->target).refused_full > 0);
}

#define CASE(name, how) cmocka_unit_test_setup_teardown(name, how, support_scene_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_million_invented_members_are_bounded, setup),
        CASE(an_innocent_host_hears_little, setup),
        CASE(members_at_our_own_address_are_ignored, setup),
        CASE(who_leaves_and_stays_does_no_harm, setup),
        CASE(a_million_groups_are_bounded, setup),
        CASE(groups_that_come_and_go_are_bounded, setup),
        CASE(events_for_who_never_looks_are_bounded, setup),
        CASE(names_asked_for_and_never_taken_are_bounded, setup),
        CASE(answers_to_asks_never_made_are_dropped, setup),
        CASE(silent_connections_of_one_certificate_leave_places_for_others, setup_few),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
