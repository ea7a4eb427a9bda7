// A conforming OpenID Connect provider for the tests: everybody signs in as whom the header `x-test-account` says.
//
//   node provider.mjs PORT REDIRECT_URI CLIENT_SECRET ALGORITHM PEOPLE
//
// PEOPLE is a JSON file: { "sub": { "claims": { "preferred_username": "…", "groups": […] }, "amr": ["pwd"], "acr": "…" } }. It is
// read again at each sign-in, so that a person's groups can change.
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [port, redirectUri, secret, algorithm, peopleFile] = process.argv.slice(2);
// It is installed where scripts/setup puts it, not beside this file.
const require = createRequire(path.join(process.cwd(), 'package.json'));
const { default: Provider } = await import(pathToFileURL(require.resolve('oidc-provider')).href);

const people = () => JSON.parse(readFileSync(peopleFile, 'utf8'));
const kind = algorithm.startsWith('ES') ? 'ec' : 'rsa';
const { privateKey } = generateKeyPairSync(kind, kind === 'ec' ? { namedCurve: 'P-256' } : { modulusLength: 2048 });
const key = { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: algorithm };

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: 'blueteam',
    client_secret: secret,
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code'],
    response_types: ['code'],
    id_token_signed_response_alg: algorithm,
  }],
  jwks: { keys: [key] },
  cookies: { keys: ['only for tests'] },
  claims: { openid: ['sub', 'acr', 'amr', 'auth_time'], profile: ['name', 'preferred_username', 'groups'], email: ['email'] },
  acrValues: ['mfa'],
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  features: { devInteractions: { enabled: false } },
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub, ...people()[sub].claims }) }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  async loadExistingGrant(ctx) {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope('openid profile email');
    await grant.save();
    return grant;
  },
});

provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith('/interaction/')) return next();
  const accountId = ctx.get('x-test-account');
  const { amr, acr } = people()[accountId];
  const result = { login: { accountId, amr, acr, remember: false } };
  ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, result));
});

provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
