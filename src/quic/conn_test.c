/* SPDX-License-Identifier: MIT */
/* Two connections in memory: handshake, refusals, control stream, closing, time. */
#include "support/quic_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/certs.h"
#include "wire/control.h"

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

static const struct rusmi_quic_end *end_of(struct support_pair *pair, int which)
{
    return rusmi_quic_conn_end(pair->ends[which].conn);
}

static void test_handshake_names_both_sides(void **state)
{
    struct support_pair pair;

    (void)state;
    support_pair_init(&pair, london, tokyo, 1);
    assert_true(support_pair_connect(&pair));
    assert_string_equal(pair.ends[SUPPORT_DIALER].peer.node, "tokyo");
    assert_string_equal(pair.ends[SUPPORT_LISTENER].peer.node, "london");
    assert_int_equal(rusmi_quic_conn_state(pair.ends[0].conn), RUSMI_QUIC_UP);
    assert_int_equal(rusmi_quic_conn_peer_window(pair.ends[0].conn) >= RUSMI_LINK_WINDOW, 1);
    support_pair_fini(&pair);
}

/* ---- refusals ---- */

struct refusal {
    enum support_bad kind;
    int who;          /* which side holds it */
    uint8_t alert;    /* that the other side sends */
    const char *text; /* part of what the other side says */
};

/* The side that refuses knows why; the refused one learns the alert; neither has taken anything. */
static void check_refusal(const struct refusal *refusal)
{
    struct support_pair pair;
    rusm_identity *bad = support_identity_bad(refusal->kind, ca,
                                              refusal->who == SUPPORT_DIALER ? "london" : "tokyo");
    const struct rusmi_quic_end *refuser, *refused;

    support_pair_init(&pair, refusal->who == SUPPORT_DIALER ? bad : london,
                      refusal->who == SUPPORT_LISTENER ? bad : tokyo, 1);
    support_pair_dial(&pair);
    assert_true(support_pair_run(&pair, support_pair_ended, 3000 * SUPPORT_MS));
    refuser = end_of(&pair, !refusal->who);
    refused = end_of(&pair, refusal->who);
    assert_false(pair.ends[!refusal->who].authenticated);
    assert_int_equal(refuser->cause, RUSMI_QUIC_REFUSED_LOCAL);
    assert_int_equal(refuser->err, RUSM_EAUTH);
    assert_int_equal(refuser->code, refusal->alert);
    if (strstr(refuser->text, refusal->text) == NULL) {
        fail_msg("%s: \"%s\"", support_bad_name(refusal->kind), refuser->text);
    }
    assert_int_equal(refused->cause, RUSMI_QUIC_REFUSED_PEER);
    assert_int_equal(refused->err, RUSM_EAUTH);
    assert_int_equal(refused->code, refusal->alert);
    assert_non_null(strstr(refused->text, "the peer refused us"));
    support_pair_fini(&pair);
    rusm_identity_del(bad);
}

