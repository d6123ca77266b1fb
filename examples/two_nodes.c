/* SPDX-License-Identifier: MIT */
/*
 * A cluster of two nodes in one program: a CA in memory, a link with certificates on both sides, a
 * message by node and name, a message by global name, and a stranger who is turned away. Two
 * programs on two machines do the same, each with the identity that it loads from its own files.
 */
#include "example.h"

#include <string.h>

struct place {
    rusm_runtime *runtime;
    rusm_node *node;
};

/* A node of the cluster of ca, with an identity of its own. */
static struct place open_place(const rusm_ca *ca, const char *name)
{
    rusm_runtime_config cfg;
    rusm_identity *identity;
    struct place place;

    rusm_runtime_config_init(&cfg);
    cfg.name = name;
    must(rusm_runtime_new(&place.runtime, &cfg), "start a runtime");
    must(rusm_ca_issue(ca, name, NULL, &identity), "issue an identity");
    must(rusm_node_bind(&place.node, place.runtime, name, "127.0.0.1:0", identity), "bind");
    rusm_identity_del(identity); /* the node holds it */
    return place;
}

static void close_place(struct place place)
{
    rusm_node_del(place.node);
    rusm_runtime_del(place.runtime);
}

/* Sends back what it gets, to wherever it came from. */
static void echo(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        must(rusm_send(rusm_msg_sender(msg), rusm_msg_data(msg), rusm_msg_len(msg)), "answer");
        rusm_msg_del(msg);
    }
}

static void print_answer(const char *to)
{
    rusm_msg *msg;

    must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "receive");
    printf("%s answered: %.*s\n", to, (int)rusm_msg_len(msg), (const char *)rusm_msg_data(msg));
    rusm_msg_del(msg);
}

/* A global name is known here at once and on the peers moments later. */
static void await_name(rusm_node *node, const char *name)
{
    rusm_pid pid;

    for (int ms = 0; rusm_whereis_global(node, name, &pid) == RUSM_ENONAME; ms++) {
        must(ms < EXAMPLE_WAIT_MS ? RUSM_OK : RUSM_ETIMEOUT, "wait for the name");
        must(rusm_sleep(1), "sleep");
    }
}

/* Same cluster name, same node name, but from a CA of its own. */
static void try_stranger(const char *address)
{
    struct place stranger;
    rusm_ca *ca;
    rusm_err err;

    must(rusm_ca_generate(&ca, "demo", 1), "make another CA");
    stranger = open_place(ca, "tokyo");
    err = rusm_node_connect(stranger.node, address, EXAMPLE_WAIT_MS, NULL);
    printf("stranger: %s (%s)\n", err == RUSM_OK ? "let in" : rusm_err_text(err),
           err == RUSM_OK ? "no reason" : rusm_err_detail());
    close_place(stranger);
    rusm_ca_del(ca);
}

int main(void)
{
    struct place london, tokyo;
    char peer[RUSM_NAME_MAX + 1];
    rusm_spawn_config cfg;
    rusm_pid pid;
    rusm_ca *ca;

    must(rusm_ca_generate(&ca, "demo", 1), "make a CA");
    london = open_place(ca, "london");
    tokyo = open_place(ca, "tokyo");
    rusm_ca_del(ca);

    rusm_spawn_config_init(&cfg);
    cfg.name = "echo";
    must(rusm_spawn_with(london.runtime, echo, NULL, &cfg, &pid), "spawn");
    must(rusm_register_global(london.node, "big ben", pid), "register globally");

    must(rusm_thread_enter(tokyo.runtime, "main"), "enter tokyo");
    must(rusm_node_connect(NULL, rusm_node_address(london.node), EXAMPLE_WAIT_MS, peer), "connect");
    printf("tokyo is linked to %s\n", peer);

    must(rusm_node_send(NULL, "london", "echo", "by node and name", 16), "send");
    print_answer("echo");
    await_name(NULL, "big ben");
    must(rusm_send_global(NULL, "big ben", "by global name", 14), "send globally");
    print_answer("big ben");
    rusm_thread_leave();

    try_stranger(rusm_node_address(london.node));
    close_place(tokyo);
    close_place(london);
    return 0;
}
