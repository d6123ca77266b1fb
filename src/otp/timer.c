/* SPDX-License-Identifier: MIT */
#include "otp/timer.h"

#include "base/assert.h"
#include "base/mem.h"
#include "platform/bits.h"

#define TICK_BITS 10
#define SLOT_BITS 8
#define SLOTS     (1u << SLOT_BITS)
#define LEVELS    7u /* 10 + 7 * 8 bits: all of 64 */
#define WORDS     (SLOTS / 64)
#define NO_SLOT   (LEVELS * SLOTS)
#define NEVER     UINT64_MAX

/* Timers fired, or moved down, under one hold of a lock: a set or cancel waits for no more. */
#define HOLD_FIRE 64u
#define HOLD_MOVE 128u
/* Holds in one run: some ten microseconds. */
#define RUN_HOLDS 8u

_Static_assert(TICK_BITS + LEVELS * SLOT_BITS >= 64, "every time has a slot");
_Static_assert(NO_SLOT < UINT16_MAX, "a timer's place fits");

/* Timers in the order in which they were set. Without any, the rest means nothing. */
struct slot {
    struct rusmi_timer *first, *last;
    uint64_t least_ns; /* no timer is due before it */
};

struct rusmi_timer_wheel {
    _Alignas(64) struct rusmi_lock lock;
    _Atomic uint64_t next_ns; /* as rusmi_timers_next(); written under lock */

    /* under lock */
    uint64_t tick;     /* that the levels are relative to; no timer lies in a slot before it */
    uint32_t levels;   /* a bit for each level that has timers */
    unsigned draining; /* number of the slot, of level 1 or above, whose timers are moving down; its
                          time has come, so it is before all other slots. 0: none */
    uint64_t used[LEVELS][WORDS]; /* a bit for each slot that has timers */
    struct slot slots[NO_SLOT];   /* number = level * SLOTS + digit */
};

bool rusmi_timers_init(struct rusmi_timers *timers, unsigned wheels_len)
{
    rusmi_assert(wheels_len >= 1 && wheels_len <= UINT16_MAX);
    timers->wheels = rusmi_zalloc_aligned(wheels_len, sizeof(*timers->wheels), 64);
    if (timers->wheels == NULL) {
        return false;
    }
    timers->wheels_len = wheels_len;
    atomic_init(&timers->running, 0);
    for (unsigned i = 0; i < wheels_len; i++) {
        rusmi_lock_init(&timers->wheels[i].lock);
        atomic_init(&timers->wheels[i].next_ns, NEVER);
    }
    return true;
}

void rusmi_timers_fini(struct rusmi_timers *timers)
{
    for (unsigned i = 0; i < timers->wheels_len; i++) {
        rusmi_assert(timers->wheels[i].levels == 0);
        rusmi_lock_fini(&timers->wheels[i].lock);
    }
    rusmi_free(timers->wheels);
}

/* ---- slots, all under the wheel's lock ------------------------------------------------------- */

static unsigned slot_level(unsigned number)
{
    return number / SLOTS;
}

/* Where a time belongs, by the wheel's tick. */
static unsigned slot_for(const struct rusmi_timer_wheel *wheel, uint64_t at_ns)
{
    uint64_t tick = at_ns >> TICK_BITS;
    unsigned level = 0;

    if (tick <= wheel->tick) {
        tick = wheel->tick; /* due by now, or within this tick */
    } else {
        level = rusmi_bits_highest(tick ^ wheel->tick) / SLOT_BITS;
    }
    return level * SLOTS + ((unsigned)(tick >> (level * SLOT_BITS)) & (SLOTS - 1));
}

static void slot_push(struct rusmi_timer_wheel *wheel, unsigned number, struct rusmi_timer *timer)
{
    struct slot *slot = &wheel->slots[number];
    unsigned level = slot_level(number), digit = number % SLOTS;

    timer->place = (uint16_t)(number + 1);
    timer->next = NULL;
    if (slot->first == NULL) {
        timer->prev = NULL;
        slot->first = slot->last = timer;
        slot->least_ns = timer->at_ns;
        wheel->used[level][digit / 64] |= (uint64_t)1 << (digit % 64);
        wheel->levels |= 1u << level;
        return;
    }
    timer->prev = slot->last;
    slot->last->next = timer;
    slot->last = timer;
    if (timer->at_ns < slot->least_ns) {
        slot->least_ns = timer->at_ns;
    }
}

