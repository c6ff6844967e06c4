/** An article on the counter. */
import { useEffect, useRef } from "preact/hooks";
import type { Article } from "../api/shapes";
import type { Card as InList } from "../list/replacement";
import { Picture } from "./picture";
import { priceStep, scored, whatIs } from "./words";

interface Props {
  card: InList;
  article: Article | undefined;
  /** Its place on the counter, from 0. */
  slot: number;
  /** The highest score that is seen: bars are parts of it. */
  best: number;
  /** The ranker has no score for it: the list is in the order of retrieval. */
  unscored?: boolean;
  onOpen(): void;
  onBuy(): void;
  onDismiss?: () => void;
  /** Told when it was really seen. */
  onSeen(): void;
}

export function Card({ card, article, slot, best, unscored, onOpen, onBuy, onDismiss, onSeen }: Props) {
  const self = useRef<HTMLLIElement>(null);
  useSeen(self, onSeen);
  const name = article?.prod_name ?? card.articleId;
  return (
    <li class="card" ref={self} data-testid="card" data-article={card.articleId} data-slot={slot}>
      <button type="button" class="card-open" onClick={onOpen} aria-haspopup="dialog">
        {article && <Picture article={article} />}
        <span class="card-name" dir="auto">
          {name}
        </span>
      </button>
      <p class="card-what" dir="auto">
        {article ? whatIs(article) : card.articleId}
      </p>
      <p class="card-facts">
        <span class="score" title={`Place ${card.place} of its list`}>
          {unscored ? "no score" : <Score score={card.score} best={best} />}
        </span>
        {article?.price != null && <Price price={article.price} />}
      </p>
      <div class="card-acts">
        <button type="button" class="buy" onClick={onBuy} aria-label={`Buy ${name}`}>
          Buy
        </button>
        {onDismiss && (
          <button type="button" class="dismiss" onClick={onDismiss} aria-label={`Not for me: ${name}`}>
            Not for me
          </button>
        )}
      </div>
    </li>
  );
}

function Score({ score, best }: { score: number; best: number }) {
  const part = best > 0 ? Math.min(1, Math.max(0, score / best)) : 0;
  return (
    <>
      <svg viewBox="0 0 52 6" aria-hidden="true">
        <rect class="rest" width="52" height="6" rx="3" />
        <rect width={Math.max(3, 52 * part)} height="6" rx="3" />
      </svg>
      <span>
        <span class="unseen">Score </span>
        {scored(score)}
      </span>
    </>
  );
}

/** A price with a currency unknown; the data's own prices are steps of a ladder. */
export function Price({ price }: { price: number }) {
  if (price >= 1) return <span class="price">{price.toFixed(2)}</span>;
  const step = priceStep(price);
  const label = `Price step ${step} of 5`;
  return (
    <span
      class="price steps"
      role="img"
      aria-label={label}
      title={`${label}: ${price.toPrecision(3)} in the data's own unit`}
    >
      {"●".repeat(step)}
      <span>{"●".repeat(5 - step)}</span>
    </span>
  );
}

/** Tells once that at least half of an element was in sight for half a second. */
function useSeen(element: { current: Element | null }, onSeen: () => void): void {
  const latest = useRef(onSeen);
  latest.current = onSeen;
  useEffect(() => {
    if (!element.current) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const observer = new IntersectionObserver(
      ([entry]) => {
        clearTimeout(timer);
        if (entry?.isIntersecting && document.visibilityState === "visible")
          timer = setTimeout(() => {
            observer.disconnect();
            latest.current();
          }, 500);
      },
      { threshold: 0.5 },
    );
    observer.observe(element.current);
    return () => {
      clearTimeout(timer);
      observer.disconnect();
    };
  }, [element]);
}
