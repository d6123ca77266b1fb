/* SPDX-License-Identifier: MIT */
#include "otp/group_state.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "otp/trace.h"

#include <string.h>

/* ---- luggage --------------------------------------------------------------------------------- */

static void free_msgs(struct rusm_msg *msg)
{
    while (msg != NULL) {
        struct rusm_msg *next = msg->next;

        rusm_msg_del(msg);
        msg = next;
    }
}

static void group_free(struct rusmi_group *group)
{
    if (group != NULL) {
        free_msgs(group->leaves);
        rusmi_roll_fini(&group->local);
        rusmi_roll_fini(&group->remote);
        rusmi_free(group);
    }
}

void rusmi_luggage_fini(struct rusmi_luggage *bag, rusm_runtime *rt)
{
    free_msgs(bag->msgs);
    if (bag->shared != NULL) {
        rusmi_shared_drop(bag->shared);
    }
    group_free(bag->group);
    group_free(bag->dead);
    rusmi_free(bag->member);
    rusmi_free(bag->share);
    rusmi_free(bag->node);
    rusmi_free(bag->monitor);
    if (bag->news) {
        rusmi_route_groups_changed(rt);
    }
}

void rusmi_luggage_push(struct rusmi_luggage *bag, struct rusm_msg *msg)
{
    msg->next = bag->msgs;
    if (bag->msgs == NULL) {
        bag->last = msg;
    }
    bag->msgs = msg;
    bag->msgs_len++;
}

struct rusm_msg *rusmi_luggage_pop(struct rusmi_luggage *bag)
{
    struct rusm_msg *msg = bag->msgs;

    bag->msgs = msg->next;
    bag->msgs_len--;
    return msg;
}

static struct rusmi_group *group_new(const char *name, size_t len)
{
    struct rusmi_group *group = rusmi_zalloc(sizeof(*group) + len + 1);

    if (group != NULL) {
        rusmi_list_init(&group->monitors);
        rusmi_list_init(&group->shares);
        memcpy(group->name, name, len);
        group->name_len = len;
    }
    return group;
}

/* What only members of other nodes need. */
static bool pack_remote(struct rusmi_luggage *bag)
{
    if (bag->wants_share && bag->share == NULL) {
        bag->share = rusmi_zalloc(sizeof(*bag->share));
    }
    if (bag->wants_node && bag->node == NULL) {
        bag->node = rusmi_zalloc(sizeof(*bag->node));
    }
    return (!bag->wants_share || bag->share != NULL) && (!bag->wants_node || bag->node != NULL);
}

bool rusmi_luggage_pack(struct rusmi_luggage *bag, const char *name, size_t name_len)
{
    if (bag->group == NULL) {
        bag->group = group_new(name, name_len);
    }
    if (bag->shared == NULL && bag->wanted != 0) {
        bag->shared = rusmi_shared_new(name, name_len);
    }
    if (bag->group == NULL || (bag->shared == NULL && bag->wanted != 0) || !pack_remote(bag)) {
        return false;
    }
    while (bag->msgs_len < bag->wanted) {
        struct rusm_msg *msg;

        if (rusmi_msg_share(&msg, RUSM_MSG_LEAVE, bag->shared) != RUSM_OK) {
            return false;
        }
        rusmi_luggage_push(bag, msg);
    }
    return true;
}

/* ---- the table, under its lock --------------------------------------------------------------- */

struct rusmi_group *rusmi_group_find(struct rusmi_groups *groups, const char *name, size_t len)
{
    struct rusmi_map_entry *entry = rusmi_map_find(&groups->by_name, name, len);

    return entry == NULL ? NULL : rusmi_container(entry, struct rusmi_group, by_name);
}

struct rusmi_map_entry *rusmi_group_lookup(struct rusmi_groups *groups,
                                           const struct rusmi_group *group, uint64_t incarnation,
                                           uint64_t serial)
{
    const struct rusmi_group_key key = {group, incarnation, serial};

    return rusmi_map_find(&groups->members, &key, sizeof(key));
}

static struct rusmi_member *find_member(struct rusmi_groups *groups,
                                        const struct rusmi_group *group, rusm_pid pid)
{
    struct rusmi_map_entry *entry = rusmi_group_lookup(groups, group, pid.incarnation, pid.serial);

    return entry == NULL ? NULL : rusmi_container(entry, struct rusmi_member, entry);
}

static size_t members_of(const struct rusmi_group *group)
{
    return group->local.len + group->remote.len;
}

