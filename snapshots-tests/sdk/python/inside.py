"""Files, services, policies and settings with sprites-py, the blocking and the asynchronous client: one line for each step that holds."""

import asyncio
import os
import urllib.error
import urllib.request

from sprites import AsyncSpritesClient, NetworkPolicy, PolicyRule, SpritesClient
from sprites.exceptions import (
    DirectoryNotEmptyError,
    FileNotFoundError_,
    IsADirectoryError_,
    NotADirectoryError_,
)
from sprites.types import ListOptions, URLSettings

TOKEN, URL = os.environ["SPRITES_TOKEN"], os.environ["SPRITES_API_URL"]
client = SpritesClient(token=TOKEN, base_url=URL)


def step(name, holds):
    if not holds:
        raise SystemExit(f"step {name} does not hold")
    print(f"ok {name}", flush=True)


def refused(kind, work):
    try:
        work()
    except kind:
        return True
    return False


sprite = client.create_sprite("sdk-inside")

# Files.
fs = sprite.filesystem("/home/sprite/work")
file = fs / "deep" / "a.txt"
file.write_text("one\ntwo\n")
step("write and read", file.read_text() == "one\ntwo\n")
(fs / "bytes").write_bytes(bytes(range(256)) * 4096)
step("bytes", (fs / "bytes").read_bytes() == bytes(range(256)) * 4096)
step("stat", file.stat().size == 8 and file.exists() and file.is_file() and not (fs / "none").exists())
step("list", sorted(fs.path(".").listdir()) == ["bytes", "deep"] and [str(one.name) for one in fs.path("deep").iterdir()] == ["a.txt"])
(fs / "made" / "by" / "parents").mkdir(parents=True)
(fs / "single").mkdir()
step("mkdir", sprite.command("sh", "-c", "cd work; ls -A made/by/parents single").output().split() == [b"made/by/parents:", b"single:"])
(fs / "empty").touch()
step("touch", (fs / "empty").read_bytes() == b"")
(fs / "empty").rename(fs / "renamed")
(fs / "bytes").replace(fs / "renamed")
step("rename and replace", (fs / "renamed").stat().size == 256 * 4096 and not (fs / "bytes").exists())
file.copy_to(fs / "copy.txt")
fs.path("deep").copy_to(fs / "tree", recursive=True)
step("copy", (fs / "copy.txt").read_text() == (fs / "tree" / "a.txt").read_text() == "one\ntwo\n")
(fs / "copy.txt").chmod(0o755)
step("chmod", sprite.command("stat", "-c", "%a %U", "work/copy.txt").output() == b"755 sprite\n")
(fs / "copy.txt").unlink()
(fs / "copy.txt").unlink(missing_ok=True)
fs.path("single").rmdir()
fs.path("tree").rmtree()
step("removed", sorted(fs.path(".").listdir()) == ["deep", "made", "renamed"])
step("no such file", refused(FileNotFoundError_, lambda: (fs / "none").read_text()))
step("a directory", refused(IsADirectoryError_, lambda: fs.path("deep").read_text()))
step("no directory", refused(NotADirectoryError_, lambda: (fs / "renamed" / "x").read_text()))
step("not empty", refused(DirectoryNotEmptyError, lambda: fs.path("made").rmdir()))

# Services.
events = list(sprite.create_service("web", cmd="python3", args=["-u", "-m", "http.server", "8000"], http_port=8000, env={"A": "b"}, dir="/home/sprite", duration=1.5))
step("create service", events[0].type == "started" and events[-1].type == "complete")
step("service log files", events[-1].log_files["combined"] == "/.sprite/logs/services/web.log")
web = sprite.get_service("web")
step("get service", web.http_port == 8000 and web.state.status == "running" and web.state.pid > 1)
list(sprite.create_service("worker", cmd="sleep", args=["1000"], needs=["web"], duration=0.2))
step("list services", [one.name for one in sprite.list_services()] == ["web", "worker"])
sprite.signal_service("worker", "USR1")
step("stop service", [event.type for event in sprite.stop_service("worker", timeout=5)][-1] == "complete")
step("stopped", sprite.get_service("worker").state.status == "stopped")
step("start service", [event.type for event in sprite.start_service("worker", duration=0.5)][0] == "started")
sprite.delete_service("worker")
step("delete service", [one.name for one in sprite.list_services()] == ["web"])

# Its address.
address = client.get_sprite("sdk-inside").url


def visit(token):
    # Browsers and curl know where names below localhost are; this library asks the system, which need not.
    host = address.removeprefix("http://")
    request = urllib.request.Request(f"http://127.0.0.1:{host.split(':')[1]}/work/deep/a.txt", headers={"Host": host})
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


step("url without a token", visit(None)[0] == 401)
step("url with a token", visit(TOKEN) == (200, b"one\ntwo\n"))
sprite.update_url_settings(URLSettings(auth="public"))
step("public url", visit(None) == (200, b"one\ntwo\n"))

# Settings and policies.
client.update_sprite("sdk-inside", labels=["one", "two"])
step("labels", client.get_sprite("sdk-inside").labels == ["one", "two"])
step("list with options", [one.name for one in client.list_sprites(ListOptions(prefix="sdk-i", max_results=1)).sprites] == ["sdk-inside"])
rules = [PolicyRule(domain="example.com", action="allow"), PolicyRule(include="defaults"), PolicyRule(domain="*", action="deny")]
sprite.update_network_policy(NetworkPolicy(rules=rules))
told = sprite.get_network_policy().rules
step("network policy", [(one.domain, one.action, one.include) for one in told] == [(one.domain, one.action, one.include) for one in rules])
sprite.upgrade()
step("upgrade", True)


async def asynchronous():
    async with AsyncSpritesClient(token=TOKEN, base_url=URL) as other:
        same = other.sprite("sdk-inside")
        files = same.filesystem("/home/sprite/work")
        await (files / "async.txt").write_text("from afar")
        step("async files", await (files / "async.txt").read_text() == "from afar")
        step("async exec", await same.command("echo", "hello").output() == b"hello\n")
        step("async services", [one.name for one in await same.list_services()] == ["web"])
        step("async checkpoints", len(await same.list_checkpoints()) >= 1)


asyncio.run(asynchronous())

# As a program does it that wants control connections: they are not offered, and nothing is lost by it.
controlled = SpritesClient(token=TOKEN, base_url=URL, control_mode=True)
step("without control", controlled.sprite("sdk-inside").command("echo", "hello").output() == b"hello\n")

sprite.destroy()
step("destroy", client.list_all_sprites(prefix="sdk-inside") == [])
print("all steps hold", flush=True)
os._exit(0)
