// An OAuth authorization server, a submission server that takes its tokens, and a control endpoint; all on free ports of the loopback.
// Started as `node server.mjs KEY CERTIFICATES`; says its ports on the first line of standard output and ends when standard input does.
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';

import { authorizationServer, introspected, registerKey, signedIn } from './authorization.mjs';
import { State } from './state.mjs';
import { submissionServers } from './submission.mjs';

const [keyFile, certificateFile] = process.argv.slice(2);
const tls = { key: fs.readFileSync(keyFile), cert: fs.readFileSync(certificateFile) };

function listen(server) {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve(server.address().port));
  });
}

const actions = {
  state: (state) => ({ requests: state.requests, mails: state.mails, logins: state.logins }),
  settings: (state, values) => state.set(values),
  rules: (state, rule) => { state.rules.push(rule); },
  'expire-access-tokens': (state) => ['AccessToken', 'ClientCredentials'].forEach((model) => state.expire(model)),
  'expire-device-codes': (state) => state.expire('DeviceCode'),
  revoke: (state, { user }) => state.revoke(user),
  reset: (state) => state.reset(),
  'register-key': registerKey,
  introspect: (state, values, provider) => introspected(provider, values),
  'sign-in': (state, values, provider) => signedIn(provider, values),
};

function control(state, provider) {
  return http.createServer(async (request, response) => {
    try {
      const chunks = await request.toArray();
      const text = Buffer.concat(chunks).toString();
      const action = actions[request.url.slice(1)];
      const answer = action ? await action(state, text ? JSON.parse(text) : {}, provider) : undefined;
      response.writeHead(action ? 200 : 404, { 'Content-Type': 'application/json', Connection: 'close' });
      response.end(JSON.stringify(answer ?? null));
    } catch (error) {
      response.writeHead(400, { 'Content-Type': 'application/json', Connection: 'close' });
      response.end(JSON.stringify(String(error)));
    }
  });
}

console.info = console.warn; // standard output is for the ports alone
const state = new State();
const front = https.createServer(tls);
const port = await listen(front);
const provider = authorizationServer(`https://localhost:${port}`, state);
front.on('request', provider.callback());
const { implicit, starttls } = submissionServers(tls, provider, state);
const ports = {
  https: port,
  tls: await listen(implicit.server),
  starttls: await listen(starttls.server),
  control: await listen(control(state, provider)),
};
process.stdout.write(`${JSON.stringify(ports)}\n`);
process.stdin.on('end', () => process.exit(0)).resume();
