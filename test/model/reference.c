/* SPDX-License-Identifier: MIT */
#include "model/reference.h"

#include <assert.h>
#include <stdlib.h>

static void *need(void *memory)
{
    if (memory == NULL) {
        abort();
    }
    return memory;
}

void ref_init(struct ref_model *model)
{
    *model = (struct ref_model){0};
}

static void drop_all(struct ref_proc *proc)
{
    while (proc->first != NULL) {
        struct ref_msg *msg = proc->first;

        proc->first = msg->next;
        free(msg);
    }
}

void ref_fini(struct ref_model *model)
{
    for (size_t i = 0; i < model->procs_len; i++) {
        drop_all(&model->procs[i]);
    }
    free(model->procs);
    free(model->ties);
}

static struct ref_proc *at(const struct ref_model *model, int id)
{
    if (id < 0 || (size_t)id >= model->procs_len) {
        abort();
    }
    return &model->procs[id];
}

/* ---- mailboxes ------------------------------------------------------------------------------- */

static void push(struct ref_model *model, int to, struct ref_msg content)
{
    struct ref_proc *proc = at(model, to);
    struct ref_msg *msg = need(malloc(sizeof(*msg)));
    struct ref_msg **end = &proc->first;

    while (*end != NULL) {
        end = &(*end)->next;
    }
    *msg = content;
    msg->next = NULL;
    msg->number = ++model->messages;
    *end = msg;
    proc->len++;
    proc->data_len += content.kind == RUSM_MSG_DATA ? 1 : 0;
    model->downs += content.kind == RUSM_MSG_DOWN ? 1 : 0;
    model->exits += content.kind == RUSM_MSG_EXIT ? 1 : 0;
}

void ref_take(struct ref_model *model, int self, const struct ref_msg *wanted)
{
    struct ref_proc *proc = at(model, self);

    for (struct ref_msg **where = &proc->first; *where != NULL; where = &(*where)->next) {
        struct ref_msg *msg = *where;

        if (msg == wanted) {
            *where = msg->next;
            proc->len--;
            proc->data_len -= msg->kind == RUSM_MSG_DATA ? 1 : 0;
            free(msg);
            return;
        }
    }
    abort();
}

const struct ref_msg *ref_find(const struct ref_model *model, int self, uint64_t mark,
                               bool (*wants)(const struct ref_msg *msg, int wish), int wish)
{
    const struct ref_proc *proc = at(model, self);
    /* A mark that was replaced is the beginning of the mailbox. */
    uint64_t after = mark == proc->mark_number ? proc->mark : 0;

    for (const struct ref_msg *msg = proc->first; msg != NULL; msg = msg->next) {
        if (msg->number > after && wants(msg, wish)) {
            return msg;
        }
    }
    return NULL;
}

uint64_t ref_mark(struct ref_model *model, int self)
{
    struct ref_proc *proc = at(model, self);

    proc->mark = model->messages;
    return ++proc->mark_number;
}

static const struct ref_msg *oldest_data(const struct ref_proc *proc)
{
    const struct ref_msg *msg = proc->first;

    while (msg != NULL && msg->kind != RUSM_MSG_DATA) {
        msg = msg->next;
    }
    return msg;
}

rusm_err ref_send(struct ref_model *model, int self, int other, uint64_t value)
{
    struct ref_proc *proc = at(model, other);

    if (!proc->alive) {
        model->noproc++;
        return RUSM_ENOPROC;
    }
    if (proc->max != 0 && proc->data_len >= proc->max) {
        proc->dropped++;
        model->full++;
        if (proc->policy != RUSM_MAILBOX_DROP_OLDEST) {
            return proc->policy == RUSM_MAILBOX_REFUSE ? RUSM_EFULL : RUSM_OK;
        }
        ref_take(model, other, oldest_data(proc));
    }
    push(model, other, (struct ref_msg){.kind = RUSM_MSG_DATA, .sender = self, .value = value});
    return RUSM_OK;
}

/* ---- ties ------------------------------------------------------------------------------------ */

static struct ref_tie *find_link(struct ref_model *model, int one, int other)
{
    for (size_t i = 0; i < model->ties_len; i++) {
        struct ref_tie *tie = &model->ties[i];

        if (!tie->monitor &&
            ((tie->a == one && tie->b == other) || (tie->a == other && tie->b == one))) {
            return tie;
        }
    }
    return NULL;
}

static void remove_tie(struct ref_model *model, struct ref_tie *tie)
{
    model->ties_len--;
    for (; tie < model->ties + model->ties_len; tie++) {
        *tie = tie[1]; /* their order is kept */
    }
}

static void add_tie(struct ref_model *model, struct ref_tie tie)
{
    if (model->ties_len == model->ties_cap) {
        model->ties_cap = model->ties_cap == 0 ? 64 : model->ties_cap * 2;
        model->ties = need(realloc(model->ties, model->ties_cap * sizeof(struct ref_tie)));
    }
    model->ties[model->ties_len++] = tie;
}

/* An exit signal reaches a process that is alive. */
static void signal_exit(struct ref_model *model, int to, int from, struct ref_reason reason)
{
    struct ref_proc *proc = at(model, to);

    if (proc->trap) {
        push(model, to, (struct ref_msg){.kind = RUSM_MSG_EXIT, .sender = from, .reason = reason});
    } else if ((reason.kind != RUSM_REASON_NORMAL || to == from) && !proc->doomed) {
        proc->doomed = true;
        proc->doom = reason;
    }
}

