"""What a program does that still has sprites-py 0.2.0: one line on standard output for each step that holds.

Parts of that version that are not used here, because they cannot work:

- SpritesClient.create_token asks api.sprites.dev, whatever base_url says.
- ControlConnection and OpConn need control connections, which are not offered; get_control_connection is refused.
- Cmd.exit_code stays -1, because nothing ever sets it.
- CheckpointStream and RestoreStream are made by nothing; a plain iterator comes in their place.
- SpritePath.stat of a directory tells of its first entry or of nothing, and is_dir and mkdir(exist_ok=True) believe it.
- SpritePath.relative_to and "text" / path give absolute paths again, because every path is made absolute.
- PermissionError_ never comes, because calls to files have the rights of root.
"""

import concurrent.futures
import io
import os
import threading
import time

from sprites import NetworkPolicy, PolicyRule, SpriteConfig, SpritesClient, URLSettings, checkpoint, policy, services, session
from sprites.exceptions import (
    APIError,
    AuthenticationError,
    DirectoryNotEmptyError,
    ExitError,
    FileNotFoundError_,
    FilesystemError,
    IsADirectoryError_,
    NotADirectoryError_,
    NotFoundError,
    SpriteError,
)
from sprites.exceptions import TimeoutError as CommandTimeout
from sprites.exec import Cmd
from sprites.loop import run_sync
from sprites.types import ListOptions
from sprites.websocket import WSCommand

TOKEN, URL = os.environ["SPRITES_TOKEN"], os.environ["SPRITES_API_URL"]
client = SpritesClient(token=TOKEN, base_url=URL + "/")


def step(name, holds):
    if not holds:
        raise SystemExit(f"step {name} does not hold")
    print(f"ok {name}", flush=True)


def refused(kind, work):
    """The error of this kind with which something ends; any other is not caught."""
    try:
        work()
    except kind as error:
        return error
    return None


def wait(what, holds):
    give_up = time.monotonic() + 60
    while not holds():
        if time.monotonic() > give_up:
            raise SystemExit(f"{what} never came")
        time.sleep(0.05)


def beside(work):
    """Does something in a thread, and gives a function that waits for what comes of it."""
    done = concurrent.futures.Future()

    def run():
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return lambda: done.result(60)


# Sprites.
sprite = client.create_sprite("sdk-old", config=SpriteConfig(ram_mb=512), url_settings=URLSettings(auth="sprite"), labels=["ci"], wait_for_capacity=True, runtime="default")
step("create", (sprite.name, sprite.labels, sprite.url_settings.auth) == ("sdk-old", ["ci"], "sprite") and sprite.created_at)
same = client.get_sprite("sdk-old")
step("get", (same.id, same.url, same.organization_name) == (sprite.id, sprite.url, sprite.organization_name) and same.id)
step("name taken", "409" in str(refused(SpriteError, lambda: client.create_sprite("sdk-old"))))
step("no such sprite", refused(NotFoundError, lambda: client.get_sprite("sdk-none")))
with SpritesClient(token="wrong", base_url=URL) as stranger:
    step("wrong token", refused(AuthenticationError, stranger.list_sprites))
step("close", refused(RuntimeError, stranger.list_sprites))
other = client.create_sprite("sdk-old-other")
page = client.list_sprites(ListOptions(prefix="sdk-old", max_results=1, bulk_load=True))
step("list", [one.name for one in page.sprites] == ["sdk-old"] and page.has_more)
rest = client.list_sprites(ListOptions(prefix="sdk-old", max_results=1, continuation_token=page.next_continuation_token))
step("list on", [one.name for one in rest.sprites] == ["sdk-old-other"] and not rest.has_more)
step("counters", page.running + page.warm + page.cold == 2)
step("list all", [one.name for one in client.list_all_sprites("sdk-")] == ["sdk-old", "sdk-old-other"])
step("update", sprite.update(labels=["one", "two"]).labels == client.update_sprite("sdk-old", url_settings=URLSettings(auth="public")).labels == ["one", "two"])
step("public url", client.get_sprite("sdk-old").url_settings.auth == "public")
sprite.update_url_settings(URLSettings(auth="sprite"))
step("url", client.get_sprite("sdk-old").url_settings.auth == "sprite")
sprite.upgrade()
step("upgrade", True)
step("http client", client.http_client.put(f"{URL}/v1/sprites/sdk-old", json={"labels": []}).json()["labels"] == [])
client.delete_sprite("sdk-old-other")
step("delete", [one.name for one in client.list_all_sprites("sdk-")] == ["sdk-old"])
step("deleted already", refused(NotFoundError, other.delete))