/* A place in the list; false without memory. */
static bool take_place(struct rusmi_groups *groups, struct rusmi_group *group)
{
    if (groups->place_free == 0) {
        if (groups->places_len == groups->places_cap) {
            size_t cap = groups->places_cap == 0 ? 8 : groups->places_cap * 2;
            struct rusmi_group_place *places =
                rusmi_realloc(groups->places, cap * sizeof(struct rusmi_group_place));

            if (places == NULL) {
                return false;
            }
            groups->places = places;
            groups->places_cap = cap;
        }
        groups->places[groups->places_len++] = (struct rusmi_group_place){.next_free = 0};
        groups->place_free = groups->places_len;
    }
    group->place = groups->place_free - 1;
    groups->place_free = groups->places[group->place].next_free;
    groups->places[group->place] = (struct rusmi_group_place){.group = group};
    return true;
}

static void give_place(struct rusmi_groups *groups, const struct rusmi_group *group)
{
    groups->places[group->place] = (struct rusmi_group_place){.next_free = groups->place_free};
    groups->place_free = group->place + 1;
}

struct rusmi_group *rusmi_group_publish(struct rusmi_groups *groups, struct rusmi_luggage *bag)
{
    struct rusmi_group *group = bag->group;

    if (!take_place(groups, group)) {
        return NULL;
    }
    if (!rusmi_map_insert(&groups->by_name, &group->by_name, group->name, group->name_len)) {
        give_place(groups, group);
        return NULL;
    }
    bag->group = NULL;
    return group;
}

void rusmi_group_tidy(struct rusmi_groups *groups, struct rusmi_group *group,
                      struct rusmi_luggage *bag)
{
    size_t needed = members_of(group) * group->monitors_len;

    if (members_of(group) == 0 && group->monitors_len == 0 && group->news == 0) {
        rusmi_map_remove(&groups->by_name, &group->by_name);
        give_place(groups, group);
        bag->dead = group;
        return;
    }
    if (needed == 0 && bag->msgs == NULL) {
        bag->msgs = group->leaves; /* all of them at once */
        group->leaves = NULL;
        group->leaves_len = 0;
    }
    for (unsigned i = 0; i < RUSMI_GROUP_STEP && group->leaves_len > needed; i++) {
        struct rusm_msg *msg = group->leaves;

        group->leaves = msg->next;
        group->leaves_len--;
        rusmi_luggage_push(bag, msg);
    }
}

/* Tell one who monitors. */
static void tell(const struct rusmi_group_monitor *monitor, struct rusm_msg *msg,
                 rusm_msg_kind kind, rusm_pid pid)
{
    struct rusmi_process *proc = monitor->proc;

#ifdef RUSMI_PLANT_GROUP_NEWS
    if (pid.serial % 4 == 1) {
        rusm_msg_del(msg);
        return;
    }
#endif
    msg->next = NULL;
    msg->kind = (unsigned)kind & 0xff;
    msg->sender = pid;
    msg->ref = monitor->number;
    if (pid.incarnation != proc->runtime->incarnation && rusmi_is_flooded(proc)) {
        (void)atomic_fetch_add(&proc->runtime->full, 1);
        rusm_msg_del(msg);
        return;
    }
    switch (pid.incarnation != proc->runtime->incarnation
                ? rusmi_push_far(proc, proc->own_serial, msg)
                : rusmi_push_to(proc, proc->own_serial, msg)) {
    case RUSMI_PUSHED_WAKE:
        rusmi_process_run_again(proc);
        break;
    case RUSMI_PUSHED:
        break;
    case RUSMI_PUSHED_OVER:
    case RUSMI_PUSHED_OVER_WAKE:
    case RUSMI_PUSH_GONE:
    case RUSMI_PUSH_FULL:
    case RUSMI_PUSH_SHED:
        rusmi_unreachable(); /* its mailbox is open, and these messages are not bounded */
    }
}

void rusmi_group_remove(struct rusmi_groups *groups, struct rusmi_member *member,
                        struct rusmi_luggage *bag)
{
    struct rusmi_group *group = member->group;
    struct rusmi_list *node;

