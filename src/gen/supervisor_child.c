/* SPDX-License-Identifier: MIT */
/*
 * The children of a supervisor: the list in start order, the tables by pid and by id, the heap of
 * those that wait, and how one is started and stopped (supervisor.h has the states).
 *
 * Runs in the supervisor's process alone. Nothing here looks through all children for one: a
 * simple_one_for_one supervisor may have a hundred thousand. Tables and heap grow when a child is
 * added, never when one ends or is restarted, so that a restart needs no memory but what a spawn
 * does.
 */
#include "gen/supervisor.h"

#include "base/assert.h"
#include "otp/process.h"

#include <rusm/otp/driver.h>
#include <rusm/otp/link.h>
#include <rusm/otp/memory.h>

#include <string.h>

#define NS_PER_MS      ((rusm_time)1000000)
#define TABLE_BITS_MIN 4
#define TABLE_BITS_MAX 40

/* ---- specs ----------------------------------------------------------------------------------- */

void rusmi_sup_spec_settle(struct rusmi_sup_spec *spec)
{
    const char *label = spec->text + spec->id_size;
    const char *name = label + spec->label_size;

    spec->id = spec->id_size == 0 ? "" : spec->text;
    spec->spawn.label = spec->label_size == 0 ? NULL : label;
    spec->spawn.name = spec->name_size == 0 ? NULL : name;
    spec->spawn.link = true;
}

struct rusmi_sup_spec *rusmi_sup_spec_copy(const struct rusmi_sup_spec *spec)
{
    struct rusmi_sup_spec *copy = rusm_alloc(spec->size);

    if (copy != NULL) {
        memcpy(copy, spec, spec->size);
        rusmi_sup_spec_settle(copy);
    }
    return copy;
}

/* ---- tables ---------------------------------------------------------------------------------- */

/* Fibonacci hashing: the best bits are the upper ones. */
static uint64_t hash_mix(uint64_t value)
{
    return value * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t hash_pid(rusm_pid pid)
{
    return hash_mix(pid.serial ^ (pid.serial >> 32));
}

/* FNV-1a: ids come from the program itself, not from peers. */
static uint64_t hash_id(const char *id)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (; *id != '\0'; id++) {
        hash = (hash ^ (unsigned char)*id) * UINT64_C(0x100000001b3);
    }
    return hash_mix(hash);
}

static struct rusmi_sup_node **table_bucket(const struct rusmi_sup_table *table, uint64_t hash)
{
    return &table->buckets[hash >> (64 - table->bits)];
}

/* Room for one more. False: there are no buckets at all. */
static bool table_reserve(struct rusmi_sup_table *table)
{
    unsigned bits = table->buckets == NULL ? TABLE_BITS_MIN : table->bits + 1;
    struct rusmi_sup_table wider = {.bits = bits, .len = table->len};

    if ((table->buckets != NULL && table->len < (size_t)1 << table->bits) ||
        bits > TABLE_BITS_MAX) {
        return true;
    }
    wider.buckets = rusm_zalloc(sizeof(*wider.buckets) << bits);
    if (wider.buckets == NULL) {
        return table->buckets != NULL;
    }
    for (size_t i = 0; table->buckets != NULL && i < (size_t)1 << table->bits; i++) {
        for (struct rusmi_sup_node *node = table->buckets[i], *next; node != NULL; node = next) {
            struct rusmi_sup_node **bucket = table_bucket(&wider, node->hash);

            next = node->next;
            node->next = *bucket;
            *bucket = node;
        }
    }
    rusm_free(table->buckets);
    *table = wider;
    return true;
}

static void table_insert(struct rusmi_sup_table *table, struct rusmi_sup_node *node, uint64_t hash)
{
    struct rusmi_sup_node **bucket = table_bucket(table, hash);

    node->hash = hash;
    node->next = *bucket;
    *bucket = node;
    table->len++;
}

static void table_remove(struct rusmi_sup_table *table, struct rusmi_sup_node *node)
{
    struct rusmi_sup_node **link = table_bucket(table, node->hash);

    while (*link != node) {
        link = &(*link)->next;
    }
    *link = node->next;
    table->len--;
}

