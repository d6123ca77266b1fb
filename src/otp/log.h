/* SPDX-License-Identifier: MIT */
/*
 * The lifecycle log: see rusm/otp/log.h and docs/design/looking.md.
 *
 * What a runtime logs is one word that spawns and ends look at. Entries of all runtimes go through
 * one lock to one function, which so is called by one thread at a time. A runtime may write so many
 * entries in a second; what comes beyond is counted, and told of in one entry when the second is
 * over, by the runtime's log driver, which also takes the census.
 *
 * Whoever logs may be a process: while the log function runs the thread is as if it were in none,
 * so that nothing the function calls can switch away with the lock taken. What it would log itself
 * is counted as withheld.
 */
#ifndef RUSMI_OTP_LOG_H
#define RUSMI_OTP_LOG_H

#include "base/map.h"
#include "platform/lock.h"

#include <rusm/otp/driver.h>
#include <rusm/otp/log.h>

#include <stdatomic.h>

/* Entries that a runtime writes in a second; the census is not counted. */
#define RUSMI_LOG_RATE 100u
/* Labels that a census tells apart. */
#define RUSMI_CENSUS_LABELS 256u

/* In rusmi_log.watch beside the level: processes that start are counted. */
#define RUSMI_LOG_COUNTS 0x100u

struct rusmi_process;
struct rusmi_census;

/* Of one runtime. Zero: off. */
struct rusmi_log {
    /* any thread */
    _Atomic uint32_t watch; /* rusm_log_level, with RUSMI_LOG_COUNTS; relaxed: a wish, written under
                               lock */
    _Atomic uint64_t second;             /* the one that `used` counts for */
    _Atomic uint32_t used;               /* entries in it */
    _Atomic uint64_t withheld;           /* entries that were one too many, and not told of yet */
    _Atomic uint32_t driver_gone;        /* who closes the driver waits for it */
    struct rusmi_census *_Atomic census; /* made once, written under lock; of the whole runtime */
    struct rusmi_lock lock;
    /* under lock */
    rusm_driver *driver; /* NULL: not made yet, or closed */
    rusm_time period_ns; /* 0: no census */
    rusm_time census_at; /* when the next one is due */
};

/* Whether spawns and ends have to be told of at all. */
static inline bool rusmi_log_watches(const struct rusmi_log *log)
{
    return atomic_load_explicit(&log->watch, memory_order_relaxed) != 0;
}

/* A process was made, and has not run yet. If the runtime's log watches. */
void rusmi_log_spawn(struct rusmi_process *proc);
/* It has ended; label: what was its. If the log watches, or the process was counted. */
void rusmi_log_exit(struct rusmi_process *proc, const char *label, const rusm_reason *reason);
/* A process has held its worker for at least so long. The watchdog; proc may end at any time. */
void rusmi_log_long(rusm_pool *pool, struct rusmi_process *proc, uint64_t held_ms);
/* Words of the library about the calling process, or the runtime. */
void rusmi_log_note(rusm_runtime *rt, rusm_log_level level, const char *format, ...)
    RUSM_PRINTF(3, 4);
/* All processes of the runtime have ended: no entry of it comes any more. */
void rusmi_log_close(rusm_runtime *rt);

/* One line as the default log function writes it, with its end, cut to buf_len bytes. clock: the
 * time of day. Returns its length. */
size_t rusmi_log_format(const rusm_log_entry *entry, const char *clock, bool colour, char *buf,
                        size_t buf_len);

#endif
