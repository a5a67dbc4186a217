"""Words that a small prior has never seen, and what to do where the toys' prior is asked for more."""

import re
from collections.abc import Callable, Sequence

from piva.errors import InputError

SMALL_VOCABULARY = 5000  # tokens; below, a word was learned whole or not at all
ENDINGS = re.compile(r"['\u2019](?:s|t|re|ve|m|ll|d)\b")  # CLIP reads them as words of their own
# docs/stable_diffusion.md: downloads and memory counted from parameters, times estimated
REAL = (
    "for other pictures and words take profile=gpu: it downloads 5.2 GB (Stable Diffusion) and 2.3 GB "
    "(metric networks; none with metrics=pixels) by piva fetch profile=gpu, and needs a GPU with 6 GB of "
    "memory (9 GB for scenes) and a minute or two for a picture; prior.force=true goes on regardless"
)


def unknown_words(prompt: str, tokenize: Callable[[str], Sequence[str]]) -> list[str]:
    """Return the words of a prompt that a tokenizer spells in pieces; punctuation is no word."""
    words = re.findall(r"\w+", ENDINGS.sub(" ", prompt))
    return [word for word in dict.fromkeys(words) if len(tokenize(word)) > 1]


def check_words(prompt: str, tokenize: Callable[[str], Sequence[str]]) -> None:
    """Raise `InputError` if the toys' prior does not know each word of a prompt."""
    if unknown := unknown_words(prompt, tokenize):
        found = f"{', '.join(map(repr, unknown))}, which prior=toys has never seen"
        wanted = "a toy such as 'a red mug with a blue hat on grass' (piva toys lists more)"
        raise InputError(f"prompt {prompt!r}", found, wanted, REAL)
