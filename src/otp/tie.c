/* SPDX-License-Identifier: MIT */
/* Links, monitors and exit signals: see otp/tie.h for the rule, rusm/otp/link.h for the calls. */
#include "otp/tie.h"

#include "base/assert.h"
#include "base/mem.h"
#include "otp/remote.h"
#include "otp/sched.h"
#include "otp/trace.h"

#include <rusm/otp/driver.h>
#include <rusm/otp/link.h>

#include <stddef.h>
#include <string.h>

/* So many ties are kept in one chain; a table of chains is made for more, and grown fourfold. */
#define FEW_MAX 8u

/* ---- tables ---------------------------------------------------------------------------------- */

static struct rusmi_tie_hook **chain_of(struct rusmi_ties *ties, uint64_t key)
{
    return ties->chains == NULL
               ? &ties->few
               : &ties->chains[(key ^ key >> 32) & (uint64_t)(ties->chains_len - 1)];
}

static void chain_push(struct rusmi_tie_hook **chain, struct rusmi_tie_hook *hook)
{
    hook->next = *chain;
    hook->at = chain;
    if (hook->next != NULL) {
        hook->next->at = &hook->next;
    }
    *chain = hook;
}

/* Without memory the chains only get longer. */
static void grow(struct rusmi_ties *ties)
{
    uint32_t len = ties->chains == NULL ? FEW_MAX * 4 : ties->chains_len * 4;
    struct rusmi_ties bigger = *ties;

    if (len > (uint32_t)1 << 30) {
        return;
    }
    bigger.chains = rusmi_zalloc_array(len, sizeof(struct rusmi_tie_hook *));
    if (bigger.chains == NULL) {
        return;
    }
    bigger.chains_len = len;
    for (uint32_t i = 0; i < (ties->chains == NULL ? 1 : ties->chains_len); i++) {
        struct rusmi_tie_hook *hook = ties->chains == NULL ? ties->few : ties->chains[i];

        while (hook != NULL) {
            struct rusmi_tie_hook *next = hook->next;

            chain_push(chain_of(&bigger, hook->key), hook);
            hook = next;
        }
    }
    rusmi_free(ties->chains);
    bigger.few = NULL;
    *ties = bigger;
}

/* One that waits for an acknowledgement, or for its process, is not to be seen. */
static void count(struct rusmi_ties *ties, const struct rusmi_tie *tie, int32_t one)
{
    if (!tie->inactive && tie->unborn == 0) {
        ties->links += tie->is_link ? (uint32_t)one : 0;
        ties->monitors += tie->is_link ? 0 : (uint32_t)one;
    }
}

void rusmi_ties_add(struct rusmi_ties *ties, struct rusmi_tie_hook *hook)
{
    uint32_t limit = ties->chains == NULL ? FEW_MAX : ties->chains_len;

    if (ties->len >= limit) {
        grow(ties);
    }
    chain_push(chain_of(ties, hook->key), hook);
    ties->len++;
    count(ties, hook->tie, 1);
}

void rusmi_ties_remove(struct rusmi_ties *ties, struct rusmi_tie_hook *hook)
{
    *hook->at = hook->next;
    if (hook->next != NULL) {
        hook->next->at = hook->at;
    }
    ties->len--;
    count(ties, hook->tie, -1);
}

/* Any tie of the table; `scan` is where to begin to look, and moves on as chains are found empty.
 */
static struct rusmi_tie *table_any(struct rusmi_ties *ties, uint32_t *scan)
{
    if (ties->chains == NULL) {
        return ties->few == NULL ? NULL : ties->few->tie;
    }
    for (; *scan < ties->chains_len; (*scan)++) {
        if (ties->chains[*scan] != NULL) {
            return ties->chains[*scan]->tie;
        }
    }
    return NULL;
}

/* Without the incarnation, which is random: whom an end is told first must be the same whenever a
 * test is run with the same seed. */
uint64_t rusmi_tie_key(rusm_pid pid)
{
    uint64_t key = pid.serial * UINT64_C(0x9e3779b97f4a7c15);

    return key ^ key >> 29;
}

/* The other end of a link. */
static rusm_pid link_other(const struct rusmi_tie *tie, const struct rusmi_process *proc)
{
    return tie->owner_proc == proc ? tie->target : tie->owner;
}

