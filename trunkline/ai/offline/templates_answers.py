"""What callers answer when they were asked for something, as data; the notation is that of `templates.py`."""

from typing import Final

CORRECTION: Final = (
    "no {num} [please]",
    "no i (said|want|wanted|meant) {num}",
    "no i (said|want|wanted|meant) (a|an|the) {item}",
    "no {num} {items}",
    "no (a|an) {item}",
    "i (said|meant|wanted|want) {num}",
    "i (said|meant|wanted|want) (a|an|the) [{size}] {item}",
    "i (said|meant|wanted) (a|the) {size} [one]",
    "*2 make (it|that) {num} [instead]",
    "actually {num}",
    "actually (a|an|the) {item}",
    "no actually {num}",
    "not {num} {num}",
    "{num} not {num}",
    "[change] the (item|name|number|pizza)",
    "how many",
)

NUMBER: Final = (
    "*6 {num}",
    "*2 just {num}",
    "{num} of (them|those)",
    "*2 make it {num}",
    "make that {num}",
    "i('ll have|'d like|want|need) {num}",
    "(maybe|i think|let's say|only|um) {num}",
    "just {num} for now",
    "{num} [{size}] {items}",
    "[a|the] {size} [one]",
    "{num} {size}",
    "{num} {size} ones",
    "(a couple|half a dozen|a dozen|a few)",
    "i('ll have|'d like|want) (a|the) {size} [one]",
)

DIGITS: Final = (
    "*4 {digits}",
    "*2 {order}",
    "[it's|it is|my] order [number] [is] {order}",
    "my order number is {order}",
    "the number is {order}",
    "it's {digits}",
    "(i don't know|i don't have it|i don't remember|no idea|i don't have the number)",
)

NAME: Final = (
    "*4 {name}",
    "*3 my name is {name}",
    "my name's {name}",
    "it's [for|under] {name}",
    "this is {name}",
    "for {name}",
    "the name is {name}",
    "(the order is|it is|put it|that's) (for|under) {name}",
    "i'm {name}",
    "under {name}",
    "{name} {name}",
    "[my name is] {name} {letters}",
    "{letters}",
    "that's {letters}",
)

ITEM: Final = (
    "*3 [a|an|one|the|some] [{size}] {item}",
    "*3 {num} [{size}] {items}",
    "*2 {item}",
    "(a|an|one) {item} and (a|an|one) {item}",
    "{num} {items} and {num} {items}",
    "i'd like (a|an|the|one) [{size}] {item}",
    "i'd like {num} [{size}] {items}",
    "i'll (have|take) (a|an|the|one) [{size}] {item}",
    "i'll (have|take) {num} [{size}] {items}",
    "(just|maybe|only) (a|an|the|one) {item}",
    "with (a|an) {item}",
    "let me (get|have) (a|an|the) {item}",
    "(can|could) i (get|have) (a|an|the) {item}",
    "(can|could) i (get|have) {num} {items}",
    "what do you have",
    "i don't know",
)
