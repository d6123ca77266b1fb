/* SPDX-License-Identifier: MIT */
/*
 * Who is to be dialled again and again, and what members tell of each other
 * (docs/design/membership.md).
 *
 * The table of wanted addresses has three sources, and an entry lives as long as it has one of
 * them: the user (configured), members that were up (known), and what peers tell (heard). An
 * address that was heard is a hint: it leads to a dial, and only what that dial authenticates
 * counts, so a lie costs one dial with back-off and ends after forget_ms.
 *
 * Dials begin in timers only, and what follows from their end is decided at the end of the step, so
 * that nothing here runs while a conn is being taken apart.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "cluster/core_state.h"

#include <stdio.h>
#include <string.h>

#define NS_PER_MS 1000000u
/* Entries of one frame that are gathered at a time, on the stack. */
#define PIECE ((size_t)64)
_Static_assert(PIECE <= RUSMI_MEMBERS_MAX, "a piece fits a frame");

static rusm_time ms(uint64_t n)
{
    return (rusm_time)n * NS_PER_MS;
}

bool rusmi_mesh_init(struct rusmi_core *core)
{
    struct mesh *mesh = &core->mesh;

    rusmi_prng_init(&mesh->prng, core->cfg.jitter_seed);
    rusmi_map_init(&mesh->by_address, core->cfg.map_seed[0], core->cfg.map_seed[1]);
    rusmi_list_init(&mesh->all);
    rusmi_list_init(&mesh->dialing);
    rusmi_list_init(&mesh->ended);
    mesh->gossip.kind = DEADLINE_GOSSIP;
    return rusmi_deadlines_reserve(&core->deadlines);
}

/* ---- the table ------------------------------------------------------------------------------- */

static struct wanted *wanted_find(const struct rusmi_core *core, const char *address)
{
    struct rusmi_map_entry *entry =
        rusmi_map_find(&core->mesh.by_address, address, strlen(address));

    return entry == NULL ? NULL : rusmi_container(entry, struct wanted, by_address);
}

/* Without any reason yet; NULL when memory ran out. */
static struct wanted *wanted_new(struct rusmi_core *core, const char *address)
{
    struct wanted *wanted = rusmi_zalloc(sizeof(struct wanted));

    if (wanted == NULL) {
        return NULL;
    }
    if (!rusmi_deadlines_reserve(&core->deadlines)) {
        rusmi_free(wanted);
        return NULL;
    }
    (void)snprintf(wanted->address, sizeof(wanted->address), "%s", address);
    wanted->deadline.kind = DEADLINE_WANTED;
    wanted->id = ++core->mesh.wanted_last;
    rusmi_list_init(&wanted->in_all);
    rusmi_list_init(&wanted->in_dialing);
    if (!rusmi_map_insert(&core->mesh.by_address, &wanted->by_address, wanted->address,
                          strlen(wanted->address))) {
        rusmi_deadlines_release(&core->deadlines, &wanted->deadline);
        rusmi_free(wanted);
        return NULL;
    }
    rusmi_list_push(&core->mesh.all, &wanted->in_all);
    return wanted;
}

static void set_known(struct rusmi_core *core, struct wanted *wanted, bool known)
{
    if (known && !wanted->known) {
        core->mesh.known_len++;
    } else if (!known && wanted->known) {
        core->mesh.known_len--;
    }
    wanted->known = known;
}

/* An entry that was heard is no longer, or it has another reason now. */
static void clear_heard(struct rusmi_core *core, struct wanted *wanted)
{
    if (wanted->heard) {
        struct conn *source = rusmi_conn_find(core, wanted->source);

        wanted->heard = false;
        if (source != NULL) {
            source->heard_len--;
        } else {
            core->mesh.orphans_len--;
        }
    }
}

/* Free an entry that is not being dialled. */
static void wanted_del(struct rusmi_core *core, struct wanted *wanted)
{
    rusmi_assert(wanted->dial == NULL);
    clear_heard(core, wanted);
    set_known(core, wanted, false);
    core->mesh.configured_len -= wanted->configured != 0 ? 1 : 0;
    rusmi_map_remove(&core->mesh.by_address, &wanted->by_address);
    rusmi_list_remove(&wanted->in_all);
    rusmi_list_remove(&wanted->in_dialing);
    rusmi_deadlines_release(&core->deadlines, &wanted->deadline);
    /* In no table and no list, and callers that walk have taken the next one before. */
    rusmi_free(wanted);
}

