"""Errors: one form of message, exit codes, escaping, and the way from a worker to the driver."""

import pickle

import pytest

from daskpar import errors
from daskpar.errors import DaskparError, Fault, InputError, RecipeError, printable

CODES = {
    "RecipeError": 2,
    "ProfileError": 2,
    "UsageError": 2,
    "AnalysisError": 2,
    "InputError": 3,
    "ClusterError": 4,
    "OutputError": 5,
}
KINDS = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, DaskparError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_exit_codes(kind):
    assert kind.exit_code == CODES.get(kind.__name__, 1)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Fault("is wrong"), "is wrong"),
        (Fault("is wrong", "mend it"), "is wrong; mend it"),
        (Fault("is wrong", "mend it", "r.yaml"), "r.yaml: is wrong; mend it"),
        (Fault("is wrong", "mend it", "r.yaml", "3:7"), "r.yaml:3:7: is wrong; mend it"),
        (
            Fault("is wrong", "mend it", "r.yaml", "3:7", "options.k"),
            "r.yaml:3:7 options.k: is wrong; mend it",
        ),
        (Fault("is short", "", "m13.fits", "[SCI,2]", "NAXIS1"), "m13.fits[SCI,2] NAXIS1: is short"),
        (Fault("is wrong", "mend it", key="--set options.k"), "--set options.k: is wrong; mend it"),
    ],
)
def test_one_form_of_message(fault, text):
    assert str(fault) == text


def test_several_faults_are_several_lines():
    error = RecipeError("a", path="r.yaml", place="1:1", faults=[Fault("b", path="r.yaml", place="2:1")])
    assert str(error).split("\n") == ["r.yaml:1:1: a", "r.yaml:2:1: b"]
    assert len(error.faults) == 2
    assert str(DaskparError()) == ""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_errors_survive_a_pickle(kind):
    error = kind("is wrong", "mend it", path="r.yaml", place="1:2", key="k", faults=[Fault("also")])
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert back.faults == error.faults
    assert str(back) == str(error)
    assert back.exit_code == error.exit_code


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("m13 ä.fits", "m13 ä.fits"),
        ("a\nerror: b", "a\\nerror: b"),
        ("a\x1b[31m", "a\\x1b[31m"),
        ("a\udcff", "a\\udcff"),
        ("a‮b", "a\\u202eb"),
    ],
)
def test_names_cannot_forge_a_message(text, shown):
    assert printable(text) == shown
    assert str(InputError("is gone", path=text)) == f"{shown}: is gone"
    assert len(str(InputError(text, text, path=text, key=text)).splitlines()) == 1
