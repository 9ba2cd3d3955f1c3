// The one way to the API: /api/v1, JSON, problem+json. A request that needs a sign-in waits for it and goes on, so that
// nothing typed is lost.
import { signal } from "@preact/signals";

export interface Problem {
  file?: string;
  line?: number;
  field?: string;
  detail: string;
  hint?: string;
}

/** What the API refused, or that it could not be reached (status 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly title: string,
    readonly detail: string,
    readonly remedy = "",
    readonly requestId = "",
    readonly field = "",
    readonly problems: Problem[] = [],
    readonly type = "",
    readonly body: Record<string, unknown> = {}, // the whole problem: findings, conflict
  ) {
    super(detail || title);
  }
}

export interface Options {
  etag?: string; // If-Match of an edit
  create?: boolean; // If-None-Match: *, of a thing that must not be there yet
  key?: string; // Idempotency-Key of what starts or creates something
  signal?: AbortSignal;
  anonymous?: boolean; // 401 is an answer, not a reason to ask for a sign-in
}

export interface Tagged<T> {
  body: T;
  etag: string;
}

// waiting are the requests that go on once somebody has signed in; the dialog shows while there are any.
export const signInNeeded = signal(false);
let waiting: (() => void)[] = [];

/** Called by the sign-in: what waited is sent again. */
export function signedIn() {
  signInNeeded.value = false;
  const list = waiting;
  waiting = [];
  list.forEach((next) => next());
}

/** Forgets what waited for a sign-in (signing out leaves the screens). */
export function forgetWaiting() {
  waiting = [];
}

export const base = "/api/v1";

async function send(method: string, path: string, body: unknown, o: Options): Promise<Response> {
  const headers: Record<string, string> = { Accept: "application/json" };
  const changes = method !== "GET";
  if (changes) headers["X-Tillstream-Action"] = "page";
  if (changes) headers["Content-Type"] = "application/json";
  if (o.etag) headers["If-Match"] = o.etag;
  if (o.create) headers["If-None-Match"] = "*";
  if (o.key) headers["Idempotency-Key"] = o.key;
  const init: RequestInit = { method, headers, credentials: "same-origin", cache: "no-store" };
  if (o.signal) init.signal = o.signal;
  if (changes) init.body = JSON.stringify(body ?? {});
  for (;;) {
    let answer: Response;
    try {
      answer = await fetch(base + path, init);
    } catch (e) {
      if ((e as Error).name === "AbortError") throw e;
      throw new ApiError(0, "unreachable", "", "");
    }
    if (answer.status !== 401 || o.anonymous) return answer;
    signInNeeded.value = true;
    await new Promise<void>((next) => waiting.push(next));
  }
}

async function refusal(r: Response): Promise<ApiError> {
  let p: Record<string, unknown> = {};
  try {
    p = (await r.json()) as Record<string, unknown>;
  } catch {
    // A proxy's answer is no JSON: the status says what there is to say.
  }
  const text = (key: string) => (typeof p[key] === "string" ? (p[key] as string) : "");
  return new ApiError(
    r.status, text("code") || text("outcome") || String(r.status), text("title"), text("detail") || r.statusText, text("remedy"),
    text("request_id") || r.headers.get("X-Request-Id") || "", text("field"), (p["problems"] as Problem[] | undefined) ?? [], text("type"), p,
  );
}

async function ask<T>(method: string, path: string, body: unknown, o: Options): Promise<Tagged<T>> {
  const r = await send(method, path, body, o);
  if (!r.ok) throw await refusal(r);
  const etag = r.headers.get("ETag") ?? "";
  const text = await r.text();
  if (!text) return { body: undefined as T, etag };
  try {
    return { body: JSON.parse(text) as T, etag };
  } catch {
    throw new ApiError(r.status, "no_json", "", text.slice(0, 200), "", r.headers.get("X-Request-Id") ?? "");
  }
}

export const api = {
  get: async <T>(path: string, o: Options = {}): Promise<T> => (await ask<T>("GET", path, undefined, o)).body,
  /** GET with the ETag that an edit must give back. */
  read: <T>(path: string, o: Options = {}): Promise<Tagged<T>> => ask<T>("GET", path, undefined, o),
  post: async <T>(path: string, body?: unknown, o: Options = {}): Promise<T> => (await ask<T>("POST", path, body, o)).body,
  put: <T>(path: string, body: unknown, o: Options = {}): Promise<Tagged<T>> => ask<T>("PUT", path, body, o),
  patch: async <T>(path: string, body: unknown, o: Options = {}): Promise<T> => (await ask<T>("PATCH", path, body, o)).body,
  del: async <T>(path: string, body?: unknown, o: Options = {}): Promise<T> => (await ask<T>("DELETE", path, body, o)).body,
};

/** A key of one attempt of the user: drawn once, given with each try of it. */
export function newKey(): string {
  const b = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(b, (x) => x.toString(16).padStart(2, "0")).join("");
}

export { useLoad, type Load } from "./load";
