/* SPDX-License-Identifier: MIT */
/*
 * Monitors, links and kills: exactly one down for each monitor, at most one exit for each link, one
 * at least if its other end is gone, the real reason, and no *noproc* or *noconnection* that is not
 * true.
 *
 * What is true is known, because all is in one OS process: whether a process has ended and why, and
 * which links are up. Where two nodes may honestly see things in another order, the rule is the
 * weaker one.
 */
#include "sim/sim.h"
#include "sim/sim_cover.h"

#include "base/assert.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct monitor {
    struct monitor *next;
    struct sim_proc *from, *to;
    rusm_ref ref;
    uint64_t session;  /* when it was made; 0: none */
    bool ended_before; /* what it watches had ended when it was made */
    bool down, taken_back;
};

/* Exits of one process that may come to another at a time, and are told apart. */
#define CREDITS_MAX 64u

/* A link as one of its ends sees it. */
struct side {
    struct side *next;
    struct sim_proc *from, *to;
    uint64_t credits[CREDITS_MAX]; /* exits that may come, oldest first: the session of each */
    unsigned credits_len;
    bool active;      /* a link was made, and neither taken away nor was its end heard of */
    bool must;        /* by `from`, and if `to` goes it must hear of it */
    uint64_t session; /* when it was made */
    uint64_t doubt;   /* the session on which the other end took it away, which may not have heard;
                         0: none */
};

struct kill {
    struct kill *next;
    const struct sim_proc *to;
    const struct sim_life *from;
    uint64_t session;
};

static struct monitor *monitors;
static struct side *sides;
static struct kill *kills;

/* The session of two processes' nodes; the life's own number if they are on one. */
static uint64_t session_of(const struct sim_proc *from, const struct sim_proc *to)
{
    if (!sim_is_modern(from->life, to->life)) {
        return 0; /* with version 1 nothing is tied to anything */
    }
    return from->life == to->life ? UINT64_MAX : sim_session(from->life, to->life);
}

/* It changed while a call was under way: nobody knows which one the call took. */
#define UNKNOWN (UINT64_MAX - 1)

static uint64_t settled(uint64_t before, uint64_t after)
{
    return before == after ? before : UNKNOWN;
}

/* ---- signals between nodes, for the trace ---------------------------------------------------- */

rusm_err __real_rusmi_signal_route(void *arg, const rusm_signal *signal);
rusm_err __wrap_rusmi_signal_route(void *arg, const rusm_signal *signal);
rusm_err __real_rusm_signal_deliver(rusm_runtime *rt, const rusm_signal *signal);
rusm_err __wrap_rusm_signal_deliver(rusm_runtime *rt, const rusm_signal *signal);

static void trace_signal(const char *what, const rusm_signal *signal)
{
    static const char *const kinds[] = {
        [RUSM_SIGNAL_LINK] = "link",
        [RUSM_SIGNAL_UNLINK] = "unlink",
        [RUSM_SIGNAL_UNLINKED] = "unlinked",
        [RUSM_SIGNAL_MONITOR] = "monitor",
        [RUSM_SIGNAL_DEMONITOR] = "demonitor",
        [RUSM_SIGNAL_EXIT] = "exit",
        [RUSM_SIGNAL_DOWN] = "down",
        [RUSM_SIGNAL_ASK_EXIT] = "ask exit",
        [RUSM_SIGNAL_BORN_LINKED] = "born linked",
        [RUSM_SIGNAL_BORN_WATCHED] = "born watched",
        [RUSM_SIGNAL_STOP] = "stop",
    };
    const struct sim_proc *from = sim_proc_find(signal->from), *to = sim_proc_find(signal->to);

    sim_trace("signal %s %s: %u to %u (%llu)", what, kinds[signal->kind],
              from == NULL ? 0 : from->id, to == NULL ? 0 : to->id,
              (unsigned long long)signal->number);
}

rusm_err __wrap_rusmi_signal_route(void *arg, const rusm_signal *signal)
{
    trace_signal("sent", signal);
    return __real_rusmi_signal_route(arg, signal);
}

rusm_err __wrap_rusm_signal_deliver(rusm_runtime *rt, const rusm_signal *signal)
{
    trace_signal("came", signal);
    return __real_rusm_signal_deliver(rt, signal);
}

/* ---- what a reason may say ------------------------------------------------------------------- */

