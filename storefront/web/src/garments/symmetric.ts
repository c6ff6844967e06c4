/** Half a drawing is enough for a garment: the other half is its mirror image. */

/** Width and height of every drawing. */
export const WIDTH = 200;
export const HEIGHT = 240;

type Point = [x: number, y: number];

/** A line or a cubic curve to the last of its points. */
type Segment = Point[];

/** Reads a path of absolute `M`, `L` and `C` only. */
function read(half: string): { start: Point; segments: Segment[] } {
  const segments: Segment[] = [];
  let start: Point = [0, 0];
  for (const [, command, text] of half.matchAll(/([MLC])([^MLC]*)/g)) {
    const numbers = (text?.match(/-?\d+(?:\.\d+)?/g) ?? []).map(Number);
    const points: Point[] = [];
    for (let at = 0; at + 1 < numbers.length; at += 2) points.push([numbers[at] ?? 0, numbers[at + 1] ?? 0]);
    const size = command === "C" ? 3 : 1;
    if (command === "M") start = points.shift() ?? start;
    for (let at = 0; at + size <= points.length; at += size) segments.push(points.slice(at, at + size));
  }
  return { start, segments };
}

const mirror = ([x, y]: Point): Point => [WIDTH - x, y];

const written = (segment: Segment) =>
  `${segment.length === 3 ? "C" : "L"}${segment.map((point) => point.join(" ")).join(" ")}`;

/**
 * The closed outline of its right half, which begins and ends on the middle line `x = 100` (or has a hole there, as between two legs):
 * down on the right, back up on the left.
 */
export function symmetric(half: string): string {
  const { start, segments } = read(half);
  const right = segments.map(written).join("");
  const left = segments.toReversed().map((segment, at) => {
    const before = segments[segments.length - 2 - at]?.at(-1) ?? start;
    return written([...segment.slice(0, -1).toReversed(), before].map(mirror));
  });
  const last = segments.at(-1)?.at(-1) ?? start;
  return `M${start.join(" ")}${right}L${mirror(last).join(" ")}${left.join("")}Z`;
}

/** A line and its mirror image. */
export function both(line: string): string {
  const { start, segments } = read(line);
  const other = segments.map((segment) => written(segment.map(mirror))).join("");
  return `${line}M${mirror(start).join(" ")}${other}`;
}

/** A closed shape and its mirror image, as a pair of cups or of straps. */
export function pair(shape: string): string {
  const { start, segments } = read(shape);
  return `${shape}Z${`M${mirror(start).join(" ")}${segments.map((segment) => written(segment.map(mirror))).join("")}`}Z`;
}

/** A shape at another place. */
export function moved(shape: string, right: number, down: number): string {
  const { start, segments } = read(shape);
  const there = ([x, y]: Point): Point => [x + right, y + down];
  const closed = shape.trimEnd().endsWith("Z") ? "Z" : "";
  return `M${there(start).join(" ")}${segments.map((segment) => written(segment.map(there))).join("")}${closed}`;
}

/** A circle as a path. */
export const circle = (x: number, y: number, radius: number) =>
  `M${x - radius} ${y}a${radius} ${radius} 0 1 0 ${2 * radius} 0a${radius} ${radius} 0 1 0 ${-2 * radius} 0Z`;

/** Short parallel lines between two heights: a knitted rib. */
export function ribs(from: number, to: number, top: number, bottom: number, gap = 7): string {
  let lines = "";
  for (let x = from; x <= to; x += gap) lines += `M${x} ${top}L${x} ${bottom}`;
  return lines;
}

/** Round dots, drawn as lines without length: buttons. */
export const dots = (...places: Point[]) => places.map(([x, y]) => `M${x} ${y}h.01`).join("");
