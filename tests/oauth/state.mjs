// What the servers hold: the tokens, how a test wants them to behave, and what happened.

const DEFAULTS = {
  access_token_seconds: 3600,
  refresh_token_seconds: 14 * 24 * 3600,
  device_code_seconds: 600,
  device_interval: 1, // seconds; null leaves it out of the answer, which means 5 (RFC 8628 section 3.2)
  enforce_interval: false, // answer slow_down to who polls faster
  access_token_bits: 256, // some providers' tokens have thousands
  rotate: true, // a new refresh token with every refresh; the use of an old one revokes all
  withheld_scopes: [], // what the user does not agree to
  mechanisms: ['XOAUTH2', 'OAUTHBEARER'],
  login_reply: null, // the submission server's answer to every AUTH, such as "454 4.7.0 Try again later"
};

export class State {
  #models = new Map();

  constructor() {
    this.reset();
  }

  reset() {
    for (const stored of this.#models.values()) stored.clear();
    this.settings = { ...DEFAULTS };
    this.rules = [];
    this.requests = [];
    this.mails = [];
    this.logins = [];
    this.polls = new Map();
  }

  set(values) {
    for (const name of Object.keys(values)) {
      if (!(name in DEFAULTS)) throw new Error(`no such setting: ${name}`);
    }
    Object.assign(this.settings, values);
  }

  // the rule for this request, counted down
  take(endpoint, grantType) {
    const index = this.rules.findIndex((rule) => rule.endpoint === endpoint && (!rule.grant_type || rule.grant_type === grantType));
    if (index < 0) return undefined;
    const rule = this.rules[index];
    rule.count -= 1;
    if (rule.count <= 0) this.rules.splice(index, 1);
    return rule;
  }

  expire(model) {
    const past = Math.floor(Date.now() / 1000) - 1;
    for (const payload of this.#stored(model).values()) payload.exp = past;
  }

  revoke(user) {
    for (const stored of this.#models.values()) {
      for (const [id, payload] of stored) if (payload.accountId === user) stored.delete(id);
    }
  }

  #stored(model) {
    if (!this.#models.has(model)) this.#models.set(model, new Map());
    return this.#models.get(model);
  }

  // oidc-provider's storage; what expired stays, so that it is called expired rather than unknown
  adapter(model) {
    const stored = this.#stored(model);
    const first = (test) => [...stored.values()].find(test);
    return {
      upsert: async (id, payload) => { stored.set(id, payload); },
      find: async (id) => stored.get(id),
      findByUid: async (uid) => first((payload) => payload.uid === uid),
      findByUserCode: async (code) => first((payload) => payload.userCode === code),
      destroy: async (id) => { stored.delete(id); },
      consume: async (id) => { stored.get(id).consumed = Math.floor(Date.now() / 1000); },
      revokeByGrantId: async (grantId) => {
        for (const [id, payload] of stored) if (payload.grantId === grantId) stored.delete(id);
      },
    };
  }
}