struct rusmi_tie *rusmi_tie_find_link(struct rusmi_process *proc, rusm_pid other)
{
    struct rusmi_tie_hook *hook = *chain_of(&proc->ties, rusmi_tie_key(other));

    for (; hook != NULL; hook = hook->next) {
        if (hook->tie->is_link && hook->tie->unborn == 0 &&
            rusm_pid_equal(link_other(hook->tie, proc), other)) {
            return hook->tie;
        }
    }
    return NULL;
}

struct rusmi_tie *rusmi_tie_find_monitor(struct rusmi_process *proc, uint64_t number)
{
    struct rusmi_tie_hook *hook = *chain_of(&proc->ties, number);

    for (; hook != NULL; hook = hook->next) {
        if (!hook->tie->is_link && hook->key == number) {
            return hook->tie;
        }
    }
    return NULL;
}

bool rusmi_tie_watches(const struct rusmi_process *proc, rusm_pid other)
{
    for (uint32_t i = 0; i < (proc->ties.chains == NULL ? 1 : proc->ties.chains_len); i++) {
        const struct rusmi_tie_hook *hook =
            proc->ties.chains == NULL ? proc->ties.few : proc->ties.chains[i];

        for (; hook != NULL; hook = hook->next) {
            if (!hook->tie->is_link && rusm_pid_equal(hook->tie->target, other)) {
                return true;
            }
        }
    }
    return false;
}

struct rusmi_tie *rusmi_tie_find_numbered(struct rusmi_process *proc, uint64_t number)
{
    struct rusmi_tie_hook *hook = *chain_of(&proc->ties, number);

    for (; hook != NULL; hook = hook->next) {
        if (hook->tie->unborn == number) {
            return hook->tie;
        }
    }
    return NULL;
}

struct rusmi_tie *rusmi_tie_find_born(struct rusmi_process *proc, uint64_t number)
{
    for (uint32_t i = 0; i < (proc->ties.chains == NULL ? 1 : proc->ties.chains_len); i++) {
        struct rusmi_tie_hook *hook =
            proc->ties.chains == NULL ? proc->ties.few : proc->ties.chains[i];

        for (; hook != NULL; hook = hook->next) {
            if (hook->tie->is_link && hook->tie->born == number) {
                return hook->tie;
            }
        }
    }
    return NULL;
}

/* ---- ties ------------------------------------------------------------------------------------ */

struct rusm_msg *rusmi_tie_msg(struct rusmi_tie *tie)
{
    return (struct rusm_msg *)(void *)((char *)tie - offsetof(struct rusm_msg, data));
}

struct rusmi_tie *rusmi_tie_new(rusm_pid owner, rusm_pid target, uint64_t ref_number)
{
    bool is_link = ref_number == 0;
    struct rusm_msg *msg =
        rusmi_msg_with_cause(is_link ? RUSM_MSG_EXIT : RUSM_MSG_DOWN, NULL,
                             sizeof(struct rusmi_tie) - sizeof(struct rusmi_cause *));
    struct rusmi_tie *tie;

    if (msg == NULL) {
        return NULL;
    }
    tie = (struct rusmi_tie *)(void *)msg->data;
    *tie = (struct rusmi_tie){.is_link = is_link, .owner = owner, .target = target};
    tie->at_owner.tie = tie->at_target.tie = tie;
    tie->at_owner.key = is_link ? rusmi_tie_key(target) : ref_number;
    tie->at_target.key = rusmi_tie_key(owner);
    rusmi_list_init(&tie->on_target);
    rusmi_list_init(&tie->in_far);
    msg->sender = target;
    msg->ref = ref_number;
    return tie;
}

struct rusmi_tie *rusmi_tie_new_child(rusm_pid owner, uint64_t ref_number)
{
    struct rusmi_tie *tie = rusmi_tie_new(owner, RUSM_PID_NONE, ref_number);

    if (tie != NULL) {
        tie->is_link = tie->is_child = true;
    }
    return tie;
}

void rusmi_tie_del(struct rusmi_tie *tie)
{
    if (tie != NULL) {
        rusm_msg_del(rusmi_tie_msg(tie));
    }
}

static struct rusmi_process *other_proc(const struct rusmi_tie *tie,
                                        const struct rusmi_process *proc)
{
    return tie->owner_proc == proc ? tie->target_proc : tie->owner_proc;
}

