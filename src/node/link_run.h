/* SPDX-License-Identifier: MIT */
/* What the owner of a link does: see node/link.h and link_run.c. */
#ifndef RUSMI_NODE_LINK_RUN_H
#define RUSMI_NODE_LINK_RUN_H

#include <rusm/types.h>

/* The run function of a link's driver; arg is the struct rusmi_link. */
void rusmi_link_run(void *arg, rusm_time now_ns);

#endif
