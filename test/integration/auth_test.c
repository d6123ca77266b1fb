/* SPDX-License-Identifier: MIT */
/*
 * Mutual authentication between a node and a peer that must not come in, once as the one who dials
 * and once as the one who is dialed. Each is refused before anything of it is remembered, and each
 * side is told why as exactly as it can know: the judge by the certificate, the refused by the TLS
 * alert and its own certificate.
 *
 * The bad peer is a real node where a node can be started with such an identity, and a raw QUIC
 * connection where a node itself refuses to be that.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/certs.h"
#include "support/nodes.h"
#include "support/raw_peer.h"

static void expect_refused(rusm_err err)
{
    if (err != RUSM_EAUTH) {
        fail_msg("%s: %s", rusm_err_name(err), rusm_err_detail());
    }
}

static void expect_words(const char *text, const char *words)
{
    if (strstr(text, words) == NULL) {
        fail_msg("\"%s\" does not contain \"%s\"", text, words);
    }
}

/* Nothing of the refused peer is left at the judge: no link, no name, no message; and it counts one
 * refusal. */
static void expect_no_trace(struct support_node *judge, uint64_t handshakes)
{
    rusm_node_stats stats;
    rusm_name_info name;
    uint64_t cursor = 0;

    support_wait_stat(judge, offsetof(rusm_node_stats, refused_auth), 1);
    stats = support_stats(judge);
    assert_int_equal(stats.refused_auth, 1);
    assert_int_equal(stats.handshakes, handshakes);
    assert_int_equal(stats.protocol_errors, 0);
    assert_int_equal(stats.refused_full, 0);
    assert_int_equal(stats.refused_duplicate, 0);
    assert_int_equal(stats.messages_received, 0);
    assert_int_equal(support_peers(judge), 0);
    assert_int_equal(rusm_name_list(judge->node, &cursor, &name, 1), 0);
}

/* The judge still lets an honest peer in. */
static void expect_open_to_others(struct support_world *world, struct support_node *judge)
{
    struct support_node *honest = support_node_start(world, "honest");

    support_echo_start(judge);
    support_connect(honest, judge);
    support_exchange(honest, judge, 3, 100);
    assert_int_equal(support_peers(judge), 1);
}

static struct support_node *bad_node(struct support_world *world, rusm_identity *identity)
{
    rusm_node_config cfg = support_node_config();

    cfg.identity = identity;
    return support_node_start_with(world, "bad", &cfg);
}

/* ---- a real node that dials ------------------------------------------------------------------ */

/* handshakes: how many the judge counts; 1 where TLS itself has nothing against the peer. */
static void refuse_node_that_dials(void **state, rusm_identity *identity, uint64_t handshakes,
                                   const char *words)
{
    struct support_world *world = *state;
    struct support_node *judge = support_node_start(world, "judge");
    struct support_node *bad = bad_node(world, identity);
    char peer[RUSM_NAME_MAX + 1] = "untouched";

    rusm_identity_del(identity);
    expect_refused(
        rusm_node_connect(bad->node, rusm_node_address(judge->node), SUPPORT_DEADLINE_MS, peer));
    expect_words(rusm_err_detail(), words);
    assert_string_equal(peer, "untouched");
    expect_no_trace(judge, handshakes);
    assert_int_equal(support_peers(bad), 0);
    expect_open_to_others(world, judge);
}

static void refuse_kind_that_dials(void **state, enum support_bad kind, const char *words)
{
    struct support_world *world = *state;

    refuse_node_that_dials(state, support_identity_bad(kind, world->ca, "bad"), 0, words);
}

static void dialer_of_a_foreign_ca_is_refused(void **state)
{
    refuse_kind_that_dials(state, SUPPORT_BAD_FOREIGN_CA,
                           "(\"bad\" of cluster \"test\"): it does not trust the CA that issued "
                           "our certificate");
}

static void dialer_that_signed_itself_is_refused(void **state)
{
    refuse_kind_that_dials(state, SUPPORT_BAD_SELF_SIGNED,
                           "it does not trust the CA that issued our certificate");
}

static void dialer_with_a_forged_issuer_is_refused(void **state)
{
    refuse_kind_that_dials(state, SUPPORT_BAD_FORGED_ISSUER,
                           "our certificate is damaged, badly signed or too weak");
}

static void dialer_with_a_weak_key_is_refused(void **state)
{
    refuse_kind_that_dials(state, SUPPORT_BAD_WEAK_KEY,
                           "our certificate is damaged, badly signed or too weak");
}

static void dialer_whose_certificate_is_for_servers_only_is_refused(void **state)
{
    refuse_kind_that_dials(state, SUPPORT_BAD_SERVER_ONLY, "our certificate is not for this use");
}

