/* SPDX-License-Identifier: MIT */
/*
 * Descriptors that somebody waits for: a driver (again and again) or a process (once). The poll's
 * events carry the number of the descriptor and of the watch, not an address: an event that was
 * fetched before a watch ended finds nothing, under the lock that ending took.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "otp/sched.h"
#include "platform/clock.h"

#include <string.h>

#define FDS_MIN ((size_t)64)

struct rusmi_fd_watch {
    int fd;
    uint32_t number;
    unsigned events;
    rusm_driver *driver; /* or NULL: a process waits */
    struct rusmi_process *proc;
    bool ready;
};

void rusmi_fds_init(rusm_pool *pool)
{
    rusmi_lock_init(&pool->fds_lock);
    pool->fds = NULL;
    pool->fds_cap = 0;
}

void rusmi_fds_fini(rusm_pool *pool)
{
    for (size_t fd = 0; fd < pool->fds_cap; fd++) {
        rusmi_assert(pool->fds[fd] == NULL);
    }
    rusmi_free(pool->fds);
    rusmi_lock_fini(&pool->fds_lock);
}

static struct rusmi_fd_watch *find(rusm_pool *pool, int fd)
{
    return (size_t)fd < pool->fds_cap ? pool->fds[fd] : NULL;
}

/* Under the lock: a place for fd. Descriptors are small numbers, so a plain table serves. */
static bool make_room(rusm_pool *pool, int fd)
{
    size_t cap = pool->fds_cap == 0 ? FDS_MIN : pool->fds_cap;
    struct rusmi_fd_watch **fds;

    while (cap <= (size_t)fd) {
        cap *= 2;
    }
    if (cap == pool->fds_cap) {
        return true;
    }
    fds = rusmi_realloc(pool->fds, cap * sizeof(struct rusmi_fd_watch *));
    if (fds == NULL) {
        return false;
    }
    for (size_t i = pool->fds_cap; i < cap; i++) {
        fds[i] = NULL;
    }
    pool->fds = fds;
    pool->fds_cap = cap;
    return true;
}

/* Under the lock. */
static void drop(rusm_pool *pool, struct rusmi_fd_watch *watch)
{
    rusmi_poll_remove(&pool->poll, watch->fd);
    pool->fds[watch->fd] = NULL;
    rusmi_free(watch);
}

/* A new watch on fd, registered with the poll; under the lock. */
static rusm_err add(rusm_pool *pool, int fd, unsigned events, bool once,
                    struct rusmi_fd_watch **out_watch)
{
    struct rusmi_fd_watch *watch = rusmi_zalloc(sizeof(*watch));
    int rc;

