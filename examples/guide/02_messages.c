/* SPDX-License-Identifier: MIT */
/* Send and receive: bytes in, bytes out, and who sent them. */
#include "example.h"

#include <string.h>

/* guide: struct */
struct order {
    uint32_t number;
    uint32_t pieces;
    char what[24];
};
/* guide end */

/* guide: receiver */
static void storehouse(void *arg)
{
    uint32_t left = 10;
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        const struct order *order = rusm_msg_data(msg);

        if (rusm_msg_len(msg) == sizeof(*order)) {
            char answer[80];
            int len;

            if (order->pieces <= left) {
                left -= order->pieces;
                len = snprintf(answer, sizeof(answer), "order %u: %u %s, %u left", order->number,
                               order->pieces, order->what, left);
            } else {
                len =
                    snprintf(answer, sizeof(answer), "order %u: only %u left", order->number, left);
            }
            must(rusm_send(rusm_msg_sender(msg), answer, (size_t)len), "answer");
        }
        rusm_msg_del(msg);
    }
}
/* guide end */

/* guide: sender */
static void buy(void)
{
    struct order first = {.number = 1, .pieces = 7, .what = "apples"};
    struct order second = {.number = 2, .pieces = 4, .what = "pears"};
    rusm_msg *msg;
    rusm_pid pid;

    must(rusm_spawn(NULL, storehouse, NULL, &pid), "spawn");
    must(rusm_send(pid, &first, sizeof(first)), "send");
    must(rusm_send(pid, &second, sizeof(second)), "send");
    for (int i = 0; i < 2; i++) {
        must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "receive");
        printf("%.*s\n", (int)rusm_msg_len(msg), (const char *)rusm_msg_data(msg));
        rusm_msg_del(msg);
    }
}
/* guide end */

/* guide: move */
static void buy_without_copy(void)
{
    struct order *order;
    rusm_msg *msg;

    must(rusm_msg_new(&msg, sizeof(*order)), "make a message");
    order = rusm_msg_data(msg);
    *order = (struct order){.number = 3, .pieces = 2, .what = "plums"};
    if (rusm_send_name("storehouse", order, sizeof(*order)) == RUSM_ENONAME) {
        printf("nobody is called storehouse\n");
    }
    must(rusm_send_msg(rusm_self(), msg), "send"); /* now msg is no longer ours */
    must(rusm_receive(&msg, 0), "receive");
    order = rusm_msg_data(msg);
    printf("order %u came back to me: %s\n", order->number,
           rusm_pid_equal(rusm_msg_sender(msg), rusm_self()) ? "yes" : "no");
    rusm_msg_del(msg);
}
/* guide end */

int main(void)
{
    rusm_runtime *runtime;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");
    buy();
    buy_without_copy();
    rusm_thread_leave();
    rusm_runtime_del(runtime);
    return 0;
}