static void dialer_whose_certificate_has_no_purpose_is_refused(void **state)
{
    refuse_kind_that_dials(state, SUPPORT_BAD_NO_PURPOSE, "our certificate is not for this use");
}

static void dialer_whose_certificate_has_no_key_usage_is_refused(void **state)
{
    refuse_kind_that_dials(state, SUPPORT_BAD_NO_USAGE, "our certificate is not for this use");
}

static void dialer_whose_certificate_may_sign_is_refused(void **state)
{
    refuse_kind_that_dials(state, SUPPORT_BAD_SIGNING_LEAF, "our certificate is not for this use");
}

static void dialer_without_a_rusm_name_is_refused(void **state)
{
    refuse_kind_that_dials(state, SUPPORT_BAD_NO_NAME,
                           "our certificate is no rusm certificate to it");
}

static void dialer_with_two_rusm_names_is_refused(void **state)
{
    refuse_kind_that_dials(state, SUPPORT_BAD_TWO_NAMES,
                           "our certificate is no rusm certificate to it");
}

static void dialer_with_a_malformed_rusm_name_is_refused(void **state)
{
    refuse_kind_that_dials(state, SUPPORT_BAD_MALFORMED_NAME,
                           "our certificate is no rusm certificate to it");
}

static void dialer_of_another_cluster_is_refused(void **state)
{
    refuse_kind_that_dials(state, SUPPORT_BAD_OTHER_CLUSTER,
                           "it is of another cluster, or our role is not allowed there");
}

static void dialer_whose_hello_has_not_the_certificates_name_is_refused(void **state)
{
    struct support_world *world = *state;

    refuse_node_that_dials(state, support_identity_bad(SUPPORT_BAD_OTHER_NODE, world->ca, "bad"), 1,
                           "the hello says \"bad\", the certificate is for \"impostor\"");
}

/* ---- a real node that is dialed -------------------------------------------------------------- */

static void refuse_node_that_listens(void **state, rusm_identity *identity, uint64_t handshakes,
                                     const char *words)
{
    struct support_world *world = *state;
    struct support_node *judge = support_node_start(world, "judge");
    struct support_node *bad = bad_node(world, identity);
    char peer[RUSM_NAME_MAX + 1] = "untouched";

    rusm_identity_del(identity);
    expect_refused(
        rusm_node_connect(judge->node, rusm_node_address(bad->node), SUPPORT_DEADLINE_MS, peer));
    expect_words(rusm_err_detail(), words);
    assert_string_equal(peer, "untouched");
    expect_no_trace(judge, handshakes);
    assert_int_equal(support_peers(bad), 0);
    expect_open_to_others(world, judge);
}

static void refuse_kind_that_listens(void **state, enum support_bad kind, const char *words)
{
    struct support_world *world = *state;

    refuse_node_that_listens(state, support_identity_bad(kind, world->ca, "bad"), 0, words);
}

static void listener_of_a_foreign_ca_is_refused(void **state)
{
    refuse_kind_that_listens(state, SUPPORT_BAD_FOREIGN_CA,
                             "not issued by the CA of cluster \"test\"; it claims to be \"bad\" of "
                             "cluster \"test\"");
}

static void listener_that_signed_itself_is_refused(void **state)
{
    refuse_kind_that_listens(state, SUPPORT_BAD_SELF_SIGNED,
                             "is self-signed, not issued by the CA of cluster \"test\"");
}

static void listener_with_a_forged_issuer_is_refused(void **state)
{
    refuse_kind_that_listens(state, SUPPORT_BAD_FORGED_ISSUER, "but that CA did not sign it");
}

static void listener_with_a_weak_key_is_refused(void **state)
{
    refuse_kind_that_listens(state, SUPPORT_BAD_WEAK_KEY, "too weak");
}

static void listener_whose_certificate_is_for_clients_only_is_refused(void **state)
{
    refuse_kind_that_listens(state, SUPPORT_BAD_CLIENT_ONLY,
                             "the certificate of \"bad\" is not for use as a TLS server");
}

static void listener_whose_certificate_has_no_purpose_is_refused(void **state)
{
    refuse_kind_that_listens(state, SUPPORT_BAD_NO_PURPOSE,
                             "the certificate of \"bad\" is not for use as a TLS server");
}

static void listener_whose_certificate_has_no_key_usage_is_refused(void **state)
{
    refuse_kind_that_listens(state, SUPPORT_BAD_NO_USAGE,
                             "the certificate of \"bad\" is not for digital signatures");
}

