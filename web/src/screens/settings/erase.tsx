import { useState } from "preact/hooks";
import { api, ApiError, newKey, useLoad } from "../../api";
import { number, t } from "../../i18n";
import { by } from "../../session";
import { Badge, Button, Card, Confirm, Empty, ErrorState, Facts, Field, Loaded, Table, TextInput, Time, toast } from "../../ui";

interface Erasure {
  id: string; state: string; problem?: string; dry_run?: boolean; lifted?: boolean; subject?: string; pseudonym?: string; by: string; at: string; done_at?: string; orders: number; contacts: number;
  tables: Record<string, number> | null; destinations?: string[]; remaining?: string[];
}

const watchMs = 5_000;

/** A person is forgotten: counted first, confirmed with the address typed again, and with a receipt. */
export function Erase() {
  const load = useLoad<{ items: Erasure[] | null }>("/erasures", { everyMs: watchMs });
  const [email, setEmail] = useState("");
  const [counted, setCounted] = useState<{ email: string; got: Erasure }>();
  const [sure, setSure] = useState(false);
  const [typed, setTyped] = useState("");
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const ask = async (dry: boolean) => {
    setBusy(true);
    setError(undefined);
    const address = dry ? email.trim() : counted!.email;
    try {
      const got = await api.post<Erasure>("/erasures", dry ? { email: address, by: by(), dry_run: true } : { email: address, by: by(), confirm: true }, dry ? {} : { key: newKey() });
      if (dry) setCounted({ email: address, got });
      else {
        toast(t("settings.erase.begun"));
        setCounted(undefined);
        setEmail("");
        load.reload();
      }
    } catch (e) {
      if (!(e instanceof ApiError)) throw e;
      setError(e);
    } finally {
      setBusy(false);
      setSure(false);
      setTyped("");
    }
  };
  return (
    <div class="stack">
      <Card title={t("settings.erase.title")}>
        <p class="muted">{t("settings.erase.lead")}</p>
        <form class="stack narrow" onSubmit={(e) => { e.preventDefault(); void ask(true); }}>
          <Field label={t("events.email")}><TextInput type="email" value={email} onInput={(v) => { setEmail(v); setCounted(undefined); }} required testid="erase-email" /></Field>
          {error && <ErrorState error={error} />}
          <div class="actions"><Button type="submit" busy={busy && !counted} testid="erase-count">{t("settings.erase.count")}</Button></div>
        </form>
        {counted && (
          <div class="stack counted" data-testid="erase-counted">
            <Facts list={[[t("events.orders"), number(counted.got.orders)], [t("events.contacts"), number(counted.got.contacts)], ...Object.entries(counted.got.tables ?? {}).map(([table, n]): [string, string] => [table, number(n)]), [t("settings.erase.destinations"), counted.got.destinations?.join(", ")]]} />
            {counted.got.remaining?.length ? <><h3>{t("settings.erase.remaining")}</h3><ul>{counted.got.remaining.map((r) => <li key={r}>{r}</li>)}</ul></> : null}
            <div class="actions"><Button kind="danger" onClick={() => setSure(true)} testid="erase-go">{t("settings.erase.go")}</Button></div>
          </div>
        )}
      </Card>
      {counted && <Confirm open={sure} title={t("settings.erase.sure")} confirm={t("settings.erase.go")} busy={busy} disabled={typed.trim() !== counted.email} onClose={() => setSure(false)} onConfirm={() => void ask(false)}>
        <div class="stack"><p>{t("settings.erase.sure.text", { orders: counted.got.orders, contacts: counted.got.contacts })}</p>
          <Field label={t("settings.erase.again", { email: counted.email })}><TextInput value={typed} onInput={setTyped} testid="erase-typed" /></Field></div>
      </Confirm>}
      <Loaded load={load}>{(data) => (data.items ?? []).length === 0 ? <Empty title={t("settings.erase.empty")} /> : (
        <Table caption={t("settings.erase.receipts")} rows={data.items!} id={(e) => e.id} testid="erasures" columns={[
          { key: "id", head: t("settings.erase.receipt"), cell: (e) => <code>{e.pseudonym || e.id}</code> },
          { key: "state", head: t("issues.state"), cell: (e) => <Badge tone={e.state === "done" ? "good" : e.state === "failed" ? "bad" : "info"} title={e.problem ?? ""}>{t(`settings.erase.state.${e.state}`)}</Badge> },
          { key: "orders", head: t("events.orders"), align: "end", small: "hide", cell: (e) => number(e.orders) },
          { key: "remaining", head: t("settings.erase.remaining"), small: "hide", cell: (e) => e.remaining?.join("; ") ?? "" },
          { key: "by", head: t("jobs.by"), small: "hide", cell: (e) => e.by },
          { key: "at", head: t("issues.at"), cell: (e) => <Time at={e.at} /> },
        ]} />
      )}</Loaded>
    </div>
  );
}
