/** Who shops: a customer of the data, or a visitor whom this browser has made. */
import { computed, signal } from "@preact/signals";
import { remember, remembered } from "../memory";
import { parameter, setParameters } from "../route";
import { uuid } from "../uuid";

const VISITOR = "visitor-";

/** The ages that visitors gave, by id. */
const ages = signal<Record<string, number>>(readAges());

function readAges(): Record<string, number> {
  try {
    const value: unknown = JSON.parse(remembered("visitors") ?? "{}");
    if (typeof value !== "object" || value === null) return {};
    return Object.fromEntries(Object.entries(value).filter(([, age]) => typeof age === "number"));
  } catch {
    return {};
  }
}

export interface Shopper {
  id: string;
  visitor: boolean;
  /** What a visitor said; a customer's is the store's to know. */
  age: number | undefined;
}

const chosen = parameter("customer");

export const shopper = computed<Shopper | null>(() => {
  const id = chosen.value?.trim().slice(0, 256);
  if (!id) return null;
  const visitor = id.startsWith(VISITOR);
  return { id, visitor, age: visitor ? ages.value[id] : undefined };
});

export function choose(id: string): void {
  setParameters({ customer: id }, true);
}

export function leave(): void {
  setParameters({ customer: null }, true);
}

/** Makes a visitor of that age, who shops from now on. */
export function visit(age: number): void {
  const id = `${VISITOR}${uuid()}`;
  ages.value = { ...ages.value, [id]: age };
  remember("visitors", JSON.stringify(ages.value));
  choose(id);
}

/** The visitors of this browser, latest first. */
export const visitors = computed(() => Object.entries(ages.value).reverse().slice(0, 4));

/** An id short enough for people: its beginning, or the visitor's. */
export function shortId(id: string): string {
  const name = id.startsWith(VISITOR) ? id.slice(VISITOR.length) : id;
  return name.length > 12 ? `${name.slice(0, 8)}…` : name;
}

/** Who is told of where nobody has said who shops: a visitor of this browser without an age. */
export function guest(): Shopper {
  let id = remembered("guest");
  if (!id) {
    id = `${VISITOR}${uuid()}`;
    remember("guest", id);
  }
  return { id, visitor: true, age: undefined };
}
