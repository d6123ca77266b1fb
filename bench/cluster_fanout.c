/* SPDX-License-Identifier: MIT */
/*
 * One hub and N worker nodes in one OS process, each with its own QUIC endpoint on loopback.
 *
 * Each worker's process `echo` bounces a message [8-byte time][reply name] to the hub's process of
 * that name. Unloaded: one message in flight. Saturation: eight senders per worker send as fast as
 * they may, `collector` on the hub counts what comes back; then everything drains and what is
 * missing is lost.
 *
 * messages_per_s counts both directions, as every message crosses the wire by itself: twice the
 * round trips that were collected while the senders ran.
 *
 *   cluster_fanout [seconds] [workers] [--json] [--floor]
 */
#include "bench.h"

#include <rusm/rusm.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORKERS_MAX        256
#define SENDERS_PER_WORKER 8
#define ROUND_TRIPS        2000
#define WARM_UP            200
#define PAYLOAD_MAX        64
#define DRAIN_QUIET_MS     5000

struct bench {
    unsigned seconds, workers;
    rusm_runtime *hub_runtime, *runtimes[WORKERS_MAX];
    rusm_node *hub, *nodes[WORKERS_MAX];
    rusm_pid echoes[WORKERS_MAX];
    uint64_t round_trips[ROUND_TRIPS];
    atomic_bool stop;
    atomic_uint senders_running;
    _Atomic uint64_t sent, received;
};

struct sender {
    struct bench *bench;
    char peer[32];
};

struct result {
    double rtt_p50_us, rtt_p99_us, udp_rtt_p50_us, udp_blocking_rtt_p50_us;
    double elapsed_s, cpu_s;
    uint64_t received_in_window;
    uint64_t sent, received;
};

static void worker_name(char *buf, size_t buf_len, unsigned index)
{
    (void)snprintf(buf, buf_len, "worker%u", index);
}

/* The echo process of a worker: the reply name follows the time. */
static void echo(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        const char *data = rusm_msg_data(msg);
        size_t len = rusm_msg_len(msg);
        char reply[PAYLOAD_MAX];

        if (len > 8 && len - 8 < sizeof(reply)) {
            memcpy(reply, data + 8, len - 8);
            reply[len - 8] = '\0';
            bench_check(rusm_node_send(NULL, "hub", reply, data, len), "echo");
        }
        rusm_msg_del(msg);
    }
}

static size_t payload(char *buf, const char *reply_name)
{
    uint64_t now = bench_now_ns();
    size_t len = strlen(reply_name);

    memcpy(buf, &now, 8);
    memcpy(buf + 8, reply_name, len);
    return 8 + len;
}

/* One message in flight, to each worker in turn. */
static void unloaded(struct bench *bench)
{
    char buf[PAYLOAD_MAX], peer[32];

    bench_check(rusm_register(NULL, "pinger", rusm_self()), "register pinger");
    for (int i = -WARM_UP; i < ROUND_TRIPS; i++) {
        uint64_t start;
        rusm_msg *msg;

        worker_name(peer, sizeof(peer), (unsigned)(i + WARM_UP) % bench->workers);
        start = bench_now_ns();
        bench_check(rusm_node_send(NULL, peer, "echo", buf, payload(buf, "pinger")), "ping");
        bench_check(rusm_receive(&msg, 10000), "wait for the echo");
        if (i >= 0) {
            bench->round_trips[i] = bench_now_ns() - start;
        }
        rusm_msg_del(msg);
    }
}

static void pinger(void *arg)
{
    struct bench *bench = arg;

    unloaded(bench);
    atomic_store(&bench->stop, true);
}

static void send_until_stopped(void *arg)
{
    struct sender *sender = arg;
    struct bench *bench = sender->bench;
    char buf[PAYLOAD_MAX];
    uint64_t sent = 0;

    while (!atomic_load_explicit(&bench->stop,
                                 memory_order_relaxed)) { /* a stale read sends a few more */
        bench_check(rusm_node_send(NULL, sender->peer, "echo", buf, payload(buf, "collector")),
                    "send");
        sent++;
    }
    atomic_fetch_add(&bench->sent, sent);
    atomic_fetch_sub(&bench->senders_running, 1);
}

static void collect(void *arg)
{
    struct bench *bench = arg;
    uint64_t received = 0;
    rusm_msg *msg;

    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_del(msg);
        /* relaxed: a statistic, the main thread polls it */
        atomic_store_explicit(&bench->received, ++received, memory_order_relaxed);
    }
}

