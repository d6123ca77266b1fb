/* SPDX-License-Identifier: MIT */
#include "cli/commands.h"

#include <string.h>

#define ANY     SIZE_MAX
#define OF(id)  RUSMI_OPTION(id)
#define ATTACH  (OF(AT) | OF(IDENTITY) | OF(TIMEOUT) | OF(JSON))
#define NEEDED  (OF(AT) | OF(IDENTITY))
#define NOTHING 0u

const struct rusmi_command rusmi_commands[] = {
    {"ca init", "CLUSTER", 1, 1, OF(CA) | OF(DAYS) | OF(JSON), NOTHING,
     "Make the certificate authority of a cluster",
     "Writes ca.pem, and ca.key for its owner only. Whoever has ca.key decides who is in the "
     "cluster; nodes do not need it. Files that exist are never overwritten.",
     rusmi_run_ca_init},
    {"ca issue", "NODE", 1, 1, OF(CA) | OF(OUT) | OF(FILE) | OF(ROLE) | OF(DAYS) | OF(JSON),
     NOTHING, "Issue key and certificate for one node, operator or observer",
     "Writes NODE.pem, NODE.key (for its owner only) and a copy of ca.pem: all that --identity "
     "needs. Files that exist are never overwritten.",
     rusmi_run_ca_issue},
    {"ca share", "CLUSTER", 1, 1, OF(OUT) | OF(FILE) | OF(JSON), NOTHING,
     "Make one identity that all nodes of a small trusted cluster share",
     "Writes shared.pem, shared.key and ca.pem to the folder given with --out (default: this "
     "folder). Whoever holds them may claim any name in the cluster; no more identities can be "
     "issued for it.",
     rusmi_run_ca_share},
    {"ca list", "", 0, 0, OF(CA) | OF(JSON), NOTHING,
     "List the certificates that a CA issued, and which of them are revoked",
     "Those that ended more than 90 days ago are no longer listed.", rusmi_run_ca_list},
    {"ca revoke", "NODE|SERIAL", 1, 1, OF(CA) | OF(REASON) | OF(JSON), NOTHING,
     "Revoke all certificates of a node, or the one with a serial number",
     "It takes effect where a list of `ca crl` made after this one is crl.pem beside the identity, "
     "and the node was told to read it: `node reload`. To revoke again changes nothing.",
     rusmi_run_ca_revoke},
    {"ca crl", "", 0, 0, OF(CA) | OF(OUT) | OF(DAYS) | OF(JSON), NOTHING,
     "Make a revocation list of what was revoked",
     "Replaces the file at once and whole. Nodes go on to use a list that is overdue, and count "
     "it, "
     "unless they were started with --crl-strict.",
     rusmi_run_ca_crl},
    {"ca show", "FILE|DIR ...", 1, ANY, OF(JSON), NOTHING,
     "Show what certificates say: a file, or all *.pem files of a folder", "", rusmi_run_ca_show},
    {"node start", "", 0, 0,
     OF(NAME) | OF(LISTEN) | OF(IDENTITY) | OF(CONNECT) | OF(CONNECT_TIMEOUT) | OF(JOIN) |
         OF(ADVERTISE) | OF(NO_MESH) | OF(CRL_STRICT) | OF(LOAD) | OF(TICK_MS) | OF(MEMORY_MAX) |
         OF(READY_FD) | OF(JSON),
     OF(IDENTITY), "Run a node until SIGINT or SIGTERM",
     "Prints one line when it is ready: its applications are started and it can be connected to. "
     "A signal makes it leave the cluster; a second one ends it without waiting for its "
     "processes. SIGHUP and `node reload` make it read its identity again.\n\n"
     "--identity may be a folder; then the files are those of --name.",
     rusmi_run_node_start},
    {"node reload", "", 0, 0, ATTACH, NEEDED,
     "Have a node read certificate, key, ca.pem and crl.pem again",
     "Links stay up, but for those of nodes that are no longer trusted. When something is wrong "
     "with the files the node says what, and goes on with what it had. Needs an operator's "
     "certificate.",
     rusmi_run_node_reload},
    {"ps", "", 0, 0, ATTACH, NEEDED, "List the processes of a node",
     "Pages are printed as they come, so a list of any length needs little memory.", rusmi_run_ps},
    {"peers", "", 0, 0, ATTACH, NEEDED, "List the nodes that a node is linked to", "",
     rusmi_run_peers},
    {"names", "", 0, 0, ATTACH, NEEDED, "List the global names that a node knows", "",
     rusmi_run_names},
    {"groups", "", 0, 0, ATTACH, NEEDED,
     "List the groups that a node knows, and how many members they have", "", rusmi_run_groups},
    {"whereis", "NAME", 1, 1, ATTACH, NEEDED,
     "Print the pid of a registered name of a node, or else of a global name", "",
     rusmi_run_whereis},
    {"send", "NAME|PID DATA", 2, 2, ATTACH, NEEDED,
     "Send a message to a process of a node, by its name or pid",
     "DATA is the message, or - to read it from standard input (at most 16 MiB). A pid is written "
     "as ps prints it, with its brackets: '<london.7>'. The node took the message; one for a "
     "process that has ended is dropped and counted there.",
     rusmi_run_send},
    {"spawn", "FACTORY [DATA]", 1, 2, ATTACH, NEEDED,
     "Start a process on a node by one of its factories, and print the pid",
     "DATA is handed to the factory (at most 32 KiB), or - to read it from standard input.",
     rusmi_run_spawn},
    {"kill", "PID ...", 1, ANY, ATTACH, NEEDED, "End processes of a node with reason killed",
     "A pid is written as ps prints it, with or without its brackets: '<london.7>' or london.7.",
     rusmi_run_kill},
    {"version", "", 0, 0, NOTHING, NOTHING, "Print the version", "", rusmi_run_version},
    {"help", "[COMMAND]", 0, 2, NOTHING, NOTHING, "Explain a command, or list them all", "",
     rusmi_run_help},
};

const size_t rusmi_commands_len = sizeof(rusmi_commands) / sizeof(rusmi_commands[0]);

const struct rusmi_command *rusmi_command_find(int argc, char *const *argv, int *out_words)
{
    for (size_t i = 0; argc > 0 && i < rusmi_commands_len; i++) {
        const char *name = rusmi_commands[i].name, *space = strchr(name, ' ');
        size_t first_len = space == NULL ? strlen(name) : (size_t)(space - name);

        if (strlen(argv[0]) != first_len || memcmp(argv[0], name, first_len) != 0) {
            continue;
        }
        if (space == NULL || (argc > 1 && strcmp(argv[1], space + 1) == 0)) {
            *out_words = space == NULL ? 1 : 2;
            return &rusmi_commands[i];
        }
    }
    return NULL;
}
