// oidc-provider with a public native client, pages that a person or a test can go through, and answers that follow a test's rules.
import crypto from 'node:crypto';
import querystring from 'node:querystring';

import Provider, { errors } from 'oidc-provider';

export const CLIENT_ID = 'smtpsetup-test';
export const CERTIFICATE_APP_ID = 'smtpsetup-cert';
export const SMTP_SCOPE = 'https://mail.test/smtp';
export const SMTP_APP_SCOPE = 'https://mail.test/.default'; // what an app asks for: everything that it may
const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';
// the scopes of the fake APIs, which apps and users ask for
const API_SCOPES = [
  SMTP_APP_SCOPE,
  'https://graph.test/.default',
  'https://graph.test/Mail.Send',
  'https://graph.test/Mail.ReadWrite',
  'https://www.googleapis.com/auth/gmail.send',
];
const ENDPOINTS = {
  '/token': 'token',
  '/device/auth': 'device',
  '/token/revocation': 'revocation',
  '/token/introspection': 'introspection',
  '/reg': 'registration',
  '/.well-known/oauth-authorization-server': 'metadata',
  '/elsewhere': 'elsewhere',
};

export const sha256 = (text) => crypto.createHash('sha256').update(text).digest('hex');
const escaped = (text) => String(text ?? '').replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
const page = (title, body) => `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>${title}</title></head><body><h1>${title}</h1>${body}</body></html>`;
const wait = (seconds) => new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });

export function authorizationServer(issuer, state) {
  const provider = new Provider(issuer, {
    adapter: (model) => state.adapter(model),
    clients: [{
      client_id: CLIENT_ID,
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      redirect_uris: ['http://127.0.0.1/', 'http://localhost/', 'http://[::1]/', 'http://127.0.0.1/callback', 'http://localhost/callback'],
      grant_types: ['authorization_code', 'refresh_token', DEVICE_GRANT],
      response_types: ['code'],
    }, {
      client_id: 'mail-server', // asks whether a token is good (RFC 7662)
      client_secret: 'introspection',
      redirect_uris: [],
      grant_types: [],
      response_types: [],
    }, {
      client_id: 'smtpsetup-app', // signs in itself, without a user (RFC 6749 section 4.4)
      client_secret: 'app-secret-000000',
      token_endpoint_auth_method: 'client_secret_post',
      redirect_uris: [],
      grant_types: ['client_credentials'],
      response_types: [],
    }],
    scopes: ['openid', 'offline_access', SMTP_SCOPE, ...API_SCOPES],
    assertJwtClientAuthClaimsAndHeader: (ctx, claims, header, client) => namesCertificate(header, client),
    clockTolerance: 0, // expired is expired; the default lets tokens live 15 seconds longer
    cookies: { keys: [crypto.randomBytes(16).toString('hex')] },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      revocation: { enabled: true },
      introspection: { enabled: true },
      registration: { enabled: true },
      deviceFlow: {
        enabled: true,
        userCodeInputSource: (ctx, form, out, error) => {
          const wrong = error ? `<p class="error">${escaped(error.name)}: ${escaped(error.message)}</p>` : '';
          ctx.body = page('Device code', `${wrong}${form}<button type="submit" form="op.deviceInputForm">Continue</button>`);
        },
        userCodeConfirmSource: (ctx, form, client, info, code) => {
          const buttons = '<button type="submit" form="op.deviceConfirmForm">Continue</button>'
            + '<button type="submit" form="op.deviceConfirmForm" name="abort" value="yes">Abort</button>';
          ctx.body = page('Confirm device', `<p><code>${escaped(code)}</code></p>${form}${buttons}`);
        },
        successSource: (ctx) => { ctx.body = page('Device connected', ''); },
      },
    },
    findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    formats: { bitsOfOpaqueRandomness: (ctx, token) => (['AccessToken', 'ClientCredentials'].includes(token.kind) ? state.settings.access_token_bits : 256) },
    expiresWithSession: () => false,
    rotateRefreshToken: () => state.settings.rotate,
    renderError: (ctx, out) => { ctx.type = 'html'; ctx.body = page('Error', `<pre>${escaped(JSON.stringify(out))}</pre>`); },
    ttl: {
      AccessToken: () => state.settings.access_token_seconds,
      ClientCredentials: () => state.settings.access_token_seconds,
      RefreshToken: () => state.settings.refresh_token_seconds,
      DeviceCode: () => state.settings.device_code_seconds,
      AuthorizationCode: 60,
      Grant: 14 * 24 * 3600,
      IdToken: 3600,
      Interaction: 3600,
      Session: 14 * 24 * 3600,
    },
  });
  provider.use(ruled(state));
  provider.use(interactions(provider, state));
  provider.on('server_error', (ctx, error) => console.error(error));
  return provider;
}

// Entra wants to know which of an app's certificates signed an assertion.
function namesCertificate(header, client) {
  const given = header['x5t#S256'] ?? header.x5t ?? header.kid;
  const wanted = client.jwks?.keys?.[0]?.['x5t#S256'];
  if (!given || (wanted && header['x5t#S256'] !== wanted)) throw new errors.InvalidClientAuth('the assertion names no certificate of this app');
}

// The app that signs in with a key is a client in the storage, since its key is made by each test.
export function registerKey(state, jwk) {
  return state.adapter('Client').upsert(CERTIFICATE_APP_ID, {
    client_id: CERTIFICATE_APP_ID,
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [jwk] },
    redirect_uris: [],
    grant_types: ['client_credentials'],
    response_types: [],
  });
}

// A token of a user or of an app, or nothing.
export const anyToken = async (provider, token) => (await provider.AccessToken.find(token)) ?? provider.ClientCredentials.find(token);

