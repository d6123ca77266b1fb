/* SPDX-License-Identifier: MIT */
#include "otp/group.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "otp/roll.h"
#include "otp/sched.h"
#include "otp/trace.h"

#include <rusm/otp/link.h>

#include <string.h>

/* What one turn under the lock does at most, of what may be many. */
#define STEP 64u

struct rusmi_group {
    struct rusmi_map_entry by_name;
    size_t place; /* in the runtime's list */
    struct rusmi_roll roll;
    struct rusmi_list monitors; /* struct rusmi_group_monitor */
    size_t monitors_len;
    struct rusm_msg *leaves; /* at least one for each member and monitor */
    size_t leaves_len;
    size_t name_len;
    char name[];
};

struct member_key {
    const struct rusmi_group *group;
    uint64_t serial;
};

struct member {
    struct rusmi_map_entry entry; /* by key */
    struct member_key key;
    struct rusmi_list of_process; /* in its groups */
    struct rusmi_group *group;
    struct rusmi_roll_place place;
    rusm_pid pid;
};

struct rusmi_group_monitor {
    struct rusmi_map_entry entry; /* by number */
    uint64_t number;
    struct rusmi_process *proc; /* outlives it: see rusmi_groups_end() */
    struct rusmi_group *group;
    struct rusmi_list of_group;
    struct rusmi_group_monitor *next, **at; /* in its process's list */
};

/* What a call brings along, so that nothing is allocated under the lock; what it takes away, to
 * free it afterwards, is there too. */
struct luggage {
    struct rusmi_group *group;
    struct member *member;
    struct rusmi_group_monitor *monitor;
    struct rusmi_shared *name; /* the bytes of the messages */
    struct rusm_msg *msgs, *last;
    size_t msgs_len;
    size_t wanted;            /* so many are needed */
    struct rusmi_group *dead; /* a group that is in no table any more */
};

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
        rusmi_roll_fini(&group->roll);
        rusmi_free(group);
    }
}

static void luggage_fini(struct luggage *bag)
{
    free_msgs(bag->msgs);
    if (bag->name != NULL) {
        rusmi_shared_drop(bag->name);
    }
    group_free(bag->group);
    group_free(bag->dead);
    rusmi_free(bag->member);
    rusmi_free(bag->monitor);
}

static void bag_push(struct luggage *bag, struct rusm_msg *msg)
{
    msg->next = bag->msgs;
    if (bag->msgs == NULL) {
        bag->last = msg;
    }
    bag->msgs = msg;
    bag->msgs_len++;
}

static struct rusm_msg *bag_pop(struct luggage *bag)
{
    struct rusm_msg *msg = bag->msgs;

    bag->msgs = msg->next;
    bag->msgs_len--;
    return msg;
}

static struct rusmi_group *group_new(const char *name)
{
    size_t len = strlen(name);
    struct rusmi_group *group = rusmi_zalloc(sizeof(*group) + len + 1);

    if (group != NULL) {
        rusmi_list_init(&group->monitors);
        memcpy(group->name, name, len);
        group->name_len = len;
    }
    return group;
}

/* Pack what was found to be missing under the lock. False without memory. */
static bool pack(struct luggage *bag, const char *name)
{
    if (bag->group == NULL) {
        bag->group = group_new(name);
    }
    if (bag->name == NULL && bag->wanted != 0) {
        bag->name = rusmi_shared_new(name, strlen(name));
    }
    if (bag->group == NULL || (bag->name == NULL && bag->wanted != 0)) {
        return false;
    }
    while (bag->msgs_len < bag->wanted) {
        struct rusm_msg *msg;

        if (rusmi_msg_share(&msg, RUSM_MSG_LEAVE, bag->name) != RUSM_OK) {
            return false;
        }
        bag_push(bag, msg);
    }
    return true;
}

/* ---- the table, under its lock --------------------------------------------------------------- */

