/* SPDX-License-Identifier: MIT */
/*
 * An application: a shared object that `rusm node start --load` runs inside a node. tools/demo.sh
 * and test/integration/cli_test.sh drive it with the rusm command.
 *
 * On each node it runs three registered processes and offers three factories:
 *
 *   echo       sends back what it gets
 *   greeter    the same with a greeting; known to the whole cluster as greeter.<node>
 *   postman    does errands for people, who have no mailbox: sends for them, prints the answer
 *                send <node> <name> <text>       a message by node and name
 *                global <name> <text>            a message by global name
 *                spawn <node> <factory> <text>   a new process there, and a message to it
 *   worker     a factory: a process that answers with what it was started with and the text in
 *              capitals, and ends when it hears `stop`
 *   crowd      a factory: as many idle processes as its argument says, for lists with many pages
 *   nap        a factory that takes as many milliseconds as its argument says, and then a worker
 */
#include <ctype.h>
#include <rusm/rusm.h>
#include <stdio.h>
#include <string.h>

#define ANSWER_MS 5000
#define TEXT_MAX  1024

/* The bytes of a message as a string, cut to fit. */
static void text_of(const rusm_msg *msg, char text[TEXT_MAX])
{
    size_t len = rusm_msg_len(msg) < TEXT_MAX ? rusm_msg_len(msg) : TEXT_MAX - 1;

    memcpy(text, rusm_msg_data(msg), len);
    text[len] = '\0';
}

/* Answer whoever sent msg; if that fails, the sender has gone, or is no process. */
static void answer(const rusm_msg *msg, const char *text)
{
    (void)!rusm_send(rusm_msg_sender(msg), text, strlen(text));
}

/* ---- echo and greeter */

static void echo(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        (void)!rusm_send(rusm_msg_sender(msg), rusm_msg_data(msg), rusm_msg_len(msg));
        rusm_msg_del(msg);
    }
}

static void greeter(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        char text[TEXT_MAX], greeting[2 * TEXT_MAX];

        text_of(msg, text);
        (void)snprintf(greeting, sizeof(greeting), "%s greets %s", rusm_node_name(rusm_node_self()),
                       text);
        answer(msg, greeting);
        rusm_msg_del(msg);
    }
}

/* ---- worker */

static void worker(void *arg)
{
    char title[TEXT_MAX];
    rusm_msg *msg;

    (void)arg;
    if (rusm_receive(&msg, ANSWER_MS) != RUSM_OK) {
        rusm_crash("no title came");
    }
    text_of(msg, title);
    rusm_msg_del(msg);
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        char text[TEXT_MAX], result[2 * TEXT_MAX + 64];

        text_of(msg, text);
        for (char *c = text; *c != '\0'; c++) {
            *c = (char)toupper((unsigned char)*c);
        }
        (void)snprintf(result, sizeof(result), "%s worked on %s: %s",
                       title[0] != '\0' ? title : "somebody", rusm_node_name(rusm_node_self()),
                       text);
        answer(msg, result);
        rusm_msg_del(msg);
        if (strcmp(text, "STOP") == 0) {
            return;
        }
    }
}

/* The title goes into the mailbox, so nothing has to be freed if the worker is killed. */
static rusm_err worker_factory(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    rusm_spawn_config cfg;
    rusm_err err;

    (void)arg;
    rusm_spawn_config_init(&cfg);
    cfg.label = "worker";
    err = rusm_spawn_with(NULL, worker, NULL, &cfg, out_pid);
    return err == RUSM_OK ? rusm_send(*out_pid, args, args_len) : err;
}

/* ---- crowd and nap */

/* A number in decimal digits up to max; 0 if it is none. */
static unsigned long number_of(const void *args, size_t args_len, unsigned long max)
{
    unsigned long number = 0;

    for (size_t i = 0; i < args_len; i++) {
        char digit = ((const char *)args)[i];

        if (digit < '0' || digit > '9' || number > max) {
            return 0;
        }
        number = 10 * number + (unsigned long)(digit - '0');
    }
    return number <= max ? number : 0;
}

static void idle(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    if (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_del(msg); /* whatever comes ends it */
    }
}

/* The pid of a crowd is that of the last who came. */
static rusm_err crowd_factory(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    unsigned long count = number_of(args, args_len, 1000000);
    rusm_spawn_config cfg;
    rusm_err err = count > 0 ? RUSM_OK : RUSM_EINVAL;

    (void)arg;
    rusm_spawn_config_init(&cfg);
    cfg.label = "crowd";
    for (; err == RUSM_OK && count > 0; count--) {
        err = rusm_spawn_with(NULL, idle, NULL, &cfg, out_pid);
    }
    return err;
}

