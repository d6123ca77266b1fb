/* SPDX-License-Identifier: MIT */
/*
 * The inside of a supervisor (docs/design/supervisors.md): its state, its children, and the record
 * in which requests come. supervisor.c has the loop and the strategies, supervisor_child.c the
 * children, supervisor_call.c the public calls, which run in other processes.
 *
 * A child moves between these states; only the functions of supervisor_child.c move it:
 *
 *     STOPPED -> RUNNING                 started
 *     RUNNING -> ENDED                   its down was taken; in sup->ended until it is handled
 *     ENDED   -> STOPPED, WAITING, HELD, or forgotten
 *     WAITING -> RUNNING, STOPPED, HELD  it waits for its back-off, or to be tried again
 *     HELD    -> RUNNING, STOPPED        it waits for the restart of another: one_for_all,
 *                                        rest_for_one
 *
 * A down says that a child has ended, exactly once, whatever the child does; the link is there so
 * that a killed supervisor takes its children with it. For a child that the supervisor spawns both
 * are one tie (otp/tie.h). One of a start function is linked and monitored; its exit comes before
 * its down, so that it is never met without the child that it belongs to.
 *
 * Everything is memory of the supervisor's process: nothing needs to be freed when it is killed.
 */
#ifndef RUSMI_GEN_SUPERVISOR_H
#define RUSMI_GEN_SUPERVISOR_H

#include "base/list.h"

#include <rusm/otp/call.h>
#include <rusm/otp/supervisor.h>

/* Children that one answer to a list holds at most. */
#define RUSMI_SUP_PAGE 64
/* max_restarts that stands for no limit: then nothing is counted in time. */
#define RUSMI_SUP_UNLIMITED UINT32_MAX
/* Says that a message is a request, or an answer, of ours; anybody may send a supervisor bytes. */
#define RUSMI_SUP_MAGIC UINT64_C(0x7275736d2d737570)
/* Bytes of the detail of an error that an answer carries. */
#define RUSMI_SUP_DETAIL_MAX 256

/* ---- what travels ---------------------------------------------------------------------------- */

enum rusmi_sup_op {
    RUSMI_SUP_INIT,
    RUSMI_SUP_STOP,
    RUSMI_SUP_START_CHILD,
    RUSMI_SUP_TERMINATE_CHILD,
    RUSMI_SUP_TERMINATE_PID,
    RUSMI_SUP_RESTART_CHILD,
    RUSMI_SUP_DELETE_CHILD,
    RUSMI_SUP_COUNT,
    RUSMI_SUP_LIST,
};

/* A spec with its strings, in one piece; the pointers in it are set by rusmi_sup_spec_settle(). */
struct rusmi_sup_spec {
    size_t size; /* of all, a multiple of 16 */
    rusm_process_fn fn;
    rusm_err (*start)(void *arg, rusm_pid *out_pid);
    void *arg;
    int64_t shutdown_ms;
    rusm_restart restart;
    bool is_supervisor;
    rusm_spawn_config spawn;
    const char *id;
    size_t id_size, label_size, name_size; /* with NUL; 0: none */
    _Alignas(16) char text[];
};

struct rusmi_sup_request {
    uint64_t magic;
    enum rusmi_sup_op op;
    uint32_t infos_max; /* LIST */
    uint64_t cursor;    /* LIST */
    void *arg;          /* START_CHILD under simple_one_for_one */
    rusm_pid pid;       /* TERMINATE_PID */

    /* INIT */
    rusm_strategy strategy;
    uint32_t max_restarts, seconds, backoff_min_ms, backoff_max_ms;
    size_t children_len;

    size_t body_len;
    _Alignas(16) unsigned char body[]; /* an id with its NUL, or specs one after another */
};

struct rusmi_sup_answer {
    uint64_t magic;
    rusm_err err;
    rusm_pid pid;
    rusm_child_count count;
    uint64_t cursor;
    size_t infos_len;
    char detail[RUSMI_SUP_DETAIL_MAX];
    rusm_child_info infos[];
};

/* ---- children -------------------------------------------------------------------------------- */

enum rusmi_sup_state {
    CHILD_STOPPED,
    CHILD_RUNNING,
    CHILD_ENDED,
    CHILD_WAITING,
    CHILD_HELD
};

/* A hash table of nodes in children; doubled when full. A table that can not grow gets slower. */
struct rusmi_sup_node {
    struct rusmi_sup_node *next;
    uint64_t hash;
};

struct rusmi_sup_table {
    struct rusmi_sup_node **buckets;
    unsigned bits; /* 1 << bits buckets, if there are any */
    size_t len;
};

struct rusmi_sup_child {
    struct rusmi_list node;  /* in sup->children, in the order of starts */
    struct rusmi_list ended; /* in sup->ended while ENDED */
    struct rusmi_sup_node by_pid, by_id;
    struct rusmi_sup_spec *spec; /* its own; under simple_one_for_one the template */
    void *arg;
    enum rusmi_sup_state state;
    rusm_pid pid; /* while RUNNING */
    rusm_ref ref;
    bool orderly;      /* ENDED: how */
    bool exit_seen;    /* an exit came from it; not one that says noproc */
    bool exit_orderly; /* how */
    uint32_t row;      /* restarts in a row, for the back-off */
    rusm_time started_ns;
    rusm_time due_ns; /* WAITING: when it is restarted; 0: as soon as other messages allow */
    size_t wait_index;
    uint64_t number; /* never used again; grows along sup->children */
    uint64_t restarts;
};

