/* SPDX-License-Identifier: MIT */
/* Registered names of a runtime: one table under one lock; the names of a process hang on its
 * control block. */
#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "otp/sched.h"

#include <rusm/otp/registry.h>

#include <string.h>

/* In `named` of a control block: somebody has registered the process, or tries; it takes no more
 * names. */
#define NAMED        1u
#define NAMES_CLOSED 2u

struct name {
    struct rusmi_map_entry entry;
    struct rusmi_list node; /* in the process's names */
    rusm_pid pid;
    size_t len;
    char text[];
};

static rusm_err bad_name(void)
{
    return rusm_set_err_detail(
        RUSM_EINVAL, "a name has 1 to %d bytes of UTF-8 without control characters", RUSM_NAME_MAX);
}

bool rusmi_registered_find(rusm_runtime *rt, const char *text, size_t len, rusm_pid *out_pid)
{
    struct rusmi_map_entry *entry;

    rusmi_lock_take(&rt->registry.lock);
    entry = rusmi_map_find(&rt->registry.names, text, len);
    if (entry != NULL) {
        *out_pid = rusmi_container(entry, struct name, entry)->pid;
    }
    rusmi_lock_give(&rt->registry.lock);
    return entry != NULL;
}

/* Under the lock. */
static rusm_err insert(rusm_runtime *rt, struct name *name)
{
    struct rusmi_process *proc = rusmi_process_find(rt->pool, name->pid.serial);

    if (proc == NULL) {
        return RUSM_ENOPROC;
    }
    /* Either an ending process finds this mark and comes for the lock, or we find its own. */
    if ((atomic_fetch_or(&proc->named, NAMED) & NAMES_CLOSED) != 0 ||
        !rusmi_process_is(proc, name->pid)) {
        return RUSM_ENOPROC;
    }
    if (rusmi_map_find(&rt->registry.names, name->text, name->len) != NULL) {
        return RUSM_EEXIST;
    }
    if (!rusmi_map_insert(&rt->registry.names, &name->entry, name->text, name->len)) {
        return RUSM_ENOMEM;
    }
    rusmi_list_push(&proc->names, &name->node);
    return RUSM_OK;
}

