/* SPDX-License-Identifier: MIT */
/* What comes from a peer can not drive the terminal; numbers are read exactly or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/text.h"

#include <locale.h>
#include <string.h>

static void assert_clean(const char *text, const char *expected)
{
    char buf[128];

    assert_int_equal(rusmi_text_clean(text, buf, sizeof(buf)), strlen(expected));
    assert_string_equal(buf, expected);
}

static void test_text_is_kept_and_control_is_shown(void **state)
{
    static const char right_to_left[] = {'\xe2', '\x80', '\xae', 't', 'x', 't', '\0'};

    (void)state;
    assert_clean("", "");
    assert_clean("g\xc3\xbcnther \xe6\x9d\xb1\xe4\xba\xac \xf0\x9f\x90\x9d",
                 "g\xc3\xbcnther \xe6\x9d\xb1\xe4\xba\xac \xf0\x9f\x90\x9d");
    assert_clean("a\x1b[2Jb\nc\x7f", "a\\x1b[2Jb\\x0ac\\x7f");
    assert_clean("\xc2\x9b", "\\u{9b}"); /* CSI as one character */
    assert_clean(right_to_left, "\\u{202e}txt");
    assert_clean("\xef\xbf\xbd", "\xef\xbf\xbd"); /* U+FFFD itself is text */
}

static void test_what_is_no_utf8_is_shown_as_bytes(void **state)
{
    (void)state;
    assert_clean("\xff", "\\xff");
    assert_clean("\xc0\xaf", "\\xc0\\xaf");                   /* not the shortest form */
    assert_clean("\xed\xa0\x80", "\\xed\\xa0\\x80");          /* a surrogate */
    assert_clean("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"); /* above U+10FFFF */
    assert_clean("\xe6\x9d", "\\xe6\\x9d");                   /* cut short */
}

static void test_clean_text_is_cut_between_characters(void **state)
{
    char buf[6];

    (void)state;
    assert_int_equal(rusmi_text_clean("abcd\xc3\xbc", buf, sizeof(buf)), 4);
    assert_string_equal(buf, "abcd");
    assert_int_equal(rusmi_text_clean("abc\n", buf, sizeof(buf)), 3);
    assert_string_equal(buf, "abc");
}

static void test_width_counts_columns(void **state)
{
    (void)state;
    assert_int_equal(rusmi_text_width("abc"), 3);
    assert_int_equal(rusmi_text_width("g\xc3\xbc"), 2);
    assert_int_equal(rusmi_text_width("\xe6\x9d\xb1"), 2);
}

static void assert_age(int64_t ms, const char *expected)
{
    char buf[RUSMI_TEXT_SHORT];

    rusmi_text_age(ms, buf);
    assert_string_equal(buf, expected);
}

static void assert_bytes(uint64_t bytes, const char *expected)
{
    char buf[RUSMI_TEXT_SHORT];

    rusmi_text_bytes(bytes, buf);
    assert_string_equal(buf, expected);
}

static void test_quantities_have_units(void **state)
{
    char buf[RUSMI_TEXT_SHORT];

    (void)state;
    assert_age(0, "0 ms");
    assert_age(59999, "59 s");
    assert_age(245000, "4m05s");
    assert_age(11400000, "3h10m");
    assert_age(INT64_C(1051200000), "12d04h");
    assert_bytes(1023, "1023 B");
    assert_bytes(65536, "64.0 KiB");
    assert_bytes(1024 * 1024 - 1, "1.0 MiB"); /* never "1024.0 KiB" */
    assert_bytes(UINT64_MAX, "16.0 EiB");
    rusmi_text_us(999, buf);
    assert_string_equal(buf, "999 us");
    rusmi_text_us(1250, buf);
    assert_string_equal(buf, "1.25 ms");
    rusmi_text_us(2000000, buf);
    assert_string_equal(buf, "2.00 s");
    rusmi_text_date(1800000000, buf);
    assert_string_equal(buf, "2027-01-15");
    rusmi_text_date(INT64_MAX, buf);
    assert_string_equal(buf, "@9223372036854775807");
}

static void test_numbers_are_read_exactly(void **state)
{
    uint64_t number = 77;

    (void)state;
    assert_true(rusmi_text_number("18446744073709551615", 0, UINT64_MAX, &number));
    assert_true(number == UINT64_MAX);
    assert_true(rusmi_text_number("5", 5, 5, &number));
    assert_int_equal(number, 5);
    assert_false(rusmi_text_number("18446744073709551616", 0, UINT64_MAX, &number));
    assert_false(rusmi_text_number("", 0, 9, &number));
    assert_false(rusmi_text_number("-1", 0, 9, &number));
    assert_false(rusmi_text_number("+1", 0, 9, &number));
    assert_false(rusmi_text_number(" 1", 0, 9, &number));
    assert_false(rusmi_text_number("1x", 0, 9, &number));
    assert_false(rusmi_text_number("4", 5, 9, &number));
    assert_false(rusmi_text_number("10", 5, 9, &number));
    assert_int_equal(number, 5);
}

static void test_seconds_have_three_decimals(void **state)
{
    int64_t ms = 77;

    (void)state;
    assert_true(rusmi_text_seconds("5", &ms));
    assert_int_equal(ms, 5000);
    assert_true(rusmi_text_seconds("0.25", &ms));
    assert_int_equal(ms, 250);
    assert_true(rusmi_text_seconds("0.001", &ms));
    assert_int_equal(ms, 1);
    assert_false(rusmi_text_seconds("0", &ms));
    assert_false(rusmi_text_seconds("0.0", &ms));
    assert_false(rusmi_text_seconds("0.0001", &ms));
    assert_false(rusmi_text_seconds("1.", &ms));
    assert_false(rusmi_text_seconds(".5", &ms));
    assert_false(rusmi_text_seconds("1.5s", &ms));
    assert_false(rusmi_text_seconds("99999999999999999999", &ms));
    assert_false(rusmi_text_seconds("31622401", &ms));
    assert_int_equal(ms, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_is_kept_and_control_is_shown),
        cmocka_unit_test(test_what_is_no_utf8_is_shown_as_bytes),
        cmocka_unit_test(test_clean_text_is_cut_between_characters),
        cmocka_unit_test(test_width_counts_columns),
        cmocka_unit_test(test_quantities_have_units),
        cmocka_unit_test(test_numbers_are_read_exactly),
        cmocka_unit_test(test_seconds_have_three_decimals),
    };

    (void)setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
