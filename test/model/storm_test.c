/* SPDX-License-Identifier: MIT */
/*
 * Many of everything at once: a million processes, a hundred thousand monitors on one of them, a
 * ring and a chain. Each ends with all of its memory given back and all who had to hear having
 * heard, once. Nothing is asserted about speed but that all of it ends; the times are printed.
 *
 * Under the sanitizers, for which a stack costs a hundred times as much, the numbers are smaller.
 */
#include "platform/tools.h"

#include <inttypes.h>
#include <malloc.h>
#include <rusm/otp.h>
#include <rusm/otp/driver.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCALE(plain, asan, tsan) (RUSMI_TSAN ? (tsan) : RUSMI_ASAN ? (asan) : (plain))
#define ALIVE                    SCALE(1000000u, 20000u, 4000u)
#define MONITORS                 SCALE(100000u, 20000u, 4000u)
#define RING                     SCALE(100000u, 20000u, 4000u)
#define RING_ROUNDS              3u
#define CHAIN                    SCALE(10000u, 5000u, 3000u)
#define WAIT_MS                  120000
/* What may stay resident: the heap's own reserves. A million processes had 4 GiB. */
#define RESIDENT_MORE_MAX ((size_t)64 * 1024 * 1024)

_Static_assert(ALIVE >= MONITORS && ALIVE >= RING && ALIVE >= CHAIN, "pids is for all of them");

static rusm_pool *pool;
static rusm_runtime *rt;
static rusm_pid boss; /* the testing thread */
static rusm_pid *pids;
static _Atomic uint32_t counted;

#define check(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "FAILED: line %d: %s (%s)\n", __LINE__, #condition,              \
                          rusm_err_detail());                                                      \
            (void)fflush(NULL);                                                                    \
            _Exit(EXIT_FAILURE);                                                                   \
        }                                                                                          \
    } while (0)

static size_t resident(void)
{
    char line[128], *pages = line;
    FILE *file = fopen("/proc/self/statm", "r");

    (void)malloc_trim(0);
    check(file != NULL && fgets(line, sizeof(line), file) != NULL);
    (void)fclose(file);
    (void)strtoull(pages, &pages, 10); /* all; what is resident comes second */
    return (size_t)strtoull(pages, NULL, 10) * 4096;
}

static void open_runtime(void)
{
    rusm_pool_config pool_cfg;
    rusm_runtime_config cfg;

    rusm_pool_config_init(&pool_cfg);
    pool_cfg.threads = 2;
    pool_cfg.stack_size = 16384;
    check(rusm_pool_new(&pool, &pool_cfg) == RUSM_OK);
    rusm_runtime_config_init(&cfg);
    cfg.pool = pool;
    check(rusm_runtime_new(&rt, &cfg) == RUSM_OK);
    check(rusm_thread_enter(rt, "boss") == RUSM_OK);
    boss = rusm_self();
    (void)rusm_trap_exit(true);
    atomic_store(&counted, 0);
}

static void close_runtime(void)
{
    rusm_runtime_stats stats;

    rusm_thread_leave();
    check(rusm_runtime_stop(rt, WAIT_MS) == RUSM_OK);
    check(rusm_runtime_get_stats(rt, &stats) == RUSM_OK);
    check(stats.processes == 0 && stats.spawned == stats.exited);
    rusm_runtime_del(rt);
    rusm_pool_del(pool);
}

static void stage(const char *what, void (*body)(void))
{
    rusm_time begin = rusm_now();

    open_runtime();
    body();
    close_runtime();
    (void)printf("storm: %s: %" PRIu64 " ms\n", what, (rusm_now() - begin) / 1000000);
    (void)fflush(stdout);
}

static rusm_msg *next_message(void)
{
    rusm_msg *msg = NULL;

    check(rusm_receive(&msg, WAIT_MS) == RUSM_OK);
    return msg;
}

/* Wait for that many bare messages. */
static void wait_for(uint32_t messages)
{
    for (uint32_t i = 0; i < messages; i++) {
        rusm_msg *msg = next_message();

        check(rusm_msg_get_kind(msg) == RUSM_MSG_DATA);
        rusm_msg_del(msg);
    }
}

static void tell_boss(void)
{
    check(rusm_send(boss, "x", 1) == RUSM_OK);
}

/* The last of so many to come here tells the boss. */
static void count_to(uint32_t all)
{
    if (atomic_fetch_add(&counted, 1) + 1 == all) {
        tell_boss();
    }
}

