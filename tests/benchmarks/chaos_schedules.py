"""Schedules of trouble drawn at random: each must end with one row an item, or with an error that says what is missing.

python tests/benchmarks/chaos_schedules.py --first 0 --count 60
"""

import argparse
import json
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from schedules import GROWTH, ITEMS, Scene, draw, undisturbed, warm_up

NAMES = re.compile(r"(file://)?/\S+|\b\d{8}T\S+|(?<!code )\b\d+\b")  # of places and runs; numbers


def main(first: int, count: int) -> int:
    """Prints a line a schedule, and what came of all; the number of schedules with a fault."""
    warm_up()
    faulty, endings = 0, Counter[str]()
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        undisturbed(Path(name), ITEMS + 12 * GROWTH)
        for seed in range(first, first + count):
            scene, began = Scene(Path(name) / str(seed)), time.monotonic()
            scene.folder.mkdir()
            scene.play(draw(seed))
            faulty += bool(scene.faults)
            endings.update(NAMES.sub("...", ending) for _, ending in scene.told)
            line = {"seed": seed, "items": scene.items, "told": [f"{act}: {ending}" for act, ending in scene.told]}
            print(json.dumps(line | {"faults": scene.faults, "s": round(time.monotonic() - began, 1)}), flush=True)
    print(json.dumps({"schedules": count, "commands": endings.total(), "with a fault": faulty}))
    for ending, times in endings.most_common():
        print(f"{times:5} {ending}")
    return faulty


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=60)
    options = parser.parse_args()
    raise SystemExit(min(main(options.first, options.count), 1))
