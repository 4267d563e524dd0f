// What a program does that still has @fly/sprites 0.0.1: one line on standard output for each step that holds.
//
// Parts of that version that are not used here, because they cannot work:
//
// - SpritesClient.createToken asks api.sprites.dev, whatever baseURL says.
// - listAllSprites never asks for a second page, because it looks for hasMore where every server says has_more.
// - organizationName, createdAt, updatedAt, bucketName and primaryRegion of a sprite are never set, for the same reason.
// - kill sends no signal, whichever it is given; it closes the connection, and what that means is told below.
// - A command without a terminal has no messages, because texts are taken for frames of an unknown stream.
// - A command that is refused never tells so by start, which stays pending; the event 'error' tells it.

import { ExecError, Sprite, SpriteCommand, SpritesClient, StreamID } from '@fly/sprites';

const client = new SpritesClient(process.env.SPRITES_TOKEN, { baseURL: `${process.env.SPRITES_API_URL}/`, timeout: 60_000 });

function step(name, holds) {
  if (!holds) {
    console.error(`step ${name} does not hold`);
    process.exit(1);
  }
  console.log(`ok ${name}`);
}

async function wait(what, holds) {
  const giveUp = Date.now() + 60_000;
  while (!(await holds())) {
    if (Date.now() > giveUp) {
      console.error(`${what} never came`);
      process.exit(1);
    }
    await new Promise((done) => setTimeout(done, 50));
  }
}

const text = (stream) => {
  const seen = { text: '' };
  stream.on('data', (piece) => { seen.text += piece.toString(); });
  return seen;
};
const once = (command, event) => new Promise((done) => command.once(event, done));
const error = async (work) => work.then(() => undefined, (problem) => problem);
// Streams of progress come as answers that are not read yet: one object a line.
const gather = async (answer) => (await answer.text()).trim().split('\n').map((line) => JSON.parse(line));

// Sprites.
const sprite = await client.createSprite('sdk-old-node', { ramMB: 512, cpus: 1, region: 'here', storageGB: 1 });
step('create', sprite instanceof Sprite && sprite.name === 'sdk-old-node');
const same = await client.getSprite('sdk-old-node');
step('get', same.id.startsWith('sprite-') && ['cold', 'warm', 'running'].includes(same.status));
step('name taken', /status 409/.test((await error(client.createSprite('sdk-old-node'))).message));
step('no such sprite', /not found/.test((await error(client.getSprite('sdk-none'))).message));
const stranger = new SpritesClient('wrong', { baseURL: process.env.SPRITES_API_URL });
step('wrong token', /status 401/.test((await error(stranger.listSprites())).message));
const other = await client.createSprite('sdk-old-other');
const page = await client.listSprites({ prefix: 'sdk-old', maxResults: 1 });
step('list', page.sprites.length === 1 && page.sprites[0].name === 'sdk-old-node' && page.has_more);
const rest = await client.listSprites({ prefix: 'sdk-old', maxResults: 1, continuationToken: page.next_continuation_token });
step('list on', rest.sprites[0].name === 'sdk-old-other' && !rest.has_more);
step('list all', (await client.listAllSprites('sdk-')).map((one) => one.name).join() === 'sdk-old-node,sdk-old-other');
await client.upgradeSprite('sdk-old-other');
await sprite.upgrade();
step('upgrade', true);
await other.delete();
step('delete', /not found/.test((await error(client.getSprite('sdk-old-other'))).message));
step('deleted already', /status 404/.test((await error(client.deleteSprite('sdk-old-other'))).message));

// Commands.
step('exec', (await client.sprite('sdk-old-node').exec('echo hello')).stdout === 'hello\n');
step('execFile', (await sprite.execFile('echo', ['a  b', '|'])).stdout === 'a  b |\n');
const failed = await error(sprite.execFile('sh', ['-c', 'echo out; echo err >&2; exit 42']));
step('exit code', failed instanceof ExecError && failed.exitCode === 42 && failed.stdout === 'out\n' && failed.stderr === 'err\n');
const missing = await error(sprite.execFile('no-such-program'));
step('no such program', missing.exitCode === 127 && missing.stderr.length > 0);
step('env', (await sprite.execFile('sh', ['-c', 'echo $GREETING'], { env: { GREETING: 'good day' } })).stdout === 'good day\n');
step('dir', (await sprite.execFile('pwd', [], { cwd: '/usr/lib' })).stdout === '/usr/lib\n');
step('bytes', (await sprite.execFile('printf', ['\\377\\0'], { encoding: 'buffer' })).stdout.equals(Buffer.from([255, 0])));
step('encoding', (await sprite.execFile('echo', ['x'], { encoding: 'hex' })).stdout === '780a');
step('too much', /maxBuffer/.test((await error(sprite.execFile('seq', ['100000'], { maxBuffer: 1000 }))).message));
step('control mode', (await sprite.execFile('echo', ['hello'], { controlMode: true })).stdout === 'hello\n');
step('nowhere', (await error(client.sprite('sdk-none').execFile('true'))).message === 'WebSocket error');
step('streams', StreamID.Stdout === 1 && StreamID.Exit === 3);

