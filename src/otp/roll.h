/* SPDX-License-Identifier: MIT */
/*
 * A roll: pids in the order in which they were added, each with a number that grows. Adding is at
 * the end; removing is anywhere, by the place that the owner of an entry keeps; copying begins
 * behind any number. Adding and removing touch a bounded number of entries, however long the roll
 * is.
 *
 * It is a sequence of pages of entries. A removed entry leaves a hole; a page that is empty goes,
 * and one that is nearly empty is poured into its neighbour. The first page begins small, as most
 * groups are.
 *
 * The caller locks.
 */
#ifndef RUSMI_OTP_ROLL_H
#define RUSMI_OTP_ROLL_H

#include <rusm/types.h>

/* Entries of a full-sized page: what a copy touches in one step, too. */
#define RUSMI_ROLL_PAGE 256u

struct rusmi_roll_page;

/* Where an entry is. In the memory of who added it; the roll changes it as entries move. */
struct rusmi_roll_place {
    struct rusmi_roll_page *page;
    uint32_t index;
};

/* Zero: empty. */
struct rusmi_roll {
    struct rusmi_roll_page **pages;
    size_t pages_len, pages_cap;
    size_t len; /* entries */
};

/* Add a pid with a number above all others. False without memory: nothing changed. */
bool rusmi_roll_add(struct rusmi_roll *roll, struct rusmi_roll_place *place, uint64_t number,
                    rusm_pid pid);
void rusmi_roll_remove(struct rusmi_roll *roll, struct rusmi_roll_place *place);
/* Copy at most `most` pids with numbers above *after and up to `until`, in order; *after becomes
 * the last one's. */
size_t rusmi_roll_copy(const struct rusmi_roll *roll, uint64_t *after, uint64_t until,
                       rusm_pid *pids, size_t most);
/* Free what an empty roll still has. */
void rusmi_roll_fini(struct rusmi_roll *roll);

#endif
