/* SPDX-License-Identifier: MIT */
/*
 * Many senders, one receiver: how fast one mailbox is filled and emptied.
 *
 *   fan_in [seconds] [--senders N] [--window N] [--threads N] [--json]
 *
 * A sender has at most a window of messages (default 1,000) on their way: the last message of each
 * half window asks for a receipt, and it does not begin a third half before the receipt for the
 * first is there. So memory stays bounded, and the receiver needs no state per sender.
 */
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define WANTS_RECEIPT (UINT64_C(1) << 63)

static struct {
    uint64_t window;
    rusm_pid receiver;
    _Alignas(128) _Atomic bool stop;
    struct bench_count ended; /* senders */
    struct bench_count received;
} shared;

static void receiver(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        uint64_t word = *(uint64_t *)rusm_msg_data(msg);

        bench_count_own(&shared.received);
        if ((word & WANTS_RECEIPT) != 0) {
            bench_check(rusm_send(rusm_msg_sender(msg), &word, sizeof(word)), "receipt");
        }
        rusm_msg_del(msg);
    }
}

static void send_half(uint64_t half)
{
    for (uint64_t word = 1; word <= half; word++) {
        uint64_t sent = word < half ? word : word | WANTS_RECEIPT;

        bench_check(rusm_send(shared.receiver, &sent, sizeof(sent)), "send");
    }
}

static void await_receipt(void)
{
    rusm_msg *msg;

    bench_check(rusm_receive(&msg, RUSM_INFINITY), "await a receipt");
    rusm_msg_del(msg);
}

static void sender(void *arg)
{
    uint64_t half = shared.window / 2;

    (void)arg;
    send_half(half);
    /* relaxed: pairs with the store in main() */
    while (!atomic_load_explicit(&shared.stop, memory_order_relaxed)) {
        send_half(half);
        await_receipt();
    }
    await_receipt();
    (void)atomic_fetch_add(&shared.ended.value, 1);
}

int main(int argc, char **argv)
{
    struct bench_run run = {.name = "fan_in", .seconds = 5};
    uint64_t senders = 100;
    const struct bench_option options[] = {{"--senders", &senders, 1, 1000000},
                                           {"--window", &shared.window, 2, 1000000}};
    double rate;

    shared.window = 1000;
    bench_parse(&run, argc, argv, options, sizeof(options) / sizeof(options[0]));
    bench_start(&run);
    bench_check(rusm_spawn(run.rt, receiver, NULL, &shared.receiver), "spawn the receiver");
    for (uint64_t i = 0; i < senders; i++) {
        bench_check(rusm_spawn(run.rt, sender, NULL, NULL), "spawn a sender");
    }
    rate = bench_rate(&run, &shared.received, 1);
    atomic_store(&shared.stop, true);
    bench_await(&shared.ended, senders);
    bench_stop(&run);
    printf(run.json ? "{\"bench\":\"fan_in\",\"runtime\":\"rusm\",\"seconds\":%" PRIu64
                      ",\"threads\":%" PRIu64 ",\"senders\":%" PRIu64 ",\"window\":%" PRIu64
                      ",\"messages_per_s\":%.0f}\n"
                    : "fan_in: %" PRIu64 " s, %" PRIu64 " threads, %" PRIu64
                      " senders, window %" PRIu64 ": %.0f messages/s\n",
           run.seconds, run.threads, senders, shared.window, rate);
    return 0;
}
