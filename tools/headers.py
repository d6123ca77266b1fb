# SPDX-License-Identifier: MIT
"""The public headers as the documentation sees them: each call with its comment and its declaration."""
import pathlib
import re
from typing import NamedTuple

import ctext

DECLARATION = re.compile(r"^RUSM_API\b[^;]*;", re.M)
COMMENT = re.compile(r"/\*\*(?:(?!\*/).)*\*/", re.S)
NAME = re.compile(r"(\w+)\s*\(")
ATTRIBUTES = re.compile(r"\b(RUSM_API|RUSM_MUST_CHECK|RUSM_NORETURN|RUSM_PRINTF\s*\([^)]*\))\s*")
PARAGRAPH = re.compile(r"^([A-Z][a-z]+(?:, [A-Z][a-z]+)*):(?:\s+(.*))?$")
TYPE = re.compile(r"^typedef (?:(?:struct|enum) \w+ \{.*?^\} (\w+);|[^;{}]*\(\*(\w+)\)[^;{}]*;)", re.M | re.S)
INDENT = len("Errors:  ")  # of the lines that go on in a fixed paragraph
HEADINGS = ("Owns", "Threads", "Limits", "Units", "Errors", "Returns")


class Call(NamedTuple):
    name: str
    header: str   # as a program includes it: rusm/otp/process.h
    line: int
    comment: str  # without its frame; empty if there is none
    declaration: str


def bare(comment):
    """A doc comment without /**, stars and */; the relative indentation stays."""
    lines = comment[3:-2].strip("\n").split("\n")
    return "\n".join(re.sub(r"^\s*\*? ?", "", line, count=1).rstrip() for line in lines).strip()


def file_comment(text):
    """What a header says of itself after @file, or nothing."""
    for comment in COMMENT.findall(text):
        if "@file" in comment:
            return bare(comment).replace("@file", "", 1).strip()
    return ""


def plain(declaration):
    """A declaration without attributes, on one line."""
    return re.sub(r"\s+", " ", ATTRIBUTES.sub("", declaration)).replace(" ;", ";").strip()


def calls_in(text, header):
    """Each call that a header declares. A comment belongs to the declaration right below it."""
    comments = [(match.end(), match.group()) for match in COMMENT.finditer(text)
                if "@file" not in match.group()]
    for match in DECLARATION.finditer(text):
        name = NAME.search(ATTRIBUTES.sub("", match.group()))
        if not name:
            continue  # data, not a call
        above = [c for end, c in comments if end <= match.start() and not text[end:match.start()].strip()]
        yield Call(name.group(1), header, ctext.line_of(text, match.start()),
                   bare(above[-1]) if above else "", plain(match.group()))


def public_headers(root):
    include = pathlib.Path(root) / "include"
    for file in sorted(include.rglob("*.h")):
        yield file.relative_to(include).as_posix(), file.read_text(encoding="utf-8")


def calls(root):
    for header, text in public_headers(root):
        yield from calls_in(text, header)


def types(root):
    """The records, enumerations and function types of the headers by name, as they are written there."""
    return {match.group(1) or match.group(2): match.group()
            for _, text in public_headers(root) for match in TYPE.finditer(text)}


def summary(comment):
    """The first sentence, or what of it can stand alone."""
    first = " ".join(comment.split("\n\n")[0].split())
    match = re.match(r"(.+?[.:;?!])(?:\s|$)", first)
    return (match.group(1) if match else first).rstrip(".:;")


def sections(comment):
    """The comment as ("", text) for prose and (heading, text) for the fixed paragraphs."""
    current, found = ["", []], []

    def finish():
        if current[1]:
            lines = [re.sub(rf"^ {{1,{INDENT}}}", "", line) for line in current[1]] if current[0] else current[1]
            found.append((current[0], "\n".join(lines).strip("\n")))

    split = re.sub(rf"(?<=[.;)]) (?=(?:{'|'.join(HEADINGS)}):\s)", "\n", comment)
    for line in split.split("\n"):
        match = PARAGRAPH.match(line)
        if match and match.group(1).split(", ")[0] in HEADINGS:
            finish()
            current = [match.group(1), [match.group(2) or ""]]
        elif not line.strip() and current[0]:
            finish()
            current = ["", []]
        else:
            current[1].append(line)
    finish()
    return [(heading, text) for heading, text in found if text.strip()]
