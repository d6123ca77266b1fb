/* SPDX-License-Identifier: MIT */
#include "otp/log.h"

#include "base/mem.h"
#include "otp/census.h"
#include "otp/sched.h"
#include "platform/futex.h"
#include "platform/wall.h"

#include <rusm/test.h>

#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NS_PER_S  ((rusm_time)1000000000)
#define NS_PER_MS ((rusm_time)1000000)
/* Bytes of what an entry says. */
#define TEXT_MAX 256
/* Bytes of a line of the default log function. */
#define LINE_MAX_LEN 1024
/* Of its columns. */
#define EVENT_WIDTH 6
#define PID_WIDTH   24
#define LABEL_WIDTH 20
/* The difference between local time and UTC is looked up that often: it changes with summer. */
#define ZONE_S ((int64_t)60)

/* The log function of this OS process. */
static struct {
    struct rusmi_lock lock; /* held while it runs */
    rusm_log_fn fn;         /* under lock; NULL: the default one */
    void *arg;
    int64_t zone_s, zone_at_s; /* under lock; see ZONE_S */
    int colours;               /* under lock; 0: not asked yet, 1: no, 2: yes */
} sink;

/* Whether the calling thread is in the log function. Looked at by functions that are not inlined,
 * since a process may have changed threads before it calls them: see platform/context.h. */
static _Thread_local bool tls_inside;

/* ---- the default log function ---------------------------------------------------------------- */

struct line {
    char *buf;
    size_t len, max;
};

static void add_bytes(struct line *line, const char *bytes, size_t len)
{
    if (len > line->max - line->len) {
        len = line->max - line->len;
    }
    memcpy(line->buf + line->len, bytes, len);
    line->len += len;
}

/* Text that others chose: what a terminal would obey is written as it would be in C. Returns the
 * columns that it takes, taking each character for one. */
static size_t add_text(struct line *line, const char *text)
{
    size_t columns = 0;

    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        char escaped[8];

        if (c < 0x20 || c == 0x7f) {
            int len = snprintf(escaped, sizeof(escaped), c == '\n' ? "\\n" : "\\x%02x", c);

            add_bytes(line, escaped, (size_t)len);
            columns += (size_t)len;
        } else {
            add_bytes(line, text, 1);
            columns += (c & 0xc0) == 0x80 ? 0 : 1; /* the later bytes of a character */
        }
    }
    return columns;
}

static void add_column(struct line *line, const char *text, size_t width)
{
    size_t columns = add_text(line, text);

    for (; columns < width; columns++) {
        add_bytes(line, " ", 1);
    }
    add_bytes(line, "  ", 2);
}

struct style {
    const char *word, *colour;
};

static struct style style_of(const rusm_log_entry *entry)
{
    switch (entry->event) {
    case RUSM_LOG_EVENT_SPAWN:
        return (struct style){"SPAWN", "\033[32m"};
    case RUSM_LOG_EVENT_LONG:
        return (struct style){"HELD", "\033[33m"};
    case RUSM_LOG_EVENT_CENSUS:
        return (struct style){"CENSUS", "\033[36m"};
    case RUSM_LOG_EVENT_NOTE:
        return (struct style){"NOTE", "\033[35m"};
    case RUSM_LOG_EVENT_EXIT:
        break;
    }
    return entry->level == RUSM_LOG_CRASH  ? (struct style){"CRASH", "\033[1;31m"}
           : entry->level == RUSM_LOG_KILL ? (struct style){"KILL", "\033[33m"}
                                           : (struct style){"EXIT", "\033[34m"};
}

size_t rusmi_log_format(const rusm_log_entry *entry, const char *clock, bool colour, char *buf,
                        size_t buf_len)
{
    struct line line = {.buf = buf, .max = buf_len - 1};
    struct style style = style_of(entry);
    char who[RUSM_NAME_MAX + RUSM_PID_TEXT_MAX];

    if (rusm_pid_is_none(entry->pid)) {
        (void)snprintf(who, sizeof(who), "%s", entry->runtime);
    } else {
        (void)snprintf(who, sizeof(who), "<%s.%" PRIu64 ">", entry->runtime, entry->pid.serial);
    }
    add_column(&line, clock, 0);
    if (colour) {
        add_bytes(&line, style.colour, strlen(style.colour));
    }
    add_column(&line, style.word, EVENT_WIDTH);
    if (colour) {
        add_bytes(&line, "\033[0m", 4);
    }
    add_column(&line, who, PID_WIDTH);
    add_column(&line, entry->label, LABEL_WIDTH);
    (void)add_text(&line, entry->text);
    buf[line.len++] = '\n';
    return line.len;
}

