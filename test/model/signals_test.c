/* SPDX-License-Identifier: MIT */
/*
 * Processes that do random things to each other, beside the model of what they promise
 * (model/reference.h).
 *
 * All runs on a deterministic pool (rusm/test.h), so on one thread: each process tells the model
 * what it is about to do and does it, and nothing happens in between; afterwards it may be
 * interrupted, and is, at one in four of its calls. So the model is exact for every interleaving:
 * each message that is received, each result, each reason and each count is compared at once, and a
 * process that waits although something for it has come is found when nothing can run any more.
 *
 * Then the same on a pool of one scheduler thread, where processes hand over to each other and the
 * calls take their short ways (otp/hot.c): there, too, nothing happens between what is told to the
 * model and what is done. A process gives way only where it waits or yields, so there are fewer
 * interleavings, and no testing thread.
 *
 *     signals_test [seed [steps]]        or RUSM_SEED, RUSM_STEPS
 *
 * A failure prints the seed of its episode, the last calls, and the command that repeats it. What
 * it has caught is told in docs/design/signals.md.
 */
#include "model/reference.h"

#include "base/prng.h"
#include "otp/process.h"
#include "platform/tools.h"

#include <rusm/otp.h>
#include <rusm/otp/driver.h>
#include <rusm/test.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_DEFAULT (RUSMI_ASAN || RUSMI_TSAN ? 200000u : 2000000u)
#define STEPS_EPISODE 4000u
#define ACTORS_MAX    4096
/* Processes that live at once: in most episodes, and in each eighth, where they are much tied. */
#define ALIVE_FEW       14
#define ALIVE_MANY      90
#define REFS_MAX        6u
#define TRACE_LEN       48u
#define TRACE_LINE      120u
#define TEXTS           3u
#define ADVANCE_MS      50
#define QUIET_STEPS_MAX 1000000u
/* So often the keeper of an episode on a thread lets all others run, to be sure that all wait. */
#define QUIET_YIELDS 2000
#define WAIT_MS      60000
/* Each so many episodes one is run twice: the same seed must be the same run. */
#define TWICE_EVERY 25u
/* Each so many, one is run on a scheduler thread as well. */
#define REAL_EVERY 3u

struct actor {
    int id;
    rusm_pid pid;
    rusm_exit_watch watch;
    bool started, ended, is_thread;
    bool leaves; /* it ends by itself, for the reason below */
    struct ref_reason reason;
    bool waits; /* in a receive without end, of what this wish wants */
    int wish;
    uint64_t since;
    bool sleeps;
    bool named;
    rusm_mark mark;
    uint64_t ref_mark; /* the model's number of the mark */
};

struct monitor_ref {
    rusm_ref ref;
    int owner;
};

static struct {
    uint64_t seed;
    uint64_t steps_left, steps;
    rusm_pool *pool;
    rusm_runtime *rts[2];
    struct ref_model model;
    struct actor *actors[ACTORS_MAX];
    int actors_len, alive, alive_wanted;
    struct monitor_ref *refs; /* by the model's number */
    size_t refs_cap;
    struct actor *thread;
    bool is_real; /* not the deterministic pool */
    struct rusmi_prng prng;
    rusm_waiter *done;
    bool draining;
    uint64_t values;
    uint64_t digest;
    char trace[TRACE_LEN][TRACE_LINE];
    size_t trace_len;
} run;

/* ---- telling --------------------------------------------------------------------------------- */

static void trace(const char *format, ...) RUSM_PRINTF(1, 2);

static void trace(const char *format, ...)
{
    char *line = run.trace[run.trace_len++ % TRACE_LEN];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(line, TRACE_LINE, format, args);
    va_end(args);
    for (; *line != '\0'; line++) {
        run.digest = (run.digest ^ (unsigned char)*line) * UINT64_C(0x100000001b3);
    }
}

RUSM_NORETURN static void fail(const char *format, ...) RUSM_PRINTF(1, 2);

static void fail(const char *format, ...)
{
    size_t first = run.trace_len > TRACE_LEN ? run.trace_len - TRACE_LEN : 0;
    va_list args;

    for (size_t i = first; i < run.trace_len; i++) {
        (void)fprintf(stderr, "  %s\n", run.trace[i % TRACE_LEN]);
    }
    (void)fprintf(stderr, "FAILED: ");
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fprintf(stderr, "\nseed %llu%s, step %llu. Again with: signals_test %llu %u\n",
                  (unsigned long long)run.seed, run.is_real ? " on a thread" : "",
                  (unsigned long long)run.steps, (unsigned long long)run.seed, STEPS_EPISODE);
    (void)fflush(NULL);
    _Exit(EXIT_FAILURE);
}

