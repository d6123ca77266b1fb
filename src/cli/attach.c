/* SPDX-License-Identifier: MIT */
#include "cli/attach.h"

#include "cli/identity.h"

#include <rusm/otp/driver.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PEERS_PAGE 16

/* A shared identity has no name of its own, and peers want one that nobody else has. */
static const char *own_name(const rusm_cert_info *info, char buf[RUSM_NAME_MAX + 1])
{
    char host[64] = "host";

    if (!info->shared) {
        return NULL;
    }
    if (gethostname(host, sizeof(host) - 1) != 0) {
        (void)snprintf(host, sizeof(host), "host");
    }
    (void)snprintf(buf, RUSM_NAME_MAX + 1, "rusm-%s-%ld", host, (long)getpid());
    return buf;
}

/* Our side: a runtime with one thread, and a node on it that nobody dials. */
static rusm_err start(struct rusmi_attach *attach, rusm_identity *identity)
{
    char buf[RUSM_NAME_MAX + 1];
    rusm_pool_config pool;
    rusm_runtime_config runtime;
    rusm_cert_info info;
    rusm_err err;

    rusm_identity_get_info(identity, &info);
    attach->role = info.role;
    rusm_pool_config_init(&pool);
    pool.threads = 1;
    err = rusm_pool_new(&attach->pool, &pool);
    if (err != RUSM_OK) {
        return err;
    }
    rusm_runtime_config_init(&runtime);
    runtime.pool = attach->pool;
    runtime.name = "rusm";
    err = rusm_runtime_new(&attach->runtime, &runtime);
    if (err != RUSM_OK) {
        return err;
    }
    err = rusm_node_bind(&attach->node, attach->runtime, own_name(&info, buf), "127.0.0.1:0",
                         identity);
    if (err == RUSM_OK) {
        err = rusm_thread_enter(attach->runtime, "rusm");
        attach->entered = err == RUSM_OK;
    }
    return err;
}

/* The incarnation of the peer, which every pid of it begins with. */
static rusm_err learn_peer(struct rusmi_attach *attach)
{
    rusm_peer_info info;
    uint64_t cursor = 0;
    ptrdiff_t got;

    do {
        got = rusm_peer_list(attach->node, &cursor, &info, 1);
        if (got > 0 && strcmp(info.name, attach->peer) == 0) {
            attach->incarnation = info.incarnation;
            return RUSM_OK;
        }
    } while (got > 0 && cursor != 0);
    if (got < 0) {
        return (rusm_err)got;
    }
    return rusm_set_err_detail(RUSM_ENOLINK, "%s closed the link at once", attach->peer);
}

static enum rusmi_exit connect_fail(const struct rusmi_attach *attach, rusm_err err)
{
    switch (rusmi_exit_code(err)) {
    case RUSMI_EXIT_REFUSED:
        return rusmi_fail(err);
    case RUSMI_EXIT_OK:
    case RUSMI_EXIT_FAILED:
    case RUSMI_EXIT_USAGE:
    case RUSMI_EXIT_NO_LINK:
    case RUSMI_EXIT_NOT_FOUND:
    case RUSMI_EXIT_TIMEOUT:
        break;
    }
    if (err == RUSM_EINVAL) {
        rusmi_say("--at: %s", rusm_err_detail());
        return RUSMI_EXIT_USAGE;
    }
    rusmi_say("cannot connect to %s: %s", attach->args->at, rusmi_detail_of(attach->args->at));
    return RUSMI_EXIT_NO_LINK;
}

enum rusmi_exit rusmi_attach_init(struct rusmi_attach *attach, const struct rusmi_args *args)
{
    rusm_identity *identity = NULL;
    rusm_err err;

    *attach = (struct rusmi_attach){.args = args};
    err = rusmi_identity_open(args->identity, NULL, &identity);
    if (err != RUSM_OK) {
        rusmi_say("--identity: %s", rusm_err_detail());
        return err == RUSM_EINVAL ? RUSMI_EXIT_USAGE : RUSMI_EXIT_FAILED;
    }
    err = start(attach, identity);
    rusm_identity_del(identity); /* the node holds it */
    if (err != RUSM_OK) {
        return rusmi_fail(err);
    }
    err = rusm_node_connect(attach->node, args->at, args->timeout_ms, attach->peer);
    if (err == RUSM_OK) {
        err = learn_peer(attach);
    }
    return err == RUSM_OK ? RUSMI_EXIT_OK : connect_fail(attach, err);
}

void rusmi_attach_fini(struct rusmi_attach *attach)
{
    if (attach->entered) {
        rusm_thread_leave();
    }
    rusm_node_del(attach->node);
    rusm_runtime_del(attach->runtime);
    rusm_pool_del(attach->pool);
    *attach = (struct rusmi_attach){.args = NULL};
}

/* ---- pids */

bool rusmi_attach_find(struct rusmi_attach *attach, const char *name, uint64_t incarnation,
                       rusm_peer_info *out_info)
{
    rusm_peer_info infos[PEERS_PAGE];
    uint64_t cursor = 0;
    ptrdiff_t got;

    do {
        got = rusm_remote_peer_list(attach->node, attach->peer, &cursor, infos, PEERS_PAGE,
                                    attach->args->timeout_ms);
        for (ptrdiff_t i = 0; i < got; i++) {
            if (name != NULL ? strcmp(infos[i].name, name) == 0
                             : infos[i].incarnation == incarnation) {
                *out_info = infos[i];
                return true;
            }
        }
    } while (got > 0 && cursor != 0);
    return false;
}

void rusmi_attach_format(struct rusmi_attach *attach, rusm_pid pid, char buf[RUSMI_PID_TEXT_MAX])
{
    rusm_peer_info info;

    if (pid.incarnation == attach->incarnation) {
        rusmi_pid_format(attach->peer, pid, buf);
    } else if (rusmi_attach_find(attach, NULL, pid.incarnation, &info)) {
        rusmi_pid_format(info.name, pid, buf);
    } else {
        rusmi_pid_format(NULL, pid, buf);
    }
}

enum rusmi_exit rusmi_attach_pid(struct rusmi_attach *attach, const char *text, rusm_pid *out_pid)
{
    struct rusmi_pid_text pid;
    uint64_t incarnation;

    if (!rusmi_pid_parse(text, &pid)) {
        rusmi_say("'%s' is no pid: <%s.1>, for instance", text, attach->peer);
        return RUSMI_EXIT_USAGE;
    }
    if (strcmp(pid.node, attach->peer) != 0 &&
        !(rusmi_pid_incarnation(pid.node, &incarnation) && incarnation == attach->incarnation)) {
        rusmi_say("%s is no process of node %s, which answers at %s: ask node %s itself", text,
                  attach->peer, attach->args->at, pid.node);
        return RUSMI_EXIT_NOT_FOUND;
    }
    *out_pid = (rusm_pid){attach->incarnation, pid.serial};
    return RUSMI_EXIT_OK;
}
