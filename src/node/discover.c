/* SPDX-License-Identifier: MIT */
/*
 * Discovery: from specs to addresses that the core looks for (cluster/core_mesh.c).
 *
 * A spec keeps the addresses that it has told the core. A look makes a new list, and the difference
 * goes to the core: so two specs may name one address, and each takes back only its own wish. A
 * look that fails changes nothing, because a name server that is away must not take a cluster
 * apart.
 *
 * Threads: a spec's source is looked at by its own process only; what others see of it is under
 * node->lock. Specs live until the node ends, and with them what the process uses.
 */
#include "node/discover.h"

#include <rusm/cluster/membership.h>
#include <rusm/otp/blocking.h>

#include "base/mem.h"
#include "node/addresses.h"
#include "node/resolve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SRVS_MAX 64

_Static_assert(sizeof(((rusm_wanted_info *)0)->problem) == RUSMI_PROBLEM_MAX,
               "a problem fits as it is");

enum source {
    SOURCE_LIST,
    SOURCE_FILE,
    SOURCE_DNS,
    SOURCE_SRV,
};

struct join {
    struct rusmi_list in_node; /* under node->lock */
    rusm_node *node;
    char spec[RUSM_JOIN_SPEC_MAX + 1];
    enum source source;
    const char *what; /* inside spec: the list, the path, the name */
    char host[256];   /* SOURCE_DNS */
    uint16_t port;

    /* the process's own */
    struct timespec file_time;
    off_t file_size;
    ino_t file_inode;
    bool file_read;
    struct rusmi_addresses next;

    /* under node->lock */
    struct rusmi_addresses now;
    uint64_t looks;
    char problem[256];
    char read_problem[256]; /* of a file: what was wrong with it when it was read */
};

/* ---- texts ----------------------------------------------------------------------------------- */

/* "name:port" */
static bool read_host(const char *text, char *host, size_t host_len, uint16_t *out_port)
{
    const char *colon = strrchr(text, ':');
    unsigned long port;
    char *end;

    if (colon == NULL || colon == text || (size_t)(colon - text) >= host_len || colon[1] < '0' ||
        colon[1] > '9') {
        return false;
    }
    port = strtoul(colon + 1, &end, 10);
    if (*end != '\0' || port < 1 || port > 65535) {
        return false;
    }
    (void)snprintf(host, host_len, "%.*s", (int)(colon - text), text);
    *out_port = (uint16_t)port;
    return true;
}

static bool begins(const char *text, const char *with, const char **out_rest)
{
    size_t len = strlen(with);

    *out_rest = text + len;
    return strncmp(text, with, len) == 0;
}

static rusm_err read_spec(struct join *join, const char *spec)
{
    if (strlen(spec) > RUSM_JOIN_SPEC_MAX) {
        return rusm_set_err_detail(RUSM_EINVAL, "a spec has at most %d bytes", RUSM_JOIN_SPEC_MAX);
    }
    memcpy(join->spec, spec, strlen(spec) + 1);
    if (begins(join->spec, "file:", &join->what)) {
        join->source = SOURCE_FILE;
        return join->what[0] != '\0' ? RUSM_OK
                                     : rusm_set_err_detail(RUSM_EINVAL, "file: and no path");
    }
    if (begins(join->spec, "dns:", &join->what)) {
        join->source = SOURCE_DNS;
        return read_host(join->what, join->host, sizeof(join->host), &join->port)
                   ? RUSM_OK
                   : rusm_set_err_detail(RUSM_EINVAL, "%s is not dns:NAME:PORT", spec);
    }
    if (begins(join->spec, "srv:", &join->what)) {
        join->source = SOURCE_SRV;
        return join->what[0] != '\0' ? RUSM_OK
                                     : rusm_set_err_detail(RUSM_EINVAL, "srv: and no name");
    }
    join->source = SOURCE_LIST;
    join->what = join->spec;
    if (!rusmi_addresses_read(&join->next, join->what, strlen(join->what), false)) {
        return RUSM_EINVAL;
    }
    if (join->next.more) {
        return rusm_set_err_detail(RUSM_EFULL, "a spec has at most %d addresses",
                                   RUSM_JOIN_ADDRESSES_MAX);
    }
    return join->next.len != 0 ? RUSM_OK
                               : rusm_set_err_detail(RUSM_EINVAL, "a spec with no address");
}