static void wanted_cancel(struct rusmi_core *core, struct wanted *wanted, rusm_time now,
                          struct rusmi_actions *out)
{
    struct dial *dial = wanted->dial;

    if (dial != NULL) {
        wanted->dial = NULL;
        rusmi_list_remove(&wanted->in_dialing);
        rusmi_dial_cancel(core, dial, now, out);
    }
}

void rusmi_mesh_clear(struct rusmi_core *core)
{
    while (!rusmi_list_empty(&core->mesh.all)) {
        wanted_del(core, rusmi_container(core->mesh.all.next, struct wanted, in_all));
    }
    rusmi_deadlines_set(&core->deadlines, &core->mesh.gossip, RUSMI_TIME_NEVER);
}

#ifndef NDEBUG
void rusmi_mesh_check(const struct rusmi_core *core)
{
    const struct mesh *mesh = &core->mesh;
    size_t len = 0, configured = 0, known = 0;

    rusmi_assert(rusmi_list_empty(&mesh->ended));
    for (const struct rusmi_list *node = mesh->all.next; node != &mesh->all; node = node->next) {
        const struct wanted *wanted = rusmi_container(node, struct wanted, in_all);
        bool waits = wanted->deadline.place != 0;

        rusmi_assert(wanted->configured != 0 || wanted->known || wanted->heard);
        rusmi_assert(!wanted->heard || (wanted->configured == 0 && !wanted->known));
        rusmi_assert(wanted->dial == NULL || (wanted->dial->wanted == wanted && !waits));
        rusmi_assert(wanted->dial != NULL || waits || wanted->self || core->shut_down ||
                     rusmi_peer_find(core, wanted->name) != NULL);
        len++;
        configured += wanted->configured != 0 ? 1 : 0;
        known += wanted->known ? 1 : 0;
    }
    rusmi_assert(len == mesh->by_address.len);
    rusmi_assert(configured == mesh->configured_len && known == mesh->known_len);
}
#endif

/* ---- when ------------------------------------------------------------------------------------ */

static void dial_in(struct rusmi_core *core, struct wanted *wanted, rusm_time delay, rusm_time now)
{
    if (wanted->dial == NULL && !core->shut_down) {
        rusmi_deadlines_set(&core->deadlines, &wanted->deadline, now + delay);
    }
}

static rusm_time wait_min(const struct rusmi_core *core)
{
    return ms(core->cfg.reconnect_min_ms == 0 ? 1 : core->cfg.reconnect_min_ms);
}

/* At most this; addresses of the user's are looked for also where lost members are not. */
static rusm_time wait_max(const struct rusmi_core *core)
{
    rusm_time max = ms(core->cfg.reconnect_max_ms);

    return max < wait_min(core) ? wait_min(core) : max;
}

/* Between half of a time and all of it, so that those who lost a node together do not dial it
 * together. */
static rusm_time jitter(struct rusmi_core *core, rusm_time time)
{
    return time / 2 + rusmi_prng_below(&core->mesh.prng, time / 2 + 1);
}

static rusm_time back_off(struct rusmi_core *core, unsigned failures)
{
    rusm_time time = wait_min(core), max = wait_max(core);

#ifdef RUSMI_PLANT_MESH
    return ms(86400000);
#endif
    for (; failures > 1 && time < max; failures--) {
        time = time > max / 2 ? max : time * 2;
    }
    return jitter(core, time);
}

/* Both ends of a link that is missing know it at about the same time: the one whose name sorts
 * first dials, and the other, `later`, only when that led to nothing. */
static rusm_time first_try(struct rusmi_core *core, const struct wanted *wanted, rusm_time later)
{
    rusm_time some = rusmi_prng_below(&core->mesh.prng, wait_min(core) / 2 + 1);

    return strcmp(core->name, wanted->name) < 0 ? some : later + some;
}

