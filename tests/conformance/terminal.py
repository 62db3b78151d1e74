# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs a program on a terminal of its own, 24 lines by 100: terminal.py SCREEN KEYS WAIT... -- PROGRAM [ARGUMENT...].

Waits until the screen has each WAIT in turn, writes all that came to SCREEN, sends KEYS (or a signal: SIGTERM), and ends
as the program does. Fails with 99 when the terminal is not as it was before."""
import os
import pty
import select
import signal
import struct
import fcntl
import sys
import termios

screen, keys, *rest = sys.argv[1:]
wanted, command = rest[:rest.index("--")], rest[rest.index("--") + 1:]
master, slave = pty.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
before = termios.tcgetattr(slave)
pid = os.fork()
if pid == 0:
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for fd in (0, 1, 2):
        os.dup2(slave, fd)
    os.execvp(command[0], command)
seen, at, sent = b"", 0, False
while True:
    ready, _, _ = select.select([master], [], [], 0.2)
    if ready:
        seen += os.read(master, 65536)
    while wanted and wanted[0].encode() in seen[at:]:
        at = seen.index(wanted.pop(0).encode(), at) + 1
    if not wanted and not sent:
        sent = True
        if keys == "SIGTERM":
            os.kill(pid, signal.SIGTERM)
        else:
            os.write(master, keys.encode())
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        break
while select.select([master], [], [], 0)[0]:
    seen += os.read(master, 65536)
with open(screen, "wb") as file:
    file.write(seen)
if termios.tcgetattr(slave) != before:
    sys.exit(99)
sys.exit(os.waitstatus_to_exitcode(status) % 256)
