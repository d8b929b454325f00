"""`..`, symlinks and what is no path at all, in every field and option that takes a path. Inside the root file
system they lead nowhere else; on the host they are the caller's own, and what is wrong with them is said in
one line. Beside each runs a container that must not notice (see test_bad_input.py)."""

import json
import os
import socket
from pathlib import Path

import pytest

from harness import _mount
from test_bad_input import both, bystander, refused  # noqa: F401
from test_exec import reaping
from test_security import SECRET, secret  # noqa: F401

pytestmark = pytest.mark.nucleus_only


@pytest.fixture
def bundle(bundle):
    bundle.linux.pop("resources", None)
    return bundle.write()


# ---- inside the root file system


# Each leads out of the root for whoever follows it in the host's view; "{out}" is a directory there.
INSIDE = ["/../../../../../../../..{out}", "/a/b/../../../../../../..{out}", "/up/up{out}", "/out",
          "/out/../..{out}", "/loop", "/magic/root{out}", "/etc/passwd/..{out}"]


@pytest.fixture
def links(bundle, secret):  # noqa: F811
    """What the paths above need."""
    for name, target in (("up", "../../../../../../../.."), ("out", str(secret)), ("loop", "loop"),
                         ("magic", "/proc/1")):
        (bundle.rootfs / name).symlink_to(target)
    return bundle


def in_destination(bundle, path):
    bundle.tmpfs(path)


def in_destination_of_a_file(bundle, path):
    bundle.bind(bundle.rootfs / "etc" / "group", f"{path}/made")


def in_cwd(bundle, path):
    bundle.process["cwd"] = path


def in_cwd_as_user(bundle, path):
    bundle.process["cwd"] = path
    bundle.process["user"] = {"uid": 1000, "gid": 1000}


def in_masked(bundle, path):
    bundle.linux["maskedPaths"] += [path, f"{path}/secret"]


def in_readonly(bundle, path):
    bundle.linux["readonlyPaths"] += [path, f"{path}/secret"]


def in_device(bundle, path):
    bundle.linux["devices"] = [{"path": f"{path}/made", "type": "c", "major": 1, "minor": 3}]


FIELDS = [in_destination, in_destination_of_a_file, in_cwd, in_cwd_as_user, in_masked, in_readonly,
          in_device]


@pytest.mark.parametrize("field", FIELDS, ids=lambda f: f.__name__[3:])
def test_path_inside_leads_nowhere_else(nucleus, bystander, links, cid, secret, field):  # noqa: F811
    """It is made, or taken, inside; or refused by its name. The fixture `secret` sees what would be
    made outside."""
    good = json.dumps(links.sh(f"cat ./secret {secret}/secret /out/secret; :").config)
    host = Path("/proc/self/mountinfo").read_text()
    for path in INSIDE:
        links.config = json.loads(good)
        field(links, path.format(out=secret))
        result = nucleus.run_container(cid, links.write(), check=False)
        assert SECRET not in result.out, str(result)
        if result.rc != 0:
            lines = result.err.splitlines()
            assert len(lines) == 1 and lines[0].startswith("nucleus: "), str(result)
            assert "/" in lines[0] and result.out == "", str(result)
        assert Path("/proc/self/mountinfo").read_text() == host
        assert [p.name for p in secret.iterdir()] == ["secret"], path
    bystander.check()


@pytest.mark.parametrize("field,text", [
    (in_destination, "mounts[7]"), (in_cwd, "process.cwd"), (in_masked, "linux.maskedPaths"),
    (in_readonly, "linux.readonlyPaths"), (in_device, "linux.devices")])
@pytest.mark.parametrize("path", ["/" + "x" * 5000, "/" + "d/" * 3000, "/a\x00b"],
                         ids=["long name", "long path", "nul"])
def test_path_inside_that_is_none(refused, bundle, cid, field, text, path):  # noqa: F811
    field(bundle, path)
    both(refused, bundle.write().dir, cid, "config.json" if "\x00" in path else text)


@pytest.mark.parametrize("path", ["relative", "./x", "../x"])
@pytest.mark.parametrize("field", [in_cwd, in_device], ids=["cwd", "device"])
def test_path_inside_that_is_relative(refused, bundle, cid, field, path):  # noqa: F811
    field(bundle, path)
    both(refused, bundle.write().dir, cid, "path" if field is in_device else "cwd")


@pytest.mark.parametrize("kind", ["bind", "tmpfs", "proc"])
def test_mount_onto_proc(refused, bundle, cid, tmp_path, kind):  # noqa: F811
    (bundle.rootfs / "link").symlink_to("proc/self")
    (bundle.rootfs / "up").symlink_to("../..")
    (tmp_path / "source").mkdir()
    bundle.config["mounts"].append(None)
    for destination in ("/proc/self/fd", "/proc/self/exe", "/proc/1/root", "/proc/thread-self",
                        "/proc/self/../self/attr/current", "/proc/sys/kernel/core_pattern", "/link/fd",
                        "/up/proc/self/attr"):
        bundle.config["mounts"][-1] = _mount(destination, kind, str(tmp_path / "source"))
        named = destination if destination[1:5] != "proc" else "/proc/"
        both(refused, bundle.write().dir, cid, ["mount", named])


