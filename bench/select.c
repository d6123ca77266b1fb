/* SPDX-License-Identifier: MIT */
/*
 * What it costs to receive one message while many others lie in the mailbox.
 *
 *   select [seconds] [--waiting N] [--threads N] [--json]
 *
 * A client exchanges messages with a server, first with an empty mailbox, then past N (default
 * 100,000) that nobody wants, in three ways:
 *
 *   call   rusm_call(), which monitors the server
 *   since  a mark, a request, and rusm_receive_since() for its answer
 *   match  a request and rusm_receive_match() for its answer, which has to look at all N
 *
 * Each is the median of a round trip, over batches of a hundred but for the last. The first two
 * should cost the same with a full mailbox; rtt_p50_ns is the call with a full one.
 */
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SAMPLES_MAX 100000u
#define UNWANTED    UINT64_MAX

enum way {
    WAY_CALL,
    WAY_SINCE,
    WAY_MATCH,
    WAYS
};

static struct {
    uint64_t waiting, span_ns;
    uint64_t *samples;
    double p50_ns[2][WAYS]; /* with an empty mailbox, with a full one */
    struct bench_count ended;
} shared;

static void server(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        uint64_t word = *(uint64_t *)rusm_msg_data(msg);

        if (rusm_msg_get_kind(msg) == RUSM_MSG_CALL) {
            bench_check(rusm_reply(rusm_msg_from(msg), &word, sizeof(word)), "reply");
        } else {
            bench_check(rusm_send(rusm_msg_sender(msg), &word, sizeof(word)), "answer");
        }
        rusm_msg_del(msg);
    }
}

static bool is_word(const rusm_msg *msg, void *arg)
{
    return *(uint64_t *)rusm_msg_data(msg) == *(uint64_t *)arg;
}

/* One round trip; the answer must be the word. */
static void exchange(rusm_pid to, enum way way, uint64_t word)
{
    rusm_mark mark;
    rusm_msg *msg = NULL;

    switch (way) {
    case WAY_CALL:
        bench_check(rusm_call(to, &word, sizeof(word), RUSM_INFINITY, &msg), "call");
        break;
    case WAY_SINCE:
        mark = rusm_mailbox_mark();
        bench_check(rusm_send(to, &word, sizeof(word)), "ask");
        bench_check(rusm_receive_since(mark, &msg, is_word, &word, RUSM_INFINITY), "receive");
        break;
    case WAY_MATCH:
    case WAYS:
        bench_check(rusm_send(to, &word, sizeof(word)), "ask");
        bench_check(rusm_receive_match(&msg, is_word, &word, RUSM_INFINITY), "receive");
        break;
    }
    if (!is_word(msg, &word)) {
        (void)fprintf(stderr, "select: a wrong answer\n");
        exit(1);
    }
    rusm_msg_del(msg);
}

static double measure(rusm_pid to, enum way way, unsigned batch)
{
    uint64_t end = bench_now_ns() + shared.span_ns, word = 0;
    size_t len = 0;

    while (len < 3 || (len < SAMPLES_MAX && bench_now_ns() < end)) {
        uint64_t begin = bench_now_ns();

        for (unsigned i = 0; i < batch; i++) {
            exchange(to, way, ++word);
        }
        shared.samples[len++] = bench_now_ns() - begin;
    }
    return (double)bench_percentile(shared.samples, len, 50) / batch;
}

static void fill(void)
{
    const uint64_t word = UNWANTED;

    for (uint64_t i = 0; i < shared.waiting; i++) {
        bench_check(rusm_send(rusm_self(), &word, sizeof(word)), "fill the mailbox");
    }
}

/* All that were not wanted must still be there. */
static void drain(void)
{
    uint64_t left = 0;
    rusm_msg *msg;

    while (rusm_receive(&msg, 0) == RUSM_OK) {
        left++;
        rusm_msg_del(msg);
    }
    if (left != shared.waiting) {
        (void)fprintf(stderr, "select: of %" PRIu64 " messages %" PRIu64 " are left\n",
                      shared.waiting, left);
        exit(1);
    }
}

static void client(void *arg)
{
    rusm_pid to;

    (void)arg;
    bench_check(rusm_spawn(NULL, server, NULL, &to), "spawn the server");
    for (int full = 0; full < 2; full++) {
        if (full != 0) {
            fill();
        }
        for (enum way way = 0; way < WAYS; way++) {
            unsigned batch = full != 0 && way == WAY_MATCH ? 1 : 100;

            shared.p50_ns[full][way] = measure(to, way, batch);
        }
    }
    drain();
    (void)atomic_fetch_add(&shared.ended.value, 1);
}

int main(int argc, char **argv)
{
    struct bench_run run = {.name = "select", .seconds = 6};
    const struct bench_option options[] = {{"--waiting", &shared.waiting, 1, 10000000}};
    const double *empty = shared.p50_ns[0], *full = shared.p50_ns[1];

    shared.waiting = 100000;
    bench_parse(&run, argc, argv, options, sizeof(options) / sizeof(options[0]));
    shared.span_ns = run.seconds * 1000000000u / (2 * WAYS);
    shared.samples = bench_array(SAMPLES_MAX, sizeof(*shared.samples));
    bench_start(&run);
    bench_check(rusm_spawn(run.rt, client, NULL, NULL), "spawn the client");
    bench_await(&shared.ended, 1);
    bench_stop(&run);
    printf(run.json ? "{\"bench\":\"select\",\"runtime\":\"rusm\",\"seconds\":%" PRIu64
                      ",\"threads\":%" PRIu64 ",\"waiting\":%" PRIu64
                      ",\"rtt_p50_ns\":%.1f,\"call_empty_ns\":%.1f,\"since_ns\":%.1f"
                      ",\"since_empty_ns\":%.1f,\"match_ns\":%.1f,\"match_empty_ns\":%.1f}\n"
                    : "select: %" PRIu64 " s, %" PRIu64 " threads, past %" PRIu64
                      " messages: call %.1f ns (empty mailbox %.1f), since a mark %.1f (%.1f), "
                      "match %.1f (%.1f)\n",
           run.seconds, run.threads, shared.waiting, full[WAY_CALL], empty[WAY_CALL],
           full[WAY_SINCE], empty[WAY_SINCE], full[WAY_MATCH], empty[WAY_MATCH]);
    free(shared.samples);
    return 0;
}
