/* SPDX-License-Identifier: MIT */
/* Messages over two connections in memory: order, sizes, loss, windows, batches, credit. */
#include "support/quic_pair.h"
#include "wire/control.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static rusm_identity *shared;

static int setup(void **state)
{
    (void)state;
    assert_int_equal(rusm_identity_generate(&shared, "testnet"), RUSM_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rusm_identity_del(shared);
    return 0;
}

static bool numbers_done(struct support_pair *pair)
{
    return support_pair_quiet(pair);
}

/* Everything started is acknowledged, everything sent is delivered once and in order. */
static void check_accounts(struct support_pair *pair)
{
    for (int i = 0; i < 2; i++) {
        struct support_end *end = &pair->ends[i];

        assert_false(end->out_of_order);
        assert_int_equal(end->delivered, pair->ends[!i].outbox.acked_count);
        assert_int_equal(end->outbox.queued_count + end->outbox.flight_count, 0);
        assert_int_equal(end->outbox.reserved, 0);
        assert_int_equal(end->outbox.lost_count, 0);
        assert_int_equal(end->inbox.parked_count + end->inbox.unfinished_count, 0);
        assert_int_equal(end->inbox.held_bytes, 0);
    }
}

static void run_numbers(uint64_t seed, unsigned loss, rusm_time jitter_ns, int count)
{
    struct support_pair pair;

    support_pair_init(&pair, shared, shared, seed);
    pair.loss_percent = loss;
    pair.repeat_percent = loss;
    pair.jitter_ns = jitter_ns;
    assert_true(support_pair_connect(&pair));
    for (int i = 0; i < count; i++) {
        support_pair_send_number(&pair.ends[0]);
        if (i % 100 == 0) {
            support_pair_send_number(&pair.ends[1]);
        }
        if (i % 1000 == 0) {
            support_pair_run(&pair, NULL, SUPPORT_MS);
        }
    }
    assert_true(support_pair_run(&pair, numbers_done, 600000 * SUPPORT_MS));
    assert_int_equal(pair.ends[1].delivered, count);
    check_accounts(&pair);
    support_pair_fini(&pair);
}

static void test_100000_messages_arrive_once_in_order(void **state)
{
    (void)state;
    run_numbers(1, 0, 0, 100000);
}

static void test_100000_messages_arrive_in_order_under_loss(void **state)
{
    (void)state;
    run_numbers(2, 3, SUPPORT_MS, 100000);
}

static void test_heavy_loss_and_reordering_lose_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 10; seed < 16; seed++) {
        run_numbers(seed, 20, 5 * SUPPORT_MS, 1000);
    }
}

static void check_size(size_t len)
{
    struct support_pair pair;

    support_pair_init(&pair, shared, shared, 4);
    assert_true(support_pair_connect(&pair));
    support_pair_send(&pair.ends[0], 5, 6, 3, len);
    assert_true(support_pair_run(&pair, support_pair_quiet, 60000 * SUPPORT_MS));
    assert_int_equal(pair.ends[1].delivered, 1);
    assert_int_equal(pair.ends[1].last_len, len);
    assert_int_equal(pair.ends[1].last_sum, 3 * len);
    check_accounts(&pair);
    support_pair_fini(&pair);
}

static void test_messages_of_every_size(void **state)
{
    static const size_t sizes[] = {0,    1,     1100,  1159,  1160,    1161,    1200,
                                   1452, 65535, 65536, 65537, 1000000, 16777216};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        check_size(sizes[i]);
    }
}

