/* SPDX-License-Identifier: MIT */
/* UTF-8 (RFC 3629) checks for names that users and peers give. */
#ifndef RUSMI_BASE_UTF8_H
#define RUSMI_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Whether len bytes are well-formed UTF-8 without surrogates and overlong forms. */
bool rusmi_utf8_valid(const char *text, size_t len);
/*
 * Whether len bytes may be a name: 1 to RUSM_NAME_MAX bytes of UTF-8 without control characters
 * (C0, DEL), so that a name printed to a terminal or a log can do no harm.
 */
bool rusmi_name_valid(const char *text, size_t len);
/* The longest prefix of at most max bytes that does not cut a character of valid UTF-8 text. */
size_t rusmi_utf8_cut(const char *text, size_t len, size_t max);

#endif
