/* SPDX-License-Identifier: MIT */
/*
 * A run: nodes begin, dial each other, and work, while faults come and go (the safety phase); then
 * all faults end, and everything must come together (the liveness phase).
 */
#include "sim/sim.h"
#include "sim/sim_cover.h"

#include "base/assert.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define FAULTS_MAX 8u
/* Virtual time in which a healed cluster must come together, in steps of a poll. */
#define HEAL_MS      180000
#define HEAL_POLL_MS 100
/* After that nothing may change any more. */
#define SETTLE_MS  5000
#define ROUNDS_MAX 5u

struct sim_world *sim;

enum fault_kind {
    FAULT_ONE_WAY,
    FAULT_PAIR,
    FAULT_ISOLATE,
    FAULT_HALVES,
    FAULT_CLOG,
    FAULT_LOSS,
    FAULT_DELAY,
    FAULTS,
};

static const char *const fault_names[FAULTS] = {
    "one way is cut", "a pair is cut", "a node is isolated", "halves are cut", "a way is clogged",
    "loss",           "delay",
};

/* Something that is wrong with the network for a while. */
struct fault {
    bool active;
    enum fault_kind kind;
    unsigned a, b;
    uint64_t mask; /* FAULT_HALVES: one side */
    uint64_t rate;
    rusm_time until;
};

static struct fault faults[FAULTS_MAX];

static uint64_t draw(uint64_t bound)
{
    return sim_below(&sim->rng, bound);
}

/* ---- lives ----------------------------------------------------------------------------------- */

struct sim_life *sim_life_by_incarnation(uint64_t incarnation)
{
    struct sim_life *life = sim->lives;

    while (life != NULL && life->incarnation != incarnation) {
        life = life->next;
    }
    return life;
}

struct sim_life *sim_life_draw(struct rusmi_prng *rng)
{
    unsigned first = (unsigned)sim_below(rng, sim->options.nodes);

    for (unsigned i = 0; i < sim->options.nodes; i++) {
        struct sim_life *life = sim->nodes[(first + i) % sim->options.nodes].life;

        if (life != NULL) {
            return life;
        }
    }
    return NULL;
}

bool sim_is_modern(const struct sim_life *a, const struct sim_life *b)
{
    return a == b || (!a->old && !b->old);
}

static void life_begin(struct sim_node *node)
{
    const struct sim_profile *profile = &sim->profile;
    struct sim_life *life = rusmi_zalloc(sizeof(*life));
    rusm_runtime_config rt_cfg;
    rusm_node_config cfg;
    rusm_err err;

    rusmi_assert(life != NULL && node->life == NULL);
    life->index = node->index;
    life->number = ++sim->lives_len;
    life->offset = draw(1000) * SIM_S; /* hosts were not started together */
    rusmi_list_init(&life->drivers);
    life->old = sim_chance(&sim->rng, profile->old_ppm);
    if (life->old) {
        sim_seen(SIM_SEEN_OLD);
    }
    rusm_runtime_config_init(&rt_cfg);
    rt_cfg.pool = sim->pool;
    rt_cfg.name = node->name;
    rusmi_assert(rusm_runtime_new(&life->rt, &rt_cfg) == RUSM_OK);
    life->incarnation = rusm_runtime_incarnation(life->rt);
    life->next = sim->lives;
    sim->lives = life;
    node->life = life;
    rusm_node_config_init(&cfg);
    cfg.listen = node->address;
    cfg.identity = node->identity;
    cfg.tick_ms = profile->tick_ms;
    cfg.hello_ms = profile->hello_ms;
    cfg.queue_bytes_max = profile->queue_bytes_max;
    cfg.memory_max = SIM_MEMORY_MAX;
    cfg.mailbox_high = profile->mailbox_high;
    cfg.mesh = profile->mesh;
    cfg.reconnect_max_ms = profile->mesh ? 10000 : 0;
    (void)sim_set_here(life);
    err = rusm_node_bind_with(&life->node, life->rt, node->name, &cfg);
    sim_check(err == RUSM_OK, "%s can not be bound: %s", node->name, rusm_err_detail());
    if (profile->mesh) {
        char spec[80];

        (void)snprintf(spec, sizeof(spec), "%s,%s", sim->nodes[0].address, sim->nodes[1].address);
        err = rusm_node_join(life->node, spec);
        sim_check(err == RUSM_OK, "%s can not join: %s", node->name, rusm_err_detail());
    }
    (void)sim_set_here(NULL);
    sim_trace("%s begins its life %u%s", node->name, life->number, life->old ? ", old" : "");
    sim_work_start(life);
}

