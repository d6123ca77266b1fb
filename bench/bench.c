/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <rusm/err.h>

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <sched.h>
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

static bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    char *end;
    uint64_t value;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < min ||
        value > max) {
        return false;
    }
    *out = value;
    return true;
}

static bool parse_option(int *i, int argc, char **argv, const struct bench_option *option)
{
    return strcmp(argv[*i], option->name) == 0 && *i + 1 < argc &&
           parse_number(argv[++*i], option->min, option->max, option->value);
}

static bool parse_all(struct bench_run *run, int argc, char **argv,
                      const struct bench_option *options, size_t options_len)
{
    const struct bench_option threads = {"--threads", &run->threads, 0, 1024};

    for (int i = 1; i < argc; i++) {
        bool known = i == 1 && parse_number(argv[i], 1, 3600, &run->seconds);

        if (strcmp(argv[i], "--json") == 0) {
            run->json = known = true;
        }
        known = known || parse_option(&i, argc, argv, &threads);
        for (size_t k = 0; !known && k < options_len; k++) {
            known = parse_option(&i, argc, argv, &options[k]);
        }
        if (!known) {
            return false;
        }
    }
    return true;
}

void bench_parse(struct bench_run *run, int argc, char **argv, const struct bench_option *options,
                 size_t options_len)
{
    cpu_set_t set;

    if (!parse_all(run, argc, argv, options, options_len)) {
        (void)fprintf(stderr, "usage: %s [seconds 1-3600] [--threads 0-1024] [--json]", run->name);
        for (size_t i = 0; i < options_len; i++) {
            (void)fprintf(stderr, " [%s %" PRIu64 "-%" PRIu64 "]", options[i].name, options[i].min,
                          options[i].max);
        }
        (void)fprintf(stderr, "\n");
        exit(2);
    }
    if (run->threads == 0) {
        run->threads =
            sched_getaffinity(0, sizeof(set), &set) == 0 ? (uint64_t)CPU_COUNT(&set) : 1u;
    }
}

void bench_start(struct bench_run *run)
{
    rusm_pool_config pool_cfg;
    rusm_runtime_config cfg;

    rusm_pool_config_init(&pool_cfg);
    pool_cfg.threads = (unsigned)run->threads;
    pool_cfg.park_idle_ms = (uint32_t)run->park_ms;
    if (run->stack_size != 0) {
        pool_cfg.stack_size = (size_t)run->stack_size;
    }
    bench_check(rusm_pool_new(&run->pool, &pool_cfg), "start a pool");
    rusm_runtime_config_init(&cfg);
    cfg.pool = run->pool;
    bench_check(rusm_runtime_new(&run->rt, &cfg), "start a runtime");
}

void bench_stop(struct bench_run *run)
{
    rusm_runtime_del(run->rt);
    rusm_pool_del(run->pool);
    run->rt = NULL;
    run->pool = NULL;
}

void bench_wait_ms(uint64_t span_ms)
{
    struct timespec span = {.tv_sec = (time_t)(span_ms / 1000),
                            .tv_nsec = (long)(span_ms % 1000) * 1000000};

    while (nanosleep(&span, &span) != 0 && errno == EINTR) {
    }
}

void bench_await(const struct bench_count *count, uint64_t value)
{
    while (atomic_load(&count->value) < value) {
        bench_wait_ms(1);
    }
}

static uint64_t sum(const struct bench_count *counts, size_t counts_len)
{
    uint64_t total = 0;

    for (size_t i = 0; i < counts_len; i++) {
        /* relaxed: a number for statistics */
        total += atomic_load_explicit(&counts[i].value, memory_order_relaxed);
    }
    return total;
}

double bench_rate(const struct bench_run *run, const struct bench_count *counts, size_t counts_len)
{
    uint64_t warm_ms = run->seconds * 200, begin, count;

    bench_wait_ms(warm_ms < 500 ? warm_ms : 500);
    count = sum(counts, counts_len);
    begin = bench_now_ns();
    bench_wait_ms(run->seconds * 1000);
    count = sum(counts, counts_len) - count;
    return (double)count * 1e9 / (double)(bench_now_ns() - begin);
}

void *bench_array(size_t len, size_t size)
{
    size_t bytes = (len * size + 127) / 128 * 128;
    void *array = aligned_alloc(128, bytes);

    if (array == NULL) {
        (void)fprintf(stderr, "bench: out of memory\n");
        exit(1);
    }
    memset(array, 0, bytes);
    return array;
}
