"""One program in two executables (src/cli/variant.h): the static `nucleus` has what is run all day,
and becomes `nucleus-linked` for everything else. Where the build has one dynamic executable, as the
sanitizers' have, there is nothing to hand over."""

import json
import shutil
from pathlib import Path

import pytest

import harness
from harness import LINKED

BESIDE = Path(harness.binary()).with_name(LINKED)

pytestmark = pytest.mark.skipif(not BESIDE.exists(), reason="one dynamic executable was built")


@pytest.fixture
def other(nucleus, tmp_path, monkeypatch):
    """Another directory with a copy of `nucleus`, and of nothing else."""
    copy = tmp_path / "bin" / "nucleus"
    copy.parent.mkdir()
    shutil.copy(harness.binary(), copy)
    monkeypatch.setattr(nucleus, "binary", str(copy))
    return copy


def is_static(path):
    return b"/ld-linux" not in Path(path).read_bytes()[:4096]


def test_the_two_are_what_they_are_called():
    assert is_static(harness.binary())
    assert not is_static(BESIDE)


@pytest.mark.parametrize("before", [
    (), ("--debug",), ("--log", "run"), ("--log=run",), ("-log", "list"), ("--rootless", "auto"),
    ("--log-format", "json", "--debug")])
def test_what_the_static_one_lacks_is_done_by_the_other(nucleus, bundle, cid, before, tmp_path):
    nucleus.create(cid, bundle.args("true"))
    result = nucleus.run(*before, "list", "-q", cwd=tmp_path)
    assert cid in result.out.split()
    nucleus.delete(cid, "-f")


def test_words_that_look_like_commands_are_arguments(nucleus, bundle):
    """An id may be called as a command is, and an option's value, too."""
    nucleus.create("list", bundle.args("true"))
    assert nucleus.state("list")["status"] == "created"
    assert "list" in nucleus.run("list", "-q").out.split()
    nucleus.delete("list", "-f")


def test_help_names_the_commands_of_both(nucleus):
    text = nucleus.run("--help").out
    for command in ("run", "checkpoint", "list", "doctor", "state"):
        assert f"\n  {command} " in text


@pytest.mark.parametrize("args", [["list"], ["--help"], ["no-such-command"], ["--systemd-cgroup", "state", "x"]])
def test_alone_it_says_what_is_missing(nucleus, other, args):
    nucleus.fails(*args, text=f"put {LINKED} beside nucleus")


def test_alone_it_does_what_it_has(nucleus, other, bundle, cid):
    assert nucleus.run_container(cid, bundle.args("echo", "here")).out == "here\n"


def test_the_one_beside_it_is_taken(nucleus, other, tmp_path):
    beside = other.with_name(LINKED)
    beside.write_text('#!/bin/sh\necho "beside: $*"\n')
    beside.chmod(0o755)
    assert nucleus.run("list", "-q").out.endswith("list -q\n")


def test_a_delete_that_must_ask_systemd_goes_on_in_the_other(nucleus, bundle, cid):
    """Half-way: only the record says that systemd made the scope. There is none here to be asked,
    so both end with the same error, and with everything as it was."""
    nucleus.create(cid, bundle.args("true"))
    record = nucleus.state_dir / f"{cid}.json"
    kept = record.read_text()
    record.write_text(json.dumps({**json.loads(kept), "systemd_unit": f"nucleus-{cid}.scope"}))
    alone = nucleus.run("delete", "-f", cid, check=False)
    assert alone.rc != 0 and "systemd" in alone.err and LINKED not in alone.err
    assert record.exists()
    record.write_text(kept)
    nucleus.delete(cid, "-f")