/* Without a word: what it sends from now on vanishes. Its remains are taken away while the others
 * go on. */
static void life_end(struct sim_node *node)
{
    struct sim_life *life = node->life;

    if (!life->left) {
        sim_left(life, 0, RUSM_ECLOSED); /* if it was about to */
    }
    life->cut = true;
    life->paused = false;
    life->hogged = life->hog_until = 0;
    sim_procs_free();
    sim_drivers_post(life);
    node->life = NULL;
    node->leaves_at = 0;
    (void)sim_set_here(life);
    rusm_node_del(life->node);
    (void)sim_set_here(NULL);
    rusm_runtime_del(life->rt);
    life->node = NULL;
    life->rt = NULL;
    rusmi_free(life->workers);
    life->workers = NULL;
}

/* Comes again after so long. */
static void crash(struct sim_node *node, rusm_time span)
{
    sim_trace("%s crashes", node->name);
    sim->totals.crashes++;
    sim_seen(SIM_SEEN_CRASH);
    if (span < sim->profile.tick_ms * SIM_MS) {
        sim_seen(SIM_SEEN_QUICK);
    }
    node->down_until = rusm_test_now(sim->pool) + span;
    sim_live_crashed(node->life);
    life_end(node);
}

static void dial_main(void *arg)
{
    const struct sim_node *to = arg;

    (void)!rusm_node_connect(NULL, to->address, 5000, NULL); /* who wants it tries again */
}

void sim_dial(struct sim_life *life, unsigned to)
{
    rusmi_assert(rusm_spawn(life->rt, dial_main, &sim->nodes[to], NULL) == RUSM_OK);
}

/* ---- faults ---------------------------------------------------------------------------------- */

/* What one fault does to the way from a node to another. */
static void apply(const struct fault *fault, unsigned from, unsigned to, struct sim_path *path)
{
    bool first = from == fault->a || to == fault->a;
    bool both = (from == fault->a && to == fault->b) || (from == fault->b && to == fault->a);

    switch (fault->kind) {
    case FAULT_ONE_WAY:
        path->blocked |= from == fault->a && to == fault->b;
        break;
    case FAULT_PAIR:
        path->blocked |= both;
        break;
    case FAULT_ISOLATE:
        path->blocked |= first;
        break;
    case FAULT_HALVES:
        path->blocked |= (fault->mask >> from & 1) != (fault->mask >> to & 1);
        break;
    case FAULT_CLOG:
        if (both) {
            path->rate = fault->rate;
        }
        break;
    case FAULT_LOSS:
        path->loss_ppm = path->loss_ppm > 300000 ? path->loss_ppm : 300000;
        break;
    case FAULT_DELAY:
        if (both) {
            path->delay_ns = 500 * SIM_MS;
        }
        break;
    case FAULTS:
        break;
    }
}

/* Whether a way is worse than it always is. */
static bool is_disturbed(const struct sim_path *path)
{
    const struct sim_profile *profile = &sim->profile;

    return path->blocked || path->rate != 0 || path->loss_ppm > profile->loss_ppm ||
           path->delay_ns > profile->delay_ns;
}

/* Note what is wrong now: faults last, and their ends count too. */
static void note_disturbed(void)
{
    for (unsigned from = 0; from < sim->options.nodes; from++) {
        const struct sim_life *life = sim->nodes[from].life;

        if (life != NULL && life->paused) {
            sim_disturbed_node(from);
        }
        for (unsigned to = 0; to < sim->options.nodes; to++) {
            if (is_disturbed(sim_net_path(from, to))) {
                sim_disturbed(from, to);
            }
        }
    }
}

