/* SPDX-License-Identifier: MIT */
/*
 * The control block of a process, and the slots that hold them (docs/design/processes.md).
 *
 * A slot is a stack with the control block at its top, so that an idle process costs one page.
 * Slots are type-stable: they are never unmapped before their pool ends, so a pid of long ago can
 * be looked up safely and is found to be another process's. serial = generation << 32 | slot
 * number; the generation of a slot grows with each use.
 *
 * Who waits, and how waits end, is in the head word of its mailbox: see otp/mailbox.h. A process
 * that does not wait runs, or is in exactly one place from which a scheduler will take it: a queue,
 * a worker's `next`, or the hands of who has just ended its waiting.
 */
#ifndef RUSMI_OTP_PROCESS_H
#define RUSMI_OTP_PROCESS_H

#include "base/list.h"
#include "base/map.h"
#include "otp/mailbox.h"
#include "otp/tie.h"
#include "otp/timeout.h"
#include "platform/context.h"

#include <rusm/otp/driver.h>
#include <rusm/otp/info.h>
#include <rusm/otp/memory.h>
#include <rusm/otp/process.h>

#include <stdarg.h>
#include <stdatomic.h>

struct rusmi_worker;

/* Bytes of the text that rusm_err_detail() returns, with its NUL. */
#define RUSMI_DETAIL_TEXT_MAX 256

/* What only few processes need; allocated when first used, freed at the end. */
struct rusmi_process_extra {
    char detail[RUSMI_DETAIL_TEXT_MAX];
    struct rusmi_hook *hooks; /* see memory.c; the last one first */
    uint64_t hook_number;
    struct rusmi_after *after;                  /* see after.c */
    struct rusmi_tasks *tasks;                  /* see gen/task.c */
    struct rusmi_group_monitor *group_monitors; /* see group.c; under the groups' lock */
    /* Called once, by rusm_exit() and rusm_exit_with(), before the process ends; NULL: nothing. */
    void (*before_exit)(void *arg, const rusm_reason *reason);
    void *before_exit_arg;
};

struct rusmi_process {
    /* What senders look at, and their half of the mailbox: one cache line. */
    _Atomic uint64_t serial; /* of the process in the slot; 0: none. Written by its owner alone */
    _Atomic uint64_t owner_incarnation; /* of its runtime; meaningful with serial */
    _Atomic uint64_t kill_serial;       /* the process that is to be killed */
    _Atomic(struct rusm_trace *) trace; /* NULL: nobody looks; see trace.h */
    struct rusmi_mailbox mailbox;

    /* the process itself, or the worker that runs it: another */
    struct rusm_msg *held;       /* messages that it made or received, and has not given away */
    _Atomic uint64_t reductions; /* for lists; relaxed */
    uint64_t own_serial;         /* this to `fn` constant while the process lives, but for doing */
    rusm_runtime *runtime;
    rusm_pool *pool;
    int saved_errno;
    _Atomic uint8_t doing; /* rusm_process_state, for lists; relaxed */
    bool is_thread;
    bool ending;
    struct rusmi_context context;
    void *parked; /* what was live of its stack, while its pages are away: see park.c */

    uint32_t slot;
    uint32_t size_class;
    uint32_t tool_id; /* of the stack, for valgrind */
    uint32_t generation;
    uint64_t parent_serial; /* the process of the same runtime that spawned it; 0: another one */
    rusm_process_fn fn;
    void *arg;
    struct rusmi_unwind *unwind;     /* of blocking work: where its end goes to; else NULL */
    _Atomic uint32_t crowded;        /* written under the crowd stripe */
    _Atomic uint32_t park;           /* an entered thread sleeps on it while it is 0 */
    _Atomic uint32_t named;          /* whether it may have names: see registry.c */
    _Atomic uint32_t grouped;        /* it may be in groups, or monitor some: see group.h */
    struct rusmi_process *next_free; /* under the pool's or worker's free list */
    struct rusmi_timeout timeout;    /* of its waits */
    struct rusmi_process_extra *extra;
    const rusm_reason *reason;       /* why it ends, from then on */
    struct rusmi_block_head *blocks; /* of rusm_alloc(), see memory.c */
    _Atomic uint64_t heap_bytes;     /* in them; relaxed: for lists */