# Commands.
step("output", sprite.command("echo", "hello").output() == b"hello\n")
step("combined output", sprite.command("sh", "-c", "echo out; echo err >&2").combined_output() == b"out\nerr\n")
done = sprite.run("sh", "-c", "echo out; echo err >&2; exit 42", capture_output=True)
step("run", (done.returncode, done.stdout, done.stderr) == (42, b"out\n", b"err\n"))
step("exit code", refused(ExitError, lambda: sprite.run("sh", "-c", "exit 42", check=True)).exit_code() == 42)
missing = refused(ExitError, sprite.command("no-such-program").run)
step("no such program", missing.exit_code() == 127 and missing.stderr)
out, err = io.BytesIO(), io.BytesIO()
sprite.command("sh", "-c", "echo to out; echo to err >&2", stdout=out, stderr=err).run()
step("stderr", (out.getvalue(), err.getvalue()) == (b"to out\n", b"to err\n"))
out = io.BytesIO()
sprite.command("wc", "-c", stdin=io.BytesIO(b"x" * 300000), stdout=out).run()
step("stdin", out.getvalue().strip() == b"300000")
step("no stdin", sprite.command("cat").output() == b"")
step("env", sprite.run("sh", "-c", "echo $GREETING", env={"GREETING": "good day"}, capture_output=True).stdout == b"good day\n")
step("dir", sprite.command("pwd", cwd="/usr/lib").output() == b"/usr/lib\n")
step("no terminal", sprite.run("tty", capture_output=True).stdout == b"not a tty\n")
terminal = sprite.command("sh", "-c", "tty; stty size")
terminal.set_tty(True)
terminal.set_tty_size(31, 97)
shown = terminal.output()
step("tty", b"/dev/pts/" in shown and b"31 97" in shown)
step("tty fails", sprite.run("false", tty=True).returncode == 1)
step("timeout", refused((CommandTimeout, TimeoutError, concurrent.futures.TimeoutError), sprite.command("sleep", "301", timeout=0.3).run))
nowhere = client.sprite("sdk-none").run("true", capture_output=True)
step("no such sprite to run on", nowhere.returncode == 1 and b"404" in nowhere.stderr)
sized = WSCommand(Cmd(sprite, ["sh", "-c", "trap 'stty size; exit' WINCH; echo began; while :; do sleep 0.1; done"], tty=True))
run_sync(sized.start(), 60)
wait("the terminal", lambda: b"began" in sized.get_stdout())
run_sync(sized.resize(cols=101, rows=37), 60)
step("resize", run_sync(sized.wait(), 60) == 0 and b"37 101" in sized.get_stdout())
run_sync(sized.close(), 60)


# Sessions: one client starts it, another one attaches to it, and it is killed.
def found(name):
    return next((one for one in sprite.list_sessions() if name in one.command), None)


started = beside(lambda: sprite.run("sh", "-c", "echo began; read line; echo heard $line; stty size; exec sleep 302", tty=True))
wait("the session", lambda: found("sleep 302"))
listed = found("sleep 302")
step("sessions", listed.tty and listed.workdir == "/home/sprite" and listed.id in [one.id for one in session.list_sessions(sprite)])
seen = io.BytesIO()
attached = beside(Cmd(sprite, [], session_id=listed.id, tty=True, tty_rows=40, tty_cols=100, stdin=io.BytesIO(b"good day\n"), stdout=seen).run)
wait("the answer", lambda: all(text in seen.getvalue() for text in (b"began", b"heard good day", b"40 100")))
step("attach", True)
kinds = [message.type for message in session.kill_session(sprite, listed.id, timeout=5)]
step("kill", kinds[0] == "signal" and kinds[-1] == "complete")
# With a terminal this version takes every close code but 1000 for the exit code 1.
step("killed", started().returncode == 1 and refused(ExitError, attached).exit_code() == 1)
wait("the end of the session", lambda: not found("sleep 302"))
step("killed already", refused(APIError, lambda: session.kill_session(sprite, listed.id)).status_code == 410)
started = beside(lambda: sprite.run("sh", "-c", "echo out; echo err >&2; exec sleep 303", capture_output=True))
wait("the session without a terminal", lambda: found("sleep 303"))
out, err = io.BytesIO(), io.BytesIO()
attached = beside(Cmd(sprite, [], session_id=found("sleep 303").id, stdout=out, stderr=err).run)
wait("what was written before", lambda: (out.getvalue(), err.getvalue()) == (b"out\n", b"err\n"))
kinds = []
session.kill_session(sprite, found("sleep 303").id, signal="SIGKILL", timeout=5).process_all(lambda message: kinds.append(message.type))
step("kill at once", kinds[-1] == "complete" and started().returncode == 137 and refused(ExitError, attached).exit_code() == 137)
step("no such session", refused(APIError, lambda: session.kill_session(sprite, "999999")).status_code == 404)

