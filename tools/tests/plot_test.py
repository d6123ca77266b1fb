#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tools/plot_loss.py: what it draws is XML, with a curve for each variant and load, and of nothing it draws nothing."""
import json
import subprocess
import sys
import unittest
import xml.etree.ElementTree

from support import TOOLS, TreeTest


def line(variant, load, run, scale, loss=0.01):
    figures = {name: scale * run * 1000 for name in ("p50_us", "p90_us", "p99_us", "p999_us", "max_us")}
    return json.dumps({"bench": "loss", "variant": variant, "load": load, "loss": loss, "delay_ms": 1, "run": run,
                       **figures})


class Plot(TreeTest):
    def plot(self, text, *words):
        self.write({"in.jsonl": text})
        return subprocess.run([sys.executable, str(TOOLS / "plot_loss.py"), str(self.root / "in.jsonl"),
                               str(self.root / "plots/out.svg"), *words], capture_output=True, text=True, check=False)

    def test_one_curve_for_each_variant_and_load(self):
        lines = ['{"machine":"m"}'] + [line(variant, load, run, 5) for variant in ("rusm", "Erlang")
                                       for load in ("alone", "loaded") for run in (1, 2, 3)]
        run = self.plot("\n".join(lines))
        self.assertEqual(run.returncode, 0, run.stderr)
        root = xml.etree.ElementTree.parse(self.root / "plots/out.svg").getroot()
        curves = root.findall("{http://www.w3.org/2000/svg}polyline")
        self.assertEqual(len(curves), 4)
        # The medians of all are the same: 10 ms, inside the picture.
        points = {curve.get("points") for curve in curves}
        self.assertEqual(len(points), 1)
        for point in points.pop().split():
            x, y = (float(number) for number in point.split(","))
            self.assertTrue(0 < x < 720 and 0 < y < 440, point)

    def test_lines_of_one_loss_only(self):
        lines = "\n".join(line("rusm", load, 1, scale, loss) for load in ("alone", "loaded")
                          for scale, loss in ((5, 0.01), (900, 0.05)))
        for words, title in (((), "1 % loss"), (("0.05",), "5 % loss")):
            run = self.plot(lines, *words)
            self.assertEqual(run.returncode, 0, run.stderr)
            text = (self.root / "plots/out.svg").read_text(encoding="utf-8")
            self.assertIn(f">{title}", text)
            self.assertEqual(text.count("<polyline"), 2)
            # One decade of 5 ms or of 900 ms, not the three of both.
            self.assertEqual(text.count(" ms</text>"), 2)
        run = self.plot(lines, "0.02")
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("at 2 % loss", run.stderr)

    def test_a_file_without_figures_is_refused(self):
        run = self.plot('{"machine":"m"}\n')
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("has no line", run.stderr)
        self.assertFalse((self.root / "plots").exists())


if __name__ == "__main__":
    unittest.main()
