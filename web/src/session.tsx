import { signal } from "@preact/signals";
import { useState } from "preact/hooks";
import { api, ApiError, forgetWaiting, signedIn, signInNeeded } from "./api";
import { t } from "./i18n";
import { Button, Dialog, ErrorState, Field, TextInput } from "./ui";

export interface Session {
  user: { name: string; role: string } | null;
  sign_in_required: boolean;
  version: string;
  environments: string[];
  language?: string;
}

export const session = signal<Session | null>(null);
export const sessionError = signal<ApiError | null>(null);

const roles = ["anyone", "viewer", "operator", "admin"];

/** Whether who is signed in may do what role may. Where nobody signs in, everybody may. The API decides; this only hides. */
export function may(role: "viewer" | "operator" | "admin"): boolean {
  const s = session.value;
  if (!s || !s.sign_in_required) return true;
  return roles.indexOf(s.user?.role.toLowerCase() ?? "anyone") >= roles.indexOf(role);
}

/** The environment that is counted where none is chosen: live, unless there is only another. */
export function usualEnvironment(): string {
  const worlds = session.value?.environments ?? [];
  return worlds.length && !worlds.includes("live") ? worlds[0]! : "live";
}

/** Who asks for a job, a pause or a decision. */
export function by(): string {
  return session.value?.user?.name || "page";
}

export async function loadSession(): Promise<void> {
  try {
    session.value = await api.get<Session>("/session", { anonymous: true });
    sessionError.value = null;
    if (session.value.sign_in_required && !session.value.user) signInNeeded.value = true;
  } catch (e) {
    if (e instanceof ApiError && e.status === 401) signInNeeded.value = true;
    else if (e instanceof ApiError) sessionError.value = e;
  }
}

export async function signOut(): Promise<void> {
  forgetWaiting();
  await api.del("/session");
  await loadSession();
}

/** The form, in the dialog over a page whose session ended and on the screen of its own. */
export function SignInForm({ onDone }: { onDone: () => void }) {
  const [name, setName] = useState(session.value?.user?.name ?? "");
  const [password, setPassword] = useState("");
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const submit = async (e: Event) => {
    e.preventDefault();
    setBusy(true);
    setError(undefined);
    try {
      await api.post("/session", { name: name.trim(), password }, { anonymous: true });
      await loadSession();
      setPassword("");
      signedIn();
      onDone();
    } catch (e) {
      if (!(e instanceof ApiError)) throw e;
      setError(e);
    } finally {
      setBusy(false);
    }
  };
  return (
    <form class="signin" onSubmit={submit}>
      <Field label={t("shell.signin.name")}><TextInput value={name} onInput={setName} name="username" autocomplete="username" required autofocus testid="signin-name" /></Field>
      <Field label={t("shell.signin.password")}><TextInput type="password" value={password} onInput={setPassword} name="password" autocomplete="current-password" required testid="signin-password" /></Field>
      {error && <ErrorState error={error} />}
      <Button type="submit" kind="primary" busy={busy} testid="signin-go">{t("shell.signin")}</Button>
    </form>
  );
}

/** Over whatever is shown: nothing typed there is lost, and what was asked goes on afterwards. */
export function SignInDialog() {
  return (
    <Dialog open={signInNeeded.value} title={t("shell.signin")} onClose={() => undefined} fixed testid="signin">
      <p class="muted">{session.value?.user ? t("shell.signin.again") : t("shell.signin.why")}</p>
      <SignInForm onDone={() => undefined} />
    </Dialog>
  );
}
