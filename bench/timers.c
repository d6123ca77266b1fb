/* SPDX-License-Identifier: MIT */
/*
 * What timers cost while many are pending, and how late they are.
 *
 *   timers [seconds] [--pending N] [--threads N] [--json]
 *
 * First the price, on one scheduler thread: N timers that send a message in one to two hours are
 * set, by processes that have 10,000 each; then a process sets and cancels batches of a thousand
 * more, and lets batches of ten thousand fall due at once, which are fired, delivered and received.
 * A pair of processes plays ping-pong before and after, to see what the pending ones cost others.
 *
 * Then the accuracy, with as many pending: a hundred processes wait for receive time-outs of 1 to
 * 20 ms, and a hundred for messages that they send to themselves after as long, while a pair plays
 * ping-pong. Late is what has passed since the time that was asked for when the process runs.
 */
#include "bench.h"

#include <rusm/otp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PER_HOLDER   10000u
#define PENDING_MAX  20000000u
#define BATCH        1000u
#define DUE_BATCH    10000u
#define DUE_MS       8
#define WAITERS      100u
#define SAMPLES_MAX  2000000u
#define HOUR_MS      3600000
#define PING_PONG_MS 500
#define NS_PER_MS    1000000u
#define NS_PER_US    1000.0

struct samples {
    uint64_t *values;
    _Atomic size_t len;
};

struct result {
    double set_ns, cancel_ns, fire_ns, fill_ns, bytes_each;
    double ping_pong_alone, ping_pong_pending; /* messages a second */
    double receive_us[2], after_us[2];         /* p50, p99 */
    size_t receive_len, after_len;
};

static struct {
    rusm_runtime *rt;
    unsigned seconds, threads;
    uint32_t pending;
    _Atomic uint32_t ready;
    _Atomic uint32_t stop;
    _Atomic uint64_t rounds; /* of the ping-pong pair */
    rusm_pid ponger;
} bench;

static struct samples sets, cancels, fires, receives, afters;

static void sample(struct samples *samples, uint64_t value)
{
    size_t at = atomic_fetch_add(&samples->len, 1);

    if (at < SAMPLES_MAX) {
        samples->values[at] = value;
    }
}

static size_t samples_len(struct samples *samples)
{
    size_t len = atomic_load(&samples->len);

    return len < SAMPLES_MAX ? len : SAMPLES_MAX;
}

static double percentile(struct samples *samples, double percent)
{
    return (double)bench_percentile(samples->values, samples_len(samples), percent);
}

static void samples_init(struct samples *samples)
{
    samples->values = malloc(SAMPLES_MAX * sizeof(*samples->values));
    if (samples->values == NULL) {
        (void)fprintf(stderr, "timers: out of memory\n");
        exit(1);
    }
    atomic_store(&samples->len, 0);
}

/* A small generator, so that runs are alike. */
static uint64_t random_below(uint64_t *seed, uint64_t bound)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (*seed >> 33) % bound;
}

/* ---- what is pending ------------------------------------------------------------------------- */

static void holder(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg;
    uint32_t count = bench.pending - (uint32_t)seed * PER_HOLDER;
    rusm_msg *msg;

    for (uint32_t i = 0; i < (count < PER_HOLDER ? count : PER_HOLDER); i++) {
        int64_t delay_ms = HOUR_MS + (int64_t)random_below(&seed, HOUR_MS);

        bench_check(rusm_send_after(rusm_self(), &i, sizeof(i), delay_ms, NULL), "set a timer");
    }
    (void)atomic_fetch_add(&bench.ready, 1);
    bench_check(rusm_receive(&msg, RUSM_INFINITY), "hold timers");
}

/* Returns nanoseconds per timer. */
static double fill(void)
{
    uint32_t holders = (bench.pending + PER_HOLDER - 1) / PER_HOLDER;
    uint64_t begin = bench_now_ns();

    atomic_store(&bench.ready, 0);
    for (uint32_t i = 0; i < holders; i++) {
        bench_check(rusm_spawn(bench.rt, holder, (void *)(uintptr_t)i, NULL), "spawn a holder");
    }
    while (atomic_load(&bench.ready) < holders) {
        bench_check(rusm_sleep(1), "wait for the holders");
    }
    return bench.pending == 0 ? 0 : (double)(bench_now_ns() - begin) / bench.pending;
}

/* ---- the price ------------------------------------------------------------------------------- */

static void set_and_cancel(uint64_t *seed)
{
    static rusm_ref refs[BATCH];
    uint64_t begin = bench_now_ns(), between;

    for (unsigned i = 0; i < BATCH; i++) {
        bench_check(rusm_send_after(rusm_self(), &i, sizeof(i),
                                    1000 + (int64_t)random_below(seed, 2 * (uint64_t)HOUR_MS),
                                    &refs[i]),
                    "set a timer");
    }
    between = bench_now_ns();
    for (unsigned i = 0; i < BATCH; i++) {
        bench_check(rusm_cancel_timer(refs[i]), "cancel a timer");
    }
    sample(&sets, between - begin);
    sample(&cancels, bench_now_ns() - between);
}

