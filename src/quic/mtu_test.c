/* SPDX-License-Identifier: MIT */
/* A path that carries less, or more, than it did: in virtual time, so bounds are exact. */
#include "support/quic_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "quic/core.h"
#include "support/certs.h"

#define SECOND ((rusm_time)1000 * SUPPORT_MS)
#define BIG    ((size_t)16 << 20)

static rusm_ca *ca;
static rusm_identity *london, *tokyo;

static int setup(void **state)
{
    (void)state;
    assert_int_equal(rusm_ca_generate(&ca, "testnet", 30), RUSM_OK);
    assert_int_equal(rusm_ca_issue(ca, "london", NULL, &london), RUSM_OK);
    assert_int_equal(rusm_ca_issue(ca, "tokyo", NULL, &tokyo), RUSM_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rusm_identity_del(london);
    rusm_identity_del(tokyo);
    rusm_ca_del(ca);
    return 0;
}

/* An implementation that takes no marks: it says so in its transport parameters. */
static bool takes_no_marks;

void __real_rusmi_quic_mtu_begin(struct quic_mtu *mtu, const ngtcp2_transport_params *peer);
void __wrap_rusmi_quic_mtu_begin(struct quic_mtu *mtu, const ngtcp2_transport_params *peer);

void __wrap_rusmi_quic_mtu_begin(struct quic_mtu *mtu, const ngtcp2_transport_params *peer)
{
    if (takes_no_marks) {
        ((ngtcp2_transport_params *)(uintptr_t)peer)->max_datagram_frame_size = 0;
    }
    __real_rusmi_quic_mtu_begin(mtu, peer);
}

static struct rusmi_quic_stats stats_of(struct support_pair *pair, int which)
{
    struct rusmi_quic_stats stats;

    rusmi_quic_conn_get_stats(pair->ends[which].conn, &stats);
    return stats;
}

/* Two ends on a path of 10 ms and 20 MB/s whose 1452 bytes were found. */
static void open_pair(struct support_pair *pair, uint64_t seed)
{
    support_pair_init(pair, london, tokyo, seed);
    pair->delay_ns = 5 * SUPPORT_MS;
    pair->rate = 20000000;
    assert_true(support_pair_connect(pair));
    support_pair_run(pair, NULL, 2 * SECOND);
    assert_int_equal(stats_of(pair, 0).payload_max, 1452);
    assert_int_equal(stats_of(pair, 1).payload_max, 1452);
}

/* A number each millisecond from both ends until the predicate holds; false after limit_ns. */
static bool run_with_numbers(struct support_pair *pair, bool (*done)(struct support_pair *pair),
                             rusm_time limit_ns)
{
    rusm_time until = pair->now + limit_ns;

    while (pair->now < until) {
        support_pair_send_number(&pair->ends[0]);
        support_pair_send_number(&pair->ends[1]);
        if (support_pair_run(pair, done, SUPPORT_MS)) {
            return true;
        }
    }
    return false;
}

static bool bulk_arrived(struct support_pair *pair)
{
    return pair->ends[SUPPORT_LISTENER].bulk > 0;
}

static bool bulk_arrived_at_both(struct support_pair *pair)
{
    return pair->ends[0].bulk > 0 && pair->ends[1].bulk > 0;
}

static void check_numbers(struct support_pair *pair)
{
    assert_true(support_pair_run(pair, support_pair_quiet, 10 * SECOND));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pair->ends[i].next_number, pair->ends[1 - i].numbers_sent);
        assert_false(pair->ends[i].out_of_order);
    }
}

/* ---- smaller ---- */

static void test_big_and_small_go_on_when_the_mtu_shrinks(void **state)
{
    static const size_t sizes[][2] = {{1300, 1280}, {1410, 1404}, {1200, 1200}};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct support_pair pair;

        open_pair(&pair, 1 + i);
        support_pair_send(&pair.ends[0], 2, 2, 1, BIG);
        support_pair_send(&pair.ends[1], 2, 2, 1, BIG);
        assert_false(run_with_numbers(&pair, bulk_arrived_at_both, SECOND / 4));
        pair.mtu = sizes[i][0];
        /* The rest takes less than a second at the rate of the path. */
        assert_true(run_with_numbers(&pair, bulk_arrived_at_both, 4 * SECOND));
        check_numbers(&pair);
        for (int end = 0; end < 2; end++) {
            assert_int_equal(pair.ends[end].last_sum, BIG);
            assert_int_equal(stats_of(&pair, end).payload_max, sizes[i][1]);
            assert_int_equal(stats_of(&pair, end).payload_shrunk, 1);
        }
        support_pair_fini(&pair);
    }
}

