"""Many containers, many times: what a single test does not notice adds up here."""

import os
import subprocess
import threading
from pathlib import Path

CYCLES = int(os.environ.get("NUCLEUS_E2E_CYCLES", "1000"))
AT_A_TIME = 8


def test_cycles_leave_nothing_behind(nucleus, bundle):
    """create, start, kill and delete, 8 at a time; the frame of every test then looks for cgroups, mounts,
    processes and files."""
    bundle.args("sleep", "1000")
    nucleus.state_dir.mkdir(mode=0o700, exist_ok=True)
    env = nucleus.environment()
    ids = [nucleus.new_id("cycle") for _ in range(CYCLES)]
    failures, lock = [], threading.Lock()
    fds = len(os.listdir("/proc/self/fd"))

    def call(*args):
        p = subprocess.run([nucleus.binary, "--root", nucleus.state_dir, *map(str, args)], env=env,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, timeout=60)
        if p.returncode != 0:
            raise AssertionError(f"{args}: {p.stderr.decode(errors='replace')}")

    def work():
        while not failures:
            with lock:
                if not ids:
                    return
                cid = ids.pop()
            try:
                # The container keeps the descriptors it is given: a pipe would not end before it does.
                with open(nucleus.logs / f"{threading.get_ident()}.err", "wb") as err:
                    p = subprocess.run(
                        [nucleus.binary, "--root", nucleus.state_dir, "create", "-b", bundle.dir, cid],
                        env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err,
                        timeout=60)
                assert p.returncode == 0, Path(err.name).read_text()
                call("start", cid)
                call("kill", cid, "KILL")
                call("delete", "-f", cid)
            except Exception as e:  # the first one ends it, in the test's own thread
                failures.append(f"{cid}: {e}")

    threads = [threading.Thread(target=work) for _ in range(AT_A_TIME)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, failures
    assert not nucleus.ids_listed()
    assert [p.name for p in nucleus.state_dir.iterdir()] == []
    assert len(os.listdir("/proc/self/fd")) == fds