    /* under the stripe lock of the slot */
    rusm_exit_watch *watches;   /* see watch.c */
    struct rusmi_cause *doom;   /* why it has to end, if it was marked by an exit signal */
    struct rusmi_ties ties;     /* links, and monitors that it made; see tie.h */
    struct rusmi_list monitors; /* on it: struct rusmi_tie */
    uint32_t monitors_len;
    bool watchable; /* false from the moment on at which it begins to end */
    bool trap_exit;
    bool watches_spawns; /* what it spawns is monitored by it. Its own */
    uint16_t census;     /* the place of its label there; 0: it was not counted. Its own */
    char *label;

    /* under the registry's lock of the runtime */
    struct rusmi_list names;

    /* under the lock of the runtime's groups */
    struct rusmi_list groups;
};

/* The process with that pid, or NULL; what it points to may change its holder at any time. */
struct rusmi_process *rusmi_process_find(rusm_pool *pool, uint64_t serial);
/* Whether somebody has asked for the end of the running process. */
bool rusmi_process_killed(const struct rusmi_process *proc);
/* It waited, and that was just ended: make it run. */
void rusmi_process_run_again(struct rusmi_process *proc);
/* Wake it, if it waits; else have it look again before it waits. Any thread. */
void rusmi_process_wake(struct rusmi_process *proc);
/* Have the calling thread, which is no worker, be that process, or none. */
void rusmi_process_be(struct rusmi_process *proc);
/* The running process; NULL in an ordinary thread and in a driver. */
struct rusmi_process *rusmi_process_self(void);
/* Forget wake-ups so far, and collect messages: to be called before looking at what is waited for.
 */
void rusmi_process_attend(struct rusmi_process *proc);
/*
 * Suspend until woken, or until deadline (RUSMI_NEVER: none); doing says for what. Returns when
 * woken, for whatever reason; the caller looks again.
 */
void rusmi_process_suspend(struct rusmi_process *proc, rusm_process_state doing,
                           rusm_time deadline);
/* What a blocking call returns to a thread whose test can not go on: RUSM_ETIMEOUT. */
rusm_err rusmi_process_deadlocked(void);
/* Whether a thread that waits has been woken. */
bool rusmi_process_woken(const struct rusmi_process *proc);
/* What it does, for lists. */
rusm_process_state rusmi_process_doing(const struct rusmi_process *proc);
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
/* The time that is left until such a deadline, rounded up to milliseconds, as the timeout of a call
 * that waits for a part of what was allowed. */
int64_t rusmi_time_left(rusm_time deadline);
/* The full pid of a process. */
rusm_pid rusmi_process_pid(const struct rusmi_process *proc);

/*
 * End the calling process here if it has been killed and has a stack of ours. Blocking work goes
 * on, and its call returns RUSM_EKILLED: there may be frames below that know nothing of us. It ends
 * in rusm_checkpoint(), which only its own code calls.
 */
void rusmi_checkpoint(void);

/* What a process is born with beyond its config. Zero: nothing. */
struct rusmi_spawn_more {
    rusm_exit_watch *watch; /* set before it runs; on an error not set and never called */
    rusm_exit_hook *hook;   /* moved from the caller to it, before it runs; then its hook there */
    bool blocking;          /* it runs on a thread, see blocking.c */
    bool is_child;          /* link and monitor of the config are one tie, see tie.h: supervisors */
};

/* As rusm_spawn_with(); *out_pid is set before the call may end its caller. */
rusm_err rusmi_spawn_more(rusm_runtime *rt, rusm_process_fn fn, void *arg,
                          const rusm_spawn_config *cfg, const struct rusmi_spawn_more *more,
                          rusm_pid *out_pid);
/* Run a process that was spawned with a job to its end, on the calling thread. */
void rusmi_process_run_here(struct rusmi_process *proc);

/* As rusm_spawn_with(); the watch is set before the process runs, *out_pid before the call may end
 * its caller. On an error the watch is not set and will not be called. */
