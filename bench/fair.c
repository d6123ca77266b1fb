/* SPDX-License-Identifier: MIT */
/*
 * Small messages beside large ones on one link: how much longer does a round trip of 64 bytes take
 * while 16 MiB are under way?
 *
 *   fair [seconds] [--large BYTES] [--flows N] [--one-way 0|1] [--json]
 *
 * The peer is an OS process of its own. Round trips are timed one after the other, first alone,
 * then while N processes send large messages, one after the other (each waits until its last one
 * was received). They flow the way of the requests; with --one-way 0 half of them flow the other
 * way. Each load is measured for so many seconds.
 */
#include "bench.h"

#include <rusm/rusm.h>

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SMALL       64
#define FLOWS_MAX   64
#define SAMPLES_MAX ((size_t)4 << 20)
#define SETTLE_MS   300
#define PIECE       ((size_t)65536)

/* What the peer tells of itself. */
struct peer {
    char address[RUSM_ADDRESS_MAX];
    rusm_pid echo, sink, source;
};

struct times {
    size_t len;
    uint64_t p50, p99, p999, max;
};

static struct peer peer;
static uint64_t large = (uint64_t)16 << 20, flows = 1, one_way = 1, seconds = 2;
static _Atomic uint64_t large_bytes, large_count;
static struct times alone, loaded;
static double rate_mib;
static struct bench_count done;

/* Sends every message back. */
static void run_echo(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        bench_check(rusm_send_msg(rusm_msg_sender(msg), msg), "echo");
    }
}

/* Says of every message that it came. */
static void run_sink(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_pid from = rusm_msg_sender(msg);

        rusm_msg_del(msg);
        bench_check(rusm_send(from, "", 0), "acknowledge");
    }
}

static rusm_msg *new_large(void)
{
    rusm_msg *msg;

    bench_check(rusm_msg_new(&msg, large), "make a large message");
    /* In pieces: what is measured is the link, not how long this process keeps a scheduler. */
    for (size_t at = 0; at < large; at += PIECE) {
        memset((char *)rusm_msg_data(msg) + at, 7, large - at < PIECE ? large - at : PIECE);
        rusm_yield();
    }
    return msg;
}

/* Large messages to whom the first message names, for as long as they are taken. */
static void pour(rusm_pid to)
{
    for (;;) {
        rusm_msg *msg;

        bench_check(rusm_send_msg(to, new_large()), "send a large message");
        bench_check(rusm_receive(&msg, RUSM_INFINITY), "wait for the sink");
        rusm_msg_del(msg);
        atomic_fetch_add(&large_bytes, large);
        atomic_fetch_add(&large_count, 1);
    }
}

static void run_pour(void *arg)
{
    (void)arg;
    pour(peer.sink);
}

static void run_pour_back(void *arg)
{
    rusm_pid *to = arg;

    pour(*to);
}

/* On the peer: each message asks for a flow to its sender. */
static void run_source(void *arg)
{
    rusm_runtime *rt = arg;
    rusm_msg *msg;

    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_pid *to = bench_array(1, sizeof(*to));

        *to = rusm_msg_sender(msg);
        rusm_msg_del(msg);
        bench_check(rusm_spawn(rt, run_pour_back, to, NULL), "spawn a flow");
    }
}

/* Takes a flow from the peer. */
static void run_sink_here(void *arg)
{
    (void)arg;
    bench_check(rusm_send(peer.source, "", 0), "ask for a flow");
    for (;;) {
        rusm_msg *msg;
        rusm_pid from;

        bench_check(rusm_receive(&msg, RUSM_INFINITY), "receive");
        from = rusm_msg_sender(msg);
        atomic_fetch_add(&large_bytes, rusm_msg_len(msg));
        atomic_fetch_add(&large_count, 1);
        rusm_msg_del(msg);
        bench_check(rusm_send(from, "", 0), "acknowledge");
    }
}

static struct times ping(uint64_t *samples)
{
    static const char data[SMALL] = {1};
    uint64_t until = bench_now_ns() + seconds * 1000000000u, begin;
    struct times times = {0};

    while (times.len < SAMPLES_MAX && (begin = bench_now_ns()) < until) {
        rusm_msg *msg;

        bench_check(rusm_send(peer.echo, data, sizeof(data)), "ping");
        bench_check(rusm_receive(&msg, RUSM_INFINITY), "pong");
        rusm_msg_del(msg);
        samples[times.len++] = bench_now_ns() - begin;
    }
    times.p50 = bench_percentile(samples, times.len, 50);
    times.p99 = bench_percentile(samples, times.len, 99);
    times.p999 = bench_percentile(samples, times.len, 99.9);
    times.max = bench_percentile(samples, times.len, 100);
    return times;
}

