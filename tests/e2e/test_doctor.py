"""`nucleus doctor`: what it says is so, it works for everybody, and nothing stays of it.

That nothing stays is the leak check's to find, in /run (a tmpfs here, where CRIU likes to leave its
cache), the state directory and the cgroups; here only what it does not look at is compared.
"""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import harness

pytestmark = pytest.mark.nucleus_only

NOBODY = 65534
CHECK_KEYS = {"group", "status", "detail", "needed_for", "essential_for", "remedy", "notes",
              "facts"}
NAMES = {
    "kernel": ["kernel_release", "seccomp", "landlock", "lsm", "overlayfs", "nf_tables",
               "soft_dirty"],
    "system_calls": ["syscall_openat2", "syscall_clone3", "syscall_pidfd_open", "syscall_fsopen",
                     "syscall_open_tree", "syscall_move_mount", "syscall_mount_setattr",
                     "syscall_close_range"],
    "namespaces": ["namespace_" + n
                   for n in ("cgroup", "ipc", "mnt", "net", "pid", "uts", "time", "user")],
    "cgroups": ["cgroup_layout", "cgroup_writable", "cgroup_freeze", "cgroup_kill",
                "controller_memory", "controller_cpu", "controller_pids", "controller_io",
                "controller_cpuset"],
    "caller": ["caller", "state_dir", "run_tmpfs", "seal_key"],
    "checkpoint": ["criu", "criu_mem_track", "criu_lazy_pages", "criu_pidfd_store", "tool_tar",
                   "tool_gzip", "tool_ip", "privileges"],
}


@pytest.fixture
def doctor(nucleus):
    """doctor(options..., rc=0): the parsed JSON; the form for people must say the same."""

    def run(*options, rc=0, **kwargs):
        result = nucleus.run("doctor", "--json", *options, check=False, **kwargs)
        assert result.rc == rc, str(result)
        assert result.err == "", str(result)
        report = result.json
        text = nucleus.run("doctor", *options, check=False, **kwargs)
        assert text.rc == rc and text.err == "", str(text)
        check_text(text.out, report)
        return report

    return run


def check_text(text, report):
    assert text.isascii()
    lines = text.splitlines()
    marks = {"ok": "ok", "limited": "~~", "missing": "--", "broken": "!!"}
    for name, check in report["checks"].items():
        assert any(line.startswith(f"  {marks[check['status']]}  ") and check["detail"] in line
                   for line in lines), f"{name} is not in:\n{text}"
        if check["remedy"] and check["status"] != "ok":
            assert any(line.endswith(f"do:  {check['remedy']}") for line in lines), name
    summary = report["summary"]
    assert lines[-1].startswith("containers: " + ("yes" if summary["containers"] else "no because"))
    assert "; limits: " in lines[-1]
    assert ("; checkpoint/restore: "
            + ("yes" if summary["checkpoint_restore"] else "no because")) in lines[-1]


def hide(path):
    """For preexec_fn: a mount namespace where `path` is no program."""

    def prepare():
        harness.unshare_mounts()
        harness.mount("/dev/null", os.path.realpath(path), flags=harness.MS_BIND)

    return prepare


def layout():
    types = {key[3] for key in harness.mountinfo()} & {"cgroup", "cgroup2"}
    v1 = any(re.search(r"[, ](memory|cpu|pids|blkio)\b", line.rpartition(" - ")[2])
             for key, line in harness.mountinfo().items() if key[3] == "cgroup")
    return {(): "none", ("cgroup",): "v1"}.get(tuple(types)) or ("hybrid" if v1 else "unified")


def test_report_has_its_keys(doctor):
    report = doctor()
    assert set(report) == {"version", "summary", "checks"}
    assert set(report["summary"]) == {
        "containers", "no_containers_because", "limits", "no_limits", "checkpoint_restore",
        "no_checkpoint_restore_because"}
    found = {}
    for name, check in report["checks"].items():
        assert set(check) == CHECK_KEYS, name
        assert check["status"] in ("ok", "limited", "missing", "broken"), name
        assert check["detail"] and check["needed_for"], name
        found.setdefault(check["group"], []).append(name)
    assert found == NAMES


