"""``/openapi.json``, and ``/docs``: the same as a page, which needs no script and no other host."""

import functools
import html
import json
import re
from importlib import resources
from typing import Any

from starlette.responses import HTMLResponse, Response

from embedge.server import openai, openapi
from embedge.server.bodies import json_response
from embedge.server.dialect import Endpoint
from embedge.server.service import Service

_CODE = re.compile(r"``?([^`]+)``?")
_FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>embedge: what the server takes and answers</title>
<link rel="stylesheet" href="docs/reference.css">
</head>
<body>
<header>
<h1>embedge {version}</h1>
<p>{description} The same <a href="openapi.json">as OpenAPI 3.1</a>.</p>
</header>
<nav aria-label="Routes">
{menu}
</nav>
<main>
{routes}
<section id="types">
<h2>Types</h2>
{types}
</section>
</main>
</body>
</html>
"""


async def describe(_: Service, __: object) -> Response:
    """``GET /openapi.json``."""
    return json_response(openapi.document())


async def show(_: Service, __: object) -> Response:
    """``GET /docs``."""
    return HTMLResponse(_page())


async def style(_: Service, __: object) -> Response:
    """``GET /docs/reference.css``."""
    css = (resources.files("embedge.server") / "static" / "reference.css").read_bytes()
    return Response(css, media_type="text/css")


@functools.cache
def _page() -> str:
    document = openapi.document()
    menu, routes = [], []
    for tag in (entry["name"] for entry in document["tags"]):
        found = [
            (method, path, operation)
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
            if tag in operation["tags"]
        ]
        links = "".join(
            f'<li><a href="#{_anchor(method, path)}"><code>{method.upper()} {_text(path)}</code></a></li>'
            for method, path, _ in found
        )
        menu.append(f"<h2>{_text(tag)}</h2>\n<ul>{links}</ul>")
        sections = "\n".join(_route(*route, document["components"]["schemas"]) for route in found)
        routes.append(f"<section>\n<h2>{_text(tag)}</h2>\n{sections}\n</section>")
    types = [
        f'<article id="type-{name}">\n<h3>{name}</h3>\n<p>{_prose(schema.get("description", ""))}</p>\n'
        f"{_fields(schema)}\n</article>"
        for name, schema in document["components"]["schemas"].items()
    ]
    info = document["info"]
    return _FRAME.format(
        version=_text(info["version"]),
        description=_prose(info["description"]),
        menu="\n".join(menu),
        routes="\n".join(routes),
        types="\n".join(types),
    )


def _route(method: str, path: str, operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    parts = [
        f'<article id="{_anchor(method, path)}">',
        f"<h3><code>{method.upper()} {_text(path)}</code></h3>",
        f"<p>{_prose(operation['summary'])}.</p>",
    ]
    command = f"curl http://127.0.0.1:8080{path}"
    body = operation.get("requestBody")
    if body:
        content = body["content"]["application/json"]
        parts.append(_fields(schemas[content["schema"]["$ref"].rpartition("/")[2]]))
        command += f" \\\n  --json '{json.dumps(content['example'], ensure_ascii=False)}'"
    parts.append(f"<pre><code>{_text(command)}</code></pre>")
    rows = "".join(
        f'<tr><th scope="row">{status}</th><td>{_answer_type(answer)}</td><td>{_prose(answer["description"])}</td></tr>'
        for status, answer in operation["responses"].items()
    )
    head = '<tr><th scope="col">Status</th><th scope="col">Body</th><th scope="col">When</th></tr>'
    return "\n".join([*parts, _table(head, rows), "</article>"])


def _answer_type(answer: dict[str, Any]) -> str:
    content = answer.get("content")
    return _type(content["application/json"]["schema"]) if content else "text"


def _fields(schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    rows = "".join(
        f'<tr><th scope="row"><code>{_text(name)}</code></th><td>{_type(field)}</td>'
        f"<td>{'required' if name in required else ''}</td><td>{_prose(field.get('description', ''))}</td></tr>"
        for name, field in schema["properties"].items()
    )
    head = "".join(f'<th scope="col">{title}</th>' for title in ("Field", "Type", "", "Meaning"))
    return _table(f"<tr>{head}</tr>", rows)


def _table(head: str, rows: str) -> str:
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _type(schema: dict[str, Any]) -> str:
    """A type in words, with links."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#type-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"<code>{_text(json.dumps(one))}</code>" for one in schema["enum"])
    if schema.get("type") == "array":
        inner = _type(schema["items"])
        return f"list of ({inner})" if " or " in inner else f"list of {inner}"
    return str(schema.get("type", "anything"))


def _anchor(method: str, path: str) -> str:
    return "-".join([method, *re.findall(r"\w+", path)])


def _text(text: str) -> str:
    return html.escape(text)


def _prose(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", _text(text))


ENDPOINTS = (
    Endpoint("GET", "/openapi.json", None, describe, openai.DIALECT, "All routes, as OpenAPI 3.1", open=True),
    Endpoint("GET", "/docs", None, show, openai.DIALECT, "All routes, as a page", open=True),
    Endpoint("GET", "/docs/reference.css", None, style, openai.DIALECT, "How that page looks", open=True),
)
"""They say what every server of this version says, and nothing of what is served."""
