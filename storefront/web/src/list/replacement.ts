/** The cards on the counter and the spares behind it. Pure: every change makes a new list. */
import type { Prediction, Ranked } from "../api/shapes";

/** An article in a list, with the list that it came from: events are told with it. */
export interface Card {
  articleId: string;
  score: number;
  listId: string | undefined;
  /** Its place in that list, from 1. */
  place: number;
}

export interface Counter {
  /** What is seen; a place is empty where there was no spare. */
  shown: Card[];
  spares: Card[];
  /** What was bought or dismissed since the customer came: never offered again, whatever a late answer says. */
  gone: ReadonlySet<string>;
}

export const EMPTY: Counter = { shown: [], spares: [], gone: new Set() };

const cardsOf = (ranking: Ranked[], listId: string | undefined): Card[] =>
  ranking.map(([score, articleId], at) => ({ articleId, score, listId, place: at + 1 }));

/** A new list: the best `size` are shown, the others are spares. */
export function laidOut(
  prediction: Pick<Prediction, "ranking" | "list_id">,
  size: number,
  gone: ReadonlySet<string> = new Set(),
): Counter {
  const cards = distinct(cardsOf(prediction.ranking, prediction.list_id)).filter((card) => !gone.has(card.articleId));
  return { shown: cards.slice(0, size), spares: cards.slice(size), gone };
}

/** The list after an article was bought or dismissed: the best spare stands in its place. */
export function replaced(counter: Counter, articleId: string): { counter: Counter; by: Card | null } {
  const gone = new Set(counter.gone).add(articleId);
  const at = counter.shown.findIndex((card) => card.articleId === articleId);
  const spares = counter.spares.filter((card) => card.articleId !== articleId);
  if (at < 0) return { counter: { ...counter, spares, gone }, by: null };
  const [next, ...others] = spares;
  const shown = counter.shown.toSpliced(at, 1, ...(next ? [next] : []));
  return { counter: { shown, spares: others, gone }, by: next ?? null };
}

/** The list with spares of a newer answer; what is seen stays where it is, and empty places are filled. */
export function restocked(
  counter: Counter,
  prediction: Pick<Prediction, "ranking" | "list_id">,
  size: number,
): Counter {
  const seen = new Set(counter.shown.map((card) => card.articleId));
  const fresh = distinct(cardsOf(prediction.ranking, prediction.list_id)).filter(
    (card) => !seen.has(card.articleId) && !counter.gone.has(card.articleId),
  );
  const room = Math.max(0, size - counter.shown.length);
  return { shown: [...counter.shown, ...fresh.slice(0, room)], spares: fresh.slice(room), gone: counter.gone };
}

/** The highest score among cards. */
export const best = (cards: Card[]) => Math.max(0, ...cards.map((card) => card.score));

function distinct(cards: Card[]): Card[] {
  const ids = new Set<string>();
  return cards.filter((card) => !ids.has(card.articleId) && ids.add(card.articleId));
}
