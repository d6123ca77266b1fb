/* SPDX-License-Identifier: MIT */
/*
 * Certificates on live nodes: replaced, rolled over to another CA, revoked and expired while links
 * are up and messages flow.
 *
 * The test's own thread is entered into node a's runtime where it wants to hear of nodes that come
 * and go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/reload.h"
#include "platform/wall.h"
#include "support/nodes.h"
#include "support/procs.h"
#include "support/raw_peer.h"
#include "trust/proof.h"

#include <stdio.h>
#include <string.h>

/* ---- identities ------------------------------------------------------------------------------ */

#define MUST(call) must((call), #call, __LINE__)

static void must(rusm_err err, const char *what, int line)
{
    if (err != RUSM_OK) {
        print_error("%s:%d: %s: %s (%s)\n", __FILE__, line, what, rusm_err_name(err),
                    rusm_err_detail());
        fail();
    }
}

static rusm_ca *new_ca(void)
{
    rusm_ca *ca = NULL;

    MUST(rusm_ca_generate(&ca, SUPPORT_CLUSTER, 30));
    return ca;
}

/* An identity issued by ca that ends at that time (0: its default), with trust of its own. */
static rusm_identity *identity_of(const rusm_ca *ca, const char *name, int64_t not_after,
                                  const rusm_ca *const *cas, size_t cas_len,
                                  const rusm_crl *const *crls, size_t crls_len)
{
    rusm_identity *plain = NULL, *made = NULL;
    rusm_issue_config cfg;

    rusm_issue_config_init(&cfg);
    cfg.not_after = not_after;
    MUST(rusm_ca_issue(ca, name, &cfg, &plain));
    MUST(rusm_identity_with_trust(plain, cas, cas_len, crls, crls_len, &made));
    rusm_identity_del(plain);
    return made;
}

static void reload(struct support_node *node, rusm_identity *identity)
{
    MUST(rusm_node_reload(node->node, identity));
    rusm_identity_del(identity);
}

/* Reload a node with a fresh certificate of ca, and that trust. */
static void renew(struct support_node *node, const rusm_ca *ca, int64_t not_after,
                  const rusm_ca *const *cas, size_t cas_len)
{
    reload(node, identity_of(ca, rusm_node_name(node->node), not_after, cas, cas_len, NULL, 0));
}

static rusm_crl *crl_of(const rusm_ca *ca)
{
    rusm_crl *crl = NULL;

    MUST(rusm_ca_crl(ca, NULL, &crl));
    return crl;
}

struct wish {
    struct support_node *node;
    const char *peer;
    int64_t not_after;
};

static bool peer_ends_at(void *arg)
{
    const struct wish *wish = arg;
    rusm_peer_info info;

    assert_true(support_peer_find(wish->node, wish->peer, &info)); /* it never goes meanwhile */
    return info.cert_not_after == wish->not_after;
}

/* Wait until a node knows the certificate of its peer that ends at that time. */
static void wait_shown(struct support_node *node, const char *peer, int64_t not_after)
{
    struct wish wish = {node, peer, not_after};

    assert_true(support_wait(peer_ends_at, &wish));
}

/* ---- node events ----------------------------------------------------------------------------- */

static void listen_to_nodes(struct support_node *node)
{
    MUST(rusm_thread_enter(node->runtime, "test"));
    MUST(rusm_monitor_nodes(true));
}

/* The next event says that the node was lost for that cause, in those words. */
static void expect_down(const char *name, rusm_down_cause cause, const char *words)
{
    const rusm_node_event *event;
    rusm_msg *msg = NULL;

    MUST(rusm_receive(&msg, SUPPORT_DEADLINE_MS));
    event = rusm_msg_node_event(msg);
    assert_non_null(event);
    assert_false(event->up);
    assert_string_equal(event->node, name);
    assert_int_equal(event->cause, cause);
    if (strstr(event->text, words) == NULL) {
        print_error("not in \"%s\": %s\n", event->text, words);
        fail();
    }
    rusm_msg_del(msg);
}

/* ---- traffic --------------------------------------------------------------------------------- */

static struct {
    atomic_uint sent, got;
    atomic_bool stop, broken;
} traffic;

