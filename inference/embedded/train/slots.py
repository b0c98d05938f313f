"""Parameters of invented tools: what they may be called, their values, and how people mention them."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from . import values


@dataclass(frozen=True)
class Slot:
    """A kind of parameter.

    Attributes:
        keys: Names it goes by.
        kind: JSON type, or `date`.
        make: Draws a value.
        fragments: Wordings without the name, where meaning or type decides; `{v}` is the value.
        held: Wordings that training never sees.
        notes: Descriptions.
        main: Whether the parameter may be the thing that the tool is about.
    """

    keys: tuple[str, ...]
    kind: str
    make: Callable[[Random], Any]
    fragments: tuple[str, ...]
    held: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    main: bool = False
    options: tuple[tuple[str, ...], ...] = ()


def is_held(word: str) -> bool:
    """Tell whether a noun or key is kept out of training; one word in seven is."""
    return zlib.crc32(word.encode()) % 7 == 0


def _keys(text: str) -> tuple[str, ...]:
    return tuple(text.split())


LABELLED = (
    "with {k} {v}",
    "{k} {v}",
    "{k}: {v}",
    "{k}={v}",
    "{v} as {k}",
    "where {k} is {v}",
    "using {v} as the {k}",
    ", the {k} is {v}",
    "and {k} {v}",
    "with the {k} {v}",
    "({k} {v})",
    "set {k} to {v}",
    "for {k} {v}",
    "with {v} for {k}",
    "by {k} {v}",
    ", {k} {v}",
    "with a {k} of {v}",
    'with {k} "{v}"',
)
LABELLED_HELD = ("the {k} should be {v}", "with {v} being the {k}", "and {v} goes in {k}", "{k} must be {v}")
TRUE = (
    "with {k}",
    "{k}",
    "{k} on",
    "with {k} enabled",
    "{k}: yes",
    "{k} true",
    "turn on {k}",
    "and {k}",
    "set {k} to true",
)
FALSE = (
    "without {k}",
    "no {k}",
    "{k} off",
    "with {k} disabled",
    "{k}: no",
    "{k} false",
    "turn off {k}",
    "not {k}",
    "set {k} to false",
)
TRUE_HELD, FALSE_HELD = ("I do want {k}", "{k} should be active"), ("I do not want {k}", "skip {k}")

SLOTS: tuple[Slot, ...] = (
    Slot(
        _keys(
            "order_id id number code reference ticket_id invoice_id item_id key ref case_id serial "
            "booking_code account_id tag"
        ),
        "string",
        values.identifier,
        ("{v}", "number {v}", "no. {v}", "#{v}", "with id {v}", "id {v}", "called {v}"),
        ("bearing the number {v}", "that goes by {v}"),
        ("Identifier, e.g. A-1.", "The id.", "Which one."),
        main=True,
    ),
    Slot(
        _keys("city place location town destination address region area site"),
        "string",
        values.city,
        ("in {v}", "for {v}", "at {v}", "of {v}", "near {v}", "around {v}", "{v}"),
        ("over in {v}", "somewhere around {v}"),
        ("Where.", "Name of the city.", "Place."),
        main=True,
    ),
    Slot(
        _keys("origin start_city departure source_city from_place"),
        "string",
        values.city,
        ("from {v}", "starting in {v}", "leaving {v}"),
        ("beginning at {v}",),
        ("Where it starts.",),
    ),
    Slot(
        _keys("person name customer user employee contact recipient owner author assignee guest member"),
        "string",
        values.name,
        ("for {v}", "of {v}", "by {v}", "to {v}", "called {v}", "named {v}", "{v}", "belonging to {v}"),
        ("on behalf of {v}", "in the name of {v}"),
        ("Name of the person.", "Who."),
        main=True,
    ),
    Slot(
        _keys("email address mail receiver to sender"),
        "string",
        values.email,
        ("to {v}", "for {v}", "at {v}", "{v}", "from {v}"),
        ("reachable under {v}",),
        ("E-mail address.",),
        main=True,
    ),
    Slot(
        _keys("query text topic keyword subject phrase term search_term q"),
        "string",
        lambda r: values.words(r, 1, 3),
        ("about {v}", "for {v}", "on {v}", '"{v}"', "containing {v}", "matching {v}", "with {v}", "related to {v}"),
        ("that mention {v}", "to do with {v}"),
        ("Words to look for.", "What to search."),
        main=True,
    ),
    Slot(
        _keys("title label heading product item name article model dish"),
        "string",
        lambda r: values.words(r, 1, 3),
        ("called {v}", 'named "{v}"', '"{v}"', "{v}", "titled {v}", "for {v}", "'{v}'"),
        ("by the title {v}", "under the name {v}"),
        ("The title.", "What it is called."),
        main=True,
    ),
    Slot(
        _keys("message body content note comment reason description"),
        "string",
        values.sentence,
        ('saying "{v}"', "saying {v}", 'with the text "{v}"', ": {v}", '"{v}"', "that says {v}", "'{v}'"),
        ('reading "{v}"', "which tells them {v}"),
        ("Text of the message.", "Free text."),
    ),
    Slot(
        _keys("path file filename document attachment log_file"),
        "string",
        values.file,
        ("{v}", "from {v}", "in {v}", "of {v}", "file {v}", "the file {v}"),
        ("stored as {v}",),
        ("Path of the file.",),
        main=True,
    ),
    Slot(
        _keys("url link page website endpoint"),
        "string",
        values.url,
        ("{v}", "at {v}", "from {v}", "on {v}"),
        ("found under {v}",),
        ("Address.",),
        main=True,
    ),
    Slot(
        _keys("word tag colour language category genre team project channel room device"),
        "string",
        lambda r: values.words(r, 1, 1),
        ("{v}", "for {v}", "in {v}", "of {v}", '"{v}"', "called {v}"),
        ("which is {v}",),
        ("Name.", "Which one."),
        main=True,
    ),
    Slot(
        _keys("date day on due due_date deadline when"),
        "date",
        values.date,
        ("on {v}", "for {v}", "{v}", "by {v}", "due {v}", "dated {v}"),
        ("as of {v}", "when {v} comes"),
        ("Date, YYYY-MM-DD.", "The day."),
    ),
    Slot(
        _keys("start begin since check_in first_day"),
        "date",
        values.date,
        ("from {v}", "starting {v}", "since {v}", "beginning {v}"),
        ("commencing {v}",),
        ("First day.",),
    ),
    Slot(
        _keys("end until check_out last_day"),
        "date",
        values.date,
        ("until {v}", "to {v}", "till {v}", "ending {v}"),
        ("up to and including {v}",),
        ("Last day.",),
    ),
    Slot(
        _keys("limit max_results top count max"),
        "integer",
        lambda r: r.randint(1, 50),
        (
            "at most {v}",
            "top {v}",
            "limit {v}",
            "only {v} results",
            "the first {v}",
            "up to {v}",
            "max {v}",
            "no more than {v}",
        ),
        ("not over {v}",),
        ("Most results.",),
    ),
    Slot(
        _keys("days nights weeks hours minutes months duration"),
        "integer",
        lambda r: r.randint(1, 60),
        (
            "for {v} {k}",
            "{v} {k}",
            "over {v} {k}",
            "lasting {v} {k}",
            "over the next {v} {k}",
            "in the next {v} {k}",
            "the next {v} {k}",
        ),
        ("spanning {v} {k}",),
        ("How long.",),
    ),
    Slot(
        _keys("quantity pieces copies seats guests people units tickets"),
        "integer",
        lambda r: r.randint(1, 40),
        ("for {v} {k}", "{v} {k}", "{v} of them", "{v} times", "x{v}"),
        ("numbering {v}",),
        ("How many.",),
    ),
    Slot(
        _keys("year level floor page age size port score rank step seed version"),
        "integer",
        values.integer,
        ("{k} {v}", "at {k} {v}", "of {k} {v}"),
        ("being {k} {v}",),
        ("Whole number.",),
    ),
    Slot(
        _keys("amount price total budget fee salary cost"),
        "number",
        lambda r: abs(values.number(r)),
        ("of {v} euros", "{v} dollars", "for {v} euros", "of {v}", "over {v} EUR", "${v}", "worth {v}"),
        ("to the tune of {v}",),
        ("Amount in euros.",),
    ),
    Slot(
        _keys("temperature weight height width distance speed ratio threshold rate"),
        "number",
        values.number,
        ("of {v}", "at {v}", "to {v}", "{k} {v}", "{v}"),
        ("measuring {v}",),
        ("The value.",),
    ),
    Slot(
        _keys(
            "urgent dry_run notify verbose express draft public archived recursive gift_wrap insurance breakfast force"
        ),
        "boolean",
        lambda r: r.random() < 0.6,
        (),
        (),
        ("Yes or no.", "Whether to do so."),
    ),
    Slot(
        _keys("priority severity importance"),
        "enum",
        lambda r: None,
        ("{v} {k}", "with {v} {k}", "{k} {v}", "as {v}", "{v}", "marked {v}"),
        ("ranked {v}",),
        ("How important.",),
        options=(("low", "normal", "high"), ("low", "medium", "high", "urgent"), ("minor", "major", "critical")),
    ),
    Slot(
        _keys("unit format mode currency kind type status size_class class colour sort"),
        "enum",
        lambda r: None,
        ("in {v}", "as {v}", "{v} {k}", "with {k} {v}", "{k} {v}", "using {v}"),
        ("preferably {v}",),
        ("One of the values.",),
        options=(
            ("celsius", "fahrenheit"),
            ("metric", "imperial"),
            ("pdf", "csv", "json"),
            ("EUR", "USD", "GBP", "CHF"),
            ("open", "closed", "pending"),
            ("small", "medium", "large"),
            ("red", "green", "blue"),
            ("asc", "desc"),
            ("economy", "business", "first"),
            ("email", "sms", "post"),
            ("car", "train", "bike"),
            ("short", "long"),
        ),
    ),
)
