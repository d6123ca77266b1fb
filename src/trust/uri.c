/* SPDX-License-Identifier: MIT */
#include "trust/uri.h"

#include "base/utf8.h"

#include <string.h>

#define SCHEME     "rusm://"
#define SCHEME_LEN (sizeof(SCHEME) - 1)
#define ROLE       "?role="
#define ROLE_LEN   (sizeof(ROLE) - 1)
#define SHARED     "*"

static const struct {
    rusm_role role;
    const char *name;
} roles[] = {
    {RUSM_ROLE_MEMBER, "member"},
    {RUSM_ROLE_OPERATOR, "operator"},
    {RUSM_ROLE_OBSERVER, "observer"},
};
#define ROLE_COUNT (sizeof(roles) / sizeof(roles[0]))

_Static_assert(SCHEME_LEN + 1 + 2 * 3 * RUSM_NAME_MAX + ROLE_LEN + sizeof("operator") <=
                   RUSMI_URI_MAX,
               "the longest name must fit");

const char *rusm_role_name(rusm_role role)
{
    for (size_t i = 0; i < ROLE_COUNT; i++) {
        if (roles[i].role == role) {
            return roles[i].name;
        }
    }
    return "unknown";
}

static bool role_find(const char *name, size_t len, rusm_role *out_role)
{
    for (size_t i = 0; i < ROLE_COUNT; i++) {
        if (strlen(roles[i].name) == len && memcmp(roles[i].name, name, len) == 0) {
            *out_role = roles[i].role;
            return true;
        }
    }
    return false;
}

rusm_err rusm_role_parse(const char *name, rusm_role *out_role)
{
    if (name == NULL || out_role == NULL || !role_find(name, strlen(name), out_role)) {
        return RUSM_EINVAL;
    }
    return RUSM_OK;
}

rusm_err rusmi_uri_make(struct rusmi_uri *out_uri, const char *cluster, const char *node,
                        rusm_role role)
{
    struct rusmi_uri uri = {.role = role, .is_ca = node == NULL};
    size_t cluster_len = strlen(cluster);

    if (!rusmi_name_valid(cluster, cluster_len)) {
        return RUSM_EINVAL;
    }
    memcpy(uri.cluster, cluster, cluster_len);
    if (node != NULL) {
        size_t node_len = strlen(node);

        if (!rusmi_name_valid(node, node_len) || strcmp(rusm_role_name(role), "unknown") == 0) {
            return RUSM_EINVAL;
        }
        memcpy(uri.node, node, node_len);
        uri.shared = strcmp(node, SHARED) == 0;
    }
    *out_uri = uri;
    return RUSM_OK;
}

/* RFC 3986, section 2.3. Written out, because isalnum() depends on the locale. */
static bool is_unreserved(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

static char *put_text(char *at, const char *text)
{
    size_t len = strlen(text);

    memcpy(at, text, len);
    return at + len;
}

static char *put_name(char *at, const char *name)
{
    static const char digits[] = "0123456789ABCDEF";

    for (; *name != '\0'; name++) {
        unsigned char c = (unsigned char)*name;

        if (is_unreserved(c)) {
            *at++ = (char)c;
        } else {
            *at++ = '%';
            *at++ = digits[c >> 4];
            *at++ = digits[c & 15];
        }
    }
    return at;
}

void rusmi_uri_encode(const struct rusmi_uri *uri, char out_text[RUSMI_URI_MAX])
{
    char *at = put_text(out_text, SCHEME);

    at = put_name(at, uri->cluster);
    if (!uri->is_ca) {
        *at++ = '/';
        at = uri->shared ? put_text(at, SHARED) : put_name(at, uri->node);
        at = put_text(at, ROLE);
        at = put_text(at, rusm_role_name(uri->role));
    }
    *at = '\0';
}

bool rusmi_uri_is_ours(const char *text, size_t len)
{
    return len >= SCHEME_LEN && memcmp(text, SCHEME, SCHEME_LEN) == 0;
}

/* The value of an upper-case hexadecimal digit, or -1. */
static int digit_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decode one name; false if it is not the one encoding of a valid name. */
static bool get_name(const char *text, size_t len, char out_name[RUSM_NAME_MAX + 1])
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c == '%') {
            int high = i + 2 < len ? digit_value(text[i + 1]) : -1;
            int low = i + 2 < len ? digit_value(text[i + 2]) : -1;

            if (high < 0 || low < 0) {
                return false;
            }
            c = (unsigned char)(high * 16 + low);
            i += 2;
            if (is_unreserved(c)) {
                return false;
            }
        } else if (!is_unreserved(c)) {
            return false;
        }
        if (n == RUSM_NAME_MAX) {
            return false;
        }
        out_name[n++] = (char)c;
    }
    out_name[n] = '\0';
    return rusmi_name_valid(out_name, n);
}

rusm_err rusmi_uri_decode(const char *text, size_t len, struct rusmi_uri *out_uri)
{
    struct rusmi_uri uri = {.role = RUSM_ROLE_MEMBER};
    const char *slash, *query;
    size_t node_len;

    if (!rusmi_uri_is_ours(text, len) || len >= RUSMI_URI_MAX) {
        return RUSM_ECERT;
    }
    text += SCHEME_LEN;
    len -= SCHEME_LEN;
    slash = memchr(text, '/', len);
    if (!get_name(text, slash == NULL ? len : (size_t)(slash - text), uri.cluster)) {
        return RUSM_ECERT;
    }
    if (slash == NULL) {
        uri.is_ca = true;
        *out_uri = uri;
        return RUSM_OK;
    }
    len -= (size_t)(slash + 1 - text);
    text = slash + 1;
    query = memchr(text, '?', len);
    if (query == NULL) {
        return RUSM_ECERT;
    }
    node_len = (size_t)(query - text);
    if (node_len == 1 && text[0] == SHARED[0]) {
        memcpy(uri.node, SHARED, sizeof(SHARED));
        uri.shared = true;
    } else if (!get_name(text, node_len, uri.node) || strcmp(uri.node, SHARED) == 0) {
        return RUSM_ECERT; /* %2A would be a node that nobody can tell from a shared identity */
    }
    len -= node_len;
    if (len < ROLE_LEN || memcmp(query, ROLE, ROLE_LEN) != 0 ||
        !role_find(query + ROLE_LEN, len - ROLE_LEN, &uri.role)) {
        return RUSM_ECERT;
    }
    *out_uri = uri;
    return RUSM_OK;
}
