"""checkpoint: what is refused and why, what it writes where, and that nobody is harmed by it."""

import json
import os
import re
import socket
import stat
import subprocess
import time
from pathlib import Path

import pytest

from harness import Counting, alive, mount, process, umount, v2_cgroup, wait_for, wait_output


def records(nucleus):
    """The store, but for the logs of failures and CRIU's cache."""
    return {path: content for path, content in nucleus.store().items()
            if "/log" not in path[len(str(nucleus.state_dir)):] and "criu.kdat" not in path}


@pytest.fixture
def refused(nucleus, counting):
    """refused(args..., text=...): the command fails well; every container runs on, untouched."""
    bystander = counting()

    def run(*args, **kwargs):
        ids = nucleus.ids_listed()
        before = records(nucleus), [process(c["pid"]) for c in nucleus.list()]
        result = nucleus.fails(*args, **{"timeout": 60, **kwargs})
        assert (records(nucleus), [process(c["pid"]) for c in nucleus.list()]) == before
        assert nucleus.ids_listed() == ids
        bystander.more()
        return result

    return run


def checkpoint_refused(refused, one, directory, *options, **kwargs):
    result = refused("checkpoint", *options, "-o", directory, one.id, **kwargs)
    one.more()
    return result


# ---- whose checkpoint is refused


def test_c5_b1_created_is_refused(nucleus, refused, bundle, cid, tmp_path):
    nucleus.create(cid, bundle)
    refused("checkpoint", "-o", tmp_path / "cp", cid, text=["created", "start it first"])
    assert not (tmp_path / "cp").exists()
    assert nucleus.status(cid) == "created"


def test_c5_b1_stopped_is_refused(nucleus, refused, bundle, cid, tmp_path):
    nucleus.run_container(cid, bundle.sh("true"), "-d")
    nucleus.wait_status(cid, "stopped")
    refused("checkpoint", "-o", tmp_path / "cp", cid, text="stopped")
    assert not (tmp_path / "cp").exists()


@pytest.mark.parametrize("leave", [True, False])
def test_engines_checkpoint_what_they_have_paused(nucleus, counting, tmp_path, leave):
    """containerd and CRI-O pause first; with --leave-running it must still be paused afterwards."""
    one = counting()
    nucleus.run("pause", one.id)
    numbers = one.numbers()
    nucleus.run("checkpoint", "--image-path", tmp_path / "images", "--work-path", tmp_path / "work",
                "--seal", *(["--leave-running"] if leave else []), one.id, timeout=60)
    if leave:
        assert nucleus.status(one.id) == "paused" and one.numbers() == numbers
        nucleus.run("resume", one.id)
        one.more()
        return
    nucleus.wait_status(one.id, "stopped")
    cid = nucleus.new_id("back")
    nucleus.run("restore", "--image-path", tmp_path / "images", "-d", "-b", one.bundle.dir, cid, timeout=60)
    one.id = cid
    one.more()
    assert nucleus.status(cid) == "running"


def test_c5_b1_paused_is_refused(nucleus, counting, refused, tmp_path):
    one = counting()
    freezer = v2_cgroup(nucleus, one.id) / "cgroup.freeze"
    freezer.write_text("1")
    wait_for(lambda: nucleus.status(one.id) == "paused")
    try:
        refused("checkpoint", "-o", tmp_path / "cp", one.id, text=["paused", "resume"])
        assert not (tmp_path / "cp").exists()
        assert nucleus.status(one.id) == "paused"
    finally:
        freezer.write_text("0")
    one.more()


def test_c5_unknown_is_refused(refused, tmp_path):
    refused("checkpoint", "-o", tmp_path / "cp", "nobody", text="does not exist")
    assert not (tmp_path / "cp").exists()


