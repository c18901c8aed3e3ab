"""The API's reference as a plain page, made of the OpenAPI document: no script, nothing from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

_STYLE = (
    "body{font:14px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "code,pre{font-family:ui-monospace,monospace}summary{cursor:pointer;padding:4px 0}"
    "b{display:inline-block;width:4.5em}"
    "td,th{text-align:left;vertical-align:top;padding:2px 12px 2px 0}pre{overflow:auto}"
)


@router.get("/api/docs")
def reference(request: Request) -> HTMLResponse:
    """Every operation with its parameters and bodies."""
    return HTMLResponse(_page(request.app.openapi()))


def _page(document: dict[str, Any]) -> str:
    by_tag: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tag = operation.get("tags", ["other"])[0]
            by_tag.setdefault(tag, []).append(_operation(method, path, operation))
    parts = [f"<h2>{escape(tag)}</h2>{''.join(operations)}" for tag, operations in by_tag.items()]
    schemas = "".join(
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code> {escape(_first(schema))}</summary>'
        f"{_properties(schema)}</details>"
        for name, schema in sorted(document["components"]["schemas"].items())
    )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Orfila API</title><style>{_STYLE}</style>"
        "<h1>Orfila API</h1><p>Send a token as <code>Authorization: Bearer orf_...</code> "
        "(make one with <code>orfila user token</code>)."
        " The document for programs: <a href=/api/openapi.json>openapi.json</a>.</p>"
        f"{''.join(parts)}<h2>bodies</h2>{schemas}</html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(p['name'])}</code><td>{escape(p['in'])}<td>{_type(p.get('schema', {}))}"
        f"<td>{escape(p.get('description', ''))}"
        for p in operation.get("parameters", [])
    )
    bodies = [
        f"<p>{label}: {escape(kind)} {_type(content.get('schema', {}))}</p>"
        for label, holder in (("body", operation.get("requestBody", {})), ("answer", _answer(operation)))
        for kind, content in holder.get("content", {}).items()
    ]
    return (
        f"<details><summary><b>{method.upper()}</b><code>{escape(path)}</code></summary>"
        f"<p>{escape(operation.get('description', ''))}</p><table>{rows}</table>{''.join(bodies)}</details>"
    )


def _answer(operation: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next((r for code, r in operation["responses"].items() if code.startswith("2")), {})
    return found


def _properties(schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code>{'' if name in required else ' (optional)'}<td>{_type(field)}"
        f"<td>{escape(field.get('description', ''))}"
        for name, field in schema.get("properties", {}).items()
    )
    return f"<table>{rows}</table>"


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rsplit("/", 1)[-1])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(s) for s in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(escape(str(v)) for v in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return escape(str(schema.get("type", "any")))


def _first(schema: dict[str, Any]) -> str:
    return str(schema.get("description", "")).partition("\n")[0]
