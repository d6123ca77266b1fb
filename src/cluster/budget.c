/* SPDX-License-Identifier: MIT */
#include "cluster/budget.h"

#include "base/assert.h"

void rusmi_budget_init(struct rusmi_budget *budget, size_t limit)
{
    budget->limit = limit;
    atomic_init(&budget->used, 0);
    atomic_init(&budget->peak, 0);
    atomic_init(&budget->refused, 0);
    atomic_init(&budget->pressed, false);
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

bool rusmi_budget_is_pressed(const struct rusmi_budget *budget)
{
    return atomic_load_explicit(&budget->pressed, memory_order_relaxed);
}

bool rusmi_budget_take_pressed(struct rusmi_budget *budget)
{
    return atomic_exchange_explicit(&budget->pressed, false, memory_order_relaxed);
}

static void press(struct rusmi_budget *budget)
{
    if (!rusmi_budget_is_pressed(budget)) {
        atomic_store_explicit(&budget->pressed, true, memory_order_relaxed);
    }
}

static void refuse(struct rusmi_budget *budget)
{
    (void)atomic_fetch_add_explicit(&budget->refused, 1, memory_order_relaxed);
}

/* Eighths of the limit. */
static size_t line(const struct rusmi_budget *budget, size_t eighths)
{
    return budget->limit / 8 * eighths;
}

/* How much an account in use may be, for purses that keep to what is fair. */
static size_t fair_line(const struct rusmi_budget *budget, enum rusmi_budget_need need)
{
    return line(budget, need == RUSMI_BUDGET_SEND ? 4 : 6);
}

/* The same for those who hold little. */
static size_t last_line(const struct rusmi_budget *budget, enum rusmi_budget_need need)
{
    return need == RUSMI_BUDGET_SEND ? line(budget, 6) : budget->limit;
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
        if (!reserve(budget, more, line(budget, 7), 0)) {
            press(budget);
            refuse(budget);
            return false;
        }
        purse->held += more;
        purse->floor += more;
    }
    return true;
}

/* `more` bytes more for a purse that holds `beyond` beyond its floor. */
static bool grow(struct rusmi_budget *budget, size_t beyond, size_t more,
                 enum rusmi_budget_need need)
{
    size_t holds = beyond + more;
    bool little = holds <= RUSMI_BUDGET_SHARE;

    if (reserve(budget, more, fair_line(budget, need),
                need == RUSMI_BUDGET_BODY ? holds + holds / 3 : holds)) {
        return true;
    }
    if (little) {
        press(budget);
    }
    return (little || need == RUSMI_BUDGET_MUST) &&
           reserve(budget, more, last_line(budget, need), 0);
}

bool rusmi_purse_take(struct rusmi_purse *purse, size_t len, enum rusmi_budget_need need)
{
    struct rusmi_budget *budget = purse == NULL ? NULL : purse->budget;
    size_t spare;

    if (budget == NULL) {
        return true;
    }
    spare = purse->held - purse->used;
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

bool rusmi_purse_has_room(struct rusmi_purse *purse, size_t len)
{
    if (purse == NULL || purse->budget == NULL || len <= purse->held - purse->used) {
        return true;
    }
    if (!rusmi_purse_take(purse, len, RUSMI_BUDGET_FAIR)) {
        return false;
    }
    purse->used -= len; /* not given: that could take back what it is to be ready for */
    return true;
}

void rusmi_purse_give(struct rusmi_purse *purse, size_t len)
{
    size_t keep;

    if (purse == NULL || purse->budget == NULL || purse->held == 0) {
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
    size_t beyond = purse == NULL ? 0 : purse->held - purse->floor, used, most;

    if (beyond == 0) {
        return false;
    }
    used = rusmi_budget_used(purse->budget);
    most = fair_line(purse->budget, RUSMI_BUDGET_FAIR);
    return used >= most || beyond > (most - used) / 2;
}
