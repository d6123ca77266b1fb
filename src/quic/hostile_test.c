/* SPDX-License-Identifier: MIT */
/*
 * Peers that hold a valid certificate and break the rules, networks that move them, and memory that
 * runs out. The hostile side is one of our own connections, driven past its own rules through
 * ngtcp2.
 */
#include "support/quic_pair.h"

#include <gnutls/gnutls.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "quic/core.h"

static rusm_identity *shared;

/* ---- wrapped functions: see CMakeLists.txt ---- */

static const char *alpn_of_clients; /* NULL: as it is; "": none */

int __real_gnutls_alpn_set_protocols(gnutls_session_t session, const gnutls_datum_t *protocols,
                                     unsigned count, unsigned flags);
int __wrap_gnutls_alpn_set_protocols(gnutls_session_t session, const gnutls_datum_t *protocols,
                                     unsigned count, unsigned flags);

int __wrap_gnutls_alpn_set_protocols(gnutls_session_t session, const gnutls_datum_t *protocols,
                                     unsigned count, unsigned flags)
{
    gnutls_datum_t other;

    if (alpn_of_clients == NULL) {
        return __real_gnutls_alpn_set_protocols(session, protocols, count, flags);
    }
    if (alpn_of_clients[0] == '\0') {
        return 0;
    }
    other.data = (unsigned char *)(uintptr_t)alpn_of_clients;
    other.size = (unsigned)strlen(alpn_of_clients);
    return __real_gnutls_alpn_set_protocols(session, &other, 1, flags);
}

static int64_t allocations_left = -1; /* -1: as many as there are; else the next ones fail */
static int64_t allocations;

static bool allocation_fails(void)
{
    if (allocations_left == 0) {
        return true;
    }
    if (allocations_left > 0) {
        allocations_left--;
    }
    allocations++;
    return false;
}

void *__real_rusmi_alloc(size_t size);
void *__real_rusmi_zalloc(size_t size);
void *__real_rusmi_zalloc_array(size_t count, size_t size);
void *__real_rusmi_realloc(void *block, size_t size);
void *__wrap_rusmi_alloc(size_t size);
void *__wrap_rusmi_zalloc(size_t size);
void *__wrap_rusmi_zalloc_array(size_t count, size_t size);
void *__wrap_rusmi_realloc(void *block, size_t size);

void *__wrap_rusmi_alloc(size_t size)
{
    return allocation_fails() ? NULL : __real_rusmi_alloc(size);
}

void *__wrap_rusmi_zalloc(size_t size)
{
    return allocation_fails() ? NULL : __real_rusmi_zalloc(size);
}

void *__wrap_rusmi_zalloc_array(size_t count, size_t size)
{
    return allocation_fails() ? NULL : __real_rusmi_zalloc_array(count, size);
}

void *__wrap_rusmi_realloc(void *block, size_t size)
{
    return allocation_fails() ? NULL : __real_rusmi_realloc(block, size);
}

static bool credit_kept; /* the inbox gives nothing back, as if all it got were parked */

void __real_rusmi_inbox_take_credit(struct rusmi_inbox *ib, uint64_t *out_bytes,
                                    uint64_t *out_streams);
void __wrap_rusmi_inbox_take_credit(struct rusmi_inbox *ib, uint64_t *out_bytes,
                                    uint64_t *out_streams);

void __wrap_rusmi_inbox_take_credit(struct rusmi_inbox *ib, uint64_t *out_bytes,
                                    uint64_t *out_streams)
{
    if (!credit_kept) {
        __real_rusmi_inbox_take_credit(ib, out_bytes, out_streams);
    }
}

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

static void pair_up(struct support_pair *pair)
{
    support_pair_init(pair, shared, shared, 1);
    assert_true(support_pair_connect(pair));
    support_pair_run(pair, NULL, 1000 * SUPPORT_MS);
}

/* The victim closed because of the protocol, said why, and took nothing. */
static void check_protocol_error(struct support_pair *pair, int victim, const char *why)
{
    const struct rusmi_quic_end *end;

    assert_true(support_pair_run(pair, support_pair_ended, 1000 * SUPPORT_MS));
    end = rusmi_quic_conn_end(pair->ends[victim].conn);
    assert_int_equal(end->cause, RUSMI_QUIC_PROTOCOL);
    assert_int_equal(end->err, RUSM_EPROTO);
    if (strstr(end->text, why) == NULL) {
        fail_msg("\"%s\"", end->text);
    }
}

