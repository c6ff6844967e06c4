/** The shop window: what is seen before anybody has said who they are. */
import { customers } from "../api/client";
import { type Drawn, Tile } from "../garments/tile";
import { useAnswer } from "../parts/use-answer";
import { Chooser } from "../shopper/chooser";
import { choose, shortId } from "../shopper/shopper";

const dressed = (id: string, type: string, colour: string, appearance: string): Drawn => ({
  article_id: id,
  product_type_name: type,
  product_group_name: "",
  colour_group_name: colour,
  perceived_colour_master_name: "",
  graphical_appearance_name: appearance,
});

/** A window dressing: drawings, no articles. */
const DRESSING = [
  dressed("0000001001", "Coat", "Light Beige", "Solid"),
  dressed("0000007001", "Dress", "Dark Red", "All over pattern"),
  dressed("0000003001", "Sweater", "Off White", "Stripe"),
  dressed("0000004001", "Trousers", "Dark Blue", "Denim"),
  dressed("0000005001", "Bag", "Yellowish Brown", "Solid"),
  dressed("0000006001", "Blazer", "Dark Green", "Check"),
];

export function Window() {
  const recent = useAnswer("recent", (signal) => customers("", 6, { signal, patience: 5_000 }));
  return (
    <div class="page window">
      <div class="window-words">
        <p class="eyebrow">A shop that knows its customers</p>
        <h1>
          Cut to <em>your</em> measure.
        </h1>
        <p class="lead">
          Say who is shopping, and every rail is arranged anew: by what was bought, by the season, and by what you put
          aside a moment ago.
        </p>
        <Chooser />
        {recent.value && recent.value.customers.length > 0 && (
          <div class="recent">
            <h2>They were here lately</h2>
            <ul>
              {recent.value.customers.map((customer) => (
                <li key={customer.customer_id}>
                  <button type="button" onClick={() => choose(customer.customer_id)}>
                    <code>{shortId(customer.customer_id)}</code>
                    <span>
                      {customer.age === null ? "age unknown" : `${Math.round(customer.age)} years`} ·{" "}
                      {customer.purchases} bought
                    </span>
                  </button>
                </li>
              ))}
            </ul>
          </div>
        )}
      </div>
      <div class="window-art" aria-hidden="true">
        {DRESSING.map((article) => (
          <Tile key={article.article_id} article={article} />
        ))}
      </div>
    </div>
  );
}
