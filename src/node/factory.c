/* SPDX-License-Identifier: MIT */
/*
 * Factories and remote spawn. A factory runs in a short-lived process of its own, so that it may
 * block, and so that a crash in it is an answer and not the end of a link's owner.
 *
 * A job is the spawn under way. It has two references: the factory's process lets go of its own
 * when it has ended (told by an exit watch, which every kind of end triggers), the asker of its own
 * when it has its answer or gives up.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "node/execute.h"

#include <rusm/otp/process.h>

#include <stdio.h>
#include <string.h>

struct factory {
    struct rusmi_map_entry entry; /* in node->factories, under node->lock */
    rusm_factory_fn fn;
    void *arg;
    char name[];
};

struct job {
    _Atomic uint32_t refs;
    rusm_node *node;
    rusm_exit_watch watch;
    rusm_waiter *watched; /* woken once `watch` is set */
    rusm_factory_fn fn;
    void *arg;
    uint64_t conn, request_id; /* of a peer; conn 0: a caller here waits */
    rusm_pid asker;            /* the process that the ties are for */
    uint64_t link, monitor;    /* numbers of what it prepared */
    rusm_waiter *waiter;       /* of a caller here */
    bool returned; /* the factory came back; written by its process, read after its end */
    struct rusmi_reply reply;
    size_t args_len;
    uint8_t args[];
};

static void job_drop(struct job *job)
{
    /* acq_rel: what either side did with the job happens before the free by the last */
    if (atomic_fetch_sub_explicit(&job->refs, 1, memory_order_acq_rel) == 1) {
        rusm_waiter_drop(job->watched);
        rusm_waiter_drop(job->waiter);
        rusmi_free(job);
    }
}

rusm_err rusm_factory_register(rusm_node *node, const char *name, rusm_factory_fn fn, void *arg)
{
    size_t len = name == NULL ? 0 : strlen(name);
    struct factory *factory;
    rusm_err err = RUSM_OK;

    node = rusmi_node_resolve(node);
    if (node == NULL) {
        return RUSM_ENOCONTEXT;
    }
    if (fn == NULL || !rusmi_name_valid(name == NULL ? "" : name, len)) {
        return rusm_set_err_detail(
            RUSM_EINVAL, "a factory needs a function and a name of 1 to %d bytes of UTF-8",
            RUSM_NAME_MAX);
    }
    factory = rusmi_alloc(sizeof(*factory) + len + 1);
    if (factory == NULL) {
        return RUSM_ENOMEM;
    }
    factory->fn = fn;
    factory->arg = arg;
    memcpy(factory->name, name, len + 1);
    rusmi_lock_take(&node->lock);
    if (rusmi_map_find(&node->factories, name, len) != NULL) {
        err = rusm_set_err_detail(RUSM_EEXIST, "the factory %s is registered already", name);
    } else if (!rusmi_map_insert(&node->factories, &factory->entry, factory->name, len)) {
        err = RUSM_ENOMEM;
    }
    rusmi_lock_give(&node->lock);
    if (err != RUSM_OK) {
        rusmi_free(factory);
    }
    return err;
}

rusm_err rusm_factory_unregister(rusm_node *node, const char *name)
{
    struct rusmi_map_entry *entry;

    node = rusmi_node_resolve(node);
    if (node == NULL) {
        return RUSM_ENOCONTEXT;
    }
    rusmi_lock_take(&node->lock);
    entry = name == NULL ? NULL : rusmi_map_find(&node->factories, name, strlen(name));
    if (entry != NULL) {
        rusmi_map_remove(&node->factories, entry);
    }
    rusmi_lock_give(&node->lock);
    if (entry == NULL) {
        return rusm_set_err_detail(RUSM_ENONAME, "there is no factory %s",
                                   name == NULL ? "" : name);
    }
    rusmi_free(rusmi_container(entry, struct factory, entry));
    return RUSM_OK;
}

void rusmi_factories_fini(rusm_node *node)
{
    rusmi_map_each(&node->factories, entry, position, following)
    {
        rusmi_map_remove(&node->factories, entry);
        rusmi_free(rusmi_container(entry, struct factory, entry));
    }
    rusmi_map_fini(&node->factories);
}

/* The body of a factory's process. */
static void run_factory(void *arg)
{
    struct job *job = arg;
    rusm_pid pid = RUSM_PID_NONE;
    rusm_err err;

    /* One that crashed before it is watched would not be heard saying why. */
    if (rusm_waiter_wait(job->watched, RUSM_INFINITY) != RUSM_OK) {
        rusm_checkpoint(); /* killed: it ends here */
        return;
    }
    if (job->link != 0 || job->monitor != 0) {
        rusm_watch_spawns();
    }
    err = job->fn(job->arg, job->args, job->args_len, &pid);
    if (err != RUSM_OK) {
        const char *text = rusm_err_detail();

        /* A factory without words still told which error it was. */
        rusmi_reply_fail(&job->reply, RUSM_EFACTORY, text[0] != '\0' ? text : rusm_err_text(err));
    } else if (pid.incarnation != job->node->incarnation || pid.serial == 0) {
        rusmi_reply_fail(&job->reply, RUSM_EFACTORY, "the factory returned no process of its node");
    } else {
        job->reply.pid = pid;
        err = rusm_tie_newborn(pid, job->asker, job->link, job->monitor);
        if (err != RUSM_OK) {
            rusm_checkpoint();
            (void)!rusm_kill(pid); /* nobody would watch it */
            rusmi_reply_fail(&job->reply, RUSM_EFACTORY, "no room for a link or monitor");
        }
    }
    job->returned = true;
}

