/* SPDX-License-Identifier: MIT */
/*
 * An application for test/integration/cli_test.sh: a factory that fails, a start that fails on a
 * node called "nowhere", and a stop that tells what it got.
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

static rusm_err start(rusm_node *node, void **out_state)
{
    static char state[] = "had a state";

    if (strcmp(rusm_node_name(node), "nowhere") == 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "it has no place there");
    }
    *out_state = state;
    return rusm_factory_register(node, "broken", broken, NULL);
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
