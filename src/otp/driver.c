/* SPDX-License-Identifier: MIT */
/*
 * Drivers: see rusm/otp/driver.h.
 *
 * `posts` counts what has been asked since the last run began. Who raises it from 0 puts the driver
 * into a list; who takes it from there runs it, and sets the count back to 0 if it has not changed
 * meanwhile, else puts it into the list again. So while the count is not 0, the driver is in one
 * list or in the hands of one thread. A post is always a read-modify-write, so that what was
 * written before it is seen by the run whose count it is in.
 *
 * Closing is a post that also sets the lowest bit: the thread that sees it tears the driver down
 * instead of running it. The poster must not touch the driver after that one operation.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "otp/sched.h"

#include <string.h>

#define POST_CLOSE 1u
#define POST_ONE   2u

struct rusm_driver {
    _Atomic uint32_t posts; /* POST_ONE each, with POST_CLOSE */
    _Atomic uint32_t ready; /* a descriptor was reported */
    rusm_pool *pool;
    struct rusmi_worker *_Atomic home; /* whose caches have what it needs: the last that ran it */
    rusm_runtime *runtime;
    struct rusmi_list node; /* in a list of posted drivers */
    rusm_driver_config cfg;
    char label[RUSM_NAME_MAX + 1];

    /* within run */
    struct rusmi_timer timer;
    rusm_time
        wanted; /* when the timer is wanted; 0: not. It may fire earlier, and is then set again */
    rusm_time armed; /* what the pool's timers have; 0: nothing */
};

void rusmi_drivers_init(struct rusmi_drivers *drivers)
{
    rusmi_lock_init(&drivers->lock);
    rusmi_list_init(&drivers->list);
    atomic_init(&drivers->len, 0);
    atomic_init(&drivers->taken, 0);
    drivers->put = 0;
}

void rusmi_drivers_fini(struct rusmi_drivers *drivers)
{
    rusmi_assert(rusmi_list_empty(&drivers->list));
    rusmi_lock_fini(&drivers->lock);
}

/* Returns how many were put in with it. From here on it may run, and be closed. */
static uint32_t put(struct rusmi_drivers *drivers, rusm_driver *driver)
{
    uint32_t count;

    rusmi_lock_take(&drivers->lock);
    rusmi_list_push(&drivers->list, &driver->node);
    (void)atomic_fetch_add(&drivers->len, 1);
    count = ++drivers->put;
    rusmi_lock_give(&drivers->lock);
    return count;
}

/* The worker that ran it last, if it is another than this one, and at work: what the driver needs
 * is in its caches, a link's state being most of what a message touches. NULL: none. */
static struct rusmi_worker *home_of(const rusm_driver *driver, const struct rusmi_worker *worker)
{
    struct rusmi_worker *home;

    if (worker == NULL || worker->pool != driver->pool || driver->pool->kit != NULL) {
        return NULL;
    }
    /* relaxed: whoever it is, it will do */
    home = atomic_load_explicit(&driver->home, memory_order_relaxed);
    return home == NULL || home == worker || atomic_load(&home->idle) != 0 ||
                   atomic_load(&home->hold) == RUSMI_HOLD_RELIEVED
               ? NULL
               : home;
}

/*
 * To the end of the list of the worker that ran it last, of the one that this is, or of the pool.
 */
static void enqueue(rusm_driver *driver)
{
    rusm_pool *pool = driver->pool;
    struct rusmi_worker *worker = rusmi_worker_self();
    struct rusmi_worker *home = home_of(driver, worker);

    if (home != NULL) {
        rusmi_sched_away(worker, home, put(&home->drivers, driver));
        /* It may have begun to idle, and looked at its list before. */
        if (atomic_load(&home->idle) != 0) {
            rusmi_sched_notify(pool);
        }
    } else if (worker != NULL && worker->pool == pool) {
        (void)put(&worker->drivers, driver);
    } else {
        (void)put(&pool->drivers, driver);
        rusmi_sched_notify(pool);
    }
}

void rusm_driver_post(rusm_driver *driver)
{
    if (atomic_fetch_add(&driver->posts, POST_ONE) == 0) {
        enqueue(driver);
    }
}

/* The driver lives as long as its timer is set: tear_down() takes it back first. */
static void timer_fired(struct rusmi_timer *timer)
{
    rusm_driver_post(rusmi_container(timer, rusm_driver, timer));
}

/*
 * Bring the pool's timers in line with what is wanted. A timer that is wanted later than it is set
 * is left: it fires early, the run finds nothing due, and sets it again. That spares moving it for
 * each packet of a busy link.
 */
static void arm(rusm_driver *driver, rusm_time now)
{
    if (driver->armed != 0 && driver->armed <= now) {
        driver->armed = 0; /* it has fired, or is about to: then the run comes anyway */
    }
    if (driver->wanted == 0 || (driver->armed != 0 && driver->armed <= driver->wanted)) {
        return;
    }
    /* Before: once it is set, the timer may fire, and another thread be in the run. */
    driver->armed = driver->wanted;
    rusmi_sched_set_timer(driver->pool, &driver->timer, driver->armed);
}

