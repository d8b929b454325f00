"""What a restored container may do comes from its bundle: mounts, root, capabilities, no_new_privs,
seccomp. The images only bring back what the bundle allows."""

import json

import pytest
from harness import Counting, wait_for

ALLOW = {"defaultAction": "SCMP_ACT_ALLOW",
         "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}]}


@pytest.fixture
def counting(nucleus, make_bundle):
    made = []

    def make(**kwargs):
        made.append(Counting(nucleus, make_bundle(), **kwargs))
        return made[-1]

    yield make
    delete_all(nucleus)


def ids(nucleus):
    return nucleus.run("list", "-q").out.split()


def delete_all(nucleus):
    for cid in ids(nucleus):
        nucleus.delete(cid, "-f")


def change(one, function):
    function(one.bundle.config)
    (one.bundle.dir / "config.json").write_text(json.dumps(one.bundle.config))


def nothing_came_back(nucleus, cid):
    assert cid not in ids(nucleus)
    assert nucleus.cgroups(cid) == []


def frozen(one, tmp_path, form):
    directory = tmp_path / "cp"
    if form == "sealed":
        one.checkpoint(directory)
        return ["-i", directory]
    one.nucleus.run("checkpoint", "--image-path", directory, one.id)
    return ["--image-path", directory]


def strip_capabilities(config):
    for name in config["process"]["capabilities"]:
        config["process"]["capabilities"][name] = ["CAP_KILL"]


def ask_for_seccomp(config):
    config["linux"]["seccomp"] = ALLOW


@pytest.mark.parametrize("form", ["sealed", "unsealed"])
@pytest.mark.parametrize("stricter, text", [
    (strip_capabilities, "which the bundle does not give it"),
    (ask_for_seccomp, "without a seccomp filter"),
], ids=["capabilities", "seccomp"])
def test_c13_process_beyond_its_bundle_never_runs(nucleus, counting, tmp_path, form, stricter,
                                                  text):
    one = counting()
    where = frozen(one, tmp_path, form)
    written = one.numbers()
    change(one, stricter)
    cid = nucleus.new_id("beyond")
    nucleus.fails("restore", "-d", *where, "-b", one.bundle.dir, cid, text=text)
    nothing_came_back(nucleus, cid)
    assert one.numbers() == written


def test_c13_no_new_privs_is_asked_of_what_comes_back(nucleus, counting, make_bundle, tmp_path):
    bundle = make_bundle("lax")
    bundle.process["noNewPrivileges"] = False
    one = Counting(nucleus, bundle)
    one.checkpoint(tmp_path / "cp")
    change(one, lambda config: config["process"].update(noNewPrivileges=True))
    cid = nucleus.new_id("beyond")
    nucleus.fails("restore", "-d", "-i", tmp_path / "cp", "-b", bundle.dir, cid,
                  text="without no_new_privs")
    nothing_came_back(nucleus, cid)
    change(one, lambda config: config["process"].update(noNewPrivileges=False))
    one.restore(tmp_path / "cp")
    one.more()
    delete_all(nucleus)


def test_c14_seccomp_and_no_new_privs_are_back(nucleus, make_bundle, tmp_path):
    bundle = make_bundle("strict")
    bundle.linux["seccomp"] = ALLOW
    bundle.process["noNewPrivileges"] = True
    one = Counting(nucleus, bundle)
    one.checkpoint(tmp_path / "cp")
    one.restore(tmp_path / "cp")
    one.more()
    status = one.nucleus.state(one.id)["pid"]
    with open(f"/proc/{status}/status") as f:
        text = f.read()
    assert "Seccomp:\t2" in text and "NoNewPrivs:\t1" in text
    delete_all(nucleus)


def test_b4_the_bundle_says_what_is_external(nucleus, make_bundle, tmp_path):
    """The bind's source at the restore is the one of the bundle that is given then, and root is the
    bundle's root file system."""
    first, second = tmp_path / "first", tmp_path / "second"
    for directory in (first, second):
        directory.mkdir()
        (directory / "name").write_text(directory.name)
    bundle = make_bundle("bound")
    bundle.bind(first, "/data", "ro")
    one = Counting(nucleus, bundle)
    assert one.root("/data/name").read_text() == "first"
    where = tmp_path / "cp"
    nucleus.run("checkpoint", "--image-path", where, one.id)
    record = json.loads((where / "nucleus.json").read_text())
    assert "/data" in record["external_mounts"]
    assert str(first) not in (where / "nucleus.json").read_text()

    def elsewhere(config):
        for mount in config["mounts"]:
            if mount["destination"] == "/data":
                mount["source"] = str(second)

    change(one, elsewhere)
    cid = nucleus.new_id("again")
    nucleus.run("restore", "-d", "--image-path", where, "-b", bundle.dir, cid)
    nucleus.delete(one.id)
    one.id = cid
    assert one.root("/data/name").read_text() == "second"
    wait_for(lambda: (bundle.dir / "rootfs").stat().st_ino == one.root("/").stat().st_ino)
    nucleus.delete(cid, "-f")
