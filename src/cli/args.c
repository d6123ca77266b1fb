/* SPDX-License-Identifier: MIT */
#include "cli/args.h"

#include "cli/text.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS        80
#define HELP_INDENT    28
#define TIMEOUT_MS     5000
#define VALID_DAYS_MAX 36500u
#define TICK_MS_MIN    200u
#define TICK_MS_MAX    3600000u
#define DESCRIPTOR_MAX 1048576u
#define MEMORY_MIB_MIN 128u
#define MEMORY_MIB_MAX (1u << 30)

enum option_kind {
    OPTION_FLAG,
    OPTION_TEXT,
    OPTION_LIST,
    OPTION_ROLE,
    OPTION_NUMBER,
    OPTION_DESCRIPTOR,
    OPTION_SECONDS
};

struct option {
    const char *name;
    char letter; /* or 0 */
    enum option_kind kind;
    const char *value; /* how the help calls the value; NULL for flags */
    const char *env;   /* a variable that gives it when the command line does not, or NULL */
    size_t offset;     /* where it goes in struct rusmi_args */
    uint64_t min, max; /* OPTION_NUMBER */
    const char *help;
};

#define TO(field) offsetof(struct rusmi_args, field)

static const struct option options[RUSMI_OPTIONS] = {
    [RUSMI_OPTION_CA] = {"ca", 0, OPTION_TEXT, "DIR", NULL, TO(ca), 0, 0,
                         "folder of the CA's files ca.pem and ca.key (default: this folder)"},
    [RUSMI_OPTION_OUT] = {"out", 'o', OPTION_TEXT, "PATH", NULL, TO(out), 0, 0,
                          "folder to write to, made if missing (default: the folder of the CA); "
                          "of ca crl the file (default: crl.pem there)"},
    [RUSMI_OPTION_FILE] = {"file", 0, OPTION_TEXT, "NAME", NULL, TO(file), 0, 0,
                           "name of the files, NAME.pem and NAME.key (default: the node's name)"},
    [RUSMI_OPTION_ROLE] = {"role", 0, OPTION_ROLE, "ROLE", NULL, TO(role), 0, 0,
                           "member, a node of the cluster (default); operator, to look, send, "
                           "spawn and kill; or observer, to look"},
    [RUSMI_OPTION_DAYS] = {"days", 0, OPTION_NUMBER, "N", NULL, TO(days), 1, VALID_DAYS_MAX,
                           "days until it expires (default: 3650 for a CA; 365 for an identity, "
                           "or its CA's end if that is earlier), or until the next revocation "
                           "list is due (default: 30)"},
    [RUSMI_OPTION_REASON] = {"reason", 0, OPTION_TEXT, "REASON", NULL, TO(reason), 0, 0,
                             "why, for the record: unspecified (default), key-compromise, "
                             "superseded, cessation or withdrawn"},
    [RUSMI_OPTION_NAME] = {"name", 'n', OPTION_TEXT, "NAME", NULL, TO(name), 0, 0,
                           "name of the node (default: the one in the certificate)"},
    [RUSMI_OPTION_LISTEN] = {"listen", 'l', OPTION_TEXT, "ADDRESS", NULL, TO(listen), 0, 0,
                             "where to listen: IPv4:PORT or [IPv6]:PORT, port 0 for any "
                             "(default: 127.0.0.1:0)"},
    [RUSMI_OPTION_CONNECT] = {"connect", 'c', OPTION_LIST, "ADDRESS", NULL, TO(connect), 0, 0,
                              "node to link to, tried again until it answers; may be repeated"},
    [RUSMI_OPTION_CONNECT_TIMEOUT] = {"connect-timeout", 0, OPTION_SECONDS, "SECONDS", NULL,
                                      TO(connect_timeout_ms), 0, 0,
                                      "give up, and stop the node, if a --connect has not worked "
                                      "after so long (default: never)"},
    [RUSMI_OPTION_JOIN] = {"join", 0, OPTION_LIST, "SPEC", NULL, TO(join), 0, 0,
                           "where to look for members, again and again: ADDRESS[,ADDRESS...], "
                           "file:PATH, dns:NAME:PORT or srv:NAME; may be repeated"},
    [RUSMI_OPTION_ADVERTISE] = {"advertise", 0, OPTION_TEXT, "ADDRESS", NULL, TO(advertise), 0, 0,
                                "where others reach the node if not at --listen; port 0 for the "
                                "same port"},
    [RUSMI_OPTION_NO_MESH] = {"no-mesh", 0, OPTION_FLAG, NULL, NULL, TO(no_mesh), 0, 0,
                              "link only to the nodes given, and not to those that they know"},
    [RUSMI_OPTION_CRL_STRICT] = {"crl-strict", 0, OPTION_FLAG, NULL, NULL, TO(crl_strict), 0, 0,
                                 "let a node in only if the revocation list of its CA is here and "
                                 "not overdue"},
    [RUSMI_OPTION_LOAD] = {"load", 0, OPTION_LIST, "FILE", NULL, TO(load), 0, 0,
                           "application to run in the node, a shared object; may be repeated"},
    [RUSMI_OPTION_TICK_MS] = {"tick-ms", 0, OPTION_NUMBER, "MS", NULL, TO(tick_ms), TICK_MS_MIN,
                              TICK_MS_MAX,
                              "a peer that is silent for so many milliseconds is down "
                              "(default: 10000)"},
    [RUSMI_OPTION_MEMORY_MAX] = {"memory-max", 0, OPTION_NUMBER, "MIB", NULL, TO(memory_max),
                                 MEMORY_MIB_MIN, MEMORY_MIB_MAX,
                                 "hold at most so many MiB for all peers together (default: 4096)"},
    [RUSMI_OPTION_READY_FD] = {"ready-fd", 0, OPTION_DESCRIPTOR, "FD", NULL, TO(ready_fd), 0, 0,
                               "write the real address and a newline to this descriptor when the "
                               "node is ready, then close it"},
    [RUSMI_OPTION_AT] = {"at", 'a', OPTION_TEXT, "ADDRESS", "RUSM_AT", TO(at), 0, 0,
                         "the node to ask: IPv4:PORT or [IPv6]:PORT (default: $RUSM_AT)"},
    [RUSMI_OPTION_IDENTITY] = {"identity", 'i', OPTION_TEXT, "DIR/NAME", "RUSM_IDENTITY",
                               TO(identity), 0, 0,
                               "certificate and key: DIR/NAME.pem, DIR/NAME.key and DIR/ca.pem "
                               "(default: $RUSM_IDENTITY)"},
    [RUSMI_OPTION_TIMEOUT] = {"timeout", 't', OPTION_SECONDS, "SECONDS", NULL, TO(timeout_ms), 0, 0,
                              "how long to wait for the connection, and then for each answer "
                              "(default: 5)"},
    [RUSMI_OPTION_JSON] = {"json", 'j', OPTION_FLAG, NULL, NULL, TO(json), 0, 0,
                           "print one JSON document"},
    [RUSMI_OPTION_HELP] = {"help", 'h', OPTION_FLAG, NULL, NULL, TO(help), 0, 0, "print this text"},
};

