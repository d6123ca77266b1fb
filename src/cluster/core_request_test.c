/* SPDX-License-Identifier: MIT */
/* Requests and replies, what roles may do, hidden links, and what happens when memory runs out. */
#include "base/mem.h"
#include "cluster/core_net_test.h"
#include "cluster/heap_fixture_test.h"

#define LONDON 0
#define TOKYO  1
#define ALICE  2

static int setup(void **state)
{
    struct net *net = malloc(sizeof(struct net));

    fail_at = 0;
    net_init(net);
    net_start(net, LONDON, "london", 11);
    net_start(net, TOKYO, "tokyo", 22);
    *state = net;
    return 0;
}

static int teardown(void **state)
{
    struct net *net = *state;

    fail_at = 0;
    net_fini(net);
    free(net);
    return 0;
}

static const struct rusmi_reply *ask(struct net *net, int i, const char *peer,
                                     const struct rusmi_request *request)
{
    unsigned times = net->nodes[i].replies[0].times;

    assert_int_equal(net_ask(net, i, 0, peer, request, 1000), RUSM_OK);
    net_run(net);
    assert_int_equal(net->nodes[i].replies[0].times, times + 1);
    return net->nodes[i].replies[0].reply->reply;
}

static void test_every_request_gets_its_answer(void **state)
{
    struct net *net = *state;
    struct rusmi_request request = {.kind = RUSMI_REQUEST_SPAWN, .name = "worker"};
    const struct rusmi_reply *reply;

    net_join(net, LONDON, TOKYO);
    request.args = (const uint8_t *)"abc";
    request.args_len = 3;
    request.sender = 41;
    reply = ask(net, LONDON, "tokyo", &request);
    assert_true(reply->pid.incarnation == 4 && reply->pid.serial == 42);

    request = (struct rusmi_request){.kind = RUSMI_REQUEST_SPAWN, .name = "missing"};
    assert_null(ask(net, LONDON, "tokyo", &request));
    assert_int_equal(net->nodes[LONDON].replies[0].err, RUSM_ENOFACTORY);
    assert_string_equal(net->nodes[LONDON].replies[0].text, "no factory \"missing\"");
    assert_string_equal(net->nodes[LONDON].replies[0].peer, "tokyo");

    request = (struct rusmi_request){.kind = RUSMI_REQUEST_PROCESSES, .cursor = 5, .max = 1000};
    reply = ask(net, LONDON, "tokyo", &request);
    assert_true(reply->cursor == 5 + RUSMI_PAGE_MAX);
    assert_int_equal(reply->records_len, 1);
    assert_string_equal(reply->records.processes[0].label, "worker");
    assert_int_equal(reply->records.processes[0].mailbox_len, 9);

    request = (struct rusmi_request){.kind = RUSMI_REQUEST_PEERS, .max = 10};
    assert_string_equal(ask(net, TOKYO, "london", &request)->records.peers[0].name, "paris");
    request.kind = RUSMI_REQUEST_NAMES;
    assert_string_equal(ask(net, TOKYO, "london", &request)->records.names[0].node, "paris");
    request = (struct rusmi_request){.kind = RUSMI_REQUEST_WHEREIS, .name = "x"};
    assert_int_equal(ask(net, TOKYO, "london", &request)->pid.serial, 2);
    request = (struct rusmi_request){.kind = RUSMI_REQUEST_KILL, .pid = {11, 2}};
    assert_non_null(ask(net, TOKYO, "london", &request));
    request.pid.serial = 1;
    assert_null(ask(net, TOKYO, "london", &request));
    assert_int_equal(net->nodes[TOKYO].replies[0].err, RUSM_ENOPROC);
}