static void apply_all(void)
{
    const struct sim_profile *profile = &sim->profile;

    for (unsigned from = 0; from < sim->options.nodes; from++) {
        for (unsigned to = 0; to < sim->options.nodes; to++) {
            struct sim_path *path = sim_net_path(from, to);

            path->blocked = false;
            path->rate = 0;
            path->loss_ppm = profile->loss_ppm;
            path->delay_ns = profile->delay_ns;
            for (unsigned i = 0; from != to && i < FAULTS_MAX; i++) {
                if (faults[i].active) {
                    apply(&faults[i], from, to, path);
                }
            }
            if (is_disturbed(path)) {
                sim_disturbed(from, to);
            }
        }
    }
}

static void network_fault(void)
{
    struct fault *fault = &faults[draw(FAULTS_MAX)];
    rusm_time tick = sim->profile.tick_ms * SIM_MS;

    *fault = (struct fault){.active = true,
                            .kind = (enum fault_kind)draw(FAULTS),
                            .a = (unsigned)draw(sim->options.nodes),
                            .b = (unsigned)draw(sim->options.nodes),
                            .mask = rusmi_prng_next(&sim->rng),
                            .rate = 2000 + draw(100000)};
    /* Some end before anybody can have noticed, some long after. */
    fault->until = rusm_test_now(sim->pool) + draw(draw(2) == 0 ? tick / 2 : 3 * tick);
    sim_seen((enum sim_class)(SIM_SEEN_ONE_WAY + (int)fault->kind));
    sim_trace("fault: %s (%u, %u) for %llu ms", fault_names[fault->kind], fault->a, fault->b,
              (unsigned long long)((fault->until - rusm_test_now(sim->pool)) / SIM_MS));
    apply_all();
}

/* Cut off, and while it is, restarted: its peers meet the new life before they miss the old one. */
static void cut_and_restart(struct sim_node *node)
{
    struct fault *fault = &faults[draw(FAULTS_MAX)];
    rusm_time tick = sim->profile.tick_ms * SIM_MS, now = rusm_test_now(sim->pool);

    *fault = (struct fault){.active = true,
                            .kind = FAULT_ISOLATE,
                            .a = node->index,
                            .b = node->index,
                            .until = now + draw(tick)};
    sim_trace("%s is cut off for %llu ms", node->name,
              (unsigned long long)((fault->until - now) / SIM_MS));
    sim_seen(SIM_SEEN_CUT_QUICK);
    apply_all();
    crash(node, draw(tick));
}

/* Processes that do not give way: the node must go on. */
static void hog(struct sim_life *life, bool all)
{
    rusm_time now = rusm_test_now(sim->pool);
    rusm_time until = now + draw(2 * sim->profile.tick_ms * SIM_MS);
    const struct sim_proc *proc = all ? NULL : sim_proc_of(life);

    if (all) {
        life->hogged = until;
        sim_seen(SIM_SEEN_HOGS);
    } else if (proc != NULL) {
        life->hog = proc;
        life->hog_until = until;
        sim_seen(SIM_SEEN_HOG);
    }
    sim_trace("%s: process %u computes for %llu ms", sim->nodes[life->index].name,
              proc == NULL ? 0 : proc->id, (unsigned long long)((until - now) / SIM_MS));
}

static void pause_node(struct sim_life *life)
{
    rusm_time tick = sim->profile.tick_ms * SIM_MS;

    life->paused = true;
    sim_disturbed_node(life->index);
    life->paused_until = rusm_test_now(sim->pool) + draw(draw(2) == 0 ? tick / 2 : 2 * tick);
    sim_seen(life->paused_until > rusm_test_now(sim->pool) + tick ? SIM_SEEN_LONG_STOP
                                                                  : SIM_SEEN_STOP);
    sim_trace("%s is stopped for %llu ms", sim->nodes[life->index].name,
              (unsigned long long)((life->paused_until - rusm_test_now(sim->pool)) / SIM_MS));
}

