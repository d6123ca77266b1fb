/* SPDX-License-Identifier: MIT */
/* rusm send, spawn, kill, node reload: driving a running node. */
#include "cli/attach.h"
#include "cli/commands.h"
#include "cli/json.h"

#include <errno.h>
#include <rusm/cluster.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A message as it was given: an operand's own bytes, or what standard input had. */
struct data {
    const char *bytes;
    size_t len;
    char *heap; /* to be freed */
};

/* Read all of standard input, up to max bytes and one, so that too much is seen as too much. */
static enum rusmi_exit read_input(struct data *data, size_t max)
{
    size_t size = 0;

    for (;;) {
        ssize_t got;

        if (data->len == size) {
            size_t more = size == 0 ? 4096 : 2 * size;
            char *grown = realloc(data->heap, more);

            if (grown == NULL) {
                rusmi_say("%s", rusm_err_text(RUSM_ENOMEM));
                return RUSMI_EXIT_FAILED;
            }
            data->heap = grown;
            size = more;
        }
        got = read(STDIN_FILENO, data->heap + data->len, size - data->len);
        if (got < 0 && errno != EINTR) {
            rusmi_say("standard input: %s", strerror(errno));
            return RUSMI_EXIT_FAILED;
        }
        data->len += got > 0 ? (size_t)got : 0;
        if (got == 0 || data->len > max) {
            data->bytes = data->heap;
            return RUSMI_EXIT_OK;
        }
    }
}

/* Take the operand, or standard input if it is "-"; ends with free(data->heap) either way. */
static enum rusmi_exit data_init(struct data *data, const char *operand, size_t max)
{
    enum rusmi_exit code = RUSMI_EXIT_OK;

    *data = (struct data){.bytes = operand, .len = 0};
    if (strcmp(operand, "-") == 0) {
        code = read_input(data, max);
    } else {
        data->len = strlen(operand);
    }
    if (code == RUSMI_EXIT_OK && data->len > max) {
        rusmi_say("the message is larger than the limit of %zu bytes", max);
        code = RUSMI_EXIT_FAILED;
    }
    return code;
}

/* ---- send */

/* The process that operand stands for, by pid or by name. */
static enum rusmi_exit find_target(struct rusmi_attach *attach, const char *operand,
                                   rusm_pid *out_pid)
{
    char text[RUSMI_PID_TEXT_MAX];
    rusm_err err;

    if (attach->role == RUSM_ROLE_OBSERVER) {
        /* The node would drop the message, count it, and nobody would be told. */
        rusmi_say("an observer may look, not act");
        return RUSMI_EXIT_REFUSED;
    }
    if (operand[0] == '<') {
        return rusmi_attach_pid(attach, operand, out_pid);
    }
    err =
        rusm_remote_whereis(attach->node, attach->peer, operand, attach->args->timeout_ms, out_pid);
    if (err != RUSM_OK) {
        return rusmi_fail(err);
    }
    if (out_pid->incarnation != attach->incarnation) {
        rusmi_attach_format(attach, *out_pid, text);
        rusmi_say("%s is a global name of %s, no process of node %s: ask its own node", operand,
                  text, attach->peer);
        return RUSMI_EXIT_NOT_FOUND;
    }
    return RUSMI_EXIT_OK;
}

/*
 * Whether the peer still answers after the message was handed over. A message to a process that has
 * ended is dropped there and nobody hears of it; a link that is lost in between is told by this.
 */
static rusm_err settle(struct rusmi_attach *attach)
{
    rusm_peer_info info;
    uint64_t cursor = 0;
    ptrdiff_t got = rusm_remote_peer_list(attach->node, attach->peer, &cursor, &info, 1,
                                          attach->args->timeout_ms);

    return got < 0 ? (rusm_err)got : RUSM_OK;
}

static void send_done(const struct rusmi_attach *attach, rusm_pid pid, size_t len)
{
    char text[RUSMI_PID_TEXT_MAX];
    struct rusmi_json json;

    if (!attach->args->json) {
        return; /* as for every command that has nothing to show */
    }
    rusmi_pid_format(attach->peer, pid, text);
    rusmi_json_init(&json, stdout);
    rusmi_json_begin_object(&json, NULL);
    rusmi_json_text(&json, "pid", text);
    rusmi_json_number(&json, "bytes", len);
    rusmi_json_end(&json);
}

enum rusmi_exit rusmi_run_send(const struct rusmi_args *args)
{
    struct rusmi_attach attach;
    struct data data;
    rusm_pid pid;
    enum rusmi_exit code = data_init(&data, args->operands.items[1], RUSM_MESSAGE_MAX);

