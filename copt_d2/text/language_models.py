"""Who answers the question: a server that speaks OpenAI's protocol, or a local model."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .encoders.base import UNREADABLE, one_line
from .encoders.weights import find_weights

if TYPE_CHECKING:
    from openai import OpenAI

LONGEST_WAIT = 60.0  # seconds between two tries

logger = logging.getLogger(__name__)


class _Retry(Exception):
    """A failure that may pass; ``wait`` = seconds that the server asks for."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True)
class ChatServer:
    """A server of the OpenAI chat-completions protocol.

    Attributes:
        base_url: "http://host:port/v1"; "" = OpenAI's own.
        model: its name there.
        api_key: the key, never printed; "" = none.
        timeout: seconds for one try.
        retries: further tries after one that failed by overload, connection or a broken answer.
        backoff: seconds before the second try; doubled for each one after it.
        stream: whether the answer is sent piece by piece.
    """

    base_url: str
    model: str
    api_key: str = field(default="", repr=False)
    timeout: float = 60.0
    retries: int = 4
    backoff: float = 1.0
    stream: bool = False

    def __post_init__(self) -> None:
        if not self.model:
            raise InputError("name the language model with --model or OPENAI_MODEL")
        if not self.api_key and not self.base_url:
            raise InputError(
                "OpenAI's server wants a key: set OPENAI_API_KEY, or name another server with "
                "--base-url, or paste an answer with --from-text"
            )
        if self.base_url and not self.base_url.startswith(("http://", "https://")):
            raise InputError(f"--base-url {self.base_url}: must begin with http:// or https://")
        if self.timeout <= 0 or self.retries < 0:
            raise InputError("--timeout must be above 0 seconds, --retries 0 or more")

    @property
    def name(self) -> str:
        """Model and server."""
        return f"{self.model} at {self.base_url or 'OpenAI'}"

    def ask(self, question: str, image_urls: Sequence[str] = ()) -> str:
        """The answer to a question.

        Raises:
            InputError: if the server refuses, or no try gives an answer.
        """
        from openai import OpenAI

        # the client's own retries are off: those below cover broken answers too
        client = OpenAI(
            base_url=self.base_url or None,
            api_key=self.api_key or "none",
            timeout=self.timeout,
            max_retries=0,
        )
        with client:
            for attempt in range(self.retries + 1):
                try:
                    return self._try(client, _messages(question, image_urls))
                except _Retry as failure:
                    if attempt == self.retries:
                        raise InputError(
                            f"{self.name}: no answer after {attempt + 1} tries, the last one: "
                            f"{failure}"
                        ) from failure
                    asked = failure.wait
                    wait = self.backoff * 2**attempt if asked is None else asked
                    wait = min(wait, LONGEST_WAIT)
                    logger.warning("%s; next try in %.1f s", failure, wait)
                    sleep(wait)
        raise AssertionError  # the last try returns or raises

    def _try(self, client: "OpenAI", messages: list[dict[str, Any]]) -> str:
        import openai

        try:
            answer = self._answer(client, messages)
        except openai.APITimeoutError as error:
            raise _Retry(f"no answer within {self.timeout:g} s") from error
        except (openai.RateLimitError, openai.InternalServerError) as error:
            asked = error.response.headers.get("retry-after", "")
            wait = float(asked) if asked.replace(".", "", 1).isdigit() else None
            raise _Retry(f"status {error.status_code}: {one_line(error)}", wait) from error
        except (
            openai.APIStatusError,
            UnicodeEncodeError,
        ) as error:  # a wrong key, model or request
            raise InputError(f"{self.name} refuses: {one_line(error)}") from error
        except openai.APIError as error:
            cause = f" ({one_line(error.__cause__)})" if error.__cause__ else ""
            raise _Retry(f"{one_line(error)}{cause}") from error
        except (ValueError, AttributeError, TypeError, IndexError, KeyError) as error:
            raise _Retry(f"not the protocol's JSON ({one_line(error)})") from error
        if not answer.strip():
            raise _Retry("an empty answer")
        return answer

    def _answer(self, client: "OpenAI", messages: list[dict[str, Any]]) -> str:
        request: Any = client.chat.completions.create
        if not self.stream:
            response = request(model=self.model, messages=messages)
            return response.choices[0].message.content or ""
        pieces, end = [], monotonic() + self.timeout
        with request(model=self.model, messages=messages, stream=True) as chunks:
            for chunk in chunks:
                if monotonic() > end:  # the client's limit is that of one piece
                    raise _Retry(f"no whole answer within {self.timeout:g} s")
                pieces += [choice.delta.content or "" for choice in chunk.choices]
        return "".join(pieces)


@dataclass(frozen=True)
class LocalModel:
    """A causal language model of the Hugging Face hub or a folder, run here, always the likeliest
    word (no random numbers).

    Attributes:
        model: name on the hub (from the cache), perhaps with "@REVISION", or a folder.
        device: "cpu", "cuda".
        max_tokens: length of the answer.
    """

    model: str
    device: str = "cpu"
    max_tokens: int = 1024

    @property
    def name(self) -> str:
        """The model."""
        return self.model

    def ask(self, question: str, image_urls: Sequence[str] = ()) -> str:
        """The answer to a question; see :class:`ChatServer`."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        if self.max_tokens < 1:
            raise InputError(f"--max-tokens is {self.max_tokens}; it must be 1 or more")
        if image_urls:
            raise InputError("--image needs a server: --local-model reads text only")
        folder = self._folder()
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
            model = model.to(self.device).eval()
        except UNREADABLE as error:
            raise InputError(
                f"--local-model {self.model}: cannot be read as a causal language model "
                f"({one_line(error)})"
            ) from error
        text = question + "\n"
        if tokenizer.chat_template:
            text = tokenizer.apply_chat_template(
                _messages(question, ()), tokenize=False, add_generation_prompt=True
            )
        # a chat template writes its own start token
        inputs = tokenizer(
            text, return_tensors="pt", add_special_tokens=not tokenizer.chat_template
        )
        tokens = inputs["input_ids"].to(self.device)  # (1, n)
        with torch.inference_mode():
            output = model.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                max_new_tokens=self.max_tokens,
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id or 0,
            )
        return tokenizer.decode(output[0, tokens.shape[1] :], skip_special_tokens=True)

    def _folder(self) -> str:
        if Path(self.model).is_dir():
            return self.model
        return str(
            find_weights(self.model, "", key="--local-model", instead="or name a folder").path
        )


def _messages(question: str, image_urls: Sequence[str]) -> list[dict[str, Any]]:
    """The chat: one question, with images as the protocol wants them."""
    if not image_urls:
        return [{"role": "user", "content": question}]
    images = [{"type": "image_url", "image_url": {"url": url}} for url in image_urls]
    return [{"role": "user", "content": [{"type": "text", "text": question}, *images]}]


def request_text(question: str, image_count: int) -> str:
    """What would be sent, for people."""
    return json.dumps(_messages(question, ["(image)"] * image_count), indent=2, ensure_ascii=False)
