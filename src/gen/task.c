/* SPDX-License-Identifier: MIT */
/*
 * Tasks: see rusm/otp/task.h, and gen/child.h for what parent and task share.
 *
 * A process keeps its tasks in a table by reference, on its `extra` record. An exit hook of the
 * process kills those that are left, which is the link in one direction; nothing leads in the other
 * but the record. The result lies in the record, so it waits beside the mailbox and no receive
 * meets it. A task counts as finished when its process has ended: what it was lent is free then.
 *
 * Design note: docs/design/calls.md.
 */
#include <rusm/otp/task.h>

#include "base/map.h"
#include "base/mem.h"
#include "gen/call.h"
#include "gen/child.h"

#include <rusm/otp/driver.h>
#include <rusm/otp/memory.h>

struct task {
    struct rusmi_child child; /* first */

    /* the parent */
    struct rusmi_map_entry entry;
    uint64_t number; /* its reference; the key */

    /* constant */
    rusm_task_fn fn;
    void *arg;

    /* the task until child.told, then the parent */
    rusm_err err;
    rusm_msg *result; /* held by nobody */
    char *detail;     /* of err; NULL: none, or no memory */
};

/* The tasks of a process. */
struct rusmi_tasks {
    struct rusmi_map by_number;
};

/* ---- the table ------------------------------------------------------------------------------- */

/* The process ends, and its tasks with it. */
static void end_all(void *arg)
{
    struct rusmi_tasks *tasks = arg;

    rusmi_map_each(&tasks->by_number, entry, position, following)
    {
        struct task *task = rusmi_container(entry, struct task, entry);

        rusmi_map_remove(&tasks->by_number, entry);
        rusmi_child_orphan(&task->child);
    }
    rusmi_map_fini(&tasks->by_number);
    rusmi_free(tasks);
}

