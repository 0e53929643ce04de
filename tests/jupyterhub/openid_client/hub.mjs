// The hub's half of an OAuth login, done by openid-client: /hub/oauth_login and /hub/oauth_callback, and nothing else of a
// hub. What is done wrong, for the tests, is what `fault` in `next` says.
//
//     node hub.mjs OPENID_CLIENT PORT ISSUER CLIENT_ID CLIENT_SECRET REDIRECT_URI
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";

const [library, port, issuer, clientId, secret, redirectUri] = process.argv.slice(2);
const client = await import(library);
const begun = new Map();

async function provider(fault) {
  const right = fault === "secret" ? `${secret}x` : secret;
  const auth = fault === "basic" ? client.ClientSecretBasic(right) : client.ClientSecretPost(right);
  const options = { execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks] };
  return client.discovery(new URL(issuer), clientId, undefined, auth, options);
}

async function begin(url) {
  const next = url.searchParams.get("next") ?? "/hub/";
  const fault = new URL(next, redirectUri).searchParams.get("fault") ?? "";
  const config = await provider(fault);
  const checks = {
    pkceCodeVerifier: client.randomPKCECodeVerifier(),
    expectedState: client.randomState(),
    expectedNonce: client.randomNonce(),
    idTokenExpected: true,
  };
  const location = client.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    scope: "openid",
    state: checks.expectedState,
    nonce: checks.expectedNonce,
    code_challenge: await client.calculatePKCECodeChallenge(checks.pkceCodeVerifier),
    code_challenge_method: "S256",
  });
  const id = randomUUID();
  begun.set(id, { config, checks, next, fault });
  return { status: 302, headers: { Location: location.href, "Set-Cookie": `oauth-state=${id}; Path=/hub/; HttpOnly` } };
}

async function end(url, cookies) {
  const { config, checks, next, fault } = begun.get(cookies["oauth-state"]);
  const current = new URL(url.pathname + url.search, redirectUri);
  if (fault === "redirect_uri") current.pathname = "/hub/other_callback";
  if (fault === "verifier") checks.pkceCodeVerifier = client.randomPKCECodeVerifier();
  if (fault === "no verifier") delete checks.pkceCodeVerifier;
  try {
    const tokens = await client.authorizationCodeGrant(config, current, checks);
    const info = await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub);
    if (fault === "reuse") await client.authorizationCodeGrant(config, current, checks);
    const cookie = `jupyterhub-hub-login=${info.preferred_username}; Path=/hub/; HttpOnly`;
    return { status: 302, headers: { Location: next, "Set-Cookie": cookie }, body: { id_token: tokens.claims(), userinfo: info } };
  } catch (error) {
    const body = { error: error.error ?? error.code, status: error.status, cause: `${error.cause?.message ?? error.message}` };
    return { status: 400, body };
  }
}

createServer(async (request, response) => {
  const url = new URL(request.url, "http://hub");
  const cookies = Object.fromEntries((request.headers.cookie ?? "").split("; ").map((pair) => pair.split("=", 2)));
  let answer = { status: 404, body: {} };
  if (url.pathname === "/hub/api/user") answer = { status: 403, body: { status: 403, message: "Forbidden" } };
  if (url.pathname === "/hub/oauth_login") answer = await begin(url);
  if (url.pathname === "/hub/oauth_callback") answer = await end(url, cookies);
  response.writeHead(answer.status, { "Content-Type": "application/json", ...answer.headers });
  response.end(JSON.stringify(answer.body ?? {}));
}).listen(Number(port), "127.0.0.1", () => console.log("listening"));
