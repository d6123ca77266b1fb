/* SPDX-License-Identifier: MIT */
#include "quic/memory.h"

#include <stdalign.h>
#include <string.h>

#include "base/mem.h"

/* In front of each block: ngtcp2 does not say how large what it frees is. */
struct block {
    alignas(max_align_t) size_t size; /* with this */
};

/* size bytes with a head, charged; NULL: no room, or no memory. */
static struct block *block_new(struct rusmi_quic_memory *memory, size_t size)
{
    struct block *block;

    if (size > SIZE_MAX - sizeof(*block)) {
        return NULL;
    }
    size += sizeof(*block);
    if (!rusmi_purse_take(memory->purse, size, memory->need)) {
        memory->refused = true;
        return NULL;
    }
    block = rusmi_alloc(size);
    if (block != NULL) {
        block->size = size;
    } else {
        rusmi_purse_give(memory->purse, size);
    }
    return block;
}

static void *mem_malloc(size_t size, void *user_data)
{
    struct block *block = block_new(user_data, size);

    return block == NULL ? NULL : block + 1;
}

static void mem_free(void *data, void *user_data)
{
    struct rusmi_quic_memory *memory = user_data;
    struct block *block;

    if (data == NULL) {
        return;
    }
    block = (struct block *)data - 1;
    rusmi_purse_give(memory->purse, block->size);
    rusmi_free(block); /* ngtcp2 was its only owner */
}

static void *mem_calloc(size_t count, size_t size, void *user_data)
{
    void *data;

    if (size != 0 && count > SIZE_MAX / size) {
        return NULL;
    }
    data = mem_malloc(count * size, user_data);
    if (data != NULL) {
        memset(data, 0, count * size);
    }
    return data;
}

static void *mem_realloc(void *data, size_t size, void *user_data)
{
    void *fresh = mem_malloc(size, user_data);

    if (fresh != NULL && data != NULL) {
        size_t old = ((struct block *)data - 1)->size - sizeof(struct block);

        memcpy(fresh, data, old < size ? old : size);
        mem_free(data, user_data);
    }
    return fresh;
}

void rusmi_quic_memory_init(struct rusmi_quic_memory *memory, struct rusmi_purse *purse)
{
    memory->purse = purse;
    memory->need = RUSMI_BUDGET_FAIR;
    memory->refused = false;
    memory->table = (ngtcp2_mem){.user_data = memory,
                                 .malloc = mem_malloc,
                                 .free = mem_free,
                                 .calloc = mem_calloc,
                                 .realloc = mem_realloc};
}
