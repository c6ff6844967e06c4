/** What the stylist says beside the articles: the summary, who was thought of, and what went wrong. */

import { useEffect, useRef } from "preact/hooks";
import { daysAgo } from "../parts/words";
import type { Outfit } from "./use-stylist";

export function Told({ outfit, words, mode }: { outfit: Outfit; words: string; mode: "outfit" | "search" }) {
  const { profile, summary, done } = outfit;
  const self = useRef<HTMLElement>(null);
  const waiting = outfit.state === "waiting";
  // The answer comes below the desk: on a small screen it would not be seen to come.
  useEffect(() => {
    if (waiting) self.current?.scrollIntoView({ block: "start" });
  }, [waiting]);
  return (
    <section class="told" aria-label="The answer" ref={self}>
      <p class="asked" dir="auto">
        “{words}”
      </p>
      {!summary && (outfit.state === "waiting" || outfit.state === "coming") && (
        <p class="summary pending" aria-hidden="true" />
      )}
      {summary && (
        <p class="summary" dir="auto" data-testid="summary">
          {summary}
        </p>
      )}
      {done?.degraded && (
        <p class="badge warn" data-testid="degraded" dir="auto">
          Without the language model: {done.degraded}
        </p>
      )}
      {done?.short && (
        <p class="badge" dir="auto">
          {done.short}
        </p>
      )}
      {outfit.state === "stopped" && <p class="badge">Stopped. What came before stands.</p>}
      {profile && (
        <details class="profile" data-testid="profile">
          <summary>
            With a profile:{" "}
            {profile.age_group
              ? `age ${profile.age_group}`
              : profile.age == null
                ? "age unknown"
                : `${Math.round(profile.age)} years`}
            , {profile.purchases.length} recent {profile.purchases.length === 1 ? "purchase" : "purchases"}
          </summary>
          <ul>
            {profile.purchases.map((purchase, at) => (
              <li key={`${purchase.article_id} ${at}`} dir="auto">
                {purchase.name}
                <span class="fine">
                  {" "}
                  {purchase.product_type}, {purchase.colour}, {daysAgo(purchase.days_ago)}
                </span>
              </li>
            ))}
          </ul>
        </details>
      )}
      {!profile && mode === "outfit" && outfit.gender !== null && <p class="fine">Without a profile.</p>}
      {done && (
        <p class="fine">
          {done.llm ? `Written by ${done.llm}` : mode === "outfit" ? "" : "Found by meaning, without a language model"}
          {done.model_version && ` · version ${done.model_version}`}
        </p>
      )}
    </section>
  );
}