/* Far more than the window, in both directions, with control bytes between. */
static void test_traffic_of_many_windows_flows(void **state)
{
    struct support_pair pair;

    (void)state;
    support_pair_init(&pair, shared, shared, 4);
    pair.delay_ns = 2 * SUPPORT_MS;
    for (int i = 0; i < 2; i++) {
        pair.ends[i].cfg.window = rusmi_outbox_window_min(RUSM_MESSAGE_MAX);
        pair.ends[i].cfg.streams_max = 64;
        pair.ends[i].cfg.control_window = 4096;
    }
    assert_true(support_pair_connect(&pair));
    for (int i = 0; i < 10; i++) {
        support_pair_send(&pair.ends[0], 5, 6, 1, RUSM_MESSAGE_MAX);
        support_pair_send(&pair.ends[1], 5, 6, 1, RUSM_MESSAGE_MAX);
        for (int k = 0; k < 300; k++) {
            support_pair_send_number(&pair.ends[0]);
            assert_int_equal(rusmi_quic_conn_send_control(pair.ends[1].conn, "0123456789", 10),
                             RUSM_OK);
        }
    }
    assert_true(support_pair_run(&pair, support_pair_quiet, 600000 * SUPPORT_MS));
    assert_int_equal(pair.ends[0].control_len, 30000);
    assert_int_equal(pair.ends[1].delivered, 3010);
    check_accounts(&pair);
    support_pair_fini(&pair);
}

/* A message of 16 MiB under way does not hold small ones up, nor they it. */
static bool small_ones_through(struct support_pair *pair)
{
    return pair->ends[1].delivered >= 100;
}

static void test_small_messages_pass_a_big_one(void **state)
{
    struct support_pair pair;
    rusm_time begun;

    (void)state;
    support_pair_init(&pair, shared, shared, 4);
    pair.delay_ns = 5 * SUPPORT_MS;
    assert_true(support_pair_connect(&pair));
    support_pair_send(&pair.ends[0], 5, 6, 1, RUSM_MESSAGE_MAX);
    support_pair_run(&pair, NULL, 20 * SUPPORT_MS);
    assert_int_equal(pair.ends[1].delivered, 0);
    begun = pair.now;
    for (int i = 0; i < 100; i++) {
        support_pair_send_number(&pair.ends[0]);
    }
    assert_true(support_pair_run(&pair, small_ones_through, 1000 * SUPPORT_MS));
    assert_true(pair.now - begun < 50 * SUPPORT_MS);
    assert_int_equal(pair.ends[1].inbox.unfinished_count, 1);
    assert_true(support_pair_run(&pair, support_pair_quiet, 60000 * SUPPORT_MS));
    check_accounts(&pair);
    support_pair_fini(&pair);
}

static void test_big_message_moves_beside_endless_small_ones(void **state)
{
    struct support_pair pair;
    struct support_end *from = &pair.ends[0];

    (void)state;
    support_pair_init(&pair, shared, shared, 4);
    assert_true(support_pair_connect(&pair));
    support_pair_send(from, 5, 6, 1, 1000000);
    for (int round = 0; pair.ends[1].bulk == 0; round++) {
        while (from->outbox.queued_count < 500) {
            support_pair_send_number(from);
        }
        support_pair_run(&pair, NULL, SUPPORT_MS / 10);
        assert_true(round < 5000);
    }
    assert_true(support_pair_run(&pair, support_pair_quiet, 60000 * SUPPORT_MS));
    check_accounts(&pair);
    support_pair_fini(&pair);
}

static bool big_one_through(struct support_pair *pair)
{
    return pair->ends[1].bulk == 1;
}

/* A receiver that has no room for a long message: the rest of it stays where it is, and only its
 * own pair waits. */
