/* SPDX-License-Identifier: MIT */
/*
 * Exit watches, under the stripe of the watched process's slot. An ending process takes its whole
 * list at once and then calls the functions without a lock; a watch that was taken has prev NULL,
 * which tells rusm_unwatch_exit that it is too late.
 */
#include "otp/sched.h"

/* rusm_exit_watch has its own links, as it is public; the head is a struct rusmi_list used for its
 * two pointers. */

rusm_err rusm_watch_exit(rusm_exit_watch *watch, rusm_pid pid)
{
    struct rusmi_process *proc;
    rusm_runtime *rt;
    rusm_err err = RUSM_ENOPROC;

    if (watch == NULL || watch->fn == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "a watch needs a function");
    }
    rusmi_runtimes_hold();
    proc = rusmi_runtime_find_process(pid, &rt);
    if (proc != NULL) {
        rusmi_lock_take(rusmi_slot_stripe(rt->pool, proc));
        if (atomic_load(&proc->serial) == pid.serial &&
            atomic_load(&proc->owner_incarnation) == pid.incarnation && proc->watchable) {
            watch->pid = pid;
            watch->prev = watch; /* in the list: see above */
            watch->next = proc->watches;
            proc->watches = watch;
            err = RUSM_OK;
        }
        rusmi_lock_give(rusmi_slot_stripe(rt->pool, proc));
    }
    rusmi_runtimes_release();
    if (err != RUSM_OK) {
        return rusm_set_err_detail(err, "%s", rusm_err_text(err));
    }
    return RUSM_OK;
}

bool rusm_unwatch_exit(rusm_exit_watch *watch)
{
    struct rusmi_process *proc;
    rusm_runtime *rt;
    bool taken_back = false;

    rusmi_runtimes_hold();
    proc = rusmi_runtime_find_process(watch->pid, &rt);
    if (proc == NULL) {
        rusmi_runtimes_release();
        return false;
    }
    rusmi_lock_take(rusmi_slot_stripe(rt->pool, proc));
    if (watch->prev != NULL) {
        rusm_exit_watch **at = &proc->watches;

        while (*at != watch) {
            at = &(*at)->next;
        }
        *at = watch->next;
        watch->prev = watch->next = NULL;
        taken_back = true;
    }
    rusmi_lock_give(rusmi_slot_stripe(rt->pool, proc));
    rusmi_runtimes_release();
    return taken_back;
}

rusm_exit_watch *rusmi_watches_take(struct rusmi_process *proc)
{
    rusm_exit_watch *first = proc->watches;

    proc->watches = NULL;
    for (rusm_exit_watch *watch = first; watch != NULL; watch = watch->next) {
        watch->prev = NULL;
    }
    return first;
}

void rusmi_watches_fire(rusm_exit_watch *first, rusm_pid pid, const rusm_reason *reason)
{
    while (first != NULL) {
        rusm_exit_watch *watch = first;

        first = watch->next; /* the watch may be freed by its function */
        watch->fn(watch->arg, pid, reason);
    }
}
