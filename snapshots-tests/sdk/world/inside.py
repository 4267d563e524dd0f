"""Tries things from within a sprite, all at once, and tells what became of each.

The one argument is a JSON list of trials, each a list of words; the answer is a JSON list of what became of them, in the same order.
"""

import concurrent.futures
import json
import random
import socket
import struct
import subprocess
import sys

WAIT = 8
KINDS = {"A": 1, "TXT": 16, "AAAA": 28}
CODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


def question(name, kind):
    labels = b"".join(bytes([len(label)]) + label.encode("latin-1") for label in name.split(".") if label)
    return struct.pack(">HHHHHH", random.getrandbits(16), 0x100, 1, 0, 0, 0) + labels + struct.pack(">BHH", 0, KINDS[kind], 1)


def after_name(answer, at):
    while answer[at] and answer[at] < 0xC0:
        at += 1 + answer[at]
    return at + (2 if answer[at] else 1)


def told(answer):
    """Code and addresses of an answer."""
    flags, _, count = struct.unpack(">HHH", answer[2:8])
    at, values = after_name(answer, 12) + 4, []
    for _ in range(count):
        at = after_name(answer, at)
        kind, _, _, length = struct.unpack(">HHIH", answer[at : at + 10])
        data = answer[at + 10 : at + 10 + length]
        at += 10 + length
        if kind in (1, 28):
            values.append(socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, data))
    return " ".join([CODES[flags & 15], *sorted(values)])


def talk(kind, address, port, bytes):
    """One message there and one back."""
    (family, _, _, _, to), *_ = socket.getaddrinfo(address, int(port), type=socket.SOCK_STREAM)
    stream = kind == "tcp"
    with socket.socket(family, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM) as line:
        line.settimeout(WAIT)
        line.connect(to)
        line.sendall(struct.pack(">H", len(bytes)) + bytes if stream else bytes)
        answer = line.recv(4096)
        return answer[2:] if stream else answer


def dns(kind, server, port, name, wanted):
    """Asks a name server."""
    return told(talk(kind, server, port, question(name, wanted)))


def bytes_(server, text):
    """Sends a name server anything."""
    answer = talk("udp", server, 53, bytes.fromhex(text))
    return CODES[answer[3] & 15]


def tcp(address, port):
    """Connects."""
    (family, _, _, _, to), *_ = socket.getaddrinfo(address, int(port), type=socket.SOCK_STREAM)
    with socket.socket(family, socket.SOCK_STREAM) as line:
        line.settimeout(WAIT)
        line.connect(to)
    return "open"


def options(address, port):
    """A datagram with an extension header of IPv6 before it; for root only."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as line:
        line.settimeout(1)
        line.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, bytes([0, 0, 1, 4, 0, 0, 0, 0]))
        line.sendto(b"hello", (address, int(port)))
        line.recv(1)
    return "answered"


def get(url):
    """Fetches a page, and goes wherever it says."""
    done = subprocess.run(
        ["curl", "-sSL", "--max-time", str(WAIT), url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return done.stdout.decode().strip()


DEEDS = {"dns": dns, "bytes": bytes_, "tcp": tcp, "options": options, "get": get}


def outcome(trial):
    deed, *words = trial
    try:
        return DEEDS[deed](*words)
    except TimeoutError:
        return "no answer"
    except OSError as error:
        return f"closed: {error.strerror}"


with concurrent.futures.ThreadPoolExecutor(32) as pool:
    print(json.dumps(list(pool.map(outcome, json.loads(sys.argv[1])))))
