import { useMemo } from "preact/hooks";
import { useLoad } from "../../api";
import type { Choice } from "./combo";

/** What a CRM's account has, as GET /destinations/{name}/catalogue tells. */
export interface Catalogue {
  catalogue: { kind: string; at: string; entries: Entry[]; truncated?: boolean }[] | null;
  problem?: string;
}

export interface Entry {
  id: string;
  names: string[];
  type?: string;
  options?: string[];
}

/** The catalogue of a destination; nothing is asked while it has no name. */
export function useCatalogue(destination: string) {
  const load = useLoad<Catalogue>(destination ? `/destinations/${encodeURIComponent(destination)}/catalogue` : null);
  const of = useMemo(() => {
    const kinds = new Map((load.data?.catalogue ?? []).map((k) => [k.kind, k]));
    const choices = new Map<string, Choice[]>();
    for (const [kind, k] of kinds) {
      choices.set(kind, k.entries.map((e) => ({ value: e.names[0] ?? e.id, label: e.names[1] ?? e.names[0] ?? e.id, detail: [e.names[0], e.type].filter(Boolean).join(" · ") })));
    }
    return {
      choices: (kind: string): Choice[] => choices.get(kind) ?? [],
      field: (name: string): Entry | undefined => kinds.get("field")?.entries.find((e) => e.id === name || e.names.some((n) => n.toLowerCase() === name.toLowerCase())),
      known: kinds.has("field"),
      at: kinds.get("field")?.at,
      fields: kinds.get("field")?.entries ?? [],
    };
  }, [load.data]);
  return { load, ...of };
}