/* Keep the only scheduler until all are due, then receive them, and have their records freed, which
 * a process does at its next call about timers. */
static void let_fire(void)
{
    rusm_ref ref = {0, 0};
    uint64_t begin;
    rusm_msg *msg;

    for (unsigned i = 0; i < DUE_BATCH; i++) {
        bench_check(rusm_send_after(rusm_self(), &i, sizeof(i), DUE_MS, &ref), "set a timer");
    }
    begin = bench_now_ns() + DUE_MS * NS_PER_MS;
    while (bench_now_ns() < begin) {
    }
    begin = bench_now_ns();
    for (unsigned i = 0; i < DUE_BATCH; i++) {
        bench_check(rusm_receive(&msg, RUSM_INFINITY), "receive from a timer");
        rusm_msg_del(msg);
    }
    if (rusm_timer_left_ms(ref) >= 0) {
        (void)fprintf(stderr, "timers: a timer has fired and is still set\n");
        exit(1);
    }
    sample(&fires, bench_now_ns() - begin);
}

static void pricer(void *arg)
{
    uint64_t seed = 7, end = bench_now_ns() + (uint64_t)bench.seconds * 1000u * NS_PER_MS / 2;

    (void)arg;
    while (bench_now_ns() < end) {
        set_and_cancel(&seed);
        let_fire();
        rusm_yield();
    }
    (void)atomic_fetch_add(&bench.ready, 1);
}

/* ---- the others ------------------------------------------------------------------------------ */

static void ponger(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_pid to = rusm_msg_sender(msg);

        if (rusm_send_msg(to, msg) != RUSM_OK) {
            rusm_msg_del(msg);
        }
    }
}

static void pinger(void *arg)
{
    uint64_t word = 0;

    (void)arg;
    while (atomic_load(&bench.stop) == 0) {
        rusm_msg *msg;

        bench_check(rusm_send(bench.ponger, &word, sizeof(word)), "ping");
        bench_check(rusm_receive(&msg, RUSM_INFINITY), "pong");
        rusm_msg_del(msg);
        (void)atomic_fetch_add_explicit(&bench.rounds, 1, memory_order_relaxed); /* a count */
    }
    bench_check(rusm_kill(bench.ponger), "end the ping-pong");
    (void)atomic_fetch_add(&bench.ready, 1);
}

static void ping_pong_start(void)
{
    atomic_store(&bench.stop, 0);
    atomic_store(&bench.rounds, 0);
    atomic_store(&bench.ready, 0);
    bench_check(rusm_spawn(bench.rt, ponger, NULL, &bench.ponger), "spawn");
    bench_check(rusm_spawn(bench.rt, pinger, NULL, NULL), "spawn");
}

static void wait_ready(uint32_t wanted)
{
    while (atomic_load(&bench.ready) < wanted) {
        bench_check(rusm_sleep(5), "wait");
    }
}

/* Messages a second. */
static double ping_pong(void)
{
    uint64_t begin;
    double rate;

    ping_pong_start();
    bench_check(rusm_sleep(PING_PONG_MS / 5), "warm up");
    begin = bench_now_ns();
    rate = -(double)atomic_load(&bench.rounds);
    bench_check(rusm_sleep(PING_PONG_MS), "play ping-pong");
    rate = (rate + (double)atomic_load(&bench.rounds)) * 2e9 / (double)(bench_now_ns() - begin);
    atomic_store(&bench.stop, 1);
    wait_ready(1);
    return rate;
}

/* ---- accuracy -------------------------------------------------------------------------------- */

static void receive_waiter(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg;
    rusm_msg *msg;

    while (atomic_load(&bench.stop) == 0) {
        int64_t span_ms = 1 + (int64_t)random_below(&seed, 20);
        uint64_t due = bench_now_ns() + (uint64_t)span_ms * NS_PER_MS;

        if (rusm_receive(&msg, span_ms) == RUSM_ETIMEOUT) {
            sample(&receives, bench_now_ns() - due);
        }
    }
    (void)atomic_fetch_add(&bench.ready, 1);
}

static void after_waiter(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg;
    rusm_msg *msg;

    while (atomic_load(&bench.stop) == 0) {
        int64_t span_ms = 1 + (int64_t)random_below(&seed, 20);
        uint64_t due = bench_now_ns() + (uint64_t)span_ms * NS_PER_MS;

        bench_check(rusm_send_after(rusm_self(), &due, sizeof(due), span_ms, NULL), "set a timer");
        bench_check(rusm_receive(&msg, RUSM_INFINITY), "receive from a timer");
        sample(&afters, bench_now_ns() - due);
        rusm_msg_del(msg);
    }
    (void)atomic_fetch_add(&bench.ready, 1);
}

