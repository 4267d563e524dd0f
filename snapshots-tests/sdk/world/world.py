"""A small world for sprites to reach: a name server at 198.18.0.53 and a web server at 198.18.0.1, on the loopback of a network namespace.

It ends when the process that started it does.
"""

import os
import socket
import socketserver
import struct
import threading
import time

NAMES = {
    b"allowed.example": "198.18.0.1",
    b"other.example": "198.18.0.1",
    b"rebind.example": "127.0.0.1",
    b"private.example": "10.1.2.3",
}


def name_of(question):
    labels, at = [], 0
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]])
        at += 1 + question[at]
    return b".".join(labels).lower(), at + 1


class Names(socketserver.BaseRequestHandler):
    def handle(self):
        data, answer_to = self.request
        name, end = name_of(data[12:])
        question = data[12 : 12 + end + 4]
        kind = struct.unpack(">H", question[end : end + 2])[0]
        address = NAMES.get(name)
        code = 0 if address else 3
        record = b""
        if address and kind == 1:
            record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(address)
        head = data[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, bool(record), 0, 0)
        answer_to.sendto(head + question + record, self.client_address)


class Web(socketserver.BaseRequestHandler):
    def handle(self):
        head = self.request.recv(65536)
        if head.startswith(b"GET /long"):
            self.request.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
            while True:
                time.sleep(0.1)
                self.request.sendall(b"tick\n")
        self.request.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello from outside\n")


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that went away."""


parent = os.getppid()
for server in [socketserver.UDPServer(("198.18.0.53", 53), Names), Server(("198.18.0.1", 80), Web)]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
while os.getppid() == parent:
    time.sleep(0.2)
