/* SPDX-License-Identifier: MIT */
/*
 * Slots: stacks with a control block at their top, in blocks that are mapped when first needed and
 * never unmapped before the pool ends. A slot's number leads to its control block by arithmetic.
 * Free slots are kept with their touched pages.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "otp/sched.h"
#include "platform/stack.h"
#include "platform/tools.h"
#include "platform/vm.h"

#include <string.h>

/* Slot numbers fill 32 bits of a serial, less one. */
#define BLOCKS_MAX ((size_t)1 << (31 - RUSMI_BLOCK_BITS))

/* So many slots in a row have one stripe. */
#define STRIPE_SLOTS 64u

_Static_assert(RUSMI_CONTROL_LEN <= 1024,
               "an idle process must fit one page with its control block");

rusm_err rusmi_slots_init(rusm_pool *pool)
{
    /* A block keeps its class for ever, so that each class may need room for all processes. */
    pool->blocks_max =
        ((pool->cfg.processes_max + RUSMI_BLOCK_SLOTS - 1) / RUSMI_BLOCK_SLOTS + 1) * RUSMI_CLASSES;
    if (pool->blocks_max > BLOCKS_MAX) {
        pool->blocks_max = BLOCKS_MAX;
    }
    pool->blocks = rusmi_zalloc_array(pool->blocks_max, sizeof(*pool->blocks));
    if (pool->blocks == NULL) {
        return RUSM_ENOMEM;
    }
    rusmi_lock_init(&pool->slots_lock);
    for (size_t i = 0; i < RUSMI_STRIPES; i++) {
        rusmi_lock_init(&pool->stripes[i].lock);
        rusmi_lock_init(&pool->crowd_stripes[i]);
    }
    return RUSM_OK;
}

void rusmi_slots_fini(rusm_pool *pool)
{
    for (uint32_t i = 0; i < atomic_load(&pool->blocks_len); i++) {
        struct rusmi_block *block = &pool->blocks[i];

        for (uint32_t slot = 0; slot < RUSMI_BLOCK_SLOTS; slot++) {
            rusmi_vm_stack_forget(rusmi_block_slot(block, slot)->tool_id);
        }
        rusmi_stacks_unmap(atomic_load(&block->base), RUSMI_BLOCK_SLOTS, block->stack_size);
        if (pool->parks) {
            rusmi_free(block->controls);
        }
    }
    rusmi_free(pool->blocks);
    rusmi_lock_fini(&pool->slots_lock);
    for (size_t i = 0; i < RUSMI_STRIPES; i++) {
        rusmi_lock_fini(&pool->stripes[i].lock);
        rusmi_lock_fini(&pool->crowd_stripes[i]);
    }
}

struct rusmi_lock *rusmi_slot_stripe(rusm_pool *pool, const struct rusmi_process *proc)
{
    /* Neighbours share a lock: workers take free slots by the dozen, so those that share one mostly
     * run on the same worker. */
    return &pool->stripes[proc->slot / STRIPE_SLOTS % RUSMI_STRIPES].lock;
}

struct rusmi_process *rusmi_slot_at(rusm_pool *pool, uint32_t slot)
{
    return rusmi_slot_at_inline(pool, slot);
}

void *rusmi_slot_stack(const struct rusmi_process *proc, size_t *out_size)
{
    const struct rusmi_block *block = &proc->pool->blocks[proc->slot >> RUSMI_BLOCK_BITS];
    size_t page = rusmi_vm_page();
    /* relaxed: the block was published before its slots were */
    char *base = atomic_load_explicit(&block->base, memory_order_relaxed);

    *out_size = block->stack_size - page - (proc->pool->parks ? 0 : RUSMI_CONTROL_LEN);
    return base + (proc->slot & (RUSMI_BLOCK_SLOTS - 1)) * block->stack_size + page;
}

bool rusmi_block_guarded(const struct rusmi_process *proc)
{
    return proc->pool->blocks[proc->slot >> RUSMI_BLOCK_BITS].guarded;
}

/* Control blocks lie at the top of their stacks, or, where those may be away, beside them. */
static bool place_controls(const rusm_pool *pool, struct rusmi_block *block, char *base)
{
    if (!pool->parks) {
        block->controls = base + block->stack_size - RUSMI_CONTROL_LEN;
        block->stride = block->stack_size;
        return true;
    }
    block->stride = sizeof(struct rusmi_process);
    block->controls = rusmi_zalloc_array(RUSMI_BLOCK_SLOTS, block->stride);
    return block->controls != NULL;
}

