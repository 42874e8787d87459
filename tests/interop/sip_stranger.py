"""A stranger: so many INVITEs a second from one address.

`python -m tests.interop.sip_stranger ADDRESS PORT RATE SECONDS` prints how many
were sent and how many packets came back."""

import json
import socket
import sys
import time


def main(address: str, port: int, rate: float, seconds: float) -> None:
    """Every tenth is another method."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 0))
    sock.setblocking(False)
    own, begun, sent, heard, invites = sock.getsockname()[1], time.monotonic(), 0, 0, 0
    while (now := time.monotonic() - begun) < seconds:
        while sent < now * rate:
            method = ("REGISTER", "OPTIONS")[sent // 10 % 2] if sent % 10 == 9 else "INVITE"
            sock.sendto(request(method, address, own, sent), ("127.0.0.1", port))
            sent, invites = sent + 1, invites + (method == "INVITE")
        try:
            while sock.recv(65_535):
                heard += 1
        except BlockingIOError:
            pass
        time.sleep(0.01)
    print(json.dumps({"sent": sent, "invites": invites, "heard": heard}))


def request(method: str, address: str, own: int, number: int) -> bytes:
    body = f"v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio 9 RTP/AVP 0 8\r\n"
    body = body if method == "INVITE" else ""
    return (
        f"{method} sip:{100 + number % 900}@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {address}:{own};rport;"
        f"branch=z9hG4bKs{number}\r\nMax-Forwards: 70\r\nFrom: <sip:100@1.1.1.1>;tag={number}\r\n"
        f"To: <sip:100@1.1.1.1>\r\nCall-ID: stranger{number}\r\nCSeq: 1 {method}\r\n"
        f"Contact: <sip:100@{address}:{own}>\r\n"
        f"User-Agent: friendly-scanner\r\nContent-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
