/* SPDX-License-Identifier: MIT */
/*
 * The control block of a process, and the slots that hold them (docs/design/processes.md).
 *
 * A slot is a stack with the control block at its top, so that an idle process costs one page.
 * Slots are type-stable: they are never unmapped before their pool ends, so a pid of long ago can
 * be looked up safely and is found to be another process's. serial = generation << 32 | slot
 * number; the generation of a slot grows with each use.
 *
 * State, moved by compare-and-swap:
 *
 *     FREE -> RUNNING (a thread) or QUEUED (a process)
 *     QUEUED -> RUNNING -> IDLE -> QUEUED ...      IDLE: suspended, nobody runs it
 *               RUNNING -> NOTIFIED                woken while it ran: it does not suspend
 *     RUNNING, NOTIFIED -> FREE                    it has ended
 *
 * The rule against lost wake-ups: a waker first sets what it has to tell, then wakes; a process
 * first clears NOTIFIED, then looks at everything it waits for, then suspends. Wake-ups may be
 * spurious, also from a former life of the slot.
 */
#ifndef RUSMI_OTP_PROCESS_H
#define RUSMI_OTP_PROCESS_H

#include "base/list.h"
#include "base/map.h"
#include "otp/mailbox.h"
#include "otp/timer.h"
#include "platform/context.h"

#include <rusm/otp/driver.h>
#include <rusm/otp/info.h>
#include <rusm/otp/process.h>

#include <stdatomic.h>

struct rusmi_worker;

enum {
    PROC_FREE,
    PROC_QUEUED,
    PROC_RUNNING,
    PROC_NOTIFIED,
    PROC_IDLE,  /* a process that waits */
    PROC_PARKED /* an entered thread that waits; apart, so that a waker knows whom it has won
                   without reading a control block that may have begun another life */
};

/* Bytes of the text that rusm_err_detail() returns, with its NUL. */
#define RUSMI_DETAIL_TEXT_MAX 256

/* What only few processes need; allocated when first used, freed at the end. */
struct rusmi_process_extra {
    char detail[RUSMI_DETAIL_TEXT_MAX];
};

struct rusmi_process {
    /* any thread, atomic */
    _Atomic uint32_t state;
    _Atomic uint64_t serial; /* of the process in the slot; 0: none. Written by its owner alone */
    _Atomic uint64_t owner_incarnation; /* of its runtime; meaningful with serial */
    _Atomic uint64_t kill_serial;       /* the process that is to be killed */
    _Atomic uint8_t doing;              /* rusm_process_state, for lists; relaxed */
    _Atomic uint64_t reductions;        /* for lists; relaxed */
    _Atomic uint32_t crowded;           /* written under the crowd stripe */
    struct rusmi_mailbox mailbox;

    /* constant while the process lives */
    rusm_runtime *runtime;
    rusm_pool *pool;
    uint64_t own_serial;
    uint32_t slot;
    uint32_t size_class;
    uint32_t tool_id; /* of the stack, for valgrind */
    bool is_thread;
    rusm_process_fn fn;
    void *arg;

    /* the process itself, or the worker that runs it */
    struct rusmi_context context;
    struct rusmi_process *next_free; /* under the pool's or worker's free list */
    struct rusmi_timer timer;        /* of the present wait */
    struct rusmi_process_extra *extra;
    uint32_t generation;
    int saved_errno;
    bool ending;
    const rusm_reason *reason; /* why it ends, from then on */

    /* under the stripe lock of the slot */
    rusm_exit_watch *watches; /* see watch.c */
    bool watchable;
    char *label;

    /* under the registry's lock of the runtime */
    struct rusmi_list names;
    bool names_closed;
};

/* The process with that pid, or NULL; what it points to may change its holder at any time. */
struct rusmi_process *rusmi_process_find(rusm_pool *pool, uint64_t serial);
/* Whether somebody has asked for the end of the running process. */
bool rusmi_process_killed(const struct rusmi_process *proc);
/* Make it run (again). Any thread. */
void rusmi_process_wake(struct rusmi_process *proc);
/* The running process; NULL in an ordinary thread and in a driver. */
struct rusmi_process *rusmi_process_self(void);
/* Forget wake-ups so far: to be called before looking at what is waited for. */
void rusmi_process_attend(struct rusmi_process *proc);
/*
 * Suspend until woken, or until deadline (RUSMI_NEVER: none); doing says for what. Returns when
 * woken, for whatever reason; the caller looks again.
 */
void rusmi_process_suspend(struct rusmi_process *proc, rusm_process_state doing,
                           rusm_time deadline);
/* Count n units of work; gives others a turn once the budget is used up. */
void rusmi_process_work(struct rusmi_process *proc, unsigned n);
/*
 * End the running process: it leaves its stack for good, and the scheduler that it was on does the
 * rest, on the stack of its thread.
 */
_Noreturn void rusmi_process_end(struct rusmi_process *proc, const rusm_reason *reason);
/* All that ending means; proc->reason is set. Afterwards the slot may be another's. */
void rusmi_process_finish(struct rusmi_process *proc);
/* The absolute time of a timeout; RUSMI_NEVER for RUSM_INFINITY. */
rusm_time rusmi_deadline(int64_t timeout_ms);
/* The full pid of a process. */
rusm_pid rusmi_process_pid(const struct rusmi_process *proc);

#define RUSMI_NEVER UINT64_MAX

#endif
