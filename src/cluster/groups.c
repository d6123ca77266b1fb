/* SPDX-License-Identifier: MIT */
#include "cluster/groups.h"

#include "base/assert.h"
#include "base/mem.h"

#include <string.h>

void rusmi_memberships_init(struct rusmi_memberships *table, const uint64_t seed[2])
{
    rusmi_map_init(&table->groups, seed[0], seed[1]);
    rusmi_map_init(&table->members, seed[0], seed[1]);
}

void rusmi_memberships_fini(struct rusmi_memberships *table)
{
    rusmi_assert(table->groups.len == 0 && table->members.len == 0);
    rusmi_map_fini(&table->groups);
    rusmi_map_fini(&table->members);
}

void rusmi_holder_init(struct rusmi_holder *holder)
{
    *holder = (struct rusmi_holder){.len = 0};
    rusmi_list_init(&holder->memberships);
}

static struct rusmi_member_group *group_find(const struct rusmi_memberships *table,
                                             const char *name, size_t len)
{
    struct rusmi_map_entry *entry = rusmi_map_find(&table->groups, name, len);

    return entry == NULL ? NULL : rusmi_container(entry, struct rusmi_member_group, entry);
}

/* The group of that name, made if there is none; NULL when memory ran out. */
static struct rusmi_member_group *group_get(struct rusmi_memberships *table, const char *name,
                                            size_t len)
{
    struct rusmi_member_group *group = group_find(table, name, len);

    if (group != NULL) {
        return group;
    }
    group = rusmi_zalloc(sizeof(*group) + len);
    if (group == NULL) {
        return NULL;
    }
    group->len = len;
    memcpy(group->text, name, len);
    if (!rusmi_map_insert(&table->groups, &group->entry, group->text, group->len)) {
        rusmi_free(group);
        return NULL;
    }
    return group;
}

static void group_put(struct rusmi_memberships *table, struct rusmi_member_group *group)
{
    if (group->members == 0) {
        rusmi_map_remove(&table->groups, &group->entry);
        rusmi_free(group); /* only its members, who are gone, had pointers to it */
    }
}

static struct rusmi_membership *member_find(const struct rusmi_memberships *table,
                                            struct rusmi_member_group *group,
                                            const struct rusmi_holder *holder, uint64_t serial)
{
    const struct rusmi_membership probe = {.key = {group, holder, serial}};
    struct rusmi_map_entry *entry = rusmi_map_find(&table->members, &probe.key, sizeof(probe.key));

    return entry == NULL ? NULL : rusmi_container(entry, struct rusmi_membership, entry);
}

struct rusmi_membership *rusmi_membership_find(const struct rusmi_memberships *table,
                                               const struct rusmi_holder *holder, const char *group,
                                               size_t group_len, uint64_t serial)
{
    struct rusmi_member_group *found = group_find(table, group, group_len);

    return found == NULL ? NULL : member_find(table, found, holder, serial);
}

/* Of a membership, as if it were the only one of its group; with places in tables and the
 * allocator's share. */
static size_t cost(size_t group_len)
{
    return sizeof(struct rusmi_membership) + sizeof(struct rusmi_member_group) + group_len + 96;
}

rusm_err rusmi_membership_add(struct rusmi_memberships *table, struct rusmi_holder *holder,
                              const char *group, size_t group_len, uint64_t serial, size_t len_max,
                              struct rusmi_membership **out_membership)
{
    struct rusmi_member_group *found;
    struct rusmi_membership *membership;

    if (rusmi_membership_find(table, holder, group, group_len, serial) != NULL) {
        return RUSM_EEXIST;
    }
    if (holder->len >= len_max) {
        return RUSM_EFULL;
    }
    if (!rusmi_purse_take(holder->purse, cost(group_len), RUSMI_BUDGET_FAIR)) {
        return RUSM_EFULL;
    }
    found = group_get(table, group, group_len);
    if (found == NULL) {
        rusmi_purse_give(holder->purse, cost(group_len));
        return RUSM_ENOMEM;
    }
    membership = rusmi_zalloc(sizeof(*membership));
    if (membership == NULL) {
        group_put(table, found);
        rusmi_purse_give(holder->purse, cost(group_len));
        return RUSM_ENOMEM;
    }
    membership->key.group = found;
    membership->key.holder = holder;
    membership->key.serial = serial;
    if (!rusmi_map_insert(&table->members, &membership->entry, &membership->key,
                          sizeof(membership->key))) {
        rusmi_free(membership);
        group_put(table, found);
        rusmi_purse_give(holder->purse, cost(group_len));
        return RUSM_ENOMEM;
    }
    found->members++;
    rusmi_list_push(&holder->memberships, &membership->in_holder);
    holder->len++;
    *out_membership = membership;
    return RUSM_OK;
}

void rusmi_membership_del(struct rusmi_memberships *table, struct rusmi_holder *holder,
                          struct rusmi_membership *membership)
{
    struct rusmi_member_group *group = membership->key.group;

    rusmi_assert(membership->key.holder == holder);
    rusmi_map_remove(&table->members, &membership->entry);
    rusmi_list_remove(&membership->in_holder);
    holder->len--;
    rusmi_purse_give(holder->purse, cost(group->len));
    rusmi_free(membership); /* in no table any more */
    group->members--;
    group_put(table, group);
}

void rusmi_memberships_drop(struct rusmi_memberships *table, struct rusmi_holder *holder)
{
    rusmi_memberships_drop_some(table, holder, SIZE_MAX);
}

void rusmi_memberships_drop_some(struct rusmi_memberships *table, struct rusmi_holder *holder,
                                 size_t len_max)
{
    for (size_t i = 0; i < len_max && !rusmi_list_empty(&holder->memberships); i++) {
        rusmi_membership_del(
            table, holder,
            rusmi_container(holder->memberships.next, struct rusmi_membership, in_holder));
    }
}
