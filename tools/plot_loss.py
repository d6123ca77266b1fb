#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Draw what bench/loss.py printed: round trips of small messages by percentile, alone and beside large ones.

    plot_loss.py FILE.jsonl docs/plots/loss.svg [LOSS]

Of the lines those with that loss, 0.01 if none is named.
One line for each node and load: the median over the runs of each percentile, on a logarithmic scale.
"""
import json
import math
import pathlib
import statistics
import sys
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 440
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 50, 50
PERCENTILES = (("p50_us", "50 %"), ("p90_us", "90 %"), ("p99_us", "99 %"), ("p999_us", "99.9 %"), ("max_us", "max"))
COLOURS = {"rusm": "#1f6fb4", "Erlang": "#c1440e"}
LOSS = 0.01
LOADS = {"alone": ("5 4", "alone"), "loaded": ("", "beside 16 MiB")}


class Plot:
    def __init__(self, least, most):
        # Whole decades, in milliseconds.
        self.low = math.floor(math.log10(least))
        self.high = max(math.ceil(math.log10(most)), self.low + 1)
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
                      'font-family="sans-serif" font-size="13">',
                      f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']

    def x(self, i):
        return LEFT + (WIDTH - LEFT - RIGHT) * i / (len(PERCENTILES) - 1)

    def y(self, value):
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    def text(self, x, y, text, anchor="middle", extra=""):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {extra}>{escape(text)}</text>')

    def line(self, x1, y1, x2, y2, colour, extra=""):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" {extra}/>')

    def axes(self, title):
        self.text(LEFT, TOP - 22, title, "start", 'font-size="15" font-weight="bold"')
        for decade in range(self.low, self.high + 1):
            for step in range(1, 10 if decade < self.high else 2):
                at = self.y(step * 10 ** decade)
                self.line(LEFT, at, WIDTH - RIGHT, at, "#bbb" if step == 1 else "#eee")
            self.text(LEFT - 8, self.y(10 ** decade) + 4, f"{10 ** decade:g} ms", "end")
        for i, (_, label) in enumerate(PERCENTILES):
            self.text(self.x(i), HEIGHT - BOTTOM + 20, label)
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "round trips of 64 bytes, by percentile")

    def curve(self, variant, load, values):
        dash, words = LOADS[load]
        colour = COLOURS.get(variant, "#444")
        points = [(self.x(i), self.y(value)) for i, value in enumerate(values)]
        self.parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}" points="'
                          + " ".join(f"{x:.1f},{y:.1f}" for x, y in points) + '"/>')
        for x, y in points:
            self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
        return colour, dash, f"{variant}, {words}", points[-1][1]

    def legend(self, entries):
        last = 0
        for colour, dash, words, at in sorted(entries, key=lambda entry: entry[3]):
            at = max(at, last + 18)
            last = at
            self.line(WIDTH - RIGHT + 12, at, WIDTH - RIGHT + 40, at, colour,
                      f'stroke-width="2" stroke-dasharray="{dash}"')
            self.text(WIDTH - RIGHT + 46, at + 4, words, "start", f'fill="{colour}"')

    def write(self, file):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join([*self.parts, "</svg>"]) + "\n", encoding="utf-8")


def curves(lines):
    """By variant and load: the medians of each percentile, in milliseconds."""
    groups = {}
    for line in lines:
        groups.setdefault((line["variant"], line["load"]), []).append(line)
    return {key: [statistics.median(line[name] for line in group) / 1000 for name, _ in PERCENTILES]
            for key, group in groups.items()}


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__.strip())
    lines = [json.loads(line) for line in pathlib.Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]
    loss = float(sys.argv[3]) if len(sys.argv) == 4 else LOSS
    lines = [line for line in lines if line.get("bench") == "loss" and line["loss"] == loss]
    if not lines:
        sys.exit(f"plot_loss: {sys.argv[1]} has no line of bench/loss.py at {loss * 100:g} % loss")
    found = curves(lines)
    plot = Plot(min(min(values) for values in found.values()), max(max(values) for values in found.values()))
    plot.axes(f"{lines[0]['loss'] * 100:g} % loss, {lines[0]['delay_ms']:g} ms each way")
    plot.legend([plot.curve(variant, load, values) for (variant, load), values in found.items()])
    plot.write(pathlib.Path(sys.argv[2]))


if __name__ == "__main__":
    main()
