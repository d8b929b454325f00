"""The leak check finds what it is there for: each kind of leak fails the test that caused it, and
only that one, for the next starts clean again.

Each case is a small test file run by a pytest of its own, in its own mount namespace. They need
neither the binary nor a container.
"""

import os
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path

import pytest

import harness

HERE = Path(__file__).parent
TOKEN = uuid.uuid4().hex[:6]

AFTER = """
def test_next_one_is_clean():
    pass
"""


def run_pytest(tmp_path, text, **env):
    path = tmp_path / "inner" / "test_inner.py"
    path.parent.mkdir()
    path.write_text("import ctypes, os, subprocess, sys, time\nfrom pathlib import Path\n"
                    + textwrap.dedent(text) + AFTER)
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /run && exec "$@"', "sh",
         "/usr/bin/python3", "-m", "pytest", "-p", "conftest", "-p",
         "no:cacheprovider", "--rootdir", str(path.parent), "-q", str(path)],
        capture_output=True, text=True, timeout=60, cwd=path.parent,
        env={**os.environ, "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1",
             "NUCLEUS_E2E_SHARED": "0", "NUCLEUS_E2E_PRIVATE": "0", "NUCLEUS_E2E_SETTLE": "0.5",
             **env})


LEAKS = {
    "process": ("process left", """
        def test_leak():
            subprocess.Popen(["sleep", "1000"])
        """),
    "daemon": ("process left", """
        def test_leak():
            subprocess.run(["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 &"], check=True)
        """),
    "stopped process": ("process left", """
        def test_leak():
            subprocess.run(["sh", "-c", "sleep 1000 >/dev/null & kill -STOP $!"], check=True)
        """),
    "mount": ("mount left", """
        def test_leak(tmp_path):
            subprocess.run(["mount", "-t", "tmpfs", "leak", tmp_path], check=True)
        """),
    "mount over a mount": ("mount left", """
        def test_leak():
            subprocess.run(["mount", "-t", "tmpfs", "leak", "/dev/shm"], check=True)
        """),
    "lost mount": ("mount gone", """
        import harness

        harness.mount("tmpfs", "/mnt", "tmpfs")

        def test_leak():
            harness.umount("/mnt")
        """),
    "cgroup": ("cgroup left", f"""
        def test_leak():
            import harness
            os.mkdir(harness.cgroup_mounts()[-1] + "/leak-{TOKEN}")
        """),
    "cgroup with a process": ("cgroup left", f"""
        def test_leak():
            import harness
            group = harness.cgroup_mounts()[-1] + "/leak-{TOKEN}/inner"
            os.makedirs(group)
            child = subprocess.Popen(["sleep", "1000"])
            Path(group, "cgroup.procs").write_text(str(child.pid))
        """),
    "file in /tmp": ("file left", """
        def test_leak():
            Path("/tmp/leak").write_text("x")
        """),
    "directory in /run": ("file left", """
        def test_leak():
            os.makedirs("/run/nucleus/leak")
        """),
    "network namespace": ("network namespace left", """
        def test_leak():
            subprocess.Popen(["unshare", "-n", "sleep", "1000"])
            time.sleep(0.3)
        """),
    "named network namespace": ("network namespace left (mounted)", """
        def test_leak():
            os.makedirs("/run/netns", exist_ok=True)
            Path("/run/netns/leak").touch()
            subprocess.run(["sh", "-c", "unshare -n sleep 5 & p=$!; sleep 0.3;"
                            "mount --bind /proc/$p/ns/net /run/netns/leak; kill $p; wait"])
        """),
    "state": ("state left", """
        def test_leak(nucleus):
            nucleus.state_dir.mkdir()
            (nucleus.state_dir / "leak.json").write_text("{}")
        """),
}


@pytest.mark.parametrize("kind", LEAKS)
def test_leak_is_found(tmp_path, kind):
    what, text = LEAKS[kind]
    # Any file that can be executed will do for a binary.
    result = run_pytest(tmp_path, text, NUCLEUS="/bin/true")
    # The inner check only reports what could be someone else's; here it is known whose it is.
    Path("/tmp/leak").unlink(missing_ok=True)
    for group in sorted((d for top in harness.cgroup_mounts() for d in harness._tree(top)
                         if f"leak-{TOKEN}" in d), key=len, reverse=True):
        os.rmdir(group)
    assert result.returncode == 1, result.stdout + result.stderr
    assert what in result.stdout, result.stdout
    assert "2 passed, 1 error" in result.stdout, result.stdout
    assert "ERROR" in result.stdout and "test_leak" in result.stdout


