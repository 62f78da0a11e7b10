"""Makes the pictures of README and docs: `make pictures`.

It runs `athanore demo` and films the board page in Chromium and the terminal beside it, as
docs/images/demo.webp; and takes stills of both: board.png, phone.png, status-80.png and
status-160.png.

Chromium is Debian's, or the one that CHROMIUM names.
"""

from __future__ import annotations

import base64
import os
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

IMAGES: Final = Path(__file__).parent.parent / "docs" / "images"
ATHANORE: Final = Path(sys.executable).with_name("athanore")

_BOARD = {"width": 1380, "height": 520}
_LINES = 11
_EVERY = 0.3  # seconds between two looks
_LONGEST = 1500  # milliseconds that a picture of the film stays
_LAST = 4000

# Draws a picture of the board, and lines of a terminal below it; returns both as WebP.
_COMPOSE = """async ([board, lines, rows]) => {
  const image = new Image();
  image.src = board;
  await image.decode();
  const line = 18, pad = 14, scale = 0.7;
  const width = image.width * scale, height = image.height * scale;
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height + rows * line + 2 * pad;
  const on = canvas.getContext("2d", { alpha: false });
  on.fillStyle = "#14161a";
  on.fillRect(0, 0, canvas.width, canvas.height);
  on.imageSmoothingQuality = "high";
  on.drawImage(image, 0, 0, width, height);
  on.font = "13px monospace";
  on.textBaseline = "top";
  lines.forEach((text, row) => {
    on.fillStyle = text.startsWith("$ ") ? "#8fd694" : "#d7dae0";
    on.fillText(text, pad, height + pad + row * line);
  });
  return [canvas.toDataURL("image/webp", 0.75), canvas.width, canvas.height];
}"""

_TERMINAL = """<!doctype html><style>
  body { margin: 0; padding: 16px; background: #14161a; width: max-content }
  pre { margin: 0; color: #d7dae0; font: 14px/1.4 monospace }
</style><pre></pre>"""


class Demo:
    """`athanore demo --keep` in a folder, and what it prints."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines = ["$ athanore demo ~/board"]
        self._process = subprocess.Popen(
            [ATHANORE, "demo", folder, "--keep"],
            env={**os.environ, "COLUMNS": "110", "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(self._plain(line.rstrip("\n")))

    def _plain(self, line: str) -> str:
        """What is said with a plain name for the folder, which is a temporary one."""
        plain = line.replace(str(self.folder), "~/board")
        if plain.endswith("│"):  # a row of a table, whose edge stays where it was
            plain = plain[:-1] + "│".rjust(len(line) - len(plain) + 1)
        return plain

    def says(self, word: str) -> str | None:
        """The first line that begins so."""
        return next((line for line in self.lines if line.startswith(word)), None)

    @property
    def has_begun(self) -> bool:
        """A task has moved."""
        return any(" -> " in line for line in self.lines)

    @property
    def is_over(self) -> bool:
        """All tasks are done, or the demo has ended by itself."""
        return self.says("Everything keeps running") is not None or not self.lives

    @property
    def lives(self) -> bool:
        """It has not ended."""
        return self._process.poll() is None

    def command(self, *words: str, columns: int) -> list[str]:
        """What a command prints beside it, on a terminal of so many columns."""
        env = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "ATHANORE_"))},
            "PREFECT_HOME": str(self.folder / "prefect"),
        }
        given = shlex.join([str(ATHANORE), *words])
        said = subprocess.run(
            ["script", "-qec", f"stty cols {columns}; {given}", "/dev/null"],
            cwd=self.folder, env=env, capture_output=True, text=True, check=True,
            stdin=subprocess.DEVNULL,
        ).stdout  # fmt: skip
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said).rstrip()
        return [
            f"$ athanore {' '.join(words)}",
            *map(self._plain, map(str.rstrip, plain.splitlines())),
        ]

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        if self.lives:
            self._process.send_signal(signal.SIGINT)
        self._process.wait(120)


class Film:
    """Pictures with the time for which each stays, as one animated WebP."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._frames: list[tuple[bytes, float]] = []
        self._size = (0, 0)
        self._last: tuple[bytes, list[str]] | None = None

    def take(self, board: bytes, lines: Sequence[str]) -> None:
        """Add a picture, unless it shows what the last one does."""
        shown = [*lines][-_LINES:]
        if self._last == (board, shown):
            return
        self._last = (board, shown)
        url = f"data:image/png;base64,{base64.b64encode(board).decode()}"
        made: list[Any] = self._page.evaluate(_COMPOSE, [url, shown, _LINES])
        self._size = (int(made[1]), int(made[2]))
        still = base64.b64decode(str(made[0]).partition(",")[2])
        self._frames.append((still, time.monotonic()))

    def forget_all_but(self, last: int) -> None:
        """Have it begin later: nothing has happened so far."""
        del self._frames[:-last]

    def whole(self) -> bytes:
        """The film, which begins anew without end."""
        times = [at for _, at in self._frames]
        stays = [min(_LONGEST, int((b - a) * 1000)) for a, b in pairwise(times)]
        frames = zip((still for still, _ in self._frames), [*stays, _LAST], strict=True)
        return animated(frames, *self._size)