static void wait_for_ever(void)
{
    rusm_msg *msg;

    for (;;) {
        check(rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK);
        rusm_msg_del(msg);
    }
}

/* ---- a million alive ------------------------------------------------------------------------- */

static void body_answer_once(void *arg)
{
    rusm_msg *msg;
    void *owned = rusm_alloc(40);

    (void)arg;
    check(owned != NULL);
    memset(owned, 1, 40);
    check(rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK);
    check(rusm_msg_len(msg) == 4);
    count_to(ALIVE); /* the message stays held, the memory owned */
    wait_for_ever();
}

static void million(void)
{
    rusm_runtime_stats stats;

    for (uint32_t i = 0; i < ALIVE; i++) {
        check(rusm_spawn(rt, body_answer_once, NULL, &pids[i]) == RUSM_OK);
    }
    check(rusm_runtime_get_stats(rt, &stats) == RUSM_OK);
    check(stats.processes == (uint64_t)ALIVE + 1);
    for (uint32_t i = 0; i < ALIVE; i++) {
        check(rusm_send(pids[i], "work", 4) == RUSM_OK);
    }
    wait_for(1);
    for (uint32_t i = 0; i < ALIVE; i++) {
        check(rusm_send(pids[i], "unread, perhaps", 15) == RUSM_OK);
        check(rusm_kill(pids[i]) == RUSM_OK);
    }
    check(rusm_monitor(pids[ALIVE - 1], NULL) == RUSM_OK);
    rusm_msg_del(next_message());
}

/* ---- a hundred thousand monitors on one ------------------------------------------------------ */

static rusm_pid target;

static void body_target(void *arg)
{
    (void)arg;
    wait_for_ever();
}

static void body_watch(void *arg)
{
    rusm_ref ref;
    rusm_msg *msg;

    (void)arg;
    check(rusm_monitor(target, &ref) == RUSM_OK);
    count_to(MONITORS);
    check(rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK);
    check(rusm_msg_get_kind(msg) == RUSM_MSG_DOWN);
    check(rusm_ref_equal(rusm_msg_ref(msg), ref));
    check(strcmp(rusm_msg_reason(msg)->text, "the watched one") == 0);
    check(rusm_receive(&msg, 0) == RUSM_ETIMEOUT);
    count_to(MONITORS * 2);
}

static void end_target(void)
{
    rusm_reason reason = rusm_reason_crashed("the watched one");

    check(rusm_exit_process(target, &reason) == RUSM_OK);
}

static void watched_by_many(void)
{
    rusm_process_info info;

    check(rusm_spawn(rt, body_target, NULL, &target) == RUSM_OK);
    for (uint32_t i = 0; i < MONITORS; i++) {
        check(rusm_spawn(rt, body_watch, NULL, NULL) == RUSM_OK);
    }
    wait_for(1);
    check(rusm_process_get_info(target, &info) == RUSM_OK && info.monitored_by == MONITORS);
    end_target();
    wait_for(1);
}

/* All of them by one process, each with a down of its own; every other one is taken away. */
static void watched_often(void)
{
    rusm_ref *refs = calloc(MONITORS, sizeof(rusm_ref));
    uint64_t sum = 0;

    check(refs != NULL && rusm_spawn(rt, body_target, NULL, &target) == RUSM_OK);
    for (uint32_t i = 0; i < MONITORS; i++) {
        check(rusm_monitor(target, &refs[i]) == RUSM_OK);
    }
    for (uint32_t i = 0; i < MONITORS; i += 2) {
        check(rusm_demonitor(refs[i], false));
        sum += refs[i + 1].number;
    }
    end_target();
    for (uint32_t i = 0; i < MONITORS / 2; i++) {
        rusm_msg *msg = next_message();

        check(rusm_msg_get_kind(msg) == RUSM_MSG_DOWN);
        sum -= rusm_msg_ref(msg).number;
        rusm_msg_del(msg);
    }
    check(sum == 0);
    for (uint32_t i = 0; i < MONITORS; i++) {
        check(!rusm_demonitor(refs[i], true));
    }
    free(refs);
}

/* Linked to a hundred thousand, who all die of the same. */
static void body_linked(void *arg)
{
    (void)arg;
    check(rusm_link(target) == RUSM_OK);
    count_to(MONITORS);
    wait_for_ever();
}

