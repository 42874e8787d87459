"""Asterisk in its chroot (scripts/asterisk.sh): we are its extension 100, a telephone is its extension 200."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.baresip_rig import free_tcp_port
from tests.interop.samples import sample, trunk
from tests.peers.sip.rig import free_port

ROOT = Path(__file__).parents[2] / ".cache" / "asterisk"
MODULES = "/usr/lib/x86_64-linux-gnu/asterisk/modules"
PASSWORD = "right"  # of the telephone
MAIN = f"""[directories]
astetcdir => /mnt/etc
astmoddir => {MODULES}
astvarlibdir => /var/lib/asterisk
astdbdir => /mnt
astkeydir => /mnt
astdatadir => /usr/share/asterisk
astagidir => /mnt
astspooldir => /mnt
astrundir => /mnt
astlogdir => /mnt
astsbindir => /usr/sbin
[options]
verbose = 4
nocolor = yes
"""
PJSIP = f"""[global]
type = global
debug = yes
[udp]
type = transport
protocol = udp
bind = 127.0.0.1:{{sip}}
{{agent}}
[200]
type = endpoint
context = numbers
disallow = all
allow = ulaw,alaw
aors = 200
auth = 200
direct_media = no
[200]
type = auth
auth_type = userpass
username = 200
password = {PASSWORD}
[200]
type = aor
max_contacts = 1
remove_existing = yes
"""
# r: what the caller said, t: what the caller heard.
EXTENSIONS = """[numbers]
exten => _[12]00,1,MixMonitor(/mnt/both.wav,r(/mnt/caller.wav)t(/mnt/callee.wav))
 same => n,Dial(PJSIP/${{EXTEN}},30)
 same => n,Hangup()
exten => 300,1,Answer()
 same => n,UserEvent(Desk,From: ${{CALLERID(num)}})
 same => n,MixMonitor(/mnt/desk-both.wav,r(/mnt/desk-caller.wav)t(/mnt/desk-callee.wav))
 same => n,Playback(/mnt/desk)
 same => n,Wait(20)
exten => 310,1,Answer()
 same => n,MixMonitor(/mnt/desk-both.wav,r(/mnt/desk-caller.wav)t(/mnt/desk-callee.wav))
 same => n,Wait(7)
 same => n,SendDTMF(1)
 same => n,Wait(2)
 same => n,Playback(/mnt/desk)
 same => n,Wait(20)
exten => 500,1,Answer()
 same => n,MixMonitor(/mnt/both.wav,r(/mnt/caller.wav)t(/mnt/callee.wav))
 same => n,AudioSocket(${{UUID()}},127.0.0.1:{audiosocket})
 same => n,UserEvent(AudioSocketOver)
 same => n,Hangup()
exten => _50[12],1,Answer()
 same => n,MixMonitor(/mnt/both.wav,r(/mnt/caller.wav)t(/mnt/callee.wav))
 same => n,Dial(AudioSocket/127.0.0.1:{audiosocket}/${{UUID()}}/c(${{IF($[${{EXTEN}}=501]?slin:slin16)}}))
 same => n,Hangup()
"""
OTHERS = {
    "modules.conf": "[modules]\nautoload = yes\n",
    "logger.conf": "[general]\n[logfiles]\nfull => notice,warning,error,verbose\n",
    "manager.conf": "[general]\nenabled = yes\nbindaddr = 127.0.0.1\nport = {ami}\n"
    "[test]\nsecret = test\nread = all\nwrite = all\n",
    "rtp.conf": "[general]\nrtpstart = 20000\nrtpend = 20999\n",
}


@dataclass(frozen=True, slots=True)
class Asterisk:
    """One that runs. Its /mnt is `folder`."""

    folder: Path
    sip: int
    ami: int
    audiosocket: int

    def log(self) -> str:
        """All it said."""
        path = self.folder / "full"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def trunk(self) -> dict[str, object]:
        """How we are its extension 100."""
        return trunk("asterisk", f"127.0.0.1:{self.sip}")

    @property
    def phone(self) -> str:
        """The account of its extension 200, for baresip."""
        host = f"127.0.0.1:{self.sip}"
        return f'<sip:200@{host}>;auth_user=200;auth_pass={PASSWORD};outbound="sip:{host}"'


def _prepare(own: Asterisk) -> None:
    etc = own.folder / "etc"
    etc.mkdir(parents=True)
    (etc / "asterisk.conf").write_text(MAIN)
    (etc / "pjsip.conf").write_text(PJSIP.format(sip=own.sip, agent=sample("ini", "asterisk")))
    (etc / "extensions.conf").write_text(EXTENSIONS.format(audiosocket=own.audiosocket))
    for name, text in OTHERS.items():
        (etc / name).write_text(text.format(ami=own.ami))


@contextmanager
def asterisk(folder: Path) -> Iterator[Asterisk]:
    """In a mount namespace of its own, so that nothing stays mounted."""
    if not (ROOT / ".complete").is_file() or os.geteuid() != 0:
        pytest.skip("no Asterisk: as root, scripts/asterisk.sh unpacks it into .cache/asterisk")
    own = Asterisk(folder, free_port(), free_tcp_port(), free_tcp_port())
    _prepare(own)
    inside = f"mount --bind {folder} {ROOT}/mnt && mount --rbind /dev {ROOT}/dev && mount -t proc proc {ROOT}/proc"
    inside += f" && exec chroot {ROOT} /usr/sbin/asterisk -C /mnt/etc/asterisk.conf -f"
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(
            ["unshare", "--mount", "--fork", "--kill-child", "bash", "-c", inside],
            stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    try:
        _until_ready(process, own)
        yield own
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _until_ready(process: "subprocess.Popen[bytes]", own: Asterisk) -> None:
    deadline = time.monotonic() + 60
    while "Asterisk Ready" not in own.log():
        assert process.poll() is None, own.log()[-3000:]
        assert time.monotonic() < deadline, own.log()[-3000:]
        time.sleep(0.5)
