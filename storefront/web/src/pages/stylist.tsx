/** From words to an outfit. */
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Gender } from "../api/shapes";
import { best, type Card as InList } from "../list/replacement";
import { Card } from "../parts/card";
import { Details } from "../parts/details";
import { drawsEmoji } from "../parts/emoji";
import { Fault } from "../parts/fault";
import { today } from "../shop";
import { guest, shopper } from "../shopper/shopper";
import { Desk } from "../stylist/desk";
import { Told } from "../stylist/told";
import { type Outfit, type Piece, useStylist } from "../stylist/use-stylist";

export interface Question {
  words: string;
  gender: Gender;
  /** Whether what is known of the customer is used. */
  personal: boolean;
  /** Whether a language model is asked, or the nearest articles are looked for. */
  mode: "outfit" | "search";
}

export function Stylist() {
  const customer = shopper.value;
  const person = useMemo(() => customer ?? guest(), [customer]);
  const stylist = useStylist(person);
  const [asked, setAsked] = useState<Question | null>(null);
  const [open, setOpen] = useState<{ at: number; card: InList } | null>(null);
  const { outfit } = stylist;

  const ask = (question: Question) => {
    setAsked(question);
    const who = {
      gender: question.gender,
      ...(question.personal && customer ? { customer_id: customer.id } : {}),
      transaction_date: today(),
    };
    if (question.mode === "outfit") void stylist.wish({ request: question.words, ...who });
    else void stylist.look({ query: question.words, ...who });
  };
  const act = (kind: "purchase" | "dismiss", at: number, card: InList) => {
    setOpen(null);
    return stylist.act(kind, at, card);
  };

  const opened = open && outfit.articles[open.card.articleId];
  return (
    <div class="page">
      <div class="page-head">
        <div>
          <p class="eyebrow">In your own words</p>
          <h1>The stylist</h1>
        </div>
      </div>
      <Desk customer={customer} coming={stylist.coming} onAsk={ask} onStop={stylist.stop} />
      {asked && <Told outfit={outfit} words={asked.words} mode={asked.mode} />}
      <p class="unseen" role="status">
        {spoken(outfit)}
      </p>
      <div class="outfit" data-testid="outfit">
        {outfit.pieces.map((piece, at) => (
          <Rail
            key={at}
            piece={piece}
            articles={outfit.articles}
            onOpen={(card) => {
              stylist.tell("click", card.articleId);
              setOpen({ at, card });
            }}
            onAct={(kind, card) => act(kind, at, card)}
            onSeen={(card) => stylist.tell("shown", card.articleId)}
          />
        ))}
      </div>
      {stylist.coming && <Waiting first={outfit.pieces.length === 0} />}
      {outfit.state === "failed" && asked && (
        <Fault small title="The stylist could not answer" failure={outfit.failure} retry={() => ask(asked)} />
      )}
      {open && opened && (
        <Details
          card={open.card}
          article={opened}
          instance={null}
          onBuy={() => act("purchase", open.at, open.card)}
          onDismiss={() => act("dismiss", open.at, open.card)}
          onClose={() => setOpen(null)}
        />
      )}
    </div>
  );
}

/** What is said of an outfit to those who do not see it come. */
function spoken({ state, pieces }: Outfit): string {
  const names = pieces.map((piece) => piece.category).join(", ");
  if (state === "waiting") return "The stylist is thinking.";
  if (state === "coming") return `So far: ${names}.`;
  if (state === "done") return `Done: ${names}.`;
  return state === "stopped" ? "Stopped." : "";
}

interface RailProps {
  piece: Piece;
  articles: ReturnType<typeof useStylist>["outfit"]["articles"];
  onOpen(card: InList): void;
  onAct(kind: "purchase" | "dismiss", card: InList): number;
  onSeen(card: InList): void;
}

/** One piece of the outfit with the articles that are near to it. */
function Rail({ piece, articles, onOpen, onAct, onSeen }: RailProps) {
  const grid = useRef<HTMLUListElement>(null);
  const [slot, setSlot] = useState<number | null>(null);
  const { shown, spares } = piece.counter;
  useLayoutEffect(() => {
    if (slot === null) return;
    const there = grid.current?.children[Math.min(slot, shown.length - 1)];
    there?.querySelector<HTMLElement>(".card-open")?.focus({ preventScroll: true });
    setSlot(null);
  }, [slot, shown.length]);
  return (
    <section class="rail" data-testid="outfit-item" aria-label={piece.category}>
      <header>
        {drawsEmoji() && (
          <span class="emoji" aria-hidden="true">
            {piece.emoji}
          </span>
        )}
        <h2 dir="auto">{piece.category}</h2>
        <p dir="auto">{piece.description}</p>
        <p class="fine">
          {shown.length} of {shown.length + spares.length} nearest
        </p>
      </header>
      {shown.length === 0 && <p class="empty">Nothing in stock is near to it.</p>}
      <ul class="grid narrow" ref={grid} aria-label={`Articles: ${piece.category}`}>
        {shown.map((card, at) => (
          <Card
            key={card.articleId}
            card={card}
            article={articles[card.articleId]}
            slot={at}
            best={best(shown)}
            onOpen={() => onOpen(card)}
            onBuy={() => setSlot(onAct("purchase", card))}
            onDismiss={() => setSlot(onAct("dismiss", card))}
            onSeen={() => onSeen(card)}
          />
        ))}
      </ul>
    </section>
  );
}

/** Places for what is still to come. */
function Waiting({ first }: { first: boolean }) {
  return (
    <div class="rail waiting" aria-hidden="true">
      <ul class="grid narrow">
        {Array.from({ length: first ? 5 : 3 }, (_, at) => (
          <li class="card hanger" key={at}>
            <span />
          </li>
        ))}
      </ul>
    </div>
  );
}
