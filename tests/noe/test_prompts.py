import base64
import io
import json
import time

import numpy as np
import pytest
from helpers.chat_server import edits_for, good, hang, serving
from PIL import Image

from piva.errors import InputError
from piva.noe.chat import Chat, NoAnswer
from piva.noe.prompts import PAPER, Refused, as_records, ask_edits, check_edit, parse_reply, read_edits

PATH = "objaverse_synthetic/mug"
GOOD = {"source_prompt": "a red mug", "target_prompt": "a blue mug", "type": "texturing"}


@pytest.fixture
def view(tmp_path):
    """Red where it is, and nothing elsewhere."""
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[2:6, 2:6] = (255, 0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "view.png")
    return tmp_path / "view.png"


def ask(endpoint, view, attempts=2, timeout_s=20.0):
    return ask_edits(Chat(endpoint.url, "some-model", timeout_s, attempts), PATH, view)


def test_a_good_answer(view, monkeypatch):
    monkeypatch.setenv("PIVA_CHAT_KEY", "secret")
    with serving(good) as endpoint:
        edits, replies = ask(endpoint, view)
    assert [edit["type"] for edit in edits] == ["texturing", "addition", "translation"]
    assert edits[0] == {
        "source_prompt": "a red mug",
        "target_prompt": "a blue mug",
        "type": "texturing",
        "instruction": "Do it",
    }
    assert json.loads(replies[0]) == edits_for(PATH)
    (request,) = endpoint.requests
    assert request["model"] == "some-model"
    system, user = request["messages"]
    assert all(word in system["content"] for word in ("texturing", "addition", "translation", "JSON"))
    assert user["content"][0]["text"] == f"path: {PATH}"
    shown = user["content"][1]["image_url"]["url"]
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.removeprefix("data:image/png;base64,")))))
    assert (image[0, 0].tolist(), image[4, 4].tolist()) == ([255, 255, 255], [255, 0, 0])
    assert endpoint.headers[0]["Authorization"] == "Bearer secret"


def test_without_a_key_none_is_sent(view, monkeypatch):
    monkeypatch.delenv("PIVA_CHAT_KEY", raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")  # of another host
    with serving(good) as endpoint:
        ask(endpoint, view)
    assert "Authorization" not in endpoint.headers[0]


def test_what_is_no_json_is_asked_again_with_the_reason(view):
    with serving(lambda _: (200, "Certainly! A mug."), good) as endpoint:
        edits, replies = ask(endpoint, view)
    assert len(edits) == 3
    assert replies[0] == "Certainly! A mug."
    *_, reply, reason = endpoint.requests[1]["messages"]
    assert reply == {"role": "assistant", "content": "Certainly! A mug."}
    assert "no JSON" in reason["content"]


def test_answers_that_never_fit_are_handed_back_as_they_came(view):
    with (
        serving(lambda _: (200, "one"), lambda _: (200, "[]")) as endpoint,
        pytest.raises(Refused, match="no addition") as error,
    ):
        ask(endpoint, view)
    assert error.value.replies == ["one", "[]"]
    assert len(endpoint.requests) == 2


def test_a_server_that_hangs_is_left_in_time(view):
    begin = time.monotonic()
    with serving(hang) as endpoint, pytest.raises(NoAnswer, match=r"chat/completions: .*timed out"):
        ask(endpoint, view, attempts=2, timeout_s=0.2)
    assert time.monotonic() - begin < 5
    assert len(endpoint.requests) == 2


def test_a_busy_server_is_asked_again(view):
    with serving(lambda _: (503, {}), good) as endpoint:
        assert len(ask(endpoint, view)[0]) == 3
    with serving(lambda _: (503, {})) as endpoint, pytest.raises(NoAnswer, match="status 503 after 2 tries"):
        ask(endpoint, view)
    assert len(endpoint.requests) == 2


def test_a_redirect_is_not_followed(view, monkeypatch):
    monkeypatch.setenv("PIVA_CHAT_KEY", "secret")
    with (
        serving(good) as other,
        serving(lambda _: (307, {}), location=f"{other.url}/x") as endpoint,
        pytest.raises(NoAnswer, match="a redirect, which is not followed"),
    ):
        ask(endpoint, view)
    assert (len(endpoint.requests), len(other.requests)) == (1, 0)


def test_a_refused_key_ends_it_at_once(view):
    refusal = pytest.raises(InputError, match=r"status 401 .*bad key.*PIVA_CHAT_KEY")
    with serving(lambda _: (401, {"error": "bad key"})) as endpoint, refusal:
        ask(endpoint, view)
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("said", [{}, [], {"choices": []}, {"choices": [{"message": {"content": None}}]}])
def test_other_json_is_no_answer(view, said):
    with serving(lambda _: (200, said)) as endpoint, pytest.raises(NoAnswer, match="an answer"):
        ask(endpoint, view)


def test_nobody_there(view):
    with serving(good) as endpoint:
        pass
    with pytest.raises(NoAnswer, match="chat/completions: "):
        ask(endpoint, view)


def test_fences_around_the_json_are_taken_off():
    text = json.dumps(edits_for(PATH))
    assert parse_reply(f"Here it is:\n```json\n{text}\n```\nWell?", PATH) == parse_reply(text, PATH)


def without(kind):
    return [edit for edit in edits_for(PATH) if edit["type"] != kind]


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"edits": edits_for(PATH)}, "found dict, wanted a list of three edits"),
        (without("translation"), "found no translation, wanted an edit of each type"),
        ([*without("addition"), {"type": "addition"}], r"\[2\]: source_prompt: found nothing"),
        (edits_for("objaverse_synthetic/other"), "path: found another, wanted 'objaverse_synthetic/mug'"),
        ([edits_for(PATH)[0] | {"source_prompt": "a cup"}, *edits_for(PATH)[1:]], "several source prompts"),
        ([3], r"\[0\]: found 3, wanted an object"),
    ],
)
def test_each_bad_reply_has_its_one_line(edits, message):
    with pytest.raises(InputError, match=message) as error:
        parse_reply(json.dumps(edits), PATH)
    assert "\n" not in str(error.value)


