/** What `graphical_appearance_name` makes of plain cloth: a pattern laid over it, in colours that go with it. */
import type { JSX } from "preact";
import type { Look } from "./appearances";
import { accentOf, inkOf, mixed } from "./colours";

interface Pattern {
  width: number;
  height: number;
  turn?: number;
  marks: JSX.Element;
}

type Maker = (ink: string, accent: string, colour: string, seed: number) => Pattern;

/** A blossom of five leaves. */
const blossom = (x: number, y: number, size: number, fill: string, heart: string) => (
  <g>
    {[0, 72, 144, 216, 288].map((turn) => (
      <ellipse
        key={turn}
        cx={x}
        cy={y - size}
        rx={size * 0.62}
        ry={size}
        fill={fill}
        transform={`rotate(${turn} ${x} ${y})`}
      />
    ))}
    <circle cx={x} cy={y} r={size * 0.45} fill={heart} />
  </g>
);

const florals: Maker = (ink, accent, colour) => ({
  width: 46,
  height: 46,
  marks: (
    <g>
      {blossom(12, 13, 6, accent, ink)}
      {blossom(35, 36, 5, ink, accent)}
      <path
        d="M22 40C20 34 14 32 8 34C12 40 18 42 22 40ZM30 12C34 6 40 6 44 10C40 16 34 16 30 12Z"
        fill={mixed(ink, colour, 0.35)}
      />
      <circle cx="24" cy="24" r="1.8" fill={ink} />
      <circle cx="42" cy="24" r="1.4" fill={accent} />
    </g>
  ),
});

const leaves: Maker = (ink, accent, colour) => ({
  width: 34,
  height: 40,
  turn: 20,
  marks: (
    <g>
      <path d="M8 4C18 10 18 22 8 30C0 22 0 10 8 4Z" fill={mixed(ink, colour, 0.2)} />
      <path d="M8 8V30" stroke={colour} fill="none" />
      <path d="M26 14C33 20 33 30 26 38C19 30 19 20 26 14Z" fill={accent} />
      <path d="M26 18V38" stroke={colour} fill="none" />
    </g>
  ),
});

const spots: Maker = (ink, accent) => ({
  width: 40,
  height: 34,
  turn: 12,
  marks: (
    <g fill={ink}>
      <path d="M6 6C12 2 17 7 14 12C10 10 8 10 5 12C3 10 3 8 6 6Z" />
      <path d="M26 16C33 13 37 19 33 25C30 20 28 21 24 24C21 21 22 18 26 16Z" />
      <path d="M10 24C15 22 18 26 15 31C12 28 10 29 7 30C5 28 7 25 10 24Z" />
      <circle cx="30" cy="6" r="3" fill={accent} />
      <circle cx="22" cy="31" r="1.8" fill={accent} />
    </g>
  ),
});

const PRINTS = [florals, leaves, spots];