static void sink(void *arg)
{
    (void)arg;
    for (;;) {
        unsigned number = 0, wanted = atomic_load(&traffic.got);
        rusm_msg *msg = NULL;

        if (rusm_receive(&msg, RUSM_INFINITY) != RUSM_OK) {
            return;
        }
        memcpy(&number, rusm_msg_data(msg), sizeof(number));
        rusm_msg_del(msg);
        if (number != wanted) {
            atomic_store(&traffic.broken, true);
        }
        atomic_store(&traffic.got, wanted + 1);
    }
}

static void source(void *arg)
{
    (void)arg;
    while (!atomic_load(&traffic.stop)) {
        unsigned number = atomic_load(&traffic.sent);

        if (rusm_node_send(NULL, "b", "sink", &number, sizeof(number)) != RUSM_OK) {
            atomic_store(&traffic.broken, true);
            return;
        }
        atomic_store(&traffic.sent, number + 1);
        rusm_yield();
    }
}

static bool traffic_got(void *arg)
{
    return atomic_load(&traffic.broken) || atomic_load(&traffic.got) >= *(unsigned *)arg;
}

/* Wait until so many more messages have come. */
static void more_messages(unsigned count)
{
    count += atomic_load(&traffic.got);
    assert_true(support_wait(traffic_got, &count));
    assert_false(atomic_load(&traffic.broken));
}

/* Stop sending; everything that was sent arrives. */
static void all_messages(rusm_pid from)
{
    unsigned sent;

    atomic_store(&traffic.stop, true);
    support_wait_end(from);
    sent = atomic_load(&traffic.sent);
    assert_true(support_wait(traffic_got, &sent));
    assert_false(atomic_load(&traffic.broken));
    assert_int_equal(atomic_load(&traffic.got), sent);
}

/* ---- replacing ------------------------------------------------------------------------------- */

/* The whole roll-over, with messages under way at every step. */
static void test_everything_is_replaced_under_traffic(void **state)
{
    struct support_world *world = *state;
    struct support_node *a = support_node_start(world, "a"), *b = support_node_start(world, "b");
    rusm_ca *next = new_ca();
    const rusm_ca *both[] = {world->ca, next}, *last[] = {next};
    int64_t now_s = rusmi_wall_s();
    rusm_crl *crls[] = {crl_of(world->ca), crl_of(next)};
    rusm_peer_info before, after;
    rusm_spawn_config cfg;
    rusm_pid from;

    rusm_spawn_config_init(&cfg);
    cfg.name = "sink";
    MUST(rusm_spawn_with(b->runtime, sink, NULL, &cfg, NULL));
    support_connect(a, b);
    assert_true(support_peer_find(a, "b", &before));
    MUST(rusm_spawn(a->runtime, source, NULL, &from));
    more_messages(100);
    /* Certificate and key, by the same CA. */
    renew(a, world->ca, now_s + 1000, both, 1);
    renew(b, world->ca, now_s + 1001, both, 1);
    wait_shown(b, "a", now_s + 1000);
    wait_shown(a, "b", now_s + 1001);
    more_messages(100);
    /* A second anchor, and revocation lists. */
    reload(a, identity_of(world->ca, "a", now_s + 1002, both, 2, (const rusm_crl *const *)crls, 2));
    reload(b, identity_of(world->ca, "b", now_s + 1003, both, 2, (const rusm_crl *const *)crls, 1));
    wait_shown(b, "a", now_s + 1002);
    wait_shown(a, "b", now_s + 1003);
    more_messages(100);
    /* Certificates of the next CA, and then the first is trusted no more. */
    renew(a, next, now_s + 1004, both, 2);
    renew(b, next, now_s + 1005, both, 2);
    wait_shown(b, "a", now_s + 1004);
    wait_shown(a, "b", now_s + 1005);
    more_messages(100);
    renew(a, next, now_s + 1006, last, 1);
    renew(b, next, now_s + 1007, last, 1);
    wait_shown(b, "a", now_s + 1006);
    wait_shown(a, "b", now_s + 1007);
    more_messages(100);
    all_messages(from);
    assert_true(support_peer_find(a, "b", &after));
    assert_true(after.up_ms >= before.up_ms);
    assert_int_equal(support_stats(a).handshakes, 1);
    assert_int_equal(support_stats(b).handshakes, 1);
    assert_int_equal(support_stats(a).certs_refused + support_stats(b).certs_refused, 0);
    /* Whoever comes with the first CA's certificate is a stranger now. */
    {
        struct support_node *late = support_node_start(world, "late");

        assert_int_equal(
            rusm_node_connect(late->node, rusm_node_address(a->node), SUPPORT_DEADLINE_MS, NULL),
            RUSM_EAUTH);
    }
    rusm_crl_del(crls[0]);
    rusm_crl_del(crls[1]);
    rusm_ca_del(next);
}

