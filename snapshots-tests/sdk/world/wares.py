"""What programs fetch: a Debian repository with one package, and a git repository with one file. Both are files for any web server."""

import email.utils
import hashlib
import io
import os
import tarfile
import zlib


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def archive(files):
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as tar:
        for name, mode, content in files:
            info = tarfile.TarInfo(name)
            info.mode, info.size = mode, len(content)
            tar.addfile(info, io.BytesIO(content))
    return held.getvalue()


def package():
    """A Debian package (`man 5 deb`) that says hello, and what an index says of it."""
    about = "Package: outside\nVersion: 1\nArchitecture: all\nMaintainer: World <world@world.example>\nDescription: says hello\n"
    members = [
        ("debian-binary", b"2.0\n"),
        ("control.tar.gz", archive([("./control", 0o644, about.encode())])),
        ("data.tar.gz", archive([("./usr/bin/outside", 0o755, b"#!/bin/sh\necho hello from a package\n")])),
    ]
    deb = b"!<arch>\n"
    for name, content in members:
        deb += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        deb += content + b"\n" * (len(content) % 2)
    index = f"{about}Filename: ./outside.deb\nSize: {len(deb)}\nSHA256: {hashlib.sha256(deb).hexdigest()}\n"
    return deb, index.encode()


def debian(folder):
    """A flat repository (`man 5 sources.list`)."""
    deb, index = package()
    now = email.utils.formatdate(usegmt=True)
    release = f"Origin: World\nDate: {now}\nSHA256:\n {hashlib.sha256(index).hexdigest()} {len(index)} Packages\n"
    for name, content in [("outside.deb", deb), ("Packages", index), ("Release", release.encode())]:
        write(f"{folder}/{name}", content)


def git(folder):
    """A bare repository as the plain protocol serves it (`man 5 gitrepository-layout`): loose objects, and a list of branches."""

    def add(kind, content):
        whole = f"{kind} {len(content)}".encode() + b"\0" + content
        name = hashlib.sha1(whole).hexdigest()
        write(f"{folder}/objects/{name[:2]}/{name[2:]}", zlib.compress(whole))
        return name

    blob = add("blob", b"hello from a repository\n")
    tree = add("tree", b"100644 README\0" + bytes.fromhex(blob))
    who = "World <world@world.example> 1700000000 +0000"
    commit = add("commit", f"tree {tree}\nauthor {who}\ncommitter {who}\n\nHello\n".encode())
    write(f"{folder}/HEAD", b"ref: refs/heads/main\n")
    write(f"{folder}/refs/heads/main", f"{commit}\n".encode())
    write(f"{folder}/info/refs", f"{commit}\trefs/heads/main\n".encode())
    write(f"{folder}/objects/info/packs", b"\n")
