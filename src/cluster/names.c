/* SPDX-License-Identifier: MIT */
#include "cluster/names.h"

#include "base/assert.h"
#include "base/mem.h"

#include <string.h>

void rusmi_names_init(struct rusmi_names *names, const uint64_t seed[2])
{
    *names = (struct rusmi_names){0};
    rusmi_map_init(&names->map, seed[0], seed[1]);
    rusmi_roster_init(&names->roster);
}

void rusmi_names_fini(struct rusmi_names *names)
{
    rusmi_assert(names->map.len == 0);
    rusmi_map_fini(&names->map);
    rusmi_roster_fini(&names->roster);
}

void rusmi_claimant_init(struct rusmi_claimant *claimant, const char *node, uint64_t incarnation,
                         uint64_t conn)
{
    *claimant = (struct rusmi_claimant){.node = node, .incarnation = incarnation, .conn = conn};
    rusmi_list_init(&claimant->claims);
}

void rusmi_names_drop(struct rusmi_names *names, struct rusmi_claimant *claimant)
{
    while (!rusmi_list_empty(&claimant->claims)) {
        rusmi_names_unclaim(
            names, claimant,
            rusmi_container(claimant->claims.next, struct rusmi_claim, in_claimant));
    }
}

static struct rusmi_name *find(const struct rusmi_names *names, const char *text, size_t len)
{
    struct rusmi_map_entry *entry = rusmi_map_find(&names->map, text, len);

    return entry == NULL ? NULL : rusmi_container(entry, struct rusmi_name, entry);
}

const struct rusmi_name *rusmi_names_find(const struct rusmi_names *names, const char *text,
                                          size_t len)
{
    return find(names, text, len);
}

struct rusmi_claim *rusmi_name_owner(const struct rusmi_name *name)
{
    return rusmi_container(name->claims.next, struct rusmi_claim, in_name);
}

struct rusmi_claim *rusmi_name_claim_of(const struct rusmi_name *name,
                                        const struct rusmi_claimant *claimant)
{
    for (struct rusmi_list *node = name->claims.next; node != &name->claims; node = node->next) {
        struct rusmi_claim *claim = rusmi_container(node, struct rusmi_claim, in_name);

        if (claim->claimant == claimant) {
            return claim;
        }
    }
    return NULL;
}

static struct rusmi_name *name_new(struct rusmi_names *names, const char *text, size_t len)
{
    struct rusmi_name *name = rusmi_alloc(sizeof(struct rusmi_name) + len + 1);

    if (name == NULL) {
        return NULL;
    }
    memset(name, 0, sizeof(*name));
    rusmi_list_init(&name->claims);
    name->id = names->id_last + 1;
    name->len = len;
    memcpy(name->text, text, len);
    name->text[len] = '\0';
    if (!rusmi_roster_add(&names->roster, name->id, name)) {
        rusmi_free(name);
        return NULL;
    }
    if (!rusmi_map_insert(&names->map, &name->entry, name->text, len)) {
        rusmi_roster_remove(&names->roster, name->id);
        rusmi_free(name);
        return NULL;
    }
    names->id_last++;
    return name;
}

/* Forget a name that nobody claims any more. */
static void name_del(struct rusmi_names *names, struct rusmi_name *name)
{
    rusmi_map_remove(&names->map, &name->entry);
    rusmi_roster_remove(&names->roster, name->id);
    rusmi_free(name);
}

/* Whether claim a wins over claim b: the rule that all nodes share. */
static bool wins(const struct rusmi_claim *a, const struct rusmi_claim *b)
{
    if (a->time != b->time) {
        return a->time < b->time;
    }
    return strcmp(a->claimant->node, b->claimant->node) < 0;
}

static void place(struct rusmi_claim *claim)
{
    struct rusmi_list *node = claim->name->claims.next;

    while (node != &claim->name->claims &&
           wins(rusmi_container(node, struct rusmi_claim, in_name), claim)) {
        node = node->next;
    }
    rusmi_list_push(node, &claim->in_name); /* before node */
}

static void set(struct rusmi_names *names, struct rusmi_claim *claim, uint64_t serial,
                uint64_t time)
{
    claim->serial = serial;
    claim->time = time;
    names->time = time > names->time ? time : names->time;
    place(claim);
}

rusm_err rusmi_names_claim(struct rusmi_names *names, struct rusmi_claimant *claimant,
                           const char *text, size_t len, uint64_t serial, uint64_t time,
                           size_t claims_max, struct rusmi_claim **out_claim)
{
    struct rusmi_name *name = find(names, text, len);
    struct rusmi_claim *claim = name == NULL ? NULL : rusmi_name_claim_of(name, claimant);

    if (claim != NULL) {
        rusmi_list_remove(&claim->in_name);
        set(names, claim, serial, time);
        *out_claim = claim;
        return RUSM_OK;
    }
    if (claimant->len >= claims_max) {
        return RUSM_EFULL;
    }
    claim = rusmi_zalloc(sizeof(struct rusmi_claim));
    if (claim == NULL) {
        return RUSM_ENOMEM;
    }
    if (name == NULL) {
        name = name_new(names, text, len);
        if (name == NULL) {
            rusmi_free(claim);
            return RUSM_ENOMEM;
        }
    }
    claim->name = name;
    claim->claimant = claimant;
    rusmi_list_init(&claim->in_process);
    rusmi_list_push(&claimant->claims, &claim->in_claimant);
    claimant->len++;
    set(names, claim, serial, time);
    *out_claim = claim;
    return RUSM_OK;
}

void rusmi_names_unclaim(struct rusmi_names *names, struct rusmi_claimant *claimant,
                         struct rusmi_claim *claim)
{
    rusmi_assert(claim->claimant == claimant);
    rusmi_list_remove(&claim->in_name);
    rusmi_list_remove(&claim->in_claimant);
    rusmi_list_remove(&claim->in_process);
    claimant->len--;
    if (rusmi_list_empty(&claim->name->claims)) {
        name_del(names, claim->name);
    }
    /* In no list any more, and only the lists and their owner's roster lead to a claim. */
    rusmi_free(claim);
}
