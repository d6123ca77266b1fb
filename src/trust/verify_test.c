/* SPDX-License-Identifier: MIT */
/*
 * Real TLS 1.3 handshakes through memory, both ends judging each other from within the verify
 * function as the QUIC layer does. A refusal is checked on both sides: the sentence and the alert
 * where it is made, and what the alert is explained as where it arrives.
 */
#include "trust/verify.h"

#include "base/buf.h"
#include "platform/wall.h"
#include "support/certs.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <rusm/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PRIORITY  "NORMAL:-VERS-ALL:+VERS-TLS1.3"
#define STEPS_MAX 100
/* A liar does not keep to the key usage of its own certificate; GnuTLS does unless told. */
#define LIAR PRIORITY ":%DEBUG_ALLOW_KEY_USAGE_VIOLATIONS"

/* One end of a handshake. */
struct end {
    gnutls_session_t session;
    rusm_identity *identity;
    bool is_server;
    struct rusmi_buf in; /* bytes on their way to this end */
    struct end *other;
    int code; /* of the handshake */
    bool crl_strict;
    rusm_err verdict;                /* of rusmi_verify_peer, if it ran */
    int judged;                      /* how often it ran */
    int alert;                       /* that we sent, or 0 */
    int alert_seen;                  /* that we received, or 0 */
    struct rusmi_peer_identity peer; /* when the verdict is RUSM_OK */
    char text[RUSMI_VERIFY_TEXT_MAX];
};

static ssize_t end_push(gnutls_transport_ptr_t ptr, const void *data, size_t len)
{
    struct end *end = ptr;

    assert_true(rusmi_buf_append(&end->other->in, data, len));
    return (ssize_t)len;
}

static ssize_t end_pull(gnutls_transport_ptr_t ptr, void *data, size_t len)
{
    struct end *end = ptr;
    size_t n = end->in.len < len ? end->in.len : len;

    if (n == 0) {
        gnutls_transport_set_errno(end->session, EAGAIN);
        return -1;
    }
    memcpy(data, rusmi_buf_head(&end->in), n);
    rusmi_buf_consume(&end->in, n);
    return (ssize_t)n;
}

static int end_wait(gnutls_transport_ptr_t ptr, unsigned timeout_ms)
{
    struct end *end = ptr;

    (void)timeout_ms;
    return end->in.len > 0;
}

static struct rusmi_verify_rules end_rules(const struct end *end)
{
    return (struct rusmi_verify_rules){
        .peer_is_server = !end->is_server, .crl_strict = end->crl_strict, .now_s = rusmi_wall_s()};
}

static int end_verify(gnutls_session_t session)
{
    struct end *end = gnutls_session_get_ptr(session);

    struct rusmi_verify_rules rules = end_rules(end);

    end->judged++;
    end->verdict = rusmi_verify_peer(session, end->identity, &rules, &end->peer, &end->alert,
                                     end->text, sizeof(end->text));
    return end->verdict == RUSM_OK ? 0 : GNUTLS_E_CERTIFICATE_ERROR;
}

static void end_init(struct end *end, struct end *other, rusm_identity *identity, bool is_server,
                     const rusm_identity *liar_identity)
{
    bool liar = identity == liar_identity;

    memset(end, 0, sizeof(*end));
    end->identity = rusm_identity_hold(identity);
    end->is_server = is_server;
    end->other = other;
    end->code = GNUTLS_E_AGAIN;
    rusmi_buf_init(&end->in);
    assert_int_equal(gnutls_init(&end->session, GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL |
                                                    (is_server ? GNUTLS_SERVER : GNUTLS_CLIENT)),
                     0);
    assert_int_equal(gnutls_priority_set_direct(end->session, liar ? LIAR : PRIORITY, NULL), 0);
    gnutls_session_set_ptr(end->session, end);
    gnutls_transport_set_ptr(end->session, end);
    gnutls_transport_set_push_function(end->session, end_push);
    gnutls_transport_set_pull_function(end->session, end_pull);
    gnutls_transport_set_pull_timeout_function(end->session, end_wait);
    assert_int_equal(rusmi_verify_session_init(end->session, identity, is_server, end_verify),
                     RUSM_OK);
}

