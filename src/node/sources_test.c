/* SPDX-License-Identifier: MIT */
#include "node/sources.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static struct rusmi_address address(const char *text)
{
    struct rusmi_address result;

    assert_true(rusmi_address_parse(text, &result));
    return result;
}

static void setup_sources(struct rusmi_sources *sources, uint32_t max)
{
    static const uint64_t seed[2] = {1, 2};

    *sources = (struct rusmi_sources){.max = 0};
    rusmi_sources_init(sources, seed, max);
}

/* Ports do not matter: they cost nothing. */
static void one_host_has_so_many_and_another_its_own(void **state)
{
    struct rusmi_address a = address("10.0.0.1:1"), b = address("10.0.0.1:2"),
                         c = address("10.0.0.2:1");
    struct rusmi_sources sources;

    (void)state;
    setup_sources(&sources, 2);
    assert_true(rusmi_sources_take(&sources, &a));
    assert_true(rusmi_sources_take(&sources, &b));
    assert_false(rusmi_sources_take(&sources, &a));
    assert_true(rusmi_sources_take(&sources, &c));
    rusmi_sources_give(&sources, &b);
    assert_true(rusmi_sources_take(&sources, &a));
    rusmi_sources_give(&sources, &a);
    rusmi_sources_give(&sources, &a);
    rusmi_sources_give(&sources, &c);
    rusmi_sources_fini(&sources); /* asserts that nothing is left */
}

static void addresses_of_one_ipv6_network_count_together(void **state)
{
    struct rusmi_address a = address("[2001:db8:1:1::1]:1"), b = address("[2001:db8:1:1:9::2]:1"),
                         c = address("[2001:db8:1:2::1]:1");
    struct rusmi_sources sources;

    (void)state;
    setup_sources(&sources, 1);
    assert_true(rusmi_sources_take(&sources, &a));
    assert_false(rusmi_sources_take(&sources, &b));
    assert_true(rusmi_sources_take(&sources, &c));
    rusmi_sources_give(&sources, &a);
    rusmi_sources_give(&sources, &c);
    rusmi_sources_fini(&sources);
}

static void answers_end_for_one_port_until_the_period_does(void **state)
{
    struct rusmi_address a = address("10.0.0.1:1"), b = address("10.0.0.1:2");
    struct rusmi_sources sources;
    rusm_time now = 1000 * RUSMI_ANSWERS_PERIOD_NS;

    (void)state;
    setup_sources(&sources, 1);
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
        cmocka_unit_test(answers_end_for_one_port_until_the_period_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
