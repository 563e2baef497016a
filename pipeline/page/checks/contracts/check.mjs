// The descriptions of HTTP and of events, judged by the validators of those who specify them: the OpenAPI Initiative's own schema,
// and AsyncAPI's own parser.
import { Parser } from '@asyncapi/parser';
import { Validator } from '@seriousme/openapi-schema-validator';

import { Server } from '../server.mjs';

let bad = 0;
const check = (isRight, words) => {
  console.log(`${isRight ? 'ok  ' : 'BAD '} ${words}`);
  if (!isRight) bad += 1;
};

const server = await Server.start();
try {
  const openapi = await server.json('/api/openapi.json');
  const validator = new Validator();
  const judged = await validator.validate(structuredClone(openapi));
  const operations = Object.values(openapi.paths).flatMap((item) => Object.keys(item)).length;
  check(judged.valid && validator.version === '3.1', `OpenAPI ${openapi.openapi}: ${operations} operations by the schema of ${validator.version}${judged.valid ? '' : `: ${JSON.stringify(judged.errors)}`}`);
  judged.valid = (await new Validator().validate({ ...openapi, paths: { '/x': { get: { responses: 5 } } } })).valid;
  check(!judged.valid, 'a wrong one is refused');

  const events = await (await fetch(`${server.url}/api/asyncapi.json`)).text();
  const said = await new Parser().validate(events);
  const { asyncapi, channels } = JSON.parse(events);
  check(said.length === 0, `AsyncAPI ${asyncapi}: ${Object.keys(channels).length} channels by its parser${said.map((one) => `\n     ${one.code} at ${one.path.join('.')}: ${one.message}`).join('')}`);
  const wrong = await new Parser().validate(events.replace('"messages"', '"massages"'));
  check(wrong.some((one) => one.severity === 0), 'a wrong one is refused');
} finally {
  await server.stop();
}
console.log(bad === 0 ? 'both descriptions are valid' : `${bad} things are not well`);
process.exitCode = bad === 0 ? 0 : 1;
