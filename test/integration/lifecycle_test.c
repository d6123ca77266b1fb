/* SPDX-License-Identifier: MIT */
/*
 * How links and nodes last and end: idle links, silent peers, processes that are killed inside a
 * call on their node, nodes with many processes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/nodes.h"
#include "support/raw_peer.h"

#include <stdlib.h>
#include <string.h>

#define TICK_MS 200

static rusm_node_config short_tick(void)
{
    rusm_node_config cfg = support_node_config();

    cfg.tick_ms = TICK_MS;
    return cfg;
}

struct age {
    struct support_node *node;
    int64_t least_ms;
};

static bool link_is_that_old(void *arg)
{
    struct age *age = arg;
    rusm_peer_info info;

    assert_true(support_peer_find(age->node, "b", &info)); /* it never goes meanwhile */
    return info.up_ms >= age->least_ms;
}

static void test_idle_link_stays_up_for_many_ticks(void **state)
{
    rusm_node_config cfg = short_tick();
    struct age age = {.least_ms = 10 * TICK_MS};
    struct support_node *b;

    age.node = support_node_start_with(*state, "a", &cfg);
    b = support_node_start_with(*state, "b", &cfg);
    support_connect(age.node, b);
    assert_true(support_wait(link_is_that_old, &age));
    assert_int_equal(support_stats(age.node).handshakes, 1);
    assert_int_equal(support_stats(age.node).timeouts, 0);
    support_echo_start(b);
    support_exchange(age.node, b, 10, 64);
}

/* A peer that is there, holds a good certificate, and says nothing any more. */
static void test_silent_peer_is_down_and_its_names_are_gone(void **state)
{
    rusm_node_config cfg = short_tick();
    struct support_node *a = support_node_start_with(*state, "a", &cfg);
    rusm_identity *identity = support_identity(*state, "quiet");
    struct support_raw *raw = support_raw_dial(identity, rusm_node_address(a->node));
    struct rusmi_name_entry entry = {.name = "theirs", .name_len = 6, .serial = 1, .time = 1};
    struct rusmi_frame frame = {.type = RUSMI_FRAME_NAMES_ADD};
    rusm_pid pid;

    frame.u.names.entries = &entry;
    frame.u.names.len = 1;
    support_raw_join(raw, "quiet");
    support_raw_frame(raw, &frame);
    assert_true(support_raw_run(raw, support_raw_is_quiet, raw));
    support_wait_peer(a, "quiet", true);
    /* From here on the raw peer is not stepped: its socket is open and nobody answers. */
    support_wait_peer(a, "quiet", false);
    assert_int_equal(support_stats(a).timeouts, 1);
    assert_int_equal(rusm_whereis_global(a->node, "theirs", &pid), RUSM_ENONAME);
    support_raw_del(raw);
    rusm_identity_del(identity);
}

static bool has_ended(void *arg)
{
    return !rusm_is_alive(*(rusm_pid *)arg);
}

struct state_of {
    rusm_pid pid;
    rusm_process_state wanted;
};

static bool is_in_state(void *arg)
{
    struct state_of *of = arg;
    rusm_process_info info;

    return rusm_process_get_info(of->pid, &info) == RUSM_OK && info.state == of->wanted;
}

/* Kill a process once it is suspended in a call, and wait until it has ended. */
static void kill_suspended(rusm_pid pid)
{
    struct state_of of = {pid, RUSM_PROCESS_WAITING};

    assert_true(support_wait(is_in_state, &of));
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    assert_true(support_wait(has_ended, &pid));
}

static atomic_bool came_back;

static void connect_to_nobody(void *arg)
{
    int err = rusm_node_connect(NULL, arg, RUSM_INFINITY, NULL);

    (void)err;
    atomic_store(&came_back, true);
}

static void test_process_killed_inside_connect(void **state)
{
    struct support_node *a = support_node_start(*state, "a");
    rusm_identity *identity = support_identity(*state, "deaf");
    struct support_raw *deaf = support_raw_listen(identity); /* never stepped: it answers nothing */
    rusm_pid pid;

    atomic_store(&came_back, false);
    assert_int_equal(rusm_spawn(a->runtime, connect_to_nobody, deaf->address, &pid), RUSM_OK);
    kill_suspended(pid);
    assert_false(atomic_load(&came_back));
    support_raw_del(deaf);
    rusm_identity_del(identity);
}

static rusm_err factory_that_blocks(void *arg, const void *args, size_t args_len, rusm_pid *out_pid)
{
    rusm_msg *msg;

    (void)arg;
    (void)args;
    (void)args_len;
    *out_pid = rusm_self();
    return rusm_receive(&msg, RUSM_INFINITY);
}