/* Map one more block of a class, and put its slots on the pool's free list. Under slots_lock. */
static rusm_err map_block(rusm_pool *pool, uint32_t size_class)
{
    size_t stack_size = RUSMI_STACK_MIN << size_class;
    uint32_t number = atomic_load(&pool->blocks_len);
    struct rusmi_block *block = &pool->blocks[number];
    char *base;

    if (number >= pool->blocks_max) {
        return RUSM_EFULL;
    }
    base = rusmi_stacks_map(RUSMI_BLOCK_SLOTS, stack_size, &block->guarded);
    if (base == NULL) {
        return RUSM_ENOMEM;
    }
    block->stack_size = stack_size;
    if (!place_controls(pool, block, base)) {
        rusmi_stacks_unmap(base, RUSMI_BLOCK_SLOTS, stack_size);
        return RUSM_ENOMEM;
    }
    atomic_store(&block->base, base);
    for (uint32_t i = RUSMI_BLOCK_SLOTS; i-- > 0;) {
        struct rusmi_process *proc = rusmi_block_slot(block, i);
        void *stack;
        size_t len;

        /* Only numbers and links: the page of a control block is touched here, as its process will.
         */
        proc->slot = (number << RUSMI_BLOCK_BITS) + i;
        proc->size_class = size_class;
        proc->pool = pool;
        stack = rusmi_slot_stack(proc, &len);
        proc->tool_id = rusmi_vm_stack_note(stack, (char *)stack + len);
        rusmi_mailbox_open(&proc->mailbox);
        rusmi_list_init(&proc->names);
        rusmi_list_init(&proc->groups);
        rusmi_list_init(&proc->monitors);
        proc->next_free = pool->free[size_class];
        pool->free[size_class] = proc;
    }
    /* release: pairs with the acquire in rusmi_slots_used */
    atomic_store_explicit(&pool->blocks_len, number + 1, memory_order_release);
    return RUSM_OK;
}

static uint32_t class_of(size_t stack_size)
{
    uint32_t size_class = 0;

    while (size_class < RUSMI_CLASSES && RUSMI_STACK_MIN << size_class < stack_size) {
        size_class++;
    }
    return size_class;
}

/* The frames of sanitized code are several times as large. */
static uint32_t sanitized(uint32_t size_class)
{
    return (RUSMI_ASAN || RUSMI_TSAN) && size_class + 2 < RUSMI_CLASSES ? size_class + 2
                                                                        : size_class;
}

/* Whether the calling thread keeps free slots of that class for itself. */
static bool caches(const struct rusmi_worker *worker, const rusm_pool *pool, uint32_t size_class)
{
    return worker != NULL && worker->pool == pool && size_class < RUSMI_CACHED_CLASSES;
}

/* Take some free slots along, while the lock is held. */
static void refill(struct rusmi_worker *worker, rusm_pool *pool, uint32_t size_class)
{
    for (unsigned i = 0; i < RUSMI_FREE_CACHE / 2 && pool->free[size_class] != NULL; i++) {
        struct rusmi_process *proc = pool->free[size_class];

        pool->free[size_class] = proc->next_free;
        proc->next_free = worker->free[size_class];
        worker->free[size_class] = proc;
        worker->free_len[size_class]++;
    }
}

/* Give back those that were freed longest ago. */
static void give_half(struct rusmi_worker *worker, rusm_pool *pool, uint32_t size_class)
{
    struct rusmi_process *last = worker->free[size_class], *oldest;

    for (unsigned i = 1; i < RUSMI_FREE_CACHE / 2; i++) {
        last = last->next_free;
    }
    oldest = last->next_free;
    last->next_free = NULL;
    worker->free_len[size_class] = RUSMI_FREE_CACHE / 2;
    for (last = oldest; last->next_free != NULL; last = last->next_free) {
    }
    rusmi_lock_take(&pool->slots_lock);
    last->next_free = pool->free[size_class];
    pool->free[size_class] = oldest;
    rusmi_lock_give(&pool->slots_lock);
}

rusm_err rusmi_slot_take(rusm_pool *pool, size_t stack_size, struct rusmi_process **out_proc)
{
    struct rusmi_worker *worker = rusmi_worker_self();
    uint32_t size_class = class_of(stack_size);
    struct rusmi_process *proc = NULL;
    rusm_err err = RUSM_OK;

    if (size_class >= RUSMI_CLASSES) {
        return RUSM_EINVAL;
    }
    size_class = sanitized(size_class);
    if (caches(worker, pool, size_class)) {
        proc = worker->free[size_class];
        if (proc != NULL) {
            worker->free[size_class] = proc->next_free;
            worker->free_len[size_class]--;
        }
    }
    if (proc == NULL) {
        rusmi_lock_take(&pool->slots_lock);
        if (pool->free[size_class] == NULL) {
            err = map_block(pool, size_class);
        }
        if (err == RUSM_OK) {
            proc = pool->free[size_class];
            pool->free[size_class] = proc->next_free;
            if (caches(worker, pool, size_class)) {
                refill(worker, pool, size_class);
            }
        }
        rusmi_lock_give(&pool->slots_lock);
    }
    *out_proc = proc;
    return err;
}

void rusmi_slot_give(rusm_pool *pool, struct rusmi_process *proc)
{
    struct rusmi_worker *worker = rusmi_worker_self();
    uint32_t size_class = proc->size_class;

    if (caches(worker, pool, size_class)) {
        proc->next_free = worker->free[size_class];
        worker->free[size_class] = proc;
        if (++worker->free_len[size_class] > RUSMI_FREE_CACHE) {
            give_half(worker, pool, size_class);
        }
        return;
    }
    rusmi_lock_take(&pool->slots_lock);
    proc->next_free = pool->free[size_class];
    pool->free[size_class] = proc;
    rusmi_lock_give(&pool->slots_lock);
}
