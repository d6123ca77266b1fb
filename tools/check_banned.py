#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Fail on calls that belong to one folder only, or nowhere, and name what to call instead.

    check_banned.py [ROOT]

A call that has to be there is allowed by a comment on its line: /* lint-allow(name): why */.
Also fails on FIXME, and on TODO without the number of an issue.
"""
import re
import sys
from typing import NamedTuple

import ctext

ALL = ("include", "src", "test", "bench", "fuzz", "examples")
OWN = ("src",)
TESTED = ("src", "test")


class Rule(NamedTuple):
    names: str       # calls, whatever their arguments
    folders: tuple   # where the rule holds
    tests: bool      # whether it holds in *_test.c files
    allowed: tuple   # files and folders where the call is at home
    instead: str
    also: str = ""   # a pattern for calls that are banned with some arguments only


# The command speaks to the libraries through public headers only, so it has neither base/mem.h nor
# platform/clock.h. GnuTLS and libcbor hand out memory of their own, freed by gnutls_free and cbor_decref.
RULES = (
    Rule("malloc|calloc|realloc|reallocarray|free|strdup|strndup|asprintf|vasprintf|aligned_alloc|posix_memalign",
         OWN, False, ("src/base/mem.c", "src/cli/"), "the calls of base/mem.h"),
    Rule("alloca", ALL, True, (), "base/mem.h or an array of fixed size: stacks of processes are small"),
    Rule("clock_gettime|gettimeofday|time|clock|timespec_get",
         TESTED, True, ("src/platform/", "src/cli/"), "platform/clock.h, platform/wall.h or rusm_now()"),
    Rule("rand|srand|rand_r|random|srandom|drand48|lrand48",
         ALL, True, (), "base/prng.h with a seed, or platform/random.h for secrets"),
    Rule("printf|vprintf|puts|putchar|perror|psignal|dprintf",
         OWN, False, ("src/cli/", "/log.c", "/panic.c", "/assert.c"), "the log: a library owns no stream",
         r"(?:v?fprintf|fputs|fputc|fwrite)\s*\([^;]*?\bstd(?:out|err)\b"),
    Rule("sleep|usleep|nanosleep|clock_nanosleep|thrd_sleep",
         TESTED, True, (), "an event with a deadline; rusm_sleep() inside a process"),
    Rule("getenv|secure_getenv|setenv|putenv|unsetenv",
         OWN, False, ("src/cli/",), "a config record: only the command reads the environment"),
    # Tests fill arrays of fixed size with constants, and run under the address sanitizer.
    Rule("strcpy|strcat|stpcpy|sprintf|vsprintf|gets|strtok|strncpy|strncat",
         ("include", "src", "bench", "fuzz", "examples"), False, (), "snprintf(), or memcpy() with a checked length"),
)
ALLOW = re.compile(r"lint-allow\((\w+)\):\s*[^\s*]")
NOTE = re.compile(r"\b(FIXME|XXX)\b|\bTODO\b(?!\(#\d+\))")


def pattern(rule):
    # A member of the same name (table->free) is another function.
    calls = rf"(?:{rule.names})\s*\(" + (f"|{rule.also}" if rule.also else "")
    return re.compile(rf"(?<![\w.>])({calls})")


PATTERNS = [(rule, pattern(rule)) for rule in RULES]


def applies(rule, path):
    name = "/" + path.as_posix()
    if path.parts[0] not in rule.folders or (path.stem.endswith("_test") and not rule.tests):
        return False
    return not any(name.startswith("/" + home) or (home[0] == "/" and name.endswith(home)) for home in rule.allowed)


def findings(root):
    for path, text in ctext.c_files(root, *ALL):
        lines = text.splitlines()
        code = ctext.without_comments(text)
        for rule, calls in PATTERNS:
            if not applies(rule, path):
                continue
            for match in calls.finditer(code):
                line = ctext.line_of(code, match.start())
                name = re.match(r"\w+", match.group(1)).group()
                if name not in ALLOW.findall(lines[line - 1]):
                    yield f"{path}:{line}: {name}() is banned here; use {rule.instead}"
        for number, line in enumerate(lines, 1):
            if NOTE.search(line):
                yield f"{path}:{number}: finish it, or write TODO(#issue)"


if __name__ == "__main__":
    found = list(findings(sys.argv[1] if len(sys.argv) > 1 else "."))
    print("\n".join(found), end="\n" if found else "")
    sys.exit(bool(found))