static void accuracy(struct result *result)
{
    ping_pong_start();
    for (unsigned i = 0; i < WAITERS; i++) {
        bench_check(rusm_spawn(bench.rt, receive_waiter, (void *)(uintptr_t)(i + 1), NULL),
                    "spawn");
        bench_check(rusm_spawn(bench.rt, after_waiter, (void *)(uintptr_t)(i + 1), NULL), "spawn");
    }
    bench_check(rusm_sleep((int64_t)bench.seconds * 500), "measure");
    atomic_store(&bench.stop, 1);
    wait_ready(1 + 2 * WAITERS);
    result->receive_us[0] = percentile(&receives, 50) / NS_PER_US;
    result->receive_us[1] = percentile(&receives, 99) / NS_PER_US;
    result->after_us[0] = percentile(&afters, 50) / NS_PER_US;
    result->after_us[1] = percentile(&afters, 99) / NS_PER_US;
    result->receive_len = samples_len(&receives);
    result->after_len = samples_len(&afters);
}

/* ---- the run --------------------------------------------------------------------------------- */

static rusm_pool *start(unsigned threads)
{
    rusm_pool_config pool_cfg;
    rusm_runtime_config cfg;
    rusm_pool *pool;

    rusm_pool_config_init(&pool_cfg);
    pool_cfg.threads = threads;
    bench_check(rusm_pool_new(&pool, &pool_cfg), "start a pool");
    rusm_runtime_config_init(&cfg);
    cfg.pool = pool;
    bench_check(rusm_runtime_new(&bench.rt, &cfg), "start a runtime");
    bench_check(rusm_thread_enter(bench.rt, "main"), "enter the runtime");
    return pool;
}

static void stop(rusm_pool *pool)
{
    rusm_thread_leave();
    rusm_runtime_del(bench.rt);
    rusm_pool_del(pool);
}

static void price(struct result *result)
{
    rusm_pool *pool = start(1);
    double rss;

    result->ping_pong_alone = ping_pong();
    rss = bench_rss_mib();
    result->fill_ns = fill();
    if (bench.pending != 0) {
        result->bytes_each = (bench_rss_mib() - rss) * 1024 * 1024 / bench.pending;
    }
    atomic_store(&bench.ready, 0);
    bench_check(rusm_spawn(bench.rt, pricer, NULL, NULL), "spawn");
    wait_ready(1);
    result->ping_pong_pending = ping_pong();
    stop(pool);
    result->set_ns = percentile(&sets, 50) / BATCH;
    result->cancel_ns = percentile(&cancels, 50) / BATCH;
    result->fire_ns = percentile(&fires, 50) / DUE_BATCH;
}

static void print(const struct result *result, bool json)
{
    printf(json ? "{\"bench\":\"timers\",\"seconds\":%u,\"threads\":%u,\"pending\":%u,"
                  "\"set_ns\":%.0f,\"cancel_ns\":%.0f,\"fire_ns\":%.0f,\"fill_ns\":%.0f,"
                  "\"bytes_per_timer\":%.0f,\"ping_pong_alone_per_s\":%.0f,"
                  "\"ping_pong_pending_per_s\":%.0f,\"receive_late_p50_us\":%.1f,"
                  "\"receive_late_p99_us\":%.1f,\"receive_samples\":%zu,"
                  "\"after_late_p50_us\":%.1f,\"after_late_p99_us\":%.1f,\"after_samples\":%zu}\n"
                : "timers: %u s, %u threads, %u pending: set %.0f ns, cancel %.0f ns, fired, "
                  "delivered and received %.0f ns; filled at %.0f ns each, %.0f bytes each\n"
                  "  ping-pong alone %.0f messages/s, with them %.0f\n"
                  "  receive time-outs late by p50 %.1f us, p99 %.1f us (%zu)\n"
                  "  rusm_send_after late by p50 %.1f us, p99 %.1f us (%zu)\n",
           bench.seconds, bench.threads, bench.pending, result->set_ns, result->cancel_ns,
           result->fire_ns, result->fill_ns, result->bytes_each, result->ping_pong_alone,
           result->ping_pong_pending, result->receive_us[0], result->receive_us[1],
           result->receive_len, result->after_us[0], result->after_us[1], result->after_len);
}

int main(int argc, char **argv)
{
    struct result result = {0};
    bool json = false, known = true;
    rusm_pool *pool;

    bench.seconds = 4;
    bench.threads = 2;
    bench.pending = 1000000;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            json = true;
        } else if (strcmp(argv[i], "--pending") == 0 && i + 1 < argc) {
            bench.pending = (uint32_t)strtoul(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc) {
            bench.threads = (unsigned)strtoul(argv[++i], NULL, 10);
        } else if (i == 1) {
            bench.seconds = (unsigned)strtoul(argv[i], NULL, 10);
        } else {
            known = false;
        }
    }
    if (!known || bench.seconds < 1 || bench.seconds > 3600 || bench.pending > PENDING_MAX) {
        (void)fprintf(stderr,
                      "usage: timers [seconds 1-3600] [--pending 0-%u] [--threads N] [--json]\n",
                      PENDING_MAX);
        return 2;
    }
    samples_init(&sets);
    samples_init(&cancels);
    samples_init(&fires);
    samples_init(&receives);
    samples_init(&afters);
    price(&result);
    pool = start(bench.threads);
    (void)fill();
    accuracy(&result);
    stop(pool);
    print(&result, json);
    free(sets.values);
    free(cancels.values);
    free(fires.values);
    free(receives.values);
    free(afters.values);
    return 0;
}