def test_report_is_true_of_this_host(doctor, nucleus):
    checks = doctor()["checks"]
    facts = {name: check["facts"] for name, check in checks.items()}
    assert facts["kernel_release"]["release"] == os.uname().release
    assert facts["cgroup_layout"]["layout"] == layout()
    bound = {text.partition(" ")[0] for text in facts["cgroup_layout"]["v1_controllers"]}
    for name in ("memory", "cpu", "pids", "cpuset"):
        usable = name in facts["cgroup_layout"]["controllers"]
        assert facts[f"controller_{name}"]["usable"] == usable
        assert (checks[f"controller_{name}"]["status"] == "ok") == usable
        assert bool(facts[f"controller_{name}"]["v1"]) == (name in bound)
    said = subprocess.run([facts["criu"]["path"], "--version"], capture_output=True, text=True)
    assert f"Version: {facts['criu']['version']}" in said.stdout
    # CRIU's word on page tracking is the kernel's.
    assert facts["criu_mem_track"]["there"] == facts["soft_dirty"]["there"]
    assert all(checks[name]["status"] == "ok" for name in NAMES["system_calls"])
    assert facts["state_dir"]["path"] == str(nucleus.state_dir)
    assert facts["seal_key"] == {"path": str(nucleus.key_file), "exists": True,
                                 "acceptable": True}


def test_state_directory_and_key_are_not_made(doctor, nucleus, tmp_path):
    state, key = tmp_path / "a" / "state", tmp_path / "b" / "key"
    report = doctor(root=False, env={"NUCLEUS_STATE_DIR": str(state),
                                     "NUCLEUS_CHECKPOINT_HMAC_KEY_FILE": str(key)})
    facts = {name: check["facts"] for name, check in report["checks"].items()}
    assert facts["state_dir"] == {"path": str(state), "exists": False, "refused": []}
    assert facts["seal_key"] == {"path": str(key), "exists": False, "acceptable": False}
    assert not state.parent.exists() and not key.parent.exists()
    assert not nucleus.state_dir.exists()


def test_state_directory_is_not_changed(doctor, nucleus):
    nucleus.state_dir.mkdir(mode=0o755)
    nucleus.state_dir.chmod(0o755)
    doctor()
    assert nucleus.state_dir.stat().st_mode & 0o777 == 0o755
    assert list(nucleus.state_dir.iterdir()) == []


@pytest.mark.parametrize("spoil, why", [
    (lambda key: key.chmod(0o644), "open to group or others"),
    (lambda key: key.write_bytes(b"short"), "5 bytes"),
    (lambda key: (key.rename(key.parent / "k"), key.symlink_to("k")), "symlink"),
])
def test_key_that_is_refused(doctor, nucleus, spoil, why):
    spoil(nucleus.key_file)
    report = doctor(rc=2)
    assert report["checks"]["seal_key"]["status"] == "broken"
    assert why in report["checks"]["seal_key"]["detail"]
    assert report["summary"]["containers"] and not report["summary"]["checkpoint_restore"]


def test_state_directory_that_is_refused(doctor, nucleus, tmp_path):
    nucleus.state_dir.symlink_to(tmp_path)
    report = doctor(rc=1)
    assert report["checks"]["state_dir"]["status"] == "broken"
    assert "it is a symlink" in report["checks"]["state_dir"]["notes"][0]
    nucleus.state_dir.unlink()


def test_c2_criu_that_is_no_criu(doctor):
    report = doctor("--criu", "/bin/true", rc=2)
    assert report["checks"]["criu"]["status"] == "broken"
    assert "/bin/true: CRIU ended before it answered" in report["checks"]["criu"]["notes"][0]
    assert "CRIU" in report["summary"]["no_checkpoint_restore_because"][0]


def test_c2_criu_that_its_group_may_write(doctor, tmp_path):
    criu = tmp_path / "criu"
    shutil.copy("/bin/true", criu)
    criu.chmod(0o775)
    report = doctor("--criu", criu, rc=2)
    assert report["checks"]["criu"]["facts"]["refused"] == [
        f"{criu}: it is writable by its group (mode 0775)"]


def test_c1_criu_that_is_not_there(doctor, tmp_path):
    report = doctor("--criu", tmp_path / "criu", rc=2)
    assert report["checks"]["criu"]["status"] == "missing"
    assert report["checks"]["criu"]["facts"]["absent"] == [str(tmp_path / "criu")]


@pytest.mark.parametrize("tool, package", [("tar", "tar"), ("gzip", "gzip"), ("ip", "iproute2")])
def test_program_that_criu_needs_is_missing(doctor, tool, package):
    path = shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin:/bin")
    report = doctor(rc=2, preexec_fn=hide(path))
    assert report["checks"][f"tool_{tool}"]["status"] == "missing"
    assert package in report["checks"][f"tool_{tool}"]["remedy"]
    assert report["summary"]["no_checkpoint_restore_because"][0].startswith(f"{tool} (")


def test_callers_path_is_not_that_of_criu(doctor, tmp_path):
    assert doctor(env={"PATH": str(tmp_path)})["summary"]["checkpoint_restore"]


