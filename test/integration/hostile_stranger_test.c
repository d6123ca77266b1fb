/* SPDX-License-Identifier: MIT */
/*
 * Strangers: peers that have nothing but a socket. What they send is counted and dropped, or
 * answered by less; what they hold is bounded; and a good node comes in meanwhile.
 * docs/design/hostile.md has the table.
 */
#include <poll.h>
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

#include <rusm/otp/driver.h>

static int setup_patient(void **state)
{
    rusm_node_config cfg = support_node_config();

    cfg.hello_ms = SUPPORT_DEADLINE_MS; /* nothing here may be a matter of time */
    return support_scene_setup(state, &cfg);
}

static int setup_narrow(void **state)
{
    rusm_node_config cfg = support_node_config();

    cfg.hello_ms = 3000;
    cfg.handshakes_retry = 4;
    cfg.handshakes_max = 8;
    return support_scene_setup(state, &cfg);
}

/* Everybody proves its address; nothing is a matter of time. */
static int setup_proving(void **state)
{
    rusm_node_config cfg = support_node_config();

    cfg.hello_ms = SUPPORT_DEADLINE_MS;
    cfg.handshakes_retry = 0;
    cfg.handshakes_max = 8;
    return support_scene_setup(state, &cfg);
}

/* ---- datagrams ------------------------------------------------------------------------------- */

static int stranger_socket(struct support_scene *scene)
{
    struct rusmi_address to;
    int fd;

    assert_true(rusmi_address_parse(rusm_node_address(scene->target->node), &to));
    assert_int_equal(rusmi_udp_connect(NULL, &to, 65536, &fd), 0);
    return fd;
}

static void garbage_datagrams_are_counted_and_ignored(void **state)
{
    struct support_scene *scene = *state;
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
    support_expect_harm(scene, (struct support_harm){0});
    support_expect_only_good(scene);
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
    struct support_scene *scene = *state;
    int fd = stranger_socket(scene);
    uint8_t bytes[1200];

    for (uint32_t i = 0; i < 50; i++) {
        fill_lookalike(bytes, i);
        assert_int_equal(rusmi_udp_send(fd, NULL, bytes, sizeof(bytes), sizeof(bytes)), 0);
    }
    support_connect(support_node_start(scene->world, "late"), scene->target);
    rusmi_udp_close(fd);
    assert_int_equal(support_stats(scene->target).refused_full, 0);
    support_expect_exchange(5);
}

static struct support_raw *flood_one(struct support_scene *scene, size_t i, rusm_identity *identity)
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
    struct support_scene *scene = *state;
    rusm_identity *identity = support_identity(scene->world, "flood");

    for (size_t i = 0; i < 12; i++) {
        (void)flood_one(scene, i, identity);
    }
    rusm_identity_del(identity);
    support_connect(support_node_start(scene->world, "late"), scene->target);
    assert_int_equal(support_stats(scene->target).refused_full, 0);
    support_wait_stat(scene->target, offsetof(rusm_node_stats, timeouts), 4);
    assert_int_equal(support_stats(scene->target).timeouts, 4); /* the others never were */
    support_expect_exchange(5);
}

/* Begin a handshake from a host of this machine, and stop once it has a place: the node's flight is
 * there, not read. */
static void begin_and_stop(struct support_scene *scene, size_t i, const char *host)
{
    rusm_identity *identity = support_identity(scene->world, "flood");
    struct support_raw *raw =
        support_raw_dial_from(identity, host, rusm_node_address(scene->target->node));
    struct pollfd pfd;

    scene->raws[i] = raw;
    rusm_identity_del(identity);
    assert_true(support_raw_run(raw, has_answer, raw)); /* a Retry, which step answers */
    pfd = (struct pollfd){.fd = raw->fd, .events = POLLIN};
    assert_int_equal(poll(&pfd, 1, SUPPORT_DEADLINE_MS), 1);
}

static void expect_gave_way(struct support_scene *scene, size_t i)
{
    const struct rusmi_quic_end *end = support_raw_end(scene->raws[i]);

    /* The words are the promise: if it went on just then, they come as a close of the link. */
    if (strstr(end->text, "the node is busy with other handshakes") == NULL) {
        fail_msg("%zu ended with %s: %s", i, rusm_err_name(end->err), end->text);
    }
}

