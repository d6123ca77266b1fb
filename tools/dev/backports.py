#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write an apt source for <codename>-backports, from the mirror this machine already uses.

    backports.py [--root DIR] CODENAME

Prints one deb822 stanza to standard output, or nothing if a source for the suite is there already. The
mirror, its keys and its architectures are those of the machine's own entry for CODENAME, whatever file
format it has, so that a machine behind a private mirror stays behind it. Exit status 1 and a sentence on
standard error if no entry fits.
"""
import argparse
import pathlib
import re
import sys

# Options of the one-line format and the deb822 fields that say the same.
FIELDS = {
    "signed-by": "Signed-By",
    "arch": "Architectures",
    "trusted": "Trusted",
    "check-valid-until": "Check-Valid-Until",
    "valid-until-max": "Valid-Until-Max",
    "by-hash": "By-Hash",
    "pdiffs": "PDiffs",
}
ONE_LINE = re.compile(r"^\s*deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+(.+)$")


class Source:
    """One mirror with its suites. fields holds what must be said of it again."""

    def __init__(self, uris, suites, components, fields):
        self.uris, self.suites, self.components, self.fields = uris, suites, components, fields


def read_one_line(text):
    for line in text.splitlines():
        match = ONE_LINE.match(line.partition("#")[0])
        if not match:
            continue
        options, uri, suite, components = match.groups()
        fields = {}
        for option in (options or "").split():
            name, _, value = option.partition("=")
            if name in FIELDS:
                separator = ", " if name == "signed-by" else " "
                fields[FIELDS[name]] = value.replace(",", separator)
        yield Source([uri], [suite], components.split(), fields)


def read_stanza(stanza):
    """The fields of a deb822 stanza, names in lower case, continuation lines kept as they are."""
    found, name = {}, None
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1] in (" ", "\t") and name:
            found[name] += "\n" + line
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            found[name] = value.strip()
    return found


def read_deb822(text):
    canonical = {name.lower(): name for name in FIELDS.values()}
    for stanza in re.split(r"\n[ \t]*\n", text):
        found = read_stanza(stanza)
        if "deb" not in found.get("types", "").split():
            continue
        if found.get("enabled", "yes").lower() in ("no", "false", "0", "off", "without"):
            continue
        fields = {canonical[name]: value for name, value in found.items() if name in canonical}
        yield Source(found.get("uris", "").split(), found.get("suites", "").split(),
                     found.get("components", "").split(), fields)


def read_sources(root):
    etc = pathlib.Path(root) / "etc/apt"
    parts = etc / "sources.list.d"
    files = [etc / "sources.list", *sorted(parts.glob("*.list")), *sorted(parts.glob("*.sources"))]
    for file in files:
        if file.is_file():
            read = read_deb822 if file.suffix == ".sources" else read_one_line
            yield from read(file.read_text(encoding="utf-8", errors="replace"))


def rank(source, sources, codename):
    """How likely a source is Debian's own archive: others use the codename as a suite name too."""
    updates = codename + "-updates"
    served = any(updates in other.suites and set(other.uris) & set(source.uris) for other in sources)
    return (served, any("debian" in uri.rstrip("/").rpartition("/")[2] for uri in source.uris))


def pick(sources, codename):
    fit = [s for s in sources if codename in s.suites and "main" in s.components
           and s.uris and not s.uris[0].startswith("cdrom:")]
    return max(fit, key=lambda s: rank(s, sources, codename), default=None)


def stanza_of(source, suite):
    fields = {"Types": "deb", "URIs": " ".join(source.uris), "Suites": suite, "Components": "main",
              **source.fields}
    return "".join(f"{name}: {value}\n" for name, value in fields.items())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default="/", help="folder that holds etc/apt")
    parser.add_argument("codename")
    args = parser.parse_args()
    sources = list(read_sources(args.root))
    suite = args.codename + "-backports"
    if any(suite in source.suites for source in sources):
        return 0
    source = pick(sources, args.codename)
    if source is None:
        print(f"no apt source of this machine offers {args.codename} main", file=sys.stderr)
        return 1
    sys.stdout.write(stanza_of(source, suite))
    return 0


if __name__ == "__main__":
    sys.exit(main())
