/** A customer's list on the counter: asked for, replaced in, and restocked. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type Failure, failureOf, recommend } from "../api/client";
import type { Article, Articles, Kind, Prediction } from "../api/shapes";
import { events, happening, instanceOf, say } from "../shop";
import type { Shopper } from "../shopper/shopper";
import { type Card, type Counter, EMPTY, laidOut, replaced, restocked } from "./replacement";

/** How many cards are seen, and how many are asked for: the others are spares. */
export const SHOWN = 12;
const ASKED = 24;

/** How long a list waits for what was done to be known, in ms. */
const PATIENCE = 1_500;

export interface Listing {
  counter: Counter;
  articles: Articles;
  prediction: Prediction | null;
  failure: Failure | null;
  waiting: boolean;
}

const NOTHING: Listing = { counter: EMPTY, articles: {}, prediction: null, failure: null, waiting: true };

export interface List extends Listing {
  refresh(): void;
  /** Buys or dismisses what is on the counter; the answer is the place where its replacement stands. */
  act(kind: "purchase" | "dismiss", card: Card): number;
  tell(kind: Kind, card: Card): void;
}

/** The list of a person by a ranker; another person or ranker is another list. */
export function useList(person: Shopper, ranker: string | undefined): List {
  const [listing, setListing] = useState<Listing>(NOTHING);
  const latest = useRef(listing);
  const asking = useRef<AbortController | null>(null);
  const set = useCallback((next: Listing) => {
    latest.current = next;
    setListing(next);
  }, []);

  /** Asks for a list; a newer question ends an older one. */
  const ask = useCallback(
    async (take: (prediction: Prediction, articles: Articles) => void, fail: (failure: Failure) => void) => {
      asking.current?.abort();
      const wanted = new AbortController();
      asking.current = wanted;
      try {
        const answer = await recommend({ ...instanceOf(person), k: ASKED }, { signal: wanted.signal });
        if (!wanted.signal.aborted) take(answer.prediction, answer.articles);
      } catch (thrown) {
        if (!wanted.signal.aborted) fail(failureOf(thrown));
      }
    },
    [person],
  );

  const refresh = useCallback(() => {
    asking.current?.abort();
    const { gone } = latest.current.counter;
    set({ ...NOTHING, counter: { ...EMPTY, gone } });
    // What was done just now must be known before the list is asked for; where it can't be, `gone` remembers.
    const known = events.flush().catch(() => undefined);
    const patience = new Promise((go) => setTimeout(go, PATIENCE));
    void Promise.race([known, patience]).then(() =>
      ask(
        (prediction, articles) =>
          set({ counter: laidOut(prediction, SHOWN, gone), articles, prediction, failure: null, waiting: false }),
        (failure) => set({ ...latest.current, failure, waiting: false }),
      ),
    );
  }, [ask, set]);

  const restock = useCallback(
    () =>
      ask(
        (prediction, articles) => {
          const { counter, articles: known } = latest.current;
          set({
            ...latest.current,
            counter: restocked(counter, prediction, SHOWN),
            articles: { ...known, ...articles },
            prediction,
          });
        },
        // The spares at hand do for now, and the next act asks again.
        () => undefined,
      ),
    [ask, set],
  );

  useEffect(() => {
    refresh();
    return () => asking.current?.abort();
  }, [refresh, ranker]);

  const act = (kind: "purchase" | "dismiss", card: Card): number => {
    const slot = latest.current.counter.shown.findIndex((each) => each.articleId === card.articleId);
    const { counter, by } = replaced(latest.current.counter, card.articleId);
    set({ ...latest.current, counter });
    events.tell(happening(kind, person, card.articleId, card.listId));
    const { articles } = latest.current;
    say(
      `${kind === "purchase" ? "Bought" : "Put away"}: ${named(articles, card.articleId)}.${by ? ` Instead: ${named(articles, by.articleId)}.` : ""}`,
    );
    void events.flush().then(restock, () => undefined);
    return slot;
  };

  const tell = (kind: Kind, card: Card) => {
    const event = happening(kind, person, card.articleId, card.listId);
    if (kind === "shown") events.tellOnce(event);
    else events.tell(event);
  };

  return { ...listing, refresh, act, tell };
}

const named = (articles: Record<string, Article>, id: string) => articles[id]?.prod_name ?? id;
