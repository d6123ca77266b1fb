/* SPDX-License-Identifier: MIT */
/* Tables are aligned, page by page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/table.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>

static const struct rusmi_column columns[] = {{"NAME", false}, {"N", true}, {"STATE", false}};

struct fixture {
    struct rusmi_table table;
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
    rusmi_table_init(&fixture->table, fixture->out, columns, 3);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    rusmi_table_fini(&fixture->table);
    (void)fclose(fixture->out);
    free(fixture->text);
    free(fixture);
    return 0;
}

static void row(struct fixture *fixture, const char *name, int number, const char *text)
{
    rusmi_table_cell(&fixture->table, "%s", name);
    rusmi_table_cell(&fixture->table, "%d", number);
    rusmi_table_cell(&fixture->table, "%s", text);
}

static void assert_text(struct fixture *fixture, const char *expected)
{
    assert_int_equal(fflush(fixture->out), 0);
    assert_string_equal(fixture->text, expected);
}

static void test_columns_are_as_wide_as_their_widest_cell(void **state)
{
    struct fixture *fixture = *state;

    row(fixture, "a", 1, "receiving");
    row(fixture, "longer", 12345, "x");
    assert_true(rusmi_table_flush(&fixture->table));
    assert_text(fixture, "NAME        N  STATE\n"
                         "a           1  receiving\n"
                         "longer  12345  x\n");
}

static void test_empty_table_has_titles(void **state)
{
    struct fixture *fixture = *state;

    assert_true(rusmi_table_flush(&fixture->table));
    assert_text(fixture, "NAME  N  STATE\n");
}

static void test_later_pages_are_never_narrower(void **state)
{
    struct fixture *fixture = *state;

    row(fixture, "longer", 1, "x");
    assert_true(rusmi_table_flush(&fixture->table));
    row(fixture, "a", 123, "y");
    assert_true(rusmi_table_flush(&fixture->table));
    row(fixture, "b", 1, "z");
    assert_true(rusmi_table_flush(&fixture->table));
    assert_text(fixture, "NAME    N  STATE\n"
                         "longer  1  x\n"
                         "a       123  y\n"
                         "b         1  z\n");
}

static void test_cells_are_clean_and_never_empty(void **state)
{
    struct fixture *fixture = *state;

    row(fixture, "", 1, "\x1b[31m");
    row(fixture, "\xe6\x9d\xb1\xe4\xba\xac\xe9\x83\xbd", 2,
        "x"); /* three characters, six columns */
    assert_true(rusmi_table_flush(&fixture->table));
    assert_text(fixture, "NAME    N  STATE\n"
                         "-       1  \\x1b[31m\n"
                         "\xe6\x9d\xb1\xe4\xba\xac\xe9\x83\xbd  2  x\n");
}

static void test_many_rows_in_one_page(void **state)
{
    struct fixture *fixture = *state;
    size_t lines = 0;

    for (int i = 0; i < 5000; i++) {
        row(fixture, "name", i, "state");
    }
    assert_true(rusmi_table_flush(&fixture->table));
    assert_int_equal(fflush(fixture->out), 0);
    for (const char *at = fixture->text; (at = strchr(at, '\n')) != NULL; at++) {
        lines++;
    }
    assert_int_equal(lines, 5001);
    assert_non_null(strstr(fixture->text, "\nname  4999  state\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_columns_are_as_wide_as_their_widest_cell, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_empty_table_has_titles, setup, teardown),
        cmocka_unit_test_setup_teardown(test_later_pages_are_never_narrower, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cells_are_clean_and_never_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_rows_in_one_page, setup, teardown),
    };

    (void)setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