/* ---- parsing */

struct parser {
    struct rusmi_args *args;
    char *error;
    uint32_t given; /* bits 1 << id */
};

static bool fail(const struct parser *parser, const char *format, ...) RUSM_PRINTF(2, 3);

static bool fail(const struct parser *parser, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    (void)vsnprintf(parser->error, RUSMI_ARGS_ERROR_MAX, format, list);
    va_end(list);
    return false;
}

static bool set_number(const struct parser *parser, const struct option *option, const char *text,
                       uint64_t *out_number)
{
    if (!rusmi_text_number(text, option->min, option->max, out_number)) {
        return fail(parser, "--%s is a whole number from %llu to %llu, not '%s'", option->name,
                    (unsigned long long)option->min, (unsigned long long)option->max, text);
    }
    return true;
}

/* Put the value of an option where it belongs. */
static bool set(const struct parser *parser, const struct option *option, const char *text)
{
    void *field = (char *)parser->args + option->offset;
    struct rusmi_arg_list *list = field;
    uint64_t number;

    switch (option->kind) {
    case OPTION_FLAG:
        *(bool *)field = true;
        return true;
    case OPTION_TEXT:
        *(const char **)field = text;
        return text[0] != '\0' || fail(parser, "--%s may not be empty", option->name);
    case OPTION_LIST:
        list->items[list->len++] = text;
        return true;
    case OPTION_ROLE:
        return rusm_role_parse(text, (rusm_role *)field) == RUSM_OK ||
               fail(parser, "--role is member, operator or observer, not '%s'", text);
    case OPTION_NUMBER:
        return set_number(parser, option, text, field);
    case OPTION_DESCRIPTOR:
        if (!rusmi_text_number(text, 0, DESCRIPTOR_MAX, &number)) {
            return fail(parser, "--%s is the number of an open descriptor, not '%s'", option->name,
                        text);
        }
        *(int64_t *)field = (int64_t)number;
        return true;
    case OPTION_SECONDS:
        return rusmi_text_seconds(text, field) ||
               fail(parser, "--%s is a number of seconds over 0, such as 5 or 0.25, not '%s'",
                    option->name, text);
    }
    return false;
}

