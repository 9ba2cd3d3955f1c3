import type { ComponentChildren, VNode } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError } from "../../api";
import { t } from "../../i18n";
import { query, setQuery, useTitle, type Params } from "../../router";
import { Empty, ErrorState, Search, Skeleton, type Screen } from "../../ui";

interface Node { e?: string; t?: string; id?: string; href?: string; c?: Node[] }
interface Doc { name: string; title: string; body?: Node[] }

// The manual of this very version, served beside the page's own files.
function useDoc<T>(name: string): { data?: T; error?: ApiError } {
  const [got, setGot] = useState<{ name: string; data?: T; error?: ApiError }>({ name: "" });
  useEffect(() => {
    let left = false;
    fetch(`/assets/docs/${encodeURIComponent(name)}.json`).then(async (r) => {
      if (!r.ok) throw new ApiError(r.status, String(r.status), t("docs.none"), "");
      return (await r.json()) as T;
    }).then((data) => { if (!left) setGot({ name, data }); }, (e: unknown) => { if (!left) setGot({ name, error: e instanceof ApiError ? e : new ApiError(0, "unreachable", "", "") }); });
    return () => { left = true; };
  }, [name]);
  return got.name === name ? got : {};
}

function Docs({ params }: { params: Params }) {
  const name = params["page"] ?? "";
  const list = useDoc<Doc[]>("index");
  const wanted = (query.value["q"] ?? "").toLowerCase();
  const shown = (list.data ?? []).filter((d) => !wanted || `${d.title} ${d.name}`.toLowerCase().includes(wanted));
  return (
    <div class="docs">
      <nav aria-label={t("docs.title")}>
        <Search value={query.value["q"] ?? ""} onSearch={(q) => setQuery({ q })} label={t("docs.search")} />
        {list.error && <ErrorState error={list.error} />}
        <ul>{shown.map((d) => <li key={d.name}><a href={`/docs/${d.name}`} data-row="" aria-current={d.name === name ? "page" : undefined}>{d.title}</a></li>)}</ul>
      </nav>
      {name ? <Reader name={name} key={name} /> : <Start list={list.data} />}
    </div>
  );
}

function Start({ list }: { list: Doc[] | undefined }) {
  useTitle(t("docs.title"));
  return (
    <article>
      <h1>{t("docs.title")}</h1>
      <p class="muted">{t("docs.lead")}</p>
      {list && <ul>{list.map((d) => <li key={d.name}><a href={`/docs/${d.name}`}>{d.title}</a></li>)}</ul>}
    </article>
  );
}

function Reader({ name }: { name: string }) {
  const { data, error } = useDoc<Doc>(name);
  useTitle(data?.title ?? t("docs.title"));
  useEffect(() => {
    // The browser cannot go to an anchor that was not there yet.
    if (data && location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
  }, [data, location.hash]);
  if (error) return <article>{error.status === 404 ? <Empty title={t("docs.none")} /> : <ErrorState error={error} />}</article>;
  if (!data) return <article><Skeleton lines={10} /></article>;
  return <article lang="en" data-testid="doc">{(data.body ?? []).map((n, i) => <Piece key={i} n={n} />)}</article>;
}

const tags = new Set(["p", "h1", "h2", "h3", "h4", "ul", "ol", "li", "em", "strong", "blockquote", "hr", "tr", "th", "td"]);

// Piece makes elements of a document's nodes; what it does not know is shown as text.
function Piece({ n }: { n: Node }): VNode {
  const kids: ComponentChildren = n.c?.map((k, i) => <Piece key={i} n={k} />);
  if (!n.e) return <>{n.t}</>;
  if (n.e === "pre") return <pre tabIndex={0}><code>{n.t}</code></pre>;
  if (n.e === "code") return <code>{n.t}</code>;
  if (n.e === "table") return <div class="doctable" tabIndex={0} role="group" aria-label={t("docs.table")}><table><tbody>{kids}</tbody></table></div>;
  if (n.e === "a") return n.href ? <a href={n.href} rel={n.href.startsWith("http") ? "noreferrer noopener" : undefined} target={n.href.startsWith("http") ? "_blank" : undefined}>{kids}</a> : <>{kids}</>;
  if (!tags.has(n.e)) return <>{kids}</>;
  const Tag = n.e as "p";
  if (n.e === "hr") return <hr />;
  if (n.e === "th" && !n.c?.length) return <td />; // a corner heads nothing
  return <Tag id={n.id}>{kids}</Tag>;
}

export const routes: Screen[] = [{ path: "/docs", view: Docs }, { path: "/docs/:page", view: Docs }];
