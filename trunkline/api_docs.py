"""The API described: `/openapi.json` (3.1), and a page that reads it, from an installed package: no CDN."""

from pathlib import Path

import msgspec
from aiohttp import web

from trunkline.api_base import Answer, Ask, Endpoint, Nothing, Row, refuse
from trunkline.api_desk import DOCUMENT, desk_of
from trunkline.openapi import as_30

# What of the package the page needs; the rest stays unreachable.
ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
POLICY = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: HTTP API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" href="docs/favicon-32x32.png">
</head>
<body>
<div id="page"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
START = """SwaggerUIBundle({
  url: "openapi.json?version=3.0",
  dom_id: "#page",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
});
"""


class Which(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Query of /openapi.json."""

    version: str = "3.1"


def _folder() -> Path:
    """Where the packaged Swagger UI lies. Raises Refused (503) when the package is not installed."""
    try:
        import swagger_ui_bundle
    except ImportError:
        raise refuse(503, "The documentation page is not installed", allowed="pip install swagger-ui-bundle") from None
    return Path(swagger_ui_bundle.swagger_ui_path)


async def openapi(ask: Ask[Which, Nothing]) -> Answer:
    document = ask.request.app[DOCUMENT]
    if ask.query.version not in ("3.0", "3.1"):
        raise refuse(422, "No such version", field="version", value=ask.query.version, allowed="3.0 or 3.1")
    shown = as_30(document) if ask.query.version == "3.0" else document
    return web.Response(body=msgspec.json.encode(shown), content_type="application/json")


async def docs(ask: Ask[Nothing, Nothing]) -> Answer:
    title = desk_of(ask.request).settings.name.replace("&", "&amp;").replace("<", "&lt;")
    return _page(PAGE.format(title=title), "text/html")


async def docs_part(ask: Ask[Nothing, Nothing]) -> Answer:
    name = ask.path("name")
    if name == "start.js":
        return _page(START, "text/javascript")
    if name not in ASSETS:
        raise refuse(404, "There is nothing at this path", field="name", value=name, allowed=", ".join(ASSETS))
    return web.FileResponse(_folder() / name, headers={"Content-Type": ASSETS[name], "Cache-Control": "max-age=86400"})


def _page(text: str, kind: str) -> web.Response:
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
    return web.Response(text=text, content_type=kind, headers=headers)


ENDPOINTS: tuple[Row, ...] = (
    Endpoint(
        "GET", "/openapi.json", openapi, "This description", Which, Nothing, {200: "application/json"}, tag="docs"
    ),
    Endpoint("GET", "/docs", docs, "This description as a page", Nothing, Nothing, {200: "text/html"}, tag="docs"),
    Endpoint("GET", "/docs/{name}", docs_part, "Parts of that page", Nothing, Nothing, {200: "*/*"}, tag="docs"),
)
