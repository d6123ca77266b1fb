/* SPDX-License-Identifier: MIT */
/*
 * A peer that holds a valid certificate and behaves badly, one thing at a time. It loses its link
 * with a cause and a counter; and nothing else happens: all the while another link of the same node
 * carries messages, and it is the same link in the end. docs/design/hostile.md has the table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "support/scene.h"

static int setup_patient(void **state)
{
    rusm_node_config cfg = support_node_config();

    cfg.hello_ms = SUPPORT_DEADLINE_MS; /* nothing here may be a matter of time */
    return support_scene_setup(state, &cfg);
}

static int setup_hasty(void **state)
{
    rusm_node_config cfg = support_node_config();

    /* Waited for, and still more than an honest step takes on a loaded machine. */
    cfg.hello_ms = 3000;
    cfg.tick_ms = 5000;
    return support_scene_setup(state, &cfg);
}

/* ---- the control stream ---------------------------------------------------------------------- */

static void garbage_instead_of_a_hello_loses_the_link(void **state)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_tls(scene, "raw");

    support_raw_bytes(raw, request, sizeof(request));
    support_expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "longer than its limit",
                        (struct support_harm){.protocol_errors = 1});
}

static void garbage_in_a_frame_of_good_length_loses_the_link(void **state)
{
    static const uint8_t bytes[] = {0, 0, 0, 5, 0xff, 0x13, 0x37, 0x00, 0x9f};
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_tls(scene, "raw");

    support_raw_bytes(raw, bytes, sizeof(bytes));
    support_expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "broke the protocol",
                        (struct support_harm){.protocol_errors = 1});
}

static void garbage_on_a_link_that_is_up_loses_the_link(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_up(scene, "raw");
    struct rusmi_prng prng;
    uint8_t bytes[4096];

    rusmi_prng_init(&prng, 1);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)rusmi_prng_below(&prng, 256);
    }
    support_raw_bytes(raw, bytes, sizeof(bytes));
    support_expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "raw broke the protocol",
                        (struct support_harm){.protocol_errors = 1});
}

static void empty_frame_loses_the_link(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_up(scene, "raw");

    support_raw_bytes(raw, "\0\0\0\0", 4);
    support_expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "a frame is empty",
                        (struct support_harm){.protocol_errors = 1});
}

/* The prefix is enough: the node does not wait for the frame, nor make room for it. */
static void frame_one_byte_over_its_limit_loses_the_link(void **state)
{
    static const uint8_t prefix[] = {0x00, 0x01, 0x00, 0x01};
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_up(scene, "raw");

    support_raw_bytes(raw, prefix, sizeof(prefix));
    support_expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "longer than its limit",
                        (struct support_harm){.protocol_errors = 1});
}

static bool has_pong(void *arg)
{
    const struct support_raw *raw = arg;

    return raw->frames[RUSMI_FRAME_PONG] > 0 || support_raw_is_ended(arg);
}

