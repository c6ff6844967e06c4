/** What a drawing is made of; all of it is path data in a box of 200 × 240. */
export interface Drawing {
  /** Cloth in the article's colour and pattern, from back to front. */
  cloth: string[];
  /** The inside of a neck or a shoe, seen behind the cloth. */
  inside?: string;
  /** Cloth on top: collars, lapels, waistbands. A little lighter, so that it stands off. */
  trim?: string;
  /** Lines of construction. */
  seams?: string;
  /** Seams that show their thread. */
  stitches?: string;
  /** Buttons. */
  buttons?: string;
  /** Straps, chains and handles: thick lines in the article's colour. */
  cords?: string;
  /** What is never dyed: soles, buckles, glass. */
  hardware?: { d: string; fill: "sole" | "metal" | "tan" | "glass" | "paper" }[];
  /** Where a single print stands; `null` where the article has no room for one. */
  motif: [x: number, y: number] | null;
}
