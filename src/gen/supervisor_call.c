/* SPDX-License-Identifier: MIT */
/*
 * The public calls of supervisors: see rusm/otp/supervisor.h. They run in the process that asks,
 * check what can be checked there, and put the rest into a message (supervisor.h has the record,
 * supervisor_answer.c the other end).
 *
 * Everything is copied into the message, strings too: who asks may time out or be killed while the
 * supervisor is still at it. What a call allocates is memory of the calling process.
 */
#include "base/utf8.h"
#include "gen/supervisor.h"

#include <rusm/otp/driver.h>
#include <rusm/otp/link.h>
#include <rusm/otp/memory.h>

#include <stdio.h>
#include <string.h>

#define REQUEST_STACK_MAX (sizeof(struct rusmi_sup_request) + RUSM_NAME_MAX + 1)

void rusm_child_spec_init(rusm_child_spec *spec)
{
    *spec = (rusm_child_spec){.size = sizeof(*spec), .shutdown_ms = 5000};
}

void rusm_supervisor_config_init(rusm_supervisor_config *cfg)
{
    *cfg = (rusm_supervisor_config){
        .size = sizeof(*cfg), .max_restarts = 3, .seconds = 5, .backoff_max_ms = 10000};
}

/* ---- checks ---------------------------------------------------------------------------------- */

static bool text_valid(const char *text)
{
    return rusmi_name_valid(text, strnlen(text, RUSM_NAME_MAX + 1));
}

static rusm_err spec_check(const rusm_child_spec *spec, bool is_template)
{
    const char *id;

    if (spec->size != sizeof(*spec)) {
        return rusm_set_err_detail(RUSM_EINVAL,
                                   "a child spec is not made with rusm_child_spec_init()");
    }
    if (!is_template && (spec->id == NULL || !text_valid(spec->id))) {
        return rusm_set_err_detail(RUSM_EINVAL, "a child has no id, or not a valid one");
    }
    id = is_template ? "template" : spec->id;
    if ((spec->fn == NULL) == (spec->start == NULL)) {
        return rusm_set_err_detail(RUSM_EINVAL, "child '%s' needs either fn or start", id);
    }
    if ((unsigned)spec->restart > RUSM_TEMPORARY) {
        return rusm_set_err_detail(RUSM_EINVAL, "child '%s': no such restart: %d", id,
                                   (int)spec->restart);
    }
    if (spec->shutdown_ms < RUSM_INFINITY) {
        return rusm_set_err_detail(RUSM_EINVAL, "child '%s': shutdown_ms is negative", id);
    }
    if (spec->spawn != NULL && (spec->spawn->size != sizeof(*spec->spawn) ||
                                (spec->spawn->label != NULL && !text_valid(spec->spawn->label)) ||
                                (spec->spawn->name != NULL && !text_valid(spec->spawn->name)))) {
        return rusm_set_err_detail(RUSM_EINVAL, "child '%s': its spawn config is not valid", id);
    }
    return RUSM_OK;
}

static rusm_err config_check(const rusm_supervisor_config *cfg)
{
    bool is_simple;

    if (cfg == NULL || cfg->size != sizeof(*cfg)) {
        return rusm_set_err_detail(
            RUSM_EINVAL, "the supervisor config is not made with rusm_supervisor_config_init()");
    }
    if ((unsigned)cfg->strategy > RUSM_SIMPLE_ONE_FOR_ONE) {
        return rusm_set_err_detail(RUSM_EINVAL, "no such strategy: %d", (int)cfg->strategy);
    }
    if (cfg->seconds == 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "restarts are counted within 1 second at least");
    }
    if (cfg->backoff_min_ms > cfg->backoff_max_ms) {
        return rusm_set_err_detail(RUSM_EINVAL, "backoff_min_ms is above backoff_max_ms");
    }
    if (cfg->name != NULL && !text_valid(cfg->name)) {
        return rusm_set_err_detail(RUSM_EINVAL, "the supervisor's name is not valid");
    }
    if (cfg->children_len > 0 && cfg->children == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "the children are missing");
    }
    is_simple = cfg->strategy == RUSM_SIMPLE_ONE_FOR_ONE;
    if (is_simple && cfg->children_len != 1) {
        return rusm_set_err_detail(RUSM_EINVAL,
                                   "under simple_one_for_one there is exactly one spec");
    }
    for (size_t i = 0; i < cfg->children_len; i++) {
        rusm_err err = spec_check(&cfg->children[i], is_simple);

        if (err != RUSM_OK) {
            return err;
        }
    }
    return RUSM_OK;
}

