#!/usr/bin/python3
"""Makes the bundles that every contestant of the bench runs: one config.json for all of them.

  bundle.py DIR [PROGRAM [ARGUMENT...]]     writes a bundle to look at; /bin/true by default

The configuration is what `runc spec` writes, with a cgroup namespace and the device rule that
engines pass, and without a terminal. The root file system is one static busybox."""

import json
import os
import shutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
BUSYBOX = "/bin/busybox"

# floor.c is compiled with these two lists (floor_header), so it can't differ.
MASKED = ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
          "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
          "/proc/scsi"]
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]

HARD = ["nosuid", "noexec", "nodev"]
MOUNTS = [
    ("/proc", "proc", "proc", []),
    ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", "devpts",
     ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
    ("/dev/shm", "tmpfs", "shm", HARD + ["mode=1777", "size=65536k"]),
    ("/dev/mqueue", "mqueue", "mqueue", HARD),
    ("/sys", "sysfs", "sysfs", HARD + ["ro"]),
    ("/sys/fs/cgroup", "cgroup", "cgroup", HARD + ["relatime", "ro"]),
]
CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]


def config(args, rootfs="rootfs", seccomp=False, device_rule=True):
    linux = {
        "namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
        "maskedPaths": MASKED,
        "readonlyPaths": READ_ONLY,
    }
    if device_rule:
        linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    if seccomp:
        with open(os.path.join(HERE, "seccomp.json")) as f:
            linux["seccomp"] = json.load(f)
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": list(args),
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                    "TERM=xterm"],
            "cwd": "/",
            "capabilities": {kind: CAPABILITIES for kind in ("bounding", "effective", "permitted")},
            "noNewPrivileges": True,
        },
        "root": {"path": rootfs, "readonly": True},
        "hostname": "bench",
        "mounts": [dict({"destination": d, "type": t, "source": s}, **({"options": o} if o else {}))
                   for d, t, s, o in MOUNTS],
        "linux": linux,
    }


def make_rootfs(path, programs=()):
    """A root file system of busybox under three names, and of the given static programs."""
    for name in ("bin", "dev", "proc", "sys", "etc", "tmp"):
        os.makedirs(os.path.join(path, name), exist_ok=True)
    shutil.copy2(BUSYBOX, os.path.join(path, "bin", "busybox"))
    for name in ("sh", "sleep", "true"):
        link = os.path.join(path, "bin", name)
        if not os.path.lexists(link):
            os.symlink("busybox", link)
    for program in programs:
        shutil.copy2(program, os.path.join(path, "bin", os.path.basename(program)))


def make(path, args, rootfs="rootfs", seccomp=False, device_rule=True):
    """Writes config.json into the directory; the root file system is the caller's to make."""
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, "config.json"), "w") as f:
        json.dump(config(args, rootfs, seccomp, device_rule), f, indent=1)
    return path


def floor_header():
    """The masked and the read-only paths as floor.c includes them."""
    def line(name, paths):
        return f"#define {name} " + ", ".join(json.dumps(p) for p in paths) + "\n"
    return line("MASKED_PATHS", MASKED) + line("READ_ONLY_PATHS", READ_ONLY)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    make_rootfs(os.path.join(sys.argv[1], "rootfs"))
    make(sys.argv[1], sys.argv[2:] or ["/bin/true"])
