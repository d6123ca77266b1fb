/* SPDX-License-Identifier: MIT */
#include "support/procs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- bodies ---------------------------------------------------------------------------------- */

static void run_idle(void *arg)
{
    bool ended = false;
    rusm_msg *msg;

    (void)arg;
    while (!ended && rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        ended = rusm_msg_len(msg) == 3 && memcmp(rusm_msg_data(msg), "end", 3) == 0;
        rusm_msg_del(msg);
    }
}

static void run_box(void *arg)
{
    struct support_box *box = arg;
    rusm_msg *msg;

    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        size_t len = rusm_msg_len(msg);

        box->kind = rusm_msg_get_kind(msg);
        box->sender = rusm_msg_sender(msg);
        box->len = len;
        memcpy(box->data, rusm_msg_data(msg), len < sizeof(box->data) ? len : sizeof(box->data));
        rusm_msg_del(msg);
        atomic_fetch_add(&box->count, 1);
    }
}

static void run_call(void *arg)
{
    struct support_call *call = arg;

    call->err = call->fn(call->arg);
    (void)snprintf(call->detail, sizeof(call->detail), "%s", rusm_err_detail());
    atomic_store(&call->done, true);
}

static rusm_pid start(struct support_node *node, rusm_process_fn fn, void *arg, const char *name)
{
    rusm_spawn_config cfg;
    rusm_pid pid;

    rusm_spawn_config_init(&cfg);
    cfg.name = cfg.label = name;
    assert_int_equal(rusm_spawn_with(node->runtime, fn, arg, &cfg, &pid), RUSM_OK);
    return pid;
}

/* ---- starting and waiting -------------------------------------------------------------------- */

rusm_pid support_idle_start(struct support_node *node, const char *name)
{
    return start(node, run_idle, NULL, name);
}

rusm_pid support_box_start(struct support_box *box, struct support_node *node, const char *name)
{
    memset(box, 0, sizeof(*box));
    box->pid = start(node, run_box, box, name);
    return box->pid;
}

struct box_wish {
    struct support_box *box;
    uint64_t count;
};

static bool box_has(void *arg)
{
    const struct box_wish *wish = arg;

    return atomic_load(&wish->box->count) >= wish->count;
}

void support_box_wait(struct support_box *box, uint64_t count)
{
    struct box_wish wish = {.box = box, .count = count};

    (void)support_wait(box_has, &wish);
    assert_int_equal(atomic_load(&box->count), count);
}

void support_call_start(struct support_call *call, struct support_node *node,
                        rusm_err (*fn)(void *arg), void *arg)
{
    memset(call, 0, sizeof(*call));
    call->fn = fn;
    call->arg = arg;
    call->pid = start(node, run_call, call, NULL);
}

static bool call_is_blocked(void *arg)
{
    const struct support_call *call = arg;
    rusm_process_info info;

    return rusm_process_get_info(call->pid, &info) == RUSM_OK && info.state == RUSM_PROCESS_WAITING;
}

void support_call_wait_blocked(struct support_call *call)
{
    if (!support_wait(call_is_blocked, call)) {
        fail_msg("the call did not block: %s (%s)", rusm_err_name(call->err), call->detail);
    }
}

static bool call_is_done(void *arg)
{
    return atomic_load(&((struct support_call *)arg)->done);
}

void support_call_wait(struct support_call *call)
{
    assert_true(support_wait(call_is_done, call));
}

static bool has_ended(void *arg)
{
    return !rusm_is_alive(*(rusm_pid *)arg);
}

void support_wait_end(rusm_pid pid)
{
    assert_true(support_wait(has_ended, &pid));
}

void support_end(rusm_pid pid)
{
    assert_int_equal(rusm_send(pid, "end", 3), RUSM_OK);
    support_wait_end(pid);
}

void support_kill(rusm_pid pid)
{
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    support_wait_end(pid);
}

/* ---- roles ----------------------------------------------------------------------------------- */

rusm_identity *support_identity_role(struct support_world *world, const char *name, rusm_role role)
{
    rusm_issue_config cfg;
    rusm_identity *identity;

    rusm_issue_config_init(&cfg);
    cfg.role = role;
    assert_int_equal(rusm_ca_issue(world->ca, name, &cfg, &identity), RUSM_OK);
    return identity;
}

struct support_node *support_node_start_role(struct support_world *world, const char *name,
                                             rusm_role role)
{
    rusm_node_config cfg = support_node_config();
    struct support_node *node;

    cfg.identity = support_identity_role(world, name, role);
    node = support_node_start_with(world, name, &cfg);
    rusm_identity_del(cfg.identity);
    return node;
}
