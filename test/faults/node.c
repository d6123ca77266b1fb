/* SPDX-License-Identifier: MIT */
/*
 * rusm-test-node: a node in an OS process of its own, for tests that kill, stop and cut it.
 *
 *   rusm-test-node --issue FOLDER NAME...          make a CA and identities for these names
 *   rusm-test-node --name NAME --identity FOLDER [--listen ADDRESS] [--advertise ADDRESS]
 *                  [--tick MS] [--hello MS] [--beat MS] [--mesh 0|1] [--reconnect-max MS]
 *                  [--join SPEC]...
 *
 * What happens is printed as lines of JSON: pulse.h says of what, and each command below of its
 * own. Commands are lines on standard input, which also ends the node when it ends, so that no node
 * outlives the test that started it:
 *
 *   connect ADDRESS          event connected: err, detail
 *   join SPEC                event joined: err
 *   disconnect PEER          event disconnected: err
 *   leave MS                 event left: err
 *   big PEER BYTES COUNT     so many, each after the receipt for the one before: event accepted,
 *                            and got at the other node when it has come whole
 *   ping PEER COUNT PAUSE    event pinged: round trips of 64 bytes through the peer's echo
 *   victim NAME              a process of that name, which waits; event spawned
 *   slay NAME                kill a process of this node by its name; event slain: err
 *   watch PEER NAME COUNT    monitor the process so often; event watching, then watched: downs
 *   global NAME              publish the heart under a global name; event published: err
 *   whereis NAME             event whereis: err, here (whether it is a process of this node)
 *   peers, stats, counts     events peers, stats, counts
 *   quit                     event ended, after an orderly end
 */
#include "faults/pulse.h"

#include <rusm/otp/driver.h>

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX  4
#define WORD_MAX   300
#define BIG_MAGIC  0x6269676269676269u
#define ANSWER_MS  60000
#define PINGS_MAX  100000
#define PING_BYTES 64
#define PEERS_PAGE 8

/* A command that may block, as a process of its own. */
struct job {
    rusm_node *node;
    char words[WORDS_MAX][WORD_MAX];
};

static const char *err_name(rusm_err err)
{
    return rusm_err_name(err);
}

static void say_err(const char *event, const char *subject, rusm_err err)
{
    char detail[600], name[2 * WORD_MAX];

    faults_say(event, ",\"of\":\"%s\",\"err\":\"%s\",\"detail\":\"%s\"",
               faults_text(subject, name, sizeof(name)), err_name(err),
               err == RUSM_OK ? "" : faults_text(rusm_err_detail(), detail, sizeof(detail)));
}

/* ---- processes that serve -------------------------------------------------------------------- */

static void run_echo(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        if (rusm_send_msg(rusm_msg_sender(msg), msg) != RUSM_OK) {
            rusm_msg_del(msg);
        }
    }
}

/* The words of a large message; word 0 is BIG_MAGIC, word 1 its length. */
static uint64_t big_word(size_t i)
{
    return (i + 1) * 0x9e3779b97f4a7c15u;
}

static bool is_whole(const uint64_t *words, size_t len)
{
    if (len < 16 || len % 8 != 0 || words[0] != BIG_MAGIC || words[1] != len) {
        return false;
    }
    for (size_t i = 2; i < len / 8; i++) {
        if (words[i] != big_word(i)) {
            return false;
        }
    }
    return true;
}

static void run_sink(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        faults_say("got", ",\"bytes\":%zu,\"whole\":%s", rusm_msg_len(msg),
                   is_whole(rusm_msg_data(msg), rusm_msg_len(msg)) ? "true" : "false");
        (void)!rusm_send(rusm_msg_sender(msg), "", 0); /* a receipt; who has gone needs none */
        rusm_msg_del(msg);
    }
}

static void run_victim(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_del(msg);
    }
}

static void serve(rusm_node *node, const char *name, rusm_process_fn fn)
{
    rusm_spawn_config cfg;

    rusm_spawn_config_init(&cfg);
    cfg.name = cfg.label = name;
    if (rusm_spawn_with(rusm_node_runtime(node), fn, NULL, &cfg, NULL) != RUSM_OK) {
        faults_die(name);
    }
}

