"""The table of promised behaviours and the tests agree, both ways. ``python tests/conformance/test_coverage_table.py`` prints it."""

import ast
import sys
import tomllib
from collections import defaultdict
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
SUITE = ROOT / "src" / "mediagit_storage" / "testing"


def behaviours():
    """Number to entry."""
    table = tomllib.loads((TESTS / "behaviours.toml").read_text("utf-8"))["behaviours"]
    return {int(number): entry for number, entry in table.items()}


def numbers(function):
    """What the ``@covers(...)`` of a function say."""
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith("covers"):
            yield from (ast.literal_eval(each) for each in decorator.args)


@cache
def definitions(path):
    """The functions and classes of a file."""
    tree = ast.parse(path.read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [each for each in ast.walk(tree) if isinstance(each, kinds)]


def tagged():
    """Number to the tests that carry it."""
    found = defaultdict(list)
    for folder in (TESTS, SUITE):
        for path in sorted(folder.rglob("*.py")):
            for each in definitions(path):
                if not isinstance(each, ast.ClassDef):
                    for number in numbers(each):
                        found[number].append(f"{path.relative_to(ROOT).as_posix()}::{each.name}")
    return found


def exists(reference):
    """Whether a file, or a test in it, is there."""
    name, _, test = reference.partition("::")
    path = TESTS / name
    return path.is_file() and (not test or test in {each.name for each in definitions(path)})


def test_every_tag_is_a_behaviour():
    assert sorted(set(tagged()) - set(behaviours())) == []


def test_every_behaviour_is_shown_or_says_what_it_waits_for():
    tags = tagged()
    silent = [
        number
        for number, entry in behaviours().items()
        if not (tags.get(number) or entry.get("tests") or entry.get("comes"))
    ]
    assert silent == []


def test_nothing_that_is_shown_claims_to_be_waiting():
    tags = tagged()
    shown = {number for number, entry in behaviours().items() if tags.get(number) or entry.get("tests")}
    assert [number for number in sorted(shown) if "comes" in behaviours()[number]] == []


def test_every_test_that_the_table_names_is_there():
    named = [each for entry in behaviours().values() for each in entry.get("tests", ())]
    assert [each for each in named if not exists(each)] == []


def test_entries_have_a_text_and_nothing_unknown():
    for number, entry in behaviours().items():
        assert entry["text"], number
        assert set(entry) <= {"text", "tests", "comes"}, number


def lines():
    """The table for people."""
    tags = tagged()
    for number, entry in sorted(behaviours().items()):
        yield f"{number:4}  {entry['text']}"
        where = [*tags.get(number, []), *(f"tests/{each}" for each in entry.get("tests", ()))]
        yield from (f"        {each}" for each in where or [f"(comes with {entry['comes']})"])


if __name__ == "__main__":
    sys.stdout.write("\n".join(lines()) + "\n")