static void test_message_without_room_waits_at_its_sender(void **state)
{
    struct rusmi_purse purse, others;
    struct rusmi_budget budget;
    struct support_pair pair;
    uint64_t sent;

    (void)state;
    support_pair_init(&pair, shared, shared, 4);
    pair.delay_ns = 5 * SUPPORT_MS;
    pair.loss_percent = 5;
    rusmi_budget_init(&budget, (size_t)64 << 20);
    assert_true(rusmi_purse_open(&purse, &budget, (size_t)4 << 20));
    assert_true(support_pair_connect(&pair));
    pair.ends[1].inbox.cfg.purse = &purse;
    assert_true(rusmi_purse_open(&others, &budget, (size_t)40 << 20));
    sent = pair.ends[0].bytes_sent;
    support_pair_send(&pair.ends[0], 5, 6, 1, RUSM_MESSAGE_MAX);
    for (int i = 0; i < 100; i++) {
        support_pair_send_number(&pair.ends[0]);
        support_pair_run(&pair, NULL, 20 * SUPPORT_MS);
    }
    assert_true(support_pair_run(&pair, small_ones_through, 1000 * SUPPORT_MS));
    assert_int_equal(pair.ends[1].bulk, 0);
    assert_true(pair.ends[0].bytes_sent - sent < 2 * RUSMI_STREAM_FIRST);
    rusmi_purse_close(&others);
    assert_true(support_pair_run(&pair, big_one_through, 60000 * SUPPORT_MS));
    assert_int_equal(pair.ends[1].last_len, RUSM_MESSAGE_MAX);
    /* Without room for too long it is thrown away as it comes; what follows it then arrives. */
    assert_true(rusmi_purse_open(&others, &budget, (size_t)40 << 20));
    support_pair_send(&pair.ends[0], 5, 6, 2, RUSM_MESSAGE_MAX);
    support_pair_send(&pair.ends[0], 5, 6, 3, 10);
    support_pair_run(&pair, NULL, 4000 * SUPPORT_MS);
    assert_int_equal(pair.ends[1].bulk, 1);
    assert_true(support_pair_run(&pair, support_pair_quiet, 60000 * SUPPORT_MS));
    assert_int_equal(pair.ends[1].bulk, 2);
    assert_int_equal(pair.ends[1].last_len, 10);
    assert_int_equal(pair.ends[1].inbox.dropped_nomem_count, 1);
    support_pair_fini(&pair);
    rusmi_purse_close(&others);
    rusmi_purse_close(&purse);
    assert_int_equal(rusmi_budget_used(&budget), 0);
}

static uint64_t awaited;

static bool number_came(struct support_pair *pair)
{
    return pair->ends[1].next_number >= awaited;
}

/*
 * The longest way of 100 small messages, one each millisecond, beside large ones without end, over
 * a path that carries 100 MB/s and drops nothing however long its queue; large_bytes becomes what
 * arrived of the large ones meanwhile.
 */
static rusm_time longest_way(rusm_time delay_ns, uint64_t *large_bytes)
{
    struct support_pair pair;
    rusm_time longest = 0;

    support_pair_init(&pair, shared, shared, 4);
    pair.delay_ns = delay_ns;
    assert_true(support_pair_connect(&pair));
    pair.rate = 100000000;
    for (int i = 0; i < 8; i++) {
        support_pair_send(&pair.ends[0], 5, 6, 1, RUSM_MESSAGE_MAX);
    }
    support_pair_run(&pair, NULL, 100 * SUPPORT_MS + 40 * delay_ns);
    *large_bytes = pair.ends[0].bytes_sent;
    for (int i = 0; i < 100; i++) {
        rusm_time begin = pair.now;

        support_pair_send_number(&pair.ends[0]);
        awaited = pair.ends[0].numbers_sent;
        assert_true(support_pair_run(&pair, number_came, 10000 * SUPPORT_MS));
        longest = pair.now - begin > longest ? pair.now - begin : longest;
        support_pair_run(&pair, NULL, SUPPORT_MS);
    }
    *large_bytes = pair.ends[0].bytes_sent - *large_bytes;
    support_pair_fini(&pair);
    return longest;
}

/* Large messages keep the path's queue short, so that round trips stay below three times what they
 * are alone, and yet use the path: 100 ms and more are 10 MB. */
static void test_large_messages_make_no_queue(void **state)
{
    uint64_t bytes;

    (void)state;
    assert_in_range(longest_way(50000, &bytes), 50000, 1500000);
    assert_true(bytes > 6000000);
    assert_in_range(longest_way(5 * SUPPORT_MS, &bytes), 5 * SUPPORT_MS, 20 * SUPPORT_MS);
    assert_true(bytes > 30000000);
}

/*
 * The most messages in flight while small ones wait without end, over a path that drops nothing
 * however long its queue; *out_came is how many arrived in the last second of two.
 */
