/* SPDX-License-Identifier: MIT */
/*
 * A link to the running node that --at names, with the certificate that --identity names: what
 * every command needs that looks into a node or drives it. Commands call from the main thread.
 */
#ifndef RUSMI_CLI_ATTACH_H
#define RUSMI_CLI_ATTACH_H

#include "cli/args.h"
#include "cli/pid.h"

#include <rusm/cluster.h>

struct rusmi_attach {
    const struct rusmi_args *args;
    rusm_pool *pool;
    rusm_runtime *runtime;
    rusm_node *node; /* ours, which is nobody's peer unless the certificate is a member's */
    bool entered;
    rusm_role role;               /* ours */
    char peer[RUSM_NAME_MAX + 1]; /* the node that answers at --at */
    uint64_t incarnation;         /* the peer's */
};

/* Connect; says why if that fails. Ends with rusmi_attach_fini() either way. */
enum rusmi_exit rusmi_attach_init(struct rusmi_attach *attach, const struct rusmi_args *args);
/* Close the link: what was sent before is handed over first. */
void rusmi_attach_fini(struct rusmi_attach *attach);

/*
 * The pid that text stands for, which must be of the attached node: on other nodes the commands
 * have no hands. Says why if it is none; RUSMI_EXIT_USAGE if it can not be read.
 */
enum rusmi_exit rusmi_attach_pid(struct rusmi_attach *attach, const char *text, rusm_pid *out_pid);

/* Write pid with the name of its node, as far as the attached node knows it. */
void rusmi_attach_format(struct rusmi_attach *attach, rusm_pid pid, char buf[RUSMI_PID_TEXT_MAX]);

/* The peer of the attached node that has this name (if not NULL) or this incarnation. False: none,
 * or the list can not be had. */
bool rusmi_attach_find(struct rusmi_attach *attach, const char *name, uint64_t incarnation,
                       rusm_peer_info *out_info);

#endif
