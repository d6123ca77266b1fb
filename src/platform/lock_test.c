/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "platform/lock.h"

#include <pthread.h>

#define THREADS 4
#define EACH    50000

struct shared {
    struct rusmi_lock lock;
    uint64_t plain; /* under lock */
};

static void *add(void *arg)
{
    struct shared *shared = arg;

    for (int i = 0; i < EACH; i++) {
        rusmi_lock_take(&shared->lock);
        shared->plain++;
        rusmi_lock_give(&shared->lock);
    }
    return NULL;
}

static void test_one_at_a_time_is_inside(void **state)
{
    struct shared shared = {.plain = 0};
    pthread_t threads[THREADS];

    (void)state;
    rusmi_lock_init(&shared.lock);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, add, &shared), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(shared.plain, THREADS * EACH);
    rusmi_lock_fini(&shared.lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_at_a_time_is_inside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