def test_clean_tests_pass(tmp_path):
    """Processes that ended, mounts undone, files below tmp_path: all of that is no leak."""
    result = run_pytest(tmp_path, """
        def test_clean(tmp_path, nucleus):
            subprocess.run(["sh", "-c", "(sleep 0.2 &) ; true"], check=True)
            subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], check=True)
            subprocess.run(["umount", tmp_path], check=True)
            (tmp_path / "file").touch()
            nucleus.state_dir.mkdir()
            Path("/tmp/short").touch()
            os.unlink("/tmp/short")
            import harness
            group = harness.cgroup_mounts()[-1] + "/short-" + nucleus.token
            os.mkdir(group)
            os.rmdir(group)
        """, NUCLEUS="/bin/true")
    assert result.returncode == 0, result.stdout
    assert "2 passed" in result.stdout


def test_missing_binary_is_said(tmp_path):
    result = run_pytest(tmp_path, """
        def test_it(nucleus):
            pass
        """, NUCLEUS="/nonexistent/nucleus")
    assert result.returncode == 1
    assert "no binary at /nonexistent/nucleus" in result.stdout


def test_exit_status_of_a_popen_is_not_stolen():
    child = subprocess.Popen([sys.executable, "-c", "raise SystemExit(42)"])
    harness.wait_for(lambda: harness.process(child.pid).state == "Z")
    harness.reap_orphans()
    assert child.wait() == 42


def test_orphans_are_reaped():
    pid = int(subprocess.run(["sh", "-c", "sleep 0.1 >/dev/null & echo $!"], check=True,
                             capture_output=True, text=True).stdout)

    def gone():
        harness.reap_orphans()
        return harness.process(pid) is None

    harness.wait_for(gone, 5)


def test_wait_for_names_what_it_waited_for():
    with pytest.raises(AssertionError, match="the moon"):
        harness.wait_for(lambda: False, timeout=0.05, what="the moon")


def test_process_with_odd_name_is_read_rightly(tmp_path):
    odd = tmp_path / "a) Z 1 (b"
    odd.write_bytes(Path("/bin/sleep").read_bytes())
    odd.chmod(0o755)
    child = subprocess.Popen([str(odd), "1000"])
    try:
        found = harness.wait_for(
            lambda: (p := harness.process(child.pid)) and p.comm == "a) Z 1 (b" and p)
        assert found.ppid == os.getpid()
        assert found.state in "SRD"
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("name", harness.zoo_names())
def test_zoo_program_holds_alone(tmp_path, name):
    """Each program of the zoo passes its own check, again and again, without any container."""
    child = subprocess.Popen(
        ["unshare", "-pnmif", "--mount-proc", "--kill-child", str(harness.zoo_program(name)),
         str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "ready\n"
        inner = next(p.pid for p in harness.processes() if p.ppid == child.pid)
        for _ in range(3):
            os.kill(inner, harness.signal.SIGUSR1)
            assert child.stdout.readline() == "pass\n"
        os.kill(inner, harness.signal.SIGTERM)
        assert child.wait(10) == 0
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    assert list(tmp_path.iterdir()) == []


def test_counter_holds_alone(tmp_path):
    child = subprocess.Popen(
        ["unshare", "-pnmif", "--mount-proc", "--kill-child", "/usr/bin/python3",
         str(harness.ZOO / "counter.py"), "8", "--dir", str(tmp_path), "--interval", "0.05"],
        stdout=subprocess.PIPE, text=True)
    try:
        inner = None
        for tick in range(1, 11):
            assert child.stdout.readline().startswith(f"tick {tick} ok ")
            inner = inner or next(p.pid for p in harness.processes() if p.ppid == child.pid)
        os.kill(inner, harness.signal.SIGTERM)
        assert child.stdout.read().splitlines()[-1].startswith("bye ")
        assert child.wait(10) == 0
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    assert list(tmp_path.iterdir()) == []
