"""The seal: one bit, one name, one file more or less, and neither `verify` nor `restore` takes it.

All of it is tried on copies of one checkpoint, made by the first test that wants one."""

import hashlib
import hmac
import json
import os
import re
import shutil
import stat
import struct
import time
from pathlib import Path

import pytest

from harness import Counting, session_dir
from test_checkpoint import records, refused  # noqa: F401 (fixtures)

_made = {}


@pytest.fixture
def sealed(nucleus, make_bundle, tmp_path):
    """A checkpoint of its own for the test, with the key it was sealed with; .bundle is one to
    restore it with."""
    if not _made:
        one = Counting(nucleus, make_bundle("origin"), before="echo x >/dev/shm/file; ")
        one.more()
        place = session_dir() / "sealed"
        one.checkpoint(tmp_path / "cp", "--leave-running")
        shutil.copytree(tmp_path / "cp", place)
        _made.update(place=place, key=nucleus.key_file.read_bytes(), id=one.id,
                     command=one.bundle.process["args"], made=time.time())
        nucleus.stop(one.id)
        shutil.rmtree(tmp_path / "cp")
    nucleus.key_file.write_bytes(_made["key"])
    shutil.copytree(_made["place"], tmp_path / "cp")
    for path in (tmp_path / "cp", tmp_path / "cp" / "images"):
        path.chmod(0o700)
    return tmp_path / "cp"


def rust_digest(directory, key):
    """H1, written down a second time."""
    mac = hmac.new(key, digestmod=hashlib.sha256)

    def walk(path, relative):
        for name in sorted(os.listdir(path)):
            here = os.path.join(path, name)
            below = f"{relative}/{name}" if relative else name
            if below == "checkpoint.hmac":
                continue
            if os.path.isdir(here):
                mac.update(b"D\0" + below.encode() + b"\0")
                walk(here, below)
            else:
                data = Path(here).read_bytes()
                mac.update(b"F\0" + below.encode() + b"\0" + struct.pack("<Q", len(data)) + data)

    walk(directory, "")
    return mac.hexdigest()


def neither(nucleus, directory, bundle, *texts):
    """verify says no (1), restore says no, with a clear reason and without the digest; and nothing
    comes of it."""
    digest = rust_digest(_made["place"], _made["key"])
    before = records(nucleus)
    cid = nucleus.new_id("never")
    for args in (("verify", directory),
                 ("restore", "-d", "-i", directory, "-b", bundle, cid)):
        result = nucleus.fails(*args, text=list(texts))
        assert result.rc == 1 or args[0] != "verify"
        assert digest not in result.err and digest[:16] not in result.err
        seal = directory / "checkpoint.hmac"
        if seal.is_file() and 16 < seal.stat().st_size < 4096:
            there = seal.read_bytes()[:16].decode(errors="replace")
            assert there not in result.err, "what was read is not printed either"
        assert not re.search(r"\b[0-9a-f]{32,}\b", result.err), result.err
    assert records(nucleus) == before
    assert nucleus.cgroups(cid) == []


def files(directory):
    return sorted(p for p in directory.rglob("*") if p.is_file())


def test_h1_digest_is_the_one_written_down(sealed):
    assert (sealed / "checkpoint.hmac").read_text().strip() == rust_digest(sealed, _made["key"])
    assert re.fullmatch(r"[0-9a-f]{64}\n?", (sealed / "checkpoint.hmac").read_text())


def test_h6_verify_says_what_it_verified(nucleus, sealed):
    result = nucleus.run("verify", sealed)
    covered = [p for p in files(sealed) if p.name != "checkpoint.hmac"]
    size = sum(p.stat().st_size for p in covered)
    assert f"{len(covered)} files" in result.out and f"{size} bytes" in result.out, result
    assert "1 directories" in result.out or "1 directory" in result.out
    assert _made["id"] in result.out
    assert time.strftime("%Y-%m-%d", time.gmtime(_made["made"])) in result.out
    assert _made["command"][0] in result.out
    assert result.err == ""


def test_h6_verify_needs_no_store(nucleus, sealed):
    nucleus.run("verify", sealed, root=False, env={"NUCLEUS_STATE_DIR": None, "HOME": "/nowhere"})
    assert not nucleus.state_dir.exists() or not list(nucleus.state_dir.glob("*.json"))