/* A certificate that a peer does not trust yet waits there until it does. */
static void test_anchors_may_come_after_certificates(void **state)
{
    struct support_world *world = *state;
    struct support_node *a = support_node_start(world, "a"), *b = support_node_start(world, "b");
    rusm_ca *next = new_ca();
    const rusm_ca *both[] = {world->ca, next}, *last[] = {next};
    int64_t now_s = rusmi_wall_s();
    rusm_peer_info info;

    support_connect(a, b);
    renew(a, next, now_s + 1000, both, 2);
    support_wait_stat(b, offsetof(rusm_node_stats, certs_refused), 1);
    assert_true(support_peer_find(b, "a", &info));
    assert_true(info.cert_not_after != now_s + 1000); /* the old one is in use */
    renew(b, world->ca, now_s + 1001, both, 2);
    wait_shown(b, "a", now_s + 1000);
    wait_shown(a, "b", now_s + 1001);
    renew(b, next, now_s + 1002, last, 1);
    wait_shown(a, "b", now_s + 1002);
    support_echo_start(b);
    support_exchange(a, b, 10, 64);
    assert_int_equal(support_stats(b).handshakes, 1);
    rusm_ca_del(next);
}

static void refuse(struct support_node *node, rusm_identity *identity, rusm_err err,
                   const char *words)
{
    rusm_err got = rusm_node_reload(node->node, identity);

    if (got != err || strstr(rusm_err_detail(), words) == NULL) {
        print_error("%s: %s; wanted \"%s\"\n", rusm_err_name(got), rusm_err_detail(), words);
        fail();
    }
    rusm_identity_del(identity);
}

static void test_an_identity_of_another_changes_nothing(void **state)
{
    struct support_world *world = *state;
    struct support_node *a = support_node_start(world, "a"), *b = support_node_start(world, "b");
    const rusm_ca *cas[] = {world->ca};
    rusm_identity *identity = NULL, *revoked = NULL;
    rusm_crl *crl;
    rusm_ca *elsewhere = NULL;
    rusm_node_trust before, after;
    rusm_issue_config cfg;
    rusm_cert_info info;

    support_connect(a, b);
    MUST(rusm_node_get_trust(a->node, &before));
    assert_int_equal(rusm_node_reload(a->node, NULL), RUSM_EINVAL);
    refuse(a, support_identity(world, "b"), RUSM_EAUTH, "for node b, not for a");
    refuse(a, support_identity_role(world, "a", RUSM_ROLE_OPERATOR), RUSM_EAUTH, "operator");
    MUST(rusm_ca_generate(&elsewhere, "elsewhere", 30));
    MUST(rusm_ca_issue(elsewhere, "a", NULL, &identity));
    refuse(a, identity, RUSM_EAUTH, "of cluster elsewhere");
    rusm_ca_del(elsewhere);
    rusm_issue_config_init(&cfg);
    cfg.not_before = rusmi_wall_s() - 100;
    cfg.not_after = rusmi_wall_s() - 50;
    MUST(rusm_ca_issue(world->ca, "a", &cfg, &identity));
    refuse(a, identity, RUSM_ECERT, "expired on");
    /* One that its own list revokes. */
    identity = support_identity(world, "a");
    rusm_identity_get_info(identity, &info);
    MUST(rusm_ca_revoke_serial(world->ca, info.serial, RUSM_REVOKE_UNSPECIFIED, NULL));
    crl = crl_of(world->ca);
    MUST(rusm_identity_with_trust(identity, cas, 1, (const rusm_crl *const *)&crl, 1, &revoked));
    refuse(a, revoked, RUSM_ECERT, "was revoked on");
    rusm_crl_del(crl);
    rusm_identity_del(identity);
    MUST(rusm_node_get_trust(a->node, &after));
    assert_int_equal(after.reloads, 0);
    assert_string_equal(after.own.fingerprint, before.own.fingerprint);
    support_echo_start(b);
    support_exchange(a, b, 10, 64);
}

