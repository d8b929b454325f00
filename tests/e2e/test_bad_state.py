"""A state directory in which something else lies than was put there, and a bundle that is not what it was.
The directory is closed to others, so this is damage rather than an attack; but what is believed of it decides
who is killed and what runs, so nothing is believed that can be seen to be wrong."""

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from harness import cgroup_mounts, wait_for
from test_exec import reaping

pytestmark = pytest.mark.nucleus_only


@pytest.fixture
def bundle(bundle):
    bundle.linux.pop("resources", None)
    return bundle.sh("trap 'exit 0' TERM; while :; do sleep 0.1; done")


@pytest.fixture
def mark(tmp_path):
    """A directory for files that say that a hook has run."""
    (tmp_path / "marks").mkdir()
    return tmp_path / "marks"


def marking(mark, name):
    return {"path": "/bin/sh", "args": ["sh", "-c", f": > {mark}/{name}"]}


# What may lie in a file's place. Each gets the path and a good text.
HUGE = 1 << 40
TRICKS = {
    "link": lambda p, good, tmp: ((tmp / "other").write_bytes(good), p.symlink_to(tmp / "other")),
    "dangling": lambda p, good, tmp: p.symlink_to(tmp / "nothing"),
    "fifo": lambda p, good, tmp: os.mkfifo(p),
    "directory": lambda p, good, tmp: p.mkdir(),
    "device": lambda p, good, tmp: os.mknod(p, stat.S_IFCHR | 0o600, os.makedev(1, 5)),
    "huge": lambda p, good, tmp: (p.touch(), os.truncate(p, HUGE)),
    "empty": lambda p, good, tmp: p.touch(),
    "garbage": lambda p, good, tmp: p.write_bytes(bytes(range(256)) * 64),
    "truncated": lambda p, good, tmp: p.write_bytes(good[: len(good) // 2]),
    "deep": lambda p, good, tmp: p.write_text("[" * 100000),
    "other types": lambda p, good, tmp: p.write_text('{"ociVersion": 1, "process": [], "hooks": "x"}'),
}


def replace(path, trick, tmp_path):
    good = path.read_bytes() if path.is_file() else b""
    path.unlink(missing_ok=True)
    TRICKS[trick](path, good, tmp_path)


def remove(path):
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


# ---- <id>.config


@pytest.mark.parametrize("trick", TRICKS)
def test_config_of_the_container(nucleus, bundle, cid, mark, tmp_path, trick):
    """`exec` and `start` take nothing from it; `delete` can be had all the same, without hooks."""
    bundle.config["hooks"] = {kind: [marking(mark, kind)] for kind in ("poststart", "poststop")}
    nucleus.create(cid, bundle.write())
    config = nucleus.state_dir / f"{cid}.config"
    assert config.stat().st_mode & 0o7777 == 0o600 and config.read_text() == (
        bundle.dir / "config.json").read_text()
    replace(config, trick, tmp_path)
    # A link that would be followed would work: it leads to the very text.
    result = nucleus.run("exec", cid, "true", check=False, timeout=10)
    assert result.rc == 255 and len(result.err.splitlines()) == 1, str(result)
    assert f"{cid}.config" in result.err, str(result)
    result = nucleus.run("start", cid, check=False, timeout=10)
    assert result.rc == 1 and f"{cid}.config" in result.err, str(result)
    assert not list(mark.iterdir())
    if trick == "directory":
        assert reaping(nucleus.spawn("delete", "-f", cid)).rc == 1
        config.rmdir()
    assert reaping(nucleus.spawn("delete", "-f", cid)).rc == 0
    # Where there is none the bundle's own counts, as for a record of an older nucleus.
    assert os.listdir(mark) == (["poststop"] if trick == "directory" else []) and not config.exists()


def test_config_of_a_record_of_an_older_nucleus_is_the_bundle_s(nucleus, bundle, cid, mark):
    nucleus.create(cid, bundle)
    (nucleus.state_dir / f"{cid}.config").unlink()
    bundle.process["env"].append("LATER=1")
    bundle.write()
    assert "LATER=1" in nucleus.run("exec", cid, "env").out
    reaping(nucleus.spawn("delete", "-f", cid))


# ---- <id>.exec, <id>.started


FIFO_TRICKS = ["link", "dangling", "directory", "device", "huge", "empty", "garbage"]


@pytest.mark.parametrize("trick", FIFO_TRICKS)
@pytest.mark.parametrize("name", ["exec", "started"])
def test_fifos_of_start(nucleus, bundle, cid, mark, tmp_path, name, trick):
    """`start` neither hangs nor says that it did what it did not, and writes to nothing else."""
    bundle.config["hooks"] = {"poststart": [marking(mark, "poststart")]}
    nucleus.create(cid, bundle.write())
    path = nucleus.state_dir / f"{cid}.{name}"
    assert stat.S_ISFIFO(path.stat().st_mode) and path.stat().st_mode & 0o7777 == 0o600
    other = tmp_path / "other"
    other.write_bytes(b"x" * 10)
    path.unlink()
    if trick == "link":
        path.symlink_to(other)
    else:
        TRICKS[trick](path, b"", tmp_path)
    result = nucleus.fails("start", cid, text=f"{cid}.{name}", timeout=10)
    assert result.rc == 1 and not list(mark.iterdir())
    assert other.read_bytes() == b"x" * 10
    if path.is_file() and not path.is_symlink():
        assert path.stat().st_size in (0, HUGE, 256 * 64)
    assert "nucleus" in Path(f"/proc/{nucleus.state(cid)['pid']}/comm").read_text()
    remove(path)
    assert reaping(nucleus.spawn("delete", "-f", cid)).rc == 0
    assert not list(mark.iterdir())


def test_fifo_that_somebody_reads_along(nucleus, bundle, cid):
    """Who has it open too may take the byte; `start` then says nothing wrong, and a second one works."""
    nucleus.create(cid, bundle)
    fd = os.open(nucleus.state_dir / f"{cid}.exec", os.O_RDWR | os.O_NONBLOCK)
    try:
        nucleus.start(cid)
        assert nucleus.status(cid) == "running"
        wait_for(lambda: "nucleus" not in Path(f"/proc/{nucleus.state(cid)['pid']}/comm").read_text(), 5,
                 "the program to run")
    finally:
        os.close(fd)
    reaping(nucleus.spawn("delete", "-f", cid))


# ---- <id>.lock, <id>.json.tmp


@pytest.mark.parametrize("name", ["lock", "json.tmp", "config", "exec", "started", "json"])
@pytest.mark.parametrize("target", ["a file", "nothing"])
def test_link_that_was_there_before(nucleus, bundle, cid, tmp_path, name, target):
    """A name that `create` is going to use is a link already: what it leads to stays as it is."""
    victim = tmp_path / "victim"
    if target == "a file":
        victim.write_text("mine\n")
    nucleus.list()
    nucleus.state_dir.mkdir(mode=0o700, exist_ok=True)
    link = nucleus.state_dir / f"{cid}.{name}"
    link.symlink_to(victim)
    bundle.config["hooks"] = {"poststart": [{"path": "/bin/true"}]}
    result = nucleus.run("create", "-b", bundle.write().dir, cid, check=False, timeout=10)
    assert victim.exists() == (target == "a file") and (
        target != "a file" or victim.read_text() == "mine\n")
    if result.rc == 0:
        assert not link.is_symlink()
        reaping(nucleus.spawn("delete", "-f", cid))
    else:
        assert len(result.err.splitlines()) == 1, str(result)
        assert not nucleus.cgroups(cid)
    link.unlink(missing_ok=True)
    # Stays beside what might be a record.
    (nucleus.state_dir / f"{cid}.lock").unlink(missing_ok=True)


# ---- <id>.json


def hierarchies():
    """Directories that list everybody's processes, or none's: nobody's container."""
    return ["/", *cgroup_mounts(), str(Path(cgroup_mounts()[0]).parent)]


@pytest.mark.parametrize("field,value", [
    ("pid", 1), ("pid", -1), ("pid", 0), ("pid", 1 << 40), ("pid", "1"), ("cgroup_path", "relative"),
    ("cgroup_path", "../.."), ("cgroup_path", 5), ("bundle_path", "/nowhere"), ("bundle_path", 5),
    ("id", "other"), ("id", "../x"), ("status", "nonsense"), ("start_ticks", -1), ("annotations", [1])])
def test_record_that_lies(nucleus, bundle, cid, field, value):
    """Nothing is done to anybody else for what a record says; with the right one all works again."""
    nucleus.create(cid, bundle)
    nucleus.start(cid)
    path = nucleus.state_dir / f"{cid}.json"
    good = path.read_text()
    path.write_text(json.dumps(json.loads(good) | {field: value}))
    for command in (["kill", cid, "KILL"], ["exec", cid, "true"], ["pause", cid], ["state", cid]):
        result = reaping(nucleus.spawn(*command))
        assert result.rc >= 0 and len(result.err.splitlines()) <= 1, str(result)
    path.write_text(good)
    nucleus.run("resume", cid, check=False)
    reaping(nucleus.spawn("delete", "-f", cid))


@pytest.mark.parametrize("place", range(6))
def test_record_with_the_cgroup_of_everybody(nucleus, bundle, cid, place):
    """What would end the container would end the host: it is no container's cgroup, and refused. The signal
    is one that a failure of this test survives."""
    places = hierarchies()
    nucleus.create(cid, bundle)
    nucleus.start(cid)
    path = nucleus.state_dir / f"{cid}.json"
    good = path.read_text()
    path.write_text(json.dumps(json.loads(good) | {"cgroup_path": places[place % len(places)]}))
    result = nucleus.fails("kill", "-a", cid, "WINCH", text="it is no container's cgroup")
    assert places[place % len(places)] in result.err
    path.write_text(good)
    reaping(nucleus.spawn("delete", "-f", cid))


# ---- the bundle, between `create` and the rest


def test_bundle_edited_between_create_and_start(nucleus, bundle, cid, mark):
    """Everything is as it was when the container was created (runtime-spec, "Lifecycle")."""
    bundle.config["hooks"] = {kind: [marking(mark, kind)] for kind in ("poststart", "poststop")}
    bundle.process["env"].append("WHEN=before")
    nucleus.create(cid, bundle.write())
    for kind in ("poststart", "poststop"):
        bundle.config["hooks"][kind] = [marking(mark, "EDITED")]
    bundle.process.update(args=["false"], env=["WHEN=after", "PATH=/bin"], cwd="/etc", noNewPrivileges=False,
                          user={"uid": 7, "gid": 7}, capabilities={k: ["CAP_SYS_ADMIN"] for k in
                                                                   ("bounding", "effective", "permitted")})
    bundle.linux.update(maskedPaths=[], readonlyPaths=[], seccomp={"defaultAction": "SCMP_ACT_KILL"})
    bundle.config["root"]["readonly"] = True
    bundle.write()
    nucleus.start(cid)
    pid = nucleus.state(cid)["pid"]
    status = Path(f"/proc/{pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status and "Seccomp:\t0" in status and "\nUid:\t0\t" in status
    assert b"WHEN=before" in Path(f"/proc/{pid}/environ").read_bytes()
    result = nucleus.run("exec", cid, "sh", "-c", "echo $WHEN $(id -u); pwd; grep NoNew /proc/self/status")
    assert result.out.split() == ["before", "0", "/", "NoNewPrivs:", "1"]
    reaping(nucleus.spawn("delete", "-f", cid))
    assert sorted(os.listdir(mark)) == ["poststart", "poststop"]


@pytest.mark.parametrize("how", ["gone", "garbage", "another", "a link to another"])
def test_bundle_that_is_no_more(nucleus, bundle, make_bundle, cid, mark, how):
    bundle.config["hooks"] = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", f": > {mark}/{kind}"]}]
                              for kind in ("poststart", "poststop")}
    nucleus.create(cid, bundle.write())
    if how == "garbage":
        (bundle.dir / "config.json").write_text("{")
    else:
        bundle.dir.rename(bundle.dir.parent / "aside")
    if how.endswith("another"):
        other = make_bundle("other")
        other.config["hooks"] = {k: [marking(mark, "OTHER")] for k in ("poststart", "poststop")}
        other.process["env"] = ["PATH=/bin", "OTHER=1"]
        other.write()
        if how == "another":
            other.dir.rename(bundle.dir)
        else:
            bundle.dir.symlink_to(other.dir)
    # A hook runs in the bundle; where there is none it can't, and says so.
    result = nucleus.run("start", cid, check=False)
    if how == "gone":
        assert result.rc != 0 and len(result.err.splitlines()) == 1, str(result)
        assert "working directory" in result.err
    else:
        assert result.rc == 0, str(result)
        assert "OTHER" not in nucleus.run("exec", cid, "env").out
        assert "poststart" in os.listdir(mark)
    reaping(nucleus.spawn("delete", "-f", cid))
    assert "OTHER" not in os.listdir(mark)
    if bundle.dir.is_symlink():
        bundle.dir.unlink()
    shutil.rmtree(bundle.dir, ignore_errors=True)
