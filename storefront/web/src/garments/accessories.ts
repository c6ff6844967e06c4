/** Drawings of bags, hats, jewellery and things that are not worn. */
import type { Drawing } from "./drawing";
import { both, circle, dots, moved, pair, ribs } from "./symmetric";

export const bag: Drawing = {
  cloth: ["M40 104L160 104L172 198C173 207 168 211 160 211L40 211C32 211 27 207 28 198Z"],
  trim: "M40 104L160 104L164 134C140 158 60 158 36 134Z",
  cords: "M66 104C66 34 134 34 134 104",
  hardware: [{ d: circle(100, 150, 8), fill: "metal" }],
  stitches: "M44 110L156 110M34 203L166 203",
  motif: null,
};

export const backpack: Drawing = {
  cloth: ["M54 84C54 44 146 44 146 84L152 200C153 210 147 214 138 214L62 214C53 214 47 210 48 200Z"],
  trim: "M64 142L136 142L138 194C138 199 135 201 131 201L69 201C65 201 62 199 62 194Z",
  cords: "M84 56C84 30 116 30 116 56",
  seams: "M54 84C80 100 120 100 146 84M64 160L136 160",
  hardware: [{ d: "M95 88L105 88L105 108L95 108Z", fill: "metal" }],
  motif: [100, 122],
};

export const wallet: Drawing = {
  cloth: [
    "M34 86C34 80 38 78 44 78L156 78C162 78 166 80 166 86L166 172C166 178 162 180 156 180L44 180C38 180 34 178 34 172Z",
  ],
  trim: "M34 86C34 80 38 78 44 78L156 78C162 78 166 80 166 86L166 122C130 138 70 138 34 122Z",
  hardware: [{ d: circle(100, 132, 6), fill: "metal" }],
  stitches: "M42 172L158 172M42 86L158 86",
  motif: null,
};

export const hat: Drawing = {
  cloth: [
    "M10 158C36 138 164 138 190 158C174 184 26 184 10 158Z",
    "M56 156C54 104 68 70 100 80C132 70 146 104 144 156C120 164 80 164 56 156Z",
  ],
  trim: "M55 138C80 147 120 147 145 138L144 156C120 164 80 164 56 156Z",
  seams: "M82 78C90 88 110 88 118 78",
  motif: null,
};

export const beanie: Drawing = {
  cloth: ["M46 156C44 92 70 58 100 58C130 58 156 92 154 156Z"],
  trim: "M40 148C70 158 130 158 160 148L162 186C130 195 70 195 38 186Z",
  seams: `M100 60L100 154M78 64C68 92 66 124 68 154M122 64C132 92 134 124 132 154${ribs(50, 152, 158, 186, 8)}`,
  motif: null,
};

export const cap: Drawing = {
  cloth: ["M34 152C34 100 64 76 98 76C132 76 156 102 156 150C118 140 74 142 34 152Z"],
  trim: "M92 148C128 138 172 146 192 170C170 176 132 170 102 172C95 166 92 156 92 148Z",
  seams: "M98 76C78 96 72 124 74 146M98 76C124 94 132 120 132 144",
  buttons: dots([98, 77]),
  motif: [104, 118],
};

export const scarf: Drawing = {
  cloth: [
    "M70 96L102 104L86 206L50 200Z",
    "M92 100L130 92L142 214L100 218Z",
    "M58 58C78 40 122 40 142 58C156 74 152 94 136 103C114 114 86 114 64 103C48 94 44 74 58 58Z",
  ],
  seams: `M66 62C84 74 116 74 134 62M60 80C82 94 118 94 140 80${ribs(103, 140, 214, 226, 6)}M52 200L50 212M60 202L58 214M68 203L66 215M76 205L74 217`,
  motif: null,
};

export const belt: Drawing = {
  cloth: [
    "M22 126C22 104 58 92 100 92C142 92 178 104 178 126L178 150C178 128 142 116 100 116C58 116 22 128 22 150Z",
    "M22 126C22 148 58 160 100 160C142 160 178 148 178 126L178 152C178 174 142 186 100 186C58 186 22 174 22 152Z",
  ],
  hardware: [{ d: `M84 152L124 152L124 194L84 194ZM91 159L117 159L117 187L91 187Z`, fill: "metal" }],
  stitches: "M26 134C36 154 66 164 82 165M174 134C166 152 144 162 126 164",
  buttons: dots([140, 170], [152, 166]),
  motif: null,
};

export const tie: Drawing = {
  cloth: ["M91 62L109 62L126 190L100 220L74 190Z", "M82 34L118 34L110 64L90 64Z"],
  seams: "M88 82L112 82",
  motif: null,
};

const GLOVE =
  "M40 204L40 156C24 140 17 118 24 110C31 106 36 116 42 126L38 72C38 63 49 63 50 72L53 106L54 58C55 49 66 49 66 58L67 106L72 64C73 56 84 57 83 66L80 112L86 84C88 77 97 79 96 88L88 148L88 204Z";

export const gloves: Drawing = {
  cloth: [pair(GLOVE.slice(0, -1))],
  seams: `${both("M112 180L160 180")}${ribs(46, 84, 184, 202, 6)}${ribs(116, 156, 184, 202, 6)}`,
  motif: null,
};

