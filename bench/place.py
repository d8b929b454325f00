"""Where the bench happens: a mount namespace and a cgroup of its own. Nothing is left behind."""

import ctypes
import os
import signal
import sys
import time
import traceback

CGROUPS = "/sys/fs/cgroup"
WORK = "/run/bench"  # on a tmpfs that only the bench sees

CLONE_NEWNS, CLONE_NEWCGROUP = 0x00020000, 0x02000000
MS_REC, MS_PRIVATE, MNT_DETACH = 0x4000, 1 << 18, 2
PR_SET_CHILD_SUBREAPER = 36
libc = ctypes.CDLL(None, use_errno=True)


def _libc(name, *args):
    if getattr(libc, name)(*args) < 0:
        err = ctypes.get_errno()
        raise OSError(err, f"{name}: {os.strerror(err)}")


def mount(kind, target, data=None):
    _libc("mount", kind.encode(), target.encode(), kind.encode(), 0, data and data.encode())


def pure_cgroups():
    """cgroup v2 and nothing else at /sys/fs/cgroup: what crun and runc of Debian 12 accept."""
    while os.path.ismount(CGROUPS):
        _libc("umount2", CGROUPS.encode(), MNT_DETACH)
    mount("cgroup2", CGROUPS)


def write(path, text):
    with open(path, "w") as f:
        f.write(str(text))


def read(path):
    with open(path, errors="replace") as f:
        return f.read()


def wait_for(predicate, what, timeout=20.0):
    end = time.monotonic() + timeout
    while not (value := predicate()):
        if time.monotonic() > end:
            raise Failure(f"not within {timeout:.0f} s: {what}")
        time.sleep(0.002)
    return value


def remove_cgroups(path):
    """Ends every process below, and removes the directories."""
    if not os.path.isdir(path):
        return
    write(os.path.join(path, "cgroup.kill"), 1)

    def gone():
        try:  # what they leave behind comes to us: we are their subreaper
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass
        return "populated 0" in read(os.path.join(path, "cgroup.events"))

    wait_for(gone, f"{path} is empty")
    for directory, _, _ in os.walk(path, topdown=False):
        os.rmdir(directory)


class Failure(Exception):
    """Something could not be run."""


class Place:
    """A mount namespace with a tmpfs on /run, and a cgroup below which everything happens.

    The bench itself runs in a child in that cgroup, with a cgroup namespace that has it as its
    root: whatever a runtime makes, wherever it thinks best, lies below and goes at the end."""

    def __enter__(self):
        _libc("unshare", CLONE_NEWNS)
        _libc("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
        pure_cgroups()
        mount("tmpfs", "/run", "mode=755,size=60%")
        _libc("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.cgroup = os.path.join(CGROUPS, f"nucleus-bench-{os.getpid()}")
        os.mkdir(self.cgroup)
        return self

    def __exit__(self, *_):
        remove_cgroups(self.cgroup)

    def enter(self):
        """In the child."""
        _libc("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        write(os.path.join(self.cgroup, "cgroup.procs"), os.getpid())
        _libc("unshare", CLONE_NEWNS | CLONE_NEWCGROUP)
        pure_cgroups()
        os.mkdir(os.path.join(CGROUPS, "bench"))  # a cgroup with children may not have processes
        write(os.path.join(CGROUPS, "bench", "cgroup.procs"), os.getpid())


def run_inside(work):
    """Calls work() in a child in the place, and cleans up whatever becomes of it; its status."""
    def terminated(number, _):
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, terminated)
    sys.stdout.flush()
    with Place() as place:
        # Ctrl-C reaches the child too; here it must not stop the cleaning up.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                signal.signal(signal.SIGINT, signal.default_int_handler)
                place.enter()
                status = work()
            except KeyboardInterrupt:
                print("\nbench: interrupted", file=sys.stderr)
                status = 130
            except Failure as e:
                print(f"bench: {e}", file=sys.stderr)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status if status >= 0 else 128 - status