/* ---- ALPN ---- */

static void check_alpn(const char *alpn)
{
    struct support_pair pair;

    support_pair_init(&pair, shared, shared, 1);
    alpn_of_clients = alpn;
    support_pair_dial(&pair);
    alpn_of_clients = NULL;
    assert_true(support_pair_run(&pair, support_pair_ended, 1000 * SUPPORT_MS));
    assert_int_equal(rusmi_quic_conn_end(pair.ends[1].conn)->cause, RUSMI_QUIC_REFUSED_LOCAL);
    assert_non_null(strstr(rusmi_quic_conn_end(pair.ends[1].conn)->text, RUSMI_QUIC_ALPN));
    assert_false(pair.ends[1].authenticated);
    support_pair_fini(&pair);
}

static void test_other_protocols_are_refused(void **state)
{
    (void)state;
    check_alpn("h3");
    check_alpn("rusm/2");
    check_alpn("rusm/11");
}

static void test_dialer_that_names_no_protocol_is_refused(void **state)
{
    struct support_pair pair;

    (void)state;
    support_pair_init(&pair, shared, shared, 1);
    alpn_of_clients = "";
    support_pair_dial(&pair);
    alpn_of_clients = NULL;
    assert_true(support_pair_run(&pair, support_pair_ended, 1000 * SUPPORT_MS));
    /* Its own side of our code notices that nothing was agreed on. */
    assert_false(pair.ends[0].authenticated || pair.ends[1].authenticated);
    support_pair_fini(&pair);
}

static void test_version_negotiation_without_ours_ends_the_dial(void **state)
{
    struct support_pair pair;
    struct rusmi_quic_batch batch;
    struct rusmi_quic_route route;
    uint32_t versions[] = {0x6b3343cf};
    uint8_t answer[200];
    ngtcp2_ssize len;

    (void)state;
    support_pair_init(&pair, shared, shared, 1);
    support_pair_dial(&pair);
    rusmi_quic_conn_write(pair.ends[0].conn, pair.buf, 65536, &batch, pair.now);
    rusmi_quic_route(pair.buf, batch.len, &route);
    len = ngtcp2_pkt_write_version_negotiation(answer, sizeof(answer), 1, route.scid.data,
                                               route.scid.len, route.dcid.data, route.dcid.len,
                                               versions, 1);
    assert_true(len > 0);
    assert_int_equal(support_pair_inject(&pair.ends[0], answer, (size_t)len), RUSM_EPROTO);
    assert_int_equal(rusmi_quic_conn_state(pair.ends[0].conn), RUSMI_QUIC_CLOSED);
    support_pair_fini(&pair);
}

/* ---- handshake data ---- */

/* A dialer that goes on and on with its first message: what TLS does not take ends the connection,
 * and ngtcp2 keeps no more of it than it has room for. */
static void test_handshake_data_without_end_is_refused(void **state)
{
    static const uint8_t zeros[256 * 1024];
    struct support_pair pair;
    int64_t before;

    (void)state;
    support_pair_init(&pair, shared, shared, 1);
    support_pair_dial(&pair);
    assert_int_equal(ngtcp2_conn_submit_crypto_data(pair.ends[0].conn->ng,
                                                    NGTCP2_ENCRYPTION_LEVEL_INITIAL, zeros,
                                                    sizeof(zeros)),
                     0);
    before = allocations;
    assert_true(support_pair_run(&pair, support_pair_ended, 20000 * SUPPORT_MS));
    assert_false(pair.ends[1].authenticated);
    assert_true(allocations - before < 5000); /* not one for each packet for ever */
    support_pair_fini(&pair);
}

/* ---- streams ---- */

static void test_reset_of_the_control_stream(void **state)
{
    struct support_pair pair;

    (void)state;
    pair_up(&pair);
    assert_int_equal(ngtcp2_conn_shutdown_stream_write(pair.ends[0].conn->ng, 0, 0, 1), 0);
    pair.ends[0].conn->due = true;
    check_protocol_error(&pair, 1, "reset the control stream");
    support_pair_fini(&pair);
}

