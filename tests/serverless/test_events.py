"""What the function answers to each kind of event: OpenAI's dialect, as the server speaks it."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from embedge import Embedder, ProviderError
from embedge.server import create_app
from embedge.serverless import Handler, load_handler
from embedge.vectors import FloatArray

TEXTS = ["A ferry crosses the harbour.", "Bread rises by yeast.", ""]


@pytest.fixture(scope="module")
def handler(model: Embedder) -> Handler:
    return Handler(model)


def rest_api(body: str | None, **fields: Any) -> dict[str, Any]:
    """An event of API Gateway's REST APIs, version 1."""
    event = {
        "resource": "/{proxy+}",
        "path": "/v1/embeddings",
        "httpMethod": "POST",
        "headers": {"Content-Type": "application/json", "Host": "id.execute-api.us-east-1.amazonaws.com"},
        "queryStringParameters": None,
        "requestContext": {"stage": "prod", "httpMethod": "POST", "path": "/prod/v1/embeddings"},
        "body": body,
        "isBase64Encoded": False,
    }
    return {**event, **fields}


def function_url(body: str | None, *, method: str = "POST", **fields: Any) -> dict[str, Any]:
    """An event of a function URL, version 2, which HTTP APIs have too."""
    event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/v1/embeddings",
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "host": "id.lambda-url.us-east-1.on.aws"},
        "requestContext": {"http": {"method": method, "path": "/v1/embeddings", "protocol": "HTTP/1.1"}},
        "body": body,
        "isBase64Encoded": False,
    }
    return {**event, **fields}


def load_balancer(body: str | None, **fields: Any) -> dict[str, Any]:
    """An event of an application load balancer whose target group has lists of headers."""
    event = {
        "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:us-east-1:0:targetgroup/a/b"}},
        "httpMethod": "POST",
        "path": "/v1/embeddings",
        "multiValueQueryStringParameters": {},
        "multiValueHeaders": {"content-type": ["application/json"], "accept": ["a", "b"]},
        "body": body,
        "isBase64Encoded": False,
    }
    return {**event, **fields}


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def vectors(body: dict[str, Any]) -> FloatArray:
    assert [one["index"] for one in body["data"]] == list(range(len(body["data"])))
    return np.array([one["embedding"] for one in body["data"]], np.float32)