struct rusmi_sup {
    rusm_strategy strategy;
    uint32_t max_restarts, seconds, backoff_min_ms, backoff_max_ms;
    rusm_pid self, parent;

    /* children */
    struct rusmi_list children;
    struct rusmi_list ended;        /* in the order of their downs */
    struct rusmi_sup_child **waits; /* a heap by due_ns; there is room for every child */
    size_t waits_len, waits_cap;
    struct rusmi_sup_table by_pid, by_id;
    struct rusmi_sup_spec *pattern; /* simple_one_for_one: of all children */
    struct rusmi_sup_child *page;   /* the next child of the last list: a hint */
    uint64_t number;                /* of the last child */
    uint64_t specs, running, supervisors, restarts;

    /* times of the last max_restarts restarts, a ring */
    rusm_time *stamps;
    uint32_t stamps_len, stamps_next;

    /* requests that came while it was at something else: a ring, its length a power of two */
    rusm_msg **calls;
    size_t calls_first, calls_len, calls_cap;

    bool ending; /* its parent has ended, it was told to stop, or it gives up */
    rusm_reason reason;
};

/* ---- supervisor_child.c ---------------------------------------------------------------------- */

/* Set the pointers of a spec to its own text. */
void rusmi_sup_spec_settle(struct rusmi_sup_spec *spec);
/* A copy of a spec; NULL without memory. */
struct rusmi_sup_spec *rusmi_sup_spec_copy(const struct rusmi_sup_spec *spec);
/* A child at the end of the list, not started; takes spec unless it is the template. NULL without
 * memory; nothing changed. */
struct rusmi_sup_child *rusmi_sup_child_new(struct rusmi_sup *sup, struct rusmi_sup_spec *spec,
                                            void *arg);
/* Forget a child that does not run. */
void rusmi_sup_child_del(struct rusmi_sup *sup, struct rusmi_sup_child *child);
struct rusmi_sup_child *rusmi_sup_child_by_pid(const struct rusmi_sup *sup, rusm_pid pid);
struct rusmi_sup_child *rusmi_sup_child_by_id(const struct rusmi_sup *sup, const char *id);
/* The next child in start order, NULL after the last; with NULL the first. */
struct rusmi_sup_child *rusmi_sup_child_next(const struct rusmi_sup *sup,
                                             const struct rusmi_sup_child *child);
struct rusmi_sup_child *rusmi_sup_child_prev(const struct rusmi_sup *sup,
                                             const struct rusmi_sup_child *child);
/* Start one that does not run. On an error it stays as it was. */
rusm_err rusmi_sup_child_start(struct rusmi_sup *sup, struct rusmi_sup_child *child);
/* Its down came: ENDED. */
void rusmi_sup_child_ended(struct rusmi_sup *sup, struct rusmi_sup_child *child,
                           const rusm_reason *reason);
/* One that does not run: STOPPED or HELD; it is in no queue afterwards. */
void rusmi_sup_child_rest(struct rusmi_sup *sup, struct rusmi_sup_child *child,
                          enum rusmi_sup_state state);
/* One that does not run: WAITING. */
void rusmi_sup_child_wait(struct rusmi_sup *sup, struct rusmi_sup_child *child, rusm_time due_ns);
/* Stop a child if it runs, and wait for that; then it is in that state. */
void rusmi_sup_child_stop(struct rusmi_sup *sup, struct rusmi_sup_child *child,
                          enum rusmi_sup_state state);
/* Stop all children: in reverse order, or under simple_one_for_one together. */
void rusmi_sup_children_stop(struct rusmi_sup *sup);

/* ---- supervisor.c ---------------------------------------------------------------------------- */

/*
 * Take one message, waiting for at most timeout_ms, and note what it says: nothing is acted upon
 * here, so that it can be called in the middle of anything. False: none came.
 */
bool rusmi_sup_take(struct rusmi_sup *sup, int64_t timeout_ms);
/* Restart a child that does not run now, with those that the strategy wants; not counted. On an
 * error it waits to be tried again. */
rusm_err rusmi_sup_restart(struct rusmi_sup *sup, struct rusmi_sup_child *child);
/* A child that may be waiting shall not be restarted: let one that is held for it wait instead. */
void rusmi_sup_wait_pass_on(struct rusmi_sup *sup, struct rusmi_sup_child *child);
/* The body of a supervisor; arg is the serial of its parent. */
void rusmi_sup_main(void *arg);

/* ---- supervisor_answer.c --------------------------------------------------------------------- */

/* The request in a message; NULL if it is none. */
const struct rusmi_sup_request *rusmi_sup_request_of(const rusm_msg *msg);
/* Its spec, NULL if it has none. */
const struct rusmi_sup_spec *rusmi_sup_request_spec(const struct rusmi_sup_request *request);
/* Do what a request asks for, and answer it. */
void rusmi_sup_serve(struct rusmi_sup *sup, const rusm_msg *msg);
/* Answer with an error and its detail, or with RUSM_OK. */
void rusmi_sup_answer(const rusm_msg *msg, rusm_err err, const char *detail);

#endif
