"""The command line: every verb, one JSON document, the promised exit codes, messages without tracebacks."""

import json
import os
import re
import shutil
import signal
import time

import pytest

from daskpar.cli import app, run_command, status_text

VERBS = set("init validate plan run submit status logs list cancel resume clean doctor verify rerun".split())
STATUS = set("name state profile blocks_done blocks_total started ended result_hash error path".split())
MESSAGE = re.compile(r"^(error|warning): .+", re.DOTALL)

MODULE = """
import time
def work(p):
    if p["x"] == "fail":
        raise ValueError("it fails")
    if p["x"] == "slow":
        mark("begun")
        time.sleep(60)
    return {"n": len(str(p["x"])), "x": str(p["x"])}
"""


def recipe(*values, outputs="[table.ecsv]", more=""):
    return (
        "name: small\nanalysis: map\n"
        f"inputs: {{grid: {{x: [{', '.join(map(str, values))}]}}}}\n"
        f"options: {{function: 'mine:work'{more}}}\noutputs: {outputs}\n"
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a recipe and a run of it that is done; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    return prepared(folder, recipe(1, 22, 333))


def prepared(folder, text):
    (folder / "mine.py").write_text("def mark(text): pass\n" + MODULE)
    (folder / "recipe.yaml").write_text(text)
    (folder / "threads.yaml").write_text("kind: local\nworkers: 1\nprocesses: false\ndashboard: false\n")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch, runs):
    """An empty working folder with the recipe, its module and a profile of threads."""
    monkeypatch.chdir(tmp_path)
    return prepared(tmp_path, recipe(1, 22, 333))


@pytest.fixture
def done(here, finished, cli):
    """A copy of a run that is done, in the working folder."""
    if not (finished / "runs").exists():
        ended = cli("run", "recipe.yaml", "-p", "threads.yaml", "--allow-code", "--json")
        assert ended.code == 0, ended.stderr
        shutil.copytree(here / "runs", finished / "runs")
        (finished / "output.json").write_text(ended.stdout)
    else:
        shutil.copytree(finished / "runs", here / "runs")
    return json.loads((finished / "output.json").read_text())


@pytest.fixture
def call(capsys):
    """Return a function that runs a command in this process: (code, stdout, stderr)."""

    def one(*arguments):
        code = run_command([str(a) for a in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return one


def document(text):
    """Return what a text says that holds exactly one JSON document."""
    value, end = json.JSONDecoder().raw_decode(text)
    assert text[end:] == "\n"
    return value


# --- help and usage


def test_all_verbs_are_there():
    names = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert names >= VERBS


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], *([verb, "--help"] for verb in sorted(VERBS))], ids=" ".join
)
def test_help_explains(call, arguments):
    code, out, _ = call(*arguments)
    assert code == 0
    assert "Usage: " in out
    assert all(len(line) <= 110 for line in out.splitlines())


@pytest.mark.parametrize(
    "arguments",
    [["fly"], ["run"], ["status", "--fly"], ["run", "a", "b", "c"], ["status", "--runs"], ["validate"]],
    ids=" ".join,
)
def test_wrong_usage_is_code_2(call, arguments):
    code, out, err = call(*arguments)
    assert code == 2
    assert err
    assert out == ""


# --- init, validate, plan, doctor


@pytest.mark.parametrize("analysis", ["image_stats", "map"])
def test_init_writes_a_recipe_that_is_valid(call, here, analysis):
    code, out, _ = call("init", analysis)
    assert code == 0
    assert f"{analysis}.yaml" in out
    assert call("init", analysis)[0] == 2  # it is there already
    assert call("init", analysis, "--overwrite")[0] == 0
    code, out, _ = call("init", analysis, "-o", "-")
    assert out == (here / f"{analysis}.yaml").read_text()


def test_init_of_something_else_is_refused(call, here):
    code, _, err = call("init", "imagestats")
    assert code == 2
    assert "did you mean 'image_stats'" in err
    assert not (here / "imagestats.yaml").exists()


def test_validate_says_so(call, here):
    code, out, err = call("validate", "recipe.yaml", "--allow-code")
    assert (code, err) == (0, "")
    assert "valid map recipe" in out
    code, out, _ = call("validate", "recipe.yaml", "--allow-code", "--json")
    assert code == 0
    assert document(out)["valid"] is True


def test_validate_shows_all_faults_with_their_places(call, here):
    text = recipe(1, 2).replace("outputs:", "outptus:").replace("'mine:work'", "'mine:work', retires: 2")
    (here / "recipe.yaml").write_text(text)
    code, out, err = call("validate", "recipe.yaml", "--allow-code")
    assert code == 2
    assert out == ""
    lines = err.splitlines()
    assert len(lines) >= 2
    assert all(re.match(r"error: recipe\.yaml:\d+:\d+ [\w.]+: .+; .+", line) for line in lines), err
    assert "outputs" in err
    assert "retries" in err


