// The page: a shell around the screen that the address names. Screens are loaded when they are first gone to.
import { signal } from "@preact/signals";
import { Component, render, type ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import folders from "screens:all";
import { ApiError } from "./api";
import { preferred, setLanguage, t } from "./i18n";
import { match, path } from "./router";
import { loadSession, sessionError } from "./session";
import { Shell } from "./shell";
import "./theme";
import { Empty, ErrorState, LinkButton, Page, Skeleton, type Screen } from "./ui";

// folderOf says which folder has the screens of an address's first segment.
const folderOf: Record<string, string> = {
  "": "overview", connections: "connections", mappings: "mappings", workflows: "workflows", events: "events", orders: "events", contacts: "events",
  issues: "issues", reports: "reports", settings: "settings", docs: "docs", "sign-in": "signin",
};

const loaded = signal<Record<string, Screen[] | ApiError>>({});

async function load(folder: string) {
  const from = folders[folder];
  let got: Screen[] | ApiError = [];
  try {
    if (from) got = (await from()).routes;
  } catch {
    // The files of another version: the server was updated while the page was open.
    got = new ApiError(0, "outdated", "", "");
  }
  loaded.value = { ...loaded.value, [folder]: got };
}

const folderAt = (at: string): string => folderOf[at.split("/")[1] ?? ""] ?? "";

function Outlet() {
  const at = path.value;
  const folder = folderAt(at);
  const screens = loaded.value[folder];
  useEffect(() => {
    if (folder && !screens) void load(folder);
  }, [folder]);
  if (folder && !screens) return <Skeleton />;
  if (screens instanceof ApiError) return <ErrorState error={screens} onRetry={() => location.reload()} />;
  for (const s of screens ?? []) {
    const params = match(s.path, at);
    if (params) {
      const View = s.view;
      return <Guard key={at}><View params={params} /></Guard>;
    }
  }
  return <Page title={t("shell.notfound")}><Empty title={t("shell.notfound.text")} action={<LinkButton href="/" kind="primary">{t("shell.overview")}</LinkButton>} /></Page>;
}

// Guard keeps a screen that fails from taking the rest of the page with it.
class Guard extends Component<{ children: ComponentChildren }, { failed: string | null }> {
  override state = { failed: null };
  static override getDerivedStateFromError(e: unknown) {
    return { failed: String(e) };
  }
  override render() {
    if (this.state.failed === null) return this.props.children;
    return <ErrorState error={new ApiError(0, "page", "", this.state.failed)} onRetry={() => this.setState({ failed: null })} />;
  }
}

function App() {
  return (
    <Shell>
      {sessionError.value && <ErrorState error={sessionError.value} onRetry={() => void loadSession()} />}
      <Outlet />
    </Shell>
  );
}

async function start() {
  // The screen is fetched beside the texts and the session, not after them: each turn costs a slow network a fifth of a second.
  await Promise.all([setLanguage(preferred(), false), loadSession(), load(folderAt(path.value))]);
  const root = document.getElementById("page")!;
  root.replaceChildren();
  render(<App />, root);
}

void start();
