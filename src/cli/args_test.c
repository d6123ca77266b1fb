/* SPDX-License-Identifier: MIT */
/* Command lines that are understood, those that are refused and with which words, and the help. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/args.h"

#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 16

static const struct rusmi_command look = {
    .name = "look",
    .operands = "NAME ...",
    .operands_min = 1,
    .operands_max = 2,
    .options = RUSMI_OPTION(AT) | RUSMI_OPTION(IDENTITY) | RUSMI_OPTION(TIMEOUT) |
               RUSMI_OPTION(JSON) | RUSMI_OPTION(CONNECT) | RUSMI_OPTION(DAYS) |
               RUSMI_OPTION(ROLE) | RUSMI_OPTION(READY_FD) | RUSMI_OPTION(NAME),
    .required = RUSMI_OPTION(AT) | RUSMI_OPTION(NAME),
    .summary = "Look at something",
    .details = "",
};

struct fixture {
    struct rusmi_args args;
    char error[RUSMI_ARGS_ERROR_MAX];
};

static const char *no_env(const char *name)
{
    (void)name;
    return NULL;
}

static const char *some_env(const char *name)
{
    return strcmp(name, "RUSM_AT") == 0 ? "env:1" : "";
}

/* Parse words, separated by single blanks. */
static bool parse(struct fixture *fixture, const char *line, rusmi_env_fn env)
{
    static char copy[256]; /* args point into it */
    char *argv[WORDS_MAX], *rest = NULL;
    int argc = 0;

    (void)snprintf(copy, sizeof(copy), "%s", line);
    for (char *word = strtok_r(copy, " ", &rest); word != NULL && argc < WORDS_MAX;
         word = strtok_r(NULL, " ", &rest)) {
        argv[argc++] = word;
    }
    rusmi_args_fini(&fixture->args);
    fixture->error[0] = '\0';
    return rusmi_args_parse(&fixture->args, &look, argc, argv, env, fixture->error);
}

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct fixture));
    return *state == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    rusmi_args_fini(&fixture->args);
    free(fixture);
    return 0;
}

static void test_options_stand_anywhere_and_in_both_forms(void **state)
{
    struct fixture *fixture = *state;

    assert_true(parse(fixture, "one --at a:1 -n=x --timeout=0.5 two -j --connect c -c d", no_env));
    assert_int_equal(fixture->args.operands.len, 2);
    assert_string_equal(fixture->args.operands.items[0], "one");
    assert_string_equal(fixture->args.operands.items[1], "two");
    assert_string_equal(fixture->args.at, "a:1");
    assert_string_equal(fixture->args.name, "x");
    assert_int_equal(fixture->args.timeout_ms, 500);
    assert_true(fixture->args.json);
    assert_int_equal(fixture->args.connect.len, 2);
    assert_string_equal(fixture->args.connect.items[0], "c");
    assert_string_equal(fixture->args.connect.items[1], "d");
}

static void test_defaults_are_set(void **state)
{
    struct fixture *fixture = *state;

    assert_true(parse(fixture, "one --at a --name x", no_env));
    assert_int_equal(fixture->args.timeout_ms, 5000);
    assert_int_equal(fixture->args.ready_fd, -1);
    assert_int_equal(fixture->args.role, RUSM_ROLE_MEMBER);
    assert_int_equal(fixture->args.days, 0);
    assert_false(fixture->args.json);
    assert_null(fixture->args.identity);
}

static void test_the_last_of_two_counts(void **state)
{
    struct fixture *fixture = *state;

    assert_true(parse(fixture, "one --at a --name x --at b", no_env));
    assert_string_equal(fixture->args.at, "b");
}

static void test_double_dash_ends_the_options(void **state)
{
    struct fixture *fixture = *state;

    assert_true(parse(fixture, "--at a --name x -- --json -", no_env));
    assert_int_equal(fixture->args.operands.len, 2);
    assert_string_equal(fixture->args.operands.items[0], "--json");
    assert_string_equal(fixture->args.operands.items[1], "-");
    assert_false(fixture->args.json);
}

static void test_the_environment_gives_what_was_not_given(void **state)
{
    struct fixture *fixture = *state;

    assert_true(parse(fixture, "one --name x", some_env));
    assert_string_equal(fixture->args.at, "env:1");
    assert_null(fixture->args.identity); /* set, but empty */
    assert_true(parse(fixture, "one --name x --at b", some_env));
    assert_string_equal(fixture->args.at, "b");
}

static void test_help_stops_everything_else(void **state)
{
    struct fixture *fixture = *state;

    assert_true(parse(fixture, "a b c d --help --nonsense", no_env));
    assert_true(fixture->args.help);
}

static void test_what_is_not_understood_is_said(void **state)
{
    static const struct {
        const char *line, *error;
    } cases[] = {
        {"one --at a --name x --nope", "unknown option '--nope'"},
        {"one --at a --name x --listen l", "unknown option '--listen'"}, /* another command's */
        {"one --at a --name x -jj", "unknown option '-jj'"},
        {"one --name x --at", "--at needs a value, ADDRESS"},
        {"one --name x --at=", "--at may not be empty"},
        {"one --at a --name x --json=yes", "--json takes no value"},
        {"one --at a --name x --days 0", "--days is a whole number from 1 to 36500, not '0'"},
        {"one --at a --name x --timeout 0",
         "--timeout is a number of seconds over 0, such as 5 or 0.25, not '0'"},
        {"one --at a --name x --role king", "--role is member, operator or observer, not 'king'"},
        {"one --at a --name x --ready-fd -1",
         "--ready-fd is the number of an open descriptor, not '-1'"},
        {"--at a --name x", "it needs NAME ..."},
        {"one two three --at a --name x", "too many operands, from 'three' on"},
        {"one --name x", "it needs --at ADDRESS, or $RUSM_AT"},
        {"one --at a", "it needs --name NAME"},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_false(parse(fixture, cases[i].line, no_env));
        assert_string_equal(fixture->error, cases[i].error);
    }
}

static void test_help_shows_the_options_of_the_command(void **state)
{
    char *text = NULL;
    size_t text_len = 0;
    FILE *out = open_memstream(&text, &text_len);

    (void)state;
    assert_non_null(out);
    rusmi_args_help(&look, out);
    assert_int_equal(fclose(out), 0);
    assert_non_null(strstr(text, "usage: rusm look [options] NAME ...\n\nLook at something.\n"));
    assert_non_null(strstr(text, "  -a, --at ADDRESS          the node to ask"));
    assert_non_null(strstr(text, "      --days N  "));
    assert_non_null(strstr(text, "  -h, --help                print this text\n"));
    assert_null(strstr(text, "--listen"));
    for (const char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        assert_in_range(end - line, 0, 80);
    }
    free(text);
}

static void test_wrapped_paragraphs_keep_their_blank_lines(void **state)
{
    char *text = NULL;
    size_t text_len = 0;
    FILE *out = open_memstream(&text, &text_len);

    (void)state;
    assert_non_null(out);
    rusmi_args_wrap("one two\n\nthree", 2, 0, out);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(text, "  one two\n\n  three\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_options_stand_anywhere_and_in_both_forms, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_defaults_are_set, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_last_of_two_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_double_dash_ends_the_options, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_environment_gives_what_was_not_given, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_help_stops_everything_else, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_not_understood_is_said, setup, teardown),
        cmocka_unit_test(test_help_shows_the_options_of_the_command),
        cmocka_unit_test(test_wrapped_paragraphs_keep_their_blank_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
