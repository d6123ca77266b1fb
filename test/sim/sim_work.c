/* SPDX-License-Identifier: MIT */
/*
 * What the processes of a run do: each step tells one of them to do something, which it draws when
 * it comes to it. They trap exits and read their mailboxes until they end.
 */
#include "sim/sim.h"
#include "sim/sim_cover.h"

#include "base/assert.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define NAMES       8u /* global names that processes fight for */
#define SMALL_MAX   2000u
#define SLOW_MAX_MS 3000u
#define WAIT_MAX_MS 3000u
#define TRIES       4u /* to find a process that is not busy */

#define FACTORY     "child"

/* The one byte of a message that tells a worker to do something. */
#define DO_SOMETHING 'd'

/* ---- acts ------------------------------------------------------------------------------------ */

static uint64_t draw(uint64_t bound)
{
    return sim_below(&sim->work, bound);
}

static size_t draw_len(void)
{
    return sim_chance(&sim->work, sim->profile.big_ppm)
               ? sim->profile.big_len / 2 + draw(sim->profile.big_len / 2)
               : SIM_MESSAGE_MIN + draw(draw(4) == 0 ? SMALL_MAX : 60);
}

/* Most wait so briefly that they are soon there again to answer others. */
static int64_t draw_wait_ms(void)
{
    return 1 + (int64_t)draw(draw(4) == 0 ? WAIT_MAX_MS : WAIT_MAX_MS / 10);
}

static void draw_name(char name[SIM_NAME_LEN])
{
    (void)snprintf(name, SIM_NAME_LEN, "name%u", (unsigned)draw(NAMES));
}

static void send_pid(struct sim_proc *me, size_t len, unsigned count)
{
    struct sim_proc *to = sim_proc_draw(draw(12) == 0);
    uint8_t *data = rusm_alloc(len); /* freed if it is killed */

    rusmi_assert(data != NULL);
    for (unsigned i = 0; to != NULL && i < count; i++) {
        struct sim_ticket ticket = sim_sending(me, SIM_TO_PID, to, "", "", data, len);
        rusm_err err;

        sim_trace("process %u sends %llu to process %u, %zu bytes", me->id,
                  (unsigned long long)ticket.number, to->id, len);
        err = rusm_send(to->pid, data, len);
        sim_sent(me, ticket, err);
        if (err != RUSM_OK) {
            sim_trace("process %u: %s", me->id, rusm_err_name(err));
            break;
        }
    }
    rusm_free(data);
}

static void send_name(struct sim_proc *me, size_t len)
{
    const struct sim_life *life = sim_life_draw(&sim->work);
    uint8_t *data = rusm_alloc(len); /* freed if it is killed */
    struct sim_ticket ticket;
    char name[SIM_NAME_LEN];
    rusm_err err;

    rusmi_assert(data != NULL && life != NULL);
    (void)snprintf(name, sizeof(name), "worker%u", (unsigned)draw(sim->profile.workers));
    ticket = sim_sending(me, SIM_TO_NAME, NULL, sim->nodes[life->index].name, name, data, len);
    err = rusm_node_send(NULL, sim->nodes[life->index].name, name, data, len);
    sim_sent(me, ticket, err);
    sim_trace("process %u sends to %s on %s: %s", me->id, name, sim->nodes[life->index].name,
              rusm_err_name(err));
    rusm_free(data);
}

static void send_global(struct sim_proc *me, size_t len)
{
    uint8_t *data = rusm_alloc(len); /* freed if it is killed */
    struct sim_ticket ticket;
    char name[SIM_NAME_LEN];
    rusm_err err;

    rusmi_assert(data != NULL);
    draw_name(name);
    ticket = sim_sending(me, SIM_TO_GLOBAL, NULL, "", name, data, len);
    err = rusm_send_global(NULL, name, data, len);
    sim_sent(me, ticket, err);
    sim_trace("process %u sends to global %s: %s", me->id, name, rusm_err_name(err));
    rusm_free(data);
}

