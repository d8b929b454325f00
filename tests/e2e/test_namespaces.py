"""Namespaces: new, joined by path, time with offsets, user with several ranges; and what goes with them."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from harness import alive, wait_for

ALL = ("pid", "network", "ipc", "uts", "mount", "cgroup")
FILES = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts", "user": "user",
         "mount": "mnt", "cgroup": "cgroup", "time": "time"}


def ns(pid, kind):
    return os.readlink(f"/proc/{pid}/ns/{FILES[kind]}")


def join(bundle, kind, path):
    """Replaces or adds the namespace of this type by one that is joined."""
    rest = [n for n in bundle.linux["namespaces"] if n["type"] != kind]
    bundle.linux["namespaces"] = rest + [{"type": kind, "path": str(path)}]
    return bundle.write()


@pytest.fixture
def first(nucleus, make_bundle):
    """A running container with every namespace but user, whose namespaces others join."""
    bundle = make_bundle("first").args("sleep", "1000")
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"monotonic": {"secs": 500000, "nanosecs": 5}}
    cid = nucleus.new_id("first")
    nucleus.run_container(cid, bundle.write(), "-d")
    yield nucleus.state(cid)["pid"]
    nucleus.delete(cid, "-f")


def test_joined_however_slow_the_one_in_between_is(nucleus, bundle, cid, first):
    """It tells of the process that it has made; that one may be ready first."""
    join(bundle, "network", f"/proc/{first}/ns/net").args("true")
    slow = ["strace", "-f", "-o", "/dev/null", "-e", "trace=clone3", "-e",
            "inject=clone3:delay_exit=300000"]
    # The sanitizer's leak check can't be traced.
    nucleus.run_container(cid, bundle, prefix=slow, env={"ASAN_OPTIONS": "detect_leaks=0"})


@pytest.mark.parametrize("kind", ["network", "ipc", "uts", "pid", "cgroup", "time"])
def test_joined_by_path(nucleus, bundle, cid, first, kind):
    if kind in ("uts",):
        del bundle.config["hostname"]
    join(bundle, kind, f"/proc/{first}/ns/{FILES[kind]}").args("sleep", "1000")
    nucleus.create(cid, bundle)
    pid = nucleus.state(cid)["pid"]
    for other in (*ALL, "time"):
        same = ns(pid, other) == ns(first, other)
        if other == "time" and kind != "time":
            assert ns(pid, other) == ns(os.getpid(), other)
        else:
            assert same == (other == kind), other
    nucleus.start(cid)
    assert nucleus.status(cid) == "running"
    nucleus.stop(cid)


def test_joined_pid_namespace_is_seen_from_inside(nucleus, bundle, cid, first):
    join(bundle, "pid", f"/proc/{first}/ns/pid")
    result = nucleus.run_container(cid, bundle.sh("cat /proc/1/cmdline | tr '\\0' ' '; echo; echo pid $$"))
    assert "sleep 1000" in result.out
    assert "pid 1\n" not in result.out


def test_joined_mount_namespace(nucleus, bundle, cid, tmp_path):
    """The container's processes are in it, and its root is the bundle's."""
    holder = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sleep", "1000"])
    wait_for(lambda: ns(holder.pid, "mount") != ns(os.getpid(), "mount"), what="unshare")
    wait_for(lambda: Path(f"/proc/{holder.pid}/comm").read_text() == "sleep\n", what="sleep")
    wanted = ns(holder.pid, "mount")
    join(bundle, "mount", f"/proc/{holder.pid}/ns/mnt")
    result = nucleus.run_container(cid, bundle.sh("readlink /proc/self/ns/mnt; cat /etc/passwd; ls /"))
    holder.kill()
    holder.wait()
    assert wanted in result.out and "user:x:1000" in result.out and "zoo" in result.out


def test_runtimes_own_mount_namespace_is_refused(nucleus, bundle, cid):
    join(bundle, "mount", "/proc/self/ns/mnt")
    nucleus.fails("create", "-b", bundle.dir, cid, text=["namespace", "/proc/self/ns/mnt"])


@pytest.mark.parametrize("kind", ["network", "ipc", "cgroup"])
def test_the_hosts_own_by_path_is_no_isolation(nucleus, bundle, cid, kind):
    join(bundle, kind, f"/proc/self/ns/{FILES[kind]}")
    if kind == "cgroup":
        bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["type"] != "cgroup"]
    result = nucleus.run_container(cid, bundle.write().sh(f"readlink /proc/self/ns/{FILES[kind]}"))
    assert result.out.strip() == ns(os.getpid(), kind)


def test_several_joined_at_once(nucleus, bundle, cid, first):
    del bundle.config["hostname"]
    for kind in ("network", "ipc", "uts", "pid"):
        join(bundle, kind, f"/proc/{first}/ns/{FILES[kind]}")
    nucleus.run_container(cid, bundle.args("sleep", "1000"), "-d")
    pid = nucleus.state(cid)["pid"]
    for kind in ("network", "ipc", "uts", "pid"):
        assert ns(pid, kind) == ns(first, kind)
    nucleus.kill(cid, "KILL")
    nucleus.wait_status(cid, "stopped")
    nucleus.delete(cid)
    assert alive(first)


@pytest.mark.parametrize("path, text", [
    ("/proc/{pid}/ns/ipc", "not of type network"),
    ("/etc/passwd", "no namespace"),
    ("/nowhere/ns", "No such file"),
    ("/dev/null", "no namespace"),
    ("{tmp}/fifo", "no namespace"),
    ("{tmp}", "no namespace"),
    ("relative/path", "absolute"),
])
def test_what_is_no_such_namespace_is_refused(nucleus, bundle, cid, tmp_path, path, text):
    os.mkfifo(tmp_path / "fifo")
    join(bundle, "network", path.format(pid=os.getpid(), tmp=tmp_path))
    nucleus.fails("create", "-b", bundle.dir, cid, text=text)
    assert not nucleus.ids_listed()


def test_new_time_namespace_has_its_offsets(nucleus, bundle, cid):
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 7_000_000}, "monotonic": {"secs": 5, "nanosecs": 7}}
    result = nucleus.run_container(
        cid, bundle.sh("cut -d. -f1 /proc/uptime; cat /proc/self/timens_offsets"))
    uptime, *offsets = result.out.splitlines()
    assert int(uptime) >= 7_000_000
    assert [o.split() for o in offsets] == [["monotonic", "5", "7"], ["boottime", "7000000", "0"]]


def test_time_offsets_without_a_new_time_namespace_are_refused(nucleus, bundle, cid):
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 1}}
    nucleus.fails("create", "-b", bundle.write().dir, cid, text="linux.timeOffsets")


def test_user_namespace_with_several_ranges(nucleus, bundle, cid):
    bundle.user_namespace()
    for kind in ("uidMappings", "gidMappings"):
        bundle.linux[kind] = [{"containerID": 0, "hostID": 100000, "size": 10},
                              {"containerID": 1000, "hostID": 200000, "size": 5},
                              {"containerID": 65534, "hostID": 300000, "size": 1}]
    bundle.process["user"] = {"uid": 1002, "gid": 1003, "additionalGids": [5]}
    result = nucleus.run_container(
        cid, bundle.write().sh("cat /proc/self/uid_map; id -u; id -G; readlink /proc/self/ns/user"))
    words = result.out.split()
    assert words[:9] == "0 100000 10 1000 200000 5 65534 300000 1".split()
    assert words[9] == "1002" and words[10:12] == ["1003", "5"]
    assert words[12] != ns(os.getpid(), "user")


def test_joined_user_namespace(nucleus, bundle, make_bundle, cid):
    """As in a pod with a shared user namespace: the others join it and what it owns."""
    infra = make_bundle("infra").args("sleep", "1000")
    infra.user_namespace()
    infra_id = nucleus.new_id("infra")
    nucleus.run_container(infra_id, infra, "-d")
    pid = nucleus.state(infra_id)["pid"]
    subprocess.run(["chown", "-hR", "100000:100000", str(bundle.rootfs)], check=True)
    for parent in [bundle.dir, *bundle.dir.parents]:
        if parent.stat().st_mode & 0o001 == 0:
            parent.chmod(parent.stat().st_mode | 0o011)
    del bundle.config["hostname"]
    for kind in ("user", "network", "ipc", "uts"):
        join(bundle, kind, f"/proc/{pid}/ns/{FILES[kind]}")
    result = nucleus.run_container(
        cid, bundle.sh("id -u; readlink /proc/self/ns/user; readlink /proc/self/ns/net; "
                       "cat /proc/self/uid_map; touch /made; ls -ln /made"))
    lines = result.out.split("\n")
    assert lines[0] == "0" and lines[1] == ns(pid, "user") and lines[2] == ns(pid, "network")
    assert lines[3].split() == ["0", "100000", "65536"]
    assert (bundle.rootfs / "made").stat().st_uid == 100000
    nucleus.stop(infra_id)


@pytest.mark.parametrize("change, text", [
    (lambda b: join(b, "uts", "/proc/self/ns/uts"), "hostname"),
    (lambda b: (join(b, "network", "/proc/self/ns/net"),
                b.linux.update(sysctl={"net.ipv4.ip_forward": "1"})), "net.ipv4.ip_forward"),
    (lambda b: (join(b, "ipc", "/proc/self/ns/ipc"),
                b.linux.update(sysctl={"kernel.msgmax": "8000"})), "kernel.msgmax"),
])
def test_nothing_is_set_in_the_hosts_namespace(nucleus, bundle, cid, change, text):
    host = os.uname().nodename
    change(bundle)
    nucleus.fails("create", "-b", bundle.write().dir, cid, text=[text, "on the host"])
    assert os.uname().nodename == host


def test_maps_of_a_joined_user_namespace_must_be_its_own(nucleus, bundle, make_bundle, cid):
    infra = make_bundle("infra").args("sleep", "1000")
    infra.user_namespace()
    infra_id = nucleus.new_id("infra")
    nucleus.run_container(infra_id, infra, "-d")
    bundle.user_namespace()
    join(bundle, "user", f"/proc/{nucleus.state(infra_id)['pid']}/ns/user")
    assert nucleus.run_container(cid, bundle.sh("id -u")).out == "0\n"
    bundle.linux["uidMappings"][0]["size"] = 5
    nucleus.fails("create", "-b", bundle.write().dir, cid, text="uid_map")
    assert nucleus.ids_listed() == [infra_id]
    nucleus.stop(infra_id)


def test_c14_checkpoint_of_a_container_in_another_network_namespace(
        nucleus, make_bundle, counting, first, tmp_path):
    """The way of engines: the namespace is theirs, and the restored container joins it again."""
    bundle = make_bundle()
    join(bundle, "network", f"/proc/{first}/ns/net")
    one = counting(bundle=bundle)
    assert ns(one.pid, "network") == ns(first, "network")
    one.checkpoint(tmp_path / "cp")
    one.restore(tmp_path / "cp")
    one.more()
    assert ns(one.pid, "network") == ns(first, "network")


def test_checkpoint_knows_whether_the_network_was_joined(nucleus, make_bundle, counting, first, tmp_path):
    bundle = make_bundle()
    one = counting(bundle=bundle)
    one.checkpoint(tmp_path / "cp")
    join(bundle, "network", f"/proc/{first}/ns/net")
    nucleus.fails("restore", "-i", tmp_path / "cp", "-d", "-b", bundle.dir, nucleus.new_id(),
                  text="network")


def test_checkpoint_of_other_joined_namespaces_is_refused(nucleus, make_bundle, counting, first, tmp_path):
    bundle = make_bundle()
    join(bundle, "ipc", f"/proc/{first}/ns/ipc")
    one = counting(bundle=bundle)
    nucleus.fails("checkpoint", "-o", tmp_path / "cp", one.id, text="ipc")
    one.more()


def test_net_sysctl_is_the_containers_own(nucleus, bundle, cid):
    host = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()
    bundle.linux["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "77"}
    result = nucleus.run_container(
        cid, bundle.write().sh("cat /proc/sys/net/ipv4/ip_unprivileged_port_start"))
    assert result.out == "77\n"
    assert Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text() == host


# ---- descriptors ----

def test_preserved_descriptors_reach_the_program(nucleus, bundle, cid, tmp_path):
    (tmp_path / "three").write_text("third")
    (tmp_path / "four").write_text("fourth")

    def pass_them():
        for number, name in ((3, "three"), (4, "four")):
            fd = os.open(tmp_path / name, os.O_RDONLY)
            if fd != number:
                os.dup2(fd, number, inheritable=True)
                os.close(fd)
            else:
                os.set_inheritable(fd, True)

    result = nucleus.run_container(cid, bundle.sh("cat <&3; cat <&4; ls /proc/self/fd | wc -w"),
                                   "--preserve-fds", "2", preexec_fn=pass_them, close_fds=False)
    assert result.out.startswith("thirdfourth")
    # 0 to 4, and the directory that ls reads
    assert result.out[len("thirdfourth"):].strip() == "6"


def test_descriptor_that_is_not_open_is_refused(nucleus, bundle, cid):
    nucleus.fails("run", "-b", bundle.dir, "--preserve-fds", "2", cid, text=["preserve", "not open"])


def test_socket_activation(nucleus, bundle, cid, tmp_path):
    """LISTEN_FDS for this process become the container's own, with LISTEN_PID its first pid."""
    script = ("LISTEN_PID=$$ LISTEN_FDS=1 exec %s --root %s run -b %s %s 3</etc/hostname"
              % (nucleus.binary, nucleus.state_dir, bundle.dir, cid))
    bundle.sh("echo $LISTEN_FDS $LISTEN_PID $$; test -e /proc/self/fd/3 && echo there")
    nucleus.state_dir.mkdir(mode=0o700, exist_ok=True)
    result = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=20,
                            env=nucleus.environment())
    assert result.stdout.split() == ["1", "1", "1", "there"], result