/* ---- commands that block --------------------------------------------------------------------- */

static void do_connect(const struct job *job)
{
    say_err("connected", job->words[1],
            rusm_node_connect(job->node, job->words[1], ANSWER_MS, NULL));
}

static void do_disconnect(const struct job *job)
{
    say_err("disconnected", job->words[1], rusm_node_disconnect(job->node, job->words[1]));
}

static void do_leave(const struct job *job)
{
    int64_t limit_ms = strtoll(job->words[1], NULL, 10);

    say_err("left", rusm_node_name(job->node), rusm_node_leave(job->node, limit_ms));
}

static void do_big(const struct job *job)
{
    size_t len = (size_t)strtoull(job->words[2], NULL, 10) / 8 * 8;
    unsigned count = (unsigned)strtoul(job->words[3], NULL, 10);
    uint64_t *words = rusm_alloc(len);
    rusm_err err = RUSM_OK;
    rusm_msg *msg;

    if (words == NULL || len < 16) {
        faults_die("memory for a big message");
    }
    words[0] = BIG_MAGIC;
    words[1] = len;
    for (size_t i = 2; i < len / 8; i++) {
        words[i] = big_word(i);
    }
    for (unsigned i = 0; i < count && err == RUSM_OK; i++) {
        err = rusm_node_send(job->node, job->words[1], "sink", words, len);
        say_err("accepted", job->words[1], err);
        if (err == RUSM_OK && (err = rusm_receive(&msg, RUSM_INFINITY)) == RUSM_OK) {
            rusm_msg_del(msg);
        }
    }
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* Of sorted samples, in thousandths; 0 if there are none. */
static uint64_t quantile(const uint64_t *samples, unsigned len, unsigned thousandths)
{
    size_t index = (size_t)len * thousandths / 1000;

    return len == 0 ? 0 : samples[index < len ? index : len - 1];
}

static void do_ping(const struct job *job)
{
    unsigned count = (unsigned)strtoul(job->words[2], NULL, 10), got = 0;
    int64_t pause_ms = strtoll(job->words[3], NULL, 10);
    uint8_t data[PING_BYTES] = {0};
    uint64_t *spans;
    rusm_err err = RUSM_OK;
    rusm_msg *msg;

    count = count < 1 ? 1 : count > PINGS_MAX ? PINGS_MAX : count;
    spans = rusm_alloc(count * sizeof(*spans));
    if (spans == NULL) {
        faults_die("memory for samples");
    }
    while (got < count && err == RUSM_OK) {
        rusm_time begin = rusm_now();

        memcpy(data, &got, sizeof(got));
        err = rusm_node_send(job->node, job->words[1], "echo", data, sizeof(data));
        if (err == RUSM_OK) {
            err = rusm_receive(&msg, ANSWER_MS);
        }
        if (err == RUSM_OK) {
            spans[got++] = (rusm_now() - begin) / 1000u;
            rusm_msg_del(msg);
        }
        if (pause_ms > 0 && err == RUSM_OK) {
            (void)!rusm_sleep(pause_ms);
        }
    }
    qsort(spans, got, sizeof(*spans), compare_u64);
    faults_say(
        "pinged",
        ",\"of\":\"%s\",\"err\":\"%s\",\"count\":%u,\"p50_us\":%" PRIu64 ",\"p90_us\":%" PRIu64
        ",\"p99_us\":%" PRIu64 ",\"p999_us\":%" PRIu64 ",\"max_us\":%" PRIu64,
        job->words[1], err_name(err), got, quantile(spans, got, 500), quantile(spans, got, 900),
        quantile(spans, got, 990), quantile(spans, got, 999), quantile(spans, got, 1000));
}

static void do_watch(const struct job *job)
{
    unsigned count = (unsigned)strtoul(job->words[3], NULL, 10), made = 0, downs = 0;
    rusm_reason_kind reason = RUSM_REASON_NORMAL;
    rusm_err err;
    rusm_msg *msg;
    rusm_pid pid;

    err = rusm_remote_whereis(job->node, job->words[1], job->words[2], ANSWER_MS, &pid);
    while (err == RUSM_OK && made < count) {
        err = rusm_monitor(pid, NULL);
        made += err == RUSM_OK;
    }
    say_err("watching", job->words[2], err);
    while (err == RUSM_OK && downs < made) {
        err = rusm_receive(&msg, RUSM_INFINITY);
        if (err == RUSM_OK) {
            downs += rusm_msg_get_kind(msg) == RUSM_MSG_DOWN;
            reason = rusm_msg_reason(msg) != NULL ? rusm_msg_reason(msg)->kind : reason;
            rusm_msg_del(msg);
        }
    }
    faults_say("watched", ",\"of\":\"%s\",\"downs\":%u,\"reason\":\"%s\"", job->words[2], downs,
               rusm_reason_name(reason));
}

/* ---- commands that do not -------------------------------------------------------------------- */

static void do_join(const struct job *job)
{
    say_err("joined", job->words[1], rusm_node_join(job->node, job->words[1]));
}

static void do_victim(const struct job *job)
{
    serve(job->node, job->words[1], run_victim);
    faults_say("spawned", ",\"of\":\"%s\"", job->words[1]);
}

static void do_slay(const struct job *job)
{
    rusm_pid pid;
    rusm_err err = rusm_whereis(rusm_node_runtime(job->node), job->words[1], &pid);

    say_err("slain", job->words[1], err == RUSM_OK ? rusm_kill(pid) : err);
}

static void do_global(const struct job *job)
{
    rusm_pid pid;
    rusm_err err = rusm_whereis(rusm_node_runtime(job->node), "heart", &pid);

    say_err("published", job->words[1],
            err == RUSM_OK ? rusm_register_global(job->node, job->words[1], pid) : err);
}

static void do_whereis(const struct job *job)
{
    rusm_pid pid = RUSM_PID_NONE;
    rusm_err err = rusm_whereis_global(job->node, job->words[1], &pid);

    faults_say("whereis", ",\"of\":\"%s\",\"err\":\"%s\",\"owner\":\"%016" PRIx64 "\",\"here\":%s",
               job->words[1], err_name(err), pid.incarnation,
               pid.incarnation == rusm_runtime_incarnation(rusm_node_runtime(job->node)) ? "true"
                                                                                         : "false");
}

static void do_peers(const struct job *job)
{
    rusm_peer_info infos[PEERS_PAGE];
    char line[900] = "", name[2 * RUSM_NAME_MAX];
    uint64_t cursor = 0;
    size_t len = 0;

    do {
        ptrdiff_t n = rusm_peer_list(job->node, &cursor, infos, PEERS_PAGE);

        for (ptrdiff_t i = 0; i < n && len < sizeof(line); i++) {
            int added = snprintf(line + len, sizeof(line) - len, "%s\"%s\"", len > 0 ? "," : "",
                                 faults_text(infos[i].name, name, sizeof(name)));

            len += added > 0 ? (size_t)added : 0;
        }
    } while (cursor != 0);
    faults_say("peers", ",\"names\":[%s]", line);
}

/* What the path to a peer carries. */
static void do_path(const struct job *job)
{
    rusm_peer_info info = {.name = ""};
    uint64_t cursor = 0;

    do {
        if (rusm_peer_list(job->node, &cursor, &info, 1) == 1 &&
            strcmp(info.name, job->words[1]) == 0) {
            break;
        }
    } while (cursor != 0);
    faults_say("path", ",\"payload_max\":%" PRIu64 ",\"payload_shrunk\":%" PRIu64, info.payload_max,
               info.payload_shrunk);
}

static unsigned open_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    unsigned count = 0;

    if (folder == NULL) {
        return 0;
    }
    while (readdir(folder) != NULL) {
        count++;
    }
    (void)closedir(folder);
    return count - 3; /* ".", ".." and the folder itself */
}

