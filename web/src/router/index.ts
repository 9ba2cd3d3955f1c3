// The address is the state: which screen, and every filter of it.
import { computed, signal } from "@preact/signals";
import { useEffect } from "preact/hooks";

export type Query = Record<string, string>;
export type Params = Record<string, string>;

const address = signal(location.pathname + location.search);

export const path = computed(() => new URL(address.value, location.origin).pathname);
export const query = computed<Query>(() => Object.fromEntries(new URL(address.value, location.origin).searchParams));

// unsaved says that the screen holds what is not saved; asked is the address that waits for the answer whether to leave.
const unsaved = signal(false);
export const asked = signal<string | null>(null);

function take(href: string, replace: boolean) {
  if (replace) history.replaceState(null, "", href);
  else history.pushState(null, "", href);
  address.value = location.pathname + location.search;
}

/** Goes to an address of the page. Where something is unsaved, the user is asked first. */
export function go(href: string, replace = false) {
  if (unsaved.value && new URL(href, location.origin).pathname !== path.value) {
    asked.value = href;
    return;
  }
  take(href, replace);
  if (!replace) {
    window.scrollTo(0, 0);
    document.getElementById("main")?.focus({ preventScroll: true });
  }
}

/** Answers the question that go asked. */
export function leave(yes: boolean) {
  const href = asked.value;
  asked.value = null;
  if (yes && href !== null) {
    unsaved.value = false;
    go(href);
  }
}

/** Keeps the user from leaving a screen with unsaved work by accident. */
export function useUnsaved(dirty: boolean) {
  useEffect(() => {
    unsaved.value = dirty;
    const stop = (e: BeforeUnloadEvent) => e.preventDefault();
    if (dirty) addEventListener("beforeunload", stop);
    return () => {
      unsaved.value = false;
      removeEventListener("beforeunload", stop);
    };
  }, [dirty]);
}

/** Changes parameters of the address; an empty value takes one out. Filters replace, so that "back" leaves the screen. */
export function setQuery(change: Record<string, string | null | undefined>) {
  take(link(path.value, { ...query.value, ...change }), true);
}

/** An address with parameters; empty ones are left out. */
export function link(to: string, parameters: Record<string, string | number | boolean | null | undefined>): string {
  const q = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "" && value !== false) q.set(key, String(value));
  }
  const text = q.toString();
  return text ? `${to}?${text}` : to;
}

/** Part of an address: each segment of an id that may hold slashes is escaped by itself. */
export function segments(id: string): string {
  return id.split("/").map(encodeURIComponent).join("/");
}

/** Matches "/events/:id" (one segment) and "/orders/*id" (all that follow). */
export function match(pattern: string, at: string): Params | null {
  const want = pattern.split("/").filter(Boolean);
  const got = at.split("/").filter(Boolean);
  const params: Params = {};
  for (let i = 0; i < want.length; i++) {
    const w = want[i]!;
    if (w.startsWith("*")) {
      if (got.length <= i) return null;
      params[w.slice(1)] = got.slice(i).map(plain).join("/");
      return params;
    }
    const g = got[i];
    if (g === undefined) return null;
    if (w.startsWith(":")) params[w.slice(1)] = plain(g);
    else if (w !== g) return null;
  }
  return got.length === want.length ? params : null;
}

function plain(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

addEventListener("popstate", () => {
  address.value = location.pathname + location.search;
});

// A link of the page is followed without loading it anew; what a browser does with modifiers stays the browser's.
addEventListener("click", (e) => {
  if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
  const a = (e.target as Element | null)?.closest?.("a");
  if (!a || a.target || a.hasAttribute("download")) return;
  const url = new URL(a.href, location.href);
  if (url.origin !== location.origin || url.pathname.startsWith("/api/") || url.pathname.startsWith("/assets/")) return;
  if (url.pathname === location.pathname && url.search === location.search && url.hash) return;
  e.preventDefault();
  go(url.pathname + url.search + url.hash);
});

/** Keeps a title that says where one is. */
export function useTitle(text: string) {
  useEffect(() => {
    document.title = text ? `${text} · Tillstream` : "Tillstream";
  }, [text]);
}

