#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run the benchmarks of processes, ours and their Erlang peers in turn, and print medians and ratios.

    bench_processes.py [--runs N] [--seconds S] [--threads N] [--build DIR] [--no-save] [ROW...]

What is compared is measured A B A B ..., so that a machine that slows down or speeds up meanwhile does so for all. Raw
results go to bench/results/<date>-<row>.jsonl, one line of JSON for each run, after a line that names machine and
commit. Without Erlang ours run alone.
"""
import argparse
import datetime
import json
import mmap
import multiprocessing
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
RUN_LIMIT_S = 300
HOG_BYTES_EACH = 4608
PAGE_BYTES = 4096


class Variant(NamedTuple):
    label: str
    runtime: str  # rusm or erlang
    args: tuple = ()


class Row(NamedTuple):
    name: str
    bench: str
    figures: tuple   # of what it prints; of those per second more is better, of all others less
    variants: tuple  # the first is what the others are compared with
    hog: int = 0     # processes whose memory is touched and given back before each run


def both(*args):
    return Variant("rusm", "rusm", args), Variant("Erlang", "erlang", args)


IDLE = 1000000
ROWS = (
    Row("ping_pong", "ping_pong", ("messages_per_s",), both()),
    Row("ping_pong-1-pair", "ping_pong", ("rtt_p50_ns",), both("--pairs", "1")),
    Row("spawn_storm", "spawn_storm", ("spawns_per_s",), both()),
    # OTP's supervisor walks through the list of its last restarts at each; a loop of spawn_link does not.
    Row("fault_recovery", "fault_recovery", ("restarts_per_s",),
        (*both(), Variant("Erlang, a plain loop", "erlang", ("--plain", "1")))),
    Row("fan_in", "fan_in", ("messages_per_s",), both()),
    Row("idle_memory", "idle_memory", ("bytes_per_process", "spawn_ns", "wake_and_end_ns"),
        (Variant("rusm", "rusm", ("--hog", "0")),
         Variant("rusm, parked, stacks of 16 KiB", "rusm",
                 ("--hog", "0", "--park", "500", "--stack", "16384")),
         Variant("Erlang", "erlang"),
         Variant("Erlang, hibernated", "erlang", ("--hibernate", "1"))), IDLE),
    Row("select", "select", ("rtt_p50_ns", "call_empty_ns", "since_ns", "since_empty_ns", "match_ns"), both()),
    Row("timers", "timers",
        ("set_ns", "cancel_ns", "fire_ns", "fill_ns", "bytes_per_timer", "receive_late_p50_us", "after_late_p50_us"),
        both()),
    Row("scaling", "ping_pong", ("messages_per_s",),
        (Variant("rusm, 2 threads", "rusm", ("--threads", "2")), Variant("rusm, 1 thread", "rusm", ("--threads", "1")),
         Variant("Erlang, 2 threads", "erlang", ("--threads", "2")),
         Variant("Erlang, 1 thread", "erlang", ("--threads", "1")))),
)


def touch_memory(size):
    """The host of a virtual machine may have to find the pages first; whoever comes first would pay."""
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for at in range(0, size, PAGE_BYTES):
            memory[at] = 1


def command(row, variant, options):
    args = list(variant.args)
    if options.threads and "--threads" not in args:
        args += ["--threads", str(options.threads)]
    if options.seconds:
        args.insert(0, str(options.seconds))
    if variant.runtime == "rusm":
        return [str(options.build / "bench" / row.bench), *args, "--json"]
    return [str(ROOT / "bench/peers/run.sh"), row.bench, *args]


def measure(row, variant, options):
    if row.hog:
        # In a process of its own: the peak of memory use of this one is what those that it starts begin with.
        hog = multiprocessing.Process(target=touch_memory, args=(row.hog * HOG_BYTES_EACH,))
        hog.start()
        hog.join()
    words = command(row, variant, options)
    run = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RUN_LIMIT_S,
                         check=False)
    if run.returncode != 0:
        sys.exit(f"bench_processes: {' '.join(words)} failed ({run.returncode}):\n{run.stderr}{run.stdout}")
    result = json.loads(run.stdout.strip().splitlines()[-1])
    for figure in row.figures:
        if figure not in result:
            sys.exit(f"bench_processes: {' '.join(words)} printed no {figure}: {run.stdout}")
    return result


def has_erlang_tls():
    """Erlang, and what its nodes need to talk over TLS."""
    if not all(map(shutil.which, ("erl", "erlc", "openssl"))):
        return False
    return subprocess.run(["erl", "-noinput", "-eval", "halt(length([x || {error, _} <- [code:lib_dir(ssl)]]))."],
                          check=False).returncode == 0


def machine():
    model = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True,
                            check=False).stdout.strip()
    return {"machine": model, "cpus": len(os.sched_getaffinity(0)), "kernel": platform.release(), "commit": commit}


def number(value):
    for limit, unit in ((1e6, " M"), (1e4, " k")):
        if value >= limit:
            return f"{value / limit * (1 if unit == ' M' else 10):.4g}{unit}"
    return f"{value:.4g}"


def print_figure(row, figure, results):
    """A line of a Markdown table per variant; the ratio says how many times better the first one is."""
    first = statistics.median(result[figure] for result in results[row.variants[0]])
    for variant in results:
        values = [result[figure] for result in results[variant]]
        median = statistics.median(values)
        better, worse = (first, median) if figure.endswith("_per_s") else (median, first)
        ratio = f"{better / worse:.2f}" if worse else "-"
        print(f"| {row.name} | {figure} | {variant.label} | {number(median)} | "
              f"{number(min(values))} to {number(max(values))} | {ratio} |", flush=True)


def result_file(name):
    return ROOT / "bench/results" / f"{datetime.date.today().isoformat()}-{name}.jsonl"


def save(row, lines):
    with result_file(row.name).open("w", encoding="utf-8") as out:
        for line in (machine(), *lines):
            out.write(json.dumps(line, separators=(",", ":")) + "\n")


def run_row(row, variants, options):
    results = {variant: [] for variant in variants}
    lines = []
    for turn in range(options.runs):
        for variant in variants:
            result = measure(row, variant, options)
            results[variant].append(result)
            lines.append({"run": turn + 1, "variant": variant.label, **result})
    for figure in row.figures:
        print_figure(row, figure, results)
    if not options.no_save:
        save(row, lines)


def arguments():
    parser = argparse.ArgumentParser(description="Benchmarks of processes, ours and Erlang's in turn.")
    parser.add_argument("--runs", type=int, default=5, help="of each program; the median is what counts (5)")
    parser.add_argument("--seconds", type=int, help="of each run; default: each program's own")
    parser.add_argument("--threads", type=int, help="scheduler threads; default: one per CPU")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release", help="build tree (build/release)")
    parser.add_argument("--no-save", action="store_true", help="do not write bench/results")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"default: all: {', '.join(row.name for row in ROWS)}")
    options = parser.parse_args()
    unknown = set(options.rows) - {row.name for row in ROWS}
    if unknown:
        parser.error(f"no row {', '.join(sorted(unknown))}")
    if options.runs < 1 or (options.seconds is not None and options.seconds < 1):
        parser.error("runs and seconds are at least 1")
    return options


def main():
    options = arguments()
    erlang = shutil.which("erl") is not None and shutil.which("erlc") is not None
    if not erlang:
        print("bench_processes: there is no Erlang here, so ours run alone", file=sys.stderr)
    print(f"Medians of {options.runs} runs, in turn. Last column: how many times better the first of the row is.\n")
    print("| benchmark | figure | | median | range | ratio |\n| --- | --- | --- | --- | --- | --- |", flush=True)
    for row in ROWS:
        if options.rows and row.name not in options.rows:
            continue
        run_row(row, [variant for variant in row.variants if erlang or variant.runtime == "rusm"], options)


if __name__ == "__main__":
    main()