static void listener_whose_certificate_may_sign_is_refused(void **state)
{
    refuse_kind_that_listens(state, SUPPORT_BAD_SIGNING_LEAF,
                             "the certificate of a CA, not one of a node");
}

static void listener_without_a_rusm_name_is_refused(void **state)
{
    refuse_kind_that_listens(state, SUPPORT_BAD_NO_NAME, "it carries no rusm name");
}

static void listener_with_two_rusm_names_is_refused(void **state)
{
    refuse_kind_that_listens(state, SUPPORT_BAD_TWO_NAMES, "more than one rusm name");
}

static void listener_with_a_malformed_rusm_name_is_refused(void **state)
{
    refuse_kind_that_listens(state, SUPPORT_BAD_MALFORMED_NAME, "malformed");
}

static void listener_of_another_cluster_is_refused(void **state)
{
    refuse_kind_that_listens(state, SUPPORT_BAD_OTHER_CLUSTER,
                             "the peer \"bad\" is of cluster \"elsewhere\", not of \"test\"");
}

static void listener_whose_hello_has_not_the_certificates_name_is_refused(void **state)
{
    struct support_world *world = *state;

    refuse_node_that_listens(state, support_identity_bad(SUPPORT_BAD_OTHER_NODE, world->ca, "bad"),
                             1, "the hello says \"bad\", the certificate is for \"impostor\"");
}

static void listener_with_an_operators_certificate_is_refused(void **state)
{
    struct support_world *world = *state;
    rusm_issue_config cfg;
    rusm_identity *identity;

    rusm_issue_config_init(&cfg);
    cfg.role = RUSM_ROLE_OPERATOR;
    assert_int_equal(rusm_ca_issue(world->ca, "bad", &cfg, &identity), RUSM_OK);
    refuse_node_that_listens(state, identity, 0,
                             "\"bad\" answers as a node, but its certificate is an operator's");
}

/* Neither side trusts the other. The dialer judges first. */
static void nodes_of_two_clusters_refuse_each_other(void **state)
{
    struct support_world *world = *state;
    rusm_identity *identity;
    rusm_ca *ca;

    (void)world;
    assert_int_equal(rusm_ca_generate(&ca, "elsewhere", 2), RUSM_OK);
    assert_int_equal(rusm_ca_issue(ca, "bad", NULL, &identity), RUSM_OK);
    rusm_ca_del(ca);
    refuse_node_that_listens(state, identity, 0,
                             "it claims to be \"bad\" of cluster \"elsewhere\"");
}

/* ---- a raw peer that dials ------------------------------------------------------------------- */

static void refuse_raw_that_dials(void **state, enum support_bad kind, const char *words)
{
    struct support_world *world = *state;
    struct support_node *judge = support_node_start(world, "judge");
    rusm_identity *identity = support_identity_bad(kind, world->ca, "bad");
    struct support_raw *raw = support_raw_dial(identity, rusm_node_address(judge->node));
    const struct rusmi_quic_end *end = support_raw_end(raw);

    rusm_identity_del(identity);
    assert_int_equal(end->err, RUSM_EAUTH);
    assert_int_equal(end->cause, RUSMI_QUIC_REFUSED_PEER);
    expect_words(end->text, words);
    assert_int_equal(raw->frames[RUSMI_FRAME_HELLO], 0); /* the judge has told it nothing */
    expect_no_trace(judge, 0);
    support_raw_del(raw);
    expect_open_to_others(world, judge);
}

static void dialer_without_a_certificate_is_refused(void **state)
{
    refuse_raw_that_dials(state, SUPPORT_BAD_NO_CERT,
                          "it requires a certificate, and we showed none");
}

static void dialer_whose_certificate_expired_is_refused(void **state)
{
    refuse_raw_that_dials(state, SUPPORT_BAD_EXPIRED,
                          "the peer refused us: our certificate expired on");
}

static void dialer_whose_certificate_is_not_yet_valid_is_refused(void **state)
{
    refuse_raw_that_dials(state, SUPPORT_BAD_NOT_YET_VALID,
                          "the peer refused us: our certificate is not valid before");
}

static void expect_hello_refused(void **state, const char *cluster, const char *name,
                                 enum rusmi_close_code code, const char *words)
{
    struct support_world *world = *state;
    struct support_node *judge = support_node_start(world, "judge");
    rusm_identity *identity = support_identity(world, "bad");
    struct support_raw *raw = support_raw_dial(identity, rusm_node_address(judge->node));
    const struct rusmi_quic_end *end;

