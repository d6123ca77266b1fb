/* SPDX-License-Identifier: MIT */
/*
 * The simulator's command line:
 *
 *     test_sim_cluster [--seed N] [--steps M] [--nodes K] [--seeds COUNT] [--verbose] [--twice]
 *                      [--covered]
 *
 * Without --nodes a seed has 2 to 7 of them. --twice runs each seed twice and compares. --covered
 * fails if some class of what can happen never did (sim_cover.c). Without arguments a fixed set is
 * run, some of it twice, and must have covered all: what the test suite does.
 */
#include "sim/sim.h"
#include "sim/sim_cover.h"

#include "platform/tools.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arguments {
    uint64_t seed, seeds;
    unsigned steps, nodes;
    bool verbose, twice, covered;
};

static void usage(void)
{
    (void)fprintf(stderr, "usage: test_sim_cluster [--seed N] [--steps M] [--nodes K] [--seeds "
                          "COUNT] [--verbose] [--twice] [--covered]\n"
                          "  K is 2 to 50, M at most 1000000\n");
    exit(2);
}

static uint64_t number(const char *text, uint64_t least, uint64_t most)
{
    char *end;
    unsigned long long value;

    errno = 0;
    value = text == NULL ? 0 : strtoull(text, &end, 10);
    if (text == NULL || errno != 0 || end == text || *end != '\0' || value < least ||
        value > most) {
        usage();
    }
    return value;
}

static void parse(struct arguments *arguments, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (strcmp(argv[i], "--verbose") == 0) {
            arguments->verbose = true;
            continue;
        }
        if (strcmp(argv[i], "--twice") == 0) {
            arguments->twice = true;
            continue;
        }
        if (strcmp(argv[i], "--covered") == 0) {
            arguments->covered = true;
            continue;
        }
        if (strcmp(argv[i], "--seed") == 0) {
            arguments->seed = number(value, 0, UINT64_MAX);
        } else if (strcmp(argv[i], "--seeds") == 0) {
            arguments->seeds = number(value, 1, UINT64_MAX);
        } else if (strcmp(argv[i], "--steps") == 0) {
            arguments->steps = (unsigned)number(value, 1, 1000000);
        } else if (strcmp(argv[i], "--nodes") == 0) {
            arguments->nodes = (unsigned)number(value, 2, SIM_NODES_MAX);
        } else {
            usage();
        }
        i++;
    }
}

static uint64_t hashes; /* of all runs: equal for equal arguments */

/* A struct sim_totals is an array of counters. */
static void add(struct sim_totals *to, const struct sim_totals *from)
{
    uint64_t *sums = (uint64_t *)to;

    for (size_t i = 0; i < sizeof(*to) / sizeof(uint64_t); i++) {
        sums[i] += ((const uint64_t *)from)[i];
    }
}

static void print(const struct sim_totals *totals)
{
    static const char *const names[] = {
        "messages", "lost",  "links",      "crashes",     "faults",       "processes", "downs",
        "exits",    "calls", "names lost", "node events", "group events", "streams",   "datagrams"};

    _Static_assert(sizeof(names) / sizeof(names[0]) == sizeof(*totals) / sizeof(uint64_t),
                   "each has a name");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void)printf(" %llu %s,", (unsigned long long)((const uint64_t *)totals)[i], names[i]);
    }
    (void)printf(" hash %016llx\n", (unsigned long long)hashes);
}

static void run(const struct sim_options *options, bool twice, struct sim_totals *totals)
{
    uint64_t hash = sim_run(options);

    add(totals, &sim->totals);
    hashes = (hashes ^ hash) * UINT64_C(0x100000001b3);
    if (twice && sim_run(options) != hash) {
        (void)fprintf(stderr,
                      "FAILED: seed %llu is not the same run twice\n"
                      "again with: ./dev sim --seed %llu --steps %u --nodes %u --twice\n",
                      (unsigned long long)options->seed, (unsigned long long)options->seed,
                      options->steps, options->nodes);
        exit(EXIT_FAILURE);
    }
}

static unsigned nodes_of(uint64_t seed)
{
    return 2 + (unsigned)(seed % 6);
}

/* The sanitizers slow a run down, the one for threads thirtyfold. */
#define FIXED_SEEDS (RUSMI_TSAN ? 40u : RUSMI_ASAN ? 150u : 1200u)
/* Crowds are quadratic. */
#define FIXED_CROWDS (RUSMI_TSAN || RUSMI_ASAN ? 1u : 3u)

static bool fixed_set(void)
{
    static const unsigned crowds[] = {12, 20, 50};
    struct sim_totals totals = {0};

    for (uint64_t seed = 1; seed <= FIXED_SEEDS; seed++) {
        struct sim_options options = {.seed = seed, .steps = 400, .nodes = nodes_of(seed)};

        run(&options, seed % 10 == 0, &totals);
    }
    for (size_t i = 0; i < FIXED_CROWDS; i++) {
        struct sim_options options = {.seed = i, .steps = 100, .nodes = crowds[i]};

        run(&options, false, &totals);
    }
    print(&totals);
    sim_cover_print();
    /* So few seeds as the thread sanitizer has time for do not have everything. */
    return RUSMI_TSAN || sim_cover_check();
}

int main(int argc, char **argv)
{
    struct sim_totals totals = {0};
    struct arguments arguments = {.seed = 1, .seeds = 1, .steps = 400};

    if (argc == 1) {
        return fixed_set() ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    parse(&arguments, argc, argv);
    for (uint64_t i = 0; i < arguments.seeds; i++) {
        struct sim_options options = {.seed = arguments.seed + i,
                                      .steps = arguments.steps,
                                      .nodes = arguments.nodes,
                                      .verbose = arguments.verbose};

        if (options.nodes == 0) {
            options.nodes = nodes_of(options.seed);
        }
        run(&options, arguments.twice, &totals);
    }
    (void)printf("%llu seeds from %llu passed:", (unsigned long long)arguments.seeds,
                 (unsigned long long)arguments.seed);
    print(&totals);
    sim_cover_print();
    return arguments.covered && !sim_cover_check() ? EXIT_FAILURE : EXIT_SUCCESS;
}