static void linked_to_many(void)
{
    check(rusm_spawn(rt, body_target, NULL, &target) == RUSM_OK);
    for (uint32_t i = 0; i < MONITORS; i++) {
        check(rusm_spawn(rt, body_linked, NULL, &pids[i]) == RUSM_OK);
    }
    wait_for(1);
    for (uint32_t i = 0; i < MONITORS; i++) {
        check(rusm_monitor(pids[i], NULL) == RUSM_OK);
    }
    end_target();
    for (uint32_t i = 0; i < MONITORS; i++) {
        rusm_msg *msg = next_message();

        check(rusm_msg_get_kind(msg) == RUSM_MSG_DOWN);
        check(strcmp(rusm_msg_reason(msg)->text, "the watched one") == 0);
        rusm_msg_del(msg);
    }
}

/* ---- a ring ---------------------------------------------------------------------------------- */

static void body_ring(void *arg)
{
    uint32_t at = (uint32_t)(uintptr_t)arg;
    rusm_msg *msg;

    for (uint32_t round = 0; round < RING_ROUNDS; round++) {
        check(rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK);
        ++*(uint32_t *)rusm_msg_data(msg);
        check(rusm_send_msg(at + 1 < RING || round + 1 < RING_ROUNDS ? pids[(at + 1) % RING] : boss,
                            msg) == RUSM_OK);
    }
}

static void ring(void)
{
    uint32_t token = 0;
    rusm_msg *msg;

    for (uint32_t i = 0; i < RING; i++) {
        check(rusm_spawn(rt, body_ring, (void *)(uintptr_t)i, &pids[i]) == RUSM_OK);
    }
    check(rusm_send(pids[0], &token, sizeof(token)) == RUSM_OK);
    msg = next_message();
    memcpy(&token, rusm_msg_data(msg), sizeof(token));
    check(token == RING * RING_ROUNDS);
    rusm_msg_del(msg);
}

/* ---- a chain --------------------------------------------------------------------------------- */

static void body_chain(void *arg)
{
    uint32_t at = (uint32_t)(uintptr_t)arg;
    rusm_msg *msg;

    if (at + 1 < CHAIN) {
        check(rusm_spawn_link(body_chain, (void *)(uintptr_t)(at + 1), &pids[at + 1]) == RUSM_OK);
    } else {
        tell_boss();
    }
    check(rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK);
    rusm_crash("said to %u", at);
}

static void chain_falls(uint32_t first)
{
    char text[64];

    check(rusm_spawn(rt, body_chain, (void *)(uintptr_t)0, &pids[0]) == RUSM_OK);
    wait_for(1);
    for (uint32_t i = 0; i < CHAIN; i++) {
        check(rusm_monitor(pids[i], NULL) == RUSM_OK);
    }
    (void)snprintf(text, sizeof(text), "said to %u", first);
    check(rusm_send(pids[first], "fall", 4) == RUSM_OK);
    for (uint32_t i = 0; i < CHAIN; i++) {
        rusm_msg *msg = next_message();

        check(rusm_msg_get_kind(msg) == RUSM_MSG_DOWN);
        check(rusm_msg_reason(msg)->kind == RUSM_REASON_CRASHED);
        check(strcmp(rusm_msg_reason(msg)->text, text) == 0);
        rusm_msg_del(msg);
    }
}

static void chain(void)
{
    chain_falls(0);
    chain_falls(CHAIN - 1);
    chain_falls(CHAIN / 2);
}

int main(void)
{
    size_t before;

    /* The tops of other arenas are not given back to the system by malloc_trim(). */
    (void)mallopt(M_ARENA_MAX, 1);
    pids = calloc(ALIVE, sizeof(rusm_pid));
    check(pids != NULL);
    memset(pids, 0xff, ALIVE * sizeof(rusm_pid)); /* resident, before the others are counted */
    stage("a chain that falls from either end and from the middle", chain);
    before = resident();
    stage("processes that live at once", million);
    if (SCALE(true, false, false)) { /* the sanitizers keep what was freed for a while */
        size_t after = resident();

        (void)printf("storm: resident %zu MiB before, %zu MiB after\n", before >> 20, after >> 20);
        check(after < before + RESIDENT_MORE_MAX);
    }
    stage("monitors of many on one", watched_by_many);
    stage("monitors of one on one", watched_often);
    stage("links of many to one", linked_to_many);
    stage("a token in a ring", ring);
    free(pids);
    return EXIT_SUCCESS;
}
