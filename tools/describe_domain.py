"""Asks a language model what makes images of a domain look like it, and writes the templates.

python tools/describe_domain.py "night-time street" --out words.json --model gpt-4o-mini
    [--base-url http://localhost:8000/v1] [--image PATH ...] [--stream] [--dry-run]
python tools/describe_domain.py "night-time street" --out words.json --local-model NAME_OR_FOLDER
python tools/describe_domain.py "night-time street" --out words.json --from-text answer.txt

A list is added to the file under the words for the domain (or --name). Then MODEL.COPT.TEMPLATES
words.json and MODEL.COPT.TARGET_DOMAINS "('night-time street',)" use it.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from copt_d2.errors import InputError
from copt_d2.files import replace_text
from copt_d2.text.answers import parse_answer
from copt_d2.text.language_models import ChatServer, LocalModel, request_text
from copt_d2.text.question import domain_question, image_as_url
from copt_d2.text.templates import checked_list, read_template_file


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("domain", help="words for the domain, such as 'night-time street'")
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON file of template lists")
    parser.add_argument("--name", default="", help="name of the list; default: the domain")
    parser.add_argument("--replace", action="store_true", help="replace a list of this name")
    parser.add_argument("--count", type=int, default=15, help="attributes to ask for")
    parser.add_argument(
        "--image", type=Path, nargs="+", default=[], metavar="PATH", action="extend"
    )
    parser.add_argument("--dry-run", action="store_true", help="ask nobody, write nothing")
    parser.add_argument("--from-text", metavar="FILE", help="an answer pasted by hand; - = stdin")
    parser.add_argument("--local-model", metavar="MODEL", help="a Hugging Face causal model")
    parser.add_argument("--device", default="cpu", help="of the local model")
    parser.add_argument("--max-tokens", type=int, default=1024, help="of the local model's answer")
    server = parser.add_argument_group("a server of the OpenAI chat-completions protocol")
    env = os.environ.get
    server.add_argument("--base-url", default=env("OPENAI_BASE_URL", ""), help="OPENAI_BASE_URL")
    server.add_argument("--model", default=env("OPENAI_MODEL", ""), help="OPENAI_MODEL")
    server.add_argument("--api-key", default="", help="better: OPENAI_API_KEY")
    server.add_argument("--timeout", type=float, default=60.0, help="seconds of one try")
    server.add_argument("--retries", type=int, default=4)
    server.add_argument("--stream", action="store_true", help="receive the answer in pieces")
    return parser


def build_model(args: argparse.Namespace) -> ChatServer | LocalModel:
    """Who is asked."""
    if args.local_model:
        return LocalModel(args.local_model, args.device, args.max_tokens)
    return ChatServer(
        args.base_url,
        args.model,
        args.api_key or os.environ.get("OPENAI_API_KEY", ""),
        timeout=args.timeout,
        retries=args.retries,
        stream=args.stream,
    )


def read_answer(path: str) -> str:
    """A pasted answer.

    Raises:
        InputError: if the file cannot be read as UTF-8 text.
    """
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--from-text {path}: cannot be read as UTF-8 text ({error})") from error
    if "\0" in text:  # UTF-16 without its mark reads as UTF-8 with these
        raise InputError(f"--from-text {path}: cannot be read as UTF-8 text (it holds NUL bytes)")
    return text


def check_output(out: Path | None, name: str, replace: bool) -> dict[str, Any]:
    """The present content of the output file, before anybody is asked.

    Raises:
        InputError: without ``--out``, if the file is no file of lists, or has this list.
    """
    if out is None:
        raise InputError("--out is missing: name the JSON file that gets the templates")
    if name.startswith("_"):
        raise InputError(f"--name {name}: names that begin with _ are notes, not lists")
    if out.is_dir():
        raise InputError(f"--out {out} is a folder: name a JSON file in it")
    if not out.exists():
        return {}
    content = read_template_file(out)
    for other, templates in content.items():
        if not other.startswith("_"):
            checked_list(out, other, templates)
    if name in content and not replace:
        raise InputError(f"--out {out} has a list '{name}': add --replace, or choose a --name")
    return content


def answer_of(args: argparse.Namespace, question: str) -> tuple[str, str]:
    """An answer and who gave it."""
    if args.from_text:
        if args.image:
            raise InputError("--image sends images to a server, --from-text asks nobody")
        return read_answer(args.from_text), "pasted by hand"
    model = build_model(args)
    return model.ask(question, [image_as_url(path) for path in args.image]), model.name


def dry_run(args: argparse.Namespace, question: str, name: str) -> None:
    """Says what would be done; without a model, the question alone, for asking by hand."""
    for path in args.image:
        image_as_url(path)
    if args.from_text:
        print(f"would read {args.from_text}, an answer to:\n{question}")
    elif not (args.model or args.local_model):
        print(f"ask a language model by hand, and give its answer with --from-text:\n{question}")
    else:
        request = request_text(question, len(args.image))
        print(f"would ask {build_model(args).name}:\n{request}")
    if args.out is not None:
        check_output(args.out, name, args.replace)
        print(f"would write the list '{name}' to {args.out}")


def describe(args: argparse.Namespace) -> None:
    """Asks, parses, writes.

    Raises:
        InputError: for whatever the user can mend.
    """
    if args.from_text and args.local_model:
        raise InputError("choose one of --from-text and --local-model")
    question = domain_question(args.domain, args.count, len(args.image))
    name = args.name or args.domain.strip()
    if args.local_model and args.image:
        raise InputError("--image needs a server: --local-model reads text only")
    if args.dry_run:
        dry_run(args, question, name)
        return
    content = check_output(args.out, name, args.replace)
    answer, who = answer_of(args, question)
    parsed = parse_answer(answer)
    for piece in parsed.left_out:
        print(f"left out: {piece}", file=sys.stderr)
    if not parsed.templates:
        raise InputError(f"no attribute found in the answer ({who}), shown above")
    note = {"question": question, "answered_by": who, "images": [p.name for p in args.image]}
    content[name] = parsed.templates
    content[f"_about {name}"] = {**note, "answer": answer}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    replace_text(args.out, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    print("\n".join(parsed.templates))
    print(f"wrote {len(parsed.templates)} templates as '{name}' to {args.out}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    args = build_parser().parse_args(argv)
    try:
        describe(args)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: cannot write {args.out} ({error.strerror or error})", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
