/* SPDX-License-Identifier: MIT */
/*
 * Global names: who claims which. After the heal every node lists the same owners, each name has
 * one, it is alive and claims it, and whoever else claims it has been told.
 */
#include "sim/sim.h"
#include "sim/sim_cover.h"

#include "base/assert.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct claim {
    struct claim *next;
    struct sim_proc *proc;
    char name[SIM_NAME_LEN];
    bool holds; /* the call that made it has returned, and none that gives it up was made */
    bool told;  /* that it is another's */
    uint64_t sessions[SIM_NODES_MAX]; /* of its node when the call began */
};

static struct claim *claims;

static struct claim *find_claim(const struct sim_proc *proc, const char *name)
{
    struct claim *claim = claims;

    while (claim != NULL && (claim->proc != proc || strcmp(claim->name, name) != 0)) {
        claim = claim->next;
    }
    return claim;
}

void sim_registering(struct sim_proc *me, const char *name)
{
    struct claim *claim = find_claim(me, name);

    if (claim != NULL) {
        return;
    }
    claim = rusmi_zalloc(sizeof(*claim));
    rusmi_assert(claim != NULL);
    claim->proc = me;
    (void)snprintf(claim->name, sizeof(claim->name), "%s", name);
    for (unsigned i = 0; i < sim->options.nodes; i++) {
        struct sim_life *peer = sim->nodes[i].life;

        claim->sessions[i] = peer == NULL ? 0 : sim_session(me->life, peer);
    }
    claim->next = claims;
    claims = claim;
}

/*
 * Nobody else holds the name whose node has been linked with ours since before either call began:
 * it was asked, or would have been refused.
 */
static void check_alone(const struct claim *mine)
{
    for (const struct claim *claim = claims; claim != NULL; claim = claim->next) {
        const struct sim_proc *other = claim->proc;
        uint64_t session;

        if (claim == mine || !claim->holds || other->ended || other->life->cut ||
            other->life == mine->proc->life || !sim_is_modern(other->life, mine->proc->life) ||
            strcmp(claim->name, mine->name) != 0) {
            continue;
        }
        session = sim_session(mine->proc->life, other->life);
        sim_check(session == 0 || session != mine->sessions[other->life->index] ||
                      session != claim->sessions[mine->proc->life->index],
                  "%s is owned twice: all agreed that it is process %u's, but process %u has it",
                  mine->name, mine->proc->id, other->id);
    }
}

static void drop_claim(struct claim *claim)
{
    struct claim **at = &claims;

    while (*at != claim) {
        at = &(*at)->next;
    }
    *at = claim->next;
    rusmi_free(claim);
}

void sim_registered(struct sim_proc *me, const char *name, bool sync, rusm_err err)
{
    struct claim *claim = find_claim(me, name);

    rusmi_assert(claim != NULL);
    if (sync) {
        sim_seen(err == RUSM_OK ? SIM_SEEN_AGREED : SIM_SEEN_DISAGREED);
    } else if (err == RUSM_OK) {
        sim_seen(SIM_SEEN_CLAIM);
    }
    if (err == RUSM_OK) {
        claim->holds = true;
        if (sync) {
            check_alone(claim);
        }
    } else if (!claim->holds) {
        drop_claim(claim);
    }
}

void sim_unregistering(struct sim_proc *me, const char *name)
{
    struct claim *claim = find_claim(me, name);

    if (claim != NULL) {
        drop_claim(claim);
    }
}

void sim_conflict(struct sim_proc *me, const rusm_msg *msg)
{
    char name[SIM_NAME_LEN] = "";
    struct claim *claim;

    sim_check(rusm_msg_len(msg) < sizeof(name), "a conflict about a name that nobody has");
    memcpy(name, rusm_msg_data(msg), rusm_msg_len(msg));
    claim = find_claim(me, name);
    sim_trace("process %u lost %s", me->id, name);
    sim->totals.conflicts++;
    sim_seen(SIM_SEEN_CONFLICT);
    /* It may have been given up while the news was in the mailbox. */
    if (claim != NULL) {
        claim->told = true;
    }
}

void sim_names_stop(void)
{
    while (claims != NULL) {
        drop_claim(claims);
    }
}

/* ---- convergence ----------------------------------------------------------------------------- */

#define NAMES_MAX 256u

struct names {
    size_t len;
    rusm_name_info infos[NAMES_MAX];
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const rusm_name_info *)a)->name, ((const rusm_name_info *)b)->name);
}

static void list_names(struct sim_life *life, struct names *names)
{
    uint64_t cursor = 0;

    names->len = 0;
    do {
        ptrdiff_t got =
            rusm_name_list(life->node, &cursor, names->infos + names->len, NAMES_MAX - names->len);

        sim_check(got >= 0 && names->len < NAMES_MAX, "names can not be listed");
        names->len += (size_t)got;
    } while (cursor != 0);
    qsort(names->infos, names->len, sizeof(names->infos[0]), by_name);
}

/* Every name has one owner, which is alive and asked for it. */
static const char *check_names_of(const struct names *names)
{
    for (size_t i = 0; i < names->len; i++) {
        const rusm_name_info *info = &names->infos[i];
        const struct sim_proc *proc = sim_proc_find(info->pid);
        if (i > 0 && strcmp(names->infos[i - 1].name, info->name) == 0) {
            return "a name is listed twice";
        }
        if (proc == NULL || proc->ended || proc->life->cut) {
            return "a name belongs to a process that has ended";
        }
        if (find_claim(proc, info->name) == NULL) {
            return "a name belongs to a process that does not claim it";
        }
    }
    return NULL;
}

const char *sim_check_names(void)
{
    static struct names first, other;
    const struct sim_life *told = NULL;
    const char *why;

    for (unsigned i = 0; i < sim->options.nodes; i++) {
        struct names *names = told == NULL ? &first : &other;

        list_names(sim->nodes[i].life, names);
        if (told == NULL) {
            told = sim->nodes[i].life;
            why = check_names_of(names);
            if (why != NULL) {
                return why;
            }
            continue;
        }
        if (names->len != first.len) {
            return "two nodes know different names";
        }
        for (size_t n = 0; n < names->len; n++) {
            if (strcmp(names->infos[n].name, first.infos[n].name) != 0 ||
                !rusm_pid_equal(names->infos[n].pid, first.infos[n].pid)) {
                return "two nodes know different owners of a name";
            }
        }
    }
    for (const struct claim *claim = claims; claim != NULL; claim = claim->next) {
        size_t n = 0;

        if (claim->proc->ended || claim->proc->life->cut) {
            continue;
        }
        while (n < first.len && strcmp(first.infos[n].name, claim->name) != 0) {
            n++;
        }
        if (n == first.len) {
            return "a name that a living process claims has no owner";
        }
        if (!rusm_pid_equal(first.infos[n].pid, claim->proc->pid) && !claim->told) {
            return "a process has lost a name and was not told";
        }
    }
    return NULL;
}
