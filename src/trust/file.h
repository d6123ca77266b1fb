/* SPDX-License-Identifier: MIT */
/*
 * PEM files: read whole, and saved so that a failure leaves none of them, a crash leaves no half of
 * one, and no file that exists is ever written over, but for those that are made to be renewed
 * (rusmi_file_replace): a revocation list and the register of a CA.
 *
 * Invariant: a file under its final name is complete and on disk. It is written under a random
 * temporary name (O_EXCL), flushed, and then linked to its name, which fails if the name is taken;
 * rename() would replace the other file. The folder is flushed last.
 *
 * Any thread. Every failure sets rusm_err_detail() to a sentence with the file and the reason.
 */
#ifndef RUSMI_TRUST_FILE_H
#define RUSMI_TRUST_FILE_H

#include <rusm/err.h>
#include <rusm/types.h>

/* A PEM file of certificates is a few kilobytes, one of a revocation list with ten thousand entries
 * half a megabyte; what is larger is something else. */
#define RUSMI_FILE_MAX ((size_t)1024 * 1024)

/* The bytes of a file, with a NUL behind them. */
struct rusmi_file {
    char *data;
    size_t len;
};

/* Read a file. With secret, refuse one that others than its owner may read or write (RUSM_ECERT).
 * RUSM_ESYS, RUSM_ECERT (no regular file, or too large), RUSM_ENOMEM */
RUSM_MUST_CHECK rusm_err rusmi_file_read(const char *path, bool secret, struct rusmi_file *out);
/* The same for a file of at most max bytes that holds no secret. */
RUSM_MUST_CHECK rusm_err rusmi_file_read_max(const char *path, size_t max, struct rusmi_file *out);
/* Whether something has this name: false only if there is nothing. */
bool rusmi_file_exists(const char *path);
/* Overwrite the bytes with zeros and free them; harmless on a zeroed struct. */
void rusmi_file_fini(struct rusmi_file *file);

/* A file to be saved. */
struct rusmi_file_save {
    const char *name; /* within the folder */
    const void *data;
    size_t len;
    unsigned mode;   /* 0600 or 0644; the umask does not matter */
    bool equal_okay; /* the file may exist if it has these very bytes */
    char temp[64];   /* the temporary name, while there is one; zero before */
    bool linked;     /* the final name is ours to take back; false before */
};

/*
 * Save count files in a folder, all or none. A missing folder is made (not its parents).
 * RUSM_EEXIST: a name is taken; RUSM_ESYS. After either, the folder is as it was.
 */
RUSM_MUST_CHECK rusm_err rusmi_file_save(const char *folder, struct rusmi_file_save *files,
                                         size_t count);

/*
 * Write a file whole, or leave the one that has the name as it was: under a random temporary name
 * first, then renamed. For files that are made to be renewed; rusmi_file_save is for those that are
 * not. RUSM_ESYS, RUSM_ENOMEM
 */
RUSM_MUST_CHECK rusm_err rusmi_file_replace(const char *path, const void *data, size_t len,
                                            unsigned mode);

/* Hold a folder against others who ask for the same (flock(2)); waits. RUSM_ESYS */
RUSM_MUST_CHECK rusm_err rusmi_folder_lock(const char *folder, int *out_fd);
/* Let go; -1 is allowed. */
void rusmi_folder_unlock(int fd);

/* `<folder>/<name><suffix>` on the heap; NULL when memory ran out. */
char *rusmi_file_path(const char *folder, const char *name, const char *suffix);

#endif
