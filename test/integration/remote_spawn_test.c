/* SPDX-License-Identifier: MIT */
/*
 * Spawning on another node, and, under its own name, on one's own: arguments, many askers, the ways
 * in which it fails, told apart, and what becomes of askers, factories, links and nodes that end
 * meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/procs.h"

#include <rusm/otp/driver.h>
#include <string.h>

#define ASKERS             64

#define EXPECT(want, call) expect((want), (call), #call, __LINE__)

static void expect(rusm_err want, rusm_err got, const char *call, int line)
{
    if (got != want) {
        fail_msg("line %d: %s: %s, not %s (%s)", line, call, rusm_err_name(got),
                 rusm_err_name(want), got == RUSM_OK ? "" : rusm_err_detail());
    }
}

static void expect_words(const char *text, const char *words)
{
    if (strstr(text, words) == NULL) {
        fail_msg("\"%s\" does not contain \"%s\"", text, words);
    }
}

/* ---- factories ------------------------------------------------------------------------------- */

/* The arguments of a spawn, for the process that it made. Static: a process that is killed frees
 * nothing. */
struct kept {
    size_t len;
    unsigned char bytes[RUSM_SPAWN_ARGS_MAX];
};

static struct kept kept_pool[ASKERS + 16];
static _Atomic size_t kept_len;

/* Answers one message with its own arguments. */
static void parrot(void *arg)
{
    struct kept *kept = arg;
    rusm_msg *msg;

    if (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_pid asker = rusm_msg_sender(msg);

        rusm_msg_del(msg);
        (void)!rusm_send(asker, kept->bytes, kept->len);
    }
}

static rusm_err make_parrot(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    size_t place = atomic_fetch_add(&kept_len, 1);
    struct kept *kept;

    (void)arg;
    if (place >= sizeof(kept_pool) / sizeof(kept_pool[0])) {
        return rusm_set_err_detail(RUSM_EFULL, "too many parrots");
    }
    kept = &kept_pool[place];
    kept->len = args_len;
    memcpy(kept->bytes, args, args_len);
    return rusm_spawn(NULL, parrot, kept, out_pid);
}

/* Asks node "c" for a parrot instead, and hands on what that says. */
static rusm_err make_elsewhere(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    (void)arg;
    return rusm_spawn_remote(NULL, "c", "parrot", args, args_len, SUPPORT_DEADLINE_MS, out_pid);
}

static rusm_err refuse(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    (void)arg;
    (void)args;
    (void)args_len;
    (void)out_pid;
    return rusm_set_err_detail(RUSM_EFULL, "all %d seats are taken", 7);
}

static rusm_err refuse_without_words(void *arg, const void *args, size_t args_len,
                                     rusm_pid *out_pid)
{
    (void)arg;
    (void)args;
    (void)args_len;
    (void)out_pid;
    return RUSM_EFULL;
}

static rusm_err crash(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    (void)arg;
    (void)args;
    (void)args_len;
    (void)out_pid;
    rusm_crash("the plan was wrong");
}

static rusm_err make_nobody(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    (void)arg;
    (void)args;
    (void)args_len;
    *out_pid = RUSM_PID_NONE;
    return RUSM_OK;
}

static rusm_err make_stranger(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    (void)arg;
    (void)args;
    (void)args_len;
    *out_pid = (rusm_pid){7, 7};
    return RUSM_OK;
}

static rusm_err make_nothing(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    (void)arg;
    (void)args;
    (void)args_len;
    (void)out_pid;
    return RUSM_OK;
}

static rusm_err quit(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    (void)arg;
    (void)args;
    (void)args_len;
    (void)out_pid;
    rusm_exit(RUSM_REASON_NORMAL);
}

/* The factory process that is held, so that the test can let it go on. */
struct gate {
    _Atomic uint64_t begun;
    _Atomic uint64_t incarnation, serial; /* of the last one; written before begun */
};