static void expect_goes_on(struct support_scene *scene, size_t i)
{
    if (!support_raw_run(scene->raws[i], support_raw_is_authenticated, scene->raws[i])) {
        fail_msg("%zu: no TLS with the target", i);
    }
}

/* Those who answer the Retry and then stop take all places. Who comes then gets the oldest. */
static void hosts_that_begin_and_stop_give_way(void **state)
{
    struct support_scene *scene = *state;

    for (size_t i = 0; i < 8; i++) {
        char host[16];

        (void)snprintf(host, sizeof(host), "127.0.0.%zu", i + 2);
        begin_and_stop(scene, i, host);
    }
    assert_int_equal(support_stats(scene->target).refused_full, 0);
    support_connect(support_node_start(scene->world, "late"), scene->target);
    assert_int_equal(support_stats(scene->target).refused_full, 1);
    assert_int_equal(support_stats(scene->target).timeouts, 0);
    expect_gave_way(scene, 0);
    for (size_t i = 1; i < 8; i++) {
        expect_goes_on(scene, i);
    }
    support_expect_exchange(5);
}

/* The host that has most loses one, although another began before it. */
static void host_with_most_handshakes_gives_way(void **state)
{
    static const char *const hosts[8] = {"127.0.0.2", "127.0.0.3", "127.0.0.2", "127.0.0.4",
                                         "127.0.0.4", "127.0.0.4", "127.0.0.4", "127.0.0.5"};
    struct support_scene *scene = *state;

    for (size_t i = 0; i < 8; i++) {
        begin_and_stop(scene, i, hosts[i]);
    }
    support_connect(support_node_start(scene->world, "late"), scene->target);
    assert_int_equal(support_stats(scene->target).refused_full, 1);
    expect_gave_way(scene, 3);
    for (size_t i = 0; i < 8; i++) {
        if (i != 3) {
            expect_goes_on(scene, i);
        }
    }
    support_expect_exchange(5);
}

/* ---- floods while a good node joins -------------------------------------------------------- */

#define SMALL_RETRY 8

static int setup_small(void **state)
{
    rusm_node_config cfg = support_node_config();

    cfg.hello_ms = SUPPORT_DEADLINE_MS;
    cfg.handshakes_retry = SMALL_RETRY;
    cfg.handshakes_source = 16;
    cfg.handshakes_max = 32;
    return support_scene_setup(state, &cfg);
}

/* Bad peers whose handshakes stay half done. */
struct half_open {
    rusm_identity *identity;
    size_t count; /* so many at a time */
    size_t hosts; /* they are those of so many */
    size_t next;
};

/* One more begins, proves its address if asked to, and says nothing more. */
static void turn_half_open(struct support_scene *scene, void *arg)
{
    struct half_open *half = arg;
    size_t i = half->next++ % half->count;
    char host[16];

    (void)snprintf(host, sizeof(host), "127.0.0.%zu", 66 + half->next % half->hosts);
    if (scene->raws[i] != NULL) {
        support_raw_del(scene->raws[i]); /* without a word: the node still waits for it */
    }
    scene->raws[i] =
        support_raw_dial_from(half->identity, host, rusm_node_address(scene->target->node));
    scene->raws[i]->deaf = true;
    support_raw_send_only(scene->raws[i]);
    support_raw_step(scene->raws[i], 2);
    scene->bad++;
}

static void leave_half_open(struct support_scene *scene, const char *what, size_t hosts)
{
    struct half_open half = {
        .identity = support_identity(scene->world, "flood"), .count = 64, .hosts = hosts};
    struct support_attack attack = {.what = what,
                                    .turn = turn_half_open,
                                    .arg = &half,
                                    .bad_min = 200,
                                    .memory_max = (size_t)16 << 20};

    for (size_t i = 0; i < half.count; i++) {
        turn_half_open(scene, &half);
    }
    support_attack(scene, &attack);
    rusm_identity_del(half.identity);
    assert_true(support_stats(scene->target).refused_full > 0);
}

