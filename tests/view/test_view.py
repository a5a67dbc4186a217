"""The viewer as a user starts it, and what it shows against the field's own renders."""

import contextlib
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.balls import write_run
from helpers.plys import ball_of_splats, write_ply
from PIL import Image

from piva.cameras.lens import pinhole
from piva.cameras.poses import orbit
from piva.errors import InputError
from piva.export.edits import find
from piva.export.stored import read_edit
from piva.view.__main__ import check_port, main
from piva.view.looks import BOTH, CURTAIN, EDIT, ORIGINAL, Camera, labelled, of_fields, of_picture, picture
from piva.view.origin import origins
from piva.view.panel import plain

C2W = orbit(-70, 20, 3.0)
FOV = np.radians(45)


def at(aspect):
    return Camera(C2W, FOV, aspect)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def pair(run):
    return read_edit(find(run)[0], "cpu")


def seen(stored, width, height):
    lens = pinhole(45, height, width)
    return np.rint(stored.view(torch.from_numpy(C2W), lens).rgb.numpy() * 255)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_side_by_side_are_two_whole_views(pair):
    image = picture(of_fields(pair), BOTH, 0.5, at(2.0), 96)
    assert image.shape == (48, 96, 3)
    edit, original = pair
    np.testing.assert_array_equal(image[:, :48], seen(original, 48, 48))
    np.testing.assert_array_equal(image[:, 48:], seen(edit, 48, 48))
    assert np.abs(image[:, :48].astype(int) - image[:, 48:]).max() > 60


def test_the_curtain_parts_one_view(pair):
    image = picture(of_fields(pair), CURTAIN, 0.25, at(0.5), 64)
    assert image.shape == (64, 32, 3)
    for mode, part in ((ORIGINAL, slice(0, 8)), (EDIT, slice(8, None))):
        whole = picture(of_fields(pair), mode, 0.0, at(0.5), 64)
        np.testing.assert_array_equal(image[:, part], whole[:, part])


def test_without_the_original_there_is_the_edit(pair):
    np.testing.assert_array_equal(
        picture(of_fields((pair[0], None)), BOTH, 0.5, at(1.0), 32), seen(pair[0], 32, 32)
    )


def test_a_picture_is_seen_whole_from_everywhere():
    red = np.full((10, 20, 3), (255, 0, 0), np.uint8)
    square = of_picture(red)(at(1.0), 40, 40)
    assert (square[10:30] == (255, 0, 0)).all()  # 20 x 40, in its own proportions
    assert (square[[*range(10), *range(30, 40)]] == 255).all()


@pytest.mark.parametrize(("mode", "left", "right"), [(BOTH, 4, 100), (ORIGINAL, 4, 4), (EDIT, 4, 4)])
def test_labels_stand_above_what_they_name(mode, left, right):
    grey = np.full((60, 192, 3), 128, np.uint8)
    across = np.flatnonzero((labelled(grey, mode) != grey).any(axis=(0, 2)))
    assert abs(across.min() - left) < 3
    assert np.abs(across - right).min() < 3
    assert (across.max() > 96) == (mode == BOTH)


def test_somebody_elses_prompt_is_no_markup():
    assert plain("a <b>cat</b> [x](y)") == r"a \<b\>cat\<\/b\> \[x\]\(y\)"


def test_a_taken_port_is_named():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"port: found {port}, which cannot be had"):
            check_port(port)


def test_it_serves_this_machine_alone_and_ends_with_ctrl_c(run):
    port = free_port()
    command = [sys.executable, "-m", "piva.view", str(run), f"port={port}", "moving=16", "still=16"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout.readline() == f"http://127.0.0.1:{port} shows 2 edits; Ctrl-C ends it\n"
            page = urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=30).read()
            assert b"<html" in page
            listening = listeners(port)
            assert listening == {"0100007F"}  # 127.0.0.1 as the kernel writes it
            taken = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
            assert (taken.returncode, taken.stderr.count("\n")) == (2, 1)
            assert f"port: found {port}" in taken.stderr
        finally:
            server.send_signal(2)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(30)
            server.kill()
        assert server.returncode == 130


def listeners(port):
    """The addresses that something listens at on this port, of the machine's own table (Linux)."""
    lines = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return {
        local.split(":")[0]
        for _, local, _, state, *_ in lines
        if state == "0A" and int(local.split(":")[1], 16) == port
    }


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["nowhere.png"], "PATH: found nothing that can be read at 'nowhere.png'"),
        (["text.png"], "text.png: found an unreadable file"),
        (["."], "PATH: found no config.yaml"),
        (["photo.png", "prot=8081"], "prot: found no such key, wanted a key of the configuration; did you"),
        (["torn.ply"], "torn.ply: found no header of a .ply"),
        (["scene.spz"], "scene.spz: found splats packed as .spz"),
        (
            ["ball.ply", "field=voxels"],
            "field: found settings of another representation, wanted field=splats",
        ),
        (["ball.ply", "dataset.up=w"], "dataset.up: found"),
        (["photo.png", "score=nope"], "score=nope: found no such option"),
    ],
)
def test_what_cannot_be_shown_is_one_line_and_exit_code_2(words, named, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)  # a command line before this one sets it
    Path("text.png").write_text("no picture")
    Path("scene.spz").write_bytes(b"packed")
    Path("torn.ply").write_bytes(b"ply\n")
    write_ply(Path("ball.ply"), ball_of_splats(8))
    Image.new("RGB", (32, 32)).save("photo.png")
    monkeypatch.setattr(sys, "argv", ["piva view", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    out, err = capfd.readouterr()
    assert (stop.value.code, out, err.count("\n")) == (2, "", 1)
    assert named in err


def test_a_run_without_its_settings_can_only_be_looked_at(run):
    (first, _) = origins(run, [], "cpu")
    assert first.overrides is None
    with pytest.raises(InputError, match=r"found a run without run\.json"):
        first.settings(first.first_wish())


def test_bad_input_is_answered_before_torch(run, tmp_path):
    shutil.copy(run / "config.yaml", tmp_path)
    code = """
import sys
from piva.errors import InputError
from piva.view.__main__ import view
for words in ([], ["nowhere"], ["RUN", "port=0"], ["RUN", "device=mps"], ["EMPTY"]):
    try:
        view(*words)
    except InputError as error:
        print(str(error).split(":")[0], "torch" in sys.modules)
""".replace("RUN", str(run)).replace("EMPTY", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    wanted = ["PATH False", "PATH False", "port False", "device False", f"{tmp_path} False"]
    assert done.stdout.splitlines() == wanted, done.stderr