static void test_trust_is_shown(void **state)
{
    struct support_world *world = *state;
    struct support_node *a = support_node_start(world, "a");
    rusm_ca *next = new_ca();
    const rusm_ca *both[] = {world->ca, next};
    rusm_crl *crl = crl_of(next);
    int64_t end = rusmi_wall_s() + 1000;
    rusm_node_trust trust;
    rusm_crl_info info;

    MUST(rusm_node_get_trust(a->node, &trust));
    assert_int_equal(trust.anchors_len, 1);
    assert_int_equal(trust.crls_len, 0);
    assert_int_equal(trust.crl_next_update, 0);
    reload(a, identity_of(world->ca, "a", end, both, 2, (const rusm_crl *const *)&crl, 1));
    MUST(rusm_node_get_trust(a->node, &trust));
    rusm_crl_get_info(crl, &info);
    assert_int_equal(trust.anchors_len, 2);
    assert_int_equal(trust.crls_len, 1);
    assert_int_equal(trust.crl_next_update, info.next_update);
    assert_int_equal(trust.own.not_after, end);
    assert_int_equal(trust.reloads, 1);
    rusm_crl_del(crl);
    rusm_ca_del(next);
}

/* ---- taking back ----------------------------------------------------------------------------- */

/* a and c hear that b is revoked. */
static void test_a_revoked_peer_is_cut_and_stays_out(void **state)
{
    struct support_world *world = *state;
    struct support_node *a = support_node_start(world, "a"), *b = support_node_start(world, "b"),
                        *c = support_node_start(world, "c");
    const rusm_ca *cas[] = {world->ca};
    rusm_node_trust lost;
    rusm_crl *crl;
    char words[128];

    support_connect(a, b);
    support_connect(c, a);
    support_echo_start(c);
    listen_to_nodes(a);
    MUST(rusm_node_get_trust(b->node, &lost));
    MUST(rusm_ca_revoke_serial(world->ca, lost.own.serial, RUSM_REVOKE_KEY_COMPROMISE, NULL));
    crl = crl_of(world->ca);
    reload(a, identity_of(world->ca, "a", 0, cas, 1, (const rusm_crl *const *)&crl, 1));
    (void)snprintf(words, sizeof(words), "the certificate of \"b\", serial %s, was revoked on 2",
                   lost.own.serial);
    expect_down("b", RUSM_DOWN_REVOKED, words);
    rusm_thread_leave();
    support_wait_peer(b, "a", false);
    assert_int_equal(support_stats(a).refused_auth, 1);
    /* It is told why, whoever dials, and the other is undisturbed. */
    assert_int_equal(
        rusm_node_connect(b->node, rusm_node_address(a->node), SUPPORT_DEADLINE_MS, NULL),
        RUSM_EAUTH);
    assert_non_null(strstr(rusm_err_detail(), "our certificate is revoked"));
    assert_int_equal(
        rusm_node_connect(a->node, rusm_node_address(b->node), SUPPORT_DEADLINE_MS, NULL),
        RUSM_EAUTH);
    assert_non_null(strstr(rusm_err_detail(), "was revoked on"));
    support_exchange(a, c, 10, 64);
    assert_int_equal(support_stats(c).handshakes, 1);
    /* With another certificate it may come back. */
    renew(b, world->ca, 0, cas, 1);
    support_connect(b, a);
    rusm_crl_del(crl);
}

/* Whatever moment of a handshake the revocation falls into: nobody gets past it. */
static void test_no_handshake_slips_past_a_reload(void **state)
{
    static struct support_dial dials[24]; /* each outlives its node */
    struct support_world *world = *state;
    struct support_node *a = support_node_start(world, "a"), *b = support_node_start(world, "b");
    const rusm_ca *cas[] = {world->ca};
    rusm_identity *open = identity_of(world->ca, "a", 0, cas, 1, NULL, 0), *shut;
    rusm_crl *crl;

    MUST(rusm_ca_revoke_node(world->ca, "b", RUSM_REVOKE_UNSPECIFIED, NULL));
    crl = crl_of(world->ca);
    shut = identity_of(world->ca, "a", 0, cas, 1, (const rusm_crl *const *)&crl, 1);
    for (unsigned i = 0; i < 24; i++) {
        MUST(rusm_node_reload(a->node, open));
        support_dial_start(&dials[i], b, rusm_node_address(a->node), SUPPORT_DEADLINE_MS);
        for (unsigned turn = 0; turn < i * 400; turn++) {
            (void)support_stats(a); /* another moment each time */
        }
        MUST(rusm_node_reload(a->node, shut));
        assert_true(support_wait(support_dial_is_done, &dials[i]));
        support_wait_peer(a, "b", false);
        support_wait_peer(b, "a", false);
    }
    rusm_crl_del(crl);
    rusm_identity_del(open);
    rusm_identity_del(shut);
}

