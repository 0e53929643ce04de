export interface Options {
  /** Milliseconds of silence after which a call is given up; 30 000 unless you say otherwise. */
  timeout?: number;
  /** Authorities to trust at an https address (PEM); else those that Node trusts. */
  ca?: string | Uint8Array;
  /** The same, as a file. */
  caFile?: string;
  /** A certificate of yours and its key (PEM), where hublatch wants one (`management.tls.client_ca`). */
  cert?: string | Uint8Array;
  clientKey?: string | Uint8Array;
  /** How often a call is made again that found hublatch or the hub away for a moment; nothing is done twice. Default 2. */
  retries?: number;
}

/** What is asked for: see openapi.yaml. */
export interface Order {
  path?: string;
  server?: string;
  next?: string;
  expires_in?: number;
  session_expires_in?: number;
  confirm?: boolean;
  groups?: string[];
  claims?: Record<string, unknown>;
  state?: string;
  note?: string;
  launch?: boolean | Record<string, unknown>;
}

export interface IssuedLink {
  id: string;
  /** Where to send the browser, at once. A credential until it is used. */
  url: string;
  login_token: string;
  username: string;
  next: string | null;
  expires_in: number;
  expires_at: string;
  /** With `launch`. */
  server?: { ready: boolean; progress_url: string };
}

export interface Link {
  id: string;
  username: string;
  next: string | null;
  status: "pending" | "used" | "expired" | "revoked";
  issued_at: string;
  expires_at: string;
  used_at: string | null;
  confirm: boolean;
  note: string | null;
  session: { until: string; ended: boolean } | null;
}

export interface ProgressEvent {
  progress: number;
  message: string;
  ready?: boolean;
  failed?: boolean;
}

export interface Owner {
  name: string;
  kind: "user" | "service";
  groups: string[];
  scopes: string[];
}

export class HublatchError extends Error {
  /** That of HTTP; 0: no answer. */
  readonly status: number;
  /** A word to act upon. */
  readonly code: string;
  /** Seconds to wait, if told. */
  readonly retryAfter?: number;
  /** What is at fault, if it is one field. */
  readonly field?: string;
  /** Where the code is explained: a path of the API. */
  readonly docUrl?: string;
  /** By what the operator finds the call in hublatch's logs. */
  readonly requestId?: string;
}

/** One application's access, by the management address: `http://…`, `https://…` or `unix:/path`. */
export class Hublatch {
  constructor(url: string, key: string, options?: Options);

  /** By HUBLATCH_API_URL, and HUBLATCH_API_KEY_FILE or HUBLATCH_API_KEY. */
  static fromEnvironment(options?: Options): Hublatch;

  /** Issues a link. `idempotencyKey`: one of your own, to make a call again that another process has begun. */
  link(username: string, order?: Order & { idempotencyKey?: string }): Promise<IssuedLink>;

  /** Issues many links, all or none. Never made again by itself. */
  links(orders: (Order & { username: string })[]): Promise<IssuedLink[]>;

  /** All that is known of a link, but its token. */
  read(link: { id: string }): Promise<Link>;

  /** Where a link stands. */
  status(link: { id: string }): Promise<Link["status"]>;

  /** Makes a link dead. */
  revoke(link: { id: string }): Promise<void>;

  /** Makes all links dead that wait for a user; how many those were. */
  revokeUser(username: string): Promise<number>;

  /** Ends all browser sessions of a user (scope `end`); how many those were. */
  endSessions(username: string): Promise<number>;

  /** Whose a hub API token is; null if the hub does not know it. */
  verify(hubToken: string): Promise<Owner | null>;

  /** What the hub tells of a launch, until an event has `ready` or `failed`. */
  progress(link: IssuedLink): AsyncGenerator<ProgressEvent, void, undefined>;
}