/* Nothing small is acknowledged in between: only timers say that something is wrong. */
static void test_a_lone_message_passes_after_the_mtu_shrank(void **state)
{
    struct support_pair pair;

    (void)state;
    open_pair(&pair, 1);
    pair.mtu = 1250;
    support_pair_send(&pair.ends[0], 2, 2, 1, 5000);
    assert_true(support_pair_run(&pair, bulk_arrived, SECOND));
    assert_int_equal(stats_of(&pair, 0).payload_max, 1200);
    support_pair_fini(&pair);
}

/* Now and then one packet is larger than the path, among many that are not. */
static void test_a_rare_large_packet_passes_among_small_ones(void **state)
{
    struct support_pair pair;

    (void)state;
    open_pair(&pair, 1);
    assert_false(run_with_numbers(&pair, bulk_arrived, SECOND));
    pair.mtu = 1250;
    support_pair_send(&pair.ends[0], 2, 2, 1, 1300);
    assert_true(run_with_numbers(&pair, bulk_arrived, SECOND));
    check_numbers(&pair);
    support_pair_fini(&pair);
}

/* The large packets that went just before are all that there is to repeat, and leave no room for a
 * mark. */
static void test_repeated_bytes_pass_among_small_ones(void **state)
{
    struct support_pair pair;

    (void)state;
    open_pair(&pair, 1);
    support_pair_send(&pair.ends[0], 2, 2, 1, 5000);
    assert_true(run_with_numbers(&pair, bulk_arrived, SECOND));
    pair.ends[1].bulk = 0;
    pair.mtu = 1250;
    support_pair_send(&pair.ends[0], 2, 2, 1, 5000);
    assert_true(run_with_numbers(&pair, bulk_arrived, SECOND));
    check_numbers(&pair);
    support_pair_fini(&pair);
}

/* Trials that tell nothing, because they only repeat what was lost, do not follow one another. */
static void test_lost_bytes_are_not_lost_in_trials(void **state)
{
    struct support_pair pair;

    (void)state;
    open_pair(&pair, 1);
    pair.mtu = 1250;
    pair.loss_percent = 1;
    support_pair_send(&pair.ends[0], 2, 2, 1, 1000000);
    assert_true(run_with_numbers(&pair, bulk_arrived, SECOND * 12 / 10));
    support_pair_fini(&pair);
}

static void test_control_bytes_pass_after_the_mtu_shrank(void **state)
{
    struct support_pair pair;
    uint8_t *bytes = calloc(1, 100000);

    (void)state;
    assert_non_null(bytes);
    open_pair(&pair, 1);
    pair.mtu = 1250;
    assert_int_equal(rusmi_quic_conn_send_control(pair.ends[0].conn, bytes, 100000), RUSM_OK);
    assert_true(support_pair_run(&pair, support_pair_quiet, SECOND));
    assert_int_equal(pair.ends[1].control_len, 100000);
    support_pair_fini(&pair);
    free(bytes);
}

static void test_it_shrinks_twice(void **state)
{
    struct support_pair pair;

    (void)state;
    open_pair(&pair, 1);
    for (unsigned i = 0; i < 2; i++) {
        pair.mtu = i == 0 ? 1410 : 1290;
        pair.ends[1].bulk = 0;
        support_pair_send(&pair.ends[0], 2, 2, 1, 1000000);
        assert_true(support_pair_run(&pair, bulk_arrived, 2 * SECOND));
        assert_int_equal(stats_of(&pair, 0).payload_max, i == 0 ? 1404 : 1280);
        assert_int_equal(stats_of(&pair, 0).payload_shrunk, i + 1);
    }
    support_pair_fini(&pair);
}

/* Loopback: no search of ngtcp2, and packets many times the size of the smallest. */
static void test_fixed_packets_become_smaller_too(void **state)
{
    struct support_pair pair;

    (void)state;
    support_pair_init(&pair, london, tokyo, 1);
    pair.delay_ns = 5 * SUPPORT_MS;
    for (int i = 0; i < 2; i++) {
        pair.ends[i].cfg.udp_payload_max = 65000;
        pair.ends[i].cfg.udp_payload_fixed = true;
    }
    assert_true(support_pair_connect(&pair));
    assert_int_equal(stats_of(&pair, 0).payload_max, 65000);
    pair.mtu = 1460;
    support_pair_send(&pair.ends[0], 2, 2, 1, BIG);
    assert_true(support_pair_run(&pair, bulk_arrived, 10 * SECOND));
    assert_int_equal(stats_of(&pair, 0).payload_max, 1452);
    support_pair_fini(&pair);
}

