/* SPDX-License-Identifier: MIT */
/*
 * Signs of life: a node that has crashed is noticed in time by all that were linked with it, and no
 * link is given up for silence while nothing is wrong with the way or with its ends, whatever goes
 * over it.
 */
#include "sim/sim.h"
#include "sim/sim_cover.h"

#include "base/assert.h"
#include "base/mem.h"

#include <string.h>

/* Noticed within 1.5 ticks, and what a datagram that was under way may add. */
#define SLACK_NS (800 * SIM_MS)
/* Loss that no peer is lost by: three signs of life and their repetitions in a row. */
#define LOSS_PPM 10000u

/* A link to a node that has crashed. */
struct widow {
    struct widow *next;
    const struct sim_life *from, *to;
    uint64_t session;
    rusm_time until;
};

static struct widow *widows;
static rusm_time disturbed[SIM_NODES_MAX][SIM_NODES_MAX]; /* when something was last wrong */

static rusm_time limit(void)
{
    rusm_time tick = sim->profile.tick_ms * SIM_MS;

    return rusm_test_now(sim->pool) + tick + tick / 2 + SLACK_NS;
}

void sim_live_start(void)
{
    memset(disturbed, 0, sizeof(disturbed));
}

void sim_live_stop(void)
{
    while (widows != NULL) {
        struct widow *widow = widows;

        widows = widow->next;
        rusmi_free(widow);
    }
}

void sim_disturbed(unsigned a, unsigned b)
{
    disturbed[a][b] = disturbed[b][a] = rusm_test_now(sim->pool);
}

void sim_disturbed_node(unsigned index)
{
    for (unsigned i = 0; i < sim->options.nodes; i++) {
        sim_disturbed(index, i);
    }
}

void sim_cert_expired(const char *name)
{
    sim_seen(SIM_SEEN_EXPIRED);
    for (unsigned i = 0; i < sim->options.nodes; i++) {
        if (strcmp(sim->nodes[i].name, name) == 0) {
            sim_disturbed_node(i);
        }
    }
}

bool sim_was_calm(unsigned a, unsigned b, rusm_time since)
{
    return sim->profile.loss_ppm <= LOSS_PPM &&
           disturbed[a][b] + 2 * sim->profile.tick_ms * SIM_MS < since;
}

void sim_live_crashed(const struct sim_life *gone)
{
    for (unsigned i = 0; i < sim->options.nodes; i++) {
        const struct sim_life *life = sim->nodes[i].life;
        uint64_t session = life == NULL ? 0 : sim_session(life, gone);
        struct widow *widow;

        if (session == 0 || life == gone) {
            continue;
        }
        widow = rusmi_zalloc(sizeof(*widow));
        rusmi_assert(widow != NULL);
        *widow = (struct widow){widows, life, gone, session, limit()};
        widows = widow;
    }
}

void sim_live_check(void)
{
    rusm_time now = rusm_test_now(sim->pool);

    for (struct widow **at = &widows; *at != NULL;) {
        struct widow *widow = *at;

        if (widow->from->cut || sim_session(widow->from, widow->to) != widow->session) {
            *at = widow->next;
            rusmi_free(widow);
            continue;
        }
        if (widow->from->paused) {
            widow->until = limit(); /* who is stopped notices nothing */
        }
        sim_check(now <= widow->until, "%s has not noticed that %s crashed",
                  sim->nodes[widow->from->index].name, sim->nodes[widow->to->index].name);
        at = &widow->next;
    }
}

void sim_live_lost(const struct sim_life *from, const struct sim_life *to)
{
    rusm_time tick = sim->profile.tick_ms * SIM_MS;

    sim_check(sim->profile.loss_ppm > LOSS_PPM || to->cut ||
                  rusm_test_now(sim->pool) - disturbed[from->index][to->index] <= 2 * tick + SIM_S,
              "%s gave up %s for silence, and nothing was wrong", sim->nodes[from->index].name,
              sim->nodes[to->index].name);
}
