"""OpenAPI 3.1 out of the table that registers the handlers and the structs that check the bodies."""

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from trunkline import __version__
from trunkline.api_base import PROBLEM_TYPE, Nothing, Problem, Row

REF = "#/components/schemas/{name}"
SECURITY = {
    "key": {"type": "http", "scheme": "bearer", "description": "A key made by `trunkline keys create`."},
    "key_header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
    "ticket": {
        "type": "apiKey",
        "in": "query",
        "name": "ticket",
        "description": "From POST /tickets, for browsers, which cannot set headers on sockets and event streams.",
    },
}


def describe(table: Sequence[Row], *, name: str, url: str = "") -> dict[str, Any]:
    """The whole document. `table` holds each method and path once."""
    structs = sorted(_structs(table), key=lambda kind: kind.__name__)
    schemas, components = msgspec.json.schema_components(structs, ref_template=REF)
    refs = dict(zip(structs, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for row in table:
        path = re.sub(r"\{(\w+):[^}]*\}", r"{\1}", row.path)
        paths.setdefault(path, {})[row.method.lower()] = _operation(row, refs)
    return {
        "openapi": "3.1.0",
        "info": {"title": name, "version": __version__, "description": "AI voice agents on real phone lines."},
        "servers": [{"url": url or "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(row.tag for row in table)],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": SECURITY},
    }


def _structs(table: Iterable[Row]) -> set[type]:
    found: set[type] = {Problem}
    for row in table:
        found |= {kind for kind in (row.body, *row.answers.values()) if isinstance(kind, type)}
    return found - {Nothing}


def _operation(row: Row, refs: Mapping[type, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": row.handler.__name__ + ("" if row.method == "GET" else f"_{row.method.lower()}"),
        "summary": row.summary,
        "tags": [row.tag],
        "responses": _responses(row, refs),
    }
    if row.description:
        operation["description"] = row.description
    if parameters := [*_path_parameters(row), *_query_parameters(row)]:
        operation["parameters"] = parameters
    if row.body is not Nothing:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": refs[row.body]}}}
    if row.scope is not None:
        operation["security"] = [{scheme: []} for scheme in SECURITY]
        operation["description"] = f"{row.description} Scope: `{row.scope}`.".strip()
    return operation


def _responses(row: Row, refs: Mapping[type, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, kind in row.answers.items():
        answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if isinstance(kind, type):
            answer["content"] = {"application/json": {"schema": refs[kind]}}
        elif kind:
            answer["content"] = {kind: {"schema": {"type": "string"}}}
        responses[str(status)] = answer
    said = {"description": "What was wrong, and what is allowed", "content": {PROBLEM_TYPE: {"schema": refs[Problem]}}}
    for status in row.problems:
        responses[str(status)] = said | {"description": HTTPStatus(status).phrase}
    return responses | {"default": said}


def _path_parameters(row: Row) -> list[dict[str, Any]]:
    names = re.findall(r"\{(\w+)", row.path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(row: Row) -> list[dict[str, Any]]:
    if row.query is Nothing:
        return []
    (_,), components = msgspec.json.schema_components([row.query], ref_template=REF)
    schema = components[row.query.__name__]
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": kind}
        for name, kind in schema["properties"].items()
    ]


def as_30(node: Any) -> Any:
    """The document as OpenAPI 3.0 has it, for readers that stop there (the packaged Swagger UI does)."""
    if isinstance(node, list):
        return [as_30(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: as_30(value) for key, value in node.items()}
    if made.get("openapi") == "3.1.0":
        made["openapi"] = "3.0.3"
    choices = made.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        rest = [choice for choice in choices if choice != {"type": "null"}]
        made.pop("anyOf")
        made |= {"nullable": True, **(rest[0] if len(rest) == 1 else {"anyOf": rest})}
    if made.get("required") == []:  # 3.0 wants at least one name, or no list
        del made["required"]
    if "const" in made:
        made["enum"] = [made.pop("const")]
    return made
