/* SPDX-License-Identifier: MIT */
#include "node/sources.h"

#include "base/assert.h"
#include "base/mem.h"
#include "node/link.h"

#include <string.h>

/* A party: the handshakes of one host or network, or of all that have proven nothing. */
struct rusmi_source {
    struct rusmi_map_entry entry;
    uint8_t key[RUSMI_ADDRESS_SOURCE_LEN]; /* all zero, as no address's: the unproven */
    struct rusmi_list handshakes;          /* the oldest first */
    uint32_t open;
};

void rusmi_sources_init(struct rusmi_sources *sources, const uint64_t seed[2],
                        const struct rusmi_sources_config *cfg)
{
    rusmi_lock_init(&sources->lock);
    rusmi_map_init(&sources->parties, seed[0], seed[1]);
    sources->cfg = *cfg;
}

void rusmi_sources_fini(struct rusmi_sources *sources)
{
    rusmi_assert(sources->parties.len == 0 && sources->open == 0);
    rusmi_map_fini(&sources->parties);
    rusmi_lock_fini(&sources->lock);
}

/* Under lock: the party with that key; NULL without memory. */
static struct rusmi_source *party(struct rusmi_sources *sources,
                                  const uint8_t key[RUSMI_ADDRESS_SOURCE_LEN])
{
    struct rusmi_map_entry *entry =
        rusmi_map_find(&sources->parties, key, RUSMI_ADDRESS_SOURCE_LEN);
    struct rusmi_source *source;

    if (entry != NULL) {
        return rusmi_container(entry, struct rusmi_source, entry);
    }
    source = rusmi_zalloc(sizeof(*source));
    if (source == NULL) {
        return NULL;
    }
    memcpy(source->key, key, sizeof(source->key));
    rusmi_list_init(&source->handshakes);
    if (!rusmi_map_insert(&sources->parties, &source->entry, source->key, sizeof(source->key))) {
        rusmi_free(source);
        return NULL;
    }
    return source;
}

/* Under lock. */
static void drop_if_empty(struct rusmi_sources *sources, struct rusmi_source *source)
{
    if (source->open == 0) {
        rusmi_map_remove(&sources->parties, &source->entry);
        rusmi_free(source);
    }
}

/* Under lock: where beginnings of a party are counted. */
static uint32_t *begun(struct rusmi_sources *sources, const uint8_t key[RUSMI_ADDRESS_SOURCE_LEN],
                       bool proven, rusm_time now)
{
    uint64_t hash;

    if (now - sources->period_at >= sources->cfg.period) {
        sources->period_at = now;
        sources->period++;
        sources->begun_unproven = 0;
        memset(sources->begun, 0, sizeof(sources->begun));
    }
    hash = rusmi_siphash(sources->parties.seed, key, RUSMI_ADDRESS_SOURCE_LEN);
    return proven ? &sources->begun[hash % RUSMI_BEGUN_SLOTS] : &sources->begun_unproven;
}

/* Under lock: the party takes one more place. */
static struct rusmi_handshake *add(struct rusmi_sources *sources, struct rusmi_source *source,
                                   uint32_t *counter)
{
    struct rusmi_handshake *handshake = rusmi_zalloc(sizeof(*handshake));

    if (handshake == NULL) {
        return NULL;
    }
    handshake->source = source;
    handshake->number = ++sources->number;
    handshake->begun = counter;
    handshake->period = sources->period;
    handshake->listed = true;
    rusmi_list_init(&handshake->node);
    rusmi_list_push(&source->handshakes, &handshake->node);
    (*counter)++;
    source->open++;
    sources->open++;
    return handshake;
}

/* Under lock: its place is free. */
static void take_out(struct rusmi_sources *sources, struct rusmi_handshake *handshake)
{
    rusmi_list_remove(&handshake->node);
    handshake->listed = false;
    handshake->source->open--;
    sources->open--;
    drop_if_empty(sources, handshake->source);
    handshake->source = NULL;
}

struct rusmi_handshake *rusmi_sources_begin(struct rusmi_sources *sources,
                                            const struct rusmi_address *proven, rusm_time now)
{
    const struct rusmi_sources_config *cfg = &sources->cfg;
    uint8_t key[RUSMI_ADDRESS_SOURCE_LEN] = {0};
    uint32_t most = proven != NULL ? cfg->each : cfg->unproven, *counter;
    struct rusmi_handshake *handshake = NULL;
    struct rusmi_source *source;

    if (proven != NULL) {
        rusmi_address_source(proven, key);
    }
    rusmi_lock_take(&sources->lock);
    counter = begun(sources, key, proven != NULL, now);
    if (*counter < most && (proven != NULL || (sources->open < most && sources->open < cfg->max))) {
        source = party(sources, key);
        if (source != NULL) {
            if (source->open < most) {
                handshake = add(sources, source, counter);
            }
            drop_if_empty(sources, source);
        }
    }
    rusmi_lock_give(&sources->lock);
    return handshake;
}

void rusmi_sources_own(struct rusmi_sources *sources, struct rusmi_handshake *handshake,
                       struct rusmi_link *link)
{
    rusmi_lock_take(&sources->lock);
    handshake->link = link;
    rusmi_lock_give(&sources->lock);
}

void rusmi_sources_end(struct rusmi_sources *sources, struct rusmi_handshake *handshake,
                       bool finished)
{
    rusmi_lock_take(&sources->lock);
    if (finished && handshake->period == sources->period) {
        (*handshake->begun)--;
    }
    if (handshake->listed) {
        take_out(sources, handshake);
    }
    rusmi_lock_give(&sources->lock);
    rusmi_free(handshake);
}

/* Under lock: the oldest handshake of the party that has most, of several such the older one. */
static struct rusmi_handshake *find_heaviest(const struct rusmi_sources *sources)
{
    struct rusmi_handshake *found = NULL;

    rusmi_map_each(&sources->parties, entry, position, following)
    {
        struct rusmi_source *source = rusmi_container(entry, struct rusmi_source, entry);
        struct rusmi_handshake *oldest =
            rusmi_container(source->handshakes.next, struct rusmi_handshake, node);

        if (found == NULL || source->open > found->source->open ||
            (source->open == found->source->open && oldest->number < found->number)) {
            found = oldest;
        }
    }
    return found;
}

struct rusmi_link *rusmi_sources_give_way(struct rusmi_sources *sources)
{
    struct rusmi_link *link = NULL;
    struct rusmi_handshake *victim;

    rusmi_lock_take(&sources->lock);
    if (sources->open > sources->cfg.max) {
        victim = find_heaviest(sources);
        link = rusmi_link_hold(victim->link);
        take_out(sources, victim);
    }
    rusmi_lock_give(&sources->lock);
    return link;
}

bool rusmi_sources_may_answer(struct rusmi_sources *sources, const struct rusmi_address *address,
                              rusm_time now)
{
    uint64_t hash = rusmi_siphash(sources->parties.seed, &address->storage, address->len);
    uint8_t *answers = &sources->answers[hash % RUSMI_ANSWERS_SLOTS];

    if (now - sources->answers_at >= RUSMI_ANSWERS_PERIOD_NS) {
        sources->answers_at = now;
        memset(sources->answers, 0, sizeof(sources->answers));
    }
    if (*answers == RUSMI_ANSWERS_MAX) {
        return false;
    }
    (*answers)++;
    return true;
}
