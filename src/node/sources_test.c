/* SPDX-License-Identifier: MIT */
#include "node/sources.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "node/link.h"

static struct rusmi_address address(const char *text)
{
    struct rusmi_address result;

    assert_true(rusmi_address_parse(text, &result));
    return result;
}

#define PERIOD ((rusm_time)1000)

static void setup_sources(struct rusmi_sources *sources, uint32_t max, uint32_t each,
                          uint32_t unproven)
{
    static const uint64_t seed[2] = {1, 2};
    struct rusmi_sources_config cfg = {
        .max = max, .each = each, .unproven = unproven, .period = PERIOD};

    memset(sources, 0, sizeof(*sources));
    rusmi_sources_init(sources, seed, &cfg);
}

static struct rusmi_sources sources; /* large */

/* Begin at that time; it is said to have an owner. */
static struct rusmi_handshake *begin(const struct rusmi_address *proven, rusm_time now)
{
    static struct rusmi_link links[16];
    static size_t links_len;
    struct rusmi_handshake *handshake = rusmi_sources_begin(&sources, proven, now);

    if (handshake != NULL) {
        rusmi_sources_own(&sources, handshake, &links[links_len++ % 16]);
    }
    return handshake;
}

static void end_all(struct rusmi_handshake *const *handshakes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_non_null(handshakes[i]);
        rusmi_sources_end(&sources, handshakes[i], false);
    }
    rusmi_sources_fini(&sources); /* asserts that nothing is left */
}

/* Ports do not matter: they cost nothing. */
static void one_host_has_so_many_and_another_its_own(void **state)
{
    struct rusmi_address a = address("10.0.0.1:1"), b = address("10.0.0.1:2"),
                         c = address("10.0.0.2:1");
    struct rusmi_handshake *open[3];

    (void)state;
    setup_sources(&sources, 10, 2, 10);
    open[0] = begin(&a, 0);
    open[1] = begin(&b, 0);
    assert_null(begin(&a, 0));
    assert_null(begin(&a, PERIOD)); /* as many as it may have at a time */
    open[2] = begin(&c, 0);
    rusmi_sources_end(&sources, open[1], false);
    open[1] = begin(&a, PERIOD);
    end_all(open, 3);
}

static void addresses_of_one_ipv6_network_count_together(void **state)
{
    struct rusmi_address a = address("[2001:db8:1:1::1]:1"), b = address("[2001:db8:1:1:9::2]:1"),
                         c = address("[2001:db8:1:2::1]:1");
    struct rusmi_handshake *open[2];

    (void)state;
    setup_sources(&sources, 10, 1, 10);
    open[0] = begin(&a, 0);
    assert_null(begin(&b, 0));
    open[1] = begin(&c, 0);
    end_all(open, 2);
}

/* Otherwise each datagram of a flood would cost a TLS session. */
static void who_fails_at_once_begins_as_many_in_a_period_as_it_may_have(void **state)
{
    struct rusmi_address a = address("10.0.0.1:1");
    struct rusmi_handshake *last;

    (void)state;
    setup_sources(&sources, 10, 2, 3);
    for (int i = 0; i < 2; i++) {
        rusmi_sources_end(&sources, begin(&a, PERIOD), false);
    }
    assert_null(begin(&a, 2 * PERIOD - 1));
    for (int i = 0; i < 3; i++) {
        rusmi_sources_end(&sources, begin(NULL, PERIOD), false);
    }
    assert_null(begin(NULL, 2 * PERIOD - 1));
    last = begin(&a, 2 * PERIOD);
    rusmi_sources_end(&sources, begin(NULL, 2 * PERIOD), false);
    end_all(&last, 1);
}

static void handshakes_that_succeed_are_not_counted(void **state)
{
    struct rusmi_address a = address("10.0.0.1:1");

    (void)state;
    setup_sources(&sources, 10, 1, 1);
    for (int i = 0; i < 5; i++) {
        struct rusmi_handshake *proven = begin(&a, 0), *unproven;

        rusmi_sources_end(&sources, proven, true);
        unproven = begin(NULL, 0);
        rusmi_sources_end(&sources, unproven, true);
    }
    end_all(NULL, 0);
}

