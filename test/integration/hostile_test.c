/* SPDX-License-Identifier: MIT */
/*
 * A peer that holds a valid certificate and behaves badly, and strangers who only throw datagrams.
 * Each loses its link, or gets none, with the right counter; and nothing else happens: all the
 * while another link of the same node carries messages, and it is the same link in the end.
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
#include "support/nodes.h"
#include "support/raw_peer.h"

#define FLOOD_MAX 12

/* The target has a link to `good`, over which a process exchanges messages without end. */
struct scene {
    struct support_world *world;
    struct support_node *target, *good;
    struct support_raw *raws[FLOOD_MAX];
};

/* Static: a process uses it until its runtime stops. */
static struct {
    _Atomic uint64_t exchanged;
    atomic_bool failed;
    char detail[256];
} pump;

static void run_pump(void *arg)
{
    rusm_err err = RUSM_OK;
    rusm_msg *msg;

    (void)arg;
    while (err == RUSM_OK) {
        err = rusm_node_send(NULL, "target", "echo", "still there", 11);
        if (err == RUSM_OK) {
            err = rusm_receive(&msg, SUPPORT_DEADLINE_MS);
        }
        if (err == RUSM_OK) {
            rusm_msg_del(msg);
            atomic_fetch_add(&pump.exchanged, 1);
            err = rusm_sleep(1); /* leaves the machine to the attack */
        }
    }
    (void)snprintf(pump.detail, sizeof(pump.detail), "%s", rusm_err_detail());
    atomic_store(&pump.failed, true);
}

static bool pump_went_on(void *arg)
{
    return atomic_load(&pump.exchanged) >= *(const uint64_t *)arg || atomic_load(&pump.failed);
}

static void expect_exchange(uint64_t more)
{
    uint64_t wanted = atomic_load(&pump.exchanged) + more;

    if (!support_wait(pump_went_on, &wanted) || atomic_load(&pump.failed)) {
        fail_msg("the good link fell silent: %s", pump.detail);
    }
}

static int setup(void **state, const rusm_node_config *cfg)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    void *world;

    assert_non_null(scene);
    assert_int_equal(support_world_setup(&world), 0);
    scene->world = world;
    scene->target = support_node_start_with(world, "target", cfg);
    scene->good = support_node_start(world, "good");
    support_echo_start(scene->target);
    support_connect(scene->good, scene->target);
    atomic_store(&pump.exchanged, 0);
    atomic_store(&pump.failed, false);
    pump.detail[0] = '\0';
    assert_int_equal(rusm_spawn(scene->good->runtime, run_pump, NULL, NULL), RUSM_OK);
    expect_exchange(1);

    *state = scene;
    return 0;
}

static int setup_patient(void **state)
{
    rusm_node_config cfg = support_node_config();

    cfg.hello_ms = SUPPORT_DEADLINE_MS; /* nothing here may be a matter of time */
    return setup(state, &cfg);
}

static int setup_hasty(void **state)
{
    rusm_node_config cfg = support_node_config();

    cfg.hello_ms = 1000;
    cfg.tick_ms = 2000;
    return setup(state, &cfg);
}

static int setup_narrow(void **state)
{
    rusm_node_config cfg = support_node_config();

    cfg.hello_ms = 3000;
    cfg.handshakes_retry = 4;
    cfg.handshakes_max = 8;
    return setup(state, &cfg);
}

static int teardown(void **state)
{
    struct scene *scene = *state;
    void *world = scene->world;
    int rc;

    for (size_t i = 0; i < FLOOD_MAX; i++) {
        if (scene->raws[i] != NULL) {
            support_raw_del(scene->raws[i]);
        }
    }
    rc = support_world_teardown(&world);
    free(scene);
    return rc;
}

/* A bad peer that has done TLS as the node `name`. */
static struct support_raw *raw_tls(struct scene *scene, const char *name)
{
    rusm_identity *identity = support_identity(scene->world, name);
    struct support_raw *raw = support_raw_dial(identity, rusm_node_address(scene->target->node));

    rusm_identity_del(identity);
    scene->raws[0] = raw;
    if (!support_raw_run(raw, support_raw_is_authenticated, raw)) {
        fail_msg("no TLS with the target");
    }
    return raw;
}

