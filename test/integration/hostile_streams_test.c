/* SPDX-License-Identifier: MIT */
/*
 * A member that lies about streams: more bytes than it has credit for, streams that it has no end
 * of, buffers of absurd sizes, ends without end. docs/design/hostile.md has the table.
 *
 * Messages of the bad peer are not ordered among each other, so it waits for an answer wherever one
 * has to come before the next.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/procs.h"
#include "support/scene.h"

#include <rusm/otp/driver.h>

#include <rusm/otp/info.h>
#include <rusm/otp/stream.h>

static int setup(void **state)
{
    rusm_node_config cfg = support_node_config();

    cfg.hello_ms = SUPPORT_DEADLINE_MS; /* nothing here may be a matter of time */
    cfg.mailbox_bytes_max = (uint64_t)16 << 20;
    return support_scene_setup(state, &cfg);
}

/* ---- what it says ---------------------------------------------------------------------------- */

static void say_offer(struct support_raw *raw, rusm_pid to, uint64_t number, bool writing,
                      uint64_t capacity, uint64_t used)
{
    const struct rusmi_stream_offer offer = {writing, capacity, used};
    struct rusmi_message_head head = {
        .kind = RUSMI_MESSAGE_STREAM_OFFER, .sender = 1, .serial = to.serial, .number = number};
    uint8_t body[RUSMI_STREAM_OFFER_MAX + 200] = {0};

    /* so many bytes of the buffer, or as many as there is room for */
    head.body_len =
        (uint32_t)(rusmi_stream_offer_encode(body, &offer) + (used < 200 ? (size_t)used : 200));
    support_raw_head(raw, &head, body);
}

static void say(struct support_raw *raw, uint8_t kind, uint64_t stream, uint64_t number, size_t len)
{
    static const uint8_t body[4000];
    struct rusmi_message_head head = {
        .kind = kind, .serial = stream, .number = number, .body_len = (uint32_t)len};

    support_raw_head(raw, &head, body);
}

static bool has_credit(void *arg)
{
    return ((struct support_raw *)arg)->kinds[RUSMI_MESSAGE_STREAM_CREDIT] != 0;
}

static bool has_data(void *arg)
{
    return ((struct support_raw *)arg)->kinds[RUSMI_MESSAGE_STREAM_DATA] != 0;
}

/* One end of stream 1 of the liar's, with a buffer of 100 bytes, in the mailbox of an idle process
 * of the target. */
static struct support_raw *offer_one(struct support_scene *scene, bool writing)
{
    rusm_pid pid = support_idle_start(scene->target, NULL);
    struct support_raw *raw = support_scene_up(scene, "raw");

    say_offer(raw, pid, 1, writing, 100, 10);
    assert_true(support_raw_run(raw, writing ? has_data : has_credit, raw));
    return raw;
}

static void expect_loss(struct support_scene *scene, struct support_raw *raw, const char *words)
{
    support_expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, words,
                        (struct support_harm){.protocol_errors = 1});
}

/* ---- lies ------------------------------------------------------------------------------------ */

/* The stream that a process of the good node has with one of the target. */
static struct {
    rusm_pid reader;
    _Atomic uint64_t bytes;
    atomic_bool done;
    _Atomic int err;
} honest;

static void run_reader(void *arg)
{
    rusm_stream *end;
    rusm_msg *msg;
    char buf[100];
    size_t len;
    rusm_err err;

    (void)arg;
    (void)!rusm_receive(&msg, RUSM_INFINITY);
    end = rusm_msg_take_stream(msg);
    rusm_msg_del(msg);
    while ((err = rusm_stream_read(end, buf, sizeof(buf), RUSM_INFINITY, &len)) == RUSM_OK &&
           len != 0) {
        atomic_fetch_add(&honest.bytes, len);
    }
    atomic_store(&honest.err, err);
    atomic_store(&honest.done, true);
}

static rusm_err write_honestly(void *arg)
{
    static const char bytes[100];
    rusm_stream *writer, *reader;
    rusm_msg *msg;
    rusm_err err = rusm_stream_new(1000, &writer, &reader);

    (void)arg;
    if (err == RUSM_OK) {
        err = rusm_stream_send(honest.reader, reader, NULL, 0);
    }
    for (int i = 0; i < 50 && err == RUSM_OK; i++) {
        err = rusm_stream_write(writer, bytes, sizeof(bytes), RUSM_INFINITY, NULL);
    }
    if (err == RUSM_OK) {
        err = rusm_receive(&msg, RUSM_INFINITY); /* until the liar has lied */
    }
    if (err == RUSM_OK) {
        rusm_msg_del(msg);
        rusm_stream_close(writer);
    }
    return err;
}

static bool honest_has_read(void *arg)
{
    (void)arg;
    return atomic_load(&honest.bytes) == 5000;
}

static bool honest_is_done(void *arg)
{
    (void)arg;
    return atomic_load(&honest.done);
}