    bag->member = member;
    rusmi_map_remove(&groups->members, &member->entry);
    rusmi_list_remove(&member->in_owner);
    if (member->share == NULL) {
        rusmi_roll_remove(&group->local, &member->place);
    } else {
        rusmi_roll_remove(&group->remote, &member->place);
    }
    for (node = group->monitors.next; node != &group->monitors; node = node->next) {
        struct rusm_msg *msg = group->leaves;

        group->leaves = msg->next;
        group->leaves_len--;
        tell(rusmi_container(node, struct rusmi_group_monitor, of_group), msg, RUSM_MSG_LEAVE,
             member->pid);
    }
    if (member->share == NULL) {
        rusmi_group_news_leave(groups, member, bag);
    } else {
        rusmi_group_share_put(groups, group, member->share, bag);
    }
    rusmi_group_tidy(groups, group, bag);
}

static void remove_monitor(struct rusmi_groups *groups, struct rusmi_group_monitor *monitor,
                           struct rusmi_luggage *bag)
{
    struct rusmi_group *group = monitor->group;

    rusmi_map_remove(&groups->monitors, &monitor->entry);
    rusmi_list_remove(&monitor->of_group);
    group->monitors_len--;
    *monitor->at = monitor->next;
    if (monitor->next != NULL) {
        monitor->next->at = monitor->at;
    }
    rusmi_group_tidy(groups, group, bag);
}

/* The messages that a group has to have more, for that many members and monitors. */
static size_t missing(const struct rusmi_group *group, size_t members, size_t monitors)
{
    size_t needed = members * monitors, there = group == NULL ? 0 : group->leaves_len;

    return needed > there ? needed - there : 0;
}

size_t rusmi_group_wants(const struct rusmi_group *group)
{
    return group == NULL
               ? 0
               : group->monitors_len + missing(group, members_of(group) + 1, group->monitors_len);
}

bool rusmi_group_add(struct rusmi_groups *groups, struct rusmi_group *group,
                     struct rusmi_list *owner, rusm_pid pid, struct rusmi_luggage *bag)
{
    struct rusmi_member *member = bag->member;
    struct rusmi_roll *roll = member->share == NULL ? &group->local : &group->remote;
    size_t lacking = missing(group, members_of(group) + 1, group->monitors_len);
    struct rusmi_list *node;

    member->key = (struct rusmi_group_key){group, pid.incarnation, pid.serial};
    member->group = group;
    member->pid = pid;
    if (!rusmi_roll_add(roll, &member->place, ++groups->number, pid)) {
        return false;
    }
    if (!rusmi_map_insert(&groups->members, &member->entry, &member->key, sizeof(member->key))) {
        rusmi_roll_remove(roll, &member->place);
        return false;
    }
    bag->member = NULL;
    rusmi_list_push(owner, &member->in_owner);
    for (; lacking > 0; lacking--) {
        struct rusm_msg *msg = rusmi_luggage_pop(bag);

        msg->next = group->leaves;
        group->leaves = msg;
        group->leaves_len++;
    }
    for (node = group->monitors.next; node != &group->monitors; node = node->next) {
        tell(rusmi_container(node, struct rusmi_group_monitor, of_group), rusmi_luggage_pop(bag),
             RUSM_MSG_JOIN, pid);
    }
    if (member->share == NULL) {
        rusmi_group_news_join(groups, member, bag);
    }
    return true;
}

/* ---- joining --------------------------------------------------------------------------------- */

static enum rusmi_group_outcome try_join(rusm_runtime *rt, const char *name, size_t name_len,
                                         rusm_pid pid, struct rusmi_luggage *bag)
{
    struct rusmi_groups *groups = &rt->groups;
    struct rusmi_process *proc = rusmi_process_find(rt->pool, pid.serial);
    struct rusmi_group *group = rusmi_group_find(groups, name, name_len);

    if (proc == NULL) {
        return RUSMI_GROUP_GONE;
    }
    /* In this order: see the header. */
    atomic_store(&proc->grouped, 1);
    if (!rusmi_process_is(proc, pid)) {
        return RUSMI_GROUP_GONE;
    }
    if (group != NULL && find_member(groups, group, pid) != NULL) {
        return RUSMI_GROUP_DONE;
    }
    bag->wanted = rusmi_group_wants(group);
    if (bag->msgs_len < bag->wanted || (group == NULL && bag->group == NULL)) {
        return RUSMI_GROUP_AGAIN;
    }
    if (group == NULL) {
        group = rusmi_group_publish(groups, bag);
        if (group == NULL) {
            return RUSMI_GROUP_NOMEM;
        }
    }
    if (!rusmi_group_add(groups, group, &proc->groups, pid, bag)) {
        rusmi_group_tidy(groups, group, bag);
        return RUSMI_GROUP_NOMEM;
    }
    return RUSMI_GROUP_DONE;
}