/* Look up the difference to UTC. Under the lock. */
static void look_up_zone(int64_t now_s)
{
    const struct rusmi_worker *worker = rusmi_worker_self();
    time_t seconds = (time_t)now_s;
    struct tm parts;

    if (sink.zone_at_s != 0 && now_s - sink.zone_at_s < ZONE_S) {
        return;
    }
    /* localtime_r may read files and needs stack: never on that of a process. */
    if ((worker == NULL || rusmi_worker_current(worker) == NULL) &&
        localtime_r(&seconds, &parts) != NULL) {
        sink.zone_s = parts.tm_gmtoff;
        sink.zone_at_s = now_s;
    }
}

/* The time of day here, as text. Under the lock. */
static void tell_time(char *buf, size_t buf_len)
{
    int64_t now_ms = rusmi_wall_ms(), now_s = now_ms / 1000, day_s;

    look_up_zone(now_s);
    day_s = ((now_s + sink.zone_s) % 86400 + 86400) % 86400;
    (void)snprintf(buf, buf_len, "%02d:%02d:%02d.%03d", (int)(day_s / 3600), (int)(day_s / 60 % 60),
                   (int)(day_s % 60), (int)(now_ms % 1000));
}

static bool wants_colours(void)
{
    if (sink.colours == 0) {
        /* Its being set and not empty says no: no-color.org. */
        const char *no_color =
            getenv("NO_COLOR"); /* lint-allow(getenv): it is for whoever writes to a terminal */

        sink.colours =
            isatty(STDERR_FILENO) == 1 && (no_color == NULL || no_color[0] == '\0') ? 2 : 1;
    }
    return sink.colours == 2;
}

/*
 * False: standard error is not ready, and the line was not written. It may be a pipe that nobody
 * reads, and no scheduler may wait for that. A pipe that is ready has room for a whole line, which
 * is shorter than PIPE_BUF. It is not made non-blocking: others may share it.
 */
static bool write_line(const rusm_log_entry *entry)
{
    struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
    char line[LINE_MAX_LEN], clock[16];
    ssize_t written;
    size_t len;

    if (poll(&ready, 1, 0) == 0) {
        return false;
    }
    tell_time(clock, sizeof(clock));
    len = rusmi_log_format(entry, clock, wants_colours(), line, sizeof(line));
    written = write(STDERR_FILENO, line, len); /* one call, so that lines stay whole */
    (void)written;                             /* an error has nowhere to be told */
    return true;
}

/* ---- the way to the log function ------------------------------------------------------------- */

/* Be in no process, or again in the one that was left so. */
static void be(struct rusmi_worker *worker, struct rusmi_process *proc)
{
    if (worker != NULL) {
        rusmi_worker_set_current(worker, proc);
    } else {
        rusmi_process_be(proc);
    }
}

/* Call it, as if in no process. False: it was not, because the caller is in it already, or nobody
 * reads what it writes. */
__attribute__((noinline)) static bool call_sink(const rusm_log_entry *entry)
{
    struct rusmi_worker *worker = rusmi_worker_self();
    struct rusmi_process *self = rusmi_process_self();
    bool done = true;

    if (tls_inside) {
        return false;
    }
    rusmi_lock_take(&sink.lock);
    if (sink.fn == NULL) {
        done = write_line(entry);
    } else {
        tls_inside = true;
        be(worker, NULL);
        sink.fn(sink.arg, entry);
        be(worker, self);
        tls_inside = false;
    }
    rusmi_lock_give(&sink.lock);
    return done;
}

__attribute__((noinline)) void rusm_log_set_fn(rusm_log_fn fn, void *arg)
{
    bool inside = tls_inside;

    if (!inside) {
        rusmi_lock_take(&sink.lock);
    }
    sink.fn = fn;
    sink.arg = arg;
    if (!inside) {
        rusmi_lock_give(&sink.lock);
    }
}

static rusm_log_level level_of(const struct rusmi_log *log)
{
    /* relaxed: a wish */
    return (rusm_log_level)(atomic_load_explicit(&log->watch, memory_order_relaxed) &
                            ~RUSMI_LOG_COUNTS);
}