/* An extension frame that nobody knows, as long as a frame may be: it is read and ignored. */
static void frame_of_exactly_its_limit_is_taken(void **state)
{
    static uint8_t bytes[RUSMI_FRAME_PREFIX + RUSMI_FRAME_MAX] = {0,
                                                                  1,
                                                                  0,
                                                                  0, /* length 65,536 */
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
    struct rusmi_frame ping = {.type = RUSMI_FRAME_PING, .id = 5};
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_up(scene, "raw");

    support_raw_bytes(raw, bytes, sizeof(bytes));
    support_raw_frame(raw, &ping);
    assert_true(support_raw_run(raw, has_pong, raw));
    assert_int_equal(raw->frames[RUSMI_FRAME_PONG], 1);
    assert_int_equal(support_peers(scene->target), 2);
    support_expect_harm(scene, (struct support_harm){0});
}

static void frame_truncated_by_a_close_ends_the_link(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_up(scene, "raw");

    support_raw_bytes(raw, "\0\0\1\0\xa1", 5);
    assert_true(support_raw_run(raw, support_raw_is_quiet, raw));
    assert_int_equal(support_peers(scene->target), 2); /* it may still come */
    rusmi_quic_conn_close(raw->conn, RUSMI_CLOSE_NORMAL, "enough");
    support_raw_send_only(raw);
    support_expect_only_good(scene);
    support_expect_harm(scene, (struct support_harm){0});
}

static void frame_truncated_by_silence_ends_the_link_within_the_tick(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_up(scene, "raw");

    support_raw_bytes(raw, "\0\0\1\0\xa1", 5);
    assert_true(support_raw_run(raw, support_raw_is_quiet, raw));
    support_wait_peer(scene->target, "raw", false); /* it does nothing more */
    support_expect_only_good(scene);
    support_expect_harm(scene, (struct support_harm){.timeouts = 1});
}

static void nothing_after_tls_loses_the_link_in_time(void **state)
{
    struct support_scene *scene = *state;

    support_expect_loss(scene, support_scene_tls(scene, "raw"), RUSMI_CLOSE_HELLO,
                        "sent no hello within 3000 ms", (struct support_harm){.timeouts = 1});
}

static void truncated_hello_loses_the_link_in_time(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_tls(scene, "raw");

    support_raw_bytes(raw, "\0\0\0\x40\xa6\x00\x01", 7);
    support_expect_loss(scene, raw, RUSMI_CLOSE_HELLO, "sent no hello within 3000 ms",
                        (struct support_harm){.timeouts = 1});
}

/* "raw" sorts before "target", so it is on the bad peer to say `ready` once it was accepted. */
static void hello_without_what_follows_loses_the_link_in_time(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_tls(scene, "raw");

    support_raw_hello(raw, SUPPORT_CLUSTER, "raw");
    support_expect_loss(scene, raw, RUSMI_CLOSE_HELLO, "sent no ready within 3000 ms",
                        (struct support_harm){.timeouts = 1});
}

static void hello_with_the_name_of_a_connected_node_is_refused(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_tls(scene, "raw");

    support_raw_hello(raw, SUPPORT_CLUSTER, "good");
    support_expect_loss(scene, raw, RUSMI_CLOSE_NAME,
                        "the hello says \"good\", the certificate is for \"raw\"",
                        (struct support_harm){.refused_auth = 1});
}

/* Someone took a copy of good's certificate and key: good itself is up and alive, and stays. */
static void second_holder_of_a_connected_nodes_certificate_is_refused(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_tls(scene, "good");

    raw->join_as = "good";
    support_raw_hello(raw, SUPPORT_CLUSTER, "good");
    support_expect_loss(scene, raw, RUSMI_CLOSE_DUPLICATE_NAME,
                        "a living link with another \"good\"",
                        (struct support_harm){.refused_duplicate = 1});
}

static void hello_with_the_incarnation_of_another_node_is_refused(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_tls(scene, "raw");

    raw->incarnation = rusm_runtime_incarnation(scene->good->runtime);
    support_raw_hello(raw, SUPPORT_CLUSTER, "raw");
    support_expect_loss(scene, raw, RUSMI_CLOSE_INCARNATION, "which is \"good\"'s",
                        (struct support_harm){.refused_auth = 1});
}

static void hello_with_the_targets_own_name_is_refused(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_tls(scene, "target");

    support_raw_hello(raw, SUPPORT_CLUSTER, "target");
    support_expect_loss(scene, raw, RUSMI_CLOSE_DUPLICATE_NAME, "is the name of both nodes",
                        (struct support_harm){.refused_duplicate = 1});
}

static void frame_before_the_hello_loses_the_link(void **state)
{
    struct rusmi_frame frame = {.type = RUSMI_FRAME_PING, .id = 1};
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_tls(scene, "raw");

    support_raw_frame(raw, &frame);
    support_expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "the first frame is no hello",
                        (struct support_harm){.protocol_errors = 1});
}

static void second_hello_loses_the_link(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_up(scene, "raw");

    support_raw_hello(raw, SUPPORT_CLUSTER, "raw");
    support_expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "a hello that is not the first frame",
                        (struct support_harm){.protocol_errors = 1});
}

