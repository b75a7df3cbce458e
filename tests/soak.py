"""Many participants in one run: does memory grow, are files left open? ``python tests/soak.py``.

Writes the small study of `hostile` under many labels, or with ``--phantom`` one session of the
phantom (registered to its T1w, with lesions, an artery and pages), runs it in one process and
prints, as a table, what that process holds while participants go by. Ends with 1 if one is not
done, or if the last fifth holds more than a tenth above the second, or more open files.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from faults import start
from hostile import write_study

SECONDS = 1.0
GROWTH = 1.1


def held(pid: int) -> tuple[float, int]:
    """Return the resident memory of a process, MB, and how many files it has open."""
    folder = Path(f"/proc/{pid}")
    pages = int((folder / "statm").read_text().split()[1])
    return pages * 4096 / 1e6, len(list((folder / "fd").iterdir()))


def watch(run: subprocess.Popen, out: Path) -> np.ndarray:
    """Return rows of participants done, MB and open files, from the beginning to the end."""
    rows = []
    while run.poll() is None:
        done = len(list(out.glob("sub-*.html")))
        try:
            rows.append((done, *held(run.pid)))
        except OSError:  # it has just ended
            break
        time.sleep(SECONDS)
    run.wait()
    return np.array(rows)


def write_phantom(root: Path, count: int) -> None:
    """Write one session of the phantom under many labels, as links to the same files."""
    first = root.with_name("first")
    command = [sys.executable, "-m", "bidsapp.cli.main", "phantom", first, "--n-participants", "1"]
    subprocess.run([*command, "--resolution", "fast"], check=True)
    keep = [first / "sub-01/ses-baseline", first / "derivatives/manual_masks/sub-01/ses-baseline"]
    files = [f for folder in keep for f in folder.rglob("*") if f.is_file()]
    files += first.rglob("dataset_description.json")
    for number in range(count):
        for file in files:
            path = root / str(file.relative_to(first)).replace("sub-01", f"sub-{number + 1:04}")
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.hardlink_to(file)


def main() -> int:
    """Run, print and judge."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--participants", type=int, default=200)
    parser.add_argument("--nprocs", type=int, default=2)
    parser.add_argument("--phantom", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root, out = Path(name, "bids"), Path(name, "out")
        if asked.phantom:
            write_phantom(root, asked.participants)
        for number in range(0 if asked.phantom else asked.participants):
            write_study(root, ("a",), label=f"{number + 1:04}")
        began = time.monotonic()
        words = ("--sloppy",) if asked.phantom else ()
        run = start(root, out, *words, nprocs=asked.nprocs)
        rows = watch(run, out)
        print(f"exit {run.returncode} after {time.monotonic() - began:.0f} s")
        if run.returncode:
            print(out.with_suffix(".log").read_text()[-2000:])
            return 1
    fifths = [rows[rows[:, 0] >= n / 5 * asked.participants] for n in range(5)]
    print("participants\tMB\tfiles")
    for part in fifths:
        print("{:.0f}\t{:.1f}\t{:.0f}".format(*np.median(part[: max(len(rows) // 50, 1)], axis=0)))
    print("{:.0f}\t{:.1f}\t{:.0f}".format(*rows[-1]))
    early = rows[(rows[:, 0] >= asked.participants / 5) & (rows[:, 0] < asked.participants * 0.4)]
    late = fifths[4]
    flat = np.median(late[:, 1]) <= GROWTH * np.median(early[:, 1])
    closed = np.median(late[:, 2]) <= np.median(early[:, 2])
    print("flat" if flat and closed else "GROWING")
    return 0 if flat and closed else 1


if __name__ == "__main__":
    sys.exit(main())