/* Whether the node that we look for is just coming to us. */
static bool is_coming(const struct rusmi_core *core, const struct wanted *wanted)
{
    for (const struct rusmi_list *node = core->handshakes.next; node != &core->handshakes;
         node = node->next) {
        const struct conn *conn = rusmi_container(node, struct conn, in_state);

        if (conn->state != CONN_DIALING && !conn->dialed && !conn->hidden &&
            strcmp(conn->cert.shared ? conn->name : conn->cert.node, wanted->name) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- nodes that are not to be looked for ----------------------------------------------------- */

static uint64_t *apart_find(struct rusmi_core *core, uint64_t incarnation)
{
    for (size_t i = 0; i < RUSMI_APART_MAX; i++) {
        if (core->mesh.apart[i] == incarnation) {
            return &core->mesh.apart[i];
        }
    }
    return NULL;
}

static void apart_add(struct rusmi_core *core, uint64_t incarnation)
{
    if (apart_find(core, incarnation) == NULL) {
        core->mesh.apart[core->mesh.apart_next] = incarnation;
        core->mesh.apart_next = (core->mesh.apart_next + 1) % RUSMI_APART_MAX;
    }
}

static void apart_remove(struct rusmi_core *core, uint64_t incarnation)
{
    uint64_t *place = apart_find(core, incarnation);

    if (place != NULL) {
        *place = 0; /* no incarnation is 0 */
    }
}

bool rusmi_mesh_is_apart(struct rusmi_core *core, const struct conn *conn, uint64_t incarnation)
{
    bool mesh = false;

    for (const struct rusmi_list *node = conn->dials.next; node != &conn->dials;
         node = node->next) {
        const struct dial *dial = rusmi_container(node, struct dial, in_conn);

        if (dial->wanted == NULL || (dial->wanted->configured != 0 && !dial->wanted->settled)) {
            return false;
        }
        mesh = true;
    }
    return mesh && apart_find(core, incarnation) != NULL;
}

/* ---- links come and go ----------------------------------------------------------------------- */

/* Walk all entries; the body may free the present one. */
#define each_wanted(core, wanted, next)                                                            \
    for (struct rusmi_list *next = (core)->mesh.all.next->next, *at = (core)->mesh.all.next;       \
         at != &(core)->mesh.all; at = next, next = next->next)                                    \
        for (struct wanted *wanted = rusmi_container(at, struct wanted, in_all); wanted != NULL;   \
             wanted = NULL)

/* Where a member that is up can be found again: the address that worked, else the one that it says
 * it listens at. */
static const char *home(const struct conn *conn)
{
    return conn->dialed ? conn->address : conn->listen;
}

static void remember(struct rusmi_core *core, struct conn *conn)
{
    const char *address = home(conn);
    struct wanted *wanted = wanted_find(core, address);

    if (address[0] == '\0' || strcmp(address, core->address) == 0) {
        return;
    }
    if (wanted == NULL) {
        wanted = wanted_new(core, address);
        if (wanted == NULL) {
            return; /* no memory: the peer may still find us */
        }
    }
    rusmi_deadlines_set(&core->deadlines, &wanted->deadline, RUSMI_TIME_NEVER);
    clear_heard(core, wanted);
    set_known(core, wanted, true);
    (void)snprintf(wanted->name, sizeof(wanted->name), "%s", conn->name);
    wanted->incarnation = conn->incarnation;
}

/* Whether both ends pass on what they know of members. */
static bool meshes(const struct rusmi_core *core, const struct conn *conn)
{
    return core->cfg.mesh && conn->version >= 2 && (conn->features & RUSMI_FEATURE_MESH) != 0;
}

static bool flush_members(struct rusmi_core *core, struct conn *conn,
                          struct rusmi_member_entry *entries, size_t len, rusm_time now,
                          struct rusmi_actions *out)
{
    struct rusmi_frame frame = {.type = RUSMI_FRAME_MEMBERS};

    frame.u.members.entries = entries;
    frame.u.members.len = len;
    return len == 0 || rusmi_conn_send(core, conn, &frame, now, out);
}

/* Tell one peer of the members that came up since it was told last. */
static void tell_members(struct rusmi_core *core, struct conn *conn, rusm_time now,
                         struct rusmi_actions *out)
{
    struct rusmi_member_entry entries[PIECE];
    uint64_t after = conn->members_after;
    size_t place = SIZE_MAX, len = 0;
    const struct conn *member;

    while ((member = rusmi_roster_next(&core->peers, &after, &place)) != NULL) {
        if (member == conn || member->listen[0] == '\0' || !meshes(core, member)) {
            continue;
        }
        entries[len++] = (struct rusmi_member_entry){.name = member->name,
                                                     .name_len = strlen(member->name),
                                                     .incarnation = member->incarnation,
                                                     .address = member->listen,
                                                     .address_len = strlen(member->listen)};
        if (len == PIECE) {
            if (!flush_members(core, conn, entries, len, now, out)) {
                return; /* conn is closed, and the roster has changed */
            }
            len = 0;
        }
    }
    conn->members_after = core->peer_last;
    (void)flush_members(core, conn, entries, len, now, out);
}

void rusmi_mesh_gossip(struct rusmi_core *core, rusm_time now, struct rusmi_actions *out)
{
    struct rusmi_list *next;

    rusmi_deadlines_set(&core->deadlines, &core->mesh.gossip, RUSMI_TIME_NEVER);
    for (struct rusmi_list *node = core->links.next; node != &core->links; node = next) {
        struct conn *conn = rusmi_container(node, struct conn, in_state);

        next = node->next;
        if (!conn->hidden && meshes(core, conn)) {
            tell_members(core, conn, now, out);
        }
    }
}

void rusmi_mesh_up(struct rusmi_core *core, struct conn *conn, rusm_time now,
                   struct rusmi_actions *out)
{
    bool kept = conn->state == CONN_UP && core->cfg.reconnect_max_ms != 0;

    apart_remove(core, conn->incarnation);
    each_wanted(core, wanted, next)
    {
        if (strcmp(wanted->name, conn->name) != 0) {
            continue;
        }
        rusmi_deadlines_set(&core->deadlines, &wanted->deadline, RUSMI_TIME_NEVER);
        wanted->incarnation = conn->incarnation;
        wanted->settled = false;
        if (!kept || strcmp(wanted->address, home(conn)) != 0) {
            /* The node is elsewhere now, so this is where its past was, or a lie. */
            clear_heard(core, wanted);
            set_known(core, wanted, false);
            if (wanted->configured == 0) {
                wanted_cancel(core, wanted, now, out);
                wanted_del(core, wanted);
            }
        }
    }
    if (kept) {
        remember(core, conn);
    }
    if (meshes(core, conn)) {
        tell_members(core, conn, now, out);
        if (core->mesh.gossip.place == 0) {
            rusmi_deadlines_set(&core->deadlines, &core->mesh.gossip, now + ms(RUSMI_GOSSIP_MS));
        }
    }
}

/* Nobody is left who told of these addresses. The oldest such entries go when there are too many.
 */
static void orphan_heard(struct rusmi_core *core, struct conn *conn)
{
    if (conn->heard_len != 0) {
        each_wanted(core, wanted, next)
        {
            if (wanted->heard && wanted->source == conn->id) {
                wanted->source = 0;
                core->mesh.orphans_len++;
            }
        }
        conn->heard_len = 0;
    }
    if (core->mesh.orphans_len > core->cfg.members_max) {
        each_wanted(core, wanted, next)
        {
            if (wanted->heard && wanted->source == 0 && wanted->dial == NULL &&
                core->mesh.orphans_len > core->cfg.members_max) {
                wanted_del(core, wanted);
            }
        }
    }
}

/* Forget the members that were lost longest ago when there are too many. */
static void bound_known(struct rusmi_core *core)
{
    size_t spare = core->mesh.known_len - core->peers.live;

    if (core->mesh.known_len <= core->peers.live || spare <= core->cfg.members_max) {
        return;
    }
    spare -= core->cfg.members_max;
    each_wanted(core, wanted, next)
    {
        if (spare > 0 && wanted->known && wanted->configured == 0 && wanted->dial == NULL &&
            rusmi_peer_find(core, wanted->name) == NULL) {
            wanted_del(core, wanted);
            spare--;
        }
    }
}

/* A node went on purpose. What the user configured is still looked for, slowly, because another
 * node may come up there: a seed that is restarted. */
static void let_go(struct rusmi_core *core, struct wanted *wanted, rusm_time now,
                   struct rusmi_actions *out)
{
    clear_heard(core, wanted);
    set_known(core, wanted, false);
    if (wanted->configured != 0) {
        wanted->settled = true;
        dial_in(core, wanted, jitter(core, wait_max(core)), now);
    } else {
        wanted_cancel(core, wanted, now, out);
        wanted_del(core, wanted);
    }
}

void rusmi_mesh_down(struct rusmi_core *core, struct conn *conn, rusm_time now,
                     struct rusmi_actions *out)
{
    bool brief = now - conn->up_since < ms(RUSMI_PROVEN_MS);

    orphan_heard(core, conn);
    if (core->shut_down) {
        return;
    }
    if (conn->left || conn->apart) {
        apart_add(core, conn->incarnation);
    }
    each_wanted(core, wanted, next)
    {
        if (strcmp(wanted->name, conn->name) != 0) {
            continue;
        }
        if (conn->left || conn->apart) {
            let_go(core, wanted, now, out);
        } else {
            wanted->failures = brief ? wanted->failures + 1 : 0;
            dial_in(core, wanted,
                    brief ? back_off(core, wanted->failures)
                          : first_try(core, wanted, wait_min(core)),
                    now);
        }
    }
    bound_known(core);
}

/* ---- dials ----------------------------------------------------------------------------------- */

void rusmi_mesh_dialed(struct rusmi_core *core, struct wanted *wanted, rusm_err err,
                       const char *peer, const char *text)
{
    size_t len = err == RUSM_OK ? 0 : rusmi_utf8_cut(text, strlen(text), RUSMI_PROBLEM_MAX - 1);

    wanted->dial = NULL;
    wanted->err = err;
    memcpy(wanted->problem, text, len);
    wanted->problem[len] = '\0';
    if (err == RUSM_OK) {
        wanted->settled = false;
        (void)snprintf(wanted->name, sizeof(wanted->name), "%s", peer);
    }
    rusmi_list_remove(&wanted->in_dialing);
    rusmi_list_push(&core->mesh.ended, &wanted->in_dialing);
}

/* What a dial that is over means for its address. */
static void dial_settled(struct rusmi_core *core, struct wanted *wanted, rusm_time now)
{
    bool user = wanted->configured != 0;

    wanted->tried_at = now;
    switch (wanted->err) {
    case RUSM_OK:
        if (rusmi_peer_find(core, wanted->name) == NULL) {
            wanted->failures++;
            dial_in(core, wanted, back_off(core, wanted->failures), now);
        } else if (wanted->heard) {
            wanted_del(core, wanted); /* that node is known by its own address */
        }
        return;
    case RUSM_EINVAL: /* it is our own, or no address at all: it never gets better */
        wanted->self = user;
        if (!user && !wanted->heard) {
            wanted_del(core, wanted);
        } else if (!user) {
            dial_in(core, wanted, wanted->forget_at > now ? wanted->forget_at - now : 0, now);
        }
        return;
    case RUSM_EAUTH:
    case RUSM_EPROTO:
        /* Certificates and programs are replaced by people: rarely. */
        wanted->failures += 16;
        break;
    default:
        wanted->failures++;
        break;
    }
    dial_in(core, wanted,
            wanted->settled ? jitter(core, wait_max(core)) : back_off(core, wanted->failures), now);
}

void rusmi_mesh_settle(struct rusmi_core *core, rusm_time now)
{
    struct rusmi_list *node;

    while ((node = rusmi_list_pop(&core->mesh.ended)) != NULL) {
        dial_settled(core, rusmi_container(node, struct wanted, in_dialing), now);
    }
}

/* Whether a peer has enough of what it told of being dialled. */
static bool heard_busy(const struct rusmi_core *core, uint64_t source)
{
    const struct mesh *mesh = &core->mesh;
    size_t len = 0;

    for (const struct rusmi_list *node = mesh->dialing.next; node != &mesh->dialing;
         node = node->next) {
        const struct wanted *wanted = rusmi_container(node, struct wanted, in_dialing);

        len += wanted->heard && wanted->source == source ? 1 : 0;
    }
    return len >= RUSMI_HEARD_DIALS;
}

void rusmi_mesh_expired(struct rusmi_core *core, struct wanted *wanted, rusm_time now,
                        struct rusmi_actions *out)
{
    bool up = rusmi_peer_find(core, wanted->name) != NULL;

    rusmi_deadlines_set(&core->deadlines, &wanted->deadline, RUSMI_TIME_NEVER);
    if (wanted->heard && (up || now >= wanted->forget_at)) {
        wanted_del(core, wanted);
    } else if (up) {
        wanted->failures = 0;
    } else if (wanted->heard && heard_busy(core, wanted->source)) {
        dial_in(core, wanted, jitter(core, ms(200)), now);
    } else if (wanted->name[0] != '\0' && is_coming(core, wanted)) {
        dial_in(core, wanted, jitter(core, wait_min(core)), now);
    } else {
        rusmi_list_push(&core->mesh.dialing, &wanted->in_dialing);
        if (rusmi_dial_wanted(core, wanted, now + ms(2 * (uint64_t)core->cfg.hello_ms), out) !=
            RUSM_OK) {
            rusmi_mesh_dialed(core, wanted, RUSM_ENOMEM, "", "out of memory");
        }
    }
}

/* ---- what peers tell ------------------------------------------------------------------------- */

/* A peer is linked with another incarnation of a node that we have lost: look for it at once. */
static void fresh_sign(struct rusmi_core *core, struct wanted *wanted,
                       const struct rusmi_member_entry *entry, rusm_time now)
{
    rusm_time at = now + first_try(core, wanted, wait_min(core)),
              soonest = wanted->tried_at + wait_min(core);

    if (wanted->dial == NULL && entry->incarnation != wanted->incarnation && !wanted->self &&
        strlen(wanted->name) == entry->name_len &&
        memcmp(wanted->name, entry->name, entry->name_len) == 0 &&
        rusmi_peer_find(core, wanted->name) == NULL) {
        wanted->incarnation = entry->incarnation;
        at = at > soonest ? at : soonest;
        if (at < wanted->deadline.at) {
            rusmi_deadlines_set(&core->deadlines, &wanted->deadline, at);
        }
    }
}

static void heard_new(struct rusmi_core *core, struct conn *conn, const char *address,
                      const struct rusmi_member_entry *entry, rusm_time now)
{
    struct wanted *wanted =
        conn->heard_len < core->cfg.members_max ? wanted_new(core, address) : NULL;

    if (wanted == NULL) {
        core->stats.members_refused++;
        return;
    }
    wanted->heard = true;
    wanted->source = conn->id;
    conn->heard_len++;
    memcpy(wanted->name, entry->name, entry->name_len);
    wanted->incarnation = entry->incarnation;
    wanted->forget_at = now + ms(core->cfg.forget_ms);
    dial_in(core, wanted, first_try(core, wanted, RUSMI_HEARD_LATER * wait_min(core)), now);
}

static void heard(struct rusmi_core *core, struct conn *conn,
                  const struct rusmi_member_entry *entry, rusm_time now)
{
    struct rusmi_map_entry *up = rusmi_map_find(&core->peers_by_name, entry->name, entry->name_len);
    char address[RUSMI_WIRE_ADDRESS_MAX + 1];
    struct wanted *wanted;

    if (entry->incarnation == core->cfg.incarnation ||
        (strlen(core->name) == entry->name_len &&
         memcmp(core->name, entry->name, entry->name_len) == 0) ||
        apart_find(core, entry->incarnation) != NULL ||
        (up != NULL &&
         rusmi_container(up, struct conn, by_name)->incarnation == entry->incarnation)) {
        return;
    }
    memcpy(address, entry->address, entry->address_len);
    address[entry->address_len] = '\0';
    if (strcmp(address, core->address) == 0) {
        return;
    }
    wanted = wanted_find(core, address);
    if (wanted == NULL) {
        heard_new(core, conn, address, entry, now);
    } else if (!wanted->heard) {
        fresh_sign(core, wanted, entry, now);
    }
}

void rusmi_mesh_frame(struct rusmi_core *core, struct conn *conn, const struct rusmi_frame *frame,
                      rusm_time now)
{
    if (conn->hidden || !meshes(core, conn)) {
        core->stats.members_refused += frame->u.members.len;
        return;
    }
    for (size_t i = 0; i < frame->u.members.len; i++) {
        heard(core, conn, &frame->u.members.entries[i], now);
    }
}

/* Host and port of "host:port"; false if there is no port. */
static bool split(const char *address, size_t *out_host_len, const char **out_port)
{
    const char *colon = strrchr(address, ':');

    if (colon == NULL) {
        return false;
    }
    *out_host_len = (size_t)(colon - address);
    *out_port = colon + 1;
    return true;
}

void rusmi_mesh_listen_text(const char *says, const char *seen, char *buf, size_t buf_len)
{
    size_t host_len, seen_len;
    const char *port, *unused;

    if (split(says, &host_len, &port) && split(seen, &seen_len, &unused) &&
        ((host_len == 7 && memcmp(says, "0.0.0.0", 7) == 0) ||
         (host_len == 4 && memcmp(says, "[::]", 4) == 0))) {
        (void)snprintf(buf, buf_len, "%.*s:%s", (int)seen_len, seen, port);
    } else {
        (void)snprintf(buf, buf_len, "%s", says);
    }
}

/* ---- what the user says ---------------------------------------------------------------------- */

rusm_err rusmi_core_want(struct rusmi_core *core, const char *address, rusm_time now,
                         struct rusmi_actions *out)
{
    struct wanted *wanted;

    if (core->shut_down) {
        return RUSM_ECLOSED;
    }
    if (address[0] == '\0' || strlen(address) > RUSMI_WIRE_ADDRESS_MAX ||
        strcmp(address, core->address) == 0) {
        return RUSM_EINVAL;
    }
    wanted = wanted_find(core, address);
    if ((wanted == NULL || wanted->configured == 0) &&
        core->mesh.configured_len >= core->cfg.members_max) {
        return RUSM_EFULL;
    }
    if (wanted == NULL) {
        wanted = wanted_new(core, address);
        if (wanted == NULL) {
            return RUSM_ENOMEM;
        }
    }
    clear_heard(core, wanted);
    core->mesh.configured_len += wanted->configured == 0 ? 1 : 0;
    wanted->configured++;
    wanted->settled = false;
    if (rusmi_peer_find(core, wanted->name) == NULL && !wanted->self) {
        dial_in(core, wanted, 0, now);
    }
    rusmi_core_finish(core, now, out);
    return RUSM_OK;
}

void rusmi_core_unwant(struct rusmi_core *core, const char *address, rusm_time now,
                       struct rusmi_actions *out)
{
    struct wanted *wanted = wanted_find(core, address);

    if (wanted == NULL || wanted->configured == 0) {
        return;
    }
    wanted->configured--;
    if (wanted->configured == 0) {
        core->mesh.configured_len--;
        if (!wanted->known || wanted->self) { /* what never gets better is kept for the user only */
            wanted_cancel(core, wanted, now, out);
            wanted_del(core, wanted);
        }
    }
    rusmi_core_finish(core, now, out);
}

bool rusmi_mesh_forget(struct rusmi_core *core, const char *name, rusm_time now,
                       struct rusmi_actions *out)
{
    bool found = false;

    each_wanted(core, wanted, next)
    {
        if (strcmp(wanted->name, name) == 0) {
            found = true;
            wanted_cancel(core, wanted, now, out);
            wanted_del(core, wanted);
        }
    }
    return found;
}

size_t rusmi_core_list_wanted(const struct rusmi_core *core, uint64_t *cursor,
                              struct rusmi_core_wanted *wanteds, size_t wanteds_max)
{
    uint64_t after = *cursor;
    size_t len = 0;

    *cursor = 0;
    for (const struct rusmi_list *node = core->mesh.all.next; node != &core->mesh.all;
         node = node->next) {
        const struct wanted *wanted = rusmi_container(node, struct wanted, in_all);

        if (wanted->id <= after) {
            continue;
        }
        if (len == wanteds_max) {
            *cursor = after;
            return len;
        }
        after = wanted->id;
        wanteds[len++] = (struct rusmi_core_wanted){
            .address = wanted->address,
            .name = wanted->name,
            .problem = wanted->problem,
            .err = wanted->err,
            .configured = wanted->configured != 0,
            .self = wanted->self,
            .dialing = wanted->dial != NULL,
            .up = rusmi_peer_find(core, wanted->name) != NULL,
            .failures = wanted->failures,
            .next = wanted->deadline.place == 0 ? RUSMI_TIME_NEVER : wanted->deadline.at};
    }
    return len;
}
