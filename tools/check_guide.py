#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Fail if a snippet in the guide is not the text of the program that it names.

    check_guide.py [--update] [ROOT]

In docs/guide.md a snippet is a fenced block below a line

    <!-- examples/guide/01_process.c: body -->

and holds what that file has between `/* guide: body */` and `/* guide end */`. Without `: body` it holds the whole file,
such as the output of a program. Every block of C has such a line, and every marked part of a program in examples/guide
is in the guide. --update writes the text of the files into the guide instead.
"""
import argparse
import pathlib
import re
import sys
import textwrap

GUIDE = "docs/guide.md"
PROGRAMS = "examples/guide"
SOURCE = re.compile(r"<!-- ([\w./-]+?)(?:: (\w+))? -->")
FENCE = re.compile(r"```(\w*)")
BEGIN = re.compile(r"\s*/\* guide: (\w+) \*/")
END = re.compile(r"\s*/\* guide end \*/")


class Broken(Exception):
    """What is wrong with a file, so that nothing can be compared."""


def parts(text, path):
    """The marked parts of a program by name."""
    found, name, lines = {}, None, []
    for number, line in enumerate(text.split("\n"), 1):
        begin, end = BEGIN.fullmatch(line), END.fullmatch(line)
        if begin:
            if name or begin.group(1) in found:
                raise Broken(f"{path}:{number}: part '{begin.group(1)}' begins twice or in another part")
            name, lines = begin.group(1), []
        elif end:
            if not name:
                raise Broken(f"{path}:{number}: no part ends here")
            found[name], name = textwrap.dedent("\n".join(lines)).strip("\n"), None
        elif "/* guide: " in line or "/* guide end" in line:
            raise Broken(f"{path}:{number}: a marker is a line of its own: /* guide: name */, /* guide end */")
        else:
            lines.append(line)
    if name:
        raise Broken(f"{path}: part '{name}' does not end")
    return found


class Guide:
    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.used = set()
        self.findings = []
        self.cache = {}

    def source(self, path, name):
        """The text of a snippet."""
        file = self.root / path
        if not file.is_file():
            raise Broken(f"no file {path}")
        text = file.read_text(encoding="utf-8")
        if name is None:
            return text.strip("\n")
        if path not in self.cache:
            self.cache[path] = parts(text, path)
        if name not in self.cache[path]:
            raise Broken(f"{path} has no part '{name}'")
        return self.cache[path][name]

    def snippet(self, number, match, block):
        """What stands in the guide at that line, and what should."""
        path, name = match.groups()
        self.used.add((path, name))
        try:
            text = self.source(path, name)
        except Broken as broken:
            self.findings.append(f"{GUIDE}:{number}: {broken}")
            return block
        if block != text:
            self.findings.append(f"{GUIDE}:{number}: is not the text of {path}{': ' + name if name else ''};"
                                 " tools/check_guide.py --update writes it")
        return text

    def unused(self):
        for file in sorted((self.root / PROGRAMS).glob("*.c")):
            path = file.relative_to(self.root).as_posix()
            try:
                names = parts(file.read_text(encoding="utf-8"), path)
            except Broken as broken:
                self.findings.append(str(broken))
                continue
            if not names:
                self.findings.append(f"{path}: no part of it is marked for the guide")
            self.findings += [f"{path}: part '{name}' is not in the guide" for name in names
                              if (path, name) not in self.used]

    def check(self):
        """The guide as it should be; what is wrong with it is in self.findings."""
        lines = (self.root / GUIDE).read_text(encoding="utf-8").split("\n")
        out, i = [], 0
        while i < len(lines):
            fence = FENCE.fullmatch(lines[i])
            out.append(lines[i])
            i += 1
            if not fence:
                continue
            begin = i
            while i < len(lines) and lines[i] != "```":
                i += 1
            if i == len(lines):
                self.findings.append(f"{GUIDE}:{begin}: the block does not end")
            source = SOURCE.fullmatch(lines[begin - 2]) if begin >= 2 else None
            block = "\n".join(lines[begin:i])
            if source:
                block = self.snippet(begin, source, block)
            elif fence.group(1) == "c":
                self.findings.append(f"{GUIDE}:{begin}: C that comes from no program: <!-- {PROGRAMS}/...: part -->")
            out += [block, *lines[i:i + 1]]
            i += 1
        self.unused()
        return "\n".join(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--update", action="store_true")
    parser.add_argument("root", nargs="?", default=".")
    args = parser.parse_args()
    guide = Guide(args.root)
    text = guide.check()
    if args.update:
        (guide.root / GUIDE).write_text(text, encoding="utf-8")
        guide = Guide(args.root)
        guide.check()
    print("\n".join(guide.findings), end="\n" if guide.findings else "")
    return bool(guide.findings)


if __name__ == "__main__":
    sys.exit(main())
