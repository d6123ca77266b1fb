#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Fail on a public call whose header does not say what it does, and on a header without purpose.

    check_docs.py [ROOT]

A doc comment opens with a sentence. A call that can fail says how: an Errors or Returns paragraph, an error
code, or the call whose errors it has. A call that is named in a comment must exist.
"""
import re
import sys

import headers

CAN_FAIL = re.compile(r"^(?:rusm_err|ptrdiff_t)\b")
SAYS_HOW = re.compile(r"\b(?:Errors|Returns)\b|\bRUSM_E[A-Z]|\brusm_\w+\(\)")
MENTION = re.compile(r"\b(rusm_\w+)\(\)")


def in_call(call, names):
    where = f"include/{call.header}:{call.line}: {call.name}"
    if not call.comment:
        yield f"{where} has no doc comment"
        return
    first = " ".join(call.comment.split("\n\n")[0].split())
    if not re.match(r"(?:[A-Z`*]|rusm_).*?[.:?](?:\s|$)", first):
        yield f"{where}: the comment does not open with a sentence"
    if CAN_FAIL.match(call.declaration) and not SAYS_HOW.search(call.comment):
        yield f"{where} can fail, and its comment does not say how (Errors:)"
    for name in MENTION.findall(call.comment):
        if name not in names:
            yield f"{where}: the comment speaks of {name}(), which does not exist"


def findings(root):
    calls = list(headers.calls(root))
    names = {call.name for call in calls}
    for call in calls:
        yield from in_call(call, names)
    for header, text in headers.public_headers(root):
        if not headers.file_comment(text):
            yield f"include/{header}: does not open with @file and what the header is for"


if __name__ == "__main__":
    found = list(findings(sys.argv[1] if len(sys.argv) > 1 else "."))
    print("\n".join(found), end="\n" if found else "")
    sys.exit(bool(found))