/* Returns a process once it was sent a message. */
static rusm_err wait_at_gate(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    struct gate *gate = arg;
    rusm_msg *msg;
    rusm_err err;

    (void)args;
    (void)args_len;
    atomic_store(&gate->incarnation, rusm_self().incarnation);
    atomic_store(&gate->serial, rusm_self().serial);
    atomic_fetch_add(&gate->begun, 1);
    err = rusm_receive(&msg, RUSM_INFINITY);
    if (err == RUSM_OK) {
        rusm_msg_del(msg);
        *out_pid = rusm_self();
    }
    return err;
}

static rusm_pid gate_pid(struct gate *gate)
{
    return (rusm_pid){atomic_load(&gate->incarnation), atomic_load(&gate->serial)};
}

static bool gate_has_begun(void *arg)
{
    return atomic_load(&((struct gate *)arg)->begun) > 0;
}

static void factories(struct support_node *node, struct gate *gate)
{
    EXPECT(RUSM_OK, rusm_factory_register(node->node, "parrot", make_parrot, NULL));
    EXPECT(RUSM_OK, rusm_factory_register(node->node, "elsewhere", make_elsewhere, NULL));
    EXPECT(RUSM_OK, rusm_factory_register(node->node, "refuse", refuse, NULL));
    EXPECT(RUSM_OK, rusm_factory_register(node->node, "silent", refuse_without_words, NULL));
    EXPECT(RUSM_OK, rusm_factory_register(node->node, "crash", crash, NULL));
    EXPECT(RUSM_OK, rusm_factory_register(node->node, "nobody", make_nobody, NULL));
    EXPECT(RUSM_OK, rusm_factory_register(node->node, "stranger", make_stranger, NULL));
    EXPECT(RUSM_OK, rusm_factory_register(node->node, "quit", quit, NULL));
    EXPECT(RUSM_OK, rusm_factory_register(node->node, "nothing", make_nothing, NULL));
    EXPECT(RUSM_OK, rusm_factory_register(node->node, "gate", wait_at_gate, gate));
    atomic_store(&gate->begun, 0);
}

/* Linked nodes "a" and "b"; b has the factories. The gate must outlive them: it is static. */
struct pair {
    struct support_node *a, *b;
    struct gate *gate;
};

static struct pair start_pair(void **state)
{
    static struct gate gate;
    struct pair pair = {
        .a = support_node_start(*state, "a"), .b = support_node_start(*state, "b"), .gate = &gate};

    support_connect(pair.a, pair.b);
    atomic_store(&kept_len, 0);
    factories(pair.b, &gate);
    return pair;
}

/* ---- a spawn made by a process --------------------------------------------------------------- */

/* Spawn a parrot with args and hear them from it. */
struct asking {
    const char *peer;
    const char *factory;
    const unsigned char *args;
    size_t args_len;
    int64_t timeout_ms;
    rusm_pid pid;
};

static rusm_err spawn(void *arg)
{
    struct asking *asking = arg;

    return rusm_spawn_remote(NULL, asking->peer, asking->factory, asking->args, asking->args_len,
                             asking->timeout_ms, &asking->pid);
}

static rusm_err spawn_and_hear(void *arg)
{
    struct asking *asking = arg;
    rusm_err err = spawn(arg);
    rusm_msg *msg;

    if (err == RUSM_OK) {
        err = rusm_send(asking->pid, "?", 1);
    }
    if (err == RUSM_OK) {
        err = rusm_receive(&msg, SUPPORT_DEADLINE_MS);
    }
    if (err != RUSM_OK) {
        return err;
    }
    if (!rusm_pid_equal(rusm_msg_sender(msg), asking->pid) ||
        rusm_msg_len(msg) != asking->args_len ||
        memcmp(rusm_msg_data(msg), asking->args, asking->args_len) != 0) {
        err = rusm_set_err_detail(RUSM_EPROTO, "another answer than the arguments");
    }
    rusm_msg_del(msg);
    return err;
}

