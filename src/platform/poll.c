/* SPDX-License-Identifier: MIT */
#include "platform/poll.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int rusmi_poll_init(struct rusmi_poll *poll)
{
    /* Edge-triggered: each write is one event, and the counter need not be read back. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = RUSMI_POLL_KEY_NONE};
    int err;

    poll->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (poll->epoll_fd < 0) {
        return errno;
    }
    poll->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (poll->wake_fd >= 0 &&
        epoll_ctl(poll->epoll_fd, EPOLL_CTL_ADD, poll->wake_fd, &event) == 0) {
        return 0;
    }
    err = errno;
    if (poll->wake_fd >= 0) {
        (void)close(poll->wake_fd);
    }
    (void)close(poll->epoll_fd);
    return err;
}

void rusmi_poll_fini(struct rusmi_poll *poll)
{
    (void)close(poll->wake_fd);
    (void)close(poll->epoll_fd);
}

int rusmi_poll_set(struct rusmi_poll *poll, int fd, unsigned events, uint64_t key, bool known)
{
    struct epoll_event event = {.data.u64 = key};
    int op = known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

    event.events = ((events & RUSMI_POLL_READ) != 0 ? EPOLLIN | EPOLLRDHUP : 0u) |
                   ((events & RUSMI_POLL_WRITE) != 0 ? EPOLLOUT : 0u) |
                   ((events & RUSMI_POLL_ONCE) != 0 ? EPOLLONESHOT : 0u);
    if (epoll_ctl(poll->epoll_fd, op, fd, &event) == 0) {
        return 0;
    }
    /* The kernel forgets a descriptor when it is closed, and its number may be somebody else's
     * now. */
    if (errno == ENOENT && known) {
        op = EPOLL_CTL_ADD;
    } else if (errno == EEXIST && !known) {
        op = EPOLL_CTL_MOD;
    } else {
        return errno;
    }
    return epoll_ctl(poll->epoll_fd, op, fd, &event) == 0 ? 0 : errno;
}

void rusmi_poll_remove(struct rusmi_poll *poll, int fd)
{
    (void)epoll_ctl(poll->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* Nanoseconds where the kernel can (epoll_pwait2, Linux 5.11), else milliseconds rounded up. */
static int wait_precise(int epoll_fd, struct epoll_event *events, rusm_time left)
{
    int ms;

#ifdef SYS_epoll_pwait2
    struct timespec timeout = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
    long got = syscall(SYS_epoll_pwait2, epoll_fd, events, RUSMI_POLL_MAX, &timeout, NULL, 0);

    if (got >= 0 || errno != ENOSYS) {
        return (int)got;
    }
#endif
    ms = left > 1000000000000u ? 1000000 : (int)((left + 999999u) / 1000000u);
    return epoll_wait(epoll_fd, events, RUSMI_POLL_MAX, ms);
}

size_t rusmi_poll_wait(struct rusmi_poll *poll, rusm_time now, rusm_time deadline,
                       uint64_t keys[RUSMI_POLL_MAX])
{
    struct epoll_event events[RUSMI_POLL_MAX];
    size_t len = 0;
    int got;

    if (deadline == UINT64_MAX) {
        got = epoll_wait(poll->epoll_fd, events, RUSMI_POLL_MAX, -1);
    } else if (deadline <= now) {
        got = epoll_wait(poll->epoll_fd, events, RUSMI_POLL_MAX, 0);
    } else {
        got = wait_precise(poll->epoll_fd, events, deadline - now);
    }
    for (int i = 0; i < got; i++) {
        if (events[i].data.u64 != RUSMI_POLL_KEY_NONE) {
            keys[len++] = events[i].data.u64;
        }
    }
    return len;
}

void rusmi_poll_wake(struct rusmi_poll *poll)
{
    uint64_t one = 1;
    ssize_t written = write(poll->wake_fd, &one, sizeof(one));

    (void)written;
}
