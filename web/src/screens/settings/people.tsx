import { useState } from "preact/hooks";
import { api, ApiError, newKey, useLoad } from "../../api";
import { t } from "../../i18n";
import { session } from "../../session";
import { Badge, Button, Check, Code, Confirm, Dialog, Empty, ErrorState, Field, Loaded, Select, Table, TextInput, Time, toast } from "../../ui";

interface User { name: string; role: string; made_by: string; made_at: string; has_password: boolean; sessions: number }
interface Token { id: string; name: string; role: string; made_by: string; made_at: string; expires_at?: string; used_at?: string; expired: boolean }

const roles = ["viewer", "operator", "admin"];
const roleOptions = () => roles.map((r) => ({ value: r, label: t(`settings.role.${r}`) }));

type Change = { kind: "add" } | { kind: "role"; user: User } | { kind: "password"; user: User } | { kind: "remove"; user: User };

export function Users() {
  const load = useLoad<{ items: User[] | null }>("/users");
  const [change, setChange] = useState<Change>();
  const done = (text: string) => {
    setChange(undefined);
    toast(text);
    load.reload();
  };
  const remove = async (name: string) => {
    try {
      await api.del(`/users/${encodeURIComponent(name)}`);
      done(t("settings.users.removed", { name }));
    } catch (e) {
      setChange(undefined);
      toast((e as Error).message, "bad");
    }
  };
  return (
    <div class="stack">
      <p class="muted">{t("settings.users.lead")}</p>
      {session.value && !session.value.sign_in_required && <p class="remedy">{t("settings.users.open")}</p>}
      <Loaded load={load}>{(data) => (
        <>
          <div class="actions"><Button kind="primary" onClick={() => setChange({ kind: "add" })} testid="user-add">{t("settings.users.add")}</Button></div>
          {(data.items ?? []).length === 0 ? <Empty title={t("settings.users.empty")}>{t("settings.users.empty.text")}</Empty> : (
            <Table caption={t("settings.users")} rows={data.items!} id={(u) => u.name} testid="users" columns={[
              { key: "name", head: t("settings.name"), cell: (u) => u.name },
              { key: "role", head: t("settings.role"), cell: (u) => <Badge tone={u.role === "admin" ? "info" : "none"}>{t(`settings.role.${u.role}`)}</Badge> },
              { key: "sessions", head: t("settings.sessions"), align: "end", small: "hide", cell: (u) => u.sessions },
              { key: "made", head: t("settings.made"), small: "hide", cell: (u) => <><Time at={u.made_at} /> · {u.made_by}</> },
              { key: "act", head: <span class="hidden">{t("settings.act")}</span>, cell: (u) => (
                <div class="actions">
                  <Button kind="quiet" label={`${t("settings.role.change")}: ${u.name}`} onClick={() => setChange({ kind: "role", user: u })}>{t("settings.role")}</Button>
                  <Button kind="quiet" label={`${t("settings.password.change")}: ${u.name}`} onClick={() => setChange({ kind: "password", user: u })}>{t("settings.password")}</Button>
                  <Button kind="quiet" label={`${t("settings.remove")}: ${u.name}`} onClick={() => setChange({ kind: "remove", user: u })}>{t("settings.remove")}</Button>
                </div>
              ) },
            ]} />
          )}
        </>
      )}</Loaded>
      {change && change.kind !== "remove" && <UserDialog change={change} onClose={() => setChange(undefined)} onDone={done} />}
      {change?.kind === "remove" && <Confirm open title={t("settings.users.remove", { name: change.user.name })} confirm={t("settings.remove")} onClose={() => setChange(undefined)} onConfirm={() => void remove(change.user.name)}>
        {t("settings.users.remove.text", { n: change.user.sessions })}
      </Confirm>}
    </div>
  );
}