/* A peer that has shown another certificate is judged by that one alone. */
static void test_a_replaced_certificate_may_be_revoked(void **state)
{
    struct support_world *world = *state;
    struct support_node *a = support_node_start(world, "a"), *b = support_node_start(world, "b");
    const rusm_ca *cas[] = {world->ca};
    int64_t now_s = rusmi_wall_s();
    rusm_node_trust old;
    rusm_crl *crl;

    support_connect(a, b);
    MUST(rusm_node_get_trust(b->node, &old));
    renew(b, world->ca, now_s + 1000, cas, 1);
    wait_shown(a, "b", now_s + 1000);
    MUST(rusm_ca_revoke_serial(world->ca, old.own.serial, RUSM_REVOKE_SUPERSEDED, NULL));
    crl = crl_of(world->ca);
    reload(a, identity_of(world->ca, "a", now_s + 1001, cas, 1, (const rusm_crl *const *)&crl, 1));
    wait_shown(b, "a", now_s + 1001);
    support_echo_start(b);
    support_exchange(a, b, 10, 64);
    assert_int_equal(support_stats(a).handshakes, 1);
    rusm_crl_del(crl);
}

/* b shows a certificate that ends soon; where that is not replaced, the link ends with it. */
static void test_an_expired_certificate_ends_the_link(void **state)
{
    struct support_world *world = *state;
    struct support_node *a = support_node_start(world, "a"), *b = support_node_start(world, "b");
    const rusm_ca *cas[] = {world->ca};
    int64_t end;
    rusm_err err;

    support_connect(a, b);
    listen_to_nodes(a);
    do {
        rusm_identity *brief;

        end = rusmi_wall_s() + 2;
        brief = identity_of(world->ca, "b", end, cas, 1, NULL, 0);
        err = rusm_node_reload(b->node, brief); /* too late on a machine that is very busy */
        rusm_identity_del(brief);
    } while (err == RUSM_ECERT);
    MUST(err);
    expect_down("b", RUSM_DOWN_REVOKED, "the certificate of \"b\" expired on 2");
    rusm_thread_leave();
    assert_true(rusmi_wall_s() > end);
    assert_int_equal(
        rusm_node_connect(a->node, rusm_node_address(b->node), SUPPORT_DEADLINE_MS, NULL),
        RUSM_EAUTH);
    assert_non_null(strstr(rusm_err_detail(), "expired on"));
}

static bool is_past(void *arg)
{
    return rusmi_wall_s() > *(int64_t *)arg;
}

static void test_a_renewed_certificate_keeps_the_link(void **state)
{
    struct support_world *world = *state;
    struct support_node *a = support_node_start(world, "a"), *b = support_node_start(world, "b");
    const rusm_ca *cas[] = {world->ca};
    int64_t end, later = rusmi_wall_s() + 1000;
    rusm_err err;

    support_connect(a, b);
    do {
        rusm_identity *brief;

        end = rusmi_wall_s() + 2;
        brief = identity_of(world->ca, "b", end, cas, 1, NULL, 0);
        err = rusm_node_reload(b->node, brief);
        rusm_identity_del(brief);
    } while (err == RUSM_ECERT);
    MUST(err);
    renew(b, world->ca, later, cas, 1);
    wait_shown(a, "b", later);
    end++;
    assert_true(support_wait(is_past, &end));
    support_echo_start(b);
    support_exchange(a, b, 10, 64);
    assert_int_equal(support_stats(a).handshakes, 1);
}

/* ---- lists that are overdue ------------------------------------------------------------------ */

