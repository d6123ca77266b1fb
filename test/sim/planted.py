#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Show that the simulator can fail: build each planted bug and let the simulator find it.

    planted.py [--build DIR] [--seeds N] [NAME...]

A planted bug is a few lines of the library under #ifdef RUSMI_PLANT_<NAME>. Each must be found within N seeds (default
600), by a checker that it was planted for: the table says which did. Fails if one is not, if the library has a plant
that is not listed, and if no bug is planted for a checker.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).absolute().parents[2]

# The checkers, and what each says when it finds something (docs/design/simulation.md has a row for each).
CHECKERS = {
    "order": r"came to process \d+ after number|was lost or overtaken",
    "once": r"came twice",
    "nothing lost": r"was lost or overtaken|has not arrived",
    "from whom": r"in another's name",
    "accepted": r"was accepted, and its node is not there",
    "credit": r"bytes are parked, and credit is out|bytes are held, more than the window",
    "budgets": r"more than its limit",
    "memory": r"has paid for|of a budget of",
    "names": r"a name belongs to a process|know different (names|owners)",
    "one owner": r"is owned twice",
    "conflicts": r"has lost a name and was not told",
    "mesh": r"a node does not reach another",
    "noticed in time": r"has not noticed that",
    "false silence": r"for silence, and nothing was wrong",
    "groups": r"knows other members of a group|joined twice",
    "group news": r"that monitors a group has not heard|joined twice|left that never joined",
    "node events": r"heard that link \d+ is lost before",
    "one down": r"has no down for its monitor|is lost before the down|two downs for one monitor",
    "one exit": r"has no exit for its link",
    "no false noproc": r"false noproc",
    "kills": r"was killed and lives|has not arrived",
    "deaths come last": r"heard of the end of process \d+ before its message",
    "nothing after the loss": r"after it (was told|heard) that|came to process \d+ after number",
    "calls": r"got another's answer",
    "streams": r"stream \d+ ends after|a stream has not come to an end",
}

# Each bug, and the checkers that it may be found by: that which it was planted for, and those of what it breaks as well.
PLANTS = {
    "ORDER": ["order"],
    "TWICE": ["once"],
    "LOSS": ["nothing lost"],
    "CREDIT": ["credit"],
    "QUEUE": ["budgets"],
    "BUDGET": ["memory"],
    "NAMES_DEL": ["names"],
    "NAMES_ASK": ["one owner"],
    "NAMES_WINNER": ["names"],
    "NAMES_CONFLICT": ["conflicts"],
    "MESH": ["mesh"],
    "TICK": ["noticed in time"],
    "HASTY": ["false silence", "mesh"],
    "SILENT": ["false silence"],
    "GROUPS": ["groups", "group news"],
    "GROUP_NEWS": ["group news"],
    "EVENTS": ["node events"],
    "DOWN_LOST": ["one down"],
    "DOWN_TWICE": ["one down"],
    "EXIT_LOST": ["one exit"],
    "NOPROC": ["no false noproc"],
    "KILL": ["kills"],
    "OVERTAKE": ["deaths come last"],
    "LATE": ["nothing after the loss"],
    "STALE": ["accepted"],
    "SENDER": ["from whom"],
    "CALL": ["calls"],
    "STREAM_CUT": ["streams"],
    "STREAM_CREDIT": ["streams"],
}


def run(words, **options):
    return subprocess.run(words, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          **options)


def must(words):
    done = run(words)
    if done.returncode != 0:
        sys.exit(f"planted: {' '.join(words)} failed:\n{done.stdout}")


def build(folder, plant):
    must(["cmake", "--preset", "release", "-B", folder, "-DRUSM_BENCH=OFF", "-DRUSM_EXAMPLES=OFF",
          f"-DRUSM_PLANT={plant}"])
    must(["cmake", "--build", folder, "--target", "test_sim_cluster"])


def hunt(folder, plant, seeds):
    """The finding, and what it took; None if there is none."""
    begun = time.monotonic()
    done = run([f"{folder}/test/test_sim_cluster", "--seed", "1", "--seeds", str(seeds)])
    seconds = time.monotonic() - begun
    found = re.search(r"^FAILED at [\d.]+ ms: (.*)$", done.stdout, re.MULTILINE)
    seed = re.search(r"--seed (\d+) ", done.stdout)
    if done.returncode == 0:
        print(f"{plant:16} NOT FOUND in {seeds} seeds ({seconds:.1f} s)", flush=True)
        return False
    what = found.group(1) if found else done.stdout.strip().splitlines()[-1]
    checker = next((name for name in PLANTS[plant] if found and re.search(CHECKERS[name], what)), None)
    print(f"{plant:16} {checker or 'WRONG CHECKER':24} seed {seed.group(1) if seed else '?':>5} {seconds:6.1f} s  {what}",
          flush=True)
    return checker is not None


def planted():
    names = set()
    for source in (ROOT / "src").rglob("*.c"):
        names |= set(re.findall(r"^#ifn?def RUSMI_PLANT_(\w+)$", source.read_text(encoding="utf-8"), re.MULTILINE))
    return names


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/planted")
    parser.add_argument("--seeds", type=int, default=600)
    parser.add_argument("names", nargs="*", default=sorted(PLANTS))
    options = parser.parse_args()
    unknown = set(options.names) - set(PLANTS)
    if unknown or planted() != set(PLANTS):
        sys.exit(f"planted: not listed or not planted: {' '.join(sorted(unknown | planted() ^ set(PLANTS)))}")
    idle = set(CHECKERS) - {name for checkers in PLANTS.values() for name in checkers}
    if idle:
        sys.exit(f"planted: nothing shows that these can fail: {' '.join(sorted(idle))}")
    good = True
    for plant in options.names:
        build(options.build, plant)
        good = hunt(options.build, plant, options.seeds) and good
    # The tree is left without a plant, so that nobody tests with one.
    build(options.build, "")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
