/* SPDX-License-Identifier: MIT */
/* Classes of what happens in a run, counted over all runs of the program: see sim_cover.c. */
#ifndef RUSM_SIM_SIM_COVER_H
#define RUSM_SIM_SIM_COVER_H

#include <stdbool.h>

enum sim_class {
    /* faults; those of the network in the order of their kinds in sim_world.c */
    SIM_SEEN_ONE_WAY,
    SIM_SEEN_PAIR,
    SIM_SEEN_ISOLATED,
    SIM_SEEN_HALVES,
    SIM_SEEN_CLOG,
    SIM_SEEN_LOSS,
    SIM_SEEN_DELAY,
    SIM_SEEN_CRASH,
    SIM_SEEN_QUICK,
    SIM_SEEN_CUT_QUICK,
    SIM_SEEN_STOP,
    SIM_SEEN_LONG_STOP,
    SIM_SEEN_JUMP,
    SIM_SEEN_HOG,
    SIM_SEEN_HOGS,
    SIM_SEEN_LEAVE,
    SIM_SEEN_LEAVE_LATE,
    SIM_SEEN_OLD,
    SIM_SEEN_EXPIRED,
    SIM_SEEN_REFUSED,
    /* links */
    SIM_SEEN_UP,
    SIM_SEEN_SILENT,
    SIM_SEEN_REVOKED,
    SIM_SEEN_LOST,
    SIM_SEEN_DUPLICATE,
    /* messages; in the order of the ways in sim.h */
    SIM_SEEN_BY_PID,
    SIM_SEEN_BY_NAME,
    SIM_SEEN_BY_GLOBAL,
    SIM_SEEN_BY_GROUP,
    SIM_SEEN_BIG,
    SIM_SEEN_LONG,
    SIM_SEEN_SEND_FAILED,
    SIM_SEEN_ANSWER,
    SIM_SEEN_CALL_LATE,
    SIM_SEEN_CALL_LOST,
    /* ties */
    SIM_SEEN_DOWN,
    SIM_SEEN_DOWN_NOPROC,
    SIM_SEEN_DOWN_CUT,
    SIM_SEEN_EXIT,
    SIM_SEEN_EXIT_NOPROC,
    SIM_SEEN_EXIT_CUT,
    SIM_SEEN_ASKED,
    SIM_SEEN_DEMONITOR,
    SIM_SEEN_UNLINK,
    SIM_SEEN_KILL,
    SIM_SEEN_SPAWN,
    SIM_SEEN_SPAWN_FAILED,
    /* names, groups, nodes */
    SIM_SEEN_CLAIM,
    SIM_SEEN_AGREED,
    SIM_SEEN_DISAGREED,
    SIM_SEEN_CONFLICT,
    SIM_SEEN_JOIN,
    SIM_SEEN_PART,
    SIM_SEEN_NODE_UP,
    SIM_SEEN_NODE_DOWN,
    SIM_CLASSES
};

void sim_seen(enum sim_class what);
/* All of them, with their numbers. */
void sim_cover_print(void);
/* Whether each was seen; says which was not. */
bool sim_cover_check(void);

#endif