static enum sim_class seen_as(const rusm_reason *reason, enum sim_class real, enum sim_class noproc,
                              enum sim_class cut)
{
    return reason->kind == RUSM_REASON_NOPROC         ? noproc
           : reason->kind == RUSM_REASON_NOCONNECTION ? cut
                                                      : real;
}

/* me hears of the end of `to`, tied to it since `session`. */
static void check_reason(const struct sim_proc *me, const struct sim_proc *to,
                         const rusm_reason *reason, uint64_t session, const char *what)
{
    uint64_t now = session_of(me, to);

    if (reason->kind == RUSM_REASON_NOPROC) {
        sim_check(to->ended, "%s: false noproc for process %u, which is alive", what, to->id);
        return;
    }
    if (reason->kind == RUSM_REASON_NOCONNECTION) {
        sim_check(me->life != to->life, "%s: noconnection on one node", what);
        sim_check(session == 0 || session != now,
                  "%s: noconnection for process %u, though link %llu is up", what, to->id,
                  (unsigned long long)session);
        sim_check_cut(to, me, session);
        return;
    }
    sim_check(to->ended, "%s: process %u is said to have ended, and is alive", what, to->id);
    sim_check(to->reason.kind == reason->kind && strcmp(to->reason.text, reason->text) == 0,
              "%s: process %u ended with %s, and is said to have with %s", what, to->id,
              rusm_reason_name(to->reason.kind), rusm_reason_name(reason->kind));
    sim_check_before_end(to, me, settled(session, now));
}

/* Whether `from`, tied to `to` since session, must have heard of its end by now. */
static bool must_have_heard(const struct sim_proc *from, const struct sim_proc *to,
                            uint64_t session)
{
    if (from->ended || from->life->cut) {
        return false;
    }
    return to->ended || to->life->cut || session == 0 ||
           (session != UNKNOWN && session != session_of(from, to));
}

/* ---- monitors -------------------------------------------------------------------------------- */

void sim_monitor(struct sim_proc *me, struct sim_proc *to)
{
    struct monitor *monitor = rusmi_zalloc(sizeof(*monitor));
    uint64_t session = session_of(me, to);
    bool ended = to->ended;
    rusm_ref ref;
    rusm_err err;

    rusmi_assert(monitor != NULL);
    err = rusm_monitor(to->pid, &ref);
    sim_trace("process %u monitors process %u: %s", me->id, to->id, rusm_err_name(err));
    if (err != RUSM_OK) {
        sim_check(me->life != to->life, "a monitor fails on one node: %s", rusm_err_name(err));
        rusmi_free(monitor);
        return;
    }
    *monitor = (struct monitor){.next = monitors,
                                .from = me,
                                .to = to,
                                .ref = ref,
                                .session = settled(session, session_of(me, to)),
                                .ended_before = ended};
    monitors = monitor;
}

void sim_demonitor(struct sim_proc *me)
{
    struct monitor *monitor = monitors;
    bool waited;

    while (monitor != NULL && (monitor->from != me || monitor->down || monitor->taken_back)) {
        monitor = monitor->next;
    }
    if (monitor == NULL) {
        return;
    }
    monitor->taken_back = true;
    waited = rusm_demonitor(monitor->ref, true);
    sim_seen(SIM_SEEN_DEMONITOR);
    sim_trace("process %u takes back its monitor of process %u: %d", me->id, monitor->to->id,
              waited);
}

void sim_down(struct sim_proc *me, const rusm_msg *msg)
{
    const rusm_reason *reason = rusm_msg_reason(msg);
    struct monitor *monitor = monitors;
    rusm_ref ref = rusm_msg_ref(msg);

    if (me->life->cut) {
        return;
    }
    while (monitor != NULL && (monitor->from != me || !rusm_ref_equal(monitor->ref, ref))) {
        monitor = monitor->next;
    }
    sim_check(monitor != NULL, "process %u: a down for no monitor", me->id);
    sim_trace("process %u: process %u is down: %s", me->id, monitor->to->id,
              rusm_reason_name(reason->kind));
    sim->totals.downs++;
    sim_seen(seen_as(reason, SIM_SEEN_DOWN, SIM_SEEN_DOWN_NOPROC, SIM_SEEN_DOWN_CUT));
    sim_check(!monitor->down, "process %u: two downs for one monitor of process %u", me->id,
              monitor->to->id);
    sim_check(!monitor->taken_back, "process %u: a down for a monitor that was taken back", me->id);
    sim_check(rusm_pid_equal(rusm_msg_sender(msg), monitor->to->pid),
              "process %u: the down of process %u comes from another", me->id, monitor->to->id);
    monitor->down = true;
    if (me->life == monitor->to->life && !monitor->ended_before) {
        sim_check(reason->kind != RUSM_REASON_NOPROC || monitor->to->ended,
                  "process %u: false noproc for process %u", me->id, monitor->to->id);
    }
    check_reason(me, monitor->to, reason, monitor->session, "down");
}

