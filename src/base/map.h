/* SPDX-License-Identifier: MIT */
/*
 * A hash table of entries embedded in the elements: open hashing with chains, doubled when full, so
 * that insertion allocates only when the table grows. Keys are bytes that live in the element. The
 * hash is SipHash-1-3 keyed per table (the key comes from the caller), because some tables are
 * filled by peers. The caller locks.
 */
#ifndef RUSMI_BASE_MAP_H
#define RUSMI_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rusmi_map_entry {
    struct rusmi_map_entry *next;
    uint64_t hash;
    const void *key;
    size_t key_len;
};

struct rusmi_map {
    struct rusmi_map_entry **buckets;
    size_t buckets_len; /* a power of two, or 0 before the first insertion */
    size_t len;
    uint64_t seed[2];
};

void rusmi_map_init(struct rusmi_map *map, uint64_t seed0, uint64_t seed1);
/* Frees the buckets; the elements are the caller's. */
void rusmi_map_fini(struct rusmi_map *map);
struct rusmi_map_entry *rusmi_map_find(const struct rusmi_map *map, const void *key,
                                       size_t key_len);
/*
 * Insert entry under a key that is not in the table and that lives as long as the entry is in it.
 * False when memory ran out for the first buckets: nothing changed. (A failed growth is no failure:
 * chains get longer.)
 */
bool rusmi_map_insert(struct rusmi_map *map, struct rusmi_map_entry *entry, const void *key,
                      size_t key_len);
/* Take entry, which is in the table, out. */
void rusmi_map_remove(struct rusmi_map *map, struct rusmi_map_entry *entry);
/*
 * Walk: start with *position 0; NULL ends. The entry returned may be removed before the next call,
 * nothing else may change meanwhile.
 */
struct rusmi_map_entry *rusmi_map_next(const struct rusmi_map *map, size_t *position,
                                       struct rusmi_map_entry *previous_next,
                                       struct rusmi_map_entry **out_next);

/* SipHash-1-3 of len bytes (Aumasson and Bernstein, 2012). */
uint64_t rusmi_siphash(const uint64_t seed[2], const void *data, size_t len);

/* for (entry of map), allowing removal of entry inside. */
#define rusmi_map_each(map, entry, pos, following)                                                 \
    for (size_t pos = 0, once_##pos = 1; once_##pos; once_##pos = 0)                               \
        for (struct rusmi_map_entry *following = NULL,                                             \
                                    *entry = rusmi_map_next((map), &pos, NULL, &following);        \
             entry != NULL; entry = rusmi_map_next((map), &pos, following, &following))

#endif
