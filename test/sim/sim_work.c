/* SPDX-License-Identifier: MIT */
/*
 * What the processes of a run do: each step tells one of them to do something, which it draws when
 * it comes to it. They trap exits and read their mailboxes until they end.
 */
#include "sim/sim.h"

#include "base/assert.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define NAMES       8u /* global names that processes fight for */
#define SMALL_MAX   2000u
#define SLOW_MAX_MS 3000u

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

static void draw_name(char name[SIM_NAME_LEN])
{
    (void)snprintf(name, SIM_NAME_LEN, "name%u", (unsigned)draw(NAMES));
}

static void send_pid(struct sim_proc *me, size_t len, unsigned count)
{
    struct sim_proc *to = sim_proc_draw(draw(12) == 0);
    uint8_t *data = rusmi_alloc(len);

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
    rusmi_free(data);
}

static void send_name(struct sim_proc *me, size_t len)
{
    const struct sim_life *life = sim_life_draw(&sim->work);
    uint8_t *data = rusmi_alloc(len);
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
    rusmi_free(data);
}

static void send_global(struct sim_proc *me, size_t len)
{
    uint8_t *data = rusmi_alloc(len);
    struct sim_ticket ticket;
    char name[SIM_NAME_LEN];
    rusm_err err;

    rusmi_assert(data != NULL);
    draw_name(name);
    ticket = sim_sending(me, SIM_TO_GLOBAL, NULL, "", name, data, len);
    err = rusm_send_global(NULL, name, data, len);
    sim_sent(me, ticket, err);
    sim_trace("process %u sends to global %s: %s", me->id, name, rusm_err_name(err));
    rusmi_free(data);
}

static void register_name(struct sim_proc *me)
{
    char name[SIM_NAME_LEN];
    rusm_err err;

    draw_name(name);
    /* Before: others may hear of it while the call is under way. */
    sim_registered(me, name);
    err = rusm_register_global(NULL, name, me->pid);
    if (err != RUSM_OK) {
        sim_unregistered(me, name);
    }
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
    err = rusm_unregister_global(NULL, name);
    if (err == RUSM_OK) {
        sim_unregistered(me, name);
    }
    sim_trace("process %u unregisters %s: %s", me->id, name, rusm_err_name(err));
}

static void kill_somebody(struct sim_proc *me)
{
    struct sim_proc *to = sim_proc_draw(false);
    rusm_err err;

    if (to == NULL || to == me) {
        return;
    }
    err = rusm_kill(to->pid);
    sim_trace("process %u kills process %u: %s", me->id, to->id, rusm_err_name(err));
    sim_check(err != RUSM_ENOPROC || to->ended || to->life != me->life,
              "process %u: false noproc for process %u", me->id, to->id);
}

static void act(struct sim_proc *me)
{
    uint64_t what = draw(100);

    if (what < 40) {
        send_pid(me, draw_len(), 1);
    } else if (what < 55) {
        send_pid(me, draw_len(), 1 + (unsigned)draw(20));
    } else if (what < 63) {
        send_name(me, draw_len());
    } else if (what < 73) {
        send_global(me, draw_len());
    } else if (what < 85) {
        register_name(me);
    } else if (what < 91) {
        unregister_name(me);
    } else if (what < 93) {
        sim_trace("process %u is slow", me->id);
        (void)!rusm_sleep((int64_t)draw(SLOW_MAX_MS));
    } else if (what < 96) {
        kill_somebody(me);
    } else if (what < 98) {
        sim_trace("process %u crashes", me->id);
        rusm_crash("simulated");
    } else {
        sim_trace("process %u leaves", me->id);
        rusm_exit(RUSM_REASON_SHUTDOWN);
    }
}

/* ---- workers --------------------------------------------------------------------------------- */

static void worker_main(void *arg)
{
    struct sim_proc *me = sim_proc_begin(arg);
    rusm_msg *msg;

    (void)rusm_trap_exit(true);
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        bool told = rusm_msg_len(msg) == 1;

        if (rusm_msg_get_kind(msg) == RUSM_MSG_DATA && !told) {
            sim_received(me, msg);
        }
        rusm_msg_del(msg);
        if (told && !sim->quiet && !me->life->cut) {
            act(me);
        }
    }
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
    proc = life->workers[sim_below(&sim->rng, sim->profile.workers)].proc;
    if (proc != NULL) {
        (void)!rusm_send(proc->pid, &what, 1); /* it may just have ended */
    }
}