/* One that is not written: the driver will say so. */
static void withhold(struct rusmi_log *log)
{
    if (atomic_fetch_add(&log->withheld, 1) != 0) {
        return;
    }
    rusmi_lock_take(&log->lock);
    if (log->driver != NULL) {
        rusm_driver_post(log->driver);
    }
    rusmi_lock_give(&log->lock);
}

/* Whether one more entry may be written in this second. */
static bool is_within_rate(struct rusmi_log *log, rusm_time now)
{
    uint64_t second = now / NS_PER_S, seen = atomic_load(&log->second);

    if (second != seen && atomic_compare_exchange_strong(&log->second, &seen, second)) {
        atomic_store(&log->used, 0);
    }
    if (atomic_fetch_add(&log->used, 1) < RUSMI_LOG_RATE) {
        return true;
    }
    withhold(log);
    return false;
}

static rusm_log_entry entry_of(rusm_runtime *rt, rusm_log_event event, rusm_log_level level)
{
    return (rusm_log_entry){.size = sizeof(rusm_log_entry),
                            .event = event,
                            .level = level,
                            .at_ns = rusmi_pool_now(rt->pool),
                            .runtime = rt->name,
                            .label = "",
                            .text = ""};
}

static void write_entry(rusm_runtime *rt, const rusm_log_entry *entry)
{
    if (is_within_rate(&rt->log, entry->at_ns) && !call_sink(entry)) {
        withhold(&rt->log);
    }
}

/* ---- what is logged -------------------------------------------------------------------------- */

void rusmi_log_spawn(struct rusmi_process *proc)
{
    rusm_runtime *rt = proc->runtime;
    rusm_log_entry entry;

    if (proc->label == NULL) {
        return;
    }
    if ((atomic_load(&rt->log.watch) & RUSMI_LOG_COUNTS) != 0) {
        proc->census = rusmi_census_begin(atomic_load(&rt->log.census), proc->label);
    }
    if (level_of(&rt->log) < RUSM_LOG_SPAWN) {
        return;
    }
    entry = entry_of(rt, RUSM_LOG_EVENT_SPAWN, RUSM_LOG_SPAWN);
    entry.pid = rusmi_process_pid(proc);
    entry.label = proc->label;
    entry.text = "started";
    write_entry(rt, &entry);
}

static rusm_log_level level_of_end(const rusm_reason *reason)
{
    switch (reason->kind) {
    case RUSM_REASON_NORMAL:
    case RUSM_REASON_SHUTDOWN:
        return RUSM_LOG_EXIT;
    case RUSM_REASON_KILLED:
    case RUSM_REASON_NOPROC:
    case RUSM_REASON_NOCONNECTION:
        return RUSM_LOG_KILL;
    case RUSM_REASON_CRASHED:
    case RUSM_REASON_FAULT:
    case RUSM_REASON_STACK_OVERFLOW:
        break;
    }
    return RUSM_LOG_CRASH;
}

void rusmi_log_exit(struct rusmi_process *proc, const char *label, const rusm_reason *reason)
{
    rusm_runtime *rt = proc->runtime;
    rusm_log_level level = level_of_end(reason);
    char text[TEXT_MAX];
    rusm_log_entry entry;

    if (proc->census != 0) {
        rusmi_census_end(atomic_load(&rt->log.census), proc->census);
        proc->census = 0;
    }
    if (level > level_of(&rt->log) || (level >= RUSM_LOG_EXIT && label == NULL)) {
        return;
    }
    entry = entry_of(rt, RUSM_LOG_EVENT_EXIT, level);
    entry.pid = rusmi_process_pid(proc);
    entry.label = label == NULL ? "" : label;
    entry.reason = reason;
    (void)rusm_reason_format(reason, text, sizeof(text));
    entry.text = text;
    write_entry(rt, &entry);
}

