/* SPDX-License-Identifier: MIT */
/*
 * The calls that every message passes, for the case that is nearly always given: a small message,
 * from a process to another of its runtime, both without bounds and tracing. Everything here is a
 * shorter way to what send.c and message.c do, inlined into one frame; whatever is unusual goes
 * there. On a pool of the test kit, and under the thread sanitizer, all goes there.
 *
 * Why: a round trip between two processes is some fifty nanoseconds, of which a call is one or two
 * and a frame above a switch six.
 */
#include "otp/mailbox_inline.h"
#include "otp/sched.h"
#include "otp/switch.h"

#include <rusm/otp/driver.h>

/* Bytes that fit behind a head in the smallest class of blocks. */
#define SMALL_MAX (RUSMI_CACHE_LEAST - sizeof(struct rusm_msg))

_Static_assert(sizeof(struct rusm_msg) + 16 <= RUSMI_CACHE_LEAST, "two words fit a small message");

/* The process that runs here and may take the short way; NULL: none. */
static inline struct rusmi_process *self_on(struct rusmi_worker *worker)
{
    struct rusmi_process *self = worker == NULL ? NULL : rusmi_worker_current(worker);

    /* relaxed: tracing begins and ends at some moment */
    return self != NULL && worker->pool->hands_over &&
                   atomic_load_explicit(&self->trace, memory_order_relaxed) == NULL
               ? self
               : NULL;
}