/* Stream 1 of the good node is not stream 1 of the liar. */
static void who_speaks_for_anothers_stream_loses_its_link(void **state)
{
    static struct support_call call;
    struct support_scene *scene = *state;
    struct support_raw *raw;

    memset(&honest, 0, sizeof(honest));
    assert_int_equal(rusm_spawn(scene->target->runtime, run_reader, NULL, &honest.reader), RUSM_OK);
    support_call_start(&call, scene->good, write_honestly, NULL);
    assert_true(support_wait(honest_has_read, NULL));
    raw = support_scene_up(scene, "raw");
    say(raw, RUSMI_MESSAGE_STREAM_END, 3, 2, 0);
    expect_loss(scene, raw, "no end of");
    support_expect_exchange(5);
    assert_false(atomic_load(&honest.done));
    assert_int_equal(rusm_send(call.pid, NULL, 0), RUSM_OK);
    support_call_wait(&call);
    assert_int_equal(call.err, RUSM_OK);
    assert_true(support_wait(honest_is_done, NULL));
    assert_int_equal(atomic_load(&honest.err), RUSM_OK);
}

static void nothing_is_said_of_streams_that_do_not_exist(void **state)
{
    struct support_scene *scene = *state;
    static const uint8_t kinds[] = {RUSMI_MESSAGE_STREAM_DATA, RUSMI_MESSAGE_STREAM_CREDIT,
                                    RUSMI_MESSAGE_STREAM_END};

    for (size_t i = 0; i < sizeof(kinds); i++) {
        for (uint64_t stream = 2; stream < 4; stream++) { /* as if it were ours, and theirs */
            struct support_raw *raw = support_scene_dial(scene, i * 2 + stream, "raw", NULL);

            support_raw_join(raw, "raw");
            say(raw, kinds[i], stream, 1, 0);
            support_expect_loss(scene, raw, RUSMI_CLOSE_PROTOCOL, "no end of",
                                (struct support_harm){.protocol_errors = i * 2 + stream - 1});
        }
    }
}

static void more_bytes_than_credit_lose_the_link(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = offer_one(scene, false);

    say(raw, RUSMI_MESSAGE_STREAM_DATA, 3, 0, 91); /* 10 of the 100 were in use */
    expect_loss(scene, raw, "more bytes of a stream than");
}

static void as_many_bytes_as_credit_lose_nothing(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = offer_one(scene, false);

    say(raw, RUSMI_MESSAGE_STREAM_DATA, 3, 0, 90);
    assert_true(support_raw_run(raw, support_raw_is_quiet, raw));
    assert_false(support_raw_is_ended(raw));
    support_expect_harm(scene, (struct support_harm){0});
}

static void credit_for_what_was_not_written_loses_the_link(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = offer_one(scene, true);

    say(raw, RUSMI_MESSAGE_STREAM_CREDIT, 3, 111, 0); /* 10 bytes were in the buffer */
    expect_loss(scene, raw, "that were not written");
}

static void bytes_for_a_writing_end_lose_the_link(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = offer_one(scene, true);

    say(raw, RUSMI_MESSAGE_STREAM_DATA, 3, 0, 1);
    expect_loss(scene, raw, "bytes for the writing end");
}

static void an_end_of_no_known_kind_loses_the_link(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = offer_one(scene, false);

    say(raw, RUSMI_MESSAGE_STREAM_END, 3, 3, 0);
    expect_loss(scene, raw, "no known way");
}

static void a_stream_that_is_offered_twice_loses_the_link(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = offer_one(scene, false);

    say_offer(raw, support_idle_start(scene->target, NULL), 1, false, 100, 0);
    expect_loss(scene, raw, "offered twice");
}

static void absurd(void **state, uint64_t capacity, uint64_t used, const char *words)
{
    struct support_scene *scene = *state;
    rusm_pid pid = support_idle_start(scene->target, NULL);
    struct support_raw *raw = support_scene_up(scene, "raw");

    say_offer(raw, pid, 1, false, capacity, used);
    expect_loss(scene, raw, words);
}

static void an_absurd_capacity_loses_the_link(void **state)
{
    absurd(state, (uint64_t)1 << 50, 0, "absurd size");
}

static void a_capacity_of_one_byte_too_many_loses_the_link(void **state)
{
    absurd(state, RUSM_STREAM_FAR_MAX + 1, 0, "absurd size");
}

static void a_buffer_of_nothing_loses_the_link(void **state)
{
    absurd(state, 0, 0, "makes no sense");
}

static void more_in_the_buffer_than_it_holds_loses_the_link(void **state)
{
    absurd(state, 10, 11, "makes no sense");
}

static void bytes_that_are_not_there_lose_the_link(void **state)
{
    absurd(state, 5000, 4000, "shorter than what was written");
}

/* ---- without end ----------------------------------------------------------------------------- */

