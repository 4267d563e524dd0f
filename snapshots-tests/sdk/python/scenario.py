"""What a program of somebody else's does with sprites-py: one line on standard output for each step that holds."""

import io
import os
import threading
import time

from sprites import SpritesClient
from sprites.exceptions import ExitError
from sprites.session import kill_session

client = SpritesClient(token=os.environ["SPRITES_TOKEN"], base_url=os.environ["SPRITES_API_URL"])


def step(name, holds):
    if not holds:
        raise SystemExit(f"step {name} does not hold")
    print(f"ok {name}", flush=True)


def wait(what, holds):
    give_up = time.monotonic() + 60
    while not holds():
        if time.monotonic() > give_up:
            raise SystemExit(f"{what} never came")
        time.sleep(0.05)


sprite = client.create_sprite("sdk-python", labels=["ci"])
step("create", sprite.name == "sdk-python")
step("get", client.get_sprite("sdk-python").labels == ["ci"])
step("list", [one.name for one in client.list_all_sprites(prefix="sdk-")] == ["sdk-python"])

step("output", sprite.command("echo", "hello").output() == b"hello\n")
try:
    sprite.command("sh", "-c", "exit 42").run()
    step("exit code", False)
except ExitError as error:
    step("exit code", "42" in str(error))
try:
    sprite.command("no-such-program").run()
    step("no such program", False)
except ExitError as error:
    step("no such program", "127" in str(error))

out, err = io.BytesIO(), io.BytesIO()
sprite.command("sh", "-c", "echo to out; echo to err >&2", stdout=out, stderr=err).run()
step("stderr", (out.getvalue(), err.getvalue()) == (b"to out\n", b"to err\n"))
out = io.BytesIO()
sprite.command("wc", "-c", stdin=io.BytesIO(b"x" * 300000), stdout=out).run()
step("stdin", out.getvalue().strip() == b"300000")
step("env", sprite.command("sh", "-c", "echo $GREETING", env={"GREETING": "good day"}).output() == b"good day\n")
step("dir", sprite.command("pwd", cwd="/usr/lib").output() == b"/usr/lib\n")
out = io.BytesIO()
sprite.command("sh", "-c", "tty; stty size", tty=True, tty_rows=31, tty_cols=97, stdout=out).run()
step("tty", b"/dev/pts/" in out.getvalue() and b"31 97" in out.getvalue())

# A session with a terminal goes on; a second client attaches to it, and a third kills it.
worker = threading.Thread(
    target=lambda: sprite.run("sh", "-c", "echo began; sleep 300", tty=True), daemon=True
)
worker.start()
wait("the session", lambda: any(one.tty for one in sprite.list_sessions()))
session = next(one for one in sprite.list_sessions() if one.tty)
step("sessions", "sleep" in session.command)
seen = io.BytesIO()
attached = sprite.attach_session(session.id)
attached.stdout = seen


def attach():
    try:
        attached.run()
    except Exception:  # It ends by being killed.
        pass


watcher = threading.Thread(target=attach, daemon=True)
watcher.start()
wait("what was printed before", lambda: b"began" in seen.getvalue())
step("attach", True)
kinds = [message.type for message in kill_session(sprite, session.id, signal="SIGKILL", timeout=5)]
step("kill", kinds[-1] == "complete")
watcher.join(30)
worker.join(30)
step("killed", not watcher.is_alive() and not any(one.tty for one in sprite.list_sessions()))

sprite.command("sh", "-c", "echo precious > ~/file; sync").run()
lines = [message.data or "" for message in sprite.create_checkpoint("from the sdk")]
step("checkpoint", any("  ID: v0" in line for line in lines))
listed = sprite.list_checkpoints()
step("checkpoints", [one.id for one in listed] == ["Current", "v0"] and listed[1].comment == "from the sdk")
step("get checkpoint", sprite.get_checkpoint("v0").comment == "from the sdk")
sprite.command("sh", "-c", "rm ~/file; sync").run()
kinds = [message.type for message in sprite.restore_checkpoint("v0")]
step("restore", kinds[-1] == "complete")
step("restored", sprite.command("sh", "-c", "cat ~/file").output() == b"precious\n")

client.delete_sprite("sdk-python")
step("delete", client.list_all_sprites(prefix="sdk-") == [])
print("all steps hold", flush=True)
os._exit(0)