static void names_before_the_link_is_up_lose_the_link(void **state)
{
    struct rusmi_name_entry entry = {.name = "mine", .name_len = 4, .serial = 1, .time = 1};
    struct rusmi_frame frame = {.type = RUSMI_FRAME_NAMES_ADD};
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_tls(scene, "raw");
    rusm_pid pid;

    frame.u.names.entries = &entry;
    frame.u.names.len = 1;
    support_raw_hello(raw, SUPPORT_CLUSTER, "raw");
    support_raw_frame(raw, &frame);
    support_expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "before the link is up",
                        (struct support_harm){.protocol_errors = 1});
    assert_int_equal(rusm_whereis_global(scene->target->node, "mine", &pid), RUSM_ENONAME);
}

/* ---- names ----------------------------------------------------------------------------------- */

static void idle(void *arg)
{
    (void)arg;
    (void)!rusm_sleep(RUSM_INFINITY);
}

struct name_wish {
    rusm_node *node;
    const char *name;
    rusm_pid pid;
};

static bool name_is(void *arg)
{
    const struct name_wish *wish = arg;
    rusm_pid pid = RUSM_PID_NONE;

    (void)!rusm_whereis_global(wish->node, wish->name, &pid);
    return rusm_pid_equal(pid, wish->pid);
}

/* Withdraws a name of good's, and claims it later than good did: only good's word counts. */
static void word_of_a_peer_about_anothers_name_counts_for_nothing(void **state)
{
    struct rusmi_name_entry entry = {.name = "service", .name_len = 7, .serial = 9, .time = 1000};
    struct rusmi_frame frame = {.type = RUSMI_FRAME_NAMES_DEL};
    struct rusmi_frame ping = {.type = RUSMI_FRAME_PING, .id = 5};
    struct support_scene *scene = *state;
    struct name_wish wish = {.node = scene->target->node, .name = "service"};
    struct support_raw *raw;
    rusm_pid pid;

    assert_int_equal(rusm_spawn(scene->good->runtime, idle, NULL, &wish.pid), RUSM_OK);
    assert_int_equal(rusm_register_global(scene->good->node, "service", wish.pid), RUSM_OK);
    assert_true(support_wait(name_is, &wish));
    raw = support_scene_up(scene, "raw");
    frame.u.names.entries = &entry;
    frame.u.names.len = 1;
    support_raw_frame(raw, &frame);
    frame.type = RUSMI_FRAME_NAMES_ADD;
    support_raw_frame(raw, &frame);
    support_raw_frame(raw, &ping);
    assert_true(support_raw_run(raw, has_pong, raw)); /* it has been read */
    assert_int_equal(rusm_whereis_global(scene->target->node, "service", &pid), RUSM_OK);
    assert_true(rusm_pid_equal(pid, wish.pid));
    support_expect_harm(scene, (struct support_harm){0});
    support_expect_exchange(5);
}

/* ---- messages -------------------------------------------------------------------------------- */

static void message_with_an_unknown_kind_loses_the_link(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_up(scene, "raw");
    uint8_t data[64];
    size_t len = support_raw_message(data, sizeof(data), "echo", "hello", 5);

    data[0] = 99;
    support_raw_stream(raw, data, len);
    support_expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "kind",
                        (struct support_harm){.protocol_errors = 1});
}

static void message_with_an_empty_name_loses_the_link(void **state)
{
    static const uint8_t data[] = {RUSMI_MESSAGE_TO_NAME, 1, 0, 0};
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_up(scene, "raw");

    support_raw_stream(raw, data, sizeof(data));
    support_expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "name",
                        (struct support_harm){.protocol_errors = 1});
}

static void message_that_declares_one_byte_over_the_limit_loses_the_link(void **state)
{
    /* The body length is the last varint of the header: 16 MiB + 1. */
    static const uint8_t data[] = {RUSMI_MESSAGE_TO_SERIAL, 1, 1, 0x81, 0x00, 0x00, 0x01};
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_up(scene, "raw");

    support_raw_stream(raw, data, sizeof(data));
    support_expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "",
                        (struct support_harm){.protocol_errors = 1});
}

