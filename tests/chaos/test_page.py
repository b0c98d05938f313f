"""The page of guarantees names tests that exist, and shows the table that the failpoints are held to."""

from .publish import PAGE, PROMISES, ROOT

TESTS = "".join(path.read_text() for path in sorted((ROOT / "tests" / "chaos").glob("test_*.py")))


def test_every_promise_has_a_row_and_tests_that_exist() -> None:
    page = PAGE.read_text()
    assert [name for name, *_ in PROMISES] == [f"G{number}" for number in range(1, 11)]
    for name, promise, assumption, tests, files in PROMISES:
        assert f"| **{name}** | {promise} | {assumption} |" in page, "python -m tests.chaos.publish"
        assert tests or files
        assert all(f'"{test} ' in TESTS for test in tests)
        assert all((ROOT / "tests" / file).exists() for file in files), files


def test_the_page_says_no_figure_that_was_not_measured() -> None:
    for line in PAGE.read_text().splitlines():
        if line.startswith("| **G"):
            assert "broken:" not in line