/* ---- asking to end --------------------------------------------------------------------------- */

/* The text of the reason is the place of the request in the ledger: it keeps the order of messages.
 */
#define ASKED_HEAD "asked "
#define ASKED_TEXT ASKED_HEAD "%u %llu"

void sim_ask_exit(struct sim_proc *me, struct sim_proc *to)
{
    uint8_t unused[SIM_MESSAGE_MIN];
    struct sim_ticket ticket = sim_sending(me, SIM_TO_PID, to, "", "", unused, sizeof(unused));
    rusm_reason reason =
        rusm_reason_crashed(ASKED_TEXT, ticket.id, (unsigned long long)ticket.number);
    rusm_err err = rusm_exit_process(to->pid, &reason);

    sim_trace("process %u asks process %u to end: %s", me->id, to->id, rusm_err_name(err));
    sim_sent(me, ticket, err);
}

/* Whether an exit is such a request. */
static bool was_asked(struct sim_proc *me, const rusm_msg *msg)
{
    const rusm_reason *reason = rusm_msg_reason(msg);
    size_t head = strlen(ASKED_HEAD);
    char *end;
    uint32_t pair;

    if (reason->kind != RUSM_REASON_CRASHED || strncmp(reason->text, ASKED_HEAD, head) != 0) {
        return false;
    }
    pair = (uint32_t)strtoul(reason->text + head, &end, 10);
    sim_arrived(me, rusm_msg_sender(msg), pair, strtoull(end, NULL, 10));
    sim_seen(SIM_SEEN_ASKED);
    return true;
}

/* ---- links ----------------------------------------------------------------------------------- */

static struct side *find_side(struct sim_proc *from, struct sim_proc *to)
{
    struct side *side = sides;

    while (side != NULL && (side->from != from || side->to != to)) {
        side = side->next;
    }
    if (side == NULL) {
        side = rusmi_zalloc(sizeof(*side));
        rusmi_assert(side != NULL);
        side->from = from;
        side->to = to;
        side->next = sides;
        sides = side;
    }
    return side;
}

/* One more exit may come. */
static void credit(struct side *side, uint64_t session)
{
    sim_check(side->credits_len < CREDITS_MAX, "process %u does not hear of process %u",
              side->from->id, side->to->id);
    side->credits[side->credits_len++] = session;
    side->session = session;
}

/*
 * One has come: the session that it may be about. Those that this end and the other asked for are
 * in no order, so of a lost link it is one that is lost; UNKNOWN if that may be several.
 */
static uint64_t take_credit(struct side *side, rusm_reason_kind kind)
{
    uint64_t now = session_of(side->from, side->to), session;
    unsigned at = 0;
    bool several = false;

    if (kind == RUSM_REASON_NOCONNECTION) {
        while (at + 1 < side->credits_len && side->credits[at] == now && now != 0) {
            at++;
        }
    }
    session = side->credits[at];
    for (unsigned i = 0; i < side->credits_len; i++) {
        several |= side->credits[i] != session;
    }
    side->credits_len--;
    memmove(side->credits + at, side->credits + at + 1,
            (side->credits_len - at) * sizeof(side->credits[0]));
    return several && session != now ? UNKNOWN : session;
}