/* ---- the record ------------------------------------------------------------------------------ */

static size_t text_size(const char *text)
{
    return text == NULL ? 0 : strlen(text) + 1;
}

static const char *spec_id(const rusm_child_spec *spec, bool is_template)
{
    return is_template ? NULL : spec->id;
}

static const char *spec_label(const rusm_child_spec *spec, bool is_template)
{
    return spec->spawn != NULL ? spec->spawn->label : spec_id(spec, is_template);
}

static size_t spec_size(const rusm_child_spec *spec, bool is_template)
{
    size_t size = sizeof(struct rusmi_sup_spec) + text_size(spec_id(spec, is_template)) +
                  text_size(spec_label(spec, is_template)) +
                  text_size(spec->spawn == NULL ? NULL : spec->spawn->name);

    return (size + 15) & ~(size_t)15;
}

static size_t text_put(char **at, const char *text)
{
    size_t size = text_size(text);

    if (size > 0) {
        memcpy(*at, text, size);
        *at += size;
    }
    return size;
}

/* Write a spec, cleared memory of spec_size() bytes. */
static void spec_put(struct rusmi_sup_spec *out, const rusm_child_spec *spec, bool is_template)
{
    char *at = out->text;

    out->size = spec_size(spec, is_template);
    out->fn = spec->fn;
    out->start = spec->start;
    out->arg = spec->arg;
    out->shutdown_ms = spec->shutdown_ms;
    out->restart = spec->restart;
    out->is_supervisor = spec->is_supervisor;
    rusm_spawn_config_init(&out->spawn);
    if (spec->spawn != NULL) {
        out->spawn = *spec->spawn;
    }
    out->id_size = text_put(&at, spec_id(spec, is_template));
    out->label_size = text_put(&at, spec_label(spec, is_template));
    out->name_size = text_put(&at, spec->spawn == NULL ? NULL : spec->spawn->name);
    rusmi_sup_spec_settle(out); /* no pointer of the caller's goes along */
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* Requests and answers are records with addresses in them: see rusmi_sup_request_of(). */
static rusm_err check_here(rusm_pid supervisor)
{
    rusm_pid self = rusm_self();

    return rusm_pid_is_none(self) || rusm_pid_is_none(supervisor) ||
                   supervisor.incarnation == self.incarnation
               ? RUSM_OK
               : rusm_set_err_detail(RUSM_EINVAL, "a supervisor is asked by processes of its own "
                                                  "node alone: ask one of them to do it");
}

/* Call a supervisor; *out_answer is in *out_reply, which is the caller's on RUSM_OK. */
static rusm_err call(rusm_pid supervisor, const struct rusmi_sup_request *request,
                     int64_t timeout_ms, rusm_msg **out_reply,
                     const struct rusmi_sup_answer **out_answer)
{
    const struct rusmi_sup_answer *answer;
    rusm_msg *reply;
    rusm_err err = check_here(supervisor);

    if (err == RUSM_OK) {
        err = rusm_call(supervisor, request, sizeof(*request) + request->body_len, timeout_ms,
                        &reply);
    }
    if (err != RUSM_OK) {
        return err;
    }
    answer = rusm_msg_data(reply);
    if (rusm_msg_len(reply) < sizeof(*answer) || answer->magic != RUSMI_SUP_MAGIC) {
        rusm_msg_del(reply);
        return rusm_set_err_detail(RUSM_EINVAL, "the process is not a supervisor");
    }
    *out_reply = reply;
    *out_answer = answer;
    return RUSM_OK;
}

static rusm_err answer_err(const struct rusmi_sup_answer *answer)
{
    return answer->err == RUSM_OK ? RUSM_OK
                                  : rusm_set_err_detail(answer->err, "%s", answer->detail);
}

/* The same, where an answer that is an error is an error of the call. */
static rusm_err ask(rusm_pid supervisor, const struct rusmi_sup_request *request,
                    int64_t timeout_ms, rusm_msg **out_reply)
{
    const struct rusmi_sup_answer *answer;
    rusm_err err = call(supervisor, request, timeout_ms, out_reply, &answer);

    if (err != RUSM_OK) {
        return err;
    }
    err = answer_err(answer);
    if (err != RUSM_OK) {
        rusm_msg_del(*out_reply);
    }
    return err;
}

/* Ask for something that answers with a pid, or with nothing (out_pid NULL). */
static rusm_err ask_pid(rusm_pid supervisor, const struct rusmi_sup_request *request,
                        int64_t timeout_ms, rusm_pid *out_pid)
{
    rusm_msg *reply;
    rusm_err err = ask(supervisor, request, timeout_ms, &reply);

    if (err == RUSM_OK) {
        if (out_pid != NULL) {
            *out_pid = ((const struct rusmi_sup_answer *)rusm_msg_data(reply))->pid;
        }
        rusm_msg_del(reply);
    }
    return err;
}

static rusm_err ask_about_id(rusm_pid supervisor, enum rusmi_sup_op op, const char *id,
                             int64_t timeout_ms, rusm_pid *out_pid)
{
    _Alignas(16) unsigned char space[REQUEST_STACK_MAX] = {0};
    struct rusmi_sup_request *request = (void *)space;

    if (id == NULL || !text_valid(id)) {
        return rusm_set_err_detail(RUSM_EINVAL, "the id of a child is not valid");
    }
    request->magic = RUSMI_SUP_MAGIC;
    request->op = op;
    request->body_len = strlen(id) + 1;
    memcpy(request->body, id, request->body_len);
    return ask_pid(supervisor, request, timeout_ms, out_pid);
}

rusm_err rusm_supervisor_start_child(rusm_pid supervisor, const rusm_child_spec *spec, void *arg,
                                     int64_t timeout_ms, rusm_pid *out_pid)
{
    struct rusmi_sup_request *request;
    size_t body_len = 0;
    rusm_err err;

    if (spec != NULL) {
        err = spec_check(spec, false);
        if (err != RUSM_OK) {
            return err;
        }
        body_len = spec_size(spec, false);
    }
    request = rusm_zalloc(sizeof(*request) + body_len);
    if (request == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "%s", rusm_err_text(RUSM_ENOMEM));
    }
    request->magic = RUSMI_SUP_MAGIC;
    request->op = RUSMI_SUP_START_CHILD;
    request->arg = arg;
    request->body_len = body_len;
    if (spec != NULL) {
        spec_put((void *)request->body, spec, false);
    }
    err = ask_pid(supervisor, request, timeout_ms, out_pid);
    rusm_free(request);
    return err;
}

