/** What a customer bought, newest first: so that one can see why the list is as it is. */
import { useRef } from "preact/hooks";
import { articles, customer } from "../api/client";
import type { Article, Articles, CustomerDetails } from "../api/shapes";
import { Picture } from "../parts/picture";
import { useAnswer } from "../parts/use-answer";
import { daysAgo, daysBetween, whatIs } from "../parts/words";
import { today } from "../shop";
import { leave, type Shopper, shortId } from "./shopper";

interface Props {
  person: Shopper;
  /** Changes when something was bought. */
  version: number;
}

/** How many purchases are shown. */
const MOST = 20;

interface Bought {
  id: string;
  details: CustomerDetails;
  articles: Articles;
}

/** A customer and what was bought last. Without the articles' texts the purchases are still counted. */
async function wardrobeOf(id: string, signal: AbortSignal): Promise<Bought> {
  const details = await customer(id, { signal });
  const ids = [...new Set(details.purchases.slice(0, MOST).map((purchase) => purchase.article_id))];
  return { id, details, articles: await articles(ids, { signal }).catch(() => ({})) };
}

export function Wardrobe({ person, version }: Props) {
  const { value, failure } = useAnswer(`${person.id} ${version}`, (signal) => wardrobeOf(person.id, signal));
  const last = useRef<Bought | null>(null);
  if (value) last.current = value;
  // While it is asked for anew, the last answer stands.
  const seen = last.current?.id === person.id ? last.current : null;
  const purchases = seen?.details.purchases ?? [];
  const age = seen?.details.age ?? person.age;
  return (
    <section class="wardrobe" aria-labelledby="wardrobe">
      <div class="wardrobe-who">
        <h2 id="wardrobe">
          {person.visitor ? "A new visitor" : "A customer"} <code title={person.id}>{shortId(person.id)}</code>
        </h2>
        <p>
          {age == null ? "Age unknown" : `${Math.round(age)} years`}
          {seen && ` · ${purchases.length === 50 ? "50 or more" : purchases.length} bought`}
        </p>
        <button type="button" class="plain" onClick={leave}>
          Somebody else
        </button>
      </div>
      {purchases.length > 0 && (
        <ul class="bought" tabIndex={0} aria-label="Bought before, newest first" data-testid="wardrobe">
          {purchases.slice(0, MOST).map((purchase, at) => (
            <Piece
              key={`${purchase.article_id} ${purchase.bought_on ?? at}`}
              purchase={purchase}
              article={seen?.articles[purchase.article_id]}
            />
          ))}
        </ul>
      )}
      {seen && purchases.length === 0 && (
        <p class="fine">Nothing bought yet: what is touched here changes the list at once.</p>
      )}
      {failure && !seen && (
        <p class="fine" dir="auto">
          {failure.status === 403 ? "This shop does not show what was bought." : failure.message}
        </p>
      )}
    </section>
  );
}

function Piece(props: { purchase: CustomerDetails["purchases"][number]; article: Article | undefined }) {
  const { purchase, article } = props;
  const days = purchase.days_ago ?? (purchase.bought_on ? daysBetween(purchase.bought_on, today()) : null);
  return (
    <li title={article ? `${article.prod_name}, ${whatIs(article)}` : purchase.article_id}>
      {article && <Picture article={article} />}
      <span class="bought-name" dir="auto">
        {article?.prod_name ?? purchase.article_id}
      </span>
      {days !== null && <span class="fine">{daysAgo(days).replace(" ago", "")}</span>}
    </li>
  );
}