void sim_link(struct sim_proc *me, struct sim_proc *to)
{
    struct side *mine = find_side(me, to), *other = find_side(to, me);
    uint64_t session = session_of(me, to);
    bool was = mine->active, must = mine->must;
    rusm_err err;

    /* Before: the other may hear of it, and end, before the call returns. */
    if (!mine->active || mine->session != session || session == 0 || to->ended) {
        credit(mine, session);
    }
    if (!other->active || !was || other->session != session) {
        credit(other, session);
    }
    mine->active = other->active = true;
    mine->session = session;
    /* If the other end's unlinking is still on its way, this call found the link as it was, and did
     * nothing; then the link goes. Who asked for a process and gave up unlinks it, too. */
    mine->must = (mine->doubt == 0 || mine->doubt != session) &&
                 (me->worker != NULL || !to->births || me->life == to->life);
    err = rusm_link(to->pid);
    mine->session = settled(session, session_of(me, to));
    if (mine->credits_len > 0 && mine->session == UNKNOWN) {
        mine->credits[mine->credits_len - 1] = UNKNOWN;
    }
    sim_trace("process %u links to process %u: %s", me->id, to->id, rusm_err_name(err));
    if (err != RUSM_OK) {
        sim_check(me->life != to->life, "a link fails on one node: %s", rusm_err_name(err));
        mine->must = must;
    }
}

void sim_unlink(struct sim_proc *me)
{
    struct side *side = sides, *other;

    while (side != NULL && (side->from != me || !side->active)) {
        side = side->next;
    }
    if (side == NULL) {
        return;
    }
    side->active = side->must = false;
    /* The other side's link goes as soon as it hears of it. */
    other = find_side(side->to, me);
    other->must = other->active = false;
    other->doubt = side->to->life == me->life ? 0 : session_of(me, side->to);
    sim_trace("process %u takes away its link to process %u", me->id, side->to->id);
    (void)!rusm_unlink(side->to->pid);
    sim_seen(SIM_SEEN_UNLINK);
}

void sim_exit(struct sim_proc *me, const rusm_msg *msg)
{
    const rusm_reason *reason = rusm_msg_reason(msg);
    struct sim_proc *from = sim_proc_find(rusm_msg_sender(msg));
    struct side *side;

    if (me->life->cut || was_asked(me, msg)) {
        return;
    }
    sim_check(from != NULL, "process %u: an exit of nobody", me->id);
    side = find_side(me, from);
    sim_trace("process %u: exit of process %u: %s", me->id, from->id,
              rusm_reason_name(reason->kind));
    sim->totals.exits++;
    sim_seen(seen_as(reason, SIM_SEEN_EXIT, SIM_SEEN_EXIT_NOPROC, SIM_SEEN_EXIT_CUT));
    if (side->credits_len == 0 && me->worker == NULL && from->births && !me->bereft) {
        /* It was born linked to who asked for it, who has not been told of it, or in vain. */
        me->bereft = true;
        credit(side, UNKNOWN);
    }
    if (side->credits_len == 0 && from->worker == NULL && from->begun_at <= me->gave_up_at &&
        (reason->kind == RUSM_REASON_NOCONNECTION || from->ended_at <= me->gave_up_at)) {
        credit(side, UNKNOWN); /* its exit had come when me gave up waiting for it */
    }
    sim_check(side->credits_len > 0, "process %u: one exit of process %u too many", me->id,
              from->id);
    check_reason(me, from, reason, take_credit(side, reason->kind), "exit");
    if (side->credits_len == 0) {
        side->active = false;
    }
    side->must = false;
}

void sim_check_broken(const struct sim_proc *me, const struct sim_life *peer, uint64_t session)
{
    for (const struct monitor *monitor = monitors; monitor != NULL; monitor = monitor->next) {
        sim_check(monitor->from != me || monitor->to->life != peer || monitor->down ||
                      monitor->taken_back || monitor->session != session,
                  "process %u heard that link %llu is lost before the down of process %u", me->id,
                  (unsigned long long)session, monitor->to->id);
    }
    for (const struct side *side = sides; side != NULL; side = side->next) {
        sim_check(side->from != me || side->to->life != peer || !side->must ||
                      side->session != session,
                  "process %u heard that link %llu is lost before the exit of process %u", me->id,
                  (unsigned long long)session, side->to->id);
    }
}

/* ---- births ---------------------------------------------------------------------------------- */

void sim_spawn(struct sim_proc *me, const struct sim_life *on, const char *factory,
               enum sim_birth birth, int64_t timeout_ms)
{
    const char *name = sim->nodes[on->index].name;
    uint64_t session = me->life == on ? UINT64_MAX : sim_session(me->life, on);
    rusm_err err = RUSM_OK;
    struct sim_proc *child;
    rusm_pid pid;
    rusm_ref ref;