static void expect_call(rusm_err want, struct support_call *call)
{
    support_call_wait(call);
    if (call->err != want) {
        fail_msg("%s (%s), not %s", rusm_err_name(call->err), call->detail, rusm_err_name(want));
    }
}

static rusm_err kill_it(void *arg)
{
    return rusm_kill(*(rusm_pid *)arg);
}

/* Make a call in a process of node and wait for what comes of it. */
static rusm_err in_process(struct support_node *node, rusm_err (*fn)(void *arg), void *arg)
{
    static struct support_call call;

    support_call_start(&call, node, fn, arg);
    support_call_wait(&call);
    support_wait_end(call.pid);
    return call.err;
}

static void spawned_process_is_usable_from_the_asker(void **state)
{
    struct pair n = start_pair(state);
    rusm_pid pid, on_b = support_idle_start(n.b, NULL);

    EXPECT(RUSM_OK, rusm_spawn_remote(n.a->node, "b", "parrot", "x", 1, SUPPORT_DEADLINE_MS, &pid));
    assert_true(pid.incarnation == rusm_runtime_incarnation(n.b->runtime));
    assert_true(rusm_is_alive(pid));
    EXPECT(RUSM_OK, in_process(n.a, kill_it, &pid));
    support_wait_end(pid);
    EXPECT(RUSM_ENOPROC, rusm_remote_kill(n.a->node, "b", pid, SUPPORT_DEADLINE_MS));
    assert_true(rusm_is_alive(on_b));
}

static void arguments_of_any_size_reach_the_process(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 1200, RUSM_SPAWN_ARGS_MAX - 1, RUSM_SPAWN_ARGS_MAX};
    static unsigned char args[RUSM_SPAWN_ARGS_MAX + 1];
    static struct support_call call;
    static struct asking asking;
    struct pair n = start_pair(state);

    for (size_t i = 0; i < sizeof(args); i++) {
        args[i] = (unsigned char)(i * 13 + (i >> 7));
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        asking = (struct asking){"b", "parrot", args, sizes[i], SUPPORT_DEADLINE_MS, {0, 0}};
        support_call_start(&call, n.a, spawn_and_hear, &asking);
        expect_call(RUSM_OK, &call);
        assert_true(asking.pid.incarnation == rusm_runtime_incarnation(n.b->runtime));
    }
    asking = (struct asking){"b", "parrot", args, sizeof(args), SUPPORT_DEADLINE_MS, {0, 0}};
    support_call_start(&call, n.a, spawn, &asking);
    expect_call(RUSM_EMSGSIZE, &call);
    expect_words(call.detail, "32769");
    assert_true(rusm_pid_is_none(asking.pid));
    asking = (struct asking){"b", "parrot", NULL, 1, SUPPORT_DEADLINE_MS, {0, 0}};
    support_call_start(&call, n.a, spawn, &asking);
    expect_call(RUSM_EINVAL, &call);
    asking = (struct asking){"b", "parrot", args, 2, SUPPORT_DEADLINE_MS, {0, 0}};
    support_call_start(&call, n.b, spawn_and_hear, &asking); /* on its own node */
    expect_call(RUSM_OK, &call);
}

/* Each asker gets the process that it asked for, not that of another. */
static void many_processes_may_ask_at_once(void **state)
{
    static struct support_call calls[ASKERS];
    static struct asking askings[ASKERS];
    static unsigned char args[ASKERS][2];
    struct pair n = start_pair(state);

    for (size_t i = 0; i < ASKERS; i++) {
        args[i][0] = args[i][1] = (unsigned char)i;
        askings[i] = (struct asking){"b", "parrot", args[i], 2, SUPPORT_DEADLINE_MS, {0, 0}};
        support_call_start(&calls[i], n.a, spawn_and_hear, &askings[i]);
    }
    for (size_t i = 0; i < ASKERS; i++) {
        expect_call(RUSM_OK, &calls[i]);
    }
}

/* A factory may itself ask, and its process then is of a third node, which is refused; what went
 * wrong there is told through both. */
