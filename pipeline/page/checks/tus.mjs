// tus-js-client, as everybody uses it, over a network that is cut twenty times and to a server that is killed in between.
import { createHash, randomBytes } from 'node:crypto';
import * as tus from 'tus-js-client';

import { Proxy, Server } from './server.mjs';

const ROUNDS = 20;
const BYTES = 24 << 20;
const HEAD = Buffer.from('\0\0\0\x18ftypisom\0\0\x02\0isommp42', 'latin1');

const server = await Server.start();
const proxy = await Proxy.before(server);
let killed = 0;
let equal = 0;
let resumed = 0;
try {
  for (let round = 0; round < ROUNDS; round += 1) {
    const bytes = Buffer.concat([HEAD, randomBytes(BYTES - HEAD.length)]);
    const sum = createHash('sha256').update(bytes).digest('hex');
    const kills = round % 4 === 3;
    let restarted = Promise.resolve();
    proxy.cutAfter = Math.floor((BYTES * (round + 0.5)) / ROUNDS);
    proxy.cut = () => {
      if (!kills) return;
      killed += 1;
      restarted = server.kill().then(() => server.again());
    };
    const told = [];
    const upload = await new Promise((resolve, reject) => {
      const sending = new tus.Upload(bytes, {
        endpoint: `${proxy.url}/api/uploads`,
        metadata: { filename: `round ${round}.mp4`, filetype: 'video/mp4' },
        // What a client does when nobody says anything else is three tries in nine seconds; a debug build starts slowly.
        retryDelays: [0, 500, 1000, 2000, 3000, 5000],
        onAfterResponse: (request, answer) => {
          if (request.getMethod() === 'HEAD') told.push(Number(answer.getHeader('Upload-Offset')));
        },
        onError: reject,
        onSuccess: () => resolve(sending),
      });
      sending.start();
    });
    await restarted;
    const id = upload.url.split('/').pop();
    const job = await server.json(`/api/jobs/${id}`);
    if (job.source.sha256 !== sum) throw new Error(`round ${round}: other bytes arrived than were sent: ${JSON.stringify(job.source)} and not ${sum}, ${told}`);
    if (job.name !== `round ${round}.mp4`) throw new Error(`round ${round}: the job is called ${job.name}`);
    equal += 1;
    if (told.some((offset) => offset > 0)) resumed += 1;
  }
} finally {
  proxy.close();
  await server.stop();
}
console.log(`tus-js-client: ${equal} of ${ROUNDS} uploads of ${BYTES} bytes arrived equal by SHA-256; ${proxy.cuts} cuts, ${killed} of them with the server killed; ${resumed} went on behind byte 0`);
if (equal !== ROUNDS || proxy.cuts !== ROUNDS || killed !== ROUNDS / 4 || resumed < ROUNDS / 2) process.exit(1);
