// A small tus 1.0 server for development: creation, termination, checksums not. Keeps bytes in a temporary folder and
// hands the whole file to POST /api/upload at the end, whose job it then names.
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';

const BASE = { 'Tus-Resumable': '1.0.0', 'Cache-Control': 'no-store' };

export function tusServer({ server, prefix }) {
  const uploads = new Map();
  const folder = mkdtemp(join(tmpdir(), 'streamforge-dev-'));

  const refuse = (response, status, detail, code) => {
    response.writeHead(status, { ...BASE, 'content-type': 'application/problem+json' });
    response.end(JSON.stringify({ type: 'about:blank', title: http.STATUS_CODES[status], status, detail, code }));
  };

  function handOver(upload) {
    return new Promise((resolve, reject) => {
      const request = http.request({
        hostname: server.hostname, port: server.port, method: 'POST', path: `/api/upload?name=${encodeURIComponent(upload.name)}`,
        headers: { 'content-type': 'application/octet-stream', 'content-length': upload.size },
      }, (answer) => {
        const pieces = [];
        answer.on('data', (piece) => pieces.push(piece));
        answer.on('end', () => resolve({ status: answer.statusCode, body: Buffer.concat(pieces).toString() }));
      });
      request.on('error', reject);
      createReadStream(upload.file).pipe(request);
    });
  }

  async function create(request, response) {
    const size = Number(request.headers['upload-length']);
    if (!Number.isFinite(size)) return refuse(response, 400, 'the length of the upload is missing', 'bad_request');
    if (size > 500_000_000) return refuse(response, 413, 'the file has more than 500 MB', 'too_large');
    const metadata = Object.fromEntries((request.headers['upload-metadata'] ?? '').split(',').map((pair) => {
      const [key, value = ''] = pair.trim().split(' ');
      return [key, Buffer.from(value, 'base64').toString()];
    }));
    const id = randomBytes(13).toString('hex').toUpperCase();
    const file = join(await folder, id);
    await writeFile(file, '');
    uploads.set(id, { size, file, name: metadata.filename ?? 'upload', job: null });
    response.writeHead(201, { ...BASE, Location: `${prefix}/api/uploads/${id}` });
    response.end();
  }

  async function patch(request, response, upload, id) {
    const offset = (await stat(upload.file)).size;
    if (Number(request.headers['upload-offset']) !== offset) return refuse(response, 409, `the upload goes on at ${offset}`, 'offset');
    await new Promise((resolve) => {
      const sink = createWriteStream(upload.file, { flags: 'a' });
      // A connection that breaks keeps what came of it.
      request.on('close', () => sink.end());
      request.on('error', () => sink.end());
      sink.on('close', resolve);
      request.pipe(sink, { end: true });
    });
    const now = (await stat(upload.file)).size;
    const headers = { ...BASE, 'Upload-Offset': now };
    if (now === upload.size) {
      const answer = await handOver(upload);
      if (answer.status !== 201) {
        uploads.delete(id);
        response.writeHead(answer.status, { ...BASE, 'content-type': 'application/problem+json' });
        return response.end(answer.body);
      }
      upload.job = JSON.parse(answer.body).id;
      headers['StreamForge-Job'] = upload.job;
    }
    response.writeHead(204, headers);
    response.end();
  }

  return async (request, response, path) => {
    if (request.method === 'POST' && path === '/api/uploads') return create(request, response);
    const id = path.split('/').pop();
    const upload = uploads.get(id);
    if (!upload) return refuse(response, 404, 'there is no such upload', 'not_found');
    if (request.method === 'HEAD') {
      const extra = upload.job ? { 'StreamForge-Job': upload.job } : {};
      response.writeHead(200, { ...BASE, ...extra, 'Upload-Offset': (await stat(upload.file)).size, 'Upload-Length': upload.size });
      return response.end();
    }
    if (request.method === 'PATCH') return patch(request, response, upload, id);
    if (request.method === 'DELETE') {
      uploads.delete(id);
      await rm(upload.file, { force: true });
      response.writeHead(204, BASE);
      return response.end();
    }
    return refuse(response, 405, 'not like this', 'method');
  };
}
