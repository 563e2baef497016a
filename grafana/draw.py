#!/usr/bin/env python3
"""Draws a dashboard as SVG from the queries of its panels, without Grafana.

    grafana/draw.py grafana/dashboards/pipeline.json --prometheus http://127.0.0.1:19090 --minutes 10 > pipeline.svg
"""

import argparse
import json
import math
import time
import urllib.parse
import urllib.request
from xml.sax.saxutils import escape

COLUMN, ROW, GAP, HEAD = 56, 34, 8, 64
COLOURS = ["#3274d9", "#e0752d", "#3f9142", "#c4162a", "#8f3bb8", "#806eb7", "#0a95a6", "#b8860b", "#a1356d", "#5a6b7b"]
MOST_LINES = 10


class Prometheus:
    def __init__(self, url, minutes):
        self.url = url.rstrip("/")
        self.end = time.time()
        self.start = self.end - minutes * 60
        self.step = max(1, minutes * 60 / 240)
        self.variables = {"$__rate_interval": "1m", "$__range": f"{minutes * 60:.0f}s"}

    def ask(self, path, **query):
        for name, value in self.variables.items():
            query["query"] = query["query"].replace(name, value)
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(query)}", timeout=30) as answer:
            return json.load(answer)["data"]["result"]

    def lines(self, expr):
        """Label sets with their points over the time range."""
        found = self.ask("/api/v1/query_range", query=expr, start=self.start, end=self.end, step=self.step)
        return [(each["metric"], [(at, float(value)) for at, value in each["values"]]) for each in found]

    def values(self, expr):
        """Label sets with their values now."""
        return [(each["metric"], float(each["value"][1])) for each in self.ask("/api/v1/query", query=expr)]


def legend(target, labels):
    text = target["legendFormat"]
    for name, value in labels.items():
        text = text.replace("{{%s}}" % name, value)
    while "{{" in text:
        text = text[: text.index("{{")] + text[text.index("}}") + 2 :]
    return text.strip() or "all"


def shown(value, unit):
    """A value as a person reads it."""
    if math.isnan(value):
        return "none"
    if unit == "percentunit":
        return f"{value * 100:.0f} %"
    if unit == "s":
        if value and value < 1:
            return f"{value * 1000:.3g} ms"
        return f"{value:.3g} s" if value < 120 else f"{value / 60:.3g} min"
    if unit in ("bytes", "Bps"):
        for name in ("B", "KiB", "MiB", "GiB", "TiB"):
            if value < 1024 or name == "TiB":
                return f"{value:.3g} {name}" + ("/s" if unit == "Bps" else "")
            value /= 1024
    text = f"{value:.0f}" if value >= 1000 else f"{value:.3g}"
    return text + ("/s" if unit == "reqps" else "")


def text(x, y, content, size=11, colour="#333", anchor="start", weight="normal"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(content)}</text>'
    )