def test_h6_one_bit_in_each_file(nucleus, sealed, bundle):
    """At the beginning, the end and two places between; restore once a file."""
    for path in files(sealed):
        data = path.read_bytes()
        places = sorted({0, len(data) - 1, len(data) // 3, len(data) * 2 // 3} - {-1})
        for n, place in enumerate(places if data else []):
            flipped = bytearray(data)
            flipped[place] ^= 1 << (place % 7)
            path.write_bytes(flipped)
            if path.name == "checkpoint.hmac":
                nucleus.fails("verify", sealed)
            else:
                nucleus.fails("verify", sealed, text="HMAC mismatch")
            if n == 0 and path.name != "checkpoint.hmac":
                neither(nucleus, sealed, bundle, "HMAC mismatch")
        path.write_bytes(data)
    nucleus.run("verify", sealed)


@pytest.mark.parametrize("change", [
    lambda d: (d / "images" / "extra").write_bytes(b""),
    lambda d: (d / "extra").write_text("x"),
    lambda d: (d / "images" / "checkpoint.hmac").write_text("x"),
    lambda d: (d / "empty").mkdir(),
    lambda d: (d / "images" / "mm-1.img").unlink(),
    lambda d: (d / "metadata.json").unlink(),
    lambda d: (d / "images" / "nucleus.json").unlink(),
    lambda d: (d / "images" / "mm-1.img").rename(d / "images" / "mm-2.img"),
    lambda d: (d / "images" / "mm-1.img").rename(d / "mm-1.img"),
    lambda d: os.truncate(d / "images" / "pages-1.img", 4096),
    lambda d: os.truncate(d / "images" / "pages-1.img", 0),
    lambda d: os.truncate(d / "metadata.json", 20),
    lambda d: open(d / "images" / "core-1.img", "ab").write(b"\0"),
    lambda d: swap(d / "images" / "core-1.img", d / "images" / "mm-1.img"),
    lambda d: (d / "metadata.json").write_text((d / "metadata.json").read_text() + " "),
], ids=["added empty", "added at the root", "added second seal", "added directory", "removed",
        "removed metadata", "removed record", "renamed", "moved", "truncated", "emptied",
        "truncated metadata", "longer", "swapped", "blank"])
def test_h6_tree_changed(nucleus, sealed, bundle, change):
    change(sealed)
    neither(nucleus, sealed, bundle, "HMAC mismatch")


def swap(a, b):
    one, two = a.read_bytes(), b.read_bytes()
    a.write_bytes(two)
    b.write_bytes(one)


def test_h6_times_and_modes_do_not_matter(nucleus, sealed):
    """What the digest does not cover, as a copy changes it."""
    for path in files(sealed):
        path.chmod(0o400)
        os.utime(path, (0, 0))
    nucleus.run("verify", sealed)


@pytest.mark.parametrize("make, text", [
    (lambda d: (d / "images" / "link").symlink_to("core-1.img"), "link"),
    (lambda d: (d / "images" / "link").symlink_to("/nowhere"), "link"),
    (lambda d: ((d / "images" / "core-1.img").rename(d.parent / "core"),
                (d / "images" / "core-1.img").symlink_to("../../core")), "core-1.img"),
    (lambda d: os.mkfifo(d / "images" / "fifo"), "fifo"),
    (lambda d: os.mknod(d / "images" / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3)),
     "device"),
    (lambda d: open(os.fsencode(d / "images") + b"/\xff\xfe", "w").close(), "utf-8"),
    (lambda d: os.mkdir(os.fsencode(d) + b"/caf\xe9"), "utf-8"),
], ids=["symlink", "dangling symlink", "file replaced by symlink", "fifo", "device",
        "name not UTF-8", "directory not UTF-8"])
def test_h2_what_has_no_place_in_a_tree(nucleus, sealed, bundle, make, text):
    make(sealed)
    neither(nucleus, sealed, bundle, text)


def test_h2_refused_when_sealing(nucleus, counting, tmp_path):
    """In runc's form the directory may have held something before."""
    one = counting()
    (tmp_path / "cp").mkdir()
    (tmp_path / "cp" / "link").symlink_to("/etc/passwd")
    nucleus.fails("checkpoint", "--image-path", tmp_path / "cp", "--seal", one.id, text="link",
                  timeout=60)
    one.more()
    assert not (tmp_path / "cp" / "checkpoint.hmac").exists()
    assert (tmp_path / "cp" / "link").is_symlink()


def test_h6_images_is_a_symlink(nucleus, sealed, bundle):
    (sealed / "images").rename(sealed.parent / "images")
    (sealed / "images").symlink_to("../images")
    neither(nucleus, sealed, bundle, "images")


@pytest.mark.parametrize("content", [
    None, b"", b"\n", b"0" * 63, b"0" * 65, b"0" * 64 + b"\n\n", b"g" * 64, b"0" * 64 + b" x",
    b"\0" * 64, b"0" * 100000], ids=["missing", "empty", "newline", "63", "65", "two newlines",
                                     "no hex", "more", "NUL", "100000"])
def test_h6_malformed_seal(nucleus, sealed, bundle, content):
    seal = sealed / "checkpoint.hmac"
    if content is None:
        seal.unlink()
    else:
        seal.write_bytes(content)
    neither(nucleus, sealed, bundle, "checkpoint.hmac")


def test_h6_upper_case_is_no_seal(nucleus, sealed, bundle):
    seal = sealed / "checkpoint.hmac"
    seal.write_text(seal.read_text().upper())
    neither(nucleus, sealed, bundle)


@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory"])
def test_h6_seal_that_is_no_file(nucleus, sealed, bundle, kind):
    seal = sealed / "checkpoint.hmac"
    seal.rename(sealed.parent / "seal")
    if kind == "symlink":
        seal.symlink_to("../seal")
    elif kind == "fifo":
        os.mkfifo(seal)
    else:
        seal.mkdir()
    neither(nucleus, sealed, bundle, "checkpoint.hmac")


# ---- the key


def test_h3_other_key(nucleus, sealed, bundle):
    nucleus.key_file.write_bytes(os.urandom(32))
    neither(nucleus, sealed, bundle, "HMAC mismatch")
    key = bytearray(_made["key"])
    key[31] ^= 1
    nucleus.key_file.write_bytes(key)
    neither(nucleus, sealed, bundle, "HMAC mismatch")
    nucleus.key_file.write_bytes(_made["key"] + b"\n")
    neither(nucleus, sealed, bundle, "HMAC mismatch")


@pytest.mark.parametrize("spoil, text", [
    (lambda key: key.chmod(0o644), "checkpoint.key"),
    (lambda key: key.chmod(0o620), "checkpoint.key"),
    (lambda key: os.truncate(key, 31), "32"),
    (lambda key: os.truncate(key, 0), "32"),
    (lambda key: os.truncate(key, 1 << 20), "checkpoint.key"),
    (lambda key: os.chown(key, 65534, 65534), "checkpoint.key"),
    (lambda key: key.parent.chmod(0o750), str("/key")),
    (lambda key: key.parent.chmod(0o703), str("/key")),
    (lambda key: os.chown(key.parent, 65534, 65534), "/key"),
    (lambda key: (key.rename(f"{key}2"), key.symlink_to(f"{key}2")), "symlink"),
    (lambda key: (key.parent.rename(f"{key.parent}2"), key.parent.symlink_to(f"{key.parent}2")),
     "symlink"),
    (lambda key: key.unlink(), "checkpoint.key"),
    (lambda key: (key.unlink(), key.mkdir(0o700)), "checkpoint.key"),
    (lambda key: (key.unlink(), os.mkfifo(key, 0o600)), "checkpoint.key"),
], ids=["0644", "0620", "31 bytes", "empty", "1 MiB", "owner", "dir 0750", "dir 0703",
        "dir owner", "symlink", "dir symlink", "missing", "dir", "fifo"])
def test_h5_key_that_is_refused(nucleus, sealed, bundle, spoil, text):
    spoil(nucleus.key_file)
    neither(nucleus, sealed, bundle, text)


def test_h4_key_is_not_made_to_verify(nucleus, sealed, bundle):
    nucleus.key_file.unlink()
    neither(nucleus, sealed, bundle, str(nucleus.key_file))
    assert not nucleus.key_file.exists()


def test_h4_places_of_the_key(nucleus, sealed, tmp_path):
    """As root without the variable: /var/lib/nucleus; never below /tmp or the caller's home."""
    if Path("/var/lib/nucleus/checkpoint-hmac.key").exists():
        pytest.skip("this machine has a key of its own")
    result = nucleus.fails("verify", sealed,
                           env={"NUCLEUS_CHECKPOINT_HMAC_KEY_FILE": None, "HOME": str(tmp_path),
                                "XDG_DATA_HOME": str(tmp_path)})
    assert "/var/lib/nucleus/checkpoint-hmac.key" in result.err
    assert not Path("/var/lib/nucleus/checkpoint-hmac.key").exists()


@pytest.mark.parametrize("xdg", [True, False])
def test_h4_places_of_a_users_key(nucleus, sealed, tmp_path, xdg):
    """Somebody else than root looks in their data directory."""
    home = tmp_path / "home"
    place = home / "data" / "nucleus" if xdg else home / ".nucleus"
    place.mkdir(parents=True, mode=0o700)
    place.chmod(0o700)
    (place / "checkpoint-hmac.key").write_bytes(_made["key"])
    (place / "checkpoint-hmac.key").chmod(0o600)
    for path in [home, *home.rglob("*"), sealed, *sealed.rglob("*")]:
        os.chown(path, 65534, 65534)
    for path in [tmp_path, *tmp_path.parents]:
        if path.stat().st_mode & 0o001 == 0:
            path.chmod(path.stat().st_mode | 0o011)
    nucleus.run("verify", sealed, user=65534, group=65534, extra_groups=[], root=False,
                env={"NUCLEUS_CHECKPOINT_HMAC_KEY_FILE": None, "HOME": str(home),
                     "XDG_DATA_HOME": str(home / "data") if xdg else None})


def test_h6_verify_of_something_else(nucleus, sealed, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("cp")
    for path, text in ((tmp_path / "nothing", "no such file"), (tmp_path / "empty", "hmac"),
                       (sealed / "metadata.json", "not a directory"), (tmp_path / "link", "link")):
        assert nucleus.fails("verify", path, text=text).rc == 1


def test_h6_verify_in_runcs_form(nucleus, counting, tmp_path):
    one = counting()
    nucleus.run("checkpoint", "--image-path", tmp_path / "cp", "--seal", one.id, timeout=60)
    assert one.id in nucleus.run("verify", tmp_path / "cp").out
    (tmp_path / "cp" / "stats-dump").write_bytes(b"x")
    nucleus.fails("verify", tmp_path / "cp", text="HMAC mismatch")


def test_m3_limits_that_make_no_sense(nucleus, sealed, bundle):
    """Sealed, so they can be believed to be ours; and still checked."""
    path = sealed / "metadata.json"
    metadata = json.loads(path.read_text())
    limits = dict.fromkeys(["memory_bytes", "memory_high", "memory_swap_max", "cpu_quota_us",
                            "cpu_period_us", "cpu_weight", "pids_max"])
    for bad in ({"cpu_quota_us": 1000, "cpu_period_us": 0}, {"pids_max": 0},
                {"pids_max": 2**64 - 1}):
        metadata["resource_limits"] = {**limits, "io_limits": [], **bad}
        path.write_text(json.dumps(metadata))
        (sealed / "checkpoint.hmac").write_text(rust_digest(sealed, _made["key"]))
        cid = nucleus.new_id("never")
        nucleus.fails("restore", "-d", "-i", sealed, "-b", bundle, cid,
                      text="invalid checkpoint resource limits")
        assert nucleus.list() == []


def test_h1_sealed_again_by_hand_restores(nucleus, sealed, make_bundle, tmp_path):
    """Another tool with the key can seal: the digest is all there is to it."""
    (sealed / "note").write_text("added, and sealed again")
    (sealed / "checkpoint.hmac").write_text(rust_digest(sealed, _made["key"]) + "\n")
    nucleus.run("verify", sealed)
