"""Who answers at which number, and what the file may say."""

from collections import Counter
from pathlib import Path

import pytest

from trunkline_sim.errors import SimError
from trunkline_sim.pstn_people import KINDS, default_people, load_people, people_of


def names(entries: list[dict[str, object]], *numbers: str, seed: int = 0) -> list[str]:
    people = people_of({"person": entries}, seed=seed)
    return [chosen.cast.name if (chosen := people.choose(number)) else "" for number in numbers]


def test_the_first_pattern_that_fits_wins_and_a_number_of_nobody_is_nobodys() -> None:
    entries: list[dict[str, object]] = [{"number": "+9198*", "kind": "busy"}, {"number": "+91*", "name": "anna"}]
    assert names(entries, "+91980", "+91770", "+49", "+9198#[") == ["busy", "anna", "", "busy"]


def test_without_a_file_the_last_digits_say_who_answers() -> None:
    people = default_people()
    found = {number: people.choose("91980000" + number) for number in ("0486", "0404", "0000", "1234")}
    assert [chosen.cast.name for chosen in found.values() if chosen] == ["busy", "not_in_service", "nothing", "answers"]


def test_those_who_share_a_pattern_share_its_numbers_by_weight_whatever_the_order() -> None:
    entries: list[dict[str, object]] = [{"kind": "busy", "weight": 3}, {"kind": "answers", "weight": 1}]
    numbers = [f"+91{n:010}" for n in range(4000)]
    found = names(entries, *numbers, seed=5)
    assert 2900 < Counter(found)["busy"] < 3100
    assert names(entries, *reversed(numbers), seed=5) == found[::-1]
    assert names(entries, *numbers, seed=6) != found


def test_the_next_call_to_a_number_may_find_somebody_else() -> None:
    entries: list[dict[str, object]] = [
        {"kind": "busy", "then": "anna"},
        {"kind": "answers", "name": "anna", "number": "none", "then": "off"},
        {"kind": "off", "number": "none"},
    ]
    people = people_of({"person": entries})
    told = [people.choose("+911") for _ in range(4)]
    assert [one.cast.name for one in told if one] == ["busy", "anna", "off", "off"]
    assert [one.attempt for one in told if one] == [1, 2, 3, 4]


def test_how_long_it_rings_is_the_seeds_and_the_numbers() -> None:
    tree = {"person": [{"ring_s": [2.0, 8.0]}]}
    one, two = people_of(tree, seed=3), people_of(tree, seed=3)
    first = [chosen.ring_s for n in range(50) if (chosen := one.choose(f"+91{n}"))]
    again = [chosen.ring_s for n in reversed(range(50)) if (chosen := two.choose(f"+91{n}"))]
    assert first == again[::-1]
    assert 2 <= min(first) < 3
    assert 7 < max(first) <= 8


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"kind": "bussy"}, "there are: answers"),
        ({"ring": 2}, "ring"),
        ({"ring_s": [3, 2]}, "the smaller first"),
        ({"code": 100}, "200 to 699"),
        ({"early": "tone:sit"}, "sit-vacant"),
        ({"script": "dance"}, "a step starts with"),
        ({"script": "nobody.call"}, "cannot be read"),
        ({"then": "anna"}, "nobody's name"),
        ({"weight": 0}, "more than 0"),
    ],
)
def test_what_is_wrong_is_said_with_its_entry(entry: dict[str, object], told: str) -> None:
    with pytest.raises(SimError, match=told) as wrong:
        people_of({"person": [{}, entry]})
    assert "2" in str(wrong.value) or "then" in entry


def test_a_file_with_scripts_beside_it(tmp_path: Path) -> None:
    (tmp_path / "anna.call").write_text('say "hello"\nhang up\n')
    (tmp_path / "people.toml").write_text('seed = 9\n[[person]]\nnumber = "+49*"\nscript = "anna.call"\n')
    people = load_people(tmp_path / "people.toml")
    assert (people.seed, len(people.cast[0].script.steps)) == (9, 2)
    with pytest.raises(SimError, match=r"no\.toml"):
        load_people(tmp_path / "no.toml")


def test_every_kind_can_be_had() -> None:
    assert len(people_of({"person": [{"kind": kind} for kind in KINDS]}).cast) == len(KINDS)


def test_the_example_is_a_network_as_a_campaign_meets_it() -> None:
    people = load_people(Path(__file__).parents[3] / "examples" / "people.toml")
    first = Counter(chosen.cast.name for n in range(2000) if (chosen := people.choose(f"+91{n:010}")))
    assert 0.25 < first["answers"] / 2000 < 0.35
    again = [chosen.cast.name for n in range(2000) if (chosen := people.choose(f"+91{n:010}"))]
    assert again.count("free again") == first["busy"] > 100


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "two brackets"),
        ("person = 5", "two brackets"),
        ('[person]\nnumber = "1"', "two brackets"),
        ('seed = "x"\n[[person]]', "seed = 'x': must be a whole number"),
        ("[[person]]\nring_s = inf", "ring_s = inf: must be seconds up to 3600"),
        ("[[person]]\nweight = nan", "weight = nan"),
        ("[[person]]\nweight = inf", "weight = inf"),
        ("[[person]]\nvanish_s = -1", "vanish_s"),
        ("[[person]]\nretry_after_s = -1", "retry_after_s"),
        ("[[person]]\ntransferred = 5000", "transferred"),
        ('[[person]]\nkind = ["busy"]', "there are: answers"),
        ("[[person]]\nring = 3", "ring: no such setting; there are: number, kind"),
        ('[[person]]\nvoice = "joe"', r"\[\[person\]\] 1 .*there are: kal16"),
        ('[[person]]\nscript = "hang up\\ndance"', "answers:2: 'dance'"),
        ("[[person]]\nring_s = ", "Invalid value"),
    ],
)
def test_what_is_wrong_is_said_with_its_file(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "people.toml").write_text(text)
    with pytest.raises(SimError, match=told) as wrong:
        load_people(tmp_path / "people.toml")
    assert "people.toml" in str(wrong.value)


def test_a_script_keeps_its_voice_unless_the_entry_has_one(tmp_path: Path) -> None:
    (tmp_path / "anna.call").write_text('voice: awb\nsay "hello"\n')
    entries = [{"script": "anna.call"}, {"script": "anna.call", "voice": "kal16"}, {}]
    people = people_of({"person": entries}, tmp_path)
    assert [one.script.voice for one in people.cast] == ["awb", "kal16", "kal16"]
