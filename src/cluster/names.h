/* SPDX-License-Identifier: MIT */
/*
 * The table of global names: every claim that this node knows, and who owns each name.
 *
 * A claim is one node's word that a process of its own has a name. All claims to a name are kept in
 * the order in which they win: lowest (logical time, node name) first, so every node that knows the
 * same claims names the same owner, and the next one takes over when the first goes. Claims belong
 * to their claimant (a node) and are dropped with it. docs/design/names.md argues it.
 *
 * A tentative claim is one that others are being asked to agree with. It keeps the name from being
 * registered, but owns nothing: it stands behind all that are not.
 */
#ifndef RUSMI_CLUSTER_NAMES_H
#define RUSMI_CLUSTER_NAMES_H

#include "base/list.h"
#include "base/map.h"
#include "cluster/budget.h"
#include "cluster/roster.h"
#include "wire/control.h"

#include <rusm/err.h>
#include <rusm/types.h>

/* A node that claims names. */
struct rusmi_claimant {
    struct rusmi_list claims;
    size_t len;
    const char *node;
    uint64_t incarnation;
    uint64_t conn;             /* 0: this node */
    struct rusmi_purse *purse; /* pays for its claims and their names; NULL: they are not charged */
};

struct rusmi_name {
    struct rusmi_map_entry entry;
    struct rusmi_list claims; /* never empty; the first one owns the name, unless tentative */
    uint64_t id;              /* in the roster */
    size_t len;
    char text[]; /* with a NUL */
};

struct rusmi_claim {
    struct rusmi_list in_name, in_claimant;
    struct rusmi_name *name;
    const struct rusmi_claimant *claimant;
    uint64_t serial;
    uint64_t time;
    bool tentative;
    /* Of use to the owner of the claimant; untouched here. */
    uint64_t id;
    struct rusmi_list in_process;
};

struct rusmi_names {
    struct rusmi_map map;
    struct rusmi_roster roster;
    uint64_t id_last;
    size_t owned;  /* names that have an owner */
    uint64_t time; /* logical (Lamport): at least that of every claim seen */
};

void rusmi_names_init(struct rusmi_names *names, const uint64_t seed[2]);
/* Every claimant was dropped before. */
void rusmi_names_fini(struct rusmi_names *names);

void rusmi_claimant_init(struct rusmi_claimant *claimant, const char *node, uint64_t incarnation,
                         uint64_t conn);
/* Drop all of its claims. */
void rusmi_names_drop(struct rusmi_names *names, struct rusmi_claimant *claimant);

/* The claims to a name in winning order; NULL if nobody claims it. */
const struct rusmi_name *rusmi_names_find(const struct rusmi_names *names, const char *text,
                                          size_t len);
/* The claim that wins; it owns the name unless it is tentative. */
struct rusmi_claim *rusmi_name_first(const struct rusmi_name *name);
/* The claim that owns the name, or NULL: all are tentative. */
struct rusmi_claim *rusmi_name_owner(const struct rusmi_name *name);
struct rusmi_claim *rusmi_name_claim_of(const struct rusmi_name *name,
                                        const struct rusmi_claimant *claimant);
/* Whether a claim of that time and node wins over another of the same kind. */
bool rusmi_claim_beats(uint64_t time, const char *node, const struct rusmi_claim *other);
/*
 * Claim a name, or renew the claim with another process and time. RUSM_EFULL: the claimant has
 * claims_max names, or its purse no room; RUSM_ENOMEM. On an error nothing changed.
 */
RUSM_MUST_CHECK rusm_err rusmi_names_claim(struct rusmi_names *names,
                                           struct rusmi_claimant *claimant,
                                           const struct rusmi_name_entry *entry, bool tentative,
                                           size_t claims_max, struct rusmi_claim **out_claim);
/* A tentative claim becomes one like any other. */
void rusmi_names_confirm(struct rusmi_names *names, struct rusmi_claim *claim);
/* Take back one claim and free it. */
void rusmi_names_unclaim(struct rusmi_names *names, struct rusmi_claimant *claimant,
                         struct rusmi_claim *claim);

#endif
