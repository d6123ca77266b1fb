/* SPDX-License-Identifier: MIT */
/* The lifecycle log with a function of one's own, and a census of what is alive. */
#include "example.h"

#include <string.h>

/* The log function is called by one thread at a time, so this needs no lock. */
static int crashes;
static rusm_pid counted; /* who is told of the census */

static void on_log(void *arg, const rusm_log_entry *entry)
{
    (void)arg;
    switch (entry->event) {
    case RUSM_LOG_EVENT_EXIT:
        if (entry->level == RUSM_LOG_CRASH) {
            crashes++;
            printf("%s ended: %s\n", entry->label, entry->text);
        }
        break;
    case RUSM_LOG_EVENT_CENSUS:
        /* Sending is allowed here, as it never blocks. */
        (void)!rusm_send(counted, &entry->number, sizeof(entry->number));
        break;
    case RUSM_LOG_EVENT_SPAWN:
    case RUSM_LOG_EVENT_LONG:
    case RUSM_LOG_EVENT_NOTE:
        break;
    }
}

static void bee(void *arg)
{
    (void)arg;
    (void)!rusm_sleep(RUSM_INFINITY);
}

static void drone(void *arg)
{
    (void)arg;
    rusm_crash("nothing to do");
}

/* Wait until the census says so; it is taken every few milliseconds, and tells what has changed. */
static void await_bees(uint64_t wanted)
{
    uint64_t bees = 0;

    while (bees != wanted) {
        rusm_msg *msg;

        must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "hear of the census");
        memcpy(&bees, rusm_msg_data(msg), sizeof(bees));
        rusm_msg_del(msg);
    }
    printf("%llu bees\n", (unsigned long long)bees);
}

int main(void)
{
    rusm_spawn_config bees, drones;
    rusm_runtime *runtime;
    rusm_pid first = RUSM_PID_NONE;
    rusm_runtime_stats stats;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    must(rusm_thread_enter(runtime, NULL), "enter the runtime");
    counted = rusm_self();
    rusm_log_set_fn(on_log, NULL);
    must(rusm_log_set_level(runtime, RUSM_LOG_EXIT), "switch the log on");
    must(rusm_log_set_census(runtime, 5), "ask for a census");

    rusm_spawn_config_init(&bees);
    bees.label = "bee";
    for (int i = 0; i < 1000; i++) {
        must(rusm_spawn_with(NULL, bee, NULL, &bees, &first), "spawn a bee");
    }
    await_bees(1000);
    must(rusm_kill(first), "kill a bee");
    await_bees(999);

    must(rusm_log_set_census(runtime, 0), "end the census");
    rusm_spawn_config_init(&drones);
    drones.label = "drone";
    must(rusm_spawn_with(NULL, drone, NULL, &drones, NULL), "spawn a drone");
    while (rusm_runtime_get_stats(NULL, &stats) == RUSM_OK && stats.crashed == 0) {
        must(rusm_sleep(1), "wait");
    }

    rusm_thread_leave();
    rusm_runtime_del(runtime); /* all ends are logged by then */
    rusm_log_set_fn(NULL, NULL);
    printf("%d crash\n", crashes);
    return 0;
}
