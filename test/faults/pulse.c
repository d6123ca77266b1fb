/* SPDX-License-Identifier: MIT */
#include "faults/pulse.h"

#include <rusm/otp/driver.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEERS_MAX  64
#define BEAT_MAGIC 0x6265617462656174u

struct beat {
    uint64_t magic;
    uint64_t incarnation; /* of the sender */
    uint64_t number;      /* 1, 2, 3... for this receiver */
    char node[RUSM_NAME_MAX + 1];
};

/* A node that the heart has heard of. */
struct heard {
    char node[RUSM_NAME_MAX + 1];
    uint64_t incarnation, number, beats; /* of the last beat; beats of that incarnation */
    bool up, told;                       /* told: of its going up or down, so that `up` is known */
    bool may_miss;                       /* it was down since the last beat */
    bool monitored;
    rusm_ref ref;
};

struct heart {
    rusm_node *node;
    struct heard nodes[PEERS_MAX];
    size_t nodes_len;
    uint64_t beats, violations, monitors, downs, ups, losses;
};

struct beater {
    rusm_node *node;
    uint32_t beat_ms;
    char names[PEERS_MAX][RUSM_NAME_MAX + 1];
    uint64_t numbers[PEERS_MAX];
    size_t names_len;
};

static struct heart heart;
static struct beater beater;

/* ---- words ----------------------------------------------------------------------------------- */

const char *faults_text(const char *text, char *out, size_t out_len)
{
    size_t len = 0;

    for (; *text != '\0' && len + 3 < out_len; text++) {
        if (*text == '"' || *text == '\\') {
            out[len++] = '\\';
        }
        out[len++] = (unsigned char)*text < ' ' ? ' ' : *text;
    }
    out[len] = '\0';
    return out;
}

void faults_say(const char *event, const char *format, ...)
{
    char line[1024];
    va_list list;

    va_start(list, format);
    (void)vsnprintf(line, sizeof(line), format, list);
    va_end(list);
    /* One call: stdio locks, so lines of processes come whole. */
    printf("{\"t\":%" PRIu64 ",\"event\":\"%s\"%s}\n", rusm_now() / 1000000u, event, line);
}

void faults_die(const char *what)
{
    (void)fprintf(stderr, "rusm-test-node: %s: %s\n", what, rusm_err_detail());
    exit(1);
}

/* ---- the heart ------------------------------------------------------------------------------- */

static void violation(const char *what, const char *node, uint64_t expected, uint64_t got)
{
    char text[2 * RUSM_NAME_MAX];

    heart.violations++;
    faults_say("violation",
               ",\"what\":\"%s\",\"node\":\"%s\",\"expected\":%" PRIu64 ",\"got\":%" PRIu64, what,
               faults_text(node, text, sizeof(text)), expected, got);
}

static struct heard *heard_of(const char *node)
{
    struct heard *heard;

    for (size_t i = 0; i < heart.nodes_len; i++) {
        if (strcmp(heart.nodes[i].node, node) == 0) {
            return &heart.nodes[i];
        }
    }
    if (heart.nodes_len == PEERS_MAX) {
        violation("more nodes than there are", node, PEERS_MAX, PEERS_MAX + 1);
        return NULL;
    }
    heard = &heart.nodes[heart.nodes_len++];
    (void)snprintf(heard->node, sizeof(heard->node), "%s", node);
    return heard;
}

static void take_number(struct heard *heard, const struct beat *beat)
{
    bool fresh = heard->incarnation != beat->incarnation;

    if (!fresh && beat->number <= heard->number) {
        violation("again or late", heard->node, heard->number + 1, beat->number);
        return;
    }
    /* The first ones of an incarnation may have come before there was a heart. */
    if (!fresh && !heard->may_miss && beat->number != heard->number + 1) {
        violation("missing", heard->node, heard->number + 1, beat->number);
    }
    heard->beats = fresh ? 1 : heard->beats + 1;
    heard->incarnation = beat->incarnation;
    heard->number = beat->number;
    heard->may_miss = false;
    if (fresh) {
        faults_say("heard", ",\"node\":\"%s\",\"incarnation\":\"%016" PRIx64 "\"", heard->node,
                   heard->incarnation);
    }
}

