# SPDX-License-Identifier: MIT
"""Nodes in OS processes, bad networks between them, and waiting for what they print.

A World makes identities and starts nodes (rusm-test-node), proxies (rusm-test-proxy) and network namespaces, and ends
them all, whatever became of the test. All waiting is for a line of JSON and has a deadline, which is far longer than any
honest wait: it bounds a hang and expects nothing about speed. At the end of a test no node may have printed a violation
or have ended by itself.
"""
import atexit
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

DEADLINE_S = 60
ROUTER = "r"


class Settings:
    """What the command line says; faults.py sets it."""
    build = pathlib.Path("build/debug")
    long = False
    verbose = False

    @classmethod
    def tick_ms(cls):
        """A tick that a loaded machine does not miss, or in long runs the default one."""
        return 10000 if cls.long else 1000

    @classmethod
    def program(cls, name):
        return str(cls.build / "test/faults" / name)


class Program:
    """A program that prints lines of JSON and obeys lines."""

    def __init__(self, name, words):
        self.name = name
        self.events = []
        self.changed = threading.Condition()
        self.ended = False
        # A file: what is printed there must never block the program.
        self.errors = tempfile.TemporaryFile(mode="w+", encoding="utf-8")
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                        text=True, encoding="utf-8", bufsize=1)
        self.reader = threading.Thread(target=self.read, args=(self.process.stdout,), daemon=True)
        self.reader.start()

    def read(self, stream):
        for line in stream:
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                event = {"event": "violation", "what": "not a line of JSON", "line": line}
            with self.changed:
                self.events.append(event)
                self.changed.notify_all()
            if Settings.verbose:
                print(self.name, line, end="", flush=True)
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def mark(self):
        """A place among the events; waiting can begin there."""
        with self.changed:
            return len(self.events)

    def since(self, mark, event, **fields):
        with self.changed:
            return [e for e in self.events[mark:] if matches(e, event, fields)]

    def wait(self, event, mark=0, deadline_s=DEADLINE_S, **fields):
        """The first event of that name and those fields since the mark; fails if none comes."""
        limit = time.monotonic() + deadline_s
        with self.changed:
            while True:
                for found in self.events[mark:]:
                    if matches(found, event, fields):
                        return found
                left = limit - time.monotonic()
                if self.ended or left <= 0:
                    raise AssertionError(f"{self.name}: no {event} {fields} "
                                         f"{'before it ended' if self.ended else f'in {deadline_s} s'}; last: "
                                         f"{self.events[-12:]}\n{self.complaints()}")
                self.changed.wait(left)

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ask(self, line, event, **fields):
        mark = self.mark()
        self.tell(line)
        return self.wait(event, mark, **fields)

    def complaints(self):
        self.errors.seek(0)
        return self.errors.read()

    def end(self, how=signal.SIGKILL):
        """End it by a signal, or by the end of its input, and wait for that."""
        if how is None:
            self.process.stdin.close()
        elif self.process.poll() is None:
            self.process.send_signal(how)
        self.process.wait(DEADLINE_S)
        self.reader.join(DEADLINE_S)


def matches(event, name, fields):
    return event.get("event") == name and all(event.get(key) == value for key, value in fields.items())


