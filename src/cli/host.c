/* SPDX-License-Identifier: MIT */
/*
 * rusm node start: a node as a host process. The main thread starts everything, waits for a signal
 * or for a failure, and takes everything down in the opposite order; each --connect is a process of
 * the node, which dials until it succeeds, has the node look for that address from then on, and
 * ends.
 *
 * Signals are blocked before the first thread exists, so that they reach only the descriptor that
 * the main thread waits for.
 */
#include "cli/commands.h"
#include "cli/identity.h"
#include "cli/json.h"
#include "cli/text.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <rusm/cluster.h>
#include <rusm/cluster/events.h>
#include <rusm/otp/driver.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define BACK_OFF_FIRST_MS 100
#define BACK_OFF_MAX_MS   5000
#define ATTEMPT_MS        5000
#define NS_PER_MS         1000000u
/* How often joined addresses are looked at for trouble, and of how many at a time it is told. */
#define LOOK_MS      1000
#define TROUBLES_MAX 64
/* What was accepted for other nodes has so long to be handed over when the node ends. */
#define LEAVE_MS 5000
/* The end of the certificate is looked at that often. */
#define WARN_EVERY_MS (6 * 3600 * 1000)

struct app {
    void *object;
    const rusm_app *app;
    void *state;
    bool started;
};

struct host {
    const struct rusmi_args *args;
    rusm_identity *identity;
    rusm_runtime *runtime;
    rusm_node *node;
    struct app *apps; /* as many as --load */
    struct dial *dials;
    int signal_fd;
    int failed_fd; /* an event: a dial has given up and has said why */
    /* The code of that dial. Written by one process before its event, read by the main thread after
     * it; a second failure changes nothing, because the compare-and-swap is from 0. */
    _Atomic int failed_code;
};

/* One --connect. */
struct dial {
    struct host *host;
    const char *address;
};

/* Print a line of the node's log. Lines of processes come whole, because stdio locks. */
static void tell(const struct host *host, const char *format, ...) RUSM_PRINTF(2, 3);

static void tell(const struct host *host, const char *format, ...)
{
    char line[1024], clean[2048];
    va_list list;

    va_start(list, format);
    (void)vsnprintf(line, sizeof(line), format, list);
    va_end(list);
    (void)rusmi_text_clean(line, clean, sizeof(clean));
    (void)printf("%s %s\n", rusm_node_name(host->node), clean);
}

/* ---- dialing */

/* Whether a later attempt may end otherwise. */
static bool may_work_later(rusm_err err)
{
    return err != RUSM_EAUTH && err != RUSM_EPROTO && err != RUSM_EINVAL && err != RUSM_ECERT;
}

/* A time between half and all of it, so that nodes that were started together do not dial together.
 */
static int64_t jitter(int64_t ms)
{
    uint32_t number = 0;

    if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number)) {
        return ms;
    }
    return ms / 2 + (int64_t)(number % (uint32_t)(ms / 2 + 1));
}

static void give_up(struct dial *dial, rusm_err err)
{
    enum rusmi_exit code = rusmi_exit_code(err);
    int none = 0;

    rusmi_say("cannot link to %s: %s", dial->address, rusmi_detail_of(dial->address));
    if (code != RUSMI_EXIT_REFUSED) {
        code = err == RUSM_EINVAL ? RUSMI_EXIT_USAGE : RUSMI_EXIT_NO_LINK;
    }
    (void)atomic_compare_exchange_strong(&dial->host->failed_code, &none, (int)code);
    (void)eventfd_write(dial->host->failed_fd, 1);
}