/* As rusmi_process_work(), for one unit; true if the budget is used up. */
static inline bool work_one(struct rusmi_worker *worker, struct rusmi_process *self)
{
    /* relaxed: for lists, and only the process writes it */
    atomic_store_explicit(&self->reductions,
                          atomic_load_explicit(&self->reductions, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    return --worker->budget <= 0;
}

/* ---- sending --------------------------------------------------------------------------------- */

/* The process of self's runtime with that serial, if it may be sent to on the short way. */
static inline struct rusmi_process *find_open(struct rusmi_process *self, rusm_pid to)
{
    rusm_runtime *rt = self->runtime;
    struct rusmi_process *proc;

    if (to.incarnation != rt->incarnation || (uint32_t)to.serial == 0 ||
        atomic_load(&rt->crowd_high) != 0) {
        return NULL;
    }
    proc = rusmi_slot_at_inline(rt->pool, (uint32_t)to.serial - 1);
    /* relaxed, as above */
    return proc != NULL && rusmi_process_is(proc, to) && rusmi_box_bound(&proc->mailbox) == 0 &&
                   atomic_load_explicit(&proc->trace, memory_order_relaxed) == NULL
               ? proc
               : NULL;
}

rusm_err rusm_send(rusm_pid to, const void *data, size_t len)
{
    struct rusmi_worker *worker = rusmi_worker_self();
    struct rusmi_process *self = self_on(worker), *proc;
    struct rusm_msg *msg;

    if (self == NULL || len > SMALL_MAX || (data == NULL && len != 0) ||
        rusmi_process_killed_as(self, self->own_serial) || (proc = find_open(self, to)) == NULL ||
        (msg = rusmi_cache_pop(&worker->cache, 1)) == NULL) {
        return rusmi_send_kind(to, RUSM_MSG_DATA, data, len);
    }
    msg->held = NULL;
    msg->sender = (rusm_pid){self->runtime->incarnation, self->own_serial};
    msg->meta = RUSMI_MSG_META(len, RUSM_MSG_DATA, 0, 1);
    msg->ref = 0;
    if (len == 8) {
        memcpy(msg->data, data, 8); /* one instruction, for what is most common: a word */
    } else if (len != 0) {
        memcpy(msg->data, data, len);
    }
    switch (rusmi_box_push(&proc->mailbox, rusmi_mailbox_life(to.serial), msg, false)) {
    case RUSMI_PUSHED:
        break;
    case RUSMI_PUSHED_WAKE:
        if (proc->mailbox.wakes_thread) {
            rusmi_process_run_again(proc);
        } else {
            rusmi_queue(worker, worker->pool, proc); /* it is of the same runtime */
        }
        break;
    default:
        rusm_msg_del(msg);
        return rusmi_send_kind(to, RUSM_MSG_DATA, data, len); /* which says what is wrong */
    }
    if (work_one(worker, self)) {
        rusm_yield();
    }
    return RUSM_OK;
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* Take the first message of the inbox out. */
static inline void unlink_first(struct rusmi_mailbox *box, struct rusm_msg *msg)
{
    box->first = msg->next;
    if (box->last == &msg->next) {
        box->last = &box->first;
    }
    if (box->mark == &msg->next) {
        box->mark = &box->first;
    }
    if (box->seen == &msg->next) {
        box->seen = &box->first;
    }
    rusmi_box_count(box, (uint64_t)-1);
}

/*
 * What was pushed: the message itself if it is the only one, and nothing waits in the inbox; else
 * it goes there.
 */
static inline struct rusm_msg *collect_one(struct rusmi_mailbox *box)
{
    /* relaxed, and seq_cst: as in rusmi_box_collect() */
    uint64_t word = atomic_load_explicit(&box->head, memory_order_relaxed);
    struct rusm_msg *newest;

    if ((word & ~RUSMI_BOX_MASK) == 0) {
        return NULL;
    }
    newest = rusmi_box_unpack(atomic_exchange(&box->head, word & RUSMI_BOX_MASK));
    if (newest == NULL) {
        return NULL;
    }
    if (newest->next == NULL && newest->kind != RUSM_MSG_REPLY) {
        return newest;
    }
    rusmi_box_append(box, newest);
    return NULL;
}

/* The oldest message, for the receive that takes whatever comes. */
static inline struct rusm_msg *take_oldest(struct rusmi_mailbox *box)
{
    struct rusm_msg *msg = box->first;

    if (msg == NULL) {
        msg = collect_one(box);
        if (msg != NULL) {
            return msg;
        }
        msg = box->first;
    }
    if (msg != NULL) {
        if (msg->kind == RUSM_MSG_REPLY) {
            return NULL;
        }
        unlink_first(box, msg);
    }
    return msg;
}

#if RUSMI_CONTEXT_INLINE
/*
 * The return of a receive that waited goes to another caller than that of the receive which was
 * last called on this thread, so the return predictor is wrong each time. Here the receive proper
 * always returns to the same place, and from there a jump, which is predicted by its history, leads
 * to the caller.
 */
rusm_err rusmi_receive_hot(rusm_msg **out_msg, int64_t timeout_ms);

__asm__(".text\n\t"
        ".globl rusm_receive\n\t"
        ".type rusm_receive, @function\n\t"
        ".p2align 4\n"
        "rusm_receive:\n\t"
        ".cfi_startproc\n\t"
        "subq $8, %rsp\n\t"
        ".cfi_adjust_cfa_offset 8\n\t"
        "callq rusmi_receive_hot\n\t"
        "addq $8, %rsp\n\t"
        ".cfi_adjust_cfa_offset -8\n\t"
        "popq %rcx\n\t"
        ".cfi_adjust_cfa_offset -8\n\t"
        ".cfi_register %rip, %rcx\n\t"
        "jmpq *%rcx\n\t"
        ".cfi_endproc\n\t"
        ".size rusm_receive, .-rusm_receive");

__attribute__((used)) rusm_err rusmi_receive_hot(rusm_msg **out_msg, int64_t timeout_ms)
#else
rusm_err rusm_receive(rusm_msg **out_msg, int64_t timeout_ms)
#endif
{
    struct rusmi_worker *worker = rusmi_worker_self();
    struct rusmi_process *self = self_on(worker);

    while (self != NULL && worker->budget > 0 && rusmi_box_bound(&self->mailbox) == 0 &&
           atomic_load(&self->runtime->crowd_high) == 0) {
        struct rusm_msg *msg = take_oldest(&self->mailbox);

        if (msg != NULL) {
            rusmi_msg_hold_inline(&self->held, msg);
        }
        /* Only now: what notified us has done so before it was collected. */
        if (rusmi_process_killed_as(self, self->own_serial)) {
            break;
        }
        if (msg != NULL) {
            (void)work_one(worker, self);
            *out_msg = msg;
            return RUSM_OK;
        }
        if (timeout_ms != RUSM_INFINITY || self->mailbox.first != NULL) {
            break;
        }
        /* relaxed: for lists */
        atomic_store_explicit(&self->doing, RUSM_PROCESS_RECEIVING, memory_order_relaxed);
        rusmi_leave(worker, self, RUSMI_LEAVE_WAIT);
        worker = rusmi_worker_self();
        self = self_on(worker);
    }
    return rusmi_receive_any(out_msg, timeout_ms);
}

/* ---- deleting -------------------------------------------------------------------------------- */

void rusm_msg_del(rusm_msg *msg)
{
    struct rusmi_worker *worker;

    if (msg == NULL) {
        return;
    }
    rusmi_msg_let_inline(msg);
    worker = rusmi_worker_self();
    if (msg->flags != 0 || worker == NULL || msg->size_class == RUSMI_CACHE_NONE ||
        !rusmi_cache_push(&worker->cache, msg, msg->size_class)) {
        rusmi_msg_free(msg);
    }
}