/* The factory's process has ended, however: answer. */
static void factory_ended(void *arg, rusm_pid pid, const rusm_reason *reason)
{
    struct job *job = arg;
    char text[RUSM_REASON_TEXT_MAX + 64];

    (void)pid;
    if (!job->returned) {
        (void)snprintf(text, sizeof(text), "the factory ended before it returned: %s%s%s",
                       rusm_reason_name(reason->kind), reason->text[0] != '\0' ? ": " : "",
                       reason->text);
        rusmi_reply_fail(&job->reply, RUSM_EFACTORY, text);
    }
    if (job->conn != 0) {
        rusmi_answer_send(job->node, job->conn, job->request_id, &job->reply);
    } else {
        rusm_waiter_wake(job->waiter);
    }
    job_drop(job);
}

/* Start the factory that request names. On RUSM_OK the job's first reference is the process's. */
static rusm_err job_start(rusm_node *node, const struct rusmi_request *request,
                          struct job **out_job, uint64_t conn, uint64_t request_id, rusm_pid asker,
                          rusm_waiter *waiter)
{
    struct rusm_spawn_config cfg;
    struct rusmi_map_entry *entry;
    struct job *job = rusmi_zalloc(sizeof(*job) + request->args_len);
    rusm_pid pid;
    rusm_err err;

    if (job == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    atomic_init(&job->refs, 2);
    job->node = node;
    job->conn = conn;
    job->request_id = request_id;
    job->asker = asker;
    job->link = rusm_pid_is_none(asker) ? 0 : request->link;
    job->monitor = rusm_pid_is_none(asker) ? 0 : request->monitor;
    job->reply.kind = RUSMI_REQUEST_SPAWN;
    job->args_len = request->args_len;
    if (request->args_len != 0) {
        memcpy(job->args, request->args, request->args_len);
    }
    rusmi_lock_take(&node->lock);
    entry = rusmi_map_find(&node->factories, request->name, strlen(request->name));
    if (entry != NULL) {
        job->fn = rusmi_container(entry, struct factory, entry)->fn;
        job->arg = rusmi_container(entry, struct factory, entry)->arg;
    }
    rusmi_lock_give(&node->lock);
    if (entry == NULL) {
        rusmi_free(job);
        return rusm_set_err_detail(RUSM_ENOFACTORY, "node %s has no factory %s", node->name,
                                   request->name);
    }
    rusm_spawn_config_init(&cfg);
    cfg.label = "factory";
    err = rusm_waiter_new(&job->watched);
    if (err == RUSM_OK) {
        err = rusm_spawn_with(node->runtime, run_factory, job, &cfg, &pid);
    }
    if (err != RUSM_OK) {
        rusm_waiter_drop(job->watched);
        rusmi_free(job);
        return err;
    }
    job->waiter = waiter == NULL ? NULL : rusm_waiter_hold(waiter);
    job->watch.fn = factory_ended;
    job->watch.arg = job;
    *out_job = job;
    if (rusm_watch_exit(&job->watch, pid) != RUSM_OK) {
        struct rusm_reason gone = {.kind = RUSM_REASON_KILLED};

        factory_ended(job, pid, &gone); /* while it waited to be watched: nothing else ends it */
    }
    rusm_waiter_wake(job->watched);
    return RUSM_OK;
}

void rusmi_factory_execute(rusm_node *node, struct rusmi_action *action)
{
    rusm_pid asker = {action->incarnation, action->request->sender};
    struct job *job;
    rusm_err err = job_start(node, action->request, &job, action->conn, action->request_id,
                             asker.serial == 0 ? RUSM_PID_NONE : asker, NULL);

    if (err == RUSM_OK) {
        job_drop(job);
    } else {
        struct rusmi_reply reply = {.kind = RUSMI_REQUEST_SPAWN};

        rusmi_reply_fail(&reply, err, rusm_err_detail());
        rusmi_answer_send(node, action->conn, action->request_id, &reply);
    }
    rusmi_action_del(action);
}

rusm_err rusmi_factory_call(rusm_node *node, const struct rusmi_request *request,
                            int64_t timeout_ms, struct rusmi_reply *reply)
{
    rusm_waiter *waiter;
    struct job *job;
    rusm_err err = rusm_waiter_new(&waiter);

    if (err != RUSM_OK) {
        return err;
    }
    err = job_start(node, request, &job, 0, 0, RUSM_PID_NONE, waiter);
    if (err == RUSM_OK) {
        err = rusm_waiter_wait(waiter, timeout_ms);
        if (err == RUSM_OK) {
            *reply = job->reply;
        } else if (err == RUSM_ETIMEOUT) {
            (void)rusm_set_err_detail(err, "\"%s\" did not answer in time", node->name);
        }
        job_drop(job);
    }
    rusm_waiter_drop(waiter);
    return err;
}
