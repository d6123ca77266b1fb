/* SPDX-License-Identifier: MIT */
/*
 * Things in the order in which they appeared, for listing in pages: each has an id that is larger
 * than all before and is never used again, so that an id is a cursor that stays right whatever
 * comes and goes meanwhile. A sorted array with gaps: adding and removing cost O(log n) amortised.
 */
#ifndef RUSMI_CLUSTER_ROSTER_H
#define RUSMI_CLUSTER_ROSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rusmi_roster_entry {
    uint64_t id;
    void *item; /* NULL: removed */
};

struct rusmi_roster {
    struct rusmi_roster_entry *entries;
    size_t len, cap;
    size_t live;
};

void rusmi_roster_init(struct rusmi_roster *roster);
/* The items are the caller's. */
void rusmi_roster_fini(struct rusmi_roster *roster);
/* False when memory ran out: nothing changed. */
bool rusmi_roster_add(struct rusmi_roster *roster, uint64_t id, void *item);
/* id is in the roster. */
void rusmi_roster_remove(struct rusmi_roster *roster, uint64_t id);
/*
 * The first item with an id above *after, which takes its id; NULL at the end. *place is kept by
 * the walk: SIZE_MAX to begin with, and nothing may change between the calls.
 */
void *rusmi_roster_next(const struct rusmi_roster *roster, uint64_t *after, size_t *place);

#endif
