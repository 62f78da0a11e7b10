"""The mutations fit the tree; `make mutations` shows that the suite notices each of them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutations.mutation import ROOT, Mutation, all_mutations, applies, read, try_out

MUTATIONS = list(all_mutations())


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_a_mutation_fits_the_tree_and_names_tests_that_exist(mutation: Mutation) -> None:
    assert applies(mutation) == ""
    for test in mutation.all_tests:
        path, *names = test.partition("[")[0].split("::")
        found: list[ast.stmt] = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
        for name in names:
            (node,) = [n for n in found if getattr(n, "name", None) == name]
            found = getattr(node, "body", [])


def _mutation(folder: Path, test: str, *also: str) -> Mutation:
    """A mutation of the version, whose test is `test`."""
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("version ="))
    path = folder / "version.diff"
    path.write_text(
        "\n".join(["Fault: another version", f"Test: {test}", *(f"Also: {a}" for a in also), ""])
        + "diff --git a/pyproject.toml b/pyproject.toml\n"
        "--- a/pyproject.toml\n+++ b/pyproject.toml\n"
        f"@@ -{at},3 +{at},3 @@\n {lines[at - 1]}\n-{lines[at]}\n"
        f'+version = "0"\n {lines[at + 1]}\n'
    )
    return read(path)


@pytest.mark.nightly
def test_a_mutation_that_no_test_notices_is_told_from_one_that_is(tmp_path: Path) -> None:
    blind = _mutation(tmp_path, "tests/unit/test_tokens.py")
    verdict = try_out(blind, tmp_path)
    assert (verdict.exit_code, verdict.noticed) == (0, False)
    test = tmp_path / "test_version.py"
    test.write_text(
        "from pathlib import Path\n\n\ndef test_version():\n"
        "    assert 'version = \"0\"' not in Path('pyproject.toml').read_text()\n"
    )
    verdict = try_out(_mutation(tmp_path, str(test)), tmp_path)
    assert verdict.noticed, verdict.output
    both = _mutation(tmp_path, str(test), "tests/unit/test_tokens.py")
    assert not try_out(both, tmp_path).noticed, "each of both stores has to notice it"


@pytest.mark.nightly
def test_a_diff_that_does_not_fit_or_a_test_that_is_not_there_counts_as_missed(
    tmp_path: Path,
) -> None:
    absent = try_out(_mutation(tmp_path, "tests/unit/test_no_such_file.py"), tmp_path)
    assert not absent.noticed
    odd = _mutation(tmp_path, "tests/unit/test_tokens.py")
    assert odd.diff is not None
    odd.diff.write_text(odd.diff.read_text().replace("-version", "-vision"))
    assert not try_out(odd, tmp_path).noticed
