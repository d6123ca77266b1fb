/* SPDX-License-Identifier: MIT */
/*
 * rusm, the command: certificates, running a node, looking into a running node and driving it. It
 * speaks to the libraries through their public headers only. See man/rusm.1.
 */
#include "cli/commands.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void usage(FILE *out)
{
    (void)fputs("usage: rusm <command> [options] [operands]\n\n", out);
    for (size_t i = 0; i < rusmi_commands_len; i++) {
        (void)fprintf(out, "  %-12s%s\n", rusmi_commands[i].name, rusmi_commands[i].summary);
    }
    (void)fputs("\n'rusm <command> --help' explains a command; rusm(1) has the whole.\n", out);
}

enum rusmi_exit rusmi_run_version(const struct rusmi_args *args)
{
    (void)args;
    (void)puts("rusm " RUSMI_VERSION);
    return RUSMI_EXIT_OK;
}

/* Print the commands whose first word this is; false: there are none. */
static bool list_family(const char *word, FILE *out)
{
    size_t len = strlen(word);
    bool found = false;

    for (size_t i = 0; i < rusmi_commands_len; i++) {
        const char *name = rusmi_commands[i].name;

        if (strncmp(name, word, len) == 0 && name[len] == ' ') {
            (void)fprintf(out, "%s%-12s%s\n", found ? "  " : "usage:\n  ", name,
                          rusmi_commands[i].summary);
            found = true;
        }
    }
    return found;
}

/* What the words, which name no command, were meant to be. */
static enum rusmi_exit unknown(int argc, char *const *argv)
{
    if (argc == 1 && list_family(argv[0], stderr)) {
        return RUSMI_EXIT_USAGE;
    }
    rusmi_say("there is no command '%s%s%s'; see 'rusm help'", argv[0], argc > 1 ? " " : "",
              argc > 1 ? argv[1] : "");
    return RUSMI_EXIT_USAGE;
}

enum rusmi_exit rusmi_run_help(const struct rusmi_args *args)
{
    const struct rusmi_command *command;
    int argc = (int)args->operands.len, words = 0;
    char *argv[2] = {NULL, NULL};

    for (int i = 0; i < argc; i++) {
        argv[i] = (char *)args->operands.items[i]; /* from argv, so it was no constant */
    }
    if (argc == 0) {
        usage(stdout);
        return RUSMI_EXIT_OK;
    }
    command = rusmi_command_find(argc, argv, &words);
    if (command == NULL || words != argc) {
        return argc == 1 && list_family(argv[0], stdout) ? RUSMI_EXIT_OK : unknown(argc, argv);
    }
    rusmi_args_help(command, stdout);
    return RUSMI_EXIT_OK;
}

static const char *read_env(const char *name)
{
    return getenv(name);
}

static enum rusmi_exit run(const struct rusmi_command *command, int argc, char *const *argv)
{
    char error[RUSMI_ARGS_ERROR_MAX];
    enum rusmi_exit code = RUSMI_EXIT_OK;
    struct rusmi_args args;

    if (!rusmi_args_parse(&args, command, argc, argv, read_env, error)) {
        rusmi_say("%s: %s; see 'rusm help %s'", command->name, error, command->name);
        code = RUSMI_EXIT_USAGE;
    } else if (args.help) {
        rusmi_args_help(command, stdout);
    } else {
        code = command->run(&args);
    }
    rusmi_args_fini(&args);
    return code;
}

int main(int argc, char **argv)
{
    const struct rusmi_command *command;
    enum rusmi_exit code = RUSMI_EXIT_OK;
    int words = 0;

    /* Names are UTF-8 everywhere; this only tells wcwidth(3) how wide their characters are. */
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    if (argc < 2) {
        usage(stderr);
        return RUSMI_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        usage(stdout);
    } else if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        code = rusmi_run_version(NULL);
    } else if ((command = rusmi_command_find(argc - 1, argv + 1, &words)) != NULL) {
        code = run(command, argc - 1 - words, argv + 1 + words);
    } else if (argc == 3 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0) &&
               list_family(argv[1], stdout)) {
        code = RUSMI_EXIT_OK; /* rusm ca --help */
    } else {
        code = unknown(argc - 1, argv + 1);
    }
    return (int)rusmi_flush(code);
}
