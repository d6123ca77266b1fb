/* SPDX-License-Identifier: MIT */
/* Rolls: order, removal from anywhere, copies that begin anywhere; against a plain array. */
#include "otp/roll.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/prng.h"

#define LEN 3000u

struct item {
    struct rusmi_roll_place place;
    bool there;
};

static struct item items[LEN]; /* the item at i has number i + 1 and serial i + 1 */

static void add(struct rusmi_roll *roll, uint64_t i)
{
    assert_true(rusmi_roll_add(roll, &items[i].place, i + 1, (rusm_pid){7, i + 1}));
    items[i].there = true;
}

static void take(struct rusmi_roll *roll, uint64_t i)
{
    rusmi_roll_remove(roll, &items[i].place);
    items[i].there = false;
}

/* What is above that number is what the array says, whatever the size of the steps. */
static void check(const struct rusmi_roll *roll, uint64_t after, size_t step)
{
    rusm_pid pids[LEN];
    uint64_t next = after;
    size_t got;

    do {
        got = rusmi_roll_copy(roll, &next, UINT64_MAX, pids, step);
        for (size_t i = 0; i < got; i++) {
            while (after < LEN && !items[after].there) {
                after++;
            }
            assert_true(after < LEN);
            assert_int_equal(pids[i].incarnation, 7);
            assert_int_equal(pids[i].serial, after + 1);
            after++;
        }
    } while (got == step);
    for (; after < LEN; after++) {
        assert_false(items[after].there);
    }
}

static void test_entries_come_in_order_from_anywhere(void **state)
{
    struct rusmi_roll roll = {.len = 0};

    (void)state;
    check(&roll, 0, 10);
    for (uint64_t i = 0; i < LEN; i++) {
        add(&roll, i);
    }
    assert_int_equal(roll.len, LEN);
    check(&roll, 0, LEN);
    check(&roll, 0, 7);
    {
        rusm_pid pids[64];
        uint64_t after = 250;

        /* what came after a walk had begun is not part of it */
        assert_int_equal(rusmi_roll_copy(&roll, &after, 260, pids, 64), 10);
        assert_int_equal(pids[9].serial, 260);
        assert_int_equal(after, 260);
        assert_int_equal(rusmi_roll_copy(&roll, &after, 260, pids, 64), 0);
    }
    check(&roll, 255, 64);
    check(&roll, 256, 64);
    check(&roll, LEN - 1, 64);
    check(&roll, LEN, 64);
    for (uint64_t i = 0; i < LEN; i++) {
        take(&roll, i);
    }
    assert_int_equal(roll.len, 0);
    assert_int_equal(roll.pages_len, 0);
    rusmi_roll_fini(&roll);
}

/* A few that stay do not keep the pages of the many that went. */
static void test_pages_go_with_their_entries(void **state)
{
    struct rusmi_roll roll = {.len = 0};

    (void)state;
    for (uint64_t i = 0; i < LEN; i++) {
        add(&roll, i);
    }
    for (uint64_t i = 0; i < LEN; i++) {
        if (i % 100 != 0) {
            take(&roll, i);
        }
    }
    assert_int_equal(roll.len, LEN / 100);
    assert_true(roll.pages_len <= 2);
    check(&roll, 0, 9);
    for (uint64_t i = 0; i < LEN; i += 100) {
        take(&roll, i);
    }
    rusmi_roll_fini(&roll);
}

static void test_any_mix_is_as_an_array_would_be(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct rusmi_prng prng = {seed};
        struct rusmi_roll roll = {.len = 0};
        uint64_t next = 0;

        while (next < LEN) {
            uint64_t many = 1 + rusmi_prng_below(&prng, 400);

            for (; many > 0 && next < LEN; many--) {
                add(&roll, next++);
            }
            for (many = rusmi_prng_below(&prng, 3000); many > 0; many--) {
                uint64_t i = rusmi_prng_below(&prng, next);

                if (items[i].there) {
                    take(&roll, i);
                }
            }
            check(&roll, rusmi_prng_below(&prng, next), 1 + rusmi_prng_below(&prng, 300));
            check(&roll, 0, 100);
        }
        for (uint64_t i = 0; i < LEN; i++) {
            if (items[i].there) {
                take(&roll, i);
            }
        }
        rusmi_roll_fini(&roll);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries_come_in_order_from_anywhere),
        cmocka_unit_test(test_pages_go_with_their_entries),
        cmocka_unit_test(test_any_mix_is_as_an_array_would_be),
    };

    return cmocka_run_group_tests_name("roll", tests, NULL, NULL);
}
