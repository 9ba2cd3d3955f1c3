// Light, dark, or as the system says.
import { effect, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";
const stored = "tillstream.theme";

function remembered(): Theme {
  const t = localStorage.getItem(stored);
  return t === "light" || t === "dark" ? t : "system";
}

export const theme = signal<Theme>(remembered());
const systemDark = matchMedia("(prefers-color-scheme: dark)");
export const dark = signal(false);

function show() {
  dark.value = theme.value === "dark" || (theme.value === "system" && systemDark.matches);
  document.documentElement.dataset["theme"] = dark.value ? "dark" : "light";
}
systemDark.addEventListener("change", show);
effect(show);

export function setTheme(t: Theme) {
  if (t === "system") localStorage.removeItem(stored);
  else localStorage.setItem(stored, t);
  theme.value = t;
}