static void test_requests_that_can_not_be_asked(void **state)
{
    struct net *net = *state;
    struct rusmi_request request = {.kind = RUSMI_REQUEST_PEERS, .max = 1};

    assert_int_equal(net_ask(net, LONDON, 0, "tokyo", &request, 100), RUSM_ENONODE);
    net_join(net, LONDON, TOKYO);
    request.max = 0;
    assert_int_equal(net_ask(net, LONDON, 0, "tokyo", &request, 100), RUSM_EINVAL);
    request = (struct rusmi_request){.kind = RUSMI_REQUEST_WHEREIS};
    assert_int_equal(net_ask(net, LONDON, 0, "tokyo", &request, 100), RUSM_EINVAL);
    request.kind = 77;
    assert_int_equal(net_ask(net, LONDON, 0, "tokyo", &request, 100), RUSM_EINVAL);
    assert_int_equal(net->nodes[LONDON].replies[0].times, 0);
}

/* No answer in time is an error of its own, and the answer that comes later is dropped. */
static void test_late_answer_is_dropped_and_counted(void **state)
{
    struct net *net = *state;
    struct rusmi_request request = {.kind = RUSMI_REQUEST_PEERS, .max = 1};
    struct rusmi_action *action;
    struct rusmi_actions actions;

    net_join(net, LONDON, TOKYO);
    net->nodes[TOKYO].hold = true;
    assert_int_equal(net_ask(net, LONDON, 1, "tokyo", &request, 100), RUSM_OK);
    net_pass(net, 101);
    assert_int_equal(net->nodes[LONDON].replies[1].err, RUSM_ETIMEOUT);
    assert_string_equal(net->nodes[LONDON].replies[1].text, "\"tokyo\" did not answer in time");
    action = rusmi_actions_pop(&net->nodes[TOKYO].held);
    rusmi_actions_init(&actions);
    net_answer(net, TOKYO, action, &actions);
    net_act(net, TOKYO, &actions);
    rusmi_action_del(action);
    net_run(net);
    assert_int_equal(net->nodes[LONDON].replies[1].times, 1);
    assert_int_equal(net_stats(net, LONDON).replies_late, 1);
    assert_true(net_link(net, LONDON, "tokyo") != 0);
}

/* The link goes while a request is out: the asker hears it, and the answer goes nowhere. */
static void test_lost_link_ends_requests(void **state)
{
    struct net *net = *state;
    struct rusmi_request request = {.kind = RUSMI_REQUEST_PEERS, .max = 1};
    struct rusmi_action *action;
    struct rusmi_actions actions;

    net_join(net, LONDON, TOKYO);
    net->nodes[TOKYO].hold = true;
    assert_int_equal(net_ask(net, LONDON, 1, "tokyo", &request, 9000), RUSM_OK);
    net_run(net);
    rusmi_actions_init(&actions);
    assert_int_equal(rusmi_core_disconnect(net->nodes[TOKYO].core, "london", net->now, &actions),
                     RUSM_OK);
    action = rusmi_actions_pop(&net->nodes[TOKYO].held);
    net_answer(net, TOKYO, action, &actions);
    rusmi_action_del(action);
    net_act(net, TOKYO, &actions);
    net_run(net);
    assert_int_equal(net->nodes[LONDON].replies[1].times, 1);
    assert_int_equal(net->nodes[LONDON].replies[1].err, RUSM_ENOLINK);
    assert_true(rusmi_core_deadline(net->nodes[LONDON].core) == RUSMI_TIME_NEVER);
}

