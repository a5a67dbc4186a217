"""Ask a chat-completions endpoint, with a limit on time and retries where they may help."""

import json
import os
import time
from dataclasses import dataclass
from typing import Any

import urllib3

from piva.errors import InputError, one_line
from piva.noe.settings import BuildNoe
from piva.runs.deadline import within

KEY = "PIVA_CHAT_KEY"  # the environment variable that holds the key; it is written nowhere
BUSY = (408, 409, 425, 429, 500, 502, 503, 504)  # worth another try
LONGEST_PAUSE_S = 8  # between two tries
LARGEST = 2**24  # bytes of an answer


class NoAnswer(Exception):
    """No try was answered in time, or the answer was not a chat completion with text."""


@dataclass(frozen=True)
class Chat:
    """An endpoint, a model's name there, and limits."""

    url: str  # without /chat/completions
    model: str
    timeout_s: float  # of one try
    attempts: int

    def ask(self, messages: list[dict[str, Any]]) -> str:
        """Return the answer's text.

        Raises:
            NoAnswer: the endpoint cannot be reached, is too slow or busy, or sends something else.
            InputError: it refuses the key, the model or the address.
        """
        # Not huggingface_hub.InferenceClient: it follows redirects, and sends HF_TOKEN where no key is set.
        address = f"{self.url.rstrip('/')}/chat/completions"
        key = os.environ.get(KEY, "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        status, answer = self._post(address, {"model": self.model, "messages": messages}, headers)
        if 300 <= status < 400:
            raise NoAnswer(f"{address}: a redirect, which is not followed")
        if status != 200:
            said = one_line(ValueError(answer[:200].decode(errors="replace")))
            found = f"status {status} ({said})"
            raise InputError(address, found, "an answer", f"check url, model and {KEY}")
        try:
            text = json.loads(answer)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            raise NoAnswer(f"{address}: an answer that is not a chat completion") from None
        if not isinstance(text, str):
            raise NoAnswer(f"{address}: an answer without text")
        return text

    def _post(self, address: str, body: dict[str, Any], headers: dict[str, str]) -> tuple[int, bytes]:
        """Return the status and the content of the first try that is answered; raises as `ask`."""

        def post() -> tuple[int, bytes]:
            with urllib3.PoolManager(retries=False) as pool:
                response = pool.request(
                    "POST", address, json=body, headers=headers, timeout=self.timeout_s, preload_content=False
                )
                return response.status, response.read(LARGEST, decode_content=True)

        problem = ""
        for attempt in range(self.attempts):
            time.sleep(min(0.5 * 2**attempt, LONGEST_PAUSE_S) if attempt else 0)
            try:
                status, answer = within(self.timeout_s, post)
            except urllib3.exceptions.LocationValueError as error:
                raise InputError("url", f"{self.url!r} ({one_line(error)})", "http(s)://host/v1") from None
            except (urllib3.exceptions.HTTPError, TimeoutError) as error:
                problem = _cause(error)
                continue
            if status not in BUSY:
                return status, answer
            problem = f"status {status} after {self.attempts} tries"
        raise NoAnswer(f"{address}: {problem}")


def chat(settings: BuildNoe) -> Chat:
    """Return the endpoint of the settings. Raises `InputError` for a missing or malformed url or model."""
    for name in ("url", "model"):
        if not getattr(settings, name):
            remedy = f"add {name}=... or set PIVA_CHAT_{name.upper()}"
            raise InputError(name, "nothing", f"the {name} of a chat-completions endpoint", remedy)
    assert settings.url is not None
    assert settings.model is not None
    if not settings.url.startswith(("http://", "https://")):
        raise InputError("url", repr(settings.url), "an address such as http://127.0.0.1:8000/v1")
    return Chat(settings.url, settings.model, settings.timeout_s, settings.attempts)


def _cause(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return one_line(reason if isinstance(reason, BaseException) else error)