static void end_fini(struct end *end)
{
    gnutls_deinit(end->session);
    rusmi_buf_fini(&end->in);
    rusm_identity_del(end->identity);
}

/* Once around: go on with the handshake, or look for an alert that came after it. */
static void end_step(struct end *end)
{
    char byte;
    int code = end->code == 0 ? (int)gnutls_record_recv(end->session, &byte, 1)
                              : gnutls_handshake(end->session);

    if (code == GNUTLS_E_AGAIN || code == GNUTLS_E_INTERRUPTED) {
        return;
    }
    end->code = code;
    if (code == GNUTLS_E_FATAL_ALERT_RECEIVED) {
        end->alert_seen = (int)gnutls_alert_get(end->session);
    } else if (code < 0) {
        if (end->judged == 0 || end->verdict == RUSM_OK) {
            struct rusmi_verify_rules rules = end_rules(end);

            (void)rusmi_verify_explain_code(end->session, end->identity, &rules, code, &end->alert,
                                            end->text, sizeof(end->text));
        }
        if (end->alert != 0) {
            (void)gnutls_alert_send(end->session, GNUTLS_AL_FATAL,
                                    (gnutls_alert_description_t)end->alert);
        } else {
            (void)gnutls_alert_send_appropriate(end->session, code);
        }
    }
}

static bool end_running(const struct end *end)
{
    return end->code >= 0 || end->code == GNUTLS_E_AGAIN;
}

/* Run the two until nothing moves any more. The one with the identity `liar` is one. */
static void run_liar(struct end *client, struct end *server, rusm_identity *of_client,
                     rusm_identity *of_server, const rusm_identity *liar)
{
    end_init(client, server, of_client, false, liar);
    end_init(server, client, of_server, true, liar);
    for (int i = 0; i < STEPS_MAX && (end_running(client) || end_running(server)); i++) {
        if (end_running(client)) {
            end_step(client);
        }
        if (end_running(server)) {
            end_step(server);
        }
    }
}

static void run_pair(struct end *client, struct end *server, rusm_identity *of_client,
                     rusm_identity *of_server)
{
    run_liar(client, server, of_client, of_server, NULL);
}

static void fini_pair(struct end *client, struct end *server)
{
    end_fini(client);
    end_fini(server);
}

/* A cluster with one honest node. */
struct fixture {
    rusm_ca *ca;
    rusm_identity *london;
};

static int setup(void **state)
{
    static struct fixture f;

    assert_int_equal(rusm_ca_generate(&f.ca, "prod", 30), RUSM_OK);
    assert_int_equal(rusm_ca_issue(f.ca, "london", NULL, &f.london), RUSM_OK);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    rusm_identity_del(f->london);
    rusm_ca_del(f->ca);
    return 0;
}

static void assert_accepts(const struct end *end, const char *node, rusm_role role, bool shared)
{
    if (end->code != 0 || end->verdict != RUSM_OK || end->judged != 1) {
        fail_msg("refused: %d %s, %s", end->code, gnutls_strerror(end->code), end->text);
    }
    assert_string_equal(end->peer.cluster, "prod");
    assert_string_equal(end->peer.node, node);
    assert_int_equal(end->peer.role, role);
    assert_int_equal(end->peer.shared, shared);
    assert_int_equal(strlen(end->peer.fingerprint), 64);
}

static void test_members_accept_each_other(void **state)
{
    struct fixture *f = *state;
    rusm_identity *tokyo = NULL;
    struct end client, server;
    rusm_cert_info info;

    assert_int_equal(rusm_ca_issue(f->ca, "tokyo", NULL, &tokyo), RUSM_OK);
    run_pair(&client, &server, tokyo, f->london);
    assert_accepts(&client, "london", RUSM_ROLE_MEMBER, false);
    assert_accepts(&server, "tokyo", RUSM_ROLE_MEMBER, false);
    rusm_identity_get_info(tokyo, &info);
    assert_string_equal(server.peer.fingerprint, info.fingerprint);
    assert_int_equal(server.peer.not_after, info.not_after);
    fini_pair(&client, &server);
    rusm_identity_del(tokyo);
}