static void test_overdue_lists(void **state)
{
    struct support_world *world = *state;
    rusm_node_config cfg = support_node_config();
    struct support_node *strict, *lax, *b = support_node_start(world, "b");
    const rusm_ca *cas[] = {world->ca};
    rusm_crl *fresh = crl_of(world->ca), *old = NULL;
    rusm_crl_config crl_cfg;

    rusm_crl_config_init(&crl_cfg);
    crl_cfg.this_update = rusmi_wall_s() - 100;
    crl_cfg.next_update = rusmi_wall_s() - 50;
    MUST(rusm_ca_crl(world->ca, &crl_cfg, &old));
    /* Used as it is, and counted. */
    lax = support_node_start(world, "lax");
    reload(lax, identity_of(world->ca, "lax", 0, cas, 1, (const rusm_crl *const *)&old, 1));
    support_connect(lax, b);
    assert_int_equal(support_stats(lax).crl_stale, 1);
    /* Refused where strictness was asked for: without a list, and with an old one. */
    cfg.crl_strict = true;
    strict = support_node_start_with(world, "strict", &cfg);
    assert_int_equal(
        rusm_node_connect(strict->node, rusm_node_address(b->node), SUPPORT_DEADLINE_MS, NULL),
        RUSM_EAUTH);
    assert_non_null(strstr(rusm_err_detail(), "no revocation list"));
    reload(strict, identity_of(world->ca, "strict", 0, cas, 1, (const rusm_crl *const *)&fresh, 1));
    support_connect(strict, b);
    /* A link that is up stays. */
    reload(strict, identity_of(world->ca, "strict", 0, cas, 1, (const rusm_crl *const *)&old, 1));
    support_echo_start(b);
    support_exchange(strict, b, 10, 64);
    assert_int_equal(
        rusm_node_connect(lax->node, rusm_node_address(strict->node), SUPPORT_DEADLINE_MS, NULL),
        RUSM_EAUTH);
    assert_int_equal(support_stats(strict).crl_stale, 0);
    rusm_crl_del(fresh);
    rusm_crl_del(old);
}

/* ---- liars ----------------------------------------------------------------------------------- */

/* Show the node a certificate with that proof. */
static void show(struct support_raw *raw, const struct rusmi_proof *proof)
{
    struct rusmi_frame frame = {.type = RUSMI_FRAME_CERTIFICATE};

    frame.u.certificate = (struct rusmi_certificate){proof->der.data, proof->der.size,
                                                     proof->signature.data, proof->signature.size};
    support_raw_frame(raw, &frame);
}

static void expect_end(struct support_raw *raw, enum rusmi_close_code code, const char *words)
{
    const struct rusmi_quic_end *end = support_raw_end(raw);

    assert_int_equal(end->cause, RUSMI_QUIC_CLOSED_PEER);
    assert_int_equal(end->code, code);
    assert_non_null(strstr(end->text, words));
    support_raw_del(raw);
}

static struct support_raw *join(struct support_node *a, rusm_identity *identity, const char *name)
{
    struct support_raw *raw = support_raw_dial(identity, rusm_node_address(a->node));

    support_raw_join(raw, name);
    support_wait_peer(a, name, true);
    return raw;
}

static void test_a_certificate_without_its_key_is_refused(void **state)
{
    struct support_world *world = *state;
    struct support_node *a = support_node_start(world, "a");
    rusm_identity *liar = support_identity(world, "liar"), *victim = support_identity(world, "v");
    struct support_raw *raw = join(a, liar, "liar");
    struct rusmi_proof proof = {.der = {NULL, 0}}, mine = {.der = {NULL, 0}};

    /* The victim's certificate, signed with our own key. */
    MUST(rusmi_proof_init(&proof, victim, rusmi_quic_conn_binding(raw->conn), true));
    MUST(rusmi_proof_init(&mine, liar, rusmi_quic_conn_binding(raw->conn), true));
    show(raw, &(struct rusmi_proof){proof.der, mine.signature});
    expect_end(raw, RUSMI_CLOSE_PROTOCOL, "without having its key");
    /* A proof from another session. */
    raw = join(a, liar, "liar");
    show(raw, &mine);
    expect_end(raw, RUSMI_CLOSE_PROTOCOL, "without having its key");
    rusmi_proof_fini(&proof);
    rusmi_proof_fini(&mine);
    /* The other side's direction. */
    raw = join(a, liar, "liar");
    MUST(rusmi_proof_init(&mine, liar, rusmi_quic_conn_binding(raw->conn), false));
    show(raw, &mine);
    expect_end(raw, RUSMI_CLOSE_PROTOCOL, "without having its key");
    rusmi_proof_fini(&mine);
    /* The certificate of another node, with its key: somebody else's place is not taken. */
    raw = join(a, liar, "liar");
    MUST(rusmi_proof_init(&proof, victim, rusmi_quic_conn_binding(raw->conn), true));
    show(raw, &proof);
    expect_end(raw, RUSMI_CLOSE_PROTOCOL, "the certificate of another");
    rusmi_proof_fini(&proof);
    assert_int_equal(support_stats(a).protocol_errors, 4);
    rusm_identity_del(liar);
    rusm_identity_del(victim);
}

