/* SPDX-License-Identifier: MIT */
/*
 * Between the library and the schedulers: whose driver runs, what time its node has, where its
 * randomness comes from.
 *
 * The linker sends the library's calls of rusm_driver_new() and so on here. A driver of a life runs
 * inside a shell of ours, which knows the life, keeps a paused one from running, and shows it its
 * own clock. Descriptors are those of sim_udp.c, so they never reach the pool's poll.
 */
#include "sim/sim.h"

#include "base/assert.h"
#include "base/mem.h"
#include "cluster/core.h"
#include "otp/sched.h"

#include <string.h>
#include <time.h>

struct shell {
    struct rusmi_list node; /* of life->drivers */
    struct sim_life *life;
    rusm_driver *driver;
    bool waiting; /* it was to run while the life was paused */
    void (*run)(void *arg, rusm_time now);
    void (*closed)(void *arg);
    void *arg;
};

static struct sim_life *running; /* whose driver runs */
static struct sim_life *spoken;  /* for whom the simulator's thread speaks */

/* ---- who ------------------------------------------------------------------------------------- */

struct sim_life *sim_life_of(const rusm_runtime *rt)
{
    for (unsigned i = 0; rt != NULL && i < sim->options.nodes; i++) {
        struct sim_life *life = sim->nodes[i].life;

        if (life != NULL && life->rt == rt) {
            return life;
        }
    }
    for (struct sim_life *life = sim->lives; rt != NULL && life != NULL; life = life->next) {
        if (life->rt == rt) {
            return life;
        }
    }
    return NULL;
}

struct sim_life *sim_here(void)
{
    rusm_runtime *rt;
    struct sim_life *life;

    if (sim == NULL || running != NULL) {
        return running;
    }
    rt = rusm_runtime_self();
    life = rt == NULL || rt == sim->control ? NULL : sim_life_of(rt);
    return life != NULL ? life : spoken;
}

struct sim_life *sim_set_here(struct sim_life *life)
{
    struct sim_life *before = spoken;

    spoken = life;
    return before;
}

/* ---- drivers --------------------------------------------------------------------------------- */

rusm_err __real_rusm_driver_new(rusm_driver **out_driver, rusm_runtime *rt,
                                const rusm_driver_config *cfg);
rusm_err __wrap_rusm_driver_new(rusm_driver **out_driver, rusm_runtime *rt,
                                const rusm_driver_config *cfg);
rusm_err __wrap_rusm_driver_set_fd(rusm_driver *driver, int fd, unsigned events);
void __real_rusm_driver_set_timer(rusm_driver *driver, rusm_time at_ns);
void __wrap_rusm_driver_set_timer(rusm_driver *driver, rusm_time at_ns);
rusm_time __real_rusm_now(void);
rusm_time __wrap_rusm_now(void);
int __real_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);
uint64_t __real_rusmi_ref_new(void);
uint64_t __wrap_rusmi_ref_new(void);
ssize_t __real_getrandom(void *buf, size_t len, unsigned flags);
ssize_t __wrap_getrandom(void *buf, size_t len, unsigned flags);

static void shell_run(void *arg, rusm_time now)
{
    struct shell *shell = arg;
    struct sim_life *life = shell->life;

    if (life->paused) {
        shell->waiting = true;
        return;
    }
    running = life;
    shell->run(shell->arg, now + life->offset);
    sim_udp_again(life, shell->driver);
    running = NULL;
}

static void shell_closed(void *arg)
{
    struct shell *shell = arg;
    struct shell copy = *shell;

    rusmi_list_remove(&shell->node);
    rusmi_free(shell);
    running = copy.life;
    copy.closed(copy.arg);
    running = NULL;
}

rusm_err __wrap_rusm_driver_new(rusm_driver **out_driver, rusm_runtime *rt,
                                const rusm_driver_config *cfg)
{
    struct sim_life *life = sim == NULL ? NULL : sim_life_of(rt);
    rusm_driver_config mine;
    struct shell *shell;
    rusm_err err;

    if (life == NULL || cfg == NULL) {
        return __real_rusm_driver_new(out_driver, rt, cfg);
    }
    shell = rusmi_zalloc(sizeof(*shell));
    if (shell == NULL) {
        return RUSM_ENOMEM;
    }
    *shell = (struct shell){.life = life, .run = cfg->run, .closed = cfg->closed, .arg = cfg->arg};
    mine = *cfg;
    mine.run = shell_run;
    mine.closed = shell_closed;
    mine.arg = shell;
    err = __real_rusm_driver_new(&shell->driver, rt, &mine);
    if (err != RUSM_OK) {
        rusmi_free(shell);
        return err;
    }
    rusmi_list_init(&shell->node);
    rusmi_list_push(&life->drivers, &shell->node);
    *out_driver = shell->driver;
    return RUSM_OK;
}

rusm_err __wrap_rusm_driver_set_fd(rusm_driver *driver, int fd, unsigned events)
{
    return sim_udp_watch(fd, events, driver);
}

