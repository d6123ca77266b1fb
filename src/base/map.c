/* SPDX-License-Identifier: MIT */
#include "base/map.h"

#include "base/assert.h"
#include "base/mem.h"

#include <string.h>

#define MAP_BUCKETS_MIN ((size_t)16)

static inline uint64_t rotate(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

#define SIP_ROUND(v)                                                                               \
    do {                                                                                           \
        (v)[0] += (v)[1];                                                                          \
        (v)[2] += (v)[3];                                                                          \
        (v)[1] = rotate((v)[1], 13);                                                               \
        (v)[3] = rotate((v)[3], 16);                                                               \
        (v)[1] ^= (v)[0];                                                                          \
        (v)[3] ^= (v)[2];                                                                          \
        (v)[0] = rotate((v)[0], 32);                                                               \
        (v)[2] += (v)[1];                                                                          \
        (v)[0] += (v)[3];                                                                          \
        (v)[1] = rotate((v)[1], 17);                                                               \
        (v)[3] = rotate((v)[3], 21);                                                               \
        (v)[1] ^= (v)[2];                                                                          \
        (v)[3] ^= (v)[0];                                                                          \
        (v)[2] = rotate((v)[2], 32);                                                               \
    } while (0)

static uint64_t load_le64(const uint8_t *p)
{
    uint64_t x;

    memcpy(&x, p, sizeof(x));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x;
}

/* Up to seven bytes, in two or three loads that overlap: most keys are short names. */
static uint64_t load_le_tail(const uint8_t *p, size_t len)
{
    if (len == 0) {
        return 0;
    }
    if (len < 4) {
        return (uint64_t)p[0] | (uint64_t)p[len / 2] << (8 * (len / 2)) |
               (uint64_t)p[len - 1] << (8 * (len - 1));
    }
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
           ((uint64_t)p[len - 4] | (uint64_t)p[len - 3] << 8 | (uint64_t)p[len - 2] << 16 |
            (uint64_t)p[len - 1] << 24)
               << (8 * (len - 4));
}

/*
 * SipHash-1-3 (J.-P. Aumasson, D. J. Bernstein, 2012, with fewer rounds): peers choose keys, and
 * must not be able to fill one bucket. It is what CPython and Rust use for the same purpose.
 */
uint64_t rusmi_siphash(const uint64_t seed[2], const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t v[4] = {seed[0] ^ 0x736f6d6570736575u, seed[1] ^ 0x646f72616e646f6du,
                     seed[0] ^ 0x6c7967656e657261u, seed[1] ^ 0x7465646279746573u};
    uint64_t last = (uint64_t)len << 56;
    size_t left = len;

    for (; left >= 8; left -= 8, p += 8) {
        uint64_t word = load_le64(p);

        v[3] ^= word;
        SIP_ROUND(v);
        v[0] ^= word;
    }
    last |= load_le_tail(p, left);
    v[3] ^= last;
    SIP_ROUND(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    SIP_ROUND(v);
    SIP_ROUND(v);
    SIP_ROUND(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void rusmi_map_init(struct rusmi_map *map, uint64_t seed0, uint64_t seed1)
{
    *map = (struct rusmi_map){.seed = {seed0, seed1}};
}

void rusmi_map_fini(struct rusmi_map *map)
{
    rusmi_free(map->buckets);
    map->buckets = NULL;
    map->buckets_len = map->len = 0;
}

static bool map_resize(struct rusmi_map *map, size_t buckets_len)
{
    struct rusmi_map_entry **buckets =
        rusmi_zalloc_array(buckets_len, sizeof(struct rusmi_map_entry *));

    if (buckets == NULL) {
        return false;
    }
    for (size_t i = 0; i < map->buckets_len; i++) {
        struct rusmi_map_entry *next;

        for (struct rusmi_map_entry *e = map->buckets[i]; e != NULL; e = next) {
            size_t slot = (size_t)e->hash & (buckets_len - 1);

            next = e->next;
            e->next = buckets[slot];
            buckets[slot] = e;
        }
    }
    rusmi_free(map->buckets);
    map->buckets = buckets;
    map->buckets_len = buckets_len;
    return true;
}

struct rusmi_map_entry *rusmi_map_find(const struct rusmi_map *map, const void *key, size_t key_len)
{
    uint64_t hash;

    if (map->len == 0) {
        return NULL;
    }
    hash = rusmi_siphash(map->seed, key, key_len);
    for (struct rusmi_map_entry *e = map->buckets[hash & (map->buckets_len - 1)]; e != NULL;
         e = e->next) {
        if (e->hash == hash && e->key_len == key_len && memcmp(e->key, key, key_len) == 0) {
            return e;
        }
    }
    return NULL;
}

bool rusmi_map_insert(struct rusmi_map *map, struct rusmi_map_entry *entry, const void *key,
                      size_t key_len)
{
    size_t slot;

    rusmi_assert_slow(rusmi_map_find(map, key, key_len) == NULL);
    if (map->len >= map->buckets_len) {
        size_t wanted = map->buckets_len == 0 ? MAP_BUCKETS_MIN : map->buckets_len * 2;

        if (!map_resize(map, wanted) && map->buckets_len == 0) {
            return false;
        }
    }
    entry->hash = rusmi_siphash(map->seed, key, key_len);
    entry->key = key;
    entry->key_len = key_len;
    slot = (size_t)entry->hash & (map->buckets_len - 1);
    entry->next = map->buckets[slot];
    map->buckets[slot] = entry;
    map->len++;
    return true;
}

void rusmi_map_remove(struct rusmi_map *map, struct rusmi_map_entry *entry)
{
    struct rusmi_map_entry **link = &map->buckets[entry->hash & (map->buckets_len - 1)];

    while (*link != entry) {
        rusmi_assert(*link != NULL);
        link = &(*link)->next;
    }
    *link = entry->next;
    entry->next = NULL;
    map->len--;
}

struct rusmi_map_entry *rusmi_map_next(const struct rusmi_map *map, size_t *position,
                                       struct rusmi_map_entry *previous_next,
                                       struct rusmi_map_entry **out_next)
{
    struct rusmi_map_entry *entry = previous_next;

    while (entry == NULL && *position < map->buckets_len) {
        entry = map->buckets[(*position)++];
    }
    *out_next = entry == NULL ? NULL : entry->next;
    return entry;
}