static void test_requests_over_the_limit_are_refused(void **state)
{
    struct net *net = *state;
    struct rusmi_request request = {.kind = RUSMI_REQUEST_PEERS, .max = 1};
    struct rusmi_action *action;
    struct rusmi_actions actions;

    net_join(net, LONDON, TOKYO);
    net->nodes[TOKYO].hold = true;
    for (uint64_t ref = 1; ref <= 9; ref++) {
        assert_int_equal(net_ask(net, LONDON, ref, "tokyo", &request, 9000), RUSM_OK);
    }
    net_run(net);
    assert_int_equal(net->nodes[TOKYO].executes, 8);
    assert_int_equal(net->nodes[LONDON].replies[8].times, 0);
    assert_int_equal(net->nodes[LONDON].replies[9].err, RUSM_EFULL);
    /* One answered makes room for one more. */
    rusmi_actions_init(&actions);
    action = rusmi_actions_pop(&net->nodes[TOKYO].held);
    net_answer(net, TOKYO, action, &actions);
    rusmi_action_del(action);
    net_act(net, TOKYO, &actions);
    assert_int_equal(net_ask(net, LONDON, 10, "tokyo", &request, 9000), RUSM_OK);
    net_run(net);
    assert_int_equal(net->nodes[LONDON].replies[1].err, RUSM_OK);
    assert_int_equal(net->nodes[TOKYO].executes, 9);
}

static void test_answer_that_can_not_be_encoded_is_an_error(void **state)
{
    struct net *net = *state;
    struct rusmi_request request = {.kind = RUSMI_REQUEST_WHEREIS, .name = "x"};
    struct rusmi_reply reply = {.kind = RUSMI_REQUEST_WHEREIS}; /* success, but no pid */
    struct rusmi_action *action;
    struct rusmi_actions actions;

    net_join(net, LONDON, TOKYO);
    net->nodes[TOKYO].hold = true;
    assert_int_equal(net_ask(net, LONDON, 1, "tokyo", &request, 9000), RUSM_OK);
    net_run(net);
    action = rusmi_actions_pop(&net->nodes[TOKYO].held);
    rusmi_actions_init(&actions);
    rusmi_core_answer(net->nodes[TOKYO].core, action->conn, action->request_id, &reply, net->now,
                      &actions);
    rusmi_action_del(action);
    net_act(net, TOKYO, &actions);
    net_run(net);
    assert_int_equal(net->nodes[LONDON].replies[1].err, RUSM_EINVAL);
}

/* A peer that answers something else than what was asked. */
static void test_reply_of_another_kind_closes_the_link(void **state)
{
    struct net *net = *state;
    struct rusmi_request request = {.kind = RUSMI_REQUEST_WHEREIS, .name = "x"};
    struct rusmi_reply reply = {.kind = RUSMI_REQUEST_KILL};
    struct rusmi_action *action;
    struct rusmi_actions actions;

    net_join(net, LONDON, TOKYO);
    net->nodes[TOKYO].hold = true;
    assert_int_equal(net_ask(net, LONDON, 1, "tokyo", &request, 9000), RUSM_OK);
    net_run(net);
    action = rusmi_actions_pop(&net->nodes[TOKYO].held);
    rusmi_actions_init(&actions);
    rusmi_core_answer(net->nodes[TOKYO].core, action->conn, action->request_id, &reply, net->now,
                      &actions);
    rusmi_action_del(action);
    net_act(net, TOKYO, &actions);
    net_run(net);
    assert_int_equal(net->nodes[LONDON].replies[1].err, RUSM_ENOLINK);
    assert_int_equal(net->nodes[LONDON].last_code, RUSMI_CLOSE_PROTOCOL);
    assert_int_equal(net_stats(net, LONDON).protocol_errors, 1);
}

static void start_hidden(struct net *net, int i, const char *name, enum rusmi_role role)
{
    struct rusmi_core_config cfg = net_config(name, 70 + (uint64_t)i, role, "");

    net_start_with(net, i, &cfg);
}