static void test_stop_of_the_control_stream(void **state)
{
    struct support_pair pair;

    (void)state;
    pair_up(&pair);
    assert_int_equal(ngtcp2_conn_shutdown_stream_read(pair.ends[0].conn->ng, 0, 0, 1), 0);
    pair.ends[0].conn->due = true;
    support_pair_run(&pair, NULL, 10 * SUPPORT_MS);
    (void)!rusmi_quic_conn_send_control(pair.ends[1].conn, "x", 1);
    assert_true(support_pair_run(&pair, support_pair_ended, 1000 * SUPPORT_MS));
    support_pair_fini(&pair);
}

/* Write raw bytes on a stream of the dialer's ngtcp2, and give the packet to the listener. */
static void raw_stream(struct support_pair *pair, int64_t stream_id, const void *data, size_t len,
                       bool fin)
{
    struct rusmi_quic_conn *conn = pair->ends[0].conn;
    ngtcp2_vec vec = {.base = (uint8_t *)(uintptr_t)data, .len = len};
    uint8_t packet[1500];
    ngtcp2_ssize taken = 0, written;

    written = ngtcp2_conn_writev_stream(conn->ng, NULL, NULL, packet, sizeof(packet), &taken,
                                        fin ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0, stream_id, &vec, 1,
                                        pair->now);
    assert_true(written > 0);
    (void)support_pair_inject(&pair->ends[1], packet, (size_t)written);
}

static void test_end_of_the_control_stream(void **state)
{
    struct support_pair pair;

    (void)state;
    pair_up(&pair);
    raw_stream(&pair, 0, "", 0, true);
    check_protocol_error(&pair, 1, "ended the control stream");
    support_pair_fini(&pair);
}

/* Write a DATAGRAM frame with the dialer's ngtcp2, and give the packet to the listener. */
static void raw_datagram(struct support_pair *pair, const void *data, size_t len)
{
    struct rusmi_quic_conn *conn = pair->ends[0].conn;
    ngtcp2_vec vec = {.base = (uint8_t *)(uintptr_t)data, .len = len};
    uint8_t packet[1500];
    int accepted = 0;
    ngtcp2_ssize written =
        ngtcp2_conn_writev_datagram(conn->ng, NULL, NULL, packet, sizeof(packet), &accepted,
                                    NGTCP2_WRITE_DATAGRAM_FLAG_NONE, 0, &vec, len > 0, pair->now);

    assert_true(written > 0 && accepted);
    (void)support_pair_inject(&pair->ends[1], packet, (size_t)written);
}

/* Marks are empty, and nothing is kept of them. */
static void test_marks_with_something_in_them_are_refused(void **state)
{
    ngtcp2_transport_params *told;
    struct support_pair pair;

    (void)state;
    pair_up(&pair);
    for (unsigned i = 0; i < 1000; i++) {
        raw_datagram(&pair, "", 0);
        support_pair_run(&pair, NULL, SUPPORT_MS);
    }
    assert_true(support_pair_up(&pair));
    assert_int_equal(rusmi_quic_conn_state(pair.ends[1].conn), RUSMI_QUIC_UP);
    told = (ngtcp2_transport_params *)(uintptr_t)ngtcp2_conn_get_remote_transport_params(
        pair.ends[0].conn->ng);
    assert_int_equal(told->max_datagram_frame_size, QUIC_MARK_LEN);
    told->max_datagram_frame_size = 1000;
    raw_datagram(&pair, "x", 1);
    check_protocol_error(&pair, 1, "");
    support_pair_fini(&pair);
}

/* A message stream that ends within its header. */
static void test_truncated_message(void **state)
{
    struct support_pair pair;
    int64_t id;

    (void)state;
    pair_up(&pair);
    assert_int_equal(ngtcp2_conn_open_uni_stream(pair.ends[0].conn->ng, &id, NULL), 0);
    raw_stream(&pair, id, "\x00", 1, true);
    check_protocol_error(&pair, 1, "");
    assert_int_equal(pair.ends[1].delivered, 0);
    support_pair_fini(&pair);
}