static void test_an_operator_may_dial(void **state)
{
    struct fixture *f = *state;
    rusm_identity *ops = NULL;
    struct end client, server;
    rusm_issue_config cfg;

    rusm_issue_config_init(&cfg);
    cfg.role = RUSM_ROLE_OPERATOR;
    assert_int_equal(rusm_ca_issue(f->ca, "ops", &cfg, &ops), RUSM_OK);
    run_pair(&client, &server, ops, f->london);
    assert_accepts(&server, "ops", RUSM_ROLE_OPERATOR, false);
    assert_accepts(&client, "london", RUSM_ROLE_MEMBER, false);
    fini_pair(&client, &server);
    rusm_identity_del(ops);
}

static void test_holders_of_a_shared_identity_accept_each_other(void **state)
{
    rusm_identity *shared = NULL;
    struct end client, server;

    (void)state;
    assert_int_equal(rusm_identity_generate(&shared, "prod"), RUSM_OK);
    run_pair(&client, &server, shared, shared);
    assert_accepts(&client, "*", RUSM_ROLE_MEMBER, true);
    assert_accepts(&server, "*", RUSM_ROLE_MEMBER, true);
    fini_pair(&client, &server);
    rusm_identity_del(shared);
}

/* What a refused peer leads to. */
struct refusal {
    enum support_bad kind;
    int alert;
    const char *text;     /* part of the sentence of the side that refuses */
    const char *heard_as; /* part of the sentence of the side that is refused */
    bool as_client, as_server;
};

static const struct refusal refusals[] = {
    {SUPPORT_BAD_FOREIGN_CA, GNUTLS_A_UNKNOWN_CA,
     "not issued by the CA of cluster \"prod\"; it claims to be \"tokyo\" of cluster \"prod\"",
     "does not trust the CA", true, true},
    {SUPPORT_BAD_SELF_SIGNED, GNUTLS_A_UNKNOWN_CA, "is self-signed", "does not trust the CA", true,
     true},
    {SUPPORT_BAD_FORGED_ISSUER, GNUTLS_A_BAD_CERTIFICATE, "that CA did not sign it", "damaged",
     true, true},
    {SUPPORT_BAD_NO_CERT, GNUTLS_A_CERTIFICATE_REQUIRED, "showed no certificate", "we showed none",
     true, false},
    {SUPPORT_BAD_EXPIRED, GNUTLS_A_CERTIFICATE_EXPIRED,
     "the certificate of \"tokyo\" expired on 20", "our certificate expired on 20", true, true},
    {SUPPORT_BAD_NOT_YET_VALID, GNUTLS_A_CERTIFICATE_EXPIRED,
     "the certificate of \"tokyo\" is not valid before 20", "our certificate is not valid before",
     true, true},
    {SUPPORT_BAD_CLIENT_ONLY, GNUTLS_A_UNSUPPORTED_CERTIFICATE, "not for use as a TLS server",
     "not for this use", false, true},
    {SUPPORT_BAD_SERVER_ONLY, GNUTLS_A_UNSUPPORTED_CERTIFICATE, "not for use as a TLS client",
     "not for this use", true, false},
    {SUPPORT_BAD_NO_PURPOSE, GNUTLS_A_UNSUPPORTED_CERTIFICATE, "not for use as a TLS",
     "not for this use", true, true},
    {SUPPORT_BAD_KEY_USAGE, GNUTLS_A_UNSUPPORTED_CERTIFICATE, "not for digital signatures",
     "not for this use", true, true},
    {SUPPORT_BAD_NO_USAGE, GNUTLS_A_UNSUPPORTED_CERTIFICATE, "not for digital signatures",
     "not for this use", true, true},
    {SUPPORT_BAD_CA_AS_LEAF, GNUTLS_A_UNSUPPORTED_CERTIFICATE, "certificate of a CA",
     "not for this use", true, true},
    {SUPPORT_BAD_SIGNING_LEAF, GNUTLS_A_UNSUPPORTED_CERTIFICATE, "certificate of a CA",
     "not for this use", true, true},
    {SUPPORT_BAD_NO_NAME, GNUTLS_A_CERTIFICATE_UNKNOWN,
     "no rusm certificate: it carries no rusm name", "no rusm certificate", true, true},
    {SUPPORT_BAD_TWO_NAMES, GNUTLS_A_CERTIFICATE_UNKNOWN, "more than one rusm name",
     "no rusm certificate", true, true},
    {SUPPORT_BAD_MALFORMED_NAME, GNUTLS_A_CERTIFICATE_UNKNOWN, "malformed", "no rusm certificate",
     true, true},
    {SUPPORT_BAD_OTHER_CLUSTER, GNUTLS_A_ACCESS_DENIED,
     "\"tokyo\" is of cluster \"elsewhere\", not of \"prod\"", "another cluster", true, true},
    {SUPPORT_BAD_WEAK_KEY, GNUTLS_A_BAD_CERTIFICATE, "too weak", "too weak", true, true},
};