static void message_that_ends_within_its_header_loses_the_link(void **state)
{
    static const uint8_t data[] = {RUSMI_MESSAGE_TO_NAME, 1, 4, 'e', 'c'};
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_up(scene, "raw");

    support_raw_stream(raw, data, sizeof(data));
    support_expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "",
                        (struct support_harm){.protocol_errors = 1});
}

static void message_shorter_than_it_declares_loses_the_link(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_up(scene, "raw");
    uint8_t data[64];
    size_t len = support_raw_message(data, sizeof(data), "echo", "hello", 5);

    support_raw_stream(raw, data, len - 1);
    support_expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "",
                        (struct support_harm){.protocol_errors = 1});
    assert_int_equal(raw->delivered, 0); /* nothing of it reached the echo */
}

static void message_longer_than_it_declares_loses_the_link(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_up(scene, "raw");
    uint8_t data[64];
    size_t len = support_raw_message(data, sizeof(data), "echo", "hello", 5);

    data[len] = '!';
    support_raw_stream(raw, data, len + 1);
    support_expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "",
                        (struct support_harm){.protocol_errors = 1});
}

static bool echo_came(void *arg)
{
    const struct support_raw *raw = arg;

    return raw->delivered == 2 || support_raw_is_ended(arg);
}

/* The fixture itself: what these tests break is right when it is not broken. */
static void whole_messages_are_delivered(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_up(scene, "raw");
    uint8_t data[64];
    size_t len = support_raw_message(data, sizeof(data), "echo", "hello", 5);

    support_raw_stream(raw, data, len);
    support_raw_stream(raw, data, len);
    assert_true(support_raw_run(raw, echo_came, raw));
    assert_int_equal(raw->delivered, 2);
    support_expect_harm(scene, (struct support_harm){0});
}

/* Accepted before the link was up, so that it may be kept, and dropped with the link. */
static void message_before_the_hello_is_dropped_and_counted(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_tls(scene, "raw");
    uint8_t data[64];
    size_t len = support_raw_message(data, sizeof(data), "echo", "hello", 5);

    support_raw_stream(raw, data, len);
    assert_true(support_raw_run(raw, support_raw_is_quiet, raw));
    rusmi_quic_conn_close(raw->conn, RUSMI_CLOSE_NORMAL, "enough");
    support_raw_send_only(raw);
    support_wait_stat(scene->target, offsetof(rusm_node_stats, dropped_link), 1);
    support_expect_only_good(scene);
    support_expect_harm(scene, (struct support_harm){0});
}

/* ---- all frames and all kinds ---------------------------------------------------------------- */

/* A new link of raw's, in place of the one that it lost. */
static struct support_raw *raw_again(struct support_scene *scene, uint32_t version)
{
    rusm_identity *identity = support_identity(scene->world, "raw");

    if (scene->raws[0] != NULL) {
        support_raw_del(scene->raws[0]);
    }
    scene->raws[0] = support_raw_dial(identity, rusm_node_address(scene->target->node));
    rusm_identity_del(identity);
    scene->raws[0]->version = version;
    support_raw_join(scene->raws[0], "raw");
    return scene->raws[0];
}

static void expect_protocol_error(struct support_raw *raw, const char *what, unsigned n, size_t len)
{
    const struct rusmi_quic_end *end = support_raw_end(raw);

    if (end->cause != RUSMI_QUIC_CLOSED_PEER || end->code != RUSMI_CLOSE_PROTOCOL) {
        fail_msg("%s %u with %zu bytes: cause %d, code %llu: %s", what, n, len, (int)end->cause,
                 (unsigned long long)end->code, end->text);
    }
}

static size_t head_of(uint8_t kind, uint8_t out[RUSMI_MESSAGE_HEAD_MAX])
{
    const struct rusmi_message_head head = {
        .kind = kind, .sender = 1, .serial = 1, .number = 300, .name = "echo", .name_len = 4};

    assert_int_equal(rusmi_message_head_check(&head), RUSM_OK);
    return rusmi_message_tail_encode(out, &head);
}