/* A bad peer whose link is up. */
static struct support_raw *raw_up(struct scene *scene)
{
    struct support_raw *raw = raw_tls(scene, "raw");

    support_raw_join(raw, "raw");
    support_wait_peer(scene->target, "raw", true);
    return raw;
}

/* What differs in the counters, and only what is named may. */
struct harm {
    uint64_t protocol_errors, timeouts, refused_auth, refused_duplicate, refused_full;
};

static void expect_harm(struct scene *scene, struct harm harm)
{
    rusm_node_stats now;

    support_wait_stat(scene->target, offsetof(rusm_node_stats, protocol_errors),
                      harm.protocol_errors);
    support_wait_stat(scene->target, offsetof(rusm_node_stats, timeouts), harm.timeouts);
    support_wait_stat(scene->target, offsetof(rusm_node_stats, refused_auth), harm.refused_auth);
    now = support_stats(scene->target);
    assert_int_equal(now.protocol_errors, harm.protocol_errors);
    assert_int_equal(now.timeouts, harm.timeouts);
    assert_int_equal(now.refused_auth, harm.refused_auth);
    assert_int_equal(now.refused_duplicate, harm.refused_duplicate);
    assert_int_equal(now.refused_full, harm.refused_full);
    assert_int_equal(now.dropped_nomem, 0);
}

/* The good link is there, goes on, and has been up since before the attack. */
static void expect_only_the_good_link(struct scene *scene)
{
    rusm_peer_info info;

    support_wait_peers(scene->target, 1);
    assert_true(support_peer_find(scene->target, "good", &info));
    expect_exchange(5);
    assert_int_equal(support_stats(scene->good).handshakes, 1);
}

/* The bad peer lost its link with that code, and its end is told to it in those words. */
static void expect_loss(struct scene *scene, struct support_raw *raw, enum rusmi_close_code code,
                        const char *words, struct harm harm)
{
    const struct rusmi_quic_end *end = support_raw_end(raw);

    if (end->cause != RUSMI_QUIC_CLOSED_PEER || end->code != code ||
        strstr(end->text, words) == NULL) {
        fail_msg("cause %d, code %llu: %s", (int)end->cause, (unsigned long long)end->code,
                 end->text);
    }
    expect_harm(scene, harm);
    expect_only_the_good_link(scene);
}

/* ---- the control stream ---------------------------------------------------------------------- */

static void garbage_instead_of_a_hello_loses_the_link(void **state)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct scene *scene = *state;
    struct support_raw *raw = raw_tls(scene, "raw");

    support_raw_bytes(raw, request, sizeof(request));
    expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "longer than its limit",
                (struct harm){.protocol_errors = 1});
}

static void garbage_in_a_frame_of_good_length_loses_the_link(void **state)
{
    static const uint8_t bytes[] = {0, 0, 0, 5, 0xff, 0x13, 0x37, 0x00, 0x9f};
    struct scene *scene = *state;
    struct support_raw *raw = raw_tls(scene, "raw");

    support_raw_bytes(raw, bytes, sizeof(bytes));
    expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "broke the protocol",
                (struct harm){.protocol_errors = 1});
}

static void garbage_on_a_link_that_is_up_loses_the_link(void **state)
{
    struct scene *scene = *state;
    struct support_raw *raw = raw_up(scene);
    struct rusmi_prng prng;
    uint8_t bytes[4096];

    rusmi_prng_init(&prng, 1);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)rusmi_prng_below(&prng, 256);
    }
    support_raw_bytes(raw, bytes, sizeof(bytes));
    expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "raw broke the protocol",
                (struct harm){.protocol_errors = 1});
}

static void empty_frame_loses_the_link(void **state)
{
    struct scene *scene = *state;
    struct support_raw *raw = raw_up(scene);

    support_raw_bytes(raw, "\0\0\0\0", 4);
    expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "a frame is empty",
                (struct harm){.protocol_errors = 1});
}