static void factory_that_asks_a_third_node(void **state)
{
    static struct gate unused;
    struct pair n = start_pair(state);
    struct support_node *c = support_node_start(*state, "c");
    rusm_pid pid;

    EXPECT(RUSM_EFACTORY,
           rusm_spawn_remote(n.a->node, "b", "elsewhere", "x", 1, SUPPORT_DEADLINE_MS, &pid));
    expect_words(rusm_err_detail(), "node b has no link to node c");
    support_connect(n.b, c);
    EXPECT(RUSM_EFACTORY,
           rusm_spawn_remote(n.a->node, "b", "elsewhere", "x", 1, SUPPORT_DEADLINE_MS, &pid));
    expect_words(rusm_err_detail(), "node c has no factory parrot");
    factories(c, &unused);
    EXPECT(RUSM_EFACTORY,
           rusm_spawn_remote(n.a->node, "b", "elsewhere", "x", 1, SUPPORT_DEADLINE_MS, &pid));
    expect_words(rusm_err_detail(), "the factory returned no process of its node");
}

/* ---- failures -------------------------------------------------------------------------------- */

struct failure {
    const char *factory;
    int64_t timeout_ms;
    rusm_err err;
    const char *words;
};

static void expect_failures(struct support_node *from, const char *peer)
{
    static const struct failure failures[] = {
        {"none", SUPPORT_DEADLINE_MS, RUSM_ENOFACTORY, "has no factory none"},
        {"refuse", SUPPORT_DEADLINE_MS, RUSM_EFACTORY, "all 7 seats are taken"},
        {"silent", SUPPORT_DEADLINE_MS, RUSM_EFACTORY, "a configured limit is reached"},
        {"crash", SUPPORT_DEADLINE_MS, RUSM_EFACTORY, "the plan was wrong"},
        {"quit", SUPPORT_DEADLINE_MS, RUSM_EFACTORY, "ended before it returned"},
        {"nothing", SUPPORT_DEADLINE_MS, RUSM_EFACTORY, "returned no process of its node"},
        {"nobody", SUPPORT_DEADLINE_MS, RUSM_EFACTORY, "returned no process of its node"},
        {"stranger", SUPPORT_DEADLINE_MS, RUSM_EFACTORY, "returned no process of its node"},
        {"gate", 30, RUSM_ETIMEOUT, "did not answer in time"},
        {"gate", 0, RUSM_ETIMEOUT, "did not answer in time"},
    };

    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        rusm_pid pid = {7, 7};

        expect(failures[i].err,
               rusm_spawn_remote(from->node, peer, failures[i].factory, "x", 1,
                                 failures[i].timeout_ms, &pid),
               failures[i].factory, __LINE__);
        expect_words(rusm_err_detail(), failures[i].words);
        assert_true(rusm_pid_equal(pid, (rusm_pid){7, 7}));
    }
}

static void failures_are_told_apart_alike_on_a_peer_and_on_ones_own_node(void **state)
{
    struct pair n = start_pair(state);

    expect_failures(n.a, "b");
    expect_failures(n.b, "b");
    assert_int_equal(support_peers(n.a), 1); /* the link is none the worse */
}

static void what_is_not_there_is_named(void **state)
{
    struct pair n = start_pair(state);
    rusm_pid pid;

    EXPECT(RUSM_OK, rusm_factory_register(n.a->node, "forge", make_nothing, NULL));
    EXPECT(RUSM_ENOFACTORY, /* that is the wrong node's */
           rusm_spawn_remote(n.a->node, "b", "forge", NULL, 0, SUPPORT_DEADLINE_MS, &pid));
    expect_words(rusm_err_detail(), "forge");
    EXPECT(RUSM_OK, rusm_factory_unregister(n.b->node, "parrot"));
    EXPECT(RUSM_ENOFACTORY,
           rusm_spawn_remote(n.a->node, "b", "parrot", NULL, 0, SUPPORT_DEADLINE_MS, &pid));
    expect_words(rusm_err_detail(), "parrot");
    EXPECT(RUSM_ENONODE,
           rusm_spawn_remote(n.a->node, "nowhere", "x", NULL, 0, SUPPORT_DEADLINE_MS, &pid));
    expect_words(rusm_err_detail(), "nowhere");
    EXPECT(RUSM_EINVAL, rusm_spawn_remote(n.a->node, "b", "", NULL, 0, SUPPORT_DEADLINE_MS, &pid));
}

