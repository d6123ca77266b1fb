/* SPDX-License-Identifier: MIT */
/*
 * A link with many monitors across it is lost: how long until each of them has fired, once.
 *
 *   cut [rounds] [--monitors N] [--disconnect 0|1] [--json]
 *
 * The peer is an OS process of its own, which is killed (kill -9: its port is closed, and the next
 * datagram to it is answered by ICMP), or the link is closed by rusm_node_disconnect(). Watchers
 * on this side monitor targets on the other, each pair as often. Timed: from the cut to the first
 * down, which is the time to notice; from the first to the last; and the whole. Each down must name
 * a monitor of its own. Medians of the rounds; each round is a new peer.
 */
#include "bench.h"

#include <rusm/rusm.h>

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define WATCHERS   100
#define TARGETS    100
#define ROUNDS_MAX 3600
#define QUIET_MS   100
/* The peer is lost at the latest after so much silence. */
#define TICK_MS 2000

/* What the peer tells of itself. */
struct peer {
    char address[RUSM_ADDRESS_MAX];
    rusm_pid targets[TARGETS];
};

struct watcher {
    uint64_t *refs; /* numbers of those that fired */
    uint64_t monitors, fired, first_ns, last_ns;
    bool others; /* a down that is not for a lost link */
};

static struct peer peer;
static struct watcher watchers[WATCHERS];
static struct bench_count ready, done;

static void run_target(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_del(msg);
    }
}

static void run_watcher(void *arg)
{
    struct watcher *watcher = arg;
    rusm_msg *msg;

    for (uint64_t i = 0; i < watcher->monitors; i++) {
        bench_check(rusm_monitor(peer.targets[i % TARGETS], NULL), "monitor");
    }
    atomic_fetch_add(&ready.value, 1);
    /* Past the last one as well, for a while: none may fire twice. */
    while (rusm_receive(&msg, watcher->fired < watcher->monitors ? RUSM_INFINITY : QUIET_MS) ==
           RUSM_OK) {
        uint64_t now = bench_now_ns();
        const rusm_reason *reason = rusm_msg_reason(msg);

        watcher->first_ns = watcher->fired == 0 ? now : watcher->first_ns;
        watcher->last_ns = now;
        watcher->others =
            watcher->others || reason == NULL || reason->kind != RUSM_REASON_NOCONNECTION;
        if (watcher->fired <= watcher->monitors) {
            watcher->refs[watcher->fired] = rusm_msg_ref(msg).number;
        }
        watcher->fired++;
        rusm_msg_del(msg);
    }
    atomic_fetch_add(&done.value, 1);
}

static void bind_node(rusm_node **node, rusm_runtime **rt, rusm_identity *identity)
{
    rusm_node_config cfg;

    bench_check(rusm_runtime_new(rt, NULL), "start a runtime");
    rusm_node_config_init(&cfg);
    cfg.listen = "127.0.0.1:0";
    cfg.identity = identity;
    cfg.tick_ms = TICK_MS;
    cfg.reconnect_max_ms = 0;
    bench_check(rusm_node_bind_with(node, *rt, NULL, &cfg), "bind a node");
}

/* The other OS process: a node with targets, until it is killed. */
static void be_peer(rusm_identity *identity, int to_parent)
{
    rusm_runtime *rt;
    rusm_node *node;

    bind_node(&node, &rt, identity);
    (void)snprintf(peer.address, sizeof(peer.address), "%s", rusm_node_address(node));
    for (size_t i = 0; i < TARGETS; i++) {
        bench_check(rusm_spawn(rt, run_target, NULL, &peer.targets[i]), "spawn a target");
    }
    if (write(to_parent, &peer, sizeof(peer)) != (ssize_t)sizeof(peer)) {
        _exit(1);
    }
    for (;;) {
        (void)pause();
    }
}

/* Before this OS process has threads, because the new one has only the one that forks. */
static pid_t start_peer(rusm_identity *identity, int *out_from_peer)
{
    int ends[2];
    pid_t pid;

    if (pipe(ends) != 0 || (pid = fork()) < 0) {
        perror("cut: start a peer");
        exit(1);
    }
    if (pid == 0) {
        be_peer(identity, ends[1]);
    }
    (void)close(ends[1]);
    *out_from_peer = ends[0];
    return pid;
}

struct round {
    uint64_t notice_ns, deliver_ns, total_ns;
};

static void judge(void)
{
    for (size_t i = 0; i < WATCHERS; i++) {
        struct watcher *watcher = &watchers[i];
        bool twice = watcher->fired != watcher->monitors;

        (void)bench_percentile(watcher->refs, watcher->monitors, 50); /* sorts */
        for (uint64_t k = 1; !twice && k < watcher->monitors; k++) {
            twice = watcher->refs[k] == watcher->refs[k - 1];
        }
        if (twice || watcher->others) {
            (void)fprintf(stderr, "cut: %" PRIu64 " downs for %" PRIu64 " monitors%s\n",
                          watcher->fired, watcher->monitors,
                          watcher->others ? ", some with another reason" : "");
            exit(1);
        }
    }
}

