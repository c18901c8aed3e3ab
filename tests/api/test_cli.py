"""The command line of the server: its own commands, discovered ones, and errors as one sentence."""

import os
import subprocess
import sys

import pytest
from conftest import Site


def orfila(*arguments, folder, **environment):
    return subprocess.run(
        [sys.executable, "-m", "orfila", *arguments],
        env=os.environ | {"ORFILA_DATA_DIR": str(folder)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_link_and_a_token_sign_in(tmp_path):
    folder = tmp_path / "data"
    assert orfila("migrate", folder=folder).returncode == 0
    link = orfila("user", "link", folder=folder)
    assert link.returncode == 0
    assert link.stdout.startswith("http://127.0.0.1:8000/signin#code=")
    token = orfila("user", "token", "--read-only", folder=folder).stdout.strip()
    site = Site(tmp_path)
    browser = site.browser()
    code = link.stdout.strip().partition("code=")[2]
    assert browser.post("/api/v1/session", json={"code": code}).json()["user"]["is_administrator"]
    headers = {"Authorization": f"Bearer {token}"}
    assert site.browser().get("/api/v1/session", headers=headers).json()["scopes"] == ["read"]
    assert orfila("user", "add", "Ada", "--project", site.project, "--role", "viewer", folder=folder).returncode == 0
    assert orfila("user", "link", "Ada", folder=folder).returncode == 0
    listed = orfila("user", "list", folder=folder).stdout.splitlines()
    assert listed[0] == "Ada\tlink only\tviewer of First project"
    assert listed[1].startswith("Administrator\tlink only\tadministrator, owner of First project")
    assert orfila("user", "role", "Ada", site.project, "analyst", folder=folder).stdout == "Ada is analyst\n"
    assert orfila("user", "disable", "Ada", folder=folder).stdout == "Ada is disabled\n"
    assert orfila("user", "list", folder=folder).stdout.startswith("Ada\tdisabled\tanalyst of First project\n")
    refused = orfila("user", "link", "Ada", folder=folder)
    assert (refused.returncode, refused.stderr) == (2, "'Ada' is disabled; enable the account first.\n")
    assert orfila("user", "enable", "Ada", folder=folder).returncode == 0
    assert orfila("user", "link", "Ada", folder=folder).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["user", "link", "Nobody"], "There is no user 'Nobody'.\n"),
        (["user", "disable", "Administrator"], "This is the last administrator who can sign in"),
        (["user", "role", "Nobody", "x", "viewer"], "There is no user 'Nobody'.\n"),
        (["user", "add", "Ada", "--project", "x", "--role", "king"], "The role 'king' is not one of"),
    ],
)
def test_errors_are_one_sentence_and_status_2(tmp_path, arguments, sentence):
    orfila("migrate", folder=tmp_path)
    answer = orfila(*arguments, folder=tmp_path)
    assert answer.returncode == 2
    assert answer.stderr.startswith(sentence)
    assert answer.stderr.count("\n") == 1


def test_commands_that_need_torch_say_so_where_it_is_absent(tmp_path):
    blocked = tmp_path / "torch"
    blocked.mkdir()
    (blocked / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    answer = orfila("train", "x", "--out", "y", folder=tmp_path, PYTHONPATH=str(tmp_path))
    assert answer.returncode == 2
    assert answer.stderr == 'This command needs torch, which is not installed here: pip install "orfila[worker]".\n'


def test_help_lists_every_command_without_loading_torch(tmp_path):
    (tmp_path / "torch.py").write_text("raise SystemExit(99)")
    answer = orfila("--help", folder=tmp_path, PYTHONPATH=str(tmp_path))
    assert answer.returncode == 0
    for command in (
        "train",
        "investigate",
        "unlearn",
        "drill",
        "up",
        "demo",
        "api",
        "worker",
        "migrate",
        "user",
        "doctor",
    ):
        assert f" {command} " in answer.stdout


def test_doctor_names_what_is_missing(tmp_path):
    before = orfila("doctor", folder=tmp_path)
    assert before.returncode == 1
    assert "MISS  database: not there yet" in before.stdout
    orfila("migrate", folder=tmp_path)
    assert "ok    database: up to date" in orfila("doctor", folder=tmp_path).stdout
    unreachable = orfila("doctor", folder=tmp_path, ORFILA_BROKER_URL="redis://127.0.0.1:1/0")
    assert "MISS  broker: does not answer" in unreachable.stdout


def test_the_overview_says_what_each_command_does(tmp_path):
    overview = orfila("--help", folder=tmp_path).stdout
    assert "compare" in overview
    assert "From orfila" not in overview  # what a command without a summary would say