/* Cut after each byte of its header. */
static void messages_of_every_kind_cut_anywhere_lose_the_link(void **state)
{
    struct support_scene *scene = *state;
    uint64_t lost = 0;

    for (unsigned kind = 1; kind < 256; kind++) {
        uint8_t bytes[RUSMI_MESSAGE_HEAD_MAX];
        size_t len = rusmi_message_kind_known((uint8_t)kind) ? head_of((uint8_t)kind, bytes) : 0;

        for (size_t cut = 0; cut < len; cut++, lost++) {
            struct support_raw *raw = raw_again(scene, RUSMI_PROTOCOL_VERSION);

            support_raw_stream(raw, bytes, cut);
            expect_protocol_error(raw, "kind", kind, cut);
        }
    }
    assert_true(lost > 60);
    support_expect_harm(scene, (struct support_harm){.protocol_errors = lost});
    support_expect_only_good(scene);
}

static void messages_of_unknown_kinds_lose_the_link(void **state)
{
    static const uint8_t kinds[] = {0, 22, 23, 63, 64, 127, 128, 255};
    struct support_scene *scene = *state;

    for (size_t i = 0; i < sizeof(kinds); i++) {
        struct support_raw *raw = raw_again(scene, RUSMI_PROTOCOL_VERSION);
        uint8_t bytes[8] = {kinds[i], 1, 1, 1, 1, 1, 1, 1};

        assert_false(rusmi_message_kind_known(kinds[i]));
        support_raw_stream(raw, bytes, sizeof(bytes));
        expect_protocol_error(raw, "kind", kinds[i], sizeof(bytes));
    }
    support_expect_harm(scene, (struct support_harm){.protocol_errors = sizeof(kinds)});
    support_expect_only_good(scene);
}

/* Kinds and frames of version 2 on a link of version 1. */
static void what_an_old_version_does_not_have_loses_the_link(void **state)
{
    static const uint8_t types[] = {RUSMI_FRAME_LEAVE, RUSMI_FRAME_NAMES_MORE,
                                    RUSMI_FRAME_GROUPS_MORE};
    struct support_scene *scene = *state;
    uint64_t lost = 0;

    for (unsigned kind = 3; kind < 256; kind++) {
        uint8_t bytes[RUSMI_MESSAGE_HEAD_MAX];

        if (rusmi_message_kind_known((uint8_t)kind)) {
            struct support_raw *raw = raw_again(scene, 1);

            support_raw_stream(raw, bytes, head_of((uint8_t)kind, bytes));
            expect_protocol_error(raw, "kind", kind, 0);
            lost++;
        }
    }
    for (size_t i = 0; i < sizeof(types); i++, lost++) {
        struct rusmi_frame frame = {.type = types[i]};
        struct support_raw *raw = raw_again(scene, 1);

        support_raw_frame(raw, &frame);
        expect_protocol_error(raw, "frame", types[i], 0);
    }
    support_expect_harm(scene, (struct support_harm){.protocol_errors = lost});
    support_expect_only_good(scene);
}

/* Every type that there could be, as a map that has nothing but the type, and one with a field that
 * is no map's business: types below 64 that are unknown or lack their fields lose the link. */
static void frames_of_every_type_without_their_fields(void **state)
{
    struct support_scene *scene = *state;
    uint64_t lost = 0;

    for (uint8_t type = 0; type < 80; type++) {
        struct support_raw *raw = raw_again(scene, RUSMI_PROTOCOL_VERSION);
        uint8_t bytes[] = {0, 0, 0, 4, 0xa1, 0x00, 0x18, type};
        struct rusmi_frame ping = {.type = RUSMI_FRAME_PING, .id = 5};
        const char *why;
        struct rusmi_frame frame;
        bool good;

        if (type < 24) {
            bytes[3] = 3;
            bytes[6] = type;
        }
        good = rusmi_control_decode(bytes + 4, bytes[3], &frame, &why) == RUSM_OK;
        if (good) {
            rusmi_frame_fini(&frame);
        }
        support_raw_bytes(raw, bytes, 4 + (size_t)bytes[3]);
        support_raw_frame(raw, &ping);
        if (good && type >= 11) {
            assert_true(support_raw_run(raw, has_pong, raw));
            assert_int_equal(raw->frames[RUSMI_FRAME_PONG], 1);
        } else {
            expect_protocol_error(raw, "frame", type, bytes[3]);
            lost++;
        }
    }
    assert_true(lost > 60);
    support_expect_harm(scene, (struct support_harm){.protocol_errors = lost});
    support_expect_exchange(5);
}

