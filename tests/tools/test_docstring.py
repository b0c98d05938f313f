"""What a docstring tells the model."""

from loopwright.tools.docstring import parse_docstring


def test_the_text_before_the_first_section_is_the_description_on_one_line() -> None:
    said = parse_docstring("""Find a train.

    Only direct
    connections.

    Args:
        origin: Where from.
    """)
    assert said.description == "Find a train. Only direct connections."


def test_argument_descriptions_may_go_on_over_several_lines() -> None:
    said = parse_docstring("""Find.

    Args:
        origin (str): Where from:
            a city,

            or a station.
        to: Where to.

    Returns:
        to: not an argument
    """)
    assert said.arguments == {"origin": "Where from: a city, or a station.", "to": "Where to."}


def test_a_colon_inside_a_description_opens_no_argument() -> None:
    said = parse_docstring("Do.\n\nArgs:\n    mode: One of\n        fast: no checks\n        safe: all checks\n")
    assert said.arguments == {"mode": "One of fast: no checks safe: all checks"}


def test_an_argument_may_stand_alone_on_its_line() -> None:
    assert parse_docstring("Do.\n\nArgs:\n    mode:\n        How to do it.\n").arguments == {"mode": "How to do it."}


def test_a_missing_docstring_says_nothing() -> None:
    assert parse_docstring(None).description == ""
    assert parse_docstring(None).arguments == {}


def test_a_docstring_of_one_line_has_a_description_only() -> None:
    assert parse_docstring("Add two numbers.").description == "Add two numbers."
    assert parse_docstring("Add two numbers.").arguments == {}


def test_sections_that_models_need_not_read_are_left_out() -> None:
    said = parse_docstring("Do.\n\nRaises:\n    ValueError: Never.\n\nExample:\n    do()\n")
    assert (said.description, said.arguments) == ("Do.", {})