def test_s4_recycled_pid_is_not_checkpointed(nucleus, counting, refused, tmp_path):
    """The record leads to a process that lives, but started at another time."""
    one = counting()
    path = nucleus.state_dir / f"{one.id}.json"
    saved = path.read_text()
    pid = one.pid
    record = json.loads(saved)
    record["start_ticks"] += 1
    path.write_text(json.dumps(record))
    try:
        assert nucleus.status(one.id) == "stopped"
        refused("checkpoint", "-o", tmp_path / "cp", one.id, text="stopped")
        assert not (tmp_path / "cp").exists()
        assert alive(pid)
        one_numbers = len(one.numbers())
        wait_for(lambda: len(one.numbers()) > one_numbers + 2)
    finally:
        path.write_text(saved)


@pytest.fixture
def nobodys_store(nucleus, tmp_path):
    """Gives the store to uid 65534 for a while."""

    def own(uid):
        for path in [nucleus.dir, nucleus.state_dir, *nucleus.state_dir.rglob("*")]:
            os.chown(path, uid, uid)

    for path in [tmp_path, *tmp_path.parents]:
        if path.stat().st_mode & 0o007 == 0:
            path.chmod(path.stat().st_mode | 0o011)
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 65534, 65534)
    yield own
    own(0)


NOBODY = {"user": 65534, "group": 65534, "extra_groups": []}


def test_s18_somebody_elses_is_not_checkpointed(nucleus, counting, nobodys_store, tmp_path):
    one = counting()
    nobodys_store(65534)
    failed = nucleus.fails("checkpoint", "-o", tmp_path / "theirs" / "cp", one.id, **NOBODY)
    assert "belongs to uid 0" in failed.err, failed.err
    nobodys_store(0)
    assert not (tmp_path / "theirs" / "cp").exists()
    one.more()


def test_c4_missing_capabilities_are_named(nucleus, counting, nobodys_store, tmp_path):
    """Even the one who made it needs what CRIU needs."""
    one = counting()
    path = nucleus.state_dir / f"{one.id}.json"
    saved = path.read_text()
    path.write_text(json.dumps({**json.loads(saved), "creator_uid": 65534}))
    nobodys_store(65534)
    nucleus.fails("checkpoint", "-o", tmp_path / "theirs" / "cp", one.id, **NOBODY,
                  text="CAP_SYS_ADMIN")
    nobodys_store(0)
    path.write_text(saved)
    assert not (tmp_path / "theirs" / "cp").exists()
    one.more()


# ---- where it may be written