/* ---- looking --------------------------------------------------------------------------------- */

/* What a look came to. */
enum look {
    LOOK_SAME, /* as before, or nothing could be learnt */
    LOOK_NEW,  /* join->next is the list */
};

static enum look look_at_file(struct join *join)
{
    struct stat now;
    FILE *file;
    char *text;
    size_t len;
    int rc;

    if (stat(join->what, &now) != 0) {
        (void)rusm_set_err_detail(RUSM_ESYS, "%s: %s", join->what, strerror(errno));
        return LOOK_SAME;
    }
    if (join->file_read && now.st_size == join->file_size && now.st_ino == join->file_inode &&
        now.st_mtim.tv_sec == join->file_time.tv_sec &&
        now.st_mtim.tv_nsec == join->file_time.tv_nsec) {
        (void)rusm_set_err_detail(RUSM_OK, "%s", join->read_problem);
        return LOOK_SAME;
    }
    text = rusmi_alloc(RUSMI_ADDRESSES_TEXT_MAX + 1);
    file = text == NULL ? NULL : fopen(join->what, "re");
    if (file == NULL) {
        (void)rusm_set_err_detail(RUSM_ESYS, "%s: %s", join->what,
                                  strerror(text == NULL ? ENOMEM : errno));
        rusmi_free(text);
        return LOOK_SAME;
    }
    len = fread(text, 1, RUSMI_ADDRESSES_TEXT_MAX + 1, file);
    rc = ferror(file);
    (void)fclose(file);
    if (rc != 0) {
        (void)rusm_set_err_detail(RUSM_ESYS, "%s can not be read", join->what);
        rusmi_free(text);
        return LOOK_SAME;
    }
    /* A change that falls between stat and read is seen at the next look: the times differ then. */
    join->file_time = now.st_mtim;
    join->file_size = now.st_size;
    join->file_inode = now.st_ino;
    join->file_read = true;
    /* What is wrong is in the detail. */
    (void)rusmi_addresses_read(&join->next, text, len, true);
    (void)snprintf(join->read_problem, sizeof(join->read_problem), "%s", rusm_err_detail());
    rusmi_free(text);
    return LOOK_NEW;
}

static enum look look_at_host(struct join *join, const char *host, uint16_t port)
{
    struct rusmi_address found[RUSM_JOIN_ADDRESSES_MAX];
    size_t len;

    if (rusmi_resolve_host(host, port, found, RUSM_JOIN_ADDRESSES_MAX, &len) != RUSM_OK) {
        return LOOK_SAME;
    }
    for (size_t i = 0; i < len; i++) {
        rusmi_addresses_add(&join->next, &found[i]);
    }
    return LOOK_NEW;
}

/* Every host of the records must be found: half a list would look as if the other half had gone. */
static enum look look_at_srv(struct join *join)
{
    struct rusmi_srv srvs[SRVS_MAX];
    size_t len;

    if (rusmi_resolve_srv(join->what, srvs, SRVS_MAX, &len) != RUSM_OK) {
        return LOOK_SAME;
    }
    for (size_t i = 0; i < len; i++) {
        if (look_at_host(join, srvs[i].host, srvs[i].port) == LOOK_SAME) {
            return LOOK_SAME;
        }
    }
    return LOOK_NEW;
}

