import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { api, ApiError } from "./index";

/** What a screen shows of one GET: data stays when a later request fails, with its age. */
export interface Load<T> {
  data: T | undefined;
  error: ApiError | undefined;
  loading: boolean;
  at: Date | undefined; // of the data
  reload: () => void;
  set: (data: T) => void; // what the API just answered to an edit
}

/**
 * Loads path, again when it changes and every everyMs while the page is seen. null: nothing is asked yet. Data of another
 * path is dropped at once unless keep is set, as for a filter that is being typed.
 */
export function useLoad<T>(path: string | null, o: { everyMs?: number; keep?: boolean } = {}): Load<T> {
  const [state, setState] = useState<{ path: string | null; data?: T; error?: ApiError; at?: Date; loading: boolean }>({ path: null, loading: path !== null });
  const [turn, setTurn] = useState(0);
  const newest = useRef(0);
  const reload = useCallback(() => setTurn((n) => n + 1), []);
  useEffect(() => {
    if (path === null) return;
    const mine = ++newest.current;
    const stop = new AbortController();
    setState((s) => (s.path === path || o.keep ? { ...s, loading: true } : { path, loading: true }));
    api.get<T>(path, { signal: stop.signal }).then(
      (data) => {
        if (mine === newest.current) setState({ path, data, at: new Date(), loading: false });
      },
      (e: unknown) => {
        if (mine !== newest.current || (e as Error).name === "AbortError") return;
        const error = e instanceof ApiError ? e : new ApiError(0, "page", "", String(e));
        setState((s) => ({ ...s, error, loading: false }));
      },
    );
    return () => stop.abort();
  }, [path, turn]);
  useEffect(() => {
    if (!o.everyMs || path === null) return;
    const timer = setInterval(() => {
      if (!document.hidden) reload();
    }, o.everyMs);
    return () => clearInterval(timer);
  }, [path, o.everyMs]);
  const mine = state.path === path || o.keep;
  return {
    data: mine ? state.data : undefined, error: mine ? state.error : undefined, loading: path !== null && (state.loading || !mine), at: mine ? state.at : undefined,
    reload, set: (data) => setState({ path, data, at: new Date(), loading: false }),
  };
}