static void half_open_handshakes_of_one_host_leave_places_for_others(void **state)
{
    leave_half_open(*state, "half-open handshakes", 1);
}

static void half_open_handshakes_of_many_hosts_give_way_to_others(void **state)
{
    leave_half_open(*state, "the same from 64 hosts", 64);
}

/* A socket that throws datagrams and counts what it sent and what came back. */
struct thrower {
    int fds[256]; /* it sends from all of them in turn */
    size_t fds_len;
    struct rusmi_prng prng;
    uint32_t number;
    uint64_t sent, answered; /* bytes */
    void (*fill)(struct thrower *thrower, uint8_t bytes[1200], size_t *len);
    uint8_t (*kept)[1500]; /* what fill_kept sends */
    size_t kept_lens[64], kept_count;
};

#define THROWN_PER_TURN 32

static void turn_throw(struct support_scene *scene, void *arg)
{
    static uint8_t back[RUSMI_UDP_RECV_MAX];
    struct thrower *thrower = arg;
    struct rusmi_address from;
    size_t len, segment;

    for (int i = 0; i < THROWN_PER_TURN; i++) {
        uint8_t bytes[1500];

        thrower->fill(thrower, bytes, &len);
        thrower->number++;
        if (rusmi_udp_send(thrower->fds[thrower->number % thrower->fds_len], NULL, bytes, len,
                           len) == 0) { /* else the socket is full */
            thrower->sent += len;
            scene->bad++;
        }
    }
    for (size_t i = 0; i < thrower->fds_len; i++) {
        while (rusmi_udp_recv(thrower->fds[i], back, sizeof(back), &from, &len, &segment) == 0) {
            thrower->answered += len;
        }
    }
}

static void fill_random(struct thrower *thrower, uint8_t *bytes, size_t *len)
{
    *len = 1 + rusmi_prng_below(&thrower->prng, 1200);
    for (size_t at = 0; at < *len; at++) {
        bytes[at] = (uint8_t)rusmi_prng_below(&thrower->prng, 256);
    }
}

/* Packets of a connection that nobody has: each may be answered by a stateless reset. */
static void fill_short(struct thrower *thrower, uint8_t *bytes, size_t *len)
{
    fill_random(thrower, bytes, len);
    bytes[0] = 0x40;
}

/* Packets of a version that nobody speaks: the long ones may be answered by a list of ours. */
static void fill_version(struct thrower *thrower, uint8_t *bytes, size_t *len)
{
    static const uint8_t head[] = {0xc0, 0xba, 0xba, 0xba, 0xba, 20};

    fill_random(thrower, bytes, len);
    *len = thrower->number % 2 == 0 ? 1200 : 30 + *len % 1000;
    memcpy(bytes, head, sizeof(head));
    bytes[26] = 0;
}

static void fill_initial(struct thrower *thrower, uint8_t *bytes, size_t *len)
{
    *len = 1200;
    fill_lookalike(bytes, thrower->number);
}

/* What a genuine client sent once: its first datagrams, again and again. */
static void fill_kept(struct thrower *thrower, uint8_t *bytes, size_t *len)
{
    size_t i = thrower->number % thrower->kept_count;

    *len = thrower->kept_lens[i];
    memcpy(bytes, thrower->kept[i], *len);
}

static void throw(struct support_scene * scene, const char *what, struct thrower *thrower)
{
    struct support_attack attack = {.what = what,
                                    .turn = turn_throw,
                                    .arg = thrower,
                                    .bad_min = 5000,
                                    .memory_max = (size_t)16 << 20};

    thrower->fds_len = thrower->fds_len == 0 ? 1 : thrower->fds_len;
    for (size_t i = 0; i < thrower->fds_len; i++) {
        thrower->fds[i] = stranger_socket(scene);
    }
    rusmi_prng_init(&thrower->prng, 3);
    support_attack(scene, &attack);
    for (size_t i = 0; i < thrower->fds_len; i++) {
        rusmi_udp_close(thrower->fds[i]);
    }
    /* A stranger that writes somebody else's address into its packets gains nothing by it. */
    assert_true(thrower->answered < thrower->sent);
}