static void start_nodes(struct bench *bench)
{
    rusm_ca *ca;
    rusm_identity *identity;
    char name[32];

    bench_check(rusm_ca_generate(&ca, "bench", 2), "make a CA");
    bench_check(rusm_ca_issue(ca, "hub", NULL, &identity), "issue the hub's certificate");
    bench_check(rusm_runtime_new(&bench->hub_runtime, NULL), "start the hub's runtime");
    bench_check(rusm_node_bind(&bench->hub, bench->hub_runtime, NULL, "127.0.0.1:0", identity),
                "bind the hub");
    rusm_identity_del(identity);
    for (unsigned i = 0; i < bench->workers; i++) {
        rusm_spawn_config cfg;

        worker_name(name, sizeof(name), i);
        bench_check(rusm_ca_issue(ca, name, NULL, &identity), "issue a worker's certificate");
        bench_check(rusm_runtime_new(&bench->runtimes[i], NULL), "start a worker's runtime");
        bench_check(
            rusm_node_bind(&bench->nodes[i], bench->runtimes[i], NULL, "127.0.0.1:0", identity),
            "bind a worker");
        rusm_identity_del(identity);
        rusm_spawn_config_init(&cfg);
        cfg.name = cfg.label = "echo";
        bench_check(rusm_spawn_with(bench->runtimes[i], echo, NULL, &cfg, NULL), "spawn echo");
        bench_check(rusm_node_connect(bench->nodes[i], rusm_node_address(bench->hub), 10000, NULL),
                    "connect");
    }
    rusm_ca_del(ca);
}

static void stop_nodes(struct bench *bench)
{
    rusm_node_del(bench->hub);
    for (unsigned i = 0; i < bench->workers; i++) {
        rusm_node_del(bench->nodes[i]);
        rusm_runtime_del(bench->runtimes[i]);
    }
    rusm_runtime_del(bench->hub_runtime);
}

/* Block until pid has ended, asked from an ordinary thread. */
static void wait_for_end(rusm_pid pid)
{
    while (rusm_is_alive(pid)) {
        bench_check(rusm_sleep(5), "sleep");
    }
}

static void measure_unloaded(struct bench *bench, struct result *result)
{
    rusm_pid pid;

    atomic_store(&bench->stop, false);
    bench_check(rusm_spawn(bench->hub_runtime, pinger, bench, &pid), "spawn pinger");
    wait_for_end(pid);
    result->rtt_p50_us = (double)bench_percentile(bench->round_trips, ROUND_TRIPS, 50) / 1e3;
    result->rtt_p99_us = (double)bench_percentile(bench->round_trips, ROUND_TRIPS, 99) / 1e3;
}

static void measure_saturation(struct bench *bench, struct result *result)
{
    struct sender *senders = calloc((size_t)bench->workers * SENDERS_PER_WORKER, sizeof(*senders));
    uint64_t start, last_change, seen = 0;
    rusm_spawn_config cfg;
    double cpu;

    if (senders == NULL) {
        bench_check(RUSM_ENOMEM, "senders");
        return;
    }
    rusm_spawn_config_init(&cfg);
    cfg.name = cfg.label = "collector";
    bench_check(rusm_spawn_with(bench->hub_runtime, collect, bench, &cfg, NULL), "spawn collector");
    atomic_store(&bench->stop, false);
    atomic_store(&bench->senders_running, bench->workers * SENDERS_PER_WORKER);
    cpu = bench_cpu_s();
    start = bench_now_ns();
    for (unsigned i = 0; i < bench->workers * SENDERS_PER_WORKER; i++) {
        senders[i].bench = bench;
        worker_name(senders[i].peer, sizeof(senders[i].peer), i % bench->workers);
        bench_check(rusm_spawn(bench->hub_runtime, send_until_stopped, &senders[i], NULL),
                    "spawn a sender");
    }
    while (bench_now_ns() - start < (uint64_t)bench->seconds * 1000000000u) {
        (void)!rusm_sleep(20);
    }
    result->received_in_window = atomic_load(&bench->received);
    result->elapsed_s = (double)(bench_now_ns() - start) / 1e9;
    result->cpu_s = bench_cpu_s() - cpu;
    atomic_store(&bench->stop, true);
    while (atomic_load(&bench->senders_running) > 0) {
        (void)!rusm_sleep(1);
    }
    result->sent = atomic_load(&bench->sent);
    for (last_change = bench_now_ns();
         atomic_load(&bench->received) < result->sent &&
         bench_now_ns() - last_change < DRAIN_QUIET_MS * 1000000ull;) {
        uint64_t now_received = atomic_load(&bench->received);

        if (now_received != seen) {
            seen = now_received;
            last_change = bench_now_ns();
        }
        (void)!rusm_sleep(1);
    }
    result->received = atomic_load(&bench->received);
    free(senders);
}