static void test_roles(void **state)
{
    struct net *net = *state;
    struct rusmi_request look = {.kind = RUSMI_REQUEST_PROCESSES, .max = 1};
    struct rusmi_request kill = {.kind = RUSMI_REQUEST_KILL, .pid = {11, 2}};
    struct rusmi_request spawn = {.kind = RUSMI_REQUEST_SPAWN, .name = "worker"};
    const enum rusmi_role roles[] = {RUSMI_ROLE_OPERATOR, RUSMI_ROLE_OBSERVER};

    for (int r = 0; r < 2; r++) {
        bool may = roles[r] == RUSMI_ROLE_OPERATOR;

        start_hidden(net, ALICE, "alice", roles[r]);
        net_join(net, ALICE, LONDON);
        assert_non_null(ask(net, ALICE, "london", &look));
        assert_int_equal(ask(net, ALICE, "london", &kill) != NULL, may);
        assert_int_equal(ask(net, ALICE, "london", &spawn) != NULL, may);
        assert_int_equal(net->nodes[ALICE].replies[0].err, may ? RUSM_OK : RUSM_EPERM);
        assert_int_equal(net_stats(net, LONDON).requests_refused, may ? 0 : 2);
        assert_int_equal(net_register(net, ALICE, "x", 1), RUSM_EPERM);
        net_kill(net, ALICE);
    }
}

/* Hidden peers are no nodes: not listed, not addressable, any number under one name. */
static void test_hidden_links(void **state)
{
    struct net *net = *state;
    struct rusmi_core_peer peers[4];
    struct rusmi_request look = {.kind = RUSMI_REQUEST_PROCESSES, .max = 1};
    uint64_t cursor = 0;

    net_join(net, LONDON, TOKYO);
    assert_int_equal(net_register(net, LONDON, "db", 1), RUSM_OK);
    start_hidden(net, 2, "alice", RUSMI_ROLE_OPERATOR);
    start_hidden(net, 3, "alice", RUSMI_ROLE_OPERATOR);
    start_hidden(net, 4, "tokyo", RUSMI_ROLE_OBSERVER); /* even a member's name */
    for (int i = 2; i <= 4; i++) {
        net_join(net, i, LONDON);
        assert_non_null(ask(net, i, "london", &look));
        assert_string_equal(net_owner(net, i, "db"), ""); /* names are asked for, not given */
    }
    assert_int_equal(net_stats(net, LONDON).hidden, 3);
    assert_int_equal(net_stats(net, LONDON).peers, 1);
    assert_int_equal(rusmi_core_list_peers(net->nodes[LONDON].core, &cursor, peers, 4), 1);
    assert_int_equal(net_ask(net, LONDON, 1, "alice", &look, 100), RUSM_ENONODE);
    assert_true(net_link(net, LONDON, "tokyo") == net->wires[0].ends[0].conn);
    assert_int_equal(net->nodes[LONDON].downs, 0);
    net_kill(net, 2);
    assert_int_equal(net_stats(net, LONDON).hidden, 3); /* nobody told yet */
}

static void test_two_hidden_nodes_never_link(void **state)
{
    struct net *net = *state;

    start_hidden(net, 2, "alice", RUSMI_ROLE_OPERATOR);
    start_hidden(net, 3, "bob", RUSMI_ROLE_OPERATOR);
    (void)snprintf(net->nodes[3].address, 32, "10.0.0.3:1");
    assert_int_equal(net_dial(net, 2, 0, "10.0.0.3:1", 100), RUSM_OK);
    net_run(net);
    assert_int_equal(net->nodes[2].dials[0].err, RUSM_EAUTH);
    assert_int_equal(net->nodes[2].ups + net->nodes[3].ups, 0);
}

/* An operator that reaches one member by two addresses keeps one link. */
static void test_operator_keeps_one_link_per_member(void **state)
{
    struct net *net = *state;

    start_hidden(net, ALICE, "alice", RUSMI_ROLE_OPERATOR);
    net_join(net, ALICE, LONDON);
    (void)snprintf(net->nodes[LONDON].address, 32, "10.9.9.9:1");
    assert_int_equal(net_dial(net, ALICE, 1, "10.9.9.9:1", 3000), RUSM_OK);
    net_run(net);
    assert_int_equal(net->nodes[ALICE].dials[1].err, RUSM_OK);
    assert_int_equal(net->nodes[ALICE].ups, 1);
    assert_int_equal(net_stats(net, LONDON).hidden, 1);
}