/* The sanitizers keep what was freed. */
#if defined(__SANITIZE_ADDRESS__)
#define MEMORY_IS_KEPT 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MEMORY_IS_KEPT 1
#endif
#endif
#ifndef MEMORY_IS_KEPT
#define MEMORY_IS_KEPT 0
#endif

/* Resident memory in KiB; 0 where that says nothing. */
static unsigned long resident_kib(void)
{
    FILE *file = MEMORY_IS_KEPT ? NULL : fopen("/proc/self/statm", "r");
    char line[256] = "";
    const char *resident = NULL;

    if (file != NULL) {
        resident = fgets(line, sizeof(line), file) != NULL ? strchr(line, ' ') : NULL;
        (void)fclose(file);
    }
    return resident != NULL ? strtoul(resident, NULL, 10) * 4 : 0;
}

static void do_stats(const struct job *job)
{
    rusm_runtime_stats processes;
    rusm_node_stats stats;

    if (rusm_node_get_stats(job->node, &stats) != RUSM_OK ||
        rusm_runtime_get_stats(rusm_node_runtime(job->node), &processes) != RUSM_OK) {
        faults_die("read the counters");
    }
    faults_say("stats",
               ",\"descriptors\":%u,\"resident_kib\":%lu,\"processes\":%" PRIu64
               ",\"sent\":%" PRIu64 ",\"received\":%" PRIu64 ",\"dropped_link\":%" PRIu64
               ",\"dropped_noname\":%" PRIu64 ",\"dropped_noproc\":%" PRIu64
               ",\"dropped_full\":%" PRIu64 ",\"handshakes\":%" PRIu64 ",\"timeouts\":%" PRIu64
               ",\"protocol_errors\":%" PRIu64 ",\"refused_auth\":%" PRIu64 ",\"stray\":%" PRIu64,
               open_descriptors(), resident_kib(), processes.processes, stats.messages_sent,
               stats.messages_received, stats.dropped_link, stats.dropped_noname,
               stats.dropped_noproc, stats.dropped_full, stats.handshakes, stats.timeouts,
               stats.protocol_errors, stats.refused_auth, stats.datagrams_stray);
}

