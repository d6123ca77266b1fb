/* SPDX-License-Identifier: MIT */
/*
 * Asking another node where it gets hard: factories that really spawn, at many at once and through
 * a third node; callers that are killed and answers that come too late; the four ways in which a
 * spawn fails, told apart on another node and on one's own; a crowd of processes, listed.
 *
 * The plain uses of each call are in remote_test.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "platform/tools.h"
#include "support/procs.h"
#include "support/raw_peer.h"

#include <rusm/otp/driver.h>

#include <stdlib.h>
#include <string.h>

#if RUSMI_TSAN
#define CROWD 3000 /* the thread sanitizer can follow some 8,000 threads and fibers, not more */
#else
#define CROWD 100000
#endif

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
    assert_true(rusm_pid_is_none(asking.pid));
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

/* ---- lists ----------------------------------------------------------------------------------- */

static int by_serial(const void *left, const void *right)
{
    const rusm_pid *a = left, *b = right;

    return a->serial < b->serial ? -1 : a->serial > b->serial;
}

static void sit(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_del(msg);
    }
}

/* Processes that come and go meanwhile may appear or not; those that stay appear once. */
static void crowd_is_listed_in_pages_each_once(void **state)
{
    static rusm_process_info infos[1000];
    static bool seen[CROWD];
    static rusm_pid crowd[CROWD];
    struct pair n = start_pair(state);
    rusm_spawn_config cfg;
    uint64_t cursor = 0;
    size_t found_len = 0;

    rusm_spawn_config_init(&cfg);
    cfg.stack_size = 16384;
    cfg.label = "crowd";
    for (size_t i = 0; i < CROWD; i++) {
        EXPECT(RUSM_OK, rusm_spawn_with(n.b->runtime, sit, NULL, &cfg, &crowd[i]));
    }
    qsort(crowd, CROWD, sizeof(crowd[0]), by_serial);
    memset(seen, 0, sizeof(seen));
    do {
        ptrdiff_t got =
            rusm_remote_process_list(n.a->node, "b", &cursor, infos, 1000, SUPPORT_DEADLINE_MS);
        rusm_pid pid = support_idle_start(n.b, NULL);

        assert_true(got >= 0); /* none: those that were left have ended */
        for (ptrdiff_t i = 0; i < got; i++) {
            const rusm_pid *at = bsearch(&infos[i].pid, crowd, CROWD, sizeof(crowd[0]), by_serial);

            if (at != NULL) {
                assert_string_equal(infos[i].label, "crowd");
                assert_false(seen[at - crowd]);
                seen[at - crowd] = true;
                found_len++;
            }
        }
        EXPECT(RUSM_OK, rusm_kill(pid));
    } while (cursor != 0);
    assert_int_equal(found_len, CROWD);
}

static bool is_receiving_again(void *arg)
{
    rusm_process_info info;

    return rusm_process_get_info(*(rusm_pid *)arg, &info) == RUSM_OK && info.mailbox_len == 0 &&
           info.state == RUSM_PROCESS_RECEIVING;
}

static void info_is_that_of_the_node_itself(void **state)
{
    struct pair n = start_pair(state);
    rusm_process_info there, here;
    rusm_peer_info peer, own;
    uint64_t cursor = 0, own_cursor = 0;
    rusm_pid pid = support_idle_start(n.b, "clerk");

    EXPECT(RUSM_OK, rusm_send(pid, "x", 1));
    assert_true(support_wait(is_receiving_again, &pid));
    assert_int_equal(
        rusm_remote_process_list(n.a->node, "b", &cursor, &there, 1, SUPPORT_DEADLINE_MS), 1);
    EXPECT(RUSM_OK, rusm_process_get_info(pid, &here));
    assert_true(rusm_pid_equal(there.pid, pid));
    assert_int_equal(there.state, here.state);
    assert_int_equal(there.mailbox_len, here.mailbox_len);
    assert_true(there.reductions == here.reductions && there.reductions > 0);
    assert_true(there.memory_bytes == here.memory_bytes && there.memory_bytes > 0);
    assert_string_equal(there.label, "clerk");
    assert_string_equal(there.name, "clerk");

    cursor = 0;
    assert_int_equal(rusm_remote_peer_list(n.a->node, "b", &cursor, &peer, 1, SUPPORT_DEADLINE_MS),
                     1);
    assert_int_equal(rusm_peer_list(n.b->node, &own_cursor, &own, 1), 1);
    assert_string_equal(peer.name, own.name);
    assert_string_equal(peer.address, own.address);
    assert_true(peer.incarnation == own.incarnation);
    assert_int_equal(peer.role, own.role);
    assert_int_equal(peer.dialed, own.dialed);
    assert_true(peer.cert_not_after == own.cert_not_after);
    assert_true(peer.up_ms <= own.up_ms);
}

/* ---- roles ----------------------------------------------------------------------------------- */

static rusm_err kill_it(void *arg)
{
    return rusm_kill(*(rusm_pid *)arg);
}

/* Nobody waits for the answer to rusm_kill(), so the refusal is said at once. */
static void observer_hears_that_it_may_not_kill(void **state)
{
    static struct support_call call;
    static rusm_pid pid;
    struct pair n = start_pair(state);
    struct support_node *watch = support_node_start_role(*state, "watch", RUSM_ROLE_OBSERVER);

    pid = support_idle_start(n.b, NULL);
    EXPECT(RUSM_OK,
           rusm_node_connect(watch->node, rusm_node_address(n.b->node), SUPPORT_DEADLINE_MS, NULL));
    support_call_start(&call, watch, kill_it, &pid);
    expect_call(RUSM_EPERM, &call);
    expect_words(call.detail, "watch is an observer");
    assert_true(rusm_is_alive(pid));
}

/* An observer that sends all the same, as ours would not. */
static void message_of_an_observer_is_dropped_and_counted(void **state)
{
    static struct support_box box;
    struct pair n = start_pair(state);
    rusm_identity *identity = support_identity_role(*state, "rude", RUSM_ROLE_OBSERVER);
    struct support_raw *raw = support_raw_dial(identity, rusm_node_address(n.b->node));
    uint8_t data[64];
    size_t len;

    rusm_identity_del(identity);
    (void)support_box_start(&box, n.b, "box");
    support_raw_join(raw, "rude");
    len = support_raw_message(data, sizeof(data), "box", "psst", 4);
    support_raw_stream(raw, data, len);
    assert_true(support_raw_run(raw, support_raw_is_quiet, raw));
    support_wait_stat(n.b, offsetof(rusm_node_stats, dropped_role), 1);
    assert_int_equal(support_stats(n.b).dropped_role, 1);
    assert_int_equal(support_stats(n.b).protocol_errors, 0);
    assert_int_equal(atomic_load(&box.count), 0);
    assert_int_equal(support_peers(n.b), 1); /* hidden, and still there */
    support_raw_del(raw);
}

#define CASE(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, support_world_setup, support_world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(arguments_of_any_size_reach_the_process),
        CASE(many_processes_may_ask_at_once),
        CASE(factory_that_asks_a_third_node),
        CASE(failures_are_told_apart_alike_on_a_peer_and_on_ones_own_node),
        CASE(lost_link_ends_a_spawn_under_way),
        CASE(late_answer_is_dropped),
        CASE(killed_caller_ends_while_its_factory_runs),
        CASE(node_of_the_asker_may_go),
        CASE(crowd_is_listed_in_pages_each_once),
        CASE(info_is_that_of_the_node_itself),
        CASE(observer_hears_that_it_may_not_kill),
        CASE(message_of_an_observer_is_dropped_and_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
