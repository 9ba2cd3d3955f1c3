// A live tail: newest first, held while the user reads, and honest about what it left out.
import { signal, type Signal } from "@preact/signals";
import { base, signInNeeded } from "../api";

const shownMax = 500;
const heldMax = 5000;

export interface Tail<T> {
  items: Signal<T[]>;
  held: Signal<T[]>; // came while it was held
  leftOut: Signal<number>; // said by the server: more came than it sends
  state: Signal<"connecting" | "open" | "lost">;
  holding: Signal<boolean>;
  hold: (yes: boolean) => void;
  close: () => void;
}

/** Opens the stream at path; key tells items apart, so that a reconnection shows none twice. */
export function tail<T>(path: string, key: (item: T) => string): Tail<T> {
  const items = signal<T[]>([]);
  const held = signal<T[]>([]);
  const leftOut = signal(0);
  const state = signal<"connecting" | "open" | "lost">("connecting");
  const holding = signal(false);
  const seen = new Set<string>();
  const source = new EventSource(base + path, { withCredentials: true });
  source.onopen = () => {
    state.value = "open";
  };
  source.onerror = () => {
    // The browser tries again by itself, except where the server refused.
    state.value = "lost";
    if (source.readyState === EventSource.CLOSED) {
      void fetch(base + "/session", { cache: "no-store" }).then((r) => {
        if (r.status === 401) signInNeeded.value = true;
      }, () => undefined);
    }
  };
  const take = (item: T) => {
    const id = key(item);
    if (seen.has(id)) return;
    seen.add(id);
    if (holding.value) held.value = [item, ...held.value].slice(0, heldMax);
    else items.value = [item, ...items.value].slice(0, shownMax);
    if (seen.size > heldMax * 4) {
      seen.clear();
      [...items.value, ...held.value].forEach((i) => seen.add(key(i)));
    }
  };
  const parsed = (e: MessageEvent): unknown => {
    try {
      return JSON.parse(e.data as string);
    } catch {
      return undefined;
    }
  };
  const onItem = (e: MessageEvent) => {
    const got = parsed(e);
    if (got !== undefined) take(got as T);
  };
  source.addEventListener("record", onItem as EventListener);
  source.addEventListener("left_out", ((e: MessageEvent) => {
    const got = parsed(e) as { total?: number } | undefined;
    leftOut.value = got?.total ?? leftOut.value;
  }) as EventListener);
  return {
    items, held, leftOut, state, holding,
    hold: (yes) => {
      holding.value = yes;
      if (!yes && held.value.length) {
        items.value = [...held.value, ...items.value].slice(0, shownMax);
        held.value = [];
      }
    },
    close: () => source.close(),
  };
}