static void do_counts(const struct job *job)
{
    faults_pulse_report(job->node);
}

static const struct {
    const char *name;
    unsigned words; /* with its own */
    bool blocks;
    void (*run)(const struct job *job);
} commands[] = {
    {"connect", 2, true, do_connect},
    {"join", 2, false, do_join},
    {"disconnect", 2, true, do_disconnect},
    {"leave", 2, true, do_leave},
    {"big", 4, true, do_big},
    {"ping", 4, true, do_ping},
    {"victim", 2, false, do_victim},
    {"slay", 2, false, do_slay},
    {"watch", 4, true, do_watch},
    {"global", 2, false, do_global},
    {"whereis", 2, false, do_whereis},
    {"peers", 1, false, do_peers},
    {"path", 2, false, do_path},
    {"stats", 1, false, do_stats},
    {"counts", 1, false, do_counts},
};

static void run_job(void *arg)
{
    struct job *job = arg;

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, job->words[0]) == 0) {
            commands[i].run(job);
        }
    }
    free(job);
}

/* false: the node is to end. */
static bool obey(rusm_node *node, const char *line)
{
    struct job *job = calloc(1, sizeof(*job));
    int words;

    if (job == NULL) {
        faults_die("memory for a command");
    }
    job->node = node;
    words = sscanf(line, "%299s %299s %299s %299s", job->words[0], job->words[1], job->words[2],
                   job->words[3]);
    for (size_t i = 0; words > 0 && i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, job->words[0]) != 0 || (unsigned)words != commands[i].words) {
            continue;
        }
        if (!commands[i].blocks) {
            run_job(job);
        } else if (rusm_spawn(rusm_node_runtime(node), run_job, job, NULL) != RUSM_OK) {
            faults_die("spawn a process for a command");
        }
        return true;
    }
    words = words > 0 && strcmp(job->words[0], "quit") == 0;
    free(job);
    if (words == 0) {
        faults_say("unknown", "%s", "");
    }
    return words == 0;
}

/* ---- begin and end --------------------------------------------------------------------------- */

