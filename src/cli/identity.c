/* SPDX-License-Identifier: MIT */
#include "cli/identity.h"

#include <rusm/otp/driver.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

rusm_err rusmi_identity_open(const char *path, const char *name, rusm_identity **out_identity)
{
    const char *slash = strrchr(path, '/');
    struct stat st;
    char *folder;
    rusm_err err;

    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        if (name == NULL) {
            return rusm_set_err_detail(RUSM_EINVAL,
                                       "%s is a folder: --identity is DIR/NAME, for the files "
                                       "NAME.pem and NAME.key in it",
                                       path);
        }
        return rusm_identity_load(out_identity, path, name);
    }
    if (slash == NULL) {
        return rusm_identity_load(out_identity, ".", path);
    }
    folder = slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
    if (folder == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "%s", rusm_err_text(RUSM_ENOMEM));
    }
    err = rusm_identity_load(out_identity, folder, slash + 1);
    free(folder);
    return err;
}
