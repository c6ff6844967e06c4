/** What the storefront server answers, as far as the pages read it. */

/** An article as the shop shows it; every text is data and is only ever rendered as text. */
export interface Article {
  article_id: string;
  prod_name: string;
  detail_desc: string;
  product_type_name: string;
  product_group_name: string;
  colour_group_name: string;
  perceived_colour_master_name: string;
  perceived_colour_value_name: string;
  graphical_appearance_name: string;
  department_name: string;
  section_name: string;
  index_group_name: string;
  garment_group_name: string;
  price: number | null;
  in_stock: boolean;
}

export type Articles = Record<string, Article>;

/** Score and article id, best first. */
export type Ranked = [score: number, articleId: string];

export interface Rankers {
  active: string;
  rankers: { name: string; ready: boolean; most: number | null }[];
}

export interface Config {
  model: string;
  stylist: boolean;
  /** Address of a picture with `{article_id}` and `{prefix}` in it; none where tiles are drawn. */
  images: string | null;
  rankers: Rankers;
  /** The shop's today where its data are historical. */
  last_day: string | null;
}

/** An instance of the recommender's protocol. */
export interface Instance {
  customer_id?: string;
  transaction_date?: string;
  age?: number;
  ranker?: string;
  k?: number;
  exclude?: string[];
  article_id?: string;
  candidates?: boolean;
}

export interface Prediction {
  ranking: Ranked[];
  ranker?: string;
  list_id?: string;
  model_version?: string;
  degraded?: string;
  defaults?: number;
  cold_start?: boolean;
  scored?: number;
  short?: string;
}

export interface Recommendations {
  prediction: Prediction;
  articles: Articles;
  server_timing: string | null;
}

export interface Retrieved {
  sources?: string[];
  rank?: number;
  score?: number;
}

export interface Contributions {
  base: number;
  margin: number;
  contributions: Record<string, number>;
}

export type Reason = Contributions | Record<string, unknown> | string | null;

export interface Explained {
  article_id: string;
  score?: number;
  step?: "catalogue" | "filter" | "retrieval" | "ranking" | "listed";
  filter?: Record<string, boolean>;
  retrieval?: Retrieved;
  ranking?: { place: number; score: number; scored: boolean; k: number };
  features?: Record<string, number | string>;
  explanation?: Reason;
}

export interface Candidate {
  article_id: string;
  sources: string[];
  retrieval_rank: number;
  retrieval_score: number;
  score: number | null;
}

export interface Explanation {
  ranker: string;
  articles: Explained[];
  article?: Explained;
  candidates?: Candidate[];
}

export interface Explanations {
  explanation: Explanation;
  articles: Articles;
  server_timing: string | null;
}

export interface Customer {
  customer_id: string;
  age: number | null;
  club_member_status?: string | null;
  purchases: number;
}

export interface CustomerDetails {
  customer_id: string;
  known: boolean;
  age: number | null;
  purchases: { article_id: string; days_ago?: number; bought_on?: string }[];
}

export type Gender = "women" | "men" | "any";

export interface Profile {
  age: number | null;
  age_group?: string;
  purchases: { article_id: string; name: string; product_type: string; colour: string; days_ago: number }[];
}

/** One piece of an outfit, with the articles that are near its description. */
export interface StylistItem {
  index: number;
  emoji: string;
  category: string;
  description: string;
  articles: Ranked[];
  details?: Articles;
}

export interface StylistDone {
  list_id?: string;
  model_version?: string;
  llm?: string;
  degraded?: string;
  short?: string;
}

export type Kind = "shown" | "click" | "purchase" | "dismiss";

export const KINDS: readonly Kind[] = ["shown", "click", "purchase", "dismiss"];

export type Counts = Record<Kind, number>;

export type Bucket = "minute" | "hour" | "day";

export interface Interactions {
  since: string;
  until: string;
  bucket: Bucket;
  totals: Counts;
  rankers: ({ ranker: string } & Counts)[];
  series: ({ at: string; ranker: string } & Counts)[];
  latest?: { at: string; kind: Kind; article_id: string; customer_id: string; list_id: string | null }[];
}