    rusm_identity_del(identity);
    assert_true(support_raw_run(raw, support_raw_is_authenticated, raw));
    support_raw_hello(raw, cluster, name);
    end = support_raw_end(raw);
    assert_int_equal(end->cause, RUSMI_QUIC_CLOSED_PEER);
    assert_int_equal(end->code, code);
    expect_words(end->text, words);
    expect_no_trace(judge, 1);
    support_raw_del(raw);
    expect_open_to_others(world, judge);
}

static void dialer_whose_hello_claims_another_node_is_refused(void **state)
{
    expect_hello_refused(state, SUPPORT_CLUSTER, "honest", RUSMI_CLOSE_NAME,
                         "the hello says \"honest\", the certificate is for \"bad\"");
}

static void dialer_whose_hello_claims_another_cluster_is_refused(void **state)
{
    expect_hello_refused(state, "elsewhere", "bad", RUSMI_CLOSE_CLUSTER,
                         "the hello is for cluster \"elsewhere\", this is cluster \"test\"");
}

/* ---- a raw peer that is dialed --------------------------------------------------------------- */

/* Its hello goes out once TLS is done. */
struct raw_listener {
    struct support_raw *raw;
    struct support_dial *dial;
    const char *cluster, *name; /* of the hello; NULL: none */
};

static bool raw_listener_done(void *arg)
{
    struct raw_listener *listener = arg;

    if (listener->raw->authenticated && listener->name != NULL) {
        support_raw_hello(listener->raw, listener->cluster, listener->name);
        listener->name = NULL;
    }
    return support_dial_is_done(listener->dial) && support_raw_is_ended(listener->raw);
}

static struct support_dial raw_dial;

static void refuse_raw_that_listens(void **state, rusm_identity *identity, const char *cluster,
                                    const char *name, uint64_t handshakes, const char *words)
{
    struct support_world *world = *state;
    struct support_node *judge = support_node_start(world, "judge");
    struct support_raw *raw = support_raw_listen(identity);
    struct raw_listener listener = {raw, &raw_dial, cluster, name};

    rusm_identity_del(identity);
    support_dial_start(&raw_dial, judge, raw->address, SUPPORT_DEADLINE_MS);
    assert_true(support_raw_run(raw, raw_listener_done, &listener));
    if (raw_dial.err != RUSM_EAUTH) {
        fail_msg("%s: %s", rusm_err_name(raw_dial.err), raw_dial.detail);
    }
    expect_words(raw_dial.detail, words);
    assert_string_equal(raw_dial.peer, "");
    expect_no_trace(judge, handshakes);
    support_raw_del(raw);
    expect_open_to_others(world, judge);
}

static void listener_whose_certificate_expired_is_refused(void **state)
{
    struct support_world *world = *state;

    refuse_raw_that_listens(state, support_identity_bad(SUPPORT_BAD_EXPIRED, world->ca, "bad"),
                            NULL, NULL, 0, "the certificate of \"bad\" expired on");
}

static void listener_whose_certificate_is_not_yet_valid_is_refused(void **state)
{
    struct support_world *world = *state;

    refuse_raw_that_listens(state,
                            support_identity_bad(SUPPORT_BAD_NOT_YET_VALID, world->ca, "bad"), NULL,
                            NULL, 0, "the certificate of \"bad\" is not valid before");
}

static void listener_whose_hello_claims_another_node_is_refused(void **state)
{
    refuse_raw_that_listens(state, support_identity(*state, "bad"), SUPPORT_CLUSTER, "honest", 1,
                            "the hello says \"honest\", the certificate is for \"bad\"");
}

static void listener_whose_hello_claims_another_cluster_is_refused(void **state)
{
    refuse_raw_that_listens(state, support_identity(*state, "bad"), "elsewhere", "bad", 1,
                            "the hello is for cluster \"elsewhere\", this is cluster \"test\"");
}

/* TLS 1.3 has no server without a certificate: such a one fails by itself, and its dialer hears
 * so. */
static void listener_without_a_certificate_never_answers_for_itself(void **state)
{
    struct support_world *world = *state;
    struct support_node *judge = support_node_start(world, "judge");
    rusm_identity *identity = support_identity_bad(SUPPORT_BAD_NO_CERT, world->ca, "bad");
    struct support_raw *raw = support_raw_listen(identity);
    struct raw_listener listener = {raw, &raw_dial, NULL, NULL};

    rusm_identity_del(identity);
    support_dial_start(&raw_dial, judge, raw->address, SUPPORT_DEADLINE_MS);
    assert_true(support_raw_run(raw, raw_listener_done, &listener));
    assert_int_equal(raw_dial.err, RUSM_EAUTH);
    expect_words(raw_dial.detail, "there are no TLS parameters in common");
    assert_int_equal(support_peers(judge), 0);
    assert_int_equal(support_stats(judge).handshakes, 0);
    support_raw_del(raw);
    expect_open_to_others(world, judge);
}

