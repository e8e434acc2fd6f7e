"""Helm, and what it makes of the charts."""

import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
OPERATOR_CHART = ROOT / "charts" / "workerpool"
CRD_CHART = ROOT / "charts" / "workerpool-crds"

# One helm call on rendered text takes a fraction of a second; on a cluster Helm's own --timeout comes first.
TIMEOUT_SECONDS = 180


def run(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess:
    return subprocess.run(
        ["helm", *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
    )


def succeed(*arguments: str | Path, stdin: str = "") -> str:
    done = run(*arguments, stdin=stdin)
    if done.returncode != 0:
        raise AssertionError(f"helm {' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout


def render(values: dict | None = None, release: str = "workerpool", chart: Path = OPERATOR_CHART) -> list[dict]:
    """The objects that an install would make, in the namespace workerpool-system."""
    text = succeed(
        "template", release, chart, "--namespace", "workerpool-system", "--values", "-", stdin=yaml.safe_dump(values or {})
    )
    return [document for document in yaml.safe_load_all(text) if document]


def refusal(values: dict, chart: Path = OPERATOR_CHART) -> str:
    """What Helm says to values that it must not accept."""
    done = run("template", "workerpool", chart, "--values", "-", stdin=yaml.safe_dump(values))
    if done.returncode == 0:
        raise AssertionError(f"{values} was accepted")
    return done.stderr


def by_kind_and_name(objects: list[dict]) -> dict[str, dict]:
    named = {f"{item['kind']}/{item['metadata']['name']}": item for item in objects}
    if len(named) != len(objects):
        raise AssertionError("two objects have the same kind and name")
    return named
