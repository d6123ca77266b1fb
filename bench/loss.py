#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Small messages beside large ones on a bad path, ours and Erlang's.

    loss.py [--loss P] [--delay MS] [--count N] [--runs N] [--build DIR]

Two hosts in network namespaces (root) talk through a tunnel, VXLAN, whose datagrams two rusm-test-proxies carry, one for
each direction; so TCP and QUIC meet the same loss, of single packets. On each host is a node, ours or Erlang's by turns:
round trips of 64 bytes, first alone, then while a message of 16 MiB after the other is under way in the same direction.
One line of JSON for each node, load and run. Without Erlang ours run alone. tools/plot_loss.py draws what this prints.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "test/faults"))
import harness  # noqa: E402

# What ethtool --offload tunnel tx off does: checksums are computed before packets pass a program, and, as a consequence,
# packets leave one by one; else the proxy would carry broken ones, or have to lose many at a time.
OFFLOAD_OFF = """
import array, fcntl, socket, struct
value = array.array("B", struct.pack("II", 0x17, 0))  # ETHTOOL_STXCSUM: off
request = struct.pack("16sP", b"tunnel", value.buffer_info()[0])
fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8946, request)  # SIOCETHTOOL
"""
LARGE = 16 << 20
PORT = 4789
ERLANG_PORT = 4370


class Path(harness.World):
    """Not a test: what a World has is used to start and end things. Host 1 is 10.88.0.1 in the tunnel, host 2 .2."""

    def runTest(self):
        """Nothing."""

    def begin(self, options):
        self.setUp()
        self.network = harness.Network(2)
        self.proxies += [self.way(1, 2, options), self.way(2, 1, options)]
        for i in (1, 2):
            self.tunnel(i)

    def way(self, i, j, options):
        proxy = harness.Proxy(f"10.77.{j}.2:{PORT}", f"10.77.{i}.1:{PORT}", i, self.network.prefix(0))
        proxy.set("to", loss=options.loss, delay_ms=options.delay)
        return proxy

    def tunnel(self, i):
        host = self.network.names[i]
        harness.run("ip", "-n", host, "link", "add", "tunnel", "type", "vxlan", "id", "7", "local", f"10.77.{i}.2",
                    "remote", f"10.77.{i}.1", "dstport", str(PORT), "srcport", "5000", "5001", "nolearning")
        harness.run("ip", "-n", host, "address", "add", f"10.88.0.{i}/24", "dev", "tunnel")
        self.network.inside(i, sys.executable, "-c", OFFLOAD_OFF)
        harness.run("ip", "-n", host, "link", "set", "tunnel", "mtu", "1400", "up")

    def ours(self, count):
        b = self.node("b", prefix=self.network.prefix(2), listen="10.88.0.2:4433", tick=10000, beat=0)
        a = self.node("a", prefix=self.network.prefix(1), listen="10.88.0.1:4433", tick=10000, beat=0)
        a.connect("10.88.0.2:4433")
        alone = a.ping("b", count)
        a.tell(f"big b {LARGE} 1000000")
        b.wait("got")
        loaded = a.ping("b", count)
        for node in (a, b):
            node.kill()
        return alone, loaded

    def erlang(self, count):
        folder = pathlib.Path(self.folder)
        subprocess.run(["erlc", "-Werror", "-o", str(folder), str(ROOT / "bench/peers/loss.erl")], check=True)
        b = self.beam(2, "-s", "loss", "serve")
        b.wait("serving")
        a = self.beam(1, "-run", "loss", "ask", "b@10.88.0.2", str(count), str(LARGE))
        results = a.wait("alone", deadline_s=600), a.wait("loaded", deadline_s=600)
        for program in (a, b):
            program.end()
        return results

    def beam(self, i, *words):
        # Without epmd, which would outlive the test: both nodes are found at one port.
        program = harness.Program(f"erlang {i}", [
            *self.network.prefix(i), "env", f"HOME={self.folder}", shutil.which("erl"), "-noshell", "-pa",
            str(self.folder), "-name", f"{'_ab'[i]}@10.88.0.{i}", "-setcookie", f"faults{os.getpid()}", "-start_epmd",
            "false", "-erl_epmd_port", str(ERLANG_PORT), *words])
        self.proxies.append(program)
        return program


def main():
    parser = argparse.ArgumentParser(description="Small messages beside large ones on a bad path.")
    parser.add_argument("--loss", type=float, default=0.01, help="probability, each way (0.01)")
    parser.add_argument("--delay", type=float, default=1, help="milliseconds each way (1)")
    parser.add_argument("--count", type=int, default=2000, help="round trips of each kind (2000)")
    parser.add_argument("--runs", type=int, default=3, help="by turns (3)")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release", help="build tree (build/release)")
    options = parser.parse_args()
    harness.Settings.build = options.build
    kinds = ["rusm"] + ["Erlang"] * (shutil.which("erl") is not None)
    for turn in range(options.runs):
        for kind in kinds:
            path = Path()
            try:
                path.begin(options)
                results = (path.ours if kind == "rusm" else path.erlang)(options.count)
            finally:
                path.doCleanups()
            for load, result in zip(("alone", "loaded"), results):
                figures = {key: result[key] for key in ("p50_us", "p90_us", "p99_us", "p999_us", "max_us")}
                print(json.dumps({"bench": "loss", "variant": kind, "load": load, "loss": options.loss,
                                  "delay_ms": options.delay, "count": result["count"], "run": turn + 1, **figures},
                                 separators=(",", ":")), flush=True)


if __name__ == "__main__":
    main()
