/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/utf8.h"

#include <rusm/types.h>
#include <string.h>

/* Well-formed and ill-formed sequences: table 3-7 of the Unicode standard, and its edges. */
static void test_utf8_is_told_from_what_is_not(void **state)
{
    static const char *const good[] = {
        "",
        "a",
        "\x7f",
        "\xc2\x80",
        "\xdf\xbf",
        "\xe0\xa0\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xef\xbf\xbf",
        "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf",
        "gr\xc3\xbc\xc3\x9f",
    };
    static const char *const bad[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xc2",
        "\xc2\x41",
        "\xe0\x9f\xbf",
        "\xe0\xa0",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xff",
        "ok\xe2\x82",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(rusmi_utf8_valid(good[i], strlen(good[i])));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(rusmi_utf8_valid(bad[i], strlen(bad[i])));
    }
}

static void test_names_have_a_length_and_no_control_characters(void **state)
{
    char text[RUSM_NAME_MAX + 1];

    (void)state;
    memset(text, 'n', sizeof(text));
    assert_true(rusmi_name_valid(text, RUSM_NAME_MAX));
    assert_false(rusmi_name_valid(text, RUSM_NAME_MAX + 1));
    assert_false(rusmi_name_valid("", 0));
    assert_false(rusmi_name_valid("a\nb", 3));
    assert_false(rusmi_name_valid("a\0b", 3));
    assert_false(rusmi_name_valid("\x7f", 1));
    assert_false(rusmi_name_valid("\xc3", 1));
    assert_true(rusmi_name_valid("a b", 3));
}

static void test_cut_leaves_characters_whole(void **state)
{
    const char *text = "a\xc3\xa4\xe2\x82\xac"; /* one, two and three bytes */

    (void)state;
    assert_int_equal(rusmi_utf8_cut(text, 6, 6), 6);
    assert_int_equal(rusmi_utf8_cut(text, 6, 5), 3);
    assert_int_equal(rusmi_utf8_cut(text, 6, 4), 3);
    assert_int_equal(rusmi_utf8_cut(text, 6, 3), 3);
    assert_int_equal(rusmi_utf8_cut(text, 6, 2), 1);
    assert_int_equal(rusmi_utf8_cut(text, 6, 1), 1);
    assert_int_equal(rusmi_utf8_cut(text, 6, 0), 0);
}

/* Names are looked at in words: each byte counts, wherever in one it is. */
static void test_each_byte_of_a_name_counts(void **state)
{
    char text[20];

    (void)state;
    for (size_t len = 1; len <= sizeof(text); len++) {
        for (size_t at = 0; at < len; at++) {
            for (int byte = 0; byte < 256; byte++) {
                memset(text, ' ', len);
                text[at] = (char)byte;
                assert_int_equal(rusmi_name_valid(text, len), byte >= 0x20 && byte < 0x7f);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8_is_told_from_what_is_not),
        cmocka_unit_test(test_names_have_a_length_and_no_control_characters),
        cmocka_unit_test(test_cut_leaves_characters_whole),
        cmocka_unit_test(test_each_byte_of_a_name_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