/* The option that the len bytes of text name, if the command takes it; else NULL. */
static const struct option *find(const struct rusmi_command *command, const char *text, size_t len,
                                 bool is_letter)
{
    uint32_t allowed = command->options | RUSMI_OPTION(HELP);

    for (unsigned id = 0; id < RUSMI_OPTIONS; id++) {
        const struct option *option = &options[id];
        bool named = is_letter
                         ? len == 1 && option->letter == text[0]
                         : strlen(option->name) == len && memcmp(option->name, text, len) == 0;

        if (named && (allowed & (1u << id)) != 0) {
            return option;
        }
    }
    return NULL;
}

/* Understand the option at argv[0]; *out_used is how many words it took. */
static bool parse_option(struct parser *parser, int argc, char *const *argv, int *out_used)
{
    const char *word = argv[0];
    bool is_letter = word[1] != '-';
    const char *name = word + (is_letter ? 1 : 2);
    const char *value = strchr(name, '=');
    size_t name_len = value != NULL ? (size_t)(value - name) : strlen(name);
    const struct option *option = find(parser->args->command, name, name_len, is_letter);

    *out_used = 1;
    if (option == NULL) {
        return fail(parser, "unknown option '%s'", word);
    }
    parser->given |= 1u << (option - options);
    if (option->kind == OPTION_FLAG) {
        return value == NULL ? set(parser, option, NULL)
                             : fail(parser, "--%s takes no value", option->name);
    }
    if (value != NULL) {
        value++;
    } else if (argc > 1) {
        value = argv[1];
        *out_used = 2;
    } else {
        return fail(parser, "--%s needs a value, %s", option->name, option->value);
    }
    return set(parser, option, value);
}

static bool set_defaults(struct rusmi_args *args, const struct rusmi_command *command, size_t words)
{
    *args = (struct rusmi_args){.command = command,
                                .ca = ".",
                                .role = RUSM_ROLE_MEMBER,
                                .reason = "unspecified",
                                .listen = "127.0.0.1:0",
                                .connect_timeout_ms = RUSM_INFINITY,
                                .ready_fd = -1,
                                .timeout_ms = TIMEOUT_MS};
    /* One more, because nothing may be allocated as nothing. */
    args->operands.items = calloc(words + 1, sizeof(char *));
    args->connect.items = calloc(words + 1, sizeof(char *));
    args->join.items = calloc(words + 1, sizeof(char *));
    args->load.items = calloc(words + 1, sizeof(char *));
    return args->operands.items != NULL && args->connect.items != NULL &&
           args->join.items != NULL && args->load.items != NULL;
}

static bool check_operands(const struct parser *parser)
{
    const struct rusmi_command *command = parser->args->command;
    const struct rusmi_arg_list *operands = &parser->args->operands;

    if (operands->len < command->operands_min) {
        return fail(parser, "it needs %s", command->operands);
    }
    if (operands->len > command->operands_max) {
        return fail(parser, "too many operands, from '%s' on",
                    operands->items[command->operands_max]);
    }
    return true;
}