    if (watch == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    watch->fd = fd;
    watch->events = events;
    watch->number = ++pool->fd_number;
    if (!make_room(pool, fd)) {
        rusmi_free(watch);
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    rc = rusmi_poll_set(&pool->poll, fd, events | (once ? RUSMI_POLL_ONCE : 0),
                        (uint64_t)watch->number << 32 | (uint32_t)fd, false);
    if (rc != 0) {
        rusmi_free(watch);
        return rusm_set_err_detail(RUSM_ESYS, "descriptor %d can not be polled: %s", fd,
                                   strerror(rc));
    }
    pool->fds[fd] = watch;
    *out_watch = watch;
    return RUSM_OK;
}

static rusm_err set_driver(rusm_pool *pool, int fd, unsigned events, rusm_driver *driver)
{
    struct rusmi_fd_watch *watch = find(pool, fd);
    rusm_err err;
    int rc;

    if (watch == NULL) {
        if (events == 0) {
            return RUSM_OK;
        }
        err = add(pool, fd, events, false, &watch);
        if (err == RUSM_OK) {
            watch->driver = driver;
        }
        return err;
    }
    if (watch->driver != driver) {
        return rusm_set_err_detail(RUSM_EINVAL, "somebody else waits for descriptor %d", fd);
    }
    if (events == 0) {
        drop(pool, watch);
        return RUSM_OK;
    }
    if (events == watch->events) {
        return RUSM_OK;
    }
    rc =
        rusmi_poll_set(&pool->poll, fd, events, (uint64_t)watch->number << 32 | (uint32_t)fd, true);
    if (rc != 0) {
        return rusm_set_err_detail(RUSM_ESYS, "descriptor %d can not be polled: %s", fd,
                                   strerror(rc));
    }
    watch->events = events;
    return RUSM_OK;
}

rusm_err rusmi_fds_watch_driver(rusm_pool *pool, int fd, unsigned events, rusm_driver *driver)
{
    rusm_err err;

    if (fd < 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "%d is no descriptor", fd);
    }
    rusmi_lock_take(&pool->fds_lock);
    err = set_driver(pool, fd, events, driver);
    rusmi_lock_give(&pool->fds_lock);
    return err;
}

void rusmi_fds_ready(rusm_pool *pool, uint64_t key)
{
    struct rusmi_fd_watch *watch;

    rusmi_lock_take(&pool->fds_lock);
    watch = find(pool, (int)(uint32_t)key);
    if (watch != NULL && watch->number == (uint32_t)(key >> 32)) {
        if (watch->driver != NULL) {
            rusmi_driver_ready(watch->driver);
        } else {
            watch->ready = true;
            rusmi_process_wake(watch->proc);
        }
    }
    rusmi_lock_give(&pool->fds_lock);
}

/* Whether the process's watch has become ready. */
static bool is_ready(rusm_pool *pool, const struct rusmi_fd_watch *watch)
{
    bool ready;

    rusmi_lock_take(&pool->fds_lock);
    ready = watch->ready;
    rusmi_lock_give(&pool->fds_lock);
    return ready;
}

static rusm_err wait_ready(struct rusmi_process *self, const struct rusmi_fd_watch *watch,
                           rusm_time deadline)
{
    for (;;) {
        rusmi_process_attend(self);
        if (is_ready(self->pool, watch)) {
            return RUSM_OK;
        }
        if (rusmi_process_killed(self)) {
            return RUSM_EKILLED;
        }
        if (rusmi_clock_now() >= deadline) {
            return rusm_set_err_detail(RUSM_ETIMEOUT, "descriptor %d did not become ready in time",
                                       watch->fd);
        }
        rusmi_process_suspend(self, RUSM_PROCESS_WAITING, deadline);
    }
}

rusm_err rusm_wait_fd(int fd, unsigned events, int64_t timeout_ms)
{
    struct rusmi_process *self = rusmi_process_self();
    struct rusmi_fd_watch *watch;
    rusm_pool *pool;
    rusm_err err;

    if (self == NULL) {
        return rusm_set_err_detail(RUSM_ENOCONTEXT, "%s", rusm_err_text(RUSM_ENOCONTEXT));
    }
    if (fd < 0 || events == 0 || (events & ~(RUSM_FD_READ | RUSM_FD_WRITE)) != 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "nothing to wait for on descriptor %d", fd);
    }
    rusmi_checkpoint();
    pool = self->pool;
    if (pool->kit != NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "a pool of the test kit has no descriptors");
    }
    rusmi_lock_take(&pool->fds_lock);
    if (find(pool, fd) != NULL) {
        err = rusm_set_err_detail(RUSM_EINVAL, "somebody waits for descriptor %d already", fd);
    } else {
        err = add(pool, fd, events, true, &watch);
    }
    if (err == RUSM_OK) {
        watch->proc = self;
    }
    rusmi_lock_give(&pool->fds_lock);
    if (err != RUSM_OK) {
        return err;
    }
    err = wait_ready(self, watch, rusmi_deadline(timeout_ms));
    rusmi_lock_take(&pool->fds_lock);
    drop(pool, watch);
    rusmi_lock_give(&pool->fds_lock);
    rusmi_process_work(self, 1);
    if (err == RUSM_EKILLED) {
        rusmi_checkpoint();
    }
    return err;
}