#define check(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail(__VA_ARGS__);                                                                     \
        }                                                                                          \
    } while (0)

static uint64_t draw(uint64_t below)
{
    return run.is_real ? rusmi_prng_below(&run.prng, below) : rusm_test_random(run.pool, below);
}

static struct ref_proc *modelled(const struct actor *actor)
{
    return &run.model.procs[actor->id];
}

/* ---- reasons --------------------------------------------------------------------------------- */

static struct ref_reason some_reason(void)
{
    static const rusm_reason_kind kinds[] = {
        RUSM_REASON_NORMAL,       RUSM_REASON_NORMAL,  RUSM_REASON_SHUTDOWN, RUSM_REASON_NOPROC,
        RUSM_REASON_NOCONNECTION, RUSM_REASON_CRASHED, RUSM_REASON_FAULT,    RUSM_REASON_KILLED};
    struct ref_reason reason = {kinds[draw(sizeof(kinds) / sizeof(kinds[0]))], 0};

    if (reason.kind != RUSM_REASON_KILLED && draw(2) == 0) {
        reason.text = 1 + (uint32_t)draw(TEXTS);
    }
    return reason;
}

static rusm_reason real_reason(struct ref_reason reason)
{
    rusm_reason real = rusm_reason_make(reason.kind);

    if (reason.text != 0) {
        (void)snprintf(real.text, sizeof(real.text), "text %u", reason.text);
    }
    return real;
}

