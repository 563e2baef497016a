// Serves dist/ by the rules of the real server and passes /api/* on to a StreamForge. For development and try.mjs only.
//   node dev-server.mjs --server http://127.0.0.1:8080 --port 5173 --prefix /some/path
// What the StreamForge behind it does not offer is imitated: uploads by tus (dev/tus.mjs) and the timeline (dev/timeline.mjs).
// POST {prefix}/dev/events?count=1000&jobs=50 sends made-up events, POST {prefix}/dev/outage?seconds=20 plays dead.
import http from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { timelineOf } from './dev/timeline.mjs';
import { tusServer } from './dev/tus.mjs';

const option = (name, otherwise) => {
  const at = process.argv.indexOf(`--${name}`);
  return at > 0 ? process.argv[at + 1] : otherwise;
};
const server = new URL(option('server', 'http://127.0.0.1:8080'));
const port = Number(option('port', '5173'));
const prefix = option('prefix', '').replace(/\/$/, '');
const dist = new URL('./dist/', import.meta.url).pathname;

const policy = (ancestors) =>
  `default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; media-src 'self' blob:; img-src 'self' data: blob:; ` +
  `worker-src 'self' blob:; manifest-src 'self'; font-src 'self'; form-action 'self'; base-uri 'self'; frame-ancestors ${ancestors}`;
const types = { '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.html': 'text/html; charset=utf-8' };

let deadUntil = 0;
const listeners = new Set();
const tus = tusServer({ server, prefix });

async function html(response, name, ancestors) {
  const text = await readFile(join(dist, name), 'utf8');
  response.writeHead(200, { 'content-type': types['.html'], 'content-security-policy': policy(ancestors), 'cache-control': 'no-cache', 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer' });
  response.end(text.replace('<base href="/">', `<base href="${prefix}/">`));
}

function problem(response, status, detail, code) {
  response.writeHead(status, { 'content-type': 'application/problem+json' });
  response.end(JSON.stringify({ type: 'about:blank', title: http.STATUS_CODES[status], status, detail, code }));
}

function pass(request, response, path) {
  const headers = { ...request.headers, host: server.host };
  delete headers['accept-encoding'];
  const upstream = http.request({ hostname: server.hostname, port: server.port, method: request.method, path, headers }, (answer) => {
    const isEvents = path.startsWith('/api/events');
    if (prefix !== '' && answer.headers['content-type']?.startsWith('application/json')) {
      const pieces = [];
      answer.on('data', (piece) => pieces.push(piece));
      answer.on('end', () => {
        const body = Buffer.concat(pieces).toString().replaceAll('"/api/', `"${prefix}/api/`);
        response.writeHead(answer.statusCode, { ...answer.headers, 'content-length': Buffer.byteLength(body) });
        response.end(body);
      });
      return;
    }
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
    if (isEvents) {
      response.flushHeaders();
      listeners.add(response);
      response.on('close', () => listeners.delete(response));
    }
  });
  upstream.on('error', () => (response.headersSent ? response.destroy() : problem(response, 502, 'the StreamForge behind the development server is away', 'away')));
  response.on('close', () => upstream.destroy());
  request.pipe(upstream);
}

async function ask(path) {
  const answer = await fetch(new URL(path, server));
  return answer.ok ? answer.json() : null;
}

/** Made-up changes of jobs: each has its turn, its progress goes round. */
function sendEvents(query) {
  const count = Number(query.get('count') ?? 1_000);
  const ids = (query.get('ids') ?? '').split(',').filter(Boolean);
  for (let i = 0; i < count; i += 1) {
    const id = ids.length > 0 ? ids[i % ids.length] : `01FAKE${String(i % Number(query.get('jobs') ?? 50)).padStart(20, '0')}`;
    const status = { id, state: 'processing', progress: (i % 100) / 100, playable: i % 100 > 30, stage: ['split', 'transcode', 'stitch'][i % 3], eta_s: 100 - (i % 100) };
    for (const listener of listeners) listener.write(`event: progress\ndata: ${JSON.stringify(status)}\n\n`);
  }
  return count;
}

const handler = async (request, response) => {
  const url = new URL(request.url, 'http://dev');
  if (!`${url.pathname}/`.startsWith(`${prefix}/`)) return problem(response, 404, 'outside the prefix', 'not_found');
  const path = url.pathname.slice(prefix.length) || '/';
  if (path === '/dev/outage') {
    deadUntil = Date.now() + Number(url.searchParams.get('seconds') ?? 20) * 1_000;
    response.end('dead\n');
    setTimeout(() => sockets.forEach((socket) => socket.destroy()), 50);
    return;
  }
  if (Date.now() < deadUntil) return request.socket.destroy();
  if (path === '/dev/events') return response.end(`${sendEvents(url.searchParams)} to ${listeners.size}\n`);
  if (path === '/dev/refresh') {
    for (const listener of listeners) listener.write('event: refresh\ndata: {}\n\n');
    return response.end('refresh\n');
  }
  if (path === '/' || /^\/(jobs\/[^/]+|workers)\/?$/.test(path)) return html(response, 'index.html', "'none'");
  if (/^\/embed\/[^/]+$/.test(path)) return html(response, 'embed.html', '*');
  if (/^\/assets\/[\w.-]+$/.test(path) && !path.includes('..') && !path.endsWith('.html')) {
    try {
      const bytes = await readFile(join(dist, path.slice('/assets/'.length)));
      response.writeHead(200, { 'content-type': types[extname(path)] ?? 'application/octet-stream', 'cache-control': 'public, max-age=31536000, immutable', 'x-content-type-options': 'nosniff' });
      return response.end(bytes);
    } catch {
      return problem(response, 404, 'there is no such file', 'not_found');
    }
  }
  if (path === '/api/uploads' || path.startsWith('/api/uploads/')) return tus(request, response, path);
  const timeline = /^\/api\/jobs\/([^/]+)\/timeline$/.exec(path);
  if (timeline) {
    const [job, ledger] = await Promise.all([ask(`/api/jobs/${timeline[1]}`), ask(`/api/jobs/${timeline[1]}/ledger`)]);
    if (!job) return problem(response, 404, 'there is no such job', 'not_found');
    response.writeHead(200, { 'content-type': 'application/json' });
    return response.end(JSON.stringify(timelineOf(job, ledger)));
  }
  if (path.startsWith('/api/')) return pass(request, response, path + url.search);
  return problem(response, 404, 'there is no such page', 'not_found');
};

const sockets = new Set();
const app = http.createServer((request, response) => {
  handler(request, response).catch((error) => (response.headersSent ? response.destroy() : problem(response, 500, String(error), 'broken')));
});
app.on('connection', (socket) => {
  sockets.add(socket);
  socket.on('close', () => sockets.delete(socket));
});
app.listen(port, '127.0.0.1', () => console.log(`http://127.0.0.1:${port}${prefix}/`));
