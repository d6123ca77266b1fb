/* SPDX-License-Identifier: MIT */
#include "cluster/budget.h"

#include "base/assert.h"

void rusmi_budget_init(struct rusmi_budget *budget, size_t limit)
{
    budget->limit = limit;
    atomic_init(&budget->used, 0);
    atomic_init(&budget->peak, 0);
    atomic_init(&budget->refused, 0);
}

/*
 * All accesses to the account are relaxed: it counts, and orders nothing. Memory that is given back
 * goes through the heap, which has an order of its own.
 */
size_t rusmi_budget_used(const struct rusmi_budget *budget)
{
    return atomic_load_explicit(&budget->used, memory_order_relaxed);
}

size_t rusmi_budget_peak(const struct rusmi_budget *budget)
{
    return atomic_load_explicit(&budget->peak, memory_order_relaxed);
}

uint64_t rusmi_budget_refused(const struct rusmi_budget *budget)
{
    return atomic_load_explicit(&budget->refused, memory_order_relaxed);
}

static void refuse(struct rusmi_budget *budget)
{
    (void)atomic_fetch_add_explicit(&budget->refused, 1, memory_order_relaxed);
}

/* Of the limit, what ordinary growth may use, with the floors. */
static size_t pool(const struct rusmi_budget *budget)
{
    return budget->limit - budget->limit / 4;
}

/* Take len if the account is then not above `most`, and leaves at least `leave` below it. */
static bool reserve(struct rusmi_budget *budget, size_t len, size_t most, size_t leave)
{
    size_t used = rusmi_budget_used(budget);
    size_t peak;

    do {
        if (used > most || len > most - used || leave > most - used - len) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&budget->used, &used, used + len,
                                                    memory_order_relaxed, memory_order_relaxed));
    used += len;
    peak = rusmi_budget_peak(budget);
    while (peak < used &&
           !atomic_compare_exchange_weak_explicit(&budget->peak, &peak, used, memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
    return true;
}

static void release(struct rusmi_budget *budget, size_t len)
{
    size_t before = atomic_fetch_sub_explicit(&budget->used, len, memory_order_relaxed);

    rusmi_assert(before >= len);
}

bool rusmi_purse_open(struct rusmi_purse *purse, struct rusmi_budget *budget, size_t floor)
{
    *purse = (struct rusmi_purse){.budget = budget};
    return rusmi_purse_raise(purse, floor);
}

void rusmi_purse_close(struct rusmi_purse *purse)
{
    if (purse->budget != NULL && purse->held != 0) {
        release(purse->budget, purse->held);
    }
    purse->floor = purse->held = purse->used = 0;
}

bool rusmi_purse_raise(struct rusmi_purse *purse, size_t more)
{
    struct rusmi_budget *budget = purse->budget;

    if (budget != NULL) {
        if (!reserve(budget, more, budget->limit, 0)) {
            refuse(budget);
            return false;
        }
        purse->held += more;
        purse->floor += more;
    }
    return true;
}

/* `more` bytes more for the purse, which holds `beyond` beyond its floor. */
static bool grow(struct rusmi_budget *budget, size_t beyond, size_t more,
                 enum rusmi_budget_need need)
{
    return reserve(budget, more, pool(budget), beyond + more) ||
           (need == RUSMI_BUDGET_MUST &&
            reserve(budget, more, budget->limit - budget->limit / 8, 0));
}

bool rusmi_purse_take(struct rusmi_purse *purse, size_t len, enum rusmi_budget_need need)
{
    struct rusmi_budget *budget = purse->budget;
    size_t spare = purse->held - purse->used;

    if (budget == NULL) {
        return true;
    }
    if (len > spare) {
        size_t beyond = purse->held - purse->floor, more = len - spare, slab;

        if (purse->floor == 0 || more > budget->limit) {
            refuse(budget);
            return false;
        }
        slab = (more + RUSMI_BUDGET_SLAB - 1) / RUSMI_BUDGET_SLAB * RUSMI_BUDGET_SLAB;
        if (!grow(budget, beyond, slab, need)) {
            slab = more;
            if (!grow(budget, beyond, slab, need)) {
                refuse(budget);
                return false;
            }
        }
        purse->held += slab;
    }
    purse->used += len;
    return true;
}

void rusmi_purse_give(struct rusmi_purse *purse, size_t len)
{
    size_t keep;

    if (purse->budget == NULL || purse->held == 0) {
        return; /* it is closed */
    }
    rusmi_assert(len <= purse->used);
    purse->used -= len;
    /* A slab is kept beyond what is in use, and all until half of the floor is free: so that bytes
     * that come and go move none. */
    if (purse->used <= purse->floor / 2) {
        keep = purse->floor;
    } else {
        keep = purse->used + RUSMI_BUDGET_SLAB;
        keep = keep > purse->floor ? keep : purse->floor;
        keep = purse->held >= keep + RUSMI_BUDGET_SLAB ? keep : purse->held;
    }
    if (purse->held > keep) {
        release(purse->budget, purse->held - keep);
        purse->held = keep;
    }
}

bool rusmi_purse_is_tight(const struct rusmi_purse *purse)
{
    size_t beyond = purse->held - purse->floor, used, most;

    if (beyond == 0) {
        return false;
    }
    used = rusmi_budget_used(purse->budget);
    most = pool(purse->budget);
    return used >= most || beyond > (most - used) / 2;
}
