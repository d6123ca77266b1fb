/* SPDX-License-Identifier: MIT */
/*
 * One leader in a cluster: a process on each of three nodes wants a global name. One gets it, the
 * others watch that one, and when it ends one of them takes its place.
 */
#include "example.h"

#include <string.h>

#define PLACES 3
#define LEADER "leader"

static const char *const names[PLACES] = {"london", "paris", "tokyo"};
static rusm_pid audience;

/* Lead until told to end (true), or until the name is another's: two sides of a partition may each
 * have had a leader, and when they meet one of them is told so. */
static bool lead(const char *where)
{
    rusm_msg_kind kind;
    rusm_msg *msg;

    must(rusm_send(audience, where, strlen(where)), "tell who leads");
    must(rusm_receive(&msg, RUSM_INFINITY), "lead");
    kind = rusm_msg_get_kind(msg);
    rusm_msg_del(msg);
    if (kind == RUSM_MSG_NAME_CONFLICT) {
        must(rusm_unregister_global(NULL, LEADER), "step down");
        return false;
    }
    return true;
}

/* Wait until the present leader has ended, or can not be reached any more. */
static void follow(void)
{
    rusm_pid leader;
    rusm_msg *msg;
    rusm_ref ref;

    if (rusm_whereis_global(NULL, LEADER, &leader) != RUSM_OK) {
        must(rusm_sleep(1), "sleep"); /* somebody is just becoming it, or has just gone */
        return;
    }
    must(rusm_monitor(leader, &ref), "watch the leader");
    must(rusm_receive(&msg, RUSM_INFINITY), "hear of its end");
    rusm_msg_del(msg);
}

static void candidate(void *arg)
{
    const char *where = arg;
    bool ended = false;

    while (!ended) {
        rusm_err err = rusm_register_global_sync(NULL, LEADER, rusm_self(), EXAMPLE_WAIT_MS);

        if (err == RUSM_OK) {
            ended = lead(where);
        } else {
            must(err == RUSM_EEXIST ? RUSM_OK : err, "ask for the name");
            follow();
        }
    }
}

int main(void)
{
    rusm_runtime *runtimes[PLACES];
    rusm_node *nodes[PLACES];
    rusm_ca *ca;

    must(rusm_ca_generate(&ca, "demo", 1), "make a CA");
    for (int i = 0; i < PLACES; i++) {
        rusm_identity *identity;

        must(rusm_runtime_new(&runtimes[i], NULL), "start a runtime");
        must(rusm_ca_issue(ca, names[i], NULL, &identity), "issue an identity");
        must(rusm_node_bind(&nodes[i], runtimes[i], names[i], "127.0.0.1:0", identity), "bind");
        rusm_identity_del(identity);
        for (int j = 0; j < i; j++) {
            must(rusm_node_connect(nodes[i], rusm_node_address(nodes[j]), EXAMPLE_WAIT_MS, NULL),
                 "connect");
        }
    }
    rusm_ca_del(ca);

    must(rusm_thread_enter(runtimes[0], "main"), "enter london");
    audience = rusm_self();
    for (int i = 0; i < PLACES; i++) {
        rusm_pid pid;

        must(rusm_spawn(runtimes[i], candidate, (void *)(uintptr_t)names[i], &pid), "spawn");
    }
    for (int term = 0; term < PLACES; term++) {
        rusm_msg *msg;

        must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "wait for a leader");
        printf("%.*s leads\n", (int)rusm_msg_len(msg), (const char *)rusm_msg_data(msg));
        must(rusm_send(rusm_msg_sender(msg), "end", 3), "end it");
        rusm_msg_del(msg);
    }
    rusm_thread_leave();

    for (int i = PLACES - 1; i >= 0; i--) {
        rusm_node_del(nodes[i]);
        rusm_runtime_del(runtimes[i]);
    }
    return 0;
}