static void take_beat(const rusm_msg *msg)
{
    const struct beat *beat = rusm_msg_data(msg);
    struct heard *heard;

    if (rusm_msg_len(msg) != sizeof(*beat) || beat->magic != BEAT_MAGIC) {
        violation("a broken beat", "", sizeof(*beat), rusm_msg_len(msg));
        return;
    }
    heard = heard_of(beat->node);
    if (heard == NULL) {
        return;
    }
    heart.beats++;
    if (rusm_msg_sender(msg).incarnation != beat->incarnation) {
        violation("another incarnation", heard->node, beat->incarnation,
                  rusm_msg_sender(msg).incarnation);
    }
    if (heard->told && !heard->up) {
        violation("of a node that is down", heard->node, heard->number, beat->number);
    }
    take_number(heard, beat);
    if (!heard->monitored && rusm_monitor(rusm_msg_sender(msg), &heard->ref) == RUSM_OK) {
        heard->monitored = true;
        heart.monitors++;
    }
}

static void take_down(const rusm_msg *msg)
{
    const rusm_reason *reason = rusm_msg_reason(msg);

    heart.downs++;
    for (size_t i = 0; i < heart.nodes_len; i++) {
        struct heard *heard = &heart.nodes[i];

        if (heard->monitored && rusm_ref_equal(heard->ref, rusm_msg_ref(msg))) {
            heard->monitored = false;
            faults_say("down", ",\"node\":\"%s\",\"reason\":\"%s\"", heard->node,
                       rusm_reason_name(reason->kind));
            return;
        }
    }
    violation("a monitor fired twice", "", heart.monitors, heart.downs);
}

/* Words for tests, which do not depend on those for people. */
static const char *cause_word(rusm_down_cause cause)
{
    switch (cause) {
    case RUSM_DOWN_BY_PEER:
        return "by-peer";
    case RUSM_DOWN_SILENT:
        return "silent";
    case RUSM_DOWN_TLS:
        return "tls";
    case RUSM_DOWN_PROTOCOL:
        return "protocol";
    case RUSM_DOWN_REVOKED:
        return "revoked";
    case RUSM_DOWN_SHUTDOWN:
        return "shutdown";
    case RUSM_DOWN_DISCONNECTED:
        return "disconnected";
    case RUSM_DOWN_REPLACED:
        return "replaced";
    case RUSM_DOWN_REFUSED:
        return "refused";
    case RUSM_DOWN_MEMORY:
        return "memory";
    case RUSM_DOWN_TRANSPORT:
        return "transport";
    case RUSM_DOWN_LEFT:
        return "left";
    }
    return "unknown";
}

static void take_event(const rusm_node_event *event)
{
    struct heard *heard = heard_of(event->node);
    char text[2 * RUSM_NODE_EVENT_TEXT_MAX];

    if (heard == NULL) {
        return;
    }
    if (heard->told && heard->up == event->up) {
        violation(event->up ? "up twice" : "down twice", heard->node, 0, 1);
    }
    heard->told = true;
    heard->up = event->up;
    if (event->up) {
        heart.ups++;
        faults_say("node_up", ",\"node\":\"%s\",\"incarnation\":\"%016" PRIx64 "\"", heard->node,
                   event->incarnation);
        return;
    }
    heart.losses++;
    heard->may_miss = true;
    faults_say("node_down",
               ",\"node\":\"%s\",\"incarnation\":\"%016" PRIx64 "\",\"cause\":\"%s\","
               "\"text\":\"%s\"",
               heard->node, event->incarnation, cause_word(event->cause),
               faults_text(event->text, text, sizeof(text)));
}