static void check_refusal(struct fixture *f, const struct refusal *r, bool bad_is_server)
{
    rusm_identity *bad = support_identity_bad(r->kind, f->ca, "tokyo");
    struct end client, server, *judge, *refused;
    char heard[RUSMI_VERIFY_TEXT_MAX] = "nothing";

    run_liar(&client, &server, bad_is_server ? f->london : bad, bad_is_server ? bad : f->london,
             bad);
    judge = bad_is_server ? &client : &server;
    refused = bad_is_server ? &server : &client;
    (void)rusmi_verify_explain_alert(refused->alert_seen, bad, rusmi_wall_s(), heard,
                                     sizeof(heard));
    if (judge->code == 0 || judge->alert != r->alert || strstr(judge->text, r->text) == NULL ||
        refused->alert_seen != r->alert || strstr(heard, r->heard_as) == NULL) {
        fail_msg("%s as a %s: code %d (%s), alert %d, text \"%s\"; the other: code %d (%s), alert "
                 "%d, text \"%s\"",
                 support_bad_name(r->kind), bad_is_server ? "server" : "client", judge->code,
                 gnutls_strerror(judge->code), judge->alert, judge->text, refused->code,
                 gnutls_strerror(refused->code), refused->alert_seen, heard);
    }
    assert_string_equal(judge->peer.node, ""); /* a failed call has no effect */
    fini_pair(&client, &server);
    rusm_identity_del(bad);
}

static void test_a_server_refuses_every_bad_client(void **state)
{
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        if (refusals[i].as_client) {
            check_refusal(*state, &refusals[i], false);
        }
    }
}

static void test_a_client_refuses_every_bad_server(void **state)
{
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        if (refusals[i].as_server) {
            check_refusal(*state, &refusals[i], true);
        }
    }
}

static void test_one_purpose_is_enough_for_that_direction(void **state)
{
    struct fixture *f = *state;
    rusm_identity *dials = support_identity_bad(SUPPORT_BAD_CLIENT_ONLY, f->ca, "dials");
    rusm_identity *answers = support_identity_bad(SUPPORT_BAD_SERVER_ONLY, f->ca, "answers");
    struct end client, server;

    run_pair(&client, &server, dials, answers);
    assert_accepts(&client, "answers", RUSM_ROLE_MEMBER, false);
    assert_accepts(&server, "dials", RUSM_ROLE_MEMBER, false);
    fini_pair(&client, &server);
    rusm_identity_del(dials);
    rusm_identity_del(answers);
}

static void test_a_strong_rsa_certificate_is_accepted(void **state)
{
    struct fixture *f = *state;
    rusm_identity *rsa = support_identity_bad(SUPPORT_GOOD_RSA, f->ca, "rsa");
    struct end client, server;

    run_pair(&client, &server, rsa, f->london);
    assert_accepts(&server, "rsa", RUSM_ROLE_MEMBER, false);
    fini_pair(&client, &server);
    rusm_identity_del(rsa);
}

/* The name is the certificate's; comparing it with the hello's is the caller's part. */
static void test_the_name_is_the_certificates(void **state)
{
    struct fixture *f = *state;
    rusm_identity *other = support_identity_bad(SUPPORT_BAD_OTHER_NODE, f->ca, "tokyo");
    struct end client, server;

    run_pair(&client, &server, other, f->london);
    assert_accepts(&server, "impostor", RUSM_ROLE_MEMBER, false);
    fini_pair(&client, &server);
    rusm_identity_del(other);
}

