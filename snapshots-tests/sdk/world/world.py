"""A small world for sprites to reach: name servers, web servers and what they hold, on the loopback of a network namespace.

It ends when the process that started it does.
"""

import os
import tempfile
import threading
import time

import names
import wares
import web

parent = os.getppid()
with tempfile.TemporaryDirectory(prefix="world-") as folder:
    wares.debian(f"{folder}/debian")
    wares.git(f"{folder}/project.git")
    known = names.Names()
    servers = list(names.servers(known))
    for address in [names.HERE, names.THERE, names.HERE_V6, names.THERE_V6]:
        servers.append(web.server(address, known, folder))
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    while os.getppid() == parent:
        time.sleep(0.2)