/* ---- larger again ---- */

static void test_it_grows_again(void **state)
{
    struct support_pair pair;

    (void)state;
    open_pair(&pair, 1);
    pair.mtu = 1300;
    support_pair_send(&pair.ends[0], 2, 2, 1, 1000000);
    assert_true(support_pair_run(&pair, bulk_arrived, 2 * SECOND));
    assert_int_equal(stats_of(&pair, 0).payload_max, 1280);
    pair.mtu = 0;
    support_pair_run(&pair, NULL, 500 * SECOND);
    support_pair_send(&pair.ends[0], 2, 2, 1, 1000000);
    assert_true(support_pair_run(&pair, support_pair_quiet, 2 * SECOND));
    assert_int_equal(stats_of(&pair, 0).payload_max, 1280); /* not before ten minutes have gone */
    support_pair_run(&pair, NULL, 100 * SECOND);
    support_pair_send(&pair.ends[0], 2, 2, 1, 1000000);
    assert_true(support_pair_run(&pair, support_pair_quiet, 2 * SECOND));
    assert_int_equal(stats_of(&pair, 0).payload_max, 1452);
    assert_int_equal(stats_of(&pair, 0).payload_shrunk, 1);
    support_pair_fini(&pair);
}

static void test_a_search_in_vain_is_counted_once(void **state)
{
    struct support_pair pair;

    (void)state;
    open_pair(&pair, 1);
    pair.mtu = 1300;
    for (unsigned i = 0; i < 4; i++) {
        support_pair_send(&pair.ends[0], 2, 2, 1, 1000000);
        assert_true(support_pair_run(&pair, support_pair_quiet, 2 * SECOND));
        support_pair_run(&pair, NULL, 600 * SECOND);
        assert_int_equal(stats_of(&pair, 0).payload_max, 1280);
    }
    assert_int_equal(stats_of(&pair, 0).payload_shrunk, 1);
    support_pair_fini(&pair);
}

/* ---- not smaller ---- */

static void test_losses_by_chance_do_not_shrink_packets(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct support_pair pair;

        open_pair(&pair, seed);
        pair.loss_percent = 5;
        support_pair_send(&pair.ends[0], 2, 2, 1, BIG / 4);
        assert_true(run_with_numbers(&pair, bulk_arrived, 60 * SECOND));
        for (unsigned i = 0; i < 200; i++) {
            support_pair_send(&pair.ends[0], 2, 2, 1, 1500);
            assert_false(run_with_numbers(&pair, NULL, 20 * SUPPORT_MS));
        }
        pair.loss_percent = 0;
        check_numbers(&pair);
        assert_int_equal(stats_of(&pair, 0).payload_max, 1452);
        assert_int_equal(stats_of(&pair, 0).payload_shrunk, 0);
        support_pair_fini(&pair);
    }
}

/* Acknowledgements come, but those of the packets that wait in a queue come late. */
static void test_a_queue_is_no_smaller_path(void **state)
{
    struct support_pair pair;

    (void)state;
    open_pair(&pair, 1);
    support_pair_send(&pair.ends[0], 2, 2, 1, BIG);
    assert_false(support_pair_run(&pair, bulk_arrived, SECOND / 4));
    pair.rate = 250000;
    for (unsigned i = 0; i < 2000; i++) {
        assert_false(support_pair_run(&pair, bulk_arrived, SUPPORT_MS));
        assert_int_equal(stats_of(&pair, 0).payload_max, 1452);
    }
    support_pair_fini(&pair);
}

/* Packets that are never large cost no more than a mark now and then. */
static void test_marks_are_few(void **state)
{
    struct support_pair pair;
    uint64_t before;

    (void)state;
    open_pair(&pair, 1);
    before = pair.ends[0].conn->mtu.mark;
    for (unsigned i = 0; i < 1000; i++) {
        support_pair_send(&pair.ends[0], 2, 2, 1, i < 500 ? 1000 : 5000);
        support_pair_run(&pair, NULL, SUPPORT_MS);
    }
    /* A probe timeout is more than the 25 ms that the peer may hold an acknowledgement back. */
    assert_in_range(pair.ends[0].conn->mtu.mark - before, 2, 1000 / 25);
    support_pair_fini(&pair);
}

