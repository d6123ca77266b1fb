/* SPDX-License-Identifier: MIT */
/*
 * What include/rusm/otp/link.h and process.h promise, as a simple single-threaded model: processes
 * are numbers, ties are lines of a list that is searched from end to end, and every call has its
 * whole effect at once. It shares no code with the library and knows none of its structures.
 *
 * Who uses it calls a function of the model just before the same call of the library, and compares
 * what comes out of both (test/model/signals_test.c). A mistake of the caller aborts.
 */
#ifndef TEST_MODEL_REFERENCE_H
#define TEST_MODEL_REFERENCE_H

#include <rusm/otp/message.h>
#include <rusm/otp/process.h>
#include <stdbool.h>
#include <stdint.h>

/* An exit reason: its kind, and a number that stands for its text; 0: no text. */
struct ref_reason {
    rusm_reason_kind kind;
    uint32_t text;
};

struct ref_msg {
    struct ref_msg *next;
    rusm_msg_kind kind;
    int sender;               /* a process; -1: none */
    uint64_t value;           /* RUSM_MSG_DATA: what it carries */
    int monitor;              /* RUSM_MSG_DOWN */
    struct ref_reason reason; /* RUSM_MSG_EXIT, RUSM_MSG_DOWN */
    uint64_t number;          /* messages are numbered as they come */
};

struct ref_proc {
    bool alive;
    bool doomed; /* it has to end, but has not yet had its turn to do so */
    bool trap;
    struct ref_reason doom;
    struct ref_msg *first;
    size_t len, data_len;
    size_t max; /* messages that are no signals; 0: no limit */
    rusm_mailbox_policy policy;
    uint64_t dropped;
    uint64_t mark, mark_number;
};

/* A link (a is no more special than b) or a monitor (a monitors b). */
struct ref_tie {
    bool monitor;
    bool late; /* b was doomed when it was made */
    int a, b, number;
};

struct ref_model {
    struct ref_proc *procs;
    size_t procs_len, procs_cap;
    struct ref_tie *ties;
    size_t ties_len, ties_cap;
    int monitors; /* ever made */
    uint64_t messages;
    uint64_t unread, noproc, full, crashed, exited, downs, exits;
};

void ref_init(struct ref_model *model);
void ref_fini(struct ref_model *model);

/* A new process. max, policy: of its mailbox. Returns its number: 0, 1, 2, ... */
int ref_spawn(struct ref_model *model, bool trap, size_t max, rusm_mailbox_policy policy);
/* It has ended, for that reason. */
void ref_end(struct ref_model *model, int id, struct ref_reason reason);

/* ref_link() and ref_monitor() are also what rusm_spawn_link() and rusm_spawn_monitor() add. */
void ref_link(struct ref_model *model, int self, int other);
void ref_unlink(struct ref_model *model, int self, int other);
/* Returns the number of the monitor. */
int ref_monitor(struct ref_model *model, int self, int other);
bool ref_demonitor(struct ref_model *model, int self, int monitor, bool flush);
bool ref_trap(struct ref_model *model, int self, bool trap);
/* self -1: a thread that is no process. */
rusm_err ref_exit(struct ref_model *model, int self, int other, struct ref_reason reason);
rusm_err ref_kill(struct ref_model *model, int other);
rusm_err ref_send(struct ref_model *model, int self, int other, uint64_t value);

uint64_t ref_mark(struct ref_model *model, int self);
/* The oldest message since that mark (0: of all) that `wants` accepts; NULL: none. It stays. */
const struct ref_msg *ref_find(const struct ref_model *model, int self, uint64_t mark,
                               bool (*wants)(const struct ref_msg *msg, int wish), int wish);
/* Take that one out. */
void ref_take(struct ref_model *model, int self, const struct ref_msg *wanted);

size_t ref_links(const struct ref_model *model, int id);
size_t ref_monitors(const struct ref_model *model, int id);
size_t ref_monitored_by(const struct ref_model *model, int id);

#endif
