/* SPDX-License-Identifier: MIT */
/* Descriptors here are pipes of the test's own; nothing is waited for that is not there already. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "platform/clock.h"
#include "platform/poll.h"

#include <errno.h>
#include <unistd.h>

static size_t look(struct rusmi_poll *poll, uint64_t *out_key)
{
    uint64_t keys[RUSMI_POLL_MAX];
    size_t len = rusmi_poll_wait(poll, rusmi_clock_now(), 0, keys);

    if (len > 0) {
        *out_key = keys[0];
    }
    return len;
}

static void test_ready_descriptors_come_with_their_key(void **state)
{
    struct rusmi_poll poll;
    uint64_t key = 0;
    char byte = 'x';
    int fds[2];

    (void)state;
    assert_int_equal(rusmi_poll_init(&poll), 0);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(rusmi_poll_set(&poll, fds[0], RUSMI_POLL_READ, 7, false), 0);
    assert_int_equal(look(&poll, &key), 0);
    assert_int_equal(write(fds[1], &byte, 1), 1);
    assert_int_equal(look(&poll, &key), 1);
    assert_int_equal(key, 7);
    assert_int_equal(look(&poll, &key), 1); /* level-triggered */
    assert_int_equal(rusmi_poll_set(&poll, fds[0], RUSMI_POLL_READ | RUSMI_POLL_ONCE, 8, true), 0);
    assert_int_equal(look(&poll, &key), 1);
    assert_int_equal(key, 8);
    assert_int_equal(look(&poll, &key), 0); /* once */
    assert_int_equal(rusmi_poll_set(&poll, fds[0], RUSMI_POLL_READ, 9, true), 0);
    rusmi_poll_remove(&poll, fds[0]);
    assert_int_equal(look(&poll, &key), 0);
    (void)close(fds[0]);
    (void)close(fds[1]);
    rusmi_poll_fini(&poll);
}

/* What the caller believes about a descriptor may be out of date: its number is another's now. */
static void test_wrong_belief_about_a_descriptor_is_put_right(void **state)
{
    struct rusmi_poll poll;
    uint64_t key = 0;
    char byte = 'x';
    int fds[2];

    (void)state;
    assert_int_equal(rusmi_poll_init(&poll), 0);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], &byte, 1), 1);
    assert_int_equal(rusmi_poll_set(&poll, fds[0], RUSMI_POLL_READ, 1, true), 0);
    assert_int_equal(rusmi_poll_set(&poll, fds[0], RUSMI_POLL_READ, 2, false), 0);
    assert_int_equal(look(&poll, &key), 1);
    assert_int_equal(key, 2);
    (void)close(fds[0]);
    (void)close(fds[1]);
    assert_int_equal(rusmi_poll_set(&poll, fds[0], RUSMI_POLL_READ, 3, false), EBADF);
    rusmi_poll_fini(&poll);
}

static void test_wake_before_the_wait_makes_it_return(void **state)
{
    struct rusmi_poll poll;
    uint64_t keys[RUSMI_POLL_MAX];

    (void)state;
    assert_int_equal(rusmi_poll_init(&poll), 0);
    rusmi_poll_wake(&poll);
    rusmi_poll_wake(&poll);
    /* It would never return by itself. */
    assert_int_equal(rusmi_poll_wait(&poll, 0, UINT64_MAX, keys), 0);
    /* A deadline in the past does not wait; one to come is waited for. */
    assert_int_equal(rusmi_poll_wait(&poll, 5, 4, keys), 0);
    assert_int_equal(rusmi_poll_wait(&poll, 5, 6, keys), 0);
    rusmi_poll_fini(&poll);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ready_descriptors_come_with_their_key),
        cmocka_unit_test(test_wrong_belief_about_a_descriptor_is_put_right),
        cmocka_unit_test(test_wake_before_the_wait_makes_it_return),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
