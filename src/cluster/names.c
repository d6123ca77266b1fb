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

struct rusmi_claim *rusmi_name_first(const struct rusmi_name *name)
{
    return rusmi_container(name->claims.next, struct rusmi_claim, in_name);
}

struct rusmi_claim *rusmi_name_owner(const struct rusmi_name *name)
{
    struct rusmi_claim *first = rusmi_name_first(name);

    return first->tentative ? NULL : first;
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

bool rusmi_claim_beats(uint64_t time, const char *node, const struct rusmi_claim *other)
{
    if (time != other->time) {
        return time < other->time;
    }
    return strcmp(node, other->claimant->node) < 0;
}

/* Whether claim a wins over claim b: the rule that all nodes share. */
static bool wins(const struct rusmi_claim *a, const struct rusmi_claim *b)
{
#ifdef RUSMI_PLANT_NAMES_WINNER
    if (a->claimant->conn == 0) {
        return true;
    }
#endif
    return a->tentative != b->tentative ? b->tentative
                                        : rusmi_claim_beats(a->time, a->claimant->node, b);
}

/* Put a claim, which is in no list of its name, to its place there. */
static void place(struct rusmi_names *names, struct rusmi_claim *claim)
{
    struct rusmi_list *node = claim->name->claims.next;
    bool owned = node != &claim->name->claims && rusmi_name_owner(claim->name) != NULL;

    while (node != &claim->name->claims &&
           wins(rusmi_container(node, struct rusmi_claim, in_name), claim)) {
        node = node->next;
    }
    rusmi_list_push(node, &claim->in_name); /* before node */
    names->owned += !owned && !claim->tentative ? 1 : 0;
}

/* Take a claim out of the list of its name, which may leave that empty. */
static void displace(struct rusmi_names *names, struct rusmi_claim *claim)
{
    struct rusmi_name *name = claim->name;

    rusmi_list_remove(&claim->in_name);
    names->owned -=
        !claim->tentative && (rusmi_list_empty(&name->claims) || rusmi_name_owner(name) == NULL)
            ? 1
            : 0;
}

static void set(struct rusmi_names *names, struct rusmi_claim *claim,
                const struct rusmi_name_entry *entry, bool tentative)
{
    claim->serial = entry->serial;
    claim->time = entry->time;
    claim->tentative = tentative;
    names->time = entry->time > names->time ? entry->time : names->time;
    place(names, claim);
}

/* Of a claim, as if it were the only one to its name; with places in tables and the allocator's
 * share. */
static size_t cost(size_t name_len)
{
    return sizeof(struct rusmi_claim) + sizeof(struct rusmi_name) + name_len + 96;
}

rusm_err rusmi_names_claim(struct rusmi_names *names, struct rusmi_claimant *claimant,
                           const struct rusmi_name_entry *entry, bool tentative, size_t claims_max,
                           struct rusmi_claim **out_claim)
{
    struct rusmi_name *name = find(names, entry->name, entry->name_len);
    struct rusmi_claim *claim = name == NULL ? NULL : rusmi_name_claim_of(name, claimant);

    if (claim != NULL) {
        displace(names, claim);
        set(names, claim, entry, tentative);
        *out_claim = claim;
        return RUSM_OK;
    }
    if (claimant->len >= claims_max) {
        return RUSM_EFULL;
    }
    if (!rusmi_purse_take(claimant->purse, cost(entry->name_len), RUSMI_BUDGET_FAIR)) {
        return RUSM_EFULL;
    }
    claim = rusmi_zalloc(sizeof(struct rusmi_claim));
    if (claim != NULL && name == NULL) {
        name = name_new(names, entry->name, entry->name_len);
    }
    if (claim == NULL || name == NULL) {
        rusmi_free(claim);
        rusmi_purse_give(claimant->purse, cost(entry->name_len));
        return RUSM_ENOMEM;
    }
    claim->name = name;
    claim->claimant = claimant;
    rusmi_list_init(&claim->in_process);
    rusmi_list_push(&claimant->claims, &claim->in_claimant);
    claimant->len++;
    set(names, claim, entry, tentative);
    *out_claim = claim;
    return RUSM_OK;
}

void rusmi_names_confirm(struct rusmi_names *names, struct rusmi_claim *claim)
{
    rusmi_assert(claim->tentative);
    displace(names, claim);
    claim->tentative = false;
    place(names, claim);
}

void rusmi_names_unclaim(struct rusmi_names *names, struct rusmi_claimant *claimant,
                         struct rusmi_claim *claim)
{
    rusmi_assert(claim->claimant == claimant);
    displace(names, claim);
    rusmi_list_remove(&claim->in_claimant);
    rusmi_list_remove(&claim->in_process);
    claimant->len--;
    rusmi_purse_give(claimant->purse, cost(claim->name->len));
    if (rusmi_list_empty(&claim->name->claims)) {
        name_del(names, claim->name);
    }
    /* In no list any more, and only the lists and their owner's roster lead to a claim. */
    rusmi_free(claim);
}
