/* SPDX-License-Identifier: MIT */
#include "otp/trace.h"

#include "base/mem.h"
#include "otp/sched.h"

#include <string.h>

/* A place. Never freed, so a thread may still come with its address when the trace is long gone. */
struct rusm_trace {
    struct rusmi_lock lock;
    /* under lock */
    rusm_pid pid;               /* who is traced; the zero pid: nobody any more, or never */
    rusm_trace_record *records; /* NULL: the place is free */
    size_t cap;
    uint64_t written, read; /* ever; the record of number n is at n % cap */
};

/* Free places are looked for under the lock of each: tracing begins seldom. */
static struct rusm_trace traces[RUSMI_TRACES_MAX];

const char *rusm_trace_event_name(rusm_trace_event event)
{
    switch (event) {
    case RUSM_TRACE_SEND:
        return "send";
    case RUSM_TRACE_ARRIVE:
        return "arrive";
    case RUSM_TRACE_RECEIVE:
        return "receive";
    case RUSM_TRACE_IN:
        return "in";
    case RUSM_TRACE_OUT:
        return "out";
    case RUSM_TRACE_LINK:
        return "link";
    case RUSM_TRACE_EXIT:
        return "exit";
    }
    return "unknown";
}

/* ---- writing: any thread --------------------------------------------------------------------- */

/* The trace of the process with that serial, locked; NULL if there is none (any more). */
static struct rusm_trace *open_trace(struct rusmi_process *proc, uint64_t serial)
{
    /* acquire: pairs with the release in attach(); the lock decides whether the trace still is this
     * process's */
    struct rusm_trace *trace = atomic_load_explicit(&proc->trace, memory_order_acquire);

    if (trace == NULL) {
        return NULL;
    }
    rusmi_lock_take(&trace->lock);
    if (trace->records != NULL && trace->pid.serial == serial &&
        atomic_load(&proc->owner_incarnation) == trace->pid.incarnation) {
        return trace;
    }
    rusmi_lock_give(&trace->lock);
    return NULL;
}

static void put(struct rusm_trace *trace, const struct rusmi_process *proc,
                const rusm_trace_record *record)
{
    rusm_trace_record *place = &trace->records[trace->written % trace->cap];

    *place = *record;
    place->at_ns = rusmi_pool_now(proc->pool); /* under the lock: times never go back */
    trace->written++;
}

static void write_record(struct rusmi_process *proc, uint64_t serial,
                         const rusm_trace_record *record)
{
    struct rusm_trace *trace = open_trace(proc, serial);

    if (trace != NULL) {
        put(trace, proc, record);
        rusmi_lock_give(&trace->lock);
    }
}

void rusmi_trace_send(struct rusmi_process *proc, rusm_pid to, rusm_msg_kind kind, uint64_t len)
{
    write_record(
        proc, proc->own_serial,
        &(rusm_trace_record){.event = RUSM_TRACE_SEND, .other = to, .kind = kind, .len = len});
}

static bool was_taken(enum rusmi_push result)
{
    return result == RUSMI_PUSHED || result == RUSMI_PUSHED_WAKE || result == RUSMI_PUSHED_OVER ||
           result == RUSMI_PUSHED_OVER_WAKE;
}

enum rusmi_push rusmi_trace_push(struct rusmi_process *proc, uint64_t serial, rusm_msg *msg)
{
    const rusm_trace_record record = {.event = RUSM_TRACE_ARRIVE,
                                      .other = rusm_msg_sender(msg),
                                      .kind = rusm_msg_get_kind(msg),
                                      .len = rusm_msg_len(msg)};
    struct rusm_trace *trace = open_trace(proc, serial);
    enum rusmi_push result = rusmi_mailbox_push(&proc->mailbox, rusmi_mailbox_life(serial), msg);

    if (trace != NULL) {
        if (was_taken(result)) {
            put(trace, proc, &record);
        }
        rusmi_lock_give(&trace->lock);
    }
    return result;
}

void rusmi_trace_receive(struct rusmi_process *proc, const rusm_msg *msg)
{
    write_record(proc, proc->own_serial,
                 &(rusm_trace_record){.event = RUSM_TRACE_RECEIVE,
                                      .other = rusm_msg_sender(msg),
                                      .kind = rusm_msg_get_kind(msg),
                                      .len = rusm_msg_len(msg)});
}

void rusmi_trace_in(struct rusmi_process *proc)
{
    write_record(proc, proc->own_serial, &(rusm_trace_record){.event = RUSM_TRACE_IN});
}

void rusmi_trace_out(struct rusmi_process *proc)
{
    write_record(proc, proc->own_serial, &(rusm_trace_record){.event = RUSM_TRACE_OUT});
}

void rusmi_trace_link(struct rusmi_process *proc, uint64_t serial, rusm_pid other)
{
    write_record(proc, serial, &(rusm_trace_record){.event = RUSM_TRACE_LINK, .other = other});
}

