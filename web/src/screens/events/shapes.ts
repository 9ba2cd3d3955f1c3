// The shapes of the API that the screens of events read.
export interface MoneyText { amount: string; currency: string }
export interface NamedText { name: string; value: string }
export interface Place { topic: string; partition: number; offset: number }

export interface EventSummary {
  id: string; record: string; environment: string; store: string; provider: string; kind: string; type: string; provider_status: string; status: string;
  order: string; order_key: string; entity: string; contact: string; name?: string; amount?: MoneyText; origin: string; at: string; received_at: string; provider_time?: string;
  test?: boolean; problem?: string;
}
export interface EventPage { items: EventSummary[] | null; next?: string }
export interface EventView extends EventSummary {
  personal_data: boolean; email?: string; given_name?: string; surname?: string; phone?: string; payer_id?: string; address?: string[]; country?: string; custom_id?: string; invoice_id?: string;
  resource?: string; sequence?: number; refunded_total?: MoneyText; links: NamedText[] | null; deliveries: string[] | null; fields: Record<string, string> | null; headers?: Record<string, string>;
  body?: string; body_bytes: number; body_hash: string; fingerprint: string; place: Place; records: EventSummary[] | null;
}
export interface LiveRecord {
  kind: string; at: string; what: string; outcome?: string; good: boolean; environment?: string; store?: string; event?: string; event_kind?: string; type?: string; status?: string;
  order?: string; contact?: string; destination?: string; amount?: MoneyText; place: Place;
}
export interface Exchange { method: string; url: string; request_body?: string; status: number; response_body?: string; error?: string; ms: number }
export interface Hop {
  at: string; stage: string; what: string; outcome: string; good: boolean; attempt?: number; after_ms: number; input: NamedText[] | null; output: NamedText[] | null; exchanges?: Exchange[];
  event?: string; order?: string; contact?: string; destination?: string; command?: string; run?: string; config_version?: string; remedy?: string; place: Place;
}
export interface Timeline { id: string; as: string; orders: string[] | null; contacts: string[] | null; hops: Hop[] | null; truncated: boolean }