static void dial_main(void *arg)
{
    struct dial *dial = arg;
    int64_t limit_ms = dial->host->args->connect_timeout_ms, wait_ms = BACK_OFF_FIRST_MS;
    rusm_time begun = rusm_now();
    bool told = false;

    for (;;) {
        char peer[RUSM_NAME_MAX + 1];
        int64_t left_ms = limit_ms == RUSM_INFINITY
                              ? ATTEMPT_MS
                              : limit_ms - (int64_t)((rusm_now() - begun) / NS_PER_MS);
        rusm_err err = rusm_node_connect(NULL, dial->address,
                                         left_ms < 1            ? 1
                                         : left_ms < ATTEMPT_MS ? left_ms
                                                                : ATTEMPT_MS,
                                         peer);

        if (err == RUSM_OK) {
            tell(dial->host, "linked to %s at %s", peer, dial->address);
            err = rusm_node_join(NULL, dial->address);
            if (err != RUSM_OK && err != RUSM_ECLOSED) {
                give_up(dial, err);
            }
            return;
        }
        if (!may_work_later(err) || left_ms <= wait_ms) {
            give_up(dial, err);
            return;
        }
        if (!told) {
            told = true;
            rusmi_say("no link to %s yet: %s", dial->address, rusmi_detail_of(dial->address));
        }
        (void)!rusm_sleep(jitter(wait_ms));
        wait_ms = 2 * wait_ms < BACK_OFF_MAX_MS ? 2 * wait_ms : BACK_OFF_MAX_MS;
    }
}

static rusm_err start_joins(struct host *host)
{
    rusm_err err = RUSM_OK;

    for (size_t i = 0; err == RUSM_OK && i < host->args->join.len; i++) {
        const char *spec = host->args->join.items[i];

        err = rusm_node_join(host->node, spec);
        if (err != RUSM_OK) {
            char reason[256];

            (void)snprintf(reason, sizeof(reason), "%s", rusm_err_detail());
            err = rusm_set_err_detail(err, "--join %s: %s", spec, reason);
        }
    }
    return err;
}

static rusm_err start_dials(struct host *host)
{
    for (size_t i = 0; i < host->args->connect.len; i++) {
        rusm_spawn_config cfg;
        rusm_err err;

        host->dials[i] = (struct dial){host, host->args->connect.items[i]};
        rusm_spawn_config_init(&cfg);
        cfg.label = "connect";
        err = rusm_spawn_with(host->runtime, dial_main, &host->dials[i], &cfg, NULL);
        if (err != RUSM_OK) {
            return err;
        }
    }
    return RUSM_OK;
}

/* ---- who comes and goes */

/* Joined addresses whose trouble has been told, and not yet a link. */
struct troubles {
    char addresses[TROUBLES_MAX][RUSM_ADDRESS_MAX];
    size_t len;
};

static size_t find_trouble(const struct troubles *troubles, const char *address)
{
    size_t at = 0;

    while (at < troubles->len && strcmp(troubles->addresses[at], address) != 0) {
        at++;
    }
    return at;
}

/* Say once for each address that is joined and fails what is wrong, and again after a success. */
static void tell_troubles(struct troubles *troubles)
{
    rusm_wanted_info infos[8];
    uint64_t cursor = 0;

    do {
        ptrdiff_t len = rusm_wanted_list(NULL, &cursor, infos, 8);

        for (ptrdiff_t i = 0; i < len; i++) {
            size_t at = find_trouble(troubles, infos[i].address);

            if (infos[i].state == RUSM_WANTED_UP && at < troubles->len) {
                memmove(troubles->addresses[at], troubles->addresses[--troubles->len],
                        RUSM_ADDRESS_MAX);
            } else if (infos[i].joined && infos[i].state != RUSM_WANTED_SELF &&
                       infos[i].problem[0] != '\0' && at == troubles->len && at < TROUBLES_MAX) {
                memcpy(troubles->addresses[troubles->len++], infos[i].address, RUSM_ADDRESS_MAX);
                rusmi_say("no link to %s yet: %s", infos[i].address, infos[i].problem);
            }
        }
    } while (cursor != 0);
}

static void watch_main(void *arg)
{
    const struct host *host = arg;
    struct troubles *troubles = rusm_alloc(sizeof(*troubles));
    rusm_err err = RUSM_OK;

    if (troubles == NULL || rusm_monitor_nodes(true) != RUSM_OK) {
        return;
    }
    troubles->len = 0;
    while (err == RUSM_OK || err == RUSM_ETIMEOUT) {
        const rusm_node_event *event;
        rusm_msg *msg;

        err = rusm_receive(&msg, host->args->join.len != 0 ? LOOK_MS : RUSM_INFINITY);
        if (err != RUSM_OK) {
            tell_troubles(troubles);
            continue;
        }
        event = rusm_msg_node_event(msg);
        if (event != NULL && event->up) {
            tell(host, "node-up %s", event->node);
        } else if (event != NULL) {
            /* "tokyo: time-out, ..." says who it is about, "asked to close the link" does not. */
            bool named = strncmp(event->text, event->node, strlen(event->node)) == 0;

            tell(host, "node-down %s%s%s", named ? "" : event->node, named ? "" : ": ",
                 event->text);
        }
        rusm_msg_del(msg);
    }
}