rusm_err rusm_supervisor_terminate_child(rusm_pid supervisor, const char *id, int64_t timeout_ms)
{
    return ask_about_id(supervisor, RUSMI_SUP_TERMINATE_CHILD, id, timeout_ms, NULL);
}

rusm_err rusm_supervisor_restart_child(rusm_pid supervisor, const char *id, int64_t timeout_ms,
                                       rusm_pid *out_pid)
{
    return ask_about_id(supervisor, RUSMI_SUP_RESTART_CHILD, id, timeout_ms, out_pid);
}

rusm_err rusm_supervisor_delete_child(rusm_pid supervisor, const char *id, int64_t timeout_ms)
{
    return ask_about_id(supervisor, RUSMI_SUP_DELETE_CHILD, id, timeout_ms, NULL);
}

rusm_err rusm_supervisor_terminate_pid(rusm_pid supervisor, rusm_pid child, int64_t timeout_ms)
{
    struct rusmi_sup_request request = {
        .magic = RUSMI_SUP_MAGIC, .op = RUSMI_SUP_TERMINATE_PID, .pid = child};

    return ask_pid(supervisor, &request, timeout_ms, NULL);
}

rusm_err rusm_supervisor_count(rusm_pid supervisor, int64_t timeout_ms, rusm_child_count *out_count)
{
    struct rusmi_sup_request request = {.magic = RUSMI_SUP_MAGIC, .op = RUSMI_SUP_COUNT};
    rusm_msg *reply;
    rusm_err err;

    if (out_count == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "there is no place for the count");
    }
    err = ask(supervisor, &request, timeout_ms, &reply);
    if (err == RUSM_OK) {
        *out_count = ((const struct rusmi_sup_answer *)rusm_msg_data(reply))->count;
        rusm_msg_del(reply);
    }
    return err;
}