void rusmi_trace_exit(struct rusmi_process *proc, const rusm_reason *reason)
{
    write_record(proc, proc->own_serial,
                 &(rusm_trace_record){.event = RUSM_TRACE_EXIT, .reason = reason->kind});
    /* Nothing can be attached any more: it is not watchable since it last had the stripe. */
    atomic_store(&proc->trace, NULL);
}

/* ---- the user's side ------------------------------------------------------------------------- */

/* A free place, which is taken with that array. NULL: there is none. */
static struct rusm_trace *take_place(rusm_trace_record *records, size_t cap)
{
    for (size_t i = 0; i < RUSMI_TRACES_MAX; i++) {
        struct rusm_trace *trace = &traces[i];
        bool taken = false;

        rusmi_lock_take(&trace->lock);
        if (trace->records == NULL) {
            trace->pid = RUSM_PID_NONE;
            trace->records = records;
            trace->cap = cap;
            trace->written = trace->read = 0;
            taken = true;
        }
        rusmi_lock_give(&trace->lock);
        if (taken) {
            return trace;
        }
    }
    return NULL;
}

static void give_place(struct rusm_trace *trace)
{
    rusm_trace_record *records;

    rusmi_lock_take(&trace->lock);
    records = trace->records;
    trace->records = NULL;
    trace->pid = RUSM_PID_NONE;
    rusmi_lock_give(&trace->lock);
    rusmi_free(records); /* whoever has the address looks at `records` under the lock first */
}

static rusm_err attach(struct rusm_trace *trace, rusm_pid pid)
{
    rusm_err err = RUSM_ENOPROC;
    struct rusmi_process *proc;
    rusm_runtime *rt;

    rusmi_runtimes_hold();
    proc = rusmi_runtime_find_process(pid, &rt);
    if (proc != NULL) {
        rusmi_lock_take(rusmi_slot_stripe(rt->pool, proc));
        if (rusmi_process_is(proc, pid) && proc->watchable) {
            err = RUSM_EEXIST;
            /* relaxed: it is written under the stripe only */
            if (atomic_load_explicit(&proc->trace, memory_order_relaxed) == NULL) {
                rusmi_lock_take(&trace->lock);
                trace->pid = pid;
                rusmi_lock_give(&trace->lock);
                /* release: pairs with the acquire in write_record() */
                atomic_store_explicit(&proc->trace, trace, memory_order_release);
                err = RUSM_OK;
            }
        }
        rusmi_lock_give(rusmi_slot_stripe(rt->pool, proc));
    }
    rusmi_runtimes_release();
    return err;
}

static void detach(struct rusm_trace *trace)
{
    struct rusmi_process *proc;
    rusm_runtime *rt;

    rusmi_runtimes_hold();
    proc = rusmi_runtime_find_process(trace->pid, &rt);
    if (proc != NULL) {
        struct rusm_trace *own = trace;

        rusmi_lock_take(rusmi_slot_stripe(rt->pool, proc));
        (void)atomic_compare_exchange_strong(&proc->trace, &own, NULL);
        rusmi_lock_give(rusmi_slot_stripe(rt->pool, proc));
    }
    rusmi_runtimes_release();
}

rusm_err rusm_trace_new(rusm_trace **out_trace, rusm_pid pid, size_t records_max)
{
    rusm_trace_record *records;
    struct rusm_trace *trace;
    rusm_err err;

    if (out_trace == NULL || records_max == 0 || records_max > RUSMI_TRACE_RECORDS_MAX) {
        return rusm_set_err_detail(RUSM_EINVAL, "a trace keeps 1 to %zu records",
                                   RUSMI_TRACE_RECORDS_MAX);
    }
    records = rusmi_zalloc_array(records_max, sizeof(*records));
    if (records == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    trace = take_place(records, records_max);
    if (trace == NULL) {
        rusmi_free(records);
        return rusm_set_err_detail(RUSM_EFULL, "%u processes are being traced", RUSMI_TRACES_MAX);
    }
    err = attach(trace, pid);
    if (err != RUSM_OK) {
        give_place(trace);
        return rusm_set_err_detail(err, "%s",
                                   err == RUSM_EEXIST ? "somebody traces the process already"
                                                      : rusm_err_text(err));
    }
    *out_trace = trace;
    return RUSM_OK;
}

size_t rusm_trace_read(rusm_trace *trace, rusm_trace_record *records, size_t records_max,
                       uint64_t *out_lost)
{
    uint64_t lost = 0;
    size_t count = 0;

    rusmi_lock_take(&trace->lock);
    if (trace->written - trace->read > trace->cap) {
        lost = trace->written - trace->read - trace->cap;
        trace->read += lost;
    }
    while (count < records_max && trace->read < trace->written) {
        records[count++] = trace->records[trace->read++ % trace->cap];
    }
    rusmi_lock_give(&trace->lock);
    if (out_lost != NULL) {
        *out_lost = lost;
    }
    return count;
}

void rusm_trace_del(rusm_trace *trace)
{
    if (trace != NULL) {
        detach(trace);
        give_place(trace);
    }
}