static void test_an_operator_cannot_answer_as_a_node(void **state)
{
    struct fixture *f = *state;
    rusm_identity *ops = NULL;
    struct end client, server;
    rusm_issue_config cfg;

    rusm_issue_config_init(&cfg);
    cfg.role = RUSM_ROLE_OPERATOR;
    assert_int_equal(rusm_ca_issue(f->ca, "ops", &cfg, &ops), RUSM_OK);
    run_pair(&client, &server, f->london, ops);
    assert_int_equal(client.verdict, RUSM_EAUTH);
    assert_int_equal(client.alert, GNUTLS_A_ACCESS_DENIED);
    assert_non_null(strstr(client.text, "its certificate is an operator's"));
    fini_pair(&client, &server);
    rusm_identity_del(ops);
}

static void test_an_expired_ca_is_named(void **state)
{
    rusm_identity *tokyo = NULL;
    struct end client, server;
    rusm_ca *ca = NULL;

    (void)state;
    support_ca_expired("prod", "tokyo", &ca, &tokyo);
    run_pair(&client, &server, tokyo, tokyo);
    assert_int_equal(client.verdict, RUSM_EAUTH);
    assert_int_equal(client.alert, GNUTLS_A_CERTIFICATE_EXPIRED);
    assert_non_null(strstr(client.text, "the CA of \"prod\" expired on 20"));
    fini_pair(&client, &server);
    rusm_identity_del(tokyo);
    rusm_ca_del(ca);
}

/* Two clusters of one name do not mix, though each knows the name of the other's CA. */
static void test_a_shared_identity_does_not_open_another_cluster(void **state)
{
    struct fixture *f = *state;
    rusm_identity *shared = NULL;
    struct end client, server;

    assert_int_equal(rusm_identity_generate(&shared, "prod"), RUSM_OK);
    run_pair(&client, &server, shared, f->london);
    assert_int_equal(client.verdict, RUSM_EAUTH); /* london is as much a stranger to it */
    assert_int_equal(client.alert, GNUTLS_A_UNKNOWN_CA);
    assert_non_null(strstr(client.text, "it claims to be \"london\""));
    fini_pair(&client, &server);
    rusm_identity_del(shared);
}

static void test_codes_and_alerts_of_other_matters_are_not_explained(void **state)
{
    struct fixture *f = *state;
    char text[64] = "untouched";
    int alert = -1;
    struct rusmi_verify_rules rules = {.peer_is_server = true, .now_s = rusmi_wall_s()};

    assert_false(rusmi_verify_explain_code(NULL, f->london, &rules, GNUTLS_E_AGAIN, &alert, text,
                                           sizeof(text)));
    assert_false(rusmi_verify_explain_alert(GNUTLS_A_PROTOCOL_VERSION, f->london, rusmi_wall_s(),
                                            text, sizeof(text)));
    assert_int_equal(alert, -1);
    assert_string_equal(text, "untouched");
}

/* A certificate in its time, refused for its dates: the clocks differ, and the text says so. */
static void test_a_refusal_by_another_clock_is_explained(void **state)
{
    struct fixture *f = *state;
    char text[RUSMI_VERIFY_TEXT_MAX];

    assert_true(rusmi_verify_explain_alert(GNUTLS_A_CERTIFICATE_EXPIRED, f->london, rusmi_wall_s(),
                                           text, sizeof(text)));
    assert_non_null(strstr(text, "by the peer's clock"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members_accept_each_other),
        cmocka_unit_test(test_an_operator_may_dial),
        cmocka_unit_test(test_holders_of_a_shared_identity_accept_each_other),
        cmocka_unit_test(test_a_server_refuses_every_bad_client),
        cmocka_unit_test(test_a_client_refuses_every_bad_server),
        cmocka_unit_test(test_one_purpose_is_enough_for_that_direction),
        cmocka_unit_test(test_a_strong_rsa_certificate_is_accepted),
        cmocka_unit_test(test_the_name_is_the_certificates),
        cmocka_unit_test(test_an_operator_cannot_answer_as_a_node),
        cmocka_unit_test(test_an_expired_ca_is_named),
        cmocka_unit_test(test_a_shared_identity_does_not_open_another_cluster),
        cmocka_unit_test(test_codes_and_alerts_of_other_matters_are_not_explained),
        cmocka_unit_test(test_a_refusal_by_another_clock_is_explained),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