rusm_err rusmi_spawn_watched(rusm_runtime *rt, rusm_process_fn fn, void *arg,
                             const rusm_spawn_config *cfg, rusm_exit_watch *watch,
                             rusm_pid *out_pid);

/* What only few processes need, made now if it was not there; NULL without memory. Owner. */
struct rusmi_process_extra *rusmi_process_extra(struct rusmi_process *self);
/* Whether somebody has asked for the end of the process with that serial, in that slot. */
static inline bool rusmi_process_killed_as(const struct rusmi_process *proc, uint64_t serial)
{
    return atomic_load(&proc->kill_serial) == serial;
}
/* Free the downs with that reference that lie in self's mailbox. */
void rusmi_flush_down(struct rusmi_process *self, uint64_t number);
/* Whether the slot still has that process, of runtime rt. */
static inline bool rusmi_process_is(const struct rusmi_process *proc, rusm_pid pid)
{
    return atomic_load(&proc->serial) == pid.serial &&
           atomic_load(&proc->owner_incarnation) == pid.incarnation;
}
/* Why it has to end: it was killed, or an exit signal that it does not trap has come. */
rusm_reason rusmi_reason_of_kill(struct rusmi_process *proc);
/* The reason, by its address, of a process that ends before it has run: nobody is told. */
extern const rusm_reason rusmi_never_ran;
/* Make it end, as a kill does, but for that cause (one reference is taken over). Under the stripe;
 * wake it afterwards. */
void rusmi_process_doom(struct rusmi_process *proc, struct rusmi_cause *cause);
/* A fresh number for a reference, never used before in this OS process. */
uint64_t rusmi_ref_new(void);
/* Take what is wanted from self's mailbox, waiting for it. */
rusm_err rusmi_receive(struct rusmi_process *self, struct rusmi_wanted *wanted, int64_t timeout_ms,
                       rusm_msg **out_msg);
/* As rusm_receive(), whoever the caller is. */
rusm_err rusmi_receive_any(rusm_msg **out_msg, int64_t timeout_ms);
/* The reply or the down with that reference, for whoever asked for it; see gen/call.c. */
rusm_err rusmi_receive_reply(rusm_mark mark, uint64_t ref_number, int64_t timeout_ms,
                             rusm_msg **out_msg);
/* Monitor pid with a reference number that was made before. */
rusm_err rusmi_monitor_with(rusm_pid pid, uint64_t ref_number);
/* Put msg into the mailbox of a process of rt. RUSM_ENOPROC, RUSM_EFULL: it is still the caller's.
 * No detail is set, nothing is counted but drops. */
rusm_err rusmi_deliver(rusm_runtime *rt, uint64_t serial, rusm_msg *msg);
/* Push what must not be lost and came from elsewhere: it is counted, and never refused for that. */
enum rusmi_push rusmi_push_far(struct rusmi_process *proc, uint64_t serial, struct rusm_msg *msg);
/* Whether the mailbox holds twice what data from elsewhere may fill: so much of what is never
 * refused that its process does not look at it, and more can only be somebody's game. */
bool rusmi_is_flooded(const struct rusmi_process *proc);
/* As rusm_send() and rusm_send_name(), but the message is of that kind. */
rusm_err rusmi_send_kind(rusm_pid to, rusm_msg_kind kind, const void *data, size_t len);
rusm_err rusmi_send_name_kind(const char *name, rusm_msg_kind kind, const void *data, size_t len);
/* The clock of a pool: virtual for the test kit's. */
rusm_time rusmi_pool_now(const rusm_pool *pool);

/* ---- reason.c ---- */
void rusmi_reason_crashed(rusm_reason *out_reason, const char *format, va_list args);

/* ---- memory.c ---- */
void rusmi_hooks_run(struct rusmi_process *proc);
/* Move a hook to a process that has not run yet and has its extra record. False: it is not there.
 */
bool rusmi_hook_move(struct rusmi_process *from, rusm_exit_hook *hook, struct rusmi_process *to);
void rusmi_blocks_free(struct rusmi_process *proc);

#define RUSMI_NEVER UINT64_MAX

#endif
