/* SPDX-License-Identifier: MIT */
/*
 * Looking at processes: a walk over slots, each read for itself, so that nothing is stopped and no
 * lock is held for more than one record.
 */
#include "otp/sched.h"
#include "platform/stack.h"

#include <rusm/otp/info.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Copy what is known of the process with that serial; false if it has ended. */
static bool read_info(rusm_runtime *rt, struct rusmi_process *proc, uint64_t serial,
                      rusm_process_info *info)
{
    bool alive;

    *info = (rusm_process_info){.pid = {rt->incarnation, serial}};
    rusmi_lock_take(rusmi_slot_stripe(rt->pool, proc));
    alive = atomic_load(&proc->serial) == serial &&
            atomic_load(&proc->owner_incarnation) == rt->incarnation;
    if (alive) {
        /* relaxed: a picture of a moment */
        info->state = rusmi_process_doing(proc);
        info->reductions = atomic_load_explicit(&proc->reductions, memory_order_relaxed);
        info->mailbox_len = rusmi_mailbox_depth(&proc->mailbox);
        info->memory_bytes = (uint64_t)RUSMI_STACK_MIN << proc->size_class;
        info->heap_bytes = atomic_load_explicit(&proc->heap_bytes, memory_order_relaxed);
        info->dropped = atomic_load_explicit(&proc->mailbox.dropped, memory_order_relaxed);
        info->memory_bytes += info->heap_bytes;
        info->trap_exit = proc->trap_exit;
        info->function = (uint64_t)(uintptr_t)proc->fn;
        rusmi_ties_count(proc, &info->links, &info->monitors, &info->monitored_by);
        if ((info->state == RUSM_PROCESS_RECEIVING || info->state == RUSM_PROCESS_WAITING) &&
            !rusmi_mailbox_waits(&proc->mailbox)) {
            info->state = RUSM_PROCESS_RUNNABLE;
        }
        if (proc->label != NULL) {
            memcpy(info->label, proc->label, strlen(proc->label) + 1);
        }
    }
    rusmi_lock_give(rusmi_slot_stripe(rt->pool, proc));
    if (alive) {
        rusmi_registered_first(rt, proc, serial, info->name);
    }
    return alive;
}

ptrdiff_t rusm_process_list(rusm_runtime *rt, uint64_t *cursor, rusm_process_info *infos,
                            size_t infos_max)
{
    uint32_t used, slot;
    size_t count = 0;

    rt = rusmi_runtime_resolve(rt);
    if (rt == NULL) {
        return RUSM_ENOCONTEXT;
    }
    used = rusmi_slots_used(rt->pool);
    if (cursor == NULL || infos == NULL || infos_max == 0 || *cursor > UINT32_MAX) {
        return rusm_set_err_detail(RUSM_EINVAL, "a list needs a cursor and room for records");
    }
    for (slot = (uint32_t)*cursor; slot < used && count < infos_max; slot++) {
        struct rusmi_process *proc = rusmi_slot_at(rt->pool, slot);
        uint64_t serial = atomic_load(&proc->serial);

        if (serial != 0 && atomic_load(&proc->owner_incarnation) == rt->incarnation &&
            read_info(rt, proc, serial, &infos[count])) {
            count++;
        }
    }
    *cursor = slot < used ? slot : 0;
    return (ptrdiff_t)count;
}

rusm_err rusm_process_get_info(rusm_pid pid, rusm_process_info *out_info)
{
    struct rusmi_process *proc;
    rusm_runtime *rt;
    rusm_process_info info;
    bool alive;

    if (out_info == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "there is nowhere to put the record");
    }
    rusmi_runtimes_hold();
    proc = rusmi_runtime_find_process(pid, &rt);
    alive = proc != NULL && read_info(rt, proc, pid.serial, &info);
    rusmi_runtimes_release();
    if (!alive) {
        return rusm_set_err_detail(RUSM_ENOPROC, "%s", rusm_err_text(RUSM_ENOPROC));
    }
    *out_info = info;
    return RUSM_OK;
}

