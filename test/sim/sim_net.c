/* SPDX-License-Identifier: MIT */
/*
 * The network: datagrams under way, in order of the time when they arrive. One timer of the pool is
 * set for the first of them, so that the network goes on whoever lets time pass.
 */
#include "sim/sim.h"
#include "sim/sim_cover.h"

#include "base/assert.h"
#include "base/mem.h"
#include "otp/sched.h"

#include <string.h>

/* A path with a rate queues datagrams for so long, then drops. */
#define QUEUE_NS (200 * SIM_MS)
/* A late datagram is late by up to so much: enough to be overtaken by others. */
#define LATE_NS (60 * SIM_MS)
/* Header bytes of UDP and IP, which a rate counts too. */
#define OVERHEAD 28u

struct datagram {
    rusm_time at;
    uint64_t number;
    struct sim_address from, to;
    size_t len;
    uint8_t data[];
};

static struct {
    struct sim_path paths[SIM_NODES_MAX][SIM_NODES_MAX];
    struct datagram **heap;
    size_t len, cap;
    uint64_t number;
    struct rusmi_timer timer;
    rusm_time armed; /* 0: not */
    bool firing;
} net;

struct sim_path *sim_net_path(unsigned from, unsigned to)
{
    return &net.paths[from][to];
}

/* ---- a heap ---------------------------------------------------------------------------------- */

static bool before(const struct datagram *a, const struct datagram *b)
{
    return a->at != b->at ? a->at < b->at : a->number < b->number;
}

static void heap_push(struct datagram *datagram)
{
    size_t at = net.len++;

    if (net.len > net.cap) {
        net.cap = net.cap == 0 ? 256 : net.cap * 2;
        net.heap = rusmi_realloc(net.heap, net.cap * sizeof(struct datagram *));
        rusmi_assert(net.heap != NULL);
    }
    while (at > 0 && before(datagram, net.heap[(at - 1) / 2])) {
        net.heap[at] = net.heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    net.heap[at] = datagram;
}

static struct datagram *heap_pop(void)
{
    struct datagram *first = net.heap[0], *last = net.heap[--net.len];
    size_t at = 0;

    for (;;) {
        size_t child = at * 2 + 1;

        if (child >= net.len) {
            break;
        }
        if (child + 1 < net.len && before(net.heap[child + 1], net.heap[child])) {
            child++;
        }
        if (!before(net.heap[child], last)) {
            break;
        }
        net.heap[at] = net.heap[child];
        at = child;
    }
    if (net.len > 0) {
        net.heap[at] = last;
    }
    return first;
}

/* ---- sending and arriving -------------------------------------------------------------------- */

/* Called under the lock of the timers' wheel: posts drivers and sets itself again, no more. */
static void fire(struct rusmi_timer *timer)
{
    rusm_time now = rusm_test_now(sim->pool);

    net.armed = 0;
    net.firing = true;
    while (net.len > 0 && net.heap[0]->at <= now) {
        struct datagram *datagram = heap_pop();

        sim_udp_arrived(datagram->from, datagram->to, datagram->data, datagram->len);
        rusmi_free(datagram);
    }
    net.firing = false;
    if (net.len > 0) {
        net.armed = net.heap[0]->at;
        rusmi_timers_again(&sim->pool->timers, timer, net.armed);
    }
}

static void arm(void)
{
    if (!net.firing && net.len > 0 && (net.armed == 0 || net.heap[0]->at < net.armed)) {
        net.armed = net.heap[0]->at;
        rusmi_sched_set_timer(sim->pool, &net.timer, net.armed);
    }
}

/* When a datagram that enters a path now arrives; 0: never. */
static rusm_time travel(struct sim_path *path, size_t len, rusm_time now)
{
    rusm_time at = now;

    if (path->blocked || sim_chance(&sim->net, path->loss_ppm)) {
        return 0;
    }
    if (path->rate != 0) {
        at = path->busy_until > now ? path->busy_until : now;
        if (at - now > QUEUE_NS) {
            return 0;
        }
        at += (len + OVERHEAD) * SIM_S / path->rate;
        path->busy_until = at;
    }
    at += path->delay_ns;
    if (path->jitter_ns != 0) {
        at += sim_below(&sim->net, path->jitter_ns);
    }
    if (sim_chance(&sim->net, path->late_ppm)) {
        at += sim_below(&sim->net, LATE_NS);
    }
    return at > now ? at : now + 1;
}

void sim_net_send(struct sim_address from, struct sim_address to, const void *data, size_t len)
{
    struct sim_path *path = &net.paths[from.node][to.node];
    rusm_time now = rusm_test_now(sim->pool);
    unsigned copies = sim_chance(&sim->net, path->dup_ppm) ? 2 : 1;

    if (copies > 1) {
        sim_seen(SIM_SEEN_DUPLICATE);
    }
    for (unsigned i = 0; i < copies; i++) {
        rusm_time at = travel(path, len, now);
        struct datagram *datagram;

        sim_mix(at ^ (uint64_t)len << 48 ^ (uint64_t)from.node << 40 ^ (uint64_t)to.node << 32);
        if (at == 0) {
            continue;
        }
        sim->totals.datagrams++;
        datagram = rusmi_alloc(sizeof(*datagram) + len);
        rusmi_assert(datagram != NULL);
        datagram->at = at;
        datagram->number = ++net.number;
        datagram->from = from;
        datagram->to = to;
        datagram->len = len;
        memcpy(datagram->data, data, len);
        heap_push(datagram);
    }
    arm();
}

void sim_net_start(void)
{
    const struct sim_profile *profile = &sim->profile;

    memset(&net, 0, sizeof(net));
    net.timer.fire = fire;
    for (unsigned from = 0; from < sim->options.nodes; from++) {
        for (unsigned to = 0; to < sim->options.nodes; to++) {
            net.paths[from][to] = (struct sim_path){.loss_ppm = profile->loss_ppm,
                                                    .dup_ppm = profile->dup_ppm,
                                                    .late_ppm = profile->late_ppm,
                                                    .delay_ns = profile->delay_ns,
                                                    .jitter_ns = profile->jitter_ns};
        }
    }
}

void sim_net_stop(void)
{
    (void)rusmi_timers_cancel(&sim->pool->timers, &net.timer);
    while (net.len > 0) {
        rusmi_free(net.heap[--net.len]);
    }
    rusmi_free(net.heap);
    net.heap = NULL;
    net.cap = 0;
}