ptrdiff_t rusm_supervisor_list(rusm_pid supervisor, uint64_t *cursor, rusm_child_info *infos,
                               size_t infos_max, int64_t timeout_ms)
{
    struct rusmi_sup_request request = {.magic = RUSMI_SUP_MAGIC, .op = RUSMI_SUP_LIST};
    const struct rusmi_sup_answer *answer;
    rusm_msg *reply;
    ptrdiff_t len;
    rusm_err err;

    if (cursor == NULL || infos == NULL || infos_max == 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "a list needs a cursor and room for one record");
    }
    request.cursor = *cursor;
    request.infos_max = infos_max > UINT32_MAX ? UINT32_MAX : (uint32_t)infos_max;
    err = ask(supervisor, &request, timeout_ms, &reply);
    if (err != RUSM_OK) {
        return err;
    }
    answer = rusm_msg_data(reply);
    len = (ptrdiff_t)answer->infos_len;
    memcpy(infos, answer->infos, answer->infos_len * sizeof(*infos));
    *cursor = answer->cursor;
    rusm_msg_del(reply);
    return len;
}

/* ---- start and stop -------------------------------------------------------------------------- */

/* The request that makes a process a supervisor; memory of the caller. */
static rusm_err init_request(const rusm_supervisor_config *cfg, struct rusmi_sup_request **out)
{
    bool is_simple = cfg->strategy == RUSM_SIMPLE_ONE_FOR_ONE;
    struct rusmi_sup_request *request;
    size_t body_len = 0, at = 0;

    for (size_t i = 0; i < cfg->children_len; i++) {
        body_len += spec_size(&cfg->children[i], is_simple);
    }
    request = rusm_zalloc(sizeof(*request) + body_len);
    if (request == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "%s", rusm_err_text(RUSM_ENOMEM));
    }
    request->magic = RUSMI_SUP_MAGIC;
    request->op = RUSMI_SUP_INIT;
    request->strategy = cfg->strategy;
    request->max_restarts = cfg->max_restarts;
    request->seconds = cfg->seconds;
    request->backoff_min_ms = cfg->backoff_min_ms;
    request->backoff_max_ms = cfg->backoff_max_ms;
    request->children_len = cfg->children_len;
    request->body_len = body_len;
    for (size_t i = 0; i < cfg->children_len; i++) {
        spec_put((void *)(request->body + at), &cfg->children[i], is_simple);
        at += spec_size(&cfg->children[i], is_simple);
    }
    *out = request;
    return RUSM_OK;
}

static bool is_down(const rusm_msg *msg, void *arg)
{
    const rusm_ref *ref = arg;

    return rusm_msg_get_kind(msg) == RUSM_MSG_DOWN && rusm_ref_equal(rusm_msg_ref(msg), *ref);
}

static bool is_exit(const rusm_msg *msg, void *arg)
{
    const rusm_pid *pid = arg;

    return rusm_msg_get_kind(msg) == RUSM_MSG_EXIT && rusm_pid_equal(rusm_msg_sender(msg), *pid);
}

/* A supervisor did not start, and has ended or is about to: wait for that, and see to it that
 * nothing of it comes into the mailbox later. */
