/* SPDX-License-Identifier: MIT */
#include "otp/census.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "platform/lock.h"

#include <stdatomic.h>
#include <string.h>

struct place {
    struct rusmi_map_entry by_label;
    uint16_t number;
    _Atomic int64_t alive;
    int64_t told; /* who tells */
    char label[];
};

struct rusmi_census {
    struct rusmi_lock lock;
    struct rusmi_map by_label;   /* under lock */
    _Atomic uint32_t places_len; /* written under lock */
    uint32_t places_max;
    struct place *places[]; /* the first is for all that have none; never changed once written */
};

static struct place *place_new(const char *label)
{
    size_t len = strlen(label);
    struct place *place = rusmi_zalloc(sizeof(*place) + len + 1);

    if (place != NULL) {
        memcpy(place->label, label, len);
    }
    return place;
}

struct rusmi_census *rusmi_census_new(uint32_t labels_max, uint64_t seed0, uint64_t seed1)
{
    struct rusmi_census *census =
        rusmi_zalloc(sizeof(*census) + ((size_t)labels_max + 1) * sizeof(struct place *));

    if (census == NULL) {
        return NULL;
    }
    census->places[0] = place_new("(others)");
    if (census->places[0] == NULL) {
        rusmi_free(census);
        return NULL;
    }
    census->places[0]->number = 1;
    census->places_max = labels_max + 1;
    atomic_init(&census->places_len, 1);
    rusmi_lock_init(&census->lock);
    rusmi_map_init(&census->by_label, seed0, seed1);
    return census;
}

void rusmi_census_del(struct rusmi_census *census)
{
    if (census == NULL) {
        return;
    }
    for (uint32_t i = 0; i < atomic_load(&census->places_len); i++) {
        rusmi_free(census->places[i]);
    }
    rusmi_map_fini(&census->by_label);
    rusmi_lock_fini(&census->lock);
    rusmi_free(census);
}

/* The place of a label, under the lock; that of the others if there is no room, or no memory. */
static struct place *find_place(struct rusmi_census *census, const char *label)
{
    struct rusmi_map_entry *entry = rusmi_map_find(&census->by_label, label, strlen(label));
    uint32_t len = atomic_load(&census->places_len);
    struct place *place;

    if (entry != NULL) {
        return rusmi_container(entry, struct place, by_label);
    }
    place = len < census->places_max ? place_new(label) : NULL;
    if (place == NULL || !rusmi_map_insert(&census->by_label, &place->by_label, place->label,
                                           strlen(place->label))) {
        rusmi_free(place);
        return census->places[0];
    }
    place->number = (uint16_t)(len + 1);
    census->places[len] = place;
    /* release: pairs with the acquire in rusmi_census_next() */
    atomic_store_explicit(&census->places_len, len + 1, memory_order_release);
    return place;
}

uint16_t rusmi_census_begin(struct rusmi_census *census, const char *label)
{
    struct place *place;

    rusmi_lock_take(&census->lock);
    place = find_place(census, label);
    rusmi_lock_give(&census->lock);
    (void)atomic_fetch_add_explicit(&place->alive, 1, memory_order_relaxed); /* a count */
    return place->number;
}

void rusmi_census_end(struct rusmi_census *census, uint16_t place)
{
    /* relaxed: a count; the process has its place from this very table */
    (void)atomic_fetch_sub_explicit(&census->places[place - 1]->alive, 1, memory_order_relaxed);
}

bool rusmi_census_next(struct rusmi_census *census, uint32_t *cursor, const char **out_label,
                       uint64_t *out_alive, int64_t *out_change)
{
    /* acquire: pairs with the release in find_place() */
    uint32_t len = atomic_load_explicit(&census->places_len, memory_order_acquire);

    for (; *cursor < len; (*cursor)++) {
        struct place *place = census->places[*cursor];
        int64_t alive = atomic_load_explicit(&place->alive, memory_order_relaxed); /* a count */

        if (alive != place->told) {
            *out_label = place->label;
            *out_alive = (uint64_t)alive;
            *out_change = alive - place->told;
            place->told = alive;
            (*cursor)++;
            return true;
        }
    }
    return false;
}
