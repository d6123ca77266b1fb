/* SPDX-License-Identifier: MIT */
/*
 * Deadlines of many objects in a binary heap, with the handles embedded in the objects. Room is
 * reserved when an object is made, so that setting its deadline never fails.
 */
#ifndef RUSMI_CLUSTER_DEADLINES_H
#define RUSMI_CLUSTER_DEADLINES_H

#include <rusm/types.h>

#define RUSMI_TIME_NEVER UINT64_MAX /* a deadline that never comes */

struct rusmi_deadline {
    rusm_time at;
    size_t place;  /* index in the heap + 1; 0: not set */
    unsigned kind; /* the owner's: what it is embedded in */
};

struct rusmi_deadlines {
    struct rusmi_deadline **heap;
    size_t len, cap, reserved;
};

void rusmi_deadlines_init(struct rusmi_deadlines *deadlines);
void rusmi_deadlines_fini(struct rusmi_deadlines *deadlines);
/* Room for one more handle; false when memory ran out. */
bool rusmi_deadlines_reserve(struct rusmi_deadlines *deadlines);
/* Clear the handle and give its room back. */
void rusmi_deadlines_release(struct rusmi_deadlines *deadlines, struct rusmi_deadline *deadline);
/* Set or move; RUSMI_TIME_NEVER clears. */
void rusmi_deadlines_set(struct rusmi_deadlines *deadlines, struct rusmi_deadline *deadline,
                         rusm_time at);
/* The earliest, or NULL. */
struct rusmi_deadline *rusmi_deadlines_first(const struct rusmi_deadlines *deadlines);

#endif
