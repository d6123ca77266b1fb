/* SPDX-License-Identifier: MIT */
/*
 * A process that only waits needs no page: what is live of its stack, some 400 bytes, is copied to
 * a block of that size, and the pages are replaced by a guard. When the process runs again they
 * are put back, at the same addresses.
 *
 * On a pool that parks, control blocks are not on the stacks but beside them, so that senders,
 * lists, links and timers work as always. Who parks first ends the process's wait, as a waker does:
 * so nobody else can run it, or touch its half of the mailbox, meanwhile. Then it begins the wait
 * again in the process's place; if something came in between, the process is made to run.
 *
 * A guard, not merely pages that are gone: a foreign pointer into such a stack then faults. Pages
 * that are gone would read as zeros. So only processes suspended in a receive are parked: all
 * others wait for something that might point to their stack.
 */
#include "otp/park.h"

#include "base/assert.h"
#include "base/mem.h"
#include "platform/clock.h"
#include "platform/futex.h"
#include "platform/stack.h"
#include "platform/tools.h"
#include "platform/vm.h"

#include <string.h>

#define NS_PER_MS ((uint64_t)1000000)
/* More than that of a stack is left where it is. */
#define LIVE_MAX     ((size_t)2048)
#define PARKER_STACK ((size_t)65536)

/* The usable stack of a process, whose pages are given back and fetched. */
static char *pages_of(const struct rusmi_process *proc, size_t *out_len)
{
    return rusmi_slot_stack(proc, out_len);
}

/* What is live of it: from the stack pointer to the top. */
static char *live_of(const struct rusmi_process *proc, size_t *out_len)
{
    size_t len;
    char *low = pages_of(proc, &len);
    char *sp = proc->context.sp;

    rusmi_assert(sp >= low && sp < low + len);
    *out_len = (size_t)(low + len - sp);
    return sp;
}

bool rusmi_park_possible(void)
{
#if RUSMI_ASAN || RUSMI_TSAN
    return false; /* the sanitizers keep shadows of the stacks */
#else
    return rusmi_stacks_can_drop();
#endif
}

/* The caller has ended the wait of proc. True: its pages are gone. */
static bool give_back(struct rusmi_process *proc)
{
    size_t live_len, len;
    const char *live = live_of(proc, &live_len);
    char *low = pages_of(proc, &len);
    void *copy;

    if (proc->parked != NULL || live_len > LIVE_MAX) {
        return false;
    }
    copy = rusmi_alloc(live_len);
    if (copy == NULL) {
        return false;
    }
    memcpy(copy, live, live_len);
    if (!rusmi_stack_drop(low, len)) {
        rusmi_free(copy);
        return false;
    }
    proc->parked = copy;
    (void)atomic_fetch_add(&proc->pool->parked, 1);
    return true;
}

void rusmi_unpark(struct rusmi_process *proc)
{
    size_t live_len, len;
    char *live = live_of(proc, &live_len);
    char *low = pages_of(proc, &len);
    bool restored = rusmi_stack_restore(low, len);

    rusmi_assert(restored);
    memcpy(live, proc->parked, live_len);
    rusmi_free(proc->parked);
    proc->parked = NULL;
    (void)atomic_fetch_sub(&proc->pool->parked, 1);
}

/* True: it was marked, or is parked now. */
static bool look_at(struct rusmi_process *proc)
{
    uint8_t doing = RUSM_PROCESS_RECEIVING;
    bool parked;

    if (proc->is_thread || !rusmi_mailbox_waits(&proc->mailbox)) {
        return false;
    }
    /* It sets this again whenever it waits, and `running` when it runs. relaxed: a mark */
    if (atomic_compare_exchange_strong_explicit(&proc->doing, &doing, RUSMI_DOING_LONG,
                                                memory_order_relaxed, memory_order_relaxed)) {
        return true;
    }
    if (doing != RUSMI_DOING_LONG || !rusmi_mailbox_claim(&proc->mailbox)) {
        return false;
    }
    /* It may have run since, and wait for something else: what it does is certain only now. */
    parked = atomic_load(&proc->doing) == RUSMI_DOING_LONG && give_back(proc);
    if (!rusmi_mailbox_wait(&proc->mailbox)) {
        rusmi_process_run_again(proc);
    }
    return parked;
}

uint64_t rusmi_park_pass(rusm_pool *pool)
{
    uint32_t used = rusmi_slots_used(pool);
    uint64_t count = 0;

    for (uint32_t slot = 0; pool->parks && slot < used && atomic_load(&pool->stop) == 0; slot++) {
        struct rusmi_process *proc = rusmi_slot_at(pool, slot);

        if (atomic_load(&proc->serial) != 0 && look_at(proc)) {
            count++;
        }
    }
    return count;
}

/* How often workers have turned to another process, all together. */
static uint64_t switches_of(rusm_pool *pool)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < pool->workers_len; i++) {
        /* relaxed: it is compared with what it was a while ago */
        sum += atomic_load_explicit(&pool->workers[i].switches, memory_order_relaxed);
    }
    return sum;
}

static void *parker_main(void *arg)
{
    rusm_pool *pool = arg;
    uint64_t period = (uint64_t)pool->cfg.park_idle_ms * NS_PER_MS;
    uint64_t before = 0, marked = 0;

    while (atomic_load(&pool->stop) == 0) {
        uint64_t now;

        rusmi_futex_wait(&pool->stop, 0, rusmi_clock_now() + period);
        now = switches_of(pool);
        /* Where nothing has run, nothing has begun to wait. */
        if (now != before || marked != 0) {
            before = now;
            marked = rusmi_park_pass(pool);
        }
    }
    return NULL;
}

rusm_err rusmi_park_start(rusm_pool *pool)
{
    int rc;

    if (!pool->parks) {
        return RUSM_OK;
    }
    rc = rusmi_thread_start(&pool->parker, parker_main, pool, PARKER_STACK, "rusm-parker");
    if (rc != 0) {
        return rusm_set_err_detail(RUSM_ESYS, "the thread that parks could not be started: %s",
                                   strerror(rc));
    }
    return RUSM_OK;
}

void rusmi_park_stop(rusm_pool *pool)
{
    if (pool->parks) {
        rusmi_thread_join(&pool->parker);
    }
}
