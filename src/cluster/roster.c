/* SPDX-License-Identifier: MIT */
#include "cluster/roster.h"

#include "base/assert.h"
#include "base/mem.h"

#define ROSTER_CAP_MIN ((size_t)16)

void rusmi_roster_init(struct rusmi_roster *roster)
{
    *roster = (struct rusmi_roster){0};
}

void rusmi_roster_fini(struct rusmi_roster *roster)
{
    rusmi_free(roster->entries);
    rusmi_roster_init(roster);
}

bool rusmi_roster_add(struct rusmi_roster *roster, uint64_t id, void *item)
{
    rusmi_assert(roster->len == 0 || roster->entries[roster->len - 1].id < id);
    if (roster->len == roster->cap) {
        size_t cap = roster->cap == 0 ? ROSTER_CAP_MIN : roster->cap * 2;
        struct rusmi_roster_entry *entries =
            rusmi_realloc(roster->entries, cap * sizeof(struct rusmi_roster_entry));

        if (entries == NULL) {
            return false;
        }
        roster->entries = entries;
        roster->cap = cap;
    }
    roster->entries[roster->len++] = (struct rusmi_roster_entry){id, item};
    roster->live++;
    return true;
}

/* The index of the first entry with an id above `id`. */
static size_t seek(const struct rusmi_roster *roster, uint64_t id)
{
    size_t low = 0, high = roster->len;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (roster->entries[middle].id <= id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Close the gaps once they are most of the array, so that each removal pays for two moves. */
static void compact(struct rusmi_roster *roster)
{
    size_t to = 0;

    if (roster->len <= ROSTER_CAP_MIN || roster->live >= roster->len / 2) {
        return;
    }
    for (size_t from = 0; from < roster->len; from++) {
        if (roster->entries[from].item != NULL) {
            roster->entries[to++] = roster->entries[from];
        }
    }
    roster->len = to;
    if (to < roster->cap / 4 && roster->cap > ROSTER_CAP_MIN) {
        struct rusmi_roster_entry *entries =
            rusmi_realloc(roster->entries, roster->cap / 2 * sizeof(struct rusmi_roster_entry));

        if (entries != NULL) {
            roster->entries = entries;
            roster->cap /= 2;
        }
    }
}

void rusmi_roster_remove(struct rusmi_roster *roster, uint64_t id)
{
    size_t index = seek(roster, id);

    rusmi_assert(index > 0 && roster->entries[index - 1].id == id &&
                 roster->entries[index - 1].item != NULL);
    roster->entries[index - 1].item = NULL;
    roster->live--;
    compact(roster);
}

void *rusmi_roster_next(const struct rusmi_roster *roster, uint64_t *after, size_t *place)
{
    size_t index = *place == SIZE_MAX ? seek(roster, *after) : *place;

    while (index < roster->len && roster->entries[index].item == NULL) {
        index++;
    }
    *place = index + 1;
    if (index >= roster->len) {
        return NULL;
    }
    *after = roster->entries[index].id;
    return roster->entries[index].item;
}
