/* SPDX-License-Identifier: MIT */
/*
 * What happened in a run, by class: how often each fault, each end and each answer there is was
 * seen. A range of seeds is worth what it exercises; a class that never happens in the fixed set is
 * a finding about the simulator itself (sim_main.c).
 */
#include "sim/sim_cover.h"

#include "sim/sim.h"

#include <stdio.h>

static const char *const names[SIM_CLASSES] = {
    [SIM_SEEN_ONE_WAY] = "one way cut",
    [SIM_SEEN_PAIR] = "pair cut",
    [SIM_SEEN_ISOLATED] = "node isolated",
    [SIM_SEEN_HALVES] = "halves cut",
    [SIM_SEEN_CLOG] = "way clogged",
    [SIM_SEEN_LOSS] = "heavy loss",
    [SIM_SEEN_DELAY] = "delay",
    [SIM_SEEN_CRASH] = "crash",
    [SIM_SEEN_QUICK] = "restart within a tick",
    [SIM_SEEN_CUT_QUICK] = "cut, and restart within a tick",
    [SIM_SEEN_STOP] = "node stopped",
    [SIM_SEEN_LONG_STOP] = "node stopped over a tick",
    [SIM_SEEN_JUMP] = "clock jump",
    [SIM_SEEN_HOG] = "process hogs",
    [SIM_SEEN_HOGS] = "all processes hog",
    [SIM_SEEN_LEAVE] = "left in peace",
    [SIM_SEEN_LEAVE_LATE] = "left too late",
    [SIM_SEEN_OLD] = "life of version 1",
    [SIM_SEEN_EXPIRED] = "certificate expired",
    [SIM_SEEN_REFUSED] = "old peer refused",
    [SIM_SEEN_UP] = "link up",
    [SIM_SEEN_SILENT] = "link silent",
    [SIM_SEEN_REVOKED] = "link cut by a certificate",
    [SIM_SEEN_LOST] = "packet lost",
    [SIM_SEEN_DUPLICATE] = "packet twice",
    [SIM_SEEN_BY_PID] = "received by pid",
    [SIM_SEEN_BY_NAME] = "received by name",
    [SIM_SEEN_BY_GLOBAL] = "received by global name",
    [SIM_SEEN_BY_GROUP] = "received by group",
    [SIM_SEEN_BIG] = "big message",
    [SIM_SEEN_LONG] = "rest of a big message allowed",
    [SIM_SEEN_SEND_FAILED] = "send failed",
    [SIM_SEEN_ANSWER] = "call answered",
    [SIM_SEEN_CALL_LATE] = "call timed out",
    [SIM_SEEN_CALL_LOST] = "call lost its node or process",
    [SIM_SEEN_DOWN] = "down, real reason",
    [SIM_SEEN_DOWN_NOPROC] = "down, noproc",
    [SIM_SEEN_DOWN_CUT] = "down, noconnection",
    [SIM_SEEN_EXIT] = "exit, real reason",
    [SIM_SEEN_EXIT_NOPROC] = "exit, noproc",
    [SIM_SEEN_EXIT_CUT] = "exit, noconnection",
    [SIM_SEEN_ASKED] = "exit asked for",
    [SIM_SEEN_DEMONITOR] = "monitor taken back",
    [SIM_SEEN_UNLINK] = "link taken away",
    [SIM_SEEN_KILL] = "kill",
    [SIM_SEEN_SPAWN] = "spawned",
    [SIM_SEEN_SPAWN_FAILED] = "spawn failed",
    [SIM_SEEN_CLAIM] = "name claimed",
    [SIM_SEEN_AGREED] = "name agreed to",
    [SIM_SEEN_DISAGREED] = "name not agreed to",
    [SIM_SEEN_CONFLICT] = "name conflict",
    [SIM_SEEN_JOIN] = "join told",
    [SIM_SEEN_PART] = "leave told",
    [SIM_SEEN_NODE_UP] = "node up told",
    [SIM_SEEN_NODE_DOWN] = "node down told",
};

static uint64_t seen[SIM_CLASSES];

void sim_seen(enum sim_class what)
{
    seen[what]++;
}

void sim_cover_print(void)
{
    for (size_t i = 0; i < SIM_CLASSES; i++) {
        (void)printf("%10llu %-32s%s", (unsigned long long)seen[i], names[i],
                     i % 2 == 1 || i + 1 == SIM_CLASSES ? "\n" : "");
    }
}

bool sim_cover_check(void)
{
    bool whole = true;

    for (size_t i = 0; i < SIM_CLASSES; i++) {
        if (seen[i] == 0) {
            (void)fprintf(stderr, "FAILED: these seeds never had: %s\n", names[i]);
            whole = false;
        }
    }
    return whole;
}
