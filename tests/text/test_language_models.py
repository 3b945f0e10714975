"""Who answers: a real local server, well and badly behaved, and a tiny local model."""

import json
import logging
import socket
import sys
import time
import traceback

import pytest
import torch
from chat_server import (
    answers,
    breaks_off,
    completion,
    drips,
    ends_early,
    fails,
    says,
    serve,
    sleeps,
    stays_alive,
)

from copt_d2.errors import InputError
from copt_d2.text import ChatServer, LocalModel

ANSWER = "1. soft shadows\n2. Blendung 自行车\n"
SECRET = "sk-very-secret"
streaming = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def waits(monkeypatch):
    """The waits between tries, which take no time here."""
    found = []
    monkeypatch.setattr("copt_d2.text.language_models.sleep", found.append)
    return found


def client(server, **options):
    return ChatServer(server.url, "tiny", SECRET, **{"timeout": 20.0, "retries": 2, **options})


@streaming
def test_an_answer_comes_whole(stream):
    with serve(answers(ANSWER)) as server:
        assert client(server, stream=stream).ask("Why?") == ANSWER
    [(path, authorization, request)] = server.requests
    assert path == "/v1/chat/completions"
    assert authorization == f"Bearer {SECRET}"
    assert request["model"] == "tiny"
    assert request["messages"] == [{"role": "user", "content": "Why?"}]
    assert request.get("stream", False) is stream


def test_images_go_with_the_question():
    with serve(answers(ANSWER)) as server:
        client(server).ask("Why?", ["data:image/jpeg;base64,AA=="])
    assert server.requests[0][2]["messages"][0]["content"] == [
        {"type": "text", "text": "Why?"},
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,AA=="}},
    ]


@streaming
@pytest.mark.parametrize(
    "failure",
    [
        fails(429),
        fails(500),
        fails(503),
        says(b'{"id": "1", "choices": [{"mess'),
        says(b"<html>busy</html>", "text/html"),
        says(b'{"choices": []}'),
        says(b"[1, 2]"),
        says(b"data: {broken\n\n", "text/event-stream"),
        breaks_off(ANSWER * 9),
        ends_early(ANSWER * 9),
        answers("  \n"),
        fails(408),
    ],
    ids=[
        *("429", "500", "503", "cut", "html", "none", "list", "event", "broken", "early"),
        *("empty", "408"),
    ],
)
def test_a_failure_is_tried_again(waits, caplog, stream, failure):
    with serve(failure, failure, answers(ANSWER)) as server, caplog.at_level(logging.WARNING):
        assert client(server, stream=stream, backoff=0.5).ask("Why?") == ANSWER
    assert len(server.requests) == 3
    assert waits == [0.5, 1.0]
    notes = [record.message for record in caplog.records if "next try in" in record.message]
    assert len(notes) == 2
    assert SECRET not in caplog.text


@streaming
@pytest.mark.parametrize(("failure", "part"), [(fails(500), "500"), (says(b"{]"), "JSON")])
def test_the_last_failure_is_told(waits, stream, failure, part):
    with (
        serve(failure) as server,
        pytest.raises(InputError, match=r"no answer after 3 tries") as error,
    ):
        client(server, stream=stream).ask("Why?")
    assert len(server.requests) == 3
    assert part in str(error.value) or stream
    assert "\n" not in str(error.value)
    assert SECRET not in str(error.value)


def test_a_server_that_only_stays_alive_is_given_up(waits):
    """Blank lines, as some servers send them for minutes, are no answer."""
    for stream in (False, True):
        started = time.monotonic()
        with serve(stays_alive(4.0)) as server, pytest.raises(InputError, match=r"within 0\.4 s"):
            client(server, stream=stream, timeout=0.4, retries=0).ask("Why?")
        assert time.monotonic() - started < 3.5


@pytest.mark.parametrize("key", [f"{SECRET}\n", f" {SECRET} "])
def test_spaces_around_a_key_are_no_part_of_it(key):
    with serve(answers(ANSWER)) as server:
        ChatServer(server.url, "tiny", key).ask("Why?")
    assert server.requests[0][1] == f"Bearer {SECRET}"