static void test_flow_reaches_the_peer(void **state)
{
    struct net *net = *state;
    struct rusmi_flow flow = {.name = "sink", .on = true};
    struct rusmi_actions actions;

    net_join(net, LONDON, TOKYO);
    rusmi_actions_init(&actions);
    rusmi_core_flow(net->nodes[LONDON].core, net_link(net, LONDON, "tokyo"), &flow, net->now,
                    &actions);
    net_act(net, LONDON, &actions);
    net_run(net);
    assert_string_equal(net->nodes[TOKYO].flow->flow->name, "sink");
    assert_true(net->nodes[TOKYO].flow->flow->on);
    assert_true(net->nodes[TOKYO].flow->conn == net_link(net, TOKYO, "london"));
}

/* A bit of everything; what fails for want of memory fails with a word, and nothing hangs. */
static bool scenario(struct net *net)
{
    struct rusmi_request request = {.kind = RUSMI_REQUEST_PROCESSES, .max = 3};
    rusm_err first = net_register(net, LONDON, "early", 3);
    rusm_err dial = net_dial(net, TOKYO, 0, "10.0.0.0:1", 3000), second, asked;
    unsigned answered;

    assert_true(first == RUSM_OK || first == RUSM_ENOMEM);
    assert_true(dial == RUSM_OK || dial == RUSM_ENOMEM);
    net_run(net);
    second = net_register(net, TOKYO, "late", 4);
    assert_true(second == RUSM_OK || second == RUSM_ENOMEM);
    asked = net_ask(net, TOKYO, 0, "london", &request, 100);
    net_pass(net, 10000);
    assert_int_equal(net->nodes[TOKYO].dials[0].times, dial == RUSM_OK ? 1 : 0);
    answered = net->nodes[TOKYO].replies[0].times;
    assert_int_equal(answered, asked == RUSM_OK ? 1 : 0);
    assert_int_equal(net->nodes[LONDON].ups - net->nodes[LONDON].downs,
                     net_stats(net, LONDON).peers);
    assert_int_equal(net->nodes[TOKYO].ups - net->nodes[TOKYO].downs, net_stats(net, TOKYO).peers);
    assert_int_equal(net_stats(net, LONDON).peers, net_stats(net, TOKYO).peers);
    if (net_stats(net, LONDON).peers == 1) {
        assert_string_equal(net_owner(net, TOKYO, "early"), first == RUSM_OK ? "london.3" : "");
        assert_string_equal(net_owner(net, LONDON, "late"), second == RUSM_OK ? "tokyo.4" : "");
    }
    return first == RUSM_OK && dial == RUSM_OK && second == RUSM_OK && asked == RUSM_OK &&
           net->nodes[TOKYO].dials[0].err == RUSM_OK && net->nodes[TOKYO].replies[0].err == RUSM_OK;
}

static void test_every_failing_allocation_is_survived(void **state)
{
    struct net *net;
    size_t n = 0;
    bool whole = false;

    while (!whole) {
        (void)teardown(state);
        (void)setup(state);
        net = *state;
        fail_at = ++n;
        (void)scenario(net);
        whole = fail_at != 0; /* it was not reached */
        assert_true(n < 1000);
    }
    assert_true(n > 40);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_request_gets_its_answer),
        TEST(test_requests_that_can_not_be_asked),
        TEST(test_late_answer_is_dropped_and_counted),
        TEST(test_lost_link_ends_requests),
        TEST(test_requests_over_the_limit_are_refused),
        TEST(test_answer_that_can_not_be_encoded_is_an_error),
        TEST(test_reply_of_another_kind_closes_the_link),
        TEST(test_roles),
        TEST(test_hidden_links),
        TEST(test_two_hidden_nodes_never_link),
        TEST(test_operator_keeps_one_link_per_member),
        TEST(test_flow_reaches_the_peer),
        TEST(test_every_failing_allocation_is_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
