/* SPDX-License-Identifier: MIT */
#include "node/sources.h"

#include "base/assert.h"
#include "base/list.h"
#include "base/mem.h"

#include <string.h>

struct source {
    struct rusmi_map_entry entry;
    uint8_t key[RUSMI_ADDRESS_SOURCE_LEN];
    uint32_t open;
};

void rusmi_sources_init(struct rusmi_sources *sources, const uint64_t seed[2], uint32_t max)
{
    rusmi_lock_init(&sources->lock);
    rusmi_map_init(&sources->open, seed[0], seed[1]);
    sources->max = max;
}

void rusmi_sources_fini(struct rusmi_sources *sources)
{
    rusmi_assert(sources->open.len == 0);
    rusmi_map_fini(&sources->open);
}

/* Under lock. */
static struct source *find(const struct rusmi_sources *sources,
                           const uint8_t key[RUSMI_ADDRESS_SOURCE_LEN])
{
    struct rusmi_map_entry *entry = rusmi_map_find(&sources->open, key, RUSMI_ADDRESS_SOURCE_LEN);

    return entry == NULL ? NULL : rusmi_container(entry, struct source, entry);
}

/* Under lock: a source that has none open; NULL without memory. */
static struct source *add(struct rusmi_sources *sources,
                          const uint8_t key[RUSMI_ADDRESS_SOURCE_LEN])
{
    struct source *source = rusmi_zalloc(sizeof(*source));

    if (source == NULL) {
        return NULL;
    }
    memcpy(source->key, key, sizeof(source->key));
    if (!rusmi_map_insert(&sources->open, &source->entry, source->key, sizeof(source->key))) {
        rusmi_free(source);
        return NULL;
    }
    return source;
}

bool rusmi_sources_take(struct rusmi_sources *sources, const struct rusmi_address *address)
{
    uint8_t key[RUSMI_ADDRESS_SOURCE_LEN];
    struct source *source;
    bool taken = false;

    rusmi_address_source(address, key);
    rusmi_lock_take(&sources->lock);
    source = find(sources, key);
    if (source == NULL) {
        source = add(sources, key);
    }
    if (source != NULL && source->open < sources->max) {
        source->open++;
        taken = true;
    }
    rusmi_lock_give(&sources->lock);
    return taken;
}

bool rusmi_sources_may_answer(struct rusmi_sources *sources, const struct rusmi_address *address,
                              rusm_time now)
{
    uint64_t hash = rusmi_siphash(sources->open.seed, &address->storage, address->len);
    uint8_t *answers = &sources->answers[hash % RUSMI_ANSWERS_SLOTS];

    if (now - sources->period >= RUSMI_ANSWERS_PERIOD_NS) {
        sources->period = now;
        memset(sources->answers, 0, sizeof(sources->answers));
    }
    if (*answers == RUSMI_ANSWERS_MAX) {
        return false;
    }
    (*answers)++;
    return true;
}

void rusmi_sources_give(struct rusmi_sources *sources, const struct rusmi_address *address)
{
    uint8_t key[RUSMI_ADDRESS_SOURCE_LEN];
    struct source *source;

    rusmi_address_source(address, key);
    rusmi_lock_take(&sources->lock);
    source = find(sources, key);
    rusmi_assert(source != NULL && source->open > 0);
    source->open--;
    if (source->open == 0) {
        rusmi_map_remove(&sources->open, &source->entry);
    } else {
        source = NULL;
    }
    rusmi_lock_give(&sources->lock);
    rusmi_free(source); /* out of the map, the only way to it */
}
