/* SPDX-License-Identifier: MIT */
/*
 * A test that finds an ordering bug by trying seeds, and repeats it.
 *
 * A store keeps a number, a cache in front of it answers reads. When the store is written it tells
 * the cache to forget what it knows, and the writer that it is done. Messages from one process to
 * one other arrive in order, but these come from two: the store says "done" first, so a reader that
 * asks the cache at once may be faster than the store's "forget". On threads that happens once in
 * a long while; on the test kit's pool it is a matter of some seeds.
 */
#include "example.h"

#include <rusm/test.h>
#include <string.h>

#define OLD_NUMBER 1
#define NEW_NUMBER 2
#define SEEDS      1000u

/* What they say to each other. */
struct words {
    enum {
        READ,
        WRITE,
        FORGET,
        NUMBER,
        DONE
    } what;
    int number;
};

static rusm_pid store, cache;
static bool cache_first; /* the fix: the store tells the cache before it tells the writer */
static int seen;         /* what the reader got */

static void say(rusm_pid to, unsigned what, int number)
{
    struct words words = {what, number};

    must(rusm_send(to, &words, sizeof(words)), "send");
}

static struct words hear(rusm_pid *out_from)
{
    struct words words;
    rusm_msg *msg;

    must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "receive");
    memcpy(&words, rusm_msg_data(msg), sizeof(words));
    *out_from = rusm_msg_sender(msg);
    rusm_msg_del(msg);
    return words;
}

static void store_main(void *arg)
{
    int number = OLD_NUMBER;
    rusm_pid from;

    (void)arg;
    for (;;) {
        struct words words = hear(&from);

        if (words.what == READ) {
            say(from, NUMBER, number);
            continue;
        }
        number = words.number;
        if (cache_first) {
            say(cache, FORGET, 0);
            say(from, DONE, 0);
        } else {
            say(from, DONE, 0); /* the bug: the writer may go on before the cache has heard */
            say(cache, FORGET, 0);
        }
    }
}

static void cache_main(void *arg)
{
    rusm_pid from, reader = RUSM_PID_NONE;
    bool known = false;
    int number = 0;

    (void)arg;
    for (;;) {
        struct words words = hear(&from);

        if (words.what == FORGET) {
            known = false;
        } else if (words.what == READ && !known) {
            reader = from;
            say(store, READ, 0);
        } else {
            known = true;
            number = words.what == NUMBER ? words.number : number;
            say(words.what == NUMBER ? reader : from, NUMBER, number);
        }
    }
}

static void client_main(void *arg)
{
    rusm_pid from;

    (void)arg;
    say(cache, READ, 0); /* now the cache knows the old number */
    (void)hear(&from);
    say(store, WRITE, NEW_NUMBER);
    (void)hear(&from);
    say(cache, READ, 0);
    seen = hear(&from).number;
}

/* Run the program once, in the order that the seed stands for. Returns what the client read. */
static int try_seed(uint64_t seed)
{
    rusm_runtime_config cfg;
    rusm_runtime *runtime;
    rusm_pool *pool;

    must(rusm_test_pool_new(&pool, seed, NULL), "make a test pool");
    rusm_runtime_config_init(&cfg);
    cfg.pool = pool;
    must(rusm_runtime_new(&runtime, &cfg), "start a runtime");
    seen = 0;
    must(rusm_spawn(runtime, store_main, NULL, &store), "spawn the store");
    must(rusm_spawn(runtime, cache_main, NULL, &cache), "spawn the cache");
    must(rusm_spawn(runtime, client_main, NULL, NULL), "spawn the client");
    (void)rusm_test_run(pool, 10000);
    rusm_runtime_del(runtime);
    rusm_pool_del(pool);
    return seen;
}

/* The first seed that shows an old number; SEEDS if none does. */
static uint64_t find_seed(void)
{
    uint64_t seed = 0;

    while (seed < SEEDS && try_seed(seed) == NEW_NUMBER) {
        seed++;
    }
    return seed;
}

int main(void)
{
    uint64_t seed = find_seed();

    printf("seed %llu: %d was written, %d was read\n", (unsigned long long)seed, NEW_NUMBER,
           try_seed(seed));
    printf("again: %d was read, and again: %d\n", try_seed(seed), try_seed(seed));
    cache_first = true;
    printf("with the fix: %s\n", find_seed() == SEEDS ? "right with 1000 seeds" : "wrong");
    return 0;
}
