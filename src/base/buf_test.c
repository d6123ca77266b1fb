/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/prng.h"

#include <string.h>

static void test_bytes_come_out_as_they_went_in(void **state)
{
    struct rusmi_buf buf;
    struct rusmi_prng prng;
    uint8_t next_in = 0, next_out = 0;
    size_t len = 0;

    (void)state;
    rusmi_buf_init(&buf);
    rusmi_prng_init(&prng, 3);
    for (int step = 0; step < 5000; step++) {
        size_t count = (size_t)rusmi_prng_below(&prng, 400);

        if (rusmi_prng_below(&prng, 2) == 0) {
            uint8_t bytes[400];

            for (size_t i = 0; i < count; i++) {
                bytes[i] = next_in++;
            }
            assert_true(rusmi_buf_append(&buf, bytes, count));
            len += count;
        } else {
            count = count < len ? count : len;
            for (size_t i = 0; i < count; i++) {
                assert_int_equal(rusmi_buf_head(&buf)[i], next_out++);
            }
            rusmi_buf_consume(&buf, count);
            len -= count;
        }
        assert_int_equal(buf.len, len);
    }
    rusmi_buf_fini(&buf);
    assert_null(buf.data);
}

static void test_too_much_is_refused_and_changes_nothing(void **state)
{
    struct rusmi_buf buf;

    (void)state;
    rusmi_buf_init(&buf);
    assert_true(rusmi_buf_append(&buf, "abc", 3));
    assert_null(rusmi_buf_reserve(&buf, SIZE_MAX));
    assert_int_equal(buf.len, 3);
    assert_memory_equal(rusmi_buf_head(&buf), "abc", 3);
    rusmi_buf_fini(&buf);
}

static void test_reserved_room_counts_only_when_committed(void **state)
{
    struct rusmi_buf buf;
    uint8_t *room;

    (void)state;
    rusmi_buf_init(&buf);
    room = rusmi_buf_reserve(&buf, 1000);
    assert_non_null(room);
    memset(room, 'z', 1000);
    assert_int_equal(buf.len, 0);
    rusmi_buf_commit(&buf, 10);
    assert_int_equal(buf.len, 10);
    assert_memory_equal(rusmi_buf_head(&buf), "zzzzzzzzzz", 10);
    rusmi_buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_come_out_as_they_went_in),
        cmocka_unit_test(test_too_much_is_refused_and_changes_nothing),
        cmocka_unit_test(test_reserved_room_counts_only_when_committed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