/* Under both stripes. */
static void put(struct rusmi_tie *tie, struct rusmi_process *owner, struct rusmi_process *target)
{
    tie->owner_proc = owner;
    tie->target_proc = target;
    rusmi_ties_add(&owner->ties, &tie->at_owner);
    if (tie->is_link) {
        rusmi_ties_add(&target->ties, &tie->at_target);
    } else {
        rusmi_list_push(&target->monitors, &tie->on_target);
        target->monitors_len++;
    }
    if (tie->owner.incarnation != tie->target.incarnation) {
        owner->ties.foreign = target->ties.foreign = true;
    }
    if (tie->is_link && rusmi_traced(owner)) {
        rusmi_trace_link(owner, tie->owner.serial, tie->target);
    }
    if (tie->is_link && rusmi_traced(target)) {
        rusmi_trace_link(target, tie->target.serial, tie->owner);
    }
}

/* Under both stripes. */
static void take_out(struct rusmi_tie *tie)
{
    rusmi_ties_remove(&tie->owner_proc->ties, &tie->at_owner);
    if (tie->is_link) {
        rusmi_ties_remove(&tie->target_proc->ties, &tie->at_target);
    } else {
        rusmi_list_remove(&tie->on_target);
        tie->target_proc->monitors_len--;
    }
}

/* ---- locks ----------------------------------------------------------------------------------- */

static struct rusmi_lock *stripe_of(const struct rusmi_process *proc)
{
    return rusmi_slot_stripe(proc->pool, proc);
}

/* Two stripes are always taken in the order of their addresses. */
static void lock_both(struct rusmi_process *a, struct rusmi_process *b)
{
    struct rusmi_lock *first = stripe_of(a), *second = stripe_of(b);

    if ((uintptr_t)first > (uintptr_t)second) {
        struct rusmi_lock *swap = first;

        first = second;
        second = swap;
    }
    rusmi_lock_take(first);
    if (second != first) {
        rusmi_lock_take(second);
    }
}

static void unlock_both(struct rusmi_process *a, struct rusmi_process *b)
{
    rusmi_lock_give(stripe_of(a));
    if (stripe_of(b) != stripe_of(a)) {
        rusmi_lock_give(stripe_of(b));
    }
}

/*
 * The control block that has, or had, the process with that pid; NULL if its runtime is gone. What
 * is not of self's runtime stays only while the runtimes are held: *out_held.
 */
static struct rusmi_process *find(struct rusmi_process *self, rusm_pid pid, bool *out_held)
{
    rusm_runtime *rt;

    *out_held = pid.incarnation != self->runtime->incarnation;
    if (!*out_held) {
        return rusmi_process_find(self->pool, pid.serial);
    }
    rusmi_runtimes_hold();
    return rusmi_runtime_find_process(pid, &rt);
}

static void release(bool held)
{
    if (held) {
        rusmi_runtimes_release();
    }
}

/* Under its stripe: whether it is that process, and does not yet end. */
static bool is_there(const struct rusmi_process *proc, rusm_pid pid)
{
    return rusmi_process_is(proc, pid) && proc->watchable;
}

static rusm_err check_target(struct rusmi_process *self, rusm_pid pid)
{
    if (self == NULL) {
        return rusm_set_err_detail(RUSM_ENOCONTEXT, "%s", rusm_err_text(RUSM_ENOCONTEXT));
    }
    if (rusm_pid_is_none(pid)) {
        return rusm_set_err_detail(RUSM_EINVAL, "the zero pid names no process");
    }
    return RUSM_OK;
}

static rusm_err no_memory(void)
{
    return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
}

/* ---- telling of an end ----------------------------------------------------------------------- */

static void set_cause(struct rusm_msg *msg, struct rusmi_cause *cause)
{
    ((struct rusmi_tie *)(void *)msg->data)->cause = cause;
}

/* Signals do not count for crowds, so none of that is done under a stripe. */
enum rusmi_signalled rusmi_push_signal(struct rusmi_process *proc, uint64_t serial,
                                       struct rusm_msg *msg)
{
    enum rusmi_push result = (msg->flags & RUSMI_MSG_FAR) != 0 ? rusmi_push_far(proc, serial, msg)
                                                               : rusmi_push_to(proc, serial, msg);

