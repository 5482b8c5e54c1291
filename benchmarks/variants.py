"""Every variant on the digits (three seeds) and on MNIST (one), each with the settings it has for such images: one table.

Usage: ELEGAN_DATA=FOLDER python benchmarks/variants.py [digits|mnist] [VARIANT ...]

GANs and classifiers see the training images, the test images judge. The last weights are judged, nothing is selected. The
study can be stopped and taken up again; results that are there are not measured anew.
"""

from __future__ import annotations

import json
import sys
from statistics import mean, stdev

from labelled import measure
from study import RESULTS, study

from elegan import gans

SEEDS = {"digits": range(3), "mnist": range(1)}
SAMPLES = {"digits": 5000, "mnist": 10_000}
COLUMNS = {
    "seconds": "seconds",
    "recognised": "recognised",
    "usefulness": "useful",
    "smallest_class_share": "smallest class",
    "coverage": "coverage",
}


def run(data: str, variants: list[str]) -> None:
    for name in variants:
        study(f"variants-{data}", [name], SEEDS[data], lambda arm, seed: measure(data, arm, seed, samples=SAMPLES[data]))
    print(table(data))


def table(data: str) -> str:
    """Markdown: a row for each variant that has results."""
    lines = [f"| {data} | seeds | steps | {' | '.join(COLUMNS.values())} |", "|---" * (3 + len(COLUMNS)) + "|"]
    for name in gans.names():
        results = [json.loads(path.read_text()) for path in sorted((RESULTS / f"variants-{data}").glob(f"{name}-*.json"))]
        if results:
            cells = [cell(key, [float(result[key]) for result in results if key in result]) for key in COLUMNS]
            lines.append(f"| `{name}` | {len(results)} | {results[0]['steps']:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(key: str, values: list[float]) -> str:
    if not values:
        return ""
    scale, digits, unit = (1, 0, "") if key == "seconds" else (100, 1, "%")
    spread = f" ± {scale * stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{scale * mean(values):.{digits}f}{unit}{spread}"


if __name__ == "__main__":
    chosen = [word for word in sys.argv[1:] if word in SEEDS] or list(SEEDS)
    names = [word for word in sys.argv[1:] if word not in SEEDS] or gans.names()
    for data in chosen:
        run(data, list(names))
