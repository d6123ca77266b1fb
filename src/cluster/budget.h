/* SPDX-License-Identifier: MIT */
/*
 * One account of bytes for all that a node holds for its peers, and the purses that its parts take
 * from it (docs/design/memory.md). Pure.
 *
 * A purse belongs to one direction of one link. It has a floor, which is reserved when it is opened
 * and stays, so that small traffic touches neither the account nor its cache line; beyond it takes
 * slabs, which it gives back as it empties. Invariants, at any moment:
 *
 *     used <= limit                          the account, summed over all purses
 *     floor <= held, purse->used <= held     each purse; held is what it has of the account
 *
 * Who may take what, of the account as a whole, so that greed of some leaves room for the others:
 *   - SEND, for messages that can wait here: up to half of the limit;
 *   - FAIR, for what a peer sends: up to three quarters. A purse may not come to hold more beyond
 *     its floor than what is free below that line afterwards, and the same holds for SEND (A.
 *     Choudhury, E. Hahne: Dynamic queue length thresholds for shared-memory packet switches,
 *     1998). Those who grow together end up with equal parts, and one more is free;
 *   - BODY, for what can be dropped, as FAIR, with three quarters of that: so that who has taken
 *     all it may in messages has still room for the records that go with them;
 *   - floors: up to seven eighths, so that links which are made leave those there are something;
 *   - MUST, for what can not wait (signals, control frames, the packets that are being made): all;
 *   - a small share, RUSMI_BUDGET_SHARE beyond its floor, every purse may have when others have
 *     taken theirs: SEND up to three quarters, FAIR all.
 *
 * Who has to take such a share, or does not get it, or no floor, *presses* the account: then who
 * holds most has to give way (node/memory.h).
 *
 * Threads: the account any, a purse one at a time (its owner, or under a lock).
 */
#ifndef RUSMI_CLUSTER_BUDGET_H
#define RUSMI_CLUSTER_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A purse grows and shrinks by so much. */
#define RUSMI_BUDGET_SLAB ((size_t)64 * 1024)

/* What a peer is told that loses its link for what its purse could not pay. */
#define RUSMI_BUDGET_REFUSAL "the node's memory for peers is used up, and this one holds its share"

/* What a purse may have beyond its floor, however much others hold. */
#define RUSMI_BUDGET_SHARE ((size_t)1024 * 1024)

struct rusmi_budget {
    size_t limit;             /* set by init */
    _Atomic size_t used;      /* reserved by purses, never more than limit */
    _Atomic size_t peak;      /* the most that `used` ever was */
    _Atomic uint64_t refused; /* how often something did not fit */
    _Atomic bool pressed;     /* see above; cleared by who acts upon it */
};

/* How urgent growth is, see above. */
enum rusmi_budget_need {
    RUSMI_BUDGET_SEND,
    RUSMI_BUDGET_BODY,
    RUSMI_BUDGET_FAIR,
    RUSMI_BUDGET_MUST,
};

struct rusmi_purse {
    struct rusmi_budget *budget; /* NULL: everything fits, and nothing is counted */
    size_t floor;
    size_t held; /* of the account */
    size_t used;
};

void rusmi_budget_init(struct rusmi_budget *budget, size_t limit);

/* What all purses hold now, the most they ever held, and how often something did not fit. */
size_t rusmi_budget_used(const struct rusmi_budget *budget);
size_t rusmi_budget_peak(const struct rusmi_budget *budget);
uint64_t rusmi_budget_refused(const struct rusmi_budget *budget);

/* Whether the account is pressed: a hint, which true is worth a call of the next. */
bool rusmi_budget_is_pressed(const struct rusmi_budget *budget);
/* The same, and from now on it is not, until somebody is short again. */
bool rusmi_budget_take_pressed(struct rusmi_budget *budget);

/* Open a purse. False: there is no room for its floor (counted), and it is as after close. budget
 * may be NULL. */
bool rusmi_purse_open(struct rusmi_purse *purse, struct rusmi_budget *budget, size_t floor);

/* Give everything back, in use or not. Afterwards every take fails; may be called again. */
void rusmi_purse_close(struct rusmi_purse *purse);

/* Make the floor larger by `more`, or fail as open does. */
bool rusmi_purse_raise(struct rusmi_purse *purse, size_t more);

/*
 * Of the following purse may be NULL, for who has nothing that pays: then everything fits, and
 * nothing is counted.
 */

/* Put len more bytes to use. False: they do not fit; nothing has changed, and it is counted. */
bool rusmi_purse_take(struct rusmi_purse *purse, size_t len, enum rusmi_budget_need need);

/* Whether len more bytes can be put to use as FAIR, which then has the purse ready for them: for
 * who would rather wait than be refused. */
bool rusmi_purse_has_room(struct rusmi_purse *purse, size_t len);

/* len bytes are no longer in use. */
void rusmi_purse_give(struct rusmi_purse *purse, size_t len);

/* Whether the purse is on its way to what it may hold: who fills it had better be slowed down.
 * Never of one within its floor. */
bool rusmi_purse_is_tight(const struct rusmi_purse *purse);

#endif
