/* SPDX-License-Identifier: MIT */
/*
 * Tracing of single processes, for debugging: see rusm/otp/trace.h and docs/design/looking.md.
 *
 * A process that is not traced pays one relaxed load of its `trace` for each thing that could be
 * recorded. The traces are a fixed number of places that are never freed, so a thread that has read
 * the pointer may use it at any later time: under the lock of the place it finds out whether that
 * still is the trace of this process. So there is nothing to count, and no thread waits for another
 * but for the moment in which one record is written.
 *
 * The functions below are called by the core, wherever rusmi_traced() says so. What they are told
 * of a message is taken before it is handed over: afterwards it is the receiver's.
 */
#ifndef RUSMI_OTP_TRACE_H
#define RUSMI_OTP_TRACE_H

#include "otp/process.h"

#include <rusm/otp/trace.h>

/* Processes that can be traced at once. */
#define RUSMI_TRACES_MAX 64u
/* Records that one trace keeps at most. */
#define RUSMI_TRACE_RECORDS_MAX ((size_t)1 << 20)

static inline bool rusmi_traced(const struct rusmi_process *proc)
{
    /* relaxed: tracing begins and ends at some moment, and the place is checked under its lock */
    return atomic_load_explicit(&proc->trace, memory_order_relaxed) != NULL;
}

/* It sent a message of that kind and length. */
void rusmi_trace_send(struct rusmi_process *proc, rusm_pid to, rusm_msg_kind kind, uint64_t len);
/* rusmi_mailbox_push() into the mailbox of the process with that serial; what was taken is recorded
 * before the receiver can have it. */
enum rusmi_push rusmi_trace_push(struct rusmi_process *proc, uint64_t serial, rusm_msg *msg);
/* It took that message out of its mailbox. */
void rusmi_trace_receive(struct rusmi_process *proc, const rusm_msg *msg);
/* A worker begins to run it; it suspended, or gave way. */
void rusmi_trace_in(struct rusmi_process *proc);
void rusmi_trace_out(struct rusmi_process *proc);
/* The process with that serial was linked to another one. */
void rusmi_trace_link(struct rusmi_process *proc, uint64_t serial, rusm_pid other);
/* It ends, for that reason; from here on it is not traced. Called at every end. */
void rusmi_trace_exit(struct rusmi_process *proc, const rusm_reason *reason);

/* Push a message to the process with that serial, whether it is traced or not. */
static inline enum rusmi_push rusmi_push_to(struct rusmi_process *proc, uint64_t serial,
                                            rusm_msg *msg)
{
    return rusmi_traced(proc) ? rusmi_trace_push(proc, serial, msg)
                              : rusmi_mailbox_push(&proc->mailbox, rusmi_mailbox_life(serial), msg);
}

#endif