    sim_trace("process %u spawns on %s (%d)", me->id, name, (int)birth);
    switch (birth) {
    case SIM_BORN_FREE:
        err = rusm_spawn_remote(NULL, name, factory, "", 0, timeout_ms, &pid);
        break;
    case SIM_BORN_LINKED:
        me->births = true;
        err = rusm_spawn_remote_link(NULL, name, factory, "", 0, timeout_ms, &pid);
        break;
    case SIM_BORN_MONITORED:
        err = rusm_spawn_remote_monitor(NULL, name, factory, "", 0, timeout_ms, &pid, &ref);
        break;
    }
    sim_trace("process %u spawned on %s: %s", me->id, name, rusm_err_name(err));
    sim_seen(err == RUSM_OK ? SIM_SEEN_SPAWN : SIM_SEEN_SPAWN_FAILED);
    if (err != RUSM_OK) {
        me->gave_up_at = rusm_test_now(sim->pool);
        return;
    }
    child = sim_proc_find(pid);
    sim_check(child != NULL, "process %u spawned a process that nobody knows", me->id);
    session = settled(session, session_of(me, child));
    if (birth == SIM_BORN_MONITORED) {
        struct monitor *monitor = rusmi_zalloc(sizeof(*monitor));

        rusmi_assert(monitor != NULL);
        *monitor = (struct monitor){
            .next = monitors, .from = me, .to = child, .ref = ref, .session = session};
        monitors = monitor;
    } else if (birth == SIM_BORN_LINKED) {
        struct side *mine = find_side(me, child);

        credit(mine, session);
        mine->active = mine->must = true;
        credit(find_side(child, me), session);
        find_side(child, me)->active = true;
    }
}

/* ---- kills ----------------------------------------------------------------------------------- */

void sim_kill(struct sim_proc *me, struct sim_proc *to)
{
    const struct sim_life *from = me->life;
    uint64_t session = session_of(me, to);
    struct kill *kill;
    rusm_err err = rusm_kill(to->pid);

    sim_seen(SIM_SEEN_KILL);

    sim_trace("process %u kills process %u: %s", me->id, to->id, rusm_err_name(err));
    sim_check(err != RUSM_ENOPROC || to->ended, "process %u: false noproc for process %u", me->id,
              to->id);
    if (err == RUSM_OK) {
        kill = rusmi_zalloc(sizeof(*kill));
        rusmi_assert(kill != NULL);
        *kill = (struct kill){
            .next = kills, .to = to, .from = from, .session = settled(session, session_of(me, to))};
        kills = kill;
    }
}

/* ---- at the end ------------------------------------------------------------------------------ */

const char *sim_check_ties(void)
{
    static char text[160];

    for (const struct monitor *monitor = monitors; monitor != NULL; monitor = monitor->next) {
        if (!monitor->down && !monitor->taken_back &&
            must_have_heard(monitor->from, monitor->to, monitor->session)) {
            (void)snprintf(text, sizeof(text), "process %u has no down for its monitor of %u",
                           monitor->from->id, monitor->to->id);
            return text;
        }
    }
    for (const struct side *side = sides; side != NULL; side = side->next) {
        if (side->must && must_have_heard(side->from, side->to, side->session)) {
            (void)snprintf(text, sizeof(text), "process %u has no exit for its link to %u",
                           side->from->id, side->to->id);
            return text;
        }
    }
    for (const struct kill *kill = kills; kill != NULL; kill = kill->next) {
        bool here = kill->from == kill->to->life;

        if (!kill->to->ended && !kill->from->cut && !kill->to->life->cut && kill->session != 0 &&
            (here || kill->session == sim_session(kill->from, kill->to->life))) {
            (void)snprintf(text, sizeof(text), "process %u was killed and lives", kill->to->id);
            return text;
        }
    }
    return NULL;
}

void sim_ties_stop(void)
{
    while (monitors != NULL) {
        struct monitor *monitor = monitors;

        monitors = monitor->next;
        rusmi_free(monitor);
    }
    while (sides != NULL) {
        struct side *side = sides;

        sides = side->next;
        rusmi_free(side);
    }
    while (kills != NULL) {
        struct kill *kill = kills;

        kills = kill->next;
        rusmi_free(kill);
    }
}