/* The slot has lost its last timer. */
static void slot_emptied(struct rusmi_timer_wheel *wheel, unsigned number)
{
    unsigned level = slot_level(number), digit = number % SLOTS;
    uint64_t any = 0;

    wheel->used[level][digit / 64] &= ~((uint64_t)1 << (digit % 64));
    for (unsigned i = 0; i < WORDS; i++) {
        any |= wheel->used[level][i];
    }
    if (any == 0) {
        wheel->levels &= ~(1u << level);
    }
    if (wheel->draining == number) {
        wheel->draining = 0;
    }
}

static void slot_remove(struct rusmi_timer_wheel *wheel, struct rusmi_timer *timer)
{
    unsigned number = timer->place - 1u;
    struct slot *slot = &wheel->slots[number];

    if (timer->prev == NULL) {
        slot->first = timer->next;
    } else {
        timer->prev->next = timer->next;
    }
    if (timer->next == NULL) {
        slot->last = timer->prev;
    } else {
        timer->next->prev = timer->prev;
    }
    timer->place = 0;
    if (slot->first == NULL) {
        slot_emptied(wheel, number);
    }
}

/* The earliest slot that has timers; NO_SLOT without one. */
static unsigned slot_first(const struct rusmi_timer_wheel *wheel)
{
    unsigned level;

    if (wheel->levels == 0) {
        return NO_SLOT;
    }
    if (wheel->draining != 0) {
        return wheel->draining;
    }
    level = rusmi_bits_lowest(wheel->levels);
    for (unsigned i = 0;; i++) {
        if (wheel->used[level][i] != 0) {
            return level * SLOTS + i * 64 + rusmi_bits_lowest(wheel->used[level][i]);
        }
    }
}

static void wheel_add(struct rusmi_timer_wheel *wheel, struct rusmi_timer *timer, uint64_t at_ns)
{
    unsigned number;

    timer->at_ns = at_ns;
    number = slot_for(wheel, at_ns);
    /* What belongs below a slot that moves down goes to its end, so that timers of one tick stay
     * in the order in which they were set. */
    if (wheel->draining != 0 && slot_level(number) < slot_level(wheel->draining)) {
        number = wheel->draining;
    }
    slot_push(wheel, number, timer);
}

/* ---- setting --------------------------------------------------------------------------------- */

void rusmi_timers_set(struct rusmi_timers *timers, unsigned wheel, struct rusmi_timer *timer,
                      uint64_t at_ns)
{
    struct rusmi_timer_wheel *own = &timers->wheels[wheel];

    if (timer->wheel != wheel) {
        (void)rusmi_timers_cancel(timers, timer);
        timer->wheel = (uint16_t)wheel;
    }
    rusmi_lock_take(&own->lock);
    if (timer->place != 0) {
        slot_remove(own, timer);
    }
    wheel_add(own, timer, at_ns);
    /* relaxed: it is written under the lock. The store is sequentially consistent with what the
     * caller looks at next, to learn whether somebody sleeps for longer than that. */
    if (at_ns < atomic_load_explicit(&own->next_ns, memory_order_relaxed)) {
        atomic_store(&own->next_ns, at_ns);
    }
    rusmi_lock_give(&own->lock);
}

void rusmi_timers_again(struct rusmi_timers *timers, struct rusmi_timer *timer, uint64_t at_ns)
{
    wheel_add(&timers->wheels[timer->wheel], timer, at_ns); /* the run publishes next_ns */
}

bool rusmi_timers_cancel(struct rusmi_timers *timers, struct rusmi_timer *timer)
{
    struct rusmi_timer_wheel *wheel = &timers->wheels[timer->wheel];
    bool was_set;

    /* next_ns stays: who sets and cancels over and over would else wake the poller each time. */
    rusmi_lock_take(&wheel->lock);
    was_set = timer->place != 0;
    if (was_set) {
        slot_remove(wheel, timer);
    }
    rusmi_lock_give(&wheel->lock);
    return was_set;
}

bool rusmi_timers_get(struct rusmi_timers *timers, const struct rusmi_timer *timer,
                      uint64_t *out_at_ns)
{
    struct rusmi_timer_wheel *wheel = &timers->wheels[timer->wheel];
    bool is_set;

    rusmi_lock_take(&wheel->lock);
    is_set = timer->place != 0;
    if (is_set) {
        *out_at_ns = timer->at_ns;
    }
    rusmi_lock_give(&wheel->lock);
    return is_set;
}

