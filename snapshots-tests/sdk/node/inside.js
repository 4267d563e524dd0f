// Files, services, ports, policies and settings with @fly/sprites: one line for each step that holds.

import { SpritesClient } from '@fly/sprites';
import { createConnection } from 'node:net';

const client = new SpritesClient(process.env.SPRITES_TOKEN, { baseURL: process.env.SPRITES_API_URL });

function step(name, holds) {
  if (!holds) {
    console.error(`step ${name} does not hold`);
    process.exit(1);
  }
  console.log(`ok ${name}`);
}

const code = async (work) => work.then(() => 'none', (error) => error.code);
const gather = async (stream) => {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
};

const watching = await client.watchSprites({ prefix: 'sdk-inside' });
const sprite = await client.createSprite('sdk-inside-node');
for await (const event of watching) {
  if (event.name === 'sdk-inside-node') break;
}
step('watch sprites', true);

// The website's own lines.
const mine = client.sprite('sdk-inside-node');
step('exec', (await mine.exec('echo hello')).stdout === 'hello\n');

// Files.
const fs = sprite.filesystem('/home/sprite/work');
await fs.writeFile('deep/a.txt', 'one\n', { mode: 0o640 });
step('write and read', (await fs.readFile('deep/a.txt', 'utf8')) === 'one\n');
await fs.appendFile('deep/a.txt', 'two\n');
step('append', (await fs.readFile('deep/a.txt')).toString() === 'one\ntwo\n');
await fs.writeJSON('data.json', { a: [1, 2] });
step('json', (await fs.readJSON('data.json')).a[1] === 2);
await fs.mkdir('made/by/parents', { recursive: true });
await fs.mkdir('single');
step('readdir', (await fs.readdir('.')).sort().join() === 'data.json,deep,made,single');
step('readdir deep', (await fs.readdir('.', { recursive: true, pattern: '*.txt' })).join() === 'deep/a.txt');
const kinds = await fs.readdir('.', { withFileTypes: true });
step('dirents', kinds.filter((one) => one.isDirectory()).length === 3);
step('stat', (await fs.stat('deep/a.txt')).size === 8 && (await fs.stat('deep/a.txt')).mode === 0o640);
step('exists', (await fs.exists('deep/a.txt')) && !(await fs.exists('none')));
await fs.rename('deep/a.txt', 'b.txt');
await fs.copyFile('b.txt', 'c.txt');
await fs.copyFile('made', 'again', { recursive: true });
step('rename and copy', (await fs.readFile('c.txt', 'utf8')) === 'one\ntwo\n' && (await fs.exists('again/by')));
await fs.chmod('c.txt', 0o600);
await fs.chown('c.txt', { uid: 'root', gid: 0 });
step('chmod and chown', (await sprite.execFile('stat', ['-c', '%a %U %G', 'work/c.txt'])).stdout === '600 root root\n');
step('no such file', (await code(fs.readFile('none'))) === 'ENOENT');
step('a directory', (await code(fs.readFile('deep'))) === 'EISDIR');
step('not empty', (await code(fs.rm('made'))) === 'ENOTEMPTY');
await fs.rm('made', { recursive: true });
await fs.rm('none', { force: true });
step('rm', !(await fs.exists('made')));

const watcher = await fs.watch(['.'], { recursive: true });
step('watch', (await watcher.next()).type === 'subscribed');
await fs.writeFile('seen.txt', 'x');
let seen;
do {
  seen = await watcher.next();
} while (seen.path !== '/home/sprite/work/seen.txt');
step('watched', seen.type === 'event');
watcher.close();

// Services and ports.
const ports = await sprite.watchPorts();
step('port list', (await ports.next()).type === 'port_list');
const made = await gather(await sprite.createService('web', { cmd: 'python3', args: ['-u', '-m', 'http.server', '8000'], httpPort: 8000, dir: '/home/sprite/work' }, '1500ms'));
step('create service', made[0].type === 'started' && made.at(-1).logFiles.combined === '/.sprite/logs/services/web.log');
let opened;
do {
  opened = await ports.next();
} while (opened.port !== 8000);
step('port opened', opened.type === 'port_opened' && opened.address === '0.0.0.0');
ports.close();
step('services', (await sprite.listServices()).map((one) => one.name).join() === 'web');
step('service', (await sprite.getService('web')).state.status === 'running' && (await sprite.getService('web')).httpPort === 8000);
const restarted = (await gather(await sprite.restartService('web', '1s'))).map((one) => one.type);
step('restart service', restarted.includes('stopped') && restarted.includes('started'));
step('service logs', (await gather(await sprite.getServiceLogs('web', { lines: 1 }))).some((one) => one.data?.includes('Serving HTTP')));
await sprite.signalService('web', 'CONT');
step('stop service', (await gather(await sprite.stopService('web', '5s'))).at(-1).type === 'complete');
step('start service', (await gather(await sprite.startService('web', '1s')))[0].type === 'started');

const again = await sprite.watchPorts();
for (let told = await again.next(); told.port !== 8000 && !told.ports?.some((one) => one.port === 8000);) {
  told = await again.next();
}
again.close();
const proxy = await sprite.proxyPort(18473, 8000);
const page = await new Promise((done, fail) => {
  const socket = createConnection(18473, 'localhost', () => socket.write('GET /b.txt HTTP/1.0\r\n\r\n'));
  let text = '';
  socket.on('data', (piece) => { text += piece; });
  socket.on('close', () => done(text));
  socket.on('error', fail);
});
step('proxy', page.endsWith('one\ntwo\n'));
proxy.close();
await sprite.deleteService('web');
step('delete service', (await sprite.listServices()).length === 0);

// Policies and settings.
await sprite.updateNetworkPolicy({ rules: [{ domain: '*.example.com', action: 'allow' }, { include: 'defaults' }] });
step('network policy', JSON.stringify((await sprite.getNetworkPolicy()).rules) === '[{"domain":"*.example.com","action":"allow"},{"include":"defaults"}]');
await sprite.updatePrivilegesPolicy({ profile: 'standard', devices: ['/dev/fuse'], noNewPrivileges: false });
step('privileges policy', (await sprite.getPrivilegesPolicy()).profile === 'standard');
await sprite.deletePrivilegesPolicy();
step('no privileges policy', (await sprite.getPrivilegesPolicy()).profile === '');
await sprite.updateResourcesPolicy({ memory: { limitMB: 512, autoscale: true } });
step('resources policy', (await sprite.getResourcesPolicy()).memory.limitMB === 512);
await sprite.deleteResourcesPolicy();
await sprite.updateURLSettings({ auth: 'public' });
step('labels', (await sprite.update({ labels: ['one'] })).labels.join() === 'one');
step('url', /^http:\/\/sdk-inside-node-[0-9a-f]{5}\.localhost:\d+$/.test((await client.getSprite('sdk-inside-node')).url));
step('list', (await client.listSprites({ prefix: 'sdk-inside', maxResults: 1 })).sprites.length === 1);
step('check', (await sprite.check()).status === 'ok');
await sprite.upgrade();
await sprite.restart();
step('restart', (await sprite.execFile('cat', ['work/b.txt'])).stdout === 'one\ntwo\n');

await sprite.destroy();
step('destroy', (await client.listAllSprites('sdk-inside')).length === 0);
console.log('all steps hold');
process.exit(0);