static double udp_floor_us(bool polled)
{
    static uint64_t samples[ROUND_TRIPS];

    if (!bench_udp_floor(samples, ROUND_TRIPS, polled)) {
        (void)fprintf(stderr, "bench: the UDP floor could not be measured\n");
        exit(1);
    }
    return (double)bench_percentile(samples, ROUND_TRIPS, 50) / 1e3;
}

static void print_json(const struct bench *bench, const struct result *r)
{
    double per_s = 2.0 * (double)r->received_in_window / r->elapsed_s;

    printf("{\"bench\":\"cluster_fanout\",\"workers\":%u,\"seconds\":%u,\"rtt_p50_us\":%.1f,\"rtt_"
           "p99_us\":%.1f,"
           "\"round_trips_per_s\":%.0f,\"messages_per_s\":%.0f,\"sent\":%llu,\"received\":%llu,"
           "\"lost\":%lld,"
           "\"cpu_s_per_million\":%.3f,\"rss_mib\":%.1f,\"udp_rtt_p50_us\":%.1f,\"udp_blocking_rtt_"
           "p50_us\":%.1f}\n",
           bench->workers, bench->seconds, r->rtt_p50_us, r->rtt_p99_us, per_s / 2, per_s,
           (unsigned long long)r->sent, (unsigned long long)r->received,
           (long long)r->sent - (long long)r->received,
           per_s > 0 ? r->cpu_s / (per_s * r->elapsed_s) * 1e6 : 0.0, bench_rss_mib(),
           r->udp_rtt_p50_us, r->udp_blocking_rtt_p50_us);
}

static void print_table(const struct bench *bench, const struct result *r)
{
    double per_s = 2.0 * (double)r->received_in_window / r->elapsed_s;

    printf("cluster_fanout: 1 hub, %u workers, QUIC with mutual TLS on loopback, one OS process\n",
           bench->workers);
    printf("  unloaded round trip    p50 %.1f us, p99 %.1f us (plain UDP p50 %.1f us with epoll, "
           "ratio %.1f; %.1f us blocking)\n",
           r->rtt_p50_us, r->rtt_p99_us, r->udp_rtt_p50_us, r->rtt_p50_us / r->udp_rtt_p50_us,
           r->udp_blocking_rtt_p50_us);
    printf("  saturation, %2u s       %.0f messages/s both ways, %.0f round trips/s\n",
           bench->seconds, per_s, per_s / 2);
    printf("  sent %llu, came back %llu, lost %lld\n", (unsigned long long)r->sent,
           (unsigned long long)r->received, (long long)r->sent - (long long)r->received);
    printf("  CPU %.3f s per million messages, peak memory %.1f MiB\n",
           per_s > 0 ? r->cpu_s / (per_s * r->elapsed_s) * 1e6 : 0.0, bench_rss_mib());
}

/* A whole number from 1 to max; exits with 2 otherwise. */
static unsigned number(const char *text, unsigned max)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (*end != '\0' || value < 1 || value > max) {
        (void)fprintf(stderr,
                      "cluster_fanout: %s is not a whole number from 1 to %u\n"
                      "usage: cluster_fanout [seconds] [workers] [--json] [--floor]\n",
                      text, max);
        exit(2);
    }
    return (unsigned)value;
}

int main(int argc, char **argv)
{
    static struct bench bench = {.seconds = 5, .workers = 4};
    struct result result = {0};
    bool json = false, only_floor = false;
    int position = 0;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            json = true;
        } else if (strcmp(argv[i], "--floor") == 0) {
            only_floor = true;
        } else if (position == 0) {
            bench.seconds = number(argv[i], 3600);
            position = 1;
        } else {
            bench.workers = number(argv[i], WORKERS_MAX);
        }
    }
    result.udp_rtt_p50_us = udp_floor_us(true);
    result.udp_blocking_rtt_p50_us = udp_floor_us(false);
    if (only_floor) {
        printf(json ? "{\"bench\":\"cluster_fanout\",\"udp_rtt_p50_us\":%.1f,\"udp_blocking_rtt_"
                      "p50_us\":%.1f}\n"
                    : "plain UDP round trip p50 %.1f us with epoll, %.1f us blocking\n",
               result.udp_rtt_p50_us, result.udp_blocking_rtt_p50_us);
        return 0;
    }
    start_nodes(&bench);
    bench_check(rusm_thread_enter(bench.hub_runtime, "main"), "enter the hub's runtime");
    measure_unloaded(&bench, &result);
    measure_saturation(&bench, &result);
    rusm_thread_leave();
    stop_nodes(&bench);
    json ? print_json(&bench, &result) : print_table(&bench, &result);
    return result.sent == result.received ? 0 : 1;
}