def animated(frames: Iterable[tuple[bytes, int]], width: int, height: int) -> bytes:
    """One WebP of several that are as large as it, each with its milliseconds."""
    size = _three(width - 1) + _three(height - 1)
    parts = [_chunk(b"VP8X", b"\x02\0\0\0" + size), _chunk(b"ANIM", b"\0\0\0\0\0\0")]
    for still, stays in frames:
        place = _three(0) + _three(0) + size + _three(stays) + b"\x02"
        parts.append(_chunk(b"ANMF", place + _pixels(still)))
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _pixels(still: bytes) -> bytes:
    """What of a WebP is the picture itself."""
    start = 12
    while start < len(still):
        name, (length,) = still[start : start + 4], struct.unpack_from("<I", still, start + 4)
        end = start + 8 + length + length % 2
        if name in (b"VP8 ", b"VP8L"):
            return still[start:end]
        start = end
    raise ValueError("this WebP has no picture")


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _three(number: int) -> bytes:
    return struct.pack("<I", number)[:3]


def film(demo: Demo, browser: Browser) -> None:
    """Film the demo until its tasks are done; the page at its fullest is a still, too."""
    while (line := demo.says("Board page: ")) is None:
        if not demo.lives:
            raise SystemExit("\n".join(demo.lines))
        time.sleep(_EVERY)
    board = browser.new_page(viewport=_BOARD, color_scheme="light")  # pyright: ignore[reportArgumentType]
    board.goto(line.removeprefix("Board page: "))
    studio = browser.new_page()
    reel, fullest = Film(studio), -1
    while not demo.is_over:
        picture = board.screenshot()
        reel.take(picture, demo.lines)
        if not demo.has_begun:
            reel.forget_all_but(3)
        shown = board.locator(".card-state").all_inner_texts()
        # Agents at work, and one that waits for its retry.
        score = sum("attempt" in text.lower() or "retr" in text.lower() for text in shown)
        if score > fullest:
            fullest = score
            (IMAGES / "board.png").write_bytes(picture)
        time.sleep(_EVERY)
    moves = [number for number, line in enumerate(demo.lines) if " -> " in line]
    reel.take(board.screenshot(), demo.lines[: max([_LINES, *(n + 1 for n in moves)])])
    (IMAGES / "demo.webp").write_bytes(reel.whole())


def give_work(url: str) -> None:
    """Six more tasks, of which three are worked on at once."""
    names = ("Add a search box", "Speed up the build", "Mend the links", "Tidy the tests")
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as api:
        for name in names + names[:2]:
            api.post("/tasks", json={"queue_name": "Todo", "name": name}).raise_for_status()
        while not any(t["queue_name"] == "In Progress" for t in api.get("/tasks").json()):
            time.sleep(_EVERY)


def stills(demo: Demo, browser: Browser) -> None:
    """Agents at work: the page on a phone in the dark, and what `athanore status` prints."""
    url = (demo.says("Board page: ") or "").removeprefix("Board page: ").partition(" ")[0]
    phone = browser.new_page(
        viewport={"width": 390, "height": 780}, color_scheme="dark", device_scale_factor=2
    )
    phone.goto(url)
    paper = browser.new_page(viewport={"width": 1400, "height": 800}, device_scale_factor=1.5)
    give_work(url)
    phone.get_by_role("navigation", name="Queues").get_by_text("In Progress").click()
    phone.locator(".card", has_text="attempt").first.wait_for()
    phone.screenshot(path=IMAGES / "phone.png")
    give_work(url)
    paper.set_content(_TERMINAL)
    for columns in (80, 160):
        text = "\n".join(demo.command("status", columns=columns))
        paper.locator("pre").evaluate("(it, text) => { it.textContent = text }", text)
        paper.locator("body").screenshot(path=IMAGES / f"status-{columns}.png")


def main() -> None:
    """Make all of them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else the demo may not hear it
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if program is None:
        raise SystemExit("There is no Chromium: install it, or name its program in CHROMIUM.")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=program, args=options)
        demo = Demo(Path(place) / "demo")
        try:
            film(demo, browser)
            stills(demo, browser)
        finally:
            demo.stop()
            browser.close()
    for picture in sorted(IMAGES.iterdir()):
        sys.stdout.write(f"{picture.name}: {picture.stat().st_size // 1024} kB\n")


if __name__ == "__main__":
    main()
