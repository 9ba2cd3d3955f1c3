import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { useLoad } from "./api";
import { language, languageNames, languages, setLanguage, t, type Language } from "./i18n";
import { helpShown, keysOn, places, setKeys } from "./keys";
import { asked, leave, path } from "./router";
import { session, signOut, SignInDialog } from "./session";
import { setTheme, theme, type Theme } from "./theme";
import { Button, Check, Confirm, Dialog, EnvironmentBadge, Select, Time, Toasts } from "./ui";

const menu: { href: string; key: string; at: string[]; icon: string }[] = [
  { href: "/", key: "overview", at: [""], icon: "M3 12h4l3-8 4 16 3-8h4" },
  { href: "/connections", key: "connections", at: ["connections"], icon: "M9 7V3m6 4V3M6 7h12v4a6 6 0 0 1-12 0zM12 17v4" },
  { href: "/mappings", key: "mappings", at: ["mappings"], icon: "M4 6h6l4 12h6M4 18h6M14 6h6" },
  { href: "/workflows", key: "workflows", at: ["workflows"], icon: "M6 3v6m0 0a3 3 0 1 0 0 6m0-6a3 3 0 1 1 0 6m0 0v6M9 12h6m0 0a3 3 0 1 0 6 0 3 3 0 1 0-6 0" },
  { href: "/events", key: "events", at: ["events", "orders", "contacts"], icon: "M4 6h16M4 12h16M4 18h10" },
  { href: "/issues", key: "issues", at: ["issues"], icon: "M12 3 2 20h20zM12 10v4m0 3v.5" },
  { href: "/reports", key: "reports", at: ["reports"], icon: "M4 20V4m0 16h16M8 16v-5m4 5V8m4 8v-3" },
  { href: "/settings/users", key: "settings", at: ["settings"], icon: "M4 7h10m4 0h2M4 17h2m4 0h10M16 5v4M8 15v4" },
  { href: "/docs/", key: "docs", at: ["docs"], icon: "M5 4h11l3 3v13H5zM9 9h6M9 13h6" },
];

function Icon({ d }: { d: string }) {
  return <svg viewBox="0 0 24 24" aria-hidden="true" class="icon"><path d={d} /></svg>;
}

interface Readings { at: string; environment: string; complete_up_to?: string; complete_note?: string; attention: { severity: string }[] }
const readingsMs = 15_000;

export function Shell({ children }: { children: ComponentChildren }) {
  const here = path.value.split("/")[1] ?? "";
  const [open, setOpen] = useState(false);
  useEffect(() => setOpen(false), [path.value]);
  const s = session.value;
  const sandboxOnly = s && s.environments.length > 0 && s.environments.every((e) => e.toLowerCase() !== "live");
  return (
    <>
      <a class="skip" href="#main">{t("shell.skip")}</a>
      <div class={`app ${sandboxOnly ? "sandbox" : "live"}`}>
        <div class="environmentbar" aria-hidden="true" />
        <nav class={open ? "side open" : "side"} aria-label={t("shell.menu")} id="side">
          <a class="brand" href="/"><svg viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="7" /><path d="M8 8h16M16 8v9" /><path class="water" d="M6 23c3-4 6-4 10 0s7 4 10 0" /></svg>Tillstream</a>
          <ul>
            {menu.map((m) => (
              <li key={m.key}><a href={m.href} aria-current={m.at.includes(here) ? "page" : undefined}><Icon d={m.icon} />{t(`shell.${m.key}`)}</a></li>
            ))}
          </ul>
          <div class="foot"><Choices /></div>
        </nav>
        {open && <div class="veil" onClick={() => setOpen(false)} />}
        <header class="top">
          <button type="button" class="button quiet menubutton" aria-expanded={open} aria-controls="side" aria-label={t("shell.menu")} onClick={() => setOpen(!open)}><Icon d="M4 7h16M4 12h16M4 17h16" /></button>
          <Complete />
          <div class="spread" />
          {s?.environments.map((e) => <EnvironmentBadge key={e} name={e} />)}
          <Button kind="quiet" label={t("shell.help")} title={t("shell.help")} onClick={() => { helpShown.value = true; }}>?</Button>
          {s?.user && s.sign_in_required && <span class="who"><span class="muted">{s.user.name} · {s.user.role}</span> <Button kind="quiet" onClick={() => void signOut()}>{t("shell.signout")}</Button></span>}
        </header>
        <main id="main" tabIndex={-1}>{children}</main>
      </div>
      <Help />
      <SignInDialog />
      <Confirm open={asked.value !== null} title={t("shell.unsaved")} confirm={t("shell.unsaved.leave")} onConfirm={() => leave(true)} onClose={() => leave(false)}>{t("shell.unsaved.text")}</Confirm>
      <Toasts />
    </>
  );
}

// The promise on every page: every figure knows everything up to then.
function Complete() {
  const s = session.value;
  const load = useLoad<Readings>(s && (s.user || !s.sign_in_required) ? "/overview" : null, { everyMs: readingsMs });
  if (load.error && !load.data) return <span class="complete bad" role="status">{t("shell.complete.unknown")}</span>;
  if (!load.data) return <span class="complete" />;
  const { complete_up_to: upTo, complete_note: note } = load.data;
  const at = upTo && upTo > load.data.at ? load.data.at : upTo; // never ahead of the answer itself
  const known = at && !at.startsWith("0001-");
  return (
    <a class={`complete ${load.error || !known ? "warn" : note ? "warn" : "good"}`} href="/" title={note} data-testid="complete">
      <span class="dot" aria-hidden="true" />{known ? <>{t("shell.complete")} <Time at={at} /></> : t("shell.complete.unknown")}
    </a>
  );
}

function Choices() {
  return (
    <>
      <label class="hidden" for="language">{t("shell.language")}</label>
      <Select id="language" testid="language" value={language.value} onChange={(l) => void setLanguage(l as Language)} options={languages.map((l) => ({ value: l, label: languageNames[l] }))} />
      <label class="hidden" for="theme">{t("shell.theme")}</label>
      <Select id="theme" testid="theme" value={theme.value} onChange={(v) => setTheme(v as Theme)} options={["system", "light", "dark"].map((v) => ({ value: v, label: t(`shell.theme.${v}`) }))} />
    </>
  );
}

function Help() {
  const list: [string, string][] = [
    ["/", t("shell.key.search")], ["j k", t("shell.key.move")], ["Enter", t("shell.key.open")], ["p", t("shell.key.hold")], ["r", t("shell.key.retry")], ["?", t("shell.help")],
    ...Object.entries(places).map(([key, href]): [string, string] => [`g ${key}`, t(`shell.${menu.find((m) => m.href === href)?.key ?? ""}`)]),
  ];
  return (
    <Dialog open={helpShown.value} title={t("shell.help")} onClose={() => { helpShown.value = false; }} testid="help">
      <dl class="keys">{list.map(([keys, what]) => <div key={keys}><dt>{keys.split(" ").map((k) => <kbd key={k}>{k}</kbd>)}</dt><dd>{what}</dd></div>)}</dl>
      <Check label={t("shell.keys.on")} checked={keysOn.value} onChange={setKeys} />
      <p class="muted small">Tillstream {session.value?.version}</p>
    </Dialog>
  );
}
