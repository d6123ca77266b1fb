/* SPDX-License-Identifier: MIT */
/*
 * What groups are made of, shared by src/otp/group*.c and by nobody else.
 *
 *   group.c         the table, joining and leaving, the end of a process, looking, monitors
 *   group_remote.c  members on other nodes, and what other nodes are to hear of ours
 *   group_send.c    sending to all
 *
 * A call first makes everything that it may need (its luggage), then takes the lock and tries; what
 * it lacks is found there, made outside, and tried again. What is to be freed goes into the
 * luggage, too, and is freed after the lock was given back.
 */
#ifndef RUSMI_OTP_GROUP_STATE_H
#define RUSMI_OTP_GROUP_STATE_H

#include "base/list.h"
#include "base/map.h"
#include "otp/group.h"
#include "otp/roll.h"
#include "otp/sched.h"

/* What one turn under the lock does at most, of what may be many. */
#define RUSMI_GROUP_STEP 64u

struct rusmi_group {
    struct rusmi_map_entry by_name;
    size_t place;                    /* in the runtime's list */
    struct rusmi_roll local, remote; /* members, of this runtime and of other nodes */
    struct rusmi_list shares;        /* struct rusmi_group_share: of other nodes */
    size_t shares_len;
    size_t news;                /* changes that nobody has taken and that need the name */
    struct rusmi_list monitors; /* struct rusmi_group_monitor */
    size_t monitors_len;
    struct rusm_msg *leaves; /* at least one for each member and monitor */
    size_t leaves_len;
    size_t name_len;
    char name[];
};

/* In groups->members: a member, or with serial 0 the share of a node. */
struct rusmi_group_key {
    const struct rusmi_group *group;
    uint64_t incarnation, serial;
};

/* Another node with members. */
struct rusmi_group_node {
    struct rusmi_map_entry entry; /* in groups->nodes, by incarnation */
    uint64_t incarnation;
    struct rusmi_list members;
};

/* The members of a group that one other node has. */
struct rusmi_group_share {
    struct rusmi_map_entry entry; /* by key */
    struct rusmi_group_key key;
    struct rusmi_list in_group;
    struct rusmi_group_node *node;
    size_t members;
};

struct rusmi_member {
    struct rusmi_map_entry entry; /* by key */
    struct rusmi_group_key key;
    struct rusmi_list in_owner; /* its process's groups, or its node's members */
    struct rusmi_group *group;
    struct rusmi_group_share *share; /* NULL: of this runtime */
    struct rusmi_roll_place place;
    rusm_pid pid;
    /* of this runtime: what other nodes are to hear, see group_remote.c */
    struct rusmi_list news;
    bool told; /* that it joined was taken */
    bool left; /* it is a member no longer, and lives on for the news alone */
};

struct rusmi_group_monitor {
    struct rusmi_map_entry entry; /* by number */
    uint64_t number;
    struct rusmi_process *proc; /* outlives it: see rusmi_groups_end() */
    struct rusmi_group *group;
    struct rusmi_list of_group;
    struct rusmi_group_monitor *next, **at; /* in its process's list */
};

/* What a call brings along, so that nothing is allocated under the lock; what it takes away, to
 * free it afterwards, is there too. */
struct rusmi_luggage {
    struct rusmi_group *group;
    struct rusmi_member *member;
    struct rusmi_group_share *share; /* these two: for a member of another node */
    struct rusmi_group_node *node;
    struct rusmi_group_monitor *monitor;
    struct rusmi_shared *shared; /* the bytes of the messages */
    struct rusm_msg *msgs, *last;
    size_t msgs_len;
    size_t wanted;                /* so many are needed */
    bool wants_share, wants_node; /* these are needed */
    struct rusmi_group *dead;     /* a group that is in no table any more */
    bool news;                    /* the router is to hear that there are changes to be taken */
};

/* Outcomes of a try under the lock beside those of the call. */
enum rusmi_group_outcome {
    RUSMI_GROUP_DONE,
    RUSMI_GROUP_AGAIN, /* the luggage lacks what it now says is wanted */
    RUSMI_GROUP_GONE,  /* no such process */
    RUSMI_GROUP_NOMEM
};

/* ---- group.c ---- */

/* After the lock was given back: free what is left, and tell the router. */
void rusmi_luggage_fini(struct rusmi_luggage *bag, rusm_runtime *rt);
void rusmi_luggage_push(struct rusmi_luggage *bag, struct rusm_msg *msg);
struct rusm_msg *rusmi_luggage_pop(struct rusmi_luggage *bag);
/* Make what was found to be missing under the lock. False without memory. */
bool rusmi_luggage_pack(struct rusmi_luggage *bag, const char *name, size_t name_len);

/* All of these under the lock. */
struct rusmi_group *rusmi_group_find(struct rusmi_groups *groups, const char *name, size_t len);
/* What is in groups->members under that key, or NULL. */
struct rusmi_map_entry *rusmi_group_lookup(struct rusmi_groups *groups,
                                           const struct rusmi_group *group, uint64_t incarnation,
                                           uint64_t serial);
/* So many messages a group (NULL: it is to be made) needs for one member more. */
size_t rusmi_group_wants(const struct rusmi_group *group);
/* Put the group that the luggage has into the tables. NULL without memory. */
struct rusmi_group *rusmi_group_publish(struct rusmi_groups *groups, struct rusmi_luggage *bag);
/* Make bag->member, whose share is set, a member. False without memory for the tables; then the
 * caller tidies the group. */
bool rusmi_group_add(struct rusmi_groups *groups, struct rusmi_group *group,
                     struct rusmi_list *owner, rusm_pid pid, struct rusmi_luggage *bag);
/* Take a member out, into the luggage. */
void rusmi_group_remove(struct rusmi_groups *groups, struct rusmi_member *member,
                        struct rusmi_luggage *bag);
/* A group goes with the last that needs it, and messages for which there are no pairs any more. */
void rusmi_group_tidy(struct rusmi_groups *groups, struct rusmi_group *group,
                      struct rusmi_luggage *bag);

/* The runtime of a call, if that and the name are valid; else NULL and the error. */
rusm_runtime *rusmi_group_check(rusm_runtime *rt, const char *name, rusm_err *out_err);
rusm_err rusmi_group_no_memory(void);

/* ---- group_remote.c, under the lock ---- */

/* A member of this runtime has joined, or has left: then the luggage no longer has it if it is
 * needed for the news. */
void rusmi_group_news_join(struct rusmi_groups *groups, struct rusmi_member *member,
                           struct rusmi_luggage *bag);
void rusmi_group_news_leave(struct rusmi_groups *groups, struct rusmi_member *member,
                            struct rusmi_luggage *bag);
/* A share has one member less: without any it goes into the luggage, and its node with its last
 * share. */
void rusmi_group_share_put(struct rusmi_groups *groups, struct rusmi_group *group,
                           struct rusmi_group_share *share, struct rusmi_luggage *bag);

#endif