    if (result == RUSMI_PUSH_GONE) {
        rusm_msg_del(msg); /* it ends too */
    }
    return result == RUSMI_PUSHED_WAKE ? RUSMI_SIGNALLED_RUN : RUSMI_SIGNALLED_NOTHING;
}

void rusmi_finish_signal(struct rusmi_process *proc, enum rusmi_signalled signalled)
{
    if (signalled == RUSMI_SIGNALLED_RUN) {
        rusmi_process_run_again(proc);
    } else if (signalled == RUSMI_SIGNALLED_WAKE) {
        rusmi_process_wake(proc);
    }
}

enum rusmi_signalled rusmi_signal_exit(struct rusmi_process *proc, uint64_t serial,
                                       struct rusm_msg *msg)
{
    const struct rusmi_tie *tie = (const void *)msg->data; /* only its cause is used */

    if (atomic_load(&proc->serial) != serial || !proc->watchable) {
        rusm_msg_del(msg);
        return RUSMI_SIGNALLED_NOTHING;
    }
    if (proc->trap_exit) {
        return rusmi_push_signal(proc, serial, msg);
    }
    if (tie->cause->reason.kind == RUSM_REASON_NORMAL) {
        rusm_msg_del(msg);
        return RUSMI_SIGNALLED_NOTHING;
    }
    rusmi_process_doom(proc, rusmi_cause_hold(tie->cause));
    rusm_msg_del(msg);
    return RUSMI_SIGNALLED_WAKE;
}

/* proc, one end of the tie, ends. Under both stripes. What is to be done with the other end. */
static enum rusmi_signalled tell(struct rusmi_process *proc, struct rusmi_tie *tie,
                                 struct rusmi_cause *cause)
{
    bool by_owner = tie->owner_proc == proc;
    struct rusmi_process *other = other_proc(tie, proc);
    rusm_pid other_pid = by_owner ? tie->target : tie->owner;
    struct rusm_msg *msg = rusmi_tie_msg(tie);

    take_out(tie);
    if (!tie->is_link && by_owner) {
        rusm_msg_del(msg);
        return RUSMI_SIGNALLED_NOTHING;
    }
    msg->sender = by_owner ? tie->owner : tie->target;
    if (tie->late && !by_owner) {
        const rusm_reason noproc = {.kind = RUSM_REASON_NOPROC};

        set_cause(msg, rusmi_cause_new(&noproc));
    } else {
        set_cause(msg, rusmi_cause_hold(cause));
    }
    if (!tie->is_link || (tie->is_child && !by_owner)) {
        return rusmi_push_signal(other, other_pid.serial, msg);
    }
    msg->kind = RUSM_MSG_EXIT;
    msg->ref = 0;
    return rusmi_signal_exit(other, other_pid.serial, msg);
}

/* One of the ties of proc, under its stripe; NULL if there is none left. Links come before the
 * monitors on it: who has both gets the exit first and the down last, and supervisors rely on it.
 */
static struct rusmi_tie *any_tie(struct rusmi_process *proc, uint32_t *scan)
{
    struct rusmi_tie *tie = table_any(&proc->ties, scan);

    if (tie == NULL && !rusmi_list_empty(&proc->monitors)) {
        tie = rusmi_container(proc->monitors.next, struct rusmi_tie, on_target);
    }
    return tie;
}

/*
 * Take both stripes, ours being held. If the other one has to come first and is busy, ours is given
 * back in between; then the caller looks again. True: what was seen still holds.
 */
static bool lock_other_too(struct rusmi_process *proc, struct rusmi_process *other)
{
    if (stripe_of(other) == stripe_of(proc) || rusmi_lock_try(stripe_of(other))) {
        return true;
    }
    rusmi_lock_give(stripe_of(proc));
    lock_both(proc, other);
    return false;
}

static bool ends_foreign(struct rusmi_process *proc)
{
    bool foreign;

    rusmi_lock_take(stripe_of(proc));
    foreign = proc->ties.foreign;
    rusmi_lock_give(stripe_of(proc));
    return foreign;
}