rusm_err rusmi_group_no_memory(void)
{
    return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
}

rusm_runtime *rusmi_group_check(rusm_runtime *rt, const char *name, rusm_err *out_err)
{
    rt = rusmi_runtime_resolve(rt);
    if (rt == NULL) {
        *out_err = RUSM_ENOCONTEXT;
        return NULL;
    }
    if (name == NULL || !rusmi_name_valid(name, strlen(name))) {
        *out_err = rusm_set_err_detail(RUSM_EINVAL,
                                       "the name of a group has 1 to %d bytes of UTF-8 without "
                                       "control characters",
                                       RUSM_NAME_MAX);
        return NULL;
    }
    return rt;
}

static rusm_err check_pid(const rusm_runtime *rt, rusm_pid pid)
{
    return pid.incarnation == rt->incarnation
               ? RUSM_OK
               : rusm_set_err_detail(RUSM_EINVAL, "the process does not belong to runtime %s",
                                     rt->name);
}

rusm_err rusm_group_join(rusm_runtime *rt, const char *name, rusm_pid pid)
{
    struct rusmi_luggage bag = {.wanted = 0};
    enum rusmi_group_outcome outcome;
    size_t name_len;
    rusm_err err;

    rt = rusmi_group_check(rt, name, &err);
    if (rt == NULL) {
        return err;
    }
    err = check_pid(rt, pid);
    if (err != RUSM_OK) {
        return err;
    }
    name_len = strlen(name);
    bag.member = rusmi_zalloc(sizeof(*bag.member));
    if (bag.member == NULL) {
        return rusmi_group_no_memory();
    }
    rusmi_list_init(&bag.member->in_owner);
    rusmi_list_init(&bag.member->news);
    do {
        rusmi_lock_take(&rt->groups.lock);
        outcome = try_join(rt, name, name_len, pid, &bag);
        rusmi_lock_give(&rt->groups.lock);
        if (outcome == RUSMI_GROUP_AGAIN && !rusmi_luggage_pack(&bag, name, name_len)) {
            outcome = RUSMI_GROUP_NOMEM;
        }
    } while (outcome == RUSMI_GROUP_AGAIN);
    rusmi_luggage_fini(&bag, rt);
    if (outcome == RUSMI_GROUP_GONE) {
        return rusm_set_err_detail(RUSM_ENOPROC, "%s", rusm_err_text(RUSM_ENOPROC));
    }
    return outcome == RUSMI_GROUP_DONE ? RUSM_OK : rusmi_group_no_memory();
}

rusm_err rusm_group_leave(rusm_runtime *rt, const char *name, rusm_pid pid)
{
    struct rusmi_luggage bag = {.wanted = 0};
    struct rusmi_member *member = NULL;
    struct rusmi_group *group;
    rusm_err err;

    rt = rusmi_group_check(rt, name, &err);
    if (rt == NULL) {
        return err;
    }
    err = check_pid(rt, pid);
    if (err != RUSM_OK) {
        return err;
    }
    rusmi_lock_take(&rt->groups.lock);
    group = rusmi_group_find(&rt->groups, name, strlen(name));
    member = group == NULL ? NULL : find_member(&rt->groups, group, pid);
    if (member != NULL) {
        rusmi_group_remove(&rt->groups, member, &bag);
    }
    rusmi_lock_give(&rt->groups.lock);
    rusmi_luggage_fini(&bag, rt);
    return member != NULL ? RUSM_OK
                          : rusm_set_err_detail(RUSM_ENONAME,
                                                "the process is no member of the group %s", name);
}

/* One turn of the end: true if there is nothing left. */
static bool end_some(struct rusmi_process *proc)
{
    struct rusmi_groups *groups = &proc->runtime->groups;
    struct rusmi_luggage bag = {.wanted = 0};
    bool done = false;

    rusmi_lock_take(&groups->lock);
    if (!rusmi_list_empty(&proc->groups)) {
        rusmi_group_remove(groups,
                           rusmi_container(proc->groups.next, struct rusmi_member, in_owner), &bag);
    } else if (proc->extra != NULL && proc->extra->group_monitors != NULL) {
        bag.monitor = proc->extra->group_monitors;
        remove_monitor(groups, bag.monitor, &bag);
    } else {
        done = true;
    }
    rusmi_lock_give(&groups->lock);
    rusmi_luggage_fini(&bag, proc->runtime);
    return done;
}

