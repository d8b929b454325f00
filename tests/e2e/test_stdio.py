"""C16: what standard input, output and error may be, across a checkpoint: nothing, pipes, a terminal
of the host, files on the host, or a terminal of the container's own."""

import array
import contextlib
import fcntl
import json
import os
import re
import select
import socket
import struct
import subprocess
import termios
import threading
from pathlib import Path

import pytest

from harness import Counting, wait_for, wait_output

BOTH = "n=0; while :; do n=$((n+1)); echo out $n; echo err $n >&2; sleep 0.02; done"


class Reader:
    """Reads a descriptor to its end, in a thread of its own."""

    def __init__(self, fd):
        self.fd, self.data, self.ended = fd, b"", False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                data = os.read(self.fd, 65536)
            except OSError:  # EIO: the last slave of a terminal was closed
                data = b""
            if not data:
                self.ended = True
                os.close(self.fd)
                return
            self.data += data

    @property
    def lines(self):
        text = self.data.decode().replace("\r", "")
        return text[:text.rfind("\n") + 1].splitlines()

    def more(self, count=3):
        have = len(self.lines)
        wait_for(lambda: len(self.lines) >= have + count, what=f"more than {self.lines[-3:]}")

    def end(self):
        wait_for(lambda: self.ended, what="the end: someone else holds the other side")
        self.thread.join()
        return self.lines


def pipe():
    read, write = os.pipe()
    return Reader(read), write


@pytest.fixture
def start(nucleus, bundle, cid):
    """Starts a container with stdio of the test's choice; it and what came of it are removed."""

    def run(script, *options, **stdio):
        return nucleus.run_container(cid, bundle.sh(script), "-d", *options, **stdio)

    yield run
    for left in nucleus.ids_listed():
        nucleus.delete(left, "-f")


def restore(nucleus, directory, cid, *options, **stdio):
    nucleus.delete(cid)
    return nucleus.restore(directory, "-d", "-b", directory.parent / "bundle", *options, cid, **stdio)


def consecutive(words, *lists):
    """All lines of the lists in a row are `WORD 1`, `WORD 2` … for each of the words."""
    lines = [line for one in lists for line in one]
    for word in words:
        got = [int(line.split()[1]) for line in lines if line.startswith(word)]
        assert got == list(range(1, len(got) + 1)), f"{word}: {got}"
        assert len(got) > 5


# ---- nothing


