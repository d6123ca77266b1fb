#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Fail on a relative link in a Markdown file that leads nowhere: no such file, or no such heading in it.

    check_links.py [ROOT]
"""
import pathlib
import re
import sys
from urllib.parse import unquote

FENCE = re.compile(r"^(```|~~~).*?^\1", re.M | re.S)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"(?<!\\)\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^\[[^\]]+\]:\s+<?([^\s>]+)>?", re.M)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.M)
SKIP = {"build", ".git", ".cache"}


def anchors(text):
    """The names that a heading gets: lower case, no punctuation, dashes for spaces, numbered when repeated."""
    seen = {}
    for title in HEADING.findall(FENCE.sub("", text)):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        name = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        count = seen.get(name, 0)
        seen[name] = count + 1
        yield f"{name}-{count}" if count else name


def files(root):
    for file in sorted(root.rglob("*.md")):
        if not SKIP & set(file.relative_to(root).parts):
            yield file


def findings(root):
    root = pathlib.Path(root).resolve()
    for file in files(root):
        text = file.read_text(encoding="utf-8")
        plain = CODE.sub("", FENCE.sub("", text))
        for target in LINK.findall(plain) + REFERENCE.findall(plain):
            if re.match(r"[a-z][a-z0-9+.-]*:", target):
                continue
            path, _, anchor = unquote(target).partition("#")
            there = (file.parent / path).resolve() if path else file
            if not there.exists():
                yield f"{file.relative_to(root)}: dead link {target}"
            elif not there.is_relative_to(root):
                yield f"{file.relative_to(root)}: {target} leads out of the repository"
            elif anchor and there.suffix == ".md" and anchor not in anchors(there.read_text(encoding="utf-8")):
                yield f"{file.relative_to(root)}: no heading for {target}"


if __name__ == "__main__":
    found = list(findings(sys.argv[1] if len(sys.argv) > 1 else "."))
    print("\n".join(found), end="\n" if found else "")
    sys.exit(bool(found))