export const necklace: Drawing = {
  cloth: [circle(100, 184, 15)],
  cords: "M46 40C46 112 72 154 100 168C128 154 154 112 154 40",
  seams: "M100 176L100 192M92 184L108 184",
  motif: null,
};

export const earrings: Drawing = {
  cloth: [
    `${circle(62, 134, 34)}${circle(62, 134, 25)}${circle(138, 134, 34)}${circle(138, 134, 25)}`,
    `${circle(62, 92, 8)}${circle(138, 92, 8)}`,
  ],
  motif: null,
};

export const ring: Drawing = {
  cloth: [`${circle(100, 150, 52)}${circle(100, 150, 42)}`],
  hardware: [{ d: "M100 60L124 78L100 108L76 78Z", fill: "glass" }],
  seams: "M76 78L124 78M90 78L100 108L110 78",
  motif: null,
};

export const watch: Drawing = {
  cloth: ["M80 28L120 28L124 92L76 92Z", "M76 148L124 148L120 214L80 214Z"],
  hardware: [
    { d: circle(100, 120, 42), fill: "metal" },
    { d: circle(100, 120, 33), fill: "paper" },
  ],
  seams: "M100 96L100 120L116 130",
  stitches: "M86 34L82 84M114 34L118 84M82 156L86 208M118 156L114 208",
  motif: null,
};

export const sunglasses: Drawing = {
  cloth: [
    "M16 104L92 100C98 98 102 98 108 100L184 104L182 120C180 152 164 168 144 168C122 168 112 150 108 126C104 118 96 118 92 126C88 150 78 168 56 168C36 168 20 152 18 120Z",
  ],
  hardware: [{ d: pair("M114 112L172 114C172 144 160 158 144 158C126 158 116 142 114 112"), fill: "glass" }],
  motif: null,
};

export const hair: Drawing = {
  cloth: [
    "M36 186C24 92 64 60 100 60C136 60 176 92 164 186L148 186C158 104 126 80 100 80C74 80 42 104 52 186Z",
    "M100 68C80 44 54 46 56 62C58 80 82 82 100 72C118 82 142 80 144 62C146 46 120 44 100 68Z",
  ],
  trim: circle(100, 68, 9),
  seams: both("M108 66C118 62 128 60 136 60"),
  motif: null,
};

export const umbrella: Drawing = {
  cloth: [
    "M14 124C20 66 60 40 100 40C140 40 180 66 186 124C174 110 152 110 143 124C134 110 110 110 100 124C90 110 66 110 57 124C48 110 26 110 14 124Z",
  ],
  seams: "M100 28L100 124M100 40C78 64 62 96 57 124M100 40C122 64 138 96 143 124",
  hardware: [{ d: "M97 124L103 124L103 192C103 216 72 216 72 194L78 194C78 208 97 208 97 192Z", fill: "tan" }],
  motif: null,
};

const FOLD = "M34 100C34 92 40 88 48 88L154 88C170 88 170 124 154 124L48 124C40 124 34 120 34 112Z";

export const textile: Drawing = {
  cloth: [moved(FOLD, 0, 72), moved(FOLD, 0, 36), FOLD],
  seams: "M48 106L158 106M48 142L158 142M48 178L158 178",
  motif: null,
};

export const bottle: Drawing = {
  cloth: ["M74 96C74 80 126 80 126 96L130 204C130 212 126 216 118 216L82 216C74 216 70 212 70 204Z"],
  hardware: [
    { d: "M84 48L116 48L116 84L84 84Z", fill: "metal" },
    { d: "M76 126L124 126L126 182L74 182Z", fill: "paper" },
  ],
  seams: "M84 142L116 142M88 152L112 152",
  motif: null,
};

export const toy: Drawing = {
  cloth: [
    pair("M148 60C168 44 176 76 152 86L148 60"),
    circle(100, 104, 56),
    "M58 150C40 200 64 220 100 220C136 220 160 200 142 150Z",
  ],
  trim: "M76 122C76 104 124 104 124 122C124 142 76 142 76 122Z",
  seams: "M100 120L100 130M90 134C96 138 104 138 110 134M78 170C84 196 116 196 122 170",
  buttons: dots([78, 94], [122, 94], [100, 116]),
  motif: null,
};

export const tool: Drawing = {
  cloth: [circle(100, 128, 62)],
  seams: circle(100, 128, 50),
  buttons: dots([86, 114], [114, 114], [86, 142], [114, 142]),
  motif: null,
};

export const generic: Drawing = {
  cloth: ["M58 138L142 138L148 212L52 212Z"],
  cords: "M100 92C100 74 118 76 116 60C114 46 92 46 90 60",
  hardware: [
    { d: "M100 90L178 136C184 140 182 146 174 146L26 146C18 146 16 140 22 136ZM100 100L44 136L156 136Z", fill: "tan" },
  ],
  stitches: "M56 204L144 204",
  motif: [100, 174],
};

export const tote: Drawing = {
  cloth: ["M38 92L162 92L154 204C154 209 151 212 146 212L54 212C49 212 46 209 46 204Z"],
  cords: "M72 96C70 36 130 36 128 96",
  seams: "M40 106L160 106M72 96L74 130M128 96L126 130",
  stitches: "M50 203L150 203",
  motif: [100, 158],
};
