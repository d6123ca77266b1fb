/* SPDX-License-Identifier: MIT */
#include "node/reload.h"

#include "base/mem.h"
#include "node/execute.h"
#include "node/link.h"
#include "platform/wall.h"
#include "trust/proof.h"

#include <stdio.h>
#include <string.h>

#define NS_PER_MS ((rusm_time)1000000)

void rusmi_trust_init(struct rusmi_trust *trust)
{
    *trust = (struct rusmi_trust){.generation = 1, .own = 1};
    atomic_init(&trust->at, RUSMI_TIME_NEVER);
}

void rusmi_trust_fini(struct rusmi_link_trust *trust)
{
    rusmi_free(trust->cert);
    rusmi_free(trust->next);
    trust->cert = trust->next = NULL;
}

/* ---- judging --------------------------------------------------------------------------------- */

/* When a certificate that is trusted until then must be looked at. */
static rusm_time look_at(int64_t until_s, rusm_time now)
{
    int64_t left_ms = (until_s + 1) * 1000 - rusmi_wall_ms(); /* the last second counts */

    if (left_ms <= 0) {
        return now;
    }
    return (uint64_t)left_ms < RUSMI_TRUST_EVERY_NS / NS_PER_MS
               ? now + (rusm_time)left_ms * NS_PER_MS
               : now + RUSMI_TRUST_EVERY_NS;
}

/* Under node->lock: see that the endpoint looks in time. */
static void arm(rusm_node *node, int64_t until_s)
{
    rusm_time at = look_at(until_s, rusm_now());

    if (at < atomic_load(&node->trust.at)) {
        atomic_store(&node->trust.at, at);
        rusmi_endpoint_post(node);
    }
}

/* Under node->lock: judge a certificate of the link's peer by what the node trusts now. An overdue
 * revocation list is never a reason here: it says nothing new of a peer that it let in. */
static rusm_err judge(const struct rusmi_link *link, const uint8_t *der, size_t der_len,
                      struct rusmi_peer_identity *out, char text[RUSMI_VERIFY_TEXT_MAX])
{
    struct rusmi_verify_rules rules = {.peer_is_server = link->dialed, .now_s = rusmi_wall_s()};

    return rusmi_verify_certificate(der, der_len, link->node->identity, &rules, out, text,
                                    RUSMI_VERIFY_TEXT_MAX);
}

/* Under node->lock: the peer is not trusted any more. The core may not know of the link yet, or no
 * longer, so that the link is asked as well. */
static void cut(struct rusmi_link *link, const char *text, struct rusmi_actions *more)
{
    rusmi_core_close(link->node->core, link->id, RUSMI_CLOSE_REVOKED, RUSMI_DOWN_REVOKED, text,
                     rusm_now(), more);
    rusmi_link_close(link, RUSMI_CLOSE_REVOKED, text, 0);
}

/* Under node->lock: the peer breaks the rules. */
static void refuse(struct rusmi_link *link, const char *what, struct rusmi_actions *more)
{
    char text[RUSM_NAME_MAX + 128];

    (void)snprintf(text, sizeof(text), "%s broke the protocol: %s", link->name, what);
    rusmi_core_close(link->node->core, link->id, RUSMI_CLOSE_PROTOCOL, RUSMI_DOWN_PROTOCOL, text,
                     rusm_now(), more);
}

/* Whether a certificate is for the node at the other end. */
static bool same_holder(const struct rusmi_link *link, const struct rusmi_peer_identity *peer)
{
    return peer->role == link->role && (peer->shared || strcmp(peer->node, link->name) == 0);
}

/*
 * Under node->lock: let the certificate that waits take the place of the one in use, if it is
 * trusted by now. Returns false if it is not; one of another holder closes the link.
 */