static void register_name(struct sim_proc *me, bool sync)
{
    char name[SIM_NAME_LEN];
    rusm_err err;

    draw_name(name);
    sim_registering(me, name);
    if (sync) {
        sim_trace("process %u asks for %s", me->id, name);
        err = rusm_register_global_sync(NULL, name, me->pid, draw_wait_ms());
    } else {
        err = rusm_register_global(NULL, name, me->pid);
    }
    sim_registered(me, name, sync, err);
    sim_trace("process %u registers %s: %s", me->id, name, rusm_err_name(err));
}

static void unregister_name(struct sim_proc *me)
{
    char name[SIM_NAME_LEN];
    rusm_pid owner;
    rusm_err err;

    draw_name(name);
    if (rusm_whereis_global(NULL, name, &owner) != RUSM_OK || !rusm_pid_equal(owner, me->pid)) {
        return;
    }
    sim_unregistering(me, name);
    err = rusm_unregister_global(NULL, name);
    sim_trace("process %u unregisters %s: %s", me->id, name, rusm_err_name(err));
}

/* Ask somebody, who answers with what was asked (worker_main). */
static void call(struct sim_proc *me)
{
    struct sim_proc *to = sim_proc_draw(draw(12) == 0);
    uint8_t data[SIM_MESSAGE_MIN + 64];
    size_t len = SIM_MESSAGE_MIN + draw(64);
    rusm_msg *reply = NULL;
    struct sim_ticket ticket;
    uint64_t session;
    rusm_err err;

    if (to == NULL || to == me) {
        return;
    }
    session = sim_session(me->life, to->life);
    ticket = sim_sending(me, SIM_TO_PID, to, "", "", data, len);
    sim_trace("process %u calls process %u", me->id, to->id);
    err = rusm_call(to->pid, data, len, draw_wait_ms(), &reply);
    sim_trace("process %u called process %u: %s", me->id, to->id, rusm_err_name(err));
    sim->totals.calls++;
    sim_seen(err == RUSM_OK         ? SIM_SEEN_ANSWER
             : err == RUSM_ETIMEOUT ? SIM_SEEN_CALL_LATE
                                    : SIM_SEEN_CALL_LOST);
    sim_called(ticket, err);
    if (err == RUSM_OK) {
        sim_check(rusm_msg_len(reply) == len && memcmp(rusm_msg_data(reply), data, len) == 0,
                  "process %u got another's answer from process %u", me->id, to->id);
        rusm_msg_del(reply);
        return;
    }
    sim_check(err == RUSM_ETIMEOUT || err == RUSM_ENOPROC || err == RUSM_ENONODE ||
                  err == RUSM_ENOLINK || (err == RUSM_EPROTO && !sim_is_modern(me->life, to->life)),
              "process %u: a call failed with %s", me->id, rusm_err_name(err));
    sim_check(err != RUSM_ENOPROC || to->ended || session == 0 ||
                  session != sim_session(me->life, to->life),
              "process %u: a call found false noproc for process %u", me->id, to->id);
}

static void cast(struct sim_proc *me)
{
    struct sim_proc *to = sim_proc_draw(draw(12) == 0);
    uint8_t data[SIM_MESSAGE_MIN];
    struct sim_ticket ticket;

    if (to == NULL) {
        return;
    }
    ticket = sim_sending(me, SIM_TO_PID, to, "", "", data, sizeof(data));
    sim_sent(me, ticket, rusm_cast(to->pid, data, sizeof(data)));
}

static void tie(struct sim_proc *me)
{
    struct sim_proc *to = sim_proc_draw(draw(8) == 0);

    if (to == NULL || to == me) {
        return;
    }
    switch (draw(5)) {
    case 0:
    case 1:
        sim_monitor(me, to);
        break;
    case 2:
    case 3:
        sim_link(me, to);
        break;
    default:
        if (draw(2) == 0) {
            sim_demonitor(me);
        } else {
            sim_unlink(me);
        }
        break;
    }
}

