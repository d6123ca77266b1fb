/* SPDX-License-Identifier: MIT */
#include "trust/file.h"

#include "base/assert.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <inttypes.h>
#include <rusm/otp/driver.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static rusm_err fail_errno(const char *path, const char *what)
{
    char buf[128];
    const char *reason = strerror_r(errno, buf, sizeof(buf)); /* the GNU one: returns the text */

    return rusm_set_err_detail(RUSM_ESYS, "%s: %s: %s", path, what, reason);
}

static rusm_err fail_memory(void)
{
    return rusm_set_err_detail(RUSM_ENOMEM, "%s", rusm_err_text(RUSM_ENOMEM));
}

char *rusmi_file_path(const char *folder, const char *name, const char *suffix)
{
    size_t size = strlen(folder) + 1 + strlen(name) + strlen(suffix) + 1;
    char *path = rusmi_alloc(size);

    if (path != NULL) {
        (void)snprintf(path, size, "%s/%s%s", folder, name, suffix);
    }
    return path;
}

/* ---- reading */

void rusmi_file_fini(struct rusmi_file *file)
{
    if (file->data != NULL) {
        gnutls_memset(file->data, 0, file->len);
        rusmi_free(file->data);
    }
    file->data = NULL;
    file->len = 0;
}

static rusm_err check_opened(int fd, const char *path, bool secret, size_t max, size_t *out_size)
{
    struct stat st;

    if (fstat(fd, &st) != 0) {
        return fail_errno(path, "cannot look at it");
    }
    if (!S_ISREG(st.st_mode)) {
        return rusm_set_err_detail(RUSM_ECERT, "%s: not a regular file", path);
    }
    if (secret && (st.st_mode & (S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH)) != 0) {
        return rusm_set_err_detail(RUSM_ECERT,
                                   "%s: others than its owner may read or write this key (mode "
                                   "%04o); run: chmod 600 %s",
                                   path, (unsigned)(st.st_mode & 07777), path);
    }
    if (st.st_size < 0 || (uint64_t)st.st_size > max) {
        return rusm_set_err_detail(RUSM_ECERT, "%s: too large for such a file (%jd bytes)", path,
                                   (intmax_t)st.st_size);
    }
    *out_size = (size_t)st.st_size;
    return RUSM_OK;
}

static rusm_err file_read(const char *path, bool secret, size_t max, struct rusmi_file *out)
{
    /* Not blocking, or a FIFO in place of the file would hold the caller for ever. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct rusmi_file file = {0};
    rusm_err err;
    size_t size = 0;

    if (fd < 0) {
        return fail_errno(path, "cannot open it");
    }
    err = check_opened(fd, path, secret, max, &size);
    if (err == RUSM_OK && (file.data = rusmi_zalloc(size + 1)) == NULL) {
        err = fail_memory();
    }
    while (err == RUSM_OK && file.len < size) {
        ssize_t n = read(fd, file.data + file.len, size - file.len);

        if (n == 0) {
            break; /* it has become shorter: the reader of the PEM will see */
        }
        if (n > 0) {
            file.len += (size_t)n;
        } else if (errno != EINTR) {
            err = fail_errno(path, "cannot read it");
        }
    }
    (void)close(fd);
    if (err != RUSM_OK) {
        rusmi_file_fini(&file);
        return err;
    }
    *out = file;
    return RUSM_OK;
}

rusm_err rusmi_file_read(const char *path, bool secret, struct rusmi_file *out)
{
    return file_read(path, secret, RUSMI_FILE_MAX, out);
}

rusm_err rusmi_file_read_max(const char *path, size_t max, struct rusmi_file *out)
{
    return file_read(path, false, max, out);
}

bool rusmi_file_exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 || errno != ENOENT;
}

/* ---- saving */

/* Where files are saved. */
struct place {
    const char *folder; /* for texts */
    int fd;
    bool made; /* the folder is ours to take back */
};

static rusm_err fail_save(const struct place *place, const char *name, const char *what)
{
    char path[512];

    (void)snprintf(path, sizeof(path), "%s/%s", place->folder, name);
    return fail_errno(path, what);
}

static rusm_err place_open(struct place *place, const char *folder)
{
    place->folder = folder;
    place->made = mkdir(folder, 0755) == 0;
    if (!place->made && errno != EEXIST) {
        return fail_errno(folder, "cannot make the folder");
    }
    place->fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return place->fd < 0 ? fail_errno(folder, "cannot open the folder") : RUSM_OK;
}

/* Whether the file, which exists, has exactly these bytes. */
static rusm_err compare(const struct place *place, const struct rusmi_file_save *file,
                        bool *out_equal)
{
    struct rusmi_file old = {0};
    char *path = rusmi_file_path(place->folder, file->name, "");
    rusm_err err = path == NULL ? fail_memory() : rusmi_file_read(path, false, &old);

    *out_equal =
        err == RUSM_OK && old.len == file->len && memcmp(old.data, file->data, old.len) == 0;
    rusmi_file_fini(&old);
    rusmi_free(path);
    return err == RUSM_ECERT ? RUSM_OK : err; /* what cannot be a PEM file is not equal to one */
}

static rusm_err refuse_existing(const struct place *place, const struct rusmi_file_save *file)
{
    return rusm_set_err_detail(RUSM_EEXIST, "%s/%s: it exists%s and is never overwritten",
                               place->folder, file->name,
                               file->equal_okay ? " with other contents" : "");
}