void rusmi_ties_end(struct rusmi_process *proc, const rusm_reason *reason)
{
    bool foreign = ends_foreign(proc);
    struct rusmi_cause *cause = NULL;
    struct rusmi_tie *tie;
    uint32_t scan = 0;

    if (foreign) {
        rusmi_runtimes_hold();
    }
    rusmi_lock_take(stripe_of(proc));
    while ((tie = any_tie(proc, &scan)) != NULL) {
        struct rusmi_process *other = other_proc(tie, proc);
        enum rusmi_signalled signalled = RUSMI_SIGNALLED_NOTHING;

        if (tie->far != NULL) {
            rusmi_far_tie_end(proc, tie, reason); /* gives the stripe back */
            rusmi_lock_take(stripe_of(proc));
            continue;
        }
        if (cause == NULL) {
            cause = rusmi_cause_new(reason);
        }
        /* While the locks were given back it may have gone, and its memory be another tie. */
        if (lock_other_too(proc, other) ||
            (any_tie(proc, &scan) == tie && other_proc(tie, proc) == other)) {
            signalled = tell(proc, tie, cause);
        }
        unlock_both(proc, other);
        rusmi_finish_signal(other, signalled);
        rusmi_lock_take(stripe_of(proc));
    }
    rusmi_free(proc->ties.chains);
    proc->ties = (struct rusmi_ties){.few = NULL};
    rusmi_lock_give(stripe_of(proc));
    rusmi_cause_drop(cause);
    if (foreign) {
        rusmi_runtimes_release();
    }
}

void rusmi_tie_newborn(struct rusmi_process *self, struct rusmi_process *proc,
                       struct rusmi_tie *tie)
{
    tie->target = rusmi_tie_msg(tie)->sender = rusmi_process_pid(proc);
    if (tie->is_link) {
        tie->at_owner.key = rusmi_tie_key(tie->target);
    }
    lock_both(self, proc);
    put(tie, self, proc);
    unlock_both(self, proc);
}

void rusmi_ties_count(const struct rusmi_process *proc, uint64_t *out_links, uint64_t *out_monitors,
                      uint64_t *out_monitored_by)
{
    *out_links = proc->ties.links;
    *out_monitors = proc->ties.monitors;
    *out_monitored_by = proc->monitors_len;
}

static size_t copy_chain(const struct rusmi_process *proc, const struct rusmi_tie_hook *hook,
                         rusm_process_tie *ties, size_t most)
{
    size_t count = 0;

    for (; hook != NULL && count < most; hook = hook->next) {
        const struct rusmi_tie *tie = hook->tie;

        if (tie->inactive || tie->unborn != 0) {
            continue;
        }
        ties[count++] =
            tie->is_link
                ? (rusm_process_tie){.kind = RUSM_PROCESS_TIE_LINK, .other = link_other(tie, proc)}
                : (rusm_process_tie){.kind = RUSM_PROCESS_TIE_MONITORS,
                                     .other = tie->target,
                                     .ref = {tie->owner.incarnation, hook->key}};
    }
    return count;
}

size_t rusmi_ties_copy(const struct rusmi_process *proc, rusm_process_tie *ties, size_t most)
{
    size_t count = copy_chain(proc, proc->ties.few, ties, most);

    for (uint32_t i = 0; i < proc->ties.chains_len && count < most; i++) {
        count += copy_chain(proc, proc->ties.chains[i], ties + count, most - count);
    }
    for (const struct rusmi_list *node = proc->monitors.next;
         node != &proc->monitors && count < most; node = node->next) {
        const struct rusmi_tie *tie = rusmi_container(node, struct rusmi_tie, on_target);

        ties[count++] = (rusm_process_tie){.kind = RUSM_PROCESS_TIE_MONITORED,
                                           .other = tie->owner,
                                           .ref = {tie->owner.incarnation, tie->at_owner.key}};
    }
    return count;
}

/* ---- links ----------------------------------------------------------------------------------- */

/* The target is no more: the link is made and broken at once. */
static void break_at_once(struct rusmi_process *self, struct rusmi_tie *tie)
{
    const rusm_reason noproc = {.kind = RUSM_REASON_NOPROC};

    tie->cause = rusmi_cause_new(&noproc);
    rusmi_lock_take(stripe_of(self));
    /* It runs, so it is never its wait that is ended. */
    (void)rusmi_signal_exit(self, self->own_serial, rusmi_tie_msg(tie));
    rusmi_lock_give(stripe_of(self));
    rusmi_checkpoint();
}

