/* SPDX-License-Identifier: MIT */
/* From threads and a queue to processes: threads that send, and a mailbox with a limit. */
#include "example.h"

#include <pthread.h>
#include <time.h>

/* guide: consumer */
/* Was: a thread that takes jobs from a queue under a lock. */
static void worker(void *arg)
{
    unsigned done = 0;
    rusm_msg *msg;

    (void)arg;
    for (;;) {
        must(rusm_receive(&msg, RUSM_INFINITY), "receive");
        if (rusm_msg_get_kind(msg) == RUSM_MSG_CALL) {
            break;
        }
        done++;
        rusm_msg_del(msg);
    }
    must(rusm_reply(rusm_msg_from(msg), &done, sizeof(done)), "reply");
    rusm_msg_del(msg);
}

static rusm_pid spawn_worker(rusm_runtime *runtime)
{
    rusm_spawn_config cfg;
    rusm_pid pid;

    rusm_spawn_config_init(&cfg);
    cfg.label = "worker";
    cfg.mailbox_max = 8; /* the length of the queue */
    cfg.mailbox_policy = RUSM_MAILBOX_REFUSE;
    must(rusm_spawn_with(runtime, worker, NULL, &cfg, &pid), "spawn");
    return pid;
}
/* guide end */

/* guide: producer */
/* A thread of the program, which knows nothing of processes but a pid. */
static void *produce(void *arg)
{
    const rusm_pid *pid = arg;

    for (int job = 0; job < 100; job++) {
        while (rusm_send(*pid, &job, sizeof(job)) == RUSM_EFULL) {
            struct timespec moment = {.tv_nsec = 100000};

            (void)nanosleep(&moment, NULL); /* the queue is full: wait, or drop, or say so */
        }
    }
    return NULL;
}
/* guide end */

/* guide: main */
int main(void)
{
    rusm_runtime *runtime;
    pthread_t threads[2];
    rusm_msg *reply;
    rusm_pid pid;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    pid = spawn_worker(runtime);
    for (int i = 0; i < 2; i++) {
        must(pthread_create(&threads[i], NULL, produce, &pid) == 0 ? RUSM_OK : RUSM_ESYS, "start");
    }
    for (int i = 0; i < 2; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    must(rusm_thread_enter(runtime, "main"), "enter the runtime"); /* to wait for an answer */
    while (rusm_call(pid, NULL, 0, EXAMPLE_WAIT_MS, &reply) == RUSM_EFULL) {
        must(rusm_sleep(1), "sleep");
    }
    printf("%u jobs done\n", *(const unsigned *)rusm_msg_data(reply));
    rusm_msg_del(reply);
    rusm_thread_leave();
    rusm_runtime_del(runtime);
    return 0;
}
/* guide end */
