/* SPDX-License-Identifier: MIT */
/*
 * What a node refuses about itself: addresses, names, identities and settings that can not be. Each
 * refusal changes nothing: the runtime becomes a node afterwards with the same arguments put right.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/certs.h"
#include "support/nodes.h"

/* Bind on a fresh runtime and expect an error whose detail contains `words`. */
static void expect_refusal(struct support_world *world, const char *name, const char *listen,
                           rusm_identity *identity, rusm_err expected, const char *words)
{
    rusm_identity *good = support_identity(world, "good");
    rusm_node *node = NULL;
    rusm_runtime *rt;

    assert_int_equal(rusm_runtime_new(&rt, NULL), RUSM_OK);
    assert_int_equal(rusm_node_bind(&node, rt, name, listen, identity), expected);
    if (strstr(rusm_err_detail(), words) == NULL) {
        fail_msg("\"%s\" does not contain \"%s\"", rusm_err_detail(), words);
    }
    assert_null(node);
    assert_int_equal(rusm_node_bind(&node, rt, NULL, "127.0.0.1:0", good), RUSM_OK);
    rusm_node_del(node);
    rusm_runtime_del(rt);
    rusm_identity_del(good);
}

static void second_bind_on_an_address_fails_with_the_systems_text(void **state)
{
    struct support_world *world = *state;
    struct support_node *first = support_node_start(world, "first");
    rusm_identity *identity = support_identity(world, "second");

    expect_refusal(world, NULL, rusm_node_address(first->node), identity, RUSM_ESYS,
                   "Address already in use");
    rusm_identity_del(identity);
}

/* The socket of an accepted link shares the listening port; a stranger must not be able to. */
static void second_bind_on_an_address_with_links_fails(void **state)
{
    struct support_world *world = *state;
    struct support_node *first = support_node_start(world, "first");
    struct support_node *peer = support_node_start(world, "peer");
    rusm_identity *identity = support_identity(world, "second");

    support_connect(peer, first);
    expect_refusal(world, NULL, rusm_node_address(first->node), identity, RUSM_ESYS,
                   "Address already in use");
    rusm_identity_del(identity);
}

static void address_of_a_deleted_node_can_be_bound_again(void **state)
{
    struct support_world *world = *state;
    struct support_node *first = support_node_start(world, "first");
    struct support_node *peer = support_node_start(world, "peer");
    rusm_node_config cfg = support_node_config();
    char address[RUSM_ADDRESS_MAX];

    support_connect(peer, first);
    (void)strcpy(address, rusm_node_address(first->node));
    support_node_stop(first);
    /* Until it has heard of the end, the peer has a link to that address, and asks no further. */
    support_wait_peer(peer, "first", false);
    cfg.listen = address;
    support_connect(peer, support_node_start_with(world, "second", &cfg));
}

static void listen_addresses_that_are_none_are_refused(void **state)
{
    static const char *const addresses[] = {
        "",           "127.0.0.1", "localhost:0", "127.0.0.1:65536", "127.0.0.1:",    ":0",
        "::1:0",      "[::1]",     "127.0.0.1:x", "127.0.0.1:0 ",    "[127.0.0.1]:0", "1.2.3:4",
        "[::1%lo]:x",
    };
    struct support_world *world = *state;
    rusm_identity *identity = support_identity(world, "good");

    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        expect_refusal(world, NULL, addresses[i], identity, RUSM_EINVAL, "no numeric address");
    }
    rusm_identity_del(identity);
}

/* An address of the documentation range is no address of this machine. */
static void listen_address_of_another_machine_fails_with_the_systems_text(void **state)
{
    struct support_world *world = *state;
    rusm_identity *identity = support_identity(world, "good");

    expect_refusal(world, NULL, "192.0.2.1:0", identity, RUSM_ESYS,
                   "can not listen at 192.0.2.1:0");
    rusm_identity_del(identity);
}

static void name_that_is_not_the_certificates_is_refused(void **state)
{
    struct support_world *world = *state;
    rusm_identity *identity = support_identity(world, "good");

    expect_refusal(world, "evil", "127.0.0.1:0", identity, RUSM_EAUTH,
                   "is for node good, not for evil");
    rusm_identity_del(identity);
}

static void shared_identity_without_a_name_is_refused(void **state)
{
    struct support_world *world = *state;
    rusm_identity *identity;

    assert_int_equal(rusm_identity_generate(&identity, "other"), RUSM_OK);
    expect_refusal(world, NULL, "127.0.0.1:0", identity, RUSM_EINVAL, "needs a name of its own");
    rusm_identity_del(identity);
}

