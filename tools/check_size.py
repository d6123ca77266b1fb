#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Fail on a function over 70 lines, a C file over 1000, and a line over 100 columns.

    check_size.py [ROOT]
"""
import sys

import ctext

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 1000
COLUMNS_MAX = 100  # the formatter leaves comments alone, so it does not see to this
FOLDERS = ("include", "src", "test", "bench", "fuzz", "examples")


def findings(root):
    for path, text in ctext.c_files(root, *FOLDERS):
        lines = text.count("\n")
        if lines > FILE_LINES_MAX:
            yield f"{path}: {lines} lines; at most {FILE_LINES_MAX}: split it by idea"
        for number, line in enumerate(text.splitlines(), 1):
            if len(line) > COLUMNS_MAX:
                yield f"{path}:{number}: {len(line)} columns; at most {COLUMNS_MAX}"
        for name, first, length in ctext.functions(text):
            if length > FUNCTION_LINES_MAX:
                yield f"{path}:{first}: {name} has {length} lines; at most {FUNCTION_LINES_MAX}"


if __name__ == "__main__":
    found = list(findings(sys.argv[1] if len(sys.argv) > 1 else "."))
    print("\n".join(found), end="\n" if found else "")
    sys.exit(bool(found))
