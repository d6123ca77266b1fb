/* SPDX-License-Identifier: MIT */
#include "cluster/budget.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"

#define KIB  ((size_t)1024)
#define MIB  (1024 * KIB)
#define SLAB RUSMI_BUDGET_SLAB

static void floors_come_first_and_stay(void **state)
{
    struct rusmi_budget budget;
    struct rusmi_purse a, b;

    (void)state;
    rusmi_budget_init(&budget, 8 * SLAB);
    assert_true(rusmi_purse_open(&a, &budget, 5 * SLAB));
    assert_true(rusmi_purse_raise(&a, SLAB));
    assert_int_equal(rusmi_budget_used(&budget), 6 * SLAB);
    assert_false(rusmi_budget_is_pressed(&budget));
    assert_false(rusmi_purse_open(&b, &budget, SLAB + 1));
    assert_int_equal(rusmi_budget_refused(&budget), 1);
    assert_true(rusmi_budget_take_pressed(&budget));
    assert_false(rusmi_budget_take_pressed(&budget));
    assert_false(rusmi_purse_take(&b, 1, RUSMI_BUDGET_MUST));
    assert_true(rusmi_purse_open(&b, &budget, SLAB));
    assert_false(rusmi_purse_raise(&b, 1));
    /* Within the floor the account is not asked, though no more fits. */
    for (int i = 0; i < 10; i++) {
        assert_true(rusmi_purse_take(&a, 6 * SLAB, RUSMI_BUDGET_SEND));
        assert_int_equal(rusmi_budget_used(&budget), 7 * SLAB);
        assert_false(rusmi_purse_is_tight(&a));
        rusmi_purse_give(&a, 6 * SLAB);
    }
    assert_int_equal(rusmi_budget_used(&budget), 7 * SLAB);
    rusmi_purse_close(&a);
    rusmi_purse_close(&a);
    rusmi_purse_close(&b);
    assert_int_equal(rusmi_budget_used(&budget), 0);
    assert_int_equal(rusmi_budget_peak(&budget), 7 * SLAB);
}

static void a_purse_grows_by_slabs_and_shrinks_again(void **state)
{
    struct rusmi_budget budget;
    struct rusmi_purse purse;

    (void)state;
    rusmi_budget_init(&budget, 100 * MIB);
    assert_true(rusmi_purse_open(&purse, &budget, SLAB));
    assert_true(rusmi_purse_take(&purse, SLAB + 1, RUSMI_BUDGET_FAIR));
    assert_int_equal(rusmi_budget_used(&budget), 2 * SLAB);
    assert_true(rusmi_purse_has_room(&purse, SLAB - 1));
    assert_int_equal(rusmi_budget_used(&budget), 2 * SLAB);
    assert_true(rusmi_purse_take(&purse, SLAB - 1, RUSMI_BUDGET_FAIR));
    assert_true(rusmi_purse_has_room(&purse, SLAB));
    assert_int_equal(rusmi_budget_used(&budget), 3 * SLAB);
    assert_true(rusmi_purse_take(&purse, 10 * MIB, RUSMI_BUDGET_FAIR));
    assert_int_equal(rusmi_budget_used(&budget), 10 * MIB + 2 * SLAB);
    assert_false(rusmi_purse_has_room(&purse, 90 * MIB));
    rusmi_purse_give(&purse, 10 * MIB);
    assert_in_range(rusmi_budget_used(&budget), 2 * SLAB, 3 * SLAB);
    /* Half of the floor is free: all beyond it is given back. */
    rusmi_purse_give(&purse, 2 * SLAB - SLAB / 2);
    assert_int_equal(rusmi_budget_used(&budget), SLAB);
    rusmi_purse_close(&purse);
    rusmi_purse_give(&purse, SLAB / 2); /* late: it was given back with the rest */
    assert_int_equal(rusmi_budget_used(&budget), 0);
    assert_int_equal(rusmi_budget_refused(&budget), 1);
    assert_false(rusmi_budget_is_pressed(&budget));
}

static size_t take_all(struct rusmi_purse *purse, enum rusmi_budget_need need)
{
    size_t taken = 0;

    while (rusmi_purse_take(purse, 4 * KIB, need)) {
        taken += 4 * KIB;
    }
    return taken;
}