/* ---- those who are let in -------------------------------------------------------------------- */

static void honest_raw_peer_is_let_in(void **state)
{
    struct support_world *world = *state;
    struct support_node *judge = support_node_start(world, "judge");
    rusm_identity *identity = support_identity(world, "raw");
    struct support_raw *raw = support_raw_dial(identity, rusm_node_address(judge->node));

    rusm_identity_del(identity);
    support_raw_join(raw, "raw");
    support_wait_peer(judge, "raw", true);
    assert_int_equal(support_stats(judge).refused_auth, 0);
    support_raw_del(raw);
}

static void one_purpose_is_enough_for_its_direction(void **state)
{
    struct support_world *world = *state;
    rusm_node_config cfg = support_node_config();
    struct support_node *dials, *answers;

    cfg.identity = support_identity_bad(SUPPORT_BAD_CLIENT_ONLY, world->ca, "dials");
    dials = support_node_start_with(world, "dials", &cfg);
    rusm_identity_del(cfg.identity);
    cfg.identity = support_identity_bad(SUPPORT_BAD_SERVER_ONLY, world->ca, "answers");
    answers = support_node_start_with(world, "answers", &cfg);
    rusm_identity_del(cfg.identity);
    support_connect(dials, answers);
}

static void rsa_certificate_is_let_in(void **state)
{
    struct support_world *world = *state;
    rusm_node_config cfg = support_node_config();
    struct support_node *judge = support_node_start(world, "judge");

    cfg.identity = support_identity_bad(SUPPORT_GOOD_RSA, world->ca, "rsa");
    support_connect(support_node_start_with(world, "rsa", &cfg), judge);
    rusm_identity_del(cfg.identity);
}

#define CASE(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, support_world_setup, support_world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(dialer_of_a_foreign_ca_is_refused),
        CASE(dialer_that_signed_itself_is_refused),
        CASE(dialer_with_a_forged_issuer_is_refused),
        CASE(dialer_with_a_weak_key_is_refused),
        CASE(dialer_whose_certificate_is_for_servers_only_is_refused),
        CASE(dialer_whose_certificate_has_no_purpose_is_refused),
        CASE(dialer_whose_certificate_has_no_key_usage_is_refused),
        CASE(dialer_whose_certificate_may_sign_is_refused),
        CASE(dialer_without_a_rusm_name_is_refused),
        CASE(dialer_with_two_rusm_names_is_refused),
        CASE(dialer_with_a_malformed_rusm_name_is_refused),
        CASE(dialer_of_another_cluster_is_refused),
        CASE(dialer_whose_hello_has_not_the_certificates_name_is_refused),
        CASE(listener_of_a_foreign_ca_is_refused),
        CASE(listener_that_signed_itself_is_refused),
        CASE(listener_with_a_forged_issuer_is_refused),
        CASE(listener_with_a_weak_key_is_refused),
        CASE(listener_whose_certificate_is_for_clients_only_is_refused),
        CASE(listener_whose_certificate_has_no_purpose_is_refused),
        CASE(listener_whose_certificate_has_no_key_usage_is_refused),
        CASE(listener_whose_certificate_may_sign_is_refused),
        CASE(listener_without_a_rusm_name_is_refused),
        CASE(listener_with_two_rusm_names_is_refused),
        CASE(listener_with_a_malformed_rusm_name_is_refused),
        CASE(listener_of_another_cluster_is_refused),
        CASE(listener_whose_hello_has_not_the_certificates_name_is_refused),
        CASE(listener_with_an_operators_certificate_is_refused),
        CASE(nodes_of_two_clusters_refuse_each_other),
        CASE(dialer_without_a_certificate_is_refused),
        CASE(dialer_whose_certificate_expired_is_refused),
        CASE(dialer_whose_certificate_is_not_yet_valid_is_refused),
        CASE(dialer_whose_hello_claims_another_node_is_refused),
        CASE(dialer_whose_hello_claims_another_cluster_is_refused),
        CASE(listener_whose_certificate_expired_is_refused),
        CASE(listener_whose_certificate_is_not_yet_valid_is_refused),
        CASE(listener_whose_hello_claims_another_node_is_refused),
        CASE(listener_whose_hello_claims_another_cluster_is_refused),
        CASE(listener_without_a_certificate_never_answers_for_itself),
        CASE(honest_raw_peer_is_let_in),
        CASE(one_purpose_is_enough_for_its_direction),
        CASE(rsa_certificate_is_let_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
