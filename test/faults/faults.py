#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What nodes in OS processes of their own survive; docs/design/faults.md says what is tested where.

    faults.py --build DIR [--long] [--verbose] [CASE...]

CASE is the name of a class below, as ctest has it. --long waits as long as the faults of real life last: minutes.
Exits 77 if everything was skipped.
"""
import argparse
import pathlib
import sys
import time
import unittest

from harness import Network, Settings, World

PAUSE_LONG_S = (5, 20, 60)


class KillAndRestart(World):
    """kill -9, and the same name again at once: in its place, as another incarnation."""

    def runTest(self):
        a, b, c = self.mesh(3)
        for _ in range(10 if Settings.long else 3):
            marks = a.mark(), b.mark()
            c.kill()
            begin = time.monotonic()
            old, c = c, c.restarted()
            self.assertLess(time.monotonic() - begin, 10, "the restart itself was slow")
            c.join(a.address)
            for node, mark in zip((a, b), marks):
                down = node.wait_down(old, mark)
                up = node.wait_up(c, mark)
                self.assertLessEqual(down["t"], up["t"])
                node.wait_heard(c)
                c.wait_heard(node)
            self.assertNotEqual(old.incarnation, c.incarnation)
        self.assert_linked([a, b, c])


class KillIsNoticed(World):
    """A node that was killed and does not come back is down on all others, with a cause."""

    def runTest(self):
        a, b, c = self.mesh(3)
        marks = a.mark(), b.mark()
        c.kill()
        for node, mark in zip((a, b), marks):
            down = node.wait_down(c, mark)
            self.assertIn("c", down["text"])
            node.wait("down", mark, node="c", reason="noconnection")
        self.assert_linked([a, b])


class ShortPause(World):
    """A pause of less than a tick goes unnoticed."""

    def runTest(self):
        a, b = self.mesh(2, tick=10000)
        mark = a.mark()
        for _ in range(3):
            b.pause()
            time.sleep(1)  # the fault itself
            b.resume()
            a.ping("b")
        self.assertEqual(a.since(mark, "node_down"), [])
        self.assertEqual(b.since(0, "node_down"), [])


class LongPause(World):
    """Who is stopped for longer than a tick is down, and comes back as the one it was."""

    def runTest(self):
        a, b, c = self.mesh(3)
        for pause_s in PAUSE_LONG_S if Settings.long else (0,):
            marks = [node.mark() for node in (a, b, c)]
            begin = time.monotonic()
            c.pause()
            for node, mark in zip((a, b), marks):
                if Settings.long and pause_s * 1000 < 2 * Settings.tick_ms():
                    continue
                down = node.wait_down(c, mark, cause="silent")
                # What was heard last came before the pause, by a beat or a little more.
                self.assertGreater(down["t"] - begin * 1000, 0.8 * Settings.tick_ms())
            time.sleep(max(0, pause_s - (time.monotonic() - begin)))  # the fault itself
            c.resume()
            self.wait_mesh([a, b, c], marks)
            self.assert_linked([a, b, c])


class Leave(World):
    """Who leaves is reported as left, and nobody looks for it."""

    def runTest(self):
        a, b, c = self.mesh(3)
        marks = a.mark(), b.mark()
        self.assertEqual(c.ask("leave 30000", "left")["err"], "RUSM_OK")
        for node, mark in zip((a, b), marks):
            node.wait_down(c, mark, cause="left")
        self.assertEqual(c.peers(), [])
        c.quit()
        self.assert_linked([a, b])


class Quit(World):
    """Who ends in good order is down at once, not after a tick, and back when it is started again."""

    def runTest(self):
        a, b = self.mesh(2, tick=60000)
        mark = a.mark()
        b.quit()
        down = a.wait_down(b, mark)
        self.assertNotEqual(down["cause"], "silent")
        b = b.restarted()
        b.join(a.address)
        a.wait_up(b, mark)
        self.assert_linked([a, b])


class Churn(World):
    """A hundred restarts: no descriptor, process or table of the others grows."""

    def runTest(self):
        a, b = self.mesh(2, tick=1000)
        rounds, seen = (100 if Settings.long else 16), []
        c = self.node("c", tick=1000)
        for i in range(rounds):
            c.join(a.address)
            for node in (a, b):
                node.wait_heard(c)
                c.wait_heard(node)
            seen.append(self.settled(a, seen))
            # By turns: killed, ended, and gone for good.
            if i % 3 == 0:
                c.kill()
            elif i % 3 == 1:
                c.quit()
            else:
                self.assertEqual(c.ask("leave 30000", "left")["err"], "RUSM_OK")
                c.kill()
            old, c = c, c.restarted()
            a.wait_down(old)
            b.wait_down(old)
        half = len(seen) // 2
        # Memory grows at first, until every pool has what it needs; a leak would go on.
        for figure, slack in (("descriptors", 0), ("processes", 0), ("resident_kib", 4096)):
            before, after = (max(one[figure] for one in part) for part in (seen[:half], seen[half:]))
            self.assertLessEqual(after, before + slack, f"{figure} grew: {[one[figure] for one in seen]}")

    def settled(self, node, seen):
        """The figures once what belongs to lost links has gone, as far as it goes."""
        limit = time.monotonic() + 30
        figures = node.stats()
        while seen and figures["descriptors"] > seen[0]["descriptors"] and time.monotonic() < limit:
            figures = node.stats()
        return figures


class Behind(World):
    """Two nodes with a proxy before each, and traffic of all kinds while the network is bad."""

    def pair(self, **options):
        options.setdefault("tick", 10000)
        self.a, self.to_a = self.behind_proxy("a", seed=1, **options)
        self.b, self.to_b = self.behind_proxy("b", seed=2, **options)

    def link(self):
        self.a.join(self.to_b.address)
        self.a.wait_heard(self.b)
        self.b.wait_heard(self.a)

    def spoil(self, **faults):
        self.to_a.set(**faults)
        self.to_b.set(**faults)

    def traffic(self, pings=50, big_bytes=1 << 20):
        """Small and large ones, and a death, both ways; all must come."""
        marks = self.a.mark(), self.b.mark()
        self.a.tell(f"big b {big_bytes} 2")
        self.b.tell(f"big a {big_bytes} 2")
        self.a.ping("b", pings)
        self.b.ping("a", pings)
        for node, mark in zip((self.a, self.b), marks):
            for _ in range(2):
                got = node.wait("got", mark)
                self.assertTrue(got["whole"])
                self.assertEqual(got["bytes"], big_bytes)
                mark = node.events.index(got, mark) + 1

    def assert_never_down(self):
        for node in (self.a, self.b):
            self.assertEqual(node.since(0, "node_down"), [], f"{node.name} lost a peer that was there")


class Loss(Behind):
    """Up to 30 % of all datagrams are lost, each way."""

    def runTest(self):
        self.pair()
        self.spoil(loss=0.3)
        self.link()
        for loss in (0, 0.01, 0.05, 0.1, 0.2, 0.3):
            self.spoil(loss=loss)
            self.traffic(20, 1 << 18)
        self.assert_never_down()
        counts = self.to_b.counts()
        self.assertGreater(counts["to"]["lost"] + counts["from"]["lost"], 10)


class Duplication(Behind):
    """Datagrams come twice, also those of the handshake."""

    def runTest(self):
        self.pair()
        self.spoil(duplicate=0.5)
        self.link()
        self.traffic()
        self.assert_never_down()


class Reordering(Behind):
    """Datagrams overtake each other, also those of the handshake; beats come fast enough for that."""

    def runTest(self):
        self.pair(beat=1)
        self.spoil(reorder=0.3, jitter_ms=3)
        self.link()
        self.traffic()
        self.assert_never_down()


class Corruption(Behind):
    """Bits flip, also in the handshake; nothing false is delivered and the link stays."""

    def runTest(self):
        self.pair()
        self.spoil(corrupt=0.1)
        self.link()
        self.traffic()
        self.assert_never_down()
        counts = self.to_b.counts()
        self.assertGreater(counts["to"]["corrupted"] + counts["from"]["corrupted"], 10)


class Delay(Behind):
    """Up to half a second each way."""

    def runTest(self):
        self.pair()
        for delay in (10, 100, 500):
            self.spoil(delay_ms=delay, jitter_ms=delay / 5)
            if delay == 10:
                self.link()
            result = self.a.ping("b", 3)
            self.assertGreaterEqual(result["p50_us"], 2000 * delay)
        self.assert_never_down()


class DelayedDial(Behind):
    """A handshake over a path of half a second each way."""

    def runTest(self):
        self.pair()
        self.spoil(delay_ms=500)
        self.link()
        self.assert_never_down()


class NarrowPath(Behind):
    """A bottleneck of 2 MB/s with a short queue."""

    def runTest(self):
        self.pair()
        self.spoil(rate=2000000, queue=65536)
        self.link()
        self.traffic(50, 1 << 20)
        self.assert_never_down()


class Hosts(Behind):
    """The same with hosts in namespaces: on loopback nodes take it for granted that large datagrams pass."""

    def pair(self, **options):
        options.setdefault("tick", 10000)
        self.network = Network(2)
        self.a, self.to_a = self.host_behind_proxy(1, seed=1, **options)
        self.b, self.to_b = self.host_behind_proxy(2, seed=2, **options)


class SmallMtu(Hosts):
    """Nothing above 1200 bytes of UDP payload passes, which is the least that QUIC needs."""

    def runTest(self):
        self.pair()
        self.spoil(mtu=1200)
        self.link()
        self.traffic()
        self.assert_never_down()
        counts = self.to_b.counts()
        self.assertGreater(counts["to"]["too_large"] + counts["from"]["too_large"], 0, "nobody tried")


class MtuShrinks(Hosts):
    """Datagrams of the size that was found vanish from some moment on, with 4 MiB under way each way."""

    def runTest(self):
        self.pair()
        self.link()
        self.traffic()
        for node, other in ((self.a, self.b), (self.b, self.a)):
            node.wait_path(other, (1452, 0))
        self.spoil(rate=8000000)
        marks = self.a.mark(), self.b.mark()
        self.a.tell(f"big b {4 << 20} 1")
        self.b.tell(f"big a {4 << 20} 1")
        self.a.ping("b", 10)
        for node, mark in zip((self.a, self.b), marks):
            self.assertEqual(node.since(mark, "got"), [], "the message was not under way any more")
        self.spoil(rate=8000000, mtu=1420)
        self.a.ping("b", 50)
        self.b.ping("a", 50)
        for node, mark in zip((self.a, self.b), marks):
            self.assertTrue(node.wait("got", mark)["whole"])
        for node, other in ((self.a, self.b), (self.b, self.a)):
            node.wait_path(other, (1404, 1))
        self.assert_never_down()
        counts = self.to_b.counts()
        self.assertGreater(counts["to"]["too_large"] + counts["from"]["too_large"], 0, "nobody tried")


class EverythingAtOnce(Hosts):
    """All of it together."""

    def runTest(self):
        self.pair()
        self.spoil(loss=0.05, duplicate=0.1, reorder=0.1, corrupt=0.02, delay_ms=5, jitter_ms=10, mtu=1200)
        self.link()
        self.traffic(20, 1 << 18)
        self.assert_never_down()


class BigInFlight(Behind):
    """While 16 MiB are on their way, small messages and death notices pass."""

    def runTest(self):
        self.pair()
        self.link()
        self.b.ask("victim v", "spawned")
        self.assertEqual(self.a.ask("watch b v 1", "watching")["err"], "RUSM_OK")
        # Slow enough that what is asked below happens while the message is under way, on any machine.
        self.spoil(rate=3000000)
        marks = self.a.mark(), self.b.mark()
        self.a.tell(f"big b {16 << 20} 1")
        self.b.tell(f"big a {16 << 20} 1")
        self.a.ping("b", 10)
        self.b.ping("a", 10)
        self.assertEqual(self.b.ask("slay v", "slain")["err"], "RUSM_OK")
        watched = self.a.wait("watched", marks[0])
        self.assertEqual((watched["downs"], watched["reason"]), (1, "killed"))
        for node, mark in zip((self.a, self.b), marks):
            self.assertEqual(node.since(mark, "got"), [], "the message was not under way any more")
        self.spoil()
        for node, mark in zip((self.a, self.b), marks):
            self.assertTrue(node.wait("got", mark)["whole"])
        self.assert_never_down()


class CutAndHealed(Behind):
    """Nothing passes: both are down by time-out; then everything does: both are back."""
    ways = (("both", "both"),)

    def runTest(self):
        self.pair(tick=Settings.tick_ms())
        self.link()
        for way_a, way_b in self.ways:
            marks = self.a.mark(), self.b.mark()
            begin = time.monotonic() * 1000
            self.to_a.set(way_a, cut=1)
            self.to_b.set(way_b, cut=1)
            downs = self.a.wait_down(self.b, marks[0]), self.b.wait_down(self.a, marks[1])
            for down in downs:
                self.assertGreater(down["t"] - begin, 0.8 * Settings.tick_ms())
            self.assertEqual(downs[0]["cause"], "silent")
            self.a.wait("down", marks[0], reason="noconnection")
            self.b.wait("down", marks[1], reason="noconnection")
            self.spoil()
            self.a.wait_up(self.b, marks[0])
            self.b.wait_up(self.a, marks[1])
            self.assert_linked([self.a, self.b])


class CutOneWay(CutAndHealed):
    """What b sends does not reach a, whoever dialled: both sides notice."""
    ways = (("to", "from"),)


class ManyMonitors(Behind):
    """A link with many monitors is cut: exactly one down for each."""

    def runTest(self):
        count = 100000 if Settings.long else 20000
        self.pair(tick=Settings.tick_ms())
        self.link()
        self.b.ask("victim v", "spawned")
        self.assertEqual(self.a.ask(f"watch b v {count}", "watching")["err"], "RUSM_OK")
        mark = self.a.mark()
        self.spoil(cut=1)
        watched = self.a.wait("watched", mark)
        self.assertEqual((watched["downs"], watched["reason"]), (count, "noconnection"))


class LinkDown(World):
    """The interface of a host goes down, and up again after everybody has noticed."""

    def runTest(self):
        a, b, c = nodes = self.hosts(3)
        marks = [node.mark() for node in nodes]
        self.network.link_off(3)
        for node, mark in zip((a, b), marks):
            node.wait_down(c, mark)
        for other in (a, b):
            c.wait_down(other, marks[2])
        self.network.link_on(3)
        self.wait_mesh(nodes, marks)
        self.assert_linked(nodes)


class ShortLinkDown(World):
    """The interface is away for less than a tick: nobody notices, and nothing is lost."""

    def runTest(self):
        a, b = nodes = self.hosts(2, tick=10000)
        for _ in range(3):
            self.network.link_off(2)
            time.sleep(0.5)  # the fault itself
            self.network.link_on(2)
            a.ping("b")
            b.ping("a")
        for node in nodes:
            self.assertEqual(node.since(0, "node_down"), [])


class AddressRemoved(World):
    """The address of a host is taken away, and given back after everybody has noticed."""

    def runTest(self):
        a, b, c = nodes = self.hosts(3)
        marks = [node.mark() for node in nodes]
        self.network.address_off(3)
        for node, mark in zip((a, b), marks):
            node.wait_down(c, mark)
        for other in (a, b):
            c.wait_down(other, marks[2])
        self.network.address_on(3)
        self.network.link_on(3)
        self.wait_mesh(nodes, marks)
        self.assert_linked(nodes)


class PathMtu(World):
    """The interface of one host takes no more than 1280 bytes, of which the other host hears nothing."""

    def runTest(self):
        self.network = Network(2)
        self.network.mtu(2, 1280)
        a, b = nodes = [self.node(name, prefix=self.network.prefix(i), listen=f"10.77.{i}.2:4433", tick=10000)
                        for i, name in enumerate("ab", 1)]
        b.join(a.address)
        self.wait_mesh(nodes)
        for one, other in ((a, b), (b, a)):
            mark = other.mark()
            one.tell(f"big {other.name} {1 << 20} 1")
            self.assertTrue(other.wait("got", mark)["whole"])
        for node in nodes:
            self.assertEqual(node.since(0, "node_down"), [])


class PathMtuShrinks(World):
    """The interface of a host is lowered under a live link: its own kernel says so, and the router tells the other."""

    def runTest(self):
        a, b = self.hosts(2, tick=10000)
        marks = a.mark(), b.mark()
        for value, path in ((1500, (1452, 0)), (1300, (1200, 1))):
            self.network.mtu(2, value)
            for one, other in ((a, b), (b, a)):
                mark = other.mark()
                one.tell(f"big {other.name} {1 << 20} 1")
                one.ping(other.name, 10)
                self.assertTrue(other.wait("got", mark)["whole"])
                one.wait_path(other, path)
        for node, mark in zip((a, b), marks):
            self.assertEqual(node.since(mark, "node_down"), [])


class Partition(World):
    """Links between some hosts are cut; the others stay; all are back after it heals, and agree about names."""
    count = 4
    cut = ((1, 2), (2, 1))  # from, to

    def runTest(self):
        nodes = self.hosts(self.count, hello=1000)
        for node in nodes:
            self.assertEqual(node.ask(f"global name-{node.name}", "published")["err"], "RUSM_OK")
        marks = [node.mark() for node in nodes]
        for one, other in self.cut:
            self.network.block(one, other)
        severed = {frozenset(pair) for pair in self.cut}
        for i, j in ((i, j) for i in range(self.count) for j in range(self.count) if i != j):
            if frozenset((i + 1, j + 1)) in severed:
                nodes[i].wait_down(nodes[j], marks[i])
        for i, j in ((i, j) for i in range(self.count) for j in range(self.count) if i != j):
            if frozenset((i + 1, j + 1)) not in severed:
                nodes[i].ping(nodes[j].name, 3)
                self.assertEqual(nodes[i].since(marks[i], "node_down", node=nodes[j].name), [],
                                 f"{nodes[i].name} lost {nodes[j].name}, which was not cut off")
        for i in sorted({i - 1 for pair in self.cut for i in pair}):
            self.wait_vain_dials(nodes[i])
        for one, other in self.cut:
            self.network.unblock(one, other)
        self.wait_mesh(nodes, marks)
        self.assert_linked(nodes)
        self.wait_names(nodes)

    def wait_vain_dials(self, node):
        """Until it has dialled in vain: what heals must not be a handshake that was under way all the time."""
        begin, limit = node.stats()["timeouts"], time.monotonic() + 30
        while node.stats()["timeouts"] < begin + 2:
            self.assertLess(time.monotonic(), limit, f"{node.name} does not look for those that it lost")

    def wait_names(self, nodes):
        for node in nodes:
            for owner in nodes:
                limit = time.monotonic() + 30
                while node.ask(f"whereis name-{owner.name}", "whereis")["owner"] != owner.incarnation:
                    self.assertLess(time.monotonic(), limit, f"{node.name} does not know the name of {owner.name}")


def severed_between(*groups):
    return tuple((i, j) for one in groups for other in groups if one is not other for i in one for j in other)


class PartitionPair(Partition):
    """Two of four do not see each other."""
    cut = severed_between((1,), (2,))


class PartitionIsolateOne(Partition):
    """One sees nobody."""
    cut = severed_between((1,), (2, 3, 4))


class PartitionHalves(Partition):
    """Two and two."""
    cut = severed_between((1, 2), (3, 4))


class PartitionBridge(Partition):
    """Two and two, and one that sees all."""
    count = 5
    cut = severed_between((1, 2), (3, 4))


class PartitionRing(Partition):
    """A ring of majorities: each of five sees its neighbours only."""
    count = 5
    cut = tuple((i, j) for i in range(1, 6) for j in range(1, 6) if (i - j) % 5 in (2, 3))


class PartitionOneWay(Partition):
    """What the first one sends reaches nobody; it still hears all."""
    cut = tuple((1, j) for j in (2, 3, 4))


def main():
    parser = argparse.ArgumentParser(description="Faults between nodes in OS processes of their own.")
    parser.add_argument("--build", type=pathlib.Path, default=Settings.build)
    parser.add_argument("--long", action="store_true", help="as long as the faults of real life last: minutes")
    parser.add_argument("--verbose", action="store_true", help="print what the nodes print")
    parser.add_argument("cases", nargs="*", metavar="CASE")
    options = parser.parse_args()
    Settings.build, Settings.long, Settings.verbose = options.build, options.long, options.verbose
    known = {name: case for name, case in globals().items() if isinstance(case, type) and issubclass(case, World)}
    abstract = {"World", "Behind", "Hosts", "Partition"}
    unknown = set(options.cases) - (set(known) - abstract)
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}")
    suite = unittest.TestSuite(known[name]() for name in options.cases or known if name not in abstract)
    result = unittest.TextTestRunner(verbosity=2, failfast=False).run(suite)
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(77 if len(result.skipped) == result.testsRun else 0)


if __name__ == "__main__":
    main()
