/* SPDX-License-Identifier: MIT */
/* Pids are read as they are printed, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/pid.h"

#include <stdio.h>
#include <string.h>

static void assert_pid(const char *text, const char *node, uint64_t serial)
{
    struct rusmi_pid_text pid;

    assert_true(rusmi_pid_parse(text, &pid));
    assert_string_equal(pid.node, node);
    assert_true(pid.serial == serial);
}

static void test_pids_are_read_with_and_without_brackets(void **state)
{
    (void)state;
    assert_pid("<london.42>", "london", 42);
    assert_pid("london.42", "london", 42);
    assert_pid("<db.eu.7>", "db.eu", 7); /* the last full stop counts */
    assert_pid("<a.18446744073709551615>", "a", UINT64_MAX);
    assert_pid("<0123456789abcdef.1>", "0123456789abcdef", 1);
}

static void test_other_texts_are_no_pids(void **state)
{
    static const char *const texts[] = {"",
                                        "<>",
                                        "london",
                                        "<london>",
                                        "<.1>",
                                        ".1",
                                        "<a.>",
                                        "a.",
                                        "<a.1",
                                        "a.1>",
                                        "<a.0>",
                                        "<a.-1>",
                                        "<a.1x>",
                                        "<a. 1>",
                                        "<a.1.>",
                                        "<a.18446744073709551616>",
                                        "<a.000000000000000000000000001>"};
    struct rusmi_pid_text pid;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (rusmi_pid_parse(texts[i], &pid)) {
            fail_msg("'%s' was read as a pid", texts[i]);
        }
    }
}

static void test_node_of_any_length_up_to_the_limit(void **state)
{
    char text[RUSM_NAME_MAX + 8], node[RUSM_NAME_MAX + 2];
    struct rusmi_pid_text pid;

    (void)state;
    memset(node, 'n', sizeof(node) - 1);
    node[RUSM_NAME_MAX + 1] = '\0';
    (void)snprintf(text, sizeof(text), "<%s.1>", node);
    assert_false(rusmi_pid_parse(text, &pid));
    node[RUSM_NAME_MAX] = '\0';
    (void)snprintf(text, sizeof(text), "<%s.1>", node);
    assert_true(rusmi_pid_parse(text, &pid));
    assert_string_equal(pid.node, node);
}

static void test_incarnations_are_sixteen_digits(void **state)
{
    uint64_t incarnation = 7;

    (void)state;
    assert_true(rusmi_pid_incarnation("0123456789abcdef", &incarnation));
    assert_true(incarnation == UINT64_C(0x0123456789abcdef));
    assert_false(rusmi_pid_incarnation("0123456789abcde", &incarnation));
    assert_false(rusmi_pid_incarnation("0123456789abcdef0", &incarnation));
    assert_false(rusmi_pid_incarnation("0123456789abcdeg", &incarnation));
    assert_false(rusmi_pid_incarnation("0000000000000000", &incarnation));
}

static void test_what_is_printed_can_be_read(void **state)
{
    rusm_pid pid = {UINT64_C(0xabcdef), 42};
    char text[RUSMI_PID_TEXT_MAX];

    (void)state;
    rusmi_pid_format("london", pid, text);
    assert_string_equal(text, "<london.42>");
    assert_pid(text, "london", 42);
    rusmi_pid_format(NULL, pid, text);
    assert_string_equal(text, "<0000000000abcdef.42>");
    assert_pid(text, "0000000000abcdef", 42);
    rusmi_pid_format("", pid, text);
    assert_string_equal(text, "<0000000000abcdef.42>");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pids_are_read_with_and_without_brackets),
        cmocka_unit_test(test_other_texts_are_no_pids),
        cmocka_unit_test(test_node_of_any_length_up_to_the_limit),
        cmocka_unit_test(test_incarnations_are_sixteen_digits),
        cmocka_unit_test(test_what_is_printed_can_be_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
