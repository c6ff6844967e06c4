/** An outfit on the table: what came so far, what was bought of it, and what is told of it. */
import { useEffect, useRef, useState } from "preact/hooks";
import { type Failure, failureOf, search } from "../api/client";
import type { Article, Articles, Kind, Profile, StylistDone, StylistItem } from "../api/shapes";
import { type Card, type Counter, laidOut, replaced } from "../list/replacement";
import { events, happening, say } from "../shop";
import type { Shopper } from "../shopper/shopper";
import { consult, type Wish } from "./consult";

/** How many articles of a piece are seen; the others are spares. */
export const SEEN = 5;

export interface Piece {
  emoji: string;
  category: string;
  description: string;
  counter: Counter;
}

export interface Outfit {
  state: "idle" | "waiting" | "coming" | "done" | "failed" | "stopped";
  pieces: Piece[];
  articles: Articles;
  summary: string | null;
  profile: Profile | null;
  gender: string | null;
  done: StylistDone | null;
  failure: Failure | null;
}

const NOTHING: Outfit = {
  state: "idle",
  pieces: [],
  articles: {},
  summary: null,
  profile: null,
  gender: null,
  done: null,
  failure: null,
};

type Told = { kind: Kind; articleId: string; once: boolean };

export function useStylist(person: Shopper) {
  const [outfit, setOutfit] = useState<Outfit>(NOTHING);
  const asking = useRef<AbortController | null>(null);
  /** What happened before the list had a name: it is told with it. */
  const early = useRef<Told[]>([]);
  const listId = useRef<string | undefined>(undefined);
  const gone = useRef(new Set<string>());
  const coming = outfit.state === "waiting" || outfit.state === "coming";

  const pass = ({ kind, articleId, once }: Told) => {
    const event = happening(kind, person, articleId, listId.current);
    if (once) events.tellOnce(event);
    else events.tell(event);
  };
  const tellEarly = () => early.current.splice(0).forEach(pass);
  const tell = (kind: Kind, articleId: string) => {
    const told = { kind, articleId, once: kind === "shown" };
    if (coming) early.current.push(told);
    else pass(told);
  };

  useEffect(
    () => () => {
      asking.current?.abort();
      tellEarly();
    },
    [],
  );

  const begin = () => {
    asking.current?.abort();
    tellEarly();
    listId.current = undefined;
    const wanted = new AbortController();
    asking.current = wanted;
    setOutfit({ ...NOTHING, state: "waiting" });
    return wanted;
  };
  const end = (wanted: AbortController, failure: Failure | null) => {
    if (wanted !== asking.current) return;
    tellEarly();
    if (failure)
      setOutfit((before) => ({ ...before, state: failure.code === "aborted" ? "stopped" : "failed", failure }));
  };

  const wish = async (asked: Wish) => {
    const wanted = begin();
    const change = (make: (before: Outfit) => Outfit) => wanted === asking.current && setOutfit(make);
    try {
      await consult(
        asked,
        {
          profile: (profile, gender) =>
            change((before) => ({ ...before, profile: profile ?? null, gender: gender ?? null })),
          item: (item) => change((before) => withItem(before, item, gone.current)),
          summary: (summary) => change((before) => ({ ...before, summary })),
          done: (done) => {
            if (wanted === asking.current) listId.current = done.list_id;
            change((before) => ({ ...before, state: "done", done }));
          },
        },
        wanted.signal,
      );
      end(wanted, null);
    } catch (thrown) {
      end(wanted, failureOf(thrown));
    }
  };

  /** Words without a language model: one piece, the nearest articles. */
  const look = async (query: Record<string, unknown> & { query: string }) => {
    const wanted = begin();
    try {
      const { prediction, articles } = await search({ ...query, k: 20 }, { signal: wanted.signal });
      if (wanted !== asking.current) return;
      listId.current = prediction.list_id;
      const { ranking, ...info } = prediction;
      const item = {
        index: 0,
        emoji: "🔎",
        category: "Found",
        description: query.query,
        articles: ranking,
        details: articles,
      };
      setOutfit({ ...withItem(NOTHING, item, gone.current, 10), state: "done", done: info });
      end(wanted, null);
    } catch (thrown) {
      end(wanted, failureOf(thrown));
    }
  };

  const act = (kind: "purchase" | "dismiss", at: number, card: Card): number => {
    const piece = outfit.pieces[at];
    if (!piece) return -1;
    const slot = piece.counter.shown.findIndex((each) => each.articleId === card.articleId);
    const { counter, by } = replaced(piece.counter, card.articleId);
    gone.current.add(card.articleId);
    setOutfit((before) => ({ ...before, pieces: before.pieces.with(at, { ...piece, counter }) }));
    tell(kind, card.articleId);
    if (!coming) events.flush().catch(() => undefined);
    const name = (id: string) => (outfit.articles[id] as Article | undefined)?.prod_name ?? id;
    say(
      `${kind === "purchase" ? "Bought" : "Put away"}: ${name(card.articleId)}.${by ? ` Instead: ${name(by.articleId)}.` : ""}`,
    );
    return slot;
  };

  return { outfit, coming, wish, look, stop: () => asking.current?.abort(), act, tell };
}

function withItem(before: Outfit, item: StylistItem, gone: ReadonlySet<string>, size = SEEN): Outfit {
  const piece = {
    emoji: item.emoji,
    category: item.category,
    description: item.description,
    counter: laidOut({ ranking: item.articles }, size, gone),
  };
  return {
    ...before,
    state: "coming",
    pieces: [...before.pieces, piece],
    articles: { ...before.articles, ...item.details },
  };
}