static void test_bad_certificates_are_refused_on_both_sides(void **state)
{
    static const struct refusal refusals[] = {
        {SUPPORT_BAD_FOREIGN_CA, SUPPORT_DIALER, 48, "not issued by the CA"},
        {SUPPORT_BAD_FOREIGN_CA, SUPPORT_LISTENER, 48, "not issued by the CA"},
        {SUPPORT_BAD_SELF_SIGNED, SUPPORT_DIALER, 48, "self-signed"},
        {SUPPORT_BAD_SELF_SIGNED, SUPPORT_LISTENER, 48, "self-signed"},
        {SUPPORT_BAD_NO_CERT, SUPPORT_DIALER, 116, "no certificate"},
        {SUPPORT_BAD_EXPIRED, SUPPORT_DIALER, 45, "expired on"},
        {SUPPORT_BAD_EXPIRED, SUPPORT_LISTENER, 45, "expired on"},
        {SUPPORT_BAD_SERVER_ONLY, SUPPORT_DIALER, 43, "TLS client"},
        {SUPPORT_BAD_CLIENT_ONLY, SUPPORT_LISTENER, 43, "TLS server"},
        {SUPPORT_BAD_OTHER_CLUSTER, SUPPORT_DIALER, 49, "elsewhere"},
        {SUPPORT_BAD_OTHER_CLUSTER, SUPPORT_LISTENER, 49, "elsewhere"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        check_refusal(&refusals[i]);
    }
}

/* A dialer that is refused already believed to be up: what it said in that time is not taken. */
static bool dialer_up(struct support_pair *pair)
{
    return pair->ends[SUPPORT_DIALER].authenticated;
}

static void test_nothing_of_a_refused_dialer_is_taken(void **state)
{
    struct support_pair pair;
    rusm_identity *bad = support_identity_bad(SUPPORT_BAD_FOREIGN_CA, ca, "london");

    (void)state;
    support_pair_init(&pair, bad, tokyo, 1);
    support_pair_dial(&pair);
    assert_true(support_pair_run(&pair, dialer_up, 3000 * SUPPORT_MS));
    assert_int_equal(rusmi_quic_conn_send_control(pair.ends[0].conn, "hello", 5), RUSM_OK);
    support_pair_send_number(&pair.ends[0]);
    assert_true(support_pair_run(&pair, support_pair_ended, 3000 * SUPPORT_MS));
    assert_false(pair.ends[SUPPORT_LISTENER].authenticated);
    assert_int_equal(pair.ends[SUPPORT_LISTENER].control_len, 0);
    assert_int_equal(pair.ends[SUPPORT_LISTENER].delivered, 0);
    support_pair_fini(&pair);
    rusm_identity_del(bad);
}

static void test_owner_may_refuse_an_authenticated_peer(void **state)
{
    struct support_pair pair;

    (void)state;
    support_pair_init(&pair, london, tokyo, 1);
    pair.ends[SUPPORT_LISTENER].refuse = RUSM_EAUTH;
    support_pair_dial(&pair);
    assert_true(support_pair_run(&pair, support_pair_ended, 3000 * SUPPORT_MS));
    assert_int_equal(end_of(&pair, SUPPORT_LISTENER)->err, RUSM_EAUTH);
    assert_int_equal(end_of(&pair, SUPPORT_DIALER)->cause, RUSMI_QUIC_CLOSED_PEER);
    support_pair_fini(&pair);
}

static void test_busy_listener_refuses_with_its_text(void **state)
{
    struct support_pair pair;

    (void)state;
    support_pair_init(&pair, london, tokyo, 1);
    pair.busy = true;
    support_pair_dial(&pair);
    assert_true(support_pair_run(&pair, support_pair_ended, 3000 * SUPPORT_MS));
    assert_int_equal(end_of(&pair, SUPPORT_DIALER)->err, RUSM_EREFUSED);
    assert_non_null(strstr(end_of(&pair, SUPPORT_DIALER)->text, "too many links"));
    support_pair_fini(&pair);
}

/* ---- the way to a connection ---- */

static void test_retry_proves_the_address(void **state)
{
    struct support_pair pair;

    (void)state;
    support_pair_init(&pair, london, tokyo, 1);
    pair.retry = true;
    assert_true(support_pair_connect(&pair));
    assert_int_equal(pair.retries, 1);
    support_pair_fini(&pair);
}

static void test_retry_token_is_bound_to_address_time_and_secret(void **state)
{
    static const uint8_t secret[32] = "secret", other[32] = "other";
    struct support_pair pair;
    struct rusmi_quic_batch batch;
    struct rusmi_quic_route route;
    struct rusmi_quic_proof proof;
    struct sockaddr_in here, there;
    uint8_t answer[RUSMI_QUIC_ANSWER_MAX], wire[1500];
    size_t len;

    (void)state;
    support_pair_init(&pair, london, tokyo, 1);
    here = there = pair.ends[0].address;
    there.sin_port++;
    support_pair_dial(&pair);
    rusmi_quic_conn_write(pair.ends[0].conn, pair.buf, 65536, &batch, pair.now);
    rusmi_quic_route(pair.buf, batch.len, &route);
    assert_int_equal(route.kind, RUSMI_QUIC_INITIAL);
    assert_int_equal(rusmi_quic_check_token(&route, secret, (struct sockaddr *)&here, sizeof(here),
                                            pair.now, &proof),
                     RUSM_EAGAIN);
    len = rusmi_quic_write_retry(&route, secret, (struct sockaddr *)&here, sizeof(here), answer,
                                 pair.now);
    assert_true(len > 0 && len < batch.len);
    assert_int_equal(support_pair_inject(&pair.ends[0], answer, len), RUSM_OK);
    len = rusmi_quic_conn_write(pair.ends[0].conn, wire, sizeof(wire), &batch, pair.now);
    rusmi_quic_route(wire, len, &route);
    assert_true(route.token_len > 0);
    assert_int_equal(rusmi_quic_check_token(&route, secret, (struct sockaddr *)&there,
                                            sizeof(there), pair.now, &proof),
                     RUSM_EREFUSED);
    assert_int_equal(rusmi_quic_check_token(&route, other, (struct sockaddr *)&here, sizeof(here),
                                            pair.now, &proof),
                     RUSM_EREFUSED);
    assert_int_equal(rusmi_quic_check_token(&route, secret, (struct sockaddr *)&here, sizeof(here),
                                            pair.now + 11000 * SUPPORT_MS, &proof),
                     RUSM_EREFUSED);
    assert_int_equal(rusmi_quic_check_token(&route, secret, (struct sockaddr *)&here, sizeof(here),
                                            pair.now, &proof),
                     RUSM_OK);
    assert_memory_equal(proof.retry_scid.data, route.dcid.data, route.dcid.len);
    support_pair_fini(&pair);
}

static void test_other_versions_are_answered_with_ours(void **state)
{
    uint8_t probe[1200] = {0xc0, 0xba, 0xba, 0xba, 0xba, 4, 1, 2, 3, 4, 4, 5, 6, 7, 8};
    uint8_t answer[RUSMI_QUIC_ANSWER_MAX];
    struct rusmi_quic_route route;
    size_t len;

    (void)state;
    rusmi_quic_route(probe, sizeof(probe), &route);
    assert_int_equal(route.kind, RUSMI_QUIC_VERSION);
    len = rusmi_quic_write_versions(&route, answer);
    assert_true(len > 0 && len < 100);
    /* Ids change places, and version 1 is offered (RFC 9000 17.2.1). */
    assert_memory_equal(answer + 5, "\x04\x05\x06\x07\x08\x04\x01\x02\x03\x04", 10);
    assert_memory_equal(answer + 15, "\x00\x00\x00\x01", 4);
    /* A small one would make us talk more than it does. */
    rusmi_quic_route(probe, 100, &route);
    assert_int_equal(rusmi_quic_write_versions(&route, answer), 0);
}

static void test_route_survives_any_bytes(void **state)
{
    struct rusmi_prng prng;
    struct rusmi_quic_route route;
    uint8_t data[64], answer[RUSMI_QUIC_ANSWER_MAX];

    (void)state;
    rusmi_prng_init(&prng, 7);
    for (int i = 0; i < 100000; i++) {
        size_t len = rusmi_prng_below(&prng, sizeof(data) + 1);

        for (size_t k = 0; k < len; k++) {
            data[k] = (uint8_t)rusmi_prng_next(&prng);
        }
        rusmi_quic_route(data, len, &route);
        assert_true(route.dcid.len <= RUSMI_QUIC_CID_MAX && route.scid.len <= RUSMI_QUIC_CID_MAX);
        assert_true(rusmi_quic_write_reset(&route, answer, answer) < len || len == 0 ||
                    route.kind != RUSMI_QUIC_SHORT);
    }
}

static void test_damage_and_garbage_do_not_kill(void **state)
{
    struct support_pair pair;
    uint8_t junk[1400];
    struct rusmi_quic_stats stats;

    (void)state;
    support_pair_init(&pair, london, tokyo, 3);
    pair.damage_percent = 20;
    assert_true(support_pair_connect(&pair));
    for (int i = 0; i < 2000; i++) {
        size_t len = 1 + rusmi_prng_below(&pair.prng, sizeof(junk));

        for (size_t k = 0; k < len; k++) {
            junk[k] = (uint8_t)rusmi_prng_next(&pair.prng);
        }
        assert_int_equal(support_pair_inject(&pair.ends[i & 1], junk, len), RUSM_OK);
        if (i % 10 == 0) {
            support_pair_send_number(&pair.ends[0]);
        }
    }
    assert_true(support_pair_run(&pair, support_pair_quiet, 60000 * SUPPORT_MS));
    assert_int_equal(pair.ends[1].delivered, 200);
    rusmi_quic_conn_get_stats(pair.ends[1].conn, &stats);
    assert_true(stats.datagrams_ignored >= 1000);
    support_pair_fini(&pair);
}

/* Garbage is no sign of life: see rusmi_quic_packets_opened(). */
static void test_garbage_does_not_keep_a_dead_peer_alive(void **state)
{
    struct support_pair pair;
    uint8_t junk[100] = {0x40};

    (void)state;
    support_pair_init(&pair, london, tokyo, 3);
    assert_true(support_pair_connect(&pair));
    pair.ends[1].frozen = true;
    for (int i = 0; i < 30; i++) {
        (void)support_pair_inject(&pair.ends[0], junk, sizeof(junk));
        support_pair_run(&pair, NULL, 500 * SUPPORT_MS);
    }
    assert_int_equal(end_of(&pair, 0)->cause, RUSMI_QUIC_TIMEOUT);
    support_pair_fini(&pair);
}

/* ---- control stream ---- */

static bool control_echoed(struct support_pair *pair)
{
    return pair->ends[0].control_len == 500000 && pair->ends[1].control_len == 500000;
}

static void test_control_bytes_arrive_in_order_both_ways_under_loss(void **state)
{
    struct support_pair pair;
    uint8_t *bytes = malloc(500000);

    (void)state;
    for (size_t i = 0; i < 500000; i++) {
        bytes[i] = (uint8_t)(i * 31 / 7);
    }
    support_pair_init(&pair, london, tokyo, 5);
    pair.loss_percent = 10;
    pair.jitter_ns = SUPPORT_MS;
    assert_true(support_pair_connect(&pair));
    for (size_t i = 0; i < 500000; i += 1000) {
        assert_int_equal(rusmi_quic_conn_send_control(pair.ends[0].conn, bytes + i, 1000), RUSM_OK);
        assert_int_equal(rusmi_quic_conn_send_control(pair.ends[1].conn, bytes + i, 1000), RUSM_OK);
    }
    assert_true(support_pair_run(&pair, control_echoed, 60000 * SUPPORT_MS));
    assert_memory_equal(pair.ends[0].control, bytes, 500000);
    assert_memory_equal(pair.ends[1].control, bytes, 500000);
    assert_true(support_pair_run(&pair, support_pair_quiet, 10000 * SUPPORT_MS));
    assert_int_equal(rusmi_quic_conn_control_pending(pair.ends[0].conn), 0);
    support_pair_fini(&pair);
    free(bytes);
}

static void test_control_is_bounded_and_needs_a_connection(void **state)
{
    struct support_pair pair;
    static uint8_t bytes[5000];

    (void)state;
    support_pair_init(&pair, london, tokyo, 5);
    pair.ends[0].cfg.control_max = 8000;
    support_pair_dial(&pair);
    assert_int_equal(rusmi_quic_conn_send_control(pair.ends[0].conn, "x", 1), RUSM_EAGAIN);
    assert_true(support_pair_run(&pair, support_pair_up, 3000 * SUPPORT_MS));
    assert_int_equal(rusmi_quic_conn_send_control(pair.ends[0].conn, bytes, 5000), RUSM_OK);
    assert_int_equal(rusmi_quic_conn_send_control(pair.ends[0].conn, bytes, 5000), RUSM_EFULL);
    assert_true(support_pair_run(&pair, support_pair_quiet, 3000 * SUPPORT_MS));
    assert_int_equal(rusmi_quic_conn_send_control(pair.ends[0].conn, bytes, 5000), RUSM_OK);
    rusmi_quic_conn_close(pair.ends[0].conn, 1, NULL);
    assert_int_equal(rusmi_quic_conn_send_control(pair.ends[0].conn, bytes, 1), RUSM_ECLOSED);
    support_pair_fini(&pair);
}

static bool dialer_heard(struct support_pair *pair)
{
    return pair->ends[SUPPORT_DIALER].control_len > 0;
}

static void test_listener_may_speak_first(void **state)
{
    struct support_pair pair;

    (void)state;
    support_pair_init(&pair, london, tokyo, 5);
    assert_true(support_pair_connect(&pair));
    assert_int_equal(rusmi_quic_conn_send_control(pair.ends[1].conn, "first", 5), RUSM_OK);
    assert_true(support_pair_run(&pair, dialer_heard, 1000 * SUPPORT_MS));
    assert_memory_equal(pair.ends[0].control, "first", 5);
    support_pair_fini(&pair);
}

/* ---- ends ---- */

static void check_close(int closer)
{
    struct support_pair pair;

    support_pair_init(&pair, london, tokyo, 5);
    assert_true(support_pair_connect(&pair));
    rusmi_quic_conn_close(pair.ends[closer].conn, 7, "enough for today");
    rusmi_quic_conn_close(pair.ends[closer].conn, 8, "the first word counts");
    assert_true(support_pair_run(&pair, support_pair_ended, 3000 * SUPPORT_MS));
    assert_int_equal(end_of(&pair, closer)->cause, RUSMI_QUIC_CLOSED_LOCAL);
    assert_int_equal(end_of(&pair, closer)->err, RUSM_ECLOSED);
    assert_int_equal(end_of(&pair, !closer)->cause, RUSMI_QUIC_CLOSED_PEER);
    assert_int_equal(end_of(&pair, !closer)->code, 7);
    assert_string_equal(end_of(&pair, !closer)->text, "the peer closed the link: enough for today");
    assert_int_equal(rusmi_quic_conn_state(pair.ends[!closer].conn), RUSMI_QUIC_DRAINING);
    support_pair_run(&pair, NULL, 5000 * SUPPORT_MS);
    assert_int_equal(rusmi_quic_conn_state(pair.ends[closer].conn), RUSMI_QUIC_CLOSED);
    assert_int_equal(rusmi_quic_conn_state(pair.ends[!closer].conn), RUSMI_QUIC_CLOSED);
    assert_int_equal(rusmi_quic_conn_deadline(pair.ends[0].conn), UINT64_MAX);
    support_pair_fini(&pair);
}

static void test_close_reaches_the_other_side(void **state)
{
    (void)state;
    check_close(SUPPORT_DIALER);
    check_close(SUPPORT_LISTENER);
}

static bool listener_has_one(struct support_pair *pair)
{
    return pair->ends[SUPPORT_LISTENER].conn != NULL;
}

static void test_lost_close_is_repeated_when_the_peer_speaks(void **state)
{
    struct support_pair pair;

    (void)state;
    support_pair_init(&pair, london, tokyo, 5);
    assert_true(support_pair_connect(&pair));
    support_pair_run(&pair, NULL, 1000 * SUPPORT_MS);
    rusmi_quic_conn_close(pair.ends[0].conn, 7, NULL);
    pair.loss_percent = 100;
    support_pair_run(&pair, NULL, SUPPORT_MS);
    pair.loss_percent = 0;
    support_pair_send_number(&pair.ends[1]);
    assert_true(support_pair_run(&pair, support_pair_ended, 20 * SUPPORT_MS));
    assert_int_equal(end_of(&pair, 1)->cause, RUSMI_QUIC_CLOSED_PEER);
    support_pair_fini(&pair);
}

/* An idle peer says nothing that would be answered, and the closing one is not there for long. */
static void test_lost_close_is_said_again(void **state)
{
    (void)state;
    for (int closer = 0; closer < 2; closer++) {
        struct support_pair pair;
        uint64_t sent;

        support_pair_init(&pair, london, tokyo, 5);
        assert_true(support_pair_connect(&pair));
        support_pair_run(&pair, NULL, 1000 * SUPPORT_MS);
        sent = pair.ends[closer].datagrams_sent;
        rusmi_quic_conn_close(pair.ends[closer].conn, 7, NULL);
        pair.loss_percent = 100;
        support_pair_run(&pair, NULL, SUPPORT_MS);
        assert_int_equal(pair.ends[closer].datagrams_sent, sent + 1);
        pair.loss_percent = 0;
        assert_true(support_pair_run(&pair, support_pair_ended, 1000 * SUPPORT_MS));
        assert_int_equal(end_of(&pair, !closer)->cause, RUSMI_QUIC_CLOSED_PEER);
        support_pair_run(&pair, NULL, 5000 * SUPPORT_MS);
        assert_int_equal(rusmi_quic_conn_state(pair.ends[closer].conn), RUSMI_QUIC_CLOSED);
        assert_int_equal(pair.ends[closer].datagrams_sent, sent + 3); /* in three timeouts */
        support_pair_fini(&pair);
    }
}

/* A stranger could have us send more than it did. */
static void test_close_of_a_handshake_is_not_said_again(void **state)
{
    struct support_pair pair;
    uint64_t sent;

    (void)state;
    support_pair_init(&pair, london, tokyo, 5);
    support_pair_dial(&pair);
    assert_true(support_pair_run(&pair, listener_has_one, 1000 * SUPPORT_MS));
    pair.ends[SUPPORT_DIALER].frozen = true;
    support_pair_run(&pair, NULL, SUPPORT_MS);
    sent = pair.ends[SUPPORT_LISTENER].datagrams_sent;
    rusmi_quic_conn_close(pair.ends[SUPPORT_LISTENER].conn, RUSMI_CLOSE_FULL, "no place");
    support_pair_run(&pair, NULL, 5000 * SUPPORT_MS);
    assert_int_equal(rusmi_quic_conn_state(pair.ends[SUPPORT_LISTENER].conn), RUSMI_QUIC_CLOSED);
    assert_int_equal(pair.ends[SUPPORT_LISTENER].datagrams_sent, sent + 1);
    support_pair_fini(&pair);
}

/* Its code is none that QUIC says so early, but QUIC has one of its own for it. */
static void test_refusal_of_a_handshake_says_why(void **state)
{
    struct support_pair pair;

    (void)state;
    support_pair_init(&pair, london, tokyo, 5);
    support_pair_dial(&pair);
    assert_true(support_pair_run(&pair, listener_has_one, 1000 * SUPPORT_MS));
    rusmi_quic_conn_close(pair.ends[SUPPORT_LISTENER].conn, RUSMI_CLOSE_FULL, "no place");
    assert_true(support_pair_run(&pair, support_pair_ended, 3000 * SUPPORT_MS));
    assert_int_equal(end_of(&pair, SUPPORT_DIALER)->err, RUSM_EREFUSED);
    assert_non_null(strstr(end_of(&pair, SUPPORT_DIALER)->text, "no place"));
    support_pair_fini(&pair);
}

/* Who has shown that it owns its address is not held to three times what it sent (RFC 9000 8.1): an
 * answer that was lost can be repeated as often as it takes. */
static void test_proof_of_the_address_lifts_the_limit_of_amplification(void **state)
{
    uint64_t sent[2];

    (void)state;
    for (int retry = 0; retry < 2; retry++) {
        struct support_pair pair;

        support_pair_init(&pair, london, tokyo, 5);
        pair.retry = retry != 0;
        support_pair_dial(&pair);
        assert_true(support_pair_run(&pair, listener_has_one, 1000 * SUPPORT_MS));
        pair.ends[SUPPORT_DIALER].frozen = true;
        support_pair_run(&pair, NULL, 4000 * SUPPORT_MS);
        sent[retry] = pair.ends[SUPPORT_LISTENER].bytes_sent;
        support_pair_fini(&pair);
    }
    assert_in_range(sent[0], 1, 3 * 1200); /* it sent one datagram of 1,200 bytes */
    assert_true(sent[1] > 3 * 1200);
}

static void test_close_before_anything_was_sent(void **state)
{
    struct support_pair pair;

    (void)state;
    support_pair_init(&pair, london, tokyo, 5);
    support_pair_dial(&pair);
    rusmi_quic_conn_close(pair.ends[0].conn, 7, NULL);
    support_pair_run(&pair, NULL, 1000 * SUPPORT_MS);
    assert_int_equal(rusmi_quic_conn_state(pair.ends[0].conn), RUSMI_QUIC_CLOSED);
    support_pair_fini(&pair);
}

/* Text of a stranger reaches people's terminals. */
static void test_text_of_the_peer_is_cleaned(void **state)
{
    struct support_pair pair;

    (void)state;
    support_pair_init(&pair, london, tokyo, 5);
    assert_true(support_pair_connect(&pair));
    rusmi_quic_conn_close(pair.ends[0].conn, 7, "a\x1b[31mb\xff\xc2\x9b caf\xc3\xa9");
    assert_true(support_pair_run(&pair, support_pair_ended, 3000 * SUPPORT_MS));
    assert_string_equal(end_of(&pair, 1)->text, "the peer closed the link: a?[31mb??? caf\xc3\xa9");
    support_pair_fini(&pair);
}

static void test_stateless_reset_ends_the_peer_of_a_lost_connection(void **state)
{
    struct support_pair pair;
    struct support_end *listener = &pair.ends[SUPPORT_LISTENER];

    (void)state;
    support_pair_init(&pair, london, tokyo, 5);
    assert_true(support_pair_connect(&pair));
    support_pair_run(&pair, NULL, 1000 * SUPPORT_MS);
    rusmi_quic_conn_del(listener->conn);
    listener->conn = NULL;
    support_pair_send_number(&pair.ends[0]);
    assert_true(support_pair_run(&pair, support_pair_ended, 1000 * SUPPORT_MS));
    assert_int_equal(end_of(&pair, 0)->cause, RUSMI_QUIC_RESET);
    assert_int_equal(end_of(&pair, 0)->err, RUSM_ENOLINK);
    support_pair_fini(&pair);
}

/* ---- time ---- */

static void test_dial_to_nobody_times_out(void **state)
{
    struct support_pair pair;
    rusm_time begun;

    (void)state;
    support_pair_init(&pair, london, tokyo, 5);
    begun = pair.now;
    pair.ends[1].frozen = true;
    support_pair_dial(&pair);
    assert_true(support_pair_run(&pair, support_pair_ended, 20000 * SUPPORT_MS));
    assert_int_equal(end_of(&pair, 0)->cause, RUSMI_QUIC_TIMEOUT);
    assert_int_equal((pair.now - begun) / SUPPORT_MS, 5000);
    support_pair_fini(&pair);
}

static void test_idle_link_stays_up_for_hours(void **state)
{
    struct support_pair pair;
    uint64_t datagrams;

    (void)state;
    support_pair_init(&pair, london, tokyo, 5);
    pair.loss_percent = 2;
    assert_true(support_pair_connect(&pair));
    support_pair_run(&pair, NULL, 12 * 3600 * 1000 * SUPPORT_MS);
    assert_int_equal(rusmi_quic_conn_state(pair.ends[0].conn), RUSMI_QUIC_UP);
    assert_int_equal(rusmi_quic_conn_state(pair.ends[1].conn), RUSMI_QUIC_UP);
    /* One exchange each fifth of a tick, and no more. */
    datagrams = pair.ends[0].datagrams_sent + pair.ends[1].datagrams_sent;
    assert_in_range(datagrams, 12 * 3600 / 5, 12 * 3600 * 2);
    support_pair_fini(&pair);
}

static void check_silence(rusm_time tick_ns, unsigned phase, bool busy)
{
    struct support_pair pair;
    rusm_time since, took;

    support_pair_init(&pair, london, tokyo, 5);
    pair.ends[0].cfg.tick_ns = pair.ends[1].cfg.tick_ns = tick_ns;
    assert_true(support_pair_connect(&pair));
    /* It dies at any moment between two exchanges. */
    support_pair_run(&pair, NULL, tick_ns * 10 + tick_ns * phase / 100);
    assert_int_equal(rusmi_quic_conn_state(pair.ends[0].conn), RUSMI_QUIC_UP);
    pair.ends[1].frozen = true;
    since = pair.now;
    for (int i = 0; busy && i < 100; i++) {
        support_pair_send_number(&pair.ends[0]);
    }
    pair.ends[1].frozen = true;
    while (end_of(&pair, 0)->cause == RUSMI_QUIC_NONE) {
        support_pair_run(&pair, NULL, tick_ns / 100);
        assert_true(pair.now - since < tick_ns * 2);
    }
    took = pair.now - since;
    assert_int_equal(end_of(&pair, 0)->cause, RUSMI_QUIC_TIMEOUT);
    assert_non_null(strstr(end_of(&pair, 0)->text, "time-out, last heard "));
    assert_in_range(took, tick_ns, tick_ns * 3 / 2);
    support_pair_fini(&pair);
}

static void test_dead_peer_is_noticed_between_one_tick_and_one_and_a_half(void **state)
{
    (void)state;
    for (unsigned phase = 0; phase < 25; phase++) {
        check_silence(10000 * SUPPORT_MS, phase, phase % 2 == 0);
        check_silence(200 * SUPPORT_MS, phase, phase % 2 == 1);
    }
}

/* One that was only stopped for a while hears that it has been given up. */
static void test_given_up_peer_is_told(void **state)
{
    struct support_pair pair;

    (void)state;
    support_pair_init(&pair, london, tokyo, 5);
    pair.ends[1].cfg.tick_ns = 30000 * SUPPORT_MS;
    assert_true(support_pair_connect(&pair));
    pair.ends[1].frozen = true;
    support_pair_run(&pair, NULL, 12490 * SUPPORT_MS);
    assert_int_equal(rusmi_quic_conn_state(pair.ends[0].conn), RUSMI_QUIC_UP);
    pair.delay_ns = 100 * SUPPORT_MS;
    support_pair_run(&pair, NULL, 20 * SUPPORT_MS);
    assert_int_equal(rusmi_quic_conn_state(pair.ends[0].conn), RUSMI_QUIC_CLOSING);
    pair.ends[1].frozen = false;
    support_pair_run(&pair, NULL, 200 * SUPPORT_MS);
    assert_int_equal(end_of(&pair, 1)->cause, RUSMI_QUIC_CLOSED_PEER);
    assert_int_equal(end_of(&pair, 1)->code, RUSMI_CLOSE_SILENT);
    assert_string_equal(end_of(&pair, 1)->text,
                        "the peer closed the link: time-out, last heard 12.5 s ago");
    support_pair_fini(&pair);
}

static void test_time_that_goes_back_is_ignored(void **state)
{
    struct support_pair pair;

    (void)state;
    support_pair_init(&pair, london, tokyo, 5);
    assert_true(support_pair_connect(&pair));
    pair.now -= 500 * SUPPORT_MS;
    support_pair_send_number(&pair.ends[0]);
    assert_true(support_pair_run(&pair, support_pair_quiet, 3000 * SUPPORT_MS));
    support_pair_fini(&pair);
}

/* ---- packets ---- */

static void test_packets_grow_to_the_mtu_of_the_path(void **state)
{
    struct support_pair pair;

    (void)state;
    support_pair_init(&pair, london, tokyo, 5);
    pair.mtu = 1410;
    assert_true(support_pair_connect(&pair));
    support_pair_run(&pair, NULL, 5000 * SUPPORT_MS);
    support_pair_send(&pair.ends[0], 2, 2, 1, 1000000);
    pair.ends[0].largest = 0;
    assert_true(support_pair_run(&pair, support_pair_quiet, 10000 * SUPPORT_MS));
    assert_int_equal(pair.ends[0].largest, 1404);
    support_pair_fini(&pair);
}

static void test_fixed_packets_are_large_at_once(void **state)
{
    struct support_pair pair;

    (void)state;
    support_pair_init(&pair, london, tokyo, 5);
    pair.ends[0].cfg.udp_payload_max = 65000;
    pair.ends[0].cfg.udp_payload_fixed = true;
    assert_true(support_pair_connect(&pair));
    support_pair_send(&pair.ends[0], 2, 2, 1, 1000000);
    assert_true(support_pair_run(&pair, support_pair_quiet, 10000 * SUPPORT_MS));
    assert_in_range(pair.ends[0].largest, 64000, 65000);
    assert_int_equal(pair.ends[1].last_sum, 1000000);
    support_pair_fini(&pair);
}

static void test_config_out_of_range_is_refused(void **state)
{
    struct support_pair pair;
    struct rusmi_quic_events events = {0};
    struct rusmi_quic_path path = {0};
    struct rusmi_quic_conn *conn = NULL;
    struct rusmi_quic_config cfg;

    (void)state;
    support_pair_init(&pair, london, tokyo, 5);
    path.local = path.remote = (struct sockaddr *)&pair.ends[0].address;
    path.local_len = path.remote_len = sizeof(pair.ends[0].address);
    cfg = pair.ends[0].cfg;
    cfg.udp_payload_max = 1199;
    assert_int_equal(rusmi_quic_conn_new_client(&conn, &cfg, &events, &path, 1), RUSM_EINVAL);
    cfg = pair.ends[0].cfg;
    cfg.identity = NULL;
    assert_int_equal(rusmi_quic_conn_new_client(&conn, &cfg, &events, &path, 1), RUSM_EINVAL);
    assert_null(conn);
    support_pair_fini(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handshake_names_both_sides),
        cmocka_unit_test(test_bad_certificates_are_refused_on_both_sides),
        cmocka_unit_test(test_nothing_of_a_refused_dialer_is_taken),
        cmocka_unit_test(test_owner_may_refuse_an_authenticated_peer),
        cmocka_unit_test(test_busy_listener_refuses_with_its_text),
        cmocka_unit_test(test_retry_proves_the_address),
        cmocka_unit_test(test_retry_token_is_bound_to_address_time_and_secret),
        cmocka_unit_test(test_other_versions_are_answered_with_ours),
        cmocka_unit_test(test_route_survives_any_bytes),
        cmocka_unit_test(test_damage_and_garbage_do_not_kill),
        cmocka_unit_test(test_garbage_does_not_keep_a_dead_peer_alive),
        cmocka_unit_test(test_control_bytes_arrive_in_order_both_ways_under_loss),
        cmocka_unit_test(test_control_is_bounded_and_needs_a_connection),
        cmocka_unit_test(test_listener_may_speak_first),
        cmocka_unit_test(test_close_reaches_the_other_side),
        cmocka_unit_test(test_lost_close_is_repeated_when_the_peer_speaks),
        cmocka_unit_test(test_lost_close_is_said_again),
        cmocka_unit_test(test_close_of_a_handshake_is_not_said_again),
        cmocka_unit_test(test_refusal_of_a_handshake_says_why),
        cmocka_unit_test(test_proof_of_the_address_lifts_the_limit_of_amplification),
        cmocka_unit_test(test_close_before_anything_was_sent),
        cmocka_unit_test(test_text_of_the_peer_is_cleaned),
        cmocka_unit_test(test_stateless_reset_ends_the_peer_of_a_lost_connection),
        cmocka_unit_test(test_dial_to_nobody_times_out),
        cmocka_unit_test(test_idle_link_stays_up_for_hours),
        cmocka_unit_test(test_dead_peer_is_noticed_between_one_tick_and_one_and_a_half),
        cmocka_unit_test(test_given_up_peer_is_told),
        cmocka_unit_test(test_time_that_goes_back_is_ignored),
        cmocka_unit_test(test_packets_grow_to_the_mtu_of_the_path),
        cmocka_unit_test(test_fixed_packets_are_large_at_once),
        cmocka_unit_test(test_config_out_of_range_is_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