static void resume_node(struct sim_life *life)
{
    life->paused = false;
    sim_trace("%s goes on", sim->nodes[life->index].name);
    sim_procs_free();
    sim_disturbed_node(life->index);
    sim_drivers_post(life);
}

static void jump_clock(struct sim_life *life)
{
    rusm_time by = draw(3) == 0 ? draw(30 * SIM_S) : draw(200 * SIM_MS);

    sim_seen(SIM_SEEN_JUMP);
    sim_trace("the clock of %s jumps by %llu ms", sim->nodes[life->index].name,
              (unsigned long long)(by / SIM_MS));
    life->offset += by;
    sim_disturbed_node(life->index);
    sim_drivers_post(life);
}

/* How long a node may take to leave, and lives on after it has begun to. */
#define LEAVE_MS 2000
#define LEFT_NS  (3 * SIM_S)

static void leave_main(void *arg)
{
    struct sim_node *node = arg;
    struct sim_life *life = node->life;
    rusm_time since = rusm_test_now(sim->pool);
    rusm_err err;

    sim_leaving(life);
    err = rusm_node_leave(NULL, LEAVE_MS);
    sim_trace("%s has left: %s", node->name, rusm_err_name(err));
    sim_seen(err == RUSM_OK ? SIM_SEEN_LEAVE : SIM_SEEN_LEAVE_LATE);
    sim_left(life, since, err);
    life->left = true;
}

static void leave(struct sim_node *node)
{
    if (node->leaves_at != 0) {
        return;
    }
    sim_trace("%s leaves", node->name);
    node->leaves_at = rusm_test_now(sim->pool) + LEFT_NS;
    rusmi_assert(rusm_spawn(node->life->rt, leave_main, node, NULL) == RUSM_OK);
}

static void some_fault(void)
{
    struct sim_life *life = sim_life_draw(&sim->rng);

    if (life == NULL) {
        return;
    }
    sim->totals.faults++;
    if (sim_chance(&sim->rng, sim->profile.crash_ppm)) {
        crash(&sim->nodes[life->index], draw(3) == 0 ? draw(SIM_S) : draw(15 * SIM_S));
        return;
    }
    switch (draw(11)) {
    case 0:
        if (!life->paused) {
            pause_node(life);
        }
        break;
    case 1:
        jump_clock(life);
        break;
    case 2:
        leave(&sim->nodes[life->index]);
        break;
    case 3:
        hog(life, draw(3) == 0);
        break;
    case 4:
        if (sim->profile.crash_ppm != 0) {
            cut_and_restart(&sim->nodes[life->index]);
        }
        break;
    default:
        network_fault();
        break;
    }
}

/* End what has lasted long enough; everything, once healed. */
static void recover(void)
{
    rusm_time now = rusm_test_now(sim->pool);
    bool changed = false;

    for (unsigned i = 0; i < FAULTS_MAX; i++) {
        if (faults[i].active && (sim->healed || faults[i].until <= now)) {
            faults[i].active = false;
            changed = true;
            sim_trace("over: %s", fault_names[faults[i].kind]);
        }
    }
    if (changed) {
        apply_all();
    }
    for (unsigned i = 0; i < sim->options.nodes; i++) {
        struct sim_node *node = &sim->nodes[i];

        if (node->life == NULL) {
            if (sim->healed || node->down_until <= now) {
                life_begin(node);
            }
        } else if (node->leaves_at != 0 && (sim->healed || node->leaves_at <= now)) {
            sim_trace("%s ends", node->name);
            node->down_until = now + draw(5 * SIM_S);
            life_end(node);
            if (sim->healed) {
                life_begin(node);
            }
        } else if (node->life->paused && (sim->healed || node->life->paused_until <= now)) {
            resume_node(node->life);
        }
        if (sim->healed && node->life != NULL) {
            node->life->hogged = node->life->hog_until = 0;
        }
    }
    sim_procs_free();
}