static bool adopt(struct rusmi_link *link, struct rusmi_actions *more)
{
    struct rusmi_link_trust *trust = &link->trust;
    char text[RUSMI_VERIFY_TEXT_MAX];
    struct rusmi_peer_identity peer;

    if (trust->next == NULL || judge(link, trust->next, trust->next_len, &peer, text) != RUSM_OK) {
        return false;
    }
    if (!same_holder(link, &peer)) {
        rusmi_free(trust->next);
        trust->next = NULL;
        refuse(link, "it showed the certificate of another", more);
        return false;
    }
    rusmi_free(trust->cert);
    trust->cert = trust->next;
    trust->cert_len = trust->next_len;
    trust->next = NULL;
    trust->until = peer.trusted_until;
    link->cert_not_after = peer.not_after;
    arm(link->node, trust->until);
    return true;
}

/* Under node->lock: judge the link's peer again, and close the link if it is not trusted. */
static void judge_again(struct rusmi_link *link, struct rusmi_actions *more)
{
    struct rusmi_link_trust *trust = &link->trust;
    char text[RUSMI_VERIFY_TEXT_MAX] = "";
    struct rusmi_peer_identity peer;

    if (trust->cert == NULL || adopt(link, more)) {
        return;
    }
    if (judge(link, trust->cert, trust->cert_len, &peer, text) != RUSM_OK) {
        cut(link, text, more);
        return;
    }
    trust->until = peer.trusted_until; /* another anchor may vouch for it, for another time */
    arm(link->node, trust->until);
}

/* ---- our own certificate --------------------------------------------------------------------- */

/*
 * Under node->lock: show the peer our certificate, if it knows an older one. What fails for lack of
 * memory, or because the link is not up, is tried again when it is, and with every look at the
 * dates.
 */
static void show(struct rusmi_link *link, struct rusmi_actions *more)
{
    struct rusmi_certificate certificate;
    rusm_node *node = link->node;
    struct rusmi_proof proof;

    if (link->trust.cert == NULL || link->trust.shown == node->trust.own ||
        rusmi_proof_init(&proof, node->identity, link->trust.binding, link->dialed) != RUSM_OK) {
        return;
    }
    certificate = (struct rusmi_certificate){proof.der.data, proof.der.size, proof.signature.data,
                                             proof.signature.size};
    if (rusmi_core_certificate(node->core, link->id, &certificate, rusm_now(), more)) {
        link->trust.shown = node->trust.own;
    }
    rusmi_proof_fini(&proof);
}

void rusmi_trust_up(struct rusmi_link *link, struct rusmi_actions *more)
{
    show(link, more);
}

/* ---- a link's life --------------------------------------------------------------------------- */

void rusmi_trust_config(struct rusmi_link *link, struct rusmi_quic_config *cfg)
{
    rusm_node *node = link->node;

    *cfg = node->quic;
    rusmi_lock_take(&node->lock);
    cfg->identity = rusm_identity_hold(node->identity);
    link->trust.generation = node->trust.generation;
    link->trust.shown = node->trust.own;
    rusmi_lock_give(&node->lock);
}

rusm_err rusmi_trust_begin(struct rusmi_link *link, const struct rusmi_peer_identity *peer,
                           const uint8_t binding[RUSMI_BINDING_LEN])
{
    struct rusmi_link_trust *trust = &link->trust;
    char text[RUSMI_VERIFY_TEXT_MAX] = "";
    uint8_t *copy = rusmi_alloc(peer->der_len);
    rusm_err err = RUSM_OK;

    if (copy == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "no memory for the peer's certificate");
    }
    memcpy(copy, peer->der, peer->der_len);
    rusmi_lock_take(&link->node->lock);
    trust->cert = copy;
    trust->cert_len = peer->der_len;
    trust->until = peer->trusted_until;
    memcpy(trust->binding, binding, sizeof(trust->binding));
    if (trust->generation != link->node->trust.generation) {
        struct rusmi_peer_identity again;

        err = judge(link, trust->cert, trust->cert_len, &again, text);
        trust->until = err == RUSM_OK ? again.trusted_until : trust->until;
    }
    if (err == RUSM_OK) {
        arm(link->node, trust->until);
    }
    rusmi_lock_give(&link->node->lock);
    if (err != RUSM_OK) {
        return rusm_set_err_detail(err, "%s", text);
    }
    if (peer->crl_stale) {
        rusmi_count(&link->node->counters.crl_stale, 1);
    }
    return RUSM_OK;
}