struct rusmi_sup_child *rusmi_sup_child_by_pid(const struct rusmi_sup *sup, rusm_pid pid)
{
    if (sup->by_pid.len == 0) {
        return NULL;
    }
    for (struct rusmi_sup_node *node = *table_bucket(&sup->by_pid, hash_pid(pid)); node != NULL;
         node = node->next) {
        struct rusmi_sup_child *child = rusmi_container(node, struct rusmi_sup_child, by_pid);

        if (rusm_pid_equal(child->pid, pid)) {
            return child;
        }
    }
    return NULL;
}

struct rusmi_sup_child *rusmi_sup_child_by_id(const struct rusmi_sup *sup, const char *id)
{
    uint64_t hash = hash_id(id);

    if (sup->by_id.len == 0) {
        return NULL;
    }
    for (struct rusmi_sup_node *node = *table_bucket(&sup->by_id, hash); node != NULL;
         node = node->next) {
        struct rusmi_sup_child *child = rusmi_container(node, struct rusmi_sup_child, by_id);

        if (node->hash == hash && strcmp(child->spec->id, id) == 0) {
            return child;
        }
    }
    return NULL;
}

/* ---- the heap of those that wait ------------------------------------------------------------- */

static bool waits_reserve(struct rusmi_sup *sup)
{
    size_t cap = sup->waits_cap == 0 ? 16 : sup->waits_cap * 2;
    struct rusmi_sup_child **waits;

    if (sup->specs < sup->waits_cap) {
        return true;
    }
    waits = rusm_realloc(sup->waits, cap * sizeof(struct rusmi_sup_child *));
    if (waits == NULL) {
        return false;
    }
    sup->waits = waits;
    sup->waits_cap = cap;
    return true;
}

static void waits_put(struct rusmi_sup *sup, size_t at, struct rusmi_sup_child *child)
{
    sup->waits[at] = child;
    child->wait_index = at;
}

