/* SPDX-License-Identifier: MIT */
/*
 * The command line: a command of one or two words, its options, its operands. Which options exist
 * is one table (args.c); each command says which of them it takes. Options may stand anywhere after
 * the command, `--name value` or `--name=value`; `--` ends them. Of an option given twice the last
 * counts, unless it makes a list. A command line that is not understood changes nothing.
 */
#ifndef RUSMI_CLI_ARGS_H
#define RUSMI_CLI_ARGS_H

#include "cli/say.h"

#include <rusm/trust.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum rusmi_option_id {
    RUSMI_OPTION_CA,
    RUSMI_OPTION_OUT,
    RUSMI_OPTION_FILE,
    RUSMI_OPTION_ROLE,
    RUSMI_OPTION_DAYS,
    RUSMI_OPTION_REASON,
    RUSMI_OPTION_NAME,
    RUSMI_OPTION_LISTEN,
    RUSMI_OPTION_CONNECT,
    RUSMI_OPTION_CONNECT_TIMEOUT,
    RUSMI_OPTION_JOIN,
    RUSMI_OPTION_ADVERTISE,
    RUSMI_OPTION_NO_MESH,
    RUSMI_OPTION_CRL_STRICT,
    RUSMI_OPTION_LOAD,
    RUSMI_OPTION_TICK_MS,
    RUSMI_OPTION_MEMORY_MAX,
    RUSMI_OPTION_READY_FD,
    RUSMI_OPTION_AT,
    RUSMI_OPTION_IDENTITY,
    RUSMI_OPTION_TIMEOUT,
    RUSMI_OPTION_JSON,
    RUSMI_OPTION_HELP,
    RUSMI_OPTIONS
};

/* Values of an option that may be given many times, in order. */
struct rusmi_arg_list {
    const char **items;
    size_t len;
};

struct rusmi_command;

/* A command line that was understood. Texts point into argv and the environment. */
struct rusmi_args {
    const struct rusmi_command *command;
    struct rusmi_arg_list operands;
    const char *ca;
    const char *out;
    const char *file;
    rusm_role role;
    uint64_t days; /* 0: not given */
    const char *reason;
    const char *name;
    const char *listen;
    struct rusmi_arg_list connect;
    int64_t connect_timeout_ms; /* RUSM_INFINITY: not given */
    struct rusmi_arg_list join;
    const char *advertise;
    bool no_mesh;
    bool crl_strict;
    struct rusmi_arg_list load;
    uint64_t tick_ms;    /* 0: not given */
    uint64_t memory_max; /* MiB; 0: not given */
    int64_t ready_fd;    /* -1: not given */
    const char *at;
    const char *identity;
    int64_t timeout_ms;
    bool json;
    bool help;
};

/* A command. The table of all of them is in commands.c. */
struct rusmi_command {
    const char *name;     /* one word or two */
    const char *operands; /* as the usage line shows them, or "" */
    size_t operands_min, operands_max;
    uint32_t options;    /* bits 1 << rusmi_option_id; --help is always allowed */
    uint32_t required;   /* those of them that must be given, or be in the environment */
    const char *summary; /* one line, no full stop */
    const char *details; /* paragraphs, or "" */
    enum rusmi_exit (*run)(const struct rusmi_args *args);
};

#define RUSMI_OPTION(id)     (1u << RUSMI_OPTION_##id)

#define RUSMI_ARGS_ERROR_MAX 512

/* Reads a variable of the environment: getenv(3), or a test's own. */
typedef const char *(*rusmi_env_fn)(const char *name);

/*
 * Understand what follows the words of a command. False: error says why, and args is not to be
 * used. With --help nothing else is checked. Ends with rusmi_args_fini() either way.
 */
bool rusmi_args_parse(struct rusmi_args *args, const struct rusmi_command *command, int argc,
                      char *const *argv, rusmi_env_fn env, char error[RUSMI_ARGS_ERROR_MAX]);
void rusmi_args_fini(struct rusmi_args *args);

/* Print what `--help` of a command shows. */
void rusmi_args_help(const struct rusmi_command *command, FILE *out);

/* Print text, wrapped at 80 columns, each line indented; a blank line ends a paragraph. The first
 * line is already filled up to column `at`. */
void rusmi_args_wrap(const char *text, size_t indent, size_t at, FILE *out);

#endif
