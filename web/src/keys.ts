// The keyboard: / search, j k rows, Enter opens (the row is a link), g and a letter goes to a screen, ? tells it all.
import { signal } from "@preact/signals";
import { go } from "./router";

export const helpShown = signal(false);
const stored = "tillstream.keys";
export const keysOn = signal(localStorage.getItem(stored) !== "off");

/** Single letters can be turned off, for those who speak to their machine. */
export function setKeys(on: boolean) {
  localStorage.setItem(stored, on ? "on" : "off");
  keysOn.value = on;
}

export const places: Record<string, string> = { o: "/", c: "/connections", m: "/mappings", w: "/workflows", e: "/events", i: "/issues", r: "/reports", s: "/settings/users" };

interface List { move: (by: number) => void }
const lists: List[] = [];

/** A list that j and k move in; the newest that is shown has them. Returns what takes it out. */
export function listKeys(l: List): () => void {
  lists.push(l);
  return () => {
    lists.splice(lists.indexOf(l), 1);
  };
}

// A screen's own letters, such as p for "hold the tail".
const own = new Map<string, () => void>();
export function screenKey(key: string, f: () => void): () => void {
  own.set(key, f);
  return () => {
    if (own.get(key) === f) own.delete(key);
  };
}

const chordMs = 3000;
let chordUntil = 0;

addEventListener("keydown", (e) => {
  if (!keysOn.value || e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented) return;
  const target = e.target as HTMLElement;
  if (target.closest("input,textarea,select,[contenteditable=true],dialog")) return;
  if (chordUntil > e.timeStamp && places[e.key]) {
    chordUntil = 0;
    e.preventDefault();
    go(places[e.key]!);
    return;
  }
  chordUntil = 0;
  const f = own.get(e.key);
  if (e.key === "g") chordUntil = e.timeStamp + chordMs;
  else if (e.key === "/") {
    const field = document.querySelector<HTMLInputElement>("main [data-search]");
    if (!field) return;
    e.preventDefault();
    field.focus();
    field.select();
  } else if (e.key === "j" || e.key === "k") lists.at(-1)?.move(e.key === "j" ? 1 : -1);
  else if (e.key === "?") helpShown.value = true;
  else if (f) f();
});