static int issue(const char *folder, char **names, int names_len)
{
    rusm_identity *identity;
    rusm_ca *ca;

    if (rusm_ca_generate(&ca, "faults", 30) != RUSM_OK) {
        faults_die("make a CA");
    }
    for (int i = 0; i < names_len; i++) {
        if (rusm_ca_issue(ca, names[i], NULL, &identity) != RUSM_OK ||
            rusm_identity_save(identity, folder, names[i]) != RUSM_OK) {
            faults_die(names[i]);
        }
        rusm_identity_del(identity);
    }
    rusm_ca_del(ca);
    return 0;
}

struct options {
    const char *name, *identity;
    rusm_node_config cfg;
    uint32_t beat_ms;
};

static uint32_t number(const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end != '\0' || value > 3600000) {
        (void)fprintf(stderr, "rusm-test-node: %s is no number up to 3600000\n", text);
        exit(2);
    }
    return (uint32_t)value;
}

static bool set_option(struct options *options, const char *name, const char *value)
{
    if (strcmp(name, "--name") == 0) {
        options->name = value;
    } else if (strcmp(name, "--identity") == 0) {
        options->identity = value;
    } else if (strcmp(name, "--listen") == 0) {
        options->cfg.listen = value;
    } else if (strcmp(name, "--advertise") == 0) {
        options->cfg.advertise = value;
    } else if (strcmp(name, "--tick") == 0) {
        options->cfg.tick_ms = number(value);
    } else if (strcmp(name, "--hello") == 0) {
        options->cfg.hello_ms = number(value);
    } else if (strcmp(name, "--beat") == 0) {
        options->beat_ms = number(value);
    } else if (strcmp(name, "--mesh") == 0) {
        options->cfg.mesh = number(value) != 0;
    } else if (strcmp(name, "--reconnect-max") == 0) {
        options->cfg.reconnect_max_ms = number(value);
    } else {
        return strcmp(name, "--join") == 0; /* after the node is there */
    }
    return true;
}

static rusm_node *start(struct options *options)
{
    rusm_runtime *runtime;
    rusm_node *node;

    if (rusm_identity_load(&options->cfg.identity, options->identity, options->name) != RUSM_OK) {
        faults_die("load the identity");
    }
    if (rusm_runtime_new(&runtime, NULL) != RUSM_OK) {
        faults_die("start a runtime");
    }
    if (rusm_node_bind_with(&node, runtime, NULL, &options->cfg) != RUSM_OK) {
        faults_die("bind");
    }
    rusm_identity_del(options->cfg.identity);
    faults_pulse_start(node, options->beat_ms);
    serve(node, "echo", run_echo);
    serve(node, "sink", run_sink);
    faults_say("bound", ",\"address\":\"%s\",\"incarnation\":\"%016" PRIx64 "\"",
               rusm_node_address(node), rusm_runtime_incarnation(runtime));
    return node;
}

static int usage(void)
{
    (void)fprintf(stderr, "usage: rusm-test-node --issue FOLDER NAME... | --name NAME --identity "
                          "FOLDER [--option VALUE]...\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct options options = {.beat_ms = 20};
    char line[WORDS_MAX * WORD_MAX];
    rusm_runtime *runtime;
    rusm_node *node;

    if (argc > 3 && strcmp(argv[1], "--issue") == 0) {
        return issue(argv[2], argv + 3, argc - 3);
    }
    rusm_node_config_init(&options.cfg);
    options.cfg.listen = "127.0.0.1:0";
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc || !set_option(&options, argv[i], argv[i + 1])) {
            return usage();
        }
    }
    if (options.name == NULL || options.identity == NULL) {
        return usage();
    }
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    node = start(&options);
    runtime = rusm_node_runtime(node);
    for (int i = 1; i < argc; i += 2) {
        if (strcmp(argv[i], "--join") == 0 && rusm_node_join(node, argv[i + 1]) != RUSM_OK) {
            faults_die(argv[i + 1]);
        }
    }
    while (fgets(line, sizeof(line), stdin) != NULL && obey(node, line)) {
    }
    rusm_node_del(node);
    rusm_runtime_del(runtime);
    faults_say("ended", "%s", "");
    return 0;
}