class Node(Program):
    def __init__(self, name, world, options, prefix):
        words = [*prefix, Settings.program("rusm-test-node"), "--name", name, "--identity", str(world.folder)]
        for option, value in options.items():
            for one in value if isinstance(value, list) else [value]:
                words += [f"--{option.replace('_', '-')}", str(one)]
        super().__init__(name, words)
        self.options, self.prefix, self.world = options, prefix, world
        self.expected_end = False
        bound = self.wait("bound")
        self.address, self.incarnation = bound["address"], bound["incarnation"]
        self.wait("listening")

    def connect(self, address):
        result = self.ask(f"connect {address}", "connected")
        assert result["err"] == "RUSM_OK", f"{self.name} to {address}: {result}"

    def join(self, address):
        assert self.ask(f"join {address}", "joined")["err"] == "RUSM_OK"

    def peers(self):
        return sorted(self.ask("peers", "peers")["names"])

    def path(self, other):
        """The largest datagram on the way to another node, and how often that shrank."""
        path = self.ask(f"path {other.name}", "path")
        return path["payload_max"], path["payload_shrunk"]

    def wait_path(self, other, wanted):
        """Until path() is that. It takes large messages to find out."""
        limit = time.monotonic() + DEADLINE_S
        while self.path(other) != wanted:
            mark = other.mark()
            self.tell(f"big {other.name} 100000 1")
            other.wait("got", mark)
            assert time.monotonic() < limit, f"{self.name} to {other.name}: {self.path(other)}, not {wanted}"

    def stats(self):
        return self.ask("stats", "stats")

    def counts(self):
        return self.ask("counts", "counts")

    def ping(self, peer, count=20, pause_ms=0):
        result = self.ask(f"ping {peer} {count} {pause_ms}", "pinged")
        assert result["err"] == "RUSM_OK" and result["count"] == count, f"{self.name} to {peer}: {result}"
        return result

    def wait_heard(self, *others):
        """Until beats of the present incarnation of each other node come."""
        for other in others:
            self.wait("heard", node=other.name, incarnation=other.incarnation)

    def wait_up(self, other, mark=0):
        return self.wait("node_up", mark, node=other.name, incarnation=other.incarnation)

    def wait_down(self, other, mark=0, **fields):
        return self.wait("node_down", mark, node=other.name, incarnation=other.incarnation, **fields)

    def kill(self):
        self.expected_end = True
        self.end()

    def quit(self):
        self.expected_end = True
        mark = self.mark()
        self.tell("quit")
        self.wait("ended", mark)
        self.end(None)
        assert self.process.returncode == 0, f"{self.name} ended with {self.process.returncode}"

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def restarted(self):
        """Another one of this name at this address; this one has ended."""
        return self.world.node(self.name, **{**self.options, "listen": self.address}, prefix=self.prefix)


class Proxy(Program):
    def __init__(self, target, listen, seed, prefix):
        super().__init__("proxy", [*prefix, Settings.program("rusm-test-proxy"), "--target", target, "--listen", listen,
                                   "--seed", str(seed)])
        self.address = self.answer(0)["listening"]

    def answer(self, mark):
        limit = time.monotonic() + DEADLINE_S
        with self.changed:
            while len(self.events) <= mark:
                assert not self.ended and self.changed.wait(limit - time.monotonic()), f"no answer: {self.complaints()}"
            return self.events[mark]

    def set(self, way="both", **faults):
        """Replace the faults of one way, or of both."""
        everything = {name: 0 for name in ("loss", "duplicate", "reorder", "corrupt", "delay_ms", "jitter_ms", "rate",
                                           "queue", "mtu", "lose_every", "cut")}
        mark = self.mark()
        self.tell(f"{way} " + ",".join(f"{name}={value}" for name, value in {**everything, **faults}.items()))
        assert self.answer(mark) == {"ok": True}, faults

    def counts(self):
        mark = self.mark()
        self.tell("counts")
        return self.answer(mark)


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True)