static void run_ping(void *arg)
{
    rusm_runtime *rt = arg;
    uint64_t *samples = bench_array(SAMPLES_MAX, sizeof(*samples)), begin, before;

    alone = ping(samples);
    for (uint64_t i = 0; i < flows; i++) {
        bench_check(
            rusm_spawn(rt, one_way != 0 || i % 2 == 0 ? run_pour : run_sink_here, NULL, NULL),
            "spawn a flow");
    }
    bench_check(rusm_sleep(SETTLE_MS), "settle");
    begin = bench_now_ns();
    before = atomic_load(&large_bytes);
    loaded = ping(samples);
    rate_mib = (double)(atomic_load(&large_bytes) - before) / 1048576 /
               ((double)(bench_now_ns() - begin) / 1e9);
    free(samples);
    atomic_fetch_add(&done.value, 1);
}

static void bind_node(rusm_node **node, rusm_runtime **rt, rusm_identity *identity)
{
    rusm_node_config cfg;

    bench_check(rusm_runtime_new(rt, NULL), "start a runtime");
    rusm_node_config_init(&cfg);
    cfg.listen = "127.0.0.1:0";
    cfg.identity = identity;
    bench_check(rusm_node_bind_with(node, *rt, NULL, &cfg), "bind a node");
}

/* The other OS process: a node with processes to talk to, until it is killed. */
static void be_peer(rusm_identity *identity, int to_parent)
{
    rusm_runtime *rt;
    rusm_node *node;

    bind_node(&node, &rt, identity);
    (void)snprintf(peer.address, sizeof(peer.address), "%s", rusm_node_address(node));
    bench_check(rusm_spawn(rt, run_echo, NULL, &peer.echo), "spawn");
    bench_check(rusm_spawn(rt, run_sink, NULL, &peer.sink), "spawn");
    bench_check(rusm_spawn(rt, run_source, rt, &peer.source), "spawn");
    if (write(to_parent, &peer, sizeof(peer)) != (ssize_t)sizeof(peer)) {
        _exit(1);
    }
    for (;;) {
        (void)pause();
    }
}

/* Before this OS process has threads, because the new one has only the one that forks. */
static pid_t start_peer(rusm_identity *identity)
{
    int ends[2];
    pid_t pid;

    if (pipe(ends) != 0 || (pid = fork()) < 0) {
        perror("fair: start a peer");
        exit(1);
    }
    if (pid == 0) {
        be_peer(identity, ends[1]);
    }
    (void)close(ends[1]);
    if (read(ends[0], &peer, sizeof(peer)) != (ssize_t)sizeof(peer)) {
        (void)fprintf(stderr, "fair: the peer did not start\n");
        exit(1);
    }
    (void)close(ends[0]);
    return pid;
}

static void parse(int argc, char **argv, bool *json)
{
    struct bench_option options[] = {
        {"--large", &large, 1, RUSM_MESSAGE_MAX},
        {"--flows", &flows, 1, FLOWS_MAX},
        {"--one-way", &one_way, 0, 1},
    };
    struct bench_run run = {.name = "fair", .seconds = seconds};

    bench_parse(&run, argc, argv, options, sizeof(options) / sizeof(options[0]));
    seconds = run.seconds;
    *json = run.json;
}

static double us(uint64_t ns)
{
    return (double)ns / 1000;
}

int main(int argc, char **argv)
{
    rusm_identity *ours, *theirs;
    rusm_runtime *rt;
    rusm_node *node;
    rusm_ca *ca;
    bool json;
    pid_t pid;

    parse(argc, argv, &json);
    bench_check(rusm_ca_generate(&ca, "bench", 1), "make a CA");
    bench_check(rusm_ca_issue(ca, "ours", NULL, &ours), "issue a certificate");
    bench_check(rusm_ca_issue(ca, "theirs", NULL, &theirs), "issue a certificate");
    pid = start_peer(theirs);
    bind_node(&node, &rt, ours);
    bench_check(rusm_node_connect(node, peer.address, 10000, NULL), "connect");
    bench_check(rusm_spawn(rt, run_ping, rt, NULL), "spawn");
    bench_await(&done, 1);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    printf(json ? "{\"bench\":\"fair\",\"large\":%" PRIu64 ",\"flows\":%" PRIu64
                  ",\"one_way\":%s,\"alone_p50_us\":%.1f,\"alone_p99_us\":%.1f,"
                  "\"alone_p999_us\":%.1f,\"loaded_p50_us\":%.1f,\"loaded_p99_us\":%.1f,"
                  "\"loaded_p999_us\":%.1f,\"loaded_max_us\":%.1f,\"loaded_count\":%zu,"
                  "\"p99_ratio\":%.2f,\"large_mib_per_s\":%.1f}\n"
                : "fair: %" PRIu64 " bytes, %" PRIu64 " flows (one way: %s): alone p50 %.1f, p99 "
                  "%.1f, p999 %.1f us; loaded p50 %.1f, p99 %.1f, p999 %.1f, max %.1f us of %zu: "
                  "p99 %.2f times; %.1f MiB/s\n",
           large, flows, one_way != 0 ? "true" : "false", us(alone.p50), us(alone.p99),
           us(alone.p999), us(loaded.p50), us(loaded.p99), us(loaded.p999), us(loaded.max),
           loaded.len, alone.p99 == 0 ? 0 : (double)loaded.p99 / (double)alone.p99, rate_mib);
    (void)fflush(stdout);
    /* Flows are in the middle of something: the end of this OS process ends them. */
    _exit(0);
}