const MAKERS: Partial<Record<Look, Maker>> = {
  stripe: (ink, _, colour, seed) => {
    const width = 8 + (seed % 3) * 4;
    return {
      width: 20,
      height: width * 2,
      marks: <rect width="20" height={width * 0.8} fill={mixed(ink, colour, seed % 2 ? 0 : 0.25)} />,
    };
  },
  dot: (ink) => ({
    width: 20,
    height: 20,
    marks: (
      <g fill={ink}>
        <circle cx="5" cy="5" r="2.9" />
        <circle cx="15" cy="15" r="2.9" />
      </g>
    ),
  }),
  check: (ink, accent) => ({
    width: 30,
    height: 30,
    marks: (
      <g>
        <rect width="12" height="30" fill={ink} opacity=".38" />
        <rect width="30" height="12" fill={ink} opacity=".38" />
        <path d="M21 0V30M0 21H30" stroke={accent} stroke-width="1.6" opacity=".85" />
      </g>
    ),
  }),
  print: (ink, accent, colour, seed) => (PRINTS[seed % PRINTS.length] ?? florals)(ink, accent, colour, seed),
  geometry: (ink, accent) => ({
    width: 28,
    height: 28,
    marks: (
      <g fill="none" stroke-width="2.2">
        <path d="M0 20L14 8L28 20" stroke={ink} />
        <path d="M0 28L14 16L28 28" stroke={accent} />
      </g>
    ),
  }),
  melange: (ink) => ({
    width: 17,
    height: 19,
    turn: 8,
    marks: (
      <path
        d="M2 3h2M9 2h1.5M14 6h2M5 8h1M11 10h2.4M1 12h1.6M7 14h2M14 15h1M3 17h1.4M10 18h1"
        stroke={ink}
        stroke-width="1"
        opacity=".36"
      />
    ),
  }),
  denim: (_, __, colour) => ({
    width: 5,
    height: 5,
    turn: -52,
    marks: <path d="M0 2.5H5" stroke={mixed(colour, "#ffffff", 0.55)} stroke-width="1" opacity=".45" />,
  }),
  weave: (ink) => ({
    width: 6,
    height: 6,
    marks: <path d="M0 1H6M0 4H6M1 0V6M4 0V6" stroke={ink} stroke-width=".6" opacity=".4" />,
  }),
  lace: (ink) => ({
    width: 24,
    height: 24,
    marks: (
      <g fill="none" stroke={ink} stroke-width="1" opacity=".75">
        <circle cx="12" cy="12" r="4" />
        <path d="M12 0C16 4 16 6 12 8C8 6 8 4 12 0ZM12 24C8 20 8 18 12 16C16 18 16 20 12 24ZM0 12C4 8 6 8 8 12C6 16 4 16 0 12ZM24 12C20 16 18 16 16 12C18 8 20 8 24 12Z" />
        <path d="M0 0L8 8M24 0L16 8M0 24L8 16M24 24L16 16" stroke-dasharray="1.5 1.5" />
      </g>
    ),
  }),
  mesh: (ink) => ({
    width: 7,
    height: 7,
    turn: 45,
    marks: <path d="M0 0H7M0 0V7" stroke={ink} stroke-width="1.2" opacity=".5" />,
  }),
  sequin: (ink, accent) => ({
    width: 12,
    height: 12,
    marks: (
      <g fill={ink} opacity=".6">
        <circle cx="3" cy="3" r="2.5" />
        <circle cx="9" cy="9" r="2.5" />
        <circle cx="9" cy="3" r="1.4" fill={accent} />
        <circle cx="2.3" cy="2.3" r=".8" fill="#fff" />
      </g>
    ),
  }),
  glitter: (_, __, colour) => ({
    width: 26,
    height: 26,
    turn: 15,
    marks: (
      <path
        d="M6 2l1.2 3 3 1.2-3 1.2L6 10.400l-1.200-3L1.800 6.200l3-1.200ZM19 13l1.600 4 4 1.600-4 1.600-1.600 4-1.600-4-4-1.600 4-1.600ZM18 4h1.400v1.400H18ZM6 18h1.400v1.400H6Z"
        fill={mixed(colour, "#fffbe8", 0.8)}
      />
    ),
  }),
  jacquard: (ink) => ({
    width: 22,
    height: 22,
    marks: (
      <g fill="none" stroke={ink} stroke-width="1.4" opacity=".6">
        <path d="M11 1L21 11L11 21L1 11Z" />
        <path d="M11 6L16 11L11 16L6 11Z" />
      </g>
    ),
  }),
  argyle: (ink, accent) => ({
    width: 36,
    height: 52,
    marks: (
      <g>
        <path d="M18 0L36 26L18 52L0 26Z" fill={accent} opacity=".8" />
        <path d="M0 0L36 52M36 0L0 52" stroke={ink} stroke-width="1" stroke-dasharray="3 2" />
      </g>
    ),
  }),
  rib: (ink) => ({
    width: 8,
    height: 14,
    marks: <path d="M2 0V14M6 2L4 5M6 9L4 12" stroke={ink} stroke-width="1" opacity=".38" fill="none" />,
  }),
};

/** The pattern of a look; none where the look is no pattern. */
export function patternOf(look: Look, colour: string, seed: number): Pattern | null {
  const maker = MAKERS[look === "patch" ? "print" : look];
  return maker ? maker(inkOf(colour), accentOf(seed, colour), colour, seed) : null;
}

/** A single print at its place: one of a few signs, or embroidery. */
export function Motif(props: { look: Look; x: number; y: number; colour: string; seed: number }) {
  const { x, y, colour, seed } = props;
  const ink = inkOf(colour);
  const accent = accentOf(seed, colour);
  if (props.look === "flower") {
    return (
      <g>
        <path
          d={`M${x - 22} ${y + 18}C${x - 8} ${y + 16} ${x + 2} ${y + 6} ${x + 4} ${y - 8}`}
          fill="none"
          stroke={ink}
          stroke-width="1.6"
        />
        {blossom(x + 5, y - 10, 8, accent, ink)}
        {blossom(x - 14, y + 8, 6, ink, accent)}
        {blossom(x + 16, y + 12, 4.5, accent, ink)}
      </g>
    );
  }
  const signs = [
    <g key="sun">
      <circle cx={x} cy={y} r="17" fill={accent} />
      <path
        d={`M${x - 24} ${y + 8}H${x + 24}M${x - 20} ${y + 14}H${x + 20}M${x - 13} ${y + 20}H${x + 13}`}
        stroke={ink}
        stroke-width="3"
      />
    </g>,
    <g key="bars" fill={ink}>
      <rect x={x - 24} y={y - 13} width="48" height="9" rx="1" />
      <rect x={x - 24} y={y} width="34" height="5" fill={accent} rx="1" />
      <rect x={x - 24} y={y + 9} width="42" height="3.500" rx="1" />
    </g>,
    <path
      key="star"
      d={`M${x} ${y - 24}l6.500 14.500 15.500 1.800-11.600 10.600 3.200 15.400L${x} ${y + 10.5}l-13.600 7.800 3.200-15.400-11.600-10.600 15.500-1.800Z`}
      fill={accent}
      stroke={ink}
      stroke-width="1.600"
    />,
    <g key="waves" fill="none" stroke-width="3.400" stroke-linecap="round">
      {[-12, 0, 12].map((down, at) => (
        <path
          key={down}
          d={`M${x - 24} ${y + down}c6-8 12-8 16 0s10 8 16 0 10-8 16 0`}
          stroke={at === 1 ? accent : ink}
        />
      ))}
    </g>,
  ];
  return signs[seed % signs.length] ?? null;
}
