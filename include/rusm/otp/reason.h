/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Exit reasons: why a process ended. They are delivered to links and monitors; an error code of a
 * call is another thing (rusm/err.h).
 */
#ifndef RUSM_OTP_REASON_H
#define RUSM_OTP_REASON_H

#include <rusm/err.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/** Why a process ended. Values appear on the wire. */
typedef enum rusm_reason_kind {
    RUSM_REASON_NORMAL = 0,         /**< the body returned */
    RUSM_REASON_SHUTDOWN = 1,       /**< asked to stop by its supervisor or its runtime */
    RUSM_REASON_KILLED = 2,         /**< rusm_kill() */
    RUSM_REASON_NOPROC = 3,         /**< it did not exist when it was asked about */
    RUSM_REASON_NOCONNECTION = 4,   /**< the link to its node was lost */
    RUSM_REASON_CRASHED = 5,        /**< rusm_crash(), with a text */
    RUSM_REASON_FAULT = 6,          /**< a memory fault, with signal and address, or abort() */
    RUSM_REASON_STACK_OVERFLOW = 7, /**< it used more stack than it has */
} rusm_reason_kind;

/** Bytes of the text of a reason, with the final NUL; a longer text is cut at a character boundary.
 */
#define RUSM_REASON_TEXT_MAX 128

/** An exit reason. */
typedef struct rusm_reason {
    rusm_reason_kind kind;
    int signal;                      /**< RUSM_REASON_FAULT: the signal number */
    uint64_t address;                /**< RUSM_REASON_FAULT: the address */
    char text[RUSM_REASON_TEXT_MAX]; /**< RUSM_REASON_CRASHED, RUSM_REASON_SHUTDOWN: why, in words;
                                        may be empty */
} rusm_reason;

/** The name of a kind of reason, such as "normal". Owns: nothing; the text is constant. */
RUSM_API const char *rusm_reason_name(rusm_reason_kind kind);

/** A reason of that kind, without text. */
RUSM_API rusm_reason rusm_reason_make(rusm_reason_kind kind);

/** The reason *crashed* with a text (printf format), cut at a character boundary. */
RUSM_API rusm_reason rusm_reason_crashed(const char *format, ...) RUSM_PRINTF(1, 2);

/** Whether a process that ended so is not to be mourned: normal or shutdown. A *transient* child
 * that ends so is not restarted (OTP, supervisor(3)). */
RUSM_API bool rusm_reason_is_orderly(const rusm_reason *reason);

/**
 * Write a reason for people: "crashed: disk is full", "fault: signal 11 at 0x10".
 *
 * Returns the length without NUL, as snprintf does. Owns: nothing. Threads: any.
 */
RUSM_API size_t rusm_reason_format(const rusm_reason *reason, char *buf, size_t buf_len);

RUSM_END_DECLS

#endif