/* ---- firing ---------------------------------------------------------------------------------- */

/* Move timers of a slot, whose time has come, to lower levels. */
static unsigned drain(struct rusmi_timer_wheel *wheel, unsigned number, unsigned most)
{
    struct slot *slot = &wheel->slots[number];
    struct rusmi_timer *timer;
    unsigned count = 0;

    if (wheel->draining != number) {
        wheel->draining = number;
        wheel->tick = slot->least_ns >> TICK_BITS; /* no timer of the wheel is before it */
    }
    while (count < most && (timer = slot->first) != NULL) {
        slot_remove(wheel, timer); /* with the last one, the slot is no longer draining */
        slot_push(wheel, slot_for(wheel, timer->at_ns), timer);
        rusmi_assert_slow(slot_level(timer->place - 1u) < slot_level(number));
        count++;
    }
    return count;
}

/* Fire those of a slot of level 0 that are due. */
static unsigned fire(struct rusmi_timer_wheel *wheel, unsigned number, uint64_t now_ns,
                     unsigned most)
{
    struct slot *slot = &wheel->slots[number];
    uint64_t least_ns = slot->least_ns;
    struct rusmi_timer *timer = slot->first, *following;
    unsigned count = 0;

    wheel->tick = (wheel->tick & ~(uint64_t)(SLOTS - 1)) | number;
    slot->least_ns = NEVER; /* found anew among those that stay; a function may add to them */
    for (; timer != NULL && count < most; timer = following) {
        following = timer->next;
        if (timer->at_ns > now_ns) {
            slot->least_ns = timer->at_ns < slot->least_ns ? timer->at_ns : slot->least_ns;
            continue;
        }
        slot_remove(wheel, timer);
        timer->fire(timer); /* the timer may be gone */
        count++;
    }
    if (timer != NULL && least_ns < slot->least_ns) {
        slot->least_ns = least_ns;
    }
    return count;
}

/* One hold of the lock. */
static void wheel_run(struct rusmi_timer_wheel *wheel, uint64_t now_ns)
{
    unsigned fired = 0, moved = 0;
    uint64_t next_ns = NEVER;

    rusmi_lock_take(&wheel->lock);
    for (;;) {
        unsigned number = slot_first(wheel);

        next_ns = number == NO_SLOT ? NEVER : wheel->slots[number].least_ns;
        if (next_ns > now_ns || fired >= HOLD_FIRE || moved >= HOLD_MOVE) {
            break;
        }
        if (slot_level(number) > 0) {
            moved += drain(wheel, number, HOLD_MOVE - moved);
        } else {
            fired += fire(wheel, number, now_ns, HOLD_FIRE - fired);
        }
    }
    atomic_store(&wheel->next_ns, next_ns);
    rusmi_lock_give(&wheel->lock);
}

bool rusmi_timers_run(struct rusmi_timers *timers, uint64_t now_ns)
{
    uint32_t idle = 0;
    unsigned holds = 0;

    if (rusmi_timers_next(timers) > now_ns ||
        !atomic_compare_exchange_strong(&timers->running, &idle, 1)) {
        return false;
    }
    for (; holds < RUN_HOLDS; holds++) {
        struct rusmi_timer_wheel *earliest = NULL;
        uint64_t first_ns = NEVER, second_ns = NEVER;

        for (unsigned i = 0; i < timers->wheels_len; i++) {
            uint64_t next_ns = atomic_load(&timers->wheels[i].next_ns);

            if (next_ns < first_ns) {
                second_ns = first_ns;
                first_ns = next_ns;
                earliest = &timers->wheels[i];
            } else if (next_ns < second_ns) {
                second_ns = next_ns;
            }
        }
        if (first_ns > now_ns) {
            break;
        }
        /* Only as far as the others allow, so that the order of time is kept among wheels. */
        wheel_run(earliest, second_ns < now_ns ? second_ns : now_ns);
    }
    atomic_store(&timers->running, 0);
    return holds > 0;
}

uint64_t rusmi_timers_next(const struct rusmi_timers *timers)
{
    uint64_t least_ns = NEVER;

    for (unsigned i = 0; i < timers->wheels_len; i++) {
        uint64_t next_ns = atomic_load(&timers->wheels[i].next_ns);

        least_ns = next_ns < least_ns ? next_ns : least_ns;
    }
    return least_ns;
}
