/* SPDX-License-Identifier: MIT */
#include "otp/roll.h"

#include "base/assert.h"
#include "base/mem.h"

#include <string.h>

/* Entries of the first page at first; it grows fourfold. */
#define PAGE_FIRST 4u
/* A page with fewer entries is poured into a neighbour, if both together then fill half a page. */
#define PAGE_LOW (RUSMI_ROLL_PAGE / 8)

struct entry {
    uint64_t number;
    rusm_pid pid;
    struct rusmi_roll_place *place; /* NULL: a hole */
};

struct rusmi_roll_page {
    uint64_t first; /* no entry has a smaller number, and all pages before have smaller ones */
    uint32_t cap;
    uint32_t used; /* entries and holes */
    uint32_t live; /* entries */
    struct entry entries[];
};

static struct rusmi_roll_page *page_new(uint32_t cap, uint64_t first)
{
    struct rusmi_roll_page *page = rusmi_alloc(sizeof(*page) + (size_t)cap * sizeof(struct entry));

    if (page != NULL) {
        *page = (struct rusmi_roll_page){.first = first, .cap = cap};
    }
    return page;
}

/* The last page that begins at or before that number; the first one if there is none. */
static size_t find_page(const struct rusmi_roll *roll, uint64_t number)
{
    size_t low = 0, high = roll->pages_len;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (roll->pages[middle]->first <= number) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static void put(struct rusmi_roll_page *page, const struct entry *entry)
{
    page->entries[page->used] = *entry;
    *entry->place = (struct rusmi_roll_place){page, page->used};
    page->used++;
    page->live++;
}

/* Move the entries of a page behind those of another one. */
static void pour(struct rusmi_roll_page *from, struct rusmi_roll_page *into)
{
    for (uint32_t i = 0; i < from->used; i++) {
        if (from->entries[i].place != NULL) {
            put(into, &from->entries[i]);
        }
    }
}

/* Close the holes of a page. */
static void close_up(struct rusmi_roll_page *page)
{
    uint32_t used = page->used;

    page->used = page->live = 0;
    for (uint32_t i = 0; i < used; i++) {
        if (page->entries[i].place != NULL) {
            const struct entry entry = page->entries[i];

            put(page, &entry);
        }
    }
}

static void page_drop(struct rusmi_roll *roll, size_t at)
{
    rusmi_free(roll->pages[at]);
    roll->pages_len--;
    memmove(&roll->pages[at], &roll->pages[at + 1],
            (roll->pages_len - at) * sizeof(struct rusmi_roll_page *));
}

/* A page behind all others. */
static bool page_append(struct rusmi_roll *roll, uint64_t number)
{
    struct rusmi_roll_page *page;

    if (roll->pages_len == roll->pages_cap) {
        size_t cap = roll->pages_cap == 0 ? 1 : roll->pages_cap * 2;
        struct rusmi_roll_page **pages =
            rusmi_realloc(roll->pages, cap * sizeof(struct rusmi_roll_page *));

        if (pages == NULL) {
            return false;
        }
        roll->pages = pages;
        roll->pages_cap = cap;
    }
    page = page_new(roll->pages_len == 0 ? PAGE_FIRST : RUSMI_ROLL_PAGE, number);
    if (page == NULL) {
        return false;
    }
    roll->pages[roll->pages_len++] = page;
    return true;
}

/* Put a larger page in place of the last one, which is full and smaller than others. */
static bool page_grow(struct rusmi_roll *roll)
{
    struct rusmi_roll_page *page = roll->pages[roll->pages_len - 1], *larger;
    uint32_t cap = page->cap * 4 < RUSMI_ROLL_PAGE ? page->cap * 4 : RUSMI_ROLL_PAGE;

    larger = page_new(cap, page->first);
    if (larger == NULL) {
        return false;
    }
    pour(page, larger);
    rusmi_free(page);
    roll->pages[roll->pages_len - 1] = larger;
    return true;
}

/* Make room for one more at the end. */
static bool reserve(struct rusmi_roll *roll, uint64_t number)
{
    struct rusmi_roll_page *last = roll->pages_len == 0 ? NULL : roll->pages[roll->pages_len - 1];

    if (last == NULL) {
        return page_append(roll, number);
    }
    if (last->used < last->cap) {
        return true;
    }
    if (last->live <= last->cap / 2) {
        close_up(last);
        return true;
    }
    return last->cap < RUSMI_ROLL_PAGE ? page_grow(roll) : page_append(roll, number);
}

bool rusmi_roll_add(struct rusmi_roll *roll, struct rusmi_roll_place *place, uint64_t number,
                    rusm_pid pid)
{
    const struct entry entry = {number, pid, place};

    if (!reserve(roll, number)) {
        return false;
    }
    put(roll->pages[roll->pages_len - 1], &entry);
    roll->len++;
    return true;
}

/* Pour the page behind `into` into it, if both are so empty that this will not come again soon. */
static bool join(struct rusmi_roll *roll, size_t into)
{
    struct rusmi_roll_page *page, *next;

    if (into + 1 >= roll->pages_len) {
        return false;
    }
    page = roll->pages[into];
    next = roll->pages[into + 1];
    if (page->cap < RUSMI_ROLL_PAGE || page->live + next->live > RUSMI_ROLL_PAGE / 2) {
        return false;
    }
    close_up(page);
    pour(next, page);
    page_drop(roll, into + 1);
    return true;
}

void rusmi_roll_remove(struct rusmi_roll *roll, struct rusmi_roll_place *place)
{
    struct rusmi_roll_page *page = place->page;
    struct entry *entry = &page->entries[place->index];
    size_t at = find_page(roll, page->first);

    rusmi_assert(roll->pages[at] == page && entry->place == place);
    *entry = (struct entry){.place = NULL};
    page->live--;
    roll->len--;
    if (page->live == 0) {
        page_drop(roll, at);
    } else if (page->live < PAGE_LOW) {
        if (at == 0 || !join(roll, at - 1)) {
            (void)join(roll, at);
        }
    }
}

size_t rusmi_roll_copy(const struct rusmi_roll *roll, uint64_t *after, uint64_t until,
                       rusm_pid *pids, size_t most)
{
    size_t count = 0;

    if (roll->pages_len == 0) {
        return 0;
    }
    for (size_t at = find_page(roll, *after); at < roll->pages_len && count < most; at++) {
        const struct rusmi_roll_page *page = roll->pages[at];

        for (uint32_t i = 0; i < page->used && count < most; i++) {
            const struct entry *entry = &page->entries[i];

            if (entry->place != NULL && entry->number > until) {
                return count; /* numbers only grow */
            }
            if (entry->place != NULL && entry->number > *after) {
                pids[count++] = entry->pid;
                *after = entry->number;
            }
        }
    }
    return count;
}

void rusmi_roll_fini(struct rusmi_roll *roll)
{
    rusmi_assert(roll->len == 0);
    rusmi_free(roll->pages);
    *roll = (struct rusmi_roll){.pages = NULL};
}
