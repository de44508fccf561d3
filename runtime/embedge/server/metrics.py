"""What a server counts, for Prometheus."""

from collections.abc import Callable, Iterable

import prometheus_client as prometheus
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from embedge import __version__

# From a query's time on a fast machine to that of a full queue, in seconds.
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """One server's; several in a process do not meet."""

    def __init__(self) -> None:
        self._registry = prometheus.CollectorRegistry()

        def histogram(name: str, text: str, buckets: Iterable[float]) -> prometheus.Histogram:
            return prometheus.Histogram(f"embedge_{name}", text, buckets=tuple(buckets), registry=self._registry)

        def counter(name: str, text: str, labels: Iterable[str] = ()) -> prometheus.Counter:
            return prometheus.Counter(f"embedge_{name}", text, tuple(labels), registry=self._registry)

        self.requests = counter("requests", "Requests answered, by route and status", ("route", "status"))
        self.request_time = prometheus.Histogram(
            "embedge_request_seconds", "Time of a request, from its headers to the end of its answer", ("route",),
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self.wait_time = histogram("queue_wait_seconds", "Time to the turn of a request's first text", _SECONDS)
        self.batch_texts = histogram("batch_texts", "Texts given to the engine at once", _TEXTS)
        self.inference_time = histogram("inference_seconds", "Time of the engine for a batch", _SECONDS)
        self.tokenization_time = histogram("tokenization_seconds", "Time to tokenize a request's texts", _SECONDS)
        self.tokens = counter("tokens", "Tokens embedded or scored, special tokens included")
        self.texts = counter("texts", "Texts embedded, and pairs scored")
        self.truncated = counter("truncated_texts", "Texts and pairs cut to the model's limit")

    def observe_batch(self, texts: int, tokens: int, seconds: float) -> None:
        """A batch that the engine has run."""
        self.batch_texts.observe(texts)
        self.inference_time.observe(seconds)
        self.tokens.inc(tokens)
        self.texts.inc(texts)

    def watch_queue(self, tokens: Callable[[], int], requests: Callable[[], int]) -> None:
        """Show the queue's state as it is when somebody asks."""
        for name, text, value in (
            ("queue_tokens", "Tokens that wait or run", tokens),
            ("queue_requests", "Requests of which texts wait", requests),
        ):
            gauge = prometheus.Gauge(f"embedge_{name}", text, registry=self._registry)
            gauge.set_function(value)

    def watch_models(self, models: Iterable[tuple[str, str, str, str]]) -> None:
        """Show the models: their names, variants, fingerprints and kernels."""
        self._registry.register(_Info(list(models)))

    def render(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return prometheus.generate_latest(self._registry)


class _Info(Collector):
    """A constant 1 for each model, with what it is as labels."""

    def __init__(self, models: list[tuple[str, str, str, str]]) -> None:
        self._models = models

    def collect(self) -> Iterable[Metric]:
        info = GaugeMetricFamily(
            "embedge_model_info", "Models served", labels=["model", "variant", "fingerprint", "kernels", "version"]
        )
        for model in self._models:
            info.add_metric([*model, __version__], 1)
        yield info
