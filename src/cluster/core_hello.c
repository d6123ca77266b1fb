/* SPDX-License-Identifier: MIT */
/*
 * The rules that a hello must keep (docs/wire.md, "Hello, accept, ready"), in their order: which
 * version is spoken, who the peer says it is, and whether that is possible beside what this node
 * knows. The first that is broken closes the conn with its own code.
 */
#include "cluster/core_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The highest version that both speak; 0 if there is none. */
static uint32_t common_version(const struct rusmi_core *core, const struct rusmi_hello *hello)
{
    uint32_t best = 0;

    for (size_t i = 0; i < hello->versions_len; i++) {
        uint32_t version = hello->versions[i];

        if (version >= RUSMI_PROTOCOL_VERSION_MIN && version <= core->cfg.version_max &&
            version > best) {
            best = version;
        }
    }
    return best;
}

/* What a hello offers, for people: "3, 2, 1". */
static void list_versions(const struct rusmi_hello *hello, char *buf, size_t buf_len)
{
    size_t len = 0;

    for (size_t i = 0; i < hello->versions_len && len < buf_len; i++) {
        len += (size_t)snprintf(buf + len, buf_len - len, "%s%" PRIu32, i == 0 ? "" : ", ",
                                hello->versions[i]);
    }
}

/* The rules about who a peer says it is; closes the conn and returns false on the first broken. */
static bool hello_identity(struct rusmi_core *core, struct conn *conn,
                           const struct rusmi_hello *hello, rusm_time now,
                           struct rusmi_actions *out)
{
    conn->version = common_version(core, hello);
    if (conn->version == 0) {
        char offered[RUSMI_VERSIONS_MAX * 12];

        list_versions(hello, offered, sizeof(offered));
        rusmi_conn_close(core, conn, RUSMI_CLOSE_VERSION, RUSMI_DOWN_REFUSED, now, out,
                         "\"%s\" speaks protocol version %s, \"%s\" speaks %u to %" PRIu32,
                         hello->name, offered, core->name, RUSMI_PROTOCOL_VERSION_MIN,
                         core->cfg.version_max);
        return false;
    }
    if (strcmp(hello->cluster, core->cluster) != 0) {
        rusmi_conn_close(core, conn, RUSMI_CLOSE_CLUSTER, RUSMI_DOWN_REFUSED, now, out,
                         "the hello is for cluster \"%s\", this is cluster \"%s\"", hello->cluster,
                         core->cluster);
        return false;
    }
    if (!conn->cert.shared && strcmp(hello->name, conn->cert.node) != 0) {
        rusmi_conn_close(core, conn, RUSMI_CLOSE_NAME, RUSMI_DOWN_REFUSED, now, out,
                         "the hello says \"%s\", the certificate is for \"%s\"", hello->name,
                         conn->cert.node);
        return false;
    }
    return true;
}

/* The rules about what this node knows already. */
static bool hello_unique(struct rusmi_core *core, struct conn *conn,
                         const struct rusmi_hello *hello, rusm_time now, struct rusmi_actions *out)
{
    bool our_name = strcmp(hello->name, core->name) == 0;
    bool members = !conn->hidden && core->cfg.role == RUSMI_ROLE_MEMBER;
    const struct conn *other;

    if (our_name && hello->incarnation == core->cfg.incarnation) {
        rusmi_conn_close(core, conn, RUSMI_CLOSE_SELF, RUSMI_DOWN_REFUSED, now, out,
                         "%s is the address of this node, \"%s\", itself", conn->address,
                         core->name);
        return false;
    }
    if (our_name && members) {
        rusmi_conn_close(core, conn, RUSMI_CLOSE_DUPLICATE_NAME, RUSMI_DOWN_REFUSED, now, out,
                         "\"%s\" is the name of both nodes (incarnations %" PRIx64 " and %" PRIx64
                         ")",
                         core->name, hello->incarnation, core->cfg.incarnation);
        return false;
    }
    if (conn->dialed && rusmi_mesh_is_apart(core, conn, hello->incarnation)) {
        rusmi_conn_close(core, conn, RUSMI_CLOSE_NORMAL, RUSMI_DOWN_DISCONNECTED, now, out,
                         "the link to \"%s\" was closed on purpose, and nobody has asked for it "
                         "since",
                         hello->name);
        return false;
    }
    other = rusmi_incarnation_find(core, hello->incarnation);
    if (hello->incarnation == core->cfg.incarnation ||
        (other != NULL && (conn->hidden || strcmp(other->name, hello->name) != 0))) {
        rusmi_conn_close(core, conn, RUSMI_CLOSE_INCARNATION, RUSMI_DOWN_REFUSED, now, out,
                         "\"%s\" has the incarnation %" PRIx64 ", which is \"%s\"'s", hello->name,
                         hello->incarnation, other != NULL ? other->name : core->name);
        return false;
    }
    return true;
}

bool rusmi_hello_accept(struct rusmi_core *core, struct conn *conn, const struct rusmi_hello *hello,
                        rusm_time now, struct rusmi_actions *out)
{
    return hello_identity(core, conn, hello, now, out) && hello_unique(core, conn, hello, now, out);
}