static void random_datagrams_are_dropped(void **state)
{
    struct support_scene *scene = *state;
    struct thrower thrower = {.fill = fill_random};

    throw(scene, "random datagrams", &thrower);
    support_expect_harm(scene, (struct support_harm){0});
    assert_true(support_stats(scene->target).datagrams_stray > 0);
}

static void packets_of_no_connection_are_answered_by_less(void **state)
{
    struct support_scene *scene = *state;
    struct thrower thrower = {.fill = fill_short};

    throw(scene, "packets of no connection", &thrower);
    support_expect_harm(scene, (struct support_harm){0});
    assert_true(support_stats(scene->target).datagrams_stray > 0);
    assert_true(thrower.answered > 0);
}

static void packets_of_unknown_versions_are_answered_by_less(void **state)
{
    struct support_scene *scene = *state;
    struct thrower thrower = {.fill = fill_version};

    throw(scene, "unknown versions", &thrower);
    support_expect_harm(scene, (struct support_harm){0});
    assert_true(support_stats(scene->target).datagrams_stray > 0);
    assert_true(thrower.answered > 0);
}

/* A place that has become free at once is not for the next of them: each costs a TLS session, a
 * hundred times what the datagram costs. The flood may have begun at the end of a period. */
static void expect_few_tried(struct support_scene *scene)
{
    assert_in_range(support_stats(scene->target).protocol_errors, 1, 2 * SMALL_RETRY);
    support_expect_exchange(5);
}

static void flood_of_initial_lookalikes_is_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct thrower thrower = {.fill = fill_initial};

    throw(scene, "Initial packets without sense", &thrower);
    expect_few_tried(scene);
}

static void flood_of_initial_lookalikes_from_many_ports_is_bounded(void **state)
{
    struct support_scene *scene = *state;
    struct thrower thrower = {.fill = fill_initial, .fds_len = 256};

    throw(scene, "the same from 256 ports", &thrower);
    expect_few_tried(scene);
}

/* Sixty-four genuine dials, recorded; their datagrams come over and over from one socket. */
static void replayed_handshakes_are_bounded(void **state)
{
    static uint8_t kept[64][1500];
    static uint8_t buf[65536];
    struct support_scene *scene = *state;
    struct thrower thrower = {.fill = fill_kept, .kept = kept};

    for (size_t i = 0; i < 64; i++) {
        struct support_raw *raw = support_scene_dial(scene, i, "flood", NULL);
        struct rusmi_quic_batch batch;

        assert_true(rusmi_quic_conn_write(raw->conn, buf, sizeof(buf), &batch, rusm_now()) > 0);
        assert_true(batch.segment <= sizeof(kept[0]));
        memcpy(kept[i], buf, batch.segment);
        thrower.kept_lens[thrower.kept_count++] = batch.segment;
    }
    throw(scene, "replayed Initial packets", &thrower);
    support_expect_exchange(5);
}

#define CASE(name, how) cmocka_unit_test_setup_teardown(name, setup_##how, support_scene_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(garbage_datagrams_are_counted_and_ignored, patient),
        CASE(lookalikes_of_initial_packets_do_not_keep_others_out, narrow),
        CASE(flood_of_initials_without_answers_lets_a_good_node_in, narrow),
        CASE(hosts_that_begin_and_stop_give_way, proving),
        CASE(host_with_most_handshakes_gives_way, proving),
        CASE(half_open_handshakes_of_one_host_leave_places_for_others, small),
        CASE(half_open_handshakes_of_many_hosts_give_way_to_others, small),
        CASE(random_datagrams_are_dropped, small),
        CASE(packets_of_no_connection_are_answered_by_less, small),
        CASE(packets_of_unknown_versions_are_answered_by_less, small),
        CASE(flood_of_initial_lookalikes_is_bounded, small),
        CASE(flood_of_initial_lookalikes_from_many_ports_is_bounded, small),
        CASE(replayed_handshakes_are_bounded, small),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