def test_code_runs_only_when_it_is_allowed(call, here):
    (here / "mine.py").write_text("open('ran', 'w')\n")
    for verb in ("validate", "plan", "run", "submit"):
        code, _, err = call(verb, "recipe.yaml")
        assert code == 2
        assert "--allow-code" in err
    assert not (here / "ran").exists()
    assert not (here / "runs").exists()


def test_plan_starts_nothing(call, here):
    code, out, _ = call("plan", "recipe.yaml", "--allow-code")
    assert code == 0
    assert "block" in out
    code, out, _ = call("plan", "recipe.yaml", "--allow-code", "--json")
    assert code == 0
    assert isinstance(document(out), dict)
    assert not list((here / "runs").glob("*")) if (here / "runs").exists() else True


def test_doctor_says_what_works(call, here):
    code, out, _ = call("doctor", "--json")
    assert code in (0, 1)
    assert document(out)


# --- run and what comes after


def test_run_prints_one_document(done, here):
    assert set(done) >= STATUS
    assert (done["state"], done["blocks_done"], done["blocks_total"]) == ("done", 3, 3)
    assert (
        done["outputs"] == [str(here / "runs" / done["name"] / "results" / "table.ecsv")] or done["outputs"]
    )
    assert re.fullmatch(r"[0-9a-f]{64}", done["result_hash"])


def test_status_list_and_logs(call, here, done):
    code, out, _ = call("status", "--json")
    assert code == 0
    assert {**document(out), "path": ""} == {**done, "path": ""}
    for token in ("last", done["name"], "small", here / "runs" / done["name"]):
        code, out, _ = call("status", token)
        assert code == 0
        assert done["result_hash"] in out
    code, out, _ = call("list", "--json")
    (one,) = document(out)
    assert one["name"] == done["name"]
    assert one["bytes"] > 1000
    assert done["name"] in call("list")[1]
    assert call("logs")[0] == 0


def test_status_watch_of_a_run_that_has_ended_ends(call, here, done):
    code, out, _ = call("status", "--watch", "--json")
    assert code == 0
    assert document(out)["state"] == "done"


def test_resume_of_a_finished_run_computes_nothing(call, here, done):
    (path,) = (here / "runs").iterdir()
    before = (path / "events.jsonl").read_bytes()
    code, out, _ = call("resume", "last", "--json")
    assert code == 0
    assert document(out)["result_hash"] == done["result_hash"]
    assert (path / "events.jsonl").read_bytes() == before


def test_clean_frees_the_ledger_and_keeps_the_results(call, here, done):
    (path,) = (here / "runs").iterdir()
    size = sum(file.stat().st_size for file in (path / "ledger").rglob("*") if file.is_file())
    code, out, _ = call("clean", "last", "--json")
    assert code == 0
    assert document(out)["bytes_freed"] >= size > 0
    assert not (path / "ledger").exists()
    assert (path / "results" / "table.ecsv").exists()
    code, out, _ = call("clean", "last", "--all")
    assert code == 0
    assert "MB freed" in out
    assert not path.exists()


def test_no_runs_yet(call, here):
    assert call("list")[:2] == (0, "no runs yet\n")
    assert document(call("list", "--json")[1]) == []
    for verb in ("status", "logs", "resume", "cancel", "clean"):
        code, out, err = call(verb, "last")
        assert code == 2
        assert "there is no run 'last'" in err
        assert out == ""


def test_results_are_replaced_only_when_told(cli, here, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "table.ecsv").write_text("precious")
    arguments = ["run", "recipe.yaml", "-p", "threads.yaml", "--allow-code", "--output", "out"]
    refused = cli(*arguments)
    assert refused.code == 2
    assert "--overwrite" in refused.stderr
    assert (tmp_path / "out" / "table.ecsv").read_text() == "precious"
    assert not list(tmp_path.glob("runs/*"))
    done = cli(*arguments, "--overwrite")
    assert done.code == 0, done.stderr
    assert "precious" not in (tmp_path / "out" / "table.ecsv").read_text()


def test_settings_change_a_recipe(call, here):
    code, out, _ = call("validate", "recipe.yaml", "--allow-code", "--json", "--set", "options.retries=3")
    assert code == 0
    assert document(out)["recipe"]["options"]["retries"] == 3
    code, _, err = call("validate", "recipe.yaml", "--allow-code", "--set", "options.retires=3")
    assert code == 2
    assert "retries" in err


# --- exit codes


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("name: [", ""),
        ("", ""),
        ("name: a\nname: b\n", "name"),
        (recipe(1).replace("map", "mop"), "analysis"),
    ],
)
def test_a_bad_recipe_is_code_2_before_anything_exists(call, here, text, key):
    (here / "recipe.yaml").write_text(text)
    for verb in ("validate", "run", "submit", "plan"):
        code, out, err = call(verb, "recipe.yaml", "--allow-code")
        assert code == 2
        assert out == ""
        assert all(line.startswith("error: recipe.yaml") for line in err.splitlines()), err
        assert key in err
    assert not (here / "runs").exists()