static rusm_pid idle;
static uint64_t capacity;

static void say_offers(struct support_scene *scene, struct support_liar *liar,
                       struct support_raw *raw)
{
    for (int i = 0; i < 500; i++) {
        say_offer(raw, idle, ++liar->number, false, capacity, 0);
    }
    scene->bad += 500;
}

static void offers(void **state, const char *what, uint64_t bytes, uint64_t accepted)
{
    struct support_scene *scene = *state;
    struct support_liar liar = {.say = say_offers};
    rusm_runtime_stats stats;
    struct support_raw *raw;

    capacity = bytes;
    assert_int_equal(rusm_spawn(scene->target->runtime, run_reader, NULL, &idle), RUSM_OK);
    support_lie(scene, what, &liar, 200000, (size_t)128 << 20);
    assert_int_equal(liar.links_lost, 0);
    raw = scene->raws[0];
    assert_true(support_raw_run(raw, support_raw_is_quiet, raw));
    assert_int_equal(rusm_runtime_get_stats(scene->target->runtime, &stats), RUSM_OK);
    assert_true(raw->kinds[RUSMI_MESSAGE_STREAM_CREDIT] == accepted);
    assert_true(stats.streams_refused >= 200000 - accepted);
    support_expect_harm(scene, (struct support_harm){0});
}

static void a_million_streams_are_bounded(void **state)
{
    offers(state, "streams without end", 10, RUSM_FAR_STREAMS_MAX);
}

static void buffers_without_end_are_bounded(void **state)
{
    offers(state, "streams of the largest buffer", RUSM_STREAM_FAR_MAX,
           RUSM_FAR_STREAM_BYTES_MAX / RUSM_STREAM_FAR_MAX);
}

static void buffers_of_all_peers_are_bounded_together(void **state)
{
    struct support_scene *scene = *state;
    size_t peak, held;

    rusm_runtime_set_offered_max(scene->target->runtime, 2 * RUSM_STREAM_FAR_MAX);
    offers(state, "streams beyond what is left", RUSM_STREAM_FAR_MAX, 1); /* records count, too */
    held = rusm_runtime_offered(scene->target->runtime, &peak);
    assert_in_range(held, RUSM_STREAM_FAR_MAX, 2 * RUSM_STREAM_FAR_MAX);
    assert_in_range(peak, held, 2 * RUSM_STREAM_FAR_MAX);
}

/* ---- versions -------------------------------------------------------------------------------- */

static rusm_err offer_to(void *arg)
{
    rusm_stream *writer, *reader;
    rusm_err err = rusm_stream_new(0, &writer, &reader);

    return err == RUSM_OK ? rusm_stream_send(*(rusm_pid *)arg, reader, NULL, 0) : err;
}

static void a_peer_of_version_1_gets_no_ends(void **state)
{
    static struct support_call call;
    static rusm_pid pid;
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_tls(scene, "raw");

    raw->version = 1;
    support_raw_join(raw, "raw");
    support_wait_peer(scene->target, "raw", true);
    pid = (rusm_pid){raw->incarnation, 1};
    support_call_start(&call, scene->target, offer_to, &pid);
    support_call_wait(&call);
    assert_int_equal(call.err, RUSM_EPROTO);
    assert_non_null(strstr(call.detail, "older protocol"));
    support_raw_step(raw, 0);
    assert_int_equal(raw->delivered, 0);
}

static void offers_on_a_link_of_version_1_lose_it(void **state)
{
    struct support_scene *scene = *state;
    struct support_raw *raw = support_scene_tls(scene, "raw");

    raw->version = 1;
    support_raw_join(raw, "raw");
    say_offer(raw, support_idle_start(scene->target, NULL), 1, false, 100, 0);
    expect_loss(scene, raw, "later version");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, support_scene_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(who_speaks_for_anothers_stream_loses_its_link),
        CASE(nothing_is_said_of_streams_that_do_not_exist),
        CASE(more_bytes_than_credit_lose_the_link),
        CASE(as_many_bytes_as_credit_lose_nothing),
        CASE(credit_for_what_was_not_written_loses_the_link),
        CASE(bytes_for_a_writing_end_lose_the_link),
        CASE(an_end_of_no_known_kind_loses_the_link),
        CASE(a_stream_that_is_offered_twice_loses_the_link),
        CASE(an_absurd_capacity_loses_the_link),
        CASE(a_capacity_of_one_byte_too_many_loses_the_link),
        CASE(a_buffer_of_nothing_loses_the_link),
        CASE(more_in_the_buffer_than_it_holds_loses_the_link),
        CASE(bytes_that_are_not_there_lose_the_link),
        CASE(a_million_streams_are_bounded),
        CASE(buffers_without_end_are_bounded),
        CASE(buffers_of_all_peers_are_bounded_together),
        CASE(a_peer_of_version_1_gets_no_ends),
        CASE(offers_on_a_link_of_version_1_lose_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