/* A message that its sender gives up counts as reset, and the link goes on. */
static void test_reset_message_stream(void **state)
{
    struct support_pair pair;
    int64_t id;

    (void)state;
    pair_up(&pair);
    assert_int_equal(ngtcp2_conn_open_uni_stream(pair.ends[0].conn->ng, &id, NULL), 0);
    raw_stream(&pair, id, "\x00\x01", 2, false);
    assert_int_equal(ngtcp2_conn_shutdown_stream_write(pair.ends[0].conn->ng, 0, id, 1), 0);
    pair.ends[0].conn->due = true;
    support_pair_run(&pair, NULL, 100 * SUPPORT_MS);
    assert_int_equal(pair.ends[1].inbox.reset_count, 1);
    support_pair_send_number(&pair.ends[0]);
    assert_true(support_pair_run(&pair, support_pair_quiet, 1000 * SUPPORT_MS));
    assert_int_equal(pair.ends[1].delivered, 1);
    support_pair_fini(&pair);
}

/* A peer that does not want a message (STOP_SENDING) loses it alone, whatever was sent of it. */
static bool stream_begun(struct support_pair *pair)
{
    return pair->ends[1].inbox.unfinished_count > 0;
}

static void test_stopped_message_is_lost_alone(void **state)
{
    struct support_pair pair;

    (void)state;
    pair_up(&pair);
    pair.delay_ns = SUPPORT_MS;
    support_pair_send(&pair.ends[0], 5, 6, 1, 5000000);
    assert_true(support_pair_run(&pair, stream_begun, 1000 * SUPPORT_MS));
    for (int i = 0; i < 10; i++) {
        support_pair_send_number(&pair.ends[0]);
    }
    assert_int_equal(ngtcp2_conn_shutdown_stream_read(pair.ends[1].conn->ng, 0, 2, 1), 0);
    pair.ends[1].conn->due = true;
    assert_true(support_pair_run(&pair, support_pair_quiet, 1000 * SUPPORT_MS));
    assert_int_equal(pair.ends[0].outbox.lost_count, 1);
    assert_int_equal(pair.ends[0].outbox.reserved, 0);
    assert_int_equal(pair.ends[1].delivered, 10);
    assert_int_equal(rusmi_quic_conn_state(pair.ends[0].conn), RUSMI_QUIC_UP);
    assert_null(pair.ends[0].conn->big.first);
    support_pair_fini(&pair);
}

/* ---- credit ---- */

static bool much_control_came(struct support_pair *pair)
{
    return pair->ends[1].control_len == 40000000;
}

/* Messages that hold all credit they can get leave the control stream what it needs, for ever. */
static void test_parked_messages_never_block_control(void **state)
{
    struct support_pair pair;
    uint8_t *bytes = calloc(1, 40000000);
    size_t waiting;

    (void)state;
    assert_non_null(bytes);
    support_pair_init(&pair, shared, shared, 1);
    pair.ends[0].cfg.control_max = 64 * 1024 * 1024;
    assert_true(support_pair_connect(&pair));
    credit_kept = true;
    for (int i = 0; i < 2000; i++) {
        support_pair_send(&pair.ends[0], 5, 6, 1, 60000);
    }
    support_pair_run(&pair, NULL, 20000 * SUPPORT_MS);
    waiting = pair.ends[0].outbox.queued_count;
    assert_in_range(waiting, 100, 1900);
    assert_int_equal(pair.ends[0].outbox.flight_count, 0);
    assert_int_equal(rusmi_quic_conn_send_control(pair.ends[0].conn, bytes, 40000000), RUSM_OK);
    assert_true(support_pair_run(&pair, much_control_came, 60000 * SUPPORT_MS));
    assert_int_equal(pair.ends[0].outbox.queued_count, waiting);
    credit_kept = false;
    assert_int_equal(rusmi_quic_conn_send_control(pair.ends[0].conn, bytes, 1), RUSM_OK);
    assert_true(support_pair_run(&pair, support_pair_quiet, 60000 * SUPPORT_MS));
    assert_int_equal(pair.ends[1].delivered, 2000);
    support_pair_fini(&pair);
    free(bytes);
}

/* ---- the network ---- */

