"""tools/describe_domain.py from the command line to a bank."""

import base64
import io
import json

import pytest
from chat_server import answers, fails, serve
from PIL import Image

from copt_d2.text import domain_templates, load_template_lists
from copt_d2.text.answers import parse_answer
from copt_d2.text.language_models import LocalModel
from copt_d2.text.question import domain_question, image_as_url

ANSWER = "Here you are:\n1. soft shadows\n2. **In dim light**: few lamps.\n3. a dark sky"
TEMPLATES = ["{} with soft shadows", "{} in dim light", "{} with a dark sky"]


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("describe_domain")


@pytest.fixture
def describe(tool, tmp_path, monkeypatch, capsys):
    """Runs the tool: exit status, standard output, lines of standard error."""
    for name in ("OPENAI_BASE_URL", "OPENAI_MODEL", "OPENAI_API_KEY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("copt_d2.text.language_models.sleep", lambda seconds: None)

    def run(*arguments):
        status = tool.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return status, printed.out, printed.err.splitlines()

    return run


@pytest.fixture
def out(tmp_path):
    return tmp_path / "new" / "words.json"


@pytest.fixture
def pasted(tmp_path):
    path = tmp_path / "answer.txt"
    path.write_text(ANSWER, encoding="utf-8")
    return path


def test_a_pasted_answer_becomes_a_list(describe, out, pasted):
    status, printed, errors = describe("night street", "--out", out, "--from-text", pasted)
    assert status == 0
    assert load_template_lists(out) == {"night street": TEMPLATES}
    assert printed.splitlines()[:3] == TEMPLATES
    assert f"wrote 3 templates as 'night street' to {out}" in printed
    assert errors == ["left out: Here you are:", "left out: few lamps."]
    note = json.loads(out.read_text())["_about night street"]
    assert note["answer"] == ANSWER
    assert note["answered_by"] == "pasted by hand"
    assert "what makes a night street image look night street" in note["question"]


def test_a_second_domain_joins_the_file(describe, out, pasted):
    describe("night street", "--out", out, "--from-text", pasted)
    describe("sunny street", "--out", out, "--from-text", pasted, "--name", "sun")
    assert list(load_template_lists(out)) == ["night street", "sun"]
    assert domain_templates(("sun",), ("night street",), out) == TEMPLATES


def test_a_list_is_replaced_only_on_demand(describe, out, pasted):
    describe("fog", "--out", out, "--from-text", pasted)
    before = out.read_bytes()
    pasted.write_text("- grey air")
    status, _, errors = describe("fog", "--out", out, "--from-text", pasted)
    assert (status, len(errors)) == (1, 1)
    assert "has a list 'fog': add --replace" in errors[0]
    assert out.read_bytes() == before
    assert describe("fog", "--out", out, "--from-text", pasted, "--replace")[0] == 0
    assert load_template_lists(out) == {"fog": ["{} with grey air"]}


def test_standard_input_is_a_text_too(describe, out, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(ANSWER))
    assert describe("fog", "--out", out, "--from-text", "-")[0] == 0
    assert load_template_lists(out) == {"fog": TEMPLATES}


@pytest.mark.parametrize("flags", [[], ["--stream"]], ids=["whole", "stream"])
def test_a_server_is_asked(describe, out, monkeypatch, tmp_path, flags):
    picture = tmp_path / "night.png"
    Image.new("RGBA", (2000, 500), (10, 20, 30, 255)).save(picture)
    with serve(fails(429), answers(ANSWER)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        arguments = ["night street", "--out", out, "--model", "tiny", *flags]
        # the parser reads the environment when it is built
        status, printed, errors = describe(*arguments, "--image", picture, picture)
    assert status == 0
    assert load_template_lists(out) == {"night street": TEMPLATES}
    assert "sk-secret" not in printed + "".join(errors) + out.read_text()
    content = server.requests[-1][2]["messages"][0]["content"]
    assert content[0]["text"].startswith("The 2 attached image(s) show the domain.")
    assert len(content) == 3
    kind, _, data = content[1]["image_url"]["url"].partition(",")
    assert kind == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (1024, 256)
    note = json.loads(out.read_text())["_about night street"]
    assert note["answered_by"] == f"tiny at {server.url}"
    assert note["images"] == ["night.png", "night.png"]


def test_a_key_in_an_answer_is_not_written(describe, out):
    answer = f"{ANSWER}\n4. Authorization: Bearer sk-secret\n5. soft sk%2Dsecret light\n"
    with serve(answers(answer)) as server:
        arguments = ["night street", "--out", out, "--model", "tiny", "--base-url", server.url]
        status, printed, errors = describe(*arguments, "--api-key", "sk-secret")
    assert status == 0
    assert load_template_lists(out)["night street"][:3] == TEMPLATES
    for text in (printed, "".join(errors), out.read_text()):
        assert "secret" not in text


def test_a_dry_run_asks_nobody_and_writes_nothing(describe, out):
    with serve(answers(ANSWER)) as server:
        status, printed, errors = describe(
            *("night street", "--out", out, "--dry-run", "--model", "tiny"),
            *("--base-url", server.url, "--api-key", "sk-secret"),
        )
    assert (status, errors, server.requests) == (0, [], [])
    assert not out.parent.exists()
    assert f"would ask tiny at {server.url}" in printed
    assert "what makes a night street image look night street" in printed
    assert f"would write the list 'night street' to {out}" in printed
    assert "sk-secret" not in printed


def test_a_dry_run_without_a_model_gives_the_question_to_ask_by_hand(describe):
    status, printed, errors = describe("night street", "--dry-run")
    assert (status, errors) == (0, [])
    assert 'continues "an object ...", for example' in printed  # not as JSON
    assert "None" not in printed


def test_a_dry_run_finds_what_the_run_would_stumble_over(describe, out, pasted, causal_lm_folder):
    describe("fog", "--out", out, "--from-text", pasted)
    assert describe("fog", "--out", out, "--from-text", pasted, "--dry-run")[0] == 1
    picture = ("--image", "x.png", "--local-model", causal_lm_folder)
    assert "--image needs a server" in describe("fog", "--dry-run", *picture)[2][-1]


def test_a_file_with_a_list_that_is_none_is_not_touched(describe, tmp_path, pasted):
    path = tmp_path / "lists.json"
    path.write_text('{"day": "{} at noon"}')
    status, _, errors = describe("fog", "--out", path, "--from-text", pasted)
    assert (status, path.read_text()) == (1, '{"day": "{} at noon"}')
    assert "'day' is not a list of templates" in errors[-1]


def test_a_text_in_utf_16_is_refused(describe, out, pasted):
    pasted.write_text(ANSWER, encoding="utf-16-le")
    errors = describe("fog", "--out", out, "--from-text", pasted)[2]
    assert "cannot be read as UTF-8 text" in errors[-1]
    assert not out.exists()


def test_a_device_that_is_not_there_is_named(describe, out, causal_lm_folder):
    flags = ("--local-model", causal_lm_folder, "--device", "tpux")
    assert "--device tpux cannot be used" in describe("fog", "--out", out, *flags)[2][-1]


def test_pictures_are_sent_as_people_see_them(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6  # a telephone that was held upright
    Image.new("RGB", (60, 40)).save(tmp_path / "turned.jpg", exif=turned)
    Image.new("I;16", (60, 40), 128 * 256).save(tmp_path / "deep.png")
    data = [image_as_url(tmp_path / name) for name in ("turned.jpg", "deep.png")]
    pictures = [Image.open(io.BytesIO(base64.b64decode(d.split(",")[1]))) for d in data]
    assert pictures[0].size == (40, 60)
    assert pictures[1].getpixel((5, 5)) == (128, 128, 128)


def test_an_answer_without_attributes_is_shown(describe, out, pasted):
    pasted.write_text("I'm sorry, I can't help with that.")
    status, _, errors = describe("fog", "--out", out, "--from-text", pasted)
    assert status == 1
    assert errors == [
        "left out: I'm sorry, I can't help with that.",
        "error: no attribute found in the answer (pasted by hand), shown above",
    ]
    assert not out.exists()


def test_a_local_model_is_asked(describe, out, causal_lm_folder):
    arguments = ("fog", "--out", out, "--local-model", causal_lm_folder, "--max-tokens", "20")
    status, _, errors = describe(*arguments)
    # a random model babbles: what it says, greedily and so the same each time, is used or shown
    said = LocalModel(str(causal_lm_folder), "cpu", 20).ask(domain_question("fog", 15))
    templates = parse_answer(said).templates
    assert said
    if templates:
        assert status == 0
        assert load_template_lists(out)["fog"] == templates
    else:
        assert status == 1
        assert not out.exists()
        assert "no attribute found" in errors[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["", "--from-text", "{pasted}"], "the domain '' is empty"),
        (["fog", "--from-text", "no.txt"], "--from-text no.txt: cannot be read"),
        (["fog"], "name the language model with --model or OPENAI_MODEL"),
        (["fog", "--model", "m"], "set OPENAI_API_KEY"),
        (["fog", "--model", "m", "--base-url", "here"], "must begin with http"),
        (["fog", "--model", "m", "--base-url", "http://x", "--image", "{pasted}"], "as an image"),
        (["fog", "--from-text", "{pasted}", "--image", "x.png"], "--from-text asks nobody"),
        (["fog", "--from-text", "{pasted}", "--local-model", "m"], "choose one of"),
        (["fog", "--from-text", "{pasted}", "--count", "0"], "--count is 0"),
        (["fog", "--from-text", "{pasted}", "--name", "_note"], "begin with _"),
        (["fog", "--from-text", "{pasted}", "--out", "{folder}"], "is a folder"),
        (["fog", "--from-text", "{pasted}", "--out", "{pasted}"], "not a JSON file"),
        (["fog", "--from-text", "{pasted}", "--out", "{pasted}/x.json"], "cannot write"),
        (["fog", "--from-text", "{pasted}", "--out", ""], "--out"),
    ],
)
def test_what_cannot_work_is_said_in_a_line(describe, out, pasted, tmp_path, arguments, message):
    filled = [
        text.replace("{pasted}", str(pasted)).replace("{folder}", str(tmp_path))
        for text in arguments
    ]
    if "--out" not in filled:
        filled += ["--out", str(out)]
    status, _, errors = describe(*filled)
    assert status == 1
    assert errors[-1].startswith("error: ")
    assert message in errors[-1]
    assert sum(line.startswith("error") for line in errors) == 1
    assert not out.exists()


def test_without_a_place_to_write(describe, pasted):
    assert "--out is missing" in describe("fog", "--from-text", pasted)[2][-1]