static size_t most_in_flight(rusm_time delay_ns, uint64_t rate, uint64_t *out_came)
{
    struct support_pair pair;
    struct support_end *from = &pair.ends[0];
    size_t most = 0;

    support_pair_init(&pair, shared, shared, 4);
    pair.delay_ns = delay_ns;
    assert_true(support_pair_connect(&pair));
    pair.rate = rate;
    for (int round = 0; round < 2000; round++) {
        while (from->outbox.queued_count < 5000) {
            support_pair_send_number(from);
        }
        support_pair_run(&pair, NULL, SUPPORT_MS);
        if (round == 1000) {
            *out_came = pair.ends[1].next_number;
        }
        most = round > 1000 && from->outbox.flight_count > most ? from->outbox.flight_count : most;
    }
    *out_came = pair.ends[1].next_number - *out_came;
    support_pair_fini(&pair);
    return most;
}

/* Small messages beyond what the path takes wait in line and not in its queue; a path that takes
 * many, because it is long, gets many. */
static void test_small_messages_make_no_queue_and_fill_a_long_path(void **state)
{
    uint64_t came;

    (void)state;
    assert_in_range(most_in_flight(50000, 1000000, &came), 1, 1024);
    assert_true(came > 15000); /* the rate, at less than 64 bytes a message */
    assert_in_range(most_in_flight(10 * SUPPORT_MS, 0, &came), 4096, 4096);
    assert_true(came > 100000);
}

/* Control bytes go before messages that wait. */
static bool control_came(struct support_pair *pair)
{
    return pair->ends[1].control_len > 0;
}

static void test_control_goes_first(void **state)
{
    struct support_pair pair;

    (void)state;
    support_pair_init(&pair, shared, shared, 4);
    assert_true(support_pair_connect(&pair));
    support_pair_run(&pair, NULL, 10 * SUPPORT_MS);
    for (int i = 0; i < 20000; i++) {
        support_pair_send_number(&pair.ends[0]);
    }
    assert_int_equal(rusmi_quic_conn_send_control(pair.ends[0].conn, "now", 3), RUSM_OK);
    assert_true(support_pair_run(&pair, control_came, 1000 * SUPPORT_MS));
    assert_int_equal(pair.ends[1].delivered_before_control, 0);
    support_pair_fini(&pair);
}

/* ---- economy ---- */

/* Many messages share a packet, many packets a batch. */
static void test_messages_share_packets_and_batches(void **state)
{
    struct support_pair pair;
    struct support_end *from = &pair.ends[0];

    (void)state;
    support_pair_init(&pair, shared, shared, 4);
    assert_true(support_pair_connect(&pair));
    support_pair_send(from, 5, 6, 1, 1000000); /* opens the congestion window */
    support_pair_run(&pair, NULL, 1000 * SUPPORT_MS);
    from->datagrams_sent = from->batches_sent = 0;
    for (int i = 0; i < 2000; i++) {
        support_pair_send_number(from);
    }
    support_pair_run(&pair, numbers_done, 1000 * SUPPORT_MS);
    assert_in_range(from->datagrams_sent, 20, 60);
    assert_in_range(from->batches_sent, 1, 12);
    support_pair_fini(&pair);
}

/* One message each way in turns: the answer carries the acknowledgement, nothing goes alone. */
static void test_lockstep_sends_one_packet_per_message(void **state)
{
    struct support_pair pair;

    (void)state;
    support_pair_init(&pair, shared, shared, 4);
    pair.delay_ns = 5000;
    assert_true(support_pair_connect(&pair));
    support_pair_run(&pair, NULL, 2000 * SUPPORT_MS);
    pair.ends[0].datagrams_sent = pair.ends[1].datagrams_sent = 0;
    for (int i = 0; i < 1000; i++) {
        support_pair_send_number(&pair.ends[i & 1]);
        support_pair_run(&pair, NULL, 6000);
    }
    assert_int_equal(pair.ends[0].delivered, 500);
    assert_in_range(pair.ends[0].datagrams_sent + pair.ends[1].datagrams_sent, 1000, 1020);
    support_pair_fini(&pair);
}

