/* SPDX-License-Identifier: MIT */
/*
 * Members on other nodes, and what other nodes hear of ours (docs/design/groups.md).
 *
 * News of our own members waits in one list of the runtime, in the order in which it was made under
 * the groups' lock, until the node takes it. A member is its own news: it is in the list from its
 * joining until that was taken, and again from its leaving, which it outlives for that. So telling
 * needs no memory, and the end of a process can not fail to be told. Who was a member so shortly
 * that nobody took its joining is told of as having joined and left.
 *
 * Lock order: the node's lock, then the groups'. Nothing here takes the node's.
 */
#include "otp/group_state.h"

#include "base/assert.h"
#include "base/mem.h"

#include <string.h>

/* ---- news, under the lock -------------------------------------------------------------------- */

static void news_push(struct rusmi_groups *groups, struct rusmi_member *member,
                      struct rusmi_luggage *bag)
{
    bag->news = bag->news || rusmi_list_empty(&groups->news);
    rusmi_list_push(&groups->news, &member->news);
    member->group->news++;
}

void rusmi_group_news_join(struct rusmi_groups *groups, struct rusmi_member *member,
                           struct rusmi_luggage *bag)
{
    if (groups->followed) {
        news_push(groups, member, bag);
    }
}

void rusmi_group_news_leave(struct rusmi_groups *groups, struct rusmi_member *member,
                            struct rusmi_luggage *bag)
{
    if (!groups->followed) {
        if (!rusmi_list_empty(&member->news)) { /* nobody wants it any more: see stop() */
            rusmi_list_remove(&member->news);
            member->group->news--;
        }
        return;
    }
    member->left = true;
    bag->member = NULL;
    if (member->told) { /* else it is in the list still, and both will be taken together */
        news_push(groups, member, bag);
    }
}

/* The first news has been told, or nobody wants it any more. */
static void news_pop(struct rusmi_groups *groups, struct rusmi_member *member,
                     struct rusmi_luggage *bag)
{
    struct rusmi_group *group = member->group;

    rusmi_list_remove(&member->news);
    group->news--;
    if (member->left) {
        bag->member = member;
        rusmi_group_tidy(groups, group, bag);
    }
}

static struct rusmi_member *news_first(struct rusmi_groups *groups)
{
    return rusmi_list_empty(&groups->news)
               ? NULL
               : rusmi_container(groups->news.next, struct rusmi_member, news);
}

/* Take one change; false if there is none. */
static bool take_one(struct rusmi_groups *groups, rusm_group_change *change,
                     struct rusmi_luggage *bag)
{
    struct rusmi_member *member = news_first(groups);

    if (member == NULL) {
        return false;
    }
    memcpy(change->group, member->group->name, member->group->name_len + 1);
    change->serial = member->pid.serial;
    change->joined = !member->told;
    if (member->told || !member->left) {
        news_pop(groups, member, bag);
    }
    member->told = true;
    return true;
}