rusm_err rusm_link(rusm_pid pid)
{
    struct rusmi_process *self = rusmi_process_self(), *target;
    struct rusmi_tie *tie;
    bool held, there = false, linked = false;
    rusm_err err = check_target(self, pid);

    if (err != RUSM_OK) {
        return err;
    }
    rusmi_checkpoint();
    if (rusm_pid_equal(pid, rusmi_process_pid(self))) {
        return RUSM_OK;
    }
    if (rusmi_is_far(self, pid)) {
        return rusmi_far_link(self, pid);
    }
    tie = rusmi_tie_new(rusmi_process_pid(self), pid, 0);
    if (tie == NULL) {
        return no_memory();
    }
    target = find(self, pid, &held);
    if (target != NULL) {
        lock_both(self, target);
        there = is_there(target, pid);
        linked = there && rusmi_tie_find_link(self, pid) != NULL;
        if (there && !linked) {
            tie->late = rusmi_process_killed_as(target, pid.serial);
            put(tie, self, target);
        }
        unlock_both(self, target);
    }
    release(held);
    if (linked) {
        rusmi_tie_del(tie);
    } else if (!there) {
        break_at_once(self, tie);
    }
    rusmi_process_work(self, 1);
    return RUSM_OK;
}

rusm_err rusm_unlink(rusm_pid pid)
{
    struct rusmi_process *self = rusmi_process_self(), *target;
    struct rusmi_tie *tie = NULL;
    bool held;

    if (self == NULL) {
        return rusm_set_err_detail(RUSM_ENOCONTEXT, "%s", rusm_err_text(RUSM_ENOCONTEXT));
    }
    rusmi_checkpoint();
    if (rusmi_is_far(self, pid)) {
        rusmi_far_unlink(self, pid);
        return RUSM_OK;
    }
    target = find(self, pid, &held);
    if (target != NULL && target != self) {
        lock_both(self, target);
        tie = rusmi_tie_find_link(self, pid);
        if (tie != NULL) {
            take_out(tie);
        }
        if (tie != NULL && tie->is_child) {
            tie->is_link = false; /* what is left is a monitor */
            tie->at_owner.key = rusmi_tie_msg(tie)->ref;
            put(tie, tie->owner_proc, tie->target_proc);
            tie = NULL;
        }
        unlock_both(self, target);
    }
    release(held);
    rusmi_tie_del(tie);
    return RUSM_OK;
}

bool rusm_trap_exit(bool trap)
{
    struct rusmi_process *self = rusmi_process_self();
    bool before;

    if (self == NULL) {
        return false;
    }
    rusmi_checkpoint(); /* an exit that came before is not trapped */
    rusmi_lock_take(stripe_of(self));
    before = self->trap_exit;
    self->trap_exit = trap;
    rusmi_lock_give(stripe_of(self));
    return before;
}

/* ---- exit signals ---------------------------------------------------------------------------- */

static bool can_be_sent(const rusm_reason *reason)
{
    return reason != NULL && (unsigned)reason->kind <= (unsigned)RUSM_REASON_STACK_OVERFLOW &&
           memchr(reason->text, '\0', sizeof(reason->text)) != NULL;
}

/* True: it was there. */
static bool exit_local(struct rusmi_process *self, struct rusmi_process *target, rusm_pid pid,
                       struct rusm_msg *msg)
{
    enum rusmi_signalled signalled = RUSMI_SIGNALLED_NOTHING;
    bool own = target == self;
    bool there;

    rusmi_lock_take(stripe_of(target));
    there = is_there(target, pid);
    if (there && own && !target->trap_exit) {
        /* normal too: nobody else may ignore what one asks of oneself */
        rusmi_process_doom(target,
                           rusmi_cause_hold(((struct rusmi_tie *)(void *)msg->data)->cause));
        rusm_msg_del(msg);
    } else if (there) {
        signalled = rusmi_signal_exit(target, pid.serial, msg);
    } else {
        rusm_msg_del(msg);
    }
    rusmi_lock_give(stripe_of(target));
    rusmi_finish_signal(target, signalled);
    return there;
}