/* One direction only: an acknowledgement waits for more to acknowledge, but not for long. */
static void test_acknowledgements_are_held_back_for_half_a_millisecond(void **state)
{
    struct support_pair pair;

    (void)state;
    support_pair_init(&pair, shared, shared, 4);
    pair.delay_ns = 5000;
    assert_true(support_pair_connect(&pair));
    support_pair_run(&pair, NULL, 2000 * SUPPORT_MS);
    pair.ends[1].datagrams_sent = 0;
    for (int i = 0; i < 100; i++) {
        support_pair_send_number(&pair.ends[0]);
        support_pair_run(&pair, NULL, 10000);
    }
    assert_in_range(pair.ends[1].datagrams_sent, 1, 4);
    assert_true(support_pair_run(&pair, support_pair_quiet, SUPPORT_MS));
    support_pair_fini(&pair);
}

/* ---- a peer that breaks the rules ---- */

/* Bytes that are no message: the inbox says why, and that is the link's end. */
static void test_bad_message_header_is_a_protocol_error(void **state)
{
    struct support_pair pair;
    struct rusmi_message_head head = {.kind = RUSMI_MESSAGE_TO_SERIAL, .sender = 1, .serial = 1};
    struct rusmi_out *out;

    (void)state;
    support_pair_init(&pair, shared, shared, 4);
    assert_true(support_pair_connect(&pair));
    assert_int_equal(rusmi_out_new(&out, &head, "body", 4), RUSM_OK);
    memset(out->wire, 0xff, out->wire_len);
    rusmi_outbox_push(&pair.ends[0].outbox, out);
    assert_true(support_pair_run(&pair, support_pair_ended, 1000 * SUPPORT_MS));
    assert_int_equal(rusmi_quic_conn_end(pair.ends[1].conn)->cause, RUSMI_QUIC_PROTOCOL);
    assert_int_equal(rusmi_quic_conn_end(pair.ends[1].conn)->err, RUSM_EPROTO);
    assert_int_equal(rusmi_quic_conn_end(pair.ends[0].conn)->cause, RUSMI_QUIC_CLOSED_PEER);
    assert_int_equal(rusmi_quic_conn_end(pair.ends[0].conn)->code, RUSMI_CLOSE_PROTOCOL);
    assert_int_equal(pair.ends[1].delivered, 0);
    support_pair_fini(&pair);
}

/* Freed in the middle of everything: nothing leaks, nothing is touched afterwards. */
static void test_connections_may_be_deleted_at_any_time(void **state)
{
    (void)state;
    for (rusm_time at = 0; at < 40; at++) {
        struct support_pair pair;

        support_pair_init(&pair, shared, shared, at);
        pair.loss_percent = 5;
        support_pair_dial(&pair);
        support_pair_run(&pair, support_pair_up, at * SUPPORT_MS / 50);
        if (support_pair_up(&pair)) {
            for (int i = 0; i < 500; i++) {
                support_pair_send_number(&pair.ends[i & 1]);
            }
            support_pair_send(&pair.ends[0], 5, 6, 1, 300000);
            (void)!rusmi_quic_conn_send_control(pair.ends[0].conn, "bytes", 5);
            support_pair_run(&pair, NULL, at * SUPPORT_MS / 20);
        }
        support_pair_fini(&pair);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_100000_messages_arrive_once_in_order),
        cmocka_unit_test(test_100000_messages_arrive_in_order_under_loss),
        cmocka_unit_test(test_heavy_loss_and_reordering_lose_nothing),
        cmocka_unit_test(test_messages_of_every_size),
        cmocka_unit_test(test_traffic_of_many_windows_flows),
        cmocka_unit_test(test_small_messages_pass_a_big_one),
        cmocka_unit_test(test_big_message_moves_beside_endless_small_ones),
        cmocka_unit_test(test_message_without_room_waits_at_its_sender),
        cmocka_unit_test(test_large_messages_make_no_queue),
        cmocka_unit_test(test_small_messages_make_no_queue_and_fill_a_long_path),
        cmocka_unit_test(test_control_goes_first),
        cmocka_unit_test(test_messages_share_packets_and_batches),
        cmocka_unit_test(test_lockstep_sends_one_packet_per_message),
        cmocka_unit_test(test_acknowledgements_are_held_back_for_half_a_millisecond),
        cmocka_unit_test(test_bad_message_header_is_a_protocol_error),
        cmocka_unit_test(test_connections_may_be_deleted_at_any_time),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
