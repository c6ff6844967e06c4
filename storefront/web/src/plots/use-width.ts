/** The width that a plot has on the page, in CSS pixels: drawn at its own size, its words stay readable on a phone. */
import { useLayoutEffect, useRef, useState } from "preact/hooks";

export function useWidth(most: number) {
  const self = useRef<HTMLElement>(null);
  const [width, setWidth] = useState(most);
  useLayoutEffect(() => {
    const element = self.current;
    if (!element) return;
    const measure = () => setWidth(Math.max(240, Math.min(most, Math.floor(element.clientWidth))));
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, [most]);
  return { self, width };
}

/** A text that fits into a width, at about seven pixels a sign. */
export function fitted(text: string, width: number): string {
  const most = Math.max(3, Math.floor(width / 7));
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