/* Whoever closes the link, a spawn under way ends with it; a list and a kill can not begin. */
static void lost_link_ends_a_spawn_under_way(void **state)
{
    static struct asking asking = {.peer = "b", .factory = "gate", .timeout_ms = RUSM_INFINITY};
    static struct support_call call;
    struct pair n = start_pair(state);
    rusm_process_info info;
    uint64_t cursor = 0;

    for (int side = 0; side < 2; side++) {
        rusm_pid pid;

        atomic_store(&n.gate->begun, 0);
        support_call_start(&call, n.a, spawn, &asking);
        assert_true(support_wait(gate_has_begun, n.gate));
        EXPECT(RUSM_OK,
               rusm_node_disconnect(side == 0 ? n.a->node : n.b->node, side == 0 ? "b" : "a"));
        expect_call(RUSM_ENOLINK, &call);
        support_wait_peers(n.a, 0);
        support_wait_peers(n.b, 0);
        pid = gate_pid(n.gate);
        assert_int_equal(
            rusm_remote_process_list(n.a->node, "b", &cursor, &info, 1, SUPPORT_DEADLINE_MS),
            RUSM_ENONODE);
        expect_words(rusm_err_detail(), "node b");
        EXPECT(RUSM_ENONODE, rusm_remote_kill(n.a->node, "b", pid, SUPPORT_DEADLINE_MS));
        expect_words(rusm_err_detail(), "node b");
        EXPECT(RUSM_OK, rusm_send(pid, "go", 2)); /* its answer has nowhere to go */
        support_wait_end(pid);
        support_connect(n.a, n.b);
    }
}

/* The answer to a spawn that timed out comes when nobody waits, and harms nobody. */
static void late_answer_is_dropped(void **state)
{
    struct pair n = start_pair(state);
    rusm_pid pid;

    for (int i = 0; i < 3; i++) {
        atomic_store(&n.gate->begun, 0);
        EXPECT(RUSM_ETIMEOUT, rusm_spawn_remote(n.a->node, "b", "gate", NULL, 0, 20, &pid));
        assert_true(support_wait(gate_has_begun, n.gate));
        EXPECT(RUSM_OK, rusm_send(gate_pid(n.gate), "go", 2));
        support_wait_end(gate_pid(n.gate));
        EXPECT(RUSM_OK,
               rusm_spawn_remote(n.a->node, "b", "parrot", "x", 1, SUPPORT_DEADLINE_MS, &pid));
        EXPECT(RUSM_OK, rusm_remote_kill(n.a->node, "b", pid, SUPPORT_DEADLINE_MS));
    }
    assert_int_equal(support_stats(n.a).protocol_errors, 0);
    assert_int_equal(support_peers(n.a), 1);
}

static void killed_caller_ends_while_its_factory_runs(void **state)
{
    static struct asking asking = {.factory = "gate", .timeout_ms = RUSM_INFINITY};
    static struct support_call call;
    struct pair n = start_pair(state);

    for (int own = 0; own < 2; own++) {
        atomic_store(&n.gate->begun, 0);
        asking.peer = "b";
        support_call_start(&call, own ? n.b : n.a, spawn, &asking);
        assert_true(support_wait(gate_has_begun, n.gate));
        support_call_wait_blocked(&call);
        support_kill(call.pid);
        assert_false(atomic_load(&call.done)); /* it ended inside the call */
        assert_true(rusm_is_alive(gate_pid(n.gate)));
        EXPECT(RUSM_OK, rusm_send(gate_pid(n.gate), "go", 2));
        support_wait_end(gate_pid(n.gate));
    }
}

