/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzz target over the files that are given, and over all files of the folders that are
 * given, without libFuzzer: so that every input that ever found something is tried in every test
 * run, with any compiler. An empty corpus is an error, because it tests nothing.
 */
#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Larger inputs than any target looks at. */
#define INPUT_MAX ((size_t)1 << 20)

static bool replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *room = malloc(INPUT_MAX), *exact = NULL;
    size_t len = 0;
    bool ok = file != NULL && room != NULL;

    if (ok) {
        len = fread(room, 1, INPUT_MAX, file);
        /* A block of its exact size, so that sanitizers see a read past the end. */
        exact = realloc(room, len == 0 ? 1 : len);
        ok = ferror(file) == 0 && exact != NULL;
        room = exact == NULL ? room : exact;
    }
    if (ok) {
        (void)LLVMFuzzerTestOneInput(room, len);
    } else {
        perror(path);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    free(room);
    return ok;
}

/* How many files were run, or -1. */
static long replay(const char *path)
{
    DIR *folder;
    struct dirent *entry;
    struct stat info;
    long files = 0;

    if (stat(path, &info) != 0) {
        perror(path);
        return -1;
    }
    if (!S_ISDIR(info.st_mode)) {
        return replay_file(path) ? 1 : -1;
    }
    folder = opendir(path);
    if (folder == NULL) {
        perror(path);
        return -1;
    }
    while (files >= 0 && (entry = readdir(folder)) != NULL) {
        char inner[PATH_MAX];

        if (entry->d_name[0] != '.') {
            (void)snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
            files = replay_file(inner) ? files + 1 : -1;
        }
    }
    (void)closedir(folder);
    return files;
}

int main(int argc, char **argv)
{
    long total = 0;

    for (int i = 1; i < argc; i++) {
        long files = replay(argv[i]);

        if (files < 0) {
            return 1;
        }
        total += files;
    }
    (void)printf("%ld inputs\n", total);
    return total == 0;
}
