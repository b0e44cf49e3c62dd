// Submission over implicit TLS and STARTTLS for who has a token of the authorization server: XOAUTH2 and OAUTHBEARER (RFC 7628).
import { SMTPServer } from 'smtp-server';
import sasl from 'smtp-server/lib/sasl.js';
import { SMTPConnection } from 'smtp-server/lib/smtp-connection.js';

import { anyToken, sha256, SMTP_APP_SCOPE, SMTP_SCOPE } from './authorization.mjs';

// a reply with an enhanced status code of its own gets no second one in front
const { send } = SMTPConnection.prototype;
SMTPConnection.prototype.send = function sendAsIs(code, data, context) {
  return send.call(this, code, data, /^[245]\.\d+\.\d+ /.test(String(data)) ? false : context);
};

const refuse = function refuse(_dummy, callback) {
  this.send(535, 'Token not accepted');
  callback();
};
sasl.XOAUTH2_error = refuse;

sasl.SASL_OAUTHBEARER = function start(args, callback) {
  if (args.length) {
    bearer.call(this, args[0], callback);
    return;
  }
  this._nextHandler = bearer.bind(this);
  this.send(334);
  callback();
};

function bearer(response, callback) {
  const text = Buffer.from(String(response).trim(), 'base64').toString();
  const [header, ...pairs] = text.split('\x01');
  const fields = Object.fromEntries(pairs.filter(Boolean).map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]));
  const gs2 = /^(?:n|y|p=[^,]+),(?:a=([^,]*))?,$/.exec(header);
  const token = /^bearer +(\S+)$/i.exec(fields.auth ?? '');
  if (!gs2 || !token || !text.endsWith('\x01\x01')) {
    this.send(501, 'Malformed OAUTHBEARER message');
    callback();
    return;
  }
  const username = (gs2[1] ?? '').replaceAll('=2C', ',').replaceAll('=3D', '=');
  this._server.onAuth({ method: 'OAUTHBEARER', username, accessToken: token[1] }, this.session, (error, { user, data } = {}) => {
    if (error) {
      this.send(error.responseCode, error.message);
    } else if (user) {
      this.session.user = user;
      this.session.transmissionType = this._transmissionType();
      this.send(235, 'Authentication successful');
    } else {
      this._nextHandler = refuse.bind(this);
      this.send(334, Buffer.from(JSON.stringify(data)).toString('base64'));
    }
    callback();
  });
}

// What the challenge after a refused token says: RFC 7628 section 3.2.2, and for XOAUTH2 as Google does.
function challenge(provider, method, problem) {
  if (method === 'XOAUTH2') return { status: problem === 'insufficient_scope' ? '403' : '401', schemes: 'bearer', scope: SMTP_SCOPE };
  return { status: problem, scope: SMTP_SCOPE, 'openid-configuration': `${provider.issuer}/.well-known/openid-configuration` };
}

async function problemOf(provider, { accessToken, username, method }) {
  const token = await anyToken(provider, accessToken ?? '');
  if (!token) return { problem: 'invalid_token' };
  const isApp = token.kind === 'ClientCredentials'; // without a user of its own, it may log in for each mailbox
  if (!token.scopes.has(SMTP_SCOPE) && !(isApp && token.scopes.has(SMTP_APP_SCOPE))) return { problem: 'insufficient_scope' };
  if (isApp) return username ? { name: username } : { problem: 'invalid_token' };
  const name = username || (method === 'OAUTHBEARER' ? token.accountId : '');
  return name.toLowerCase() === token.accountId.toLowerCase() ? { name } : { problem: 'invalid_token' };
}

function refusal(reply) {
  const [, code, message] = /^(\d{3}) (.*)$/.exec(reply);
  return Object.assign(new Error(message), { responseCode: Number(code) });
}

export function submissionServers(tls, provider, state) {
  const make = (kind, options) => {
    const server = new SMTPServer({
      ...tls,
      ...options,
      name: 'localhost',
      hideENHANCEDSTATUSCODES: false,
      disableReverseLookup: true,
      size: 30_000_000,
      logger: false,
      async onAuth(auth, session, callback) {
        const login = {
          kind, session: session.id, mechanism: auth.method, user: auth.username ?? '', token_hash: sha256(auth.accessToken ?? ''), problem: '',
        };
        state.logins.push(login);
        if (state.settings.login_reply) {
          login.problem = state.settings.login_reply;
          callback(refusal(state.settings.login_reply));
          return;
        }
        const { name, problem } = await problemOf(provider, auth);
        login.problem = problem ?? '';
        callback(null, problem ? { data: challenge(provider, auth.method, problem) } : { user: { name, login } });
      },
      async onData(stream, session, callback) {
        let message;
        try {
          message = Buffer.concat(await stream.toArray());
        } catch {
          return; // the client was killed in the middle of its message
        }
        const { login, name } = session.user;
        state.mails.push({
          kind,
          session: session.id,
          mechanism: login.mechanism,
          user: name,
          token_hash: login.token_hash,
          sender: session.envelope.mailFrom.address,
          recipients: session.envelope.rcptTo.map(({ address }) => address),
          message: message.toString('base64'),
        });
        callback(null, `Accepted as ${state.mails.length}`);
      },
    });
    // what EHLO offers is decided anew for every test
    Object.defineProperty(server.options, 'authMethods', { get: () => state.settings.mechanisms });
    server.on('error', () => {}); // clients that break off are part of the tests
    return server;
  };
  return { implicit: make('tls', { secure: true }), starttls: make('starttls', { secure: false }) };
}
