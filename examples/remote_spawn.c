/* SPDX-License-Identifier: MIT */
/*
 * Starting processes on another node: london offers a factory, tokyo asks for a process by its
 * name, hands it arguments and hears its answer. Only what is registered as a factory can be asked
 * for.
 */
#include "example.h"

#include <string.h>

/* The arguments that cross the link. Both nodes run this program, so its own layout will do;
 * programs on different machines agree on bytes. */
struct job {
    rusm_pid client;
    int32_t number;
};

static void squarer(void *arg)
{
    int64_t answer;
    rusm_msg *msg;
    struct job job;

    (void)arg;
    must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "receive the job");
    memcpy(&job, rusm_msg_data(msg), sizeof(job));
    rusm_msg_del(msg);
    answer = (int64_t)job.number * job.number;
    must(rusm_send(job.client, &answer, sizeof(answer)), "answer");
}

/* Runs on london for each spawn that somebody asks for. The new process finds the job in its
 * mailbox, so nothing has to be freed if it is killed before it has begun. */
static rusm_err squarer_factory(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    rusm_err err;

    (void)arg;
    if (args_len != sizeof(struct job)) {
        return RUSM_EINVAL;
    }
    err = rusm_spawn(NULL, squarer, NULL, out_pid);
    return err == RUSM_OK ? rusm_send(*out_pid, args, args_len) : err;
}

static void run_tokyo(void)
{
    struct job job = {.client = rusm_self(), .number = 12};
    int64_t answer;
    char text[RUSM_PID_TEXT_MAX];
    rusm_msg *msg;
    rusm_pid pid;
    rusm_err err;

    must(rusm_spawn_remote(NULL, "london", "squarer", &job, sizeof(job), EXAMPLE_WAIT_MS, &pid),
         "spawn on london");
    must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "receive");
    memcpy(&answer, rusm_msg_data(msg), sizeof(answer));
    must(rusm_pid_equal(rusm_msg_sender(msg), pid) ? RUSM_OK : RUSM_EPROTO, "know the sender");
    rusm_msg_del(msg);
    (void)rusm_pid_format(pid, text, sizeof(text));
    printf("%s says that %d squared is %lld\n", text, (int)job.number, (long long)answer);

    err = rusm_spawn_remote(NULL, "london", "cuber", &job, sizeof(job), EXAMPLE_WAIT_MS, &pid);
    printf("no cuber there: %s\n", rusm_err_name(err));
    err = rusm_spawn_remote(NULL, "london", "squarer", "?", 1, EXAMPLE_WAIT_MS, &pid);
    printf("bad arguments: %s\n", rusm_err_name(err));
}

int main(void)
{
    rusm_runtime *runtimes[2];
    rusm_node *london, *tokyo;
    rusm_runtime_config cfg;
    rusm_identity *identity;

    /* One identity for both: right for a small cluster whose nodes trust each other. */
    must(rusm_identity_generate(&identity, "demo"), "make an identity");
    rusm_runtime_config_init(&cfg);
    cfg.name = "london";
    must(rusm_runtime_new(&runtimes[0], &cfg), "start a runtime");
    cfg.name = "tokyo";
    must(rusm_runtime_new(&runtimes[1], &cfg), "start a runtime");
    must(rusm_node_bind(&london, runtimes[0], "london", "127.0.0.1:0", identity), "bind london");
    must(rusm_node_bind(&tokyo, runtimes[1], "tokyo", "127.0.0.1:0", identity), "bind tokyo");
    rusm_identity_del(identity);
    must(rusm_factory_register(london, "squarer", squarer_factory, NULL), "register the factory");

    must(rusm_thread_enter(runtimes[1], "main"), "enter tokyo");
    must(rusm_node_connect(tokyo, rusm_node_address(london), EXAMPLE_WAIT_MS, NULL), "connect");
    run_tokyo();
    rusm_thread_leave();

    rusm_node_del(tokyo);
    rusm_node_del(london);
    rusm_runtime_del(runtimes[1]);
    rusm_runtime_del(runtimes[0]);
    return 0;
}
