/* SPDX-License-Identifier: MIT */
/*
 * What a process owns: blocks of memory in a list on its control block, and exit hooks. Only the
 * process itself changes them while it lives; its end, which comes after it has run for the last
 * time, runs the hooks first and frees the blocks last, so that a hook may use what is in them.
 */
#include "base/mem.h"
#include "otp/process.h"

#include <rusm/otp/driver.h>
#include <rusm/otp/memory.h>

#include <stdint.h>
#include <string.h>

struct rusmi_block_head {
    struct rusmi_block_head *next, **at; /* at NULL: nobody's */
    struct rusmi_process *owner;
    size_t size;
};

struct rusmi_hook {
    struct rusmi_hook *next;
    uint64_t number;
    void (*fn)(void *arg);
    void *arg;
};

_Static_assert(sizeof(struct rusmi_block_head) % 16 == 0, "blocks are aligned for any type");

/* ---- blocks ---------------------------------------------------------------------------------- */

static void count(struct rusmi_process *owner, size_t less, size_t more)
{
    /* relaxed, both: for lists; only the owner writes it */
    if (owner != NULL) {
        atomic_store_explicit(&owner->heap_bytes,
                              atomic_load_explicit(&owner->heap_bytes, memory_order_relaxed) -
                                  less + more,
                              memory_order_relaxed);
    }
}

static void block_link(struct rusmi_block_head *block, struct rusmi_process *owner)
{
    block->next = owner->blocks;
    block->at = &owner->blocks;
    if (block->next != NULL) {
        block->next->at = &block->next;
    }
    owner->blocks = block;
}

static void *block_new(size_t size, bool clear)
{
    struct rusmi_process *self = rusmi_process_self();
    struct rusmi_block_head *block;

    if (size > SIZE_MAX - sizeof(*block)) {
        return NULL;
    }
    block = clear ? rusmi_zalloc(sizeof(*block) + size) : rusmi_alloc(sizeof(*block) + size);
    if (block == NULL) {
        return NULL;
    }
    block->size = size;
    block->owner = self;
    block->at = NULL;
    if (self != NULL) {
        block_link(block, self);
        count(self, 0, size);
    }
    return block + 1;
}

void *rusm_alloc(size_t size)
{
    return block_new(size, false);
}

void *rusm_zalloc(size_t size)
{
    return block_new(size, true);
}

void *rusm_realloc(void *memory, size_t size)
{
    struct rusmi_block_head *block = memory, *moved;
    size_t before;

    if (memory == NULL) {
        return rusm_alloc(size);
    }
    block--;
    if (size > SIZE_MAX - sizeof(*block)) {
        return NULL;
    }
    before = block->size;
    moved = rusmi_realloc(block, sizeof(*block) + size);
    if (moved == NULL) {
        return NULL;
    }
    moved->size = size;
    if (moved->at != NULL) {
        *moved->at = moved;
        if (moved->next != NULL) {
            moved->next->at = &moved->next;
        }
    }
    count(moved->owner, before, size);
    return moved + 1;
}

void rusm_free(void *memory)
{
    struct rusmi_block_head *block = memory;

    if (memory == NULL) {
        return;
    }
    block--;
    if (block->at != NULL) {
        *block->at = block->next;
        if (block->next != NULL) {
            block->next->at = block->at;
        }
    }
    count(block->owner, block->size, 0);
    rusmi_free(block);
}

void rusmi_blocks_free(struct rusmi_process *proc)
{
    while (proc->blocks != NULL) {
        struct rusmi_block_head *block = proc->blocks;

        proc->blocks = block->next;
        rusmi_free(block);
    }
    /* relaxed: for lists */
    atomic_store_explicit(&proc->heap_bytes, 0, memory_order_relaxed);
}

/* ---- hooks ----------------------------------------------------------------------------------- */

rusm_err rusm_at_exit(void (*fn)(void *arg), void *arg, rusm_exit_hook *out_hook)
{
    struct rusmi_process *self = rusmi_process_self();
    struct rusmi_process_extra *extra;
    struct rusmi_hook *hook;

    if (self == NULL) {
        return rusm_set_err_detail(RUSM_ENOCONTEXT, "%s", rusm_err_text(RUSM_ENOCONTEXT));
    }
    if (fn == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "an exit hook needs a function");
    }
    extra = rusmi_process_extra(self);
    hook = extra == NULL ? NULL : rusmi_alloc(sizeof(*hook));
    if (hook == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    *hook = (struct rusmi_hook){
        .next = extra->hooks, .number = ++extra->hook_number, .fn = fn, .arg = arg};
    extra->hooks = hook;
    if (out_hook != NULL) {
        out_hook->number = hook->number;
    }
    return RUSM_OK;
}

bool rusm_cancel_exit_hook(rusm_exit_hook wanted)
{
    struct rusmi_process *self = rusmi_process_self();
    struct rusmi_hook **at;

    if (self == NULL || self->extra == NULL) {
        return false;
    }
    for (at = &self->extra->hooks; *at != NULL; at = &(*at)->next) {
        if ((*at)->number == wanted.number) {
            struct rusmi_hook *hook = *at;

            *at = hook->next;
            rusmi_free(hook);
            return true;
        }
    }
    return false;
}

bool rusmi_hook_move(struct rusmi_process *from, rusm_exit_hook *wanted, struct rusmi_process *to)
{
    struct rusmi_hook **at = from->extra == NULL ? NULL : &from->extra->hooks;
    struct rusmi_hook *hook;

    while (at != NULL && *at != NULL && (*at)->number != wanted->number) {
        at = &(*at)->next;
    }
    if (at == NULL || *at == NULL) {
        return false;
    }
    hook = *at;
    *at = hook->next;
    hook->next = to->extra->hooks;
    hook->number = ++to->extra->hook_number;
    to->extra->hooks = hook;
    wanted->number = hook->number;
    return true;
}

void rusmi_hooks_run(struct rusmi_process *proc)
{
    while (proc->extra != NULL && proc->extra->hooks != NULL) {
        struct rusmi_hook *hook = proc->extra->hooks;

        proc->extra->hooks = hook->next;
        hook->fn(hook->arg);
        rusmi_free(hook);
    }
}
