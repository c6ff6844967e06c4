/** Other cuts of what shops have most of, so that a rail of black dresses is not one dress many times. */
import { tote } from "./accessories";
import type { Drawing } from "./drawing";
import { DRAWINGS } from "./drawings";
import type { Family } from "./families";
import { pencil, tapered, wide } from "./lower";
import { bomber, longDress, rollNeck, shirtDress, singlet, tee } from "./upper-cuts";

interface Cut {
  drawing: Drawing;
  /** What an article's name or description says of this cut. */
  says: RegExp;
}

const CUTS: Partial<Record<Family, Cut[]>> = {
  dress: [
    { drawing: longDress, says: /\b(maxi|midi|calf-length|slip dress)/i },
    { drawing: shirtDress, says: /\bshirt dress|\bbuttons? down the front/i },
  ],
  tshirt: [{ drawing: tee, says: /\bv-?neck/i }],
  top: [{ drawing: tee, says: /\bv-?neck/i }],
  vest: [{ drawing: singlet, says: /\bnarrow (shoulder )?straps|\bspaghetti/i }],
  sweater: [{ drawing: rollNeck, says: /\b(polo|roll|turtle)[- ]?neck/i }],
  jacket: [{ drawing: bomber, says: /\b(bomber|pilot)/i }],
  trousers: [
    { drawing: wide, says: /\bwide\b(?!ned)|\bflare|\bpalazzo/i },
    { drawing: tapered, says: /\btapered|\bjoggers?\b|\bcuffs? at the hems?/i },
  ],
  skirt: [{ drawing: pencil, says: /\b(pencil|straight skirt|fitted)/i }],
  bag: [{ drawing: tote, says: /\b(tote|shopper|shopping)/i }],
};

/** The drawing of a family: in the cut that the article's words tell of, else in one of its cuts. */
export function drawingOf(family: Family, seed: number, words = ""): Drawing {
  const cuts = CUTS[family] ?? [];
  const told = cuts.find(({ says }) => says.test(words));
  if (told) return told.drawing;
  // The seed's low digits choose patterns: cuts go by others.
  const at = (seed >>> 8) % (cuts.length + 1);
  return cuts[at - 1]?.drawing ?? DRAWINGS[family];
}

/** How many cuts a family has. */
export const cutsOf = (family: Family) => 1 + (CUTS[family]?.length ?? 0);
