// What a program of somebody else's does with @fly/sprites: one line on standard output for each step that holds.

import { SpritesClient } from '@fly/sprites';

const client = new SpritesClient(process.env.SPRITES_TOKEN, { baseURL: process.env.SPRITES_API_URL });

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

const sprite = await client.createSprite('sdk-node', { labels: ['ci'] });
step('create', sprite.name === 'sdk-node');
step('get', (await client.getSprite('sdk-node')).labels.join() === 'ci');
step('list', (await client.listAllSprites('sdk-')).map((one) => one.name).join() === 'sdk-node');

step('execFile', (await sprite.execFile('echo', ['hello'])).stdout === 'hello\n');
const failed = await sprite.execFile('sh', ['-c', 'echo out; echo err >&2; exit 42']).catch((error) => error);
step('exit code', (failed.exitCode ?? failed.result?.exitCode) === 42);
step('stderr', (failed.stderr ?? failed.result?.stderr) === 'err\n');
const missing = await sprite.execFile('no-such-program').catch((error) => error);
step('no such program', (missing.exitCode ?? missing.result?.exitCode) === 127);
step('http exec', (await sprite.execFileHTTP('echo', ['over http'])).stdout === 'over http\n');
step('env', (await sprite.execFile('sh', ['-c', 'echo $GREETING'], { env: { GREETING: 'good day' } })).stdout === 'good day\n');
step('dir', (await sprite.execFile('pwd', [], { cwd: '/usr/lib' })).stdout === '/usr/lib\n');

const count = sprite.spawn('wc', ['-c']);
const counted = text(count.stdout);
// The SDK takes input only when its socket is open.
await new Promise((done) => count.once('spawn', done));
count.stdin.write('x'.repeat(300_000));
count.stdin.end();
step('stdin', (await count.wait()) === 0 && counted.text.trim() === '300000');

const tty = sprite.spawn('sh', ['-c', 'tty; stty size'], { tty: true, rows: 31, cols: 97 });
const shown = text(tty.stdout);
step('tty', (await tty.wait()) === 0 && shown.text.includes('/dev/pts/') && shown.text.includes('31 97'));

const killed = sprite.spawn('sleep', ['300']);
const spawned = new Promise((done) => killed.once('spawn', done));
await spawned;
killed.kill('SIGKILL');
step('signal', (await killed.wait()) === 137);

// A session that goes on; a second client attaches to it and kills it.
const session = sprite.createSession('sh', ['-c', 'echo began; sleep 300']);
session.on('error', () => {});
const first = text(session.stdout);
await wait('the session', () => first.text.includes('began'));
const listed = (await sprite.listSessions()).find((one) => one.tty);
step('sessions', listed.command.includes('sleep'));
const attached = sprite.attachSession(listed.id);
attached.on('error', () => {});
const second = text(attached.stdout);
await wait('what was printed before', () => second.text.includes('began'));
step('attach', true);
const kinds = [];
for await (const event of await sprite.killSession(listed.id, 'SIGKILL', '5s')) {
  kinds.push(event.type);
}
step('kill', kinds.at(-1) === 'complete');
await Promise.all([session.wait(), attached.wait()]);
step('killed', !(await sprite.listSessions()).some((one) => one.tty));

await sprite.execFile('sh', ['-c', 'echo precious > ~/file; sync']);
const lines = [];
for await (const message of await sprite.createCheckpoint('from the sdk')) {
  lines.push(message.data ?? '');
}
step('checkpoint', lines.some((line) => line.includes('  ID: v0')));
const checkpoints = await sprite.listCheckpoints();
step('checkpoints', checkpoints.map((one) => one.id).join() === 'Current,v0' && checkpoints[1].comment === 'from the sdk');
step('get checkpoint', (await sprite.getCheckpoint('v0')).comment === 'from the sdk');
await sprite.execFile('sh', ['-c', 'rm ~/file; sync']);
const progress = [];
for await (const message of await sprite.restoreCheckpoint('v0')) {
  progress.push(message.type);
}
step('restore', progress.at(-1) === 'complete');
step('restored', (await sprite.execFile('sh', ['-c', 'cat ~/file'])).stdout === 'precious\n');

await client.deleteSprite('sdk-node');
step('delete', (await client.listAllSprites('sdk-')).length === 0);
console.log('all steps hold');
process.exit(0);