void rusmi_trust_shown(struct rusmi_link *link, const struct rusmi_certificate *certificate,
                       struct rusmi_actions *more)
{
    struct rusmi_link_trust *trust = &link->trust;
    rusm_time now = rusm_now();
    uint8_t *copy;

    if (now - trust->shows_since >= RUSMI_SHOWS_NS) {
        trust->shows_since = now;
        trust->shows = 0;
    }
    if (++trust->shows > RUSMI_SHOWS_MAX) {
        refuse(link, "it shows new certificates too often", more);
        return;
    }
    copy = rusmi_alloc(certificate->der_len);
    if (copy == NULL) {
        rusmi_core_close(link->node->core, link->id, RUSMI_CLOSE_MEMORY, RUSMI_DOWN_MEMORY,
                         "no memory for a certificate", now, more);
        return;
    }
    if (rusmi_proof_check(certificate->der, certificate->der_len, certificate->proof,
                          certificate->proof_len, trust->binding, !link->dialed) != RUSM_OK) {
        rusmi_free(copy);
        refuse(link, "it showed a certificate without having its key", more);
        return;
    }
    memcpy(copy, certificate->der, certificate->der_len);
    rusmi_free(trust->next);
    trust->next = copy;
    trust->next_len = certificate->der_len;
    if (!adopt(link, more)) {
        rusmi_count(&link->node->counters.certs_refused, 1);
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

rusm_time rusmi_trust_drain(rusm_node *node, rusm_time now)
{
    struct rusmi_actions actions;
    rusm_time next = RUSMI_TIME_NEVER, at = atomic_load(&node->trust.at);

    if (at > now) {
        return at;
    }
    rusmi_actions_init(&actions);
    rusmi_lock_take(&node->lock);
    atomic_store(&node->trust.at, RUSMI_TIME_NEVER);
    rusmi_map_each(&node->links, entry, position, following)
    {
        struct rusmi_link *link = rusmi_container(entry, struct rusmi_link, by_id);

        if (link->trust.cert == NULL || atomic_load(&link->told)) {
            continue;
        }
        if (rusmi_wall_s() > link->trust.until) {
            judge_again(link, &actions);
        }
        show(link, &actions);
        if (rusmi_wall_s() <= link->trust.until) {
            at = look_at(link->trust.until, now);
            next = at < next ? at : next;
        }
    }
    if (next < atomic_load(&node->trust.at)) {
        atomic_store(&node->trust.at, next);
    }
    next = atomic_load(&node->trust.at);
    rusmi_node_finish(node, &actions);
    return next;
}

/* ---- reload ---------------------------------------------------------------------------------- */

/* A new identity must be the same node's, and of use. */
static rusm_err check_identity(const rusm_node *node, const rusm_identity *identity,
                               const rusm_cert_info *info)
{
    char text[RUSMI_VERIFY_TEXT_MAX];

    if (strcmp(info->cluster, node->cluster) != 0) {
        return rusm_set_err_detail(RUSM_EAUTH,
                                   "the new certificate is of cluster %s, the node of %s",
                                   info->cluster, node->cluster);
    }
    if (!info->shared && strcmp(info->node, node->name) != 0) {
        return rusm_set_err_detail(RUSM_EAUTH, "the new certificate is for node %s, not for %s",
                                   info->node, node->name);
    }
    if (info->role != node->role) {
        return rusm_set_err_detail(RUSM_EAUTH, "the new certificate makes an %s of the %s %s",
                                   rusm_role_name(info->role), rusm_role_name(node->role),
                                   node->name);
    }
    if (rusmi_verify_own(identity, rusmi_wall_s(), text, sizeof(text)) != RUSM_OK) {
        return rusm_set_err_detail(RUSM_ECERT, "%s", text);
    }
    return RUSM_OK;
}

/* Under node->lock: every link, held, in an array on the heap. NULL: no memory. */
static struct rusmi_link **hold_links(rusm_node *node, size_t *out_count)
{
    struct rusmi_link **links =
        rusmi_zalloc_array(node->links.len + 1, sizeof(struct rusmi_link *));
    size_t count = 0;

    if (links == NULL) {
        return NULL;
    }
    rusmi_map_each(&node->links, entry, position, following)
    {
        links[count++] = rusmi_link_hold(rusmi_container(entry, struct rusmi_link, by_id));
    }
    *out_count = count;
    return links;
}

/*
 * Judge each link's peer by the new identity, and show it ours. One at a time, so that the node
 * goes on in between. What began meanwhile was begun with the new identity, or sees that it was
 * not.
 */
static void judge_links(rusm_node *node, struct rusmi_link **links, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct rusmi_actions actions;

        rusmi_actions_init(&actions);
        rusmi_lock_take(&node->lock);
        if (!atomic_load(&links[i]->told)) {
            judge_again(links[i], &actions);
            show(links[i], &actions);
        }
        rusmi_node_finish(node, &actions);
        rusmi_link_drop(links[i]);
    }
    rusmi_free((void *)links);
}

rusm_err rusm_node_reload(rusm_node *node, rusm_identity *identity)
{
    rusm_cert_info info, old_info;
    struct rusmi_link **links;
    rusm_identity *old;
    size_t count = 0;
    rusm_err err;

    node = rusmi_node_resolve(node);
    if (node == NULL) {
        return RUSM_ENOCONTEXT;
    }
    if (identity == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "there is no new identity");
    }
    rusm_identity_get_info(identity, &info);
    err = check_identity(node, identity, &info);
    if (err != RUSM_OK) {
        return err;
    }
    rusmi_lock_take(&node->lock);
    links = node->closing ? NULL : hold_links(node, &count);
    if (links == NULL) {
        err = node->closing ? RUSM_ECLOSED : RUSM_ENOMEM;
        rusmi_lock_give(&node->lock);
        return rusm_set_err_detail(err, "%s", rusm_err_text(err));
    }
    old = node->identity;
    node->identity = rusm_identity_hold(identity);
    node->trust.generation++;
    rusm_identity_get_info(old, &old_info);
    if (strcmp(info.fingerprint, old_info.fingerprint) != 0) {
        node->trust.own++;
    }
    rusmi_lock_give(&node->lock);
    rusm_identity_del(old);
    judge_links(node, links, count);
    return RUSM_OK;
}