/* Sets skip if the file is there already, as it should be. */
static rusm_err check_free(const struct place *place, const struct rusmi_file_save *file,
                           bool *out_skip)
{
    rusm_err err = RUSM_OK;
    struct stat st;

    *out_skip = false;
    if (fstatat(place->fd, file->name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT ? RUSM_OK : fail_save(place, file->name, "cannot look at it");
    }
    if (file->equal_okay) {
        err = compare(place, file, out_skip);
    }
    return err != RUSM_OK || *out_skip ? err : refuse_existing(place, file);
}

static bool write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno != EINTR) {
            return false;
        }
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    return true;
}

static rusm_err write_temp(const struct place *place, struct rusmi_file_save *file)
{
    uint64_t number = 0;
    int fd, code;
    bool okay;

    code = gnutls_rnd(GNUTLS_RND_NONCE, &number, sizeof(number));
    if (code < 0) {
        return rusm_set_err_detail(RUSM_ESYS, "no random bytes: %s", gnutls_strerror(code));
    }
    (void)snprintf(file->temp, sizeof(file->temp), ".rusm-%016" PRIx64 ".tmp", number);
    fd = openat(place->fd, file->temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        file->temp[0] = '\0';
        return fail_save(place, file->name, "cannot create it");
    }
    okay = write_all(fd, file->data, file->len) && fchmod(fd, (mode_t)file->mode) == 0 &&
           fsync(fd) == 0;
    if (close(fd) != 0) {
        okay = false;
    }
    return okay ? RUSM_OK : fail_save(place, file->name, "cannot write it");
}

static rusm_err link_final(const struct place *place, struct rusmi_file_save *file)
{
    if (linkat(place->fd, file->temp, place->fd, file->name, 0) == 0) {
        file->linked = true;
        return RUSM_OK;
    }
    if (errno == EEXIST) {
        return refuse_existing(place, file); /* somebody was quicker than our check */
    }
    return fail_save(place, file->name, "cannot create it");
}

static rusm_err save_all(const struct place *place, struct rusmi_file_save *files, size_t count)
{
    rusm_err err = RUSM_OK;
    bool skip;

    for (size_t i = 0; i < count && err == RUSM_OK; i++) {
        err = check_free(place, &files[i], &skip);
        if (err == RUSM_OK && !skip) {
            err = write_temp(place, &files[i]);
        }
    }
    for (size_t i = 0; i < count && err == RUSM_OK; i++) {
        if (files[i].temp[0] != '\0') {
            err = link_final(place, &files[i]);
        }
    }
    if (err == RUSM_OK && fsync(place->fd) != 0) {
        err = fail_errno(place->folder, "cannot flush the folder");
    }
    return err;
}

rusm_err rusmi_file_save(const char *folder, struct rusmi_file_save *files, size_t count)
{
    struct place place = {.fd = -1};
    rusm_err err = place_open(&place, folder);

    if (err == RUSM_OK) {
        err = save_all(&place, files, count);
    }
    for (size_t i = 0; place.fd >= 0 && i < count; i++) {
        rusmi_assert_slow(files[i].name != NULL);
        if (files[i].temp[0] != '\0') {
            (void)unlinkat(place.fd, files[i].temp, 0);
        }
        if (err != RUSM_OK && files[i].linked) {
            (void)unlinkat(place.fd, files[i].name, 0);
        }
    }
    if (place.fd >= 0) {
        (void)close(place.fd);
    }
    if (err != RUSM_OK && place.made) {
        (void)rmdir(folder);
    }
    return err;
}

/* ---- replacing */

rusm_err rusmi_file_replace(const char *path, const void *data, size_t len, unsigned mode)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    size_t folder_len = slash == NULL || slash == path ? 1 : (size_t)(slash - path);
    char *folder = rusmi_strndup(slash == NULL ? "." : path, folder_len);
    struct rusmi_file_save file = {.name = name, .data = data, .len = len, .mode = mode};
    struct place place = {.folder = folder, .fd = -1};
    rusm_err err = RUSM_OK;

    if (folder == NULL) {
        return fail_memory();
    }
    place.fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (place.fd < 0) {
        err = fail_errno(folder, "cannot open the folder");
    }
    if (err == RUSM_OK) {
        err = write_temp(&place, &file);
    }
    if (err == RUSM_OK) {
        if (renameat(place.fd, file.temp, place.fd, name) != 0) {
            err = fail_save(&place, name, "cannot replace it");
        } else {
            file.temp[0] = '\0';
            err = fsync(place.fd) == 0 ? RUSM_OK : fail_errno(folder, "cannot flush the folder");
        }
    }
    if (place.fd >= 0) {
        if (file.temp[0] != '\0') {
            (void)unlinkat(place.fd, file.temp, 0);
        }
        (void)close(place.fd);
    }
    rusmi_free(folder);
    return err;
}

rusm_err rusmi_folder_lock(const char *folder, int *out_fd)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc;

    if (fd < 0) {
        return fail_errno(folder, "cannot open the folder");
    }
    do {
        rc = flock(fd, LOCK_EX);
    } while (rc != 0 && errno == EINTR);
    if (rc != 0) {
        rusm_err err = fail_errno(folder, "cannot lock the folder");

        (void)close(fd);
        return err;
    }
    *out_fd = fd;
    return RUSM_OK;
}

void rusmi_folder_unlock(int fd)
{
    if (fd >= 0) {
        (void)close(fd); /* lets the lock go */
    }
}
