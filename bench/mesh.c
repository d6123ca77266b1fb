/* SPDX-License-Identifier: MIT */
/*
 * A full mesh of N nodes in one OS process, which all join through the first one:
 *
 *   mesh [seconds] [--nodes N] [--names N] [--json]
 *
 * how long until every node lists every other one; what an idle link costs in memory (growth of the
 * resident set from before the first dial, by ends of links, of which each link has two); what all
 * those links cost in CPU while nothing happens, for so many seconds; and how long it takes until a
 * global name is known on all nodes, for names that are registered one after the other on nodes by
 * turns. The thread that looks is one of those that compete for the processors.
 */
#include "bench.h"

#include <rusm/rusm.h>

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NODES_MAX 256
#define PAGE      16
/* A mesh that has not formed by then will not. */
#define LIMIT_MS  ((uint64_t)60000)
#define SETTLE_MS 1000

struct member {
    rusm_runtime *runtime;
    rusm_node *node;
    rusm_pid pid; /* of a process that names are given to */
};

static struct member members[NODES_MAX];
static rusm_peer_info infos[PAGE];

static void wait_for_ever(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_del(msg);
    }
}

static void start(struct member *member, const rusm_ca *ca, unsigned i)
{
    rusm_identity *identity;
    char name[32];

    (void)snprintf(name, sizeof(name), "node%u", i);
    bench_check(rusm_ca_issue(ca, name, NULL, &identity), "issue a certificate");
    bench_check(rusm_runtime_new(&member->runtime, NULL), "start a runtime");
    bench_check(rusm_node_bind(&member->node, member->runtime, NULL, "127.0.0.1:0", identity),
                "bind a node");
    bench_check(rusm_spawn(member->runtime, wait_for_ever, NULL, &member->pid), "spawn");
    rusm_identity_del(identity);
}

static size_t peers_of(const struct member *member)
{
    uint64_t cursor = 0;
    size_t count = 0;

    do {
        ptrdiff_t n = rusm_peer_list(member->node, &cursor, infos, PAGE);

        count += n > 0 ? (size_t)n : 0;
    } while (cursor != 0);
    return count;
}

RUSM_NORETURN static void give_up(const char *what)
{
    (void)fprintf(stderr, "mesh: %s\n", what);
    exit(1);
}

/* Milliseconds until every node lists every other one. One node is looked at at a time, because
 * looking is work too. */
static double form(size_t nodes)
{
    uint64_t begin = bench_now_ns();

    for (size_t i = 1; i < nodes; i++) {
        bench_check(rusm_node_join(members[i].node, rusm_node_address(members[0].node)), "join");
    }
    for (size_t i = 0; i < nodes; i++) {
        while (peers_of(&members[i]) < nodes - 1) {
            if (bench_now_ns() - begin > LIMIT_MS * 1000000u) {
                give_up("the mesh does not form");
            }
            bench_wait_ms(1);
        }
    }
    return (double)(bench_now_ns() - begin) / 1e6;
}

/* KiB that are resident now. */
static double resident_kib(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    char line[256], *resident;

    if (file == NULL || fgets(line, sizeof(line), file) == NULL ||
        (resident = strchr(line, ' ')) == NULL) {
        give_up("/proc/self/statm can not be read");
    }
    (void)fclose(file);
    return (double)strtoul(resident, NULL, 10) * (double)sysconf(_SC_PAGESIZE) / 1024;
}

/* Nanoseconds until all nodes know that name as that of the process. */
static uint64_t publish(size_t nodes, size_t owner, const char *name)
{
    uint64_t begin = bench_now_ns();
    rusm_pid found;

    bench_check(rusm_register_global(members[owner].node, name, members[owner].pid), "register");
    for (size_t i = 0; i < nodes; i++) {
        while (rusm_whereis_global(members[i].node, name, &found) != RUSM_OK ||
               !rusm_pid_equal(found, members[owner].pid)) {
            if (bench_now_ns() - begin > LIMIT_MS * 1000000u) {
                give_up("a name does not get around");
            }
            (void)sched_yield();
        }
    }
    return bench_now_ns() - begin;
}

int main(int argc, char **argv)
{
    struct bench_run run = {.name = "mesh", .seconds = 5};
    uint64_t nodes = 50, names = 100;
    const struct bench_option options[] = {{"--nodes", &nodes, 2, NODES_MAX},
                                           {"--names", &names, 1, 100000}};
    double before, form_ms, kib_per_end, cpu, percent;
    uint64_t *spans, begin;
    rusm_ca *ca;

    bench_parse(&run, argc, argv, options, 2);
    spans = bench_array(names, sizeof(*spans));
    bench_check(rusm_ca_generate(&ca, "bench", 2), "make a CA");
    for (unsigned i = 0; i < nodes; i++) {
        start(&members[i], ca, i);
    }
    before = resident_kib();
    form_ms = form(nodes);
    bench_wait_ms(SETTLE_MS);
    kib_per_end = (resident_kib() - before) / (double)(nodes * (nodes - 1));
    cpu = bench_cpu_s();
    begin = bench_now_ns();
    bench_wait_ms(run.seconds * 1000);
    percent = (bench_cpu_s() - cpu) / ((double)(bench_now_ns() - begin) / 1e9) * 100;
    for (uint64_t i = 0, owner = 0; i < names; i++) {
        char name[32];

        (void)snprintf(name, sizeof(name), "name%" PRIu64, i);
        spans[i] = publish(nodes, owner, name);
        owner = owner + 1 < nodes ? owner + 1 : 0;
    }
    printf(run.json ? "{\"bench\":\"mesh\",\"nodes\":%" PRIu64 ",\"form_ms\":%.0f,"
                      "\"kib_per_link_end\":%.1f,\"idle_cpu_percent\":%.2f,\"name_p50_us\":%.0f,"
                      "\"name_p99_us\":%.0f}\n"
                    : "mesh: %" PRIu64 " nodes in %.0f ms, %.1f KiB an end of a link, %.2f %% of a "
                      "core when idle, a name everywhere in %.0f us (p50), %.0f us (p99)\n",
           nodes, form_ms, kib_per_end, percent, (double)bench_percentile(spans, names, 50) / 1e3,
           (double)bench_percentile(spans, names, 99) / 1e3);
    /* Together, so that nobody looks for those that ended before it. */
    for (uint64_t i = 0; i < nodes; i++) {
        (void)!rusm_node_leave(members[i].node, 1000);
    }
    for (uint64_t i = 0; i < nodes; i++) {
        rusm_node_del(members[i].node);
        rusm_runtime_del(members[i].runtime);
    }
    rusm_ca_del(ca);
    free(spans);
    return 0;
}
