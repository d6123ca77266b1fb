/* SPDX-License-Identifier: MIT */
/* Selective receive: one message is taken out of turn, the others stay where they are. */
#include "example.h"

#include <string.h>

/* guide: match */
static bool is_from(const rusm_msg *msg, void *arg)
{
    const rusm_pid *pid = arg;

    return rusm_pid_equal(rusm_msg_sender(msg), *pid);
}
/* guide end */

static void answer_once(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    must(rusm_receive(&msg, RUSM_INFINITY), "receive");
    must(rusm_send(rusm_msg_sender(msg), "answer", strlen("answer")), "answer");
    rusm_msg_del(msg);
}

static void print(const char *how, rusm_msg *msg)
{
    printf("%s: %.*s\n", how, (int)rusm_msg_len(msg), (const char *)rusm_msg_data(msg));
    rusm_msg_del(msg);
}

/* guide: select */
static void ask(rusm_pid pid)
{
    rusm_msg *msg;

    must(rusm_send(rusm_self(), "one", strlen("one")), "send");
    must(rusm_send(rusm_self(), "two", strlen("two")), "send");
    must(rusm_send(pid, "question", strlen("question")), "ask");

    must(rusm_receive_match(&msg, is_from, &pid, EXAMPLE_WAIT_MS), "wait for the answer");
    print("first", msg);
    while (rusm_receive(&msg, 0) == RUSM_OK) { /* 0: do not wait */
        print("then", msg);
    }
}
/* guide end */

/* guide: mark */
static void ask_with_much_mail(rusm_pid pid)
{
    unsigned waiting = 0;
    rusm_mark mark;
    rusm_msg *msg;

    for (int i = 0; i < 1000; i++) {
        must(rusm_send(rusm_self(), "mail", strlen("mail")), "send");
    }
    mark = rusm_mailbox_mark(); /* the answer can only come after this */
    must(rusm_send(pid, "question", strlen("question")), "ask");
    must(rusm_receive_since(mark, &msg, is_from, &pid, EXAMPLE_WAIT_MS), "wait for the answer");
    print("before the mail", msg);
    while (rusm_receive(&msg, 0) == RUSM_OK) {
        rusm_msg_del(msg);
        waiting++;
    }
    printf("then: %u pieces of mail\n", waiting);
}
/* guide end */

int main(void)
{
    rusm_runtime *runtime;
    rusm_pid pid;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");
    must(rusm_spawn(NULL, answer_once, NULL, &pid), "spawn");
    ask(pid);
    must(rusm_spawn(NULL, answer_once, NULL, &pid), "spawn");
    ask_with_much_mail(pid);
    rusm_thread_leave();
    rusm_runtime_del(runtime);
    return 0;
}
