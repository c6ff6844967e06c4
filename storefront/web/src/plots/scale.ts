/** Axes that people can read. */

/** Round values from 0 to at least `most`, few of them; whole ones, for things that are counted. */
export function ticks(most: number, few = 4): number[] {
  const rough = Math.max(most, 1) / few;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(1, [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough) ?? 10 * power);
  const values = [0];
  while ((values.at(-1) ?? 0) < most) values.push((values.at(-1) ?? 0) + step);
  return values.length > 1 ? values : [0, step];
}

/** The 95 % interval of a share, as Wilson has it: it is honest about few trials. */
export function interval(part: number, of: number): [low: number, high: number] {
  if (of === 0) return [0, 1];
  const z = 1.96;
  const share = Math.min(1, part / of);
  const centre = share + (z * z) / (2 * of);
  const spread = z * Math.sqrt((share * (1 - share)) / of + (z * z) / (4 * of * of));
  const under = 1 + (z * z) / of;
  return [Math.max(0, (centre - spread) / under), Math.min(1, (centre + spread) / under)];
}