rusm_err rusm_node_on_reload(rusm_node *node, rusm_reload_fn fn, void *arg)
{
    node = rusmi_node_resolve(node);
    if (node == NULL) {
        return RUSM_ENOCONTEXT;
    }
    rusmi_lock_take(&node->lock);
    node->trust.fn = fn;
    node->trust.arg = arg;
    rusmi_lock_give(&node->lock);
    return RUSM_OK;
}

void rusmi_trust_answer(rusm_node *node, struct rusmi_reply *reply)
{
    rusm_reload_fn fn;
    rusm_err err;
    void *arg;

    rusmi_lock_take(&node->lock);
    fn = node->trust.fn;
    arg = node->trust.arg;
    rusmi_lock_give(&node->lock);
    if (fn == NULL) {
        rusmi_reply_fail(reply, RUSM_EREFUSED, "the node does not know where its identity is from");
        return;
    }
    err = fn(node, arg);
    if (err != RUSM_OK) {
        rusmi_reply_fail(reply, err, rusm_err_detail());
    }
}

rusm_err rusm_node_get_trust(rusm_node *node, rusm_node_trust *out_trust)
{
    const struct rusmi_identity_parts *parts;
    rusm_node_trust trust = {.reloads = 0};

    node = rusmi_node_resolve(node);
    if (node == NULL) {
        return RUSM_ENOCONTEXT;
    }
    if (out_trust == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "there is nowhere to put it");
    }
    rusmi_lock_take(&node->lock);
    parts = &node->identity->parts;
    trust.own = parts->info;
    trust.anchors_len = parts->anchor_count;
    trust.crls_len = parts->crl_count;
    for (size_t i = 0; i < parts->crl_count; i++) {
        int64_t until = parts->crls[i]->info.next_update;

        if (trust.crl_next_update == 0 || until < trust.crl_next_update) {
            trust.crl_next_update = until;
        }
    }
    trust.reloads = node->trust.generation - 1;
    rusmi_lock_give(&node->lock);
    *out_trust = trust;
    return RUSM_OK;
}