/* ---- a run ----------------------------------------------------------------------------------- */

static void draw_profile(void)
{
    static const uint32_t losses[] = {0, 0, 10000, 50000, 150000};
    static const rusm_time delays[] = {50000, 500000, 5000000, 40000000};
    struct sim_profile *profile = &sim->profile;

    profile->tick_ms = 1000u << draw(3);
    profile->hello_ms = 5000;
    profile->queue_bytes_max = (size_t)(32 * 1024) << draw(6);
    profile->mailbox_high = draw(2) == 0 ? 8192 : 4 + (uint32_t)draw(30);
    profile->window = (uint64_t)64 * 1024 * 1024;
    profile->streams_max = UINT64_C(64) << draw(5);
    profile->loss_ppm = losses[draw(sizeof(losses) / sizeof(losses[0]))];
    profile->dup_ppm = draw(2) == 0 ? 0 : 20000;
    profile->late_ppm = draw(2) == 0 ? 0 : 50000;
    profile->delay_ns = delays[draw(sizeof(delays) / sizeof(delays[0]))];
    profile->jitter_ns = draw(2) == 0 ? 0 : profile->delay_ns / 2;
    profile->workers = 1 + (unsigned)draw(4);
    profile->big_ppm = draw(2) == 0 ? 0 : 20000;
    profile->big_len = (size_t)128 * 1024 + draw((size_t)256 * 1024);
    profile->fault_ppm = draw(4) == 0 ? 0 : 20000 + (uint32_t)draw(60000);
    profile->mesh = draw(2) == 0;
    profile->crash_ppm = draw(2) == 0 ? 0 : 150000;
    /* Who speaks version 1 does not tell of members, so such nodes are told whom to dial. */
    profile->old_ppm = profile->mesh || draw(3) != 0 ? 0 : 300000;
    profile->dated = draw(6) == 0;
}

static rusm_identity *identity_of(unsigned index)
{
    static rusm_identity *identities[SIM_NODES_MAX];
    static rusm_ca *ca;
    char name[SIM_NAME_LEN];

    if (ca == NULL) {
        rusmi_assert(rusm_ca_generate(&ca, "sim", 30) == RUSM_OK);
    }
    if (identities[index] == NULL) {
        (void)snprintf(name, sizeof(name), "n%u", index);
        rusmi_assert(rusm_ca_issue(ca, name, NULL, &identities[index]) == RUSM_OK);
    }
    return identities[index];
}

static void world_begin(const struct sim_options *options)
{
    static struct sim_world world;
    struct rusmi_prng seeds = {options->seed * UINT64_C(0x9e3779b97f4a7c15) + 1};
    rusm_runtime_config cfg;

    sim = NULL; /* certificates need real randomness */
    memset(&world, 0, sizeof(world));
    for (unsigned i = 0; i < options->nodes; i++) {
        struct sim_node *node = &world.nodes[i];

        node->index = i;
        node->identity = identity_of(i);
        (void)snprintf(node->name, sizeof(node->name), "n%u", i);
        (void)snprintf(node->address, sizeof(node->address), "10.0.0.%u:%u", i + 1, SIM_PORT);
    }
    sim = &world;
    sim->options = *options;
    sim->rng.state = rusmi_prng_next(&seeds);
    sim->net.state = rusmi_prng_next(&seeds);
    sim->work.state = rusmi_prng_next(&seeds);
    sim->entropy.state = rusmi_prng_next(&seeds);
    sim->refs = rusmi_prng_next(&seeds) % 2 == 0 ? 0 : 16300; /* near where numbers get longer */
    memset(faults, 0, sizeof(faults));
    draw_profile();
    sim_procs_watch(true);
    sim_trace_reset();
    sim_check_start();
    sim_udp_start();
    sim_net_start();
    sim_live_start();
    rusmi_assert(rusm_test_pool_new(&sim->pool, rusmi_prng_next(&seeds), NULL) == RUSM_OK);
    rusm_runtime_config_init(&cfg);
    cfg.pool = sim->pool;
    rusmi_assert(rusm_runtime_new(&sim->control, &cfg) == RUSM_OK);
    rusmi_assert(rusm_thread_enter(sim->control, NULL) == RUSM_OK);
}