def test_nobody(nucleus):
    """A user without rights gets the whole report too."""
    place = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        place.chmod(0o755)
        home = place / "home"
        home.mkdir()
        os.chown(home, NOBODY, NOBODY)
        nucleus.binary = harness.copy_binary(nucleus.binary, place / "nucleus")
        result = nucleus.run(
            "doctor", "--json", check=False, root=False, cwd="/", user=NOBODY, group=NOBODY,
            extra_groups=[], env={"HOME": str(home), "NUCLEUS_STATE_DIR": None,
                                  "NUCLEUS_CHECKPOINT_HMAC_KEY_FILE": None})
        assert result.rc == 1 and result.err == "", str(result)
        report = result.json
        checks = report["checks"]
        assert sorted(checks) == sorted(sum(NAMES.values(), []))
        assert checks["caller"]["facts"]["euid"] == NOBODY
        assert not checks["caller"]["facts"]["cap_sys_admin"]
        assert checks["cgroup_writable"]["status"] == "missing"
        assert checks["privileges"]["status"] == "missing"
        assert "CAP_SYS_ADMIN" in checks["privileges"]["detail"]
        assert checks["state_dir"]["facts"]["path"] == f"{home}/.local/share/nucleus"
        assert checks["seal_key"]["facts"]["path"] == f"{home}/.nucleus/checkpoint-hmac.key"
        assert not report["summary"]["containers"]
        assert not report["summary"]["checkpoint_restore"]
        assert list(home.iterdir()) == []
    finally:
        shutil.rmtree(place)


def drop_sys_admin():
    harness._libc("prctl", 24, 21, 0, 0, 0)  # PR_CAPBSET_DROP, CAP_SYS_ADMIN


def test_root_without_sys_admin(doctor):
    """It says what `run` says, too."""
    report = doctor(rc=1, preexec_fn=drop_sys_admin)
    assert report["checks"]["caller"]["status"] == "missing"
    assert report["checks"]["privileges"]["detail"] == "the caller lacks CAP_SYS_ADMIN"


def test_root_without_sys_admin_can_not_run(nucleus, bundle, cid):
    nucleus.fails("run", "-b", bundle.dir, cid, preexec_fn=drop_sys_admin, text="CAP_SYS_ADMIN")


def unified():
    harness.unshare_mounts()
    harness.umount("/sys/fs/cgroup")
    harness.mount("cgroup2", "/sys/fs/cgroup", "cgroup2")


def no_cgroups():
    harness.unshare_mounts()
    harness.umount("/sys/fs/cgroup")


def test_unified_layout(doctor):
    report = doctor(preexec_fn=unified)
    assert report["checks"]["cgroup_layout"]["facts"]["layout"] == "unified"
    assert report["checks"]["cgroup_layout"]["facts"]["mount"] == "/sys/fs/cgroup"


def test_no_cgroups(doctor):
    report = doctor(rc=1, preexec_fn=no_cgroups)
    assert report["checks"]["cgroup_layout"]["status"] == "missing"
    assert "mount -t cgroup2" in report["checks"]["cgroup_layout"]["remedy"]
    assert report["checks"]["cgroup_freeze"]["status"] == "missing"
    assert not report["summary"]["containers"]


@pytest.mark.parametrize("place", ["/proc", "/sys", "/run"])
def test_file_system_that_is_empty(nucleus, place):
    """Whatever is missing, there is a report."""

    def cover():
        harness.unshare_mounts()
        harness.mount("tmpfs", place, "tmpfs")

    if place == "/proc" and b"__asan_init" in Path(nucleus.binary).read_bytes():
        pytest.skip("AddressSanitizer can't do without /proc")
    result = nucleus.run("doctor", "--json", check=False, preexec_fn=cover)
    assert result.rc in (0, 1, 2), str(result)
    assert sorted(result.json["checks"]) == sorted(sum(NAMES.values(), []))


def test_control_characters_are_shown(doctor, tmp_path):
    bad = os.fsencode(tmp_path) + b"/a\x1b[31m\xff"
    report = doctor("--criu", os.fsdecode(bad), rc=2)
    assert report["checks"]["criu"]["facts"]["absent"] == [f"{tmp_path}/a\\x1b[31m\\xff"]


def test_full_disk_is_an_error(nucleus):
    with open("/dev/full", "wb") as full:
        result = nucleus.spawn("doctor", stdout=full).wait()
    assert result.rc == 1 and "no space left" in result.err


def test_help_tells_the_exit_statuses(nucleus):
    text = nucleus.run("doctor", "--help").out
    assert "Exit status 0" in text and "--criu PATH" in text and "--json" in text