    if (code == RUSMI_EXIT_OK) {
        code = rusmi_attach_init(&attach, args);
        if (code == RUSMI_EXIT_OK) {
            code = find_target(&attach, args->operands.items[0], &pid);
        }
        if (code == RUSMI_EXIT_OK) {
            rusm_err err = rusm_send(pid, data.bytes, data.len);

            if (err == RUSM_OK) {
                err = settle(&attach);
            }
            code = err == RUSM_OK ? RUSMI_EXIT_OK : rusmi_fail(err);
        }
        if (code == RUSMI_EXIT_OK) {
            send_done(&attach, pid, data.len);
        }
        rusmi_attach_fini(&attach);
    }
    free(data.heap);
    return code;
}

/* ---- spawn */

static void spawn_done(const struct rusmi_attach *attach, const char *factory, rusm_pid pid)
{
    char text[RUSMI_PID_TEXT_MAX];
    struct rusmi_json json;

    rusmi_pid_format(attach->peer, pid, text);
    if (!attach->args->json) {
        (void)puts(text);
        return;
    }
    rusmi_json_init(&json, stdout);
    rusmi_json_begin_object(&json, NULL);
    rusmi_json_text(&json, "pid", text);
    rusmi_json_text(&json, "factory", factory);
    rusmi_json_end(&json);
}

enum rusmi_exit rusmi_run_spawn(const struct rusmi_args *args)
{
    const char *factory = args->operands.items[0];
    struct rusmi_attach attach;
    struct data data;
    rusm_pid pid;
    enum rusmi_exit code = data_init(&data, args->operands.len > 1 ? args->operands.items[1] : "",
                                     RUSM_SPAWN_ARGS_MAX);

    if (code == RUSMI_EXIT_OK) {
        code = rusmi_attach_init(&attach, args);
        if (code == RUSMI_EXIT_OK) {
            rusm_err err = rusm_spawn_remote(attach.node, attach.peer, factory, data.bytes,
                                             data.len, args->timeout_ms, &pid);

            code = err == RUSM_OK ? RUSMI_EXIT_OK : rusmi_fail(err);
        }
        if (code == RUSMI_EXIT_OK) {
            spawn_done(&attach, factory, pid);
        }
        rusmi_attach_fini(&attach);
    }
    free(data.heap);
    return code;
}

/* ---- kill */

/* Kill each; the code is that of the first that failed. */
static enum rusmi_exit kill_all(struct rusmi_attach *attach, struct rusmi_json *json)
{
    const struct rusmi_arg_list *operands = &attach->args->operands;
    enum rusmi_exit first = RUSMI_EXIT_OK;

    for (size_t i = 0; i < operands->len; i++) {
        char text[RUSMI_PID_TEXT_MAX];
        rusm_pid pid;
        enum rusmi_exit code = rusmi_attach_pid(attach, operands->items[i], &pid);

        if (code == RUSMI_EXIT_OK) {
            rusm_err err =
                rusm_remote_kill(attach->node, attach->peer, pid, attach->args->timeout_ms);

            code = err == RUSM_OK ? RUSMI_EXIT_OK : rusmi_fail(err);
        }
        if (code == RUSMI_EXIT_OK && json != NULL) {
            rusmi_pid_format(attach->peer, pid, text);
            rusmi_json_text(json, NULL, text);
        }
        first = first == RUSMI_EXIT_OK ? code : first;
    }
    return first;
}

enum rusmi_exit rusmi_run_kill(const struct rusmi_args *args)
{
    struct rusmi_attach attach;
    struct rusmi_json json;
    enum rusmi_exit code = rusmi_attach_init(&attach, args);

    if (code == RUSMI_EXIT_OK && args->json) {
        rusmi_json_init(&json, stdout);
        rusmi_json_begin_object(&json, NULL);
        rusmi_json_begin_array(&json, "killed");
        code = kill_all(&attach, &json);
        rusmi_json_end(&json);
        rusmi_json_end(&json);
    } else if (code == RUSMI_EXIT_OK) {
        code = kill_all(&attach, NULL);
    }
    rusmi_attach_fini(&attach);
    return code;
}

/* ---- node reload */

enum rusmi_exit rusmi_run_node_reload(const struct rusmi_args *args)
{
    struct rusmi_attach attach;
    struct rusmi_json json;
    enum rusmi_exit code = rusmi_attach_init(&attach, args);

    if (code == RUSMI_EXIT_OK) {
        rusm_err err = rusm_remote_reload(attach.node, attach.peer, args->timeout_ms);

        code = err == RUSM_OK ? RUSMI_EXIT_OK : rusmi_fail(err);
    }
    if (code == RUSMI_EXIT_OK && args->json) {
        rusmi_json_init(&json, stdout);
        rusmi_json_begin_object(&json, NULL);
        rusmi_json_text(&json, "node", attach.peer);
        rusmi_json_bool(&json, "reloaded", true);
        rusmi_json_end(&json);
    }
    rusmi_attach_fini(&attach);
    return code;
}