/* Before anything can come up. */
static rusm_err start_watch(struct host *host)
{
    rusm_spawn_config cfg;

    rusm_spawn_config_init(&cfg);
    cfg.label = "nodes";
    return rusm_spawn_with(host->runtime, watch_main, host, &cfg, NULL);
}

/* ---- applications */

/* A name without a slash is a file of this folder; dlopen(3) would look where libraries are. */
static void *open_object(const char *path)
{
    char here[4096];

    if (strchr(path, '/') == NULL &&
        snprintf(here, sizeof(here), "./%s", path) < (int)sizeof(here)) {
        path = here;
    }
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

static rusm_err load_app(struct app *app, const char *path)
{
    const rusm_app *(*entry)(void);

    app->object = open_object(path);
    if (app->object == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "--load: %s", dlerror());
    }
    /* ISO C has no cast from void * to a function; POSIX promises that this works. */
    *(void **)&entry = dlsym(app->object, RUSM_APP_ENTRY);
    if (entry == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL,
                                   "--load: %s has no function %s: it is no "
                                   "application",
                                   path, RUSM_APP_ENTRY);
    }
    app->app = entry();
    if (app->app == NULL || app->app->abi != RUSM_APP_ABI) {
        return rusm_set_err_detail(RUSM_EINVAL, "--load: %s was built for layout %u, not for %u",
                                   path, app->app == NULL ? 0 : app->app->abi, RUSM_APP_ABI);
    }
    if (app->app->start == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "--load: %s has nothing to start", path);
    }
    return RUSM_OK;
}

static rusm_err load_apps(struct host *host)
{
    rusm_err err = RUSM_OK;

    for (size_t i = 0; err == RUSM_OK && i < host->args->load.len; i++) {
        err = load_app(&host->apps[i], host->args->load.items[i]);
    }
    return err;
}

static rusm_err start_apps(struct host *host)
{
    rusm_err err = rusm_thread_enter(host->runtime, "start");

    for (size_t i = 0; err == RUSM_OK && i < host->args->load.len; i++) {
        struct app *app = &host->apps[i];
        const char *name = app->app->name != NULL ? app->app->name : host->args->load.items[i];

        err = app->app->start(host->node, &app->state);
        app->started = err == RUSM_OK;
        if (err == RUSM_OK) {
            tell(host, "runs %s %s", name, app->app->version != NULL ? app->app->version : "");
        } else {
            char reason[256];

            (void)snprintf(reason, sizeof(reason), "%s", rusm_err_detail());
            err = rusm_set_err_detail(err, "%s did not start: %s", name, reason);
        }
    }
    if (err != RUSM_OK) {
        rusmi_say("%s", rusm_err_detail()); /* leaving may change it */
    }
    rusm_thread_leave();
    return err;
}

/* ---- certificates */

/* Say so when the certificate has come to the last tenth of its time. */
static void warn_of_end(const struct host *host)
{
    int64_t now_s = (int64_t)time(NULL);
    rusm_node_trust trust;
    char date[RUSMI_TEXT_SHORT];

    if (rusm_node_get_trust(host->node, &trust) != RUSM_OK ||
        (trust.own.not_after - now_s) > (trust.own.not_after - trust.own.not_before) / 10) {
        return;
    }
    rusmi_text_date(trust.own.not_after, date);
    tell(host, "its certificate %s on %s: renew it, then rusm node reload",
         trust.own.not_after < now_s ? "ended" : "ends", date);
}