# ---- on the host


@pytest.fixture
def change(bundle):
    """change(what, path): config.json with this path in this place."""

    def mount_source(path):
        bundle.config["mounts"].append(_mount("/place", "bind", path, "bind"))

    def namespace(path):
        bundle.linux["namespaces"] = [n for n in bundle.linux["namespaces"] if n["type"] != "network"]
        bundle.linux["namespaces"].append({"type": "network", "path": path})

    def listener(path):
        bundle.linux["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path,
            "syscalls": [{"names": ["getcwd"], "action": "SCMP_ACT_NOTIFY"}]}

    def hook(path):
        bundle.config["hooks"] = {"createRuntime": [{"path": path}]}

    def root(path):
        bundle.config["root"]["path"] = path

    def cgroup(path):
        bundle.linux["cgroupsPath"] = path

    places = {"root.path": root, "mounts[].source": mount_source, "hooks": hook, "namespaces": namespace,
              "listenerPath": listener, "cgroupsPath": cgroup}

    def apply(what, path):
        places[what](str(path))
        return bundle.write()

    return apply


NAMED_BY = {"root.path": "root", "mounts[].source": "mounts[7]", "hooks": "hooks.createRuntime[0]",
            "namespaces": "namespace", "listenerPath": "listenerPath"}


@pytest.mark.parametrize("what", NAMED_BY)
@pytest.mark.parametrize("how", ["missing", "loop", "dangling", "file/x", "long", "/proc/self/fd/99",
                                 "directory"])
def test_host_path_that_is_none(refused, bundle, cid, change, tmp_path, what, how):  # noqa: F811
    place = tmp_path / "place"
    place.mkdir()
    (place / "loop").symlink_to("loop")
    (place / "dangling").symlink_to("nowhere")
    (place / "file").touch()
    path = {"long": "/" + "l" * 5000, "/proc/self/fd/99": how, "directory": place}.get(how, place / how)
    if how == "directory" and what in ("root.path", "mounts[].source"):
        pytest.skip("it is what belongs there")
    both(refused, change(what, path).dir, cid, NAMED_BY[what])


def test_host_paths_through_links_are_the_caller_s_business(nucleus, bundle, cid, change, tmp_path):
    """Not refused: who writes config.json may name what they like."""
    (tmp_path / "way").symlink_to(bundle.dir)
    (bundle.dir / "data").mkdir()
    (bundle.dir / "data" / "file").write_text("here\n")
    hook = bundle.dir / "hook"
    hook.write_text("#!/bin/sh\n: > \"$0.ran\"\n")
    hook.chmod(0o755)
    change("mounts[].source", tmp_path / "way" / ".." / "bundle" / "data")
    change("hooks", tmp_path / "way" / "hook")
    change("root.path", "../way/rootfs/../rootfs")
    assert nucleus.run_container(cid, bundle.sh("cat /place/file")).out == "here\n"
    assert (bundle.dir / "hook.ran").exists()


@pytest.mark.parametrize("path", ["..", "../x", "/../../escape", "/nucleus/../../x", "a/../../b", "/a/..",
                                  "/a/./../..", "//", "/", "/a\n/b", "/" + "g" * 300])
def test_cgroups_path(nucleus, bystander, bundle, cid, change, path):  # noqa: F811
    """Refused, or below the hierarchy's top and gone afterwards: the leak check looks."""
    change("cgroupsPath", path)
    result = nucleus.run("run", "-b", bundle.sh("true").dir, cid, check=False)
    if ".." in path.split("/") or result.rc != 0:
        assert result.rc != 0 and len(result.err.splitlines()) == 1, str(result)
        assert "cgroup" in result.err, str(result)
    bystander.check()


SYSCTLS = [
    "net/../kernel/core_pattern", "net.../kernel/core_pattern", "net/..", "net.ipv4/../../kernel/core_pattern",
    "net/ipv4/../../kernel/core_pattern", "../sys/kernel/core_pattern", "net..ipv4.ip_forward", "net.",
    ".net.ipv4.ip_forward", "net//ipv4/ip_forward", "/net/ipv4/ip_forward", "net.ipv4.ip_forward\n", "",
    "kernel.core_pattern", "kernel/core_pattern", "kernel.msgmax/../core_pattern", "fs.mqueue.../x",
    "vm.swappiness", "net." + "x" * 5000, "net.ipv4", "net.ipv4.nothing"]


def test_sysctl_key(refused, bundle, cid):  # noqa: F811
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    for key in SYSCTLS:
        bundle.linux["sysctl"] = {key: "1"}
        both(refused, bundle.write().dir, cid, "sysctl")
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


# ---- options