/* The prefix is enough: the node does not wait for the frame, nor make room for it. */
static void frame_one_byte_over_its_limit_loses_the_link(void **state)
{
    static const uint8_t prefix[] = {0x00, 0x01, 0x00, 0x01};
    struct scene *scene = *state;
    struct support_raw *raw = raw_up(scene);

    support_raw_bytes(raw, prefix, sizeof(prefix));
    expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "longer than its limit",
                (struct harm){.protocol_errors = 1});
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
    struct scene *scene = *state;
    struct support_raw *raw = raw_up(scene);

    support_raw_bytes(raw, bytes, sizeof(bytes));
    support_raw_frame(raw, &ping);
    assert_true(support_raw_run(raw, has_pong, raw));
    assert_int_equal(raw->frames[RUSMI_FRAME_PONG], 1);
    assert_int_equal(support_peers(scene->target), 2);
    expect_harm(scene, (struct harm){0});
}

static void frame_truncated_by_a_close_ends_the_link(void **state)
{
    struct scene *scene = *state;
    struct support_raw *raw = raw_up(scene);

    support_raw_bytes(raw, "\0\0\1\0\xa1", 5);
    assert_true(support_raw_run(raw, support_raw_is_quiet, raw));
    assert_int_equal(support_peers(scene->target), 2); /* it may still come */
    rusmi_quic_conn_close(raw->conn, RUSMI_CLOSE_NORMAL, "enough");
    support_raw_send_only(raw);
    expect_only_the_good_link(scene);
    expect_harm(scene, (struct harm){0});
}

static void frame_truncated_by_silence_ends_the_link_within_the_tick(void **state)
{
    struct scene *scene = *state;
    struct support_raw *raw = raw_up(scene);

    support_raw_bytes(raw, "\0\0\1\0\xa1", 5);
    assert_true(support_raw_run(raw, support_raw_is_quiet, raw));
    support_wait_peer(scene->target, "raw", false); /* it does nothing more */
    expect_only_the_good_link(scene);
    expect_harm(scene, (struct harm){.timeouts = 1});
}

static void nothing_after_tls_loses_the_link_in_time(void **state)
{
    struct scene *scene = *state;

    expect_loss(scene, raw_tls(scene, "raw"), RUSMI_CLOSE_HELLO, "sent no hello within 1000 ms",
                (struct harm){.timeouts = 1});
}

static void truncated_hello_loses_the_link_in_time(void **state)
{
    struct scene *scene = *state;
    struct support_raw *raw = raw_tls(scene, "raw");

    support_raw_bytes(raw, "\0\0\0\x40\xa6\x00\x01", 7);
    expect_loss(scene, raw, RUSMI_CLOSE_HELLO, "sent no hello within 1000 ms",
                (struct harm){.timeouts = 1});
}

/* "raw" sorts before "target", so it is on the bad peer to say `ready` once it was accepted. */
static void hello_without_what_follows_loses_the_link_in_time(void **state)
{
    struct scene *scene = *state;
    struct support_raw *raw = raw_tls(scene, "raw");

    support_raw_hello(raw, SUPPORT_CLUSTER, "raw");
    expect_loss(scene, raw, RUSMI_CLOSE_HELLO, "sent no ready within 1000 ms",
                (struct harm){.timeouts = 1});
}

static void hello_with_the_name_of_a_connected_node_is_refused(void **state)
{
    struct scene *scene = *state;
    struct support_raw *raw = raw_tls(scene, "raw");

    support_raw_hello(raw, SUPPORT_CLUSTER, "good");
    expect_loss(scene, raw, RUSMI_CLOSE_NAME,
                "the hello says \"good\", the certificate is for \"raw\"",
                (struct harm){.refused_auth = 1});
}

/* Someone took a copy of good's certificate and key: good itself is up and alive, and stays. */
static void second_holder_of_a_connected_nodes_certificate_is_refused(void **state)
{
    struct scene *scene = *state;
    struct support_raw *raw = raw_tls(scene, "good");

    raw->join_as = "good";
    support_raw_hello(raw, SUPPORT_CLUSTER, "good");
    expect_loss(scene, raw, RUSMI_CLOSE_DUPLICATE_NAME, "a living link with another \"good\"",
                (struct harm){.refused_duplicate = 1});
}

static void hello_with_the_incarnation_of_another_node_is_refused(void **state)
{
    struct scene *scene = *state;
    struct support_raw *raw = raw_tls(scene, "raw");

    raw->incarnation = rusm_runtime_incarnation(scene->good->runtime);
    support_raw_hello(raw, SUPPORT_CLUSTER, "raw");
    expect_loss(scene, raw, RUSMI_CLOSE_INCARNATION, "which is \"good\"'s",
                (struct harm){.refused_auth = 1});
}

