/* SPDX-License-Identifier: MIT */
/*
 * The table of memberships: which processes of which node are in which group, as far as this node
 * was told (docs/design/groups.md). A node speaks only for its own processes, so each membership
 * belongs to its holder (a node) and goes with it. Groups have no life of their own: a name is in
 * the table while it has members.
 */
#ifndef RUSMI_CLUSTER_GROUPS_H
#define RUSMI_CLUSTER_GROUPS_H

#include "base/list.h"
#include "base/map.h"
#include "cluster/budget.h"
#include "cluster/roster.h"

#include <rusm/err.h>
#include <rusm/types.h>

/* A node whose processes are members of groups. */
struct rusmi_holder {
    struct rusmi_list memberships;
    size_t len;
    struct rusmi_purse *purse; /* pays for them and their groups; NULL: they are not charged */
};

struct rusmi_member_group {
    struct rusmi_map_entry entry;
    size_t members;
    size_t len;
    char text[]; /* no NUL */
};

struct rusmi_membership {
    struct rusmi_map_entry entry;
    struct {
        struct rusmi_member_group *group;
        const struct rusmi_holder *holder;
        uint64_t serial;
    } key;
    struct rusmi_list in_holder;
    uint64_t id; /* of one of our own: in the order in which they began */
};

struct rusmi_memberships {
    struct rusmi_map groups;  /* by name */
    struct rusmi_map members; /* by group, holder and serial */
};

void rusmi_memberships_init(struct rusmi_memberships *table, const uint64_t seed[2]);
/* Every holder was dropped before. */
void rusmi_memberships_fini(struct rusmi_memberships *table);

void rusmi_holder_init(struct rusmi_holder *holder);
/* Drop at most len_max memberships of a holder. */
void rusmi_memberships_drop_some(struct rusmi_memberships *table, struct rusmi_holder *holder,
                                 size_t len_max);
/* Drop all of them. */
void rusmi_memberships_drop(struct rusmi_memberships *table, struct rusmi_holder *holder);

/* NULL: there is none. */
struct rusmi_membership *rusmi_membership_find(const struct rusmi_memberships *table,
                                               const struct rusmi_holder *holder, const char *group,
                                               size_t group_len, uint64_t serial);
/* RUSM_EEXIST; RUSM_EFULL: the holder has len_max, or its purse no room; RUSM_ENOMEM. On an error
 * nothing changed. */
RUSM_MUST_CHECK rusm_err rusmi_membership_add(struct rusmi_memberships *table,
                                              struct rusmi_holder *holder, const char *group,
                                              size_t group_len, uint64_t serial, size_t len_max,
                                              struct rusmi_membership **out_membership);
void rusmi_membership_del(struct rusmi_memberships *table, struct rusmi_holder *holder,
                          struct rusmi_membership *membership);

#endif
