// A StreamForge of its own for a check: started, killed, started again at the same place.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** An address of this machine that nobody listens at. */
export async function freePort() {
  const probe = net.createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  return port;
}

export class Server {
  static async start(...flags) {
    const server = new Server();
    server.folder = await mkdtemp(join(tmpdir(), 'streamforge-check-'));
    server.port = await freePort();
    server.flags = flags;
    await server.again();
    return server;
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Starts it where it was. */
  async again() {
    const program = process.env.STREAMFORGE_BINARY;
    if (!program) throw new Error('STREAMFORGE_BINARY names no program');
    const listen = ['--listen', `127.0.0.1:${this.port}`, '--ops-listen', '127.0.0.1:0', '--data', join(this.folder, 'data')];
    // Models are looked for where a check names one.
    const without = ['--caption-model', '--image-model'].filter((flag) => !this.flags.includes(flag)).flatMap((flag) => [flag, 'none']);
    this.child = spawn(program, ['up', ...listen, ...without, ...this.flags], {
      // What is set for the tests is not for it.
      env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('STREAMFORGE_'))),
      stdio: ['ignore', 'pipe', process.env.PAGE_LOG ? 'inherit' : 'ignore'],
    });
    const child = this.child;
    const serves = new Promise((resolve, reject) => {
      createInterface({ input: child.stdout }).on('line', (line) => line.startsWith('StreamForge serves at') && resolve());
      child.on('exit', (code, signal) => reject(new Error(`the server ended: ${code ?? signal}`)));
    });
    await serves;
  }

  /** Ends it as a power cut would. */
  async kill() {
    const gone = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await gone;
  }

  async json(path) {
    const answer = await fetch(this.url + path);
    if (!answer.ok) throw new Error(`${path} answers ${answer.status}: ${await answer.text()}`);
    return answer.json();
  }

  async stop() {
    if (this.child.exitCode === null && this.child.signalCode === null) await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** A network before a server that breaks where it is told to. */
export class Proxy {
  static async before(server) {
    const proxy = new Proxy();
    proxy.server = server;
    proxy.cutAfter = Infinity;
    proxy.cuts = 0;
    proxy.listener = net.createServer((client) => proxy.serve(client)).listen(0, '127.0.0.1');
    await once(proxy.listener, 'listening');
    proxy.url = `http://127.0.0.1:${proxy.listener.address().port}`;
    return proxy;
  }

  serve(client) {
    const server = net.connect(this.server.port, '127.0.0.1');
    const end = () => (client.destroy(), server.destroy());
    for (const side of [client, server]) side.on('error', end).on('close', end);
    server.pipe(client);
    let isCut = false;
    client.on('data', (bytes) => {
      if (isCut) return;
      this.cutAfter -= bytes.length;
      if (this.cutAfter > 0) {
        if (!server.write(bytes)) {
          client.pause();
          server.once('drain', () => client.resume());
        }
        return;
      }
      // What comes before the cut arrives, what comes after it does not.
      isCut = true;
      this.cutAfter = Infinity;
      this.cuts += 1;
      server.write(bytes.subarray(0, bytes.length >> 1), end);
      this.cut?.();
    });
  }

  close() {
    this.listener.close();
  }
}
