"""What a restored container may do comes from its bundle: mounts, root, capabilities, no_new_privs,
seccomp. The images only bring back what the bundle allows."""

import json

import pytest
from harness import Counting, wait_for

ALLOW = {"defaultAction": "SCMP_ACT_ALLOW",
         "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}]}


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


DEVICES = ("mknod /tmp/disk b 254 0; mknod /tmp/memory c 1 1; "
           "for i in /tmp/disk /tmp/memory; do head -c 1 $i >/dev/null 2>&1 && echo opened $i; done; "
           "for i in zero random urandom full; do head -c 1 /dev/$i >/dev/null || echo no $i; done; "
           ": >/dev/null || echo no null; echo tried")


def test_devices_of_the_host_can_not_be_opened(nucleus, make_bundle, tmp_path):
    """Root in the container may make nodes (CAP_MKNOD), but not open what is not its own; after a
    restore as before."""
    bundle = make_bundle("devices")
    bundle.tmpfs("/tmp", "mode=1777")
    for name in bundle.process["capabilities"]:
        if "CAP_MKNOD" not in bundle.process["capabilities"][name] and name != "ambient":
            bundle.process["capabilities"][name].append("CAP_MKNOD")
    result = nucleus.run_container(
        "d-" + nucleus.token, bundle.sh(f"trap '{DEVICES}' USR1; {DEVICES}; "
                                        "while :; do sleep 0.05; done"), "-d")
    wait_for(lambda: "tried" in result.out)
    assert result.out == "tried\n", result.out
    nucleus.checkpoint("d-" + nucleus.token, tmp_path / "cp")
    nucleus.restore(tmp_path / "cp", "-d", "-b", bundle, "e-" + nucleus.token)
    nucleus.kill("e-" + nucleus.token, "USR1")
    wait_for(lambda: result.out.count("tried") == 2)
    assert "opened" not in result.out and "no " not in result.out, result.out
    delete_all(nucleus)


def test_directory_others_can_write_to_is_no_place_for_a_checkpoint(nucleus, counting, tmp_path):
    one = counting()
    open_dir, used = tmp_path / "open", tmp_path / "used"
    open_dir.mkdir()
    open_dir.chmod(0o777)
    used.mkdir(0o755)
    (used / "something").write_text("else")
    nucleus.fails("checkpoint", "-o", open_dir, one.id, text="others can write")
    nucleus.fails("checkpoint", "--image-path", tmp_path / "x", "--work-path", open_dir, one.id,
                  text="others could put links")
    assert open_dir.stat().st_mode & 0o7777 == 0o777
    nucleus.run("checkpoint", "--leave-running", "--image-path", used, one.id)
    assert used.stat().st_mode & 0o7777 == 0o755
    for image in used.glob("*.img"):
        assert image.stat().st_mode & 0o077 == 0, image
    one.more()