static void start_undo(rusm_pid pid, rusm_ref ref)
{
    rusm_msg *msg;

    if (rusm_receive_match(&msg, is_down, &ref, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_del(msg);
    }
    (void)!rusm_unlink(pid);
    while (rusm_receive_match(&msg, is_exit, &pid, 0) == RUSM_OK) {
        rusm_msg_del(msg);
    }
}

/* Tell a new supervisor what it is to be, and wait until it is. */
static rusm_err start_tell(rusm_pid pid, rusm_ref ref, const struct rusmi_sup_request *request)
{
    const struct rusmi_sup_answer *answer;
    char detail[RUSMI_SUP_DETAIL_MAX];
    rusm_msg *reply = NULL;
    rusm_err err = call(pid, request, RUSM_INFINITY, &reply, &answer);

    if (err == RUSM_EKILLED) {
        return err; /* an entered thread: the supervisor ends with it */
    }
    if (err == RUSM_OK) {
        err = answer_err(answer);
        rusm_msg_del(reply);
        if (err == RUSM_OK) {
            (void)rusm_demonitor(ref, true);
            return RUSM_OK;
        }
    } else if (err != RUSM_ENOPROC) {
        /* It was not told, and has no children. */
        (void)!rusm_unlink(pid);
        (void)!rusm_kill(pid);
    }
    (void)snprintf(detail, sizeof(detail), "%s", rusm_err_detail());
    start_undo(pid, ref);
    return rusm_set_err_detail(err, "%s", detail);
}

rusm_err rusm_supervisor_start(const rusm_supervisor_config *cfg, rusm_pid *out_pid)
{
    struct rusmi_sup_request *request = NULL;
    rusm_spawn_config spawn;
    rusm_ref ref;
    rusm_pid pid;
    rusm_err err = config_check(cfg);

    if (err == RUSM_OK && rusm_pid_is_none(rusm_self())) {
        err = rusm_set_err_detail(RUSM_ENOCONTEXT, "%s", rusm_err_text(RUSM_ENOCONTEXT));
    }
    if (err == RUSM_OK) {
        err = init_request(cfg, &request);
    }
    if (err != RUSM_OK) {
        return err;
    }
    rusm_spawn_config_init(&spawn);
    spawn.label = cfg->name == NULL ? "supervisor" : cfg->name;
    spawn.name = cfg->name;
    spawn.link = true;
    spawn.trap_exit = true;
    spawn.out_ref = &ref;
    err =
        rusm_spawn_with(NULL, rusmi_sup_main, (void *)(uintptr_t)rusm_self().serial, &spawn, &pid);
    if (err == RUSM_OK) {
        err = start_tell(pid, ref, request);
    }
    rusm_free(request);
    if (err == RUSM_OK && out_pid != NULL) {
        *out_pid = pid;
    }
    return err;
}

rusm_err rusm_supervisor_stop(rusm_pid supervisor, int64_t timeout_ms)
{
    struct rusmi_sup_request request = {.magic = RUSMI_SUP_MAGIC, .op = RUSMI_SUP_STOP};
    rusm_mark mark = rusm_mailbox_mark();
    rusm_msg *msg;
    rusm_ref ref;
    rusm_err err;

    if (rusm_pid_equal(supervisor, rusm_self())) {
        return rusm_set_err_detail(rusm_pid_is_none(supervisor) ? RUSM_ENOCONTEXT : RUSM_EINVAL,
                                   "a supervisor does not stop itself");
    }
    err = check_here(supervisor);
    if (err == RUSM_OK) {
        err = rusm_monitor(supervisor, &ref);
    }
    if (err != RUSM_OK) {
        return err;
    }
    err = rusm_cast(supervisor, &request, sizeof(request));
    if (err != RUSM_OK) {
        (void)rusm_demonitor(ref, true);
        return err;
    }
    (void)!rusm_unlink(supervisor);
    err = rusm_receive_since(mark, &msg, is_down, &ref, timeout_ms);
    if (err == RUSM_OK) {
        rusm_msg_del(msg);
    } else {
        (void)rusm_demonitor(ref, true);
    }
    return err;
}
