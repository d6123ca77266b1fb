/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Tracing one process (OTP, erlang:trace/3): messages in and out, scheduling and its end. Off by
 * default, bounded.
 */
#ifndef RUSM_OTP_TRACE_H
#define RUSM_OTP_TRACE_H

#include <rusm/err.h>
#include <rusm/otp/message.h>
#include <rusm/otp/reason.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/** What a traced process did. */
typedef enum rusm_trace_event {
    RUSM_TRACE_SEND = 0,    /**< it sent a message to other */
    RUSM_TRACE_ARRIVE = 1,  /**< a message from other came into its mailbox */
    RUSM_TRACE_RECEIVE = 2, /**< it took a message from other out of its mailbox */
    RUSM_TRACE_IN = 3,      /**< a scheduler began to run it */
    RUSM_TRACE_OUT = 4,     /**< it suspended */
    RUSM_TRACE_LINK = 5,    /**< it linked, or was linked, to other */
    RUSM_TRACE_EXIT = 6,    /**< it ended; reason says how */
} rusm_trace_event;

/** One thing that happened. */
typedef struct rusm_trace_record {
    rusm_time at_ns;
    rusm_trace_event event;
    rusm_pid other;
    rusm_msg_kind kind; /**< of the message */
    uint64_t len;       /**< of the message */
    rusm_reason_kind reason;
} rusm_trace_record;

/** The name of an event, such as "receive". Owns: nothing; the text is constant. */
RUSM_API const char *rusm_trace_event_name(rusm_trace_event event);

/** A trace of one process. */
typedef struct rusm_trace rusm_trace;

/**
 * Trace a local process from now on. The newest records_max (1 to 1,048,576) records are kept.
 *
 * Owns:    the caller owns the trace and ends it with rusm_trace_del(); it outlives the process.
 * Threads: any.
 * Errors:  RUSM_ENOPROC
 *          RUSM_EEXIST   somebody traces it already
 *          RUSM_EFULL    64 processes are being traced
 *          RUSM_EINVAL, RUSM_ENOMEM
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_trace_new(rusm_trace **out_trace, rusm_pid pid,
                                                 size_t records_max);

/** Take the oldest records that were not read yet, at most records_max. *out_lost (may be NULL):
 * how many were overwritten since the last read. Returns how many. Threads: one at a time. */
RUSM_API size_t rusm_trace_read(rusm_trace *trace, rusm_trace_record *records, size_t records_max,
                                uint64_t *out_lost);

/** Stop tracing and free the trace; NULL is allowed. Threads: any, nobody else using it. */
RUSM_API void rusm_trace_del(rusm_trace *trace);

RUSM_END_DECLS

#endif