static struct rusmi_group *find(struct rusmi_groups *groups, const char *name)
{
    struct rusmi_map_entry *entry = rusmi_map_find(&groups->by_name, name, strlen(name));

    return entry == NULL ? NULL : rusmi_container(entry, struct rusmi_group, by_name);
}

static struct member *find_member(struct rusmi_groups *groups, const struct rusmi_group *group,
                                  uint64_t serial)
{
    const struct member_key key = {group, serial};
    struct rusmi_map_entry *entry = rusmi_map_find(&groups->members, &key, sizeof(key));

    return entry == NULL ? NULL : rusmi_container(entry, struct member, entry);
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

/* Put the group that the luggage has into the tables. False without memory. */
static bool add_group(struct rusmi_groups *groups, struct luggage *bag)
{
    struct rusmi_group *group = bag->group;

    if (!take_place(groups, group)) {
        return false;
    }
    if (!rusmi_map_insert(&groups->by_name, &group->by_name, group->name, group->name_len)) {
        give_place(groups, group);
        return false;
    }
    bag->group = NULL;
    return true;
}

/* A group goes with the last that needs it, and messages for which there are no pairs any more. */
static void tidy(struct rusmi_groups *groups, struct rusmi_group *group, struct luggage *bag)
{
    size_t needed = group->roll.len * group->monitors_len;

    if (group->roll.len == 0 && group->monitors_len == 0) {
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
    for (unsigned i = 0; i < STEP && group->leaves_len > needed; i++) {
        struct rusm_msg *msg = group->leaves;

        group->leaves = msg->next;
        group->leaves_len--;
        bag_push(bag, msg);
    }
}

/* Tell one who monitors. */
static void tell(const struct rusmi_group_monitor *monitor, struct rusm_msg *msg,
                 rusm_msg_kind kind, rusm_pid pid)
{
    struct rusmi_process *proc = monitor->proc;

    msg->next = NULL;
    msg->kind = (unsigned)kind & 0xff;
    msg->sender = pid;
    msg->ref = monitor->number;
    switch (rusmi_push_to(proc, proc->own_serial, msg)) {
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

static void remove_member(struct rusmi_groups *groups, struct member *member, struct luggage *bag)
{
    struct rusmi_group *group = member->group;

    rusmi_roll_remove(&group->roll, &member->place);
    rusmi_map_remove(&groups->members, &member->entry);
    rusmi_list_remove(&member->of_process);
    for (struct rusmi_list *node = group->monitors.next; node != &group->monitors;
         node = node->next) {
        struct rusm_msg *msg = group->leaves;

        group->leaves = msg->next;
        group->leaves_len--;
        tell(rusmi_container(node, struct rusmi_group_monitor, of_group), msg, RUSM_MSG_LEAVE,
             member->pid);
    }
    tidy(groups, group, bag);
}

static void remove_monitor(struct rusmi_groups *groups, struct rusmi_group_monitor *monitor,
                           struct luggage *bag)
{
    struct rusmi_group *group = monitor->group;

    rusmi_map_remove(&groups->monitors, &monitor->entry);
    rusmi_list_remove(&monitor->of_group);
    group->monitors_len--;
    *monitor->at = monitor->next;
    if (monitor->next != NULL) {
        monitor->next->at = monitor->at;
    }
    tidy(groups, group, bag);
}

/* The messages that a group has to have more, for that many members and monitors. */
static size_t missing(const struct rusmi_group *group, size_t members, size_t monitors)
{
    size_t needed = members * monitors, there = group == NULL ? 0 : group->leaves_len;

    return needed > there ? needed - there : 0;
}

/* ---- joining --------------------------------------------------------------------------------- */

/* Outcomes of a try under the lock beside those of the call. */
enum outcome {
    DONE,
    AGAIN, /* the luggage lacks what it now says is wanted */
    GONE,  /* no such process */
    NOMEM
};

/* Everything is there but memory for the tables. */
static enum outcome add_member(struct rusmi_groups *groups, struct rusmi_group *group,
                               struct rusmi_process *proc, rusm_pid pid, struct luggage *bag)
{
    struct member *member = bag->member;
    size_t lacking = missing(group, group->roll.len + 1, group->monitors_len);

    member->key = (struct member_key){group, pid.serial};
    member->group = group;
    member->pid = pid;
    if (!rusmi_roll_add(&group->roll, &member->place, ++groups->number, pid)) {
        return NOMEM;
    }
    if (!rusmi_map_insert(&groups->members, &member->entry, &member->key, sizeof(member->key))) {
        rusmi_roll_remove(&group->roll, &member->place);
        return NOMEM;
    }
    bag->member = NULL;
    rusmi_list_push(&proc->groups, &member->of_process);
    for (; lacking > 0; lacking--) {
        struct rusm_msg *msg = bag_pop(bag);

        msg->next = group->leaves;
        group->leaves = msg;
        group->leaves_len++;
    }
    for (struct rusmi_list *node = group->monitors.next; node != &group->monitors;
         node = node->next) {
        tell(rusmi_container(node, struct rusmi_group_monitor, of_group), bag_pop(bag),
             RUSM_MSG_JOIN, pid);
    }
    return DONE;
}

static enum outcome try_join(rusm_runtime *rt, const char *name, rusm_pid pid, struct luggage *bag)
{
    struct rusmi_groups *groups = &rt->groups;
    struct rusmi_process *proc = rusmi_process_find(rt->pool, pid.serial);
    struct rusmi_group *group = find(groups, name);
    enum outcome outcome;

    if (proc == NULL) {
        return GONE;
    }
    /* In this order: see the header. */
    atomic_store(&proc->grouped, 1);
    if (!rusmi_process_is(proc, pid)) {
        return GONE;
    }
    if (group != NULL && find_member(groups, group, pid.serial) != NULL) {
        return DONE;
    }
    if (group != NULL) {
        bag->wanted =
            group->monitors_len + missing(group, group->roll.len + 1, group->monitors_len);
    }
    if (bag->msgs_len < bag->wanted || (group == NULL && bag->group == NULL)) {
        return AGAIN;
    }
    if (group == NULL) {
        group = bag->group;
        if (!add_group(groups, bag)) {
            return NOMEM;
        }
    }
    outcome = add_member(groups, group, proc, pid, bag);
    if (outcome != DONE) {
        tidy(groups, group, bag);
    }
    return outcome;
}

static rusm_err no_memory(void)
{
    return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
}

/* The runtime of a call, if that and the name are valid; else NULL and the error. */
static rusm_runtime *check(rusm_runtime *rt, const char *name, rusm_err *out_err)
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
    struct luggage bag = {.wanted = 0};
    enum outcome outcome;
    rusm_err err;

    rt = check(rt, name, &err);
    if (rt == NULL) {
        return err;
    }
    err = check_pid(rt, pid);
    if (err != RUSM_OK) {
        return err;
    }
    bag.member = rusmi_zalloc(sizeof(*bag.member));
    if (bag.member == NULL) {
        return no_memory();
    }
    rusmi_list_init(&bag.member->of_process);
    do {
        rusmi_lock_take(&rt->groups.lock);
        outcome = try_join(rt, name, pid, &bag);
        rusmi_lock_give(&rt->groups.lock);
        if (outcome == AGAIN && !pack(&bag, name)) {
            outcome = NOMEM;
        }
    } while (outcome == AGAIN);
    luggage_fini(&bag);
    if (outcome == GONE) {
        return rusm_set_err_detail(RUSM_ENOPROC, "%s", rusm_err_text(RUSM_ENOPROC));
    }
    return outcome == DONE ? RUSM_OK : no_memory();
}

rusm_err rusm_group_leave(rusm_runtime *rt, const char *name, rusm_pid pid)
{
    struct luggage bag = {.wanted = 0};
    struct rusmi_group *group;
    rusm_err err;

    rt = check(rt, name, &err);
    if (rt == NULL) {
        return err;
    }
    err = check_pid(rt, pid);
    if (err != RUSM_OK) {
        return err;
    }
    rusmi_lock_take(&rt->groups.lock);
    group = find(&rt->groups, name);
    bag.member = group == NULL ? NULL : find_member(&rt->groups, group, pid.serial);
    if (bag.member != NULL) {
        remove_member(&rt->groups, bag.member, &bag);
    } else {
        err = RUSM_ENONAME;
    }
    rusmi_lock_give(&rt->groups.lock);
    luggage_fini(&bag);
    return err == RUSM_OK
               ? RUSM_OK
               : rusm_set_err_detail(err, "the process is no member of the group %s", name);
}

/* One turn of the end: true if there is nothing left. */
static bool end_some(struct rusmi_process *proc)
{
    struct rusmi_groups *groups = &proc->runtime->groups;
    struct luggage bag = {.wanted = 0};
    bool done = false;

    rusmi_lock_take(&groups->lock);
    if (!rusmi_list_empty(&proc->groups)) {
        bag.member = rusmi_container(proc->groups.next, struct member, of_process);
        remove_member(groups, bag.member, &bag);
    } else if (proc->extra != NULL && proc->extra->group_monitors != NULL) {
        bag.monitor = proc->extra->group_monitors;
        remove_monitor(groups, bag.monitor, &bag);
    } else {
        done = true;
    }
    rusmi_lock_give(&groups->lock);
    luggage_fini(&bag);
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
static ptrdiff_t copy_all(const struct rusmi_group *group, rusm_pid *pids, size_t pids_max)
{
    uint64_t after = 0;

    if (group == NULL) {
        return 0;
    }
    (void)rusmi_roll_copy(&group->roll, &after, UINT64_MAX, pids, pids_max);
    return (ptrdiff_t)group->roll.len;
}

static rusm_err no_room(void)
{
    return rusm_set_err_detail(RUSM_EINVAL, "there is nowhere to put the members");
}

ptrdiff_t rusm_group_members(rusm_runtime *rt, const char *name, rusm_pid *pids, size_t pids_max)
{
    ptrdiff_t count;
    rusm_err err;

    rt = check(rt, name, &err);
    if (rt == NULL) {
        return err;
    }
    if (pids == NULL && pids_max != 0) {
        return no_room();
    }
    rusmi_lock_take(&rt->groups.lock);
    count = copy_all(find(&rt->groups, name), pids, pids_max);
    rusmi_lock_give(&rt->groups.lock);
    return count;
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
        for (unsigned i = 0; i < STEP && count < names_max && place < rt->groups.places_len; i++) {
            const struct rusmi_group *group = rt->groups.places[place++].group;

            if (group != NULL && group->roll.len != 0) {
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

static enum outcome try_monitor(rusm_runtime *rt, const char *name, struct luggage *bag)
{
    struct rusmi_groups *groups = &rt->groups;
    struct rusmi_group *group = find(groups, name);
    struct rusmi_group_monitor *monitor = bag->monitor;

    if (group != NULL) {
        bag->wanted = missing(group, group->roll.len, group->monitors_len + 1);
    }
    if (bag->msgs_len < bag->wanted || (group == NULL && bag->group == NULL)) {
        return AGAIN;
    }
    if (!rusmi_map_insert(&groups->monitors, &monitor->entry, &monitor->number,
                          sizeof(monitor->number))) {
        return NOMEM;
    }
    if (group == NULL) {
        group = bag->group;
        if (!add_group(groups, bag)) {
            rusmi_map_remove(&groups->monitors, &monitor->entry);
            return NOMEM;
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
    return DONE;
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
    struct luggage bag = {.wanted = 0};
    struct rusmi_group_monitor *monitor;
    enum outcome outcome;
    ptrdiff_t count = 0;
    rusm_ref ref;
    rusm_err err;
    rusm_runtime *rt = check(NULL, name, &err);

    if (rt == NULL) {
        return err;
    }
    if ((pids == NULL && pids_max != 0) || out_ref == NULL) {
        return no_room();
    }
    monitor = bag.monitor = rusmi_zalloc(sizeof(*monitor));
    if (monitor == NULL || rusmi_process_extra(self) == NULL) {
        luggage_fini(&bag);
        return no_memory();
    }
    ref = (rusm_ref){rt->incarnation, rusmi_ref_new()};
    monitor->number = ref.number;
    monitor->proc = self;
    rusmi_list_init(&monitor->of_group);
    do {
        rusmi_lock_take(&rt->groups.lock);
        outcome = try_monitor(rt, name, &bag);
        if (outcome == DONE) {
            own(self, monitor);
            count = copy_all(monitor->group, pids, pids_max);
        }
        rusmi_lock_give(&rt->groups.lock);
        if (outcome == AGAIN && !pack(&bag, name)) {
            outcome = NOMEM;
        }
    } while (outcome == AGAIN);
    luggage_fini(&bag);
    if (outcome != DONE) {
        return no_memory();
    }
    *out_ref = ref;
    return count;
}

void rusm_group_demonitor(rusm_ref ref)
{
    struct rusmi_process *self = rusmi_process_self();
    struct luggage bag = {.wanted = 0};
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
    luggage_fini(&bag);
}

/* ---- sending to all -------------------------------------------------------------------------- */

/* The next members, in joining order, whose joins have numbers above *after and up to `until`. */
static size_t next_members(rusm_runtime *rt, const char *name, uint64_t *after, uint64_t until,
                           rusm_pid *pids)
{
    const struct rusmi_group *group;
    size_t count = 0;

    if (*after < until) {
        rusmi_lock_take(&rt->groups.lock);
        group = find(&rt->groups, name);
        count = group == NULL ? 0 : rusmi_roll_copy(&group->roll, after, until, pids, STEP);
        rusmi_lock_give(&rt->groups.lock);
    }
    return count;
}

/* How many members there are, and the number of the last join that counts for this call. */
static size_t begin(rusm_runtime *rt, const char *name, uint64_t *out_until)
{
    const struct rusmi_group *group;
    size_t count;

    rusmi_lock_take(&rt->groups.lock);
    group = find(&rt->groups, name);
    count = group == NULL ? 0 : group->roll.len;
    *out_until = rt->groups.number;
    rusmi_lock_give(&rt->groups.lock);
    return count;
}

/* So many messages that show the bytes. False without memory. */
static bool make_copies(struct luggage *bag, size_t count, const void *data, size_t len,
                        rusm_pid sender)
{
    bag->name = rusmi_shared_new(data, len);
    if (bag->name == NULL) {
        return false;
    }
    while (bag->msgs_len < count) {
        struct rusm_msg *msg;

        if (rusmi_msg_share(&msg, RUSM_MSG_DATA, bag->name) != RUSM_OK) {
            return false;
        }
        msg->sender = sender;
        bag_push(bag, msg);
    }
    return true;
}

/* Hand one message to each of these members, as far as there are messages. Returns to how many. */
static size_t hand_out(rusm_runtime *rt, struct luggage *bag, const rusm_pid *pids, size_t len,
                       struct rusmi_process *self)
{
    size_t sent = 0, bytes = bag->name->len;

    for (size_t i = 0; i < len && bag->msgs != NULL; i++) {
        struct rusm_msg *msg = bag_pop(bag);

        msg->next = NULL;
        if (rusmi_deliver(rt, pids[i].serial, msg) != RUSM_OK) {
            bag_push(bag, msg); /* it has left, or wants nothing more: on to the next */
            continue;
        }
        sent++;
        if (self != NULL && rusmi_traced(self)) {
            rusmi_trace_send(self, pids[i], RUSM_MSG_DATA, bytes);
        }
    }
    return sent;
}

/*
 * Let others run, if so many sends have used up the caller's budget. It does not end here if it has
 * been killed, since there is luggage: it first sends what is left.
 */
static void give_way(struct rusmi_process *self, size_t sent)
{
    struct rusmi_worker *worker = rusmi_worker_self();

    if (self == NULL || self->is_thread) {
        return;
    }
    worker->budget -= (int)sent;
    if (worker->budget <= 0 || (self->pool->kit != NULL && rusmi_kit_interrupts(self->pool))) {
        atomic_store_explicit(&self->doing, RUSM_PROCESS_RUNNABLE,
                              memory_order_relaxed); /* relaxed: for lists */
        rusmi_sched_leave(self, RUSMI_LEAVE_YIELD);
    }
}

ptrdiff_t rusm_group_send(rusm_runtime *rt, const char *name, const void *data, size_t len)
{
    struct rusmi_process *self = rusmi_process_self();
    struct luggage bag = {.wanted = 0};
    rusm_pid pids[STEP];
    uint64_t after = 0, until;
    size_t count, sent = 0;
    rusm_err err;

    rt = check(rt, name, &err);
    if (rt == NULL) {
        return err;
    }
    if (data == NULL && len != 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "a message of %zu bytes needs bytes", len);
    }
    rusmi_checkpoint(); /* before anything is allocated */
    count = begin(rt, name, &until);
    if (count == 0) {
        return 0;
    }
    if (!make_copies(&bag, count, data, len, rusm_self())) {
        luggage_fini(&bag);
        return no_memory();
    }
    while (bag.msgs != NULL && (count = next_members(rt, name, &after, until, pids)) != 0) {
        count = hand_out(rt, &bag, pids, count, self);
        sent += count;
        give_way(self, count);
    }
    luggage_fini(&bag);
    rusm_bump_reductions(1);
    return (ptrdiff_t)sent;
}

ptrdiff_t rusm_group_terminate(rusm_runtime *rt, const char *name, const rusm_reason *reason)
{
    rusm_pid pids[STEP], self = rusm_self();
    uint64_t after = 0, until;
    size_t count, sent = 0;
    bool nomem = false, own_turn = false;
    rusm_err err;

    rt = check(rt, name, &err);
    if (rt == NULL) {
        return err;
    }
    if (reason == NULL || (unsigned)reason->kind > (unsigned)RUSM_REASON_STACK_OVERFLOW ||
        memchr(reason->text, '\0', sizeof(reason->text)) == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "an exit signal needs a reason");
    }
    (void)begin(rt, name, &until);
    while ((count = next_members(rt, name, &after, until, pids)) != 0) {
        for (size_t i = 0; i < count; i++) {
            if (rusm_pid_equal(pids[i], self)) {
                own_turn = true; /* after all others: it may end here */
                continue;
            }
            err = rusm_exit_process(pids[i], reason);
            sent += err == RUSM_OK ? 1 : 0;
            nomem = nomem || err == RUSM_ENOMEM;
        }
    }
    if (own_turn) {
        err = rusm_exit_process(self, reason);
        sent += err == RUSM_OK ? 1 : 0;
        nomem = nomem || err == RUSM_ENOMEM;
    }
    return nomem ? no_memory() : (ptrdiff_t)sent;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

void rusmi_groups_init(struct rusmi_groups *groups, uint64_t seed0, uint64_t seed1)
{
    rusmi_lock_init(&groups->lock);
    rusmi_map_init(&groups->by_name, seed0, seed1);
    rusmi_map_init(&groups->members, seed0, seed1);
    rusmi_map_init(&groups->monitors, seed0, seed1);
}

void rusmi_groups_fini(struct rusmi_groups *groups)
{
    rusmi_assert(groups->by_name.len == 0);
    rusmi_map_fini(&groups->by_name);
    rusmi_map_fini(&groups->members);
    rusmi_map_fini(&groups->monitors);
    rusmi_free(groups->places);
    rusmi_lock_fini(&groups->lock);
}