/* Take what was not given from the environment, and see that nothing required is missing. */
static bool complete(struct parser *parser, rusmi_env_fn env)
{
    const struct rusmi_command *command = parser->args->command;

    for (unsigned id = 0; id < RUSMI_OPTIONS; id++) {
        const struct option *option = &options[id];
        const char *text = NULL;

        if ((command->options & ~parser->given & (1u << id)) == 0) {
            continue;
        }
        if (option->env != NULL) {
            text = env(option->env);
        }
        if (text != NULL && text[0] != '\0') {
            if (!set(parser, option, text)) {
                return false;
            }
        } else if ((command->required & (1u << id)) != 0) {
            return option->env == NULL
                       ? fail(parser, "it needs --%s %s", option->name, option->value)
                       : fail(parser, "it needs --%s %s, or $%s", option->name, option->value,
                              option->env);
        }
    }
    return true;
}

bool rusmi_args_parse(struct rusmi_args *args, const struct rusmi_command *command, int argc,
                      char *const *argv, rusmi_env_fn env, char error[RUSMI_ARGS_ERROR_MAX])
{
    struct parser parser = {.args = args, .error = error};
    bool options_end = false;

    if (!set_defaults(args, command, (size_t)argc)) {
        return fail(&parser, "%s", rusm_err_text(RUSM_ENOMEM));
    }
    for (int i = 0, used; i < argc; i += used) {
        used = 1;
        if (!options_end && strcmp(argv[i], "--") == 0) {
            options_end = true;
        } else if (options_end || argv[i][0] != '-' || argv[i][1] == '\0') {
            args->operands.items[args->operands.len++] = argv[i];
        } else if (!parse_option(&parser, argc - i, argv + i, &used)) {
            return false;
        }
        if (args->help) {
            return true;
        }
    }
    return check_operands(&parser) && complete(&parser, env);
}

void rusmi_args_fini(struct rusmi_args *args)
{
    free((void *)args->operands.items);
    free((void *)args->connect.items);
    free((void *)args->join.items);
    free((void *)args->load.items);
    args->operands = args->connect = args->join = args->load = (struct rusmi_arg_list){NULL, 0};
}

/* ---- help */

void rusmi_args_wrap(const char *text, size_t indent, size_t at, FILE *out)
{
    while (*text != '\0') {
        size_t len = strcspn(text, " \n");

        if (at + 1 + len > COLUMNS && at > indent) {
            (void)fputc('\n', out);
            at = 0;
        }
        if (at < indent) {
            (void)fprintf(out, "%*s", (int)(indent - at), "");
            at = indent;
        } else if (at > indent) {
            (void)fputc(' ', out);
            at++;
        }
        (void)fwrite(text, 1, len, out);
        at += len;
        text += len;
        if (*text == '\n') {
            (void)fputc('\n', out);
            at = 0;
            for (text++; *text == '\n'; text++) {
                (void)fputc('\n', out);
            }
        } else if (*text == ' ') {
            text++;
        }
    }
    (void)fputc('\n', out);
}

static void help_option(const struct option *option, FILE *out)
{
    int at = option->letter != 0 ? fprintf(out, "  -%c, --%s", option->letter, option->name)
                                 : fprintf(out, "      --%s", option->name);

    if (option->value != NULL) {
        at += fprintf(out, " %s", option->value);
    }
    if (at < 0 || at + 2 > HELP_INDENT) {
        (void)fputc('\n', out);
        at = 0;
    }
    rusmi_args_wrap(option->help, HELP_INDENT, (size_t)at, out);
}

void rusmi_args_help(const struct rusmi_command *command, FILE *out)
{
    uint32_t shown = command->options | RUSMI_OPTION(HELP);

    (void)fprintf(out, "usage: rusm %s [options]%s%s\n\n%s.\n", command->name,
                  command->operands[0] != '\0' ? " " : "", command->operands, command->summary);
    if (command->details[0] != '\0') {
        (void)fputc('\n', out);
        rusmi_args_wrap(command->details, 0, 0, out);
    }
    (void)fputs("\noptions:\n", out);
    for (unsigned id = 0; id < RUSMI_OPTIONS; id++) {
        if ((shown & (1u << id)) != 0) {
            help_option(&options[id], out);
        }
    }
}
