"""The results of a run as Markdown, and the goals."""

from typing import Any

from benchmarks.machine import machine_text
from benchmarks.server.measure import CONNECTIONS
from benchmarks.speed.tables import figure_text, markdown


def goals(results: dict[str, Any]) -> list[dict[str, Any]]:
    """What the server is held to, what it reached, and whether that is enough."""
    ours, flood, soak = results["servers"]["embedge"], results["flood"], results["soak"]
    other = {status for status in flood["statuses"] if status not in ("200", "429")}
    failed = sum(count for status, count in soak["statuses"].items() if status.startswith("5"))
    ratio = ours["texts_per_s"] / ours["library_texts_per_s"]
    return [
        _goal("throughput at 32 texts a request, to the library's", ">= 0.85", f"{ratio:.2f}", ratio >= 0.85),
        _goal(
            "a lone query, ms over the library",
            "<= 1.5",
            f"{ours['lone']['overhead_ms']:.2f}",
            ours["lone"]["overhead_ms"] <= 1.5,
        ),
        _goal(
            "2,000 connections on a small queue: answers other than 200 and 429, broken connections, wrong vectors",
            "0",
            f"{sum(flood['statuses'][status] for status in other)}, {flood['errors']}, {flood['wrong']}",
            not other and not flood["errors"] and not flood["wrong"],
        ),
        _goal(
            f"{soak['seconds']:.0f} s at saturation: wrong of {soak['compared']:,} answers, 5xx, broken connections",
            "0",
            f"{soak['wrong']}, {failed}, {soak['errors']}",
            not (soak["wrong"] or failed or soak["errors"]),
        ),
        _goal(
            f"memory growth after the first {soak['settled_after_s']:.0f} s of it",
            "<= 5 %",
            f"{soak['growth'] * 100:.1f} %",
            soak["growth"] <= 0.05,
        ),
    ]


def _goal(goal: str, bound: str, reached: str, met: bool) -> dict[str, Any]:
    return {"goal": goal, "bound": bound, "reached": reached, "met": met}


def table(results: dict[str, Any]) -> str:
    """Servers, goals and conditions, as Markdown."""
    header = ["", *(f"p50 / p99, {connections} at once" for connections in CONNECTIONS)]
    rows = [[*header, "queries/s, 64 at once", "32 texts a request, texts/s", "alone, ms", "memory, MB"]]
    rows += [
        [
            server["label"],
            *(_latency(server["queries"][str(connections)]) for connections in CONNECTIONS),
            figure_text(server["queries"]["64"]["per_s"]),
            figure_text(server["texts_per_s"]),
            figure_text(server["lone"]["server_ms"]),
            figure_text(server["memory_mb"]),
        ]
        for server in results["servers"].values()
    ]
    reached = [["embedge", "goal", "reached", ""]]
    reached += [
        [goal["goal"], goal["bound"], goal["reached"], "met" if goal["met"] else "**missed**"]
        for goal in results["goals"]
    ]
    missing = "".join(f"- {label}: not measured: {reason}\n" for label, reason in results["unavailable"].items())
    return f"{markdown(rows)}\n{missing}{markdown(reached)}\n{_conditions(results)}\n"


def _latency(queries: dict[str, Any]) -> str:
    refused = sum(count for status, count in queries["statuses"].items() if status != "200") + queries["errors"]
    if queries["p50_ms"] is None:
        return f"none answered, {refused} failed"
    times = f"{figure_text(queries['p50_ms'])} / {figure_text(queries['p99_ms'])}"
    return f"{times}, {refused} failed" if refused else times


def _conditions(results: dict[str, Any]) -> str:
    about = results["conditions"]
    versions = "; ".join(
        ", ".join(f"{name} {version}" for name, version in server["versions"].items())
        for server in results["servers"].values()
    )
    return (
        f"Milliseconds. {about['seconds']:g} s each figure, queries of 16 tokens, {about['threads']} threads, "
        f"{about['tool']} on the same machine, whose load was {about['load_before']} before and {about['load_after']} "
        f"at the end; {machine_text(about)}; {versions}."
    )
