"""Where generated data and fitted scenes are kept between runs."""

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """`PIVA_CACHE` if set, else the platform's user cache folder. Not created here."""
    return Path(os.environ.get("PIVA_CACHE") or platformdirs.user_cache_dir("piva", appauthor=False)).expanduser()
