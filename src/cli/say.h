/* SPDX-License-Identifier: MIT */
/*
 * How the command ends and what it says on the way: exit codes, and lines for people on standard
 * error. What is asked for goes to standard output, everything else through here.
 */
#ifndef RUSMI_CLI_SAY_H
#define RUSMI_CLI_SAY_H

#include <rusm/err.h>
#include <rusm/types.h>

/* Exit codes of the command. Scripts rely on them: man/rusm.1 documents them, none is ever reused.
 */
enum rusmi_exit {
    RUSMI_EXIT_OK = 0,
    RUSMI_EXIT_FAILED = 1,    /* the request failed otherwise */
    RUSMI_EXIT_USAGE = 2,     /* the command line makes no sense; nothing was done */
    RUSMI_EXIT_NO_LINK = 3,   /* no connection, or it was lost */
    RUSMI_EXIT_REFUSED = 4,   /* certificate, role or limits: one side did not want to */
    RUSMI_EXIT_NOT_FOUND = 5, /* no such process, name, node or factory */
    RUSMI_EXIT_TIMEOUT = 6,   /* connected, but no answer in the time allowed */
};

/* Print `rusm: ` and a line on standard error. Control characters are made visible. */
void rusmi_say(const char *format, ...) RUSM_PRINTF(1, 2);

/* The exit code that stands for an error of a request. */
enum rusmi_exit rusmi_exit_code(rusm_err err);

/* Say what the last call, which returned err, failed of; returns its exit code. */
enum rusmi_exit rusmi_fail(rusm_err err);

/* The detail of the last error, less the address that it begins with if that is the one given. */
const char *rusmi_detail_of(const char *address);

/* Flush standard output; says so and returns a failure if something could not be written. */
enum rusmi_exit rusmi_flush(enum rusmi_exit code);

#endif
