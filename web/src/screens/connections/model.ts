// What connections and destinations look like, and the draft of the wizard. Nothing here touches the page.

export interface Finding {
  level: "ok" | "warn" | "bad";
  field?: string;
  message: string;
  hint?: string;
}
export interface Alarm {
  kind: string;
  since: string;
  what: string;
  remedy: string;
}
export interface Resource {
  id: string;
  title: string;
  event_types: string[];
}
export interface Connection {
  name: string;
  type: string;
  title: string;
  environment: string;
  state: "running" | "opening" | "configured" | "disconnected";
  file: string;
  resources: Resource[];
  webhook?: { address?: string; id?: string; used?: number; limit?: number; registered_at?: string; error?: string };
  complete_up_to?: string;
  last_event_at?: string;
  checked_at?: string;
  findings?: Finding[];
  alarms: Alarm[];
  budget?: { requests: number; refused: number; limit?: number; left?: number; hold_until?: string };
  polling?: { feeds: { name: string; through: string; repairs: number; last_error?: string }[] | null };
}
export interface Destination {
  name: string;
  type: string;
  title: string;
  state: string;
  file: string;
  rate_per_second: number;
  account?: { id?: string; name: string; user?: string; detail?: { name: string; value: string }[] };
  checked_at?: string;
  findings?: Finding[];
  alarms: Alarm[];
}
export interface Setting {
  key: string;
  type: string;
  secret: boolean;
  list: boolean;
}
export interface Connector {
  type: string;
  title: string;
  topic: string;
  resources: Resource[];
  fields: { name: string; label: string; type: string; sample: string }[];
  settings: Setting[];
}
export interface Sink {
  type: string;
  title: string;
  effects: string[];
  rate_per_second: number;
  settings: Setting[];
}
export interface Pause {
  subject: "CONNECTION" | "DESTINATION";
  name: string;
  paused: boolean;
  why?: string;
  by: string;
  at: string;
  waiting?: number;
}
export interface Account {
  account: string;
  windows: { name: string; bucket?: string; requests: number; per_seconds: number; used: number; left: number; reset?: string; hold_until?: string }[];
  parallel?: number;
  in_parallel?: number;
  hold_until?: string;
  hold_why?: string;
  share: number;
  rate_per_second?: number;
  uses: { use: string; waiting: number; turns?: number }[];
}

export type Health = "good" | "warn" | "bad" | "off" | "paused";

/** How a connection or destination stands, the worst that is known of it. */
export function healthOf(c: { state: string; alarms: Alarm[]; findings?: Finding[]; webhook?: { error?: string } }, pause?: Pause): Health {
  if (c.state === "disconnected") return "off";
  if (c.findings?.some((f) => f.level === "bad") || c.alarms.some((a) => a.kind === "credentials")) return "bad";
  if (pause?.paused) return "paused";
  if (c.alarms.length > 0 || c.webhook?.error || c.findings?.some((f) => f.level === "warn")) return "warn";
  return c.state === "running" ? "good" : "off";
}

/** The account whose limits a connection or destination shares, where it is known. */
export function accountOf(list: Account[], kind: "connection" | "destination", name: string): Account | undefined {
  return list.find((a) => a.uses.some((u) => u.use === `${kind} ${name}`));
}

/** Settings that a person needs to connect; the others are behind "more". First what a type says, then each secret. */
const FIRST: Record<string, string[]> = {
  paypal: ["client_id", "client_secret"],
  shopify: ["shop", "client_secret", "access_token"],
  woocommerce: ["store_url", "consumer_key", "consumer_secret"],
  stripe: ["signing_secrets", "api_key"],
  activecampaign: ["url", "key", "event_tracking.account_id", "event_tracking.key"],
  getresponse: ["key", "list"],
  webhook: ["url", "secrets"],
};

export function splitSettings(type: string, all: Setting[]): { first: Setting[]; more: Setting[] } {
  const keys = FIRST[type];
  if (!keys) return { first: all, more: [] };
  const first = keys.flatMap((k) => all.filter((s) => s.key === k));
  return { first, more: all.filter((s) => !first.includes(s)) };
}

