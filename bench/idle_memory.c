/* SPDX-License-Identifier: MIT */
/*
 * What a process costs that waits for a message.
 *
 * idle_memory [seconds] [--count N] [--hog 0|1] [--park MS] [--stack BYTES] [--threads N] [--json]
 *
 * N processes (default 1,000,000) are spawned and wait in rusm_receive(). When all have come so
 * far, and have lain there for the seconds given (default 1), memory is measured: what
 * /proc/self/smaps_rollup calls resident, and the page tables, less what there was before. Then
 * each is sent a message, on which it ends: so all of them have been alive and well.
 *
 * With --park the pool parks processes that have waited for so many milliseconds; the measure is
 * taken when all of them are parked. --stack sets the size of stacks, of which each page costs
 * eight bytes of page tables.
 *
 * Before all that the program touches as much memory as it will need and gives it back: else it
 * would measure how fast the host of a virtual machine finds pages. --hog 0 leaves that out.
 */
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HOG_BYTES_EACH 4608u
#define PAGE_BYTES     4096u

static struct {
    _Alignas(128) _Atomic uint64_t waiting;
    struct bench_count ended;
} shared;

/* The sum of the lines "name: N kB" of a file of /proc, in bytes; exits 1 if there is none. */
static uint64_t proc_bytes(const char *path, const char *name)
{
    char line[256];
    uint64_t kib = 0;
    bool found = false;
    FILE *file = fopen(path, "re");

    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) {
            kib += strtoull(line + strlen(name), NULL, 10);
            found = true;
        }
    }
    if (!found) {
        (void)fprintf(stderr, "idle_memory: there is no '%s' in %s\n", name, path);
        exit(1);
    }
    (void)fclose(file);
    return kib * 1024;
}

struct memory {
    uint64_t resident, tables;
};

static struct memory measure(void)
{
    struct memory memory;

    memory.resident = proc_bytes("/proc/self/smaps_rollup", "Rss:");
    memory.tables = proc_bytes("/proc/self/status", "VmPTE:");
    return memory;
}

static void hog(uint64_t bytes)
{
    volatile char *memory;

    if (proc_bytes("/proc/meminfo", "MemAvailable:") < bytes + bytes / 8) {
        (void)fprintf(stderr, "idle_memory: less than %" PRIu64 " MiB of memory are available\n",
                      (bytes + bytes / 8) >> 20);
        exit(1);
    }
    memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        (void)fprintf(stderr, "idle_memory: no address space\n");
        exit(1);
    }
    for (uint64_t at = 0; at < bytes; at += PAGE_BYTES) {
        memory[at] = 1;
    }
    (void)munmap((void *)(uintptr_t)memory, bytes);
}

static void idler(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    /* relaxed: a number; pairs with the loads in main() */
    (void)atomic_fetch_add_explicit(&shared.waiting, 1, memory_order_relaxed);
    bench_check(rusm_receive(&msg, RUSM_INFINITY), "wait");
    rusm_msg_del(msg);
    (void)atomic_fetch_add(&shared.ended.value, 1);
}

/* Returns nanoseconds for each, until all wait. */
static double spawn_all(const struct bench_run *run, rusm_pid *pids, uint64_t count)
{
    uint64_t begin = bench_now_ns();

    for (uint64_t i = 0; i < count; i++) {
        bench_check(rusm_spawn(run->rt, idler, NULL, &pids[i]), "spawn");
    }
    while (atomic_load(&shared.waiting) < count) {
        bench_wait_ms(1);
    }
    return (double)(bench_now_ns() - begin) / (double)count;
}

/* Returns nanoseconds for each, until all have ended. */
static double wake_all(const rusm_pid *pids, uint64_t count)
{
    uint64_t begin = bench_now_ns();

    for (uint64_t i = 0; i < count; i++) {
        bench_check(rusm_send(pids[i], &i, sizeof(i)), "wake");
    }
    bench_await(&shared.ended, count);
    return (double)(bench_now_ns() - begin) / (double)count;
}

/* With --park: wait until all are parked. */
static void await_parked(const struct bench_run *run, uint64_t count)
{
    rusm_runtime_stats stats = {.parked = 0};

    while (run->park_ms != 0 && stats.parked < count) {
        bench_wait_ms(10);
        bench_check(rusm_runtime_get_stats(run->rt, &stats), "count parked processes");
    }
}

int main(int argc, char **argv)
{
    struct bench_run run = {.name = "idle_memory", .seconds = 1};
    uint64_t count = 1000000, hogged = 1;
    const struct bench_option options[] = {{"--count", &count, 1, 4000000},
                                           {"--hog", &hogged, 0, 1},
                                           {"--park", &run.park_ms, 0, 60000},
                                           {"--stack", &run.stack_size, 0, 1 << 20}};
    struct memory before, after;
    double spawn_ns, wake_ns, resident, tables;
    rusm_pid *pids;

    bench_parse(&run, argc, argv, options, sizeof(options) / sizeof(options[0]));
    if (hogged != 0) {
        hog(count * HOG_BYTES_EACH);
    }
    pids = bench_array(count, sizeof(*pids));
    bench_start(&run);
    before = measure();
    spawn_ns = spawn_all(&run, pids, count);
    bench_wait_ms(run.seconds * 1000);
    await_parked(&run, count);
    after = measure();
    wake_ns = wake_all(pids, count);
    bench_stop(&run);
    resident = ((double)after.resident - (double)before.resident) / (double)count;
    tables = ((double)after.tables - (double)before.tables) / (double)count;
    printf(run.json ? "{\"bench\":\"idle_memory\",\"runtime\":\"rusm\",\"seconds\":%" PRIu64
                      ",\"threads\":%" PRIu64 ",\"count\":%" PRIu64
                      ",\"bytes_per_process\":%.0f,\"resident\":%.0f,\"page_tables\":%.0f"
                      ",\"spawn_ns\":%.0f,\"wake_and_end_ns\":%.0f}\n"
                    : "idle_memory: idle for %" PRIu64 " s, %" PRIu64 " threads, %" PRIu64
                      " processes: %.0f bytes each (%.0f resident, %.0f of page tables); spawned "
                      "in %.0f ns, woken and ended in %.0f ns each\n",
           run.seconds, run.threads, count, resident + tables, resident, tables, spawn_ns, wake_ns);
    free(pids);
    return 0;
}