/* Read the identity again: rusm_reload_fn, and what SIGHUP does. */
static rusm_err reload(rusm_node *node, void *arg)
{
    const struct host *host = arg;
    rusm_identity *identity = NULL;
    rusm_err err = rusmi_identity_open(host->args->identity, host->args->name, &identity);
    rusm_node_trust trust;
    char date[RUSMI_TEXT_SHORT], reason[1024];

    if (err == RUSM_OK) {
        err = rusm_node_reload(node, identity);
    }
    rusm_identity_del(identity);
    if (err == RUSM_OK) {
        err = rusm_node_get_trust(node, &trust);
    }
    if (err != RUSM_OK) {
        (void)snprintf(reason, sizeof(reason), "%s", rusm_err_detail());
        tell(host, "did not reload, and goes on as before: %s", reason);
        return rusm_set_err_detail(err, "%s", reason);
    }
    rusmi_text_date(trust.own.not_after, date);
    tell(host, "reloaded: certificate until %s, CAs %zu, revocation lists %zu", date,
         trust.anchors_len, trust.crls_len);
    return RUSM_OK;
}

/* ---- the node */

static rusm_err bind_node(struct host *host)
{
    const struct rusmi_args *args = host->args;
    rusm_runtime_config runtime;
    rusm_node_config node;
    rusm_cert_info info;
    rusm_err err = rusmi_identity_open(args->identity, args->name, &host->identity);

    if (err != RUSM_OK) {
        return err;
    }
    rusm_identity_get_info(host->identity, &info);
    if (info.role != RUSM_ROLE_MEMBER) {
        return rusm_set_err_detail(RUSM_EPERM, "%s is an %s: a node needs a member's certificate",
                                   info.node, rusm_role_name(info.role));
    }
    rusm_runtime_config_init(&runtime);
    runtime.name = args->name != NULL ? args->name : info.node;
    err = rusm_runtime_new(&host->runtime, &runtime);
    if (err != RUSM_OK) {
        return err;
    }
    rusm_node_config_init(&node);
    node.identity = host->identity;
    node.listen = args->listen;
    if (args->tick_ms != 0) {
        node.tick_ms = (uint32_t)args->tick_ms;
    }
    node.memory_max = args->memory_max << 20;
    node.advertise = args->advertise;
    node.mesh = !args->no_mesh;
    node.crl_strict = args->crl_strict;
    err = rusm_node_bind_with(&host->node, host->runtime, args->name, &node);
    return err == RUSM_OK ? rusm_node_on_reload(host->node, reload, host) : err;
}

/* The signals that mean something to a node: the end, or (SIGHUP) to reload. */
static void end_signals(sigset_t *out_set)
{
    (void)sigemptyset(out_set);
    (void)sigaddset(out_set, SIGINT);
    (void)sigaddset(out_set, SIGTERM);
    (void)sigaddset(out_set, SIGHUP);
}

static rusm_err open_descriptors(struct host *host)
{
    sigset_t set;

    end_signals(&set);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN); /* a node goes on when nobody reads its log */
    host->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
    host->failed_fd = eventfd(0, EFD_CLOEXEC);
    if (host->signal_fd < 0 || host->failed_fd < 0) {
        return rusm_set_err_detail(RUSM_ESYS, "no descriptor for signals: %s", strerror(errno));
    }
    return RUSM_OK;
}

/* Tell the world that the node is there. */
static rusm_err report_ready(const struct host *host)
{
    const struct rusmi_args *args = host->args;
    char line[RUSM_ADDRESS_MAX + 1];
    struct rusmi_json json;
    size_t len;

    if (args->json) {
        rusmi_json_init(&json, stdout);
        rusmi_json_begin_object(&json, NULL);
        rusmi_json_text(&json, "node", rusm_node_name(host->node));
        rusmi_json_text(&json, "address", rusm_node_address(host->node));
        rusmi_json_text(&json, "cluster", rusm_node_cluster(host->node));
        rusmi_json_integer(&json, "os_pid", (int64_t)getpid());
        rusmi_json_end(&json);
    } else {
        tell(host, "ready at %s, cluster %s", rusm_node_address(host->node),
             rusm_node_cluster(host->node));
    }
    if (args->ready_fd < 0) {
        return RUSM_OK;
    }
    len = (size_t)snprintf(line, sizeof(line), "%s\n", rusm_node_address(host->node));
    if (write((int)args->ready_fd, line, len) != (ssize_t)len) {
        return rusm_set_err_detail(RUSM_ESYS, "--ready-fd %d: %s", (int)args->ready_fd,
                                   strerror(errno));
    }
    (void)close((int)args->ready_fd);
    return RUSM_OK;
}

/* From here on a signal ends the OS process at once: processes that never pause could hold us for
 * ever. */