static void check_reason(const struct actor *by, const rusm_reason *real, struct ref_reason wanted)
{
    rusm_reason reason = real_reason(wanted);

    check(real != NULL && real->kind == reason.kind && strcmp(real->text, reason.text) == 0,
          "%d: reason %s (%s) and not %s (%s)", by->id,
          real == NULL ? "none" : rusm_reason_name(real->kind), real == NULL ? "" : real->text,
          rusm_reason_name(reason.kind), reason.text);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void do_look(struct actor *other);

static void ended(struct actor *actor)
{
    struct ref_proc *proc = modelled(actor);

    check(!actor->ended, "%d: ends twice", actor->id);
    actor->ended = true;
    run.alive--;
    check(proc->doomed || actor->leaves, "%d: ends without a cause", actor->id);
    if (proc->doomed) {
        actor->reason = proc->doom;
    }
    trace("%d: ends, %s %u", actor->id, rusm_reason_name(actor->reason.kind), actor->reason.text);
    ref_end(&run.model, actor->id, actor->reason);
}

/* An exit hook: nobody has heard of it yet, and it is still to be seen. */
static void on_end(void *arg)
{
    for (int i = 0; i < run.actors_len; i++) {
        if (!run.actors[i]->ended && draw(4) == 0) {
            do_look(run.actors[i]);
        }
    }
    ended(arg);
}

/* An exit watch: all have. One that was ended before it ever ran has no hook. */
static void on_ended(void *arg, rusm_pid pid, const rusm_reason *reason)
{
    struct actor *actor = arg;

    check(rusm_pid_equal(pid, actor->pid), "%d: a watch of another", actor->id);
    check(actor->ended == actor->started, "%d: its hook was not called", actor->id);
    if (!actor->ended) {
        ended(actor);
    }
    check_reason(actor, reason, actor->reason);
}

/* ---- messages -------------------------------------------------------------------------------- */

/* A wish: 0: anything; 1: what is no signal; 2: signals; 3, 4: data with odd or even numbers. */
static bool wanted_of(int wish, rusm_msg_kind kind, uint64_t value)
{
    switch (wish) {
    case 1:
        return kind == RUSM_MSG_DATA;
    case 2:
        return kind != RUSM_MSG_DATA;
    case 3:
    case 4:
        return kind == RUSM_MSG_DATA && (value & 1) == (uint64_t)(wish & 1);
    default:
        return true;
    }
}

static bool model_wants(const struct ref_msg *msg, int wish)
{
    return wanted_of(wish, msg->kind, msg->value);
}

static uint64_t value_of(const rusm_msg *msg)
{
    uint64_t value = 0;

    if (rusm_msg_len(msg) == sizeof(value)) {
        memcpy(&value, rusm_msg_data(msg), sizeof(value));
    }
    return value;
}

static bool real_wants(const rusm_msg *msg, void *arg)
{
    return wanted_of(*(const int *)arg, rusm_msg_get_kind(msg), value_of(msg));
}

/* Downs of one process to one other come in any order: take the right one from their row. */
static const struct ref_msg *right_down(const struct ref_msg *first, rusm_ref ref)
{
    for (const struct ref_msg *msg = first; msg != NULL; msg = msg->next) {
        if (msg->kind != RUSM_MSG_DOWN || msg->sender != first->sender) {
            break;
        }
        if (rusm_ref_equal(run.refs[msg->monitor].ref, ref)) {
            return msg;
        }
    }
    return first;
}

static void check_message(struct actor *self, const rusm_msg *msg, const struct ref_msg *wanted)
{
    rusm_pid sender = wanted->sender < 0 ? RUSM_PID_NONE : run.actors[wanted->sender]->pid;
    rusm_pid named;
    char name[32];

    check(rusm_msg_get_kind(msg) == wanted->kind, "%d: got kind %d from %llx, not %d from %d",
          self->id, (int)rusm_msg_get_kind(msg), (unsigned long long)rusm_msg_sender(msg).serial,
          (int)wanted->kind, wanted->sender);
    check(rusm_pid_equal(rusm_msg_sender(msg), sender), "%d: the sender of a message is not %d",
          self->id, wanted->sender);
    if (wanted->kind == RUSM_MSG_DATA) {
        check(rusm_msg_len(msg) == sizeof(uint64_t) && value_of(msg) == wanted->value,
              "%d: got %llu, not %llu", self->id, (unsigned long long)value_of(msg),
              (unsigned long long)wanted->value);
        check(rusm_msg_reason(msg) == NULL, "%d: data with a reason", self->id);
        return;
    }
    check_reason(self, rusm_msg_reason(msg), wanted->reason);
    check(rusm_msg_len(msg) == 0, "%d: a signal with bytes", self->id);
    if (wanted->kind == RUSM_MSG_DOWN) {
        check(rusm_ref_equal(rusm_msg_ref(msg), run.refs[wanted->monitor].ref),
              "%d: a down with a reference that is not %d's", self->id, wanted->monitor);
        check(!rusm_is_alive(sender), "%d: %d is alive after its down", self->id, wanted->sender);
        (void)snprintf(name, sizeof(name), "name %d", wanted->sender);
        check(rusm_whereis(run.rts[0], name, &named) == RUSM_ENONAME &&
                  rusm_whereis(run.rts[1], name, &named) == RUSM_ENONAME,
              "%d: %d has a name after its down", self->id, wanted->sender);
    }
}

static void got(struct actor *self, rusm_msg *msg, int wish, uint64_t since)
{
    const struct ref_msg *wanted = ref_find(&run.model, self->id, since, model_wants, wish);

    check(wanted != NULL, "%d: got a message of kind %d and there should be none", self->id,
          (int)rusm_msg_get_kind(msg));
    if (wanted->kind == RUSM_MSG_DOWN && rusm_msg_get_kind(msg) == RUSM_MSG_DOWN) {
        wanted = right_down(wanted, rusm_msg_ref(msg));
    }
    check_message(self, msg, wanted);
    trace("%d: got kind %d of %d, value %llu", self->id, (int)wanted->kind, wanted->sender,
          (unsigned long long)wanted->value);
    ref_take(&run.model, self->id, wanted);
    rusm_msg_del(msg);
}

static rusm_err receive(struct actor *self, int wish, bool since, int64_t timeout_ms)
{
    rusm_msg *msg;
    rusm_err err;

    self->wish = wish;
    self->since = since ? self->ref_mark : 0;
    self->waits = timeout_ms < 0;
    self->sleeps = timeout_ms > 0;
    if (since) {
        err = rusm_receive_since(self->mark, &msg, real_wants, &wish, timeout_ms);
    } else if (wish == 0) {
        err = rusm_receive(&msg, timeout_ms);
    } else {
        err = rusm_receive_match(&msg, real_wants, &wish, timeout_ms);
    }
    self->waits = self->sleeps = false;
    if (err == RUSM_OK) {
        got(self, msg, wish, self->since);
    } else if (err == RUSM_ETIMEOUT) {
        check(ref_find(&run.model, self->id, self->since, model_wants, wish) == NULL,
              "%d: a message did not come", self->id);
    } else {
        check(err == RUSM_EKILLED && self->is_thread && modelled(self)->doomed,
              "%d: receive returned %s", self->id, rusm_err_name(err));
    }
    return err;
}

static void do_receive(struct actor *self)
{
    int wish = draw(2) == 0 ? 0 : (int)draw(5);
    bool since = self->mark.number != 0 && draw(3) == 0;
    int64_t timeout_ms = self->is_thread || draw(2) == 0 ? 0
                         : draw(3) == 0 && !run.is_real  ? 1 + (int64_t)draw(ADVANCE_MS)
                                                         : RUSM_INFINITY;

    trace("%d: receive, wish %d, since %d, %lld ms", self->id, wish, since, (long long)timeout_ms);
    (void)receive(self, wish, since, timeout_ms);
}

static void do_mark(struct actor *self)
{
    trace("%d: mark", self->id);
    /* A mark of before is kept now and then, to be used when it has been replaced. */
    if (self->mark.number != 0 && draw(4) == 0) {
        (void)ref_mark(&run.model, self->id);
        (void)rusm_mailbox_mark();
        return;
    }
    self->ref_mark = ref_mark(&run.model, self->id);
    self->mark = rusm_mailbox_mark();
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* Mostly somebody who is alive, sometimes somebody long gone, sometimes oneself. */
static struct actor *some_actor(void)
{
    uint64_t first = run.is_real ? 1 : 0; /* not the keeper */
    struct actor *actor = run.actors[first + draw((uint64_t)run.actors_len - first)];

    for (int i = 0; i < 40 && actor->ended && draw(8) != 0; i++) {
        actor = run.actors[first + draw((uint64_t)run.actors_len - first)];
    }
    return actor;
}

static void do_send(struct actor *self, struct actor *other)
{
    uint64_t value = ++run.values;
    rusm_err err, wanted = ref_send(&run.model, self == NULL ? -1 : self->id, other->id, value);

    trace("%d: send %llu to %d", self == NULL ? -1 : self->id, (unsigned long long)value,
          other->id);
    err = rusm_send(other->pid, &value, sizeof(value));
    check(err == wanted, "send returned %s", rusm_err_name(err));
}

static void do_exit_process(struct actor *self, struct actor *other)
{
    struct ref_reason reason = some_reason();
    rusm_reason real = real_reason(reason);
    rusm_err err, wanted;

    trace("%d: exit %d, %s %u", self == NULL ? -1 : self->id, other->id,
          rusm_reason_name(reason.kind), reason.text);
    wanted = ref_exit(&run.model, self == NULL ? -1 : self->id, other->id, reason);
    err = rusm_exit_process(other->pid, &real);
    check(err == wanted, "exit_process returned %s", rusm_err_name(err));
}

static void do_kill(struct actor *self, struct actor *other)
{
    rusm_err err, wanted = ref_kill(&run.model, other->id);

    trace("%d: kill %d", self == NULL ? -1 : self->id, other->id);
    err = rusm_kill(other->pid);
    check(err == wanted, "kill returned %s", rusm_err_name(err));
}

static void do_link(struct actor *self, struct actor *other)
{
    trace("%d: link to %d", self->id, other->id);
    ref_link(&run.model, self->id, other->id);
    check(rusm_link(other->pid) == RUSM_OK, "link failed");
}

static void do_unlink(struct actor *self, struct actor *other)
{
    trace("%d: unlink %d", self->id, other->id);
    ref_unlink(&run.model, self->id, other->id);
    check(rusm_unlink(other->pid) == RUSM_OK, "unlink failed");
}

/* The place of a reference that is about to be made. */
static rusm_ref *new_ref(const struct actor *self, int number)
{
    if ((size_t)number >= run.refs_cap) {
        fail("more monitors than steps");
    }
    run.refs[number] = (struct monitor_ref){{0, 0}, self->id};
    return &run.refs[number].ref;
}

static void do_monitor(struct actor *self, struct actor *other)
{
    int number = ref_monitor(&run.model, self->id, other->id);

    trace("%d: monitor %d as %d", self->id, other->id, number);
    check(rusm_monitor(other->pid, new_ref(self, number)) == RUSM_OK, "monitor failed");
}

/* One of its own last references, mostly, dead ones too. */
static int some_monitor(const struct actor *self)
{
    int found = -1;

    for (int i = run.model.monitors; i-- > 0;) {
        if (run.refs[i].owner == self->id || draw(64) == 0) {
            found = i;
            if (draw(3) == 0) {
                break;
            }
        }
        if (i + 200 < run.model.monitors) {
            break;
        }
    }
    return found;
}

static void do_demonitor(struct actor *self)
{
    int number = some_monitor(self);
    bool flush = draw(2) == 0, wanted, result;

    if (number < 0) {
        return;
    }
    trace("%d: demonitor %d, flush %d", self->id, number, flush);
    wanted =
        run.refs[number].owner == self->id && ref_demonitor(&run.model, self->id, number, flush);
    result = rusm_demonitor(run.refs[number].ref, flush);
    check(result == wanted, "%d: demonitor said %d", self->id, result);
}

static void do_trap(struct actor *self)
{
    bool trap = draw(2) == 0, before = ref_trap(&run.model, self->id, trap);

    trace("%d: trap %d", self->id, trap);
    check(rusm_trap_exit(trap) == before, "%d: it trapped %d before", self->id, !before);
}

static void do_look(struct actor *other)
{
    rusm_process_info info;
    rusm_err err = rusm_process_get_info(other->pid, &info);
    const struct ref_proc *proc = modelled(other);

    check((err == RUSM_OK) == proc->alive, "%d: alive %d", other->id, err == RUSM_OK);
    check(rusm_is_alive(other->pid) == proc->alive, "%d: alive %d", other->id, !proc->alive);
    if (err == RUSM_OK) {
        /* The short way of receive takes a message out before it finds that it has to end. */
        check(info.mailbox_len == proc->len ||
                  (run.is_real && proc->doomed && info.mailbox_len + 1 == proc->len),
              "%d: %llu messages, not %zu", other->id, (unsigned long long)info.mailbox_len,
              proc->len);
        check(info.links == ref_links(&run.model, other->id), "%d: %llu links", other->id,
              (unsigned long long)info.links);
        check(info.monitors == ref_monitors(&run.model, other->id), "%d: %llu monitors", other->id,
              (unsigned long long)info.monitors);
        check(info.monitored_by == ref_monitored_by(&run.model, other->id), "%d: %llu monitor it",
              other->id, (unsigned long long)info.monitored_by);
        check(info.trap_exit == proc->trap, "%d: traps %d", other->id, info.trap_exit);
        check(info.dropped == proc->dropped, "%d: dropped %llu", other->id,
              (unsigned long long)info.dropped);
    }
}

/* ---- spawning -------------------------------------------------------------------------------- */

static void actor_main(void *arg);

static struct actor *actor_new(bool trap, size_t max, rusm_mailbox_policy policy)
{
    struct actor *actor = calloc(1, sizeof(*actor));

    check(actor != NULL && run.actors_len < ACTORS_MAX, "too many processes");
    actor->id = ref_spawn(&run.model, trap, max, policy);
    run.actors[run.actors_len++] = actor;
    run.alive++;
    return actor;
}

static void do_spawn(struct actor *self)
{
    rusm_spawn_config cfg;
    struct rusmi_spawn_more more = {.watch = NULL};
    struct actor *actor;
    char name[32];
    size_t rt = (size_t)draw(2);

    if (run.draining || run.actors_len == ACTORS_MAX) {
        return;
    }
    rusm_spawn_config_init(&cfg);
    cfg.trap_exit = draw(3) == 0;
    if (draw(3) == 0) {
        cfg.mailbox_max = 1 + (size_t)draw(4);
        cfg.mailbox_policy = (rusm_mailbox_policy)draw(3);
    }
    actor = actor_new(cfg.trap_exit, cfg.mailbox_max, cfg.mailbox_policy);
    if (draw(3) == 0) {
        (void)snprintf(name, sizeof(name), "name %d", actor->id);
        cfg.name = name;
    }
    cfg.link = self != NULL && draw(2) == 0;
    if (self != NULL && draw(2) == 0) {
        cfg.out_ref = new_ref(self, ref_monitor(&run.model, self->id, actor->id));
    }
    if (cfg.link) {
        ref_link(&run.model, self->id, actor->id);
    }
    trace("%d: spawn %d, link %d, monitor %d, trap %d, max %zu", self == NULL ? -1 : self->id,
          actor->id, cfg.link, cfg.out_ref != NULL, cfg.trap_exit, cfg.mailbox_max);
    actor->watch.fn = on_ended;
    actor->watch.arg = actor;
    more.watch = &actor->watch;
    check(rusmi_spawn_more(run.rts[rt], actor_main, actor, &cfg, &more, &actor->pid) == RUSM_OK,
          "spawn failed: %s", rusm_err_detail());
}

/* ---- actors ---------------------------------------------------------------------------------- */

RUSM_NORETURN static void do_end(struct actor *self)
{
    self->leaves = true;
    self->reason = some_reason();
    trace("%d: exits itself", self->id);
    if (self->reason.kind == RUSM_REASON_CRASHED && self->reason.text != 0) {
        rusm_crash("text %u", self->reason.text);
    }
    {
        rusm_reason real = real_reason(self->reason);

        rusm_exit_with(&real);
    }
}

/* What any process may do, one call of it. */
static void act(struct actor *self)
{
    uint64_t what = draw(100);
    struct actor *other = some_actor();

    run.steps++;
    run.steps_left -= run.steps_left > 0 ? 1 : 0;
    check(self->is_thread || !modelled(self)->doomed, "%d: runs, and should have ended", self->id);
    if (run.alive < run.alive_wanted && what < 30) {
        do_spawn(self);
    } else if (what < 32) {
        do_send(self, other);
    } else if (what < (run.alive_wanted == ALIVE_MANY ? 38 : 54)) {
        do_receive(self);
    } else if (what < 61) {
        do_link(self, other);
    } else if (what < 65) {
        do_unlink(self, other);
    } else if (what < 74) {
        do_monitor(self, other);
    } else if (what < 80) {
        do_demonitor(self);
    } else if (what < 84) {
        do_exit_process(self, other);
    } else if (what < 85) {
        do_kill(self, other);
    } else if (what < 89) {
        do_trap(self);
    } else if (what < 92) {
        do_mark(self);
    } else if (what < 97) {
        do_look(other);
    } else if (what < 99) {
        rusm_yield();
    } else if (!self->is_thread) {
        do_end(self);
    }
}

static void actor_main(void *arg)
{
    struct actor *self = arg;

    check(!modelled(self)->doomed, "%d: begins, and should have ended", self->id);
    check(rusm_pid_equal(rusm_self(), self->pid), "%d: its pid is another", self->id);
    self->started = true;
    check(rusm_at_exit(on_end, self, NULL) == RUSM_OK, "no hook");
    while (run.steps_left > 0) {
        act(self);
    }
    while (receive(self, 0, false, 0) == RUSM_OK) {
    }
    self->leaves = true;
    self->reason = (struct ref_reason){RUSM_REASON_NORMAL, 0};
}

/* ---- the testing thread, a process too ------------------------------------------------------- */

static void thread_enter(void)
{
    struct actor *actor = actor_new(false, 0, RUSM_MAILBOX_REFUSE);

    check(rusm_thread_enter(run.rts[draw(2)], "thread") == RUSM_OK, "thread_enter failed");
    actor->pid = rusm_self();
    actor->started = true;
    actor->is_thread = true;
    run.thread = actor;
}

static void thread_leave(void)
{
    struct actor *actor = run.thread;

    trace("%d: leaves", actor->id);
    actor->leaves = true;
    actor->reason = (struct ref_reason){RUSM_REASON_NORMAL, 0};
    ended(actor);
    rusm_thread_leave();
    run.thread = NULL;
}

static void thread_act(void)
{
    if (draw(20) == 0 || (modelled(run.thread)->doomed && draw(4) == 0)) {
        thread_leave();
        switch (draw(4)) {
        case 0:
            do_send(NULL, some_actor());
            break;
        case 1:
            do_exit_process(NULL, some_actor());
            break;
        case 2:
            do_spawn(NULL);
            break;
        default:
            break;
        }
        thread_enter();
        return;
    }
    act(run.thread);
}

/* ---- an episode ------------------------------------------------------------------------------ */

/* Nothing can run: each process that is alive waits, and for something that has not come. */
static void check_quiet(void)
{
    for (int i = 0; i < run.actors_len; i++) {
        const struct actor *actor = run.actors[i];

        if (actor->ended || actor->is_thread) {
            continue;
        }
        check(!modelled(actor)->doomed, "%d: was not ended", actor->id);
        check(actor->waits || actor->sleeps, "%d: does not run", actor->id);
        check(ref_find(&run.model, actor->id, actor->since, model_wants, actor->wish) == NULL,
              "%d: waits, and what it waits for has come", actor->id);
    }
}

static void let_time_pass(void)
{
    (void)rusm_test_advance(run.pool, 1 + (int64_t)draw(ADVANCE_MS));
    check_quiet();
}

static void episode_open(uint64_t seed)
{
    rusm_runtime_config cfg;
    rusm_pool_config pool_cfg;

    run.seed = seed;
    run.steps_left = STEPS_EPISODE;
    run.actors_len = run.alive = 0;
    run.alive_wanted = seed % 8 == 0 ? ALIVE_MANY : ALIVE_FEW;
    run.draining = false;
    run.values = run.trace_len = 0;
    run.digest = UINT64_C(0xcbf29ce484222325);
    ref_init(&run.model);
    run.refs_cap = STEPS_EPISODE * 2;
    run.refs = calloc(run.refs_cap, sizeof(struct monitor_ref));
    check(run.refs != NULL, "no memory");
    run.prng.state = seed;
    rusm_pool_config_init(&pool_cfg);
    pool_cfg.threads = 1;
    check((run.is_real ? rusm_pool_new(&run.pool, &pool_cfg)
                       : rusm_test_pool_new(&run.pool, seed, NULL)) == RUSM_OK,
          "no pool");
    for (int i = 0; i < 2; i++) {
        rusm_runtime_config_init(&cfg);
        cfg.pool = run.pool;
        cfg.name = i == 0 ? "one" : "two";
        check(rusm_runtime_new(&run.rts[i], &cfg) == RUSM_OK, "no runtime");
    }
}

static void check_stats(void)
{
    rusm_runtime_stats sum = {0}, stats;

    for (int i = 0; i < 2; i++) {
        check(rusm_runtime_get_stats(run.rts[i], &stats) == RUSM_OK, "no stats");
        sum.processes += stats.processes;
        sum.exited += stats.exited;
        sum.crashed += stats.crashed;
        sum.messages_unread += stats.messages_unread;
        sum.sends_noproc += stats.sends_noproc;
        sum.sends_full += stats.sends_full;
    }
    check(sum.processes == 0, "%llu processes are left", (unsigned long long)sum.processes);
    check(sum.exited == run.model.exited, "%llu have exited", (unsigned long long)sum.exited);
    check(sum.crashed == run.model.crashed, "%llu have crashed", (unsigned long long)sum.crashed);
    check(sum.messages_unread == run.model.unread ||
              (run.is_real && sum.messages_unread < run.model.unread),
          "%llu messages unread, not %llu", (unsigned long long)sum.messages_unread,
          (unsigned long long)run.model.unread);
    check(sum.sends_noproc == run.model.noproc, "%llu sends to nobody, not %llu",
          (unsigned long long)sum.sends_noproc, (unsigned long long)run.model.noproc);
    check(sum.sends_full == run.model.full, "%llu sends to full mailboxes, not %llu",
          (unsigned long long)sum.sends_full, (unsigned long long)run.model.full);
}

/* Kill all who live but the one that does it. */
static void kill_all(struct actor *self)
{
    run.draining = true;
    for (int i = 0; i < run.actors_len; i++) {
        do_look(run.actors[i]);
        if (!run.actors[i]->ended && run.actors[i] != self) {
            do_kill(self, run.actors[i]);
        }
    }
}

static void episode_close(void)
{
    for (int i = 0; i < run.actors_len; i++) {
        check(run.actors[i]->ended, "%d: has not ended", i);
        check(!rusm_is_alive(run.actors[i]->pid), "%d: is alive", i);
    }
    check_stats();
    rusm_runtime_del(run.rts[0]);
    rusm_runtime_del(run.rts[1]);
    rusm_pool_del(run.pool);
    for (int i = 0; i < run.actors_len; i++) {
        free(run.actors[i]);
    }
    free(run.refs);
    ref_fini(&run.model);
}

/* Returns a digest of all that was done. */
static uint64_t episode(uint64_t seed)
{
    uint64_t idle = 0;

    run.is_real = false;
    episode_open(seed);
    thread_enter();
    while (run.steps_left > 0 && run.actors_len < ACTORS_MAX) {
        if (draw(8) != 0 && rusm_test_step(run.pool)) {
            idle = 0;
            continue;
        }
        check(++idle < QUIET_STEPS_MAX, "nothing goes on");
        if (draw(4) == 0) {
            (void)rusm_test_run(run.pool, UINT64_MAX);
            check_quiet();
            let_time_pass();
        }
        thread_act();
    }
    run.steps_left = 0;
    kill_all(run.thread);
    (void)rusm_test_run(run.pool, UINT64_MAX);
    if (!modelled(run.thread)->doomed) {
        while (receive(run.thread, 0, false, 0) == RUSM_OK) {
        }
    }
    thread_leave();
    episode_close();
    return run.digest;
}

/* ---- an episode on a scheduler thread -------------------------------------------------------- */

/* Keeps things going: it is nobody's aim, and never waits. */
static void keeper_main(void *arg)
{
    struct actor *self = arg;

    self->started = true;
    check(rusm_at_exit(on_end, self, NULL) == RUSM_OK, "no hook");
    while (run.steps_left > 0 && run.actors_len < ACTORS_MAX) {
        run.steps++;
        run.steps_left--;
        if (run.alive < 4 || draw(8) == 0) {
            do_spawn(self);
        } else if (draw(2) == 0) {
            do_send(self, some_actor());
        } else if (draw(4) == 0) {
            do_exit_process(self, some_actor());
        }
        for (uint64_t i = draw(20); i > 0; i--) {
            rusm_yield();
        }
        while (receive(self, 0, false, 0) == RUSM_OK) {
        }
    }
    run.steps_left = 0;
    for (int i = 0; i < QUIET_YIELDS; i++) {
        rusm_yield();
    }
    self->is_thread = true; /* as the testing thread, it need not wait */
    check_quiet();
    kill_all(self);
    for (int i = 0; i < QUIET_YIELDS && run.alive > 1; i++) {
        rusm_yield();
    }
    while (receive(self, 0, false, 0) == RUSM_OK) {
    }
    self->leaves = true;
    self->reason = (struct ref_reason){RUSM_REASON_NORMAL, 0};
    rusm_waiter_wake(run.done);
}

static void episode_real(uint64_t seed)
{
    struct actor *keeper;
    rusm_spawn_config cfg;

    run.is_real = true;
    episode_open(seed);
    check(rusm_waiter_new(&run.done) == RUSM_OK, "no waiter");
    keeper = actor_new(true, 0, RUSM_MAILBOX_REFUSE);
    rusm_spawn_config_init(&cfg);
    cfg.trap_exit = true;
    check(rusm_spawn_with(run.rts[0], keeper_main, keeper, &cfg, &keeper->pid) == RUSM_OK,
          "no keeper");
    check(rusm_waiter_wait(run.done, WAIT_MS) == RUSM_OK, "it does not end");
    check(rusm_runtime_stop(run.rts[0], WAIT_MS) == RUSM_OK, "it does not stop");
    check(rusm_runtime_stop(run.rts[1], WAIT_MS) == RUSM_OK, "it does not stop");
    rusm_waiter_drop(run.done);
    episode_close();
}

static uint64_t number_of(const char *text, uint64_t otherwise)
{
    return text == NULL ? otherwise : strtoull(text, NULL, 0);
}

int main(int argc, char **argv)
{
    uint64_t first = number_of(argc > 1 ? argv[1] : getenv("RUSM_SEED"), 1);
    uint64_t steps = number_of(argc > 2 ? argv[2] : getenv("RUSM_STEPS"), STEPS_DEFAULT);
    uint64_t seed = first, spawned = 0, downs = 0, exits = 0;

    (void)printf("signals: seed %llu, at least %llu steps\n", (unsigned long long)first,
                 (unsigned long long)steps);
    for (; run.steps < steps; seed++) {
        uint64_t digest = episode(seed);

        spawned += (uint64_t)run.actors_len;
        downs += run.model.downs;
        exits += run.model.exits;
        if (seed % TWICE_EVERY == 0 && episode(seed) != digest) {
            fail("the same seed was another run");
        }
        if (seed % REAL_EVERY == 0) {
            episode_real(seed);
        }
    }
    (void)printf("signals: %llu steps, %llu processes, %llu downs, %llu exits; as the model says\n",
                 (unsigned long long)run.steps, (unsigned long long)spawned,
                 (unsigned long long)downs, (unsigned long long)exits);
    return EXIT_SUCCESS;
}