function UserDialog({ change, onClose, onDone }: { change: Exclude<Change, { kind: "remove" }>; onClose: () => void; onDone: (text: string) => void }) {
  const [name, setName] = useState("");
  const [role, setRole] = useState(change.kind === "role" ? change.user.role : "viewer");
  const [password, setPassword] = useState("");
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const title = change.kind === "add" ? t("settings.users.add") : `${t(change.kind === "role" ? "settings.role.change" : "settings.password.change")}: ${change.user.name}`;
  const save = async (e: Event) => {
    e.preventDefault();
    setBusy(true);
    try {
      if (change.kind === "add") await api.post("/users", { name: name.trim(), role, password }, { key: newKey() });
      else await api.patch(`/users/${encodeURIComponent(change.user.name)}`, change.kind === "role" ? { role } : { password });
      onDone(t("settings.saved"));
    } catch (x) {
      if (!(x instanceof ApiError)) throw x;
      setError(x);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Dialog open title={title} onClose={onClose}>
      <form class="stack" onSubmit={save}>
        {change.kind === "add" && <Field label={t("settings.name")} error={error?.field === "name" ? error.detail : undefined}><TextInput value={name} onInput={setName} required autofocus testid="user-name" /></Field>}
        {change.kind !== "password" && <Field label={t("settings.role")} hint={t(`settings.role.${role}.text`)}><Select value={role} onChange={setRole} options={roleOptions()} testid="user-role" /></Field>}
        {change.kind !== "role" && <Field label={t("settings.password")} hint={t("settings.password.hint")}><TextInput type="password" autocomplete="new-password" value={password} onInput={setPassword} required testid="user-password" /></Field>}
        {error && <ErrorState error={error} />}
        <div class="actions"><Button type="submit" kind="primary" busy={busy} testid="user-save">{t("ui.save")}</Button><Button onClick={onClose}>{t("ui.cancel")}</Button></div>
      </form>
    </Dialog>
  );
}

export function Tokens() {
  const load = useLoad<{ items: Token[] | null }>("/tokens");
  const [making, setMaking] = useState(false);
  const [revoking, setRevoking] = useState<Token>();
  const revoke = async (token: Token) => {
    setRevoking(undefined);
    try {
      await api.del(`/tokens/${encodeURIComponent(token.id)}`);
      toast(t("settings.tokens.revoked", { name: token.name }));
      load.reload();
    } catch (e) {
      toast((e as Error).message, "bad");
    }
  };
  return (
    <div class="stack">
      <p class="muted">{t("settings.tokens.lead")}</p>
      <Loaded load={load}>{(data) => (
        <>
          <div class="actions"><Button kind="primary" onClick={() => setMaking(true)} testid="token-add">{t("settings.tokens.add")}</Button></div>
          {(data.items ?? []).length === 0 ? <Empty title={t("settings.tokens.empty")}>{t("settings.tokens.empty.text")}</Empty> : (
            <Table caption={t("settings.tokens")} rows={data.items!} id={(x) => x.id} testid="tokens" columns={[
              { key: "name", head: t("settings.name"), cell: (x) => x.name },
              { key: "role", head: t("settings.role"), cell: (x) => <Badge>{t(`settings.role.${x.role}`)}</Badge> },
              { key: "used", head: t("settings.tokens.used"), cell: (x) => (x.used_at ? <Time at={x.used_at} /> : t("settings.never")) },
              { key: "expires", head: t("settings.tokens.expires"), cell: (x) => (x.expired ? <Badge tone="bad">{t("settings.tokens.expired")}</Badge> : x.expires_at ? x.expires_at.slice(0, 10) : t("settings.never")) },
              { key: "made", head: t("settings.made"), small: "hide", cell: (x) => <><Time at={x.made_at} /> · {x.made_by}</> },
              { key: "act", head: <span class="hidden">{t("settings.act")}</span>, cell: (x) => <Button kind="quiet" label={`${t("settings.tokens.revoke")}: ${x.name}`} onClick={() => setRevoking(x)}>{t("settings.tokens.revoke")}</Button> },
            ]} />
          )}
        </>
      )}</Loaded>
      {making && <TokenDialog onClose={() => { setMaking(false); load.reload(); }} />}
      {revoking && <Confirm open title={t("settings.tokens.revoke.title", { name: revoking.name })} confirm={t("settings.tokens.revoke")} onClose={() => setRevoking(undefined)} onConfirm={() => void revoke(revoking)}>{t("settings.tokens.revoke.text")}</Confirm>}
    </div>
  );
}

function TokenDialog({ onClose }: { onClose: () => void }) {
  const [name, setName] = useState("");
  const [role, setRole] = useState("viewer");
  const [until, setUntil] = useState("");
  const [never, setNever] = useState(false);
  const [secret, setSecret] = useState("");
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const make = async (e: Event) => {
    e.preventDefault();
    setBusy(true);
    try {
      const made = await api.post<{ secret: string }>("/tokens", { name: name.trim(), role, ...(never ? { never } : until ? { expires_at: `${until}T00:00:00Z` } : {}) });
      setSecret(made.secret);
    } catch (x) {
      if (!(x instanceof ApiError)) throw x;
      setError(x);
    } finally {
      setBusy(false);
    }
  };
  if (secret) {
    return (
      <Dialog open title={t("settings.tokens.made")} onClose={onClose} fixed testid="secret" actions={<Button kind="primary" onClick={onClose}>{t("settings.tokens.kept")}</Button>}>
        <p>{t("settings.tokens.once")}</p><Code text={secret} label={t("settings.tokens.secret")} />
      </Dialog>
    );
  }
  return (
    <Dialog open title={t("settings.tokens.add")} onClose={onClose}>
      <form class="stack" onSubmit={make}>
        <Field label={t("settings.tokens.for")}><TextInput value={name} onInput={setName} required autofocus testid="token-name" /></Field>
        <Field label={t("settings.role")} hint={t(`settings.role.${role}.text`)}><Select value={role} onChange={setRole} options={roleOptions()} /></Field>
        {!never && <Field label={t("settings.tokens.expires")} hint={t("settings.tokens.expires.hint")} optional><TextInput type="date" value={until} onInput={setUntil} /></Field>}
        <Check label={t("settings.tokens.never")} checked={never} onChange={setNever} />
        {error && <ErrorState error={error} />}
        <div class="actions"><Button type="submit" kind="primary" busy={busy} testid="token-save">{t("settings.tokens.make")}</Button><Button onClick={onClose}>{t("ui.cancel")}</Button></div>
      </form>
    </Dialog>
  );
}