/* The table of the calling process, made if it has none. */
static rusm_err table(struct rusmi_process *self, struct rusmi_tasks **out_tasks)
{
    struct rusmi_process_extra *extra = rusmi_process_extra(self);
    struct rusmi_tasks *tasks;
    rusm_err err;

    if (extra != NULL && extra->tasks != NULL) {
        *out_tasks = extra->tasks;
        return RUSM_OK;
    }
    tasks = extra == NULL ? NULL : rusmi_zalloc(sizeof(*tasks));
    if (tasks == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    rusmi_map_init(&tasks->by_number, 0, 0); /* we make the keys: no peer can choose them */
    err = rusm_at_exit(end_all, tasks, NULL);
    if (err != RUSM_OK) {
        rusmi_free(tasks);
        return err;
    }
    *out_tasks = extra->tasks = tasks;
    return RUSM_OK;
}

/* The record of a task that is the caller's and was not awaited; NULL otherwise. */
static struct task *find(struct rusmi_process *self, const rusm_task *task)
{
    struct rusmi_map_entry *entry = NULL;

    if (task != NULL && self->extra != NULL && self->extra->tasks != NULL &&
        task->ref.incarnation == task->pid.incarnation &&
        task->ref.incarnation == rusmi_process_pid(self).incarnation) {
        entry = rusmi_map_find(&self->extra->tasks->by_number, &task->ref.number,
                               sizeof(task->ref.number));
    }
    return entry == NULL ? NULL : rusmi_container(entry, struct task, entry);
}

static void forget(struct rusmi_process *self, struct task *task)
{
    rusmi_map_remove(&self->extra->tasks->by_number, &task->entry);
}

static void task_del(struct rusmi_child *child)
{
    struct task *task = rusmi_container(child, struct task, child);

    rusm_msg_del(task->result);
    rusmi_free(task->detail);
    rusmi_free(task);
}

/* ---- in the task ----------------------------------------------------------------------------- */

static void task_main(void *arg)
{
    struct task *task = arg;
    rusm_msg *result = NULL;

    task->err = task->fn(task->arg, &result);
    if (task->err != RUSM_OK) {
        task->detail = rusmi_strdup(rusm_err_detail());
    } else if (result != NULL) {
        rusmi_msg_let(result);
        result->sender = task->child.pid;
        task->result = result;
    }
    atomic_store(&task->child.told, 1); /* the end, which follows, wakes who waits */
}

/* ---- in its parent --------------------------------------------------------------------------- */

static rusm_err no_context(void)
{
    return rusm_set_err_detail(RUSM_ENOCONTEXT, "%s", rusm_err_text(RUSM_ENOCONTEXT));
}

rusm_err rusm_task_start(rusm_task *out_task, rusm_task_fn fn, void *arg,
                         const rusm_spawn_config *cfg)
{
    struct rusmi_process *self = rusmi_process_self();
    struct rusmi_tasks *tasks = NULL; /* set with RUSM_OK: gcc does not see it */
    rusm_spawn_config spawn;
    struct task *task;
    rusm_err err;

    if (self == NULL) {
        return no_context();
    }
    if (out_task == NULL || fn == NULL || (cfg != NULL && cfg->size != sizeof(*cfg))) {
        return rusm_set_err_detail(RUSM_EINVAL,
                                   "a task needs a function, and a config that is initialised");
    }
    rusmi_checkpoint(); /* before anything is allocated */
    err = table(self, &tasks);
    if (err != RUSM_OK) {
        return err;
    }
    task = rusmi_zalloc(sizeof(*task));
    if (task == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    rusmi_child_init(&task->child, task_del);
    task->fn = fn;
    task->arg = arg;
    task->number = rusmi_ref_new();
    if (!rusmi_map_insert(&tasks->by_number, &task->entry, &task->number, sizeof(task->number))) {
        rusmi_child_drop(&task->child);
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    if (cfg != NULL) {
        spawn = *cfg;
    } else {
        rusm_spawn_config_init(&spawn);
    }
    spawn.link = false;
    err = rusmi_child_spawn(&task->child, task_main, task, &spawn);
    if (err != RUSM_OK) {
        rusmi_map_remove(&tasks->by_number, &task->entry);
        rusmi_child_drop(&task->child);
        return err;
    }
    *out_task = (rusm_task){task->child.pid, {task->child.pid.incarnation, task->number}};
    return RUSM_OK;
}

/* Take what a task that has ended left. */
static rusm_err take_result(struct rusmi_process *self, struct task *task, rusm_msg **out_result)
{
    if (atomic_load(&task->child.told) == 0) {
        return rusmi_ended("the task", &task->child.reason);
    }
    if (task->err != RUSM_OK) {
        return rusm_set_err_detail(task->err, "%s",
                                   task->detail != NULL && task->detail[0] != '\0'
                                       ? task->detail
                                       : rusm_err_text(task->err));
    }
    if (out_result != NULL) {
        *out_result = task->result;
        if (task->result != NULL) {
            rusmi_msg_hold(&self->held, task->result);
        }
        task->result = NULL;
    }
    return RUSM_OK;
}

rusm_err rusm_task_await(rusm_task *task, int64_t timeout_ms, rusm_msg **out_result)
{
    struct rusmi_process *self = rusmi_process_self();
    struct task *found;
    rusm_err err;

    if (self == NULL) {
        return no_context();
    }
    found = find(self, task);
    if (found == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL,
                                   "it is no task of this process, or was awaited already");
    }
    err = rusmi_child_wait(&found->child, &found->child.ended, timeout_ms);
    if (err != RUSM_OK) {
        return err;
    }
    forget(self, found);
    *task = (rusm_task){RUSM_PID_NONE, {0, 0}};
    err = take_result(self, found, out_result);
    rusmi_child_drop(&found->child);
    return err;
}

void rusm_task_cancel(rusm_task *task)
{
    struct rusmi_process *self = rusmi_process_self();
    struct task *found = self == NULL ? NULL : find(self, task);

    if (found != NULL) {
        forget(self, found);
        *task = (rusm_task){RUSM_PID_NONE, {0, 0}};
        rusmi_child_orphan(&found->child);
    }
}