/* While nothing passes nobody can tell; once something does, packets have their size again. */
static void test_a_cut_is_no_smaller_path(void **state)
{
    struct support_pair pair;

    (void)state;
    open_pair(&pair, 1);
    support_pair_send(&pair.ends[0], 2, 2, 1, BIG);
    assert_false(support_pair_run(&pair, bulk_arrived, SECOND / 4));
    pair.loss_percent = 100;
    assert_false(support_pair_run(&pair, bulk_arrived, 3 * SECOND));
    assert_int_equal(stats_of(&pair, 0).payload_max, 1200);
    pair.loss_percent = 0;
    assert_true(support_pair_run(&pair, bulk_arrived, 10 * SECOND));
    assert_int_equal(stats_of(&pair, 0).payload_max, 1452);
    assert_int_equal(stats_of(&pair, 0).payload_shrunk, 0);
    support_pair_fini(&pair);
}

/* ---- what the socket says ---- */

static bool large_was_sent(struct support_pair *pair)
{
    return pair->ends[0].largest > 1200;
}

static void test_a_size_that_the_socket_refuses_is_given_up_at_once(void **state)
{
    struct support_pair pair;

    (void)state;
    open_pair(&pair, 1);
    /* ngtcp2's own probes, and what no size would help against, change nothing. */
    rusmi_quic_conn_too_large(pair.ends[0].conn, 1453, pair.now);
    rusmi_quic_conn_too_large(pair.ends[0].conn, 1200, pair.now);
    assert_int_equal(stats_of(&pair, 0).payload_max, 1452);
    rusmi_quic_conn_too_large(pair.ends[0].conn, 1452, pair.now);
    assert_int_equal(stats_of(&pair, 0).payload_max, 1200);
    assert_int_equal(stats_of(&pair, 0).payload_shrunk, 0);
    pair.ends[0].largest = 0;
    support_pair_send(&pair.ends[0], 2, 2, 1, 10000);
    assert_true(support_pair_run(&pair, support_pair_quiet, SECOND));
    assert_int_equal(pair.ends[0].largest, 1200);
    support_pair_run(&pair, NULL, SECOND);
    support_pair_send(&pair.ends[0], 2, 2, 1, BIG / 4);
    for (unsigned refused = 1; refused <= 3; refused++) {
        assert_int_equal(stats_of(&pair, 0).payload_shrunk, 0);
        pair.ends[0].largest = 0;
        assert_true(support_pair_run(&pair, large_was_sent, SECOND));
        assert_int_equal(pair.ends[0].largest, 1280);
        rusmi_quic_conn_too_large(pair.ends[0].conn, 1280, pair.now);
    }
    assert_int_equal(stats_of(&pair, 0).payload_shrunk, 1);
    pair.ends[0].largest = 0;
    assert_true(support_pair_run(&pair, support_pair_quiet, SECOND));
    assert_int_equal(pair.ends[0].largest, 1200);
    support_pair_fini(&pair);
}

static void test_a_peer_without_marks_is_sent_none(void **state)
{
    struct support_pair pair;

    (void)state;
    takes_no_marks = true;
    open_pair(&pair, 1);
    takes_no_marks = false;
    for (unsigned i = 0; i < 2; i++) {
        pair.ends[1].bulk = 0;
        support_pair_send(&pair.ends[0], 2, 2, 1, 1000000);
        assert_true(support_pair_run(&pair, bulk_arrived, 2 * SECOND));
        assert_int_equal(stats_of(&pair, 0).payload_max, i == 0 ? 1452 : 1200);
        rusmi_quic_conn_too_large(pair.ends[0].conn, 1452, pair.now);
    }
    assert_int_equal(rusmi_quic_conn_state(pair.ends[0].conn), RUSMI_QUIC_UP);
    support_pair_fini(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_big_and_small_go_on_when_the_mtu_shrinks),
        cmocka_unit_test(test_a_lone_message_passes_after_the_mtu_shrank),
        cmocka_unit_test(test_a_rare_large_packet_passes_among_small_ones),
        cmocka_unit_test(test_repeated_bytes_pass_among_small_ones),
        cmocka_unit_test(test_lost_bytes_are_not_lost_in_trials),
        cmocka_unit_test(test_control_bytes_pass_after_the_mtu_shrank),
        cmocka_unit_test(test_it_shrinks_twice),
        cmocka_unit_test(test_fixed_packets_become_smaller_too),
        cmocka_unit_test(test_it_grows_again),
        cmocka_unit_test(test_a_search_in_vain_is_counted_once),
        cmocka_unit_test(test_losses_by_chance_do_not_shrink_packets),
        cmocka_unit_test(test_a_queue_is_no_smaller_path),
        cmocka_unit_test(test_marks_are_few),
        cmocka_unit_test(test_a_cut_is_no_smaller_path),
        cmocka_unit_test(test_a_size_that_the_socket_refuses_is_given_up_at_once),
        cmocka_unit_test(test_a_peer_without_marks_is_sent_none),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
