#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Small messages beside large ones on a bad path, ours and Erlang's.

    loss.py [--loss P...] [--delay MS] [--count N] [--seconds S] [--runs N] [--build DIR]

Two hosts in network namespaces (root) talk through a tunnel, VXLAN, whose datagrams two rusm-test-proxies carry, one for
each direction; so TCP and QUIC meet the same loss, of single packets. On each host is a node, ours or Erlang's by turns,
both with TLS 1.3 and certificates on both sides: round trips of 64 bytes, first alone, then while a message of 16 MiB
after the other is under way in the same direction. Erlang's end after so many seconds if there were not as many by then:
at high loss they can take a second each. One line of JSON for each loss, node, load and run. Without Erlang (erlang-ssl)
ours run alone. tools/plot_loss.py draws what this prints.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "test/faults"), str(ROOT / "tools")]
import harness  # noqa: E402
from bench_processes import has_erlang_tls  # noqa: E402

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
RUN_LIMIT_S = 600


class Path(harness.World):
    """Not a test: what a World has is used to start and end things. Host 1 is 10.88.0.1 in the tunnel, host 2 .2."""

    def runTest(self):
        """Nothing."""

    def begin(self, loss, delay_ms):
        self.setUp()
        self.network = harness.Network(2)
        self.proxies += [self.way(1, 2, loss, delay_ms), self.way(2, 1, loss, delay_ms)]
        for i in (1, 2):
            self.tunnel(i)

    def way(self, i, j, loss, delay_ms):
        proxy = harness.Proxy(f"10.77.{j}.2:{PORT}", f"10.77.{i}.1:{PORT}", i, self.network.prefix(0))
        proxy.set("to", loss=loss, delay_ms=delay_ms)
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
        alone = self.ping(a, count)
        a.tell(f"big b {LARGE} 1000000")
        b.wait("got")
        loaded = self.ping(a, count)
        for node in (a, b):
            node.kill()
        return alone, loaded

    def ping(self, node, count):
        mark = node.mark()
        node.tell(f"ping b {count} 0")
        result = node.wait("pinged", mark, deadline_s=RUN_LIMIT_S)
        assert result["err"] == "RUSM_OK" and result["count"] == count, result
        return result

    def erlang(self, count, seconds):
        folder = pathlib.Path(self.folder)
        subprocess.run(["erlc", "-Werror", "-o", str(folder), str(ROOT / "bench/peers/loss.erl")], check=True)
        subprocess.run([str(ROOT / "bench/peers/certs.sh"), str(folder), "a@10.88.0.1", "b@10.88.0.2"], check=True)
        b = self.beam(2, "-s", "loss", "serve")
        b.wait("serving")
        a = self.beam(1, "-run", "loss", "ask", "b@10.88.0.2", str(count), str(LARGE), str(seconds))
        results = [a.wait(load, deadline_s=RUN_LIMIT_S) for load in ("alone", "loaded")]
        for program in (a, b):
            program.end()
        return results

    def beam(self, i, *words):
        # Without epmd, which would outlive the test: both nodes are found at one port.
        program = harness.Program(f"erlang {i}", [
            *self.network.prefix(i), "env", f"HOME={self.folder}", shutil.which("erl"), "-noshell", "-pa",
            str(self.folder), "-name", f"{'_ab'[i]}@10.88.0.{i}", "-setcookie", f"faults{os.getpid()}", "-start_epmd",
            "false", "-erl_epmd_port", str(ERLANG_PORT), "-proto_dist", "inet_tls", "-ssl_dist_optfile",
            f"{self.folder}/{'_ab'[i]}.conf", *words])
        self.proxies.append(program)
        return program


def measure(kind, loss, turn, options):
    path = Path()
    try:
        path.begin(loss, options.delay)
        results = path.ours(options.count) if kind == "rusm" else path.erlang(options.count, options.seconds)
    finally:
        path.doCleanups()
    for load, result in zip(("alone", "loaded"), results):
        figures = {key: result[key] for key in ("p50_us", "p90_us", "p99_us", "p999_us", "max_us")}
        print(json.dumps({"bench": "loss", "variant": kind, "load": load, "loss": loss, "delay_ms": options.delay,
                          "count": result["count"], "run": turn, **figures}, separators=(",", ":")), flush=True)


def main():
    parser = argparse.ArgumentParser(description="Small messages beside large ones on a bad path.")
    parser.add_argument("--loss", type=float, nargs="+", default=[0, 0.005, 0.01, 0.02, 0.05], metavar="P",
                        help="probabilities, each way (0 0.005 0.01 0.02 0.05)")
    parser.add_argument("--delay", type=float, default=1, help="milliseconds each way (1)")
    parser.add_argument("--count", type=int, default=2000, help="round trips of each kind (2000)")
    parser.add_argument("--seconds", type=int, default=20, help="after which Erlang's of a kind end (20)")
    parser.add_argument("--runs", type=int, default=3, help="by turns (3)")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release", help="build tree (build/release)")
    options = parser.parse_args()
    harness.Settings.build = options.build
    kinds = ["rusm"] + ["Erlang"] * has_erlang_tls()
    for loss in options.loss:
        for turn in range(options.runs):
            for kind in kinds:
                measure(kind, loss, turn + 1, options)


if __name__ == "__main__":
    main()
