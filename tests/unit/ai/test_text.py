"""Written text becomes words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.ai.cascade.text import number, ordinal, speakable, year


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("It is $4.50.", "It is four dollars and fifty cents."),
        ("$1, $0.99, £1.01", "one dollar, ninety nine cents, one pound and one penny"),
        ("₹1,250.75", "one thousand two hundred fifty rupees and seventy five paise"),
        ("Rs 1,25,000", "one lakh twenty five thousand rupees"),
        ("$2 million", "two million dollars"),
        ("at 4:30 p.m. today", "at four thirty P M today"),
        ("until 22:00", "until ten P M"),
        ("11:00-22:00", "eleven A M to ten P M"),
        ("9 AM - 10 PM.", "nine A M to ten P M."),
        ("at 00:30", "at twelve thirty A M"),
        ("at 9:05", "at nine oh five"),
        ("ORD-00012", "O R D zero zero zero one two"),
        ("call 555-0134", "call five five five, zero one three four"),
        ("+1 555 010 0199", "plus one, five five five, zero one zero, zero one nine nine"),
        ("+918069000000", "plus nine one, eight zero six, nine zero zero, zero zero zero zero"),
        ("(555) 123-4567", "five five five, one two three, four five six seven"),
        ("on 2026-11-21", "on November twenty first, twenty twenty six"),
        ("November 3, 2005", "November third, two thousand five"),
        ("12/05/2026", "December fifth, twenty twenty six"),
        ("25/12/2026", "December twenty fifth, twenty twenty six"),
        ("the 3rd and 21st", "the third and twenty first"),
        ("12.5% off", "twelve point five percent off"),
        ("1,234 at -5 degrees", "one thousand two hundred thirty four at minus five degrees"),
        ("007", "zero zero seven"),
        ("3-4 days", "three to four days"),
        ("No. 12, Main Rd.", "number twelve, Main Road"),
        ("Dr. Smith, e.g. tea & cake", "Doctor Smith, for example tea and cake"),
        ("see https://a.example/x?y=1 now.", "see a link now."),
        ("bob@shop.example", "bob at shop dot example"),
        ("**Bold** and [menu](http://x.y)", "Bold and menu"),
        ("Monday-Friday", "Monday to Friday"),
        ("“hi” 😀 there", "hi there"),
        ("", ""),
    ],
)
def test_what_is_written_is_said(written: str, spoken: str) -> None:
    assert speakable(written) == spoken


def test_dates_by_locale() -> None:
    assert speakable("12/05/2026", day_first=True) == "May twelfth, twenty twenty six"


def test_numbers() -> None:
    assert number(0) == "zero"
    assert number(1_000_001) == "one million one"
    assert (
        number(12_345_678, indian=True) == "one crore twenty three lakh forty five thousand six hundred seventy eight"
    )
    assert ordinal(12) == "twelfth"
    assert ordinal(20) == "twentieth"
    assert year(1905) == "nineteen oh five"
    assert year(1900) == "nineteen hundred"


@given(st.text(max_size=80))
def test_anything_can_be_said_without_digits(text: str) -> None:
    spoken = speakable(text)
    assert not any("0" <= c <= "9" for c in spoken)
    assert spoken == spoken.strip()


@given(st.from_regex(r"[0-9$€.,:/ +()-]{0,40}", fullmatch=True))
def test_figures_in_any_order_do_no_harm(text: str) -> None:
    assert not any(c.isdigit() for c in speakable(text))