/* However greedy some are, one more finds as much as each of them has. */
static void the_greedy_leave_an_equal_part(void **state)
{
    enum {
        GREEDY = 7
    };
    struct rusmi_budget budget;
    struct rusmi_purse purses[GREEDY], late;

    (void)state;
    rusmi_budget_init(&budget, 64 * MIB);
    for (size_t i = 0; i < GREEDY; i++) {
        assert_true(rusmi_purse_open(&purses[i], &budget, SLAB));
    }
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < GREEDY; i++) {
            more = rusmi_purse_take(&purses[i], 4 * KIB, RUSMI_BUDGET_FAIR) || more;
        }
    }
    assert_in_range(rusmi_budget_used(&budget), 40 * MIB, 48 * MIB);
    assert_true(rusmi_purse_is_tight(&purses[0]));
    assert_true(rusmi_purse_open(&late, &budget, SLAB));
    assert_false(rusmi_purse_is_tight(&late));
    assert_in_range(take_all(&late, RUSMI_BUDGET_FAIR), 2 * MIB, 6 * MIB);
    for (size_t i = 0; i < GREEDY; i++) {
        assert_in_range(purses[i].used, 5 * MIB, 7 * MIB);
        rusmi_purse_close(&purses[i]);
    }
    assert_true(rusmi_purse_take(&late, MIB, RUSMI_BUDGET_FAIR));
    rusmi_purse_close(&late);
}

/* Those who come one after the other halve what is left; the small share is there for all the
 * same, and it is known that somebody should give way. */
static void who_comes_late_has_a_small_share(void **state)
{
    enum {
        GREEDY = 12
    };
    struct rusmi_budget budget;
    struct rusmi_purse purses[GREEDY], late, sender;

    (void)state;
    rusmi_budget_init(&budget, 128 * MIB);
    for (size_t i = 0; i < GREEDY; i++) {
        assert_true(rusmi_purse_open(&purses[i], &budget, SLAB));
        (void)take_all(&purses[i], RUSMI_BUDGET_FAIR);
    }
    assert_true(rusmi_budget_take_pressed(&budget));
    assert_in_range(rusmi_budget_used(&budget), 96 * MIB, 107 * MIB);
    assert_true(rusmi_purse_open(&late, &budget, SLAB));
    assert_in_range(take_all(&late, RUSMI_BUDGET_FAIR), MIB, MIB + SLAB);
    assert_true(rusmi_budget_take_pressed(&budget));
    /* A sender waits, and says so. */
    assert_true(rusmi_purse_open(&sender, &budget, SLAB));
    assert_int_equal(take_all(&sender, RUSMI_BUDGET_SEND), SLAB);
    assert_true(rusmi_budget_take_pressed(&budget));
    rusmi_purse_close(&purses[0]);
    assert_true(take_all(&sender, RUSMI_BUDGET_SEND) > SLAB);
    for (size_t i = 0; i < GREEDY; i++) {
        rusmi_purse_close(&purses[i]);
    }
    rusmi_purse_close(&late);
    rusmi_purse_close(&sender);
    assert_int_equal(rusmi_budget_used(&budget), 0);
}

/* What is sent keeps to half, what comes to three quarters, and what can not wait has all. */
static void needs_have_lines_of_their_own(void **state)
{
    struct rusmi_budget budget;
    struct rusmi_purse purses[16], last;

    (void)state;
    rusmi_budget_init(&budget, 1024 * MIB);
    for (size_t i = 0; i < 16; i++) {
        assert_true(rusmi_purse_open(&purses[i], &budget, SLAB));
        if (i < 8) {
            (void)take_all(&purses[i], RUSMI_BUDGET_SEND);
        }
    }
    assert_in_range(rusmi_budget_used(&budget), 500 * MIB, 520 * MIB);
    for (size_t i = 8; i < 16; i++) {
        (void)take_all(&purses[i], RUSMI_BUDGET_FAIR);
    }
    assert_in_range(rusmi_budget_used(&budget), 760 * MIB, 776 * MIB);
    assert_false(rusmi_purse_take(&purses[0], 100 * MIB, RUSMI_BUDGET_SEND));
    assert_false(rusmi_purse_take(&purses[15], 100 * MIB, RUSMI_BUDGET_FAIR));
    assert_true(rusmi_purse_take(&purses[15], 100 * MIB, RUSMI_BUDGET_MUST));
    assert_false(rusmi_purse_take(&purses[15], SIZE_MAX - 5, RUSMI_BUDGET_MUST));
    (void)take_all(&purses[0], RUSMI_BUDGET_MUST);
    assert_in_range(rusmi_budget_used(&budget), 1024 * MIB - SLAB, 1024 * MIB);
    assert_false(rusmi_purse_open(&last, &budget, 1));
    for (size_t i = 0; i < 16; i++) {
        rusmi_purse_close(&purses[i]);
    }
    assert_int_equal(rusmi_budget_used(&budget), 0);
}

static void without_a_budget_everything_fits(void **state)
{
    struct rusmi_purse purse;

    (void)state;
    assert_true(rusmi_purse_open(&purse, NULL, SIZE_MAX));
    assert_true(rusmi_purse_take(&purse, SIZE_MAX, RUSMI_BUDGET_FAIR));
    assert_true(rusmi_purse_raise(&purse, SIZE_MAX));
    assert_false(rusmi_purse_is_tight(&purse));
    rusmi_purse_give(&purse, SIZE_MAX);
    rusmi_purse_close(&purse);
}