static void shared_identity_lets_nodes_choose_names(void **state)
{
    struct support_world *world = *state;
    rusm_node_config cfg = support_node_config();
    struct support_node *a, *b;

    assert_int_equal(rusm_identity_generate(&cfg.identity, "other"), RUSM_OK);
    a = support_node_start_with(world, "any", &cfg);
    b = support_node_start_with(world, "which", &cfg);
    rusm_identity_del(cfg.identity);
    support_connect(a, b);
    assert_string_equal(rusm_node_cluster(a->node), "other");
}

static void bad_names_are_refused(void **state)
{
    static char too_long[RUSM_NAME_MAX + 2];
    struct support_world *world = *state;
    rusm_identity *identity;

    memset(too_long, 'x', sizeof(too_long) - 1);
    assert_int_equal(rusm_identity_generate(&identity, "other"), RUSM_OK);
    expect_refusal(world, "", "127.0.0.1:0", identity, RUSM_EINVAL, "1 to 255 bytes of UTF-8");
    expect_refusal(world, too_long, "127.0.0.1:0", identity, RUSM_EINVAL, "1 to 255 bytes");
    expect_refusal(world, "\xff", "127.0.0.1:0", identity, RUSM_EINVAL, "1 to 255 bytes");
    rusm_identity_del(identity);
}

static void expired_identity_is_refused(void **state)
{
    struct support_world *world = *state;
    rusm_identity *identity = support_identity_bad(SUPPORT_BAD_EXPIRED, world->ca, "old");

    expect_refusal(world, NULL, "127.0.0.1:0", identity, RUSM_ECERT, "node old has expired");
    rusm_identity_del(identity);
}

static void identity_of_the_future_is_refused(void **state)
{
    struct support_world *world = *state;
    rusm_identity *identity = support_identity_bad(SUPPORT_BAD_NOT_YET_VALID, world->ca, "young");

    expect_refusal(world, NULL, "127.0.0.1:0", identity, RUSM_ECERT, "is not valid yet");
    rusm_identity_del(identity);
}

static void second_node_on_a_runtime_is_refused(void **state)
{
    struct support_world *world = *state;
    struct support_node *first = support_node_start(world, "first");
    struct support_node *peer = support_node_start(world, "peer");
    rusm_identity *identity = support_identity(world, "second");
    rusm_node *node = NULL;

    assert_int_equal(rusm_node_bind(&node, first->runtime, NULL, "127.0.0.1:0", identity),
                     RUSM_EINVAL);
    assert_string_equal(rusm_err_detail(), "the runtime is a node already");
    assert_null(node);
    rusm_identity_del(identity);
    support_connect(peer, first);
}

static void settings_out_of_range_are_refused(void **state)
{
    struct support_world *world = *state;
    rusm_node_config good = support_node_config(), bad[11];
    rusm_node *node = NULL;
    rusm_runtime *rt;

    good.identity = support_identity(world, "good");
    for (size_t i = 0; i < 11; i++) {
        bad[i] = good;
    }
    bad[0].tick_ms = 199;
    bad[1].tick_ms = 3600001;
    bad[2].hello_ms = 0;
    bad[3].peers_max = 0;
    bad[4].handshakes_max = 0;
    bad[5].names_max = 0;
    bad[6].requests_max = 0;
    bad[7].mailbox_high = 3;
    bad[8].queue_bytes_max = 0;
    bad[9].size = 0;
    bad[10].signal_bytes_max = 0;
    assert_int_equal(rusm_runtime_new(&rt, NULL), RUSM_OK);
    for (size_t i = 0; i < 11; i++) {
        assert_int_equal(rusm_node_bind_with(&node, rt, NULL, &bad[i]), RUSM_EINVAL);
        assert_null(node);
    }
    good.listen = NULL;
    assert_int_equal(rusm_node_bind_with(&node, rt, NULL, &good), RUSM_EINVAL);
    assert_int_equal(rusm_node_bind(&node, rt, NULL, "127.0.0.1:0", NULL), RUSM_EINVAL);
    rusm_identity_del(good.identity);
    rusm_runtime_del(rt);
}

#define CASE(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, support_world_setup, support_world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(second_bind_on_an_address_fails_with_the_systems_text),
        CASE(second_bind_on_an_address_with_links_fails),
        CASE(address_of_a_deleted_node_can_be_bound_again),
        CASE(listen_addresses_that_are_none_are_refused),
        CASE(listen_address_of_another_machine_fails_with_the_systems_text),
        CASE(name_that_is_not_the_certificates_is_refused),
        CASE(shared_identity_without_a_name_is_refused),
        CASE(shared_identity_lets_nodes_choose_names),
        CASE(bad_names_are_refused),
        CASE(expired_identity_is_refused),
        CASE(identity_of_the_future_is_refused),
        CASE(second_node_on_a_runtime_is_refused),
        CASE(settings_out_of_range_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