/* One that began before the period did is not part of its count. */
static void success_gives_back_what_was_counted_in_its_own_period_alone(void **state)
{
    struct rusmi_address a = address("10.0.0.1:1");
    struct rusmi_handshake *early, *open[2];

    (void)state;
    setup_sources(&sources, 10, 2, 2);
    early = begin(&a, PERIOD);
    open[0] = begin(&a, 2 * PERIOD);
    rusmi_sources_end(&sources, early, true);
    open[1] = begin(&a, 2 * PERIOD);
    rusmi_sources_end(&sources, open[1], false);
    assert_null(begin(&a, 2 * PERIOD));
    end_all(open, 1);
}

static void unproven_have_what_is_left_below_their_bound_by_all(void **state)
{
    struct rusmi_address a = address("10.0.0.1:1");
    struct rusmi_handshake *open[3];

    (void)state;
    setup_sources(&sources, 10, 5, 2);
    open[0] = begin(NULL, 0);
    open[1] = begin(&a, 0);
    assert_null(begin(NULL, 0));
    open[2] = begin(&a, 0);
    end_all(open, 3);
}

/* Who gives way, which frees its place. */
static void expect_way(struct rusmi_link *wanted)
{
    struct rusmi_link *link = rusmi_sources_give_way(&sources);

    assert_ptr_equal(link, wanted);
    assert_int_equal(atomic_load(&link->refs), 1);
    atomic_store(&link->refs, 0);
    assert_null(rusmi_sources_give_way(&sources));
}

static void oldest_of_the_host_with_most_gives_way(void **state)
{
    struct rusmi_address a = address("10.0.0.1:1"), b = address("10.0.0.2:1"),
                         c = address("10.0.0.3:1");
    struct rusmi_handshake *open[7];

    (void)state;
    setup_sources(&sources, 4, 3, 1);
    open[0] = begin(NULL, 0);
    open[1] = begin(&a, 0);
    open[2] = begin(&b, 0);
    open[3] = begin(&b, 0);
    assert_null(rusmi_sources_give_way(&sources)); /* there is room for all */
    open[4] = begin(&c, 0);
    expect_way(open[2]->link);
    open[5] = begin(&c, 0);
    expect_way(open[4]->link);
    open[6] = begin(&a, 0); /* two have two: the older one goes */
    expect_way(open[1]->link);
    end_all(open, 7);
}

/* With a single place, too: else it would stay with who had it first. */
static void newcomer_never_gives_way_to_those_before_it(void **state)
{
    struct rusmi_address a = address("10.0.0.1:1"), b = address("10.0.0.2:1");
    struct rusmi_handshake *open[2];

    (void)state;
    setup_sources(&sources, 1, 1, 0);
    open[0] = begin(&a, 0);
    open[1] = begin(&b, 0);
    expect_way(open[0]->link);
    end_all(open, 2);
}

static void answers_end_for_one_port_until_the_period_does(void **state)
{
    struct rusmi_address a = address("10.0.0.1:1"), b = address("10.0.0.1:2");
    rusm_time now = 1000 * RUSMI_ANSWERS_PERIOD_NS;

    (void)state;
    setup_sources(&sources, 1, 1, 1);
    for (unsigned i = 0; i < RUSMI_ANSWERS_MAX; i++) {
        assert_true(rusmi_sources_may_answer(&sources, &a, now));
    }
    assert_false(rusmi_sources_may_answer(&sources, &a, now));
    assert_true(rusmi_sources_may_answer(&sources, &b, now));
    assert_false(rusmi_sources_may_answer(&sources, &a, now + RUSMI_ANSWERS_PERIOD_NS - 1));
    assert_true(rusmi_sources_may_answer(&sources, &a, now + RUSMI_ANSWERS_PERIOD_NS));
    rusmi_sources_fini(&sources);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_host_has_so_many_and_another_its_own),
        cmocka_unit_test(addresses_of_one_ipv6_network_count_together),
        cmocka_unit_test(who_fails_at_once_begins_as_many_in_a_period_as_it_may_have),
        cmocka_unit_test(handshakes_that_succeed_are_not_counted),
        cmocka_unit_test(success_gives_back_what_was_counted_in_its_own_period_alone),
        cmocka_unit_test(unproven_have_what_is_left_below_their_bound_by_all),
        cmocka_unit_test(oldest_of_the_host_with_most_gives_way),
        cmocka_unit_test(newcomer_never_gives_way_to_those_before_it),
        cmocka_unit_test(answers_end_for_one_port_until_the_period_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