/* Tell the core what came and went. Under node->lock. */
static rusm_err tell(struct join *join, rusm_time now, struct rusmi_actions *actions)
{
    rusm_node *node = join->node;
    rusm_err err = RUSM_OK;

    for (size_t i = 0; i < join->now.len; i++) {
        if (!rusmi_addresses_has(&join->next, join->now.text[i])) {
            rusmi_core_unwant(node->core, join->now.text[i], now, actions);
        }
    }
    for (size_t i = 0; i < join->next.len && err == RUSM_OK; i++) {
        if (!rusmi_addresses_has(&join->now, join->next.text[i])) {
            err = rusmi_core_want(node->core, join->next.text[i], now, actions);
            if (err == RUSM_EINVAL) {
                err = RUSM_OK; /* this node itself */
            }
            if (err != RUSM_OK) {
                join->next.len = i; /* the rest is new again at the next look */
                join->file_read = false;
                (void)rusm_set_err_detail(err, "%s: %s", join->next.text[i], rusm_err_text(err));
            }
        }
    }
    join->now = join->next;
    return err;
}

static void look(struct join *join)
{
    rusm_node *node = join->node;
    struct rusmi_actions actions;
    enum look found = LOOK_SAME;

    join->next.len = 0;
    join->next.more = false;
    (void)rusm_set_err_detail(RUSM_OK, "%s", "");
    switch (join->source) {
    case SOURCE_LIST:
        return;
    case SOURCE_FILE:
        found = look_at_file(join);
        break;
    case SOURCE_DNS:
        found = look_at_host(join, join->host, join->port);
        break;
    case SOURCE_SRV:
        found = look_at_srv(join);
        break;
    }
    if (join->next.more) {
        (void)rusm_set_err_detail(RUSM_EFULL, "more than %d addresses", RUSM_JOIN_ADDRESSES_MAX);
    }
    rusmi_actions_init(&actions);
    rusmi_lock_take(&node->lock);
    if (found == LOOK_NEW) {
        (void)!tell(join, rusm_now(), &actions); /* what failed is in the detail */
    }
    join->looks++;
    (void)snprintf(join->problem, sizeof(join->problem), "%s", rusm_err_detail());
    rusmi_node_finish(node, &actions);
}

static void discover(void *arg)
{
    struct join *join = arg;

    do {
        look(join);
    } while (rusm_sleep(join->node->cfg.discover_ms) == RUSM_OK);
}

/* ---- specs ----------------------------------------------------------------------------------- */

/* Take the wishes of a spec back that could not be kept as a whole. Under node->lock. */
static void untell(struct join *join, rusm_time now, struct rusmi_actions *actions)
{
    join->next.len = 0;
    (void)!tell(join, now, actions); /* there is nothing to be wanted */
}

/* Into the node's list; a static list is told to the core at once. */
static rusm_err enlist(struct join *join)
{
    rusm_node *node = join->node;
    struct rusmi_actions actions;
    rusm_err err = RUSM_OK;

    rusmi_actions_init(&actions);
    rusmi_lock_take(&node->lock);
    if (node->closing) {
        err = RUSM_ECLOSED;
    } else if (node->joins_len == RUSM_JOINS_MAX) {
        err = RUSM_EFULL;
    } else if (join->source == SOURCE_LIST) {
        err = tell(join, rusm_now(), &actions);
        join->looks = 1;
        if (err != RUSM_OK) {
            untell(join, rusm_now(), &actions);
        }
    }
    if (err == RUSM_OK) {
        rusmi_list_push(&node->joins, &join->in_node);
        node->joins_len++;
    }
    rusmi_node_finish(node, &actions);
    return err == RUSM_OK ? RUSM_OK : rusm_set_err_detail(err, "%s", rusm_err_text(err));
}

static void delist(struct join *join)
{
    rusm_node *node = join->node;

    rusmi_lock_take(&node->lock);
    rusmi_list_remove(&join->in_node);
    node->joins_len--;
    rusmi_lock_give(&node->lock);
}