def test_a_good_edit_keeps_its_fields():
    assert check_edit(GOOD | {"more": 1}, "x") == GOOD | {"instruction": ""}
    assert check_edit(GOOD | {"instruction": " Paint it blue "}, "x")["instruction"] == "Paint it blue"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source_prompt": ""}, "source_prompt: found 0 words, wanted 1 to 20"),
        ({"target_prompt": "a " * 21}, "target_prompt: found 21 words"),
        ({"target_prompt": "a red mug "}, "target_prompt: found the source prompt again"),
        ({"target_prompt": 3}, "target_prompt: found 3, wanted text"),
        ({"type": "colour"}, "type: found 'colour', wanted one of texturing, addition, translation"),
        ({"instruction": ["x"]}, "instruction: found"),
    ],
)
def test_each_bad_edit_has_its_one_line(changes, message):
    with pytest.raises(InputError, match=message):
        check_edit(GOOD | changes, "x")


def test_the_papers_eleven_pairs():
    edits = read_edits(PAPER)
    assert sum(map(len, edits.values())) == 11
    assert len(edits) == 7
    kinds = [edit["type"] for listed in edits.values() for edit in listed]
    assert {kind: kinds.count(kind) for kind in kinds} == {"texturing": 2, "addition": 6, "translation": 3}
    box = edits["objaverse_synthetic/e114ab027906482abe7daa04eef60e95"]
    assert box[2]["target_prompt"] == "Herb garden box"
    assert {edit["origin"] for edit in box} == {"paper, Table 4"}
    assert "nerf_synthetic/hotdog" in edits


def test_files_written_by_hand(tmp_path):
    path = tmp_path / "edits.json"
    path.write_text(
        json.dumps({"records": [{"path": "mug", **GOOD}, {"path": "nerf_synthetic/lego", **GOOD}]})
    )
    edits = read_edits(path)
    assert list(edits) == ["objaverse_synthetic/mug", "nerf_synthetic/lego"]
    assert edits["objaverse_synthetic/mug"] == [GOOD | {"instruction": "", "origin": "hand"}]
    path.write_text(json.dumps({"records": [GOOD]}))
    with pytest.raises(InputError, match=r"records\[0\]: path: found nothing"):
        read_edits(path)


def test_records_have_ids_of_their_own():
    edits = [GOOD | {"instruction": "", "origin": "hand"}] * 2 + [
        GOOD | {"instruction": "", "origin": "hand", "type": "addition"}
    ]
    records = as_records("objaverse_synthetic/mug", edits)
    assert [record["id"] for record in records] == ["mug/texturing", "mug/texturing-2", "mug/addition"]
    assert {record["path"] for record in records} == {"objaverse_synthetic/mug"}
