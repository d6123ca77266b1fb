/* SPDX-License-Identifier: MIT */
/* The one table of commands, and what runs them. To add a command: an entry in commands.c, a run
 * function declared here, its page in man/rusm.1, a case in test/integration/cli_test.sh. */
#ifndef RUSMI_CLI_COMMANDS_H
#define RUSMI_CLI_COMMANDS_H

#include "cli/args.h"

extern const struct rusmi_command rusmi_commands[];
extern const size_t rusmi_commands_len;

/* The command that the first words name; *out_words is how many. NULL: none. */
const struct rusmi_command *rusmi_command_find(int argc, char *const *argv, int *out_words);

/* ca.c */
enum rusmi_exit rusmi_run_ca_init(const struct rusmi_args *args);
enum rusmi_exit rusmi_run_ca_issue(const struct rusmi_args *args);
enum rusmi_exit rusmi_run_ca_share(const struct rusmi_args *args);
enum rusmi_exit rusmi_run_ca_show(const struct rusmi_args *args);
enum rusmi_exit rusmi_run_ca_list(const struct rusmi_args *args);
enum rusmi_exit rusmi_run_ca_revoke(const struct rusmi_args *args);
enum rusmi_exit rusmi_run_ca_crl(const struct rusmi_args *args);
/* host.c */
enum rusmi_exit rusmi_run_node_start(const struct rusmi_args *args);
/* look.c */
enum rusmi_exit rusmi_run_ps(const struct rusmi_args *args);
enum rusmi_exit rusmi_run_peers(const struct rusmi_args *args);
enum rusmi_exit rusmi_run_names(const struct rusmi_args *args);
enum rusmi_exit rusmi_run_groups(const struct rusmi_args *args);
enum rusmi_exit rusmi_run_whereis(const struct rusmi_args *args);
/* act.c */
enum rusmi_exit rusmi_run_send(const struct rusmi_args *args);
enum rusmi_exit rusmi_run_spawn(const struct rusmi_args *args);
enum rusmi_exit rusmi_run_kill(const struct rusmi_args *args);
enum rusmi_exit rusmi_run_node_reload(const struct rusmi_args *args);
/* main.c */
enum rusmi_exit rusmi_run_version(const struct rusmi_args *args);
enum rusmi_exit rusmi_run_help(const struct rusmi_args *args);

#endif