static void ask_somebody(struct sim_proc *me)
{
    struct sim_proc *to = sim_proc_draw(draw(12) == 0);

    if (to != NULL && to != me) {
        sim_ask_exit(me, to);
    }
}

static void spawn(struct sim_proc *me)
{
    const struct sim_life *on = sim_life_draw(&sim->work);

    if (on != NULL) {
        sim_spawn(me, on, FACTORY, (enum sim_birth)draw(3), draw_wait_ms());
    }
}

static void group(struct sim_proc *me)
{
    uint64_t what = draw(10);

    if (what < 4) {
        sim_group_join(me);
    } else if (what < 6) {
        sim_group_leave(me);
    } else if (what < 9) {
        sim_group_send(me, draw_len());
    } else {
        sim_group_watch(me);
    }
}

static void stream(struct sim_proc *me)
{
    struct sim_proc *to = sim_proc_draw(draw(12) == 0);

    if (to != NULL && to != me) {
        sim_stream_open(me, to);
    }
}

static void kill_somebody(struct sim_proc *me)
{
    struct sim_proc *to = sim_proc_draw(false);

    if (to != NULL && to != me) {
        sim_kill(me, to);
    }
}

struct act {
    unsigned weight;
    void (*fn)(struct sim_proc *me);
};

static void send_one(struct sim_proc *me)
{
    send_pid(me, draw_len(), 1);
}

static void send_many(struct sim_proc *me)
{
    send_pid(me, draw_len(), 1 + (unsigned)draw(20));
}

static void send_by_name(struct sim_proc *me)
{
    send_name(me, draw_len());
}

static void send_by_global_name(struct sim_proc *me)
{
    send_global(me, draw_len());
}

static void register_now(struct sim_proc *me)
{
    register_name(me, false);
}

static void register_sync(struct sim_proc *me)
{
    register_name(me, true);
}

static void be_slow(struct sim_proc *me)
{
    sim_trace("process %u is slow", me->id);
    (void)!rusm_sleep((int64_t)draw(SLOW_MAX_MS));
}

static void disconnect(struct sim_proc *me)
{
    const struct sim_life *life = sim_life_draw(&sim->work);

    if (sim->profile.mesh || life == NULL) {
        return; /* who disconnects does not want to find the other again */
    }
    sim_trace("process %u disconnects from %s", me->id, sim->nodes[life->index].name);
    (void)!rusm_node_disconnect(NULL, sim->nodes[life->index].name); /* there may be no link */
}

static void crash(struct sim_proc *me)
{
    sim_trace("process %u crashes", me->id);
    rusm_crash("simulated %u", me->id);
}

static void leave(struct sim_proc *me)
{
    sim_trace("process %u leaves", me->id);
    rusm_exit(RUSM_REASON_SHUTDOWN);
}

static const struct act acts[] = {
    {30, send_one},    {12, send_many},    {8, send_by_name},    {10, send_by_global_name},
    {8, register_now}, {5, register_sync}, {6, unregister_name}, {12, call},
    {3, cast},         {20, tie},          {2, be_slow},         {3, kill_somebody},
    {1, disconnect},   {3, ask_somebody},  {5, spawn},           {14, group},
    {2, crash},        {2, leave},         {4, stream},
};

static void act(struct sim_proc *me)
{
    uint64_t sum = 0, at;

    for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
        sum += acts[i].weight;
    }
    at = draw(sum);
    for (size_t i = 0;; i++) {
        if (at < acts[i].weight) {
            acts[i].fn(me);
            return;
        }
        at -= acts[i].weight;
    }
}

/* ---- workers --------------------------------------------------------------------------------- */

