"""How much memory `adapt run` needs: MobileNetV2 at 224 x 224 pixels with 2,000 images.

    python tools/bench/memory.py [--images 2000] [--data-memory GB] [-- OPTIONS OF adapt run ...]

The network is that of Keras' applications with random weights, the images are random noise as JPEG
files in ten class folders. Few steps and a loose budget: an iteration of the search, a short
fine-tune, and the networks measured on this machine.

Prints the largest memory (resident, MiB) that the program and all that it started had together,
that of the program alone, and of the part that is files shared with others (libraries). Processes
are looked at twenty times a second. Ends with status 1 above --most.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]

SIZE, CLASSES = 224, 10
MOST_MIB = 4_000_000_000 >> 20
EVERY_S = 0.05
OPTIONS = ("--budget", "macs=88%", "--trial-steps", "2", "--short-steps", "2",
           "--settling-steps", "1", "--long-steps", "4", "--finalists", "2",
           "--pixel-range", "-1", "1")  # fmt: skip


def prepare(folder: Path, images: int) -> None:
    """Write the network and the images."""
    import numpy as np
    from PIL import Image

    from adapt.telemetry import import_tensorflow

    random = np.random.default_rng(0)
    for number in range(images):
        # Noise of 28 x 28 blocks: as large a file as a photograph's.
        noise = random.integers(0, 256, (SIZE // 8, SIZE // 8, 3), np.uint8)
        place = folder / "images" / f"class-{number % CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).resize((SIZE, SIZE)).save(place / f"{number:05}.jpg", quality=90)
    import_tensorflow()
    import keras

    keras.utils.set_random_seed(0)
    keras.applications.MobileNetV2(weights=None, classes=CLASSES).save(folder / "network.keras")


class Watch:
    """Looks at a program and all that it started until it ends, in a thread of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.doing = "starting"
        # Bytes: of all processes together, and what went on then; of the program alone; of files.
        self.whole, self.during, self.alone, self.shared = 0, "", 0, 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def join(self) -> None:
        """Wait for the program's end."""
        self._thread.join()

    def _run(self) -> None:
        root = psutil.Process(self._process.pid)
        while self._process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._look(root)
            time.sleep(EVERY_S)

    def _look(self, root: psutil.Process) -> None:
        total = 0
        for each in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                memory = each.memory_info()
                total += memory.rss
                if each is root and memory.rss > self.alone:
                    self.alone, self.shared = memory.rss, memory.shared
        if total > self.whole:
            self.whole, self.during = total, self.doing


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--most", type=int, default=MOST_MIB, help="MiB that are still good")
    parser.add_argument("--folder", type=Path, help="keeps the network, the images and the job")
    parser.add_argument("options", nargs="*", help="more options of adapt run, after --")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if not (folder / "network.keras").exists():
            code = "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
            code += "import memory; memory.prepare(Path(sys.argv[2]), int(sys.argv[3]))"
            place = str(Path(__file__).parent)
            subprocess.run(
                [sys.executable, "-c", code, place, str(folder), str(arguments.images)], check=True
            )
        command = [sys.executable, "-m", "adapt", "run", "--model", str(folder / "network.keras")]
        command += ["--data", str(folder / "images"), *OPTIONS, *arguments.options]
        command += ["--output", str(folder / f"job-{os.getpid()}")]
        started = time.monotonic()
        environment = {**os.environ, "ADAPT_HOME": str(folder / "home")}
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        watch = Watch(process)
        try:
            assert process.stderr is not None
            for line in process.stderr:
                print(f"{watch.whole >> 20:6} MiB  {line.rstrip()}", file=sys.stderr, flush=True)
                watch.doing = line.strip()
        except KeyboardInterrupt:
            process.terminate()
            raise
        finally:
            process.wait()
            watch.join()
        if process.returncode:
            sys.exit(process.returncode)
    print(
        f"peak {watch.whole >> 20} MiB of all processes together, after {watch.during!r}; the"
        f" program alone {watch.alone >> 20} MiB, of which {watch.shared >> 20} MiB are shared"
        f" files; {time.monotonic() - started:.0f} s"
    )
    sys.exit(0 if watch.whole >> 20 <= arguments.most else 1)


if __name__ == "__main__":
    main()