# Control connections are not offered, and nothing is lost by it.
controlled = SpritesClient(token=TOKEN, base_url=URL, control_mode=True).sprite("sdk-old")
step("control wanted", controlled.use_control_mode())
step("without control", controlled.command("echo", "hello").output() == b"hello\n")
step("control given up", not controlled.use_control_mode() and not controlled.has_control_connection())
run_sync(controlled.close_control_connection(), 60)

# Files.
fs = sprite.filesystem("/home/sprite/work")
file = fs / "deep" / "a.txt"
step("paths", (str(file), file.name, file.stem, file.suffix, file.suffixes) == ("/home/sprite/work/deep/a.txt", "a.txt", "a", ".txt", [".txt"]))
step("related paths", file.parent == fs.path("deep") == fs.cwd.joinpath("deep") and file.parents[-1] == fs.root and file.parts[:2] == ("/", "home"))
step("other names", [one.name for one in (file.with_name("b"), file.with_stem("c"), file.with_suffix(".d"))] == ["b", "c.txt", "a.d"])
step("where paths are", file.is_absolute() and file.is_relative_to(fs.cwd) and os.fspath(file) == str(file) and len({file, file.parent / "a.txt"}) == 1)
file.write_text("one\ntwo\n", mode=0o640)
step("write and read", file.read_text() == "one\ntwo\n")
(fs / "bytes").write_bytes(bytes(range(256)) * 4096)
step("bytes", (fs / "bytes").read_bytes() == bytes(range(256)) * 4096)
told = file.stat()
step("stat", (told.name, told.path, told.size, told.mode, told.is_file) == ("a.txt", str(file), 8, "0640", True) and told.mod_time.tzinfo)
step("exists", file.exists() and file.is_file() and not file.is_dir() and not (fs / "none").exists() and not (fs / "none").is_dir())
step("list", sorted(fs.cwd.listdir()) == ["bytes", "deep"] and list(fs.path("deep").iterdir()) == [file])
step("no parents", refused(FilesystemError, lambda: (fs / "x" / "y" / "z").write_bytes(b"", mkdir_parents=False)))
(fs / "made" / "by" / "parents").mkdir(parents=True)
(fs / "single").mkdir()
(fs / "single").mkdir(exist_ok=True)
step("mkdir", sprite.command("sh", "-c", "cd work; ls -A made/by/parents single").output().split() == [b"made/by/parents:", b"single:"])
(fs / "empty").touch()
(fs / "empty").touch()
step("touch", (fs / "empty").read_bytes() == b"" and refused(FilesystemError, lambda: (fs / "empty").touch(exist_ok=False)).code == "EEXIST")
step("rename", (fs / "empty").rename("renamed") == fs / "renamed" and not (fs / "empty").exists())
step("replace", (fs / "bytes").replace(fs / "renamed").stat().size == 256 * 4096 and not (fs / "bytes").exists())
step("copy", file.copy_to(fs / "copy.txt").read_text() == (fs.path("deep").copy_to(fs / "tree") / "a.txt").read_text() == "one\ntwo\n")
step("copy without what is inside", refused(FilesystemError, lambda: fs.path("deep").copy_to("flat", recursive=False)))
(fs / "copy.txt").chmod(0o755)
fs.path("tree").chmod(0o700, recursive=True)
step("chmod", sprite.command("stat", "-c", "%a %U", "work/copy.txt", "work/tree", "work/tree/a.txt").output() == b"755 sprite\n700 sprite\n700 sprite\n")
(fs / "copy.txt").unlink()
(fs / "copy.txt").unlink(missing_ok=True)
step("unlink", refused(FileNotFoundError_, (fs / "copy.txt").unlink))
step("not empty", refused(DirectoryNotEmptyError, fs.path("made").rmdir))
fs.path("single").rmdir()
fs.path("tree").rmtree()
step("removed", sorted(fs.path().listdir()) == ["deep", "made", "renamed"])
step("no such file", refused(FileNotFoundError_, (fs / "none").read_text))
step("a directory", refused(IsADirectoryError_, fs.path("deep").read_text))
step("no directory", refused(NotADirectoryError_, (fs / "renamed" / "x").read_text))

