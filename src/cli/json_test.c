/* SPDX-License-Identifier: MIT */
/* Documents come out byte for byte as expected, whatever the strings hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/json.h"

#include <stdlib.h>
#include <string.h>

struct fixture {
    struct rusmi_json json;
    FILE *out;
    char *text;
    size_t text_len;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    if (fixture == NULL ||
        (fixture->out = open_memstream(&fixture->text, &fixture->text_len)) == NULL) {
        free(fixture);
        return -1;
    }
    rusmi_json_init(&fixture->json, fixture->out);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    (void)fclose(fixture->out);
    free(fixture->text);
    free(fixture);
    return 0;
}

static void assert_document(struct fixture *fixture, const char *expected)
{
    assert_int_equal(fflush(fixture->out), 0);
    assert_string_equal(fixture->text, expected);
}

static void test_object_has_every_kind_of_value(void **state)
{
    struct fixture *fixture = *state;
    struct rusmi_json *json = &fixture->json;

    rusmi_json_begin_object(json, NULL);
    rusmi_json_text(json, "text", "a");
    rusmi_json_text(json, "none", NULL);
    rusmi_json_number(json, "number", UINT64_MAX);
    rusmi_json_integer(json, "integer", INT64_MIN);
    rusmi_json_bool(json, "yes", true);
    rusmi_json_bool(json, "no", false);
    rusmi_json_end(json);
    assert_document(fixture, "{\"text\":\"a\",\"none\":null,\"number\":18446744073709551615,"
                             "\"integer\":-9223372036854775808,\"yes\":true,\"no\":false}\n");
}

static void test_list_has_a_line_for_each_record(void **state)
{
    struct fixture *fixture = *state;
    struct rusmi_json *json = &fixture->json;

    rusmi_json_begin_array(json, NULL);
    for (uint64_t i = 1; i <= 2; i++) {
        rusmi_json_begin_object(json, NULL);
        rusmi_json_number(json, "n", i);
        rusmi_json_begin_array(json, "inner");
        rusmi_json_number(json, NULL, i);
        rusmi_json_number(json, NULL, i);
        rusmi_json_end(json);
        rusmi_json_end(json);
    }
    rusmi_json_end(json);
    assert_document(fixture, "[\n{\"n\":1,\"inner\":[1,1]},\n{\"n\":2,\"inner\":[2,2]}\n]\n");
}

static void test_empty_list_and_object(void **state)
{
    struct fixture *fixture = *state;

    rusmi_json_begin_array(&fixture->json, NULL);
    rusmi_json_end(&fixture->json);
    assert_document(fixture, "[]\n");
}

static void test_empty_object_inside_an_object(void **state)
{
    struct fixture *fixture = *state;

    rusmi_json_begin_object(&fixture->json, NULL);
    rusmi_json_begin_object(&fixture->json, "o");
    rusmi_json_end(&fixture->json);
    rusmi_json_text(&fixture->json, "after", "");
    rusmi_json_end(&fixture->json);
    assert_document(fixture, "{\"o\":{},\"after\":\"\"}\n");
}

static void test_strings_are_escaped(void **state)
{
    struct fixture *fixture = *state;

    rusmi_json_text(&fixture->json, NULL, "1\"2\\3\n4\t5\x1b 6\x7f 7\xc3\xbc");
    assert_document(fixture, "\"1\\\"2\\\\3\\n4\\t5\\u001b 6\\u007f 7\xc3\xbc\"");
}

static void test_bytes_that_are_no_utf8_are_replaced(void **state)
{
    struct fixture *fixture = *state;

    rusmi_json_text(&fixture->json, NULL,
                    "\xff"
                    "a\xc3");
    assert_document(fixture, "\"\\ufffda\\ufffd\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_object_has_every_kind_of_value, setup, teardown),
        cmocka_unit_test_setup_teardown(test_list_has_a_line_for_each_record, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty_list_and_object, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty_object_inside_an_object, setup, teardown),
        cmocka_unit_test_setup_teardown(test_strings_are_escaped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bytes_that_are_no_utf8_are_replaced, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
