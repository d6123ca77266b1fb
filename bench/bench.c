/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <rusm/err.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

uint64_t bench_now_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

double bench_cpu_s(void)
{
    struct rusage use;

    (void)getrusage(RUSAGE_SELF, &use);
    return (double)use.ru_utime.tv_sec + (double)use.ru_stime.tv_sec +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

double bench_rss_mib(void)
{
    struct rusage use;

    (void)getrusage(RUSAGE_SELF, &use);
    return (double)use.ru_maxrss / 1024.0;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

uint64_t bench_percentile(uint64_t *samples, size_t samples_len, double percent)
{
    size_t index;

    if (samples_len == 0) {
        return 0;
    }
    qsort(samples, samples_len, sizeof(*samples), compare_u64);
    index = (size_t)(percent / 100.0 * (double)samples_len);
    return samples[index < samples_len ? index : samples_len - 1];
}

/* A UDP socket on a loopback port of its own. */
static int floor_socket(struct sockaddr_in *out_address)
{
    socklen_t len = sizeof(*out_address);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    memset(out_address, 0, sizeof(*out_address));
    out_address->sin_family = AF_INET;
    out_address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd >= 0 && (bind(fd, (struct sockaddr *)out_address, len) != 0 ||
                    getsockname(fd, (struct sockaddr *)out_address, &len) != 0)) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

/* One message over, taken by whoever epoll says is ready; epoll_fd < 0: by blocking in recv. */
static bool floor_hop(int epoll_fd, int from, int to, char *buf, size_t len)
{
    struct epoll_event event;

    if (send(from, buf, len, 0) != (ssize_t)len) {
        return false;
    }
    if (epoll_fd >= 0 && (epoll_wait(epoll_fd, &event, 1, -1) != 1 || event.data.fd != to)) {
        return false;
    }
    return recv(to, buf, len, 0) == (ssize_t)len;
}

static bool floor_watch(int epoll_fd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

bool bench_udp_floor(uint64_t *samples, size_t samples_len, bool polled)
{
    struct sockaddr_in a_address, b_address;
    char buf[40] = {0};
    int a = floor_socket(&a_address), b = floor_socket(&b_address);
    int epoll_fd = polled ? epoll_create1(EPOLL_CLOEXEC) : -1;
    bool ok = a >= 0 && b >= 0 &&
              connect(a, (struct sockaddr *)&b_address, sizeof(b_address)) == 0 &&
              connect(b, (struct sockaddr *)&a_address, sizeof(a_address)) == 0;

    if (polled) {
        ok = ok && epoll_fd >= 0 && floor_watch(epoll_fd, a) && floor_watch(epoll_fd, b);
    }
    for (size_t i = 0; ok && i < samples_len; i++) {
        uint64_t start = bench_now_ns();

        ok = floor_hop(epoll_fd, a, b, buf, sizeof(buf)) &&
             floor_hop(epoll_fd, b, a, buf, sizeof(buf));
        samples[i] = bench_now_ns() - start;
    }
    if (a >= 0) {
        (void)close(a);
    }
    if (b >= 0) {
        (void)close(b);
    }
    if (epoll_fd >= 0) {
        (void)close(epoll_fd);
    }
    return ok;
}

void bench_check(int err, const char *what)
{
    if (err != RUSM_OK) {
        (void)fprintf(stderr, "bench: %s: %s\n", what, rusm_err_detail());
        exit(1);
    }
}