void rusmi_log_long(rusm_pool *pool, struct rusmi_process *proc, uint64_t held_ms)
{
    char label[RUSM_NAME_MAX + 1] = "", name[RUSM_NAME_MAX + 1], text[TEXT_MAX];
    rusm_log_entry entry;
    bool writes = false;
    rusm_runtime *rt;
    rusm_pid pid;

    pid.serial = atomic_load(&proc->serial);
    pid.incarnation = atomic_load(&proc->owner_incarnation);
    rusmi_runtimes_hold();
    rt = rusmi_runtime_find(pid.incarnation);
    if (rt != NULL && rt->pool == pool) {
        (void)atomic_fetch_add(&rt->held, 1);
        entry = entry_of(rt, RUSM_LOG_EVENT_LONG, RUSM_LOG_CRASH);
        rusmi_lock_take(rusmi_slot_stripe(pool, proc));
        if (rusmi_process_is(proc, pid) && proc->label != NULL) {
            memcpy(label, proc->label, strlen(proc->label) + 1);
        }
        rusmi_lock_give(rusmi_slot_stripe(pool, proc));
        memcpy(name, rt->name, sizeof(name));
        writes = level_of(&rt->log) >= RUSM_LOG_CRASH && is_within_rate(&rt->log, entry.at_ns);
    }
    rusmi_runtimes_release();
    if (!writes) {
        return;
    }
    /* From copies: the log function must not keep runtimes from being made and deleted. */
    (void)snprintf(text, sizeof(text), "holds its scheduler, for %" PRIu64 " ms by now", held_ms);
    entry.runtime = name;
    entry.pid = pid;
    entry.label = label;
    entry.number = held_ms;
    entry.text = text;
    (void)call_sink(&entry);
}

void rusmi_log_note(rusm_runtime *rt, rusm_log_level level, const char *format, ...)
{
    struct rusmi_process *self = rusmi_process_self();
    char text[TEXT_MAX];
    rusm_log_entry entry;
    va_list args;

    if (level > level_of(&rt->log)) {
        return;
    }
    entry = entry_of(rt, RUSM_LOG_EVENT_NOTE, level);
    if (self != NULL && self->runtime == rt) {
        entry.pid = rusmi_process_pid(self);
        entry.label = self->label == NULL ? "" : self->label; /* it changes at its end only */
    }
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    entry.text = text;
    write_entry(rt, &entry);
}

/* ---- the driver: the census, and what was withheld ------------------------------------------- */

static void tell_census(rusm_runtime *rt)
{
    struct rusmi_census *census = atomic_load(&rt->log.census);
    rusm_log_entry entry;
    char text[TEXT_MAX];
    uint32_t cursor = 0;

    if (level_of(&rt->log) < RUSM_LOG_EXIT) {
        return; /* what changes until somebody looks is told then */
    }
    entry = entry_of(rt, RUSM_LOG_EVENT_CENSUS, RUSM_LOG_EXIT);
    entry.text = text;
    while (rusmi_census_next(census, &cursor, &entry.label, &entry.number, &entry.change)) {
        (void)snprintf(text, sizeof(text), "%" PRIu64 " alive (%+" PRId64 ")", entry.number,
                       entry.change);
        (void)call_sink(&entry);
    }
}

static void tell_withheld(rusm_runtime *rt)
{
    uint64_t withheld = atomic_exchange(&rt->log.withheld, 0);
    rusm_log_entry entry;
    char text[TEXT_MAX];

    if (withheld == 0 || level_of(&rt->log) == RUSM_LOG_OFF) {
        return;
    }
    entry = entry_of(rt, RUSM_LOG_EVENT_NOTE, RUSM_LOG_CRASH);
    (void)snprintf(text, sizeof(text), "%" PRIu64 " more", withheld);
    entry.number = withheld;
    entry.text = text;
    if (!call_sink(&entry)) {
        (void)atomic_fetch_add(&rt->log.withheld, withheld); /* told with the next that come */
    }
}

static void driver_run(void *arg, rusm_time now)
{
    rusm_runtime *rt = arg;
    struct rusmi_log *log = &rt->log;
    rusm_time next = 0, over = (atomic_load(&log->second) + 1) * NS_PER_S;
    bool due = false;

    if (now >= over) {
        tell_withheld(rt);
    } else if (atomic_load(&log->withheld) != 0) {
        next = over;
    }
    rusmi_lock_take(&log->lock);
    if (log->period_ns != 0) {
        due = now >= log->census_at;
        if (due) {
            log->census_at = now + log->period_ns;
        }
        next = next == 0 || next > log->census_at ? log->census_at : next;
    }
    if (log->driver != NULL) {
        rusm_driver_set_timer(log->driver, next);
    }
    rusmi_lock_give(&log->lock);
    if (due) {
        tell_census(rt);
    }
}

static void driver_closed(void *arg)
{
    rusm_runtime *rt = arg;
    _Atomic uint32_t *gone = &rt->log.driver_gone;

    atomic_store(gone, 1);
    /* Only an address from here on: whoever waited may have freed the runtime already. */
    rusmi_futex_wake(gone, 1);
}

