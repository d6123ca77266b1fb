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
    rusm_runtime *rt = rusmi_runtime_find(pid.incarnation);
    struct rusmi_process *proc = rt == NULL ? NULL : rusmi_process_find(rt->pool, pid.serial);
    rusm_err err = RUSM_ENOPROC;

    if (watch == NULL || watch->fn == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "a watch needs a function");
    }
    if (proc != NULL) {
        (void)pthread_mutex_lock(rusmi_slot_stripe(rt->pool, proc));
        if (atomic_load(&proc->serial) == pid.serial &&
            atomic_load(&proc->owner_incarnation) == pid.incarnation && proc->watchable) {
            watch->pid = pid;
            watch->prev = watch; /* in the list: see above */
            watch->next = proc->watches;
            proc->watches = watch;
            err = RUSM_OK;
        }
        (void)pthread_mutex_unlock(rusmi_slot_stripe(rt->pool, proc));
    }
    if (err != RUSM_OK) {
        return rusm_set_err_detail(err, "%s", rusm_err_text(err));
    }
    return RUSM_OK;
}

bool rusm_unwatch_exit(rusm_exit_watch *watch)
{
    rusm_runtime *rt = rusmi_runtime_find(watch->pid.incarnation);
    struct rusmi_process *proc =
        rt == NULL ? NULL : rusmi_process_find(rt->pool, watch->pid.serial);
    bool taken_back = false;

    if (proc == NULL) {
        return false;
    }
    (void)pthread_mutex_lock(rusmi_slot_stripe(rt->pool, proc));
    if (watch->prev != NULL) {
        rusm_exit_watch **at = &proc->watches;

        while (*at != watch) {
            at = &(*at)->next;
        }
        *at = watch->next;
        watch->prev = watch->next = NULL;
        taken_back = true;
    }
    (void)pthread_mutex_unlock(rusmi_slot_stripe(rt->pool, proc));
    return taken_back;
}

void rusmi_watches_fire(struct rusmi_process *proc, rusm_pid pid, const rusm_reason *reason)
{
    rusm_exit_watch *first, *watch;

    (void)pthread_mutex_lock(rusmi_slot_stripe(proc->pool, proc));
    proc->watchable = false;
    first = proc->watches;
    proc->watches = NULL;
    for (watch = first; watch != NULL; watch = watch->next) {
        watch->prev = NULL;
    }
    (void)pthread_mutex_unlock(rusmi_slot_stripe(proc->pool, proc));
    while (first != NULL) {
        watch = first;
        first = watch->next; /* the watch may be freed by its function */
        watch->fn(watch->arg, pid, reason);
    }
}
