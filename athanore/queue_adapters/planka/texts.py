"""Texts on their way to Planka, which mention nobody, and back as they were."""

from __future__ import annotations

import re
from typing import Final

from athanore.queue_adapters.tracker.texts import SPACE, Breaking, Texts, nowhere

_MENTIONS: Final = Breaking(
    re.compile(r"(@)(?=\[)"),
    re.compile(rf"(@){SPACE}(?=\[)"),
    spared=nowhere,  # Planka looks into code as well
)
"""`@[ada](1234)` notifies the user 1234; a plain `@ada` means nothing."""

TEXTS: Final = Texts(longest_title=1024, longest_text=1_048_576, breakings=(_MENTIONS,))