static void hello_with_the_targets_own_name_is_refused(void **state)
{
    struct scene *scene = *state;
    struct support_raw *raw = raw_tls(scene, "target");

    support_raw_hello(raw, SUPPORT_CLUSTER, "target");
    expect_loss(scene, raw, RUSMI_CLOSE_DUPLICATE_NAME, "is the name of both nodes",
                (struct harm){.refused_duplicate = 1});
}

static void frame_before_the_hello_loses_the_link(void **state)
{
    struct rusmi_frame frame = {.type = RUSMI_FRAME_PING, .id = 1};
    struct scene *scene = *state;
    struct support_raw *raw = raw_tls(scene, "raw");

    support_raw_frame(raw, &frame);
    expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "the first frame is no hello",
                (struct harm){.protocol_errors = 1});
}

static void second_hello_loses_the_link(void **state)
{
    struct scene *scene = *state;
    struct support_raw *raw = raw_up(scene);

    support_raw_hello(raw, SUPPORT_CLUSTER, "raw");
    expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "a hello that is not the first frame",
                (struct harm){.protocol_errors = 1});
}

static void names_before_the_link_is_up_lose_the_link(void **state)
{
    struct rusmi_name_entry entry = {.name = "mine", .name_len = 4, .serial = 1, .time = 1};
    struct rusmi_frame frame = {.type = RUSMI_FRAME_NAMES_ADD};
    struct scene *scene = *state;
    struct support_raw *raw = raw_tls(scene, "raw");
    rusm_pid pid;

    frame.u.names.entries = &entry;
    frame.u.names.len = 1;
    support_raw_hello(raw, SUPPORT_CLUSTER, "raw");
    support_raw_frame(raw, &frame);
    expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "before the link is up",
                (struct harm){.protocol_errors = 1});
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
    struct scene *scene = *state;
    struct name_wish wish = {.node = scene->target->node, .name = "service"};
    struct support_raw *raw;
    rusm_pid pid;

    assert_int_equal(rusm_spawn(scene->good->runtime, idle, NULL, &wish.pid), RUSM_OK);
    assert_int_equal(rusm_register_global(scene->good->node, "service", wish.pid), RUSM_OK);
    assert_true(support_wait(name_is, &wish));
    raw = raw_up(scene);
    frame.u.names.entries = &entry;
    frame.u.names.len = 1;
    support_raw_frame(raw, &frame);
    frame.type = RUSMI_FRAME_NAMES_ADD;
    support_raw_frame(raw, &frame);
    support_raw_frame(raw, &ping);
    assert_true(support_raw_run(raw, has_pong, raw)); /* it has been read */
    assert_int_equal(rusm_whereis_global(scene->target->node, "service", &pid), RUSM_OK);
    assert_true(rusm_pid_equal(pid, wish.pid));
    expect_harm(scene, (struct harm){0});
    expect_exchange(5);
}

/* ---- messages -------------------------------------------------------------------------------- */

static void message_with_an_unknown_kind_loses_the_link(void **state)
{
    struct scene *scene = *state;
    struct support_raw *raw = raw_up(scene);
    uint8_t data[64];
    size_t len = support_raw_message(data, sizeof(data), "echo", "hello", 5);

    data[0] = 99;
    support_raw_stream(raw, data, len);
    expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "kind", (struct harm){.protocol_errors = 1});
}

static void message_with_an_empty_name_loses_the_link(void **state)
{
    static const uint8_t data[] = {RUSMI_MESSAGE_TO_NAME, 1, 0, 0};
    struct scene *scene = *state;
    struct support_raw *raw = raw_up(scene);

    support_raw_stream(raw, data, sizeof(data));
    expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "name", (struct harm){.protocol_errors = 1});
}

static void message_that_declares_one_byte_over_the_limit_loses_the_link(void **state)
{
    /* The body length is the last varint of the header: 16 MiB + 1. */
    static const uint8_t data[] = {RUSMI_MESSAGE_TO_SERIAL, 1, 1, 0x81, 0x00, 0x00, 0x01};
    struct scene *scene = *state;
    struct support_raw *raw = raw_up(scene);

    support_raw_stream(raw, data, sizeof(data));
    expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "", (struct harm){.protocol_errors = 1});
}

