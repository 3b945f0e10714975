"""Who answers the question: a server that speaks OpenAI's protocol, or a local model."""

import asyncio
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ..errors import InputError
from .encoders.base import UNREADABLE, one_line
from .encoders.weights import find_weights
from .redaction import without_secret

if TYPE_CHECKING:
    from openai import AsyncOpenAI

LONGEST_WAIT = 60.0  # seconds between two tries
PASSING = (408, 409, 429)  # and all from 500: statuses of failures that may pass

logger = logging.getLogger(__name__)


class _Unusable(Exception):
    """An answer that is none."""


@dataclass(frozen=True)
class _Failure:
    """Why a try gave no answer; ``wait`` = seconds that the server asks for, ``final`` = no further
    try would give one.
    """

    reason: str
    wait: float | None = None
    final: bool = False


@dataclass(frozen=True)
class ChatServer:
    """A server of the OpenAI chat-completions protocol.

    Attributes:
        base_url: "http://host:port/v1"; "" = OpenAI's own.
        model: its name there.
        api_key: the key, never printed; "" = none.
        timeout: seconds for one whole try, however many signs of life the server gives.
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
            shown = without_secret(self.base_url, self.api_key)
            raise InputError(f"--base-url {shown}: must begin with http:// or https://")
        try:
            urlsplit(self.base_url)
        except ValueError as error:
            raise InputError(f"--base-url {self.base_url}: {error}") from None
        if not self.api_key.strip().isascii() or not self.api_key.strip().isprintable():
            raise InputError("the key (--api-key, OPENAI_API_KEY) holds letters that no key has")
        if not self.timeout > 0 or self.retries < 0:
            raise InputError("--timeout must be above 0 seconds, --retries 0 or more")

    @property
    def name(self) -> str:
        """Model and server, without what the URL may hold of secrets."""
        parts = urlsplit(self.base_url)
        server = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        return self._hidden(f"{self.model} at {server if self.base_url else 'OpenAI'}")

    def _hidden(self, text: str) -> str:
        """What leaves this class: servers and libraries quote what they were sent."""
        for secret in (self.api_key, unquote(urlsplit(self.base_url).password or "")):
            text = without_secret(text, secret)
        return text

    def ask(self, question: str, image_urls: Sequence[str] = ()) -> str:
        """The answer to a question.

        Raises:
            InputError: if the server refuses, or no try gives an answer; without a cause, which
                could quote the key.
        """
        messages = _messages(question, image_urls)
        for attempt in range(self.retries + 1):
            outcome = self._try(messages)
            if isinstance(outcome, str):
                return self._hidden(outcome)
            if outcome.final:
                raise InputError(self._hidden(f"{self.name} {outcome.reason}"))
            if attempt < self.retries:
                # a server that asks for no wait at all is spared all the same
                wait = min(outcome.wait or self.backoff * 2**attempt, LONGEST_WAIT)
                logger.warning("%s; next try in %.1f s", self._hidden(outcome.reason), wait)
                sleep(wait)
        told = f"no answer after {self.retries + 1} tries, the last one: {outcome.reason}"
        raise InputError(self._hidden(f"{self.name}: {told}"))

    def _try(self, messages: list[dict[str, Any]]) -> str | _Failure:
        import openai

        try:
            answer, end = asyncio.run(self._answer(messages))
        except (openai.APITimeoutError, TimeoutError):
            return _Failure(f"no whole answer within {self.timeout:g} s")
        except openai.APIStatusError as error:
            if error.status_code in PASSING or error.status_code >= 500:
                wait = _seconds(error.response.headers.get("retry-after", ""))
                return _Failure(f"status {error.status_code}: {self._told(error)}", wait)
            # a wrong key, model or request
            return _Failure(f"refuses: {self._told(error)}", final=True)
        except openai.APIError as error:
            cause = f" ({self._told(error.__cause__)})" if error.__cause__ else ""
            return _Failure(f"{self._told(error)}{cause}")
        except (ValueError, AttributeError, TypeError, IndexError, KeyError) as error:
            return _Failure(f"not the protocol's JSON ({self._told(error)})")
        except _Unusable as error:
            return _Failure(self._told(error))
        except Exception as error:  # such as a proxy that the client needs a package for
            return _Failure(f"cannot be asked: {self._told(error)}", final=True)
        if not answer.strip():
            return _Failure("an empty answer")
        if end == "length":
            logger.warning("%s cut its answer off at its limit of length", self.name)
        return answer

    def _told(self, error: BaseException) -> str:
        """A library's message in one line, which may cut it: without the key before that."""
        return one_line(ValueError(self._hidden(str(error)))) or type(error).__name__

    async def _answer(self, messages: list[dict[str, Any]]) -> tuple[str, str]:
        """An answer and why it ends there."""
        from openai import AsyncOpenAI

        # The client's own retries are off: those above cover broken answers too. Its own limit of
        # time is that of one piece; servers under load send blank lines for minutes.
        async with (
            AsyncOpenAI(
                base_url=self.base_url or None,
                api_key=self.api_key.strip() or "none",
                timeout=self.timeout,
                max_retries=0,
            ) as client,
            asyncio.timeout(self.timeout),
        ):
            if self.stream:
                return await self._streamed(client, messages)
            response = await client.chat.completions.create(model=self.model, messages=messages)
            if getattr(response, "error", None):
                raise _Unusable(f"the server says {response.error}")
            choice = response.choices[0]
            return _text_of(choice.message.content), choice.finish_reason or ""

    async def _streamed(
        self, client: "AsyncOpenAI", messages: list[dict[str, Any]]
    ) -> tuple[str, str]:
        pieces, end = [], ""
        async with await client.chat.completions.create(
            model=self.model, messages=messages, stream=True
        ) as chunks:
            async for chunk in chunks:
                for choice in chunk.choices:
                    pieces.append(_text_of(choice.delta.content))
                    end = choice.finish_reason or end
        if pieces and not end:
            raise _Unusable("the answer broke off")
        return "".join(pieces), end


def _text_of(content: Any) -> str:
    """The text of a message; some servers send it in parts."""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if "text" in part)
    return content or ""


def _seconds(text: str) -> float | None:
    """A header's seconds, or its date from now on; ``None`` if it is neither."""
    if re.fullmatch(r"[0-9]+(?:\.[0-9]*)?", text):
        return float(text)
    try:
        wait = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None
    return max(wait, 0.0)


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
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            raise InputError(f"--device {self.device} cannot be used: {one_line(error)}") from error
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