def timeseries(panel, prometheus, x, y, width, height):
    unit = panel["fieldConfig"]["defaults"]["unit"]
    lines = []
    for target in panel["targets"]:
        lines += [(legend(target, labels), points) for labels, points in prometheus.lines(target["expr"])]
    lines = [(name, [(at, value) for at, value in points if not math.isnan(value)]) for name, points in lines]
    lines = sorted(((name, points) for name, points in lines if points), key=lambda line: -line[1][-1][1])[:MOST_LINES]
    out = []
    if not lines:
        return [text(x + width / 2, y + height / 2, "no data", 12, "#999", "middle")]
    top = max((value for _, points in lines for _, value in points), default=0) or 1
    rows = math.ceil(len(lines) / 2)
    left, bottom = x + 52, y + height - 16 - rows * 13
    for part in (0, 0.5, 1):
        level = bottom - (bottom - y - 6) * part
        out.append(f'<line x1="{left}" y1="{level:.1f}" x2="{x + width}" y2="{level:.1f}" stroke="#e4e4e4"/>')
        out.append(text(left - 5, level + 4, shown(top * part, unit), 9, "#777", "end"))
    span = prometheus.end - prometheus.start
    for part in (0, 0.5, 1):
        clock = time.strftime("%H:%M", time.gmtime(prometheus.start + span * part))
        out.append(text(left + (x + width - left) * part, bottom + 11, clock, 9, "#777", ("start", "middle", "end")[int(part * 2)]))
    for number, (name, points) in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        place = [
            (left + (at - prometheus.start) / span * (x + width - left), bottom - value / top * (bottom - y - 6))
            for at, value in points
        ]
        path = " ".join(f"{'L' if at else 'M'}{px:.1f},{py:.1f}" for at, (px, py) in enumerate(place))
        out.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.4"/>')
        lx, ly = x + (number % 2) * width / 2, bottom + 25 + (number // 2) * 13
        out.append(f'<rect x="{lx:.1f}" y="{ly - 8:.1f}" width="9" height="9" fill="{colour}"/>')
        room = int((width / 2 - 14) / 5.1)
        label = f"{name}  {shown(points[-1][1], unit)}"
        out.append(text(lx + 13, ly, label if len(label) <= room else label[: room - 1] + "…", 9))
    return out


def numbers(panel, prometheus, x, y, width, height):
    unit = panel["fieldConfig"]["defaults"]["unit"]
    words = {}
    for mapping in panel["fieldConfig"]["defaults"].get("mappings", []):
        words = {key: (option["text"], option["color"]) for key, option in mapping["options"].items()}
    found = []
    for target in panel["targets"]:
        found += [(legend(target, labels), value) for labels, value in prometheus.values(target["expr"])]
    out = []
    for number, (name, value) in enumerate(found):
        cx = x + width * (number + 0.5) / len(found)
        said, colour = words.get(f"{value:g}", (shown(value, unit), "#222"))
        out.append(text(cx, y + height / 2 + 2, said, 22 if len(said) < 6 else 17, colour, "middle", "bold"))
        out.append(text(cx, y + height / 2 + 22, name, 10, "#777", "middle"))
    return out or [text(x + width / 2, y + height / 2, "no data", 12, "#999", "middle")]


def heatmap(panel, prometheus, x, y, width, height):
    buckets = {}
    for labels, points in prometheus.lines(panel["targets"][0]["expr"]):
        buckets[float(labels["le"].replace("+Inf", "inf"))] = dict(points)
    bounds = sorted(buckets)
    times = sorted({at for points in buckets.values() for at in points})
    cells = {}
    for at in times:
        below = 0
        for bound in bounds:
            count = buckets[bound].get(at, 0)
            cells[at, bound] = max(0, count - below)
            below = count
    most = max(cells.values(), default=0) or 1
    out, left, high = [], x + 52, (height - 18) / max(1, len(bounds))
    span, wide = prometheus.end - prometheus.start, (width - 52) * prometheus.step / (prometheus.end - prometheus.start) + 0.3
    for (at, bound), count in cells.items():
        if count > 0:
            px = left + (at - prometheus.start) / span * (x + width - left) - wide
            py = y + height - 18 - (bounds.index(bound) + 1) * high
            shade = 0.15 + 0.85 * math.sqrt(count / most)
            out.append(f'<rect x="{px:.1f}" y="{py:.1f}" width="{wide:.1f}" height="{high - 1:.1f}" fill="#3274d9" fill-opacity="{shade:.2f}"/>')
    for number, bound in enumerate(bounds):
        label = "more" if math.isinf(bound) else shown(bound, "s")
        out.append(text(left - 5, y + height - 18 - (number + 0.3) * high, label, 8, "#777", "end"))
    return out


def draw(dashboard, prometheus):
    panels = dashboard["panels"]
    wide = 24 * COLUMN + 2 * GAP
    high = HEAD + max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * ROW + GAP
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" '
        'font-family="Inter, Helvetica, Arial, sans-serif">',
        f'<rect width="{wide}" height="{high}" fill="#f4f5f5"/>',
        text(GAP + 6, 28, dashboard["title"], 20, "#111", weight="bold"),
        text(GAP + 6, 48, dashboard["description"], 12, "#555"),
    ]
    kinds = {"timeseries": timeseries, "stat": numbers, "bargauge": numbers, "heatmap": heatmap}
    for panel in panels:
        place = panel["gridPos"]
        x, y = GAP + place["x"] * COLUMN, HEAD + place["y"] * ROW
        width, height = place["w"] * COLUMN - GAP, place["h"] * ROW - GAP
        out.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="3" fill="#fff" stroke="#ddd"/>')
        out.append(text(x + 10, y + 19, panel["title"], 13, "#111", weight="bold"))
        out += kinds[panel["type"]](panel, prometheus, x + 10, y + 30, width - 20, height - 34)
    return "\n".join(out + ["</svg>"])


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("dashboard", help="file of a dashboard")
    arguments.add_argument("--prometheus", default="http://127.0.0.1:9090", help="address of Prometheus")
    arguments.add_argument("--minutes", type=float, default=15, help="how far back")
    given = arguments.parse_args()
    with open(given.dashboard, encoding="utf-8") as file:
        dashboard = json.load(file)
    print(draw(dashboard, Prometheus(given.prometheus, given.minutes)))


if __name__ == "__main__":
    main()
