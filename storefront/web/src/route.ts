/** Where we are: the page by its path, and what must survive a reload in the query string. */
import { computed, signal } from "@preact/signals";

export const PAGES = [
  { path: "/", name: "For you" },
  { path: "/stylist", name: "Stylist" },
  { path: "/interactions", name: "Interactions" },
  { path: "/under-the-hood", name: "Under the hood" },
] as const;

export type Path = (typeof PAGES)[number]["path"];

const address = signal(new URL(location.href));

export const path = computed(() => address.value.pathname.replace(/(.)\/$/, "$1"));

/** A parameter of the query string, followed by whoever reads its value. */
export const parameter = (name: string) => computed(() => address.value.searchParams.get(name));

/** The address of a page that keeps who shops and which ranker is asked. */
export function addressOf(page: string): string {
  const kept = new URLSearchParams();
  for (const name of ["customer", "ranker"]) {
    const value = address.value.searchParams.get(name);
    if (value) kept.set(name, value);
  }
  const query = kept.toString();
  return query ? `${page}?${query}` : page;
}

/** Goes to an address without loading the page anew. */
export function go(to: string): void {
  history.pushState(null, "", to);
  address.value = new URL(location.href);
  scrollTo(0, 0);
}

/** Sets or clears parameters in place: `null` clears. A new customer is a step that "back" undoes, other changes are not. */
export function setParameters(changes: Record<string, string | null>, step = false): void {
  const next = new URL(location.href);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) next.searchParams.delete(name);
    else next.searchParams.set(name, value);
  }
  if (next.href === address.value.href) return;
  if (step) history.pushState(null, "", next);
  else history.replaceState(null, "", next);
  address.value = next;
}

addEventListener("popstate", () => {
  address.value = new URL(location.href);
});
