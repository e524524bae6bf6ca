"""The full count of the chaos test: 24 kills of the scoring driver placed by progress, then one quiet run.

python tests/benchmarks/chaos_kills.py DETECTOR CORPUS      (a folder of some hundred images)
"""

import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from chaos import Kill, Run, check_complete, check_whole, copy_images

from clipfake.onray.connection import connected
from clipfake.storage.store import Store

ITEMS, UNIT_ROWS = 300, 6
KILLS = [Kill(0)] * 4 + [Kill(1)] * 14 + [Kill(1, inside=True)] * 6


def main(detector: Path, source: Path) -> None:
    """Prints one line a kill, and at the end whether the rows are those of a run that nothing happened to."""
    import os

    import ray

    with tempfile.TemporaryDirectory() as name, connected(2):
        os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
        corpus = copy_images(source, Path(name) / "corpus", ITEMS)
        quiet = Run(str(corpus), detector, Store(f"file://{name}/quiet"), unit_rows=50)
        quiet.quietly()
        run = Run(str(corpus), detector, Store(f"file://{name}/out"), unit_rows=UNIT_ROWS)
        for number, kill in enumerate(KILLS):
            start = time.monotonic()
            assert run.killed(kill), "the run ended before the kill"
            check_whole(run, ITEMS)
            seen, seconds = len(run.visible()), round(time.monotonic() - start)
            print(json.dumps({"kill": number, "inside": kill.inside, "units": seen, "s": seconds}), flush=True)
        run.quietly()
        check_complete(run, ITEMS, quiet.read())
        print(json.dumps({"rows": ITEMS, "kills": len(KILLS), "equal to the undisturbed run": True}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
