/** Other cuts of what shops have most of, so that a rail of black dresses is not one dress many times. */
import { tote } from "./accessories";
import type { Drawing } from "./drawing";
import { DRAWINGS } from "./drawings";
import type { Family } from "./families";
import { pencil, tapered, wide } from "./lower";
import { bomber, longDress, rollNeck, shirtDress, singlet, tee } from "./upper-cuts";

const CUTS: Partial<Record<Family, Drawing[]>> = {
  dress: [longDress, shirtDress],
  tshirt: [tee],
  top: [tee],
  vest: [singlet],
  sweater: [rollNeck],
  jacket: [bomber],
  trousers: [wide, tapered],
  skirt: [pencil],
  bag: [tote],
};

/** The drawing of a family, in one of its cuts. */
export function drawingOf(family: Family, seed: number): Drawing {
  const others = CUTS[family] ?? [];
  // The seed's low digits choose patterns: cuts go by others.
  const at = (seed >>> 8) % (others.length + 1);
  return others[at - 1] ?? DRAWINGS[family];
}

/** How many cuts a family has. */
export const cutsOf = (family: Family) => 1 + (CUTS[family]?.length ?? 0);
