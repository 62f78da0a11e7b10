"""Executes GraphQL as a tracker does: on its official schema, with resolvers of a double.

A document that the schema does not allow is refused, and so is an answer that does not fit it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphql import GraphQLError, GraphQLResolveInfo, GraphQLSchema

type Json = dict[str, Any]
type Resolver = Callable[[Json, Json], Any]
"""Takes the object that has the field ({} for the root), and the field's arguments."""


class RefusedFieldError(Exception):
    """What a resolver raises for an error that the tracker would answer.

    Args:
        more: further members of the error, such as `extensions`.
    """

    def __init__(self, message: str, more: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.more = dict(more)


class Schema:
    """A schema with resolvers, by `Type.field`; a field without one is a member of its object.

    Args:
        path: of the schema, in GraphQL's own language.
        resolvers: called with the object and the arguments; the names are as in the schema.
        type_of: the name of the type of an object where the schema has an interface or a union.
    """

    def __init__(
        self,
        path: Path,
        resolvers: Mapping[str, Resolver],
        type_of: Callable[[Json], str] | None = None,
    ) -> None:
        try:
            from graphql import build_schema
        except ModuleNotFoundError as exc:
            raise ModuleNotFoundError(
                "This double executes GraphQL, for which a package of the extra `testing` is "
                'missing: pip install "./athanore[testing]" beside your clone.',
                name=exc.name,
            ) from exc
        text = path.read_text(encoding="utf-8")
        self._schema: GraphQLSchema = build_schema(text, assume_valid=True, no_location=True)
        self._resolvers = dict(resolvers)
        self._type_of = type_of

    def invalid(self, document: str) -> list[str]:
        """What the schema does not allow in a document."""
        from graphql import GraphQLError, parse, validate

        try:
            return [error.message for error in validate(self._schema, parse(document))]
        except GraphQLError as exc:
            return [exc.message]

    def execute(self, document: str, variables: Json) -> tuple[Json | None, list[Json], list[str]]:
        """Execute a valid document: its data, the errors that were to be answered, and mistakes.

        Mistakes are errors that no resolver has meant: a variable of a wrong type, or an answer of
        the double that does not fit the schema.
        """
        from graphql import execute_sync, parse  # pyright: ignore[reportUnknownVariableType]

        result = execute_sync(
            self._schema,
            parse(document),
            variable_values=variables,
            field_resolver=self._resolve,  # pyright: ignore[reportUnknownMemberType]
            type_resolver=self._type,
        )
        errors: list[Json] = []
        mistakes: list[str] = []
        for error in result.errors or []:
            errors.append(_told(error))
            if not isinstance(error.original_error, RefusedFieldError):
                mistakes.append(error.message)
        return result.data, errors, mistakes

    def _resolve(self, source: Any, info: GraphQLResolveInfo[Any], /, **arguments: Any) -> Any:
        resolver = self._resolvers.get(f"{info.parent_type.name}.{info.field_name}")
        if resolver is not None:
            return resolver(source or {}, arguments)
        return source[info.field_name]

    def _type(self, value: Json, _info: object, _type: object) -> str:
        return self._type_of(value) if self._type_of else str(value["__typename"])


def connection(rows: list[Json], first: int | None, after: str | None) -> Json:
    """One page of rows; 50 of them where no number is asked for."""
    start = 1 + next((n for n, row in enumerate(rows) if row["id"] == after), -1)
    page = rows[start : start + (50 if first is None else first)]
    more = start + len(page) < len(rows)
    ends = {"startCursor": page[0]["id"], "endCursor": page[-1]["id"]} if page else {}
    info = {"hasNextPage": more, "hasPreviousPage": start > 0, "startCursor": None, **ends}
    info.setdefault("endCursor", None)
    return {"nodes": page, "pageInfo": info, "totalCount": len(rows)}


def _told(error: GraphQLError) -> Json:
    original = error.original_error
    more = original.more if isinstance(original, RefusedFieldError) else {}
    return {"message": error.message, "path": error.path or [], **more}
