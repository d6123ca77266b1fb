/* SPDX-License-Identifier: MIT */
/* A program of a user, in what C and C++ have in common: both libraries, one process, one message. */
#include <rusm/rusm.h>

#include <stdio.h>
#include <string.h>

static void echo(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        if (rusm_send_msg(rusm_msg_sender(msg), msg) != RUSM_OK) {
            rusm_msg_del(msg);
        }
    }
}

static int ping(rusm_runtime *rt)
{
    rusm_pid pid;
    rusm_msg *reply;
    int equal;

    if (rusm_spawn(rt, echo, NULL, &pid) != RUSM_OK || rusm_send(pid, "hello", 5) != RUSM_OK ||
        rusm_receive(&reply, 10000) != RUSM_OK) {
        return 1;
    }
    equal = rusm_msg_len(reply) == 5 && memcmp(rusm_msg_data(reply), "hello", 5) == 0;
    rusm_msg_del(reply);
    return equal ? 0 : 1;
}

int main(void)
{
    rusm_runtime *rt;
    rusm_ca *ca;
    int failed = 1;

    if (rusm_ca_generate(&ca, "test", 1) != RUSM_OK) {
        fprintf(stderr, "%s\n", rusm_err_detail());
        return 1;
    }
    rusm_ca_del(ca);
    if (rusm_runtime_new(&rt, NULL) == RUSM_OK) {
        if (rusm_thread_enter(rt, "main") == RUSM_OK) {
            failed = ping(rt);
            rusm_thread_leave();
        }
        rusm_runtime_del(rt);
    }
    if (failed) {
        fprintf(stderr, "%s\n", rusm_err_detail());
    }
    return failed;
}
