/** Numbers and names as people read them. */
import type { Article } from "../api/shapes";

export const whole = new Intl.NumberFormat("en-GB");

const percents = new Intl.NumberFormat("en-GB", { style: "percent", maximumFractionDigits: 1 });

/** A share, or a dash where there is nothing to share. */
export const percent = (part: number, of: number) => (of > 0 ? percents.format(part / of) : "–");

/** A score of any ranker: three decimals, more where they are all noughts. */
export function scored(score: number): string {
  if (score === 0) return "0";
  return Math.abs(score) < 0.001 ? score.toPrecision(1) : score.toFixed(3);
}

export const milliseconds = (duration: number) => `${duration < 10 ? duration.toFixed(2) : duration.toFixed(1)} ms`;

/** A step of the price ladder, 1 to 5: the data's prices have no currency, below 1 for most. */
export const priceStep = (price: number) => 1 + [0.015, 0.025, 0.04, 0.06].filter((bound) => price > bound).length;

/** What an article is: its type and colour. */
export const whatIs = (article: Article) =>
  [article.product_type_name, article.colour_group_name].filter(Boolean).join(" · ");

/** A snake-case name with spaces. */
export const spaced = (name: string) => name.replaceAll("_", " ").trim();

export function daysAgo(days: number): string {
  if (days < 1) return "today";
  if (days < 2) return "yesterday";
  if (days < 60) return `${Math.round(days)} days ago`;
  return `${Math.round(days / 30.4)} months ago`;
}

/** Days from one ISO date to another. */
export const daysBetween = (from: string, to: string) =>
  Math.max(0, Math.floor((Date.parse(to) - Date.parse(from)) / 86_400_000));