def test_a_missing_recipe_is_code_2(call, here):
    code, _, err = call("run", "nothing.yaml")
    assert code == 2
    assert "nothing.yaml" in err


@pytest.mark.parametrize("profile", ["none.yaml", "sluurm", "bad.yaml"])
def test_a_bad_profile_is_code_2_before_anything_exists(call, here, profile):
    (here / "bad.yaml").write_text("kind: local\nworkers: 0\n")
    code, _, err = call("run", "recipe.yaml", "-p", profile, "--allow-code")
    assert code == 2
    assert MESSAGE.match(err)
    assert not (here / "runs").exists()


def test_missing_input_is_code_3_before_anything_exists(call, here):
    (here / "recipe.yaml").write_text(recipe(1).replace("grid: {x: [1]}", "files: none/*.fits"))
    for verb in ("plan", "run", "submit"):
        code, _, err = call(verb, "recipe.yaml", "--allow-code")
        assert code == 3, verb
        assert "none/*.fits" in err
    code, _, err = call("validate", "recipe.yaml", "--allow-code")
    assert code == 0  # the recipe is valid, wherever its data are
    assert "none/*.fits" in err
    assert not (here / "runs").exists()


def test_code_that_cannot_be_imported_is_code_2(call, here):
    for text, what in [("1 / 0", "ZeroDivisionError"), ("import nothing_here", "nothing_here"), ("", "work")]:
        (here / "mine.py").write_text(text)
        code, _, err = call("run", "recipe.yaml", "--allow-code")
        assert code == 2
        assert what in err
    assert not (here / "runs").exists()


def test_a_failing_item_is_code_2_and_named(cli, here):
    (here / "recipe.yaml").write_text(recipe(1, "fail"))
    ended = cli("run", "recipe.yaml", "-p", "threads.yaml", "--allow-code")
    assert ended.code == 2
    assert "ValueError: it fails" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("error: ")
    status = cli("status")
    assert status.code == 0
    assert "failed" in status.stdout
    assert "daskpar resume" in status.stdout


def test_submit_leaves_with_the_code_of_its_driver(cli, here):
    (here / "recipe.yaml").write_text(recipe(1, "fail"))
    ended = cli("submit", "recipe.yaml", "-p", "threads.yaml", "--allow-code", "--json")
    assert ended.code == 2
    assert document(ended.stdout)["state"] == "failed"
    (here / "recipe.yaml").write_text(recipe(1, 2))
    ended = cli("submit", "recipe.yaml", "-p", "threads.yaml", "--allow-code", "--json")
    assert ended.code == 0, ended.stderr
    assert document(ended.stdout)["state"] == "done"


def test_submit_and_leave(cli, here):
    ended = cli("submit", "recipe.yaml", "-p", "threads.yaml", "--allow-code", "--detach", "--json")
    assert ended.code == 0, ended.stderr
    name = document(ended.stdout)["name"]
    ended = cli("status", name, "--watch", "--json")
    assert document(ended.stdout)["state"] == "done"


def test_an_unwritable_folder_is_code_5(call, here):
    (here / "file").write_text("")
    code, _, err = call("run", "recipe.yaml", "--allow-code", "--runs", "file/runs")
    assert code == 5
    assert "file/runs" in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_with_their_codes(start, here, count, number, code):
    (here / "mine.py").write_text(count.source + MODULE)
    (here / "recipe.yaml").write_text(recipe(1, "slow"))
    (here / "one.yaml").write_text("kind: local\nworkers: 1\n")
    process = start("run", "recipe.yaml", "-p", "one.yaml", "--allow-code")
    deadline = time.monotonic() + 60
    while not count.lines() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert "daskpar resume" in err
    assert "Traceback" not in err


def test_debug_shows_the_traceback(cli, here):
    ended = cli("validate", "nothing.yaml", "--debug")
    assert ended.code == 2
    assert "Traceback" in ended.stderr


def test_control_characters_of_names_cannot_forge_a_message(call, here):
    code, _, err = call("validate", "no\nerror: forged\x1b[2J.yaml")
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "\x1b" not in err


def test_what_a_status_says_to_people():
    status = {
        "name": "m13", "state": "interrupted", "blocks_done": 3, "blocks_total": 9, "error": "gone",
        "result_hash": None, "dashboard": None,
    }  # fmt: skip
    text = status_text(status)
    assert "3 of 9 blocks" in text
    assert "daskpar resume m13" in text
    assert os.linesep in text


def test_ctrl_c_before_there_is_a_run_speaks_of_none(monkeypatch, capsys, tmp_path):
    def ctrl_c(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("daskpar.preparation.begin", ctrl_c)
    assert run_command(["run", str(tmp_path / "recipe.yaml"), "-p", "threads.yaml"]) == 130
    assert capsys.readouterr().err.strip() == "interrupted"