@pytest.mark.parametrize("key", [f"{SECRET}\nx", "sk-schlüssel"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key):
    with pytest.raises(InputError, match="OPENAI_API_KEY") as error:
        ChatServer("http://x/v1", "m", key)
    assert key not in str(error.value)
    assert SECRET not in str(error.value)


def test_a_refusal_that_quotes_the_key_does_not_show_it(waits):
    with serve(fails(401, f"wrong key {SECRET}")) as server, pytest.raises(InputError) as error:
        client(server).ask("Why?")
    assert "wrong key (key)" in str(error.value)


def quoting(text):
    """Answers that quote a text in every place that a message may be made of."""
    error = json.dumps({"error": {"message": text, "param": [text]}}).encode()
    return {
        "status of success": says(error),
        "event": says(b"data: " + error + b"\n\n", "text/event-stream"),
        "refusal": fails(403, f"Bearer {text}"),
        "overload": fails(503, text, Retry_After=text),
        "redirect": fails(307, Location=f"/v1?key={text}"),
        "redirect to nowhere": fails(307, Location=f"http://{text}.invalid:1/"),
        "no JSON": says(f'{{"choices": "{text}"'.encode()),
        "no choices": says(json.dumps({"choices": [text]}).encode()),
        "another encoding": lambda handler, _: handler.send(
            200, text.encode(), Content_Encoding="gzip"
        ),
    }


@pytest.mark.parametrize("quoted", [SECRET, "sk%2Dvery-secret", "sk-very", "sk-v****et"])
@pytest.mark.parametrize("place", quoting(""))
def test_a_key_that_a_server_quotes_is_not_shown(waits, caplog, place, quoted):
    with (
        serve(quoting(quoted)[place]) as server,
        pytest.raises(InputError) as error,
        caplog.at_level(logging.WARNING, "copt_d2"),
    ):
        client(server, stream=place == "event", retries=1).ask("Why?")
    # whoever prints the whole chain of errors shows no more than the line
    whole = "".join(traceback.format_exception(error.value)) + caplog.text
    for secret in (quoted, SECRET, "sk-very", "very-secret"):
        assert secret not in whole
    assert "\n" not in str(error.value)
    assert error.value.__cause__ is error.value.__context__ is None


def test_an_answer_that_quotes_the_key_does_not_show_it():
    with serve(answers(f"1. soft shadows\n2. Bearer {SECRET}\n")) as server:
        assert client(server).ask("Why?") == "1. soft shadows\n2. Bearer (key)\n"
        assert client(server, stream=True).ask("Why?") == "1. soft shadows\n2. Bearer (key)\n"


def test_an_error_of_any_kind_is_one_line_without_the_key(monkeypatch):
    """Errors of the client that no list of kinds could hold."""

    async def create(*_args):
        raise RecursionError(f"headers {{'Authorization': 'Bearer {SECRET}'}}")

    monkeypatch.setattr(ChatServer, "_answer", create)
    with pytest.raises(InputError, match=r"cannot be asked: .*'Bearer \(key\)'") as error:
        ChatServer("http://x/v1", "tiny", SECRET).ask("Why?")
    assert SECRET not in "".join(traceback.format_exception(error.value))


def test_secrets_in_the_url_are_not_shown():
    assert ChatServer("http://me:pass@x/v1", "m").name == "m at http://x/v1"
    assert ChatServer(f"http://x:1/v1?key={SECRET}", "m").name == "m at http://x:1/v1"
    assert ChatServer(f"http://x/{SECRET}", "m", SECRET).name == "m at http://x/(key)"
    with pytest.raises(InputError, match=r"--base-url \(key\): must begin"):
        ChatServer(SECRET, "m", SECRET)
    with pytest.raises(InputError, match=r"--base-url http://\[x: Invalid IPv6"):
        ChatServer("http://[x", "m")


def test_a_proxy_without_its_package_is_one_line(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(InputError, match=r"cannot be asked: .*socks") as error:
        ChatServer("http://x/v1", "m").ask("Why?")
    assert "\n" not in str(error.value)


def test_an_answer_in_parts():
    message = {"role": "assistant", "content": [{"type": "text", "text": ANSWER}]}
    body = json.loads(completion(""))
    body["choices"][0]["message"] = message
    with serve(says(json.dumps(body).encode())) as server:
        assert client(server).ask("Why?") == ANSWER


def test_an_error_with_a_status_of_success_is_told(waits):
    body = b'{"error": {"message": "no capacity"}}'
    with serve(says(body)) as server, pytest.raises(InputError, match="no capacity"):
        client(server).ask("Why?")


def test_an_answer_that_was_cut_off_says_so(caplog):
    body = json.loads(completion(ANSWER))
    body["choices"][0]["finish_reason"] = "length"
    with serve(says(json.dumps(body).encode())) as server, caplog.at_level(logging.WARNING):
        assert client(server).ask("Why?") == ANSWER
    assert "limit of length" in caplog.text


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("Wed, 21 Oct 2037 07:28:00 GMT", 60.0),
        *((text, 0.5) for text in ("0", "-3", "nan", "\u00b2", "soon", "1e999")),
    ],
)
def test_any_retry_after(waits, header, wait):
    with serve(fails(429, Retry_After=header), answers(ANSWER)) as server:
        client(server, backoff=0.5).ask("Why?")
    assert waits == [wait]


