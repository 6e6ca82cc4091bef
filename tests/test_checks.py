"""The commit hooks and the workflow run what scripts/test runs."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def test_the_commit_hooks_are_the_checks_of_the_test_command():
    lines = (ROOT / "scripts" / "test").read_text(encoding="utf-8").splitlines()
    [local] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    checks = [line for line in lines if line.startswith((".venv/bin/ruff", ".venv/bin/pyright"))]
    assert [hook["entry"] for hook in local["hooks"]] == checks and len(checks) == 3


def test_the_workflow_runs_the_test_command_from_the_oldest_supported_python_on():
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))["jobs"]["test"]
    assert job["steps"][-1]["run"] == "./scripts/test"
    oldest = job["strategy"]["matrix"]["python-version"][0]
    assert f'requires-python = ">={oldest}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
