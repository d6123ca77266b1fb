/* SPDX-License-Identifier: MIT */
/*
 * What the tests with a bad network rest on: that the proxy does to datagrams what it says, and the
 * same again with the same seed. Two plain sockets, a numbered datagram after the other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "platform/udp.h"
#include "support/udp_proxy.h"

#include <poll.h>
#include <unistd.h>

#define COUNT       1000
#define BURST       50 /* datagrams that any socket takes at once */
#define DEADLINE_MS 30000
#define QUIET_MS    300

/* How often each datagram came, and in which order. */
struct arrivals {
    unsigned char times[COUNT];
    unsigned order[2 * COUNT];
    size_t len;
    size_t damaged; /* those that are not what was sent */
};

struct net {
    int target, dialer;
    struct support_proxy *proxy;
};

static struct net net_open(uint64_t seed, const struct support_proxy_faults *faults)
{
    struct rusmi_address address;
    struct net net;
    char text[80];

    assert_true(rusmi_address_parse("127.0.0.1:0", &address));
    assert_int_equal(rusmi_udp_listen(&address, 4 << 20, &net.target), 0);
    assert_int_equal(rusmi_udp_local_address(net.target, &address), 0);
    rusmi_address_format(&address, text, sizeof(text));
    net.proxy = support_proxy_open(text, NULL, seed);
    assert_non_null(net.proxy);
    support_proxy_set(net.proxy, SUPPORT_PROXY_TO, faults);
    assert_true(rusmi_address_parse(support_proxy_address(net.proxy), &address));
    assert_int_equal(rusmi_udp_connect(NULL, &address, 4 << 20, &net.dialer), 0);
    return net;
}

static void net_close(struct net *net)
{
    support_proxy_del(net->proxy);
    rusmi_udp_close(net->target);
    rusmi_udp_close(net->dialer);
}

static uint64_t settled(struct net *net)
{
    struct support_proxy_counts c = support_proxy_counts(net->proxy, SUPPORT_PROXY_TO);

    return c.forwarded - c.duplicated + c.cut + c.too_large + c.lost + c.queue_full + c.failed;
}

static bool look(struct arrivals *arrivals, int fd, int wait_ms)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    struct rusmi_address from;
    unsigned data[256];
    size_t len, segment;

    if (poll(&poller, 1, wait_ms) <= 0) {
        return false;
    }
    while (rusmi_udp_recv(fd, data, sizeof(data), &from, &len, &segment) == 0) {
        for (size_t at = 0; at < len; at += segment) {
            unsigned pair[2];

            memcpy(pair, (const char *)data + at, sizeof(pair));
            if (pair[0] >= COUNT || pair[1] != ~pair[0] || arrivals->len == 2 * COUNT) {
                arrivals->damaged++;
                continue;
            }
            arrivals->times[pair[0]]++;
            arrivals->order[arrivals->len++] = pair[0];
        }
    }
    return true;
}

/* Send COUNT datagrams through, each burst after the proxy has taken the one before. */
static struct arrivals pass(struct net *net)
{
    static struct arrivals arrivals;

    memset(&arrivals, 0, sizeof(arrivals));
    for (unsigned i = 0; i < COUNT; i++) {
        unsigned pair[2] = {i, ~i};
        int waited_ms = 0;

        assert_int_equal(rusmi_udp_send(net->dialer, NULL, pair, sizeof(pair), sizeof(pair)), 0);
        while ((i + 1) % BURST == 0 &&
               support_proxy_counts(net->proxy, SUPPORT_PROXY_TO).received <= i) {
            (void)poll(NULL, 0, 1);
            assert_true(waited_ms++ < DEADLINE_MS);
        }
        (void)look(&arrivals, net->target, 0);
    }
    for (int waited_ms = 0; settled(net) < COUNT; waited_ms++) {
        (void)poll(NULL, 0, 1);
        assert_true(waited_ms < DEADLINE_MS);
    }
    while (look(&arrivals, net->target, QUIET_MS)) {
    }
    return arrivals;
}

static size_t inversions(const struct arrivals *arrivals)
{
    size_t count = 0;

    for (size_t i = 1; i < arrivals->len; i++) {
        count += arrivals->order[i] < arrivals->order[i - 1];
    }
    return count;
}

static void test_without_faults_all_pass_in_order(void **state)
{
    struct support_proxy_faults none = {0};
    struct net net = net_open(1, &none);
    struct arrivals arrivals = pass(&net);

    (void)state;
    assert_int_equal(arrivals.len, COUNT);
    assert_int_equal(inversions(&arrivals), 0);
    net_close(&net);
}

static void test_loss_and_duplicates_repeat_with_the_seed(void **state)
{
    struct support_proxy_faults faults = {.loss = 0.3, .duplicate = 0.2};
    struct net first = net_open(7, &faults), again = net_open(7, &faults),
               other = net_open(8, &faults);
    struct arrivals a = pass(&first), b = pass(&again), c = pass(&other);
    struct support_proxy_counts counts = support_proxy_counts(first.proxy, SUPPORT_PROXY_TO);

    (void)state;
    assert_memory_equal(a.times, b.times, sizeof(a.times));
    assert_memory_not_equal(a.times, c.times, sizeof(a.times));
    /* Far from what such odds give by chance: 300 of 1,000, standard deviation 14. */
    assert_in_range(counts.lost, 200, 400);
    assert_in_range(counts.duplicated, 80, 210);
    assert_int_equal(a.len, COUNT - counts.lost + counts.duplicated);
    net_close(&first);
    net_close(&again);
    net_close(&other);
}

static void test_reordered_come_later_and_all_come(void **state)
{
    struct support_proxy_faults faults = {.reorder = 0.1};
    struct net net = net_open(3, &faults);
    struct arrivals arrivals = pass(&net);

    (void)state;
    assert_int_equal(arrivals.len, COUNT);
    assert_true(inversions(&arrivals) > 0);
    net_close(&net);
}

static void test_corrupted_are_counted_and_differ(void **state)
{
    struct support_proxy_faults faults = {.corrupt = 0.2};
    struct net net = net_open(3, &faults);
    struct arrivals arrivals = pass(&net);
    struct support_proxy_counts counts = support_proxy_counts(net.proxy, SUPPORT_PROXY_TO);

    (void)state;
    assert_true(counts.corrupted > 100);
    assert_int_equal(arrivals.damaged, counts.corrupted);
    net_close(&net);
}

static void test_a_full_bottleneck_drops_and_a_cut_drops_all(void **state)
{
    struct support_proxy_faults slow = {.rate = 1000, .queue_bytes = 80}, cut = {.cut = true};
    struct net net = net_open(3, &slow);
    struct arrivals arrivals = pass(&net);
    struct support_proxy_counts counts = support_proxy_counts(net.proxy, SUPPORT_PROXY_TO);

    (void)state;
    assert_true(counts.queue_full > 0);
    assert_int_equal(arrivals.len, COUNT - counts.queue_full);
    net_close(&net);
    net = net_open(3, &cut);
    assert_int_equal(pass(&net).len, 0);
    assert_int_equal(support_proxy_counts(net.proxy, SUPPORT_PROXY_TO).cut, COUNT);
    net_close(&net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_faults_all_pass_in_order),
        cmocka_unit_test(test_loss_and_duplicates_repeat_with_the_seed),
        cmocka_unit_test(test_reordered_come_later_and_all_come),
        cmocka_unit_test(test_corrupted_are_counted_and_differ),
        cmocka_unit_test(test_a_full_bottleneck_drops_and_a_cut_drops_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