static void report(void)
{
    size_t monitored = 0;

    for (size_t i = 0; i < heart.nodes_len; i++) {
        monitored += heart.nodes[i].monitored;
    }
    faults_say("counts",
               ",\"beats\":%" PRIu64 ",\"violations\":%" PRIu64 ",\"monitors\":%" PRIu64
               ",\"downs\":%" PRIu64 ",\"pending\":%zu,\"ups\":%" PRIu64 ",\"losses\":%" PRIu64,
               heart.beats, heart.violations, heart.monitors, heart.downs, monitored, heart.ups,
               heart.losses);
}

static void run_heart(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    if (rusm_monitor_nodes(true) != RUSM_OK) {
        faults_die("listen to node events");
    }
    faults_say("listening", "%s", "");
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_kind kind = rusm_msg_get_kind(msg);

        if (kind == RUSM_MSG_DOWN) {
            take_down(msg);
        } else if (kind == RUSM_MSG_NODE_UP || kind == RUSM_MSG_NODE_DOWN) {
            take_event(rusm_msg_node_event(msg));
        } else if (rusm_msg_len(msg) == 0) {
            report();
        } else {
            take_beat(msg);
        }
        rusm_msg_del(msg);
    }
}

/* ---- the beater ------------------------------------------------------------------------------ */

static uint64_t *number_for(const char *peer)
{
    for (size_t i = 0; i < beater.names_len; i++) {
        if (strcmp(beater.names[i], peer) == 0) {
            return &beater.numbers[i];
        }
    }
    if (beater.names_len == PEERS_MAX) {
        return NULL;
    }
    (void)snprintf(beater.names[beater.names_len], sizeof(beater.names[0]), "%s", peer);
    return &beater.numbers[beater.names_len++];
}

static void beat_peer(struct beat *beat, const char *peer)
{
    uint64_t *number = number_for(peer);

    if (number == NULL) {
        return;
    }
    beat->number = *number + 1;
    /* While a queue is full, or a link is being lost, beats are skipped and no number is used. */
    if (rusm_node_try_send(NULL, peer, "heart", beat, sizeof(*beat)) == RUSM_OK) {
        *number = beat->number;
    }
}

static void run_beater(void *arg)
{
    struct beat beat = {.magic = BEAT_MAGIC, .incarnation = rusm_self().incarnation};
    rusm_peer_info *infos = rusm_alloc(8 * sizeof(*infos));
    rusm_err err = RUSM_OK;

    (void)arg;
    if (infos == NULL) {
        faults_die("memory for a list of peers");
    }
    (void)snprintf(beat.node, sizeof(beat.node), "%s", rusm_node_name(beater.node));
    while (err == RUSM_OK || err == RUSM_ETIMEOUT) {
        uint64_t cursor = 0;

        do {
            ptrdiff_t n = rusm_peer_list(beater.node, &cursor, infos, 8);

            for (ptrdiff_t i = 0; i < n; i++) {
                beat_peer(&beat, infos[i].name);
            }
        } while (cursor != 0);
        err = rusm_sleep(beater.beat_ms);
    }
}

void faults_pulse_start(rusm_node *node, uint32_t beat_ms)
{
    rusm_spawn_config cfg;

    heart.node = beater.node = node;
    beater.beat_ms = beat_ms;
    rusm_spawn_config_init(&cfg);
    cfg.name = cfg.label = "heart";
    if (rusm_spawn_with(rusm_node_runtime(node), run_heart, NULL, &cfg, NULL) != RUSM_OK) {
        faults_die("spawn the heart");
    }
    cfg.name = cfg.label = "beater";
    if (beat_ms != 0 &&
        rusm_spawn_with(rusm_node_runtime(node), run_beater, NULL, &cfg, NULL) != RUSM_OK) {
        faults_die("spawn the beater");
    }
}

void faults_pulse_report(rusm_node *node)
{
    (void)!rusm_node_send(node, rusm_node_name(node), "heart", "", 0);
}
