/* SPDX-License-Identifier: MIT */
/* Timers: messages that come later. */
#include "example.h"

#include <string.h>

/* guide: after */
static void remind(void)
{
    rusm_msg *msg;
    rusm_ref ref;

    must(rusm_send_after(rusm_self(), "tea", strlen("tea"), 10, &ref), "set a timer");
    must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "receive");
    printf("%.*s; it is our timer: %s\n", (int)rusm_msg_len(msg), (const char *)rusm_msg_data(msg),
           rusm_ref_equal(rusm_msg_ref(msg), ref) ? "yes" : "no");
    rusm_msg_del(msg);
}
/* guide end */

/* guide: cancel */
static void forget(void)
{
    rusm_msg *msg;
    rusm_ref ref;

    must(rusm_send_after(rusm_self(), "bus", strlen("bus"), 60000, &ref), "set a timer");
    must(rusm_cancel_timer(ref), "cancel it");
    printf("cancelled twice: %s\n", rusm_err_name(rusm_cancel_timer(ref)));
    printf("nothing comes: %s\n", rusm_receive(&msg, 20) == RUSM_ETIMEOUT ? "yes" : "no");
}
/* guide end */

/* guide: interval */
static void tick(void)
{
    rusm_ref ref;

    must(rusm_send_interval(rusm_self(), "tick", strlen("tick"), 5, &ref), "set an interval");
    for (int i = 1; i <= 3; i++) {
        rusm_msg *msg;

        must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "receive");
        printf("tick %d\n", i);
        rusm_msg_del(msg);
    }
    must(rusm_cancel_timer(ref), "cancel it");
}
/* guide end */

int main(void)
{
    rusm_runtime *runtime;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");
    remind();
    forget();
    tick();
    rusm_thread_leave();
    rusm_runtime_del(runtime);
    return 0;
}
