#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Fail on an exported symbol outside the public name space, and on a documented call that no library has.

    check_symbols.py [--root ROOT] LIBRARY...

Every symbol that a shared library defines for others matches ^rusm_ (and not rusmi_, which is internal), is
declared in a public header, and comes from one library only.
"""
import argparse
import re
import subprocess
import sys

import headers

PUBLIC = re.compile(r"^rusm_")
# Declared here, defined by the application that `rusm node start --load` opens.
BY_OTHERS = {"rusm_app_main"}


def exported(library):
    run = subprocess.run(["nm", "-D", "--defined-only", "--format=posix", library],
                         check=True, capture_output=True, text=True)
    return {line.split()[0].partition("@")[0] for line in run.stdout.splitlines() if line.strip()}


def findings(declared, exports):
    """declared: names of calls. exports: library name to its symbols."""
    home = {}
    for library, symbols in sorted(exports.items()):
        for symbol in sorted(symbols):
            if not PUBLIC.match(symbol):
                yield f"{library}: exports {symbol}, which is not rusm_; make it static or hidden"
            elif symbol not in declared:
                yield f"{library}: exports {symbol}, which no public header declares"
            if symbol in home:
                yield f"{library}: exports {symbol}, and so does {home[symbol]}"
            home[symbol] = library
    for name in sorted(declared - set(home) - BY_OTHERS):
        yield f"{name} is declared in a public header, and no library exports it"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default=".")
    parser.add_argument("libraries", nargs="+")
    args = parser.parse_args()
    declared = {call.name for call in headers.calls(args.root)}
    found = list(findings(declared, {library: exported(library) for library in args.libraries}))
    print("\n".join(found), end="\n" if found else "")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