static void message_that_ends_within_its_header_loses_the_link(void **state)
{
    static const uint8_t data[] = {RUSMI_MESSAGE_TO_NAME, 1, 4, 'e', 'c'};
    struct scene *scene = *state;
    struct support_raw *raw = raw_up(scene);

    support_raw_stream(raw, data, sizeof(data));
    expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "", (struct harm){.protocol_errors = 1});
}

static void message_shorter_than_it_declares_loses_the_link(void **state)
{
    struct scene *scene = *state;
    struct support_raw *raw = raw_up(scene);
    uint8_t data[64];
    size_t len = support_raw_message(data, sizeof(data), "echo", "hello", 5);

    support_raw_stream(raw, data, len - 1);
    expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "", (struct harm){.protocol_errors = 1});
    assert_int_equal(raw->delivered, 0); /* nothing of it reached the echo */
}

static void message_longer_than_it_declares_loses_the_link(void **state)
{
    struct scene *scene = *state;
    struct support_raw *raw = raw_up(scene);
    uint8_t data[64];
    size_t len = support_raw_message(data, sizeof(data), "echo", "hello", 5);

    data[len] = '!';
    support_raw_stream(raw, data, len + 1);
    expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "", (struct harm){.protocol_errors = 1});
}

static bool echo_came(void *arg)
{
    const struct support_raw *raw = arg;

    return raw->delivered == 2 || support_raw_is_ended(arg);
}

/* The fixture itself: what these tests break is right when it is not broken. */
static void whole_messages_are_delivered(void **state)
{
    struct scene *scene = *state;
    struct support_raw *raw = raw_up(scene);
    uint8_t data[64];
    size_t len = support_raw_message(data, sizeof(data), "echo", "hello", 5);

    support_raw_stream(raw, data, len);
    support_raw_stream(raw, data, len);
    assert_true(support_raw_run(raw, echo_came, raw));
    assert_int_equal(raw->delivered, 2);
    expect_harm(scene, (struct harm){0});
}

/* Accepted before the link was up, so that it may be kept, and dropped with the link. */
static void message_before_the_hello_is_dropped_and_counted(void **state)
{
    struct scene *scene = *state;
    struct support_raw *raw = raw_tls(scene, "raw");
    uint8_t data[64];
    size_t len = support_raw_message(data, sizeof(data), "echo", "hello", 5);

    support_raw_stream(raw, data, len);
    assert_true(support_raw_run(raw, support_raw_is_quiet, raw));
    rusmi_quic_conn_close(raw->conn, RUSMI_CLOSE_NORMAL, "enough");
    support_raw_send_only(raw);
    support_wait_stat(scene->target, offsetof(rusm_node_stats, dropped_link), 1);
    expect_only_the_good_link(scene);
    expect_harm(scene, (struct harm){0});
}

/* ---- datagrams ------------------------------------------------------------------------------- */

static int stranger_socket(struct scene *scene)
{
    struct rusmi_address to;
    int fd;

    assert_true(rusmi_address_parse(rusm_node_address(scene->target->node), &to));
    assert_int_equal(rusmi_udp_connect(NULL, &to, 65536, &fd), 0);
    return fd;
}

static void garbage_datagrams_are_counted_and_ignored(void **state)
{
    struct scene *scene = *state;
    int fd = stranger_socket(scene);
    struct rusmi_prng prng;
    uint8_t bytes[600];

    rusmi_prng_init(&prng, 2);
    for (int i = 0; i < 100; i++) {
        size_t len = 1 + rusmi_prng_below(&prng, sizeof(bytes));

        for (size_t at = 0; at < len; at++) {
            bytes[at] = (uint8_t)rusmi_prng_below(&prng, 256);
        }
        assert_int_equal(rusmi_udp_send(fd, NULL, bytes, len, len), 0);
    }
    support_wait_stat(scene->target, offsetof(rusm_node_stats, datagrams_stray), 100);
    rusmi_udp_close(fd);
    expect_harm(scene, (struct harm){0});
    expect_only_the_good_link(scene);
}

/* Its head is that of an Initial packet, so a connection is tried, but nothing of it can be
 * decrypted. */