def test_pidfd_socket_gets_the_first_process(nucleus, bundle, cid, tmp_path):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(tmp_path / "sock"))
    listener.listen(1)
    nucleus.create(cid, bundle.args("sleep", "1000"), "--pidfd-socket", tmp_path / "sock")
    connection, _ = listener.accept()
    _, fds, _, _ = socket.recv_fds(connection, 64, 1)
    info = Path(f"/proc/self/fdinfo/{fds[0]}").read_text()
    assert f"Pid:\t{nucleus.state(cid)['pid']}\n" in info
    for fd in (*fds, connection.fileno()):
        os.close(fd)
    connection.detach()
    listener.close()
    nucleus.delete(cid, "-f")


def test_console_socket_nobody_reads_is_an_error(nucleus, bundle, cid, tmp_path):
    """A listener that takes no connection: the backlog is full."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(tmp_path / "sock"))
    listener.listen(0)
    waiting = []
    while True:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.setblocking(False)
        waiting.append(client)
        try:
            client.connect(str(tmp_path / "sock"))
        except BlockingIOError:
            break
    bundle.process["terminal"] = True
    nucleus.fails("create", "-b", bundle.write().dir, "--console-socket", tmp_path / "sock", cid,
                  text=["socket", "accept"])
    assert not nucleus.ids_listed() and not nucleus.cgroups(cid)
    for client in waiting:
        client.close()
    listener.close()


# ---- an ordinary user ----

USER = dict(user=1000, group=1000, extra_groups=[])


def own_ids(bundle, uid=1000, gid=1000):
    """A bundle as `nucleus spec --rootless` would have it: one id, no network, no cgroup mount."""
    bundle.namespaces("pid", "ipc", "uts", "mount", "user", "network")
    bundle.linux["uidMappings"] = [{"containerID": 0, "hostID": uid, "size": 1}]
    bundle.linux["gidMappings"] = [{"containerID": 0, "hostID": gid, "size": 1}]
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["type"] != "cgroup"]
    for m in bundle.config["mounts"]:
        m["options"] = [o for o in m["options"] if not o.startswith("gid=")]
    subprocess.run(["chown", "-hR", f"{uid}:{gid}", str(bundle.dir)], check=True)
    for parent in [bundle.dir, *bundle.dir.parents]:
        if parent.stat().st_mode & 0o001 == 0:
            parent.chmod(parent.stat().st_mode | 0o011)
    return bundle.write()


@pytest.fixture
def users_store(nucleus):
    nucleus.state_dir.mkdir(mode=0o700, exist_ok=True)
    os.chown(nucleus.state_dir, 1000, 1000)
    return nucleus


def test_rootless_with_one_id(users_store, bundle, cid):
    own_ids(bundle)
    result = users_store.run_container(cid, bundle.sh("id -u; cat /proc/self/uid_map /proc/self/setgroups"),
                                       **USER)
    assert result.out.split() == ["0", "0", "1000", "1", "deny"]
    assert "without a cgroup" in result.err


def test_rootless_lifecycle(users_store, bundle, cid):
    nucleus = users_store
    own_ids(bundle).args("sleep", "1000")
    nucleus.run("create", "-b", bundle.dir, cid, **USER)
    nucleus.run("start", cid, **USER)
    state = nucleus.run("state", cid, **USER).json
    assert state["status"] == "running" and alive(state["pid"])
    nucleus.run("kill", cid, "KILL", **USER)
    wait_for(lambda: nucleus.run("state", cid, **USER).json["status"] == "stopped", what="end")
    nucleus.run("delete", cid, **USER)
    assert not nucleus.ids_listed()


def test_rootless_limit_without_a_cgroup_is_an_error(users_store, bundle, cid):
    own_ids(bundle)
    bundle.linux["resources"] = {"pids": {"limit": 5}}
    result = users_store.fails("run", "-b", bundle.write().dir, cid, text="cgroup", **USER)
    assert "without a cgroup" not in result.err


def test_rootless_false_wants_its_cgroup(users_store, bundle, cid):
    own_ids(bundle)
    users_store.fails("--rootless=false", "run", "-b", bundle.dir, cid, text="cgroup", **USER)


def test_rootless_pause_without_a_cgroup_says_why(users_store, bundle, cid):
    own_ids(bundle).args("sleep", "1000")
    users_store.run_container(cid, bundle, "-d", **USER)
    users_store.fails("pause", cid, text="cgroup", **USER)
    users_store.run("delete", "-f", cid, **USER)


def test_rootless_supplementary_groups_need_more_rights(users_store, bundle, cid):
    own_ids(bundle)
    bundle.process["user"]["additionalGids"] = [0]
    users_store.fails("run", "-b", bundle.write().dir, cid, text="additionalGids", **USER)


@pytest.mark.skipif(not Path("/usr/bin/newuidmap").exists(), reason="no newuidmap here (package uidmap)")
def test_rootless_with_newuidmap(users_store, bundle, cid):
    with open("/etc/subuid") as u, open("/etc/subgid") as g:
        before = u.read(), g.read()
    for path in ("/etc/subuid", "/etc/subgid"):
        with open(path, "a") as f:
            f.write("1000:700000:65536\n")
    try:
        own_ids(bundle)
        for kind in ("uidMappings", "gidMappings"):
            bundle.linux[kind] = [{"containerID": 0, "hostID": 1000, "size": 1},
                                  {"containerID": 1, "hostID": 700000, "size": 65535}]
        bundle.process["user"] = {"uid": 5, "gid": 6, "additionalGids": [7]}
        result = users_store.run_container(
            cid, bundle.write().sh("id -u; id -G; cat /proc/self/uid_map"), **USER)
        assert result.out.split() == ["5", "6", "7", "0", "1000", "1", "1", "700000", "65535"]
    finally:
        for path, text in zip(("/etc/subuid", "/etc/subgid"), before):
            Path(path).write_text(text)


@pytest.mark.skipif(not Path("/usr/bin/newuidmap").exists(), reason="no newuidmap here (package uidmap)")
def test_rootless_ids_that_are_not_ones_own_are_refused(users_store, bundle, cid):
    own_ids(bundle)
    for kind in ("uidMappings", "gidMappings"):
        bundle.linux[kind] = [{"containerID": 0, "hostID": 0, "size": 65536}]
    result = users_store.run("run", "-b", bundle.write().dir, cid, check=False, **USER)
    assert result.rc != 0 and "/etc/subuid" in result.err
    assert not users_store.ids_listed()
