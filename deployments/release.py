"""`make release`: build wheel and sdist, try them in an empty environment, date the changelog.

Nothing is uploaded, committed or tagged. `--check` leaves the changelog alone.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from athanore.version import __version__

ROOT = Path(__file__).parents[1]
CHANGELOG = ROOT / "CHANGELOG.md"


def main() -> None:
    """Do all of it, and stop at the first thing that is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="leave the changelog alone")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="where the files go")
    given = parser.parse_args()
    text = CHANGELOG.read_text(encoding="utf-8")
    dated = with_date(text, __version__, datetime.now(UTC).date().isoformat())
    shutil.rmtree(given.dist, ignore_errors=True)
    # The wheel is made from the sdist, so what the sdist lacks is missed here.
    run(sys.executable, "-m", "build", "--outdir", str(given.dist), str(ROOT))
    (wheel,), (sdist,) = given.dist.glob("*.whl"), given.dist.glob("*.tar.gz")
    for built in (wheel, sdist):
        try_out(built)
    if not given.check:
        CHANGELOG.write_text(dated, encoding="utf-8")
        sys.stdout.write(f"CHANGELOG.md has the date of {__version__}. Commit it, and tag it:\n")
        sys.stdout.write(f"  git commit -am 'Release {__version__}' && git tag v{__version__}\n")
    sys.stdout.write(f"Ready: {wheel}\n       {sdist}\n")


def with_date(changelog: str, version: str, date: str) -> str:
    """The changelog with the date in the heading of a version that is not released yet.

    Raises:
        SystemExit: there is no such heading.
    """
    heading = re.compile(rf"^## {re.escape(version)} \(not released\)$", re.MULTILINE)
    if len(heading.findall(changelog)) != 1:
        raise SystemExit(
            f"CHANGELOG.md has no heading '## {version} (not released)': write one for the version "
            "in athanore/version.py, with what is new."
        )
    return heading.sub(f"## {version} ({date})", changelog)


def try_out(built: Path) -> None:
    """Install a file into an empty environment, and have it make an app and check it."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        run(sys.executable, "-m", "venv", str(place / "venv"))
        python = str(place / "venv" / "bin" / "python")
        pip = (python, "-m", "pip", "--disable-pip-version-check", "--quiet")
        run(*pip, "install", "--constraint", str(ROOT / "constraints.txt"), str(built))
        run(*pip, "check")
        athanore = str(place / "venv" / "bin" / "athanore")
        said = subprocess.run(
            [athanore, "--version"], check=True, capture_output=True, text=True, cwd=place
        ).stdout
        if said.strip() != __version__:
            raise SystemExit(f"{built.name} says that it is {said.strip()}, and not {__version__}.")
        run(athanore, "init", "app", cwd=place)
        run(athanore, "validate", cwd=place / "app")


def run(*command: str, cwd: Path = ROOT) -> None:
    """Run a command that has to succeed, with no terminal to ask."""
    sys.stdout.write(f"$ {' '.join(command)}\n")
    sys.stdout.flush()
    done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} ended with exit code {done.returncode}.")


if __name__ == "__main__":
    main()
