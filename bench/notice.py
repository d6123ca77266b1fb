#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How long it takes a node to notice that a peer is gone, and what it says of it.

    notice.py [--runs N] [--tick MS] [--build DIR] [--json] [KIND...]

Two nodes in OS processes of their own, a proxy before the one that goes: killed (kill -9), stopped (SIGSTOP), cut off
(the proxy drops everything), ended in good order, or leaving the cluster. A link is busy with a beat every 20 ms each way
until then. Time is from the deed to the node event at the other node, in units of the tick. One line for each kind.
"""
import argparse
import json
import pathlib
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "test/faults"))
import harness  # noqa: E402


class Pair(harness.World):
    """Not a test: what a World has is used to start and end things."""

    def runTest(self):
        """Nothing."""

    def begin(self, tick_ms):
        self.setUp()
        self.tick_ms = tick_ms
        self.watcher = self.node("a", tick=tick_ms, mesh=0, reconnect_max=200)
        self.come()

    def come(self, listen=None, proxied=False):
        """The node that will go, linked."""
        self.listen = listen or f"127.0.0.1:{harness.free_port()}"
        self.goer = self.node("b", tick=self.tick_ms, mesh=0, reconnect_max=0, listen=self.listen)
        self.path = self.proxy(self.listen) if proxied else None
        self.watcher.connect(self.path.address if proxied else self.listen)
        self.heard()

    def heard(self):
        self.watcher.wait_heard(self.goer)
        self.goer.wait_heard(self.watcher)

    def timed(self, deed):
        """Ticks from the deed until the watcher says so, and its cause."""
        mark = self.watcher.mark()
        begin_ms = time.monotonic() * 1000
        deed()
        down = self.watcher.wait_down(self.goer, mark, deadline_s=harness.DEADLINE_S + 2 * self.tick_ms / 1000)
        # Events have whole milliseconds.
        return max(0, down["t"] - begin_ms) / self.tick_ms, down["cause"], down["text"]

    def once(self, kind):
        if kind == "cut" and self.path is None:
            self.watcher.ask("disconnect b", "disconnected")
            self.goer.kill()
            self.come(proxied=True)
        deeds = {"kill": self.goer.kill, "stop": self.goer.pause, "close": lambda: self.goer.tell("quit"),
                 "leave": lambda: self.goer.tell("leave 30000"), "cut": lambda: self.path.set(cut=1)}
        result = self.timed(deeds[kind])
        self.watcher.ask("disconnect b", "disconnected")
        self.goer.kill()
        if self.path is not None:
            self.path.end()
        self.come(proxied=kind == "cut")
        return result


def measure(kind, runs, tick_ms):
    pair = Pair()
    try:
        pair.begin(tick_ms)
        results = [pair.once(kind) for _ in range(runs)]
    finally:
        pair.doCleanups()
    ticks = sorted(result[0] for result in results)
    causes = {}
    for result in results:
        causes[result[1]] = causes.get(result[1], 0) + 1
    return {"bench": "notice", "kind": kind, "tick_ms": tick_ms, "runs": runs, "min_ticks": round(ticks[0], 4),
            "median_ticks": round(statistics.median(ticks), 4), "max_ticks": round(ticks[-1], 4), "causes": causes,
            "text": results[-1][2]}


KINDS = ("kill", "stop", "cut", "close", "leave")


def main():
    parser = argparse.ArgumentParser(description="How long it takes to notice that a peer is gone.")
    parser.add_argument("--runs", type=int, default=20, help="of each kind (20)")
    parser.add_argument("--tick", type=int, default=1000, help="milliseconds (1000)")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release", help="build tree (build/release)")
    parser.add_argument("--json", action="store_true", help="lines of JSON")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    options = parser.parse_args()
    harness.Settings.build = options.build
    if set(options.kinds) - set(KINDS) or options.runs < 1:
        parser.error(f"kinds are {', '.join(KINDS)}; runs at least 1")
    for kind in options.kinds or KINDS:
        result = measure(kind, options.runs, options.tick)
        if options.json:
            print(json.dumps(result, separators=(",", ":")), flush=True)
        else:
            causes = ", ".join(f"{cause} {count}" for cause, count in result["causes"].items())
            print(f"notice: {kind}: {result['min_ticks']:.3f}, {result['median_ticks']:.3f}, {result['max_ticks']:.3f} "
                  f"ticks (least, median, most of {options.runs}); {causes}: {result['text']}", flush=True)


if __name__ == "__main__":
    main()
