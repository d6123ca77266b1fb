/* SPDX-License-Identifier: MIT */
/* Files of addresses: what is read, what is refused and how that is told. */
#include "node/addresses.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct rusmi_addresses addresses;

static int setup(void **state)
{
    (void)state;
    memset(&addresses, 0, sizeof(addresses));
    return 0;
}

static bool read_text(const char *text)
{
    return rusmi_addresses_read(&addresses, text, strlen(text), true);
}

static void test_each_address_is_read_once(void **state)
{
    (void)state;
    assert_true(read_text("# ours\n10.0.0.1:1,[FD00::0:2]:3\r\n\t10.0.0.1:1#again\n10.0.0.4:1"));
    assert_int_equal(addresses.len, 3);
    assert_string_equal(addresses.text[0], "10.0.0.1:1");
    assert_string_equal(addresses.text[1], "[fd00::2]:3");
    assert_string_equal(addresses.text[2], "10.0.0.4:1");
    assert_true(rusmi_addresses_has(&addresses, "[fd00::2]:3"));
    assert_false(rusmi_addresses_has(&addresses, "10.0.0.2:1"));
}

static void test_the_first_wrong_word_is_told_with_its_line(void **state)
{
    (void)state;
    assert_false(read_text("10.0.0.1:1\npari\033:1 and more\n10.0.0.2:1"));
    assert_int_equal(addresses.len, 2);
    assert_non_null(strstr(rusm_err_detail(), "line 2: pari?:1 is no numeric address"));
}

static void test_more_addresses_than_fit_are_left_out(void **state)
{
    (void)state;
    for (unsigned i = 0; i <= RUSM_JOIN_ADDRESSES_MAX; i++) {
        char text[32];

        assert_false(addresses.more);
        (void)snprintf(text, sizeof(text), "10.0.%u.%u:1", i / 256, i % 256);
        assert_true(read_text(text));
    }
    assert_true(addresses.more);
    assert_int_equal(addresses.len, RUSM_JOIN_ADDRESSES_MAX);
}

/* "10.0.0.1:4433" that is cut is "10.0.0.1:44". */
static void test_of_a_text_that_is_too_long_no_half_line_is_read(void **state)
{
    static const char last[] = "10.0.0.2:4433\n";
    size_t len = RUSMI_ADDRESSES_TEXT_MAX + 4;
    char *text = rusmi_alloc(len);

    (void)state;
    assert_non_null(text);
    memset(text, ' ', len);
    memcpy(text, "10.0.0.1:1\n", 11);
    memcpy(text + len - (sizeof(last) - 1), last, sizeof(last) - 1);
    assert_false(rusmi_addresses_read(&addresses, text, len, true));
    assert_int_equal(addresses.len, 1);
    assert_non_null(strstr(rusm_err_detail(), "longer than 262144 bytes"));
    /* With four bytes less it is not too long. */
    addresses.len = 0;
    memmove(text + len - 4 - (sizeof(last) - 1), last, sizeof(last) - 1);
    assert_true(rusmi_addresses_read(&addresses, text, len - 4, true));
    assert_int_equal(addresses.len, 2);
    rusmi_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_each_address_is_read_once, setup),
        cmocka_unit_test_setup(test_the_first_wrong_word_is_told_with_its_line, setup),
        cmocka_unit_test_setup(test_more_addresses_than_fit_are_left_out, setup),
        cmocka_unit_test_setup(test_of_a_text_that_is_too_long_no_half_line_is_read, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
