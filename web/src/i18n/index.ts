// Texts in three languages. Each folder with texts has en.json, it.json and fr.json, whose keys begin with the folder's
// name; the build joins them into one dictionary a language, of which one is loaded.
import { signal } from "@preact/signals";

export const languages = ["en", "it", "fr"] as const;
export type Language = (typeof languages)[number];
export const languageNames: Record<Language, string> = { en: "English", it: "Italiano", fr: "Français" };

const loaders: Record<Language, () => Promise<{ default: Record<string, string> }>> = {
  en: () => import("texts:en"),
  it: () => import("texts:it"),
  fr: () => import("texts:fr"),
};

export const language = signal<Language>("en");
const texts = signal<Record<string, string>>({});
const stored = "tillstream.language";

function known(code: string | null | undefined): Language | undefined {
  return languages.find((l) => l === code?.slice(0, 2).toLowerCase());
}

/** The language that this browser asked for, by choice or by its settings. */
export function preferred(): Language {
  return known(localStorage.getItem(stored)) ?? navigator.languages.map(known).find(Boolean) ?? "en";
}

export async function setLanguage(l: Language, remember = true) {
  const dictionary = (await loaders[l]()).default;
  if (remember) localStorage.setItem(stored, l);
  document.documentElement.lang = l;
  texts.value = dictionary;
  language.value = l;
}

export type Parameters = Record<string, string | number>;

/**
 * The text of key. {name} is replaced by its parameter. "one form | other form" is chosen by the parameter n. A key without
 * a text is shown as it is: a test finds it.
 */
export function t(key: string, parameters: Parameters = {}): string {
  let text = texts.value[key] ?? key;
  if (text.includes(" | ") && typeof parameters["n"] === "number") {
    const forms = text.split(" | ");
    text = (new Intl.PluralRules(language.value).select(parameters["n"]) === "one" ? forms[0] : forms[1]) ?? text;
  }
  return text.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = parameters[name];
    return value === undefined ? "" : typeof value === "number" ? number(value) : value;
  });
}

/** Whether there is a text: for codes of the API, which the page may be older than. */
export function has(key: string): boolean {
  return key in texts.value;
}

/** The text of a code, or the code itself made readable. */
export function coded(prefix: string, code: string): string {
  const key = `${prefix}.${code.toLowerCase()}`;
  return has(key) ? t(key) : code.replaceAll("_", " ").toLowerCase();
}

export function number(n: number, o: Intl.NumberFormatOptions = {}): string {
  return new Intl.NumberFormat(language.value, o).format(n);
}

/** An amount as the API gives it: decimal text, never a float. */
export function money(amount: string, currency: string): string {
  const digits = (amount.split(".")[1] ?? "").length;
  try {
    const f = new Intl.NumberFormat(language.value, { style: "currency", currency, minimumFractionDigits: digits, maximumFractionDigits: digits });
    return f.format(amount as unknown as number); // decimal text is formatted exactly
  } catch {
    return `${amount} ${currency}`;
  }
}

/** Seconds as "3 min" or "2 h". */
export function duration(seconds: number): string {
  const abs = Math.abs(seconds);
  const unit = (value: number, name: string) => number(value, { style: "unit", unit: name, unitDisplay: "short", maximumFractionDigits: value < 10 && name !== "second" ? 1 : 0 });
  if (abs < 1) return unit(Math.round(seconds * 1000), "millisecond");
  if (abs < 90) return unit(seconds, "second");
  if (abs < 5400) return unit(seconds / 60, "minute");
  if (abs < 129600) return unit(seconds / 3600, "hour");
  return unit(seconds / 86400, "day");
}

/** A moment as "3 minutes ago". Clocks differ: what the host's says of just now is never "in 1 second". */
export function ago(at: Date, now: Date): string {
  const ahead = (at.getTime() - now.getTime()) / 1000;
  const seconds = ahead > 0 && ahead < 3 ? 0 : ahead;
  const f = new Intl.RelativeTimeFormat(language.value, { numeric: "auto", style: "short" });
  const abs = Math.abs(seconds);
  if (abs < 60) return f.format(Math.round(seconds), "second");
  if (abs < 3600) return f.format(Math.round(seconds / 60), "minute");
  if (abs < 86400) return f.format(Math.round(seconds / 3600), "hour");
  if (abs < 30 * 86400) return f.format(Math.round(seconds / 86400), "day");
  return new Intl.DateTimeFormat(language.value, { dateStyle: "medium", timeZone: "UTC" }).format(at);
}