static void world_end(void)
{
    for (unsigned i = 0; i < sim->options.nodes; i++) {
        life_end(&sim->nodes[i]);
    }
    sim_procs_watch(false);
    rusm_thread_leave();
    rusm_runtime_del(sim->control);
    sim_net_stop();
    sim_udp_stop();
    rusm_pool_del(sim->pool);
    sim->pool = NULL;
    while (sim->lives != NULL) {
        struct sim_life *life = sim->lives;

        sim->lives = life->next;
        rusmi_free(life);
    }
    sim_check_stop();
}

/* Let nodes that do not reach each other dial. */
static void dial_missing(uint32_t ppm)
{
    if (sim->profile.mesh) {
        return;
    }
    for (unsigned i = 0; i < sim->options.nodes; i++) {
        for (unsigned j = 0; j < i; j++) {
            struct sim_life *a = sim->nodes[i].life, *b = sim->nodes[j].life;

            if (a != NULL && b != NULL && (sim_session(a, b) == 0 || sim_session(b, a) == 0) &&
                sim_chance(&sim->rng, ppm)) {
                uint64_t who = draw(3);

                if (who != 0) {
                    sim_dial(a, j);
                }
                if (who != 1) {
                    sim_dial(b, i);
                }
            }
        }
    }
}

/* How long until the next step: most follow each other at once, a few a long time after. */
static int64_t draw_pause_ms(void)
{
    uint64_t what = draw(100);

    if (what < 50) {
        return (int64_t)draw(3);
    }
    if (what < 92) {
        return (int64_t)draw(30);
    }
    return (int64_t)draw(what < 99 ? 300 : 2000);
}

static void safety_phase(void)
{
    for (unsigned i = 0; i < sim->options.steps; i++) {
        sim->step++;
        note_disturbed();
        recover();
        if (sim_chance(&sim->rng, sim->profile.fault_ppm)) {
            some_fault();
        }
        dial_missing(i == 0 ? 1000000 : 10000);
        for (unsigned acts = 0; acts <= sim->options.nodes / 8; acts++) {
            sim_work_step();
        }
        (void)rusm_test_advance(sim->pool, draw_pause_ms());
        sim_live_check();
        if (i % 16 == 0) {
            sim_check_budgets();
        }
    }
}

/* Let time pass until nothing is left to complain of. */
static void await(const char *(*complaint)(void))
{
    const char *why = complaint();

    for (int64_t ms = 0; why != NULL && ms < HEAL_MS; ms += HEAL_POLL_MS) {
        sim->step++;
        dial_missing(200000);
        (void)rusm_test_advance(sim->pool, HEAL_POLL_MS);
        why = complaint();
    }
    sim_check(why == NULL, "after %d s without faults: %s", HEAL_MS / 1000, why);
}

static void liveness_phase(void)
{
    const char *why;

    sim->healed = true;
    sim->quiet = true;
    sim_trace("healed");
    note_disturbed();
    recover();
    /* A link may have been doomed by the last faults and be found so only now: then once more. */
    for (unsigned rounds = 0;; rounds++) {
        await(sim_check_converged);
        await(sim_check_missing);
        (void)rusm_test_advance(sim->pool, SETTLE_MS);
        why = sim_check_converged();
        if (why == NULL) {
            why = sim_check_missing();
        }
        if (why == NULL) {
            return;
        }
        sim_check(rounds < ROUNDS_MAX, "no rest after the faults: %s", why);
    }
}

uint64_t sim_run(const struct sim_options *options)
{
    uint64_t hash;

    world_begin(options);
    for (unsigned i = 0; i < options->nodes; i++) {
        life_begin(&sim->nodes[i]);
    }
    safety_phase();
    liveness_phase();
    hash = sim_hash();
    world_end();
    return hash;
}
