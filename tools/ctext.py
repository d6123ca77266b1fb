# SPDX-License-Identifier: MIT
"""C source as the checkers of this folder see it: text without comments and literals, functions, files."""
import pathlib
import re

TOKENS = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.M)
FUNCTION = re.compile(r"(\w+)\s*\((?:[^()]|\([^()]*\))*\)\s*$", re.S)


def blank(text):
    """As many lines as text has, and nothing on them."""
    return "\n" * text.count("\n")


def without_comments(text):
    """text without comments, and with empty strings; every line stays where it is."""
    def replace(match):
        token = match.group()
        return token[0] * 2 + blank(token) if token[0] in "\"'" else " " + blank(token)
    return TOKENS.sub(replace, text)


def without_directives(text):
    return DIRECTIVE.sub(lambda match: blank(match.group()), text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def functions(text):
    """(name, first line, lines) of each function definition in C source."""
    code = without_directives(without_comments(text))
    depth, start, head_from, name = 0, 0, 0, None
    for match in re.finditer(r"[{};]", code):
        mark = match.group()
        if mark == "{":
            if depth == 0:
                head = code[head_from:match.start()]
                found = FUNCTION.search(head)
                name = found.group(1) if found else None
                start = head_from + len(head) - len(head.lstrip())
            depth += 1
        elif mark == "}":
            depth -= 1
            if depth == 0:
                if name:
                    first = line_of(code, start)
                    yield name, first, line_of(code, match.start()) - first + 1
                head_from = match.end()
        elif depth == 0:
            head_from = match.end()


def c_files(root, *folders):
    """The .c and .h files below folders of root, sorted, as (path relative to root, text)."""
    root = pathlib.Path(root)
    for folder in folders:
        for file in sorted((root / folder).rglob("*.[ch]")):
            yield file.relative_to(root), file.read_text(encoding="utf-8")