/* The frames that a link begins with, in every wrong order: each is either ignored where the
 * specification says so, or loses the link; nothing else happens. */
static void handshake_frames_in_any_order(void **state)
{
    static const uint8_t types[] = {RUSMI_FRAME_ACCEPT, RUSMI_FRAME_READY, RUSMI_FRAME_PONG};
    struct support_scene *scene = *state;

    for (size_t i = 0; i < sizeof(types) * sizeof(types); i++) {
        rusm_identity *identity = support_identity(scene->world, "raw");
        struct rusmi_frame first = {.type = types[i % sizeof(types)]};
        struct rusmi_frame second = {.type = types[i / sizeof(types)]};

        if (scene->raws[0] != NULL) {
            support_raw_del(scene->raws[0]);
        }
        scene->raws[0] = support_raw_dial(identity, rusm_node_address(scene->target->node));
        rusm_identity_del(identity);
        assert_true(support_raw_run(scene->raws[0], support_raw_is_authenticated, scene->raws[0]));
        support_raw_frame(scene->raws[0], &first);
        support_raw_hello(scene->raws[0], SUPPORT_CLUSTER, "raw");
        support_raw_frame(scene->raws[0], &second);
        expect_protocol_error(scene->raws[0], "order", (unsigned)i, 0);
    }
    support_expect_only_good(scene);
}

#define CASE(name, how) cmocka_unit_test_setup_teardown(name, setup_##how, support_scene_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(garbage_instead_of_a_hello_loses_the_link, patient),
        CASE(garbage_in_a_frame_of_good_length_loses_the_link, patient),
        CASE(garbage_on_a_link_that_is_up_loses_the_link, patient),
        CASE(empty_frame_loses_the_link, patient),
        CASE(frame_one_byte_over_its_limit_loses_the_link, patient),
        CASE(frame_of_exactly_its_limit_is_taken, patient),
        CASE(frame_truncated_by_a_close_ends_the_link, patient),
        CASE(frame_truncated_by_silence_ends_the_link_within_the_tick, hasty),
        CASE(nothing_after_tls_loses_the_link_in_time, hasty),
        CASE(truncated_hello_loses_the_link_in_time, hasty),
        CASE(hello_without_what_follows_loses_the_link_in_time, hasty),
        CASE(hello_with_the_name_of_a_connected_node_is_refused, patient),
        CASE(second_holder_of_a_connected_nodes_certificate_is_refused, patient),
        CASE(hello_with_the_incarnation_of_another_node_is_refused, patient),
        CASE(hello_with_the_targets_own_name_is_refused, patient),
        CASE(frame_before_the_hello_loses_the_link, patient),
        CASE(second_hello_loses_the_link, patient),
        CASE(names_before_the_link_is_up_lose_the_link, patient),
        CASE(word_of_a_peer_about_anothers_name_counts_for_nothing, patient),
        CASE(message_with_an_unknown_kind_loses_the_link, patient),
        CASE(message_with_an_empty_name_loses_the_link, patient),
        CASE(message_that_declares_one_byte_over_the_limit_loses_the_link, patient),
        CASE(message_that_ends_within_its_header_loses_the_link, patient),
        CASE(message_shorter_than_it_declares_loses_the_link, patient),
        CASE(message_longer_than_it_declares_loses_the_link, patient),
        CASE(whole_messages_are_delivered, patient),
        CASE(message_before_the_hello_is_dropped_and_counted, patient),
        CASE(messages_of_every_kind_cut_anywhere_lose_the_link, patient),
        CASE(messages_of_unknown_kinds_lose_the_link, patient),
        CASE(what_an_old_version_does_not_have_loses_the_link, patient),
        CASE(frames_of_every_type_without_their_fields, patient),
        CASE(handshake_frames_in_any_order, patient),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
