/* SPDX-License-Identifier: MIT */
/*
 * rusm-test-proxy: the bad network of support/udp_proxy.h between OS processes.
 *
 *   rusm-test-proxy --target ADDRESS [--listen ADDRESS] [--seed N] [--to F] [--from F] [--both F]
 *
 * F is a list such as loss=0.01,delay_ms=5,rate=1000000 with the fields of struct
 * support_proxy_faults: loss, duplicate, reorder and corrupt (0 to 1), delay_ms and jitter_ms,
 * rate (bytes a second), queue (bytes), mtu, lose_every, cut (0 or 1). What is not named stays.
 *
 * It prints {"listening":"ADDRESS"}, then reads commands, one a line, and answers each by a line:
 *
 *   to|from|both F     change settings                {"ok":true}
 *   heal               all settings back to zero      {"ok":true}
 *   counts             {"to":{...},"from":{...}}, as struct support_proxy_counts
 *
 * A command that it does not understand is answered by {"ok":false}. It ends when its input does.
 */
#include "support/udp_proxy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 512

static bool parse_number(const char *text, double max, double *out)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= 0) || value > max) {
        return false;
    }
    *out = value;
    return true;
}

/* One `name=value`. */
static bool set_field(struct support_proxy_faults *faults, const char *name, const char *value)
{
    const struct {
        const char *name;
        double *probability;
    } chances[] = {
        {"loss", &faults->loss},
        {"duplicate", &faults->duplicate},
        {"reorder", &faults->reorder},
        {"corrupt", &faults->corrupt},
    };
    const struct {
        const char *name;
        uint32_t *value;
        double scale, max;
    } numbers[] = {
        {"delay_ms", &faults->delay_us, 1000, 60000},
        {"jitter_ms", &faults->jitter_us, 1000, 60000},
        {"mtu", &faults->mtu, 1, 65535},
        {"lose_every", &faults->lose_every, 1, 1e9},
    };
    double number;

    for (size_t i = 0; i < sizeof(chances) / sizeof(chances[0]); i++) {
        if (strcmp(name, chances[i].name) == 0) {
            return parse_number(value, 1, chances[i].probability);
        }
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (strcmp(name, numbers[i].name) == 0 && parse_number(value, numbers[i].max, &number)) {
            *numbers[i].value = (uint32_t)(number * numbers[i].scale);
            return true;
        }
    }
    if (!parse_number(value, 1e12, &number)) {
        return false;
    }
    if (strcmp(name, "rate") == 0) {
        faults->rate = (uint64_t)number;
    } else if (strcmp(name, "queue") == 0) {
        faults->queue_bytes = (uint64_t)number;
    } else if (strcmp(name, "cut") == 0) {
        faults->cut = number != 0;
    } else {
        return false;
    }
    return true;
}

/* All or nothing. list is cut up. */
static bool parse_faults(struct support_proxy_faults *faults, char *list)
{
    struct support_proxy_faults parsed = *faults;

    for (char *next, *field = list; field != NULL; field = next) {
        char *value = strchr(field, '=');

        next = strchr(field, ',');
        if (next != NULL) {
            *next++ = '\0';
        }
        if (value == NULL || (next != NULL && value > next)) {
            return false;
        }
        *value++ = '\0';
        if (!set_field(&parsed, field, value)) {
            return false;
        }
    }
    *faults = parsed;
    return true;
}

/* way: "to", "from" or "both". */
static bool change(struct support_proxy *proxy, const char *way, const char *list)
{
    static const char *const names[] = {"to", "from"};
    bool known = false;

    for (size_t i = 0; i < 2; i++) {
        struct support_proxy_faults faults = support_proxy_get(proxy, (enum support_proxy_way)i);
        char copy[LINE_MAX_BYTES];

        if (strcmp(way, names[i]) != 0 && strcmp(way, "both") != 0) {
            continue;
        }
        known = true;
        (void)snprintf(copy, sizeof(copy), "%s", list);
        if (!parse_faults(&faults, copy)) {
            return false;
        }
        support_proxy_set(proxy, (enum support_proxy_way)i, &faults);
    }
    return known;
}

static void print_counts(struct support_proxy *proxy, const char *name, enum support_proxy_way way)
{
    struct support_proxy_counts c = support_proxy_counts(proxy, way);

    printf("\"%s\":{\"received\":%" PRIu64 ",\"forwarded\":%" PRIu64 ",\"duplicated\":%" PRIu64
           ",\"reordered\":%" PRIu64 ",\"corrupted\":%" PRIu64 ",\"cut\":%" PRIu64
           ",\"too_large\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"queue_full\":%" PRIu64
           ",\"failed\":%" PRIu64 "}",
           name, c.received, c.forwarded, c.duplicated, c.reordered, c.corrupted, c.cut,
           c.too_large, c.lost, c.queue_full, c.failed);
}

static void obey(struct support_proxy *proxy, char *line)
{
    char *list = strchr(line, ' ');
    bool ok = true;

    if (list != NULL) {
        *list++ = '\0';
    }
    if (strcmp(line, "counts") == 0) {
        printf("{");
        print_counts(proxy, "to", SUPPORT_PROXY_TO);
        printf(",");
        print_counts(proxy, "from", SUPPORT_PROXY_FROM);
        printf("}\n");
        return;
    }
    if (strcmp(line, "heal") == 0) {
        struct support_proxy_faults none = {0};

        support_proxy_set(proxy, SUPPORT_PROXY_BOTH, &none);
    } else {
        ok = list != NULL && change(proxy, line, list);
    }
    printf("{\"ok\":%s}\n", ok ? "true" : "false");
}

static int usage(void)
{
    (void)fprintf(stderr, "usage: rusm-test-proxy --target ADDRESS [--listen ADDRESS] [--seed N] "
                          "[--to|--from|--both FAULTS]\n");
    return 2;
}

int main(int argc, char **argv)
{
    const char *target = NULL, *listen = NULL;
    struct support_proxy *proxy;
    char line[LINE_MAX_BYTES];
    uint64_t seed = 1;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--target") == 0) {
            target = argv[i + 1];
        } else if (strcmp(argv[i], "--listen") == 0) {
            listen = argv[i + 1];
        } else if (strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(argv[i + 1], NULL, 10);
        }
    }
    if (target == NULL || argc % 2 == 0) {
        return usage();
    }
    proxy = support_proxy_open(target, listen, seed);
    if (proxy == NULL) {
        return 1;
    }
    for (int i = 1; i + 1 < argc; i += 2) {
        bool known = strcmp(argv[i], "--target") == 0 || strcmp(argv[i], "--listen") == 0 ||
                     strcmp(argv[i], "--seed") == 0;

        if (!known &&
            (strncmp(argv[i], "--", 2) != 0 || !change(proxy, argv[i] + 2, argv[i + 1]))) {
            support_proxy_del(proxy);
            return usage();
        }
    }
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    printf("{\"listening\":\"%s\"}\n", support_proxy_address(proxy));
    while (fgets(line, sizeof(line), stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        obey(proxy, line);
    }
    support_proxy_del(proxy);
    return 0;
}