static void unblock_signals(void)
{
    sigset_t set;

    end_signals(&set);
    (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* Wait for a signal or a failure. Below 0: poll(2) failed. */
static int wait_event(const struct host *host)
{
    struct pollfd fds[2] = {{.fd = host->signal_fd, .events = POLLIN},
                            {.fd = host->failed_fd, .events = POLLIN}};
    int got;

    do {
        warn_of_end(host);
        got = poll(fds, 2, WARN_EVERY_MS);
    } while (got == 0 || (got < 0 && errno == EINTR));
    return got;
}

/* Wait until somebody wants the node to end; returns the exit code. */
static enum rusmi_exit wait_end(struct host *host)
{
    struct signalfd_siginfo info;
    ssize_t got;
    int code;

    do {
        if (wait_event(host) < 0) {
            rusmi_say("poll: %s", strerror(errno));
            return RUSMI_EXIT_FAILED;
        }
        code = atomic_load(&host->failed_code);
        if (code != 0) {
            return (enum rusmi_exit)code;
        }
        got = read(host->signal_fd, &info, sizeof(info));
        if (got == (ssize_t)sizeof(info) && info.ssi_signo == SIGHUP) {
            (void)!reload(host->node, host); /* it has said what failed */
        }
    } while (got == (ssize_t)sizeof(info) && info.ssi_signo == SIGHUP);
    if (got == (ssize_t)sizeof(info)) {
        tell(host, "stops: %s", strsignal((int)info.ssi_signo));
        unblock_signals();
        (void)!rusm_node_leave(host->node, LEAVE_MS); /* what is late is lost with the node */
    }
    return RUSMI_EXIT_OK;
}

static void host_fini(struct host *host)
{
    rusm_node_del(host->node); /* ends its processes first */
    for (size_t i = host->apps == NULL ? 0 : host->args->load.len; i > 0; i--) {
        struct app *app = &host->apps[i - 1];

        if (app->started && app->app->stop != NULL) {
            app->app->stop(app->state);
        }
    }
    rusm_runtime_del(host->runtime);
    for (size_t i = host->apps == NULL ? 0 : host->args->load.len; i > 0; i--) {
        if (host->apps[i - 1].object != NULL) {
            (void)dlclose(host->apps[i - 1].object);
        }
    }
    rusm_identity_del(host->identity);
    free(host->apps);
    free(host->dials);
    if (host->signal_fd >= 0) {
        (void)close(host->signal_fd);
    }
    if (host->failed_fd >= 0) {
        (void)close(host->failed_fd);
    }
}

/* All that must work before the node is ready; what failed has been said. */
static enum rusmi_exit host_start(struct host *host)
{
    const struct rusmi_args *args = host->args;
    rusm_err err = open_descriptors(host);

    host->apps = calloc(args->load.len + 1, sizeof(*host->apps));
    host->dials = calloc(args->connect.len + 1, sizeof(*host->dials));
    if (host->apps == NULL || host->dials == NULL) {
        err = rusm_set_err_detail(RUSM_ENOMEM, "%s", rusm_err_text(RUSM_ENOMEM));
    }
    if (err == RUSM_OK) {
        err = load_apps(host);
    }
    if (err == RUSM_OK) {
        err = bind_node(host);
    }
    if (err == RUSM_OK) {
        err = start_watch(host);
    }
    if (err != RUSM_OK) {
        return rusmi_fail(err);
    }
    err = start_apps(host);
    if (err != RUSM_OK) {
        return rusmi_exit_code(err);
    }
    err = report_ready(host);
    if (err == RUSM_OK) {
        err = start_joins(host);
    }
    if (err == RUSM_OK) {
        err = start_dials(host);
    }
    return err == RUSM_OK ? RUSMI_EXIT_OK : rusmi_fail(err);
}

enum rusmi_exit rusmi_run_node_start(const struct rusmi_args *args)
{
    struct host host = {.args = args, .signal_fd = -1, .failed_fd = -1};
    enum rusmi_exit code;

    (void)setvbuf(stdout, NULL, _IOLBF, 0); /* the log is read while it is written */
    code = host_start(&host);
    if (code == RUSMI_EXIT_OK) {
        code = wait_end(&host);
    }
    unblock_signals();
    host_fini(&host);
    return code;
}