void sim_drivers_post(struct sim_life *life)
{
    for (struct rusmi_list *at = life->drivers.next; at != &life->drivers; at = at->next) {
        struct shell *shell = rusmi_container(at, struct shell, node);

        shell->waiting = false;
        /* As if a descriptor were ready: a run then looks at its socket before its clock. */
        rusmi_driver_ready(shell->driver);
    }
}

/* ---- processes ------------------------------------------------------------------------------- */

void __real_rusmi_sched_run(struct rusmi_worker *worker, struct rusmi_process *proc);
void __wrap_rusmi_sched_run(struct rusmi_worker *worker, struct rusmi_process *proc);

/* Those that could run and may not: their node is stopped, or they compute, as the simulator has
 * it, for a while. They stay ready, on nobody's list but this. */
static struct {
    struct rusmi_process **procs;
    size_t len, cap;
    bool watched; /* else nobody can be here */
} kept;

static bool is_kept(const struct rusmi_process *proc)
{
    const struct sim_life *life = sim_life_of(proc->runtime);
    rusm_time now = rusm_test_now(sim->pool);

    if (life == NULL || life->cut) {
        return false;
    }
    return life->paused || life->hogged > now ||
           (life->hog_until > now && life->hog->pid.serial == proc->own_serial);
}

void __wrap_rusmi_sched_run(struct rusmi_worker *worker, struct rusmi_process *proc)
{
    if (sim == NULL || !kept.watched || !is_kept(proc)) {
        __real_rusmi_sched_run(worker, proc);
        return;
    }
    if (kept.len == kept.cap) {
        kept.cap = kept.cap == 0 ? 64 : kept.cap * 2;
        kept.procs = rusmi_realloc(kept.procs, kept.cap * sizeof(struct rusmi_process *));
        rusmi_assert(kept.procs != NULL);
    }
    kept.procs[kept.len++] = proc;
}

void sim_procs_watch(bool on)
{
    kept.watched = on;
    if (!on) {
        rusmi_assert(kept.len == 0);
        rusmi_free(kept.procs);
        memset(&kept, 0, sizeof(kept));
    }
}

void sim_procs_free(void)
{
    size_t len = 0;

    for (size_t i = 0; i < kept.len; i++) {
        if (is_kept(kept.procs[i])) {
            kept.procs[len++] = kept.procs[i];
        } else {
            rusmi_kit_ready(sim->pool, kept.procs[i]);
        }
    }
    kept.len = len;
}

/* ---- versions -------------------------------------------------------------------------------- */

rusm_err __real_rusmi_core_new(struct rusmi_core **out_core, const struct rusmi_core_config *cfg);
rusm_err __wrap_rusmi_core_new(struct rusmi_core **out_core, const struct rusmi_core_config *cfg);

/* The core of a life that is of an earlier version. */
rusm_err __wrap_rusmi_core_new(struct rusmi_core **out_core, const struct rusmi_core_config *cfg)
{
    const struct sim_life *life = sim_here();
    struct rusmi_core_config mine = *cfg;

    if (life != NULL && life->old) {
        mine.version_max = RUSMI_PROTOCOL_VERSION_MIN;
    }
    return __real_rusmi_core_new(out_core, &mine);
}

/* ---- time and randomness --------------------------------------------------------------------- */

void __wrap_rusm_driver_set_timer(rusm_driver *driver, rusm_time at_ns)
{
    struct sim_life *life = sim_here();

    if (life != NULL && at_ns != 0) {
        at_ns = at_ns > life->offset ? at_ns - life->offset : 1;
    }
    __real_rusm_driver_set_timer(driver, at_ns);
}

rusm_time __wrap_rusm_now(void)
{
    struct sim_life *life = sim == NULL ? NULL : sim_here();

    return __real_rusm_now() + (life == NULL ? 0 : life->offset);
}

/* The time of day begins when the program first looks at it, and goes with the virtual clock. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
    static time_t begun_s;
    rusm_time now;

    if (sim == NULL || sim->pool == NULL || clock != CLOCK_REALTIME) {
        return __real_clock_gettime(clock, out);
    }
    if (begun_s == 0) {
        (void)__real_clock_gettime(clock, out);
        begun_s = out->tv_sec;
    }
    now = rusm_test_now(sim->pool);
    out->tv_sec = begun_s + (time_t)(now / SIM_S);
    out->tv_nsec = (long)(now % SIM_S);
    return 0;
}

ssize_t __wrap_getrandom(void *buf, size_t len, unsigned flags)
{
    uint8_t *at = buf;

    if (sim == NULL) {
        return __real_getrandom(buf, len, flags);
    }
    for (size_t done = 0; done < len; done += sizeof(uint64_t)) {
        uint64_t number = rusmi_prng_next(&sim->entropy);

        memcpy(at + done, &number, len - done < sizeof(number) ? len - done : sizeof(number));
    }
    return (ssize_t)len;
}

/* The library counts references for the whole OS process, and how long a number is on the wire
 * depends on its size: a run has numbers of its own, so that it does not depend on those before. */
uint64_t __wrap_rusmi_ref_new(void)
{
    return sim == NULL ? __real_rusmi_ref_new() : ++sim->refs;
}