rusm_err rusm_exit_process(rusm_pid pid, const rusm_reason *reason)
{
    struct rusmi_process *self = rusmi_process_self(), *target;
    rusm_runtime *rt;
    struct rusm_msg *msg;
    bool there;

    if (!can_be_sent(reason) || rusm_pid_is_none(pid)) {
        return rusm_set_err_detail(RUSM_EINVAL, "an exit signal needs a process and a reason");
    }
    if (reason->kind == RUSM_REASON_KILLED) {
        return rusm_kill(pid);
    }
    rusmi_checkpoint();
    if (rusmi_is_far(self, pid)) {
        return rusmi_far_ask(self, RUSM_SIGNAL_ASK_EXIT, pid, reason);
    }
    msg = rusmi_msg_with_cause(RUSM_MSG_EXIT, NULL, 0);
    if (msg == NULL) {
        return no_memory();
    }
    set_cause(msg, rusmi_cause_new(reason));
    msg->sender = self == NULL ? RUSM_PID_NONE : rusmi_process_pid(self);
    rusmi_runtimes_hold();
    target = rusmi_runtime_find_process(pid, &rt);
    there = target != NULL && exit_local(self, target, pid, msg);
    if (target == NULL) {
        rusm_msg_del(msg);
    }
    rusmi_runtimes_release();
    if (!there) {
        return rusm_set_err_detail(RUSM_ENOPROC, "%s", rusm_err_text(RUSM_ENOPROC));
    }
    rusmi_checkpoint();
    if (self != NULL) {
        rusmi_process_work(self, 1);
    }
    return RUSM_OK;
}

/* ---- monitors -------------------------------------------------------------------------------- */

rusm_err rusmi_monitor_with(rusm_pid pid, uint64_t ref_number)
{
    struct rusmi_process *self = rusmi_process_self(), *target;
    struct rusmi_tie *tie;
    bool held, there = false;
    rusm_err err = check_target(self, pid);

    if (err != RUSM_OK) {
        return err;
    }
    rusmi_checkpoint();
    if (rusmi_is_far(self, pid)) {
        return rusmi_far_monitor(self, pid, ref_number);
    }
    tie = rusmi_tie_new(rusmi_process_pid(self), pid, ref_number);
    if (tie == NULL) {
        return no_memory();
    }
    target = find(self, pid, &held);
    if (target != NULL) {
        lock_both(self, target);
        there = is_there(target, pid);
        if (there) {
            tie->late = rusmi_process_killed_as(target, pid.serial);
            put(tie, self, target);
        }
        unlock_both(self, target);
    }
    release(held);
    if (!there) {
        const rusm_reason noproc = {.kind = RUSM_REASON_NOPROC};

        tie->cause = rusmi_cause_new(&noproc);
        (void)rusmi_push_signal(self, self->own_serial, rusmi_tie_msg(tie));
    }
    return RUSM_OK;
}

rusm_err rusm_monitor(rusm_pid pid, rusm_ref *out_ref)
{
    struct rusmi_process *self = rusmi_process_self();
    uint64_t number = rusmi_ref_new();
    rusm_err err = rusmi_monitor_with(pid, number);

    if (err == RUSM_OK) {
        if (out_ref != NULL) {
            *out_ref = (rusm_ref){self->runtime->incarnation, number};
        }
        rusmi_process_work(self, 1);
    }
    return err;
}

/* Where self's monitor leads to; false if there is none (any more). */
static bool monitor_target(struct rusmi_process *self, uint64_t number, rusm_pid *out_target)
{
    struct rusmi_tie *tie;

    rusmi_lock_take(stripe_of(self));
    tie = rusmi_tie_find_monitor(self, number);
    if (tie != NULL) {
        *out_target = tie->target;
    }
    rusmi_lock_give(stripe_of(self));
    return tie != NULL;
}

bool rusm_demonitor(rusm_ref ref, bool flush)
{
    struct rusmi_process *self = rusmi_process_self(), *target;
    struct rusmi_tie *tie = NULL;
    rusm_pid pid;
    bool held;

    if (self == NULL || ref.number == 0 || ref.incarnation != self->runtime->incarnation) {
        return false;
    }
    if (monitor_target(self, ref.number, &pid)) {
        if (rusmi_is_far(self, pid) && rusmi_far_demonitor(self, ref.number)) {
            return true;
        }
        target = find(self, pid, &held);
        if (target != NULL) {
            lock_both(self, target);
            tie = rusmi_tie_find_monitor(self, ref.number);
            if (tie != NULL) {
                take_out(tie);
            }
            unlock_both(self, target);
        }
        release(held);
    }
    if (tie != NULL) {
        rusmi_tie_del(tie);
        return true;
    }
    if (flush) {
        rusmi_flush_down(self, ref.number);
    }
    return false;
}