# Services.
events = list(sprite.create_service("web", "python3", args=["-u", "-m", "http.server", "8000"], http_port=8000, duration=0.5))
step("create service", events[0].type == "started" and events[-1].type == "complete" and events[0].timestamp > 0)
step("service log files", events[-1].log_files["combined"] == "/.sprite/logs/services/web.log")
web = sprite.get_service("web")
step("get service", (web.cmd, web.http_port, web.args[-1], web.state.status) == ("python3", 8000, "8000", "running") and web.state.pid > 1 and web.state.started_at)
events = []
sprite.create_service("worker", "sh", args=["-c", "echo it works; exec sleep 304"], needs=["web"], duration=0.5).process_all(events.append)
step("service output", ("stdout", "it works") in [(event.type, (event.data or "").strip()) for event in events])
step("list services", [(one.name, one.needs) for one in sprite.list_services()] == [("web", []), ("worker", ["web"])])
step("two web services", refused(APIError, lambda: sprite.create_service("twice", "true", http_port=8001, duration=0.1)).status_code == 409)
sprite.signal_service("worker", "CONT")
step("no such signal", refused(APIError, lambda: sprite.signal_service("worker", "NONSENSE")).status_code == 400)
step("stop service", [event.type for event in sprite.stop_service("worker", timeout=5)][-1] == "complete")
step("stopped", sprite.get_service("worker").state.status == "stopped")
step("stopped already", refused(APIError, lambda: sprite.stop_service("worker")).status_code == 409)
step("start service", [event.type for event in sprite.start_service("worker", duration=0.2)][0] == "started")
sprite.delete_service("worker")
services.delete_service(sprite, "web")
step("delete service", sprite.list_services() == [])
step("no such service", [refused(APIError, lambda: work("web")).status_code for work in (sprite.get_service, sprite.start_service, sprite.stop_service)] == [404] * 3)

# Policies.
rules = [PolicyRule(domain="example.com", action="allow"), PolicyRule(include="defaults"), PolicyRule(domain="*", action="deny")]
sprite.update_network_policy(NetworkPolicy(rules=rules))
step("network policy", sprite.get_network_policy().rules == policy.get_network_policy(sprite).rules == rules)
policy.update_network_policy(sprite, NetworkPolicy(rules=rules[:1]))
step("another network policy", sprite.get_network_policy().rules == rules[:1])
step("no such policy", refused(APIError, lambda: policy.update_network_policy(sprite, NetworkPolicy(rules=[PolicyRule(domain="x", action="maybe")]))).status_code == 400)

# Checkpoints.
sprite.command("sh", "-c", "echo precious > ~/file; sync").run()
messages = list(sprite.create_checkpoint("from long ago"))
step("checkpoint", any("  ID: v0" in (message.data or "") for message in messages) and messages[-1].type == "complete")
listed = sprite.list_checkpoints()
step("checkpoints", [one.id for one in listed] == ["Current", "v0"] and listed[1].comment == "from long ago" and listed[1].create_time.tzinfo)
step("checkpoints once more", checkpoint.list_checkpoints(sprite)[1:] == listed[1:])
step("checkpoints of a line", "v0" in [one.id for one in sprite.list_checkpoints("v0")] and sprite.list_checkpoints("v7") == [])
step("get checkpoint", sprite.get_checkpoint("v0") == checkpoint.get_checkpoint(sprite, "v0") == listed[1])
step("no such checkpoint", refused(NotFoundError, lambda: sprite.get_checkpoint("v7")))
sprite.command("sh", "-c", "rm ~/file; sync").run()
with sprite.restore_checkpoint("v0") as messages:
    step("restore", [message.type for message in messages][-1] == "complete")
step("restored", sprite.command("sh", "-c", "cat ~/file").output() == b"precious\n")

sprite.destroy()
step("destroy", client.list_all_sprites("sdk-") == [])
client.close()
print("all steps hold", flush=True)
os._exit(0)