export async function introspected(provider, { token }) {
  const found = await anyToken(provider, token);
  return found ? { active: true, scope: found.scope, client_id: found.clientId, sub: found.accountId } : { active: false };
}

// Record a request, and answer it as the next rule says.
function ruled(state) {
  return async (ctx, next) => {
    const endpoint = ENDPOINTS[ctx.path];
    if (!endpoint) {
      await next();
      return;
    }
    const text = Buffer.concat(await ctx.req.toArray()).toString();
    ctx.req.body = text;
    const form = querystring.parse(text);
    const request = {
      endpoint,
      method: ctx.method,
      at: Date.now() / 1000,
      parameters: Object.keys(form).sort(),
      grant_type: form.grant_type ?? '',
      client_id: form.client_id ?? '',
      scope: form.scope ?? '',
      user_agent: ctx.get('User-Agent'),
      refresh_token_hash: form.refresh_token ? sha256(String(form.refresh_token)) : '',
      status: 0,
      error: '',
    };
    state.requests.push(request);
    const rule = state.take(endpoint, request.grant_type);
    if (rule?.delay) await wait(rule.delay);
    const answers = rule && (rule.drop || rule.status !== undefined);
    if (endpoint === 'elsewhere') {
      ctx.body = { error: 'this is not the token endpoint' };
    } else if (!answers || rule.after) {
      if (!answers && polledTooFast(state, form)) Object.assign(ctx, { status: 400, body: { error: 'slow_down' } });
      else await next();
    }
    if (endpoint === 'device' && ctx.status === 200 && state.settings.device_interval !== null) ctx.body.interval = state.settings.device_interval;
    if (answers) answer(ctx, rule);
    else if (rule && ctx.status === 200) edit(ctx.body, rule);
    request.status = rule?.drop ? 0 : ctx.status;
    request.error = String(ctx.body?.error ?? '');
  };
}

function polledTooFast(state, form) {
  if (!state.settings.enforce_interval || form.grant_type !== DEVICE_GRANT) return false;
  const poll = state.polls.get(form.device_code) ?? { last: 0, interval: state.settings.device_interval ?? 5 };
  const early = Date.now() - poll.last < poll.interval * 1000;
  if (early) poll.interval += 5; // RFC 8628 section 3.5
  poll.last = Date.now();
  state.polls.set(form.device_code, poll);
  return early;
}

function answer(ctx, rule) {
  if (rule.drop) {
    ctx.respond = false;
    ctx.req.socket.destroy();
    return;
  }
  ctx.status = rule.status;
  ctx.body = rule.body ?? '';
  ctx.remove('Content-Type');
  ctx.set(rule.headers ?? {});
}

function edit(body, rule) {
  for (const name of rule.remove ?? []) delete body[name];
  Object.assign(body, rule.set ?? {});
}

// The pages on which a person signs in and agrees; and consent is asked of everyone who wants offline access, as providers do.
function interactions(provider, state) {
  return async (ctx, next) => {
    if (ctx.path === '/auth' && /\boffline_access\b/.test(ctx.query.scope ?? '') && ctx.query.prompt === undefined) {
      ctx.query = { ...ctx.query, prompt: 'consent' };
    }
    if (!ctx.path.startsWith('/interaction/')) {
      await next();
      return;
    }
    const details = await provider.interactionDetails(ctx.req, ctx.res);
    if (ctx.method !== 'POST') {
      ctx.body = form(details);
      return;
    }
    const choice = querystring.parse(Buffer.concat(await ctx.req.toArray()).toString());
    const result = await decided(provider, state, details, choice);
    ctx.status = 303;
    ctx.set('Location', await provider.interactionResult(ctx.req, ctx.res, result, { mergeWithLastSubmission: !result.error }));
    ctx.body = '';
  };
}

function form({ prompt, params, session }) {
  const buttons = '<button name="decision" value="allow">Continue</button><button name="decision" value="deny">Cancel</button>';
  if (prompt.name === 'login') {
    const field = `<label>Address <input name="login" value="${escaped(params.login_hint)}" required></label>`;
    return page('Sign in', `<form method="post">${field}${buttons}</form>`);
  }
  const asked = `<p>${escaped(params.client_id)} asks ${escaped(session.accountId)} for ${escaped(params.scope)}</p>`;
  return page('Agree', `${asked}<form method="post">${buttons}</form>`);
}

async function decided(provider, state, { prompt, params, session, grantId }, choice) {
  if (choice.decision !== 'allow') return { error: 'access_denied', error_description: 'End-User aborted interaction' };
  if (prompt.name === 'login') return { login: { accountId: String(choice.login) } };
  const grant = grantId ? await provider.Grant.find(grantId) : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  const asked = prompt.details.missingOIDCScope ?? [];
  const withheld = asked.filter((scope) => state.settings.withheld_scopes.includes(scope));
  if (asked.length > withheld.length) grant.addOIDCScope(asked.filter((scope) => !withheld.includes(scope)).join(' '));
  if (withheld.length) grant.rejectOIDCScope(withheld.join(' '));
  return { consent: { grantId: await grant.save() } };
}

// The tokens that somebody would have who had just signed in by a code.
export async function signedIn(provider, { user, client_id: clientId, scope }) {
  const client = await provider.Client.find(clientId);
  const grant = new provider.Grant({ accountId: user, clientId });
  grant.addOIDCScope(scope);
  const claims = { accountId: user, client, grantId: await grant.save(), scope, gty: DEVICE_GRANT };
  const accessToken = new provider.AccessToken(claims);
  const refreshToken = new provider.RefreshToken({ ...claims, rotations: 0 });
  return { access_token: await accessToken.save(), refresh_token: await refreshToken.save(), expires_in: accessToken.remainingTTL };
}