@pytest.mark.parametrize("option", ["--console-socket", "--pidfd-socket"])
@pytest.mark.parametrize("how", ["missing", "loop", "file", "directory", "long", "fifo", "nobody", "datagram"])
def test_socket_that_is_none(refused, bundle, cid, tmp_path, option, how):  # noqa: F811
    place = tmp_path / "p"
    place.mkdir()
    (place / "loop").symlink_to("loop")
    (place / "file").touch()
    os.mkfifo(place / "fifo")
    with socket.socket(socket.AF_UNIX) as gone, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dgram:
        os.chdir(place)
        try:
            gone.bind("nobody")
            dgram.bind("datagram")
        finally:
            os.chdir("/")
        path = {"directory": place, "long": place / ("s" * 120)}.get(how, place / how)
        bundle.process["terminal"] = option == "--console-socket"
        result = refused("create", "-b", bundle.write().dir, option, path, cid, text=str(path)[:90])
        assert "socket" in result.err


@pytest.mark.parametrize("how", ["loop", "directory", "file/x", "long", "new/x"])
def test_pid_file_that_is_none(refused, bundle, cid, tmp_path, how):  # noqa: F811
    place = tmp_path / "place"
    place.mkdir()
    (place / "loop").symlink_to("loop")
    (place / "file").touch()
    path = {"directory": place, "long": place / ("n" * 300), "loop": place / "loop" / "x"}.get(how, place / how)
    refused("create", "-b", bundle.dir, "--pid-file", path, cid, text="pid file")
    assert sorted(os.listdir(place)) == ["file", "loop"]


@pytest.mark.parametrize("command", ["create", "exec"])
def test_pid_file_that_is_a_link_is_replaced(nucleus, bundle, cid, secret, tmp_path, command):  # noqa: F811
    """In a directory others can write to, a link there must not decide what is overwritten."""
    place = tmp_path / "place"
    place.mkdir()
    (place / "pid").symlink_to(secret / "secret")
    options = ["--pid-file", place / "pid"]
    nucleus.create(cid, bundle.sh("sleep 1000"), *(options if command == "create" else []))
    if command == "exec":
        nucleus.start(cid)
        nucleus.run("exec", "-d", *options, cid, "sleep", "1000")
    assert not (place / "pid").is_symlink() and (place / "pid").read_text().isdigit()
    assert os.listdir(place) == ["pid"]
    reaping(nucleus.spawn("delete", "-f", cid))


@pytest.mark.parametrize("how", ["missing", "loop", "file", "file/x", "long", "/proc/self/fd/99", ""])
def test_bundle_that_is_none(refused, nucleus, cid, tmp_path, how):  # noqa: F811
    place = tmp_path / "place"
    place.mkdir()
    (place / "loop").symlink_to("loop")
    (place / "file").touch()
    path = {"long": "/" + "b" * 5000, "/proc/self/fd/99": how, "": ""}.get(how, place / how)
    both(refused, path, cid, "bundle")


def test_bundle_by_a_link_and_dots(nucleus, bundle, cid, tmp_path):
    (tmp_path / "link").symlink_to("bundle")
    nucleus.run("run", "-b", tmp_path / "link" / ".." / "bundle" / ".", cid, cwd=tmp_path)
    nucleus.run("create", "-b", tmp_path / "link", cid)
    # What a later command reads is not what the link leads to by then.
    assert nucleus.state(cid)["bundle"] == str(bundle.dir)
    nucleus.delete(cid, "-f")


def test_link_in_a_bundle_is_followed_to_config_json(nucleus, bundle, cid, tmp_path):
    """config.json itself is the caller's, wherever it lies."""
    (bundle.dir / "config.json").rename(tmp_path / "elsewhere.json")
    (bundle.dir / "config.json").symlink_to(tmp_path / "elsewhere.json")
    result = nucleus.run("run", "-b", bundle.dir, cid, check=False)
    assert result.rc == 0 or "config.json" in result.err


@pytest.mark.parametrize("target", ["{secret}", "/etc", "nowhere"])
def test_state_directory_that_is_a_link(nucleus, bundle, cid, secret, tmp_path, target):  # noqa: F811
    link = tmp_path / "state-link"
    link.symlink_to(target.format(secret=secret))
    nucleus.fails("--root", link, "create", "-b", bundle.dir, cid, root=False, text=["state-link", "symlink"])


def test_source_swapped_between_look_and_use(nucleus, bundle, cid, tmp_path):
    """The source of a bind mount is a path of the host, but is resolved once: what was opened is mounted."""
    real, other, link = tmp_path / "real", tmp_path / "other", tmp_path / "link"
    for directory in (real, other):
        directory.mkdir()
        (directory / "name").write_text(directory.name)
    link.symlink_to(real)
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\nln -sfn {other} {link}\n")
    hook.chmod(0o755)
    bundle.config["hooks"] = {"createRuntime": [{"path": str(hook)}]}
    bundle.bind(link, "/place")
    assert nucleus.run_container(cid, bundle.sh("cat /place/name")).out == "real"
    assert os.readlink(link) == str(other)


def test_two_destinations_that_are_one(nucleus, bundle, cid, tmp_path):
    """By a link: the later one is what is seen, and both go with the container."""
    (bundle.rootfs / "one").mkdir()
    (bundle.rootfs / "other").symlink_to("one")
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(name)
    bundle.bind(tmp_path / "first", "/one").bind(tmp_path / "second", "/other")
    assert nucleus.run_container(cid, bundle.sh("cat /one/name")).out == "second"