def test_c7_b2_directories_are_closed(counting, tmp_path):
    one = counting()
    old = os.umask(0)
    try:
        one.checkpoint(tmp_path / "cp", "--work-path", tmp_path / "work")
    finally:
        os.umask(old)
    for path in ("cp", "cp/images", "work"):
        assert stat.S_IMODE((tmp_path / path).stat().st_mode) == 0o700, path
    for name in ("cp/metadata.json", "cp/checkpoint.hmac", "cp/images/descriptors.json",
                 "cp/images/nucleus.json"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600, name


def test_c7_b2_empty_directory_is_used(counting, tmp_path):
    """… and closed."""
    one = counting()
    (tmp_path / "cp").mkdir(mode=0o755)
    (tmp_path / "cp" / "images").mkdir(mode=0o755)
    one.checkpoint(tmp_path / "cp")
    assert (tmp_path / "cp" / "images" / "inventory.img").exists()
    for path in ("cp", "cp/images"):
        assert stat.S_IMODE((tmp_path / path).stat().st_mode) == 0o700, path


def test_c7_symlink_is_refused(counting, refused, tmp_path):
    one = counting()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    checkpoint_refused(refused, one, tmp_path / "link", text=["symlink", "/link"])
    checkpoint_refused(refused, one, f"{tmp_path / 'link'}/", text=["symlink", "/link"])
    assert list((tmp_path / "elsewhere").iterdir()) == []

    (tmp_path / "cp").mkdir()
    (tmp_path / "cp" / "images").symlink_to("../elsewhere")
    checkpoint_refused(refused, one, tmp_path / "cp", text=["symlink", "/cp/images"])
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert os.listdir(tmp_path / "cp") == ["images"]

    (tmp_path / "dangling").symlink_to("nowhere")
    checkpoint_refused(refused, one, tmp_path / "dangling", text="symlink")
    assert not (tmp_path / "nowhere").exists()


def test_c7_file_in_the_way_is_refused(counting, refused, tmp_path):
    one = counting()
    (tmp_path / "cp").write_text("precious")
    checkpoint_refused(refused, one, tmp_path / "cp", text=["not a directory", "/cp"])
    assert (tmp_path / "cp").read_text() == "precious"
    (tmp_path / "cp2").mkdir()
    (tmp_path / "cp2" / "images").write_text("precious")
    checkpoint_refused(refused, one, tmp_path / "cp2", text=["not a directory", "/cp2/images"])
    assert (tmp_path / "cp2" / "images").read_text() == "precious"


def test_c7_missing_parent_is_said(counting, refused, tmp_path):
    one = counting()
    checkpoint_refused(refused, one, tmp_path / "no" / "cp", text=["no such file", "/no/cp"])
    assert not (tmp_path / "no").exists()


def tree(directory):
    return {str(p.relative_to(directory)): p.read_bytes() if p.is_file() else None
            for p in Path(directory).rglob("*")}


def test_b2_existing_checkpoint_is_refused(nucleus, counting, refused, tmp_path):
    one = counting()
    one.checkpoint(tmp_path / "cp", "--leave-running")
    before = tree(tmp_path / "cp")
    checkpoint_refused(refused, one, tmp_path / "cp", text=["holds a checkpoint", "/cp"])
    assert tree(tmp_path / "cp") == before
    nucleus.run("verify", tmp_path / "cp")
    # Also where only the images of one are left.
    (tmp_path / "cp" / "metadata.json").unlink()
    (tmp_path / "cp" / "checkpoint.hmac").unlink()
    checkpoint_refused(refused, one, tmp_path / "cp", text="not empty")
    assert (tmp_path / "cp" / "images" / "inventory.img").exists()


def test_c7_work_path_that_is_a_file_or_others_symlink_is_refused(counting, refused, tmp_path):
    """The caller's own link is followed: containerd's work path is one."""
    one = counting()
    (tmp_path / "file").write_text("precious")
    checkpoint_refused(refused, one, tmp_path / "cp", "--work-path", tmp_path / "file",
                       text="/file")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    os.chown(tmp_path / "link", 1000, 1000, follow_symlinks=False)
    checkpoint_refused(refused, one, tmp_path / "cp", "--work-path", tmp_path / "link",
                       text="/link")
    assert (tmp_path / "file").read_text() == "precious"
    assert not (tmp_path / "cp").exists()
    assert list((tmp_path / "elsewhere").iterdir()) == []
    os.chown(tmp_path / "link", 0, 0, follow_symlinks=False)
    one.checkpoint(tmp_path / "cp", "--work-path", tmp_path / "link")
    assert (tmp_path / "elsewhere" / "dump.log").exists()


def test_h1_work_path_inside_the_sealed_tree_is_refused(counting, refused, tmp_path):
    """CRIU still writes its log when the seal is made."""
    one = counting()
    (tmp_path / "cp").mkdir()
    checkpoint_refused(refused, one, tmp_path / "cp", "--work-path", tmp_path / "cp" / "work",
                       text=["work", "outside"])
    one.checkpoint(tmp_path / "cp2", "--work-path", tmp_path / "cp2-work")


def test_c8_full_disk(nucleus, counting, refused, tmp_path):
    """The images don't fit: the container runs on, and the disk is as empty as before."""
    one = counting()
    full = tmp_path / "full"
    full.mkdir()
    mount("tmpfs", full, "tmpfs", data="size=64k")
    try:
        failed = checkpoint_refused(refused, one, full / "cp", text="no space left")
        assert "free space" in failed.err
        assert list(full.iterdir()) == []
        (full / "ballast").write_bytes(bytes(64 << 10))
        checkpoint_refused(refused, one, full / "cp", text="no space left")
        assert [p.name for p in full.iterdir()] == ["ballast"]
    finally:
        umount(full)
    one.checkpoint(tmp_path / "cp")
    nucleus.run("verify", tmp_path / "cp")


def test_c8_image_directory_not_writable(counting, refused, tmp_path):
    one = counting()
    ro = tmp_path / "ro"
    ro.mkdir()
    mount("tmpfs", ro, "tmpfs", data="size=1m")
    mount("none", ro, flags=1 | 32)  # MS_RDONLY | MS_REMOUNT
    try:
        checkpoint_refused(refused, one, ro / "cp", text="read-only")
    finally:
        umount(ro)


# ---- the key


@pytest.mark.parametrize("spoil, text", [
    (lambda key: key.chmod(0o644), "checkpoint.key"),
    (lambda key: key.chmod(0o640), "checkpoint.key"),
    (lambda key: key.write_bytes(b"x" * 31), "32"),
    (lambda key: key.write_bytes(b""), "32"),
    (lambda key: os.chown(key, 65534, 65534), "checkpoint.key"),
    (lambda key: key.parent.chmod(0o770), "key"),
    (lambda key: os.chown(key.parent, 65534, 65534), "key"),
    (lambda key: (key.rename(f"{key}2"), key.symlink_to(f"{key}2")), "symlink"),
    (lambda key: (key.unlink(), key.mkdir()), "checkpoint.key"),
    (lambda key: (key.unlink(), os.mkfifo(key, 0o600)), "checkpoint.key"),
], ids=["0644", "0640", "31 bytes", "empty", "owner", "dir 0770", "dir owner", "symlink", "dir",
        "fifo"])
def test_h5_bad_key_is_refused_before_anything_is_frozen(nucleus, counting, refused, tmp_path,
                                                         spoil, text):
    one = counting()
    spoil(nucleus.key_file)
    checkpoint_refused(refused, one, tmp_path / "cp", text=text)
    assert not (tmp_path / "cp").exists()


def test_h5_key_is_made_where_there_is_none(nucleus, counting, tmp_path):
    one = counting()
    nucleus.key_file.unlink()
    nucleus.key_file.parent.rmdir()
    one.checkpoint(tmp_path / "cp")
    assert nucleus.key_file.stat().st_size >= 32
    assert stat.S_IMODE(nucleus.key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(nucleus.key_file.parent.stat().st_mode) == 0o700
    nucleus.run("verify", tmp_path / "cp")


# ---- what it leaves


def test_c9_b5_stopped_afterwards(nucleus, counting, tmp_path):
    one = counting()
    pid = one.pid
    result = one.checkpoint(tmp_path / "cp")
    assert result.out == "" and result.err == ""
    assert not alive(pid)
    record = json.loads((nucleus.state_dir / f"{one.id}.json").read_text())
    assert record["status"] == "stopped"
    assert nucleus.state(one.id)["pid"] == 0
    assert nucleus.cgroups(one.id) == [], "its cgroup is not needed any more"
    nucleus.fails("checkpoint", "-o", tmp_path / "cp2", one.id, text="stopped")
    nucleus.delete(one.id)


def test_c9_leave_running_keeps_it_running(nucleus, counting, tmp_path):
    one = counting()
    before = records(nucleus), process(one.pid)
    one.checkpoint(tmp_path / "cp", "--leave-running")
    assert (records(nucleus), process(one.pid)) == before
    one.more()
    assert nucleus.status(one.id) == "running"
    assert (v2_cgroup(nucleus, one.id) / "cgroup.freeze").read_text() == "0\n"
    nucleus.run("verify", tmp_path / "cp")


def test_c9_foreground_run_ends_when_it_is_checkpointed(nucleus, bundle, cid, tmp_path):
    running = nucleus.spawn_container(cid, bundle.sh(Counting.LOOP))
    wait_output(running, "3\n")
    nucleus.checkpoint(cid, tmp_path / "cp")
    assert running.wait().rc == 137
    nucleus.run("delete", "-f", cid, check=False)


def test_b3_log_in_the_work_path(counting, tmp_path):
    one = counting()
    one.checkpoint(tmp_path / "cp", "--work-path", tmp_path / "work")
    log = (tmp_path / "work" / "dump.log").read_text(errors="replace")
    assert "Dumping finished successfully" in log
    assert re.search(r"mnt: |vma|Collect", log) and log.count("\n") > 200, "level 4 says more"
    assert sorted(os.listdir(tmp_path / "cp")) == ["checkpoint.hmac", "images", "metadata.json"]
    assert not list((tmp_path / "cp" / "images").glob("*.log"))
    one.restore(tmp_path / "cp", "--work-path", tmp_path / "work")
    log = (tmp_path / "work" / "restore.log").read_text(errors="replace")
    assert "Restore finished successfully" in log and log.count("\n") > 200
    one.more()


def test_b3_nothing_of_criu_stays_without_a_work_path(nucleus, counting, tmp_path):
    one = counting()
    one.checkpoint(tmp_path / "cp")
    one.restore(tmp_path / "cp")
    assert not [p for p in nucleus.state_dir.rglob("*") if "log" in p.name or "work" in p.name]


TCP = ("import socket, time\n"
       "s = socket.create_server(('127.0.0.1', 0))\n"
       "c = socket.create_connection(s.getsockname()); a, _ = s.accept()\n"
       "n = 0\n"
       "while True:\n"
       "    n += 1; c.send(b'x'); assert a.recv(1) == b'x'; print(n, flush=True)\n"
       "    time.sleep(0.02)\n")


def test_b3_failure_names_its_log(nucleus, counting, refused, bundle, tmp_path):
    """In the work path, and without one in a place that outlives the container."""
    one = counting(bundle=bundle.python())
    other = nucleus.new_id("tcp")
    result = nucleus.run_container(other, bundle.args("/usr/bin/python3", "-c", TCP), "-d")
    wait_output(result, "3\n")
    for options, place in ((["--work-path", tmp_path / "work"], tmp_path / "work" / "dump.log"),
                           ([], nucleus.state_dir / "log" / f"{other}-dump.log")):
        failed = refused("checkpoint", *options, "-o", tmp_path / "cp", other,
                         text=["--tcp-established", f"(log: {place})"])
        assert "Connected TCP socket" in place.read_text(errors="replace"), failed
        assert not (tmp_path / "cp").exists()
        lines = len(result.out)
        wait_for(lambda: len(result.out) > lines + 3, what="it to run on")
    one.more()
    nucleus.delete(other, "-f")
    assert not list(nucleus.state_dir.rglob("*.log")), "the log goes with its container"


def test_c11_descriptors(counting, tmp_path):
    one = counting()
    one.checkpoint(tmp_path / "cp")
    got = json.loads((tmp_path / "cp" / "images" / "descriptors.json").read_text())
    assert got == ["/dev/null", str(one.result.out_path), str(one.result.err_path)]


def test_c11_descriptors_of_pipes(nucleus, counting, tmp_path):
    read, write = os.pipe()
    one = Counting(nucleus, counting().bundle, stdout=write, stderr=write)
    try:
        want = [os.readlink(f"/proc/{one.pid}/fd/{n}") for n in range(3)]
        assert want[1].startswith("pipe:[")
        one.checkpoint(tmp_path / "cp")
        assert json.loads((tmp_path / "cp" / "images" / "descriptors.json").read_text()) == want
    finally:
        os.close(read)
        os.close(write)


def test_c11_descriptors_that_are_closed(nucleus, counting, tmp_path):
    """… are /dev/null there, and stay closed."""
    one = counting(before="exec 0<&-; ")
    one.checkpoint(tmp_path / "cp")
    got = json.loads((tmp_path / "cp" / "images" / "descriptors.json").read_text())
    assert got[0] == "/dev/null"
    one.restore(tmp_path / "cp")
    assert not os.path.exists(f"/proc/{one.pid}/fd/0")
    one.more()


def test_m1_metadata(nucleus, counting, tmp_path):
    one = counting()
    pid = one.pid
    began = int(time.time())
    one.checkpoint(tmp_path / "cp")
    got = json.loads((tmp_path / "cp" / "metadata.json").read_text())
    assert got["container_id"] == got["container_name"] == one.id
    assert got["original_pid"] == pid
    assert got["command"] == one.bundle.process["args"]
    assert began <= got["checkpoint_at"] <= time.time()
    assert got["using_gvisor"] is False and got["rootless"] is False
    assert one.id in got["cgroup_path"]
    # No v2 controller with limits is there on a machine with hybrid cgroups: null.
    assert got["resource_limits"] is None or set(got["resource_limits"]) == {
        "memory_bytes", "memory_high", "memory_swap_max", "cpu_quota_us", "cpu_period_us",
        "cpu_weight", "pids_max", "io_limits"}


# ---- options (C12); --tcp-established and --file-locks are in test_zoo.py, --shell-job in
# test_stdio.py


def test_c12_ext_unix_sk(nucleus, bundle, cid, tmp_path):
    """A datagram socket whose other end is the host's: refused without the option. (In a network
    namespace of its own CRIU can't see the other end at all. It is found again by the path it was
    bound to, which has to be the same inside.)"""
    bundle.namespaces("pid", "ipc", "uts", "mount", "cgroup")
    host = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    (tmp_path / "run").mkdir()
    host.bind(str(tmp_path / "run" / "log"))
    host.settimeout(10)
    bundle.python().bind(tmp_path / "run", str(tmp_path / "run"))
    nucleus.run_container(cid, bundle.args(
        "/usr/bin/python3", "-c",
        "import socket, time\n"
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect('%s')\n"
        "n = 0\n"
        "while True: n += 1; s.send(str(n).encode()); time.sleep(0.05)\n"
        % (tmp_path / "run" / "log")), "-d")
    assert host.recv(99) == b"1"
    nucleus.fails("checkpoint", "-o", tmp_path / "cp", cid, text="--ext-unix-sk", timeout=60)
    last = host.recv(99)
    nucleus.checkpoint(cid, tmp_path / "cp", "--ext-unix-sk")
    host.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            last = host.recv(99)
    host.settimeout(10)
    nucleus.delete(cid)
    nucleus.restore(tmp_path / "cp", "-d", "-b", bundle, cid)
    assert int(host.recv(99)) == int(last) + 1
    nucleus.delete(cid, "-f")
    host.close()


def test_c12_manage_cgroups_mode(nucleus, counting, refused, tmp_path):
    """The cgroup is nucleus's own business: what asks CRIU for it is refused, not ignored."""
    one = counting()
    for mode in ("soft", "full", "strict", "nonsense"):
        failed = refused("checkpoint", "--manage-cgroups-mode", mode, "-o", tmp_path / "no", one.id)
        assert "ignore" in failed.err
    one.checkpoint(tmp_path / "cp", "--leave-running", "--manage-cgroups-mode", "ignore")
    one.more()


@pytest.mark.parametrize("options", [
    ["--auto-dedup"], ["--empty-ns", "network"], ["--status-fd", "1"], ["--pre-dump"],
    ["--parent-path", "../x"], ["--page-server", "127.0.0.1:1"], ["--lazy-pages"]],
    ids=lambda o: o[0])
def test_c12_options_that_do_not_work_yet_are_not_accepted(counting, refused, tmp_path, options):
    one = counting()
    failed = refused("checkpoint", *options, "--image-path", tmp_path / "cp", one.id)
    assert "unknown option" in failed.err and options[0] in failed.err
    assert not (tmp_path / "cp").exists()
    one.more()


def test_c1_c2_criu_that_is_none_is_refused(counting, refused, tmp_path):
    one = counting()
    loose = tmp_path / "criu"
    loose.write_text("#!/bin/sh\nexit 1\n")
    loose.chmod(0o777)
    for path, text in ((tmp_path / "nothing", "no such file"), (loose, "writable")):
        checkpoint_refused(refused, one, tmp_path / "cp", "--criu", path, text=[text, str(path)])
    loose.chmod(0o644)
    checkpoint_refused(refused, one, tmp_path / "cp", "--criu", loose, text=str(loose))
    loose.chmod(0o755)
    checkpoint_refused(refused, one, tmp_path / "cp", "--criu", loose, text=str(loose))
    assert not (tmp_path / "cp").exists()


def test_c8_criu_dies_in_the_middle(nucleus, counting, refused, tmp_path):
    """Killed once the container is frozen by it: it runs on all the same."""
    one = counting()
    wrapper = tmp_path / "criu"
    wrapper.write_text(
        "#!/bin/sh\n"
        "case \"$1\" in swrk) ;; *) exec /usr/local/sbin/criu \"$@\" ;; esac\n"
        f"(while ! [ -e {tmp_path}/cp/images/pstree.img ]; do :; done; kill -9 $$) &\n"
        "exec /usr/local/sbin/criu \"$@\"\n")
    wrapper.chmod(0o755)
    checkpoint_refused(refused, one, tmp_path / "cp", "--criu", wrapper)
    assert not (tmp_path / "cp").exists()
    one.checkpoint(tmp_path / "cp")
    one.restore(tmp_path / "cp")
    one.more()


# ---- runc's form


def test_runc_form_unsealed(nucleus, counting, tmp_path):
    one = counting()
    one.nucleus.run("checkpoint", "--image-path", tmp_path / "cp", one.id)
    names = os.listdir(tmp_path / "cp")
    assert "inventory.img" in names and "descriptors.json" in names and "dump.log" in names
    assert "checkpoint.hmac" not in names and "images" not in names
    assert nucleus.status(one.id) == "stopped"


def test_runc_form_defaults_to_the_working_directory(counting, tmp_path):
    one = counting()
    one.nucleus.run("checkpoint", "--leave-running", one.id, cwd=tmp_path)
    assert (tmp_path / "checkpoint" / "inventory.img").exists()
    one.more()


def test_runc_form_keeps_what_was_there(counting, refused, tmp_path):
    """conmon puts files of its own there; a failure takes only ours away."""
    one = counting()
    (tmp_path / "cp").mkdir()
    (tmp_path / "cp" / "theirs").write_text("precious")
    mount("tmpfs", tmp_path / "cp", "tmpfs", data="size=32k")
    try:
        (tmp_path / "cp" / "theirs").write_text("precious")
        refused("checkpoint", "--image-path", tmp_path / "cp", one.id)
        assert (tmp_path / "cp" / "theirs").read_text() == "precious"
        assert not (tmp_path / "cp" / "inventory.img").exists()
    finally:
        umount(tmp_path / "cp")
    one.nucleus.run("checkpoint", "--image-path", tmp_path / "cp", one.id)
    assert (tmp_path / "cp" / "theirs").read_text() == "precious"


def test_forms_do_not_mix(counting, refused, tmp_path):
    one = counting()
    for options in (["--image-path", tmp_path / "x"], ["--seal"]):
        checkpoint_refused(refused, one, tmp_path / "cp", *options, text="--output")
    assert not (tmp_path / "cp").exists()