static void spawn_there(void *arg)
{
    rusm_pid pid;
    int err = rusm_spawn_remote(NULL, arg, "blocks", NULL, 0, RUSM_INFINITY, &pid);

    (void)err;
    atomic_store(&came_back, true);
}

static void test_process_killed_inside_remote_spawn(void **state)
{
    static char peer[] = "b", own[] = "a";
    struct support_node *a = support_node_start(*state, "a");
    struct support_node *b = support_node_start(*state, "b");
    rusm_pid pid;

    support_connect(a, b);
    assert_int_equal(rusm_factory_register(b->node, "blocks", factory_that_blocks, NULL), RUSM_OK);
    assert_int_equal(rusm_factory_register(a->node, "blocks", factory_that_blocks, NULL), RUSM_OK);
    atomic_store(&came_back, false);
    assert_int_equal(rusm_spawn(a->runtime, spawn_there, peer, &pid), RUSM_OK);
    kill_suspended(pid);
    assert_int_equal(rusm_spawn(a->runtime, spawn_there, own, &pid), RUSM_OK);
    kill_suspended(pid);
    assert_false(atomic_load(&came_back));
}

#define BIG_LEN ((size_t)8 * 1024 * 1024)

static void fill_queue(void *arg)
{
    while (rusm_node_send(NULL, "deaf", "sink", arg, BIG_LEN) == RUSM_OK) {
    }
    atomic_store(&came_back, true);
}

/* A peer that is up and takes nothing: the queue fills, and the sender is suspended in it. */
static void test_process_killed_inside_a_send_to_a_full_queue(void **state)
{
    rusm_node_config cfg = support_node_config();
    unsigned char *bytes = calloc(1, BIG_LEN);
    rusm_identity *identity = support_identity(*state, "deaf");
    struct support_node *a;
    struct support_raw *deaf;
    rusm_pid pid;

    assert_non_null(bytes);
    cfg.queue_bytes_max = BIG_LEN;
    a = support_node_start_with(*state, "a", &cfg);
    deaf = support_raw_dial(identity, rusm_node_address(a->node));
    support_raw_join(deaf, "deaf");
    support_wait_peer(a, "deaf", true);
    atomic_store(&came_back, false);
    assert_int_equal(rusm_spawn(a->runtime, fill_queue, bytes, &pid), RUSM_OK);
    kill_suspended(pid);
    assert_false(atomic_load(&came_back));
    /* The node goes with all that is still queued for the peer. */
    support_node_stop(a);
    free(bytes);
    support_raw_del(deaf);
    rusm_identity_del(identity);
}

static void wait_for_ever(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_del(msg);
    }
}

static void test_node_with_ten_thousand_suspended_processes_ends(void **state)
{
    struct support_node *a = support_node_start(*state, "a");
    struct support_node *b = support_node_start(*state, "b");
    rusm_spawn_config cfg;
    rusm_runtime_stats stats;

    support_connect(a, b);
    rusm_spawn_config_init(&cfg);
    cfg.stack_size = 16384;
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(rusm_spawn_with(a->runtime, wait_for_ever, NULL, &cfg, NULL), RUSM_OK);
    }
    assert_int_equal(rusm_runtime_get_stats(a->runtime, &stats), RUSM_OK);
    assert_int_equal(stats.processes, 10000);
    support_node_stop(a);
    support_wait_peer(b, "a", false);
}

/* Both sides of a link that is closed on purpose are told at once, not by silence. */
static void test_peers_of_a_deleted_node_hear_of_it_at_once(void **state)
{
    struct support_node *a = support_node_start(*state, "a");
    struct support_node *b = support_node_start(*state, "b");

    support_connect(a, b);
    support_node_stop(a);
    support_wait_peer(b, "a", false);
    assert_int_equal(support_stats(b).timeouts, 0);
    assert_int_equal(support_stats(b).protocol_errors, 0);
}

#define CASE(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, support_world_setup, support_world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_idle_link_stays_up_for_many_ticks),
        CASE(test_silent_peer_is_down_and_its_names_are_gone),
        CASE(test_process_killed_inside_connect),
        CASE(test_process_killed_inside_remote_spawn),
        CASE(test_process_killed_inside_a_send_to_a_full_queue),
        CASE(test_node_with_ten_thousand_suspended_processes_ends),
        CASE(test_peers_of_a_deleted_node_hear_of_it_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
