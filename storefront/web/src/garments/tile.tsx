/** The picture of an article where there is no photograph: its garment, in its colour and pattern. */
import { useId } from "preact/hooks";
import type { Article } from "../api/shapes";
import { lookOf } from "./appearances";
import { accentOf, colourOf, inkOf, luminance, mixed, seamOf, seedOf, wallOf } from "./colours";
import { familyOf } from "./families";
import { Motif, patternOf } from "./patterns";
import { HEIGHT, WIDTH } from "./symmetric";
import { drawingOf } from "./variants";

const HARDWARE = { sole: "#f3efe8", metal: "#c9b27a", tan: "#b98d5f", glass: "#3b4650", paper: "#f7f2e8" };

/** What a tile reads of an article. */
export type Drawn = Pick<
  Article,
  | "article_id"
  | "product_type_name"
  | "product_group_name"
  | "colour_group_name"
  | "perceived_colour_master_name"
  | "graphical_appearance_name"
> &
  Partial<Pick<Article, "prod_name" | "detail_desc">>;

export function Tile({ article }: { article: Drawn }) {
  // Ids of a document's definitions: `useId` may hold signs that a reference can't.
  const id = `t${useId().replace(/\W/g, "")}`;
  const colour = colourOf(article.colour_group_name, article.perceived_colour_master_name);
  const told = lookOf(article.graphical_appearance_name);
  // Articles of one product are alike: their ids differ in the last three digits.
  const seed = seedOf(article.article_id.slice(0, -3));
  const family = familyOf(article.product_type_name, article.product_group_name, article.graphical_appearance_name);
  const drawing = drawingOf(family, seed, `${article.prod_name ?? ""} ${article.detail_desc ?? ""}`);
  // What has no room for a single print is printed all over.
  const look = (told === "motif" || told === "flower") && !drawing.motif ? "print" : told;
  const pattern = patternOf(look, colour, seed);
  const seam = seamOf(colour);
  const accent = accentOf(seed, colour);
  const cloth = drawing.cloth.join("");
  const shine = look === "shine" || look === "sequin";
  const sheer = look === "sheer" || look === "mesh" || article.colour_group_name === "Transparent";
  const trim = look === "blocks" ? accent : mixed(colour, luminance(colour) > 0.75 ? "#d8cfc2" : "#ffffff", 0.13);
  const thread = look === "denim" ? "#d9a25f" : seam;
  const line = { fill: "none", "stroke-linecap": "round", "stroke-linejoin": "round" } as const;
  return (
    <svg
      class="tile"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="xMidYMid slice"
      aria-hidden="true"
      focusable="false"
    >
      <defs>
        <clipPath id={`${id}c`}>
          <path d={cloth} />
        </clipPath>
        <linearGradient id={`${id}l`} x2="1" y2=".35">
          <stop offset="0" stop-color="#fff" stop-opacity={shine ? 0.5 : 0.16} />
          <stop offset=".45" stop-color="#fff" stop-opacity="0" />
          <stop offset=".6" stop-color="#fff" stop-opacity={shine ? 0.45 : 0} />
          <stop offset="1" stop-color="#1c1010" stop-opacity={shine ? 0.28 : 0.16} />
        </linearGradient>
        {pattern && (
          <pattern
            id={`${id}p`}
            width={pattern.width}
            height={pattern.height}
            patternUnits="userSpaceOnUse"
            patternTransform={`translate(${100 - pattern.width / 2} 0) rotate(${pattern.turn ?? 0})`}
          >
            {pattern.marks}
          </pattern>
        )}
      </defs>
      <rect width={WIDTH} height={HEIGHT} fill={wallOf(colour)} />
      <g transform="translate(100 120) scale(.86) translate(-100 -122)">
        {drawing.cords && <path d={drawing.cords} {...line} stroke={seam} stroke-width="6.500" />}
        {drawing.cords && <path d={drawing.cords} {...line} stroke={colour} stroke-width="4" />}
        {drawing.inside && (
          <path d={drawing.inside} fill={mixed(colour, "#1c1512", 0.42)} stroke={seam} stroke-width="1.200" />
        )}
        {drawing.cloth.map((part) => (
          <g key={part} opacity={sheer ? 0.72 : 1}>
            <path d={part} fill={colour} fill-rule="evenodd" />
            {pattern && look !== "patch" && <path d={part} fill={`url(#${id}p)`} fill-rule="evenodd" />}
            <path
              d={part}
              fill={`url(#${id}l)`}
              fill-rule="evenodd"
              stroke={seam}
              stroke-width="1.500"
              stroke-linejoin="round"
            />
          </g>
        ))}
        <g clip-path={`url(#${id}c)`}>
          {look === "blocks" && <rect y="132" width={WIDTH} height="46" fill={accent} opacity=".92" />}
          {look === "patch" && <rect y="118" width={WIDTH} height={HEIGHT} fill={`url(#${id}p)`} />}
          {look === "wash" && <ellipse cx="100" cy="120" rx="46" ry="96" fill="#fff" opacity=".2" />}
          {(look === "motif" || look === "flower") && (
            <Motif
              look={look}
              x={drawing.motif?.[0] ?? 100}
              y={drawing.motif?.[1] ?? 130}
              colour={colour}
              seed={seed}
            />
          )}
        </g>
        {drawing.hardware?.map((part) => (
          <path
            key={part.d}
            d={part.d}
            fill={HARDWARE[part.fill]}
            fill-rule="evenodd"
            stroke="#5c5046"
            stroke-width="1.200"
          />
        ))}
        {drawing.trim && (
          <path d={drawing.trim} fill={trim} stroke={seam} stroke-width="1.400" stroke-linejoin="round" />
        )}
        {drawing.seams && <path d={drawing.seams} {...line} stroke={seam} stroke-width="1.200" opacity=".8" />}
        {drawing.stitches && (
          <path d={drawing.stitches} {...line} stroke={thread} stroke-width="1.300" stroke-dasharray="3.500 3" />
        )}
        {drawing.buttons && <path d={drawing.buttons} {...line} stroke={inkOf(colour)} stroke-width="5" />}
      </g>
    </svg>
  );
}
