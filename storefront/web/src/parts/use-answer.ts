/** An answer that is asked for while somebody looks, and given up when nobody does. */
import { useCallback, useEffect, useState } from "preact/hooks";
import { type Failure, failureOf } from "../api/client";

export interface Answer<T> {
  value: T | null;
  failure: Failure | null;
  waiting: boolean;
  again(): void;
}

/** Asks anew whenever `key` changes; `null` asks nothing. The last answer is gone with its key. */
export function useAnswer<T>(key: string | null, question: (signal: AbortSignal) => Promise<T>): Answer<T> {
  const [told, tell] = useState<{ key: string | null; value: T | null; failure: Failure | null }>({
    key,
    value: null,
    failure: null,
  });
  const [times, setTimes] = useState(0);
  useEffect(() => {
    if (key === null) return;
    const wanted = new AbortController();
    question(wanted.signal).then(
      (value) => !wanted.signal.aborted && tell({ key, value, failure: null }),
      (thrown) => !wanted.signal.aborted && tell({ key, value: null, failure: failureOf(thrown) }),
    );
    return () => wanted.abort();
  }, [key, times]);
  const again = useCallback(() => {
    tell({ key: null, value: null, failure: null });
    setTimes((count) => count + 1);
  }, []);
  const current = key !== null && told.key === key;
  const { value, failure } = current ? told : { value: null, failure: null };
  return { value, failure, waiting: key !== null && !value && !failure, again };
}