/* The asker's node goes while it waits: its call is ended with it, and the peer stays well. */
static void node_of_the_asker_may_go(void **state)
{
    static struct asking asking = {.peer = "b", .factory = "gate", .timeout_ms = RUSM_INFINITY};
    static struct support_call call;
    struct pair n = start_pair(state);

    support_call_start(&call, n.a, spawn, &asking);
    assert_true(support_wait(gate_has_begun, n.gate));
    support_node_stop(n.a);
    support_wait_peers(n.b, 0);
    EXPECT(RUSM_OK, rusm_send(gate_pid(n.gate), "go", 2));
    support_wait_end(gate_pid(n.gate));
    assert_int_equal(support_stats(n.b).protocol_errors, 0);
}

static void node_of_the_factory_may_go(void **state)
{
    static struct asking asking = {.peer = "b", .factory = "gate", .timeout_ms = RUSM_INFINITY};
    static struct support_call call;
    struct pair n = start_pair(state);

    support_call_start(&call, n.a, spawn, &asking);
    assert_true(support_wait(gate_has_begun, n.gate));
    support_node_stop(n.b);
    support_call_wait(&call);
    /* The runtime ends the factory first, and its end may be answered before the link goes. */
    assert_true(call.err == RUSM_ENOLINK || call.err == RUSM_EFACTORY);
}

static void spawn_over_the_limit_of_requests_is_refused(void **state)
{
    static struct asking asking = {.peer = "b", .factory = "gate", .timeout_ms = RUSM_INFINITY};
    static struct support_call call;
    static struct gate gate;
    rusm_node_config cfg = support_node_config();
    struct support_node *a = support_node_start(*state, "a"), *b;
    rusm_pid pid;

    cfg.requests_max = 1;
    b = support_node_start_with(*state, "b", &cfg);
    support_connect(a, b);
    factories(b, &gate);
    support_call_start(&call, a, spawn, &asking);
    assert_true(support_wait(gate_has_begun, &gate));
    EXPECT(RUSM_EFULL,
           rusm_spawn_remote(a->node, "b", "parrot", NULL, 0, SUPPORT_DEADLINE_MS, &pid));
    expect_words(rusm_err_detail(), "too many requests");
    support_kill(call.pid);
}

static void factory_that_can_not_be_registered_is_refused(void **state)
{
    struct support_node *a = support_node_start(*state, "a");

    EXPECT(RUSM_OK, rusm_factory_register(a->node, "box", make_nothing, NULL));
    assert_int_equal(rusm_factory_register(a->node, "box", make_nothing, NULL), RUSM_EEXIST);
    assert_int_equal(rusm_factory_register(a->node, "", make_nothing, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_factory_register(a->node, NULL, make_nothing, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_factory_register(a->node, "other", NULL, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_factory_register(NULL, "other", make_nothing, NULL), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_factory_unregister(a->node, "other"), RUSM_ENONAME);
    assert_int_equal(rusm_factory_unregister(a->node, NULL), RUSM_ENONAME);
}

#define CASE(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, support_world_setup, support_world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(spawned_process_is_usable_from_the_asker),
        CASE(arguments_of_any_size_reach_the_process),
        CASE(many_processes_may_ask_at_once),
        CASE(factory_that_asks_a_third_node),
        CASE(failures_are_told_apart_alike_on_a_peer_and_on_ones_own_node),
        CASE(what_is_not_there_is_named),
        CASE(lost_link_ends_a_spawn_under_way),
        CASE(late_answer_is_dropped),
        CASE(killed_caller_ends_while_its_factory_runs),
        CASE(node_of_the_asker_may_go),
        CASE(node_of_the_factory_may_go),
        CASE(spawn_over_the_limit_of_requests_is_refused),
        CASE(factory_that_can_not_be_registered_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
