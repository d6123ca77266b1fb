#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run the benchmarks of clusters and print their figures as tables for docs/performance.md.

    bench_cluster.py [--runs N] [--seconds S] [--build DIR] [--no-save] [ROW...]

Raw results go to bench/results/<date>-<row>.jsonl, one line of JSON for each run, after a line that names machine and
commit. The row `fair` runs ours and Erlang's, over TLS, in turn; without Erlang ours run alone. The row `notice` has its
own number of runs, 20 of each kind of failure, or --runs if that is less than 5. The row `loss` needs root, is run
three times at most, which takes a quarter of an hour, and its plot, at 1 % loss, goes to docs/plots.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
from typing import NamedTuple

from bench_processes import ROOT, RUN_LIMIT_S, Row, has_erlang_tls, number, result_file, save

NOTICE_RUNS = 20
LOSS_RUNS_MAX = 3
LOSS_SECONDS = 20
FAIR_FLOWS = (1, 4)
FAIR_SECONDS = 5
FAIR_FIGURES = ("alone_p50_us", "alone_p99_us", "alone_p999_us", "loaded_p50_us", "loaded_p99_us", "loaded_p999_us",
                "loaded_max_us", "loaded_count", "p99_ratio", "large_mib_per_s")


class Program(NamedTuple):
    name: str
    bench: str
    args: tuple
    figures: tuple


PROGRAMS = (
    Program("mesh", "mesh", ("5",), ("form_ms", "kib_per_link_end", "idle_cpu_percent", "name_p50_us", "name_p99_us")),
    Program("cut", "cut", ("5",), ("notice_ms", "deliver_ms", "total_ms", "total_max_ms")),
    Program("cut-disconnect", "cut", ("5", "--disconnect", "1"), ("notice_ms", "deliver_ms", "total_ms",
                                                                  "total_max_ms")),
)
ROWS = (*(program.name for program in PROGRAMS), "fair", "notice", "loss")


def lines_of(words):
    run = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10 * RUN_LIMIT_S,
                         check=False)
    if run.returncode != 0:
        sys.exit(f"bench_cluster: {' '.join(words)} failed ({run.returncode}):\n{run.stderr}{run.stdout}")
    return [json.loads(line) for line in run.stdout.splitlines()]


def keep(name, lines, options):
    if not options.no_save:
        save(Row(name, name, (), ()), lines)


def run_program(program, options):
    words = [str(options.build / "bench" / program.bench), *program.args, "--json"]
    results = [{"run": turn + 1, **lines_of(words)[-1]} for turn in range(options.runs)]
    for figure in program.figures:
        values = [result[figure] for result in results]
        print(f"| {program.name} | {figure} | {number(statistics.median(values))} | {number(min(values))} to "
              f"{number(max(values))} |", flush=True)
    keep(program.name, results, options)


def spread(values):
    return f"{number(statistics.median(values))} ({number(min(values))} to {number(max(values))})"


def better(figure, ours, theirs):
    """How many times ours is better: of counts and rates more is, of all others less."""
    more = figure.endswith(("_per_s", "_count"))
    if min(ours, theirs) <= 0:
        return None
    return ours / theirs if more else theirs / ours


def run_fair(options):
    commands = {"rusm": [str(options.build / "bench/fair")]}
    if has_erlang_tls():
        commands["Erlang"] = [str(ROOT / "bench/peers/run.sh"), "fair"]
    print(f"\nBeside messages of 16 MiB: medians of {options.runs} runs, in turn, ranges in brackets. Last column: how many "
          "times better ours are, run by run.\n\n| flows | figure | " + " | ".join(commands) + " | ratio |\n"
          "| --- | --- | " + "--- | " * len(commands) + "--- |", flush=True)
    lines = []
    for flows in FAIR_FLOWS:
        results = {variant: [] for variant in commands}
        for turn in range(options.runs):
            for variant, words in commands.items():
                result = lines_of([*words, str(options.seconds or FAIR_SECONDS), "--flows", str(flows), "--json"])[-1]
                results[variant].append(result)
                lines.append({"run": turn + 1, "variant": variant, **result})
        for figure in FAIR_FIGURES:
            columns = [[result[figure] for result in results[variant]] for variant in commands]
            ratios = [better(figure, *pair) for pair in zip(*columns)] if len(columns) == 2 else [None]
            print(f"| {flows} | {figure} | " + " | ".join(map(spread, columns)) + " | "
                  + ("-" if None in ratios else spread(ratios)) + " |", flush=True)
    keep("fair", lines, options)


def run_notice(options):
    runs = options.runs if options.runs < 5 else NOTICE_RUNS
    results = lines_of([str(ROOT / "bench/notice.py"), "--runs", str(runs), "--build", str(options.build), "--json"])
    print(f"\n| what became of the peer ({runs} runs each) | noticed after, in ticks: least, median, most | cause | in "
          "words |\n| --- | --- | --- | --- |")
    for result in results:
        causes = ", ".join(f"{cause} {count}" for cause, count in result["causes"].items())
        print(f"| {result['kind']} | {result['min_ticks']:.3f}, {result['median_ticks']:.3f}, "
              f"{result['max_ticks']:.3f} | {causes} | {result['text']} |", flush=True)
    keep("notice", results, options)


def run_loss(options):
    lines = lines_of([str(ROOT / "bench/loss.py"), "--runs", str(min(options.runs, LOSS_RUNS_MAX)), "--seconds",
                      str(options.seconds or LOSS_SECONDS), "--build", str(options.build)])
    print("\n| loss | a bad path | load | p50 | p99 | p99.9 | round trips in each run |\n"
          "| --- | --- | --- | --- | --- | --- | --- |")
    groups = {}
    for line in lines:
        groups.setdefault((line["loss"], line["variant"], line["load"]), []).append(line)
    for (loss, variant, load), group in groups.items():
        cells = [statistics.median(line[figure] for line in group) / 1000 for figure in ("p50_us", "p99_us", "p999_us")]
        counts = [line["count"] for line in group]
        print(f"| {loss * 100:g} % | {variant} | {load} | " + " | ".join(f"{cell:.1f} ms" for cell in cells)
              + f" | {number(min(counts))} to {number(max(counts))} |", flush=True)
    keep("loss", lines, options)
    if not options.no_save:
        subprocess.run([sys.executable, str(ROOT / "tools/plot_loss.py"), str(result_file("loss")),
                        str(ROOT / "docs/plots/loss.svg")], check=True)


def main():
    parser = argparse.ArgumentParser(description="Benchmarks of clusters.")
    parser.add_argument("--runs", type=int, default=5, help="of each program; the median is what counts (5)")
    parser.add_argument("--seconds", type=int, help=f"each load of fair ({FAIR_SECONDS}); at most, Erlang's round "
                        f"trips of a kind in loss ({LOSS_SECONDS})")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release", help="build tree (build/release)")
    parser.add_argument("--no-save", action="store_true", help="do not write bench/results")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"default: all: {', '.join(ROWS)}")
    options = parser.parse_args()
    rows = options.rows or ROWS
    if set(rows) - set(ROWS) or options.runs < 1 or options.seconds == 0:
        parser.error(f"rows are {', '.join(ROWS)}; runs and seconds at least 1")
    if any(program.name in rows for program in PROGRAMS):
        print("| benchmark | figure | median | range |\n| --- | --- | --- | --- |", flush=True)
    for program in PROGRAMS:
        if program.name in rows:
            run_program(program, options)
    if "fair" in rows:
        run_fair(options)
    if "notice" in rows:
        run_notice(options)
    if "loss" in rows:
        run_loss(options)


if __name__ == "__main__":
    main()
