"""Whether the server lives, whether it takes requests, and what it counts."""

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import PlainTextResponse, Response

from embedge.server import openai
from embedge.server.dialect import Endpoint
from embedge.server.service import Service


async def live(service: Service, _: object) -> Response:
    """``GET /health/live``: the process answers."""
    return PlainTextResponse("ok")


async def ready(service: Service, _: object) -> Response:
    """``GET /health/ready``: it takes requests; 503 while it stops."""
    return PlainTextResponse("stopping", 503) if service.stopping else PlainTextResponse("ok")


async def metrics(service: Service, _: object) -> Response:
    """``GET /metrics``: for Prometheus."""
    return Response(service.metrics.render(), media_type=CONTENT_TYPE_LATEST)


ENDPOINTS = (
    Endpoint("GET", "/health/live", None, live, openai.DIALECT, "Whether the process answers", open=True),
    Endpoint("GET", "/health/ready", None, ready, openai.DIALECT, "Whether it takes requests", open=True),
    Endpoint("GET", "/metrics", None, metrics, openai.DIALECT, "Prometheus's metrics", open_with_metrics=True),
)