/* The last run. */
static void tear_down(rusm_driver *driver)
{
    rusm_runtime *rt = driver->runtime;
    rusm_pool *pool = driver->pool;
    rusm_driver_config cfg = driver->cfg;

    (void)rusmi_timers_cancel(&pool->timers, &driver->timer);
    rusmi_free(driver);
    (void)atomic_fetch_sub(&rt->drivers, 1);
    (void)atomic_fetch_sub(&pool->drivers_alive, 1);
    cfg.closed(cfg.arg);
}

/* Run one that was taken from the list. */
static void run(rusm_driver *driver, rusm_time now)
{
    uint32_t posts = atomic_load(&driver->posts);

    /* relaxed: see home_of; NULL on the watchdog's thread */
    atomic_store_explicit(&driver->home, rusmi_worker_self(), memory_order_relaxed);
    if ((posts & POST_CLOSE) == 0) {
        if (driver->wanted <= now) {
            driver->wanted = 0; /* this is the run that the timer was set for */
        }
        driver->cfg.run(driver->cfg.arg, now);
        arm(driver, now);
        if (atomic_compare_exchange_strong(&driver->posts, &posts, 0)) {
            return;
        }
    }
    if ((posts & POST_CLOSE) != 0) {
        tear_down(driver);
    } else {
        enqueue(driver);
    }
}

static rusm_driver *take(struct rusmi_drivers *drivers)
{
    struct rusmi_list *first;

    if (atomic_load(&drivers->len) == 0) {
        return NULL;
    }
    rusmi_lock_take(&drivers->lock);
    first = rusmi_list_pop(&drivers->list);
    if (first != NULL) {
        (void)atomic_fetch_sub(&drivers->len, 1);
        (void)atomic_fetch_add(&drivers->taken, 1);
    }
    rusmi_lock_give(&drivers->lock);
    return first == NULL ? NULL : rusmi_container(first, rusm_driver, node);
}

bool rusmi_drivers_run(struct rusmi_drivers *drivers, int most, rusm_time now)
{
    rusm_time until = UINT64_MAX;
    int count = 0;
    rusm_driver *driver;

    for (; count < most && now < until && (driver = take(drivers)) != NULL; count++) {
        if (now == 0 || count > 0) {
            now = rusm_now(); /* the driver before may have taken its time */
        }
        until = count == 0 ? now + RUSMI_DRIVERS_NS : until;
        run(driver, now);
    }
    return count > 0;
}

rusm_err rusm_driver_new(rusm_driver **out_driver, rusm_runtime *rt, const rusm_driver_config *cfg)
{
    rusm_driver *driver;

    if (out_driver == NULL || rt == NULL || cfg == NULL || cfg->size != sizeof(*cfg) ||
        cfg->run == NULL || cfg->closed == NULL ||
        (cfg->label != NULL && strlen(cfg->label) > RUSM_NAME_MAX)) {
        return rusm_set_err_detail(RUSM_EINVAL, "a driver needs a runtime and its functions");
    }
    if (atomic_load(&rt->stopping) != 0) {
        return rusm_set_err_detail(RUSM_ECLOSED, "runtime %s is stopping", rt->name);
    }
    driver = rusmi_zalloc(sizeof(*driver));
    if (driver == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    driver->pool = rt->pool;
    driver->runtime = rt;
    driver->cfg = *cfg;
    rusmi_list_init(&driver->node);
    driver->timer.fire = timer_fired;
    if (cfg->label != NULL) {
        memcpy(driver->label, cfg->label, strlen(cfg->label) + 1);
    }
    driver->cfg.label = driver->label;
    (void)atomic_fetch_add(&rt->drivers, 1);
    (void)atomic_fetch_add(&rt->pool->drivers_alive, 1);
    *out_driver = driver;
    return RUSM_OK;
}

void rusmi_driver_ready(rusm_driver *driver)
{
    atomic_store(&driver->ready, 1);
    rusm_driver_post(driver);
}

bool rusm_driver_take_ready(rusm_driver *driver)
{
    return atomic_load(&driver->ready) != 0 && atomic_exchange(&driver->ready, 0) != 0;
}

rusm_err rusm_driver_set_fd(rusm_driver *driver, int fd, unsigned events)
{
    return rusmi_fds_watch_driver(driver->pool, fd, events, driver);
}

void rusm_driver_set_timer(rusm_driver *driver, rusm_time at_ns)
{
    driver->wanted = at_ns;
    if (atomic_load(&driver->posts) == 0) {
        arm(driver, rusm_now()); /* before the first post: nobody else is in it */
    }
}

void rusm_driver_close(rusm_driver *driver)
{
    if (atomic_fetch_add(&driver->posts, POST_ONE | POST_CLOSE) == 0) {
        enqueue(driver);
    }
}