void rusmi_groups_end(struct rusmi_process *proc)
{
    if (atomic_load(&proc->grouped) == 0) {
        return;
    }
    while (!end_some(proc)) {
    }
    atomic_store(&proc->grouped, 0);
}

/* ---- looking --------------------------------------------------------------------------------- */

/* All members of one moment, as far as there is room. Under the lock. */
static ptrdiff_t copy_all(const struct rusmi_group *group, bool local, rusm_pid *pids,
                          size_t pids_max)
{
    uint64_t after = 0;
    size_t count;

    if (group == NULL) {
        return 0;
    }
    count = rusmi_roll_copy(&group->local, &after, UINT64_MAX, pids, pids_max);
    if (local) {
        return (ptrdiff_t)group->local.len;
    }
    if (count < pids_max) {
        after = 0;
        (void)rusmi_roll_copy(&group->remote, &after, UINT64_MAX, pids + count, pids_max - count);
    }
    return (ptrdiff_t)members_of(group);
}

static rusm_err no_room(void)
{
    return rusm_set_err_detail(RUSM_EINVAL, "there is nowhere to put the members");
}

static ptrdiff_t get_members(rusm_runtime *rt, const char *name, bool local, rusm_pid *pids,
                             size_t pids_max)
{
    ptrdiff_t count;
    rusm_err err;

    rt = rusmi_group_check(rt, name, &err);
    if (rt == NULL) {
        return err;
    }
    if (pids == NULL && pids_max != 0) {
        return no_room();
    }
    rusmi_lock_take(&rt->groups.lock);
    count = copy_all(rusmi_group_find(&rt->groups, name, strlen(name)), local, pids, pids_max);
    rusmi_lock_give(&rt->groups.lock);
    return count;
}

ptrdiff_t rusm_group_members(rusm_runtime *rt, const char *name, rusm_pid *pids, size_t pids_max)
{
    return get_members(rt, name, false, pids, pids_max);
}

ptrdiff_t rusm_group_local_members(rusm_runtime *rt, const char *name, rusm_pid *pids,
                                   size_t pids_max)
{
    return get_members(rt, name, true, pids, pids_max);
}

ptrdiff_t rusm_group_list(rusm_runtime *rt, uint64_t *cursor, char (*names)[RUSM_NAME_MAX + 1],
                          size_t names_max)
{
    size_t count = 0, place;
    bool more = true;

    rt = rusmi_runtime_resolve(rt);
    if (rt == NULL) {
        return RUSM_ENOCONTEXT;
    }
    if (cursor == NULL || names == NULL || names_max == 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "a list needs a cursor and room for names");
    }
    place = (size_t)*cursor;
    while (more && count < names_max) {
        rusmi_lock_take(&rt->groups.lock);
        for (unsigned i = 0;
             i < RUSMI_GROUP_STEP && count < names_max && place < rt->groups.places_len; i++) {
            const struct rusmi_group *group = rt->groups.places[place++].group;

            if (group != NULL && members_of(group) != 0) {
                memcpy(names[count++], group->name, group->name_len + 1);
            }
        }
        more = place < rt->groups.places_len;
        rusmi_lock_give(&rt->groups.lock);
    }
    *cursor = more ? place : 0;
    return (ptrdiff_t)count;
}

/* ---- monitors -------------------------------------------------------------------------------- */

static enum rusmi_group_outcome try_monitor(rusm_runtime *rt, const char *name,
                                            struct rusmi_luggage *bag)
{
    struct rusmi_groups *groups = &rt->groups;
    struct rusmi_group *group = rusmi_group_find(groups, name, strlen(name));
    struct rusmi_group_monitor *monitor = bag->monitor;

    if (group != NULL) {
        bag->wanted = missing(group, members_of(group), group->monitors_len + 1);
    }
    if (bag->msgs_len < bag->wanted || (group == NULL && bag->group == NULL)) {
        return RUSMI_GROUP_AGAIN;
    }
    if (!rusmi_map_insert(&groups->monitors, &monitor->entry, &monitor->number,
                          sizeof(monitor->number))) {
        return RUSMI_GROUP_NOMEM;
    }
    if (group == NULL) {
        group = rusmi_group_publish(groups, bag);
        if (group == NULL) {
            rusmi_map_remove(&groups->monitors, &monitor->entry);
            return RUSMI_GROUP_NOMEM;
        }
    }
    monitor->group = group;
    rusmi_list_push(&group->monitors, &monitor->of_group);
    group->monitors_len++;
    if (bag->msgs != NULL) {
        bag->last->next = group->leaves;
        group->leaves = bag->msgs;
        group->leaves_len += bag->msgs_len;
        bag->msgs = NULL;
        bag->msgs_len = 0;
    }
    bag->monitor = NULL;
    return RUSMI_GROUP_DONE;
}