/* Purses that are opened, filled, emptied and closed at random, beside a plain sum. */
static void at_random_the_account_is_the_sum_of_its_purses(void **state)
{
    enum {
        PURSES = 24,
        STEPS = 20000
    };

    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rusmi_budget budget;
        struct rusmi_purse purses[PURSES];
        size_t in_use[PURSES] = {0};
        struct rusmi_prng prng;

        rusmi_prng_init(&prng, seed);
        memset(purses, 0, sizeof(purses));
        rusmi_budget_init(&budget, 8 * MIB + rusmi_prng_below(&prng, 64 * MIB));
        for (int step = 0; step < STEPS; step++) {
            size_t i = rusmi_prng_below(&prng, PURSES), sum = 0;
            size_t len = rusmi_prng_below(&prng, (size_t)1 << rusmi_prng_below(&prng, 24));
            struct rusmi_purse *purse = &purses[i];

            if (purse->floor == 0) {
                (void)!rusmi_purse_open(purse, &budget, 1 + len % (4 * SLAB));
            } else if (rusmi_prng_below(&prng, 200) == 0) {
                rusmi_purse_close(purse);
                in_use[i] = 0;
            } else if (rusmi_prng_below(&prng, 2) == 0) {
                in_use[i] += rusmi_purse_take(purse, len,
                                              rusmi_prng_below(&prng, 4) == 0 ? RUSMI_BUDGET_MUST
                                                                              : RUSMI_BUDGET_FAIR)
                                 ? len
                                 : 0;
            } else {
                len = len < in_use[i] ? len : in_use[i];
                rusmi_purse_give(purse, len);
                in_use[i] -= len;
            }
            for (size_t n = 0; n < PURSES; n++) {
                assert_int_equal(purses[n].used, in_use[n]);
                assert_true(purses[n].held >= purses[n].used && purses[n].held >= purses[n].floor);
                sum += purses[n].held;
            }
            assert_int_equal(rusmi_budget_used(&budget), sum);
            assert_true(sum <= budget.limit && sum <= rusmi_budget_peak(&budget));
        }
        for (size_t n = 0; n < PURSES; n++) {
            rusmi_purse_give(&purses[n], purses[n].used);
            assert_int_equal(purses[n].held, purses[n].floor);
            rusmi_purse_close(&purses[n]);
        }
        assert_int_equal(rusmi_budget_used(&budget), 0);
        assert_true(rusmi_budget_peak(&budget) <= budget.limit);
    }
}

/* Returns its argument; NULL if the account was seen above its limit. */
static void *churn(void *arg)
{
    struct rusmi_budget *budget = arg;
    struct rusmi_purse purse;

    for (size_t i = 0; i < 5000; i++) {
        if (!rusmi_purse_open(&purse, budget, SLAB)) {
            continue;
        }
        (void)!rusmi_purse_take(&purse, i * 97 % MIB, RUSMI_BUDGET_FAIR);
        if (rusmi_budget_used(budget) > budget->limit) {
            return NULL;
        }
        rusmi_purse_give(&purse, purse.used / 2);
        rusmi_purse_close(&purse);
    }
    return arg;
}

static void threads_share_an_account(void **state)
{
    struct rusmi_budget budget;
    pthread_t threads[4];

    (void)state;
    rusmi_budget_init(&budget, 2 * MIB);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, churn, &budget), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        void *result;

        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_ptr_equal(result, &budget);
    }
    assert_int_equal(rusmi_budget_used(&budget), 0);
    assert_in_range(rusmi_budget_peak(&budget), SLAB, 2 * MIB);
}

static void test_without_a_purse_everything_fits(void **state)
{
    (void)state;
    assert_true(rusmi_purse_take(NULL, SIZE_MAX, RUSMI_BUDGET_BODY));
    assert_true(rusmi_purse_has_room(NULL, SIZE_MAX));
    assert_false(rusmi_purse_is_tight(NULL));
    rusmi_purse_give(NULL, SIZE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_purse_everything_fits),
        cmocka_unit_test(floors_come_first_and_stay),
        cmocka_unit_test(a_purse_grows_by_slabs_and_shrinks_again),
        cmocka_unit_test(the_greedy_leave_an_equal_part),
        cmocka_unit_test(who_comes_late_has_a_small_share),
        cmocka_unit_test(needs_have_lines_of_their_own),
        cmocka_unit_test(without_a_budget_everything_fits),
        cmocka_unit_test(at_random_the_account_is_the_sum_of_its_purses),
        cmocka_unit_test(threads_share_an_account),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
