/** A list for one person: what to buy, what not, and why. */
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Prediction } from "../api/shapes";
import { best, type Card as InList } from "../list/replacement";
import { SHOWN, useList } from "../list/use-list";
import { Card } from "../parts/card";
import { Details } from "../parts/details";
import { Fault } from "../parts/fault";
import { config, instanceOf, ranker } from "../shop";
import { RankerSwitch } from "../shopper/ranker-switch";
import { type Shopper, shopper } from "../shopper/shopper";
import { Wardrobe } from "../shopper/wardrobe";
import { Window } from "./window";

export function ForYou() {
  const person = shopper.value;
  if (!person) return <Window />;
  return config.value ? <Shelves key={person.id} person={person} /> : <Hangers />;
}

function Shelves({ person }: { person: Shopper }) {
  const list = useList(person, ranker.value);
  const [open, setOpen] = useState<InList | null>(null);
  const [bought, setBought] = useState(0);
  const [slot, setSlot] = useState<number | null>(null);
  const grid = useRef<HTMLUListElement>(null);
  const { counter, articles, prediction } = list;

  // The button that was pressed is gone with its card: its place keeps the focus.
  useLayoutEffect(() => {
    if (slot === null) return;
    const there = grid.current?.children[Math.min(slot, counter.shown.length - 1)];
    there?.querySelector<HTMLElement>(".card-open")?.focus({ preventScroll: true });
    setSlot(null);
  }, [slot, counter.shown.length]);

  const act = (kind: "purchase" | "dismiss", card: InList) => {
    setOpen(null);
    setSlot(list.act(kind, card));
  };
  // The wardrobe is asked for again when the shop has had time to know.
  useEffect(() => {
    if (counter.gone.size === 0) return;
    const timer = setTimeout(() => setBought(counter.gone.size), 1_200);
    return () => clearTimeout(timer);
  }, [counter.gone.size]);

  const opened = open && articles[open.articleId];
  return (
    <div class="page">
      <div class="page-head">
        <div>
          <p class="eyebrow">{config.value?.last_day ? `As of ${config.value.last_day}` : "As of today"}</p>
          <h1>Picked for you</h1>
        </div>
        <div class="tools">
          <RankerSwitch />
          <button type="button" class="button quietly" onClick={list.refresh} disabled={list.waiting}>
            New list
          </button>
        </div>
      </div>
      <Wardrobe person={person} version={bought} />
      {prediction && <Notes prediction={prediction} />}
      {list.failure ? (
        <Fault small title="Your list could not be made" failure={list.failure} retry={list.refresh} />
      ) : list.waiting ? (
        <Hangers />
      ) : counter.shown.length === 0 ? (
        <p class="empty">There is nothing left to offer. A new list may have more.</p>
      ) : (
        <ul class="grid" ref={grid} aria-label="Recommendations" data-testid="recommendations">
          {counter.shown.map((card, at) => (
            <Card
              key={`${card.articleId} ${card.listId}`}
              card={card}
              article={articles[card.articleId]}
              slot={at}
              best={best(counter.shown)}
              unscored={unscored(prediction, card)}
              onOpen={() => {
                list.tell("click", card);
                setOpen(card);
              }}
              onBuy={() => act("purchase", card)}
              onDismiss={() => act("dismiss", card)}
              onSeen={() => list.tell("shown", card)}
            />
          ))}
        </ul>
      )}
      {open && opened && (
        <Details
          card={open}
          article={opened}
          instance={instanceOf(person)}
          onBuy={() => act("purchase", open)}
          onDismiss={() => act("dismiss", open)}
          onClose={() => setOpen(null)}
        />
      )}
    </div>
  );
}

/** A list in the order of retrieval has no scores, and neither has what a ranker did not get to. */
const unscored = (prediction: Prediction | null, card: InList) =>
  card.score === 0 && (prediction?.degraded !== undefined || prediction?.scored !== undefined);

/** What is worth knowing of a list, as the recommender tells it. */
function Notes({ prediction }: { prediction: Prediction }) {
  const { degraded, scored, defaults, short, cold_start, model_version, list_id } = prediction;
  return (
    <div class="notes" data-testid="notes">
      <p class="fine">
        Ordered by <strong>{prediction.ranker ?? "the shop"}</strong>
        {model_version && ` · version ${model_version}`}
        {list_id && (
          <>
            {" · list "}
            <code title={list_id}>{list_id.split("/").at(-1)}</code>
          </>
        )}
      </p>
      {cold_start && (
        <p class="badge" data-testid="cold-start">
          Cold start: new since the models were trained
        </p>
      )}
      {degraded && (
        <p class="badge warn" data-testid="degraded" dir="auto">
          Not the best list there could be: {degraded}
        </p>
      )}
      {scored !== undefined && (
        <p class="badge">The ranker scored {scored}; the others follow in the order of retrieval</p>
      )}
      {defaults !== undefined && defaults > 0 && <p class="badge">{defaults} scores are a default</p>}
      {short && (
        <p class="badge" dir="auto">
          A short list: {short}
        </p>
      )}
    </div>
  );
}

/** Empty places while a list is made. */
function Hangers() {
  return (
    <ul class="grid" aria-busy="true" aria-label="Your list is being made">
      {Array.from({ length: SHOWN }, (_, at) => (
        <li class="card hanger" key={at}>
          <span />
        </li>
      ))}
    </ul>
  );
}
