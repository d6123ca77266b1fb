/* SPDX-License-Identifier: MIT */
/*
 * Pairs of processes that send one message of 8 bytes back and forth: the price of a message that
 * wakes its receiver.
 *
 *   ping_pong [seconds] [--pairs N] [--pass 0|1] [--threads N] [--json]
 *
 * Each process sends a copy of the 8 bytes, waits for the answer, looks at it and frees it; with
 * --pass 1 it sends the message on instead, which needs no memory. What is counted is messages
 * received, by all processes, while the time runs. Pairs have nothing to do with each other, so
 * --threads 1 and --threads 2 show how the scheduler scales.
 *
 * With one pair it also prints the round trip: the median over batches of a hundred, because
 * reading the clock costs as much as half a round trip.
 */
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define BATCH       100u
#define SAMPLES_MAX 1000000u

struct pair {
    rusm_pid ping, pong;
    struct bench_count *received; /* of ping, then of pong */
};

static struct {
    _Alignas(128) _Atomic bool stop;
    struct bench_count ended; /* of those that ping */
    bool pass;                /* send on what came */
    uint64_t *samples;        /* nanoseconds of a batch; NULL: several pairs */
    size_t samples_len;
} shared;

/* Send word to the other: in the message that came, or in a new one. */
static rusm_err answer(rusm_pid to, rusm_msg *msg, uint64_t word)
{
    if (shared.pass) {
        *(uint64_t *)rusm_msg_data(msg) = word;
        return rusm_send_msg(to, msg);
    }
    rusm_msg_del(msg);
    return rusm_send(to, &word, sizeof(word));
}

static void pong(void *arg)
{
    struct pair *pair = arg;
    rusm_msg *msg;

    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        bench_count_own(&pair->received[1]);
        bench_check(answer(pair->ping, msg, *(uint64_t *)rusm_msg_data(msg)), "pong");
    }
}

/* One round: the message that came back, with the word that was sent. Inlined: a frame that was
 * entered before a switch and is left after it costs a mispredicted return, some 10 ns. */
static inline __attribute__((always_inline)) rusm_msg *await(struct pair *pair, uint64_t word)
{
    rusm_msg *msg;

    bench_check(rusm_receive(&msg, RUSM_INFINITY), "receive a pong");
    bench_count_own(&pair->received[0]);
    if (rusm_msg_len(msg) != sizeof(word) || *(uint64_t *)rusm_msg_data(msg) != word) {
        (void)fprintf(stderr, "ping_pong: a wrong answer\n");
        exit(1);
    }
    return msg;
}

static void batch(struct pair *pair, uint64_t *word)
{
    for (unsigned i = 0; i < BATCH; i++) {
        rusm_msg *msg = await(pair, *word);

        bench_check(answer(pair->pong, msg, ++*word), "ping");
    }
}

static void ping(void *arg)
{
    struct pair *pair = arg;
    uint64_t word = 0, before;

    pair->ping = rusm_self();
    bench_check(rusm_spawn(NULL, pong, pair, &pair->pong), "spawn a pong");
    bench_check(rusm_send(pair->pong, &word, sizeof(word)), "serve");
    before = bench_now_ns();
    /* relaxed: pairs with the store in main(); nothing else is told by it */
    while (!atomic_load_explicit(&shared.stop, memory_order_relaxed)) {
        batch(pair, &word);
        if (shared.samples != NULL) {
            uint64_t now = bench_now_ns();

            shared.samples[shared.samples_len++ % SAMPLES_MAX] = now - before;
            before = now;
        }
    }
    rusm_msg_del(await(pair, word));
    (void)atomic_fetch_add(&shared.ended.value, 1);
}

static void print(const struct bench_run *run, uint64_t pairs, double rate)
{
    size_t len = shared.samples_len < SAMPLES_MAX ? shared.samples_len : SAMPLES_MAX;
    double p50 = 0, p99 = 0;

    if (shared.samples != NULL) {
        p50 = (double)bench_percentile(shared.samples, len, 50) / BATCH;
        p99 = (double)bench_percentile(shared.samples, len, 99) / BATCH;
    }
    printf(run->json ? "{\"bench\":\"ping_pong\",\"runtime\":\"rusm\",\"seconds\":%" PRIu64
                       ",\"threads\":%" PRIu64 ",\"pairs\":%" PRIu64
                       ",\"pass\":%d,\"messages_per_s\":%.0f"
                     : "ping_pong: %" PRIu64 " s, %" PRIu64 " threads, %" PRIu64
                       " pairs, pass %d: %.0f messages/s",
           run->seconds, run->threads, pairs, shared.pass, rate);
    if (shared.samples != NULL) {
        printf(run->json ? ",\"rtt_p50_ns\":%.1f,\"rtt_p99_ns\":%.1f"
                         : "; round trip p50 %.1f ns, p99 %.1f ns",
               p50, p99);
    }
    printf(run->json ? "}\n" : "\n");
}

int main(int argc, char **argv)
{
    struct bench_run run = {.name = "ping_pong", .seconds = 5};
    uint64_t count = 64, pass = 0;
    const struct bench_option options[] = {{"--pairs", &count, 1, 100000}, {"--pass", &pass, 0, 1}};
    struct bench_count *received;
    struct pair *pairs;
    double rate;

    bench_parse(&run, argc, argv, options, sizeof(options) / sizeof(options[0]));
    shared.pass = pass != 0;
    pairs = bench_array(count, sizeof(*pairs));
    received = bench_array(2 * count, sizeof(*received));
    if (count == 1) {
        shared.samples = bench_array(SAMPLES_MAX, sizeof(*shared.samples));
    }
    bench_start(&run);
    for (uint64_t i = 0; i < count; i++) {
        pairs[i].received = &received[2 * i];
        bench_check(rusm_spawn(run.rt, ping, &pairs[i], NULL), "spawn a pair");
    }
    rate = bench_rate(&run, received, 2 * count);
    atomic_store(&shared.stop, true);
    bench_await(&shared.ended, count);
    bench_stop(&run);
    print(&run, count, rate);
    free(pairs);
    free(received);
    free(shared.samples);
    return 0;
}
