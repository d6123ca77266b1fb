#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Show that the simulator can fail: build each planted bug and let the simulator find it.

    planted.py [--build DIR] [--seeds N] [NAME...]

A planted bug is a few lines of the library under #ifdef RUSMI_PLANT_<NAME>. Each must be found within N seeds (default
600), by the checker that it was planted for. Fails if one is not, and if the library has a plant that is not listed.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).absolute().parents[2]

# What the checker says that is to find it.
PLANTS = {
    "ORDER": r"came to process \d+ after number|was lost or overtaken",
    "TWICE": r"came twice",
    "LOSS": r"was lost or overtaken|has not arrived",
    "CREDIT": r"bytes are parked, and credit is out|bytes are held, more than the window",
    "QUEUE": r"more than its limit",
    "NAMES_DEL": r"a name belongs to a process|know different (names|owners)",
    "NAMES_ASK": r"is owned twice",
    "NAMES_WINNER": r"know different owners",
    "NAMES_CONFLICT": r"has lost a name and was not told",
    "MESH": r"a node does not reach another",
    "TICK": r"has not noticed that",
    "HASTY": r"for silence, and nothing was wrong|a node does not reach another",
    "GROUPS": r"knows other members of a group|joined twice",
    "GROUP_NEWS": r"that monitors a group has not heard|joined twice|left that never joined",
    "EVENTS": r"heard that link \d+ is lost before",
    "DOWN_LOST": r"has no down for its monitor|is lost before the down",
    "DOWN_TWICE": r"two downs for one monitor",
    "EXIT_LOST": r"has no exit for its link",
    "NOPROC": r"false noproc",
    "KILL": r"was killed and lives|has not arrived",
    "OVERTAKE": r"heard of the end of process \d+ before its message",
    "LATE": r"after it (was told|heard) that|came to process \d+ after number",
    "STALE": r"was accepted, and its node is not there",
    "SENDER": r"in another's name",
    "CALL": r"got another's answer",
    "STREAM_CUT": r"stream \d+ ends after",
    "STREAM_CREDIT": r"a stream has not come to an end",
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
    right = bool(found) and re.search(PLANTS[plant], what) is not None
    print(f"{plant:16} {'found' if right else 'WRONG CHECKER'} at seed {seed.group(1) if seed else '?'}, "
          f"{seconds:.1f} s: {what}", flush=True)
    return right


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
    good = True
    for plant in options.names:
        build(options.build, plant)
        good = hunt(options.build, plant, options.seeds) and good
    # The tree is left without a plant, so that nobody tests with one.
    build(options.build, "")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
