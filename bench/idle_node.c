/* SPDX-License-Identifier: MIT */
/*
 * What a node costs that does nothing but keep its links up: a hub with N peers, all in one OS
 * process, so that the CPU time of the process is that of N + 1 idle nodes and their 2 N link
 * ends.
 *
 *   idle_node [seconds] [peers] [--json]
 */
#include "bench.h"

#include <rusm/rusm.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEERS_MAX 256

struct member {
    rusm_runtime *runtime;
    rusm_node *node;
};

static void start(struct member *member, const rusm_ca *ca, const char *name)
{
    rusm_identity *identity;

    bench_check(rusm_ca_issue(ca, name, NULL, &identity), "issue a certificate");
    bench_check(rusm_runtime_new(&member->runtime, NULL), "start a runtime");
    bench_check(rusm_node_bind(&member->node, member->runtime, NULL, "127.0.0.1:0", identity),
                "bind a node");
    rusm_identity_del(identity);
}

static void stop(struct member *member)
{
    rusm_node_del(member->node);
    rusm_runtime_del(member->runtime);
}

int main(int argc, char **argv)
{
    static struct member members[PEERS_MAX + 1];
    unsigned values[2] = {10, 3}, position = 0;
    double cpu, percent, rss;
    uint64_t begin;
    bool json = false;
    rusm_ca *ca;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            json = true;
        } else if (position < 2) {
            values[position++] = (unsigned)strtoul(argv[i], NULL, 10);
        }
    }
    if (values[0] < 1 || values[0] > 3600 || values[1] < 1 || values[1] > PEERS_MAX) {
        (void)fprintf(stderr, "usage: idle_node [seconds 1-3600] [peers 1-%d] [--json]\n",
                      PEERS_MAX);
        return 2;
    }
    bench_check(rusm_ca_generate(&ca, "bench", 2), "make a CA");
    for (unsigned i = 0; i <= values[1]; i++) {
        char name[32];

        (void)snprintf(name, sizeof(name), "node%u", i);
        start(&members[i], ca, name);
        if (i > 0) {
            bench_check(
                rusm_node_connect(members[i].node, rusm_node_address(members[0].node), 10000, NULL),
                "connect");
        }
    }
    bench_check(rusm_thread_enter(members[0].runtime, "main"), "enter the hub's runtime");
    bench_check(rusm_sleep(500), "settle");
    cpu = bench_cpu_s();
    begin = bench_now_ns();
    bench_check(rusm_sleep((int64_t)values[0] * 1000), "idle");
    percent = (bench_cpu_s() - cpu) / ((double)(bench_now_ns() - begin) / 1e9) * 100;
    rss = bench_rss_mib();
    rusm_thread_leave();
    for (unsigned i = 0; i <= values[1]; i++) {
        stop(&members[i]);
    }
    rusm_ca_del(ca);
    printf(json ? "{\"bench\":\"idle_node\",\"peers\":%u,\"seconds\":%u,\"cpu_percent_all\":%.3f,"
                  "\"cpu_percent_"
                  "per_node\":%.3f,\"rss_mib\":%.1f}\n"
                : "idle_node: a hub and %u peers for %u s: %.3f %% of a core for all, %.3f %% "
                  "each, %.1f MiB\n",
           values[1], values[0], percent, percent / (values[1] + 1), rss);
    return 0;
}