static void handle(struct sim_proc *me, rusm_msg *msg)
{
    switch (rusm_msg_get_kind(msg)) {
    case RUSM_MSG_DATA:
        if (sim_stream_taken(me, msg)) {
            break;
        }
        if (rusm_msg_len(msg) != 1) {
            sim_received(me, msg);
        } else if (!sim->quiet && !me->life->cut) {
            me->busy = true;
            act(me);
            me->busy = false;
        }
        break;
    case RUSM_MSG_CALL:
        sim_received(me, msg);
        (void)!rusm_reply(rusm_msg_from(msg), rusm_msg_data(msg), rusm_msg_len(msg));
        break;
    case RUSM_MSG_CAST:
        sim_received(me, msg);
        break;
    case RUSM_MSG_DOWN:
        sim_down(me, msg);
        break;
    case RUSM_MSG_EXIT:
        sim_exit(me, msg);
        break;
    case RUSM_MSG_NAME_CONFLICT:
        sim_conflict(me, msg);
        break;
    case RUSM_MSG_JOIN:
    case RUSM_MSG_LEAVE:
        sim_group_event(me, msg);
        break;
    case RUSM_MSG_NODE_UP:
    case RUSM_MSG_NODE_DOWN:
        sim_node_event(me, msg);
        break;
    case RUSM_MSG_TIMER:
    case RUSM_MSG_REPLY:
        sim_fail("process %u got a message of kind %d, which nobody sent", me->id,
                 (int)rusm_msg_get_kind(msg));
    }
}

static void work(struct sim_proc *me)
{
    rusm_msg *msg;

    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        handle(me, msg);
        rusm_msg_del(msg);
    }
}

static void worker_main(void *arg)
{
    struct sim_worker *worker = arg;
    struct sim_proc *me = sim_proc_begin(rusm_self(), worker->life, worker);

    (void)rusm_trap_exit(true);
    if (worker->slot == 0) {
        sim_listen(me);
    }
    work(me);
}

static void child_main(void *arg)
{
    work(sim_proc_begin(rusm_self(), arg, NULL));
}

/* The factory of every node. */
static rusm_err make_child(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    rusm_spawn_config cfg;
    rusm_err err;

    (void)args;
    (void)args_len;
    rusm_spawn_config_init(&cfg);
    cfg.trap_exit = true;
    err = rusm_spawn_with(NULL, child_main, arg, &cfg, out_pid);
    if (err == RUSM_OK) {
        (void)sim_proc_begin(*out_pid, arg, NULL);
    }
    return err;
}

void sim_work_refill(struct sim_life *life)
{
    for (unsigned i = 0; i < sim->profile.workers; i++) {
        struct sim_worker *worker = &life->workers[i];
        rusm_spawn_config cfg;
        char name[SIM_NAME_LEN];
        rusm_err err;

        if (worker->spawned) {
            continue;
        }
        (void)snprintf(name, sizeof(name), "worker%u", i);
        rusm_spawn_config_init(&cfg);
        cfg.name = name;
        err = rusm_spawn_with(life->rt, worker_main, worker, &cfg, NULL);
        rusmi_assert(err == RUSM_OK || err == RUSM_EEXIST);
        worker->spawned = err == RUSM_OK; /* the name may be free a moment later */
    }
}

void sim_work_start(struct sim_life *life)
{
    life->workers = rusmi_zalloc_array(sim->profile.workers, sizeof(*life->workers));
    rusmi_assert(life->workers != NULL);
    for (unsigned i = 0; i < sim->profile.workers; i++) {
        life->workers[i].life = life;
        life->workers[i].slot = i;
    }
    rusmi_assert(rusm_factory_register(life->node, FACTORY, make_child, life) == RUSM_OK);
    sim_work_refill(life);
}

void sim_work_step(void)
{
    const char what = DO_SOMETHING;
    struct sim_life *life = sim_life_draw(&sim->rng);
    struct sim_proc *proc;

    if (life == NULL) {
        return;
    }
    sim_work_refill(life);
    proc = sim_proc_draw(false);
    for (unsigned i = 0; proc != NULL && proc->busy && i < TRIES; i++) {
        proc = sim_proc_draw(false); /* who waits for something has enough to do */
    }
    if (proc != NULL) {
        (void)!rusm_send(proc->pid, &what, 1); /* it may just be ending */
    }
}
