/** Everything about an article, and why it is in the list. */
import { explain } from "../api/client";
import type { Article, Instance } from "../api/shapes";
import type { Card as InList } from "../list/replacement";
import { Price } from "./card";
import { Dialog } from "./dialog";
import { Picture } from "./picture";
import { useAnswer } from "./use-answer";
import { Why } from "./why";
import { scored, whatIs } from "./words";

interface Props {
  card: InList;
  article: Article;
  /** Who is asked why; nobody where the list is no recommender's. */
  instance: Instance | null;
  onBuy: () => void;
  onDismiss?: () => void;
  onClose: () => void;
}

export function Details({ card, article, instance, onBuy, onDismiss, onClose }: Props) {
  const key = instance && `${card.articleId} ${instance.customer_id} ${instance.ranker}`;
  const why = useAnswer(key, (signal) => explain({ ...instance, k: 1, article_id: card.articleId }, { signal }));
  const explained = why.value?.explanation;
  const told = explained?.article ?? explained?.articles.find((each) => each.article_id === card.articleId);
  return (
    <Dialog label={article.prod_name} onClose={onClose}>
      <div class="details">
        <div class="details-picture">
          <Picture article={article} />
        </div>
        <div class="details-words">
          <p class="eyebrow" dir="auto">
            {whatIs(article)}
          </p>
          <h2 dir="auto">{article.prod_name}</h2>
          <p class="card-facts">
            <span class="score">Score {scored(card.score)}</span>
            {article.price != null && <Price price={article.price} />}
            {!article.in_stock && <span class="badge">out of stock</span>}
          </p>
          <p dir="auto">{article.detail_desc || "The maker says nothing more about it."}</p>
          <div class="card-acts">
            <button type="button" class="buy" onClick={onBuy}>
              Buy
            </button>
            {onDismiss && (
              <button type="button" class="dismiss" onClick={onDismiss}>
                Not for me
              </button>
            )}
          </div>
          <Attributes article={article} />
        </div>
      </div>
      {instance && (
        <section class="why" aria-labelledby="why" aria-busy={why.waiting} data-testid="why">
          <h3 id="why">Why this?</h3>
          {why.waiting && <p class="fine">Asking the ranker…</p>}
          {why.failure && (
            <p class="fine" role="alert" dir="auto">
              {why.failure.status === 501 ? "This ranker gives no reasons." : why.failure.message}{" "}
              <code>{why.failure.code}</code>{" "}
              <button type="button" class="plain" onClick={why.again}>
                Ask again
              </button>
            </p>
          )}
          {explained && told && <Why ranker={explained.ranker} told={told} />}
        </section>
      )}
    </Dialog>
  );
}

const ATTRIBUTES: [keyof Article, string][] = [
  ["product_group_name", "Group"],
  ["graphical_appearance_name", "Appearance"],
  ["perceived_colour_master_name", "Colour family"],
  ["perceived_colour_value_name", "Shade"],
  ["department_name", "Department"],
  ["section_name", "Section"],
  ["index_group_name", "Range"],
  ["garment_group_name", "Garments"],
  ["article_id", "Article"],
];

function Attributes({ article }: { article: Article }) {
  return (
    <dl class="attributes">
      {ATTRIBUTES.map(([key, label]) => (
        <div key={key}>
          <dt>{label}</dt>
          <dd dir="auto">{article[key]}</dd>
        </div>
      ))}
    </dl>
  );
}