def test_c16_dev_null(nucleus, start, bundle, cid, tmp_path):
    start("n=0; while :; do n=$((n+1)); echo $n >>/count; echo $n; echo $n >&2; sleep 0.02; done",
          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    count = bundle.rootfs / "count"
    wait_for(lambda: count.exists() and count.read_text().count("\n") > 5)
    nucleus.checkpoint(cid, tmp_path / "cp")
    assert json.loads((tmp_path / "cp" / "images" / "descriptors.json").read_text()) == [
        "/dev/null"] * 3
    have = count.read_text().count("\n")
    result = restore(nucleus, tmp_path / "cp", cid)
    wait_for(lambda: count.read_text().count("\n") > have + 5)
    got = [int(n) for n in count.read_text().split()]
    assert got == list(range(1, len(got) + 1))
    pid = nucleus.state(cid)["pid"]
    assert [os.readlink(f"/proc/{pid}/fd/{n}") for n in range(3)] == ["/dev/null"] * 3
    assert result.out == result.err == ""


# ---- pipes


@pytest.mark.parametrize("form", ["same", "different"])
def test_c16_pipes(nucleus, start, cid, tmp_path, form):
    """What was in a pipe when the container was frozen is there once, not again after the
    restore."""
    out, w_out = pipe()
    err, w_err = (out, w_out) if form == "same" else pipe()
    start(BOTH, stdout=w_out, stderr=w_err)
    for fd in {w_out, w_err}:
        os.close(fd)
    out.more(6)
    err.more(6)
    nucleus.checkpoint(cid, tmp_path / "cp")
    before = out.end(), err.end()

    for turn in ("again", "and again"):
        out2, w_out = pipe()
        err2, w_err = (out2, w_out) if form == "same" else pipe()
        restore(nucleus, tmp_path / "cp", cid, stdout=w_out, stderr=w_err)
        for fd in {w_out, w_err}:
            os.close(fd)
        out2.more(6)
        err2.more(6)
        nucleus.checkpoint(cid, tmp_path / turn)
        out2.end()
        err2.end()
        if form == "same":
            consecutive(["out", "err"], before[0], out2.lines)
        else:
            consecutive(["out"], before[0], out2.lines)
            consecutive(["err"], before[1], err2.lines)


def test_c16_pipe_nobody_reads(nucleus, start, cid, tmp_path):
    """Full: the container hangs in write(2), frozen there, and goes on where it hung."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    start("n=0; while :; do n=$((n+1)); echo $n; done", stdout=write, stderr=write)
    os.close(write)

    def waiting():
        count = array.array("i", [0])
        fcntl.ioctl(read, termios.FIONREAD, count)
        return count[0] > 3900

    wait_for(waiting)
    nucleus.checkpoint(cid, tmp_path / "cp")
    old = Reader(read)
    old.end()
    read, write = os.pipe()
    restore(nucleus, tmp_path / "cp", cid, stdout=write, stderr=write)
    os.close(write)
    new = Reader(read)
    wait_for(lambda: len(new.data) > 10000)
    text = old.data.decode() + new.data.decode()
    got = [int(n) for n in text[:text.rindex("\n")].split()]
    assert got == list(range(1, len(got) + 1)), got[:30]
    nucleus.delete(cid, "-f")


def test_c16_pipe_as_stdin(nucleus, start, cid, tmp_path):
    """What was written before and not yet read is not lost."""
    read, write = os.pipe()
    result = start("while read l; do echo got $l; [ $l = two ] && sleep 0.5; done; echo end",
                   stdin=read)
    os.write(write, b"one\ntwo\nthree\n")
    wait_output(result, "got two\n")
    nucleus.checkpoint(cid, tmp_path / "cp")
    os.close(write)
    os.close(read)
    read, write = os.pipe()
    restore(nucleus, tmp_path / "cp", cid, stdin=read)
    os.close(read)
    os.write(write, b"four\n")
    os.close(write)
    wait_output(result, "end\n")
    assert result.out.split("\n")[:2] == ["got one", "got two"]
    assert "got four" in result.out
    nucleus.wait_status(cid, "stopped")


def test_c16_closed_descriptors_stay_closed(nucleus, start, cid, tmp_path):
    result = start("exec 0<&- 2>&-; " + Counting.LOOP)
    wait_output(result, "5\n")
    nucleus.checkpoint(cid, tmp_path / "cp")
    restore(nucleus, tmp_path / "cp", cid)
    pid = nucleus.state(cid)["pid"]
    assert sorted(os.listdir(f"/proc/{pid}/fd"))[0] == "1"
    assert "2" not in os.listdir(f"/proc/{pid}/fd")


# ---- files of the host


@pytest.mark.parametrize("mode", ["truncate", "append"])
@pytest.mark.parametrize("form", ["same", "separate"])
def test_c16_files(nucleus, start, cid, tmp_path, mode, form):
    """>log 2>&1, >>log 2>&1, >out 2>err"""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if mode == "append" else os.O_TRUNC)
    log = tmp_path / "log"
    if mode == "append":
        log.write_text("what was there\n")
    out = os.open(log, flags, 0o644)
    err = out if form == "same" else os.open(tmp_path / "err", flags, 0o644)
    start(BOTH, stdout=out, stderr=err)
    for fd in {out, err}:
        os.close(fd)

    def lines():
        text = log.read_text() + ("" if form == "same" else (tmp_path / "err").read_text())
        assert "\0" not in text, "a hole: written at an old offset"
        return text.splitlines()

    wait_for(lambda: len(lines()) > 20)
    for turn in ("first", "second"):
        nucleus.checkpoint(cid, tmp_path / turn)
        have = len(lines())
        restore(nucleus, tmp_path / turn, cid)
        wait_for(lambda: len(lines()) > have + 20, what="more in the log")
        pid = nucleus.state(cid)["pid"]
        assert os.readlink(f"/proc/{pid}/fd/1") == str(log)
        info = Path(f"/proc/{pid}/fdinfo/1").read_text()
        got = int(re.search(r"flags:\s*0?(\d+)", info)[1], 8)
        assert bool(got & os.O_APPEND) == (mode == "append") and got & os.O_ACCMODE == os.O_WRONLY
    consecutive(["out", "err"], lines())
    assert lines()[0] == ("what was there" if mode == "append" else "out 1")


@pytest.mark.parametrize("mode", ["truncate", "append"])
@pytest.mark.parametrize("fate", ["grew", "truncated", "shrank", "removed", "replaced"])
def test_c16_log_changed_meanwhile(nucleus, start, cid, tmp_path, mode, fate):
    """Writing goes on at its end, whatever became of it; a log that is gone is made again."""
    log = tmp_path / "log"
    out = os.open(log, os.O_WRONLY | os.O_CREAT | (os.O_APPEND if mode == "append" else 0), 0o644)
    start(Counting.LOOP, stdout=out)
    os.close(out)
    wait_for(lambda: log.read_text().count("\n") > 5)
    nucleus.checkpoint(cid, tmp_path / "cp")
    old = log.read_text()
    if fate == "grew":
        with open(log, "a") as file:
            file.write("someone else\n" * 100)
    elif fate == "truncated":
        log.write_text("")
    elif fate == "shrank":
        os.truncate(log, 4)
    elif fate == "removed":
        log.unlink()
    elif fate == "replaced":
        log.rename(tmp_path / "log.1")
        log.write_text("new log\n")
    kept = log.read_text() if log.exists() else ""
    restore(nucleus, tmp_path / "cp", cid)
    wait_for(lambda: log.exists() and log.read_text().count("\n") > kept.count("\n") + 5)
    text = log.read_text()
    assert text.startswith(kept) and "\0" not in text
    added = [int(n) for n in text[len(kept):].splitlines()]
    last = int(old.split()[-1])
    assert added == list(range(last + 1, last + 1 + len(added)))


def test_c16_log_that_can_not_be_made_again(nucleus, start, bundle, cid, tmp_path):
    (tmp_path / "logs").mkdir()
    out = os.open(tmp_path / "logs" / "log", os.O_WRONLY | os.O_CREAT, 0o644)
    start(Counting.LOOP, stdout=out)
    os.close(out)
    wait_for(lambda: (tmp_path / "logs" / "log").read_text().count("\n") > 5)
    nucleus.checkpoint(cid, tmp_path / "cp")
    (tmp_path / "logs" / "log").unlink()
    (tmp_path / "logs").rmdir()
    other = nucleus.new_id("refused")
    nucleus.fails("restore", "-d", "-i", tmp_path / "cp", other,
                  text=str(tmp_path / "logs" / "log"))
    # Nor is a link followed that someone laid there, or a fifo waited for.
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "log").symlink_to(tmp_path / "victim")
    nucleus.fails("restore", "-d", "-i", tmp_path / "cp", other, text="/logs/log")
    assert not (tmp_path / "victim").exists()
    (tmp_path / "logs" / "log").unlink()
    (tmp_path / "logs" / "log").mkdir()
    nucleus.fails("restore", "-d", "-i", tmp_path / "cp", other, text="/logs/log")
    (tmp_path / "logs" / "log").rmdir()
    os.mkfifo(tmp_path / "logs" / "log")
    nucleus.fails("restore", "-d", "-i", tmp_path / "cp", other, text="/logs/log", timeout=10)
    assert [c["id"] for c in nucleus.list()] == [cid]
    assert nucleus.cgroups(other) == []


def test_c16_log_already_deleted_when_frozen(nucleus, start, cid, tmp_path):
    """It has no name any more: what the restore has as output takes its place."""
    out = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT, 0o644)
    start(Counting.LOOP, stdout=out)
    os.close(out)
    wait_for(lambda: (tmp_path / "log").read_text().count("\n") > 5)
    (tmp_path / "log").unlink()
    nucleus.checkpoint(cid, tmp_path / "cp")
    result = restore(nucleus, tmp_path / "cp", cid)
    wait_for(lambda: result.out.count("\n") > 5)
    assert not list(tmp_path.glob("log*"))


def test_c16_file_as_stdin(nucleus, start, cid, tmp_path):
    """Read on from where it was."""
    source = tmp_path / "in"
    source.write_text("".join(f"{n}\n" for n in range(1, 1001)))
    with open(source, "rb") as stdin:
        result = start("while read l; do echo $l; sleep 0.01; done; echo end", stdin=stdin)
    wait_output(result, "20\n")
    nucleus.checkpoint(cid, tmp_path / "cp")
    have = len(result.out.split())
    restore(nucleus, tmp_path / "cp", cid)
    wait_for(lambda: len(result.out.split()) > have + 20)
    got = [int(n) for n in result.out.split()]
    assert got == list(range(1, len(got) + 1)), got[have - 3:have + 5]


def test_c16_file_read_and_written(nucleus, start, cid, tmp_path):
    """<>file as all three, as a shell started from a file may have it."""
    path = tmp_path / "file"
    path.write_text("")
    fd = os.open(path, os.O_RDWR)
    start(BOTH, stdin=fd, stdout=fd, stderr=fd)
    os.close(fd)
    wait_for(lambda: path.read_text().count("\n") > 10)
    nucleus.checkpoint(cid, tmp_path / "cp")
    have = path.read_text().count("\n")
    restore(nucleus, tmp_path / "cp", cid)
    wait_for(lambda: path.read_text().count("\n") > have + 10)
    consecutive(["out", "err"], path.read_text().splitlines())


# ---- a terminal of the host


def test_c16_host_terminal(nucleus, start, cid, tmp_path):
    """`run` from a shell: refused without --shell-job, with it moved to another terminal."""
    master, slave = os.openpty()
    start("stty -echo; echo up; while read l; do echo got $l; done", stdin=slave, stdout=slave,
          stderr=slave)
    screen = Reader(os.dup(master))
    wait_for(lambda: b"up" in screen.data)
    failed = nucleus.fails("checkpoint", "-o", tmp_path / "cp", cid, text="--shell-job")
    assert not (tmp_path / "cp").exists(), failed
    os.write(master, b"hello\n")
    wait_for(lambda: b"got hello" in screen.data, what="it to run on")
    nucleus.checkpoint(cid, tmp_path / "cp", "--shell-job")
    os.close(slave)
    os.close(master)

    nucleus.delete(cid)
    nucleus.fails("restore", "-d", "-i", tmp_path / "cp", "-b", tmp_path / "bundle", cid,
                  text="terminal")
    assert nucleus.list() == []

    master, slave = os.openpty()
    nucleus.restore(tmp_path / "cp", "-d", "--shell-job", "-b", tmp_path / "bundle", cid,
                    stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    screen = Reader(os.dup(master))
    os.write(master, b"again\n")
    wait_for(lambda: b"got again" in screen.data)
    nucleus.delete(cid, "-f")
    os.close(master)
    screen.end()


# ---- a terminal of the container's own


class ConsoleSocket:
    """What an engine does with --console-socket."""

    def __init__(self, path):
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(1)
        self.listener.settimeout(20)
        self.master = -1

    def receive(self):
        connection, _ = self.listener.accept()
        connection.settimeout(20)
        _, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4))
        connection.close()
        (level, kind, data), = ancillary
        assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        self.master = struct.unpack("i", data)[0]
        return self.master

    def close(self):
        self.listener.close()
        self.path.unlink()


@pytest.fixture
def console(tmp_path):
    made = []

    def make():
        made.append(ConsoleSocket(tmp_path / f"console{len(made)}"))
        return made[-1]

    yield make
    for one in made:
        one.close()


TALK = "stty -echo; echo up; while read l; do echo got $l $(stty size); done"


def talk(master, screen, word):
    os.write(master, word.encode() + b"\n")
    wait_for(lambda: f"got {word}" in screen.data.decode(), what=f"{word} in {screen.data}")


def resize(master, rows, columns):
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def test_terminal_that_nobody_reads_keeps_no_signal(nucleus, bundle, cid):
    """What is typed waits; a signal does not wait behind it."""
    bundle.process["terminal"] = True
    bundle.sh("trap 'exit 7' TERM; stty raw -echo; echo up; while :; do sleep 0.05; done")
    reading, writing = os.pipe()
    running = nucleus.spawn_container(cid, bundle, stdin=reading)
    os.close(reading)
    wait_for(lambda: "up" in running.out, what="the program")
    os.set_blocking(writing, False)
    written = 0
    with contextlib.suppress(BlockingIOError):
        while written < 1 << 22:
            written += os.write(writing, b"x" * 65536)
    running.popen.terminate()
    assert running.wait().rc == 7
    os.close(writing)


def test_terminal_has_the_size_it_is_given(nucleus, bundle, cid, console):
    bundle.process.update(terminal=True, consoleSize={"height": 33, "width": 77})
    one = console()
    nucleus.run_container(cid, bundle.sh(TALK), "-d", "--console-socket", one.path)
    screen = Reader(os.dup(one.receive()))
    wait_for(lambda: b"up" in screen.data)
    talk(one.master, screen, "hello")
    assert "got hello 33 77" in " ".join(screen.lines)
    nucleus.delete(cid, "-f")
    os.close(one.master)
    screen.end()


@pytest.mark.parametrize("first", ["run", "create"])
def test_c16_own_terminal(nucleus, bundle, cid, console, tmp_path, first):
    """process.terminal: its master goes to the engine, at each restore a new one."""
    bundle.process["terminal"] = True
    bundle.sh(TALK)
    one = console()
    if first == "run":
        nucleus.run_container(cid, bundle, "-d", "--console-socket", one.path)
    else:
        nucleus.create(cid, bundle, "--console-socket", one.path)
        nucleus.start(cid)
    master = one.receive()
    resize(master, 33, 44)
    screen = Reader(os.dup(master))
    wait_for(lambda: b"up" in screen.data)
    talk(master, screen, "one")
    assert "got one 33 44" in " ".join(screen.lines)
    pid = nucleus.state(cid)["pid"]
    assert os.readlink(f"/proc/{pid}/fd/0").startswith("/dev/pts/")
    console_before = os.stat(f"/proc/{pid}/root/dev/console").st_rdev

    for turn in ("first", "second"):
        nucleus.checkpoint(cid, tmp_path / turn)
        os.close(master)
        screen.end()
        nucleus.delete(cid)
        nucleus.fails("restore", "-d", "-i", tmp_path / turn, "-b", bundle, cid,
                      text="--console-socket")
        one = console()
        nucleus.restore(tmp_path / turn, "-d", "-b", bundle, "--console-socket", one.path, cid)
        master = one.receive()
        assert os.isatty(master)
        screen = Reader(os.dup(master))
        talk(master, screen, turn)
        resize(master, 50, 60)
        talk(master, screen, f"{turn}-resized")
        assert f"got {turn}-resized 50 60" in " ".join(screen.lines)
        pid = nucleus.state(cid)["pid"]
        assert os.readlink(f"/proc/{pid}/fd/0").startswith("/dev/pts/")
        assert os.stat(f"/proc/{pid}/root/dev/console").st_rdev == console_before
    nucleus.delete(cid, "-f")
    os.close(master)
    screen.end()


def test_c16_own_terminal_console_socket_that_is_none(nucleus, bundle, cid, console, tmp_path):
    """Nothing is left of a restore whose terminal nobody takes."""
    bundle.process["terminal"] = True
    one = console()
    nucleus.run_container(cid, bundle.sh(TALK), "-d", "--console-socket", one.path)
    master = one.receive()
    nucleus.checkpoint(cid, tmp_path / "cp")
    os.close(master)
    nucleus.delete(cid)
    nucleus.fails("restore", "-d", "-i", tmp_path / "cp", "-b", bundle, "--console-socket",
                  tmp_path / "nothing", cid, text=str(tmp_path / "nothing"))
    assert nucleus.list() == [] and nucleus.cgroups(cid) == []


def foreground(nucleus, *args):
    """A command under a terminal of its own, as from a user's shell."""
    master, slave = os.openpty()
    resize(master, 24, 80)
    running = nucleus.spawn(*args, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    return running, master, Reader(os.dup(master))


def test_c16_own_terminal_in_the_foreground(nucleus, bundle, cid, tmp_path):
    """`run` and `restore` of a container with a terminal, under a terminal: they pass it through."""
    bundle.process["terminal"] = True
    bundle.sh(TALK)
    running, master, screen = foreground(nucleus, "run", "-b", bundle.dir, cid)
    wait_for(lambda: b"up" in screen.data, what="up on the screen")
    talk(master, screen, "one")
    assert "got one 24 80" in " ".join(screen.lines)
    nucleus.checkpoint(cid, tmp_path / "cp")
    assert running.wait().rc == 137
    os.close(master)
    nucleus.delete(cid, "-f")

    running, master, screen = foreground(nucleus, "restore", "-i", tmp_path / "cp", "-b",
                                         bundle.dir, cid)
    wait_for(lambda: nucleus.run("state", cid, check=False).rc == 0)
    talk(master, screen, "two")
    os.write(master, b"\x04")
    assert running.wait().rc == 0
    os.close(master)