size_t rusm_runtime_group_take(rusm_runtime *rt, rusm_group_change *changes, size_t changes_max)
{
    struct rusmi_groups *groups = &rt->groups;
    size_t count = 0;
    bool more = true;

    while (more && count < changes_max) {
        struct rusmi_luggage bag = {.wanted = 0};

        rusmi_lock_take(&groups->lock);
        more = take_one(groups, &changes[count], &bag);
        rusmi_lock_give(&groups->lock);
        rusmi_luggage_fini(&bag, rt);
        count += more ? 1 : 0;
    }
    return count;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

/* All present local members are news. Under the lock. */
static void tell_all(struct rusmi_groups *groups, uint64_t incarnation, struct rusmi_luggage *bag)
{
    rusmi_map_each(&groups->members, entry, position, following)
    {
        const struct rusmi_group_key *key = entry->key;

        if (key->incarnation == incarnation) {
            struct rusmi_member *member = rusmi_container(entry, struct rusmi_member, entry);

            member->told = false;
            if (rusmi_list_empty(&member->news)) {
                news_push(groups, member, bag);
            }
        }
    }
}

static void stop(rusm_runtime *rt)
{
    struct rusmi_groups *groups = &rt->groups;
    bool more = true;

    while (more) {
        struct rusmi_luggage bag = {.wanted = 0};
        struct rusmi_member *member;
        struct rusmi_map_entry *node = NULL;
        size_t position = 0;
        uint64_t incarnation = 0;

        rusmi_lock_take(&groups->lock);
        groups->followed = false;
        member = news_first(groups);
        if (member != NULL) {
            member->told = false;
            news_pop(groups, member, &bag);
        } else {
            struct rusmi_map_entry *next;

            node = rusmi_map_next(&groups->nodes, &position, NULL, &next);
            if (node != NULL) {
                incarnation = rusmi_container(node, struct rusmi_group_node, entry)->incarnation;
            }
        }
        rusmi_lock_give(&groups->lock);
        rusmi_luggage_fini(&bag, rt);
        if (incarnation != 0) {
            rusm_runtime_group_remote_drop(rt, incarnation);
        }
        more = member != NULL || node != NULL;
    }
}

void rusm_runtime_group_follow(rusm_runtime *rt, bool on)
{
    struct rusmi_groups *groups = &rt->groups;
    struct rusmi_luggage bag = {.wanted = 0};

    if (!on) {
        stop(rt);
        return;
    }
    rusmi_lock_take(&groups->lock);
    if (!groups->followed) {
        groups->followed = true;
        tell_all(groups, rt->incarnation, &bag);
    }
    rusmi_lock_give(&groups->lock);
    rusmi_luggage_fini(&bag, rt);
}

/* ---- shares, under the lock ------------------------------------------------------------------ */

static struct rusmi_group_node *find_node(struct rusmi_groups *groups, uint64_t incarnation)
{
    struct rusmi_map_entry *entry =
        rusmi_map_find(&groups->nodes, &incarnation, sizeof(incarnation));

    return entry == NULL ? NULL : rusmi_container(entry, struct rusmi_group_node, entry);
}

static struct rusmi_group_share *find_share(struct rusmi_groups *groups,
                                            const struct rusmi_group *group, uint64_t incarnation)
{
    struct rusmi_map_entry *entry =
        group == NULL ? NULL : rusmi_group_lookup(groups, group, incarnation, 0);

    return entry == NULL ? NULL : rusmi_container(entry, struct rusmi_group_share, entry);
}

static void node_put(struct rusmi_groups *groups, struct rusmi_group_node *node,
                     struct rusmi_luggage *bag)
{
    if (rusmi_list_empty(&node->members)) {
        rusmi_map_remove(&groups->nodes, &node->entry);
        bag->node = node;
    }
}

static void share_drop(struct rusmi_groups *groups, struct rusmi_group *group,
                       struct rusmi_group_share *share, struct rusmi_luggage *bag)
{
    rusmi_map_remove(&groups->members, &share->entry);
    rusmi_list_remove(&share->in_group);
    group->shares_len--;
    bag->share = share;
}

void rusmi_group_share_put(struct rusmi_groups *groups, struct rusmi_group *group,
                           struct rusmi_group_share *share, struct rusmi_luggage *bag)
{
    struct rusmi_group_node *node = share->node;

    share->members--;
    if (share->members == 0) {
        share_drop(groups, group, share, bag);
    }
    node_put(groups, node, bag);
}

/* The node of what is in the luggage. NULL without memory for the table. */
static struct rusmi_group_node *get_node(struct rusmi_groups *groups, uint64_t incarnation,
                                         struct rusmi_luggage *bag)
{
    struct rusmi_group_node *node = find_node(groups, incarnation);

    if (node != NULL) {
        return node;
    }
    node = bag->node;
    node->incarnation = incarnation;
    rusmi_list_init(&node->members);
    if (!rusmi_map_insert(&groups->nodes, &node->entry, &node->incarnation,
                          sizeof(node->incarnation))) {
        return NULL;
    }
    bag->node = NULL;
    return node;
}

static struct rusmi_group_share *get_share(struct rusmi_groups *groups, struct rusmi_group *group,
                                           uint64_t incarnation, struct rusmi_luggage *bag)
{
    struct rusmi_group_share *share = find_share(groups, group, incarnation);

    if (share != NULL) {
        return share;
    }
    share = bag->share;
    share->key = (struct rusmi_group_key){group, incarnation, 0};
    share->members = 0;
    share->node = get_node(groups, incarnation, bag);
    if (share->node == NULL) {
        return NULL;
    }
    if (!rusmi_map_insert(&groups->members, &share->entry, &share->key, sizeof(share->key))) {
        node_put(groups, share->node, bag);
        return NULL;
    }
    rusmi_list_init(&share->in_group);
    rusmi_list_push(&group->shares, &share->in_group);
    group->shares_len++;
    bag->share = NULL;
    return share;
}

/* ---- members --------------------------------------------------------------------------------- */

static bool add_to(struct rusmi_groups *groups, struct rusmi_group *group, rusm_pid pid,
                   struct rusmi_luggage *bag)
{
    struct rusmi_group_share *share = get_share(groups, group, pid.incarnation, bag);

    if (share == NULL) {
        return false;
    }
    bag->member->share = share;
    if (!rusmi_group_add(groups, group, &share->node->members, pid, bag)) {
        if (share->members == 0) {
            struct rusmi_group_node *node = share->node;

            share_drop(groups, group, share, bag);
            node_put(groups, node, bag);
        }
        return false;
    }
    share->members++;
    return true;
}

static enum rusmi_group_outcome try_add(struct rusmi_groups *groups, const char *name,
                                        size_t name_len, rusm_pid pid, struct rusmi_luggage *bag)
{
    struct rusmi_group *group = rusmi_group_find(groups, name, name_len);

    if (group != NULL && rusmi_group_lookup(groups, group, pid.incarnation, pid.serial) != NULL) {
        return RUSMI_GROUP_DONE;
    }
    bag->wanted = rusmi_group_wants(group);
    bag->wants_share = find_share(groups, group, pid.incarnation) == NULL;
    bag->wants_node = find_node(groups, pid.incarnation) == NULL;
    if (bag->msgs_len < bag->wanted || (group == NULL && bag->group == NULL) ||
        (bag->wants_share && bag->share == NULL) || (bag->wants_node && bag->node == NULL)) {
        return RUSMI_GROUP_AGAIN;
    }
    if (group == NULL) {
        group = rusmi_group_publish(groups, bag);
        if (group == NULL) {
            return RUSMI_GROUP_NOMEM;
        }
    }
    if (!add_to(groups, group, pid, bag)) {
        rusmi_group_tidy(groups, group, bag);
        return RUSMI_GROUP_NOMEM;
    }
    return RUSMI_GROUP_DONE;
}

rusm_err rusm_runtime_group_remote_add(rusm_runtime *rt, const char *group, size_t group_len,
                                       rusm_pid pid)
{
    struct rusmi_groups *groups = &rt->groups;
    struct rusmi_luggage bag = {.wanted = 0};
    enum rusmi_group_outcome outcome;

    if (pid.incarnation == rt->incarnation || pid.serial == 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "the process is not one of another node");
    }
    bag.member = rusmi_zalloc(sizeof(*bag.member));
    if (bag.member == NULL) {
        return rusmi_group_no_memory();
    }
    rusmi_list_init(&bag.member->in_owner);
    rusmi_list_init(&bag.member->news);
    do {
        rusmi_lock_take(&groups->lock);
        outcome = try_add(groups, group, group_len, pid, &bag);
        rusmi_lock_give(&groups->lock);
        if (outcome == RUSMI_GROUP_AGAIN && !rusmi_luggage_pack(&bag, group, group_len)) {
            outcome = RUSMI_GROUP_NOMEM;
        }
    } while (outcome == RUSMI_GROUP_AGAIN);
    rusmi_luggage_fini(&bag, rt);
    return outcome == RUSMI_GROUP_DONE ? RUSM_OK : rusmi_group_no_memory();
}