def test_the_server_says_how_long_to_wait(waits):
    steps = (fails(429, Retry_After="7"), fails(429, Retry_After="9999"), answers(ANSWER))
    with serve(*steps) as server:
        assert client(server).ask("Why?") == ANSWER
    assert waits == [7.0, 60.0]  # never longer than a minute


@streaming
def test_a_slow_server_is_given_up(stream):
    started = time.monotonic()
    with serve(sleeps(1.5)) as server, pytest.raises(InputError, match=r"2 tries.*within 0\.3 s"):
        client(server, stream=stream, timeout=0.3, retries=1, backoff=0.01).ask("Why?")
    assert len(server.requests) == 2
    assert time.monotonic() - started < 15


def test_a_dripping_stream_is_given_up(waits):
    """Each piece is in time, the whole is not."""
    slow = drips("soft shadows " * 40, 0.05)
    with serve(slow, answers(ANSWER)) as server:
        assert client(server, stream=True, timeout=1.0).ask("Why?") == ANSWER
    assert len(waits) == 1


@pytest.mark.parametrize(
    ("status", "message"), [(401, "bad key"), (404, "no such model"), (400, "what?")]
)
def test_a_refusal_is_not_tried_again(waits, status, message):
    with serve(fails(status, message)) as server, pytest.raises(InputError) as error:
        client(server).ask("Why?")
    assert f"tiny at {server.url} refuses" in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(server.requests) == 1
    assert waits == []


def test_a_server_that_is_not_there(waits):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(InputError, match=r"no answer after 2 tries.*[Cc]onnection"):
        ChatServer(f"http://127.0.0.1:{port}/v1", "tiny", retries=1).ask("Why?")
    assert len(waits) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": ""}, "--model or OPENAI_MODEL"),
        ({"base_url": ""}, "OPENAI_API_KEY"),
        ({"base_url": "localhost:80"}, "must begin with http:// or https://"),
        ({"timeout": 0.0}, "--timeout must be above 0"),
        ({"timeout": float("nan")}, "--timeout must be above 0"),
        ({"retries": -1}, "--retries 0 or more"),
    ],
)
def test_settings_that_cannot_work(options, message):
    with pytest.raises(InputError, match=message):
        ChatServer(**{"base_url": "http://x/v1", "model": "m", **options})


def test_the_key_is_not_shown():
    assert SECRET not in repr(ChatServer("http://x/v1", "m", SECRET))


@pytest.mark.parity
def test_a_local_model_says_the_likeliest_words(causal_lm_folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(causal_lm_folder)
    model = AutoModelForCausalLM.from_pretrained(causal_lm_folder).eval()
    tokens = tokenizer("Why?\n")["input_ids"]
    start = len(tokens)
    with torch.no_grad():
        while len(tokens) < start + 6 and (len(tokens) == start or tokens[-1] != 2):
            tokens.append(model(torch.tensor([tokens])).logits[0, -1].argmax().item())
    expected = tokenizer.decode(tokens[start:], skip_special_tokens=True)
    assert LocalModel(str(causal_lm_folder), max_tokens=6).ask("Why?") == expected


@pytest.mark.parametrize(
    ("model", "images", "message"),
    [
        ("me/mine", (), r"--local-model: the weights of 'me/mine' .*`hf download me/mine` once"),
        ("{empty}", (), "cannot be read as a causal language model"),
        ("{empty}", ("data:",), "--image needs a server"),
    ],
)
def test_a_local_model_that_cannot_answer(empty_hub, tmp_path, model, images, message):
    with pytest.raises(InputError, match=message) as error:
        LocalModel(model.replace("{empty}", str(tmp_path))).ask("Why?", images)
    assert "\n" not in str(error.value)