/* Under the lock. */
static rusm_err make_driver(rusm_runtime *rt)
{
    const rusm_driver_config cfg = {
        .size = sizeof(cfg), .label = "log", .run = driver_run, .closed = driver_closed, .arg = rt};

    return rt->log.driver != NULL ? RUSM_OK : rusm_driver_new(&rt->log.driver, rt, &cfg);
}

void rusmi_log_close(rusm_runtime *rt)
{
    struct rusmi_log *log = &rt->log;
    rusm_driver *driver;

    rusmi_lock_take(&log->lock);
    driver = log->driver;
    log->driver = NULL;
    rusmi_lock_give(&log->lock);
    if (driver != NULL) {
        rusm_driver_close(driver);
    }
    while (driver != NULL && atomic_load(&log->driver_gone) == 0) {
        if (rt->pool->kit != NULL) {
            (void)rusm_test_run(rt->pool, UINT64_MAX);
        } else {
            rusmi_futex_wait(&log->driver_gone, 0, RUSMI_NEVER);
        }
    }
    tell_withheld(rt);
    rusmi_census_del(atomic_load(&log->census));
}

/* ---- settings -------------------------------------------------------------------------------- */

/* From a thread that may look up the difference to UTC, so that later ones need not. */
__attribute__((noinline)) static void prepare_zone(void)
{
    if (!tls_inside) { /* else the lock is taken, by us */
        rusmi_lock_take(&sink.lock);
        look_up_zone(rusmi_wall_s());
        rusmi_lock_give(&sink.lock);
    }
}

rusm_err rusm_log_set_level(rusm_runtime *rt, rusm_log_level level)
{
    rusm_err err = RUSM_OK;

    rt = rusmi_runtime_resolve(rt);
    if (rt == NULL) {
        return RUSM_ENOCONTEXT;
    }
    if ((unsigned)level > (unsigned)RUSM_LOG_SPAWN) {
        return rusm_set_err_detail(RUSM_EINVAL, "there is no log level %d", (int)level);
    }
    rusmi_lock_take(&rt->log.lock);
    if (level != RUSM_LOG_OFF) {
        err = make_driver(rt);
    }
    if (err == RUSM_OK) {
        atomic_store(&rt->log.watch,
                     (atomic_load(&rt->log.watch) & RUSMI_LOG_COUNTS) | (unsigned)level);
    }
    rusmi_lock_give(&rt->log.lock);
    prepare_zone();
    return err;
}

/* Under the lock. */
static rusm_err begin_census(rusm_runtime *rt)
{
    struct rusmi_census *census = atomic_load(&rt->log.census);
    rusm_err err = make_driver(rt);

    if (err != RUSM_OK || census != NULL) {
        return err;
    }
    census = rusmi_census_new(RUSMI_CENSUS_LABELS, rt->registry.names.seed[0],
                              rt->registry.names.seed[1]);
    if (census == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    atomic_store(&rt->log.census, census);
    return RUSM_OK;
}

rusm_err rusm_log_set_census(rusm_runtime *rt, int64_t period_ms)
{
    rusm_err err = RUSM_OK;

    rt = rusmi_runtime_resolve(rt);
    if (rt == NULL) {
        return RUSM_ENOCONTEXT;
    }
    if (period_ms < 0 || (rusm_time)period_ms > RUSMI_NEVER / 2 / NS_PER_MS) {
        return rusm_set_err_detail(RUSM_EINVAL, "a census needs a period in milliseconds");
    }
    rusmi_lock_take(&rt->log.lock);
    if (period_ms != 0) {
        err = begin_census(rt);
    }
    if (err == RUSM_OK) {
        rt->log.period_ns = (rusm_time)period_ms * NS_PER_MS;
        rt->log.census_at = rusmi_pool_now(rt->pool) + rt->log.period_ns;
        if (period_ms != 0) {
            (void)atomic_fetch_or(&rt->log.watch, RUSMI_LOG_COUNTS);
        } else {
            (void)atomic_fetch_and(&rt->log.watch, ~RUSMI_LOG_COUNTS);
        }
        if (rt->log.driver != NULL) {
            rusm_driver_post(rt->log.driver); /* which sets the timer */
        }
    }
    rusmi_lock_give(&rt->log.lock);
    return err;
}
