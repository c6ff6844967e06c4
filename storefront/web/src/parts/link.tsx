import type { ComponentChildren } from "preact";
import { addressOf, go } from "../route";

interface Props {
  to: string;
  class?: string;
  current?: boolean;
  children: ComponentChildren;
}

/** A link within the shop: it keeps who shops, and only plain clicks stay on this page. */
export function Link({ to, current, children, ...rest }: Props) {
  const address = addressOf(to);
  const follow = (event: MouseEvent) => {
    if (
      event.defaultPrevented ||
      event.button !== 0 ||
      event.metaKey ||
      event.ctrlKey ||
      event.shiftKey ||
      event.altKey
    )
      return;
    event.preventDefault();
    go(address);
  };
  return (
    <a href={address} class={rest.class ?? ""} aria-current={current ? "page" : undefined} onClick={follow}>
      {children}
    </a>
  );
}