const count = sprite.spawn('wc', ['-c']);
const counted = text(count.stdout);
step('not ended', count.exitCode() === -1);
// The SDK takes input only when its socket is open.
await once(count, 'spawn');
count.stdin.write('x'.repeat(300_000));
count.stdin.end();
step('stdin', (await count.wait()) === 0 && count.exitCode() === 0 && counted.text.trim() === '300000');

const own = new SpriteCommand(sprite, 'sh', ['-c', 'echo err >&2; exit 3']);
const complaint = text(own.stderr);
await own.start();
step('start', /already started/.test((await error(own.start())).message));
step('own command', (await own.wait()) === 3 && complaint.text === 'err\n');

const tty = sprite.spawn('sh', ['-c', 'tty; stty size; read line; stty size; echo heard $line'], { tty: true, rows: 31, cols: 97 });
const shown = text(tty.stdout);
await wait('the terminal', () => shown.text.includes('31 97'));
step('tty', shown.text.includes('/dev/pts/'));
tty.resize(101, 37);
tty.stdin.write('good day\r');
step('tty input', (await tty.wait()) === 0 && shown.text.includes('heard good day'));
step('resize', shown.text.includes('37 101'));
// With a terminal this version knows the exit code by how the connection is closed.
step('tty fails', (await sprite.spawn('sh', ['-c', 'exit 5'], { tty: true }).wait()) === 1);

// Without a terminal, kill leaves the process to the server, which ends it ten seconds later.
const killed = sprite.spawn('sh', ['-c', 'echo began; exec sleep 301']);
const began = text(killed.stdout);
await wait('the process', () => began.text.includes('began'));
killed.kill();
step('kill', (await killed.wait()) === -1);

// Sessions: kill only leaves one that has a terminal, and another client attaches to it.
const find = async (name) => (await sprite.listSessions()).find((one) => one.command.includes(name));
const session = sprite.createSession('sh', ['-c', 'echo began; read line; echo heard $line; exit 7']);
const first = text(session.stdout);
await wait('the session', () => first.text.includes('began'));
session.kill();
step('leave', (await session.wait()) === 0);
const listed = await find('exit 7');
step('sessions', listed.isActive && listed.lastActivity >= listed.created && Date.now() - listed.created < 60_000);
const attached = sprite.attachSession(listed.id);
const second = text(attached.stdout);
await wait('what was printed before', () => second.text.includes('began'));
step('attach', true);
attached.stdin.write('good day\r');
step('attached input', (await attached.wait()) === 1 && second.text.includes('heard good day'));
await wait('the end of the session', async () => !(await find('exit 7')));
const lost = sprite.attachSession(listed.id);
const [problem, end] = await Promise.all([once(lost, 'error'), once(lost, 'exit')]);
step('no such session', problem.message === 'WebSocket error' && end === 1);

// What a session tells beside its output.
const serving = sprite.createSession('python3', ['-u', '-m', 'http.server', '8000']);
const told = [];
serving.on('message', (message) => told.push(message));
await wait('the port', () => told.some((one) => one.type === 'port_opened' && one.port === 8000));
step('messages', told[0].type === 'session_info' && told[0].session_id === (await find('http.server')).id && told[0].tty);
serving.stdin.write('\x03');
step('interrupt', (await serving.wait()) === 0);

// Checkpoints.
await sprite.execFile('sh', ['-c', 'echo precious > ~/file; sync']);
const lines = await gather(await sprite.createCheckpoint('from long ago'));
step('checkpoint', lines.some((line) => line.data.includes('  ID: v0')) && lines.at(-1).type === 'complete');
const checkpoints = await sprite.listCheckpoints();
step('checkpoints', checkpoints.map((one) => one.id).join() === 'Current,v0' && checkpoints[1].comment === 'from long ago');
const only = await sprite.getCheckpoint('v0');
step('get checkpoint', only.comment === 'from long ago' && only.createTime.getTime() === checkpoints[1].createTime.getTime());
step('line', checkpoints[0].history.join() === 'v0');
step('no such checkpoint', /not found/.test((await error(sprite.getCheckpoint('v7'))).message));
await sprite.execFile('sh', ['-c', 'rm ~/file; sync']);
step('restore', (await gather(await sprite.restoreCheckpoint('v0'))).at(-1).type === 'complete');
step('restored', (await sprite.execFile('sh', ['-c', 'cat ~/file'])).stdout === 'precious\n');
step('no such restore', /status 404/.test((await error(sprite.restoreCheckpoint('v7'))).message));

await sprite.destroy();
step('destroy', (await client.listAllSprites('sdk-')).length === 0);
console.log('all steps hold');
process.exit(0);