static void test_certificates_without_end_are_refused(void **state)
{
    struct support_world *world = *state;
    struct support_node *a = support_node_start(world, "a");
    rusm_identity *liar = support_identity(world, "liar");
    struct support_raw *raw = join(a, liar, "liar");
    struct rusmi_proof proof = {.der = {NULL, 0}};

    MUST(rusmi_proof_init(&proof, liar, rusmi_quic_conn_binding(raw->conn), true));
    for (unsigned i = 0; i <= RUSMI_SHOWS_MAX; i++) {
        show(raw, &proof);
    }
    expect_end(raw, RUSMI_CLOSE_PROTOCOL, "too often");
    rusmi_proof_fini(&proof);
    rusm_identity_del(liar);
}

/* ---- asking a node --------------------------------------------------------------------------- */

struct store {
    struct support_world *world;
    bool empty;
    atomic_uint asked;
};

static rusm_err read_again(rusm_node *node, void *arg)
{
    struct store *store = arg;
    rusm_identity *identity = NULL;
    rusm_err err;

    (void)atomic_fetch_add(&store->asked, 1);
    err = store->empty ? rusm_identity_load(&identity, "/nonexistent", "a")
                       : rusm_ca_issue(store->world->ca, "a", NULL, &identity);
    if (err == RUSM_OK) {
        err = rusm_node_reload(node, identity);
    }
    rusm_identity_del(identity);
    return err;
}

static void test_operators_ask_for_a_reload(void **state)
{
    struct support_world *world = *state;
    struct support_node *a = support_node_start(world, "a"), *b = support_node_start(world, "b");
    struct support_node *operator= support_node_start_role(world, "o", RUSM_ROLE_OPERATOR);
    struct support_node *observer = support_node_start_role(world, "w", RUSM_ROLE_OBSERVER);
    struct store store = {.world = world};
    rusm_node_trust trust;

    support_connect(b, a);
    MUST(rusm_node_connect(operator->node, rusm_node_address(a->node), SUPPORT_DEADLINE_MS, NULL));
    MUST(rusm_node_connect(observer->node, rusm_node_address(a->node), SUPPORT_DEADLINE_MS, NULL));
    assert_int_equal(rusm_remote_reload(operator->node, "a", SUPPORT_DEADLINE_MS), RUSM_EREFUSED);
    MUST(rusm_node_on_reload(a->node, read_again, &store));
    assert_int_equal(rusm_remote_reload(observer->node, "a", SUPPORT_DEADLINE_MS), RUSM_EPERM);
    assert_int_equal(rusm_remote_reload(b->node, "a", SUPPORT_DEADLINE_MS), RUSM_EPERM);
    assert_int_equal(atomic_load(&store.asked), 0);
    MUST(rusm_remote_reload(operator->node, "a", SUPPORT_DEADLINE_MS));
    MUST(rusm_node_get_trust(a->node, &trust));
    assert_int_equal(trust.reloads, 1);
    store.empty = true;
    assert_int_equal(rusm_remote_reload(operator->node, "a", SUPPORT_DEADLINE_MS), RUSM_ESYS);
    assert_non_null(strstr(rusm_err_detail(), "/nonexistent/a.pem"));
    MUST(rusm_node_get_trust(a->node, &trust));
    assert_int_equal(trust.reloads, 1);
    assert_int_equal(support_stats(a).handshakes, 3);
}

#define T(test) cmocka_unit_test_setup_teardown(test, support_world_setup, support_world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_everything_is_replaced_under_traffic),
        T(test_anchors_may_come_after_certificates),
        T(test_an_identity_of_another_changes_nothing),
        T(test_trust_is_shown),
        T(test_a_revoked_peer_is_cut_and_stays_out),
        T(test_no_handshake_slips_past_a_reload),
        T(test_a_replaced_certificate_may_be_revoked),
        T(test_an_expired_certificate_ends_the_link),
        T(test_a_renewed_certificate_keeps_the_link),
        T(test_overdue_lists),
        T(test_a_certificate_without_its_key_is_refused),
        T(test_certificates_without_end_are_refused),
        T(test_operators_ask_for_a_reload),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
