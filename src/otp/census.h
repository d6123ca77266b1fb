/* SPDX-License-Identifier: MIT */
/*
 * The census of one runtime: how many processes of each label are alive. A process is counted at
 * its spawn, keeps the number of its place, and is taken off at its end, whether the census is
 * still on or not; so the counts stay right when it is switched off and on.
 *
 * Threads: any. A place is looked up under a lock; counts are atomic.
 */
#ifndef RUSMI_OTP_CENSUS_H
#define RUSMI_OTP_CENSUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rusmi_census;

/* labels_max: labels that are told apart; more are counted together. NULL without memory. */
struct rusmi_census *rusmi_census_new(uint32_t labels_max, uint64_t seed0, uint64_t seed1);
void rusmi_census_del(struct rusmi_census *census);
/* One more with that label; returns the number of its place, from 1. */
uint16_t rusmi_census_begin(struct rusmi_census *census, const char *label);
void rusmi_census_end(struct rusmi_census *census, uint16_t place);
/*
 * The next place, from *cursor on (0: the first), whose count has changed since this was last
 * called for it; false: there is none. One caller at a time. *out_label stays valid.
 */
bool rusmi_census_next(struct rusmi_census *census, uint32_t *cursor, const char **out_label,
                       uint64_t *out_alive, int64_t *out_change);

#endif