/* Put it into its process's list, where the end of the process finds it. */
static void own(struct rusmi_process *self, struct rusmi_group_monitor *monitor)
{
    struct rusmi_process_extra *extra = self->extra;

    monitor->next = extra->group_monitors;
    monitor->at = &extra->group_monitors;
    if (monitor->next != NULL) {
        monitor->next->at = &monitor->next;
    }
    extra->group_monitors = monitor;
    atomic_store(&self->grouped, 1);
}

ptrdiff_t rusm_group_monitor(const char *name, rusm_ref *out_ref, rusm_pid *pids, size_t pids_max)
{
    struct rusmi_process *self = rusmi_process_self();
    struct rusmi_luggage bag = {.wanted = 0};
    struct rusmi_group_monitor *monitor;
    enum rusmi_group_outcome outcome;
    ptrdiff_t count = 0;
    rusm_ref ref;
    rusm_err err;
    rusm_runtime *rt = rusmi_group_check(NULL, name, &err);

    if (rt == NULL) {
        return err;
    }
    if ((pids == NULL && pids_max != 0) || out_ref == NULL) {
        return no_room();
    }
    monitor = bag.monitor = rusmi_zalloc(sizeof(*monitor));
    if (monitor == NULL || rusmi_process_extra(self) == NULL) {
        rusmi_luggage_fini(&bag, rt);
        return rusmi_group_no_memory();
    }
    ref = (rusm_ref){rt->incarnation, rusmi_ref_new()};
    monitor->number = ref.number;
    monitor->proc = self;
    rusmi_list_init(&monitor->of_group);
    do {
        rusmi_lock_take(&rt->groups.lock);
        outcome = try_monitor(rt, name, &bag);
        if (outcome == RUSMI_GROUP_DONE) {
            own(self, monitor);
            count = copy_all(monitor->group, false, pids, pids_max);
        }
        rusmi_lock_give(&rt->groups.lock);
        if (outcome == RUSMI_GROUP_AGAIN && !rusmi_luggage_pack(&bag, name, strlen(name))) {
            outcome = RUSMI_GROUP_NOMEM;
        }
    } while (outcome == RUSMI_GROUP_AGAIN);
    rusmi_luggage_fini(&bag, rt);
    if (outcome != RUSMI_GROUP_DONE) {
        return rusmi_group_no_memory();
    }
    *out_ref = ref;
    return count;
}

void rusm_group_demonitor(rusm_ref ref)
{
    struct rusmi_process *self = rusmi_process_self();
    struct rusmi_luggage bag = {.wanted = 0};
    struct rusmi_map_entry *entry;
    struct rusmi_groups *groups;

    if (self == NULL || ref.incarnation != self->runtime->incarnation) {
        return;
    }
    groups = &self->runtime->groups;
    rusmi_lock_take(&groups->lock);
    entry = rusmi_map_find(&groups->monitors, &ref.number, sizeof(ref.number));
    if (entry != NULL && rusmi_container(entry, struct rusmi_group_monitor, entry)->proc == self) {
        bag.monitor = rusmi_container(entry, struct rusmi_group_monitor, entry);
        remove_monitor(groups, bag.monitor, &bag);
    }
    rusmi_lock_give(&groups->lock);
    rusmi_luggage_fini(&bag, self->runtime);
}

/* ---- beginning and end ----------------------------------------------------------------------- */

void rusmi_groups_init(struct rusmi_groups *groups, uint64_t seed0, uint64_t seed1)
{
    rusmi_lock_init(&groups->lock);
    rusmi_map_init(&groups->by_name, seed0, seed1);
    rusmi_map_init(&groups->members, seed0, seed1);
    rusmi_map_init(&groups->monitors, seed0, seed1);
    rusmi_map_init(&groups->nodes, seed0, seed1);
    rusmi_list_init(&groups->news);
}

void rusmi_groups_fini(struct rusmi_groups *groups)
{
    rusmi_assert(groups->by_name.len == 0 && groups->nodes.len == 0);
    rusmi_map_fini(&groups->by_name);
    rusmi_map_fini(&groups->members);
    rusmi_map_fini(&groups->monitors);
    rusmi_map_fini(&groups->nodes);
    rusmi_free(groups->places);
    rusmi_lock_fini(&groups->lock);
}