/* Put child at the place `at`, or above, or below it. */
static void waits_sift(struct rusmi_sup *sup, size_t at, struct rusmi_sup_child *child)
{
    while (at > 0 && sup->waits[(at - 1) / 2]->due_ns > child->due_ns) {
        waits_put(sup, at, sup->waits[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        size_t least = 2 * at + 1;

        if (least + 1 < sup->waits_len &&
            sup->waits[least + 1]->due_ns < sup->waits[least]->due_ns) {
            least++;
        }
        if (least >= sup->waits_len || sup->waits[least]->due_ns >= child->due_ns) {
            break;
        }
        waits_put(sup, at, sup->waits[least]);
        at = least;
    }
    waits_put(sup, at, child);
}

static void waits_remove(struct rusmi_sup *sup, struct rusmi_sup_child *child)
{
    size_t at = child->wait_index;
    struct rusmi_sup_child *last;

    sup->waits_len--;
    last = sup->waits[sup->waits_len];
    if (last != child) {
        waits_sift(sup, at, last);
    }
}

/* ---- the list -------------------------------------------------------------------------------- */

struct rusmi_sup_child *rusmi_sup_child_next(const struct rusmi_sup *sup,
                                             const struct rusmi_sup_child *child)
{
    struct rusmi_list *next = child == NULL ? sup->children.next : child->node.next;

    return next == &sup->children ? NULL : rusmi_container(next, struct rusmi_sup_child, node);
}

struct rusmi_sup_child *rusmi_sup_child_prev(const struct rusmi_sup *sup,
                                             const struct rusmi_sup_child *child)
{
    struct rusmi_list *prev = child == NULL ? sup->children.prev : child->node.prev;

    return prev == &sup->children ? NULL : rusmi_container(prev, struct rusmi_sup_child, node);
}

struct rusmi_sup_child *rusmi_sup_child_new(struct rusmi_sup *sup, struct rusmi_sup_spec *spec,
                                            void *arg)
{
    struct rusmi_sup_child *child;

    if (!table_reserve(&sup->by_pid) || (spec->id_size > 0 && !table_reserve(&sup->by_id)) ||
        !waits_reserve(sup)) {
        return NULL;
    }
    child = rusm_zalloc(sizeof(*child));
    if (child == NULL) {
        return NULL;
    }
    child->spec = spec;
    child->arg = arg;
    child->number = ++sup->number;
    rusmi_list_init(&child->ended);
    rusmi_list_push(&sup->children, &child->node);
    if (spec->id_size > 0) {
        table_insert(&sup->by_id, &child->by_id, hash_id(spec->id));
    }
    sup->specs++;
    sup->supervisors += spec->is_supervisor ? 1 : 0;
    return child;
}

void rusmi_sup_child_del(struct rusmi_sup *sup, struct rusmi_sup_child *child)
{
    rusmi_sup_child_rest(sup, child, CHILD_STOPPED);
    if (sup->page == child) {
        sup->page = rusmi_sup_child_next(sup, child);
    }
    rusmi_list_remove(&child->node);
    sup->specs--;
    sup->supervisors -= child->spec->is_supervisor ? 1 : 0;
    if (child->spec->id_size > 0) {
        table_remove(&sup->by_id, &child->by_id);
    }
    if (child->spec != sup->pattern) {
        rusm_free(child->spec);
    }
    rusm_free(child);
}

/* ---- states ---------------------------------------------------------------------------------- */

/* Take a child that does not run out of the queue that it is in. */
static void child_leave(struct rusmi_sup *sup, struct rusmi_sup_child *child)
{
    rusmi_assert(child->state != CHILD_RUNNING);
    if (child->state == CHILD_WAITING) {
        waits_remove(sup, child);
    }
    rusmi_list_remove(&child->ended); /* harmless if it is not in it */
}

void rusmi_sup_child_rest(struct rusmi_sup *sup, struct rusmi_sup_child *child,
                          enum rusmi_sup_state state)
{
    child_leave(sup, child);
    child->state = state;
}

void rusmi_sup_child_wait(struct rusmi_sup *sup, struct rusmi_sup_child *child, rusm_time due_ns)
{
    child_leave(sup, child);
    child->state = CHILD_WAITING;
    child->due_ns = due_ns;
    sup->waits_len++;
    waits_sift(sup, sup->waits_len - 1, child);
}

void rusmi_sup_child_ended(struct rusmi_sup *sup, struct rusmi_sup_child *child,
                           const rusm_reason *reason)
{
    rusmi_assert(child->state == CHILD_RUNNING);
    child->orderly = rusm_reason_is_orderly(reason);
    if (reason->kind == RUSM_REASON_NOPROC && child->exit_seen) {
        child->orderly = child->exit_orderly; /* it had ended before it could be monitored */
    }
    table_remove(&sup->by_pid, &child->by_pid);
    child->pid = RUSM_PID_NONE;
    child->state = CHILD_ENDED;
    rusmi_list_push(&sup->ended, &child->ended);
    sup->running--;
}

/* ---- starting -------------------------------------------------------------------------------- */

/* Run the child's own start function, and make sure that what it started is known to us. */
static rusm_err start_by_function(struct rusmi_sup *sup, struct rusmi_sup_child *child,
                                  rusm_pid *out_pid)
{
    rusm_pid pid = RUSM_PID_NONE;
    rusm_err err = child->spec->start(child->arg, &pid);

    if (err != RUSM_OK) {
        return err < 0 ? err : RUSM_EINVAL;
    }
    if (rusm_pid_equal(pid, sup->self) || rusm_pid_equal(pid, sup->parent) ||
        rusmi_sup_child_by_pid(sup, pid) != NULL) {
        return rusm_set_err_detail(RUSM_EINVAL,
                                   "child '%s': start gave a process that it can not have started",
                                   child->spec->id);
    }
    err = rusm_link(pid); /* a second link is none, so this costs nothing and makes sure */
    if (err == RUSM_OK) {
        err = rusm_monitor(pid, &child->ref);
    }
    if (err == RUSM_ENOMEM) { /* it has started, but can not be watched */
        (void)!rusm_unlink(pid);
        (void)!rusm_kill(pid);
    }
    *out_pid = pid;
    return err;
}

rusm_err rusmi_sup_child_start(struct rusmi_sup *sup, struct rusmi_sup_child *child)
{
    struct rusmi_sup_spec *spec = child->spec;
    rusm_pid pid;
    rusm_err err;

    rusmi_assert(child->state != CHILD_RUNNING);
    if (spec->start != NULL) {
        err = start_by_function(sup, child, &pid);
    } else {
        static const struct rusmi_spawn_more as_child = {.is_child = true};

        spec->spawn.out_ref = &child->ref;
        err = rusmi_spawn_more(NULL, spec->fn, child->arg, &spec->spawn, &as_child, &pid);
    }
    if (err != RUSM_OK) {
        return err;
    }
    child_leave(sup, child);
    child->state = CHILD_RUNNING;
    child->pid = pid;
    child->exit_seen = false;
    if (sup->backoff_min_ms > 0) {
        child->started_ns = rusm_now();
    }
    table_insert(&sup->by_pid, &child->by_pid, hash_pid(pid));
    sup->running++;
    return RUSM_OK;
}

/* ---- stopping -------------------------------------------------------------------------------- */

/* Ask a running child to end, or make it. */
static void child_signal(const struct rusmi_sup_child *child)
{
    rusm_reason shutdown = rusm_reason_make(RUSM_REASON_SHUTDOWN);

    /* Both may find that it has ended: then its down is on its way. */
    if (child->spec->shutdown_ms == 0 || rusm_exit_process(child->pid, &shutdown) == RUSM_ENOMEM) {
        (void)!rusm_kill(child->pid);
    }
}

/* How long until `end` (0: never) in milliseconds, rounded up; 0: it has passed. */
static int64_t time_left_ms(rusm_time end)
{
    rusm_time now;

    if (end == 0) {
        return RUSM_INFINITY;
    }
    now = rusm_now();
    return now >= end ? 0 : (int64_t)((end - now + NS_PER_MS - 1) / NS_PER_MS);
}

/* When a shutdown that begins now is over. */
static rusm_time shutdown_end(int64_t shutdown_ms)
{
    rusm_time now;

    if (shutdown_ms <= 0) {
        return 0; /* killed already, or never to be */
    }
    now = rusm_now();
    return (rusm_time)shutdown_ms > (UINT64_MAX - now) / NS_PER_MS
               ? 0
               : now + (rusm_time)shutdown_ms * NS_PER_MS;
}

void rusmi_sup_child_stop(struct rusmi_sup *sup, struct rusmi_sup_child *child,
                          enum rusmi_sup_state state)
{
    if (child->state == CHILD_RUNNING) {
        rusm_time end = shutdown_end(child->spec->shutdown_ms);

        child_signal(child);
        while (child->state == CHILD_RUNNING) {
            int64_t left_ms = time_left_ms(end);

            if (left_ms == 0) {
                (void)!rusm_kill(child->pid);
                end = 0;
            } else {
                (void)rusmi_sup_take(sup, left_ms);
            }
        }
    }
    rusmi_sup_child_rest(sup, child, state);
}

static void children_signal(const struct rusmi_sup *sup, bool kill)
{
    for (struct rusmi_sup_child *child = rusmi_sup_child_prev(sup, NULL); child != NULL;
         child = rusmi_sup_child_prev(sup, child)) {
        if (child->state != CHILD_RUNNING) {
            continue;
        }
        if (kill) {
            (void)!rusm_kill(child->pid);
        } else {
            child_signal(child);
        }
    }
}

/* All at once, with one shutdown for all. */
static void children_stop_together(struct rusmi_sup *sup)
{
    rusm_time end = shutdown_end(sup->pattern->shutdown_ms);

    children_signal(sup, false);
    while (sup->running > 0) {
        int64_t left_ms = time_left_ms(end);

        if (left_ms == 0) {
            children_signal(sup, true);
            end = 0;
        } else {
            (void)rusmi_sup_take(sup, left_ms);
        }
    }
}

void rusmi_sup_children_stop(struct rusmi_sup *sup)
{
    if (sup->pattern != NULL) {
        children_stop_together(sup);
        return;
    }
    for (struct rusmi_sup_child *child = rusmi_sup_child_prev(sup, NULL); child != NULL;
         child = rusmi_sup_child_prev(sup, child)) {
        rusmi_sup_child_stop(sup, child, CHILD_STOPPED);
    }
}
