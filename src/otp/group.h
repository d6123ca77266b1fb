/* SPDX-License-Identifier: MIT */
/*
 * The groups of one runtime: see rusm/otp/group.h, docs/design/looking.md, and for members on other
 * nodes docs/design/groups.md.
 *
 * All is under one lock: the table of groups, the members of each in joining order, and who
 * monitors them. Who changes a group pushes the messages about it under that lock, so that each
 * monitor hears of changes in the order in which they were made. What a message about a leave needs
 * is allocated when somebody joins or begins to monitor, as at the end of a process it must not
 * fail: a group keeps as many messages as it has pairs of a member and a monitor.
 *
 * Under the lock the work is bounded, except for the copy that rusm_group_members() and
 * rusm_group_monitor() make of one moment, and for telling all when a node begins. Memory is
 * allocated before it is taken, and freed after.
 *
 * The end of a process: it sets its serial to 0 and then looks at `grouped`; who makes it a member
 * sets `grouped` and then looks at its serial. Both in sequentially consistent order, so one of
 * them sees the other: processes that are in no group end without the lock.
 */
#ifndef RUSMI_OTP_GROUP_H
#define RUSMI_OTP_GROUP_H

#include "base/list.h"
#include "base/map.h"
#include "platform/lock.h"

#include <rusm/otp/group.h>

struct rusmi_process;
struct rusmi_group;

/* Where a group is in the list of all; it stays there. */
struct rusmi_group_place {
    struct rusmi_group *group; /* NULL: free */
    size_t next_free;          /* of a free one: another, counted from 1; 0: none */
};

struct rusmi_groups {
    struct rusmi_lock lock;
    /* under lock */
    struct rusmi_map by_name;
    struct rusmi_map members;  /* by group and process; what nodes have in a group, too */
    struct rusmi_map nodes;    /* other nodes with members, by incarnation */
    struct rusmi_map monitors; /* by reference */
    uint64_t number;           /* of the last join */
    struct rusmi_group_place *places;
    size_t places_len, places_cap, place_free;
    bool followed;          /* a node takes the news */
    struct rusmi_list news; /* struct rusmi_member */
};

void rusmi_groups_init(struct rusmi_groups *groups, uint64_t seed0, uint64_t seed1);
void rusmi_groups_fini(struct rusmi_groups *groups);
/* proc ends: its serial is 0 already, its mailbox is still open. */
void rusmi_groups_end(struct rusmi_process *proc);

#endif