rusm_err rusm_register(rusm_runtime *rt, const char *text, rusm_pid pid)
{
    size_t len = text == NULL ? 0 : strlen(text);
    struct name *name;
    rusm_err err;

    rt = rusmi_runtime_resolve(rt);
    if (rt == NULL) {
        return RUSM_ENOCONTEXT;
    }
    if (!rusmi_name_valid(text == NULL ? "" : text, len)) {
        return bad_name();
    }
    if (pid.incarnation != rt->incarnation) {
        return rusm_set_err_detail(RUSM_EINVAL, "the process does not belong to runtime %s",
                                   rt->name);
    }
    name = rusmi_zalloc(sizeof(*name) + len + 1);
    if (name == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    memcpy(name->text, text, len);
    name->len = len;
    name->pid = pid;
    rusmi_list_init(&name->node);
    rusmi_lock_take(&rt->registry.lock);
    err = insert(rt, name);
    rusmi_lock_give(&rt->registry.lock);
    if (err != RUSM_OK) {
        rusmi_free(name);
        return rusm_set_err_detail(err, "the name %s can not be registered: %s", text,
                                   rusm_err_text(err));
    }
    return RUSM_OK;
}

rusm_err rusm_unregister(rusm_runtime *rt, const char *text)
{
    struct rusmi_map_entry *entry;
    struct name *name = NULL;

    rt = rusmi_runtime_resolve(rt);
    if (rt == NULL) {
        return RUSM_ENOCONTEXT;
    }
    if (text == NULL) {
        return bad_name();
    }
    rusmi_lock_take(&rt->registry.lock);
    entry = rusmi_map_find(&rt->registry.names, text, strlen(text));
    if (entry != NULL) {
        name = rusmi_container(entry, struct name, entry);
        rusmi_map_remove(&rt->registry.names, entry);
        rusmi_list_remove(&name->node);
    }
    rusmi_lock_give(&rt->registry.lock);
    if (name == NULL) {
        return rusm_set_err_detail(RUSM_ENONAME, "no process of %s has the name %s", rt->name,
                                   text);
    }
    rusmi_free(name);
    return RUSM_OK;
}

rusm_err rusm_whereis(rusm_runtime *rt, const char *text, rusm_pid *out_pid)
{
    rt = rusmi_runtime_resolve(rt);
    if (rt == NULL) {
        return RUSM_ENOCONTEXT;
    }
    if (text == NULL || out_pid == NULL) {
        return bad_name();
    }
    if (!rusmi_registered_find(rt, text, strlen(text), out_pid)) {
        return rusm_set_err_detail(RUSM_ENONAME, "no process of %s has the name %s", rt->name,
                                   text);
    }
    return RUSM_OK;
}

/*
 * Whoever registers the name first has it, and the spawn of any other fails: so of many callers at
 * once one spawns, and the others find its process at their next look. If that has ended by then,
 * they try again.
 */
rusm_err rusm_whereis_or_spawn(rusm_runtime *rt, const char *text, rusm_process_fn fn, void *arg,
                               const rusm_spawn_config *cfg, rusm_pid *out_pid, bool *out_spawned)
{
    size_t len = text == NULL ? 0 : strlen(text);
    rusm_spawn_config own;
    rusm_pid pid;
    rusm_err err;
    bool spawned;

    rt = rusmi_runtime_resolve(rt);
    if (rt == NULL) {
        return RUSM_ENOCONTEXT;
    }
    if (!rusmi_name_valid(text == NULL ? "" : text, len)) {
        return bad_name();
    }
    rusm_spawn_config_init(&own);
    if (fn == NULL || out_pid == NULL || (cfg != NULL && cfg->size != own.size)) {
        return rusm_set_err_detail(RUSM_EINVAL, "a process needs a function, its pid a place, and "
                                                "its config to be initialised");
    }
    if (cfg != NULL) {
        own = *cfg;
    }
    own.name = text;
    do {
        err = RUSM_OK;
        spawned = false;
        if (!rusmi_registered_find(rt, text, len, &pid)) {
            err = rusm_spawn_with(rt, fn, arg, &own, &pid);
            spawned = err == RUSM_OK;
        }
    } while (err == RUSM_EEXIST);
    if (err != RUSM_OK) {
        return err;
    }
    *out_pid = pid;
    if (out_spawned != NULL) {
        *out_spawned = spawned;
    }
    return RUSM_OK;
}

void rusmi_registered_release(rusm_runtime *rt, struct rusmi_process *proc)
{
    struct rusmi_list *node;

    if ((atomic_exchange(&proc->named, NAMES_CLOSED) & NAMED) == 0) {
        return; /* as nearly all: they do not touch what is common */
    }
    rusmi_lock_take(&rt->registry.lock);
    while ((node = rusmi_list_pop(&proc->names)) != NULL) {
        struct name *name = rusmi_container(node, struct name, node);

        rusmi_map_remove(&rt->registry.names, &name->entry);
        rusmi_free(name);
    }
    rusmi_lock_give(&rt->registry.lock);
}

void rusmi_registered_first(rusm_runtime *rt, struct rusmi_process *proc, uint64_t serial,
                            char *buf)
{
    buf[0] = '\0';
    rusmi_lock_take(&rt->registry.lock);
    if (atomic_load(&proc->serial) == serial &&
        atomic_load(&proc->owner_incarnation) == rt->incarnation &&
        !rusmi_list_empty(&proc->names)) {
        const struct name *name = rusmi_container(proc->names.next, struct name, node);

        memcpy(buf, name->text, name->len + 1);
    }
    rusmi_lock_give(&rt->registry.lock);
}