static void push_down(struct ref_model *model, int to, int from, int monitor,
                      struct ref_reason reason)
{
    push(model, to,
         (struct ref_msg){
             .kind = RUSM_MSG_DOWN, .sender = from, .monitor = monitor, .reason = reason});
}

static const struct ref_reason noproc = {RUSM_REASON_NOPROC, 0};

void ref_link(struct ref_model *model, int self, int other)
{
    if (self == other || (at(model, other)->alive && find_link(model, self, other) != NULL)) {
        return;
    }
    if (!at(model, other)->alive) {
        signal_exit(model, self, other, noproc);
        return;
    }
    add_tie(model, (struct ref_tie){.late = at(model, other)->doomed, .a = self, .b = other});
}

void ref_unlink(struct ref_model *model, int self, int other)
{
    struct ref_tie *tie = find_link(model, self, other);

    if (tie != NULL) {
        remove_tie(model, tie);
    }
}

int ref_monitor(struct ref_model *model, int self, int other)
{
    int number = model->monitors++;

    if (at(model, other)->alive) {
        add_tie(model, (struct ref_tie){.monitor = true,
                                        .late = at(model, other)->doomed,
                                        .a = self,
                                        .b = other,
                                        .number = number});
    } else {
        push_down(model, self, other, number, noproc);
    }
    return number;
}

static bool is_down(const struct ref_msg *msg, int monitor)
{
    return msg->kind == RUSM_MSG_DOWN && msg->monitor == monitor;
}

bool ref_demonitor(struct ref_model *model, int self, int monitor, bool flush)
{
    for (size_t i = 0; i < model->ties_len; i++) {
        struct ref_tie *tie = &model->ties[i];

        if (tie->monitor && tie->number == monitor && tie->a == self) {
            remove_tie(model, tie);
            return true;
        }
    }
    if (flush) {
        const struct ref_msg *msg = ref_find(model, self, 0, is_down, monitor);

        if (msg != NULL) {
            ref_take(model, self, msg);
        }
    }
    return false;
}

bool ref_trap(struct ref_model *model, int self, bool trap)
{
    bool before = at(model, self)->trap;

    at(model, self)->trap = trap;
    return before;
}

rusm_err ref_kill(struct ref_model *model, int other)
{
    struct ref_proc *proc = at(model, other);

    if (!proc->alive) {
        return RUSM_ENOPROC;
    }
    if (!proc->doomed) {
        proc->doomed = true;
        proc->doom = (struct ref_reason){RUSM_REASON_KILLED, 0};
    }
    return RUSM_OK;
}

rusm_err ref_exit(struct ref_model *model, int self, int other, struct ref_reason reason)
{
    if (reason.kind == RUSM_REASON_KILLED) {
        return ref_kill(model, other);
    }
    if (!at(model, other)->alive) {
        return RUSM_ENOPROC;
    }
    signal_exit(model, other, self, reason);
    return RUSM_OK;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

int ref_spawn(struct ref_model *model, bool trap, size_t max, rusm_mailbox_policy policy)
{
    if (model->procs_len == model->procs_cap) {
        model->procs_cap = model->procs_cap == 0 ? 64 : model->procs_cap * 2;
        model->procs = need(realloc(model->procs, model->procs_cap * sizeof(struct ref_proc)));
    }
    model->procs[model->procs_len] =
        (struct ref_proc){.alive = true, .trap = trap, .max = max, .policy = policy};
    return (int)model->procs_len++;
}

/* Those it is linked to, then those who monitor it: who does both hears the exit first. */
void ref_end(struct ref_model *model, int id, struct ref_reason reason)
{
    struct ref_proc *proc = at(model, id);

    assert(proc->alive);
    proc->alive = false;
    proc->doomed = false;
    model->exited++;
    model->crashed += reason.kind >= RUSM_REASON_CRASHED ? 1 : 0;
    model->unread += proc->len;
    drop_all(proc);
    proc->len = proc->data_len = 0;
    for (int monitors = 0; monitors < 2; monitors++) {
        for (size_t i = 0; i < model->ties_len;) {
            struct ref_tie tie = model->ties[i];

            if (tie.monitor != (monitors != 0) || (tie.a != id && tie.b != id)) {
                i++;
                continue;
            }
            remove_tie(model, &model->ties[i]);
            if (!tie.monitor) {
                signal_exit(model, tie.a == id ? tie.b : tie.a, id, tie.late ? noproc : reason);
            } else if (tie.b == id && tie.a != id) {
                push_down(model, tie.a, id, tie.number, tie.late ? noproc : reason);
            }
        }
    }
}

/* ---- counts ---------------------------------------------------------------------------------- */

static size_t count(const struct ref_model *model, bool monitor, int a, int b)
{
    size_t found = 0;

    for (size_t i = 0; i < model->ties_len; i++) {
        const struct ref_tie *tie = &model->ties[i];

        found += tie->monitor == monitor && (tie->a == a || tie->b == b) ? 1 : 0;
    }
    return found;
}

size_t ref_links(const struct ref_model *model, int id)
{
    return count(model, false, id, id);
}

size_t ref_monitors(const struct ref_model *model, int id)
{
    return count(model, true, id, -2);
}

size_t ref_monitored_by(const struct ref_model *model, int id)
{
    return count(model, true, -2, id);
}
