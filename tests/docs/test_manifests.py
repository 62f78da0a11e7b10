"""The Kubernetes manifests are what Kubernetes takes, by its own schemas."""

from __future__ import annotations

import copy
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.docs.pages import DOCS, ROOT

MANIFESTS: list[dict[str, Any]] = list(
    yaml.safe_load_all((ROOT / "deployments/kubernetes/athanore.yaml").read_text())
)
VERSIONS = ("1.28", "1.33", "1.37")


def check(manifest: dict[str, Any], version: str) -> None:
    """Refuse what Kubernetes would refuse, and keys that it does not know."""
    assert kubernetes_validate.validate(manifest, version, strict=True) == version


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "manifest", MANIFESTS, ids=lambda m: f"{m['kind']}-{m['metadata'].get('name')}"
)
def test_a_manifest_fits_the_schema(manifest: dict[str, Any], version: str) -> None:
    check(manifest, version)


def test_a_manifest_that_does_not_fit_is_found() -> None:
    (worker,) = [m for m in MANIFESTS if m["metadata"].get("name") == "athanore-worker"]
    wrong = copy.deepcopy(worker)
    wrong["spec"]["template"]["spec"]["terminationGracePeriod"] = 10
    with pytest.raises(kubernetes_validate.ValidationError):
        check(wrong, VERSIONS[0])


def test_the_documentation_names_the_versions() -> None:
    first, second, last = VERSIONS
    assert f"the schemas of Kubernetes {first}, {second} and {last}" in " ".join(
        (DOCS / "fleet.md").read_text().split()
    )