/* A factory may block: only those who asked for it wait. */
static rusm_err nap_factory(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    rusm_err err = rusm_sleep((int64_t)number_of(args, args_len, 60000));

    return err == RUSM_OK ? worker_factory(arg, "nap", 3, out_pid) : err;
}

/* ---- postman */

/* Cut the next word off *text. */
static const char *next_word(char **text)
{
    char *word = *text, *space = strchr(word, ' ');

    if (space != NULL) {
        *space = '\0';
        *text = space + 1;
    } else {
        *text = word + strlen(word);
    }
    return word;
}

static rusm_err spawn_and_send(const char *node, const char *factory, const char *text)
{
    rusm_pid pid;
    rusm_err err = rusm_spawn_remote(NULL, node, factory, rusm_node_name(rusm_node_self()),
                                     strlen(rusm_node_name(rusm_node_self())), ANSWER_MS, &pid);

    return err == RUSM_OK ? rusm_send(pid, text, strlen(text)) : err;
}

/* Do as the first word says. */
static rusm_err start_errand(char *command)
{
    char *rest = command;
    const char *verb = next_word(&rest);

    if (strcmp(verb, "global") == 0) {
        const char *name = next_word(&rest);

        return rusm_send_global(NULL, name, rest, strlen(rest));
    }
    if (strcmp(verb, "send") == 0) {
        const char *node = next_word(&rest), *name = next_word(&rest);

        return rusm_node_send(NULL, node, name, rest, strlen(rest));
    }
    if (strcmp(verb, "spawn") == 0) {
        const char *node = next_word(&rest), *factory = next_word(&rest);

        return spawn_and_send(node, factory, rest);
    }
    return RUSM_EINVAL;
}

/* One errand, in a process of its own, so that the postman never waits. */
static void errand(void *arg)
{
    char command[TEXT_MAX], text[TEXT_MAX], pid[RUSM_PID_TEXT_MAX];
    rusm_msg *msg;
    rusm_err err;

    (void)arg;
    if (rusm_receive(&msg, ANSWER_MS) != RUSM_OK) {
        return;
    }
    text_of(msg, command);
    rusm_msg_del(msg);
    err = start_errand(command);
    if (err == RUSM_OK) {
        err = rusm_receive(&msg, ANSWER_MS);
    }
    if (err != RUSM_OK) {
        printf("postman: %s: %s\n", rusm_err_name(err), rusm_err_detail());
        return;
    }
    text_of(msg, text);
    (void)rusm_pid_format(rusm_msg_sender(msg), pid, sizeof(pid));
    printf("postman: %s answers: %s\n", pid, text);
    rusm_msg_del(msg);
}

static void postman(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_spawn_config cfg;
        rusm_pid pid;

        rusm_spawn_config_init(&cfg);
        cfg.label = "errand";
        if (rusm_spawn_with(NULL, errand, NULL, &cfg, &pid) != RUSM_OK ||
            rusm_send_msg(pid, msg) != RUSM_OK) {
            printf("postman: %s\n", rusm_err_detail());
            rusm_msg_del(msg);
        }
    }
}

/* ---- the application */

static rusm_err spawn_named(rusm_process_fn fn, const char *name, rusm_pid *out_pid)
{
    rusm_spawn_config cfg;

    rusm_spawn_config_init(&cfg);
    cfg.name = name;
    cfg.label = name;
    return rusm_spawn_with(NULL, fn, NULL, &cfg, out_pid);
}

static rusm_err start(rusm_node *node, void **out_state)
{
    char name[RUSM_NAME_MAX + 16];
    rusm_pid pid;
    rusm_err err = rusm_factory_register(node, "worker", worker_factory, NULL);

    (void)out_state; /* all it has is processes, and they end with the node */
    if (err == RUSM_OK) {
        err = rusm_factory_register(node, "crowd", crowd_factory, NULL);
    }
    if (err == RUSM_OK) {
        err = rusm_factory_register(node, "nap", nap_factory, NULL);
    }
    if (err == RUSM_OK) {
        err = spawn_named(echo, "echo", &pid);
    }
    if (err == RUSM_OK) {
        err = spawn_named(postman, "postman", &pid);
    }
    if (err == RUSM_OK) {
        err = spawn_named(greeter, "greeter", &pid);
    }
    if (err == RUSM_OK) {
        (void)snprintf(name, sizeof(name), "greeter.%s", rusm_node_name(node));
        err = rusm_register_global(node, name, pid);
    }
    return err;
}

RUSM_API const rusm_app *rusm_app_main(void)
{
    static const rusm_app app = {RUSM_APP_ABI, "echo", "1.0", start, NULL};

    return &app;
}