ptrdiff_t rusm_process_get_ties(rusm_pid pid, rusm_process_tie *ties, size_t ties_max)
{
    size_t most = ties_max < RUSM_PROCESS_TIES_MAX ? ties_max : RUSM_PROCESS_TIES_MAX;
    uint64_t links, monitors, monitored_by;
    struct rusmi_process *proc;
    rusm_runtime *rt;
    ptrdiff_t count = RUSM_ENOPROC;

    if (ties == NULL && ties_max != 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "there is nowhere to put the records");
    }
    rusmi_runtimes_hold();
    proc = rusmi_runtime_find_process(pid, &rt);
    if (proc != NULL) {
        rusmi_lock_take(rusmi_slot_stripe(rt->pool, proc));
        if (rusmi_process_is(proc, pid) && proc->watchable) {
            rusmi_ties_count(proc, &links, &monitors, &monitored_by);
            count = (ptrdiff_t)(links + monitors + monitored_by);
            (void)rusmi_ties_copy(proc, ties, most);
        }
        rusmi_lock_give(rusmi_slot_stripe(rt->pool, proc));
    }
    rusmi_runtimes_release();
    return count >= 0 ? count
                      : rusm_set_err_detail(RUSM_ENOPROC, "%s", rusm_err_text(RUSM_ENOPROC));
}

rusm_err rusm_runtime_get_stats(rusm_runtime *rt, rusm_runtime_stats *out_stats)
{
    rt = rusmi_runtime_resolve(rt);
    if (rt == NULL) {
        return RUSM_ENOCONTEXT;
    }
    *out_stats = (rusm_runtime_stats){.processes = rusmi_runtime_live(rt),
                                      .sends_noproc = atomic_load(&rt->noproc),
                                      .sends_noname = atomic_load(&rt->noname),
                                      .sends_full = atomic_load(&rt->full),
                                      .copies_skipped = atomic_load(&rt->copies_skipped),
                                      .replies_late = atomic_load(&rt->late),
                                      .messages_unexpected = atomic_load(&rt->unexpected),
                                      .timers_skipped = atomic_load(&rt->timers_skipped),
                                      .stream_bytes_dropped = atomic_load(&rt->stream_dropped),
                                      .streams_refused = atomic_load(&rt->streams_refused),
                                      .accepts_delayed = atomic_load(&rt->accepts_delayed),
                                      .parked = atomic_load(&rt->pool->parked),
                                      .schedulers_held = atomic_load(&rt->held)};
    for (unsigned i = 0; i <= rt->pool->workers_len; i++) {
        const struct rusmi_shard *shard = &rt->shards[i];

        out_stats->spawned += atomic_load(&shard->spawned);
        out_stats->exited += atomic_load(&shard->exited);
        out_stats->crashed += atomic_load(&shard->crashed);
        out_stats->messages_unread += atomic_load(&shard->unread);
    }
    return RUSM_OK;
}

size_t rusm_pid_format(rusm_pid pid, char *buf, size_t buf_len)
{
    struct rusmi_process *self = rusmi_process_self();
    rusm_runtime *rt;
    char name[RUSM_NAME_MAX + 1];
    int len = 0;

    rusmi_runtimes_hold();
    rt = rusmi_runtime_find(pid.incarnation);
    if (rt != NULL) {
        len = snprintf(buf, buf_len, "<%s.%" PRIu64 ">", rt->name, pid.serial);
    }
    rusmi_runtimes_release();
    if (rt != NULL) {
        return len < 0 ? 0 : (size_t)len;
    }
    if (self != NULL && rusmi_route_name(self, pid.incarnation, name, sizeof(name))) {
        len = snprintf(buf, buf_len, "<%s.%" PRIu64 ">", name, pid.serial);
    } else {
        len = snprintf(buf, buf_len, "<%" PRIx64 ".%" PRIu64 ">", pid.incarnation, pid.serial);
    }
    return len < 0 ? 0 : (size_t)len;
}
