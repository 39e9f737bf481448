"""A scenario with a mistake gets one message that names key, file and line, and exit code 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from envs.cli import main
from envs.errors import ScenarioError
from envs.files.document import MAX_BYTES
from envs.files.scenario_file import load_scenario

NEW_CHANNEL = "channels:\n  - {name: fax, fatigue_points: 2}"
NEW_STAGE = "  - {name: lost}\n  - {name: churned}"
LONG_CAP = "  caps: [{contacts: 15, days: 31}]\n  inbox: {"

# name: (text in tiny.yaml, what a person wrote instead, words the message must hold)
MISTAKES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "unknown key": ("goodwill: 0.5", "goodwil: 0.5", ("behavior.churn.goodwil", "did you mean 'goodwill'?")),
    "unknown key at the top": ("timezone:", "timezon:", ("timezon: unknown key", "did you mean 'timezone'?")),
    "missing key": ("discount: 0.9", "# none", ("discount: missing",)),
    "tag": ("discount: 0.9", "discount: !!python/name:os.system 0.9", ("YAML tags are not allowed",)),
    "private tag": ("discount: 0.9", "discount: !secret 0.9", ("YAML tags are not allowed", "!secret")),
    "duplicate key": ("discount: 0.9", "discount: 0.9\ndiscount: 0.8", ("duplicate key discount",)),
    "merge key": ("prices:", "prices:\n  <<: {churn: 1}", ("merge keys",)),
    "no finite number": ("discount: 0.9", "discount: .nan", ("not a finite number", ".nan")),
    "no closing bracket": ("[email, phone]", "[email, phone", ("not YAML",)),
    "no date": ("discount: 0.9", "discount: 2026-02-30", ("not a value", "2026-02-30")),
    "probability": (
        "rate: {email: 0.10",
        "rate: {email: 1.7",
        ("behavior.response.rate.email", "0..1", "1.7"),
    ),
    "odds": ("prospect: 2.0", "prospect: -2", ("touchpoint.offer.prospect", "above 0", "-2")),
    "text for a number": ("margin: 0.3", "margin: much", ("prices.margin", "a number", "'much'")),
    "bad name": ("name: wary", "name: Wary Ones", ("clusters[1].name", "'Wary Ones'")),
    "fraction of a day": ("expiry_days: 2", "expiry_days: 2.5", ("memory.inbox.expiry_days", "whole number")),
    "unknown target": ("lapse_to: prospect", "lapse_to: prospct", ("stages[1].lapse_to", "'prospect'?")),
    "unknown channel": ("rate: {email: 0.50", "rate: {emial: 0.50", ("resolution.rate.emial", "'email'?")),
    "unknown touchpoint": ("offer: 8.0", "ofer: 8.0", ("purchase.response.ofer", "did you mean 'offer'?")),
    "unknown objective": ("default_objective: l", "default_objective: x", ("unknown objective",)),
    "unknown cluster": ("default: keen", "default: ken", ("assignment.default", "did you mean 'keen'?")),
    "unknown zone": ("Europe/Berlin", "Europe/Berln", ("timezone", "did you mean 'Europe/Berlin'?")),
    "name used twice": ("name: wary", "name: keen", ("clusters[1].name", "used twice")),
    "rule on a foreign channel": (
        "[inbound]",
        "[sms]",
        ("business_rules[0].channels[0]", "channel of reply"),
    ),
    "inbound without a reply": (
        "touchpoint: reply",
        "touchpoint: inform",
        ("channel of inform", "'inbound'"),
    ),
    "move out of the end": (
        "{name: churned}",
        "{name: churned, lapse_to: prospect}",
        ("stages[2].lapse_to",),
    ),
    "customer at the end": ("{name: churned}", "{name: churned, customer: true}", ("stages[2].customer",)),
    "rate without a move": ("lapse_to: prospect, ", "", ("lapse.rate.customer", "no lapse_to")),
    "idle without a target": ("advance_to", "idle_days: 5, advance_to", ("stages[0].idle_days", "idle_to")),
    "unreachable stage": ("  - {name: churned}", NEW_STAGE, ("stages[2]", "unreachable stage", "'lost'")),
    "unused channel": ("channels:", NEW_CHANNEL, ("channels[0]", "no touchpoint can use", "'fax'")),
    "points at the drain": (
        "fatigue_points: 2",
        "fatigue_points: 1",
        ("channels[0].fatigue_points", "drain"),
    ),
    "bucket that drains empty": ("{capacity: 2", "{capacity: 1", ("memory.engagement.capacity", "drains")),
    "goodwill above its range": ("neutral: 1", "neutral: 2", ("memory.goodwill.neutral", "at most")),
    "patience beyond expiry": ("patience_days: 1", "patience_days: 2", ("memory.inbox.patience_days",)),
    "gap without its length": (
        "  inbox: {",
        "  opportunities: {every: gap}\n  inbox: {",
        ("needs gap_days",),
    ),
    "reply without requests": (", inbound: true", "", ("inbound channel",)),
    "offer nobody holds": (
        "    fatigue: 0.6",
        "    offer_in_hand: {offer: 2}",
        ("offer_in_hand.offer", "offer_days"),
    ),
    "shares": ("share: 0.3", "share: 0.4", ("clusters", "sum to 1", "1.1")),
    "start mix": ("{prospect: 1}", "{prospect: 0.9}", ("clusters[1].start.stages", "sum to 1", "0.9")),
    "too many states": ("fatigue_capacity: 3", "fatigue_capacity: 30", ("4464", "fatigue 31", "consent 4")),
    "too many cap levels": ("  inbox: {", LONG_CAP, ("memory.caps", "too many states")),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_line_with_its_place(
    mistake: str, tiny_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right, wrong, words = MISTAKES[mistake]
    text = tiny_path.read_text(encoding="utf-8")
    assert right in text
    path = tmp_path / "wrong.yaml"
    path.write_text(text.replace(right, wrong, 1), encoding="utf-8")
    assert main(["solve", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    for word in (*words, str(path)):
        assert word in err


def test_the_line_is_that_of_the_default_a_cluster_inherited(tiny_path: Path, tmp_path: Path) -> None:
    text = tiny_path.read_text(encoding="utf-8").replace("repeat: 2.0", "repeat: -2.0")
    line = 1 + text[: text.index("repeat: -2.0")].count("\n")
    path = tmp_path / "wrong.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    expected = f"behavior.inbound.repeat: expected above 0 and at most 1e+06, got -2.0 ({path}:{line})"
    assert str(caught.value) == expected


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
UNREADABLE: dict[str, tuple[bytes, str]] = {
    "alias bomb": (BOMB.encode(), "aliases expand to too much"),
    "alias inside its anchor": (b"a: &a [*a]", "aliases expand to too much"),
    "endless nesting": (b"[" * 5000, "nested too deeply"),
    "empty": (b"# nothing\n", "empty"),
    "no mapping": (b"- 1\n", "not a mapping"),
    "two documents": (b"a: 1\n---\nb: 2\n", "not YAML"),
    "not text": (b"name: \xff\xfe\n", "not UTF-8"),
    "control character": (b"name: \x00\n", "not YAML"),
    "too large": (b"#" * (MAX_BYTES + 1), "too large"),
    "endless number": (b"discount: " + b"9" * 5000, "not a value"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_file_that_is_no_scenario_is_refused(kind: str, tmp_path: Path) -> None:
    raw, words = UNREADABLE[kind]
    path = tmp_path / "wrong.yaml"
    path.write_bytes(raw)
    with pytest.raises(ScenarioError, match=words) as caught:
        load_scenario(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "a": 2}', "duplicate key 'a'"),
        ('{"discount": NaN}', "not a finite number"),
        ('{"a": 1', "not JSON"),
        ("[" * 100_000, "not usable JSON"),
    ],
)
def test_json_is_read_as_strictly(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError, match=words):
        load_scenario(path)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="no such file"):
        load_scenario(tmp_path / "absent.yaml")
    with pytest.raises(ScenarioError, match="cannot be read"):
        load_scenario(tmp_path)


def test_a_process_prints_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "envs.cli", "solve", str(tmp_path / "absent.yaml"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("journey: ")
    assert done.stderr.count("\n") == 1