static void fill_lookalike(uint8_t bytes[1200], uint32_t number)
{
    static const uint8_t head[] = {0xc3, 0, 0, 0, 1, 8};

    memset(bytes, 0x5a, 1200);
    memcpy(bytes, head, sizeof(head));
    memcpy(bytes + 6, &number, sizeof(number));
    bytes[14] = 0;    /* no source id */
    bytes[15] = 0;    /* no token */
    bytes[16] = 0x44; /* the length of the rest */
    bytes[17] = 0x9e;
}

static void lookalikes_of_initial_packets_do_not_keep_others_out(void **state)
{
    struct scene *scene = *state;
    int fd = stranger_socket(scene);
    uint8_t bytes[1200];

    for (uint32_t i = 0; i < 50; i++) {
        fill_lookalike(bytes, i);
        assert_int_equal(rusmi_udp_send(fd, NULL, bytes, sizeof(bytes), sizeof(bytes)), 0);
    }
    support_connect(support_node_start(scene->world, "late"), scene->target);
    rusmi_udp_close(fd);
    assert_int_equal(support_stats(scene->target).refused_full, 0);
    expect_exchange(5);
}

static struct support_raw *flood_one(struct scene *scene, size_t i, rusm_identity *identity)
{
    scene->raws[i] = support_raw_dial(identity, rusm_node_address(scene->target->node));
    support_raw_send_only(scene->raws[i]);
    return scene->raws[i];
}

static bool has_answer(void *arg)
{
    const struct support_raw *raw = arg;

    return raw->received > 0;
}

/* Those who do not even read what comes back can take the places below handshakes_retry, no more: a
 * good node shows that it owns its address and comes in. */
static void flood_of_initials_without_answers_lets_a_good_node_in(void **state)
{
    struct scene *scene = *state;
    rusm_identity *identity = support_identity(scene->world, "flood");

    for (size_t i = 0; i < FLOOD_MAX; i++) {
        (void)flood_one(scene, i, identity);
    }
    rusm_identity_del(identity);
    support_connect(support_node_start(scene->world, "late"), scene->target);
    assert_int_equal(support_stats(scene->target).refused_full, 0);
    support_wait_stat(scene->target, offsetof(rusm_node_stats, timeouts), 4);
    assert_int_equal(support_stats(scene->target).timeouts, 4); /* the others never were */
    expect_exchange(5);
}

/* Those who answer the Retry and then stop take all places: others are told so at once, until time
 * is up for the flood. */
static void flood_of_unfinished_handshakes_is_bounded_and_passes(void **state)
{
    struct scene *scene = *state;
    rusm_identity *identity = support_identity(scene->world, "flood");
    struct support_node *late = support_node_start(scene->world, "late");

    for (size_t i = 0; i < 8; i++) {
        struct support_raw *raw = flood_one(scene, i, identity);

        if (i >= 4) {
            assert_true(support_raw_run(raw, has_answer, raw)); /* a Retry, which step answers */
        }
    }
    rusm_identity_del(identity);
    /* The last answers may be on their way still; then this dial finishes before them. */
    while (rusm_node_connect(late->node, rusm_node_address(scene->target->node),
                             SUPPORT_DEADLINE_MS, NULL) == RUSM_OK &&
           support_stats(scene->target).timeouts == 0) {
        assert_int_equal(rusm_node_disconnect(late->node, "target"), RUSM_OK);
    }
    assert_non_null(strstr(rusm_err_detail(), "the node is busy with other handshakes"));
    assert_true(support_stats(scene->target).refused_full > 0);
    expect_exchange(5);
    support_wait_stat(scene->target, offsetof(rusm_node_stats, timeouts), 8);
    support_connect(late, scene->target);
    assert_int_equal(support_stats(scene->target).timeouts, 8);
    expect_exchange(5);
}

#define CASE(name, how) cmocka_unit_test_setup_teardown(name, setup_##how, teardown)

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
        CASE(garbage_datagrams_are_counted_and_ignored, patient),
        CASE(lookalikes_of_initial_packets_do_not_keep_others_out, narrow),
        CASE(flood_of_initials_without_answers_lets_a_good_node_in, narrow),
        CASE(flood_of_unfinished_handshakes_is_bounded_and_passes, narrow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
