/* SPDX-License-Identifier: MIT */
/*
 * An application for test/integration/cli_test.sh: a member of a group, a factory that fails, a
 * start that fails on a node called "nowhere", and a stop that tells what it got.
 */
#include <rusm/cluster.h>
#include <rusm/otp.h>
#include <rusm/otp/driver.h>
#include <stdio.h>
#include <string.h>

static rusm_err broken(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    (void)arg;
    (void)args;
    (void)args_len;
    (void)out_pid;
    return rusm_set_err_detail(RUSM_EINVAL, "it is always broken");
}

/* A member of a group, as long as the node runs. */
static void member(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_del(msg);
    }
}

static rusm_err start(rusm_node *node, void **out_state)
{
    static char state[] = "had a state";
    rusm_pid pid;
    rusm_err err;

    if (strcmp(rusm_node_name(node), "nowhere") == 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "it has no place there");
    }
    *out_state = state;
    err = rusm_spawn(rusm_node_runtime(node), member, NULL, &pid);
    if (err == RUSM_OK) {
        err = rusm_group_join(rusm_node_runtime(node), "cli", pid);
    }
    return err != RUSM_OK ? err : rusm_factory_register(node, "broken", broken, NULL);
}

static void stop(void *state)
{
    printf("cli_app stopped: it %s\n", (const char *)state);
}

RUSM_API const rusm_app *rusm_app_main(void)
{
    static const rusm_app app = {RUSM_APP_ABI, "cli_app", "2", start, stop};

    return &app;
}
