"""What is written below the options, for pages and answers that say what an option does."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import cast


@cache
def descriptions(schema: type) -> Mapping[str, str]:
    """What is written below each field of a class; empty where its source is not at hand."""
    found: dict[str, str] = {}
    for base in reversed(schema.__mro__[:-1]):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError):
            continue
        body = cast(ast.ClassDef, tree.body[0]).body
        for field, text in pairwise(body):
            match field, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(said))),
                ):
                    found[name] = inspect.cleandoc(said)
                case _:
                    pass
    return found


def summary(schema: type, name: str) -> str:
    """The first paragraph of a field's description, on one line."""
    return " ".join(descriptions(schema).get(name, "").partition("\n\n")[0].split())


def description_over_http(schema: type, name: str) -> str:
    """A field's description in the words of JSON."""
    text = summary(schema, name)
    return text.replace("`None`", "null").replace("`NO_DEAD_LETTER`", "false")