/* A NAT gives the dialer another port: the listener follows once it has proved the new path. */
static void test_listener_follows_a_dialer_to_a_new_port(void **state)
{
    struct support_pair pair;

    (void)state;
    pair_up(&pair);
    assert_int_equal(pair.ends[1].sent_to, 1000);
    pair.nat = 2000;
    for (int i = 0; i < 50; i++) {
        support_pair_send_number(&pair.ends[i & 1]);
        support_pair_run(&pair, NULL, 10 * SUPPORT_MS);
    }
    assert_true(support_pair_run(&pair, support_pair_quiet, 5000 * SUPPORT_MS));
    assert_int_equal(pair.ends[1].sent_to, 2000);
    assert_int_equal(pair.ends[0].delivered, 25);
    support_pair_run(&pair, NULL, 60000 * SUPPORT_MS);
    assert_int_equal(rusmi_quic_conn_state(pair.ends[0].conn), RUSMI_QUIC_UP);
    assert_int_equal(rusmi_quic_conn_state(pair.ends[1].conn), RUSMI_QUIC_UP);
    support_pair_fini(&pair);
}

static void test_losses_and_round_trips_are_measured(void **state)
{
    struct support_pair pair;
    struct rusmi_quic_stats stats;

    (void)state;
    pair_up(&pair);
    pair.delay_ns = 10 * SUPPORT_MS;
    for (int i = 0; i < 100; i++) {
        support_pair_send(&pair.ends[0], 5, 6, 1, 1000);
        support_pair_run(&pair, NULL, SUPPORT_MS);
    }
    assert_true(support_pair_run(&pair, support_pair_quiet, 60000 * SUPPORT_MS));
    rusmi_quic_conn_get_stats(pair.ends[0].conn, &stats);
    assert_int_equal(stats.packets_lost, 0);
    assert_in_range(stats.rtt_ns, 15 * SUPPORT_MS, 25 * SUPPORT_MS);
    pair.loss_percent = 10;
    for (int i = 0; i < 1000; i++) {
        support_pair_send(&pair.ends[0], 5, 6, 1, 1000);
        support_pair_run(&pair, NULL, SUPPORT_MS);
    }
    assert_true(support_pair_run(&pair, support_pair_quiet, 60000 * SUPPORT_MS));
    rusmi_quic_conn_get_stats(pair.ends[0].conn, &stats);
    assert_in_range(stats.packets_lost, 50, 300);
    assert_int_equal(stats.bytes_sent, pair.ends[0].bytes_sent);
    support_pair_fini(&pair);
}

/* ---- memory ---- */

/* Both sides in a few exchanges; whatever fails, nothing crashes and both can be freed. */
static bool run_starved(int64_t left)
{
    struct support_pair pair;
    bool up = false;

    support_pair_init(&pair, shared, shared, 1);
    allocations_left = left;
    if (support_pair_try_dial(&pair) == RUSM_OK) {
        up = support_pair_run(&pair, support_pair_up, 200 * SUPPORT_MS);
        if (up) {
            (void)!rusmi_quic_conn_send_control(pair.ends[0].conn, "hello", 5);
            support_pair_run(&pair, NULL, 20 * SUPPORT_MS);
        }
    }
    allocations_left = -1;
    support_pair_fini(&pair);
    return up;
}

static void test_every_failed_allocation_is_survived(void **state)
{
    int64_t needed;

    (void)state;
    allocations = 0;
    assert_true(run_starved(-1));
    needed = allocations;
    assert_true(needed > 20);
    for (int64_t left = 0; left < needed; left++) {
        (void)run_starved(left);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_protocols_are_refused),
        cmocka_unit_test(test_dialer_that_names_no_protocol_is_refused),
        cmocka_unit_test(test_version_negotiation_without_ours_ends_the_dial),
        cmocka_unit_test(test_handshake_data_without_end_is_refused),
        cmocka_unit_test(test_reset_of_the_control_stream),
        cmocka_unit_test(test_stop_of_the_control_stream),
        cmocka_unit_test(test_end_of_the_control_stream),
        cmocka_unit_test(test_marks_with_something_in_them_are_refused),
        cmocka_unit_test(test_truncated_message),
        cmocka_unit_test(test_reset_message_stream),
        cmocka_unit_test(test_stopped_message_is_lost_alone),
        cmocka_unit_test(test_parked_messages_never_block_control),
        cmocka_unit_test(test_listener_follows_a_dialer_to_a_new_port),
        cmocka_unit_test(test_losses_and_round_trips_are_measured),
        cmocka_unit_test(test_every_failed_allocation_is_survived),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