rusm_err rusm_node_join(rusm_node *node, const char *spec)
{
    rusm_spawn_config cfg;
    struct join *join;
    rusm_err err;

    node = rusmi_node_resolve(node);
    if (node == NULL) {
        return RUSM_ENOCONTEXT;
    }
    if (spec == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "nothing to join was named");
    }
    join = rusmi_zalloc(sizeof(*join));
    if (join == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    join->node = node;
    rusmi_list_init(&join->in_node);
    err = read_spec(join, spec);
    if (err == RUSM_OK) {
        err = enlist(join);
    }
    if (err == RUSM_OK && join->source != SOURCE_LIST) {
        rusm_spawn_config_init(&cfg);
        cfg.label = "discover";
        err = rusm_spawn_blocking(node->runtime, discover, join, &cfg, NULL);
        if (err != RUSM_OK) {
            delist(join);
        }
    }
    if (err != RUSM_OK) {
        rusmi_free(join);
    }
    return err;
}

ptrdiff_t rusm_join_list(rusm_node *node, rusm_join_info *infos, size_t infos_max)
{
    size_t len = 0;

    node = rusmi_node_resolve(node);
    if (node == NULL) {
        return RUSM_ENOCONTEXT;
    }
    if (infos == NULL || infos_max == 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "a list needs room for records");
    }
    rusmi_lock_take(&node->lock);
    for (const struct rusmi_list *n = node->joins.next; n != &node->joins && len < infos_max;
         n = n->next) {
        const struct join *join = rusmi_container(n, struct join, in_node);
        rusm_join_info *info = &infos[len++];

        memcpy(info->spec, join->spec, sizeof(info->spec));
        info->addresses = (uint32_t)join->now.len;
        info->looks = join->looks;
        memcpy(info->problem, join->problem, sizeof(info->problem));
    }
    rusmi_lock_give(&node->lock);
    return (ptrdiff_t)len;
}

static void fill_wanted(const struct rusmi_core_wanted *wanted, rusm_wanted_info *info,
                        rusm_time now)
{
    *info = (rusm_wanted_info){.joined = wanted->configured,
                               .state = wanted->self      ? RUSM_WANTED_SELF
                                        : wanted->up      ? RUSM_WANTED_UP
                                        : wanted->dialing ? RUSM_WANTED_DIALING
                                                          : RUSM_WANTED_WAITING,
                               .failures = wanted->failures,
                               .next_ms = -1,
                               .err = wanted->err};
    if (wanted->next != RUSMI_TIME_NEVER) {
        info->next_ms = wanted->next > now ? (int64_t)((wanted->next - now) / 1000000) : 0;
    }
    (void)snprintf(info->address, sizeof(info->address), "%s", wanted->address);
    (void)snprintf(info->node, sizeof(info->node), "%s", wanted->name);
    (void)snprintf(info->problem, sizeof(info->problem), "%s", wanted->problem);
}

ptrdiff_t rusm_wanted_list(rusm_node *node, uint64_t *cursor, rusm_wanted_info *infos,
                           size_t infos_max)
{
    enum {
        STEP = 32
    };
    struct rusmi_core_wanted wanteds[STEP];
    size_t done = 0, got;

    node = rusmi_node_resolve(node);
    if (node == NULL) {
        return RUSM_ENOCONTEXT;
    }
    if (cursor == NULL || infos == NULL || infos_max == 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "a list needs a cursor and room for records");
    }
    do {
        size_t want = infos_max - done < STEP ? infos_max - done : STEP;
        rusm_time now = rusm_now();

        rusmi_lock_take(&node->lock);
        got = rusmi_core_list_wanted(node->core, cursor, wanteds, want);
        for (size_t i = 0; i < got; i++) {
            fill_wanted(&wanteds[i], &infos[done + i], now);
        }
        rusmi_lock_give(&node->lock);
        done += got;
    } while (*cursor != 0 && got != 0 && done < infos_max);
    return (ptrdiff_t)done;
}

void rusmi_joins_fini(rusm_node *node)
{
    struct rusmi_list *first;

    while ((first = rusmi_list_pop(&node->joins)) != NULL) {
        /* Its process has ended with the runtime. */
        rusmi_free(rusmi_container(first, struct join, in_node));
    }
}