@pytest.mark.parametrize("kind", ["rest", "url", "url in base64", "stage in front", "direct"])
def test_every_kind_of_event_gets_the_librarys_bits(kind: str, handler: Handler, model: Embedder) -> None:
    asked = {"input": TEXTS, "user": "ignored"}
    text = json.dumps(asked)
    event = {
        "rest": rest_api(text),
        "url": function_url(text),
        "url in base64": function_url(in_base64(text), isBase64Encoded=True),
        "stage in front": function_url(text, rawPath="/prod/v1/embeddings"),
        "direct": asked,
    }[kind]
    answer = handler(event, None)
    if kind == "direct":
        body = answer
        assert body.pop("truncated") == 0
    else:
        body = json.loads(answer["body"])
        assert (answer["statusCode"], answer["isBase64Encoded"]) == (200, False)
        assert answer["headers"] == {"content-type": "application/json", "x-embedge-truncated": "0"}
    assert np.array_equal(vectors(body), model.embed(TEXTS))
    tokens = sum(model.count_tokens(TEXTS))
    assert body["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    assert (body["object"], body["model"]) == ("list", model.manifest.source.id)
    assert body["data"][0]["object"] == "embedding"


def test_headers_in_lists_are_answered_in_lists(handler: Handler) -> None:
    """A load balancer that sends them so takes no others."""
    answer = handler(load_balancer('{"input": "a"}'), None)
    assert answer["statusCode"] == 200
    assert answer["multiValueHeaders"] == {"content-type": ["application/json"], "x-embedge-truncated": ["0"]}
    assert "headers" not in answer
    refused = handler(load_balancer("", httpMethod="GET"), None)
    assert (refused["statusCode"], refused["multiValueHeaders"]["allow"]) == (405, ["POST"])
    # A REST API has both.
    both = rest_api('{"input": "a"}', multiValueHeaders={"Content-Type": ["application/json"]})
    assert handler(both, None)["headers"]["content-type"] == "application/json"


def test_base64_and_fewer_dimensions(handler: Handler, model: Embedder) -> None:
    answer = handler({"input": TEXTS, "encoding_format": "base64", "dimensions": 64}, None)
    rows = [np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in answer["data"]]
    assert np.array_equal(np.array(rows), model.embed(TEXTS, dimensions=64))


def test_token_ids_are_texts(handler: Handler, model: Embedder) -> None:
    ids = model.tokenizer.encode(TEXTS).ids
    for asked in (ids, [one[1:-1] for one in ids[:2]]):
        assert np.array_equal(vectors(handler({"input": asked}, None)), model.embed(TEXTS[: len(asked)]))
    assert np.array_equal(vectors(handler({"input": ids[0]}, None)), model.embed(TEXTS[:1]))


def test_a_long_text_is_cut_and_told_or_refused(handler: Handler, model: Embedder) -> None:
    long = "harbour " * 600
    answer = handler(function_url(json.dumps({"input": [long, "short"]})), None)
    assert answer["headers"]["x-embedge-truncated"] == "1"
    assert handler({"input": long}, None)["truncated"] == 1
    refused = handler({"input": ["short", long], "truncate": False}, None)
    assert "input[1] has more than the model's" in refused["error"]["message"]


def test_the_model_is_found_by_its_names(handler: Handler) -> None:
    for name in ("sentence-transformers/all-MiniLM-L6-v2", "all-MiniLM-L6-v2", None):
        assert "data" in handler({"input": "a", "model": name}, None)


BAD = [
    ({}, 400, None, "no field 'input'"),
    ([], 400, None, "an array, not an object"),
    ("a text", 400, None, "a string, not an object"),
    (None, 400, None, "null, not an object"),
    ({"Records": [{"body": "of a queue"}]}, 400, "input", "no field 'input'"),
    ({"input": None}, 400, "input", "input is null"),
    ({"input": []}, 400, "input", "input is empty: send at least one text"),
    ({"input": {}}, 400, "input", "input is an object"),
    ({"input": ["a", 1]}, 400, "input", "mixes texts and token ids"),
    ({"input": ["a", None]}, 400, "input", "input[1] is null"),
    ({"input": [1, True]}, 400, "input", "input[1] is a boolean"),
    ({"input": [[1], [1.5]]}, 400, "input", "input[1] is a list that holds something else"),
    ({"input": [[5], [-1]]}, 400, "input", "input[1] has a token id that is not one of 0 to 30521"),
    ({"input": "half \ud83d"}, 400, "input", "input[0] has half of a surrogate pair"),
    ({"input": ["a"] * 2049}, 413, "input", "one request may have 2048"),
    ({"input": "a", "model": "gpt"}, 404, "model", "there is no model 'gpt' here"),
    ({"input": "a", "model": 1}, 400, "model", "model is a number, not a text"),
    ({"input": "a", "dimensions": 0}, 400, "dimensions", "ask for 1 to 384"),
    ({"input": "a", "dimensions": True}, 400, "dimensions", "dimensions is a boolean"),
    ({"input": "a", "dimensions": 9.0}, 400, "dimensions", "dimensions is a number, not a whole number"),
    ({"input": "a", "encoding_format": "hex"}, 400, "encoding_format", "'hex' is not one of float, base64"),
    ({"input": "a", "encoding_format": ""}, 400, "encoding_format", "'' is not one of float, base64"),
    ({"input": "a", "prompt": "title"}, 400, "prompt", "prompt 'title' is not one of"),
    ({"input": "a", "prompt": "\ud83d"}, 400, "prompt", "is not one of"),
    ({"input": "a", "truncate": 1}, 400, "truncate", "truncate is a number"),
]


@pytest.mark.parametrize(("body", "status", "field", "said"), BAD)
@pytest.mark.parametrize("kind", ["direct", "rest", "url"])
def test_a_bad_request_says_what_is_wrong(
    kind: str, body: object, status: int, field: str | None, said: str, handler: Handler
) -> None:
    text = json.dumps(body)
    if kind == "direct":
        answer = handler(body, None)
        error = answer["error"]
    else:
        answer = handler(rest_api(text) if kind == "rest" else function_url(text), None)
        error = json.loads(answer["body"])["error"]
    assert answer["statusCode"] == status
    assert said in error["message"]
    assert error["type"] == "invalid_request_error"
    assert field is None or error["param"] == field
    # The client writes it as UTF-8, in which half of a surrogate pair can't be written.
    json.dumps(answer, ensure_ascii=False).encode()


@pytest.fixture(scope="module")
def server(model: Embedder) -> Iterator[TestClient]:
    with TestClient(create_app(model)) as client:
        yield client


def test_the_server_says_the_same(handler: Handler, server: TestClient) -> None:
    bodies = [json.dumps(body) for body, *_ in BAD]
    bodies += ["", "{}", "[", '{"input": "a",}', '{"input": "a", "other": NaN}', '{"input": "a", "other": -Infinity}']
    bodies += ['{"input": [1e400]}', '{"input": [[]]}', '{"input": [-1]}', '{"input": ' + "[" * 100_000]
    bodies += ['{"input": "", "dimensions": null, "encoding_format": null, "prompt": null, "model": null}']
    for body in bodies:
        theirs = server.post("/v1/embeddings", content=body, headers={"content-type": "application/json"})
        ours = handler(function_url(body), None)
        assert ours["statusCode"] == theirs.status_code, body
        if theirs.status_code == 200:
            assert json.loads(ours["body"]) == theirs.json(), body
        else:
            assert json.loads(ours["body"])["error"]["code"] == theirs.json()["error"]["code"], body


@pytest.mark.parametrize(
    ("event", "status", "said"),
    [
        (function_url("{", rawPath="/v1/models"), 404, "POST to /v1/embeddings"),
        (rest_api("{}", path=None), 404, "there is no '' here: POST to /v1/embeddings"),
        (function_url(None, method="GET"), 405, "takes POST, not GET"),
        (rest_api("{}", headers=None), 415, "content-type is ''"),
        (function_url("{}", headers={"content-type": "text/plain"}), 415, "send application/json"),
        (
            function_url("{}", headers={"content-type": "application/json", "content-encoding": "gzip"}),
            415,
            "compressed",
        ),
        (function_url(None), 400, "the body is not JSON"),
        (function_url('{"input": "a"'), 400, "the body is not JSON"),
        (function_url("[" * 100_000), 400, "nested too deeply"),
        (function_url({"input": "a"}), 400, "the event's body is no text"),  # type: ignore[arg-type]
        (function_url("no base64!", isBase64Encoded=True), 400, "says that its body is base64"),
        (function_url("caf\u00e9", isBase64Encoded=True), 400, "says that its body is base64"),
        (function_url(base64.b64encode(b"\xff").decode(), isBase64Encoded=True), 400, "not UTF-8: byte 0"),
    ],
)
def test_a_bad_http_request_gets_its_status(event: dict[str, Any], status: int, said: str, handler: Handler) -> None:
    answer = handler(event, None)
    assert answer["statusCode"] == status
    assert said in json.loads(answer["body"])["error"]["message"]
    assert ("allow" in answer["headers"]) == (status == 405)


def test_more_than_lambda_hands_on_is_refused(handler: Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond 6 MB Lambda gives the caller an error of its own, after all the work. Here the limit is lower."""
    monkeypatch.setattr("embedge.serverless.handler._MOST_BYTES", 30_000)
    asked = {"input": ["a"] * 8}
    for answer in (handler(asked, None), handler(function_url(json.dumps(asked)), None)):
        assert answer["statusCode"] == 413
        assert "send fewer texts" in str(answer)
    assert "data" in handler({**asked, "encoding_format": "base64"}, None)


def test_a_failure_is_500_over_http_and_raised_otherwise(
    handler: Handler, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ProviderError("ONNX Runtime failed")

    monkeypatch.setattr(handler, "_encode", fail)
    answer = handler(rest_api('{"input": "a"}'), None)
    assert answer["statusCode"] == 500
    assert json.loads(answer["body"])["error"]["type"] == "server_error"
    assert "ProviderError: ONNX Runtime failed" in capsys.readouterr().err
    with pytest.raises(ProviderError):
        handler({"input": "a"}, None)


def test_another_bundle_may_be_named_by_the_environment(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDGE_MODEL", str(bundle))
    assert "data" in load_handler(tmp_path / "nothing")({"input": "a"}, None)


def test_too_little_memory_is_refused_at_the_start(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
    with pytest.raises(ProviderError, match=r"has 128 MB of memory, and .* takes 144: give it 192 MB or more"):
        load_handler(bundle)


@pytest.mark.parametrize(("memory", "threads"), [("512", 1), ("1769", 1), ("3008", 1), ("10240", 2)])
def test_a_function_has_a_thread_for_each_whole_cpu(
    memory: str, threads: int, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from embedge.engine.cpus import CpuBudget
    from embedge.serverless import handler

    monkeypatch.setattr(handler, "cpu_budget", lambda: CpuBudget(2, "two of the machine's"))
    assert handler._threads(int(memory)) == threads
