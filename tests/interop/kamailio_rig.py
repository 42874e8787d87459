"""Kamailio as a registrar and proxy that believes nobody without a digest; what it knows is in its memory alone."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PASSWORD = "right"
MODULES = ("tm", "sl", "rr", "pv", "maxfwd", "usrloc", "registrar", "textops", "siputils", "xlog", "auth", "kex")
CONFIG = """#!KAMAILIO
debug=1
log_stderror=yes
children=2
tcp_children=2
disable_tcp=no
auto_aliases=no
listen=udp:127.0.0.1:{port}
listen=tcp:127.0.0.1:{port}
alias="127.0.0.1:{port}"
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
{modules}
modparam("usrloc", "db_mode", 0)
modparam("registrar", "min_expires", 5)
modparam("registrar", "max_expires", 3600)
modparam("rr", "enable_full_lr", 1)

request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    if (has_totag()) {{
        if (loose_route() || (is_method("ACK") && t_check_trans())) t_relay();
        else if (!is_method("ACK")) sl_send_reply("404", "Not here");
        exit;
    }}
    if (is_method("REGISTER")) {{
        xlog("L_ERR", "seen REGISTER $fU $hdr(Authorization)\\n");
        if (!pv_www_authenticate("$td", "{password}", "0")) {{ www_challenge("$td", "1"); exit; }}
        save("location");
        exit;
    }}
    if (is_method("OPTIONS")) {{ sl_send_reply("200", "OK"); exit; }}
    if (!is_method("INVITE")) {{ sl_send_reply("405", "Method Not Allowed"); exit; }}
    if (!pv_proxy_authenticate("$fd", "{password}", "0")) {{ proxy_challenge("$fd", "1"); exit; }}
    xlog("L_ERR", "seen INVITE $fU to $rU as $au\\n");
    consume_credentials();
    record_route();
    if (!lookup("location")) {{ sl_send_reply("404", "Not Found"); exit; }}
    t_relay();
}}
"""


@dataclass(slots=True)
class Kamailio:
    """One that runs, or ran."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """With an empty memory; returns when it listens."""
        config = self.folder / "kamailio.cfg"
        modules = "\n".join(f'loadmodule "{name}.so"' for name in MODULES)
        config.write_text(CONFIG.format(port=self.port, password=PASSWORD, modules=modules))
        command = ["kamailio", "-f", config, "-DD", "-E", "-m", "64", "-Y", self.folder, "-n", "2"]
        with (self.folder / "kamailio.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command], stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 20
        while not self._listens():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.2)

    def _listens(self) -> bool:
        found = subprocess.run(["ss", "-Hltn", f"sport = :{self.port}"], capture_output=True, check=True)
        return bool(found.stdout.strip())

    def kill(self) -> None:
        """At once, all of its processes."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def log(self) -> str:
        """All it said."""
        return (self.folder / "kamailio.log").read_text()

    def seen(self, what: str) -> list[str]:
        """Lines of its log about requests of that kind: "REGISTER 100"."""
        return [line for line in self.log().splitlines() if f"seen {what}" in line]


@contextmanager
def kamailio(folder: Path, port: int) -> Iterator[Kamailio]:
    """On that port, UDP and TCP of loopback."""
    if shutil.which("kamailio") is None:
        pytest.skip("Kamailio is not installed (Debian package: kamailio)")
    folder.mkdir(exist_ok=True)
    here = Kamailio(folder, port)
    try:
        here.start()
        yield here
    finally:
        here.kill()