/* In an OS process of its own, whose threads end with it. */
static struct round measure(rusm_identity *ours, rusm_identity *theirs, uint64_t monitors,
                            bool disconnect)
{
    uint64_t cut_ns, first = UINT64_MAX, last = 0;
    rusm_runtime *rt;
    rusm_node *node;
    int from_peer;
    pid_t pid = start_peer(theirs, &from_peer);
    char name[RUSM_NAME_MAX + 1];

    if (read(from_peer, &peer, sizeof(peer)) != (ssize_t)sizeof(peer)) {
        (void)fprintf(stderr, "cut: the peer did not start\n");
        exit(1);
    }
    bind_node(&node, &rt, ours);
    bench_check(rusm_node_connect(node, peer.address, 10000, name), "connect");
    for (size_t i = 0; i < WATCHERS; i++) {
        watchers[i].monitors = monitors / WATCHERS;
        watchers[i].refs = bench_array(watchers[i].monitors + 1, sizeof(uint64_t));
        bench_check(rusm_spawn(rt, run_watcher, &watchers[i], NULL), "spawn a watcher");
    }
    bench_await(&ready, WATCHERS);
    bench_wait_ms(500); /* until what was asked for has been acknowledged */
    cut_ns = bench_now_ns();
    if (disconnect) {
        bench_check(rusm_node_disconnect(node, name), "disconnect");
    } else {
        (void)kill(pid, SIGKILL);
    }
    bench_await(&done, WATCHERS);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    judge();
    for (size_t i = 0; i < WATCHERS; i++) {
        first = watchers[i].first_ns < first ? watchers[i].first_ns : first;
        last = watchers[i].last_ns > last ? watchers[i].last_ns : last;
    }
    rusm_node_del(node);
    rusm_runtime_del(rt);
    return (struct round){first - cut_ns, last - first, last - cut_ns};
}

static struct round measure_apart(rusm_identity *ours, rusm_identity *theirs, uint64_t monitors,
                                  bool disconnect)
{
    struct round round;
    int ends[2], status;
    pid_t pid;

    if (pipe(ends) != 0 || (pid = fork()) < 0) {
        perror("cut: start a round");
        exit(1);
    }
    if (pid == 0) {
        round = measure(ours, theirs, monitors, disconnect);
        _exit(write(ends[1], &round, sizeof(round)) == (ssize_t)sizeof(round) ? 0 : 1);
    }
    (void)close(ends[1]);
    if (read(ends[0], &round, sizeof(round)) != (ssize_t)sizeof(round)) {
        exit(1); /* it has said why */
    }
    (void)close(ends[0]);
    (void)waitpid(pid, &status, 0);
    return round;
}

int main(int argc, char **argv)
{
    static uint64_t notice[ROUNDS_MAX], deliver[ROUNDS_MAX], total[ROUNDS_MAX];
    struct bench_run run = {.name = "cut", .seconds = 5};
    uint64_t monitors = 100000, disconnect = 0;
    const struct bench_option options[] = {{"--monitors", &monitors, WATCHERS, 10000000},
                                           {"--disconnect", &disconnect, 0, 1}};
    rusm_identity *ours, *theirs;
    rusm_ca *ca;

    bench_parse(&run, argc, argv, options, 2);
    bench_check(rusm_ca_generate(&ca, "bench", 2), "make a CA");
    bench_check(rusm_ca_issue(ca, "here", NULL, &ours), "issue a certificate");
    bench_check(rusm_ca_issue(ca, "there", NULL, &theirs), "issue a certificate");
    for (uint64_t i = 0; i < run.seconds; i++) {
        struct round round = measure_apart(ours, theirs, monitors, disconnect != 0);

        notice[i] = round.notice_ns;
        deliver[i] = round.deliver_ns;
        total[i] = round.total_ns;
    }
    printf(run.json ? "{\"bench\":\"cut\",\"monitors\":%" PRIu64 ",\"disconnect\":%" PRIu64
                      ",\"rounds\":%" PRIu64 ",\"notice_ms\":%.1f,\"deliver_ms\":%.1f,"
                      "\"total_ms\":%.1f,\"total_max_ms\":%.1f}\n"
                    : "cut: %" PRIu64 " monitors (disconnect %" PRIu64 "), %" PRIu64
                      " rounds: noticed in %.1f ms, all told in %.1f ms more, together %.1f ms, at "
                      "most %.1f ms\n",
           monitors / WATCHERS * WATCHERS, disconnect, run.seconds,
           (double)bench_percentile(notice, run.seconds, 50) / 1e6,
           (double)bench_percentile(deliver, run.seconds, 50) / 1e6,
           (double)bench_percentile(total, run.seconds, 50) / 1e6,
           (double)bench_percentile(total, run.seconds, 100) / 1e6);
    rusm_identity_del(ours);
    rusm_identity_del(theirs);
    rusm_ca_del(ca);
    return 0;
}