/** The path under which a draft gives a setting: of a list, its first element. */
export const settingPath = (s: Setting): string => (s.list ? s.key + ".0" : s.key);

/** What is kept of a wizard while it is not finished. It never holds a secret. */
export interface Draft {
  kind: "source" | "crm";
  type: string;
  name: string;
  environment: "sandbox" | "live";
  step: number; // 0 credentials, 1 resource, 2 mapping, 3 done
  settings: Record<string, string>;
  resources: string[];
  connected: boolean;
  inside: boolean; // the provider's address lies inside the network: a simulator
  roots: string; // file of further trusted roots for it
  mappings: Record<string, { destination: string; rows: { from: string; to: string; as: string }[]; done: boolean }>;
}

export const freshDraft = (kind: Draft["kind"]): Draft => ({
  kind, type: "", name: "", environment: "sandbox", step: 0, settings: {}, resources: [], connected: false, inside: false, roots: "", mappings: {},
});

const KEY = "tillstream.wizard.";

type Store = Pick<Storage, "getItem" | "setItem" | "removeItem">;

/** Keeps a draft until it is finished. What a setting of the connector calls a secret is no part of it. */
export function keepDraft(d: Draft, settings: Setting[], store: Store = sessionStorage): void {
  const secret = new Set(settings.filter((s) => s.secret).map(settingPath));
  const open = Object.fromEntries(Object.entries(d.settings).filter(([k]) => !secret.has(k)));
  store.setItem(KEY + d.kind, JSON.stringify({ ...d, settings: open }));
}

/** The draft that was begun, if any. */
export function keptDraft(kind: Draft["kind"], store: Store = sessionStorage): Draft | undefined {
  try {
    const d: unknown = JSON.parse(store.getItem(KEY + kind) ?? "null");
    return typeof d === "object" && d !== null ? { ...freshDraft(kind), ...(d as Draft), kind } : undefined;
  } catch {
    return undefined;
  }
}

export function dropDraft(kind: Draft["kind"], store: Store = sessionStorage): void {
  store.removeItem(KEY + kind);
}

/** A name for the next account of a type: paypal, paypal-2, paypal-3. */
export function freeName(type: string, taken: readonly string[]): string {
  for (let i = 1; ; i++) {
    const name = i === 1 ? type : `${type}-${i}`;
    if (!taken.includes(name)) return name;
  }
}

/** Names as files and addresses have them. */
export const goodName = (name: string): boolean => /^[a-z0-9][a-z0-9-]{0,62}$/.test(name);

/** The sources that a resource's events have: what is of a subscription comes with events of subscriptions only. */
export const sourcesFor = <T extends { name: string }>(r: Resource, all: readonly T[]): T[] =>
  r.event_types.some((type) => /subscription/i.test(type)) ? [...all] : all.filter((s) => !s.name.startsWith("subscription."));

/** What a new mapping suggests: fields of the CRM whose names look like a source's. */
export function suggestRows(sources: readonly { name: string; label: string }[], fields: readonly { names: string[] }[]): { from: string; to: string }[] {
  const plain = (s: string): string => s.toLowerCase().replace(/[^a-z0-9]/g, "");
  const out: { from: string; to: string }[] = [];
  const known: Record<string, string[]> = {
    "order.id": ["orderid", "lastorderid", "subscriptionid"], "order.status": ["orderstatus", "paymentstatus", "subscriptionstatus"],
    "order.amount": ["orderamount", "amount", "lastorderamount"], "order.currency": ["ordercurrency", "currency"],
    "event.time": ["orderdate", "lastorderdate", "paymentdate"], "payer.payer_id": ["paypalpayerid", "payerid"],
    "payer.address.country": ["country", "countrycode"], "payer.address.city": ["city"], custom_id: ["customid"], invoice_id: ["invoiceid"],
  };
  const taken = new Set<string>();
  for (const s of sources) {
    const words = [plain(s.name), plain(s.label), ...(known[s.name] ?? [])];
    const hit = fields.find((f) => !taken.has(f.names[0] ?? "") && f.names.some((n) => words.includes(plain(n))));
    if (hit?.names[0]) {
      taken.add(hit.names[0]);
      out.push({ from: s.name, to: hit.names[0] });
    }
  }
  return out;
}
