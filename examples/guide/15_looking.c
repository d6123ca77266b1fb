/* SPDX-License-Identifier: MIT */
/* Looking inside: the list of processes, the log, a trace. */
#include "example.h"

#include <string.h>

/* guide: ps */
static void list_processes(void)
{
    rusm_process_info infos[16];
    uint64_t cursor = 0;

    do {
        ptrdiff_t len = rusm_process_list(NULL, &cursor, infos, 16);

        for (ptrdiff_t i = 0; i < len; i++) {
            if (strcmp(infos[i].label, "cook") == 0) {
                printf("%s: %s, %u messages wait\n", infos[i].label,
                       rusm_process_state_name(infos[i].state), (unsigned)infos[i].mailbox_len);
            }
        }
    } while (cursor != 0);
}
/* guide end */

static bool is_fire(const rusm_msg *msg, void *arg)
{
    (void)arg;
    return rusm_msg_len(msg) == 4 && memcmp(rusm_msg_data(msg), "fire", 4) == 0;
}

static void cook(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    must(rusm_receive_match(&msg, is_fire, NULL, RUSM_INFINITY), "wait for fire");
    rusm_msg_del(msg);
    rusm_crash("the kitchen burns");
}

static void wait_until_it_waits(rusm_pid pid)
{
    rusm_process_info info;

    do {
        must(rusm_sleep(1), "sleep");
        must(rusm_process_get_info(pid, &info), "look at it");
    } while (info.state != RUSM_PROCESS_RECEIVING);
}

static rusm_pid spawn_cook(void)
{
    rusm_spawn_config cfg;
    rusm_pid pid;

    rusm_spawn_config_init(&cfg);
    cfg.label = "cook";
    must(rusm_spawn_with(NULL, cook, NULL, &cfg, &pid), "spawn");
    wait_until_it_waits(pid);
    return pid;
}

/* guide: log */
/* Entries go where the program wants them; here, to the process main. */
static void log_to_main(void *arg, const rusm_log_entry *entry)
{
    const rusm_pid *pid = arg;
    char line[256], why[160];
    int len;

    if (entry->event == RUSM_LOG_EVENT_EXIT) {
        (void)rusm_reason_format(entry->reason, why, sizeof(why));
        len = snprintf(line, sizeof(line), "%s ended: %s", entry->label, why);
        must(rusm_send(*pid, line, (size_t)len), "send the line");
    }
}

static void read_the_log(void)
{
    static rusm_pid self;
    rusm_pid pid = spawn_cook();
    rusm_msg *msg;

    self = rusm_self();
    rusm_log_set_fn(log_to_main, &self);
    must(rusm_log_set_level(NULL, RUSM_LOG_CRASH), "set the level");
    must(rusm_send(pid, "fire", 4), "send");
    must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "receive the line");
    printf("log: %.*s\n", (int)rusm_msg_len(msg), (const char *)rusm_msg_data(msg));
    rusm_msg_del(msg);
    rusm_log_set_fn(NULL, NULL);
    must(rusm_log_set_level(NULL, RUSM_LOG_OFF), "set the level");
}
/* guide end */

/* guide: trace */
static void trace_a_cook(void)
{
    rusm_trace_record records[32];
    rusm_pid pid = spawn_cook();
    rusm_trace *trace;
    rusm_msg *down;
    size_t len;

    must(rusm_monitor(pid, NULL), "monitor");
    must(rusm_trace_new(&trace, pid, 32), "trace");
    must(rusm_send(pid, "fire", 4), "send");
    must(rusm_receive(&down, EXAMPLE_WAIT_MS), "wait for its end");
    rusm_msg_del(down);
    len = rusm_trace_read(trace, records, 32, NULL);
    for (size_t i = 0; i < len; i++) {
        if (records[i].event != RUSM_TRACE_IN && records[i].event != RUSM_TRACE_OUT) {
            printf("trace: %s\n", rusm_trace_event_name(records[i].event));
        }
    }
    rusm_trace_del(trace);
}
/* guide end */

int main(void)
{
    rusm_runtime *runtime;
    rusm_pid pid;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");
    pid = spawn_cook();
    must(rusm_send(pid, "salt", 4), "send");
    must(rusm_send(pid, "pepper", 6), "send");
    wait_until_it_waits(pid);
    list_processes();
    must(rusm_kill(pid), "kill");
    read_the_log();
    trace_a_cook();
    rusm_thread_leave();
    rusm_runtime_del(runtime);
    return 0;
}
