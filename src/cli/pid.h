/* SPDX-License-Identifier: MIT */
/*
 * Pids as people write them: <node.serial>. The node is a name, or 16 hexadecimal digits of an
 * incarnation where no name is known. The brackets may be left out, because shells want them
 * quoted. Pure functions; any thread.
 */
#ifndef RUSMI_CLI_PID_H
#define RUSMI_CLI_PID_H

#include <rusm/types.h>
#include <stdbool.h>

/* Bytes of <name.serial> at most, with the final NUL. */
#define RUSMI_PID_TEXT_MAX (RUSM_NAME_MAX + 24)

struct rusmi_pid_text {
    char node[RUSM_NAME_MAX + 1];
    uint64_t serial;
};

/* Read <node.serial> or node.serial; the last full stop counts. */
bool rusmi_pid_parse(const char *text, struct rusmi_pid_text *out_pid);

/* Whether text, 16 hexadecimal digits, is an incarnation. */
bool rusmi_pid_incarnation(const char *text, uint64_t *out_incarnation);

/* Write <node.serial>; node NULL or empty: the incarnation takes its place. */
void rusmi_pid_format(const char *node, rusm_pid pid, char buf[RUSMI_PID_TEXT_MAX]);

#endif