void rusm_runtime_group_remote_del(rusm_runtime *rt, const char *group, size_t group_len,
                                   rusm_pid pid)
{
    struct rusmi_groups *groups = &rt->groups;
    struct rusmi_luggage bag = {.wanted = 0};
    struct rusmi_map_entry *entry = NULL;
    struct rusmi_group *found;

    if (pid.incarnation == rt->incarnation || pid.serial == 0) {
        return;
    }
    rusmi_lock_take(&groups->lock);
    found = rusmi_group_find(groups, group, group_len);
    if (found != NULL) {
        entry = rusmi_group_lookup(groups, found, pid.incarnation, pid.serial);
    }
    if (entry != NULL) {
        rusmi_group_remove(groups, rusmi_container(entry, struct rusmi_member, entry), &bag);
    }
    rusmi_lock_give(&groups->lock);
    rusmi_luggage_fini(&bag, rt);
}

/* True: there is none left. */
static bool drop_one(struct rusmi_groups *groups, uint64_t incarnation, struct rusmi_luggage *bag)
{
    struct rusmi_group_node *node = find_node(groups, incarnation);

    if (node == NULL) {
        return true;
    }
    rusmi_group_remove(groups, rusmi_container(node->members.next, struct rusmi_member, in_owner),
                       bag);
    return bag->node != NULL; /* it goes with its last member */
}

bool rusm_runtime_group_remote_drop_some(rusm_runtime *rt, uint64_t incarnation, size_t members_max)
{
    struct rusmi_groups *groups = &rt->groups;
    bool done = false;

    for (size_t i = 0; i < members_max && !done; i++) {
        struct rusmi_luggage bag = {.wanted = 0};

        rusmi_lock_take(&groups->lock);
        done = drop_one(groups, incarnation, &bag);
        rusmi_lock_give(&groups->lock);
        rusmi_luggage_fini(&bag, rt);
    }
    return done;
}

void rusm_runtime_group_remote_drop(rusm_runtime *rt, uint64_t incarnation)
{
    (void)rusm_runtime_group_remote_drop_some(rt, incarnation, SIZE_MAX);
}