class Network:
    """Hosts in namespaces of their own around a router, which can drop what goes from one to another.

    Host i has the address 10.77.i.2. Blocked packets vanish on their way: the sender hears nothing.
    """
    made = set()

    def __init__(self, hosts):
        self.names = [f"rusm{os.getpid()}-{ROUTER}"] + [f"rusm{os.getpid()}-{i}" for i in range(1, hosts + 1)]
        try:
            for name in self.names:
                run("ip", "netns", "add", name)
                self.made.add(name)
            self.inside(0, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
            for i in range(1, hosts + 1):
                run("ip", "link", "add", f"h{i}", "netns", self.names[0], "type", "veth", "peer", "name", "eth0",
                    "netns", self.names[i])
                run("ip", "-n", self.names[0], "address", "add", f"10.77.{i}.1/24", "dev", f"h{i}")
                run("ip", "-n", self.names[0], "link", "set", f"h{i}", "up")
                run("ip", "-n", self.names[i], "link", "set", "lo", "up")
                self.address_on(i)
                self.link_on(i)
        except (OSError, subprocess.CalledProcessError) as problem:
            self.close()
            said = getattr(problem, "stderr", None) or str(problem)
            raise unittest.SkipTest(f"network namespaces are not allowed here: {said.strip()}") from None

    def inside(self, i, *words):
        return run("ip", "netns", "exec", self.names[i], *words)

    def prefix(self, i):
        return ["ip", "netns", "exec", self.names[i]]

    def link_off(self, i):
        run("ip", "-n", self.names[i], "link", "set", "eth0", "down")

    def link_on(self, i):
        run("ip", "-n", self.names[i], "link", "set", "eth0", "up")
        run("ip", "-n", self.names[i], "route", "replace", "default", "via", f"10.77.{i}.1")

    def address_off(self, i):
        run("ip", "-n", self.names[i], "address", "del", f"10.77.{i}.2/24", "dev", "eth0")

    def address_on(self, i):
        run("ip", "-n", self.names[i], "address", "add", f"10.77.{i}.2/24", "dev", "eth0")

    def mtu(self, i, value):
        run("ip", "-n", self.names[i], "link", "set", "eth0", "mtu", str(value))
        run("ip", "-n", self.names[0], "link", "set", f"h{i}", "mtu", str(value))

    def block(self, i, j):
        """Nothing goes from host i to host j any more."""
        run("ip", "-n", self.names[0], "rule", "add", "from", f"10.77.{i}.2", "to", f"10.77.{j}.2", "blackhole")

    def unblock(self, i, j):
        run("ip", "-n", self.names[0], "rule", "del", "from", f"10.77.{i}.2", "to", f"10.77.{j}.2", "blackhole")

    def close(self):
        for name in self.names:
            if name in self.made:
                subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
                self.made.discard(name)


class World(unittest.TestCase):
    """A test with a folder of identities, and everything that it starts."""
    names = ("a", "b", "c", "d", "e")

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="rusm-faults-"))
        self.nodes, self.proxies, self.network = [], [], None
        self.addCleanup(self.clean)
        run(Settings.program("rusm-test-node"), "--issue", str(self.folder), *self.names)

    def clean(self):
        for node in self.nodes + self.proxies:
            if node.process.poll() is None:
                node.process.send_signal(signal.SIGKILL)
            node.end()
        if self.network is not None:
            self.network.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def tearDown(self):
        """What holds of every test."""
        for node in self.nodes:
            violations = node.since(0, "violation")
            self.assertEqual(violations, [], f"{node.name} saw what must not be")
            code = node.process.poll()
            if not node.expected_end:
                self.assertIsNone(code, f"{node.name} ended by itself with {code}: {node.complaints()}")

    def node(self, name, prefix=(), **options):
        options.setdefault("tick", Settings.tick_ms())
        options.setdefault("reconnect_max", 500)
        node = Node(name, self, options, list(prefix))
        self.nodes.append(node)
        return node

    def proxy(self, target, listen="127.0.0.1:0", seed=1, prefix=()):
        proxy = Proxy(target, listen, seed, prefix)
        self.proxies.append(proxy)
        return proxy

    def behind_proxy(self, name, seed=1, **options):
        """A node on loopback that others can reach through a proxy only."""
        listen = f"127.0.0.1:{free_port()}"
        proxy = self.proxy(listen, seed=seed)
        return self.node(name, listen=listen, advertise=proxy.address, **options), proxy

    def host_behind_proxy(self, i, seed=1, **options):
        """A node on a host that others can reach through a proxy on the router only."""
        listen = f"10.77.{i}.2:4433"
        proxy = self.proxy(listen, f"10.77.{i}.1:0", seed, self.network.prefix(0))
        return self.node(self.names[i - 1], prefix=self.network.prefix(i), listen=listen, advertise=proxy.address,
                         **options), proxy

    def mesh(self, count, **options):
        """Nodes on loopback, all linked through the first one."""
        nodes = [self.node(name, **options) for name in self.names[:count]]
        for node in nodes[1:]:
            node.join(nodes[0].address)
        self.wait_mesh(nodes)
        return nodes

    def hosts(self, count, **options):
        """The same, each in a namespace of its own."""
        self.network = Network(count)
        nodes = [self.node(name, prefix=self.network.prefix(i), listen=f"10.77.{i}.2:4433", **options)
                 for i, name in enumerate(self.names[:count], 1)]
        for node in nodes[1:]:
            node.join(nodes[0].address)
        self.wait_mesh(nodes)
        return nodes

    def wait_mesh(self, nodes, marks=None):
        """Until every node hears each other one; with marks: until each link that was lost since is up again."""
        for i, node in enumerate(nodes):
            for other in nodes:
                if other is node:
                    continue
                node.wait_heard(other)
                if marks is not None and node.since(marks[i], "node_down", node=other.name):
                    node.wait_up(other, marks[i])

    def assert_linked(self, nodes):
        """Every node lists each other one, and they answer each other."""
        for node in nodes:
            others = sorted(other.name for other in nodes if other is not node)
            limit = time.monotonic() + DEADLINE_S
            while node.peers() != others:
                self.assertLess(time.monotonic(), limit, f"{node.name} lists {node.peers()}, not {others}")
            for other in others:
                node.ping(other, 3)


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def clean_networks():
    for name in list(Network.made):
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


atexit.register(clean_networks)
